//! The media playlist: a window of segments, rendered in one pass into one buffer.

use std::num::NonZeroU32;

use headwater_media::{MediaTime, WallTime};

use super::RenderError;
use super::text::{TextError, Uri, push, push_date_time, push_seconds, push_u64, uri_characters};

/// EXT-X-VERSION by what needs it: the lowest that the content asks for (8216bis 8), constant for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// 3: MPEG-TS segments with decimal EXTINF.
    MpegTs,
    /// 6: EXT-X-MAP outside I-frame playlists, which is every fMP4 playlist.
    Fmp4,
}

impl Version {
    fn text(self) -> &'static str {
        match self {
            Version::MpegTs => "3",
            Version::Fmp4 => "6",
        }
    }
}

/// How a rendition's segments are named: prefix, media sequence number, suffix.
///
/// A name follows from the number alone, so one number never has two URIs (hls.js calls that a parsing error).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SegmentNames {
    prefix: Box<str>,
    suffix: Box<str>,
}

impl SegmentNames {
    /// Names `{prefix}{sequence}{suffix}`, relative to the playlist's URI; either may be empty.
    ///
    /// # Errors
    /// [`TextError`] for characters that a URI line can't hold.
    pub fn new(prefix: impl Into<String>, suffix: impl Into<String>) -> Result<SegmentNames, TextError> {
        let (prefix, suffix) = (prefix.into(), suffix.into());
        if prefix.starts_with('#') {
            return Err(TextError::Character { offset: 0, character: '#' });
        }
        uri_characters(&prefix)?;
        uri_characters(&suffix)?;
        Ok(SegmentNames { prefix: prefix.into_boxed_str(), suffix: suffix.into_boxed_str() })
    }

    /// The name of segment `sequence`, as the playlist writes it.
    pub fn name(&self, sequence: u64) -> String {
        format!("{}{sequence}{}", self.prefix, self.suffix)
    }

    fn push(&self, out: &mut Vec<u8>, sequence: u64) {
        push(out, &self.prefix);
        push_u64(out, sequence);
        push(out, &self.suffix);
    }

    /// Bytes of the longest name.
    fn len_max(&self) -> usize {
        self.prefix.len() + self.suffix.len() + DECIMAL_BYTES_MAX
    }
}

/// One segment of the window. Its number follows from its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Media time from its first sample to the next segment's, any scale; below TARGETDURATION + 0.5 s (8216bis 4.4.3.1).
    pub duration: MediaTime,
    /// Wall clock of its first sample: media time plus the session's offset, never the arrival time.
    pub program_date_time: WallTime,
    /// EXT-X-DISCONTINUITY in front of it: format, tracks or timestamps break here (8216bis 4.4.4.3).
    pub discontinuity: bool,
    /// EXT-X-GAP: listed for its time only; its URI answers 404.
    pub gap: bool,
    /// The initialization section it needs; EXT-X-MAP is written where this changes. `None` for MPEG-TS.
    pub map: Option<&'a Uri>,
}

impl Segment<'_> {
    /// A segment of MPEG-TS that continues the one before it.
    pub const fn new(duration: MediaTime, program_date_time: WallTime) -> Self {
        Segment { duration, program_date_time, discontinuity: false, gap: false, map: None }
    }
}

/// Everything a media playlist says besides its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaPlaylist<'a> {
    /// EXT-X-VERSION.
    pub version: Version,
    /// EXT-X-TARGETDURATION in seconds; constant for the stream and equal in all renditions.
    pub target_duration: NonZeroU32,
    /// EXT-X-MEDIA-SEQUENCE: the number of the first segment rendered; the others count on by one.
    pub media_sequence: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE: how many EXT-X-DISCONTINUITY tags have left the front of the window.
    pub discontinuity_sequence: u64,
    /// EXT-X-INDEPENDENT-SEGMENTS: every segment starts with an IDR.
    pub independent_segments: bool,
    /// EXT-X-ENDLIST: no segment will be added any more.
    pub ended: bool,
    /// The segments' URIs.
    pub names: &'a SegmentNames,
}

/// Decimal digits of the largest `u64`.
const DECIMAL_BYTES_MAX: usize = 20;
/// Header tags with the longest numbers: an estimate for the one allocation, not a limit.
const HEADER_BYTES: usize = 224;
/// A segment's tags and line ends without its name and without EXT-X-MAP; again an estimate.
const SEGMENT_BYTES: usize = 96;

impl<'a> MediaPlaylist<'a> {
    /// A running playlist that starts at `media_sequence`, whose segments start with IDRs, with no discontinuity behind it.
    pub const fn live(
        version: Version,
        target_duration: NonZeroU32,
        media_sequence: u64,
        names: &'a SegmentNames,
    ) -> MediaPlaylist<'a> {
        MediaPlaylist {
            version,
            target_duration,
            media_sequence,
            discontinuity_sequence: 0,
            independent_segments: true,
            ended: false,
            names,
        }
    }

    /// The playlist's text, ASCII, in one allocation when the iterator knows its length.
    ///
    /// # Errors
    /// [`RenderError::NoSegments`] when `segments` is empty.
    pub fn render<'s>(
        &self,
        segments: impl IntoIterator<Item = Segment<'s>>,
    ) -> Result<Vec<u8>, RenderError> {
        let segments = segments.into_iter();
        let count = segments.size_hint().0;
        let mut out = Vec::with_capacity(HEADER_BYTES + count * (SEGMENT_BYTES + self.names.len_max()));
        self.render_into(segments, &mut out)?;
        Ok(out)
    }

    /// [`MediaPlaylist::render`] at the end of `out`, for callers that recycle buffers.
    ///
    /// # Errors
    /// [`RenderError::NoSegments`] when `segments` is empty; `out` then ends in an unfinished playlist.
    pub fn render_into<'s>(
        &self,
        segments: impl IntoIterator<Item = Segment<'s>>,
        out: &mut Vec<u8>,
    ) -> Result<(), RenderError> {
        self.push_header(out);
        let mut map = None;
        let mut sequence = self.media_sequence;
        let mut any = false;
        for segment in segments {
            if segment.map != map {
                map = segment.map;
                self.push_segment(out, &segment, sequence, map);
            } else {
                self.push_segment(out, &segment, sequence, None);
            }
            sequence = sequence.saturating_add(1);
            any = true;
        }
        if !any {
            return Err(RenderError::NoSegments);
        }
        if self.ended {
            push(out, "#EXT-X-ENDLIST\n");
        }
        Ok(())
    }

    fn push_header(&self, out: &mut Vec<u8>) {
        push(out, "#EXTM3U\n#EXT-X-VERSION:");
        push(out, self.version.text());
        if self.independent_segments {
            push(out, "\n#EXT-X-INDEPENDENT-SEGMENTS");
        }
        push(out, "\n#EXT-X-TARGETDURATION:");
        push_u64(out, u64::from(self.target_duration.get()));
        push(out, "\n#EXT-X-MEDIA-SEQUENCE:");
        push_u64(out, self.media_sequence);
        // Present even while 0: it must stand there as soon as a discontinuity can occur (Apple authoring 8.17).
        push(out, "\n#EXT-X-DISCONTINUITY-SEQUENCE:");
        push_u64(out, self.discontinuity_sequence);
        out.push(b'\n');
    }

    /// One segment's lines; `map` is given where EXT-X-MAP has to be written.
    fn push_segment(&self, out: &mut Vec<u8>, segment: &Segment<'_>, sequence: u64, map: Option<&Uri>) {
        if segment.discontinuity {
            push(out, "#EXT-X-DISCONTINUITY\n");
        }
        if let Some(map) = map {
            push(out, "#EXT-X-MAP:URI=\"");
            push(out, map.as_str());
            push(out, "\"\n");
        }
        push(out, "#EXT-X-PROGRAM-DATE-TIME:");
        push_date_time(out, segment.program_date_time);
        push(out, if segment.gap { "\n#EXT-X-GAP\n#EXTINF:" } else { "\n#EXTINF:" });
        push_seconds(out, segment.duration);
        push(out, ",\n");
        self.names.push(out, sequence);
        out.push(b'\n');
    }
}

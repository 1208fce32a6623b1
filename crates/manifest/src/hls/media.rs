//! The media playlist: a window of segments, rendered in one pass into one buffer.

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;

use headwater_media::{MediaTime, WallTime};

use super::RenderError;
use super::low_latency::{LowLatency, Part, push_parts};
use super::text::{
    DateWriter, KnownSeconds, Pattern, TextError, UriPieces, micros_nearest, push, push_seconds, push_u64,
    replace, uri_characters,
};

/// EXT-X-VERSION by what needs it: the lowest that the content asks for (8216bis 8), constant for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// 3: MPEG-TS segments with decimal EXTINF.
    MpegTs,
    /// 6: EXT-X-MAP outside I-frame playlists, which is every fMP4 playlist.
    Fmp4,
    /// 9: EXT-X-SKIP, in the full playlist too: a delta update must not change the version.
    LowLatency,
}

impl Version {
    fn text(self) -> &'static str {
        match self {
            Version::MpegTs => "3",
            Version::Fmp4 => "6",
            Version::LowLatency => "9",
        }
    }
}

/// How a rendition's segments are named: prefix, media sequence number, suffix; and their parts: `.` and the part's
/// index behind the number.
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

    /// The name of part `part` of segment `sequence`, as the playlist writes it.
    pub fn part_name(&self, sequence: u64, part: u32) -> String {
        format!("{}{sequence}.{part}{}", self.prefix, self.suffix)
    }

    /// Appends a segment's name, and says where its number is.
    fn push(&self, out: &mut Vec<u8>, sequence: u64) -> Range<usize> {
        push(out, &self.prefix);
        let number = push_u64(out, sequence);
        push(out, &self.suffix);
        number
    }

    /// Appends a part's name, and says where its index is.
    pub(super) fn push_part(&self, out: &mut Vec<u8>, sequence: u64, part: u64) -> Range<usize> {
        push(out, &self.prefix);
        push_u64(out, sequence);
        out.push(b'.');
        let index = push_u64(out, part);
        push(out, &self.suffix);
        index
    }

    /// Bytes of the longest name of a part.
    pub(super) fn part_len_max(&self) -> usize {
        self.len_max() + PART_INDEX_BYTES_MAX
    }

    /// Bytes of the longest name.
    fn len_max(&self) -> usize {
        self.prefix.len() + self.suffix.len() + DECIMAL_BYTES_MAX
    }
}

/// One segment of the window. Its number follows from its place.
///
/// `P` is what tells of a part, [`Part`] or whatever makes one of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a, P = Part> {
    /// Media time from its first sample to the next segment's, any scale; below TARGETDURATION + 0.5 s (8216bis 4.4.3.1).
    pub duration: MediaTime,
    /// Wall clock of its first sample: media time plus the session's offset, never the arrival time.
    pub program_date_time: WallTime,
    /// EXT-X-DISCONTINUITY in front of it: format, tracks or timestamps break here (8216bis 4.4.4.3).
    pub discontinuity: bool,
    /// EXT-X-GAP: listed for its time only; its URI answers 404.
    pub gap: bool,
    /// The initialization section it needs; EXT-X-MAP is written where this changes. `None` for MPEG-TS.
    pub map: Option<UriPieces<'a>>,
    /// EXT-X-PART tags in front of EXTINF; empty for a segment that is too old for them (8216bis 6.2.2: 3 target
    /// durations from the end), and where there are none. Written only into a low-latency playlist.
    pub parts: &'a [P],
}

impl<P> Segment<'_, P> {
    /// Nothing is written of it but its date, its duration and its name.
    fn is_plain(&self) -> bool {
        !self.discontinuity && !self.gap && self.parts.is_empty()
    }
}

impl Segment<'_> {
    /// A segment of MPEG-TS that continues the one before it.
    pub const fn new(duration: MediaTime, program_date_time: WallTime) -> Self {
        Segment { duration, program_date_time, discontinuity: false, gap: false, map: None, parts: &[] }
    }
}

/// Everything a media playlist says besides its segments. `P` as for [`Segment`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaPlaylist<'a, P = Part> {
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
    /// What makes it a low-latency playlist.
    pub low_latency: Option<LowLatency<'a, P>>,
    /// EXT-X-SKIP: so many of the segments given are left out from the front, which makes it a delta update; the most
    /// that may be is told by [`skippable`](super::skippable). Without effect where delta updates are not offered: without
    /// [`MediaPlaylist::low_latency`], and once the playlist has ended (8216bis 6.2.5.1).
    pub skipped: u64,
    /// EXT-X-DATERANGE: lines of [`DateRange::line`](super::DateRange::line), in front of all segments. A delta update has them all.
    pub date_ranges: &'a [Arc<[u8]>],
}

const DATE: &str = "#EXT-X-PROGRAM-DATE-TIME:";
const EXTINF: &str = "#EXTINF:";
/// Where the seconds of its date are in a segment that begins with it.
const SECOND_AT: usize = DATE.len() + "2026-01-31T12:00:".len();
/// And where its duration is.
const DURATION_AT: usize = SECOND_AT + "00.000Z\n".len() + EXTINF.len();

/// Decimal digits of the largest `u64`.
const DECIMAL_BYTES_MAX: usize = 20;
/// A dot and the decimal digits of the largest `u32`.
const PART_INDEX_BYTES_MAX: usize = 11;
/// Header tags with the longest numbers, and EXT-X-ENDLIST: for the one allocation, not a limit.
const HEADER_BYTES: usize = 224;
/// A segment's longest tags and its line ends, without its name and without EXT-X-MAP.
const SEGMENT_BYTES: usize = 112;

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
            low_latency: None,
            skipped: 0,
            date_ranges: &[],
        }
    }
}

impl<P> MediaPlaylist<'_, P>
where
    Part: for<'p> From<&'p P>,
{
    /// The playlist's text, ASCII, in one allocation when the iterator knows its length.
    ///
    /// # Errors
    /// [`RenderError::NoSegments`] when `segments` is empty, or all of it is skipped; [`RenderError::Map`] for an initialization
    /// section that has no URI.
    pub fn render<'s>(
        &self,
        segments: impl IntoIterator<Item = Segment<'s, P>, IntoIter: Clone>,
    ) -> Result<Vec<u8>, RenderError>
    where
        P: 's,
    {
        let segments = segments.into_iter();
        let skipped = usize::try_from(self.skipped()).unwrap_or(usize::MAX);
        let count = segments.size_hint().0.saturating_sub(skipped);
        let low_latency = self.low_latency.as_ref().map_or(0, |low_latency| {
            let parts = segments.clone().skip(skipped).map(|segment| segment.parts.len()).sum();
            low_latency.len_max(parts, self.names)
        });
        let segment_bytes = SEGMENT_BYTES + self.names.len_max();
        let date_ranges: usize = self.date_ranges.iter().map(|line| line.len()).sum();
        let mut out = Vec::with_capacity(HEADER_BYTES + date_ranges + low_latency + count * segment_bytes);
        self.render_into(segments, &mut out)?;
        Ok(out)
    }

    /// [`MediaPlaylist::render`] at the end of `out`, for callers that recycle buffers.
    ///
    /// # Errors
    /// As [`MediaPlaylist::render`]; `out` then ends in an unfinished playlist.
    pub fn render_into<'s>(
        &self,
        segments: impl IntoIterator<Item = Segment<'s, P>>,
        out: &mut Vec<u8>,
    ) -> Result<(), RenderError>
    where
        P: 's,
    {
        let mut to_skip = self.skipped();
        self.push_header(to_skip, out);
        let mut lead = Lead::new();
        let mut known = KnownSeconds::default();
        let mut pattern: Option<Pattern> = None;
        let mut sequence = self.media_sequence;
        let mut any = false;
        for segment in segments {
            if to_skip > 0 {
                to_skip -= 1;
                // The client keeps the EXT-X-MAP of what it holds.
                lead.map = segment.map;
            } else {
                any = true;
                let seconds = known.text(segment.duration, micros_nearest);
                let is_plain = lead.map == segment.map && segment.is_plain();
                // Most segments are those before them but for the second, the duration and the number's last digit.
                if is_plain
                    && let (Some(seconds), Some(pattern)) = (seconds, &pattern)
                    && let Some(second) = lead.dates.second(segment.program_date_time)
                    && let Some(text) = pattern.push(out, sequence)
                {
                    replace(text, SECOND_AT, &second);
                    replace(text, DURATION_AT, &seconds);
                } else {
                    let start = out.len();
                    lead.push(out, segment.discontinuity, segment.map, segment.program_date_time)?;
                    let number = self.push_segment(out, sequence, &segment);
                    let is_pattern = is_plain && seconds.is_some();
                    pattern = is_pattern.then(|| Pattern::new(out, start, sequence, &number));
                }
            }
            sequence = sequence.saturating_add(1);
        }
        if !any {
            return Err(RenderError::NoSegments);
        }
        if let Some(low_latency) = &self.low_latency {
            if let Some(edge) = low_latency.edge.as_ref().filter(|edge| !edge.parts.is_empty()) {
                lead.push(out, edge.discontinuity, edge.map, edge.program_date_time)?;
                push_parts(out, self.names, sequence, edge.parts, false);
            }
            low_latency.push_trailer(out, self.names, self.ended)?;
        }
        if self.ended {
            push(out, "#EXT-X-ENDLIST\n");
        }
        Ok(())
    }

    /// [`MediaPlaylist::skipped`], where that may be.
    fn skipped(&self) -> u64 {
        if self.low_latency.is_some() && !self.ended { self.skipped } else { 0 }
    }

    fn push_header(&self, skipped: u64, out: &mut Vec<u8>) {
        push(out, "#EXTM3U\n#EXT-X-VERSION:");
        push(out, self.version.text());
        if self.independent_segments {
            push(out, "\n#EXT-X-INDEPENDENT-SEGMENTS");
        }
        push(out, "\n#EXT-X-TARGETDURATION:");
        push_u64(out, u64::from(self.target_duration.get()));
        out.push(b'\n');
        if let Some(low_latency) = &self.low_latency {
            low_latency.push_header(out);
        }
        push(out, "#EXT-X-MEDIA-SEQUENCE:");
        push_u64(out, self.media_sequence);
        // Present even while 0: it must stand there as soon as a discontinuity can occur (Apple authoring 8.17).
        push(out, "\n#EXT-X-DISCONTINUITY-SEQUENCE:");
        push_u64(out, self.discontinuity_sequence);
        out.push(b'\n');
        self.date_ranges.iter().for_each(|line| out.extend_from_slice(line));
        if skipped > 0 {
            push(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS=");
            push_u64(out, skipped);
            out.push(b'\n');
        }
    }

    /// What follows a segment's first tags, in the order of a segment's tags used here; says where its number is.
    fn push_segment(&self, out: &mut Vec<u8>, sequence: u64, segment: &Segment<'_, P>) -> Range<usize> {
        if segment.gap {
            push(out, "#EXT-X-GAP\n");
        }
        if self.low_latency.is_some() {
            push_parts(out, self.names, sequence, segment.parts, segment.gap);
        }
        push(out, EXTINF);
        push_seconds(out, segment.duration);
        push(out, ",\n");
        let number = self.names.push(out, sequence);
        out.push(b'\n');
        number
    }
}

/// Writes the tags in front of a segment, or of its first part (8216bis 4.4.4.9), and knows what was written before.
struct Lead<'a> {
    dates: DateWriter,
    map: Option<UriPieces<'a>>,
}

impl<'a> Lead<'a> {
    fn new() -> Lead<'a> {
        Lead { dates: DateWriter::new(), map: None }
    }

    fn push(
        &mut self,
        out: &mut Vec<u8>,
        discontinuity: bool,
        map: Option<UriPieces<'a>>,
        date: WallTime,
    ) -> Result<(), RenderError> {
        if discontinuity {
            push(out, "#EXT-X-DISCONTINUITY\n");
        }
        if map != self.map {
            self.map = map;
            push_map(out, map)?;
        }
        push(out, DATE);
        self.dates.push(out, date);
        out.push(b'\n');
        Ok(())
    }
}

fn push_map(out: &mut Vec<u8>, map: Option<UriPieces<'_>>) -> Result<(), RenderError> {
    let Some(map) = map else { return Ok(()) };
    push(out, "#EXT-X-MAP:URI=\"");
    map.push(out)?;
    push(out, "\"\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use headwater_media::Timescale;

    use super::super::Uri;
    use super::*;

    fn names() -> SegmentNames {
        SegmentNames::new("", ".ts").unwrap()
    }

    fn segment(ticks: i64, ms: i64) -> Segment<'static> {
        let start = WallTime::from_unix_millis(1_769_860_800_000);
        Segment::new(MediaTime::new(ticks, Timescale::MPEG), start.offset_by(ms))
    }

    fn rendered(playlist: &MediaPlaylist<'_>, segments: &[Segment<'_>]) -> String {
        String::from_utf8(playlist.render(segments.iter().copied()).unwrap()).unwrap()
    }

    #[test]
    fn mpeg_ts_byte_for_byte() {
        let names = names();
        let mut playlist =
            MediaPlaylist::live(Version::MpegTs, NonZeroU32::new(3).unwrap(), 1_769_860_800, &names);
        playlist.discontinuity_sequence = 7;
        playlist.ended = true;
        let segments = [
            segment(180_180, 0),
            Segment { gap: true, ..segment(225_000, 2_002) },
            Segment { discontinuity: true, ..segment(1, 60_000) },
        ];
        assert_eq!(
            rendered(&playlist, &segments),
            "#EXTM3U\n\
             #EXT-X-VERSION:3\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-TARGETDURATION:3\n\
             #EXT-X-MEDIA-SEQUENCE:1769860800\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:7\n\
             #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:00.000Z\n\
             #EXTINF:2.002000,\n\
             1769860800.ts\n\
             #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:02.002Z\n\
             #EXT-X-GAP\n\
             #EXTINF:2.500000,\n\
             1769860801.ts\n\
             #EXT-X-DISCONTINUITY\n\
             #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:01:00.000Z\n\
             #EXTINF:0.000011,\n\
             1769860802.ts\n\
             #EXT-X-ENDLIST\n"
        );
    }

    #[test]
    fn fmp4_byte_for_byte_with_a_map_only_where_it_changes() {
        let names = SegmentNames::new("v/", ".m4s?a=b").unwrap();
        let (one, same, two) = (
            Uri::new("init-1.mp4").unwrap(),
            Uri::new("init-1.mp4").unwrap(),
            Uri::new("init-2.mp4").unwrap(),
        );
        let mut playlist = MediaPlaylist::live(Version::Fmp4, NonZeroU32::new(2).unwrap(), 0, &names);
        playlist.independent_segments = false;
        let segments = [
            Segment { map: Some((&one).into()), ..segment(180_000, 0) },
            Segment { map: Some((&same).into()), ..segment(180_000, 2_000) },
            Segment { map: Some((&two).into()), discontinuity: true, ..segment(180_000, 4_000) },
        ];
        assert_eq!(
            rendered(&playlist, &segments),
            "#EXTM3U\n\
             #EXT-X-VERSION:6\n\
             #EXT-X-TARGETDURATION:2\n\
             #EXT-X-MEDIA-SEQUENCE:0\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:0\n\
             #EXT-X-MAP:URI=\"init-1.mp4\"\n\
             #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:00.000Z\n\
             #EXTINF:2.000000,\n\
             v/0.m4s?a=b\n\
             #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:02.000Z\n\
             #EXTINF:2.000000,\n\
             v/1.m4s?a=b\n\
             #EXT-X-DISCONTINUITY\n\
             #EXT-X-MAP:URI=\"init-2.mp4\"\n\
             #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:04.000Z\n\
             #EXTINF:2.000000,\n\
             v/2.m4s?a=b\n"
        );
    }

    #[test]
    fn lines_made_of_the_ones_before_are_those_written_anew() {
        let names = SegmentNames::new("9/", "9.ts").unwrap();
        let playlist = MediaPlaylist::live(Version::MpegTs, NonZeroU32::MIN, 8, &names);
        // Numbers get another digit twice, durations change and are too long for the short form.
        let ticks = [180_000, 180_000, 90_045, 899_999, 900_000, 1_125_000, 180_000];
        let segments: Vec<_> = (0..100).map(|n| segment(ticks[n % ticks.len()], 2_000 * n as i64)).collect();
        let text = rendered(&playlist, &segments);
        let body = text.split_once("#EXT-X-DISCONTINUITY-SEQUENCE:0\n").unwrap().1;
        let lines = (8..).zip(&segments).map(|(sequence, segment)| {
            let micros = (segment.duration.ticks() * 1_000_000 + 45_000) / 90_000;
            let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
            let date = segment.program_date_time;
            format!("#EXT-X-PROGRAM-DATE-TIME:{date}\n#EXTINF:{seconds}.{rest:06},\n9/{sequence}9.ts\n")
        });
        assert_eq!(body, lines.collect::<String>());
    }

    #[test]
    fn an_empty_window_is_refused() {
        let names = names();
        let playlist = MediaPlaylist::live(Version::MpegTs, NonZeroU32::MIN, 1, &names);
        assert_eq!(playlist.render([]), Err(RenderError::NoSegments));
    }

    #[test]
    fn one_allocation_holds_the_longest_segments() {
        let names = SegmentNames::new("a-long-prefix/", ".ts").unwrap();
        let mut playlist = MediaPlaylist::live(Version::MpegTs, NonZeroU32::MAX, u64::MAX - 100, &names);
        playlist.discontinuity_sequence = u64::MAX;
        playlist.ended = true;
        let longest = Segment { discontinuity: true, gap: true, ..segment(90_000 * 4_294_967_295, 0) };
        for count in [1_usize, 2, 30, 100] {
            let expected = HEADER_BYTES + count * (SEGMENT_BYTES + names.len_max());
            let out = playlist.render(std::iter::repeat_n(longest, count)).unwrap();
            assert_eq!(out.capacity(), expected, "{count} segments took {} bytes", out.len());
        }
    }

    #[test]
    fn a_map_without_a_uri_is_refused() {
        let names = names();
        let playlist = MediaPlaylist::live(Version::Fmp4, NonZeroU32::MIN, 1, &names);
        for (pieces, expected) in [
            (["init-", "1", ".mp4"], None),
            (["", "", ""], Some(TextError::Empty)),
            (["", "#1", ".mp4"], Some(TextError::Character { offset: 0, character: '#' })),
            (["init-", "1\n", ".mp4"], Some(TextError::Character { offset: 1, character: '\n' })),
        ] {
            let segment = Segment { map: Some(UriPieces::new(pieces)), ..segment(90_000, 0) };
            let error = playlist.render([segment]).err();
            assert_eq!(error, expected.map(RenderError::Map), "{pieces:?}");
        }
    }

    #[test]
    fn names_are_checked_and_numbered() {
        assert_eq!(names().name(41), "41.ts");
        assert_eq!(names().part_name(41, 7), "41.7.ts");
        for (prefix, suffix) in [("#", ".ts"), ("", ".ts\n"), ("a b", ""), ("", "\"")] {
            assert!(SegmentNames::new(prefix, suffix).is_err(), "{prefix:?} {suffix:?}");
        }
    }

    #[test]
    fn numbers_stop_at_the_last() {
        let names = names();
        let playlist = MediaPlaylist::live(Version::MpegTs, NonZeroU32::MIN, u64::MAX, &names);
        let text = rendered(&playlist, &[segment(90_000, 0), segment(90_000, 1_000)]);
        assert!(text.ends_with("18446744073709551615.ts\n"), "{text}");
    }
}

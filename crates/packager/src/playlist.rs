//! A snapshot in the words of HLS.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::LazyLock;

use headwater_manifest::hls::{
    MediaPlaylist, MultivariantPlaylist, QuotedString, Segment, SegmentNames, Uri, Variant, Version,
};

use crate::snapshot::{Snapshot, State};

/// The media playlist's place below the multivariant playlist's.
const MEDIA_PLAYLIST_URI: &str = "ts/media.m3u8";

/// Segments are named by their numbers, beside their playlist.
static SEGMENT_NAMES: LazyLock<Option<SegmentNames>> = LazyLock::new(|| SegmentNames::new("", ".ts").ok());

pub(crate) fn media(snapshot: &Snapshot) -> Option<Vec<u8>> {
    let ts = snapshot.ts.as_ref()?;
    let first = ts.listed.first()?;
    let names = SEGMENT_NAMES.as_ref()?;
    let target = NonZeroU32::new(ts.target_duration).unwrap_or(NonZeroU32::MIN);
    let mut playlist = MediaPlaylist::live(Version::MpegTs, target, first.sequence, names);
    playlist.discontinuity_sequence = ts.discontinuity_sequence;
    playlist.independent_segments = ts.listed.iter().all(|segment| segment.independent);
    playlist.ended = snapshot.state == State::Ended;
    let segments = ts.listed.iter().map(|segment| Segment {
        discontinuity: segment.discontinuity,
        ..Segment::new(segment.duration, segment.program_date_time)
    });
    playlist.render(segments).ok()
}

pub(crate) fn multivariant(snapshot: &Snapshot) -> Option<Vec<u8>> {
    let ts = snapshot.ts.as_ref().filter(|ts| !ts.listed.is_empty())?;
    let video = snapshot.tracks.video.as_deref();
    let audio = snapshot.tracks.audio.as_deref();
    let codecs: Vec<&str> = video
        .map(|video| video.codec_string.as_str())
        .into_iter()
        .chain(audio.map(|audio| audio.codec_string.as_str()))
        .collect();
    let bandwidth = snapshot.bandwidth;
    let variant = Variant {
        // 8216bis 4.4.6.2 asks for it; 0 would make players divide by it.
        bandwidth: bandwidth.and_then(|bandwidth| NonZeroU64::new(bandwidth.peak)).unwrap_or(NonZeroU64::MIN),
        average_bandwidth: bandwidth.and_then(|bandwidth| NonZeroU64::new(bandwidth.average)),
        codecs: QuotedString::new(codecs.join(",")).ok()?,
        resolution: video.map(|video| (video.width, video.height)),
        frame_rate: video.and(snapshot.frame_rate_millihertz).map(|millihertz| (millihertz, 1_000)),
        video_range: None,
        audio: None,
        no_closed_captions: video.is_some(),
        uri: Uri::new(MEDIA_PLAYLIST_URI).ok()?,
    };
    let playlist = MultivariantPlaylist {
        independent_segments: ts.listed.iter().all(|segment| segment.independent),
        audio: Vec::new(),
        variants: vec![variant],
    };
    playlist.render().ok()
}

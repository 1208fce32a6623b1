//! A snapshot in the words of HLS.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::LazyLock;

use headwater_manifest::hls::{
    AudioRendition, MediaPlaylist, MultivariantPlaylist, QuotedString, Segment as Entry, SegmentNames, Uri,
    Variant, Version,
};
use headwater_media::TrackKind;

use crate::snapshot::{Bandwidth, CmafSegment, Rendition, Segment, Snapshot, State};

/// The media playlists' places below the multivariant playlists'.
const TS_URI: &str = "ts/media.m3u8";
const VIDEO_URI: &str = "video/media.m3u8";
const AUDIO_URI: &str = "audio/media.m3u8";

/// The group of audio renditions that belongs to the CMAF video.
const AUDIO_GROUP: &str = "audio";

/// Segments are named by their numbers, beside their playlist.
static TS_NAMES: LazyLock<Option<SegmentNames>> = LazyLock::new(|| SegmentNames::new("", ".ts").ok());
static CMAF_NAMES: LazyLock<Option<SegmentNames>> = LazyLock::new(|| SegmentNames::new("", ".m4s").ok());

pub(crate) fn ts_media(snapshot: &Snapshot) -> Option<Vec<u8>> {
    let ts = snapshot.ts.as_ref()?;
    let playlist = playlist(ts, Version::MpegTs, TS_NAMES.as_ref()?, snapshot.state)?;
    playlist.render(ts.listed.iter().map(|segment| entry(segment.as_ref(), None))).ok()
}

pub(crate) fn cmaf_media(snapshot: &Snapshot, kind: TrackKind) -> Option<Vec<u8>> {
    let cmaf = snapshot.cmaf.as_ref().filter(|cmaf| cmaf.is_playable())?;
    let rendition = cmaf.rendition(kind)?;
    let playlist = playlist(rendition, Version::Fmp4, CMAF_NAMES.as_ref()?, snapshot.state)?;
    // One URI per initialization segment; a window holds few.
    let mut maps: Vec<(&str, Uri)> = Vec::new();
    for segment in &rendition.listed {
        let hash = segment.init.name_hash.as_str();
        if !maps.iter().any(|(known, _)| *known == hash) {
            maps.push((hash, Uri::new(init_name(segment)).ok()?));
        }
    }
    let map = |segment: &CmafSegment| {
        maps.iter().find(|(hash, _)| *hash == segment.init.name_hash).map(|(_, uri)| uri)
    };
    playlist.render(rendition.listed.iter().map(|segment| entry(segment.as_ref(), map(segment)))).ok()
}

/// The initialization segment's name, beside the segments'.
pub(crate) fn init_name(segment: &CmafSegment) -> String {
    format!("init-{}.mp4", segment.init.name_hash)
}

fn playlist<'a, S: Segment>(
    rendition: &Rendition<S>,
    version: Version,
    names: &'a SegmentNames,
    state: State,
) -> Option<MediaPlaylist<'a>> {
    let first = rendition.listed.first()?;
    let target = NonZeroU32::new(rendition.target_duration).unwrap_or(NonZeroU32::MIN);
    let mut playlist = MediaPlaylist::live(version, target, first.sequence(), names);
    playlist.discontinuity_sequence = rendition.discontinuity_sequence;
    playlist.independent_segments = rendition.listed.iter().all(|segment| segment.independent());
    playlist.ended = state == State::Ended;
    Some(playlist)
}

fn entry<'a, S: Segment>(segment: &S, map: Option<&'a Uri>) -> Entry<'a> {
    Entry {
        discontinuity: segment.discontinuity(),
        map,
        ..Entry::new(segment.duration(), segment.program_date_time())
    }
}

pub(crate) fn ts_multivariant(snapshot: &Snapshot) -> Option<Vec<u8>> {
    let ts = snapshot.ts.as_ref().filter(|ts| !ts.listed.is_empty())?;
    let variant = variant(snapshot, snapshot.bandwidth, TS_URI)?;
    let independent_segments = ts.listed.iter().all(|segment| segment.independent);
    MultivariantPlaylist { independent_segments, audio: Vec::new(), variants: vec![variant] }.render().ok()
}

pub(crate) fn cmaf_multivariant(snapshot: &Snapshot) -> Option<Vec<u8>> {
    let cmaf = snapshot.cmaf.as_ref().filter(|cmaf| cmaf.is_playable())?;
    let tracks = &snapshot.tracks;
    let sum = |a: Option<Bandwidth>, b: Option<Bandwidth>| match (a, b) {
        (Some(a), Some(b)) => Some(Bandwidth { peak: a.peak + b.peak, average: a.average + b.average }),
        (a, b) => a.or(b),
    };
    let bandwidth = sum(cmaf.video_bandwidth, cmaf.audio_bandwidth);
    let uri = if tracks.video.is_some() { VIDEO_URI } else { AUDIO_URI };
    let mut variant = variant(snapshot, bandwidth, uri)?;
    let mut audio = Vec::new();
    if let (Some(_), Some(config)) = (&tracks.video, &tracks.audio) {
        variant.audio = Some(QuotedString::new(AUDIO_GROUP).ok()?);
        audio.push(AudioRendition {
            group_id: QuotedString::new(AUDIO_GROUP).ok()?,
            name: QuotedString::new("Main").ok()?,
            language: None,
            default: true,
            autoselect: true,
            channels: Some(config.channels),
            uri: Some(Uri::new(AUDIO_URI).ok()?),
        });
    }
    let independent_segments =
        cmaf.renditions().flat_map(|rendition| &rendition.listed).all(|segment| segment.independent);
    MultivariantPlaylist { independent_segments, audio, variants: vec![variant] }.render().ok()
}

fn variant(snapshot: &Snapshot, bandwidth: Option<Bandwidth>, uri: &str) -> Option<Variant> {
    let video = snapshot.tracks.video.as_deref();
    let audio = snapshot.tracks.audio.as_deref();
    let codecs: Vec<&str> = video
        .map(|video| video.codec_string.as_str())
        .into_iter()
        .chain(audio.map(|audio| audio.codec_string.as_str()))
        .collect();
    Some(Variant {
        // 8216bis 4.4.6.2 asks for it; 0 would make players divide by it.
        bandwidth: bandwidth.and_then(|bandwidth| NonZeroU64::new(bandwidth.peak)).unwrap_or(NonZeroU64::MIN),
        average_bandwidth: bandwidth.and_then(|bandwidth| NonZeroU64::new(bandwidth.average)),
        codecs: QuotedString::new(codecs.join(",")).ok()?,
        resolution: video.map(|video| (video.width, video.height)),
        frame_rate: video.and_then(|_| snapshot.frame_rate()),
        video_range: None,
        audio: None,
        no_closed_captions: video.is_some(),
        uri: Uri::new(uri).ok()?,
    })
}

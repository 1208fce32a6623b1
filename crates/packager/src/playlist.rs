//! A snapshot in the words of HLS.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use headwater_cmaf::InitSegment;
use headwater_manifest::hls::{
    self, AudioRendition, Hint, LowLatency, MediaPlaylist, MultivariantPlaylist, Part, QuotedString,
    RenditionReport, Segment as Entry, SegmentNames, Uri, UriPieces, Variant, Version,
};
use headwater_media::TrackKind;

use crate::snapshot::{self, Bandwidth, Cmaf, CmafSegment, Rendition, Segment, Snapshot, State};
use crate::window::span;

/// The media playlists' places below the multivariant playlists'.
const TS_URI: &str = "ts/media.m3u8";
const VIDEO_URI: &str = "video/media.m3u8";
const AUDIO_URI: &str = "audio/media.m3u8";

/// EXT-X-PART tags are listed of what ends within so many target durations of the live edge (8216bis 6.2.2).
const TARGET_DURATIONS_IN_PARTS: u32 = 3;

/// PART-HOLD-BACK in part targets (8216bis 4.4.3.8; Apple authoring 14.3 asks for three).
pub(crate) const PARTS_HELD_BACK: u32 = 3;

/// HOLD-BACK and CAN-SKIP-UNTIL in target durations (8216bis 4.4.3.8).
const TARGET_DURATIONS_HELD_BACK: u32 = 3;
const TARGET_DURATIONS_UNSKIPPED: u32 = 6;

/// The group of audio renditions that belongs to the CMAF video.
const AUDIO_GROUP: &str = "audio";

/// Segments are named by their numbers, beside their playlist.
static TS_NAMES: LazyLock<Option<SegmentNames>> = LazyLock::new(|| SegmentNames::new("", ".ts").ok());
static CMAF_NAMES: LazyLock<Option<SegmentNames>> = LazyLock::new(|| SegmentNames::new("", ".m4s").ok());

pub(crate) fn ts_media(snapshot: &Snapshot) -> Option<Vec<u8>> {
    let ts = snapshot.ts.as_ref()?;
    let playlist = playlist(ts, Version::MpegTs, TS_NAMES.as_ref()?, snapshot)?;
    playlist.render(ts.listed.iter().map(|segment| entry(segment.as_ref(), &[]))).ok()
}

/// `delta`: what a client can have kept is left out (8216bis 6.2.5.1), where there is enough of it.
pub(crate) fn cmaf_media(snapshot: &Snapshot, kind: TrackKind, delta: bool) -> Option<Vec<u8>> {
    let cmaf = snapshot.cmaf.as_ref().filter(|cmaf| cmaf.is_playable())?;
    let rendition = cmaf.rendition(kind)?;
    let version = if cmaf.part_target.is_some() { Version::LowLatency } else { Version::Fmp4 };
    let mut playlist = playlist(&rendition.window, version, CMAF_NAMES.as_ref()?, snapshot)?;
    let first_with_parts = first_with_parts(cmaf, rendition);
    let segments = rendition.listed.iter().enumerate().map(|(index, segment)| {
        entry(segment.as_ref(), if index < first_with_parts { &[] } else { &segment.parts })
    });
    let Some(part_target) = cmaf.part_target else { return playlist.render(segments).ok() };
    let target_duration = Duration::from_secs(u64::from(rendition.target_duration));
    let can_skip_until = target_duration * TARGET_DURATIONS_UNSKIPPED;
    if delta {
        let durations = rendition.listed.iter().map(|segment| segment.duration);
        playlist.skipped = hls::skippable(can_skip_until, durations);
    }
    let reports = report(cmaf, kind);
    let is_open = snapshot.state != State::Ended;
    let edge = rendition.edge.as_ref().filter(|edge| !edge.parts.is_empty() && is_open);
    let last_init = edge.map(|edge| &edge.init).or(rendition.listed.last().map(|segment| &segment.init));
    // A part with another initialization segment is known before it is complete.
    let next_init = rendition.edge.as_ref().map(|edge| &edge.init);
    let is_new = |init: &&Arc<InitSegment>| last_init.is_some_and(|last| last.name_hash != init.name_hash);
    // Whoever comes back may bring another initialization segment. A player that asks for the part before it can know of that decodes
    // it with the one it has: shaka 5.2 stood still for good.
    let is_known = is_open && (rendition.edge.is_some() || snapshot.state == State::Live);
    playlist.low_latency = Some(LowLatency {
        part_target,
        part_hold_back: part_target * PARTS_HELD_BACK,
        hold_back: target_duration * TARGET_DURATIONS_HELD_BACK,
        can_skip_until,
        edge: edge.map(|edge| hls::Edge {
            program_date_time: edge.program_date_time,
            discontinuity: edge.discontinuity,
            map: Some(map_uri(&edge.init)),
            parts: &edge.parts,
        }),
        hint: rendition.next_part().filter(|_| is_known).map(|(sequence, part)| Hint {
            sequence,
            part,
            map: next_init.filter(is_new).map(map_uri),
        }),
        reports: reports.as_slice(),
    });
    playlist.render(segments).ok()
}

/// Index of the first listed segment whose parts are listed: those near the end are.
fn first_with_parts(cmaf: &Cmaf, rendition: &snapshot::CmafRendition) -> usize {
    let listed = &rendition.listed;
    if cmaf.part_target.is_none() {
        return listed.len();
    }
    let limit = Duration::from_secs(u64::from(rendition.target_duration)) * TARGET_DURATIONS_IN_PARTS;
    // From a segment's end to the live edge.
    let edge = rendition.edge.iter().flat_map(|edge| &edge.parts);
    let mut behind: Duration = edge.map(|part| span(part.duration)).sum();
    let is_far = |segment: &Arc<CmafSegment>| {
        let is_far = behind >= limit;
        behind += span(segment.duration);
        is_far
    };
    listed.iter().rposition(is_far).map_or(0, |last| last + 1)
}

impl From<&snapshot::Part> for Part {
    fn from(part: &snapshot::Part) -> Part {
        Part { duration: part.duration, independent: part.independent }
    }
}

/// How far the other rendition has come (8216bis 4.4.5.4).
fn report(cmaf: &Cmaf, kind: TrackKind) -> Option<RenditionReport<'static>> {
    static VIDEO: LazyLock<Option<Uri>> = LazyLock::new(|| Uri::new(format!("../{VIDEO_URI}")).ok());
    static AUDIO: LazyLock<Option<Uri>> = LazyLock::new(|| Uri::new(format!("../{AUDIO_URI}")).ok());
    let period = cmaf.periods.last()?;
    let (other, uri, is_published) = match kind {
        TrackKind::Video => (TrackKind::Audio, &AUDIO, period.tracks.audio.is_some()),
        TrackKind::Audio => (TrackKind::Video, &VIDEO, period.tracks.video.is_some()),
    };
    let (last_msn, last_part) = cmaf.rendition(other).filter(|_| is_published)?.last_part()?;
    Some(RenditionReport { uri: uri.as_ref()?, last_msn, last_part: Some(last_part) })
}

/// The initialization segment's name, beside the segments'.
pub(crate) fn init_name(init: &InitSegment) -> [&str; 3] {
    ["init-", &init.name_hash, ".mp4"]
}

fn map_uri(init: &Arc<InitSegment>) -> UriPieces<'_> {
    UriPieces::new(init_name(init))
}

fn playlist<'a, S: Segment>(
    rendition: &Rendition<S>,
    version: Version,
    names: &'a SegmentNames,
    snapshot: &'a Snapshot,
) -> Option<MediaPlaylist<'a, snapshot::Part>> {
    Some(MediaPlaylist {
        version,
        target_duration: NonZeroU32::new(rendition.target_duration).unwrap_or(NonZeroU32::MIN),
        media_sequence: rendition.listed.first()?.sequence(),
        discontinuity_sequence: rendition.discontinuity_sequence,
        independent_segments: rendition.listed.iter().all(|segment| segment.independent()),
        ended: snapshot.state == State::Ended,
        names,
        low_latency: None,
        skipped: 0,
        date_ranges: &snapshot.date_ranges,
    })
}

fn entry<'a, S: Segment>(segment: &'a S, parts: &'a [snapshot::Part]) -> Entry<'a, snapshot::Part> {
    Entry {
        duration: segment.duration(),
        program_date_time: segment.program_date_time(),
        discontinuity: segment.discontinuity(),
        gap: false,
        map: segment.init().map(map_uri),
        parts,
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
    let bandwidth = sum(
        cmaf.video_bandwidth.filter(|_| tracks.video.is_some()),
        cmaf.audio_bandwidth.filter(|_| tracks.audio.is_some()),
    );
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

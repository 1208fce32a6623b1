//! What readers see of a stream: one immutable [`Snapshot`] per version.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_cmaf::InitSegment;
use headwater_media::{AudioConfig, MediaTime, TrackKind, VideoConfig, WallTime};
use serde::{Deserialize, Serialize};

use crate::mpd;
use crate::over::PeriodOver;
use crate::playlist::{self, PARTS_HELD_BACK};
use crate::poster;
use crate::window::span;

/// Where a stream is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// A publisher is there, but nothing can be listed yet: playlists are held, then 404.
    Starting,
    /// Media flows.
    Live,
    /// The publisher is gone and may return: playlists stay as they are.
    Waiting,
    /// Over: playlists end with EXT-X-ENDLIST.
    Ended,
}

/// The tracks that the listed media carries now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tracks {
    /// The video track.
    pub video: Option<Arc<VideoConfig>>,
    /// The audio track.
    pub audio: Option<Arc<AudioConfig>>,
}

impl Tracks {
    /// True when nothing can be played.
    pub fn is_empty(&self) -> bool {
        self.video.is_none() && self.audio.is_none()
    }
}

/// Bit rates as EXT-X-STREAM-INF states them, container included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Peak segment bit rate in bit/s, with margin (8216bis 4.1).
    pub peak: u64,
    /// Average segment bit rate in bit/s.
    pub average: u64,
}

/// What the window and the playlists need to know of a segment, whatever its packaging.
pub trait Segment {
    /// Media sequence number, also its name.
    fn sequence(&self) -> u64;
    /// Presentation duration.
    fn duration(&self) -> MediaTime;
    /// Wall clock of its start.
    fn program_date_time(&self) -> WallTime;
    /// The first segment after a break in timeline or configuration.
    fn discontinuity(&self) -> bool;
    /// Decoding can start with it.
    fn independent(&self) -> bool;
    /// Bytes of media.
    fn size_bytes(&self) -> u64;
    /// The initialization segment that it is decoded with, where its packaging has such.
    fn init(&self) -> Option<&Arc<InitSegment>>;
}

/// One complete MPEG-TS segment. Its bytes never change under its number.
#[derive(Debug, Clone)]
pub struct TsSegment {
    /// Media sequence number, also its name.
    pub sequence: u64,
    /// Media time of its first access unit's presentation.
    pub start: MediaTime,
    /// Presentation duration (the next segment's start minus this one's), same scale as `start`.
    pub duration: MediaTime,
    /// Wall clock of `start`.
    pub program_date_time: WallTime,
    /// The first segment after a break in timeline or configuration.
    pub discontinuity: bool,
    /// Starts with an IDR picture, or has no video.
    pub independent: bool,
    /// The segment: a whole number of 188-byte packets.
    pub payload: Bytes,
}

/// One complete CMAF segment of one track: the concatenation of its chunks. Its bytes never change under its number.
#[derive(Debug, Clone)]
pub struct CmafSegment {
    /// Media sequence number, also its name; equal numbers of the tracks cover equal media time.
    pub sequence: u64,
    /// `tfdt` of its first chunk in the track's timescale: the first sample's presentation time.
    pub start: MediaTime,
    /// Sum of its samples' durations: exactly the next segment's start minus this one's, unless a discontinuity follows.
    pub duration: MediaTime,
    /// Wall clock of `start`.
    pub program_date_time: WallTime,
    /// The first segment after a break in timeline or configuration.
    pub discontinuity: bool,
    /// Starts with an IDR picture, or is audio.
    pub independent: bool,
    /// The initialization segment that it is decoded with.
    pub init: Arc<InitSegment>,
    /// The DASH Period that it belongs to, [`Period::id`].
    pub period: u64,
    /// What it consists of, in order.
    pub parts: Vec<Part>,
}

/// A chunk of a CMAF segment, a `moof` and an `mdat`: what HLS lists as a part and DASH sends as it closes.
#[derive(Debug, Clone)]
pub struct Part {
    /// Sum of its samples' durations in the track's timescale.
    pub duration: MediaTime,
    /// Starts with an IDR picture, or is audio.
    pub independent: bool,
    /// The chunk.
    pub payload: Bytes,
}

impl CmafSegment {
    /// The whole segment as one copy. Its bytes are the parts', one behind the other.
    pub fn payload(&self) -> Bytes {
        Bytes::from(self.parts.iter().map(|part| part.payload.as_ref()).collect::<Vec<_>>().concat())
    }
}

/// The CMAF segment under construction: the parts that are complete.
#[derive(Debug, Clone)]
pub struct Edge {
    /// The number that the segment will bear.
    pub sequence: u64,
    /// `tfdt` of its first part in the track's timescale; `None` before that one.
    pub start: Option<MediaTime>,
    /// Wall clock of `start`.
    pub program_date_time: WallTime,
    /// It comes after a break in timeline or configuration.
    pub discontinuity: bool,
    /// The initialization segment that it is decoded with.
    pub init: Arc<InitSegment>,
    /// The DASH Period that it belongs to, [`Period::id`].
    pub period: u64,
    /// What is complete of it, in order.
    pub parts: Vec<Part>,
}

macro_rules! segment {
    ($segment:ty, $size:expr, $init:expr) => {
        impl Segment for $segment {
            fn sequence(&self) -> u64 {
                self.sequence
            }
            fn duration(&self) -> MediaTime {
                self.duration
            }
            fn program_date_time(&self) -> WallTime {
                self.program_date_time
            }
            fn discontinuity(&self) -> bool {
                self.discontinuity
            }
            fn independent(&self) -> bool {
                self.independent
            }
            fn size_bytes(&self) -> u64 {
                $size(self)
            }
            fn init(&self) -> Option<&Arc<InitSegment>> {
                $init(self)
            }
        }
    };
}

fn no_init(_: &TsSegment) -> Option<&Arc<InitSegment>> {
    None
}

fn init_of(segment: &CmafSegment) -> Option<&Arc<InitSegment>> {
    Some(&segment.init)
}

segment!(TsSegment, |segment: &TsSegment| segment.payload.len() as u64, no_init);
segment!(
    CmafSegment,
    |segment: &CmafSegment| segment.parts.iter().map(|part| part.payload.len() as u64).sum(),
    init_of
);

/// A rendition: what its media playlist lists, and what is kept beyond that.
#[derive(Debug, Clone)]
pub struct Rendition<S> {
    /// EXT-X-TARGETDURATION in seconds, constant once a segment is listed.
    pub target_duration: u32,
    /// EXT-X-DISCONTINUITY-SEQUENCE of the first listed segment.
    pub discontinuity_sequence: u64,
    /// Oldest first, consecutive numbers; what the playlist lists.
    pub listed: Vec<Arc<S>>,
    /// Oldest first, consecutive numbers up to the first listed one: delisted, still fetchable (8216bis 6.2.2).
    pub retained: Vec<Arc<S>>,
    /// Initialization segments of both, each once.
    pub inits: Vec<Arc<InitSegment>>,
}

impl<S> Default for Rendition<S> {
    fn default() -> Rendition<S> {
        Rendition {
            target_duration: 0,
            discontinuity_sequence: 0,
            listed: Vec::new(),
            retained: Vec::new(),
            inits: Vec::new(),
        }
    }
}

/// Each once, in the order in which they come first.
pub(crate) fn distinct<'a>(inits: impl Iterator<Item = &'a Arc<InitSegment>>) -> Vec<Arc<InitSegment>> {
    let mut distinct: Vec<Arc<InitSegment>> = Vec::new();
    for init in inits {
        let is_known =
            |known: &Arc<InitSegment>| Arc::ptr_eq(known, init) || known.name_hash == init.name_hash;
        if !distinct.iter().any(is_known) {
            distinct.push(Arc::clone(init));
        }
    }
    distinct
}

/// A rendition of MPEG-TS segments, all tracks in one.
pub type TsRendition = Rendition<TsSegment>;

/// A rendition of CMAF segments, one track: complete segments, and the one under construction.
#[derive(Debug, Clone, Default)]
pub struct CmafRendition {
    /// Complete segments.
    pub window: Arc<Rendition<CmafSegment>>,
    /// The segment under construction; `None` while nothing is published.
    pub edge: Option<Arc<Edge>>,
    /// Rises with each part and each segment.
    pub revision: u64,
}

impl std::ops::Deref for CmafRendition {
    type Target = Rendition<CmafSegment>;

    fn deref(&self) -> &Rendition<CmafSegment> {
        &self.window
    }
}

impl CmafRendition {
    /// Number and part of what comes next: the part that is being made.
    pub fn next_part(&self) -> Option<(u64, u32)> {
        match &self.edge {
            Some(edge) => Some((edge.sequence, u32::try_from(edge.parts.len()).ok()?)),
            None => Some((self.last_sequence()?.checked_add(1)?, 0)),
        }
    }

    /// Number and part of the newest part that can be fetched.
    pub fn last_part(&self) -> Option<(u64, u32)> {
        let last = |parts: &[Part]| u32::try_from(parts.len().checked_sub(1)?).ok();
        if let Some(edge) = &self.edge
            && let Some(part) = last(&edge.parts)
        {
            return Some((edge.sequence, part));
        }
        let newest = self.listed.last()?;
        Some((newest.sequence, last(&newest.parts)?))
    }

    /// The parts of segment `sequence`, complete or under construction, if it can be fetched.
    pub fn parts(&self, sequence: u64) -> Option<&[Part]> {
        match &self.edge {
            Some(edge) if edge.sequence == sequence => Some(&edge.parts),
            _ => self.segment(sequence).map(|segment| segment.parts.as_slice()),
        }
    }
}

impl<S: Segment> Rendition<S> {
    /// The segment of that number, listed or retained.
    pub fn segment(&self, sequence: u64) -> Option<&Arc<S>> {
        find(&self.listed, sequence).or_else(|| find(&self.retained, sequence))
    }

    /// The number of the newest segment, if there is one.
    pub fn last_sequence(&self) -> Option<u64> {
        self.listed.last().map(|segment| segment.sequence())
    }

    /// Bytes of media held by this rendition.
    pub fn size_bytes(&self) -> u64 {
        self.listed.iter().chain(&self.retained).map(|segment| segment.size_bytes()).sum()
    }
}

/// Numbers rise; what is retained of a track that was away skips some.
fn find<S: Segment>(segments: &[Arc<S>], sequence: u64) -> Option<&Arc<S>> {
    let index = segments.binary_search_by_key(&sequence, |segment| segment.sequence()).ok()?;
    segments.get(index)
}

/// Encoders lie about their rate (codecs.md 1.6): within 2 % of what was measured they are believed.
pub(crate) fn agrees((numerator, denominator): (u32, u32), measured_millihertz: u32) -> bool {
    let stated = u64::from(numerator) * 1_000 / u64::from(denominator.max(1));
    stated.abs_diff(u64::from(measured_millihertz)) * 50 <= u64::from(measured_millihertz)
}

/// A stretch of media with one configuration and one mapping to the wall clock: a DASH Period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// Never reused: the number of its first segment.
    pub id: u64,
    /// Wall clock of its first sample.
    pub start: WallTime,
    /// Media time of its first sample: its presentationTimeOffset in every track's timescale.
    pub media_start: MediaTime,
    /// Its tracks.
    pub tracks: Tracks,
    /// The period whose timeline and configuration it continues.
    pub continues: Option<u64>,
    /// Whether its segments' numbers follow from the time.
    pub cadence: Cadence,
}

/// How evenly a Period is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cadence {
    /// No segment of it is complete.
    Unknown,
    /// Each segment begins about so many 90 kHz ticks after the one before.
    Regular(u64),
    /// A segment began too far from where it would have to.
    Irregular,
}

/// The CMAF packaging: one rendition per track, from the same cuts.
#[derive(Debug, Clone)]
pub struct Cmaf {
    /// The video track's segments.
    pub video: Option<CmafRendition>,
    /// The audio track's segments.
    pub audio: Option<CmafRendition>,
    /// Oldest first: the periods of every listed segment.
    pub periods: Vec<Period>,
    /// Initialization segments of every segment that can be fetched.
    pub inits: Vec<Arc<InitSegment>>,
    /// Bit rates of the video track, once measured.
    pub video_bandwidth: Option<Bandwidth>,
    /// Bit rates of the audio track, once measured.
    pub audio_bandwidth: Option<Bandwidth>,
    /// Frames per second measured over recent video segments, in thousandths.
    pub frame_rate_millihertz: Option<u32>,
    /// How much is listed: DASH's time shift buffer.
    pub window: Duration,
    /// Wall clock when what is listed here last changed: MPD@publishTime.
    pub published_at: WallTime,
    /// Below this number every track's segments are complete: sound ends a few frames later than its picture.
    pub complete_below: u64,
    /// The same for the MPD of low latency, which lists no segments.
    pub low_latency_published_at: WallTime,
    /// EXT-X-PART-INF:PART-TARGET, once it is settled: no part is longer. `None` also where no parts are made.
    pub part_target: Option<Duration>,
    /// The MPD announces event messages: ID3 tags and splice information.
    pub timed_metadata: bool,
    /// Listed before [`Cmaf::periods`]: what players played when an earlier process crashed.
    pub over: Option<Arc<PeriodOver>>,
}

impl Cmaf {
    /// The tracks' renditions.
    pub fn renditions(&self) -> impl Iterator<Item = &CmafRendition> {
        self.video.iter().chain(&self.audio)
    }

    /// A track's rendition.
    pub fn rendition(&self, kind: TrackKind) -> Option<&CmafRendition> {
        match kind {
            TrackKind::Video => self.video.as_ref(),
            TrackKind::Audio => self.audio.as_ref(),
        }
    }

    /// True while a playlist with parts would begin with the media after an interruption, of which nothing before is listed, and be
    /// too short for a player that was at its edge. hls.js 1.7 stays a target duration further behind after a stall; a list that
    /// is shorter makes it seek to where the list begins, a fraction of a microsecond before its first sound, and it stands still.
    pub fn begins_too_short(&self) -> bool {
        let Some(part_target) = self.part_target else { return false };
        self.renditions().any(|rendition| {
            let begins_anew = rendition.listed.first().is_some_and(|segment| segment.discontinuity);
            let segments = rendition.listed.iter().map(|segment| segment.duration);
            let parts = rendition.edge.iter().flat_map(|edge| edge.parts.iter().map(|part| part.duration));
            let listed: Duration = segments.chain(parts).map(span).sum();
            let target_duration = Duration::from_secs(u64::from(rendition.target_duration));
            begins_anew && listed < target_duration + part_target * PARTS_HELD_BACK
        })
    }

    /// True when every track of the newest period has a segment to list.
    pub fn is_playable(&self) -> bool {
        let Some(period) = self.periods.last() else { return false };
        let lists =
            |rendition: &Option<CmafRendition>| rendition.as_ref().is_some_and(|r| !r.listed.is_empty());
        (period.tracks.video.is_none() || lists(&self.video))
            && (period.tracks.audio.is_none() || lists(&self.audio))
    }
}

/// One version of a stream, whole and immutable. A reader sees version n or n + 1, never a mix.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Counts up by one with every change that a reader could see.
    pub version: u64,
    /// Where the stream is in its life.
    pub state: State,
    /// Tracks of the newest listed segment.
    pub tracks: Tracks,
    /// Frames per second measured over recent segments, in thousandths; `None` without video or before two frames.
    pub frame_rate_millihertz: Option<u32>,
    /// Bit rates, once a segment is listed.
    pub bandwidth: Option<Bandwidth>,
    /// Wall clock when this version was made.
    pub published_at: WallTime,
    /// MPEG-TS rendition, when that packaging is switched on.
    pub ts: Option<Arc<TsRendition>>,
    /// CMAF renditions, when that packaging is switched on.
    pub cmaf: Option<Cmaf>,
    /// Tags EXT-X-DATERANGE, for every media playlist of HLS.
    pub date_ranges: Arc<[Arc<[u8]>]>,
}

impl Snapshot {
    /// True when a playlist of this version may be served: at least one segment is listed.
    pub fn is_playable(&self) -> bool {
        self.ts.as_ref().is_some_and(|ts| !ts.listed.is_empty())
            || self.cmaf.as_ref().is_some_and(Cmaf::is_playable)
    }

    /// How much media the longest playlist lists.
    pub fn listed_duration(&self) -> Duration {
        fn listed<S: Segment>(rendition: &Rendition<S>) -> Duration {
            let ms = |segment: &Arc<S>| segment.duration().millis().max(0).unsigned_abs();
            Duration::from_millis(rendition.listed.iter().map(ms).sum())
        }
        let cmaf =
            self.cmaf.iter().flat_map(Cmaf::renditions).map(|rendition| listed(&rendition.window)).max();
        self.ts.as_deref().map(listed).max(cmaf).unwrap_or_default()
    }

    /// EXT-X-TARGETDURATION in seconds, equal in all renditions.
    pub fn target_duration(&self) -> Option<u32> {
        let cmaf = self
            .cmaf
            .as_ref()
            .and_then(|cmaf| cmaf.renditions().map(|rendition| rendition.target_duration).max());
        self.ts.as_ref().map(|ts| ts.target_duration).or(cmaf)
    }

    /// The media playlist of the MPEG-TS rendition, rendered anew; `None` while nothing is listed.
    pub fn media_playlist(&self) -> Option<Vec<u8>> {
        playlist::ts_media(self)
    }

    /// The multivariant playlist of the MPEG-TS packaging, rendered anew; `None` while nothing is listed.
    pub fn multivariant_playlist(&self) -> Option<Vec<u8>> {
        playlist::ts_multivariant(self)
    }

    /// The media playlist of a CMAF track, rendered anew; `None` while nothing is listed.
    pub fn cmaf_media_playlist(&self, kind: TrackKind) -> Option<Vec<u8>> {
        playlist::cmaf_media(self, kind, false)
    }

    /// The delta update of a CMAF track's media playlist (8216bis 6.2.5.1), rendered anew: whole where there is nothing to leave
    /// out; `None` while nothing is listed.
    pub fn cmaf_delta_update(&self, kind: TrackKind) -> Option<Vec<u8>> {
        playlist::cmaf_media(self, kind, true)
    }

    /// The multivariant playlist of the CMAF packaging, rendered anew; `None` while nothing is listed.
    pub fn cmaf_multivariant_playlist(&self) -> Option<Vec<u8>> {
        playlist::cmaf_multivariant(self)
    }

    /// The MPD, rendered anew; `None` while nothing is listed. `utc_timing`: absolute URL of a clock (cmaf-dash.md 5.8).
    pub fn mpd(&self, utc_timing: Option<&str>) -> Option<Vec<u8>> {
        mpd::mpd(self, utc_timing)
    }

    /// The MPD of low latency, whose segments can be asked for while they are under construction, rendered anew; `None` while
    /// nothing is listed, and where segments are not regular enough to number themselves by time.
    pub fn low_latency_mpd(&self, utc_timing: Option<&str>) -> Option<Vec<u8>> {
        mpd::low_latency_mpd(self, utc_timing)
    }

    /// The newest keyframe as an MP4 file of one sample, made anew; `None` where no CMAF segment lists a picture.
    pub fn poster(&self) -> Option<Vec<u8>> {
        poster::poster(self)
    }

    /// Whether low-latency DASH can't be offered now, because keyframes don't come regularly.
    pub fn is_irregular(&self) -> bool {
        let period = self.cmaf.as_ref().and_then(|cmaf| cmaf.periods.last());
        period.is_some_and(|period| period.cadence == Cadence::Irregular)
    }

    /// Frames per second as a fraction: what the bitstream states where the measurement agrees, else the measurement.
    pub fn frame_rate(&self) -> Option<(u32, u32)> {
        let measured = self.frame_rate_millihertz?;
        let stated = self.tracks.video.as_ref().and_then(|video| video.frame_rate);
        Some(stated.filter(|stated| agrees(*stated, measured)).unwrap_or((measured, 1_000)))
    }

    /// Bytes of media held by all renditions.
    pub fn size_bytes(&self) -> u64 {
        let ts = self.ts.as_ref().map_or(0, |ts| ts.size_bytes());
        let cmaf: u64 =
            self.cmaf.iter().flat_map(Cmaf::renditions).map(|rendition| rendition.window.size_bytes()).sum();
        ts + cmaf
    }
}

//! One stream's packager: events in, snapshots out. It outlives its publishers.

mod budget;
mod cues;
mod invariants;
mod kept;
mod segments;

use std::sync::Arc;
use std::time::Duration;

use headwater_media::{
    AudioConfig, Cause, Event, MediaTime, Sample, Timescale, TrackConfig, TrackId, TrackKind, VideoConfig,
    WallTime,
};

use crate::cmaf::CmafPackaging;
use crate::cut::{Cutter, Decision};
use crate::gate::Gate;
use crate::metadata::Metadata;
use crate::placed::{Outlet, Placed};
use crate::rates::Rates;
use crate::snapshot::{Snapshot, State, Tracks};
use crate::timeline::{Repairs, Timeline};
use crate::ts::TsPackaging;
use crate::wall::WallMapping;
use crate::window::Numbering;

pub use budget::Memory;

/// The media clock never starts below this: PCR runs behind DTS and DTS behind PTS, and neither may pass below zero in the
/// first seconds after midnight (mpegts-hls.md 6.4).
const MEDIA_TIME_MIN_MS: i64 = 10_000;

/// A changed audio configuration waits for the next keyframe, so that segments start with one; at most this long.
const AUDIO_CHANGE_WAIT_MS: i64 = 10_000;

/// Stamps are rounded to milliseconds: 90 kHz ticks.
const STAMP_ROUNDING: i64 = 90;

/// Encoders' clocks are fast by less than one part in so many.
const ENCODER_CLOCK_ONE_IN: u32 = 1_000;

/// Beyond this, DASH's mapping of media time to the wall clock is stated anew by another Period: in time for DESIGN 5's 0.5 s,
/// since it takes effect with the next segment.
const DRIFT_MAX_MS: u64 = 450;

/// Video this far behind audio has fallen silent: audio alone then ends segments.
const VIDEO_SILENT_TICKS: i64 = 180_000;

/// Dates ahead of the clock by more than this are no publisher's doing (it is paced at 10 s): the clock was set back.
const AHEAD_MS_MAX: i64 = 30_000;

/// Segments that one hole may be spread over. A hole of all tracks is at most 3 s long and a segment at least one; where audio goes
/// on alone, it ends segments itself once video is 2 s behind.
const HOLE_SEGMENTS_MAX: u32 = 12;

/// Both clocks at an event's arrival; `origin` reads them, nothing here does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Monotonic time since an arbitrary start.
    pub now: Duration,
    /// Wall clock.
    pub wall: WallTime,
}

/// How a stream is packaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Segments end at the first keyframe at or after this.
    pub segment_duration: Duration,
    /// What a playlist lists.
    pub window: Duration,
    /// MPEG-TS segments for HLS are made.
    pub hls: bool,
    /// CMAF segments for HLS and DASH are made.
    pub cmaf: bool,
    /// How long parts of CMAF segments are meant to be; `None`: a segment is one chunk.
    pub part_duration: Option<Duration>,
    /// Bytes of media that the stream may hold ([`Memory`]).
    pub bytes_max: u64,
    /// Added to the time of day at which the media clock starts: how a stream looks that has run for so long.
    pub media_time_offset: Duration,
    /// Tracks of timed metadata are announced, in MPEG-TS and in the MPD: ID3 tags and splice information can be inserted.
    pub timed_metadata: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            segment_duration: Duration::from_secs(2),
            window: Duration::from_secs(20),
            hls: true,
            cmaf: true,
            part_duration: Some(Duration::from_millis(200)),
            bytes_max: 512 << 20,
            media_time_offset: Duration::ZERO,
            timed_metadata: false,
        }
    }
}

/// Why a publication can't go on. The text is for the publisher and the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No packaging that is switched on can carry what is published.
    #[error("cannot be packaged: {0}")]
    Unpackageable(String),
    /// Less than what a playlist must list, and what comes, are more than the stream may hold.
    #[error("the stream needs more than the {bytes_max} bytes that it may hold")]
    OverBudget {
        /// [`Config::bytes_max`].
        bytes_max: u64,
    },
}

/// What happened so far, for the API and the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Access units placed on the media clock.
    pub video_samples: u64,
    /// Audio frames placed on the media clock.
    pub audio_samples: u64,
    /// Video dropped because decoding could not start with it, or its configuration was not in force yet.
    pub video_dropped: u64,
    /// Audio dropped because its configuration was not in force yet or its track is not carried.
    pub audio_dropped: u64,
    /// Samples of tracks beside the default ones.
    pub other_tracks_dropped: u64,
    /// Samples that no container could carry.
    pub unwritable: u64,
    /// Segments ended between keyframes.
    pub forced_cuts: u64,
    /// Configuration changes that took effect.
    pub config_changes: u64,
    /// Frames of silence written in place of audio that did not come.
    pub silence_filled: u64,
    /// Segments that show the last keyframe in place of pictures that did not come.
    pub pictures_repeated: u64,
    /// Parts that are longer than EXT-X-PART-INF:PART-TARGET, because a picture stayed on for so long.
    pub parts_overlong: u64,
    /// Cues that were put into the stream.
    pub cues: u64,
    /// Cues that could not be: nobody published, no track of timed metadata is announced, or too many waited.
    pub cues_refused: u64,
    /// Segments that left before their time because the stream held too much.
    pub evicted_for_memory: u64,
    /// Publishing sessions that delivered media.
    pub sessions: u64,
    /// What the timeline mended.
    pub repairs: Repairs,
}

/// A configuration that waits for the sample it can start with.
#[derive(Debug, Default)]
struct Pending {
    video: Option<Arc<VideoConfig>>,
    audio: Option<Arc<AudioConfig>>,
    /// Session time of the first frame of the pending audio configuration: a track that is announced must send.
    audio_since_ms: Option<i64>,
}

/// Where the session stands.
#[derive(Debug)]
enum Session {
    /// No publisher.
    None,
    /// The tracks and the first keyframe are sought.
    Starting(Gate),
    /// Media flows into segments.
    Running,
}

/// Turns one stream's events into segments and snapshots.
///
/// It belongs to one writer (the publisher's task) and knows no clock: every call brings the time along.
#[derive(Debug)]
pub struct Packager {
    timeline: Timeline,
    cutter: Cutter,
    wall: WallMapping,
    rates: Rates,
    session: Session,
    active: Tracks,
    pending: Pending,
    ts: Option<TsPackaging>,
    cmaf: Option<CmafPackaging>,
    metadata: Metadata,
    /// See [`Config::timed_metadata`].
    timed_metadata: bool,
    /// The running segment's number, or the next one's.
    sequence: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE of a segment that would start now without a discontinuity of its own.
    discontinuities: u64,
    /// The numbers continue an earlier life: the first segment is a discontinuity.
    discontinuity_due: bool,
    /// Composition offset of the last keyframe: segments that start elsewhere start at a decode time shifted by it.
    keyframe_cts: i64,
    /// Where the last session ended on the media clock, 90 kHz ticks.
    resume_at: Option<i64>,
    /// Media and monotonic time of the session's anchor, for pacing.
    session_start: Option<(i64, Duration)>,
    state: State,
    /// Something is listed.
    has_listed: bool,
    version: u64,
    changed: bool,
    counters: Counters,
    /// See [`Config::media_time_offset`].
    media_time_offset_ms: i64,
    /// See [`Config::bytes_max`].
    bytes_max: u64,
    input: budget::Input,
    placed: Outlet,
    /// See [`Packager::set_continuous_bytes`].
    continuous_bytes: u64,
}

impl Packager {
    /// A packager for a stream that nobody publishes yet.
    pub fn new(config: &Config, numbering: Numbering) -> Packager {
        let segment_ms = u32::try_from(config.segment_duration.as_millis()).unwrap_or(u32::MAX);
        Packager {
            timeline: Timeline::new(),
            cutter: Cutter::new(segment_ms),
            wall: WallMapping::default(),
            rates: Rates::default(),
            session: Session::None,
            active: Tracks::default(),
            pending: Pending::default(),
            ts: config.hls.then(|| TsPackaging::new(config.window, numbering, config.timed_metadata)),
            cmaf: config
                .cmaf
                .then(|| CmafPackaging::new(config.window, config.part_duration, config.timed_metadata)),
            metadata: Metadata::default(),
            timed_metadata: config.timed_metadata,
            sequence: numbering.media_sequence.max(1),
            discontinuities: numbering.discontinuity_sequence,
            discontinuity_due: numbering.resumed,
            keyframe_cts: 0,
            resume_at: None,
            session_start: None,
            state: State::Starting,
            has_listed: false,
            version: 0,
            changed: true,
            counters: Counters::default(),
            media_time_offset_ms: i64::try_from(config.media_time_offset.as_millis()).unwrap_or(0),
            bytes_max: config.bytes_max,
            input: budget::Input::default(),
            placed: Outlet::default(),
            continuous_bytes: 0,
        }
    }

    /// The stream may hold so many bytes from the next sample on (see [`Config::bytes_max`]).
    pub fn set_bytes_max(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// A publisher starts, the first or another one.
    pub fn begin_session(&mut self, clock: Clock) {
        if !matches!(self.session, Session::None) {
            self.end_session(Cause::Takeover, clock);
        }
        if self.state == State::Ended {
            // Viewers of the new publication must not be shown the end of the one before.
            self.metadata.forget_ranges();
            if let Some(ts) = &mut self.ts {
                ts.window_mut().delist_all(clock.now);
            }
            if let Some(cmaf) = &mut self.cmaf {
                cmaf.delist_all(clock.now);
            }
            self.has_listed = false;
        }
        self.timeline.begin_session();
        self.session = Session::Starting(Gate::default());
        self.session_start = None;
        self.pending = Pending::default();
        self.enter(if self.has_listed { State::Live } else { State::Starting });
    }

    /// Takes one event of the session.
    ///
    /// # Errors
    /// [`Refusal`] when what is published can't be packaged at all; the session should be ended with the reason.
    pub fn push(&mut self, event: Event, clock: Clock) -> Result<(), Refusal> {
        match event {
            Event::Config(track, config) => {
                self.take_config(track, &config);
                Ok(())
            }
            Event::Sample(sample) => self.take_sample(sample, clock),
            Event::End(cause) => {
                self.end_session(cause, clock);
                Ok(())
            }
            // Metadata is a hint that nothing here needs; a break shows in the stamps, which the timeline mends.
            Event::Data(_) | Event::Discontinuity(_) => Ok(()),
        }
    }

    /// The publisher is gone. The stream waits for another one until [`Packager::finish`].
    pub fn end_session(&mut self, _cause: Cause, clock: Clock) {
        if let Session::Starting(gate) = std::mem::replace(&mut self.session, Session::None) {
            // A publication shorter than the wait for a second track is still media.
            if gate.tracks() != (false, false) && self.start(gate).is_err() {
                self.session = Session::None;
            }
        }
        self.session = Session::None;
        self.metadata.forget_waiting();
        if let (Some(start), Some(end)) = (self.cutter.start(), self.timeline.end()) {
            let end = end.ticks().clamp(start.saturating_add(1), start.saturating_add(self.cutter.limit()));
            let end = self.not_before(end);
            self.end_segment(end, true, clock);
            self.cutter.stop();
            self.resume_at = Some(end);
        }
        if self.state != State::Ended {
            self.enter(State::Waiting);
        }
    }

    /// Nobody came back: the stream is over, its playlists end.
    pub fn finish(&mut self, clock: Clock) {
        if !matches!(self.session, Session::None) {
            self.end_session(Cause::Server, clock);
        }
        if let Some(cmaf) = self.cmaf.as_mut().filter(|_| self.state != State::Ended) {
            cmaf.touch(clock.wall);
        }
        self.enter(State::Ended);
    }

    /// The next version for readers, if something they see has changed since the last call.
    pub fn poll_snapshot(&mut self, wall: WallTime) -> Option<Arc<Snapshot>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.version += 1;
        let target_duration = self.cutter.target_duration();
        Some(Arc::new(Snapshot {
            version: self.version,
            state: self.state,
            tracks: self.active.clone(),
            frame_rate_millihertz: self.frame_rate_millihertz(),
            bandwidth: self.rates.bandwidth(),
            published_at: wall,
            ts: self.ts.as_ref().map(|ts| ts.rendition(target_duration)),
            cmaf: self.cmaf.as_mut().map(|cmaf| cmaf.snapshot(target_duration, wall)),
            date_ranges: self.metadata.lines(),
        }))
    }

    /// True when [`Packager::poll_snapshot`] would give a version.
    pub fn has_news(&self) -> bool {
        self.changed
    }

    /// Hands what is placed on the media clock to `sink` from now on, in order, each sample before it is packaged: who watches an output
    /// without segments waits for this very sample.
    pub fn hand_placed_to(&mut self, sink: impl FnMut(Placed) + Send + Sync + 'static) {
        self.placed = Outlet::new(sink);
    }

    /// How far the session's media is ahead of the clock: a publisher faster than real time is paced by this.
    pub fn ahead(&self, now: Duration) -> Duration {
        let (Some((media, since)), Some(last)) = (self.session_start, self.timeline.end()) else {
            return Duration::ZERO;
        };
        let progress_ms = (last.ticks().saturating_sub(media) / 90).max(0);
        let elapsed = now.saturating_sub(since);
        // An encoder whose clock is fast by 100 ppm is 10 s ahead after a day, and is no faster than real time for that.
        Duration::from_millis(progress_ms.unsigned_abs())
            .saturating_sub(elapsed + elapsed / ENCODER_CLOCK_ONE_IN)
    }

    /// Where the stream is in its life.
    pub fn state(&self) -> State {
        self.state
    }

    /// The number that the next segment will bear, and the discontinuity sequence reached.
    pub fn numbers(&self) -> (u64, u64) {
        (self.sequence, self.discontinuities)
    }

    /// The longest keyframe interval seen, if two keyframes were.
    pub fn longest_gop(&self) -> Option<Duration> {
        let ms = u64::try_from(self.cutter.longest_gop() / 90).ok().filter(|ms| *ms > 0)?;
        Some(Duration::from_millis(ms))
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        let unwritable = self.ts.as_ref().map_or(0, TsPackaging::refused)
            + self.cmaf.as_ref().map_or(0, CmafPackaging::refused);
        let silence_filled = self.cmaf.as_ref().map_or(0, CmafPackaging::silence_filled);
        let pictures_repeated = self.cmaf.as_ref().map_or(0, CmafPackaging::pictures_repeated);
        let parts_overlong = self.cmaf.as_ref().map_or(0, CmafPackaging::parts_overlong);
        Counters {
            unwritable,
            parts_overlong,
            silence_filled,
            pictures_repeated,
            repairs: self.timeline.repairs(),
            ..self.counters
        }
    }

    fn frame_rate_millihertz(&self) -> Option<u32> {
        self.active.video.as_ref()?;
        let cmaf = || self.cmaf.as_ref().and_then(CmafPackaging::frame_rate_millihertz);
        self.rates.frame_rate_millihertz().or_else(cmaf)
    }

    fn enter(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.changed = true;
        }
    }

    fn take_config(&mut self, track: TrackId, config: &TrackConfig) {
        if track.index != 0 {
            return;
        }
        // An identical repeated configuration is not a change; one that is taken back before it took effect is none either.
        match config {
            TrackConfig::Video(video) => {
                let same =
                    self.active.video.as_deref() == Some(video) && matches!(self.session, Session::Running);
                self.pending.video = (!same).then(|| Arc::new(video.clone()));
            }
            TrackConfig::Audio(audio) => {
                let same =
                    self.active.audio.as_deref() == Some(audio) && matches!(self.session, Session::Running);
                self.pending.audio = (!same).then(|| Arc::new(audio.clone()));
                self.pending.audio_since_ms = None;
            }
        }
    }

    fn take_sample(&mut self, sample: Sample, clock: Clock) -> Result<(), Refusal> {
        if sample.track.index != 0 {
            self.counters.other_tracks_dropped += 1;
            return Ok(());
        }
        self.make_room(sample.data.len(), clock)?;
        self.claim(sample.data.len());
        let sample = self.timeline.unwrap(sample);
        match &mut self.session {
            Session::None => Ok(()),
            Session::Running => self.place(sample, clock),
            Session::Starting(gate) => {
                if gate.push(sample, clock) {
                    self.counters.video_dropped += 1;
                }
                if !gate.is_ready() {
                    return Ok(());
                }
                let gate = std::mem::take(gate);
                self.start(gate)
            }
        }
    }

    /// The session's tracks and its first keyframe are known.
    fn start(&mut self, gate: Gate) -> Result<(), Refusal> {
        let (has_video, has_audio) = gate.tracks();
        let held = gate.open();
        let Some((anchor, clock)) = held.first() else { return Ok(()) };
        let (raw, clock) = (anchor.pts(), *clock);
        let mut tracks = Tracks {
            video: self.pending.video.take_if(|_| has_video),
            audio: self.pending.audio.take_if(|_| has_audio),
        };
        let changed = tracks != self.active;
        if changed {
            self.configure(&mut tracks, clock)?;
            self.timeline.audio_config_changed();
            if !self.active.is_empty() {
                self.counters.config_changes += 1;
                self.discontinuity_due = true;
            }
            self.active = tracks;
        }
        self.placed.tracks(&self.active);
        let day_ms = clock.wall.millis_of_day().max(MEDIA_TIME_MIN_MS);
        let first_ms = day_ms.saturating_add(self.media_time_offset_ms);
        let start = self.resume_at.unwrap_or(first_ms.saturating_mul(90));
        let media = MediaTime::new(start, Timescale::MPEG);
        self.timeline.anchor(raw, media);
        // A publisher that was ahead of the clock has dated its media ahead: dates go on from there and not back.
        let dated = self.resume_at.map_or(clock.wall, |_| self.wall.wall(media));
        let ahead_ms = dated.unix_millis().saturating_sub(clock.wall.unix_millis());
        let wall = if (0..=AHEAD_MS_MAX).contains(&ahead_ms) { dated } else { clock.wall };
        self.wall.anchor(media, wall);
        self.begin_period(start, !changed);
        self.session_start = Some((start, clock.now));
        self.session = Session::Running;
        self.counters.sessions += 1;
        if self.ts.is_none() && self.cmaf.is_none() {
            // No segment will say so.
            self.enter(State::Live);
        }
        self.open(start, has_video, true);
        for (sample, clock) in held {
            self.make_room(sample.data.len(), clock)?;
            self.place(sample, clock)?;
        }
        Ok(())
    }

    fn place(&mut self, sample: Sample, clock: Clock) -> Result<(), Refusal> {
        match sample.track.kind {
            TrackKind::Video => self.place_video(sample, clock),
            TrackKind::Audio => self.place_audio(sample, clock),
        }
    }

    fn place_video(&mut self, sample: Sample, clock: Clock) -> Result<(), Refusal> {
        let is_waiting = self.pending.video.is_some() || self.active.video.is_none();
        if is_waiting && !(sample.sync && self.pending.video.is_some()) {
            self.counters.video_dropped += 1;
            return Ok(());
        }
        let sync = sample.sync;
        let sample = self.timeline.place_video(sample);
        if sync {
            self.keyframe_cts = i64::from(sample.cts_offset);
        }
        let dts = sample.dts.ticks();
        let boundary = dts.saturating_add(self.keyframe_cts);
        let decision = self.cutter.video(boundary, sync, self.timeline.video_step());
        let audio_due = self.pending.audio.is_some() && self.pending.audio_since_ms.is_some();
        if sync && (self.pending.video.is_some() || audio_due) {
            self.change_tracks(boundary, (true, audio_due), true, clock)?;
        } else if let Decision::Cut { independent } = decision {
            self.cut(boundary, independent, sync, clock);
        }
        // As a keyframe would be shown: samples come in the order of decoding, and reordered ones are shown a picture or three ahead of that.
        self.wall.observe(MediaTime::new(boundary, Timescale::MPEG), clock);
        self.rates.frame();
        self.counters.video_samples += 1;
        self.write(&sample, clock);
        Ok(())
    }

    fn place_audio(&mut self, sample: Sample, clock: Clock) -> Result<(), Refusal> {
        if let Some(pending) = &self.pending.audio {
            let ms = sample.dts.millis();
            let since = *self.pending.audio_since_ms.get_or_insert(ms);
            if self.active.video.is_some() && ms.saturating_sub(since) < AUDIO_CHANGE_WAIT_MS {
                self.counters.audio_dropped += 1;
                return Ok(());
            }
            let (rate, frame) = (pending.sample_rate, pending.samples_per_frame);
            self.timeline.audio_config_changed();
            let Some(sample) = self.timeline.place_audio(sample, rate, frame) else { return Ok(()) };
            let boundary = sample.dts.rescale(Timescale::MPEG).ticks();
            let has_video = self.active.video.is_some();
            self.change_tracks(boundary, (false, true), !has_video, clock)?;
            self.finish_audio(&sample, clock);
            return Ok(());
        }
        let Some(config) = &self.active.audio else {
            self.counters.audio_dropped += 1;
            return Ok(());
        };
        let (rate, frame) = (config.sample_rate, config.samples_per_frame);
        let Some(sample) = self.timeline.place_audio(sample, rate, frame) else { return Ok(()) };
        let boundary = sample.dts.rescale(Timescale::MPEG).ticks();
        if self.session_start.is_some_and(|(start, _)| boundary < start - STAMP_ROUNDING) {
            // Heard before the session's first picture is seen; B-frames let such audio arrive behind the keyframe.
            self.counters.audio_dropped += 1;
            return Ok(());
        }
        let has_video = self.active.video.is_some();
        let step = MediaTime::new(i64::from(frame), rate).rescale(Timescale::MPEG).ticks();
        // Not sooner: some publishers send sound well ahead of its picture. What has grown past the limit by then is cut there.
        let video_silent = self
            .timeline
            .last_video_dts()
            .is_none_or(|dts| boundary.saturating_sub(dts) > VIDEO_SILENT_TICKS);
        if (!has_video || video_silent)
            && let Decision::Cut { independent } = self.cutter.audio(boundary, step, has_video)
        {
            self.cut(boundary, independent, false, clock);
        }
        self.finish_audio(&sample, clock);
        Ok(())
    }

    fn finish_audio(&mut self, sample: &Sample, clock: Clock) {
        self.wall.observe(sample.dts, clock);
        self.counters.audio_samples += 1;
        self.write(sample, clock);
    }

    /// Pending configurations take effect at `boundary`, video's only where its keyframe is at hand: a cut, a discontinuity, new
    /// tracks.
    fn change_tracks(
        &mut self,
        boundary: i64,
        (video_due, audio_due): (bool, bool),
        independent: bool,
        clock: Clock,
    ) -> Result<(), Refusal> {
        let boundary = self.cutter.start().map_or(boundary, |start| boundary.max(start.saturating_add(1)));
        let boundary = self.close(boundary, clock);
        let mut tracks = self.active.clone();
        if let Some(video) = self.pending.video.take_if(|_| video_due) {
            tracks.video = Some(video);
        }
        if audio_due {
            if let Some(audio) = self.pending.audio.take() {
                tracks.audio = Some(audio);
            }
            self.pending.audio_since_ms = None;
            self.timeline.audio_config_changed();
        }
        self.configure(&mut tracks, clock)?;
        self.active = tracks;
        self.placed.tracks(&self.active);
        self.counters.config_changes += 1;
        self.discontinuity_due = true;
        self.begin_period(boundary, false);
        self.open(boundary, independent, true);
        Ok(())
    }

    /// Hands the tracks to every packaging. Audio that a packaging can't carry is left out where there is video.
    fn configure(&mut self, tracks: &mut Tracks, clock: Clock) -> Result<(), Refusal> {
        let Err(reason) = self.try_configure(tracks, clock) else { return Ok(()) };
        if tracks.video.is_some()
            && tracks.audio.take().is_some()
            && self.try_configure(tracks, clock).is_ok()
        {
            return Ok(());
        }
        Err(Refusal::Unpackageable(reason))
    }

    fn try_configure(&mut self, tracks: &Tracks, clock: Clock) -> Result<(), String> {
        if let Some(ts) = &mut self.ts {
            ts.configure(tracks).map_err(|error| error.to_string())?;
        }
        if let Some(cmaf) = &mut self.cmaf {
            cmaf.settle_all(self.cutter.target_duration(), clock);
            let numbering = Numbering {
                media_sequence: self.sequence,
                discontinuity_sequence: self.discontinuities,
                resumed: false,
            };
            cmaf.configure(tracks, numbering, clock.now).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

//! One stream's packager: events in, snapshots out. It outlives its publishers.

use std::sync::Arc;
use std::time::Duration;

use headwater_media::{
    AudioConfig, Cause, Event, MediaTime, Sample, Timescale, TrackConfig, TrackId, TrackKind, VideoConfig,
    WallTime,
};

use crate::cut::{Cutter, Decision};
use crate::gate::Gate;
use crate::rates::Rates;
use crate::snapshot::{Snapshot, State, Tracks};
use crate::timeline::{Repairs, Timeline};
use crate::ts::TsPackaging;
use crate::wall::WallMapping;
use crate::window::Numbering;

/// The media clock never starts below this: PCR runs behind DTS and DTS behind PTS, and neither may pass below zero in the
/// first seconds after midnight (mpegts-hls.md 6.4).
const MEDIA_TIME_MIN_MS: i64 = 10_000;

/// A changed audio configuration waits for the next keyframe, so that segments start with one; at most this long.
const AUDIO_CHANGE_WAIT_MS: i64 = 10_000;

/// Video this far behind audio has fallen silent: audio alone then ends segments.
const VIDEO_SILENT_TICKS: i64 = 180_000;

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
}

impl Default for Config {
    fn default() -> Config {
        Config { segment_duration: Duration::from_secs(2), window: Duration::from_secs(20), hls: true }
    }
}

/// Why a publication can't go on. The text is for the publisher and the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No packaging that is switched on can carry what is published.
    #[error("cannot be packaged: {0}")]
    Unpackageable(String),
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
    /// The numbers continue an earlier life: the first segment is a discontinuity.
    discontinuity_due: bool,
    /// Composition offset of the last keyframe: segments that start elsewhere start at a decode time shifted by it.
    keyframe_cts: i64,
    /// Where the last session ended on the media clock, 90 kHz ticks.
    resume_at: Option<i64>,
    /// Media and monotonic time of the session's anchor, for pacing.
    session_start: Option<(i64, Duration)>,
    state: State,
    version: u64,
    changed: bool,
    counters: Counters,
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
            ts: config.hls.then(|| TsPackaging::new(config.window, numbering)),
            discontinuity_due: numbering.resumed,
            keyframe_cts: 0,
            resume_at: None,
            session_start: None,
            state: State::Starting,
            version: 0,
            changed: true,
            counters: Counters::default(),
        }
    }

    /// A publisher starts, the first or another one.
    pub fn begin_session(&mut self, clock: Clock) {
        if !matches!(self.session, Session::None) {
            self.end_session(Cause::Takeover, clock);
        }
        if self.state == State::Ended {
            // Viewers of the new publication must not be shown the end of the one before.
            if let Some(ts) = &mut self.ts {
                ts.window_mut().delist_all(clock.now);
            }
        }
        self.timeline.begin_session();
        self.session = Session::Starting(Gate::default());
        self.session_start = None;
        self.pending = Pending::default();
        let playable = self.ts.as_ref().is_some_and(|ts| !ts.window().is_empty());
        self.enter(if playable { State::Live } else { State::Starting });
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
        if let (Some(start), Some(end)) = (self.cutter.start(), self.timeline.end()) {
            let limit = i64::from(self.cutter.target_duration()) * 90_000 + 499 * 90;
            let end = end.ticks().clamp(start.saturating_add(1), start.saturating_add(limit));
            self.close(end, true, clock);
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
            frame_rate_millihertz: self
                .active
                .video
                .is_some()
                .then(|| self.rates.frame_rate_millihertz())
                .flatten(),
            bandwidth: self.rates.bandwidth(),
            published_at: wall,
            ts: self.ts.as_ref().map(|ts| ts.rendition(target_duration)),
        }))
    }

    /// True when [`Packager::poll_snapshot`] would give a version.
    pub fn has_news(&self) -> bool {
        self.changed
    }

    /// How far the session's media is ahead of the clock: a publisher faster than real time is paced by this.
    pub fn ahead(&self, now: Duration) -> Duration {
        let (Some((media, since)), Some(last)) = (self.session_start, self.timeline.end()) else {
            return Duration::ZERO;
        };
        let progress_ms = (last.ticks().saturating_sub(media) / 90).max(0);
        Duration::from_millis(progress_ms.unsigned_abs()).saturating_sub(now.saturating_sub(since))
    }

    /// Where the stream is in its life.
    pub fn state(&self) -> State {
        self.state
    }

    /// The number that the next segment will bear, and the discontinuity sequence reached.
    pub fn numbers(&self) -> Option<(u64, u64)> {
        self.ts.as_ref().map(|ts| (ts.window().next_sequence(), ts.window().discontinuities()))
    }

    /// The longest keyframe interval seen, if two keyframes were.
    pub fn longest_gop(&self) -> Option<Duration> {
        let ms = u64::try_from(self.cutter.longest_gop() / 90).ok().filter(|ms| *ms > 0)?;
        Some(Duration::from_millis(ms))
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        let unwritable = self.ts.as_ref().map_or(0, TsPackaging::refused);
        Counters { unwritable, repairs: self.timeline.repairs(), ..self.counters }
    }

    /// Checks what must hold between any two calls, for tests and fuzzing.
    ///
    /// # Panics
    /// When it does not hold.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        let Some(ts) = &self.ts else { return };
        let rendition = ts.rendition(self.cutter.target_duration());
        let all: Vec<_> = rendition.retained.iter().chain(&rendition.listed).collect();
        for pair in all.windows(2) {
            let [left, right] = pair else { continue };
            assert_eq!(left.sequence + 1, right.sequence, "numbers count by one");
            assert!(
                right.start.ticks() >= left.start.ticks() + left.duration.ticks(),
                "media time went back"
            );
            if !right.discontinuity {
                assert_eq!(
                    left.start.ticks() + left.duration.ticks(),
                    right.start.ticks(),
                    "hole without a tag"
                );
            }
        }
        for segment in &all {
            assert!(segment.duration.ticks() > 0, "empty duration");
            assert_eq!(segment.payload.len() % 188, 0, "whole packets");
        }
        for segment in &rendition.listed {
            let rounded = (segment.duration.ticks() + 45_000) / 90_000;
            assert!(
                rounded <= i64::from(rendition.target_duration),
                "{segment:?} passes the target duration"
            );
        }
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
            self.configure(&mut tracks)?;
            self.timeline.audio_config_changed();
            if !self.active.is_empty() {
                self.counters.config_changes += 1;
                self.discontinuity_due = true;
            }
            self.active = tracks;
        }
        let day_ms = clock.wall.millis_of_day().max(MEDIA_TIME_MIN_MS);
        let start = self.resume_at.unwrap_or(day_ms * 90);
        let media = MediaTime::new(start, Timescale::MPEG);
        self.timeline.anchor(raw, media);
        self.wall.anchor(media, clock.wall);
        self.session_start = Some((start, clock.now));
        self.session = Session::Running;
        self.counters.sessions += 1;
        self.open(start, has_video, true);
        for (sample, clock) in held {
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
            self.change_tracks(boundary, audio_due, true, clock)?;
        } else if let Decision::Cut { independent } = decision {
            self.cut(boundary, independent, sync, clock);
        }
        self.wall.observe(sample.pts(), clock.wall);
        self.rates.frame();
        self.counters.video_samples += 1;
        self.write(&sample);
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
            self.change_tracks(boundary, true, !has_video, clock)?;
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
        let has_video = self.active.video.is_some();
        let video_silent = self
            .timeline
            .last_video_dts()
            .is_none_or(|dts| boundary.saturating_sub(dts) > VIDEO_SILENT_TICKS);
        if !has_video || video_silent {
            let step = MediaTime::new(i64::from(frame), rate).rescale(Timescale::MPEG).ticks();
            if let Decision::Cut { independent } = self.cutter.audio(boundary, step, has_video) {
                self.cut(boundary, independent, false, clock);
            }
        }
        self.finish_audio(&sample, clock);
        Ok(())
    }

    fn finish_audio(&mut self, sample: &Sample, clock: Clock) {
        self.wall.observe(sample.dts, clock.wall);
        self.counters.audio_samples += 1;
        self.write(sample);
    }

    /// Pending configurations take effect at `boundary`: a cut, a discontinuity, new tracks.
    fn change_tracks(
        &mut self,
        boundary: i64,
        audio_due: bool,
        independent: bool,
        clock: Clock,
    ) -> Result<(), Refusal> {
        let boundary = self.cutter.start().map_or(boundary, |start| boundary.max(start.saturating_add(1)));
        self.close(boundary, false, clock);
        let mut tracks = self.active.clone();
        if let Some(video) = self.pending.video.take() {
            tracks.video = Some(video);
        }
        if audio_due {
            if let Some(audio) = self.pending.audio.take() {
                tracks.audio = Some(audio);
            }
            self.pending.audio_since_ms = None;
            self.timeline.audio_config_changed();
        }
        self.configure(&mut tracks)?;
        self.active = tracks;
        self.counters.config_changes += 1;
        self.discontinuity_due = true;
        self.open(boundary, independent, true);
        Ok(())
    }

    /// Hands the tracks to every packaging. Audio that a packaging can't carry is left out where there is video.
    fn configure(&mut self, tracks: &mut Tracks) -> Result<(), Refusal> {
        let Some(ts) = &mut self.ts else { return Ok(()) };
        let Err(error) = ts.configure(tracks) else { return Ok(()) };
        if tracks.video.is_some() && tracks.audio.take().is_some() && ts.configure(tracks).is_ok() {
            return Ok(());
        }
        Err(Refusal::Unpackageable(error.to_string()))
    }

    fn cut(&mut self, boundary: i64, independent: bool, keyframe: bool, clock: Clock) {
        if !independent {
            self.counters.forced_cuts += 1;
        }
        self.close(boundary, false, clock);
        self.open(boundary, independent, keyframe);
    }

    fn open(&mut self, boundary: i64, independent: bool, keyframe: bool) {
        self.cutter.begin(boundary, keyframe && independent);
        let discontinuity = std::mem::take(&mut self.discontinuity_due);
        if let Some(ts) = &mut self.ts {
            ts.open(boundary, independent, discontinuity);
        }
    }

    fn close(&mut self, boundary: i64, last: bool, clock: Clock) {
        let Some(start) = self.cutter.start() else { return };
        let date = self.wall.wall(MediaTime::new(start, Timescale::MPEG));
        self.wall.segment_ended();
        self.cutter.end(boundary);
        let target_duration = self.cutter.target_duration();
        if let Some(ts) = &mut self.ts
            && let Some(size) = ts.close(boundary, last, date, target_duration, clock)
        {
            self.rates.segment(size, boundary.saturating_sub(start));
        }
        self.changed = true;
        if matches!(self.session, Session::Running) {
            self.state = State::Live;
        }
    }

    fn write(&mut self, sample: &Sample) {
        if let Some(ts) = &mut self.ts {
            ts.write(sample);
        }
    }
}

//! The CMAF packaging: one track per rendition, from the same cuts as every other packaging.
//!
//! A segment is a run of chunks: they are what HLS lists as parts and what DASH sends of a segment under construction. Video ends a
//! part when the picture after it has arrived, and its segment with the cut. Sound follows the pictures: it ends a part or a
//! segment where they do, with the last frame that begins before it, once a frame behind it has arrived.

mod audio;
mod growing;
mod kept;
mod over;
mod parts;
mod video;

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use headwater_cmaf::EventMessage;
use headwater_media::{MediaTime, Sample, Timescale, TrackKind, WallTime};

use crate::Clock;
use crate::held::Departed;
use crate::metadata::{CueRefusal, MESSAGES_BYTES_MAX};
use crate::mpd;
use crate::over::PeriodOver;
use crate::snapshot::{Bandwidth, Cadence, Cmaf, CmafRendition, CmafSegment, Period, Tracks, distinct};
use crate::window::{Numbering, Window};
use audio::{AudioTrack, Due};
pub(crate) use growing::Head;
pub(crate) use kept::KeptCmaf;
use parts::{PartPlan, Samples, SoundAlone, Unit};
use video::VideoTrack;

/// Audio that has not reached a boundary when video is this far past it (90 kHz ticks: 1 s) is filled with silence up to it.
const AUDIO_WAIT: i64 = 90_000;

/// Segments that number themselves by time may lie this part of their duration beside their place: a tenth. Half is what DASH
/// allows (cmaf-dash.md 5.3); players ask for a segment by its place, and would meet one that has not begun.
const IRREGULAR_ONE_IN: u64 = 10;

/// So many segments of one duration on end make a stream a regular one again.
const SEGMENTS_REGULAR_AGAIN: usize = 5;

/// Durations that differ by less are one: 20 ms in 90 kHz ticks.
const SAME_DURATION: u64 = 1_800;

/// Samples of one track in a segment: 10.5 s of 1,000 frames a second. More would be an attack on the chunk's tables.
const SAMPLES_MAX: usize = 10_500;

/// CMAF segments of one stream.
#[derive(Debug)]
pub(crate) struct CmafPackaging {
    length: Duration,
    /// How long parts are meant to be; `None` where no output needs them.
    part_duration: Option<Duration>,
    /// How long they are: settled when the first segment ends.
    plan: Option<PartPlan>,
    video: Option<VideoTrack>,
    audio: Option<AudioTrack>,
    periods: VecDeque<Period>,
    /// See [`Cmaf::over`].
    over: Option<Arc<PeriodOver>>,
    sound_alone: SoundAlone,
    /// 90 kHz ticks.
    video_dts: Option<i64>,
    refused: u64,
    /// Segments that show the last keyframe in place of pictures that did not come.
    pictures_repeated: u64,
    published_at: WallTime,
    /// Less is listed than was asked for, because the stream was over its budget.
    is_shortened: bool,
    /// What the MPDs were made of when they were last looked at.
    announced: Option<Announced>,
    /// What became of it: of the MPD, and of low latency's.
    texts: [u64; 2],
    low_latency_published_at: WallTime,
    /// The running segment.
    running: Option<Head>,
    /// The newest segments' durations in 90 kHz ticks, the oldest first.
    recent: VecDeque<i64>,
    /// Where parts end (90 kHz ticks), while that is told to the sound; empty otherwise, and kept for its memory.
    part_ends: Vec<i64>,
    /// See [`Cmaf::timed_metadata`].
    timed_metadata: bool,
}

/// Whatever can make an MPD another one, but for the stream's end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Announced {
    video: AnnouncedTrack,
    audio: AnnouncedTrack,
    /// Oldest and newest Period, and the newest one's cadence.
    periods: Option<(u64, u64, Cadence)>,
    /// A Period of an earlier process is listed.
    has_over: bool,
    /// The segment under construction has a part: a Period that it begins can be announced for low latency.
    is_growing: bool,
    window: Duration,
    frame_rate_millihertz: Option<u32>,
}

/// Of one track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AnnouncedTrack {
    first: Option<u64>,
    /// The last listed number that is complete.
    last: Option<u64>,
    bandwidth: Option<Bandwidth>,
}

impl Announced {
    fn of(cmaf: &Cmaf) -> Announced {
        let track = |rendition: &Option<CmafRendition>, bandwidth| {
            let listed = rendition.iter().flat_map(|rendition| &rendition.listed);
            let mut numbers = listed.map(|segment| segment.sequence);
            AnnouncedTrack {
                first: numbers.clone().next(),
                last: numbers.rfind(|number| *number < cmaf.complete_below),
                bandwidth,
            }
        };
        Announced {
            video: track(&cmaf.video, cmaf.video_bandwidth),
            audio: track(&cmaf.audio, cmaf.audio_bandwidth),
            periods: cmaf
                .periods
                .first()
                .zip(cmaf.periods.last())
                .map(|(first, last)| (first.id, last.id, last.cadence)),
            has_over: cmaf.over.is_some(),
            is_growing: cmaf.renditions().all(|rendition| rendition.edge.is_some()),
            window: cmaf.window,
            frame_rate_millihertz: cmaf.frame_rate_millihertz,
        }
    }
}

/// What readers can see of a call, the greater the more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    /// Nothing.
    Nothing,
    /// A part of the segment under construction.
    Part,
    /// A segment was listed.
    Segment,
}

impl CmafPackaging {
    pub(crate) fn new(
        length: Duration,
        part_duration: Option<Duration>,
        timed_metadata: bool,
    ) -> CmafPackaging {
        CmafPackaging {
            length,
            part_duration,
            plan: None,
            video: None,
            audio: None,
            periods: VecDeque::new(),
            over: None,
            sound_alone: SoundAlone::default(),
            video_dts: None,
            refused: 0,
            pictures_repeated: 0,
            published_at: WallTime::from_unix_millis(0),
            is_shortened: false,
            announced: None,
            texts: [0; 2],
            low_latency_published_at: WallTime::from_unix_millis(0),
            running: None,
            recent: VecDeque::new(),
            part_ends: Vec::new(),
            timed_metadata,
        }
    }

    /// Takes the tracks for the segments that follow, the first of which bears `numbering.media_sequence`.
    ///
    /// # Errors
    /// What an initialization segment can't describe; the tracks stay as they were.
    pub(crate) fn configure(
        &mut self,
        tracks: &Tracks,
        numbering: Numbering,
        now: Duration,
    ) -> Result<(), headwater_cmaf::Error> {
        let video = tracks.video.as_deref().map(headwater_cmaf::video_init).transpose()?;
        let audio = match &tracks.audio {
            Some(config) => Some((headwater_cmaf::audio_init(config)?, config)),
            None => None,
        };
        match (&mut self.video, video) {
            (Some(track), Some(init)) => {
                if track.init.name_hash != init.name_hash {
                    track.keyframe = None;
                }
                if !std::mem::replace(&mut track.active, true) {
                    track.window.resume(numbering, now);
                }
                track.init = Arc::new(init);
            }
            (track, Some(init)) => *track = Some(VideoTrack::new(init, self.length, numbering)),
            (Some(track), None) => track.leave(),
            (None, None) => {}
        }
        match (&mut self.audio, audio) {
            (Some(track), Some((init, config))) => {
                if !std::mem::replace(&mut track.active, true) {
                    track.resume(numbering, now);
                }
                track.init = Arc::new(init);
                track.reconfigure(config);
            }
            (track, Some((init, config))) => {
                *track = Some(AudioTrack::new(init, config, self.length, numbering));
            }
            (Some(track), None) => track.leave(),
            (None, None) => {}
        }
        Ok(())
    }

    /// The segments from the next one on belong to this period.
    pub(crate) fn begin_period(&mut self, period: Period) {
        self.periods.push_back(period);
    }

    pub(crate) fn period(&self) -> Option<&Period> {
        self.periods.back()
    }

    /// The running Period begins at `start` by a mapping to the wall clock that was set right, and so does its running segment.
    pub(crate) fn redate(&mut self, start: WallTime, wall_offset_ms: i64) {
        if let Some(period) = self.periods.back_mut() {
            period.start = start;
        }
        let heads = self.running.iter_mut();
        let heads = heads.chain(self.video.iter_mut().flat_map(VideoTrack::heads));
        let heads = heads.chain(self.audio.iter_mut().flat_map(AudioTrack::heads));
        for head in heads {
            head.wall_offset_ms = wall_offset_ms;
        }
    }

    /// Starts a segment. Its [`Head::period`] is filled in here.
    pub(crate) fn open(&mut self, head: Head) {
        let period = self.periods.back().map_or(head.sequence, |period| period.id);
        let head = Head { period, ..head };
        if let Some(track) = self.video.as_mut().filter(|track| track.active) {
            let audio = self.audio.as_ref().filter(|track| track.active).map(AudioTrack::unit);
            track.open(head, self.plan, audio);
        }
        if let Some(track) = self.audio.as_mut().filter(|track| track.active) {
            track.due.push_back(Due::Open(head));
        }
        self.sound_alone.open(head.start, self.plan);
        self.running = Some(head);
    }

    /// Takes a sample of the media clock into the running segment.
    pub(crate) fn write(&mut self, sample: &Sample, target_duration: u32, clock: Clock) -> News {
        let mut news = News::Nothing;
        match sample.track.kind {
            TrackKind::Video => {
                self.video_dts = Some(sample.dts.ticks());
                let plan = self.plan;
                let mut ends = std::mem::take(&mut self.part_ends);
                let track = self.video.as_mut().filter(|track| track.active);
                if !track.is_some_and(|track| track.take(sample, plan, &mut ends)) {
                    self.refused += 1;
                }
                if !ends.is_empty() {
                    news = News::Part;
                }
                self.sound_follows(ends);
            }
            TrackKind::Audio => {
                let has_video = self.video.as_ref().is_some_and(|track| track.active);
                match self.audio.as_mut().filter(|track| track.active) {
                    Some(track) => {
                        // Sound alone says itself where its parts end.
                        if !has_video {
                            let at = mpeg(sample.dts);
                            if self.sound_alone.ends(at, track.frame_ticks(), self.plan) {
                                track.due.push_back(Due::Part(at));
                            }
                        }
                        self.refused += u64::from(!track.take(sample));
                    }
                    None => self.refused += 1,
                }
            }
        }
        news.max(self.settle(target_duration, clock))
    }

    /// Says something of the moment `at` (90 kHz ticks), that lasts for `duration` of them, in the part under construction: with the
    /// pictures, or with the sound where there are none.
    ///
    /// # Errors
    /// [`CueRefusal::TooMuch`] when too much waits for that part.
    pub(crate) fn message(
        &mut self,
        scheme: &str,
        (at, duration): (i64, Option<u64>),
        id: u32,
        data: &[u8],
    ) -> Result<(), CueRefusal> {
        let video = self.video.as_mut().filter(|track| track.active);
        let audio = self.audio.as_mut().filter(|track| track.active);
        let (scale, messages) = match (video, audio) {
            (Some(video), _) => (Timescale::MPEG, &mut video.messages),
            (None, Some(audio)) => (audio.scale(), &mut audio.messages),
            (None, None) => return Err(CueRefusal::NotLive),
        };
        if messages.len().saturating_add(data.len()) > MESSAGES_BYTES_MAX {
            return Err(CueRefusal::TooMuch);
        }
        let ticks =
            |ticks: i64| MediaTime::new(ticks, Timescale::MPEG).rescale(scale).ticks().max(0).unsigned_abs();
        let duration = duration.and_then(|duration| u32::try_from(ticks(i64::try_from(duration).ok()?)).ok());
        let timescale = scale.hz();
        EventMessage { scheme, timescale, presentation_time: ticks(at), duration, id, data }.write(messages);
        Ok(())
    }

    /// The running segment ends no sooner (90 kHz ticks): each picture lasts a tick at least.
    pub(crate) fn earliest_end(&self) -> Option<i64> {
        let track = self.video.as_ref().filter(|track| track.active)?;
        track.growing.as_ref()?;
        Some(track.earliest_end())
    }

    /// Ends the running segment at `end` (90 kHz ticks). `last`: nothing continues it.
    pub(crate) fn close(&mut self, end: i64, last: bool, target_duration: u32, clock: Clock) -> News {
        self.sound_alone.close(end);
        let Some(head) = self.running.take() else { return News::Nothing };
        self.keep_time(&head, end, last);
        self.settle_plan(end);
        let mut news = News::Nothing;
        if let Some(track) = self.video.as_mut().filter(|track| track.active) {
            let mut ends = std::mem::take(&mut self.part_ends);
            if track.close(end, self.plan, &mut ends).is_none() {
                self.refused += 1;
            }
            self.pictures_repeated += u64::from(track.awaits_keyframe);
            news = News::Segment;
            self.sound_follows(ends);
        }
        match self.audio.as_mut().filter(|track| track.active) {
            Some(track) => track.due.push_back(Due::Close { end, last }),
            None => self.listed(target_duration, clock.now),
        }
        news.max(self.settle(target_duration, clock))
    }

    /// Holds a segment against where its number says that it lies.
    fn keep_time(&mut self, head: &Head, end: i64, last: bool) {
        let duration = end.saturating_sub(head.start);
        if last {
            // Nothing follows that it could make irregular, and it says nothing of what does.
            self.recent.clear();
            return;
        }
        if self.recent.len() >= SEGMENTS_REGULAR_AGAIN {
            self.recent.pop_front();
        }
        self.recent.push_back(duration);
        let Some(period) = self.periods.back_mut() else { return };
        period.cadence = match period.cadence {
            Cadence::Unknown => Cadence::Regular(duration.max(1).unsigned_abs()),
            Cadence::Regular(ticks) => {
                let count = i64::try_from(head.sequence.saturating_sub(period.id)).unwrap_or(i64::MAX);
                let duration = i64::try_from(ticks).unwrap_or(i64::MAX);
                let due = period
                    .media_start
                    .ticks()
                    .saturating_add(count.saturating_add(1).saturating_mul(duration));
                if end.abs_diff(due) * IRREGULAR_ONE_IN > ticks {
                    Cadence::Irregular
                } else {
                    Cadence::Regular(ticks)
                }
            }
            Cadence::Irregular => Cadence::Irregular,
        };
    }

    /// The Period is irregular, and its newest segments are all of one duration: another Period could number them by time.
    pub(crate) fn is_regular_again(&self) -> bool {
        let is_irregular = self.periods.back().is_some_and(|period| period.cadence == Cadence::Irregular);
        let Some(first) = self.recent.front().filter(|_| is_irregular) else { return false };
        self.recent.len() >= SEGMENTS_REGULAR_AGAIN
            && self.recent.iter().all(|duration| duration.abs_diff(*first) <= SAME_DURATION)
    }

    /// When the stream's first segment ends, it is known how far apart its samples are, and so how long parts are. Nothing has
    /// been listed yet, so the segment is made of them as well.
    fn settle_plan(&mut self, end: i64) {
        let (None, Some(wish)) = (self.plan, self.part_duration) else { return };
        let video = self.video.as_ref().filter(|track| track.active);
        let pictures = video.map(|track| track.waiting(end)).filter(|pictures| pictures.count > 0);
        let video_unit = pictures.map(|Samples { count, ticks, .. }| Unit {
            ticks: (ticks.saturating_add(count / 2) / count).max(1),
            scale: Timescale::MPEG,
        });
        let audio = self.audio.as_ref().filter(|track| track.active).map(AudioTrack::unit);
        if video.is_some() && video_unit.is_none() {
            // No picture to learn from.
            return;
        }
        let samples = pictures.or(self.sound_alone.before.filter(|_| video.is_none()));
        let Some(plan) = PartPlan::new(wish, video_unit, audio, samples) else { return };
        self.plan = Some(plan);
        let mut ends = Vec::new();
        if let Some(track) = self.video.as_mut().filter(|track| track.active) {
            let division = pictures.and_then(|pictures| plan.division(pictures, audio));
            track.divide(plan, division, end, &mut ends);
        }
        self.sound_follows(ends);
    }

    /// Parts of sound end where those of the pictures do.
    fn sound_follows(&mut self, mut ends: Vec<i64>) {
        let ended = ends.drain(..).map(Due::Part);
        if let Some(track) = self.audio.as_mut().filter(|track| track.active) {
            track.due.extend(ended);
        } else {
            drop(ended);
        }
        // The memory is used again.
        self.part_ends = ends;
    }

    /// Lets the sound do what the pictures have said, as far as it has come.
    fn settle(&mut self, target_duration: u32, clock: Clock) -> News {
        let (plan, video_dts) = (self.plan, self.video_dts);
        let mut news = News::Nothing;
        let Some(track) = self.audio.as_mut().filter(|track| track.active) else { return news };
        while let Some(due) = track.due.front().copied() {
            let overdue = |end: i64| video_dts.is_some_and(|dts| dts.saturating_sub(end) > AUDIO_WAIT);
            let written = match due {
                Due::Open(head) => {
                    track.open(head);
                    Ok(News::Nothing)
                }
                Due::Part(end) if track.reaches(end) || overdue(end) || track.closing() > 1 => {
                    track.end_part(end, plan).map(|any| if any { News::Part } else { News::Nothing })
                }
                Due::Close { end, last }
                    if last || track.reaches(end) || overdue(end) || track.closing() > 1 =>
                {
                    track.close(end, last, plan).map(|()| News::Segment)
                }
                // Nothing continues it, so what is to come before its end has come.
                Due::Part(end)
                    if track.due.iter().any(|due| matches!(due, Due::Close { last: true, .. })) =>
                {
                    track.end_part(end, plan).map(|any| if any { News::Part } else { News::Nothing })
                }
                Due::Part(_) | Due::Close { .. } => break,
            };
            track.due.pop_front();
            match written {
                Ok(what) => news = news.max(what),
                Err(_) => self.refused += 1,
            }
        }
        if news == News::Segment {
            self.listed(target_duration, clock.now);
        }
        news
    }

    /// A segment is complete in every track.
    fn listed(&mut self, target_duration: u32, now: Duration) {
        if let Some(track) = &mut self.video {
            track.rate();
        }
        self.slide(target_duration, now);
        self.forget_periods();
    }

    /// Both tracks list the same numbers: audio segments are up to a frame longer or shorter than their pictures, and lists that
    /// slid by their own durations would at times begin one apart. VLC starts so many segments behind a list's end by each
    /// track's own reckoning, and then stands still until the later track's first sample.
    fn slide(&mut self, target_duration: u32, now: Duration) {
        let due = |window: &Window<CmafSegment>| window.due_first(target_duration);
        let video = self.video.as_ref().filter(|track| track.active).map(|track| due(&track.window));
        let audio = self.audio.as_ref().filter(|track| track.active).map(|track| due(&track.window));
        let Some(first) = video.into_iter().chain(audio).min() else { return };
        if let Some(track) = &mut self.video {
            track.window.slide_to(first, now);
        }
        if let Some(track) = &mut self.audio {
            track.window.slide_to(first, now);
        }
        self.is_shortened &= self.listed_least() < self.length;
        self.forget_over(target_duration);
    }

    /// How much the track lists that lists least, of those that are published now.
    fn listed_least(&self) -> Duration {
        let below = self.complete_below();
        let video =
            self.video.as_ref().filter(|track| track.active).map(|track| track.window.total_below(below));
        let audio =
            self.audio.as_ref().filter(|track| track.active).map(|track| track.window.total_below(below));
        video.into_iter().chain(audio).min().unwrap_or_default()
    }

    /// See [`Cmaf::complete_below`].
    fn complete_below(&self) -> u64 {
        let audio = self.audio.as_ref().filter(|track| track.active);
        audio.and_then(AudioTrack::running).unwrap_or(u64::MAX)
    }

    /// Bytes of media: what is listed and retained, what waits for its segment's end, and the copies of the newest keyframe and
    /// sound.
    pub(crate) fn held_bytes(&self) -> u64 {
        let video = self.video.as_ref().map_or(0, VideoTrack::held_bytes);
        video + self.audio.as_ref().map_or(0, AudioTrack::held_bytes)
    }

    /// What must hold between any two calls, for tests.
    pub(crate) fn check_invariants(&self, target_duration: u32) {
        if let Some(track) = &self.video {
            track.check_invariants();
        }
        if let Some(track) = &self.audio {
            track.check_invariants();
        }
        for window in self.windows() {
            let rendition = window.rendition(target_duration);
            assert_eq!(rendition.size_bytes(), window.size_bytes(), "what is listed and retained");
        }
    }

    fn windows(&self) -> impl Iterator<Item = &Window<CmafSegment>> {
        let video = self.video.iter().map(|track| &track.window);
        video.chain(self.audio.iter().map(|track| &track.window))
    }

    fn windows_mut(&mut self) -> impl Iterator<Item = &mut Window<CmafSegment>> {
        let video = self.video.iter_mut().map(|track| &mut track.window);
        video.chain(self.audio.iter_mut().map(|track| &mut track.window))
    }

    /// The oldest number that is only retained.
    pub(crate) fn first_retained(&self) -> Option<u64> {
        self.windows().filter_map(Window::first_retained).min()
    }

    /// The oldest listed number.
    pub(crate) fn first_listed(&self) -> Option<u64> {
        self.windows().filter_map(Window::first_listed).map(|segment| segment.sequence).min()
    }

    /// Where the oldest listed segment begins.
    pub(crate) fn first_listed_start(&self) -> Option<MediaTime> {
        let firsts = self.windows().filter_map(Window::first_listed);
        firsts.min_by_key(|segment| segment.sequence).map(|segment| segment.start)
    }

    /// The first number that the tracks published now can't do without. A track that has left lists nothing that must stay.
    pub(crate) fn least_first(&self, target_duration: u32) -> Option<u64> {
        let least = |window: &Window<CmafSegment>| window.least_first(target_duration);
        let video = self.video.as_ref().filter(|track| track.active).map(|track| least(&track.window));
        let audio = self.audio.as_ref().filter(|track| track.active).map(|track| least(&track.window));
        video.into_iter().chain(audio).min()
    }

    /// Drops what is retained up to that number. Returns how many segments.
    pub(crate) fn evict_retained(&mut self, sequence: u64) -> u64 {
        self.windows_mut().map(|window| window.evict(sequence)).sum()
    }

    /// Delists up to that number and keeps nothing of it. Returns how many segments.
    pub(crate) fn evict_listed(&mut self, sequence: u64, target_duration: u32, clock: Clock) -> u64 {
        let active =
            [self.video.as_ref().map(|track| track.active), self.audio.as_ref().map(|track| track.active)];
        for (window, is_active) in self.windows_mut().zip(active.into_iter().flatten()) {
            let loses = window.first_listed().is_some_and(|first| first.sequence <= sequence);
            window.slide_to(sequence.saturating_add(1), clock.now);
            let least = Duration::from_secs(3 * u64::from(target_duration));
            debug_assert!(
                !(loses && is_active) || window.total() >= least,
                "too little is left: {:?}",
                window.total()
            );
        }
        self.is_shortened = true;
        self.forget_periods();
        self.evict_retained(sequence)
    }

    /// What has left the tracks' windows and may still be held.
    pub(crate) fn departed(&mut self) -> impl Iterator<Item = &mut Departed> {
        self.windows_mut().map(Window::departed)
    }

    /// At least what of it is held.
    pub(crate) fn departed_bytes_max(&self) -> u64 {
        self.windows().map(Window::departed_bytes_max).sum()
    }

    /// Before tracks change: whatever is closing is listed with what has come.
    pub(crate) fn settle_all(&mut self, target_duration: u32, clock: Clock) {
        if let Some(track) = &mut self.audio {
            for due in &mut track.due {
                if let Due::Close { last, .. } = due {
                    *last = true;
                }
            }
        }
        self.settle(target_duration, clock);
    }

    /// Something that readers see has changed. MPD@publishTime tells versions apart, so it rises with each.
    pub(crate) fn touch(&mut self, wall: WallTime) {
        self.published_at = wall.max(self.published_at.offset_by(1));
    }

    pub(crate) fn delist_all(&mut self, now: Duration) {
        if let Some(track) = &mut self.video {
            track.window.delist_all(now);
        }
        if let Some(track) = &mut self.audio {
            track.window.delist_all(now);
        }
        self.is_shortened = false;
        self.over = None;
        let newest = self.periods.pop_back();
        self.periods.clear();
        self.periods.extend(newest);
    }

    /// The next version for readers. MPD@publishTime rises with a change of the MPD and with nothing else, so where it may have
    /// changed it is looked at: about once per segment.
    pub(crate) fn snapshot(&mut self, target_duration: u32, wall: WallTime) -> Cmaf {
        let mut cmaf = self.view(target_duration);
        let announced = Some(Announced::of(&cmaf));
        if announced != self.announced {
            self.announced = announced;
            let hash = |text: Vec<u8>| {
                let mut hasher = DefaultHasher::new();
                text.hash(&mut hasher);
                hasher.finish()
            };
            let epoch = WallTime::from_unix_millis(0);
            (cmaf.published_at, cmaf.low_latency_published_at) = (epoch, epoch);
            let texts = [mpd::render(&cmaf, false, None), mpd::render_low_latency(&cmaf, None)];
            let published = [&mut self.published_at, &mut self.low_latency_published_at];
            for ((text, before), published) in texts.into_iter().zip(&mut self.texts).zip(published) {
                // While there is none, the one before is what players have.
                let Some(hash) = text.map(hash) else { continue };
                if std::mem::replace(before, hash) != hash {
                    *published = wall.max(published.offset_by(1));
                }
            }
            cmaf.published_at = self.published_at;
            cmaf.low_latency_published_at = self.low_latency_published_at;
        }
        cmaf
    }

    /// What readers see, but for the time of a change that was not looked at yet.
    pub(crate) fn view(&self, target_duration: u32) -> Cmaf {
        let video = self.video.as_ref().map(|track| CmafRendition {
            window: track.window.rendition(target_duration),
            edge: track.growing.as_ref().map(growing::Growing::edge),
            revision: track.revision,
        });
        let audio = self.audio.as_ref().map(|track| CmafRendition {
            window: track.window.rendition(target_duration),
            edge: track.growing.as_ref().map(growing::Growing::edge),
            revision: track.revision,
        });
        let inits = distinct(video.iter().chain(&audio).flat_map(|rendition| {
            rendition.window.inits.iter().chain(rendition.edge.iter().map(|edge| &edge.init))
        }));
        Cmaf {
            video,
            audio,
            periods: self.periods.iter().cloned().collect(),
            inits,
            // Of a track that has left too: while its segments are listed, the MPD says what they need.
            video_bandwidth: self.video.as_ref().and_then(|track| track.rates.bandwidth()),
            audio_bandwidth: self.audio.as_ref().and_then(|track| track.rates.bandwidth()),
            frame_rate_millihertz: self.frame_rate_millihertz(),
            // MPD@timeShiftBufferDepth promises no more than there is.
            window: if self.is_shortened { self.listed_least().min(self.length) } else { self.length },
            published_at: self.published_at,
            low_latency_published_at: self.low_latency_published_at,
            complete_below: self.complete_below(),
            part_target: self.plan.as_ref().map(PartPlan::target),
            timed_metadata: self.timed_metadata,
            over: self.over.clone(),
        }
    }

    pub(crate) fn frame_rate_millihertz(&self) -> Option<u32> {
        self.video.as_ref().and_then(|track| track.rates.frame_rate_millihertz())
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    pub(crate) fn silence_filled(&self) -> u64 {
        self.audio.as_ref().map_or(0, |track| track.silence_filled)
    }

    /// Parts of video that are longer than the target.
    pub(crate) fn parts_overlong(&self) -> u64 {
        self.video.as_ref().map_or(0, |track| track.overlong)
    }

    pub(crate) fn pictures_repeated(&self) -> u64 {
        self.pictures_repeated
    }

    /// Periods older than every listed segment leave.
    fn forget_periods(&mut self) {
        let firsts = [
            self.video.as_ref().and_then(|track| track.window.first_listed()).map(|segment| segment.period),
            self.audio.as_ref().and_then(|track| track.window.first_listed()).map(|segment| segment.period),
        ];
        let Some(oldest) = firsts.into_iter().flatten().min() else { return };
        while self.periods.len() > 1 && self.periods.front().is_some_and(|period| period.id < oldest) {
            self.periods.pop_front();
        }
    }
}

fn ticks32(ticks: i64) -> u32 {
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

fn mpeg(time: MediaTime) -> i64 {
    time.rescale(Timescale::MPEG).ticks()
}

fn bytes_of(sample: &Sample) -> u64 {
    sample.data.len() as u64
}

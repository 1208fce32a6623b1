//! The CMAF packaging: one track per rendition, from the same cuts as every other packaging.
//!
//! Video closes with the cut. Audio closes when its first frame at or after the cut has arrived, so a segment number is listed
//! for all tracks at once, and its audio ends exactly where the next one's begins.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_cmaf::{ChunkSample, ChunkWriter, InitSegment};
use headwater_codec::aac::AudioSpecificConfig;
use headwater_media::{AudioCodec, AudioConfig, MediaTime, Sample, Timescale, TrackKind, WallTime};

use crate::Clock;
use crate::rates::Rates;
use crate::snapshot::{Cmaf, CmafSegment, Period, Tracks};
use crate::window::{Numbering, Window};

/// Audio that has not reached a cut when video is this far past it (90 kHz ticks: 1 s) is filled with silence up to it.
const AUDIO_WAIT: i64 = 90_000;

/// Samples of one track in a segment: 10.5 s of 1,000 frames a second. More would be an attack on the chunk's tables.
const SAMPLES_MAX: usize = 10_500;

/// What a segment is begun with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) sequence: u64,
    /// 90 kHz ticks.
    pub(crate) start: i64,
    pub(crate) independent: bool,
    pub(crate) discontinuity: bool,
    /// Milliseconds that the wall clock is ahead of media time in this segment.
    pub(crate) wall_offset_ms: i64,
}

impl Head {
    fn date(&self, media: MediaTime) -> WallTime {
        WallTime::from_unix_millis(media.millis().saturating_add(self.wall_offset_ms))
    }
}

/// A segment whose end is known and whose audio may still be on its way.
#[derive(Debug)]
struct Closing {
    head: Head,
    period: u64,
    /// 90 kHz ticks.
    end: i64,
    /// Nothing continues it.
    last: bool,
    video: Option<CmafSegment>,
}

#[derive(Debug)]
struct VideoTrack {
    init: Arc<InitSegment>,
    writer: ChunkWriter,
    samples: Vec<Sample>,
    window: Window<CmafSegment>,
    rates: Rates,
}

#[derive(Debug)]
struct AudioTrack {
    init: Arc<InitSegment>,
    writer: ChunkWriter,
    scale: Timescale,
    /// Samples per frame.
    frame: i64,
    /// A frame of silence, where one can be made.
    silence: Option<Bytes>,
    /// The newest frame: what is repeated where a segment would be empty and no silence can be made.
    newest: Bytes,
    held: VecDeque<Sample>,
    /// Where the last segment ended, in samples.
    end: Option<i64>,
    window: Window<CmafSegment>,
    rates: Rates,
}

/// CMAF segments of one stream.
#[derive(Debug)]
pub(crate) struct CmafPackaging {
    length: Duration,
    video: Option<VideoTrack>,
    audio: Option<AudioTrack>,
    periods: VecDeque<Period>,
    running: Option<Head>,
    closing: VecDeque<Closing>,
    /// 90 kHz ticks.
    video_dts: Option<i64>,
    refused: u64,
    /// Frames of silence written in place of audio that did not come.
    silence_filled: u64,
    published_at: WallTime,
}

impl CmafPackaging {
    pub(crate) fn new(length: Duration) -> CmafPackaging {
        CmafPackaging {
            length,
            video: None,
            audio: None,
            periods: VecDeque::new(),
            running: None,
            closing: VecDeque::new(),
            video_dts: None,
            refused: 0,
            silence_filled: 0,
            published_at: WallTime::from_unix_millis(0),
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
    ) -> Result<(), headwater_cmaf::Error> {
        let video = tracks.video.as_deref().map(headwater_cmaf::video_init).transpose()?;
        let audio = match &tracks.audio {
            Some(config) => Some((headwater_cmaf::audio_init(config)?, config)),
            None => None,
        };
        match (&mut self.video, video) {
            (Some(track), Some(init)) => track.init = Arc::new(init),
            (track, Some(init)) => {
                *track = Some(VideoTrack {
                    init: Arc::new(init),
                    writer: ChunkWriter::new(),
                    samples: Vec::new(),
                    window: Window::new(self.length, numbering),
                    rates: Rates::default(),
                });
            }
            (track, None) => *track = None,
        }
        match (&mut self.audio, audio) {
            (Some(track), Some((init, config))) => {
                track.init = Arc::new(init);
                track.reconfigure(config);
            }
            (track, Some((init, config))) => {
                let mut new = AudioTrack {
                    init: Arc::new(init),
                    writer: ChunkWriter::new(),
                    scale: config.sample_rate,
                    frame: 1,
                    silence: None,
                    newest: Bytes::new(),
                    held: VecDeque::new(),
                    end: None,
                    window: Window::new(self.length, numbering),
                    rates: Rates::default(),
                };
                new.reconfigure(config);
                *track = Some(new);
            }
            (track, None) => *track = None,
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

    pub(crate) fn open(&mut self, head: Head) {
        self.running = Some(head);
    }

    /// Takes a sample of the media clock into the running segment. Returns true when a segment was listed.
    pub(crate) fn write(&mut self, sample: &Sample, target_duration: u32, clock: Clock) -> bool {
        match sample.track.kind {
            TrackKind::Video => {
                self.video_dts = Some(sample.dts.ticks());
                match self.video.as_mut().filter(|track| track.samples.len() < SAMPLES_MAX) {
                    Some(track) => track.samples.push(sample.clone()),
                    None => self.refused += 1,
                }
            }
            TrackKind::Audio => match self.audio.as_mut().filter(|track| track.held.len() < SAMPLES_MAX) {
                Some(track) => track.held.push_back(sample.clone()),
                None => self.refused += 1,
            },
        }
        self.settle(target_duration, clock)
    }

    /// Ends the running segment at `end` (90 kHz ticks). `last`: nothing continues it. Returns true when one was listed.
    pub(crate) fn close(&mut self, end: i64, last: bool, target_duration: u32, clock: Clock) -> bool {
        let Some(head) = self.running.take() else { return false };
        let period = self.periods.back().map_or(head.sequence, |period| period.id);
        let video = match &mut self.video {
            Some(track) => match track.close(&head, period, end) {
                Ok(segment) => Some(segment),
                Err(_) => {
                    self.refused += 1;
                    None
                }
            },
            None => None,
        };
        self.closing.push_back(Closing { head, period, end, last, video });
        self.settle(target_duration, clock)
    }

    /// Lists every closing segment whose audio is complete.
    fn settle(&mut self, target_duration: u32, clock: Clock) -> bool {
        let mut listed = false;
        while let Some(front) = self.closing.front() {
            let overdue = front.last
                || self.closing.len() > 1
                || self.video_dts.is_some_and(|dts| dts.saturating_sub(front.end) > AUDIO_WAIT);
            let complete = self.audio.as_ref().is_none_or(|track| track.reaches(front.end));
            if !(complete || overdue) {
                break;
            }
            let Some(closing) = self.closing.pop_front() else { break };
            if let Some(track) = &mut self.audio {
                match track.close(&closing) {
                    Ok((segment, filled)) => {
                        self.silence_filled += filled;
                        track.rates.segment(size(&segment), mpeg(segment.duration));
                        track.window.push(segment, target_duration, clock.now);
                    }
                    Err(_) => self.refused += 1,
                }
            }
            if let (Some(track), Some(segment)) = (&mut self.video, closing.video) {
                track.rates.segment(size(&segment), mpeg(segment.duration));
                track.window.push(segment, target_duration, clock.now);
            }
            listed = true;
        }
        if listed {
            self.forget_periods();
            self.published_at = clock.wall;
        }
        listed
    }

    /// Before tracks change: whatever is closing is listed with what has come.
    pub(crate) fn settle_all(&mut self, target_duration: u32, clock: Clock) {
        for closing in &mut self.closing {
            closing.last = true;
        }
        self.settle(target_duration, clock);
    }

    /// Something else that readers see has changed: the stream's end.
    pub(crate) fn touch(&mut self, wall: WallTime) {
        self.published_at = wall;
    }

    pub(crate) fn delist_all(&mut self, now: Duration) {
        if let Some(track) = &mut self.video {
            track.window.delist_all(now);
        }
        if let Some(track) = &mut self.audio {
            track.window.delist_all(now);
        }
        let newest = self.periods.pop_back();
        self.periods.clear();
        self.periods.extend(newest);
    }

    pub(crate) fn snapshot(&self, target_duration: u32) -> Cmaf {
        let video = self.video.as_ref().map(|track| track.window.rendition(target_duration));
        let audio = self.audio.as_ref().map(|track| track.window.rendition(target_duration));
        let mut inits: Vec<Arc<InitSegment>> = Vec::new();
        for rendition in video.iter().chain(&audio) {
            for segment in rendition.retained.iter().chain(&rendition.listed) {
                if !inits.iter().any(|init| init.name_hash == segment.init.name_hash) {
                    inits.push(Arc::clone(&segment.init));
                }
            }
        }
        Cmaf {
            video,
            audio,
            periods: self.periods.iter().cloned().collect(),
            inits,
            video_bandwidth: self.video.as_ref().and_then(|track| track.rates.bandwidth()),
            audio_bandwidth: self.audio.as_ref().and_then(|track| track.rates.bandwidth()),
            frame_rate_millihertz: self.frame_rate_millihertz(),
            window: self.length,
            published_at: self.published_at,
        }
    }

    pub(crate) fn frame_rate_millihertz(&self) -> Option<u32> {
        self.video.as_ref().and_then(|track| track.rates.frame_rate_millihertz())
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    pub(crate) fn silence_filled(&self) -> u64 {
        self.silence_filled
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

impl VideoTrack {
    fn close(&mut self, head: &Head, period: u64, end: i64) -> Result<CmafSegment, headwater_cmaf::Error> {
        let samples = std::mem::take(&mut self.samples);
        self.samples.reserve(samples.len());
        // The decode clock shifts so that the segment's first decode time is its start, the keyframe's PTS (cmaf-dash.md 3.5).
        let shift = samples.first().map_or(0, |first| head.start.saturating_sub(first.dts.ticks()));
        let count = i64::try_from(samples.len()).unwrap_or(i64::MAX);
        let mut times: Vec<i64> =
            samples.iter().map(|sample| sample.dts.ticks().saturating_add(shift)).collect();
        // A cut that comes sooner than the shifted clock expects squeezes the last decode times; PTS stay.
        for (index, time) in (0_i64..).zip(&mut times) {
            *time = (*time).clamp(
                head.start.saturating_add(index),
                end.saturating_sub(count.saturating_sub(index)).max(head.start),
            );
        }
        let nexts = times.iter().copied().skip(1).chain(std::iter::once(end));
        let chunk: Vec<ChunkSample<&Bytes>> = samples
            .iter()
            .zip(times.iter().zip(nexts))
            .map(|(sample, (time, next))| ChunkSample {
                duration: ticks32(next.saturating_sub(*time).max(1)),
                composition_time_offset: i32::try_from(sample.pts().ticks().saturating_sub(*time))
                    .unwrap_or(0),
                sync: sample.sync,
                disposable: headwater_cmaf::is_disposable(&sample.data),
                data: &sample.data,
            })
            .collect();
        let mut out = Vec::new();
        // Numbered by the segment, so that another origin of the same media writes the same bytes.
        self.writer.set_sequence_number(chunk_sequence(head.sequence));
        self.writer.write(&mut out, head.start.max(0).unsigned_abs(), &chunk)?;
        let start = MediaTime::new(head.start, Timescale::MPEG);
        (0..samples.len()).for_each(|_| self.rates.frame());
        Ok(CmafSegment {
            sequence: head.sequence,
            start,
            duration: MediaTime::new(end.saturating_sub(head.start), Timescale::MPEG),
            program_date_time: head.date(start),
            discontinuity: head.discontinuity,
            independent: head.independent,
            init: Arc::clone(&self.init),
            period,
            chunks: vec![Bytes::from(out)],
        })
    }
}

impl AudioTrack {
    fn reconfigure(&mut self, config: &AudioConfig) {
        if self.scale != config.sample_rate {
            self.end = None;
        }
        self.scale = config.sample_rate;
        self.frame = i64::from(config.samples_per_frame.max(1));
        self.silence = match config.codec {
            AudioCodec::Aac => {
                AudioSpecificConfig::parse(&config.record).ok().and_then(|asc| asc.silent_frame())
            }
            AudioCodec::Mp3 => None,
        };
        self.held.clear();
    }

    /// A boundary of the common clock in samples.
    fn samples(&self, ticks: i64) -> i64 {
        MediaTime::new(ticks, Timescale::MPEG).rescale(self.scale).ticks()
    }

    /// True when a frame at or after the boundary has arrived.
    fn reaches(&self, boundary: i64) -> bool {
        let boundary = self.samples(boundary);
        self.held.back().is_some_and(|sample| sample.dts.ticks() >= boundary)
    }

    /// The frames before the segment's end, made contiguous. Returns how many frames of silence that took.
    fn close(&mut self, closing: &Closing) -> Result<(CmafSegment, u64), headwater_cmaf::Error> {
        let boundary = self.samples(closing.end);
        let opening = self.samples(closing.head.start);
        let count = self.held.iter().take_while(|sample| sample.dts.ticks() < boundary).count();
        let taken: Vec<Sample> = self.held.drain(..count).collect();
        if let Some(newest) = taken.last().or(self.held.front()) {
            // A copy: the frame is a slice of a read buffer, which would stay whole for its sake.
            self.newest = Bytes::copy_from_slice(&newest.data);
        }
        let next = self.held.front().map(|sample| sample.dts.ticks()).filter(|_| !closing.last);
        // Where the last segment ended, unless audio begins here: then with its first frame, or with the segment.
        let first = taken.first().map(|sample| sample.dts.ticks());
        let start =
            self.end.or(first.filter(|first| first.saturating_sub(opening) < self.frame)).unwrap_or(opening);
        let mut placed: Vec<(i64, Bytes)> = Vec::with_capacity(taken.len() + 1);
        let mut cursor = start;
        let mut filled = 0;
        for sample in taken {
            let time = sample.dts.ticks();
            self.fill(&mut placed, &mut cursor, time, &mut filled);
            if time.saturating_add(self.frame / 2) < cursor {
                // It lies where silence or an earlier frame was written already.
                continue;
            }
            // A segment begins exactly where the last one ended: less than a frame of a hole goes to its first frame.
            placed.push((if placed.is_empty() { cursor } else { time.max(cursor) }, sample.data));
            cursor = time.max(cursor).saturating_add(self.frame);
        }
        if !closing.last {
            self.fill(&mut placed, &mut cursor, next.unwrap_or(boundary).min(boundary), &mut filled);
        }
        if placed.is_empty() {
            // A segment holds at least one sample.
            placed.push((cursor, self.silence.clone().unwrap_or_else(|| self.newest.clone())));
            cursor = cursor.saturating_add(self.frame);
            filled += 1;
        }
        // The last frame lasts until the next one: less than a frame of rounding or of a hole. The end of a session stays as it
        // is; should another one continue it, the hole is filled there.
        let end = match next {
            Some(next) if next > cursor && next.saturating_sub(cursor) < self.frame => next,
            _ => cursor,
        };
        let nexts = placed.iter().skip(1).map(|(time, _)| *time).chain(std::iter::once(end));
        let chunk: Vec<ChunkSample<&Bytes>> = placed
            .iter()
            .zip(nexts)
            .map(|((time, data), next)| ChunkSample {
                duration: ticks32(next.saturating_sub(*time).max(1)),
                composition_time_offset: 0,
                sync: true,
                disposable: false,
                data,
            })
            .collect();
        let first = placed.first().map_or(start, |(time, _)| *time);
        let mut out = Vec::new();
        self.writer.set_sequence_number(chunk_sequence(closing.head.sequence));
        self.writer.write(&mut out, first.max(0).unsigned_abs(), &chunk)?;
        self.end = Some(end);
        let start = MediaTime::new(first, self.scale);
        let segment = CmafSegment {
            sequence: closing.head.sequence,
            start,
            duration: MediaTime::new(end.saturating_sub(first), self.scale),
            program_date_time: closing.head.date(start),
            discontinuity: closing.head.discontinuity,
            independent: true,
            init: Arc::clone(&self.init),
            period: closing.period,
            chunks: vec![Bytes::from(out)],
        };
        Ok((segment, filled))
    }

    /// Silence from the cursor on while a whole frame fits before `until`.
    fn fill(&self, placed: &mut Vec<(i64, Bytes)>, cursor: &mut i64, until: i64, filled: &mut u64) {
        let Some(silence) = &self.silence else { return };
        while until.saturating_sub(*cursor) >= self.frame && placed.len() < SAMPLES_MAX {
            placed.push((*cursor, silence.clone()));
            *cursor = cursor.saturating_add(self.frame);
            *filled += 1;
        }
    }
}

/// `mfhd` counts modulo 2^32.
fn chunk_sequence(sequence: u64) -> u32 {
    u32::try_from(sequence & u64::from(u32::MAX)).unwrap_or(0)
}

fn ticks32(ticks: i64) -> u32 {
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

fn mpeg(time: MediaTime) -> i64 {
    time.rescale(Timescale::MPEG).ticks()
}

fn size(segment: &CmafSegment) -> usize {
    segment.chunks.iter().map(Bytes::len).sum()
}

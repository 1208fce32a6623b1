//! The audio track of the CMAF packaging: whole frames, one after the other without a hole, cut where pictures are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_cmaf::{ChunkSample, ChunkWriter, InitSegment};
use headwater_codec::aac::AudioSpecificConfig;
use headwater_media::{AudioCodec, AudioConfig, MediaTime, Sample, Timescale};

use super::growing::{Growing, Head, copy, size};
use super::parts::PartPlan;
use super::{SAMPLES_MAX, bytes_of, mpeg, ticks32};
use crate::rates::Rates;
use crate::snapshot::CmafSegment;
use crate::window::{Numbering, Window};

/// Sound that ends so long before its picture, where nothing continues it, is filled: what comes next, another session or another
/// configuration, begins with the picture. Less is left as it was sent: encoders end like that.
const SILENT_END_MS: i64 = 100;

/// What is left over when a part is full stays for the next one, unless it would do for one of its own: of the target.
const REST_SHARE_PERCENT: i64 = 85;

/// What the pictures say about the sound that belongs to them, in the order of their time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// A segment begins.
    Open(Head),
    /// A part ends there (90 kHz ticks).
    Part(i64),
    /// The segment ends there. `last`: nothing continues it.
    Close {
        /// 90 kHz ticks.
        end: i64,
        last: bool,
    },
}

#[derive(Debug)]
pub(super) struct AudioTrack {
    /// As of [`super::video::VideoTrack`].
    pub(super) active: bool,
    pub(super) init: Arc<InitSegment>,
    writer: ChunkWriter,
    scale: Timescale,
    /// Samples per frame.
    frame: i64,
    /// A frame of silence, where one can be made.
    silence: Option<Bytes>,
    /// The newest frame: what is repeated where a segment would be empty and no silence can be made.
    newest: Bytes,
    /// Frames as they came, from the newest boundary on.
    held: VecDeque<Sample>,
    /// Frames with their final times that wait for their part's end.
    placed: Vec<(i64, Bytes)>,
    /// Bytes of both.
    waiting_bytes: u64,
    /// Event messages (boxes) that the running part's chunk begins with.
    pub(super) messages: Vec<u8>,
    /// Where the last frame that was placed ends, in samples.
    end: Option<i64>,
    pub(super) growing: Option<Growing>,
    /// What the pictures have said and the sound has not reached.
    pub(super) due: VecDeque<Due>,
    pub(super) window: Window<CmafSegment>,
    pub(super) rates: Rates,
    /// Parts and segments so far.
    pub(super) revision: u64,
    /// Frames of silence written in place of what did not come.
    pub(super) silence_filled: u64,
}

impl AudioTrack {
    pub(super) fn new(
        init: InitSegment,
        config: &AudioConfig,
        length: Duration,
        numbering: Numbering,
    ) -> AudioTrack {
        let mut track = AudioTrack {
            active: true,
            init: Arc::new(init),
            writer: ChunkWriter::new(),
            scale: config.sample_rate,
            frame: 1,
            silence: None,
            newest: Bytes::new(),
            held: VecDeque::new(),
            placed: Vec::new(),
            waiting_bytes: 0,
            messages: Vec::new(),
            end: None,
            growing: None,
            due: VecDeque::new(),
            window: Window::new(length, numbering),
            rates: Rates::default(),
            revision: 0,
            silence_filled: 0,
        };
        track.reconfigure(config);
        track
    }

    pub(super) fn reconfigure(&mut self, config: &AudioConfig) {
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
        self.forget_waiting();
    }

    /// The track was away: its sound begins anew.
    pub(super) fn resume(&mut self, numbering: Numbering, now: Duration) {
        self.window.resume(numbering, now);
        self.end = None;
    }

    /// An earlier process wrote sound up to there.
    pub(super) fn go_on_from(&mut self, end: MediaTime) {
        self.end = Some(end.ticks()).filter(|_| end.scale() == self.scale);
    }

    /// It is not part of what is published any more.
    pub(super) fn leave(&mut self) {
        self.active = false;
        self.forget_waiting();
        self.growing = None;
        self.due.clear();
    }

    /// Takes a frame. Returns false when it can't be written.
    pub(super) fn take(&mut self, sample: &Sample) -> bool {
        let fits = self.held.len() < SAMPLES_MAX && !sample.data.is_empty();
        if fits {
            self.waiting_bytes = self.waiting_bytes.saturating_add(bytes_of(sample));
            self.held.push_back(sample.clone());
        }
        fits
    }

    /// A frame's length in 90 kHz ticks.
    pub(super) fn frame_ticks(&self) -> i64 {
        mpeg(MediaTime::new(self.frame, self.scale))
    }

    /// Ticks per second of its times.
    pub(super) fn scale(&self) -> Timescale {
        self.scale
    }

    /// The length of a frame as a unit for parts.
    pub(super) fn unit(&self) -> super::parts::Unit {
        super::parts::Unit { ticks: self.frame, scale: self.scale }
    }

    /// True when a frame at or after the boundary (90 kHz ticks) has arrived.
    pub(super) fn reaches(&self, boundary: i64) -> bool {
        let boundary = self.samples(boundary);
        self.held.back().is_some_and(|sample| sample.dts.ticks() >= boundary)
    }

    /// Segments whose end is known and whose sound may still be on its way.
    pub(super) fn closing(&self) -> usize {
        self.due.iter().filter(|due| matches!(due, Due::Close { .. })).count()
    }

    /// The number of the segment that is being made.
    pub(super) fn running(&self) -> Option<u64> {
        let growing = self.growing.as_ref().map(|growing| growing.head.sequence);
        growing.or_else(|| {
            self.due.iter().find_map(|due| match due {
                Due::Open(head) => Some(head.sequence),
                _ => None,
            })
        })
    }

    /// What is known of segments that are not complete.
    pub(super) fn heads(&mut self) -> impl Iterator<Item = &mut Head> {
        let due = self.due.iter_mut().filter_map(|due| match due {
            Due::Open(head) => Some(head),
            _ => None,
        });
        self.growing.iter_mut().map(Growing::head_mut).chain(due)
    }

    /// A segment begins.
    pub(super) fn open(&mut self, head: Head) {
        let head = Head { independent: true, ..head };
        self.growing = Some(Growing::new(head, Arc::clone(&self.init)));
    }

    /// A part ends at `end` (90 kHz ticks): with the last frame that begins before it.
    ///
    /// # Errors
    /// What can't be written is dropped.
    pub(super) fn end_part(
        &mut self,
        end: i64,
        plan: Option<PartPlan>,
    ) -> Result<bool, headwater_cmaf::Error> {
        let before = self.revision;
        self.place(end, false);
        self.write_parts(plan, false)?;
        Ok(self.revision != before)
    }

    /// The segment ends at `end` (90 kHz ticks) and is listed. `last`: nothing continues it.
    ///
    /// # Errors
    /// What can't be written is dropped.
    pub(super) fn close(
        &mut self,
        end: i64,
        last: bool,
        plan: Option<PartPlan>,
    ) -> Result<(), headwater_cmaf::Error> {
        self.place(end, last);
        if self.placed.is_empty() && self.growing.as_ref().is_some_and(Growing::is_empty) {
            // A segment holds at least one sample.
            let opening = self.opening();
            let start = *self.end.get_or_insert(opening);
            self.put(start, self.silence.clone().unwrap_or_else(|| copy(&self.newest)));
            self.end = Some(start.saturating_add(self.frame));
            self.silence_filled += 1;
        }
        let written = self.write_parts(plan, true);
        if let Some((segment, alive)) = self.growing.take().and_then(Growing::finish) {
            self.rates.segment(size(&segment), mpeg(segment.duration));
            self.window.push(segment, alive);
            self.revision += 1;
        }
        written
    }

    /// Bytes of media: what is listed and retained, what waits for its part's or segment's end, and the newest frame.
    pub(super) fn held_bytes(&self) -> u64 {
        let growing = self.growing.as_ref().map_or(0, Growing::size_bytes);
        let waiting = self.waiting_bytes + self.messages.len() as u64;
        self.window.size_bytes() + growing + waiting + self.newest.len() as u64
    }

    pub(super) fn check_invariants(&self) {
        let held: u64 = self.held.iter().map(bytes_of).sum();
        let placed: u64 = self.placed.iter().map(|(_, data)| data.len() as u64).sum();
        assert_eq!(held + placed, self.waiting_bytes, "audio that waits");
        assert!(self.placed.windows(2).all(|pair| pair[0].0 < pair[1].0), "frames follow one another");
    }

    fn forget_waiting(&mut self) {
        self.held.clear();
        self.placed.clear();
        self.messages.clear();
        self.waiting_bytes = 0;
    }

    /// A boundary of the common clock in samples.
    fn samples(&self, ticks: i64) -> i64 {
        MediaTime::new(ticks, Timescale::MPEG).rescale(self.scale).ticks()
    }

    /// Where the running segment begins, in samples.
    fn opening(&self) -> i64 {
        self.growing.as_ref().map_or(0, |growing| self.samples(growing.head.start))
    }

    /// Gives the frames before the boundary (90 kHz ticks) their final times: contiguous, with silence in place of what did not
    /// come.
    fn place(&mut self, boundary: i64, last: bool) {
        let boundary = self.samples(boundary);
        let count = self.held.iter().take_while(|sample| sample.dts.ticks() < boundary).count();
        if let Some(newest) = count.checked_sub(1).and_then(|last| self.held.get(last)).or(self.held.front())
        {
            self.newest = copy(&newest.data);
        }
        let next = self.held.get(count).map(|sample| sample.dts.ticks()).filter(|_| !last);
        // Where the last frame ended, unless audio begins here: then with its first frame, or with the segment.
        let opening = self.opening();
        let first = self.held.front().filter(|_| count > 0).map(|sample| sample.dts.ticks());
        let start = self
            .end
            .or(first.filter(|first| first.saturating_sub(opening).abs() < self.frame))
            .unwrap_or(opening);
        let mut cursor = start;
        for _ in 0..count {
            let Some(sample) = self.held.pop_front() else { break };
            let time = sample.dts.ticks();
            self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes_of(&sample));
            self.fill(&mut cursor, time);
            if time.saturating_add(self.frame / 2) < cursor {
                // It lies where silence or an earlier frame was written already.
                continue;
            }
            // A part begins exactly where the last one ended: less than a frame of a hole goes to its first frame.
            let at = if self.placed.is_empty() { cursor } else { time.max(cursor) };
            self.put(at, sample.data);
            cursor = time.max(cursor).saturating_add(self.frame);
        }
        let missing = boundary.saturating_sub(cursor);
        if !last || MediaTime::new(missing, self.scale).millis() >= SILENT_END_MS {
            self.fill(&mut cursor, next.unwrap_or(boundary).min(boundary));
        }
        // The last frame lasts until the next one: less than a frame of rounding or of a hole. The end of a session stays as it
        // is; should another one continue it, the hole is filled there.
        let end = match next {
            Some(next)
                if !self.placed.is_empty() && next > cursor && next.saturating_sub(cursor) < self.frame =>
            {
                next
            }
            _ => cursor,
        };
        if !self.placed.is_empty() {
            self.end = Some(end);
        }
    }

    fn put(&mut self, time: i64, data: Bytes) {
        self.waiting_bytes = self.waiting_bytes.saturating_add(data.len() as u64);
        self.placed.push((time, data));
    }

    /// Silence from the cursor on while a whole frame fits before `until`.
    fn fill(&mut self, cursor: &mut i64, until: i64) {
        let Some(silence) = self.silence.clone() else { return };
        while until.saturating_sub(*cursor) >= self.frame && self.placed.len() < SAMPLES_MAX {
            self.put(*cursor, silence.clone());
            *cursor = cursor.saturating_add(self.frame);
            self.silence_filled += 1;
        }
    }

    /// Writes what is placed: as one part, or as many as the target asks for. Where the segment goes on, less than a part stays.
    fn write_parts(&mut self, plan: Option<PartPlan>, all: bool) -> Result<(), headwater_cmaf::Error> {
        let limit = plan.map_or(i64::MAX, |plan| plan.limit(self.scale));
        let least = limit / 100 * REST_SHARE_PERCENT;
        let mut is_first = true;
        while let Some((start, _)) = self.placed.first() {
            let start = *start;
            let end = self.end.unwrap_or(start);
            let ends = self.placed.iter().skip(1).map(|(time, _)| *time).chain(std::iter::once(end));
            let fitting = ends.take_while(|end| end.saturating_sub(start) <= limit).count().max(1);
            let is_whole = fitting >= self.placed.len();
            // What the pictures' part left over because it was a frame too long.
            if !all && is_whole && !is_first && end.saturating_sub(start) < least {
                break;
            }
            is_first = false;
            self.write_part(fitting)?;
        }
        Ok(())
    }

    /// The first `count` frames become a part.
    fn write_part(&mut self, count: usize) -> Result<(), headwater_cmaf::Error> {
        let (part, rest) = self.placed.split_at(count.min(self.placed.len()));
        self.waiting_bytes =
            part.iter().fold(self.waiting_bytes, |bytes, (_, data)| bytes.saturating_sub(data.len() as u64));
        let Some((start, _)) = part.first() else { return Ok(()) };
        let start = *start;
        let end = rest.first().map(|(time, _)| *time).or(self.end).unwrap_or(start);
        let nexts = part.iter().skip(1).map(|(time, _)| *time).chain(std::iter::once(end));
        let chunk: Vec<ChunkSample<&Bytes>> = part
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
        let duration = MediaTime::new(end.saturating_sub(start), self.scale);
        let mut written = Ok(());
        if let Some(growing) = &mut self.growing {
            let mut out = std::mem::take(&mut self.messages);
            self.writer.set_sequence_number(growing.chunk_sequence());
            written = self.writer.write(&mut out, start.max(0).unsigned_abs(), &chunk);
            if written.is_ok() {
                growing.push(MediaTime::new(start, self.scale), duration, true, out);
                self.revision += 1;
            }
        }
        // Written or not: what can't be written is dropped.
        self.placed.drain(..count.min(self.placed.len()));
        written
    }
}

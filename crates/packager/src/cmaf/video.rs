//! The video track of the CMAF packaging.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_cmaf::{ChunkSample, ChunkWriter, InitSegment, Moment, ProducerReferenceTime};
use headwater_media::{MediaTime, Sample, Timescale, TrackId};

use super::growing::{Growing, Head, copy, size};
use super::parts::{Division, PartPlan, Samples, Unit};
use super::{SAMPLES_MAX, bytes_of, ticks32};
use crate::rates::Rates;
use crate::snapshot::CmafSegment;
use crate::window::{Numbering, Window};

#[derive(Debug)]
pub(super) struct VideoTrack {
    /// It is part of what is published now. A track that isn't any more stays until its segments have left the window: earlier
    /// Periods list them, and players fetch them.
    pub(super) active: bool,
    pub(super) init: Arc<InitSegment>,
    writer: ChunkWriter,
    /// Samples of the running part.
    samples: Vec<Sample>,
    /// Their bytes.
    samples_bytes: u64,
    /// What the segment's decode times are moved by: the composition offset of the keyframe it starts with, so that it starts
    /// with the keyframe's PTS (cmaf-dash.md 3.5); of the last such keyframe where it starts elsewhere.
    shift: i64,
    /// Where the running part begins, in 90 kHz ticks.
    part_start: i64,
    pub(super) growing: Option<Growing>,
    /// The newest picture that decoding can start with: what a segment without pictures shows.
    pub(super) keyframe: Option<Bytes>,
    /// The picture was repeated: what refers to the ones before it can't be decoded any more.
    pub(super) awaits_keyframe: bool,
    pub(super) window: Window<CmafSegment>,
    pub(super) rates: Rates,
    /// Event messages (boxes) that the running part's chunk begins with.
    pub(super) messages: Vec<u8>,
    /// Pictures of the running segment that are in parts.
    pictures: u64,
    /// What the segment before was made of.
    before: Option<Samples>,
    /// How the running segment becomes parts if it is like that one.
    division: Option<Division>,
    /// Pictures, bytes and ticks of segments that the sound has not reached: the MPD states rates, and changes with the sound.
    unrated: Vec<(u64, usize, i64)>,
    /// Parts and segments so far.
    pub(super) revision: u64,
    /// Parts that are longer than the target: a picture stayed on for so long.
    pub(super) overlong: u64,
}

impl VideoTrack {
    pub(super) fn new(init: InitSegment, length: Duration, numbering: Numbering) -> VideoTrack {
        VideoTrack {
            active: true,
            init: Arc::new(init),
            writer: ChunkWriter::new(),
            samples: Vec::new(),
            samples_bytes: 0,
            shift: 0,
            part_start: 0,
            growing: None,
            keyframe: None,
            awaits_keyframe: false,
            window: Window::new(length, numbering),
            rates: Rates::default(),
            messages: Vec::new(),
            pictures: 0,
            before: None,
            division: None,
            unrated: Vec::new(),
            revision: 0,
            overlong: 0,
        }
    }

    /// It is not part of what is published any more.
    pub(super) fn leave(&mut self) {
        self.active = false;
        self.samples.clear();
        self.samples_bytes = 0;
        self.messages.clear();
        self.growing = None;
    }

    /// What is known of the segment that is not complete.
    pub(super) fn heads(&mut self) -> impl Iterator<Item = &mut Head> {
        self.growing.iter_mut().map(Growing::head_mut)
    }

    /// A segment begins, which will be like the one before it for all that is known.
    pub(super) fn open(&mut self, head: Head, plan: Option<PartPlan>, audio: Option<Unit>) {
        self.division = plan.and_then(|plan| plan.division(self.before?, audio));
        self.part_start = head.start;
        self.growing = Some(Growing::new(head, Arc::clone(&self.init)));
    }

    /// Takes a sample into the running segment. A keyframe ends the wait for one. Without a plan the segment is one part. Where
    /// parts end by it goes to `ends` (90 kHz ticks). Returns false when it can't be written.
    pub(super) fn take(&mut self, sample: &Sample, plan: Option<PartPlan>, ends: &mut Vec<i64>) -> bool {
        self.take_before(sample, plan, i64::MAX, ends)
    }

    /// As [`VideoTrack::take`], of a segment whose end is known: what comes before the sample ends at `latest` at the latest.
    fn take_before(
        &mut self,
        sample: &Sample,
        plan: Option<PartPlan>,
        latest: i64,
        ends: &mut Vec<i64>,
    ) -> bool {
        self.awaits_keyframe &= !sample.sync;
        if self.awaits_keyframe || self.samples.len() >= SAMPLES_MAX || sample.data.is_empty() {
            return false;
        }
        let begins = self.samples.is_empty() && self.growing.as_ref().is_some_and(Growing::is_empty);
        if begins && sample.sync {
            self.shift = i64::from(sample.cts_offset);
        }
        let dts = sample.dts.ticks();
        let time = dts.saturating_add(self.shift).min(latest);
        let mut written = true;
        if let (Some(plan), Some(last)) = (plan, self.samples.last()) {
            let step = dts.saturating_sub(last.dts.ticks());
            let elapsed = time.saturating_sub(self.part_start);
            let index = self.pictures.saturating_add(self.samples.len() as u64);
            let index = i64::try_from(index).unwrap_or(i64::MAX);
            if plan.ends(elapsed, step) || self.division.is_some_and(|of| of.ends(elapsed, index)) {
                written = self.end_parts(time, plan, ends).is_ok();
            }
        }
        self.samples_bytes = self.samples_bytes.saturating_add(bytes_of(sample));
        self.samples.push(sample.clone());
        written
    }

    /// A plan was made: what has gathered of the segment, which ends at `end` (90 kHz ticks), becomes parts.
    pub(super) fn divide(
        &mut self,
        plan: PartPlan,
        division: Option<Division>,
        end: i64,
        ends: &mut Vec<i64>,
    ) {
        self.division = division;
        let samples = std::mem::take(&mut self.samples);
        self.samples_bytes = 0;
        // Each of those that follow lasts a tick at least.
        let mut latest = end.saturating_sub(i64::try_from(samples.len()).unwrap_or(i64::MAX));
        for sample in &samples {
            self.take_before(sample, Some(plan), latest, ends);
            latest = latest.saturating_add(1);
        }
    }

    /// Each sample lasts a tick at least, so the running part, and with it the segment, ends no sooner (90 kHz ticks).
    pub(super) fn earliest_end(&self) -> i64 {
        self.part_start.saturating_add(i64::try_from(self.samples.len()).unwrap_or(i64::MAX))
    }

    /// What the running segment is made of if all of it waits for its part and it ends at `end` (90 kHz ticks).
    pub(super) fn waiting(&self, end: i64) -> Samples {
        let reach = |sample: &Sample| i64::from(sample.cts_offset).saturating_sub(self.shift);
        Samples {
            count: i64::try_from(self.samples.len()).unwrap_or(i64::MAX),
            ticks: end.saturating_sub(self.part_start),
            reach: self.samples.iter().map(reach).max().unwrap_or(0).max(0),
        }
    }

    /// Ends the running segment at `end` (90 kHz ticks) and lists it. Where parts end before that goes to `ends`. `None` when it
    /// could not be written.
    pub(super) fn close(&mut self, end: i64, plan: Option<PartPlan>, ends: &mut Vec<i64>) -> Option<()> {
        if self.samples.is_empty()
            && self.growing.as_ref().is_some_and(Growing::is_empty)
            && let Some(keyframe) = &self.keyframe
        {
            // A segment holds at least one sample, and a picture that stands still keeps players going.
            self.awaits_keyframe = true;
            self.samples.push(Sample {
                track: TrackId::VIDEO,
                dts: MediaTime::new(self.part_start, Timescale::MPEG),
                cts_offset: 0,
                sync: true,
                data: keyframe.clone(),
            });
            self.samples_bytes = bytes_of(self.samples.first()?);
        }
        let written = match plan {
            _ if self.samples.is_empty() => true,
            Some(plan) => {
                let written = self.end_parts(end, plan, ends).is_ok();
                // The last one ends with the segment.
                ends.pop_if(|last| *last >= end);
                written
            }
            None => self.end_part(end, None).is_ok(),
        };
        let (segment, alive) = self.growing.take()?.finish()?;
        let (pictures, ticks) = (std::mem::take(&mut self.pictures), segment.duration.ticks());
        let count = i64::try_from(pictures).unwrap_or(i64::MAX);
        self.before = Some(Samples { count, ticks, reach: 0 });
        self.unrated.push((pictures, size(&segment), ticks));
        self.window.push(segment, alive);
        self.revision += 1;
        written.then_some(())
    }

    /// What was listed counts in the rates from now on.
    pub(super) fn rate(&mut self) {
        for (pictures, size_bytes, ticks) in self.unrated.drain(..) {
            (0..pictures).for_each(|_| self.rates.frame());
            self.rates.segment(size_bytes, ticks);
        }
    }

    /// Bytes of media: what is listed and retained, what waits for its part's or segment's end, and the newest keyframe.
    pub(super) fn held_bytes(&self) -> u64 {
        let keyframe = self.keyframe.as_ref().map_or(0, Bytes::len) as u64;
        let growing = self.growing.as_ref().map_or(0, Growing::size_bytes);
        self.window.size_bytes() + growing + self.samples_bytes + keyframe + self.messages.len() as u64
    }

    pub(super) fn check_invariants(&self) {
        let waiting: u64 = self.samples.iter().map(bytes_of).sum();
        assert_eq!(waiting, self.samples_bytes, "video that waits");
    }

    /// Ends the running part at `end`, but no part is longer than the target: what would be, because its last picture stays on for
    /// so long, ends before that picture. A picture that alone is longer stays a part of its own, and is counted.
    fn end_parts(
        &mut self,
        end: i64,
        plan: PartPlan,
        ends: &mut Vec<i64>,
    ) -> Result<(), headwater_cmaf::Error> {
        let end = end.max(self.earliest_end());
        if end.saturating_sub(self.part_start) > plan.limit(Timescale::MPEG)
            && self.samples.len() > 1
            && let Some(last) = self.samples.pop()
        {
            // Later than the cut that ends the segment it may be (a squeezed clock), but not in its part.
            let start = last.dts.ticks().saturating_add(self.shift).min(end.saturating_sub(1));
            let start = start.max(self.earliest_end());
            self.end_part(start, Some(plan))?;
            ends.push(start);
            self.samples_bytes = bytes_of(&last);
            self.samples.push(last);
        }
        self.end_part(end, Some(plan))?;
        ends.push(end);
        Ok(())
    }

    /// Gathers the running part's samples in a chunk. What can't be written is dropped.
    fn end_part(&mut self, end: i64, plan: Option<PartPlan>) -> Result<(), headwater_cmaf::Error> {
        let mut samples = std::mem::take(&mut self.samples);
        self.samples_bytes = 0;
        if let Some(newest) = samples.iter().rev().find(|sample| sample.sync) {
            self.keyframe = Some(copy(&newest.data));
        }
        let start = self.part_start;
        // Each sample lasts a tick at least; more of them than ticks are an encoder whose clock stands still.
        samples.truncate(usize::try_from(end.saturating_sub(start)).unwrap_or(0));
        let shift = self.shift;
        let count = i64::try_from(samples.len()).unwrap_or(i64::MAX);
        let mut times: Vec<i64> =
            samples.iter().map(|sample| sample.dts.ticks().saturating_add(shift)).collect();
        // A cut that comes sooner than the shifted clock expects squeezes the last decode times, pictures that come later than the
        // sound that has cut the first ones; PTS stay.
        for (index, time) in (0_i64..).zip(&mut times) {
            let least = start.saturating_add(index);
            *time = (*time).clamp(least, end.saturating_sub(count.saturating_sub(index)).max(least));
        }
        // The first one is where the part before it ended: a hole in front of it is its own.
        if let Some(first) = times.first_mut() {
            *first = start;
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
        if let Some(growing) = &mut self.growing {
            if growing.is_empty() {
                // Once per segment: what low-latency players count from (cmaf-dash.md 3.11).
                let wall = growing.head.date(MediaTime::new(start, Timescale::MPEG));
                let media_time = start.max(0).unsigned_abs();
                ProducerReferenceTime { wall, moment: Moment::Arbitrary, media_time }.write(&mut out);
            }
            out.append(&mut self.messages);
            self.writer.set_sequence_number(growing.chunk_sequence());
            self.writer.write(&mut out, start.max(0).unsigned_abs(), &chunk)?;
            let duration = MediaTime::new(end.saturating_sub(start), Timescale::MPEG);
            let independent = samples.first().is_some_and(|sample| sample.sync);
            growing.push(MediaTime::new(start, Timescale::MPEG), duration, independent, out);
            self.pictures += samples.len() as u64;
            self.overlong +=
                u64::from(plan.is_some_and(|plan| duration.ticks() > plan.limit(Timescale::MPEG)));
        }
        self.part_start = end;
        self.revision += 1;
        // The memory is used again; the samples themselves hold read buffers.
        samples.clear();
        self.samples = samples;
        Ok(())
    }
}

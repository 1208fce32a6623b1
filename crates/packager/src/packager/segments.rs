//! Segments and Periods of all packagings, cut at the same boundaries.

use headwater_media::{MediaTime, Sample, Timescale};

use super::{DRIFT_MAX_MS, HOLE_SEGMENTS_MAX, Packager, Session};
use crate::Clock;
use crate::cmaf::{CmafPackaging, Head, News};
use crate::snapshot::{Cadence, Period, State};

impl Packager {
    /// Media from `start` on has its own mapping to the wall clock: a session's or a configuration's beginning.
    pub(super) fn begin_period(&mut self, start: i64, continues: bool) {
        let media_start = MediaTime::new(start, Timescale::MPEG);
        let Some(cmaf) = &mut self.cmaf else { return };
        let mut date = self.wall.wall(media_start);
        // Periods start one after the other. A wall clock that was set back to before the last one's start leaves that one out
        // of the MPD: in the new reckoning it lies in the future.
        if let Some(last) = cmaf.period()
            && date.unix_millis() == last.start.unix_millis()
        {
            date = date.offset_by(1);
        }
        cmaf.begin_period(Period {
            id: self.sequence,
            start: date,
            media_start,
            tracks: self.active.clone(),
            continues: cmaf.period().map(|period| period.id).filter(|_| continues),
            // What was regular will be: players of low latency are not to wait for its first segment's end.
            cadence: match cmaf.period().map(|period| period.cadence) {
                Some(Cadence::Regular(ticks)) if continues => Cadence::Regular(ticks),
                _ => Cadence::Unknown,
            },
        });
    }

    /// The mapping was set right before anything was published.
    pub(super) fn redate(&mut self) {
        let Some(cmaf) = &mut self.cmaf else { return };
        let Some(start) = cmaf.period().map(|period| self.wall.wall(period.media_start)) else { return };
        cmaf.redate(start, self.wall.offset_ms());
    }

    /// The mapping has drifted too far from what the period states: the next segment begins another one.
    pub(super) fn has_drifted(&self) -> bool {
        let Some(period) = self.cmaf.as_ref().and_then(CmafPackaging::period) else { return false };
        let now = self.wall.wall(period.media_start).unix_millis();
        now.abs_diff(period.start.unix_millis()) > DRIFT_MAX_MS
    }

    pub(super) fn cut(&mut self, boundary: i64, independent: bool, keyframe: bool, clock: Clock) {
        if !independent {
            self.counters.forced_cuts += 1;
        }
        let boundary = self.close(boundary, clock);
        if self.has_drifted() || self.cmaf.as_ref().is_some_and(CmafPackaging::is_regular_again) {
            self.begin_period(boundary, true);
        }
        self.open(boundary, independent, keyframe);
    }

    pub(super) fn open(&mut self, boundary: i64, independent: bool, keyframe: bool) {
        self.cutter.begin(boundary, keyframe && independent);
        let discontinuity = std::mem::take(&mut self.discontinuity_due);
        if let Some(ts) = &mut self.ts {
            ts.open(self.sequence, boundary, independent, discontinuity);
        }
        if let Some(cmaf) = &mut self.cmaf {
            cmaf.open(Head {
                sequence: self.sequence,
                start: boundary,
                independent,
                discontinuity,
                wall_offset_ms: self.wall.offset_ms(),
                period: 0,
            });
        }
        self.discontinuities += u64::from(discontinuity);
    }

    /// Ends the running segment where the sample at hand begins, and returns where that is. A hole before the sample can pass
    /// the limit that TARGETDURATION sets: what ends there ends at the limit, and the hole belongs to what follows.
    pub(super) fn close(&mut self, boundary: i64, clock: Clock) -> i64 {
        let boundary = self.not_before(boundary);
        let limit = self.cutter.limit();
        let mut segments = 0;
        while let Some(end) = self.cutter.start().map(|start| start.saturating_add(limit))
            && end < boundary
            && segments < HOLE_SEGMENTS_MAX
        {
            segments += 1;
            let end = self.not_before(end).min(boundary);
            self.end_segment(end, false, clock);
            if end.saturating_add(limit) >= boundary {
                return end;
            }
            self.open(end, false, false);
        }
        self.end_segment(boundary, false, clock);
        boundary
    }

    /// Where a segment that should end at `boundary` can: parts that have gone out can't be taken back.
    pub(super) fn not_before(&self, boundary: i64) -> i64 {
        self.cmaf
            .as_ref()
            .and_then(CmafPackaging::earliest_end)
            .map_or(boundary, |earliest| boundary.max(earliest))
    }

    pub(super) fn end_segment(&mut self, boundary: i64, last: bool, clock: Clock) {
        let Some(start) = self.cutter.start() else { return };
        if !self.has_listed && self.wall.settle() {
            self.redate();
        }
        let date = self.wall.wall(MediaTime::new(start, Timescale::MPEG));
        self.wall.segment_ended();
        self.cutter.end(boundary);
        let target_duration = self.cutter.target_duration();
        if let Some(ts) = &mut self.ts
            && let Some(size) = ts.close(boundary, last, date, target_duration, clock)
        {
            self.rates.segment(size, boundary.saturating_sub(start));
            self.listed();
        }
        if let Some(cmaf) = &mut self.cmaf {
            let news = cmaf.close(boundary, last, target_duration, clock);
            self.take_news(news);
        }
        self.release_input();
        self.make_room_after(clock);
        self.slide_metadata();
        self.sequence = self.sequence.saturating_add(1);
    }

    /// A segment was listed.
    pub(super) fn listed(&mut self) {
        self.changed = true;
        self.has_listed = true;
        if matches!(self.session, Session::Running) {
            self.state = State::Live;
        }
    }

    pub(super) fn write(&mut self, sample: &Sample, clock: Clock) {
        if self.metadata.is_waiting() {
            self.write_due(sample.pts().rescale(Timescale::MPEG).ticks());
        }
        self.placed.sample(sample);
        if let Some(ts) = &mut self.ts {
            ts.write(sample);
        }
        let target_duration = self.cutter.target_duration();
        if let Some(cmaf) = &mut self.cmaf {
            let news = cmaf.write(sample, target_duration, clock);
            self.take_news(news);
            if news == News::Segment {
                self.make_room_after(clock);
            }
        }
    }

    /// Readers see something new of CMAF.
    pub(super) fn take_news(&mut self, news: News) {
        match news {
            News::Nothing => {}
            News::Part => self.changed = true,
            News::Segment => self.listed(),
        }
    }
}

//! What a stream may hold: who leaves when it is too much, and in which order.
//!
//! What nobody is promised any more goes first: retained segments, the oldest before the others. Then the list gets shorter from
//! its front, down to the three target durations that every list has (8216bis 6.2.2). What is still too much can't be carried. A
//! segment that leaves is in no later version, and in memory until that version has taken the place of the one before.

use super::{Packager, Refusal, Session};
use crate::Clock;
use crate::cmaf::CmafPackaging;
use crate::ts::TsPackaging;

/// A sample that is a slice of what was read holds all of the buffer that was read into, `origin`'s of 64 KiB.
const BUFFER_BYTES_MAX: u64 = 64 << 10;

/// What came from the publisher beside its samples, and is held because of them.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// Bytes of the newest buffer that no sample has claimed.
    fresh: u64,
    /// Bytes before them that no sample has claimed, as far as the next sample can hold them.
    passed: u64,
    /// What the running segment's samples hold beside themselves.
    beside: u64,
}

impl Input {
    fn heard(&mut self, bytes: usize) {
        self.passed = self.passed.saturating_add(self.fresh).min(BUFFER_BYTES_MAX);
        self.fresh = bytes as u64;
    }

    fn claim(&mut self, sample_bytes: usize) {
        self.beside = self.beside.saturating_add(std::mem::take(&mut self.passed));
        self.fresh = self.fresh.saturating_sub(sample_bytes as u64);
    }
}

/// Bytes of media that a stream holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Listed and retained segments of every packaging, the ones under construction, samples that wait, and what continuous
    /// outputs hold.
    pub own_bytes: u64,
    /// Segments beyond these that somebody still holds: readers who are slow to take them.
    pub readers_bytes: u64,
}

impl Memory {
    /// What is judged.
    pub fn sum(self) -> u64 {
        self.own_bytes.saturating_add(self.readers_bytes)
    }
}

impl Packager {
    /// So many bytes arrived from the publisher, in a buffer of which samples that follow may be slices.
    pub fn heard(&mut self, bytes: usize) {
        self.input.heard(bytes);
    }

    /// So many bytes are held for continuous outputs, of samples that were handed on ([`Packager::hand_placed_to`]).
    pub fn set_continuous_bytes(&mut self, bytes: u64) {
        self.continuous_bytes = bytes;
    }

    /// A sample waits in what was read: in the gate, or for its segment's end. The muxer of MPEG-TS copies.
    pub(super) fn claim(&mut self, sample_bytes: usize) {
        if self.cmaf.is_some() || matches!(self.session, Session::Starting(_)) {
            self.input.claim(sample_bytes);
        }
    }

    /// Bytes of media held, without what readers hold of segments that have left.
    pub(super) fn own_bytes(&self) -> u64 {
        let gate = match &self.session {
            Session::Starting(gate) => gate.held_bytes(),
            Session::None | Session::Running => 0,
        };
        let ts = self.ts.as_ref().map_or(0, TsPackaging::held_bytes);
        let cmaf = self.cmaf.as_ref().map_or(0, CmafPackaging::held_bytes);
        let input = self.input.beside.saturating_add(self.continuous_bytes);
        gate.saturating_add(ts).saturating_add(cmaf).saturating_add(input)
    }

    /// What is held now. What readers hold is exact when the newest version has been handed on and the one before dropped.
    pub fn memory(&mut self) -> Memory {
        let readers_bytes = self.departed().iter().map(|(_, size_bytes)| size_bytes).sum();
        Memory { own_bytes: self.own_bytes(), readers_bytes }
    }

    /// When readers make the stream pass its budget: readers of segments below this number have to let go, those of the oldest
    /// bytes first. To be asked after an event, once its version has taken the place of the one before.
    pub fn readers_due(&mut self) -> Option<u64> {
        let own_bytes = self.own_bytes();
        let ts = self.ts.as_ref().map_or(0, |ts| ts.window().departed_bytes_max());
        let readers = ts.saturating_add(self.cmaf.as_ref().map_or(0, CmafPackaging::departed_bytes_max));
        if own_bytes.saturating_add(readers) <= self.bytes_max {
            return None;
        }
        let mut held = self.departed();
        held.sort_unstable();
        let mut excess = held.iter().map(|(_, size_bytes)| size_bytes).sum::<u64>().saturating_add(own_bytes);
        let mut below = None;
        for (sequence, size_bytes) in held {
            if excess <= self.bytes_max {
                break;
            }
            excess = excess.saturating_sub(size_bytes);
            below = Some(sequence.saturating_add(1));
        }
        below
    }

    /// Number and size of the segments that have left and are still held.
    fn departed(&mut self) -> Vec<(u64, u64)> {
        let ts = self.ts.as_mut().map(|ts| ts.window_mut().departed());
        let cmaf = self.cmaf.as_mut().map(CmafPackaging::departed);
        let mut held = Vec::new();
        for departed in ts.into_iter().chain(cmaf.into_iter().flatten()) {
            departed.sweep();
            held.extend(departed.segments());
        }
        held
    }

    /// The segment's samples are gathered in a chunk of their own.
    pub(super) fn release_input(&mut self) {
        self.input.beside = 0;
    }

    /// Makes room for so many bytes of a sample, in every packaging.
    ///
    /// # Errors
    /// [`Refusal::OverBudget`] when all that may leave has left and it does not fit.
    pub(super) fn make_room(&mut self, sample_bytes: usize, clock: Clock) -> Result<(), Refusal> {
        let packagings = u64::from(self.ts.is_some()) + u64::from(self.cmaf.is_some());
        let more = (sample_bytes as u64).saturating_mul(packagings.max(1));
        while self.own_bytes().saturating_add(more) > self.bytes_max {
            if !self.evict(clock) {
                return Err(Refusal::OverBudget { bytes_max: self.bytes_max });
            }
        }
        Ok(())
    }

    /// A segment's own overhead, or what fills a hole, may have passed the budget: as far as something may leave, it does.
    pub(super) fn make_room_after(&mut self, clock: Clock) {
        let _ = self.make_room(0, clock);
    }

    /// Lets the oldest number go that may go. Returns false when there is none.
    fn evict(&mut self, clock: Clock) -> bool {
        let retained = [
            self.ts.as_ref().and_then(|ts| ts.window().first_retained()),
            self.cmaf.as_ref().and_then(CmafPackaging::first_retained),
        ];
        let evicted = if let Some(sequence) = retained.into_iter().flatten().min() {
            let ts = self.ts.as_mut().map_or(0, |ts| ts.window_mut().evict(sequence));
            ts + self.cmaf.as_mut().map_or(0, |cmaf| cmaf.evict_retained(sequence))
        } else {
            let Some(sequence) = self.dispensable() else { return false };
            let target_duration = self.cutter.target_duration();
            let ts = self.ts.as_mut().map_or(0, |ts| {
                ts.window_mut().slide_to(sequence.saturating_add(1), clock.now);
                ts.window_mut().evict(sequence)
            });
            ts + self.cmaf.as_mut().map_or(0, |cmaf| cmaf.evict_listed(sequence, target_duration, clock))
        };
        self.counters.evicted_for_memory += evicted;
        self.changed = true;
        evicted > 0
    }

    /// The oldest listed number, when every list can do without it.
    fn dispensable(&self) -> Option<u64> {
        let target_duration = self.cutter.target_duration();
        let first = [
            self.ts.as_ref().and_then(|ts| ts.window().first_listed()).map(|segment| segment.sequence),
            self.cmaf.as_ref().and_then(CmafPackaging::first_listed),
        ];
        let least = [
            self.ts.as_ref().map(|ts| ts.window().least_first(target_duration)),
            self.cmaf.as_ref().and_then(|cmaf| cmaf.least_first(target_duration)),
        ];
        let first = first.into_iter().flatten().min()?;
        let least = least.into_iter().flatten().min()?;
        (first < least).then_some(first)
    }
}

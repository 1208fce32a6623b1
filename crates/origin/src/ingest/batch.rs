//! Reading in batches. A thread with many publishers is woken for each of their messages, some eighty times a second for each of them, and
//! that costs more than what is done with them. Where nobody waits for the next frame, it looks at all of its sockets every few
//! milliseconds instead.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long a thread leaves its sockets alone at a time: the most that a frame waits for being read.
const BATCH: Duration = Duration::from_millis(4);

/// What is waited for somebody keeps a thread awake for this long: between two requests for what comes next a player asks for nothing.
const AWAITED_FOR: Duration = Duration::from_secs(1);

/// A thread's load is what it read in this time.
const LOOK: Duration = Duration::from_millis(100);

/// With fewer reads in that time a batch would hold none or one, and to end a pause costs as much as to be woken.
const READS_MIN: u32 = 60;

/// A connection that brings more than this per second is read as it comes: what its socket holds would be full before a pause is over, and its
/// publisher would wait.
const FAST_BYTES_PER_SECOND: u64 = 16 << 20;

/// How fast one connection is.
#[derive(Debug, Default)]
pub(super) struct Flow {
    since: Duration,
    bytes: u64,
    is_fast: bool,
}

impl Flow {
    /// Bytes were read. Returns whether the thread should go on reading.
    pub(super) fn read(&mut self, bytes: usize, now: Duration) -> bool {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let elapsed = now.saturating_sub(self.since);
        if elapsed >= LOOK {
            let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
            self.is_fast = self.bytes.saturating_mul(1_000_000) / micros > FAST_BYTES_PER_SECOND;
            (self.since, self.bytes) = (now, 0);
        }
        self.is_fast
    }
}

/// What one thread has read lately.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    /// When its reads began to be counted.
    since: Option<Instant>,
    reads: u32,
    is_high: bool,
    /// Somebody waits, or did until a moment ago.
    awaited_until: Option<Instant>,
}

thread_local! {
    static LOAD: Cell<Load> = Cell::default();
}

impl Load {
    fn read(&mut self, is_awaited: bool, now: Instant) {
        if is_awaited {
            self.awaited_until = now.checked_add(AWAITED_FOR);
        }
        self.reads = self.reads.saturating_add(1);
        let elapsed = self.since.map(|since| now.saturating_duration_since(since));
        if elapsed.is_none_or(|elapsed| elapsed >= LOOK) {
            // What took longer than twice the time was idle in between.
            self.is_high = self.reads >= READS_MIN && elapsed.is_some_and(|elapsed| elapsed < LOOK * 2);
            (self.since, self.reads) = (Some(now), 0);
        }
    }

    fn pauses(&self, now: Instant) -> bool {
        let is_recent = self.since.is_some_and(|since| now.saturating_duration_since(since) < LOOK * 2);
        self.is_high && is_recent && self.awaited_until.is_none_or(|until| until <= now)
    }
}

/// A publisher's bytes were read by this thread. `is_awaited`: a player waits for what becomes of them, or the publisher for the next read.
pub(super) fn read(is_awaited: bool) {
    LOAD.with(|load| {
        let mut now = load.get();
        now.read(is_awaited, Instant::now());
        load.set(now);
    });
}

/// Before the thread waits for its sockets: leaves them alone for a moment, so that it finds more of them ready.
pub(crate) fn before_park() {
    if LOAD.with(|load| load.get().pauses(Instant::now())) {
        std::thread::sleep(BATCH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_for(load: &mut Load, from: Instant, per_second: u32, is_awaited: bool) -> Instant {
        let step = Duration::from_secs(1) / per_second;
        let mut now = from;
        for _ in 0..per_second {
            now += step;
            load.read(is_awaited, now);
        }
        now
    }

    #[test]
    fn a_fast_connection_is_not_left_alone() {
        let mut flow = Flow::default();
        let mut read_for = |bytes: usize, start: u64| {
            (start..start + 1_000).filter(|ms| flow.read(bytes, Duration::from_millis(*ms))).count()
        };
        assert_eq!(read_for(5_000, 0), 0, "40 Mbit/s");
        assert!(read_for(100_000, 1_000) > 800, "100 MB/s");
        assert!(read_for(5_000, 2_000) < 200);
    }

    #[test]
    fn a_busy_thread_pauses_unless_somebody_waits() {
        let start = Instant::now();
        let mut load = Load::default();
        assert!(!load.pauses(start));
        // A stream alone: each message is read when it comes.
        let now = read_for(&mut load, start, 80, false);
        assert!(!load.pauses(now));
        let now = read_for(&mut load, now, 4_800, false);
        assert!(load.pauses(now));
        // Nothing comes any more.
        assert!(!load.pauses(now + LOOK * 2));
        let now = read_for(&mut load, now, 4_800, true);
        assert!(!load.pauses(now));
        let now = read_for(&mut load, now, 4_800, false);
        assert!(load.pauses(now + Duration::from_millis(1)), "nobody has waited for a second");
        // One reads, and nothing again for long.
        let mut idle = Load::default();
        let mut now = start;
        for _ in 0..200 {
            now += LOOK * 3;
            idle.read(false, now);
        }
        assert!(!idle.pauses(now));
    }
}

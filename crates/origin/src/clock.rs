//! The two clocks, read here and nowhere below.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headwater_media::WallTime;
use headwater_packager::Clock;

/// Reads the monotonic clock as time since this value was made, and the wall clock.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    start: Instant,
}

impl Clocks {
    /// Monotonic time starts here.
    pub fn start() -> Clocks {
        Clocks { start: Instant::now() }
    }

    /// Monotonic time since the start.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The wall clock.
    pub fn wall(&self) -> WallTime {
        // A clock before 1970 counts as 1970: it is wrong either way, and the numbering survives it (see `registry`).
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Both at once.
    pub fn read(&self) -> Clock {
        Clock { now: self.now(), wall: self.wall() }
    }

    /// The tokio instant of a monotonic time, for timers.
    pub fn instant(&self, at: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + at)
    }
}

//! With how much a connection is read: a bucket that fills with what is read and empties at the rate allowed.

use std::time::Duration;

/// What the rate is averaged over: a keyframe, or what a publisher held back while its network was away, is no excess.
const AVERAGED_OVER: Duration = Duration::from_secs(4);

/// The bucket of one connection.
#[derive(Debug)]
pub(super) struct Rate {
    bytes_per_second: u64,
    /// What was read and has not been earned yet, bytes.
    level: u64,
    since: Duration,
}

impl Rate {
    /// An empty bucket for so many bits per second; 0 for no limit.
    pub(super) fn new(bits_per_second: u64, now: Duration) -> Rate {
        Rate { bytes_per_second: bits_per_second / 8, level: 0, since: now }
    }

    /// Bytes were read.
    pub(super) fn read(&mut self, bytes: usize, now: Duration) {
        let earned = self.earned(now);
        // What was earned for less than a byte counts with the next read.
        if earned > 0 || self.level == 0 {
            self.since = now;
        }
        self.level = self.level.saturating_sub(earned).saturating_add(bytes as u64);
    }

    /// True when the next read has to wait.
    pub(super) fn is_exceeded(&self, now: Duration) -> bool {
        let burst = self.bytes_per_second.saturating_mul(AVERAGED_OVER.as_secs());
        self.bytes_per_second > 0 && self.level.saturating_sub(self.earned(now)) > burst
    }

    fn earned(&self, now: Duration) -> u64 {
        let elapsed = now.saturating_sub(self.since).as_micros();
        let earned = elapsed.saturating_mul(u128::from(self.bytes_per_second)) / 1_000_000;
        u64::try_from(earned).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads 16 KiB whenever it may, for so long. Returns the bytes read.
    fn read_for(rate: &mut Rate, from: Duration, seconds: u64, step: Duration) -> u64 {
        let (mut now, mut bytes) = (from, 0);
        while now < from + Duration::from_secs(seconds) {
            // A connection reads several times in a moment.
            while !rate.is_exceeded(now) {
                rate.read(16 << 10, now);
                bytes += 16 << 10;
            }
            now += step;
        }
        bytes
    }

    #[test]
    fn the_rate_holds_on_average_and_a_burst_is_allowed() {
        for mbit in [1, 8, 100] {
            let second = mbit * 125_000;
            for step_us in [37, 1_000, 50_000] {
                let step = Duration::from_micros(step_us);
                let mut rate = Rate::new(mbit * 1_000_000, Duration::ZERO);
                let most = |seconds: u64| (seconds + 4) * second + (16 << 10);
                let first = read_for(&mut rate, Duration::ZERO, 1, step);
                assert!((4 * second..=most(1)).contains(&first), "{mbit} Mbit/s, {step:?}: {first}");
                let all = first + read_for(&mut rate, Duration::from_secs(1), 19, step);
                assert!(all <= most(20), "{mbit} Mbit/s, {step:?}: {all}");
                // Nothing of what is allowed gets lost, but for what one pause rounds off.
                assert!(all >= (20 + 4) * second - second / 5, "{mbit} Mbit/s, {step:?}: {all}");
            }
        }
    }

    #[test]
    fn less_than_the_rate_never_waits_and_rest_earns_no_more_than_a_burst() {
        let mut rate = Rate::new(8_000_000, Duration::ZERO);
        for ms in 0..60_000 {
            let now = Duration::from_millis(ms);
            assert!(!rate.is_exceeded(now), "{ms} ms");
            rate.read(1_000, now);
        }
        let now = Duration::from_secs(3_600);
        rate.read(4_000_000, now);
        assert!(!rate.is_exceeded(now));
        rate.read(1, now);
        assert!(rate.is_exceeded(now));
    }

    #[test]
    fn no_limit() {
        let mut rate = Rate::new(0, Duration::ZERO);
        rate.read(usize::MAX, Duration::ZERO);
        rate.read(usize::MAX, Duration::ZERO);
        assert!(!rate.is_exceeded(Duration::ZERO));
    }
}

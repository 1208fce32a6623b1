//! A histogram of durations that is written without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the buckets in microseconds: from what a frame takes through the server to the longest hold. Beyond the last one is
/// one more bucket.
const BOUNDS_US: [u64; 15] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// Durations by size.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// A histogram's figures at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Sum of all durations in seconds.
    pub sum_seconds: f64,
    /// How many there were.
    pub count: u64,
    /// Each bucket's upper end in seconds, and how many durations are in it and not in one before.
    pub buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(count) = self.buckets.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> Reading {
        let bounds = BOUNDS_US.iter().map(|us| seconds(*us)).chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        Reading {
            sum_seconds: seconds(self.sum_us.load(Ordering::Relaxed)),
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

/// Exact below 2^53 us, 285 years.
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_at_most_its_bound() {
        let histogram = Histogram::default();
        for us in [0, 50, 51, 1_000, 1_001, 30_000_001, 60_000_000] {
            histogram.observe(Duration::from_micros(us));
        }
        let reading = histogram.read();
        assert_eq!(reading.count, 7);
        assert!((reading.sum_seconds - 90.002_103).abs() < 1e-9, "{}", reading.sum_seconds);
        let filled: Vec<_> = reading.buckets.iter().filter(|(_, count)| *count > 0).copied().collect();
        assert_eq!(filled, [(0.000_05, 2), (0.000_1, 1), (0.001, 1), (0.002_5, 1), (f64::INFINITY, 2)]);
    }
}

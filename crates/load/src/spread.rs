//! Times as a report shows them: the middle, the tail and the end.

use std::time::Duration;

use serde::Serialize;

/// Quantiles of a set of times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// How many times.
    pub count: usize,
    /// Half of them are at most this, ms.
    pub p50_ms: f64,
    /// 99 of 100 are at most this, ms.
    pub p99_ms: f64,
    /// The longest, ms.
    pub max_ms: f64,
}

impl Spread {
    /// Of these times; `None` of none.
    pub fn of(mut times: Vec<Duration>) -> Option<Spread> {
        times.sort_unstable();
        // Nearest rank: the smallest time that so many per cent don't exceed.
        let rank = |percent: usize| {
            times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied().map(ms)
        };
        Some(Spread {
            count: times.len(),
            p50_ms: rank(50)?,
            p99_ms: rank(99)?,
            max_ms: times.last().copied().map(ms)?,
        })
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Spread { count, p50_ms, p99_ms, max_ms } = self;
        write!(f, "p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, max {max_ms:.2} ms ({count})")
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_by_nearest_rank() {
        for (ms, expected) in [
            (1..=1, Some((1.0, 1.0, 1.0))),
            (1..=100, Some((50.0, 99.0, 100.0))),
            (1..=1_000, Some((500.0, 990.0, 1_000.0))),
            #[expect(clippy::reversed_empty_ranges, reason = "none at all")]
            (1..=0, None),
        ] {
            let times: Vec<_> = ms.rev().map(Duration::from_millis).collect();
            assert_eq!(Spread::of(times).map(|s| (s.p50_ms, s.p99_ms, s.max_ms)), expected);
        }
    }
}

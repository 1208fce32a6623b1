//! A crowd that has left: what it took goes back to the system.
//!
//! The C library keeps what was freed in the middle of its heaps, which is all of it where streams live on. A process that carried
//! ten thousand held requests once would keep 200 MB for as long as it runs.

use std::time::Duration;

/// Between two looks at how many are here.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// So many connections and held requests have to leave before it is worth a walk through all heaps: 20 MB. Smaller ones come and go,
/// and take again what others have left.
const LEFT_MIN: u32 = 1_000;

/// How many are here, looked at now and then.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Most since the last time that a crowd left.
    most: u32,
    before: u32,
}

impl Crowd {
    /// Whether a crowd has left, all of those who leave together: so many fewer than there were, and no longer getting fewer.
    pub(super) fn has_left(&mut self, now: u32) -> bool {
        let is_settled = now.saturating_add(LEFT_MIN / 10) >= self.before;
        self.before = now;
        self.most = self.most.max(now);
        let has_left = is_settled && self.most - now >= LEFT_MIN;
        if has_left {
            self.most = now;
        }
        has_left
    }
}

/// Gives free memory back, apart from everything else: it takes milliseconds per 100 MB.
pub(super) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    drop(tokio::task::spawn_blocking(|| {
        // SAFETY: takes a number and touches nothing but what is free; any thread may call it at any time (malloc_trim(3)).
        unsafe { libc::malloc_trim(0) };
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_leaves_once() {
        let mut crowd = Crowd::default();
        for (now, expected) in [
            (0, false),
            (900, false),
            (0, false),
            (5_000, false),
            (5_100, false),
            // Still leaving.
            (3_000, false),
            (10, false),
            (0, true),
            (0, false),
            (1_000, false),
            (0, false),
            (0, true),
            // Half of it.
            (10_000, false),
            (6_000, false),
            (5_990, true),
            (5_500, false),
            (4_950, false),
            (4_940, true),
        ] {
            assert_eq!(crowd.has_left(now), expected, "{now}: {crowd:?}");
        }
    }
}

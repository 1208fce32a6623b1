//! What a player would show: media arrives, time passes, and where the media ends before the time does the picture stands still.

use std::time::Duration;

use tokio::time::Instant;

/// The playback of one viewer, over all its tracks.
#[derive(Debug)]
pub(crate) struct Playback {
    /// So much must be there before it starts, and before it goes on.
    start_level: Duration,
    /// Media that has arrived, per track; the shortest counts.
    arrived: Vec<Duration>,
    played: Duration,
    /// The time that `played` belongs to.
    at: Instant,
    state: State,
    stalls: u64,
    stalled: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was shown yet.
    Starting,
    Playing,
    /// Since when the picture stands still.
    Stalled(Instant),
}

impl Playback {
    /// Of so many tracks.
    pub(crate) fn new(tracks: usize, start_level: Duration, now: Instant) -> Playback {
        Playback {
            start_level,
            arrived: vec![Duration::ZERO; tracks],
            played: Duration::ZERO,
            at: now,
            state: State::Starting,
            stalls: 0,
            stalled: Duration::ZERO,
        }
    }

    /// So much more of a track is there.
    pub(crate) fn arrived(&mut self, track: usize, duration: Duration, now: Instant) {
        self.advance(now);
        if let Some(arrived) = self.arrived.get_mut(track) {
            *arrived = arrived.saturating_add(duration);
        }
        if self.buffered() > Duration::ZERO && self.buffered() >= self.start_level {
            if let State::Stalled(since) = self.state {
                self.stalled += now.saturating_duration_since(since);
            }
            self.state = State::Playing;
        }
    }

    /// Media that is there and not yet shown.
    pub(crate) fn buffered(&self) -> Duration {
        self.arrived.iter().min().copied().unwrap_or_default().saturating_sub(self.played)
    }

    /// How often it stood still until now, and for how long in all.
    pub(crate) fn stalls(&mut self, now: Instant) -> (u64, Duration) {
        self.advance(now);
        match self.state {
            State::Stalled(since) => (self.stalls, self.stalled + now.saturating_duration_since(since)),
            State::Starting | State::Playing => (self.stalls, self.stalled),
        }
    }

    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        if self.state == State::Playing {
            let buffered = self.buffered();
            if passed > buffered {
                self.stalls += 1;
                self.state = State::Stalled(self.at + buffered);
            }
            self.played += passed.min(buffered);
        }
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// What arrives of which track and when, ms; then how often and for how long it had stood still at the end.
    #[test]
    fn where_the_picture_stands_still() {
        type Row = (&'static str, usize, u64, &'static [(u64, usize, u64)], u64, (u64, u64));
        let rows: [Row; 6] = [
            ("nothing is shown yet", 1, 0, &[], 9_000, (0, 0)),
            ("in time", 1, 0, &[(500, 0, 2_000), (2_400, 0, 2_000)], 4_400, (0, 0)),
            ("late by 300 ms", 1, 0, &[(500, 0, 2_000), (2_800, 0, 2_000)], 4_000, (1, 300)),
            ("still standing", 1, 0, &[(0, 0, 1_000)], 1_600, (1, 600)),
            (
                "the other track is late",
                2,
                0,
                &[(0, 0, 9_000), (0, 1, 1_000), (1_100, 1, 5_000)],
                2_000,
                (1, 100),
            ),
            ("it waits for enough", 1, 200, &[(0, 0, 200), (300, 0, 100), (400, 0, 100)], 500, (1, 200)),
        ];
        for (name, tracks, start_level, arrivals, end, (stalls, stalled)) in rows {
            let began = Instant::now();
            let mut playback = Playback::new(tracks, MS(start_level), began);
            for (at, track, duration) in arrivals {
                playback.arrived(*track, MS(*duration), began + MS(*at));
            }
            assert_eq!(playback.stalls(began + MS(end)), (stalls, MS(stalled)), "{name}");
        }
    }

    #[test]
    fn what_is_there_and_not_shown() {
        let began = Instant::now();
        let mut playback = Playback::new(1, Duration::ZERO, began);
        playback.arrived(0, MS(2_000), began + MS(700));
        assert_eq!(playback.buffered(), MS(2_000));
        playback.arrived(0, MS(2_000), began + MS(1_200));
        assert_eq!(playback.buffered(), MS(3_500));
    }
}

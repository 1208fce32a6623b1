//! Media time to wall clock, per publishing session: what EXT-X-PROGRAM-DATE-TIME states.

use headwater_media::{MediaTime, WallTime};

/// How far the mapping may move per segment: encoder drift up to 100 ppm is 0.2 ms in a 2 s segment, and the dates of
/// consecutive segments stay within a millisecond of their durations.
const SLEW_MS_PER_SEGMENT: i64 = 1;

/// A difference below this is jitter, not drift.
const DEADBAND_MS: i64 = 5;

/// The offset between a session's media time and the wall clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct WallMapping {
    /// Wall clock minus media time, ms.
    offset_ms: i64,
    /// The least (wall clock - media time) seen since the last segment: the arrival that the network delayed least.
    least_lag_ms: Option<i64>,
}

impl WallMapping {
    /// A session starts: media time `media` is the instant `wall`.
    pub(crate) fn anchor(&mut self, media: MediaTime, wall: WallTime) {
        self.offset_ms = wall.unix_millis() - media.millis();
        self.least_lag_ms = None;
    }

    /// A sample of media time `media` arrived at `wall`.
    pub(crate) fn observe(&mut self, media: MediaTime, wall: WallTime) {
        let lag = wall.unix_millis() - media.millis();
        self.least_lag_ms = Some(self.least_lag_ms.map_or(lag, |least| least.min(lag)));
    }

    /// A segment ended: follow the encoder's drift by at most a millisecond.
    pub(crate) fn segment_ended(&mut self) {
        if let Some(lag) = self.least_lag_ms.take() {
            let error = lag - self.offset_ms;
            if error.abs() > DEADBAND_MS {
                self.offset_ms += error.signum() * SLEW_MS_PER_SEGMENT;
            }
        }
    }

    /// Milliseconds that the wall clock is ahead of media time.
    pub(crate) fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// The wall clock of a media time.
    pub(crate) fn wall(&self, media: MediaTime) -> WallTime {
        WallTime::from_unix_millis(media.millis().saturating_add(self.offset_ms))
    }
}

#[cfg(test)]
mod tests {
    use headwater_media::Timescale;

    use super::*;

    fn ms(ms: i64) -> MediaTime {
        MediaTime::new(ms, Timescale::MILLIS)
    }

    #[test]
    fn follows_100_ppm_for_days_and_never_jumps() {
        let start = 1_700_000_000_000_i64;
        let mut mapping = WallMapping::default();
        mapping.anchor(ms(0), WallTime::from_unix_millis(start));
        let mut last = mapping.wall(ms(0)).unix_millis();
        for segment in 1..=(3 * 86_400 / 2) {
            let media = segment * 2_000;
            // The encoder's clock is 100 ppm fast: 2,000 ms of its time take 1,999.8 ms.
            let arrival = start + media - media / 10_000;
            mapping.observe(ms(media), WallTime::from_unix_millis(arrival));
            mapping.segment_ended();
            let wall = mapping.wall(ms(media)).unix_millis();
            assert!((wall - last - 2_000).abs() <= 1, "moved by more than 1 ms");
            assert!((wall - arrival).abs() <= 50, "lost the drift: {} ms", wall - arrival);
            last = wall;
        }
    }

    #[test]
    fn late_arrivals_do_not_move_it() {
        let mut mapping = WallMapping::default();
        mapping.anchor(ms(0), WallTime::from_unix_millis(1_000_000));
        for segment in 1..100_i64 {
            mapping.observe(ms(segment * 2_000), WallTime::from_unix_millis(1_000_000 + segment * 2_000));
            mapping
                .observe(ms(segment * 2_000 + 40), WallTime::from_unix_millis(1_004_000 + segment * 2_000));
            mapping.segment_ended();
        }
        assert_eq!(mapping.wall(ms(0)).unix_millis(), 1_000_000);
    }
}

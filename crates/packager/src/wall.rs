//! Media time to wall clock, per publishing session: what EXT-X-PROGRAM-DATE-TIME states.

use headwater_media::{MediaTime, WallTime};

use crate::Clock;

/// A difference below this is jitter, not drift, and dates stay with the media to the millisecond.
const DEADBAND_MS: i64 = 40;

/// What is more is made up for in steps of at most so much, a segment each: 100 ppm of drift are one in two minutes. Players pay for each
/// step, however small: hls.js moves its idea of where a rendition's segments lie, and shaka, which places media by its dates, drops a
/// segment's parts but the first. So not by the millisecond; and by less than a lost picture at 50 fps, which a checker of dates is to find.
const STEP_MS: i64 = 14;

/// A publisher's first samples come late by what its connection took, and it makes up for it: dates that nobody has seen yet are
/// set right by so much. One that is further ahead of the clock than that is faster than real time.
const SETTLE_MS_MAX: i64 = 1_000;

/// Media that is so much later than its dates say, for so many segments on end, was paused and goes on later. Drift and a
/// network's delays are less, or pass. The dates step forward to it then; a publisher that is ahead keeps its dates, which
/// never step back.
const LATE_MS: i64 = 1_000;
const LATE_SEGMENTS: u32 = 3;

/// The wall clock was set, and did not just run a little faster or slower than the monotonic one, when it gains or loses so
/// much between two samples.
const LEAP_MS_MIN: i64 = 200;

/// The offset between a session's media time and the wall clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct WallMapping {
    /// Wall clock minus media time, ms.
    offset_ms: i64,
    /// The least (wall clock - media time) seen since the last segment: the arrival that the network delayed least.
    least_lag_ms: Option<i64>,
    /// Wall clock minus monotonic clock at the last sample, ms.
    clocks_apart_ms: Option<i64>,
    /// How far the wall clock has been set since the last segment, ms.
    leap_ms: i64,
    /// Segments on end that were off by more than [`LATE_MS`].
    late_segments: u32,
}

impl WallMapping {
    /// A session starts: media time `media` is the instant `wall`.
    pub(crate) fn anchor(&mut self, media: MediaTime, wall: WallTime) {
        self.offset_ms = wall.unix_millis() - media.millis();
        self.least_lag_ms = None;
        self.clocks_apart_ms = None;
        self.leap_ms = 0;
        self.late_segments = 0;
    }

    /// An earlier process ended with that mapping.
    pub(crate) fn resume(&mut self, offset_ms: i64) {
        self.offset_ms = offset_ms;
    }

    /// A sample of media time `media` arrived.
    pub(crate) fn observe(&mut self, media: MediaTime, clock: Clock) {
        let now_ms = i64::try_from(clock.now.as_millis()).unwrap_or(i64::MAX);
        let apart = clock.wall.unix_millis().saturating_sub(now_ms);
        let leap = self.clocks_apart_ms.replace(apart).map_or(0, |before| apart.saturating_sub(before));
        if leap.abs() >= LEAP_MS_MIN {
            self.leap_ms = self.leap_ms.saturating_add(leap);
        }
        // The lag by the clock as it was: what leaps is applied between segments.
        let lag = clock.wall.unix_millis().saturating_sub(self.leap_ms).saturating_sub(media.millis());
        self.least_lag_ms = Some(self.least_lag_ms.map_or(lag, |least| least.min(lag)));
    }

    /// The first segment ends, and nobody has seen a date yet: the first sample may have been late, those behind it show by how
    /// much. Returns whether dates have changed.
    pub(crate) fn settle(&mut self) -> bool {
        let Some(error) = self.least_lag_ms.map(|lag| lag - self.offset_ms) else { return false };
        let is_late = (-SETTLE_MS_MAX..0).contains(&error);
        if is_late {
            self.offset_ms += error;
        }
        is_late
    }

    /// A segment ended: follow the encoder's drift, and a wall clock that was set at once: dates an hour
    /// off would have DASH players wait an hour.
    pub(crate) fn segment_ended(&mut self) {
        if let Some(lag) = self.least_lag_ms.take() {
            let error = lag - self.offset_ms;
            self.late_segments = if error > LATE_MS { self.late_segments + 1 } else { 0 };
            if self.late_segments >= LATE_SEGMENTS {
                self.late_segments = 0;
                self.offset_ms = lag;
            } else if error.abs() > DEADBAND_MS {
                self.offset_ms += error.clamp(-STEP_MS, STEP_MS);
            }
        }
        self.offset_ms = self.offset_ms.saturating_add(std::mem::take(&mut self.leap_ms));
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

    /// Both clocks run alike; the wall clock started at `wall - elapsed`.
    fn at(wall: i64, elapsed: i64) -> Clock {
        let now = std::time::Duration::from_millis(u64::try_from(elapsed).unwrap());
        Clock { now, wall: WallTime::from_unix_millis(wall) }
    }

    #[test]
    fn follows_a_clock_that_is_set_from_the_next_segment_on() {
        for leap in [3_600_000, -3_600_000, 700] {
            let mut mapping = WallMapping::default();
            mapping.anchor(ms(0), WallTime::from_unix_millis(1_000_000_000));
            let offset = |mapping: &WallMapping| mapping.wall(ms(0)).unix_millis() - 1_000_000_000;
            for media in [500, 1_000, 1_500] {
                mapping.observe(ms(media), at(1_000_000_000 + media, media));
            }
            mapping.observe(ms(2_000), at(1_000_002_000 + leap, 2_000));
            mapping.observe(ms(2_500), at(1_000_002_500 + leap, 2_500));
            assert_eq!(offset(&mapping), 0, "within a segment");
            for media in [3_000, 5_000, 7_000] {
                mapping.segment_ended();
                assert_eq!(offset(&mapping), leap, "at {media}");
                mapping.observe(ms(media), at(1_000_000_000 + media + leap, media));
            }
        }
    }

    #[test]
    fn follows_100_ppm_for_days_in_few_steps() {
        let start = 1_700_000_000_000_i64;
        let mut mapping = WallMapping::default();
        mapping.anchor(ms(0), WallTime::from_unix_millis(start));
        let mut last = mapping.wall(ms(0)).unix_millis();
        let mut steps = 0;
        for segment in 1..=(3 * 86_400 / 2) {
            let media = segment * 2_000;
            // The encoder's clock is 100 ppm fast: 2,000 ms of its time take 1,999.8 ms.
            let arrival = start + media - media / 10_000;
            mapping.observe(ms(media), at(arrival, arrival - start));
            mapping.segment_ended();
            let wall = mapping.wall(ms(media)).unix_millis();
            assert!((wall - last - 2_000).abs() <= STEP_MS, "moved by more than a step");
            steps += i64::from(wall != last + 2_000);
            assert!((wall - arrival).abs() <= 50, "lost the drift: {} ms", wall - arrival);
            last = wall;
        }
        // 25.9 s in all.
        assert!(steps <= 25_920 / STEP_MS, "{steps} steps");
    }

    #[test]
    fn media_that_stays_late_is_dated_anew_once() {
        let mut mapping = WallMapping::default();
        mapping.anchor(ms(0), WallTime::from_unix_millis(1_000_000));
        let mut offsets = Vec::new();
        for segment in 1..12_i64 {
            let media = segment * 2_000;
            // A pause of 8 s after the third segment, that its stamps leave out; one segment late by a network's delay before.
            let late = if segment > 3 {
                8_000
            } else if segment == 2 {
                1_500
            } else {
                0
            };
            mapping.observe(ms(media), at(1_000_000 + media + late, media + late));
            mapping.segment_ended();
            offsets.push(mapping.wall(ms(0)).unix_millis() - 1_000_000);
        }
        assert_eq!(offsets, [0, 14, 14, 28, 42, 8_000, 8_000, 8_000, 8_000, 8_000, 8_000]);
    }

    #[test]
    fn a_late_start_is_made_up_for_before_anybody_sees_a_date() {
        for (early, expected) in [(0, 0), (300, -300), (1_000, -1_000), (1_001, 0), (9_000, 0)] {
            let mut mapping = WallMapping::default();
            mapping.anchor(ms(0), WallTime::from_unix_millis(1_000_000));
            for (media, late) in [(0, early), (500, 200), (1_000, 0), (1_500, 30)] {
                let arrival = media + late - early;
                mapping.observe(ms(media), at(1_000_000 + arrival, 20_000 + arrival));
            }
            assert_eq!(mapping.settle(), expected != 0, "{early} ms");
            assert_eq!(mapping.wall(ms(0)).unix_millis() - 1_000_000, expected, "{early} ms");
        }
    }

    #[test]
    fn late_arrivals_do_not_move_it() {
        let mut mapping = WallMapping::default();
        mapping.anchor(ms(0), WallTime::from_unix_millis(1_000_000));
        for segment in 1..100_i64 {
            let media = segment * 2_000;
            mapping.observe(ms(media), at(1_000_000 + media, media));
            mapping.observe(ms(media + 40), at(1_004_000 + media, media + 4_000));
            mapping.segment_ended();
        }
        assert_eq!(mapping.wall(ms(0)).unix_millis(), 1_000_000);
    }
}

//! Time in three kinds that never mix: ticks of a timescale, wall-clock milliseconds, and (elsewhere, as
//! `std::time::Duration`) the monotonic time since the process began.

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU32;

/// No timescale exceeds 1 MHz, so that ticks since an epoch stay below 2^53, where JavaScript counts exactly.
pub const TIMESCALE_MAX: u32 = 1_000_000;

/// Ticks of a [`MediaTime`] saturate at +-2^62: 146,000 years at 1 MHz, and two of them still add up in an `i64`.
pub const TICKS_MAX: i64 = 1 << 62;

/// Why a time could not be made or combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// The timescale was 0 or above [`TIMESCALE_MAX`] Hz.
    #[error("timescale {0} Hz is outside 1..={TIMESCALE_MAX}")]
    Timescale(u32),
    /// Two times of different timescales met in an operation that needs one.
    #[error("timescales differ: {0} Hz and {1} Hz")]
    Mixed(u32, u32),
    /// The result leaves the range of [`MediaTime`].
    #[error("media time leaves +-2^62 ticks")]
    Overflow,
}

/// Ticks per second, 1 to [`TIMESCALE_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timescale(NonZeroU32);

impl Timescale {
    /// Milliseconds, RTMP's unit.
    pub const MILLIS: Timescale = Timescale::constant(1_000);
    /// 90 kHz, MPEG's unit.
    pub const MPEG: Timescale = Timescale::constant(90_000);

    const fn constant(hz: u32) -> Timescale {
        match NonZeroU32::new(hz) {
            Some(hz) => Timescale(hz),
            None => panic!("a timescale constant is never 0"),
        }
    }

    /// A timescale of `hz` ticks per second.
    ///
    /// # Errors
    /// [`TimeError::Timescale`] when `hz` is 0 or above [`TIMESCALE_MAX`].
    pub const fn new(hz: u32) -> Result<Timescale, TimeError> {
        match NonZeroU32::new(hz) {
            Some(nonzero) if hz <= TIMESCALE_MAX => Ok(Timescale(nonzero)),
            _ => Err(TimeError::Timescale(hz)),
        }
    }

    /// Ticks per second.
    pub const fn hz(self) -> u32 {
        self.0.get()
    }
}

/// A point or a span on a media timeline: `ticks` of a [`Timescale`].
///
/// There is no `+` and no `-`: additions are checked, and times of different scales only meet through
/// [`MediaTime::rescale`]. Comparison is exact across scales.
#[derive(Clone, Copy)]
pub struct MediaTime {
    ticks: i64,
    scale: Timescale,
}

impl MediaTime {
    /// `ticks` of `scale`; ticks beyond +-[`TICKS_MAX`] saturate there.
    pub const fn new(ticks: i64, scale: Timescale) -> MediaTime {
        let ticks = if ticks > TICKS_MAX {
            TICKS_MAX
        } else if ticks < -TICKS_MAX {
            -TICKS_MAX
        } else {
            ticks
        };
        MediaTime { ticks, scale }
    }

    /// Zero on `scale`.
    pub const fn zero(scale: Timescale) -> MediaTime {
        MediaTime { ticks: 0, scale }
    }

    /// Ticks of [`MediaTime::scale`].
    pub const fn ticks(self) -> i64 {
        self.ticks
    }

    /// The unit.
    pub const fn scale(self) -> Timescale {
        self.scale
    }

    /// The same time in another scale, rounded to the nearest tick (ties away from zero). The one rescale function.
    pub fn rescale(self, to: Timescale) -> MediaTime {
        if self.scale == to {
            return self;
        }
        // Whole seconds apart from the rest, which has their sign: scales have 20 bits, so this stays within 64, or is beyond TICKS_MAX
        // anyway. Every frame is rescaled some times, and a division in 128 bits costs ten of these.
        let (from_hz, to_hz) = (i64::from(self.scale.hz()), i64::from(to.hz()));
        let (seconds, rest) = (self.ticks / from_hz, self.ticks % from_hz);
        let half = if self.ticks >= 0 { from_hz / 2 } else { -(from_hz / 2) };
        let ticks = seconds.saturating_mul(to_hz).saturating_add((rest * to_hz + half) / from_hz);
        MediaTime { ticks: ticks.clamp(-TICKS_MAX, TICKS_MAX), scale: to }
    }

    /// Milliseconds, rounded to the nearest.
    pub fn millis(self) -> i64 {
        self.rescale(Timescale::MILLIS).ticks
    }

    /// The sum of two times of one scale.
    ///
    /// # Errors
    /// [`TimeError::Mixed`] for different scales, [`TimeError::Overflow`] beyond [`TICKS_MAX`].
    pub fn checked_add(self, other: MediaTime) -> Result<MediaTime, TimeError> {
        self.combine(other, self.ticks.checked_add(other.ticks))
    }

    /// The difference of two times of one scale.
    ///
    /// # Errors
    /// As [`MediaTime::checked_add`].
    pub fn checked_sub(self, other: MediaTime) -> Result<MediaTime, TimeError> {
        self.combine(other, self.ticks.checked_sub(other.ticks))
    }

    /// This time moved by `ticks` of its own scale, saturating at [`TICKS_MAX`].
    pub const fn offset_by(self, ticks: i64) -> MediaTime {
        MediaTime::new(self.ticks.saturating_add(ticks), self.scale)
    }

    fn combine(self, other: MediaTime, ticks: Option<i64>) -> Result<MediaTime, TimeError> {
        if self.scale != other.scale {
            return Err(TimeError::Mixed(self.scale.hz(), other.scale.hz()));
        }
        match ticks {
            Some(ticks) if ticks.abs() <= TICKS_MAX => Ok(MediaTime { ticks, scale: self.scale }),
            _ => Err(TimeError::Overflow),
        }
    }
}

impl PartialEq for MediaTime {
    fn eq(&self, other: &MediaTime) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for MediaTime {}

impl PartialOrd for MediaTime {
    fn partial_cmp(&self, other: &MediaTime) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MediaTime {
    fn cmp(&self, other: &MediaTime) -> Ordering {
        let left = i128::from(self.ticks) * i128::from(other.scale.hz());
        let right = i128::from(other.ticks) * i128::from(self.scale.hz());
        left.cmp(&right)
    }
}

impl fmt::Debug for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ticks, self.scale.hz())
    }
}

/// Wall-clock time: milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// It comes in as an argument (only `origin` reads a clock) and leaves as EXT-X-PROGRAM-DATE-TIME.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

/// Milliseconds in a day.
const DAY_MS: i64 = 86_400_000;

impl WallTime {
    /// 9999-12-31T23:59:59.999Z, the last instant that four-digit years can name.
    const LAST_MS: i64 = 253_402_300_799_999;

    /// Milliseconds since the Unix epoch, clamped to the years 1970 to 9999.
    pub const fn from_unix_millis(ms: i64) -> WallTime {
        WallTime(if ms < 0 {
            0
        } else if ms > Self::LAST_MS {
            Self::LAST_MS
        } else {
            ms
        })
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn unix_seconds(self) -> u64 {
        (self.0 / 1_000).unsigned_abs()
    }

    /// Milliseconds since 00:00 UTC of this day: where a stream's media clock starts.
    pub const fn millis_of_day(self) -> i64 {
        self.0 % DAY_MS
    }

    /// This instant moved by `ms` milliseconds, clamped to the years 1970 to 9999.
    pub const fn offset_by(self, ms: i64) -> WallTime {
        WallTime::from_unix_millis(self.0.saturating_add(ms))
    }

    /// Year, month (1 to 12), day, hour, minute, second, millisecond in UTC (proleptic Gregorian calendar).
    pub fn civil(self) -> (i64, u8, u8, u8, u8, u8, u16) {
        let day_ms = self.0.rem_euclid(DAY_MS);
        // Days to civil date, counted from 0000-03-01 in 400-year eras of 146,097 days.
        let z = self.0.div_euclid(DAY_MS) + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let small = |value: i64| u8::try_from(value).unwrap_or(0);
        (
            year,
            small(month),
            small(day),
            small(day_ms / 3_600_000),
            small(day_ms / 60_000 % 60),
            small(day_ms / 1_000 % 60),
            u16::try_from(day_ms % 1_000).unwrap_or(0),
        )
    }
}

/// ISO 8601 in UTC with milliseconds, `2026-01-31T12:00:00.000Z`: the form of EXT-X-PROGRAM-DATE-TIME and of DASH dates.
impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second, ms) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timescale_bounds() {
        assert_eq!(Timescale::new(0), Err(TimeError::Timescale(0)));
        assert_eq!(Timescale::new(1_000_001), Err(TimeError::Timescale(1_000_001)));
        assert_eq!(Timescale::new(1_000_000).map(Timescale::hz), Ok(1_000_000));
    }

    #[test]
    fn rescale_is_the_division_in_one_piece() {
        let exact = |time: MediaTime, to: Timescale| {
            let from_hz = i128::from(time.scale.hz());
            let numerator = i128::from(time.ticks) * i128::from(to.hz());
            let half = if numerator >= 0 { from_hz / 2 } else { -(from_hz / 2) };
            let max = i128::from(TICKS_MAX);
            i64::try_from(((numerator + half) / from_hz).clamp(-max, max)).unwrap()
        };
        let scales = [1, 7, 1_000, 11_025, 44_100, 48_000, 90_000, 999_999, 1_000_000]
            .map(|hz| Timescale::new(hz).unwrap());
        let magnitudes =
            (0..62).flat_map(|bit| [-1_i64, 0, 1, 12_345].map(|more| (1_i64 << bit).saturating_add(more)));
        for ticks in magnitudes.chain([TICKS_MAX, i64::MAX]) {
            for (from, to) in scales.iter().flat_map(|from| scales.iter().map(move |to| (*from, *to))) {
                for time in [MediaTime::new(ticks, from), MediaTime::new(-ticks, from)] {
                    let expected = if from == to { time.ticks } else { exact(time, to) };
                    assert_eq!(time.rescale(to).ticks, expected, "{time:?} in {}", to.hz());
                }
            }
        }
    }

    #[test]
    fn rescale_rounds_to_nearest_and_both_signs_alike() {
        let audio = Timescale::new(44_100).unwrap();
        for (ms, expected) in [(0, 0), (1, 44), (23, 1_014), (-23, -1_014), (10, 441), (1_000, 44_100)] {
            assert_eq!(MediaTime::new(ms, Timescale::MILLIS).rescale(audio).ticks(), expected, "{ms} ms");
        }
        // A tie: 0.5 tick goes away from zero on either side.
        let two = Timescale::new(2).unwrap();
        let one = Timescale::new(1).unwrap();
        assert_eq!(MediaTime::new(1, two).rescale(one).ticks(), 1);
        assert_eq!(MediaTime::new(-1, two).rescale(one).ticks(), -1);
    }

    #[test]
    fn milliseconds_to_90_khz_and_back_for_two_months() {
        for ms in [0_i64, 1, 4_294_967_295, 4_294_967_296, 5_184_000_000] {
            let mpeg = MediaTime::new(ms, Timescale::MILLIS).rescale(Timescale::MPEG);
            assert_eq!(mpeg.ticks(), ms * 90);
            assert_eq!(mpeg.millis(), ms);
        }
    }

    #[test]
    fn extremes_saturate() {
        let top = MediaTime::new(i64::MAX, Timescale::MILLIS);
        assert_eq!(top.ticks(), TICKS_MAX);
        assert_eq!(top.rescale(Timescale::MPEG).ticks(), TICKS_MAX);
        assert_eq!(top.checked_add(top), Err(TimeError::Overflow));
        assert_eq!(MediaTime::new(i64::MIN, Timescale::MILLIS).ticks(), -TICKS_MAX);
        assert_eq!(top.offset_by(i64::MAX).ticks(), TICKS_MAX);
    }

    #[test]
    fn arithmetic_refuses_mixed_scales() {
        let ms = MediaTime::new(1, Timescale::MILLIS);
        let mpeg = MediaTime::new(90, Timescale::MPEG);
        assert_eq!(ms.checked_add(mpeg), Err(TimeError::Mixed(1_000, 90_000)));
        assert_eq!(ms, mpeg);
        assert!(ms < MediaTime::new(91, Timescale::MPEG));
    }

    #[test]
    fn wall_time_prints_iso_8601() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
            (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
            (-5, "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(WallTime::from_unix_millis(ms).to_string(), expected);
        }
    }

    #[test]
    fn day_boundaries() {
        let midnight = WallTime::from_unix_millis(20_000 * DAY_MS);
        assert_eq!(midnight.millis_of_day(), 0);
        assert_eq!(midnight.offset_by(-1).millis_of_day(), DAY_MS - 1);
        assert_eq!(WallTime::from_unix_millis(1_999).unix_seconds(), 1);
    }
}

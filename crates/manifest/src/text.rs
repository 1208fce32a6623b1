//! The pieces that playlists and MPDs have in common: numbers and dates, as digits.

use std::ops::Range;

use headwater_media::WallTime;

/// Appends text.
pub(crate) fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends a decimal integer, and says where.
pub(crate) fn push_u64(out: &mut Vec<u8>, value: u64) -> Range<usize> {
    let start = out.len();
    push(out, itoa::Buffer::new().format(value));
    start..out.len()
}

/// The eight decimal digits of `value`, which is below 100,000,000.
///
/// All at once in the bytes of one word: bytes that are written one by one and then copied as a whole hold up the processor, which has
/// to see them in its cache first.
pub(crate) fn eight_digits(value: u32) -> [u8; 8] {
    let value = u64::from(value);
    // Numbers below 10,000 in two halves, then below 100 in four quarters, then digits; the first ones lie lowest. Each division is
    // a multiplication that is exact in its range.
    let halves = (value / 10_000) | (value % 10_000) << 32;
    let hundreds = ((halves * 10_486) >> 20) & 0x7f_0000_007f;
    let quarters = hundreds | (halves - 100 * hundreds) << 16;
    let tens = ((quarters * 103) >> 10) & 0x000f_000f_000f_000f;
    let digits = tens | (quarters - 10 * tens) << 8;
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
}

/// The two decimal digits of `value`, which is below 100.
fn two_digits(value: u32) -> [u8; 2] {
    // Both are below 10 by the remainders.
    [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]
}

/// Writes instants as ISO 8601 in UTC with milliseconds, the text of [`WallTime`]'s `Display`.
///
/// A playlist's dates are seconds apart: the calendar and the clock are asked once a minute, and the rest is a division.
pub(crate) struct DateWriter {
    /// Start of the minute in Unix milliseconds.
    minute_ms: i64,
    /// `2026-01-31T12:00:`.
    minute: [u8; 17],
}

/// Milliseconds in a minute.
const MINUTE_MS: i64 = 60_000;

impl DateWriter {
    pub(crate) fn new() -> DateWriter {
        DateWriter { minute_ms: i64::MIN, minute: *b"0000-00-00T00:00:" }
    }

    pub(crate) fn push(&mut self, out: &mut Vec<u8>, time: WallTime) {
        let mut of_minute = time.unix_millis().wrapping_sub(self.minute_ms);
        if !(0..MINUTE_MS).contains(&of_minute) {
            of_minute = time.unix_millis() % MINUTE_MS;
            self.minute_ms = time.unix_millis() - of_minute;
            let (year, month, day, hour, minute, ..) = time.civil();
            let [.., y, yy, yyy, yyyy] = eight_digits(u32::try_from(year).unwrap_or(0));
            let [[m, mm], [d, dd], [h, hh], [n, nn]] =
                [month, day, hour, minute].map(|of| two_digits(u32::from(of)));
            self.minute = [y, yy, yyy, yyyy, b'-', m, mm, b'-', d, dd, b'T', h, hh, b':', n, nn, b':'];
        }
        let [s, ss, dot, f, ff, fff] = second(of_minute);
        out.extend_from_slice(&self.minute);
        out.extend_from_slice(&[s, ss, dot, f, ff, fff, b'Z']);
    }

    /// Second and milliseconds of an instant in the minute of the one that was written last, `07.250`.
    pub(crate) fn second(&self, time: WallTime) -> Option<[u8; 6]> {
        let of_minute = time.unix_millis().wrapping_sub(self.minute_ms);
        (0..MINUTE_MS).contains(&of_minute).then(|| second(of_minute))
    }
}

/// Of milliseconds of a minute.
fn second(of_minute: i64) -> [u8; 6] {
    let [.., s, ss, f, ff, fff] = eight_digits(u32::try_from(of_minute).unwrap_or(0));
    [s, ss, b'.', f, ff, fff]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_every_kind() {
        let powers = (0..8).map(|n| 10_u32.pow(n));
        let around = powers.flat_map(|power| [power - 1, power, power + 1, 9 * power, 12_345 % (power + 1)]);
        // Each quarter of the eight through all its values, and the last number.
        let quarters = (0..100).flat_map(|n| [n, n * 100, n * 10_000, n * 1_000_000]);
        for value in
            around.chain(quarters).chain((0..10_000).map(|n| n * 10_000 + 9_999 - n)).chain([99_999_999])
        {
            assert_eq!(eight_digits(value), *format!("{value:08}").as_bytes(), "{value}");
        }
    }

    #[test]
    fn dates_across_minutes_hours_and_days() {
        let mut dates = DateWriter::new();
        // The last moments of a leap day and of a year; forth by less than a minute, by exactly one, and back.
        for end_ms in [1_709_251_200_000, 1_767_225_600_000, 1_769_864_400_000_i64] {
            for ms in [-60_001, -60_000, -59_999, -2_002, -1, 0, 1, 59_999, 60_000, -1, 3_600_000, 0] {
                let time = WallTime::from_unix_millis(end_ms + ms);
                let mut out = Vec::new();
                dates.push(&mut out, time);
                assert_eq!(String::from_utf8(out).unwrap(), time.to_string());
            }
        }
    }

    #[test]
    fn date_times_are_those_of_wall_time() {
        let mut dates = DateWriter::new();
        for ms in [
            0,
            1_769_860_800_007,
            1_769_860_802_009,
            1_769_903_999_999,
            1_769_904_000_000,
            951_782_399_999,
            1_709_164_800_001,
            253_402_300_799_999,
        ] {
            let time = WallTime::from_unix_millis(ms);
            let mut out = Vec::new();
            dates.push(&mut out, time);
            assert_eq!(String::from_utf8(out).unwrap(), time.to_string());
        }
    }
}

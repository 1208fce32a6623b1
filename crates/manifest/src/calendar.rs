//! Days, hours and leap years: a date and a time of day to a number of seconds.

/// Seconds since the Unix epoch of a year, month and day of the proleptic Gregorian calendar and an hour, minute and
/// second of UTC. `None` unless the day exists, in the years 0 to 9999.
///
/// Second 60 is a leap second; it is as long as the next one here.
pub(crate) fn unix_seconds(date: [i64; 3], time: [i64; 3]) -> Option<i64> {
    let ([year, month, day], [hour, minute, second]) = (date, time);
    let exists = (0..=9_999).contains(&year) && (1..=days_in(year, month)).contains(&day);
    let told = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..=60).contains(&second);
    // Within these ranges, everything below stays under 2^39.
    (exists && told)
        .then(|| days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days of a month from 1 to 12, and 0 of any other.
fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    }
}

/// Days from 1970-01-01 to a date that exists.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March put the leap day last; 400 of them are 146,097 days.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_of_day() {
        for (name, date, time, expected) in [
            ("the epoch", [1970, 1, 1], [0, 0, 0], Some(0)),
            ("the second before", [1969, 12, 31], [23, 59, 59], Some(-1)),
            ("a leap day", [2024, 2, 29], [12, 0, 0], Some(1_709_208_000)),
            ("a leap day of a fourth century", [2000, 2, 29], [0, 0, 0], Some(951_782_400)),
            ("a leap second", [2016, 12, 31], [23, 59, 60], Some(1_483_228_800)),
            ("the first that can be told", [0, 1, 1], [0, 0, 0], Some(-62_167_219_200)),
            ("the last that can be told", [9_999, 12, 31], [23, 59, 59], Some(253_402_300_799)),
            ("no leap year", [2026, 2, 29], [0, 0, 0], None),
            ("no leap year, though 4 divides it", [1900, 2, 29], [0, 0, 0], None),
            ("month 0", [2026, 0, 1], [0, 0, 0], None),
            ("month 13", [2026, 13, 1], [0, 0, 0], None),
            ("day 0", [2026, 1, 0], [0, 0, 0], None),
            ("day 31 of 30", [2026, 4, 31], [0, 0, 0], None),
            ("hour 24", [2026, 1, 1], [24, 0, 0], None),
            ("minute 60", [2026, 1, 1], [0, 60, 0], None),
            ("second 61", [2026, 1, 1], [0, 0, 61], None),
            ("year 10000", [10_000, 1, 1], [0, 0, 0], None),
            ("numbers far too great", [i64::MAX; 3], [i64::MAX; 3], None),
            ("numbers far too small", [i64::MIN; 3], [i64::MIN; 3], None),
        ] {
            assert_eq!(unix_seconds(date, time), expected, "{name}");
        }
    }
}

//! The values of an MPD's attributes: `xs:dateTime`, `xs:duration`, integers, and URL templates.

use crate::calendar::unix_seconds;

/// Microseconds in a second.
const SECOND_US: i64 = 1_000_000;

/// Microseconds since the Unix epoch of an `xs:dateTime`; one without a zone is in UTC, as players take it. Finer
/// decimals are cut off.
pub fn date_time_us(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let mut date = date.split('-');
    let [year, month, day] = [date.next()?, date.next()?, date.next()?];
    let year = i64::from(fixed_digits(year, 4)?);
    let (month, day) = (i64::from(fixed_digits(month, 2)?), i64::from(fixed_digits(day, 2)?));
    let (time, zone_us) = match time.find(['Z', '+', '-']) {
        Some(at) => {
            let (time, zone) = time.split_at_checked(at)?;
            (time, zone_us(zone)?)
        }
        None => (time, 0),
    };
    let mut time = time.split(':');
    let [hour, minute, second] = [time.next()?, time.next()?, time.next()?];
    if date.next().is_some() || time.next().is_some() {
        return None;
    }
    let (hour, minute) = (i64::from(fixed_digits(hour, 2)?), i64::from(fixed_digits(minute, 2)?));
    let (whole, fraction_us) = second
        .split_once('.')
        .map_or(Some((second, 0)), |(whole, decimals)| Some((whole, fraction_us(decimals)?)))?;
    let second = i64::from(fixed_digits(whole, 2)?);
    let seconds = unix_seconds([year, month, day], [hour, minute, second])?;
    // Four digits of year and a zone below 100 hours: under 2^58.
    Some(seconds * SECOND_US + fraction_us - zone_us)
}

/// `Z` or `+hh:mm`.
fn zone_us(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("Z", "") => return Some(0),
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let minutes = i64::from(fixed_digits(hours, 2)?) * 60 + i64::from(fixed_digits(minutes, 2)?);
    Some(sign * minutes * 60 * SECOND_US)
}

/// Exactly `count` decimal digits, at most nine.
fn fixed_digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Decimals behind a point in microseconds, cut off after the sixth.
fn fraction_us(decimals: &str) -> Option<i64> {
    if decimals.is_empty() || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut fraction_us = 0_i64;
    for digit in decimals.bytes().chain(std::iter::repeat(b'0')).take(6) {
        fraction_us = fraction_us * 10 + i64::from(digit.wrapping_sub(b'0'));
    }
    Some(fraction_us)
}

/// Microseconds of an `xs:duration` that is not negative: `PT2.5S`, `P0Y0M0DT0H3M30.000S`. A year is 365 days and a month
/// 30, as shaka counts them; finer decimals are cut off.
pub(super) fn duration_us(text: &str) -> Option<i64> {
    let rest = text.strip_prefix('P')?;
    let (date, time) = match rest.split_once('T') {
        // A T promises at least one part of time (XML Schema part 2, 3.2.6.1).
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (rest, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let date_us = parts_us(date, &[('Y', 365 * 86_400), ('M', 30 * 86_400), ('D', 86_400)])?;
    let time_us = parts_us(time, &[('H', 3_600), ('M', 60), ('S', 1)])?;
    date_us.checked_add(time_us)
}

/// Numbers with units in the order of `units`, each at most once; only seconds have decimals.
fn parts_us(mut text: &str, units: &[(char, i64)]) -> Option<i64> {
    let mut sum_us = 0_i64;
    for &(unit, seconds) in units {
        let Some((number, rest)) = text.split_once(unit) else { continue };
        let (whole, decimals) = match number.split_once('.') {
            Some((whole, decimals)) if unit == 'S' => (whole, fraction_us(decimals)?),
            Some(_) => return None,
            None => (number, 0),
        };
        let whole = i64::try_from(integer(whole)?).ok()?;
        let part_us = whole.checked_mul(seconds)?.checked_mul(SECOND_US)?.checked_add(decimals)?;
        sum_us = sum_us.checked_add(part_us)?;
        text = rest;
    }
    text.is_empty().then_some(sum_us)
}

/// A decimal integer without sign.
pub(super) fn integer(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Microseconds of a decimal number of seconds, which may be negative; `None` for `INF` and other forms.
pub(super) fn seconds_us(text: &str) -> Option<i64> {
    let (sign, number) = text.strip_prefix('-').map_or((1, text), |number| (-1, number));
    let us = parts_us(&format!("{number}S"), &[('S', 1)])?;
    us.checked_mul(sign)
}

/// Longest name that a template is expanded to, in bytes.
const NAME_BYTES_MAX: usize = 8_192;
/// Widest `%0Nd` that is written: no number has more digits.
const WIDTH_MAX: usize = 20;

/// What a template's identifiers stand for (DASH 5.3.9.4.4).
#[derive(Debug, Clone, Copy)]
pub(super) struct TemplateValues<'a> {
    pub(super) representation_id: &'a str,
    pub(super) bandwidth: u64,
    pub(super) number: u64,
    pub(super) time: u64,
}

/// A name from a URL template; `None` for an identifier that there is not, or a `$` without its pair.
pub(super) fn expand(template: &str, values: TemplateValues<'_>) -> Option<String> {
    let mut name = String::new();
    let mut rest = template;
    while let Some((plain, behind)) = rest.split_once('$') {
        name.push_str(plain);
        let (identifier, behind) = behind.split_once('$')?;
        rest = behind;
        let (identifier, width) = match identifier.split_once('%') {
            Some((identifier, format)) => {
                let width = integer(format.strip_prefix('0')?.strip_suffix('d')?)?;
                (identifier, usize::try_from(width).ok().filter(|width| *width <= WIDTH_MAX)?)
            }
            None => (identifier, 1),
        };
        let number = match identifier {
            "" if width == 1 => {
                name.push('$');
                continue;
            }
            "RepresentationID" if width == 1 => {
                name.push_str(values.representation_id);
                continue;
            }
            "Number" => values.number,
            "Time" => values.time,
            "Bandwidth" => values.bandwidth,
            _ => return None,
        };
        name.push_str(&format!("{number:0width$}"));
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
    }
    name.push_str(rest);
    (name.len() <= NAME_BYTES_MAX).then_some(name)
}

/// Whether a template holds `$identifier$`, with or without a width.
pub(super) fn uses(template: &str, identifier: &str) -> bool {
    template.split('$').skip(1).step_by(2).any(|found| found.split('%').next() == Some(identifier))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-01-01T00:00:00.000Z", Some(946_684_800_000_000)),
            ("2026-01-31T12:00:12.1Z", Some(1_769_860_812_100_000)),
            ("2026-01-31T14:00:12.100+02:00", Some(1_769_860_812_100_000)),
            ("2026-01-31T08:30:12.100-03:30", Some(1_769_860_812_100_000)),
            ("2026-01-31T12:00:12.1000009", Some(1_769_860_812_100_000)),
            ("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000)),
            ("2023-02-29T00:00:00Z", None),
            ("2023-13-01T00:00:00Z", None),
            ("2023-00-01T00:00:00Z", None),
            ("2023-01-01T24:00:00Z", None),
            ("2023-01-01 00:00:00Z", None),
            ("2023-01-01T00:00Z", None),
            ("2023-01-01T00:00:00.Z", None),
            ("2023-01-01T00:00:00X", None),
            ("2023-01-01T00:00:00Zé", None),
            ("23-01-01T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(date_time_us(text), expected, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("PT0S", Some(0)),
            ("PT2S", Some(2_000_000)),
            ("PT2.5S", Some(2_500_000)),
            ("PT838123456.789S", Some(838_123_456_789_000)),
            ("PT1H2M3.0000019S", Some(3_723_000_001)),
            ("P0Y0M0DT0H3M30.000S", Some(210_000_000)),
            ("P1D", Some(86_400_000_000)),
            ("P1M", Some(30 * 86_400_000_000)),
            ("P1Y", Some(365 * 86_400_000_000)),
            ("P", None),
            ("PT", None),
            ("P1DT", None),
            ("PT5", None),
            ("PT5S6M", None),
            ("PT5.S", None),
            ("PT.5S", None),
            ("PT1.5M", None),
            ("-PT5S", None),
            ("PT-5S", None),
            ("PT9223372036855S", None),
            ("PT99999999999999999999S", None),
            ("5", None),
            ("", None),
        ] {
            assert_eq!(duration_us(text), expected, "{text}");
        }
    }

    #[test]
    fn seconds() {
        for (text, expected) in [
            ("1.5", Some(1_500_000)),
            ("-0.25", Some(-250_000)),
            ("7", Some(7_000_000)),
            ("INF", None),
            ("", None),
            ("1e3", None),
        ] {
            assert_eq!(seconds_us(text), expected, "{text}");
        }
    }

    #[test]
    fn templates() {
        let values = TemplateValues { representation_id: "v0", bandwidth: 64_000, number: 41, time: 900_000 };
        for (template, expected) in [
            ("init.mp4", Some("init.mp4")),
            ("$RepresentationID$/$Number$.m4s", Some("v0/41.m4s")),
            ("$Number%05d$", Some("00041")),
            ("$Time%01d$", Some("900000")),
            ("$Bandwidth$", Some("64000")),
            ("a$$b", Some("a$b")),
            ("a$b", None),
            ("$number$", None),
            ("$Number%5d$", None),
            ("$Number%05x$", None),
            ("$Number%099d$", None),
            ("$RepresentationID%05d$", None),
            ("", Some("")),
        ] {
            assert_eq!(expand(template, values).as_deref(), expected, "{template}");
        }
        assert_eq!(expand(&"$Time%020d$".repeat(500), values), None);
        assert!(uses("a/$Number%05d$.m4s", "Number"));
        assert!(!uses("a/$Time$Number$$.m4s", "Number"));
    }
}

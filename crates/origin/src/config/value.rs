//! Values as a configuration writes them: durations with a unit and numbers with a range, each refusal naming what is allowed.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::ser::Serializer;

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; a whole number and a unit are allowed, as in \"200ms\", \"2s\", \"1m\" or \"1h\"")]
pub struct NotADuration;

/// `"200ms"`, `"2s"`, `"1m"` or `"1h"` as a duration: one whole number, one unit, nothing between or around.
///
/// # Errors
/// [`NotADuration`] for anything else, a number beyond 64 bits of milliseconds included.
pub fn duration(text: &str) -> Result<Duration, NotADuration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(NotADuration)?;
    let number: u64 = number.parse().map_err(|_| NotADuration)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(NotADuration),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or(NotADuration)
}

/// The shortest text that [`duration`] reads back as `value`, sub-millisecond parts dropped.
pub fn duration_text(value: Duration) -> String {
    let ms = value.as_millis();
    match ms {
        0 => "0s".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

/// For `#[serde(deserialize_with)]`: a duration of `MIN_MS` to `MAX_MS` milliseconds.
pub(super) fn duration_within<'de, const MIN_MS: u64, const MAX_MS: u64, D>(
    d: D,
) -> Result<Duration, D::Error>
where
    D: Deserializer<'de>,
{
    struct Text<const MIN_MS: u64, const MAX_MS: u64>;
    impl<const MIN_MS: u64, const MAX_MS: u64> Visitor<'_> for Text<MIN_MS, MAX_MS> {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration in quotes, as in \"2s\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            let value = duration(text).map_err(E::custom)?;
            let (min, max) = (Duration::from_millis(MIN_MS), Duration::from_millis(MAX_MS));
            if value < min || value > max {
                let (min, max) = (duration_text(min), duration_text(max));
                return Err(E::custom(format_args!("out of range; {min} to {max} is allowed")));
            }
            Ok(value)
        }
    }
    d.deserialize_str(Text::<MIN_MS, MAX_MS>)
}

/// For `#[serde(serialize_with)]`: the text of a duration.
pub(super) fn duration_out<S: Serializer>(value: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&duration_text(*value))
}

/// For `#[serde(deserialize_with)]`: a whole number of `MIN` to `MAX`.
pub(super) fn number_within<'de, const MIN: u32, const MAX: u32, D>(d: D) -> Result<u32, D::Error>
where
    D: Deserializer<'de>,
{
    struct Number<const MIN: u32, const MAX: u32>;
    impl<const MIN: u32, const MAX: u32> Visitor<'_> for Number<MIN, MAX> {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number from {MIN} to {MAX}")
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<u32, E> {
            match u32::try_from(value) {
                Ok(value) if (MIN..=MAX).contains(&value) => Ok(value),
                _ => Err(E::custom(format_args!("out of range; {MIN} to {MAX} is allowed"))),
            }
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<u32, E> {
            i64::try_from(value)
                .map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
                .and_then(|value| self.visit_i64(value))
        }
    }
    d.deserialize_i64(Number::<MIN, MAX>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_back() {
        for (text, expected_ms, written) in [
            ("0s", 0, "0s"),
            ("200ms", 200, "200ms"),
            ("2s", 2_000, "2s"),
            ("2000ms", 2_000, "2s"),
            ("90s", 90_000, "90s"),
            ("60s", 60_000, "1m"),
            ("1m", 60_000, "1m"),
            ("1h", 3_600_000, "1h"),
        ] {
            let value = duration(text).unwrap();
            assert_eq!(value, Duration::from_millis(expected_ms), "{text}");
            assert_eq!(duration_text(value), written, "{text}");
            assert_eq!(duration(written), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration() {
        for text in ["", "2", "s", "2 s", " 2s", "2s ", "-2s", "+2s", "2.5s", "2S", "2sec", "2d", "\u{662}s"]
        {
            assert_eq!(duration(text), Err(NotADuration), "{text:?}");
        }
        assert_eq!(duration("18446744073709551616ms"), Err(NotADuration));
        assert_eq!(duration("18446744073709551615h"), Err(NotADuration));
    }
}

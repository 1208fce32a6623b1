//! Values as a configuration writes them: durations with a unit and numbers with a range, each refusal naming what is allowed.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize as _;
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::ser::Serializer;

/// For `#[serde(deserialize_with)]`: an address and a port, or an empty text for none.
pub(super) fn address_or_none<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(d)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| D::Error::custom("invalid socket address syntax"))
}

/// For `#[serde(serialize_with)]`: the text of an address, or an empty one.
pub(super) fn address_out<S: Serializer>(value: &Option<SocketAddr>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&value.map(|address| address.to_string()).unwrap_or_default())
}

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

/// Why a text is no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a size; a whole number and a unit are allowed, as in \"512MiB\" or \"2GiB\"")]
pub struct NotASize;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// `"512MiB"` or `"2GiB"` in bytes: one whole number, one unit, nothing between or around.
///
/// # Errors
/// [`NotASize`] for anything else, a number beyond 64 bits of bytes included.
pub fn size_bytes(text: &str) -> Result<u64, NotASize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(NotASize)?;
    let number: u64 = number.parse().map_err(|_| NotASize)?;
    let unit_bytes = match unit {
        "MiB" => MIB,
        "GiB" => GIB,
        _ => return Err(NotASize),
    };
    number.checked_mul(unit_bytes).ok_or(NotASize)
}

/// The shortest text that [`size_bytes`] reads back as `value`, parts of a MiB dropped.
pub fn size_text(value: u64) -> String {
    if value.is_multiple_of(GIB) && value > 0 {
        format!("{}GiB", value / GIB)
    } else {
        format!("{}MiB", value / MIB)
    }
}

/// For `#[serde(deserialize_with)]`: a size of `MIN_MIB` to `MAX_MIB` in bytes.
pub(super) fn size_within<'de, const MIN_MIB: u64, const MAX_MIB: u64, D>(d: D) -> Result<u64, D::Error>
where
    D: Deserializer<'de>,
{
    struct Text<const MIN_MIB: u64, const MAX_MIB: u64>;
    impl<const MIN_MIB: u64, const MAX_MIB: u64> Visitor<'_> for Text<MIN_MIB, MAX_MIB> {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a size in quotes, as in \"512MiB\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            let value = size_bytes(text).map_err(E::custom)?;
            if !(MIN_MIB * MIB..=MAX_MIB * MIB).contains(&value) {
                let (min, max) = (size_text(MIN_MIB * MIB), size_text(MAX_MIB * MIB));
                return Err(E::custom(format_args!("out of range; {min} to {max} is allowed")));
            }
            Ok(value)
        }
    }
    d.deserialize_str(Text::<MIN_MIB, MAX_MIB>)
}

/// For `#[serde(serialize_with)]`: the text of a size.
pub(super) fn size_out<S: Serializer>(value: &u64, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&size_text(*value))
}

/// Why a text is no bit rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a bit rate; a whole number and a unit are allowed, as in \"100Mbit/s\" or \"1Gbit/s\", or \"0\" for no limit"
)]
pub struct NotABitRate;

const MEGABIT: u64 = 1_000_000;
const GIGABIT: u64 = 1_000_000_000;

/// `"100Mbit/s"` or `"1Gbit/s"` in bits per second: one whole number, one unit, nothing between or around. `"0"` is 0.
///
/// # Errors
/// [`NotABitRate`] for anything else, a number beyond 64 bits included.
pub fn bit_rate(text: &str) -> Result<u64, NotABitRate> {
    if text == "0" {
        return Ok(0);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(NotABitRate)?;
    let number: u64 = number.parse().map_err(|_| NotABitRate)?;
    let unit = match unit {
        "Mbit/s" => MEGABIT,
        "Gbit/s" => GIGABIT,
        _ => return Err(NotABitRate),
    };
    number.checked_mul(unit).ok_or(NotABitRate)
}

/// The shortest text that [`bit_rate`] reads back as `value`, parts of a Mbit dropped.
pub fn bit_rate_text(value: u64) -> String {
    match value {
        0 => "0".to_owned(),
        _ if value.is_multiple_of(GIGABIT) => format!("{}Gbit/s", value / GIGABIT),
        _ => format!("{}Mbit/s", value / MEGABIT),
    }
}

/// For `#[serde(deserialize_with)]`: a bit rate of `MIN_MBIT` to `MAX_MBIT` in bits per second, or 0.
pub(super) fn bit_rate_within<'de, const MIN_MBIT: u64, const MAX_MBIT: u64, D>(d: D) -> Result<u64, D::Error>
where
    D: Deserializer<'de>,
{
    struct Text<const MIN_MBIT: u64, const MAX_MBIT: u64>;
    impl<const MIN_MBIT: u64, const MAX_MBIT: u64> Visitor<'_> for Text<MIN_MBIT, MAX_MBIT> {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a bit rate in quotes, as in \"100Mbit/s\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            let value = bit_rate(text).map_err(E::custom)?;
            if value != 0 && !(MIN_MBIT * MEGABIT..=MAX_MBIT * MEGABIT).contains(&value) {
                let (min, max) = (bit_rate_text(MIN_MBIT * MEGABIT), bit_rate_text(MAX_MBIT * MEGABIT));
                return Err(E::custom(format_args!(
                    "out of range; {min} to {max} is allowed, or 0 for no limit"
                )));
            }
            Ok(value)
        }
    }
    d.deserialize_str(Text::<MIN_MBIT, MAX_MBIT>)
}

/// For `#[serde(serialize_with)]`: the text of a bit rate.
pub(super) fn bit_rate_out<S: Serializer>(value: &u64, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&bit_rate_text(*value))
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
    fn sizes_are_read_and_written_back() {
        for (text, expected, written) in [
            ("0MiB", 0, "0MiB"),
            ("512MiB", 512 << 20, "512MiB"),
            ("1024MiB", 1 << 30, "1GiB"),
            ("3GiB", 3 << 30, "3GiB"),
        ] {
            assert_eq!(size_bytes(text), Ok(expected), "{text}");
            assert_eq!(size_text(expected), written, "{text}");
        }
        for text in
            ["", "512", "MiB", "512 MiB", "512MB", "512mib", "-1MiB", "1.5GiB", "18446744073709551615GiB"]
        {
            assert_eq!(size_bytes(text), Err(NotASize), "{text:?}");
        }
    }

    #[test]
    fn bit_rates_are_read_and_written_back() {
        for (text, expected, written) in [
            ("0", 0, "0"),
            ("100Mbit/s", 100_000_000, "100Mbit/s"),
            ("1000Mbit/s", 1_000_000_000, "1Gbit/s"),
            ("2Gbit/s", 2_000_000_000, "2Gbit/s"),
        ] {
            assert_eq!(bit_rate(text), Ok(expected), "{text}");
            assert_eq!(bit_rate_text(expected), written, "{text}");
        }
        for text in [
            "",
            "100",
            "00",
            "Mbit/s",
            "100 Mbit/s",
            "100Mbit",
            "100MB/s",
            "1.5Gbit/s",
            "18446744073709551615Gbit/s",
        ] {
            assert_eq!(bit_rate(text), Err(NotABitRate), "{text:?}");
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

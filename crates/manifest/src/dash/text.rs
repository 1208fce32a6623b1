//! The pieces an MPD's attributes are made of: escaped strings, and numbers in the one form they are written in.

use std::time::Duration;

use headwater_media::WallTime;

use super::RenderError;
use crate::text::DateWriter;
pub(super) use crate::text::{push, push_u64};

/// Bytes of the longest escape of one byte of text, `&quot;`.
pub(super) const ESCAPE_BYTES_MAX: usize = 6;
/// Bytes of the longest `xs:duration` written here: `PT18446744073709551615.999S`.
pub(super) const DURATION_BYTES_MAX: usize = 27;
/// Bytes of an `xs:dateTime` written here: `2026-01-31T12:00:00.000Z`.
pub(super) const DATE_BYTES: usize = 24;
/// Decimal digits of the largest `u64`.
pub(super) const DECIMAL_BYTES_MAX: usize = 20;

/// Whether XML 1.0 can hold the character at all (XML 1.0 5th edition, production 2 `Char`).
pub(super) fn is_xml_character(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Appends `text` as the inside of an attribute value.
///
/// # Errors
/// [`RenderError::Character`] for what XML can't hold: it has no escape.
pub(super) fn push_escaped(
    out: &mut Vec<u8>,
    attribute: &'static str,
    text: &str,
) -> Result<(), RenderError> {
    // Nearly all texts are such.
    let is_plain =
        |byte: u8| (b' '..=b'~').contains(&byte) && !matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'');
    if text.bytes().all(is_plain) {
        push(out, text);
        return Ok(());
    }
    let mut plain_from = 0;
    for (offset, character) in text.char_indices() {
        let escape = match character {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            '\'' => "&apos;",
            // Written as themselves they are normalised to spaces (XML 1.0 3.3.3).
            '\t' => "&#9;",
            '\n' => "&#10;",
            '\r' => "&#13;",
            _ if is_xml_character(character) => continue,
            _ => return Err(RenderError::Character { attribute, character }),
        };
        push(out, text.get(plain_from..offset).unwrap_or_default());
        push(out, escape);
        plain_from = offset + character.len_utf8();
    }
    push(out, text.get(plain_from..).unwrap_or_default());
    Ok(())
}

/// Appends an `xs:dateTime` in UTC with milliseconds.
pub(super) fn push_date(out: &mut Vec<u8>, time: WallTime) {
    DateWriter::new().push(out, time);
}

/// Appends an `xs:duration` in seconds, as few decimals as whole milliseconds need; what is finer is cut off.
///
/// Seconds alone, however many: years and months have no fixed length, and one form is enough for every reader.
pub(super) fn push_duration(out: &mut Vec<u8>, duration: Duration) {
    push(out, "PT");
    push_u64(out, duration.as_secs());
    let millis = duration.subsec_millis();
    if millis > 0 {
        let digit = |value: u32| b'0'.saturating_add(u8::try_from(value % 10).unwrap_or(0));
        let digits = [b'.', digit(millis / 100), digit(millis / 10), digit(millis)];
        let mut decimals: &[u8] = &digits;
        while let Some((b'0', rest)) = decimals.split_last() {
            decimals = rest;
        }
        out.extend_from_slice(decimals);
    }
    out.push(b'S');
}

/// The fraction in lowest terms; `None` when a part is 0.
pub(super) fn lowest_terms(numerator: u64, denominator: u64) -> Option<(u64, u64)> {
    let (mut a, mut b) = (numerator, denominator);
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    // `a` is now the greatest common divisor.
    let (numerator, denominator) = (numerator.checked_div(a)?, denominator.checked_div(a)?);
    (numerator > 0 && denominator > 0).then_some((numerator, denominator))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn durations() {
        for (ms, expected) in [
            (0, "PT0S"),
            (1, "PT0.001S"),
            (10, "PT0.01S"),
            (100, "PT0.1S"),
            (2_000, "PT2S"),
            (2_002, "PT2.002S"),
            (1_500, "PT1.5S"),
            (838_123_456_789, "PT838123456.789S"),
            (u64::MAX, "PT18446744073709551.615S"),
        ] {
            assert_eq!(text(|out| push_duration(out, Duration::from_millis(ms))), expected, "{ms} ms");
        }
        assert_eq!(text(|out| push_duration(out, Duration::from_nanos(1_999_999))), "PT0.001S");
        let longest = text(|out| push_duration(out, Duration::new(u64::MAX, 999_999_999)));
        assert_eq!(longest.len(), DURATION_BYTES_MAX);
    }

    #[test]
    fn dates() {
        let date = text(|out| push_date(out, WallTime::from_unix_millis(946_684_800_007)));
        assert_eq!(date, "2000-01-01T00:00:00.007Z");
        assert_eq!(date.len(), DATE_BYTES);
    }

    #[test]
    fn escapes() {
        for (name, input, expected) in [
            ("nothing to do", "avc1.64001f,mp4a.40.2", Ok("avc1.64001f,mp4a.40.2")),
            ("empty", "", Ok("")),
            ("all five", "<a b=\"c\" d='&'>", Ok("&lt;a b=&quot;c&quot; d=&apos;&amp;&apos;&gt;")),
            ("white space", "a b\tc\nd\re", Ok("a b&#9;c&#10;d&#13;e")),
            ("beyond ASCII", "é&\u{1f3a5}&", Ok("é&amp;\u{1f3a5}&amp;")),
            ("NUL", "a\0", Err('\0')),
            ("a control character", "\u{1b}[m", Err('\u{1b}')),
            ("not a character", "a\u{fffe}", Err('\u{fffe}')),
        ] {
            let mut out = Vec::new();
            let result = push_escaped(&mut out, "MPD@id", input);
            match expected {
                Ok(expected) => {
                    assert_eq!(result, Ok(()), "{name}");
                    assert_eq!(String::from_utf8(out).unwrap(), expected, "{name}");
                }
                Err(character) => {
                    assert_eq!(
                        result,
                        Err(RenderError::Character { attribute: "MPD@id", character }),
                        "{name}"
                    );
                }
            }
        }
    }

    #[test]
    fn fractions() {
        for (numerator, denominator, expected) in [
            (30, 1, Some((30, 1))),
            (30_000, 1_001, Some((30_000, 1_001))),
            (25_000, 1_000, Some((25, 1))),
            (1_280, 720, Some((16, 9))),
            (1, u64::MAX, Some((1, u64::MAX))),
            (0, 1, None),
            (1, 0, None),
            (0, 0, None),
        ] {
            assert_eq!(lowest_terms(numerator, denominator), expected, "{numerator}/{denominator}");
        }
    }
}

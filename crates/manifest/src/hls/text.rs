//! The pieces a playlist's lines are made of: validated strings, and numbers in the one form they are written in.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use headwater_media::{MediaTime, Timescale};

use crate::text::eight_digits;
pub(super) use crate::text::{DateWriter, push, push_u64};

/// Longest URI and longest quoted string, in bytes. Names here are under 200; 2,048 leaves room for a query with a token.
pub const TEXT_BYTES_MAX: usize = 2_048;

/// Why a string can't stand in a playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing in it.
    #[error("an empty string can't be written into a playlist")]
    Empty,
    /// Longer than [`TEXT_BYTES_MAX`].
    #[error("{0} bytes are more than {TEXT_BYTES_MAX}")]
    TooLong(usize),
    /// A character that would end the string or the line, or that a URI doesn't have; the offset is in bytes.
    #[error("character {character:?} at byte {offset} can't be written into a playlist")]
    Character {
        /// Where, in bytes from the start.
        offset: usize,
        /// What.
        character: char,
    },
}

/// A URI reference that can stand on a line of its own and inside quotes: printable ASCII without space, `"`, and
/// without `#` in front (8216bis 4.1: such a line would be a tag or a comment).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Uri(Box<str>);

impl Uri {
    /// Checks `uri`.
    ///
    /// # Errors
    /// [`TextError`], naming the first character that can't be written.
    pub fn new(uri: impl Into<String>) -> Result<Uri, TextError> {
        let uri = uri.into();
        if uri.is_empty() {
            return Err(TextError::Empty);
        }
        if uri.starts_with('#') {
            return Err(TextError::Character { offset: 0, character: '#' });
        }
        uri_characters(&uri)?;
        Ok(Uri(uri.into_boxed_str()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A URI in pieces, one behind the other, so that nobody has to put a name together for each rendering. It is checked as a [`Uri`] is,
/// where it is written.
#[derive(Debug, Clone, Copy, Eq)]
pub struct UriPieces<'a>([&'a str; 3]);

impl<'a> UriPieces<'a> {
    /// Of pieces of which any may be empty, but not all.
    pub const fn new(pieces: [&'a str; 3]) -> UriPieces<'a> {
        UriPieces(pieces)
    }

    /// Bytes of them all.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|piece| piece.len()).sum()
    }

    /// Appends the text.
    ///
    /// # Errors
    /// [`TextError`], naming the first character that can't be written, by its place in its piece.
    pub(super) fn push(&self, out: &mut Vec<u8>) -> Result<(), TextError> {
        let start = out.len();
        for piece in self.0 {
            uri_characters(piece)?;
            push(out, piece);
        }
        match out.get(start) {
            None => Err(TextError::Empty),
            Some(b'#') => Err(TextError::Character { offset: 0, character: '#' }),
            Some(_) => Ok(()),
        }
    }
}

impl<'a> From<&'a Uri> for UriPieces<'a> {
    fn from(uri: &'a Uri) -> UriPieces<'a> {
        UriPieces([uri.as_str(), "", ""])
    }
}

/// Piece by piece: a text in other pieces is another one.
impl PartialEq for UriPieces<'_> {
    fn eq(&self, other: &UriPieces<'_>) -> bool {
        // A window's segments share what names them: mostly it is one text in one place.
        let same = |one: &str, other: &str| std::ptr::eq(one, other) || one == other;
        let ([a, b, c], [d, e, f]) = (self.0, other.0);
        same(b, e) && same(a, d) && same(c, f)
    }
}

/// Whether every character may be part of a URI in a playlist; the empty string passes.
pub(super) fn uri_characters(text: &str) -> Result<(), TextError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TextError::TooLong(text.len()));
    }
    match text.char_indices().find(|(_, c)| !c.is_ascii_graphic() || *c == '"') {
        Some((offset, character)) => Err(TextError::Character { offset, character }),
        None => Ok(()),
    }
}

/// The inside of a quoted-string (8216bis 4.2): not empty, no `"`, no line break. There is no escape, so what can't be
/// written is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QuotedString(Box<str>);

impl QuotedString {
    /// Checks `text`, given without its quotes.
    ///
    /// # Errors
    /// [`TextError`], naming the first character that can't be written.
    pub fn new(text: impl Into<String>) -> Result<QuotedString, TextError> {
        let text = text.into();
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(TextError::TooLong(text.len()));
        }
        // 8216bis 4.1 forbids control characters in the whole file, U+FEFF included in the rule against a BOM.
        match text.char_indices().find(|(_, c)| c.is_control() || matches!(c, '"' | '\u{feff}')) {
            Some((offset, character)) => Err(TextError::Character { offset, character }),
            None => Ok(QuotedString(text.into_boxed_str())),
        }
    }

    /// The text without its quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QuotedString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Appends seconds with six decimals, rounded to the nearest; a negative duration is written as 0.
///
/// Six, because a timescale has at most 1,000,000 ticks per second: a duration strictly below TARGETDURATION + 0.5 s is
/// then below it by more than half a millionth (or by a whole one), so that it never prints as one that rounds above
/// the target (8216bis 4.4.3.1).
pub(super) fn push_seconds(out: &mut Vec<u8>, duration: MediaTime) {
    push_micros(out, micros_nearest(duration));
}

/// Microseconds of `duration`, rounded to the nearest; 0 for a negative one.
pub(super) fn micros_nearest(duration: MediaTime) -> u64 {
    // `rescale` divides in 128 bits; a segment's ticks times a million fit 64, where the division is ten times cheaper.
    let hz = u64::from(duration.scale().hz());
    let ticks = u64::try_from(duration.ticks()).unwrap_or(0);
    match ticks.checked_mul(1_000_000) {
        Some(scaled) => scaled.saturating_add(hz / 2) / hz,
        None => Timescale::new(1_000_000)
            .map_or(0, |scale| u64::try_from(duration.rescale(scale).ticks()).unwrap_or(0)),
    }
}

/// Appends microseconds as seconds with six decimals.
pub(super) fn push_micros(out: &mut Vec<u8>, micros: u64) {
    if let Some(seconds) = short_seconds(micros) {
        out.extend_from_slice(&seconds);
    } else {
        push_u64(out, micros / 1_000_000);
        out.push(b'.');
        let [_, _, decimals @ ..] = eight_digits(u32::try_from(micros % 1_000_000).unwrap_or(0));
        out.extend_from_slice(&decimals);
    }
}

/// Microseconds as seconds with six decimals, when they are below 10 s: so short are parts and most segments, and equally long as text.
fn short_seconds(micros: u64) -> Option<[u8; 8]> {
    let micros = u32::try_from(micros).ok().filter(|micros| *micros < 10_000_000)?;
    let [_, digit, a, b, c, d, e, f] = eight_digits(micros);
    Some([digit, b'.', a, b, c, d, e, f])
}

/// The text of the duration that came before, when that is below 10 s: most are alike, and a division is what a line costs most.
#[derive(Default)]
pub(super) struct KnownSeconds(Option<(MediaTime, [u8; 8])>);

impl KnownSeconds {
    /// [`short_seconds`] of `duration`, in microseconds as `micros` has them: the same at each call.
    pub(super) fn text(&mut self, duration: MediaTime, micros: impl Fn(MediaTime) -> u64) -> Option<[u8; 8]> {
        if self.0.is_none_or(|(known, _)| known != duration) {
            self.0 = short_seconds(micros(duration)).map(|text| (duration, text));
        }
        self.0.map(|(_, text)| text)
    }
}

/// A piece of text with a decimal number in it, from which others are made that differ in the number's last digit: they are copies of it
/// with another digit, which costs a fraction of writing them anew.
pub(super) struct Pattern {
    /// Where the piece is in the output.
    text: Range<usize>,
    /// Where the number's last digit is in the piece.
    last_digit: usize,
    /// The number with 0 for that digit.
    tens: u64,
}

impl Pattern {
    /// The piece that lies in the output from `start` on, with `number` at the range named.
    pub(super) fn new(out: &[u8], start: usize, number: u64, place: &Range<usize>) -> Pattern {
        let last_digit = place.end.saturating_sub(start + 1);
        Pattern { text: start..out.len(), last_digit, tens: number - number % 10 }
    }

    /// Appends the piece with `number` in it and lends it; nothing when more than the last digit differs.
    pub(super) fn push<'o>(&self, out: &'o mut Vec<u8>, number: u64) -> Option<&'o mut [u8]> {
        let digit = number.checked_sub(self.tens).filter(|digit| *digit < 10)?;
        let start = out.len();
        out.extend_from_within(self.text.clone());
        let piece = out.get_mut(start..)?;
        *piece.get_mut(self.last_digit)? = b'0' + digit as u8;
        Some(piece)
    }
}

/// Writes `bytes` over what is at `at`; so much is there.
pub(super) fn replace(text: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = text.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// The first whole microsecond beyond `duration`; 1 for a negative one.
pub(super) fn micros_beyond(duration: MediaTime) -> u64 {
    let hz = u64::from(duration.scale().hz());
    let ticks = u64::try_from(duration.ticks()).unwrap_or(0);
    match ticks.checked_mul(1_000_000) {
        Some(scaled) => scaled / hz + 1,
        // Over half a year: whole seconds are near enough.
        None => (ticks / hz).saturating_add(1).saturating_mul(1_000_000),
    }
}

/// Microseconds of `duration`, rounded up.
pub(super) fn micros_up(duration: Duration) -> u64 {
    let micros = u64::from(duration.subsec_nanos().div_ceil(1_000));
    duration.as_secs().saturating_mul(1_000_000).saturating_add(micros)
}

/// Appends a frame rate with three decimals, rounded to the nearest (8216bis 4.4.6.2); the denominator is not 0.
pub(super) fn push_frame_rate(out: &mut Vec<u8>, numerator: u32, denominator: u32) {
    let denominator = u64::from(denominator.max(1));
    let millis = (u64::from(numerator) * 1_000 + denominator / 2) / denominator;
    push_u64(out, millis / 1_000);
    out.push(b'.');
    let [.., a, b, c] = eight_digits(u32::try_from(millis % 1_000).unwrap_or(0));
    out.extend_from_slice(&[a, b, c]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris() {
        let character = |offset, character| Err(TextError::Character { offset, character });
        for (name, input, expected) in [
            ("a name", "41.ts", Ok(())),
            ("a path with a query", "../a/index.m3u8?token=%20x&y=#z", Ok(())),
            ("empty", "", Err(TextError::Empty)),
            ("a tag", "#EXTINF:1,", character(0, '#')),
            ("a space", "a b.ts", character(1, ' ')),
            ("a quote", "a\".ts", character(1, '"')),
            ("a line break", "a.ts\n#EXT-X-ENDLIST", character(4, '\n')),
            ("not ASCII", "caf\u{e9}.ts", character(3, '\u{e9}')),
        ] {
            assert_eq!(Uri::new(input).map(|_| ()), expected, "{name}");
        }
        assert_eq!(Uri::new("x".repeat(2_049)), Err(TextError::TooLong(2_049)));
        assert!(Uri::new("x".repeat(2_048)).is_ok());
    }

    #[test]
    fn quoted_strings() {
        let character = |offset, character| Err(TextError::Character { offset, character });
        for (name, input, expected) in [
            ("codecs", "avc1.64001f,mp4a.40.2", Ok(())),
            ("a name in a language", "Fran\u{e7}ais, st\u{e9}r\u{e9}o", Ok(())),
            ("empty", "", Err(TextError::Empty)),
            ("a quote", "say \"x\"", character(4, '"')),
            ("a carriage return", "a\rb", character(1, '\r')),
            ("a line feed", "a\nb", character(1, '\n')),
            ("a control character", "a\u{7}", character(1, '\u{7}')),
            ("a byte order mark", "\u{feff}a", character(0, '\u{feff}')),
        ] {
            assert_eq!(QuotedString::new(input).map(|_| ()), expected, "{name}");
        }
    }

    #[test]
    fn seconds() {
        let scale = |hz| Timescale::new(hz).unwrap();
        for (ticks, hz, expected) in [
            (0, 90_000, "0.000000"),
            (180_000, 90_000, "2.000000"),
            (180_180, 90_000, "2.002000"),
            (1, 90_000, "0.000011"),
            (1_024, 44_100, "0.023220"),
            (1_024, 48_000, "0.021333"),
            (2, 3, "0.666667"),
            (1, 3, "0.333333"),
            (-90_000, 90_000, "0.000000"),
            // One tick below the half that would round above a target duration of 6.
            (6_499_999, 1_000_000, "6.499999"),
            (6_499_993, 999_999, "6.499999"),
            (6_499_994, 999_999, "6.500001"),
            // Past the 64-bit path.
            (1 << 62, 1_000_000, "4611686018427.387904"),
            (1 << 50, 90_000, "12509998964.918044"),
        ] {
            let mut out = Vec::new();
            push_seconds(&mut out, MediaTime::new(ticks, scale(hz)));
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{ticks}/{hz}");
        }
    }

    #[test]
    fn seconds_below_a_half_never_print_as_the_half() {
        for hz in [1_u32, 3, 44_100, 48_000, 90_000, 999_983, 999_999, 1_000_000] {
            // The last tick strictly before 6.5 s.
            let below = (13 * i64::from(hz) - 1) / 2;
            let mut out = Vec::new();
            push_seconds(&mut out, MediaTime::new(below, Timescale::new(hz).unwrap()));
            assert!(out.as_slice() < b"6.500000".as_slice(), "{hz} Hz prints {:?}", String::from_utf8(out));
        }
    }

    #[test]
    fn whole_microseconds_beyond_a_duration() {
        for (ticks, hz, expected) in [
            (45_000, 90_000, 500_001),
            (24_576, 48_000, 512_001),
            (22_528, 44_100, 510_840),
            (1, 3, 333_334),
            (2, 3, 666_667),
            (-1, 90_000, 1),
            (1 << 50, 90_000, 12_509_998_965_000_000),
        ] {
            let duration = MediaTime::new(ticks, Timescale::new(hz).unwrap());
            assert_eq!(micros_beyond(duration), expected, "{ticks}/{hz}");
        }
        assert_eq!(micros_up(Duration::from_nanos(333_333_333)), 333_334);
        assert_eq!(micros_up(Duration::MAX), u64::MAX);
    }

    #[test]
    fn frame_rates() {
        for (numerator, denominator, expected) in [
            (25, 1, "25.000"),
            (30_000, 1_001, "29.970"),
            (24_000, 1_001, "23.976"),
            (60_000, 1_001, "59.940"),
            (1, 3, "0.333"),
            (u32::MAX, 1, "4294967295.000"),
            (19_999_999, 1_000_000, "20.000"),
        ] {
            let mut out = Vec::new();
            push_frame_rate(&mut out, numerator, denominator);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{numerator}/{denominator}");
        }
    }
}

//! The grammar of a playlist: lines, tags, attribute lists, numbers and dates (8216bis 4.1, 4.2), read strictly and with
//! bounds, because the text may be a stranger's.

use crate::calendar::unix_seconds;
use crate::findings::excerpt;

/// Attributes read from one tag. The largest tag of 8216bis has 18; more than 64 is not a playlist's line.
const ATTRIBUTES_MAX: usize = 64;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Blank,
    Comment,
    /// `name` without `#`; `value` is what follows the first `:`.
    Tag {
        name: &'a str,
        value: Option<&'a str>,
    },
    Uri(&'a str),
}

impl<'a> Line<'a> {
    pub(super) fn new(line: &'a str) -> Line<'a> {
        if line.is_empty() {
            return Line::Blank;
        }
        match line.strip_prefix('#') {
            None => Line::Uri(line),
            Some(tag) if tag.starts_with("EXT") => match tag.split_once(':') {
                Some((name, value)) => Line::Tag { name, value: Some(value) },
                None => Line::Tag { name: tag, value: None },
            },
            Some(_) => Line::Comment,
        }
    }
}

/// The kind of playlist a tag belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Either,
    Media,
    Multivariant,
}

/// What follows a tag's colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Nothing,
    Integer,
    Attributes { required: &'static [&'static str] },
    Special,
}

/// One row of the table of tags.
#[derive(Debug, Clone, Copy)]
pub(super) struct TagRule {
    pub(super) scope: Scope,
    /// At most one in a playlist; clients refuse a second (8216bis 4.4.2, 4.4.3).
    pub(super) once: bool,
    pub(super) content: Content,
}

/// The tags of 8216bis 4.4; `None` for any other, which clients ignore.
pub(super) fn tag_rule(name: &str) -> Option<TagRule> {
    use Content::{Integer, Nothing, Special};
    use Scope::{Either, Media, Multivariant};
    let attributes = |required| Content::Attributes { required };
    let (scope, once, content) = match name {
        "EXTM3U" => (Either, true, Nothing),
        "EXT-X-VERSION" => (Either, true, Integer),
        "EXT-X-INDEPENDENT-SEGMENTS" => (Either, true, Nothing),
        "EXT-X-START" => (Either, true, attributes(&["TIME-OFFSET"])),
        "EXT-X-DEFINE" => (Either, false, attributes(&[])),
        "EXT-X-TARGETDURATION" | "EXT-X-MEDIA-SEQUENCE" | "EXT-X-DISCONTINUITY-SEQUENCE" => {
            (Media, true, Integer)
        }
        "EXT-X-ENDLIST" | "EXT-X-I-FRAMES-ONLY" => (Media, true, Nothing),
        "EXT-X-PLAYLIST-TYPE" => (Media, true, Special),
        "EXT-X-ALLOW-CACHE" => (Media, true, Special),
        "EXT-X-PART-INF" => (Media, true, attributes(&["PART-TARGET"])),
        "EXT-X-SERVER-CONTROL" => (Media, true, attributes(&[])),
        "EXT-X-SKIP" => (Media, true, attributes(&["SKIPPED-SEGMENTS"])),
        "EXTINF" | "EXT-X-BYTERANGE" | "EXT-X-PROGRAM-DATE-TIME" => (Media, false, Special),
        "EXT-X-DISCONTINUITY" | "EXT-X-GAP" => (Media, false, Nothing),
        "EXT-X-BITRATE" => (Media, false, Integer),
        "EXT-X-KEY" => (Media, false, attributes(&["METHOD"])),
        "EXT-X-MAP" => (Media, false, attributes(&["URI"])),
        "EXT-X-DATERANGE" => (Media, false, attributes(&["ID", "START-DATE"])),
        "EXT-X-PART" => (Media, false, attributes(&["URI", "DURATION"])),
        "EXT-X-PRELOAD-HINT" => (Media, false, attributes(&["TYPE", "URI"])),
        "EXT-X-RENDITION-REPORT" => (Media, false, attributes(&["URI"])),
        "EXT-X-STREAM-INF" => (Multivariant, false, attributes(&["BANDWIDTH"])),
        "EXT-X-I-FRAME-STREAM-INF" => (Multivariant, false, attributes(&["BANDWIDTH", "URI"])),
        "EXT-X-MEDIA" => (Multivariant, false, attributes(&["TYPE", "GROUP-ID", "NAME"])),
        "EXT-X-SESSION-DATA" => (Multivariant, false, attributes(&["DATA-ID"])),
        "EXT-X-SESSION-KEY" => (Multivariant, false, attributes(&["METHOD"])),
        "EXT-X-CONTENT-STEERING" => (Multivariant, true, attributes(&["SERVER-URI"])),
        _ => return None,
    };
    Some(TagRule { scope, once, content })
}

/// How an attribute's value must be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueType {
    Integer,
    Float,
    SignedFloat,
    Quoted,
    /// Quoted, and allowed to be empty.
    QuotedMaybeEmpty,
    Resolution,
    Hexadecimal,
    Enumerated(&'static [&'static str]),
    /// A quoted-string or one enumerated value.
    QuotedOr(&'static str),
    Any,
}

const YES_NO: ValueType = ValueType::Enumerated(&["YES", "NO"]);
const KEY_METHODS: ValueType =
    ValueType::Enumerated(&["NONE", "AES-128", "SAMPLE-AES", "SAMPLE-AES-CTR", "ISO-23001-7"]);

fn value_type(tag: &str, attribute: &str) -> ValueType {
    use ValueType::{
        Any, Enumerated, Float, Hexadecimal, Integer, Quoted, QuotedMaybeEmpty, QuotedOr, Resolution,
        SignedFloat,
    };
    match (tag, attribute) {
        ("EXT-X-STREAM-INF" | "EXT-X-I-FRAME-STREAM-INF", attribute) => match attribute {
            "BANDWIDTH" | "AVERAGE-BANDWIDTH" | "PROGRAM-ID" => Integer,
            "SCORE" | "FRAME-RATE" => Float,
            "RESOLUTION" => Resolution,
            "HDCP-LEVEL" => Enumerated(&["NONE", "TYPE-0", "TYPE-1"]),
            "VIDEO-RANGE" => Enumerated(&["SDR", "HLG", "PQ"]),
            "CLOSED-CAPTIONS" => QuotedOr("NONE"),
            "CODECS"
            | "SUPPLEMENTAL-CODECS"
            | "ALLOWED-CPC"
            | "REQ-VIDEO-LAYOUT"
            | "STABLE-VARIANT-ID"
            | "AUDIO"
            | "VIDEO"
            | "SUBTITLES"
            | "PATHWAY-ID"
            | "URI" => Quoted,
            _ => Any,
        },
        ("EXT-X-MEDIA", attribute) => match attribute {
            "TYPE" => Enumerated(&["AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS"]),
            "DEFAULT" | "AUTOSELECT" | "FORCED" => YES_NO,
            "BIT-DEPTH" | "SAMPLE-RATE" => Integer,
            "URI"
            | "GROUP-ID"
            | "LANGUAGE"
            | "ASSOC-LANGUAGE"
            | "NAME"
            | "STABLE-RENDITION-ID"
            | "INSTREAM-ID"
            | "CHARACTERISTICS"
            | "CHANNELS" => Quoted,
            _ => Any,
        },
        ("EXT-X-KEY" | "EXT-X-SESSION-KEY", "METHOD") => KEY_METHODS,
        ("EXT-X-KEY" | "EXT-X-SESSION-KEY", "IV") => Hexadecimal,
        ("EXT-X-KEY" | "EXT-X-SESSION-KEY", "URI" | "KEYFORMAT" | "KEYFORMATVERSIONS") => Quoted,
        ("EXT-X-MAP" | "EXT-X-PART", "URI" | "BYTERANGE") => Quoted,
        ("EXT-X-PART", "DURATION") | ("EXT-X-PART-INF", "PART-TARGET") => Float,
        ("EXT-X-PART", "INDEPENDENT" | "GAP") => YES_NO,
        ("EXT-X-DATERANGE", "ID" | "CLASS" | "START-DATE" | "END-DATE" | "CUE") => Quoted,
        ("EXT-X-DATERANGE", "DURATION" | "PLANNED-DURATION") => Float,
        ("EXT-X-DATERANGE", "SCTE35-CMD" | "SCTE35-OUT" | "SCTE35-IN") => Hexadecimal,
        ("EXT-X-DATERANGE", "END-ON-NEXT") => Enumerated(&["YES"]),
        ("EXT-X-START", "TIME-OFFSET") => SignedFloat,
        ("EXT-X-START", "PRECISE") => YES_NO,
        ("EXT-X-SERVER-CONTROL", "CAN-SKIP-UNTIL" | "HOLD-BACK" | "PART-HOLD-BACK") => Float,
        ("EXT-X-SERVER-CONTROL", "CAN-SKIP-DATERANGES" | "CAN-BLOCK-RELOAD") => YES_NO,
        ("EXT-X-PRELOAD-HINT", "TYPE") => Enumerated(&["PART", "MAP"]),
        ("EXT-X-PRELOAD-HINT" | "EXT-X-RENDITION-REPORT", "URI") => Quoted,
        ("EXT-X-PRELOAD-HINT", "BYTERANGE-START" | "BYTERANGE-LENGTH") => Integer,
        ("EXT-X-RENDITION-REPORT", "LAST-MSN" | "LAST-PART") => Integer,
        ("EXT-X-SKIP", "SKIPPED-SEGMENTS") => Integer,
        ("EXT-X-SKIP", "RECENTLY-REMOVED-DATERANGES") => QuotedMaybeEmpty,
        ("EXT-X-SESSION-DATA", "DATA-ID" | "VALUE" | "URI" | "LANGUAGE") => Quoted,
        ("EXT-X-DEFINE", "NAME" | "IMPORT" | "QUERYPARAM") => Quoted,
        ("EXT-X-DEFINE", "VALUE") => QuotedMaybeEmpty,
        ("EXT-X-CONTENT-STEERING", "SERVER-URI" | "PATHWAY-ID") => Quoted,
        _ => Any,
    }
}

/// An attribute's value as it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Without its quotes.
    Quoted(&'a str),
    Bare(&'a str),
}

impl<'a> Value<'a> {
    pub(super) fn text(self) -> &'a str {
        match self {
            Value::Quoted(text) | Value::Bare(text) => text,
        }
    }
}

/// A tag's attributes in the order of the text, without repetitions, and what was wrong with the list.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a> {
    list: Vec<(&'a str, Value<'a>)>,
    pub(super) faults: Vec<String>,
}

impl<'a> Attributes<'a> {
    /// Reads `text` as the attribute list of `tag`; what can be read is kept, the rest becomes faults.
    pub(super) fn parse(tag: &str, text: &'a str) -> Attributes<'a> {
        let mut attributes = Attributes::default();
        let mut rest = text;
        while !rest.is_empty() {
            if attributes.list.len() >= ATTRIBUTES_MAX {
                attributes.faults.push(format!("more than {ATTRIBUTES_MAX} attributes"));
                break;
            }
            let Some((name, after)) = rest.split_once('=') else {
                attributes.faults.push(format!("\"{}\" is not NAME=VALUE", excerpt(rest)));
                break;
            };
            let value;
            (value, rest) = match split_value(after) {
                Ok(split) => split,
                Err(fault) => {
                    attributes.faults.push(format!("{}: {fault}", excerpt(name)));
                    break;
                }
            };
            attributes.add(tag, name, value);
        }
        attributes
    }

    fn add(&mut self, tag: &str, name: &'a str, value: Value<'a>) {
        let trimmed = name.trim();
        let bare_space = matches!(value, Value::Bare(text) if text.trim() != text);
        if trimmed != name || bare_space {
            // 8216bis 4.2: no whitespace around the equals sign or the comma.
            self.faults.push(format!("space around {}", excerpt(trimmed)));
        }
        if trimmed.is_empty()
            || !trimmed.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
        {
            self.faults.push(format!("attribute name \"{}\" is not of A-Z, 0-9 and -", excerpt(trimmed)));
        }
        if self.value(trimmed).is_some() {
            self.faults.push(format!("{} stands there twice", excerpt(trimmed)));
            return;
        }
        let value = match value {
            Value::Bare(text) => Value::Bare(text.trim()),
            quoted @ Value::Quoted(_) => quoted,
        };
        if let Some(fault) = value_fault(value_type(tag, trimmed), value) {
            self.faults.push(format!("{} {fault}", excerpt(trimmed)));
        }
        self.list.push((trimmed, value));
    }

    fn value(&self, name: &str) -> Option<Value<'a>> {
        self.list.iter().find(|(have, _)| *have == name).map(|(_, value)| *value)
    }

    /// The value's text, whichever way it is written.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.value(name).map(Value::text)
    }

    pub(super) fn integer(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(decimal_integer)
    }

    /// Whether any attribute's name starts with `prefix`.
    pub(super) fn any_starts_with(&self, prefix: &str) -> bool {
        self.list.iter().any(|(name, _)| name.starts_with(prefix))
    }

    /// The list as a sorted, owned form that compares independent of order.
    pub(super) fn normalized(&self) -> Vec<(String, String)> {
        let mut list: Vec<_> =
            self.list.iter().map(|(name, value)| ((*name).to_owned(), value.text().to_owned())).collect();
        list.sort();
        list
    }
}

/// Splits a value off the front of `text`: the value, and what follows the comma behind it.
fn split_value(text: &str) -> Result<(Value<'_>, &str), &'static str> {
    let Some(inner) = text.strip_prefix('"') else {
        return Ok(match text.split_once(',') {
            Some((_, "")) => return Err("a comma stands at the end of the list"),
            Some((value, rest)) => (Value::Bare(value), rest),
            None => (Value::Bare(text), ""),
        });
    };
    let (value, rest) = inner.split_once('"').ok_or("the quoted string does not end")?;
    match rest.strip_prefix(',') {
        _ if rest.is_empty() => Ok((Value::Quoted(value), "")),
        Some("") => Err("a comma stands at the end of the list"),
        Some(rest) => Ok((Value::Quoted(value), rest)),
        None => Err("something other than a comma follows the quoted string"),
    }
}

/// What is wrong with a value of that type, worded to follow the attribute's name.
fn value_fault(expected: ValueType, value: Value<'_>) -> Option<String> {
    let shown = || excerpt(value.text());
    let bare = match value {
        Value::Bare(text) => Some(text),
        Value::Quoted(_) => None,
    };
    let is = |test: fn(&str) -> bool| bare.is_some_and(test);
    let wanted = match expected {
        ValueType::Integer if is(|text| decimal_integer(text).is_some()) => return None,
        ValueType::Integer => "an unquoted decimal integer",
        ValueType::Float if is(|text| decimal_micros(text).is_some()) => return None,
        ValueType::Float => "an unquoted decimal number",
        ValueType::SignedFloat
            if is(|text| decimal_micros(text.strip_prefix('-').unwrap_or(text)).is_some()) =>
        {
            return None;
        }
        ValueType::SignedFloat => "an unquoted decimal number",
        ValueType::Resolution if is(|text| resolution(text).is_some()) => return None,
        ValueType::Resolution => "an unquoted WIDTHxHEIGHT",
        ValueType::Hexadecimal if is(is_hexadecimal) => return None,
        ValueType::Hexadecimal => "an unquoted hexadecimal sequence 0x...",
        ValueType::Quoted => match value {
            Value::Quoted("") => return Some("is an empty string".to_owned()),
            Value::Quoted(_) => return None,
            Value::Bare(_) => "a quoted string",
        },
        ValueType::QuotedMaybeEmpty if bare.is_none() => return None,
        ValueType::QuotedMaybeEmpty => "a quoted string",
        ValueType::QuotedOr(word) => match value {
            Value::Quoted("") => return Some("is an empty string".to_owned()),
            Value::Quoted(_) => return None,
            Value::Bare(text) if text == word => return None,
            Value::Bare(_) => "a quoted string or NONE",
        },
        ValueType::Enumerated(words) => {
            return match bare {
                Some(text) if words.contains(&text) => None,
                Some(_) => Some(format!("is {}, none of {}", shown(), words.join(", "))),
                None => Some(format!("is quoted; one of {} is written without quotes", words.join(", "))),
            };
        }
        ValueType::Any => {
            return (bare == Some("")).then(|| "has no value".to_owned());
        }
    };
    Some(format!("is {}, not {wanted}", shown()))
}

/// A decimal-integer: 1 to 20 digits, below 2^64 (8216bis 4.2).
pub(super) fn decimal_integer(text: &str) -> Option<u64> {
    (text.len() <= 20 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// A decimal-floating-point in millionths, digits past the sixth dropped.
///
/// Dropping, not rounding: 6.4999996 s is still a segment that rounds to 6.
pub(super) fn decimal_micros(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let seconds = decimal_integer(whole)?;
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros = fraction.bytes().chain(std::iter::repeat(b'0')).take(6).try_fold(0_u64, |sum, digit| {
        sum.checked_mul(10)?.checked_add(u64::from(digit.checked_sub(b'0')?))
    })?;
    seconds.checked_mul(1_000_000)?.checked_add(micros)
}

/// Digits behind the decimal point.
pub(super) fn decimals(text: &str) -> usize {
    text.split_once('.').map_or(0, |(_, fraction)| fraction.len())
}

/// Width and height of `1280x720`.
pub(super) fn resolution(text: &str) -> Option<(u64, u64)> {
    let (width, height) = text.split_once('x')?;
    Some((decimal_integer(width)?, decimal_integer(height)?))
}

fn is_hexadecimal(text: &str) -> bool {
    text.strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// An ISO 8601 date with time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DateTime {
    /// Microseconds since the Unix epoch; without a zone, as if UTC.
    pub(super) unix_us: i64,
    /// Whether a zone was given.
    pub(super) zoned: bool,
}

/// Reads `2026-01-31T12:00:00.000Z` and its relatives with `+hh:mm`, `+hhmm`, `+hh` or no zone.
pub(super) fn date_time(text: &str) -> Option<DateTime> {
    let (date, time) = text.split_once('T')?;
    let mut parts = date.split('-');
    let (year, month, day) =
        (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if parts.next().is_some() {
        return None;
    }
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at_checked(zone_at)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':');
    let (hour, minute, second) =
        (number(parts.next()?, 2)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if parts.next().is_some() {
        return None;
    }
    let micros = i64::try_from(decimal_micros(&format!("0.{fraction}"))?).ok()?;
    let offset_minutes = zone_minutes(zone)?;
    let seconds = unix_seconds([year, month, day], [hour, minute, second])?;
    // Four digits of year and a zone below 24 hours: under 2^58.
    let unix_us = (seconds - offset_minutes * 60) * 1_000_000 + micros;
    Some(DateTime { unix_us, zoned: !zone.is_empty() })
}

/// A number of exactly `digits` digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    if text.len() != digits {
        return None;
    }
    decimal_integer(text).and_then(|value| i64::try_from(value).ok())
}

fn zone_minutes(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits = zone.get(1..)?;
    let (hours, minutes) = match (digits.split_once(':'), digits.len()) {
        (Some((hours, minutes)), _) => (hours, minutes),
        (None, 4) => digits.split_at_checked(2)?,
        (None, _) => (digits, "00"),
    };
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (input, expected) in [
            ("", Line::Blank),
            ("# note", Line::Comment),
            ("#EXTM3U", Line::Tag { name: "EXTM3U", value: None }),
            ("#EXTINF:2.0,a:b", Line::Tag { name: "EXTINF", value: Some("2.0,a:b") }),
            ("a.ts", Line::Uri("a.ts")),
            (" #EXTM3U", Line::Uri(" #EXTM3U")),
        ] {
            assert_eq!(Line::new(input), expected, "{input:?}");
        }
    }

    #[test]
    fn numbers() {
        for (text, integer, micros) in [
            ("0", Some(0), Some(0)),
            ("2.5", None, Some(2_500_000)),
            ("6.4999999", None, Some(6_499_999)),
            ("18446744073709551615", Some(u64::MAX), None),
            ("18446744073709551616", None, None),
            ("000000000000000000001", None, None),
            ("", None, None),
            ("-1", None, None),
            ("+1", None, None),
            ("1,5", None, None),
            ("1.", None, None),
            (".5", None, None),
            ("1e3", None, None),
            (" 1", None, None),
            ("\u{0661}", None, None),
        ] {
            assert_eq!(decimal_integer(text), integer, "{text:?} as an integer");
            assert_eq!(decimal_micros(text), micros, "{text:?} in millionths");
        }
    }

    #[test]
    fn dates() {
        let utc = 1_769_860_800_000_000;
        for (text, expected) in [
            ("2026-01-31T12:00:00.000Z", Some((utc, true))),
            ("2026-01-31T12:00:00Z", Some((utc, true))),
            ("2026-01-31T12:00:00.0015Z", Some((utc + 1_500, true))),
            ("2026-01-31T14:30:00.000+02:30", Some((utc, true))),
            ("2026-01-31T07:00:00.000-0500", Some((utc, true))),
            ("2026-01-31T13:00:00.000+01", Some((utc, true))),
            ("2026-01-31T12:00:00.000", Some((utc, false))),
            ("1970-01-01T00:00:00Z", Some((0, true))),
            ("2024-02-29T00:00:00.001Z", Some((1_709_164_800_001_000, true))),
            ("2023-02-29T00:00:00Z", None),
            ("2026-01-31 12:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-01-31T24:00:00Z", None),
            ("2026-1-31T12:00:00Z", None),
            ("2026-01-31T12:00Z", None),
            ("2026-01-31T12:00:00.Z", None),
            ("2026-01-31T12:00:00+1:00", None),
            ("", None),
            ("T", None),
        ] {
            let read = date_time(text).map(|date| (date.unix_us, date.zoned));
            assert_eq!(read, expected, "{text:?}");
        }
    }

    #[test]
    fn attribute_lists() {
        let tag = "EXT-X-STREAM-INF";
        for (name, input, faults) in [
            ("good", "BANDWIDTH=1,CODECS=\"a,b=c\",RESOLUTION=16x9,FRAME-RATE=25.000", vec![]),
            ("unknown attribute", "BANDWIDTH=1,X-OWN=\"\"", vec![]),
            ("twice", "BANDWIDTH=1,BANDWIDTH=2", vec!["BANDWIDTH stands there twice"]),
            ("space", "BANDWIDTH=1, CODECS=\"a\"", vec!["space around CODECS"]),
            ("space at =", "BANDWIDTH= 1", vec!["space around BANDWIDTH"]),
            ("lower case", "bandwidth=1", vec!["attribute name \"bandwidth\" is not of A-Z, 0-9 and -"]),
            ("unquoted string", "CODECS=avc1", vec!["CODECS is avc1, not a quoted string"]),
            ("quoted number", "BANDWIDTH=\"1\"", vec!["BANDWIDTH is 1, not an unquoted decimal integer"]),
            (
                "quoted word",
                "VIDEO-RANGE=\"SDR\"",
                vec!["VIDEO-RANGE is quoted; one of SDR, HLG, PQ is written without quotes"],
            ),
            ("unknown word", "VIDEO-RANGE=XDR", vec!["VIDEO-RANGE is XDR, none of SDR, HLG, PQ"]),
            ("empty string", "CODECS=\"\"", vec!["CODECS is an empty string"]),
            ("open string", "CODECS=\"avc1", vec!["CODECS: the quoted string does not end"]),
            (
                "text behind a string",
                "CODECS=\"a\"b",
                vec!["CODECS: something other than a comma follows the quoted string"],
            ),
            ("no value", "BANDWIDTH", vec!["\"BANDWIDTH\" is not NAME=VALUE"]),
            ("comma at the end", "BANDWIDTH=1,", vec!["BANDWIDTH: a comma stands at the end of the list"]),
            ("captions NONE", "CLOSED-CAPTIONS=NONE", vec![]),
            ("captions group", "CLOSED-CAPTIONS=\"cc\"", vec![]),
            (
                "resolution",
                "RESOLUTION=1280X720",
                vec!["RESOLUTION is 1280X720, not an unquoted WIDTHxHEIGHT"],
            ),
        ] {
            assert_eq!(Attributes::parse(tag, input).faults, faults, "{name}");
        }
        let many: String = (0..100).map(|n| format!("A{n}=1,")).collect();
        assert_eq!(Attributes::parse(tag, &many).faults, ["more than 64 attributes"]);
    }
}

//! EXT-X-DATERANGE (8216bis 4.4.5.1): something that lasts for a range of dates, and what is known of it.

use std::fmt::Write as _;
use std::time::Duration;

use headwater_media::WallTime;

use super::text::{DateWriter, QuotedString, TextError, push};

/// The value of an attribute whose name is its author's.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// A quoted-string.
    Text(QuotedString),
    /// A decimal-floating-point number; finite.
    Number(f64),
}

/// Splice information (SCTE 35) about a range, as sections (8216bis 4.4.5.1.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Splices {
    /// SCTE35-CMD: neither of the others.
    pub command: Option<Vec<u8>>,
    /// SCTE35-OUT: the programme can be left where the range begins.
    pub out: Option<Vec<u8>>,
    /// SCTE35-IN: it is come back to where the range ends.
    pub back: Option<Vec<u8>>,
}

/// One range.
#[derive(Debug, Clone, PartialEq)]
pub struct DateRange {
    /// ID: unique in the playlist for its life.
    pub id: QuotedString,
    /// CLASS: what its author's attributes mean.
    pub class: Option<QuotedString>,
    /// START-DATE.
    pub start: WallTime,
    /// DURATION, once it is known.
    pub duration: Option<Duration>,
    /// PLANNED-DURATION.
    pub planned_duration: Option<Duration>,
    /// Attributes that begin with `X-`, each name once.
    pub attributes: Vec<(AttributeName, Attribute)>,
    /// Splice information.
    pub splices: Splices,
}

/// A name of an author's attribute: `X-`, and then `[A-Z0-9-]` (8216bis 4.4.5.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttributeName(Box<str>);

/// Longest name; those in use are reverse DNS names.
const NAME_BYTES_MAX: usize = 128;

impl AttributeName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`TextError`], naming the first character that can't be in it.
    pub fn new(name: impl Into<String>) -> Result<AttributeName, TextError> {
        let name = name.into();
        if name.len() > NAME_BYTES_MAX {
            return Err(TextError::TooLong(name.len()));
        }
        let Some(rest) = name.strip_prefix("X-").filter(|rest| !rest.is_empty()) else {
            let character = name.chars().next().ok_or(TextError::Empty)?;
            return Err(TextError::Character { offset: 0, character });
        };
        let is_allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
        match rest.char_indices().find(|(_, c)| !is_allowed(*c)) {
            Some((offset, character)) => Err(TextError::Character { offset: offset + 2, character }),
            None => Ok(AttributeName(name.into_boxed_str())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl DateRange {
    /// The tag, its line end included.
    pub fn line(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(192);
        push(&mut out, "#EXT-X-DATERANGE:ID=\"");
        push(&mut out, self.id.as_str());
        if let Some(class) = &self.class {
            push(&mut out, "\",CLASS=\"");
            push(&mut out, class.as_str());
        }
        push(&mut out, "\",START-DATE=\"");
        DateWriter::new().push(&mut out, self.start);
        push(&mut out, "\"");
        let durations = [(",DURATION=", self.duration), (",PLANNED-DURATION=", self.planned_duration)];
        for (name, duration) in durations {
            let Some(duration) = duration else { continue };
            push(&mut out, name);
            let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
            push(&mut out, &format!("{seconds}.{millis:03}"));
        }
        for (name, value) in &self.attributes {
            push(&mut out, ",");
            push(&mut out, &name.0);
            match value {
                Attribute::Text(text) => {
                    push(&mut out, "=\"");
                    push(&mut out, text.as_str());
                    push(&mut out, "\"");
                }
                // Without an exponent, which the grammar does not have.
                Attribute::Number(number) => push(&mut out, &format!("={number}")),
            }
        }
        let Splices { command, out: away, back } = &self.splices;
        for (name, section) in
            [(",SCTE35-CMD=0x", command), (",SCTE35-OUT=0x", away), (",SCTE35-IN=0x", back)]
        {
            let Some(section) = section else { continue };
            push(&mut out, name);
            let mut digits = String::with_capacity(2 * section.len());
            for byte in section {
                // Writing to a String does not fail.
                let _ = write!(digits, "{byte:02X}");
            }
            push(&mut out, &digits);
        }
        out.push(b'\n');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> QuotedString {
        QuotedString::new(text).unwrap()
    }

    fn name(name: &str) -> AttributeName {
        AttributeName::new(name).unwrap()
    }

    #[test]
    fn a_line_with_everything() {
        let range = DateRange {
            id: text("break 7"),
            class: Some(text("com.example.ad")),
            start: WallTime::from_unix_millis(1_769_860_800_250),
            duration: Some(Duration::from_millis(29_970)),
            planned_duration: Some(Duration::from_secs(30)),
            attributes: vec![
                (name("X-COM-EXAMPLE-URL"), Attribute::Text(text("https://example.com/a?b=c,d"))),
                (name("X-SHARE"), Attribute::Number(0.000_000_1)),
            ],
            splices: Splices { command: None, out: Some(vec![0xfc, 0x30]), back: Some(vec![0x0a]) },
        };
        assert_eq!(
            String::from_utf8(range.line()).unwrap(),
            "#EXT-X-DATERANGE:ID=\"break 7\",CLASS=\"com.example.ad\",START-DATE=\"2026-01-31T12:00:00.250Z\",\
             DURATION=29.970,PLANNED-DURATION=30.000,X-COM-EXAMPLE-URL=\"https://example.com/a?b=c,d\",\
             X-SHARE=0.0000001,SCTE35-OUT=0xFC30,SCTE35-IN=0x0A\n"
        );
    }

    #[test]
    fn names_of_attributes() {
        assert!(AttributeName::new("X-A-1").is_ok());
        for (bad, offset) in [("DURATION", 0), ("X-", 0), ("X-a", 2), ("X-A=1", 3), ("X-A,B", 3)] {
            assert!(
                matches!(AttributeName::new(bad), Err(TextError::Character { offset: at, .. }) if at == offset),
                "{bad}"
            );
        }
        assert_eq!(AttributeName::new(""), Err(TextError::Empty));
        assert!(matches!(AttributeName::new(format!("X-{}", "A".repeat(200))), Err(TextError::TooLong(202))));
    }
}

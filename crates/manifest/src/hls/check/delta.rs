//! A delta update and the playlist it is applied to (8216bis 6.2.5.1, 6.3.7).

use super::syntax::{Attributes, Line, decimal_integer};

/// Why a delta update can't be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The text has no EXT-X-SKIP: it stands for itself.
    #[error("the playlist has no #EXT-X-SKIP and is no delta update")]
    NoSkip,
    /// The number of skipped segments is missing or unreadable.
    #[error("#EXT-X-SKIP does not say how many segments it skips")]
    SkippedSegments,
    /// A segment stands in front of EXT-X-SKIP.
    #[error("#EXT-X-SKIP stands behind a segment")]
    SkipBehindSegment,
    /// What the client holds is a delta update itself.
    #[error("the playlist held is a delta update itself")]
    HeldIsDelta,
    /// Segments are skipped that the client doesn't hold; both ranges end before their second number.
    #[error(
        "#EXT-X-SKIP stands for segments {skipped_from} to {skipped_end} (not included), and the playlist held has \
         {held_from} to {held_end}"
    )]
    NotHeld {
        /// The first segment skipped.
        skipped_from: u64,
        /// The number after the last one skipped.
        skipped_end: u64,
        /// The first segment held.
        held_from: u64,
        /// The number after the last one held.
        held_end: u64,
    },
}

/// What a client has after it applied `delta` to the playlist `full_before` that it held.
///
/// EXT-X-PART tags of the segments that were skipped are dropped: those are six target durations old, and a server
/// removes the tags after three (8216bis 6.2.2). So for a server that does, this is its full playlist, byte for byte
/// where both were written by this crate.
///
/// # Errors
/// [`MergeError`] when one is no delta update, or the other doesn't hold what it skips.
pub fn merge_delta(full_before: &str, delta: &str) -> Result<String, MergeError> {
    let held = Held::read(full_before)?;
    let mut merged = String::with_capacity(full_before.len().saturating_add(delta.len()));
    let mut media_sequence = 0;
    let mut applied = false;
    let mut segment_in_front = false;
    for line in delta.lines() {
        match Line::new(line) {
            Line::Tag { name: "EXT-X-SKIP", value } if !applied => {
                if segment_in_front {
                    return Err(MergeError::SkipBehindSegment);
                }
                let attributes = Attributes::parse("EXT-X-SKIP", value.unwrap_or_default());
                let skipped = attributes.integer("SKIPPED-SEGMENTS").ok_or(MergeError::SkippedSegments)?;
                held.push_skipped(media_sequence, skipped, &mut merged)?;
                applied = true;
                continue;
            }
            Line::Tag { name: "EXT-X-MEDIA-SEQUENCE", value } => {
                media_sequence = value.and_then(decimal_integer).unwrap_or(0);
            }
            Line::Uri(_) => segment_in_front = true,
            _ => {}
        }
        push_line(&mut merged, line);
    }
    if applied { Ok(merged) } else { Err(MergeError::NoSkip) }
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// A segment's lines, its URI last.
type Lines<'a> = Vec<&'a str>;

/// The segments of the playlist that a client holds.
struct Held<'a> {
    media_sequence: u64,
    segments: Vec<Lines<'a>>,
}

impl<'a> Held<'a> {
    fn read(text: &'a str) -> Result<Held<'a>, MergeError> {
        let mut held = Held { media_sequence: 0, segments: Vec::new() };
        let mut lines = Lines::new();
        for line in text.lines() {
            match Line::new(line) {
                Line::Tag { name: "EXT-X-SKIP", .. } => return Err(MergeError::HeldIsDelta),
                Line::Tag { name: "EXT-X-MEDIA-SEQUENCE", value } => {
                    held.media_sequence = value.and_then(decimal_integer).unwrap_or(0);
                }
                Line::Tag { name, .. } if is_skipped(name) => lines.push(line),
                Line::Uri(_) => {
                    lines.push(line);
                    held.segments.push(std::mem::take(&mut lines));
                }
                Line::Tag { .. } | Line::Blank | Line::Comment => {}
            }
        }
        Ok(held)
    }

    /// Appends the `count` segments from number `from` on.
    fn push_skipped(&self, from: u64, count: u64, out: &mut String) -> Result<(), MergeError> {
        let not_held = MergeError::NotHeld {
            skipped_from: from,
            skipped_end: from.saturating_add(count),
            held_from: self.media_sequence,
            held_end: self.media_sequence.saturating_add(self.segments.len() as u64),
        };
        if count == 0 {
            return Ok(());
        }
        let left = from.checked_sub(self.media_sequence).and_then(|left| usize::try_from(left).ok());
        let (left, rest) = left.and_then(|left| self.segments.split_at_checked(left)).ok_or(not_held)?;
        let skipped = usize::try_from(count).ok().and_then(|count| rest.get(..count)).ok_or(not_held)?;
        let (first, others) = skipped.split_first().ok_or(not_held)?;
        push_first(left, first, out);
        for line in others.iter().flatten() {
            push_line(out, line);
        }
        Ok(())
    }
}

/// Appends the first segment of a window, behind the segments that `left`: it states what they had stated for it.
fn push_first(left: &[Lines<'_>], first: &Lines<'_>, out: &mut String) {
    let mut push_tags = |lines: &Lines<'_>, name: &str| {
        lines.iter().filter(|line| is_tag(line, name)).for_each(|line| push_line(out, line));
    };
    push_tags(first, "EXT-X-DISCONTINUITY");
    // 8216bis 4.4.4.4, 4.4.4.5: both apply until the next one.
    for name in ["EXT-X-KEY", "EXT-X-MAP"] {
        let mut back = std::iter::once(first).chain(left.iter().rev());
        if let Some(lines) = back.find(|lines| lines.iter().any(|line| is_tag(line, name))) {
            push_tags(lines, name);
        }
    }
    let pushed =
        |line: &str| ["EXT-X-DISCONTINUITY", "EXT-X-KEY", "EXT-X-MAP"].iter().any(|name| is_tag(line, name));
    for line in first.iter().filter(|line| !pushed(line)) {
        push_line(out, line);
    }
}

fn is_tag(line: &str, wanted: &str) -> bool {
    matches!(Line::new(line), Line::Tag { name, .. } if name == wanted)
}

/// Tags of a segment that are left out with it. EXT-X-DATERANGE stays in a delta update (8216bis 4.4.5.2), and parts are
/// gone by then.
fn is_skipped(name: &str) -> bool {
    matches!(
        name,
        "EXTINF"
            | "EXT-X-BYTERANGE"
            | "EXT-X-DISCONTINUITY"
            | "EXT-X-KEY"
            | "EXT-X-MAP"
            | "EXT-X-PROGRAM-DATE-TIME"
            | "EXT-X-GAP"
            | "EXT-X-BITRATE"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:5\n\
        #EXT-X-MAP:URI=\"a\"\n#EXTINF:2.0,\n5\n#EXT-X-DISCONTINUITY\n#EXT-X-GAP\n#EXTINF:2.1,\n6\n\
        #EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"b\"\n# a comment\n#EXT-X-PART:DURATION=1.0,URI=\"7.0\"\n#EXTINF:2.2,\n7\n\
        #EXTINF:2.3,\n8\n";

    fn delta(media_sequence: u64, skipped: &str) -> String {
        format!("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:{media_sequence}\n#EXT-X-SKIP:{skipped}\n#EXTINF:3.0,\nnew\n")
    }

    #[test]
    fn what_was_skipped_comes_from_what_was_held() {
        for (name, media_sequence, skipped, expected) in [
            ("nothing", 6, 0, ""),
            ("from the first", 5, 1, "#EXT-X-MAP:URI=\"a\"\n#EXTINF:2.0,\n5\n"),
            (
                "a MAP stated before",
                6,
                1,
                "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"a\"\n#EXT-X-GAP\n#EXTINF:2.1,\n6\n",
            ),
            (
                "a MAP of its own, and a part",
                7,
                2,
                "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"b\"\n#EXTINF:2.2,\n7\n#EXTINF:2.3,\n8\n",
            ),
            ("the last", 8, 1, "#EXT-X-MAP:URI=\"b\"\n#EXTINF:2.3,\n8\n"),
        ] {
            let merged = merge_delta(HELD, &delta(media_sequence, &format!("SKIPPED-SEGMENTS={skipped}")));
            let expected =
                format!("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:{media_sequence}\n{expected}#EXTINF:3.0,\nnew\n");
            assert_eq!(merged, Ok(expected), "{name}");
        }
    }

    #[test]
    fn what_can_not_be_merged() {
        let not_held = |skipped_from, skipped_end| MergeError::NotHeld {
            skipped_from,
            skipped_end,
            held_from: 5,
            held_end: 9,
        };
        for (name, held, delta, expected) in [
            ("no delta", HELD, HELD.to_owned(), MergeError::NoSkip),
            ("no number", HELD, delta(5, "SKIPPED-SEGMENTS=x"), MergeError::SkippedSegments),
            ("too old", HELD, delta(4, "SKIPPED-SEGMENTS=2"), not_held(4, 6)),
            ("too new", HELD, delta(8, "SKIPPED-SEGMENTS=2"), not_held(8, 10)),
            ("far too new", HELD, delta(10, "SKIPPED-SEGMENTS=1"), not_held(10, 11)),
            ("far too many", HELD, delta(5, "SKIPPED-SEGMENTS=18446744073709551615"), not_held(5, u64::MAX)),
            (
                "segments in front",
                HELD,
                "#EXTM3U\na\n#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n".to_owned(),
                MergeError::SkipBehindSegment,
            ),
            (
                "a delta held",
                "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n",
                delta(5, "SKIPPED-SEGMENTS=1"),
                MergeError::HeldIsDelta,
            ),
        ] {
            assert_eq!(merge_delta(held, &delta), Err(expected), "{name}");
        }
    }
}

//! Range: the one part of a complete object that a request asks for (RFC 9110 14).

/// What a Range header means for an object of a known length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// No usable range: the whole object, 200. Other units, several ranges and malformed values end here (14.2).
    Whole,
    /// These bytes, 206.
    Part {
        /// First byte's position.
        first: u64,
        /// Last byte's position, inclusive.
        last: u64,
    },
    /// A range without a byte of the object, 416.
    Unsatisfiable,
}

/// Reads a Range header's value for an object of `len` bytes.
pub(super) fn range(header: &str, len: u64) -> Range {
    let Some((unit, set)) = header.split_once('=') else { return Range::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Range::Whole;
    }
    // Several ranges would need multipart/byteranges; the whole object is as good an answer (14.2), and nobody asks.
    let set = set.trim();
    let Some((first, last)) = set.split_once('-') else { return Range::Whole };
    match (position(first), position(last)) {
        (Some(None), Some(Some(suffix))) => match len.checked_sub(1) {
            Some(end) if suffix > 0 => Range::Part { first: len.saturating_sub(suffix), last: end },
            _ => Range::Unsatisfiable,
        },
        (Some(Some(first)), Some(last)) => {
            let last = last.unwrap_or(u64::MAX);
            match len.checked_sub(1) {
                _ if last < first => Range::Whole,
                Some(end) if first <= end => Range::Part { first, last: last.min(end) },
                _ => Range::Unsatisfiable,
            }
        }
        _ => Range::Whole,
    }
}

/// Digits as a position: absent when empty, the largest number when beyond it, `None` when not digits.
fn position(text: &str) -> Option<Option<u64>> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((!text.is_empty()).then(|| text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_of_a_thousand_bytes() {
        let part = |first, last| Range::Part { first, last };
        for (header, expected) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=0-", part(0, 999)),
            ("bytes=0-999", part(0, 999)),
            ("bytes=0-1000", part(0, 999)),
            ("bytes=999-999", part(999, 999)),
            ("bytes=500-18446744073709551615", part(500, 999)),
            ("bytes=500-99999999999999999999999", part(500, 999)),
            ("bytes=0-9007199254740991", part(0, 999)),
            ("bytes=-1", part(999, 999)),
            ("bytes=-1000", part(0, 999)),
            ("bytes=-5000", part(0, 999)),
            ("Bytes=1-2", part(1, 2)),
            ("bytes= 1-2 ", part(1, 2)),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=1000-", Range::Unsatisfiable),
            ("bytes=1000-2000", Range::Unsatisfiable),
            ("bytes=99999999999999999999-", Range::Unsatisfiable),
            ("bytes=2-1", Range::Whole),
            ("bytes=-", Range::Whole),
            ("bytes=", Range::Whole),
            ("bytes", Range::Whole),
            ("", Range::Whole),
            ("bytes=a-b", Range::Whole),
            ("bytes=0-0,5-6", Range::Whole),
            ("bytes=+1-2", Range::Whole),
            ("bytes=1--2", Range::Whole),
            ("items=0-5", Range::Whole),
        ] {
            assert_eq!(range(header, 1_000), expected, "{header:?}");
        }
        assert_eq!(range("bytes=0-", 0), Range::Unsatisfiable);
        assert_eq!(range("bytes=-1", 0), Range::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn any_header(header in "\\PC{0,40}", len in 0_u64..2_000, a in 0_u64..3_000, b in 0_u64..3_000) {
            for header in [header, format!("bytes={a}-{b}"), format!("bytes={a}-"), format!("bytes=-{b}")] {
                if let Range::Part { first, last } = range(&header, len) {
                    prop_assert!(first <= last && last < len, "{header:?} of {len}: {first}-{last}");
                }
            }
            let expected = a <= b && a < len;
            prop_assert_eq!(matches!(range(&format!("bytes={a}-{b}"), len), Range::Part { .. }), expected);
        }
    }
}

//! If-Match, If-None-Match and If-Range against one strong ETag (RFC 9110 13.1).

/// Entity tags looked at in one header; caches send one or two. The rest of a longer header is not read.
const TAGS_MAX: usize = 64;

/// An entity tag as a header writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag<'a> {
    weak: bool,
    /// With its quotes.
    opaque: &'a str,
}

/// True when If-None-Match's value names `etag` (strong, quotes included) or is `*`: the client has this body.
/// Weak comparison (RFC 9110 13.1.2): `W/"x"` names `"x"`.
pub(super) fn names_weakly(header: &str, etag: &str) -> bool {
    header.trim() == "*" || tags(header).any(|tag| tag.opaque == etag)
}

/// True when If-Match's value names `etag` (strong, quotes included) or is `*`. Strong comparison (RFC 9110 13.1.1).
pub(super) fn names_strongly(header: &str, etag: &str) -> bool {
    header.trim() == "*" || tags(header).any(|tag| !tag.weak && tag.opaque == etag)
}

/// True when If-Range's value is `etag` itself. A date never is: no Last-Modified is sent to compare it with.
pub(super) fn range_applies(header: &str, etag: &str) -> bool {
    header.trim() == etag
}

/// The tags of a list up to the first malformed one.
fn tags(header: &str) -> impl Iterator<Item = Tag<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let text = rest.trim_start_matches([' ', '\t', ',']);
        let (weak, quoted) = match text.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let end = quoted.strip_prefix('"')?.find('"')?.checked_add(2)?;
        let (opaque, after) = quoted.split_at_checked(end)?;
        rest = after;
        Some(Tag { weak, opaque })
    })
    .take(TAGS_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comparisons() {
        for (header, weakly, strongly, range) in [
            ("\"x\"", true, true, true),
            (" \"x\" ", true, true, true),
            ("W/\"x\"", true, false, false),
            ("*", true, true, false),
            (" * ", true, true, false),
            ("\"y\"", false, false, false),
            ("\"y\", \"x\"", true, true, false),
            ("\"y\",W/\"x\"", true, false, false),
            (", ,\"x\"", true, true, false),
            ("\"y, \"x\"", false, false, false),
            ("x", false, false, false),
            ("\"x", false, false, false),
            ("\"", false, false, false),
            ("", false, false, false),
            ("w/\"x\"", false, false, false),
            ("\"X\"", false, false, false),
            ("\"x-gz\"", false, false, false),
            ("\"a,b\", \"x\"", true, true, false),
            ("Sat, 31 Jan 2026 12:00:00 GMT", false, false, false),
        ] {
            let got = (
                names_weakly(header, "\"x\""),
                names_strongly(header, "\"x\""),
                range_applies(header, "\"x\""),
            );
            assert_eq!(got, (weakly, strongly, range), "{header:?}");
        }
        assert!(!names_weakly(&format!("{}\"x\"", "\"y\",".repeat(80)), "\"x\""));
    }

    proptest! {
        #[test]
        fn any_header(header in "\\PC{0,80}", tag in "[a-z0-9-]{1,20}", others in 0_usize..20) {
            let etag = format!("\"{tag}\"");
            // A strong match is a weak match too.
            prop_assert!(!names_strongly(&header, &etag) || names_weakly(&header, &etag));
            let list = format!("{}W/{etag}", "\"=\" , ".repeat(others));
            prop_assert!(names_weakly(&list, &etag) && !names_strongly(&list, &etag));
        }
    }
}

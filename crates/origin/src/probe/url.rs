//! References of a playlist resolved against its own URL (RFC 3986 5.2), for http and https.

/// Longest URL that is followed, in bytes; servers commonly refuse more than 8 KiB.
const URL_BYTES_MAX: usize = 8_192;

/// `reference` as an absolute URL without a fragment; `None` when it isn't http(s) or too long.
pub(super) fn resolve(base: &str, reference: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    let base = base.split('#').next().unwrap_or_default();
    let (scheme, rest) = base.split_once("://")?;
    let (authority, base_path) = rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len()))?;
    let url = if let Some(scheme) = scheme_of(reference) {
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return None;
        }
        reference.to_owned()
    } else if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{}", without_dot_segments(reference))
    } else {
        let (path, query) = match base_path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (base_path, None),
        };
        if reference.is_empty() {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            format!("{scheme}://{authority}{path}{query}")
        } else if reference.starts_with('?') {
            format!("{scheme}://{authority}{path}{reference}")
        } else {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{scheme}://{authority}{}", without_dot_segments(&format!("{folder}/{reference}")))
        }
    };
    (url.len() <= URL_BYTES_MAX).then_some(url)
}

/// The scheme of a reference that has one: letters, digits, `+-.` in front of a `:` that no `/`, `?` precedes.
fn scheme_of(reference: &str) -> Option<&str> {
    let (scheme, _) = reference.split_once(':')?;
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(letters)).then_some(scheme)
}

/// Takes `.` and `..` out of an absolute path; a query behind it stays as it is.
fn without_dot_segments(path: &str) -> String {
    let (path, query) = path.split_at_checked(path.find('?').unwrap_or(path.len())).unwrap_or((path, ""));
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let base = "http://example.org:8080/live/cam/index.m3u8?token=1";
        for (reference, expected) in [
            ("41.ts", Some("http://example.org:8080/live/cam/41.ts")),
            ("av/index.m3u8?x=/../y", Some("http://example.org:8080/live/cam/av/index.m3u8?x=/../y")),
            ("../b/./c.ts", Some("http://example.org:8080/live/b/c.ts")),
            ("../../../c.ts", Some("http://example.org:8080/c.ts")),
            ("..", Some("http://example.org:8080/live/")),
            (".", Some("http://example.org:8080/live/cam/")),
            ("/abs/x.ts", Some("http://example.org:8080/abs/x.ts")),
            ("//cdn.example.org/x.ts", Some("http://cdn.example.org/x.ts")),
            ("https://cdn.example.org/x.ts#t", Some("https://cdn.example.org/x.ts")),
            ("?token=2", Some("http://example.org:8080/live/cam/index.m3u8?token=2")),
            ("", Some("http://example.org:8080/live/cam/index.m3u8?token=1")),
            ("a:b.ts", None),
            ("./a:b.ts", Some("http://example.org:8080/live/cam/a:b.ts")),
            ("file:///etc/passwd", None),
            ("data:,x", None),
        ] {
            assert_eq!(resolve(base, reference).as_deref(), expected, "{reference:?}");
        }
        assert_eq!(resolve("http://example.org", "a.ts").as_deref(), Some("http://example.org/a.ts"));
        assert_eq!(resolve("http://example.org?x", "a.ts").as_deref(), Some("http://example.org/a.ts"));
        assert_eq!(resolve("no url", "a.ts"), None);
        assert_eq!(resolve(base, &"a".repeat(9_000)), None);
    }
}

//! Cutting peers' text to a size and cleaning it for logs.

/// The longest prefix of at most `bytes_max` bytes that ends at a character's boundary.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.get(..end).unwrap_or("")
}

/// `text` cut to `bytes_max` bytes, control characters replaced, so that it cannot forge log lines.
pub(crate) fn printable(text: &str, bytes_max: usize) -> String {
    cut(text, bytes_max).chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_at_a_boundary_and_printable() {
        for (text, bytes_max, expected) in
            [("", 3, ""), ("abc", 3, "abc"), ("abcd", 3, "abc"), ("ab\u{f6}", 3, "ab"), ("\u{20ac}", 2, "")]
        {
            assert_eq!(cut(text, bytes_max), expected, "{text}");
        }
        assert_eq!(printable("a\nb\u{7f}\u{f6}", 9), "a\u{FFFD}b\u{FFFD}\u{f6}");
    }
}

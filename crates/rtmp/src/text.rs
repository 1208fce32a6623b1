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

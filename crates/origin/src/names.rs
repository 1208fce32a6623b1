//! Which texts may name an app or a stream: one rule for publishers, URLs and the configuration.

/// Longest name of an app's component or of a stream, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Apps that would collide with the playback listener's own paths.
pub const RESERVED_APPS: [&str; 5] = ["time", "assets", "t", "api", "embed"];

/// Extensions that a stream's name can't end in, because `/{app}/{stream}.{extension}` means an output of that stream.
const SERVED_EXTENSIONS: [&str; 6] = [".m3u8", ".mpd", ".flv", ".ts", ".mp4", ".m4s"];

/// What [`is_app`] asks for, as part of an error line.
pub const APP_RULE: &str = "not an app's name; allowed are 1 to 128 of A-Z, a-z, 0-9 and . _ ~ -, one / between two such parts, \
     not time, assets, t, api or embed in front";

/// What [`is_stream`] asks for, as part of an error line.
pub const STREAM_RULE: &str = "not a stream's name; allowed are 1 to 128 of A-Z, a-z, 0-9 and . _ ~ -, without an \
     extension of an output (.m3u8, .mpd, .flv, .ts, .mp4, .m4s) at the end";

/// One component: `[A-Za-z0-9._~-]{1,128}`, not `.` or `..` (RFC 3986's unreserved characters: never encoded in a URL).
pub fn is_component(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
        && text != "."
        && text != ".."
}

/// An app: one component, or two with a `/` between; the first is not reserved.
pub fn is_app(text: &str) -> bool {
    let (first, second) = match text.split_once('/') {
        Some((first, second)) => (first, Some(second)),
        None => (text, None),
    };
    is_component(first) && !RESERVED_APPS.contains(&first) && second.is_none_or(is_component)
}

/// A stream: one component without a served extension at its end.
pub fn is_stream(text: &str) -> bool {
    is_component(text) && !SERVED_EXTENSIONS.iter().any(|extension| text.ends_with(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_and_streams() {
        for (text, app, stream) in [
            ("live", true, true),
            ("a.b_c~d-9", true, true),
            ("live/eu", true, false),
            ("live/eu/1", false, false),
            ("live/", false, false),
            ("/live", false, false),
            ("", false, false),
            (".", false, false),
            ("..", false, false),
            ("live/..", false, false),
            ("...", true, true),
            ("time", false, true),
            ("api/v1", false, false),
            ("live/api", true, false),
            ("cam.ts", true, false),
            ("cam.m3u8", true, false),
            ("cam.tsx", true, true),
            ("caf\u{e9}", false, false),
            ("a b", false, false),
            ("a%20b", false, false),
        ] {
            assert_eq!((is_app(text), is_stream(text)), (app, stream), "{text:?}");
        }
        assert!(is_stream(&"x".repeat(128)) && !is_stream(&"x".repeat(129)));
    }
}

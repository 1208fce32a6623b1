//! Which stream an address means: the shapes of the field, and what is refused.

use headwater_rtmp::{NameError, StreamTarget};

const OBS: &str = "FMLE/3.0 (compatible; FMSc/1.0)";
const FFMPEG: &str = "FMLE/3.0 (compatible; Lavf59.27.100)";

fn resolve(
    app: &str,
    tc_url: &str,
    flash_ver: &str,
    name: &str,
) -> Result<(String, String, Option<String>), NameError> {
    let target = StreamTarget::resolve(app, tc_url, flash_ver, name)?;
    Ok((target.app, target.name, target.query.map(|query| query.expose().to_owned())))
}

/// Name; app, tcUrl, flashVer and publish name; expected app, stream and query.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    (&'static str, &'static str, &'static str),
);

#[test]
fn shapes() {
    let rows: [Row; 36] = [
        ("plain", "live", "rtmp://h/live", "", "key", ("live", "key", "")),
        ("port", "live", "rtmp://h:1935/live", "", "key", ("live", "key", "")),
        ("IPv6", "live", "rtmp://[::1]:1935/live", "", "key", ("live", "key", "")),
        ("rtmps", "live", "rtmps://h/live", "", "key", ("live", "key", "")),
        ("instance", "live/inst", "rtmp://h/live/inst", FFMPEG, "key", ("live/inst", "key", "")),
        ("instance in the name", "live", "rtmp://h/live", "", "inst/key", ("live/inst", "key", "")),
        ("trailing slash in tcUrl", "live", "rtmp://h/live/", OBS, "key", ("live", "key", "")),
        ("trailing slash in app", "live/", "", OBS, "key", ("live", "key", "")),
        ("trailing slashes", "live", "rtmp://h/live//", OBS, "key", ("live", "key", "")),
        ("trailing slash in the name", "live", "rtmp://h/live", OBS, "key/", ("live", "key", "")),
        ("query in the name", "live", "rtmp://h/live", "", "key?tok=x", ("live", "key", "tok=x")),
        (
            "query in the name, slash in it",
            "live",
            "rtmp://h/live",
            OBS,
            "key?sig=a/b",
            ("live", "key", "sig=a/b"),
        ),
        ("query in the app", "live?tok=x", "rtmp://h/live?tok=x", OBS, "key", ("live", "key", "tok=x")),
        (
            "query in the app, whoever",
            "live?tok=x",
            "rtmp://h/live?tok=x",
            "",
            "key",
            ("live", "key", "tok=x"),
        ),
        ("query in both", "live?a=1", "rtmp://h/live?a=1", OBS, "key?b=2", ("live", "key", "a=1&b=2")),
        ("query in app only, tcUrl missing", "live?tok=x", "", "", "key", ("live", "key", "tok=x")),
        (
            "slash in the query, cut by ffmpeg",
            "live/s?sig=a",
            "rtmp://h/live/s?sig=a",
            FFMPEG,
            "b",
            ("live", "s", "sig=a/b"),
        ),
        (
            "the same from someone unknown",
            "live/s?sig=a",
            "rtmp://h/live/s?sig=a",
            "",
            "b",
            ("live", "s", "sig=a/b"),
        ),
        (
            "two slashes in the query",
            "live/s?sig=a",
            "rtmp://h/live/s?sig=a",
            FFMPEG,
            "b/c?d",
            ("live", "s", "sig=a/b/c?d"),
        ),
        (
            "instance and query, server and key",
            "live/inst?t=1",
            "rtmp://h/live/inst?t=1",
            OBS,
            "key",
            ("live/inst", "key", "t=1"),
        ),
        ("path and empty key", "live/cam", "rtmp://h/live/cam", OBS, "", ("live", "cam", "")),
        (
            "path and empty key, trailing slash",
            "live/cam",
            "rtmp://h/live/cam/",
            OBS,
            "",
            ("live", "cam", ""),
        ),
        (
            "path with query and empty key",
            "live/cam",
            "rtmp://h/live/cam?key=S",
            OBS,
            "",
            ("live", "cam", "key=S"),
        ),
        (
            "path with query and empty key, anyone",
            "live/cam",
            "rtmp://h/live/cam?key=S",
            FFMPEG,
            "",
            ("live", "cam", "key=S"),
        ),
        ("instance, path and empty key", "a/b/c", "rtmp://h/a/b/c", OBS, "", ("a/b", "c", "")),
        ("everything in the key", "", "rtmp://h/", OBS, "live/cam", ("live", "cam", "")),
        (
            "key that is only a query",
            "live/cam",
            "rtmp://h/live/cam",
            OBS,
            "?key=S",
            ("live", "cam", "key=S"),
        ),
        ("tcUrl in quotes", "live", "\"rtmp://h/live\"", "", "key", ("live", "key", "")),
        ("app is a lie", "other", "rtmp://h/live", "", "key", ("live", "key", "")),
        ("tcUrl without a path", "live", "rtmp://h", "", "key", ("live", "key", "")),
        ("no URL at all in tcUrl", "live", "h/live", "", "key", ("live", "key", "")),
        ("mp4:", "live", "rtmp://h/live", "", "mp4:x.mp4", ("live", "x.mp4", "")),
        ("flv:", "live", "rtmp://h/live", "", "flv:x?t=1", ("live", "x", "t=1")),
        ("percent, once", "live", "rtmp://h/l%69ve", "", "a%7Eb?c=%2F", ("live", "a~b", "c=%2F")),
        (
            "every allowed character",
            "l-i_v.e~9",
            "rtmp://h/l-i_v.e~9",
            "",
            "Az09._~-",
            ("l-i_v.e~9", "Az09._~-", ""),
        ),
        (
            "Adobe's authentication",
            "live?authmod=adobe&user=u",
            "rtmp://h/live?authmod=adobe&user=u",
            OBS,
            "k",
            ("live", "k", "authmod=adobe&user=u"),
        ),
    ];
    for (name, app, tc_url, flash_ver, key, (expected_app, expected_name, query)) in rows {
        let query = (!query.is_empty()).then(|| query.to_owned());
        let expected = Ok((expected_app.to_owned(), expected_name.to_owned(), query));
        assert_eq!(resolve(app, tc_url, flash_ver, key), expected, "{name}");
    }
}

#[test]
fn refusals() {
    let long = "x".repeat(129);
    let rows = [
        ("no key", "rtmp://h/live", "", NameError::Missing),
        ("no key but a query", "rtmp://h/live?key=S", "", NameError::Missing),
        ("nothing", "rtmp://h/", "", NameError::Missing),
        ("three parts and a key", "rtmp://h/a/b/c", "d", NameError::TooManyParts),
        ("a URL as the key", "rtmp://h/live", "rtmp://h/live/cam", NameError::Url),
        ("empty part in the path", "rtmp://h/live//x", "key", NameError::EmptyPart),
        ("empty part in the key", "rtmp://h/live", "/key", NameError::EmptyPart),
        ("parent", "rtmp://h/live", "..", NameError::Dots),
        ("self", "rtmp://h/.", "key", NameError::Dots),
        ("encoded parent", "rtmp://h/live", "%2e%2E", NameError::Dots),
        ("encoded slash", "rtmp://h/live", "a%2Fb", NameError::Character),
        ("encoded twice", "rtmp://h/live", "a%252Fb", NameError::Character),
        ("cut percent", "rtmp://h/live", "a%2", NameError::Character),
        ("not hexadecimal", "rtmp://h/live", "a%+1", NameError::Character),
        ("not UTF-8", "rtmp://h/live", "a%ff", NameError::Character),
        ("space", "rtmp://h/live", "a b", NameError::Character),
        ("NUL", "rtmp://h/live", "a\0", NameError::Character),
        ("shell", "rtmp://h/live", "a;reboot", NameError::Character),
        ("letters beyond ASCII", "rtmp://h/live", "k\u{e4}se", NameError::Character),
        ("colon in the app", "rtmp://h/mp4:live", "key", NameError::Character),
        ("too long", "rtmp://h/live", long.as_str(), NameError::TooLong),
        ("too long an app", &format!("rtmp://h/{long}"), "key", NameError::TooLong),
    ];
    for (name, tc_url, key, expected) in rows {
        for flash_ver in ["", OBS] {
            assert_eq!(resolve("", tc_url, flash_ver, key), Err(expected), "{name}");
        }
        assert!(!expected.to_string().is_empty());
    }
    let fits = "x".repeat(128);
    assert_eq!(resolve("", "rtmp://h/live", "", &fits), Ok(("live".to_owned(), fits, None)));
}

#[test]
fn query_parameters() {
    let target = StreamTarget::resolve("live", "", "", "cam?a=1&key=s%2Bx&flag&key=2&bad=%ff").unwrap();
    let query = target.query.unwrap();
    for (name, expected) in [
        ("a", Some("1")),
        ("key", Some("s+x")),
        ("flag", Some("")),
        ("bad", None),
        ("none", None),
        ("1", None),
    ] {
        assert_eq!(query.parameter(name).as_deref(), expected, "{name}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let target = StreamTarget::resolve("live", "rtmp://h/live?tok=SECRET", "", "SECRET?key=SECRET").unwrap();
    let printed = format!("{target:?} {:?} {:#?}", target.query, target);
    assert!(!printed.contains("SECRET") && printed.contains("live"), "{printed}");
}

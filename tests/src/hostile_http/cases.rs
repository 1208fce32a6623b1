//! The table of hostile requests: what each sends, and what has to come back.

use std::fmt::Write as _;

/// Follows every case on the same connection. It is answered where the case leaves a connection in step, and only there.
pub const PROBE: &str = "GET /time HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n";

/// What a case's own requests could pretend to be.
const HIDDEN: &str = "GET /api/v1/live HTTP/1.1\r\nHost: hidden\r\n\r\n";

/// Refusals that depend on more than the URL.
const NEVER: &str = "no-store";
/// Refusals that depend on the URL alone.
const BRIEFLY: &str = "public, max-age=1";

/// A row of the table.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it is.
    pub name: String,
    /// The bytes, in front of [`PROBE`].
    pub sent: Vec<u8>,
    /// The answers' status codes.
    pub statuses: Vec<u16>,
    /// The connection goes on: the probe is answered. Else it is closed behind the last answer.
    pub goes_on: bool,
    /// `Cache-Control` of the last answer, when it is to be a certain one.
    pub cache_control: Option<&'static str>,
    /// Length of the last answer's body, when it is to be a certain one.
    pub length: Option<usize>,
}

/// What there is to be asked for.
#[derive(Debug, Clone)]
pub struct Targets {
    /// The path of a multivariant playlist.
    pub index: String,
    /// The path of a media playlist.
    pub media: String,
    /// The path of a segment.
    pub segment: String,
    /// Its length in bytes.
    pub segment_bytes: usize,
}

/// Every case.
pub fn all(targets: &Targets) -> Vec<Case> {
    let mut cases = header_sections(targets);
    cases.extend(request_lines(targets));
    cases.extend(content(targets));
    cases.extend(chunks(targets));
    cases.extend(ranges(targets));
    cases.extend(paths(targets));
    cases
}

/// The answer is `status`, and the connection goes on.
fn goes_on(name: &str, sent: impl Into<Vec<u8>>, status: u16) -> Case {
    Case {
        name: name.to_owned(),
        sent: sent.into(),
        statuses: vec![status],
        goes_on: true,
        cache_control: None,
        length: None,
    }
}

/// The answer is `status`, and the last one.
fn closes(name: &str, sent: impl Into<Vec<u8>>, status: u16) -> Case {
    Case { goes_on: false, ..goes_on(name, sent, status) }
}

/// It can't be read as a request.
fn refused(name: &str, sent: impl Into<Vec<u8>>, status: u16) -> Case {
    Case { cache_control: Some(NEVER), ..closes(name, sent, status) }
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// Header sections that are too large, too long or broken.
fn header_sections(targets: &Targets) -> Vec<Case> {
    let index = targets.index.as_str();
    let with = |fields: &str| get(index, fields);
    let many = |count: usize, field: &str| with(&format!("{field}\r\n").repeat(count));
    let raw = |field: &[u8]| {
        let start = format!("GET {index} HTTP/1.1\r\nHost: a\r\n");
        [start.as_bytes(), field, b"\r\n\r\n"].concat()
    };
    vec![
        goes_on("a field of 15 KiB", with(&format!("X: {}\r\n", "x".repeat(15 << 10))), 200),
        refused("a field of 64 KiB", with(&format!("X: {}\r\n", "x".repeat(64 << 10))), 431),
        refused("a field of 512 KiB", with(&format!("X: {}\r\n", "x".repeat(512 << 10))), 431),
        refused("a name of 64 KiB", with(&format!("{}: x\r\n", "X".repeat(64 << 10))), 431),
        refused("64 KiB in all", many(64, &format!("X: {}", "x".repeat(1_000))), 431),
        goes_on("100 lines", many(99, "X: y"), 200),
        refused("101 lines", many(100, "X: y"), 431),
        refused("10,000 lines", many(10_000, "X: y"), 431),
        refused(
            "10,000 names",
            with(&(0..10_000).fold(String::new(), |mut all, n| {
                let _ = write!(all, "X-{n}: y\r\n");
                all
            })),
            431,
        ),
        refused("a space in a name", with("X Y: z\r\n"), 400),
        refused("a space behind a name", with("X : z\r\n"), 400),
        refused("a tab behind a name", with("X\t: z\r\n"), 400),
        refused("NUL in a name", raw(b"X\0Y: z"), 400),
        refused("NUL in a value", raw(b"X: y\0z"), 400),
        refused("a control character in a value", raw(b"X: y\x01z"), 400),
        refused("DEL in a value", raw(b"X: y\x7Fz"), 400),
        refused("CR in a name", raw(b"X\rY: z"), 400),
        refused("CR in a value", raw(b"X: y\rZ: z"), 400),
        refused("a folded line", with("X: y\r\n z\r\n"), 400),
        refused("a folded first line", format!("GET {index} HTTP/1.1\r\n Host: a\r\n\r\n"), 400),
        refused("no colon", with("XY\r\n"), 400),
        refused("no name", with(": y\r\n"), 400),
        goes_on("no value", with("X:\r\n"), 200),
        refused("a name beyond ASCII", raw("X-Ä: y".as_bytes()), 400),
        goes_on("a value beyond ASCII", raw("X: ä\u{30D5}".as_bytes()), 200),
        goes_on("a value that is not UTF-8", raw(b"Range: bytes=\xC3\x28\xFF-"), 200),
        goes_on("an If-None-Match that is not UTF-8", raw(b"If-None-Match: \"\xFF\xFE\""), 200),
        // RFC 9112 2.2: a lone LF may end a line; what ends where is the same to everybody.
        goes_on("lone LF", format!("GET {index} HTTP/1.1\nHost: a\n\n"), 200),
        refused("lone CR", format!("GET {index} HTTP/1.1\rHost: a\r\r"), 400),
        Case {
            cache_control: Some(NEVER),
            ..goes_on("no Host", format!("GET {index} HTTP/1.1\r\n\r\n"), 400)
        },
        Case { cache_control: Some(NEVER), ..goes_on("two Hosts", with("Host: b\r\n"), 400) },
        Case {
            cache_control: Some(NEVER),
            ..goes_on("a Host with a path", format!("GET {index} HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400)
        },
        Case {
            cache_control: Some(NEVER),
            ..goes_on("a Host with a user", format!("GET {index} HTTP/1.1\r\nHost: a@b\r\n\r\n"), 400)
        },
        goes_on(
            "HTTP/2 by upgrade",
            with("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
            200,
        ),
        goes_on(
            "a WebSocket",
            with("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
            200,
        ),
        goes_on(
            "an Accept-Encoding of 8 KiB",
            with(&format!("Accept-Encoding: {}\r\n", "gzip;q=0.1,".repeat(700))),
            200,
        ),
        goes_on(
            "an If-None-Match of 8 KiB",
            with(&format!("If-None-Match: {}\r\n", "W/\"\",".repeat(1_300))),
            200,
        ),
        Case {
            cache_control: Some(NEVER),
            ..goes_on("an If-Match of another", with("If-Match: \"x\"\r\n"), 412)
        },
    ]
}

/// Request lines, and protocols that are not HTTP/1.1.
fn request_lines(targets: &Targets) -> Vec<Case> {
    let index = targets.index.as_str();
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    let hello: Vec<u8> = [&[0x16, 3, 1, 0, 0xC8, 1, 0, 0, 0xC4, 3, 3][..], &[0x5A; 194]].concat();
    vec![
        refused("a target of 100 KiB", line(&format!("GET /{} HTTP/1.1", "x".repeat(100 << 10))), 431),
        goes_on("a query of 8 KiB", line(&format!("GET {index}?{} HTTP/1.1", "x".repeat(8 << 10))), 200),
        goes_on("a method of 1 KiB", line(&format!("{} / HTTP/1.1", "X".repeat(1 << 10))), 405),
        refused("a method of 20 KiB", line(&format!("{} / HTTP/1.1", "X".repeat(20 << 10))), 431),
        refused("a method that is no token", line("G@T / HTTP/1.1"), 400),
        goes_on("a method in lower case", line(&format!("get {index} HTTP/1.1")), 405),
        goes_on("TRACE", line("TRACE / HTTP/1.1"), 405),
        refused("HTTP/0.9", "GET /\r\n", 400),
        refused("HTTP/1.2", line(&format!("GET {index} HTTP/1.2")), 400),
        refused("HTTP/2.0 in a line", line(&format!("GET {index} HTTP/2.0")), 400),
        refused("http/1.1", line(&format!("GET {index} http/1.1")), 400),
        refused("no HTTP", line(&format!("GET {index} FTP/1.1")), 400),
        refused("more behind the version", line(&format!("GET {index} HTTP/1.1 x")), 400),
        refused("two spaces", line(&format!("GET  {index} HTTP/1.1")), 400),
        refused("tabs", line(&format!("GET\t{index}\tHTTP/1.1")), 400),
        refused("a space in the target", line("GET /live/a b HTTP/1.1"), 400),
        refused("a response", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400),
        goes_on("empty lines before", format!("\r\n\r\n{}", get(index, "")), 200),
        goes_on("absolute form", line(&format!("GET http://a{index} HTTP/1.1")), 200),
        goes_on(
            "absolute form, another host",
            line(&format!("GET http://other.example:81{index} HTTP/1.1")),
            200,
        ),
        goes_on("absolute form without a path", line("GET http://other.example HTTP/1.1"), 200),
        goes_on("authority form", line("GET other.example:80 HTTP/1.1"), 400),
        goes_on("CONNECT", line("CONNECT other.example:80 HTTP/1.1"), 405),
        goes_on("GET with an asterisk", line("GET * HTTP/1.1"), 400),
        goes_on("OPTIONS with an asterisk", line("OPTIONS * HTTP/1.1"), 204),
        refused("no leading slash", line("GET live/cam HTTP/1.1"), 400),
        refused(
            "almost HTTP/2's beginning",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\0\0\0\x04\0\0\0\0\0".to_vec(),
            400,
        ),
        refused("half of HTTP/2's beginning", "PRI * HTTP/2.0\r\n\r\n", 400),
        refused("TLS", hello, 400),
        refused("RTMP", [&[3][..], &[0; 1_536]].concat(), 400),
        refused("SSH", "SSH-2.0-OpenSSH_9.9\r\n", 400),
        refused("RTSP", "OPTIONS rtsp://a/live RTSP/1.0\r\nCSeq: 1\r\n\r\n", 400),
        refused("zeros", vec![0; 4_096], 400),
        refused("ones", vec![0xFF; 4_096], 400),
        refused("behind a good request", get(index, "") + "GET /\r\n\r\n", 400).after(200),
        goes_on("two requests in one packet", get(index, "") + &get(index, ""), 200).after(200),
    ]
}

impl Case {
    /// With an answer of that status in front.
    fn after(mut self, status: u16) -> Case {
        self.statuses.insert(0, status);
        self
    }
}

/// Content where none has a meaning, and lengths that two readers could read in two ways. What is answered is the last answer:
/// a request in the content, or behind it, never is one.
fn content(targets: &Targets) -> Vec<Case> {
    let index = targets.index.as_str();
    let request = |method: &str, fields: &str, content: &str| {
        format!("{method} {index} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{content}{HIDDEN}")
    };
    let length = |value: &str| request("GET", &format!("Content-Length: {value}"), "hello");
    let whole = HIDDEN.len();
    vec![
        closes("a request as GET's content", request("GET", &format!("Content-Length: {whole}"), ""), 200),
        closes("a request as HEAD's content", request("HEAD", &format!("Content-Length: {whole}"), ""), 200),
        closes(
            "a request as OPTIONS' content",
            request("OPTIONS", &format!("Content-Length: {whole}"), ""),
            204,
        ),
        closes("a request as POST's content", request("POST", &format!("Content-Length: {whole}"), ""), 405),
        closes("a request behind GET's content", length("5"), 200),
        closes("content that never ends", length("1000000000000"), 200),
        closes("content of 512 KiB", request("PUT", "Content-Length: 524288", &"x".repeat(512 << 10)), 405),
        closes("Content-Length twice, the same", length("5\r\nContent-Length: 5"), 200),
        refused("Content-Length twice, another", length("5\r\nContent-Length: 6"), 400),
        refused("Content-Length twice, none and one", length("0\r\nContent-Length: 5"), 400),
        refused("a negative length", length("-1"), 400),
        refused("a length with a sign", length("+5"), 400),
        refused("a length in hexadecimal", length("0x5"), 400),
        refused("a list of lengths", length("5, 5"), 400),
        refused("a list of different lengths", length("5, 6"), 400),
        refused("two numbers", length("5 6"), 400),
        refused("an empty length", length(""), 400),
        refused("a length that is no number", length("five"), 400),
        refused("a length of 2^64", length("18446744073709551616"), 400),
        refused("a length of 2^64 - 1", length("18446744073709551615"), 431),
        refused("a length behind a space", request("GET", "Content-Length : 5", "hello"), 400),
        refused("a folded length", length("\r\n 5"), 400),
        closes("100-continue", request("GET", "Expect: 100-continue\r\nContent-Length: 5", "hello"), 200),
        closes(
            "100-continue that waits",
            request("POST", "Expect: 100-continue\r\nContent-Length: 5", ""),
            405,
        ),
        goes_on("100-continue without content", get(index, "Expect: 100-continue\r\n"), 200),
        goes_on("another expectation", get(index, "Expect: the-unexpected\r\n"), 200),
        goes_on("no content, said twice", get(index, "Content-Length: 0\r\nContent-Length: 0\r\n"), 200),
        closes(
            "HTTP/1.0 with content",
            format!(
                "GET {index} HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello{HIDDEN}"
            ),
            200,
        ),
    ]
}

/// Transfer codings: chunked is taken as what it is, and ends the connection; all else is refused.
fn chunks(targets: &Targets) -> Vec<Case> {
    let index = targets.index.as_str();
    let coded = |fields: &str, content: &str| {
        format!("GET {index} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{content}{HIDDEN}")
    };
    let chunked = |content: &str| coded("Transfer-Encoding: chunked", content);
    let coding = |value: &str| coded(&format!("Transfer-Encoding: {value}"), "0\r\n\r\n");
    vec![
        closes("chunked", chunked("5\r\nhello\r\n0\r\n\r\n"), 200),
        closes("chunked behind more space", coding("  chunked\t"), 200),
        closes("CHUNKED", coding("CHUNKED"), 200),
        closes("gzip, chunked", coding("gzip, chunked"), 200),
        closes("chunked, chunked", coding("chunked, chunked"), 200),
        closes("chunked in two lines", coding("chunked\r\nTransfer-Encoding: chunked"), 200),
        refused("xchunked", coding("xchunked"), 400),
        refused("chunkedx", coding("chunkedx"), 400),
        refused("a quoted coding", coding("\"chunked\""), 400),
        refused("a coding with a parameter", coding("chunked;q=1"), 400),
        refused("chunked, identity", coding("chunked, identity"), 400),
        refused("chunked and identity in two lines", coding("chunked\r\nTransfer-Encoding: identity"), 400),
        refused("identity", coding("identity"), 400),
        refused("gzip", coding("gzip"), 400),
        refused("an empty coding", coding(""), 400),
        refused("a folded coding", coding("\r\n chunked"), 400),
        refused("a vertical tab before the coding", coding("\u{B}chunked"), 400),
        refused("a space behind the name", coded("Transfer-Encoding : chunked", "0\r\n\r\n"), 400),
        refused(
            "chunked in HTTP/1.0",
            format!("GET {index} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"),
            400,
        ),
        closes(
            "a length, then chunked",
            coded("Content-Length: 4\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
            200,
        ),
        closes(
            "chunked, then a length",
            coded("Transfer-Encoding: chunked\r\nContent-Length: 4", "0\r\n\r\n"),
            200,
        ),
        closes(
            "a length that hides what chunks show",
            coded(
                &format!("Content-Length: {}\r\nTransfer-Encoding: chunked", 5 + HIDDEN.len()),
                "0\r\n\r\n",
            ),
            200,
        ),
        // Another name is another field: what follows are requests, and not good ones.
        refused("an underscore in the name", coded("Transfer_Encoding: chunked", "0\r\n\r\n"), 400)
            .after(200),
        closes(
            "an extension of 64 KiB",
            chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(64 << 10))),
            200,
        ),
        closes("extensions of every chunk", chunked(&"1;x=y\r\nz\r\n".repeat(10_000)), 200),
        closes("a lone LF in an extension", chunked("5;\nhello\r\n0\r\n\r\n"), 200),
        closes("a chunk of 2^64 - 1", chunked("ffffffffffffffff\r\n"), 200),
        closes("a chunk of 17 digits", chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"), 200),
        closes(
            "a chunk size of 64 KiB",
            chunked(&format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(64 << 10))),
            200,
        ),
        closes("a negative chunk", chunked("-5\r\nhello\r\n0\r\n\r\n"), 200),
        closes("a chunk size with a prefix", chunked("0x5\r\nhello\r\n0\r\n\r\n"), 200),
        closes("an empty chunk size", chunked("\r\nhello\r\n0\r\n\r\n"), 200),
        closes("a chunk longer than it says", chunked("2\r\nhello\r\n0\r\n\r\n"), 200),
        closes("10,000 trailers", chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(10_000))), 200),
        closes("a trailer of 512 KiB", chunked(&format!("0\r\nX: {}\r\n\r\n", "y".repeat(512 << 10))), 200),
        closes("chunks without an end", chunked(&"1\r\nx\r\n".repeat(50_000)), 200),
    ]
}

/// Range headers; `targets.segment` has more than 1,000 bytes.
fn ranges(targets: &Targets) -> Vec<Case> {
    let bytes = targets.segment_bytes;
    let whole = |name: &str, value: &str| {
        let sent = get(&targets.segment, &format!("Range: {value}\r\n"));
        Case { length: Some(bytes), ..goes_on(&format!("range: {name}"), sent, 200) }
    };
    let part = |name: &str, value: &str, length: usize| Case {
        statuses: vec![206],
        length: Some(length),
        ..whole(name, value)
    };
    let none = |name: &str, value: &str| Case {
        statuses: vec![416],
        cache_control: Some(NEVER),
        length: None,
        ..whole(name, value)
    };
    let list = |range: &str, count: usize| format!("bytes={}", vec![range; count].join(","));
    let mut cases = vec![
        whole("1,000 ranges", &list("0-0", 1_000)),
        whole("1,000 overlapping ranges", &list("0-", 1_000)),
        whole("two that overlap", "bytes=0-9,5-14"),
        whole("reversed", "bytes=9-0"),
        whole("another unit", "items=0-9"),
        whole("no unit", "0-9"),
        whole("signs", "bytes=+0-+9"),
        whole("negative", "bytes=--9"),
        whole("fractions", "bytes=0.5-9"),
        whole("hexadecimal", "bytes=0x0-0x9"),
        whole("spaces inside", "bytes=0 -9"),
        whole("nothing", "bytes="),
        whole("a dash", "bytes=-"),
        whole("8 KiB of dashes", &format!("bytes={}", "-".repeat(8 << 10))),
        part("8 KiB of digits", &format!("bytes=0-{}", "9".repeat(8 << 10)), bytes),
        part("to 2^64", "bytes=0-18446744073709551616", bytes),
        part("to 2^63", "bytes=1-9223372036854775808", bytes - 1),
        part("a suffix of 2^64", "bytes=-18446744073709551616", bytes),
        part("one byte", "bytes=0-0", 1),
        part("the last byte", "bytes=-1", 1),
        none("a suffix of 0", "bytes=-0"),
        none("from 2^64", "bytes=18446744073709551616-"),
        none("from 2^64 - 1", "bytes=18446744073709551615-18446744073709551615"),
        none("behind the end", &format!("bytes={bytes}-")),
    ];
    let twice = get(&targets.segment, "Range: bytes=0-0\r\nRange: bytes=5-5\r\n");
    cases.push(Case { length: Some(bytes), ..goes_on("range: two headers", twice, 200) });
    for (name, value) in
        [("one byte", "bytes=0-0"), ("behind the end", "bytes=999999999-"), ("many", &list("0-0", 1_000))]
    {
        let sent = get(&targets.media, &format!("Range: {value}\r\n"));
        cases.push(goes_on(&format!("range of a playlist: {name}"), sent, 200));
    }
    cases
}

/// Paths that try to be other paths.
fn paths(targets: &Targets) -> Vec<Case> {
    let stream = targets.index.strip_suffix("/index.m3u8").unwrap_or_default();
    let below = |rest: &str| format!("{stream}{rest}");
    let bad = [
        "/../etc/passwd".to_owned(),
        "/../../../../../../etc/passwd".to_owned(),
        "/live/../../etc/passwd".to_owned(),
        "/..".to_owned(),
        "/.".to_owned(),
        "/./etc/passwd".to_owned(),
        "/%2e%2e/etc/passwd".to_owned(),
        "/%2E./etc/passwd".to_owned(),
        "/..%2fetc%2fpasswd".to_owned(),
        "/%2e%2e%2fetc/passwd".to_owned(),
        "/live%2fcam/index.m3u8".to_owned(),
        "/..%5c..%5cwindows%5cwin.ini".to_owned(),
        "/..\\..\\windows\\win.ini".to_owned(),
        "/live\\cam\\index.m3u8".to_owned(),
        "/%00".to_owned(),
        below("/index.m3u8%00"),
        below("/index.m3u8%00.ts"),
        below("/index.m3u8%0d%0aSet-Cookie:%20a=b"),
        below("/%0aindex.m3u8"),
        below("/index.m3u8%7f"),
        below("/./index.m3u8"),
        below("/../") + "cam/index.m3u8",
        below("/video/init-../../init-x.mp4"),
        // Overlong forms of "." and "/", a surrogate, a byte order mark's half, Latin-1.
        "/%c0%ae%c0%ae/etc/passwd".to_owned(),
        "/%e0%80%ae%e0%80%ae%c0%af".to_owned(),
        "/%f0%80%80%af".to_owned(),
        "/%ed%a0%80".to_owned(),
        "/%ff".to_owned(),
        "/caf%e9".to_owned(),
        "/%".to_owned(),
        "/%2".to_owned(),
        "/%zz".to_owned(),
        "/%u002e%u002e".to_owned(),
        "/live/%%32%65%%32%65/passwd".to_owned(),
        "/assets/../page.html".to_owned(),
        "/assets/%2e%2e/%2e%2e/etc/passwd".to_owned(),
        "/assets/..%2f..%2fetc%2fpasswd".to_owned(),
        format!("/{}", "x".repeat(8 << 10)),
        format!("/live/{}", "%41".repeat(700)),
        below(&format!("/video/init-{}.mp4", "a".repeat(4 << 10))),
        format!("/{}etc/passwd", "../".repeat(500)),
        "http://other.example/../etc/passwd".to_owned(),
        "http://other.example/%2e%2e/etc/passwd".to_owned(),
    ];
    let missing = [
        "/etc/passwd".to_owned(),
        "/proc/self/environ".to_owned(),
        "/proc/self/maps".to_owned(),
        "/dev/zero".to_owned(),
        "/headwater.toml".to_owned(),
        "/.env".to_owned(),
        "/.git/config".to_owned(),
        "/...".to_owned(),
        "/.../passwd".to_owned(),
        "//etc/passwd".to_owned(),
        "///".to_owned(),
        "/%252e%252e/etc/passwd".to_owned(),
        "/live/%252e%252e%252fpasswd".to_owned(),
        format!("/{}", &targets.index),
        format!("/x{}", &targets.index),
        below("//index.m3u8"),
        below("/index.m3u8/"),
        below("/index.m3u8/index.m3u8"),
        below("/index.m3u8;v=1"),
        below(";v=1/index.m3u8"),
        below("/index.m3u8%3fv=1"),
        below("/index.m3u8%23v"),
        below("/INDEX.M3U8"),
        below("/index.m3u8."),
        below("/index.m3u8%20"),
        below("/index"),
        below("/"),
        below(""),
        below("?/index.m3u8"),
        below("/ts/"),
        below("/ts/-1.ts"),
        below("/ts/+1.ts"),
        below("/ts/01.ts"),
        below("/ts/0x1.ts"),
        below("/ts/1e9.ts"),
        below("/ts/1.0.ts"),
        below("/ts/.ts"),
        below("/ts/99999999999999999999999999999999.ts"),
        below("/ts/18446744073709551615.ts"),
        below("/ts/\u{661}.ts"),
        below("/video/init-.mp4"),
        below("/video/init-%.mp4".replace('%', "0").as_str()),
        "/live/caf%c3%a9/index.m3u8".to_owned(),
        "/live/caf\u{e9}/index.m3u8".to_owned(),
        "/live/%ef%bc%8e%ef%bc%8e/passwd".to_owned(),
        "/live/%e2%80%ae/index.m3u8".to_owned(),
        "/live/a%20b/index.m3u8".to_owned(),
        "/live/<script>/index.m3u8".replace(['<', '>'], "\""),
        "/live/$(id)/index.m3u8".to_owned(),
        "/live/'OR'1'='1/index.m3u8".to_owned(),
        "/assets".to_owned(),
        "/assets/".to_owned(),
        "/assets//etc/passwd".to_owned(),
        "/assets/page.html".to_owned(),
        "/api/v1/streams".to_owned(),
        "/api/v1/status".to_owned(),
        "/api/v1/live/".to_owned(),
        "/healthz".to_owned(),
        "/time/index.m3u8".to_owned(),
        "http://other.example/etc/passwd".to_owned(),
    ];
    let name = |path: &str| format!("path {}", path.chars().take(60).collect::<String>());
    let bad = bad.iter().map(|path| (path, 400));
    let missing = missing.iter().map(|path| (path, 404));
    let mut cases: Vec<Case> = bad
        .chain(missing)
        .map(|(path, status)| Case {
            cache_control: Some(BRIEFLY),
            ..goes_on(&name(path), get(path, ""), status)
        })
        .collect();
    // What can't stand in a request line at all.
    for path in ["/\0", "/live/\u{1}", "/live/`id`", "/live/<b>", "/live/\u{7f}"] {
        cases.push(refused(&name(path), get(path, ""), 400));
    }
    // A query is nobody's path, and of no consequence.
    for path in ["/?/../../etc/passwd", "/?file=../../etc/passwd", &below("/index.m3u8?x=%00%zz/..")] {
        cases.push(goes_on(&name(path), get(path, ""), 200));
    }
    cases
}

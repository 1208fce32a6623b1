//! The last words to a connection that ends by our wish: what hyper can't read as a request is answered like everything else,
//! and a close leaves the peer the time to read it.

use std::sync::LazyLock;
use std::time::Duration;

use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::response::{NO_STORE, Reply};
use crate::transport::Transport;

/// How long a peer may take to read the last words and close. What it still sends would turn an earlier close into a reset,
/// which destroys words that were not read yet (RFC 9112 9.6). Several round trips to the other side of the world.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// What is read, and thrown away, of what a peer still sends meanwhile: heads that are some times too large, small bodies.
pub(super) const LINGER_BYTES_MAX: usize = 1 << 20;

/// Bytes thrown away at a time.
pub(super) const SCRAP_BYTES: usize = 8 << 10;

/// What a connection beyond the limits is told.
pub(super) static TOO_MANY_CONNECTIONS: LazyLock<Vec<u8>> =
    LazyLock::new(|| Reply::unavailable("too many connections\n").into_last_words(None));

/// Begins an answer that hyper gives by itself, because what came is no request. All other answers come from the service.
pub(super) const VERDICT_BEGINS: &[u8] = b"HTTP/1.1 4";

/// An answer that hyper gives by itself with all that our answers say: without CORS headers a player could not read the status.
/// `None` when it is no such answer.
pub(super) fn in_our_words(verdict: &[u8]) -> Option<Vec<u8>> {
    let mut lines = std::str::from_utf8(verdict).ok()?.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let date = lines.find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("date").then_some(value)
    });
    Some(refusal(status).into_last_words(date))
}

/// Never cached: it is about the request's bytes, of which a cache's key holds the URL only. A cache that forwards a broken
/// header would serve the refusal to everybody who asks for that URL.
fn refusal(status: StatusCode) -> Reply {
    let line = match status {
        StatusCode::URI_TOO_LONG => "the request target is too long\n",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            "the request's head is larger than 16 KiB or has more than 100 lines, or a length in it is too large\n"
        }
        _ => "this is no HTTP/1.1 request, and no HTTP/2\n",
    };
    Reply::error(status, NO_STORE, line)
}

/// Says `words`, then closes so that the peer can read them and everything before them. Bounded in time and bytes.
pub(super) async fn farewell(mut stream: Transport, words: &[u8]) {
    let leave = async {
        stream.write_all(words).await.ok()?;
        stream.shutdown().await.ok()?;
        let mut scrap = vec![0; SCRAP_BYTES];
        let mut total = 0_usize;
        while total < LINGER_BYTES_MAX {
            match stream.read(&mut scrap).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => total = total.saturating_add(bytes),
            }
        }
        Some(())
    };
    let _ = tokio::time::timeout(LINGER, leave).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_in_our_words() {
        let hypers = |status: &str| {
            format!(
                "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\
                 date: Sat, 31 Jan 2026 12:00:00 GMT\r\n\r\n"
            )
        };
        for (status, says) in [
            ("400 Bad Request", "this is no HTTP/1.1 request, and no HTTP/2\n"),
            ("414 URI Too Long", "the request target is too long\n"),
            (
                "431 Request Header Fields Too Large",
                "the request's head is larger than 16 KiB or has more than 100 lines, or a length in it is too large\n",
            ),
        ] {
            let words = String::from_utf8(in_our_words(hypers(status).as_bytes()).unwrap()).unwrap();
            let (head, body) = words.split_once("\r\n\r\n").unwrap();
            assert_eq!(body, says, "{status}");
            let mut lines: Vec<&str> = head.split("\r\n").collect();
            assert_eq!(lines.remove(0), format!("HTTP/1.1 {status}"));
            lines.sort_unstable();
            assert_eq!(
                lines,
                [
                    "access-control-allow-origin: *",
                    "access-control-expose-headers: Content-Length, Content-Range, Date, Age, ETag, Server-Timing, \
                     CMSD-Static, CMSD-Dynamic",
                    "cache-control: no-store",
                    "connection: close",
                    &format!("content-length: {}", says.len()),
                    "content-type: text/plain; charset=utf-8",
                    "cross-origin-resource-policy: cross-origin",
                    "date: Sat, 31 Jan 2026 12:00:00 GMT",
                    "x-content-type-options: nosniff",
                ],
                "{status}"
            );
        }
        for no_verdict in
            [&b""[..], b"HTTP/1.1 ", b"HTTP/1.1 4", b"HTTP/2 400 \r\n\r\n", b"\xFF", b"HTTP/1.1 4\xC3\xA9"]
        {
            assert_eq!(in_our_words(no_verdict), None, "{no_verdict:?}");
        }
        // Without a date, ours has none either.
        let words = in_our_words(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        assert!(!String::from_utf8(words).unwrap().contains("\r\ndate:"));
    }

    #[test]
    fn words_that_are_the_same_for_all() {
        let text = String::from_utf8(TOO_MANY_CONNECTIONS.clone()).unwrap();
        for line in ["HTTP/1.1 503 Service Unavailable", "retry-after: 1", "cache-control: no-store"] {
            assert!(text.split("\r\n").any(|own| own == line), "{line} in {text}");
        }
    }
}

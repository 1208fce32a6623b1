//! How many connections there are, how long each may rest or stall, and how they end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_origin::config::Config;
use headwater_packager::{Snapshot, State, TsSegment};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{connect, eventually, get, read_response, request, within};
use super::{FIRST, MEDIA, assert_common, live_server, server, snapshot};

#[tokio::test]
async fn connections_are_limited() {
    let server = live_server(|config| config.http.max_connections_per_address = 2).await;
    let (first, _second) = (connect(server.address).await, connect(server.address).await);
    eventually("two connections", || server.context.status().connections == 2).await;
    let mut third = connect(server.address).await;
    let refused = within(read_response(&mut third, false)).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"));
    assert_eq!(server.context.status().connections_refused, 1);
    drop(first);
    eventually("room again", || server.context.status().connections == 1).await;
    assert_eq!(get(server.address, "/live/cam.m3u8", "").await.status, 200);
}

#[tokio::test]
async fn keep_alive_pipelining_and_old_clients() {
    let server = live_server(|_| {}).await;
    let mut stream = connect(server.address).await;
    let mut requests = Vec::new();
    let paths = ["/live/cam.m3u8", "/live/cam/ts/1769860800.ts", "/nothing", "/live/cam/ts/media.m3u8"];
    for path in paths {
        requests.extend(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes());
    }
    stream.write_all(&requests).await.unwrap();
    for (path, status) in paths.into_iter().zip([200, 200, 404, 200]) {
        let response = within(read_response(&mut stream, false)).await;
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.header("connection"), None, "{path}: kept alive");
    }
    // The same, one byte at a time.
    for byte in b"GET /live/cam/ts/media.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(within(read_response(&mut stream, false)).await.body, MEDIA.as_bytes());

    for (name, text, status, closes) in [
        ("HTTP/1.0 without Host", "GET /live/cam/ts/media.m3u8 HTTP/1.0\r\n\r\n", 200, true),
        (
            "HTTP/1.0 that keeps alive",
            "GET /live/cam/ts/media.m3u8 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            200,
            false,
        ),
        (
            "Connection: close",
            "GET /live/cam/ts/media.m3u8 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            200,
            true,
        ),
        ("absolute form", "GET http://a/live/cam/ts/media.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n", 200, false),
        ("an empty Host", "GET /live/cam/ts/media.m3u8 HTTP/1.1\r\nHost:\r\n\r\n", 200, false),
        ("a Host that is none", "GET /live/cam/ts/media.m3u8 HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, false),
        ("no Host", "GET /live/cam/ts/media.m3u8 HTTP/1.1\r\n\r\n", 400, false),
        ("two Hosts", "GET /live/cam/ts/media.m3u8 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, false),
    ] {
        let mut stream = connect(server.address).await;
        stream.write_all(text.as_bytes()).await.unwrap();
        let response = within(read_response(&mut stream, false)).await;
        assert_eq!(response.status, status, "{name}");
        assert_common(name, &response);
        if closes {
            assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0, "{name}: closed");
        } else {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            assert_eq!(within(read_response(&mut stream, false)).await.status, 200, "{name}: goes on");
        }
    }
}

#[tokio::test]
async fn heads_that_are_too_large_or_no_http() {
    let server = live_server(|_| {}).await;
    let mut refused = 0;
    let header =
        |bytes: usize| format!("GET /live/cam.m3u8 HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(bytes));
    for (name, bytes, status) in [
        ("15 KiB", header(15 << 10).into_bytes(), 200),
        ("17 KiB", header(17 << 10).into_bytes(), 431),
        ("half a megabyte of one header", header(1 << 19).into_bytes(), 431),
        (
            "a thousand headers",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(1_000)).into_bytes(),
            431,
        ),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03rest\r\n\r\n".to_vec(), 400),
        ("an RTMP handshake", [[3].as_slice(), &[0; 1_536]].concat(), 400),
        ("a bare line", b"\x00\x00\x00\r\n\r\n".to_vec(), 400),
        ("almost HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\0\0\0\0\x04\0\0\0\0\0".to_vec(), 400),
        (
            "an unknown transfer coding",
            b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n".to_vec(),
            400,
        ),
    ] {
        let mut stream = connect(server.address).await;
        // Everything is taken, even when the refusal is out after its first bytes: a reset would destroy it.
        within(stream.write_all(&bytes)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let response = within(read_response(&mut stream, false)).await;
        assert_eq!(response.status, status, "{name}");
        if status == 200 {
            continue;
        }
        assert_eq!(response.header("cache-control"), Some("no-store"), "{name}");
        assert_eq!(response.header("connection"), Some("close"), "{name}");
        assert_common(name, &response);
        assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0, "{name}: closed");
        refused += 1;
    }
    eventually("every connection gone", || server.context.status().connections == 0).await;
    assert_eq!(server.context.status().closed_malformed, refused);
}

/// What comes behind answers that are still on their way never changes them.
#[tokio::test]
async fn a_refusal_behind_answers() {
    let server = server(|_| {}).await;
    server.registry.publish_for_test("live", "cam", large());
    let path = format!("/live/cam/ts/{FIRST}.ts");
    let mut stream = connect(server.address).await;
    let text = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(2) + "GET /\r\n\r\n";
    stream.write_all(text.as_bytes()).await.unwrap();
    for _ in 0..2 {
        let response = within(read_response(&mut stream, false)).await;
        assert_eq!((response.status, response.body.len()), (200, 64 << 20));
    }
    let refusal = within(read_response(&mut stream, false)).await;
    assert_eq!((refusal.status, refusal.header("cache-control")), (400, Some("no-store")));
    assert_common("behind answers", &refusal);
    assert!(closed(&mut stream).await.is_empty());
}

/// A request with content is answered as any other, and is the last one: what follows is neither read nor answered.
#[tokio::test]
async fn content_ends_the_connection() {
    let server = live_server(|_| {}).await;
    let hidden = "GET /live/cam/ts/media.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n";
    let of_length = |length: usize| format!("Content-Length: {length}\r\n\r\n{hidden}");
    for (name, method, rest, status) in [
        ("a request as content", "GET", of_length(hidden.len()), 200),
        ("content that ends early", "GET", of_length(3), 200),
        ("with HEAD", "HEAD", of_length(hidden.len()), 200),
        ("with OPTIONS", "OPTIONS", of_length(hidden.len()), 204),
        ("with POST", "POST", of_length(hidden.len()), 405),
        ("content that never comes whole", "GET", of_length(1 << 30), 200),
        ("more than is read", "GET", of_length(1 << 30) + &"x".repeat(512 << 10), 200),
        ("chunks", "GET", format!("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"), 200),
        (
            "chunks and a length",
            "GET",
            format!("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
            200,
        ),
        ("a broken chunk", "GET", format!("Transfer-Encoding: chunked\r\n\r\nx\r\n\r\n{hidden}"), 200),
    ] {
        let mut stream = connect(server.address).await;
        let text = format!("{method} /live/cam.m3u8 HTTP/1.1\r\nHost: a\r\n{rest}");
        within(stream.write_all(text.as_bytes())).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let response = within(read_response(&mut stream, method == "HEAD")).await;
        assert_eq!((response.status, response.header("connection")), (status, Some("close")), "{name}");
        assert_common(name, &response);
        let mut rest = Vec::new();
        within(stream.read_to_end(&mut rest)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(rest.is_empty(), "{name}: more than one answer: {rest:?}");
    }
    // No content, nothing to fear.
    let mut stream = connect(server.address).await;
    let empty = format!("GET /live/cam.m3u8 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n{hidden}");
    stream.write_all(empty.as_bytes()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(within(read_response(&mut stream, false)).await.status, 200);
    }
}

/// Reads until the server closes; a reset counts as closing.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut text = Vec::new();
    let _ = within(stream.read_to_end(&mut text)).await;
    text
}

#[tokio::test]
async fn a_connection_rests_no_longer_than_its_deadline() {
    let short = Duration::from_millis(100);
    let never = Duration::from_secs(3_600);
    type Change = fn(&mut Config, Duration);
    let rows: [(&str, Change, &str, bool, &str); 5] = [
        ("no byte at all", |config, short| config.http.first_byte_timeout = short, "", false, ""),
        ("a head that stops", |config, short| config.http.header_timeout = short, "GET / HT", false, ""),
        (
            "a head that trickles",
            |config, short| config.http.header_timeout = short,
            "GET / HTTP/1.1\r\n",
            true,
            "",
        ),
        (
            "no further request",
            |config, short| config.http.idle_timeout = short,
            "GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
            false,
            "HTTP/1.1 404",
        ),
        (
            "a second head that stops",
            |config, short| config.http.header_timeout = short,
            "GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET ",
            false,
            "HTTP/1.1 404",
        ),
    ];
    for (name, change, sent, trickles, received) in rows {
        let server = live_server(|config| {
            let http = &mut config.http;
            (http.first_byte_timeout, http.header_timeout) = (never, never);
            http.idle_timeout = if name == "a second head that stops" { short } else { never };
            change(config, short);
        })
        .await;
        let stream = connect(server.address).await;
        let (mut reading, mut writing) = stream.into_split();
        writing.write_all(sent.as_bytes()).await.unwrap();
        let trickle = tokio::spawn(async move {
            let mut header = "X: y\r\n".bytes().cycle();
            // No wait for anything: this is how fast the client sends.
            while trickles && writing.write_all(&[header.next().unwrap()]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // Dropping the half would close the connection from this side.
            std::future::pending::<()>().await;
            drop(writing);
        });
        let mut text = Vec::new();
        let _ = within(reading.read_to_end(&mut text)).await;
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with(received) && text.is_empty() == received.is_empty(), "{name}: {text:?}");
        eventually("the connection gone", || server.context.status().connections == 0).await;
        let counted = server.context.status().closed_without_request;
        assert_eq!(counted, u64::from(received.is_empty()), "{name}: counted");
        trickle.abort();
    }
}

/// A segment larger than any socket buffer between here and there.
pub(crate) fn large() -> Snapshot {
    let mut large = snapshot(State::Live, 1);
    let ts = large.ts.as_mut().unwrap();
    let segment = TsSegment { payload: Bytes::from(vec![7; 64 << 20]), ..(*ts.listed[0]).clone() };
    Arc::make_mut(ts).listed = vec![Arc::new(segment)];
    large
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let server = server(|config| config.http.write_stall_timeout = Duration::from_millis(200)).await;
    server.registry.publish_for_test("live", "cam", large());
    let mut stream = connect(server.address).await;
    stream.write_all(&request("GET", &format!("/live/cam/ts/{FIRST}.ts"), "")).await.unwrap();
    eventually("the connection gone", || server.context.status().closed_stalled == 1).await;
    assert_eq!(server.context.status().connections, 0);
    assert!(closed(&mut stream).await.len() < 64 << 20, "not the whole segment");
}

#[tokio::test]
async fn a_client_that_takes_too_little_is_cut_off() {
    let server = server(|config| config.http.response_timeout = Duration::from_millis(300)).await;
    server.registry.publish_for_test("live", "cam", large());
    let mut stream = connect(server.address).await;
    stream.write_all(&request("GET", &format!("/live/cam/ts/{FIRST}.ts"), "")).await.unwrap();
    let mut buffer = vec![0; 64 << 10];
    let slow = async {
        // Progress all the time, never enough: the pause is the client's slowness, no wait for anything.
        while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = slow => {}
        () = eventually("the connection gone", || server.context.status().closed_stalled == 1) => {}
    }
    assert_eq!(server.context.status().closed_stalled, 1);
}

#[tokio::test]
async fn a_large_segment_arrives_whole_and_leaves_the_connection_alive() {
    let server = server(|_| {}).await;
    server.registry.publish_for_test("live", "cam", large());
    let mut stream = connect(server.address).await;
    for _ in 0..2 {
        let path = format!("/live/cam/ts/{FIRST}.ts");
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let response = within(read_response(&mut stream, false)).await;
        assert_eq!((response.status, response.body.len()), (200, 64 << 20));
    }
}

#[tokio::test]
async fn a_drain_answers_what_runs_and_closes_what_rests() {
    let server = live_server(|_| {}).await;
    server.registry.publish_for_test("live", "soon", snapshot(State::Starting, 0));
    let silent = connect(server.address).await;
    let mut idle = connect(server.address).await;
    idle.write_all(b"GET /live/cam.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(within(read_response(&mut idle, false)).await.status, 200);
    let mut held = connect(server.address).await;
    held.write_all(b"GET /live/soon.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    eventually("a held request", || server.context.status().held == 1).await;
    server.shutdown.send_replace(true);
    let answer = within(read_response(&mut held, false)).await;
    assert_eq!((answer.status, answer.header("cache-control")), (503, Some("no-store")));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_common("held at a drain", &answer);
    assert!(closed(&mut idle).await.is_empty());
    within(server.task).await.unwrap();
    within(server.context.drained()).await;
    assert_eq!(server.context.status().connections, 0);
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
    drop(silent);
}

#[tokio::test]
async fn a_drain_is_bounded() {
    let server = server(|config| config.http.drain_timeout = Duration::from_millis(100)).await;
    server.registry.publish_for_test("live", "cam", large());
    let mut stream = connect(server.address).await;
    stream.write_all(&request("GET", &format!("/live/cam/ts/{FIRST}.ts"), "")).await.unwrap();
    let mut first = [0; 1];
    within(stream.read_exact(&mut first)).await.unwrap();
    server.shutdown.send_replace(true);
    within(server.task).await.unwrap();
    assert_eq!(server.context.status().connections, 0);
}

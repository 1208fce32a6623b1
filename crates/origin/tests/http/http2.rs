//! HTTP/2 on the same port: the same answers, many at a time, and an end to what a peer can pile up.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use headwater_origin::config::Config;
use headwater_packager::State;
use hyper::{HeaderMap, Method, Request, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::client::{Response, connect, eventually, exchange, get, gunzip, read_response, request, within};
use super::connections::large;
use super::{FIRST, MEDIA, Server, assert_common, live_server, payload, server, snapshot};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection, and how it ended.
struct Client {
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn new(server: &Server) -> Client {
        Client::with(server, h2::client::Builder::new().initial_connection_window_size(8 << 20)).await
    }

    async fn with(server: &Server, builder: &h2::client::Builder) -> Client {
        let (send, connection) = within(builder.handshake(connect(server.address).await)).await.unwrap();
        Client { send, connection: tokio::spawn(connection) }
    }

    /// Sends a request without content.
    async fn ask(&mut self, request: Request<()>) -> h2::client::ResponseFuture {
        std::future::poll_fn(|cx| self.send.poll_ready(cx)).await.unwrap();
        self.send.send_request(request, true).unwrap().0
    }

    async fn get(&mut self, path: &str) -> h2::client::ResponseFuture {
        self.ask(asking("GET", path, "")).await
    }

    async fn exchange(&mut self, request: Request<()>) -> Response {
        let response = self.ask(request).await;
        read(response).await
    }
}

/// A request as [`request`] makes it of the same words.
fn asking(method: &str, path: &str, headers: &str) -> Request<()> {
    let uri = if path == "*" { "*".to_owned() } else { format!("http://origin.example{path}") };
    let mut request = Request::builder().method(method).uri(uri);
    if path == "*" {
        request = request.version(Version::HTTP_11).header("host", "origin.example");
    }
    for line in headers.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    request.body(()).unwrap()
}

async fn read(response: h2::client::ResponseFuture) -> Response {
    let (head, body) = within(response).await.unwrap().into_parts();
    Response {
        status: head.status.as_u16(),
        headers: lines(&head.headers),
        body: within(read_body(body)).await.unwrap().to_vec(),
    }
}

fn lines(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

async fn read_body(mut body: RecvStream) -> Result<Bytes, h2::Error> {
    let mut bytes = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

#[tokio::test]
async fn both_versions_say_the_same() {
    let server = live_server(|_| {}).await;
    let mut client = Client::new(&server).await;
    let etag = get(server.address, "/live/cam/ts/1769860801.ts", "").await.header("etag").unwrap().to_owned();
    let not_modified = format!("If-None-Match: {etag}\r\n");
    let if_range = format!("Range: bytes=1-2\r\nIf-Range: {etag}\r\n");
    let mut statuses = Vec::new();
    for (method, path, headers) in [
        ("GET", "/live/cam/index.m3u8", ""),
        ("GET", "/live/cam.m3u8?token=x", "Accept-Encoding: gzip\r\n"),
        ("GET", "/live/cam/ts/media.m3u8", "Accept-Encoding: br;q=1, gzip;q=0.5, *;q=0\r\n"),
        ("HEAD", "/live/cam/ts/media.m3u8", ""),
        ("GET", "/live/cam/ts/1769860801.ts", ""),
        ("HEAD", "/live/cam/ts/1769860801.ts", "Range: bytes=0-0\r\n"),
        ("GET", "/live/cam/ts/1769860801.ts", "Range: bytes=180-500\r\n"),
        ("GET", "/live/cam/ts/1769860801.ts", &if_range),
        ("GET", "/live/cam/ts/1769860801.ts", "Range: bytes=188-\r\n"),
        ("GET", "/live/cam/ts/1769860801.ts", &not_modified),
        ("GET", "/live/cam/ts/1769860801.ts", "If-Match: \"x\"\r\n"),
        ("GET", "/live/cam/ts/1769860797.ts", ""),
        ("GET", "/nothing", "Origin: https://a.example\r\n"),
        ("GET", "/live%2fcam.m3u8", ""),
        ("GET", "/assets/page.js", "Accept-Encoding: gzip\r\n"),
        ("GET", "/", ""),
        (
            "OPTIONS",
            "/live/cam/index.m3u8",
            "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n",
        ),
        ("OPTIONS", "*", ""),
        ("POST", "/live/cam/index.m3u8", ""),
        ("PURGE", "/live/cam/index.m3u8", ""),
    ] {
        let name = format!("{method} {path} {headers}");
        let old = exchange(server.address, &request(method, path, headers)).await;
        let new = client.exchange(asking(method, path, headers)).await;
        assert_eq!(new.status, old.status, "{name}");
        assert_common(&name, &new);
        let sorted = |response: &Response| {
            let mut headers = response.headers_without_date();
            headers.sort();
            headers
        };
        assert_eq!(sorted(&new), sorted(&old), "{name}");
        assert_eq!(new.body, old.body, "{name}");
        if new.header("content-encoding").is_some() {
            assert!(gunzip(&new.body).len() > new.body.len() / 2, "{name}");
        }
        statuses.push(new.status);
    }
    for status in [200, 204, 206, 304, 400, 404, 405, 412, 416] {
        assert!(statuses.contains(&status), "{status} was among them");
    }
    drop(client.send);
    within(client.connection).await.unwrap().unwrap();
    eventually("every connection gone", || server.context.status().connections == 0).await;
}

#[tokio::test]
async fn whom_a_request_is_for() {
    let server = live_server(|_| {}).await;
    let mut client = Client::new(&server).await;
    for (name, authority, hosts, status) in [
        (":authority", Some("a"), &[][..], 200),
        ("Host", None, &["a"][..], 200),
        ("the same in both", Some("a"), &["a"], 200),
        ("neither", None, &[], 400),
        ("one in each", Some("a"), &["b"], 400),
        ("two Hosts", Some("a"), &["a", "a"], 400),
        ("a Host that is none", None, &["a/b"], 400),
        ("a user in it", Some("a@b"), &[], 400),
    ] {
        let path = "/live/cam/ts/media.m3u8";
        let mut request = match authority {
            Some(authority) => Request::get(format!("http://{authority}{path}")),
            None => Request::get(path).version(Version::HTTP_11),
        };
        for host in hosts {
            request = request.header("host", *host);
        }
        let response = client.exchange(request.body(()).unwrap()).await;
        assert_eq!(response.status, status, "{name}");
        assert_common(name, &response);
    }
}

/// Nobody reads what a request has in it, and the connection goes on: where it ends is no question here.
#[tokio::test]
async fn content_is_not_read() {
    let server = live_server(|_| {}).await;
    let mut client = Client::new(&server).await;
    for (method, path, status) in [
        (Method::POST, "/live/cam.m3u8", 405),
        (Method::GET, "/live/cam/ts/media.m3u8", 200),
        (Method::HEAD, "/live/cam/ts/media.m3u8", 200),
    ] {
        let request = Request::builder().method(&method).uri(format!("http://a{path}")).body(()).unwrap();
        let (response, mut content) = client.send.send_request(request, false).unwrap();
        // More than the server lets come: it never says that it has taken any.
        content.send_data(Bytes::from(vec![b'x'; 1 << 20]), false).unwrap();
        let response = read(response).await;
        assert_eq!((response.status, response.header("connection")), (status, None), "{method}");
        let reason = within(std::future::poll_fn(|cx| content.poll_reset(cx))).await;
        assert_eq!(reason.unwrap(), Reason::NO_ERROR, "{method}: the rest is not wanted");
    }
    assert_eq!(client.exchange(asking("GET", "/live/cam/ts/media.m3u8", "")).await.body, MEDIA.as_bytes());
}

#[tokio::test]
async fn a_hundred_held_requests_on_one_connection() {
    let server = server(|_| {}).await;
    server.registry.publish_for_test("live", "cam", snapshot(State::Starting, 0));
    let mut client = Client::new(&server).await;
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(client.get("/live/cam/ts/media.m3u8").await);
    }
    eventually("a hundred held requests", || server.context.status().held == 100).await;
    // Those that are given up make room at once.
    waiting.truncate(60);
    eventually("sixty held requests", || server.context.status().held == 60).await;
    // Nothing stands behind them.
    assert_eq!(client.exchange(asking("GET", "/nothing", "")).await.status, 404);
    server.registry.publish_for_test("live", "cam", snapshot(State::Live, 3));
    for response in waiting {
        let response = read(response).await;
        assert_eq!((response.status, response.body.as_slice()), (200, MEDIA.as_bytes()));
    }
    let status = server.context.status();
    assert_eq!((status.held, status.connections, status.requests), (0, 1, 101));
}

/// More of them than have their turn at once, and beside them one whose time is longer.
#[tokio::test]
async fn holds_end_at_their_limits() {
    let server = server(|config| config.http.hold_timeout = Duration::from_millis(300)).await;
    server.registry.publish_for_test("live", "cam", snapshot(State::Starting, 0));
    server.registry.publish_for_test("live", "longer", snapshot(State::Live, 3));
    let mut client = Client::new(&server).await;
    let next = client.get(&format!("/live/longer/ts/{}.ts", FIRST + 3)).await;
    let mut waiting = Vec::new();
    for _ in 0..40 {
        waiting.push(client.get("/live/cam.m3u8").await);
    }
    eventually("held requests", || server.context.status().held == 41).await;
    for response in waiting {
        assert_eq!(read(response).await.status, 404);
    }
    assert_eq!(server.context.status().held, 1);
    server.registry.publish_for_test("live", "longer", snapshot(State::Live, 4));
    assert_eq!(read(next).await.status, 200);
}

#[tokio::test]
async fn a_departed_client_frees_its_holds() {
    let server = server(|_| {}).await;
    server.registry.publish_for_test("live", "cam", snapshot(State::Starting, 0));
    let mut client = Client::new(&server).await;
    let _waiting = (client.get("/live/cam.m3u8").await, client.get("/live/cam.m3u8").await);
    eventually("held requests", || server.context.status().held == 2).await;
    client.connection.abort();
    eventually("nothing left", || {
        let status = server.context.status();
        (status.held, status.connections) == (0, 0)
    })
    .await;
}

#[tokio::test]
async fn a_large_segment_beside_a_small_answer() {
    let server = live_server(|_| {}).await;
    server.registry.publish_for_test("live", "large", large());
    let mut client = Client::new(&server).await;
    let large = client.get(&format!("/live/large/ts/{FIRST}.ts")).await;
    let (head, body) = within(large).await.unwrap().into_parts();
    assert_eq!(head.headers["content-length"], "67108864");
    // It rests until this is answered.
    assert_eq!(client.exchange(asking("GET", "/live/cam/ts/media.m3u8", "")).await.body, MEDIA.as_bytes());
    let body = within(read_body(body)).await.unwrap();
    assert!(body.len() == 64 << 20 && body.iter().all(|byte| *byte == 7));
}

/// A client with a window of its own for each answer, which never gives any of it back.
fn deaf(window: u32) -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(8 << 20);
    builder
}

#[tokio::test]
async fn an_answer_that_is_left_lying_is_cut_off() {
    for (name, window, connection_goes_on) in [
        ("nothing of it at all", 0, true),
        ("whole pieces of it", 64 << 10, true),
        // h2 holds what was begun until the client lets it go.
        ("a part of a piece of it", (64 << 10) - 1, false),
    ] {
        let server = server(|config| config.http.write_stall_timeout = Duration::from_millis(300)).await;
        server.registry.publish_for_test("live", "cam", large());
        server.registry.publish_for_test("live", "soon", snapshot(State::Starting, 0));
        let mut client = Client::with(&server, &deaf(window)).await;
        let held = client.get("/live/soon.m3u8").await;
        let lying = client.get(&format!("/live/cam/ts/{FIRST}.ts")).await;
        let body = within(lying).await.unwrap().into_body();
        let ended = within(async {
            let mut body = body;
            loop {
                match body.data().await {
                    Some(Ok(_)) => {}
                    other => break other,
                }
            }
        })
        .await;
        assert!(ended.is_some_and(|ended| ended.is_err()), "{name}: no end that looks whole");
        eventually(name, || server.context.status().closed_stalled == 1).await;
        if connection_goes_on {
            let status = server.context.status();
            assert_eq!((status.connections, status.held), (1, 1), "{name}: nothing else is lost");
            server.registry.publish_for_test("live", "soon", snapshot(State::Waiting, 0));
            assert_eq!(within(held).await.unwrap().status(), 404, "{name}");
        } else {
            eventually(name, || server.context.status().connections == 0).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let server = server(|config| config.http.write_stall_timeout = Duration::from_millis(300)).await;
    server.registry.publish_for_test("live", "cam", large());
    // All the windows in the world, and nobody who reads the socket.
    let mut raw = Raw::new(&server).await;
    raw.send(
        &[frame(4, 0, 0, b"\0\x04\x7F\xFF\xFF\xFF"), frame(8, 0, 0, &0x7FFF_0000_u32.to_be_bytes())].concat(),
    )
    .await;
    raw.send(&get_frame(1, &format!("/live/cam/ts/{FIRST}.ts"))).await;
    eventually("a client cut off", || server.context.status().closed_stalled == 1).await;
    eventually("the connection gone", || server.context.status().connections == 0).await;
}

#[tokio::test]
async fn an_answer_that_is_taken_too_slowly_is_cut_off() {
    let server = live_server(|config| config.http.response_timeout = Duration::from_millis(300)).await;
    server.registry.publish_for_test("live", "large", large());
    let mut client = Client::with(&server, &deaf(64 << 10)).await;
    let response = client.get(&format!("/live/large/ts/{FIRST}.ts")).await;
    let mut body = within(response).await.unwrap().into_body();
    let mut received = 0;
    let ended = loop {
        match within(body.data()).await {
            Some(Ok(data)) => {
                received += data.len();
                // Progress all the time, never enough: the pause is the client's slowness, no wait for anything.
                tokio::time::sleep(Duration::from_millis(20)).await;
                body.flow_control().release_capacity(data.len()).unwrap();
            }
            ended => break ended,
        }
    };
    assert!(ended.is_some_and(|ended| ended.is_err()) && received < 64 << 20);
    eventually("cut off", || server.context.status().closed_stalled == 1).await;
}

#[tokio::test]
async fn a_drain_answers_what_runs_and_closes_what_rests() {
    // What ends here ends by itself.
    let server = live_server(|config| config.http.drain_timeout = Duration::from_secs(3_600)).await;
    server.registry.publish_for_test("live", "soon", snapshot(State::Starting, 0));
    let mut idle = Client::new(&server).await;
    assert_eq!(idle.exchange(asking("GET", "/live/cam.m3u8", "")).await.status, 200);
    let mut busy = Client::new(&server).await;
    let held = busy.get("/live/soon.m3u8").await;
    eventually("a held request", || server.context.status().held == 1).await;
    // One that doesn't even answer PING.
    let mut mute = Raw::new(&server).await;
    eventually("three connections", || server.context.status().connections == 3).await;
    server.shutdown.send_replace(true);
    let answer = read(held).await;
    assert_eq!((answer.status, answer.header("cache-control")), (503, Some("no-store")));
    assert_common("held at a drain", &answer);
    for client in [idle, busy] {
        within(client.connection).await.unwrap().unwrap();
    }
    let frames = within(mute.until_closed()).await;
    assert!(frames.iter().any(|(kind, payload)| *kind == 7 && payload[4..8] == [0; 4]), "{frames:?}");
    within(server.task).await.unwrap();
    let status = server.context.status();
    assert_eq!((status.connections, status.closed_stalled), (0, 0), "not by PING");
}

/// A client of frames.
struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// After the preface and the client's SETTINGS.
    async fn new(server: &Server) -> Raw {
        let mut raw = Raw { stream: connect(server.address).await };
        raw.send(&[PREFACE, &frame(4, 0, 0, b"")].concat()).await;
        raw
    }

    async fn send(&mut self, bytes: &[u8]) {
        // A server that has closed is what most of these want to see.
        let _ = within(self.stream.write_all(bytes)).await;
    }

    /// The next frame's type and payload; `None` at the end.
    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 9];
        within(self.stream.read_exact(&mut head)).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        within(self.stream.read_exact(&mut payload)).await.ok()?;
        Some((head[3], payload))
    }

    /// The next frame of that type.
    async fn wait_for(&mut self, kind: u8) -> Vec<u8> {
        loop {
            match self.next().await {
                Some((other, payload)) if other == kind => return payload,
                Some(_) => {}
                None => panic!("closed before a frame of type {kind}"),
            }
        }
    }

    async fn until_closed(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HEADERS of a whole GET; every field is a literal or from the static table.
fn get_frame(stream: u32, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    let block = [&[0x82, 0x86, 0x41, 1, b'a', 0x44, length][..], path.as_bytes()].concat();
    frame(1, 5, stream, &block)
}

const CANCEL: [u8; 4] = [0, 0, 0, 8];

#[tokio::test]
async fn streams_are_limited() {
    let server = server(|config| config.http.max_streams_per_connection = 2).await;
    server.registry.publish_for_test("live", "cam", snapshot(State::Starting, 0));
    let mut raw = Raw::new(&server).await;
    let settings = raw.wait_for(4).await;
    assert!(settings.chunks(6).any(|setting| *setting == [0, 3, 0, 0, 0, 2]), "{settings:?}");
    for stream in [1, 3, 5] {
        raw.send(&get_frame(stream, "/live/cam.m3u8")).await;
    }
    assert_eq!(raw.wait_for(3).await, [0, 0, 0, 7], "REFUSED_STREAM");
    eventually("two held", || server.context.status().held == 2).await;
    raw.send(&frame(3, 0, 1, &CANCEL)).await;
    eventually("one held", || server.context.status().held == 1).await;
    raw.send(&get_frame(7, "/live/cam.m3u8")).await;
    eventually("two held", || server.context.status().held == 2).await;
}

/// What breaks the rules, or piles up what nobody can want, ends the connection, which is told why, and is counted.
#[tokio::test]
async fn floods_and_broken_rules_end_the_connection() {
    let server = live_server(|_| {}).await;
    let reset = |stream: u32| [get_frame(stream, "/live/cam.m3u8"), frame(3, 0, stream, &CANCEL)].concat();
    let rapid: Vec<u8> = (0..1_000).flat_map(|nth| reset(nth * 2 + 1)).collect();
    let continued: Vec<u8> = (0..1_000).flat_map(|_| frame(9, 0, 1, &[])).collect();
    let without_end = frame(1, 1, 1, &[0x82, 0x86, 0x84]);
    for (name, sent, reason) in [
        ("rapid reset", rapid, 11_u8),
        ("CONTINUATION without end", [without_end.clone(), continued].concat(), 11),
        ("another frame in a head", [without_end, frame(6, 0, 0, &[0; 8])].concat(), 1),
        ("DATA of no stream", frame(0, 1, 1, b"x"), 1),
        ("an even stream", get_frame(2, "/"), 1),
        ("a frame of 20 KiB", frame(1, 5, 1, &[0; 20 << 10]), 6),
        ("an index of HPACK without end", frame(1, 5, 1, &[0xFF, 0xFF, 0xFF, 0xFF, 0x7F]), 1),
        ("SETTINGS of too large a window", frame(4, 0, 0, b"\0\x04\xFF\xFF\xFF\xFF"), 1),
        ("a window beyond its largest", frame(8, 0, 0, &0x7FFF_FFFF_u32.to_be_bytes()), 3),
    ] {
        let before = server.context.status().closed_malformed;
        let mut raw = Raw::new(&server).await;
        raw.send(&sent).await;
        let frames = within(raw.until_closed()).await;
        let goaway =
            frames.iter().find(|(kind, _)| *kind == 7).unwrap_or_else(|| panic!("{name}: {frames:?}"));
        assert_eq!(goaway.1[4..8], [0, 0, 0, reason], "{name}");
        eventually(name, || server.context.status().closed_malformed == before + 1).await;
        eventually(name, || server.context.status().connections == 0).await;
    }
    assert_eq!(server.context.status().held, 0);
}

/// What a client resets after it was looked at is no flood: pages that are left do that.
#[tokio::test]
async fn requests_that_are_given_up_are_no_flood() {
    let server = server(|_| {}).await;
    server.registry.publish_for_test("live", "cam", snapshot(State::Starting, 0));
    let mut client = Client::new(&server).await;
    for _ in 0..20 {
        let mut waiting = Vec::new();
        for _ in 0..20 {
            waiting.push(client.get("/live/cam.m3u8").await);
        }
        eventually("held", || server.context.status().held == 20).await;
        drop(waiting);
        eventually("given up", || server.context.status().held == 0).await;
    }
    assert_eq!(client.exchange(asking("GET", "/nothing", "")).await.status, 404);
}

#[tokio::test]
async fn heads_that_are_too_large() {
    let server = live_server(|_| {}).await;
    let mut client = Client::new(&server).await;
    let many = "a: b\r\n".repeat(600);
    for (name, headers, status) in [
        ("15 KiB", format!("X: {}", "x".repeat(15 << 10)), 200),
        ("17 KiB", format!("X: {}", "x".repeat(17 << 10)), 431),
        ("600 headers", many, 431),
    ] {
        let response = client.exchange(asking("GET", "/live/cam.m3u8", &headers)).await;
        assert_eq!(response.status, status, "{name}");
    }
    assert_eq!(client.exchange(asking("GET", "/live/cam.m3u8", "")).await.status, 200, "goes on");
}

#[tokio::test]
async fn a_preface_in_pieces_and_none() {
    let server = live_server(|_| {}).await;
    // One byte at a time, and a request behind it.
    let mut raw = Raw { stream: connect(server.address).await };
    for byte in [PREFACE, &frame(4, 0, 0, b""), &get_frame(1, "/live/cam/ts/media.m3u8")].concat() {
        raw.stream.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(raw.wait_for(0).await, MEDIA.as_bytes());
    for (before, (name, sent)) in [
        ("another last byte", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX".as_slice()),
        ("another third word", b"PRI * HTTP/2.1\r\n\r\n"),
        ("HTTP/1.1 behind the first line", b"PRI * HTTP/2.0\r\nHost: a\r\n\r\n"),
        ("nothing behind the first lines", b"PRI * HTTP/2.0\r\n\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = connect(server.address).await;
        stream.write_all(sent).await.unwrap();
        stream.shutdown().await.unwrap();
        let response = within(read_response(&mut stream, false)).await;
        assert_eq!((response.status, response.header("cache-control")), (400, Some("no-store")), "{name}");
        assert_common(name, &response);
        assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0, "{name}: closed");
        eventually(name, || server.context.status().closed_malformed == before as u64 + 1).await;
    }
    for method in ["P", "PR", "PRI", "PROPFIND", "PUT"] {
        let response = exchange(server.address, &request(method, "/live/cam.m3u8", "")).await;
        assert_eq!(response.status, 405, "{method}: HTTP/1.1");
    }
}

#[tokio::test]
async fn a_connection_rests_no_longer_than_its_deadline() {
    let short = Duration::from_millis(100);
    type Change = fn(&mut Config, Duration);
    let header: Change = |config, short| config.http.header_timeout = short;
    let idle: Change = |config, short| config.http.idle_timeout = short;
    let settings = frame(4, 0, 0, b"");
    let half_head = frame(1, 1, 1, &[0x82]);
    for (name, change, sent, is_counted) in [
        ("one byte of the preface", header, PREFACE[..1].to_vec(), true),
        ("half a preface", header, PREFACE[..12].to_vec(), true),
        ("all but a byte of it", header, PREFACE[..23].to_vec(), true),
        ("nothing behind it", idle, PREFACE.to_vec(), false),
        ("no request", idle, [PREFACE, &settings].concat(), false),
        ("half a frame", idle, [PREFACE, &settings, &get_frame(1, "/")[..12]].concat(), false),
        ("half a head", idle, [PREFACE, &settings, &half_head].concat(), false),
        ("no further request", idle, [PREFACE, &settings, &get_frame(1, "/nothing")].concat(), false),
    ] {
        let server = live_server(|config| {
            let http = &mut config.http;
            (http.first_byte_timeout, http.header_timeout) =
                (Duration::from_secs(3_600), Duration::from_secs(3_600));
            change(config, short);
        })
        .await;
        let mut raw = Raw { stream: connect(server.address).await };
        raw.send(&sent).await;
        let frames = within(raw.until_closed()).await;
        eventually(name, || server.context.status().connections == 0).await;
        let status = server.context.status();
        assert_eq!(status.closed_without_request, u64::from(is_counted), "{name}");
        assert_eq!(status.closed_stalled, 0, "{name}: not by PING");
        let has_goaway = frames.iter().any(|(kind, payload)| *kind == 7 && payload[4..8] == [0; 4]);
        assert_eq!(has_goaway, !is_counted, "{name}: {frames:?}");
        assert_eq!(
            frames.iter().filter(|(kind, _)| *kind == 1).count(),
            usize::from(name == "no further request")
        );
    }
}

#[tokio::test]
async fn a_drain_waits_for_a_preface_no_longer_than_for_a_request() {
    let server = live_server(|config| config.http.header_timeout = Duration::from_millis(300)).await;
    let silent = connect(server.address).await;
    let mut begun = connect(server.address).await;
    begun.write_all(&PREFACE[..5]).await.unwrap();
    eventually("both", || server.context.status().connections == 2).await;
    server.shutdown.send_replace(true);
    within(server.task).await.unwrap();
    assert_eq!(server.context.status().connections, 0);
    drop((silent, begun));
}

/// A client that nobody here wrote. One request at a time: curl 7.88 can't go on with such a connection (curl 8.0 can).
#[tokio::test]
async fn curl() {
    let server = live_server(|_| {}).await;
    for (path, status, body) in [
        ("/live/cam/ts/media.m3u8", "200", MEDIA.as_bytes()),
        ("/live/cam/ts/1769860800.ts", "200", &payload(FIRST)),
        ("/nothing", "404", b"no such resource\n"),
    ] {
        let mut command = std::process::Command::new("curl");
        command.args([
            "-sS",
            "--http2-prior-knowledge",
            "--max-time",
            "60",
            "-w",
            "%{http_version} %{http_code}",
        ]);
        command.arg(format!("http://{}{path}", server.address));
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let expected = [body, b"2 ", status.as_bytes()].concat();
        assert!(output.stdout == expected, "{path}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

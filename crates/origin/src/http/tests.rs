//! Live bodies over connections of every version: what a client sees of them, and when they end.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::connection::{self, Deadlines, End, Limits, Rest};
use super::payload::{Aborted, LiveBody, Payload};
use super::response::{NO_STORE, Reply};
use crate::budget::Budget;

/// Nothing here takes a second on an idle machine; a loaded one gets this much.
const BOUND: Duration = Duration::from_secs(60);

const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(150);

const ALL_LONG: Deadlines =
    Deadlines { first_byte: LONG, header: LONG, idle: LONG, write_stall: LONG, response: LONG, ping: LONG };

type Item = Result<Bytes, Aborted>;

/// The number of the segment that every answer is a lease of.
const LEASED: u64 = 5;

/// A connection whose every answer is a live body, and its client.
struct Live<C = TcpStream> {
    client: C,
    /// One for each request: what its answer is to send.
    bodies: mpsc::UnboundedReceiver<mpsc::UnboundedSender<Item>>,
    /// Answers that were cut off.
    cuts: mpsc::UnboundedReceiver<End>,
    budget: Arc<Budget>,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<End>,
}

/// A body that may end at any time.
struct Endless(mpsc::UnboundedReceiver<Item>);

impl LiveBody for Endless {
    fn poll_data(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Option<Item>> {
        self.0.poll_recv(cx)
    }

    fn drain(&mut self) -> Result<(), Aborted> {
        Ok(())
    }
}

fn endless(items: mpsc::UnboundedReceiver<Item>) -> Payload {
    Payload::live(Endless(items))
}

/// A body that a piece of is no good.
fn entire(mut items: mpsc::UnboundedReceiver<Item>) -> Payload {
    Payload::live(move |cx: &mut std::task::Context<'_>| items.poll_recv(cx))
}

async fn live(deadlines: Deadlines, payload: fn(mpsc::UnboundedReceiver<Item>) -> Payload) -> Live {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let (shutdown, down) = watch::channel(false);
    let (made, bodies) = mpsc::unbounded_channel();
    let (cut, cuts) = mpsc::unbounded_channel();
    let budget = Arc::new(Budget::default());
    let leases = Arc::clone(&budget);
    let task = tokio::spawn(async move {
        let answer = |request: Request<Incoming>, carrier| {
            let (sender, items) = mpsc::unbounded_channel();
            let _ = made.send(sender);
            let content_type = HeaderValue::from_static("video/x-flv");
            let mut reply = Reply::new(StatusCode::OK, content_type, NO_STORE, payload(items));
            reply.lease = Some(leases.lease(LEASED));
            async move { Ok(reply.finish(carrier, request.method() == Method::HEAD)) }
        };
        let limits = Limits { deadlines, streams_max: 100 };
        connection::serve(stream, None, &limits, down, answer, |end| cut.send(end).unwrap()).await
    });
    Live { client, bodies, cuts, budget, shutdown, task }
}

impl Live<TcpStream> {
    /// Sends a request; what its answer is to send.
    async fn request(&mut self, line: &str) -> mpsc::UnboundedSender<Item> {
        self.client.write_all(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        within(self.bodies.recv()).await.unwrap()
    }

    /// Reads until what was read ends so; all of it.
    async fn read_to(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let byte = within(self.client.read_u8()).await;
            text.push(byte.unwrap_or_else(|error| panic!("{error} after {text:?}, before {end:?}")));
        }
        String::from_utf8(text).unwrap()
    }

    /// What comes until the connection ends, and whether it ends cleanly.
    async fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut rest = Vec::new();
        let is_clean = within(self.client.read_to_end(&mut rest)).await.is_ok();
        (rest, is_clean)
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(BOUND, future).await.expect("it takes too long")
}

fn bytes(text: &'static str) -> Item {
    Ok(Bytes::from_static(text.as_bytes()))
}

/// The request was on its way, and comes when the process drains already.
#[tokio::test]
async fn a_request_that_meets_the_drain_is_answered() {
    for pieces in [1, 2, 30] {
        let mut live = live(ALL_LONG, endless).await;
        live.shutdown.send_replace(true);
        let request = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
        for piece in request.chunks(request.len().div_ceil(pieces)) {
            live.client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(within(live.bodies.recv()).await.expect("the request is seen"));
        let (answer, is_clean) = live.rest().await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && is_clean, "{pieces}: {answer}");
    }
}

#[tokio::test]
async fn each_piece_goes_out_when_it_comes() {
    let mut live = live(ALL_LONG, entire).await;
    for _ in 0..2 {
        let body = live.request("GET / HTTP/1.1").await;
        let head = live.read_to("\r\n\r\n").await;
        assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
        assert!(!head.contains("content-length"), "{head}");
        for (piece, chunk) in [("one", "3\r\none\r\n"), ("more", "4\r\nmore\r\n")] {
            body.send(bytes(piece)).unwrap();
            assert_eq!(live.read_to(piece).await + "\r\n", chunk);
            assert_eq!(live.read_to("\r\n").await, "\r\n");
        }
        drop(body);
        assert_eq!(live.read_to("\r\n\r\n").await, "0\r\n\r\n");
    }
    drop(live.client);
    assert!(matches!(within(live.task).await.unwrap(), End::Closed));
}

#[tokio::test]
async fn an_old_client_is_told_the_end_by_the_connections() {
    let mut live = live(ALL_LONG, entire).await;
    let body = live.request("GET / HTTP/1.0\r\nConnection: keep-alive").await;
    let head = live.read_to("\r\n\r\n").await;
    assert!(!head.contains("transfer-encoding") && !head.contains("content-length"), "{head}");
    body.send(bytes("one")).unwrap();
    assert_eq!(live.read_to("one").await, "one");
    body.send(bytes("more")).unwrap();
    drop(body);
    assert_eq!(live.rest().await, (b"more".to_vec(), true));
}

#[tokio::test]
async fn what_is_broken_off_does_not_look_whole() {
    for (version, is_clean) in [("1.1", true), ("1.0", false)] {
        let mut live = live(ALL_LONG, endless).await;
        let body = live.request(&format!("GET / HTTP/{version}")).await;
        body.send(bytes("one")).unwrap();
        let head = live.read_to("one").await;
        body.send(Err(Aborted)).unwrap();
        // HTTP/1.1's client misses the last chunk, HTTP/1.0's only a connection's proper end.
        let (rest, closed) = live.rest().await;
        assert_eq!(closed, is_clean, "{version}");
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{version}: {head}{rest:?}");
        assert!(matches!(within(live.task).await.unwrap(), End::Failed(_)));
    }
}

#[tokio::test]
async fn head_is_told_nothing_of_it() {
    let mut live = live(ALL_LONG, entire).await;
    let body = live.request("HEAD / HTTP/1.1").await;
    live.read_to("\r\n\r\n").await;
    within(body.closed()).await;
    let body = live.request("GET / HTTP/1.1").await;
    drop(body);
    assert!(live.read_to("0\r\n\r\n").await.starts_with("HTTP/1.1 200"), "nothing in between");
}

#[tokio::test]
async fn the_source_of_a_departed_client_goes() {
    let mut live = live(ALL_LONG, entire).await;
    let body = live.request("GET / HTTP/1.1").await;
    live.read_to("\r\n\r\n").await;
    drop(live.client);
    within(body.closed()).await;
    assert!(matches!(within(live.task).await.unwrap(), End::Failed(_)));
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let mut live = live(Deadlines { write_stall: SHORT, ..ALL_LONG }, endless).await;
    let body = live.request("GET / HTTP/1.1").await;
    let plenty = Bytes::from(vec![7; 64 << 20]);
    body.send(Ok(plenty)).unwrap();
    assert!(matches!(within(live.task).await.unwrap(), End::Rested(Rest::WriteStall)));
    within(body.closed()).await;
}

#[tokio::test]
async fn only_what_is_bounded_ends_with_the_response_timeout() {
    let deadlines = Deadlines { response: SHORT, ..ALL_LONG };
    let mut bounded = live(deadlines, |items| entire(items).bounded()).await;
    let _body = bounded.request("GET / HTTP/1.1").await;
    assert!(matches!(within(bounded.task).await.unwrap(), End::Rested(Rest::Response)));
    let mut bounded = live2(deadlines, |items| entire(items).bounded(), 65_535).await;
    let (response, _source) = bounded.request(Method::GET).await;
    let mut body = body_of(response).await;
    assert_eq!(next(&mut body).await.unwrap().unwrap_err().reason(), Some(Reason::CANCEL));
    assert!(matches!(within(bounded.cuts.recv()).await, Some(End::Rested(Rest::Response))));
    bounded.request(Method::HEAD).await.0.await.unwrap();
    let mut unbounded = live(deadlines, entire).await;
    let body = unbounded.request("GET / HTTP/1.1").await;
    // Longer than the deadline: nothing is to happen.
    assert!(timeout(SHORT * 3, &mut unbounded.task).await.is_err());
    body.send(bytes("one")).unwrap();
    assert!(unbounded.read_to("one").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_drain_ends_it() {
    for (name, payload, is_whole) in
        [("endless", endless as fn(_) -> _, true), ("a segment in production", entire, false)]
    {
        let mut live = live(ALL_LONG, payload).await;
        let body = live.request("GET / HTTP/1.1").await;
        body.send(bytes("one")).unwrap();
        live.read_to("one\r\n").await;
        live.shutdown.send_replace(true);
        let (rest, _) = live.rest().await;
        assert_eq!(rest, if is_whole { b"0\r\n\r\n".as_slice() } else { b"" }, "{name}");
        within(body.closed()).await;
        let end = within(live.task).await.unwrap();
        assert_eq!(matches!(end, End::Closed), is_whole, "{name}: {end:?}");
    }
}

/// The same over HTTP/2, for a client whose windows are that large.
async fn live2(
    deadlines: Deadlines,
    payload: fn(mpsc::UnboundedReceiver<Item>) -> Payload,
    window: u32,
) -> Live<SendRequest<Bytes>> {
    let Live { client, bodies, cuts, budget, shutdown, task } = live(deadlines, payload).await;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(8 << 20);
    let (client, connection) = within(builder.handshake(client)).await.unwrap();
    tokio::spawn(connection);
    Live { client, bodies, cuts, budget, shutdown, task }
}

impl Live<SendRequest<Bytes>> {
    /// Sends a request; its answer, and what that is to send.
    async fn request(&mut self, method: Method) -> (ResponseFuture, mpsc::UnboundedSender<Item>) {
        std::future::poll_fn(|cx| self.client.poll_ready(cx)).await.unwrap();
        let request = Request::builder().method(method).uri("http://a/").body(()).unwrap();
        let (response, _) = self.client.send_request(request, true).unwrap();
        (response, within(self.bodies.recv()).await.unwrap())
    }
}

async fn body_of(response: ResponseFuture) -> RecvStream {
    let response = within(response).await.unwrap();
    assert!(!response.headers().contains_key("content-length"), "{response:?}");
    response.into_body()
}

/// The next bytes that are any; gives the window back.
async fn next(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    loop {
        match within(body.data()).await {
            // The end, where it comes later than the last bytes.
            Some(Ok(data)) if data.is_empty() => {}
            Some(Ok(data)) => {
                body.flow_control().release_capacity(data.len()).unwrap();
                return Some(Ok(data));
            }
            other => return other,
        }
    }
}

#[tokio::test]
async fn each_piece_goes_out_when_it_comes_in_streams_too() {
    let mut live = live2(ALL_LONG, entire, 65_535).await;
    let (first, first_source) = live.request(Method::GET).await;
    let (second, second_source) = live.request(Method::GET).await;
    let (mut first, mut second) = (body_of(first).await, body_of(second).await);
    for piece in ["one", "more"] {
        second_source.send(bytes(piece)).unwrap();
        assert_eq!(next(&mut second).await.unwrap().unwrap(), piece);
        first_source.send(bytes(piece)).unwrap();
        assert_eq!(next(&mut first).await.unwrap().unwrap(), piece);
    }
    drop(first_source);
    assert!(next(&mut first).await.is_none());
    // What is larger than a piece arrives whole, in order.
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    second_source.send(Ok(large.clone().into())).unwrap();
    drop(second_source);
    let mut received = Vec::new();
    while let Some(data) = next(&mut second).await {
        received.extend_from_slice(&data.unwrap());
    }
    assert!(received == large);
}

#[tokio::test]
async fn a_stream_that_is_broken_off_is_reset_and_a_head_has_none() {
    let mut live = live2(ALL_LONG, endless, 65_535).await;
    let (head, source) = live.request(Method::HEAD).await;
    assert!(within(head).await.unwrap().into_body().is_end_stream());
    within(source.closed()).await;
    let (response, source) = live.request(Method::GET).await;
    let mut body = body_of(response).await;
    source.send(bytes("one")).unwrap();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
    source.send(Err(Aborted)).unwrap();
    let error = next(&mut body).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    // A client that gives an answer up: its source goes, and nothing else.
    let (response, source) = live.request(Method::GET).await;
    drop(body_of(response).await);
    within(source.closed()).await;
    let _next = live.request(Method::GET).await;
    assert!(live.cuts.try_recv().is_err(), "nobody was cut off");
}

#[tokio::test]
async fn a_stream_that_takes_nothing_is_cut_off_and_one_that_waits_is_not() {
    let mut live =
        live2(Deadlines { write_stall: SHORT, response: SHORT, ..ALL_LONG }, endless, 16 << 10).await;
    let (waiting, waiting_source) = live.request(Method::GET).await;
    let mut waiting = body_of(waiting).await;
    let (lying, lying_source) = live.request(Method::GET).await;
    let mut lying = body_of(lying).await;
    lying_source.send(Ok(vec![7; 1 << 20].into())).unwrap();
    within(lying_source.closed()).await;
    assert!(matches!(within(live.cuts.recv()).await, Some(End::Rested(Rest::WriteStall))));
    while let Some(Ok(_)) = within(lying.data()).await {}
    // Longer than any deadline, without a byte: its source had none.
    waiting_source.send(bytes("one")).unwrap();
    assert_eq!(next(&mut waiting).await.unwrap().unwrap(), "one");
    assert!(live.cuts.try_recv().is_err(), "one was cut off");
    // Slowly is not at all: bytes go out, a few at a time.
    let slow = vec![7; 32 << 10];
    waiting_source.send(Ok(slow.into())).unwrap();
    let mut received = 0;
    while received < 32 << 10 {
        let data = within(waiting.data()).await.unwrap().unwrap();
        received += data.len();
        for part in data.chunks(2_048) {
            // This is how fast the client reads: the whole takes longer than any deadline, no byte does.
            tokio::time::sleep(SHORT / 8).await;
            waiting.flow_control().release_capacity(part.len()).unwrap();
        }
    }
    assert!(live.cuts.try_recv().is_err() && !live.task.is_finished());
}

#[tokio::test]
async fn a_stream_lets_go_of_its_segment_when_it_lies() {
    for (name, window, is_reset) in [("whole pieces", 32 << 10, true), ("a part of one", 20 << 10, false)] {
        let mut live = live2(ALL_LONG, endless, window).await;
        let (taken, taken_source) = live.request(Method::GET).await;
        let mut taken = body_of(taken).await;
        taken_source.send(bytes("one")).unwrap();
        assert_eq!(next(&mut taken).await.unwrap().unwrap(), "one");
        let (lying, lying_source) = live.request(Method::GET).await;
        let _lying = body_of(lying).await;
        lying_source.send(Ok(vec![7; 1 << 20].into())).unwrap();
        live.budget.cut_below(LEASED + 1);
        within(lying_source.closed()).await;
        if is_reset {
            assert!(matches!(within(live.cuts.recv()).await, Some(End::LeaseEnded)), "{name}");
            taken_source.send(bytes("more")).unwrap();
            assert_eq!(
                next(&mut taken).await.unwrap().unwrap(),
                "more",
                "{name}: whoever takes its bytes loses nothing"
            );
        } else {
            assert!(matches!(within(live.task).await.unwrap(), End::LeaseEnded), "{name}");
        }
    }
}

#[tokio::test]
async fn a_drain_ends_streams() {
    for (name, payload, is_whole) in
        [("endless", endless as fn(_) -> _, true), ("a segment in production", entire, false)]
    {
        let mut live = live2(ALL_LONG, payload, 65_535).await;
        let (response, source) = live.request(Method::GET).await;
        let mut body = body_of(response).await;
        source.send(bytes("one")).unwrap();
        assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
        live.shutdown.send_replace(true);
        assert_eq!(next(&mut body).await.is_none(), is_whole, "{name}");
        within(source.closed()).await;
        let end = within(live.task).await.unwrap();
        assert!(matches!(end, End::Closed), "{name}: {end:?}");
    }
}

#[tokio::test]
async fn a_client_that_has_vanished_goes() {
    let mut live = live(Deadlines { ping: SHORT, ..ALL_LONG }, endless).await;
    // A whole request, and never an answer to PING.
    let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let request = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
    live.client.write_all(&[&begin[..], request].concat()).await.unwrap();
    let source = within(live.bodies.recv()).await.unwrap();
    assert!(matches!(within(live.task).await.unwrap(), End::Rested(Rest::Silence)));
    within(source.closed()).await;
    // One that answers stays.
    let mut live = live2(Deadlines { ping: SHORT, ..ALL_LONG }, endless, 65_535).await;
    let (response, source) = live.request(Method::GET).await;
    let mut body = body_of(response).await;
    assert!(timeout(SHORT * 5, &mut live.task).await.is_err());
    source.send(bytes("one")).unwrap();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
}

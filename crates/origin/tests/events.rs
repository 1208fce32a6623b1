//! `/api/v1/events` over loopback: three forms, one story.

#[allow(dead_code, reason = "the playback listener's tests need more of it")]
mod client;

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::StreamExt;
use headwater_origin::clock::Clocks;
use headwater_origin::config::Config;
use headwater_origin::events::{Events, KEPT, Kind};
use headwater_origin::registry::Registry;
use headwater_origin::{admin, http};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use client::{get, within};

/// The readers' connections break after so many of them, again and again.
const EVENTS: usize = 1_000;
const PER_CONNECTION: usize = 300;

struct Server {
    events: Arc<Events>,
    address: SocketAddr,
    _shutdown: watch::Sender<bool>,
}

async fn serve() -> Server {
    let config = Arc::new(Config::default());
    let registry = Registry::new(Arc::clone(&config), Clocks::start(), None);
    let events = Arc::clone(registry.events());
    let playback = Arc::new(http::Context::new(Arc::clone(&registry), config));
    let context = Arc::new(admin::Context::new(registry, playback));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, down) = watch::channel(false);
    tokio::spawn(admin::serve(listener, context, down));
    Server { events, address, _shutdown: shutdown }
}

fn push(events: &Events, nth: usize) {
    events.push(Kind::Unpublish { cause: "clean" }, "live", &format!("cam{nth}"));
}

/// What an event is about, without what all have in common.
fn id_and_stream(event: &Value) -> (u64, String) {
    assert_eq!(event["kind"], "unpublish");
    assert_eq!(event["details"]["cause"], "clean");
    (event["id"].as_u64().unwrap(), event["stream"].as_str().unwrap().to_owned())
}

/// Lines behind the head of a server-sent stream; chunk sizes are no lines of it, for they hold no colon.
async fn server_sent(address: SocketAddr, last: Option<u64>) -> BufReader<TcpStream> {
    let mut socket = client::connect(address).await;
    let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    let head =
        format!("GET /api/v1/events HTTP/1.1\r\nHost: a.example\r\nAccept: text/event-stream\r\n{last}\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(socket);
    let mut line = String::new();
    let mut is_stream = false;
    while line != "\r\n" {
        line.clear();
        assert_ne!(within(lines.read_line(&mut line)).await.unwrap(), 0, "an answer");
        is_stream |= line.eq_ignore_ascii_case("content-type: text/event-stream\r\n");
    }
    assert!(is_stream);
    lines
}

/// The next message: its id, its type and its data.
async fn message(lines: &mut BufReader<TcpStream>) -> (Option<u64>, Option<String>, Value) {
    let (mut id, mut kind) = (None, None);
    loop {
        let mut line = String::new();
        assert_ne!(within(lines.read_line(&mut line)).await.unwrap(), 0, "the stream stays open");
        match line.trim_end().split_once(": ") {
            Some(("id", value)) => id = Some(value.parse().unwrap()),
            Some(("event", value)) => kind = Some(value.to_owned()),
            Some(("data", value)) => return (id, kind, serde_json::from_str(value).unwrap()),
            _ => {}
        }
    }
}

async fn read_server_sent(address: SocketAddr) -> Vec<(u64, String)> {
    let mut seen: Vec<(u64, String)> = Vec::new();
    while seen.len() < EVENTS {
        let mut lines = server_sent(address, seen.last().map(|(id, _)| *id)).await;
        for _ in 0..PER_CONNECTION.min(EVENTS - seen.len()) {
            let (id, kind, event) = message(&mut lines).await;
            assert_eq!((id, kind), (event["id"].as_u64(), None));
            seen.push(id_and_stream(&event));
        }
    }
    seen
}

async fn read_websocket(address: SocketAddr) -> Vec<(u64, String)> {
    let mut seen: Vec<(u64, String)> = Vec::new();
    while seen.len() < EVENTS {
        let after = seen.last().map_or(0, |(id, _)| *id);
        let url = format!("ws://{address}/api/v1/events?after={after}");
        let socket = client::connect(address).await;
        let (mut socket, _) = within(tokio_tungstenite::client_async(url, socket)).await.unwrap();
        let enough = seen.len() + PER_CONNECTION.min(EVENTS - seen.len());
        while seen.len() < enough {
            if let Message::Text(text) = within(socket.next()).await.unwrap().unwrap() {
                seen.push(id_and_stream(&serde_json::from_str(&text).unwrap()));
            }
        }
    }
    seen
}

async fn poll(address: SocketAddr) -> Vec<(u64, String)> {
    let mut seen: Vec<(u64, String)> = Vec::new();
    while seen.len() < EVENTS {
        let after = seen.last().map_or(0, |(id, _)| *id);
        let page = get(address, &format!("/api/v1/events?after={after}&wait=30s"), "").await;
        let page: Value = serde_json::from_slice(&page.body).unwrap();
        assert_eq!((&page["lost"], &page["restarted"]), (&0.into(), &false.into()));
        seen.extend(page["events"].as_array().unwrap().iter().map(id_and_stream));
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_forms_tell_the_same_events_over_broken_connections() {
    let server = serve().await;
    let address = server.address;
    let readers = (
        tokio::spawn(read_server_sent(address)),
        tokio::spawn(read_websocket(address)),
        tokio::spawn(poll(address)),
    );
    for nth in 0..EVENTS {
        push(&server.events, nth);
        if nth % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let server_sent = within(readers.0).await.unwrap();
    assert_eq!(server_sent, within(readers.1).await.unwrap());
    assert_eq!(server_sent, within(readers.2).await.unwrap());
    let first = server_sent[0].0;
    let expected: Vec<_> = (0..EVENTS).map(|nth| (first + nth as u64, format!("cam{nth}"))).collect();
    assert_eq!(server_sent, expected);
}

#[tokio::test]
async fn who_was_away_for_too_long_is_told_what_is_lost() {
    let server = serve().await;
    push(&server.events, 0);
    let first = message(&mut server_sent(server.address, None).await).await.0.unwrap();
    for nth in 1..=KEPT + 41 {
        push(&server.events, nth);
    }
    let mut lines = server_sent(server.address, Some(first)).await;
    let (id, kind, lost) = message(&mut lines).await;
    assert_eq!((id, kind.as_deref()), (None, Some("lost")), "it has no place of its own");
    assert_eq!(lost, serde_json::json!({ "lost": 41, "restarted": false }));
    assert_eq!(message(&mut lines).await.0, Some(first + 42));

    let page = get(server.address, &format!("/api/v1/events?after={first}"), "").await;
    let page: Value = serde_json::from_slice(&page.body).unwrap();
    assert_eq!((&page["lost"], &page["restarted"]), (&41.into(), &false.into()));

    let foreign = get(server.address, "/api/v1/events?after=7", "").await;
    let foreign: Value = serde_json::from_slice(&foreign.body).unwrap();
    assert_eq!(foreign["restarted"], true, "a number of an earlier life");
}

#[tokio::test]
async fn readers_whose_connections_stay_open_are_counted() {
    let server = serve().await;
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(server_sent(server.address, None).await);
    }
    let refused = get(server.address, "/api/v1/events", "Accept: text/event-stream\r\n").await;
    assert_eq!(refused.status, 503);
    assert_eq!(get(server.address, "/api/v1/events", "").await.status, 200, "a short answer takes no place");
    drop(open);
    let let_in = async {
        // A place is free once the server has seen that the connection is gone: at the latest when it has something to say.
        while !is_let_in(server.address).await {
            push(&server.events, 0);
        }
    };
    within(let_in).await;
}

async fn is_let_in(address: SocketAddr) -> bool {
    let mut socket = client::connect(address).await;
    socket
        .write_all(&client::request("GET", "/api/v1/events", "Accept: text/event-stream\r\n"))
        .await
        .unwrap();
    let mut line = String::new();
    within(BufReader::new(socket).read_line(&mut line)).await.unwrap();
    line.starts_with("HTTP/1.1 200 ")
}

//! The page's list as server-sent events: what a reader is told, when, and how it ends.

use headwater_packager::State;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{Response, connect, exchange, get, read_response, request, within};
use super::{LISTED, live_server, snapshot};

const PATH: &str = "/api/v1/live/events";

/// As many as may follow at a time.
const READERS_MAX: usize = 500;

/// One who follows the list.
struct Follower {
    stream: TcpStream,
    head: Response,
    text: String,
}

impl Follower {
    async fn new(address: std::net::SocketAddr) -> Follower {
        let mut stream = connect(address).await;
        // HTTP/1.0 has no chunks, so the body is what is sent.
        stream.write_all(format!("GET {PATH} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let head = within(read_response(&mut stream, true)).await;
        Follower { stream, head, text: String::new() }
    }

    /// The next message: its event and its data.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = message.lines();
                    lines.find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
                };
                let (event, data, rest) = (field("event: "), field("data: "), rest.to_owned());
                let is_retry = message.starts_with("retry: ");
                self.text = rest;
                if is_retry {
                    continue;
                }
                return Some((event, serde_json::from_str(&data).expect("JSON")));
            }
            let mut bytes = [0; 4_096];
            let len = within(self.stream.read(&mut bytes)).await.unwrap();
            if len == 0 {
                return None;
            }
            self.text.push_str(std::str::from_utf8(&bytes[..len]).unwrap());
        }
    }

    /// The next message of that event; figures come in between.
    async fn find(&mut self, wanted: &str) -> Value {
        loop {
            let (event, data) = self.next().await.expect("it goes on");
            if event == wanted {
                return data;
            }
            assert_eq!(event, "figures");
        }
    }
}

#[tokio::test]
async fn a_reader_is_told_of_every_change() {
    let server = live_server(|_| {}).await;
    let mut follower = Follower::new(server.address).await;
    assert_eq!(follower.head.status, 200);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("access-control-allow-origin", "*"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(follower.head.header(name), Some(value));
    }
    let (event, list) = follower.next().await.unwrap();
    let live: Value = serde_json::from_slice(&get(server.address, "/api/v1/live", "").await.body).unwrap();
    assert_eq!((event.as_str(), &list), ("list", &live), "the list comes first, and is the same");
    let (event, figures) = follower.next().await.unwrap();
    assert_eq!(event, "figures");
    assert_eq!((&figures[0]["app"], &figures[0]["name"]), (&list[0]["app"], &list[0]["name"]));
    assert_eq!(figures[0]["bitrate"], Value::Null, "one look is no rate");
    let figures = follower.find("figures").await;
    assert_eq!((&figures[0]["bitrate"], &figures[0]["viewers"]), (&0.into(), &0.into()), "nobody publishes");

    server.registry.publish_for_test("live", "other", snapshot(State::Live, LISTED));
    let changed = follower.find("changed").await;
    let names: Vec<_> = changed["streams"].as_array().unwrap().iter().map(|stream| &stream["name"]).collect();
    assert_eq!((names, &changed["gone"]), (vec![&Value::from("other")], &serde_json::json!([])));

    // Who comes later begins with all that there is.
    let mut late = Follower::new(server.address).await;
    let (event, list) = late.next().await.unwrap();
    assert_eq!((event.as_str(), list.as_array().map(Vec::len)), ("list", Some(2)));

    server.shutdown.send_replace(true);
    while late.next().await.is_some() {}
    while follower.next().await.is_some() {}
    within(server.context.drained()).await;
}

#[tokio::test]
async fn readers_are_so_many_and_no_more() {
    let server = live_server(|config| config.http.max_connections_per_address = 2_000).await;
    let head = exchange(server.address, &request("HEAD", PATH, "")).await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    let mut followers = Vec::new();
    for _ in 0..READERS_MAX {
        let follower = Follower::new(server.address).await;
        assert_eq!(follower.head.status, 200);
        followers.push(follower);
    }
    let refused = get(server.address, PATH, "").await;
    assert_eq!((refused.status, refused.header("cache-control")), (503, Some("no-store")));
    drop(followers);
    within(async {
        // The server sees that they have gone when it next tells them something.
        while Follower::new(server.address).await.head.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
}

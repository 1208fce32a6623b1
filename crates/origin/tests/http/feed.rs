//! The page's list as server-sent events: what a reader is told, when, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use headwater_origin::auth::token::{Action, Tokens};
use headwater_origin::clock::Clocks;
use headwater_origin::config::{Config, Secret};
use headwater_packager::State;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{Response, connect, exchange, get, read_response, request, within};
use super::{LISTED, Server, live_server, snapshot};

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
        Follower::showing(address, "").await
    }

    /// With a token in front of the path, unless it is empty.
    async fn showing(address: std::net::SocketAddr, token: &str) -> Follower {
        let mut stream = connect(address).await;
        let place = if token.is_empty() { String::new() } else { format!("/t/{token}") };
        // HTTP/1.0 has no chunks, so the body is what is sent.
        stream.write_all(format!("GET {place}{PATH} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
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

/// The names in a list, with their apps.
fn names(list: &Value) -> Vec<String> {
    let name =
        |stream: &Value| format!("{}/{}", stream["app"].as_str().unwrap(), stream["name"].as_str().unwrap());
    list.as_array().unwrap().iter().map(name).collect()
}

/// Ends a stream of a server whose `publish.end_delay` is zero. It was never a publisher's, so it is forgotten at once.
fn end(server: &Server, name: &str) {
    let stream = server.registry.stream("live", name).expect("it is there");
    server.registry.end_stream(&stream);
}

#[tokio::test]
async fn a_stream_that_is_forgotten_is_gone() {
    let server = live_server(|config| config.publish.end_delay = Duration::ZERO).await;
    server.registry.publish_for_test("live", "brief", snapshot(State::Live, LISTED));
    let mut follower = Follower::new(server.address).await;
    assert_eq!(names(&follower.find("list").await), ["live/brief", "live/cam"]);
    end(&server, "brief");
    let changed = follower.find("changed").await;
    assert_eq!(changed, json!({ "streams": [], "gone": ["live/brief"] }));
    assert_eq!(names(&follower.find("figures").await), ["live/cam"]);
    // The name is as any other then.
    server.registry.publish_for_test("live", "brief", snapshot(State::Live, LISTED));
    let changed = follower.find("changed").await;
    assert_eq!((names(&changed["streams"]), &changed["gone"]), (vec!["live/brief".to_owned()], &json!([])));
}

const SECRET: &str = "a-secret-of-twenty-two";

fn token(action: Action, app: Option<&str>, stream: Option<&str>, seconds: i64) -> String {
    let expires = Clocks::start().wall().unix_seconds().saturating_add_signed(seconds);
    Tokens::new(vec![Secret::new(SECRET)]).make(action, app, stream, expires).unwrap()
}

/// A server that asks for tokens, with `live/cam`, `live/other` and `eu/cam`.
async fn guarded_server() -> Server {
    let server = live_server(|config| {
        config.publish.end_delay = Duration::ZERO;
        config.play.token_required = true;
        config.auth.token_secrets = vec![Secret::new(SECRET)];
    })
    .await;
    server.registry.publish_for_test("live", "other", snapshot(State::Live, LISTED));
    server.registry.publish_for_test("eu", "cam", snapshot(State::Live, LISTED));
    server
}

#[tokio::test]
async fn names_are_told_to_those_who_may_play_them() {
    let server = guarded_server().await;
    let (play, publish) = (Action::Play, Action::Publish);
    let cam = token(play, Some("live"), Some("cam"), 600);
    let flipped = format!("{}{}", &cam[..cam.len() - 1], if cam.ends_with('0') { '1' } else { '0' });
    for (case, token, status, listed) in [
        ("none", String::new(), 401, &[][..]),
        ("publish", token(publish, Some("live"), Some("cam"), 600), 403, &[]),
        ("expired", token(play, Some("live"), Some("cam"), -1), 403, &[]),
        ("everything, expired", token(play, None, None, -1), 403, &[]),
        ("no token", "nonsense".to_owned(), 403, &[]),
        ("a stream", cam, 200, &["live/cam"]),
        ("another's signature", flipped, 200, &[]),
        ("a stream that is not there", token(play, Some("live"), Some("none"), 600), 200, &[]),
        ("an app", token(play, Some("live"), None, 600), 200, &["live/cam", "live/other"]),
        ("everything", token(play, None, None, 600), 200, &["eu/cam", "live/cam", "live/other"]),
    ] {
        let place = if token.is_empty() { String::new() } else { format!("/t/{token}") };
        let list = get(server.address, &format!("{place}/api/v1/live"), "").await;
        assert_eq!((list.status, list.header("cache-control")), (status, Some("no-store")), "{case}");
        let in_query = get(server.address, &format!("/api/v1/live?token={token}"), "").await;
        if !token.is_empty() {
            assert_eq!((in_query.status, &in_query.body), (status, &list.body), "{case}");
        }
        let mut follower = Follower::showing(server.address, &token).await;
        assert_eq!(follower.head.status, status, "{case}");
        if status != 200 {
            assert!(!String::from_utf8_lossy(&list.body).contains("cam"), "{case}");
            continue;
        }
        assert_eq!(names(&serde_json::from_slice(&list.body).unwrap()), listed, "{case}");
        assert_eq!(names(&follower.find("list").await), listed, "{case}");
        assert_eq!(names(&follower.find("figures").await), listed, "{case}");
    }
}

#[tokio::test]
async fn a_reader_with_a_token_is_told_of_its_changes_alone() {
    let server = guarded_server().await;
    let mut follower = Follower::showing(server.address, &token(Action::Play, Some("live"), None, 600)).await;
    assert_eq!(names(&follower.find("list").await), ["live/cam", "live/other"]);
    // Not its own: nothing but figures comes until something of its own changes.
    server.registry.publish_for_test("eu", "other", snapshot(State::Live, LISTED));
    assert_eq!(names(&follower.find("figures").await), ["live/cam", "live/other"]);
    assert_eq!(names(&follower.find("figures").await), ["live/cam", "live/other"]);
    server.registry.publish_for_test("live", "third", snapshot(State::Live, LISTED));
    let changed = follower.find("changed").await;
    assert_eq!((names(&changed["streams"]), &changed["gone"]), (vec!["live/third".to_owned()], &json!([])));
    server.registry.publish_for_test("live", "cam", snapshot(State::Waiting, LISTED));
    assert_eq!(names(&follower.find("changed").await["streams"]), ["live/cam"]);
    end(&server, "third");
    assert_eq!(follower.find("changed").await, json!({ "streams": [], "gone": ["live/third"] }));
}

/// What readers may be told is looked at anew each second.
#[tokio::test]
async fn a_reader_ends_with_its_permission() {
    let server = guarded_server().await;
    let mut briefly = Follower::showing(server.address, &token(Action::Play, None, None, 2)).await;
    assert_eq!(briefly.find("list").await.as_array().map(Vec::len), Some(3));
    while briefly.next().await.is_some() {}

    let cam = token(Action::Play, Some("live"), Some("cam"), 600);
    let mut follower = Follower::showing(server.address, &cam).await;
    assert_eq!(names(&follower.find("list").await), ["live/cam"]);
    let guarded = server.config.now();
    let mut open = Config::clone(&guarded);
    open.play.token_required = false;
    server.authorizer.reload(Arc::new(open)).unwrap();
    assert_eq!(follower.find("list").await.as_array().map(Vec::len), Some(3), "all of it now");
    let mut nobody = Follower::new(server.address).await;
    assert_eq!(nobody.find("list").await.as_array().map(Vec::len), Some(3));
    server.authorizer.reload(Arc::clone(&guarded)).unwrap();
    while nobody.next().await.is_some() {}
    assert_eq!(names(&follower.find("list").await), ["live/cam"], "and again what its token covers");

    let mut closed = Config::clone(&guarded);
    closed.http.page = false;
    server.config.exchange(Arc::new(closed));
    while follower.next().await.is_some() {}
    assert_eq!(get(server.address, &format!("/t/{cam}/api/v1/live"), "").await.status, 404);
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

//! The admin listener over loopback: what monitoring and operators ask it.

#[allow(dead_code, reason = "the playback listener's tests need more of it")]
mod client;

use std::sync::Arc;

use headwater_media::WallTime;
use headwater_origin::clock::Clocks;
use headwater_origin::config::Config;
use headwater_origin::registry::Registry;
use headwater_origin::{admin, http};
use headwater_packager::{Snapshot, State, Tracks};
use tokio::net::TcpListener;
use tokio::sync::watch;

use client::{get, request, within};

fn snapshot() -> Snapshot {
    Snapshot {
        version: 1,
        state: State::Starting,
        tracks: Tracks::default(),
        frame_rate_millihertz: None,
        bandwidth: None,
        published_at: WallTime::from_unix_millis(0),
        cmaf: None,
        date_ranges: Arc::default(),
        ts: None,
    }
}

#[tokio::test]
async fn what_operators_ask() {
    let config = Arc::new(Config::default());
    let registry = Registry::new(Arc::clone(&config), Clocks::start(), None);
    registry.publish_for_test("live", "cam", snapshot());
    registry.publish_for_test("live/eu", "cam", snapshot());
    let playback = Arc::new(http::Context::new(Arc::clone(&registry), config));
    let context = Arc::new(admin::Context::new(registry, Arc::clone(&playback)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, down) = watch::channel(false);
    let task = tokio::spawn(admin::serve(listener, context, down.clone()));

    let json = "application/json";
    let text = "text/plain; charset=utf-8";
    for (path, status, content_type) in [
        ("/healthz", 200, text),
        ("/readyz", 200, text),
        ("/metrics", 200, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("/api/v1/openapi.json", 200, json),
        ("/api/v1/publishers/live/cam", 405, ""),
        ("/api/v1/reload", 405, ""),
        ("/api/v1/status", 200, json),
        ("/api/v1/streams", 200, json),
        ("/api/v1/events", 200, json),
        ("/api/v1/events?after=7&wait=1ms", 200, json),
        ("/api/v1/events?wait=soon", 400, text),
        ("/api/v1/events?after=-1", 400, text),
        ("/api/v1/streams/live/cam", 200, json),
        ("/api/v1/streams/live/eu/cam", 200, json),
        ("/api/v1/streams/live/none", 404, text),
        ("/api/v1/streams/live/eu/none", 404, text),
        ("/api/v1/streams/live", 404, text),
        ("/api/v1/streams/a/b/c/d", 404, text),
        ("/", 404, text),
        ("/live/cam/index.m3u8", 404, text),
    ] {
        let response = get(address, path, "Origin: https://a.example\r\n").await;
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.header("content-type").unwrap_or_default(), content_type, "{path}");
        assert_eq!(response.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(
            response.header("access-control-allow-origin"),
            None,
            "{path}: no page of another origin reads this"
        );
    }
    let posted =
        client::exchange(address, &request("POST", "/api/v1/streams", "Content-Length: 0\r\n")).await;
    assert_eq!(posted.status, 405);
    // A page can send this without asking first, and says then that it is one.
    for (origin, status) in [("Origin: https://a.example\r\n", 403), ("Origin: null\r\n", 403), ("", 503)] {
        let headers = format!("Content-Length: 0\r\n{origin}");
        let posted = client::exchange(address, &request("POST", "/api/v1/reload", &headers)).await;
        assert_eq!(posted.status, status, "{origin}: nobody reads a configuration here");
    }

    let list: serde_json::Value =
        serde_json::from_slice(&get(address, "/api/v1/streams", "").await.body).unwrap();
    let names: Vec<_> =
        list.as_array().unwrap().iter().map(|stream| (&stream["app"], &stream["name"])).collect();
    assert_eq!(names, [(&"live".into(), &"cam".into()), (&"live/eu".into(), &"cam".into())]);
    let one: serde_json::Value =
        serde_json::from_slice(&get(address, "/api/v1/streams/live/eu/cam", "").await.body).unwrap();
    assert_eq!(one["app"], "live/eu");
    assert_eq!(one["state"], "starting");

    // While the playback listener drains, the process is alive and not ready; behind it, nothing needs an answer any more.
    shutdown.send_replace(true);
    assert_eq!(get(address, "/readyz", "").await.status, 503);
    assert_eq!(get(address, "/healthz", "").await.status, 200);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    within(http::serve(listener, playback, down)).await;
    within(task).await.unwrap();
}

//! Requests that wait for what does not exist yet.

use std::time::Duration;

use headwater_media::WallTime;
use headwater_packager::{Cmaf, Snapshot, State};
use tokio::io::AsyncWriteExt;

use super::client::{connect, eventually, get, read_response, request, within};
use super::{FIRST, LISTED, assert_common, live_server, payload, server, snapshot};

#[tokio::test]
async fn a_first_playlist_is_held_until_there_is_media() {
    let server = server(|_| {}).await;
    server.registry.publish_for_test("live", "cam", snapshot(State::Starting, 0));
    let mut waiting = connect(server.address).await;
    waiting.write_all(&request("GET", "/live/cam/index.m3u8", "")).await.unwrap();
    eventually("a held request", || server.context.status().held == 1).await;
    server.registry.publish_for_test("live", "cam", snapshot(State::Live, 1));
    let response = within(read_response(&mut waiting, false)).await;
    assert_eq!(response.status, 200);
    assert!(response.body.starts_with(b"#EXTM3U"));
    eventually("no held request", || server.context.status().held == 0).await;
}

#[tokio::test]
async fn one_packaging_is_waited_for_when_another_is_there_already() {
    let server = server(|_| {}).await;
    let nothing = Cmaf {
        complete_below: u64::MAX,
        part_target: None,
        timed_metadata: false,
        over: None,
        low_latency_published_at: WallTime::from_unix_millis(0),
        video: None,
        audio: None,
        periods: Vec::new(),
        inits: Vec::new(),
        video_bandwidth: None,
        audio_bandwidth: None,
        frame_rate_millihertz: None,
        window: Duration::from_secs(20),
        published_at: WallTime::from_unix_millis(0),
    };
    let live = Snapshot { cmaf: Some(nothing), ..snapshot(State::Live, 1) };
    server.registry.publish_for_test("live", "cam", live.clone());
    assert_eq!(get(server.address, "/live/cam/index.m3u8", "").await.status, 200);
    for path in ["/live/cam/llhls.m3u8", "/live/cam/video/media.m3u8", "/live/cam/manifest.mpd"] {
        let mut waiting = connect(server.address).await;
        waiting.write_all(&request("GET", path, "")).await.unwrap();
        eventually(path, || server.context.status().held == 1).await;
        drop(waiting);
        eventually("nothing left", || server.context.status().held == 0).await;
    }
    // Nothing more comes: what is not there now will not be.
    server.registry.publish_for_test("live", "cam", Snapshot { state: State::Waiting, ..live });
    assert_eq!(get(server.address, "/live/cam/llhls.m3u8", "").await.status, 404);
}

#[tokio::test]
async fn a_hold_ends_in_404_at_its_limit_or_with_the_publisher() {
    let server = server(|config| config.http.hold_timeout = Duration::from_millis(50)).await;
    server.registry.publish_for_test("live", "cam", snapshot(State::Starting, 0));
    let response = get(server.address, "/live/cam.m3u8", "").await;
    assert_eq!((response.status, response.header("cache-control")), (404, Some("public, max-age=1")));
    assert_common("limit", &response);

    let server = self::server(|_| {}).await;
    server.registry.publish_for_test("live", "cam", snapshot(State::Starting, 0));
    let mut waiting = connect(server.address).await;
    waiting.write_all(&request("GET", "/live/cam.m3u8", "")).await.unwrap();
    eventually("a held request", || server.context.status().held == 1).await;
    server.registry.publish_for_test("live", "cam", snapshot(State::Ended, 0));
    assert_eq!(within(read_response(&mut waiting, false)).await.status, 404);
}

#[tokio::test]
async fn a_departed_client_frees_its_hold() {
    let server = server(|_| {}).await;
    server.registry.publish_for_test("live", "cam", snapshot(State::Starting, 0));
    let mut waiting = connect(server.address).await;
    waiting.write_all(&request("GET", "/live/cam.m3u8", "")).await.unwrap();
    eventually("a held request", || server.context.status().held == 1).await;
    drop(waiting);
    eventually("nothing left", || {
        let status = server.context.status();
        (status.held, status.connections) == (0, 0)
    })
    .await;
}

#[tokio::test]
async fn the_next_segment_is_held_and_the_one_after_is_not() {
    let server = live_server(|_| {}).await;
    let next = FIRST + LISTED;
    let mut waiting = connect(server.address).await;
    waiting.write_all(&request("GET", &format!("/live/cam/ts/{next}.ts"), "")).await.unwrap();
    eventually("a held request", || server.context.status().held == 1).await;
    assert_eq!(get(server.address, &format!("/live/cam/ts/{}.ts", next + 1), "").await.status, 404);
    server.registry.publish_for_test("live", "cam", snapshot(State::Live, LISTED + 1));
    let response = within(read_response(&mut waiting, false)).await;
    assert_eq!((response.status, response.body.as_slice()), (200, payload(next).as_ref()));
    // Without a publisher nothing is in production.
    server.registry.publish_for_test("live", "cam", snapshot(State::Waiting, LISTED));
    assert_eq!(get(server.address, &format!("/live/cam/ts/{next}.ts"), "").await.status, 404);
}

#[tokio::test]
async fn holds_are_limited() {
    let server = server(|config| config.http.max_held_requests_per_address = 1).await;
    server.registry.publish_for_test("live", "cam", snapshot(State::Starting, 0));
    let mut first = connect(server.address).await;
    first.write_all(&request("GET", "/live/cam.m3u8", "")).await.unwrap();
    eventually("a held request", || server.context.status().held == 1).await;
    let second = get(server.address, "/live/cam.m3u8", "").await;
    assert_eq!((second.status, second.header("cache-control")), (503, Some("no-store")));
    assert_eq!(second.header("retry-after"), Some("1"));
    assert_common("over the limit", &second);
    assert_eq!(server.context.status().held_refused, 1);
}

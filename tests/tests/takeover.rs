//! A second publisher on a name that is being published: it takes over, and two encoders with one name don't take turns.

use std::time::{Duration, Instant};

use headwater_tests::rtmp_client::{Heard, RtmpClient, Stage};
use headwater_tests::server::fetch;
use headwater_tests::{Headwater, Scratch, media, publish, wait_for};

const BAD_NAME: &str = "NetStream.Publish.BadName";

/// For one segment, and for a machine that has other work.
const SOON: Duration = Duration::from_secs(20);

/// What an encoder hears that asks for `cam`.
fn ask(server: &Headwater) -> (RtmpClient, Heard) {
    let mut client = RtmpClient::open(server.rtmp_port(), "cam");
    client.reach(Stage::Created).expect("a message stream");
    client.ask_to_publish(client.stream_id);
    let heard = client.status().expect("an answer");
    (client, heard)
}

fn counter(server: &Headwater, name: &str) -> u64 {
    server.streams()[0]["counters"][name].as_u64().expect("a counter")
}

fn newest_segment(server: &Headwater) -> u64 {
    server.streams()[0]["media_sequence_last"].as_u64().unwrap_or_default()
}

fn wait_for_a_segment(server: &Headwater) {
    let before = newest_segment(server);
    wait_for("a segment", SOON, || (newest_segment(server) > before).then_some(()));
}

#[test]
fn a_newcomer_takes_over_and_keeps_the_name() {
    let scratch = Scratch::new("takeover");
    let server = Headwater::start(&scratch);
    let url = server.publish_url("cam");
    let mut first = publish::ffmpeg(&scratch, "first", &media::clip(), 9, &url);
    server.wait_until_playable("cam", SOON);

    let mut second = publish::ffmpeg(&scratch, "second", &media::clip(), 9, &url);
    assert!(!first.wait(SOON).success(), "it is told that it lost the stream");
    wait_for("the takeover", SOON, || (counter(&server, "takeovers") == 1).then_some(()));
    wait_for_a_segment(&server);
    let playlist = fetch(&server.http_url("/live/cam/ts/media.m3u8")).text();
    assert!(!playlist.contains("#EXT-X-DISCONTINUITY\n"), "the same coding goes on: {playlist}");
    assert!(!playlist.contains("#EXT-X-ENDLIST"), "{playlist}");

    // The first encoder reconnects, as encoders do. Its address is all that tells it from others, and here all share one.
    let (_refused, heard) = ask(&server);
    assert_eq!(heard.code, BAD_NAME, "{heard:?}");
    assert!(heard.description.contains("another encoder took live/cam over"), "{heard:?}");
    assert_eq!(counter(&server, "takeover_conflicts"), 1);
    wait_for_a_segment(&server);
    assert!(second.status().is_none(), "the second one stays: {}", second.log());

    let page = fetch(&server.admin_url("/api/v1/events?after=0")).text();
    let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    let kinds: Vec<&str> = page["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter_map(|event| event["kind"].as_str())
        .collect();
    let (first, taken_over) = (["publish", "stream_ready"], ["unpublish", "stream_idle", "takeover"]);
    let expected = [&first[..], &taken_over[..], &first[..], &["takeover_conflict"][..]].concat();
    assert_eq!(kinds, expected, "{page}");

    // The second one hangs without closing its connection: nobody can tell a stopped process from a dead network.
    second.signal("STOP");
    let silent = Instant::now();
    let _third = wait_for("the name to be free", SOON, || {
        let (client, heard) = ask(&server);
        (heard.code == "NetStream.Publish.Start").then_some(client)
    });
    // What was on its way when it stopped was sent before.
    assert!(silent.elapsed() > Duration::from_millis(1_800), "free after {:?}", silent.elapsed());
    assert_eq!(counter(&server, "takeovers"), 2);
    second.signal("CONT");
    assert!(!second.wait(SOON).success(), "it is told when it wakes up");
}

#[test]
fn a_newcomer_is_refused_where_that_is_configured() {
    let scratch = Scratch::new("takeover-refused");
    let server = Headwater::start_with(&scratch, "[publish]\ntakeover = \"refuse\"");
    let mut first = publish::ffmpeg(&scratch, "first", &media::clip(), 9, &server.publish_url("cam"));
    server.wait_until_playable("cam", SOON);
    let (_refused, heard) = ask(&server);
    assert_eq!(heard.code, BAD_NAME, "{heard:?}");
    assert!(heard.description.contains("live/cam is already being published"), "{heard:?}");
    first.signal("STOP");
    let _second = wait_for("the silent one to lose the name", SOON, || {
        let (client, heard) = ask(&server);
        (heard.code == "NetStream.Publish.Start").then_some(client)
    });
    first.kill();
}

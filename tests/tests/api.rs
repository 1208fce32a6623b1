//! The API for operators: what it does to streams, what it says of their health, and whether it is what its description says.

use std::process::{Command, Stdio};
use std::time::Duration;

use headwater_tests::paced::Paced;
use headwater_tests::server::{delete, fetch};
use headwater_tests::{Headwater, Scratch, media, publish, root, wait_for};
use serde_json::Value;

/// How long the clip is.
const CLIP_MS: u32 = 16_000;

/// For an encoder and some segments, on a machine that has other work.
const SOON: Duration = Duration::from_secs(60);

fn kinds(server: &Headwater) -> Vec<String> {
    let page = fetch(&server.admin_url("/api/v1/events")).text();
    let page: Value = serde_json::from_str(&page).expect("JSON");
    let events = page["events"].as_array().expect("events");
    events
        .iter()
        .map(|event| format!("{} {}", event["kind"].as_str().expect("a kind"), event["details"]))
        .collect()
}

#[test]
fn a_last_word_is_heard_of_a_publisher_that_stays_connected() {
    let scratch = Scratch::new("last-word");
    let server = Headwater::start(&scratch);
    let publisher = Paced::start(server.rtmp_port(), "cam", &media::clip(), CLIP_MS, 0);
    server.wait_until_playable("cam", SOON);
    // Nobody watches, so its media is read some milliseconds at a time before long; the last word is shorter than what is waited for.
    let listed = || server.streams()[0]["media_sequence_last"].as_u64().unwrap_or_default();
    let first = listed();
    wait_for("two more segments", SOON, || (listed() > first + 1).then_some(()));
    publisher.end();
    wait_for("the end of the publication", SOON, || {
        kinds(&server).into_iter().find(|event| event.starts_with("unpublish"))
    });
    assert!(kinds(&server).contains(&"unpublish {\"cause\":\"clean\"}".to_owned()), "{:?}", kinds(&server));
}

#[test]
fn an_operator_disconnects_publishers_and_ends_streams() {
    let scratch = Scratch::new("control");
    let server = Headwater::start(&scratch);
    let url = server.publish_url("cam");
    let mut first = publish::ffmpeg(&scratch, "first", &media::clip(), 20, &url);
    server.wait_until_playable("cam", SOON);
    assert_eq!(delete(&server.admin_url("/api/v1/publishers/live/none")), 404);
    assert_eq!(delete(&server.admin_url("/api/v1/publishers/live/cam")), 202);
    assert!(!first.wait(SOON).success(), "it is told to leave");
    wait_for("the stream to wait", SOON, || (server.streams()[0]["state"] == "waiting").then_some(()));
    assert_eq!(delete(&server.admin_url("/api/v1/publishers/live/cam")), 404, "nobody publishes it now");
    let told = kinds(&server);
    assert!(told.contains(&"unpublish {\"cause\":\"server\"}".to_owned()), "{told:?}");

    // It was no verdict on the name: the encoder may return, and then the stream is ended under it.
    let mut second = publish::ffmpeg(&scratch, "second", &media::clip(), 20, &url);
    wait_for("the stream to go on", SOON, || (server.streams()[0]["state"] == "live").then_some(()));
    assert_eq!(delete(&server.admin_url("/api/v1/streams/live/cam")), 202);
    assert!(!second.wait(SOON).success(), "it is told to leave");
    wait_for("the end", SOON, || {
        fetch(&server.http_url("/live/cam/ts/media.m3u8")).text().contains("#EXT-X-ENDLIST").then_some(())
    });
    assert_eq!(delete(&server.admin_url("/api/v1/streams/live/cam")), 202, "an end is an end");
    assert_eq!(delete(&server.admin_url("/api/v1/streams/live/none")), 404);
    let told = kinds(&server);
    assert_eq!(told.last().map(String::as_str), Some("stream_idle {\"state\":\"ended\"}"), "{told:?}");
}

#[test]
fn health_is_told_in_words() {
    let scratch = Scratch::new("health");
    let server = Headwater::start(&scratch);
    // A keyframe each 4 s where segments are to be 2 s long, and no sound.
    let mut silent = Command::new("ffmpeg");
    silent.args([
        "-nostdin",
        "-hide_banner",
        "-v",
        "warning",
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=160x90:r=15",
    ]);
    silent.args([
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-g",
        "60",
        "-keyint_min",
        "60",
        "-sc_threshold",
        "0",
    ]);
    silent.args(["-t", "60", "-f", "flv", &server.publish_url("cam")]);
    let _encoder = headwater_tests::Process::start("silent", silent, &scratch);
    let health = wait_for("a window to be judged", SOON, || {
        let health = server.streams()[0]["health"].clone();
        health.is_object().then_some(health)
    });
    let findings = health["findings"].as_array().expect("findings");
    let text = |rule: &str| {
        let found = findings.iter().find(|found| found["rule"] == rule);
        found.and_then(|found| found["text"].as_str()).unwrap_or_else(|| panic!("{rule} in {health}"))
    };
    assert!(text("gop_too_long").contains("a keyframe comes each 4 s only"), "{health}");
    assert!(text("audio_missing").contains("no sound comes"), "{health}");
    assert!(health["latency"].as_str().expect("words").contains("three segments of 4 s"), "{health}");
    // What parts were settled to last, not the 200 ms that were wished for: three pictures, and a millisecond each for stamps and for rounding.
    assert!(health["latency"].as_str().expect("words").contains("three parts of 202 ms"), "{health}");
    let told = kinds(&server);
    assert!(told.iter().any(|event| event.contains("health") && event.contains("gop_too_long")), "{told:?}");
}

#[test]
fn the_api_is_what_its_description_says() {
    let scratch = Scratch::new("schemathesis");
    let server = Headwater::start(&scratch);
    let _publisher = publish::ffmpeg(&scratch, "encoder", &media::clip(), 40, &server.publish_url("cam"));
    server.wait_until_playable("cam", SOON);
    let mut command = Command::new(root().join("target/python/bin/schemathesis"));
    command.arg("run").arg(server.admin_url("/api/v1/openapi.json"));
    command.args([
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
    ]);
    // The same requests each time, one after the other.
    command.args(["--generation-deterministic", "--workers", "1", "--max-examples", "10"]);
    command
        .args(["--phases", "coverage,fuzzing", "--warnings", "off", "--no-color"])
        .current_dir(scratch.path());
    let output = command.stdin(Stdio::null()).output().expect("schemathesis; `cargo xtask deps` installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

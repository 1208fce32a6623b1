//! Another configuration under way, with real publishers and players: what is in force at once, for new connections and for new streams,
//! and that each key is told by what it does.

use std::path::PathBuf;
use std::time::Duration;

use headwater_tests::rtmp_client::{RtmpClient, Stage};
use headwater_tests::server::{Answer, fetch, post, try_fetch};
use headwater_tests::{Headwater, Process, Scratch, media, publish, wait_for};
use serde_json::{Value, json};

/// An encoder that connects and sends a first segment, on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// A server whose configuration is written anew.
struct Changing {
    server: Headwater,
    file: PathBuf,
    before: String,
}

impl Changing {
    fn start(scratch: &Scratch, configuration: &str) -> Changing {
        let server = Headwater::start_with(scratch, configuration);
        let file = scratch.join("headwater.toml");
        let before = std::fs::read_to_string(&file).expect("the configuration");
        Changing { server, file, before }
    }

    /// Has the configuration read again with `from` as `to`.
    fn try_change(&mut self, from: &str, to: &str) -> Answer {
        assert!(self.before.contains(from), "{from} in {}", self.before);
        self.before = self.before.replacen(from, to, 1);
        std::fs::write(&self.file, &self.before).expect("another configuration");
        post(&self.server.admin_url("/api/v1/reload"))
    }

    /// The same with what came of it, by name.
    fn change(&mut self, from: &str, to: &str) -> Value {
        let answer = self.try_change(from, to);
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    fn publisher(&self, scratch: &Scratch, stream: &str) -> Process {
        publish::ffmpeg(scratch, stream, &media::plain(), 20, &self.server.publish_url(stream))
    }

    fn status_of(&self, path: &str) -> u16 {
        fetch(&self.server.http_url(path)).status
    }

    fn is_refused(&self, scratch: &Scratch, stream: &str) -> bool {
        !self.publisher(scratch, stream).wait(SOON).success()
    }
}

fn told(at_once: &[&str], connections: &[&str], streams: &[&str], at_restart: &[&str]) -> Value {
    json!({
        "at_once": at_once,
        "for_new_connections": connections,
        "for_new_streams": streams,
        "at_restart": at_restart,
    })
}

#[test]
fn limits_are_in_force_at_once() {
    let scratch = Scratch::new("reload-limits");
    let mut changing =
        Changing::start(&scratch, "[limits]\nmax_streams = 1\n# memory\n[publish]\ngrace = \"60s\"\n");
    let _one = changing.publisher(&scratch, "one");
    changing.server.wait_until_playable("one", SOON);
    assert!(changing.is_refused(&scratch, "two"));
    let differences = changing.change("max_streams = 1", "max_streams = 2");
    assert_eq!(differences, told(&["limits.max_streams"], &[], &[], &[]));
    let mut two = changing.publisher(&scratch, "two");
    changing.server.wait_until_playable("two", SOON);
    // Fewer than there are: they stay, and no other comes.
    changing.change("max_streams = 2", "max_streams = 1");
    assert!(changing.is_refused(&scratch, "three"));
    assert_eq!(changing.server.streams().as_array().map(Vec::len), Some(2));
    // How long a publisher is waited for. One that comes to wait from now on ends at once.
    assert_eq!(changing.change("grace = \"60s\"", "grace = \"0s\""), told(&["publish.grace"], &[], &[], &[]));
    two.kill();
    let state = |name: &str| {
        let streams = changing.server.streams();
        let stream = streams.as_array().into_iter().flatten().find(|stream| stream["name"] == name).cloned();
        stream.map(|stream| stream["state"].as_str().unwrap_or_default().to_owned())
    };
    wait_for("its end", SOON, || (state("two")? == "ended").then_some(()));
    assert_eq!(state("one").as_deref(), Some("live"), "nobody else notices");
}

/// A stream that runs is held to a smaller budget: media goes from its lists, and a publisher that needs more is told so.
#[test]
fn a_running_stream_is_held_to_another_budget() {
    let scratch = Scratch::new("reload-budget");
    let configuration = "[limits]\nmax_bytes_per_stream = \"64MiB\"\n[packaging]\nwindow = \"20s\"\n";
    let mut changing = Changing::start(&scratch, configuration);
    // 1 Mbit/s: three target durations in two packagings are more than 1 MiB.
    let mut publisher =
        publish::ffmpeg(&scratch, "one", &media::clip(), 20, &changing.server.publish_url("one"));
    changing.server.wait_until_playable("one", SOON);
    let held = || changing.server.streams()[0]["memory_bytes"].as_u64().unwrap_or_default();
    wait_for("more than there may be soon", SOON, || (held() > 2 << 20).then_some(()));
    let answer = changing.change("64MiB", "1MiB");
    assert_eq!(answer, told(&["limits.max_bytes_per_stream"], &[], &[], &[]));
    let words = "more than the 1MiB of memory that it may hold (limits.max_bytes_per_stream)";
    wait_for("a refusal with the new figure", SOON, || {
        changing.server.process.log().contains(words).then_some(())
    });
    assert!(!publisher.wait(SOON).success(), "it was told");
}

#[test]
fn time_outs_are_those_of_new_connections() {
    let scratch = Scratch::new("reload-connections");
    let mut changing = Changing::start(&scratch, "[rtmp]\nidle_timeout = \"10m\"\n");
    let publishing = |changing: &Changing, name: &str| {
        let mut client = RtmpClient::open(changing.server.rtmp_port(), name);
        client.reach(Stage::Publishing).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        client
    };
    let mut before = publishing(&changing, "before");
    let differences = changing.change("idle_timeout = \"10m\"", "idle_timeout = \"1s\"");
    assert_eq!(differences, told(&[], &["rtmp.idle_timeout"], &[], &[]));
    let mut after = publishing(&changing, "after");
    // Neither sends anything from now on.
    assert!(after.closes_within(SOON), "the new one is lost to silence");
    assert!(!before.closes_within(Duration::from_secs(2)), "the old one keeps its ten minutes");
}

#[test]
fn outputs_are_those_of_new_streams() {
    let scratch = Scratch::new("reload-outputs");
    let configuration = "[outputs]\nhls = true\nflv = true\n[packaging]\nsegment_duration = \"2s\"\n";
    let mut changing = Changing::start(&scratch, configuration);
    let mut running = changing.publisher(&scratch, "running");
    changing.server.wait_until_playable("running", SOON);
    let differences = changing.change("hls = true", "hls = false");
    assert_eq!(differences, told(&[], &[], &["outputs.hls"], &[]));
    changing.change("segment_duration = \"2s\"", "segment_duration = \"4s\"");
    // As it was, over its publisher's return as well.
    let playlist = "/live/running/ts/media.m3u8";
    assert_eq!(changing.status_of("/live/running/index.m3u8"), 200);
    running.kill();
    let _back =
        publish::ffmpeg(&scratch, "back", &media::plain(), 20, &changing.server.publish_url("running"));
    wait_for("its media to go on", SOON, || {
        let text = fetch(&changing.server.http_url(playlist)).text();
        (text.contains("#EXT-X-TARGETDURATION:2\n") && text.matches("#EXTINF").count() >= 3).then_some(())
    });
    let _other = changing.publisher(&scratch, "other");
    let cmaf = changing.server.http_url("/live/other/video/media.m3u8");
    let text = wait_for("the new stream's CMAF", SOON, || {
        let text = try_fetch(&cmaf)?.text();
        text.contains("#EXTINF").then_some(text)
    });
    assert!(text.contains("#EXT-X-TARGETDURATION:4\n"), "{text}");
    assert_eq!(changing.status_of("/live/other/index.m3u8"), 404, "it has no MPEG-TS");
    let live: Value =
        serde_json::from_slice(&fetch(&changing.server.http_url("/api/v1/live")).body).expect("JSON");
    let has = |index: usize| live[index]["outputs"]["hls"].is_string();
    assert_eq!((live[0]["name"].as_str(), has(0), has(1)), (Some("other"), false, true), "{live}");
}

#[test]
fn what_needs_a_restart_is_told_until_there_is_one_and_the_log_changes_at_once() {
    let scratch = Scratch::new("reload-log");
    let configuration =
        "[admin]\ntoken = \"\"\n[log]\nlevel = \"warn\"\nformat = \"human\"\n[rtmp]\ntls_listen = \"\"\n";
    let mut changing = Changing::start(&scratch, configuration);
    let _one = changing.publisher(&scratch, "one");
    changing.server.wait_until_playable("one", SOON);
    assert!(!changing.server.process.log().contains("publishing"), "{}", changing.server.process.log());
    let differences =
        changing.change("level = \"warn\"\nformat = \"human\"", "level = \"info\"\nformat = \"json\"");
    assert_eq!(differences, told(&["log.level"], &[], &[], &["log.format"]));
    let _two = changing.publisher(&scratch, "two");
    changing.server.wait_until_playable("two", SOON);
    let log = changing.server.process.log();
    assert!(log.contains("publishing") && !log.lines().any(|line| line.starts_with('{')), "{log}");
    // Told again, until there is a restart.
    let differences = changing.change("level = \"info\"", "level = \"warn\"");
    assert_eq!(differences, told(&["log.level"], &[], &[], &["log.format"]));

    // What can't be used changes nothing, and says why.
    let answer = changing.try_change("level = \"warn\"", "level = \"loud=what=ever\"");
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("log.level"), "{}", answer.text());
    // The operators' token.
    let differences = changing.change("level = \"loud=what=ever\"", "level = \"info\"");
    assert_eq!(differences, told(&["log.level"], &[], &[], &["log.format"]));
    let url = changing.server.admin_url("/api/v1/status");
    assert_eq!(fetch(&url).status, 200);
    let differences = changing.change("token = \"\"", "token = \"a-token-of-sixteen\"");
    assert_eq!(differences, told(&["admin.token"], &[], &[], &["log.format"]));
    assert_eq!(fetch(&url).status, 401);
    assert_eq!(post(&changing.server.admin_url("/api/v1/reload")).status, 401);
}

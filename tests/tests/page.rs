//! The server's own page in a real browser: it lists the stream, and whatever it offers to play the stream with does play it,
//! under the page's own Content-Security-Policy and with nothing to complain about.
#![allow(clippy::print_stdout, reason = "a failing test shows its figures")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use headwater_tests::process::{Process, read_output};
use headwater_tests::server::fetch;
use headwater_tests::{Headwater, Scratch, media, publish};
use serde_json::Value;

/// Of moving picture, for each choice.
const SECONDS: u32 = 6;

/// Ten choices, each opened and then switched to, each of which may need 30 s to fail.
const BOUND: Duration = Duration::from_secs(540);

/// Seconds that the page's own player may have and not show, the median: it wants a quarter, a busy machine gets as much again.
const BEHIND_MAX: f64 = 0.5;

/// All that the page needs without the players from npm, as it is before compression.
const OWN_BYTES_MAX: u64 = 200_000;

/// Of the browser's measure of how much what is there already moves when more comes: up to 0.1 is called good (web.dev/cls).
const SHIFT_MAX: f64 = 0.1;

/// The browser's own player; Chromium has had one since version 142.
const OWN: &str = "this browser";

/// A choice of the page: what it is called, whose script it needs, the manifest that it plays.
struct Choice {
    label: &'static str,
    file: Option<&'static str>,
    query: &'static str,
    manifest: &'static str,
}

const CHOICES: &[Choice] = &[
    Choice {
        label: "HLS (TS) · hls.js",
        file: Some("hls.js"),
        query: "?player=hls.js&format=hls",
        manifest: "index.m3u8",
    },
    Choice {
        label: "HLS (CMAF) · hls.js",
        file: Some("hls.js"),
        query: "?player=hls.js&format=llhls",
        manifest: "llhls.m3u8",
    },
    Choice {
        label: "DASH · dash.js",
        file: Some("dash.js"),
        query: "?player=dash.js&format=dash",
        manifest: "manifest.mpd",
    },
    Choice {
        label: "DASH (low latency) · dash.js",
        file: Some("dash.js"),
        query: "?player=dash.js&format=lldash",
        manifest: "ll.mpd",
    },
    Choice {
        label: "DASH · shaka",
        file: Some("shaka.js"),
        query: "?player=shaka&format=dash",
        manifest: "manifest.mpd",
    },
    Choice {
        label: "DASH (low latency) · shaka",
        file: Some("shaka.js"),
        query: "?player=shaka&format=lldash",
        manifest: "ll.mpd",
    },
    Choice {
        label: "HLS (CMAF) · shaka",
        file: Some("shaka.js"),
        query: "?player=shaka&format=llhls",
        manifest: "llhls.m3u8",
    },
    Choice {
        label: "MP4 · built-in", file: None, query: "?player=built-in&format=mp4", manifest: "cam.mp4"
    },
    Choice {
        label: "HLS (TS) · this browser",
        file: None,
        query: "?player=browser&format=hls",
        manifest: "index.m3u8",
    },
    Choice {
        label: "HLS (CMAF) · this browser",
        file: None,
        query: "?player=browser&format=llhls",
        manifest: "llhls.m3u8",
    },
];

/// The npm package that each file comes from.
const PACKAGES: &[(&str, &str)] =
    &[("hls.js", "hls.js"), ("dash.js", "dashjs"), ("shaka.js", "shaka-player")];

#[test]
fn everything_that_the_page_offers_plays() {
    let scratch = Scratch::new("page");
    let server = Headwater::start(&scratch);
    // Longer than the test may take.
    let _publisher = publish::ffmpeg(&scratch, "publisher", &media::clip(), 40, &server.publish_url("cam"));
    server.wait_until_playable("cam", Duration::from_secs(30));

    let report = run(&scratch, &server, "live/cam");
    assert_eq!(texts(&report["fatal"]), Vec::<String>::new(), "{report:#}");
    let streams = texts(&report["streams"]);
    assert_eq!(streams.len(), 1, "{streams:?}");
    assert!(streams[0].starts_with("live/cam\nlive 854×480 · 30 fps"), "{streams:?}");

    assert_looks(&report, &server);
    assert_poster(&scratch, &server);

    let embedded = texts(&report["embedded"]);
    if std::env::var_os("TEST_HEADWATER").is_none() {
        assert_eq!(embedded, installed(), "what npm has fetched is in the binary");
    }
    let expected: Vec<&Choice> = CHOICES
        .iter()
        .filter(|choice| choice.file.is_none_or(|file| embedded.iter().any(|own| own == file)))
        .collect();
    let labels: Vec<&str> = expected.iter().map(|choice| choice.label).collect();

    let opened = report["choices"].as_array().expect("a list");
    assert_eq!(opened.iter().map(|one| text(&one["label"])).collect::<Vec<_>>(), labels);
    for (choice, one) in expected.iter().zip(opened) {
        assert_played(choice, one, SECONDS);
        assert_eq!(text(&one["address"]), server.http_url(&format!("/{}#live/cam", choice.query)));
        let mut scripts = vec!["feed.js", "live.js", "page.css", "page.js", "pictures.js", "players.js"];
        scripts.extend(choice.file);
        scripts.sort_unstable();
        let mut asked = texts(&one["scripts"]);
        asked.sort_unstable();
        assert_eq!(asked, scripts, "{}: no script of another player", choice.label);
        assert_eq!(texts(&one["foreign"]), Vec::<String>::new(), "{}: other origins", choice.label);
        if choice.label.ends_with("built-in") {
            let behind = one["behind_seconds"].as_f64().unwrap_or(f64::INFINITY);
            println!("{}: {behind:.3} s behind what it has", choice.label);
            assert!(behind < BEHIND_MAX, "{}: {one:#}", choice.label);
        }
        if choice.file == Some("hls.js") {
            // MPEG-TS is taken apart beside the page; parts of CMAF are ready to play, and don't wait for a worker to start.
            let workers = u64::from(choice.manifest == "index.m3u8");
            assert_eq!(one["workers"], workers, "{}", choice.label);
        }
        let manifests = texts(&one["manifests"]);
        assert!(manifests.iter().any(|manifest| manifest == choice.manifest), "{}: {one:#}", choice.label);
    }

    let switched = report["switched"].as_array().expect("a list");
    assert_eq!(switched.iter().map(|one| text(&one["label"])).collect::<Vec<_>>(), labels);
    for (choice, one) in expected.iter().zip(switched) {
        assert_played(choice, one, 2);
    }
    let last = expected.last().expect("the browser plays HLS by itself");
    assert!(last.label.ends_with(OWN));
    assert_played(last, &report["reloaded"], 2);
    assert_played(expected.first().expect("a choice"), &report["framed"], 2);
    assert_eq!(report["framed"]["surroundings"], 0, "{:#}", report["framed"]);
    assert_eq!(report["framed"]["follows"], false, "a frame shows no figures, so it asks for none");
    let latency = text(&report["latency"]);
    assert!(latency.starts_with("HLS and DASH: about 6"), "{latency}");
}

/// Where tokens are needed, the page says so, and plays with the one that its own address shows.
#[test]
fn a_page_with_a_token() {
    let scratch = Scratch::new("page-token");
    let secret = "a-secret-of-twenty-two";
    let server = Headwater::start_with(
        &scratch,
        &format!("[play]\ntoken_required = true\n[auth]\ntoken_secrets = [{secret:?}]\n"),
    );
    let token = |name: &str, lasts: &str| {
        let mut headwater = Command::new(headwater_tests::server::binary());
        headwater.args(["token", "play", name, "--expires-in", lasts, "--config"]);
        headwater.arg(scratch.join("headwater.toml"));
        read_output(headwater).trim().to_owned()
    };
    let (cam, briefly) = (token("live/cam", "1h"), token("live/cam", "1s"));
    let start = |name: &str| publish::ffmpeg(&scratch, name, &media::clip(), 40, &server.publish_url(name));
    let _publishers = [start("cam"), start("other")];
    for name in ["cam", "other"] {
        let url = server.http_url(&format!("/t/{}/live/{name}/index.m3u8", token("*", "1h")));
        headwater_tests::wait_for("a playlist", Duration::from_secs(30), || {
            (fetch(&url).status == 200).then_some(())
        });
    }

    let mut node = Command::new("node");
    node.arg(headwater_tests::root().join("tests/players/guarded.mjs"));
    node.args([&server.http_url(""), &cam, &briefly]);
    let output = scratch.join("guarded.json");
    let file = std::fs::File::create(&output).expect("a file in the test's folder");
    let mut process = Process::start_piped("browser", node, &scratch, Stdio::from(file));
    let status = process.wait(Duration::from_secs(150));
    assert!(status.success(), "{status}: {}", process.log());
    let report = std::fs::read_to_string(&output).expect("the runner's report");
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));

    let without = &report["without"];
    assert_eq!(texts(&without["streams"]), Vec::<String>::new());
    for place in ["summary", "notice"] {
        assert_eq!(
            text(&without[place]),
            "A token is needed to see what is live, and to play it",
            "{report:#}"
        );
    }
    let expired = &report["expired"];
    assert_eq!(text(&expired["summary"]), "the token has expired", "{report:#}");
    assert_eq!(texts(&expired["streams"]), Vec::<String>::new());
    for place in ["in_path", "in_query"] {
        let shown = &report[place];
        assert_eq!(texts(&shown["streams"]), ["live/cam"], "{report:#}");
        assert!(shown["played_seconds"].as_f64().is_some_and(|played| played > 1.0), "{report:#}");
        assert_eq!(shown["poster"], 854, "{report:#}");
        let lines = texts(&shown["lines"]);
        let url = server.http_url(&format!("/t/{cam}/live/cam/index.m3u8"));
        assert!(lines.contains(&url), "{url}: {report:#}");
        let frame = server.http_url(&format!("/t/{cam}/embed/live/cam"));
        assert!(lines.iter().any(|line| line.contains(&frame)), "{frame}: {report:#}");
    }
    assert!(report["framed_seconds"].as_f64().is_some_and(|played| played > 1.0), "{report:#}");
}

/// What the page shows beside the player.
fn assert_looks(report: &Value, server: &Headwater) {
    let policy = text(&report["policy"]);
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; "), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
    let looks = &report["looks"];
    assert_eq!(texts(&looks["complaints"]), Vec::<String>::new(), "{looks:#}");
    assert_eq!(texts(&looks["foreign"]), Vec::<String>::new(), "other origins");

    assert_eq!(looks["moves"], true, "the line goes on");
    // The clip has 0.95 Mbit/s and 30 pictures a second; two busy cores send them unevenly.
    let bitrate = text(&looks["bitrate"]);
    let figure = |text: &str| text.split(' ').next().and_then(|figure| figure.parse::<f64>().ok());
    let kbits = figure(bitrate).unwrap_or_default() * if bitrate.ends_with(" Mbit/s") { 1e3 } else { 1.0 };
    assert!((500.0..2_000.0).contains(&kbits), "{bitrate}");
    let frame_rate = figure(text(&looks["frame_rate"])).unwrap_or_default();
    assert!((24.0..36.0).contains(&frame_rate), "{looks:#}");
    // Who plays segments is not counted.
    let is_counted = !texts(&report["embedded"]).iter().any(|player| player == "hls.js");
    assert_eq!(text(&looks["viewers"]), if is_counted { "1" } else { "0" });

    let poster = &looks["poster"];
    assert_eq!((&poster["width"], &poster["height"]), (&854.into(), &480.into()), "{poster:#}");
    assert!(poster["colours"].as_u64().is_some_and(|colours| colours > 20), "a picture: {poster:#}");
    assert_eq!(poster["paused"], true, "it stands still");

    let own_bytes = looks["own_bytes"].as_u64().unwrap_or(u64::MAX);
    let shifted = looks["shifted"].as_f64().unwrap_or(f64::INFINITY);
    println!("{own_bytes} bytes without players, moved by {shifted:.3} while it loaded");
    assert!((20_000..OWN_BYTES_MAX).contains(&own_bytes), "{own_bytes} bytes");
    assert!(shifted < SHIFT_MAX, "moved by {shifted}");

    let hls = server.http_url("/live/cam/index.m3u8");
    let rtmp = format!("rtmp://127.0.0.1:{}/live", server.rtmp_port());
    let frame = format!("<iframe src=\"{}\"", server.http_url("/embed/live/cam"));
    let lines = looks["lines"].as_array().expect("a list");
    for (label, needed) in [
        ("OBS: Settings, Stream, Custom: server", &rtmp),
        ("OBS: stream key", &"cam".to_owned()),
        ("ffmpeg", &format!("-f flv {rtmp}/cam")),
        ("GStreamer", &format!("location={rtmp}/cam")),
        ("Any HLS player (URL)", &hls),
        ("HLS with CMAF segments (URL)", &server.http_url("/live/cam/llhls.m3u8")),
        ("Any DASH player (URL)", &server.http_url("/live/cam/manifest.mpd")),
        ("VLC", &format!("vlc {hls}")),
        ("ffplay", &format!("ffplay {hls}")),
        ("hls.js", &format!("hls.loadSource(\"{hls}\")")),
        ("In another page", &frame),
    ] {
        let line = lines.iter().find(|line| text(&line["label"]) == label);
        let line = line.unwrap_or_else(|| panic!("no line for {label}: {lines:#?}"));
        let copied = text(&line["copied"]);
        assert!(copied.contains(needed.as_str()), "{label}: {line:#}");
        assert_eq!(copied, text(&line["text"]), "{label}: what is shown is what is copied");
    }

    let reached = texts(&looks["reached"]);
    for wanted in ["video", "choice", "#live/cam", "BUTTON"] {
        assert!(reached.iter().any(|own| own == wanted), "{wanted} by keyboard: {reached:?}");
    }

    let sizes = looks["sizes"].as_array().expect("a list");
    assert_eq!(sizes.len(), 4);
    for size in sizes {
        assert!(size["overflow"].as_i64().is_some_and(|overflow| overflow <= 0), "{size:#}");
        let is_dark = text(&size["paper"]).starts_with("rgb(12,");
        assert_eq!(is_dark, text(&size["name"]).ends_with("dark"), "{size:#}");
    }
}

/// The poster is one picture to ffmpeg as well, and has the headers that browsers and caches need.
fn assert_poster(scratch: &Scratch, server: &Headwater) {
    let answer = fetch(&server.http_url("/live/cam/video/poster.mp4"));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("video/mp4")));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=1"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let file = scratch.join("poster.mp4");
    std::fs::write(&file, &answer.body).expect("a file in the test's folder");
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_entries", "frame=key_frame,pict_type,width,height", "-of", "json"]);
    ffprobe.arg(&file);
    let report: Value = serde_json::from_str(&read_output(ffprobe)).expect("ffprobe writes JSON");
    let frames = report["frames"].as_array().expect("a list");
    assert_eq!(frames.len(), 1, "one picture: {report:#}");
    // What else is there is side data: the encoder's name, in the first picture of each pass of the clip.
    let numbers = ["key_frame", "width", "height"].map(|field| frames[0][field].as_i64());
    assert_eq!(
        (numbers, text(&frames[0]["pict_type"])),
        ([Some(1), Some(854), Some(480)], "I"),
        "{report:#}"
    );
}

/// The picture moved for `seconds` with the choice that was made, and nobody complained.
fn assert_played(choice: &Choice, one: &Value, seconds: u32) {
    let name = choice.label;
    assert_eq!(texts(&one["complaints"]), Vec::<String>::new(), "{name}: {one:#}");
    let said = ["choice", "notice", "hint"].map(|field| text(&one["shown"][field]));
    assert_eq!(said, [name, "", ""], "{one:#}");
    // Players catch up or fall back a little after their start; five looks a second, of which a busy machine may miss some.
    let played = one["played_seconds"].as_f64().unwrap_or_default();
    assert!(played >= f64::from(seconds) - 1.0, "{name}: {one:#}");
    let pictures = one["pictures"].as_u64().unwrap_or_default();
    assert!(pictures >= u64::from(seconds) * 2, "{name}: {one:#}");
}

fn run(scratch: &Scratch, server: &Headwater, stream: &str) -> Value {
    let mut node = Command::new("node");
    node.arg(headwater_tests::root().join("tests/players/page.mjs"));
    node.args([&server.http_url(""), stream, &SECONDS.to_string()]).arg(scratch.join("page"));
    let output = scratch.join("page.json");
    let file = std::fs::File::create(&output).expect("a file in the test's folder");
    let mut process = Process::start_piped("browser", node, scratch, Stdio::from(file));
    let status = process.wait(BOUND);
    assert!(status.success(), "{status}: {}", process.log());
    let report = std::fs::read_to_string(&output).expect("the runner's report");
    serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"))
}

/// The players whose packages are where the build looks for them.
fn installed() -> Vec<&'static str> {
    let packages = headwater_tests::root().join("crates/origin/web/node_modules");
    let is_there = |package: &str| Path::new(&packages).join(package).is_dir();
    PACKAGES.iter().filter(|(_, package)| is_there(package)).map(|(file, _)| *file).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|one| text(one).to_owned()).collect()
}

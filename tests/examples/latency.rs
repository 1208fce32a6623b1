//! `cargo xtask latency`: how far behind the camera each player is, and how long the server itself takes. Prints a table, or JSON.
//!
//! Everything runs on this machine at once (encoder, server, a browser), so a busy one shows in the figures.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use std::time::Duration;

use serde_json::{Value, json};

use headwater_tests::latency::numbered::Numbered;
use headwater_tests::latency::{Latency, Viewer, glass_to_glass, inside, percentile};
use headwater_tests::{Headwater, Scratch, server, wait_for};

const USAGE: &str = "usage: latency [--seconds N] [--only TEXT] [--json]";

/// A player, and the p50 (s) that it is to keep.
type Row = (Viewer, f64);

/// Players at their settings that are worth a row. An output that the server does not have is passed over, and said.
const ROWS: &[Row] = &[
    row("hls.js", "hls.js", "/llhls.m3u8", r#"{"lowLatencyMode":true}"#, 1.2),
    row(
        "hls.js, catching up",
        "hls.js",
        "/llhls.m3u8",
        r#"{"lowLatencyMode":true,"maxLiveSyncPlaybackRate":1.1}"#,
        1.0,
    ),
    // Parsed by the page itself: a browser that has just been started takes a while over its first worker.
    row(
        "hls.js, without a worker",
        "hls.js",
        "/llhls.m3u8",
        r#"{"lowLatencyMode":true,"enableWorker":false}"#,
        1.2,
    ),
    row(
        "hls.js, without a worker, catching up",
        "hls.js",
        "/llhls.m3u8",
        r#"{"lowLatencyMode":true,"enableWorker":false,"maxLiveSyncPlaybackRate":1.1}"#,
        1.0,
    ),
    in_a_warm_browser(row(
        "hls.js, in a browser that has played before",
        "hls.js",
        "/llhls.m3u8",
        r#"{"lowLatencyMode":true}"#,
        1.2,
    )),
    in_a_warm_browser(row(
        "hls.js, catching up, in a browser that has played before",
        "hls.js",
        "/llhls.m3u8",
        r#"{"lowLatencyMode":true,"maxLiveSyncPlaybackRate":1.1}"#,
        1.0,
    )),
    row("shaka, LL-HLS", "shaka", "/llhls.m3u8", r#"{"streaming":{"lowLatencyMode":true}}"#, 1.5),
    row("shaka, LL-DASH", "shaka", "/ll.mpd", r#"{"streaming":{"lowLatencyMode":true}}"#, 1.5),
    row(
        "shaka, LL-DASH, catching up",
        "shaka",
        "/ll.mpd",
        r#"{"streaming":{"lowLatencyMode":true,"liveSync":{"enabled":true,"targetLatency":0.2,"targetLatencyTolerance":0.1}}}"#,
        1.5,
    ),
    row("dash.js", "dash.js", "/ll.mpd", "{}", 1.5),
    row(
        "mpegts.js",
        "mpegts.js",
        ".flv",
        r#"{"enableStashBuffer":false,"liveSync":true,"liveSyncTargetLatency":0.3,"liveSyncMaxLatency":0.5}"#,
        0.7,
    ),
    row("the page's own", "page", "?player=built-in&format=mp4", "{}", 0.5),
];

const fn row(
    name: &'static str,
    mode: &'static str,
    output: &'static str,
    settings: &'static str,
    target_seconds: f64,
) -> Row {
    (Viewer { name, mode, output, settings, played_before: false }, target_seconds)
}

const fn in_a_warm_browser((viewer, target_seconds): Row) -> Row {
    (Viewer { played_before: true, ..viewer }, target_seconds)
}

/// A stream to start from: playlists of a young one are short.
const SEGMENTS_BEFORE: usize = 4;

struct Asked {
    seconds: u32,
    only: Option<String>,
    json: bool,
}

fn main() -> Result<(), String> {
    let asked = parse(std::env::args().skip(1))?;
    let wanted = |name: &str| asked.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let scratch = Scratch::new("latency");
    let server = Headwater::start(&scratch);
    let mut figures = Vec::new();
    let inner = wanted("inside").then(|| inside::measure(&scratch, &server, "inside", asked.seconds));
    if ROWS.iter().any(|(viewer, _)| wanted(viewer.name)) {
        let publisher = Numbered::start(&scratch, server.rtmp_port(), "cam");
        wait_for("some segments", Duration::from_secs(60), || {
            let list = server::try_fetch(&server.http_url("/live/cam/video/media.m3u8"))?.text();
            (list.matches("#EXTINF").count() >= SEGMENTS_BEFORE).then_some(())
        });
        for (viewer, target) in ROWS.iter().filter(|(viewer, _)| wanted(viewer.name)) {
            let origin = server.http_url("");
            let latency = glass_to_glass(&scratch, viewer, &origin, "cam", &publisher, asked.seconds);
            if !asked.json {
                println!("{}", line(viewer, *target, &latency));
            }
            figures.push((viewer, *target, latency));
        }
    }
    if asked.json {
        let players = figures.iter().map(|(viewer, target, latency)| {
            let mut figures = latency.to_json();
            figures["name"] = json!(viewer.name);
            figures["output"] = json!(viewer.output);
            figures["settings"] = serde_json::from_str(viewer.settings).unwrap_or_default();
            figures["target_p50_ms"] = json!(target * 1e3);
            figures
        });
        let players: Vec<Value> = players.collect();
        println!(
            "{:#}",
            json!({ "seconds": asked.seconds, "players": players, "inside": inner.as_ref().map(inside_json) })
        );
    } else if let Some(inner) = inner {
        for (name, values) in [("blocked playlist", &inner.playlist_ms), ("hinted part", &inner.part_ms)] {
            let at = |hundredths| percentile(values, hundredths).unwrap_or(f64::NAN);
            println!(
                "inside, {name}: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms, {} parts (targets: 2 and 10 ms)",
                at(50),
                at(99),
                at(100),
                values.len()
            );
        }
    }
    Ok(())
}

/// A row for people.
fn line(viewer: &Viewer, target: f64, latency: &Latency) -> String {
    let at = |hundredths| latency.percentile_ms(hundredths).unwrap_or(f64::NAN) / 1e3;
    let mut text = format!(
        "| {} {} | `{}` `{}` | {:.2} | {:.2} | {:.2} | {:.2} | {} | {} | {target} |",
        viewer.name,
        latency.version,
        viewer.output,
        viewer.settings,
        at(50),
        at(95),
        at(99),
        at(100),
        latency.stalls.len(),
        latency.dropped,
    );
    let details = [
        (latency.fatal.as_slice(), "fatal"),
        (latency.stalls.as_slice(), "stalled"),
        (latency.stalls_while_settling.as_slice(), "stalled before"),
        (latency.errors.as_slice(), "said"),
    ];
    for (list, what) in details {
        for detail in list {
            text.push_str(&format!("\n    {what}: {detail}"));
        }
    }
    text.push_str(&format!(
        "\n    first picture after {:.2} s, {:.2} s late; {} pictures, {} jumps; speeds {}; says itself {:.2?} s",
        latency.start_ms / 1e3,
        latency.first_ms.unwrap_or(f64::NAN) / 1e3,
        latency.seen,
        latency.jumps,
        latency.rates,
        latency.told_seconds,
    ));
    text
}

fn inside_json(inner: &inside::Inside) -> Value {
    let figures = |values: &[f64]| {
        let at = |hundredths| percentile(values, hundredths);
        json!({ "p50_ms": at(50), "p95_ms": at(95), "p99_ms": at(99), "max_ms": at(100), "parts": values.len() })
    };
    json!({ "playlist": figures(&inner.playlist_ms), "part": figures(&inner.part_ms) })
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked { seconds: 60, only: None, json: false };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => {
                let number = arguments.next().and_then(|text| text.parse().ok());
                asked.seconds = number.filter(|n| (5..=3_600).contains(n)).ok_or("--seconds: 5 to 3600")?;
            }
            "--only" => asked.only = Some(arguments.next().ok_or(USAGE)?),
            "--json" => asked.json = true,
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(asked)
}

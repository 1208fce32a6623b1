//! Latency, measured: from a picture's coming into being to its being seen in a browser ([`glass_to_glass`]), and from the last byte
//! of a part coming in to its first byte going out ([`inside`]).
//!
//! Publisher, server and player share one machine, and so one clock.

pub mod inside;
pub mod numbered;

use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::play::lines_of;
use crate::process::{Process, Scratch};

use numbered::Numbered;

/// A browser's start and a player's on a busy machine, and what `latency.mjs` lets pass before it counts.
const BEGIN: Duration = Duration::from_secs(60);

/// Ending a browser takes a moment when a test machine is busy.
const END: Duration = Duration::from_secs(45);

/// Pictures seen further apart than this (ms) stood still in between.
const STAND_MS: f64 = 700.0;

/// A player with its settings on one of a stream's outputs.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// Its place in the table.
    pub name: &'static str,
    /// `hls.js`, `shaka`, `dash.js`, `mpegts.js`, `native`; `page` is the server's own page.
    pub mode: &'static str,
    /// Behind `/live/{stream}`: `/llhls.m3u8`, `.flv`. For `page`, the query that chooses a player there.
    pub output: &'static str,
    /// What is changed of the player's own settings, as JSON.
    pub settings: &'static str,
    /// The browser has played the stream for a moment before the page is loaded anew; else it has just been started.
    pub played_before: bool,
}

impl Viewer {
    /// Where it finds the stream at the server's `origin` (`http://HOST:PORT`).
    pub fn url(&self, origin: &str, stream: &str) -> String {
        if self.mode == "page" {
            return format!("{origin}/{}#live/{stream}", self.output);
        }
        format!("{origin}/live/{stream}{}", self.output)
    }

    fn option(&self, origin: &str, stream: &str) -> Value {
        let settings: Value = serde_json::from_str(self.settings).expect("settings are JSON");
        let (url, played_before) = (self.url(origin, stream), self.played_before);
        json!({ "mode": self.mode, "url": url, "settings": settings, "played_before": played_before })
    }
}

/// What `latency.mjs` reports. Times are milliseconds since 1970.
#[derive(Debug, Deserialize)]
struct Report {
    version: Option<String>,
    fatal: Vec<String>,
    #[serde(default)]
    errors: Vec<String>,
    #[serde(default)]
    waits: Vec<Wait>,
    #[serde(default)]
    jumps: u32,
    asked_at: Option<f64>,
    first: Option<f64>,
    from: Option<f64>,
    #[serde(default)]
    shown: Vec<(u32, f64)>,
    #[serde(default)]
    unreadable: u32,
    #[serde(default)]
    dropped: i64,
    #[serde(default)]
    rates: Value,
    latency_told: Option<f64>,
    #[serde(default)]
    console: Vec<String>,
    #[serde(default)]
    requests: Vec<String>,
}

/// A player's `waiting` event.
#[derive(Debug, Deserialize)]
struct Wait {
    at: f64,
    media: f64,
}

/// How far behind the camera a player was. Latencies in ms.
#[derive(Debug, Clone, Default)]
pub struct Latency {
    /// The player's version.
    pub version: String,
    /// Of every picture seen, in order of size; empty when none was.
    pub sorted_ms: Vec<f64>,
    /// From the player's start to its first picture.
    pub start_ms: f64,
    /// That picture's latency.
    pub first_ms: Option<f64>,
    /// Why it did not play, or gave up.
    pub fatal: Vec<String>,
    /// Where it ran dry or its picture stood still once it had settled.
    pub stalls: Vec<String>,
    /// The same before.
    pub stalls_while_settling: Vec<String>,
    /// Pictures that the browser decoded too late.
    pub dropped: i64,
    /// Pictures seen.
    pub seen: usize,
    /// How often each speed was looked at.
    pub rates: Value,
    /// What the player complained about.
    pub errors: Vec<String>,
    /// Seeks after the first picture.
    pub jumps: u32,
    /// Seconds behind the live edge by the player's own reckoning, at the end.
    pub told_seconds: Option<f64>,
}

impl Latency {
    /// The latency that `hundredths` of all pictures keep, ms; 100 for the largest. `None` when nothing was seen.
    pub fn percentile_ms(&self, hundredths: usize) -> Option<f64> {
        percentile(&self.sorted_ms, hundredths)
    }

    /// For reading by programs.
    pub fn to_json(&self) -> Value {
        json!({
            "version": self.version,
            "p50_ms": self.percentile_ms(50), "p95_ms": self.percentile_ms(95), "p99_ms": self.percentile_ms(99),
            "max_ms": self.percentile_ms(100), "pictures": self.seen, "dropped": self.dropped,
            "stalls": self.stalls, "stalls_while_settling": self.stalls_while_settling, "jumps": self.jumps,
            "start_ms": self.start_ms, "first_ms": self.first_ms, "rates": self.rates, "told_seconds": self.told_seconds,
            "fatal": self.fatal, "errors": self.errors,
        })
    }
}

/// The value that `hundredths` of `sorted` do not exceed.
pub fn percentile(sorted: &[f64], hundredths: usize) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((sorted.len() * hundredths).div_ceil(100).saturating_sub(1).min(last)).copied()
}

/// Has a player watch what `publisher` publishes as `live/{stream}` for `seconds`, after it has settled. Leaves
/// `<name>.requests.txt` in the test's folder.
///
/// # Panics
/// When it does not report.
pub fn glass_to_glass(
    scratch: &Scratch,
    viewer: &Viewer,
    origin: &str,
    stream: &str,
    publisher: &Numbered,
    seconds: u32,
) -> Latency {
    let file_name = viewer.name.replace([' ', '/'], "-");
    let mut node = Command::new("node");
    node.arg(crate::root().join("tests/players/latency.mjs"));
    node.arg(viewer.option(origin, stream).to_string()).arg(seconds.to_string());
    let mut process = Process::start_piped(&file_name, node, scratch, Stdio::piped());
    let lines = lines_of(&mut process);
    let bound = BEGIN + Duration::from_secs(u64::from(seconds)) + END;
    let Ok((_, line)) = lines.recv_timeout(bound) else {
        panic!("{} reported nothing within {bound:?}:\n{}", viewer.name, process.log())
    };
    process.wait(END);
    let report: Report = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let notes = [report.requests.as_slice(), report.console.as_slice()].concat().join("\n");
    let requests = scratch.join(&format!("{file_name}.requests.txt"));
    std::fs::write(requests, notes).expect("a file in the test's folder");
    judge(report, publisher)
}

fn judge(report: Report, publisher: &Numbered) -> Latency {
    let from = report.from.unwrap_or(f64::INFINITY);
    let latency = |shown: &(u32, f64)| Some(shown.1 - publisher.born_ms(shown.0)?);
    let counted: Vec<(u32, f64)> = report.shown.iter().filter(|shown| shown.1 >= from).copied().collect();
    let mut sorted_ms: Vec<f64> = counted.iter().filter_map(latency).collect();
    sorted_ms.sort_by(f64::total_cmp);
    let mut stalls = Vec::new();
    let mut stalls_while_settling = Vec::new();
    let mut note = |at: f64, what: String| {
        let list = if at >= from { &mut stalls } else { &mut stalls_while_settling };
        list.push(format!("{:.3}: {what}", at / 1e3));
    };
    for wait in &report.waits {
        note(wait.at, format!("waiting at {:.3} s", wait.media));
    }
    for pair in report.shown.windows(2) {
        if let [(_, before), (_, after)] = pair
            && after - before > STAND_MS
        {
            note(*after, format!("the picture stood still for {:.0} ms", after - before));
        }
    }
    let mut fatal = report.fatal;
    if report.unreadable > 0 {
        fatal.push(format!("{} pictures had no readable number", report.unreadable));
    }
    Latency {
        version: report.version.unwrap_or_default(),
        sorted_ms,
        start_ms: report.first.unwrap_or(f64::NAN) - report.asked_at.unwrap_or(f64::NAN),
        first_ms: report.shown.first().and_then(latency),
        fatal,
        stalls,
        stalls_while_settling,
        dropped: report.dropped,
        seen: counted.len(),
        rates: report.rates,
        errors: report.errors,
        jumps: report.jumps,
        told_seconds: report.latency_told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        for (hundredths, expected) in [(50, 100.0), (95, 190.0), (99, 198.0), (100, 200.0), (0, 1.0)] {
            assert_eq!(percentile(&values, hundredths), Some(expected), "{hundredths}");
        }
        assert_eq!(percentile(&[7.0], 50), Some(7.0));
        assert_eq!(percentile(&[], 50), None);
    }
}

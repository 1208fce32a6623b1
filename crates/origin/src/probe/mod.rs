//! `headwater probe URL`: follows any HLS or DASH URL for a while and prints what is wrong with it, and what to do about it.
//!
//! Playlists are held against each other by [`headwater_manifest::hls::check`], MPDs by [`headwater_manifest::dash::check`];
//! playlists are read a second time by `m3u8-rs`; what a Low-Latency playlist offers (delta updates, rendition reports) is tried. MPEG-TS segments are taken apart by `mpeg2ts`, fMP4 by `mp4-atom`; the
//! head of every kind of answer is held against the rules for caches and browsers. What is fetched is a stranger's:
//! everything has a limit, and nothing of it reaches the terminal unescaped.
// A peer's bytes never panic us.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]
#![cfg_attr(not(test), warn(clippy::string_slice, clippy::panic, clippy::unreachable))]

mod alignment;
mod dash;
mod es;
mod fmp4;
mod follow;
mod hls;
mod http;
mod low_latency;
mod report;
#[cfg(test)]
mod tests;
mod ts;
mod url;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use headwater_manifest::hls::check::excerpt;

use http::Fetcher;
use report::Report;

/// Renditions or Representations followed at once; each takes a thread and a connection.
const RENDITIONS_MAX: usize = 16;
/// Longest time to follow a stream: past a day, a monitoring system is the better tool.
const DURATION_MAX: Duration = Duration::from_secs(86_400);

/// An MPD's root element begins within these; comments of packagers stand in front of it.
const MPD_HEAD_BYTES: usize = 4_096;

/// Arguments of `headwater probe`.
#[derive(Debug, Clone, clap::Args)]
pub struct ProbeArgs {
    /// An HLS playlist (multivariant or media) or a DASH MPD, http or https, live or ended.
    pub url: String,
    /// How long a live stream is followed, e.g. 20s or 5m.
    #[arg(long, default_value = "20s", value_name = "TIME", value_parser = crate::config::duration)]
    pub duration: Duration,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// Nothing of severity error.
    Clean,
    /// At least one finding of severity error.
    Errors,
    /// There was nothing to examine: no answer, neither playlist nor MPD, a URL that is none.
    Failed,
}

impl ProbeOutcome {
    /// The process's exit status: 0, 1 or 2.
    pub const fn exit_code(self) -> u8 {
        match self {
            ProbeOutcome::Clean => 0,
            ProbeOutcome::Errors => 1,
            ProbeOutcome::Failed => 2,
        }
    }
}

/// Probes `args.url` and writes the report to `out`; blocks for at most `args.duration` and a few time-outs.
///
/// # Errors
/// Those of `out`.
pub fn run(args: &ProbeArgs, out: &mut dyn Write) -> io::Result<ProbeOutcome> {
    let begun = Instant::now();
    let deadline = begun.checked_add(args.duration.min(DURATION_MAX)).unwrap_or(begun);
    let fetcher = Fetcher::new();
    let answer = match fetcher.playlist(&args.url) {
        Ok(answer) if answer.status == 200 => answer,
        Ok(answer) => return failed(args, out, &format!("answered with {}", answer.status)),
        Err(error) => return failed(args, out, &error),
    };
    let Some(language) = Language::of(&answer.body) else {
        let why = "the answer is no HLS playlist and no MPD: it starts neither with #EXTM3U nor with <MPD";
        return failed(args, out, why);
    };
    let mut report = Report {
        url: args.url.clone(),
        seconds: 0.0,
        errors: 0,
        warnings: 0,
        notices: 0,
        segments: 0,
        bytes: 0,
        latency_seconds: None,
        subjects: Vec::new(),
        examined: String::new(),
    };
    let something = match language {
        Language::Hls => hls::probe(&fetcher, answer, deadline, &mut report),
        Language::Dash => dash::probe(&fetcher, &answer, deadline, &mut report),
    };
    report.seconds = begun.elapsed().as_secs_f64();
    report.count();
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        report.write_text(out)?;
    }
    Ok(if !something {
        ProbeOutcome::Failed
    } else if report.errors > 0 {
        ProbeOutcome::Errors
    } else {
        ProbeOutcome::Clean
    })
}

/// What an answer is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Hls,
    Dash,
}

impl Language {
    /// By how `body` begins, whatever its Content-Type says.
    fn of(body: &[u8]) -> Option<Language> {
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        if body.starts_with(b"#EXTM3U") {
            return Some(Language::Hls);
        }
        let head = body.get(..body.len().min(MPD_HEAD_BYTES)).unwrap_or_default();
        let root = head.windows(4).any(|window| window == b"<MPD");
        (head.trim_ascii_start().starts_with(b"<") && root).then_some(Language::Dash)
    }
}

fn failed(args: &ProbeArgs, out: &mut dyn Write, why: &str) -> io::Result<ProbeOutcome> {
    if args.json {
        let line = serde_json::json!({ "url": args.url, "failed": why });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{}: {why}", excerpt(&args.url))?;
    }
    Ok(ProbeOutcome::Failed)
}

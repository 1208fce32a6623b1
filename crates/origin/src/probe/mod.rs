//! `headwater probe URL`: follows any HLS URL for a while and prints what is wrong with it, and what to do about it.
//!
//! Playlists are held against each other by [`headwater_manifest::hls::check`], read a second time by `m3u8-rs`; segments
//! are taken apart by `mpeg2ts`; the head of every kind of answer is held against the rules for caches and browsers. What
//! is fetched is a stranger's: everything has a limit, and nothing of it reaches the terminal unescaped.

mod es;
mod follow;
mod http;
mod report;
#[cfg(test)]
mod tests;
mod ts;
mod url;

use std::io::{self, Write};
use std::time::{Duration, Instant};

use headwater_manifest::hls::check::{Checker, Kind, compare_renditions, excerpt};

use follow::{Followed, Rendition};
use http::{Answer, Fetcher, check_head, check_revalidation};
use report::{Log, Report, Subject, counted};

/// Renditions followed at once; each takes a thread and a connection.
const RENDITIONS_MAX: usize = 16;
/// Longest time to follow a stream: past a day, a monitoring system is the better tool.
const DURATION_MAX: Duration = Duration::from_secs(86_400);

/// Arguments of `headwater probe`.
#[derive(Debug, Clone, clap::Args)]
pub struct ProbeArgs {
    /// An HLS playlist, http or https: multivariant or media, live or ended.
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
    /// There was nothing to examine: no answer, no playlist, a URL that is none.
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
    if !answer.body.starts_with(b"#EXTM3U") && !answer.body.starts_with("\u{feff}#EXTM3U".as_bytes()) {
        return failed(args, out, "the answer is no HLS playlist: it does not start with #EXTM3U");
    }
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
    };
    let mut checker = Checker::new(&answer.url);
    let findings = checker.observe(&String::from_utf8_lossy(&answer.body), 0);
    let mut presentation = Log::default();
    let renditions = if checker.kind() == Some(Kind::Multivariant) {
        presentation.extend(findings);
        multivariant(&fetcher, &answer, &mut presentation)
    } else {
        vec![(Rendition { url: args.url.clone(), bandwidth: None }, Some(answer))]
    };
    let alone = checker.kind() != Some(Kind::Multivariant);
    let followed = follow_all(&fetcher, renditions, deadline);
    let playlists: Vec<_> =
        followed.iter().filter_map(|one| Some((one.url.as_str(), one.media.as_ref()?))).collect();
    presentation.extend(compare_renditions(&playlists));
    if !alone {
        let summary =
            format!("multivariant playlist of {}", counted(followed.len() as u64, "media playlist"));
        report.subjects.push(Subject::new(&args.url, summary, presentation));
    }
    let nothing = followed.iter().all(|one| one.media.is_none());
    for one in followed {
        report.segments += one.segments;
        report.bytes += one.bytes;
        report.latency_seconds = match (report.latency_seconds, one.latency_seconds) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        let summary = one.summary();
        report.subjects.push(Subject::new(&one.url, summary, one.log));
    }
    report.seconds = begun.elapsed().as_secs_f64();
    report.count();
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        report.write_text(out)?;
    }
    Ok(if nothing {
        ProbeOutcome::Failed
    } else if report.errors > 0 {
        ProbeOutcome::Errors
    } else {
        ProbeOutcome::Clean
    })
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

/// The media playlists that a multivariant playlist names, each once.
fn multivariant(fetcher: &Fetcher, answer: &Answer, log: &mut Log) -> Vec<(Rendition, Option<Answer>)> {
    check_head(answer, http::Kind::Multivariant, log);
    check_revalidation(fetcher, answer, http::Kind::Multivariant, log);
    let body = &answer.body;
    let Some(Ok((_, playlist))) = follow::second_reader(|| m3u8_rs::parse_master_playlist(body)) else {
        log.error(
            "hls 1.2",
            "m3u8-rs can't read the multivariant playlist; its media playlists are not followed",
        );
        return Vec::new();
    };
    let variants = playlist
        .variants
        .iter()
        .filter(|variant| !variant.is_i_frame)
        .map(|variant| (Some(variant.uri.as_str()), Some(variant.bandwidth)));
    let alternatives = playlist.alternatives.iter().map(|rendition| (rendition.uri.as_deref(), None));
    let mut renditions: Vec<(Rendition, Option<Answer>)> = Vec::new();
    for (uri, bandwidth) in variants.chain(alternatives) {
        let Some(uri) = uri else { continue };
        let Some(url) = url::resolve(&answer.url, uri) else {
            log.error("hls 1.4", format!("{} is no URI that can be followed", excerpt(uri)));
            continue;
        };
        if renditions.iter().any(|(have, _)| have.url == url) {
            continue;
        }
        if renditions.len() >= RENDITIONS_MAX {
            log.notice("hls 4", format!("only {RENDITIONS_MAX} media playlists are followed"));
            break;
        }
        renditions.push((Rendition { url, bandwidth }, None));
    }
    renditions
}

/// Follows every rendition in a thread of its own; in order.
fn follow_all(
    fetcher: &Fetcher,
    renditions: Vec<(Rendition, Option<Answer>)>,
    deadline: Instant,
) -> Vec<Followed> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = renditions
            .into_iter()
            .map(|(rendition, first)| {
                scope.spawn(move || follow::follow(fetcher, &rendition, first, deadline))
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    })
}

//! Verdicts over a followed stream: its playlists, its transport stream, its decoding, its likeness to what was sent.

use std::path::Path;
use std::process::Command;

use headwater_manifest::hls::check::{Checker, Finding, Severity};
use headwater_testkit::fidelity::{Fidelity, compare};
use headwater_testkit::flv;
use headwater_testkit::ts::{TsReader, TsReport};

use crate::follow::Recording;
use crate::process::Scratch;

/// Every version of the playlists obeys the rules and follows from the version before it, and `m3u8-rs` reads each.
///
/// # Panics
/// With the findings, if there are any of more weight than a notice.
pub fn playlists(recording: &Recording) {
    let findings = playlist_findings(recording);
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// What [`playlists`] would panic with.
pub fn playlist_findings(recording: &Recording) -> Vec<String> {
    let mut findings = recording.failures.clone();
    let mut collect = |what: &str, checker: &mut Checker, text: &str, at_ms: i64| {
        for finding in checker.observe(text, at_ms) {
            if finding.severity > Severity::Notice && !is_the_pause_before_the_end(recording, &finding) {
                findings.push(format!("{what} at {at_ms} ms: {finding}\n{text}"));
            }
        }
        if let Err(error) = m3u8_rs::parse_playlist_res(text.as_bytes()) {
            findings.push(format!("{what} at {at_ms} ms: m3u8-rs: {error}\n{text}"));
        }
    };
    if !recording.multivariant.is_empty() {
        collect("multivariant", &mut Checker::new("index.m3u8"), &recording.multivariant, 0);
    }
    let mut checker = Checker::new(&recording.media_url);
    for (at_ms, text) in &recording.versions {
        collect("media playlist", &mut checker, text, *at_ms);
    }
    // A proof over segments with holes between them would prove nothing.
    let numbers: Vec<u64> = recording.segments.keys().copied().collect();
    if !numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]) {
        findings.push(format!("segments were missed: {numbers:?}"));
    }
    findings
}

/// A clean end is announced three seconds after it, in case the publisher comes back (DESIGN 5): with 2 s segments just as long
/// as a playlist may stand still.
fn is_the_pause_before_the_end(recording: &Recording, finding: &Finding) -> bool {
    let last = recording.segments.keys().next_back().copied().unwrap_or_default();
    recording.ended
        && finding.rule == "hls 3.5"
        && finding.message.starts_with(&format!("nothing new after segment {last} "))
}

/// The segments, read back by another's reader: continuity, tables, clock and stamps run on from one to the next.
///
/// # Panics
/// With what is wrong.
pub fn transport_stream(recording: &Recording) -> TsReport {
    let mut reader = TsReader::new();
    for segment in recording.segments.values() {
        if segment.discontinuity {
            reader.discontinuity();
        }
        reader.segment(&segment.body);
    }
    let report = reader.finish();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!(report.segments, recording.segments.len());
    report
}

/// What was received is what was sent: unit by unit, in order, once, in sync.
///
/// # Panics
/// With what differs.
pub fn fidelity(sent: &Path, received: &TsReport) -> Fidelity {
    let fidelity = likeness(sent, received);
    assert!(fidelity.is_faithful(), "{fidelity:#?}");
    assert!(fidelity.video_sent + fidelity.audio_sent > 0, "nothing was compared");
    fidelity
}

/// How what was received compares with what was sent.
pub fn likeness(sent: &Path, received: &TsReport) -> Fidelity {
    let file = std::fs::read(sent).expect("the file that was sent");
    let sent = flv::read(&file).expect("ffmpeg writes FLV that can be read");
    let fidelity = compare(&sent, received);
    println!("{fidelity:?}");
    fidelity
}

/// ffmpeg decodes the segments, one after the other, without a word.
///
/// # Panics
/// With what it said.
pub fn decodes_silently(scratch: &Scratch, name: &str, recording: &Recording) {
    let path = scratch.join(&format!("{name}.ts"));
    std::fs::write(&path, recording.transport_stream()).expect("a file in the test's folder");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error", "-i"]).arg(&path).args(["-f", "null", "-"]);
    let output = ffmpeg.output().expect("ffmpeg can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "ffmpeg on {}: {said}", path.display());
}

/// `fields` of each stream of the received transport stream, as ffprobe sees them.
pub fn probed(scratch: &Scratch, name: &str, recording: &Recording, fields: &str) -> Vec<String> {
    let path = scratch.join(&format!("{name}.ts"));
    std::fs::write(&path, recording.transport_stream()).expect("a file in the test's folder");
    crate::media::probe(&path.to_string_lossy(), fields)
}

//! Verdicts over a followed stream: its playlists, its transport stream, its decoding, its likeness to what was sent.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use headwater_manifest::hls::check::{Checker, Finding, Severity};
use headwater_testkit::fidelity::{Fidelity, compare, compare_fmp4};
use headwater_testkit::flv;
use headwater_testkit::fmp4::{Fmp4Reader, Fmp4Report};
use headwater_testkit::ts::{TsReader, TsReport};

use crate::follow::Recording;
use crate::follow_dash;
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

/// One CMAF track of HLS, read back by another's reader: boxes, flags, decode times run on from one segment to the next.
///
/// # Panics
/// With what is wrong.
pub fn track_file(recording: &Recording) -> Fmp4Report {
    let segments = recording.segments.values().map(|segment| {
        (segment.map.as_deref().unwrap_or_default(), segment.body.as_slice(), segment.discontinuity)
    });
    let report = read_track(&recording.inits, segments);
    // EXTINF is the media's own duration, to the microsecond that is written.
    let ticks = track_ticks(&report);
    for (segment, (_, ticks)) in recording.segments.values().zip(&ticks) {
        let timescale = report.track.as_ref().map_or(1, |track| track.timescale);
        let seconds = *ticks as f64 / f64::from(timescale);
        assert!((segment.seconds - seconds).abs() < 0.001, "{}: EXTINF {}", segment.url, segment.seconds);
    }
    assert_eq!(ticks.len(), recording.segments.len());
    report
}

/// One Representation of DASH, read back likewise; S@t and S@d are the media's own.
///
/// # Panics
/// With what is wrong.
pub fn representation(recording: &follow_dash::Recording, id: &str) -> Fmp4Report {
    let track = recording.segments.get(id).unwrap_or_else(|| panic!("no Representation {id} was seen"));
    let segments = track.values().map(|segment| (segment.init.as_str(), segment.body.as_slice(), false));
    let report = read_track(&recording.inits, segments);
    let announced: Vec<(i64, i64)> = track.values().map(|s| (s.t as i64, s.d as i64)).collect();
    assert_eq!(announced, track_ticks(&report), "S@t and S@d of {id} against tfdt and trun");
    let ends = announced.iter().map(|(t, d)| t + d);
    let starts = announced.iter().skip(1).map(|(t, _)| *t);
    assert!(
        ends.zip(starts).all(|(end, start)| end == start),
        "{id} has a hole or an overlap: {announced:?}"
    );
    let numbers: Vec<u64> = track.keys().copied().collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{id} misses segments: {numbers:?}");
    report
}

fn read_track<'a>(
    inits: &BTreeMap<String, Vec<u8>>,
    segments: impl Iterator<Item = (&'a str, &'a [u8], bool)>,
) -> Fmp4Report {
    let mut reader = Fmp4Reader::new();
    let mut init_now = "";
    for (init, body, discontinuity) in segments {
        if discontinuity {
            reader.discontinuity();
        }
        if init != init_now {
            reader.init(inits.get(init).unwrap_or_else(|| panic!("no initialization segment {init}")));
            init_now = init;
        }
        reader.segment(body);
    }
    let report = reader.finish();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    report
}

/// First decode time and summed durations of each segment, in ticks.
fn track_ticks(report: &Fmp4Report) -> Vec<(i64, i64)> {
    let mut segments: Vec<(i64, i64)> = Vec::new();
    for sample in &report.samples {
        if sample.segment >= segments.len() {
            segments.push((sample.dts, 0));
        }
        if let Some((_, duration)) = segments.last_mut() {
            *duration += i64::from(sample.duration);
        }
    }
    segments
}

/// Every version of the MPD was right and followed from the one before, and is valid by ISO's schema.
///
/// # Panics
/// With what is wrong.
pub fn mpds(scratch: &Scratch, recording: &follow_dash::Recording) {
    assert!(recording.failures.is_empty(), "{}", recording.failures.join("\n"));
    valid_mpds(scratch, &recording.versions);
}

/// Each of these MPDs is valid by ISO's schema.
///
/// # Panics
/// With what is wrong.
pub fn valid_mpds(scratch: &Scratch, versions: &[String]) {
    let schema = crate::root().join("../shared/schemas/DASH-MPD.xsd");
    assert!(
        schema.is_file(),
        "{} is missing: the schemas lie in shared/ beside the checkout",
        schema.display()
    );
    let mut xmllint = Command::new("xmllint");
    xmllint.args(["--nonet", "--noout", "--schema"]).arg(schema);
    for (index, text) in versions.iter().enumerate() {
        let path = scratch.join(&format!("version-{index}.mpd"));
        std::fs::write(&path, text).expect("a file in the test's folder");
        xmllint.arg(path);
    }
    let output = xmllint.output().expect("xmllint runs (package libxml2-utils)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// As [`fidelity`], for CMAF: what a reader made of the two tracks.
///
/// # Panics
/// With what differs.
pub fn fidelity_cmaf(sent: &Path, video: Option<&Fmp4Report>, audio: Option<&Fmp4Report>) -> Fidelity {
    let file = std::fs::read(sent).expect("the file that was sent");
    let sent = flv::read(&file).expect("ffmpeg writes FLV that can be read");
    let fidelity = compare_fmp4(&sent, video, audio);
    assert!(fidelity.is_faithful(), "{fidelity:#?}");
    assert!(fidelity.video_sent + fidelity.audio_sent > 0, "nothing was compared");
    fidelity
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

/// ffmpeg decodes the media, kept as `<name>.<ending>`, without a word.
///
/// # Panics
/// With what it said.
pub fn decodes_silently(scratch: &Scratch, name: &str, ending: &str, media: &[u8]) {
    let path = scratch.join(&format!("{name}.{ending}"));
    std::fs::write(&path, media).expect("a file in the test's folder");
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

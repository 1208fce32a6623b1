//! One multivariant playlist (8216bis 4.4.6; hls 4).

use std::collections::HashSet;

use super::syntax::{Attributes, Line, decimal_integer, decimals, resolution};
use super::{check_tag, numbered_lines};
use crate::findings::Findings;
use crate::findings::excerpt;

/// Variants and renditions examined; no presentation offers more.
const ENTRIES_MAX: usize = 1_024;

/// CODECS prefixes of video (RFC 6381 and the codecs' registrations).
const VIDEO_CODECS: [&str; 14] = [
    "avc1", "avc3", "hvc1", "hev1", "dvh1", "dvhe", "dva1", "dvav", "av01", "dav1", "vp08", "vp09", "vvc1",
    "mp4v",
];

#[derive(Default)]
struct Groups<'a> {
    /// TYPE and GROUP-ID of every EXT-X-MEDIA.
    defined: HashSet<(&'a str, &'a str)>,
    /// TYPE, GROUP-ID and NAME.
    names: HashSet<(&'a str, &'a str, &'a str)>,
    /// TYPE and GROUP-ID that have a DEFAULT=YES.
    defaults: HashSet<(&'a str, &'a str)>,
    /// The TYPE a variant asks for, and the GROUP-ID.
    wanted: Vec<(&'static str, &'a str)>,
}

/// Reports what is wrong with `text`.
pub(super) fn check(text: &str, findings: &mut Findings) {
    let mut groups = Groups::default();
    let mut awaiting_uri = false;
    let mut variants = 0_usize;
    let mut entries = 0_usize;
    let mut captions = (0_usize, 0_usize);
    let mut versions = Versions { given: 1, needed: 1 };
    for (number, line) in numbered_lines(text) {
        match Line::new(line) {
            Line::Tag { name, value } => {
                let attributes = check_tag(name, value, findings);
                if awaiting_uri {
                    // H 4.4.6.2: the URI line follows.
                    findings
                        .error("hls 4.1", format!("line {number}: #EXT-X-STREAM-INF has no URI behind it"));
                    awaiting_uri = false;
                }
                entries += usize::from(matches!(
                    name,
                    "EXT-X-STREAM-INF" | "EXT-X-MEDIA" | "EXT-X-I-FRAME-STREAM-INF"
                ));
                if entries > ENTRIES_MAX {
                    findings.error("hls 4", format!("only the first {ENTRIES_MAX} renditions are examined"));
                    break;
                }
                versions.note(name, value, &attributes);
                match name {
                    "EXT-X-STREAM-INF" => {
                        variants += 1;
                        awaiting_uri = true;
                        let none = attributes.text("CLOSED-CAPTIONS") == Some("NONE");
                        captions.0 += usize::from(none);
                        captions.1 += usize::from(!none);
                        check_variant(variants, &attributes, findings);
                        groups.want(&attributes);
                    }
                    "EXT-X-I-FRAME-STREAM-INF" => {
                        check_bandwidth("an I-frame playlist", &attributes, findings);
                    }
                    "EXT-X-MEDIA" => check_rendition(&attributes, &mut groups, findings),
                    _ => {}
                }
            }
            Line::Uri(uri) if !awaiting_uri => {
                findings.error("hls 4.1", format!("{} has no #EXT-X-STREAM-INF in front", excerpt(uri)));
            }
            Line::Uri(_) => awaiting_uri = false,
            Line::Blank | Line::Comment => {}
        }
    }
    if awaiting_uri {
        findings.error("hls 4.1", "the last #EXT-X-STREAM-INF has no URI behind it");
    }
    if variants == 0 {
        findings.error("hls 4.1", "no #EXT-X-STREAM-INF: there is nothing to play");
    }
    if captions.0 > 0 && captions.1 > 0 {
        // H 4.4.6.2
        findings.error("hls 4.6", "CLOSED-CAPTIONS=NONE stands on some variants and not on all");
    }
    if versions.given < versions.needed {
        let Versions { given, needed } = versions;
        findings.error("hls 2", format!("the version is {given} and the tags need {needed}"));
    }
    groups.check_wanted(findings);
}

/// EXT-X-VERSION against what the tags need (H 8). Higher than needed is common here and harms nobody.
struct Versions {
    given: u64,
    needed: u64,
}

impl Versions {
    fn note(&mut self, name: &str, value: Option<&str>, attributes: &Attributes<'_>) {
        let needed = match name {
            "EXT-X-VERSION" => {
                self.given = value.and_then(decimal_integer).unwrap_or(1);
                1
            }
            "EXT-X-DEFINE" if attributes.text("QUERYPARAM").is_some() => 11,
            "EXT-X-DEFINE" => 8,
            "EXT-X-STREAM-INF" if attributes.any_starts_with("REQ-") => 12,
            "EXT-X-MEDIA" if attributes.text("INSTREAM-ID").is_some_and(|id| id.starts_with("SERVICE")) => 7,
            _ => 1,
        };
        self.needed = self.needed.max(needed);
    }
}

fn check_bandwidth(what: &str, attributes: &Attributes<'_>, findings: &mut Findings) {
    let bandwidth = attributes.integer("BANDWIDTH");
    if bandwidth == Some(0) {
        findings.error("hls 4.2", format!("{what} has BANDWIDTH=0"));
    }
    match (bandwidth, attributes.integer("AVERAGE-BANDWIDTH")) {
        (_, Some(0)) => findings.error("hls 4.2", format!("{what} has AVERAGE-BANDWIDTH=0")),
        (Some(peak), Some(average)) if average > peak => findings.error(
            "hls 4.2",
            format!("{what} has an AVERAGE-BANDWIDTH of {average} above its BANDWIDTH of {peak}"),
        ),
        _ => {}
    }
}

fn check_variant(number: usize, attributes: &Attributes<'_>, findings: &mut Findings) {
    let what = format!("variant {number}");
    check_bandwidth(&what, attributes, findings);
    if attributes.text("AVERAGE-BANDWIDTH").is_none() {
        findings.warning("hls 4.1", format!("{what} has no AVERAGE-BANDWIDTH"));
    }
    if attributes.text("PROGRAM-ID").is_some() {
        findings.notice("hls 4.1", "PROGRAM-ID was removed in protocol version 6");
    }
    let Some(codecs) = attributes.text("CODECS") else {
        findings
            .warning("hls 4.1", format!("{what} has no CODECS: players must load media to know what it is"));
        return;
    };
    for codec in codecs.split(',') {
        check_codec(&what, codec, findings);
    }
    let video = codecs.split(',').any(|codec| VIDEO_CODECS.iter().any(|prefix| codec.starts_with(prefix)));
    if !video {
        if attributes.text("RESOLUTION").is_some() {
            findings.warning("hls 4.7", format!("{what} has a RESOLUTION and no video in CODECS"));
        }
        return;
    }
    match attributes.text("RESOLUTION").map(resolution) {
        None => findings.warning("hls 4.1", format!("{what} has video and no RESOLUTION")),
        Some(Some((0, _) | (_, 0))) => {
            findings.error("hls 4.1", format!("{what} has a RESOLUTION without area"));
        }
        Some(_) => {}
    }
    match attributes.text("FRAME-RATE") {
        None => findings.warning("hls 4.1", format!("{what} has video and no FRAME-RATE")),
        Some(rate) if decimals(rate) != 3 => {
            findings.notice(
                "hls 4.1",
                format!("{what} has a FRAME-RATE of {}, not of 3 decimals", excerpt(rate)),
            );
        }
        Some(_) => {}
    }
}

fn check_codec(what: &str, codec: &str, findings: &mut Findings) {
    if codec.trim() != codec || codec.is_empty() {
        findings.error("hls 4.4", format!("{what} has space or nothing between the commas of CODECS"));
    }
    let (kind, parameters) = codec.trim().split_once('.').unwrap_or((codec.trim(), ""));
    match kind {
        "avc3" | "hev1" => {
            // A 1.10
            findings.warning("hls 4.9", format!("{what} has {kind} in CODECS: Safari plays avc1 and hvc1"));
        }
        "avc1" if parameters.len() != 6 || !parameters.bytes().all(|b| b.is_ascii_hexdigit()) => findings
            .warning(
                "hls 4.10",
                format!(
                    "{what} has {} in CODECS, which is not avc1. and 6 hexadecimal digits",
                    excerpt(codec)
                ),
            ),
        _ => {}
    }
}

fn check_rendition<'a>(attributes: &Attributes<'a>, groups: &mut Groups<'a>, findings: &mut Findings) {
    let (Some(kind), Some(group), Some(name)) =
        (attributes.text("TYPE"), attributes.text("GROUP-ID"), attributes.text("NAME"))
    else {
        return;
    };
    let what = format!("the {} rendition {} of group {}", excerpt(kind), excerpt(name), excerpt(group));
    groups.defined.insert((kind, group));
    if !groups.names.insert((kind, group, name)) {
        // H 4.4.6.1.1
        findings.error("hls 4.5", format!("{what} has a NAME that is taken in its group"));
    }
    let default = attributes.text("DEFAULT") == Some("YES");
    if default && !groups.defaults.insert((kind, group)) {
        findings.error("hls 4.5", format!("{what} is the second with DEFAULT=YES in its group"));
    }
    if default && attributes.text("AUTOSELECT") == Some("NO") {
        findings.error("hls 4.5", format!("{what} has DEFAULT=YES and AUTOSELECT=NO"));
    }
    let uri = attributes.text("URI").is_some();
    match kind {
        "AUDIO" => {
            if attributes.text("CHANNELS").is_none() {
                findings.warning("hls 4.5", format!("{what} has no CHANNELS"));
            }
            if attributes.text("LANGUAGE").is_none() {
                findings.notice("hls 4.5", format!("{what} has no LANGUAGE"));
            }
        }
        "SUBTITLES" if !uri => findings.error("hls 4.5", format!("{what} has no URI")),
        "CLOSED-CAPTIONS" => {
            if uri {
                findings.error("hls 4.6", format!("{what} has a URI"));
            }
            if attributes.text("INSTREAM-ID").is_none() {
                findings.error("hls 4.6", format!("{what} has no INSTREAM-ID"));
            }
        }
        _ => {}
    }
}

impl<'a> Groups<'a> {
    fn want(&mut self, attributes: &Attributes<'a>) {
        for kind in ["AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS"] {
            match attributes.text(kind) {
                None => {}
                Some("NONE") if kind == "CLOSED-CAPTIONS" => {}
                Some(group) => self.wanted.push((kind, group)),
            }
        }
    }

    fn check_wanted(&self, findings: &mut Findings) {
        let mut reported = HashSet::new();
        for (kind, group) in &self.wanted {
            if !self.defined.contains(&(*kind, *group)) && reported.insert((kind, group)) {
                let group = excerpt(group);
                findings.error("hls 4.4", format!("no #EXT-X-MEDIA of TYPE={kind} has the GROUP-ID {group}"));
            }
        }
    }
}

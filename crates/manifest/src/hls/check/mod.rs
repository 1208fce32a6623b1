//! A strict checker of a *sequence* of playlists: what a version says alone, and what version N + 1 may change in N.
//!
//! It reads any text, its own project's or a stranger's, with its own small parser: no panic, bounded work, bounded
//! memory, bounded findings. Rules are named by the project's checklist ("hls 3.3": playlists, clause 3.3); the clauses
//! of 8216bis ("H") and of Apple's authoring specification ("A") stand beside the code that holds them.

mod delta;
mod low_latency;
mod media;
mod multivariant;
mod names;
mod part_updates;
mod renditions;
mod syntax;
#[cfg(test)]
mod tests;
mod updates;

use std::collections::HashSet;

pub use crate::findings::{EXCERPT_CHARS_MAX, FINDINGS_PER_RULE_MAX, Finding, Severity, excerpt};
pub use delta::{MergeError, merge_delta};
pub use low_latency::{HintText, PartText, ReportText};
pub use media::{MediaText, SegmentText};
pub use renditions::{compare_renditions, compare_reports};

use crate::findings::{Findings, Reported};
use names::Names;
use syntax::{Attributes, Content, Line, Scope, decimal_integer, tag_rule};

/// Longest playlist that is read, in bytes. A day of two-second segments is about 5 MB.
pub const PLAYLIST_BYTES_MAX: usize = 8 << 20;
/// Segment names remembered to see one used again: over two hours of two-second segments.
const NAMES_MAX: usize = 4_096;
/// Part names remembered likewise: over two hours of one-second parts.
const PART_NAMES_MAX: usize = 8_192;

/// Which of the two kinds a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It lists segments.
    Media,
    /// It lists renditions.
    Multivariant,
}

/// Checks the versions of one playlist in the order they were received.
///
/// A finding is reported once, however many versions show it.
#[derive(Debug)]
pub struct Checker {
    kind: Option<Kind>,
    text: String,
    /// The full text that [`Checker::media`] was read from, kept where delta updates of it are offered.
    held: String,
    media: Option<MediaText>,
    reported: Reported,
    /// What is wrong with the URI, until it is reported.
    uri_fault: Option<String>,
    /// When the newest segment or part was first seen, in the caller's milliseconds.
    newest_since_ms: i64,
    stall_reported: bool,
    part_stall_reported: bool,
    /// Segments' names and numbers.
    names: Names<u64>,
    /// Parts' names, their segments' numbers and their places there.
    part_names: Names<(u64, usize)>,
}

impl Checker {
    /// A checker of the playlist at `uri`, absolute or relative.
    pub fn new(uri: &str) -> Checker {
        let path = uri.split(['?', '#']).next().unwrap_or(uri);
        let uri_fault =
            (!path.ends_with(".m3u8")).then(|| format!("the path of {} does not end in .m3u8", excerpt(uri)));
        Checker {
            kind: None,
            text: String::new(),
            held: String::new(),
            media: None,
            reported: Reported::default(),
            uri_fault,
            newest_since_ms: 0,
            stall_reported: false,
            part_stall_reported: false,
            names: Names::new(NAMES_MAX),
            part_names: Names::new(PART_NAMES_MAX),
        }
    }

    /// What the last text was, `None` before the first that could be told.
    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// The last media playlist with at least one segment, as read.
    pub fn media(&self) -> Option<&MediaText> {
        self.media.as_ref()
    }

    /// Checks `text`, received at `received_at_ms` on any clock that does not go back, against the rules and against
    /// the version before it. Returns what has not been reported before, at most [`FINDINGS_PER_RULE_MAX`] of
    /// each rule and a line about the rest.
    pub fn observe(&mut self, text: &str, received_at_ms: i64) -> Vec<Finding> {
        let mut findings = Findings::default();
        self.observe_sized(text, received_at_ms, &mut findings);
        self.reported.unreported(findings)
    }

    /// [`Checker::observe`] of the answer to a request with `_HLS_skip=YES`: a delta update is applied to the version
    /// before, which was no older than half of CAN-SKIP-UNTIL when it was asked for (8216bis 6.3.7), and what comes of it
    /// is checked as the new version. A full playlist is as good an answer.
    pub fn observe_delta(&mut self, text: &str, received_at_ms: i64) -> Vec<Finding> {
        let mut findings = Findings::default();
        if text.len() > PLAYLIST_BYTES_MAX {
            self.observe_sized(text, received_at_ms, &mut findings);
        } else {
            match merge_delta(&self.held, text) {
                Ok(full) => {
                    self.observe_sized(&full, received_at_ms, &mut findings);
                    self.check_skip(text, &mut findings);
                }
                Err(MergeError::NoSkip) => self.observe_sized(text, received_at_ms, &mut findings),
                Err(error) => findings.error("hls 6.2", error.to_string()),
            }
        }
        self.reported.unreported(findings)
    }

    /// What a delta update may leave out, and when there may be one (H 6.2.5.1).
    fn check_skip(&self, delta: &str, findings: &mut Findings) {
        let Some(media) = &self.media else { return };
        let skipped = media::read(delta, &mut Findings::default()).skipped_segments.unwrap_or(0);
        if media.ended {
            findings.error("hls 6.2", "a delta update of a playlist with #EXT-X-ENDLIST");
        }
        if skipped == 0 {
            findings.warning("hls 6.2", "a delta update that skips nothing is no full playlist either");
            return;
        }
        let Some(boundary_us) = low_latency::control_us(media, "CAN-SKIP-UNTIL") else {
            findings.error("hls 6.2", "a delta update, and #EXT-X-SERVER-CONTROL has no CAN-SKIP-UNTIL");
            return;
        };
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let from_last_skipped = media.segments.get(skipped.saturating_sub(1)..).unwrap_or_default();
        let behind_us = from_last_skipped
            .iter()
            .chain(&media.edge)
            .fold(0, |sum: u64, segment| sum.saturating_add(segment.duration_us));
        if behind_us < boundary_us {
            findings.error(
                "hls 6.2",
                format!(
                    "a delta update leaves out a segment {:.3} s from the end, and CAN-SKIP-UNTIL is {:.3} s",
                    seconds_of_us(behind_us),
                    seconds_of_us(boundary_us)
                ),
            );
        }
    }

    fn observe_sized(&mut self, text: &str, received_at_ms: i64, findings: &mut Findings) {
        if let Some(fault) = self.uri_fault.take() {
            findings.warning("hls 1.5", fault);
        }
        if text.len() > PLAYLIST_BYTES_MAX {
            let size = text.len();
            findings.error(
                "hls 1",
                format!("{size} bytes are more than the {PLAYLIST_BYTES_MAX} that are examined"),
            );
        } else {
            self.observe_bounded(text, received_at_ms, findings);
        }
    }

    fn observe_bounded(&mut self, text: &str, received_at_ms: i64, findings: &mut Findings) {
        if !self.text.is_empty() && self.text == text {
            self.check_cadence(received_at_ms, findings);
            return;
        }
        check_file(text, findings);
        let kind = kind_of(text);
        if self.kind.is_some_and(|before| before != kind) {
            findings.error("hls 1.4", format!("the playlist became a {kind:?} playlist").to_lowercase());
        }
        let changed = !self.text.is_empty() && self.kind == Some(kind);
        self.kind = Some(kind);
        match kind {
            Kind::Multivariant => {
                multivariant::check(text, findings);
                if changed {
                    findings.warning(
                        "hls 4.3",
                        "the multivariant playlist changed; most players fetch it once and keep the first",
                    );
                }
            }
            Kind::Media => self.observe_media(text, received_at_ms, findings),
        }
        text.clone_into(&mut self.text);
    }

    fn observe_media(&mut self, text: &str, received_at_ms: i64, findings: &mut Findings) {
        let next = media::read(text, findings);
        if next.segments.is_empty() {
            // Not kept: the version after it is compared with the last one that had segments.
            if next.skipped_segments.is_none() {
                findings.error(
                    "hls 1.7",
                    "the media playlist lists no segment: Shaka fails on it, Safari gives up; answer 404 or wait",
                );
            }
            return;
        }
        if next.skipped_segments.is_some() {
            findings.warning("hls 6", "a delta update came without being asked for; not compared further");
            return;
        }
        if low_latency::control_us(&next, "CAN-SKIP-UNTIL").is_some() {
            text.clone_into(&mut self.held);
        }
        let Some(previous) = self.media.take() else {
            self.newest_since_ms = received_at_ms;
            self.check_names(next.segments.iter(), findings);
            self.check_part_names(None, &next, findings);
            self.media = Some(next);
            return;
        };
        if updates::compare(&previous, &next, findings) {
            let new = next.segments.iter().filter(|segment| segment.sequence >= previous.end_sequence());
            self.check_names(new, findings);
            self.check_part_names(Some(&previous), &next, findings);
        }
        let end =
            |media: &MediaText| (media.end_sequence(), media.edge.as_ref().map(|edge| edge.parts.len()));
        let standstill = end(&previous) == end(&next);
        self.media = Some(next);
        if standstill {
            self.check_cadence(received_at_ms, findings);
        } else {
            self.newest_since_ms = received_at_ms;
            self.stall_reported = false;
            self.part_stall_reported = false;
        }
    }

    /// A playlist without anything new for longer than it may be. Only what was seen counts: the last version is known to
    /// have stood from its first to this observation, so slow polling never makes a finding.
    fn check_cadence(&mut self, received_at_ms: i64, findings: &mut Findings) {
        let Some(media) = self.media.as_ref() else { return };
        let Some(target) = media.target_duration.filter(|_| !media.ended && self.kind == Some(Kind::Media))
        else {
            return;
        };
        let stood_ms = received_at_ms.saturating_sub(self.newest_since_ms);
        let part_target_us = media.part_target_us.unwrap_or(0);
        // H 6.2.1: a new part within a part target; hls.js takes the edge for stalled after three.
        let part_limit_ms = i64::try_from(part_target_us.saturating_mul(3) / 1_000).unwrap_or(i64::MAX);
        if part_target_us > 0 && stood_ms > part_limit_ms && !self.part_stall_reported {
            self.part_stall_reported = true;
            let (sequence, part) = media.last_position();
            let part = part.map_or(String::new(), |part| format!("part {part} of "));
            findings.notice(
                "hls 5.7",
                format!(
                    "nothing new after {part}segment {sequence} for over 3 part targets ({:.1} s so far)",
                    seconds(stood_ms)
                ),
            );
        }
        // H 6.2.1: a new version with a new segment within 1.5 target durations; new parts are a sign of life, too.
        let limit_ms = i64::try_from(target.saturating_mul(1_500)).unwrap_or(i64::MAX);
        if stood_ms > limit_ms && !self.stall_reported {
            self.stall_reported = true;
            let last = media.end_sequence().saturating_sub(1);
            findings.error(
                "hls 3.5",
                format!(
                    "nothing new after segment {last} for over 1.5 times the target duration of {target} s ({:.1} s so far)",
                    seconds(stood_ms)
                ),
            );
        }
    }

    /// Names used for two numbers.
    fn check_names<'s>(&mut self, new: impl Iterator<Item = &'s SegmentText>, findings: &mut Findings) {
        let mut used_again = None;
        for segment in new.filter(|segment| !segment.byte_range && !segment.gap) {
            if let Some(number) = self.names.note(&segment.uri, segment.sequence) {
                used_again.get_or_insert((segment, number));
            }
        }
        if let Some((segment, number)) = used_again {
            let name = excerpt(&segment.uri);
            let sequence = segment.sequence;
            findings.warning(
                "hls 3.4",
                format!("segment {sequence} has the name of segment {number}, {name}: a name must never mean two bodies"),
            );
        }
    }

    /// The same of parts.
    fn check_part_names(&mut self, previous: Option<&MediaText>, next: &MediaText, findings: &mut Findings) {
        let mut used_again = None;
        for (part, place) in part_updates::new_parts(previous, next).filter(|(part, _)| !part.gap) {
            let ranged;
            let name = match part.byte_range {
                None => &part.uri,
                Some((start, length)) => {
                    ranged = format!("{}@{start}+{length}", part.uri);
                    &ranged
                }
            };
            if let Some(before) = self.part_names.note(name, place) {
                used_again.get_or_insert((part, place, before));
            }
        }
        if let Some((part, (sequence, index), (sequence_before, index_before))) = used_again {
            findings.warning(
                "hls 3.4",
                format!(
                    "part {index} of segment {sequence} has the name of part {index_before} of segment \
                     {sequence_before}, {}: a name must never mean two bodies",
                    excerpt(&part.uri)
                ),
            );
        }
    }
}

/// Milliseconds as seconds, for a message.
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

/// Microseconds as seconds, for a message.
fn seconds_of_us(us: u64) -> f64 {
    us as f64 / 1_000_000.0
}

/// The rules for every playlist file (8216bis 4.1, 4.4.1.1, 4.4.2, 4.4.3).
fn check_file(text: &str, findings: &mut Findings) {
    if text.starts_with('\u{feff}') {
        findings.error("hls 1.1", "the file starts with a byte order mark");
    }
    if text.lines().next() != Some("#EXTM3U") {
        findings.error("hls 1.1", "the first line is not #EXTM3U");
    }
    if !text.is_empty() && !text.ends_with('\n') {
        findings.notice("hls 1.1", "the last line has no line end; it may have been cut off");
    }
    let mut seen = HashSet::new();
    let mut scopes = (false, false);
    for (number, line) in numbered_lines(text) {
        if let Some(character) = line.chars().find(|c| c.is_control()) {
            findings.error("hls 1.1", format!("line {number} holds the control character {character:?}"));
        }
        match Line::new(line) {
            Line::Tag { name, .. } => {
                let Some(rule) = tag_rule(name) else {
                    if name.starts_with("EXT-X-") && seen.insert(name) {
                        findings
                            .notice("hls 1.3", format!("#{} is no tag of the specification", excerpt(name)));
                    }
                    continue;
                };
                match rule.scope {
                    Scope::Media => scopes.0 = true,
                    Scope::Multivariant => scopes.1 = true,
                    Scope::Either => {}
                }
                if !seen.insert(name) && rule.once {
                    findings.error("hls 1.3", format!("#{name} stands there more than once (line {number})"));
                }
            }
            Line::Uri(uri) if uri.trim() != uri || uri.contains(' ') => {
                findings
                    .error("hls 1.4", format!("the URI in line {number} holds a space: {}", excerpt(uri)));
            }
            _ => {}
        }
    }
    if scopes == (true, true) {
        findings.error("hls 1.4", "tags of media playlists and of multivariant playlists stand in one file");
    }
}

/// What follows a known tag's name is of the right form; returns its attributes, if it has a list of them.
fn check_tag<'a>(name: &str, value: Option<&'a str>, findings: &mut Findings) -> Attributes<'a> {
    let Some(rule) = tag_rule(name) else { return Attributes::default() };
    match (rule.content, value) {
        (Content::Nothing, None) | (Content::Special, Some(_)) => {}
        (Content::Nothing, Some(value)) => {
            findings.error("hls 1.2", format!("#{name} takes no value and has {}", excerpt(value)));
        }
        (_, None) => findings.error("hls 1.2", format!("#{name} has no value")),
        (Content::Integer, Some(value)) => {
            if decimal_integer(value).is_none() {
                findings.error("hls 1.2", format!("#{name} is {}, no decimal integer", excerpt(value)));
            }
        }
        (Content::Attributes { required }, Some(value)) => {
            let attributes = Attributes::parse(name, value);
            for fault in &attributes.faults {
                findings.error("hls 1.2", format!("#{name}: {fault}"));
            }
            for required in required.iter().filter(|required| attributes.text(required).is_none()) {
                findings.error("hls 1.2", format!("#{name} has no {required}"));
            }
            return attributes;
        }
    }
    Attributes::default()
}

/// The lines with their numbers from 1.
fn numbered_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index.saturating_add(1), line))
}

/// A text with any multivariant tag and no segment is a multivariant playlist; anything else is a media playlist.
fn kind_of(text: &str) -> Kind {
    let mut multivariant = false;
    for line in text.lines() {
        if let Line::Tag { name, .. } = Line::new(line) {
            match tag_rule(name).map(|rule| rule.scope) {
                Some(Scope::Multivariant) => multivariant = true,
                Some(Scope::Media) => return Kind::Media,
                _ => {}
            }
        }
    }
    if multivariant { Kind::Multivariant } else { Kind::Media }
}

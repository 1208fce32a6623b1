//! A strict checker of a *sequence* of playlists: what a version says alone, and what version N + 1 may change in N.
//!
//! It reads any text, its own project's or a stranger's, with its own small parser: no panic, bounded work, bounded
//! memory, bounded findings. Rules are named by the project's checklist ("hls 3.3": playlists, clause 3.3); the clauses
//! of 8216bis ("H") and of Apple's authoring specification ("A") stand beside the code that holds them.

mod media;
mod multivariant;
mod renditions;
mod syntax;
#[cfg(test)]
mod tests;
mod updates;

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

pub use media::{MediaText, SegmentText};
pub use renditions::compare_renditions;
pub use syntax::{EXCERPT_CHARS_MAX, excerpt};

use syntax::{Attributes, Content, Line, Scope, decimal_integer, tag_rule};

/// Longest playlist that is read, in bytes. A day of two-second segments is about 5 MB.
pub const PLAYLIST_BYTES_MAX: usize = 8 << 20;
/// Most findings of one observation; the last then tells how many more there were. More would not be read by anyone.
pub const FINDINGS_MAX: usize = 64;
/// Distinct findings remembered so as not to be repeated at every reload; past it, no new one is reported.
const REPORTED_MAX: usize = 4_096;
/// Segment names remembered to see one used again: over two hours of two-second segments.
const NAMES_MAX: usize = 4_096;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Legal, and not how this project writes it.
    Notice,
    /// Something recommended is missing, or some players stumble.
    Warning,
    /// A requirement is broken; players may stop, jump or refuse.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The rule, e.g. `hls 3.3`.
    pub rule: &'static str,
    /// What was seen, on one line, with a stranger's text escaped and cut short.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}] {}", self.severity, self.rule, self.message)
    }
}

/// Findings of one observation, up to [`FINDINGS_MAX`].
#[derive(Debug, Default)]
struct Findings {
    list: Vec<Finding>,
    left_off: usize,
}

impl Findings {
    fn add(&mut self, severity: Severity, rule: &'static str, message: impl Into<String>) {
        if self.list.len() + 1 < FINDINGS_MAX {
            self.list.push(Finding { severity, rule, message: message.into() });
        } else {
            self.left_off += 1;
        }
    }

    fn error(&mut self, rule: &'static str, message: impl Into<String>) {
        self.add(Severity::Error, rule, message);
    }

    fn warning(&mut self, rule: &'static str, message: impl Into<String>) {
        self.add(Severity::Warning, rule, message);
    }

    fn notice(&mut self, rule: &'static str, message: impl Into<String>) {
        self.add(Severity::Notice, rule, message);
    }
}

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
    media: Option<MediaText>,
    reported: HashSet<u64>,
    uri_finding: Option<Finding>,
    /// When the newest segment was first seen, in the caller's milliseconds.
    newest_since_ms: i64,
    stall_reported: bool,
    names: HashMap<String, u64>,
    names_in_order: VecDeque<String>,
}

impl Checker {
    /// A checker of the playlist at `uri`, absolute or relative.
    pub fn new(uri: &str) -> Checker {
        let path = uri.split(['?', '#']).next().unwrap_or(uri);
        let uri_finding = (!path.ends_with(".m3u8")).then(|| Finding {
            severity: Severity::Warning,
            rule: "hls 1.5",
            message: format!("the path of {} does not end in .m3u8", excerpt(uri)),
        });
        Checker {
            kind: None,
            text: String::new(),
            media: None,
            reported: HashSet::new(),
            uri_finding,
            newest_since_ms: 0,
            stall_reported: false,
            names: HashMap::new(),
            names_in_order: VecDeque::new(),
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
    /// the version before it. Returns what has not been reported before, at most [`FINDINGS_MAX`].
    pub fn observe(&mut self, text: &str, received_at_ms: i64) -> Vec<Finding> {
        let mut findings = Findings::default();
        findings.list.extend(self.uri_finding.take());
        if text.len() > PLAYLIST_BYTES_MAX {
            let size = text.len();
            findings.error(
                "hls 1",
                format!("{size} bytes are more than the {PLAYLIST_BYTES_MAX} that are examined"),
            );
        } else {
            self.observe_bounded(text, received_at_ms, &mut findings);
        }
        self.unreported(findings)
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
        let Some(previous) = self.media.take() else {
            self.newest_since_ms = received_at_ms;
            self.check_names(next.segments.iter(), findings);
            self.media = Some(next);
            return;
        };
        if updates::compare(&previous, &next, findings) {
            let new = next.segments.iter().filter(|segment| segment.sequence >= previous.end_sequence());
            self.check_names(new, findings);
        }
        let standstill = previous.end_sequence() == next.end_sequence() && next.parts == previous.parts;
        self.media = Some(next);
        if standstill {
            self.check_cadence(received_at_ms, findings);
        } else {
            self.newest_since_ms = received_at_ms;
            self.stall_reported = false;
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
        // H 6.2.1: a new version with a new segment within 1.5 target durations.
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

    /// Names used for two numbers: a cache or a player that knows the name by its first bytes plays those again.
    fn check_names<'s>(&mut self, new: impl Iterator<Item = &'s SegmentText>, findings: &mut Findings) {
        let mut used_again = None;
        for segment in new.filter(|segment| !segment.byte_range && !segment.gap) {
            match self.names.get(&segment.uri) {
                Some(number) if *number == segment.sequence => {}
                Some(number) => {
                    used_again.get_or_insert((segment, *number));
                }
                None => {
                    if self.names_in_order.len() >= NAMES_MAX
                        && let Some(oldest) = self.names_in_order.pop_front()
                    {
                        self.names.remove(&oldest);
                    }
                    self.names_in_order.push_back(segment.uri.clone());
                    self.names.insert(segment.uri.clone(), segment.sequence);
                }
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

    /// Drops what was reported at an earlier version, and says how much was left off.
    fn unreported(&mut self, findings: Findings) -> Vec<Finding> {
        let Findings { mut list, left_off } = findings;
        list.retain(|finding| {
            let mut hasher = DefaultHasher::new();
            finding.hash(&mut hasher);
            self.reported.len() < REPORTED_MAX && self.reported.insert(hasher.finish())
        });
        if left_off > 0 {
            list.push(Finding {
                severity: Severity::Error,
                rule: "hls 1",
                message: format!("and {left_off} more findings that are not listed"),
            });
        }
        list
    }
}

/// Milliseconds as seconds, for a message.
#[allow(clippy::cast_precision_loss)]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

/// Microseconds as seconds, for a message.
#[allow(clippy::cast_precision_loss)]
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

//! Findings: what a checker says about a stranger's text, how many of them at once, and each only once.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Most findings of one observation under one rule, before a line that tells how many more there were. More would not be read by
/// anyone, and those of another rule are not lost among them. The rules are a fixed set, so an observation's findings are bounded.
pub const FINDINGS_PER_RULE_MAX: usize = 16;
/// Distinct findings remembered so as not to be repeated at every reload; past it, no new one is reported.
const REPORTED_MAX: usize = 4_096;
/// Characters of a stranger's text that a message repeats.
pub const EXCERPT_CHARS_MAX: usize = 100;

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

/// Findings of one observation, up to [`FINDINGS_PER_RULE_MAX`] of each rule.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    rules: BTreeMap<&'static str, OfRule>,
}

/// How many findings one rule has in an observation.
#[derive(Debug, Default)]
struct OfRule {
    listed: usize,
    left_off: usize,
    /// The worst of those left off.
    severity: Option<Severity>,
}

impl Findings {
    fn add(&mut self, severity: Severity, rule: &'static str, message: impl Into<String>) {
        let of_rule = self.rules.entry(rule).or_default();
        if of_rule.listed < FINDINGS_PER_RULE_MAX {
            of_rule.listed = of_rule.listed.saturating_add(1);
            self.list.push(Finding { severity, rule, message: message.into() });
        } else {
            of_rule.left_off = of_rule.left_off.saturating_add(1);
            of_rule.severity = of_rule.severity.max(Some(severity));
        }
    }

    pub(crate) fn error(&mut self, rule: &'static str, message: impl Into<String>) {
        self.add(Severity::Error, rule, message);
    }

    pub(crate) fn warning(&mut self, rule: &'static str, message: impl Into<String>) {
        self.add(Severity::Warning, rule, message);
    }

    pub(crate) fn notice(&mut self, rule: &'static str, message: impl Into<String>) {
        self.add(Severity::Notice, rule, message);
    }

    /// What was found, for one who looks only once.
    pub(crate) fn into_list(self) -> Vec<Finding> {
        self.list
    }
}

/// What was reported at the versions before.
#[derive(Debug, Default)]
pub(crate) struct Reported(HashSet<u64>);

impl Reported {
    /// What was not reported at an earlier version, and for each rule how many of its findings were left off.
    pub(crate) fn unreported(&mut self, findings: Findings) -> Vec<Finding> {
        let Findings { mut list, rules } = findings;
        list.retain(|finding| {
            let mut hasher = DefaultHasher::new();
            finding.hash(&mut hasher);
            self.0.len() < REPORTED_MAX && self.0.insert(hasher.finish())
        });
        list.extend(rules.into_iter().filter_map(|(rule, OfRule { left_off, severity, .. })| {
            let message = format!("and {left_off} more findings that are not listed");
            Some(Finding { severity: severity?, rule, message })
        }));
        list
    }
}

/// Whether no rule has more findings than an observation reports of it.
pub(crate) fn are_bounded(findings: &[Finding]) -> bool {
    let mut counts = BTreeMap::new();
    findings.iter().for_each(|finding| *counts.entry(finding.rule).or_insert(0_usize) += 1);
    counts.values().all(|count| *count <= FINDINGS_PER_RULE_MAX + 1)
}

/// Text made safe for a terminal and a line: control characters escaped, cut at [`EXCERPT_CHARS_MAX`].
pub fn excerpt(text: &str) -> String {
    let mut shown: String = text.chars().take(EXCERPT_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(EXCERPT_CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    shown
}

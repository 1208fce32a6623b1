//! A strict checker of a *sequence* of MPDs: what a version says alone, and what version N + 1 may change in N.
//!
//! It reads any text, its own project's or a stranger's: no panic, bounded work, bounded memory, bounded findings. A
//! timeline stays runs (`S` with its repeats), so an `r` of 2^60 costs what an `r` of 1 does. Rules are named by the
//! project's checklist ("dash 5.2": CMAF and DASH, clause 5.2). Element order and types are left to the schema.

mod model;
mod read;
mod rules;
#[cfg(test)]
mod tests;
mod updates;
mod values;
mod xml;

use std::collections::VecDeque;

use headwater_media::WallTime;

pub use crate::findings::{FINDINGS_PER_RULE_MAX, Finding, Severity, excerpt};
pub use model::{
    AdaptationSetText, MpdText, PeriodText, RepresentationText, RunText, SegmentTemplateText, TimelineText,
};
pub use values::date_time_us;

use crate::findings::{Findings, Reported};

/// Longest MPD that is read, in bytes. A day of two-second segments, each an `S` of its own, is about 4 MB.
pub const MPD_BYTES_MAX: usize = 8 << 20;
/// Ids of Periods that left, remembered to see one used again: each is at most [`xml::VALUE_BYTES_MAX`] long.
const PERIOD_IDS_MAX: usize = 1_024;
/// Segments announced this much before they are there are not reported: clocks of a player and an origin differ.
pub const AVAILABILITY_TOLERANCE_US: i64 = 500_000;
/// Presentation times of one thing, said in milliseconds and in ticks, or by video and by audio, may differ this much: a
/// few audio frames.
const PRESENTATION_TOLERANCE_US: i64 = 100_000;

/// Checks the versions of one MPD in the order they were received.
///
/// A finding is reported once, however many versions show it.
#[derive(Debug, Default)]
pub struct Checker {
    text: String,
    mpd: Option<MpdText>,
    reported: Reported,
    /// Ids of Periods that left, the oldest first.
    left: VecDeque<String>,
}

impl Checker {
    /// A checker that has seen nothing.
    pub fn new() -> Checker {
        Checker::default()
    }

    /// The last MPD with at least one Period, as read.
    pub fn mpd(&self) -> Option<&MpdText> {
        self.mpd.as_ref()
    }

    /// Checks `text` against the rules and against the version before it. With `received_at`, the wall clock when the
    /// answer was there, every segment announced must be available by then, up to [`AVAILABILITY_TOLERANCE_US`].
    /// Returns what has not been reported before, at most [`FINDINGS_PER_RULE_MAX`] of each rule and a line about the rest.
    pub fn observe(&mut self, text: &str, received_at: Option<WallTime>) -> Vec<Finding> {
        let mut findings = Findings::default();
        if text.len() > MPD_BYTES_MAX {
            let size = text.len();
            findings.error(
                "dash 8.1",
                format!("{size} bytes are more than the {MPD_BYTES_MAX} that are examined"),
            );
        } else if self.text.is_empty() || self.text != text {
            match xml::read(text) {
                Ok(root) => self.observe_mpd(text, &root, received_at, &mut findings),
                Err(error) => {
                    findings.error("dash 8.1", format!("no MPD can be read: {}", excerpt(&error)));
                }
            }
        }
        self.reported.unreported(findings)
    }

    fn observe_mpd(
        &mut self,
        text: &str,
        root: &xml::Element,
        received_at: Option<WallTime>,
        findings: &mut Findings,
    ) {
        let next = read::read(root, findings);
        rules::check(&next, findings);
        if let Some(received_at) = received_at {
            rules::check_availability(&next, received_at, findings);
        }
        if next.periods.is_empty() {
            // Not kept: the version after it is compared with the last one that had Periods.
            return;
        }
        if let Some(previous) = self.mpd.take() {
            let texts = (self.text.as_str(), text);
            updates::compare((&previous, &next), texts, findings);
            self.check_ids(&previous, &next, findings);
        }
        self.mpd = Some(next);
        text.clone_into(&mut self.text);
    }

    /// An id that left stands for its Period forever: a player that still knows it takes the new one for the old.
    fn check_ids(&mut self, previous: &MpdText, next: &MpdText, findings: &mut Findings) {
        for period in &next.periods {
            let Some(id) = &period.id else { continue };
            if previous.period(id).is_none() && self.left.contains(id) {
                let id = excerpt(id);
                findings.error("dash 5.7", format!("Period {id} had left, and its id is used again"));
            }
        }
        for period in &previous.periods {
            let Some(id) = &period.id else { continue };
            if next.period(id).is_none() && !self.left.contains(id) {
                if self.left.len() >= PERIOD_IDS_MAX {
                    self.left.pop_front();
                }
                self.left.push_back(id.clone());
            }
        }
    }
}

/// Microseconds as seconds, for a message.
fn seconds(us: i64) -> f64 {
    us as f64 / 1_000_000.0
}

/// `Period 41`, for a message.
fn period_name(period: &PeriodText) -> String {
    format!("Period {}", excerpt(period.id.as_deref().unwrap_or("without @id")))
}

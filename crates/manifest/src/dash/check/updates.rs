//! Version N + 1 against version N: Periods come at the end and leave at the front, nothing that was said of a segment
//! ever changes, and @publishTime tells the versions apart.

use super::model::{
    AdaptationSetText, MpdText, PeriodText, RepresentationText, RunText, SegmentTemplateText,
};
use super::{excerpt, period_name, seconds};
use crate::findings::Findings;

/// Reports what version `next` must not have changed in `previous`. Both have at least one Period, and their texts differ.
pub(super) fn compare((previous, next): (&MpdText, &MpdText), texts: (&str, &str), findings: &mut Findings) {
    compare_times(previous, next, texts, findings);
    if !previous.dynamic && compare_after_end(previous, next, findings) {
        return;
    }
    if !periods_follow(previous, next, findings) {
        return;
    }
    for now in &next.periods {
        let before = now.id.as_deref().and_then(|id| previous.period(id));
        if let Some(before) = before {
            compare_period(before, now, findings);
        }
    }
    compare_names(previous, next, findings);
}

fn compare_times(previous: &MpdText, next: &MpdText, texts: (&str, &str), findings: &mut Findings) {
    if let (Some(before), Some(now)) = (previous.availability_start_time_us, next.availability_start_time_us)
        && before != now
    {
        let moved = seconds(now.saturating_sub(before));
        findings.error("dash 5", format!("MPD@availabilityStartTime moved by {moved:.3} s"));
    }
    let (Some(before), Some(now)) = (previous.publish_time_us, next.publish_time_us) else { return };
    if now < before {
        let back = seconds(before.saturating_sub(now));
        findings.error("dash 5", format!("MPD@publishTime went back by {back:.3} s"));
    } else if now == before {
        findings.error("dash 5", "the MPD changed and its @publishTime did not");
    } else if without_publish_time(texts.0) == without_publish_time(texts.1) {
        findings.error("dash 5", "MPD@publishTime changed and nothing else did");
    }
}

/// The text with the value of its first `publishTime` cut out.
fn without_publish_time(text: &str) -> (&str, &str) {
    let Some((front, rest)) = text.split_once("publishTime=") else { return (text, "") };
    let Some(quote) = rest.chars().next().filter(|quote| matches!(quote, '"' | '\'')) else {
        return (text, "");
    };
    // Behind the opening quote, the value, and the closing quote.
    (front, rest.splitn(3, quote).nth(2).unwrap_or(rest))
}

/// A static MPD is final. Returns whether `next` is another publication, which a publisher who comes back to the same URL
/// begins with new Periods, and which owes nothing else to the one before.
fn compare_after_end(previous: &MpdText, next: &MpdText, findings: &mut Findings) -> bool {
    let another = next
        .periods
        .iter()
        .all(|period| period.id.as_deref().is_some_and(|id| previous.period(id).is_none()));
    if another {
        findings.warning(
            "dash 5.9",
            "a new publication began behind a static MPD; players that saw the end don't come back",
        );
    } else if next.dynamic {
        findings.error("dash 5.9", "a static MPD became dynamic again");
    } else {
        findings.error("dash 5.9", "a static MPD changed");
    }
    another
}

/// Whether the Periods of `next` are those of `previous` without some at the front, and new ones behind them.
fn periods_follow(previous: &MpdText, next: &MpdText, findings: &mut Findings) -> bool {
    fn ids(mpd: &MpdText) -> Vec<&str> {
        mpd.periods.iter().filter_map(|period| period.id.as_deref()).collect()
    }
    let (before, now) = (ids(previous), ids(next));
    let Some(first) = now.first() else { return false };
    let Some(left) = before.iter().position(|id| id == first) else {
        if let Some(id) = before.iter().find(|id| now.contains(id)) {
            let first = excerpt(first);
            findings.error("dash 5.7", format!("Period {first} came in front of Period {}", excerpt(id)));
            return false;
        }
        return true;
    };
    let kept = before.get(left..).unwrap_or_default();
    match kept.iter().zip(&now).find(|(before, now)| before != now) {
        Some((before, now)) => {
            let (before, now) = (excerpt(before), excerpt(now));
            findings.error("dash 5.7", format!("Period {now} stands where Period {before} stood"));
            false
        }
        None if now.len() < kept.len() => {
            let id = excerpt(kept.get(now.len()).unwrap_or(first));
            findings.error("dash 5.7", format!("Period {id} left from the end"));
            true
        }
        None => true,
    }
}

fn compare_period(before: &PeriodText, now: &PeriodText, findings: &mut Findings) {
    let place = period_name(now);
    if let (Some(start), Some(moved)) = (before.start_us, now.start_us)
        && start != moved
    {
        let moved = seconds(moved.saturating_sub(start));
        findings.error("dash 5.7", format!("{place}: @start moved by {moved:.3} s"));
    }
    match (before.duration_us, now.duration_us) {
        (Some(was), Some(is)) if was != is => {
            let (was, is) = (seconds(was), seconds(is));
            findings.error("dash 5.7", format!("{place}: @duration changed from {was:.3} s to {is:.3} s"));
        }
        (Some(_), None) => findings.error("dash 5.7", format!("{place} lost its @duration")),
        _ => {}
    }
    for set in &before.adaptation_sets {
        for representation in &set.representations {
            match representation_of(now, &representation.id) {
                Some((set_now, now)) => {
                    compare_sets(set, set_now, &place, findings);
                    compare_representation(representation, now, &place, findings);
                }
                None => {
                    let id = excerpt(&representation.id);
                    findings.error("dash 5.6", format!("{place} lost Representation {id}"));
                }
            }
        }
    }
    let new = now.representations().find(|now| representation_of(before, &now.id).is_none());
    if let Some(new) = new {
        // Not refused: a track that starts late must come somehow. A new Period would be better.
        let id = excerpt(&new.id);
        findings.warning("dash 5.6", format!("{place} gained Representation {id}; players looked before"));
    }
}

fn representation_of<'p>(
    period: &'p PeriodText,
    id: &str,
) -> Option<(&'p AdaptationSetText, &'p RepresentationText)> {
    period.adaptation_sets.iter().find_map(|set| {
        let representation = set.representations.iter().find(|representation| representation.id == id)?;
        Some((set, representation))
    })
}

fn compare_sets(before: &AdaptationSetText, now: &AdaptationSetText, place: &str, findings: &mut Findings) {
    if before.id != now.id || before.content_type != now.content_type || before.lang != now.lang {
        let content_type = excerpt(&before.content_type);
        findings.error(
            "dash 5.7",
            format!("{place}, {content_type}: @id, @contentType or @lang of the AdaptationSet changed"),
        );
    }
}

fn compare_representation(
    before: &RepresentationText,
    now: &RepresentationText,
    place: &str,
    findings: &mut Findings,
) {
    let place = format!("{place}, {}", excerpt(&now.id));
    if before.codecs != now.codecs || before.mime_type != now.mime_type {
        findings.error("dash 5.7", format!("{place}: @codecs or @mimeType changed within a Period"));
    }
    let (Some(before), Some(now)) = (&before.template, &now.template) else { return };
    for (name, same) in [
        ("timescale", before.timescale == now.timescale),
        ("presentationTimeOffset", before.presentation_time_offset == now.presentation_time_offset),
        ("initialization", before.initialization == now.initialization),
        ("media", before.media == now.media),
    ] {
        if !same {
            findings.error("dash 5.2", format!("{place}: SegmentTemplate@{name} changed within a Period"));
        }
    }
    let complete =
        |template: &SegmentTemplateText| template.timeline.as_ref().is_some_and(|timeline| timeline.complete);
    if before.timescale == now.timescale && complete(before) && complete(now) {
        compare_timelines(before, now, &place, findings);
    }
}

/// A run with the number of its first segment.
#[derive(Clone, Copy)]
struct Numbered {
    number: u64,
    run: RunText,
}

impl Numbered {
    fn end(&self) -> u64 {
        self.number.saturating_add(self.run.count)
    }

    /// S@t of a number in it.
    fn time(&self, number: u64) -> u64 {
        self.run.time(number.saturating_sub(self.number))
    }
}

/// The runs, numbered from `first` on.
fn numbered(template: &SegmentTemplateText, first: u64) -> impl Iterator<Item = Numbered> {
    let runs = template.timeline.iter().flat_map(|timeline| &timeline.runs);
    runs.map(move |run| Numbered { number: first.saturating_add(run.index), run: *run })
}

/// The window slides: what both list is the same, the first number and the last never go back.
fn compare_timelines(
    before: &SegmentTemplateText,
    now: &SegmentTemplateText,
    place: &str,
    findings: &mut Findings,
) {
    let (Some(timeline_before), Some(timeline)) = (&before.timeline, &now.timeline) else { return };
    let Some(start) = timeline.start() else { return };
    let moved_to = timeline_before.index_of(start);
    let first = if now.names_numbers() {
        if now.start_number < before.start_number {
            let (was, is) = (before.start_number, now.start_number);
            findings.error("dash 5.2", format!("{place}: @startNumber went back from {was} to {is}"));
            return;
        }
        let moved = now.start_number.saturating_sub(before.start_number);
        if let Some(left) = moved_to
            && left != moved
        {
            findings.error(
                "dash 5.2",
                format!("{place}: {left} segment(s) left at the front, and @startNumber grew by {moved}"),
            );
            return;
        }
        now.start_number
    } else {
        // Named by time: the numbers are what follows from the times.
        match (moved_to, timeline_before.end()) {
            (Some(left), _) => before.start_number.saturating_add(left),
            (None, Some(end_before)) if start >= end_before => before.end_number(),
            _ => {
                findings.error("dash 5.2", format!("{place}: no segment started at {start} before"));
                return;
            }
        }
    };
    let end_number = first.saturating_add(timeline.count());
    if end_number < before.end_number() {
        findings.error(
            "dash 5.2",
            format!(
                "{place}: segments {end_number} to {} were listed at the end and are gone",
                before.end_number().saturating_sub(1)
            ),
        );
    }
    compare_runs(numbered(before, before.start_number), numbered(now, first), place, findings);
    let Some(end_before) = timeline_before.end() else { return };
    if first == before.end_number() && start != end_before {
        let hole = i128::from(start) - i128::from(end_before);
        findings.error("dash 5.7", format!("{place}: segment {first} starts {hole} ticks behind the last"));
    } else if first > before.end_number() && now.names_numbers() {
        findings.warning(
            "dash 5",
            format!(
                "{place}: segments {} to {} were never seen: they came and went between two requests",
                before.end_number(),
                first.saturating_sub(1)
            ),
        );
        if start < end_before {
            findings.error(
                "dash 5.2",
                format!("{place}: segment {first} starts at {start}, before the last one seen ended"),
            );
        }
    }
}

/// S@t and S@d of the numbers that both list. Walks both once.
fn compare_runs(
    before: impl Iterator<Item = Numbered>,
    now: impl Iterator<Item = Numbered>,
    place: &str,
    findings: &mut Findings,
) {
    let (mut before, mut now) = (before.peekable(), now.peekable());
    while let (Some(was), Some(is)) = (before.peek().copied(), now.peek().copied()) {
        let number = was.number.max(is.number);
        if number < was.end().min(is.end()) {
            let (t_was, t_is) = (was.time(number), is.time(number));
            if t_was != t_is {
                let what = format!("S@t of segment {number} changed from {t_was} to {t_is}");
                findings.error("dash 5.2", format!("{place}: {what}"));
                return;
            }
            if was.run.d != is.run.d {
                let what = format!("S@d of segment {number} changed from {} to {}", was.run.d, is.run.d);
                findings.error("dash 5.2", format!("{place}: {what}"));
                return;
            }
        }
        if was.end() <= is.end() {
            before.next();
        } else {
            now.next();
        }
    }
}

/// A name never means two segments: Periods that share a template count on.
fn compare_names(previous: &MpdText, next: &MpdText, findings: &mut Findings) {
    let mut earlier: Vec<&PeriodText> = previous.periods.iter().collect();
    for period in &next.periods {
        let known = period.id.as_deref().is_some_and(|id| previous.period(id).is_some());
        if known {
            continue;
        }
        if let Some(before) = earlier.last() {
            compare_numbers(before, period, findings);
        }
        earlier.push(period);
    }
}

fn compare_numbers(before: &PeriodText, now: &PeriodText, findings: &mut Findings) {
    for representation in now.representations() {
        let Some((_, earlier)) = representation_of(before, &representation.id) else { continue };
        let (Some(template_before), Some(template)) = (&earlier.template, &representation.template) else {
            continue;
        };
        let same_names =
            template_before.media == template.media && earlier.base_urls == representation.base_urls;
        if same_names && template.names_numbers() && template.start_number < template_before.end_number() {
            findings.error(
                "dash 4.4",
                format!(
                    "{}, {}: segment {} has the name of one of {}, which ends with segment {}",
                    period_name(now),
                    excerpt(&representation.id),
                    template.start_number,
                    period_name(before),
                    template_before.end_number().saturating_sub(1)
                ),
            );
        }
    }
}

//! The parts of version N + 1 against those of version N: they only grow at the end and leave at the front, a segment
//! becomes what its parts were, and what was hinted at is what comes (8216bis 4.4.4.9, 4.4.5.3, 6.2.1, 6.2.2).

use super::excerpt;
use super::low_latency::{PartText, has_all_parts};
use super::media::{MediaText, SegmentText};
use crate::findings::Findings;

/// Reports what `next` must not have changed in the parts and hints of `previous`, whose numbers mean the same segments.
pub(super) fn compare(previous: &MediaText, next: &MediaText, findings: &mut Findings) {
    let mut behind_us = next.edge.as_ref().map_or(0, |edge| edge.duration_us);
    for now in next.segments.iter().rev() {
        if let Some(before) = previous.segment(now.sequence) {
            compare_parts(before, now, Growth::Finished, findings);
            check_removal(before, now, behind_us, next, findings);
        } else if let Some(before) = previous.edge.as_ref().filter(|edge| edge.sequence == now.sequence) {
            compare_parts(before, now, Growth::Open, findings);
            check_removal(before, now, behind_us, next, findings);
        }
        behind_us = behind_us.saturating_add(now.duration_us);
    }
    if let Some(before) = &previous.edge {
        compare_edge(before, next, findings);
    }
    if !previous.ended {
        compare_hint(previous, next, findings);
    }
}

/// Whether a segment may still get parts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Growth {
    Open,
    Finished,
}

/// The segment that was under construction is there, and as it was announced.
fn compare_edge(before: &SegmentText, next: &MediaText, findings: &mut Findings) {
    let sequence = before.sequence;
    let Some(now) = listed(next, sequence) else {
        if next.end_sequence() <= sequence {
            findings.error("hls 5.5", format!("the parts of segment {sequence} were listed and are gone"));
        }
        return;
    };
    if now.uri.is_empty() {
        compare_parts(before, now, Growth::Open, findings);
    }
    for (rule, changed, what) in [
        ("hls 3.4", before.discontinuities != now.discontinuities, "gained or lost its #EXT-X-DISCONTINUITY"),
        (
            "hls 3.12",
            before.program_date_time_us.is_some() && before.program_date_time_us != now.program_date_time_us,
            "changed its #EXT-X-PROGRAM-DATE-TIME",
        ),
        ("hls 3.15", before.map != now.map, "changed its #EXT-X-MAP"),
    ] {
        if changed {
            findings.error(rule, format!("segment {sequence}, whose parts were listed, {what}"));
        }
    }
}

/// The segment of that number, whether it is finished or not.
fn listed(media: &MediaText, sequence: u64) -> Option<&SegmentText> {
    media.segment(sequence).or_else(|| media.edge.as_ref().filter(|edge| edge.sequence == sequence))
}

fn compare_parts(before: &SegmentText, now: &SegmentText, growth: Growth, findings: &mut Findings) {
    let sequence = now.sequence;
    let Some(first) = now.parts.first() else { return };
    if before.parts.is_empty() {
        findings.warning("hls 5.5", format!("segment {sequence} was listed without parts and has some now"));
        return;
    }
    // Parts may leave at the front, one by one.
    let left = before.parts.iter().position(|part| part.is_same_resource(first)).unwrap_or(0);
    let kept = before.parts.get(left..).unwrap_or_default();
    if let Some((before, now)) = kept.iter().zip(&now.parts).find(|(before, now)| before != now) {
        findings.error("hls 5.5", format!("a part of segment {sequence} {}", difference(before, now)));
    } else if now.parts.len() < kept.len() {
        findings.error("hls 5.5", format!("segment {sequence} lost parts at its end"));
    } else if now.parts.len() > kept.len() && growth == Growth::Finished {
        findings.error("hls 5.5", format!("segment {sequence} was finished and got more parts"));
    }
}

fn difference(before: &PartText, now: &PartText) -> String {
    if before.is_same_resource(now) {
        format!("changed what is said of it: {}", excerpt(&now.uri))
    } else if before.uri == now.uri {
        format!("changed its BYTERANGE: {}", excerpt(&now.uri))
    } else {
        format!("was {} and is {}", excerpt(&before.uri), excerpt(&now.uri))
    }
}

/// Part tags leave when they are three target durations from the end (H 6.2.2): players that are behind still ask for them.
fn check_removal(
    before: &SegmentText,
    now: &SegmentText,
    behind_us: u64,
    next: &MediaText,
    findings: &mut Findings,
) {
    let recent_us = next.target_duration.unwrap_or(0).saturating_mul(3_000_000);
    if !before.parts.is_empty() && now.parts.is_empty() && behind_us < recent_us && !next.ended {
        findings.warning(
            "hls 5.6",
            format!("segment {} lost its parts less than 3 target durations from the end", now.sequence),
        );
    }
}

/// The hint of `previous` is the part that comes next in `next`.
fn compare_hint(previous: &MediaText, next: &MediaText, findings: &mut Findings) {
    let Some(hint) = &previous.hint else { return };
    match next_part(previous, next) {
        Next::Part(part, segment) => {
            if !hint.is_at(part) {
                findings.error(
                    "hls 5.8",
                    format!(
                        "the hint named {} and the part that came is {} of segment {}",
                        excerpt(&hint.uri),
                        excerpt(&part.uri),
                        segment.sequence
                    ),
                );
            }
            let in_force = previous.edge.as_ref().or(previous.segments.last());
            let map_before = in_force.and_then(|segment| segment.map.as_ref());
            if segment.map.is_some() && segment.map.as_ref() != map_before && segment.map != previous.map_hint
            {
                findings.notice(
                    "hls 5.8",
                    format!(
                        "segment {} has a new #EXT-X-MAP that no hint of TYPE=MAP named",
                        segment.sequence
                    ),
                );
            }
        }
        Next::None if !next.ended && next.hint.as_ref().is_some_and(|now| now != hint) => {
            findings.warning(
                "hls 5.8",
                format!("the hint at {} was withdrawn and no part came instead", excerpt(&hint.uri)),
            );
        }
        Next::None | Next::Unknown => {}
    }
}

/// What came behind the last part of a version.
enum Next<'m> {
    /// This, of this segment.
    Part(&'m PartText, &'m SegmentText),
    /// Nothing yet.
    None,
    /// It can't be told: the tags are gone already.
    Unknown,
}

fn next_part<'m>(previous: &MediaText, next: &'m MediaText) -> Next<'m> {
    let sequence = previous.end_sequence();
    if next.media_sequence > sequence {
        return Next::Unknown;
    }
    let Some(segment) = listed(next, sequence) else { return Next::None };
    let fresh = match &previous.edge {
        Some(edge) => behind(edge, segment),
        // Of a finished segment, the first parts may be gone already.
        None if has_all_parts(segment) => Some(segment.parts.as_slice()),
        None => None,
    };
    match fresh {
        None => Next::Unknown,
        Some([part, ..]) => Next::Part(part, segment),
        // The segment ended with the last known part, or is still where it was.
        Some([]) => {
            match listed(next, sequence.saturating_add(1)).filter(|after| after.sequence > sequence) {
                None => Next::None,
                Some(after) => after.parts.first().map_or(Next::Unknown, |part| Next::Part(part, after)),
            }
        }
    }
}

/// The parts of `segment` that came after those it had as `edge`; `None` when those are not listed any more.
fn behind<'m>(edge: &SegmentText, segment: &'m SegmentText) -> Option<&'m [PartText]> {
    let last = edge.parts.last()?;
    let place = segment.parts.iter().position(|part| part.is_same_resource(last))?;
    segment.parts.get(place.saturating_add(1)..)
}

/// The parts of `next` that `previous` did not list, each with its segment's number and its index there.
pub(super) fn new_parts<'m>(
    previous: Option<&MediaText>,
    next: &'m MediaText,
) -> impl Iterator<Item = (&'m PartText, (u64, usize))> {
    let end = previous.map_or(0, MediaText::end_sequence);
    let segments = next.segments.iter().chain(&next.edge).filter(move |segment| segment.sequence >= end);
    segments.flat_map(move |segment| {
        let edge = previous.and_then(|previous| previous.edge.as_ref());
        let (known, parts) = match edge.filter(|edge| edge.sequence == segment.sequence) {
            Some(edge) => (edge.parts.len(), behind(edge, segment).unwrap_or_default()),
            None => (0, segment.parts.as_slice()),
        };
        let places = (known..).map(|index| (segment.sequence, index));
        parts.iter().zip(places)
    })
}

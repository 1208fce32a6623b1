//! Version N + 1 against version N: numbers count on, the front is all that leaves, nothing listed ever changes
//! (8216bis 6.2.1, 6.2.2).

use super::excerpt;
use super::media::{MediaText, SegmentText};
use super::part_updates;
use super::seconds_of_us;
use crate::findings::Findings;

/// Segments a live playlist should list (A 8.11).
const SEGMENTS_MIN: usize = 6;

/// Reports what version `next` must not have changed in `previous`. Both list at least one segment. Returns whether the
/// numbers of both mean the same segments.
pub(super) fn compare(previous: &MediaText, next: &MediaText, findings: &mut Findings) -> bool {
    if previous.ended && compare_after_end(previous, next, findings) {
        return true;
    }
    compare_header(previous, next, findings);
    let (first, first_before) = (next.media_sequence, previous.media_sequence);
    let Some(moved) = first.checked_sub(first_before) else {
        findings.error(
            "hls 3.3",
            format!("#EXT-X-MEDIA-SEQUENCE went back from {first_before} to {first}: players wait for numbers that come much later"),
        );
        return false;
    };
    if next.end_sequence() < previous.end_sequence() {
        findings.error(
            "hls 3.5",
            format!(
                "segments {} to {} were listed at the end and are gone",
                next.end_sequence(),
                previous.end_sequence().saturating_sub(1)
            ),
        );
    }
    let removed = usize::try_from(moved).unwrap_or(usize::MAX).min(previous.segments.len());
    if !numbers_follow_names(previous, next, removed, findings) {
        return false;
    }
    compare_discontinuity_sequence(previous, next, removed, findings);
    compare_segments(previous, next, findings);
    compare_join(previous, next, findings);
    part_updates::compare(previous, next, findings);
    if moved > 0 {
        check_window(previous, next, findings);
    }
    true
}

fn compare_header(previous: &MediaText, next: &MediaText, findings: &mut Findings) {
    if let (Some(before), Some(now)) = (previous.target_duration, next.target_duration)
        && before != now
    {
        findings.error("hls 3.1", format!("#EXT-X-TARGETDURATION changed from {before} to {now}"));
    }
    let (before, now) = (previous.version.unwrap_or(1), next.version.unwrap_or(1));
    if before != now {
        findings.error("hls 2", format!("the version changed from {before} to {now}"));
    }
    if previous.independent_segments != next.independent_segments {
        findings.warning("hls 3.11", "#EXT-X-INDEPENDENT-SEGMENTS came or went");
    }
    if previous.server_control != next.server_control {
        findings.error("hls 5.1", "#EXT-X-SERVER-CONTROL changed");
    }
    if previous.part_target_us != next.part_target_us {
        findings.error("hls 5.2", "#EXT-X-PART-INF changed");
    }
    if previous.playlist_type != next.playlist_type {
        findings.error("hls 3.8", "#EXT-X-PLAYLIST-TYPE changed");
    }
    match previous.playlist_type.as_deref() {
        Some("VOD") if previous.segments != next.segments => {
            findings.error("hls 3.8", "the segments changed though #EXT-X-PLAYLIST-TYPE is VOD");
        }
        Some("EVENT") if previous.media_sequence != next.media_sequence => {
            findings.error("hls 3.8", "segments were removed though #EXT-X-PLAYLIST-TYPE is EVENT");
        }
        _ => {}
    }
}

/// H 6.2.1: #EXT-X-ENDLIST is final. Returns whether `next` is another publication, which a publisher who comes back to
/// the same URL begins with higher numbers, and which owes nothing else to the one before.
fn compare_after_end(previous: &MediaText, next: &MediaText, findings: &mut Findings) -> bool {
    if next.media_sequence >= previous.end_sequence() {
        findings.warning(
            "hls 3.14",
            "a new publication began behind #EXT-X-ENDLIST; players that saw the end don't come back",
        );
        return true;
    }
    if next.ended {
        findings.error("hls 3.14", "the playlist changed after #EXT-X-ENDLIST");
    } else {
        findings.error("hls 3.14", "#EXT-X-ENDLIST was taken back");
    }
    false
}

/// Whether as many segments left the front as MEDIA-SEQUENCE says. False stops further comparison, which would only
/// repeat the one fault for every segment.
fn numbers_follow_names(
    previous: &MediaText,
    next: &MediaText,
    removed: usize,
    findings: &mut Findings,
) -> bool {
    let Some(first) = next.segments.first() else { return false };
    match previous.segments.get(removed) {
        Some(expected) if path(&expected.uri) != path(&first.uri) => {}
        _ => return true,
    }
    let Some(left) = previous.segments.iter().position(|segment| segment.uri == first.uri) else {
        return true;
    };
    findings.error(
        "hls 3.3",
        format!(
            "{left} segment(s) left in front of {}, and #EXT-X-MEDIA-SEQUENCE grew by {removed}",
            excerpt(&first.uri)
        ),
    );
    false
}

/// One per EXT-X-DISCONTINUITY that left (H 6.2.2).
fn compare_discontinuity_sequence(
    previous: &MediaText,
    next: &MediaText,
    removed: usize,
    findings: &mut Findings,
) {
    let left: u64 = previous.segments.iter().take(removed).map(|segment| segment.discontinuities).sum();
    let before = previous.discontinuity_sequence.unwrap_or(0);
    let now = next.discontinuity_sequence.unwrap_or(0);
    let expected = before.saturating_add(left);
    let unseen = next.media_sequence > previous.end_sequence();
    if now < expected || (now > expected && !unseen) {
        findings.error(
            "hls 3.10",
            format!(
                "#EXT-X-DISCONTINUITY-SEQUENCE went from {before} to {now} at segment {}, while {left} \
                 #EXT-X-DISCONTINUITY left",
                next.media_sequence
            ),
        );
    }
}

/// Lists the first segment that shows a fault, and counts the others.
struct First {
    sequence: u64,
    text: String,
    others: usize,
}

impl First {
    fn note(first: &mut Option<First>, sequence: u64, text: impl FnOnce() -> String) {
        match first {
            Some(first) => first.others += 1,
            None => *first = Some(First { sequence, text: text(), others: 0 }),
        }
    }
}

/// What is listed under a number stays as it was.
fn compare_segments(previous: &MediaText, next: &MediaText, findings: &mut Findings) {
    let [mut uri, mut query, mut duration, mut discontinuity, mut date, mut map, mut gap] =
        [const { None::<First> }; 7];
    for (before, now) in overlap(previous, next) {
        let sequence = now.sequence;
        if path(&before.uri) != path(&now.uri) {
            First::note(&mut uri, sequence, || {
                format!("was {} and is {}", excerpt(&before.uri), excerpt(&now.uri))
            });
        } else if before.uri != now.uri {
            First::note(&mut query, sequence, || "changed the query of its URI".to_owned());
        }
        if before.duration_us != now.duration_us {
            First::note(&mut duration, sequence, || {
                format!(
                    "changed its #EXTINF from {:.6} to {:.6}",
                    seconds_of_us(before.duration_us),
                    seconds_of_us(now.duration_us)
                )
            });
        }
        if before.discontinuities != now.discontinuities {
            First::note(&mut discontinuity, sequence, || {
                "gained or lost its #EXT-X-DISCONTINUITY".to_owned()
            });
        }
        if before.program_date_time_us != now.program_date_time_us
            && before.program_date_time_us.is_some()
            && now.program_date_time_us.is_some()
        {
            First::note(&mut date, sequence, || "changed its #EXT-X-PROGRAM-DATE-TIME".to_owned());
        }
        if before.map != now.map {
            First::note(&mut map, sequence, || "changed its #EXT-X-MAP".to_owned());
        }
        if before.gap != now.gap {
            First::note(&mut gap, sequence, || "gained or lost its #EXT-X-GAP".to_owned());
        }
    }
    let report = |first: Option<First>| {
        first.map(|First { sequence, text, others }| match others {
            0 => format!("segment {sequence} {text}"),
            others => format!("segment {sequence} {text}, and {others} more alike"),
        })
    };
    for (rule, first) in [
        ("hls 3.4", uri),
        ("hls 3.2", duration),
        ("hls 3.4", discontinuity),
        ("hls 3.12", date),
        ("hls 3.15", map),
        ("hls 3.13", gap),
    ] {
        if let Some(message) = report(first) {
            findings.error(rule, message);
        }
    }
    if let Some(message) = report(query) {
        findings.warning("hls 3.4", message);
    }
}

/// Segments with the same number in both.
fn overlap<'a>(
    previous: &'a MediaText,
    next: &'a MediaText,
) -> impl Iterator<Item = (&'a SegmentText, &'a SegmentText)> {
    next.segments.iter().filter_map(|now| Some((previous.segment(now.sequence)?, now)))
}

/// The two versions overlap, or at least meet: else segments came and went unseen.
fn compare_join(previous: &MediaText, next: &MediaText, findings: &mut Findings) {
    if let Some(missed @ 1..) = next.media_sequence.checked_sub(previous.end_sequence()) {
        findings.warning(
            "hls 3.5",
            format!(
                "segments {} to {} were never seen: {missed} came and went between two requests",
                previous.end_sequence(),
                next.media_sequence.saturating_sub(1)
            ),
        );
    }
}

/// Called when segments were removed: enough must remain. At the start of a stream nothing is removed.
fn check_window(previous: &MediaText, next: &MediaText, findings: &mut Findings) {
    if next.ended || previous.ended {
        return;
    }
    let target = next.target_duration.unwrap_or(0);
    if next.duration_us() < target.saturating_mul(3_000_000) {
        // H 6.2.2
        findings.warning(
            "hls 3.5",
            format!(
                "segments are removed while less than 3 target durations ({} s) are listed",
                3 * target.min(1 << 32)
            ),
        );
    }
    if next.segments.len() < SEGMENTS_MIN {
        findings
            .notice("hls 3.5", format!("segments are removed while fewer than {SEGMENTS_MIN} are listed"));
    }
}

/// A URI without query and fragment: hls.js compares it so.
fn path(uri: &str) -> &str {
    uri.split(['?', '#']).next().unwrap_or(uri)
}

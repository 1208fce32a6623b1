//! What low latency adds to one media playlist alone: parts, hints, reports and the promises of EXT-X-SERVER-CONTROL
//! (8216bis 4.4.3.7, 4.4.3.8, 4.4.4.9, 4.4.5.3, 4.4.5.4).

use super::media::{MediaText, SegmentText};
use super::syntax::{Attributes, decimal_integer, decimal_micros, decimals};
use super::{excerpt, seconds_of_us};
use crate::findings::Findings;

/// One EXT-X-PART as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartText {
    /// Its URI.
    pub uri: String,
    /// DURATION in microseconds; 0 when it was missing or unreadable.
    pub duration_us: u64,
    /// INDEPENDENT=YES.
    pub independent: bool,
    /// GAP=YES.
    pub gap: bool,
    /// BYTERANGE: the first byte, and how many.
    pub byte_range: Option<(u64, u64)>,
    /// The last digit that DURATION is written with, in microseconds.
    pub(super) digit_us: u64,
}

impl PartText {
    /// Reads a part that stands behind `before` in the same segment.
    pub(super) fn read(attributes: &Attributes<'_>, before: Option<&PartText>) -> PartText {
        let uri = attributes.text("URI").unwrap_or_default();
        let duration = attributes.text("DURATION").unwrap_or_default();
        let byte_range = attributes.text("BYTERANGE").and_then(|text| {
            // 8216bis 4.4.4.2: without an offset, it goes on where the one before it ends.
            let end = before.filter(|part| part.uri == uri).and_then(|part| part.byte_range);
            let end = end.map_or(0, |(start, length)| start.saturating_add(length));
            Some(match text.split_once('@') {
                Some((length, start)) => (decimal_integer(start)?, decimal_integer(length)?),
                None => (end, decimal_integer(text)?),
            })
        });
        PartText {
            uri: uri.to_owned(),
            duration_us: decimal_micros(duration).unwrap_or(0),
            independent: attributes.text("INDEPENDENT") == Some("YES"),
            gap: attributes.text("GAP") == Some("YES"),
            byte_range,
            digit_us: digit_us(duration),
        }
    }

    /// Whether both name the same bytes.
    pub(super) fn is_same_resource(&self, other: &PartText) -> bool {
        self.uri == other.uri && self.byte_range == other.byte_range
    }
}

/// The last digit that a duration is written with, in microseconds, and not less than one.
pub(super) fn digit_us(duration: &str) -> u64 {
    let decimals = u32::try_from(decimals(duration)).unwrap_or(u32::MAX);
    10_u64.pow(6_u32.saturating_sub(decimals))
}

/// The EXT-X-PRELOAD-HINT of TYPE=PART as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HintText {
    /// Its URI.
    pub uri: String,
    /// BYTERANGE-START, 0 when absent.
    pub byte_range_start: u64,
}

impl HintText {
    pub(super) fn read(attributes: &Attributes<'_>) -> HintText {
        HintText {
            uri: attributes.text("URI").unwrap_or_default().to_owned(),
            byte_range_start: attributes.integer("BYTERANGE-START").unwrap_or(0),
        }
    }

    /// Whether it hints at `part`.
    pub(super) fn is_at(&self, part: &PartText) -> bool {
        self.uri == part.uri && self.byte_range_start == part.byte_range.map_or(0, |(start, _)| start)
    }
}

/// One EXT-X-RENDITION-REPORT as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReportText {
    /// Its URI, relative to the playlist it stands in.
    pub uri: String,
    /// LAST-MSN; absent when it is that of the playlist it stands in (8216bis 4.4.5.4).
    pub last_msn: Option<u64>,
    /// LAST-PART; likewise.
    pub last_part: Option<u64>,
}

impl ReportText {
    pub(super) fn read(attributes: &Attributes<'_>) -> ReportText {
        ReportText {
            uri: attributes.text("URI").unwrap_or_default().to_owned(),
            last_msn: attributes.integer("LAST-MSN"),
            last_part: attributes.integer("LAST-PART"),
        }
    }
}

/// An EXT-X-SERVER-CONTROL attribute of `media` in microseconds.
pub(super) fn control_us(media: &MediaText, name: &str) -> Option<u64> {
    decimal_micros(control(media, name)?)
}

fn control<'m>(media: &'m MediaText, name: &str) -> Option<&'m str> {
    let list = media.server_control.as_ref()?;
    list.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
}

/// Reports what is wrong with the low-latency tags of one version.
pub(super) fn check(media: &MediaText, findings: &mut Findings) {
    check_server_control(media, findings);
    if !media.is_low_latency() {
        return;
    }
    check_hint(media, findings);
    let target_us = match media.part_target_us {
        Some(target_us @ 1..) => target_us,
        Some(0) => {
            findings.error("hls 5.2", "PART-TARGET is 0 s");
            return;
        }
        None => {
            // H 4.4.3.7
            findings.error("hls 5.2", "#EXT-X-PART without a PART-TARGET in #EXT-X-PART-INF");
            return;
        }
    };
    for segment in media.segments.iter().chain(&media.edge) {
        check_part_durations(segment, target_us, findings);
        check_flags(segment, media, findings);
    }
    check_places(media, findings);
}

/// H 4.4.3.8
fn check_server_control(media: &MediaText, findings: &mut Findings) {
    let target_us = media.target_duration.unwrap_or(0).saturating_mul(1_000_000);
    let part_target_us = media.part_target_us.unwrap_or(0);
    let below = |name: &str, times: u64, unit_us: u64| {
        // Both may have been rounded up by a millionth.
        let least_us = unit_us.saturating_sub(1).saturating_mul(times);
        control_us(media, name).filter(|have_us| *have_us < least_us)
    };
    for (name, times, unit_us, unit) in [
        ("HOLD-BACK", 3, target_us, "target durations"),
        ("CAN-SKIP-UNTIL", 6, target_us, "target durations"),
        ("PART-HOLD-BACK", 2, part_target_us, "part targets"),
    ] {
        if let Some(have_us) = below(name, times, unit_us) {
            let have = seconds_of_us(have_us);
            findings.error("hls 5.1", format!("{name} is {have} s, less than {times} {unit}"));
        } else if name == "PART-HOLD-BACK" && below(name, 3, unit_us).is_some() {
            // A 14.3
            findings.notice("hls 5.1", "PART-HOLD-BACK is less than the 3 part targets that Apple asks for");
        }
    }
    if media.part_target_us.is_some() && control(media, "PART-HOLD-BACK").is_none() {
        findings.error("hls 5.1", "#EXT-X-PART-INF without a PART-HOLD-BACK in #EXT-X-SERVER-CONTROL");
    }
    if media.is_low_latency() && control(media, "CAN-BLOCK-RELOAD").is_none() {
        // H B.1
        findings.warning("hls 5.1", "parts without CAN-BLOCK-RELOAD=YES: players have to poll for them");
    }
    for name in ["CAN-BLOCK-RELOAD", "CAN-SKIP-DATERANGES"] {
        if control(media, name) == Some("NO") {
            findings
                .warning("hls 5.1", format!("{name}=NO: Shaka looks only for the name and takes it for YES"));
        }
    }
    if control(media, "CAN-SKIP-DATERANGES").is_some() && control(media, "CAN-SKIP-UNTIL").is_none() {
        findings.error("hls 5.1", "CAN-SKIP-DATERANGES without CAN-SKIP-UNTIL");
    }
}

/// H 4.4.5.3, B.1
fn check_hint(media: &MediaText, findings: &mut Findings) {
    if media.ended {
        return;
    }
    let Some(hint) = &media.hint else {
        if media.edge.is_some() {
            findings.warning("hls 5.8", "no #EXT-X-PRELOAD-HINT names the next part");
        } else {
            // Nobody can say what a publisher that is away will send.
            findings.notice("hls 5.8", "no #EXT-X-PRELOAD-HINT names a part, and none is under construction");
        }
        return;
    };
    let mut parts = media.segments.iter().chain(&media.edge).flat_map(|segment| &segment.parts);
    if parts.any(|part| hint.is_at(part)) {
        findings.error("hls 5.8", format!("the hint names {}, a part that is listed", excerpt(&hint.uri)));
    }
}

/// H 4.4.4.9: no part above the target, and few below 85 % of it.
fn check_part_durations(segment: &SegmentText, target_us: u64, findings: &mut Findings) {
    let mut parts = segment.parts.iter().peekable();
    while let Some(part) = parts.next() {
        let fault = if part.duration_us > target_us {
            "more than"
        } else {
            // Of the segment under construction, any part may turn out to be the last.
            let may_be_short = part.independent || part.gap || parts.peek().is_none_or(|next| next.gap);
            // Either may have been rounded by a millionth.
            let enough =
                part.duration_us.saturating_add(2).saturating_mul(100) >= target_us.saturating_mul(85);
            if may_be_short || enough {
                continue;
            }
            "less than 85 % of"
        };
        findings.error(
            "hls 5.2",
            format!(
                "part {} of segment {} is {:.6} s long, {fault} the part target of {:.6} s",
                excerpt(&part.uri),
                segment.sequence,
                seconds_of_us(part.duration_us),
                seconds_of_us(target_us)
            ),
        );
    }
}

/// GAP and INDEPENDENT as the segment has them.
fn check_flags(segment: &SegmentText, media: &MediaText, findings: &mut Findings) {
    let sequence = segment.sequence;
    if segment.gap && segment.parts.iter().any(|part| !part.gap) {
        // H 4.4.4.7
        findings.error("hls 3.13", format!("segment {sequence} is a gap, and a part of it has no GAP=YES"));
    }
    let finished = media.segment(sequence).is_some();
    if media.independent_segments
        && finished
        && !segment.parts.is_empty()
        && !segment.parts.iter().any(|part| part.independent || part.gap)
    {
        // H 4.4.4.9, B.1
        findings.warning("hls 5.3", format!("segment {sequence} has no part with INDEPENDENT=YES"));
    }
}

/// What depends on how far a segment is from the end.
fn check_places(media: &MediaText, findings: &mut Findings) {
    let target = media.target_duration.unwrap_or(0);
    let old_us = target.saturating_mul(3_000_000);
    let mut behind_us = media.edge.as_ref().map_or(0, |edge| edge.duration_us);
    if let Some(edge) = &media.edge
        && behind_us.saturating_add(500_000) / 1_000_000 > target
        && target > 0
    {
        findings.error(
            "hls 3.1",
            format!(
                "the parts of segment {} add up to {:.3} s, which rounds to more than the target duration of {target} s",
                edge.sequence,
                seconds_of_us(behind_us)
            ),
        );
    }
    let mut old_parts = false;
    for segment in media.segments.iter().rev() {
        old_parts |= behind_us > old_us && !segment.parts.is_empty();
        behind_us = behind_us.saturating_add(segment.duration_us);
        // Parts may be removed one by one: then the sum is less.
        check_sum(segment, behind_us > old_us, findings);
    }
    if old_parts {
        // H 6.2.2
        findings.notice(
            "hls 5.6",
            "#EXT-X-PART tags of segments that end more than 3 target durations before the end are still there",
        );
    }
}

/// H 3.2: the parts are the segment.
fn check_sum(segment: &SegmentText, may_be_less: bool, findings: &mut Findings) {
    if segment.parts.is_empty() {
        return;
    }
    let (sum_us, rounding_us) = sum_of_parts(segment);
    let differs = sum_us.abs_diff(segment.duration_us) > rounding_us;
    if differs && !(may_be_less && sum_us < segment.duration_us) {
        findings.error(
            "hls 5.5",
            format!(
                "the parts of segment {} add up to {:.6} s, and its #EXTINF is {:.6}",
                segment.sequence,
                seconds_of_us(sum_us),
                seconds_of_us(segment.duration_us)
            ),
        );
    }
}

/// Whether no part of a finished segment is missing.
pub(super) fn has_all_parts(segment: &SegmentText) -> bool {
    let (sum_us, rounding_us) = sum_of_parts(segment);
    sum_us.saturating_add(rounding_us) >= segment.duration_us && !segment.parts.is_empty()
}

/// The sum of the parts' durations, and how far it may be from EXTINF because both were rounded.
fn sum_of_parts(segment: &SegmentText) -> (u64, u64) {
    let sum = |of: fn(&PartText) -> u64| segment.parts.iter().map(of).fold(0, u64::saturating_add);
    (sum(|part| part.duration_us), sum(|part| part.digit_us).saturating_add(segment.digit_us))
}

//! The rules for one version of an MPD.

use std::collections::HashSet;
use std::sync::Arc;

use headwater_media::WallTime;

use super::model::{AdaptationSetText, MpdText, PeriodText, RepresentationText, SegmentTemplateText};
use super::values::{TemplateValues, expand};
use super::{AVAILABILITY_TOLERANCE_US, PRESENTATION_TOLERANCE_US, excerpt, period_name, seconds};
use crate::findings::Findings;

/// Reports what `mpd` must not be whatever came before it.
pub(super) fn check(mpd: &MpdText, findings: &mut Findings) {
    if mpd.min_buffer_time_us.is_none() {
        findings.error("dash 5", "MPD@minBufferTime is missing");
    }
    if mpd.max_segment_duration_us.is_none() {
        findings.warning("dash 5", "MPD@maxSegmentDuration is missing; shaka assumes 1 s");
    }
    if mpd.dynamic {
        check_dynamic(mpd, findings);
    } else {
        check_static(mpd, findings);
    }
    check_utc_timing(mpd, findings);
    if mpd.periods.is_empty() {
        findings.error("dash 5", "the MPD has no Period");
    }
    let mut ids = HashSet::new();
    for period in &mpd.periods {
        if let Some(id) = &period.id
            && !ids.insert(id)
        {
            findings.error("dash 5.7", format!("two Periods have the id {}", excerpt(id)));
        }
        check_period(mpd, period, findings);
    }
    for pair in mpd.periods.windows(2) {
        if let [period, next] = pair {
            check_neighbours(period, next, findings);
        }
    }
}

fn check_dynamic(mpd: &MpdText, findings: &mut Findings) {
    if mpd.availability_start_time_us.is_none() {
        findings.error("dash 5", "MPD@availabilityStartTime is missing from a dynamic MPD");
    }
    if mpd.publish_time_us.is_none() {
        findings.error("dash 5", "MPD@publishTime is missing from a dynamic MPD");
    }
    match (mpd.minimum_update_period_us, mpd.media_presentation_duration_us) {
        (None, None) => findings.error(
            "dash 5",
            "MPD@minimumUpdatePeriod is missing from a dynamic MPD: players never ask for another version",
        ),
        // The other form of an end.
        (None, Some(_)) => {
            findings.notice("dash 5.9", "a dynamic MPD without @minimumUpdatePeriod has ended");
        }
        _ => {}
    }
    if mpd.time_shift_buffer_depth_us.is_none() {
        findings
            .notice("dash 5", "MPD@timeShiftBufferDepth is missing: all media since the start is promised");
    }
    if mpd.suggested_presentation_delay_us.is_none() {
        findings.notice("dash 5", "MPD@suggestedPresentationDelay is missing; dash.js takes 4 segments");
    }
    if mpd.periods.iter().any(|period| period.id.is_none()) {
        findings.error("dash 5.7", "a Period of a dynamic MPD has no @id");
    }
    if mpd.utc_timings.is_empty() {
        findings.warning("dash 5.8", "a dynamic MPD has no UTCTiming: players trust their own clocks");
    }
}

fn check_static(mpd: &MpdText, findings: &mut Findings) {
    if mpd.minimum_update_period_us.is_some() {
        findings.error("dash 5.9", "a static MPD has @minimumUpdatePeriod: players go on asking");
    }
    let Some(last) = mpd.periods.last() else { return };
    let Some(duration_us) = mpd.media_presentation_duration_us else {
        if last.duration_us.is_none() {
            let what = "neither @mediaPresentationDuration nor its last Period a @duration";
            findings.error("dash 5.9", format!("a static MPD has {what}"));
        }
        return;
    };
    let Some(end_us) = last.start_us.zip(media_end_us(last)).map(|(start, end)| start.saturating_add(end))
    else {
        return;
    };
    // DASH 5.3.2.1: the last Period ends there.
    if duration_us.abs_diff(end_us) > END_TOLERANCE_US {
        findings.warning(
            "dash 5.9",
            format!(
                "MPD@mediaPresentationDuration is {:.3} s, and media of the last Period ends at {:.3} s",
                seconds(duration_us),
                seconds(end_us)
            ),
        );
    }
}

fn check_utc_timing(mpd: &MpdText, findings: &mut Findings) {
    for (scheme, value) in &mpd.utc_timings {
        let Some(kind) = scheme.strip_prefix("urn:mpeg:dash:utc:") else {
            findings.notice("dash 5.8", format!("UTCTiming of the unknown scheme {}", excerpt(scheme)));
            continue;
        };
        if kind.starts_with("http-") {
            // Several URLs may stand there, separated by white space (DASH 5.8.5.7).
            for url in value.split_whitespace() {
                if !url.starts_with("http://") && !url.starts_with("https://") {
                    let url = excerpt(url);
                    findings.error(
                        "dash 5.8",
                        format!("UTCTiming@value {url} is not absolute; GStreamer refuses it"),
                    );
                }
            }
            if value.trim().is_empty() {
                findings.error("dash 5.8", "UTCTiming@value is empty");
            }
        } else if !kind.starts_with("direct") {
            let kind = excerpt(kind);
            findings.notice("dash 5.8", format!("dash.js and shaka ignore the UTCTiming scheme {kind}"));
        }
    }
}

fn check_period(mpd: &MpdText, period: &PeriodText, findings: &mut Findings) {
    let place = period_name(period);
    if period.start_us.is_none() {
        findings.error("dash 5.7", format!("{place} has no @start, and none follows from another Period"));
    }
    if period.adaptation_sets.is_empty() {
        findings.error("dash 5", format!("{place} has no AdaptationSet"));
    }
    let (mut set_ids, mut ids) = (HashSet::new(), HashSet::new());
    for set in &period.adaptation_sets {
        if let Some(id) = &set.id
            && !set_ids.insert(id)
        {
            findings.error("dash 5.6", format!("{place}: two AdaptationSets have the id {}", excerpt(id)));
        }
        check_set(mpd, set, &place, findings);
        for representation in &set.representations {
            if !ids.insert(&representation.id) {
                let id = excerpt(&representation.id);
                findings.error("dash 5.6", format!("{place}: two Representations have the id {id}"));
            }
        }
    }
    check_alignment(period, &place, findings);
}

fn check_set(mpd: &MpdText, set: &AdaptationSetText, place: &str, findings: &mut Findings) {
    let place = format!("{place}, {}", excerpt(&set.content_type));
    if set.representations.is_empty() {
        findings.error("dash 5", format!("{place}: the AdaptationSet has no Representation"));
    }
    let mut shared: Option<&Arc<SegmentTemplateText>> = None;
    for representation in &set.representations {
        check_representation(representation, &place, findings);
        let Some(template) = &representation.template else { continue };
        // One template for all of a set is looked at once.
        if !shared.is_some_and(|shared| Arc::ptr_eq(shared, template)) {
            shared = Some(template);
            let place = format!("{place} {}", excerpt(&representation.id));
            check_template(mpd, representation, template, &place, findings);
        }
    }
}

fn check_representation(representation: &RepresentationText, place: &str, findings: &mut Findings) {
    let place = format!("{place} {}", excerpt(&representation.id));
    if representation.id.is_empty() {
        findings.error("dash 5.6", format!("{place}: the Representation has no @id"));
    }
    if representation.bandwidth == 0 {
        findings.error("dash 5.6", format!("{place} has no @bandwidth, or one of 0"));
    }
    if representation.mime_type.is_none() {
        findings.error("dash 5.6", format!("{place} has no @mimeType"));
    }
    if representation.codecs.is_none() {
        findings.error("dash 5.6", format!("{place} has no @codecs"));
    }
}

fn check_template(
    mpd: &MpdText,
    representation: &RepresentationText,
    template: &SegmentTemplateText,
    place: &str,
    findings: &mut Findings,
) {
    match (&template.timeline, template.duration) {
        (Some(_), Some(_)) => {
            findings.error("dash 5.4", format!("{place} has both SegmentTimeline and @duration"));
        }
        (None, None) => {
            findings.error("dash 5.4", format!("{place} has neither SegmentTimeline nor @duration"));
        }
        _ => {}
    }
    // The schema's type for it; dash.js and shaka count further.
    if template.start_number > u64::from(u32::MAX) {
        let number = template.start_number;
        findings.error("dash 5.2", format!("{place}: @startNumber {number} does not fit 32 bits"));
    }
    let values = TemplateValues { representation_id: &representation.id, bandwidth: 0, number: 0, time: 0 };
    for (name, value) in [("initialization", &template.initialization), ("media", &template.media)] {
        match value.as_deref() {
            None => findings.error("dash 5.4", format!("{place}: SegmentTemplate@{name} is missing")),
            Some(url) if expand(url, values).is_none() => {
                let url = excerpt(url);
                findings.error("dash 5.4", format!("{place}: {url} is no URL template"));
            }
            Some(_) => {}
        }
    }
    if let Some(media) = &template.media {
        let names = ["Number", "Time"].map(|identifier| super::values::uses(media, identifier));
        if names == [false, false] {
            let what = "SegmentTemplate@media has neither $Number$ nor $Time$: one name for all segments";
            findings.error("dash 5.4", format!("{place}: {what}"));
        }
    }
    check_durations(mpd, template, place, findings);
}

/// S@d against MPD@maxSegmentDuration, and the first S@t against the start of the Period.
fn check_durations(mpd: &MpdText, template: &SegmentTemplateText, place: &str, findings: &mut Findings) {
    let Some(timeline) = &template.timeline else { return };
    let longest = timeline.runs.iter().max_by_key(|run| run.d);
    if let (Some(run), Some(max_us)) = (longest, mpd.max_segment_duration_us) {
        // Up to a tick of rounding.
        let d_us = template.duration_us(run.d);
        if d_us > max_us.saturating_add(1) {
            findings.error(
                "dash 5",
                format!(
                    "{place}: segment {} is {:.3} s long, more than @maxSegmentDuration of {:.3} s",
                    template.start_number.saturating_add(run.index),
                    seconds(d_us),
                    seconds(max_us)
                ),
            );
        }
    }
    if let Some(start) = timeline.start() {
        let start_us = template.period_time_us(start);
        if start_us < -PRESENTATION_TOLERANCE_US {
            findings.warning(
                "dash 5.5",
                format!("{place}: the first segment starts {:.3} s before its Period", -seconds(start_us)),
            );
        }
    }
}

/// One number means one media time in every set (checklist 4.3): asked of the first number that both list.
fn check_alignment(period: &PeriodText, place: &str, findings: &mut Findings) {
    let mut numbered = period
        .representations()
        .filter_map(|representation| Some((representation, representation.template.as_ref()?)))
        .filter(|(_, template)| template.names_numbers() && template.timeline.is_some());
    let Some((first, first_template)) = numbered.next() else { return };
    for (other, template) in numbered {
        if Arc::ptr_eq(template, first_template) {
            continue;
        }
        let number = first_template.start_number.max(template.start_number);
        let time_us =
            |template: &SegmentTemplateText| Some(template.period_time_us(time_of(template, number)?));
        let (Some(a), Some(b)) = (time_us(first_template), time_us(template)) else { continue };
        // Audio is cut at the first frame after the video's cut, and joins or leaves a stream by itself: a second is
        // neither, and a number that is one off is more than one.
        if a.abs_diff(b) > ALIGNMENT_TOLERANCE_US {
            findings.error(
                "dash 4.3",
                format!(
                    "{place}: segment {number} starts at {:.3} s in {} and at {:.3} s in {}",
                    seconds(a),
                    excerpt(&first.id),
                    seconds(b),
                    excerpt(&other.id)
                ),
            );
        }
    }
}

/// @mediaPresentationDuration may differ this much from where media ends: video and audio don't end together.
const END_TOLERANCE_US: u64 = 500_000;

/// Media times of one number may differ this much between sets: less than the shortest segment in use.
const ALIGNMENT_TOLERANCE_US: u64 = 900_000;

/// S@t of a number.
fn time_of(template: &SegmentTemplateText, number: u64) -> Option<u64> {
    let index = number.checked_sub(template.start_number)?;
    let runs = &template.timeline.as_ref()?.runs;
    let run = runs.get(runs.partition_point(|run| run.index <= index).checked_sub(1)?)?;
    let into = index.checked_sub(run.index)?;
    (into < run.count).then(|| run.time(into))
}

/// Where the media of a Period ends, in microseconds after its start: the latest of its sets.
fn media_end_us(period: &PeriodText) -> Option<i64> {
    let templates = period.representations().filter_map(|representation| representation.template.as_ref());
    templates.filter_map(|template| Some(template.period_time_us(template.timeline.as_ref()?.end()?))).max()
}

/// Two Periods that follow one another in the text.
fn check_neighbours(period: &PeriodText, next: &PeriodText, findings: &mut Findings) {
    let (Some(start_us), Some(next_us)) = (period.start_us, next.start_us) else { return };
    let (name, next_name) = (period_name(period), period_name(next));
    let Some(room_us) = next_us.checked_sub(start_us).filter(|room| *room > 0) else {
        findings.error("dash 5.7", format!("{next_name} does not start after {name}"));
        return;
    };
    // Both are said in milliseconds, each rounded for itself.
    let rounding_us = 2_000;
    if let Some(duration_us) = period.duration_us
        && duration_us.saturating_sub(room_us) > rounding_us
    {
        findings.error(
            "dash 5.7",
            format!(
                "{name} has a @duration of {:.3} s, and {next_name} starts after {:.3} s",
                seconds(duration_us),
                seconds(room_us)
            ),
        );
    }
    let end_us = media_end_us(period).unwrap_or(0);
    if end_us.saturating_sub(room_us) > PRESENTATION_TOLERANCE_US {
        findings.warning(
            "dash 5.7",
            format!(
                "media of {name} goes on for {:.3} s, and {next_name} starts after {:.3} s",
                seconds(end_us),
                seconds(room_us)
            ),
        );
    }
}

/// Checklist 5.1: all that is announced is there.
pub(super) fn check_availability(mpd: &MpdText, received_at: WallTime, findings: &mut Findings) {
    let Some(origin_us) = mpd.availability_start_time_us.filter(|_| mpd.dynamic) else { return };
    let received_us = received_at.unix_millis().saturating_mul(1_000);
    for period in &mpd.periods {
        let Some(start_us) = period.start_us else { continue };
        for representation in period.representations() {
            let Some(template) = &representation.template else { continue };
            let Some(end) = template.timeline.as_ref().and_then(|timeline| timeline.end()) else { continue };
            let available_us = origin_us
                .saturating_add(start_us)
                .saturating_add(template.period_time_us(end))
                .saturating_sub(template.availability_time_offset_us);
            let early_us = available_us.saturating_sub(received_us);
            if early_us > AVAILABILITY_TOLERANCE_US {
                findings.error(
                    "dash 5.1",
                    format!(
                        "{}, {}: segment {} is announced {:.3} s before it is available",
                        period_name(period),
                        excerpt(&representation.id),
                        template.end_number().saturating_sub(1),
                        seconds(early_us)
                    ),
                );
            }
        }
    }
}

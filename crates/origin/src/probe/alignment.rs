//! Renditions of one presentation held against each other: where segments of one number stand in media time.

use std::collections::HashMap;

use headwater_manifest::hls::check::{Severity, excerpt};

use super::fmp4::{Standing, seconds};
use super::report::Log;

/// Segments of a rendition that are remembered: two hours of two seconds.
pub(super) const STARTS_MAX: usize = 4_096;
/// What two frames leave over: rounding of dates and clocks.
const ROUNDING_US: i128 = 2_000;
/// Two dates of one moment may differ less than this (8216bis 6.2.4).
const DATE_SEVERE_US: i128 = 1_000_000;

/// Where one segment stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) sequence: u64,
    /// Which run of media time it belongs to, counted since following began.
    pub(super) discontinuity: u64,
    pub(super) date_us: Option<i64>,
    pub(super) standing: Standing,
}

impl Start {
    /// Date minus media time.
    fn date_offset_us(&self) -> Option<i128> {
        Some(i128::from(self.date_us?).saturating_sub(self.standing.start_us))
    }
}

/// Compares every rendition with the first one that has video, or the first of all.
pub(super) fn compare(renditions: &[(&str, &[Start])], log: &mut Log) {
    let video = |(_, starts): &&(&str, &[Start])| starts.first().is_some_and(|start| start.standing.is_video);
    let reference = renditions.iter().find(video).or_else(|| renditions.first());
    let Some((reference_url, reference)) = reference else { return };
    let by_sequence: HashMap<u64, &Start> = reference.iter().map(|start| (start.sequence, start)).collect();
    for (url, starts) in renditions.iter().filter(|(url, _)| url != reference_url) {
        compare_pair(url, starts, &by_sequence, log);
    }
}

fn compare_pair(url: &str, starts: &[Start], reference: &HashMap<u64, &Start>, log: &mut Log) {
    let both = starts.iter().filter_map(|start| Some((start, *reference.get(&start.sequence)?)));
    let both = both.filter(|(a, b)| a.discontinuity == b.discontinuity);
    let (mut apart, mut dates) = (0_u64, 0_u64);
    let (mut first_apart, mut first_dates) = (None, None);
    for (start, other) in both {
        let tolerance_us =
            start.standing.frame_us.saturating_add(other.standing.frame_us).saturating_add(ROUNDING_US);
        let off_us = start.standing.start_us.saturating_sub(other.standing.start_us);
        if off_us.saturating_abs() > tolerance_us {
            apart += 1;
            first_apart.get_or_insert((start.sequence, off_us));
        }
        let offsets = start.date_offset_us().zip(other.date_offset_us());
        let off_us = offsets.map_or(0, |(a, b)| a.saturating_sub(b));
        if off_us.saturating_abs() > tolerance_us {
            dates += 1;
            first_dates.get_or_insert((start.sequence, off_us));
        }
    }
    let name = excerpt(url);
    let side = |off_us: i128| {
        let side = if off_us > 0 { "later" } else { "earlier" };
        format!("{:.3} s {side}", seconds(off_us.saturating_abs()))
    };
    let more = |count: u64| {
        if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
    };
    if let Some((sequence, off_us)) = first_apart {
        // Numbers need not agree (8216bis 6.2.4): a player without dates takes them to.
        log.warning(
            "cmaf 4.3",
            format!("segment {sequence} of {name} starts {} than its namesake{}", side(off_us), more(apart)),
        );
    }
    if let Some((sequence, off_us)) = first_dates {
        let severe = off_us.saturating_abs() > DATE_SEVERE_US;
        log.add(
            if severe { Severity::Error } else { Severity::Warning },
            "hls 3.12",
            format!(
                "segment {sequence} of {name} is dated {} by its media time than its namesake{}",
                side(off_us),
                more(dates)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(frame_us: i128, is_video: bool, offset_us: i128, date_us: i64) -> Vec<Start> {
        (0..3)
            .map(|n| Start {
                sequence: n,
                discontinuity: 0,
                date_us: Some(1_000_000_000 + date_us + 2_000_000 * i64::try_from(n).unwrap()),
                standing: Standing { start_us: i128::from(n) * 2_000_000 + offset_us, frame_us, is_video },
            })
            .collect()
    }

    #[test]
    fn renditions() {
        for (name, offset_us, date_us, expected) in [
            ("aligned", 0, 0, &[][..]),
            ("an audio frame", 21_000, 21_000, &[][..]),
            (
                "apart",
                400_000,
                400_000,
                &["warning cmaf 4.3 segment 0 of a starts 0.400 s later than its namesake (and 2 more)"][..],
            ),
            (
                "dated otherwise",
                0,
                300_000,
                &[
                    "warning hls 3.12 segment 0 of a is dated 0.300 s later by its media time than its namesake (and 2 more)",
                ][..],
            ),
            (
                "dated far off",
                0,
                -3_000_000,
                &[
                    "error hls 3.12 segment 0 of a is dated 3.000 s earlier by its media time than its namesake (and 2 more)",
                ][..],
            ),
        ] {
            let (video, audio) = (starts(40_000, true, 0, 0), starts(21_333, false, offset_us, date_us));
            let mut log = Log::default();
            compare(&[("a", &audio), ("v", &video)], &mut log);
            let found: Vec<String> =
                log.findings.iter().map(|f| format!("{} {} {}", f.severity, f.rule, f.message)).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn runs_of_media_time_are_not_mixed() {
        let (video, mut audio) = (starts(40_000, true, 0, 0), starts(21_333, false, 9_000_000, 9_000_000));
        audio.iter_mut().for_each(|start| start.discontinuity = 1);
        let mut log = Log::default();
        compare(&[("v", &video), ("a", &audio), ("nothing", &[])], &mut log);
        assert_eq!(log.findings, []);
    }
}

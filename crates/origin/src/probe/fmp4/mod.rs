//! CMAF and other fragmented MP4 taken apart and held against the rules: one init segment, then segments in order.

mod boxes;
mod entry;
mod init;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use headwater_manifest::hls::check::Severity;

pub(super) use init::Declared;
use init::{Init, Track, TrackKind};
use segment::{Scan, TrackRun, break_severity};

use super::report::Log;

/// Past half a second, a wrong duration or a hole is not a matter of taste.
const SEVERE_MS: f64 = 500.0;
/// Dates that drift so far from the media are wrong: two frames at 25 per second.
const DRIFT_MAX_US: i128 = 80_000;
/// A larger step is a jump of dates, of EXTINF or of tfdt: each of those is reported as what it is.
const JUMP_US: i128 = 50_000;

/// What the playlist or the MPD says about a segment.
#[derive(Debug, Clone)]
pub(super) struct SegmentInfo {
    /// `segment 12`, for messages.
    pub(super) place: String,
    /// It does not continue the one before.
    pub(super) discontinuity: bool,
    /// A stranger is told that it starts with a picture that decodes alone, and by what.
    pub(super) independent: Option<&'static str>,
    pub(super) duration: Announced,
    /// EXT-X-PROGRAM-DATE-TIME in microseconds since the Unix epoch.
    pub(super) date_us: Option<i64>,
    /// S@t and its ticks per second.
    pub(super) start: Option<(u64, u64)>,
}

/// A duration, and where it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Announced {
    pub(super) us: i128,
    /// `#EXTINF`, `S@d`.
    pub(super) by: &'static str,
    pub(super) rule: &'static str,
    /// It is nominal: real segments may be off by half of it (cmaf 5.3).
    pub(super) nominal: bool,
}

/// Where a segment's main track stands in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Earliest presentation time, microseconds of media time.
    pub(super) start_us: i128,
    /// One frame.
    pub(super) frame_us: i128,
    pub(super) is_video: bool,
}

/// Examines the segments of one rendition in order; holds what must run on over their borders.
#[derive(Debug, Default)]
pub(super) struct Fmp4Examiner {
    init: Option<Init>,
    /// Ends of the tracks of the segment before.
    ends: BTreeMap<u32, i128>,
    /// Date minus media time of the first dated segment since the last jump, and of the last one, microseconds.
    date_offsets_us: Option<(i128, i128)>,
}

impl Fmp4Examiner {
    /// Reads the init segment that applies from here on. A new one ends what ran on.
    pub(super) fn init(&mut self, bytes: &[u8], declared: &Declared, log: &mut Log) {
        self.init = Init::read(bytes, log);
        if let Some(init) = &self.init {
            init.check_declared(declared, log);
        }
        self.reset();
    }

    /// Another init segment is announced: until it is read, nothing can be said.
    pub(super) fn init_lost(&mut self) {
        self.init = None;
        self.reset();
    }

    /// The next segment was not seen: what follows it is compared with nothing.
    pub(super) fn reset(&mut self) {
        self.ends.clear();
        self.date_offsets_us = None;
    }

    /// Codecs and picture sizes, when an init segment could be read.
    pub(super) fn describe(&self) -> Option<String> {
        self.init.as_ref().map(Init::describe)
    }

    /// How many tracks there are.
    pub(super) fn track_count(&self) -> usize {
        self.init.as_ref().map_or(0, |init| init.tracks.len())
    }

    /// Examines the next segment that was fetched. Nothing can be said without an init segment.
    pub(super) fn segment(&mut self, info: &SegmentInfo, bytes: &[u8], log: &mut Log) -> Option<Standing> {
        if info.discontinuity {
            self.reset();
        }
        let init = self.init.as_ref()?;
        let place = info.place.as_str();
        let runs = Scan::read(init, bytes).report(place, log);
        for track in init.tracks.iter().filter(|track| track.kind != TrackKind::Other) {
            match runs.get(&track.id) {
                None => log.warning("cmaf 1.1", format!("{place}: track {} carries nothing", track.id)),
                Some(run) => {
                    check_border(self.ends.get(&track.id).copied(), run, track, place, log);
                    check_start(run, track, info, log);
                }
            }
        }
        self.ends = runs.iter().map(|(id, run)| (*id, run.end)).collect();
        let of = |kind| init.tracks.iter().find(|track| track.kind == kind && runs.contains_key(&track.id));
        let main = of(TrackKind::Video).or_else(|| of(TrackKind::Audio))?;
        let run = runs.get(&main.id)?;
        check_duration(run, main, info, log);
        check_announced_start(run, main, info, log);
        let standing = Standing {
            start_us: microseconds(run.earliest.saturating_sub(main.edit_shift), main.timescale),
            frame_us: microseconds(run.frame(), main.timescale),
            is_video: main.kind == TrackKind::Video,
        };
        self.check_date(standing, info, log);
        Some(standing)
    }

    /// A fixed offset plus media time: dates go on as the media does (hls 3.12).
    fn check_date(&mut self, standing: Standing, info: &SegmentInfo, log: &mut Log) {
        let Some(date_us) = info.date_us else { return };
        let offset_us = i128::from(date_us).saturating_sub(standing.start_us);
        let Some((first, last)) = self
            .date_offsets_us
            .filter(|(_, last)| offset_us.saturating_sub(*last).saturating_abs() <= JUMP_US)
        else {
            self.date_offsets_us = Some((offset_us, offset_us));
            return;
        };
        let drift_us = offset_us.saturating_sub(first);
        let past = drift_us.saturating_abs() > DRIFT_MAX_US;
        if past && last.saturating_sub(first).saturating_abs() <= DRIFT_MAX_US {
            let side = if drift_us > 0 { "later" } else { "earlier" };
            log.warning(
                "hls 3.12",
                format!(
                    "{}: #EXT-X-PROGRAM-DATE-TIME has drifted to {:.3} s {side} than media time says",
                    info.place,
                    seconds(drift_us.saturating_abs())
                ),
            );
        }
        self.date_offsets_us = Some((first, offset_us));
    }
}

/// tfdt against where the segment before ended (Apple's authoring specification 7.3).
fn check_border(end: Option<i128>, run: &TrackRun, track: &Track, place: &str, log: &mut Log) {
    let Some(off) = end.map(|end| run.start.saturating_sub(end)).filter(|off| *off != 0) else { return };
    let kind = if off > 0 { "a gap" } else { "an overlap" };
    let off_ms = milliseconds(off, track.timescale);
    log.add(
        break_severity(off_ms),
        "cmaf 3.3",
        format!("{kind} of {:.1} ms in track {} in front of {place}", off_ms.abs(), track.id),
    );
}

/// What a player needs to start here.
fn check_start(run: &TrackRun, track: &Track, info: &SegmentInfo, log: &mut Log) {
    if track.kind != TrackKind::Video {
        return;
    }
    let place = info.place.as_str();
    if !run.first_sync {
        let message = format!("{place} does not start with a sync sample");
        match info.independent {
            Some(by) => log.error("cmaf 4.1", format!("{message}, which {by} promises")),
            None => log.warning("cmaf 4.1", message),
        }
        return;
    }
    let Some(unit) = run.first_unit else { return };
    if !unit.random_access_picture {
        log.warning("cmaf 4.1", format!("{place}: its first sample says sync, and is no IDR picture"));
    } else if !unit.parameter_sets && track.entry.as_ref().is_some_and(|entry| !entry.parameter_sets) {
        log.error(
            "cmaf 2.4",
            format!("{place}: neither the init segment nor its first picture has parameter sets"),
        );
    }
}

/// The announced duration against the sum of the sample durations, to one frame.
fn check_duration(run: &TrackRun, track: &Track, info: &SegmentInfo, log: &mut Log) {
    let Announced { us: announced_us, by, rule, nominal } = info.duration;
    let lasts_us = microseconds(run.length, track.timescale);
    let off_us = lasts_us.saturating_sub(announced_us).saturating_abs();
    let tolerance_us = if nominal {
        announced_us / 2
    } else {
        microseconds(run.frame(), track.timescale).saturating_add(1_000)
    };
    if off_us <= tolerance_us {
        return;
    }
    let message =
        format!("{} lasts {:.3} s and {by} says {:.3}", info.place, seconds(lasts_us), seconds(announced_us));
    let severe = seconds(off_us) * 1_000.0 > SEVERE_MS;
    log.add(if severe { Severity::Error } else { Severity::Warning }, rule, message);
}

/// S@t against the media, to one frame: its earliest presentation time (DASH 5.3.9.6), or its tfdt, which some mean.
fn check_announced_start(run: &TrackRun, track: &Track, info: &SegmentInfo, log: &mut Log) {
    let Some((t, timescale)) = info.start else { return };
    let announced_us = i128::from(t).saturating_mul(1_000_000) / i128::from(timescale.max(1));
    let starts = [run.earliest, run.earliest.saturating_sub(track.edit_shift), run.start];
    let offs = starts.map(|start| microseconds(start, track.timescale).saturating_sub(announced_us));
    let tolerance_us = if info.duration.nominal {
        info.duration.us / 2
    } else {
        microseconds(run.frame(), track.timescale).saturating_add(1_000)
    };
    if offs.iter().any(|off| off.saturating_abs() <= tolerance_us) {
        return;
    }
    let [_, off_us, _] = offs;
    let side = if off_us > 0 { "behind" } else { "before" };
    let message = format!(
        "{}: its media begins {:.3} s {side} {}",
        info.place,
        seconds(off_us.saturating_abs()),
        if info.duration.nominal { "its place by number and @duration" } else { "S@t" }
    );
    let severe = info.duration.nominal || seconds(off_us.saturating_abs()) * 1_000.0 > SEVERE_MS;
    log.add(if severe { Severity::Error } else { Severity::Warning }, info.duration.rule, message);
}

/// Ticks as microseconds.
fn microseconds(ticks: i128, timescale: u32) -> i128 {
    ticks.saturating_mul(1_000_000) / i128::from(timescale.max(1))
}

/// Ticks as milliseconds, for a message.
fn milliseconds(ticks: i128, timescale: u32) -> f64 {
    ticks as f64 * 1_000.0 / f64::from(timescale.max(1))
}

/// Microseconds as seconds, for a message.
pub(super) fn seconds(us: i128) -> f64 {
    us as f64 / 1e6
}

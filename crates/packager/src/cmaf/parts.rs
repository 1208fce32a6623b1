//! How long parts are (8216bis 4.4.3.7, 4.4.4.9; DESIGN 5): settled once per stream, by what its first segment is made of.

use std::time::Duration;

use headwater_manifest::hls::PART_DURATION_SLACK;
use headwater_media::{MediaTime, Timescale};
use serde::{Deserialize, Serialize};

/// Of the part target, what every part but a segment's last has to reach (8216bis 4.4.4.9).
const SHARE_MIN_PERCENT: i64 = 85;

/// RTMP's stamps are rounded to milliseconds, so the distance of two pictures is off by up to one: 90 kHz ticks.
const STAMP_ROUNDING: i64 = 90;

/// Parts don't grow beyond this in search of a length that suits both tracks.
const PART_MS_MAX: i64 = 2_000;

/// A wish of 200 ms is six frames at 30 fps too when their measured rate is 29.9996: a hundredth less will do.
const WISH_SHARE_PERCENT: i64 = 99;

/// The length of a stream's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartPlan {
    /// What a part of video lasts, 90 kHz ticks: a whole number of frames. Of a stream of sound alone, the same of sound.
    pub(crate) nominal: i64,
    /// EXT-X-PART-INF:PART-TARGET in milliseconds; no part is longer.
    pub(crate) target_ms: i64,
}

/// A track's unit: samples of one duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Ticks per sample, on average.
    pub(crate) ticks: i64,
    /// Their scale.
    pub(crate) scale: Timescale,
}

impl Unit {
    /// So many samples, in nanoseconds.
    fn nanos(self, count: i64) -> i64 {
        nanos(MediaTime::new(self.ticks.saturating_mul(count), self.scale))
    }
}

impl PartPlan {
    /// The smallest whole number of frames that lasts `wish` and lets parts of both tracks stay within 85 and 100 % of one
    /// target; more where that takes more. `None` for a stream without tracks.
    pub(crate) fn new(wish: Duration, video: Option<Unit>, audio: Option<Unit>) -> Option<PartPlan> {
        let wish_ns = i64::try_from(wish.as_nanos()).unwrap_or(i64::MAX) / 100 * WISH_SHARE_PERCENT;
        let lead = video.or(audio)?;
        let unit_ns = lead.nanos(1).max(1);
        let first = wish_ns.div_euclid(unit_ns) + i64::from(wish_ns.rem_euclid(unit_ns) > 0);
        let first = first.max(1);
        let mut count = first;
        while lead.nanos(count) <= PART_MS_MAX * 1_000_000 {
            if let Some(plan) = PartPlan::of(lead, count, video.and(audio)) {
                return Some(plan);
            }
            count += 1;
        }
        // Frames too far apart for any target: as long as was wished for, and the second track where it fits.
        PartPlan::of(lead, first, None)
    }

    fn of(lead: Unit, count: i64, audio: Option<Unit>) -> Option<PartPlan> {
        let nominal_ns = lead.nanos(count);
        // Sound is counted in samples and exact; pictures are as exact as their stamps.
        let jitter_ns =
            if lead.scale == Timescale::MPEG { nanos(MediaTime::new(STAMP_ROUNDING, lead.scale)) } else { 0 };
        let mut target_ns = nominal_ns + jitter_ns;
        let mut least_ns = nominal_ns - jitter_ns;
        if let Some(audio) = audio {
            let frame_ns = audio.nanos(1).max(1);
            let whole = nominal_ns.div_euclid(frame_ns);
            let above = whole + i64::from(nominal_ns.rem_euclid(frame_ns) > 0);
            target_ns = target_ns.max(audio.nanos(above));
            least_ns = least_ns.min(audio.nanos(whole));
        }
        // Playlists say that a part is up to so much longer.
        target_ns += i64::try_from(PART_DURATION_SLACK.as_nanos()).unwrap_or(0);
        let target_ms = target_ns.div_euclid(1_000_000) + i64::from(target_ns.rem_euclid(1_000_000) > 0);
        let fits = audio.is_none() || least_ns * 100 >= target_ms * 1_000_000 * SHARE_MIN_PERCENT;
        let nominal =
            MediaTime::new(lead.ticks.saturating_mul(count), lead.scale).rescale(Timescale::MPEG).ticks();
        fits.then_some(PartPlan { nominal, target_ms })
    }

    /// The longest that a part may get, in ticks of a scale, so that playlists may say that it is [`PART_DURATION_SLACK`] longer.
    pub(crate) fn limit(&self, scale: Timescale) -> i64 {
        let slack_us = i64::try_from(PART_DURATION_SLACK.as_micros()).unwrap_or(0);
        let limit_us = self.target_ms.saturating_mul(1_000).saturating_sub(slack_us);
        limit_us.saturating_mul(i64::from(scale.hz())).div_euclid(1_000_000)
    }

    /// Whether a part that has lasted `elapsed` ends before a sample that will last about `step` (90 kHz ticks).
    pub(crate) fn ends(&self, elapsed: i64, step: i64) -> bool {
        elapsed.saturating_add(step / 2) >= self.nominal
            || elapsed.saturating_add(step) > self.limit(Timescale::MPEG)
    }

    /// EXT-X-PART-INF:PART-TARGET.
    pub(crate) fn target(&self) -> Duration {
        Duration::from_millis(self.target_ms.max(0).unsigned_abs())
    }
}

fn nanos(time: MediaTime) -> i64 {
    let nanos = i128::from(time.ticks()) * 1_000_000_000 / i128::from(time.scale().hz());
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audio(samples: i64, hz: u32) -> Unit {
        Unit { ticks: samples, scale: Timescale::new(hz).unwrap() }
    }

    /// At every usual rate a part of either track lasts 85 to 100 % of the target.
    #[test]
    fn table_of_rates() {
        for (fps, ticks, frames) in [
            ("23.976", 3_754, 5),
            ("24", 3_750, 5),
            ("25", 3_600, 5),
            ("29.97", 3_003, 6),
            ("30", 3_000, 6),
            ("50", 1_800, 10),
            ("59.94", 1_501, 12),
            ("60", 1_500, 12),
        ] {
            let video = Some(Unit { ticks, scale: Timescale::MPEG });
            for audio in [audio(1_024, 48_000), audio(1_024, 44_100)] {
                let plan = PartPlan::new(Duration::from_millis(200), video, Some(audio)).unwrap();
                assert_eq!(plan.nominal, frames * ticks, "{fps}");
                // What the rule asks for, computed another way: exact fractions of samples.
                let (f, hz) = (audio.ticks as f64, f64::from(audio.scale.hz()));
                let part = plan.nominal as f64 / 90_000.0;
                let per_part = part * hz / f;
                let shortest = per_part.floor() * f / hz;
                let longest = (per_part.ceil() * f / hz).max(part + 0.001);
                let target = plan.target().as_secs_f64();
                assert!(longest <= target && target < longest + 0.001_1, "{fps}: {longest} {target}");
                assert!(shortest.min(part - 0.001) >= 0.85 * target, "{fps}: {shortest} of {target}");
            }
        }
    }

    #[test]
    fn frames_that_do_not_fit_make_longer_parts() {
        let video = Some(Unit { ticks: 3_000, scale: Timescale::MPEG });
        // 128 ms: one or two of them in 200 ms would be 50 %.
        let plan = PartPlan::new(Duration::from_millis(200), video, Some(audio(1_024, 8_000))).unwrap();
        assert!(plan.nominal >= 30_000, "{plan:?}");
        // One picture a second.
        let slow = Some(Unit { ticks: 90_000, scale: Timescale::MPEG });
        let plan = PartPlan::new(Duration::from_millis(200), slow, None).unwrap();
        assert_eq!((plan.nominal, plan.target_ms), (90_000, 1_002));
        // One in 5 s: there is no shorter part.
        let slower = Some(Unit { ticks: 450_000, scale: Timescale::MPEG });
        let plan = PartPlan::new(Duration::from_millis(200), slower, Some(audio(1_024, 48_000))).unwrap();
        assert_eq!(plan.nominal, 450_000);
    }

    #[test]
    fn one_track_alone() {
        let plan = PartPlan::new(Duration::from_millis(200), None, Some(audio(1_024, 48_000))).unwrap();
        assert_eq!((plan.nominal, plan.target_ms), (19_200, 214));
        let video = Some(Unit { ticks: 3_000, scale: Timescale::MPEG });
        let plan = PartPlan::new(Duration::from_millis(200), video, None).unwrap();
        assert_eq!((plan.nominal, plan.target_ms), (18_000, 202));
        assert_eq!(PartPlan::new(Duration::from_millis(200), None, None), None);
    }

    #[test]
    fn a_part_ends_nearest_to_its_length_and_never_beyond_the_target() {
        let plan = PartPlan { nominal: 18_000, target_ms: 214 };
        // 30 fps with the jitter of milliseconds.
        assert!(!plan.ends(5 * 3_000 + 60, 2_970) && plan.ends(6 * 3_000 - 60, 3_060));
        // 24 fps: five pictures, 208 ms.
        assert!(!plan.ends(4 * 3_750, 3_750) && plan.ends(5 * 3_750, 3_750));
        // 12.5 fps: two; a third would be too long.
        assert!(!plan.ends(7_200, 7_200) && plan.ends(14_400, 7_200));
    }
}

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

/// Parts may be so much longer than was wished for where that gives a segment's last one a length of its own: a quarter, by measured rates.
const STRETCH_PERCENT: i64 = 126;

/// hls.js takes a segment for whole when 0.2 s or less of it is missing (`bufferPadding` of its `FragmentTracker`, 1.7.4). If that is its last
/// part, and the playlist that completes the segment comes before the part in front of it is in the buffer, it doesn't load it for some 5 s.
/// A last part that adds more than that is safe. Nanoseconds, with a millisecond for the stamps.
const OVERLOOKED_NS: i64 = 201_000_000;

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

/// What a segment of the track that leads is made of: of pictures, or of sound alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Samples {
    /// How many.
    pub(crate) count: i64,
    /// How long the segment is, 90 kHz ticks.
    pub(crate) ticks: i64,
    /// Up to so much later than its decode time a picture is shown, 90 kHz ticks: what comes before a boundary reaches as far beyond it. Sound
    /// doesn't.
    pub(crate) reach: i64,
}

/// A segment's samples dealt out to its parts as evenly as whole ones can be, the greater parts later, so that the last one is no
/// remainder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Division {
    /// Samples of a segment.
    samples: i64,
    /// Its parts.
    parts: i64,
    /// No part but the last may be shorter, 90 kHz ticks.
    least: i64,
}

impl Division {
    /// Samples of the last part; no other has more.
    fn longest(&self) -> i64 {
        (self.samples + self.parts - 1) / self.parts
    }

    /// Whether a part that has lasted `elapsed` (90 kHz ticks) ends before the sample that `index` others of its segment precede.
    pub(crate) fn ends(&self, elapsed: i64, index: i64) -> bool {
        // Part n begins with sample floor(n * samples / parts).
        let part = index.saturating_mul(self.parts).saturating_add(self.samples - 1) / self.samples;
        elapsed >= self.least
            && part.saturating_mul(self.samples) < index.saturating_add(1).saturating_mul(self.parts)
    }
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
    ///
    /// Up to a quarter more where it divides a segment such as `samples` evenly, best of all into parts of which the last is none that hls.js
    /// overlooks.
    pub(crate) fn new(
        wish: Duration,
        video: Option<Unit>,
        audio: Option<Unit>,
        samples: Option<Samples>,
    ) -> Option<PartPlan> {
        let wish_ns = i64::try_from(wish.as_nanos()).unwrap_or(i64::MAX) / 100 * WISH_SHARE_PERCENT;
        let lead = video.or(audio)?;
        let unit_ns = lead.nanos(1).max(1);
        let first = wish_ns.div_euclid(unit_ns) + i64::from(wish_ns.rem_euclid(unit_ns) > 0);
        let first = first.max(1);
        let follows = video.and(audio);
        if let Some(samples) = samples {
            let longest_ns = wish_ns / WISH_SHARE_PERCENT * STRETCH_PERCENT;
            let reach_ns = nanos(MediaTime::new(samples.reach, Timescale::MPEG));
            let most = (longest_ns / unit_ns).min(samples.count);
            let mut even = (first..=most).filter_map(|count| {
                let plan = PartPlan::of(lead, count, follows)?;
                let division = plan.division(samples, follows)?;
                (division.longest() == count).then_some((lead.nanos(count) - reach_ns, plan))
            });
            let nearest = even.next();
            let safe = nearest.into_iter().chain(even).find(|(added_ns, _)| *added_ns > OVERLOOKED_NS);
            if let Some((_, plan)) = safe.or(nearest) {
                return Some(plan);
            }
        }
        let mut count = first;
        while lead.nanos(count) <= PART_MS_MAX * 1_000_000 {
            if let Some(plan) = PartPlan::of(lead, count, follows) {
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
            // Exactly: fifteen frames at 48 kHz are eight pictures at 25 fps.
            let samples = i128::from(lead.ticks) * i128::from(count) * i128::from(audio.scale.hz());
            let frame = i128::from(lead.scale.hz()) * i128::from(audio.ticks.max(1));
            let whole = i64::try_from(samples.div_euclid(frame)).unwrap_or(i64::MAX);
            let above = whole.saturating_add(i64::from(samples.rem_euclid(frame) > 0));
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

    /// How segments such as `samples` become parts of which each, the last one too, keeps within 85 and 100 % of the target; `None` where
    /// whole samples can't. `audio`: the sound that follows pictures.
    pub(crate) fn division(&self, samples: Samples, audio: Option<Unit>) -> Option<Division> {
        let count = samples.count.max(1);
        let unit = (samples.ticks / count).max(1);
        let longest = (self.nominal.saturating_add(unit / 2) / unit).max(1);
        let parts = (count + longest - 1) / longest;
        let mut least = self.target_ms.saturating_mul(90 * SHARE_MIN_PERCENT) / 100;
        if let Some(audio) = audio {
            // As many whole frames of sound as that takes.
            let frame_ns = audio.nanos(1).max(1);
            let least_ns = least.saturating_mul(100_000) / 9;
            let frames = least_ns.saturating_add(frame_ns - 1) / frame_ns;
            let ns = i128::from(audio.nanos(frames));
            least = least.max(i64::try_from(ns * 9 / 100_000).unwrap_or(i64::MAX));
        }
        let least = least.saturating_add(STAMP_ROUNDING);
        let shortest = (count / parts).saturating_mul(unit);
        (parts > 1 && shortest >= least).then_some(Division { samples: count, parts, least })
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

/// Where parts of sound without pictures end.
#[derive(Debug, Default)]
pub(crate) struct SoundAlone {
    /// Where the running segment and part begin, 90 kHz ticks; `None` while no segment is open.
    starts: Option<(i64, i64)>,
    /// Frames of the running segment.
    count: i64,
    /// What the segment before was made of.
    pub(crate) before: Option<Samples>,
    /// How the running segment becomes parts if it is like that one.
    division: Option<Division>,
}

impl SoundAlone {
    /// A segment begins.
    pub(crate) fn open(&mut self, start: i64, plan: Option<PartPlan>) {
        self.starts = Some((start, start));
        self.count = 0;
        self.division = plan.and_then(|plan| plan.division(self.before?, None));
    }

    /// A frame comes that begins at `at` and lasts for `frame` (90 kHz ticks): whether a part ends before it.
    pub(crate) fn ends(&mut self, at: i64, frame: i64, plan: Option<PartPlan>) -> bool {
        let Some((_, part)) = &mut self.starts else { return false };
        let elapsed = at.saturating_sub(*part);
        let divides = self.division.is_some_and(|division| division.ends(elapsed, self.count));
        let ends = elapsed > 0 && plan.is_some_and(|plan| divides || plan.ends(elapsed, frame));
        if ends {
            *part = at;
        }
        self.count += 1;
        ends
    }

    /// The segment ends at `end` (90 kHz ticks).
    pub(crate) fn close(&mut self, end: i64) {
        let Some((start, _)) = self.starts.take().filter(|_| self.count > 0) else { return };
        let samples = Samples { count: self.count, ticks: end.saturating_sub(start), reach: 0 };
        // Frames don't add up to a segment: 93 and 94 take turns, and one more than was expected would be a part of its own.
        self.before = Some(self.before.filter(|before| before.count == samples.count + 1).unwrap_or(samples));
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
                let plan = PartPlan::new(Duration::from_millis(200), video, Some(audio), None).unwrap();
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
        let plan = PartPlan::new(Duration::from_millis(200), video, Some(audio(1_024, 8_000)), None).unwrap();
        assert!(plan.nominal >= 30_000, "{plan:?}");
        // One picture a second.
        let slow = Some(Unit { ticks: 90_000, scale: Timescale::MPEG });
        let plan = PartPlan::new(Duration::from_millis(200), slow, None, None).unwrap();
        assert_eq!((plan.nominal, plan.target_ms), (90_000, 1_002));
        // One in 5 s: there is no shorter part.
        let slower = Some(Unit { ticks: 450_000, scale: Timescale::MPEG });
        let plan =
            PartPlan::new(Duration::from_millis(200), slower, Some(audio(1_024, 48_000)), None).unwrap();
        assert_eq!(plan.nominal, 450_000);
    }

    #[test]
    fn one_track_alone() {
        let plan = PartPlan::new(Duration::from_millis(200), None, Some(audio(1_024, 48_000)), None).unwrap();
        assert_eq!((plan.nominal, plan.target_ms), (19_200, 214));
        let video = Some(Unit { ticks: 3_000, scale: Timescale::MPEG });
        let plan = PartPlan::new(Duration::from_millis(200), video, None, None).unwrap();
        assert_eq!((plan.nominal, plan.target_ms), (18_000, 202));
        assert_eq!(PartPlan::new(Duration::from_millis(200), None, None, None), None);
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

    fn pictures(fps: f64, seconds: f64, reach: f64) -> (Option<Unit>, Samples) {
        let count = (fps * seconds).round();
        let ticks = (count / fps * 90_000.0) as i64;
        let unit = Unit { ticks: ticks / count as i64, scale: Timescale::MPEG };
        (Some(unit), Samples { count: count as i64, ticks, reach: (reach / fps * 90_000.0) as i64 })
    }

    /// The parts that a segment becomes, in pictures.
    fn dealt_out(plan: PartPlan, division: Option<Division>, of: Samples) -> Vec<i64> {
        let unit = of.ticks / of.count;
        let mut parts = vec![0];
        for index in 0..of.count {
            let part = parts.last_mut().unwrap();
            let elapsed = *part * unit;
            if *part > 0 && (plan.ends(elapsed, unit) || division.is_some_and(|d| d.ends(elapsed, index))) {
                parts.push(1);
            } else {
                *part += 1;
            }
        }
        parts
    }

    /// What a wish becomes with a keyframe each 2 s: as long as before where that divides the segment, longer where less than a part was left
    /// at its end.
    #[test]
    fn a_segment_s_last_part_is_no_remainder() {
        for (fps, wish, first, last) in [
            (24.0, 200, 6, 6),
            (24_000.0 / 1_001.0, 200, 6, 6),
            (25.0, 200, 5, 5),
            (30.0, 200, 6, 6),
            (50.0, 200, 10, 10),
            (60.0, 200, 12, 12),
            (24.0, 334, 8, 8),
            (30_000.0 / 1_001.0, 334, 10, 10),
            (30.0, 334, 10, 10),
            (50.0, 334, 16, 17),
            (60.0, 334, 20, 20),
        ] {
            for hz in [44_100, 48_000] {
                let audio = Some(audio(1_024, hz));
                // Three pictures between two that others refer to.
                let (video, of) = pictures(fps, 2.0, 3.0);
                let plan = PartPlan::new(Duration::from_millis(wish), video, audio, Some(of)).unwrap();
                let parts = dealt_out(plan, plan.division(of, audio), of);
                assert_eq!(
                    (parts.first(), parts.last()),
                    (Some(&first), Some(&last)),
                    "{fps} {wish} {hz}: {parts:?}"
                );
                let target = plan.target().as_secs_f64();
                for part in &parts {
                    let part = *part as f64 / fps;
                    let frame = 1_024.0 / f64::from(hz);
                    assert!((part / frame).ceil() * frame <= target, "{fps} {wish} {hz}: {parts:?}");
                    assert!((part / frame).floor() * frame >= 0.85 * target, "{fps} {wish} {hz}: {parts:?}");
                }
                let overlooked = last as f64 / fps - 3.0 / fps <= 0.2;
                assert_eq!(overlooked, wish == 200, "{fps} {wish} {hz}: {parts:?}");
            }
        }
    }

    #[test]
    fn a_segment_that_cannot_be_divided_keeps_its_remainder() {
        // 47 pictures: parts of five and a rest of two. Of six they would be five and six, too different.
        let (video, of) = pictures(24.0, 47.0 / 24.0, 2.0);
        let audio = Some(audio(1_024, 48_000));
        let plan = PartPlan::new(Duration::from_millis(200), video, audio, Some(of)).unwrap();
        assert_eq!(plan.division(of, audio), None);
        let parts = dealt_out(plan, None, of);
        assert_eq!((parts.first(), parts.last()), (Some(&5), Some(&2)), "{parts:?}");
        // A segment of another length than the ones before it: the pattern goes on.
        let (video, of) = pictures(25.0, 2.0, 2.0);
        let plan = PartPlan::new(Duration::from_millis(300), video, audio, Some(of)).unwrap();
        let division = plan.division(of, audio);
        assert_eq!(dealt_out(plan, division, of), [7, 7, 7, 7, 7, 7, 8]);
        let longer = Samples { count: 70, ticks: 70 * 3_600, ..of };
        assert_eq!(dealt_out(plan, division, longer), [7, 7, 7, 7, 7, 7, 8, 7, 7, 6]);
        // Half the pictures in the time: parts are as long as before, not half of it.
        let slower = Samples { count: 25, ticks: 180_000, ..of };
        assert_eq!(dealt_out(plan, division, slower), [4, 4, 4, 4, 4, 4, 1]);
        let faster = Samples { count: 100, ticks: 180_000, ..of };
        assert!(dealt_out(plan, division, faster).iter().all(|part| (14..=16).contains(part)));
        // Nothing to divide.
        assert_eq!(plan.division(Samples { count: 0, ticks: 0, reach: 0 }, audio), None);
    }

    /// Segments of sound alone are cut at the frame nearest to 2 s.
    #[test]
    fn sound_alone_is_divided_evenly_too() {
        for (hz, counts, longest) in [(48_000, [94, 93], 11), (44_100, [86, 87], 9)] {
            let unit = audio(1_024, hz);
            let frame = 1_024 * 90_000 / i64::from(hz);
            let mut sound = SoundAlone::default();
            let mut plan = None;
            let mut at = 0;
            for segment in 0..6 {
                sound.open(at, plan);
                let mut parts = vec![0];
                for _ in 0..counts[segment % 2] {
                    if sound.ends(at, frame, plan) {
                        parts.push(0);
                    }
                    *parts.last_mut().unwrap() += 1;
                    at += frame;
                }
                sound.close(at);
                match plan {
                    None => plan = PartPlan::new(Duration::from_millis(200), None, Some(unit), sound.before),
                    // The second one may have a frame more than the first.
                    Some(_) if segment < 2 => {}
                    Some(plan) => {
                        let target = plan.target().as_secs_f64() * f64::from(hz) / 1_024.0;
                        let is_fair = |part: &i64| (0.85 * target..=target).contains(&(*part as f64));
                        assert!(parts.iter().all(is_fair), "{hz}: {parts:?} of {target}");
                        assert!(parts.iter().all(|part| *part <= longest), "{hz}: {parts:?}");
                        // What hls.js would overlook.
                        let last = *parts.last().unwrap() as f64 * 1_024.0 / f64::from(hz);
                        assert!(
                            last > 0.2 || counts[segment % 2] < counts[(segment + 1) % 2],
                            "{hz}: {parts:?}"
                        );
                    }
                }
            }
        }
    }
}

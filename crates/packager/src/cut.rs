//! The one cut decision that every packaging follows: where a segment ends, and TARGETDURATION.

/// 90 kHz ticks per millisecond.
const TICKS_PER_MS: i64 = 90;

/// EXT-X-TARGETDURATION is at most this: beyond it segments are cut between keyframes rather than grow.
pub const TARGET_DURATION_MAX_SECONDS: u32 = 10;

/// round(EXTINF) must not pass TARGETDURATION (8216bis 4.4.3.1), so a segment may exceed it by just under half a second. An
/// audio rendition's segment may be one frame longer than the picture's: 128 ms at 8 kHz.
const OVERRUN_MS: i64 = 499 - 129;

/// A duration this little above a whole second rounds down to it: 60 frames at 29.97 fps are 2.002 s, and a target of 3 s
/// would cost every viewer three seconds of latency for nothing.
const ROUNDING_TOLERANCE_MS: i64 = 100;

/// Millisecond stamps make a 2 s GOP 1.999 s now and then; that is still a segment of 2 s.
const SHORT_BY_MS: i64 = 20;

/// How many keyframe intervals the forecast of the next one looks back on.
const GOPS_REMEMBERED: usize = 8;

/// No segment is shorter because one was wanted, 90 kHz ticks: a second, however often it is asked for. Numbers begin with the clock's seconds and
/// must not overtake them (DESIGN 5).
const SEGMENT_MIN_TICKS: i64 = 90_000;

/// What to do before the sample at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It belongs to the running segment.
    Continue,
    /// It starts a new segment; `independent` when decoding can start with it.
    Cut {
        /// Decoding can start here.
        independent: bool,
    },
}

/// Decides cuts from boundaries in 90 kHz ticks of the media clock: a keyframe's PTS, else the decode time shifted alike.
#[derive(Debug, Clone)]
pub(crate) struct Cutter {
    segment_ticks: i64,
    target_duration: Option<u32>,
    start: Option<i64>,
    /// The first keyframe at or after this is wanted as the start of a segment.
    wanted: Option<i64>,
    last_keyframe: Option<i64>,
    gops: [i64; GOPS_REMEMBERED],
    gop_next: usize,
    gop_longest: i64,
}

impl Cutter {
    /// Segments end at the first keyframe at or after `segment_ms` milliseconds.
    pub(crate) fn new(segment_ms: u32) -> Cutter {
        Cutter {
            segment_ticks: i64::from(segment_ms) * TICKS_PER_MS,
            target_duration: None,
            start: None,
            wanted: None,
            last_keyframe: None,
            gops: [0; GOPS_REMEMBERED],
            gop_next: 0,
            gop_longest: 0,
        }
    }

    /// The least length of a segment that was asked for, 90 kHz ticks.
    pub(crate) fn segment_ticks(&self) -> i64 {
        self.segment_ticks
    }

    /// EXT-X-TARGETDURATION was fixed in an earlier process.
    pub(crate) fn fix_target_duration(&mut self, seconds: u32) {
        self.target_duration = Some(seconds);
    }

    /// EXT-X-TARGETDURATION in seconds: fixed by the first cut, a forecast before it.
    pub(crate) fn target_duration(&self) -> u32 {
        self.target_duration.unwrap_or_else(|| target_for(self.segment_ticks.max(self.gop_longest)))
    }

    /// The longest keyframe interval seen, in 90 kHz ticks; 0 before two keyframes.
    pub(crate) fn longest_gop(&self) -> i64 {
        self.gop_longest
    }

    /// Start of the running segment.
    pub(crate) fn start(&self) -> Option<i64> {
        self.start
    }

    /// No segment runs any more (the session ended); the next [`Cutter::begin`] starts one.
    pub(crate) fn stop(&mut self) {
        self.start = None;
        self.wanted = None;
        self.last_keyframe = None;
    }

    /// Programme ends or begins at `at`: a segment begins there, or with the first keyframe behind it.
    pub(crate) fn want(&mut self, at: i64) {
        // The sooner one is first; another one within the same segment is met by the regular cut behind it, or comes later.
        self.wanted = Some(self.wanted.map_or(at, |wanted| wanted.min(at)));
    }

    /// A segment starts at `boundary`; `keyframe` when it is a video keyframe.
    pub(crate) fn begin(&mut self, boundary: i64, keyframe: bool) {
        self.start = Some(boundary);
        self.wanted = self.wanted.filter(|at| *at > boundary);
        self.last_keyframe = keyframe.then_some(boundary).or(self.last_keyframe);
    }

    /// The running segment ends at `boundary`. The first one fixes the target for the life of the stream (8216bis 6.2.1).
    pub(crate) fn end(&mut self, boundary: i64) {
        if self.target_duration.is_none() {
            let length = self.start.map_or(0, |start| boundary.saturating_sub(start));
            self.target_duration = Some(self.target_duration().max(target_for(length)));
        }
    }

    /// Asks before a video sample: its boundary, whether decoding can start with it, and the step to the next one.
    pub(crate) fn video(&mut self, boundary: i64, sync: bool, step: i64) -> Decision {
        let Some(start) = self.start else { return Decision::Continue };
        let elapsed = boundary.saturating_sub(start);
        if elapsed <= 0 {
            return Decision::Continue;
        }
        if !sync {
            return if elapsed.saturating_add(step) > self.limit() {
                Decision::Cut { independent: false }
            } else {
                Decision::Continue
            };
        }
        if let Some(last) = self.last_keyframe.replace(boundary) {
            self.remember(boundary.saturating_sub(last));
        }
        let forecast = self.gops.iter().copied().max().unwrap_or(0).max(step);
        let long_enough = elapsed >= self.segment_ticks - SHORT_BY_MS * TICKS_PER_MS;
        let is_wanted = self.wanted.is_some_and(|at| boundary >= at) && elapsed >= SEGMENT_MIN_TICKS;
        if long_enough || is_wanted || elapsed.saturating_add(forecast) > self.limit_at_keyframe() {
            Decision::Cut { independent: true }
        } else {
            Decision::Continue
        }
    }

    /// Asks before an audio frame that may cut (there is no video, or it has fallen silent): its PTS and its duration.
    pub(crate) fn audio(&mut self, boundary: i64, step: i64, has_video: bool) -> Decision {
        let Some(start) = self.start else { return Decision::Continue };
        let elapsed = boundary.saturating_sub(start);
        if elapsed <= 0 {
            return Decision::Continue;
        }
        let due = if has_video { self.limit() } else { self.segment_ticks.min(self.limit()) };
        if elapsed.saturating_add(step / 2) >= due || elapsed.saturating_add(step) > self.limit() {
            Decision::Cut { independent: !has_video }
        } else {
            Decision::Continue
        }
    }

    /// The longest a segment may get. Before the first cut nothing was promised yet, so the ceiling itself is the limit.
    pub(crate) fn limit(&self) -> i64 {
        (i64::from(self.target_duration.unwrap_or(TARGET_DURATION_MAX_SECONDS)) * 1_000 + OVERRUN_MS)
            * TICKS_PER_MS
    }

    /// At a keyframe before the first cut the choice is between cutting now and promising a longer target.
    fn limit_at_keyframe(&self) -> i64 {
        (i64::from(self.target_duration()) * 1_000 + OVERRUN_MS) * TICKS_PER_MS
    }

    fn remember(&mut self, gop: i64) {
        if let Some(slot) = self.gops.get_mut(self.gop_next) {
            *slot = gop;
        }
        self.gop_next = (self.gop_next + 1) % GOPS_REMEMBERED;
        self.gop_longest = self.gop_longest.max(gop);
    }
}

/// The smallest TARGETDURATION for segments of that many 90 kHz ticks: 1 to [`TARGET_DURATION_MAX_SECONDS`].
fn target_for(ticks: i64) -> u32 {
    let ms = ticks.max(0) / TICKS_PER_MS;
    let seconds = (ms - ROUNDING_TOLERANCE_MS).max(0).div_euclid(1_000)
        + i64::from((ms - ROUNDING_TOLERANCE_MS).max(0).rem_euclid(1_000) > 0);
    u32::try_from(seconds).unwrap_or(TARGET_DURATION_MAX_SECONDS).clamp(1, TARGET_DURATION_MAX_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wanted_segment_begins_at_the_next_keyframe() {
        // Segments of 6 s, a keyframe each second.
        let mut cutter = Cutter::new(6_000);
        cutter.begin(0, true);
        let second = |n: i64| n * 90_000;
        cutter.want(second(2) + 1);
        let mut cuts = Vec::new();
        for n in 1..=20 {
            if n == 4 {
                // Two in a row, a second apart.
                cutter.want(second(3));
            }
            if let Decision::Cut { independent: true } = cutter.video(second(n), true, second(1)) {
                cutter.end(second(n));
                cutter.begin(second(n), true);
                cuts.push(n);
            }
        }
        assert_eq!(cuts, [3, 4, 10, 16]);
        // Keyframes each half a second, and one is wanted at each: no segment is shorter than a second.
        let mut cutter = Cutter::new(6_000);
        cutter.begin(0, true);
        let mut cuts = Vec::new();
        for n in 1..=8 {
            cutter.want(n * 45_000);
            if let Decision::Cut { .. } = cutter.video(n * 45_000, true, 45_000) {
                cutter.end(n * 45_000);
                cutter.begin(n * 45_000, true);
                cuts.push(n);
            }
        }
        assert_eq!(cuts, [2, 4, 6, 8]);
    }

    /// Runs a video stream of frames `step_ms` apart with keyframes at the given frame numbers (or every `gop` frames) and
    /// returns segment durations in ms with their independence, and the target duration.
    fn run(
        segment_ms: u32,
        step_ticks: i64,
        frames: i64,
        keyframe: impl Fn(i64) -> bool,
    ) -> (Vec<(i64, bool)>, u32) {
        let mut cutter = Cutter::new(segment_ms);
        let mut segments = Vec::new();
        let mut independent_start = true;
        for frame in 0..frames {
            // RTMP's millisecond rounding is part of the case.
            let at = frame * step_ticks / 90 * 90;
            let sync = keyframe(frame);
            if frame == 0 {
                cutter.begin(at, true);
                continue;
            }
            if let Decision::Cut { independent } = cutter.video(at, sync, step_ticks) {
                let start = cutter.start().unwrap();
                segments.push(((at - start) / 90, independent_start));
                cutter.end(at);
                cutter.begin(at, sync);
                independent_start = independent;
            }
        }
        (segments, cutter.target_duration())
    }

    #[test]
    fn table_of_gops() {
        let all =
            |ms: i64| move |segments: &[(i64, bool)]| segments.iter().all(|s| (s.0 - ms).abs() <= 1 && s.1);
        type Check<'a> = Box<dyn Fn(&[(i64, bool)]) -> bool + 'a>;
        let rows: Vec<(&str, u32, i64, i64, u32, Check<'_>)> = vec![
            ("30 fps, 2 s GOP", 2_000, 3_000, 60, 2, Box::new(all(2_000))),
            ("29.97 fps, 60-frame GOP is 2.002 s: target stays 2", 2_000, 3_003, 60, 2, Box::new(all(2_002))),
            ("25 fps, 0.96 s GOP: two of them", 2_000, 3_600, 24, 2, Box::new(all(1_920))),
            ("1.5 s GOP: a second one would pass the limit", 2_000, 3_000, 45, 2, Box::new(all(1_500))),
            ("2.5 s GOP: target 3", 2_000, 3_000, 75, 3, Box::new(all(2_500))),
            ("automatic keyframes of OBS: 250 frames", 2_000, 3_000, 250, 9, Box::new(all(8_333))),
            ("6 s segments of 2 s GOPs", 6_000, 3_000, 60, 6, Box::new(all(6_000))),
            ("23.976 fps, 48-frame GOP", 2_000, 3_754, 48, 2, Box::new(all(2_002))),
        ];
        for (name, segment_ms, step, gop, target, check) in rows {
            let (segments, seen) = run(segment_ms, step, 90_000 * 120 / step, |frame| frame % gop == 0);
            assert_eq!(seen, target, "{name}");
            assert!(segments.len() > 8 && check(&segments), "{name}: {segments:?}");
        }
    }

    #[test]
    fn no_keyframe_is_cut_at_the_limit_and_not_claimed_independent() {
        let (segments, target) = run(2_000, 3_000, 3_000, |frame| frame % 1_200 == 0);
        assert_eq!(target, 10);
        assert!(segments.iter().all(|(ms, _)| *ms <= 10_370), "{segments:?}");
        assert!(segments.iter().any(|(_, independent)| !independent));
    }

    #[test]
    fn a_target_once_published_holds_when_gops_grow() {
        // 2 s GOPs for 20 s, then 5 s GOPs: no segment may round above 2 s.
        let keyframe = |frame: i64| if frame < 600 { frame % 60 == 0 } else { frame % 150 == 0 };
        let (segments, target) = run(2_000, 3_000, 3_000, keyframe);
        assert_eq!(target, 2);
        assert!(segments.iter().all(|(ms, _)| (*ms + 500) / 1_000 <= 2), "{segments:?}");
    }

    #[test]
    fn short_scene_cut_gops_never_lead_past_the_limit() {
        let keyframe = |frame: i64| frame % 60 == 0 || frame % 60 == 21;
        let (segments, target) = run(2_000, 3_000, 3_000, keyframe);
        assert!(
            segments.iter().all(|(ms, independent)| *independent && (*ms + 500) / 1_000 <= i64::from(target))
        );
    }

    #[test]
    fn audio_alone_cuts_at_frame_borders() {
        let mut cutter = Cutter::new(2_000);
        cutter.begin(0, false);
        let mut segments = Vec::new();
        for frame in 1..1_000_i64 {
            let at = frame * 1_920;
            if let Decision::Cut { independent } = cutter.audio(at, 1_920, false) {
                assert!(independent);
                segments.push(at - cutter.start().unwrap());
                cutter.end(at);
                cutter.begin(at, false);
            }
        }
        assert_eq!(cutter.target_duration(), 2);
        assert!(
            segments.len() > 8 && segments.iter().all(|ticks| (ticks - 180_000).abs() <= 1_920),
            "{segments:?}"
        );
    }

    #[test]
    fn target_rounding() {
        for (ms, expected) in
            [(0, 1), (900, 1), (1_000, 1), (1_100, 1), (1_101, 2), (2_002, 2), (2_200, 3), (60_000, 10)]
        {
            assert_eq!(target_for(ms * 90), expected, "{ms} ms");
        }
    }
}

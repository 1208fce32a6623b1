//! Container stamps to the stream's media clock: unwrapping, jumps, the audio sample clock, monotony. One place, no other.
//!
//! A publishing session hands in 32-bit millisecond stamps of unknown origin. What leaves is the media clock of DESIGN
//! section 5: it starts with the time of day, goes on over sessions, follows the encoder, and never steps back on a track.

use headwater_media::{MediaTime, Sample, Timescale, TrackKind};
use serde::{Deserialize, Serialize};

/// 90 kHz ticks per millisecond.
const TICKS_PER_MS: i64 = 90;

/// A stamp this far behind its track's expected time is a new time base; less is repaired in place (rtmp.md 5.5).
const BACKWARD_JUMP: i64 = 500 * TICKS_PER_MS;

/// A track's first stamp this far from the other track is in another time base (rtmp.md 5.5).
const FORWARD_JUMP: i64 = 10_000 * TICKS_PER_MS;

/// A stamp further ahead than this is a hole in its track only where the other track has media there; where neither has, the
/// publisher paused, and its media goes on without a hole: players would wait one out, or stand still before it. Pictures may
/// be seconds apart in a stream that has no sound.
const PAUSE: i64 = 3_000 * TICKS_PER_MS;

/// How near a stamp must be to its expected time under a changed time base for the base to count as confirmed.
const BASE_TOLERANCE: i64 = 500 * TICKS_PER_MS;

/// Audio is counted in samples; RTMP's 1 ms stamps only re-anchor it beyond this (mpegts-hls.md 6.2).
const AUDIO_TOLERANCE: i64 = 50 * TICKS_PER_MS;

/// The step assumed between two video frames before one was measured.
const VIDEO_STEP_DEFAULT: i64 = 33 * TICKS_PER_MS;

/// The longest step that is taken for a frame's own duration; longer ones are pauses.
const VIDEO_STEP_MAX: i64 = 1_000 * TICKS_PER_MS;

/// What was mended, per kind. Each counts samples, except `rebased`, which counts accepted new time bases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repairs {
    /// A decode time at or before its predecessor's was moved one tick past it.
    pub not_monotonic: u64,
    /// A presentation time before the decode time was reconciled with it.
    pub pts_before_dts: u64,
    /// A stray stamp was replaced by the expected time.
    pub outliers: u64,
    /// A jump or a pause of all tracks persisted: the new time base was accepted and joined on without a hole.
    pub rebased: u64,
    /// The audio sample clock lagged its stamps beyond the tolerance and was moved forward to them.
    pub audio_reanchored: u64,
    /// An audio frame was dropped because the sample clock had run ahead of its stamp beyond the tolerance.
    pub audio_overlap: u64,
}

/// One track's place on the clocks. All times in 90 kHz ticks unless said.
#[derive(Debug, Clone, Default)]
struct TrackClock {
    /// The last stamp, unwrapped, in milliseconds of the session's own time.
    raw_ms: Option<i64>,
    /// Media time minus session time. `None`: this track has not spoken in this session.
    offset: Option<i64>,
    /// A changed offset that one stamp asked for and none has confirmed.
    candidate: Option<i64>,
    /// The last decode time sent on.
    last_dts: Option<i64>,
    /// The end of what was sent on in presentation order: the latest presentation time plus its step.
    end: Option<i64>,
    /// Expected distance to the next decode time.
    step: i64,
    /// Audio: the next frame's time in samples.
    next_samples: Option<i64>,
}

impl TrackClock {
    /// Where the next sample should lie, if the track has spoken in any session.
    fn expected(&self) -> Option<i64> {
        self.last_dts.map(|dts| dts.saturating_add(self.step))
    }
}

/// Where a track ended, for a restart: its last decode time, its end in presentation order, the step between its samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptClock {
    last_dts: Option<i64>,
    end: Option<i64>,
    step: i64,
}

impl KeptClock {
    /// True when none of its times is negative or beyond `max`.
    pub(crate) fn is_within(&self, max: i64) -> bool {
        let times = self.last_dts.into_iter().chain(self.end).chain([self.step]);
        times.into_iter().all(|ticks| (0..=max).contains(&ticks))
    }
}

/// Maps container stamps to the media clock of one stream, over any number of publishing sessions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline {
    video: TrackClock,
    audio: TrackClock,
    /// The offset in use by the session; a track that meets a jump tries it before asking for another.
    offset: Option<i64>,
    /// The last unwrapped stamp of any track: what a track's first stamp is unwrapped against.
    raw_ms: Option<i64>,
    repairs: Repairs,
}

impl Timeline {
    /// A timeline that no session has touched.
    pub(crate) fn new() -> Timeline {
        Timeline::default()
    }

    /// Where video and audio ended.
    pub(crate) fn keep(&self) -> [KeptClock; 2] {
        [&self.video, &self.audio].map(|track| KeptClock {
            last_dts: track.last_dts,
            end: track.end,
            step: track.step,
        })
    }

    /// Sessions of an earlier process ended there: decode times go on rising.
    pub(crate) fn restore(&mut self, kept: [KeptClock; 2]) {
        for (track, KeptClock { last_dts, end, step }) in
            [&mut self.video, &mut self.audio].into_iter().zip(kept)
        {
            (track.last_dts, track.end, track.step) = (last_dts, end, step);
        }
    }

    /// What was mended since the beginning.
    pub(crate) fn repairs(&self) -> Repairs {
        self.repairs
    }

    /// A new publishing session: stamps have a new origin, [`Timeline::anchor`] will place it.
    pub(crate) fn begin_session(&mut self) {
        for track in [&mut self.video, &mut self.audio] {
            track.raw_ms = None;
            track.offset = None;
            track.candidate = None;
            track.next_samples = None;
        }
        self.offset = None;
        self.raw_ms = None;
    }

    /// The sample with its 32-bit stamp unwrapped to the session's own millisecond time (rtmp.md 5.4: the signed 32-bit
    /// difference to the track's last stamp, for the first one to the other track's).
    pub(crate) fn unwrap(&mut self, mut sample: Sample) -> Sample {
        let stamp = sample.dts.millis();
        let reference = self.track(sample.track.kind).raw_ms.or(self.raw_ms);
        let raw_ms = match reference {
            // Truncation to 32 bits is the point: stamps are modulo 2^32.
            #[expect(clippy::cast_possible_truncation, reason = "arithmetic modulo 2^32")]
            Some(last) => last.saturating_add(i64::from(stamp.wrapping_sub(last) as i32)),
            None => stamp,
        };
        self.raw_ms = Some(raw_ms);
        self.track(sample.track.kind).raw_ms = Some(raw_ms);
        let cts_ms = MediaTime::new(i64::from(sample.cts_offset), sample.dts.scale()).millis();
        sample.dts = MediaTime::new(raw_ms, Timescale::MILLIS);
        sample.cts_offset = i32::try_from(cts_ms).unwrap_or(0);
        sample
    }

    /// Places the session: its time `raw` (as [`Timeline::unwrap`] gives it) is media time `media`.
    pub(crate) fn anchor(&mut self, raw: MediaTime, media: MediaTime) {
        self.offset = Some(mpeg(media).saturating_sub(mpeg(raw)));
    }

    /// The end of what was sent on over both tracks, in presentation order, if anything was.
    pub(crate) fn end(&self) -> Option<MediaTime> {
        self.video.end.max(self.audio.end).map(|ticks| MediaTime::new(ticks, Timescale::MPEG))
    }

    /// The latest decode time of the video track in 90 kHz ticks.
    pub(crate) fn last_video_dts(&self) -> Option<i64> {
        self.video.last_dts
    }

    /// The expected distance between video frames in 90 kHz ticks.
    pub(crate) fn video_step(&self) -> i64 {
        if self.video.step > 0 { self.video.step } else { VIDEO_STEP_DEFAULT }
    }

    /// An unwrapped video sample on the media clock, 90 kHz. Decode times rise strictly, PTS is at or after DTS.
    /// Before [`Timeline::anchor`] the session's own time stands for the media clock.
    pub(crate) fn place_video(&mut self, mut sample: Sample) -> Sample {
        let raw = mpeg(sample.dts);
        let cts = i64::from(sample.cts_offset).saturating_mul(TICKS_PER_MS);
        if self.video.step <= 0 {
            self.video.step = VIDEO_STEP_DEFAULT;
        }
        let mut dts = self.based(TrackKind::Video, raw);
        let mut pts = dts.saturating_add(cts);
        if let Some(last) = self.video.last_dts {
            if dts <= last {
                self.repairs.not_monotonic += 1;
                dts = last + 1;
            } else if dts - last <= VIDEO_STEP_MAX {
                self.video.step = dts - last;
            }
        }
        if pts < dts {
            self.repairs.pts_before_dts += 1;
            // PTS never moves where decode order leaves room for it; else the picture is shown as soon as it may be decoded.
            match self.video.last_dts {
                Some(last) if pts <= last => pts = dts,
                _ => dts = pts,
            }
        }
        self.video.last_dts = Some(dts);
        self.video.end = self.video.end.max(Some(pts.saturating_add(self.video.step)));
        sample.dts = MediaTime::new(dts, Timescale::MPEG);
        sample.cts_offset = i32::try_from(pts - dts).unwrap_or(0);
        sample
    }

    /// An unwrapped audio frame on the media clock in samples of `rate`, `frame` samples long. Frames follow one another
    /// without gap or overlap while the stamps stay within the tolerance. `None`: the frame was dropped as overlapping.
    pub(crate) fn place_audio(&mut self, mut sample: Sample, rate: Timescale, frame: u32) -> Option<Sample> {
        let raw = mpeg(sample.dts);
        let frame = i64::from(frame.max(1));
        let step = MediaTime::new(frame, rate).rescale(Timescale::MPEG).ticks().max(1);
        self.audio.step = step;
        let stamp = self.based(TrackKind::Audio, raw);
        let to_samples = |ticks: i64| MediaTime::new(ticks, Timescale::MPEG).rescale(rate).ticks();
        let to_mpeg = |samples: i64| MediaTime::new(samples, rate).rescale(Timescale::MPEG).ticks();
        let samples = match self.audio.next_samples {
            Some(next) => {
                let lead = to_mpeg(next).saturating_sub(stamp);
                if lead > AUDIO_TOLERANCE {
                    self.repairs.audio_overlap += 1;
                    return None;
                }
                if lead < -AUDIO_TOLERANCE {
                    self.repairs.audio_reanchored += 1;
                    to_samples(stamp)
                } else {
                    next
                }
            }
            None => {
                // The first frame of a session or of a configuration: by its stamp, but never into what was sent.
                let floor = self.audio.last_dts.map_or(i64::MIN, |last| last.saturating_add(1));
                to_samples(stamp.max(floor))
            }
        };
        self.audio.next_samples = Some(samples.saturating_add(frame));
        self.audio.last_dts = Some(to_mpeg(samples));
        self.audio.end = Some(to_mpeg(samples.saturating_add(frame)));
        sample.dts = MediaTime::new(samples, rate);
        sample.cts_offset = 0;
        Some(sample)
    }

    /// The audio configuration changed: the sample clock starts anew from the next stamp.
    pub(crate) fn audio_config_changed(&mut self) {
        self.audio.next_samples = None;
    }

    /// Session time to media time for one track, deciding between the bases that are known.
    fn based(&mut self, kind: TrackKind, raw: i64) -> i64 {
        let shared = self.offset.unwrap_or(0);
        let (track, other) = match kind {
            TrackKind::Video => (&mut self.video, &self.audio),
            TrackKind::Audio => (&mut self.audio, &self.video),
        };
        let (Some(offset), Some(expected)) = (track.offset, track.expected()) else {
            let media = raw.saturating_add(shared);
            // A track's first stamp that lies hours from the other track is in another time base, or a stray.
            let place = match other.expected().filter(|_| other.offset.is_some()) {
                Some(there) if media.saturating_sub(there).abs() > FORWARD_JUMP => {
                    self.repairs.outliers += 1;
                    there
                }
                _ => media,
            };
            track.offset = Some(place.saturating_sub(raw));
            return place;
        };
        let media = raw.saturating_add(offset);
        let ahead = media.saturating_sub(expected);
        let other_is_there = other.offset.is_some()
            && other.expected().is_some_and(|there| media.saturating_sub(there) <= PAUSE);
        // However long it was away: placed anywhere else it would be out of step with the other for good.
        let forward = if other_is_there { i64::MAX } else { PAUSE };
        if (-BACKWARD_JUMP..=forward).contains(&ahead) {
            track.candidate = None;
            return media;
        }
        let near = |base: i64| raw.saturating_add(base).saturating_sub(expected).abs() <= BASE_TOLERANCE;
        if shared != offset && near(shared) {
            // The other track already moved to a new base, and this one fits it: the tracks stay in step.
            track.offset = Some(shared);
            track.candidate = None;
            return raw.saturating_add(shared);
        }
        // Pictures may be further apart than bases: one in two seconds is a camera of a car park.
        let in_line = |base: i64| {
            let ahead = raw.saturating_add(base).saturating_sub(expected);
            (-BASE_TOLERANCE..=PAUSE).contains(&ahead)
        };
        if let Some(candidate) = track.candidate.filter(|candidate| in_line(*candidate)) {
            track.offset = Some(candidate);
            track.candidate = None;
            self.offset = Some(candidate);
            self.repairs.rebased += 1;
            return raw.saturating_add(candidate);
        }
        // One stamp is no proof: it takes its expected place, and only a second one in line with it moves the base.
        track.candidate = Some(expected.saturating_sub(raw));
        self.repairs.outliers += 1;
        expected
    }

    fn track(&mut self, kind: TrackKind) -> &mut TrackClock {
        match kind {
            TrackKind::Video => &mut self.video,
            TrackKind::Audio => &mut self.audio,
        }
    }
}

fn mpeg(time: MediaTime) -> i64 {
    time.rescale(Timescale::MPEG).ticks()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use headwater_media::TrackId;

    use super::*;

    fn video(ms: u32, cts: i32) -> Sample {
        Sample {
            track: TrackId::VIDEO,
            dts: MediaTime::new(i64::from(ms), Timescale::MILLIS),
            cts_offset: cts,
            sync: false,
            data: Bytes::new(),
        }
    }

    fn audio(ms: u32) -> Sample {
        Sample { track: TrackId::AUDIO, cts_offset: 0, sync: true, ..video(ms, 0) }
    }

    fn rate(hz: u32) -> Timescale {
        Timescale::new(hz).unwrap()
    }

    /// Feeds video stamps and returns the decode times in milliseconds since the anchor.
    fn video_dts(stamps: &[u32]) -> (Vec<i64>, Repairs) {
        let mut timeline = Timeline::new();
        timeline.begin_session();
        let mut out = Vec::new();
        for (index, stamp) in stamps.iter().enumerate() {
            let sample = timeline.unwrap(video(*stamp, 0));
            if index == 0 {
                timeline.anchor(sample.dts, MediaTime::new(0, Timescale::MILLIS));
            }
            let placed = timeline.place_video(sample).dts;
            // One 90 kHz tick is the smallest step; it rounds to 0 ms here.
            out.push(placed.millis());
        }
        (out, timeline.repairs())
    }

    #[test]
    fn stamps_table() {
        let none = Repairs::default();
        for (name, stamps, expected, repairs) in [
            ("plain", vec![5_000, 5_033, 5_067], vec![0, 33, 67], none),
            ("wrap at 2^32", vec![4_294_967_290, 4_294_967_295, 28], vec![0, 5, 34], none),
            (
                "one stray stamp hours away",
                vec![0, 40, 36_000_000, 120, 160],
                vec![0, 40, 80, 120, 160],
                Repairs { outliers: 1, ..none },
            ),
            (
                "a forward jump that persists joins on without a hole",
                vec![0, 40, 3_600_000, 3_600_040, 3_600_080],
                vec![0, 40, 80, 120, 160],
                Repairs { outliers: 1, rebased: 1, ..none },
            ),
            (
                "a backward jump likewise",
                vec![3_600_000, 3_600_040, 0, 40, 80],
                vec![0, 40, 80, 120, 160],
                Repairs { outliers: 1, rebased: 1, ..none },
            ),
            ("a pause of 2 s is a hole", vec![0, 40, 2_040, 2_080], vec![0, 40, 2_040, 2_080], none),
            (
                "a pause of 5 s is none",
                vec![0, 40, 5_040, 5_080],
                vec![0, 40, 80, 120],
                Repairs { outliers: 1, rebased: 1, ..none },
            ),
            ("a picture each second", vec![0, 1_000, 2_000, 3_000], vec![0, 1_000, 2_000, 3_000], none),
            ("one in three seconds", vec![0, 3_000, 6_000], vec![0, 3_000, 6_000], none),
            (
                "a forward jump of pictures two seconds apart",
                vec![0, 2_000, 3_604_000, 3_606_000, 3_608_000],
                vec![0, 2_000, 2_033, 4_033, 6_033],
                Repairs { outliers: 1, rebased: 1, ..none },
            ),
            (
                "equal and slightly earlier stamps move on by a tick",
                vec![0, 40, 40, 30, 80],
                vec![0, 40, 40, 40, 80],
                Repairs { not_monotonic: 2, pts_before_dts: 2, ..none },
            ),
        ] {
            let (dts, seen) = video_dts(&stamps);
            assert_eq!(dts, expected, "{name}");
            assert_eq!(seen, repairs, "{name}");
        }
    }

    #[test]
    fn both_tracks_follow_one_jump_and_stay_in_step() {
        let mut timeline = Timeline::new();
        timeline.begin_session();
        let aac = rate(48_000);
        let mut last = (0, 0);
        for (index, (stamp, is_video)) in [
            (0, true),
            (0, false),
            (21, false),
            (40, true),
            (43, false),
            (7_200_080, true),
            (7_200_064, false),
        ]
        .into_iter()
        .chain([(7_200_085, false), (7_200_120, true), (7_200_107, false), (7_200_160, true)])
        .enumerate()
        {
            let sample = timeline.unwrap(if is_video { video(stamp, 0) } else { audio(stamp) });
            if index == 0 {
                timeline.anchor(sample.dts, MediaTime::new(0, Timescale::MILLIS));
            }
            if is_video {
                last.0 = timeline.place_video(sample).dts.millis();
            } else {
                last.1 = timeline.place_audio(sample, aac, 1_024).unwrap().dts.millis();
            }
        }
        assert_eq!(last, (160, 107));
        assert!(timeline.repairs().rebased <= 2);
    }

    #[test]
    fn audio_counts_samples_and_ignores_the_millisecond_rounding() {
        let mut timeline = Timeline::new();
        timeline.begin_session();
        let rate = rate(44_100);
        for frame in 0_i64..10_000 {
            // What an encoder stamps: the true time rounded down to a millisecond.
            let stamp = u32::try_from(frame * 1_024 * 1_000 / 44_100).unwrap();
            let sample = timeline.unwrap(audio(stamp));
            if frame == 0 {
                timeline.anchor(sample.dts, MediaTime::new(0, Timescale::MILLIS));
            }
            let placed = timeline.place_audio(sample, rate, 1_024).unwrap();
            assert_eq!(placed.dts.ticks(), frame * 1_024);
        }
        assert_eq!(timeline.repairs(), Repairs::default());
    }

    #[test]
    fn audio_reanchors_forward_and_drops_what_overlaps() {
        let mut timeline = Timeline::new();
        timeline.begin_session();
        let rate = rate(48_000);
        let mut place = |stamp: u32| {
            let sample = timeline.unwrap(audio(stamp));
            if stamp == 0 {
                timeline.anchor(sample.dts, MediaTime::new(0, Timescale::MILLIS));
            }
            timeline.place_audio(sample, rate, 1_024).map(|sample| sample.dts.ticks())
        };
        assert_eq!(place(0), Some(0));
        assert_eq!(place(21), Some(1_024));
        // 200 ms of audio were lost: the clock goes to the stamp.
        assert_eq!(place(243), Some(243 * 48));
        // Frames that would lie 60 ms behind the clock overlap what was sent.
        assert_eq!(place(200), None);
        assert_eq!(place(264), Some(243 * 48 + 1_024));
        assert_eq!(timeline.repairs().audio_reanchored, 1);
        assert_eq!(timeline.repairs().audio_overlap, 1);
    }

    #[test]
    fn composition_offsets_are_kept_and_negative_ones_reconciled() {
        let mut timeline = Timeline::new();
        timeline.begin_session();
        let first = timeline.unwrap(video(100, 80));
        timeline.anchor(first.dts, MediaTime::new(0, Timescale::MILLIS));
        let placed = timeline.place_video(first);
        assert_eq!((placed.dts.ticks(), placed.cts_offset), (0, 80 * 90));
        let sample = timeline.unwrap(video(140, -20));
        let placed = timeline.place_video(sample);
        assert_eq!((placed.dts.ticks(), placed.cts_offset), (20 * 90, 0), "PTS stays, DTS gives way");
        let sample = timeline.unwrap(video(180, -175));
        let placed = timeline.place_video(sample);
        assert_eq!((placed.dts.ticks(), placed.cts_offset), (80 * 90, 0), "no room: shown when decoded");
        assert_eq!(timeline.repairs().pts_before_dts, 2);
    }

    #[test]
    fn a_second_session_goes_on_where_it_is_anchored() {
        let mut timeline = Timeline::new();
        timeline.begin_session();
        let sample = timeline.unwrap(video(90_000, 0));
        timeline.anchor(sample.dts, MediaTime::new(1_000, Timescale::MILLIS));
        timeline.place_video(sample);
        let end = timeline.end().unwrap();
        timeline.begin_session();
        let sample = timeline.unwrap(video(3, 0));
        timeline.anchor(sample.dts, end);
        assert_eq!(timeline.place_video(sample).dts, end);
        assert_eq!(timeline.repairs(), Repairs::default());
    }
}

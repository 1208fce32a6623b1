//! The media clock to the times that continuous outputs write, which count from the stream's first sample.
//!
//! Each sample's times follow from the ones before, once, when it is appended: every viewer gets the same, wherever it begins.

use headwater_media::{MediaTime, Sample, Timescale, TrackKind};

/// 90 kHz ticks per millisecond.
const TICKS_PER_MS: i64 = 90;

/// The distance that is expected behind a first picture: 30 a second.
const VIDEO_STEP: i64 = 3_000;

/// Pictures further apart than this are no rate, and what follows a hole begins a new chain of decode times.
const VIDEO_STEP_MAX: i64 = 2 * 90_000;

/// One sample's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamps {
    /// FLV and RTMP: decode time in ms, which rises by at least one on each track.
    pub stamp_ms: i64,
    /// FLV and RTMP: what leads from there to the presentation time.
    pub composition_ms: i32,
    /// Decode time in ticks of the track, as it was placed.
    pub dts: i64,
    /// Fragmented MP4: decode time in ticks of the track. Where the one before ends.
    pub base_media_decode_time: u64,
    /// Fragmented MP4: what is expected until the next sample; what this one was wrong about, it puts right.
    pub duration: u32,
    /// Fragmented MP4: what leads to the presentation time, which is exact.
    pub composition_time_offset: i32,
}

/// Where a stream's times stand.
#[derive(Debug, Clone, Default)]
pub(super) struct Times {
    /// The media time of the first sample.
    zero: Option<MediaTime>,
    video: TrackTimes,
    audio: TrackTimes,
}

#[derive(Debug, Clone, Default)]
struct TrackTimes {
    last_ms: Option<i64>,
    /// Decode time of the last sample, ticks.
    last: Option<i64>,
    /// The last two distances between decode times, ticks.
    steps: (i64, i64),
    /// Where the last sample's duration ends, ticks.
    end: Option<i64>,
}

impl Times {
    /// Media time since the first sample, 90 kHz; 0 before there is one.
    pub(super) fn since_first(&self, at: MediaTime) -> i64 {
        let at = at.rescale(Timescale::MPEG);
        at.ticks().saturating_sub(self.zero.unwrap_or(at).ticks())
    }

    /// The times of a sample on the media clock. `frame`: of audio, the ticks that it lasts.
    pub(super) fn place(&mut self, sample: &Sample, frame: u32) -> Stamps {
        let scale = sample.dts.scale();
        let zero = *self.zero.get_or_insert_with(|| sample.dts.rescale(Timescale::MPEG));
        let origin = zero.rescale(scale).ticks();
        let mpeg = |time: MediaTime| time.rescale(Timescale::MPEG).ticks().saturating_sub(zero.ticks());
        let to_ms = |ticks: i64| ticks.max(0).saturating_add(TICKS_PER_MS / 2) / TICKS_PER_MS;
        let dts = sample.dts.ticks().saturating_sub(origin);
        let pts = dts.saturating_add(i64::from(sample.cts_offset));
        let track = match sample.track.kind {
            TrackKind::Video => &mut self.video,
            TrackKind::Audio => &mut self.audio,
        };

        // Two samples within one ms are a repaired stamp's; players want decode times that rise.
        let rounded = to_ms(mpeg(sample.dts));
        let stamp_ms = track.last_ms.map_or(rounded, |last| rounded.max(last.saturating_add(1)));
        track.last_ms = Some(stamp_ms);
        let composition_ms = to_ms(mpeg(sample.pts())).saturating_sub(stamp_ms);

        let (base, duration) = match sample.track.kind {
            TrackKind::Video => track.chain(dts),
            TrackKind::Audio => (dts.max(0), i64::from(frame.max(1))),
        };
        track.last = Some(dts);
        Stamps {
            stamp_ms,
            composition_ms: small(composition_ms),
            dts,
            base_media_decode_time: base.max(0).unsigned_abs(),
            duration: u32::try_from(duration).unwrap_or(u32::MAX),
            composition_time_offset: if sample.track.kind == TrackKind::Video {
                small(pts.saturating_sub(base))
            } else {
                0
            },
        }
    }
}

impl TrackTimes {
    /// Decode time and duration of a picture that is to be sent before the next one's time is known. Decode times follow one
    /// another without a hole, as every fragment has to begin where the one before ends; the error of one guess is put right by
    /// the next duration and never reaches the presentation time.
    fn chain(&mut self, dts: i64) -> (i64, i64) {
        if let Some(step) =
            self.last.map(|last| dts.saturating_sub(last)).filter(|step| *step <= VIDEO_STEP_MAX)
        {
            self.steps = (self.steps.1, step);
        }
        // The smaller of two: a single pause is not expected to come again.
        let step = match self.steps {
            (0, 0) => VIDEO_STEP,
            (0, step) => step,
            (before, step) => before.min(step),
        };
        let base = match self.end {
            Some(end) if dts.abs_diff(end) <= VIDEO_STEP_MAX.unsigned_abs() => end,
            _ => dts,
        };
        let duration = dts.saturating_add(step).saturating_sub(base).max(1);
        self.end = Some(base.saturating_add(duration));
        (base, duration)
    }
}

/// Offsets of a frame are seconds at most; what is beyond 32 bits is nobody's picture.
fn small(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use headwater_media::TrackId;

    use super::*;

    fn video(dts: i64, cts_offset: i32) -> Sample {
        let dts = MediaTime::new(dts, Timescale::MPEG);
        Sample { track: TrackId::VIDEO, dts, cts_offset, sync: false, data: Bytes::new() }
    }

    fn audio(samples: i64, rate: u32) -> Sample {
        let dts = MediaTime::new(samples, Timescale::new(rate).unwrap());
        Sample { track: TrackId::AUDIO, dts, cts_offset: 0, sync: true, data: Bytes::new() }
    }

    #[test]
    fn times_count_from_the_first_sample_and_presentation_never_moves() {
        let start = 43_200_000 * 90;
        let mut times = Times::default();
        let mut end = None;
        for (name, ticks, cts) in [
            ("first", 0, 6_000),
            ("as expected", 3_000, 9_000),
            ("rounded up", 6_030, 0),
            ("rounded down", 8_970, 3_000),
            ("a pause of half a second", 53_970, 0),
            ("back in time with it", 56_970, 3_000),
            ("a tick later, as a repair leaves it", 56_971, 0),
            ("and on", 59_970, 0),
        ] {
            let stamps = times.place(&video(start + ticks, cts), 0);
            let base = i64::try_from(stamps.base_media_decode_time).unwrap();
            assert_eq!(base + i64::from(stamps.composition_time_offset), ticks + i64::from(cts), "{name}");
            assert!(end.is_none_or(|end| base == end), "{name}: begins at {base}, not at {end:?}");
            end = Some(base + i64::from(stamps.duration));
            let pts_ms = stamps.stamp_ms + i64::from(stamps.composition_ms);
            assert!((pts_ms * 90 - ticks - i64::from(cts)).abs() <= 45, "{name}");
            assert_eq!(stamps.dts, ticks, "{name}");
        }
    }

    #[test]
    fn guesses_are_wrong_by_jitter_and_never_by_more() {
        let mut times = Times::default();
        for n in 0..10_000_i64 {
            // 29.97 in the milliseconds of RTMP.
            let ms = n * 1_001 / 30;
            let stamps = times.place(&video(ms * 90, 0), 0);
            assert!(stamps.composition_time_offset.abs() <= 180, "{n}: {stamps:?}");
            assert!((2_700..=3_300).contains(&stamps.duration), "{n}: {stamps:?}");
        }
    }

    #[test]
    fn stamps_rise_on_each_track() {
        let mut times = Times::default();
        let stamps: Vec<i64> =
            [0, 3_600, 3_601, 3_602, 7_200].map(|ticks| times.place(&video(ticks, 0), 0).stamp_ms).into();
        assert_eq!(stamps, [0, 40, 41, 42, 80]);
    }

    #[test]
    fn a_long_hole_begins_a_new_chain() {
        let mut times = Times::default();
        times.place(&video(0, 0), 0);
        let stamps = times.place(&video(900_000, 0), 0);
        assert_eq!((stamps.base_media_decode_time, stamps.composition_time_offset), (900_000, 0));
    }

    #[test]
    fn sound_counts_its_samples() {
        let mut times = Times::default();
        times.place(&video(48_000 * 90, 0), 0);
        for n in 0..1_000_i64 {
            let stamps = times.place(&audio(48_000 * 48 + 100 + n * 1_024, 48_000), 1_024);
            assert_eq!(stamps.base_media_decode_time, u64::try_from(100 + n * 1_024).unwrap());
            assert_eq!(
                (stamps.duration, stamps.composition_time_offset, stamps.composition_ms),
                (1_024, 0, 0)
            );
            assert!((stamps.stamp_ms * 48 - 100 - n * 1_024).abs() <= 25, "{stamps:?}");
        }
        // A rounding before the first picture.
        let mut early = Times::default();
        early.place(&video(48_000 * 90, 0), 0);
        let stamps = early.place(&audio(48_000 * 48 - 10, 48_000), 1_024);
        assert_eq!((stamps.base_media_decode_time, stamps.stamp_ms), (0, 0));
    }
}

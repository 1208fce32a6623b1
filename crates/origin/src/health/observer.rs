//! What a publication's samples and their arrivals are, measured in windows: a few additions per sample, in the publisher's own task.

use std::time::Duration;

use headwater_media::{Sample, TrackKind};

use super::Measured;

/// Long enough for a keyframe interval of any encoder's default and for an average, short enough for a person to see the effect of
/// what they changed.
const WINDOW: Duration = Duration::from_secs(10);

/// Two stamps further apart than this, or out of order, are a jump and no interval.
const INTERVAL_MS_MAX: i64 = 3_000;

/// 240 pictures a second, and some: a window's averages need no more.
const INTERVALS_MAX: usize = 4_096;

/// What comes this much too late or too early by its stamp has another stamp than it should have.
const LATE_MS_MAX: i64 = 30_000;

/// Arrivals jitter by some 10 ms, so a drift of a thousandth can't be told before this.
const DRIFT_AFTER: Duration = Duration::from_secs(60);

/// Measures one session.
#[derive(Debug, Default)]
pub struct Observer {
    window: Window,
    /// The session's first window: when it ended, and how late its promptest sample was.
    first: Option<(Duration, i64)>,
    /// Stamp of the newest picture and of the newest frame of sound, ms.
    picture_ms: Option<i64>,
    sound_ms: Option<i64>,
    keyframe_ms: Option<i64>,
    /// Arrival minus stamp of the first sample since the last jump, ms.
    origin_ms: Option<i64>,
}

/// Sums of the running window.
#[derive(Debug, Default)]
struct Window {
    began: Option<Duration>,
    measured: Measured,
    intervals_ms: Vec<i64>,
    reorder_ms: i64,
    bits: u64,
    /// The running second of stamps, and what is in it.
    second: i64,
    second_bits: u64,
    /// How late the promptest sample so far was, beside the session's first one; negative when it was early.
    prompt_ms: Option<i64>,
}

impl Observer {
    /// Takes one sample as it was read, at monotonic time `now`, after it may have waited in its socket for `waited`. Returns the window that
    /// ended before it, if one did.
    pub fn sample(&mut self, sample: &Sample, now: Duration, waited: Duration) -> Option<Measured> {
        let began = *self.window.began.get_or_insert(now);
        let ended = (now.saturating_sub(began) >= WINDOW).then(|| self.end_window(now));
        let dts_ms = sample.dts.millis();
        self.stamp(sample, dts_ms);
        self.arrival(dts_ms, sample.data.len() as u64 * 8, now, waited);
        ended
    }

    fn stamp(&mut self, sample: &Sample, dts_ms: i64) {
        let window = &mut self.window;
        match sample.track.kind {
            TrackKind::Video => {
                window.measured.pictures += 1;
                match self.picture_ms.replace(dts_ms).map(|before| dts_ms - before) {
                    Some(interval) if (0..=INTERVAL_MS_MAX).contains(&interval) => {
                        let has_room = window.intervals_ms.len() < INTERVALS_MAX;
                        window.intervals_ms.extend(has_room.then_some(interval));
                    }
                    Some(_) => (self.keyframe_ms, self.sound_ms, self.origin_ms) = (None, None, None),
                    None => {}
                }
                let since = |ms: Option<i64>| ms.and_then(|ms| u64::try_from(dts_ms - ms).ok()).unwrap_or(0);
                let measured = &mut window.measured;
                measured.gop_ms = measured.gop_ms.max(since(self.keyframe_ms));
                measured.silence_ms = measured.silence_ms.max(since(self.sound_ms));
                if sample.sync {
                    self.keyframe_ms = Some(dts_ms);
                    // The first picture in either order: what it waits for is the delay of all.
                    window.reorder_ms = window.reorder_ms.max(sample.pts().millis() - dts_ms);
                }
            }
            TrackKind::Audio => {
                window.measured.sounds += 1;
                self.sound_ms = Some(dts_ms);
            }
        }
    }

    fn arrival(&mut self, dts_ms: i64, bits: u64, now: Duration, waited: Duration) {
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let offset = now_ms.saturating_sub(dts_ms);
        let is_near = |origin: &i64| offset.saturating_sub(*origin).abs() <= LATE_MS_MAX;
        let window = &mut self.window;
        let Some(origin) = self.origin_ms.filter(is_near) else {
            self.origin_ms = Some(offset);
            self.first = None;
            window.prompt_ms = None;
            (window.second, window.second_bits) = (dts_ms / 1_000, 0);
            return;
        };
        let late = offset - origin;
        let prompt = window.prompt_ms.map_or(late, |prompt| prompt.min(late));
        window.prompt_ms = Some(prompt);
        let waited_ms = i64::try_from(waited.as_millis()).unwrap_or(i64::MAX);
        let late_ms = (late - prompt).saturating_sub(waited_ms);
        window.measured.late_ms = window.measured.late_ms.max(u64::try_from(late_ms).unwrap_or(0));
        // Sound and pictures are not in step to the millisecond.
        if dts_ms / 1_000 > window.second {
            (window.second, window.second_bits) = (dts_ms / 1_000, 0);
        }
        window.bits += bits;
        window.second_bits += bits;
        window.measured.peak_bits = window.measured.peak_bits.max(window.second_bits);
    }

    fn end_window(&mut self, now: Duration) -> Measured {
        let next = Window { began: Some(now), second: self.window.second, ..Window::default() };
        let window = std::mem::replace(&mut self.window, next);
        let took = now.saturating_sub(window.began.unwrap_or(now));
        let mut measured = window.measured;
        let sum: i64 = window.intervals_ms.iter().sum();
        let count = window.intervals_ms.len() as u64;
        measured.interval_us = u64::try_from(sum).unwrap_or(0) * 1_000 / count.max(1);
        let average = measured.interval_us;
        // Stamps are whole milliseconds: an interval of 16.7 ms is 16 or 17.
        let is_uneven =
            |ms: &&i64| (**ms).unsigned_abs().saturating_mul(1_000).abs_diff(average) * 2 > average + 2_000;
        measured.uneven = window.intervals_ms.iter().filter(is_uneven).count() as u64;
        measured.reorder_ms = u64::try_from(window.reorder_ms).unwrap_or(0);
        if measured.sounds == 0 && self.sound_ms.is_none() {
            measured.silence_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        }
        measured.average_bits =
            window.bits * 1_000 / u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let prompt = window.prompt_ms.unwrap_or_default();
        let (since, first) = *self.first.get_or_insert((now, prompt));
        let passed = now.saturating_sub(since);
        if passed >= DRIFT_AFTER {
            // What comes earlier and earlier runs fast.
            let passed_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX).max(1);
            measured.drift_ppm = first.saturating_sub(prompt).saturating_mul(1_000_000) / passed_ms;
        }
        measured
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use headwater_media::{MediaTime, Timescale, TrackId};

    use super::*;

    fn sample(track: TrackId, dts_ms: i64, cts_offset: i32, sync: bool, bytes: usize) -> Sample {
        let dts = MediaTime::new(dts_ms, Timescale::new(1_000).unwrap());
        Sample { track, dts, cts_offset, sync, data: Bytes::from(vec![0; bytes]) }
    }

    /// 30 pictures a second with a keyframe each 2 s and sound beside them, for `seconds`; `arrival` tells when what has that stamp
    /// comes.
    fn windows(seconds: i64, has_sound: bool, arrival: impl Fn(i64) -> i64) -> Vec<Measured> {
        let mut observer = Observer::default();
        let mut windows = Vec::new();
        for nth in 0..seconds * 30 {
            let dts_ms = nth * 1_000 / 30;
            let now = Duration::from_millis(u64::try_from(arrival(dts_ms)).unwrap());
            let picture = sample(TrackId::VIDEO, dts_ms, 67, nth % 60 == 0, 5_000);
            windows.extend(observer.sample(&picture, now, Duration::ZERO));
            if has_sound {
                windows.extend(observer.sample(
                    &sample(TrackId::AUDIO, dts_ms, 0, true, 300),
                    now,
                    Duration::ZERO,
                ));
            }
        }
        windows
    }

    #[test]
    fn an_even_stream() {
        let windows = windows(25, true, |ms| 5_000 + ms);
        assert_eq!(windows.len(), 2);
        let measured = windows[1];
        assert_eq!((measured.pictures, measured.uneven, measured.sounds), (300, 0, 300));
        assert!((33_200..33_500).contains(&measured.interval_us), "{measured:?}");
        assert_eq!((measured.gop_ms, measured.reorder_ms), (2_000, 67));
        assert!(measured.silence_ms <= 34 && measured.late_ms <= 1, "{measured:?}");
        assert!((1_260_000..1_285_000).contains(&measured.average_bits), "{measured:?}");
        assert!(measured.peak_bits < measured.average_bits * 11 / 10, "{measured:?}");
    }

    #[test]
    fn silence_stalls_and_drift() {
        assert_eq!(windows(12, false, |ms| ms)[0].silence_ms, 10_000);
        // Nothing comes for 1.2 s, and then all that was sent meanwhile.
        let stalled = windows(12, true, |ms| if (4_000..5_200).contains(&ms) { 5_200 } else { ms });
        assert!((1_150..=1_200).contains(&stalled[0].late_ms), "{stalled:?}");
        assert!(stalled[0].peak_bits < stalled[0].average_bits * 11 / 10, "it is no spike: {stalled:?}");
        let paced = windows(25, true, |ms| (ms - 10_000).max(0));
        assert!(paced.iter().all(|measured| measured.late_ms <= 1), "a file that is sent ahead: {paced:?}");
        for (ppm, per_mille) in [(2_000, 2), (-2_000, -2)] {
            let drifting = windows(120, true, |ms| 1_000 + ms - ms * per_mille / 1_000);
            let last = drifting.last().unwrap();
            assert!((last.drift_ppm - ppm).abs() < 100, "{last:?}");
            assert_eq!(drifting[3].drift_ppm, 0, "too early to tell");
        }
    }

    #[test]
    fn what_waited_in_its_socket_is_not_late() {
        // Pictures are read five at a time, 165 ms of them.
        let late_ms = |waited: u64, stall_ms: i64| {
            let mut observer = Observer::default();
            let ended = (0..400_i64).filter_map(|nth| {
                let stall_ms = if nth >= 100 { stall_ms } else { 0 };
                let read_ms = (nth / 5 * 5 + 4) * 33 + stall_ms;
                let now = Duration::from_millis(u64::try_from(read_ms).unwrap());
                let picture = sample(TrackId::VIDEO, nth * 33, 0, nth % 30 == 0, 100);
                observer.sample(&picture, now, Duration::from_millis(waited))
            });
            ended.last().unwrap().late_ms
        };
        assert_eq!(late_ms(0, 0), 4 * 33);
        assert_eq!(late_ms(165, 0), 0);
        assert_eq!(late_ms(165, 700), 4 * 33 + 700 - 165, "a stall is one all the same");
    }

    #[test]
    fn a_jump_of_stamps_is_no_interval() {
        let mut observer = Observer::default();
        let mut ended = None;
        for nth in 0..400 {
            let jump = if nth >= 100 { 7_200_000 } else { 0 };
            let picture = sample(TrackId::VIDEO, jump + nth * 33, 0, nth % 30 == 0, 100);
            let now = Duration::from_millis(u64::try_from(nth * 33).unwrap());
            ended = observer.sample(&picture, now, Duration::ZERO).or(ended);
        }
        let measured = ended.unwrap();
        assert_eq!((measured.uneven, measured.interval_us), (0, 33_000));
        assert!(measured.gop_ms <= 1_000 && measured.late_ms < 50, "{measured:?}");
    }
}

//! The start of a publishing session: which tracks it has, and the keyframe it begins with.

use std::collections::VecDeque;

use headwater_media::{Sample, TrackKind};

use crate::Clock;

/// How long a session may go on with one track before it starts without the other (rtmp.md 9.4).
const SECOND_TRACK_WAIT_MS: i64 = 2_000;

/// How long a session with audio waits for a first keyframe before it starts without video.
const KEYFRAME_WAIT_MS: i64 = 10_000;

/// Media held back at most while the tracks are sought: 2 s at 50 Mbit/s, with room. Reaching it starts the session.
const HELD_BYTES_MAX: usize = 32 << 20;

/// Samples held back at most: 2 s of 240 frames a second and of 2.5 ms audio frames, with room.
const HELD_SAMPLES_MAX: usize = 8_192;

/// A sample held back, with the clocks of its arrival.
pub(crate) type Held = (Sample, Clock);

/// Holds a session's first samples back until its tracks and its first keyframe are known.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    held: VecDeque<Held>,
    held_bytes: usize,
    first_ms: Option<i64>,
    last_ms: i64,
    video_seen: bool,
    audio_seen: bool,
    keyframe_held: bool,
}

impl Gate {
    /// Takes an unwrapped sample. Video before the first keyframe can't be decoded and is dropped; returns whether it was.
    pub(crate) fn push(&mut self, sample: Sample, clock: Clock) -> bool {
        let ms = sample.dts.millis();
        let first = *self.first_ms.get_or_insert(ms);
        // A first stamp after a stray one must not stretch or shrink the wait.
        self.last_ms = ms.max(first);
        match sample.track.kind {
            TrackKind::Video => {
                self.video_seen = true;
                if !sample.sync && !self.keyframe_held {
                    return true;
                }
                self.keyframe_held = true;
            }
            TrackKind::Audio => self.audio_seen = true,
        }
        self.held_bytes += sample.data.len();
        self.held.push_back((sample, clock));
        if !self.keyframe_held {
            self.forget_old_audio();
        }
        false
    }

    /// True when the session can start.
    pub(crate) fn is_ready(&self) -> bool {
        let waited = self.last_ms - self.first_ms.unwrap_or(self.last_ms);
        let full = self.held_bytes > HELD_BYTES_MAX || self.held.len() > HELD_SAMPLES_MAX;
        if self.video_seen {
            if self.keyframe_held {
                return self.audio_seen || waited >= SECOND_TRACK_WAIT_MS || full;
            }
            return self.audio_seen && waited >= KEYFRAME_WAIT_MS;
        }
        self.audio_seen && (waited >= SECOND_TRACK_WAIT_MS || full)
    }

    /// What the session starts with: its anchor first (the first keyframe, else the first audio frame), then everything that
    /// is presented with or after it, in order of arrival.
    pub(crate) fn open(self) -> Vec<Held> {
        let keyframe = self.held.iter().position(|(sample, _)| sample.track.kind == TrackKind::Video);
        let Some(keyframe) = keyframe else { return self.held.into() };
        let Some(start) = self.held.get(keyframe).map(|(sample, _)| sample.pts()) else { return Vec::new() };
        let mut opened: Vec<Held> = Vec::with_capacity(self.held.len());
        for (index, (sample, clock)) in self.held.into_iter().enumerate() {
            if sample.track.kind == TrackKind::Audio && sample.pts() < start {
                continue;
            }
            opened.push((sample, clock));
            if index == keyframe {
                // Audio that came early but is heard later follows the keyframe.
                opened.rotate_right(1);
            }
        }
        opened
    }

    /// Bytes of the samples held back.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes as u64
    }

    /// Which tracks were seen: video only counts with a keyframe.
    pub(crate) fn tracks(&self) -> (bool, bool) {
        (self.keyframe_held, self.audio_seen)
    }

    fn forget_old_audio(&mut self) {
        while let Some((sample, _)) = self.held.front() {
            let is_old = self.last_ms - sample.dts.millis() > SECOND_TRACK_WAIT_MS;
            if !(is_old && self.video_seen) && self.held_bytes <= HELD_BYTES_MAX {
                return;
            }
            self.held_bytes = self.held_bytes.saturating_sub(sample.data.len());
            self.held.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use headwater_media::{MediaTime, Timescale, TrackId, WallTime};

    use super::*;

    fn sample(track: TrackId, ms: i64, sync: bool) -> Sample {
        let dts = MediaTime::new(ms, Timescale::MILLIS);
        Sample { track, dts, cts_offset: 0, sync, data: Bytes::from_static(b"x") }
    }

    fn clock() -> Clock {
        Clock { now: Duration::ZERO, wall: WallTime::from_unix_millis(0) }
    }

    #[test]
    fn starts_at_the_keyframe_once_both_tracks_spoke() {
        let mut gate = Gate::default();
        assert!(
            gate.push(sample(TrackId::VIDEO, 0, false), clock()),
            "inter frames before a keyframe are dropped"
        );
        for ms in [0, 21, 43, 64] {
            gate.push(sample(TrackId::AUDIO, ms, true), clock());
        }
        assert!(!gate.is_ready());
        gate.push(sample(TrackId::VIDEO, 40, true), clock());
        assert!(gate.is_ready());
        let opened: Vec<_> = gate.open().iter().map(|(s, _)| (s.track, s.dts.millis())).collect();
        assert_eq!(opened, [(TrackId::VIDEO, 40), (TrackId::AUDIO, 43), (TrackId::AUDIO, 64)]);
    }

    #[test]
    fn one_track_starts_after_two_seconds() {
        for track in [TrackId::VIDEO, TrackId::AUDIO] {
            let mut gate = Gate::default();
            for ms in (0..2_000).step_by(40) {
                gate.push(sample(track, ms, true), clock());
                assert!(!gate.is_ready(), "{track} {ms}");
            }
            gate.push(sample(track, 2_000, true), clock());
            assert!(gate.is_ready());
            assert_eq!(gate.open().len(), 51);
        }
    }

    #[test]
    fn a_stream_without_keyframes_starts_as_audio_and_holds_little() {
        let mut gate = Gate::default();
        for ms in (0..10_000).step_by(20) {
            gate.push(sample(TrackId::AUDIO, ms, true), clock());
            gate.push(sample(TrackId::VIDEO, ms, false), clock());
            assert!(!gate.is_ready());
            assert!(gate.held.len() <= 102, "{}", gate.held.len());
        }
        gate.push(sample(TrackId::AUDIO, 10_000, true), clock());
        assert!(gate.is_ready());
        assert_eq!(gate.tracks(), (false, true));
    }

    #[test]
    fn a_flood_of_samples_is_bounded() {
        let mut gate = Gate::default();
        for _ in 0..=HELD_SAMPLES_MAX {
            gate.push(sample(TrackId::VIDEO, 0, true), clock());
        }
        assert!(gate.is_ready());
    }
}

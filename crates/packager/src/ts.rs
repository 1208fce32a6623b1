//! The MPEG-TS packaging: one muxer, the segment under construction, and the window of finished ones.

use std::sync::Arc;
use std::time::Duration;

use headwater_media::{MediaTime, Sample, Timescale, TrackKind, WallTime};
use headwater_mpegts as mpegts;

use crate::Clock;
use crate::held::{Alive, tracked};
use crate::snapshot::{Tracks, TsRendition, TsSegment};
use crate::window::{Numbering, Window};

/// Room for the first segment: 2 s at 2 Mbit/s. Later ones get their predecessor's size.
const FIRST_SEGMENT_BYTES: usize = 512 << 10;

/// What the running segment was begun with.
#[derive(Debug, Clone, Copy)]
struct Running {
    sequence: u64,
    /// 90 kHz ticks.
    start: i64,
    independent: bool,
    discontinuity: bool,
}

/// MPEG-TS segments of one stream.
#[derive(Debug)]
pub(crate) struct TsPackaging {
    muxer: Option<mpegts::Muxer>,
    buffer: Vec<u8>,
    /// The size that the next buffer starts with.
    size_expected: usize,
    running: Option<Running>,
    window: Window<TsSegment>,
    /// Samples that the muxer refused.
    refused: u64,
    /// Tracks of timed metadata are announced.
    timed_metadata: bool,
}

impl TsPackaging {
    pub(crate) fn new(window: Duration, numbering: Numbering, timed_metadata: bool) -> TsPackaging {
        TsPackaging {
            muxer: None,
            buffer: Vec::new(),
            size_expected: FIRST_SEGMENT_BYTES,
            running: None,
            window: Window::new(window, numbering),
            refused: 0,
            timed_metadata,
        }
    }

    /// Takes the tracks for the segments that follow. The continuity counters run on.
    ///
    /// # Errors
    /// What the muxer can't carry; its tracks stay as they were.
    pub(crate) fn configure(&mut self, tracks: &Tracks) -> Result<(), mpegts::Error> {
        let program = mpegts::Program {
            video: tracks.video.as_deref(),
            audio: tracks.audio.as_deref(),
            timed_metadata: self.timed_metadata,
        };
        match &mut self.muxer {
            Some(muxer) => muxer.reconfigure(program),
            None => {
                self.muxer = Some(mpegts::Muxer::new(program)?);
                Ok(())
            }
        }
    }

    /// Lists what an earlier process listed, in which counters go on behind.
    pub(crate) fn refill(&mut self, discontinuity_sequence: u64, segments: Vec<(TsSegment, Alive)>) {
        if let Some(muxer) = &mut self.muxer {
            segments.iter().for_each(|(segment, _)| muxer.go_on_behind(&segment.payload));
        }
        self.window.refill(discontinuity_sequence, segments);
    }

    /// Starts a segment at `start` (90 kHz ticks).
    pub(crate) fn open(&mut self, sequence: u64, start: i64, independent: bool, discontinuity: bool) {
        let Some(muxer) = &mut self.muxer else { return };
        if discontinuity {
            // The clock says what the playlist says (mpegts-hls.md 2.7), also where the tracks are the same.
            muxer.mark_discontinuity();
        }
        self.buffer = Vec::with_capacity(self.size_expected);
        muxer.begin_segment(&mut self.buffer);
        self.running = Some(Running { sequence, start, independent, discontinuity });
    }

    /// Writes a sample of the media clock into the running segment.
    pub(crate) fn write(&mut self, sample: &Sample) {
        let (Some(muxer), Some(_)) = (&mut self.muxer, &self.running) else { return };
        let written = match sample.track.kind {
            TrackKind::Video => muxer.write_video(&mut self.buffer, sample),
            TrackKind::Audio => muxer.write_audio(&mut self.buffer, sample),
        };
        if written.is_err() {
            self.refused += 1;
        }
    }

    /// Writes an ID3 tag of the moment `at` (90 kHz ticks) into the running segment.
    pub(crate) fn write_id3(&mut self, at: i64, tag: &[u8]) {
        let (Some(muxer), Some(_)) = (&mut self.muxer, &self.running) else { return };
        if muxer.write_id3(&mut self.buffer, MediaTime::new(at, Timescale::MPEG), tag).is_err() {
            self.refused += 1;
        }
    }

    /// Writes a section of splice information into the running segment.
    pub(crate) fn write_splice_info(&mut self, section: &[u8]) {
        let (Some(muxer), Some(_)) = (&mut self.muxer, &self.running) else { return };
        if muxer.write_splice_info(&mut self.buffer, section).is_err() {
            self.refused += 1;
        }
    }

    /// Ends the running segment at `end` (90 kHz ticks) and lists it. `last`: nothing continues it, so audio presented after
    /// `end` goes into it too. Returns the segment's size in bytes.
    pub(crate) fn close(
        &mut self,
        end: i64,
        last: bool,
        date: WallTime,
        target_duration: u32,
        clock: Clock,
    ) -> Option<usize> {
        let running = self.running.take()?;
        let muxer = self.muxer.as_mut()?;
        let cut = (!last).then(|| MediaTime::new(end, Timescale::MPEG));
        muxer.end_segment(&mut self.buffer, cut);
        let payload = std::mem::take(&mut self.buffer);
        let size = payload.len();
        // A tenth above the last one, so that a segment of the usual size needs no second allocation.
        self.size_expected = size + size / 10;
        let (payload, alive) = tracked(payload);
        let segment = TsSegment {
            sequence: running.sequence,
            start: MediaTime::new(running.start, Timescale::MPEG),
            duration: MediaTime::new(end - running.start, Timescale::MPEG),
            program_date_time: date,
            discontinuity: running.discontinuity,
            independent: running.independent,
            payload,
        };
        self.window.push(segment, alive);
        self.window.slide_to(self.window.due_first(target_duration), clock.now);
        Some(size)
    }

    /// Bytes of media: what is listed and retained, and the segment under construction.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.window.size_bytes().saturating_add(self.buffer.len() as u64)
    }

    pub(crate) fn window(&self) -> &Window<TsSegment> {
        &self.window
    }

    pub(crate) fn window_mut(&mut self) -> &mut Window<TsSegment> {
        &mut self.window
    }

    pub(crate) fn rendition(&self, target_duration: u32) -> Arc<TsRendition> {
        self.window.rendition(target_duration)
    }

    /// Samples that could not be written.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

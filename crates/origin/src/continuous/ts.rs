//! Samples as MPEG-TS: one muxer for all viewers, run by whoever is furthest ahead.

use std::sync::Arc;

use bytes::Bytes;
use headwater_media::{MediaTime, Sample, Timescale, TrackKind};
use headwater_mpegts::{Muxer, Program};
use headwater_packager::Said;

use super::entry::{Entry, Form, Setup};
use super::{Ring, lock};

/// Where the first sample lies, ms: ffmpeg's muxer begins there too, and the clock 0.7 s earlier is still above zero.
const START_MS: i64 = 1_400;

/// The muxer and how far it has come. It rests while nobody watches.
#[derive(Debug, Default)]
pub(super) struct Lane {
    muxer: Option<Muxer>,
    /// What the muxer was told last.
    setup: Option<Arc<Setup>>,
    /// The entry that continues what has been written.
    next: u64,
}

/// Whether MPEG-TS can carry the tracks.
pub(super) fn fits(setup: &Setup) -> bool {
    Muxer::new(program(setup)).is_ok()
}

fn program(setup: &Setup) -> Program<'_> {
    let tracks = &setup.tracks;
    Program {
        video: tracks.video.as_deref(),
        audio: tracks.audio.as_deref(),
        timed_metadata: setup.has_marks,
    }
}

impl Ring {
    /// The packets that carry a sample. Made in order, each once: continuity counters and the clock run through all of them.
    ///
    /// `is_first`: the viewer has had nothing yet.
    pub(super) fn ts(&self, entry: &Entry, is_first: bool) -> Bytes {
        if let Some(form) = entry.form(Form::Ts) {
            return form.clone();
        }
        let mut lane = lock(&self.ts);
        if lane.next <= entry.number {
            let missing: Option<Vec<Entry>> = {
                let mut shared = self.lock();
                (lane.next..entry.number).map(|number| shared.entry(number, &self.made)).collect()
            };
            match missing {
                Some(missing) => missing.iter().for_each(|entry| lane.write(entry)),
                // Nobody has watched for a while, or not in time.
                None if is_first => *lane = Lane::default(),
                None => lane.break_off(),
            }
            lane.write(entry);
        }
        entry.form(Form::Ts).cloned().unwrap_or_default()
    }
}

impl Lane {
    /// What follows does not continue what was written.
    fn break_off(&mut self) {
        if let Some(muxer) = &mut self.muxer {
            muxer.mark_discontinuity();
        }
    }

    fn write(&mut self, entry: &Entry) {
        self.configure(&entry.setup);
        let mut out = Vec::new();
        if let Some(muxer) = &mut self.muxer {
            if entry.is_join {
                muxer.begin_segment(&mut out);
            }
            for mark in entry.marks() {
                let at = mark.at.saturating_add(start_in(Timescale::MPEG));
                // As below.
                let _ = match &mark.said {
                    Said::Id3(tag) => muxer.write_id3(&mut out, MediaTime::new(at, Timescale::MPEG), tag),
                    Said::Splice(info) => muxer.write_splice_info(&mut out, &info.timed_at(at)),
                };
            }
            let sample = rebased(&entry.sample, entry.times.dts);
            // What can't be written is in no other viewer's stream either; the packager counts it.
            let _ = match sample.track.kind {
                TrackKind::Video => muxer.write_video(&mut out, &sample),
                TrackKind::Audio => muxer.write_audio(&mut out, &sample),
            };
            // No frame of sound waits for company: a tenth more bytes of sound, and no delay.
            muxer.flush_audio(&mut out);
        }
        self.next = entry.number.saturating_add(1);
        entry.form_or(Form::Ts, || out.into());
    }

    /// Another configuration: other tables, and a clock that says so. Tracks that can't be carried leave nothing behind.
    fn configure(&mut self, setup: &Arc<Setup>) {
        if self.setup.as_ref().is_some_and(|known| Arc::ptr_eq(known, setup)) {
            return;
        }
        match &mut self.muxer {
            Some(muxer) => {
                if muxer.reconfigure(program(setup)).is_err() {
                    self.muxer = None;
                }
            }
            None => self.muxer = Muxer::new(program(setup)).ok(),
        }
        self.setup = Some(Arc::clone(setup));
    }
}

/// [`START_MS`] in ticks.
fn start_in(scale: Timescale) -> i64 {
    START_MS.saturating_mul(i64::from(scale.hz())) / 1_000
}

/// The sample on the clock of continuous outputs.
fn rebased(sample: &Sample, dts: i64) -> Sample {
    let scale = sample.dts.scale();
    Sample { dts: MediaTime::new(dts.saturating_add(start_in(scale)), scale), ..sample.clone() }
}

//! One sample in the ring, with its times and the forms that viewers have asked for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use headwater_media::Sample;
use headwater_packager::Tracks;

use super::times::{Stamps, Times};
use super::{forms, ts};

/// The forms that a sample is made into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Flv,
    Ts,
    Mp4,
    /// On the message stream that most players have.
    Rtmp,
}

const FORMS: usize = 4;

/// Tracks, and what is made of them for whoever begins.
#[derive(Debug)]
pub(super) struct Setup {
    pub tracks: Tracks,
    mp4: OnceLock<Option<Bytes>>,
    fits_ts: OnceLock<bool>,
}

impl Setup {
    pub(super) fn new(tracks: Tracks) -> Setup {
        Setup { tracks, mp4: OnceLock::new(), fits_ts: OnceLock::new() }
    }

    /// `ftyp` and `moov`; `None` when fragmented MP4 can't carry the tracks.
    pub(super) fn mp4(&self) -> Option<&Bytes> {
        self.mp4.get_or_init(|| forms::mp4_opening(&self.tracks)).as_ref()
    }

    /// Whether MPEG-TS can carry the tracks.
    pub(super) fn fits_ts(&self) -> bool {
        *self.fits_ts.get_or_init(|| ts::fits(&self.tracks))
    }
}

/// A sample on the media clock. Everything but its forms is as it was appended.
#[derive(Debug)]
pub(super) struct Entry {
    pub number: u64,
    /// The tracks in force: a viewer that was told of others is told of these first.
    pub setup: Arc<Setup>,
    pub sample: Sample,
    pub times: Stamps,
    /// A viewer can begin here.
    pub is_join: bool,
    /// Bytes that had come from publishers before any that this can be a slice of.
    pub mark: u64,
    forms: [OnceLock<Bytes>; FORMS],
    /// The ring's sum of forms made.
    made: Arc<AtomicU64>,
}

impl Entry {
    pub(super) fn new(
        number: u64,
        setup: Arc<Setup>,
        sample: Sample,
        times: &mut Times,
        made: &Arc<AtomicU64>,
    ) -> Entry {
        let frame = setup.tracks.audio.as_ref().map_or(0, |audio| audio.samples_per_frame);
        let times = times.place(&sample, frame);
        let (forms, made) = (Default::default(), Arc::clone(made));
        Entry { number, setup, sample, times, is_join: false, mark: 0, forms, made }
    }

    /// Its place in the ring is known.
    pub(super) fn placed(mut self, is_join: bool, mark: u64) -> Entry {
        (self.is_join, self.mark) = (is_join, mark);
        self
    }

    /// A form that somebody has made.
    pub(super) fn form(&self, form: Form) -> Option<&Bytes> {
        self.forms.get(form as usize)?.get()
    }

    /// A form, made now if nobody has asked for it yet.
    pub(super) fn form_or(&self, form: Form, make: impl FnOnce() -> Bytes) -> Bytes {
        let Some(cell) = self.forms.get(form as usize) else { return Bytes::new() };
        let bytes = cell.get_or_init(|| {
            let bytes = make();
            self.made.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            bytes
        });
        bytes.clone()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let size: usize = self.forms.iter().filter_map(OnceLock::get).map(Bytes::len).sum();
        self.made.fetch_sub(size as u64, Ordering::Relaxed);
    }
}

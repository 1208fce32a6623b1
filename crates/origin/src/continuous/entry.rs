//! One sample in the ring, with its times and the forms that viewers have asked for.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use headwater_media::Sample;
use headwater_packager::{Said, Tracks};

use super::times::Stamps;
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
    /// Timed metadata are announced with them.
    pub has_marks: bool,
    mp4: OnceLock<Option<Bytes>>,
    fits_ts: OnceLock<bool>,
}

impl Setup {
    pub(super) fn new(tracks: Tracks, has_marks: bool) -> Setup {
        Setup { tracks, has_marks, mp4: OnceLock::new(), fits_ts: OnceLock::new() }
    }

    /// `ftyp` and `moov`; `None` when fragmented MP4 can't carry the tracks.
    pub(super) fn mp4(&self) -> Option<&Bytes> {
        self.mp4.get_or_init(|| forms::mp4_opening(&self.tracks)).as_ref()
    }

    /// Whether MPEG-TS can carry the tracks.
    pub(super) fn fits_ts(&self) -> bool {
        *self.fits_ts.get_or_init(|| ts::fits(self))
    }
}

/// A sample on the media clock, as it was appended.
#[derive(Debug, Clone)]
pub(super) struct Timed {
    pub number: u64,
    /// The tracks in force: a viewer that was told of others is told of these first.
    pub setup: Arc<Setup>,
    pub sample: Sample,
    pub times: Stamps,
    /// A viewer can begin here.
    pub is_join: bool,
    /// What is said in front of it; nearly always nothing.
    pub marks: Option<Arc<Marks>>,
}

/// Timed metadata in front of a sample.
#[derive(Debug)]
pub(super) struct Marks {
    pub list: Vec<TimedMark>,
    bytes: u64,
    /// The ring's sum of forms made: what is said is on the stream's account as well.
    made: Arc<AtomicU64>,
}

/// A mark on the clock of continuous outputs.
#[derive(Debug)]
pub(super) struct TimedMark {
    /// Since the first sample, 90 kHz.
    pub at: i64,
    /// Another one for each mark of a stream.
    pub id: u32,
    pub said: Said,
}

impl Marks {
    pub(super) fn new(list: Vec<TimedMark>, made: &Arc<AtomicU64>) -> Marks {
        let bytes = list.iter().map(TimedMark::said_bytes).sum();
        made.fetch_add(bytes, Ordering::Relaxed);
        Marks { list, bytes, made: Arc::clone(made) }
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        self.made.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl TimedMark {
    fn said_bytes(&self) -> u64 {
        match &self.said {
            Said::Id3(tag) => tag.len() as u64,
            Said::Splice(info) => info.section().len() as u64,
        }
    }
}

/// A sample's place in the ring.
#[derive(Debug)]
pub(super) struct Slot {
    pub timed: Timed,
    /// Bytes that had come from publishers before any that the sample can be a slice of.
    pub mark: u64,
    /// What viewers share; nothing as long as there are none.
    forms: Option<Arc<Forms>>,
}

impl Slot {
    pub(super) const fn new(timed: Timed, mark: u64) -> Slot {
        Slot { timed, mark, forms: None }
    }

    /// The sample for a viewer. `made` is the ring's sum of forms made.
    pub(super) fn entry(&mut self, made: &Arc<AtomicU64>) -> Entry {
        let forms = self.forms.get_or_insert_with(|| Arc::new(Forms::new(Arc::clone(made))));
        Entry { timed: self.timed.clone(), forms: Arc::clone(forms) }
    }
}

/// A sample as a viewer has it.
#[derive(Debug)]
pub(super) struct Entry {
    timed: Timed,
    forms: Arc<Forms>,
}

impl Deref for Entry {
    type Target = Timed;

    fn deref(&self) -> &Timed {
        &self.timed
    }
}

impl Entry {
    /// A form that somebody has made.
    pub(super) fn form(&self, form: Form) -> Option<&Bytes> {
        self.forms.cells.get(form as usize)?.get()
    }

    /// What is said in front of it.
    pub(super) fn marks(&self) -> &[TimedMark] {
        self.timed.marks.as_deref().map_or(&[], |marks| &marks.list)
    }

    /// A form, made now if nobody has asked for it yet.
    pub(super) fn form_or(&self, form: Form, make: impl FnOnce() -> Bytes) -> Bytes {
        let Some(cell) = self.forms.cells.get(form as usize) else { return Bytes::new() };
        let bytes = cell.get_or_init(|| {
            let bytes = make();
            self.forms.made.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            bytes
        });
        bytes.clone()
    }
}

/// What was made of one sample.
#[derive(Debug)]
struct Forms {
    cells: [OnceLock<Bytes>; FORMS],
    /// The ring's sum of forms made.
    made: Arc<AtomicU64>,
}

impl Forms {
    fn new(made: Arc<AtomicU64>) -> Forms {
        Forms { cells: Default::default(), made }
    }
}

impl Drop for Forms {
    fn drop(&mut self) {
        let size: usize = self.cells.iter().filter_map(OnceLock::get).map(Bytes::len).sum();
        self.made.fetch_sub(size as u64, Ordering::Relaxed);
    }
}

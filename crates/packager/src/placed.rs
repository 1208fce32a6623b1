//! What continuous outputs carry: every sample as it was placed on the media clock, and the tracks in force.

use std::fmt;

use bytes::Bytes;
use headwater_codec::scte35::SpliceInfo;
use headwater_media::{MediaTime, Sample};

use crate::snapshot::Tracks;

/// One step of a stream for outputs that have no segments, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// The tracks of the samples that follow: a session's first, or changed ones. A session that goes on with the same tracks
    /// says so again.
    Tracks(Tracks),
    /// A sample on the media clock: 90 kHz for video, the sample rate for audio. Decode times rise over sessions too.
    Sample(Sample),
    /// Timed metadata, in front of the sample that follows.
    Mark(Mark),
}

/// What is said about a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The moment on the media clock, 90 kHz.
    pub at: MediaTime,
    /// What it is.
    pub said: Said,
}

/// The two kinds of marks that a stream carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A whole ID3v2 tag.
    Id3(Bytes),
    /// Splice information (SCTE 35), with its sender's times.
    Splice(SpliceInfo),
}

/// Where what is placed goes, at once; nowhere until somebody asks for it.
#[derive(Default)]
pub(crate) struct Outlet(Option<Box<dyn FnMut(Placed) + Send + Sync>>);

impl Outlet {
    pub(crate) fn new(sink: impl FnMut(Placed) + Send + Sync + 'static) -> Outlet {
        Outlet(Some(Box::new(sink)))
    }

    pub(crate) fn tracks(&mut self, tracks: &Tracks) {
        if let Some(sink) = &mut self.0 {
            sink(Placed::Tracks(tracks.clone()));
        }
    }

    pub(crate) fn sample(&mut self, sample: &Sample) {
        if let Some(sink) = &mut self.0 {
            sink(Placed::Sample(sample.clone()));
        }
    }

    pub(crate) fn mark(&mut self, at: MediaTime, said: impl FnOnce() -> Said) {
        if let Some(sink) = &mut self.0 {
            sink(Placed::Mark(Mark { at, said: said() }));
        }
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outlet").field(&self.0.is_some()).finish()
    }
}

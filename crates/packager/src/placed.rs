//! What continuous outputs carry: every sample as it was placed on the media clock, and the tracks in force.

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

/// Collects what was placed until it is taken; where nobody takes it, nothing is collected.
#[derive(Debug)]
pub(crate) struct Collector(Option<Vec<Placed>>);

impl Collector {
    pub(crate) fn new(is_on: bool) -> Collector {
        Collector(is_on.then(Vec::new))
    }

    pub(crate) fn tracks(&mut self, tracks: &Tracks) {
        if let Some(placed) = &mut self.0 {
            placed.push(Placed::Tracks(tracks.clone()));
        }
    }

    pub(crate) fn sample(&mut self, sample: &Sample) {
        if let Some(placed) = &mut self.0 {
            placed.push(Placed::Sample(sample.clone()));
        }
    }

    pub(crate) fn mark(&mut self, at: MediaTime, said: impl FnOnce() -> Said) {
        if let Some(placed) = &mut self.0 {
            placed.push(Placed::Mark(Mark { at, said: said() }));
        }
    }

    /// Everything since the last call, oldest first; the memory stays for what comes.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Placed> {
        self.0.iter_mut().flat_map(|placed| placed.drain(..))
    }
}

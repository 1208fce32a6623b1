//! What continuous outputs carry: every sample as it was placed on the media clock, and the tracks in force.

use headwater_media::Sample;

use crate::snapshot::Tracks;

/// One step of a stream for outputs that have no segments, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// The tracks of the samples that follow: a session's first, or changed ones. A session that goes on with the same tracks
    /// says so again.
    Tracks(Tracks),
    /// A sample on the media clock: 90 kHz for video, the sample rate for audio. Decode times rise over sessions too.
    Sample(Sample),
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

    /// Everything since the last call, oldest first; the memory stays for what comes.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Placed> {
        self.0.iter_mut().flat_map(|placed| placed.drain(..))
    }
}

//! A stream's newest keyframe as a file of its own: what a list of streams shows of it.

use headwater_cmaf::{ChunkSample, ChunkWriter, first_sample};
use headwater_media::Timescale;

use crate::snapshot::Snapshot;

/// How long the one picture lasts, in ticks of the video track: a second. Nothing depends on it, but it can't be 0.
const DURATION: u32 = Timescale::MPEG.hz();

/// An initialization segment and a chunk of one sample; `None` where CMAF lists no picture.
pub(crate) fn poster(snapshot: &Snapshot) -> Option<Vec<u8>> {
    let rendition = snapshot.cmaf.as_ref()?.video.as_ref()?;
    let edge = rendition.edge.iter().map(|edge| (&edge.init, edge.parts.as_slice()));
    let listed = rendition.listed.iter().rev().map(|segment| (&segment.init, segment.parts.as_slice()));
    let (init, part) = edge
        .chain(listed)
        .find_map(|(init, parts)| Some((init, parts.iter().rev().find(|part| part.independent)?)))?;
    let sample = ChunkSample {
        duration: DURATION,
        composition_time_offset: 0,
        sync: true,
        disposable: false,
        data: first_sample(&part.payload)?,
    };
    let mut file = init.bytes.to_vec();
    ChunkWriter::new().write(&mut file, 0, &[sample]).ok()?;
    Some(file)
}

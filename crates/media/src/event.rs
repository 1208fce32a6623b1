//! What flows from a demuxer to the packager.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::{MediaTime, TrackConfig, TrackKind};

/// A track of one publication: its kind and its number within the kind (Enhanced RTMP's track id; 0 is the default track).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId {
    /// Video or audio.
    pub kind: TrackKind,
    /// Number within the kind.
    pub index: u8,
}

impl TrackId {
    /// The default video track.
    pub const VIDEO: TrackId = TrackId { kind: TrackKind::Video, index: 0 };
    /// The default audio track.
    pub const AUDIO: TrackId = TrackId { kind: TrackKind::Audio, index: 0 };
}

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, self.index)
    }
}

/// One access unit of video or one frame of audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The track it belongs to.
    pub track: TrackId,
    /// Decode time. From a demuxer: the container's own stamp and scale; from the packager's timeline: the media clock.
    pub dts: MediaTime,
    /// Composition time offset, PTS - DTS, in ticks of `dts`'s scale. Signed; 0 for audio.
    pub cts_offset: i32,
    /// True when decoding can start here (H.264: the access unit is an IDR picture). Always true for audio.
    pub sync: bool,
    /// NAL units, each behind [`crate::NAL_LENGTH_SIZE`] bytes of length, or one raw audio frame.
    pub data: Bytes,
}

impl Sample {
    /// Presentation time, DTS + composition time offset.
    pub fn pts(&self) -> MediaTime {
        self.dts.offset_by(i64::from(self.cts_offset))
    }
}

/// Data that belongs to the stream but to no track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The container's stamp.
    pub time: MediaTime,
    /// The name of the data message, e.g. `onMetaData`.
    pub name: String,
    /// The message as AMF0 values, the name included, without a `@setDataFrame` in front.
    pub amf0: Bytes,
}

/// Why a stream of events broke or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The publisher said it is done (FCUnpublish, deleteStream, closeStream).
    Clean,
    /// The connection was lost or closed without a word.
    Lost,
    /// Another publisher took the name over.
    Takeover,
    /// The server ended it (shutdown, operator, limit).
    Server,
    /// The encoder announced the end of a coded sequence; the publication goes on.
    EndOfSequence,
}

/// One step of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A track's configuration: the first, or a repetition, or a change.
    Config(TrackId, Arc<TrackConfig>),
    /// Media.
    Sample(Sample),
    /// Data beside the media.
    Data(Metadata),
    /// The samples that follow do not continue the ones before.
    Discontinuity(Cause),
    /// No more will come.
    End(Cause),
}

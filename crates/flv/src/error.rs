//! What can be wrong with a message: either the publication is refused, or the message is skipped.

use headwater_media::TrackKind;

use crate::TagKind;

/// Why a message yielded nothing. [`Error::is_fatal`] tells the two ways to go on apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The publisher sends a coding that is not carried here. Fatal: say so and end the publication.
    #[error("{kind} codec {codec} is not supported")]
    UnsupportedCodec {
        /// The track's kind.
        kind: TrackKind,
        /// A name for people, e.g. `HEVC (hvc1) by Enhanced RTMP`; printable ASCII.
        codec: String,
    },
    /// Several unusable configurations in a row. Fatal: nothing from this encoder will decode.
    #[error("{attempts} unusable {kind} configurations in a row, the last one: {source}")]
    ConfigRejected {
        /// The track's kind.
        kind: TrackKind,
        /// How many in a row.
        attempts: u32,
        /// What was wrong with the last one.
        source: headwater_codec::Error,
    },
    /// An unusable configuration. Counted and skipped; an earlier configuration stays in force.
    #[error("unusable {kind} configuration: {source}")]
    BadConfig {
        /// The track's kind.
        kind: TrackKind,
        /// What was wrong with it.
        source: headwater_codec::Error,
    },
    /// A message that is cut short or contradicts itself. Counted and skipped.
    #[error("bad {kind} tag: {source}")]
    BadTag {
        /// The tag's kind.
        kind: TagKind,
        /// The field that failed.
        source: headwater_codec::Error,
    },
}

impl Error {
    /// True when the publication cannot go on; otherwise only this message is lost.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Error::UnsupportedCodec { .. } | Error::ConfigRejected { .. })
    }
}

//! What a connection reports to its caller.

use std::fmt;

use bytes::Bytes;

use crate::{Connect, MessageKind, NameError, StreamTarget};

/// Something happened that the caller must know of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// `connect` came and was answered with success.
    Connected(Box<Connect>),
    /// `publish`: waits for [`crate::ServerConnection::accept_publish`] or [`crate::ServerConnection::reject_publish`].
    Publish(PublishRequest),
    /// `play`: waits for [`crate::ServerConnection::accept_play`] or [`crate::ServerConnection::reject_play`].
    Play(PlayRequest),
    /// The peer wants no more of what it plays, or asked to play.
    Stop {
        /// Message stream.
        stream_id: u32,
    },
    /// A `publish` or `play` that was refused here and answered; flush and close.
    Refused {
        /// Message stream.
        stream_id: u32,
        /// Why.
        refusal: Refusal,
    },
    /// Audio, video or data of an accepted publication.
    Media(MediaMessage),
    /// The peer ended a publication. Comes once for each, and also for one that was never accepted.
    Unpublish {
        /// Message stream.
        stream_id: u32,
        /// How.
        cause: UnpublishCause,
    },
}

/// A request to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishRequest {
    /// Message stream.
    pub stream_id: u32,
    /// What to publish to.
    pub target: StreamTarget,
}

/// A request to play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayRequest {
    /// Message stream.
    pub stream_id: u32,
    /// What to play.
    pub target: StreamTarget,
}

/// Why a request was refused before anyone was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The address names no stream.
    #[error(transparent)]
    Name(#[from] NameError),
    /// On a message stream that `createStream` did not make.
    #[error("publish or play on a message stream that createStream did not make")]
    NoSuchStream,
    /// The message stream is publishing or playing already.
    #[error("this message stream publishes or plays already")]
    Busy,
}

/// One message of a publication. `Debug` prints the payload's length only.
#[derive(Clone, PartialEq, Eq)]
pub struct MediaMessage {
    /// Audio, video or data.
    pub kind: MessageKind,
    /// Message stream.
    pub stream_id: u32,
    /// Milliseconds modulo 2^32, any origin.
    pub timestamp: u32,
    /// The body, never empty. Audio and video may share the read buffer: copy what is kept for long.
    pub payload: Bytes,
}

impl fmt::Debug for MediaMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MediaMessage { kind, stream_id, timestamp, payload } = self;
        write!(f, "{kind:?} {{ stream {stream_id}, {timestamp} ms, {} bytes }}", payload.len())
    }
}

/// How a publisher said that it is done; each of them is a clean end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnpublishCause {
    /// `FCUnpublish`.
    FcUnpublish,
    /// `closeStream`, or `publish` of `false`.
    CloseStream,
    /// `deleteStream`.
    DeleteStream,
}

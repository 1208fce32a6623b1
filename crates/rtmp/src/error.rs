//! Why a connection is over, and what was tolerated while it lived.

use std::fmt;

/// What a connection was waiting for when its time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// C0, C1 and C2.
    Handshake,
    /// The `connect` command.
    Connect,
    /// `publish` or `play`.
    Publish,
    /// Any byte at all.
    Traffic,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Handshake => "handshake",
            Phase::Connect => "connect",
            Phase::Publish => "publish or play",
            Phase::Traffic => "traffic",
        })
    }
}

/// The three ways to lose a connection; one counter each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A limit of [`crate::Limits`] was reached.
    Limit,
    /// A deadline passed.
    Timeout,
    /// The bytes are not RTMP.
    Protocol,
}

/// The connection cannot go on: flush what [`crate::ServerConnection::take_output`] holds and close.
///
/// `offset` counts the bytes received since the start of the connection, the handshake included, up to the
/// chunk at fault. No variant carries a name, key or query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// C0 is not 3. RTMPE says 6 or 8; 'G' (71) and 22 are HTTP and TLS on the wrong port.
    #[error("C0 says RTMP version {version}, not 3")]
    Version {
        /// C0.
        version: u8,
    },
    /// A deadline passed.
    #[error("no {0} in time")]
    Timeout(Phase),
    /// A chunk stream's first header depends on one that never came (RTMP 1.0 5.3.1.2).
    #[error("byte {offset}: chunk stream {csid} begins with a type {fmt} header")]
    MissingHeader {
        /// Bytes before the chunk.
        offset: u64,
        /// Chunk stream.
        csid: u32,
        /// Chunk type, 1 to 3.
        fmt: u8,
    },
    /// Set Chunk Size outside 1 to [`crate::limits::CHUNK_SIZE_MAX`].
    #[error("byte {offset}: chunk size {size}")]
    ChunkSize {
        /// Bytes before the end of the message.
        offset: u64,
        /// What was asked for, bytes.
        size: u32,
    },
    /// More Set Chunk Size messages than [`crate::Limits::chunk_size_changes_max`].
    #[error("byte {offset}: more than {max} changes of the chunk size")]
    ChunkSizeChanges {
        /// Bytes before the end of the message.
        offset: u64,
        /// The limit.
        max: u32,
    },
    /// A header announced a message longer than its type may be.
    #[error("byte {offset}: chunk stream {csid}: message type {type_id} of {length} bytes, limit {max}")]
    MessageLength {
        /// Bytes before the chunk.
        offset: u64,
        /// Chunk stream.
        csid: u32,
        /// Message type id.
        type_id: u8,
        /// Announced length, bytes.
        length: u32,
        /// The limit, bytes.
        max: u32,
    },
    /// One chunk stream more than [`crate::Limits::chunk_streams_max`].
    #[error("byte {offset}: chunk stream {csid} is one more than {max}")]
    ChunkStreams {
        /// Bytes before the chunk.
        offset: u64,
        /// Chunk stream.
        csid: u32,
        /// The limit.
        max: usize,
    },
    /// Unfinished messages need more than [`crate::Limits::partial_bytes_max`], or, before a publication,
    /// [`crate::Limits::partial_bytes_before_publish_max`].
    #[error("byte {offset}: chunk stream {csid}: unfinished messages hold more than {max} bytes")]
    PartialBytes {
        /// Bytes before the payload at fault.
        offset: u64,
        /// Chunk stream.
        csid: u32,
        /// The limit, bytes.
        max: usize,
    },
    /// More bytes than [`crate::Limits::bytes_before_publish_max`], and still nothing is published.
    #[error("more than {max} bytes before a publication")]
    BytesBeforePublish {
        /// The limit, bytes.
        max: u64,
    },
    /// More abandoned messages than [`crate::Limits::discarded_partials_max`].
    #[error("byte {offset}: chunk stream {csid}: more than {max} messages given up midway")]
    DiscardedPartials {
        /// Bytes before the chunk.
        offset: u64,
        /// Chunk stream.
        csid: u32,
        /// The limit.
        max: u32,
    },
    /// More commands in a second than [`crate::Limits::commands_per_second_max`].
    #[error("more than {max} commands in a second")]
    CommandRate {
        /// The limit.
        max: u32,
    },
    /// A command other than `connect` came first.
    #[error("a command before connect")]
    CommandBeforeConnect,
    /// Replies pile up beyond [`crate::Limits::output_bytes_max`].
    #[error("more than {max} bytes of replies wait to be sent")]
    OutputFull {
        /// The limit, bytes.
        max: usize,
    },
    /// An aggregate message inside an aggregate message.
    #[error("an aggregate within an aggregate")]
    NestedAggregate,
    /// More messages in an aggregate than [`crate::Limits::aggregate_messages_max`].
    #[error("more than {max} messages in an aggregate")]
    AggregateMessages {
        /// The limit.
        max: usize,
    },
    /// The connection had already failed; it takes no more input.
    #[error("the connection is over")]
    Closed,
}

impl Error {
    /// Limit, timeout or protocol error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::ChunkSizeChanges { .. }
            | Error::MessageLength { .. }
            | Error::ChunkStreams { .. }
            | Error::PartialBytes { .. }
            | Error::BytesBeforePublish { .. }
            | Error::DiscardedPartials { .. }
            | Error::CommandRate { .. }
            | Error::OutputFull { .. }
            | Error::AggregateMessages { .. } => ErrorKind::Limit,
            Error::Timeout(_) => ErrorKind::Timeout,
            Error::Version { .. }
            | Error::MissingHeader { .. }
            | Error::ChunkSize { .. }
            | Error::CommandBeforeConnect
            | Error::NestedAggregate
            | Error::Closed => ErrorKind::Protocol,
        }
    }

    /// Whether a limit of [`crate::Limits`] was reached.
    pub fn is_limit(&self) -> bool {
        self.kind() == ErrorKind::Limit
    }
}

/// Oddities that were tolerated, and the traffic they are to be compared with. Monotonic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Bytes consumed, the handshake included.
    pub bytes_received: u64,
    /// Messages completed, control messages included.
    pub messages: u64,
    /// Unfinished messages given up because a new header came on their chunk stream.
    pub discarded_partials: u64,
    /// Unfinished messages dropped because the peer said so (Abort).
    pub aborted_partials: u64,
    /// Type 3 chunks that began a message after a type 0 and were given no time step (see [`crate::chunk`]).
    pub zero_step_decisions: u64,
    /// Continuation chunks that omitted the extended timestamp.
    pub extended_timestamps_omitted: u64,
    /// Messages of a type nothing is done with.
    pub unknown_messages: u64,
    /// Control and user control messages cut short or of an unknown kind.
    pub ignored_controls: u64,
    /// Messages whose AMF values could not be read, or whose first value is no command name.
    pub bad_amf: u64,
    /// Commands nobody here knows.
    pub unknown_commands: u64,
    /// Audio, video and data without any payload.
    pub empty_messages: u64,
    /// Audio, video and data on a message stream that publishes nothing, or before it was accepted.
    pub stray_media: u64,
    /// Aggregates whose end was cut off or held a type that cannot be in one.
    pub bad_aggregates: u64,
}

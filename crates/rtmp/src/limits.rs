//! Every limit of one connection, each with the reason for its number (standards: hostile input).

use std::time::Duration;

/// C0 to C2 take three round trips at most; 10 s is ten times a satellite link's worst.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Encoders send `connect` in the same packet as C2; 10 s again covers the slowest link.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// `createStream` and `publish` follow `connect` within two round trips.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(10);
/// A publisher sends many packets a second; half a minute without one deserves a question.
pub const PING_AFTER: Duration = Duration::from_secs(30);
/// Twice [`PING_AFTER`]: the question had as much time for its answer.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// A 4K intra frame at 50 Mbit/s with ten-second GOPs stays below 10 MiB.
pub const MEDIA_MESSAGE_BYTES_MAX: u32 = 10 << 20;
/// `onMetaData` takes 1 KB; captions and cue points a few more.
pub const DATA_MESSAGE_BYTES_MAX: u32 = 256 << 10;
/// A `connect` with capability maps takes 2 KB.
pub const COMMAND_MESSAGE_BYTES_MAX: u32 = 64 << 10;
/// Control messages take 4 to 10 bytes; SWF verification, the largest user control, 44.
pub const CONTROL_MESSAGE_BYTES_MAX: u32 = 1 << 10;
/// Encoders use two to six chunk streams.
pub const CHUNK_STREAMS_MAX: usize = 64;
/// One message of the greatest length, and room for the others that interleave with it.
pub const PARTIAL_BYTES_MAX: usize = 16 << 20;
/// The same before a publication was accepted: a stranger needs room for commands and metadata of the greatest length and
/// what comes with them in one read, no media. A thousand strangers hold 1 GiB then, not 16.
pub const PARTIAL_BYTES_BEFORE_PUBLISH_MAX: usize = 1 << 20;
/// All bytes before a publication was accepted: handshake, commands and metadata take some 10 KB, and who sends media too early
/// has not been heard yet. Time is bounded too, but a fast line carries much in it.
pub const BYTES_BEFORE_PUBLISH_MAX: u64 = 4 << 20;
/// No message is longer than its 24-bit length field can say, so no chunk needs to be (RTMP 1.0 5.4.1).
pub const CHUNK_SIZE_MAX: u32 = 0x00FF_FFFF;
/// Encoders announce their chunk size once.
pub const CHUNK_SIZE_CHANGES_MAX: u32 = 64;
/// A correct writer never abandons a message without an Abort; eight times is not an accident.
pub const DISCARDED_PARTIALS_MAX: u32 = 8;
/// A publisher needs six commands to begin and two to end.
pub const COMMANDS_PER_SECOND_MAX: u32 = 50;
/// One per publication; FMLE's multi-bitrate mode creates three.
pub const STREAMS_MAX: usize = 16;
/// Replies not yet taken by the caller: four times what a full read of 64 KiB can provoke in honest traffic.
pub const OUTPUT_BYTES_MAX: usize = 256 << 10;
/// An aggregate holds some seconds of small messages; FMLE's hold fewer than fifty.
pub const AGGREGATE_MESSAGES_MAX: usize = 1024;
/// Nesting of AMF values; metadata nests three deep.
pub const AMF_DEPTH_MAX: usize = 16;
/// Values in one AMF message; the longest metadata seen has about a hundred.
pub const AMF_VALUES_MAX: usize = 1_000;
/// Bytes of one property name.
pub const AMF_KEY_BYTES_MAX: usize = 256;
/// Bytes of one string: what its short form can carry, and as much as a command message.
pub const AMF_STRING_BYTES_MAX: usize = 64 << 10;
/// Bytes of an app part or a stream name.
pub const NAME_BYTES_MAX: usize = 128;

/// The limits of one connection. [`Limits::default`] takes every number from the constants of this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the start to the last byte of C2.
    pub handshake_timeout: Duration,
    /// From the end of the handshake to `connect`.
    pub connect_timeout: Duration,
    /// From `connect`, or the end of the last publication, to `publish` or `play`.
    pub publish_timeout: Duration,
    /// Silence after which a PingRequest is sent.
    pub ping_after: Duration,
    /// Silence after which the connection is over.
    pub silence_timeout: Duration,
    /// Bytes of one audio, video or aggregate message.
    pub media_message_bytes_max: u32,
    /// Bytes of one data message.
    pub data_message_bytes_max: u32,
    /// Bytes of one command message.
    pub command_message_bytes_max: u32,
    /// Chunk streams with state at a time.
    pub chunk_streams_max: usize,
    /// Bytes allocated for messages not yet complete, over all chunk streams.
    pub partial_bytes_max: usize,
    /// The same until the first publication is accepted.
    pub partial_bytes_before_publish_max: usize,
    /// Bytes received in all until the first publication is accepted.
    pub bytes_before_publish_max: u64,
    /// Set Chunk Size messages over the connection's life.
    pub chunk_size_changes_max: u32,
    /// Partial messages given up for a new header over the connection's life.
    pub discarded_partials_max: u32,
    /// Commands in one second, counted from the first after the last second was over.
    pub commands_per_second_max: u32,
    /// Message streams (`createStream`) in existence at a time; one more gets `_error`.
    pub streams_max: usize,
    /// Bytes of replies waiting for [`crate::ServerConnection::take_output`].
    pub output_bytes_max: usize,
    /// Messages in one aggregate.
    pub aggregate_messages_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            handshake_timeout: HANDSHAKE_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            publish_timeout: PUBLISH_TIMEOUT,
            ping_after: PING_AFTER,
            silence_timeout: SILENCE_TIMEOUT,
            media_message_bytes_max: MEDIA_MESSAGE_BYTES_MAX,
            data_message_bytes_max: DATA_MESSAGE_BYTES_MAX,
            command_message_bytes_max: COMMAND_MESSAGE_BYTES_MAX,
            chunk_streams_max: CHUNK_STREAMS_MAX,
            partial_bytes_max: PARTIAL_BYTES_MAX,
            partial_bytes_before_publish_max: PARTIAL_BYTES_BEFORE_PUBLISH_MAX,
            bytes_before_publish_max: BYTES_BEFORE_PUBLISH_MAX,
            chunk_size_changes_max: CHUNK_SIZE_CHANGES_MAX,
            discarded_partials_max: DISCARDED_PARTIALS_MAX,
            commands_per_second_max: COMMANDS_PER_SECOND_MAX,
            streams_max: STREAMS_MAX,
            output_bytes_max: OUTPUT_BYTES_MAX,
            aggregate_messages_max: AGGREGATE_MESSAGES_MAX,
        }
    }
}

//! Messages: type ids (RTMP 1.0 5.4, 6.2, 7.1), and the fixed-size bodies of control messages.

use std::fmt;

use bytes::Bytes;

/// Message type ids.
pub mod type_id {
    /// Set Chunk Size.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort Message.
    pub const ABORT: u8 = 2;
    /// Acknowledgement.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User Control.
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size.
    pub const WINDOW_ACKNOWLEDGEMENT_SIZE: u8 = 5;
    /// Set Peer Bandwidth.
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    /// Audio.
    pub const AUDIO: u8 = 8;
    /// Video.
    pub const VIDEO: u8 = 9;
    /// Data, AMF3 wrapper.
    pub const DATA_AMF3: u8 = 15;
    /// Command, AMF3 wrapper.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data, AMF0.
    pub const DATA_AMF0: u8 = 18;
    /// Command, AMF0.
    pub const COMMAND_AMF0: u8 = 20;
    /// Aggregate.
    pub const AGGREGATE: u8 = 22;
}

/// User control event types (RTMP 1.0 7.1.7).
pub mod event_type {
    /// StreamBegin(stream id).
    pub const STREAM_BEGIN: u16 = 0;
    /// StreamEOF(stream id).
    pub const STREAM_EOF: u16 = 1;
    /// SetBufferLength(stream id, ms).
    pub const SET_BUFFER_LENGTH: u16 = 3;
    /// PingRequest(ms).
    pub const PING_REQUEST: u16 = 6;
    /// PingResponse(the request's ms).
    pub const PING_RESPONSE: u16 = 7;
}

/// One message, as reassembled from chunks. `Debug` prints the payload's length only: commands carry keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Chunk stream it came on; says nothing about its type.
    pub csid: u32,
    /// Milliseconds modulo 2^32.
    pub timestamp: u32,
    /// See [`type_id`].
    pub type_id: u8,
    /// Message stream id; 0 is the connection itself.
    pub stream_id: u32,
    /// The body.
    pub payload: Bytes,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { csid, timestamp, type_id, stream_id, payload } = self;
        let bytes = payload.len();
        write!(
            f,
            "Message {{ csid {csid}, {timestamp} ms, type {type_id}, stream {stream_id}, {bytes} bytes }}"
        )
    }
}

/// What a message type id means to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Control,
    Command,
    Data,
    Media,
    /// Skipped without being stored: shared objects, and ids that nobody assigned.
    Unknown,
}

impl Class {
    pub(crate) fn of(type_id: u8) -> Class {
        match type_id {
            1..=6 => Class::Control,
            type_id::AUDIO | type_id::VIDEO | type_id::AGGREGATE => Class::Media,
            type_id::DATA_AMF3 | type_id::DATA_AMF0 => Class::Data,
            type_id::COMMAND_AMF3 | type_id::COMMAND_AMF0 => Class::Command,
            _ => Class::Unknown,
        }
    }
}

/// Audio, video or data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// FLV audio tag body.
    Audio,
    /// FLV video tag body; its time is a decoding time.
    Video,
    /// AMF0 values, first the name; `@setDataFrame` is still in front, the AMF3 wrapper's selector byte is not.
    Data,
}

/// The u32 at the front of a control message's body, and what follows it.
pub(crate) fn split_u32(payload: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = payload.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*head), rest))
}

/// The event type at the front of a user control message's body, and its data.
pub(crate) fn split_event(payload: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = payload.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*head), rest))
}

/// The body of a user control message with one 32-bit argument.
pub(crate) fn user_control(event_type: u16, argument: u32) -> [u8; 6] {
    let [a, b] = event_type.to_be_bytes();
    let [c, d, e, f] = argument.to_be_bytes();
    [a, b, c, d, e, f]
}

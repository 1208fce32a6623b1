//! Aggregate messages: several audio, video and data messages as FLV tags in one (RTMP 1.0 7.1.6). FMLE sends them.

use bytes::{Buf, Bytes};

use crate::message::{Message, type_id};

/// Bytes before the body of each message: type, size, time, message stream id, as in an FLV tag header.
const HEADER_BYTES: usize = 11;
/// Bytes behind it: the back pointer.
const BACK_POINTER_BYTES: usize = 4;

/// Iterates over the messages of an aggregate; bodies are slices of its payload.
///
/// Times are rebased: the first message gets the aggregate's own timestamp, the others keep their distance to it.
/// The message stream id is the aggregate's; the ones inside are ignored.
#[derive(Debug, Clone)]
pub struct Aggregate {
    message: Message,
    first_timestamp: Option<u32>,
    truncated: bool,
}

impl Aggregate {
    /// The messages within `message`, whose type id is not looked at.
    pub fn new(message: Message) -> Aggregate {
        Aggregate { message, first_timestamp: None, truncated: false }
    }

    /// Whether the iteration stopped before the end of the payload because the rest is not a whole message.
    /// A missing last back pointer is not counted as such.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    fn header(&self) -> Option<(u8, usize, u32)> {
        let header = self.message.payload.first_chunk::<HEADER_BYTES>()?;
        let [type_id, s0, s1, s2, t0, t1, t2, t_ext, ..] = *header;
        let size = usize::try_from(u32::from_be_bytes([0, s0, s1, s2])).ok()?;
        // The time's upper eight bits come last, as in FLV.
        Some((type_id, size, u32::from_be_bytes([t_ext, t0, t1, t2])))
    }
}

impl Iterator for Aggregate {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        if self.message.payload.is_empty() {
            return None;
        }
        let rest = self.message.payload.len().saturating_sub(HEADER_BYTES);
        let Some((type_id, size, timestamp)) = self.header().filter(|(_, size, _)| *size <= rest) else {
            self.truncated = true;
            self.message.payload = Bytes::new();
            return None;
        };
        self.message.payload.advance(HEADER_BYTES);
        let payload = self.message.payload.split_to(size);
        let back_pointer = BACK_POINTER_BYTES.min(self.message.payload.len());
        self.message.payload.advance(back_pointer);
        let first = *self.first_timestamp.get_or_insert(timestamp);
        Some(Message {
            csid: self.message.csid,
            timestamp: self.message.timestamp.wrapping_add(timestamp.wrapping_sub(first)),
            type_id,
            stream_id: self.message.stream_id,
            payload,
        })
    }
}

/// Whether a type may stand in an aggregate. Another aggregate may not.
pub(crate) fn may_contain(type_id: u8) -> bool {
    matches!(type_id, type_id::AUDIO | type_id::VIDEO | type_id::DATA_AMF0 | type_id::DATA_AMF3)
}

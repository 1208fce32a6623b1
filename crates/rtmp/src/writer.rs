//! The chunk stream, writing side: messages in, chunks out, in the shortest headers every reader understands alike.

use bytes::{BufMut, BytesMut};

use crate::chunk::{CHUNK_SIZE_INITIAL, CSID_CONTROL, EXTENDED};
use crate::limits::CHUNK_SIZE_MAX;
use crate::message::type_id;

/// What the reader remembers of a chunk stream.
#[derive(Debug, Clone, Copy)]
struct Previous {
    csid: u32,
    timestamp: u32,
    /// What a type 3 chunk would repeat; `None` after a type 0 with a time other than 0, which readers disagree on.
    step: Option<u32>,
    length: usize,
    type_id: u8,
    stream_id: u32,
}

/// Writes messages as chunks (RTMP 1.0 5.3.1).
///
/// Type 0 begins a chunk stream, changes its message stream and goes back in time; types 1 to 3 say the rest as
/// shortly as it can be said. Type 3 never begins a message right after a type 0 with a time other than 0: half of
/// all readers take that time as a step, the others don't.
#[derive(Debug)]
pub struct ChunkWriter {
    chunk_size: usize,
    previous: Vec<Previous>,
}

impl Default for ChunkWriter {
    fn default() -> ChunkWriter {
        ChunkWriter::new()
    }
}

impl ChunkWriter {
    /// A writer with the initial chunk size, 128.
    pub fn new() -> ChunkWriter {
        ChunkWriter { chunk_size: usize::try_from(CHUNK_SIZE_INITIAL).unwrap_or(128), previous: Vec::new() }
    }

    /// Appends a Set Chunk Size message and writes by it from then on. `size` is clamped to 1 to 16,777,215.
    pub fn set_chunk_size(&mut self, size: u32, out: &mut BytesMut) {
        let size = size.clamp(1, CHUNK_SIZE_MAX);
        self.write(out, CSID_CONTROL, 0, type_id::SET_CHUNK_SIZE, 0, &size.to_be_bytes());
        self.chunk_size = usize::try_from(size).unwrap_or(usize::MAX);
    }

    /// Appends one message of chunk stream `csid` (2 to 65,599, clamped), time in ms modulo 2^32. A `payload`
    /// beyond 16,777,215 bytes is cut there: the length field has 24 bits.
    pub fn write(
        &mut self,
        out: &mut BytesMut,
        csid: u32,
        timestamp: u32,
        type_id: u8,
        stream_id: u32,
        payload: &[u8],
    ) {
        let csid = csid.clamp(2, 65_599);
        let payload = payload.get(..usize::try_from(CHUNK_SIZE_MAX).unwrap_or(usize::MAX)).unwrap_or(payload);
        let length = payload.len();
        let found = self.previous.iter().position(|previous| previous.csid == csid);
        let previous = found.and_then(|index| self.previous.get(index)).copied();
        let step = previous.map_or(0, |previous| timestamp.wrapping_sub(previous.timestamp));
        let fmt = match previous {
            // A step of half the range or more is a step back; one that needs extending is rare enough for type 0.
            Some(previous) if previous.stream_id == stream_id && step < EXTENDED => {
                if previous.length != length || previous.type_id != type_id {
                    1
                } else if previous.step == Some(step) {
                    3
                } else {
                    2
                }
            }
            _ => 0,
        };
        let field = if fmt == 0 { timestamp } else { step };
        let extended = (fmt != 3 && field >= EXTENDED).then_some(field);
        let length_field = u32::try_from(length).unwrap_or(CHUNK_SIZE_MAX);

        out.reserve(length + length / self.chunk_size * 7 + 18);
        put_basic_header(out, fmt, csid);
        if fmt <= 2 {
            out.put_uint(u64::from(field.min(EXTENDED)), 3);
        }
        if fmt <= 1 {
            out.put_uint(u64::from(length_field), 3);
            out.put_u8(type_id);
        }
        if fmt == 0 {
            out.put_u32_le(stream_id);
        }
        if let Some(time) = extended {
            out.put_u32(time);
        }
        for (index, piece) in payload.chunks(self.chunk_size).enumerate() {
            if index > 0 {
                put_basic_header(out, 3, csid);
                // RTMP 1.0 5.3.1.3: repeated in every continuation.
                if let Some(time) = extended {
                    out.put_u32(time);
                }
            }
            out.put_slice(piece);
        }

        let step = match fmt {
            0 => (timestamp == 0).then_some(0),
            _ => Some(step),
        };
        let now = Previous { csid, timestamp, step, length, type_id, stream_id };
        match found.and_then(|index| self.previous.get_mut(index)) {
            Some(previous) => *previous = now,
            None => self.previous.push(now),
        }
    }
}

fn put_basic_header(out: &mut BytesMut, fmt: u8, csid: u32) {
    let fmt = fmt << 6;
    match csid {
        0..=63 => out.put_u8(fmt | csid as u8),
        64..=319 => {
            out.put_u8(fmt);
            out.put_u8((csid - 64) as u8);
        }
        _ => {
            out.put_u8(fmt | 1);
            out.put_u16_le((csid - 64) as u16);
        }
    }
}

//! Media to players: messages as chunks that any player's connection can be given, so that they are made once for all of them.
//!
//! Every message begins with a type 0 header, which depends on nothing that was sent before. Chunk streams are those of no
//! answer: [`crate::ServerConnection`] remembers what it wrote on its own.

use bytes::{BufMut, Bytes, BytesMut};

use crate::MessageKind;
use crate::chunk::EXTENDED;
use crate::limits::CHUNK_SIZE_MAX;
use crate::message::type_id;

/// Our chunk size, announced in answer to `connect`. Replies fit one chunk, media to players nearly always.
pub(crate) const CHUNK_SIZE: u32 = 60_000;

/// The message stream that the first `createStream` of a connection makes: nearly every player plays on it.
pub const STREAM_ID_USUAL: u32 = 1;

/// Where a message's type 0 header has its message stream id.
const STREAM_ID_AT: std::ops::Range<usize> = 8..12;

/// Chunk streams, as ffmpeg's publisher has them for audio and video; status messages have 5.
const CSID_AUDIO: u8 = 4;
const CSID_VIDEO: u8 = 6;
const CSID_DATA: u8 = 7;

/// One message for a player, in chunks of the size that every connection of this server has. `body` comes in pieces; what passes
/// 16,777,215 bytes is cut: the length field has 24 bits.
pub fn message(stream_id: u32, kind: MessageKind, timestamp_ms: u32, body: &[&[u8]]) -> Bytes {
    let chunk_size = usize::try_from(CHUNK_SIZE).unwrap_or(usize::MAX);
    let length_max = usize::try_from(CHUNK_SIZE_MAX).unwrap_or(usize::MAX);
    let length = body.iter().fold(0_usize, |sum, piece| sum.saturating_add(piece.len())).min(length_max);
    let (csid, type_id) = match kind {
        MessageKind::Audio => (CSID_AUDIO, type_id::AUDIO),
        MessageKind::Video => (CSID_VIDEO, type_id::VIDEO),
        MessageKind::Data => (CSID_DATA, type_id::DATA_AMF0),
    };
    let extended = (timestamp_ms >= EXTENDED).then_some(timestamp_ms);

    let mut out =
        BytesMut::with_capacity(16_usize.saturating_add(length).saturating_add(length / chunk_size * 5));
    out.put_u8(csid);
    out.put_uint(u64::from(timestamp_ms.min(EXTENDED)), 3);
    out.put_uint(length as u64, 3);
    out.put_u8(type_id);
    out.put_u32_le(stream_id);
    if let Some(time) = extended {
        out.put_u32(time);
    }
    let (mut left, mut room) = (length, chunk_size);
    for piece in body {
        let mut rest = piece.get(..piece.len().min(left)).unwrap_or(piece);
        left = left.saturating_sub(rest.len());
        while !rest.is_empty() {
            if room == 0 {
                out.put_u8(3 << 6 | csid);
                // RTMP 1.0 5.3.1.3: repeated in every continuation.
                if let Some(time) = extended {
                    out.put_u32(time);
                }
                room = chunk_size;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            out.put_slice(now);
            room = room.saturating_sub(now.len());
            rest = later;
        }
    }
    out.freeze()
}

/// The message that [`message`] made, for another message stream.
#[must_use]
pub fn readdressed(message: &Bytes, stream_id: u32) -> Bytes {
    let mut copy = BytesMut::from(&message[..]);
    if let Some(field) = copy.get_mut(STREAM_ID_AT) {
        field.copy_from_slice(&stream_id.to_le_bytes());
    }
    copy.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChunkReader, ChunkWriter, Limits};

    /// What a reader makes of messages behind the answers that a server gives first.
    fn read(messages: &[Bytes]) -> Vec<(u32, u8, u32, Bytes)> {
        let mut wire = BytesMut::new();
        ChunkWriter::new().set_chunk_size(CHUNK_SIZE, &mut wire);
        for message in messages {
            wire.extend_from_slice(message);
        }
        let mut reader = ChunkReader::new(Limits::default());
        let mut seen = Vec::new();
        while let Some(message) = reader.read(&mut wire).unwrap() {
            if message.type_id != type_id::SET_CHUNK_SIZE {
                seen.push((message.timestamp, message.type_id, message.stream_id, message.payload));
            }
        }
        assert!(wire.is_empty());
        seen
    }

    #[test]
    fn a_message_by_the_byte() {
        let bytes = message(1, MessageKind::Video, 0x0001_0203, &[&[0x17, 1], &[], &[9]]);
        assert_eq!(&bytes[..], [6, 1, 2, 3, 0, 0, 3, 9, 1, 0, 0, 0, 0x17, 1, 9]);
        let late = message(1, MessageKind::Audio, 0x0100_0000, &[&[0xaf]]);
        assert_eq!(&late[..], [4, 0xff, 0xff, 0xff, 0, 0, 1, 8, 1, 0, 0, 0, 1, 0, 0, 0, 0xaf]);
    }

    #[test]
    fn messages_of_any_length_are_read_back() {
        for length in [0_usize, 1, 59_999, 60_000, 60_001, 120_000, 120_001, 200_000] {
            let body: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            for stamp in [0, 5, 0x00ff_fffe, 0x00ff_ffff, 0x0100_0000, u32::MAX] {
                for at in [0, 5, length / 2, length] {
                    let (front, back) = body.split_at(at.min(length));
                    let one = message(1, MessageKind::Video, stamp, &[front, back]);
                    let two = readdressed(&message(1, MessageKind::Audio, stamp, &[&body]), 7);
                    let seen = read(&[one.clone(), two, one]);
                    let body = Bytes::from(body.clone());
                    let video = (stamp, type_id::VIDEO, 1, body.clone());
                    assert_eq!(
                        seen,
                        [video.clone(), (stamp, type_id::AUDIO, 7, body), video],
                        "{length} at {stamp}"
                    );
                }
            }
        }
    }
}

//! Fuzz bodies: every one asserts more than "no crash". The targets in `crates/fuzz` call them with whatever libFuzzer
//! finds; ordinary tests call them with the seeds in `crates/fuzz/seeds/NAME/` and every truncation of those.
#![allow(clippy::indexing_slicing, reason = "what a fuzz body finds, it tells by a panic")]

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::amf0::{self, Value};
use crate::chunk::HEADER_BYTES_MAX;
use crate::handshake::{Handshake, PACKET_BYTES};
use crate::message::{Message, type_id};
use crate::{
    Aggregate, ChunkReader, ChunkWriter, Command, Counters, Error, Limits, ServerConnection, ServerEvent,
};

/// Sizes of pieces that depend on nothing but `seed`: 1 to 64, or now and then some thousand.
fn pieces(data: &[u8], mut seed: u32) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = if seed >> 29 == 0 { 4_000 } else { (seed >> 20) as usize % 64 + 1 };
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The ways to cut `data` whose results must agree.
fn splits(data: &[u8]) -> [Vec<&[u8]>; 3] {
    let seed = data.iter().fold(data.len() as u32, |sum, &byte| sum.rotate_left(5) ^ u32::from(byte));
    // Whole means: as a socket reads, 64 KiB at a time.
    [data.chunks(65_536).collect(), data.chunks(1).collect(), pieces(data, seed).collect()]
}

/// Handshake: however split, the same answer; it is 3,073 bytes with S0 = 3; what follows C2 is left alone.
pub fn rtmp_handshake(data: &[u8]) {
    let results = splits(data).map(|pieces| {
        let mut handshake = Handshake::new([0x33; PACKET_BYTES - 8]);
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        let mut done = Ok(false);
        for piece in pieces {
            input.extend_from_slice(piece);
            if done == Ok(false) {
                done = handshake.read(&mut input, &mut output, 7);
            }
            assert!(done != Ok(false) || input.len() <= PACKET_BYTES);
        }
        (done, input, output)
    });
    let [(done, rest, output), ..] = &results;
    assert!(results.iter().all(|result| result == &results[0]));
    match output.as_ref() {
        [] => assert!(data.len() < 1 + PACKET_BYTES || data[0] != 3),
        [s0, packets @ ..] => {
            assert_eq!((*s0, packets.len()), (3, 2 * PACKET_BYTES));
            let (s1, s2) = packets.split_at(PACKET_BYTES);
            // Four zeros in S1: the simple kind, whose S2 is C1. A client that says four zeros always gets it.
            assert_eq!(s1[4..8] == [0; 4], s2 == &data[1..=PACKET_BYTES]);
            assert!(data[5..9] != [0; 4] || s1[4..8] == [0; 4]);
        }
    }
    match done {
        Ok(true) => assert_eq!(rest.as_ref(), &data[1 + 2 * PACKET_BYTES..]),
        Ok(false) => assert!(data.len() < 1 + 2 * PACKET_BYTES),
        Err(error) => assert_eq!(*error, Error::Version { version: data[0] }),
    }
}

fn read_chunks(pieces: &[&[u8]], limits: Limits) -> (Vec<Message>, Result<(), Error>, Counters) {
    let mut reader = ChunkReader::new(limits);
    let mut input = BytesMut::new();
    let mut messages = Vec::new();
    let mut fed = 0;
    for piece in pieces {
        input.extend_from_slice(piece);
        fed += piece.len();
        loop {
            match reader.read(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Err(error), *reader.counters()),
            }
            reader.check_invariants();
        }
        reader.check_invariants();
        assert!(input.len() <= HEADER_BYTES_MAX);
        assert_eq!(reader.counters().bytes_received as usize + input.len(), fed);
    }
    (messages, Ok(()), *reader.counters())
}

/// Chunk reader: however split, the same messages, error and counters, within the bounds of memory; and what it read
/// survives being written by [`ChunkWriter`] and read again.
pub fn rtmp_chunk(data: &[u8]) {
    let results = splits(data).map(|pieces| read_chunks(&pieces, Limits::default()));
    assert!(results[1..].iter().all(|result| result == &results[0]));
    let [(messages, ..), ..] = results;
    let (mut writer, mut written) = (ChunkWriter::new(), BytesMut::new());
    let chunk_size = u32::from(data.first().copied().unwrap_or(0)) * 16 + 1;
    writer.set_chunk_size(chunk_size, &mut written);
    for message in &messages {
        let Message { csid, timestamp, type_id, stream_id, payload } = message;
        writer.write(&mut written, *csid, *timestamp, *type_id, *stream_id, payload);
    }
    // The writer's own Set Chunk Size may need one chunk stream more.
    let limits = Limits { chunk_streams_max: Limits::default().chunk_streams_max + 1, ..Limits::default() };
    let (again, result, _) = read_chunks(&written.chunks(65_536).collect::<Vec<_>>(), limits);
    assert_eq!(result, Ok(()));
    assert_eq!(again, messages);
}

fn encode_all(values: &[Value]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for value in values {
        amf0::encode(value, &mut encoded);
    }
    encoded
}

/// AMF0: what can be decoded is the same after encoding and decoding; a prefix decodes to the same leading values.
pub fn amf0(data: &[u8]) {
    let mut reader = amf0::Reader::new(data);
    let mut values = Vec::new();
    let mut ends = Vec::new();
    while let Ok(Some(value)) = reader.read() {
        values.push(value);
        ends.push(reader.position());
        assert!(reader.position() <= data.len());
    }
    if let (Some(&end), Ok(all)) = (ends.last(), amf0::decode(data)) {
        assert_eq!((all.len(), end), (values.len(), data.len()));
    }
    let encoded = encode_all(&values);
    if let Ok(again) = amf0::decode(&encoded) {
        assert_eq!(encode_all(&again), encoded);
        assert_eq!(again.len(), values.len());
    } else {
        // Replacement characters are longer than the bytes they replace, so a string can outgrow its limit.
        assert!(encoded.windows(3).any(|window| window == "\u{FFFD}".as_bytes()));
    }
}

fn serve(pieces: &[&[u8]]) -> (Vec<ServerEvent>, Result<(), Error>, Vec<Message>) {
    let mut connection = ServerConnection::new(Limits::default(), [0x44; PACKET_BYTES - 8], Duration::ZERO);
    let mut input = BytesMut::from(&[3; 1 + 2 * PACKET_BYTES][..]);
    let mut output = BytesMut::new();
    let mut events = Vec::new();
    let mut result = connection.handle_input(&mut input, Duration::ZERO);
    for piece in pieces {
        if result.is_err() {
            break;
        }
        input.extend_from_slice(piece);
        result = connection.handle_input(&mut input, Duration::ZERO);
        while let Some(event) = connection.poll_event() {
            match &event {
                ServerEvent::Publish(request) => connection.accept_publish(request.stream_id),
                ServerEvent::Play(request) => {
                    connection.accept_play(request.stream_id);
                }
                ServerEvent::Media(message) => assert!(!message.payload.is_empty()),
                _ => {}
            }
            events.push(event);
        }
        connection.check_invariants();
        assert!(result.is_err() || input.len() <= HEADER_BYTES_MAX);
        output.extend_from_slice(&connection.take_output());
    }
    let answered = output.split_off((1 + 2 * PACKET_BYTES).min(output.len()));
    let (messages, readable, _) =
        read_chunks(&answered.chunks(65_536).collect::<Vec<_>>(), Limits::default());
    assert_eq!(readable, Ok(()));
    (events, result, messages)
}

/// Server connection after its handshake: however split, the same events and end; every answer can be read, and
/// there is at most one Unpublish for each Publish.
pub fn rtmp_server(data: &[u8]) {
    let results = splits(data).map(|pieces| serve(&pieces));
    let [(events, result, answers), rest @ ..] = &results;
    for (other_events, other_result, _) in rest {
        assert_eq!((events, result), (other_events, other_result));
    }
    for answer in answers.iter().filter(|answer| answer.type_id == type_id::COMMAND_AMF0) {
        assert!(matches!(Command::decode(&answer.payload), Ok(Some(_))));
    }
    let mut open = Vec::new();
    for event in events {
        match event {
            ServerEvent::Publish(request) => {
                assert!(!open.contains(&request.stream_id));
                open.push(request.stream_id);
            }
            ServerEvent::Unpublish { stream_id, .. } => {
                assert!(open.contains(stream_id));
                open.retain(|open| open != stream_id);
            }
            ServerEvent::Media(message) => assert!(open.contains(&message.stream_id)),
            _ => {}
        }
    }
}

/// Aggregate: headers, bodies and back pointers account for every byte up to where it stops; put together again, the
/// messages come out the same.
pub fn rtmp_aggregate(data: &[u8]) {
    let aggregate = |payload: Bytes| {
        Aggregate::new(Message {
            csid: 4,
            timestamp: 1_000,
            type_id: type_id::AGGREGATE,
            stream_id: 1,
            payload,
        })
    };
    let mut messages = aggregate(Bytes::copy_from_slice(data));
    let read: Vec<Message> = messages.by_ref().collect();
    assert!(read.first().is_none_or(|first| first.timestamp == 1_000));
    let with_pointers: usize = read.iter().map(|message| message.payload.len() + 15).sum();
    let accounted = with_pointers.min(data.len());
    assert!(messages.is_truncated() || accounted == data.len());
    let mut again = BytesMut::new();
    for message in &read {
        again.put_u8(message.type_id);
        again.put_uint(message.payload.len() as u64, 3);
        again.put_uint(u64::from(message.timestamp & 0x00FF_FFFF), 3);
        again.put_u8((message.timestamp >> 24) as u8);
        again.put_uint(0, 3);
        again.put_slice(&message.payload);
        again.put_u32(message.payload.len() as u32 + 11);
    }
    let mut messages = aggregate(again.freeze());
    assert!(read.iter().cloned().eq(messages.by_ref()));
    assert!(!messages.is_truncated());
}

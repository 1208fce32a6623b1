//! The chunk reader: headers byte by byte, interleaving, both extended timestamp behaviours, splits and memory.

use bytes::{Bytes, BytesMut};
use headwater_rtmp::chunk::HEADER_BYTES_MAX;
use headwater_rtmp::{ChunkReader, ChunkWriter, Counters, Error, Limits, Message};
use proptest::prelude::*;

/// Messages as (csid, timestamp, type, stream, payload).
type Row = (u32, u32, u8, u32, Vec<u8>);

fn feed(pieces: &[&[u8]]) -> (Vec<Message>, Result<(), Error>, Counters) {
    let mut reader = ChunkReader::new(Limits::default());
    let mut input = BytesMut::new();
    let mut messages = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match reader.read(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Err(error), *reader.counters()),
            }
        }
        reader.check_invariants();
        assert!(input.len() <= HEADER_BYTES_MAX);
    }
    (messages, Ok(()), *reader.counters())
}

/// Reads `bytes` whole, byte by byte and in threes; all must agree.
fn read(bytes: &[u8]) -> (Vec<Row>, Result<(), Error>, Counters) {
    let whole = feed(&[bytes]);
    for size in [1, 3] {
        assert_eq!(feed(&bytes.chunks(size).collect::<Vec<_>>()), whole, "in pieces of {size}");
    }
    let (messages, result, counters) = whole;
    let rows =
        messages.into_iter().map(|m| (m.csid, m.timestamp, m.type_id, m.stream_id, m.payload.to_vec()));
    (rows.collect(), result, counters)
}

fn ok(bytes: &[u8]) -> (Vec<Row>, Counters) {
    let (rows, result, counters) = read(bytes);
    assert_eq!(result, Ok(()));
    (rows, counters)
}

/// Type 0 header on a csid below 64, message stream 1.
fn type_0(csid: u8, time: u32, length: usize, type_id: u8) -> Vec<u8> {
    let mut bytes = vec![csid];
    bytes.extend_from_slice(&time.min(0xff_ffff).to_be_bytes()[1..]);
    bytes.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
    bytes.extend_from_slice(&[type_id, 1, 0, 0, 0]);
    if time >= 0xff_ffff {
        bytes.extend_from_slice(&time.to_be_bytes());
    }
    bytes
}

fn times(rows: &[Row]) -> Vec<u32> {
    rows.iter().map(|row| row.1).collect()
}

#[test]
fn chunk_stream_ids_in_all_three_forms() {
    let rest = [0, 0, 5, 0, 0, 2, 8, 9, 0, 0, 1, 0xaa, 0xbb];
    for (name, basic, csid) in [
        ("smallest", &[0x02][..], 2),
        ("largest in one byte", &[0x3f], 63),
        ("smallest in two", &[0x00, 0], 64),
        ("largest in two", &[0x00, 255], 319),
        ("small in three", &[0x01, 0, 0], 64),
        ("low byte first", &[0x01, 1, 2], 64 + 1 + 512),
        ("largest", &[0x01, 255, 255], 65_599),
    ] {
        let expected = (csid, 5, 8, 0x0100_0009, vec![0xaa, 0xbb]);
        assert_eq!(ok(&[basic, &rest].concat()).0, [expected], "{name}");
    }
}

#[test]
fn all_types_and_their_times() {
    let mut bytes = type_0(4, 1_000, 2, 8);
    bytes.extend_from_slice(b"aa");
    bytes.extend_from_slice(b"\x44\0\0\x14\0\0\x03\x09bbb"); // type 1: +20, 3 bytes of video
    bytes.extend_from_slice(b"\x84\0\0\x05ccc"); // type 2: +5
    bytes.extend_from_slice(b"\xc4ddd"); // type 3: +5 again
    bytes.extend_from_slice(b"\xc4eee");
    let (rows, _) = ok(&bytes);
    let expected = [
        (4, 1_000, 8, 1, b"aa".to_vec()),
        (4, 1_020, 9, 1, b"bbb".to_vec()),
        (4, 1_025, 9, 1, b"ccc".to_vec()),
        (4, 1_030, 9, 1, b"ddd".to_vec()),
        (4, 1_035, 9, 1, b"eee".to_vec()),
    ];
    assert_eq!(rows, expected);
    // Every truncation gives the messages that were complete, and no error.
    for length in 0..bytes.len() {
        let (cut, _) = ok(&bytes[..length]);
        assert_eq!(cut[..], expected[..cut.len()], "{length}");
    }
}

#[test]
fn time_wraps_at_32_bits() {
    let mut bytes = type_0(4, u32::MAX - 10, 1, 8);
    bytes.extend_from_slice(b"a\x84\0\0\x14b");
    assert_eq!(times(&ok(&bytes).0), [u32::MAX - 10, 9]);
}

#[test]
fn type_3_after_type_0_repeats_its_time_as_a_step() {
    // (name, bytes before, type 0's time, expected time of the type 3's message, decisions for zero)
    let witness = |time: u32| [type_0(6, time, 1, 9), b"v".to_vec()].concat();
    let rows: [(&str, Vec<u8>, u32, u32, u64); 7] = [
        ("zero", vec![], 0, 0, 0),
        ("small: by the text", vec![], 40, 80, 0),
        ("at the bound", vec![], 10_000, 20_000, 0),
        ("beyond it, no witness", vec![], 10_001, 10_001, 1),
        ("a step that wraps to just behind itself", vec![], u32::MAX - 15, u32::MAX - 15, 1),
        ("beyond it, the other stream stayed", witness(20_040), 20_000, 20_000, 1),
        ("beyond it, the other stream stepped too", witness(40_010), 20_000, 40_000, 0),
    ];
    for (name, before, time, expected, decisions) in rows {
        let extension = if time >= 0xff_ffff { time.to_be_bytes().to_vec() } else { vec![] };
        let bytes = [before, type_0(4, time, 1, 8), b"a\xc4".to_vec(), extension, b"b".to_vec()].concat();
        let (rows, counters) = ok(&bytes);
        assert_eq!(rows.last().map(|row| row.1), Some(expected), "{name}");
        assert_eq!(counters.zero_step_decisions, decisions, "{name}");
    }
    // A step that was said as such is never doubted.
    let bytes = [type_0(4, 0, 1, 8), b"a\x84\x00\x4e\x20b\xc4c".to_vec()].concat();
    assert_eq!(times(&ok(&bytes).0), [0, 20_000, 40_000]);
}

#[test]
fn extended_timestamps_written_or_omitted_in_continuations() {
    let time = 0x0123_4567_u32;
    let body: Vec<u8> = (0..300).map(|index| (index % 251) as u8).collect();
    let pieces: Vec<&[u8]> = body.chunks(128).collect();
    let with = [
        &type_0(6, time, 300, 9)[..],
        pieces[0],
        &[0xc6, 1, 0x23, 0x45, 0x67],
        pieces[1],
        &[0xc6, 1, 0x23, 0x45, 0x67],
        pieces[2],
    ];
    let without = [&type_0(6, time, 300, 9)[..], pieces[0], &[0xc6], pieces[1], &[0xc6], pieces[2]];
    for (name, bytes, omitted) in [("written", with.concat(), 0), ("omitted", without.concat(), 2)] {
        let (rows, counters) = ok(&bytes);
        assert_eq!(rows, [(6, time, 9, 1, body.clone())], "{name}");
        assert_eq!(counters.extended_timestamps_omitted, omitted, "{name}");
    }
}

#[test]
fn an_omitted_extended_timestamp_is_noticed_at_the_first_byte_that_differs() {
    // One byte of payload is left, and nothing follows: nothing more may be waited for.
    let mut bytes = type_0(6, 0x0123_4567, 129, 9);
    bytes.extend_from_slice(&[7; 128]);
    bytes.extend_from_slice(&[0xc6, 7]);
    assert_eq!(ok(&bytes).0.len(), 1);
    // It begins like the timestamp: undecided until the next chunk shows otherwise.
    let last = bytes.len() - 1;
    bytes[last] = 1;
    assert_eq!(ok(&bytes).0.len(), 0);
    bytes.extend_from_slice(&[type_0(4, 0, 1, 8), vec![9]].concat());
    assert_eq!(ok(&bytes).0.len(), 2);
}

#[test]
fn extended_steps_and_beginnings() {
    // 0x00ffffff exactly needs the extension; a step may be extended; type 3 that begins a message carries it too.
    let mut bytes = type_0(6, 0x00ff_ffff, 1, 9);
    bytes.extend_from_slice(b"a");
    bytes.extend_from_slice(&[0x86, 0xff, 0xff, 0xff, 2, 0, 0, 0, b'b']);
    bytes.extend_from_slice(&[0xc6, 2, 0, 0, 0, b'c']);
    bytes.extend_from_slice(&[0x86, 0, 0, 1, b'd']);
    bytes.extend_from_slice(&[0xc6, b'e']); // the last type 2 had none
    let first = 0x00ff_ffff_u32;
    let expected =
        [first, first + 0x0200_0000, first + 0x0400_0000, first + 0x0400_0001, first + 0x0400_0002];
    assert_eq!(times(&ok(&bytes).0), expected);
}

#[test]
fn the_first_header_must_stand_alone() {
    let rows = [
        ("type 1", 4, b"\x44\0\0\0\0\0\x01\x08a".to_vec(), Some(1)),
        ("type 2", 4, b"\x84\0\0\0a".to_vec(), Some(2)),
        ("type 3", 4, b"\xc4a".to_vec(), Some(3)),
        ("type 2 on the control stream", 2, b"\x82\0\0\0a".to_vec(), Some(2)),
        (
            "type 1 on the control stream (librtmp)",
            2,
            b"\x42\0\0\0\0\0\x06\x04\0\x03\0\0\0\x01".to_vec(),
            None,
        ),
    ];
    for (name, csid, bytes, fmt) in rows {
        let (messages, result, _) = read(&bytes);
        let expected = fmt.map_or(Ok(()), |fmt| Err(Error::MissingHeader { offset: 0, csid, fmt }));
        assert_eq!(result, expected, "{name}");
        assert_eq!(messages.len(), usize::from(fmt.is_none()), "{name}");
    }
}

#[test]
fn chunk_streams_interleave() {
    let video: Vec<u8> = (0..200).map(|index| index as u8).collect();
    let audio = [0x55; 150];
    let bytes = [
        &type_0(6, 40, 200, 9)[..],
        &video[..128],
        &type_0(4, 41, 150, 8),
        &audio[..128],
        &[0xc6],
        &video[128..],
        &[0xc4],
        &audio[128..],
    ];
    let (rows, _) = ok(&bytes.concat());
    assert_eq!(rows, [(6, 40, 9, 1, video), (4, 41, 8, 1, audio.to_vec())]);
}

#[test]
fn what_is_missing_of_a_message_is_known() {
    let mut writer = ChunkWriter::new();
    let mut bytes = BytesMut::new();
    writer.write(&mut bytes, 6, 40, 9, 1, &[7; 1_000]);
    let mut reader = ChunkReader::new(Limits::default());
    let mut input = BytesMut::new();
    assert_eq!(reader.unfinished(), None);
    for (sent, byte) in (1..).zip(&bytes) {
        input.extend_from_slice(&[*byte]);
        let is_whole = reader.read(&mut input).unwrap().is_some();
        assert_eq!(is_whole, sent == bytes.len());
        // A header that is not whole says nothing yet; one of a byte is read with what follows it.
        let expected = (sent >= 12 && !is_whole).then_some((1_000, bytes.len() - sent));
        let unfinished = reader.unfinished().map(|message| (message.length, message.missing));
        assert_eq!(unfinished, expected, "after {sent} bytes");
    }
}

#[test]
fn the_longest_of_several_messages_is_the_unfinished_one() {
    let mut reader = ChunkReader::new(Limits::default());
    let bytes = [&type_0(6, 40, 200, 9)[..], &[1; 128], &type_0(4, 41, 150, 8), &[2; 128], &[0xc4], &[2; 10]];
    let mut input = BytesMut::from(&bytes.concat()[..]);
    assert!(reader.read(&mut input).unwrap().is_none());
    assert_eq!(reader.unfinished().map(|message| (message.length, message.missing)), Some((200, 73)));
}

#[test]
fn a_new_header_in_a_message_discards_it() {
    // The length changes midway: 200 bytes announced, 128 sent, then 2 (CVE-2016-10191 and kin).
    let mut bytes = type_0(6, 0, 200, 9);
    bytes.extend_from_slice(&[1; 128]);
    bytes.extend_from_slice(b"\x46\0\0\x0a\0\0\x02\x09zz");
    let (rows, counters) = ok(&bytes);
    assert_eq!(rows, [(6, 10, 9, 1, b"zz".to_vec())]);
    assert_eq!(counters.discarded_partials, 1);
}

#[test]
fn set_chunk_size_is_obeyed_at_once_between_chunks_of_another_message() {
    let body = [7; 128 + 10 + 5];
    let bytes = [
        &type_0(6, 0, body.len(), 9)[..],
        &body[..128],
        b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\0\x0a", // chunk size 10
        &[0xc6],
        &body[..10],
        &[0xc6],
        &body[..5],
    ];
    assert_eq!(ok(&bytes.concat()).0, [(6, 0, 9, 1, body.to_vec())]);
}

#[test]
fn chunk_sizes() {
    for (size, fine) in [
        (0, false),
        (1, true),
        (65_536, true),
        (0x00ff_ffff, true),
        (0x0100_0000, false),
        (0x7fff_ffff, false),
        (u32::MAX, false),
    ] {
        let mut bytes = [b"\x02\0\0\0\0\0\x04\x01\0\0\0\0".as_slice(), &size.to_be_bytes()].concat();
        let offset = bytes.len() as u64;
        bytes.extend_from_slice(&type_0(4, 0, 2, 8));
        bytes.extend_from_slice(if size == 1 { b"a\xc4b" } else { b"ab" });
        let (rows, result, _) = read(&bytes);
        let expected = if fine { Ok(()) } else { Err(Error::ChunkSize { offset, size }) };
        assert_eq!((rows.len(), result), (usize::from(fine), expected), "{size}");
    }
    // Cut short, it changes nothing.
    let (_, counters) = ok(b"\x02\0\0\0\0\0\x03\x01\0\0\0\0\0\0\0");
    assert_eq!(counters.ignored_controls, 1);
}

#[test]
fn abort_drops_the_partial_message_and_keeps_the_header() {
    let bytes = [
        &type_0(6, 5, 130, 9)[..],
        &[1; 128],
        b"\x02\0\0\0\0\0\x04\x02\0\0\0\0\0\0\0\x06", // abort 6
        b"\x02\0\0\0\0\0\x04\x02\0\0\0\0\0\0\0\x63", // abort 99, which has nothing
        &[0x86, 0, 0, 1],
        &[2; 128],
        &[0xc6, 2, 2],
    ];
    let (rows, counters) = ok(&bytes.concat());
    assert_eq!(rows, [(6, 6, 9, 1, vec![2; 130])]);
    assert_eq!((counters.aborted_partials, counters.discarded_partials), (1, 0));
}

#[test]
fn unknown_types_are_skipped_unstored() {
    let mut bytes = type_0(5, 0, 300, 19);
    bytes.extend_from_slice(&[0; 128]);
    let mut reader = ChunkReader::new(Limits::default());
    let mut input = BytesMut::from(&bytes[..]);
    assert_eq!(reader.read(&mut input), Ok(None));
    assert_eq!(reader.partial_bytes(), 0);
    bytes.extend_from_slice(&[&[0xc5][..], &[0; 128], &[0xc5], &[0; 44]].concat());
    bytes.extend_from_slice(&[type_0(5, 0, 1, 99), vec![0], type_0(5, 0, 1, 8), vec![3]].concat());
    let (rows, counters) = ok(&bytes);
    assert_eq!(rows, [(5, 0, 8, 1, vec![3])]);
    assert_eq!(counters.unknown_messages, 2);
}

#[test]
fn a_long_message_in_one_chunk_is_a_slice_of_the_input() {
    let size = [type_0(2, 0, 4, 1), 65_536_u32.to_be_bytes().to_vec()].concat();
    for (length, is_slice) in [(4_096, false), (4_097, true)] {
        let bytes = [size.clone(), type_0(4, 0, length, 8), vec![9; length]].concat();
        let mut input = BytesMut::from(&bytes[..]);
        let place = input[16 + 12..].as_ptr();
        let message = ChunkReader::new(Limits::default()).read(&mut input).unwrap().unwrap();
        assert_eq!(message.payload, vec![9; length]);
        assert_eq!(message.payload.as_ptr() == place, is_slice, "{length}");
        // Nobody holds the input's memory but for a slice: its front is used again.
        assert_eq!(input.try_reclaim(bytes.len()), !is_slice, "{length}");
    }
}

#[test]
fn messages_lie_one_behind_the_other() {
    let message =
        [type_0(4, 0, 300, 8), vec![1; 128], vec![0xc4], vec![1; 128], vec![0xc4], vec![1; 44]].concat();
    let mut input = BytesMut::from(&message.repeat(40)[..]);
    let mut reader = ChunkReader::new(Limits::default());
    let mut payloads = Vec::new();
    while let Some(message) = reader.read(&mut input).unwrap() {
        payloads.push(message.payload);
    }
    assert_eq!(payloads.len(), 40);
    assert!(payloads.iter().all(|payload| payload[..] == [1; 300]));
    let follows = |pair: &&[Bytes]| pair[1].as_ptr().addr() == pair[0].as_ptr().addr() + 300;
    // But where a slab ends: 4 KiB, then 8.
    assert_eq!(payloads.windows(2).filter(follows).count(), 38);
    // One too long for it has its own, of exactly its size.
    let mut input = BytesMut::from(&[type_0(5, 0, 40_000, 9), vec![2; 128]].concat()[..]);
    while input.len() < 40_500 {
        input.extend_from_slice(&[&[0xc5][..], &[2; 128]].concat());
    }
    let message = reader.read(&mut input).unwrap().unwrap();
    assert_eq!(message.payload.len(), 40_000);
    assert_eq!(Vec::from(message.payload).capacity(), 40_000);
}

#[test]
fn memory_follows_what_arrived_and_not_what_was_announced() {
    let mut reader = ChunkReader::new(Limits::default());
    let mut input = BytesMut::new();
    for csid in 2..66_u16 {
        match csid {
            64.. => input.extend_from_slice(&[0, (csid - 64) as u8]),
            _ => input.extend_from_slice(&[csid as u8]),
        }
        input.extend_from_slice(&type_0(0, 0, 10 << 20, 9)[1..]);
        input.extend_from_slice(&[0]);
        // The chunk is 128 bytes; complete it so that the next header can come.
        input.extend_from_slice(&[0; 127]);
        assert_eq!(reader.read(&mut input), Ok(None));
        reader.check_invariants();
    }
    assert!(reader.partial_bytes() <= 64 * (16 << 10), "{}", reader.partial_bytes());
    // A payload that fits no buffer is taken out of the input as it comes.
    let mut reader = ChunkReader::new(Limits::default());
    let mut input = BytesMut::from(&b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\xff\xff\xff"[..]);
    input.extend_from_slice(&type_0(6, 0, 10 << 20, 9));
    for _ in 0..159 {
        input.extend_from_slice(&[1; 65_536]);
        assert_eq!(reader.read(&mut input), Ok(None));
        assert!(input.is_empty());
        reader.check_invariants();
    }
    input.extend_from_slice(&[1; 65_536]);
    let message = reader.read(&mut input).unwrap().unwrap();
    assert_eq!(message.payload.len(), 10 << 20);
    assert_eq!(reader.partial_bytes(), 0);
}

fn any_message() -> impl Strategy<Value = Row> {
    let csid = prop_oneof![3..8_u32, 60..70_u32, 315..325_u32, Just(65_599)];
    let time = prop_oneof![0..100_u32, 0x00ff_fff0..0x0100_0010_u32, any::<u32>()];
    let type_id = prop_oneof![Just(8), Just(9), Just(18), Just(20), Just(3), Just(4)];
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..10),
        prop::collection::vec(any::<u8>(), 120..140),
        prop::collection::vec(any::<u8>(), 0..1000),
    ];
    (csid, time, type_id, 0..3_u32, payload)
}

proptest! {
    /// Whatever is written, with whatever chunk size, is read the same, however it is split.
    #[test]
    fn round_trip(messages in prop::collection::vec(any_message(), 0..20), size in 1..300_u32, cuts in prop::collection::vec(1..200_usize, 1..50)) {
        let (mut writer, mut bytes) = (ChunkWriter::new(), BytesMut::new());
        for (index, (csid, timestamp, type_id, stream_id, payload)) in messages.iter().enumerate() {
            if index == messages.len() / 2 {
                writer.set_chunk_size(size, &mut bytes);
            }
            writer.write(&mut bytes, *csid, *timestamp, *type_id, *stream_id, payload);
        }
        let mut rest = &bytes[..];
        let mut pieces = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        for pieces in [vec![&bytes[..]], pieces] {
            let (read, result, counters) = feed(&pieces);
            prop_assert_eq!(result, Ok(()));
            let rows: Vec<Row> = read.into_iter().map(|m| (m.csid, m.timestamp, m.type_id, m.stream_id, m.payload.to_vec())).collect();
            prop_assert_eq!(&rows, &messages);
            prop_assert_eq!(counters.bytes_received, bytes.len() as u64);
        }
    }
}

//! The chunk writer, byte by byte.

use bytes::BytesMut;
use headwater_rtmp::ChunkWriter;

/// Writes (csid, time, type, stream, payload) one after the other, each to its own buffer.
fn write(messages: &[(u32, u32, u8, u32, &[u8])]) -> Vec<Vec<u8>> {
    let mut writer = ChunkWriter::new();
    let lines = messages.iter().map(|(csid, time, type_id, stream_id, payload)| {
        let mut out = BytesMut::new();
        writer.write(&mut out, *csid, *time, *type_id, *stream_id, payload);
        out.to_vec()
    });
    lines.collect()
}

#[test]
fn the_shortest_header_that_everyone_reads_alike() {
    let messages: [(u32, u32, u8, u32, &[u8]); 12] = [
        (4, 1_000, 8, 1, b"aa"),
        (4, 2_000, 8, 1, b"bb"), // never type 3 after a type 0 with a time
        (4, 3_000, 8, 1, b"cc"), // the same step again
        (4, 3_005, 8, 1, b"dd"),
        (4, 3_010, 9, 1, b"ee"),                // another type
        (4, 3_015, 9, 1, b"eee"),               // another length
        (4, 3_014, 9, 1, b"fff"),               // back in time
        (4, 3_014, 9, 2, b"ggg"),               // another message stream
        (4, 3_014 + 0x00ff_ffff, 9, 2, b"hhh"), // a step that would have to be extended
        (5, 0, 8, 1, b"i"),
        (5, 0, 8, 1, b"j"), // after a type 0 at time 0 both readings of type 3 agree
        (5, 7, 8, 1, b"k"),
    ];
    let expected: [&[u8]; 12] = [
        b"\x04\0\x03\xe8\0\0\x02\x08\x01\0\0\0aa",
        b"\x84\0\x03\xe8bb",
        b"\xc4cc",
        b"\x84\0\0\x05dd",
        b"\x44\0\0\x05\0\0\x02\x09ee",
        b"\x44\0\0\x05\0\0\x03\x09eee",
        b"\x04\0\x0b\xc6\0\0\x03\x09\x01\0\0\0fff",
        b"\x04\0\x0b\xc6\0\0\x03\x09\x02\0\0\0ggg",
        b"\x04\xff\xff\xff\0\0\x03\x09\x02\0\0\0\x01\0\x0b\xc5hhh",
        b"\x05\0\0\0\0\0\x01\x08\x01\0\0\0i",
        b"\xc5j",
        b"\x85\0\0\x07k",
    ];
    for (index, (written, expected)) in write(&messages).iter().zip(expected).enumerate() {
        assert_eq!(written, expected, "message {index}");
    }
}

#[test]
fn continuations_repeat_the_extended_timestamp_and_the_long_chunk_stream_id() {
    let written = write(&[(400, 0x0100_0000, 9, 1, &[7; 130])]);
    let expected = [
        &b"\x01\x50\x01\xff\xff\xff\0\0\x82\x09\x01\0\0\0\x01\0\0\0"[..],
        &[7; 128],
        b"\xc1\x50\x01\x01\0\0\0",
        &[7; 2],
    ];
    assert_eq!(written, [expected.concat()]);
    // Message stream ids are the protocol's only little-endian field; csids beyond the range are clamped.
    assert_eq!(write(&[(0, 0, 8, 0x0102_0304, b"")]), [b"\x02\0\0\0\0\0\0\x08\x04\x03\x02\x01".to_vec()]);
}

#[test]
fn set_chunk_size_is_announced_before_it_is_used() {
    let (mut writer, mut out) = (ChunkWriter::new(), BytesMut::new());
    writer.set_chunk_size(4, &mut out);
    assert_eq!(out.split().as_ref(), b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\0\x04");
    writer.write(&mut out, 4, 0, 8, 1, b"abcdefghi");
    assert_eq!(out.split().as_ref(), b"\x04\0\0\0\0\0\x09\x08\x01\0\0\0abcd\xc4efgh\xc4i");
    writer.set_chunk_size(0, &mut out);
    assert_eq!(out.split().as_ref().last(), Some(&1));
    writer.set_chunk_size(u32::MAX, &mut out);
    assert_eq!(out.split().as_ref(), b"\xc2\0\xc2\xff\xc2\xff\xc2\xff");
}

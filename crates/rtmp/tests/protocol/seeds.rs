//! The fuzz bodies over their seeds, over every truncation of those and over single flipped bits.
//!
//! `HEADWATER_SEEDS=1 cargo test -p headwater-rtmp --test protocol seeds` rewrites the seeds from the recorded sessions.

use std::path::PathBuf;

use headwater_rtmp::amf0::Value;
use headwater_rtmp::message::type_id;
use headwater_rtmp::{ChunkReader, Limits, fuzzing};
use headwater_testkit::seeds::{over_seeds, seeds};

use crate::aggregate::aggregate_body;
use crate::client::{command, text};

type Body = fn(&[u8]);

const BODIES: [(&str, Body); 5] = [
    ("rtmp_handshake", fuzzing::rtmp_handshake),
    ("rtmp_chunk", fuzzing::rtmp_chunk),
    ("amf0", fuzzing::amf0),
    ("rtmp_server", fuzzing::rtmp_server),
    ("rtmp_aggregate", fuzzing::rtmp_aggregate),
];

/// A seed of this size runs with all its truncations in a moment; real sessions are cut to it.
const SEED_BYTES_MAX: usize = 1_600;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name)
}

fn recorded(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}.bin", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("fixture")
}

/// First payload of this type in a recording.
fn payload(name: &str, type_id: u8) -> Vec<u8> {
    let mut input = bytes::BytesMut::from(&recorded(name)[3073..]);
    let mut reader = ChunkReader::new(Limits::default());
    while let Some(message) = reader.read(&mut input).expect("recorded bytes are right") {
        if message.type_id == type_id {
            return message.payload.to_vec();
        }
    }
    panic!("no message of type {type_id} in {name}");
}

fn write(body: &str, name: &str, bytes: &[u8]) {
    std::fs::create_dir_all(folder(body)).expect("folder");
    std::fs::write(folder(body).join(name), bytes).expect("seed");
}

fn write_seeds() {
    for client in ["ffmpeg", "rtmp2sink", "librtmp", "ffmpeg_play", "rtmpdump_play"] {
        let bytes = recorded(client);
        let session = &bytes[3073..bytes.len().min(3073 + SEED_BYTES_MAX)];
        write("rtmp_chunk", client, session);
        write("rtmp_server", client, session);
        write("amf0", &format!("{client}_connect"), &payload(client, type_id::COMMAND_AMF0));
    }
    for client in ["ffmpeg", "rtmp2sink"] {
        write("rtmp_handshake", client, &recorded(client)[..3073 + 20]);
        write("amf0", &format!("{client}_metadata"), &payload(client, type_id::DATA_AMF0));
    }
    write("rtmp_handshake", "http", b"GET / HTTP/1.1\r\n\r\n");
    let video = b"\x17\0\0\0\0avcC";
    let body = aggregate_body(&[(8, 100, b"\xaf\x01abc"), (9, 123, video), (18, 140, b"\x02\0\x01x")]);
    write("rtmp_aggregate", "three", &body);
    write("rtmp_aggregate", "cut", &body[..body.len() - 9]);
    write("rtmp_aggregate", "nested", &aggregate_body(&[(22, 0, b"\x08\0\0\0")]));
    write("amf0", "amf3", b"\x11\x0a\x13\x03C\x03a\x04\x05\x11\x09\x05\x03k\x01\x01\x04\x01\x06\x03z");
    write("amf0", "odd", b"\x0b\0\0\0\0\0\0\0\0\0\0\x0c\0\0\0\x02\xff\xfe\x10\0\x01C\0\0\x09\x07\0\x01\x0f\0\0\0\0\x0d\x06\x05");
    write("amf0", "nested", &b"\x0a\0\0\0\x01\x03\0\x01k".repeat(20));
    // Extended timestamps, abort, a length that changes midway, chunk sizes that change midway.
    let mut odd = b"\x06\xff\xff\xff\0\0\x82\x09\x01\0\0\0\x01\x23\x45\x67".to_vec();
    odd.extend_from_slice(&[9; 128]);
    odd.extend_from_slice(b"\xc6\x01\x23\x45\x67\x09\x09\x86\xff\xff\xff\x01\0\0\0");
    odd.extend_from_slice(&[8; 128]);
    odd.extend_from_slice(b"\xc6\x08\x08\xc6\x01\0\0\0");
    odd.extend_from_slice(&[7; 128]);
    odd.extend_from_slice(b"\x02\0\0\0\0\0\x04\x02\0\0\0\0\0\0\0\x06\x42\0\0\0\0\0\x04\x01\0\0\0\x02");
    odd.extend_from_slice(b"\x01\x05\x01\x00\x4e\x20\0\0\x04\x08\x01\0\0\0ab\xc1\x05\x01cd\xc1\x05\x01ef\x46\0\0\0\0\0\x01\x08z");
    write("rtmp_chunk", "odd", &odd);
    let mut session = bytes::BytesMut::new();
    let mut writer = headwater_rtmp::ChunkWriter::new();
    let object = Value::object([("app", text("live")), ("tcUrl", text("rtmp://h/live?a=1"))]);
    for (stream_id, body) in [
        (0, command("connect", 1.0, object, vec![])),
        (0, command("createStream", 2.0, Value::Null, vec![])),
        (1, command("publish", 0.0, Value::Null, vec![text("a")])),
        (1, command("closeStream", 0.0, Value::Null, vec![])),
        (1, command("publish", 0.0, Value::Null, vec![text("b")])),
        (0, command("FCUnpublish", 0.0, Value::Null, vec![text("b")])),
        (1, command("play", 0.0, Value::Null, vec![text("c")])),
        (0, command("deleteStream", 0.0, Value::Null, vec![Value::Number(1.0)])),
    ] {
        writer.write(&mut session, 3, 0, type_id::COMMAND_AMF0, stream_id, &body);
        writer.write(&mut session, 4, 7, type_id::AUDIO, 1, b"a");
        writer.write(&mut session, 2, 0, type_id::USER_CONTROL, 0, b"\0\x06\0\0\0\x01");
        writer.write(
            &mut session,
            4,
            9,
            type_id::AGGREGATE,
            1,
            &aggregate_body(&[(9, 5, b"v"), (8, 6, b"a")]),
        );
    }
    write("rtmp_server", "life", &session);
}

#[test]
fn fuzz_bodies_over_their_seeds() {
    if std::env::var_os("HEADWATER_SEEDS").is_some() {
        write_seeds();
    }
    for (name, body) in BODIES {
        over_seeds(name, body);
        for seed in seeds(name) {
            let mut flipped = seed.clone();
            for index in 0..seed.len() {
                flipped[index] ^= 1 << (index % 8);
                body(&flipped);
                flipped[index] = seed[index];
            }
        }
    }
}

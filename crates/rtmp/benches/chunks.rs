//! Chunk reassembly of 5.2 Mbit/s-like video at common chunk sizes, against a memcpy of the same bytes.
//!
//! `cargo bench -p headwater-rtmp`

use bytes::{BufMut, Bytes, BytesMut};
use divan::Bencher;
use divan::counter::BytesCount;
use headwater_rtmp::message::type_id;
use headwater_rtmp::{ChunkReader, ChunkWriter, Limits};

fn main() {
    divan::main();
}

const CHUNK_SIZES: [u32; 3] = [128, 4_096, 65_536];
/// What one read of the socket brings at most.
const READ_BYTES: usize = 65_536;

/// Four seconds at 30 frames/s: a keyframe of 120 KB each second, other frames of 18 KB, two audio frames of 370 bytes
/// after each.
fn stream(chunk_size: u32) -> BytesMut {
    let (mut writer, mut out) = (ChunkWriter::new(), BytesMut::new());
    writer.set_chunk_size(chunk_size, &mut out);
    let body = vec![0x5a; 120_000];
    for frame in 0..120_u32 {
        let size = if frame % 30 == 0 { 120_000 } else { 18_000 };
        writer.write(&mut out, 6, frame * 33, type_id::VIDEO, 1, &body[..size]);
        for half in 0..2 {
            writer.write(&mut out, 4, frame * 33 + half * 16, type_id::AUDIO, 1, &body[..370]);
        }
    }
    out
}

/// As a connection task does it: each read lands in a buffer, messages are taken out of it.
#[divan::bench(args = CHUNK_SIZES)]
fn reassemble(bencher: Bencher<'_, '_>, chunk_size: u32) {
    let stream = stream(chunk_size);
    bencher.counter(BytesCount::new(stream.len())).bench(|| {
        let mut reader = ChunkReader::new(Limits::default());
        let mut input = BytesMut::with_capacity(READ_BYTES);
        let mut bytes = 0;
        for piece in stream.chunks(READ_BYTES) {
            input.reserve(READ_BYTES);
            input.put_slice(piece);
            while let Some(message) = reader.read(&mut input).expect("our own bytes") {
                bytes += message.payload.len();
            }
        }
        bytes
    });
}

/// The same reads, and each piece copied once more: what any reassembly has to pay.
#[divan::bench(args = CHUNK_SIZES)]
fn memcpy(bencher: Bencher<'_, '_>, chunk_size: u32) {
    let stream = stream(chunk_size);
    bencher.counter(BytesCount::new(stream.len())).bench(|| {
        let mut input = BytesMut::with_capacity(READ_BYTES);
        let mut bytes = 0;
        for piece in stream.chunks(READ_BYTES) {
            input.clear();
            input.put_slice(piece);
            bytes += divan::black_box(Bytes::copy_from_slice(&input)).len();
        }
        bytes
    });
}

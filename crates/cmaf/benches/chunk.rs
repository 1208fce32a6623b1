//! Closing a chunk beside `memcpy` of the same access units: `cargo bench -p headwater-cmaf --bench chunk`.
//!
//! 5 Mbit/s at 30 pictures per second with B-frames: a part of 200 ms (6 pictures, 125 kB) and a segment of 2 s (60 pictures,
//! 1.25 MB). Each round walks through 64 MB of samples, more than a cache holds, into buffers that are recycled. Compare
//! `fastest`: the machine's noise only slows.

use std::hint::black_box;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use headwater_cmaf::{ChunkSample, ChunkWriter};

const PICTURES: [usize; 2] = [6, 60];
const SAMPLE_SIZE: usize = 5_000_000 / 8 / 30;
const TOTAL_SIZE: usize = 64 << 20;

fn main() {
    divan::main();
}

/// Chunks of samples in memory of their own each, as they come out of a demuxer.
fn chunks(pictures: usize) -> Vec<Vec<ChunkSample<Bytes>>> {
    let sample = |n: usize| ChunkSample {
        duration: 3_000,
        composition_time_offset: [0, 6_000, 0, -3_000][n % 4],
        sync: n == 0,
        disposable: n % 2 == 1,
        // Sizes differ, as an encoder's do.
        data: Bytes::from(vec![0x9a; SAMPLE_SIZE + n % 7]),
    };
    (0..TOTAL_SIZE / SAMPLE_SIZE / pictures).map(|_| (0..pictures).map(sample).collect()).collect()
}

fn payload_size(chunks: &[Vec<ChunkSample<Bytes>>]) -> usize {
    chunks.iter().flatten().map(|sample| sample.data.len()).sum()
}

#[divan::bench(args = PICTURES, sample_count = 30)]
fn close(bencher: Bencher<'_, '_>, pictures: usize) {
    let chunks = chunks(pictures);
    let mut writer = ChunkWriter::new();
    let mut buffers = vec![Vec::new(); chunks.len()];
    bencher.counter(BytesCount::new(payload_size(&chunks))).bench_local(|| {
        for (samples, out) in chunks.iter().zip(&mut buffers) {
            out.clear();
            writer.write(out, 900_000, black_box(samples)).expect("valid samples");
        }
        black_box(buffers.len())
    });
}

#[divan::bench(args = PICTURES, sample_count = 30)]
fn memcpy(bencher: Bencher<'_, '_>, pictures: usize) {
    let chunks = chunks(pictures);
    let mut buffers = vec![Vec::new(); chunks.len()];
    bencher.counter(BytesCount::new(payload_size(&chunks))).bench_local(|| {
        for (samples, out) in chunks.iter().zip(&mut buffers) {
            out.clear();
            for sample in black_box(samples) {
                out.extend_from_slice(&sample.data);
            }
        }
        black_box(buffers.len())
    });
}

/// The `moof` alone, almost: samples of 8 bytes, everything in cache.
#[divan::bench(args = PICTURES)]
fn headers(bencher: Bencher<'_, '_>, pictures: usize) {
    let mut samples = chunks(pictures).swap_remove(0);
    for (n, sample) in samples.iter_mut().enumerate() {
        sample.data.truncate(8 + n % 7);
    }
    let mut writer = ChunkWriter::new();
    let mut out = Vec::new();
    bencher.bench_local(|| {
        out.clear();
        writer.write(&mut out, 900_000, black_box(&samples)).expect("valid samples");
        black_box(out.len())
    });
}

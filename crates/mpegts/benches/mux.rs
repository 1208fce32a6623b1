//! TS muxing beside `memcpy` of the same access units: `cargo bench -p headwater-mpegts --bench mux`.
//!
//! 30 pictures per second at 5 Mbit/s in 2 s segments, into recycled buffers: keyframes of 140 KiB, the other pictures of
//! 17 KiB, one slice each. 10 s of it fit a large cache; 120 s (80 MB in, 80 MB out) do not, as in a server with many
//! streams. Compare `fastest`: the machine's noise only slows.

use std::hint::black_box;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use headwater_media::{MediaTime, Sample, Timescale, TrackId, VideoCodec, VideoConfig};
use headwater_mpegts::{Muxer, Program};

/// x264, High, 320x180.
const RECORD: &[u8] = &[
    0x01, 0x64, 0x00, 0x0c, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41, 0x9f,
    0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60,
    0x01, 0x00, 0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00,
];

const SECONDS: [i64; 2] = [10, 120];
const RATE: i64 = 30;
const GOP: i64 = 2 * RATE;

fn main() {
    divan::main();
}

fn video() -> VideoConfig {
    VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from_static(RECORD),
        codec_string: "avc1.64000c".into(),
        width: 320,
        height: 180,
        sample_aspect_ratio: (1, 1),
        frame_rate: None,
        colour: None,
        reorder_frames_max: None,
    }
}

/// Access units in memory of their own each, as they come out of a demuxer.
fn samples(seconds: i64) -> Vec<Sample> {
    (0..seconds * RATE)
        .map(|n| {
            let sync = n % GOP == 0;
            let size: u32 = if sync { 140 << 10 } else { 17 << 10 };
            let mut data = size.to_be_bytes().to_vec();
            data.push(if sync { 0x65 } else { 0x41 });
            data.resize(usize::try_from(size).unwrap_or(0) + 4, 0x9a);
            let dts = MediaTime::new(900_000 + n * 3_000, Timescale::MPEG);
            Sample { track: TrackId::VIDEO, dts, cts_offset: 0, sync, data: Bytes::from(data) }
        })
        .collect()
}

/// One recycled buffer per segment.
fn buffers(seconds: i64) -> Vec<Vec<u8>> {
    vec![Vec::new(); usize::try_from(seconds / 2).unwrap_or(0)]
}

#[divan::bench(args = SECONDS, sample_count = 30)]
fn mux(bencher: Bencher<'_, '_>, seconds: i64) {
    let samples = samples(seconds);
    let bytes: usize = samples.iter().map(|sample| sample.data.len()).sum();
    let mut muxer =
        Muxer::new(Program { video: Some(&video()), ..Program::default() }).expect("a valid record");
    let mut segments = buffers(seconds);
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        let mut segment = segments.iter_mut();
        let mut out = &mut Vec::new();
        for sample in &samples {
            if sample.sync
                && let Some(next) = segment.next()
            {
                muxer.end_segment(out, None);
                out = next;
                out.clear();
                muxer.begin_segment(out);
            }
            muxer.write_video(out, black_box(sample)).expect("a valid sample");
        }
        black_box(out.len())
    });
}

#[divan::bench(args = SECONDS, sample_count = 30)]
fn memcpy(bencher: Bencher<'_, '_>, seconds: i64) {
    let samples = samples(seconds);
    let bytes: usize = samples.iter().map(|sample| sample.data.len()).sum();
    let mut segments = buffers(seconds);
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        let mut segment = segments.iter_mut();
        let mut out = &mut Vec::new();
        for sample in &samples {
            if sample.sync
                && let Some(next) = segment.next()
            {
                out = next;
                out.clear();
            }
            out.extend_from_slice(black_box(&sample.data));
        }
        black_box(out.len())
    });
}

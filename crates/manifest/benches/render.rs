//! Rendering of a media playlist of 30 segments, beside `m3u8-rs` writing the same playlist and a plain copy of its bytes:
//! the ratios are what counts. `cargo bench -p headwater-manifest`.

use std::num::NonZeroU32;

use divan::{Bencher, black_box};
use headwater_manifest::hls::{MediaPlaylist, Segment, SegmentNames, Version, check::Checker};
use headwater_media::{MediaTime, Timescale, WallTime};

fn main() {
    divan::main();
}

fn segments() -> Vec<Segment<'static>> {
    let start = WallTime::from_unix_millis(1_769_860_800_000);
    (0..30)
        .map(|n| Segment::new(MediaTime::new(180_180, Timescale::MPEG), start.offset_by(n * 2_002)))
        .collect()
}

fn render(names: &SegmentNames, segments: &[Segment<'_>]) -> Vec<u8> {
    let target = NonZeroU32::new(2).expect("2 is not 0");
    let playlist = MediaPlaylist::live(Version::MpegTs, target, 1_769_860_800, names);
    playlist.render(segments.iter().copied()).expect("30 segments are not none")
}

fn names() -> SegmentNames {
    SegmentNames::new("", ".ts").expect("a suffix")
}

#[divan::bench]
fn headwater(bencher: Bencher<'_, '_>) {
    let (names, segments) = (names(), segments());
    bencher.bench_local(|| render(black_box(&names), black_box(&segments)));
}

#[divan::bench]
fn m3u8_rs_writer(bencher: Bencher<'_, '_>) {
    let text = render(&names(), &segments());
    let (_, playlist) = m3u8_rs::parse_media_playlist(&text).expect("m3u8-rs reads what was rendered");
    bencher.bench_local(|| {
        let mut out = Vec::with_capacity(text.len() * 2);
        black_box(&playlist).write_to(&mut out).expect("a Vec takes any bytes");
        out
    });
}

#[divan::bench]
fn copy(bencher: Bencher<'_, '_>) {
    let text = render(&names(), &segments());
    bencher.bench_local(|| black_box(&text).clone());
}

#[divan::bench]
fn checker(bencher: Bencher<'_, '_>) {
    let text = String::from_utf8(render(&names(), &segments())).expect("a playlist is UTF-8");
    bencher.bench_local(|| Checker::new("index.m3u8").observe(black_box(&text), 0));
}

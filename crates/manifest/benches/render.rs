//! Rendering of a media playlist of 30 segments, beside `m3u8-rs` writing the same playlist and a plain copy of its bytes:
//! the ratios are what counts. The low-latency one lists 36 parts besides. `cargo bench -p headwater-manifest`.

use std::num::NonZeroU32;
use std::time::Duration;

use divan::{Bencher, black_box};
use headwater_manifest::hls::{
    Edge, Hint, LowLatency, MediaPlaylist, Part, RenditionReport, Segment, SegmentNames, Uri, Version,
    check::Checker,
};
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

/// The newest four segments with 8 parts each, and 4 parts of the next one.
fn render_low_latency(
    names: &SegmentNames,
    other: &Uri,
    segments: &[Segment<'static>],
    skipped: u64,
) -> Vec<u8> {
    const PARTS: [Part; 8] =
        [Part { duration: MediaTime::new(22_522, Timescale::MPEG), independent: true }; 8];
    let target = NonZeroU32::new(2).expect("2 is not 0");
    let playlist = MediaPlaylist::live(Version::LowLatency, target, 1_769_860_800, names);
    let low_latency = LowLatency {
        part_target: Duration::from_millis(260),
        part_hold_back: Duration::from_millis(780),
        hold_back: Duration::from_secs(6),
        can_skip_until: Duration::from_secs(12),
        edge: Some(Edge {
            program_date_time: WallTime::from_unix_millis(1_769_860_860_060),
            discontinuity: false,
            map: None,
            parts: &PARTS[..4],
        }),
        hint: Some(Hint { sequence: 1_769_860_830, part: 4, map: None }),
        reports: &[RenditionReport { uri: other, last_msn: 1_769_860_830, last_part: Some(3) }],
    };
    let with_parts = |(index, segment): (usize, &Segment<'static>)| Segment {
        parts: if index >= 26 { &PARTS } else { &[] },
        ..*segment
    };
    MediaPlaylist { low_latency: Some(low_latency), skipped, ..playlist }
        .render(segments.iter().enumerate().map(with_parts))
        .expect("30 segments are not none")
}

fn other() -> Uri {
    Uri::new("../audio/media.m3u8").expect("a URI")
}

#[divan::bench]
fn headwater_low_latency(bencher: Bencher<'_, '_>) {
    let (names, other, segments) = (names(), other(), segments());
    bencher.bench_local(|| render_low_latency(black_box(&names), &other, black_box(&segments), 0));
}

#[divan::bench]
fn headwater_low_latency_delta(bencher: Bencher<'_, '_>) {
    let (names, other, segments) = (names(), other(), segments());
    bencher.bench_local(|| render_low_latency(black_box(&names), &other, black_box(&segments), 24));
}

#[divan::bench]
fn copy_low_latency(bencher: Bencher<'_, '_>) {
    let text = render_low_latency(&names(), &other(), &segments(), 0);
    bencher.bench_local(|| black_box(&text).clone());
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

//! The muxer's output for a fixed input, byte by byte: two origins fed alike must publish alike, today and next year.
//!
//! `HEADWATER_GOLDEN=write cargo test -p headwater-mpegts --test golden` refreshes the file; review its difference like code.

mod support;

use std::path::Path;

use support::Stream;

#[test]
fn output_is_the_golden_file() {
    // Two segments, B-frames, a clock packet alone, tables within a segment, audio cut in two.
    let stream = Stream {
        seconds: 2,
        frame_ticks: Some(15_000),
        composition: &[1, 3, 1, 0],
        gop: 6,
        picture_size: 90,
        audio_size: 20,
        ..Stream::default()
    };
    let segments = stream.segments();
    assert_eq!(segments.len(), 2);
    let found = segments.concat();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/b-frames.ts");
    if std::env::var_os("HEADWATER_GOLDEN").is_some_and(|wish| wish == "write") {
        std::fs::write(&path, &found).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    let packet = found.chunks(188).zip(golden.chunks(188)).position(|(found, golden)| found != golden);
    assert_eq!(packet, None, "the first packet that differs");
    assert_eq!(found.len(), golden.len());
    assert_eq!(stream.report().findings, Vec::<String>::new());
}

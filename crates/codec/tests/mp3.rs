//! Layer III headers against frames that lame wrote, and the tables of the standard.

use headwater_codec::Error;
use headwater_codec::mp3::{FrameHeader, Frames};

#[test]
fn table() {
    for (name, header, expected) in [
        ("44.1 kHz 64 kbit/s", [0xFF, 0xFB, 0x50, 0x44], (44_100, 2, 64_000, 208, 1_152)),
        ("padded", [0xFF, 0xFB, 0x52, 0x44], (44_100, 2, 64_000, 209, 1_152)),
        ("48 kHz 320 kbit/s mono", [0xFF, 0xFB, 0xE4, 0xC0], (48_000, 1, 320_000, 960, 1_152)),
        ("32 kHz 32 kbit/s, CRC", [0xFF, 0xFA, 0x18, 0x00], (32_000, 2, 32_000, 144, 1_152)),
        ("MPEG-2 22.05 kHz 32 kbit/s", [0xFF, 0xF3, 0x40, 0xC0], (22_050, 1, 32_000, 104, 576)),
        ("MPEG-2.5 8 kHz 8 kbit/s", [0xFF, 0xE3, 0x18, 0xC0], (8_000, 1, 8_000, 72, 576)),
    ] {
        let found = FrameHeader::parse(&header).unwrap_or_else(|error| panic!("{name}: {error}"));
        let fields =
            (found.sample_rate, found.channels, found.bit_rate, found.frame_size, found.samples_per_frame());
        assert_eq!(fields, expected, "{name}");
        assert_eq!(found.codec_string(), "mp4a.40.34");
    }
}

#[test]
fn refused() {
    for (header, field) in [
        ([0xFE, 0xFB, 0x50, 0], "syncword"),
        ([0xFF, 0x1B, 0x50, 0], "syncword"),
        ([0xFF, 0xEB, 0x50, 0], "ID"),
        ([0xFF, 0xFD, 0x50, 0], "layer"),
        ([0xFF, 0xF1, 0x50, 0], "layer"),
        ([0xFF, 0xFB, 0x00, 0], "bitrate_index"),
        ([0xFF, 0xFB, 0xF0, 0], "bitrate_index"),
        ([0xFF, 0xFB, 0x5C, 0], "sampling_frequency"),
    ] {
        match FrameHeader::parse(&header) {
            Err(Error::Invalid { field: found, .. }) => assert_eq!(found, field, "{header:02x?}"),
            other => panic!("{header:02x?}: {other:?}"),
        }
    }
    assert!(matches!(FrameHeader::parse(&[0xFF, 0xFB, 0x50]), Err(Error::Truncated { .. })));
}

#[test]
fn frames_of_a_message() {
    let mut frame = vec![0xFF, 0xFB, 0x50, 0x44];
    frame.resize(208, 7);
    let three = frame.repeat(3);
    for (name, data, whole_frames, ends_in_error) in [
        ("three", three.clone(), 3, false),
        ("cut", three[..623].to_vec(), 2, true),
        ("garbage behind", [three.clone(), vec![1]].concat(), 3, true),
        ("empty", vec![], 0, false),
    ] {
        let found: Vec<_> = Frames::new(&data).collect();
        assert_eq!(found.iter().filter(|frame| frame.is_ok()).count(), whole_frames, "{name}");
        assert_eq!(found.last().is_some_and(Result::is_err), ends_in_error, "{name}");
    }
}

//! AudioSpecificConfig and ADTS against bytes that real encoders write.

use headwater_codec::Error;
use headwater_codec::aac::{AdtsFrames, AdtsHeader, AudioSpecificConfig, Extension, Signalling};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// name, bytes, (core rate, output rate, channels, samples per frame, codec string), written back the same
type Row = (&'static str, &'static str, (u32, u32, u8, u16, &'static str), bool);

const ROWS: &[Row] = &[
    ("LC 48 kHz stereo", "11 90", (48_000, 48_000, 2, 1_024, "mp4a.40.2"), true),
    ("LC 44.1 kHz stereo", "12 10", (44_100, 44_100, 2, 1_024, "mp4a.40.2"), true),
    ("LC 44.1 kHz mono", "12 08", (44_100, 44_100, 1, 1_024, "mp4a.40.2"), true),
    ("ffmpeg: SBR absent", "12 08 56 e5 00", (44_100, 44_100, 1, 1_024, "mp4a.40.2"), true),
    ("ffmpeg: 5.1", "11 b0 56 e5 00", (48_000, 48_000, 6, 1_024, "mp4a.40.2"), true),
    ("7.1", "11 b8", (48_000, 48_000, 8, 1_024, "mp4a.40.2"), true),
    ("6.1", "11 d8", (48_000, 48_000, 7, 1_024, "mp4a.40.2"), true),
    ("960 samples", "11 94", (48_000, 48_000, 2, 960, "mp4a.40.2"), true),
    ("padding at the end", "12 10 00 00", (44_100, 44_100, 2, 1_024, "mp4a.40.2"), false),
    ("HE-AAC, hierarchical", "2b 92 08 00", (22_050, 44_100, 2, 1_024, "mp4a.40.5"), true),
    ("HE-AAC v2, hierarchical", "eb 8a 08 00", (22_050, 44_100, 2, 1_024, "mp4a.40.29"), true),
    ("HE-AAC, backward compatible", "13 90 56 e5 a0", (22_050, 44_100, 2, 1_024, "mp4a.40.5"), false),
    (
        "HE-AAC v2, backward compatible",
        "13 88 56 e5 a5 48 80",
        (22_050, 44_100, 2, 1_024, "mp4a.40.29"),
        true,
    ),
    // 00010 1111 (24 bits: 50000) 0010 000
    ("explicit rate", "17 80 61 a8 10", (50_000, 50_000, 2, 1_024, "mp4a.40.2"), true),
    // 23 (ER AAC LD), 48 kHz, stereo, 512: 10111 0011 0010 0 0 0 00
    ("low delay", "b9 90 00", (48_000, 48_000, 2, 512, "mp4a.40.23"), false),
    // channelConfiguration 0 and a program_config_element: 1 front pair, 1 LFE; comment of one byte.
    // 00010 0011 0000 000 | tag 0000, 01, 0011 | 0001 0000 0000 01 000 0000 | 0 0 0 | 1 0000 | 0000 | align | 01 2a
    ("program config", "11 80 04 c4 01 00 20 00 01 2a", (48_000, 48_000, 3, 1_024, "mp4a.40.2"), false),
];

#[test]
fn table() {
    for &(name, hex, (rate, output_rate, channels, samples, codec), same_bytes) in ROWS {
        let config =
            AudioSpecificConfig::parse(&bytes(hex)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found =
            (config.sample_rate, config.output_sample_rate(), config.channels(), config.samples_per_frame);
        assert_eq!(found, (rate, output_rate, channels, samples), "{name}");
        assert_eq!(config.codec_string(), codec, "{name}");
        if same_bytes {
            // Up to four zero bits of padding may be missing at the end.
            let written = config.to_bytes().unwrap();
            let mut expected = bytes(hex);
            expected.truncate(written.len().max(expected.len() - 1));
            assert_eq!(written, expected, "{name}");
        }
        if let Ok(written) = config.to_bytes() {
            assert_eq!(AudioSpecificConfig::parse(&written), Ok(config), "{name}");
        }
    }
}

#[test]
fn truncations_fail_or_lose_the_optional_end() {
    for &(name, hex, ..) in ROWS {
        let whole = bytes(hex);
        let config = AudioSpecificConfig::parse(&whole).unwrap();
        for end in 0..whole.len() {
            match AudioSpecificConfig::parse(&whole[..end]) {
                // Only what stands behind a sync word may go unnoticed, and padding.
                Ok(cut) => {
                    let core = |config: AudioSpecificConfig| {
                        (config.object_type, config.sample_rate, config.channel_configuration)
                    };
                    assert_eq!(core(cut), core(config), "{name} cut to {end}");
                }
                Err(error) => {
                    assert!(matches!(error, Error::Truncated { .. }), "{name} cut to {end}: {error}");
                }
            }
        }
    }
}

#[test]
fn refused() {
    for (name, hex, expected) in [
        ("object type 0", "01 90", "audioObjectType: value 0 is not allowed"),
        ("reserved object type", "f9 a6 40", "audioObjectType: value 45 is not allowed"),
        ("reserved rate", "16 90", "samplingFrequencyIndex: value 13 is not allowed"),
        ("explicit rate 0", "17 80 00 00 10", "samplingFrequency: value 0 is not allowed"),
        ("reserved channels", "11 c0", "channelConfiguration: value 8 is not allowed"),
        // 31 + 10 = 42: USAC.
        ("xHE-AAC", "f9 46 40", "audio object type 42 is not supported"),
        ("empty", "", "audioObjectType: data ends at bit 0"),
    ] {
        let refused = AudioSpecificConfig::parse(&bytes(hex)).unwrap_err();
        assert_eq!(refused.to_string(), expected, "{name}");
    }
}

#[test]
fn adts_header_bytes() {
    for (name, asc, frame_len, expected) in [
        ("stereo, 377 in all", "11 90", 370, Some("ff f1 4c 80 2f 3f fc")),
        ("mono", "12 08", 0, Some("ff f1 50 40 00 ff fc")),
        ("7.1 crosses the byte", "11 b8", 370, Some("ff f1 4d c0 2f 3f fc")),
        ("HE-AAC by its core", "2b 92 08 00", 370, Some("ff f1 5c 80 2f 3f fc")),
        ("largest", "11 90", 8_184, Some("ff f1 4c 83 ff ff fc")),
        ("too large", "11 90", 8_185, None),
        ("960 samples", "11 94", 370, None),
        ("program config", "11 80 04 c4 01 00 20 00 01 2a", 370, None),
        ("6.1", "11 d8", 370, None),
        ("explicit rate", "17 80 61 a8 10", 370, None),
        ("low delay", "b9 90 00", 370, None),
    ] {
        let config = AudioSpecificConfig::parse(&bytes(asc)).unwrap();
        let header = config.adts_header(frame_len);
        assert_eq!(header.ok().map(Vec::from), expected.map(bytes), "{name}");
    }
}

#[test]
fn explicit_rates_of_the_table_are_its_entries() {
    // 15, then 44,100 in 24 bits, is index 4 to whoever writes it back.
    let config = AudioSpecificConfig::parse(&bytes("17 80 56 22 10")).unwrap();
    assert_eq!(config.sample_rate, 44_100);
    assert_eq!(config.to_bytes().unwrap(), bytes("12 10"));
}

#[test]
fn announced_extension() {
    let config = AudioSpecificConfig::parse(&bytes("13 88 56 e5 a5 48 80")).unwrap();
    let signalling = Signalling::BackwardCompatible;
    assert_eq!(
        config.extension,
        Some(Extension { signalling, parametric_stereo: true, sample_rate: 44_100 })
    );
    assert_eq!((config.channel_configuration, config.channels(), config.object_type), (1, 2, 2));
}

#[test]
fn adts_by_mistake() {
    let config = AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap();
    let adts = |raw: &[u8]| {
        let mut frame = config.adts_header(raw.len()).unwrap().to_vec();
        frame.extend_from_slice(raw);
        frame
    };
    let one = adts(&[0x21, 0x10, 0x04]);
    let two = [one.clone(), adts(&[0x21])].concat();
    let mut with_crc = one.clone();
    with_crc[1] = 0xF0;
    let frames =
        |data: &[u8]| AdtsFrames::detect(data).map(|found| found.map(|(_, raw)| raw.to_vec()).collect());
    for (name, data, expected) in [
        ("one", one.clone(), Some(vec![vec![0x21, 0x10, 0x04]])),
        ("two", two.clone(), Some(vec![vec![0x21, 0x10, 0x04], vec![0x21]])),
        ("with CRC", with_crc, Some(vec![vec![0x04]])),
        ("a byte too many", [one.clone(), vec![0]].concat(), None),
        ("a byte too few", one[..one.len() - 1].to_vec(), None),
        ("raw", vec![0x21, 0x10, 0x04, 0x60, 0x8C, 0x1C, 0, 0], None),
        ("empty", vec![], None),
        ("a length of 0 would never end", vec![0xFF, 0xF1, 0x4C, 0x80, 0x00, 0x1F, 0xFC], None),
        ("a length inside the header", vec![0xFF, 0xF1, 0x4C, 0x80, 0x00, 0xDF, 0xFC], None),
    ] {
        let found: Option<Vec<Vec<u8>>> = frames(&data);
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(AdtsHeader::parse(&[0xFF, 0xFB, 0x90, 0, 0, 0, 0]), None, "an MP3 header");
}

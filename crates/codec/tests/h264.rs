//! H.264 records, parameter sets and access units against what x264 wrote (values as ffprobe reports them) and
//! against the damage that publishers do to them.

use headwater_codec::Error;
use headwater_codec::h264::{
    AVC_RECORD_SIZE_MAX, AnnexB, AvcConfig, Colour, LengthSize, NAL_UNITS_MAX, NalUnits, Sps,
    access_unit_facts, recovery_frame_cnt, rewrite,
};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

const HIGH: &str =
    "0164000dffe1001b 6764000dacd941419f9f016a020202800001f480007530078a14cb 01000568ebecb22c fdf8f800";
const BASELINE: &str = "0142c00cffe10019 6742c00cd901419ea23011000003000100000300320f142a48 01000468cb8cb2";
const INTERLACED: &str =
    "0164001effe1001c 6764001eacd940b424dff8008000788000000300800000190f8a14cb 01000568fbacb22c fdf8f800";

fn high() -> AvcConfig {
    AvcConfig::parse(&bytes(HIGH)).unwrap()
}

#[test]
fn records_of_x264() {
    let bt709 = Some(Colour { primaries: 1, transfer: 1, matrix: 1, full_range: false });
    for (name, hex, codec, size, aspect, rate, colour, reorder) in [
        ("high", HIGH, "avc1.64000d", (320, 180), (1, 1), (30_000, 1_001), bt709, Some(2)),
        ("baseline", BASELINE, "avc1.42c00c", (318, 178), (1, 1), (25, 1), None, Some(0)),
        ("interlaced", INTERLACED, "avc1.64001e", (720, 576), (16, 15), (25, 1), None, Some(2)),
    ] {
        let record = bytes(hex);
        let config = AvcConfig::parse(&record).unwrap();
        let sps = config.first_sps();
        assert_eq!(config.codec_string(), codec, "{name}");
        assert_eq!((sps.width, sps.height), size, "{name}");
        assert_eq!(sps.sample_aspect_ratio, aspect, "{name}");
        assert_eq!(sps.frame_rate(), Some(rate), "{name}");
        assert_eq!(sps.colour, colour, "{name}");
        assert_eq!(sps.reorder_frames_max, reorder, "{name}");
        assert_eq!(sps.frame_mbs_only, name != "interlaced");
        assert_eq!((config.sps().len(), config.pps().len()), (1, 1));
        assert_eq!(config.length_size(), LengthSize::Four);
        assert_eq!(config.to_record(), record, "{name}: already canonical");
    }
}

#[test]
fn every_truncation_of_a_record() {
    for hex in [HIGH, BASELINE, INTERLACED] {
        let record = bytes(hex);
        let config = AvcConfig::parse(&record).unwrap();
        let without_extension = if hex == BASELINE { record.len() } else { record.len() - 4 };
        for end in 0..record.len() {
            match AvcConfig::parse(&record[..end]) {
                Ok(cut) => {
                    assert!(end >= without_extension, "cut to {end}");
                    assert_eq!(cut, config);
                    assert_eq!(cut.to_record(), record, "the extension is written again");
                }
                Err(error) => {
                    assert!(end < without_extension, "cut to {end}: {error}");
                    assert!(matches!(error, Error::Truncated { .. }), "cut to {end}: {error}");
                }
            }
        }
    }
}

#[test]
fn every_truncation_of_an_sps() {
    let config = high();
    let whole = config.first_sps();
    for end in 0..config.sps()[0].len() {
        // What is cut inside the VUI keeps the picture's size.
        if let Ok(sps) = Sps::parse(&config.sps()[0][..end]) {
            assert_eq!((sps.width, sps.height, sps.id), (whole.width, whole.height, whole.id));
            assert!(end > 8, "cut to {end}");
        }
    }
}

#[test]
fn records_as_encoders_get_them_wrong() {
    let canonical = bytes(HIGH);
    let patched = |at: usize, value: u8| {
        let mut record = canonical.clone();
        record[at] = value;
        record
    };
    let (sps, pps) = (high().sps()[0].to_vec(), high().pps()[0].to_vec());
    let list = |unit: &[u8]| [&[0, u8::try_from(unit.len()).unwrap()], unit].concat();
    let head = [1, 0x64, 0, 0x0D, 0xFF];
    let padded = |unit: &[u8]| [unit, &[0, 0]].concat();
    for (name, record) in [
        ("profile and level contradict the SPS", [&[1, 0x42, 0xC0, 0x29], &canonical[4..]].concat()),
        ("reserved bits zero", {
            let mut record = patched(4, 0x03);
            record[5] = 1;
            record
        }),
        ("twice the same SPS", [&head, &[0xE2][..], &list(&sps), &list(&sps), &[1], &list(&pps)].concat()),
        ("zeros behind", [&head, &[0xE1][..], &list(&padded(&sps)), &[1], &list(&padded(&pps))].concat()),
        ("SEI among the SPS", [&head, &[0xE2][..], &list(&sps), &list(&[6, 1]), &[1], &list(&pps)].concat()),
        ("start codes", [&[0, 0, 0, 1][..], &sps, &[0, 0, 1], &pps].concat()),
        (
            "short start codes and a delimiter",
            [&[0, 0, 1, 9, 0xF0, 0, 0, 1][..], &sps, &[0, 0, 1], &pps].concat(),
        ),
    ] {
        let config = AvcConfig::parse(&record).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(config.to_record(), canonical, "{name}");
        assert_eq!(config.was_annex_b(), name.contains("start codes"), "{name}");
    }
    for (length_size, minus_one) in [(LengthSize::One, 0xFC), (LengthSize::Two, 0xFD)] {
        let config = AvcConfig::parse(&patched(4, minus_one)).unwrap();
        assert_eq!((config.length_size(), config.to_record().to_vec()), (length_size, canonical.clone()));
    }
}

#[test]
fn records_refused() {
    let canonical = bytes(HIGH);
    let patched = |at: usize, value: u8| {
        let mut record = canonical.clone();
        record[at] = value;
        record
    };
    let sps = high().sps()[0].to_vec();
    for (name, record, expected) in [
        ("empty", vec![], "configurationVersion: data ends at bit 0"),
        ("version 0", patched(0, 0), "configurationVersion: value 0 is not allowed"),
        ("3-byte lengths", patched(4, 0xFE), "lengthSizeMinusOne: value 2 is not allowed"),
        ("no SPS", bytes("0164000dffe0 01000568ebecb22c"), "sequence parameter set is missing"),
        ("no PPS", [&canonical[..8], &sps, &[0]].concat(), "picture parameter set is missing"),
        ("SPS length too long", patched(6, 0xFF), "sequenceParameterSetNALUnit: data ends at bit 48"),
        ("only start codes", bytes("00000001 00000001"), "sequence parameter set is missing"),
        (
            "larger than any",
            vec![1; AVC_RECORD_SIZE_MAX + 1],
            "AVCDecoderConfigurationRecord bytes: 65537 is over the limit of 65536",
        ),
    ] {
        assert_eq!(AvcConfig::parse(&record).unwrap_err().to_string(), expected, "{name}");
    }
}

#[test]
fn parameter_sets_replace_their_id() {
    let config = high();
    let other_pps = bytes("68 eb ec b2 2d");
    let second_pps = bytes("68 5b ec b2 2c");
    let replaced = config.with_parameter_set(&other_pps).unwrap();
    assert_eq!(replaced.pps(), std::slice::from_ref(&other_pps));
    assert!(replaced.contains(&other_pps) && !config.contains(&other_pps));
    let added = config.with_parameter_set(&second_pps).unwrap();
    assert_eq!(added.pps().len(), 2);
    assert_ne!(added, config);
    let bigger = AvcConfig::parse(&bytes(INTERLACED)).unwrap();
    let resized = config.with_parameter_set(&bigger.sps()[0]).unwrap();
    assert_eq!((resized.first_sps().width, resized.first_sps().height), (720, 576));
    assert_eq!(resized.codec_string(), "avc1.64001e");
    assert!(config.with_parameter_set(&[0x65, 1]).is_err());
    assert!(config.with_parameter_set(&[0x67]).is_err());
    assert_eq!(config.with_parameter_set(&[&config.pps()[0][..], &[0]].concat()), Ok(config.clone()));
}

#[test]
fn nal_units_add_up_or_fail_once() {
    for (name, size, hex, expected) in [
        ("four", LengthSize::Four, "00000002 6588 00000001 06", Ok(vec![2, 1])),
        ("two", LengthSize::Two, "0002 6588 0001 06", Ok(vec![2, 1])),
        ("one", LengthSize::One, "02 6588 01 06", Ok(vec![2, 1])),
        ("empty", LengthSize::Four, "", Ok(vec![])),
        ("zero length", LengthSize::Four, "00000000 00000001 06", Ok(vec![0, 1])),
        ("one too long", LengthSize::Four, "00000001 06 00000003 6588", Err(40)),
        ("length cut", LengthSize::Four, "00000001 06 0000", Err(40)),
        ("huge", LengthSize::Four, "ffffffff 06", Err(0)),
    ] {
        let data = bytes(hex);
        let units: Result<Vec<_>, _> = NalUnits::new(&data, size).map(|nal| nal.map(<[u8]>::len)).collect();
        let expected = expected.map_err(|bit_offset| Error::Truncated { field: "NALUnitLength", bit_offset });
        assert_eq!(units, expected, "{name}");
        assert!(NalUnits::new(&data, size).count() <= data.len());
    }
}

#[test]
fn annex_b_units() {
    for (name, hex, expected) in [
        ("two", "00000001 6588 000001 0605", vec!["6588", "0605"]),
        ("zeros behind", "000001 6588 0000 00000001 06", vec!["6588", "06"]),
        ("bytes before", "ff00 000001 65", vec!["65"]),
        ("nothing", "6588", vec![]),
        ("empty units", "000001 000001 000001 65 000001", vec!["65"]),
    ] {
        let data = bytes(hex);
        let units: Vec<_> = AnnexB::new(&data).map(<[u8]>::to_vec).collect();
        assert_eq!(units, expected.into_iter().map(bytes).collect::<Vec<_>>(), "{name}");
    }
}

fn access_unit(units: &[&[u8]]) -> Vec<u8> {
    units
        .iter()
        .flat_map(|unit| [&u32::try_from(unit.len()).unwrap().to_be_bytes(), *unit].concat())
        .collect()
}

#[test]
fn access_unit_table() {
    let config = high();
    let (sps, pps) = (config.sps()[0].to_vec(), config.pps()[0].to_vec());
    let padded_pps = [&pps[..], &[0]].concat();
    let (aud, sei, idr, inter, filler) =
        (&[9, 0xF0][..], &[6, 5, 1, 7, 0x80][..], &[0x65, 1][..], &[0x41, 1][..], &[12, 0xFF, 0x80][..]);
    let recovery = &[6, 6, 1, 0xC4, 0x80][..];
    let other_pps = &[0x68, 0xEB, 0xEC, 0xB2, 0x2D][..];
    // name, NAL units, flags (Idr, no-Vcl, Recovery, New sets, Gap), kept indices
    for (name, units, flags, kept) in [
        ("plain IDR", vec![sei, idr], "I", vec![0, 1]),
        ("plain inter", vec![inter], "", vec![0]),
        ("delimiter in front", vec![aud, sei, idr], "I", vec![1, 2]),
        ("delimiter behind SEI (ffmpeg)", vec![sei, aud, idr], "IG", vec![0, 2]),
        ("known parameter sets", vec![aud, &sps, &padded_pps, idr], "I", vec![3]),
        ("another PPS", vec![&sps, other_pps, idr], "IN", vec![1, 2]),
        ("filler and end behind", vec![inter, filler, &[10], &[11]], "", vec![0]),
        ("empty in the middle", vec![inter, &[], inter], "G", vec![0, 2]),
        ("slices of two kinds, IDR first", vec![idr, inter], "I", vec![0, 1]),
        ("slices of two kinds, IDR last", vec![inter, idr], "", vec![0, 1]),
        ("recovery point", vec![recovery, inter], "R", vec![0, 1]),
        ("recovery point at an IDR", vec![recovery, idr], "I", vec![0, 1]),
        ("SEI alone", vec![sei], "V", vec![0]),
        ("nothing to keep", vec![aud, &sps], "V", vec![]),
        ("nothing", vec![], "V", vec![]),
    ] {
        let data = access_unit(&units);
        let facts = access_unit_facts(&data, LengthSize::Four, &config).unwrap();
        let mut found = String::new();
        for (set, letter) in [
            (facts.idr, 'I'),
            (!facts.has_vcl, 'V'),
            (facts.recovery_point, 'R'),
            (facts.new_parameter_sets, 'N'),
            (!facts.contiguous, 'G'),
        ] {
            if set {
                found.push(letter);
            }
        }
        assert_eq!(found, flags, "{name}");
        assert_eq!(facts.nal_units, units.len());
        let expected = access_unit(&kept.iter().map(|&index: &usize| units[index]).collect::<Vec<_>>());
        let mut rewritten = Vec::new();
        rewrite(&data, LengthSize::Four, &config, &mut rewritten).unwrap();
        assert_eq!(rewritten, expected, "{name}");
        if facts.contiguous {
            assert_eq!(data[facts.kept.clone()], expected, "{name}");
        }
        // Every truncation fails, except between two NAL units.
        let boundaries: Vec<_> = (0..units.len()).map(|count| access_unit(&units[..count]).len()).collect();
        for end in 0..data.len() {
            let cut = access_unit_facts(&data[..end], LengthSize::Four, &config);
            assert_eq!(cut.is_ok(), boundaries.contains(&end), "{name} cut to {end}");
        }
    }
}

#[test]
fn nal_units_are_counted() {
    let config = high();
    let many = access_unit(&vec![&[0x41, 1][..]; NAL_UNITS_MAX]);
    assert!(access_unit_facts(&many, LengthSize::Four, &config).is_ok());
    let too_many = access_unit(&vec![&[0x41, 1][..]; NAL_UNITS_MAX + 1]);
    assert!(matches!(access_unit_facts(&too_many, LengthSize::Four, &config), Err(Error::Limit { .. })));
}

#[test]
fn recovery_point_messages() {
    for (name, hex, expected) in [
        ("alone", "06 06 01 c4 80", Some(0)),
        ("count 2", "06 06 01 60 80", Some(2)),
        ("behind another", "06 05 02 aabb 06 01 c4 80", Some(0)),
        ("behind a long one", &format!("06 05 ff01 {} 06 01 c4 80", "aa".repeat(256)), Some(0)),
        ("other only", "06 05 02 aabb 80", None),
        ("size past the end", "06 05 ff", None),
        ("type without end", "06 ffff", None),
        ("empty", "", None),
    ] {
        assert_eq!(recovery_frame_cnt(&bytes(hex)), expected, "{name}");
    }
}

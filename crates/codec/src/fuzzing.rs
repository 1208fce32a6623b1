//! Bodies of the fuzz targets; an ordinary test runs them over their seeds.
#![allow(clippy::panic, reason = "what a fuzz body finds, it tells by a panic")]

use crate::aac::{AdtsHeader, AudioSpecificConfig};
use crate::bits::BitReader;
use crate::h264::{AvcConfig, DIMENSION_MAX, Sps};
use crate::scte35::SpliceInfo;
use crate::{crc32, mp3};

/// A record that parses is written, parsed again to an equal value, and written to the same bytes.
pub fn avcc(data: &[u8]) {
    let Ok(config) = AvcConfig::parse(data) else { return };
    let record = config.to_record();
    let again = AvcConfig::parse(&record);
    assert_eq!(again.as_ref(), Ok(&config));
    assert!(again.is_ok_and(|again| again.to_record() == record && again.first_sps() == config.first_sps()));
    // Its own parameter sets change nothing.
    for nal in config.sps().iter().chain(config.pps()) {
        assert!(config.contains(nal));
    }
}

/// A section that parses can be given any time, and reads the same but for that.
pub fn scte35(data: &[u8]) {
    // Chance finds no CRC; with the right one the rest is reached.
    let mut section = data.to_vec();
    section.extend_from_slice(&crc32::mpeg2(data).to_be_bytes());
    for section in [data, &section] {
        let Ok(info) = SpliceInfo::parse(section) else { continue };
        for ticks in [0, 1, -1, 1 << 33, i64::MAX] {
            let timed = info.timed_at(ticks);
            let Ok(again) = SpliceInfo::parse(&timed) else { panic!("{timed:02x?} is no section any more") };
            let said = |info: &SpliceInfo| (info.splice(), info.event_id(), info.duration());
            assert_eq!(said(&again), said(&info));
            // Only the adjustment and the CRC are others.
            let timed_back = again.timed_at(ticks);
            assert_eq!(timed_back, timed);
            assert!(
                timed
                    .iter()
                    .zip(section)
                    .enumerate()
                    .all(|(at, (a, b))| { a == b || (4..9).contains(&at) || at + 4 >= section.len() })
            );
        }
    }
}

/// The reading of an SPS stays inside its bounds and depends on the payload only, not on how it was escaped.
pub fn sps(data: &[u8]) {
    let parsed = Sps::parse(data);
    let Some((&header, payload)) = data.split_first() else { return };
    let mut escaped = vec![header];
    let mut reader = BitReader::rbsp(payload);
    let mut zeros = 0;
    while let Ok(byte) = reader.bits_u8(8, "byte") {
        // H.264 7.4.1: 00 00 may be followed by nothing below 04.
        if zeros >= 2 && byte <= 3 {
            escaped.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        escaped.push(byte);
    }
    let again = Sps::parse(&escaped);
    match parsed {
        Ok(sps) => {
            assert!((1..=DIMENSION_MAX).contains(&sps.width) && (1..=DIMENSION_MAX).contains(&sps.height));
            assert!(sps.sample_aspect_ratio.0 > 0 && sps.sample_aspect_ratio.1 > 0);
            if let Some((numerator, denominator)) = sps.frame_rate() {
                assert!(denominator > 0 && numerator >= denominator && numerator / denominator <= 240);
            }
            assert_eq!(again, Ok(sps));
        }
        Err(_) => assert!(again.is_err()),
    }
}

/// What can be written parses to an equal value, and an ADTS header says what the configuration says.
pub fn asc(data: &[u8]) {
    let Ok(config) = AudioSpecificConfig::parse(data) else { return };
    assert!(config.channels() > 0 && config.output_sample_rate() > 0);
    if let Ok(bytes) = config.to_bytes() {
        assert_eq!(AudioSpecificConfig::parse(&bytes), Ok(config));
    }
    for frame_len in [0, 370, 8_184] {
        let Ok(header) = config.adts_header(frame_len) else { continue };
        let expected = AdtsHeader {
            header_size: 7,
            frame_size: frame_len + 7,
            object_type: config.object_type,
            sample_rate: config.sample_rate,
            channel_configuration: config.channel_configuration,
        };
        assert_eq!(AdtsHeader::parse(&header), Some(expected));
    }
}

/// Frames tile the data from its first byte: to the end, or to the one error that ends them.
pub fn mp3(data: &[u8]) {
    let mut rest = data;
    for frame in mp3::Frames::new(data) {
        let Ok((header, frame)) = frame else {
            let short = |header: mp3::FrameHeader| header.frame_size > rest.len();
            assert!(mp3::FrameHeader::parse(rest).is_ok_and(short) || mp3::FrameHeader::parse(rest).is_err());
            return;
        };
        assert!(header.frame_size >= mp3::HEADER_SIZE && frame.len() == header.frame_size);
        assert_eq!(mp3::FrameHeader::parse(frame), Ok(header));
        rest = rest.strip_prefix(frame).unwrap_or_else(|| panic!("a frame that isn't at the front"));
    }
    assert!(rest.is_empty());
}

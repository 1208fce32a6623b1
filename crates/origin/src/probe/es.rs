//! As much of elementary streams as a segment's examination needs: the NAL units of its first picture, the frames of ADTS.

/// The codings whose NAL units are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VideoCodec {
    H264,
    H265,
}

/// What a segment's first access unit starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct FirstUnit {
    /// The first NAL unit is an access unit delimiter.
    pub(super) delimiter: bool,
    /// SPS and PPS (HEVC: VPS too) stand in front of the first slice.
    pub(super) parameter_sets: bool,
    /// The first slice is of an IDR picture (HEVC: of any IRAP picture).
    pub(super) random_access_picture: bool,
}

impl FirstUnit {
    /// Reads an access unit with start codes (H.264 Annex B).
    pub(super) fn read(codec: VideoCodec, data: &[u8]) -> FirstUnit {
        Self::of(codec, nal_headers(data))
    }

    /// Reads an access unit whose NAL units have lengths of `length_size` bytes in front (14496-15 5.3.2).
    pub(super) fn read_sized(codec: VideoCodec, data: &[u8], length_size: u8) -> FirstUnit {
        let mut rest = data;
        let headers = std::iter::from_fn(|| {
            let (length, after) = rest.split_at_checked(usize::from(length_size).max(1))?;
            let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
            let header = *after.first()?;
            // The last one may be cut off by the bytes that are looked at.
            rest = after.get(length..).unwrap_or_default();
            Some(header)
        });
        Self::of(codec, headers)
    }

    fn of(codec: VideoCodec, headers: impl Iterator<Item = u8>) -> FirstUnit {
        let mut unit = FirstUnit::default();
        let mut sets = [false; 3];
        for (index, header) in headers.enumerate() {
            let nal_type = match codec {
                VideoCodec::H264 => header & 0x1f,
                VideoCodec::H265 => (header >> 1) & 0x3f,
            };
            // H.264 table 7-1 and H.265 table 7-1.
            let (delimiter, set, slice, random_access) = match (codec, nal_type) {
                (VideoCodec::H264, 9) | (VideoCodec::H265, 35) => (true, None, false, false),
                (VideoCodec::H264, 7) | (VideoCodec::H265, 33) => (false, Some(0), false, false),
                (VideoCodec::H264, 8) | (VideoCodec::H265, 34) => (false, Some(1), false, false),
                (VideoCodec::H265, 32) => (false, Some(2), false, false),
                (VideoCodec::H264, 5) | (VideoCodec::H265, 16..=23) => (false, None, true, true),
                (VideoCodec::H264, 1..=4) | (VideoCodec::H265, 0..=15) => (false, None, true, false),
                _ => (false, None, false, false),
            };
            unit.delimiter |= delimiter && index == 0;
            if let Some(seen) = set.and_then(|set| sets.get_mut(set)) {
                *seen = true;
            }
            if slice {
                unit.random_access_picture = random_access;
                let [sps, pps, vps] = sets;
                unit.parameter_sets = sps && pps && (vps || codec == VideoCodec::H264);
                break;
            }
        }
        unit
    }
}

/// The first byte of every NAL unit behind a start code.
fn nal_headers(data: &[u8]) -> impl Iterator<Item = u8> {
    data.windows(4).filter_map(|window| match window {
        [0, 0, 1, header] => Some(*header),
        _ => None,
    })
}

/// The frames of one PES packet of AAC with ADTS headers (ISO/IEC 13818-7 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Adts {
    /// Blocks of 1,024 samples, at most 4 for every 7 bytes read.
    blocks: i64,
    /// One of [`SAMPLE_RATES`].
    sample_rate: i64,
}

/// Table 1.18 of ISO/IEC 14496-3.
const SAMPLE_RATES: [i64; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

impl Adts {
    /// Reads whole frames; `None` when `data` is anything else.
    pub(super) fn read(data: &[u8]) -> Option<Adts> {
        let mut rest = data;
        let mut blocks = 0;
        let mut sample_rate = None;
        while let [0xff, second, third, fourth, fifth, sixth, seventh, ..] = rest {
            if second & 0xf6 != 0xf0 {
                return None;
            }
            let rate = *SAMPLE_RATES.get(usize::from(third >> 2 & 0x0f))?;
            let length =
                usize::from(fourth & 0x03) << 11 | usize::from(*fifth) << 3 | usize::from(sixth >> 5);
            // A frame holds at least its header: a length of 0 would never end.
            rest = rest.get(length.max(7)..)?;
            blocks += i64::from(seventh & 0x03) + 1;
            sample_rate = Some(rate);
        }
        (rest.is_empty()).then_some(())?;
        Some(Adts { blocks, sample_rate: sample_rate? })
    }

    /// Ticks of 90 kHz that the frames last, rounded.
    pub(super) fn ticks(self) -> i64 {
        (self.blocks * 1_024 * 90_000 + self.sample_rate / 2) / self.sample_rate
    }

    /// Ticks of 90 kHz of one block.
    pub(super) fn frame_ticks(self) -> i64 {
        1_024 * 90_000 / self.sample_rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_units() {
        let unit = |delimiter, parameter_sets, random_access_picture| FirstUnit {
            delimiter,
            parameter_sets,
            random_access_picture,
        };
        use VideoCodec::{H264, H265};
        for (name, codec, data, expected) in [
            ("nothing", H264, &[][..], unit(false, false, false)),
            (
                "AUD SPS PPS IDR",
                H264,
                &[0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 0, 0, 1, 0x68, 0, 0, 1, 0x65, 0x88][..],
                unit(true, true, true),
            ),
            (
                "AUD, SEI, no sets, IDR",
                H264,
                &[0, 0, 1, 9, 0xf0, 0, 0, 1, 6, 0, 0, 1, 0x65, 0][..],
                unit(true, false, true),
            ),
            (
                "sets behind the slice",
                H264,
                &[0, 0, 1, 0x65, 1, 0, 0, 1, 0x67, 0, 0, 1, 0x68, 0][..],
                unit(false, false, true),
            ),
            (
                "a delimiter in second place",
                H264,
                &[0, 0, 1, 6, 1, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x41, 0][..],
                unit(false, false, false),
            ),
            (
                "HEVC",
                H265,
                &[
                    0, 0, 1, 0x46, 1, 0x50, 0, 0, 1, 0x40, 1, 0, 0, 1, 0x42, 1, 0, 0, 1, 0x44, 1, 0, 0, 1,
                    0x26, 1,
                ][..],
                unit(true, true, true),
            ),
            (
                "HEVC without VPS",
                H265,
                &[0, 0, 1, 0x42, 1, 0, 0, 1, 0x44, 1, 0, 0, 1, 0x02, 1][..],
                unit(false, false, false),
            ),
        ] {
            assert_eq!(FirstUnit::read(codec, data), expected, "{name}");
        }
    }

    #[test]
    fn first_units_with_lengths() {
        use VideoCodec::H264;
        let nals = [0, 0, 0, 2, 0x67, 1, 0, 0, 0, 1, 0x68, 0, 0, 0, 9, 0x65, 1];
        let unit = FirstUnit::read_sized(H264, &nals, 4);
        assert!(unit.parameter_sets && unit.random_access_picture && !unit.delimiter);
        let slice = FirstUnit::read_sized(H264, &[1, 0x41], 1);
        assert!(!slice.random_access_picture);
        for (data, size) in
            [(&[][..], 4), (&[0, 0, 0, 0][..], 4), (&[0, 0, 0, 0, 0, 0][..], 0), (&[0xff; 9][..], 200)]
        {
            assert_eq!(FirstUnit::read_sized(H264, data, size), FirstUnit::default(), "{data:?}");
        }
    }

    #[test]
    fn adts_frames() {
        // AAC-LC, 48 kHz, stereo, 9 bytes in all.
        let frame = [0xff, 0xf1, 0x4c, 0x80, 0x01, 0x3f, 0xfc, 1, 2];
        let two = [frame, frame].concat();
        let adts = Adts::read(&two).unwrap();
        assert_eq!((adts.ticks(), adts.frame_ticks()), (3_840, 1_920));
        let rate_44100 = [0xff, 0xf1, 0x50, 0x80, 0x01, 0x3f, 0xfc, 1, 2];
        assert_eq!(Adts::read(&rate_44100).map(Adts::ticks), Some(2_090));
        for end in 0..two.len() {
            let whole = end == frame.len();
            assert_eq!(Adts::read(&two[..end]).is_some(), whole, "{end} bytes");
        }
        for (name, data) in [
            ("no sync", &[0x21_u8; 20][..]),
            ("layer", &[0xff, 0xf3, 0x4c, 0x80, 0x01, 0x3f, 0xfc, 1, 2][..]),
            ("rate 15", &[0xff, 0xf1, 0x7c, 0x80, 0x01, 0x3f, 0xfc, 1, 2][..]),
            ("length 0", &[0xff, 0xf1, 0x4c, 0x80, 0x00, 0x1f, 0xfc, 1, 2][..]),
        ] {
            assert_eq!(Adts::read(data), None, "{name}");
        }
    }
}

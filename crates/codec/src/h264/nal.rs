//! NAL units: their types, and walking through them in length-prefixed and in Annex B form.

use crate::Error;
use crate::bits::BitReader;

/// nal_unit_type (H.264 table 7-1), 0 to 31.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NalType(u8);

impl NalType {
    /// Coded slice of a non-IDR picture.
    pub const SLICE: NalType = NalType(1);
    /// Coded slice of an IDR picture.
    pub const IDR: NalType = NalType(5);
    /// Supplemental enhancement information.
    pub const SEI: NalType = NalType(6);
    /// Sequence parameter set.
    pub const SPS: NalType = NalType(7);
    /// Picture parameter set.
    pub const PPS: NalType = NalType(8);
    /// Access unit delimiter.
    pub const ACCESS_UNIT_DELIMITER: NalType = NalType(9);
    /// End of sequence.
    pub const END_OF_SEQUENCE: NalType = NalType(10);
    /// End of stream.
    pub const END_OF_STREAM: NalType = NalType(11);
    /// Filler data.
    pub const FILLER: NalType = NalType(12);
    /// Sequence parameter set extension (auxiliary pictures).
    pub const SPS_EXTENSION: NalType = NalType(13);

    /// The type of a NAL unit by its first byte; `None` for an empty one.
    pub fn of(nal: &[u8]) -> Option<NalType> {
        nal.first().map(|header| NalType(header & 0x1F))
    }

    /// The number in table 7-1.
    pub fn value(self) -> u8 {
        self.0
    }

    /// A slice, or a data partition of one, of the primary coded picture (types 1 to 5).
    pub fn is_vcl(self) -> bool {
        matches!(self.0, 1..=5)
    }

    /// A sequence or picture parameter set.
    pub fn is_parameter_set(self) -> bool {
        self == NalType::SPS || self == NalType::PPS
    }
}

/// Size of the length field in front of every NAL unit; 3 bytes do not exist (ISO/IEC 14496-15 5.3.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LengthSize {
    /// One byte.
    One,
    /// Two bytes, big-endian.
    Two,
    /// Four bytes, big-endian; nearly every encoder.
    Four,
}

impl LengthSize {
    /// The size in bytes: 1, 2 or 4.
    pub fn bytes(self) -> usize {
        match self {
            LengthSize::One => 1,
            LengthSize::Two => 2,
            LengthSize::Four => 4,
        }
    }
}

/// Iterates the NAL units of length-prefixed data. Yields slices without their length fields, empty ones included;
/// a length that passes the end, or a length field cut short, is yielded once as an error and ends the iteration.
#[derive(Debug, Clone)]
pub struct NalUnits<'a> {
    rest: &'a [u8],
    size: usize,
    length_size: LengthSize,
}

impl<'a> NalUnits<'a> {
    /// The NAL units of `data`, each behind `length_size` bytes of length.
    pub fn new(data: &'a [u8], length_size: LengthSize) -> NalUnits<'a> {
        NalUnits { rest: data, size: data.len(), length_size }
    }

    /// Bytes of the data consumed so far, length fields included.
    pub fn offset(&self) -> usize {
        self.size.saturating_sub(self.rest.len())
    }

    fn split(&self) -> Option<(&'a [u8], &'a [u8])> {
        let (length, rest) = match self.length_size {
            LengthSize::Four => {
                let (field, rest) = self.rest.split_first_chunk::<4>()?;
                (u32::from_be_bytes(*field), rest)
            }
            LengthSize::Two => {
                let (field, rest) = self.rest.split_first_chunk::<2>()?;
                (u32::from(u16::from_be_bytes(*field)), rest)
            }
            LengthSize::One => {
                let (field, rest) = self.rest.split_first()?;
                (u32::from(*field), rest)
            }
        };
        rest.split_at_checked(usize::try_from(length).ok()?)
    }
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = Result<&'a [u8], Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((nal, rest)) = self.split() else {
            let bit_offset = u64::try_from(self.offset()).unwrap_or(u64::MAX).saturating_mul(8);
            self.rest = &[];
            return Some(Err(Error::Truncated { field: "NALUnitLength", bit_offset }));
        };
        self.rest = rest;
        Some(Ok(nal))
    }
}

/// True when the data begins with an Annex B start code, three or four bytes long (H.264 B.1).
pub fn is_annex_b(data: &[u8]) -> bool {
    data.starts_with(&[0, 0, 1]) || data.starts_with(&[0, 0, 0, 1])
}

/// Iterates the NAL units of a byte stream with start codes (H.264 Annex B). Bytes before the first start code and
/// zeros at the end of a NAL unit are passed over; empty NAL units are not yielded.
#[derive(Debug, Clone)]
pub struct AnnexB<'a> {
    rest: &'a [u8],
}

impl<'a> AnnexB<'a> {
    /// The NAL units of `data`.
    pub fn new(data: &'a [u8]) -> AnnexB<'a> {
        let rest = split_at_start_code(data).map_or(&[][..], |(_, rest)| rest);
        AnnexB { rest }
    }
}

impl<'a> Iterator for AnnexB<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let (nal, rest) = split_at_start_code(self.rest).unwrap_or((self.rest, &[]));
            self.rest = rest;
            let nal = trim_trailing_zeros(nal);
            if !nal.is_empty() {
                return Some(nal);
            }
        }
        None
    }
}

fn split_at_start_code(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.windows(3).position(|window| window == [0, 0, 1])?;
    let (before, from) = data.split_at_checked(at)?;
    Some((before, from.get(3..)?))
}

/// A NAL unit without trailing zero bytes: it cannot end in one (H.264 7.4.1), some encoders pad.
pub(crate) fn trim_trailing_zeros(mut nal: &[u8]) -> &[u8] {
    while let Some((0, rest)) = nal.split_last() {
        nal = rest;
    }
    nal
}

/// recovery_frame_cnt of the first recovery point message (payload 6, H.264 D.1.8) in an SEI NAL unit, header byte
/// included; `None` when there is none or the NAL unit is damaged.
pub fn recovery_frame_cnt(nal: &[u8]) -> Option<u32> {
    let mut reader = BitReader::rbsp(nal.get(1..)?);
    while reader.remaining() > 8 {
        let payload_type = ff_coded(&mut reader)?;
        let payload_size = ff_coded(&mut reader)?;
        if payload_type == 6 {
            return reader.ue("recovery_frame_cnt").ok();
        }
        for _ in 0..payload_size {
            reader.bits_u8(8, "sei_payload").ok()?;
        }
    }
    None
}

/// A number as a run of FF bytes plus a last byte (H.264 7.3.2.3.1).
fn ff_coded(reader: &mut BitReader<'_>) -> Option<u64> {
    let mut value: u64 = 0;
    loop {
        let byte = reader.bits_u8(8, "ff_byte").ok()?;
        value = value.checked_add(u64::from(byte))?;
        if byte != 0xFF {
            return Some(value);
        }
    }
}

//! ADTS headers (ISO/IEC 14496-3 1.A.2.2): read where an encoder put them by mistake.

use super::audio_specific_config::SAMPLE_RATES;

/// Size of an ADTS header without CRC, in bytes.
pub const ADTS_HEADER_SIZE: usize = 7;
/// Largest ADTS frame, header included: aac_frame_length has 13 bits.
pub const ADTS_FRAME_SIZE_MAX: usize = 8_191;

/// The fields of an ADTS header that describe its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AdtsHeader {
    /// Size of the header: 7 bytes, 9 with CRC.
    pub header_size: usize,
    /// Size of header and frame together, in bytes.
    pub frame_size: usize,
    /// audioObjectType, 1 to 4 (profile_ObjectType + 1).
    pub object_type: u8,
    /// Samples per second.
    pub sample_rate: u32,
    /// channel_configuration, 0 to 7.
    pub channel_configuration: u8,
}

impl AdtsHeader {
    /// Parses the header of a frame with one raw data block; `None` for anything else, by far the most common
    /// answer: the caller asks whether a header is there at all.
    pub fn parse(data: &[u8]) -> Option<AdtsHeader> {
        let &[b0, b1, b2, b3, b4, b5, b6] = data.first_chunk::<ADTS_HEADER_SIZE>()?;
        // Sync word, and layer 00 (a layer III header has 01 there).
        if b0 != 0xFF || b1 & 0xF6 != 0xF0 || b6 & 0b11 != 0 {
            return None;
        }
        let header_size = if b1 & 1 == 1 { ADTS_HEADER_SIZE } else { ADTS_HEADER_SIZE + 2 };
        let frame_size = (usize::from(b3 & 0b11) << 11) | (usize::from(b4) << 3) | usize::from(b5 >> 5);
        if frame_size < header_size {
            return None;
        }
        Some(AdtsHeader {
            header_size,
            frame_size,
            object_type: (b2 >> 6).saturating_add(1),
            sample_rate: *SAMPLE_RATES.get(usize::from((b2 >> 2) & 0x0F))?,
            channel_configuration: ((b2 & 1) << 2) | (b3 >> 6),
        })
    }
}

/// The raw frames of data that consists of ADTS frames from its first byte to its last.
///
/// A raw AAC frame cannot be mistaken for one: it would begin with ID_END (111), that is, be empty.
#[derive(Debug, Clone)]
pub struct AdtsFrames<'a> {
    rest: &'a [u8],
}

impl<'a> AdtsFrames<'a> {
    /// `None` unless every header is in place and the lengths add up exactly.
    pub fn detect(data: &'a [u8]) -> Option<AdtsFrames<'a>> {
        let mut rest = data;
        loop {
            let header = AdtsHeader::parse(rest)?;
            rest = rest.get(header.frame_size..)?;
            if rest.is_empty() {
                return Some(AdtsFrames { rest: data });
            }
        }
    }
}

impl<'a> Iterator for AdtsFrames<'a> {
    type Item = (AdtsHeader, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = AdtsHeader::parse(self.rest)?;
        let (frame, rest) = self.rest.split_at_checked(header.frame_size)?;
        self.rest = rest;
        Some((header, frame.get(header.header_size..)?))
    }
}

//! MPEG audio layer III (ISO/IEC 11172-3 2.4.1.3, 13818-3, and the unofficial version 2.5): frame headers, and the
//! frames of a message.

use crate::Error;

/// Size of a frame header in bytes.
pub const HEADER_SIZE: usize = 4;

/// Bit rates of layer III in kbit/s by bitrate_index 1 to 14: MPEG-1, and MPEG-2 with 2.5.
const BIT_RATES_1: [u16; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const BIT_RATES_2: [u16; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

/// The version of the standard a frame follows; it halves the sampling rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// MPEG-1: 44.1, 48, 32 kHz.
    One,
    /// MPEG-2: half of these.
    Two,
    /// MPEG-2.5: a quarter.
    TwoAndHalf,
}

/// A layer III frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameHeader {
    /// The version.
    pub version: Version,
    /// Bits per second.
    pub bit_rate: u32,
    /// Samples per second.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Size of header and frame together, in bytes.
    pub frame_size: usize,
}

impl FrameHeader {
    /// Parses the four bytes in front of a frame.
    ///
    /// # Errors
    /// [`Error::Truncated`]; [`Error::Invalid`] naming the field: syncword, version or layer, free format and
    /// reserved rates.
    pub fn parse(data: &[u8]) -> Result<FrameHeader, Error> {
        let &[b0, b1, b2, b3] =
            data.first_chunk::<HEADER_SIZE>().ok_or(Error::Truncated { field: "syncword", bit_offset: 0 })?;
        let invalid = |field, value: u8| Error::Invalid { field, value: u64::from(value) };
        if b0 != 0xFF || b1 & 0xE0 != 0xE0 {
            return Err(invalid("syncword", b0));
        }
        let version = match (b1 >> 3) & 0b11 {
            3 => Version::One,
            2 => Version::Two,
            0 => Version::TwoAndHalf,
            reserved => return Err(invalid("ID", reserved)),
        };
        if (b1 >> 1) & 0b11 != 1 {
            return Err(invalid("layer", (b1 >> 1) & 0b11));
        }
        let rates = if version == Version::One { &BIT_RATES_1 } else { &BIT_RATES_2 };
        let bitrate_index = b2 >> 4;
        // Index 0 is free format, whose frame size no header tells.
        let kilobits = usize::from(bitrate_index).checked_sub(1).and_then(|index| rates.get(index));
        let bit_rate =
            u32::from(*kilobits.ok_or(invalid("bitrate_index", bitrate_index))?).saturating_mul(1_000);
        let full_rate: u32 = match (b2 >> 2) & 0b11 {
            0 => 44_100,
            1 => 48_000,
            2 => 32_000,
            reserved => return Err(invalid("sampling_frequency", reserved)),
        };
        let sample_rate = match version {
            Version::One => full_rate,
            Version::Two => full_rate / 2,
            Version::TwoAndHalf => full_rate / 4,
        };
        let padding = usize::from((b2 >> 1) & 1);
        // 2.4.3.1: slots of one byte; samples / 8 * bit rate / sampling rate.
        let slots_factor: u32 = if version == Version::One { 144 } else { 72 };
        let bytes = slots_factor.saturating_mul(bit_rate).checked_div(sample_rate).unwrap_or(0);
        Ok(FrameHeader {
            version,
            bit_rate,
            sample_rate,
            channels: if b3 >> 6 == 3 { 1 } else { 2 },
            frame_size: usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(padding),
        })
    }

    /// Samples per frame and channel: 1,152, or 576 at the lower rates.
    pub fn samples_per_frame(&self) -> u32 {
        if self.version == Version::One { 1_152 } else { 576 }
    }

    /// RFC 6381 string. One for all versions: the name by which MPEG-4 knows layer III, as HLS players want it.
    pub fn codec_string(&self) -> &'static str {
        "mp4a.40.34"
    }
}

/// Iterates the frames of data that begins with a frame header: the header and the whole frame with it. Ends after
/// the first error.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    rest: &'a [u8],
    size: usize,
}

impl<'a> Frames<'a> {
    /// The frames of `data`.
    pub fn new(data: &'a [u8]) -> Frames<'a> {
        Frames { rest: data, size: data.len() }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<(FrameHeader, &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let at = self.size.saturating_sub(self.rest.len());
        let frame = FrameHeader::parse(self.rest).and_then(|header| {
            let bit_offset = u64::try_from(at).unwrap_or(u64::MAX).saturating_mul(8);
            let (frame, rest) = self
                .rest
                .split_at_checked(header.frame_size)
                .ok_or(Error::Truncated { field: "audio_data", bit_offset })?;
            Ok((header, frame, rest))
        });
        match frame {
            Ok((header, frame, rest)) => {
                self.rest = rest;
                Some(Ok((header, frame)))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

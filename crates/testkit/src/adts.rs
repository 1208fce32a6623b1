//! ADTS streams (ISO/IEC 13818-7 6.2) taken apart into frames.

/// One frame: what its header says, and the raw data block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdtsFrame<'a> {
    /// Audio object type: profile + 1.
    pub object_type: u8,
    /// Index into the table of sampling rates.
    pub frequency_index: u8,
    /// channel_configuration.
    pub channels: u8,
    /// The frame without its header.
    pub raw: &'a [u8],
}

/// Samples per second of a sampling_frequency_index; 0 for a reserved one.
pub fn sample_rate(index: u8) -> u32 {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
    ];
    RATES.get(usize::from(index)).copied().unwrap_or(0)
}

/// The frames that fill `stream` exactly.
///
/// # Errors
/// A sentence naming the byte where it stops being ADTS as this project writes it (no CRC, one block per frame).
pub fn frames(stream: &[u8]) -> Result<Vec<AdtsFrame<'_>>, String> {
    let mut frames = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let at = stream.len() - rest.len();
        let [b0, b1, b2, b3, b4, b5, b6, ..] = *rest else {
            return Err(format!("header cut short at byte {at}"));
        };
        if b0 != 0xff || b1 & 0xf6 != 0xf0 {
            return Err(format!("no syncword at byte {at}"));
        }
        if b1 & 1 == 0 {
            return Err(format!("CRC announced at byte {at}"));
        }
        if b6 & 3 != 0 {
            return Err(format!("more than one block at byte {at}"));
        }
        let length = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
        let (frame, after) = rest
            .split_at_checked(length)
            .ok_or_else(|| format!("frame of {length} bytes cut short at byte {at}"))?;
        let raw = frame.get(7..).ok_or_else(|| format!("frame length {length} at byte {at}"))?;
        frames.push(AdtsFrame {
            object_type: (b2 >> 6) + 1,
            frequency_index: b2 >> 2 & 15,
            channels: (b2 & 1) << 2 | b3 >> 6,
            raw,
        });
        rest = after;
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AAC-LC, 48 kHz, stereo, 377 bytes in all: what ffmpeg writes.
    const HEADER: [u8; 7] = [0xff, 0xf1, 0x4c, 0x80, 0x2f, 0x3f, 0xfc];

    #[test]
    fn reference_header() {
        let mut stream = HEADER.to_vec();
        stream.resize(377, 0x21);
        let found = frames(&stream).unwrap();
        let [frame] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((frame.object_type, sample_rate(frame.frequency_index), frame.channels), (2, 48_000, 2));
        assert_eq!(frame.raw.len(), 370);
    }

    #[test]
    fn every_truncation_is_refused() {
        let mut stream = HEADER.to_vec();
        stream.resize(377, 0x21);
        for end in 1..stream.len() {
            assert!(frames(&stream[..end]).is_err(), "{end}");
        }
    }
}

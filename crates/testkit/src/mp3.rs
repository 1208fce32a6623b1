//! MPEG audio layer III streams (ISO/IEC 11172-3 2.4.2.3) taken apart into frames.

/// One frame, its header included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mp3Frame<'a> {
    /// The frame.
    pub bytes: &'a [u8],
    /// Samples per second.
    pub rate: u32,
    /// Samples that it decodes to: 1,152 or 576.
    pub samples: u32,
}

/// The frames that fill `stream` exactly.
///
/// # Errors
/// A sentence naming the byte where no frame begins.
pub fn frames(stream: &[u8]) -> Result<Vec<Mp3Frame<'_>>, String> {
    let mut frames = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let at = stream.len() - rest.len();
        let (size, rate, samples) = header(rest).ok_or_else(|| format!("no frame header at byte {at}"))?;
        let (bytes, after) = rest
            .split_at_checked(size)
            .ok_or_else(|| format!("frame of {size} bytes cut short at byte {at}"))?;
        frames.push(Mp3Frame { bytes, rate, samples });
        rest = after;
    }
    Ok(frames)
}

/// Bytes, samples per second and samples of the frame that begins here.
fn header(bytes: &[u8]) -> Option<(usize, u32, u32)> {
    const KBITS_1: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const KBITS_2: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let [b0, b1, b2, ..] = *bytes else { return None };
    if b0 != 0xff || b1 & 0xe6 != 0xe2 {
        return None;
    }
    let version = b1 >> 3 & 3;
    let shift = match version {
        3 => 0,
        2 => 1,
        0 => 2,
        _ => return None,
    };
    let rate = [44_100_u32, 48_000, 32_000].get(usize::from(b2 >> 2 & 3))? >> shift;
    let table = if version == 3 { KBITS_1 } else { KBITS_2 };
    let kbits = table.get(usize::from(b2 >> 4).checked_sub(1)?)?;
    let samples = if version == 3 { 1_152 } else { 576 };
    let size = samples / 8 * 1_000 * kbits / rate + u32::from(b2 >> 1 & 1);
    Some((usize::try_from(size).ok()?, rate, samples))
}

#[cfg(test)]
mod tests {
    use super::header;

    #[test]
    fn sizes() {
        for (name, bytes, expected) in [
            ("MPEG-1 128 kbit/s 44.1 kHz", [0xff, 0xfb, 0x90, 0x00], Some(417)),
            ("the same, padded", [0xff, 0xfb, 0x92, 0x00], Some(418)),
            ("MPEG-2 64 kbit/s 22.05 kHz", [0xff, 0xf3, 0x80, 0x00], Some(208)),
            ("MPEG-2.5 8 kbit/s 8 kHz", [0xff, 0xe3, 0x18, 0x00], Some(72)),
            ("free format", [0xff, 0xfb, 0x00, 0x00], None),
            ("layer II", [0xff, 0xfd, 0x90, 0x00], None),
            ("no sync", [0xfe, 0xfb, 0x90, 0x00], None),
        ] {
            assert_eq!(header(&bytes).map(|(size, ..)| size), expected, "{name}");
        }
    }
}

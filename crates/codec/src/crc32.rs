//! The checksum of MPEG-2 sections.

/// CRC-32/MPEG-2 (H.222.0 annex A): polynomial 0x04c11db7, all ones at first, nothing reflected, nothing inverted. Over bytes and
/// their CRC, big endian, it is 0.
pub fn mpeg2(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            if crc & 0x8000_0000 == 0 { crc << 1 } else { crc << 1 ^ 0x04c1_1db7 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value() {
        // The catalogue's check of this CRC.
        assert_eq!(mpeg2(b"123456789"), 0x0376_e6e7);
    }
}

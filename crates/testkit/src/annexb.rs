//! H.264 byte streams (H.264 annex B) taken apart by their start codes.

/// `nal_unit_type` values (H.264 table 7-1).
pub mod nal_type {
    /// Slice of a picture that is no IDR picture.
    pub const SLICE: u8 = 1;
    /// Slice of an IDR picture.
    pub const IDR: u8 = 5;
    /// Supplemental enhancement information.
    pub const SEI: u8 = 6;
    /// Sequence parameter set.
    pub const SPS: u8 = 7;
    /// Picture parameter set.
    pub const PPS: u8 = 8;
    /// Access unit delimiter.
    pub const AUD: u8 = 9;
    /// End of sequence.
    pub const END_OF_SEQUENCE: u8 = 10;
    /// End of stream.
    pub const END_OF_STREAM: u8 = 11;
    /// Filler data.
    pub const FILLER: u8 = 12;
}

/// The type of a NAL unit; 0 (unspecified) for an empty one.
pub fn kind(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |header| header & 0x1f)
}

/// The NAL units between start codes of three or four bytes, without their trailing zero bytes.
///
/// # Errors
/// A sentence when bytes other than zero precede the first start code, or a NAL unit is empty.
pub fn nal_units(stream: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Some(found) = stream.get(at..).and_then(|rest| rest.windows(3).position(|w| w == [0, 0, 1])) {
        starts.push(at + found);
        at += found + 3;
    }
    let lead = stream.get(..starts.first().copied().unwrap_or(stream.len())).unwrap_or_default();
    if lead.iter().any(|byte| *byte != 0) {
        return Err("bytes before the first start code".to_owned());
    }
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| {
            let unit = without_trailing_zeros(stream.get(start + 3..end).unwrap_or_default());
            if unit.is_empty() { Err(format!("empty NAL unit at byte {start}")) } else { Ok(unit) }
        })
        .collect()
}

/// The unit up to its last byte that is not zero.
pub fn without_trailing_zeros(unit: &[u8]) -> &[u8] {
    let end = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    unit.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_codes_of_both_lengths() {
        let stream = [0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x65, 1, 0, 0, 3, 1, 0, 0, 0, 1, 0x41, 2, 0, 0];
        let units = nal_units(&stream).unwrap();
        assert_eq!(units, [&[9_u8, 0xf0][..], &[0x65, 1, 0, 0, 3, 1], &[0x41, 2]]);
        assert_eq!(units.iter().map(|unit| kind(unit)).collect::<Vec<_>>(), [9, 5, 1]);
    }

    #[test]
    fn refusals() {
        for (name, stream) in [
            ("bytes in front", &[7_u8, 0, 0, 1, 9][..]),
            ("no start code", &[1, 2]),
            ("empty unit", &[0, 0, 1, 0, 0, 1, 9]),
            ("empty last unit", &[0, 0, 1, 9, 0, 0, 1]),
        ] {
            assert!(nal_units(stream).is_err(), "{name}");
        }
        assert_eq!(nal_units(&[]), Ok(vec![]));
    }
}

//! Bits of a byte string, most significant first, with every read checked; Exp-Golomb codes and the removal of
//! emulation prevention bytes on the fly.

use crate::Error;

/// Reads bits, most significant first. Running out of data is an error, never a panic.
#[derive(Debug, Clone)]
pub struct BitReader<'a> {
    bytes: std::slice::Iter<'a, u8>,
    /// The byte being consumed and how many of its low bits are left.
    current: u8,
    bits_left: u8,
    /// `Some(run)` when emulation prevention is removed: the number of zero bytes just read.
    zero_run: Option<u8>,
    position: u64,
}

impl<'a> BitReader<'a> {
    /// A reader over plain bytes.
    pub fn new(data: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes: data.iter(), current: 0, bits_left: 0, zero_run: None, position: 0 }
    }

    /// A reader over the payload of a NAL unit, which skips the 03 of every 00 00 03 (H.264 7.3.1, 7.4.1).
    pub fn rbsp(data: &'a [u8]) -> BitReader<'a> {
        BitReader { zero_run: Some(0), ..BitReader::new(data) }
    }

    /// Bits consumed so far, emulation prevention bytes not counted.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bits not yet consumed; for [`BitReader::rbsp`] an upper bound.
    pub fn remaining(&self) -> u64 {
        let bytes = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        bytes.saturating_mul(8).saturating_add(u64::from(self.bits_left))
    }

    /// One bit.
    ///
    /// # Errors
    /// [`Error::Truncated`] naming `field`.
    pub fn flag(&mut self, field: &'static str) -> Result<bool, Error> {
        if self.bits_left == 0 {
            self.current = self.next_byte().ok_or(Error::Truncated { field, bit_offset: self.position })?;
            self.bits_left = 8;
        }
        self.bits_left = self.bits_left.saturating_sub(1);
        self.position = self.position.saturating_add(1);
        Ok((self.current >> self.bits_left) & 1 == 1)
    }

    /// `count` bits (at most 32) as an unsigned number.
    ///
    /// # Errors
    /// [`Error::Truncated`] naming `field`.
    pub fn bits(&mut self, count: u8, field: &'static str) -> Result<u32, Error> {
        let mut value: u32 = 0;
        for _ in 0..count.min(32) {
            value = (value << 1) | u32::from(self.flag(field)?);
        }
        Ok(value)
    }

    /// Up to eight bits.
    ///
    /// # Errors
    /// [`Error::Truncated`] naming `field`.
    pub fn bits_u8(&mut self, count: u8, field: &'static str) -> Result<u8, Error> {
        let mut value: u8 = 0;
        for _ in 0..count.min(8) {
            value = (value << 1) | u8::from(self.flag(field)?);
        }
        Ok(value)
    }

    /// Up to sixteen bits.
    ///
    /// # Errors
    /// [`Error::Truncated`] naming `field`.
    pub fn bits_u16(&mut self, count: u8, field: &'static str) -> Result<u16, Error> {
        let mut value: u16 = 0;
        for _ in 0..count.min(16) {
            value = (value << 1) | u16::from(self.flag(field)?);
        }
        Ok(value)
    }

    /// ue(v): an unsigned Exp-Golomb code (H.264 9.1), 0 to 2^32 - 2.
    ///
    /// # Errors
    /// [`Error::Truncated`], or [`Error::Invalid`] past 31 leading zeros (the range ends there).
    pub fn ue(&mut self, field: &'static str) -> Result<u32, Error> {
        let mut zeros: u8 = 0;
        while !self.flag(field)? {
            zeros = zeros.saturating_add(1);
            // 32 leading zeros would code 2^32 - 1 and more.
            if zeros > 31 {
                return Err(Error::Invalid { field, value: u64::from(u32::MAX) });
            }
        }
        let suffix = u64::from(self.bits(zeros, field)?);
        let value = (1_u64 << zeros).saturating_sub(1).saturating_add(suffix);
        u32::try_from(value).map_err(|_| Error::Invalid { field, value })
    }

    /// ue(v) that must not exceed `max`.
    ///
    /// # Errors
    /// As [`BitReader::ue`], and [`Error::Invalid`] above `max`.
    pub fn ue_max(&mut self, max: u32, field: &'static str) -> Result<u32, Error> {
        let value = self.ue(field)?;
        if value > max { Err(Error::Invalid { field, value: u64::from(value) }) } else { Ok(value) }
    }

    /// se(v): a signed Exp-Golomb code (H.264 9.1.1), -(2^31 - 1) to 2^31 - 1.
    ///
    /// # Errors
    /// As [`BitReader::ue`].
    pub fn se(&mut self, field: &'static str) -> Result<i32, Error> {
        let code = i64::from(self.ue(field)?);
        // 9.1.1: codes 1, 2, 3, 4 stand for 1, -1, 2, -2.
        let magnitude = code.saturating_add(1) / 2;
        let value = if code % 2 == 1 { magnitude } else { magnitude.saturating_neg() };
        i32::try_from(value).map_err(|_| Error::Invalid { field, value: code.unsigned_abs() })
    }

    /// Passes over the bits up to the next byte boundary of what was read.
    pub fn align(&mut self) {
        self.position = self.position.saturating_add(u64::from(self.bits_left));
        self.bits_left = 0;
    }

    fn next_byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.next()?;
        let Some(run) = self.zero_run else { return Some(byte) };
        if run >= 2 && byte == 3 {
            self.zero_run = Some(0);
            let after = *self.bytes.next()?;
            self.zero_run = Some(u8::from(after == 0));
            return Some(after);
        }
        self.zero_run = Some(if byte == 0 { run.saturating_add(1) } else { 0 });
        Some(byte)
    }
}

/// Writes bits, most significant first, into a growing buffer.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    bits_used: u8,
}

impl BitWriter {
    /// Appends the low `count` bits of `value`.
    pub(crate) fn bits(&mut self, value: u32, count: u8) {
        for shift in (0..count.min(32)).rev() {
            if self.bits_used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from((value >> shift) & 1 == 1) << (7 - self.bits_used);
            }
            self.bits_used = (self.bits_used + 1) % 8;
        }
    }

    /// The bytes, the last one padded with zeros.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_table_of_clause_9_1() {
        for (bits, expected) in [
            (&[0b1000_0000][..], 0),
            (&[0b0100_0000], 1),
            (&[0b0110_0000], 2),
            (&[0b0010_0000], 3),
            (&[0b0001_1110], 14),
            (&[0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFE], u32::MAX - 1),
        ] {
            assert_eq!(BitReader::new(bits).ue("x"), Ok(expected), "{bits:02x?}");
        }
        assert!(matches!(BitReader::new(&[0; 9]).ue("x"), Err(Error::Invalid { .. })));
        assert!(matches!(BitReader::new(&[0; 2]).ue("x"), Err(Error::Truncated { .. })));
        assert!(matches!(BitReader::new(&[]).ue("x"), Err(Error::Truncated { field: "x", bit_offset: 0 })));
    }

    #[test]
    fn signed_exp_golomb() {
        for (bits, expected) in
            [(0b1000_0000_u8, 0), (0b0100_0000, 1), (0b0110_0000, -1), (0b0010_0000, 2), (0b0010_1000, -2)]
        {
            assert_eq!(BitReader::new(&[bits]).se("x"), Ok(expected));
        }
    }

    #[test]
    fn emulation_prevention_bytes_vanish() {
        for (name, escaped, expected) in [
            ("plain", &[1, 2, 3][..], &[1_u8, 2, 3][..]),
            ("one", &[0, 0, 3, 1], &[0, 0, 1]),
            ("twice in a row", &[0, 0, 3, 0, 0, 3, 1], &[0, 0, 0, 0, 1]),
            ("at the end", &[5, 0, 0, 3], &[5, 0, 0]),
            ("three zeros then 3", &[0, 0, 0, 3, 7], &[0, 0, 0, 7]),
            ("the byte after is data even when 3", &[0, 0, 3, 3], &[0, 0, 3]),
        ] {
            let mut reader = BitReader::rbsp(escaped);
            let mut read = Vec::new();
            while let Ok(byte) = reader.bits_u8(8, "x") {
                read.push(byte);
            }
            assert_eq!(read, expected, "{name}");
        }
    }

    #[test]
    fn writer_and_reader_agree() {
        let mut writer = BitWriter::default();
        for (value, count) in [(0x2B7, 11), (5, 5), (1, 1), (0x00FF_1234, 24), (3, 2)] {
            writer.bits(value, count);
        }
        let bytes = writer.finish();
        let mut reader = BitReader::new(&bytes);
        for (value, count) in [(0x2B7, 11), (5, 5), (1, 1), (0x00FF_1234, 24), (3, 2)] {
            assert_eq!(reader.bits(count, "x"), Ok(value));
        }
        assert_eq!(reader.position(), 43);
        reader.align();
        assert_eq!((reader.position(), reader.remaining()), (48, 0));
    }
}

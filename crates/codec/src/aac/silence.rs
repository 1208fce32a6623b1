//! A frame of silence: what is heard where a track has a hole.

use bytes::Bytes;

use super::AudioSpecificConfig;

/// Syntactic elements of a raw_data_block (ISO/IEC 14496-3 table 4.85).
#[derive(Debug, Clone, Copy)]
enum Element {
    /// single_channel_element, id 0.
    Single,
    /// channel_pair_element, id 1.
    Pair,
    /// lfe_channel_element, id 3.
    LowFrequency,
}

impl AudioSpecificConfig {
    /// An AAC frame that decodes to silence: every channel without a single scale factor band. `None` for channel
    /// layouts and object types that this is not known for.
    pub fn silent_frame(&self) -> Option<Bytes> {
        use Element::{LowFrequency, Pair, Single};
        // AAC LC; with SBR signalled the core is LC too, and decoders take a core without SBR data.
        if self.object_type != 2 {
            return None;
        }
        // Table 1.19: channel configurations and their elements.
        let elements: &[Element] = match self.channel_configuration {
            1 => &[Single],
            2 => &[Pair],
            3 => &[Single, Pair],
            4 => &[Single, Pair, Single],
            5 => &[Single, Pair, Pair],
            6 => &[Single, Pair, Pair, LowFrequency],
            7 => &[Single, Pair, Pair, Pair, LowFrequency],
            _ => return None,
        };
        let mut bits = Bits::default();
        let mut tags = [0_u32; 3];
        for element in elements {
            let (id, tag) = match element {
                Single => (0, &mut tags[0]),
                Pair => (1, &mut tags[1]),
                LowFrequency => (3, &mut tags[2]),
            };
            bits.put(id, 3);
            bits.put(*tag, 4);
            *tag += 1;
            if matches!(element, Pair) {
                bits.put(1, 1); // common_window
                bits.put_ics_info();
                bits.put(0, 2); // ms_mask_present
                bits.put_channel();
                bits.put_channel();
            } else {
                bits.put(0, 8); // global_gain
                bits.put_ics_info();
                bits.put(0, 3); // pulse_data_present, tns_data_present, gain_control_data_present
            }
        }
        bits.put(7, 3); // ID_END
        Some(bits.finish())
    }
}

/// Bits, most significant first.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for bit in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut().filter(|_| value >> bit & 1 == 1) {
                *last |= 0x80 >> (self.used % 8);
            }
            self.used += 1;
        }
    }

    /// ics_info: ONLY_LONG_SEQUENCE, no scale factor bands, no prediction.
    fn put_ics_info(&mut self) {
        self.put(0, 1 + 2 + 1 + 6 + 1);
    }

    /// individual_channel_stream behind a common window, without data.
    fn put_channel(&mut self) {
        self.put(0, 8 + 3);
    }

    fn finish(self) -> Bytes {
        Bytes::from(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        // 48 kHz AAC LC; decoded by ffmpeg 5.1 to digital silence in every layout with a frame here.
        for (configuration, expected) in [
            (1_u8, Some("00000007")),
            (2, Some("21000000001c")),
            (3, Some("000000010800000000e0")),
            (6, Some("00000001080000000023000000000c000000e0")),
            (11, None),
        ] {
            let asc = AudioSpecificConfig::parse(&[0x11, 0x80 | configuration << 3]).unwrap();
            let frame = asc.silent_frame();
            let hex = frame.map(|frame| frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            assert_eq!(hex.as_deref(), expected, "configuration {configuration}");
        }
        // AAC Main at 48 kHz.
        assert_eq!(AudioSpecificConfig::parse(&[0x09, 0x90]).unwrap().silent_frame(), None);
    }
}

//! The two configuration records, as far as a transport stream needs them.

use bytes::Bytes;

use crate::Error;

/// SPS and PPS of an AVCDecoderConfigurationRecord, in its order (ISO/IEC 14496-15 5.3.3.1).
pub(crate) fn parameter_sets(record: &Bytes) -> Result<Vec<Bytes>, Error> {
    let bad = |what: &str| Error::VideoRecord(what.to_owned());
    let mut rest = record.get(5..).ok_or_else(|| bad("cut short"))?;
    let mut sets = Vec::new();
    for mask in [0x1f, 0xff] {
        let (count, after) = rest.split_first().ok_or_else(|| bad("cut short"))?;
        rest = after;
        for _ in 0..count & mask {
            let (length, after) = rest.split_first_chunk::<2>().ok_or_else(|| bad("cut short"))?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (set, after) = after.split_at_checked(length).ok_or_else(|| bad("cut short"))?;
            sets.push(record.slice_ref(set));
            rest = after;
        }
    }
    if sets.is_empty() { Err(bad("no parameter sets")) } else { Ok(sets) }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AudioSpecificConfig {
    object_type: u8,
    frequency_index: u8,
    channels: u8,
}

pub(crate) fn audio_specific_config(record: &[u8]) -> Result<AudioSpecificConfig, Error> {
    let [a, b, ..] = record else { return Err(Error::AudioRecord("cut short".to_owned())) };
    let config = AudioSpecificConfig {
        object_type: a >> 3,
        frequency_index: (a & 7) << 1 | b >> 7,
        channels: b >> 3 & 15,
    };
    if !(1..=4).contains(&config.object_type)
        || config.frequency_index > 12
        || !(1..=7).contains(&config.channels)
    {
        return Err(Error::AudioUnrepresentable("not in ADTS".to_owned()));
    }
    Ok(config)
}

pub(crate) fn adts_header(config: &AudioSpecificConfig, frame_size: usize) -> Result<[u8; 7], Error> {
    let length = u16::try_from(frame_size + 7).unwrap_or(0x1fff);
    let [high, low] = (length << 5 | 0x1f).to_be_bytes(); // low 11 bits of the length, then fullness
    Ok([
        0xff,
        0xf1,
        (config.object_type - 1) << 6 | config.frequency_index << 2 | config.channels >> 2,
        (config.channels & 3) << 6 | u8::try_from(length >> 11).unwrap_or(3),
        high,
        low,
        0xfc,
    ])
}

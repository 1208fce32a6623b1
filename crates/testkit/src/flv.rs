//! FLV files read as the list of access units that an encoder sent: what arrives elsewhere is held against it.
//!
//! H.264 (legacy codec id 7), AAC and MP3. Everything else is an error, because a reference with holes proves nothing.

use crate::annexb::{self, nal_type};
use crate::mp3;

/// One access unit of video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoUnit {
    /// Decode time in milliseconds, unwrapped.
    pub dts_ms: i64,
    /// Composition time offset in milliseconds.
    pub cts_ms: i64,
    /// It holds a slice of an IDR picture.
    pub idr: bool,
    /// NAL units without delimiters, filler, ends, and parameter sets equal to the configuration in force; without
    /// trailing zero bytes.
    pub nal_units: Vec<Vec<u8>>,
}

impl VideoUnit {
    /// Presentation time in milliseconds.
    pub fn pts_ms(&self) -> i64 {
        self.dts_ms + self.cts_ms
    }
}

/// One frame of audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioUnit {
    /// Time in milliseconds, unwrapped. Frames of one message share the message's.
    pub ms: i64,
    /// A raw AAC frame, or an MP3 frame with its header.
    pub frame: Vec<u8>,
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    /// Video in file order, which is decode order.
    pub video: Vec<VideoUnit>,
    /// Audio in file order.
    pub audio: Vec<AudioUnit>,
    /// Every parameter set of every configuration record, in order, each once.
    pub parameter_sets: Vec<Vec<u8>>,
    /// The last AudioSpecificConfig.
    pub audio_specific_config: Option<Vec<u8>>,
}

/// Reads a whole file.
///
/// # Errors
/// A sentence naming the byte offset of the tag that could not be read.
pub fn read(file: &[u8]) -> Result<Reference, String> {
    let mut reader = Reader::default();
    let header = Cursor { bytes: file, at: 0 };
    if file.get(..3) != Some(b"FLV") {
        return Err("no FLV signature".to_owned());
    }
    let offset = Cursor { at: 5, ..header }.number(4)?;
    // The header, then PreviousTagSize0.
    let mut cursor = Cursor { bytes: file, at: offset + 4 };
    while cursor.at < file.len() {
        let at = cursor.at;
        let kind = cursor.number(1)?;
        let size = cursor.number(3)?;
        let low = cursor.number(3)?;
        let stamp = cursor.number(1)? << 24 | low;
        cursor.number(3)?;
        let body = cursor.take(size)?;
        cursor.number(4)?;
        let ms = reader.unwrap(stamp);
        match kind {
            8 => reader.audio(ms, body),
            9 => reader.video(ms, body),
            18 => Ok(()),
            other => Err(format!("tag type {other}")),
        }
        .map_err(|error| format!("tag at byte {at}: {error}"))?;
    }
    Ok(reader.reference)
}

#[derive(Debug, Default)]
struct Reader {
    reference: Reference,
    /// Parameter sets of the configuration in force.
    current: Vec<Vec<u8>>,
    length_size: usize,
    last_ms: i64,
}

impl Reader {
    /// 32-bit milliseconds, nearest to the last.
    fn unwrap(&mut self, stamp: usize) -> i64 {
        let modulus = 1_i64 << 32;
        let ahead = (i64::try_from(stamp).unwrap_or(0) - self.last_ms).rem_euclid(modulus);
        self.last_ms += if ahead < modulus / 2 { ahead } else { ahead - modulus };
        self.last_ms
    }

    fn audio(&mut self, ms: i64, body: &[u8]) -> Result<(), String> {
        let Some((flags, rest)) = body.split_first() else { return Ok(()) };
        match (flags >> 4, rest.split_first()) {
            (10, Some((0, config))) => self.reference.audio_specific_config = Some(config.to_vec()),
            (10, Some((1, []))) => {}
            (10, Some((1, frame))) => self.reference.audio.push(AudioUnit { ms, frame: frame.to_vec() }),
            (2, _) => {
                let frames = mp3::frames(rest)?.into_iter();
                self.reference
                    .audio
                    .extend(frames.map(|frame| AudioUnit { ms, frame: frame.bytes.to_vec() }));
            }
            (format, _) => return Err(format!("sound format {format}")),
        }
        Ok(())
    }

    fn video(&mut self, dts_ms: i64, body: &[u8]) -> Result<(), String> {
        let mut cursor = Cursor { bytes: body, at: 0 };
        let flags = cursor.number(1)?;
        if flags >> 4 == 5 {
            return Ok(());
        }
        if flags & 15 != 7 {
            return Err(format!("video codec {}", flags & 15));
        }
        let packet_type = cursor.number(1)?;
        // SI24.
        let raw = i64::try_from(cursor.number(3)?).unwrap_or(0);
        let cts_ms = if raw >= 1 << 23 { raw - (1 << 24) } else { raw };
        match packet_type {
            0 => self.configure(cursor),
            1 => self.access_unit(dts_ms, cts_ms, cursor),
            2 => Ok(()),
            other => Err(format!("AVC packet type {other}")),
        }
    }

    fn configure(&mut self, mut record: Cursor<'_>) -> Result<(), String> {
        record.take(4)?;
        self.length_size = (record.number(1)? & 3) + 1;
        self.current.clear();
        for mask in [0x1f, 0xff] {
            for _ in 0..record.number(1)? & mask {
                let size = record.number(2)?;
                self.current.push(record.take(size)?.to_vec());
            }
        }
        for set in &self.current {
            if !self.reference.parameter_sets.contains(set) {
                self.reference.parameter_sets.push(set.clone());
            }
        }
        Ok(())
    }

    fn access_unit(&mut self, dts_ms: i64, cts_ms: i64, mut cursor: Cursor<'_>) -> Result<(), String> {
        if self.length_size == 0 {
            return Err("access unit before a configuration".to_owned());
        }
        let mut nal_units = Vec::new();
        while cursor.at < cursor.bytes.len() {
            let size = cursor.number(self.length_size)?;
            let unit = annexb::without_trailing_zeros(cursor.take(size)?);
            if is_content(unit, &self.current) {
                nal_units.push(unit.to_vec());
            }
        }
        if nal_units.is_empty() {
            return Ok(());
        }
        let idr = nal_units.iter().any(|unit| annexb::kind(unit) == nal_type::IDR);
        self.reference.video.push(VideoUnit { dts_ms, cts_ms, idr, nal_units });
        Ok(())
    }
}

/// True for a NAL unit that has to arrive: not a delimiter, filler, an end, nor one of these parameter sets.
pub fn is_content(unit: &[u8], parameter_sets: &[Vec<u8>]) -> bool {
    match annexb::kind(unit) {
        nal_type::AUD | nal_type::FILLER | nal_type::END_OF_SEQUENCE | nal_type::END_OF_STREAM => false,
        nal_type::SPS | nal_type::PPS => !parameter_sets.iter().any(|set| set == unit),
        _ => !unit.is_empty(),
    }
}

/// Big-endian numbers and slices, checked.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, size: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(size);
        let slice = end.and_then(|end| self.bytes.get(self.at..end));
        let slice = slice.ok_or_else(|| format!("{size} bytes wanted at byte {}, cut short", self.at))?;
        self.at += size;
        Ok(slice)
    }

    fn number(&mut self, size: usize) -> Result<usize, String> {
        Ok(self.take(size)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: u8, ms: u32, body: &[u8]) -> Vec<u8> {
        let [top, a, b, c] = ms.to_be_bytes();
        let [_, s0, s1, s2] = u32::try_from(body.len()).unwrap().to_be_bytes();
        let mut tag = vec![kind, s0, s1, s2, a, b, c, top, 0, 0, 0];
        tag.extend_from_slice(body);
        tag.extend_from_slice(&u32::try_from(body.len() + 11).unwrap().to_be_bytes());
        tag
    }

    fn file() -> Vec<u8> {
        let mut file = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        let record = [1, 100, 0, 31, 0xff, 0xe1, 0, 2, 0x67, 1, 1, 0, 2, 0x68, 2];
        file.extend(tag(9, 0, &[&[0x17, 0, 0, 0, 0][..], &record].concat()));
        file.extend(tag(8, 0, &[0xaf, 0, 0x11, 0x90]));
        let idr = [0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 2, 0x67, 1, 0, 0, 0, 4, 0x65, 7, 7, 0];
        file.extend(tag(9, 0xffff_fff0, &[&[0x17, 1, 0, 0, 80][..], &idr].concat()));
        file.extend(tag(8, 0xffff_fff5, &[0xaf, 1, 0x21]));
        file.extend(tag(9, 0x10, &[0x27, 1, 0xff, 0xff, 0xd8, 0, 0, 0, 2, 0x41, 3]));
        file
    }

    #[test]
    fn units_stamps_and_parameter_sets() {
        let reference = read(&file()).unwrap();
        assert_eq!(reference.parameter_sets, [vec![0x67, 1], vec![0x68, 2]]);
        assert_eq!(reference.audio_specific_config, Some(vec![0x11, 0x90]));
        let [first, second] = reference.video.as_slice() else { panic!() };
        assert!(first.idr && !second.idr);
        assert_eq!((first.cts_ms, second.cts_ms), (80, -40));
        assert_eq!(second.dts_ms - first.dts_ms, 32, "over the 32-bit wrap");
        assert_eq!(first.nal_units, [vec![0x65, 7, 7]]);
        assert_eq!(reference.audio.first().map(|unit| unit.ms - first.dts_ms), Some(5));
    }

    #[test]
    fn every_truncation_is_an_error_or_a_shorter_file() {
        let file = file();
        let whole = read(&file).unwrap();
        for end in 0..file.len() {
            if let Ok(part) = read(&file[..end]) {
                assert!(part.video.len() + part.audio.len() < whole.video.len() + whole.audio.len(), "{end}");
            }
        }
    }
}

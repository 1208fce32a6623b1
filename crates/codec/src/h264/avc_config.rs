//! The AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1): read leniently, written in one canonical form.

use bytes::Bytes;

use super::nal::{AnnexB, LengthSize, NalType, is_annex_b, trim_trailing_zeros};
use super::sps::Sps;
use crate::Error;
use crate::bits::BitReader;

/// Largest record accepted, in bytes. Real ones have 30 to 300; 64 KiB is what one parameter set may have.
pub const AVC_RECORD_SIZE_MAX: usize = 64 * 1_024;

/// numOfSequenceParameterSets has five bits, numOfPictureParameterSets and numOfSequenceParameterSetExt eight.
const SPS_COUNT_MAX: usize = 31;
const PPS_COUNT_MAX: usize = 255;

/// Parameter sets of an H.264 track: at least one SPS and one PPS, the first SPS parsed.
///
/// Equal values mean the same decoder set-up; how it was received ([`AvcConfig::length_size`],
/// [`AvcConfig::was_annex_b`]) does not take part.
#[derive(Debug, Clone)]
pub struct AvcConfig {
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
    sps_extensions: Vec<Bytes>,
    parsed: Sps,
    length_size: LengthSize,
    was_annex_b: bool,
}

impl PartialEq for AvcConfig {
    fn eq(&self, other: &AvcConfig) -> bool {
        self.sps == other.sps && self.pps == other.pps && self.sps_extensions == other.sps_extensions
    }
}

impl Eq for AvcConfig {}

impl AvcConfig {
    /// Parses a record of at most [`AVC_RECORD_SIZE_MAX`] bytes.
    ///
    /// Accepted beside the letter of the clause: the high-profile extension left out (old x264, many cameras),
    /// profile and level bytes that contradict the SPS, zeros after a parameter set, and parameter sets in Annex B
    /// form instead of a record. NAL units of another type in a list and exact repetitions are left out.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Invalid`] (version, length size, SPS), [`Error::Missing`] without SPS or PPS,
    /// [`Error::Limit`].
    pub fn parse(data: &[u8]) -> Result<AvcConfig, Error> {
        if data.len() > AVC_RECORD_SIZE_MAX {
            return Err(Error::Limit {
                what: "AVCDecoderConfigurationRecord bytes",
                count: data.len(),
                max: AVC_RECORD_SIZE_MAX,
            });
        }
        // A record begins with its version 1, a start code with 0: never both.
        if is_annex_b(data) {
            let mut config = AvcConfig::from_parameter_sets(AnnexB::new(data))?;
            config.was_annex_b = true;
            return Ok(config);
        }
        let mut reader = RecordReader { rest: data, size: data.len() };
        let version = reader.byte("configurationVersion")?;
        if version != 1 {
            return Err(Error::Invalid { field: "configurationVersion", value: u64::from(version) });
        }
        // The SPS knows better than these three (codecs.md 1.3 of the project's checklist: encoders disagree).
        reader.byte("AVCProfileIndication")?;
        reader.byte("profile_compatibility")?;
        reader.byte("AVCLevelIndication")?;
        let length_size = match reader.byte("lengthSizeMinusOne")? & 0b11 {
            0 => LengthSize::One,
            1 => LengthSize::Two,
            3 => LengthSize::Four,
            other => return Err(Error::Invalid { field: "lengthSizeMinusOne", value: u64::from(other) }),
        };
        let mut units = Vec::new();
        let sps_count = reader.byte("numOfSequenceParameterSets")? & 0x1F;
        for _ in 0..sps_count {
            units.push(reader.parameter_set("sequenceParameterSetNALUnit")?);
        }
        let pps_count = reader.byte("numOfPictureParameterSets")?;
        for _ in 0..pps_count {
            units.push(reader.parameter_set("pictureParameterSetNALUnit")?);
        }
        // chroma_format and the bit depths come from the SPS; only the extension's parameter sets matter here. A
        // missing or damaged extension is as good as none.
        if reader.skip(3).is_some()
            && let Ok(count) = reader.byte("numOfSequenceParameterSetExt")
        {
            for _ in 0..count {
                let Ok(unit) = reader.parameter_set("sequenceParameterSetExtNALUnit") else { break };
                units.push(unit);
            }
        }
        let mut config = AvcConfig::from_parameter_sets(units.into_iter())?;
        config.length_size = length_size;
        Ok(config)
    }

    /// Collects parameter sets from NAL units (without length or start code), each type in order of appearance;
    /// other types are passed over.
    ///
    /// # Errors
    /// [`Error::Missing`] without SPS or PPS, [`Error::Limit`], and what [`Sps::parse`] says about the first SPS.
    pub fn from_parameter_sets<'a>(units: impl Iterator<Item = &'a [u8]>) -> Result<AvcConfig, Error> {
        let (mut sps, mut pps, mut sps_extensions) = (Vec::new(), Vec::new(), Vec::new());
        for unit in units {
            let unit = trim_trailing_zeros(unit);
            match NalType::of(unit) {
                Some(NalType::SPS) => push(&mut sps, unit, "sequence parameter sets", SPS_COUNT_MAX)?,
                Some(NalType::PPS) => push(&mut pps, unit, "picture parameter sets", PPS_COUNT_MAX)?,
                Some(NalType::SPS_EXTENSION) => {
                    push(&mut sps_extensions, unit, "SPS extensions", PPS_COUNT_MAX)?;
                }
                _ => {}
            }
        }
        let first = sps.first().ok_or(Error::Missing("sequence parameter set"))?;
        let parsed = Sps::parse(first)?;
        if pps.is_empty() {
            return Err(Error::Missing("picture parameter set"));
        }
        let length_size = LengthSize::Four;
        AvcConfig { sps, pps, sps_extensions, parsed, length_size, was_annex_b: false }.checked()
    }

    /// Sees to it that the canonical record can hold everything, and leaves out what it has no place for.
    fn checked(mut self) -> Result<AvcConfig, Error> {
        if !has_extension(self.parsed.profile_idc) {
            self.sps_extensions.clear();
        }
        let size = self.record_size();
        if size > AVC_RECORD_SIZE_MAX {
            let what = "AVCDecoderConfigurationRecord bytes";
            return Err(Error::Limit { what, count: size, max: AVC_RECORD_SIZE_MAX });
        }
        Ok(self)
    }

    /// The sequence parameter sets in order: NAL units with header byte, without length or start code. At least one.
    pub fn sps(&self) -> &[Bytes] {
        &self.sps
    }

    /// The picture parameter sets in order, as [`AvcConfig::sps`]. At least one.
    pub fn pps(&self) -> &[Bytes] {
        &self.pps
    }

    /// The SPS extensions (auxiliary pictures), usually none.
    pub fn sps_extensions(&self) -> &[Bytes] {
        &self.sps_extensions
    }

    /// What the first SPS says.
    pub fn first_sps(&self) -> &Sps {
        &self.parsed
    }

    /// The length size that the received record announced for the samples that follow it; four bytes when it was Annex B.
    pub fn length_size(&self) -> LengthSize {
        self.length_size
    }

    /// True when [`AvcConfig::parse`] was given start codes instead of a record: the samples may come that way too.
    pub fn was_annex_b(&self) -> bool {
        self.was_annex_b
    }

    /// RFC 6381 string of the first SPS, e.g. `avc1.64001f`.
    pub fn codec_string(&self) -> String {
        self.parsed.codec_string()
    }

    /// True when `nal` is, trailing zeros aside, one of the parameter sets held here.
    pub fn contains(&self, nal: &[u8]) -> bool {
        let list = match NalType::of(nal) {
            Some(NalType::SPS) => &self.sps,
            Some(NalType::PPS) => &self.pps,
            Some(NalType::SPS_EXTENSION) => &self.sps_extensions,
            _ => return false,
        };
        let nal = trim_trailing_zeros(nal);
        list.iter().any(|held| held == nal)
    }

    /// This configuration with one more SPS or PPS, which takes the place of the one with the same id, as it does in
    /// a decoder (H.264 7.4.1.2.1). The result keeps [`AvcConfig::length_size`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for another NAL unit type or an unusable parameter set, [`Error::Truncated`],
    /// [`Error::Limit`] when there is no room.
    pub fn with_parameter_set(&self, nal: &[u8]) -> Result<AvcConfig, Error> {
        let nal = trim_trailing_zeros(nal);
        let mut config = self.clone();
        match NalType::of(nal) {
            Some(NalType::SPS) => {
                let id = Sps::parse(nal)?.id;
                let same = |held: &Bytes| Sps::parse(held).is_ok_and(|sps| sps.id == id);
                replace(&mut config.sps, nal, same, "sequence parameter sets", SPS_COUNT_MAX)?;
            }
            Some(NalType::PPS) => {
                let id = pps_id(nal)?;
                let same = |held: &Bytes| pps_id(held) == Ok(id);
                replace(&mut config.pps, nal, same, "picture parameter sets", PPS_COUNT_MAX)?;
            }
            other => {
                let value = other.map_or(0, |other| u64::from(other.value()));
                return Err(Error::Invalid { field: "nal_unit_type", value });
            }
        }
        if let Some(first) = config.sps.first() {
            config.parsed = Sps::parse(first)?;
        }
        config.checked()
    }

    /// The canonical record: profile and level of the first SPS, 4-byte lengths, and the high-profile extension
    /// exactly when the profile calls for it.
    pub fn to_record(&self) -> Bytes {
        let sps = &self.parsed;
        let mut record = Vec::with_capacity(self.record_size());
        // configurationVersion .. reserved '111111' and lengthSizeMinusOne 3.
        record.extend_from_slice(&[1, sps.profile_idc, sps.constraint_flags, sps.level_idc, 0xFF]);
        write_list(&mut record, 0b1110_0000, &self.sps);
        write_list(&mut record, 0, &self.pps);
        if has_extension(sps.profile_idc) {
            record.push(0b1111_1100 | (sps.chroma_format_idc & 0b11));
            record.push(0b1111_1000 | (sps.bit_depth_luma.saturating_sub(8) & 0b111));
            record.push(0b1111_1000 | (sps.bit_depth_chroma.saturating_sub(8) & 0b111));
            write_list(&mut record, 0, &self.sps_extensions);
        }
        record.into()
    }

    /// Upper bound of the canonical record's size: 11 bytes of fields, and two per parameter set.
    fn record_size(&self) -> usize {
        let lists = self.sps.iter().chain(&self.pps).chain(&self.sps_extensions);
        lists.fold(11_usize, |size, unit| size.saturating_add(unit.len()).saturating_add(2))
    }
}

/// pic_parameter_set_id of a PPS NAL unit (H.264 7.3.2.2), 0 to 255.
fn pps_id(nal: &[u8]) -> Result<u32, Error> {
    BitReader::rbsp(nal.get(1..).unwrap_or(&[])).ue_max(255, "pic_parameter_set_id")
}

/// The high-profile extension's place: 14496-15:2017 names 100, 110, 122 and 144, later editions (and ffmpeg) write it
/// for all but 66, 77 and 88.
fn has_extension(profile_idc: u8) -> bool {
    !matches!(profile_idc, 66 | 77 | 88)
}

/// sequenceParameterSetLength and its like have 16 bits.
fn check_size(unit: &[u8]) -> Result<(), Error> {
    if u16::try_from(unit.len()).is_err() {
        return Err(Error::Limit {
            what: "parameter set bytes",
            count: unit.len(),
            max: usize::from(u16::MAX),
        });
    }
    Ok(())
}

fn push(list: &mut Vec<Bytes>, unit: &[u8], what: &'static str, max: usize) -> Result<(), Error> {
    if list.iter().any(|held| held == unit) {
        return Ok(());
    }
    check_size(unit)?;
    if list.len() >= max {
        return Err(Error::Limit { what, count: list.len().saturating_add(1), max });
    }
    list.push(Bytes::copy_from_slice(unit));
    Ok(())
}

fn replace(
    list: &mut Vec<Bytes>,
    unit: &[u8],
    same_id: impl Fn(&Bytes) -> bool,
    what: &'static str,
    max: usize,
) -> Result<(), Error> {
    check_size(unit)?;
    if let Some(held) = list.iter_mut().find(|held| same_id(held)) {
        *held = Bytes::copy_from_slice(unit);
        return Ok(());
    }
    push(list, unit, what, max)
}

/// `count_prefix` fills the reserved bits of the count's byte. Counts and lengths were bounded when the lists were made.
fn write_list(record: &mut Vec<u8>, count_prefix: u8, list: &[Bytes]) {
    record.push(count_prefix | u8::try_from(list.len()).unwrap_or(u8::MAX));
    for unit in list {
        record.extend_from_slice(&u16::try_from(unit.len()).unwrap_or(u16::MAX).to_be_bytes());
        record.extend_from_slice(unit);
    }
}

struct RecordReader<'a> {
    rest: &'a [u8],
    size: usize,
}

impl<'a> RecordReader<'a> {
    fn truncated(&self, field: &'static str) -> Error {
        let read = self.size.saturating_sub(self.rest.len());
        Error::Truncated { field, bit_offset: u64::try_from(read).unwrap_or(u64::MAX).saturating_mul(8) }
    }

    fn byte(&mut self, field: &'static str) -> Result<u8, Error> {
        let (byte, rest) = self.rest.split_first().ok_or_else(|| self.truncated(field))?;
        self.rest = rest;
        Ok(*byte)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.rest = self.rest.get(count..)?;
        Some(())
    }

    fn parameter_set(&mut self, field: &'static str) -> Result<&'a [u8], Error> {
        let (length, rest) = self.rest.split_first_chunk::<2>().ok_or_else(|| self.truncated(field))?;
        let (unit, rest) = rest
            .split_at_checked(usize::from(u16::from_be_bytes(*length)))
            .ok_or_else(|| self.truncated(field))?;
        self.rest = rest;
        Ok(unit)
    }
}

//! AudioSpecificConfig: object type, rates, channels, and the three ways of announcing SBR and PS.

use bytes::Bytes;

use super::adts::{ADTS_FRAME_SIZE_MAX, ADTS_HEADER_SIZE};
use crate::Error;
use crate::bits::{BitReader, BitWriter};

/// Sampling frequencies by samplingFrequencyIndex 0 to 12, in Hz (table 1.18).
pub const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// Range of an explicitly written rate, in Hz: what an AAC stream can sensibly have, and far below a timescale's limit.
const SAMPLE_RATE_MIN: u32 = 1_000;
const SAMPLE_RATE_MAX: u32 = 192_000;

/// samplingFrequencyIndex that announces 24 bits of rate.
const RATE_ESCAPE: u8 = 15;
/// syncExtensionType of SBR and of PS (1.6.2.1).
const SYNC_SBR: u32 = 0x2B7;
const SYNC_PS: u32 = 0x548;
const OBJECT_SBR: u8 = 5;
const OBJECT_ER_BSAC: u8 = 22;
const OBJECT_PS: u8 = 29;

/// The samplingFrequencyIndex of a rate in Hz, when the table has it.
pub fn sample_rate_index(rate: u32) -> Option<u8> {
    SAMPLE_RATES.iter().position(|&entry| entry == rate).and_then(|index| u8::try_from(index).ok())
}

/// How an [`Extension`] is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signalling {
    /// The outer object type is 5 or 29, the core's follows (explicit hierarchical).
    Hierarchical,
    /// The outer object type is the core's, SBR and PS follow behind a sync word (explicit backward compatible).
    BackwardCompatible,
}

/// Spectral band replication and parametric stereo, explicitly announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extension {
    /// How it is written.
    pub signalling: Signalling,
    /// True for HE-AAC v2: one coded channel becomes two.
    pub parametric_stereo: bool,
    /// Samples per second after SBR.
    pub sample_rate: u32,
}

/// A program_config_element (4.5.1.1), which takes the place of a channel configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProgramConfig {
    /// Channels it describes, LFE included; at least one.
    pub channels: u8,
}

/// What an AudioSpecificConfig says. SBR and PS that only the payload shows (implicit signalling) cannot be seen here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AudioSpecificConfig {
    /// audioObjectType of the core coder: 2 for AAC-LC, also below HE-AAC.
    pub object_type: u8,
    /// Samples per second of the core coder.
    pub sample_rate: u32,
    /// channelConfiguration, 0 to 14; 0 when [`AudioSpecificConfig::program_config`] says it.
    pub channel_configuration: u8,
    /// Samples of the core per frame: 1,024 or 960; 512 or 480 for the low-delay object type 23.
    pub samples_per_frame: u16,
    /// SBR and PS, when announced as present.
    pub extension: Option<Extension>,
    /// True when SBR is announced as absent (ffmpeg does): a decoder need not look for it in the payload.
    pub sbr_absent: bool,
    /// The channel layout, when written out.
    pub program_config: Option<ProgramConfig>,
    /// coreCoderDelay of a scalable stream.
    pub core_coder_delay: Option<u16>,
}

impl AudioSpecificConfig {
    /// Parses an AudioSpecificConfig; bytes after it are ignored.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Invalid`] for reserved values, [`Error::Unsupported`] for object types that are
    /// not general audio (speech coders, ELD, USAC) and for error protection.
    pub fn parse(data: &[u8]) -> Result<AudioSpecificConfig, Error> {
        let mut r = BitReader::new(data);
        let mut object_type = parse_object_type(&mut r)?;
        let sample_rate = parse_sample_rate(&mut r)?;
        let channel_configuration = r.bits_u8(4, "channelConfiguration")?;
        if !matches!(channel_configuration, 0..=7 | 11 | 12 | 14) {
            let value = u64::from(channel_configuration);
            return Err(Error::Invalid { field: "channelConfiguration", value });
        }
        let mut extension = None;
        if object_type == OBJECT_SBR || object_type == OBJECT_PS {
            extension = Some(Extension {
                signalling: Signalling::Hierarchical,
                parametric_stereo: object_type == OBJECT_PS,
                sample_rate: parse_sample_rate(&mut r)?,
            });
            object_type = parse_object_type(&mut r)?;
            if object_type == OBJECT_ER_BSAC {
                r.bits(4, "extensionChannelConfiguration")?;
            }
        }
        let mut config = AudioSpecificConfig {
            object_type,
            sample_rate,
            channel_configuration,
            samples_per_frame: 1_024,
            extension,
            sbr_absent: false,
            program_config: None,
            core_coder_delay: None,
        };
        config.parse_general_audio(&mut r)?;
        if matches!(object_type, 17 | 19..=23) {
            let ep_config = r.bits(2, "epConfig")?;
            if ep_config >= 2 {
                return Err(Error::Unsupported { what: "AAC epConfig", value: u64::from(ep_config) });
            }
        }
        if config.extension.is_none() {
            config.parse_sync_extension(&mut r)?;
        }
        Ok(config)
    }

    /// GASpecificConfig (4.4.1).
    fn parse_general_audio(&mut self, r: &mut BitReader<'_>) -> Result<(), Error> {
        // Table 1.17: reserved numbers are damage, the others name a coder that is not read here.
        if matches!(self.object_type, 0 | 10 | 11 | 18 | 31 | 45..) {
            return Err(Error::Invalid { field: "audioObjectType", value: u64::from(self.object_type) });
        }
        if !matches!(self.object_type, 1..=4 | 6 | 7 | 17 | 19..=23) {
            return Err(Error::Unsupported { what: "audio object type", value: u64::from(self.object_type) });
        }
        let short = r.flag("frameLengthFlag")?;
        self.samples_per_frame = match (self.object_type, short) {
            (23, false) => 512,
            (23, true) => 480,
            (_, false) => 1_024,
            (_, true) => 960,
        };
        if r.flag("dependsOnCoreCoder")? {
            self.core_coder_delay = Some(r.bits_u16(14, "coreCoderDelay")?);
        }
        let extended = r.flag("extensionFlag")?;
        if self.channel_configuration == 0 {
            self.program_config = Some(ProgramConfig::parse(r)?);
        }
        if matches!(self.object_type, 6 | 20) {
            r.bits(3, "layerNr")?;
        }
        if extended {
            if self.object_type == OBJECT_ER_BSAC {
                r.bits(16, "numOfSubFrame and layer_length")?;
            }
            if matches!(self.object_type, 17 | 19 | 20 | 23) {
                r.bits(3, "resilience flags")?;
            }
            r.flag("extensionFlag3")?;
        }
        Ok(())
    }

    /// The backward compatible announcement at the end (1.6.2.1).
    fn parse_sync_extension(&mut self, r: &mut BitReader<'_>) -> Result<(), Error> {
        // The clause's own condition; what else may stand there is padding.
        if r.remaining() < 16
            || r.bits(11, "syncExtensionType")? != SYNC_SBR
            || parse_object_type(r)? != OBJECT_SBR
        {
            return Ok(());
        }
        if !r.flag("sbrPresentFlag")? {
            self.sbr_absent = true;
            return Ok(());
        }
        let sample_rate = parse_sample_rate(r)?;
        let parametric_stereo =
            r.remaining() >= 12 && r.bits(11, "syncExtensionType")? == SYNC_PS && r.flag("psPresentFlag")?;
        let signalling = Signalling::BackwardCompatible;
        self.extension = Some(Extension { signalling, parametric_stereo, sample_rate });
        Ok(())
    }

    /// Channels after decoding: PS makes two of one. At least one.
    pub fn channels(&self) -> u8 {
        match (self.channel_configuration, self.extension, self.program_config) {
            (0, _, Some(program)) => program.channels,
            (1, Some(Extension { parametric_stereo: true, .. }), _) => 2,
            // Table 1.19.
            (7 | 12 | 14, ..) => 8,
            (11, ..) => 7,
            (channels, ..) => channels.max(1),
        }
    }

    /// Samples per second after decoding: the extension's rate where there is one.
    pub fn output_sample_rate(&self) -> u32 {
        self.extension.map_or(self.sample_rate, |extension| extension.sample_rate)
    }

    /// RFC 6381 string: `mp4a.40.` and the object type, 5 for HE-AAC and 29 for HE-AAC v2.
    pub fn codec_string(&self) -> String {
        let object_type = match self.extension {
            Some(Extension { parametric_stereo: true, .. }) => OBJECT_PS,
            Some(_) => OBJECT_SBR,
            None => self.object_type,
        };
        format!("mp4a.40.{object_type}")
    }

    /// Writes the configuration in the form it was read in.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what is not written here: a program_config_element, scalable and error-resilient
    /// object types.
    pub fn to_bytes(&self) -> Result<Bytes, Error> {
        if !matches!(self.object_type, 1..=4) {
            return Err(Error::Unsupported {
                what: "writing audio object type",
                value: u64::from(self.object_type),
            });
        }
        if self.channel_configuration == 0 {
            return Err(Error::Unsupported { what: "writing channelConfiguration", value: 0 });
        }
        let mut w = BitWriter::default();
        let hierarchical = self.extension.filter(|ext| ext.signalling == Signalling::Hierarchical);
        match hierarchical {
            Some(extension) => {
                w.bits(u32::from(if extension.parametric_stereo { OBJECT_PS } else { OBJECT_SBR }), 5);
                write_sample_rate(&mut w, self.sample_rate);
                w.bits(u32::from(self.channel_configuration), 4);
                write_sample_rate(&mut w, extension.sample_rate);
                w.bits(u32::from(self.object_type), 5);
            }
            None => {
                w.bits(u32::from(self.object_type), 5);
                write_sample_rate(&mut w, self.sample_rate);
                w.bits(u32::from(self.channel_configuration), 4);
            }
        }
        w.bits(u32::from(self.samples_per_frame == 960), 1);
        w.bits(u32::from(self.core_coder_delay.is_some()), 1);
        if let Some(delay) = self.core_coder_delay {
            w.bits(u32::from(delay), 14);
        }
        w.bits(0, 1); // extensionFlag
        if hierarchical.is_none()
            && let Some(extension) = self.extension
        {
            w.bits(SYNC_SBR, 11);
            w.bits(u32::from(OBJECT_SBR), 5);
            w.bits(1, 1); // sbrPresentFlag
            write_sample_rate(&mut w, extension.sample_rate);
            w.bits(SYNC_PS, 11);
            w.bits(u32::from(extension.parametric_stereo), 1);
        }
        if self.extension.is_none() && self.sbr_absent {
            w.bits(SYNC_SBR, 11);
            w.bits(u32::from(OBJECT_SBR), 5);
            w.bits(0, 1);
        }
        Ok(w.finish().into())
    }

    /// The 7-byte ADTS header, without CRC, of a raw frame of `frame_len` bytes (1.A.2.2.1). HE-AAC is announced by
    /// its core alone: receivers find SBR and PS in the payload.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what ADTS cannot express: object types other than 1 to 4, frames of 960 samples,
    /// rates outside [`SAMPLE_RATES`], channel configurations other than 1 to 7; [`Error::Limit`] when frame and
    /// header exceed [`ADTS_FRAME_SIZE_MAX`] bytes.
    pub fn adts_header(&self, frame_len: usize) -> Result<[u8; ADTS_HEADER_SIZE], Error> {
        if !matches!(self.object_type, 1..=4) {
            let value = u64::from(self.object_type);
            return Err(Error::Unsupported { what: "ADTS with audio object type", value });
        }
        if self.samples_per_frame != 1_024 {
            let value = u64::from(self.samples_per_frame);
            return Err(Error::Unsupported { what: "ADTS with samples per frame", value });
        }
        if !matches!(self.channel_configuration, 1..=7) {
            let value = u64::from(self.channel_configuration);
            return Err(Error::Unsupported { what: "ADTS with channelConfiguration", value });
        }
        let index = sample_rate_index(self.sample_rate).ok_or(Error::Unsupported {
            what: "ADTS with sampling frequency",
            value: u64::from(self.sample_rate),
        })?;
        let size = frame_len.saturating_add(ADTS_HEADER_SIZE);
        let length = u16::try_from(size)
            .ok()
            .filter(|_| size <= ADTS_FRAME_SIZE_MAX)
            .ok_or(Error::Limit { what: "ADTS frame bytes", count: size, max: ADTS_FRAME_SIZE_MAX })?;
        let [length_high, length_low] = length.to_be_bytes();
        let channels = self.channel_configuration;
        Ok([
            0xFF,
            // Last four sync bits, id 0 (MPEG-4), layer 00, protection_absent 1.
            0xF1,
            // 1 to 4, by the first check.
            ((self.object_type - 1) << 6) | (index << 2) | (channels >> 2),
            ((channels & 0b11) << 6) | (length_high >> 3),
            (length_high << 5) | (length_low >> 3),
            // adts_buffer_fullness 7FF: variable rate; number_of_raw_data_blocks_in_frame - 1 = 0.
            (length_low << 5) | 0x1F,
            0xFC,
        ])
    }
}

impl ProgramConfig {
    fn parse(r: &mut BitReader<'_>) -> Result<ProgramConfig, Error> {
        r.bits(4 + 2 + 4, "program_config_element")?;
        let front = r.bits_u8(4, "num_front_channel_elements")?;
        let side = r.bits_u8(4, "num_side_channel_elements")?;
        let back = r.bits_u8(4, "num_back_channel_elements")?;
        let low_frequency = r.bits_u8(2, "num_lfe_channel_elements")?;
        let associated = r.bits_u8(3, "num_assoc_data_elements")?;
        let coupling = r.bits_u8(4, "num_valid_cc_elements")?;
        if r.flag("mono_mixdown_present")? {
            r.bits(4, "mono_mixdown_element_number")?;
        }
        if r.flag("stereo_mixdown_present")? {
            r.bits(4, "stereo_mixdown_element_number")?;
        }
        if r.flag("matrix_mixdown_idx_present")? {
            r.bits(3, "matrix_mixdown_idx")?;
        }
        let mut channels: u8 = low_frequency;
        for elements in [front, side, back] {
            for _ in 0..elements {
                let is_pair = r.flag("element_is_cpe")?;
                r.bits(4, "element_tag_select")?;
                channels = channels.saturating_add(if is_pair { 2 } else { 1 });
            }
        }
        for _ in 0..low_frequency.saturating_add(associated) {
            r.bits(4, "element_tag_select")?;
        }
        for _ in 0..coupling {
            r.bits(5, "valid_cc_element")?;
        }
        // 4.5.1.1: aligned relative to the start of the AudioSpecificConfig.
        r.align();
        for _ in 0..r.bits_u8(8, "comment_field_bytes")? {
            r.bits(8, "comment_field_data")?;
        }
        if channels == 0 {
            return Err(Error::Invalid { field: "program_config_element", value: 0 });
        }
        Ok(ProgramConfig { channels })
    }
}

fn parse_object_type(r: &mut BitReader<'_>) -> Result<u8, Error> {
    let object_type = r.bits_u8(5, "audioObjectType")?;
    if object_type != 31 {
        return Ok(object_type);
    }
    // 1.6.2.1, GetAudioObjectType: six bits more cannot pass 32 + 63.
    Ok(r.bits_u8(6, "audioObjectTypeExt")?.saturating_add(32))
}

fn parse_sample_rate(r: &mut BitReader<'_>) -> Result<u32, Error> {
    let index = r.bits_u8(4, "samplingFrequencyIndex")?;
    if index == RATE_ESCAPE {
        let rate = r.bits(24, "samplingFrequency")?;
        if !(SAMPLE_RATE_MIN..=SAMPLE_RATE_MAX).contains(&rate) {
            return Err(Error::Invalid { field: "samplingFrequency", value: u64::from(rate) });
        }
        return Ok(rate);
    }
    let rate = SAMPLE_RATES.get(usize::from(index)).copied();
    rate.ok_or(Error::Invalid { field: "samplingFrequencyIndex", value: u64::from(index) })
}

fn write_sample_rate(w: &mut BitWriter, rate: u32) {
    match sample_rate_index(rate) {
        Some(index) => w.bits(u32::from(index), 4),
        None => {
            w.bits(u32::from(RATE_ESCAPE), 4);
            w.bits(rate, 24);
        }
    }
}

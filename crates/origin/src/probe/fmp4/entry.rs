//! A sample entry: which coding a track has, as RFC 6381 writes it, and what is needed to look into its samples.

use headwater_manifest::hls::check::Severity;
use mp4_atom::{Av1c, Avcc, Esds, Hvcc, VpcC};

use super::super::es::VideoCodec;
use super::boxes::{Atom, ESDS_BYTES_MAX, LEAF_BYTES_MAX, Level};
use super::init::{Agreement, TrackKind};

/// Bytes of a VisualSampleEntry in front of its boxes (14496-12 12.1.3).
const VISUAL_BYTES: usize = 78;
/// Bytes of an AudioSampleEntry in front of its boxes (14496-12 12.2.3).
const AUDIO_BYTES: usize = 28;

/// A sample entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SampleEntry {
    /// As CODECS writes it: `avc1.64001f`; only the name where nothing more is known. Safe to print.
    pub(super) codec: String,
    /// Width and height of the picture.
    pub(super) size: Option<(u16, u16)>,
    /// The coding of NAL units and the bytes of their lengths.
    pub(super) nal: Option<(VideoCodec, u8)>,
    /// SPS and PPS (HEVC: VPS too) stand in the entry.
    pub(super) parameter_sets: bool,
    /// Samples are encrypted.
    pub(super) encrypted: bool,
    /// Severity, rule and message of what is wrong with it.
    pub(super) remarks: Vec<(Severity, &'static str, String)>,
}

impl SampleEntry {
    /// Reads one.
    ///
    /// # Errors
    /// When it is cut short.
    pub(super) fn read(atom: &Atom<'_>, kind: TrackKind) -> Result<SampleEntry, String> {
        let fixed = match kind {
            TrackKind::Video => VISUAL_BYTES,
            // QuickTime's versions 1 and 2 are longer; MP4 has only 0.
            TrackKind::Audio => match atom.body.get(8..10) {
                Some([0, 1]) => AUDIO_BYTES + 16,
                Some([0, 2]) => AUDIO_BYTES + 36,
                _ => AUDIO_BYTES,
            },
            TrackKind::Other => atom.body.len(),
        };
        let boxes = atom.body.get(fixed..).ok_or_else(|| format!("{} is cut short", atom.name()))?;
        let boxes = Level::read(boxes);
        let be16 = |at: usize| Some(u16::from_be_bytes(*atom.body.get(at..)?.first_chunk()?));
        let original =
            boxes.within(*b"sinf").and_then(|sinf| sinf.first(*b"frma")?.body.first_chunk().copied());
        let encrypted = matches!(&atom.kind, b"encv" | b"enca");
        let mut entry = SampleEntry {
            codec: String::new(),
            size: (kind == TrackKind::Video).then(|| be16(24).zip(be16(26))).flatten(),
            nal: None,
            parameter_sets: true,
            encrypted,
            remarks: Vec::new(),
        };
        let name = original.filter(|_| encrypted).unwrap_or(atom.kind);
        entry.codec = name.escape_ascii().to_string();
        let parameters = match &name {
            b"avc1" | b"avc3" => entry.avc(&boxes),
            b"hvc1" | b"hev1" => entry.hevc(&boxes),
            b"av01" => av1(&boxes),
            b"vp09" => vp9(&boxes),
            b"mp4a" => entry.mpeg4_audio(&boxes),
            _ => Ok(String::new()),
        };
        match parameters {
            Ok(parameters) => entry.codec.push_str(&parameters),
            Err(error) => entry.remarks.push((Severity::Error, "cmaf 2.3", error)),
        }
        Ok(entry)
    }

    fn avc(&mut self, boxes: &Level<'_>) -> Result<String, String> {
        let record: Avcc = boxes.first(*b"avcC").ok_or("avc1 has no avcC")?.leaf(LEAF_BYTES_MAX)?;
        self.nal = Some((VideoCodec::H264, record.length_size));
        self.parameter_sets =
            !record.sequence_parameter_sets.is_empty() && !record.picture_parameter_sets.is_empty();
        if !self.parameter_sets && self.codec == "avc1" {
            self.remarks.push((Severity::Error, "cmaf 2.4", "avc1 has no SPS or PPS in its avcC".to_owned()));
        }
        let Avcc { avc_profile_indication, profile_compatibility, avc_level_indication, .. } = record;
        Ok(format!(".{avc_profile_indication:02x}{profile_compatibility:02x}{avc_level_indication:02x}"))
    }

    fn hevc(&mut self, boxes: &Level<'_>) -> Result<String, String> {
        let record: Hvcc = boxes.first(*b"hvcC").ok_or("hvc1 has no hvcC")?.leaf(LEAF_BYTES_MAX)?;
        self.nal = Some((VideoCodec::H265, record.length_size_minus_one.saturating_add(1)));
        // H.265 table 7-1: VPS, SPS, PPS.
        let has = |wanted| {
            record.arrays.iter().any(|array| array.nal_unit_type == wanted && !array.nalus.is_empty())
        };
        self.parameter_sets = has(32) && has(33) && has(34);
        if !self.parameter_sets && self.codec == "hvc1" {
            self.remarks.push((
                Severity::Error,
                "cmaf 2.4",
                "hvc1 has no VPS, SPS or PPS in its hvcC".to_owned(),
            ));
        }
        // 14496-15 annex E.3.
        let space = ["", "A", "B", "C"].get(usize::from(record.general_profile_space)).copied().unwrap_or("");
        let compatible = u32::from_be_bytes(record.general_profile_compatibility_flags).reverse_bits();
        let tier = if record.general_tier_flag { 'H' } else { 'L' };
        let constraints = record.general_constraint_indicator_flags;
        let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let constraints: String = constraints.iter().take(used).map(|byte| format!(".{byte:X}")).collect();
        let Hvcc { general_profile_idc, general_level_idc, .. } = record;
        Ok(format!(".{space}{general_profile_idc}.{compatible:x}.{tier}{general_level_idc}{constraints}"))
    }

    fn mpeg4_audio(&mut self, boxes: &Level<'_>) -> Result<String, String> {
        let record: Esds = boxes.first(*b"esds").ok_or("mp4a has no esds")?.leaf(ESDS_BYTES_MAX)?;
        let config = record.es_desc.dec_config;
        Ok(match (config.object_type_indication, config.dec_specific) {
            (0x40, Some(specific)) => format!(".40.{}", specific.profile),
            (0x40, None) => return Err("mp4a has no AudioSpecificConfig".to_owned()),
            // MP3, as 14496-3 numbers it.
            (0x69 | 0x6b, _) => ".40.34".to_owned(),
            (other, _) => format!(".{other:x}"),
        })
    }

    /// The best of [`SampleEntry::agreement`] over all that is announced.
    pub(super) fn best_agreement(&self, announced: &[String]) -> Agreement {
        announced.iter().map(|codec| self.agreement(codec)).max().unwrap_or(Agreement::None)
    }

    /// How well one announced codec string fits.
    pub(super) fn agreement(&self, announced: &str) -> Agreement {
        let (have, announced) = (self.codec.to_ascii_lowercase(), announced.trim().to_ascii_lowercase());
        let name = |codec: &str| codec.split('.').next().unwrap_or_default().to_owned();
        let mp3 = |codec: &str| matches!(codec, "mp4a.40.34" | "mp4a.69" | "mp4a.6b" | "mp3" | ".mp3");
        // A backward compatible HE-AAC says LC in its file.
        let aac = |codec: &str| matches!(codec, "mp4a.40.2" | "mp4a.40.5" | "mp4a.40.29");
        if have == announced || mp3(&have) && mp3(&announced) || aac(&have) && aac(&announced) {
            return Agreement::Same;
        }
        if name(&have) != name(&announced) || mp3(&have) != mp3(&announced) {
            return Agreement::None;
        }
        // AV1 and VP9 have optional parts behind the ones made here; of others only the name is known.
        let longer = announced.strip_prefix(&have).is_some_and(|rest| rest.starts_with('.'));
        if longer { Agreement::Same } else { Agreement::Parameters }
    }
}

/// AV1 in ISOBMFF, clause 5.
fn av1(boxes: &Level<'_>) -> Result<String, String> {
    let record: Av1c = boxes.first(*b"av1C").ok_or("av01 has no av1C")?.leaf(LEAF_BYTES_MAX)?;
    let tier = if record.seq_tier_0 { 'H' } else { 'M' };
    let depth = match (record.high_bitdepth, record.twelve_bit) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    Ok(format!(".{}.{:02}{tier}.{depth:02}", record.seq_profile, record.seq_level_idx_0))
}

/// VP codecs in ISOBMFF.
fn vp9(boxes: &Level<'_>) -> Result<String, String> {
    let record: VpcC = boxes.first(*b"vpcC").ok_or("vp09 has no vpcC")?.leaf(LEAF_BYTES_MAX)?;
    Ok(format!(".{:02}.{:02}.{:02}", record.profile, record.level, record.bit_depth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_codecs() {
        use Agreement::{None, Parameters, Same};
        for (have, announced, expected) in [
            ("avc1.64001f", "avc1.64001F", Same),
            ("avc1.64001f", " avc1.64001f", Same),
            ("avc1.64001f", "avc1.640028", Parameters),
            ("avc1.64001f", "hvc1.1.6.L93.B0", None),
            ("hev1.1.6.L93.B0", "hvc1.1.6.L93.B0", None),
            ("mp4a.40.2", "mp4a.40.5", Same),
            ("mp4a.40.2", "mp4a.40.42", Parameters),
            ("mp4a.40.34", "mp4a.6B", Same),
            ("mp4a.40.34", "mp4a.40.2", None),
            ("av01.0.08M.08", "av01.0.08M.08.0.110.09.16.09.0", Same),
            ("av01.0.08M.08", "av01.0.09M.08", Parameters),
            ("Opus", "opus", Same),
            ("fLaC", "flac", Same),
            ("ec-3", "ac-3", None),
        ] {
            let entry = SampleEntry {
                codec: have.to_owned(),
                size: Option::None,
                nal: Option::None,
                parameter_sets: true,
                encrypted: false,
                remarks: Vec::new(),
            };
            assert_eq!(entry.agreement(announced), expected, "{have} {announced}");
        }
    }
}

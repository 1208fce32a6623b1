//! The sequence parameter set (H.264 7.3.2.1.1 and annex E): size, shape, colour, frame rate and reordering.

use super::nal::NalType;
use crate::Error;
use crate::bits::BitReader;

/// Longest side of a picture in samples. 16,384 holds twice 8K; level 6.2 ends at 16,888 luma samples.
pub const DIMENSION_MAX: u32 = 16_384;

/// Slowest and fastest frame rate believed, in frames per second; outside of it the field is an encoder's mistake.
const FRAME_RATE_MIN: u64 = 1;
const FRAME_RATE_MAX: u64 = 240;

/// Largest max_num_reorder_frames: the decoded picture buffer holds at most 16 frames (A.3.1).
const REORDER_FRAMES_MAX: u32 = 16;

/// Sample aspect ratios of table E-1, aspect_ratio_idc 1 to 16.
const SAMPLE_ASPECT_RATIOS: [(u16, u16); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// Colour description (E.2.1), code points of ISO/IEC 23091-2; 2 means unspecified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Colour {
    /// colour_primaries.
    pub primaries: u8,
    /// transfer_characteristics.
    pub transfer: u8,
    /// matrix_coefficients.
    pub matrix: u8,
    /// video_full_range_flag.
    pub full_range: bool,
}

/// The timing fields of the VUI (E.2.1): a field lasts `num_units_in_tick / time_scale` seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timing {
    /// num_units_in_tick.
    pub num_units_in_tick: u32,
    /// time_scale, in Hz.
    pub time_scale: u32,
    /// fixed_frame_rate_flag.
    pub fixed_frame_rate: bool,
}

/// What a sequence parameter set says, as far as an origin needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sps {
    /// profile_idc.
    pub profile_idc: u8,
    /// constraint_set0_flag (top bit) to constraint_set5_flag and two reserved bits.
    pub constraint_flags: u8,
    /// level_idc: ten times the level.
    pub level_idc: u8,
    /// seq_parameter_set_id, 0 to 31.
    pub id: u8,
    /// chroma_format_idc: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format_idc: u8,
    /// Bits per luma sample, 8 to 14.
    pub bit_depth_luma: u8,
    /// Bits per chroma sample, 8 to 14.
    pub bit_depth_chroma: u8,
    /// pic_order_cnt_type, 0 to 2.
    pub pic_order_cnt_type: u8,
    /// frame_mbs_only_flag: false when fields or interlaced frames may occur.
    pub frame_mbs_only: bool,
    /// Luma samples per row after cropping, 1 to [`DIMENSION_MAX`].
    pub width: u32,
    /// Rows after cropping, 1 to [`DIMENSION_MAX`].
    pub height: u32,
    /// Luma samples cut off at the left, right, top and bottom of the coded picture.
    pub crop: (u32, u32, u32, u32),
    /// Sample aspect ratio; (1, 1) when square, unknown or nonsense.
    pub sample_aspect_ratio: (u16, u16),
    /// Colour description, when present.
    pub colour: Option<Colour>,
    /// Timing, when present.
    pub timing: Option<Timing>,
    /// max_num_reorder_frames: stated, or inferred by E.2.1 and pic_order_cnt_type; `None` when unknown.
    pub reorder_frames_max: Option<u8>,
}

impl Sps {
    /// Parses a sequence parameter set NAL unit, its header byte included.
    ///
    /// A VUI that ends early or makes no sense costs only the fields from there on: old encoders cut it short.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another NAL unit type or a value out of bounds, [`Error::Truncated`] before the VUI.
    pub fn parse(nal: &[u8]) -> Result<Sps, Error> {
        let header = *nal.first().ok_or(Error::Truncated { field: "nal_unit_type", bit_offset: 0 })?;
        if header & 0x80 != 0 || NalType::of(nal) != Some(NalType::SPS) {
            return Err(Error::Invalid { field: "nal_unit_type", value: u64::from(header) });
        }
        let mut r = BitReader::rbsp(nal.get(1..).unwrap_or(&[]));
        let profile_idc = r.bits_u8(8, "profile_idc")?;
        let constraint_flags = r.bits_u8(8, "constraint_set_flags")?;
        let level_idc = r.bits_u8(8, "level_idc")?;
        let id = small(r.ue_max(31, "seq_parameter_set_id")?);
        let chroma = Chroma::parse(&mut r, profile_idc)?;
        r.ue_max(12, "log2_max_frame_num_minus4")?;
        let pic_order_cnt_type = parse_pic_order_cnt(&mut r)?;
        r.ue_max(16, "max_num_ref_frames")?;
        r.flag("gaps_in_frame_num_value_allowed_flag")?;
        let mb_columns = r.ue_max(DIMENSION_MAX / 16 - 1, "pic_width_in_mbs_minus1")?.saturating_add(1);
        let map_rows = r.ue_max(DIMENSION_MAX / 16 - 1, "pic_height_in_map_units_minus1")?.saturating_add(1);
        let frame_mbs_only = r.flag("frame_mbs_only_flag")?;
        if !frame_mbs_only {
            r.flag("mb_adaptive_frame_field_flag")?;
        }
        r.flag("direct_8x8_inference_flag")?;

        // 7.4.2.1.1: CropUnitX and CropUnitY; a map unit is two rows of macroblocks unless frame_mbs_only_flag.
        let rows_per_unit: u32 = if frame_mbs_only { 1 } else { 2 };
        let (sub_width, sub_height): (u32, u32) = match chroma.array_type() {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let coded_width = mb_columns.saturating_mul(16);
        let coded_height = map_rows.saturating_mul(16).saturating_mul(rows_per_unit);
        if coded_height > DIMENSION_MAX {
            return Err(Error::Invalid {
                field: "pic_height_in_map_units_minus1",
                value: u64::from(map_rows.saturating_sub(1)),
            });
        }
        let mut crop = (0, 0, 0, 0);
        if r.flag("frame_cropping_flag")? {
            let unit_y = sub_height.saturating_mul(rows_per_unit);
            crop.0 = r.ue("frame_crop_left_offset")?.saturating_mul(sub_width);
            crop.1 = r.ue("frame_crop_right_offset")?.saturating_mul(sub_width);
            crop.2 = r.ue("frame_crop_top_offset")?.saturating_mul(unit_y);
            crop.3 = r.ue("frame_crop_bottom_offset")?.saturating_mul(unit_y);
        }
        let width = cropped(coded_width, crop.0, crop.1, "frame_crop_right_offset")?;
        let height = cropped(coded_height, crop.2, crop.3, "frame_crop_bottom_offset")?;

        let mut vui = Vui::default();
        if r.flag("vui_parameters_present_flag")? {
            // Fields read before the damage are kept.
            let _damage = vui.parse(&mut r);
        }
        let reorder_frames_max = vui
            .reorder_frames_max
            .or_else(|| never_reorders(profile_idc, constraint_flags, pic_order_cnt_type).then_some(0));
        Ok(Sps {
            profile_idc,
            constraint_flags,
            level_idc,
            id,
            chroma_format_idc: chroma.format_idc,
            bit_depth_luma: chroma.bit_depth_luma,
            bit_depth_chroma: chroma.bit_depth_chroma,
            pic_order_cnt_type,
            frame_mbs_only,
            width,
            height,
            crop,
            sample_aspect_ratio: vui.sample_aspect_ratio.unwrap_or((1, 1)),
            colour: vui.colour,
            timing: vui.timing,
            reorder_frames_max,
        })
    }

    /// Frames per second as a reduced (numerator, denominator): `time_scale / (2 * num_units_in_tick)` (E.2.1, a
    /// frame is two fields). `None` without timing or outside 1 to 240, where encoders lie.
    pub fn frame_rate(&self) -> Option<(u32, u32)> {
        let timing = self.timing?;
        let numerator = u64::from(timing.time_scale);
        let denominator = u64::from(timing.num_units_in_tick).checked_mul(2)?;
        let (min, max) = (denominator.checked_mul(FRAME_RATE_MIN)?, denominator.checked_mul(FRAME_RATE_MAX)?);
        if denominator == 0 || numerator < min || numerator > max {
            return None;
        }
        let divisor = greatest_common_divisor(numerator, denominator);
        let reduce = |value: u64| value.checked_div(divisor).and_then(|value| u32::try_from(value).ok());
        Some((reduce(numerator)?, reduce(denominator)?))
    }

    /// RFC 6381 string: `avc1.` and the hexadecimal profile, constraint flags and level, in lower case.
    pub fn codec_string(&self) -> String {
        format!("avc1.{:02x}{:02x}{:02x}", self.profile_idc, self.constraint_flags, self.level_idc)
    }
}

struct Chroma {
    format_idc: u8,
    separate_planes: bool,
    bit_depth_luma: u8,
    bit_depth_chroma: u8,
}

impl Chroma {
    fn parse(r: &mut BitReader<'_>, profile_idc: u8) -> Result<Chroma, Error> {
        let mut chroma =
            Chroma { format_idc: 1, separate_planes: false, bit_depth_luma: 8, bit_depth_chroma: 8 };
        // 7.3.2.1.1: the profiles whose SPS describes its chroma.
        if !matches!(profile_idc, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
            return Ok(chroma);
        }
        chroma.format_idc = small(r.ue_max(3, "chroma_format_idc")?);
        if chroma.format_idc == 3 {
            chroma.separate_planes = r.flag("separate_colour_plane_flag")?;
        }
        chroma.bit_depth_luma = small(r.ue_max(6, "bit_depth_luma_minus8")?).saturating_add(8);
        chroma.bit_depth_chroma = small(r.ue_max(6, "bit_depth_chroma_minus8")?).saturating_add(8);
        r.flag("qpprime_y_zero_transform_bypass_flag")?;
        if r.flag("seq_scaling_matrix_present_flag")? {
            let lists: u8 = if chroma.format_idc == 3 { 12 } else { 8 };
            for list in 0..lists {
                if r.flag("seq_scaling_list_present_flag")? {
                    skip_scaling_list(r, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
        Ok(chroma)
    }

    /// ChromaArrayType: separately coded planes count as monochrome (7.4.2.1.1).
    fn array_type(&self) -> u8 {
        if self.separate_planes { 0 } else { self.format_idc }
    }
}

fn skip_scaling_list(r: &mut BitReader<'_>, size: u8) -> Result<(), Error> {
    let (mut last, mut next): (i32, i32) = (8, 8);
    for _ in 0..size {
        if next != 0 {
            let delta = r.se("delta_scale")?;
            next = last.wrapping_add(delta).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Ok(())
}

fn parse_pic_order_cnt(r: &mut BitReader<'_>) -> Result<u8, Error> {
    let pic_order_cnt_type = small(r.ue_max(2, "pic_order_cnt_type")?);
    if pic_order_cnt_type == 0 {
        r.ue_max(12, "log2_max_pic_order_cnt_lsb_minus4")?;
    } else if pic_order_cnt_type == 1 {
        r.flag("delta_pic_order_always_zero_flag")?;
        r.se("offset_for_non_ref_pic")?;
        r.se("offset_for_top_to_bottom_field")?;
        for _ in 0..r.ue_max(255, "num_ref_frames_in_pic_order_cnt_cycle")? {
            r.se("offset_for_ref_frame")?;
        }
    }
    Ok(pic_order_cnt_type)
}

#[derive(Default)]
struct Vui {
    sample_aspect_ratio: Option<(u16, u16)>,
    colour: Option<Colour>,
    timing: Option<Timing>,
    reorder_frames_max: Option<u8>,
}

impl Vui {
    /// E.1.1.
    fn parse(&mut self, r: &mut BitReader<'_>) -> Result<(), Error> {
        if r.flag("aspect_ratio_info_present_flag")? {
            let idc = r.bits_u8(8, "aspect_ratio_idc")?;
            let ratio = if idc == 255 {
                Some((r.bits_u16(16, "sar_width")?, r.bits_u16(16, "sar_height")?))
            } else {
                usize::from(idc).checked_sub(1).and_then(|index| SAMPLE_ASPECT_RATIOS.get(index)).copied()
            };
            self.sample_aspect_ratio = ratio.filter(|&(width, height)| width > 0 && height > 0);
        }
        if r.flag("overscan_info_present_flag")? {
            r.flag("overscan_appropriate_flag")?;
        }
        if r.flag("video_signal_type_present_flag")? {
            r.bits(3, "video_format")?;
            let full_range = r.flag("video_full_range_flag")?;
            if r.flag("colour_description_present_flag")? {
                self.colour = Some(Colour {
                    primaries: r.bits_u8(8, "colour_primaries")?,
                    transfer: r.bits_u8(8, "transfer_characteristics")?,
                    matrix: r.bits_u8(8, "matrix_coefficients")?,
                    full_range,
                });
            } else if full_range {
                self.colour = Some(Colour { primaries: 2, transfer: 2, matrix: 2, full_range });
            }
        }
        if r.flag("chroma_loc_info_present_flag")? {
            r.ue("chroma_sample_loc_type_top_field")?;
            r.ue("chroma_sample_loc_type_bottom_field")?;
        }
        if r.flag("timing_info_present_flag")? {
            self.timing = Some(Timing {
                num_units_in_tick: r.bits(32, "num_units_in_tick")?,
                time_scale: r.bits(32, "time_scale")?,
                fixed_frame_rate: r.flag("fixed_frame_rate_flag")?,
            });
        }
        let nal_hrd = r.flag("nal_hrd_parameters_present_flag")?;
        if nal_hrd {
            skip_hrd(r)?;
        }
        let vcl_hrd = r.flag("vcl_hrd_parameters_present_flag")?;
        if vcl_hrd {
            skip_hrd(r)?;
        }
        if nal_hrd || vcl_hrd {
            r.flag("low_delay_hrd_flag")?;
        }
        r.flag("pic_struct_present_flag")?;
        if r.flag("bitstream_restriction_flag")? {
            r.flag("motion_vectors_over_pic_boundaries_flag")?;
            r.ue("max_bytes_per_pic_denom")?;
            r.ue("max_bits_per_mb_denom")?;
            r.ue("log2_max_mv_length_horizontal")?;
            r.ue("log2_max_mv_length_vertical")?;
            self.reorder_frames_max = Some(small(r.ue_max(REORDER_FRAMES_MAX, "max_num_reorder_frames")?));
            r.ue("max_dec_frame_buffering")?;
        }
        Ok(())
    }
}

/// E.1.2.
fn skip_hrd(r: &mut BitReader<'_>) -> Result<(), Error> {
    let count = r.ue_max(31, "cpb_cnt_minus1")?;
    r.bits(8, "bit_rate_scale")?;
    for _ in 0..=count {
        r.ue("bit_rate_value_minus1")?;
        r.ue("cpb_size_value_minus1")?;
        r.flag("cbr_flag")?;
    }
    r.bits(20, "hrd delay lengths")?;
    Ok(())
}

/// No reordering without the VUI saying so: output order type 2 is decoding order (8.2.1.3), Baseline has no B slices
/// (A.2.1), and E.2.1 infers 0 for the intra profiles.
fn never_reorders(profile_idc: u8, constraint_flags: u8, pic_order_cnt_type: u8) -> bool {
    let constraint_set3 = constraint_flags & 0x10 != 0;
    pic_order_cnt_type == 2
        || profile_idc == 66
        || (constraint_set3 && matches!(profile_idc, 44 | 86 | 100 | 110 | 122 | 244))
}

fn cropped(coded: u32, before: u32, after: u32, field: &'static str) -> Result<u32, Error> {
    coded
        .checked_sub(before.saturating_add(after))
        .filter(|&size| size > 0)
        .ok_or(Error::Invalid { field, value: u64::from(after) })
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a
}

/// For values that `ue_max` has bounded by at most 255.
fn small(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::BitWriter;

    fn ue(w: &mut BitWriter, value: u32) {
        let code = value + 1;
        let length = u8::try_from(32 - code.leading_zeros()).unwrap();
        w.bits(0, length - 1);
        w.bits(code, length);
    }

    /// A Baseline SPS of the given macroblock size and crop, without VUI.
    fn baseline(mb_columns: u32, map_rows: u32, frame_mbs_only: bool, crop: [u32; 4]) -> Vec<u8> {
        let mut w = BitWriter::default();
        w.bits(0x67, 8);
        w.bits(66, 8);
        w.bits(0xC0, 8);
        w.bits(31, 8);
        for value in [0, 0, 2, 1] {
            ue(&mut w, value); // id, log2_max_frame_num, poc type, ref frames
        }
        w.bits(0, 1);
        ue(&mut w, mb_columns - 1);
        ue(&mut w, map_rows - 1);
        w.bits(u32::from(frame_mbs_only), 1);
        if !frame_mbs_only {
            w.bits(0, 1);
        }
        w.bits(1, 1);
        w.bits(1, 1);
        for value in crop {
            ue(&mut w, value);
        }
        w.bits(0, 1);
        w.bits(1, 1);
        w.finish()
    }

    #[test]
    fn size_and_crop_table() {
        for (name, columns, rows, frames, crop, expected) in [
            ("1080p", 120, 68, true, [0, 0, 0, 4], Some((1_920, 1_080))),
            ("1080i", 120, 34, false, [0, 0, 0, 2], Some((1_920, 1_080))),
            ("720p", 80, 45, true, [0, 0, 0, 0], Some((1_280, 720))),
            ("odd", 80, 45, true, [1, 2, 3, 4], Some((1_274, 706))),
            ("crop takes all", 1, 1, true, [4, 4, 0, 0], None),
            ("crop takes more", 1, 1, true, [0, 0, 0, 4_000_000_000], None),
            ("largest", 1_024, 1_024, true, [0, 0, 0, 0], Some((16_384, 16_384))),
            ("too wide", 1_025, 1, true, [0, 0, 0, 0], None),
            ("too high in fields", 1, 1_024, false, [0, 0, 0, 0], None),
        ] {
            let sps = Sps::parse(&baseline(columns, rows, frames, crop)).ok();
            assert_eq!(sps.as_ref().map(|sps| (sps.width, sps.height)), expected, "{name}");
            if let Some(sps) = sps {
                assert_eq!(sps.codec_string(), "avc1.42c01f");
                assert_eq!(sps.reorder_frames_max, Some(0));
            }
        }
    }

    #[test]
    fn frame_rates() {
        let mut sps = Sps::parse(&baseline(80, 45, true, [0; 4])).unwrap();
        for (units, scale, expected) in [
            (1, 60, Some((30, 1))),
            (1_001, 60_000, Some((30_000, 1_001))),
            (1_001, 48_000, Some((24_000, 1_001))),
            (1, 50, Some((25, 1))),
            (1, 480, Some((240, 1))),
            (1, 482, None),
            (1, 2, Some((1, 1))),
            (1, 1, None),
            (0, 60, None),
            (u32::MAX, u32::MAX, None),
            (1, 0, None),
        ] {
            sps.timing = Some(Timing { num_units_in_tick: units, time_scale: scale, fixed_frame_rate: true });
            assert_eq!(sps.frame_rate(), expected, "{scale}/{units}");
        }
    }

    #[test]
    fn other_nal_types_and_the_forbidden_bit_are_refused() {
        let mut nal = baseline(80, 45, true, [0; 4]);
        for header in [0xE7, 0x68, 0x65] {
            nal[0] = header;
            assert!(matches!(Sps::parse(&nal), Err(Error::Invalid { field: "nal_unit_type", .. })));
        }
        assert!(Sps::parse(&[]).is_err());
    }
}

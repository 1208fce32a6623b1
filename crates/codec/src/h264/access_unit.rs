//! What one access unit holds and which of its NAL units a track's samples do without, found in one pass over the
//! NAL headers.

use std::ops::Range;

use super::avc_config::AvcConfig;
use super::nal::{LengthSize, NalType, NalUnits, recovery_frame_cnt};
use crate::Error;

/// Most NAL units in one access unit. A 4K picture cut into slices for low latency has some tens; this bounds the
/// work a message of 10 MiB full of empty NAL units can cause.
pub const NAL_UNITS_MAX: usize = 1_024;

/// Facts about one access unit, relative to a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnitFacts {
    /// NAL units found, all kinds together.
    pub nal_units: usize,
    /// NAL units without a single byte.
    pub empty_nal_units: usize,
    /// True when there is a slice: without one it is no access unit of its own.
    pub has_vcl: bool,
    /// True when decoding can start here: the first slice is one of an IDR picture. (Slices of both kinds in one
    /// access unit are an encoder's mistake; the first one decides.)
    pub idr: bool,
    /// True when there is no IDR slice but a recovery point message with recovery_frame_cnt 0: an entry point for a
    /// decoder, not one for a segment that claims independence.
    pub recovery_point: bool,
    /// True when there are SPS or PPS that the configuration does not hold.
    pub new_parameter_sets: bool,
    /// Where the NAL units that samples keep lie in the data, length fields included; empty when there are none.
    pub kept: Range<usize>,
    /// True when every NAL unit inside [`AccessUnitFacts::kept`] is kept: the range can be used as it is.
    pub contiguous: bool,
}

/// True for NAL units that a track's samples leave out: empty ones, delimiters, filler, ends of sequence and stream
/// (all four are rewritten or forbidden further down), and parameter sets that the configuration holds already.
fn is_left_out(nal: &[u8], config: &AvcConfig) -> bool {
    match NalType::of(nal) {
        None => true,
        Some(
            NalType::ACCESS_UNIT_DELIMITER
            | NalType::END_OF_SEQUENCE
            | NalType::END_OF_STREAM
            | NalType::FILLER,
        ) => true,
        Some(NalType::SPS | NalType::PPS | NalType::SPS_EXTENSION) => config.contains(nal),
        Some(_) => false,
    }
}

/// Looks through the NAL units of `data`, each behind `length_size` bytes of length.
///
/// # Errors
/// [`Error::Truncated`] when the lengths do not add up to the data exactly, [`Error::Limit`] past [`NAL_UNITS_MAX`].
pub fn access_unit_facts(
    data: &[u8],
    length_size: LengthSize,
    config: &AvcConfig,
) -> Result<AccessUnitFacts, Error> {
    let mut facts = AccessUnitFacts {
        nal_units: 0,
        empty_nal_units: 0,
        has_vcl: false,
        idr: false,
        recovery_point: false,
        new_parameter_sets: false,
        kept: 0..0,
        contiguous: true,
    };
    let mut units = NalUnits::new(data, length_size);
    let mut start = 0;
    let mut left_out_since_kept = false;
    while let Some(nal) = units.next() {
        let nal = nal?;
        facts.nal_units = facts.nal_units.saturating_add(1);
        if facts.nal_units > NAL_UNITS_MAX {
            return Err(Error::Limit {
                what: "NAL units in an access unit",
                count: facts.nal_units,
                max: NAL_UNITS_MAX,
            });
        }
        let end = units.offset();
        if is_left_out(nal, config) {
            facts.empty_nal_units = facts.empty_nal_units.saturating_add(usize::from(nal.is_empty()));
            left_out_since_kept = true;
        } else {
            if facts.kept.is_empty() {
                facts.kept.start = start;
            } else if left_out_since_kept {
                facts.contiguous = false;
            }
            left_out_since_kept = false;
            facts.kept.end = end;
            match NalType::of(nal) {
                Some(nal_type) if nal_type.is_vcl() => {
                    if !facts.has_vcl {
                        facts.idr = nal_type == NalType::IDR;
                    }
                    facts.has_vcl = true;
                }
                Some(NalType::SEI) if !facts.recovery_point => {
                    facts.recovery_point = recovery_frame_cnt(nal) == Some(0);
                }
                Some(NalType::SPS | NalType::PPS) => facts.new_parameter_sets = true,
                _ => {}
            }
        }
        start = end;
    }
    facts.recovery_point &= !facts.idr;
    Ok(facts)
}

/// Appends to `out`, behind 4-byte lengths, the NAL units of `data` that `config` leaves in samples.
///
/// # Errors
/// As [`access_unit_facts`]; what was appended before the error stays.
pub fn rewrite(
    data: &[u8],
    length_size: LengthSize,
    config: &AvcConfig,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    for nal in NalUnits::new(data, length_size) {
        let nal = nal?;
        if is_left_out(nal, config) {
            continue;
        }
        let length = u32::try_from(nal.len()).map_err(|_| Error::Limit {
            what: "NAL unit bytes",
            count: nal.len(),
            max: usize::try_from(u32::MAX).unwrap_or(usize::MAX),
        })?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(nal);
    }
    Ok(())
}

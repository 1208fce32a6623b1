//! H.264: NAL units, the configuration record, sequence parameter sets and what an access unit holds.

mod access_unit;
mod avc_config;
mod nal;
mod sps;

pub use access_unit::{AccessUnitFacts, NAL_UNITS_MAX, access_unit_facts, rewrite};
pub use avc_config::{AVC_RECORD_SIZE_MAX, AvcConfig};
pub use nal::{AnnexB, LengthSize, NalType, NalUnits, is_annex_b, recovery_frame_cnt};
pub use sps::{Colour, DIMENSION_MAX, Sps, Timing};

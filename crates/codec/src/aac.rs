//! AAC: the AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1) and ADTS headers (1.A.2.2).

mod adts;
mod audio_specific_config;
mod silence;

pub use adts::{ADTS_FRAME_SIZE_MAX, ADTS_HEADER_SIZE, AdtsFrames, AdtsHeader};
pub use audio_specific_config::{
    AudioSpecificConfig, Extension, ProgramConfig, SAMPLE_RATES, Signalling, sample_rate_index,
};

//! Why a configuration or a run of samples cannot become CMAF.

use crate::{AUDIO_RECORD_SIZE_MAX, CHUNK_SAMPLES_MAX, CHUNK_SIZE_MAX};

/// Nothing has been written to the output, and no sequence number was used up, when one of these comes back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The video configuration record cannot be read, or holds no parameter sets.
    #[error("AVCDecoderConfigurationRecord: {0}")]
    VideoRecord(#[source] headwater_codec::Error),
    /// The picture is empty or larger than a sample entry's 16-bit fields.
    #[error("a picture of {width} x {height} fits no sample entry")]
    Dimensions {
        /// Luma samples per row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The audio configuration record cannot be read.
    #[error("AudioSpecificConfig: {0}")]
    AudioRecord(#[source] headwater_codec::Error),
    /// The audio configuration record is longer than [`AUDIO_RECORD_SIZE_MAX`].
    #[error("AudioSpecificConfig of {0} bytes, {AUDIO_RECORD_SIZE_MAX} at most")]
    AudioRecordTooLong(usize),
    /// A chunk has at least one sample.
    #[error("a chunk without samples")]
    ChunkEmpty,
    /// More samples than [`CHUNK_SAMPLES_MAX`].
    #[error("{0} samples in a chunk, {CHUNK_SAMPLES_MAX} at most")]
    SamplesTooMany(usize),
    /// More payload than [`CHUNK_SIZE_MAX`].
    #[error("more than {CHUNK_SIZE_MAX} bytes in a chunk")]
    ChunkTooLong,
    /// A sample without bytes: no decoder makes anything of it.
    #[error("sample {0} of the chunk is empty")]
    SampleEmpty(usize),
    /// A sample that lasts no time: the next one would have the same decode time.
    #[error("sample {0} of the chunk has duration 0")]
    DurationZero(usize),
    /// A decode time, or the end of the chunk, beyond [`headwater_media::TICKS_MAX`].
    #[error("decode time {0} is beyond the media clock's range")]
    DecodeTime(u64),
}

//! Why a program, an access unit or an audio frame cannot go into a transport stream.

use headwater_codec::h264::NAL_UNITS_MAX;
use headwater_media::TrackKind;

/// Nothing has been written to the output, and no counter has moved, when one of these comes back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A program needs at least one track.
    #[error("the program has neither video nor audio")]
    NoTrack,
    /// A sample of a kind that the program does not list.
    #[error("the program has no {0} track")]
    TrackMissing(TrackKind),
    /// The video configuration record cannot be read, or holds no parameter sets.
    #[error("AVCDecoderConfigurationRecord: {0}")]
    VideoRecord(#[source] headwater_codec::Error),
    /// The audio configuration record cannot be read.
    #[error("AudioSpecificConfig: {0}")]
    AudioRecord(#[source] headwater_codec::Error),
    /// The audio coding exists, but ADTS has no way to say it (object type, 960-sample frames, a program config
    /// element, a sampling rate without an index). Fragmented MP4 can carry it.
    #[error("MPEG-TS cannot carry this audio: {0}")]
    AudioUnrepresentable(#[source] headwater_codec::Error),
    /// A NAL unit's length field claims more bytes than the sample has left, or is itself cut short.
    #[error("access unit: {0}")]
    NalLength(#[source] headwater_codec::Error),
    /// The access unit holds no NAL unit, or only ones that are never written (delimiters, filler, ends).
    #[error("the access unit holds nothing to write")]
    AccessUnitEmpty,
    /// The access unit is longer than [`crate::ACCESS_UNIT_SIZE_MAX`].
    #[error("access unit of {0} bytes")]
    AccessUnitTooLong(usize),
    /// The access unit holds more NAL units than [`NAL_UNITS_MAX`].
    #[error("more than {} NAL units in an access unit", NAL_UNITS_MAX)]
    NalUnitsTooMany,
    /// The program announces no tracks of timed metadata.
    #[error("the program has no track of timed metadata")]
    MetadataMissing,
    /// An ID3 tag that no PES packet can hold, or a section that is none.
    #[error("timed metadata of {0} bytes")]
    MetadataTooLong(usize),
    /// An audio frame without bytes.
    #[error("the audio frame is empty")]
    FrameEmpty,
    /// An audio frame longer than its framing can say: [`crate::AAC_FRAME_SIZE_MAX`], [`crate::MP3_FRAME_SIZE_MAX`].
    #[error("audio frame of {size} bytes, {max} at most")]
    FrameTooLong {
        /// Bytes in the frame.
        size: usize,
        /// Bytes that fit.
        max: usize,
    },
}

//! What a decoder must know before the first sample: one immutable value per track.

use std::fmt;

use bytes::Bytes;

use crate::Timescale;

/// Every NAL unit in a [`crate::Sample`] is preceded by its length in this many bytes, big-endian.
///
/// `flv` rewrites the rarer 1- and 2-byte forms, records included, so nothing further down needs to ask.
pub const NAL_LENGTH_SIZE: usize = 4;

/// Video or audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

impl fmt::Display for TrackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrackKind::Video => "video",
            TrackKind::Audio => "audio",
        })
    }
}

/// The coding of a video track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// H.264 / AVC; [`VideoConfig::record`] is an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1).
    H264,
}

/// The coding of an audio track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// AAC; [`AudioConfig::record`] is an AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1).
    Aac,
    /// MPEG-1/2 layer III; no record, frames carry their own headers.
    Mp3,
}

/// Colour description of a video track (ISO/IEC 23091-2 code points, H.264 E.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Colour {
    /// ColourPrimaries.
    pub primaries: u8,
    /// TransferCharacteristics.
    pub transfer: u8,
    /// MatrixCoefficients.
    pub matrix: u8,
    /// VideoFullRangeFlag.
    pub full_range: bool,
}

/// A video track's configuration. Equal values mean the same decoder set-up: an identical repetition is not a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoConfig {
    /// The coding.
    pub codec: VideoCodec,
    /// The codec's configuration record, with [`NAL_LENGTH_SIZE`]-byte lengths announced.
    pub record: Bytes,
    /// RFC 6381 string, e.g. `avc1.64001f`.
    pub codec_string: String,
    /// Luma samples per row after cropping.
    pub width: u32,
    /// Rows after cropping.
    pub height: u32,
    /// Sample aspect ratio, (1, 1) when square or unknown.
    pub sample_aspect_ratio: (u16, u16),
    /// Frames per second as (numerator, denominator) when the bitstream says so; a hint, encoders lie.
    pub frame_rate: Option<(u32, u32)>,
    /// Colour description when the bitstream says so.
    pub colour: Option<Colour>,
    /// `max_num_reorder_frames` when the bitstream says so: the B-frame delay in frames.
    pub reorder_frames_max: Option<u8>,
}

/// An audio track's configuration. Equal values mean the same decoder set-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioConfig {
    /// The coding.
    pub codec: AudioCodec,
    /// The codec's configuration record; empty for codecs without one.
    pub record: Bytes,
    /// RFC 6381 string, e.g. `mp4a.40.2`.
    pub codec_string: String,
    /// The track's timescale: samples per second of the core coder (HE-AAC: the rate without SBR).
    pub sample_rate: Timescale,
    /// Samples per second after decoding (HE-AAC with explicit signalling: twice the core's).
    pub output_sample_rate: u32,
    /// Channels after decoding.
    pub channels: u8,
    /// Ticks of [`AudioConfig::sample_rate`] per frame: 1,024 for AAC, 960 for its short form, 1,152 or 576 for MP3.
    pub samples_per_frame: u32,
}

/// One track's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackConfig {
    /// A video track.
    Video(VideoConfig),
    /// An audio track.
    Audio(AudioConfig),
}

impl TrackConfig {
    /// Video or audio.
    pub fn kind(&self) -> TrackKind {
        match self {
            TrackConfig::Video(_) => TrackKind::Video,
            TrackConfig::Audio(_) => TrackKind::Audio,
        }
    }

    /// RFC 6381 string.
    pub fn codec_string(&self) -> &str {
        match self {
            TrackConfig::Video(video) => &video.codec_string,
            TrackConfig::Audio(audio) => &audio.codec_string,
        }
    }

    /// The timescale of the track on every output: 90 kHz for video, the sample rate for audio.
    pub fn timescale(&self) -> Timescale {
        match self {
            TrackConfig::Video(_) => Timescale::MPEG,
            TrackConfig::Audio(audio) => audio.sample_rate,
        }
    }
}

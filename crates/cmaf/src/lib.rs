//! CMAF writer: a configuration becomes an init segment, samples become chunks (`moof` + `mdat`), for HLS and DASH alike.
//!
//! It refuses to know segments, parts, playlists, clocks and sockets, and it repairs no timeline: somebody else decides
//! where a chunk ends and makes decode times rise without a gap. One track per file; a segment is its chunks, one behind
//! the other; every payload byte is copied once, into the caller's buffer.
//!
//! ```
//! use bytes::Bytes;
//! use headwater_cmaf::{ChunkSample, ChunkWriter, audio_init};
//! use headwater_media::{AudioCodec, AudioConfig, Timescale};
//!
//! let config = AudioConfig {
//!     codec: AudioCodec::Aac, record: Bytes::from_static(&[0x11, 0x90]), codec_string: "mp4a.40.2".into(),
//!     sample_rate: Timescale::new(48_000).unwrap(), output_sample_rate: 48_000, channels: 2, samples_per_frame: 1_024,
//! };
//! let init = audio_init(&config)?;
//! assert_eq!(&init.bytes[4..12], b"ftypcmfc");
//! let frame = ChunkSample { duration: 1_024, composition_time_offset: 0, sync: true, disposable: false, data: [0x21, 0x10, 0x04] };
//! let mut writer = ChunkWriter::new();
//! let mut part = Vec::new();
//! writer.write(&mut part, 480_000, &[frame; 10])?;
//! assert_eq!(&part[4..8], b"moof");
//! assert_eq!(part.len(), 100 + 8 + 10 * 3);
//! # Ok::<(), headwater_cmaf::Error>(())
//! ```
#![forbid(unsafe_code)]
// A peer's bytes never panic us; tests may, and Cargo.toml cannot tell them apart.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]
#![cfg_attr(not(test), warn(clippy::string_slice, clippy::panic, clippy::unreachable))]

mod boxes;
mod chunk;
mod error;
mod first;
#[doc(hidden)]
pub mod fuzzing;
mod init;
mod preamble;

pub use chunk::{CHUNK_SAMPLES_MAX, CHUNK_SIZE_MAX, ChunkSample, ChunkWriter, is_disposable};
pub use error::Error;
pub use first::first_sample;
pub use init::{
    AUDIO_RECORD_SIZE_MAX, AUDIO_TRACK_ID, InitSegment, TRACK_ID, VIDEO_TRACK_ID, audio_init, movie_init,
    video_init,
};
pub use preamble::{EventMessage, Moment, ProducerReferenceTime, write_styp};

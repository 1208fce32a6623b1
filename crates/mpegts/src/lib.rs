//! MPEG-TS writer: access units and audio frames in, 188-byte packets out, for HLS segments and continuous streams.
//!
//! It refuses to know segments' lengths, playlists, clocks and sockets, and it repairs no timeline: somebody else decides
//! where a stream is cut and makes its times rise. NAL units go from the sample straight into packets; the only buffer is
//! the caller's.
//!
//! ```
//! use bytes::Bytes;
//! use headwater_media::{AudioCodec, AudioConfig, MediaTime, Sample, Timescale, TrackId};
//! use headwater_mpegts::{Muxer, Program};
//!
//! let rate = Timescale::new(48_000).unwrap();
//! let audio = AudioConfig {
//!     codec: AudioCodec::Aac, record: Bytes::from_static(&[0x11, 0x90]), codec_string: "mp4a.40.2".into(),
//!     sample_rate: rate, output_sample_rate: 48_000, channels: 2, samples_per_frame: 1_024,
//! };
//! let mut muxer = Muxer::new(Program { audio: Some(&audio), ..Program::default() })?;
//! let mut segment = Vec::new();
//! muxer.begin_segment(&mut segment);
//! for n in 0..94 {
//!     let dts = MediaTime::new(480_000 + n * 1_024, rate);
//!     let data = Bytes::from_static(&[0x21, 0x10, 0x04]);
//!     muxer.write_audio(&mut segment, &Sample { track: TrackId::AUDIO, dts, cts_offset: 0, sync: true, data })?;
//! }
//! muxer.end_segment(&mut segment, None);
//! assert!(segment.chunks(188).all(|packet| packet.len() == 188 && packet[0] == 0x47));
//! # Ok::<(), headwater_mpegts::Error>(())
//! ```
#![forbid(unsafe_code)]
// A peer's bytes never panic us; tests may, and Cargo.toml cannot tell them apart.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]
#![cfg_attr(not(test), warn(clippy::string_slice, clippy::panic, clippy::unreachable))]

mod audio;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod muxer;
mod packet;
mod psi;
mod video;

pub use audio::{AAC_FRAME_SIZE_MAX, MP3_FRAME_SIZE_MAX};
pub use error::Error;
pub use muxer::{Muxer, PCR_DELAY, Program};
pub use packet::PACKET_SIZE;
pub use video::ACCESS_UNIT_SIZE_MAX;

//! What the bits of H.264, AAC and MP3 say about themselves: configuration records, parameter sets, NAL units and
//! frame headers, read with every bound checked and written back in one canonical form.
//!
//! This crate refuses to know any container, any timestamp and any sample: bytes in, facts out. It never decodes.
//!
//! ```
//! use headwater_codec::aac::AudioSpecificConfig;
//! use headwater_codec::h264::{LengthSize, NalType, NalUnits};
//!
//! let lc = AudioSpecificConfig::parse(&[0x11, 0x90])?;
//! assert_eq!((lc.sample_rate, lc.channels(), lc.codec_string().as_str()), (48_000, 2, "mp4a.40.2"));
//! assert_eq!(lc.adts_header(370)?, [0xFF, 0xF1, 0x4C, 0x80, 0x2F, 0x3F, 0xFC]);
//!
//! let access_unit = [0, 0, 0, 2, 0x09, 0xF0, 0, 0, 0, 3, 0x65, 0x88, 0x84];
//! let units: Result<Vec<_>, _> = NalUnits::new(&access_unit, LengthSize::Four).collect();
//! assert_eq!(NalType::of(units?[1]), Some(NalType::IDR));
//! # Ok::<(), headwater_codec::Error>(())
//! ```
#![forbid(unsafe_code)]
// A peer's bytes never panic us; tests may, and Cargo.toml cannot tell them apart.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]
#![cfg_attr(not(test), warn(clippy::string_slice, clippy::panic, clippy::unreachable))]

pub mod aac;
pub mod bits;
pub mod crc32;
mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod h264;
pub mod id3;
pub mod mp3;
pub mod scte35;

pub use error::Error;

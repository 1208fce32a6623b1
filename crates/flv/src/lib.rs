//! FLV tag bodies, which are RTMP message bodies, to the project's media events: configurations, access units and
//! audio frames, data. Legacy AVC, AAC and MP3 tags, and `avc1`, `mp4a` and `.mp3` by Enhanced RTMP. And back: [`body`] has what
//! players get, in the legacy form that all of them know.
//!
//! This crate refuses to know sockets, chunks and connections, and what time it is: timestamps pass through as they
//! came. Codecs it does not carry are refused by name; damage is counted and skipped.
//!
//! ```
//! use bytes::Bytes;
//! use headwater_flv::Demuxer;
//! use headwater_media::Event;
//!
//! let mut demuxer = Demuxer::new();
//! let mut events = Vec::new();
//! demuxer.audio(0, Bytes::from_static(&[0xAF, 0, 0x11, 0x90]), &mut events)?;
//! demuxer.audio(21, Bytes::from_static(&[0xAF, 1, 0x21, 0x10, 0x04]), &mut events)?;
//! let [Event::Config(_, config), Event::Sample(sample)] = events.as_slice() else { panic!("{events:?}") };
//! assert_eq!(config.codec_string(), "mp4a.40.2");
//! assert_eq!((sample.dts.millis(), sample.data.len()), (21, 3));
//!
//! // Speex: the publication ends with a clear word.
//! let refused = demuxer.audio(42, Bytes::from_static(&[0xB6, 0]), &mut events).unwrap_err();
//! assert!(refused.is_fatal());
//! # Ok::<(), headwater_flv::Error>(())
//! ```
#![forbid(unsafe_code)]
// A peer's bytes never panic us; tests may, and Cargo.toml cannot tell them apart.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]
#![cfg_attr(not(test), warn(clippy::string_slice, clippy::panic, clippy::unreachable))]

mod audio;
pub mod body;
mod configuration;
mod counters;
mod data;
mod demuxer;
mod enhanced;
mod error;
mod file;
#[doc(hidden)]
pub mod fuzzing;
mod reader;
mod video;

pub use configuration::BAD_CONFIGS_MAX;
pub use counters::Counters;
pub use data::DATA_SIZE_MAX;
pub use demuxer::Demuxer;
pub use error::Error;
pub use file::{
    FileError, FlvReader, TAG_BODY_SIZE_MAX, Tag, TagKind, write_header, write_tag, write_tag_of,
};
pub use video::COMPOSITION_TIME_MAX_MS;

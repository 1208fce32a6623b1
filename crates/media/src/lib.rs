//! The values that every other crate speaks in: [`Timescale`], [`MediaTime`], [`WallTime`], [`Sample`],
//! [`TrackConfig`] and [`Event`].
//!
//! This crate refuses to know any wire format, any clock and any I/O. It holds two rules in types:
//! media arithmetic is integer arithmetic, and there is exactly one function that rescales.
//!
//! ```
//! use headwater_media::{MediaTime, Timescale};
//!
//! // RTMP's milliseconds become MPEG's 90 kHz exactly, and AAC's sample clock by rounding once.
//! let rtmp = MediaTime::new(1_001, Timescale::MILLIS);
//! assert_eq!(rtmp.rescale(Timescale::MPEG).ticks(), 90_090);
//! let audio = rtmp.rescale(Timescale::new(44_100).unwrap());
//! assert_eq!(audio.ticks(), 44_144);
//! assert!(rtmp < MediaTime::new(90_091, Timescale::MPEG));
//! ```
#![forbid(unsafe_code)]

mod config;
mod event;
mod time;

pub use config::{
    AudioCodec, AudioConfig, Colour, NAL_LENGTH_SIZE, TrackConfig, TrackKind, VideoCodec, VideoConfig,
};
pub use event::{Cause, Event, Metadata, Sample, TrackId};
pub use time::{MediaTime, TICKS_MAX, TIMESCALE_MAX, TimeError, Timescale, WallTime};

//! Playlists as text: HLS media and multivariant playlists rendered from a small model, and a strict checker that
//! reads a sequence of them back.
//!
//! This crate refuses to know where media comes from, which segments a window should hold, what time it is, and
//! HTTP. It turns values into bytes and bytes into findings, and both by the same clauses.
//!
//! ```
//! use headwater_manifest::hls::{MediaPlaylist, Segment, SegmentNames, Version, check::Checker};
//! use headwater_media::{MediaTime, Timescale, WallTime};
//! use std::num::NonZeroU32;
//!
//! let names = SegmentNames::new("", ".ts").unwrap();
//! let playlist = MediaPlaylist::live(Version::MpegTs, NonZeroU32::new(2).unwrap(), 41, &names);
//! let start = WallTime::from_unix_millis(1_769_860_800_000);
//! let segments = (0..4).map(|n| Segment::new(MediaTime::new(180_000, Timescale::MPEG), start.offset_by(n * 2_000)));
//! let text = playlist.render(segments).unwrap();
//! assert!(text.ends_with(b"#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:06.000Z\n#EXTINF:2.000000,\n44.ts\n"));
//!
//! let mut checker = Checker::new("http://example.org/live/cam/av/index.m3u8");
//! assert!(checker.observe(std::str::from_utf8(&text).unwrap(), 0).is_empty());
//! ```
#![forbid(unsafe_code)]
// A peer's bytes never panic us; tests may, and Cargo.toml cannot tell them apart.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]
#![cfg_attr(not(test), warn(clippy::string_slice, clippy::panic, clippy::unreachable))]

mod calendar;
pub mod dash;
mod findings;
#[doc(hidden)]
pub mod fuzzing;
pub mod hls;
mod text;

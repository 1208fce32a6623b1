//! Load for a live origin, or for a cache in front of one: publishers, viewers, held requests of Low-Latency HLS, single URLs, and the
//! floor to hold a server's figures against.
//!
//! `headwater-load` is for the machine that is measured, so it is lean: a viewer is a task and a connection, a playlist is read once
//! and not once per viewer, and all that is left is requests. It refuses to know what is in the media.
//!
//! ```text
//! headwater serve
//! headwater-load publish rtmp://127.0.0.1/live/cam &
//! headwater-load hold http://127.0.0.1:8080/live/cam/llhls.m3u8 --viewers 200
//! ```
//!
//! Each viewer waits for the next part, and all for the same one. The report tells how much later than to the first viewer the
//! others were released; with `--publish`, also how long after the picture that closed the part was written:
//!
//! ```text
//! headwater-load hold http://127.0.0.1:8080/live/cam/llhls.m3u8 --publish rtmp://127.0.0.1/live/cam \
//!     --media sample-media/clip.flv --viewers 5000 --addresses 50 --pid $(pidof headwater) --json
//! ```
//!
//! `watch` has viewers that behave as players: each has a buffer in which time passes, so the report tells how often a picture stood
//! still and how far it was behind. `listed` tells how long after the write of a keyframe a playlist lists the segment that it closed.
//! `fetch` asks for one URL over and over. `sink` is a server that only receives: what it costs per stream, with the same publishers, is
//! the kernel's part of any server's cost.
//!
//! ```text
//! headwater-load watch http://127.0.0.1:8080/live/cam{n}/{index,llhls}.m3u8 http://127.0.0.1:8080/live/cam{n}.flv \
//!     --streams 4 --viewers 300 --publish rtmp://127.0.0.1/live/cam{n} --media sample-media/clip.flv
//! ```
//!
//! A server limits what one address may do. `--addresses 50` lets the viewers come from 127.0.0.2 to 127.0.0.51; Headwater's own
//! limits for so many are `http.max_connections`, `http.max_held_requests` and their `_per_address`.
//!
//! As a library:
//!
//! ```no_run
//! use std::time::Duration;
//! use headwater_load::hold::{self, Options, Parts};
//!
//! let options = Options {
//!     url: "http://127.0.0.1:8080/live/cam/llhls.m3u8".to_owned(),
//!     viewers: 200,
//!     duration: Duration::from_secs(20),
//!     parts: Parts::Hinted,
//!     ..Options::default()
//! };
//! let report = headwater_load::block_on(hold::run(&options))??;
//! assert_eq!(report.missed, 0, "{report}");
//! # Ok::<(), headwater_load::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod address;
pub mod cli;
pub mod client;
pub mod clip;
mod error;
pub mod fetch;
pub mod hold;
pub mod listed;
pub mod playlist;
mod progress;
pub mod publish;
pub mod rtmp;
pub mod sink;
pub mod spread;
pub mod system;
pub mod versions;
pub mod watch;

pub use error::Error;

/// Runs a load on threads of its own, as many as the machine has cores.
///
/// # Errors
/// [`Error::System`] when no threads can be started.
pub fn block_on<T>(load: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::System { what: "threads".to_owned(), error })?;
    Ok(runtime.block_on(load))
}

/// As [`block_on`], on the thread that calls.
fn block_on_one<T>(load: impl Future<Output = T>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::System { what: "a runtime".to_owned(), error })?;
    Ok(runtime.block_on(load))
}

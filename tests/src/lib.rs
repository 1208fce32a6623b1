//! Shared equipment of the integration tests: the server on free ports, real encoders that publish to it, real players that
//! watch it, and a reference (ffmpeg's own HLS behind a plain file server) that shows whether a player's failure is ours.
//!
//! Every process that is started here is ended by its guard; what it printed is kept below `target/test-scratch` and
//! shown when the test fails. Tests wait for conditions, with a bound, never for a time to pass.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a failing test shows what its processes printed"
)]

pub mod arriving;
pub mod broker;
pub mod cache;
pub mod collector;
pub mod continuous;
pub mod follow;
pub mod follow_dash;
pub mod follow_parts;
pub mod hook_server;
pub mod hostile;
pub mod hostile_http;
pub mod judge;
pub mod latency;
pub mod media;
pub mod obs;
pub mod paced;
pub mod play;
pub mod process;
pub mod publish;
pub mod receiver;
pub mod reference;
pub mod rtmp_client;
pub mod server;
pub mod soak;
pub mod supervisor;
pub mod tls;
pub mod watch;

pub use process::{Process, Scratch, wait_for};
pub use server::Headwater;

/// The repository's root folder.
pub fn root() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

//! placeholder docs
#![forbid(unsafe_code)]
mod snapshot;
pub use snapshot::{Bandwidth, Snapshot, State, Tracks, TsRendition, TsSegment};

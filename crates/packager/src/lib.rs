//! Turns one stream's events into segments, a sliding window and immutable snapshots.
//!
//! In order, a sample passes the start gate (which tracks, which keyframe), the timeline (stamps to the media clock), the cut
//! decision and the packagings that are switched on. The result is a [`Snapshot`] per visible change.
//!
//! This crate refuses to know sockets, clocks, randomness and HTTP: every call brings the time along, so that days of
//! streaming run in milliseconds of test. How a playlist is spelled is `headwater-manifest`'s business.
//!
//! ```
//! use std::time::Duration;
//! use headwater_media::WallTime;
//! use headwater_packager::{Clock, Config, Numbering, Packager, State};
//!
//! let clock = Clock { now: Duration::ZERO, wall: WallTime::from_unix_millis(1_790_000_000_000) };
//! let numbering = Numbering { media_sequence: clock.wall.unix_seconds(), discontinuity_sequence: 0, resumed: false };
//! let mut packager = Packager::new(&Config::default(), numbering);
//! packager.begin_session(clock);
//! let snapshot = packager.poll_snapshot(clock.wall).unwrap();
//! assert_eq!(snapshot.state, State::Starting);
//! assert!(!snapshot.is_playable());
//! // packager.push(event, clock)? for every event of the demuxer, then poll_snapshot again.
//! ```
#![forbid(unsafe_code)]

mod cmaf;
mod cut;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod held;
mod kept;
mod metadata;
mod mpd;
mod over;
mod packager;
mod placed;
mod playlist;
mod poster;
mod rates;
mod snapshot;
mod timeline;
mod ts;
mod wall;
mod window;

pub use cut::TARGET_DURATION_MAX_SECONDS;
pub use headwater_cmaf::InitSegment;
pub use kept::{Kept, KeptError};
pub use metadata::{Cue, CuePlace, CueRefusal, RangeCue, SCHEME_ID3, SCHEME_SPLICE};
pub use over::{NotedPeriod, PeriodOver};
pub use packager::{Clock, Config, Counters, Memory, Packager, Refusal};
pub use placed::{Mark, Placed, Said};
pub use snapshot::{
    Bandwidth, Cadence, Cmaf, CmafRendition, CmafSegment, Edge, Part, Period, Rendition, Segment, Snapshot,
    State, Tracks, TsRendition, TsSegment,
};
pub use timeline::Repairs;
pub use window::Numbering;

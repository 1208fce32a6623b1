//! Dynamic Adaptive Streaming over HTTP (ISO/IEC 23009-1, "DASH" in comments): the model of a Media Presentation
//! Description of the live profile with SegmentTimeline, its text, and a checker of what the text promises.
//!
//! ```
//! use headwater_manifest::dash::*;
//! use headwater_media::{Timescale, WallTime};
//! use std::{num::NonZeroU64, time::Duration};
//!
//! let segments = [TimelineSegment { t: 900_000, d: 180_000 }, TimelineSegment { t: 1_080_000, d: 180_000 }];
//! let (media, timescale) = (Media::Audio(Audio { sampling_rate: 90_000, channels: 2 }), Timescale::MPEG);
//! let bandwidth = NonZeroU64::new(128_000).unwrap();
//! let set = AdaptationSet {
//!     id: 1,
//!     lang: None,
//!     representation: Representation { id: "a", bandwidth, codecs: "mp4a.40.2", media },
//!     producer_reference: None,
//!     event_schemes: &[],
//!     template: SegmentTemplate {
//!         timescale,
//!         presentation_time_offset: 900_000,
//!         start_number: 41,
//!         initialization: ["a/init-77b2.mp4", "", "", ""],
//!         media: "a/$Number$.m4s",
//!         segments: Segments::Timeline(segments.iter().copied()),
//!     },
//! };
//! let (two, start) = (Duration::from_secs(2), Duration::from_secs(823_176_000));
//! let now = WallTime::from_unix_millis(1_769_860_804_100);
//! let mpd = Mpd {
//!     availability_start_time: WallTime::from_unix_millis(946_684_800_000),
//!     publish_time: now,
//!     minimum_update_period: two,
//!     min_buffer_time: two,
//!     time_shift_buffer_depth: two * 10,
//!     suggested_presentation_delay: two * 3,
//!     max_segment_duration: two,
//!     ended: None,
//!     utc_timing: Some("http://127.0.0.1:8080/time"),
//!     latency: None,
//!     periods: vec![Period { id: 41, start, duration: None, continuity_of: None, adaptation_sets: vec![set] }],
//! };
//! let text = String::from_utf8(mpd.render().unwrap()).unwrap();
//! assert!(text.contains("<SegmentTimeline><S t=\"900000\" d=\"180000\" r=\"1\"/></SegmentTimeline>"));
//! assert!(check::Checker::new().observe(&text, Some(now)).is_empty());
//! ```

mod mpd;
mod text;

pub mod check;
#[doc(hidden)]
pub mod fuzzing;

pub use mpd::{
    AdaptationSet, Audio, Latency, Media, Mpd, Period, ProducerReference, Regular, Representation,
    SegmentTemplate, Segments, TimelineSegment, Video,
};

/// The content type of an MPD (DASH annex C).
pub const CONTENT_TYPE: &str = "application/dash+xml";

/// MPD@profiles of what is rendered here: the live profile over CMAF segments.
pub const PROFILES: &str = "urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019";

/// Added to it where segments are to be asked for while they are under construction (DASH-IF low-latency modes).
pub const PROFILE_LOW_LATENCY: &str = "http://www.dashif.org/guidelines/low-latency-live-v5";

/// UTCTiming@schemeIdUri: a GET of @value answers the time as ISO 8601 (DASH 5.8.4.11), which keeps its milliseconds.
pub const UTC_TIMING_HTTP_ISO: &str = "urn:mpeg:dash:utc:http-iso:2014";

/// SupplementalProperty@schemeIdUri: the Period whose id is @value went on without a break (DASH 5.3.2.4).
pub const PERIOD_CONTINUITY: &str = "urn:mpeg:dash:period-continuity:2015";

/// Why an MPD was not rendered. Periods and sets are named by their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// An MPD without a Period: the schema forbids it, so a server answers 404 or waits.
    #[error("an MPD without a Period must never be served")]
    NoPeriods,
    /// A Period without an AdaptationSet plays nothing.
    #[error("Period {period} has no AdaptationSet")]
    NoAdaptationSets {
        /// Period@id.
        period: u64,
    },
    /// A SegmentTimeline without a segment: leave the AdaptationSet out until it has one.
    #[error("AdaptationSet {adaptation_set} of Period {period} lists no segment")]
    NoSegments {
        /// Period@id.
        period: u64,
        /// AdaptationSet@id.
        adaptation_set: u32,
    },
    /// A segment of no duration.
    #[error("AdaptationSet {adaptation_set} of Period {period} lists a segment of no duration")]
    NoDuration {
        /// Period@id.
        period: u64,
        /// AdaptationSet@id.
        adaptation_set: u32,
    },
    /// @startNumber is an `xs:unsignedInt` in the schema.
    #[error("segment number {0} does not fit @startNumber's 32 bits")]
    StartNumber(u64),
    /// A character that XML 1.0 can't hold, escaped or not, or that the attribute's type in the schema doesn't have.
    #[error("{attribute} holds {character:?}, which can't be written there")]
    Character {
        /// Element and attribute, e.g. `Representation@id`.
        attribute: &'static str,
        /// What.
        character: char,
    },
    /// A string that must name something is empty, or is not of the form that the schema asks for.
    #[error("{0} is empty or of a form that the schema doesn't have")]
    Form(&'static str),
}

//! Dynamic Adaptive Streaming over HTTP (ISO/IEC 23009-1, "[D]" in comments): the model of a Media Presentation
//! Description of the live profile with SegmentTimeline, and its text.

mod mpd;
mod text;

pub mod check;
#[doc(hidden)]
pub mod fuzzing;

pub use mpd::{
    AdaptationSet, Audio, Media, Mpd, Period, Representation, SegmentTemplate, TimelineSegment, Video,
};

/// The content type of an MPD ([D] annex C).
pub const CONTENT_TYPE: &str = "application/dash+xml";

/// MPD@profiles of what is rendered here: the live profile over CMAF segments.
pub const PROFILES: &str = "urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019";

/// UTCTiming@schemeIdUri: a GET of @value answers the time as ISO 8601 ([D] 5.8.4.11), which keeps its milliseconds.
pub const UTC_TIMING_HTTP_ISO: &str = "urn:mpeg:dash:utc:http-iso:2014";

/// SupplementalProperty@schemeIdUri: the Period whose id is @value went on without a break ([D] 5.3.2.4).
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

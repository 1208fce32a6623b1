//! HTTP Live Streaming (draft-pantos-hls-rfc8216bis, "8216bis" in comments): the model of a playlist, its text, and
//! a checker of what the text promises.

mod date_range;
mod low_latency;
mod media;
mod multivariant;
mod text;

pub mod check;
#[doc(hidden)]
pub mod fuzzing;

pub use check::{MergeError, merge_delta};
pub use date_range::{Attribute, AttributeName, DateRange, Splices};
pub use low_latency::{Edge, Hint, LowLatency, PART_DURATION_SLACK, Part, RenditionReport, skippable};
pub use media::{MediaPlaylist, Segment, SegmentNames, Version};
pub use multivariant::{AudioRendition, MultivariantPlaylist, Variant, VideoRange};
pub use text::{QuotedString, TEXT_BYTES_MAX, TextError, Uri, UriPieces};

/// The content type of a playlist (8216bis 4); `application/x-mpegURL` is reported as an error by Apple's validator.
pub const CONTENT_TYPE: &str = "application/vnd.apple.mpegurl";

/// Why a playlist was not rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A media playlist without a segment: Shaka fails on it and Safari gives up, so a server answers 404 or waits.
    #[error("a media playlist without a segment must never be served")]
    NoSegments,
    /// A multivariant playlist without a variant.
    #[error("a multivariant playlist without a variant names nothing to play")]
    NoVariants,
    /// The URI of an initialization section, which is checked where it is written.
    #[error("an initialization section's URI: {0}")]
    Map(#[from] TextError),
}

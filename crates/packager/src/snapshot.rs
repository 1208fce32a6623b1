//! What readers see of a stream: one immutable [`Snapshot`] per version.

use std::sync::Arc;

use bytes::Bytes;
use headwater_media::{AudioConfig, MediaTime, VideoConfig, WallTime};

use crate::playlist;

/// Where a stream is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// A publisher is there, but nothing can be listed yet: playlists are held, then 404.
    Starting,
    /// Media flows.
    Live,
    /// The publisher is gone and may return: playlists stay as they are.
    Waiting,
    /// Over: playlists end with EXT-X-ENDLIST.
    Ended,
}

/// The tracks that the listed media carries now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tracks {
    /// The video track.
    pub video: Option<Arc<VideoConfig>>,
    /// The audio track.
    pub audio: Option<Arc<AudioConfig>>,
}

impl Tracks {
    /// True when nothing can be played.
    pub fn is_empty(&self) -> bool {
        self.video.is_none() && self.audio.is_none()
    }
}

/// Bit rates as EXT-X-STREAM-INF states them, container included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bandwidth {
    /// Peak segment bit rate in bit/s, with margin (8216bis 4.1).
    pub peak: u64,
    /// Average segment bit rate in bit/s.
    pub average: u64,
}

/// One complete MPEG-TS segment. Its bytes never change under its number.
#[derive(Debug, Clone)]
pub struct TsSegment {
    /// Media sequence number, also its name.
    pub sequence: u64,
    /// Media time of its first access unit's presentation.
    pub start: MediaTime,
    /// Presentation duration (the next segment's start minus this one's), same scale as `start`.
    pub duration: MediaTime,
    /// Wall clock of `start`.
    pub program_date_time: WallTime,
    /// The first segment after a break in timeline or configuration.
    pub discontinuity: bool,
    /// Starts with an IDR picture, or has no video.
    pub independent: bool,
    /// The segment: a whole number of 188-byte packets.
    pub payload: Bytes,
}

/// A rendition of MPEG-TS segments: what its media playlist lists, and what is kept beyond that.
#[derive(Debug, Clone, Default)]
pub struct TsRendition {
    /// EXT-X-TARGETDURATION in seconds, constant once a segment is listed.
    pub target_duration: u32,
    /// EXT-X-DISCONTINUITY-SEQUENCE of the first listed segment.
    pub discontinuity_sequence: u64,
    /// Oldest first, consecutive numbers; what the playlist lists.
    pub listed: Vec<Arc<TsSegment>>,
    /// Oldest first, consecutive numbers up to the first listed one: delisted, still fetchable (8216bis 6.2.2).
    pub retained: Vec<Arc<TsSegment>>,
}

impl TsRendition {
    /// The segment of that number, listed or retained.
    pub fn segment(&self, sequence: u64) -> Option<&Arc<TsSegment>> {
        find(&self.listed, sequence).or_else(|| find(&self.retained, sequence))
    }

    /// The number of the newest segment, if there is one.
    pub fn last_sequence(&self) -> Option<u64> {
        self.listed.last().map(|segment| segment.sequence)
    }

    /// Bytes of media held by this rendition.
    pub fn size_bytes(&self) -> u64 {
        self.listed.iter().chain(&self.retained).map(|segment| segment.payload.len() as u64).sum()
    }
}

/// Numbers are consecutive within a list, so a look-up is a subtraction.
fn find(segments: &[Arc<TsSegment>], sequence: u64) -> Option<&Arc<TsSegment>> {
    let first = segments.first()?.sequence;
    let index = usize::try_from(sequence.checked_sub(first)?).ok()?;
    segments.get(index).filter(|segment| segment.sequence == sequence)
}

/// One version of a stream, whole and immutable. A reader sees version n or n + 1, never a mix.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Counts up by one with every change that a reader could see.
    pub version: u64,
    /// Where the stream is in its life.
    pub state: State,
    /// Tracks of the newest listed segment.
    pub tracks: Tracks,
    /// Frames per second measured over recent segments, in thousandths; `None` without video or before two frames.
    pub frame_rate_millihertz: Option<u32>,
    /// Bit rates, once a segment is listed.
    pub bandwidth: Option<Bandwidth>,
    /// Wall clock when this version was made.
    pub published_at: WallTime,
    /// MPEG-TS rendition, when that packaging is switched on.
    pub ts: Option<TsRendition>,
}

impl Snapshot {
    /// True when a playlist of this version may be served: at least one segment is listed.
    pub fn is_playable(&self) -> bool {
        self.ts.as_ref().is_some_and(|ts| !ts.listed.is_empty())
    }

    /// The media playlist of the MPEG-TS rendition, rendered anew; `None` while nothing is listed.
    pub fn media_playlist(&self) -> Option<Vec<u8>> {
        playlist::media(self)
    }

    /// The multivariant playlist of the MPEG-TS packaging, rendered anew; `None` while nothing is listed.
    pub fn multivariant_playlist(&self) -> Option<Vec<u8>> {
        playlist::multivariant(self)
    }

    /// Bytes of media held by all renditions.
    pub fn size_bytes(&self) -> u64 {
        self.ts.as_ref().map_or(0, TsRendition::size_bytes)
    }
}

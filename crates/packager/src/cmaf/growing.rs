//! A segment of one track while its parts come.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use headwater_cmaf::InitSegment;
use headwater_media::{MediaTime, Timescale, WallTime};

use crate::held::{Alive, Token};
use crate::snapshot::{CmafSegment, Edge, Part};

/// What a segment is begun with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) sequence: u64,
    /// 90 kHz ticks.
    pub(crate) start: i64,
    pub(crate) independent: bool,
    pub(crate) discontinuity: bool,
    /// Milliseconds that the wall clock is ahead of media time in this segment.
    pub(crate) wall_offset_ms: i64,
    /// The DASH Period that it belongs to.
    pub(crate) period: u64,
}

impl Head {
    /// The wall clock of a media time in the segment, rounded down. Pictures begin at whole milliseconds, frames of sound between them;
    /// hls.js 1.7.4 puts sound where its date says, against the pictures', and where that is later than the media itself by however
    /// little, a start in a segment's second part of sound ends in a stand-still at the segment's end, until the playlist drops the
    /// segment's parts.
    pub(super) fn date(&self, media: MediaTime) -> WallTime {
        let nearest = media.millis();
        let is_later = MediaTime::new(nearest, Timescale::MILLIS) > media;
        let media_ms = nearest.saturating_sub(i64::from(is_later));
        WallTime::from_unix_millis(media_ms.saturating_add(self.wall_offset_ms))
    }
}

/// The segment under construction of one track.
#[derive(Debug)]
pub(super) struct Growing {
    pub(super) head: Head,
    init: Arc<InitSegment>,
    /// Where its first part begins.
    start: Option<MediaTime>,
    parts: Vec<Part>,
    size_bytes: u64,
    token: Token,
    /// What readers see of it, until the next part: the other track's parts make versions too.
    seen: OnceLock<Arc<Edge>>,
}

impl Growing {
    pub(super) fn new(head: Head, init: Arc<InitSegment>) -> Growing {
        Growing {
            head,
            init,
            start: None,
            parts: Vec::new(),
            size_bytes: 0,
            token: Token::default(),
            seen: OnceLock::new(),
        }
    }

    /// `mfhd` of the next chunk. It follows from the segment's number, so that another origin of the same media writes the same
    /// bytes; a segment has far fewer than 256 parts, and the field counts modulo 2^32.
    pub(super) fn chunk_sequence(&self) -> u32 {
        let first = self.head.sequence.wrapping_mul(256).wrapping_add(1);
        u32::try_from(first.wrapping_add(self.parts.len() as u64) & u64::from(u32::MAX)).unwrap_or(0)
    }

    /// The next part is complete.
    pub(super) fn push(&mut self, start: MediaTime, duration: MediaTime, independent: bool, chunk: Vec<u8>) {
        self.seen.take();
        self.start.get_or_insert(start);
        self.size_bytes = self.size_bytes.saturating_add(chunk.len() as u64);
        self.parts.push(Part { duration, independent, payload: self.token.track(chunk) });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// What is known of it, for whoever knows better.
    pub(super) fn head_mut(&mut self) -> &mut Head {
        self.seen.take();
        &mut self.head
    }

    /// What readers see of it.
    pub(super) fn edge(&self) -> Arc<Edge> {
        Arc::clone(self.seen.get_or_init(|| Arc::new(self.to_edge())))
    }

    fn to_edge(&self) -> Edge {
        let head = &self.head;
        Edge {
            sequence: head.sequence,
            start: self.start,
            program_date_time: self.start.map_or(WallTime::from_unix_millis(0), |start| head.date(start)),
            discontinuity: head.discontinuity,
            init: Arc::clone(&self.init),
            period: head.period,
            parts: self.parts.clone(),
        }
    }

    /// No part follows. `None` when there is none at all.
    pub(super) fn finish(self) -> Option<(CmafSegment, Alive)> {
        let Growing { head, init, start, parts, token, .. } = self;
        let start = start?;
        let duration = parts.iter().map(|part| part.duration.ticks()).fold(0_i64, i64::saturating_add);
        let segment = CmafSegment {
            sequence: head.sequence,
            start,
            duration: MediaTime::new(duration, start.scale()),
            program_date_time: head.date(start),
            discontinuity: head.discontinuity,
            independent: head.independent,
            init,
            period: head.period,
            parts,
        };
        Some((segment, token.alive()))
    }
}

/// Bytes of a complete segment.
pub(super) fn size(segment: &CmafSegment) -> usize {
    segment.parts.iter().map(|part| part.payload.len()).sum()
}

/// A copy of a sample's data: a slice of a read buffer would keep all of it for its sake.
pub(super) fn copy(data: &Bytes) -> Bytes {
    Bytes::copy_from_slice(data)
}

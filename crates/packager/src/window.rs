//! Numbers, the listed window and what is kept beyond it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::MediaTime;

use crate::snapshot::{Rendition, Segment};

/// A playlist always lists at least this many target durations (8216bis 6.2.2).
const TARGET_DURATIONS_LISTED_MIN: u64 = 3;

/// Where a stream's numbers start. The caller knows what the name has used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbering {
    /// Number of the first segment, at least 1 (hls.js takes 0 for "none").
    pub media_sequence: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE of the first segment.
    pub discontinuity_sequence: u64,
    /// The numbers continue an earlier life of the stream, so the first segment is a discontinuity to what players hold.
    pub resumed: bool,
}

/// The sliding window of one rendition.
#[derive(Debug)]
pub(crate) struct Window<S> {
    length: Duration,
    next_sequence: u64,
    discontinuity_sequence: u64,
    listed: VecDeque<Arc<S>>,
    /// Delisted segments with the time from which nobody may count on them.
    retained: VecDeque<(Arc<S>, Duration)>,
}

impl<S: Segment> Window<S> {
    pub(crate) fn new(length: Duration, numbering: Numbering) -> Window<S> {
        Window {
            length,
            next_sequence: numbering.media_sequence.max(1),
            discontinuity_sequence: numbering.discontinuity_sequence,
            listed: VecDeque::new(),
            retained: VecDeque::new(),
        }
    }

    /// The oldest listed segment.
    pub(crate) fn first_listed(&self) -> Option<&Arc<S>> {
        self.listed.front()
    }

    /// Lists a segment that bears the next number, delists what no longer belongs, forgets what has been kept long enough.
    pub(crate) fn push(&mut self, segment: S, target_duration: u32, now: Duration) {
        debug_assert_eq!(segment.sequence(), self.next_sequence, "numbers count by one");
        self.next_sequence = self.next_sequence.saturating_add(1);
        self.listed.push_back(Arc::new(segment));
        let least = Duration::from_secs(u64::from(target_duration) * TARGET_DURATIONS_LISTED_MIN);
        let keep = self.length.max(least);
        let mut total: Duration = self.listed.iter().map(|segment| span(segment.duration())).sum();
        while let Some(first) = self.listed.front() {
            let rest = total.saturating_sub(span(first.duration()));
            if rest < keep {
                break;
            }
            self.delist_first(now, total);
            total = rest;
        }
        self.forget(now);
    }

    /// Delists everything (a new publication must not start with the pictures of the one before); it stays fetchable.
    pub(crate) fn delist_all(&mut self, now: Duration) {
        let total = self.listed.iter().map(|segment| span(segment.duration())).sum();
        while !self.listed.is_empty() {
            self.delist_first(now, total);
        }
    }

    /// Drops retained segments whose time is over (8216bis 6.2.2).
    pub(crate) fn forget(&mut self, now: Duration) {
        while self.retained.front().is_some_and(|(_, until)| *until <= now) {
            self.retained.pop_front();
        }
    }

    /// What readers see.
    pub(crate) fn rendition(&self, target_duration: u32) -> Rendition<S> {
        Rendition {
            target_duration,
            discontinuity_sequence: self.discontinuity_sequence,
            listed: self.listed.iter().cloned().collect(),
            retained: self.retained.iter().map(|(segment, _)| Arc::clone(segment)).collect(),
        }
    }

    fn delist_first(&mut self, now: Duration, playlist: Duration) {
        let Some(first) = self.listed.pop_front() else { return };
        if first.discontinuity() {
            // The tag line leaves with its segment (8216bis 4.4.3.3).
            self.discontinuity_sequence = self.discontinuity_sequence.saturating_add(1);
        }
        // A removed segment stays available for its own duration plus that of the longest playlist that listed it (8216bis 6.2.2).
        let until = now.saturating_add(span(first.duration())).saturating_add(playlist);
        self.retained.push_back((first, until));
    }
}

/// A non-negative media span as a duration.
fn span(duration: MediaTime) -> Duration {
    Duration::from_millis(duration.millis().max(0).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use headwater_media::{Timescale, WallTime};

    use super::*;
    use crate::snapshot::TsSegment;

    fn push(window: &mut Window<TsSegment>, seconds: i64, discontinuity: bool, now: u64) {
        let segment = TsSegment {
            sequence: window.next_sequence,
            start: MediaTime::new(0, Timescale::MPEG),
            duration: MediaTime::new(seconds * 90_000, Timescale::MPEG),
            program_date_time: WallTime::from_unix_millis(0),
            discontinuity,
            independent: true,
            payload: Bytes::from_static(b"ts"),
        };
        window.push(segment, 2, Duration::from_secs(now));
    }

    fn window(seconds: u64) -> Window<TsSegment> {
        let numbering = Numbering { media_sequence: 100, discontinuity_sequence: 7, resumed: false };
        Window::new(Duration::from_secs(seconds), numbering)
    }

    #[test]
    fn lists_the_window_and_keeps_what_left_it_long_enough() {
        let mut window = window(20);
        for index in 0..40 {
            push(&mut window, 2, false, index * 2);
        }
        let rendition = window.rendition(2);
        assert_eq!(rendition.listed.len(), 10);
        assert_eq!(rendition.listed.first().unwrap().sequence, 130);
        assert_eq!(rendition.last_sequence(), Some(139));
        // Delisted at t, kept until t + 2 s + 22 s: those of the last 24 s, without the one whose time is just over.
        assert_eq!(rendition.retained.len(), 12);
        assert_eq!(rendition.retained.last().unwrap().sequence, 129);
        assert!(rendition.segment(118).is_some() && rendition.segment(117).is_none());
        assert!(rendition.segment(139).is_some() && rendition.segment(140).is_none());
    }

    #[test]
    fn never_lists_less_than_three_target_durations() {
        let mut window = window(1);
        for index in 0..10 {
            push(&mut window, 2, false, index * 2);
        }
        assert_eq!(window.rendition(2).listed.len(), 3);
    }

    #[test]
    fn discontinuity_sequence_counts_tags_that_left() {
        let mut window = window(6);
        push(&mut window, 2, false, 0);
        push(&mut window, 2, true, 2);
        push(&mut window, 2, false, 4);
        assert_eq!(window.rendition(2).discontinuity_sequence, 7);
        push(&mut window, 2, false, 6);
        assert_eq!(window.rendition(2).discontinuity_sequence, 7, "the segment without the tag left");
        push(&mut window, 2, false, 8);
        assert_eq!(window.rendition(2).discontinuity_sequence, 8);
    }

    #[test]
    fn delisting_everything_keeps_numbers_and_segments() {
        let mut window = window(20);
        for index in 0..5 {
            push(&mut window, 2, index == 3, index * 2);
        }
        window.delist_all(Duration::from_secs(10));
        let rendition = window.rendition(2);
        assert!(rendition.listed.is_empty());
        assert_eq!((rendition.retained.len(), rendition.discontinuity_sequence), (5, 8));
        assert!(rendition.segment(104).is_some());
        assert_eq!(window.next_sequence, 105);
        window.forget(Duration::from_secs(22));
        assert!(window.rendition(2).retained.is_empty());
    }
}

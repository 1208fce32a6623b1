//! Numbers, the listed window and what is kept beyond it.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use headwater_media::MediaTime;

use crate::held::{Alive, Departed};
use crate::snapshot::{Rendition, Segment, distinct};

/// A playlist always lists at least this many target durations (8216bis 6.2.2).
const TARGET_DURATIONS_LISTED_MIN: u64 = 3;

/// A list may fall short of its length by this. Segments of sound end with whole frames (128 ms at most: AAC-LC at 8 kHz), so the same
/// number of them is a frame too short at times. A list that waits for one more then moves on by two at once after it, and ffmpeg,
/// which reads a list from its oldest segment on, loses the one between.
const SHORT_MAX: Duration = Duration::from_millis(150);

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
    listed: VecDeque<Kept<S>>,
    /// Delisted segments with the time from which nobody may count on them.
    retained: VecDeque<(Kept<S>, Duration)>,
    /// Sum over both.
    size_bytes: u64,
    departed: Departed,
    /// What readers see, until it changes: of ten versions nine are about a part alone.
    view: OnceLock<Arc<Rendition<S>>>,
}

/// A segment, and what tells whether its bytes are held by anybody.
#[derive(Debug)]
struct Kept<S> {
    segment: Arc<S>,
    alive: Alive,
}

impl<S: Segment> Window<S> {
    pub(crate) fn new(length: Duration, numbering: Numbering) -> Window<S> {
        Window {
            length,
            next_sequence: numbering.media_sequence.max(1),
            discontinuity_sequence: numbering.discontinuity_sequence,
            listed: VecDeque::new(),
            retained: VecDeque::new(),
            size_bytes: 0,
            departed: Departed::default(),
            view: OnceLock::new(),
        }
    }

    /// The oldest listed segment.
    pub(crate) fn first_listed(&self) -> Option<&Arc<S>> {
        self.listed.front().map(|kept| &kept.segment)
    }

    /// What is listed with numbers below this, the newest first.
    pub(crate) fn newest_below(&self, below: u64) -> impl Iterator<Item = &Arc<S>> {
        let listed = self.listed.iter().rev().map(|kept| &kept.segment);
        listed.filter(move |segment| segment.sequence() < below)
    }

    /// Lists a segment that bears the next number. [`Window::slide_to`] belongs after it.
    pub(crate) fn push(&mut self, segment: S, alive: Alive) {
        debug_assert_eq!(segment.sequence(), self.next_sequence, "numbers count by one");
        self.view.take();
        self.next_sequence = segment.sequence().saturating_add(1);
        self.size_bytes = self.size_bytes.saturating_add(segment.size_bytes());
        self.listed.push_back(Kept { segment: Arc::new(segment), alive });
    }

    /// The number of the first segment that still belongs to the list.
    pub(crate) fn due_first(&self, target_duration: u32) -> u64 {
        self.first_that_leaves(self.length.saturating_sub(SHORT_MAX).max(least_listed(target_duration)))
    }

    /// The number of the first segment that the list can't do without (8216bis 6.2.2), however short of memory the stream is.
    pub(crate) fn least_first(&self, target_duration: u32) -> u64 {
        self.first_that_leaves(least_listed(target_duration))
    }

    /// The number of the first segment without which less than `keep` would be listed.
    pub(crate) fn first_that_leaves(&self, keep: Duration) -> u64 {
        let mut rest = self.total();
        for kept in &self.listed {
            rest = rest.saturating_sub(span(kept.segment.duration()));
            if rest < keep {
                return kept.segment.sequence();
            }
        }
        self.next_sequence
    }

    /// What is listed from number `first` on, and EXT-X-DISCONTINUITY-SEQUENCE of a list that begins so.
    pub(crate) fn listed_from(&self, first: u64) -> (u64, Vec<Arc<S>>) {
        let listed = self.listed.iter().map(|kept| &kept.segment);
        let left = listed.clone().take_while(|segment| segment.sequence() < first);
        let tags_left = left.filter(|segment| segment.discontinuity()).count() as u64;
        let rest = listed.skip_while(|segment| segment.sequence() < first).cloned().collect();
        (self.discontinuity_sequence.saturating_add(tags_left), rest)
    }

    /// Lists what an earlier process listed: consecutive numbers, up to the one before the next.
    pub(crate) fn refill(&mut self, discontinuity_sequence: u64, segments: Vec<(S, Alive)>) {
        let Some((first, _)) = segments.first() else { return };
        self.next_sequence = first.sequence();
        self.discontinuity_sequence = discontinuity_sequence;
        for (segment, alive) in segments {
            self.push(segment, alive);
        }
    }

    /// Delists what lies before `first`, forgets what has been kept long enough.
    pub(crate) fn slide_to(&mut self, first: u64, now: Duration) {
        while self.listed.front().is_some_and(|kept| kept.segment.sequence() < first) {
            self.delist_first(now, self.total());
        }
        self.forget(now);
    }

    /// How much is listed.
    pub(crate) fn total(&self) -> Duration {
        self.total_below(u64::MAX)
    }

    /// How much is listed of what lies before number `below`.
    pub(crate) fn total_below(&self, below: u64) -> Duration {
        let before = self.listed.iter().take_while(|kept| kept.segment.sequence() < below);
        before.map(|kept| span(kept.segment.duration())).sum()
    }

    /// Bytes of media, listed and retained.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// What has left and may still be held.
    pub(crate) fn departed(&mut self) -> &mut Departed {
        &mut self.departed
    }

    /// As [`Window::departed`], for a look at its bound.
    pub(crate) fn departed_bytes_max(&self) -> u64 {
        self.departed.bytes_max()
    }

    /// The number of the oldest retained segment.
    pub(crate) fn first_retained(&self) -> Option<u64> {
        self.retained.front().map(|(kept, _)| kept.segment.sequence())
    }

    /// Drops retained segments up to that number before their time. Returns how many.
    pub(crate) fn evict(&mut self, sequence: u64) -> u64 {
        let mut evicted = 0;
        while self.retained.front().is_some_and(|(kept, _)| kept.segment.sequence() <= sequence) {
            self.drop_first_retained();
            evicted += 1;
        }
        evicted
    }

    /// Delists everything (a new publication must not start with the pictures of the one before); it stays fetchable.
    pub(crate) fn delist_all(&mut self, now: Duration) {
        let total = self.total();
        while !self.listed.is_empty() {
            self.delist_first(now, total);
        }
    }

    /// The track was away: its numbers go on elsewhere, and a list can't skip any.
    pub(crate) fn resume(&mut self, numbering: Numbering, now: Duration) {
        self.delist_all(now);
        self.view.take();
        self.next_sequence = numbering.media_sequence;
        self.discontinuity_sequence = numbering.discontinuity_sequence;
    }

    /// Drops retained segments whose time is over (8216bis 6.2.2).
    pub(crate) fn forget(&mut self, now: Duration) {
        while self.retained.front().is_some_and(|(_, until)| *until <= now) {
            self.drop_first_retained();
        }
        // Once per segment, so that the list of what has left stays as long as what is held.
        self.departed.sweep();
    }

    fn drop_first_retained(&mut self) {
        let Some((Kept { segment, alive }, _)) = self.retained.pop_front() else { return };
        self.view.take();
        let (sequence, size_bytes) = (segment.sequence(), segment.size_bytes());
        self.size_bytes = self.size_bytes.saturating_sub(size_bytes);
        self.departed.push(sequence, size_bytes, alive);
    }

    /// What readers see.
    pub(crate) fn rendition(&self, target_duration: u32) -> Arc<Rendition<S>> {
        let seen = self.view.get_or_init(|| Arc::new(self.looked_at(target_duration)));
        if seen.target_duration == target_duration {
            return Arc::clone(seen);
        }
        // Before anything is listed it may still change.
        Arc::new(self.looked_at(target_duration))
    }

    fn looked_at(&self, target_duration: u32) -> Rendition<S> {
        let retained = self.retained.iter().map(|(kept, _)| kept);
        let inits = distinct(retained.chain(&self.listed).filter_map(|kept| kept.segment.init()));
        Rendition {
            target_duration,
            discontinuity_sequence: self.discontinuity_sequence,
            inits,
            listed: self.listed.iter().map(|kept| Arc::clone(&kept.segment)).collect(),
            retained: self.retained.iter().map(|(kept, _)| Arc::clone(&kept.segment)).collect(),
        }
    }

    fn delist_first(&mut self, now: Duration, playlist: Duration) {
        let Some(first) = self.listed.pop_front() else { return };
        self.view.take();
        if first.segment.discontinuity() {
            // The tag line leaves with its segment (8216bis 4.4.3.3).
            self.discontinuity_sequence = self.discontinuity_sequence.saturating_add(1);
        }
        // A removed segment stays available for its own duration plus that of the longest playlist that listed it (8216bis 6.2.2).
        let until = now.saturating_add(span(first.segment.duration())).saturating_add(playlist);
        self.retained.push_back((first, until));
    }
}

/// What a playlist lists at least (8216bis 6.2.2).
fn least_listed(target_duration: u32) -> Duration {
    Duration::from_secs(u64::from(target_duration) * TARGET_DURATIONS_LISTED_MIN)
}

/// A length of media as a duration, in whole microseconds: never more than a playlist says of it.
pub(crate) fn span(duration: MediaTime) -> Duration {
    let hz = u64::from(duration.scale().hz());
    let ticks = u64::try_from(duration.ticks()).unwrap_or(0);
    Duration::from_micros(ticks.saturating_mul(1_000_000) / hz)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use headwater_media::{Timescale, WallTime};

    use super::*;
    use crate::snapshot::TsSegment;

    fn push(window: &mut Window<TsSegment>, seconds: i64, discontinuity: bool, now: u64) {
        push_lasting(window, MediaTime::new(seconds * 90_000, Timescale::MPEG), discontinuity, now);
    }

    fn push_lasting(window: &mut Window<TsSegment>, duration: MediaTime, discontinuity: bool, now: u64) {
        let segment = TsSegment {
            sequence: window.next_sequence,
            start: MediaTime::new(0, Timescale::MPEG),
            duration,
            program_date_time: WallTime::from_unix_millis(0),
            discontinuity,
            independent: true,
            payload: Bytes::from_static(b"ts"),
        };
        window.push(segment, Alive::default());
        window.slide_to(window.due_first(2), Duration::from_secs(now));
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

    /// Sound of 2 s pictures at 48 kHz: 93 or 94 frames of 1,024 samples.
    #[test]
    fn moves_on_by_one_while_segments_are_a_frame_longer_or_shorter() {
        let mut window = window(20);
        let mut firsts = Vec::new();
        for index in 0..40_u64 {
            let frames = |cut: u64| (cut * 2 * 48_000).div_ceil(1_024);
            let samples = i64::try_from((frames(index + 1) - frames(index)) * 1_024).unwrap();
            push_lasting(
                &mut window,
                MediaTime::new(samples, Timescale::new(48_000).unwrap()),
                false,
                index * 2,
            );
            firsts.push(window.first_listed().unwrap().sequence);
        }
        assert_eq!(firsts[10..], (101..=130).collect::<Vec<u64>>());
    }

    #[test]
    fn never_lists_less_than_three_target_durations() {
        let mut window = window(1);
        for index in 0..10 {
            push(&mut window, 2, false, index * 2);
        }
        assert_eq!(window.rendition(2).listed.len(), 3);
    }

    /// 2 s but for a tick of 90 kHz are not 2 s.
    #[test]
    fn a_microsecond_is_not_lost_in_three_target_durations() {
        let mut window = window(1);
        for index in 0..10_u64 {
            let duration = MediaTime::new(180_000 - i64::from(index == 4), Timescale::new(90_000).unwrap());
            push_lasting(&mut window, duration, false, index * 2);
            if (6..8).contains(&index) {
                assert_eq!(window.rendition(2).listed.len(), if index == 6 { 4 } else { 3 }, "{index}");
            }
        }
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

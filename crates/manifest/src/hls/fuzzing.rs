//! The body of the fuzz target of low-latency playlists, with its oracles; ordinary tests run it over the committed seeds.
#![allow(clippy::expect_used, reason = "what a fuzz body finds, it tells by a panic")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use headwater_media::{MediaTime, Timescale, WallTime};

use super::check::{Checker, compare_renditions, compare_reports};
use super::text::{micros_beyond, micros_nearest};
use super::{
    Edge, Hint, LowLatency, MediaPlaylist, MergeError, Part, RenditionReport, Segment, SegmentNames, Uri,
    Version, merge_delta, skippable,
};
use crate::findings::are_bounded;

/// Segments of a stream; most that one input makes.
const SEGMENTS_MAX: usize = 48;
/// Where the playlist is, and the other rendition, which always is as far.
const URIS: [&str; 2] = ["video/media.m3u8", "audio/media.m3u8"];

/// A stream of segments in parts made from bytes, listed by a window that slides, rendered in full and as a delta update
/// after every part; and then versions of it with damaged lines.
///
/// Holds: the checker finds nothing in the sequence, whether it gets the full playlists or the updates, and has read the
/// same both ways; an update applied to the version before is the full playlist, byte for byte; what is damaged never
/// panics it, and its findings are bounded.
pub fn hls_low_latency(data: &[u8]) {
    let mut bytes = data.iter().copied();
    let stream = Stream::from_bytes(&mut bytes);
    let (mut full, mut updated) = (Checker::new(URIS[0]), Checker::new(URIS[0]));
    let (mut first, mut received_at_ms) = (0_usize, 0_i64);
    let (mut before, mut damages) = (None::<(View, String)>, Vec::new());
    for mut view in stream.views() {
        let step = bytes.next().unwrap_or(0);
        // 8216bis 6.2.2: nothing leaves before three target durations (and six segments) remain.
        if step & 1 == 1 && stream.may_remove(first, view.end) {
            first += 1;
        }
        // Nobody saw this one. Who looks away until a segment has come and gone is told so, and rightly: the next version removes one more.
        let is_in_time = before.as_ref().is_none_or(|(held, _)| first < held.end);
        if step & 14 == 14 && !view.ended && view.end > 0 && is_in_time {
            continue;
        }
        view.first = first;
        if view.end == 0 {
            continue;
        }
        let text = stream.render(view, 0);
        let found = full.observe(&text, received_at_ms);
        assert!(found.is_empty(), "{found:#?}\nin\n{text}");
        let update = stream.render(view, stream.skipped(view) as u64);
        let applies = before
            .as_ref()
            .is_some_and(|(held, held_text)| assert_merged(&stream, view, held, held_text, &update, &text));
        let found = updated.observe_delta(if applies { &update } else { &text }, received_at_ms);
        assert!(found.is_empty(), "{found:#?}\nin\n{update}");
        assert_eq!(full.media(), updated.media(), "both read the same");
        let media = full.media().expect("a rendered playlist has segments");
        let renditions = URIS.map(|uri| (uri, media));
        assert!(compare_renditions(&renditions).is_empty() && compare_reports(&renditions).is_empty());
        #[cfg(any(test, feature = "m3u8-rs"))]
        assert_m3u8_rs(&text, media);
        if step & 16 == 16 {
            damages.push((text.clone(), update));
        }
        before = Some((view, text));
        received_at_ms += 100;
    }
    for (full, update) in damages {
        damage(&full, &update, &mut bytes);
    }
}

/// The update skips what the version before had listed, unless that was seen too long ago. Returns whether it applies.
fn assert_merged(
    stream: &Stream,
    view: View,
    held: &View,
    held_text: &str,
    update: &str,
    text: &str,
) -> bool {
    let merged = merge_delta(held_text, update);
    if update == text {
        assert_eq!(merged, Err(MergeError::NoSkip));
        return false;
    }
    let applies = view.first + stream.skipped(view) <= held.end;
    if applies {
        assert_eq!(merged.as_deref(), Ok(text), "applied to\n{held_text}\nof\n{update}");
    } else {
        assert!(matches!(merged, Err(MergeError::NotHeld { .. })), "{merged:?}");
    }
    applies
}

/// Lines lost, repeated, swapped or cut.
fn damage(full: &str, update: &str, bytes: &mut impl Iterator<Item = u8>) {
    let mut damaged = |text: &str| {
        let mut lines: Vec<&str> = text.lines().collect();
        let mut next = || usize::from(bytes.next().unwrap_or(0));
        for _ in 0..=next() % 3 {
            let (edit, index) = (next(), (next() << 8 | next()) % lines.len().max(1));
            let other = (index + edit / 4) % lines.len().max(1);
            match (edit % 4, lines.get(index).copied()) {
                (0, Some(_)) => {
                    lines.remove(index);
                }
                (1, Some(line)) => lines.insert(other, line),
                (2, Some(_)) => lines.swap(index, other),
                (_, Some(line)) => {
                    let cut = line.get(..line.len().saturating_sub(edit / 4 + 1)).unwrap_or_default();
                    lines.splice(index..=index, [cut]);
                }
                (_, None) => {}
            }
        }
        lines.join("\n")
    };
    let mut checker = Checker::new(URIS[0]);
    for text in [damaged(full), full.to_owned(), damaged(full)] {
        assert!(are_bounded(&checker.observe(&text, 0)));
        let update = damaged(update);
        assert!(are_bounded(&checker.observe_delta(&update, 0)));
        if let Ok(merged) = merge_delta(&text, &update) {
            assert!(merged.len() <= text.len() + update.len() + 1, "nothing comes from nowhere");
        }
    }
}

#[cfg(any(test, feature = "m3u8-rs"))]
fn assert_m3u8_rs(text: &str, media: &super::check::MediaText) {
    let (_, read) = m3u8_rs::parse_media_playlist(text.as_bytes()).expect("m3u8-rs reads what was rendered");
    assert_eq!(read.media_sequence, media.media_sequence);
    let uris = read.segments.iter().map(|segment| segment.uri.as_str());
    assert!(uris.eq(media.segments.iter().map(|segment| segment.uri.as_str())), "{read:#?}");
}

/// What a version lists: segments `first..end`, and so many parts of the one behind them.
#[derive(Debug, Clone, Copy)]
struct View {
    first: usize,
    end: usize,
    parts: usize,
    ended: bool,
}

struct StreamSegment {
    date: WallTime,
    discontinuity: bool,
    gap: bool,
    map: Option<Uri>,
    parts: Vec<Part>,
}

impl StreamSegment {
    fn duration(&self) -> MediaTime {
        let mut sum =
            MediaTime::new(0, self.parts.first().map_or(Timescale::MPEG, |part| part.duration.scale()));
        for part in &self.parts {
            sum = sum.offset_by(part.duration.ticks());
        }
        sum
    }
}

struct Stream {
    names: SegmentNames,
    target_duration: NonZeroU32,
    part_target: Duration,
    media_sequence: u64,
    independent_segments: bool,
    reported: Vec<Uri>,
    segments: Vec<StreamSegment>,
}

impl Stream {
    fn from_bytes(bytes: &mut impl Iterator<Item = u8>) -> Stream {
        let mut next = || i64::from(bytes.next().unwrap_or(0));
        let target_duration = 1 + next() % 6;
        let flags = next();
        let rates = [90_000_u32, 48_000, 44_100, 1_000, 999_983, 1_000_000];
        let hz = rates.get(usize::try_from(next()).unwrap_or(0) % rates.len()).copied().unwrap_or(90_000);
        let scale = Timescale::new(hz).expect("every rate in the list is a timescale");
        let rate = i64::from(hz);
        // A twelfth of the target duration up to all of it.
        let target_ticks = (target_duration * rate * (1 + next() % 12) / 12).max(1);
        let part_ns = (target_ticks.unsigned_abs() * 1_000_000_000).div_ceil(u64::from(hz));
        let media_sequence = (next() << 8 | next()).unsigned_abs();
        let count = usize::try_from(next()).unwrap_or(0) % SEGMENTS_MAX + 1;
        let independent_segments = flags & 2 == 2;
        let (mut date_us, mut init) = (1_769_860_800_000_000_i64, 0_u32);
        let mut segments: Vec<StreamSegment> = Vec::new();
        for index in 0..count {
            let of_segment = next();
            let discontinuity = index > 0 && of_segment & 7 == 7;
            if discontinuity {
                init += 1;
                date_us += of_segment * 100_000;
            }
            let ticks_max = (rate * (2 * target_duration + 1) - 1) / 2;
            let mut parts = Vec::new();
            let mut left = ticks_max;
            for place in 0..=next() % 12 {
                let of_part = next();
                let independent = of_part & 3 == 3 || (independent_segments && place == 0);
                // 8216bis 4.4.4.9: at least 85 % of the target, an independent part however short.
                let least = if independent { 1 } else { (target_ticks * 85 + 99) / 100 };
                // What EXTINF would print as 0 would be reported.
                let least = if place == 0 { least.max(rate / 1_000).max(1) } else { least };
                let ticks = least + (target_ticks - least) * (of_part >> 2) / 63;
                if ticks > left {
                    break;
                }
                left -= ticks;
                parts.push(Part { duration: MediaTime::new(ticks, scale), independent });
            }
            let map = (flags & 1 == 1).then(|| Uri::new(format!("init-{init:x}.mp4")).expect("a URI"));
            let date = WallTime::from_unix_millis(date_us / 1_000);
            let segment = StreamSegment { date, discontinuity, gap: of_segment & 120 == 120, map, parts };
            date_us += i64::try_from(micros_nearest(segment.duration())).unwrap_or(0);
            segments.push(segment);
        }
        let suffix = if flags & 1 == 1 { ".m4s" } else { ".ts" };
        Stream {
            names: SegmentNames::new("", suffix).expect("a suffix of a URI"),
            target_duration: NonZeroU32::MIN.saturating_add(u32::try_from(target_duration - 1).unwrap_or(0)),
            part_target: Duration::from_nanos(part_ns) + super::low_latency::PART_DURATION_SLACK,
            media_sequence,
            independent_segments,
            reported: URIS.map(|uri| Uri::new(format!("../{uri}")).expect("a URI")).into(),
            segments,
        }
    }

    /// A version after every part, one after every segment, and the end.
    fn views(&self) -> Vec<View> {
        let view = |end, parts| View { first: 0, end, parts, ended: false };
        let mut views = Vec::new();
        for (end, segment) in self.segments.iter().enumerate() {
            // A gap comes whole; a segment's last part comes with the segment.
            let parts = if segment.gap { 1 } else { segment.parts.len() };
            views.extend((1..parts).map(|parts| view(end, parts)));
            views.push(view(end + 1, 0));
        }
        views.push(View { ended: true, ..view(self.segments.len(), 0) });
        views
    }

    fn listed(&self, view: View) -> &[StreamSegment] {
        self.segments.get(view.first..view.end).unwrap_or_default()
    }

    fn can_skip_until(&self) -> Duration {
        Duration::from_secs(6 * u64::from(self.target_duration.get()))
    }

    fn skipped(&self, view: View) -> usize {
        let durations = self.listed(view).iter().map(StreamSegment::duration);
        usize::try_from(skippable(self.can_skip_until(), durations)).unwrap_or(usize::MAX)
    }

    fn may_remove(&self, first: usize, end: usize) -> bool {
        let rest = self.segments.get(first + 1..end).unwrap_or_default();
        let duration_us: u64 = rest.iter().map(|segment| micros_nearest(segment.duration())).sum();
        rest.len() >= 6 && duration_us >= 3_000_000 * u64::from(self.target_duration.get())
    }

    /// The edge, when there is one, and the parts of each listed segment that are recent enough.
    fn parts(&self, view: View) -> (Option<Edge<'_>>, Vec<&[Part]>) {
        let edge = self.segments.get(view.end).filter(|_| view.parts > 0).map(|segment| Edge {
            program_date_time: segment.date,
            discontinuity: segment.discontinuity,
            map: segment.map.as_ref().map(Into::into),
            parts: segment.parts.get(..view.parts).unwrap_or_default(),
        });
        let of_edge = edge.map_or(&[][..], |edge| edge.parts).iter();
        let mut behind_us: u64 = of_edge.map(|part| micros_beyond(part.duration)).sum();
        let recent_us = 3_000_000 * u64::from(self.target_duration.get());
        let mut of_segments = Vec::new();
        for segment in self.listed(view).iter().rev() {
            of_segments.push(if behind_us <= recent_us { segment.parts.as_slice() } else { &[] });
            behind_us += micros_nearest(segment.duration());
        }
        of_segments.reverse();
        (edge, of_segments)
    }

    fn render(&self, view: View, skipped: u64) -> String {
        let (edge, parts) = self.parts(view);
        let next = self.segments.get(view.end);
        let map_here = if edge.is_some() { next } else { self.listed(view).last() };
        let new_map = |segment: &StreamSegment| map_here.is_some_and(|here| here.map != segment.map);
        let sequence = self.media_sequence + view.end as u64;
        let hint = Hint {
            sequence,
            part: u32::try_from(view.parts).unwrap_or(u32::MAX),
            map: next.filter(|next| new_map(next)).and_then(|next| next.map.as_ref()).map(Into::into),
        };
        let (last_msn, last_part) = match (view.parts.checked_sub(1), self.listed(view).last()) {
            (Some(part), _) => (sequence, part),
            (None, last) => (sequence - 1, last.map_or(0, |last| last.parts.len().saturating_sub(1))),
        };
        let last_part = u32::try_from(last_part).ok();
        let reports: Vec<_> =
            self.reported.iter().map(|uri| RenditionReport { uri, last_msn, last_part }).collect();
        let left = self.segments.get(..view.first).unwrap_or_default();
        let line = b"#EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2026-01-31T12:00:00.000Z\"\n";
        let date_ranges = vec![Arc::<[u8]>::from(line.as_slice()); view.first % 2];
        let playlist = MediaPlaylist {
            version: Version::LowLatency,
            target_duration: self.target_duration,
            media_sequence: self.media_sequence + view.first as u64,
            discontinuity_sequence: left.iter().filter(|segment| segment.discontinuity).count() as u64,
            independent_segments: self.independent_segments,
            ended: view.ended,
            names: &self.names,
            low_latency: Some(LowLatency {
                part_target: self.part_target,
                part_hold_back: 3 * self.part_target,
                hold_back: self.can_skip_until() / 2,
                can_skip_until: self.can_skip_until(),
                edge,
                hint: Some(hint),
                reports: &reports,
            }),
            skipped,
            date_ranges: &date_ranges,
        };
        let segments = self.listed(view).iter().zip(&parts).map(|(segment, parts)| Segment {
            duration: segment.duration(),
            program_date_time: segment.date,
            discontinuity: segment.discontinuity,
            gap: segment.gap,
            map: segment.map.as_ref().map(Into::into),
            parts,
        });
        let text = playlist.render(segments).expect("the window is never empty");
        String::from_utf8(text).expect("a playlist is UTF-8")
    }
}

#[cfg(test)]
mod tests {
    use headwater_testkit::seeds::over_seeds;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hls_low_latency_over_seeds() {
        over_seeds("hls_low_latency", hls_low_latency);
    }

    proptest! {
        #[test]
        fn hls_low_latency_over_bytes(data in proptest::collection::vec(any::<u8>(), 0..600)) {
            hls_low_latency(&data);
        }
    }
}

//! Bodies of the fuzz targets, with oracles; ordinary tests run them over the committed seeds.
#![allow(clippy::expect_used, reason = "what a fuzz body finds, it tells by a panic")]

use std::num::NonZeroU32;

use headwater_media::{MediaTime, Timescale, WallTime};

use crate::findings::are_bounded;
use crate::hls::check::{Checker, EXCERPT_CHARS_MAX, Finding, MediaText};
use crate::hls::{MediaPlaylist, Segment, SegmentNames, Uri, Version};

/// Texts of one sequence; more only repeat what two can show.
const TEXTS_MAX: usize = 4;
/// Bytes of the longest message: a few excerpts whose every character is escaped as `\u{10ffff}`, and words.
const MESSAGE_BYTES_MAX: usize = 4 * EXCERPT_CHARS_MAX * 10 + 400;

/// Arbitrary texts, separated by NUL bytes, as versions of one playlist.
///
/// Holds: findings are bounded, of one line and the same for the same input; the same text again adds none; line ends
/// make no difference; what was read numbers its segments one by one.
pub fn hls_check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let texts: Vec<&str> = text.splitn(TEXTS_MAX, '\0').collect();
    let found = observe(&texts);
    assert_eq!(found, observe(&texts), "the same texts have the same findings");
    if !text.contains('\r') {
        // A line end at the very end is all that `\r` could hide.
        let crlf: Vec<String> = texts.iter().map(|text| text.replace('\n', "\r\n")).collect();
        let crlf: Vec<&str> = crlf.iter().map(String::as_str).collect();
        assert_eq!(found, observe(&crlf), "line ends make no difference");
    }
    let mut checker = Checker::new("index.m3u8");
    for text in texts {
        assert!(are_bounded(&checker.observe_delta(text, 0)), "as answers to _HLS_skip, too");
    }
}

fn observe(texts: &[&str]) -> Vec<Finding> {
    let mut checker = Checker::new("index.m3u8");
    let mut all = Vec::new();
    for text in texts {
        let found = checker.observe(text, 0);
        assert!(are_bounded(&found), "{} findings", found.len());
        for finding in &found {
            assert!(!finding.message.contains(['\n', '\r']), "{:?} is not one line", finding.message);
            assert!(finding.message.len() <= MESSAGE_BYTES_MAX, "{:?} is long", finding.message);
        }
        assert!(checker.observe(text, 0).is_empty() || text.is_empty(), "the same text again is nothing new");
        if let Some(media) = checker.media() {
            check_numbers(media);
        }
        all.extend(found);
    }
    all
}

fn check_numbers(media: &MediaText) {
    let mut expected = media.media_sequence;
    for segment in &media.segments {
        assert_eq!(segment.sequence, expected, "numbers count by one");
        expected = expected.saturating_add(1);
    }
    assert_eq!(media.end_sequence(), expected);
    if let Some(last) = media.segments.last().filter(|last| last.sequence < u64::MAX) {
        assert_eq!(media.segment(last.sequence), Some(last), "a number finds its segment");
    }
}

/// A stream of segments made from bytes, listed by a window that slides, rendered at every step.
///
/// Holds: the checker, which reads the text on its own, finds nothing in the whole sequence, and what it read is the
/// model; with the feature `m3u8-rs`, that parser agrees.
pub fn hls_render(data: &[u8]) {
    let mut bytes = data.iter().copied();
    let stream = Stream::from_bytes(&mut bytes);
    let mut checker = Checker::new("http://example.org/live/cam/av/index.m3u8");
    let (mut first, mut received_at_ms) = (0_usize, 0_i64);
    for end in 1..=stream.segments.len() {
        // 8216bis 6.2.2: nothing leaves before three target durations (and six segments) remain.
        while bytes.next().is_some_and(|byte| byte & 1 == 1) && stream.may_remove(first, end) {
            first += 1;
        }
        let ended = stream.ends && end == stream.segments.len();
        let text = stream.render(first, end, ended);
        let found = checker.observe(&text, received_at_ms);
        assert!(found.is_empty(), "{found:#?}\nin\n{text}");
        stream.assert_read(first, end, ended, checker.media().expect("a rendered playlist has segments"));
        #[cfg(any(test, feature = "m3u8-rs"))]
        stream.assert_m3u8_rs(first, end, ended, &text);
        received_at_ms += 1_000;
    }
}

/// Segments of a stream; most that one input makes.
const SEGMENTS_MAX: usize = 64;

struct StreamSegment {
    duration: MediaTime,
    date: WallTime,
    discontinuity: bool,
    gap: bool,
    map: Option<Uri>,
}

struct Stream {
    names: SegmentNames,
    version: Version,
    target_duration: NonZeroU32,
    media_sequence: u64,
    discontinuity_sequence: u64,
    independent_segments: bool,
    ends: bool,
    segments: Vec<StreamSegment>,
}

impl Stream {
    fn from_bytes(bytes: &mut impl Iterator<Item = u8>) -> Stream {
        let mut next = || u32::from(bytes.next().unwrap_or(0));
        let target_duration = NonZeroU32::MIN.saturating_add(next() % 10);
        let flags = next();
        let fmp4 = flags & 1 == 1;
        let hz = [90_000, 48_000, 44_100, 1_000, 1_000_000];
        let hz = usize::try_from(next()).ok().and_then(|n| hz.get(n % hz.len())).copied().unwrap_or(90_000);
        let scale = Timescale::new(hz).expect("every rate in the list is a timescale");
        let media_sequence = u64::from((next() << 24) | (next() << 16) | (next() << 8) | next());
        let discontinuity_sequence = u64::from((next() << 8) | next());
        let count = usize::try_from(next()).unwrap_or(0) % SEGMENTS_MAX + 1;
        // The longest that still rounds to the target duration: the last tick below its next half.
        let ticks_max = (i64::from(hz) * (2 * i64::from(target_duration.get()) + 1) - 1) / 2;
        let ticks_min = i64::from(hz / 100);
        let mut date_us = 1_769_860_800_000_000_i64;
        let mut init = 0_u32;
        let mut segments = Vec::new();
        for index in 0..count {
            let size = i64::from((next() << 8) | next());
            let ticks = ticks_min + (ticks_max - ticks_min) * size / 65_535;
            let flags = next();
            let discontinuity = index > 0 && flags & 3 == 3;
            if discontinuity {
                init += 1;
                date_us += i64::from(flags) * 1_000_000;
            }
            let map = fmp4.then(|| Uri::new(format!("init-{init:x}.mp4")).expect("hexadecimal is a URI"));
            let duration = MediaTime::new(ticks, scale);
            let date = WallTime::from_unix_millis(date_us / 1_000);
            segments.push(StreamSegment { duration, date, discontinuity, gap: flags & 28 == 28, map });
            date_us += micros(duration);
        }
        let suffix = if fmp4 { ".m4s" } else { ".ts" };
        Stream {
            names: SegmentNames::new("", suffix).expect("a suffix of a URI"),
            version: if fmp4 { Version::Fmp4 } else { Version::MpegTs },
            target_duration,
            media_sequence,
            discontinuity_sequence,
            independent_segments: flags & 2 == 2,
            ends: flags & 4 == 4,
            segments,
        }
    }

    fn listed(&self, first: usize, end: usize) -> &[StreamSegment] {
        self.segments.get(first..end).unwrap_or_default()
    }

    fn may_remove(&self, first: usize, end: usize) -> bool {
        let rest = self.listed(first + 1, end);
        let duration_us: i64 = rest.iter().map(|segment| micros(segment.duration)).sum();
        rest.len() >= 6 && duration_us >= 3_000_000 * i64::from(self.target_duration.get())
    }

    fn header(&self, first: usize, ended: bool) -> MediaPlaylist<'_> {
        let left = self.listed(0, first).iter().filter(|segment| segment.discontinuity).count();
        MediaPlaylist {
            version: self.version,
            target_duration: self.target_duration,
            media_sequence: self.media_sequence + first as u64,
            discontinuity_sequence: self.discontinuity_sequence + left as u64,
            independent_segments: self.independent_segments,
            ended,
            names: &self.names,
            low_latency: None,
            skipped: 0,
            date_ranges: &[],
        }
    }

    fn render(&self, first: usize, end: usize, ended: bool) -> String {
        let segments = self.listed(first, end).iter().map(|segment| Segment {
            duration: segment.duration,
            program_date_time: segment.date,
            discontinuity: segment.discontinuity,
            gap: segment.gap,
            map: segment.map.as_ref().map(Into::into),
            parts: &[],
        });
        let text = self.header(first, ended).render(segments).expect("the window is never empty");
        String::from_utf8(text).expect("a playlist is UTF-8")
    }

    fn assert_read(&self, first: usize, end: usize, ended: bool, read: &MediaText) {
        let header = self.header(first, ended);
        assert_eq!(read.version, Some(if self.version == Version::Fmp4 { 6 } else { 3 }));
        assert_eq!(read.target_duration, Some(u64::from(self.target_duration.get())));
        assert_eq!(read.media_sequence, header.media_sequence);
        assert_eq!(read.discontinuity_sequence, Some(header.discontinuity_sequence));
        assert_eq!(read.independent_segments, self.independent_segments);
        assert_eq!(read.ended, ended);
        let listed = self.listed(first, end);
        assert_eq!(read.segments.len(), listed.len());
        for (read, segment) in read.segments.iter().zip(listed) {
            assert_eq!(read.uri, self.names.name(read.sequence));
            assert_eq!(i64::try_from(read.duration_us), Ok(micros(segment.duration)));
            assert_eq!(read.program_date_time_us, Some(segment.date.unix_millis() * 1_000));
            assert_eq!(read.discontinuities, u64::from(segment.discontinuity));
            assert_eq!(read.gap, segment.gap);
            assert_eq!(read.map.as_deref(), segment.map.as_ref().map(Uri::as_str));
        }
    }

    #[cfg(any(test, feature = "m3u8-rs"))]
    fn assert_m3u8_rs(&self, first: usize, end: usize, ended: bool, text: &str) {
        let header = self.header(first, ended);
        let (rest, read) =
            m3u8_rs::parse_media_playlist(text.as_bytes()).expect("m3u8-rs reads what was rendered");
        assert!(rest.is_empty(), "m3u8-rs left {rest:?}");
        assert_eq!(read.version, Some(if self.version == Version::Fmp4 { 6 } else { 3 }));
        assert_eq!(read.target_duration, u64::from(self.target_duration.get()));
        assert_eq!(read.media_sequence, header.media_sequence);
        assert_eq!(read.discontinuity_sequence, header.discontinuity_sequence);
        assert_eq!(read.independent_segments, self.independent_segments);
        assert_eq!(read.end_list, ended);
        let listed = self.listed(first, end);
        assert_eq!(read.segments.len(), listed.len());
        let mut map = None;
        for ((read, segment), sequence) in read.segments.iter().zip(listed).zip(header.media_sequence..) {
            assert_eq!(read.uri, self.names.name(sequence));
            // Its durations are 32-bit floats.
            let seconds = segment.duration.ticks() as f64 / f64::from(segment.duration.scale().hz());
            assert!((f64::from(read.duration) - seconds).abs() < 2e-6, "{} is not {seconds}", read.duration);
            assert_eq!(
                read.program_date_time.map(|date| date.timestamp_millis()),
                Some(segment.date.unix_millis())
            );
            assert_eq!(read.discontinuity, segment.discontinuity);
            assert_eq!(read.unknown_tags.iter().any(|tag| tag.tag == "X-GAP"), segment.gap);
            map = read.map.as_ref().map(|map| map.uri.as_str()).or(map);
            assert_eq!(map, segment.map.as_ref().map(Uri::as_str));
        }
    }
}

/// Microseconds of a duration, rounded as a playlist rounds.
fn micros(duration: MediaTime) -> i64 {
    Timescale::new(1_000_000).map_or(0, |scale| duration.rescale(scale).ticks())
}

#[cfg(test)]
mod tests {
    use headwater_testkit::seeds::over_seeds;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hls_check_over_seeds() {
        over_seeds("hls_check", hls_check);
    }

    #[test]
    fn hls_render_over_seeds() {
        over_seeds("hls_render", hls_render);
    }

    proptest! {
        #[test]
        fn hls_check_over_bytes(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            hls_check(&data);
        }

        #[test]
        fn hls_check_over_tags(text in "(#EXT(M3U|INF:[0-9.,]{1,8}|-X-(TARGETDURATION|MEDIA-SEQUENCE|DISCONTINUITY-SEQUENCE|VERSION):[0-9]{1,20}|-X-(DISCONTINUITY|GAP|ENDLIST))\n|[a-c].ts\n|\0){0,40}") {
            hls_check(text.as_bytes());
        }

        #[test]
        fn hls_render_over_bytes(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            hls_render(&data);
        }
    }
}

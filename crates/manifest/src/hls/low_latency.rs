//! What low latency adds to a media playlist: parts, the segment under construction, the hint at what comes next and
//! the reports of the other renditions (8216bis 4.4.3.7, 4.4.3.8, 4.4.4.9, 4.4.5.3, 4.4.5.4).

use std::time::Duration;

use headwater_media::{MediaTime, WallTime};

use super::RenderError;
use super::media::SegmentNames;
use super::text::{
    KnownSeconds, Pattern, Uri, UriPieces, micros_beyond, micros_nearest, micros_up, push, push_micros,
    push_u64, replace,
};

/// An EXT-X-PART: a run of whole samples of a segment. Its name follows from its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Media time from its first sample to the next part's, any scale; never above the part target (8216bis 4.4.4.9).
    pub duration: MediaTime,
    /// INDEPENDENT=YES: it starts with a sample that needs none before it.
    pub independent: bool,
}

impl From<&Part> for Part {
    fn from(part: &Part) -> Part {
        *part
    }
}

/// The segment under construction: its parts so far. Without any, nothing of it is written. `P` as for
/// [`Segment`](super::Segment).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge<'a, P = Part> {
    /// As [`Segment::program_date_time`](super::Segment::program_date_time).
    pub program_date_time: WallTime,
    /// As [`Segment::discontinuity`](super::Segment::discontinuity).
    pub discontinuity: bool,
    /// As [`Segment::map`](super::Segment::map).
    pub map: Option<UriPieces<'a>>,
    /// Its parts, from part 0 on.
    pub parts: &'a [P],
}

/// An EXT-X-RENDITION-REPORT: how far another rendition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenditionReport<'a> {
    /// The other media playlist, relative to this one.
    pub uri: &'a Uri,
    /// LAST-MSN: the segment that its last part belongs to, or its last segment.
    pub last_msn: u64,
    /// LAST-PART: the index of its last part.
    pub last_part: Option<u32>,
}

/// An EXT-X-PRELOAD-HINT: the part that comes next, which may be asked for before it exists (8216bis 4.4.5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint<'a> {
    /// The segment it will belong to: the one under construction, or the one after it.
    pub sequence: u64,
    /// Its index there.
    pub part: u32,
    /// A hint of TYPE=MAP beside it, when it needs another initialization section than what is listed.
    pub map: Option<UriPieces<'a>>,
}

/// So much shorter than [`LowLatency::part_target`] a part has to be: it is written as up to that much longer.
pub const PART_DURATION_SLACK: Duration = Duration::from_micros(1);

/// What makes a media playlist a low-latency one. The four durations are constant for the stream and equal in all
/// renditions (8216bis 6.2.4); they are written rounded up to a microsecond. `P` as for [`Segment`](super::Segment).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowLatency<'a, P = Part> {
    /// PART-TARGET; no part is longer.
    pub part_target: Duration,
    /// PART-HOLD-BACK: at least 2, for Apple's players 3 part targets.
    pub part_hold_back: Duration,
    /// HOLD-BACK: at least 3 target durations.
    pub hold_back: Duration,
    /// CAN-SKIP-UNTIL: at least 6 target durations; [`skippable`] makes a number of segments of it.
    pub can_skip_until: Duration,
    /// What follows the last full segment; `None` between a segment's last part and the next one's first.
    pub edge: Option<Edge<'a, P>>,
    /// What comes next. Always there while the playlist runs; not written into one that has ended.
    pub hint: Option<Hint<'a>>,
    /// One for every other media playlist of the presentation.
    pub reports: &'a [RenditionReport<'a>],
}

/// EXT-X-SERVER-CONTROL, EXT-X-PART-INF and EXT-X-SKIP with the longest numbers.
const HEADER_BYTES: usize = 256;
/// What a part's line begins with.
const PART_DURATION: &str = "#EXT-X-PART:DURATION=";
/// What stands in front of the edge's parts, without the URI of its EXT-X-MAP.
const EDGE_BYTES: usize = 96;
/// A part's tag without its name.
const PART_BYTES: usize = 80;
/// A preload hint without its URI.
const HINT_BYTES: usize = 40;
/// A rendition report without its URI.
const REPORT_BYTES: usize = 84;

impl<P> LowLatency<'_, P> {
    /// Bytes of the longest text that all this becomes, and `parts` parts of full segments.
    pub(super) fn len_max(&self, parts: usize, names: &SegmentNames) -> usize {
        let map_len = |map: Option<UriPieces<'_>>| map.map_or(0, |map| map.len());
        let edge = self.edge.as_ref().map_or(0, |edge| EDGE_BYTES + map_len(edge.map));
        let parts = parts + self.edge.as_ref().map_or(0, |edge| edge.parts.len());
        let hint = self.hint.map_or(0, |hint| 2 * HINT_BYTES + names.part_len_max() + map_len(hint.map));
        let reports = self.reports.iter().map(|report| REPORT_BYTES + report.uri.as_str().len());
        HEADER_BYTES + edge + parts * (PART_BYTES + names.part_len_max()) + hint + reports.sum::<usize>()
    }

    /// The tags between the target duration and the numbers.
    pub(super) fn push_header(&self, out: &mut Vec<u8>) {
        // No attribute is ever written with NO: Shaka looks only for its name (8216bis 4.4.3.8).
        push(out, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=");
        push_micros(out, micros_up(self.part_hold_back));
        push(out, ",HOLD-BACK=");
        push_micros(out, micros_up(self.hold_back));
        push(out, ",CAN-SKIP-UNTIL=");
        push_micros(out, micros_up(self.can_skip_until));
        push(out, "\n#EXT-X-PART-INF:PART-TARGET=");
        push_micros(out, micros_up(self.part_target));
        out.push(b'\n');
    }

    /// The tags behind all parts: hints, unless the playlist has `ended`, and reports.
    pub(super) fn push_trailer(
        &self,
        out: &mut Vec<u8>,
        names: &SegmentNames,
        ended: bool,
    ) -> Result<(), RenderError> {
        // 8216bis 6.2.1: with EXT-X-ENDLIST nothing follows any more.
        if let Some(hint) = self.hint.filter(|_| !ended) {
            if let Some(map) = hint.map {
                push(out, "#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"");
                map.push(out)?;
                push(out, "\"\n");
            }
            push(out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"");
            names.push_part(out, hint.sequence, u64::from(hint.part));
            push(out, "\"\n");
        }
        for report in self.reports {
            push(out, "#EXT-X-RENDITION-REPORT:URI=\"");
            push(out, report.uri.as_str());
            push(out, "\",LAST-MSN=");
            push_u64(out, report.last_msn);
            if let Some(part) = report.last_part {
                push(out, ",LAST-PART=");
                push_u64(out, u64::from(part));
            }
            out.push(b'\n');
        }
        Ok(())
    }
}

/// Appends the EXT-X-PART tags of segment `sequence`; those of a gap are gaps themselves (8216bis 4.4.4.7).
///
/// Each is said to last up to a microsecond longer than it does, so that each further part begins a little later than it does, and more so
/// than the one before. Shaka 5.2.12 places a part by where the ones before it end, and sets its buffer's offset a millisecond further than
/// it computes where that is negative (its remedy for an old browser). A part that begins where it should is then a millisecond off,
/// which is its limit: the last bit of a fraction decides whether it resets the buffer, which drops every picture up to the next
/// keyframe, at every part.
pub(super) fn push_parts<P>(out: &mut Vec<u8>, names: &SegmentNames, sequence: u64, parts: &[P], gap: bool)
where
    Part: for<'p> From<&'p P>,
{
    let mut known = KnownSeconds::default();
    let mut pattern: Option<(bool, Pattern)> = None;
    for (index, part) in (0_u64..).zip(parts) {
        let Part { duration, independent } = Part::from(part);
        let seconds = known.text(duration, micros_beyond);
        // Most lines are those before them but for the duration and the index.
        if let (Some(seconds), Some((of, pattern))) = (seconds, &pattern)
            && *of == independent
            && let Some(line) = pattern.push(out, index)
        {
            replace(line, PART_DURATION.len(), &seconds);
            continue;
        }
        let start = out.len();
        push(out, PART_DURATION);
        push_micros(out, micros_beyond(duration));
        push(out, ",URI=\"");
        let place = names.push_part(out, sequence, index);
        push(out, if independent { "\",INDEPENDENT=YES" } else { "\"" });
        push(out, if gap { ",GAP=YES\n" } else { "\n" });
        pattern = seconds.map(|_| (independent, Pattern::new(out, start, index, &place)));
    }
}

/// How many segments a delta update may leave out: those that lie wholly beyond `can_skip_until`, measured back from the
/// end of the last full segment (8216bis 4.4.3.8, 6.2.5.1). 0 means that the full playlist is the answer.
///
/// `durations` are those of the full segments, the oldest first. The newest one is never left out.
pub fn skippable(
    can_skip_until: Duration,
    durations: impl IntoIterator<Item = MediaTime, IntoIter: DoubleEndedIterator>,
) -> u64 {
    // What a client reads is what counts, so both are taken as they are written.
    let boundary = micros_up(can_skip_until);
    let mut newest_first = durations.into_iter().rev();
    let mut kept = 0_u64;
    for duration in newest_first.by_ref() {
        kept = kept.saturating_add(micros_nearest(duration));
        if kept >= boundary {
            break;
        }
    }
    newest_first.count() as u64
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use headwater_media::Timescale;

    use super::super::{MediaPlaylist, RenderError, Segment, Version, check::merge_delta};
    use super::*;

    const PART: Part = Part { duration: MediaTime::new(45_000, Timescale::MPEG), independent: false };
    const KEY: Part = Part { independent: true, ..PART };

    fn time(ms: i64) -> WallTime {
        WallTime::from_unix_millis(1_769_860_800_000 + ms)
    }

    fn second(n: i64) -> MediaTime {
        MediaTime::new(90_000 * n, Timescale::MPEG)
    }

    fn low_latency<'a>() -> LowLatency<'a> {
        LowLatency {
            part_target: Duration::from_millis(500),
            part_hold_back: Duration::from_millis(1_500),
            hold_back: Duration::from_secs(3),
            can_skip_until: Duration::from_secs(6),
            edge: None,
            hint: None,
            reports: &[],
        }
    }

    fn playlist<'a>(low_latency: LowLatency<'a>, names: &'a SegmentNames) -> MediaPlaylist<'a> {
        let playlist = MediaPlaylist::live(Version::LowLatency, NonZeroU32::MIN, 70, names);
        MediaPlaylist { low_latency: Some(low_latency), ..playlist }
    }

    fn names() -> SegmentNames {
        SegmentNames::new("", ".m4s").unwrap()
    }

    fn rendered(playlist: &MediaPlaylist<'_>, segments: &[Segment<'_>]) -> String {
        String::from_utf8(playlist.render(segments.iter().copied()).unwrap()).unwrap()
    }

    const HEADER: &str = "#EXTM3U\n\
        #EXT-X-VERSION:9\n\
        #EXT-X-INDEPENDENT-SEGMENTS\n\
        #EXT-X-TARGETDURATION:1\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.500000,HOLD-BACK=3.000000,CAN-SKIP-UNTIL=6.000000\n\
        #EXT-X-PART-INF:PART-TARGET=0.500000\n\
        #EXT-X-MEDIA-SEQUENCE:70\n\
        #EXT-X-DISCONTINUITY-SEQUENCE:0\n";

    #[test]
    fn byte_for_byte() {
        let (names, init, next) = (names(), Uri::new("init-a.mp4").unwrap(), Uri::new("init-b.mp4").unwrap());
        let audio = Uri::new("../audio/media.m3u8").unwrap();
        let segment =
            |n: i64| Segment { map: Some((&init).into()), ..Segment::new(second(1), time(n * 1_000)) };
        let segments = [
            segment(0),
            Segment { parts: &[KEY, PART], ..segment(1) },
            Segment { parts: &[PART, PART], gap: true, ..segment(2) },
        ];
        let short = Part { duration: MediaTime::new(2, Timescale::new(3).unwrap()), independent: true };
        let reports = [
            RenditionReport { uri: &audio, last_msn: 73, last_part: Some(1) },
            RenditionReport { uri: &next, last_msn: 72, last_part: None },
        ];
        let edge = Edge {
            program_date_time: time(9_000),
            discontinuity: true,
            map: Some((&next).into()),
            parts: &[short, PART],
        };
        let playlist = playlist(
            LowLatency {
                edge: Some(edge),
                hint: Some(Hint { sequence: 73, part: 2, map: None }),
                reports: &reports,
                ..low_latency()
            },
            &names,
        );
        let body = "#EXT-X-MAP:URI=\"init-a.mp4\"\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:00.000Z\n\
            #EXTINF:1.000000,\n\
            70.m4s\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:01.000Z\n\
            #EXT-X-PART:DURATION=0.500001,URI=\"71.0.m4s\",INDEPENDENT=YES\n\
            #EXT-X-PART:DURATION=0.500001,URI=\"71.1.m4s\"\n\
            #EXTINF:1.000000,\n\
            71.m4s\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:02.000Z\n\
            #EXT-X-GAP\n\
            #EXT-X-PART:DURATION=0.500001,URI=\"72.0.m4s\",GAP=YES\n\
            #EXT-X-PART:DURATION=0.500001,URI=\"72.1.m4s\",GAP=YES\n\
            #EXTINF:1.000000,\n\
            72.m4s\n";
        let edge = "#EXT-X-DISCONTINUITY\n\
            #EXT-X-MAP:URI=\"init-b.mp4\"\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:09.000Z\n\
            #EXT-X-PART:DURATION=0.666667,URI=\"73.0.m4s\",INDEPENDENT=YES\n\
            #EXT-X-PART:DURATION=0.500001,URI=\"73.1.m4s\"\n";
        let hint = "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"73.2.m4s\"\n";
        let reports = "#EXT-X-RENDITION-REPORT:URI=\"../audio/media.m3u8\",LAST-MSN=73,LAST-PART=1\n\
            #EXT-X-RENDITION-REPORT:URI=\"init-b.mp4\",LAST-MSN=72\n";
        assert_eq!(rendered(&playlist, &segments), format!("{HEADER}{body}{edge}{hint}{reports}"));
        let ended = MediaPlaylist { ended: true, skipped: 1, ..playlist };
        assert_eq!(
            rendered(&ended, &segments),
            format!("{HEADER}{body}{edge}{reports}#EXT-X-ENDLIST\n"),
            "the end hints at nothing and skips nothing"
        );
        let plain = MediaPlaylist { low_latency: None, skipped: 1, ..playlist };
        let without = rendered(&plain, &segments);
        assert!(!without.contains("#EXT-X-PART") && !without.contains("#EXT-X-SKIP"), "{without}");
    }

    #[test]
    fn parts_made_of_the_ones_before_are_those_written_anew() {
        let names = names();
        // Indices get another digit twice, durations change, some parts are independent, and one is too long for the short form.
        let durations = [45_000, 45_000, 44_955, 90_000];
        let ticks = |n: usize| if n == 50 { 1_125_000 } else { durations[n % 4] };
        let part = |n: usize| Part {
            duration: MediaTime::new(ticks(n), Timescale::MPEG),
            independent: n.is_multiple_of(30),
        };
        let parts: Vec<Part> = (0..120).map(part).collect();
        for gap in [false, true] {
            let mut out = b"in front".to_vec();
            push_parts(&mut out, &names, 9, &parts, gap);
            let lines = parts.iter().enumerate().map(|(index, part)| {
                let micros = part.duration.ticks() * 100 / 9 + 1;
                let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
                let independent = if part.independent { ",INDEPENDENT=YES" } else { "" };
                let gap = if gap { ",GAP=YES" } else { "" };
                format!("#EXT-X-PART:DURATION={seconds}.{rest:06},URI=\"9.{index}.m4s\"{independent}{gap}\n")
            });
            assert_eq!(String::from_utf8(out).unwrap(), format!("in front{}", lines.collect::<String>()));
        }
    }

    #[test]
    fn hints_at_a_border() {
        let (names, init) = (names(), Uri::new("init-b.mp4").unwrap());
        let date = "#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:00.000Z\n";
        let hint = Hint { sequence: 71, part: 0, map: Some((&init).into()) };
        let empty = Edge {
            program_date_time: time(1_000),
            discontinuity: true,
            map: Some((&init).into()),
            parts: &[],
        };
        for edge in [None, Some(empty)] {
            let playlist = playlist(LowLatency { edge, hint: Some(hint), ..low_latency() }, &names);
            assert_eq!(
                rendered(&playlist, &[Segment { parts: &[KEY, PART], ..Segment::new(second(1), time(0)) }]),
                format!(
                    "{HEADER}{date}\
                     #EXT-X-PART:DURATION=0.500001,URI=\"70.0.m4s\",INDEPENDENT=YES\n\
                     #EXT-X-PART:DURATION=0.500001,URI=\"70.1.m4s\"\n\
                     #EXTINF:1.000000,\n\
                     70.m4s\n\
                     #EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"init-b.mp4\"\n\
                     #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"71.0.m4s\"\n"
                ),
                "{edge:?}"
            );
        }
    }

    #[test]
    fn a_delta_update_byte_for_byte_and_applied() {
        let (names, a, b) = (names(), Uri::new("init-a.mp4").unwrap(), Uri::new("init-b.mp4").unwrap());
        let segments: Vec<_> = (0..12)
            .map(|n| Segment {
                map: Some(if n < 10 { (&a).into() } else { (&b).into() }),
                discontinuity: n == 10,
                parts: if n == 11 { &[KEY, PART] } else { &[] },
                ..Segment::new(second(1), time(n * 1_000))
            })
            .collect();
        let edge = Edge {
            program_date_time: time(12_000),
            discontinuity: false,
            map: Some((&b).into()),
            parts: &[KEY],
        };
        let hint = Hint { sequence: 82, part: 1, map: None };
        let full = playlist(LowLatency { edge: Some(edge), hint: Some(hint), ..low_latency() }, &names);
        let skipped = skippable(Duration::from_secs(6), segments.iter().map(|segment| segment.duration));
        let delta = MediaPlaylist { skipped, ..full };
        let text = rendered(&delta, &segments);
        assert_eq!(
            text,
            format!(
                "{HEADER}\
                 #EXT-X-SKIP:SKIPPED-SEGMENTS=6\n\
                 #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:06.000Z\n\
                 #EXTINF:1.000000,\n\
                 76.m4s\n\
                 #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:07.000Z\n\
                 #EXTINF:1.000000,\n\
                 77.m4s\n\
                 #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:08.000Z\n\
                 #EXTINF:1.000000,\n\
                 78.m4s\n\
                 #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:09.000Z\n\
                 #EXTINF:1.000000,\n\
                 79.m4s\n\
                 #EXT-X-DISCONTINUITY\n\
                 #EXT-X-MAP:URI=\"init-b.mp4\"\n\
                 #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:10.000Z\n\
                 #EXTINF:1.000000,\n\
                 80.m4s\n\
                 #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:11.000Z\n\
                 #EXT-X-PART:DURATION=0.500001,URI=\"81.0.m4s\",INDEPENDENT=YES\n\
                 #EXT-X-PART:DURATION=0.500001,URI=\"81.1.m4s\"\n\
                 #EXTINF:1.000000,\n\
                 81.m4s\n\
                 #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:12.000Z\n\
                 #EXT-X-PART:DURATION=0.500001,URI=\"82.0.m4s\",INDEPENDENT=YES\n\
                 #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"82.1.m4s\"\n"
            )
        );
        // The version before: segment 81 was under construction, and 68 and 69 were listed, which stated the MAP.
        let before: Vec<_> = [0, 1].map(|_| segments[0]).into_iter().chain(segments[..11].to_vec()).collect();
        let edge = Edge { program_date_time: time(11_000), parts: &[KEY, PART], ..edge };
        let before = rendered(
            &MediaPlaylist {
                media_sequence: 68,
                low_latency: Some(LowLatency { edge: Some(edge), ..low_latency() }),
                ..full
            },
            &before,
        );
        assert_eq!(merge_delta(&before, &text), Ok(rendered(&full, &segments)));
        let all = MediaPlaylist { skipped: 12, ..full };
        assert_eq!(all.render(segments.iter().copied()), Err(RenderError::NoSegments));
    }

    #[test]
    fn segments_that_may_be_skipped() {
        for (name, boundary_ms, seconds, expected) in [
            ("none", 6_000, vec![], 0),
            ("too few", 6_000, vec![2, 2], 0),
            ("just enough", 6_000, vec![2, 2, 2], 0),
            ("one more", 6_000, vec![2, 2, 2, 2], 1),
            ("the one across the boundary stays", 6_001, vec![2, 2, 2, 2], 0),
            ("the oldest are the first", 6_000, vec![1, 1, 1, 6], 3),
            ("long ones", 6_000, vec![6, 1, 1], 0),
            ("the newest stays", 0, vec![1, 1, 1], 2),
        ] {
            let durations = seconds.into_iter().map(second);
            assert_eq!(skippable(Duration::from_millis(boundary_ms), durations), expected, "{name}");
        }
    }

    #[test]
    fn one_allocation_holds_the_longest_parts() {
        let names = SegmentNames::new("a-long-prefix/", ".m4s").unwrap();
        let uri = Uri::new("x".repeat(300)).unwrap();
        let longest = Part { duration: second(1 << 40), independent: true };
        let parts = [longest; 40];
        let reports = [RenditionReport { uri: &uri, last_msn: u64::MAX, last_part: Some(u32::MAX) }; 3];
        let edge =
            Edge { program_date_time: time(0), discontinuity: true, map: Some((&uri).into()), parts: &parts };
        let low_latency = LowLatency {
            part_target: Duration::MAX,
            part_hold_back: Duration::MAX,
            hold_back: Duration::MAX,
            can_skip_until: Duration::MAX,
            edge: Some(edge),
            hint: Some(Hint { sequence: u64::MAX, part: u32::MAX, map: Some((&uri).into()) }),
            reports: &reports,
        };
        let mut playlist = playlist(low_latency, &names);
        playlist.media_sequence = u64::MAX - 100;
        let segment =
            Segment { discontinuity: true, gap: true, parts: &parts, ..Segment::new(second(1), time(0)) };
        for count in [1_usize, 2, 30] {
            let segments = std::iter::repeat_n(segment, count);
            for skipped in [0, count - 1] {
                let delta = MediaPlaylist { skipped: skipped as u64, ..playlist };
                let out = delta.render(segments.clone()).unwrap();
                let plain = MediaPlaylist { low_latency: None, ..playlist };
                let plain = plain.render(segments.clone().skip(skipped)).unwrap();
                let expected = plain.capacity() + low_latency.len_max(40 * (count - skipped), &names);
                assert_eq!(out.capacity(), expected, "{count} segments took {} bytes", out.len());
            }
        }
    }
}

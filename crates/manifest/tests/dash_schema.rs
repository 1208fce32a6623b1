//! Every shape of MPD that is served, validated by `xmllint` against the schema of ISO/IEC 23009-1 (5th edition).
//!
//! The schema files are not part of the repository (ISO's terms): they are read from `shared/schemas` beside the checkout.

use std::io::Write as _;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use headwater_manifest::dash::check::Checker;
use headwater_manifest::dash::{
    AdaptationSet, Audio, Latency, Media, Mpd, Period, ProducerReference, Regular, Representation,
    SegmentTemplate, Segments, TimelineSegment, Video,
};
use headwater_media::{Timescale, WallTime};

type Timeline = std::vec::IntoIter<TimelineSegment>;

/// Seconds from 2000-01-01 to 2026-01-31T12:00:00Z, where the first Period starts.
const START_S: u64 = 823_176_000;

fn schema() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/schemas/DASH-MPD.xsd");
    assert!(path.is_file(), "{} is missing: the schemas lie in shared/ beside the checkout", path.display());
    path
}

/// What `xmllint` says about the text: its exit status (0 valid, 3 invalid) and its words.
fn validate(text: &[u8]) -> (Option<i32>, String) {
    let mut child = Command::new("xmllint")
        .args(["--nonet", "--noout", "--schema"])
        .arg(schema())
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("xmllint runs (package libxml2-utils)");
    child.stdin.take().expect("it is piped").write_all(text).expect("xmllint reads its input");
    let output = child.wait_with_output().expect("xmllint ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn timeline(first: u64, end: u64, origin: u64, d: fn(u64) -> u64) -> Timeline {
    let mut t = origin + (0..first).map(d).sum::<u64>();
    let segment = |n| {
        let segment = TimelineSegment { t, d: d(n) };
        t += segment.d;
        segment
    };
    (first..end).map(segment).collect::<Vec<_>>().into_iter()
}

/// Two-second segments `first..end` of a Period whose own first is `origin`.
fn video(origin: u64, first: u64, end: u64) -> AdaptationSet<'static, Timeline> {
    AdaptationSet {
        id: 0,
        lang: None,
        representation: Representation {
            id: "v",
            bandwidth: NonZeroU64::new(5_200_000).expect("it is not 0"),
            codecs: "avc1.64001f",
            media: Media::Video(Video {
                width: 1_280,
                height: 720,
                sample_aspect_ratio: (1, 1),
                frame_rate: Some((30_000, 1_001)),
            }),
        },
        producer_reference: None,
        event_schemes: &["https://aomedia.org/emsg/ID3", "urn:scte:scte35:2013:bin"],
        template: SegmentTemplate {
            timescale: Timescale::MPEG,
            presentation_time_offset: 3_888_000_000 + origin * 180_180,
            start_number: 1_769_860_800 + first,
            initialization: ["v/init-3fa1.mp4", "", "", ""],
            media: "v/$Number$.m4s",
            segments: Segments::Timeline(timeline(first, end, 3_888_000_000, |_| 180_180)),
        },
    }
}

fn audio(origin: u64, first: u64, end: u64) -> AdaptationSet<'static, Timeline> {
    let d = |n| if n % 4 == 3 { 95_232 } else { 96_256 };
    let before: u64 = (0..origin).map(d).sum();
    AdaptationSet {
        id: 1,
        lang: Some("en"),
        representation: Representation {
            id: "a",
            bandwidth: NonZeroU64::new(131_072).expect("it is not 0"),
            codecs: "mp4a.40.2",
            media: Media::Audio(Audio { sampling_rate: 48_000, channels: 2 }),
        },
        producer_reference: None,
        event_schemes: &[],
        template: SegmentTemplate {
            timescale: Timescale::new(48_000).expect("a rate of audio"),
            presentation_time_offset: 2_073_600_000 + before,
            start_number: 1_769_860_800 + first,
            initialization: ["a/", "init-", "77b2", ".mp4"],
            media: "a/$Number$.m4s",
            segments: Segments::Timeline(timeline(first, end, 2_073_600_000, d)),
        },
    }
}

fn mpd(end: u64, periods: Vec<Period<'static, Timeline>>) -> Mpd<'static, Timeline> {
    let started = WallTime::from_unix_millis(1_769_860_800_000);
    Mpd {
        availability_start_time: WallTime::from_unix_millis(946_684_800_000),
        publish_time: started.offset_by(i64::try_from(end * 2_002).expect("a small number") + 60),
        minimum_update_period: Duration::from_secs(2),
        min_buffer_time: Duration::from_secs(2),
        time_shift_buffer_depth: Duration::from_secs(20),
        suggested_presentation_delay: Duration::from_secs(6),
        max_segment_duration: Duration::from_millis(2_006),
        ended: None,
        utc_timing: Some("http://example.org:8080/time"),
        latency: None,
        periods,
    }
}

fn period(sets: Vec<AdaptationSet<'static, Timeline>>) -> Period<'static, Timeline> {
    Period {
        id: 1_769_860_800,
        start: Duration::from_secs(START_S),
        duration: None,
        continuity_of: None,
        adaptation_sets: sets,
    }
}

fn both(first: u64, end: u64) -> Vec<AdaptationSet<'static, Timeline>> {
    vec![video(0, first, end), audio(0, first, end)]
}

/// Every shape that is served; those of one stream in the order in which they come.
fn shapes() -> Vec<(&'static str, Mpd<'static, Timeline>)> {
    let reconnected = |first, end| {
        let mut before = period(both(first, 10));
        before.duration = Some(Duration::from_millis(20_020));
        let mut after = period(vec![video(10, 10, end), audio(10, 10, end)]);
        after.id += 10;
        after.start += Duration::from_millis(24_500);
        after.continuity_of = Some(before.id);
        mpd(end + 3, vec![before, after])
    };
    let mut ended = reconnected(6, 14);
    ended.ended = Some(Duration::from_millis(START_S * 1_000 + 24_500 + 4 * 2_002));
    ended.publish_time = ended.publish_time.offset_by(3_000);
    vec![
        ("the first segment", mpd(1, vec![period(both(0, 1))])),
        ("running", mpd(10, vec![period(both(2, 10))])),
        ("two Periods", reconnected(3, 11)),
        ("two Periods, later", reconnected(6, 14)),
        ("ended", ended),
    ]
}

/// Other streams.
fn other_shapes() -> Vec<(&'static str, Mpd<'static, Timeline>)> {
    let mut bare = mpd(3, vec![period(both(0, 3))]);
    bare.utc_timing = None;
    for set in &mut bare.periods[0].adaptation_sets {
        set.lang = None;
        match &mut set.representation.media {
            Media::Video(video) => (video.frame_rate, video.sample_aspect_ratio) = (None, (0, 0)),
            Media::Audio(audio) => audio.channels = 0,
        }
    }
    let mut escaped = mpd(3, vec![period(both(0, 3))]);
    escaped.utc_timing = Some("https://example.org/time?a=1&b=2");
    for set in &mut escaped.periods[0].adaptation_sets {
        set.representation.id = "<a&\"b\">'\u{e9}";
        set.template.media = "<a&\"b\">'\u{e9}/$Number%05d$.m4s?a&b";
        set.lang = Some("zh-Hant-TW");
    }
    let mut low_latency = mpd(3, vec![period(both(0, 3))]);
    low_latency.latency = Some(Latency {
        target: Duration::from_millis(1_200),
        min: Duration::from_millis(600),
        max: Duration::from_secs(4),
        playback_rate_percent: (96, 104),
    });
    low_latency.periods[0].continuity_of = Some(7);
    for set in &mut low_latency.periods[0].adaptation_sets {
        let availability_time_offset = Duration::from_millis(1_788);
        let duration = u64::from(set.template.timescale.hz()) * 2;
        set.template.segments = Segments::Regular(Regular { duration, availability_time_offset });
        set.producer_reference = Some(ProducerReference {
            wall_clock: WallTime::from_unix_millis(1_769_860_800_250),
            presentation_time: set.template.presentation_time_offset,
            inband: true,
        });
    }
    let mut large = mpd(3, vec![period(vec![video(0, 0, 3)])]);
    large.periods[0].adaptation_sets[0].template.start_number = u32::MAX.into();
    large.periods[0].adaptation_sets[0].representation.bandwidth = NonZeroU64::MAX;
    let hevc = |mut set: AdaptationSet<'static, Timeline>| {
        set.representation.codecs = "hvc1.1.6.L93.B0";
        set
    };
    vec![
        ("audio only", mpd(10, vec![period(vec![audio(0, 2, 10)])])),
        ("video only", mpd(10, vec![period(vec![video(0, 2, 10)])])),
        ("without what is optional", bare),
        ("strings to escape", escaped),
        ("low latency", low_latency),
        ("the largest numbers", large),
        ("another codec", mpd(3, vec![period(vec![hevc(video(0, 0, 3))])])),
    ]
}

#[test]
fn every_shape_is_valid() {
    for (name, mpd) in shapes().into_iter().chain(other_shapes()) {
        let text = mpd.render().expect("it can be rendered");
        let (status, words) = validate(&text);
        assert_eq!(status, Some(0), "{name}: {words}\n{}", String::from_utf8_lossy(&text));
    }
}

#[test]
fn the_schema_sees_an_element_out_of_order() {
    let text = mpd(1, vec![period(both(0, 1))]).render().expect("it can be rendered");
    let text = String::from_utf8(text).expect("an MPD is UTF-8");
    let (timing, _) = text.split_once("<UTCTiming ").expect("it has a clock");
    let timing = text.strip_prefix(timing).and_then(|rest| rest.lines().next()).expect("a line of its own");
    let moved = text.replace(timing, "").replace("<Period ", &format!("{timing}<Period "));
    assert_eq!(validate(moved.as_bytes()).0, Some(3));
}

#[test]
fn the_checker_finds_nothing_in_a_stream_from_start_to_end() {
    let mut checker = Checker::new();
    for (name, mpd) in shapes() {
        let text = String::from_utf8(mpd.render().expect("it can be rendered")).expect("an MPD is UTF-8");
        let found = checker.observe(&text, Some(mpd.publish_time));
        // The window jumps by more than it holds between these shapes.
        let found: Vec<_> = found.iter().filter(|finding| !finding.message.contains("never seen")).collect();
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}

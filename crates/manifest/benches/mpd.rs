//! Rendering of an MPD of two sets with 30 segments each, beside a plain copy of its bytes and the checker that reads it
//! back: the ratios are what counts. `cargo bench -p headwater-manifest --bench mpd`.

use std::num::NonZeroU64;
use std::time::Duration;

use divan::{Bencher, black_box};
use headwater_manifest::dash::check::Checker;
use headwater_manifest::dash::{
    AdaptationSet, Audio, Media, Mpd, Period, Representation, SegmentTemplate, Segments, TimelineSegment,
    Video,
};
use headwater_media::{Timescale, WallTime};

fn main() {
    divan::main();
}

type Timeline<'a> = std::iter::Copied<std::slice::Iter<'a, TimelineSegment>>;

fn timeline(origin: u64, d: impl Fn(u64) -> u64) -> Vec<TimelineSegment> {
    let mut t = origin;
    let segment = |n| {
        let segment = TimelineSegment { t, d: d(n) };
        t += segment.d;
        segment
    };
    (0..30).map(segment).collect()
}

/// Video of one duration, one `S`; audio that alternates as 48 kHz AAC beside two-second video does, 15 of them.
fn timelines() -> [Vec<TimelineSegment>; 2] {
    [
        timeline(3_888_000_000, |_| 180_000),
        timeline(2_073_600_000, |n| if n % 4 == 3 { 95_232 } else { 96_256 }),
    ]
}

fn mpd<'a>([video, audio]: &'a [Vec<TimelineSegment>; 2]) -> Mpd<'a, Timeline<'a>> {
    let template = |hz, folder: (&'a str, &'a str), timeline: &'a [TimelineSegment]| SegmentTemplate {
        timescale: Timescale::new(hz).expect("a timescale"),
        presentation_time_offset: u64::from(hz) * 43_200,
        start_number: 1_769_860_800,
        initialization: [folder.0, "init-", "3fa1", ".mp4"],
        media: folder.1,
        segments: Segments::Timeline(timeline.iter().copied()),
    };
    let representation = |id, bandwidth, codecs, media| Representation {
        id,
        bandwidth: NonZeroU64::new(bandwidth).expect("it is not 0"),
        codecs,
        media,
    };
    let pictures =
        Video { width: 1_280, height: 720, sample_aspect_ratio: (1, 1), frame_rate: Some((30, 1)) };
    let sound = Audio { sampling_rate: 48_000, channels: 2 };
    Mpd {
        availability_start_time: WallTime::from_unix_millis(946_684_800_000),
        publish_time: WallTime::from_unix_millis(1_769_860_860_100),
        minimum_update_period: Duration::from_secs(2),
        min_buffer_time: Duration::from_secs(2),
        time_shift_buffer_depth: Duration::from_secs(60),
        suggested_presentation_delay: Duration::from_secs(6),
        max_segment_duration: Duration::from_millis(2_006),
        ended: None,
        utc_timing: Some("http://127.0.0.1:8080/time"),
        latency: None,
        periods: vec![Period {
            id: 1_769_860_800,
            start: Duration::from_millis(823_176_000_250),
            duration: None,
            continuity_of: None,
            adaptation_sets: vec![
                AdaptationSet {
                    id: 0,
                    lang: None,
                    representation: representation("v", 5_200_000, "avc1.64001f", Media::Video(pictures)),
                    producer_reference: None,
                    event_schemes: &[],
                    template: template(90_000, ("v/", "v/$Number$.m4s"), video),
                },
                AdaptationSet {
                    id: 1,
                    lang: None,
                    representation: representation("a", 131_072, "mp4a.40.2", Media::Audio(sound)),
                    producer_reference: None,
                    event_schemes: &[],
                    template: template(48_000, ("a/", "a/$Number$.m4s"), audio),
                },
            ],
        }],
    }
}

#[divan::bench]
fn headwater(bencher: Bencher<'_, '_>) {
    let timelines = timelines();
    let mpd = mpd(&timelines);
    bencher.bench_local(|| black_box(&mpd).render());
}

#[divan::bench]
fn headwater_with_the_model(bencher: Bencher<'_, '_>) {
    let timelines = timelines();
    bencher.bench_local(|| mpd(black_box(&timelines)).render());
}

#[divan::bench]
fn copy(bencher: Bencher<'_, '_>) {
    let text = mpd(&timelines()).render().expect("every set has segments");
    bencher.bench_local(|| black_box(&text).clone());
}

#[divan::bench]
fn checker(bencher: Bencher<'_, '_>) {
    let text = mpd(&timelines()).render().expect("every set has segments");
    let text = String::from_utf8(text).expect("an MPD is UTF-8");
    bencher.bench_local(|| Checker::new().observe(black_box(&text), None));
}

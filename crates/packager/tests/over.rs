//! Over a crash of the server: the MPDs list the Period that players play as over, until they have seen it.

mod world;

use std::time::Duration;

use headwater_flv::Tag;
use headwater_manifest::dash::check::{Checker, MpdText, PeriodText};
use headwater_media::Cause;
use headwater_packager::{Config, NotedPeriod, Numbering, Packager};

use world::{World, clip, tags};

/// What a process that was killed in the middle of a segment left in `world`: its note and where numbers go on.
fn killed(world: &World) -> (NotedPeriod, Numbering) {
    let noted = world.packager.noted_period().unwrap();
    let text = serde_json::to_string(&noted).unwrap();
    assert!(text.len() < 800, "{}: {text}", text.len());
    let (next, discontinuity_sequence) = world.packager.numbers();
    let numbering = Numbering { media_sequence: next + 1, discontinuity_sequence, resumed: true };
    (serde_json::from_str(&text).unwrap(), numbering)
}

/// A stream of some 16 s, in the middle of it.
fn live(config: &Config, tags: &[Tag]) -> World {
    let mut world = World::new(config);
    world.begin();
    for _ in 0..2 {
        let shift_ms = u32::try_from(world.now.as_millis()).unwrap();
        world.publish(tags.iter(), shift_ms);
    }
    world
}

/// What each MPD says, read.
fn mpds(world: &World) -> [Option<MpdText>; 2] {
    let snapshot = world.snapshot();
    [snapshot.mpd(Some("http://localhost/time")), snapshot.low_latency_mpd(Some("http://localhost/time"))]
        .map(|text| {
            let text = String::from_utf8(text?).unwrap();
            let mut checker = Checker::new();
            let findings = checker.observe(&text, Some(world.clock().wall));
            let errors = findings
                .iter()
                .filter(|found| found.severity == headwater_manifest::dash::check::Severity::Error);
            assert_eq!(errors.count(), 0, "{findings:?}\n{text}");
            checker.mpd().cloned()
        })
}

/// Presentation time at which a Period ends.
fn end_us(period: &PeriodText) -> i64 {
    period.start_us.unwrap() + period.duration_us.unwrap()
}

#[test]
fn the_period_of_a_crash_is_listed_as_over() {
    for coding in ["clip.flv", "plain.flv"] {
        let config = Config::default();
        let mut before = live(&config, &tags(clip("clip.flv")));
        let [was, was_low_latency] = mpds(&before);
        let (noted, numbering) = killed(&before);
        let known = was.unwrap().periods.last().unwrap().clone();
        let last = before.packager.numbers().0 - 1;
        before.now += Duration::from_secs(2);

        // Its successor: nothing to list before the publisher is back.
        let mut world = World::resumed(&config, numbering);
        world.now = before.now;
        // A part ends where one clip does and another begins.
        world.uneven = true;
        assert!(world.packager.list_as_over(&noted));
        world.follow();
        assert!(world.snapshot().mpd(None).is_none() && world.snapshot().low_latency_mpd(None).is_none());
        world.begin();
        let began = world.now;
        let tags = tags(clip(coding));
        let (head, rest): (Vec<&Tag>, Vec<&Tag>) = tags.iter().partition(|tag| tag.timestamp_ms < 3_000);
        world.publish(head.iter().copied(), 0);
        let [mpd, low_latency] = mpds(&world);
        for (known, mpd) in [(Some(&known), mpd), (was_low_latency.unwrap().periods.last(), low_latency)] {
            let (known, mpd) = (known.unwrap(), mpd.unwrap());
            let [over, new] = &mpd.periods[..] else { panic!("two Periods: {mpd:?}") };
            assert_eq!((&over.id, over.start_us), (&known.id, known.start_us));
            // The last segments are not promised: it ends before them, and all of it before what the time shift buffer holds.
            let behind_us = new.start_us.unwrap() - end_us(over);
            assert!((5_900_000..8_100_000).contains(&behind_us), "{behind_us}");
            assert!(over.representations().count() == 2, "{over:?}");
            for (is, was) in over.representations().zip(known.representations()) {
                assert_eq!((&is.id, &is.codecs, is.resolution), (&was.id, &was.codecs, was.resolution));
                assert_eq!(
                    (&is.frame_rate, &is.audio_sampling_rate),
                    (&was.frame_rate, &was.audio_sampling_rate)
                );
                let (is, was) = (is.template.as_ref().unwrap(), was.template.as_ref().unwrap());
                assert_eq!((&is.initialization, &is.media), (&was.initialization, &was.media));
                assert_eq!(is.presentation_time_offset, was.presentation_time_offset);
                assert_eq!((is.timescale, is.duration), (was.timescale, was.duration));
                let listed: Vec<_> = is.segments().collect();
                assert!(listed.iter().all(|segment| was.segments().any(|was| was == *segment)));
                assert_eq!(listed.len(), usize::from(was.timeline.is_some()));
                assert!(listed.iter().all(|(number, ..)| (last - 3..last).contains(number)), "{listed:?}");
            }
            assert!(new.id.as_ref().unwrap().parse::<u64>().unwrap() == numbering.media_sequence);
            // No more is promised than is listed, or three target durations.
            assert_eq!(mpd.time_shift_buffer_depth_us, Some(6_000_000));
        }
        world.now = began;
        world.publish(rest.iter().copied(), 0);
        let shift_ms = u32::try_from((world.now - began).as_millis()).unwrap();
        world.publish(tags.iter(), shift_ms);
        for mpd in mpds(&world).into_iter().flatten() {
            assert!(mpd.periods.iter().all(|period| period.id != known.id), "it has left: {mpd:?}");
        }
        world.end(Cause::Clean);
        world.assert_clean();
    }
}

/// A stream that ends soon after the crash: what is static lists what is there.
#[test]
fn an_end_leaves_it_out() {
    let config = Config::default();
    let tags = tags(clip("clip.flv"));
    let before = live(&config, &tags);
    let (noted, numbering) = killed(&before);
    let mut world = World::resumed(&config, numbering);
    world.now = before.now + Duration::from_secs(1);
    assert!(world.packager.list_as_over(&noted));
    world.begin();
    world.publish(tags.iter().filter(|tag| tag.timestamp_ms < 3_000), 0);
    assert_eq!(mpds(&world)[0].as_ref().unwrap().periods.len(), 2);
    world.end(Cause::Clean);
    world.packager.finish(world.clock());
    world.follow();
    let [ended, _] = mpds(&world);
    assert_eq!(ended.unwrap().periods.len(), 1);
}

/// Before anything is listed nobody plays; and what nobody can have noted is not listed.
#[test]
fn what_can_not_be_is_not_listed() {
    let config = Config::default();
    let tags = tags(clip("clip.flv"));
    let mut young = World::new(&config);
    assert!(young.packager.noted_period().is_none());
    young.begin();
    young.publish(tags.iter().filter(|tag| tag.timestamp_ms < 1_500), 0);
    assert!(young.packager.noted_period().is_none());

    let world = live(&config, &tags);
    let (noted, numbering) = killed(&world);
    let value = serde_json::to_value(&noted).unwrap();
    let packager = |numbering| Packager::new(&config, numbering);
    assert!(packager(numbering).list_as_over(&noted));
    let without = Config { cmaf: false, ..config.clone() };
    assert!(!Packager::new(&without, numbering).list_as_over(&noted));
    let before_it = Numbering { media_sequence: value["sequence"].as_u64().unwrap(), ..numbering };
    assert!(!packager(before_it).list_as_over(&noted));
    for (place, bad) in [
        ("/id", serde_json::json!(u64::MAX)),
        ("/start_ms", serde_json::json!(-1)),
        ("/media_start", serde_json::json!(i64::MAX)),
        ("/regular", serde_json::json!(0)),
        ("/sequence", serde_json::json!(u64::MAX)),
        ("/video/size", serde_json::json!([0, 180])),
        ("/video/codecs", serde_json::json!("avc1\" onload=\"")),
        ("/video/codecs", serde_json::json!("")),
        ("/video/segment/init", serde_json::json!("../../../../etc/p")),
        ("/video/segment/start", serde_json::json!(-1)),
        ("/video/segment/duration", serde_json::json!(0)),
        ("/audio/segment/duration", serde_json::json!(i64::MAX)),
        ("/audio/hz", serde_json::json!(0)),
    ] {
        let mut value = value.clone();
        *value.pointer_mut(place).unwrap() = bad;
        let noted: NotedPeriod = serde_json::from_value(value).unwrap();
        assert!(!packager(numbering).list_as_over(&noted), "{place}");
    }
}

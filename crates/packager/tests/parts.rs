//! Parts in virtual time: their lengths at every usual rate, in both tracks. [`world::World`] holds each version of the playlists
//! against the one before: hints, constant targets, parts that make their segment, delta updates.

mod world;

use std::time::Duration;

use bytes::Bytes;
use headwater_flv::{Tag, TagKind};
use headwater_media::{Cause, TrackKind};
use headwater_packager::Config;

use headwater_testkit::fmp4::Fmp4Reader;

use world::{KINDS, World, clip, tags};

/// The clip with pictures at `fps` (thousandths) and sound at `rate`, twice as long, in the order of its stamps.
fn at(fps_thousandths: u64, rate: u64) -> Vec<Tag> {
    let tags = tags(clip("clip.flv"));
    let is_config = |tag: &&Tag| tag.body.get(1) == Some(&0);
    let stamp = |count: u64, per: u64, second: u64| {
        u32::try_from((count * per * 1_000 + second / 2) / second).unwrap()
    };
    let mut out: Vec<Tag> = Vec::new();
    for kind in [TagKind::Video, TagKind::Audio] {
        let of_kind = tags.iter().filter(|tag| tag.kind == kind);
        for config in of_kind.clone().filter(is_config).take(1) {
            let body = match (kind, rate) {
                // AudioSpecificConfig: AAC-LC, stereo.
                (TagKind::Audio, 44_100) => Bytes::from_static(&[0xaf, 0, 0x12, 0x10]),
                _ => config.body.clone(),
            };
            out.push(Tag { timestamp_ms: 0, body, ..config.clone() });
        }
        // Neither configurations nor the end of the sequence.
        let samples: Vec<&Tag> = of_kind.filter(|tag| tag.body.get(1) == Some(&1)).collect();
        for (count, tag) in (0..).zip(samples.iter().chain(&samples)) {
            let timestamp_ms = match kind {
                TagKind::Video => stamp(count, 1_000, fps_thousandths),
                _ => stamp(count, 1_024, rate),
            };
            out.push(Tag { timestamp_ms, ..(*tag).clone() });
        }
    }
    let end = out.iter().filter(|tag| tag.kind == TagKind::Video).map(|tag| tag.timestamp_ms).max().unwrap();
    out.retain(|tag| tag.timestamp_ms <= end);
    out.sort_by_key(|tag| tag.timestamp_ms);
    out
}

#[test]
fn every_usual_rate_keeps_the_part_target() {
    for fps in [23_976, 24_000, 25_000, 29_970, 30_000, 50_000, 59_940, 60_000] {
        for rate in [48_000, 44_100] {
            let mut world = World::new(&Config::default());
            world.begin();
            world.publish(at(fps, rate).iter(), 0);
            let snapshot = world.snapshot.clone().unwrap();
            world.end(Cause::Clean);
            assert!(world.findings.is_empty(), "{fps}, {rate}: {}", world.findings.join("\n"));
            assert_eq!(world.packager.counters().parts_overlong, 0, "{fps}, {rate}");
            assert!(world.deltas > 20, "{} delta updates", world.deltas);
            let cmaf = snapshot.cmaf.as_ref().unwrap();
            let target = cmaf.part_target.unwrap();
            assert!(
                target >= Duration::from_millis(200) && target < Duration::from_millis(240),
                "{target:?}"
            );
            for kind in KINDS {
                let listed = &cmaf.rendition(kind).unwrap().listed;
                assert!(listed.iter().all(|segment| segment.parts.len() >= 5), "{fps}, {rate}, {kind}");
                let text = String::from_utf8(snapshot.cmaf_media_playlist(kind).unwrap()).unwrap();
                assert!(
                    text.matches("#EXT-X-PART:").count() > 20 && text.contains("#EXT-X-PRELOAD-HINT"),
                    "{text}"
                );
            }
        }
    }
}

/// The picture comes at once with what closes its part; sound that belongs to it, with the frame behind it.
#[test]
fn a_part_is_there_as_soon_as_what_follows_it() {
    let mut world = World::new(&Config::default());
    world.begin();
    let tags = at(30_000, 48_000);
    let mut ends = Vec::new();
    for tag in &tags {
        world.now = Duration::ZERO;
        world.publish(std::iter::once(tag), 0);
        let Some(cmaf) = &world.snapshot().cmaf else { continue };
        let Some(edge) = cmaf.video.as_ref().and_then(|video| video.edge.as_ref()) else { continue };
        let Some(start) = edge.start else { continue };
        let end = edge.parts.iter().fold(start, |end, part| end.offset_by(part.duration.ticks()));
        if ends.last() != Some(&end) {
            ends.push(end);
            // The picture that came now is decoded when the part ends: 30 fps with two reordered pictures.
            let first = world.cmaf[0].values().next().unwrap().start;
            let behind = i64::from(tag.timestamp_ms) - (end.millis() - first.millis());
            assert!((-1..=1).contains(&behind), "{behind} ms at {} ms", tag.timestamp_ms);
            assert_eq!(tag.kind, TagKind::Video);
        }
    }
    assert!(ends.len() > 60, "{}", ends.len());
}

#[test]
fn one_track_alone_has_parts_too() {
    for (kind, track) in [(TagKind::Video, TrackKind::Video), (TagKind::Audio, TrackKind::Audio)] {
        let mut world = World::new(&Config::default());
        world.begin();
        world.publish(at(30_000, 48_000).iter().filter(|tag| tag.kind == kind), 0);
        let snapshot = world.snapshot.clone().unwrap();
        world.end(Cause::Clean);
        assert!(world.findings.is_empty(), "{kind:?}: {}", world.findings.join("\n"));
        let text = String::from_utf8(snapshot.cmaf_media_playlist(track).unwrap()).unwrap();
        assert!(text.matches("#EXT-X-PART:").count() > 20, "{text}");
        assert!(!text.contains("RENDITION-REPORT"), "{text}");
    }
}

#[test]
fn parts_that_nobody_wants_are_not_made() {
    let mut world = World::new(&Config { part_duration: None, ..Config::default() });
    world.begin();
    world.publish(at(30_000, 48_000).iter(), 0);
    let cmaf = world.snapshot().cmaf.as_ref().unwrap();
    let video = cmaf.video.as_ref().unwrap();
    assert!(video.listed.iter().all(|segment| segment.parts.len() == 1));
    assert!(video.edge.as_ref().unwrap().parts.is_empty() && cmaf.part_target.is_none());
    let text = String::from_utf8(world.snapshot().cmaf_media_playlist(TrackKind::Video).unwrap()).unwrap();
    assert!(text.contains("#EXT-X-VERSION:6") && !text.contains("PART"), "{text}");
    assert!(world.findings.is_empty(), "{}", world.findings.join("\n"));
}

#[test]
fn low_latency_dash_numbers_segments_by_time_while_they_are_regular() {
    let mut world = World::new(&Config::default());
    world.begin();
    let mut mpds: Vec<String> = Vec::new();
    for tag in &at(30_000, 48_000) {
        world.now = Duration::ZERO;
        world.publish(std::iter::once(tag), 0);
        let text = world.snapshot().low_latency_mpd(None).map(|text| String::from_utf8(text).unwrap());
        mpds.extend(text.filter(|text| mpds.last() != Some(text)));
    }
    assert!(world.findings.is_empty(), "{}", world.findings.join("\n"));
    // A list that nothing is added to: only measured rates make another one.
    assert!((1..=3).contains(&mpds.len()), "{mpds:#?}");
    let mpd = mpds.last().unwrap();
    assert_eq!(mpd.matches("duration=\"180000\" availabilityTimeOffset=\"1.786\"").count(), 2, "{mpd}");
    assert_eq!(mpd.matches("startNumber=\"1769860800\"").count(), 2, "{mpd}");
    // Wherever a segment lies, there its number says that it does.
    for segment in world.cmaf[0].values() {
        let count = i64::try_from(segment.sequence - 1_769_860_800).unwrap();
        let first = world.cmaf[0].values().next().unwrap().start.ticks();
        assert!((segment.start.ticks() - first - count * 180_000).abs() <= 90);
    }
}

#[test]
fn what_becomes_irregular_is_not_offered_until_it_is_regular_again() {
    let mut world = World::new(&Config::default());
    world.begin();
    // GOPs of 2 s, then of 1.818 s.
    let (first, second) = (at(30_000, 48_000), at(33_000, 48_000));
    let mut cadences = Vec::new();
    for (tags, offset) in [(&first, 0), (&second, first.last().unwrap().timestamp_ms + 21)] {
        for tag in tags.iter().filter(|tag| offset == 0 || tag.body.get(1) == Some(&1)) {
            world.now = Duration::ZERO;
            world
                .publish(std::iter::once(&Tag { timestamp_ms: tag.timestamp_ms + offset, ..tag.clone() }), 0);
            let snapshot = world.snapshot();
            let is_offered = snapshot.low_latency_mpd(None).is_some();
            assert!(!(is_offered && snapshot.is_irregular()));
            if cadences.last() != Some(&(is_offered, snapshot.is_irregular())) {
                cadences.push((is_offered, snapshot.is_irregular()));
            }
        }
    }
    assert!(world.findings.is_empty(), "{}", world.findings.join("\n"));
    // Nothing yet, regular, irregular, not known, regular.
    let expected = [(false, false), (true, false), (false, true), (false, false), (true, false)];
    assert_eq!(cadences, expected);
    let mpd = String::from_utf8(world.snapshot().low_latency_mpd(None).unwrap()).unwrap();
    let durations =
        ["duration=\"163620\"", "duration=\"163710\"", "duration=\"163530\"", "duration=\"163636\""];
    assert!(durations.iter().any(|duration| mpd.matches(duration).count() == 2), "{mpd}");
    assert_eq!(mpd.matches("<Period ").count(), 1, "{mpd}");
}

/// At every moment the poster is one picture: the newest keyframe that is out.
#[test]
fn the_poster_is_the_newest_keyframe() {
    let mut world = World::new(&Config::default());
    world.begin();
    assert!(world.snapshot.iter().all(|snapshot| snapshot.poster().is_none()));
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for tag in &at(30_000, 48_000) {
        world.publish(std::iter::once(tag), 0);
        let Some(poster) = world.snapshot().poster() else { continue };
        let report = Fmp4Reader::read_movie(&poster, 1);
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        let [picture] = report.samples.as_slice() else { panic!("{} pictures", report.samples.len()) };
        assert!(picture.sync && picture.duration == 90_000, "{} ticks", picture.duration);
        if seen.last() != Some(&picture.data) {
            seen.push(picture.data.clone());
        }
    }
    world.end(Cause::Clean);
    let all = world.cmaf_report(TrackKind::Video).unwrap();
    let keyframes: Vec<_> =
        all.samples.iter().filter(|sample| sample.sync).map(|sample| sample.data.clone()).collect();
    assert!(keyframes.len() > 3, "{}", keyframes.len());
    assert_eq!(seen, keyframes, "each in its turn");

    let mut sound = World::new(&Config::default());
    sound.begin();
    let tags = at(30_000, 48_000);
    sound.publish(tags.iter().filter(|tag| tag.kind == TagKind::Audio), 0);
    assert!(sound.snapshot().is_playable() && sound.snapshot().poster().is_none(), "sound has no picture");
}

//! Whole streams in virtual time: real clips in, playlists and segments out, read back by readers nobody here wrote.

mod world;

use std::sync::mpsc;
use std::time::Duration;

use headwater_flv::{Demuxer, Tag, TagKind};
use headwater_manifest::dash::check::Checker as MpdChecker;
use headwater_manifest::hls::check::{Checker, Severity};
use headwater_media::{Cause, TrackId, TrackKind, WallTime};
use headwater_packager::{Clock, Config, Numbering, Packager, Placed, State};
use headwater_testkit::{fidelity, flv};

use world::{KINDS, START_MS, World, clip, tags};

#[test]
fn every_access_unit_arrives_once_and_in_sync() {
    for name in ["clip.flv", "plain.flv"] {
        let file = clip(name);
        let sent = flv::read(&file).unwrap();
        let mut world = World::new(&Config::default());
        world.begin();
        world.publish(tags(file).iter(), 0);
        world.end(Cause::Clean);
        world.assert_clean();
        let compared = fidelity::compare(&sent, &world.report());
        assert!(compared.is_faithful(), "{name}: {compared:#?}");
        assert_eq!(compared.video_sent, compared.video_received);
        assert!(compared.video_received > 190 && compared.audio_received > 370, "{compared:?}");
        let (video, audio) = (world.cmaf_report(TrackKind::Video), world.cmaf_report(TrackKind::Audio));
        let compared = fidelity::compare_fmp4(&sent, video.as_ref(), audio.as_ref());
        assert!(compared.is_faithful(), "{name} as CMAF: {compared:#?}");
        assert_eq!(compared.video_sent, compared.video_received);
        let durations = world.durations_ms();
        let (last, whole) = durations.split_last().unwrap();
        assert!(whole.iter().all(|ms| *ms == 2_000), "{name}: {durations:?}");
        assert!((1_990..=2_499).contains(last), "{name}: {durations:?}");
        assert_eq!(world.snapshot().ts.as_ref().unwrap().target_duration, 2);
    }
}

#[test]
fn an_hour_of_loops_keeps_every_rule_and_little_memory() {
    let tags = tags(clip("plain.flv"));
    let mut world = World::new(&Config::default());
    world.begin();
    let mut size_max = 0;
    for turn in 0..450_u32 {
        world.now = Duration::from_secs(u64::from(turn) * 8);
        // The stamps begin near 2^32 and wrap.
        world.publish(tags.iter(), 4_294_000_000_u32.wrapping_add(turn * 8_000));
        size_max = size_max.max(world.snapshot().size_bytes());
        // The world remembers every segment; an hour of them need not stay.
        while world.segments.len() > 64 {
            world.segments.pop_first();
            world.cmaf.iter_mut().for_each(|segments| drop(segments.pop_first()));
        }
    }
    world.end(Cause::Clean);
    assert!(world.findings.is_empty(), "{}", world.findings.join("\n"));
    let snapshot = world.snapshot();
    let last = snapshot.ts.as_ref().unwrap().last_sequence().unwrap();
    assert_eq!(last, 1_769_860_800 + 1_799);
    let segment_bytes = world.segments.values().map(|segment| segment.payload.len() as u64).max().unwrap();
    // 24 segments of TS, and the same media as CMAF.
    assert!(size_max <= 2 * 24 * segment_bytes, "{size_max} bytes held");
    let counters = world.packager.counters();
    assert_eq!((counters.repairs, counters.forced_cuts, counters.config_changes), Default::default());
    // The last date lies where an hour of media time has brought it.
    let date = world.segments.values().next_back().unwrap().program_date_time.unix_millis();
    assert!((date - (START_MS + 3_598_000)).abs() <= 200, "{}", date - START_MS);
}

#[test]
fn a_publisher_that_returns_goes_on_without_a_seam() {
    let tags = tags(clip("clip.flv"));
    let mut world = World::new(&Config::default());
    world.begin();
    world.publish(tags.iter().filter(|tag| tag.timestamp_ms < 7_300), 0);
    let before = world.segments.len();
    world.end(Cause::Lost);
    assert_eq!(world.snapshot().state, State::Waiting);
    assert_eq!(world.segments.len(), before + 1, "what had arrived is listed");
    world.now += Duration::from_secs(3);
    world.away = true;
    world.begin();
    assert_eq!(world.snapshot().state, State::Live);
    // The encoder counts from another origin.
    world.publish(tags.iter(), 777_000);
    world.end(Cause::Clean);
    world.assert_clean();
    assert!(
        world.segments.values().all(|segment| !segment.discontinuity),
        "same configuration: no discontinuity"
    );
    let dates: Vec<_> =
        world.segments.values().map(|segment| segment.program_date_time.unix_millis()).collect();
    let jumps: Vec<_> = dates
        .windows(2)
        .zip(world.durations_ms())
        .filter(|(pair, duration)| ((pair[1] - pair[0]) - duration).abs() > 5)
        .collect();
    assert_eq!(jumps.len(), 1, "the wall clock jumps once: {jumps:?}");
    assert_eq!(world.packager.counters().sessions, 2);
}

#[test]
fn another_configuration_is_a_discontinuity_and_an_identical_one_is_not() {
    let (first, second) = (tags(clip("clip.flv")), tags(clip("plain.flv")));
    let mut world = World::new(&Config::default());
    world.begin();
    world.publish(first.iter(), 0);
    // The clip's own sequence headers again: an identical repeated configuration.
    world.now = Duration::from_secs(16);
    world.publish(first.iter(), 16_000);
    assert_eq!(world.packager.counters().config_changes, 0);
    // Another encoder setting within the same publication.
    world.now = Duration::from_secs(32);
    world.publish(second.iter(), 32_000);
    world.end(Cause::Clean);
    world.assert_clean();
    let breaks: Vec<_> = world.segments.values().filter(|segment| segment.discontinuity).collect();
    assert_eq!(breaks.len(), 1);
    assert_eq!(world.packager.counters().config_changes, 1);
    assert!(breaks[0].independent);
    // Frames of 2 x 16 s at 30 and 8 s at 25 per second, none lost.
    assert_eq!(world.report().video().count(), 480 * 2 + 200);
    assert_eq!(world.snapshot().tracks.video.as_ref().unwrap().width, 640);
}

#[test]
fn one_track_alone() {
    for (kind, name) in [(TagKind::Video, "video only"), (TagKind::Audio, "audio only")] {
        let file = clip("clip.flv");
        let tags = tags(file.clone());
        let mut world = World::new(&Config::default());
        world.begin();
        world.publish(tags.iter().filter(|tag| tag.kind == kind), 0);
        world.end(Cause::Clean);
        world.assert_clean();
        let snapshot = world.snapshot();
        assert_eq!(snapshot.tracks.video.is_some(), kind == TagKind::Video, "{name}");
        assert_eq!(snapshot.tracks.audio.is_some(), kind == TagKind::Audio, "{name}");
        let report = world.report();
        let (video, audio) = (report.video().count(), report.audio().count());
        assert_eq!((video > 0, audio > 0), (kind == TagKind::Video, kind == TagKind::Audio), "{name}");
        let total: i64 = world.durations_ms().iter().sum();
        assert!((15_900..=16_100).contains(&total), "{name}: {total} ms");
        let multivariant = String::from_utf8(snapshot.multivariant_playlist().unwrap()).unwrap();
        assert_eq!(multivariant.contains("RESOLUTION=854x480"), kind == TagKind::Video, "{multivariant}");
        let findings = Checker::new("index.m3u8").observe(&multivariant, 0);
        assert!(findings.iter().all(|finding| finding.severity != Severity::Error), "{findings:?}");
    }
}

#[test]
fn tracks_that_start_apart() {
    let tags = tags(clip("clip.flv"));
    // Either track begins 1.5 s late (within the wait for it) or 5 s late (beyond it).
    for (late, delay_ms, breaks) in [
        (TagKind::Audio, 1_500, 0),
        (TagKind::Audio, 5_000, 1),
        (TagKind::Video, 1_500, 0),
        (TagKind::Video, 5_000, 1),
    ] {
        let mut world = World::new(&Config::default());
        world.begin();
        let is_config = |tag: &Tag| tag.timestamp_ms == 0 && tag.body.get(1) == Some(&0);
        world.publish(
            tags.iter().filter(|tag| tag.kind != late || tag.timestamp_ms >= delay_ms || is_config(tag)),
            0,
        );
        world.end(Cause::Clean);
        world.assert_clean();
        let seen = world.segments.values().filter(|segment| segment.discontinuity).count();
        assert_eq!(seen, breaks, "{late:?} {delay_ms} ms late");
        let tracks = &world.snapshot().tracks;
        assert!(tracks.video.is_some() && tracks.audio.is_some(), "{late:?} {delay_ms} ms late");
    }
}

#[test]
fn an_ended_stream_says_so_and_a_new_publication_starts_clean() {
    let tags = tags(clip("plain.flv"));
    let mut world = World::new(&Config::default());
    world.begin();
    world.publish(tags.iter(), 0);
    world.end(Cause::Clean);
    world.now += Duration::from_secs(3);
    world.packager.finish(world.clock());
    world.follow();
    let text = String::from_utf8(world.snapshot().media_playlist().unwrap()).unwrap();
    assert!(text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
    world.assert_clean();

    let last = world.snapshot().ts.as_ref().unwrap().last_sequence().unwrap();
    world.now += Duration::from_secs(30);
    // A player that comes now follows another programme; the one before has seen its end.
    world.checker = Checker::new("ts/media.m3u8");
    world.cmaf_checkers = KINDS.map(|kind| Checker::new(&format!("{kind}/media.m3u8")));
    world.mpd_checker = MpdChecker::new();
    world.low_latency_checker = MpdChecker::new();
    world.begin();
    assert_eq!(world.snapshot().state, State::Starting);
    assert!(!world.snapshot().is_playable(), "the pictures of the last publication are not shown again");
    assert!(world.snapshot().ts.as_ref().unwrap().segment(last).is_some(), "but still fetchable");
    world.publish(tags.iter(), 0);
    let listed = &world.snapshot().ts.as_ref().unwrap().listed;
    assert_eq!(listed.first().unwrap().sequence, last + 1);
    world.assert_clean();
}

#[test]
fn resumed_numbers_begin_with_a_discontinuity() {
    let numbering = Numbering { media_sequence: 42, discontinuity_sequence: 3, resumed: true };
    let mut world = World::resumed(&Config::default(), numbering);
    world.begin();
    world.publish(tags(clip("plain.flv")).iter(), 0);
    let ts = world.snapshot().ts.as_ref().unwrap();
    assert_eq!((ts.listed[0].sequence, ts.listed[0].discontinuity, ts.discontinuity_sequence), (42, true, 3));
    assert_eq!(world.packager.numbers(), (42 + ts.listed.len() as u64, 4));
    world.assert_clean();
}

/// hls.js, which may be as far behind as a target duration and its hold-back when it stood still, is not shown a list that is shorter.
#[test]
fn what_begins_after_an_interruption_is_long_enough_for_who_was_there() {
    let tags = tags(clip("clip.flv"));
    for resumed in [true, false] {
        let numbering = Numbering { media_sequence: 42, discontinuity_sequence: 3, resumed };
        let mut world = World::resumed(&Config::default(), numbering);
        world.begin();
        let mut seen = (false, false);
        for until_ms in (0..6_000).step_by(100) {
            let of_now = |tag: &&Tag| (until_ms..until_ms + 100).contains(&tag.timestamp_ms);
            // `publish` counts from its own beginning.
            world.now = Duration::ZERO;
            world.publish(tags.iter().filter(of_now), 0);
            let Some(cmaf) =
                world.snapshot.as_ref().and_then(|s| s.cmaf.as_ref()).filter(|c| c.is_playable())
            else {
                continue;
            };
            let video = cmaf.video.as_ref().unwrap();
            let listed = video.listed.iter().map(|segment| segment.duration.millis()).sum::<i64>();
            let parts = video
                .edge
                .iter()
                .flat_map(|edge| &edge.parts)
                .map(|part| part.duration.millis())
                .sum::<i64>();
            // A target duration of 2 s and three parts of 0.2 s, of each track; sound has a frame more or less.
            if cmaf.begins_too_short() {
                assert!(resumed && listed + parts <= 2_600, "{listed} and {parts} ms");
            } else {
                assert!(!resumed || listed + parts >= 2_600, "{listed} and {parts} ms");
            }
            seen = (seen.0 || cmaf.begins_too_short(), seen.1 || !cmaf.begins_too_short());
        }
        assert_eq!(seen, (resumed, true));
    }
}

#[test]
fn a_packaging_that_is_off_costs_nothing() {
    let config = Config { hls: false, cmaf: false, ..Config::default() };
    let mut packager =
        Packager::new(&config, Numbering { media_sequence: 1, discontinuity_sequence: 0, resumed: false });
    let clock = Clock { now: Duration::ZERO, wall: WallTime::from_unix_millis(START_MS) };
    packager.begin_session(clock);
    let mut demuxer = Demuxer::new();
    let mut events = Vec::new();
    for tag in tags(clip("plain.flv")) {
        demuxer.tag(tag, &mut events).unwrap();
        for event in events.drain(..) {
            packager.push(event, clock).unwrap();
        }
    }
    let snapshot = packager.poll_snapshot(clock.wall).unwrap();
    assert_eq!((snapshot.size_bytes(), snapshot.is_playable()), (0, false));
}

#[test]
fn pacing_knows_how_far_ahead_the_media_is() {
    let tags = tags(clip("clip.flv"));
    let mut world = World::new(&Config::default());
    world.begin();
    world.publish(tags.iter(), 0);
    let real_time = world.packager.ahead(world.now);
    assert!(real_time < Duration::from_millis(200), "{real_time:?}");
    let burst = world.packager.ahead(Duration::from_secs(1));
    assert!((Duration::from_secs(14)..Duration::from_secs(16)).contains(&burst), "{burst:?}");
}

#[test]
fn a_track_that_stops_and_comes_back() {
    let tags = tags(clip("clip.flv"));
    // Away for 6 s in the middle, while the other goes on.
    for away in [TagKind::Video, TagKind::Audio] {
        let mut world = World::new(&Config::default());
        world.uneven = true;
        world.begin();
        let there = |tag: &&Tag| tag.kind != away || !(4_000..10_000).contains(&tag.timestamp_ms);
        world.publish(tags.iter().filter(there), 0);
        world.end(Cause::Clean);
        // In MPEG-TS the hole is what was sent, and its reader says so; CMAF's tracks have none.
        assert!(world.findings.is_empty(), "{away:?}: {}", world.findings.join("\n"));
        for kind in KINDS {
            let report = world.cmaf_report(kind).unwrap();
            assert!(report.findings.is_empty(), "{away:?}, {kind}: {:#?}", report.findings);
        }
        assert!(world.segments.values().all(|segment| !segment.discontinuity), "{away:?}");
        let counters = world.packager.counters();
        assert_eq!(counters.config_changes, 0, "{away:?}");
        let repaired = (counters.pictures_repeated > 0, counters.silence_filled > 0);
        assert_eq!(repaired, (away == TagKind::Video, away == TagKind::Audio), "{counters:?}");
        assert_eq!(counters.repairs.rebased, 0, "{away:?}: the tracks stay in step");
        let total: i64 = world.durations_ms().iter().sum();
        assert!((15_900..=16_100).contains(&total), "{away:?}: {total} ms");
    }
}

#[test]
fn a_pause_of_everything_leaves_no_hole() {
    let tags = tags(clip("clip.flv"));
    let mut world = World::new(&Config::default());
    world.begin();
    world.publish(tags.iter().filter(|tag| tag.timestamp_ms < 6_000), 0);
    // The encoder stands still for 8 s, and its stamps say so.
    world.away = true;
    let resumed: Vec<Tag> = tags
        .iter()
        .filter(|tag| tag.timestamp_ms >= 6_000)
        .map(|tag| Tag { timestamp_ms: tag.timestamp_ms + 8_000, ..tag.clone() })
        .collect();
    world.now = Duration::ZERO;
    world.publish(resumed.iter(), 0);
    world.end(Cause::Clean);
    world.assert_clean();
    let total: i64 = world.durations_ms().iter().sum();
    assert!((15_900..=16_100).contains(&total), "{total} ms");
    assert_eq!(world.packager.counters().repairs.rebased, 1);
    // Its dates step by the pause, once it is sure.
    let dates: Vec<_> =
        world.segments.values().map(|segment| segment.program_date_time.unix_millis()).collect();
    assert!(dates.windows(2).all(|pair| pair[0] < pair[1]), "{dates:?}");
}

#[test]
fn a_track_that_the_next_session_lacks() {
    let tags = tags(clip("clip.flv"));
    let mut world = World::new(&Config::default());
    world.begin();
    world.publish(tags.iter(), 0);
    world.end(Cause::Lost);
    world.now += Duration::from_secs(1);
    world.away = true;
    world.begin();
    world.publish(tags.iter().filter(|tag| tag.kind == TagKind::Audio), 0);
    let cmaf = world.snapshot().cmaf.as_ref().unwrap();
    let (video, audio) = (cmaf.video.as_ref().unwrap(), cmaf.audio.as_ref().unwrap());
    let first = video.listed.first().unwrap().sequence;
    assert_eq!(first, audio.listed.first().unwrap().sequence, "pictures leave with the sound beside them");
    assert!(video.last_sequence() < audio.last_sequence());
    let mpd = String::from_utf8(world.snapshot().mpd(None).unwrap()).unwrap();
    assert_eq!(mpd.matches("contentType=\"video\"").count(), 1, "{mpd}");
    assert_eq!(mpd.matches("contentType=\"audio\"").count(), 2, "{mpd}");
    assert!(world.findings.is_empty(), "{}", world.findings.join("\n"));
}

#[test]
fn sound_that_comes_long_before_or_after_its_picture() {
    let file = clip("clip.flv");
    let sent = flv::read(&file).unwrap();
    // Sound that is later than the wait for a second track joins at a cut: what came before that is not heard.
    for (name, early_ms, lost_max) in [("1.5 s before", 1_500_i64, 0), ("3 s after", -3_000, 94)] {
        let mut tags = tags(file.clone());
        let due =
            |tag: &Tag| i64::from(tag.timestamp_ms) - if tag.kind == TagKind::Audio { early_ms } else { 0 };
        // Configurations come first all the same.
        tags.sort_by_key(|tag| if tag.timestamp_ms == 0 { i64::MIN } else { due(tag) });
        let mut world = World::new(&Config::default());
        world.begin();
        world.publish(tags.iter(), 0);
        world.end(Cause::Clean);
        let counters = world.packager.counters();
        assert_eq!((counters.forced_cuts, counters.repairs), Default::default(), "{name}");
        assert!(world.findings.is_empty(), "{name}: {}", world.findings.join("\n"));
        let compared = fidelity::compare(&sent, &world.report());
        assert_eq!(compared.video_sent, compared.video_received, "{name}");
        assert!(compared.audio_received + lost_max >= compared.audio_sent, "{name}: {compared:?}");
    }
}

#[test]
fn placed_samples_are_all_there_is_and_rise_over_sessions() {
    let tags = tags(clip("clip.flv"));
    let mut world = World::new(&Config::default());
    let (sink, placed) = mpsc::channel();
    world.packager.hand_placed_to(move |placed| sink.send(placed).unwrap());
    for cause in [Cause::Lost, Cause::Clean] {
        world.begin();
        world.publish(tags.iter(), 0);
        world.end(cause);
    }
    let placed: Vec<Placed> = placed.try_iter().collect();
    let tracks: Vec<usize> = placed
        .iter()
        .enumerate()
        .filter_map(|(index, placed)| matches!(placed, Placed::Tracks(_)).then_some(index))
        .collect();
    assert_eq!(tracks, [0, placed.len() / 2], "each session says its tracks first");
    let counters = world.packager.counters();
    let samples = placed.len() - tracks.len();
    assert_eq!(samples as u64, counters.video_samples + counters.audio_samples);
    let mut last = [None; 2];
    for placed in &placed {
        let Placed::Sample(sample) = placed else { continue };
        let last = &mut last[usize::from(sample.track == TrackId::AUDIO)];
        assert!(last.is_none_or(|last| sample.dts > last), "{:?} after {last:?}", sample.dts);
        *last = Some(sample.dts);
    }
}

//! Over a restart of the server: the last segments are listed again, byte for byte, and the stream goes on behind them.

mod world;

use std::time::Duration;

use bytes::Bytes;
use headwater_flv::Tag;
use headwater_media::{Cause, TrackKind};
use headwater_packager::{Config, Kept, KeptError, Numbering, Packager, Snapshot, State};

use world::{KINDS, World, clip, tags};

/// What is kept as a file.
fn file(kept: &Kept) -> Vec<u8> {
    let mut file = kept.head().unwrap();
    kept.bodies().iter().for_each(|body| file.extend_from_slice(body));
    file
}

fn numbering(packager: &Packager) -> Numbering {
    let (media_sequence, discontinuity_sequence) = packager.numbers();
    Numbering { media_sequence, discontinuity_sequence, resumed: true }
}

/// A stream of some 16 s that its publisher has left.
fn left(config: &Config, tags: &[Tag]) -> World {
    let mut world = World::new(config);
    world.begin();
    for _ in 0..2 {
        let shift_ms = u32::try_from(world.now.as_millis()).unwrap();
        world.publish(tags.iter(), shift_ms);
    }
    world.end(Cause::Lost);
    world
}

/// Another process takes over what is in `world`, whose readers stay. Returns what the last version of before was.
fn restart(world: &mut World, config: &Config) -> Snapshot {
    let kept = file(&world.packager.keep().unwrap());
    let kept = Kept::read(&Bytes::from(kept)).unwrap();
    world.packager = Packager::restore(config, numbering(&world.packager), kept, world.clock()).unwrap();
    world.packager.check_invariants();
    let before = world.snapshot.take().unwrap();
    world.away = true;
    // The same bytes in other places.
    world.segments.clear();
    world.cmaf.iter_mut().for_each(std::collections::BTreeMap::clear);
    world.follow();
    (*before).clone()
}

#[test]
fn what_was_listed_last_is_listed_again() {
    let config = Config::default();
    let tags = tags(clip("clip.flv"));
    let mut world = left(&config, &tags);
    world.now += Duration::from_secs(5);
    let before = restart(&mut world, &config);
    let after = world.snapshot().clone();
    assert_eq!((after.state, after.tracks.clone()), (State::Waiting, before.tracks.clone()));
    assert_eq!((after.bandwidth, after.frame_rate()), (before.bandwidth, before.frame_rate()));
    let (was, is) = (before.ts.as_ref().unwrap(), after.ts.as_ref().unwrap());
    // 8 s; the last one is short.
    assert_eq!((is.listed.len(), is.target_duration), (5, was.target_duration));
    assert_eq!(is.last_sequence(), was.last_sequence());
    for segment in &is.listed {
        let same = was.segment(segment.sequence).unwrap();
        assert_eq!((&same.payload, same.program_date_time), (&segment.payload, segment.program_date_time));
    }
    let (was, is) = (before.cmaf.as_ref().unwrap(), after.cmaf.as_ref().unwrap());
    assert_eq!((&is.periods, is.part_target), (&was.periods, was.part_target));
    for kind in KINDS {
        let (was, is) = (was.rendition(kind).unwrap(), is.rendition(kind).unwrap());
        assert_eq!((is.listed.len(), is.last_part()), (5, was.last_part()));
        for segment in &is.listed {
            let same = was.segment(segment.sequence).unwrap();
            assert_eq!((same.payload(), &same.init), (segment.payload(), &segment.init));
        }
    }
    assert!(world.packager.memory().own_bytes >= after.size_bytes());

    // Its publisher is back: a discontinuity, the next numbers, both Periods; readers find nothing amiss.
    let last = after.ts.as_ref().unwrap().last_sequence().unwrap();
    world.begin();
    assert_eq!(world.packager.state(), State::Live);
    world.publish(tags.iter(), 77_000);
    world.end(Cause::Clean);
    world.assert_clean();
    let now = world.snapshot();
    let text = String::from_utf8(now.media_playlist().unwrap()).unwrap();
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
    assert!(text.contains("#EXT-X-DISCONTINUITY-SEQUENCE:5\n"), "{text}");
    let next = now.ts.as_ref().unwrap().segment(last + 1).unwrap();
    assert!(next.discontinuity);
    let periods: Vec<u64> = now.cmaf.as_ref().unwrap().periods.iter().map(|period| period.id).collect();
    assert_eq!(periods, [1_769_860_800, last + 1]);
    let mpd = String::from_utf8(now.mpd(None).unwrap()).unwrap();
    assert_eq!(mpd.matches("<Period ").count(), 2, "{mpd}");
    // The media goes on where it ended, and dates say how long nobody was there.
    let listed = &now.ts.as_ref().unwrap().listed;
    let at = listed.iter().position(|segment| segment.sequence == last).unwrap();
    let (ended, began) = (&listed[at], &listed[at + 1]);
    assert_eq!(ended.start.offset_by(ended.duration.ticks()), began.start);
    let video: Vec<i64> = world.report().video().map(|unit| unit.dts).collect();
    assert!(video.windows(2).all(|pair| pair[0] < pair[1]), "decode times rise");
    let apart = began.program_date_time.unix_millis() - ended.program_date_time.unix_millis();
    assert!((6_900..7_200).contains(&apart), "{apart} ms");
}

#[test]
fn another_coding_comes_back() {
    let config = Config::default();
    let mut world = left(&config, &tags(clip("clip.flv")));
    world.now += Duration::from_secs(3);
    restart(&mut world, &config);
    world.begin();
    world.publish(tags(clip("plain.flv")).iter(), 0);
    world.end(Cause::Clean);
    world.assert_clean();
    let text = String::from_utf8(world.snapshot().cmaf_media_playlist(TrackKind::Video).unwrap()).unwrap();
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
    assert_eq!(world.packager.counters().config_changes, 1);
}

/// Nothing was listed, somebody publishes, or all is over: there is nothing that a successor could list.
#[test]
fn only_a_stream_that_waits_is_kept() {
    let tags = tags(clip("clip.flv"));
    let mut world = World::new(&Config::default());
    assert!(world.packager.keep().is_none());
    world.begin();
    world.publish(tags.iter(), 0);
    assert!(world.packager.keep().is_none());
    world.end(Cause::Clean);
    assert!(world.packager.keep().is_some());
    world.packager.finish(world.clock());
    assert!(world.packager.keep().is_none());
}

#[test]
fn what_players_were_told_is_not_broken() {
    let config = Config::default();
    let world = left(&config, &tags(clip("clip.flv")));
    let kept = world.packager.keep().unwrap();
    let at = numbering(&world.packager);
    let restore = |config: &Config, at| Packager::restore(config, at, kept.clone(), world.clock()).map(drop);
    assert_eq!(restore(&config, at), Ok(()));
    let elsewhere = Numbering { media_sequence: at.media_sequence + 1, ..at };
    assert_eq!(restore(&config, elsewhere), Err(KeptError::Numbers));
    let longer = Config { segment_duration: Duration::from_secs(4), ..config.clone() };
    assert_eq!(restore(&longer, at), Err(KeptError::Packaging));
    let parts = Config { part_duration: Some(Duration::from_millis(500)), ..config.clone() };
    assert_eq!(restore(&parts, at), Err(KeptError::Packaging));
    let announced = Config { timed_metadata: true, ..config.clone() };
    assert_eq!(restore(&announced, at), Err(KeptError::Packaging));
    let without = Config { hls: false, cmaf: false, ..config.clone() };
    assert_eq!(restore(&without, at), Err(KeptError::Packaging));
    // An output that was switched off takes what was kept of it along.
    for (hls, cmaf) in [(true, false), (false, true)] {
        let config = Config { hls, cmaf, ..config.clone() };
        let mut packager = Packager::restore(&config, at, kept.clone(), world.clock()).unwrap();
        let snapshot = packager.poll_snapshot(world.clock().wall).unwrap();
        assert!(snapshot.is_playable());
        assert_eq!((snapshot.ts.is_some(), snapshot.cmaf.is_some()), (hls, cmaf));
    }
}

#[test]
fn what_is_not_whole_is_refused() {
    let world = left(&Config::default(), &tags(clip("plain.flv")));
    let whole = file(&world.packager.keep().unwrap());
    assert!(Kept::read(&Bytes::from(whole.clone())).is_ok());
    for length in (0..400).chain((400..whole.len()).step_by(9_973)) {
        let refused = Kept::read(&Bytes::from(whole[..length].to_vec())).unwrap_err();
        assert_eq!(refused, KeptError::Damaged, "{length}");
    }
    for place in (0..400).chain((400..whole.len()).step_by(49_999)) {
        let mut changed = whole.clone();
        changed[place] ^= 0x40;
        let expected = if place < 8 { KeptError::Version } else { KeptError::Damaged };
        assert_eq!(Kept::read(&Bytes::from(changed)).unwrap_err(), expected, "{place}");
    }
    let longer = [whole, vec![0]].concat();
    assert_eq!(Kept::read(&Bytes::from(longer)).unwrap_err(), KeptError::Damaged);
}

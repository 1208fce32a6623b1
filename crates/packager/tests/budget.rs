//! A stream that may hold less than it would: the list gets shorter and stays right, and what can't be carried is refused.

mod world;

use std::sync::Arc;
use std::time::Duration;

use headwater_flv::{Demuxer, TagKind};
use headwater_media::{Cause, Event};
use headwater_packager::{Config, Refusal, Snapshot};

use world::{World, clip, tags};

/// One picture's packets and tables.
const SLACK_BYTES: u64 = 64 << 10;

fn config(bytes_max: u64) -> Config {
    Config { bytes_max, ..Config::default() }
}

/// Publishes the clip `turns` times over, in step with the clock. Returns the most that was held.
fn publish(world: &mut World, turns: u32) -> u64 {
    let tags = tags(clip("plain.flv"));
    let mut held_max = 0;
    let start = world.now;
    world.begin();
    for turn in 0..turns {
        for tag in &tags {
            let now = start + Duration::from_secs(u64::from(turn) * 8);
            world.now = world.now.max(now + Duration::from_millis(u64::from(tag.timestamp_ms)));
            let mut events = Vec::new();
            let stamp = tag.timestamp_ms + turn * 8_000;
            match tag.kind {
                TagKind::Audio => world.demuxer.audio(stamp, tag.body.clone(), &mut events),
                TagKind::Video => world.demuxer.video(stamp, tag.body.clone(), &mut events),
                TagKind::Data => world.demuxer.data(stamp, tag.body.clone(), &mut events),
            }
            .unwrap();
            for event in events {
                world.push(event);
                held_max = held_max.max(world.packager.memory().own_bytes);
            }
        }
    }
    held_max
}

fn listed_ms(snapshot: &Snapshot) -> i64 {
    let ts = snapshot.ts.as_ref().unwrap();
    ts.listed.iter().map(|segment| segment.duration.millis()).sum()
}

/// What the stream holds when nothing keeps it from it.
fn unlimited() -> (u64, u64) {
    let mut world = World::new(&Config::default());
    let held_max = publish(&mut world, 9);
    world.assert_clean();
    assert_eq!(world.packager.counters().evicted_for_memory, 0);
    let snapshot = world.snapshot();
    let ts = snapshot.ts.as_ref().unwrap();
    let listed: u64 = ts.listed.iter().map(|segment| segment.payload.len() as u64).sum();
    (held_max, listed)
}

#[test]
fn what_leaves_is_the_oldest_and_every_list_stays_right() {
    let (held_max, listed) = unlimited();
    // The window in both packagings fits, and little of what is retained.
    let budget = 2 * listed + listed / 2;
    assert!(budget < held_max, "{budget} of {held_max}");
    let mut world = World::new(&config(budget));
    let held = publish(&mut world, 9);
    world.assert_clean();
    assert!(held <= budget + SLACK_BYTES, "{held} of {budget}");
    let snapshot = Arc::clone(world.snapshot.as_ref().unwrap());
    let cmaf = snapshot.cmaf.as_ref().unwrap();
    assert!(listed_ms(&snapshot) >= 18_000, "the list is whole: {} ms", listed_ms(&snapshot));
    assert_eq!(cmaf.window, Duration::from_secs(20));
    let retained = snapshot.ts.as_ref().unwrap().retained.len();
    assert!((1..10).contains(&retained), "{retained} retained");

    // Half of the list fits.
    let budget = listed + listed / 4;
    let mut world = World::new(&config(budget));
    let held = publish(&mut world, 9);
    world.assert_clean();
    assert!(held <= budget + SLACK_BYTES, "{held} of {budget}");
    let snapshot = Arc::clone(world.snapshot.as_ref().unwrap());
    let (listed, cmaf) = (listed_ms(&snapshot), snapshot.cmaf.as_ref().unwrap());
    assert!((6_000..16_000).contains(&listed), "{listed} ms listed");
    assert!(snapshot.ts.as_ref().unwrap().retained.is_empty());
    // DASH promises what HLS lists, up to the frame of sound that a segment may be shorter by.
    let window = i64::try_from(cmaf.window.as_millis()).unwrap();
    assert!((listed - 100..=listed).contains(&window), "{window} of {listed}");
    assert!(world.packager.counters().evicted_for_memory > 30);
}

#[test]
fn less_than_three_target_durations_is_refused() {
    let (_, listed) = unlimited();
    let mut world = World::new(&config(listed / 4));
    world.begin();
    let mut demuxer = Demuxer::new();
    let mut refused = None;
    'tags: for tag in tags(clip("plain.flv")) {
        world.now = Duration::from_millis(u64::from(tag.timestamp_ms));
        let mut events: Vec<Event> = Vec::new();
        match tag.kind {
            TagKind::Audio => demuxer.audio(tag.timestamp_ms, tag.body, &mut events).unwrap(),
            TagKind::Video => demuxer.video(tag.timestamp_ms, tag.body, &mut events).unwrap(),
            TagKind::Data => {}
        }
        for event in events {
            if let Err(refusal) = world.packager.push(event, world.clock()) {
                refused = Some((refusal, tag.timestamp_ms));
                break 'tags;
            }
        }
        world.packager.check_invariants();
    }
    let (refusal, at_ms) = refused.expect("it does not fit");
    assert_eq!(refusal, Refusal::OverBudget { bytes_max: listed / 4 });
    assert!(at_ms < 6_000, "refused at {at_ms} ms");
    // What was published stays for its viewers.
    world.end(Cause::Server);
    assert!(listed_ms(world.snapshot()) > 0);
}

#[test]
fn a_segment_without_an_end_is_refused() {
    // An encoder whose clock stands still never reaches the end of a segment.
    let mut world = World::new(&config(1 << 20));
    world.begin();
    let file = tags(clip("plain.flv"));
    let heads: Vec<_> = file.iter().filter(|tag| tag.timestamp_ms == 0).cloned().collect();
    world.publish(heads.iter(), 0);
    let keyframe = file
        .iter()
        .filter(|tag| tag.kind == TagKind::Video && tag.body.first() == Some(&0x17))
        .max_by_key(|tag| tag.body.len())
        .unwrap();
    let mut events = Vec::new();
    let refusal = (0..10_000).find_map(|_| {
        world.demuxer.video(40, keyframe.body.clone(), &mut events).unwrap();
        events.drain(..).find_map(|event| world.packager.push(event, world.clock()).err())
    });
    assert_eq!(refusal, Some(Refusal::OverBudget { bytes_max: 1 << 20 }));
    assert!(world.packager.memory().own_bytes <= (1 << 20) + SLACK_BYTES);
}

#[test]
fn readers_of_the_oldest_segments_are_named() {
    let (held_max, _) = unlimited();
    let budget = held_max + held_max / 8;
    let mut world = World::new(&config(budget));
    publish(&mut world, 4);
    // The world keeps what it has seen: a reader that never lets go of anything.
    let snapshot = Arc::clone(world.snapshot.as_ref().unwrap());
    let oldest = *world.segments.first_key_value().unwrap().0;
    assert!(snapshot.ts.as_ref().unwrap().segment(oldest).is_some());
    assert_eq!(world.packager.readers_due(), None);
    publish(&mut world, 9);
    let memory = world.packager.memory();
    assert!(memory.own_bytes <= budget && memory.sum() > budget, "{memory:?} of {budget}");
    let below = world.packager.readers_due().expect("readers hold too much");
    assert!(below > oldest);
    // Nobody's list is shorter for it.
    assert_eq!(world.packager.counters().evicted_for_memory, 0);
    // They let go of just these.
    drop(snapshot);
    world.segments.retain(|sequence, _| *sequence >= below);
    world.cmaf.iter_mut().for_each(|track| track.retain(|sequence, _| *sequence >= below));
    assert_eq!(world.packager.readers_due(), None);
    let memory = world.packager.memory();
    assert!(memory.sum() <= budget, "{memory:?} of {budget}");
    world.segments.clear();
    world.cmaf.iter_mut().for_each(std::collections::BTreeMap::clear);
    assert_eq!(world.packager.memory().readers_bytes, 0);
}

#[test]
fn what_a_sample_holds_of_its_buffer_counts() {
    let file = tags(clip("plain.flv"));
    let sound = file.iter().find(|tag| tag.kind == TagKind::Audio && tag.body.get(1) == Some(&1)).unwrap();
    let heads: Vec<_> = file.iter().filter(|tag| tag.timestamp_ms == 0).cloned().collect();
    // A frame of sound in each buffer, the rest is what nobody wants; the clock stands still. Before a session starts, and after.
    for starts in [false, true] {
        let mut world = World::new(&config(4 << 20));
        world.begin();
        world.publish(heads.iter().filter(|tag| starts || tag.body.get(1) == Some(&0)), 0);
        let mut events = Vec::new();
        let frames = (1..1_000).find(|_| {
            world.packager.heard(64 << 10);
            world.demuxer.audio(1, sound.body.clone(), &mut events).unwrap();
            let clock = world.clock();
            events.drain(..).any(|event| world.packager.push(event, clock).is_err())
        });
        let frames = frames.expect("it does not fit");
        assert!((60..=70).contains(&frames), "{frames} frames of 64 KiB in 4 MiB, running: {starts}");
    }
    // Who sends nothing but media and its headers holds nothing else.
    let mut world = World::new(&Config::default());
    world.begin();
    for tag in &file {
        world.packager.heard(tag.body.len() + 12);
        world.publish(std::iter::once(tag), 0);
    }
    let mut unheard = World::new(&Config::default());
    unheard.begin();
    unheard.publish(file.iter(), 0);
    let (heard, plain) = (world.packager.memory().own_bytes, unheard.packager.memory().own_bytes);
    assert!(heard.abs_diff(plain) < plain / 50, "{heard} and {plain}");
}

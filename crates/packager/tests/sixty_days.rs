//! Sixty days of one stream in virtual time, with what happens to a stream in sixty days. Minutes long: `cargo xtask soak` runs it.
#![allow(clippy::print_stdout, reason = "a long run shows where it is")]

mod world;

use std::time::Duration;

use headwater_flv::{Tag, TagKind};
use headwater_media::Cause;
use headwater_packager::{Config, State};

use world::{World, clip, tags};

const DAYS: u32 = 60;

const DAY: Duration = Duration::from_secs(86_400);

const HOUR_MS: u32 = 3_600_000;

/// Between two pictures, each of them a keyframe: one segment.
const PICTURE_MS: u32 = 2_000;

/// What quartz is off by, ppm: in turns fast, right and slow.
const DRIFT_PPM: [i64; 3] = [100, 0, -100];

/// Nothing that lives longer than its window may be kept: 20 s listed, and as much again behind it, in segments of one small picture,
/// and a clip of sound and picture once a day.
const HELD_BYTES_MAX: u64 = 32 << 20;

/// An encoder of one picture every [`PICTURE_MS`], whose stamps are those of RTMP: they wrap after 49.7 days.
struct Encoder {
    header: Vec<Tag>,
    picture: Tag,
    /// Its clock, ms since it was switched on; off by some ppm, and it may jump.
    clock_ms: u64,
}

impl Encoder {
    fn new(file: &[Tag]) -> Encoder {
        let is = |tag: &Tag, kind: u8| tag.kind == TagKind::Video && tag.body.starts_with(&[0x17, kind]);
        let header = file.iter().filter(|tag| is(tag, 0)).cloned().collect();
        let mut picture = file.iter().find(|tag| is(tag, 1)).unwrap().clone();
        picture.timestamp_ms = 0;
        Encoder { header, picture, clock_ms: 0 }
    }

    fn stamp(&self) -> u32 {
        u32::try_from(self.clock_ms % (1 << 32)).unwrap()
    }

    fn connect(&self, world: &mut World) {
        world.begin();
        world.publish(self.header.iter(), self.stamp());
    }

    fn publish(&mut self, world: &mut World, pictures: u32, drift_ppm: i64) {
        for _ in 0..pictures {
            world.publish(std::iter::once(&self.picture), self.stamp());
            self.clock_ms += u64::from(PICTURE_MS);
            let real_us = i64::from(PICTURE_MS) * 1_000 - i64::from(PICTURE_MS) * drift_ppm / 1_000;
            world.now += Duration::from_micros(u64::try_from(real_us).unwrap());
        }
    }
}

#[test]
#[ignore = "minutes long: cargo xtask soak runs it"]
fn sixty_days() {
    let file = tags(clip("plain.flv"));
    let whole = tags(clip("clip.flv"));
    let mut encoder = Encoder::new(&file);
    let mut world = World::new(&Config::default());
    let (mut segments, mut discontinuities) = (0, 0);
    encoder.connect(&mut world);
    for day in 0..DAYS {
        let ends = DAY * (day + 1);
        let drift = DRIFT_PPM[day as usize % DRIFT_PPM.len()];
        let mut hour = 0;
        while world.now < ends {
            encoder.publish(&mut world, HOUR_MS / PICTURE_MS, drift);
            hour += 1;
            // Whoever is away sends nothing new, and a clip does not end with a segment.
            world.away = [6, 9, 12].contains(&hour);
            match hour {
                // The line is cut, and the encoder comes back.
                6 => {
                    world.end(Cause::Lost);
                    world.now += Duration::from_secs(5);
                    encoder.clock_ms += 5_000;
                    encoder.connect(&mut world);
                }
                // It comes back switched on anew.
                9 => {
                    world.end(Cause::Lost);
                    world.now += Duration::from_secs(7);
                    encoder.clock_ms = 0;
                    encoder.connect(&mut world);
                }
                // Another encoder, with sound, for a clip's length.
                12 => {
                    world.end(Cause::Clean);
                    world.begin();
                    world.publish(whole.iter(), 0);
                    world.end(Cause::Clean);
                    encoder.connect(&mut world);
                }
                // The stamps jump.
                15 => encoder.clock_ms += u64::from(HOUR_MS),
                18 => encoder.clock_ms -= u64::from(HOUR_MS),
                _ => {}
            }
        }
        let snapshot = world.snapshot();
        assert_eq!(snapshot.state, State::Live);
        let ts = snapshot.ts.as_ref().unwrap();
        let held = snapshot.size_bytes();
        assert!(held <= HELD_BYTES_MAX, "day {day}: {held} bytes are held");
        // The last segment began with the last picture but one; dates follow the drift.
        let behind =
            world.clock().wall.unix_millis() - ts.listed.last().unwrap().program_date_time.unix_millis();
        assert!((0..=i64::from(3 * PICTURE_MS)).contains(&behind), "day {day}: dated {behind} ms ago");
        world.assert_clean();
        segments += world.segments.len();
        discontinuities += world.segments.values().filter(|segment| segment.discontinuity).count();
        let versions = snapshot.version;
        world.forget_what_is_gone();
        println!(
            "day {}: {segments} segments, {discontinuities} discontinuities, {versions} versions",
            day + 1
        );
    }
    let counters = world.packager.counters();
    println!("{counters:#?}");
    // There and back again, once a day each: another configuration.
    assert_eq!(discontinuities, 2 * DAYS as usize);
}

//! Times at which counters turn over, and clocks that are set: both packagings, in virtual time.

mod world;

use std::time::Duration;

use headwater_media::{Cause, TrackKind};
use headwater_packager::Config;
use headwater_testkit::{fidelity, flv};

use world::{World, clip, tags};

/// 2^33 ticks of 90 kHz in milliseconds: where MPEG-TS stamps begin anew.
const WRAP_MS: u64 = (1 << 33) / 90;

/// Noon, when the virtual streams start.
const NOON_MS: u64 = 43_200_000;

/// Publishes the clip once and checks everything that was made of it against what was sent.
fn arrives_whole(name: &str, config: &Config, stamps_from_ms: u32) -> World {
    let file = clip("clip.flv");
    let sent = flv::read(&file).unwrap();
    let mut world = World::new(config);
    world.begin();
    world.publish(tags(file).iter(), stamps_from_ms);
    world.end(Cause::Clean);
    world.assert_clean();
    let compared = fidelity::compare(&sent, &world.report());
    assert!(compared.is_faithful(), "{name}: {compared:#?}");
    let (video, audio) = (world.cmaf_report(TrackKind::Video), world.cmaf_report(TrackKind::Audio));
    let compared = fidelity::compare_fmp4(&sent, video.as_ref(), audio.as_ref());
    assert!(compared.is_faithful(), "{name} as CMAF: {compared:#?}");
    assert_eq!(compared.video_sent, compared.video_received, "{name}");
    let counters = world.packager.counters();
    assert_eq!((counters.repairs, counters.config_changes), Default::default(), "{name}");
    assert!(world.segments.values().all(|segment| !segment.discontinuity), "{name}");
    world
}

#[test]
fn rtmp_stamps_pass_24_8_and_49_7_days() {
    // 2^31 and 2^32 ms, in the middle of the clip's 16 s: signed and unsigned counters of 32 bits turn over.
    for (name, turn) in [("24.8 days", 1_u64 << 31), ("49.7 days", 1 << 32)] {
        arrives_whole(name, &Config::default(), u32::try_from(turn - 8_000).unwrap());
    }
}

#[test]
fn media_time_passes_26_5_hours() {
    let offset = Duration::from_millis(WRAP_MS - NOON_MS - 8_000);
    let config = Config { media_time_offset: offset, ..Config::default() };
    let world = arrives_whole("26.5 h", &config, 0);
    let (first, last) = (world.segments.values().next().unwrap(), world.segments.values().last().unwrap());
    assert!(first.start.ticks() < 1 << 33 && last.start.ticks() > 1 << 33, "media time itself goes on");
    // CMAF's decode times have 64 bits and need not wrap.
    let video = world.cmaf_report(TrackKind::Video).unwrap();
    assert!(video.samples.last().unwrap().dts > 1 << 33);
}

#[test]
fn media_time_of_a_month_and_of_years() {
    for days in [30, 365, 3_650] {
        let config = Config { media_time_offset: Duration::from_secs(days * 86_400), ..Config::default() };
        let world = arrives_whole(&format!("{days} days"), &config, 0);
        let start = world.segments.values().next().unwrap().start.millis();
        assert!(start >= i64::try_from(days * 86_400_000).unwrap());
    }
}

#[test]
fn a_wall_clock_that_is_set() {
    // Forward and back by hours, and back by less than what is listed.
    for leap_ms in [3_600_000_i64, -3_600_000, -3_000, 700] {
        let tags = tags(clip("plain.flv"));
        let mut world = World::new(&Config::default());
        world.begin();
        for turn in 0..6_u32 {
            world.now = Duration::from_secs(u64::from(turn) * 8);
            if turn == 3 {
                world.wall_set_ms = leap_ms;
            }
            world.publish(tags.iter(), turn * 8_000);
        }
        world.end(Cause::Clean);

        // The media knows nothing of it.
        let report = world.report();
        assert!(report.findings.is_empty(), "{leap_ms}: {:#?}", report.findings);
        assert!(world.segments.values().all(|segment| !segment.discontinuity), "{leap_ms}");
        assert!(world.durations_ms().iter().rev().skip(1).all(|ms| *ms == 2_000), "{leap_ms}");
        // Dates follow it, at one segment.
        let dates: Vec<i64> =
            world.segments.values().map(|segment| segment.program_date_time.unix_millis()).collect();
        let steps: Vec<i64> =
            dates.windows(2).map(|pair| pair[1] - pair[0] - 2_000).filter(|step| step.abs() > 1).collect();
        assert_eq!(steps, [leap_ms], "dates leap once, by as much");
        // DASH states the new mapping by a Period. What the checker may say of it: nothing, where time only went forward. Where
        // it went back, that what was announced is not available yet by the clock that went back; never for a version that is
        // rendered after the new Period has begun.
        let mpd = String::from_utf8(world.snapshot().mpd(None).unwrap()).unwrap();
        let now = world.clock().wall;
        let findings = headwater_manifest::dash::check::Checker::new().observe(&mpd, Some(now));
        let errors: Vec<_> = findings
            .iter()
            .filter(|finding| finding.severity == headwater_manifest::dash::check::Severity::Error)
            .collect();
        assert!(errors.is_empty(), "{leap_ms}: {errors:?}\n{mpd}");
        if leap_ms > 0 {
            assert!(world.findings.is_empty(), "{leap_ms}: {}", world.findings.join("\n"));
        }
    }
}

/// Quartz is off by up to 100 ppm: 8.6 s a day.
#[test]
fn encoder_clocks_that_run_fast_and_slow_for_days() {
    let keyframe = |tag: &&headwater_flv::Tag| {
        tag.kind == headwater_flv::TagKind::Video && tag.body.starts_with(&[0x17, 1])
    };
    let file = tags(clip("plain.flv"));
    let header: Vec<_> = file.iter().filter(|tag| tag.body.starts_with(&[0x17, 0])).cloned().collect();
    let mut picture = file.iter().find(keyframe).unwrap().clone();
    picture.timestamp_ms = 0;
    for ppm in [100_i64, -100] {
        let mut world = World::new(&Config::default());
        world.begin();
        world.publish(header.iter(), 0);
        // 30 h of a picture every 2 s: 10.8 s of drift, once past the transport stream's wrap. `sixty_days.rs` goes on from here.
        for number in 0..54_000_u32 {
            let stamp_ms = u64::from(number) * 2_000;
            let drift_ms = i64::from(number) * 2_000 * ppm / 1_000_000;
            world.now = Duration::from_millis(stamp_ms.checked_add_signed(-drift_ms).unwrap());
            world.publish(std::iter::once(&picture), u32::try_from(stamp_ms).unwrap());
            let ahead = world.packager.ahead(world.now);
            assert!(
                ahead < Duration::from_secs(3),
                "{ppm} ppm: held back for {ahead:?} after {number} pictures"
            );
        }
        let wall = world.clock().wall.unix_millis();
        world.end(Cause::Clean);
        assert!(world.findings.is_empty(), "{ppm}: {}", world.findings.join("\n"));
        assert!(world.segments.values().all(|segment| !segment.discontinuity), "{ppm}");
        let newest = world.segments.values().last().unwrap().program_date_time.unix_millis();
        // The last segment began with the last picture; dates follow the drift.
        assert!((wall - newest).abs() < 100, "{ppm}: dated {} ms ago", wall - newest);
        let counters = world.packager.counters();
        assert_eq!((counters.repairs, counters.config_changes), Default::default(), "{ppm}");
    }
}

//! Segment numbers go on over a restart and over a crash: a name never means two bodies.

use std::time::Duration;

use headwater_tests::server::fetch;
use headwater_tests::{Headwater, Scratch, media, publish};

/// Numbers are stored this far ahead of use at most, so a crash skips no more than this.
const SKIPPED_MAX: u64 = 70;

/// One life of the server: publishes until two segments are listed, then ends the server. The numbers that were listed.
fn live(scratch: &Scratch, life: &str, end: impl FnOnce(&mut Headwater)) -> (Vec<u64>, String) {
    let state = scratch.join("state");
    let server = Headwater::start_with(scratch, &format!("state_dir = {:?}", state.to_string_lossy()));
    // Players of a stream that was live wait for its publisher; a name that nobody published is unknown.
    let expected = server.streams().as_array().is_some_and(|streams| !streams.is_empty());
    assert_eq!(expected, life != "first", "{}", server.process.log());
    let playlist_url = server.http_url("/live/cam/ts/media.m3u8");
    let early = {
        let url = playlist_url.clone();
        std::thread::spawn(move || fetch(&url).status)
    };
    if !expected {
        assert_eq!(early.join().expect("an answer"), 404);
        return publish_and_end(scratch, life, server, end);
    }
    let outcome = publish_and_end(scratch, life, server, end);
    assert_eq!(early.join().expect("an answer"), 200, "it waited for the publisher");
    outcome
}

fn publish_and_end(
    scratch: &Scratch,
    life: &str,
    mut server: Headwater,
    end: impl FnOnce(&mut Headwater),
) -> (Vec<u64>, String) {
    let url = server.publish_url("cam");
    let mut publisher = publish::ffmpeg(scratch, life, &media::plain(), 4, &url);
    server.wait_until_playable("cam", Duration::from_secs(30));
    let playlist_url = server.http_url("/live/cam/ts/media.m3u8");
    let (numbers, playlist) =
        headwater_tests::process::wait_for("two segments", Duration::from_secs(30), || {
            let playlist = fetch(&playlist_url).text();
            let numbers: Vec<u64> =
                playlist.lines().filter_map(|line| line.strip_suffix(".ts")?.parse().ok()).collect();
            (numbers.len() >= 2).then_some((numbers, playlist))
        });
    end(&mut server);
    publisher.kill();
    (numbers, playlist)
}

#[test]
fn numbers_go_on_over_a_restart_and_a_crash() {
    let scratch = Scratch::new("restart");
    let (first, playlist) = live(&scratch, "first", |server| {
        assert!(server.process.stop().success(), "SIGTERM ends it cleanly: {}", server.process.log());
    });
    assert!(!playlist.contains("#EXT-X-DISCONTINUITY\n"), "nothing came before: {playlist}");

    let (second, playlist) = live(&scratch, "second", |server| {
        server.process.kill();
    });
    let (last, next) = (first[first.len() - 1], second[0]);
    // The segment that was running at the end took a number too, and perhaps one was listed after we looked.
    assert!((last + 1..=last + 3).contains(&next), "{next} after {last}");
    assert!(playlist.contains("#EXT-X-DISCONTINUITY\n"), "it continues an earlier life: {playlist}");

    let (third, _) = live(&scratch, "third", |server| {
        server.process.stop();
    });
    let (last, next) = (second[second.len() - 1], third[0]);
    assert!((last + 1..=last + SKIPPED_MAX).contains(&next), "{next} after {last}");
}

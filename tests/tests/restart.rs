//! Segment numbers go on over a restart and over a crash: a name never means two bodies.

use std::time::Duration;

use headwater_tests::process::wait_for;
use headwater_tests::server::fetch;
use headwater_tests::{Headwater, Scratch, media, publish};

/// From the last number that was listed to the first one of the next life: the running segment took one, and perhaps another was
/// listed after we looked.
const SKIPPED_MAX: u64 = 3;

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
    let (numbers, playlist) = wait_for("two segments", Duration::from_secs(30), || {
        let playlist = fetch(&playlist_url).text();
        let numbers: Vec<u64> =
            playlist.lines().filter_map(|line| line.strip_suffix(".ts")?.parse().ok()).collect();
        (numbers.len() >= 2).then_some((numbers, playlist))
    });
    end(&mut server);
    publisher.kill();
    (numbers, playlist)
}

/// Publishers are gone at once, and what they sent last is to be had a moment longer, also on new connections.
#[test]
fn players_fetch_what_came_last_before_a_shutdown() {
    let scratch = Scratch::new("last-media");
    let mut server = Headwater::start(&scratch);
    let url = server.publish_url("cam");
    let _publisher = publish::ffmpeg(&scratch, "publisher", &media::plain(), 4, &url);
    server.wait_until_playable("cam", Duration::from_secs(30));
    // Somebody who watches, and asks nothing just now.
    let watching = std::net::TcpStream::connect(("127.0.0.1", server.http_port())).expect("a connection");
    let playlist_url = server.http_url("/live/cam/video/media.m3u8");
    let before = fetch(&playlist_url).text();
    server.process.signal("TERM");
    let ready = server.admin_url("/readyz");
    wait_for("no more publishers", Duration::from_secs(5), || (fetch(&ready).status == 503).then_some(()));
    let last = wait_for("the end of the media", Duration::from_millis(900), || {
        let playlist = fetch(&playlist_url).text();
        let part = |text: &str| {
            let (_, rest) = text.rsplit_once("#EXT-X-PART:")?;
            Some(rest.split("URI=\"").nth(1)?.split('"').next()?.to_owned())
        };
        // Parts have come since, and none is announced: whoever sent them has gone.
        let is_last = part(&playlist) != part(&before) && !playlist.contains("PRELOAD-HINT");
        is_last.then(|| part(&playlist).expect("parts are listed"))
    });
    let answer = fetch(&server.http_url(&format!("/live/cam/video/{last}")));
    assert_eq!((answer.status, answer.body.is_empty()), (200, false), "{last}");
    drop(watching);
    assert!(server.process.end_within(Duration::from_secs(10)).success(), "{}", server.process.log());
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
    assert!((last + 1..=last + SKIPPED_MAX).contains(&next), "{next} after {last}");
    assert!(playlist.contains("#EXT-X-DISCONTINUITY\n"), "it continues an earlier life: {playlist}");

    let (third, _) = live(&scratch, "third", |server| {
        server.process.stop();
    });
    let (last, next) = (second[second.len() - 1], third[0]);
    assert!((last + 1..=last + SKIPPED_MAX).contains(&next), "{next} after {last}");
}

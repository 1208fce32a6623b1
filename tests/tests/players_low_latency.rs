//! Players that know low latency, at it: 20 s without a fatal error, hardly a stand-still, and so near to the camera as only low
//! latency brings them. How near exactly is for `cargo xtask latency` to say. Players that take the same playlists for ordinary ones are in
//! `players_cmaf.rs`.

use std::time::Duration;

use headwater_tests::latency::numbered::Numbered;
use headwater_tests::latency::{Latency, Viewer, glass_to_glass};
use headwater_tests::{Headwater, Scratch, media, play, publish, server, wait_for};

/// Players settle for 5 s before it.
const SECONDS: u32 = 15;

/// A player that does not know low latency is three segments of 2 s behind, and a picture's way: more than 6 s. One that does falls back
/// with each stand-still, and shaka's HLS stays there.
const LATENCY_MS_MAX: f64 = 5_500.0;

/// A second behind there is no buffer for two browsers and an encoder that want two cores at the same time: so many stand-stills are
/// theirs. What a player does alone is for `cargo xtask latency`.
const STALLS_MAX: usize = 2;

/// The browser takes parts when it comes to it: a start that began with others than it should is made again.
const STARTS_MAX: u32 = 8;

/// Pictures per second of the stream; a busy machine shows fewer than it decodes.
const PICTURES_MIN: usize = SECONDS as usize * 30 / 2;

/// Players whose stand-still is looked at once more. hls.js 1.7.4 stands still in 1 to 3 of 100 starts, with what it has loaded in
/// its queues.
const AGAIN: &[&str] = &["hls.js"];

const fn viewer(name: &'static str, mode: &'static str, output: &'static str) -> Viewer {
    Viewer { name, mode, output, settings: "{}", played_before: false }
}

/// Two at a time: two cores decode no more of them smoothly.
const PAIRS: &[[Viewer; 2]] = &[
    [viewer("hls.js", "hls.js", "/llhls.m3u8"), viewer("dash.js", "dash.js", "/ll.mpd")],
    [viewer("shaka-hls", "shaka", "/llhls.m3u8"), viewer("shaka-dash", "shaka", "/ll.mpd")],
];

#[test]
fn low_latency_players_are_near_and_smooth() {
    let scratch = Scratch::new("players-low-latency");
    let server = Headwater::start(&scratch);
    let publisher = Numbered::start(&scratch, server.rtmp_port(), "cam");
    wait_for("three segments", Duration::from_secs(60), || {
        let list = server::try_fetch(&server.http_url("/live/cam/video/media.m3u8"))?.text();
        (list.matches("#EXTINF").count() >= 3).then_some(())
    });
    let origin = server.http_url("");
    let watch = |viewer: &Viewer| {
        let once = || glass_to_glass(&scratch, viewer, &origin, "cam", &publisher, SECONDS);
        let latency = once();
        let stood_still = !latency.stalls.is_empty() || !latency.stalls_while_settling.is_empty();
        if stood_still && AGAIN.contains(&viewer.mode) { once() } else { latency }
    };
    for [one, other] in PAIRS {
        let (first, second) = std::thread::scope(|scope| {
            let first = scope.spawn(|| watch(one));
            let second = watch(other);
            (first.join().expect("it reports"), second)
        });
        assert_near_and_smooth(one, &first);
        assert_near_and_smooth(other, &second);
    }
}

/// hls.js overlooks a segment's last part where that adds 0.2 s or less and the playlist that completes the segment comes before the part in
/// front of it is parsed (ARCHITECTURE.md, "What players were seen to do"). A part of a third of a second adds more.
#[test]
fn a_slow_worker_of_hls_js_overlooks_no_part_of_a_third_of_a_second() {
    let scratch = Scratch::new("players-slow-worker");
    let server = Headwater::start_with(&scratch, "[packaging]\npart_duration = \"334ms\"");
    let _publisher = publish::ffmpeg(&scratch, "publisher", &media::clip(), 20, &server.publish_url("cam"));
    wait_for("three segments", Duration::from_secs(60), || {
        let list = server::try_fetch(&server.http_url("/live/cam/video/media.m3u8"))?.text();
        (list.matches("#EXTINF").count() >= 3).then_some(())
    });
    let url = server.http_url("/live/cam/llhls.m3u8");
    // Six parts of ten pictures, of which the last but one has index 4.
    let last_but_one = 4;
    let is_met = (0..STARTS_MAX).any(|start| {
        let name = format!("hls.js-{start}");
        let playback = play::hls_js_with_a_slow_worker(&scratch, &name, &url, last_but_one, 8);
        playback.assert_smooth(8.0, 30.0);
        playback.details["trapped"] == "true"
    });
    assert!(is_met, "no start whose first parts end with a segment's last but one");
}

fn assert_near_and_smooth(viewer: &Viewer, latency: &Latency) {
    let name = viewer.name;
    assert!(latency.fatal.is_empty(), "{name}: {:?}", latency.fatal);
    assert!(latency.stalls.len() <= STALLS_MAX, "{name} stalled: {:?}", latency.stalls);
    assert!(latency.seen >= PICTURES_MIN, "{name}: only {} pictures", latency.seen);
    let median = latency.percentile_ms(50).unwrap_or(f64::INFINITY);
    assert!(median < LATENCY_MS_MAX, "{name} is {median:.0} ms behind");
}

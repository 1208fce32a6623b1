//! The real OBS Studio streams for a minute as a fresh profile makes it: x264 with B-frames and a keyframe interval of "auto",
//! which is 250 pictures, 8.3 s. The picture plays in a browser.

use std::time::{Duration, Instant};

use headwater_tests::{Headwater, Scratch, follow::follow, judge, media, obs::Obs, play, wait_for};

/// OBS starts in four seconds and the first playlist waits for the second keyframe at 8.3 s; a busy machine is slower.
const PLAYABLE: Duration = Duration::from_secs(60);

/// How long it streams.
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn obs_streams_a_minute() {
    let scratch = Scratch::new("obs");
    let server = Headwater::start(&scratch);
    let address = format!("rtmp://127.0.0.1:{}/live", server.rtmp_port());
    let mut obs = Obs::start(&scratch, &media::clip(), &address, "cam");
    let url = server.watch_url("cam");
    // Not wait_until_playable: OBS must still be there.
    wait_for("OBS to be playable", PLAYABLE, || {
        assert!(obs.process.status().is_none(), "OBS ended: {}", obs.process.log());
        let answer = headwater_tests::server::try_fetch(&url)?;
        (answer.status == 200).then_some(())
    });
    let started = Instant::now();
    let (recording, playback) = std::thread::scope(|scope| {
        let player = scope.spawn(|| play::hls_js(&scratch, "hls.js", &url, 30));
        let recording = follow(&url, |_| started.elapsed() >= MINUTE);
        (recording, player.join().expect("the player's runner"))
    });
    assert!(obs.process.status().is_none(), "OBS ended: {}", obs.process.log());

    judge::playlists(&recording);
    let report = judge::transport_stream(&recording);
    let pictures: Vec<_> = report.video().collect();
    // 60 s and what was there at the first look, less what was not complete at the last.
    assert!(pictures.len() >= 50 * 30, "{} pictures", pictures.len());
    assert!(pictures.iter().any(|picture| picture.pts != picture.dts), "OBS sends B-frames");
    let keyframes: Vec<i64> =
        pictures.iter().filter(|picture| picture.is_idr()).map(|picture| picture.pts).collect();
    // 8.3 s of 90 kHz ticks; scene cuts may bring one early, none may be missing.
    let widest = keyframes.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    assert!((450_000..=800_000).contains(&widest), "keyframes at {keyframes:?}");
    judge::decodes_silently(&scratch, "received", "ts", &recording.transport_stream());
    playback.assert_smooth(30.0, 30.0);
}

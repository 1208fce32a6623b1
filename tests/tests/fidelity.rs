//! Every access unit that ffmpeg sends for a minute arrives in every packaging: in order, once, unchanged, in sync.

use std::path::Path;
use std::time::Duration;

use headwater_tests::follow::{Recording, follow};
use headwater_tests::{Headwater, Scratch, follow_dash, judge, media, publish};

/// The first playlist waits for the second keyframe; a busy machine starts slowly.
const PLAYABLE: Duration = Duration::from_secs(30);

/// What the issue asks for, in seconds of media.
const SECONDS: u32 = 60;

#[test]
fn a_minute_of_the_clip_arrives_whole() {
    // Two B-frames, 30 fps, 48 kHz: four loops of 16 s in one file.
    let scratch = Scratch::new("fidelity-clip");
    let clip = media::clip();
    let loops = ["-stream_loop", "3", "-i", &clip.to_string_lossy(), "-c", "copy"].map(str::to_owned);
    let file = media::make(&scratch, "sent", &loops);
    arrives_whole(&scratch, &file);
}

#[test]
fn a_minute_of_awkward_rates_arrives_whole() {
    // 29.97 fps and 44.1 kHz: no stamp in milliseconds is exact. B-frames where x264 wants them, keyframes at scene cuts.
    let scratch = Scratch::new("fidelity-awkward");
    let mut arguments = media::picture("30000/1001", SECONDS);
    arguments.extend(media::tone(44_100, "stereo", SECONDS));
    let codecs = "-c:v libx264 -preset veryfast -bf 3 -b_strategy 2 -g 90 -pix_fmt yuv420p -c:a aac -b:a 96k";
    arguments.extend(codecs.split(' ').map(str::to_owned));
    let file = media::make(&scratch, "sent", &arguments);
    arrives_whole(&scratch, &file);
}

fn arrives_whole(scratch: &Scratch, file: &Path) {
    let server = Headwater::start(scratch);
    let mut ffmpeg = publish::ffmpeg(scratch, "publisher", file, 1, &server.publish_url("cam"));
    server.wait_until_playable("cam", PLAYABLE);
    // Twice the length: a stream that never ends fails the test below and does not hang it.
    let looks_max = SECONDS * 4;
    let patience = |recording: &Recording| recording.versions.len() >= looks_max as usize;
    let place = |path: &str| server.http_url(&format!("/live/cam/{path}"));
    let (ts, video, audio, dash) = std::thread::scope(|scope| {
        let ts = scope.spawn(|| follow(&server.watch_url("cam"), patience));
        let video = scope.spawn(|| follow(&place("video/media.m3u8"), patience));
        let audio = scope.spawn(|| follow(&place("audio/media.m3u8"), patience));
        let dash = follow_dash::follow(&place("manifest.mpd"), Duration::from_secs(u64::from(SECONDS) * 2));
        let joined =
            [ts, video, audio].map(|follower| follower.join().expect("a follower notes what it finds"));
        let [ts, video, audio] = joined;
        (ts, video, audio, dash)
    });
    assert!(ffmpeg.wait(Duration::from_secs(10)).success(), "ffmpeg: {}", ffmpeg.log());
    let ended = ts.ended && video.ended && audio.ended && dash.ended;
    assert!(ended, "a stream did not end after ffmpeg said goodbye");

    judge::playlists(&ts);
    let report = judge::transport_stream(&ts);
    let fidelity = judge::fidelity(file, &report);
    let frames = usize::try_from(SECONDS * 29).unwrap_or(usize::MAX);
    assert!(fidelity.video_received >= frames, "only {} pictures", fidelity.video_received);
    assert!(report.video().any(|picture| picture.pts != picture.dts), "B-frames were part of the test");
    judge::decodes_silently(scratch, "received", "ts", &ts.transport_stream());

    for recording in [&video, &audio] {
        judge::playlists(recording);
    }
    let (pictures, sound) = (judge::track_file(&video), judge::track_file(&audio));
    let fidelity = judge::fidelity_cmaf(file, Some(&pictures), Some(&sound));
    assert!(fidelity.video_received >= frames, "only {} pictures as CMAF", fidelity.video_received);
    judge::decodes_silently(scratch, "video", "mp4", &video.track_file());
    judge::decodes_silently(scratch, "audio", "mp4", &audio.track_file());

    judge::mpds(scratch, &dash);
    assert_eq!(dash.periods.len(), 1, "an undisturbed stream is one Period: {:?}", dash.periods);
    let (pictures, sound) = (judge::representation(&dash, "video"), judge::representation(&dash, "audio"));
    let fidelity = judge::fidelity_cmaf(file, Some(&pictures), Some(&sound));
    assert!(fidelity.video_received >= frames, "only {} pictures in DASH", fidelity.video_received);
}

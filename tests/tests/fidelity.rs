//! Every access unit that ffmpeg sends for a minute arrives: in order, once, unchanged, in sync.

use std::path::Path;
use std::time::Duration;

use headwater_tests::{Headwater, Scratch, follow::follow, judge, media, publish};

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
    let recording =
        follow(&server.watch_url("cam"), |recording| recording.versions.len() >= looks_max as usize);
    assert!(ffmpeg.wait(Duration::from_secs(10)).success(), "ffmpeg: {}", ffmpeg.log());
    assert!(recording.ended, "the stream did not end after ffmpeg said goodbye");

    judge::playlists(&recording);
    let report = judge::transport_stream(&recording);
    let fidelity = judge::fidelity(file, &report);
    let frames = usize::try_from(SECONDS * 29).unwrap_or(usize::MAX);
    assert!(fidelity.video_received >= frames, "only {} pictures", fidelity.video_received);
    assert!(report.video().any(|picture| picture.pts != picture.dts), "B-frames were part of the test");
    judge::decodes_silently(scratch, "received", &recording);
}

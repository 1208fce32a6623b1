//! The matrix of forms: frame rates, B-frames, sampling rates, channels, missing tracks, tracks that start apart, MP3.
//!
//! Every case is a stream of its own on one server, all at the same time, and each arrives whole.

use std::path::{Path, PathBuf};
use std::time::Duration;

use headwater_tests::{Headwater, Scratch, follow::follow, judge, media, publish};

/// A few segments each.
const SECONDS: u32 = 10;

/// The first playlist waits for the second keyframe; many streams start at once here.
const PLAYABLE: Duration = Duration::from_secs(40);

/// One row of the matrix.
struct Case {
    name: &'static str,
    file: PathBuf,
    /// What ffprobe must say of the received streams: codec, size, channels, rates.
    expected: &'static [&'static str],
}

/// ffprobe's fields that `Case::expected` is compared with, joined by commas in ffprobe's order.
const FIELDS: &str = "codec_name,profile,width,height,sample_rate,channels,r_frame_rate";

fn arguments(parts: &[Vec<String>], rest: &str) -> Vec<String> {
    let mut arguments: Vec<String> = parts.iter().flatten().cloned().collect();
    arguments.extend(rest.split_whitespace().map(str::to_owned));
    arguments
}

fn aac() -> Vec<String> {
    ["-c:a", "aac", "-b:a", "96k"].map(str::to_owned).to_vec()
}

/// Video in `fps`, two-second keyframes, with AAC 48 kHz stereo.
fn video_case(
    scratch: &Scratch,
    name: &'static str,
    fps: &str,
    gop: u32,
    b: u32,
    expected: &'static [&'static str],
) -> Case {
    let parts =
        [media::picture(fps, SECONDS), media::tone(48_000, "stereo", SECONDS), media::x264(gop, b), aac()];
    Case { name, file: media::make(scratch, name, &arguments(&parts, "")), expected }
}

/// 25 fps video with this sound.
fn audio_case(
    scratch: &Scratch,
    name: &'static str,
    rate: u32,
    layout: &str,
    codec: &str,
    expected: &'static [&'static str],
) -> Case {
    let parts = [media::picture("25", SECONDS), media::tone(rate, layout, SECONDS), media::x264(50, 2)];
    Case { name, file: media::make(scratch, name, &arguments(&parts, codec)), expected }
}

fn cases(scratch: &Scratch) -> Vec<Case> {
    let one = |name, inputs: Vec<String>, rest: &str, expected| Case {
        name,
        file: media::make(scratch, name, &arguments(&[inputs], rest)),
        expected,
    };
    let mut video_later = ["-itsoffset", "1.5"].map(str::to_owned).to_vec();
    video_later.extend(media::picture("25", SECONDS - 2));
    let mut audio_later = ["-itsoffset", "1.5"].map(str::to_owned).to_vec();
    audio_later.extend(media::tone(48_000, "stereo", SECONDS - 2));
    let both = "-map 0:v -map 1:a";
    let av = &["h264,High,320,180,25/1", "aac,LC,48000,2,0/0"];
    vec![
        video_case(
            scratch,
            "23.976-fps",
            "24000/1001",
            48,
            2,
            &["h264,High,320,180,24000/1001", "aac,LC,48000,2,0/0"],
        ),
        video_case(
            scratch,
            "25-fps-no-b-frames",
            "25",
            50,
            0,
            &["h264,High,320,180,25/1", "aac,LC,48000,2,0/0"],
        ),
        video_case(
            scratch,
            "29.97-fps",
            "30000/1001",
            60,
            2,
            &["h264,High,320,180,30000/1001", "aac,LC,48000,2,0/0"],
        ),
        video_case(
            scratch,
            "30-fps-3-b-frames",
            "30",
            60,
            3,
            &["h264,High,320,180,30/1", "aac,LC,48000,2,0/0"],
        ),
        video_case(scratch, "50-fps", "50", 100, 2, &["h264,High,320,180,50/1", "aac,LC,48000,2,0/0"]),
        video_case(scratch, "60-fps", "60", 120, 2, &["h264,High,320,180,60/1", "aac,LC,48000,2,0/0"]),
        video_case(scratch, "keyframe-each-4-s", "25", 100, 2, av),
        audio_case(
            scratch,
            "44.1-kHz-mono",
            44_100,
            "mono",
            "-c:a aac -b:a 64k",
            &["h264,High,320,180,25/1", "aac,LC,44100,1,0/0"],
        ),
        audio_case(
            scratch,
            "44.1-kHz-stereo",
            44_100,
            "stereo",
            "-c:a aac -b:a 96k",
            &["h264,High,320,180,25/1", "aac,LC,44100,2,0/0"],
        ),
        audio_case(
            scratch,
            "48-kHz-mono",
            48_000,
            "mono",
            "-c:a aac -b:a 64k",
            &["h264,High,320,180,25/1", "aac,LC,48000,1,0/0"],
        ),
        audio_case(
            scratch,
            "48-kHz-5.1",
            48_000,
            "5.1",
            "-c:a aac -b:a 256k",
            &["h264,High,320,180,25/1", "aac,LC,48000,6,0/0"],
        ),
        audio_case(
            scratch,
            "mp3-44.1-kHz",
            44_100,
            "stereo",
            "-c:a libmp3lame -b:a 128k",
            &["h264,High,320,180,25/1", "mp3,unknown,44100,2,0/0"],
        ),
        one(
            "audio-only",
            media::tone(48_000, "stereo", SECONDS),
            "-c:a aac -b:a 96k",
            &["aac,LC,48000,2,0/0"],
        ),
        one(
            "audio-only-mp3",
            media::tone(44_100, "mono", SECONDS),
            "-c:a libmp3lame -b:a 64k",
            &["mp3,unknown,44100,1,0/0"],
        ),
        one(
            "video-only",
            media::picture("25", SECONDS),
            &media::x264(50, 2).join(" "),
            &["h264,High,320,180,25/1"],
        ),
        one(
            "video-starts-1.5-s-later",
            [video_later, media::tone(48_000, "stereo", SECONDS)].concat(),
            &format!("{both} {} -c:a aac -b:a 96k", media::x264(50, 2).join(" ")),
            av,
        ),
        one(
            "audio-starts-1.5-s-later",
            [media::picture("25", SECONDS), audio_later].concat(),
            &format!("{both} {} -c:a aac -b:a 96k", media::x264(50, 2).join(" ")),
            av,
        ),
    ]
}

#[test]
fn every_form_arrives_whole() {
    let scratch = Scratch::new("formats");
    let cases = cases(&scratch);
    let server = Headwater::start(&scratch);
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = cases
            .iter()
            .map(|case| (case.name, scope.spawn(|| arrives_whole(&scratch, &server, case))))
            .collect();
        threads.into_iter().map(|(name, thread)| (name, thread.join())).collect()
    });
    let failed: Vec<&str> =
        outcomes.iter().filter(|(_, outcome)| outcome.is_err()).map(|(name, _)| *name).collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn arrives_whole(scratch: &Scratch, server: &Headwater, case: &Case) {
    let name = case.name;
    let mut publisher = publish::ffmpeg(scratch, name, &case.file, 1, &server.publish_url(name));
    server.wait_until_playable(name, PLAYABLE);
    let recording = follow(&server.watch_url(name), |recording| recording.versions.len() >= 80);
    assert!(publisher.wait(Duration::from_secs(10)).success(), "{name}: ffmpeg: {}", publisher.log());
    assert!(recording.ended, "{name}: the end was announced");
    judge::playlists(&recording);
    let report = judge::transport_stream(&recording);
    judge::fidelity(&case.file, &report);
    judge::decodes_silently(scratch, name, "ts", &recording.transport_stream());
    assert_eq!(judge::probed(scratch, name, &recording, FIELDS), case.expected, "{name}");
}

#[test]
fn a_track_that_comes_late_joins_the_running_stream() {
    // Later than the two seconds for which a session waits for its second track (rtmp.md 9.4): it has started by then.
    let scratch = Scratch::new("formats-late");
    let server = Headwater::start(&scratch);
    let late = |inputs: Vec<String>| [["-itsoffset", "4"].map(str::to_owned).to_vec(), inputs].concat();
    let codecs = format!("-map 0:v -map 1:a {} -c:a aac -b:a 96k", media::x264(50, 2).join(" "));
    let picture = || media::picture("25", SECONDS - 4);
    let tone = || media::tone(48_000, "stereo", SECONDS - 4);
    let cases = [
        ("late-audio", arguments(&[media::picture("25", SECONDS), late(tone())], &codecs)),
        ("late-video", arguments(&[late(picture()), media::tone(48_000, "stereo", SECONDS)], &codecs)),
    ];
    let files = cases.map(|(name, arguments)| (name, media::make(&scratch, name, &arguments)));
    std::thread::scope(|scope| {
        for (name, file) in &files {
            scope.spawn(|| joins(&scratch, &server, name, file));
        }
    });
}

fn joins(scratch: &Scratch, server: &Headwater, name: &str, file: &Path) {
    let mut publisher = publish::ffmpeg(scratch, name, file, 1, &server.publish_url(name));
    server.wait_until_playable(name, PLAYABLE);
    let recording = follow(&server.watch_url(name), |recording| recording.versions.len() >= 80);
    assert!(publisher.wait(Duration::from_secs(10)).success(), "{name}: ffmpeg: {}", publisher.log());
    assert!(recording.ended, "{name}: the end was announced");
    // A multivariant playlist that was fetched before the first picture cannot know the frame rate.
    let findings = judge::playlist_findings(&recording);
    let others: Vec<_> = findings.iter().filter(|finding| !finding.contains("no FRAME-RATE")).collect();
    assert!(others.is_empty(), "{name}: {others:?}");
    // A change of tracks is a discontinuity (hls.md 3.9), and happens once.
    let discontinuities = recording.segments.values().skip(1).filter(|segment| segment.discontinuity).count();
    assert_eq!(discontinuities, 1, "{name}");

    let report = judge::transport_stream(&recording);
    let fidelity = judge::likeness(file, &report);
    // Sound that comes while a segment of pictures is open is kept from the next cut on: at most one segment of it is lost.
    let segment_of_frames = 2 * 48_000 / 1_024 + 1;
    let lost = fidelity.audio_sent - fidelity.audio_received;
    assert!(lost <= segment_of_frames, "{name}: {lost} audio frames are missing");
    let others: Vec<_> =
        fidelity.findings.iter().filter(|finding| !finding.contains("missing before received 0")).collect();
    assert!(others.is_empty(), "{name}: {others:?}");
    assert_eq!(fidelity.video_received, fidelity.video_sent, "{name}");
    judge::decodes_silently(scratch, name, "ts", &recording.transport_stream());
}

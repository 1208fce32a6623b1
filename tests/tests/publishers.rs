//! Real encoders publish for a while: what they send is packaged without a fault and decodes without a word.

use std::time::Duration;

use headwater_tests::follow::{Recording, follow};
use headwater_tests::{Headwater, Process, Scratch, judge, media, publish};

/// The first playlist waits for the second keyframe; encoders and a busy machine start slowly.
const PLAYABLE: Duration = Duration::from_secs(30);

/// Looks at the playlist, two a second: more than any of these streams lasts.
const LOOKS_MAX: usize = 120;

/// Follows the stream from its first playlist to its end and judges it.
fn watch_to_the_end(
    scratch: &Scratch,
    server: &Headwater,
    publisher: &mut Process,
    pictures_min: usize,
) -> Recording {
    server.wait_until_playable("cam", PLAYABLE);
    let recording = follow(&server.watch_url("cam"), |recording| recording.versions.len() >= LOOKS_MAX);
    let status = publisher.wait(Duration::from_secs(20));
    assert!(status.success(), "the publisher ended with {status}: {}", publisher.log());
    assert!(recording.ended, "the end was announced");
    judge::playlists(&recording);
    let report = judge::transport_stream(&recording);
    let pictures = report.video().count();
    assert!(pictures >= pictures_min, "{pictures} pictures of {pictures_min}");
    judge::decodes_silently(scratch, "received", "ts", &recording.transport_stream());
    recording
}

#[test]
fn ffmpeg_with_re() {
    let scratch = Scratch::new("publisher-ffmpeg");
    let server = Headwater::start(&scratch);
    let mut ffmpeg = publish::ffmpeg(&scratch, "ffmpeg", &media::plain(), 2, &server.publish_url("cam"));
    watch_to_the_end(&scratch, &server, &mut ffmpeg, 400);
}

#[test]
fn gstreamer_rtmp2sink() {
    let scratch = Scratch::new("publisher-rtmp2sink");
    let server = Headwater::start(&scratch);
    let url = server.publish_url("cam");
    let mut gstreamer = publish::gstreamer(&scratch, "gstreamer", "rtmp2sink", 14, &url);
    // The pipeline's last pictures may still be in a queue when it ends.
    watch_to_the_end(&scratch, &server, &mut gstreamer, 14 * 30 - 5);
}

#[test]
fn librtmp() {
    let scratch = Scratch::new("publisher-librtmp");
    let server = Headwater::start(&scratch);
    let url = server.publish_url("cam");
    let mut gstreamer = publish::gstreamer(&scratch, "gstreamer", "rtmpsink", 14, &url);
    watch_to_the_end(&scratch, &server, &mut gstreamer, 14 * 30 - 5);
}

//! A playlist is followed for a minute: every version obeys the rules and follows from the one before, at the end too.

use std::time::Duration;

use headwater_tests::{Headwater, Scratch, follow::follow, judge, media, publish};

/// Long enough for the window to slide for forty seconds.
const SECONDS: u32 = 64;

#[test]
fn every_version_follows_from_the_one_before() {
    let scratch = Scratch::new("playlist-minute");
    let server = Headwater::start(&scratch);
    let url = server.publish_url("cam");
    // ffmpeg's loop goes on without a seam; at its end ffmpeg says goodbye.
    let mut publisher = publish::ffmpeg(&scratch, "publisher", &media::clip(), SECONDS / 16, &url);
    server.wait_until_playable("cam", Duration::from_secs(30));
    let recording =
        follow(&server.watch_url("cam"), |recording| recording.versions.len() >= (SECONDS * 4) as usize);
    assert!(publisher.wait(Duration::from_secs(10)).success(), "ffmpeg: {}", publisher.log());

    judge::playlists(&recording);
    assert!(recording.ended, "the end was announced");
    let first = &recording.versions.first().expect("a version").1;
    let last = &recording.versions.last().expect("a version").1;
    let number = |text: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
        line.and_then(|number| number.parse().ok()).expect("a media sequence number")
    };
    // 64 s of 2 s segments in a window of 20 s: the window has moved, and nothing was skipped.
    assert!(number(last) >= number(first) + 15, "the window did not slide: {first}\n{last}");
    let seconds = recording.seconds();
    assert!((seconds - f64::from(SECONDS)).abs() < 0.2, "the playlists announced {seconds} s");
    assert!(recording.multivariant.contains("CODECS=\"avc1."), "{}", recording.multivariant);
    assert!(recording.multivariant.contains("RESOLUTION=854x480"), "{}", recording.multivariant);
}

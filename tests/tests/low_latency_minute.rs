//! Low-Latency HLS is followed for a minute as its clients do, picture and sound: every version obeys the rules and follows from the
//! one before, whether it came whole or as a delta update; every hinted part comes once; the parts are the segment; and all that the
//! encoder sent is in them.

use std::time::Duration;

use headwater_testkit::fmp4::{Fmp4Reader, Fmp4Report};
use headwater_tests::follow_parts::{Recording, follow};
use headwater_tests::{Headwater, Scratch, judge, media, publish};

/// The clip four times over.
const SECONDS: usize = 64;

/// Parts of 200 ms; a few pass before the first playlist, and segments end with shorter ones.
const PARTS_MIN: usize = SECONDS * 5 * 9 / 10;

#[test]
fn every_version_and_every_part_of_a_minute() {
    let scratch = Scratch::new("low-latency-minute");
    let clip = media::clip();
    let loops = ["-stream_loop", "3", "-i", &clip.to_string_lossy(), "-c", "copy"].map(str::to_owned);
    let file = media::make(&scratch, "sent", &loops);
    let server = Headwater::start(&scratch);
    let mut publisher = publish::ffmpeg(&scratch, "publisher", &file, 1, &server.publish_url("cam"));
    server.wait_until_playable("cam", Duration::from_secs(30));
    let place = |rendition: &str| server.http_url(&format!("/live/cam/{rendition}/media.m3u8"));
    let (video, audio) = std::thread::scope(|scope| {
        let video = scope.spawn(|| follow(&place("video")));
        let audio = follow(&place("audio"));
        (video.join().expect("a follower notes what it finds"), audio)
    });
    for recording in [&video, &audio] {
        assert!(recording.failures.is_empty(), "{}", recording.failures.join("\n"));
    }
    assert!(publisher.wait(Duration::from_secs(10)).success(), "ffmpeg: {}", publisher.log());
    for recording in [&video, &audio] {
        assert!(recording.ended, "the end was announced");
        assert!(recording.parts.len() >= PARTS_MIN, "only {} parts", recording.parts.len());
        assert!(recording.hinted.len() >= PARTS_MIN * 9 / 10, "only {} by hint", recording.hinted.len());
        assert!(recording.deltas * 3 >= recording.versions, "{} deltas", recording.deltas);
        assert!(recording.deltas_compared * 2 >= recording.deltas, "{} compared", recording.deltas_compared);
        assert!(recording.reports * 10 >= recording.versions * 9, "{} reports", recording.reports);
        assert!(recording.grown.len() + 5 >= recording.segments.len(), "{} grown", recording.grown.len());
        segments_are_their_parts(recording);
    }
    let fidelity = judge::fidelity_cmaf(&file, Some(&read_parts(&video)), Some(&read_parts(&audio)));
    assert!(fidelity.video_received >= SECONDS * 29, "only {} pictures", fidelity.video_received);
}

/// # Panics
/// Where a segment differs from its parts, or from itself as it was while it grew.
fn segments_are_their_parts(recording: &Recording) {
    for (sequence, segment) in &recording.segments {
        assert!(joined(recording, *sequence) == *segment, "the parts of {sequence} are not the segment");
        if let Some(grown) = recording.grown.get(sequence) {
            assert!(grown == segment, "{sequence} was another one while it grew");
        }
    }
    let numbers: Vec<u64> = recording.segments.keys().copied().collect();
    assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "segments were missed: {numbers:?}");
}

fn joined(recording: &Recording, sequence: u64) -> Vec<u8> {
    recording
        .parts
        .range((sequence, 0)..(sequence + 1, 0))
        .flat_map(|(_, part)| part.iter().copied())
        .collect()
}

/// The parts read back by another's reader.
fn read_parts(recording: &Recording) -> Fmp4Report {
    let mut reader = Fmp4Reader::new();
    reader.init(&recording.init);
    for sequence in recording.segments.keys() {
        reader.segment(&joined(recording, *sequence));
    }
    let report = reader.finish();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    report
}

//! `headwater probe` reads what the server publishes and finds no error in it, and reads ffmpeg's own packaging without
//! nonsense.

use std::process::Command;
use std::time::Duration;

use headwater_tests::reference::{Packaging, Reference};
use headwater_tests::{Headwater, Scratch, media, publish, server, wait_for};
use serde_json::Value;

/// Three live segments at the join and two new ones; ffmpeg starts with fewer.
const FOLLOWED: &str = "6s";

/// Runs the probe. Returns the exit status and the report.
fn probe(url: &str) -> (Option<i32>, Value) {
    let mut probe = Command::new(server::binary());
    probe.args(["probe", "--json", "--duration", FOLLOWED, url]);
    let output = probe.output().expect("the binary can be started");
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{url}: {error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

/// `severity [rule] message` of every finding.
fn findings(report: &Value) -> Vec<String> {
    let subjects = report["subjects"].as_array().into_iter().flatten();
    let findings = subjects.flat_map(|subject| subject["findings"].as_array().into_iter().flatten());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    findings
        .map(|f| format!("{} [{}] {}", text(&f["severity"]), text(&f["rule"]), text(&f["message"])))
        .collect()
}

/// Summaries of the subjects, as one text.
fn summaries(report: &Value) -> String {
    let subjects = report["subjects"].as_array().into_iter().flatten();
    subjects.filter_map(|subject| subject["summary"].as_str()).collect::<Vec<_>>().join("\n")
}

#[test]
fn nothing_is_wrong_with_what_the_server_publishes() {
    let scratch = Scratch::new("probe-own");
    let server = Headwater::start(&scratch);
    let _publisher = publish::ffmpeg(&scratch, "publisher", &media::clip(), 8, &server.publish_url("cam"));
    server.wait_until_playable("cam", Duration::from_secs(30));
    // Three segments, so that every address has something to join at.
    let playlist = server.http_url("/live/cam/ts/media.m3u8");
    wait_for("three segments", Duration::from_secs(30), || {
        (server::fetch(&playlist).text().matches("#EXTINF").count() >= 3).then_some(())
    });
    for (name, contents) in [
        ("index.m3u8", &["multivariant playlist of 1 media playlist", "live, target duration"][..]),
        ("manifest.mpd", &["live MPD of 1 Period", "video avc1.64001f 854x480", "audio mp4a.40.2"]),
        // The last, for what a delta update leaves out is twelve seconds old.
        (
            "llhls.m3u8",
            &[
                "multivariant playlist of 2",
                "live avc1.64001f 854x480",
                "live mp4a.40.2",
                "delta update",
                "rendition reports compared",
            ],
        ),
    ] {
        let (status, report) = probe(&server.http_url(&format!("/live/cam/{name}")));
        let found = findings(&report);
        assert_eq!(status, Some(0), "{name}: {found:#?}");
        // A notice is allowed: nobody says what language a tone is.
        let serious: Vec<_> = found.iter().filter(|line| !line.starts_with("notice")).collect();
        assert!(serious.is_empty(), "{name}: {serious:#?}");
        let summaries = summaries(&report);
        for content in contents {
            assert!(summaries.contains(content), "{name}: {summaries}");
        }
        let tracks = if name == "index.m3u8" { 1 } else { 2 };
        assert!(report["segments"].as_u64() >= Some(4 * tracks), "{name}: {summaries}");
        let latency = report["latency_seconds"].as_f64().unwrap_or(f64::MAX);
        assert!(latency < 6.0, "{name}: the live edge is {latency} s behind");
    }
}

#[test]
fn ffmpegs_own_fmp4_playlist_is_read() {
    let scratch = Scratch::new("probe-ffmpeg-fmp4");
    let reference = Reference::start_as(&scratch, &media::clip(), Packaging::Fmp4);
    let (status, report) = probe(reference.url());
    let found = findings(&report);
    assert_eq!(status, Some(0), "{found:#?}");
    assert!(!found.iter().any(|line| line.contains("[cmaf")), "{found:#?}");
    let summaries = summaries(&report);
    assert!(summaries.contains("live avc1.64001f 854x480 + mp4a.40.2"), "{summaries}");
    assert!(report["segments"].as_u64() >= Some(4), "{summaries}");
}

#[test]
fn ffmpegs_own_mpd_is_read() {
    let scratch = Scratch::new("probe-ffmpeg-dash");
    let reference = Reference::start_as(&scratch, &media::clip(), Packaging::Dash);
    let (_, report) = probe(reference.url());
    let found = findings(&report);
    // ffmpeg lists audio segments of 2.005 s under a @maxSegmentDuration of 2 s.
    let errors: Vec<_> = found.iter().filter(|line| line.starts_with("error")).collect();
    assert!(errors.iter().all(|line| line.contains("more than @maxSegmentDuration")), "{errors:#?}");
    assert!(!found.iter().any(|line| line.contains("[cmaf") || line.contains("[dash 5.2]")), "{found:#?}");
    let summaries = summaries(&report);
    assert!(summaries.contains("video avc1.64001f 854x480"), "{summaries}");
    assert!(summaries.contains("audio mp4a.40.2"), "{summaries}");
    assert!(report["segments"].as_u64() >= Some(8), "{summaries}");
}

#[test]
fn what_is_not_there_cannot_be_probed() {
    let scratch = Scratch::new("probe-nothing");
    let server = Headwater::start(&scratch);
    for path in ["/time", "/live/nobody/manifest.mpd"] {
        let (status, report) = probe(&server.http_url(path));
        assert_eq!(status, Some(2), "{path}: {report:#}");
    }
}

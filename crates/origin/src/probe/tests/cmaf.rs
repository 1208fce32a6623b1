//! Whole probes of HLS with fMP4: ffmpeg's fragments behind good playlists, then one thing wrong at a time.

use headwater_manifest::hls::check::Severity::{self, Error, Warning};

use super::site::{Probed, Site, Tweak, nothing, probe};
use crate::probe::ProbeOutcome;

/// Audio and video with their init segments, as `/v1.m4s`, `/a-init.mp4` and so on.
pub(super) fn media(tweak: Tweak) -> Site {
    [
        ("v-init.mp4", &include_bytes!("../fixtures/v-init.mp4")[..]),
        ("v1.m4s", &include_bytes!("../fixtures/v1.m4s")[..]),
        ("v2.m4s", &include_bytes!("../fixtures/v2.m4s")[..]),
        ("v3.m4s", &include_bytes!("../fixtures/v3.m4s")[..]),
        ("v4.m4s", &include_bytes!("../fixtures/v4.m4s")[..]),
        ("a-init.mp4", &include_bytes!("../fixtures/a-init.mp4")[..]),
        ("a1.m4s", &include_bytes!("../fixtures/a1.m4s")[..]),
        ("a2.m4s", &include_bytes!("../fixtures/a2.m4s")[..]),
        ("a3.m4s", &include_bytes!("../fixtures/a3.m4s")[..]),
        ("a4.m4s", &include_bytes!("../fixtures/a4.m4s")[..]),
    ]
    .into_iter()
    .fold(Site::new(tweak), |site, (name, bytes)| site.file(&format!("/{name}"), vec![bytes.to_vec()]))
}

const MULTIVARIANT: &str = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n\
    #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"Main\",LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"1\",URI=\"a.m3u8\"\n\
    #EXT-X-STREAM-INF:BANDWIDTH=90000,AVERAGE-BANDWIDTH=80000,CODECS=\"avc1.64000a,mp4a.40.2\",RESOLUTION=64x36,FRAME-RATE=25.000,AUDIO=\"a\",CLOSED-CAPTIONS=NONE\nv.m3u8\n";

/// An ended playlist of `kind`'s four segments, dated.
fn playlist(kind: &str) -> String {
    let (durations, dates) = match kind {
        "v" => (["1.000000"; 4], ["00.080", "01.080", "02.080", "03.080"]),
        _ => (["1.002667"; 4], ["00.062", "01.065", "02.067", "03.070"]),
    };
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-MAP:URI=\"{kind}-init.mp4\"\n"
    );
    for (n, (duration, date)) in (1..).zip(durations.into_iter().zip(dates)) {
        text += &format!(
            "#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:{date}Z\n#EXTINF:{duration},\n{kind}{n}.m4s\n"
        );
    }
    text + "#EXT-X-ENDLIST\n"
}

/// The presentation, its texts changed by `change` of path and text.
fn presentation(tweak: Tweak, change: impl Fn(&str, String) -> String) -> Probed {
    let site =
        [("/index.m3u8", MULTIVARIANT.to_owned()), ("/v.m3u8", playlist("v")), ("/a.m3u8", playlist("a"))]
            .into_iter()
            .fold(media(tweak), |site, (path, text)| site.text(path, &change(path, text)));
    probe(site, "/index.m3u8")
}

#[test]
fn a_good_presentation_is_clean() {
    let probed = presentation(nothing, |_, text| text);
    assert_eq!(probed.found, [], "{:#?}", probed.report);
    assert_eq!(probed.outcome, ProbeOutcome::Clean);
    assert_eq!(probed.report["segments"], 8);
    let summary = probed.report["subjects"][1]["summary"].as_str().unwrap_or_default().to_owned();
    assert!(summary.starts_with("ended avc1.64000a 64x36, target duration 1 s"), "{summary}");
}

#[test]
fn spoilt_presentations_are_found() {
    type Change = fn(&str, String) -> String;
    let rows: Vec<(&str, Change, Severity, &str, &str)> = vec![
        (
            "no init segment",
            |_, t| t.replace("v-init", "x-init"),
            Error,
            "hls 3.15",
            "the init segment is answered with 404",
        ),
        (
            "an init segment that is none",
            |_, t| t.replace("v-init.mp4", "v2.m4s"),
            Error,
            "cmaf 2.1",
            "no moov",
        ),
        (
            "an init segment elsewhere",
            |_, t| t.replace("v-init.mp4", "file:///v"),
            Error,
            "hls 1.4",
            "file:///v",
        ),
        (
            "EXTINF wrong",
            |p, t| if p == "/v.m3u8" { t.replacen("1.000000", "1.400000", 1) } else { t },
            Warning,
            "hls 3.2",
            "segment 1 lasts 1.000 s and #EXTINF says 1.400",
        ),
        (
            "a repetition",
            |_, t| t.replace("v3.m4s", "v2.m4s"),
            Error,
            "cmaf 3.3",
            "an overlap of 1000.0 ms in track 1 in front of segment 3",
        ),
        (
            "a lost segment",
            |_, t| t.replace("v3.m4s", "v4.m4s"),
            Error,
            "cmaf 3.3",
            "a gap of 1000.0 ms in track 1 in front of segment 3",
        ),
        (
            "other codecs",
            |_, t| t.replace("avc1.64000a", "avc1.64001f"),
            Warning,
            "hls 4.10",
            "the file has avc1.64000a, and CODECS says avc1.64001f,mp4a.40.2",
        ),
        (
            "the audio is not named",
            |_, t| t.replace(",mp4a.40.2", ""),
            Error,
            "hls 4.10",
            "the file has mp4a.40.2, which CODECS does not name",
        ),
        (
            "another resolution",
            |_, t| t.replace("64x36", "128x72"),
            Warning,
            "hls 4.1",
            "64x36, and 128x72 is announced",
        ),
        (
            "a wrong rendition",
            |p, t| if p == "/a.m3u8" { t.replace("SEQUENCE:1\n", "SEQUENCE:2\n") } else { t },
            Warning,
            "cmaf 4.3",
            "starts 1.022 s earlier than its namesake",
        ),
        (
            "other dates",
            |p, t| if p == "/a.m3u8" { t.replace("T12:00", "T12:05") } else { t },
            Error,
            "hls 3.12",
            "is dated 300.004 s later",
        ),
    ];
    for (name, change, severity, rule, words) in rows {
        let probed = presentation(nothing, change);
        assert!(probed.has(severity, rule, words), "{name}: {:#?}", probed.found);
    }
}

#[test]
fn heads_of_init_segments_are_checked() {
    let tweak: Tweak = |path, _, reply| {
        if path.ends_with("init.mp4") {
            reply.set("Content-Type", "text/plain");
            reply.unset("ETag");
        }
    };
    let probed = presentation(tweak, |_, text| text);
    assert!(
        probed.has(Warning, "http 8", "the init segment's Content-Type is text/plain"),
        "{:#?}",
        probed.found
    );
    assert!(probed.has(Severity::Notice, "http 3.1", "the init segment has no ETag"), "{:#?}", probed.found);
}

#[test]
fn a_strangers_url_does_not_reach_the_terminal_as_it_is() {
    let site = media(nothing).text("/index.m3u8", &MULTIVARIANT.replace("v.m3u8", "v\u{1b}[2J.m3u8"));
    let mut args = super::site::args(site.serve() + "/index.m3u8", false);
    args.duration = std::time::Duration::from_millis(1);
    let mut out = Vec::new();
    crate::probe::run(&args, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("v\\u{1b}[2J.m3u8") && !text.contains('\u{1b}'), "{text}");
}

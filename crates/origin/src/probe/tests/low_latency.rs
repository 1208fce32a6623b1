//! Whole probes of a Low-Latency playlist that offers delta updates and reports of another rendition, and keeps its word or doesn't.

use std::time::Duration;

use headwater_manifest::hls::check::Severity::{self, Error, Warning};

use super::site::{Probed, Site, Tweak, nothing, probe_for};

/// Time for two versions, of half a target duration each, on a busy machine.
const FOLLOWED: Duration = Duration::from_secs(3);

const NEXT: &str = "/v.m3u8?_HLS_msn=16&_HLS_part=0";

/// Segments 4 to 15 of one second, the last three with their two parts, and `parts` of segment 16.
fn live(parts: u64) -> String {
    let mut text = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:1\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.500000,HOLD-BACK=3.000000,CAN-SKIP-UNTIL=6.000000\n\
        #EXT-X-PART-INF:PART-TARGET=0.500000\n#EXT-X-MEDIA-SEQUENCE:4\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n\
        #EXT-X-MAP:URI=\"v-init.mp4\"\n"
        .to_owned();
    for n in 4..16 {
        text += &date(n);
        if n >= 13 {
            text += &(part(n, 0) + &part(n, 1));
        }
        text += &format!("#EXTINF:1.000000,\n{n}.m4s\n");
    }
    if parts > 0 {
        text += &date(16);
        (0..parts).for_each(|index| text += &part(16, index));
    }
    text + &format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"16.{parts}.m4s\"\n{REPORT}")
}

const REPORT: &str = "#EXT-X-RENDITION-REPORT:URI=\"a.m3u8\",LAST-MSN=16,LAST-PART=0\n";

fn date(n: u64) -> String {
    format!("#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:{n:02}.000Z\n")
}

fn part(n: u64, index: u64) -> String {
    format!("#EXT-X-PART:DURATION=0.500000,URI=\"{n}.{index}.m4s\",INDEPENDENT=YES\n")
}

/// The version with one part, without its first `left_out` segments, of which it says that they are `told`.
fn delta(left_out: u64, told: u64) -> String {
    let full = live(1);
    let (head, rest) = full.split_once("#EXT-X-MAP").unwrap();
    let listed = &rest[rest.find(&date(4 + left_out)).unwrap()..];
    format!("{head}#EXT-X-SKIP:SKIPPED-SEGMENTS={told}\n{listed}")
}

/// A site that keeps its word, each text changed by `change` of its path.
fn site(tweak: Tweak, change: impl Fn(&str, String) -> String) -> Site {
    let media = super::cmaf::media(tweak);
    let texts = [
        ("/v.m3u8".to_owned(), live(0)),
        (NEXT.to_owned(), live(1)),
        (format!("{NEXT}&_HLS_skip=YES"), delta(6, 6)),
        (format!("{NEXT}&_HLS_skip=v2"), delta(6, 6)),
        ("/a.m3u8".to_owned(), live(1)),
        ("/a.m3u8?_HLS_msn=16&_HLS_part=0".to_owned(), live(1)),
        ("/a.m3u8?_HLS_msn=16&_HLS_part=1".to_owned(), live(2)),
    ];
    texts.into_iter().fold(media, |site, (path, text)| {
        let text = change(&path, text);
        if text.is_empty() { site } else { site.text(&path, &text) }
    })
}

fn probed(tweak: Tweak, change: impl Fn(&str, String) -> String) -> Probed {
    probe_for(site(tweak, change), "/v.m3u8", FOLLOWED)
}

/// What is said of what was tried.
fn about_offers(probed: &Probed) -> Vec<&(String, String, String)> {
    probed
        .found
        .iter()
        .filter(|(_, rule, _)| ["hls 6", "hls 6.2", "hls 5.10"].contains(&rule.as_str()))
        .collect()
}

#[test]
fn who_keeps_its_word_is_believed() {
    let with_v2 = |_: &str, text: String| text.replace("=6.000000", "=6.000000,CAN-SKIP-DATERANGES=YES");
    for (name, change) in [("YES", (|_, text| text) as fn(&str, String) -> String), ("v2", with_v2)] {
        let probed = probed(nothing, change);
        assert_eq!(about_offers(&probed), Vec::<&(String, String, String)>::new(), "{name}");
        let summary = probed.report["subjects"][0]["summary"].as_str().unwrap_or_default().to_owned();
        assert!(summary.contains("delta updates compared"), "{name}: {summary}");
        assert!(summary.contains("rendition reports compared"), "{name}: {summary}");
    }
}

type Row = (&'static str, Tweak, fn(&str, String) -> String, Severity, &'static str, &'static str);

/// Each row's finding of this rule, and no other about what was offered.
fn assert_found(rows: Vec<Row>) {
    std::thread::scope(|scope| {
        for (name, tweak, change, severity, rule, words) in rows {
            scope.spawn(move || {
                let probed = probed(tweak, change);
                assert!(probed.has(severity, rule, words), "{name}: {:#?}", probed.found);
                assert_eq!(about_offers(&probed).len(), 1, "{name}: {:#?}", probed.found);
            });
        }
    });
}

#[test]
fn a_wrong_delta_update_is_found() {
    /// The change of delta updates alone.
    fn of_delta(path: &str, text: String, change: fn(String) -> String) -> String {
        if path.contains("_HLS_skip") { change(text) } else { text }
    }
    assert_found(vec![
        (
            "one segment too few",
            nothing,
            |p, t| of_delta(p, t, |_| delta(6, 5)),
            Error,
            "hls 6.2",
            "_HLS_skip=YES: merged, the number after the last segment is 15, and 16 in the full playlist",
        ),
        (
            "more than there are",
            nothing,
            |p, t| of_delta(p, t, |_| delta(6, 60)),
            Error,
            "hls 6.2",
            "stands for segments 4 to 64 (not included), and the playlist held has 4 to 16",
        ),
        (
            "too near to the end",
            nothing,
            |p, t| of_delta(p, t, |_| delta(8, 8)),
            Error,
            "hls 6.2",
            "leaves out a segment 5.500 s from the end",
        ),
        (
            "another duration",
            nothing,
            |p, t| of_delta(p, t, |t| t.replacen("1.000000,", "0.900000,", 1)),
            Error,
            "hls 6.2",
            "segment 10 has another #EXTINF",
        ),
        (
            "another date",
            nothing,
            |p, t| of_delta(p, t, |t| t.replace(":10.000Z", ":10.005Z")),
            Error,
            "hls 6.2",
            "segment 10 has another #EXT-X-PROGRAM-DATE-TIME",
        ),
        (
            "a part is missing",
            nothing,
            |p, t| of_delta(p, t, |t| t.replace(&part(14, 0), "")),
            Error,
            "hls 6.2",
            "segment 14 has another list of #EXT-X-PART",
        ),
        (
            "not answered",
            nothing,
            |p, t| of_delta(p, t, |_| String::new()),
            Error,
            "hls 6.2",
            "_HLS_skip=YES is offered, and answered with 404",
        ),
        (
            "v2 alone",
            nothing,
            |p, t| {
                let t = t.replace("=6.000000", "=6.000000,CAN-SKIP-DATERANGES=YES");
                if p.contains("=v2") { t.replace("SEGMENTS=6", "SEGMENTS=5") } else { t }
            },
            Error,
            "hls 6.2",
            "_HLS_skip=v2: merged, the number",
        ),
    ]);
}

#[test]
fn a_report_ahead_of_its_rendition_is_found() {
    let a_part_ahead: fn(&str, String) -> String =
        |path, text| if path.starts_with("/v") { text.replace("LAST-PART=0", "LAST-PART=1") } else { text };
    // Its playlist is a second old in a cache, and what was reported is there.
    let cached = probed(nothing, a_part_ahead);
    assert_eq!(about_offers(&cached), Vec::<&(String, String, String)>::new());
    assert_found(vec![
        (
            "never there",
            nothing,
            |p, t| {
                if p.starts_with("/v") { t.replace("MSN=16,LAST-PART=0", "MSN=17,LAST-PART=0") } else { t }
            },
            Error,
            "hls 5.10",
            "a.m3u8?_HLS_msn=17&_HLS_part=0 is reported of, and answered with 404",
        ),
        (
            "not there, and answered at once",
            nothing,
            |p, t| {
                if p.starts_with("/v") {
                    t.replace("LAST-PART=0", "LAST-PART=1")
                } else {
                    t.replace(&part(16, 1), "")
                }
            },
            Error,
            "hls 5.10",
            "ahead of part 0 of segment 16 that is there",
        ),
        (
            "there later",
            |path, _, _| {
                if path.starts_with("/a.m3u8?") {
                    std::thread::sleep(Duration::from_millis(1_500));
                }
            },
            a_part_ahead,
            Warning,
            "hls 5.10",
            "_HLS_msn=16&_HLS_part=1 of a.m3u8 is reported, and had to be waited for",
        ),
        (
            "no rendition",
            nothing,
            |p, t| if p.starts_with("/a") { String::new() } else { t },
            Error,
            "hls 5.10",
            "/a.m3u8 is reported of, and answered with 404",
        ),
    ]);
}

//! One row per rule: texts that break it and the finding that must come, and sequences in which nothing must be found.

mod low_latency;

use proptest::prelude::*;

use super::{Checker, FINDINGS_PER_RULE_MAX, Finding, Severity, compare_renditions};
use crate::findings::are_bounded;

const URI: &str = "http://example.org/live/cam/av/index.m3u8";

/// Two-second segments `first..end` of a stream whose segment 0 began at 12:00:00, behind `header` lines.
fn playlist(header: &str, first: u64, end: u64) -> String {
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n{header}"
    );
    for sequence in first..end {
        text += &segment(sequence);
    }
    text
}

fn segment(sequence: u64) -> String {
    let (minute, second) = (sequence * 2 / 60, sequence * 2 % 60);
    format!(
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:{minute:02}:{second:02}.000Z\n#EXTINF:2.000000,\n{sequence}.ts\n"
    )
}

fn good(first: u64, end: u64) -> String {
    playlist("#EXT-X-DISCONTINUITY-SEQUENCE:0\n", first, end)
}

/// `text` with `from`, which must be there, replaced once.
fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the row is wrong: {from:?} is not in the playlist");
    text.replacen(from, to, 1)
}

/// `text` with `lines` in front of segment `sequence`'s first line.
fn before(text: &str, sequence: u64, lines: &str) -> String {
    with(text, &segment(sequence), &format!("{lines}{}", segment(sequence)))
}

/// All findings over the versions, each received two seconds after the one before.
fn observe(versions: &[String]) -> Vec<Finding> {
    let mut checker = Checker::new(URI);
    (0..).zip(versions).flat_map(|(n, text)| checker.observe(text, n * 2_000)).collect()
}

/// A row: name, versions, severity, rule, words of the message.
type Row = (&'static str, Vec<String>, Severity, &'static str, &'static str);

fn assert_found(rows: Vec<Row>) {
    for (name, versions, severity, rule, words) in rows {
        let found = observe(&versions);
        assert!(
            found.iter().any(|f| f.severity == severity && f.rule == rule && f.message.contains(words)),
            "{name}: no {severity} [{rule}] ...{words}... among {found:#?}"
        );
    }
}

/// As [`assert_found`], and nothing else is found: one fault, one line.
fn assert_only(rows: Vec<Row>) {
    for (name, versions, ..) in &rows {
        let found = observe(versions);
        assert_eq!(found.len(), 1, "{name}: {found:#?}");
    }
    assert_found(rows);
}

#[test]
fn good_sequences_have_no_finding() {
    let gap = before(&good(10, 16), 12, "#EXT-X-GAP\n");
    let gap = with(
        &gap,
        "#EXT-X-GAP\n#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:24.000Z\n",
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:24.000Z\n#EXT-X-GAP\n",
    );
    let discontinuous = |text: String| before(&text, 12, "#EXT-X-DISCONTINUITY\n");
    let fmp4 = |text: String| {
        let text = with(&text, "VERSION:3", "VERSION:6").replace(".ts", ".m4s");
        let map = text.find("#EXT-X-PROGRAM").expect("every playlist has dates");
        let (header, rest) = text.split_at(map);
        format!("{header}#EXT-X-MAP:URI=\"init-1.mp4\"\n{rest}")
    };
    for (name, versions) in [
        ("sliding", (0..20).map(|n| good(100 + n, 110 + n)).collect::<Vec<_>>()),
        ("growing, then sliding", vec![good(5, 6), good(5, 7), good(5, 9), good(5, 12), good(6, 13)]),
        ("ending", vec![good(5, 12), good(6, 13), good(6, 13) + "#EXT-X-ENDLIST\n"]),
        ("ending with a last segment", vec![good(5, 12), good(6, 13) + "#EXT-X-ENDLIST\n"]),
        ("unchanged after the end", vec![good(5, 12) + "#EXT-X-ENDLIST\n"; 100]),
        ("the same polled again", vec![good(5, 12), good(5, 12), good(6, 13), good(6, 13)]),
        ("a gap", vec![gap]),
        (
            "a discontinuity comes, passes and leaves",
            vec![
                good(5, 12),
                discontinuous(good(6, 13)),
                discontinuous(good(12, 19)),
                playlist("#EXT-X-DISCONTINUITY-SEQUENCE:1\n", 13, 20),
            ],
        ),
        ("fMP4", vec![fmp4(good(5, 12)), fmp4(good(6, 13))]),
        ("CRLF and comments", vec![good(5, 12).replace('\n', "\r\n") + "# a comment\r\n\r\n"]),
        ("a title", vec![good(5, 12).replace("2.000000,", "2.000000,News, at #12")]),
        ("a date of another zone", vec![good(5, 12).replace("T12:", "T14:").replace(".000Z", ".000+02:00")]),
        ("a duration that just rounds down", vec![with(&good(5, 6), "2.000000", "2.499999")]),
        (
            "dates re-anchored by 1 ms per segment",
            vec![with(&with(&good(5, 12), ":12.000Z", ":12.001Z"), ":14.000Z", ":14.002Z")],
        ),
        ("a video on demand", vec![playlist("#EXT-X-PLAYLIST-TYPE:VOD\n", 0, 5) + "#EXT-X-ENDLIST\n"]),
    ] {
        let found = observe(&versions);
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}

#[test]
fn faults_of_a_file() {
    use Severity::{Error, Notice, Warning};
    let base = || good(5, 12);
    assert_only(vec![
        ("an empty line in front", vec!["\n".to_owned() + &base()], Error, "hls 1.1", "first line"),
        (
            "a space behind #EXTM3U",
            vec![with(&base(), "#EXTM3U\n", "#EXTM3U \n")],
            Error,
            "hls 1.1",
            "first line",
        ),
        (
            "a control character",
            vec![with(&base(), "7.ts", "7\u{7}.ts")],
            Error,
            "hls 1.1",
            "control character",
        ),
        ("cut off", vec![base().trim_end().to_owned()], Notice, "hls 1.1", "cut off"),
        ("a space in a URI", vec![with(&base(), "7.ts", "7 a.ts")], Error, "hls 1.4", "space"),
        ("an unknown tag", vec![before(&base(), 7, "#EXT-X-FOO:1\n")], Notice, "hls 1.3", "#EXT-X-FOO"),
        (
            "two versions",
            vec![with(&base(), "#EXT-X-VERSION:3\n", "#EXT-X-VERSION:3\n#EXT-X-VERSION:3\n")],
            Error,
            "hls 1.3",
            "#EXT-X-VERSION",
        ),
        (
            "two target durations",
            vec![with(&base(), "#EXT-X-T", "#EXT-X-TARGETDURATION:2\n#EXT-X-T")],
            Error,
            "hls 1.3",
            "#EXT-X-TARGETDURATION",
        ),
        (
            "two ENDLIST",
            vec![base() + "#EXT-X-ENDLIST\n#EXT-X-ENDLIST\n"],
            Error,
            "hls 1.3",
            "#EXT-X-ENDLIST",
        ),
        (
            "a value where none belongs",
            vec![with(&base(), "#EXT-X-D", "#EXT-X-INDEPENDENT-SEGMENTS:YES\n#EXT-X-D")],
            Error,
            "hls 1.2",
            "takes no value",
        ),
        (
            "no value where one belongs",
            vec![before(&base(), 7, "#EXT-X-BITRATE\n")],
            Error,
            "hls 1.2",
            "#EXT-X-BITRATE has no value",
        ),
        (
            "a number that is none",
            vec![before(&base(), 7, "#EXT-X-BITRATE:1.5\n")],
            Error,
            "hls 1.2",
            "no decimal integer",
        ),
        (
            "an unquoted string",
            vec![
                with(&base(), "#EXT-X-D", "#EXT-X-DEFINE:NAME=a,VALUE=\"b\"\n#EXT-X-D")
                    .replace("VERSION:3", "VERSION:8"),
            ],
            Error,
            "hls 1.2",
            "NAME is a",
        ),
        (
            "a missing attribute",
            vec![with(&base(), "#EXT-X-D", "#EXT-X-START:PRECISE=YES\n#EXT-X-D")],
            Error,
            "hls 1.2",
            "has no TIME-OFFSET",
        ),
        (
            "a removed tag",
            vec![with(&base(), "#EXT-X-D", "#EXT-X-ALLOW-CACHE:NO\n#EXT-X-D")],
            Warning,
            "hls 3.8",
            "ALLOW-CACHE",
        ),
    ]);
    let mark = "\u{feff}".to_owned() + &base();
    let both = base() + "#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n";
    assert_found(vec![
        ("a byte order mark", vec![mark], Error, "hls 1.1", "byte order mark"),
        ("both kinds", vec![both], Error, "hls 1.4", "one file"),
    ]);
    let found = Checker::new("http://example.org/live?x=.m3u8").observe(&base(), 0);
    assert_eq!((found.len(), found.first().map(|f| f.rule)), (1, Some("hls 1.5")), "{found:#?}");
    assert!(Checker::new("http://example.org/live.m3u8?token=1").observe(&base(), 0).is_empty());
}

#[test]
fn faults_of_a_media_playlist() {
    use Severity::{Error, Notice, Warning};
    let base = || good(5, 12);
    let v = |version: &str| with(&base(), "VERSION:3", &format!("VERSION:{version}"));
    assert_only(vec![
        ("no segment", vec![good(5, 5)], Error, "hls 1.7", "no segment"),
        ("two decimals", vec![base().replace("2.000000", "2.00")], Warning, "hls 1.6", "2 decimals"),
        ("seven decimals", vec![base().replace("2.000000", "2.0000000")], Notice, "hls 1.6", "7 decimals"),
        ("no comma", vec![base().replace("2.000000,", "2.000000")], Warning, "hls 1.6", "comma"),
        ("version too low", vec![v("2")], Error, "hls 2", "decimal EXTINF needs 3"),
        ("no version", vec![with(&base(), "#EXT-X-VERSION:3\n", "")], Error, "hls 2", "the version is 1"),
        ("version too high", vec![v("6")], Warning, "hls 2", "3 is enough"),
        (
            "BYTERANGE in 3",
            vec![with(&base(), "7.ts", "#EXT-X-BYTERANGE:100@0\n7.ts")],
            Error,
            "hls 2",
            "needs 4",
        ),
        (
            "MAP in 5",
            vec![with(&v("5"), "#EXT-X-P", "#EXT-X-MAP:URI=\"i.mp4\"\n#EXT-X-P")],
            Error,
            "hls 2",
            "EXT-X-MAP needs 6",
        ),
        (
            "KEYFORMAT in 3",
            vec![with(
                &base(),
                "#EXT-X-P",
                "#EXT-X-KEY:METHOD=AES-128,URI=\"k\",KEYFORMAT=\"identity\"\n#EXT-X-P",
            )],
            Error,
            "hls 2",
            "needs 5",
        ),
        (
            "DEFINE in 3",
            vec![with(&base(), "#EXT-X-D", "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"\"\n#EXT-X-D")],
            Error,
            "hls 2",
            "needs 8",
        ),
        (
            "no target duration",
            vec![with(&base(), "#EXT-X-TARGETDURATION:2\n", "")],
            Error,
            "hls 3.1",
            "missing",
        ),
        (
            "a segment too long",
            vec![with(&good(5, 6), "2.000000", "2.500000")],
            Error,
            "hls 3.1",
            "segment 5 is 2.500 s",
        ),
        (
            "no EXTINF",
            vec![with(&base(), "#EXTINF:2.000000,\n11.ts", "11.ts")],
            Error,
            "hls 3.2",
            "segment 11 has no #EXTINF",
        ),
        ("EXTINF without URI", vec![base() + "#EXTINF:2.000000,\n"], Error, "hls 3.2", "no URI"),
        (
            "two EXTINF",
            vec![with(&base(), "11.ts", "#EXTINF:2.000000,\n11.ts")],
            Error,
            "hls 3.2",
            "two #EXTINF",
        ),
        (
            "no MEDIA-SEQUENCE",
            vec![with(&good(0, 6), "#EXT-X-MEDIA-SEQUENCE:0\n", "")],
            Warning,
            "hls 3.3",
            "without #EXT-X-MEDIA-SEQUENCE",
        ),
        (
            "a name twice",
            vec![with(&base(), "11.ts", "6.ts")],
            Warning,
            "hls 3.4",
            "segment 11 has the name of segment 6",
        ),
        (
            "VOD without end",
            vec![with(&base(), "#EXT-X-D", "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-D")],
            Error,
            "hls 3.8",
            "VOD",
        ),
        (
            "an unknown type",
            vec![with(&base(), "#EXT-X-D", "#EXT-X-PLAYLIST-TYPE:LIVE\n#EXT-X-D")],
            Error,
            "hls 1.2",
            "LIVE",
        ),
        (
            "two DISCONTINUITY",
            vec![before(&base(), 7, "#EXT-X-DISCONTINUITY\n#EXT-X-DISCONTINUITY\n")],
            Warning,
            "hls 3.9",
            "more than one",
        ),
        (
            "a discontinuity uncounted",
            vec![before(&playlist("", 5, 12), 7, "#EXT-X-DISCONTINUITY\n")],
            Warning,
            "hls 3.10",
            "no #EXT-X-DISCONTINUITY-SEQUENCE",
        ),
        (
            "no date at a discontinuity",
            vec![with(
                &base(),
                &segment(7),
                &segment(7)
                    .replace("#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:14.000Z", "#EXT-X-DISCONTINUITY"),
            )],
            Warning,
            "hls 3.12",
            "follows a discontinuity",
        ),
        (
            "no date at all",
            vec![(5..12).fold(playlist("", 5, 5), |text, n| format!("{text}#EXTINF:2.000000,\n{n}.ts\n"))],
            Warning,
            "hls 3.12",
            "first segment",
        ),
        (
            "a date that is none",
            vec![with(&base(), "2026-01-31T12:00:14", "2026-02-31T12:00:14")],
            Error,
            "hls 3.12",
            "segment 7",
        ),
        ("a date without zone", vec![base().replace(".000Z", ".000")], Warning, "hls 3.12", "time zone"),
        (
            "a date goes back",
            vec![with(&good(5, 8), "12:00:14", "12:00:12")],
            Error,
            "hls 3.12",
            "goes back 2.000 s at segment 7",
        ),
        (
            "a date overlaps a little",
            vec![with(&good(5, 8), "12:00:14.000", "12:00:13.500")],
            Warning,
            "hls 3.12",
            "0.500 s early",
        ),
        (
            "a date jumps",
            vec![with(&good(5, 8), "12:00:14", "12:00:24")],
            Warning,
            "hls 3.12",
            "10.000 s late",
        ),
        (
            "a date jumps over a segment without",
            vec![with(
                &with(&good(5, 8), "#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:12.000Z\n", ""),
                "12:00:14",
                "12:00:24",
            )],
            Warning,
            "hls 3.12",
            "10.000 s late",
        ),
        (
            "two dates",
            vec![before(&base(), 7, "#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:14.000Z\n")],
            Error,
            "hls 3.12",
            "two",
        ),
        (
            "a hint at the end",
            vec![base() + "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a\"\n#EXT-X-ENDLIST\n"],
            Error,
            "hls 3.14",
            "PRELOAD-HINT",
        ),
        (
            "tags behind the end",
            vec![with(&base(), &segment(11), "#EXT-X-ENDLIST\n#EXTINF:2.000000,\n11.ts\n")],
            Notice,
            "hls 3.14",
            "behind #EXT-X-ENDLIST",
        ),
        ("fMP4 without MAP", vec![with(&base(), "7.ts", "7.m4s?x=1")], Error, "hls 3.15", "7.m4s"),
        (
            "a date range without dates",
            vec![
                with(
                    &playlist("#EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2026-01-31T12:00:00Z\"\n", 5, 12),
                    "#EXT-X-MEDIA-SEQUENCE:5",
                    "#EXT-X-ENDLIST\n#EXT-X-MEDIA-SEQUENCE:5",
                )
                .lines()
                .filter(|l| !l.contains("PROGRAM-DATE"))
                .fold(String::new(), |t, l| if l.contains("ENDLIST") { t } else { t + l + "\n" })
                    + "#EXT-X-ENDLIST\n",
            ],
            Error,
            "hls 3.16",
            "without any",
        ),
        (
            "a date range to the next",
            vec![before(
                &base(),
                7,
                "#EXT-X-DATERANGE:ID=\"a\",START-DATE=\"2026-01-31T12:00:00Z\",END-ON-NEXT=YES\n",
            )],
            Error,
            "hls 3.16",
            "CLASS",
        ),
        (
            "a start at the edge",
            vec![with(&base(), "#EXT-X-D", "#EXT-X-START:TIME-OFFSET=-4.0\n#EXT-X-D")],
            Warning,
            "hls 3.17",
            "3 target durations",
        ),
        (
            "date in front of DISCONTINUITY",
            vec![with(&base(), "14.000Z\n", "14.000Z\n#EXT-X-DISCONTINUITY\n")],
            Notice,
            "hls 3.18",
            "#EXT-X-DISCONTINUITY stands behind #EXT-X-PROGRAM-DATE-TIME",
        ),
        (
            "header tags late",
            vec![base() + "#EXT-X-INDEPENDENT-SEGMENTS\n"],
            Notice,
            "hls 3.18",
            "#EXT-X-INDEPENDENT-SEGMENTS",
        ),
        (
            "tags that belong to nothing",
            vec![base() + "#EXT-X-DISCONTINUITY\n"],
            Warning,
            "hls 3.18",
            "no segment",
        ),
        (
            "a key without URI",
            vec![with(&base(), "#EXT-X-P", "#EXT-X-KEY:METHOD=AES-128\n#EXT-X-P")],
            Error,
            "hls 11.3",
            "URI",
        ),
        (
            "a delta update",
            vec![base(), with(&v("9"), "#EXT-X-P", "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXT-X-P")],
            Warning,
            "hls 6",
            "delta",
        ),
    ]);
    assert_found(vec![
        ("a target duration of 0", vec![with(&base(), "DURATION:2", "DURATION:0")], Error, "hls 3.1", "is 0"),
        ("a segment of 0 s", vec![base().replace("2.000000", "0.000000")], Warning, "hls 3.2", "0 s long"),
        (
            "an EXTINF that is none",
            vec![base().replace("2.000000", "2;000000")],
            Error,
            "hls 1.6",
            "segment 5 is 2",
        ),
        (
            "a new MAP alone",
            vec![with(
                &with(&v("6").replace(".ts", ".m4s"), "#EXT-X-P", "#EXT-X-MAP:URI=\"a\"\n#EXT-X-P"),
                "7.m4s\n",
                "7.m4s\n#EXT-X-MAP:URI=\"b\"\n",
            )],
            Warning,
            "hls 3.15",
            "segment 8 has a new",
        ),
        (
            "MEDIA-SEQUENCE behind a segment",
            vec![with(
                &with(&base(), "#EXT-X-MEDIA-SEQUENCE:5\n", ""),
                "0.ts\n",
                "0.ts\n#EXT-X-MEDIA-SEQUENCE:5\n",
            )],
            Error,
            "hls 3.3",
            "behind the first segment",
        ),
        (
            "DISCONTINUITY-SEQUENCE late",
            vec![with(
                &base(),
                "#EXT-X-DISCONTINUITY-SEQUENCE:0\n",
                "#EXT-X-DISCONTINUITY\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n",
            )],
            Error,
            "hls 3.10",
            "stands behind",
        ),
        (
            "a bad BYTERANGE",
            vec![with(&v("4"), "7.ts", "#EXT-X-BYTERANGE:x@0\n7.ts")],
            Error,
            "hls 1.2",
            "BYTERANGE",
        ),
    ]);
}

#[test]
fn faults_between_versions() {
    use Severity::{Error, Notice, Warning};
    let (a, b) = (|| good(5, 12), || good(6, 13));
    let ended = |text: String| text + "#EXT-X-ENDLIST\n";
    let discontinuous = |text: String, at| before(&text, at, "#EXT-X-DISCONTINUITY\n");
    let counted = |n: u64, first, end| playlist(&format!("#EXT-X-DISCONTINUITY-SEQUENCE:{n}\n"), first, end);
    let typed = |kind: &str, first, end| playlist(&format!("#EXT-X-PLAYLIST-TYPE:{kind}\n"), first, end);
    let edge = |text: String| with(&text, "#EXT-X-D", "#EXT-X-SERVER-CONTROL:HOLD-BACK=6.0\n#EXT-X-D");
    assert_only(vec![
        (
            "target duration grows",
            vec![a(), with(&b(), "DURATION:2", "DURATION:3")],
            Error,
            "hls 3.1",
            "changed from 2 to 3",
        ),
        (
            "version changes",
            vec![
                a(),
                with(&b(), "#EXT-X-D", "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"\"\n#EXT-X-D")
                    .replace("VERSION:3", "VERSION:8"),
            ],
            Error,
            "hls 2",
            "changed from 3 to 8",
        ),
        (
            "INDEPENDENT comes",
            vec![a(), with(&b(), "#EXT-X-D", "#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-D")],
            Warning,
            "hls 3.11",
            "came or went",
        ),
        ("numbers go back", vec![b(), a()], Error, "hls 3.3", "went back from 6 to 5"),
        ("numbers restart", vec![good(500, 510), good(0, 3)], Error, "hls 3.3", "went back from 500 to 0"),
        (
            "removed and not counted",
            vec![a(), with(&b(), "SEQUENCE:6", "SEQUENCE:5")],
            Error,
            "hls 3.3",
            "1 segment(s) left in front of 6.ts, and #EXT-X-MEDIA-SEQUENCE grew by 0",
        ),
        (
            "counted and not removed",
            vec![a(), with(&a(), "SEQUENCE:5", "SEQUENCE:6")],
            Error,
            "hls 3.3",
            "0 segment(s) left",
        ),
        (
            "a number gets another name",
            vec![a(), with(&b(), "8.ts", "8b.ts")],
            Error,
            "hls 3.4",
            "segment 8 was 8.ts and is 8b.ts",
        ),
        ("a name gets another query", vec![a(), with(&b(), "8.ts", "8.ts?t=2")], Warning, "hls 3.4", "query"),
        (
            "a discontinuity appears",
            vec![a(), discontinuous(b(), 8)],
            Error,
            "hls 3.4",
            "segment 8 gained or lost its #EXT-X-DISCONTINUITY",
        ),
        (
            "EXTINF changes",
            vec![a(), with(&b(), "2.000000,\n8.ts", "2.001000,\n8.ts")],
            Error,
            "hls 3.2",
            "from 2.000000 to 2.001000",
        ),
        ("dates change", vec![a(), b().replace("12:00:", "12:10:")], Error, "hls 3.12", "and 5 more alike"),
        (
            "a gap appears",
            vec![a(), with(&b(), "#EXTINF:2.000000,\n8.ts", "#EXT-X-GAP\n#EXTINF:2.000000,\n8.ts")],
            Error,
            "hls 3.13",
            "segment 8",
        ),
        ("the end is cut", vec![a(), good(5, 11)], Error, "hls 3.5", "segments 11 to 11"),
        (
            "segments never seen",
            vec![a(), good(14, 21)],
            Warning,
            "hls 3.5",
            "segments 12 to 13 were never seen",
        ),
        ("EVENT slides", vec![typed("EVENT", 5, 12), typed("EVENT", 6, 13)], Error, "hls 3.8", "EVENT"),
        (
            "type changes",
            vec![a(), with(&b(), "#EXT-X-D", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-D")],
            Error,
            "hls 3.8",
            "changed",
        ),
        (
            "a discontinuity leaves uncounted",
            vec![discontinuous(counted(4, 5, 12), 5), counted(4, 6, 13)],
            Error,
            "hls 3.10",
            "from 4 to 4 at segment 6, while 1",
        ),
        (
            "counted though none left",
            vec![a(), counted(1, 6, 13)],
            Error,
            "hls 3.10",
            "from 0 to 1 at segment 6, while 0",
        ),
        (
            "counted while its segment stays",
            vec![discontinuous(counted(4, 5, 12), 6), discontinuous(counted(5, 6, 13), 6)],
            Error,
            "hls 3.10",
            "while 0",
        ),
        ("counted back", vec![counted(4, 5, 12), counted(3, 6, 13)], Error, "hls 3.10", "from 4 to 3"),
        ("ENDLIST taken back", vec![ended(a()), b()], Error, "hls 3.14", "taken back"),
        ("grows after the end", vec![ended(a()), ended(b())], Error, "hls 3.14", "changed after"),
        (
            "a new publication after the end",
            vec![ended(a()), good(40, 41)],
            Warning,
            "hls 3.14",
            "new publication",
        ),
        (
            "server control changes",
            vec![edge(a()), edge(b()).replace("=6.0", "=7.0")],
            Error,
            "hls 5.1",
            "changed",
        ),
        ("few segments", vec![good(5, 10), good(6, 11)], Notice, "hls 3.5", "fewer than 6"),
        ("it becomes empty", vec![a(), good(5, 5)], Error, "hls 1.7", "no segment"),
    ]);
    assert_found(vec![
        ("a short window", vec![good(5, 7), good(6, 8)], Warning, "hls 3.5", "less than 3 target durations"),
        (
            "a MAP changes",
            vec![
                a(),
                with(&b(), "#EXT-X-P", "#EXT-X-MAP:URI=\"b\"\n#EXT-X-P").replace("VERSION:3", "VERSION:6"),
            ],
            Error,
            "hls 3.15",
            "segment 6",
        ),
        (
            "VOD changes",
            vec![ended(typed("VOD", 5, 12)), ended(typed("VOD", 5, 13))],
            Error,
            "hls 3.8",
            "VOD",
        ),
        (
            "the kind changes",
            vec![a(), "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n".to_owned()],
            Error,
            "hls 1.4",
            "became a multivariant playlist",
        ),
    ]);
}

#[test]
fn cadence() {
    let mut checker = Checker::new(URI);
    assert!(checker.observe(&good(5, 12), 1_000).is_empty());
    // 1.5 target durations of 2 s after 1,000 ms is 4,000 ms.
    assert!(checker.observe(&good(5, 12), 4_000).is_empty());
    let found = checker.observe(&good(5, 12), 4_001);
    assert_eq!(found.iter().map(|f| f.rule).collect::<Vec<_>>(), ["hls 3.5"], "{found:#?}");
    assert!(found.iter().all(|f| f.message.contains("after segment 11 ")), "{found:#?}");
    assert!(checker.observe(&good(5, 12), 5_000).is_empty(), "once per standstill");
    assert!(checker.observe(&good(6, 13), 6_000).is_empty());
    // A version without a new segment doesn't count as one with.
    assert!(checker.observe(&(good(6, 13) + "# touched\n"), 8_000).is_empty());
    assert_eq!(checker.observe(&(good(6, 13) + "# touched again\n"), 10_000).len(), 1);
    // A late new version can't be proved late: it may have stood there since the last request.
    assert!(checker.observe(&good(7, 14), 60_000).is_empty());
    // A clock that goes back is no standstill.
    assert!(checker.observe(&good(7, 14), 0).is_empty());
}

#[test]
fn an_empty_version_does_not_reset_the_comparison() {
    let found = observe(&[good(5, 12), good(5, 5), good(4, 11)]);
    assert_eq!(found.iter().map(|f| f.rule).collect::<Vec<_>>(), ["hls 1.7", "hls 3.3"], "{found:#?}");
}

#[test]
fn a_finding_is_reported_once() {
    let long = |first, end| good(first, end).replace("2.000000,\n9.ts", "2.600000,\n9.ts");
    let found = observe(&[long(5, 12), long(6, 13), long(7, 14)]);
    let rules: Vec<_> = found.iter().map(|f| f.rule).collect();
    // Segment 10 comes 0.6 s early after a 9 that claims 2.6 s.
    assert_eq!(rules, ["hls 3.12", "hls 3.1"], "{found:#?}");
}

#[test]
fn findings_are_bounded() {
    let text = good(0, 0) + &"#EXTINF:nothing,\na b.ts\n".repeat(5_000);
    let found = Checker::new(URI).observe(&text, 0);
    assert!(are_bounded(&found), "{found:#?}");
    let left_off = format!("and {} more findings that are not listed", 5_000 - FINDINGS_PER_RULE_MAX);
    assert!(found.iter().any(|f| f.message == left_off && f.severity == Severity::Error), "{found:#?}");
    // Whatever else is wrong is not lost among them.
    let text =
        text.replace("#EXT-X-TARGETDURATION:2", "#EXT-X-TARGETDURATION:1") + "#EXTINF:1.000000,\nz.ts\n";
    let also = Checker::new(URI).observe(&text, 0);
    assert!(also.iter().any(|f| f.message.contains("99")), "{also:#?}");
    let huge = "#EXTM3U\n".repeat(super::PLAYLIST_BYTES_MAX / 8 + 1);
    let found = Checker::new(URI).observe(&huge, 0);
    assert_eq!(found.iter().map(|f| f.rule).collect::<Vec<_>>(), ["hls 1"]);
}

const STREAM_INF: &str = "#EXT-X-STREAM-INF:BANDWIDTH=2000000,AVERAGE-BANDWIDTH=1800000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=25.000,AUDIO=\"a\",CLOSED-CAPTIONS=NONE\n";
const AUDIO: &str = "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"English\",LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"a/index.m3u8\"\n";

fn multivariant() -> String {
    format!("#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n{AUDIO}{STREAM_INF}v/index.m3u8\n")
}

#[test]
fn faults_of_a_multivariant_playlist() {
    use Severity::{Error, Notice, Warning};
    let good = observe(&[multivariant(), multivariant()]);
    assert!(good.is_empty(), "{good:#?}");
    let changed = |from: &str, to: &str| vec![with(&multivariant(), from, to)];
    let audio = |more: &str| {
        changed(
            AUDIO,
            &format!(
                "{AUDIO}#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"Other\",LANGUAGE=\"de\",CHANNELS=\"2\"{more}\n"
            ),
        )
    };
    let other = |line: &str| changed(AUDIO, &format!("{AUDIO}{line}\n"));
    assert_only(vec![
        ("no BANDWIDTH", changed("BANDWIDTH=2000000,AVERAGE-", "AVERAGE-"), Error, "hls 1.2", "has no BANDWIDTH"),
        ("BANDWIDTH 0", changed("BANDWIDTH=2000000,AVERAGE-BANDWIDTH=1800000", "BANDWIDTH=0,AVERAGE-BANDWIDTH=0"), Error, "hls 4.2", "AVERAGE-BANDWIDTH=0"),
        ("average above peak", changed("=1800000", "=2800000"), Error, "hls 4.2", "above"),
        ("no average", changed("AVERAGE-BANDWIDTH=1800000,", ""), Warning, "hls 4.1", "AVERAGE-BANDWIDTH"),
        ("no CODECS", changed("CODECS=\"avc1.64001f,mp4a.40.2\",", ""), Warning, "hls 4.1", "no CODECS"),
        ("space in CODECS", changed("64001f,mp4a", "64001f, mp4a"), Error, "hls 4.4", "space"),
        ("hev1", changed("avc1.64001f", "hev1.1.6.L93.B0"), Warning, "hls 4.9", "hev1"),
        ("old avc1", changed("avc1.64001f", "avc1.77.30"), Warning, "hls 4.10", "avc1.77.30"),
        ("no RESOLUTION", changed("RESOLUTION=1280x720,", ""), Warning, "hls 4.1", "no RESOLUTION"),
        ("RESOLUTION 0x0", changed("1280x720", "0x0"), Error, "hls 4.1", "without area"),
        ("no FRAME-RATE", changed("FRAME-RATE=25.000,", ""), Warning, "hls 4.1", "no FRAME-RATE"),
        ("FRAME-RATE 25", changed("25.000", "25"), Notice, "hls 4.1", "3 decimals"),
        ("RESOLUTION of audio", changed("avc1.64001f,", ""), Warning, "hls 4.7", "no video"),
        ("PROGRAM-ID", changed("CODECS=", "PROGRAM-ID=1,CODECS="), Notice, "hls 4.1", "PROGRAM-ID"),
        ("no such group", changed("AUDIO=\"a\"", "AUDIO=\"b\""), Error, "hls 4.4", "GROUP-ID b"),
        ("no URI behind the last", changed("v/index.m3u8\n", ""), Error, "hls 4.1", "no URI behind it"),
        ("a tag between", changed("v/index.m3u8", &format!("{STREAM_INF}v/index.m3u8")), Error, "hls 4.1", "no URI behind it"),
        ("a URI alone", changed("v/index.m3u8", "v/index.m3u8\nw/index.m3u8"), Error, "hls 4.1", "w/index.m3u8"),
        ("no variant", vec![format!("#EXTM3U\n{AUDIO}")], Error, "hls 4.1", "nothing to play"),
        ("captions here and there", changed("v/index.m3u8", &format!("v/index.m3u8\n{}w/index.m3u8", STREAM_INF.replace(",CLOSED-CAPTIONS=NONE", ""))), Error, "hls 4.6", "not on all"),
        ("a name taken", other("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"English\",LANGUAGE=\"en\",CHANNELS=\"6\""), Error, "hls 4.5", "taken"),
        ("two defaults", audio(",DEFAULT=YES"), Error, "hls 4.5", "second with DEFAULT"),
        ("default, not selected", changed("AUTOSELECT=YES", "AUTOSELECT=NO"), Error, "hls 4.5", "AUTOSELECT=NO"),
        ("no CHANNELS", changed("CHANNELS=\"2\",", ""), Warning, "hls 4.5", "CHANNELS"),
        ("no LANGUAGE", changed("LANGUAGE=\"en\",", ""), Notice, "hls 4.5", "LANGUAGE"),
        ("subtitles without URI", other("#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"x\""), Error, "hls 4.5", "no URI"),
        ("captions with URI", other("#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"c\",NAME=\"x\",INSTREAM-ID=\"CC1\",URI=\"x\""), Error, "hls 4.6", "a URI"),
        ("captions without INSTREAM-ID", other("#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"c\",NAME=\"x\""), Error, "hls 4.6", "INSTREAM-ID"),
        ("SERVICE captions", other("#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"c\",NAME=\"x\",INSTREAM-ID=\"SERVICE1\""), Error, "hls 2", "need 7"),
        ("it changed", vec![multivariant(), with(&multivariant(), "2000000", "2100000")], Warning, "hls 4.3", "changed"),
    ].into_iter().filter(|row| !matches!(row.0, "BANDWIDTH 0" | "no NAME")).collect());
    assert_found(vec![
        ("BANDWIDTH 0", changed("BANDWIDTH=2000000", "BANDWIDTH=0"), Error, "hls 4.2", "has BANDWIDTH=0"),
        ("AVERAGE-BANDWIDTH 0", changed("=1800000", "=0"), Error, "hls 4.2", "AVERAGE-BANDWIDTH=0"),
        ("no NAME", changed("NAME=\"English\",", ""), Error, "hls 1.2", "has no NAME"),
    ]);
}

#[test]
fn renditions_of_one_presentation() {
    let read = |text: String| {
        let mut checker = Checker::new(URI);
        checker.observe(&text, 0);
        checker.media().cloned().expect("the row lists segments")
    };
    let a = read(good(5, 12));
    for (name, other, expected) in [
        ("alike", good(7, 14), vec![]),
        ("target duration", with(&good(5, 12), "DURATION:2", "DURATION:3"), vec!["hls 3.1"]),
        (
            "server control",
            with(&good(5, 12), "#EXT-X-D", "#EXT-X-SERVER-CONTROL:HOLD-BACK=6.0\n#EXT-X-D"),
            vec!["hls 5.1"],
        ),
        ("dates", good(5, 12).replace("#EXT-X-PROGRAM", "#X"), vec!["hls 3.12"]),
    ] {
        let other = read(other);
        let found = compare_renditions(&[("a.m3u8", &a), ("b.m3u8", &other)]);
        assert_eq!(found.iter().map(|f| f.rule).collect::<Vec<_>>(), expected, "{name}: {found:#?}");
    }
    assert!(compare_renditions(&[]).is_empty());
}

#[test]
fn every_truncation_is_examined_without_panic() {
    for text in [before(&good(5, 9), 7, "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"\u{e9}\"\n"), multivariant()]
    {
        let mut checker = Checker::new(URI);
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let found = checker.observe(&text[..end], 0);
            assert!(are_bounded(&found));
        }
    }
}

proptest! {
    #[test]
    fn any_pair_of_texts(a in "(#EXT(M3U|INF|-X-[A-Z-]{1,20})?(:[ -~]{0,30})?\n|[ -~]{0,10}\n|\\PC{0,5}){0,20}", b in "\\PC*") {
        let mut checker = Checker::new(URI);
        for text in [&a, &b, &a] {
            for finding in checker.observe(text, 0) {
                prop_assert!(!finding.message.contains('\n'));
            }
        }
    }
}

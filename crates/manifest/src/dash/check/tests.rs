//! One row per rule: texts that break it and the finding that must come, and sequences in which nothing must be found.

use std::fmt::Write as _;

use headwater_media::WallTime;
use proptest::prelude::*;

use super::{Checker, Finding, Severity, read};
use crate::findings::are_bounded;

/// 2026-01-31T12:00:00Z, where the Period of the rows starts.
const START_MS: i64 = 1_769_860_800_000;

/// The S elements of two-second segments of video, numbered as the others here: number 0 starts at media time 10 s.
fn video_timeline(first: u64, end: u64) -> String {
    let (t, r) = (900_000 + first * 180_000, end - first - 1);
    format!("<S t=\"{t}\" d=\"180000\" r=\"{r}\"/>")
}

/// The same of 48 kHz AAC: 94 frames, and 93 every fourth time.
fn audio_timeline(first: u64, end: u64) -> String {
    let d = |n: u64| if n % 4 == 3 { 95_232 } else { 96_256 };
    let mut t = 480_000 + (0..first).map(d).sum::<u64>();
    let mut text = String::new();
    for n in first..end {
        write!(text, "<S t=\"{t}\" d=\"{}\"/>", d(n)).unwrap();
        t += d(n);
    }
    text
}

fn period(first: u64, end: u64) -> String {
    format!(
        r#"<Period id="0" start="PT823176000S">
<AdaptationSet id="0" contentType="video" mimeType="video/mp4">
<SegmentTemplate timescale="90000" presentationTimeOffset="900000" startNumber="{first}" initialization="v/init-1.mp4" media="v/$Number$.m4s">
<SegmentTimeline>{}</SegmentTimeline></SegmentTemplate>
<Representation id="v0" bandwidth="3000000" codecs="avc1.64001f" width="1280" height="720"/>
</AdaptationSet>
<AdaptationSet id="1" contentType="audio" mimeType="audio/mp4" lang="en">
<SegmentTemplate timescale="48000" presentationTimeOffset="480000" startNumber="{first}" initialization="a/init-2.mp4" media="a/$Number$.m4s">
<SegmentTimeline>{}</SegmentTimeline></SegmentTemplate>
<Representation id="a0" bandwidth="128000" codecs="mp4a.40.2" audioSamplingRate="48000"/>
</AdaptationSet>
</Period>
"#,
        video_timeline(first, end),
        audio_timeline(first, end),
    )
}

fn dates(end: u64) -> String {
    let publish = WallTime::from_unix_millis(START_MS).offset_by(i64::try_from(end).unwrap() * 2_000 + 100);
    format!("availabilityStartTime=\"2000-01-01T00:00:00Z\" publishTime=\"{publish}\"")
}

fn mpd(attributes: &str, end: u64, periods: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" \
         {} minBufferTime=\"PT2S\" maxSegmentDuration=\"PT2.01S\" {attributes}>\n{periods}\
         <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"http://example.org/time\"/>\n</MPD>\n",
        dates(end)
    )
}

const LIVE: &str = "type=\"dynamic\" minimumUpdatePeriod=\"PT2S\" timeShiftBufferDepth=\"PT20S\" suggestedPresentationDelay=\"PT6S\"";

/// A live MPD that lists the segments `first..end`.
fn good(first: u64, end: u64) -> String {
    mpd(LIVE, end, &period(first, end))
}

/// The static MPD at the end.
fn ended(first: u64, end: u64) -> String {
    let duration = 823_176_000 + end * 2;
    // Half a segment later: publishTime counts on.
    with(
        &mpd(
            &format!("type=\"static\" mediaPresentationDuration=\"PT{duration}S\""),
            end,
            &period(first, end),
        ),
        ".100Z",
        ".900Z",
    )
}

/// Live with a second Period, whose `first..end` follow three seconds late.
fn two_periods(first: u64, middle: u64, start: &str, end: u64) -> String {
    let second = period(middle, end)
        .replace("id=\"0\" start=\"PT823176000S\"", &format!("id=\"{middle}\" start=\"{start}\""))
        .replace("presentationTimeOffset=\"900000\"", &offset(900_000 + middle * 180_000))
        .replace("presentationTimeOffset=\"480000\"", &offset(480_000 + middle * 96_000));
    let both = if first < middle { period(first, middle) + &second } else { second };
    mpd(LIVE, end + 2, &both)
}

fn offset(ticks: u64) -> String {
    format!("presentationTimeOffset=\"{ticks}\"")
}

/// `text` with `from`, which must be there, replaced once.
fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the row is wrong: {from:?} is not in {text}");
    text.replacen(from, to, 1)
}

/// As [`with`], everywhere.
fn with_all(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the row is wrong: {from:?} is not in {text}");
    text.replace(from, to)
}

/// `text` without its audio: no other set then tells that numbers and times have parted.
fn video_only(text: &str) -> String {
    let (front, rest) = text.split_once("<AdaptationSet id=\"1\"").expect("every MPD here has audio");
    format!("{front}{}", rest.split_once("</AdaptationSet>\n").expect("the set ends").1)
}

/// All findings over the versions.
fn observe(versions: &[String]) -> Vec<Finding> {
    let mut checker = Checker::new();
    versions.iter().flat_map(|text| checker.observe(text, None)).collect()
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

use Severity::{Error, Notice, Warning};

#[test]
fn good_sequences_have_no_finding() {
    let at_ten = "PT823176023S";
    for (name, versions) in [
        ("sliding", (0..20).map(|n| good(100 + n, 110 + n)).collect::<Vec<_>>()),
        ("growing, then sliding", vec![good(0, 1), good(0, 2), good(0, 4), good(1, 7), good(3, 8)]),
        ("the same polled again", vec![good(5, 12), good(5, 12), good(6, 13), good(6, 13)]),
        ("ending", vec![good(5, 12), good(6, 13), ended(6, 13), ended(6, 13)]),
        ("ending with a last segment", vec![good(5, 12), ended(6, 13)]),
        (
            "a Period comes, passes and leaves",
            vec![
                good(0, 10),
                two_periods(0, 10, at_ten, 11),
                two_periods(5, 10, at_ten, 15),
                two_periods(9, 10, at_ten, 18),
                two_periods(10, 10, at_ten, 19),
            ],
        ),
        (
            "a Period gets its duration",
            vec![
                good(0, 10),
                with(
                    &two_periods(0, 10, at_ten, 11),
                    "\"PT823176000S\"",
                    "\"PT823176000S\" duration=\"PT20S\"",
                ),
            ],
        ),
        (
            "named by time",
            (0..5)
                .map(|n| with_all(&good(n, n + 4), "$Number$", "$Time$"))
                .map(|text| with_all(&text, "startNumber=", "x="))
                .collect(),
        ),
        (
            "a template at the Period",
            vec![with_all(&good(5, 12), "timescale=\"90000\"", "").replace(
                "start=\"PT823176000S\">",
                "start=\"PT823176000S\"><SegmentTemplate timescale=\"90000\"/>",
            )],
        ),
        (
            "a timeline at the Representation",
            vec![with(
                &with(
                    &good(5, 12),
                    &format!("<SegmentTimeline>{}</SegmentTimeline>", video_timeline(5, 12)),
                    "",
                ),
                "height=\"720\"/>",
                &format!(
                    "height=\"720\"><SegmentTemplate><SegmentTimeline>{}</SegmentTimeline></SegmentTemplate></Representation>",
                    video_timeline(5, 12)
                ),
            )],
        ),
        (
            "numbers without a timeline",
            vec![with(
                &with(
                    &good(5, 12),
                    &format!("<SegmentTimeline>{}</SegmentTimeline>", video_timeline(5, 12)),
                    "",
                ),
                "timescale=\"90000\"",
                "timescale=\"90000\" duration=\"180000\"",
            )],
        ),
        (
            "a clock in the document",
            vec![
                with(&good(5, 12), "utc:http-iso", "utc:direct")
                    .replace("http://example.org/time", "2026-01-31T12:00:00Z"),
            ],
        ),
        (
            "seconds in another zone",
            vec![with(&good(5, 12), "2000-01-01T00:00:00Z", "2000-01-01T01:00:00+01:00"), good(6, 13)],
        ),
    ] {
        let found = observe(&versions);
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}

#[test]
fn faults_of_one_version() {
    let base = || good(5, 12);
    let repeat = |r: &str| with(&base(), " r=\"6\"", &format!(" r=\"{r}\""));
    assert_only(vec![
        ("not XML", vec!["#EXTM3U\n".to_owned()], Error, "dash 8.1", "no MPD can be read"),
        ("cut off", vec![base()[..900].to_owned()], Error, "dash 8.1", "no MPD can be read"),
        (
            "another type",
            vec![
                with(&base(), "\"dynamic\"", "\"live\"")
                    .replace("minimumUpdatePeriod", "x")
                    .replace(" minBufferTime", " mediaPresentationDuration=\"PT823176024S\" minBufferTime"),
            ],
            Error,
            "dash 5",
            "MPD@type is live",
        ),
        ("no profiles", vec![with(&base(), "profiles=", "x=")], Error, "dash 5", "@profiles"),
        (
            "no AST",
            vec![with(&base(), "availabilityStartTime=", "x=")],
            Error,
            "dash 5",
            "@availabilityStartTime is missing",
        ),
        (
            "no publishTime",
            vec![with(&base(), "publishTime=", "x=")],
            Error,
            "dash 5",
            "@publishTime is missing",
        ),
        ("no minBufferTime", vec![with(&base(), "minBufferTime=", "x=")], Error, "dash 5", "@minBufferTime"),
        ("no MUP", vec![with(&base(), "minimumUpdatePeriod=", "x=")], Error, "dash 5", "never ask"),
        (
            "ended by leaving MUP out",
            vec![with(&base(), "minimumUpdatePeriod=", "mediaPresentationDuration=")],
            Notice,
            "dash 5.9",
            "has ended",
        ),
        (
            "no window",
            vec![with(&base(), "timeShiftBufferDepth=", "x=")],
            Notice,
            "dash 5",
            "@timeShiftBufferDepth",
        ),
        (
            "no delay",
            vec![with(&base(), "suggestedPresentationDelay=", "x=")],
            Notice,
            "dash 5",
            "4 segments",
        ),
        (
            "no maxSegmentDuration",
            vec![with(&base(), "maxSegmentDuration=", "x=")],
            Warning,
            "dash 5",
            "shaka assumes 1 s",
        ),
        (
            "a date that is none",
            vec![with(&base(), "2000-01-01T00:00:00Z", "2000-13-01T00:00:00Z").replace(
                "type=\"dynamic\" minimumUpdatePeriod",
                "mediaPresentationDuration=\"PT823176024S\" x",
            )],
            Error,
            "dash 5",
            "no xs:dateTime",
        ),
        (
            "a duration that is none",
            vec![with(
                &base(),
                "timeShiftBufferDepth=\"PT20S\"",
                "timeShiftBufferDepth=\"PT20S\" mediaPresentationDuration=\"20\"",
            )],
            Error,
            "dash 5",
            "no xs:duration",
        ),
        ("no clock", vec![with(&base(), "UTCTiming", "Metrics")], Warning, "dash 5.8", "no UTCTiming"),
        (
            "a relative clock",
            vec![with(&base(), "http://example.org/time", "/time")],
            Error,
            "dash 5.8",
            "GStreamer refuses",
        ),
        (
            "a clock without a URL",
            vec![with(&base(), "http://example.org/time", "")],
            Error,
            "dash 5.8",
            "empty",
        ),
        ("an NTP clock", vec![with(&base(), "utc:http-iso", "utc:ntp")], Notice, "dash 5.8", "ignore"),
        (
            "a clock of another kind",
            vec![with(&base(), "urn:mpeg:dash:utc:http-iso:2014", "urn:x")],
            Notice,
            "dash 5.8",
            "unknown scheme",
        ),
        ("no Period", vec![mpd(LIVE, 9, "")], Error, "dash 5", "has no Period"),
        (
            "a Period without id",
            vec![with(&base(), "<Period id=\"0\"", "<Period")],
            Error,
            "dash 5.7",
            "has no @id",
        ),
        (
            "a Period without start",
            vec![with(&base(), " start=\"PT823176000S\"", "")],
            Error,
            "dash 5.7",
            "has no @start",
        ),
        (
            "a Period without sets",
            vec![mpd(LIVE, 9, "<Period id=\"0\" start=\"PT0S\"/>")],
            Error,
            "dash 5",
            "no AdaptationSet",
        ),
        (
            "a set without Representations",
            vec![with(&base(), "</Period>", "<AdaptationSet contentType=\"text\"/></Period>")],
            Error,
            "dash 5",
            "no Representation",
        ),
        (
            "two sets of one id",
            vec![with(&base(), "<AdaptationSet id=\"1\"", "<AdaptationSet id=\"0\"")],
            Error,
            "dash 5.6",
            "two AdaptationSets",
        ),
        (
            "two Representations of one id",
            vec![with(&base(), "id=\"a0\"", "id=\"v0\"")],
            Error,
            "dash 5.6",
            "two Representations",
        ),
        ("no Representation id", vec![with(&base(), "id=\"a0\"", "")], Error, "dash 5.6", "has no @id"),
        ("no bandwidth", vec![with(&base(), "bandwidth=\"128000\"", "")], Error, "dash 5.6", "no @bandwidth"),
        ("no mimeType", vec![with(&base(), "mimeType=\"audio/mp4\"", "")], Error, "dash 5.6", "no @mimeType"),
        ("no codecs", vec![with(&base(), "codecs=\"mp4a.40.2\"", "")], Error, "dash 5.6", "no @codecs"),
        (
            "duration and timeline",
            vec![with(&base(), "timescale=\"90000\"", "timescale=\"90000\" duration=\"180000\"")],
            Error,
            "dash 5.4",
            "both",
        ),
        (
            "neither",
            vec![with(&base(), &format!("<SegmentTimeline>{}</SegmentTimeline>", video_timeline(5, 12)), "")],
            Error,
            "dash 5.4",
            "neither",
        ),
        (
            "no SegmentTemplate",
            vec![with(
                &base(),
                "</Period>",
                "<AdaptationSet contentType=\"text\" mimeType=\"text/vtt\"><Representation id=\"t\" bandwidth=\"1\" codecs=\"wvtt\"/></AdaptationSet></Period>",
            )],
            Notice,
            "dash 5",
            "not examined",
        ),
        ("no media", vec![with(&base(), "media=\"v/", "x=\"v/")], Error, "dash 5.4", "@media is missing"),
        (
            "no initialization",
            vec![with(&base(), "initialization=\"v/", "x=\"v/")],
            Error,
            "dash 5.4",
            "@initialization is missing",
        ),
        (
            "one name for all",
            vec![with(&base(), "v/$Number$", "v/1")],
            Error,
            "dash 5.4",
            "neither $Number$ nor $Time$",
        ),
        (
            "a template without its pair",
            vec![with(&base(), "v/$Number$", "v/$Number$$")],
            Error,
            "dash 5.4",
            "no URL template",
        ),
        (
            "an unknown identifier",
            vec![with(&base(), "v/init-1", "v/$Name$")],
            Error,
            "dash 5.4",
            "no URL template",
        ),
        (
            "an empty timeline",
            vec![with(&base(), &video_timeline(5, 12), "")],
            Error,
            "dash 5.2",
            "lists no segment",
        ),
        (
            "an endless repeat",
            vec![with(&base(), &video_timeline(5, 12), "<S t=\"1800000\" d=\"180000\" r=\"-1\"/>")],
            Error,
            "dash 5.2",
            "S@r -1",
        ),
        ("a repeat that is no number", vec![repeat("x")], Error, "dash 5.2", "S@r x"),
        (
            "no t at first",
            vec![
                with(&base(), "t=\"1800000\" ", "")
                    .replace("\"900000\"", "\"0\"")
                    .replace("\"480000\"", "\"960000\""),
            ],
            Warning,
            "dash 5.2",
            "has no S@t",
        ),
        (
            "a hole",
            vec![with(&base(), &video_timeline(5, 12), &(video_timeline(5, 8) + &video_timeline(9, 12)))],
            Error,
            "dash 5.7",
            "starts 180000 ticks late",
        ),
        (
            "an overlap",
            vec![with(&base(), &video_timeline(5, 12), &(video_timeline(5, 8) + &video_timeline(7, 10)))],
            Error,
            "dash 5.2",
            "starts 180000 ticks before",
        ),
        (
            "a long segment",
            vec![with(&base(), " r=\"6\"/>", " r=\"5\"/><S d=\"180901\"/>")],
            Error,
            "dash 5",
            "segment 11 is 2.010 s long",
        ),
        (
            "media before its Period",
            vec![with(
                &video_only(&base()),
                "presentationTimeOffset=\"900000\"",
                "presentationTimeOffset=\"1845000\"",
            )],
            Warning,
            "dash 5.5",
            "starts 0.500 s before its Period",
        ),
        (
            "sets one number apart",
            vec![with(
                &base(),
                "startNumber=\"5\" initialization=\"a/",
                "startNumber=\"6\" initialization=\"a/",
            )],
            Error,
            "dash 4.3",
            "segment 6 starts at 12.000 s in v0 and at 10.0",
        ),
        (
            "a static MPD that is asked for again",
            vec![with(&ended(5, 12), "type=\"static\"", "type=\"static\" minimumUpdatePeriod=\"PT2S\"")],
            Error,
            "dash 5.9",
            "go on asking",
        ),
        (
            "a static MPD without an end",
            vec![with(&ended(5, 12), "mediaPresentationDuration=", "x=")],
            Error,
            "dash 5.9",
            "neither",
        ),
        (
            "an end too early",
            vec![with(&ended(5, 12), "PT823176024S", "PT823176020S")],
            Warning,
            "dash 5.9",
            "ends at 823176024.0",
        ),
        (
            "Periods that overlap",
            vec![two_periods(0, 10, "PT823176018S", 11)],
            Warning,
            "dash 5.7",
            "goes on for 20.0",
        ),
        (
            "a Period longer than its room",
            vec![with(
                &two_periods(0, 10, "PT823176020S", 11),
                "start=\"PT823176000S\"",
                "start=\"PT823176000S\" duration=\"PT20.1S\"",
            )],
            Error,
            "dash 5.7",
            "@duration of 20.100 s",
        ),
        (
            "Periods out of order",
            vec![two_periods(0, 10, "PT823176000S", 11)],
            Error,
            "dash 5.7",
            "does not start after",
        ),
        (
            "two Periods of one id",
            vec![with(&two_periods(0, 10, "PT823176020S", 11), "id=\"10\"", "id=\"0\"")],
            Error,
            "dash 5.7",
            "two Periods",
        ),
    ]);
}

#[test]
fn faults_that_bring_others() {
    let base = || good(5, 12);
    assert_found(vec![
        ("no d", vec![with(&base(), "d=\"180000\"", "")], Error, "dash 5.2", "no S@d"),
        (
            "beyond 64 bits",
            vec![with(&base(), " r=\"6\"", " r=\"18446744073709551615\"")],
            Error,
            "dash 5.2",
            "beyond 64 bits",
        ),
        (
            "a number of 33 bits",
            vec![with_all(&base(), "startNumber=\"5\"", "startNumber=\"4294967296\"")],
            Error,
            "dash 5.2",
            "32 bits",
        ),
        (
            "the last end beyond 64 bits",
            vec![with(&base(), "t=\"1800000\" d=\"180000\" r=\"6\"", "t=\"18446744073709551615\" d=\"1\"")],
            Error,
            "dash 5.2",
            "beyond 64 bits",
        ),
        (
            "too many Periods",
            vec![mpd(LIVE, 9, &"<Period/>".repeat(read::PERIODS_MAX + 1))],
            Error,
            "dash 5",
            "more findings",
        ),
        (
            "too many Representations",
            vec![with(
                &base(),
                "<Representation id=\"a0\"",
                &("<Representation/>".repeat(read::REPRESENTATIONS_MAX) + "<Representation id=\"a0\""),
            )],
            Error,
            "dash 5",
            "only the first 1024 Representations",
        ),
    ]);
}

#[test]
fn faults_between_versions() {
    let at_ten = "PT823176023S";
    let two = |first, end| two_periods(first, 10, at_ten, end);
    assert_only(vec![
        (
            "AST moves",
            vec![good(5, 12), with(&good(6, 13), "2000-01-01T00:00:00Z", "2000-01-01T00:00:01Z")],
            Error,
            "dash 5",
            "moved by 1.000 s",
        ),
        (
            "publishTime goes back",
            vec![good(5, 12), with(&good(6, 13), "12:00:26.100Z", "12:00:24.099Z")],
            Error,
            "dash 5",
            "went back by 0.001 s",
        ),
        (
            "publishTime stays",
            vec![good(5, 12), with(&good(6, 13), "12:00:26.100Z", "12:00:24.100Z")],
            Error,
            "dash 5",
            "its @publishTime did not",
        ),
        (
            "nothing but publishTime changes",
            vec![good(5, 12), with(&good(5, 12), "12:00:24.100Z", "12:00:24.200Z")],
            Error,
            "dash 5",
            "nothing else did",
        ),
        (
            "a changed end",
            vec![ended(5, 12), with(&ended(5, 13), "startNumber", " startNumber")],
            Error,
            "dash 5.9",
            "a static MPD changed",
        ),
        ("an end taken back", vec![ended(5, 12), good(6, 13)], Error, "dash 5.9", "became dynamic again"),
        (
            "another publication behind the end",
            vec![ended(5, 10), two(10, 12)],
            Warning,
            "dash 5.9",
            "new publication",
        ),
        (
            "a Period's start moves",
            vec![good(5, 12), with(&good(6, 13), "PT823176000S", "PT823176000.001S")],
            Error,
            "dash 5.7",
            "@start moved by 0.001 s",
        ),
        (
            "a Period's duration changes",
            vec![
                with(&two(5, 11), "\"PT823176000S\"", "\"PT823176000S\" duration=\"PT20S\""),
                with(&two(6, 12), "\"PT823176000S\"", "\"PT823176000S\" duration=\"PT21S\""),
            ],
            Error,
            "dash 5.7",
            "@duration changed from 20.000 s to 21.000 s",
        ),
        (
            "a Period's duration is lost",
            vec![with(&two(5, 11), "\"PT823176000S\"", "\"PT823176000S\" duration=\"PT20S\""), two(6, 12)],
            Error,
            "dash 5.7",
            "lost its @duration",
        ),
        (
            "an id used again",
            vec![
                good(5, 10),
                two(10, 12),
                with(&two(10, 13), "id=\"10\"", "id=\"0\"")
                    .replace("startNumber=\"10\"", "startNumber=\"13\""),
            ],
            Error,
            "dash 5.7",
            "had left",
        ),
        (
            "a Period leaves from the end",
            vec![two(5, 11), mpd(LIVE, 20, &period(6, 10))],
            Error,
            "dash 5.7",
            "Period 10 left from the end",
        ),
        (
            "a Period comes in front",
            vec![two(10, 11), two(5, 12)],
            Error,
            "dash 5.7",
            "Period 0 came in front of Period 10",
        ),
        (
            "a Period takes another's place",
            vec![two(5, 11), with(&two(6, 12), "id=\"10\"", "id=\"11\"")],
            Error,
            "dash 5.7",
            "Period 11 stands where Period 10 stood",
        ),
        (
            "codecs change",
            vec![good(5, 12), with(&good(6, 13), "avc1.64001f", "avc1.640028")],
            Error,
            "dash 5.7",
            "@codecs or @mimeType",
        ),
        (
            "the language changes",
            vec![good(5, 12), with(&good(6, 13), "\"en\"", "\"de\"")],
            Error,
            "dash 5.7",
            "@lang",
        ),
        (
            "PTO changes",
            vec![good(5, 12), with(&good(6, 13), "\"900000\"", "\"900001\"")],
            Error,
            "dash 5.2",
            "@presentationTimeOffset changed",
        ),
        (
            "the initialization changes",
            vec![good(5, 12), with(&good(6, 13), "init-1", "init-3")],
            Error,
            "dash 5.2",
            "@initialization changed",
        ),
        (
            "the names change",
            vec![good(5, 12), with(&good(6, 13), "v/$Number$", "w/$Number$")],
            Error,
            "dash 5.2",
            "@media changed",
        ),
        (
            "startNumber goes back",
            vec![
                video_only(&good(5, 12)),
                with(&video_only(&good(5, 13)), "startNumber=\"5\"", "startNumber=\"4\""),
            ],
            Error,
            "dash 5.2",
            "went back from 5 to 4",
        ),
        (
            "startNumber stays",
            vec![
                video_only(&good(5, 12)),
                with(&video_only(&good(6, 13)), "startNumber=\"6\"", "startNumber=\"5\""),
            ],
            Error,
            "dash 5.2",
            "1 segment(s) left at the front, and @startNumber grew by 0",
        ),
        (
            "S@t changes",
            vec![good(5, 12), with(&good(6, 13), "t=\"1980000\"", "t=\"1980001\"")],
            Error,
            "dash 5.2",
            "S@t of segment 6 changed from 1980000 to 1980001",
        ),
        (
            "S@d changes",
            vec![good(5, 12), with(&good(6, 13), "r=\"6\"/>", "r=\"4\"/><S d=\"180001\"/><S d=\"179999\"/>")],
            Error,
            "dash 5.2",
            "S@d of segment 11 changed from 180000 to 180001",
        ),
        (
            "segments leave from the end",
            vec![good(5, 12), with(&good(6, 13), "r=\"6\"/>", "r=\"4\"/>")],
            Error,
            "dash 5.2",
            "segments 11 to 11 were listed at the end",
        ),
        (
            "a hole between two versions",
            vec![good(5, 12), with(&good(12, 14), "t=\"3060000\"", "t=\"3060009\"")],
            Error,
            "dash 5.7",
            "segment 12 starts 9 ticks behind",
        ),
        (
            "times that no segment had",
            vec![
                with_all(&good(5, 12), "$Number$", "$Time$"),
                with(&with_all(&good(6, 13), "$Number$", "$Time$"), "t=\"1980000\"", "t=\"1980001\""),
            ],
            Error,
            "dash 5.2",
            "no segment started at 1980001",
        ),
    ]);
}

#[test]
fn faults_between_versions_that_bring_others() {
    assert_found(vec![
        (
            "names of a Period that was",
            vec![
                good(5, 12),
                with_all(&two_periods(5, 12, "PT823176027S", 14), "startNumber=\"12\"", "startNumber=\"11\""),
            ],
            Error,
            "dash 4.4",
            "v0: segment 11 has the name of one of Period 0, which ends with segment 11",
        ),
        (
            "a Representation is lost and another gained",
            vec![good(5, 12), with(&good(6, 13), "id=\"a0\"", "id=\"a1\"")],
            Error,
            "dash 5.6",
            "lost Representation a0",
        ),
        (
            "a Representation is gained",
            vec![good(5, 12), with(&good(6, 13), "id=\"a0\"", "id=\"a1\"")],
            Warning,
            "dash 5.6",
            "gained Representation a1",
        ),
        (
            "missed segments",
            vec![good(5, 8), good(10, 12)],
            Warning,
            "dash 5",
            "segments 8 to 9 were never seen",
        ),
        (
            "missed numbers, and no time for them",
            vec![
                good(5, 8),
                with_all(&good(8, 12), "startNumber=\"8\"", "startNumber=\"9\"")
                    .replace("t=\"2340000\"", "t=\"2339999\""),
            ],
            Error,
            "dash 5.2",
            "segment 9 starts at 2339999, before",
        ),
    ]);
}

#[test]
fn what_is_announced_is_there() {
    // Segment 11 ends 24 s after the start of the Period.
    let end = WallTime::from_unix_millis(START_MS).offset_by(24_000);
    let found = |text: &str, ms| Checker::new().observe(text, Some(end.offset_by(ms)));
    for ms in [-500, 0, 100_000] {
        assert_eq!(found(&good(5, 12), ms), [], "{ms} ms");
    }
    let early = found(&good(5, 12), -501);
    assert!(
        early.iter().any(|finding| finding.rule == "dash 5.1"
            && finding.message == "Period 0, v0: segment 11 is announced 0.501 s before it is available"),
        "{early:#?}"
    );
    let ahead = with_all(&good(5, 12), "timescale=", "availabilityTimeOffset=\"1.5\" timescale=");
    assert_eq!(found(&ahead, -2_000), []);
    assert_ne!(found(&ahead, -2_001), []);
    assert_eq!(found(&ended(5, 12), -60_000), []);
}

#[test]
fn a_fault_is_reported_once() {
    let relative = |text: String| with(&text, "http://example.org/time", "/time");
    let mut checker = Checker::new();
    assert_eq!(checker.observe(&relative(good(5, 12)), None).len(), 1);
    assert_eq!(checker.observe(&relative(good(5, 12)), None), []);
    assert_eq!(checker.observe(&relative(good(6, 13)), None), []);
}

#[test]
fn findings_are_bounded() {
    let sets: String = (0..200).map(|n| format!("<AdaptationSet id=\"{n}\"/>")).collect();
    let text = mpd(LIVE, 9, &format!("<Period id=\"0\" start=\"PT0S\">{sets}</Period>"));
    let found = Checker::new().observe(&text, None);
    // The sets differ in nothing that a message says: one line of each rule, and how many were left off.
    assert!(are_bounded(&found));
    assert!(found.last().unwrap().message.starts_with("and 184 more findings"), "{found:#?}");
}

#[test]
fn a_text_too_long_is_not_read() {
    let text = good(5, 12) + &" ".repeat(super::MPD_BYTES_MAX);
    let found = Checker::new().observe(&text, None);
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains("more than the 8388608 that are examined"));
}

#[test]
fn what_is_read() {
    let mut checker = Checker::new();
    let base = "<BaseURL> http://example.org/a/ </BaseURL><BaseURL>http://example.net/a/</BaseURL>";
    let text = with(&good(5, 12), "<Period", &format!("{base}<Period"));
    let text = with(&text, "<SegmentTemplate", "<BaseURL>b/</BaseURL><SegmentTemplate");
    checker.observe(&text, None);
    let mpd = checker.mpd().unwrap();
    assert!(mpd.dynamic);
    assert_eq!(mpd.availability_start_time_us, Some(946_684_800_000_000));
    assert_eq!(mpd.publish_time_us, Some(1_769_860_824_100_000));
    assert_eq!(mpd.minimum_update_period_us, Some(2_000_000));
    assert_eq!(mpd.time_shift_buffer_depth_us, Some(20_000_000));
    assert_eq!(mpd.suggested_presentation_delay_us, Some(6_000_000));
    assert_eq!(mpd.max_segment_duration_us, Some(2_010_000));
    assert_eq!(mpd.segment_count(), 14);
    let period = mpd.period("0").unwrap();
    assert_eq!(period.start_us, Some(823_176_000_000_000));
    let [video, audio] = period.adaptation_sets.as_slice() else { panic!("{period:#?}") };
    assert_eq!((video.content_type.as_str(), audio.content_type.as_str()), ("video", "audio"));
    assert_eq!(audio.lang.as_deref(), Some("en"));
    let v0 = &video.representations[0];
    assert_eq!((v0.bandwidth, v0.resolution), (3_000_000, Some((1_280, 720))));
    assert_eq!(v0.codecs.as_deref(), Some("avc1.64001f"));
    assert_eq!(v0.base_urls, ["http://example.org/a/", "b/"]);
    assert_eq!(v0.initialization().as_deref(), Some("v/init-1.mp4"));
    assert_eq!(v0.media(41, 0).as_deref(), Some("v/41.m4s"));
    let a0 = &audio.representations[0];
    assert_eq!(a0.audio_sampling_rate.as_deref(), Some("48000"));
    let template = a0.template.as_ref().unwrap();
    assert_eq!((template.start_number, template.end_number()), (5, 12));
    let segments: Vec<_> = template.segments().collect();
    assert_eq!(segments[..3], [(5, 959_232 + 1_024, 96_256), (6, 1_056_512, 96_256), (7, 1_152_768, 95_232)]);
    let newest: Vec<_> = template.newest_segments(3).collect();
    assert_eq!(newest, segments.iter().rev().copied().take(3).collect::<Vec<_>>());
}

#[test]
fn endless_repeats_cost_nothing() {
    let endless = |n: u64| with(&good(n, n + 7), " r=\"6\"", " r=\"100000000000000\"");
    let mut checker = Checker::new();
    checker.observe(&endless(5), None);
    // One segment left, and as many are listed as before: one came.
    assert_eq!(checker.observe(&endless(6), None), []);
    let template = checker.mpd().unwrap().periods[0].adaptation_sets[0].representations[0].template.as_ref();
    assert_eq!(template.unwrap().end_number(), 100_000_000_000_007);
    assert_eq!(template.unwrap().newest_segments(2).count(), 2);
}

proptest! {
    /// One byte changed, removed or doubled anywhere in a version: no panic, and findings that are bounded.
    #[test]
    fn damaged_versions(at in 0_usize..2_000, byte in any::<u8>(), kind in 0..3) {
        let mut bytes = good(6, 13).into_bytes();
        let at = at.min(bytes.len() - 1);
        match kind {
            0 => bytes[at] = byte,
            1 => { bytes.remove(at); }
            _ => bytes.insert(at, byte),
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut checker = Checker::new();
        for text in [&good(5, 12), &text, &good(7, 14)] {
            prop_assert!(are_bounded(&checker.observe(text, Some(WallTime::from_unix_millis(START_MS)))));
        }
    }
}

#[test]
fn every_truncation_is_read_to_its_end() {
    let text = good(5, 12);
    let whole = text.trim_end().len();
    for end in 0..=text.len() {
        let found = Checker::new().observe(&text[..end], None);
        assert_eq!(found.is_empty(), end >= whole, "{end} bytes: {found:#?}");
    }
}

//! The rules of low latency: a stream of two-second segments in half-second parts, and every way to get it wrong.

use super::super::compare_reports;
use super::*;

/// Parts of a segment.
const PARTS: u64 = 4;

/// Segments `first..end`, the last three with their parts, `parts` of segment `end`, and the hint at the next one.
fn live(first: u64, end: u64, parts: u64) -> String {
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.600000,HOLD-BACK=6.000000,\
         CAN-SKIP-UNTIL=12.000000\n#EXT-X-PART-INF:PART-TARGET=0.500000\n#EXT-X-MEDIA-SEQUENCE:{first}\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-MAP:URI=\"i.mp4\"\n"
    );
    for sequence in first..end {
        text += &date(sequence);
        if sequence + 3 >= end {
            (0..PARTS).for_each(|index| text += &part(sequence, index));
        }
        text += &extinf(sequence);
    }
    if parts > 0 {
        text += &date(end);
        (0..parts).for_each(|index| text += &part(end, index));
    }
    text + &hint(end, parts) + "#EXT-X-RENDITION-REPORT:URI=\"../a/index.m3u8\",LAST-MSN=11,LAST-PART=1\n"
}

fn date(sequence: u64) -> String {
    let (minute, second) = (sequence * 2 / 60, sequence * 2 % 60);
    format!("#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:{minute:02}:{second:02}.000Z\n")
}

fn extinf(sequence: u64) -> String {
    format!("#EXTINF:2.000000,\n{sequence}.m4s\n")
}

fn part(sequence: u64, index: u64) -> String {
    let independent = if index == 0 { ",INDEPENDENT=YES" } else { "" };
    format!("#EXT-X-PART:DURATION=0.500000,URI=\"{sequence}.{index}.m4s\"{independent}\n")
}

fn hint(sequence: u64, index: u64) -> String {
    format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{sequence}.{index}.m4s\"\n")
}

/// As `super::observe`, the versions half a second apart.
fn observe(versions: &[String]) -> Vec<Finding> {
    let mut checker = Checker::new(URI);
    (0..).zip(versions).flat_map(|(n, text)| checker.observe(text, n * 500)).collect()
}

/// Each row's finding, and no other.
fn assert_only(rows: Vec<Row>) {
    for (name, versions, severity, rule, words) in rows {
        let found = observe(&versions);
        assert_eq!(found.len(), 1, "{name}: {found:#?}");
        assert!(
            found.iter().all(|f| f.severity == severity && f.rule == rule && f.message.contains(words)),
            "{name}: no {severity} [{rule}] ...{words}... but {found:#?}"
        );
    }
}

#[test]
fn good_sequences_have_no_finding() {
    let base = || live(4, 12, 2);
    let short = |line: &str, more: &str| {
        let changed = part(12, 0).replace("0.500000", "0.300000").replace(",INDEPENDENT=YES", more);
        with(&base(), &(part(12, 0) + &part(12, 1)), &(changed + line))
    };
    let gap = part(12, 1).replace("\"\n", "\",GAP=YES\n");
    for (name, versions) in [
        ("part by part", (0..40).map(|n| live(n / 4 + 4, n / 4 + 12, n % 4)).collect::<Vec<_>>()),
        ("segment by segment", (0..10).map(|n| live(n + 4, n + 12, 2)).collect()),
        ("joined again much later", vec![live(4, 12, 2), live(9, 17, 0)]),
        ("joined again when the next part's tag is gone", vec![live(4, 12, 0), live(8, 16, 0)]),
        ("parts of the edge leave one by one", vec![live(4, 12, 2), with(&live(4, 15, 1), &part(12, 0), "")]),
        ("it begins", vec![live(4, 5, 0), live(4, 5, 1), live(4, 5, 3), live(4, 6, 0)]),
        ("it ends", vec![base(), with(&live(4, 13, 0), &hint(13, 0), "") + "#EXT-X-ENDLIST\n"]),
        ("short and independent", vec![short(&part(12, 1), ",INDEPENDENT=YES")]),
        ("short before a gap", vec![short(&gap, "")]),
        ("short and the last so far", vec![short("", "").replace("12.2.m4s", "12.1.m4s")]),
        ("parts leave one by one", vec![base(), with(&live(4, 12, 3), &(part(9, 0) + &part(9, 1)), "")]),
        (
            "ranges of one resource",
            vec![live(4, 12, 2), live(4, 12, 3)]
                .into_iter()
                .map(|text| {
                    let ranged = |index: u64| {
                        let offset = if index == 0 { "@0" } else { "" };
                        part(12, index).replace(
                            &format!("\"12.{index}.m4s\""),
                            &format!("\"12.m4s\",BYTERANGE=\"100{offset}\""),
                        )
                    };
                    let text = (0..3).fold(text, |text, n| text.replace(&part(12, n), &ranged(n)));
                    (2..4).fold(text, |text, n| {
                        let line = format!("URI=\"12.m4s\",BYTERANGE-START={}\n", n * 100);
                        text.replace(&format!("URI=\"12.{n}.m4s\"\n"), &line)
                    })
                })
                .collect(),
        ),
    ] {
        let found = observe(&versions);
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}

#[test]
fn faults_of_one_version() {
    use Severity::{Error, Notice, Warning};
    let base = || live(4, 12, 2);
    let changed = |from: &str, to: &str| vec![with(&base(), from, to)];
    assert_only(vec![
        (
            "HOLD-BACK",
            changed(",HOLD-BACK=6", ",HOLD-BACK=5"),
            Error,
            "hls 5.1",
            "HOLD-BACK is 5 s, less than 3",
        ),
        (
            "CAN-SKIP-UNTIL",
            changed("UNTIL=12", "UNTIL=11"),
            Error,
            "hls 5.1",
            "CAN-SKIP-UNTIL is 11 s, less than 6",
        ),
        ("PART-HOLD-BACK", changed("=1.600000", "=0.900000"), Error, "hls 5.1", "less than 2 part targets"),
        ("PART-HOLD-BACK for Apple", changed("=1.600000", "=1.400000"), Notice, "hls 5.1", "3 part targets"),
        (
            "no PART-HOLD-BACK",
            changed("PART-HOLD-BACK=1.600000,", ""),
            Error,
            "hls 5.1",
            "without a PART-HOLD-BACK",
        ),
        ("no CAN-BLOCK-RELOAD", changed("CAN-BLOCK-RELOAD=YES,", ""), Warning, "hls 5.1", "poll"),
        ("CAN-BLOCK-RELOAD=NO", changed("RELOAD=YES", "RELOAD=NO"), Warning, "hls 5.1", "Shaka"),
        (
            "no PART-INF",
            changed("#EXT-X-PART-INF:PART-TARGET=0.500000\n", ""),
            Error,
            "hls 5.2",
            "without a PART-TARGET",
        ),
        ("PART-TARGET 0", changed("TARGET=0.500000", "TARGET=0.000000"), Error, "hls 5.2", "is 0 s"),
        (
            "a part too long",
            changed("0.500000,URI=\"12.1", "0.500001,URI=\"12.1"),
            Error,
            "hls 5.2",
            "part 12.1.m4s of segment 12 is 0.500001 s long, more than",
        ),
        (
            "a part too short",
            vec![with(&live(4, 12, 3), "0.500000,URI=\"12.1", "0.424990,URI=\"12.1")],
            Error,
            "hls 5.2",
            "less than 85 %",
        ),
        (
            "none is independent",
            vec![
                with(&base(), "#EXT-X-SERVER", "#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-SERVER")
                    .replace(&part(11, 0), &part(11, 0).replace(",INDEPENDENT=YES", "")),
            ],
            Warning,
            "hls 5.3",
            "segment 11",
        ),
        (
            "EXTINF in front of a part",
            changed(
                &(part(11, 3) + "#EXTINF:2.000000,\n"),
                &("#EXTINF:2.000000,\n".to_owned() + &part(11, 3)),
            ),
            Notice,
            "hls 3.18",
            "behind #EXTINF of segment 11",
        ),
        ("a part is missing", changed(&part(11, 3), ""), Error, "hls 5.5", "segment 11 add up to 1.500000 s"),
        (
            "a part is missing, not yet old",
            vec![with(&live(4, 12, 0), &part(9, 0), "")],
            Error,
            "hls 5.5",
            "segment 9 add up to 1.500000 s",
        ),
        (
            "more parts than EXTINF",
            changed(&extinf(11), &extinf(11).replace("2.000000", "1.999990")),
            Error,
            "hls 5.5",
            "segment 11 add up to 2.000000 s",
        ),
        (
            "old parts",
            changed(&(date(8) + &extinf(8)), &((0..4).fold(date(8), |a, n| a + &part(8, n)) + &extinf(8))),
            Notice,
            "hls 5.6",
            "3 target durations",
        ),
        ("no hint", changed(&hint(12, 2), ""), Warning, "hls 5.8", "no #EXT-X-PRELOAD-HINT"),
        ("two hints", changed(&hint(12, 2), &hint(12, 2).repeat(2)), Error, "hls 5.8", "TYPE=PART"),
        (
            "a hint at what is there",
            changed(&hint(12, 2), &hint(12, 1)),
            Error,
            "hls 5.8",
            "names 12.1.m4s, a part that is listed",
        ),
        (
            "a gap whose parts are none",
            changed(&(date(11) + &part(11, 0)), &(date(11) + "#EXT-X-GAP\n" + &part(11, 0))),
            Error,
            "hls 3.13",
            "GAP=YES",
        ),
        (
            "a segment that gets too long",
            vec![{
                let more = (2..6).map(|index| part(12, index)).collect::<String>();
                let text = with(&base(), &hint(12, 2), &(more + &hint(12, 6)));
                with(&text, &(0..4).map(|index| part(9, index)).collect::<String>(), "")
            }],
            Error,
            "hls 3.1",
            "segment 12 add up to 3.000 s",
        ),
        (
            "a part's name twice",
            changed("12.1.m4s", "11.2.m4s"),
            Warning,
            "hls 3.4",
            "part 1 of segment 12 has the name of part 2 of segment 11, 11.2.m4s",
        ),
        (
            "the edge has another date",
            changed(&date(12), &date(17)),
            Warning,
            "hls 3.12",
            "segment 12 is 10.000 s late",
        ),
    ]);
    for (name, line) in [("a date", date(12)), ("a MAP", "#EXT-X-MAP:URI=\"j.mp4\"\n".to_owned())] {
        let text = with(&base(), &part(12, 1), &(line + &part(12, 1)));
        let found = observe(&[text]);
        assert!(found.iter().any(|f| f.rule == "hls 5.4" && f.severity == Error), "{name}: {found:#?}");
    }
    let ranges = vec![with(&base(), ",CAN-SKIP-UNTIL=12.000000", ",CAN-SKIP-DATERANGES=YES")];
    assert_found(vec![("date ranges alone", ranges, Error, "hls 5.1", "without CAN-SKIP-UNTIL")]);
}

#[test]
fn faults_between_versions() {
    use Severity::{Error, Notice, Warning};
    let (a, b, c) = (|| live(4, 12, 2), || live(4, 12, 3), || live(4, 13, 0));
    let long = || part(11, 1).replace("0.500000", "0.499999");
    assert_only(vec![
        (
            "PART-TARGET changes",
            vec![a(), with(&b(), "TARGET=0.50", "TARGET=0.51")],
            Error,
            "hls 5.2",
            "changed",
        ),
        (
            "SERVER-CONTROL changes",
            vec![a(), with(&b(), "PART-HOLD-BACK=1.6", "PART-HOLD-BACK=1.7")],
            Error,
            "hls 5.1",
            "changed",
        ),
        (
            "a part gets another name",
            vec![a(), with(&b(), "12.1.m4s", "12.x.m4s")],
            Error,
            "hls 5.5",
            "a part of segment 12 was 12.1.m4s and is 12.x.m4s",
        ),
        (
            "a part of a finished segment gets another name",
            vec![a(), with(&b(), "11.1.m4s", "11.x.m4s")],
            Error,
            "hls 5.5",
            "a part of segment 11 was 11.1.m4s",
        ),
        (
            "a part changes",
            vec![a(), with(&b(), &part(11, 1), &long())],
            Error,
            "hls 5.5",
            "said of it: 11.1.m4s",
        ),
        (
            "a part changes when its segment is done",
            vec![a(), with(&c(), &part(12, 1), &part(12, 1).replace("\"\n", "\",INDEPENDENT=YES\n"))],
            Error,
            "hls 5.5",
            "said of it: 12.1.m4s",
        ),
        (
            "the discontinuity comes late",
            vec![a(), with(&b(), &date(12), &("#EXT-X-DISCONTINUITY\n".to_owned() + &date(12)))],
            Error,
            "hls 3.4",
            "segment 12, whose parts were listed, gained",
        ),
        (
            "parts leave early",
            vec![a(), with(&b(), &(0..4).map(|n| part(10, n)).collect::<String>(), "")],
            Warning,
            "hls 5.6",
            "segment 10",
        ),
        (
            "parts come late",
            vec![with(&a(), &(0..4).map(|n| part(10, n)).collect::<String>(), ""), b()],
            Warning,
            "hls 5.5",
            "segment 10 was listed without parts",
        ),
        (
            "another part than hinted at",
            vec![with(&a(), "\"12.2.m4s\"", "\"12.two.m4s\""), b()],
            Error,
            "hls 5.8",
            "named 12.two.m4s and the part that came is 12.2.m4s",
        ),
        (
            "another part than hinted at, which ended its segment",
            vec![with(&b(), "\"12.3.m4s\"", "\"13.0.m4s\""), c()],
            Error,
            "hls 5.8",
            "named 13.0.m4s and the part that came is 12.3.m4s",
        ),
        (
            "another part than hinted at, over a border",
            vec![live(4, 12, 4), live(4, 13, 1)],
            Error,
            "hls 5.8",
            "named 12.4.m4s and the part that came is 13.0.m4s of segment 13",
        ),
        (
            "a hint withdrawn",
            vec![a(), with(&a(), &hint(12, 2), &hint(13, 0))],
            Warning,
            "hls 5.8",
            "withdrawn",
        ),
        ("a hint withdrawn by the segment's end", vec![live(4, 12, 4), c()], Warning, "hls 5.8", "withdrawn"),
        (
            "a MAP that was not hinted at",
            vec![
                c(),
                with(
                    &live(4, 13, 1),
                    &date(13),
                    &("#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"j.mp4\"\n".to_owned() + &date(13)),
                ),
            ],
            Notice,
            "hls 5.8",
            "TYPE=MAP",
        ),
    ]);
    assert_found(vec![
        (
            "parts taken back",
            vec![a(), live(4, 12, 0)],
            Error,
            "hls 5.5",
            "the parts of segment 12 were listed and are gone",
        ),
        ("a part taken back", vec![b(), a()], Error, "hls 5.5", "segment 12 lost parts at its end"),
        (
            "a finished segment grows",
            vec![with(&a(), &part(11, 3), ""), b()],
            Error,
            "hls 5.5",
            "segment 11 was finished and got more parts",
        ),
        (
            "a name of long ago",
            vec![live(4, 12, 0), live(9, 17, 0), with(&live(9, 17, 1), "17.0.m4s", "10.2.m4s")],
            Warning,
            "hls 3.4",
            "part 0 of segment 17 has the name of part 2 of segment 10",
        ),
    ]);
}

#[test]
fn new_parts_are_signs_of_life() {
    let mut checker = Checker::new(URI);
    let mut rules = |parts, at_ms| -> Vec<&str> {
        checker.observe(&live(4, 12, parts), at_ms).iter().map(|finding| finding.rule).collect()
    };
    assert!(rules(0, 0).is_empty());
    assert!(rules(1, 3_000).is_empty());
    assert!(rules(1, 4_500).is_empty(), "3 part targets of 0.5 s");
    assert_eq!(rules(1, 4_501), ["hls 5.7"]);
    assert!(rules(1, 6_000).is_empty(), "once, and 1.5 target durations of 2 s");
    assert_eq!(rules(1, 6_001), ["hls 3.5"]);
    assert!(rules(2, 9_000).is_empty());
    assert_eq!(rules(2, 10_501), ["hls 5.7"], "again, after it went on");
}

#[test]
fn delta_updates() {
    use Severity::{Error, Warning};
    let delta = |first: u64, end: u64, parts: u64, skipped: u64| {
        let full = live(first, end, parts);
        let from = full.find("#EXT-X-MAP").expect("there is a MAP");
        let to = full.find(&date(first + skipped)).expect("the first one left");
        format!("{}#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n{}", &full[..from], &full[to..])
    };
    let observe = |full: &str, delta: &str| {
        let mut checker = Checker::new(URI);
        let found = checker.observe(full, 0);
        assert!(found.is_empty(), "{found:#?}");
        let found = checker.observe_delta(delta, 500);
        (found, checker)
    };
    let (found, checker) = observe(&live(4, 12, 2), &delta(5, 13, 1, 2));
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(
        checker.media().map(|media| (media.segments.len(), media.last_position())),
        Some((8, (13, Some(0))))
    );
    let (found, mut checker) = observe(&live(4, 12, 2), &live(4, 12, 3));
    assert!(found.is_empty(), "a full playlist is as good: {found:#?}");
    assert!(checker.observe_delta(&delta(5, 13, 0, 1), 1_000).is_empty(), "it is held for the next one");
    assert!(checker.observe_delta(&delta(5, 13, 1, 2), 1_500).is_empty(), "and so is what was merged");
    let (found, _) = observe(&live(4, 12, 0), &delta(4, 12, 0, 3));
    assert!(found.is_empty(), "12 s from the end is far enough: {found:#?}");
    for (name, delta, severity, words) in [
        (
            "not held",
            delta(2, 12, 3, 3),
            Error,
            "stands for segments 2 to 5 (not included), and the playlist held has 4 to 12",
        ),
        ("too near", delta(4, 12, 3, 4), Error, "11.500 s from the end, and CAN-SKIP-UNTIL is 12.000 s"),
        (
            "nothing",
            with(&live(4, 12, 3), "#EXT-X-MAP", "#EXT-X-SKIP:SKIPPED-SEGMENTS=0\n#EXT-X-MAP"),
            Warning,
            "skips nothing",
        ),
        ("after the end", with(&delta(4, 13, 0, 1), &hint(13, 0), "") + "#EXT-X-ENDLIST\n", Error, "ENDLIST"),
    ] {
        let (found, _) = observe(&live(4, 12, 2), &delta);
        assert_eq!(found.len(), 1, "{name}: {found:#?}");
        assert!(
            found.iter().all(|f| f.severity == severity && f.rule == "hls 6.2" && f.message.contains(words)),
            "{name}: {found:#?}"
        );
    }
    // Nobody asked.
    let found = super::observe(&[live(4, 12, 2), delta(4, 12, 3, 1)]);
    assert!(found.iter().any(|f| f.rule == "hls 6"), "{found:#?}");
    let offer = ",CAN-SKIP-UNTIL=12.000000";
    let (mut found, _) = observe(&live(4, 12, 2), &with(&delta(4, 12, 3, 1), offer, ""));
    found.retain(|f| f.rule == "hls 6.2");
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[test]
fn reports_of_other_renditions() {
    let read = |text: &str| {
        let mut checker = Checker::new(URI);
        checker.observe(text, 0);
        checker.media().cloned().expect("the row lists segments")
    };
    let report = |uri: &str, values: &str| {
        with(
            &live(4, 12, 2),
            "URI=\"../a/index.m3u8\",LAST-MSN=11,LAST-PART=1",
            &format!("URI=\"{uri}\"{values}"),
        )
    };
    let about_a = |values: &str| report("../a/index.m3u8", values);
    let audio = read(&report("../v/index.m3u8?x=y", ",LAST-MSN=12,LAST-PART=1"));
    let names = ["http://example.org/cam/v/index.m3u8", "http://example.org/cam/a/index.m3u8"];
    for (name, video, missing, wrong) in [
        ("exact", about_a(",LAST-MSN=12,LAST-PART=1"), 0, None),
        ("left out, as here", about_a(""), 0, None),
        ("a part behind", about_a(",LAST-MSN=12,LAST-PART=0"), 0, None),
        ("a segment behind", about_a(",LAST-MSN=11,LAST-PART=3"), 0, None),
        ("far behind", about_a(",LAST-MSN=10,LAST-PART=3"), 0, Some(Severity::Warning)),
        ("a part ahead", about_a(",LAST-MSN=12,LAST-PART=2"), 0, Some(Severity::Error)),
        ("a segment ahead", about_a(",LAST-MSN=13,LAST-PART=0"), 0, Some(Severity::Error)),
        ("another", report("../b/index.m3u8", ",LAST-MSN=99"), 1, None),
    ] {
        let video = read(&video);
        let pair = [(names[0], &video), (names[1], &audio)];
        let found = compare_renditions(&pair);
        assert_eq!(found.len(), missing, "{name}: {found:#?}");
        assert!(
            found.iter().all(|f| f.rule == "hls 5.10" && f.message.contains("/v/index.m3u8 has no")),
            "{name}: {found:#?}"
        );
        let found = compare_reports(&pair);
        assert_eq!(found.first().map(|f| f.severity), wrong, "{name}: {found:#?}");
        assert!(found.len() < 2 && found.iter().all(|f| f.rule == "hls 5.10"), "{name}: {found:#?}");
    }
    // A rendition without parts, or one that has ended, is reported by segment or not at all.
    let plain = read(&good(4, 12));
    let video = read(&about_a(""));
    let found = compare_renditions(&[(names[0], &video), (names[1], &plain)]);
    assert_eq!(found.iter().map(|f| f.rule).collect::<Vec<_>>(), ["hls 5.1"], "{found:#?}");
}

#[test]
fn every_truncation_is_examined_without_panic() {
    let (a, b) = (live(4, 12, 2), live(5, 13, 1));
    for end in 0..b.len() {
        let mut checker = Checker::new(URI);
        checker.observe(&a, 0);
        assert!(are_bounded(&checker.observe(&b[..end], 0)));
        assert!(are_bounded(&checker.observe_delta(&a[..end.min(a.len())], 0)));
    }
}

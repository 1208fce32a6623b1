//! Whole probes of MPDs: ffmpeg's fragments behind good MPDs, then one thing wrong at a time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater_manifest::hls::check::Severity::{self, Error, Notice, Warning};
use headwater_media::WallTime;

use super::cmaf::media;
use super::site::{Probed, Site, Tweak, args, nothing, probe};
use crate::probe::{ProbeOutcome, run};

const STATIC: &str = "type=\"static\" mediaPresentationDuration=\"PT4S\"";
const TIMELINE: &str =
    "><SegmentTimeline><S t=\"0\" d=\"12800\" r=\"3\"/></SegmentTimeline></SegmentTemplate>";
const AUDIO_TIMELINE: &str = "<SegmentTimeline><S t=\"0\" d=\"48128\" r=\"3\"/></SegmentTimeline>";

/// An MPD of the fixtures: `head` are more attributes of MPD, `video` the video's SegmentTemplate from its end on.
fn mpd(head: &str, video: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" \
         profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" minBufferTime=\"PT1S\" maxSegmentDuration=\"PT2S\" {head}>\n\
         <Period id=\"1\" start=\"PT0S\">\n\
         <AdaptationSet id=\"1\" contentType=\"video\" mimeType=\"video/mp4\" segmentAlignment=\"true\" startWithSAP=\"1\">\
         <SegmentTemplate timescale=\"12800\" initialization=\"v-init.mp4\" media=\"v$Number$.m4s\" startNumber=\"1\" {video}\
         <Representation id=\"v\" bandwidth=\"30000\" codecs=\"avc1.64000a\" width=\"64\" height=\"36\" frameRate=\"25\"/></AdaptationSet>\n\
         <AdaptationSet id=\"2\" contentType=\"audio\" mimeType=\"audio/mp4\" lang=\"en\" segmentAlignment=\"true\" startWithSAP=\"1\">\
         <SegmentTemplate timescale=\"48000\" initialization=\"a-init.mp4\" media=\"a$Number$.m4s\" startNumber=\"1\">{AUDIO_TIMELINE}</SegmentTemplate>\
         <Representation id=\"a\" bandwidth=\"30000\" codecs=\"mp4a.40.2\" audioSamplingRate=\"48000\">\
         <AudioChannelConfiguration schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"1\"/>\
         </Representation></AdaptationSet>\n</Period>\n</MPD>\n"
    )
}

fn now() -> WallTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    WallTime::from_unix_millis(i64::try_from(now).unwrap())
}

/// The attributes of a live MPD whose time 0 was `ago_ms` before now.
fn live(ago_ms: i64) -> String {
    live_since(now().offset_by(-ago_ms), 0)
}

/// The attributes of a live MPD; `version` tells versions apart.
fn live_since(start: WallTime, version: i64) -> String {
    let published = start.offset_by(version);
    format!(
        "type=\"dynamic\" availabilityStartTime=\"{start}\" publishTime=\"{published}\" minimumUpdatePeriod=\"PT1S\" \
         timeShiftBufferDepth=\"PT20S\" suggestedPresentationDelay=\"PT3S\""
    )
}

fn clocked(text: &str, scheme: &str, value: &str) -> String {
    let timing =
        format!("<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:{scheme}:2014\" value=\"{value}\"/>\n</MPD>");
    text.replace("</MPD>", &timing)
}

fn direct(text: &str) -> String {
    clocked(text, "direct", &now().to_string())
}

fn probed_for(site: Site, duration: Duration) -> Probed {
    super::site::probe_for(site, "/a.mpd", duration)
}

#[test]
fn a_good_static_mpd_is_clean() {
    let probed = probe(media(nothing).text("/a.mpd", &mpd(STATIC, TIMELINE)), "/a.mpd");
    assert_eq!(probed.found, [], "{:#?}", probed.report);
    assert_eq!(probed.outcome, ProbeOutcome::Clean);
    assert_eq!(probed.report["segments"], 8);
    assert_eq!(probed.report["subjects"].as_array().map(Vec::len), Some(3));
    let summary = |n: usize| probed.report["subjects"][n]["summary"].as_str().unwrap_or_default().to_owned();
    assert!(summary(0).starts_with("static MPD of 1 Period, 8 segments listed"), "{}", summary(0));
    assert!(
        summary(1).starts_with("Representation v: video avc1.64000a 64x36, 4 segments"),
        "{}",
        summary(1)
    );
}

#[test]
fn a_live_mpd_is_followed_to_its_end() {
    let start = now().offset_by(-10_000);
    let text = |n: i64| {
        let timeline = format!(
            "><SegmentTimeline><S t=\"0\" d=\"12800\" r=\"{n}\"/></SegmentTimeline></SegmentTemplate>"
        );
        clocked(&mpd(&live_since(start, n), &timeline), "http-iso", "http://HOST/time")
    };
    let ended = mpd(STATIC, TIMELINE);
    let versions = [text(2), text(3), ended].map(String::into_bytes).to_vec();
    let clock: Tweak = |path, _, reply| {
        if path == "/time" {
            reply.status = 200;
            reply.set("Cache-Control", "no-store");
            reply.body = now().to_string().into_bytes();
        }
    };
    let probed = probe(media(clock).file("/a.mpd", versions), "/a.mpd");
    let found: Vec<_> = probed.found.iter().filter(|(severity, ..)| severity == "error").collect();
    assert_eq!(found, Vec::<&(String, String, String)>::new(), "{:#?}", probed.report);
    let segments = |n: usize| probed.report["subjects"][n]["summary"].as_str().unwrap_or_default().to_owned();
    // Joined three from the end, and the new one.
    assert!(segments(1).contains("4 segments examined"), "{}", segments(1));
    assert!(segments(2).contains("3 segments examined"), "{}", segments(2));
    assert!(
        segments(0).contains("its clock +0.0") || segments(0).contains("its clock -0.0"),
        "{}",
        segments(0)
    );
    let latency = probed.report["latency_seconds"].as_f64().unwrap_or_default();
    assert!((6.0..20.0).contains(&latency), "{latency}");
}

#[test]
fn numbers_and_durations_without_a_timeline() {
    let static_mpd = mpd(STATIC, "duration=\"12800\"/>");
    let probed = probe(media(nothing).text("/a.mpd", &static_mpd), "/a.mpd");
    assert_eq!(probed.found, [], "{:#?}", probed.report);
    assert_eq!(probed.report["segments"], 8);

    // Live: 3.6 s after the start, three segments are whole, and the fourth comes while it is followed.
    let text =
        direct(&mpd(&live(3_600), "duration=\"12800\"/>")).replace("PT1S\" timeShift", "PT30S\" timeShift");
    let probed = probed_for(media(nothing).text("/a.mpd", &text), Duration::from_millis(1_300));
    let numbered: Vec<_> =
        probed.found.iter().filter(|(_, rule, _)| rule == "dash 5.1" || rule == "dash 5.3").collect();
    assert_eq!(numbered, Vec::<&(String, String, String)>::new(), "{:#?}", probed.report);
    let summary = probed.report["subjects"][1]["summary"].as_str().unwrap_or_default().to_owned();
    assert!(summary.contains("4 segments examined"), "{summary}");

    // Without an end there is no telling.
    let endless = mpd("type=\"static\"", "duration=\"12800\"/>");
    let probed = probe(media(nothing).text("/a.mpd", &endless), "/a.mpd");
    assert!(probed.has(Notice, "dash 5.3", "not examined"), "{:#?}", probed.found);
}

#[test]
fn two_periods_with_a_jump_of_media_time() {
    let one = mpd(STATIC, TIMELINE)
        .replace("start=\"PT0S\"", "start=\"PT0S\" duration=\"PT2S\"")
        .replace("r=\"3\"", "r=\"1\"");
    let second = one[one.find("<Period").unwrap()..one.find("</MPD>").unwrap()]
        .replace("id=\"1\" start=\"PT0S\"", "id=\"2\" start=\"PT2S\"")
        .replace("startNumber=\"1\"", "startNumber=\"3\"")
        .replace("timescale=\"12800\"", "timescale=\"12800\" presentationTimeOffset=\"25600\"")
        .replace("timescale=\"48000\"", "timescale=\"48000\" presentationTimeOffset=\"96256\"")
        .replace("t=\"0\" d=\"12800\"", "t=\"25600\" d=\"12800\"")
        .replace("t=\"0\" d=\"48128\"", "t=\"96256\" d=\"48128\"");
    let text = one.replace("</MPD>", &format!("{second}</MPD>"));
    let probed = probe(media(nothing).text("/a.mpd", &text), "/a.mpd");
    assert_eq!(probed.found, [], "{:#?}", probed.report);
    assert_eq!(probed.report["segments"], 8);
}

#[test]
fn spoilt_presentations_are_found() {
    type Change = fn(String) -> String;
    let rows: Vec<(&str, Change, Severity, &str, &str)> = vec![
        (
            "S@t wrong",
            |t| t.replace("t=\"0\" d=\"12800\" r=\"3\"", "t=\"6400\" d=\"12800\" r=\"3\""),
            Warning,
            "dash 5.2",
            "segment 1: its media begins 0.420 s before S@t",
        ),
        (
            "S@t far off",
            |t| t.replace("t=\"0\" d=\"12800\" r=\"3\"", "t=\"128000\" d=\"12800\" r=\"3\""),
            Error,
            "dash 5.2",
            "begins 9.920 s before S@t",
        ),
        (
            "S@d wrong",
            |t| t.replace("d=\"12800\" r=\"3\"", "d=\"14000\" r=\"3\""),
            Warning,
            "dash 5.2",
            "segment 1 lasts 1.000 s and S@d says 1.094",
        ),
        (
            "a segment is missing",
            |t| t.replace("r=\"3\"", "r=\"4\""),
            Error,
            "dash 5.1",
            "segment 5 is announced and answered with 404",
        ),
        (
            "no init segment",
            |t| t.replace("v-init", "x-init"),
            Error,
            "dash 5.1",
            "the init segment is answered with 404",
        ),
        (
            "an init segment elsewhere",
            |t| t.replace("v-init.mp4", "ftp://x/v"),
            Error,
            "dash 5.4",
            "ftp://x/v is no URL",
        ),
        (
            "no @initialization",
            |t| t.replace("initialization=\"v-init.mp4\"", ""),
            Notice,
            "dash 5.4",
            "no @initialization",
        ),
        (
            "other codecs",
            |t| t.replace("avc1.64000a", "avc1.64001f"),
            Warning,
            "dash 5.6",
            "the file has avc1.64000a, and @codecs says avc1.64001f",
        ),
        (
            "another coding",
            |t| t.replace("avc1.64000a", "hvc1.1.6.L93.B0"),
            Error,
            "dash 5.6",
            "the file has avc1.64000a, which @codecs does not name",
        ),
        (
            "another size",
            |t| t.replace("width=\"64\"", "width=\"128\""),
            Warning,
            "dash 5.6",
            "64x36, and 128x36 is announced",
        ),
        (
            "bandwidth too low",
            |t| t.replace("bandwidth=\"30000\"", "bandwidth=\"10000\""),
            Warning,
            "dash 5.6",
            "% of @bandwidth=10000",
        ),
        (
            "a repetition",
            |t| t.replace("v$Number$.m4s", "v1.m4s"),
            Error,
            "cmaf 3.3",
            "an overlap of 1000.0 ms in track 1 in front of the segment at 12800",
        ),
        (
            "another type",
            |t| t.replace("\"video/mp4\"", "\"video/webm\""),
            Notice,
            "cmaf 1",
            "media of type video/webm is only fetched",
        ),
        (
            "times of nothing",
            |t| t.replace(TIMELINE, "/>"),
            Notice,
            "dash 5.4",
            "neither SegmentTimeline nor @duration",
        ),
        (
            "a @duration that does not fit",
            |t| t.replace(TIMELINE, "duration=\"51200\"/>"),
            Error,
            "dash 5.3",
            "segment 1 lasts 1.000 s and @duration says 4.000",
        ),
    ];
    for (name, change, severity, rule, words) in rows {
        let probed = probe(media(nothing).text("/a.mpd", &change(mpd(STATIC, TIMELINE))), "/a.mpd");
        assert!(probed.has(severity, rule, words), "{name}: {:#?}", probed.found);
    }
}

#[test]
fn base_urls_and_times_in_names() {
    let text = mpd(STATIC, TIMELINE)
        .replace("<Period", "<BaseURL>cdn/</BaseURL><Period")
        .replace("v$Number$.m4s", "$RepresentationID$/t$Time$.m4s");
    let mut site = Site::new(nothing).text("/a.mpd", &text);
    let files = [
        ("v-init.mp4", &include_bytes!("../fixtures/v-init.mp4")[..]),
        ("v/t0.m4s", &include_bytes!("../fixtures/v1.m4s")[..]),
        ("v/t12800.m4s", &include_bytes!("../fixtures/v2.m4s")[..]),
        ("v/t25600.m4s", &include_bytes!("../fixtures/v3.m4s")[..]),
    ];
    for (name, bytes) in files {
        site = site.file(&format!("/cdn/{name}"), vec![bytes.to_vec()]);
    }
    let probed = probe(site, "/a.mpd");
    assert_eq!(probed.report["segments"], 3, "{:#?}", probed.report);
    assert!(
        probed.has(Error, "dash 5.1", "the segment at 38400 is announced and answered with 404"),
        "{:#?}",
        probed.found
    );
}

#[test]
fn clocks_are_compared() {
    let time = |ms: i64| now().offset_by(ms).to_string();
    for (name, scheme, value, severity, words) in [
        ("ahead", "direct", time(5_000), Warning, "s ahead of the clock here"),
        ("behind", "direct", time(-5_000), Warning, "s behind the clock here"),
        ("no time", "direct", "noon".to_owned(), Error, "noon, which is no time"),
        ("404", "http-iso", "http://HOST/no".to_owned(), Error, "UTCTiming is answered with 404"),
        ("a page", "http-xsdate", "http://HOST/v1.m4s".to_owned(), Error, "which is no time"),
        ("no date", "http-head", "http://HOST/v1.m4s".to_owned(), Error, "without a Date"),
        ("nobody", "http-iso", "http://127.0.0.1:1/".to_owned(), Error, "could not be asked"),
    ] {
        let text = clocked(&mpd(&live(10_000), TIMELINE), scheme, &value);
        let probed = probed_for(media(nothing).text("/a.mpd", &text), Duration::from_millis(1));
        assert!(probed.has(severity, "dash 5.8", words), "{name}: {:#?}", probed.found);
    }
}

#[test]
fn announced_too_early_and_late() {
    // The fourth segment is announced a second before its time: it is waited for, and the checker told so.
    let text = direct(&mpd(&live(3_000), TIMELINE))
        .replace(AUDIO_TIMELINE, "<SegmentTimeline><S t=\"0\" d=\"48128\"/></SegmentTimeline>");
    let late: Tweak = |path, _, reply| {
        if path == "/v4.m4s" {
            reply.status = 404;
            reply.set("Cache-Control", "max-age=1");
        }
    };
    let probed = probed_for(media(late).text("/a.mpd", &text), Duration::from_millis(1_900));
    assert!(
        probed.has(Error, "dash 5.1", "segment 4 is announced and answered with 404"),
        "{:#?}",
        probed.found
    );
    // There at the second try.
    let site = media(nothing).text("/a.mpd", &direct(&mpd(&live(3_900), TIMELINE)));
    let hidden = site.clone().hidden_once("/v4.m4s");
    let probed = probed_for(hidden, Duration::from_millis(1_500));
    assert!(probed.has(Warning, "dash 5.1", "was not there at its availability time"), "{:#?}", probed.found);
}

#[test]
fn a_timeline_that_stands_still_is_found() {
    let text = direct(&mpd(&live(10_000), TIMELINE))
        .replace("maxSegmentDuration=\"PT2S\"", "maxSegmentDuration=\"PT1S\"");
    let probed = probed_for(media(nothing).text("/a.mpd", &text), Duration::from_millis(5_200));
    assert!(probed.has(Error, "dash 5", "no timeline got a new segment"), "{:#?}", probed.found);
}

#[test]
fn heads_are_held_against_the_rules() {
    let rows: Vec<(&str, Tweak, Severity, &str, &str)> = vec![
        (
            "text/xml",
            |p, _, r| {
                if p.ends_with("mpd") {
                    r.set("Content-Type", "text/xml");
                }
            },
            Warning,
            "dash 5.11",
            "the MPD is text/xml",
        ),
        (
            "an MPD for an hour",
            |p, _, r| {
                if p.ends_with("mpd") {
                    r.set("Cache-Control", "max-age=3600");
                }
            },
            Error,
            "http 2",
            "a live MPD may be cached for 3600 s",
        ),
        (
            "an immutable MPD",
            |p, _, r| {
                if p.ends_with("mpd") {
                    r.set("Cache-Control", "max-age=1, immutable");
                }
            },
            Error,
            "http 2",
            "immutable",
        ),
        (
            "no CORS",
            |p, _, r| {
                if p.ends_with("mpd") {
                    r.unset("Access-Control-Allow-Origin");
                }
            },
            Warning,
            "http 10.1",
            "the MPD has no Access-Control",
        ),
        (
            "no ETag",
            |p, _, r| {
                if p.ends_with("mpd") {
                    r.unset("ETag");
                }
            },
            Notice,
            "http 3.1",
            "the MPD has no ETag",
        ),
        (
            "200 for anything",
            |_, _, r| {
                if r.status == 404 {
                    r.status = 200;
                }
            },
            Error,
            "http 7",
            "answered with 200",
        ),
        (
            "segments as text",
            |p, _, r| {
                if p.ends_with("m4s") {
                    r.set("Content-Type", "text/plain");
                }
            },
            Warning,
            "http 8",
            "a segment's Content-Type is text/plain",
        ),
    ];
    for (name, tweak, severity, rule, words) in rows {
        let text = direct(&mpd(&live(10_000), TIMELINE));
        let probed = probed_for(media(tweak).text("/a.mpd", &text), Duration::from_millis(300));
        assert!(probed.has(severity, rule, words), "{name}: {:#?}", probed.found);
    }
}

#[test]
fn what_is_no_mpd() {
    for (name, text, outcome) in [
        ("a page", "<html></html>", ProbeOutcome::Failed),
        ("no Period", "<MPD></MPD>", ProbeOutcome::Failed),
        ("cut short", "<?xml version=\"1.0\"?><MPD><Period", ProbeOutcome::Failed),
        (
            "hostile numbers",
            "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" minBufferTime=\"P99999999999Y\" type=\"dynamic\" minimumUpdatePeriod=\"PT0S\" availabilityStartTime=\"9999-12-31T23:59:59Z\"><Period start=\"PT9223372036854S\"><AdaptationSet><SegmentTemplate timescale=\"1\" duration=\"18446744073709551615\" presentationTimeOffset=\"18446744073709551615\" startNumber=\"18446744073709551615\" media=\"$Number$\"/><Representation id=\"x\"/></AdaptationSet></Period></MPD>",
            ProbeOutcome::Errors,
        ),
        (
            "endless",
            "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\"><Period><AdaptationSet><SegmentTemplate timescale=\"1\" media=\"$Time$\"><SegmentTimeline><S t=\"18446744073709551614\" d=\"1\"/></SegmentTimeline></SegmentTemplate><Representation id=\"x\"/></AdaptationSet></Period></MPD>",
            ProbeOutcome::Errors,
        ),
    ] {
        let probed = probed_for(Site::new(nothing).text("/a.mpd", text), Duration::from_millis(500));
        assert_eq!(probed.outcome, outcome, "{name}: {:#?}", probed.report);
    }
}

#[test]
fn the_text_counts_representations() {
    let site = media(nothing).text("/a.mpd", &mpd(STATIC, TIMELINE));
    let mut out = Vec::new();
    run(&args(site.serve() + "/a.mpd", false), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.contains("0 errors, 0 warnings, 0 notices in 1 MPD and 2 Representations; 8 segments, 0.0 MB, "),
        "{text}"
    );
}

//! Timed metadata: put into a running stream, and read by software that nobody here wrote: ffmpeg, threefive, hls.js, dash.js, shaka and mpegts.js.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use headwater_flv::{FlvReader, Tag, TagKind};
use headwater_manifest::hls::check::Checker;
use headwater_rtmp::amf0::{self, Value as Amf};
use headwater_tests::process::{Process, read_output};
use headwater_tests::rtmp_client::{RtmpClient, Stage};
use headwater_tests::server::{fetch, post_json};
use headwater_tests::{Headwater, Scratch, media, publish, root, wait_for};
use serde_json::Value;

/// For an encoder and some segments, on a machine that has other work.
const SOON: Duration = Duration::from_secs(60);

/// A browser starts, and its players.
const BROWSER: Duration = Duration::from_secs(60);

const ANNOUNCED: &str = "[packaging]\ntimed_metadata = true\n";

/// The splice_insert of an encoder's own, whose times are on its own clock: a sample of SCTE 35.
const SECTION: &str = "/DAvAAAAAAAA///wFAVIAACPf+/+c2nALv4AUsz1AAAAAAAKAAhDVUVJAAABNWLbowo=";

fn insert(server: &Headwater, stream: &str, json: &str) -> i64 {
    let (status, body) = post_json(&server.admin_url(&format!("/api/v1/metadata/live/{stream}")), json);
    assert_eq!(status, 200, "{json}: {body}");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    body["media_time"].as_i64().expect("a time")
}

/// The newest media playlists' ranges of dates, which are the same in all of them.
///
/// They are asked for one after the other: where something was inserted in between, the first ones are asked again.
fn ranges(server: &Headwater, stream: &str) -> Vec<String> {
    let of = |rendition: &str| -> Vec<String> {
        let text = fetch(&server.http_url(&format!("/live/{stream}/{rendition}/media.m3u8"))).text();
        text.lines().filter(|line| line.starts_with("#EXT-X-DATERANGE")).map(str::to_owned).collect()
    };
    let [ts, video, audio] = ["ts", "video", "audio"].map(of);
    let (ts, video) = if ts == audio && video == audio { (ts, video) } else { (of("ts"), of("video")) };
    assert_eq!([&ts, &video], [&audio, &audio]);
    audio
}

/// What the environment of the tests' Python packages says to a program.
fn python(program: &str, arguments: &[&str]) -> String {
    let mut python = Command::new(root().join("target/python/bin/python"));
    python.args(["-c", program]).args(arguments);
    read_output(python)
}

#[test]
fn what_is_inserted_is_in_every_packaging() {
    let scratch = Scratch::new("metadata");
    let server = Headwater::start_with(&scratch, ANNOUNCED);
    let _publisher = publish::ffmpeg(&scratch, "ffmpeg", &media::clip(), 20, &server.publish_url("cam"));
    server.wait_until_playable("cam", SOON);

    let viewers = ["ts", "mp4", "flv"].map(|output| {
        let (url, file) =
            (server.http_url(&format!("/live/cam.{output}")), scratch.join(&format!("cam.{output}")));
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--no-buffer", "--output"]).arg(&file).arg(url);
        let viewer = Process::start(&format!("curl-{output}"), curl, &scratch);
        wait_for(output, SOON, || std::fs::metadata(&file).is_ok_and(|file| file.len() > 0).then_some(()));
        (viewer, file)
    });
    let tagged = insert(&server, "cam", r#"{"type":"id3","text":"goal 1:0","description":"score"}"#);
    let away = insert(&server, "cam", r#"{"type":"ad_break","id":77,"duration_seconds":30,"in_seconds":4}"#);
    let own = insert(&server, "cam", &format!(r#"{{"type":"scte35","section":"{SECTION}","in_seconds":5}}"#));
    insert(
        &server,
        "cam",
        r#"{"type":"date_range","id":"song","class":"com.example.song","duration_seconds":3,"attributes":{"X-TITLE":"Ode, 9","X-YEAR":1824}}"#,
    );
    let later = insert(&server, "cam", r#"{"type":"id3","text":"later","in_seconds":3}"#);
    assert!((4 * 90_000 - 18_000..4 * 90_000 + 90_000).contains(&(away - tagged)), "{tagged} {away}");

    // Until the segment of the later tag is listed, which is the last of them.
    let playlist = || fetch(&server.http_url("/live/cam/ts/media.m3u8")).text();
    let names = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let last = names(&playlist()).pop().expect("a segment");
    let after = wait_for("four more segments", SOON, || {
        let names = names(&playlist());
        let at = names.iter().position(|name| *name == last)?;
        (names.len() >= at + 5).then(|| names[at..].to_vec())
    });

    let [ts, mp4, flv] = viewers.map(|(mut viewer, file)| {
        viewer.kill();
        file
    });
    outputs_without_segments(&ts, &mp4, &flv, [tagged, away, own, later]);

    // MPEG-TS, by ffmpeg: the streams that are announced, and the tags' bytes.
    let ts = scratch.join("all.ts");
    let segments = after.iter().map(|name| fetch(&server.http_url(&format!("/live/cam/ts/{name}"))).body);
    std::fs::write(&ts, segments.collect::<Vec<_>>().concat()).expect("a file");
    let ts = ts.to_str().expect("UTF-8");
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_entries", "stream=codec_name,id", "-of", "csv=p=0", ts]);
    let streams = read_output(ffprobe);
    for stream in ["h264,0x100", "aac,0x101", "timed_id3,0x102", "scte_35,0x103"] {
        assert!(streams.contains(stream), "{stream}: {streams}");
    }
    assert_eq!(tag_times(ts), [tagged, later].map(|time| time.rem_euclid(1 << 33)), "the tags' times");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-i", ts, "-map", "0:2", "-c", "copy", "-f", "data", "-"]);
    let tags = read_output(ffmpeg);
    assert!(tags.contains("TXXX") && tags.contains("score\0goal 1:0") && tags.contains("later"), "{tags:?}");

    // And by threefive: both cues, and the moments that they speak of.
    let cues = splices(ts);
    let seconds = |time: i64| (time.rem_euclid(1 << 33) as f64 / 90.0).round() / 1_000.0;
    let expected = [(77, 30.0, away), (0x4800_008f, 60.293_567, own)];
    for (index, (id, duration, time)) in expected.into_iter().enumerate() {
        let cue = &cues[index];
        assert_eq!(cue[0].as_i64(), Some(id), "{cues}");
        assert_eq!(cue[1].as_bool(), Some(true), "{cues}");
        assert!((cue[2].as_f64().expect("a duration") - duration).abs() < 0.001, "{cues}");
        assert!(
            (cue[3].as_f64().expect("a time") - seconds(time)).abs() < 0.002,
            "{cues}, {}",
            seconds(time)
        );
    }
    assert_eq!(cues.as_array().map(Vec::len), Some(2), "{cues}");

    // CMAF: the same messages, in front of the chunk that they were inserted into. ffprobe reads the segments as before.
    let numbers = after.iter().map(|name| name.trim_end_matches(".ts"));
    let segments: Vec<Vec<u8>> = numbers
        .map(|number| fetch(&server.http_url(&format!("/live/cam/video/{number}.m4s"))).body)
        .collect();
    let file = segments.concat();
    let messages = event_messages(&file);
    let found: Vec<(&str, i64)> =
        messages.iter().map(|message| (message.scheme.as_str(), message.time)).collect();
    let (id3, scte) = ("https://aomedia.org/emsg/ID3", "urn:scte:scte35:2013:bin");
    let mut expected = vec![(id3, tagged), (scte, away), (scte, own), (id3, later)];
    expected.retain(|message| found.contains(message));
    assert_eq!(found, expected);
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(messages[1].duration, 30 * 90_000);
    assert_eq!(messages[0].duration, u32::MAX);
    assert!(messages[1].data.starts_with(&[0xfc, 0x30]) && messages[0].data.starts_with(b"ID3"));
    let ids: std::collections::BTreeSet<u32> = messages.iter().map(|message| message.id).collect();
    assert_eq!(ids.len(), 4, "another id for each");

    // HLS: the same ranges in all playlists, in which the checker finds nothing.
    let ranges = ranges(&server, "cam");
    let [range, own_range, song] = ranges.as_slice() else { panic!("{ranges:?}") };
    assert!(range.contains("PLANNED-DURATION=30.000,SCTE35-OUT=0xFC30"), "{range}");
    assert!(own_range.contains("ID=\"splice-1207959695-"), "{own_range}");
    assert!(
        song.contains("CLASS=\"com.example.song\"") && song.contains("X-TITLE=\"Ode, 9\",X-YEAR=1824"),
        "{song}"
    );
    for rendition in ["ts", "video", "audio"] {
        let url = server.http_url(&format!("/live/cam/{rendition}/media.m3u8"));
        let findings = Checker::new(&url).observe(&fetch(&url).text(), 0);
        assert!(findings.is_empty(), "{findings:?}");
    }
    let delta = fetch(&server.http_url("/live/cam/video/media.m3u8?_HLS_skip=YES")).text();
    assert!(delta.contains(range.as_str()), "a delta update has them all: {delta}");
    // The hexadecimal digits of a playlist are the section itself.
    let digits = range.rsplit_once("SCTE35-OUT=").map(|(_, digits)| digits).expect("digits");
    let decoded = python(
        "import sys, threefive\ncue = threefive.Cue(sys.argv[1])\ncue.decode()\nprint(cue.command.splice_event_id)",
        &[digits],
    );
    assert_eq!(decoded.trim(), "77");

    // DASH announces both kinds with the pictures.
    let mpd = fetch(&server.http_url("/live/cam/manifest.mpd")).text();
    let announced = "<InbandEventStream schemeIdUri=\"https://aomedia.org/emsg/ID3\"/>\n\
                     <InbandEventStream schemeIdUri=\"urn:scte:scte35:2013:bin\"/>";
    assert_eq!(mpd.matches(announced).count(), 1, "{mpd}");

    // The break ends before it was planned to: the same range says so.
    let back = insert(&server, "cam", r#"{"type":"ad_break_end","id":77}"#);
    let expected = format!("DURATION={:.3},PLANNED-DURATION=30.000", (back - away) as f64 / 90_000.0);
    wait_for("the end of the break", SOON, || {
        let ranges = self::ranges(&server, "cam");
        let range = ranges.iter().find(|range| range.contains("ID=\"splice-77-"))?;
        (range.contains("SCTE35-IN=0xFC30") && range.contains(&expected[..12])).then_some(())
    });
    assert_eq!(server.streams()[0]["counters"]["cues"], 6);
}

/// Times of the ID3 tags in MPEG-TS, by ffmpeg.
fn tag_times(ts: &str) -> Vec<i64> {
    let mut packets = Command::new("ffprobe");
    packets.args([
        "-v",
        "error",
        "-select_streams",
        "d:0",
        "-show_entries",
        "packet=pts",
        "-of",
        "csv=p=0",
        ts,
    ]);
    read_output(packets).lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect()
}

/// The splice_inserts in MPEG-TS, by threefive: id, whether it leaves, duration, and the moment in seconds.
fn splices(ts: &str) -> Value {
    let cues = python(
        "import json, sys, threefive\n\
         cues = []\n\
         threefive.Stream(sys.argv[1]).decode(func=cues.append)\n\
         print(json.dumps([[c.command.splice_event_id, c.command.out_of_network_indicator, c.command.break_duration,\n\
         round((c.command.pts_time + c.info_section.pts_adjustment) % (2 ** 33 / 90000), 3)] for c in cues]))",
        &[ts],
    );
    serde_json::from_str(cues.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {cues}"))
}

/// The same of viewers that were there from before the first one, with times of their own clock.
fn outputs_without_segments(ts: &Path, mp4: &Path, flv: &Path, times: [i64; 4]) {
    let [tagged, away, own, later] = times;
    let near = |left: f64, right: f64| (left - right).abs() < 0.003;
    let after = |time: i64| (time - tagged) as f64 / 90_000.0;

    let ts = ts.to_str().expect("UTF-8");
    let tags = tag_times(ts);
    let [first, second] = tags.as_slice() else { panic!("two tags: {tags:?}") };
    assert_eq!(second - first, later - tagged);
    let cues = splices(ts);
    for (index, (id, time)) in [(77, away), (0x4800_008f, own)].into_iter().enumerate() {
        let cue = &cues[index];
        let seconds = cue[3].as_f64().expect("a time") - *first as f64 / 90_000.0;
        assert!(cue[0] == id && near(seconds, after(time)), "{cues} behind {first}");
    }

    let mut file = std::fs::read(mp4).expect("a file");
    file.truncate(whole_boxes(&file));
    let messages = event_messages(&file);
    let [first, ..] = messages.as_slice() else { panic!("no message") };
    let found: Vec<(&str, i64)> =
        messages.iter().map(|message| (message.scheme.as_str(), message.time - first.time)).collect();
    let (id3, scte) = ("https://aomedia.org/emsg/ID3", "urn:scte:scte35:2013:bin");
    let expected = [(id3, 0), (scte, away - tagged), (scte, own - tagged), (id3, later - tagged)];
    assert_eq!(found, expected);

    let file = std::fs::read(flv).expect("a file");
    // The last tag is cut short where the viewer left.
    let tags = FlvReader::new(file.into()).expect("FLV").map_while(Result::ok);
    let messages: Vec<(String, f64)> = tags
        .filter(|tag| tag.kind == TagKind::Data)
        .map(|tag| {
            let values = amf0::decode(&tag.body).expect("AMF");
            let time = values[1].property("time").and_then(Amf::as_number);
            (values[0].as_str().expect("a name").to_owned(), time.unwrap_or(0.0))
        })
        .collect();
    let names: Vec<&str> = messages.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["onMetaData", "onCuePoint", "onAdCue", "onAdCue", "onCuePoint"]);
    for (message, time) in messages[1..].iter().zip(times) {
        assert!(near(message.1 - messages[1].1, after(time)), "{messages:?}");
    }
}

/// How far the file's top level has whole boxes.
fn whole_boxes(file: &[u8]) -> usize {
    let mut end = 0;
    while let Some(size) = file.get(end..).and_then(|rest| rest.first_chunk().copied()) {
        let next = end + u32::from_be_bytes(size) as usize;
        if next > file.len() {
            break;
        }
        end = next;
    }
    // A message belongs to the fragment behind it.
    end
}

/// What an `emsg` box says, version 1.
struct EventMessage {
    scheme: String,
    time: i64,
    duration: u32,
    id: u32,
    data: Vec<u8>,
}

/// The event messages of a file's top level.
fn event_messages(file: &[u8]) -> Vec<EventMessage> {
    let mut messages = Vec::new();
    let mut rest = file;
    while rest.len() >= 8 {
        let size = u32::from_be_bytes(rest[..4].try_into().expect("four bytes")) as usize;
        let (whole, after) = rest.split_at(size);
        if &whole[4..8] == b"emsg" {
            assert_eq!(&whole[8..12], [1, 0, 0, 0], "version 1");
            assert_eq!(&whole[12..16], 90_000_u32.to_be_bytes());
            let word = |at: usize| u32::from_be_bytes(whole[at..at + 4].try_into().expect("four bytes"));
            let scheme_end = whole[32..].iter().position(|byte| *byte == 0).expect("an end") + 32;
            messages.push(EventMessage {
                scheme: String::from_utf8(whole[32..scheme_end].to_vec()).expect("UTF-8"),
                time: i64::from_be_bytes(whole[16..24].try_into().expect("eight bytes")),
                duration: word(24),
                id: word(28),
                data: whole[scheme_end + 2..].to_vec(),
            });
            assert!(
                [b"emsg", b"moof"].contains(&after[4..8].try_into().expect("four bytes")),
                "in front of a moof"
            );
        }
        rest = after;
    }
    messages
}

#[test]
fn what_can_not_be_inserted_is_refused_with_the_reason() {
    let scratch = Scratch::new("metadata-refused");
    let server = Headwater::start(&scratch);
    let url = server.admin_url("/api/v1/metadata/live/cam");
    let id3 = r#"{"type":"id3","text":"a"}"#;
    assert_eq!(post_json(&url, id3), (404, "no such stream\n".to_owned()));
    let mut publisher = publish::ffmpeg(&scratch, "ffmpeg", &media::clip(), 20, &server.publish_url("cam"));
    server.wait_until_playable("cam", SOON);
    let (status, why) = post_json(&url, id3);
    assert_eq!((status, why.contains("packaging.timed_metadata")), (409, true), "{why}");
    wait_for("it to be counted", SOON, || {
        let counters = server.streams()[0]["counters"].clone();
        (counters["cues"] == 0 && counters["cues_refused"] == 1).then_some(())
    });
    let range = r#"{"type":"date_range","id":"a","duration_seconds":60}"#;
    assert_eq!(post_json(&url, range).0, 200, "which needs no track");
    assert_eq!(post_json(&url, range), (409, "a range of this id is listed already\n".to_owned()));
    for (json, status) in [("{", 400), (r#"{"type":"id3"}"#, 422), (r#"{"type":"what"}"#, 422)] {
        assert_eq!(post_json(&url, json).0, status, "{json}");
    }
    assert_eq!(post_json(&url, &format!(r#"{{"type":"id3","text":"{}"}}"#, "x".repeat(40_000))).0, 413);
    publisher.stop();
    wait_for("the publisher to be gone", SOON, || (server.streams()[0]["state"] != "live").then_some(()));
    assert_eq!(post_json(&url, range), (409, "nothing is being published\n".to_owned()));
}

#[test]
fn encoders_announce_breaks_in_their_own_words() {
    let scratch = Scratch::new("metadata-amf");
    let server = Headwater::start_with(&scratch, ANNOUNCED);
    let mut tags = headwater_tests::hostile::tags(&media::plain());
    let mut client = RtmpClient::open(server.rtmp_port(), "cam");
    client.reach(Stage::Publishing).expect("it publishes");
    let mut message = Vec::new();
    amf0::encode(&Amf::string("onAdCue"), &mut message);
    let fields = [("cue", Amf::string(SECTION)), ("type", Amf::string("scte35")), ("id", Amf::string("a"))];
    amf0::encode(&Amf::object(fields), &mut message);
    let at = tags.iter().position(|tag| tag.timestamp_ms >= 1_000).expect("more than a second");
    tags.insert(at, Tag { kind: TagKind::Data, timestamp_ms: 1_000, body: message.into() });
    client.send_media(&tags);
    let ranges = wait_for("the range", SOON, || {
        let playlist = fetch(&server.http_url("/live/cam/ts/media.m3u8"));
        (playlist.status == 200 && playlist.text().contains("#EXT-X-DATERANGE"))
            .then(|| ranges(&server, "cam"))
    });
    assert_eq!(ranges.len(), 1);
    assert!(
        ranges[0].contains("ID=\"splice-1207959695-") && ranges[0].contains("SCTE35-OUT=0xFC"),
        "{ranges:?}"
    );
    client.leave();
}

#[test]
fn players_hand_it_to_their_pages() {
    let scratch = Scratch::new("metadata-players");
    let server = Headwater::start_with(&scratch, ANNOUNCED);
    let _publisher = publish::ffmpeg(&scratch, "ffmpeg", &media::clip(), 30, &server.publish_url("cam"));
    server.wait_until_playable("cam", SOON);
    let url = |leaf: &str| server.http_url(&format!("/live/cam/{leaf}"));
    let players = serde_json::json!([
        { "name": "hls.js, MPEG-TS", "mode": "hls.js", "url": url("index.m3u8") },
        { "name": "hls.js, low latency", "mode": "hls.js", "url": url("llhls.m3u8") },
        { "name": "dash.js", "mode": "dash.js", "url": url("manifest.mpd") },
        { "name": "shaka", "mode": "shaka", "url": url("manifest.mpd") },
        { "name": "mpegts.js, MPEG-TS", "mode": "mpegts.js", "url": server.http_url("/live/cam.ts") },
        { "name": "mpegts.js, FLV", "mode": "mpegts.js", "url": server.http_url("/live/cam.flv") },
    ]);
    let mut node = Command::new("node");
    node.arg(root().join("tests/players/metadata.mjs")).arg(players.to_string()).stdin(Stdio::piped());
    let mut process = Process::start_piped("metadata", node, &scratch, Stdio::piped());
    let input = process.take_input();
    let output = process.take_output().expect("a pipe");
    // What is behind a player's start is not for it: it is said again while they start and play.
    let mut said = Vec::new();
    for number in 0..30 {
        said.push((number, insert(&server, "cam", &format!(r#"{{"type":"id3","text":"tick {number}"}}"#))));
        if number == 15 {
            insert(&server, "cam", r#"{"type":"ad_break","id":15,"duration_seconds":4,"in_seconds":4}"#);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    drop(input);
    let text = std::io::read_to_string(output).expect("its report");
    process.wait(BROWSER);
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("it reported: {text}"));
    for player in report.as_array().expect("players") {
        let name = player["name"].as_str().expect("a name");
        let heard = player["heard"].as_array().expect("what it heard");
        let of = |kind: &str| heard.iter().filter(|said| said["kind"] == kind).collect::<Vec<_>>();
        // "tick " in hexadecimal, and the number behind it.
        let ticks: Vec<(i64, f64)> = of("id3")
            .iter()
            .filter_map(|said| {
                let (_, digits) = said["what"].as_str()?.split_once("7469636b20")?;
                let number = digits.as_bytes().chunks(2).map(|pair| char::from(pair[1])).collect::<String>();
                Some((number.parse().ok()?, said["time"].as_f64()?))
            })
            .collect();
        assert!(ticks.len() >= 8, "{name}: {ticks:?} of {player}");
        // On the player's clock they are as far apart as they were inserted.
        let media = |number: i64| {
            let found = said.iter().find(|(known, _)| *known == number);
            found.expect("a number that was said").1 as f64 / 90_000.0
        };
        let ((first, first_time), (last, last_time)) = (ticks[0], ticks[ticks.len() - 1]);
        let (on_its_clock, inserted) = (last_time - first_time, media(last) - media(first));
        assert!((on_its_clock - inserted).abs() < 0.05, "{name}: {on_its_clock} of {inserted} s: {ticks:?}");
        let splices = of("scte35");
        if !name.contains("hls.js") {
            assert_eq!(splices.len(), 1, "{name}: {player}");
            assert!(
                splices[0]["what"].as_str().is_some_and(|what| what.starts_with("fc30")),
                "{name}: {splices:?}"
            );
        }
        if name.contains("hls.js") {
            let ranges = of("daterange");
            let range = ranges
                .iter()
                .find(|said| said["what"]["ID"].as_str().is_some_and(|id| id.starts_with("splice-15-")));
            assert!(range.is_some(), "{name}: {ranges:?}");
        }
    }
}

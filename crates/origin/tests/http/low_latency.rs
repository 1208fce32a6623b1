//! Low-Latency HLS, row by row of 8216bis 6.2.5.2; hinted parts; the segment under construction.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_cmaf::{ChunkSample, ChunkWriter};
use headwater_media::{MediaTime, Timescale, WallTime};
use headwater_packager::{
    Cadence, Cmaf, CmafRendition, CmafSegment, Edge, InitSegment, Part, Period, Rendition, Snapshot, State,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::{Response, connect, eventually, exchange, get, read_response, request, within};
use super::{Server, assert_common, server, snapshot};

const VIDEO: &str = "/live/cam/video/media.m3u8";

/// The bytes of a part: its own number and index, so that one can't pass for another.
fn payload(sequence: u64, part: usize) -> Bytes {
    Bytes::from(format!("<{sequence}.{part}>"))
}

fn parts(sequence: u64, count: usize) -> Vec<Part> {
    let part = |index| Part {
        duration: MediaTime::new(18_000, Timescale::MPEG),
        independent: index == 0,
        payload: payload(sequence, index),
    };
    (0..count).map(part).collect()
}

fn init() -> Arc<InitSegment> {
    Arc::new(InitSegment { bytes: Bytes::from_static(b"init"), name_hash: "0123456789abcdef".to_owned() })
}

/// Segments up to `last`, of five parts and a second each, and so many parts of the next one.
fn rendition(last: u64, growing: usize) -> CmafRendition {
    let start = |sequence: u64| MediaTime::new(i64::try_from(sequence).unwrap() * 90_000, Timescale::MPEG);
    let date = |sequence: u64| WallTime::from_unix_millis(i64::try_from(sequence).unwrap() * 1_000);
    let segment = |sequence| {
        Arc::new(CmafSegment {
            sequence,
            start: start(sequence),
            duration: MediaTime::new(90_000, Timescale::MPEG),
            program_date_time: date(sequence),
            discontinuity: false,
            independent: true,
            init: init(),
            period: 1,
            parts: parts(sequence, 5),
        })
    };
    let window = Rendition {
        target_duration: 1,
        discontinuity_sequence: 0,
        listed: (last - 9..=last).map(segment).collect(),
        retained: (last - 12..last - 9).map(segment).collect(),
        inits: vec![init()],
    };
    let sequence = last + 1;
    let edge = Edge {
        sequence,
        start: (growing > 0).then(|| start(sequence)),
        program_date_time: date(sequence),
        discontinuity: false,
        init: init(),
        period: 1,
        parts: parts(sequence, growing),
    };
    CmafRendition {
        window: Arc::new(window),
        edge: Some(Arc::new(edge)),
        revision: last * 100 + growing as u64,
    }
}

/// Of either rendition: the newest segment, and parts of the next.
fn low_latency(state: State, video: (u64, usize), audio: (u64, usize)) -> Snapshot {
    let whole = snapshot(State::Live, 1);
    let tracks = whole.tracks.clone();
    let period = Period {
        id: 1,
        start: WallTime::from_unix_millis(1_000),
        media_start: MediaTime::new(90_000, Timescale::MPEG),
        tracks: tracks.clone(),
        continues: None,
        cadence: Cadence::Regular(90_000),
    };
    let cmaf = Cmaf {
        video: Some(rendition(video.0, video.1)),
        audio: Some(rendition(audio.0, audio.1)),
        periods: vec![period],
        inits: vec![init()],
        video_bandwidth: None,
        audio_bandwidth: None,
        frame_rate_millihertz: None,
        window: Duration::from_secs(10),
        published_at: WallTime::from_unix_millis(0),
        low_latency_published_at: WallTime::from_unix_millis(0),
        complete_below: u64::MAX,
        part_target: Some(Duration::from_millis(214)),
        timed_metadata: false,
        over: None,
    };
    Snapshot { state, cmaf: Some(cmaf), ts: None, ..whole }
}

/// Both renditions alike.
fn publish(server: &Server, last: u64, growing: usize) {
    let snapshot = low_latency(State::Live, (last, growing), (last, growing));
    server.registry.publish_for_test("live", "cam", snapshot);
}

async fn ask(server: &Server, path: &str) -> TcpStream {
    let mut stream = connect(server.address).await;
    stream.write_all(&request("GET", path, "")).await.unwrap();
    stream
}

async fn answered(stream: &mut TcpStream) -> Response {
    within(read_response(stream, false)).await
}

fn text(response: &Response) -> String {
    String::from_utf8(response.body.clone()).unwrap()
}

#[tokio::test]
async fn what_is_there_is_answered_at_once() {
    let server = server(|_| {}).await;
    publish(&server, 100, 3);
    for (query, cached) in [
        ("", "public, max-age=1"),
        ("?_HLS_msn=100", "public, max-age=6"),
        ("?_HLS_msn=100&_HLS_part=4", "public, max-age=6"),
        ("?_HLS_msn=101&_HLS_part=2", "public, max-age=6"),
        // Older than anything listed: the newest there is, not a refusal.
        ("?_HLS_msn=3", "public, max-age=6"),
        ("?_HLS_msn=3&_HLS_part=700", "public, max-age=6"),
        ("?_HLS_unknown=1&token=x", "public, max-age=1"),
    ] {
        let response = get(server.address, &format!("{VIDEO}{query}"), "").await;
        assert_eq!((response.status, response.header("cache-control")), (200, Some(cached)), "{query}");
        assert_common(query, &response);
        let text = text(&response);
        assert!(text.contains("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"101.3.m4s\"\n"), "{text}");
        assert!(
            text.contains("#EXT-X-RENDITION-REPORT:URI=\"../audio/media.m3u8\",LAST-MSN=101,LAST-PART=2\n"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn what_can_t_be_meant_is_refused() {
    let server = server(|_| {}).await;
    publish(&server, 100, 3);
    for query in [
        "_HLS_msn=103",
        "_HLS_msn=103&_HLS_part=0",
        // 3 s are 15 parts.
        "_HLS_msn=101&_HLS_part=18",
        "_HLS_msn=102&_HLS_part=15",
        "_HLS_part=1",
        "_HLS_msn=x",
        "_HLS_msn=-1",
        "_HLS_msn=101&_HLS_msn=101",
    ] {
        let response = get(server.address, &format!("{VIDEO}?{query}"), "").await;
        assert_eq!(
            (response.status, response.header("cache-control")),
            (400, Some("public, max-age=1")),
            "{query}"
        );
        assert_common(query, &response);
    }
    assert_eq!(server.context.status().held, 0);
}

#[tokio::test]
async fn what_is_to_come_is_waited_for() {
    let server = server(|_| {}).await;
    for (query, before, not_yet, then) in [
        ("_HLS_msn=101&_HLS_part=3", (100, 3), None, (100, 4)),
        // Whole segments, however many parts of them there are.
        ("_HLS_msn=101", (100, 3), Some((100, 5)), (101, 0)),
        // Past the last part of a finished segment is the first of the next one.
        ("_HLS_msn=100&_HLS_part=5", (100, 0), None, (100, 1)),
        ("_HLS_msn=101&_HLS_part=9", (100, 4), Some((101, 0)), (101, 1)),
        ("_HLS_msn=102&_HLS_part=0", (100, 4), Some((101, 0)), (101, 1)),
        // Something later will do.
        ("_HLS_msn=101&_HLS_part=4", (100, 2), Some((100, 3)), (103, 0)),
    ] {
        publish(&server, before.0, before.1);
        let mut waiting = ask(&server, &format!("{VIDEO}?{query}")).await;
        eventually(query, || server.context.status().held == 1).await;
        if let Some((last, growing)) = not_yet {
            publish(&server, last, growing);
            // Once another request was answered from that version, this one had its chance as well.
            assert_eq!(get(server.address, VIDEO, "").await.status, 200);
            assert_eq!(server.context.status().held, 1, "{query} was answered too early");
        }
        publish(&server, then.0, then.1);
        let response = answered(&mut waiting).await;
        assert_eq!(
            (response.status, response.header("cache-control")),
            (200, Some("public, max-age=6")),
            "{query}"
        );
        let hint = format!("URI=\"{}.{}.m4s\"\n", then.0 + 1, then.1);
        assert!(text(&response).contains(&hint), "{query}: {hint} in {}", text(&response));
        eventually("nothing held", || server.context.status().held == 0).await;
    }
}

#[tokio::test]
async fn a_rendition_does_not_wait_for_the_other() {
    let server = server(|_| {}).await;
    server.registry.publish_for_test("live", "cam", low_latency(State::Live, (100, 1), (100, 1)));
    let mut video = ask(&server, &format!("{VIDEO}?_HLS_msn=101&_HLS_part=1")).await;
    let mut audio = ask(&server, "/live/cam/audio/media.m3u8?_HLS_msn=101&_HLS_part=1").await;
    eventually("both held", || server.context.status().held == 2).await;
    server.registry.publish_for_test("live", "cam", low_latency(State::Live, (100, 2), (100, 1)));
    let response = answered(&mut video).await;
    assert!(text(&response).contains("LAST-MSN=101,LAST-PART=0\n"), "never ahead of what can be fetched");
    assert_eq!(server.context.status().held, 1);
    server.registry.publish_for_test("live", "cam", low_latency(State::Live, (100, 2), (100, 2)));
    assert!(text(&answered(&mut audio).await).contains("LAST-MSN=101,LAST-PART=1\n"));
}

#[tokio::test]
async fn what_does_not_come_is_said_so_and_not_cached() {
    let server = server(|_| {}).await;
    // Three target durations of a second.
    publish(&server, 100, 3);
    let mut playlist = ask(&server, &format!("{VIDEO}?_HLS_msn=101&_HLS_part=3")).await;
    let mut part = ask(&server, "/live/cam/video/101.3.m4s").await;
    let response = answered(&mut playlist).await;
    assert_eq!((response.status, response.header("cache-control")), (503, Some("no-store")));
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(answered(&mut part).await.status, 404);
}

#[tokio::test]
async fn an_end_answers_whoever_waits() {
    let server = server(|_| {}).await;
    publish(&server, 100, 3);
    let mut waiting = ask(&server, &format!("{VIDEO}?_HLS_msn=101&_HLS_part=3&_HLS_skip=YES")).await;
    eventually("held", || server.context.status().held == 1).await;
    server.registry.publish_for_test("live", "cam", low_latency(State::Ended, (101, 0), (101, 0)));
    let whole = text(&answered(&mut waiting).await);
    assert!(whole.ends_with("#EXT-X-ENDLIST\n") && !whole.contains("#EXT-X-SKIP"), "{whole}");
    assert!(!whole.contains("PRELOAD-HINT"), "{whole}");
    // Directives have no meaning any more.
    let response = get(server.address, &format!("{VIDEO}?_HLS_msn=105&_HLS_skip=YES"), "").await;
    assert_eq!((response.status, response.header("cache-control")), (200, Some("public, max-age=2")));
    assert_eq!(text(&response), whole);
}

#[tokio::test]
async fn too_many_waiting_get_what_there_is_and_no_cache_keeps_it() {
    let server = server(|config| config.http.max_held_requests = 1).await;
    publish(&server, 100, 3);
    let _waiting = ask(&server, &format!("{VIDEO}?_HLS_msn=101&_HLS_part=3")).await;
    eventually("held", || server.context.status().held == 1).await;
    let response = get(server.address, &format!("{VIDEO}?_HLS_msn=101&_HLS_part=3"), "").await;
    assert_eq!((response.status, response.header("cache-control")), (200, Some("no-store")));
    let response = get(server.address, "/live/cam/video/101.3.m4s", "").await;
    assert_eq!((response.status, response.header("cache-control")), (503, Some("no-store")));
}

#[tokio::test]
async fn delta_updates() {
    let server = server(|_| {}).await;
    publish(&server, 100, 3);
    let whole = text(&get(server.address, VIDEO, "").await);
    for skip in ["YES", "v2"] {
        let delta = text(&get(server.address, &format!("{VIDEO}?_HLS_skip={skip}"), "").await);
        assert!(delta.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=4\n") && delta.len() < whole.len(), "{delta}");
        let merged = headwater_manifest::hls::merge_delta(&whole, &delta).unwrap();
        assert_eq!(merged, whole);
    }
    let ignored = text(&get(server.address, &format!("{VIDEO}?_HLS_skip=NO"), "").await);
    assert_eq!(ignored, whole);
}

#[tokio::test]
async fn parts_are_immutable_and_the_hinted_one_is_waited_for() {
    let server = server(|_| {}).await;
    publish(&server, 100, 3);
    for (path, status, body) in [
        ("/live/cam/video/101.0.m4s", 200, Some(payload(101, 0))),
        ("/live/cam/audio/100.4.m4s", 200, Some(payload(100, 4))),
        // Delisted, still kept.
        ("/live/cam/video/88.1.m4s", 200, Some(payload(88, 1))),
        ("/live/cam/video/87.1.m4s", 404, None),
        ("/live/cam/video/100.5.m4s", 404, None),
        ("/live/cam/video/101.4.m4s", 404, None),
        ("/live/cam/video/102.0.m4s", 404, None),
    ] {
        let response = get(server.address, path, "").await;
        assert_eq!(response.status, status, "{path}");
        assert_common(path, &response);
        if let Some(body) = body {
            assert_eq!(response.body, body, "{path}");
            assert_eq!(response.header("cache-control"), Some("public, max-age=3600, immutable"));
        }
    }
    let mut waiting = ask(&server, "/live/cam/video/101.3.m4s").await;
    eventually("held", || server.context.status().held == 1).await;
    // Not a byte of it before it is whole.
    let mut byte = [0; 1];
    assert!(tokio::time::timeout(Duration::from_millis(30), waiting.peek(&mut byte)).await.is_err());
    publish(&server, 100, 4);
    let response = answered(&mut waiting).await;
    assert_eq!((response.status, response.body.as_slice()), (200, payload(101, 3).as_ref()));
    assert_eq!(response.header("content-length"), Some("7"));
    // Across the border of segments.
    publish(&server, 101, 0);
    let mut waiting = ask(&server, "/live/cam/audio/102.0.m4s").await;
    eventually("held", || server.context.status().held == 1).await;
    publish(&server, 101, 1);
    assert_eq!(answered(&mut waiting).await.body, payload(102, 0));
}

#[tokio::test]
async fn the_segment_under_construction_grows_on_its_way() {
    let server = server(|_| {}).await;
    publish(&server, 100, 2);
    let path = "/live/cam/video/101.m4s";
    let mut stream = ask(&server, path).await;
    let mut received = Vec::new();
    let mut until = async |text: &str, received: &mut Vec<u8>| {
        within(async {
            while !String::from_utf8_lossy(received).contains(text) {
                assert_ne!(stream.read_buf(received).await.unwrap(), 0, "it ended before {text}");
            }
        })
        .await;
    };
    // A part's last byte is a chunk of its own: nginx keeps a chunk's end back until more has come.
    until("<101.1\r\n1\r\n>\r\n", &mut received).await;
    let head = String::from_utf8_lossy(&received).to_lowercase();
    assert!(head.contains("transfer-encoding: chunked") && !head.contains("\r\ncontent-length:"), "{head}");
    assert!(!head.contains("\r\naccept-ranges:"), "{head}");
    publish(&server, 100, 3);
    until("<101.2\r\n1\r\n>\r\n", &mut received).await;
    publish(&server, 101, 0);
    until("<101.4\r\n1\r\n>\r\n", &mut received).await;
    until("\r\n0\r\n\r\n", &mut received).await;
    let whole = get(server.address, path, "").await;
    let expected: Vec<u8> = (0..5).flat_map(|part| payload(101, part)).collect();
    assert_eq!((whole.body, whole.headers.iter().any(|(name, _)| name == "etag")), (expected, true));
    let ranged = get(server.address, path, "Range: bytes=5-9\r\n").await;
    let bytes: Vec<u8> = (0..5).flat_map(|part| payload(101, part)).skip(5).take(5).collect();
    assert_eq!((ranged.status, ranged.body), (206, bytes));
}

#[tokio::test]
async fn a_segment_that_is_never_completed_breaks_off() {
    let server = server(|_| {}).await;
    publish(&server, 100, 2);
    let mut stream = ask(&server, "/live/cam/video/101.m4s").await;
    let mut received = Vec::new();
    within(async {
        while !String::from_utf8_lossy(&received).contains("<101.1\r\n1\r\n>") {
            stream.read_buf(&mut received).await.unwrap();
        }
        // Its track has left.
        let mut gone = low_latency(State::Live, (100, 0), (100, 2));
        if let Some(video) = gone.cmaf.as_mut().and_then(|cmaf| cmaf.video.as_mut()) {
            (video.edge, video.revision) = (None, u64::MAX);
        }
        server.registry.publish_for_test("live", "cam", gone);
        // The end of the connection, or a reset.
        while stream.read_buf(&mut received).await.is_ok_and(|bytes| bytes > 0) {}
    })
    .await;
    assert!(!received.ends_with(b"0\r\n\r\n"), "a cache would take it for whole");
}

#[tokio::test]
async fn low_latency_dash_is_there_while_segments_are_regular() {
    let server = server(|_| {}).await;
    publish(&server, 100, 3);
    let response = get(server.address, "/live/cam/ll.mpd", "").await;
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/dash+xml")));
    let mpd = text(&response);
    assert!(mpd.contains("availabilityTimeOffset=\"0.786\" availabilityTimeComplete=\"false\""), "{mpd}");
    // A player that is a moment early.
    let mut early = ask(&server, "/live/cam/video/102.m4s").await;
    eventually("held", || server.context.status().held == 1).await;
    publish(&server, 101, 1);
    let mut received = Vec::new();
    within(async {
        while !String::from_utf8_lossy(&received).contains("<102.0\r\n1\r\n>") {
            assert_ne!(early.read_buf(&mut received).await.unwrap(), 0);
        }
    })
    .await;
    let mut irregular = low_latency(State::Live, (101, 1), (101, 1));
    irregular.cmaf.as_mut().unwrap().periods[0].cadence = Cadence::Irregular;
    server.registry.publish_for_test("live", "cam", irregular);
    let response = get(server.address, "/live/cam/ll.mpd", "").await;
    assert_eq!(response.status, 404);
    assert!(text(&response).contains("manifest.mpd"), "{}", text(&response));
    assert_eq!(get(server.address, "/live/cam/manifest.mpd", "").await.status, 200);
}

/// The newest keyframe as a file: what every object for caches has, under a name that is the next one's as well.
#[tokio::test]
async fn the_poster_is_an_object_like_others() {
    let server = server(|_| {}).await;
    publish(&server, 100, 3);
    let path = "/live/cam/video/poster.mp4";
    assert_eq!(
        get(server.address, path, "").await.status,
        404,
        "what can't be read as a chunk has no picture"
    );

    let chunk = |data: &[u8]| {
        let mut out = Vec::new();
        let sample =
            ChunkSample { duration: 3_000, composition_time_offset: 0, sync: true, disposable: false, data };
        ChunkWriter::new().write(&mut out, 7, &[sample]).unwrap();
        Bytes::from(out)
    };
    let mut snapshot = low_latency(State::Live, (100, 3), (100, 3));
    let edge = snapshot.cmaf.as_mut().and_then(|cmaf| cmaf.video.as_mut()?.edge.as_mut()).unwrap();
    Arc::get_mut(edge).unwrap().parts[0].payload = chunk(b"keyframe");
    server.registry.publish_for_test("live", "cam", snapshot);
    let poster = get(server.address, path, "").await;
    assert_common(path, &poster);
    assert_eq!((poster.status, poster.header("content-type")), (200, Some("video/mp4")));
    assert_eq!(poster.header("cache-control"), Some("public, max-age=1"));
    assert!(poster.body.starts_with(b"init") && poster.body.ends_with(b"mdatkeyframe"));
    let etag = poster.header("etag").unwrap();
    let again = get(server.address, path, &format!("If-None-Match: {etag}\r\n")).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = exchange(server.address, &request("HEAD", path, "")).await;
    assert_eq!((head.status, head.headers_without_date()), (200, poster.headers_without_date()));
    let part = get(server.address, path, "Range: bytes=0-3\r\n").await;
    assert_eq!((part.status, part.body.as_slice()), (206, &b"init"[..]));

    assert_eq!(get(server.address, "/live/other/video/poster.mp4", "").await.status, 404);
    let without = super::server(|config| (config.outputs.llhls, config.outputs.dash) = (false, false)).await;
    publish(&without, 100, 3);
    assert_eq!(get(without.address, path, "").await.status, 404, "CMAF is switched off");
}

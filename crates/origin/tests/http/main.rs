//! The playback listener, byte for byte: raw requests over loopback against a server in this process.

#[path = "../client/mod.rs"]
mod client;
mod connections;
mod feed;
mod holds;
mod http2;
mod low_latency;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_media::{AudioCodec, AudioConfig, MediaTime, Timescale, VideoCodec, VideoConfig, WallTime};
use headwater_origin::auth::Authorizer;
use headwater_origin::clock::Clocks;
use headwater_origin::config::{AppOutputs, Config, InForce};
use headwater_origin::http::{self, Context};
use headwater_origin::published::Document;
use headwater_origin::registry::Registry;
use headwater_packager::{Bandwidth, Snapshot, State, Tracks, TsRendition, TsSegment};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use client::{Response, exchange, get, request};

/// Number of the first listed segment of the stream under test.
const FIRST: u64 = 1_769_860_800;
/// Listed segments; two more are retained in front of them.
const LISTED: u64 = 3;

struct Server {
    address: std::net::SocketAddr,
    config: InForce,
    authorizer: Arc<Authorizer>,
    registry: Arc<Registry>,
    context: Arc<Context>,
    shutdown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

async fn server(change: impl FnOnce(&mut Config)) -> Server {
    let mut config = Config::default();
    change(&mut config);
    let config = Arc::new(config);
    let authorizer = Arc::new(Authorizer::new(Arc::clone(&config), None).unwrap());
    let config = InForce::from(config);
    let registry = Registry::new(config.clone(), Clocks::start(), None);
    let context = Context::new(Arc::clone(&registry), config.clone());
    let context = Arc::new(context.with_authorizer(Arc::clone(&authorizer)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, down) = watch::channel(false);
    let task = tokio::spawn(http::serve(listener, Arc::clone(&context), down));
    Server { address, config, authorizer, registry, context, shutdown, task }
}

/// A server with one live stream, `live/cam`.
async fn live_server(change: impl FnOnce(&mut Config)) -> Server {
    let server = server(change).await;
    server.registry.publish_for_test("live", "cam", snapshot(State::Live, LISTED));
    server
}

fn segment(sequence: u64) -> Arc<TsSegment> {
    let nth = i64::try_from(sequence + 2 - FIRST).unwrap();
    Arc::new(TsSegment {
        sequence,
        start: MediaTime::new(nth * 180_000, Timescale::MPEG),
        duration: MediaTime::new(180_000, Timescale::MPEG),
        program_date_time: WallTime::from_unix_millis(1_769_860_800_000 + nth * 2_000),
        discontinuity: false,
        independent: true,
        payload: payload(sequence),
    })
}

/// 188 bytes that tell their segment and their place.
fn payload(sequence: u64) -> Bytes {
    (0..188_u64).map(|place| u8::try_from((sequence + place) % 251).unwrap()).collect()
}

fn snapshot(state: State, listed: u64) -> Snapshot {
    let video = VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::new(),
        codec_string: "avc1.64001f".to_owned(),
        width: 1280,
        height: 720,
        sample_aspect_ratio: (1, 1),
        frame_rate: None,
        colour: None,
        reorder_frames_max: None,
    };
    let audio = AudioConfig {
        codec: AudioCodec::Aac,
        record: Bytes::new(),
        codec_string: "mp4a.40.2".to_owned(),
        sample_rate: Timescale::new(48_000).unwrap(),
        output_sample_rate: 48_000,
        channels: 2,
        samples_per_frame: 1_024,
    };
    Snapshot {
        version: listed + 1,
        state,
        tracks: Tracks { video: Some(Arc::new(video)), audio: Some(Arc::new(audio)) },
        frame_rate_millihertz: Some(29_970),
        bandwidth: Some(Bandwidth { peak: 2_500_000, average: 2_000_000 }),
        published_at: WallTime::from_unix_millis(1_769_860_806_000),
        cmaf: None,
        date_ranges: Arc::default(),
        ts: Some(Arc::new(TsRendition {
            target_duration: 6,
            discontinuity_sequence: 0,
            listed: (0..listed).map(|n| segment(FIRST + n)).collect(),
            retained: if listed == 0 { Vec::new() } else { vec![segment(FIRST - 2), segment(FIRST - 1)] },
            ..TsRendition::default()
        })),
    }
}

const MULTIVARIANT: &str = "#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-STREAM-INF:BANDWIDTH=2500000,\
AVERAGE-BANDWIDTH=2000000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970,\
CLOSED-CAPTIONS=NONE\nts/media.m3u8\n";

const MEDIA: &str = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:6\n\
#EXT-X-MEDIA-SEQUENCE:1769860800\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n\
#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:04.000Z\n#EXTINF:2.000000,\n1769860800.ts\n\
#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:06.000Z\n#EXTINF:2.000000,\n1769860801.ts\n\
#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:08.000Z\n#EXTINF:2.000000,\n1769860802.ts\n";

/// What every answer of the listener says, whatever its status.
fn assert_common(name: &str, response: &Response) {
    for (header, value) in [
        ("access-control-allow-origin", "*"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "cross-origin"),
        (
            "access-control-expose-headers",
            "Content-Length, Content-Range, Date, Age, ETag, Server-Timing, CMSD-Static, CMSD-Dynamic",
        ),
    ] {
        assert_eq!(response.header(header), Some(value), "{name}: {header}");
    }
    assert!(response.header("date").is_some_and(|date| date.ends_with(" GMT")), "{name}: Date");
    assert!(response.header("cache-control").is_some(), "{name}: Cache-Control is always explicit");
    for absent in ["set-cookie", "age", "location", "transfer-encoding", "pragma"] {
        assert_eq!(response.header(absent), None, "{name}: {absent}");
    }
    let has_length = !matches!(response.status, 204 | 304);
    assert_eq!(response.header("content-length").is_some(), has_length, "{name}: Content-Length");
}

#[tokio::test]
async fn every_kind_of_resource() {
    let server = live_server(|_| {}).await;
    let playlist = "application/vnd.apple.mpegurl";
    for (path, status, content_type, cache_control, body) in [
        ("/live/cam/index.m3u8", 200, playlist, "public, max-age=3", Some(MULTIVARIANT.as_bytes())),
        ("/live/cam/playlist.m3u8", 200, playlist, "public, max-age=3", Some(MULTIVARIANT.as_bytes())),
        ("/live/cam/master.m3u8", 200, playlist, "public, max-age=3", Some(MULTIVARIANT.as_bytes())),
        ("/live/cam.m3u8", 200, playlist, "public, max-age=3", None),
        ("/live/cam.m3u8?token=x&_HLS_msn=1", 200, playlist, "public, max-age=3", None),
        ("/live/%63am/index.m3u8", 200, playlist, "public, max-age=3", Some(MULTIVARIANT.as_bytes())),
        ("/live/cam/ts/media.m3u8", 200, playlist, "public, max-age=3", Some(MEDIA.as_bytes())),
        (
            "/live/cam/ts/1769860800.ts",
            200,
            "video/mp2t",
            "public, max-age=3600, immutable",
            Some(&payload(FIRST)),
        ),
        (
            "/live/cam/ts/1769860798.ts",
            200,
            "video/mp2t",
            "public, max-age=3600, immutable",
            Some(&payload(FIRST - 2)),
        ),
        ("/live/cam/ts/1769860797.ts", 404, "text/plain; charset=utf-8", "public, max-age=60", None),
        ("/live/cam/ts/1769860804.ts", 404, "text/plain; charset=utf-8", "public, max-age=1", None),
        ("/live/cam/ts/99999999999.ts", 404, "text/plain; charset=utf-8", "public, max-age=1", None),
        ("/live/other/index.m3u8", 404, "text/plain; charset=utf-8", "public, max-age=1", None),
        ("/live/other/ts/1.ts", 404, "text/plain; charset=utf-8", "public, max-age=1", None),
        ("/live/cam/llhls.m3u8", 404, "text/plain; charset=utf-8", "public, max-age=1", None),
        ("/nothing", 404, "text/plain; charset=utf-8", "public, max-age=1", None),
        ("/live/../cam.m3u8", 400, "text/plain; charset=utf-8", "public, max-age=1", None),
        ("/live%2fcam.m3u8", 400, "text/plain; charset=utf-8", "public, max-age=1", None),
        ("/live/%0acam.m3u8", 400, "text/plain; charset=utf-8", "public, max-age=1", None),
        ("/", 200, "text/html; charset=utf-8", "public, max-age=60", None),
        ("/assets/page.js", 200, "text/javascript; charset=utf-8", "public, max-age=60", None),
        ("/assets/players.js", 200, "text/javascript; charset=utf-8", "public, max-age=60", None),
        ("/assets/page.css", 200, "text/css; charset=utf-8", "public, max-age=60", None),
        ("/assets/none.js", 404, "text/plain; charset=utf-8", "public, max-age=1", None),
        ("/api/v1/live", 200, "application/json", "no-store", None),
        ("/live/cam/video/poster.mp4", 404, "text/plain; charset=utf-8", "public, max-age=1", None),
        ("/api/v1/streams", 404, "text/plain; charset=utf-8", "public, max-age=1", None),
        ("/healthz", 404, "text/plain; charset=utf-8", "public, max-age=1", None),
    ] {
        let response = get(server.address, path, "").await;
        assert_common(path, &response);
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.header("content-type"), Some(content_type), "{path}");
        assert_eq!(response.header("cache-control"), Some(cache_control), "{path}");
        let is_whole = status == 200 && content_type != "application/json";
        assert_eq!(response.header("etag").is_some(), is_whole, "{path}: ETag on whole representations");
        assert!(!response.header("etag").unwrap_or_default().starts_with("W/"), "{path}: strong");
        let is_text = is_whole && content_type != "video/mp2t";
        assert_eq!(response.header("vary"), is_text.then_some("Accept-Encoding"), "{path}");
        if let Some(body) = body {
            assert_eq!(response.body, body, "{path}");
        }
        // HEAD says what GET says, and sends nothing (http-origin 3.4).
        let head = exchange(server.address, &request("HEAD", path, "")).await;
        assert_eq!((head.status, head.body.len()), (status, 0), "HEAD {path}");
        assert_eq!(head.headers_without_date(), response.headers_without_date(), "HEAD {path}");
    }
    let long = get(server.address, &format!("/{}", "x".repeat(2_048)), "").await;
    assert_eq!(long.status, 400);
    assert_common("long", &long);
    assert_eq!(server.context.status().held, 0);
}

#[tokio::test]
async fn methods() {
    let server = live_server(|_| {}).await;
    for (method, path, extra, status) in [
        (
            "OPTIONS",
            "/live/cam/index.m3u8",
            "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n",
            204,
        ),
        ("OPTIONS", "/nothing", "", 204),
        ("OPTIONS", "*", "", 204),
        ("POST", "/live/cam/index.m3u8", "Content-Length: 3\r\n\r\nabc", 405),
        ("PUT", "/live/cam/ts/1.ts", "Content-Length: 0\r\n", 405),
        ("DELETE", "/", "", 405),
        ("TRACE", "/", "", 405),
        ("PURGE", "/live/cam/index.m3u8", "", 405),
    ] {
        let name = format!("{method} {path}");
        let response = exchange(server.address, &request(method, path, extra)).await;
        assert_eq!(response.status, status, "{name}");
        assert_common(&name, &response);
        assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"), "{name}");
        if status == 204 {
            assert_eq!(response.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"), "{name}");
            let allowed = response.header("access-control-allow-headers").unwrap();
            for needed in
                ["Range", "If-None-Match", "CMCD-Request", "CMCD-Object", "CMCD-Status", "CMCD-Session"]
            {
                assert!(allowed.split(", ").any(|header| header == needed), "{name}: {needed}");
            }
            assert_eq!(response.header("access-control-max-age"), Some("86400"), "{name}");
        }
    }
}

#[tokio::test]
async fn conditional_requests() {
    let server = live_server(|_| {}).await;
    for path in [
        "/live/cam/index.m3u8",
        "/live/cam/ts/media.m3u8",
        "/live/cam/ts/1769860800.ts",
        "/",
        "/assets/page.js",
    ] {
        let whole = get(server.address, path, "").await;
        let etag = whole.header("etag").unwrap().to_owned();
        for (name, headers, status) in [
            ("its tag", format!("If-None-Match: {etag}\r\n"), 304),
            ("its tag, weak", format!("If-None-Match: W/{etag}\r\n"), 304),
            ("its tag in a list", format!("If-None-Match: \"x\", {etag}\r\n"), 304),
            ("its tag in a second header", format!("If-None-Match: \"x\"\r\nIf-None-Match: {etag}\r\n"), 304),
            ("any", "If-None-Match: *\r\n".to_owned(), 304),
            (
                "a tag wins over a date",
                format!("If-None-Match: {etag}\r\nIf-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
                304,
            ),
            ("with a range", format!("If-None-Match: {etag}\r\nRange: bytes=0-0\r\n"), 304),
            ("another tag", "If-None-Match: \"x\"\r\n".to_owned(), 200),
            ("malformed", "If-None-Match: x\r\n".to_owned(), 200),
            ("a date alone", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n".to_owned(), 200),
            ("If-Match with its tag", format!("If-Match: {etag}\r\n"), 200),
            ("If-Match with another", "If-Match: \"x\"\r\n".to_owned(), 412),
        ] {
            let name = format!("{path}, {name}");
            let response = get(server.address, path, &headers).await;
            assert_eq!(response.status, status, "{name}");
            assert_common(&name, &response);
            if status == 412 {
                assert_eq!(response.header("cache-control"), Some("no-store"), "{name}: only this client's");
            }
            if status == 304 {
                assert!(response.body.is_empty(), "{name}");
                for kept in ["etag", "cache-control", "vary"] {
                    assert_eq!(response.header(kept), whole.header(kept), "{name}: {kept}");
                }
                assert_eq!(response.header("content-type"), None, "{name}");
            }
        }
    }
    let missing = get(server.address, "/live/cam/ts/1.ts", "If-None-Match: *\r\n").await;
    assert_eq!(missing.status, 404, "what doesn't exist is not unchanged");
}

#[tokio::test]
async fn ranges() {
    let server = live_server(|_| {}).await;
    let path = "/live/cam/ts/1769860801.ts";
    let whole = get(server.address, path, "").await;
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let etag = whole.header("etag").unwrap().to_owned();
    for (name, headers, status, content_range, bytes) in [
        ("first byte", "Range: bytes=0-0\r\n".to_owned(), 206, Some("bytes 0-0/188"), 0..1),
        ("open", "Range: bytes=100-\r\n".to_owned(), 206, Some("bytes 100-187/188"), 100..188),
        ("suffix", "Range: bytes=-8\r\n".to_owned(), 206, Some("bytes 180-187/188"), 180..188),
        ("beyond the end", "Range: bytes=180-500\r\n".to_owned(), 206, Some("bytes 180-187/188"), 180..188),
        ("everything", "Range: bytes=0-\r\n".to_owned(), 206, Some("bytes 0-187/188"), 0..188),
        ("unsatisfiable", "Range: bytes=188-\r\n".to_owned(), 416, Some("bytes */188"), 0..0),
        ("several", "Range: bytes=0-0,2-3\r\n".to_owned(), 200, None, 0..188),
        ("another unit", "Range: packets=0-0\r\n".to_owned(), 200, None, 0..188),
        ("malformed", "Range: bytes=5-1\r\n".to_owned(), 200, None, 0..188),
        (
            "If-Range fits",
            format!("Range: bytes=1-2\r\nIf-Range: {etag}\r\n"),
            206,
            Some("bytes 1-2/188"),
            1..3,
        ),
        ("If-Range doesn't", "Range: bytes=1-2\r\nIf-Range: \"x\"\r\n".to_owned(), 200, None, 0..188),
        ("If-Range is weak", format!("Range: bytes=1-2\r\nIf-Range: W/{etag}\r\n"), 200, None, 0..188),
        (
            "If-Range is a date",
            "Range: bytes=1-2\r\nIf-Range: Fri, 01 Jan 2100 00:00:00 GMT\r\n".to_owned(),
            200,
            None,
            0..188,
        ),
    ] {
        let response = get(server.address, path, &headers).await;
        assert_eq!(response.status, status, "{name}");
        assert_common(name, &response);
        assert_eq!(response.header("content-range"), content_range, "{name}");
        if status == 416 {
            // A cache's key doesn't hold the range: others, who ask for the whole, would get this.
            assert_eq!(response.header("cache-control"), Some("no-store"), "{name}");
        }
        if status != 416 {
            assert_eq!(response.body, payload(FIRST + 1)[bytes], "{name}");
            for kept in ["etag", "cache-control", "content-type"] {
                assert_eq!(response.header(kept), whole.header(kept), "{name}: {kept}");
            }
        }
    }
    let head = exchange(server.address, &request("HEAD", path, "Range: bytes=0-0\r\n")).await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("188")),
        "Range means nothing for HEAD"
    );
    let playlist = get(server.address, "/live/cam/ts/media.m3u8", "Range: bytes=0-5\r\n").await;
    assert_eq!(
        (playlist.status, playlist.body.len()),
        (200, MEDIA.len()),
        "nor for a playlist (http-origin 4.4)"
    );
}

#[tokio::test]
async fn compression() {
    let server = live_server(|_| {}).await;
    for (path, plain) in [("/live/cam/index.m3u8", MULTIVARIANT), ("/live/cam/ts/media.m3u8", MEDIA)] {
        let identity = get(server.address, path, "").await;
        for (accepts, gzip) in [
            ("gzip", true),
            ("br;q=1, gzip;q=0.5, *;q=0", true),
            ("*", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("br", false),
        ] {
            let name = format!("{path}, {accepts}");
            let response = get(server.address, path, &format!("Accept-Encoding: {accepts}\r\n")).await;
            assert_eq!(response.header("content-encoding"), gzip.then_some("gzip"), "{name}");
            assert_eq!(response.header("vary"), Some("Accept-Encoding"), "{name}");
            if !gzip {
                assert_eq!(response.headers_without_date(), identity.headers_without_date(), "{name}");
                continue;
            }
            assert_eq!(client::gunzip(&response.body), plain.as_bytes(), "{name}");
            let etag = response.header("etag").unwrap();
            assert_ne!(Some(etag), identity.header("etag"), "{name}: codings differ in their tags");
            let both = format!("Accept-Encoding: gzip\r\nIf-None-Match: {etag}\r\n");
            assert_eq!(get(server.address, path, &both).await.status, 304, "{name}");
            let crossed = format!("If-None-Match: {etag}\r\n");
            assert_eq!(
                get(server.address, path, &crossed).await.status,
                200,
                "{name}: the other coding's tag"
            );
        }
    }
    let media = get(server.address, "/live/cam/ts/1769860800.ts", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(
        (media.header("content-encoding"), media.header("vary")),
        (None, None),
        "media stays as it is"
    );
}

#[tokio::test]
async fn states_of_a_stream() {
    let server = server(|config| {
        config.http.hold_timeout = Duration::ZERO;
        for (app, hls, cmaf) in [("off", false, false), ("cmaf", false, true), ("ts", true, false)] {
            config.apps.entry(app.to_owned()).or_default().outputs = AppOutputs {
                hls: Some(hls),
                llhls: Some(cmaf),
                dash: Some(cmaf),
                flv: Some(false),
                ts: Some(false),
                mp4: Some(false),
                rtmp: Some(false),
            };
        }
    })
    .await;
    for (name, app, state, listed, status, cache_control, ended) in [
        ("starting", "live", State::Starting, 0, 404, "public, max-age=1", false),
        ("live", "live", State::Live, 3, 200, "public, max-age=3", false),
        ("waiting: unchanged, never 404", "live", State::Waiting, 3, 200, "public, max-age=3", false),
        ("waiting without media", "live", State::Waiting, 0, 404, "public, max-age=1", false),
        ("ended", "live", State::Ended, 3, 200, "public, max-age=2", true),
        ("ended without media", "live", State::Ended, 0, 404, "public, max-age=1", false),
        ("an app with two parts", "live/eu", State::Live, 3, 200, "public, max-age=3", false),
        ("an app with HLS switched off", "cmaf", State::Live, 3, 404, "public, max-age=1", false),
        ("an app with nothing but HLS", "ts", State::Live, 3, 200, "public, max-age=3", false),
        ("an app with everything switched off", "off", State::Live, 3, 404, "public, max-age=1", false),
    ] {
        server.registry.publish_for_test(app, "cam", snapshot(state, listed));
        for file in ["index.m3u8", "ts/media.m3u8"] {
            let response = get(server.address, &format!("/{app}/cam/{file}"), "").await;
            assert_eq!(response.status, status, "{name}, {file}");
            assert_eq!(response.header("cache-control"), Some(cache_control), "{name}, {file}");
            if file == "ts/media.m3u8" {
                assert_eq!(response.body.ends_with(b"#EXT-X-ENDLIST\n"), ended, "{name}");
            }
        }
    }
    let live = get(server.address, "/api/v1/live", "").await;
    let list: serde_json::Value = serde_json::from_slice(&live.body).unwrap();
    let all = |app: &str| {
        serde_json::json!({
            "hls": format!("/{app}/cam/index.m3u8"),
            "llhls": format!("/{app}/cam/llhls.m3u8"),
            "dash": format!("/{app}/cam/manifest.mpd"),
            "flv": format!("/{app}/cam.flv"),
            "lldash": format!("/{app}/cam/ll.mpd"),
            "ts": format!("/{app}/cam.ts"),
            "mp4": format!("/{app}/cam.mp4"),
        })
    };
    let cmaf = serde_json::json!({ "llhls": "/cmaf/cam/llhls.m3u8", "dash": "/cmaf/cam/manifest.mpd", "lldash": "/cmaf/cam/ll.mpd" });
    let ts = serde_json::json!({ "hls": "/ts/cam/index.m3u8" });
    let expected = [
        ("/cmaf/cam/llhls.m3u8", cmaf),
        ("/live/cam/index.m3u8", all("live")),
        ("/live/eu/cam/index.m3u8", all("live/eu")),
        ("/ts/cam/index.m3u8", ts),
    ];
    let listed: Vec<_> = list.as_array().unwrap().iter().collect();
    let listed: Vec<_> =
        listed.iter().map(|stream| (stream["url"].as_str().unwrap(), stream["outputs"].clone())).collect();
    assert_eq!(listed, expected, "nothing that can't be played");
    assert_eq!(list[2]["width"], 1280);
}

#[tokio::test]
async fn the_page_can_be_switched_off() {
    let server = live_server(|config| config.http.page = false).await;
    for path in ["/", "/assets/page.js", "/api/v1/live", "/api/v1/live/events"] {
        assert_eq!(get(server.address, path, "").await.status, 404, "{path}");
    }
    assert_eq!(get(server.address, "/live/cam.m3u8", "").await.status, 200);
}

#[tokio::test]
async fn the_page_asks_no_other_origin_for_anything() {
    let server = live_server(|config| config.rtmp.listen.set_port(1936)).await;
    let page = get(server.address, "/", "").await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains("data-rtmp-port=\"1936\"") && !text.contains('{'), "marks are filled in");
    let sources: Vec<_> = text.split(['"', '\'']).filter(|part| part.starts_with("/assets/")).collect();
    assert!(sources.contains(&"/assets/page.js") && sources.contains(&"/assets/page.css"));
    for path in sources {
        let file = get(server.address, path, "Accept-Encoding: gzip\r\n").await;
        assert_eq!((file.status, file.header("content-encoding")), (200, Some("gzip")), "{path}");
    }
    let own = [
        text.as_str(),
        include_str!("../../web/page.js"),
        include_str!("../../web/players.js"),
        include_str!("../../web/feed.js"),
        include_str!("../../web/pictures.js"),
        include_str!("../../web/page.css"),
    ];
    for file in own {
        let foreign = file.match_indices("://").map(|(at, _)| &file[at.saturating_sub(5)..at]);
        // "http://www.w3.org/2000/svg" is a name, not an address; "rtmp" is a line for people.
        assert!(foreign.filter(|scheme| !scheme.ends_with("rtmp")).count() <= 1, "only the SVG namespace");
    }
}

#[tokio::test]
async fn the_page_names_the_players_that_are_served() {
    let server = live_server(|_| {}).await;
    let page = String::from_utf8(get(server.address, "/", "").await.body).unwrap();
    let (_, rest) = page.split_once("data-players=\"").unwrap();
    let named: Vec<&str> = rest.split('"').next().unwrap().split_whitespace().collect();
    let packages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("web/node_modules");
    for (name, package, global) in
        [("hls.js", "hls.js", "Hls"), ("dash.js", "dashjs", "dashjs"), ("shaka.js", "shaka-player", "shaka")]
    {
        assert_eq!(named.contains(&name), packages.join(package).is_dir(), "{name}: what npm fetched");
        let path = format!("/assets/{name}");
        let plain = get(server.address, &path, "").await;
        assert_eq!(plain.status, if named.contains(&name) { 200 } else { 404 }, "{name}");
        if plain.status != 200 {
            continue;
        }
        assert_eq!(plain.header("content-type"), Some("text/javascript; charset=utf-8"), "{name}");
        let script = String::from_utf8(plain.body.clone()).unwrap();
        assert!(script.contains(global), "{name}");
        let (licence, _) = script.split_once("*/").unwrap();
        assert!(
            licence.starts_with("/*\n") && licence.contains("Copyright"),
            "{name}: its licence comes first"
        );
        let small = get(server.address, &path, "Accept-Encoding: gzip\r\n").await;
        assert_eq!(small.header("content-encoding"), Some("gzip"), "{name}");
        assert!(small.body.len() * 2 < plain.body.len(), "{name}");
        let etag = small.header("etag").unwrap();
        assert_ne!(Some(etag), plain.header("etag"), "{name}");
        let again = format!("Accept-Encoding: gzip\r\nIf-None-Match: {etag}\r\n");
        assert_eq!(get(server.address, &path, &again).await.status, 304, "{name}");
    }
}

#[tokio::test]
async fn one_version_is_one_body() {
    let server = live_server(|_| {}).await;
    let stream = server.registry.stream("live", "cam").unwrap();
    let version = stream.current();
    let first = version.document(Document::TsMedia, None).unwrap();
    get(server.address, "/live/cam/ts/media.m3u8", "").await;
    assert_eq!(
        first.plain().as_ptr(),
        stream.current().document(Document::TsMedia, None).unwrap().plain().as_ptr()
    );
    assert_eq!(first.gzip().as_ptr(), version.document(Document::TsMedia, None).unwrap().gzip().as_ptr());
}

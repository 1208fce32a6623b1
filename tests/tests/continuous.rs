//! Outputs without segments, with the real binary: every access unit in every one of them, and what viewers see of a publisher's
//! faults and of each other.
#![allow(clippy::print_stdout, reason = "a failing test shows its figures")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use headwater_testkit::fidelity::Fidelity;
use headwater_testkit::flv;
use headwater_tests::continuous::{
    Recorder, compare_flv, compare_mp4, compare_ts, ffmpeg, rtmpdump, websocket,
};
use headwater_tests::process::Process;
use headwater_tests::rtmp_client::{RtmpClient, Stage};
use headwater_tests::{Headwater, Scratch, hostile, judge, media, play, publish, server, wait_for};
use serde_json::Value;

/// A publisher's end is told to viewers after `publish.end_delay`.
const END: Duration = Duration::from_secs(30);

/// A busy machine starts slowly.
const START: Duration = Duration::from_secs(30);

fn stream_info(server: &Headwater) -> Value {
    server.streams().as_array().and_then(|streams| streams.first().cloned()).unwrap_or_default()
}

fn viewers(server: &Headwater, kind: &str) -> u64 {
    stream_info(server)["viewers"][kind].as_u64().unwrap_or_default()
}

/// The stream exists from a publisher's first word on; viewers are held until its first keyframe.
fn exists(server: &Headwater) {
    wait_for("the stream to exist", START, || (!stream_info(server).is_null()).then_some(()));
}

/// The clip three times over, 48 s, B-frames in it; half of it is more than the tests need.
fn sent(scratch: &Scratch, loops: u32) -> PathBuf {
    let clip = media::clip();
    let loops = (loops - 1).to_string();
    let arguments = ["-stream_loop", &loops, "-i", &clip.to_string_lossy(), "-c", "copy"].map(str::to_owned);
    media::make(scratch, "sent", &arguments)
}

/// Everything arrived, from the first keyframe on.
fn assert_whole(name: &str, fidelity: &Fidelity) {
    println!("{name}: {fidelity:?}");
    assert!(fidelity.is_faithful(), "{name}: {fidelity:#?}");
    assert!(fidelity.video_received > 400 && fidelity.audio_received > 600, "{name}: {fidelity:?}");
}

#[test]
fn every_access_unit_arrives_in_every_output() {
    let scratch = Scratch::new("continuous-fidelity");
    let server = Headwater::start(&scratch);
    let sent = sent(&scratch, 1);
    // The publisher's file begins with its first keyframe, for which the viewers wait.
    let mut publisher = publish::ffmpeg(&scratch, "publisher", &sent, 1, &server.publish_url("cam"));
    exists(&server);
    let url = server.publish_url("cam");
    let mut players = [
        ffmpeg(&scratch, "ffmpeg-rtmp", &url),
        rtmpdump(&scratch, "rtmpdump", &url),
        ffmpeg(&scratch, "ffmpeg-flv", &server.http_url("/live/cam.flv")),
        ffmpeg(&scratch, "ffmpeg-ts", &server.http_url("/live/cam.ts")),
        ffmpeg(&scratch, "ffmpeg-mp4", &server.http_url("/live/cam.mp4")),
    ];
    let port = server.http_port();
    let recorders = ["flv", "ts", "mp4"].map(|kind| Recorder::start(port, &format!("/live/cam.{kind}")));
    let socket = std::thread::spawn(move || websocket(port, "/live/cam.flv"));
    assert!(publisher.wait(END).success(), "{}", publisher.log());

    let [flv, ts, mp4] = recorders.map(Recorder::finish);
    for (recorded, content_type) in [(&flv, "video/x-flv"), (&ts, "video/mp2t"), (&mp4, "video/mp4")] {
        let head = &recorded.head;
        for line in [
            "http/1.1 200 ok",
            "cache-control: no-store",
            "x-accel-buffering: no",
            "access-control-allow-origin: *",
        ] {
            assert!(head.contains(line), "{line}: {head}");
        }
        assert!(
            head.contains(&format!("content-type: {content_type}")) && !head.contains("\ncontent-length:"),
            "{head}"
        );
        assert!(recorded.is_whole, "{content_type}: the body ends with the stream");
    }
    let (messages, code) = socket.join().expect("a WebSocket client");
    assert_eq!(code, Some(1000));
    assert!(messages.iter().skip(1).all(|message| message.len() > 15), "whole tags");
    assert!(messages.first().is_some_and(|first| first.starts_with(b"FLV\x01\x05")));
    for player in &mut players {
        player.wait(END);
        assert_eq!(player.log(), "", "{player:?}");
    }

    for (name, body) in [("flv", &flv.body), ("websocket", &messages.concat())] {
        assert_whole(name, &compare_flv(&sent, body));
        judge::decodes_silently(&scratch, name, "flv", body);
    }
    assert_eq!(whole_tags(&flv.body), whole_tags(&messages.concat()), "the same bytes");
    assert_whole("ts", &compare_ts(&sent, &ts.body));
    judge::decodes_silently(&scratch, "ts", "ts", &ts.body);
    assert_whole("mp4", &compare_mp4(&sent, &mp4.body));
    judge::decodes_silently(&scratch, "mp4", "mp4", &mp4.body);
    for name in ["ffmpeg-rtmp", "rtmpdump", "ffmpeg-flv", "ffmpeg-ts", "ffmpeg-mp4"] {
        let file = std::fs::read(scratch.join(&format!("{name}.flv"))).expect("what the player wrote");
        assert_whole(name, &without_stamps(compare_flv(&sent, &file)));
        judge::decodes_silently(&scratch, &format!("{name}-read"), "flv", &file);
    }
    // What was counted is over with its viewers.
    let info = stream_info(&server);
    for kind in ["flv", "flv_websocket", "ts", "mp4", "rtmp", "skips", "dropped"] {
        assert_eq!(info["viewers"][kind], 0, "{info:#}");
    }
}

/// Tags as they are, from the first keyframe on: where a viewer joined is its own affair.
fn whole_tags(file: &[u8]) -> flv::Reference {
    flv::read(file).expect("FLV")
}

/// Players that write files have clocks of their own: rounding to milliseconds and back again costs one.
fn without_stamps(mut fidelity: Fidelity) -> Fidelity {
    fidelity.findings.retain(|finding| !finding.contains("off by"));
    fidelity
}

#[test]
fn a_slow_viewer_is_its_own_trouble() {
    let scratch = Scratch::new("continuous-slow");
    let server = Headwater::start_with(&scratch, "[limits]\nmax_bytes_per_stream = \"64MiB\"");
    // Noise, 12 Mbit/s: the system's buffers swallow some seconds of it, and no more.
    let mut arguments = media::picture("30", 24);
    arguments.extend(media::tone(48_000, "stereo", 24));
    let codecs = "-vf noise=alls=80:allf=t+u -c:v libx264 -preset ultrafast -b:v 12M -maxrate 12M -bufsize 6M -g 30 -bf 0 \
                  -pix_fmt yuv420p -c:a aac -b:a 96k";
    arguments.extend(codecs.split_whitespace().map(str::to_owned));
    let sent = media::make(&scratch, "sent", &arguments);
    let size = std::fs::metadata(&sent).expect("it was made").len();
    assert!(size > 24_000_000, "{size} bytes are swallowed by buffers");
    let mut publisher = publish::ffmpeg(&scratch, "publisher", &sent, 1, &server.publish_url("cam"));
    exists(&server);
    let healthy = Recorder::start(server.http_port(), "/live/cam.flv");
    let stuck = ["flv", "ts", "mp4"].map(|kind| reluctant(&server, kind));
    // One that reads in bursts: what it is behind by is skipped.
    let mut bursts = reluctant(&server, "flv");
    wait_for("a skip", END, || {
        // Less than what a viewer is cut off after.
        std::thread::sleep(Duration::from_secs(8));
        let until = Instant::now() + Duration::from_secs(1);
        let mut buffer = vec![0; 1 << 20];
        while Instant::now() < until {
            let _ = bursts.read(&mut buffer);
        }
        (viewers(&server, "skips") > 0).then_some(())
    });
    wait_for("the stuck ones to be dropped", END, || (viewers(&server, "dropped") >= 3).then_some(()));
    assert!(publisher.wait(END).success(), "{}", publisher.log());
    let recorded = healthy.finish();
    assert_whole("the healthy one", &compare_flv(&sent, &recorded.body));
    let status = server::fetch(&server.admin_url("/api/v1/status"));
    let status: Value = serde_json::from_slice(&status.body).expect("JSON");
    assert!(status["playback"]["closed_stalled"].as_u64().is_some_and(|count| count >= 3), "{status:#}");
    drop(stuck);
}

/// A viewer that has asked for its media and takes none of it.
fn reluctant(server: &Headwater, kind: &str) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(64 << 10).expect("a small buffer");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], server.http_port()));
    socket.connect(&address.into()).expect("it accepts");
    let mut socket = TcpStream::from(socket);
    let request = format!("GET /live/cam.{kind} HTTP/1.1\r\nHost: test\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("a request");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    socket
}

/// Publishes a file from its beginning to its end.
fn publish_whole(scratch: &Scratch, server: &Headwater, name: &str, file: &Path) {
    let mut publisher = publish::ffmpeg(scratch, name, file, 1, &server.publish_url("cam"));
    assert!(publisher.wait(END).success(), "{}", publisher.log());
}

#[test]
fn viewers_stay_when_the_publisher_returns_and_when_it_changes() {
    let scratch = Scratch::new("continuous-returns");
    // Long enough for another ffmpeg to begin.
    let server = Headwater::start_with(&scratch, "[publish]\nend_delay = \"8s\"");
    let (clip, plain) = (media::plain(), {
        let mut arguments = media::picture("25", 8);
        arguments.extend(media::tone(44_100, "mono", 8));
        arguments.extend(media::x264(50, 2));
        arguments.extend(["-c:a", "aac", "-b:a", "64k"].map(str::to_owned));
        media::make(&scratch, "other", &arguments)
    });
    let mut first = publish::ffmpeg(&scratch, "first", &clip, 1, &server.publish_url("cam"));
    exists(&server);
    let port = server.http_port();
    let recorders = ["flv", "ts", "mp4"].map(|kind| Recorder::start(port, &format!("/live/cam.{kind}")));
    let mut rtmp = ffmpeg(&scratch, "ffmpeg-rtmp", &server.publish_url("cam"));
    assert!(first.wait(END).success(), "{}", first.log());
    publish_whole(&scratch, &server, "again", &clip);
    publish_whole(&scratch, &server, "other", &plain);
    let [flv, ts, mp4] = recorders.map(Recorder::finish);
    rtmp.wait(END);

    let units = |file: &Path| flv::read(&std::fs::read(file).expect("a file")).expect("FLV");
    let (twice, once) = (units(&clip), units(&plain));
    let pictures = twice.video.len() * 2 + once.video.len();
    let read = flv::read(&flv.body).expect("FLV");
    assert!(flv.is_whole && ts.is_whole && mp4.is_whole);
    assert_eq!(read.video.len(), pictures, "every picture of all three publications");
    assert!(read.video.windows(2).all(|pair| pair[0].dts_ms < pair[1].dts_ms), "decode times rise");
    assert!(read.audio.windows(2).all(|pair| pair[0].ms < pair[1].ms), "sound's too");
    let gaps = read.video.windows(2).map(|pair| pair[1].dts_ms - pair[0].dts_ms);
    assert!(
        gaps.max().is_some_and(|gap| gap < 200),
        "no hole where one publisher left and the next one came"
    );
    // ffmpeg's FLV demuxer tells its decoder of another configuration and its parser not: that one complains ("[NULL @"), on
    // any such file. The decoder's word counts.
    assert_eq!(decoded(&scratch, "flv", &flv.body), pictures);
    assert_eq!(decoded(&scratch, "ts", &ts.body), pictures);
    // A file can't go on with other tracks: it ends before them.
    let video = headwater_testkit::fmp4::Fmp4Reader::read_movie(&mp4.body, 1);
    assert_eq!(video.findings, Vec::<String>::new());
    assert_eq!(video.samples.len(), twice.video.len() * 2);
    judge::decodes_silently(&scratch, "mp4", "mp4", &mp4.body);
    let played = flv::read(&std::fs::read(scratch.join("ffmpeg-rtmp.flv")).expect("a file")).expect("FLV");
    assert!(played.video.len() >= twice.video.len() * 2, "{} pictures by RTMP", played.video.len());
}

/// Pictures that ffmpeg decodes of media, kept in the test's folder.
fn decoded(scratch: &Scratch, ending: &str, media: &[u8]) -> usize {
    let path = scratch.join(&format!("changed.{ending}"));
    std::fs::write(&path, media).expect("a file in the test's folder");
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args([
        "-v",
        "error",
        "-count_frames",
        "-select_streams",
        "v",
        "-show_entries",
        "stream=nb_read_frames",
    ]);
    let output = ffprobe.args(["-of", "csv=p=0"]).arg(&path).output().expect("ffprobe can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    let is_parser = |line: &&str| line.starts_with("[NULL @") || line.contains("Last message repeated");
    let complaints: Vec<&str> = said.lines().filter(|line| !is_parser(line)).collect();
    assert!(complaints.is_empty(), "{ending}: {complaints:#?}");
    let count = String::from_utf8_lossy(&output.stdout);
    count.lines().next().and_then(|line| line.trim_matches(',').parse().ok()).unwrap_or_default()
}

#[test]
fn who_comes_too_early_or_too_late_is_told_so() {
    let scratch = Scratch::new("continuous-absent");
    let server = Headwater::start_with(
        &scratch,
        "[apps.off.outputs]\nflv = false\nts = false\nmp4 = false\nrtmp = false\n[publish]\ngrace = \"4s\"",
    );
    let answer = server::fetch(&server.http_url("/live/nobody.flv"));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (404, Some("*")));
    let mut player = ffmpeg(&scratch, "rtmp-nobody", &server.publish_url("nobody"));
    assert!(!player.wait(END).success());
    assert!(player.log().contains("no such stream"), "{}", player.log());

    // Switched off for the app, while HLS is on.
    let url = format!("rtmp://127.0.0.1:{}/off/cam", server.rtmp_port());
    let off = publish::ffmpeg(&scratch, "off", &media::plain(), 1, &url);
    wait_for("HLS of it", START, || {
        (server::fetch(&server.http_url("/off/cam/index.m3u8")).status == 200).then_some(())
    });
    for kind in ["flv", "ts", "mp4"] {
        assert_eq!(server::fetch(&server.http_url(&format!("/off/cam.{kind}"))).status, 404, "{kind}");
    }
    let mut player = ffmpeg(&scratch, "rtmp-off", &url);
    assert!(!player.wait(END).success());
    assert!(player.log().contains("switched off"), "{}", player.log());
    drop(off);

    // A publisher that was lost is waited for as long as its stream lives.
    let mut lost: Process = publish::ffmpeg(&scratch, "lost", &media::plain(), 1, &server.publish_url("cam"));
    wait_for("it to be live", START, || {
        (server::fetch(&server.watch_url("cam")).status == 200).then_some(())
    });
    lost.kill();
    let began = Instant::now();
    wait_for("its loss to be noticed", START, || {
        let streams = server.streams();
        let mut streams = streams.as_array().expect("streams").iter();
        streams.all(|stream| stream["name"] != "cam" || stream["state"] != "live").then_some(())
    });
    assert_eq!(server::fetch(&server.http_url("/live/cam.flv")).status, 404);
    assert!(began.elapsed() > Duration::from_secs(2), "held while the publisher was waited for");
    assert_eq!(server::fetch(&server.http_url("/live/cam.flv")).status, 404, "over");
}

#[test]
fn requests_for_a_websocket_that_are_none() {
    let scratch = Scratch::new("continuous-websocket");
    let server = Headwater::start(&scratch);
    let _publisher = publish::ffmpeg(&scratch, "publisher", &media::plain(), 2, &server.publish_url("cam"));
    exists(&server);
    let answer = |headers: &str| {
        let mut socket = TcpStream::connect(("127.0.0.1", server.http_port())).expect("it accepts");
        socket.set_read_timeout(Some(START)).expect("a timeout");
        let request = format!("GET /live/cam.flv HTTP/1.1\r\nHost: test\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).expect("a request");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && socket.read_exact(&mut byte).is_ok() {
            head.push(byte[0]);
        }
        String::from_utf8_lossy(&head).to_lowercase()
    };
    let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    for (name, headers, status, line) in [
        (
            "RFC 6455 1.3",
            format!("{upgrade}{key}{version}"),
            "101",
            "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=",
        ),
        ("no Upgrade", format!("Connection: upgrade\r\n{key}{version}"), "200", "video/x-flv"),
        ("no Connection", format!("Upgrade: websocket\r\n{key}{version}"), "200", "video/x-flv"),
        (
            "another version",
            format!("{upgrade}{key}Sec-WebSocket-Version: 8\r\n"),
            "426",
            "sec-websocket-version: 13",
        ),
        ("no key", format!("{upgrade}{version}"), "400", "no-store"),
        ("a short key", format!("{upgrade}{version}Sec-WebSocket-Key: abc\r\n"), "400", "no-store"),
        ("two keys", format!("{upgrade}{version}{key}{key}"), "400", "no-store"),
    ] {
        let head = answer(&headers);
        assert!(head.starts_with(&format!("http/1.1 {status}")) && head.contains(line), "{name}: {head}");
        assert!(head.contains("access-control-allow-origin: *"), "{name}: {head}");
    }
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0"]);
    ffprobe.arg(server.http_url("/live/cam.flv"));
    let output = ffprobe.output().expect("ffprobe can be started");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "h264\naac\n", "two tracks, and no third of text");
}

#[test]
fn players_play_them() {
    let scratch = Scratch::new("continuous-players");
    let server = Headwater::start(&scratch);
    let _publisher = publish::ffmpeg(&scratch, "publisher", &media::clip(), 20, &server.publish_url("cam"));
    exists(&server);
    let place = |extension: &str| server.http_url(&format!("/live/cam.{extension}"));
    let websocket = place("flv").replace("http://", "ws://");
    let mut latencies = Vec::new();
    for (name, url) in
        [("mpegts-flv", place("flv")), ("mpegts-websocket", websocket), ("mpegts-ts", place("ts"))]
    {
        let playback = play::mpegts_js(&scratch, name, &url, 15);
        playback.assert_smooth(15.0, 30.0);
        latencies.push((name, playback.details.get("latency_seconds").cloned()));
    }
    println!("behind what they have: {latencies:?}");
    play::chromium_native(&scratch, "chromium-mp4", &place("mp4"), 10).assert_smooth(10.0, 30.0);
    for (name, url) in
        [("vlc-flv", place("flv")), ("vlc-ts", place("ts")), ("vlc-rtmp", server.publish_url("cam"))]
    {
        play::vlc(&scratch, name, &url, 10).assert_smooth(10.0, 30.0);
    }
}

#[test]
fn a_frame_is_out_as_soon_as_it_is_in() {
    let scratch = Scratch::new("continuous-latency");
    let server = Headwater::start(&scratch);
    // Twelve seconds of the clip, each tag at its time.
    let tags: Vec<_> =
        hostile::tags(&media::clip()).into_iter().filter(|tag| tag.timestamp_ms < 12_000).collect();
    let mut client = RtmpClient::open(server.rtmp_port(), "cam");
    client.reach(Stage::Publishing).expect("it may publish");
    client.set_chunk_size(65_536);
    let viewer = TcpStream::connect(("127.0.0.1", server.http_port())).expect("it accepts");
    viewer.set_nodelay(true).expect("TCP_NODELAY");
    (&viewer).write_all(b"GET /live/cam.flv HTTP/1.1\r\nHost: test\r\n\r\n").expect("a request");
    let seen = std::thread::spawn(move || arrivals(viewer));

    let began = Instant::now();
    let mut sent = Vec::new();
    for tag in &tags {
        std::thread::sleep(
            Duration::from_millis(u64::from(tag.timestamp_ms)).saturating_sub(began.elapsed()),
        );
        client.clock_ms = 0;
        client.send_media(std::slice::from_ref(tag));
        // Configurations and metadata are no frames.
        let is_frame = tag.kind != headwater_flv::TagKind::Data && tag.body.get(1) == Some(&1);
        if is_frame {
            sent.push((tag.body.len(), Instant::now()));
        }
    }
    std::thread::sleep(Duration::from_millis(200));
    drop(client);
    // The last word is a lost publisher's: the viewer's connection is cut here.
    let mut server = server;
    server.process.stop();
    let seen = seen.join().expect("the viewer reads");
    // The first second has the join in it.
    let mut delays: Vec<Duration> = sent
        .iter()
        .rev()
        .zip(seen.iter().rev())
        .take(sent.len() * 9 / 10)
        .map(|((sent_size, sent), (seen_size, seen))| {
            assert!(sent_size.abs_diff(*seen_size) < 64, "{sent_size} became {seen_size}");
            seen.saturating_duration_since(*sent)
        })
        .collect();
    delays.sort_unstable();
    let at = |percent: usize| delays[(delays.len() - 1) * percent / 100];
    println!("frame in to frame out: p50 {:?}, p99 {:?} of {} frames", at(50), at(99), delays.len());
    assert!(delays.len() > 800 && at(50) < Duration::from_millis(2), "p50 {:?}", at(50));
}

/// Body size of each frame's tag, and when the last of its bytes came.
fn arrivals(mut viewer: TcpStream) -> Vec<(usize, Instant)> {
    let (mut raw, mut body, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = vec![0; 64 << 10];
    let mut has_head = false;
    while let Ok(count) = viewer.read(&mut buffer) {
        if count == 0 {
            break;
        }
        let now = Instant::now();
        raw.extend_from_slice(&buffer[..count]);
        if !has_head {
            let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            raw.drain(..end + 4);
            has_head = true;
        }
        // Whole chunks of HTTP, then whole tags of FLV.
        while let Some(line) = raw.windows(2).position(|two| two == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&raw[..line]).expect("a size"), 16)
                .expect("a size");
            if raw.len() < line + size + 4 {
                break;
            }
            body.extend_from_slice(&raw[line + 2..line + 2 + size]);
            raw.drain(..line + size + 4);
        }
        if body.starts_with(b"FLV") {
            body.drain(..13);
        }
        while let [kind, a, b, c, ..] = body[..] {
            let size = u32::from_be_bytes([0, a, b, c]) as usize;
            if body.len() < size + 15 {
                break;
            }
            if kind != 18 && body[12] == 1 {
                seen.push((size, now));
            }
            body.drain(..size + 15);
        }
    }
    seen
}

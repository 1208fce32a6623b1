//! What a server is told to carry at most, and what those meet who ask for more: a reason, and nobody else is disturbed.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use headwater_flv::{Tag, TagKind};
use headwater_tests::hostile::{Server, tags};
use headwater_tests::hostile_http::Peer;
use headwater_tests::rtmp_client::{Heard, RtmpClient, Stage};
use headwater_tests::server::{fetch, try_fetch};
use headwater_tests::{Scratch, media, wait_for};

/// A connection that is to end has ended within this: a second of lingering, and a slow machine.
const CLOSED: Duration = Duration::from_secs(12);

/// The server has noticed that a publisher came or went.
const NOTICED: Duration = Duration::from_secs(10);

/// Asks to publish and returns what is heard.
fn ask(server: &Server, name: &str) -> (RtmpClient, Heard) {
    let mut client = RtmpClient::open(server.rtmp, name);
    client.reach(Stage::Created).unwrap_or_else(|failure| panic!("{name}: {failure}"));
    client.ask_to_publish(client.stream_id);
    let heard = client.status().unwrap_or_else(|failure| panic!("{name}: {failure}"));
    (client, heard)
}

fn is_waiting(server: &Server, name: &str) -> bool {
    server.stream(name).is_some_and(|stream| stream["publisher"].is_null())
}

#[test]
fn a_stream_beyond_max_streams_is_refused_and_the_others_stay() {
    let scratch = Scratch::new("limits-streams");
    let variables = [("LIMITS__MAX_STREAMS", "2"), ("PUBLISH__GRACE", "1m"), ("PUBLISH__END_DELAY", "0s")];
    let server = Server::start(&scratch, "headwater", &variables, "");
    let (_first, heard) = ask(&server, "first");
    assert_eq!(heard.code, "NetStream.Publish.Start");
    let (second, heard) = ask(&server, "second");
    assert_eq!(heard.code, "NetStream.Publish.Start");

    let refused = |name: &str| {
        let (mut client, heard) = ask(&server, name);
        assert_eq!((heard.level.as_str(), heard.code.as_str()), ("error", "NetStream.Publish.BadName"));
        let reason = "this server carries its maximum of 2 streams (limits.max_streams)";
        assert_eq!(heard.description, reason);
        assert!(client.closes_within(CLOSED), "still open");
        assert!(server.stream(name).is_none(), "a refused name leaves nothing behind");
    };
    refused("third");

    // Lost, not ended: the name is kept for its publisher, and nobody else gets the place.
    second.hang_up();
    wait_for("the second stream to wait", NOTICED, || is_waiting(&server, "second").then_some(()));
    refused("third");
    let (second, heard) = ask(&server, "second");
    assert_eq!(heard.code, "NetStream.Publish.Start", "{heard:?}");

    // Ended without a segment, so forgotten at once: there is room.
    second.leave();
    wait_for("the second stream to be forgotten", NOTICED, || {
        server.stream("second").is_none().then_some(())
    });
    let (_third, heard) = ask(&server, "third");
    assert_eq!(heard.code, "NetStream.Publish.Start", "{heard:?}");
    let first = server.stream("first").expect("the first stream is there");
    assert_eq!((first["counters"]["sessions"].as_u64(), first["publisher"].is_null()), (Some(0), false));
}

fn count(value: &serde_json::Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a count: {value}"))
}

#[test]
fn a_publisher_that_needs_too_much_is_refused_and_the_others_stay() {
    let scratch = Scratch::new("limits-bytes");
    let server = Server::start(&scratch, "headwater", &[("LIMITS__MAX_BYTES_PER_STREAM", "3MiB")], "");
    let tags = tags(&media::plain());
    let (mut healthy, _) = ask(&server, "healthy");
    healthy.send_media(&tags);

    // The clock of this one stands still, so no segment ever ends.
    let (mut client, heard) = ask(&server, "standing");
    assert_eq!(heard.code, "NetStream.Publish.Start");
    let mark = server.log_mark();
    let first: Vec<Tag> = tags.iter().filter(|tag| tag.timestamp_ms == 0).cloned().collect();
    client.send_media(&first);
    let is_keyframe = |tag: &&Tag| tag.kind == TagKind::Video && tag.body.starts_with(&[0x17, 1]);
    let keyframe = tags.iter().find(is_keyframe).expect("a keyframe");
    // 3 MiB in each of two packagings are fewer than these; what comes after the refusal is not read.
    for _ in 0..(8 << 20) / keyframe.body.len() {
        client.video(&keyframe.body);
    }
    let heard = client.status().expect("a reason");
    let reason =
        "the stream needs more than the 3MiB of memory that it may hold (limits.max_bytes_per_stream)";
    assert_eq!((heard.level.as_str(), heard.description.as_str()), ("error", reason));
    assert!(client.closes_within(CLOSED), "still open");
    let warnings = server.warnings(mark, client.local_port(), 1);
    assert!(matches!(warnings.as_slice(), [line] if line.contains(reason)), "{warnings:?}");

    wait_for("the healthy stream's media", NOTICED, || {
        let stream = server.stream("healthy")?;
        (count(&stream["counters"]["video_samples"]) >= 100).then_some(())
    });
    let stream = server.stream("healthy").expect("it is there");
    assert!(!stream["publisher"].is_null(), "{stream}");
    assert_eq!(stream["counters"]["evicted_for_memory"], 0);
    assert!(count(&stream["memory_bytes"]) > 500_000, "{stream}");
    assert_eq!(try_fetch(&server.watch_url("healthy")).map(|answer| answer.status), Some(200));
}

/// What a padded keyframe adds: more than the sockets of a client that reads nothing hold.
const PADDING_BYTES: usize = 2 << 20;

/// The clip with large keyframes: one more slice in each; nobody decodes it.
fn heavy_clip() -> Vec<Tag> {
    let mut tags = tags(&media::plain());
    let slice = [&(PADDING_BYTES as u32).to_be_bytes()[..], &[0x65], &vec![0xAA; PADDING_BYTES - 1]].concat();
    for tag in tags.iter_mut().filter(|tag| tag.body.starts_with(&[0x17, 1])) {
        tag.body = [&tag.body[..], &slice].concat().into();
    }
    tags
}

/// The segments' paths in the playlist, oldest first.
fn listed(server: &Server) -> Vec<String> {
    let playlist = fetch(&server.http_url("/live/heavy/ts/media.m3u8")).text();
    let names = playlist.lines().filter(|line| line.ends_with(".ts"));
    names.map(|name| format!("/live/heavy/ts/{name}")).collect()
}

#[test]
fn slow_readers_of_the_oldest_segments_are_cut_off_first() {
    let scratch = Scratch::new("limits-readers");
    let variables = [
        ("LIMITS__MAX_BYTES_PER_STREAM", "32MiB"),
        ("PACKAGING__WINDOW", "6s"),
        ("PUBLISH__PACE", "false"),
        ("OUTPUTS__LLHLS", "false"),
        ("OUTPUTS__DASH", "false"),
    ];
    let server = Server::start(&scratch, "headwater", &variables, "");
    let clip = heavy_clip();
    let (mut publisher, _) = ask(&server, "heavy");
    publisher.set_chunk_size(64 << 10);
    publisher.send_media(&clip);
    let oldest = wait_for("segments", NOTICED, || {
        try_fetch(&server.http_url("/live/heavy/ts/media.m3u8")).filter(|answer| answer.status == 200)?;
        Some(listed(&server)).filter(|listed| listed.len() >= 3)
    });
    let slow = |path: &str| {
        let peer = Peer::narrow(Ipv4Addr::LOCALHOST, server.http).expect("a connection");
        peer.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("a request");
        peer
    };
    let requests = || count(&server.playback()["requests"]);
    let before = requests();
    let (first, second) = (slow(&oldest[0]), slow(&oldest[1]));
    wait_for("both requests", NOTICED, || (requests() >= before + 2).then_some(()));

    // Four segments of 2 MiB with each pass: the first ones leave to make room, but for who still sends them.
    for _ in 0..4 {
        publisher.send_media(&clip);
    }
    let cut = || count(&server.playback()["closed_for_memory"]);
    wait_for("the slow readers' end", NOTICED, || (cut() >= 2).then_some(()));
    for peer in [&first, &second] {
        wait_for("a reset", NOTICED, || peer.is_reset().then_some(()));
    }
    assert_eq!(cut(), 2);

    // A reader of what is still kept has all the time it may have.
    let newest = listed(&server).pop().expect("a segment");
    let before = requests();
    let third = slow(&newest);
    wait_for("the request", NOTICED, || (requests() > before).then_some(()));
    publisher.send_media(&clip);
    wait_for("the pass", NOTICED, || (listed(&server).last() != Some(&newest)).then_some(()));
    let answers = third.read_answers(1, CLOSED).expect("the whole segment");
    assert!(answers.iter().all(|answer| answer.body.len() > PADDING_BYTES));

    let stream = server.stream("heavy").expect("it is there");
    assert!(!stream["publisher"].is_null(), "the publisher was left alone: {stream}");
    assert!(count(&stream["counters"]["evicted_for_memory"]) >= 4, "{stream}");
    assert!(count(&stream["memory_bytes"]) <= 32 << 20, "{stream}");
    assert_eq!(cut(), 2);
}

#[test]
fn a_publisher_over_max_bitrate_is_slowed_and_loses_nothing() {
    /// 2 Mbit/s.
    const BYTES_PER_SECOND: f64 = 250_000.0;
    /// The bucket, and the read that passes it.
    const BURST_BYTES: f64 = 4.0 * BYTES_PER_SECOND + 65_536.0;
    let scratch = Scratch::new("limits-rate");
    let variables = [("RTMP__MAX_BITRATE", "2Mbit/s"), ("PUBLISH__PACE", "false")];
    let server = Server::start(&scratch, "headwater", &variables, "");
    let clip = tags(&media::plain());
    let pictures =
        clip.iter().filter(|tag| tag.kind == TagKind::Video && tag.body.get(1) == Some(&1)).count();
    let started = Instant::now();
    let (mut publisher, _) = ask(&server, "fast");
    publisher.set_chunk_size(64 << 10);
    // 1.6 MB, which the sockets hold: what has been taken of them is the server's choice.
    for _ in 0..3 {
        publisher.send_media(&clip);
    }
    let bytes = || server.stream("fast").map(|stream| count(&stream["publisher"]["bytes"]));
    let mut seen = Vec::new();
    wait_for("the rest", Duration::from_secs(30), || {
        let bytes = bytes()?;
        let most = BURST_BYTES + started.elapsed().as_secs_f64() * BYTES_PER_SECOND;
        assert!(bytes as f64 <= most, "{bytes} bytes were read, {most} may be");
        seen.push(bytes);
        (bytes > 1_600_000).then_some(())
    });
    assert!(seen.len() > 2, "all at once: {seen:?}");
    publisher.leave();
    let packaged = || server.stream("fast").map(|stream| count(&stream["counters"]["video_samples"]));
    wait_for("all pictures", NOTICED, || packaged().filter(|packaged| *packaged == 3 * pictures as u64));
}

//! Hostile publishers: each is refused clearly or tolerated, memory stays bounded, and a healthy stream beside them plays on.
#![expect(clippy::print_stdout, reason = "a look at the figures of a run")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater_tests::follow::{Recording, follow};
use headwater_tests::hostile::cases::{self, Clip};
use headwater_tests::hostile::mutants::{Random, mutant};
use headwater_tests::hostile::row::{self, CLOSED, ends};
use headwater_tests::hostile::{Server, tags};
use headwater_tests::rtmp_client::{Heard, RtmpClient, Stage};
use headwater_tests::server::try_fetch;
use headwater_tests::{Scratch, judge, media, publish, wait_for};

/// Short, so that silent connections end within the test; long enough for real encoders beside a compiler.
const HANDSHAKE_TIMEOUT: &str = "2s";

/// A peer that takes no answer is cut off after 10 s without progress; filling the sockets' buffers comes before that.
const DEAF_CLOSED: Duration = Duration::from_secs(60);

/// Most memory that the server may ever have held, where it held 46 MiB: about 60 streams of half a megabyte that stay for a
/// minute, 16 MiB of unfinished messages while they grow, and the process itself.
const PEAK_BYTES_MAX: u64 = 128 << 20;

/// Connections from loopback in the flood test.
const PER_ADDRESS: usize = 48;

/// Connections of the flood.
const FLOOD: usize = 70;

/// Publishers with turned bits.
const MUTANTS: u32 = 16;

/// The stream that must not notice anything.
const HEALTHY: &str = "healthy";

#[test]
fn hostile_publishers_beside_a_healthy_stream() {
    let scratch = Scratch::new("hostile");
    let per_address = PER_ADDRESS.to_string();
    let variables = [
        ("RTMP__HANDSHAKE_TIMEOUT", HANDSHAKE_TIMEOUT),
        ("RTMP__MAX_CONNECTIONS_PER_ADDRESS", per_address.as_str()),
        ("PUBLISH__TAKEOVER", "refuse"),
        ("PUBLISH__GRACE", "1s"),
        ("PUBLISH__END_DELAY", "500ms"),
    ];
    let server = Server::start(&scratch, "headwater", &variables, "");
    let mark = server.log_mark();
    let url = format!("rtmp://127.0.0.1:{}/live/{HEALTHY}", server.rtmp);
    let mut healthy = publish::ffmpeg(&scratch, "healthy", &media::clip(), 60, &url);
    wait_for("the healthy stream", Duration::from_secs(30), || {
        try_fetch(&server.watch_url(HEALTHY)).filter(|answer| answer.status == 200)
    });
    let clip = Clip::load();
    let mut failures = Vec::new();
    let give_up = AtomicBool::new(false);
    let recording = std::thread::scope(|scope| {
        let follower =
            scope.spawn(|| follow(&server.watch_url(HEALTHY), |_| give_up.load(Ordering::Relaxed)));
        let deaf = scope.spawn(|| deaf_publisher(&server));
        for case in cases::all(HEALTHY) {
            let started = Instant::now();
            if let Err(failure) = row::run(&server, &case, &clip, "") {
                failures.push(format!("{}: {failure}", case.name));
            }
            println!("{:>6} ms  {}", started.elapsed().as_millis(), case.name);
        }
        failures.extend(mutants(&server, &clip).err());
        failures.extend(garbage(&server).err());
        failures.extend(deaf.join().expect("the deaf publisher").err());
        failures.extend(truncated_handshakes(&server).err());
        failures.extend(flood(&server).err());
        failures.extend(plays_on(&server).err());
        healthy.stop();
        // The follower ends with the playlist, which is to end soon now.
        let ended = Instant::now() + Duration::from_secs(15);
        while !follower.is_finished() && Instant::now() < ended {
            std::thread::sleep(Duration::from_millis(100));
        }
        give_up.store(true, Ordering::Relaxed);
        follower.join().expect("the follower")
    });
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));

    played_without_a_gap(&recording);
    let log = server.process.log();
    assert!(!log.contains("panicked"), "a panic:\n{log}");
    let healthy_port = publisher_port(&log).expect("the log tells who published the healthy stream");
    assert_eq!(server.warnings(mark, healthy_port, 0), Vec::<String>::new());
    assert_eq!(try_fetch(&server.admin_url("/healthz")).map(|answer| answer.status), Some(200));
    let peak = server.memory_bytes("VmHWM");
    println!("the server held {} MiB at most", peak >> 20);
    assert!(peak <= PEAK_BYTES_MAX, "the server held {} MiB", peak >> 20);
}

/// The port of the healthy stream's publisher, from its line in the log.
fn publisher_port(log: &str) -> Option<u16> {
    let wanted = format!("stream=\"{HEALTHY}\"}}");
    let line = log.lines().find(|line| line.contains(&wanted) && line.contains(": publishing "))?;
    line.split("peer=127.0.0.1:").nth(1)?.split(' ').next()?.parse().ok()
}

/// The healthy stream, as its viewer saw it.
fn played_without_a_gap(recording: &Recording) {
    assert!(recording.ended, "the end was announced");
    judge::playlists(recording);
    assert!(recording.segments.values().all(|segment| !segment.discontinuity), "a discontinuity");
    let report = judge::transport_stream(recording);
    // 30 pictures a second: as many as the playlists' durations promise.
    let (pictures, seconds) = (report.video().count() as f64, recording.seconds());
    assert!((pictures / 30.0 - seconds).abs() < 0.1, "{pictures} pictures in {seconds} s");
    println!("the healthy stream: {seconds} s, {pictures} pictures, {} versions", recording.versions.len());
}

/// The healthy stream is still the first session of its publisher, and makes segments.
fn plays_on(server: &Server) -> Result<(), String> {
    let last = || server.stream(HEALTHY).and_then(|stream| stream["media_sequence_last"].as_u64());
    let before = last().ok_or("the healthy stream is gone")?;
    wait_for("two more segments of the healthy stream", Duration::from_secs(20), || {
        last().filter(|now| *now >= before + 2)
    });
    let stream = server.stream(HEALTHY).ok_or("the healthy stream is gone")?;
    if stream["counters"]["sessions"] != 1 || stream["state"] != "live" {
        return Err(format!("the healthy stream was disturbed: {stream}"));
    }
    Ok(())
}

/// A publisher that forces answers and never reads one.
fn deaf_publisher(server: &Server) -> Result<(), String> {
    let mark = server.log_mark();
    let mut client = RtmpClient::open(server.rtmp, "deaf");
    client.reach(Stage::Publishing)?;
    let started = Instant::now();
    // A type 0 header once, then type 3: 7 bytes of question for each answer.
    let first = [&[10, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0][..], &[0, 6, 0, 0, 0, 1]].concat();
    client.send(&first);
    let more = [0xC0 | 10, 0, 6, 0, 0, 0, 1].repeat(10_000);
    while client.try_send(&more) {
        if started.elapsed() > DEAF_CLOSED {
            return Err("a deaf publisher is served for ever".to_owned());
        }
    }
    let port = client.local_port();
    client.hang_up();
    match server.warnings(mark, port, 1).as_slice() {
        [line] if line.contains("did not take an answer") || line.contains("replies wait") => Ok(()),
        other => Err(format!("the deaf publisher's end: {other:?}")),
    }
}

/// Whole publications with turned bits: whatever comes of them, the connection comes to its end when the peer goes.
fn mutants(server: &Server, clip: &Clip) -> Result<(), String> {
    for seed in 1..=MUTANTS {
        let mark = server.log_mark();
        let mut client = RtmpClient::open(server.rtmp, "mutant");
        let port = client.local_port();
        client.send(&mutant(seed, clip));
        client.hang_up();
        let warnings = server.warnings(mark, port, 0);
        if warnings.len() > 1 {
            return Err(format!("mutant {seed}: more than one line: {warnings:#?}"));
        }
    }
    Ok(())
}

/// Random bytes after the handshake never last longer than the time to connect.
fn garbage(server: &Server) -> Result<(), String> {
    let mut random = Random(0xC0FF_EE01);
    let mut clients = Vec::new();
    for _ in 0..12 {
        let mark = server.log_mark();
        let mut client = RtmpClient::open(server.rtmp, "garbage");
        client.reach(Stage::Shaken)?;
        client.send(&random.bytes(32 << 10));
        clients.push((mark, client));
    }
    for (mark, mut client) in clients {
        ends(&mut client)?;
        let warnings = server.warnings(mark, client.local_port(), 1);
        if warnings.len() != 1 {
            return Err(format!("garbage: not one line: {warnings:#?}"));
        }
    }
    Ok(())
}

/// Handshakes that stop at every kind of place: while the peer waits, until the timeout; when it leaves, at once.
fn truncated_handshakes(server: &Server) -> Result<(), String> {
    let whole: Vec<u8> = [3].into_iter().chain(Random(7).bytes(2 * 1536)).collect();
    let lengths = [0, 1, 2, 4, 5, 8, 9, 12, 773, 1000, 1536, 1537, 1538, 2000, 3072];
    let mark = server.log_mark();
    let mut waiting = Vec::new();
    for length in lengths {
        let part = whole.get(..length).unwrap_or_default();
        let mut client = RtmpClient::open(server.rtmp, "half-open");
        client.send(part);
        waiting.push((length, client));
        let mut leaving = RtmpClient::open(server.rtmp, "half-gone");
        leaving.send(part);
        leaving.hang_up();
    }
    for (length, mut client) in waiting {
        ends(&mut client).map_err(|failure| format!("handshake of {length} bytes: {failure}"))?;
        match server.warnings(mark, client.local_port(), 1).as_slice() {
            [line] if line.contains("no handshake in time") => {}
            other => return Err(format!("handshake of {length} bytes: {other:?}")),
        }
    }
    Ok(())
}

/// More connections than one address may have: those beyond are refused at once, the others when their time is over.
fn flood(server: &Server) -> Result<(), String> {
    let mark = server.log_mark();
    let mut clients: Vec<_> = (0..FLOOD).map(|_| RtmpClient::open(server.rtmp, "flood")).collect();
    let mut refused = 0;
    for client in &mut clients {
        ends(client).map_err(|failure| format!("flood: {failure}"))?;
        match server.warnings(mark, client.local_port(), 1).as_slice() {
            [line] if line.contains("too many RTMP connections") => refused += 1,
            [line] if line.contains("no handshake in time") => {}
            other => return Err(format!("flood: {other:?}")),
        }
    }
    // The healthy publisher has a connection too.
    if refused <= FLOOD - PER_ADDRESS {
        return Err(format!("{refused} of {FLOOD} connections were refused"));
    }
    // And there is room again, as soon as the server has noticed that they are gone.
    drop(clients);
    wait_for("room for another publisher", CLOSED, || {
        RtmpClient::open(server.rtmp, "after-the-flood").reach(Stage::Publishing).ok()
    });
    Ok(())
}

/// Keys are asked for where loopback is not trusted, and never shown.
#[test]
fn publish_keys() {
    const GENERAL: &str = "general-secret-0123";
    const OF_CAM: &str = "secret-of-cam-4567";
    const WRONG: &str = "wrong-secret-89ab";
    let scratch = Scratch::new("hostile-keys");
    let file = format!(
        "[[publish.keys]]\nkey = \"{GENERAL}\"\n[[publish.keys]]\nkey = \"{OF_CAM}\"\napp = \"live\"\nstream = \"cam\"\n"
    );
    let variables = [("PUBLISH__LOOPBACK_TRUSTED", "false"), ("LOG__LEVEL", "trace")];
    let server = Server::start(&scratch, "keys", &variables, &file);
    let denied = |says: &str| (false, says.to_owned());
    let published = |stream: &str| (true, stream.to_owned());
    let rows = [
        ("no key", "live", "one".to_owned(), denied("publishing needs a key")),
        ("an empty key", "live", "one?key=".to_owned(), denied("the publish key is wrong")),
        ("a wrong key", "live", format!("one?key={WRONG}"), denied("the publish key is wrong")),
        ("another stream's key", "live", format!("one?key={OF_CAM}"), denied("the publish key is wrong")),
        ("another app's key", "tv", format!("cam?key={OF_CAM}"), denied("the publish key is wrong")),
        ("a wrong key alone", "live", WRONG.to_owned(), denied("publishing needs a key")),
        ("a general key alone", "live", GENERAL.to_owned(), denied("publishing needs a key")),
        ("a key", "live", format!("two?key={GENERAL}"), published("two")),
        ("a key after other parameters", "live", format!("three?a=b&key={GENERAL}"), published("three")),
        ("a key in the app", &format!("live?key={GENERAL}"), "four".to_owned(), published("four")),
        ("the stream's key", "live", format!("cam?key={OF_CAM}"), published("cam")),
        ("the stream's key alone", "live", OF_CAM.to_owned(), published("cam")),
    ];
    for (case, app, name, (accepted, expected)) in rows {
        let mut client = RtmpClient::open(server.rtmp, &name);
        app.clone_into(&mut client.app);
        client.reach(Stage::Created).unwrap_or_else(|failure| panic!("{case}: {failure}"));
        client.ask_to_publish(client.stream_id);
        let Heard { level, code, description } =
            client.status().unwrap_or_else(|failure| panic!("{case}: {failure}"));
        if accepted {
            assert_eq!(code, "NetStream.Publish.Start", "{case}: {description}");
            let stream = server.stream(&expected).unwrap_or_else(|| panic!("{case}: no stream {expected}"));
            assert!(!stream["publisher"].is_null(), "{case}: {stream}");
            client.leave();
        } else {
            assert_eq!((level.as_str(), code.as_str()), ("error", "NetStream.Publish.Denied"), "{case}");
            assert!(description.contains(&expected), "{case}: {description}");
            assert!(client.closes_within(CLOSED), "{case}: still open");
        }
    }
    let told = server.process.log() + &server.streams().to_string();
    for secret in [GENERAL, OF_CAM, WRONG] {
        let found = told.lines().find(|line| line.contains(secret));
        assert!(found.is_none(), "a secret is shown: {found:?}");
    }
    assert!(told.contains("publishing"), "the log was looked at: {told}");
}

/// Publications of a wave, half of the same name, half of different ones.
const CYCLES: usize = 100;

/// Ended streams stay for a minute, for viewers who are not done with them.
const FORGOTTEN: Duration = Duration::from_secs(90);

/// What the second wave may leave behind that the first did not: fifty streams of a second each are many times that.
const CHURN_BYTES_MAX: u64 = 6 << 20;

/// Two hundred publications with pictures come and go, and leave nothing behind. The first wave tells what the allocator keeps.
#[test]
fn churn_leaves_nothing_behind() {
    let scratch = Scratch::new("hostile-churn");
    let variables = [("PUBLISH__GRACE", "200ms"), ("PUBLISH__END_DELAY", "0s")];
    // What an allocator keeps for each thread that once was busy is none of this test's business.
    let server = Server::start_in(&scratch, "churn", &variables, "", &[("MALLOC_ARENA_MAX", "1")]);
    let tags = tags(&media::plain());
    // The first second: a keyframe and the pictures after it, so that every stream has a segment.
    let second: Vec<_> = tags.into_iter().filter(|tag| tag.timestamp_ms < 1_000).collect();
    let cycle = |number: usize| {
        let name = if number.is_multiple_of(2) { "same".to_owned() } else { format!("other-{number}") };
        let mut client = RtmpClient::open(server.rtmp, &name);
        client.reach(Stage::Publishing).unwrap_or_else(|failure| panic!("cycle {number}: {failure}"));
        client.send_media(&second);
        // Every other pair says goodbye, the rest are gone.
        if number % 4 < 2 { client.leave() } else { client.hang_up() }
    };
    let wave = |numbers: std::ops::Range<usize>| {
        numbers.for_each(cycle);
        let streams = server.streams().as_array().map_or(0, Vec::len);
        println!("{streams} streams, {} MiB at most", server.memory_bytes("VmHWM") >> 20);
        assert!(streams <= CYCLES / 2 + 1, "{streams} streams of {} names", CYCLES / 2 + 1);
        wait_for("all streams to be forgotten", FORGOTTEN, || {
            server.streams().as_array().is_some_and(Vec::is_empty).then_some(())
        });
        server.memory_bytes("VmRSS")
    };
    let before = server.memory_bytes("VmRSS");
    let first = wave(0..CYCLES);
    let second = wave(CYCLES..2 * CYCLES);
    println!("{before} bytes before, {first} after the first wave, {second} after the second");
    assert!(
        second <= first + CHURN_BYTES_MAX,
        "{first} bytes after the first wave, {second} after the second"
    );
    assert!(!server.process.log().contains("panicked"));
}

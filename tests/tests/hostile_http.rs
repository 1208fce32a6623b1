//! Hostile viewers: each is refused clearly or tolerated, memory stays bounded, and a healthy stream beside them plays on.
#![expect(clippy::print_stdout, reason = "a look at the figures of a run")]

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater_tests::follow::{Recording, follow};
use headwater_tests::hostile::mutants::Random;
use headwater_tests::hostile::{Server, tags};
use headwater_tests::hostile_http::cases::{self, PROBE, Targets};
use headwater_tests::hostile_http::row::{self, CLOSED};
use headwater_tests::hostile_http::{Peer, answers};
use headwater_tests::rtmp_client::{RtmpClient, Stage};
use headwater_tests::server::{fetch, try_fetch};
use headwater_tests::{Scratch, judge, media, publish, wait_for};

/// Deadlines of the server, as short as a machine that compiles beside it allows an honest viewer.
const DEADLINES: [(&str, &str); 4] = [
    ("HTTP__FIRST_BYTE_TIMEOUT", "4s"),
    ("HTTP__HEADER_TIMEOUT", "2s"),
    ("HTTP__WRITE_STALL_TIMEOUT", "2s"),
    ("HTTP__RESPONSE_TIMEOUT", "30s"),
];

/// The same for a connection that is to end by `http.response_timeout`.
const RESPONSE_CLOSED: Duration = Duration::from_secs(50);

/// Connections that one address may have.
const PER_ADDRESS: usize = 320;

/// Connections of the flood.
const FLOOD: usize = 400;

/// Of each kind of slow client, at the same time.
const SLOW: usize = 100;

/// Clients that vanish, of each kind.
const VANISHING: usize = 50;

/// Names that don't exist.
const NAMES: usize = 20_000;

/// Requests sent before an answer is read.
const PIPELINED: usize = 100;

/// What asking for names that don't exist may leave behind: what the allocator keeps, 400 bytes a name at most.
const NAMES_BYTES_MAX: u64 = 8 << 20;

/// The large segment's payload: larger than all that sockets hold, and than a slow reader takes until it is cut off.
const LARGE_BYTES: usize = 8 << 20;

/// Most memory that the server may ever have held: the large stream a few times over while it is published (message,
/// sample, two packagings), some 20 KiB for each connection, and the process itself. It held 38 MiB.
const PEAK_BYTES_MAX: u64 = 96 << 20;

/// The stream that must not notice anything.
const HEALTHY: &str = "healthy";

/// The healthy stream's viewers come from 127.0.0.1, each kind of attacker from an address of its own.
const CASES: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SLOW_ONES: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const SLOW_READER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);
const VANISHING_ONES: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
const FLOODING: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
const ASKING: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);

/// What one kind of attacker does; what is wrong with what came of it.
type Attack<'a> = &'a dyn Fn() -> Result<(), String>;

#[test]
fn hostile_viewers_beside_a_healthy_stream() {
    let scratch = Scratch::new("hostile-http");
    let per_address = PER_ADDRESS.to_string();
    let mut variables = DEADLINES.to_vec();
    variables.push(("HTTP__MAX_CONNECTIONS_PER_ADDRESS", &per_address));
    variables.push(("PUBLISH__END_DELAY", "500ms"));
    variables.push(("LOG__LEVEL", "info,headwater_origin::http=debug"));
    let server = Server::start(&scratch, "headwater", &variables, "");
    let url = format!("rtmp://127.0.0.1:{}/live/{HEALTHY}", server.rtmp);
    let mut healthy = publish::ffmpeg(&scratch, "healthy", &media::clip(), 60, &url);
    let large = publish_large(&server);
    let targets = wait_for("the healthy stream", Duration::from_secs(30), || row::targets(&server, HEALTHY));
    let mut failures = Vec::new();
    let give_up = AtomicBool::new(false);
    let recording = std::thread::scope(|scope| {
        let follower =
            scope.spawn(|| follow(&server.watch_url(HEALTHY), |_| give_up.load(Ordering::Relaxed)));
        let slow_reader = scope.spawn(|| slow_reader(&server, &large));
        let slow_ones = scope.spawn(|| slow_ones(&server, &large));
        let started = Instant::now();
        failures.extend(table(&server, &targets));
        println!("{:>6} ms  the table", started.elapsed().as_millis());
        failures.extend(slow_ones.join().expect("the slow ones").err());
        let attacks: [(&str, Attack<'_>); 4] = [
            ("content without end", &|| endless_content(&server)),
            ("vanishing clients", &|| vanishing(&server, &large)),
            ("flood", &|| flood(&server, &targets)),
            ("names that don't exist", &|| unknown_names(&server)),
        ];
        for (name, attack) in attacks {
            let started = Instant::now();
            failures.extend(attack().err().map(|failure| format!("{name}: {failure}")));
            println!("{:>6} ms  {name}", started.elapsed().as_millis());
        }
        failures.extend(slow_reader.join().expect("the slow reader").err());
        failures.extend(only_viewers_are_left(&server).err());
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
    for sign in ["panicked", " ERROR ", " WARN "] {
        let line = log.lines().find(|line| line.contains(sign));
        assert!(line.is_none(), "{line:?}");
    }
    assert_eq!(try_fetch(&server.admin_url("/healthz")).map(|answer| answer.status), Some(200));
    let peak = server.memory_bytes("VmHWM");
    println!("the server held {} MiB at most", peak >> 20);
    assert!(peak <= PEAK_BYTES_MAX, "the server held {} MiB", peak >> 20);
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

/// A stream that has ended, with a segment of [`LARGE_BYTES`] and more; that segment's path.
fn publish_large(server: &Server) -> String {
    let mut tags = tags(&media::plain());
    let keyframe = tags.iter_mut().find(|tag| tag.body.starts_with(&[0x17, 1])).expect("a keyframe");
    // One more slice of an IDR picture; nobody decodes it.
    let slice = [&(LARGE_BYTES as u32).to_be_bytes()[..], &[0x65], &vec![0xAA; LARGE_BYTES - 1]].concat();
    keyframe.body = [&keyframe.body[..], &slice].concat().into();
    let mut client = RtmpClient::open(server.rtmp, "large");
    client.reach(Stage::Publishing).expect("a publication");
    client.set_chunk_size(64 << 10);
    client.send_media(&tags);
    client.leave();
    let playlist = wait_for("the large stream", Duration::from_secs(30), || {
        let answer = try_fetch(&server.http_url("/live/large/ts/media.m3u8"))?;
        (answer.status == 200).then(|| answer.text())
    });
    let first = playlist.lines().find(|line| line.ends_with(".ts")).expect("a segment");
    let path = format!("/live/large/ts/{first}");
    let bytes = fetch(&server.http_url(&path)).body.len();
    assert!(bytes > LARGE_BYTES, "the large segment has {bytes} bytes");
    path
}

/// Every row of the table, whole and in pieces.
fn table(server: &Server, targets: &Targets) -> Vec<String> {
    let mut random = Random(0x0BAD_F00D);
    let mut failures = Vec::new();
    let cases = cases::all(targets);
    for case in &cases {
        let sent = [&case.sent[..], PROBE.as_bytes()].concat();
        let pieces = row::pieces(&sent, &mut random);
        for (how, pieces) in [("whole", vec![sent.as_slice()]), ("in pieces", pieces)] {
            if let Err(failure) = row::run(CASES, server.http, case, &pieces) {
                failures.push(format!("{} ({how}): {failure}", case.name));
            }
        }
    }
    println!("{} rows", cases.len());
    failures
}

/// A hundred that say nothing, a hundred that say it slowly, a hundred that take nothing, all at once.
fn slow_ones(server: &Server, large: &str) -> Result<(), String> {
    let before = server.playback();
    let (mut silent, mut trickling, mut deaf) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SLOW {
        silent.push(Peer::open(SLOW_ONES, server.http)?);
        trickling.push(Peer::open(SLOW_ONES, server.http)?);
        let peer = Peer::narrow(SLOW_ONES, server.http)?;
        // Other than one segment, these would not fill a socket.
        peer.send(request(large).repeat(3).as_bytes())?;
        deaf.push(peer);
    }
    for peer in silent.iter().chain(&trickling) {
        peer.look_only();
    }
    let head = request(large);
    let started = Instant::now();
    for byte in head.bytes().cycle_within(CLOSED, started) {
        trickling.retain(|peer| peer.send(&[byte]).is_ok());
        for (kind, peers) in [("silent", &mut silent), ("trickling", &mut trickling)] {
            let mut buffer = [0; 64];
            let mut answered = None;
            peers.retain(|peer| match peer.read(&mut buffer) {
                Ok(bytes) => {
                    answered = answered.or(bytes);
                    true
                }
                Err(_) => false,
            });
            if answered.is_some() {
                return Err(format!("a {kind} client was answered"));
            }
        }
        // What they were sent is not read: the reset shows by itself.
        deaf.retain(|peer| !peer.is_reset());
        if silent.is_empty() && trickling.is_empty() && deaf.is_empty() {
            break;
        }
        // One byte each 100 ms is the attack.
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{:>6} ms  slow clients", started.elapsed().as_millis());
    let left = (silent.len(), trickling.len(), deaf.len());
    if left != (0, 0, 0) {
        return Err(format!("slow clients that are still served (silent, trickling, deaf): {left:?}"));
    }
    let after = server.playback();
    let more = |name: &str| after[name].as_u64().unwrap_or(0) - before[name].as_u64().unwrap_or(0);
    let counted = (more("closed_without_request"), more("closed_stalled"));
    if counted < (2 * SLOW as u64, SLOW as u64) {
        return Err(format!("slow clients counted: {counted:?}"));
    }
    Ok(())
}

/// The bytes again and again until the time is over.
trait CycleWithin: Iterator<Item = u8> + Clone + Sized {
    fn cycle_within(self, bound: Duration, since: Instant) -> impl Iterator<Item = u8> {
        self.cycle().take_while(move |_| since.elapsed() < bound)
    }
}

impl<T: Iterator<Item = u8> + Clone> CycleWithin for T {}

/// A client that reads all the time, and never enough.
fn slow_reader(server: &Server, large: &str) -> Result<(), String> {
    let peer = Peer::narrow(SLOW_READER, server.http)?;
    peer.send(request(large).as_bytes())?;
    let deadline = Instant::now() + RESPONSE_CLOSED;
    let (mut received, mut buffer) = (0, [0; 2_048]);
    let ended = loop {
        match peer.read(&mut buffer) {
            Ok(bytes) => received += bytes.unwrap_or(0),
            Err(_) => break true,
        }
        if Instant::now() > deadline {
            break false;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    println!("the slow reader got {} KiB", received >> 10);
    let log = server.process.log();
    let line = log.lines().find(|line| line.contains(&format!("peer={} ", peer.name())));
    match (ended, line) {
        (true, Some(line)) if line.contains("rest=Response") && received < LARGE_BYTES => Ok(()),
        _ => Err(format!("the slow reader: {received} bytes, ended: {ended}, log: {line:?}")),
    }
}

/// Content that goes on behind its answer is read for a while, then the connection ends.
fn endless_content(server: &Server) -> Result<(), String> {
    for fields in ["Content-Length: 1000000000000", "Transfer-Encoding: chunked"] {
        let peer = Peer::open(CASES, server.http)?;
        peer.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n").as_bytes())?;
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x1_0000], b"\r\n"].concat();
        let deadline = Instant::now() + CLOSED;
        let mut sent = 0_usize;
        while peer.send(&chunk).is_ok() {
            sent += chunk.len();
            if Instant::now() > deadline {
                return Err(format!("{fields}: {sent} bytes were taken, and no end"));
            }
        }
        println!("{fields}: {} KiB were sent", sent >> 10);
    }
    Ok(())
}

/// Clients that close half of the connection, or all of it, at every bad moment.
fn vanishing(server: &Server, large: &str) -> Result<(), String> {
    let half_open = [
        ("nothing", String::new(), None),
        ("an empty line", "\r\n".to_owned(), None),
        ("half a head", "GET / HTTP/1.1\r\nHo".to_owned(), None),
        ("a request", request("/time"), Some(200)),
        ("a request and a half", request("/time") + "GET /", Some(200)),
    ];
    for (name, sent, status) in half_open {
        let peer = Peer::open(VANISHING_ONES, server.http)?;
        peer.send(sent.as_bytes())?;
        peer.half_close();
        let (bytes, _) =
            peer.read_to_end(CLOSED).map_err(|failure| format!("half-open after {name}: {failure}"))?;
        let answers =
            answers(&bytes, false).map_err(|failure| format!("half-open after {name}: {failure}"))?;
        if answers.iter().map(|answer| answer.status).ne(status) {
            return Err(format!("half-open after {name}: {answers:?}"));
        }
    }
    // A client that sends a FIN while an answer is on its way has left, as far as a server can know: it waits for nothing. Of a
    // long answer it may get a piece.
    let half_gone = Peer::open(VANISHING_ONES, server.http)?;
    half_gone.send(request(large).as_bytes())?;
    half_gone.half_close();
    half_gone.read_to_end(CLOSED).map_err(|failure| format!("half-open in an answer: {failure}"))?;
    for _ in 0..VANISHING {
        Peer::open(VANISHING_ONES, server.http)?.reset();
        let before_the_answer = Peer::open(VANISHING_ONES, server.http)?;
        before_the_answer.send(request(large).as_bytes())?;
        before_the_answer.reset();
        let amid_the_answer = Peer::narrow(VANISHING_ONES, server.http)?;
        amid_the_answer.send(request(large).as_bytes())?;
        while amid_the_answer.read(&mut [0]) == Ok(None) {}
        amid_the_answer.reset();
        let closing = Peer::open(VANISHING_ONES, server.http)?;
        closing.send(request(large).as_bytes())?;
    }
    Ok(())
}

/// More connections than one address may have: those beyond are told so, the others are served, and so is everybody else.
fn flood(server: &Server, targets: &Targets) -> Result<(), String> {
    let before = server.playback()["connections_refused"].as_u64().unwrap_or(0);
    let peers = (0..FLOOD).map(|_| Peer::open(FLOODING, server.http)).collect::<Result<Vec<_>, _>>()?;
    let others = try_fetch(&server.http_url(&targets.media)).map(|answer| answer.status);
    if others != Some(200) {
        return Err(format!("another address got {others:?}"));
    }
    let (mut served, mut refused) = (0, 0);
    for peer in peers.iter().rev() {
        // One that was refused may be gone already.
        let _ = peer.send(PROBE.as_bytes());
        let (bytes, _) = peer.read_to_end(CLOSED)?;
        match answers(&bytes, false)?.as_slice() {
            [answer] if answer.status == 200 => served += 1,
            [answer] if answer.status == 503 && answer.header("retry-after") == Some("1") => {
                answer.has_the_common_headers()?;
                refused += 1;
            }
            other => return Err(format!("{other:?}")),
        }
    }
    let counted = server.playback()["connections_refused"].as_u64().unwrap_or(0) - before;
    if refused != FLOOD - PER_ADDRESS || counted != refused as u64 {
        return Err(format!("{served} served, {refused} refused, {counted} counted"));
    }
    // And there is room again.
    drop(peers);
    let deadline = Instant::now() + CLOSED;
    loop {
        let peer = Peer::open(FLOODING, server.http)?;
        let _ = peer.send(PROBE.as_bytes());
        let (bytes, _) = peer.read_to_end(CLOSED)?;
        match answers(&bytes, false)?.as_slice() {
            [answer] if answer.status == 200 => return Ok(()),
            other if Instant::now() > deadline => return Err(format!("no room afterwards: {other:?}")),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Asking for what does not exist leaves nothing behind.
fn unknown_names(server: &Server) -> Result<(), String> {
    let streams = || server.streams().as_array().map_or(0, Vec::len);
    let peer = Peer::open(ASKING, server.http)?;
    let ask = |numbers: std::ops::Range<usize>| {
        for first in numbers.step_by(PIPELINED) {
            let requests: String =
                (first..first + PIPELINED).map(|n| request(&format!("/live/none-{n}/index.m3u8"))).collect();
            peer.send(requests.as_bytes())?;
            let answers = peer.read_answers(PIPELINED, CLOSED)?;
            if let Some(other) = answers.iter().find(|answer| answer.status != 404) {
                return Err(format!("{other:?}"));
            }
        }
        Ok(())
    };
    ask(0..NAMES / 10)?;
    let before = (server.memory_bytes("VmRSS"), streams());
    ask(NAMES / 10..NAMES)?;
    let after = (server.memory_bytes("VmRSS"), streams());
    println!("{} KiB before {NAMES} names, {} KiB after", before.0 >> 10, after.0 >> 10);
    if after.0 > before.0 + NAMES_BYTES_MAX || after.1 != before.1 {
        return Err(format!("(bytes, streams) before {before:?}, after {after:?}"));
    }
    Ok(())
}

/// Once every attacker is gone, so is all that the server had for them.
fn only_viewers_are_left(server: &Server) -> Result<(), String> {
    let deadline = Instant::now() + CLOSED;
    loop {
        let status = server.playback();
        // The follower may have a connection at the moment of the look.
        if status["connections"].as_u64().is_some_and(|now| now <= 2) && status["held"] == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("somebody is left: {status}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// More connections than there may be in all, from many addresses; then there is room again.
#[test]
fn connections_in_all() {
    const MAX: usize = 64;
    const BEYOND: usize = 16;
    let scratch = Scratch::new("hostile-http-all");
    let variables = [("HTTP__MAX_CONNECTIONS", "64"), ("HTTP__FIRST_BYTE_TIMEOUT", "1m")];
    let server = Server::start(&scratch, "headwater", &variables, "");
    let from = |nth: usize| Ipv4Addr::new(127, 0, 1, u8::try_from(nth % 16).expect("a small number"));
    let open = |nth: usize| Peer::open(from(nth), server.http).unwrap_or_else(|failure| panic!("{failure}"));
    let seated: Vec<Peer> = (0..MAX).map(open).collect();
    for nth in 0..BEYOND {
        let (bytes, _) = open(nth).read_to_end(CLOSED).expect("a refusal");
        let refusal = answers(&bytes, false).expect("an answer");
        assert!(matches!(refusal.as_slice(), [answer] if answer.status == 503), "{refusal:?}");
    }
    assert_eq!(server.playback()["connections_refused"], BEYOND);
    for peer in &seated {
        peer.send(PROBE.as_bytes()).expect("a request");
        let (bytes, _) = peer.read_to_end(CLOSED).expect("an answer");
        assert!(
            matches!(answers(&bytes, false).expect("an answer").as_slice(), [answer] if answer.status == 200)
        );
    }
    drop(seated);
    wait_for("every connection gone", CLOSED, || (server.playback()["connections"] == 0).then_some(()));
    assert_eq!(try_fetch(&server.http_url("/time")).map(|answer| answer.status), Some(200));
}

//! Whoever comes and goes leaves nothing behind: thousands of publications, of one name and of many, and of requests for what does
//! not exist. The second half of the same work must cost no memory that the first did not.
#![expect(clippy::print_stdout, reason = "a look at the figures of a run")]

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use headwater_flv::{Tag, TagKind};
use headwater_tests::hostile::{Server, tags};
use headwater_tests::hostile_http::Peer;
use headwater_tests::rtmp_client::{RtmpClient, Stage};
use headwater_tests::{Scratch, media, wait_for};

/// Publications of each kind.
const CYCLES: usize = 10_000;

/// Streams at the same time.
const AT_ONCE: usize = 1_000;

/// So many times.
const ROUNDS: usize = 16;

/// Requests for names that nobody has published.
const REQUESTS: usize = 100_000;

/// Requests sent before an answer is read.
const PIPELINED: usize = 100;

/// Publishers at the same time, on the two cores of a test machine.
const PUBLISHERS: usize = 4;

/// What the second half, of 5,000, may add to the first: what an allocator does not give back. A leak of 1 KiB each is more.
const TREND_BYTES_MAX: u64 = 4 << 20;

/// Whoever has gone has been noticed.
const NOTICED: Duration = Duration::from_secs(20);

/// What is open and what is held.
#[derive(Debug, Clone, Copy)]
struct Look {
    resident_bytes: u64,
    descriptors: usize,
}

fn look(server: &Server) -> Look {
    Look { resident_bytes: server.memory_bytes("VmRSS"), descriptors: server.descriptors() }
}

/// No stream is left but so many, no connection, and no descriptor that was not there before.
fn is_over(server: &Server, streams: usize, descriptors: usize) {
    wait_for("everybody to be gone", NOTICED, || {
        let left = server.streams().as_array().map_or(usize::MAX, Vec::len);
        // The look itself is a connection, and a second one may not be closed yet.
        (left == streams && server.descriptors() <= descriptors + 1).then_some(())
    });
}

/// Does the work three times, a tenth of it as a warm-up, and compares what the halves leave behind.
fn twice(server: &Server, what: &str, streams: usize, count: usize, work: &dyn Fn(std::ops::Range<usize>)) {
    let started = Instant::now();
    let before = look(server);
    // The allocator keeps more of what it got until every size has had its most: it levels out after some ten rounds.
    let warm_up = count / 2;
    let ends = [0, warm_up, warm_up + count / 2, warm_up + count];
    let mut looks = Vec::new();
    for ends in ends.windows(2) {
        work(ends[0]..ends[1]);
        is_over(server, streams, before.descriptors);
        looks.push(look(server));
    }
    let [warm, first, second] = looks[..] else { unreachable!("three parts") };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{what}: {count} in {:.1} s; resident MiB {:.1} before, {:.1} warm, {:.1} after half, {:.1} after all",
        started.elapsed().as_secs_f64(),
        mib(before.resident_bytes),
        mib(warm.resident_bytes),
        mib(first.resident_bytes),
        mib(second.resident_bytes)
    );
    let trend = second.resident_bytes.saturating_sub(first.resident_bytes);
    assert!(trend <= TREND_BYTES_MAX, "{what}: {first:?}, {second:?}");
}

/// Does it with several publishers at a time.
fn in_parallel(numbers: std::ops::Range<usize>, work: &(dyn Fn(usize) + Sync)) {
    let next = AtomicUsize::new(numbers.start);
    std::thread::scope(|scope| {
        for _ in 0..PUBLISHERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    work(number);
                }
            });
        }
    });
}

fn publishing(server: &Server, name: &str) -> RtmpClient {
    let mut client = RtmpClient::open(server.rtmp, name);
    client.reach(Stage::Publishing).unwrap_or_else(|failure| panic!("{name}: {failure}"));
    client
}

#[test]
fn whoever_comes_and_goes_leaves_nothing_behind() {
    let scratch = Scratch::new("churn");
    let variables = [
        ("PUBLISH__GRACE", "0s"),
        ("PUBLISH__END_DELAY", "0s"),
        ("RTMP__MAX_CONNECTIONS_PER_ADDRESS", "2000"),
        // Of one name, ten thousand short publications are more media than a quarter of a minute lets go of.
        ("LIMITS__MAX_BYTES_PER_STREAM", "8MiB"),
        // A line for each publication would measure the log.
        ("LOG__LEVEL", "error"),
    ];
    // What an allocator keeps for each thread that once was busy is none of this test's business.
    let server = Server::start_in(&scratch, "churn", &variables, "", &[("MALLOC_ARENA_MAX", "1")]);
    let clip = tags(&media::plain());
    let first: Vec<Tag> = clip.iter().filter(|tag| tag.timestamp_ms < 200).cloned().collect();
    // Without a picture to begin with no segment comes of it, and the stream is forgotten when its publisher goes.
    let is_keyframe = |tag: &Tag| tag.kind == TagKind::Video && tag.body.starts_with(&[0x17, 1]);
    let is_sound = |tag: &Tag| tag.kind == TagKind::Audio && tag.body.get(1) == Some(&1);
    let unplayable: Vec<Tag> =
        first.iter().filter(|tag| !is_keyframe(tag) && !is_sound(tag)).cloned().collect();
    assert!(unplayable.len() > 4 && unplayable.len() < first.len());

    twice(&server, "names that don't exist", 0, REQUESTS, &|numbers| ask(&server, numbers));
    twice(&server, "publications of many names", 0, CYCLES, &|numbers| {
        in_parallel(numbers, &|number| {
            let mut client = publishing(&server, &format!("name-{number}"));
            client.send_media(&unplayable);
            if number % 2 == 0 { client.leave() } else { client.hang_up() }
        });
    });
    twice(&server, "times a thousand streams", 0, ROUNDS, &|rounds| {
        for round in rounds {
            let clients: Vec<_> = (0..AT_ONCE)
                .map(|number| {
                    let mut client = publishing(&server, &format!("round-{round}-{number}"));
                    client.send_media(&unplayable);
                    client
                })
                .collect();
            assert_eq!(server.streams().as_array().map(Vec::len), Some(AT_ONCE));
            // All are told before any is waited for.
            clients.iter().for_each(RtmpClient::stop_sending);
            clients.into_iter().for_each(RtmpClient::hang_up);
        }
    });
    // Of this one there is media; what ended stays for its viewers, for a minute.
    twice(&server, "publications of one name", 1, CYCLES, &|numbers| {
        for number in numbers {
            let mut client = publishing(&server, "one");
            client.send_media(&first);
            if number % 2 == 0 { client.leave() } else { client.hang_up() }
        }
    });
    assert!(!server.process.log().contains("panicked"));
}

/// Playlists, segments and MPDs of streams that nobody has published.
fn ask(server: &Server, numbers: std::ops::Range<usize>) {
    let peer = Peer::open(Ipv4Addr::LOCALHOST, server.http).expect("a connection");
    let last = numbers.end;
    for from in numbers.step_by(PIPELINED) {
        let to = (from + PIPELINED).min(last);
        let request = |number: usize| {
            let leaf = ["index.m3u8", "ts/7.ts", "manifest.mpd", "video/7.m4s"][number % 4];
            format!("GET /live/none-{number}/{leaf} HTTP/1.1\r\nHost: a\r\n\r\n")
        };
        peer.send((from..to).map(request).collect::<String>().as_bytes()).expect("the server listens");
        let answers = peer.read_answers(to - from, NOTICED).expect("an answer to each");
        assert!(answers.iter().all(|answer| answer.status == 404), "{answers:?}");
    }
}

//! A restart under load, with sockets that a supervisor holds: a hundred encoders that reconnect as OBS does, players that stay open on
//! some of their streams. Nobody is refused a connection, numbers go on, and no picture stands still for longer than its encoder was
//! away and its first segment took. Prints the figures that docs/operate.md repeats.
#![allow(clippy::print_stdout, reason = "the figures are what the docs repeat")]

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headwater_load::address::Address;
use headwater_load::clip::Clip;
use headwater_load::publish::{Pictures, publish_pictures};
use headwater_load::rtmp::Writer;
use headwater_tests::server::{fetch, try_fetch};
use headwater_tests::supervisor::{Sockets, configuration};
use headwater_tests::watch::{self, Watched, now_ms};
use headwater_tests::{Scratch, media, wait_for};
use serde_json::Value;

const STREAMS: usize = 100;

/// From an encoder's loss to its next try: OBS's default (*Advanced, Automatically Reconnect*, "Retry Delay").
const RETRY: Duration = Duration::from_secs(2);

/// The encoders' keyframe interval, so the length of a segment.
const SEGMENT: Duration = Duration::from_secs(2);

/// From the first connection to all streams' first three segments, on a busy machine.
const PLAYABLE: Duration = Duration::from_secs(60);

/// All players play.
const PLAYERS_START: Duration = Duration::from_secs(14);

/// After the restart, until they are looked at.
const SETTLE: Duration = Duration::from_secs(14);

/// What two busy cores add to a player's stand-still.
const BUSY: Duration = Duration::from_secs(1);

/// Between two connections of those who look whether anybody is refused one.
const LOOK: Duration = Duration::from_millis(20);

/// Name, player, and what it plays.
const PLAYERS: &[(&str, &str, &str)] = &[
    ("hls.js", "hls.js", "index.m3u8"),
    ("hls.js, low latency", "hls.js", "llhls.m3u8"),
    ("dash.js", "dash.js", "manifest.mpd"),
    ("shaka", "shaka", "manifest.mpd"),
    ("ffmpeg", "ffmpeg", "index.m3u8"),
];

/// One encoder's life.
#[derive(Default)]
struct Encoder {
    /// Each connection's pictures.
    sessions: Mutex<Vec<Arc<Pictures>>>,
    /// Why each connection ended.
    failures: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Encoder {
    async fn publish(&self, address: Address, clip: Arc<Clip>, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            let pictures = Arc::new(Pictures::default());
            lock(&self.sessions).push(Arc::clone(&pictures));
            let failed = publish_pictures(address.clone(), Writer::Own, Arc::clone(&clip), &pictures).await;
            lock(&self.failures).extend(failed.err().map(|error| error.to_string()));
            tokio::time::sleep(RETRY).await;
        }
    }

    /// How long no picture was sent, from one connection's last to the next one's first.
    fn away(&self) -> Option<Duration> {
        let sessions = lock(&self.sessions);
        let [before, after] = &**sessions else { return None };
        Some(after.sent().first()?.duration_since(*before.sent().last()?))
    }
}

/// 320x180 at 30 fps with two B-frames, AAC 48 kHz stereo.
fn small(scratch: &Scratch) -> PathBuf {
    let mut arguments = media::picture("30", 16);
    arguments.extend(media::tone(48_000, "stereo", 16));
    arguments.extend(media::x264(60, 2));
    arguments.extend(["-c:a", "aac"].map(str::to_owned));
    media::make(scratch, "small", &arguments)
}

/// The numbers that each stream lists.
fn listed(sockets: &Sockets) -> Vec<Vec<u64>> {
    let list = |n| {
        let text = fetch(&Sockets::url(&sockets.http, &format!("/live/s{n}/ts/media.m3u8"))).text();
        text.lines().filter_map(|line| line.strip_suffix(".ts")?.parse().ok()).collect()
    };
    (0..STREAMS).map(list).collect()
}

/// How many streams are live.
fn live(sockets: &Sockets) -> Option<usize> {
    let streams = try_fetch(&Sockets::url(&sockets.admin, "/api/v1/streams"))?;
    let streams: Value = serde_json::from_slice(&streams.body).ok()?;
    Some(streams.as_array()?.iter().filter(|stream| stream["state"] == "live").count())
}

/// Connects over and over; why a connection was not to be had.
fn connect_until(port: u16, is_over: &AtomicBool) -> (usize, Vec<String>) {
    let (mut connections, mut refused) = (0, Vec::new());
    while !is_over.load(Ordering::Relaxed) {
        connections += 1;
        refused.extend(TcpStream::connect(("127.0.0.1", port)).err().map(|error| error.to_string()));
        std::thread::sleep(LOOK);
    }
    (connections, refused)
}

/// Ends what runs beside the test, also where the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What happened when, in milliseconds since 1970.
struct Course {
    /// SIGTERM.
    told: u64,
    /// The process is gone.
    gone: u64,
    /// The next one is ready.
    ready: u64,
    /// All streams are live again.
    live: u64,
    /// Players were looked at.
    until: u64,
}

#[test]
fn a_restart_under_a_hundred_streams_with_players() {
    let scratch = Scratch::new("zero-downtime");
    let sockets = Sockets::new();
    let state = format!("state_dir = {:?}", scratch.join("state").to_string_lossy());
    let path = configuration(&scratch, sockets.ports(), &state);
    let clip = Arc::new(Clip::open(&small(&scratch)).expect("a clip"));
    let mut first = sockets.start(&scratch, "first", &path, "rtmp:http:admin");
    sockets.until_ready(&mut first);

    let encoders: Arc<Vec<Encoder>> = Arc::new((0..STREAMS).map(|_| Encoder::default()).collect());
    let is_over = Arc::new(AtomicBool::new(false));
    let (rtmp, http) = (Sockets::port(&sockets.rtmp), Sockets::port(&sockets.http));
    let publishing = {
        let (encoders, is_over) = (Arc::clone(&encoders), Arc::clone(&is_over));
        std::thread::spawn(move || {
            headwater_load::block_on(async {
                let publish = |n: usize| {
                    let address =
                        Address::rtmp(&format!("rtmp://127.0.0.1:{rtmp}/live/s{n}")).expect("an address");
                    let (encoders, is_over) = (Arc::clone(&encoders), Arc::clone(&is_over));
                    let clip = Arc::clone(&clip);
                    async move {
                        tokio::time::sleep(SEGMENT / 100 * u32::try_from(n).unwrap_or(0)).await;
                        encoders[n].publish(address, clip, &is_over).await;
                    }
                };
                let tasks: Vec<_> = (0..STREAMS).map(|n| tokio::spawn(publish(n))).collect();
                while !is_over.load(Ordering::Relaxed) {
                    tokio::time::sleep(LOOK).await;
                }
                tasks.iter().for_each(tokio::task::JoinHandle::abort);
            })
        })
    };
    wait_for("all streams", PLAYABLE, || (live(&sockets)? == STREAMS).then_some(()));
    wait_for("three segments of each", PLAYABLE, || {
        listed(&sockets).iter().all(|numbers| numbers.len() >= 3).then_some(())
    });

    let url = |n: usize, file: &str| Sockets::url(&sockets.http, &format!("/live/s{n}/{file}"));
    let (mut browsers, mut others) = (Vec::new(), Vec::new());
    for (n, (name, player, file)) in PLAYERS.iter().enumerate() {
        match *player {
            "ffmpeg" => others.push(watch::ffmpeg(&scratch, name, &url(n, file))),
            mode => browsers.push((*name, mode, url(n, file))),
        }
    }
    let browsers = watch::browsers(&scratch, &browsers);
    std::thread::sleep(PLAYERS_START);

    let (course, players, connections) = std::thread::scope(|scope| {
        let ends = Ends(&is_over);
        let asked = [rtmp, http].map(|port| {
            let is_over = &is_over;
            scope.spawn(move || connect_until(port, is_over))
        });
        let before = listed(&sockets);
        let told = now_ms();
        assert!(first.stop().success(), "{}", first.log());
        let gone = now_ms();
        let mut second = sockets.start(&scratch, "second", &path, "rtmp:http:admin");
        sockets.until_ready(&mut second);
        let ready = now_ms();
        wait_for("all streams again", PLAYABLE, || (live(&sockets)? == STREAMS).then_some(()));
        let live = now_ms();
        std::thread::sleep(SETTLE);
        let course = Course { told, gone, ready, live, until: now_ms() };
        assert_numbers_go_on(&before, &listed(&sockets));
        let mut players: Vec<Watched> = browsers.end();
        players.extend(others.into_iter().map(watch::Player::end));
        drop(ends);
        let connections = asked.map(|asker| asker.join().expect("connections"));
        let log = second.log();
        assert!(!log.contains("panicked"), "{log}");
        (course, players, connections)
    });
    let _ = publishing.join();
    for (who, (count, refused)) in ["RTMP", "HTTP"].iter().zip(&connections) {
        println!("{who}: {count} connections, {} refused", refused.len());
        assert!(*count > 100 && refused.is_empty(), "{who}: {refused:?}");
    }
    judge(&course, &players, &encoders);
}

/// Each stream goes on behind its last number, without a hole that a player would look into.
fn assert_numbers_go_on(before: &[Vec<u64>], after: &[Vec<u64>]) {
    for (n, (before, after)) in before.iter().zip(after).enumerate() {
        let (last, first) = (before.last().copied(), after.first().copied());
        let (Some(last), Some(first)) = (last, first) else { panic!("s{n}: {before:?} {after:?}") };
        // What came last is listed still.
        assert!(first <= last && after.last() > Some(&last), "s{n}: {before:?} then {after:?}");
        assert!(after.windows(2).all(|pair| pair[1] == pair[0] + 1), "s{n}: {after:?}");
    }
}

fn judge(course: &Course, players: &[Watched], encoders: &[Encoder]) {
    let away: Vec<Duration> = encoders.iter().filter_map(Encoder::away).collect();
    let failures: Vec<String> = encoders.iter().flat_map(|encoder| lock(&encoder.failures).clone()).collect();
    assert_eq!(away.len(), STREAMS, "each encoder came back once: {failures:?}");
    let longest = away.iter().max().copied().unwrap_or_default();
    // What a picture waits for beside its encoder: its first segment has to be whole, and to be seen in a playlist that is asked for once
    // in a target duration.
    let bound = longest + SEGMENT + SEGMENT + BUSY;
    println!(
        "gone {} ms after SIGTERM, ready {} ms, all streams live {} ms; encoders away {:?} to {longest:?}; bound {bound:?}",
        course.gone - course.told,
        course.ready - course.told,
        course.live - course.told,
        away.iter().min().unwrap_or(&longest),
    );
    let mut failed = Vec::new();
    for player in players {
        let stands = player.stands.iter().filter(|stand| stand.to > course.told);
        let stood = stands.map(|stand| stand.to - stand.from).max().unwrap_or(0);
        let recovered = player.recovered(course.live, course.until);
        println!(
            "{}: its picture stood still for {:.1} s at most; goes on {recovered:?}",
            player.name,
            stood as f64 / 1e3
        );
        let said: Vec<_> = player.said.iter().rev().take(5).collect();
        if player.first.is_none_or(|first| first > course.told) {
            failed.push(format!("{} did not play before; it said {said:?}", player.name));
        } else if let Err(reason) = recovered {
            failed.push(format!("{}: {reason}; it said {said:?}", player.name));
        } else if Duration::from_millis(stood) > bound {
            failed.push(format!(
                "{} stood still for {stood} ms, {bound:?} at most; it said {said:?}",
                player.name
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

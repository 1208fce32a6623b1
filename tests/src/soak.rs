//! Everything at once, for as long as one likes: healthy streams that real encoders publish, careful readers follow and, where it lasts
//! a while, real players show, beside hostile publishers, hostile requests and readers that take nothing.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::follow::{self, follow};
use crate::follow_dash;
use crate::hostile::cases::Clip;
use crate::hostile::mutants::{Random, mutant};
use crate::hostile::{self, Server};
use crate::hostile_http::Peer;
use crate::hostile_http::{self, cases::PROBE};
use crate::process::{Process, Scratch, wait_for};
use crate::rtmp_client::RtmpClient;
use crate::server::try_fetch;
use crate::{judge, media, publish, watch};

/// From the start of all encoders to the last stream's first playlist.
const PLAYABLE: Duration = Duration::from_secs(60);

/// From the encoders' end to the last reader's.
const ENDED: Duration = Duration::from_secs(30);

/// What a reader may lack of the time that it watched: the list's beginning, its last segment, and a look.
const MISSING_SECONDS_MAX: f64 = 8.0;

/// Readers that take nothing, at a time.
const DEAF: usize = 16;

/// What the process may have resident besides its streams' media: its connections, and what the allocator keeps of streams that were.
const RESIDENT_BYTES_BESIDE: u64 = 96 << 20;

/// The same for each four bytes of media that the streams hold: what lies between pieces of it.
const RESIDENT_PER_FOUR_HELD: u64 = 5;

/// What one stream is allowed to hold.
const BYTES_PER_STREAM: &str = "32MiB";

/// Each kind of attacker comes from an address of its own.
const REQUESTING: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const TAKING_NOTHING: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A soak of so many seconds has players: what they would show of a shorter one is their start.
const PLAYERS_FROM_SECONDS: u64 = 60;

/// Until all of them have begun to play, on a machine with two cores that everything else uses as well.
const PLAYERS_START: Duration = Duration::from_secs(20);

/// A picture that stands still for so long is a stall, and less what two busy cores do to a player (ms).
const PLAYER_STANDS_MS_MAX: u64 = 2_000;

/// The stream that the attackers know of.
const TARGET: &str = "soak-0";

/// How long, and beside how many streams.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// From the last stream's first playlist to the encoders' end.
    pub time: Duration,
    /// Healthy streams.
    pub streams: usize,
}

/// What attackers did so far.
#[derive(Debug, Default)]
struct Done {
    publishers: AtomicU64,
    mutants: AtomicU64,
    requests: AtomicU64,
    deaf: AtomicU64,
}

/// Runs the plan, and prints what the server holds at its start, in its middle and at its end.
///
/// # Errors
/// With everything that was not as it should be.
pub fn run(scratch: &Scratch, plan: Plan) -> Result<(), Vec<String>> {
    let variables = [
        ("RTMP__HANDSHAKE_TIMEOUT", "2s"),
        ("HTTP__FIRST_BYTE_TIMEOUT", "4s"),
        ("HTTP__HEADER_TIMEOUT", "2s"),
        ("HTTP__WRITE_STALL_TIMEOUT", "2s"),
        ("HTTP__RESPONSE_TIMEOUT", "30s"),
        ("PUBLISH__TAKEOVER", "refuse"),
        ("PUBLISH__GRACE", "1s"),
        ("PUBLISH__END_DELAY", "500ms"),
        ("LIMITS__MAX_BYTES_PER_STREAM", BYTES_PER_STREAM),
    ];
    let server = Server::start(scratch, "headwater", &variables, "");
    let names: Vec<String> = (0..plan.streams.max(1)).map(|number| format!("soak-{number}")).collect();
    let url = |name: &str| format!("rtmp://127.0.0.1:{}/live/{name}", server.rtmp);
    // The clip lasts 16 s.
    let times = u32::try_from(plan.time.as_secs() / 16).unwrap_or(u32::MAX).saturating_add(20);
    let start = |name: &String| publish::ffmpeg(scratch, name, &media::clip(), times, &url(name));
    let mut encoders: Vec<Process> = names.iter().map(start).collect();
    for name in &names {
        wait_for("a healthy stream", PLAYABLE, || {
            let dash = server.http_url(&format!("/live/{name}/manifest.mpd"));
            let is_there = |url: &str| try_fetch(url).is_some_and(|answer| answer.status == 200);
            (is_there(&server.watch_url(name)) && is_there(&dash)).then_some(())
        });
    }
    let players =
        (plan.time.as_secs() >= PLAYERS_FROM_SECONDS).then(|| Players::start(scratch, &server, &names));
    let (over, done) = (AtomicBool::new(false), Done::default());
    let give_up = &AtomicBool::new(false);
    let mut failures = Vec::new();
    std::thread::scope(|scope| {
        let server = &server;
        let readers: Vec<_> = names
            .iter()
            .map(|name| {
                let hls = scope.spawn(move || {
                    let watched = Instant::now();
                    (follow(&server.watch_url(name), |_| give_up.load(Ordering::Relaxed)), watched.elapsed())
                });
                let dash = scope.spawn(move || {
                    let url = server.http_url(&format!("/live/{name}/manifest.mpd"));
                    follow_dash::follow(&url, plan.time + ENDED)
                });
                (name, hls, dash)
            })
            .collect();
        let attackers = [
            scope.spawn(|| hostile_publishers(server, &over, &done)),
            scope.spawn(|| hostile_requests(server, &over, &done)),
            scope.spawn(|| deaf_readers(server, &over, &done)),
        ];
        let started = Instant::now();
        failures.extend(weigh(server, "start", &done));
        sleep_until(started + plan.time / 2);
        failures.extend(weigh(server, "middle", &done));
        sleep_until(started + plan.time);
        failures.extend(weigh(server, "end", &done));
        failures.extend(players.into_iter().flat_map(Players::end));
        over.store(true, Ordering::Relaxed);
        for attacker in attackers {
            failures.extend(attacker.join().expect("an attacker").err());
        }
        for encoder in &mut encoders {
            if encoder.status().is_some() {
                failures.push(format!("an encoder ended before its time: {}", encoder.log()));
            }
            encoder.stop();
        }
        let ended = Instant::now() + ENDED;
        while Instant::now() < ended
            && !readers.iter().all(|(_, hls, dash)| hls.is_finished() && dash.is_finished())
        {
            std::thread::sleep(Duration::from_millis(100));
        }
        give_up.store(true, Ordering::Relaxed);
        for (name, hls, dash) in readers {
            let (recording, watched) = hls.join().expect("a reader");
            let findings = judge_hls(&recording, watched).into_iter();
            failures.extend(findings.map(|finding| format!("{name}, HLS: {finding}")));
            let findings = judge_dash(&dash.join().expect("a reader"), recording.segments.len()).into_iter();
            failures.extend(findings.map(|finding| format!("{name}, DASH: {finding}")));
        }
    });
    for name in &names {
        match server.stream(name) {
            Some(stream) if stream["counters"]["sessions"] == 1 => {}
            other => failures.push(format!("{name} was disturbed: {other:?}")),
        }
    }
    if let Some(line) = server.process.log().lines().find(|line| line.contains("panicked")) {
        failures.push(line.to_owned());
    }
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

/// Players that nobody here wrote, each on a stream of its own where there are enough.
struct Players {
    /// When all of them played, in milliseconds since 1970.
    playing: u64,
    browsers: watch::Browsers,
    ffmpeg: watch::Player,
}

impl Players {
    fn start(scratch: &Scratch, server: &Server, names: &[String]) -> Players {
        let kinds = [
            ("hls.js", "hls.js", "index.m3u8"),
            ("hls.js, low latency", "hls.js", "llhls.m3u8"),
            ("dash.js", "dash.js", "manifest.mpd"),
            ("shaka", "shaka", "manifest.mpd"),
        ];
        let mut urls = names.iter().cycle().map(|name| server.http_url(&format!("/live/{name}/")));
        let mut url = |file: &str| urls.next().map_or_else(String::new, |folder| folder + file);
        let list = kinds.map(|(name, mode, file)| (name, mode, url(file)));
        let ffmpeg = watch::ffmpeg(scratch, "ffmpeg-watches", &url("index.m3u8"));
        let browsers = watch::browsers(scratch, &list);
        std::thread::sleep(PLAYERS_START);
        Players { playing: watch::now_ms(), browsers, ffmpeg }
    }

    /// Ends them. Whose picture stood still, and for how long.
    fn end(self) -> Vec<String> {
        let (from, until) = (self.playing, watch::now_ms());
        let mut players = self.browsers.end();
        players.push(self.ffmpeg.end());
        let judge = |player: &watch::Watched| {
            let stood = player.stands.iter().filter(|stand| stand.to > from && stand.from < until);
            let longest = stood.map(|stand| stand.to.saturating_sub(stand.from.max(from))).max().unwrap_or(0);
            let end = until.saturating_sub(player.last.unwrap_or(from));
            println!(
                "  {}: its picture stood still for {longest} ms at most, {end} ms at the end",
                player.name
            );
            (longest.max(end) > PLAYER_STANDS_MS_MAX)
                .then(|| format!("{player:?} stood still for {longest} ms, {end} ms at the end"))
        };
        players.iter().filter_map(judge).collect()
    }
}

fn sleep_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
}

/// Prints what the server holds, and judges it.
fn weigh(server: &Server, when: &str, done: &Done) -> Option<String> {
    let (resident, peak) = (server.memory_bytes("VmRSS"), server.memory_bytes("VmHWM"));
    let streams = server.streams();
    let streams = streams.as_array().map_or(&[][..], Vec::as_slice);
    let sum = |value: &dyn Fn(&Value) -> &Value| {
        streams.iter().filter_map(|stream| value(stream).as_u64()).sum::<u64>()
    };
    let held = sum(&|stream| &stream["memory_bytes"]);
    println!(
        "{when}: {} MiB resident, {} MiB at most, {} descriptors; {} streams that hold {} MiB, {} KiB of them by readers, {} \
         segments evicted",
        resident >> 20,
        peak >> 20,
        server.descriptors(),
        streams.len(),
        held >> 20,
        sum(&|stream| &stream["memory_bytes_held_by_readers"]) >> 10,
        sum(&|stream| &stream["counters"]["evicted_for_memory"]),
    );
    println!("  {}", server.playback());
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "  {} hostile publishers, {} mutants, {} hostile requests, {} deaf readers so far",
        count(&done.publishers),
        count(&done.mutants),
        count(&done.requests),
        count(&done.deaf)
    );
    let budget = RESIDENT_BYTES_BESIDE + held / 4 * RESIDENT_PER_FOUR_HELD;
    (resident > budget)
        .then(|| format!("{when}: {} MiB are resident, {} may be", resident >> 20, budget >> 20))
}

fn judge_hls(recording: &follow::Recording, watched: Duration) -> Vec<String> {
    let mut findings = judge::playlist_findings(recording);
    if !recording.ended {
        findings.push("the end was not announced".to_owned());
    }
    let seconds = recording.seconds();
    if seconds + MISSING_SECONDS_MAX < watched.as_secs_f64() {
        findings.push(format!("{seconds} s of media in {watched:?}"));
    }
    if recording.segments.values().any(|segment| segment.discontinuity) {
        findings.push("a discontinuity".to_owned());
    }
    findings
}

fn judge_dash(recording: &follow_dash::Recording, segments: usize) -> Vec<String> {
    let mut findings = recording.failures.clone();
    if !recording.ended {
        findings.push("the end was not announced".to_owned());
    }
    for track in ["video", "audio"] {
        let numbers: Vec<u64> =
            recording.segments.get(track).into_iter().flat_map(|track| track.keys().copied()).collect();
        let is_whole = numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        // Both readers began within a look or two of one another.
        if !is_whole || numbers.len().abs_diff(segments) > 2 {
            findings.push(format!("{track}: {segments} segments of HLS, {numbers:?}"));
        }
    }
    findings
}

/// The table of hostile publishers, again and again, and publications with turned bits between them.
fn hostile_publishers(server: &Server, over: &AtomicBool, done: &Done) -> Result<(), String> {
    let clip = Clip::load();
    for round in 0.. {
        for case in hostile::cases::all(TARGET) {
            if over.load(Ordering::Relaxed) {
                return Ok(());
            }
            let outcome = hostile::row::run(server, &case, &clip, &format!("-{round}"));
            outcome.map_err(|failure| format!("hostile publisher {}: {failure}", case.name))?;
            let nth = done.publishers.fetch_add(1, Ordering::Relaxed);
            if nth.is_multiple_of(4) {
                let mut client = RtmpClient::open(server.rtmp, "mutant");
                client.send(&mutant(u32::try_from(nth).unwrap_or(u32::MAX), &clip));
                client.hang_up();
                done.mutants.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}

/// The table of hostile requests, again and again.
fn hostile_requests(server: &Server, over: &AtomicBool, done: &Done) -> Result<(), String> {
    let mut random = Random(0x0BAD_F00D);
    loop {
        // The segment that the rows ask for is kept for longer than a round takes.
        let targets =
            hostile_http::row::targets(server, TARGET).ok_or("the healthy stream can't be watched")?;
        for case in hostile_http::cases::all(&targets) {
            if over.load(Ordering::Relaxed) {
                return Ok(());
            }
            let sent = [&case.sent[..], PROBE.as_bytes()].concat();
            let pieces = hostile_http::row::pieces(&sent, &mut random);
            let outcome = hostile_http::row::run(REQUESTING, server.http, &case, &pieces);
            outcome.map_err(|failure| format!("hostile request {}: {failure}", case.name))?;
            done.requests.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Readers that ask for the newest segments and take nothing of them, until they are cut off.
fn deaf_readers(server: &Server, over: &AtomicBool, done: &Done) -> Result<(), String> {
    while !over.load(Ordering::Relaxed) {
        let targets =
            hostile_http::row::targets(server, TARGET).ok_or("the healthy stream can't be watched")?;
        let request = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", targets.segment);
        let mut peers = Vec::new();
        for _ in 0..DEAF {
            let peer = Peer::narrow(TAKING_NOTHING, server.http)?;
            peer.send(request.repeat(20).as_bytes())?;
            peers.push(peer);
        }
        let deadline = Instant::now() + hostile_http::row::CLOSED;
        loop {
            // A reset is told once.
            peers.retain(|peer| !peer.is_reset());
            if peers.is_empty() {
                break;
            }
            if Instant::now() > deadline {
                return Err("a reader that takes nothing is served for ever".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        done.deaf.fetch_add(DEAF as u64, Ordering::Relaxed);
    }
    Ok(())
}

//! Publishers fail in every way they do, and the server itself restarts, under players that stay open all the while: each one's
//! picture has to move again by itself. Prints how long each took, counted from when media flowed again.
#![allow(clippy::print_stdout, reason = "the table is what the docs repeat")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use headwater_tests::paced::Paced;
use headwater_tests::watch::{self, Watched, now_ms};
use headwater_tests::{Headwater, Process, Scratch, media, publish, wait_for};

/// How long players get after each fault before they are looked at, and play on before the next one.
const SETTLE: Duration = Duration::from_secs(14);

/// The same for two players alone.
const SETTLE_FEW: Duration = Duration::from_secs(9);

/// And after a publisher was away for longer than they wait: they have to find out by themselves, and do after 4 to 26 s.
const SETTLE_AWAY: Duration = Duration::from_secs(40);

/// A publisher connects and is let in sooner, on a busy machine too.
const CONNECT: Duration = Duration::from_secs(20);

/// Length of the clips, ms.
const CLIP_MS: u32 = 16_000;

/// Stamps of the last publisher wrap so long after it begins.
const UNTIL_WRAP_MS: u32 = 10_000;

const HOUR_MS: i32 = 3_600_000;

/// What players were seen not to survive: see "What players were seen to do" in ARCHITECTURE.md for the evidence. From then on
/// nothing is asked of them.
const CANNOT: &[(&str, &str)] = &[
    ("Chromium", "killed, back after 3 s"),
    ("VLC DASH", "killed, back after 3 s"),
    ("ffmpeg CMAF", "back at once, another coding"),
    ("dash.js", "killed, back after 30 s, another coding, stamps wrap"),
    ("shaka HLS", "killed, back after 30 s, another coding, stamps wrap"),
    ("GStreamer", "the server crashes"),
    ("hls.js CMAF", "it crashes, another coding"),
    ("dash.js ll.mpd", "back at once, another coding"),
    ("shaka ll.mpd", "back at once, another coding"),
];

/// Who failed beside others is judged once more; an ffmpeg that asked for a playlist while nothing listened, after which it ends, up to so often:
/// 4 of 32 did, at two or three restarts.
const ATTEMPTS_MAX: u32 = 3;

/// One fault. Times are milliseconds since 1970.
struct Fault {
    name: &'static str,
    /// When media flowed again.
    flowing: u64,
    /// When the picture had to be moving.
    until: u64,
}

/// A stream under watch.
struct Scene {
    server: Headwater,
    settle: Duration,
    faults: Vec<Fault>,
}

impl Scene {
    fn sessions(&self) -> u64 {
        self.server.streams()[0]["counters"]["sessions"].as_u64().unwrap_or_default()
    }

    /// Lets `publish` start a publisher; returns once its session has begun.
    fn publisher<T>(&self, publish: impl FnOnce() -> T) -> T {
        let before = self.sessions();
        let publisher = publish();
        wait_for("the session", CONNECT, || (self.sessions() > before).then_some(()));
        publisher
    }

    /// Media flows again from now on: notes when, and gives players their time.
    fn recover(&mut self, name: &'static str) {
        self.recover_within(name, self.settle);
    }

    fn recover_within(&mut self, name: &'static str, settle: Duration) {
        let flowing = now_ms();
        // What is tested is what players have done after this time.
        std::thread::sleep(settle);
        self.faults.push(Fault { name, flowing, until: now_ms() });
    }
}

/// 320x180 at 30 fps with two B-frames, AAC 48 kHz stereo.
fn small(scratch: &Scratch) -> PathBuf {
    let mut arguments = media::picture("30", CLIP_MS / 1_000);
    arguments.extend(media::tone(48_000, "stereo", CLIP_MS / 1_000));
    arguments.extend(media::x264(60, 2));
    arguments.extend(["-c:a", "aac"].map(str::to_owned));
    media::make(scratch, "small", &arguments)
}

/// Another size, picture rate, sampling rate and channel count.
fn changed(scratch: &Scratch) -> PathBuf {
    let mut arguments = media::picture("60", CLIP_MS / 1_000);
    arguments.extend(media::tone(44_100, "mono", CLIP_MS / 1_000));
    arguments.extend(media::x264(120, 0));
    arguments.extend(["-vf", "scale=426:240", "-c:a", "aac"].map(str::to_owned));
    media::make(scratch, "changed", &arguments)
}

/// Name, player, and what it plays.
type Open = (&'static str, &'static str, &'static str);

const PLAYERS: &[Open] = &[
    ("hls.js", "hls.js", "index.m3u8"),
    ("hls.js CMAF", "hls.js", "llhls.m3u8"),
    ("dash.js", "dash.js", "manifest.mpd"),
    ("shaka DASH", "shaka", "manifest.mpd"),
    ("shaka HLS", "shaka", "llhls.m3u8"),
    ("Chromium", "native", "index.m3u8"),
    ("VLC", "vlc", "index.m3u8"),
    ("VLC DASH", "vlc", "manifest.mpd"),
    ("GStreamer", "gstreamer", "index.m3u8"),
    ("ffmpeg", "ffmpeg", "index.m3u8"),
    ("ffmpeg CMAF", "ffmpeg", "llhls.m3u8"),
];

/// Players of low-latency DASH, for whom other things are hard: they ask by the clock, for what is made at that moment.
const LOW_LATENCY_DASH: &[Open] =
    &[("dash.js ll.mpd", "dash.js", "ll.mpd"), ("shaka ll.mpd", "shaka", "ll.mpd")];

/// Players that restarts alone are played to: some of those above don't get so far.
const RESTARTED: &[Open] = &[
    ("hls.js", "hls.js", "index.m3u8"),
    ("hls.js CMAF", "hls.js", "llhls.m3u8"),
    ("dash.js", "dash.js", "manifest.mpd"),
    ("shaka DASH", "shaka", "manifest.mpd"),
    ("VLC", "vlc", "index.m3u8"),
    ("GStreamer", "gstreamer", "index.m3u8"),
    ("ffmpeg", "ffmpeg", "index.m3u8"),
];

/// Eleven players at once are the fastest way to an answer, and more than two cores decode without one of them standing still at times:
/// who failed in that company is judged by how it does without it.
#[test]
fn players_survive_what_a_publisher_does() {
    survive("faults", PLAYERS, scene);
}

#[test]
fn players_of_low_latency_dash_survive_it() {
    survive("faults-ll-dash", LOW_LATENCY_DASH, low_latency_scene);
}

#[test]
fn players_survive_restarts() {
    survive("faults-restarts", RESTARTED, restart_scene);
}

/// Plays it to players, and tells what they did, and what happened when.
type Play = fn(&Scratch, &[Open]) -> (Vec<Watched>, Vec<Fault>);

fn survive(name: &str, open: &[Open], scene: Play) {
    let mut open = open.to_vec();
    for attempt in 0..=ATTEMPTS_MAX {
        let name = if attempt == 0 { name.to_owned() } else { format!("{name}-again-{attempt}") };
        let (players, faults) = scene(&Scratch::new(&name), &open);
        let failed = failures(&players, &faults);
        if failed.is_empty() {
            return;
        }
        let was_unlucky = |player: &Watched| {
            let fault = faults.iter().find(|fault| player.recovered(fault.flowing, fault.until).is_err());
            player.name == "ffmpeg" && fault.is_some_and(|fault| player.gave_up_unanswered(fault.flowing))
        };
        let has_failed = |player: &&Watched| failed.iter().any(|(failed, _)| *failed == player.name);
        let were_unlucky = players.iter().filter(has_failed).all(was_unlucky);
        if attempt == ATTEMPTS_MAX || (attempt > 0 && !were_unlucky) {
            let failed: Vec<String> = failed.into_iter().map(|(_, failure)| failure).collect();
            panic!("{}", failed.join("\n"));
        }
        failed.iter().for_each(|(_, failure)| println!("{failure}"));
        open.retain(|(name, ..)| failed.iter().any(|(player, _)| player == name));
        println!("once more, without the others: {open:?}");
    }
}

/// Everything that can happen to a stream, while `open` play it: what they did, and what happened when.
fn scene(scratch: &Scratch, open: &[Open]) -> (Vec<Watched>, Vec<Fault>) {
    let (small, changed) = (small(scratch), changed(scratch));
    let (mut scene, mut publisher, watching) = begun(scratch, open, &small, SETTLE);
    let url = scene.server.publish_url("cam");

    publisher.kill();
    std::thread::sleep(Duration::from_secs(3));
    let mut publisher = scene.publisher(|| publish::ffmpeg(scratch, "after-3-s", &small, 9, &url));
    scene.recover("killed, back after 3 s");

    let mut second = scene.publisher(|| publish::ffmpeg(scratch, "second", &small, 9, &url));
    scene.recover("taken over");
    publisher.wait(CONNECT);

    second.kill();
    let mut changed = scene.publisher(|| publish::ffmpeg(scratch, "changed", &changed, 9, &url));
    scene.recover("back at once, another coding");

    changed.kill();
    std::thread::sleep(Duration::from_secs(30));
    let port = scene.server.rtmp_port();
    let first_stamp = u32::MAX - UNTIL_WRAP_MS;
    let paced = scene.publisher(|| Paced::start(port, "cam", &small, CLIP_MS, first_stamp));
    scene.recover("killed, back after 30 s, another coding, stamps wrap");

    paced.jump(HOUR_MS);
    scene.recover("stamps an hour forward");
    paced.jump(-HOUR_MS);
    scene.recover("stamps an hour back");

    drop(paced);
    let publisher = restarted(scratch, &mut scene, None, &small);
    let _publisher = crashed(scratch, &mut scene, publisher, &small);
    ended(scratch, scene, watching)
}

/// What happens to streams as a rule, while players of low-latency DASH play one.
fn low_latency_scene(scratch: &Scratch, open: &[Open]) -> (Vec<Watched>, Vec<Fault>) {
    let (small, changed) = (small(scratch), changed(scratch));
    let (mut scene, mut publisher, watching) = begun(scratch, open, &small, SETTLE_FEW);
    let url = scene.server.publish_url("cam");
    for (name, away, settle) in
        [("killed, back after 5 s", 5, SETTLE_FEW), ("killed, back after 20 s", 20, SETTLE_AWAY)]
    {
        publisher.kill();
        std::thread::sleep(Duration::from_secs(away));
        publisher = scene.publisher(|| publish::ffmpeg(scratch, &format!("after-{away}-s"), &small, 9, &url));
        scene.recover_within(name, settle);
    }
    let second = scene.publisher(|| publish::ffmpeg(scratch, "second", &small, 9, &url));
    scene.recover("taken over");
    publisher.wait(CONNECT);
    let publisher = restarted(scratch, &mut scene, Some(second), &small);
    let publisher = crashed(scratch, &mut scene, publisher, &small);
    let mut publisher = crashed_to(scratch, &mut scene, (publisher, "it crashes, another coding"), &changed);
    publisher.kill();
    let _publisher = scene.publisher(|| publish::ffmpeg(scratch, "changed", &small, 9, &url));
    scene.recover("back at once, another coding");
    ended(scratch, scene, watching)
}

/// The server restarts, again, and under a publisher that comes back with another coding; it crashes, and so again.
fn restart_scene(scratch: &Scratch, open: &[Open]) -> (Vec<Watched>, Vec<Fault>) {
    let (small, changed) = (small(scratch), changed(scratch));
    let (mut scene, publisher, watching) = begun(scratch, open, &small, SETTLE);
    let publisher = restarted(scratch, &mut scene, Some(publisher), &small);
    let publisher = restarted_to(scratch, &mut scene, (Some(publisher), "it restarts once more"), &small);
    let what = (Some(publisher), "it restarts, another coding");
    let publisher = restarted_to(scratch, &mut scene, what, &changed);
    let publisher = crashed(scratch, &mut scene, publisher, &changed);
    let what = (publisher, "it crashes, another coding");
    let _publisher = crashed_to(scratch, &mut scene, what, &small);
    ended(scratch, scene, watching)
}

/// The players that are open.
struct Watching {
    browsers: Option<watch::Browsers>,
    others: Vec<watch::Player>,
}

/// A server, a publisher of `clip`, and `open` players that have had the time to begin.
fn begun(scratch: &Scratch, open: &[Open], clip: &Path, settle: Duration) -> (Scene, Process, Watching) {
    let state = scratch.join("state");
    let server = Headwater::start_with(scratch, &format!("state_dir = {:?}", state.to_string_lossy()));
    let mut scene = Scene { server, settle, faults: Vec::new() };
    let url = scene.server.publish_url("cam");
    let publisher = publish::ffmpeg(scratch, "publisher", clip, 9, &url);
    wait_for("three segments", Duration::from_secs(30), || {
        let playlist =
            headwater_tests::server::fetch(&scene.server.http_url("/live/cam/video/media.m3u8")).text();
        (playlist.matches("#EXTINF").count() >= 3).then_some(())
    });
    let mut browsers = Vec::new();
    let mut others = Vec::new();
    for (name, player, file) in open {
        let place = scene.server.http_url(&format!("/live/cam/{file}"));
        match *player {
            "vlc" => others.push(watch::vlc(scratch, name, &place)),
            "gstreamer" => others.push(watch::gstreamer(scratch, name, &place)),
            "ffmpeg" => others.push(watch::ffmpeg(scratch, name, &place)),
            mode => browsers.push((*name, mode, place)),
        }
    }
    let browsers = (!browsers.is_empty()).then(|| watch::browsers(scratch, &browsers));
    // Not a fault: everything must play before one means something.
    scene.recover("start");
    (scene, publisher, Watching { browsers, others })
}

/// The server restarts under `publisher`, if there is one, which ends by that. Returns the next one.
fn restarted(scratch: &Scratch, scene: &mut Scene, publisher: Option<Process>, clip: &Path) -> Process {
    restarted_to(scratch, scene, (publisher, "the server restarts"), clip)
}

/// As [`restarted`], by another name.
fn restarted_to(
    scratch: &Scratch,
    scene: &mut Scene,
    (publisher, name): (Option<Process>, &'static str),
    clip: &Path,
) -> Process {
    scene.server.restart(scratch);
    if let Some(mut publisher) = publisher {
        publisher.wait(CONNECT);
    }
    let url = scene.server.publish_url("cam");
    let publisher = scene.publisher(|| publish::ffmpeg(scratch, "after-restart", clip, 9, &url));
    scene.recover(name);
    publisher
}

/// The same for a crash.
fn crashed(scratch: &Scratch, scene: &mut Scene, publisher: Process, clip: &Path) -> Process {
    crashed_to(scratch, scene, (publisher, "the server crashes"), clip)
}

/// As [`crashed`], by another name.
fn crashed_to(
    scratch: &Scratch,
    scene: &mut Scene,
    (mut publisher, name): (Process, &'static str),
    clip: &Path,
) -> Process {
    scene.server.crash(scratch);
    publisher.wait(CONNECT);
    let url = scene.server.publish_url("cam");
    let publisher = scene.publisher(|| publish::ffmpeg(scratch, "after-crash", clip, 9, &url));
    // shaka on ll.mpd waits until the time shift buffer is over, 6 s by then.
    scene.recover_within(name, SETTLE);
    publisher
}

/// What everybody did.
fn ended(scratch: &Scratch, scene: Scene, watching: Watching) -> (Vec<Watched>, Vec<Fault>) {
    let mut players: Vec<Watched> = watching.browsers.map(watch::Browsers::end).unwrap_or_default();
    players.extend(watching.others.into_iter().map(watch::Player::end));
    let table = table(&players, &scene.faults);
    println!("{table}");
    std::fs::write(scratch.join("recovery.md"), &table).expect("a table in the test's folder");
    (players, scene.faults)
}

/// Every player that did not go on although it can: its name, and what it did and said.
fn failures(players: &[Watched], faults: &[Fault]) -> Vec<(String, String)> {
    let mut failures = Vec::new();
    for player in players {
        for fault in faults {
            let excused = CANNOT.iter().any(|(name, what)| *name == player.name && *what == fault.name);
            if excused {
                // What it does afterwards starts from a state that no other player is in.
                break;
            }
            if let Err(stands) = player.recovered(fault.flowing, fault.until) {
                let said: Vec<_> = player.said.iter().rev().take(5).collect();
                let failure = format!("{}: {}: {stands}; it said {said:?}", player.name, fault.name);
                failures.push((player.name.clone(), failure));
            }
        }
    }
    failures
}

/// Seconds to the picture that goes on, a row per player and a column per fault.
fn table(players: &[Watched], faults: &[Fault]) -> String {
    let mut table = String::new();
    for fault in faults {
        let _ = write!(table, "| {} ", fault.name);
    }
    let _ = writeln!(table, "|");
    for player in players {
        let _ = write!(table, "| {:<12} ", player.name);
        for fault in faults {
            let cell = match player.recovered(fault.flowing, fault.until) {
                Ok(took) => format!("{:.1}", took.as_secs_f64()),
                Err(_) => "no".to_owned(),
            };
            let _ = write!(table, "| {cell:>5} ");
        }
        let _ = writeln!(table, "|");
    }
    table
}

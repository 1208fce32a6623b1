//! Real players: each plays a URL for so many seconds without a screen and reports what it did.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{Process, Scratch};

/// A player that has shown nothing by then will not.
const START: Duration = Duration::from_secs(30);

/// Ending a browser takes a moment when a test machine is busy.
const END: Duration = Duration::from_secs(45);

/// No new picture for so long, after the first one, is a stall: far more than the jitter of a busy machine, and less than
/// half a segment.
const STALL: Duration = Duration::from_millis(900);

/// Buffers further apart than this have something missing between them: more than two pictures at 24 fps and more than
/// four frames of AAC, less than anything one would overlook.
const HOLE_NS: u64 = 150_000_000;

/// VLC may lose one picture or sound buffer in so many. Measured on ffmpeg's own stream on two cores: alone it lost 0 of 201
/// in each of three runs; beside two browsers that started at the same moment 1, 6 and 7 of 190 to 220, all of them in its
/// first three seconds. So it plays alone, see [`MACHINE`]. Sound stamped two seconds behind its picture loses it nearly all
/// sound. A clock reference that is off by up to 5 s, jitters by 2 s or runs 10 % fast loses it nothing: VLC corrects those, so
/// the clock is for `headwater_testkit::ts` to judge.
const VLC_LOSS_ONE_IN: u64 = 20;

/// So many looks at VLC's count of pictures, a second apart, without a new one are a stall. Some ten seconds after its start it
/// shows 4 to 9 pictures in one second and 50 in the next, on ffmpeg's own DASH as well (2 of 10 starts; 4 of 20 on ours), losing
/// none: one look is within its own noise.
const VLC_STALL_LOOKS: u32 = 2;

/// What VLC says at most once, when it begins: its demuxer has buffered a second and one decoder was given nothing of it yet.
/// It plays on at once, on ours (4 of 20 starts) and on ffmpeg's own DASH (3 of 10). A stand-still later is a stall, and lost
/// pictures are counted.
const VLC_AT_START: &[&str] = &["buffer deadlock prevented"];

/// VLC holds it alone, every other player shares it: a browser's start takes both cores for a second or two, and VLC counts
/// each picture that it shows late by that.
static MACHINE: RwLock<()> = RwLock::new(());

/// Set by `cargo xtask test` for tests that are judged again because they failed on a machine that others used as well.
const ALONE: &str = "HEADWATER_TESTS_ALONE";

/// Runs players at the same time, or one behind the other when a test is judged again.
///
/// # Panics
/// When one of them does.
pub fn side_by_side<const N: usize>(players: [&(dyn Fn() + Sync); N]) {
    if std::env::var_os(ALONE).is_some() {
        players.iter().for_each(|player| player());
        return;
    }
    std::thread::scope(|scope| {
        for player in players {
            scope.spawn(player);
        }
    });
}

/// What a player did.
#[derive(Debug, Default, Clone)]
pub struct Playback {
    /// The player's name.
    pub player: &'static str,
    /// Seconds of media played.
    pub seconds: f64,
    /// Pictures shown or decoded.
    pub frames: u64,
    /// Pictures that came too late to be shown.
    pub dropped: u64,
    /// What ended or would end playback.
    pub fatal: Vec<String>,
    /// Interruptions after the start.
    pub stalls: Vec<String>,
    /// What the player complained about and survived.
    pub complaints: Vec<String>,
    /// Everything else the player told.
    pub details: BTreeMap<String, String>,
}

impl Playback {
    /// From the player's start to the first picture or sound in its time, when that was seen.
    pub fn start(&self) -> Option<Duration> {
        self.details.get("start_ms")?.parse().ok().map(Duration::from_millis)
    }

    /// # Panics
    /// Unless at least `seconds` were played at `fps`, with no fatal error, no stall and no complaint.
    pub fn assert_smooth(&self, seconds: f64, fps: f64) {
        println!("{self:#?}");
        assert!(self.fatal.is_empty(), "{}: {:?}", self.player, self.fatal);
        assert!(self.stalls.is_empty(), "{} stalled: {:?}", self.player, self.stalls);
        assert!(self.complaints.is_empty(), "{} complained: {:?}", self.player, self.complaints);
        assert!(self.seconds >= seconds - 1.0, "{} played only {:.1} s", self.player, self.seconds);
        // One second's pictures may be missing at each end of the run.
        let expected = (seconds - 2.0) * fps;
        assert!(
            self.frames as f64 >= expected,
            "{}: {} pictures, expected {expected}",
            self.player,
            self.frames
        );
    }
}

/// hls.js in headless Chromium, on a page of another origin. Leaves `<name>.png` in the test's folder.
pub fn hls_js(scratch: &Scratch, name: &str, url: &str, seconds: u32) -> Playback {
    browser(scratch, name, "hls.js", url, seconds)
}

/// hls.js as docs/players.md has it for low latency, without a worker. With one, a start in which the browser takes long to bring its worker up
/// can stand still for 5 s (ARCHITECTURE.md, "What players were seen to do"): `players_low_latency` plays it so.
pub fn hls_js_without_worker(scratch: &Scratch, name: &str, url: &str, seconds: u32) -> Playback {
    browser_with(scratch, name, "hls.js", url, seconds, r#"{"enableWorker":false}"#)
}

/// hls.js with a worker that is given nothing until the segment that it begins in is complete. It begins when the newest part that is listed
/// has index `part`. `details["trapped"]` says whether its first parts ended with the segment's last but one.
pub fn hls_js_with_a_slow_worker(
    scratch: &Scratch,
    name: &str,
    url: &str,
    part: u32,
    seconds: u32,
) -> Playback {
    browser_with(scratch, name, "hls.js", url, seconds, &format!(r#"{{"slow_worker":{part}}}"#))
}

/// dash.js in headless Chromium, on a page of another origin. Leaves `<name>.png` in the test's folder.
pub fn dash_js(scratch: &Scratch, name: &str, url: &str, seconds: u32) -> Playback {
    browser(scratch, name, "dash.js", url, seconds)
}

/// mpegts.js, for FLV over HTTP or WebSocket and for MPEG-TS, likewise.
pub fn mpegts_js(scratch: &Scratch, name: &str, url: &str, seconds: u32) -> Playback {
    browser(scratch, name, "mpegts.js", url, seconds)
}

/// shaka, for HLS and DASH, in headless Chromium, on a page of another origin. Leaves `<name>.png` in the test's folder.
pub fn shaka(scratch: &Scratch, name: &str, url: &str, seconds: u32) -> Playback {
    browser(scratch, name, "shaka", url, seconds)
}

/// Chromium's own HLS player. Leaves `<name>.png` in the test's folder.
pub fn chromium_native(scratch: &Scratch, name: &str, url: &str, seconds: u32) -> Playback {
    browser(scratch, name, "native", url, seconds)
}

fn browser(scratch: &Scratch, name: &str, mode: &'static str, url: &str, seconds: u32) -> Playback {
    browser_with(scratch, name, mode, url, seconds, "{}")
}

/// `settings`: a JSON object of what differs from those that the player comes with.
fn browser_with(
    scratch: &Scratch,
    name: &str,
    mode: &'static str,
    url: &str,
    seconds: u32,
    settings: &str,
) -> Playback {
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let mut node = Command::new("node");
    node.arg(crate::root().join("tests/players/browser.mjs")).args([mode, url, &seconds.to_string()]);
    node.arg(scratch.join(&format!("{name}.png"))).arg(settings);
    let mut process = Process::start_piped(name, node, scratch, Stdio::piped());
    let lines = lines_of(&mut process);
    let bound = START + Duration::from_secs(u64::from(seconds)) + END;
    let text = match lines.recv_timeout(bound) {
        Ok((_, line)) => line,
        Err(_) => panic!("{mode} reported nothing within {bound:?}:\n{}", process.log()),
    };
    process.wait(END);
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{mode} reported: {text}"));
    let texts = |field: &str| -> Vec<String> {
        report[field].as_array().into_iter().flatten().map(Value::to_string).collect()
    };
    let mut playback = Playback {
        player: if mode == "native" { "Chromium" } else { mode },
        seconds: report["played_seconds"].as_f64().unwrap_or_default(),
        frames: report["frames"].as_u64().unwrap_or_default(),
        dropped: report["dropped"].as_u64().unwrap_or_default(),
        fatal: texts("fatal"),
        stalls: texts("stalls"),
        complaints: texts("errors").into_iter().chain(texts("jumps")).collect(),
        details: BTreeMap::new(),
    };
    // Five looks a second; a picture that stands still is a failure however smoothly its clock runs.
    let different = report["pictures"].as_u64().unwrap_or_default();
    if different < u64::from(seconds) * 2 && report["width"].as_u64() != Some(0) {
        playback.fatal.push(format!("only {different} different pictures were seen"));
    }
    for field in [
        "trapped",
        "start_ms",
        "latency_seconds",
        "frame_gap_ms_max",
        "pictures",
        "width",
        "height",
        "version",
        "screenshot",
    ] {
        playback.details.insert(field.to_owned(), report[field].to_string());
    }
    // To see what a player that stood still was waiting for.
    let requests: Vec<&str> =
        report["requests"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let file = scratch.join(&format!("{name}.requests.txt"));
    std::fs::write(&file, requests.join("\n")).expect("a file in the test's folder");
    playback.details.insert("requests".to_owned(), file.display().to_string());
    playback
}

/// VLC without a window. Its own statistics are asked for once a second: pictures displayed, pictures and sound lost,
/// holes in the transport stream's continuity counters.
pub fn vlc(scratch: &Scratch, name: &str, url: &str, seconds: u32) -> Playback {
    vlc_when_alone(scratch, name, || url.to_owned(), seconds)
}

/// As [`vlc`], for a stream that must not be older than it has to be: `url` is called once no other player runs.
pub fn vlc_when_alone(scratch: &Scratch, name: &str, url: impl FnOnce() -> String, seconds: u32) -> Playback {
    let _alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    let url = &url();
    let mut process = start_vlc(scratch, name, url);
    let mut input = process.take_input().expect("VLC was started with an input");
    let lines = lines_of(&mut process);

    let mut playback = Playback { player: "VLC", ..Playback::default() };
    let mut statistics: BTreeMap<String, u64> = BTreeMap::new();
    let started = Instant::now();
    let mut first_picture = None;
    let mut without_pictures = 0;
    loop {
        if writeln!(input, "stats").is_err() {
            playback.fatal.push(format!("VLC ended early:\n{}", process.log()));
            break;
        }
        let asked = Instant::now();
        let before = statistics.get("frames displayed").copied().unwrap_or_default();
        while let Ok((_, line)) = lines.recv_timeout(Duration::from_secs(1).saturating_sub(asked.elapsed())) {
            if let Some((field, value)) = statistic(&line) {
                statistics.insert(field, value);
            }
        }
        let now = statistics.get("frames displayed").copied().unwrap_or_default();
        if let Some((at, _)) = first_picture {
            let elapsed: Duration = Instant::elapsed(&at);
            without_pictures = if now == before { without_pictures + 1 } else { 0 };
            if without_pictures == VLC_STALL_LOOKS {
                playback
                    .stalls
                    .push(format!("no new picture in the {VLC_STALL_LOOKS} s before {elapsed:.1?}"));
            }
            if elapsed >= Duration::from_secs(u64::from(seconds)) {
                break;
            }
        } else if now > 0 {
            first_picture = Some((Instant::now(), now));
        } else if started.elapsed() > START {
            playback.fatal.push(format!("no picture within {START:?}:\n{}", process.log()));
            break;
        }
    }
    let complaints = process.log();
    if let Some((at, frames_at_start)) = first_picture {
        playback.seconds = at.elapsed().as_secs_f64();
        playback.frames =
            statistics.get("frames displayed").copied().unwrap_or_default().saturating_sub(frames_at_start);
    }
    let value = |field: &str| statistics.get(field).copied().unwrap_or_default();
    playback.dropped = value("frames lost");
    for field in ["demux corrupted", "discontinuities"] {
        if value(field) > 0 {
            playback.complaints.push(format!("{field}: {}", value(field)));
        }
    }
    for (lost, of) in [("frames lost", "frames displayed"), ("buffers lost", "buffers played")] {
        if value(lost) * VLC_LOSS_ONE_IN > value(of) {
            playback.complaints.push(format!("{lost}: {} of {}", value(lost), value(of)));
        }
    }
    let mut at_start = VLC_AT_START.to_vec();
    playback.complaints.extend(
        complaints
            .lines()
            .filter(|line| vlc_line_matters(line))
            .filter(|line| {
                at_start.iter().position(|text| line.contains(text)).map(|at| at_start.remove(at)).is_none()
            })
            .map(str::to_owned),
    );
    playback.details.extend(statistics.iter().map(|(field, value)| (field.clone(), value.to_string())));
    let _ = writeln!(input, "quit");
    drop(input);
    // It has shown everything that was asked for: how it leaves says nothing of the stream.
    playback.details.insert("end".to_owned(), process.end_within(END).to_string());
    playback
}

/// VLC without a window that obeys commands on its standard input.
pub(crate) fn start_vlc(scratch: &Scratch, name: &str, url: &str) -> Process {
    let mut vlc = unprivileged("vlc", scratch, name);
    vlc.args(["--intf", "rc", "--rc-fake-tty", "--no-color", "--vout", "dummy", "--aout", "dummy"]);
    vlc.args(["--verbose", "1", url]);
    Process::start_piped(name, vlc, scratch, Stdio::piped())
}

/// A line of VLC's statistics: `| frames displayed :      223`.
pub(crate) fn statistic(line: &str) -> Option<(String, u64)> {
    let (field, value) = line.trim_start_matches("> ").strip_prefix('|')?.split_once(':')?;
    Some((field.trim().to_owned(), value.split_whitespace().next()?.parse().ok()?))
}

/// VLC's messages about the stream, without those about the machine (no D-Bus, no hot keys) and the usual first ones.
fn vlc_line_matters(line: &str) -> bool {
    let about_the_machine =
        ["interface", "dbus", "libvlc error", "globalhotkeys", "lua", "keystore", "vlcpulse"];
    // FAAD's first frame has no predecessor to overlap with. Being late shows that the machine is busy; what is lost by it
    // is counted.
    // An initialization segment has no samples, which VLC finds worth a warning in every fragmented file.
    let usual = [
        "decoded zero sample",
        "too late",
        "playback way too",
        "playback too",
        "no chunk defined",
        "STTS table of 0 entries",
        // VLC 3.0 doesn't know the producer's time in front of a segment, says so and passes over it (14496-12: as it has to).
        "unknown box type prft",
    ];
    (line.contains(" error:") || line.contains(" warning:"))
        && !about_the_machine.iter().chain(&usual).any(|text| line.contains(text))
}

/// VLC refuses to run as root: a user without rights, with a home that is its own.
fn unprivileged(program: &str, scratch: &Scratch, name: &str) -> Command {
    let uid = crate::process::read_output({
        let mut id = Command::new("id");
        id.arg("-u");
        id
    });
    if uid.trim() != "0" {
        return Command::new(program);
    }
    // "nobody" by number; it may not read anything of ours, so its home lies in the system's temporary folder.
    let nobody = 65_534;
    let home = std::env::temp_dir().join(format!("headwater-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&home);
    std::fs::create_dir_all(&home).expect("a temporary folder");
    std::os::unix::fs::chown(&home, Some(nobody), Some(nobody)).expect("root may give a folder away");
    let note = scratch.join(&format!("{name}.home"));
    std::fs::write(note, home.display().to_string()).expect("a note in the test's folder");
    let mut setpriv = Command::new("setpriv");
    setpriv.args([&format!("--reuid={nobody}"), &format!("--regid={nobody}"), "--clear-groups", program]);
    setpriv.current_dir(&home);
    for variable in ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"] {
        setpriv.env(variable, &home);
    }
    setpriv
}

/// GStreamer's playbin3 into sinks that keep time and tell of every buffer.
pub fn gstreamer(scratch: &Scratch, name: &str, url: &str, seconds: u32) -> Playback {
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let mut process = start_gstreamer(scratch, name, url);
    let lines = lines_of(&mut process);

    let mut playback = Playback { player: "GStreamer", ..Playback::default() };
    let started = Instant::now();
    // Per sink: when the last buffer came and its PTS in nanoseconds.
    let mut last: BTreeMap<&str, (Instant, u64)> = BTreeMap::new();
    let mut first: Option<(Instant, u64)> = None;
    let mut sounds = 0_u64;
    loop {
        let bound =
            if first.is_some() { Duration::from_secs(10) } else { START.saturating_sub(started.elapsed()) };
        let (at, line) = match lines.recv_timeout(bound) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                playback.fatal.push(format!("nothing more after {:?}", started.elapsed()));
                break;
            }
            Err(RecvTimeoutError::Disconnected) => {
                playback.fatal.push(format!("GStreamer ended early:\n{}", process.log()));
                break;
            }
        };
        if line.starts_with("ERROR") || line.starts_with("WARNING") {
            playback.complaints.push(line);
            continue;
        }
        let Some((sink, pts)) = rendered(&line) else { continue };
        if let Some((before, pts_before)) = last.insert(sink, (at, pts)) {
            let gap = at.saturating_duration_since(before);
            if gap > STALL {
                playback
                    .stalls
                    .push(format!("{sink}: nothing for {gap:.1?} before {:.3} s", pts as f64 / 1e9));
            }
            // Equal stamps are usual: GStreamer's decoder gives two pictures the stamp of one now and then, on
            // ffmpeg's own HLS as well.
            if pts < pts_before {
                playback.complaints.push(format!("{sink}: PTS {pts} ns after {pts_before} ns"));
            } else if pts - pts_before > HOLE_NS {
                playback.complaints.push(format!("{sink}: a hole of {} ms", (pts - pts_before) / 1_000_000));
            }
        }
        if sink == "picture" {
            playback.frames += 1;
        } else {
            sounds += 1;
        }
        if first.is_none() {
            let waited = at.saturating_duration_since(started).as_millis();
            playback.details.insert("start_ms".to_owned(), waited.to_string());
        }
        let (_, first_pts) = *first.get_or_insert((at, pts));
        playback.seconds = pts.saturating_sub(first_pts) as f64 / 1e9;
        if playback.seconds >= f64::from(seconds) {
            break;
        }
    }
    playback.details.insert("audio buffers".to_owned(), sounds.to_string());
    process.stop();
    playback
}

/// GStreamer's playbin3 that prints a line per buffer.
pub(crate) fn start_gstreamer(scratch: &Scratch, name: &str, url: &str) -> Process {
    let mut gstreamer = Command::new("gst-launch-1.0");
    gstreamer.args(["-v", "playbin3", &format!("uri={url}")]);
    gstreamer.arg("video-sink=fakesink name=picture sync=true silent=false");
    gstreamer.arg("audio-sink=fakesink name=sound sync=true silent=false");
    Process::start_piped(name, gstreamer, scratch, Stdio::piped())
}

/// The sink and PTS (ns) that a line of `gst-launch-1.0 -v` tells of:
/// `... last-message = chain ******* (picture:sink) (616320 bytes, dts: none, pts: 0:01:21.200000000, ...`.
pub(crate) fn rendered(line: &str) -> Option<(&'static str, u64)> {
    let (_, message) = line.split_once("last-message = chain")?;
    let sink = if message.contains("(picture:sink)") {
        "picture"
    } else if message.contains("(sound:sink)") {
        "sound"
    } else {
        return None;
    };
    let (_, pts) = message.split_once("pts: ")?;
    let mut parts = pts.split(',').next()?.split(':');
    let hours: u64 = parts.next()?.parse().ok()?;
    let minutes: u64 = parts.next()?.parse().ok()?;
    let (whole, fraction) = parts.next()?.split_once('.')?;
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = fraction.parse().ok()?;
    Some((sink, ((hours * 60 + minutes) * 60 + whole) * 1_000_000_000 + fraction))
}

/// ffmpeg decodes `seconds` of the stream; every line it prints is a complaint.
pub fn ffmpeg(scratch: &Scratch, name: &str, url: &str, seconds: u32) -> Playback {
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error", "-i", url, "-t", &seconds.to_string()]);
    ffmpeg.args(["-progress", "pipe:1", "-stats_period", "0.5", "-f", "null", "-"]);
    let mut process = Process::start_piped(name, ffmpeg, scratch, Stdio::piped());
    let lines = lines_of(&mut process);

    let mut playback = Playback { player: "ffmpeg", ..Playback::default() };
    let bound = START + Duration::from_secs(u64::from(seconds)) + END;
    let started = Instant::now();
    let mut advanced = started;
    loop {
        match lines.recv_timeout(bound.saturating_sub(started.elapsed())) {
            Ok((at, line)) => match line.split_once('=') {
                Some(("frame", frames)) => playback.frames = frames.trim().parse().unwrap_or_default(),
                Some(("drop_frames", dropped)) => {
                    playback.dropped = dropped.trim().parse().unwrap_or_default();
                }
                Some(("out_time_us", time)) => {
                    let now = time.trim().parse::<i64>().unwrap_or_default() as f64 / 1e6;
                    // ffmpeg starts three segments behind the end and reads them at once, so it waits for the next
                    // segment then: only a wait that no buffer of a player would cover is a stall.
                    if now > playback.seconds {
                        let wait = at.saturating_duration_since(advanced);
                        if playback.seconds > 0.0 && wait > Duration::from_secs(5) {
                            playback.stalls.push(format!("nothing for {wait:.1?} at {now:.1} s"));
                        }
                        advanced = at;
                        playback.seconds = now;
                    }
                }
                _ => {}
            },
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                playback.fatal.push(format!("not done after {bound:?}"));
                process.kill();
                break;
            }
        }
    }
    let status = process.wait(END);
    if !status.success() {
        playback.fatal.push(status.to_string());
    }
    playback.complaints.extend(process.log().lines().map(str::to_owned));
    playback
}

/// The lines of a process's standard output with the time each came.
pub(crate) fn lines_of(process: &mut Process) -> Receiver<(Instant, String)> {
    let output = process.take_output().expect("the process was started with a pipe");
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { break };
            if sender.send((Instant::now(), String::from_utf8_lossy(&line).into_owned())).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_players() {
        assert_eq!(statistic("| frames displayed :      223"), Some(("frames displayed".to_owned(), 223)));
        assert_eq!(statistic("> | demux corrupted  :        1"), Some(("demux corrupted".to_owned(), 1)));
        assert_eq!(statistic("+-[Incoming]"), None);
        let line = "/a:b: last-message = chain   ******* (picture:sink) (616320 bytes, dts: none, \
                    pts: 0:01:21.200000000, duration: 0:00:00.033333333, offset: -1)";
        assert_eq!(rendered(line), Some(("picture", 81_200_000_000)));
        assert_eq!(rendered("Setting pipeline to PAUSED ..."), None);
        assert!(vlc_line_matters("[00007f] ts demux error: lost sync"));
        assert!(!vlc_line_matters("[00007f] main interface error: no suitable interface module"));
    }

    #[test]
    fn a_bad_run_is_not_smooth() {
        let good = Playback { player: "none", seconds: 20.0, frames: 600, ..Playback::default() };
        good.assert_smooth(20.0, 30.0);
        let text = || vec!["x".to_owned()];
        for (name, bad) in [
            ("fatal", Playback { fatal: text(), ..good.clone() }),
            ("stall", Playback { stalls: text(), ..good.clone() }),
            ("complaint", Playback { complaints: text(), ..good.clone() }),
            ("short", Playback { seconds: 18.0, ..good.clone() }),
            ("few pictures", Playback { frames: 500, ..good.clone() }),
        ] {
            let outcome = std::panic::catch_unwind(|| bad.assert_smooth(20.0, 30.0));
            assert!(outcome.is_err(), "{name}");
        }
    }
}

//! `cargo xtask cost`: what a stream costs the server in CPU time, with MPEG-TS alone and with CMAF beside it, in one run.
//!
//! The publishers are ffmpeg in real time; only the server's own CPU time is counted, as the kernel accounts it.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::root;
use crate::run::{Failure, Step};

/// Streams at a time: enough for the kernel's 10 ms ticks to add up, few enough for ffmpeg not to need the machine.
const STREAMS: usize = 20;

/// Seconds counted per run, after the streams have settled.
const SECONDS: u32 = 20;
const SETTLE: Duration = Duration::from_secs(5);

/// Runs of each kind, one after the other in turn; the median counts.
const RUNS: usize = 3;

/// Clock ticks per second of /proc/PID/stat: fixed by Linux for what it shows to programs.
const TICK_MS: u32 = 10;

const KINDS: [(&str, &str); 2] = [
    ("MPEG-TS", "hls = true\nllhls = false\ndash = false"),
    ("MPEG-TS and CMAF", "hls = true\nllhls = true\ndash = true"),
];

pub(crate) fn run() -> Result<(), Failure> {
    Step::cargo(&["build", "--release", "--locked", "--package", "headwater-origin", "--bin", "headwater"])
        .run()?;
    println!(
        "{STREAMS} streams of sample-media/clip.flv, CPU ms per stream and second, {RUNS} runs in turn:"
    );
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        for (kind, costs) in KINDS.iter().zip(&mut costs) {
            costs.push(measure(kind.1)?);
        }
    }
    let mut medians = Vec::new();
    for ((name, _), costs) in KINDS.iter().zip(&mut costs) {
        costs.sort_by(f64::total_cmp);
        let median = costs.get(costs.len() / 2).copied().unwrap_or_default();
        let texts: Vec<String> = costs.iter().map(|cost| format!("{cost:.2}")).collect();
        println!("  {name}: {median:.2} ({})", texts.join(", "));
        medians.push(median);
    }
    if let [alone, both] = medians.as_slice() {
        println!("  with CMAF: {:.2} times the CPU time", both / alone);
    }
    Ok(())
}

/// CPU milliseconds per stream and second with these outputs.
fn measure(outputs: &str) -> Result<f64, Failure> {
    let failure = |error: std::io::Error| Failure::new(error.to_string());
    let folder = root().join("target/cost");
    fs::create_dir_all(&folder).map_err(failure)?;
    let mut ports = Vec::new();
    // All are held until all are chosen, so they differ.
    let listeners: Result<Vec<_>, _> = (0..3).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect();
    for listener in listeners.map_err(failure)? {
        ports.push(listener.local_addr().map_err(failure)?);
    }
    let [rtmp, http, admin] = ports.as_slice() else { return Err(Failure::new("three ports are needed")) };
    let path = folder.join("headwater.toml");
    let text = format!(
        "[rtmp]\nlisten = \"{rtmp}\"\n[http]\nlisten = \"{http}\"\n[admin]\nlisten = \"{admin}\"\n[outputs]\n{outputs}\n"
    );
    fs::write(&path, text).map_err(failure)?;
    let log = fs::File::create(folder.join("headwater.log")).map_err(failure)?;
    let mut server = Command::new(root().join("target/release/headwater"));
    server.args(["serve", "--config"]).arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut running = Running(vec![server.spawn().map_err(failure)?]);
    sleep(Duration::from_millis(500));
    for n in 0..STREAMS {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i"]);
        ffmpeg.arg(root().join("sample-media/clip.flv")).args(["-c", "copy", "-f", "flv"]);
        ffmpeg.arg(format!("rtmp://{rtmp}/live/cost{n}")).stdout(Stdio::null()).stderr(Stdio::null());
        running.0.push(ffmpeg.spawn().map_err(failure)?);
    }
    sleep(SETTLE);
    let pid = running.0.first().map_or(0, Child::id);
    let before = ticks(pid)?;
    sleep(Duration::from_secs(u64::from(SECONDS)));
    let after = ticks(pid)?;
    let ended = running.0.iter_mut().filter_map(|child| child.try_wait().ok().flatten()).count();
    if ended > 0 {
        return Err(Failure::new(format!("{ended} of the processes ended early")));
    }
    Ok(f64::from(after.saturating_sub(before) * TICK_MS) / (STREAMS as f64 * f64::from(SECONDS)))
}

/// User and system time of a process so far, in clock ticks: fields 14 and 15 of /proc/PID/stat.
fn ticks(pid: u32) -> Result<u32, Failure> {
    let text =
        fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| Failure::new(error.to_string()))?;
    // The program's name, in parentheses, may hold spaces.
    let (_, fields) = text.rsplit_once(')').unwrap_or_default();
    let mut fields = fields.split_whitespace().skip(11).map_while(|field| field.parse::<u32>().ok());
    match (fields.next(), fields.next()) {
        (Some(user), Some(system)) => Ok(user + system),
        _ => Err(Failure::new("/proc/PID/stat can't be read")),
    }
}

/// Processes that end with this value.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in self.0.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

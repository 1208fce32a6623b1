//! The rows of the table: what is done to a server for each, and which figures are taken.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::servers::{Purpose, Running, Server};
use super::table::Table;
use super::{Options, load};
use crate::run::Failure;

/// A row, or a group of rows that are measured together.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Which servers have it.
    pub(super) is_for: fn(Server) -> bool,
    pub(super) measure: fn(Server, &Options, &str, &mut Table) -> Result<(), Failure>,
}

pub(super) const ROWS: &[Row] = &[
    Row { name: "start", is_for: Server::is_headwater, measure: start },
    Row { name: "cost", is_for: |_| true, measure: cost },
    Row { name: "scale", is_for: |server| server != Server::Nms && server != Server::Xiu, measure: scale },
    Row { name: "memory", is_for: |server| server != Server::Floor, measure: memory },
    Row { name: "most", is_for: |_| true, measure: most },
    Row { name: "unpaced", is_for: |_| true, measure: unpaced },
    Row {
        name: "egress",
        is_for: |server| server == Server::HeadwaterTs || server == Server::NginxRtmp,
        measure: egress,
    },
    Row { name: "held", is_for: |server| server == Server::Headwater, measure: held },
    Row { name: "latency", is_for: |server| server != Server::Floor, measure: latency },
];

/// Until there is something to ask for, where one waits for that.
const SETTLE: Duration = Duration::from_secs(5);

/// A server with nothing to do is watched for so long.
const IDLE: Duration = Duration::from_secs(10);

/// Many small streams: how many, of how many Mbit/s, and for how long before they are counted.
const SCALE_STREAMS: u32 = 1_000;
const SCALE_MEGABITS: &str = "0.5";
const SCALE_SETTLE: &str = "50";
const SCALE_RAMP: &str = "10";

/// Publishers begin within this: they would all send their keyframes at the same moment otherwise.
const RAMP: &str = "2";

/// Streams whose memory is measured, and for how long they go on before: until every window has slid for a while. What is kept beyond the
/// lists is as long as they are.
const MEMORY_STREAMS: u32 = 20;
const MEMORY_SECONDS: u32 = 60;

/// A server keeps up as long as 99 of 100 tags leave their publisher no later than this.
const LATE_MS_MAX: f64 = 100.0;

/// The search for the most streams begins with so many, doubles them, and ends here at the latest.
const MOST_FIRST: u32 = 100;
const MOST_LAST: u32 = 12_800;

/// Steps between what was carried and what was not.
const MOST_STEPS: u32 = 3;

/// Seconds that each step counts.
const MOST_SECONDS: u32 = 6;

/// A segment is listed every 2 s, and a tail is to be seen.
const LISTED_SECONDS: &str = "120";

const MIB: f64 = 1_048_576.0;

/// How often one looks whether a publisher is there, and how long between.
const PUBLISHED_LOOKS: u32 = 100;
const LOOK: Duration = Duration::from_millis(100);

/// Addresses that a crowd comes from.
const ADDRESSES: &str = "50";

fn publish(
    server: &Running,
    clip: &str,
    streams: u32,
    (settle, seconds): (u32, u32),
    more: &[&str],
) -> Result<load::Report, Failure> {
    let (url, pid) = (format!("{}cam", server.rtmp()), server.pid());
    let (streams, seconds) = (streams.to_string(), seconds.to_string());
    let settle = settle.to_string();
    let mut arguments =
        vec!["publish", &url, "--media", clip, "--publishers", &streams, "--seconds", &seconds];
    arguments.extend(["--pid", &pid]);
    let usual = ["--ramp", RAMP, "--settle", &settle];
    arguments.extend(if more.is_empty() { &usual } else { more });
    let report = load::run(server, &arguments)?;
    let failed = report.number("failed")?;
    if failed > 0.0 {
        Err(Failure::new(format!("{failed} of {streams} publishers failed")))
    } else {
        Ok(report)
    }
}

fn cost(server: Server, options: &Options, clip: &str, table: &mut Table) -> Result<(), Failure> {
    for streams in &options.streams {
        let running = server.start(Purpose::RealTime)?;
        let report = publish(&running, clip, *streams, (options.settle, options.seconds), &[])?;
        let cpu = report.number("server_cpu_ms_per_stream_second")?;
        table.add(format!("CPU per stream and second, {streams} streams"), "ms", server.name(), cpu);
        let late = report.number("lateness.p99_ms")?;
        table.add(format!("tags late by, p99, {streams} streams"), "ms", server.name(), late);
    }
    Ok(())
}

fn memory(server: Server, options: &Options, clip: &str, table: &mut Table) -> Result<(), Failure> {
    let running = server.start(Purpose::RealTime)?;
    let empty_kib = publish(&running, clip, 1, (0, 1), &["--ramp", "0"])?.number("server_rss_kib")?;
    drop(running);
    let running = server.start(Purpose::RealTime)?;
    let seconds = (options.settle, MEMORY_SECONDS);
    let full_kib = publish(&running, clip, MEMORY_STREAMS, seconds, &[])?.number("server_rss_kib")?;
    let streams = f64::from(MEMORY_STREAMS);
    let in_files = running.bytes_in_files() as f64 / MIB / streams;
    let per_stream = (full_kib - empty_kib) / 1_024.0 / streams + in_files;
    table.add("memory per stream, files in memory included", "MiB", server.name(), per_stream);
    if server.is_headwater() {
        let kept = kept_mib(&running)? / streams;
        table.add("of it media that is kept", "MiB", server.name(), kept);
    }
    Ok(())
}

/// MiB of media that all streams keep, by their own account.
fn kept_mib(running: &Running) -> Result<f64, Failure> {
    let (port, path) = running.admin();
    let list: Vec<serde_json::Value> =
        serde_json::from_slice(&get(port, path)?).map_err(|error| Failure::new(error.to_string()))?;
    Ok(list.iter().filter_map(|stream| stream["memory_bytes"].as_f64()).sum::<f64>() / MIB)
}

/// From its first instruction until it listens, and what it needs while nobody comes.
fn start(server: Server, _: &Options, _: &str, table: &mut Table) -> Result<(), Failure> {
    let running = server.start(Purpose::RealTime)?;
    let listens = running.listened_within().as_secs_f64() * 1_000.0;
    table.add("start until it listens", "ms", server.name(), listens);
    sleep(SETTLE);
    let before = running.cpu_ms()?;
    sleep(IDLE);
    let idle = (running.cpu_ms()? - before) / IDLE.as_secs_f64();
    table.add("CPU per second with nothing to do", "ms", server.name(), idle);
    Ok(())
}

/// Many small streams.
fn scale(server: Server, options: &Options, _: &str, table: &mut Table) -> Result<(), Failure> {
    let clip = super::clip(SCALE_MEGABITS)?;
    let running = server.start(Purpose::RealTime)?;
    let more = ["--ramp", SCALE_RAMP, "--settle", SCALE_SETTLE];
    let report = publish(&running, &clip, SCALE_STREAMS, (0, options.seconds), &more)?;
    let row = |what: &str| format!("{SCALE_STREAMS} streams of {SCALE_MEGABITS} Mbit/s: {what}");
    let cpu = report.number("server_cpu_ms_per_stream_second")?;
    table.add(row("CPU per stream and second"), "ms", server.name(), cpu);
    let late = report.number("lateness.p99_ms")?;
    table.add(row("tags late by, p99"), "ms", server.name(), late);
    if server != Server::Floor {
        let in_files = running.bytes_in_files() as f64 / MIB;
        let resident = report.number("server_rss_kib")? / 1_024.0 + in_files;
        table.add(row("memory, files in memory included"), "MiB", server.name(), resident);
    }
    if server.is_headwater() {
        table.add(row("of it media that is kept"), "MiB", server.name(), kept_mib(&running)?);
    }
    Ok(())
}

fn most(server: Server, options: &Options, clip: &str, table: &mut Table) -> Result<(), Failure> {
    let carries = |streams: u32| -> Result<bool, Failure> {
        let running = server.start(Purpose::RealTime)?;
        // One that can't be carried fails in some way or other.
        let Ok(report) = publish(&running, clip, streams, (options.settle, MOST_SECONDS), &[]) else {
            return Ok(false);
        };
        Ok(report.number("lateness.p99_ms")? <= LATE_MS_MAX)
    };
    let (mut carried, mut too_many) = (0, MOST_FIRST);
    while too_many <= MOST_LAST && carries(too_many)? {
        (carried, too_many) = (too_many, too_many * 2);
    }
    for _ in 0..MOST_STEPS {
        let between = carried.midpoint(too_many);
        if carries(between)? {
            carried = between;
        } else {
            too_many = between;
        }
    }
    table.add("most streams in real time", "streams", server.name(), f64::from(carried));
    Ok(())
}

fn unpaced(server: Server, options: &Options, clip: &str, table: &mut Table) -> Result<(), Failure> {
    let running = server.start(Purpose::Unpaced)?;
    let report = publish(&running, clip, 1, (0, options.seconds), &["--unpaced", "--ramp", "1"])?;
    table.add("one unpaced connection", "MB/s", server.name(), report.number("megabytes_per_second")?);
    let rss = report.number("server_rss_kib")? / 1_024.0;
    table.add("memory after it", "MiB", server.name(), rss);
    Ok(())
}

/// A publisher in the background that ends with this value.
struct Publisher(Child);

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Publisher {
    fn start(server: &Running, clip: &str) -> Result<Publisher, Failure> {
        let url = format!("{}cam", server.rtmp());
        let (line, mut command) =
            load::command(server, &["publish", &url, "--media", clip, "--seconds", "600"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        child.map(Publisher).map_err(|error| Failure::new(format!("{line}: {error}")))
    }
}

/// A segment and a playlist of Headwater, asked for over and over; nginx serves the same bytes as files.
fn egress(server: Server, options: &Options, clip: &str, table: &mut Table) -> Result<(), Failure> {
    let source = Server::HeadwaterTs.start(Purpose::RealTime)?;
    let publisher = Publisher::start(&source, clip)?;
    let (port, index) = (source.http_port(), "/live/cam/index.m3u8");
    let multivariant = wait_for(port, index)?;
    // Until more than one segment is listed.
    sleep(SETTLE);
    let playlist_path = format!("/live/cam/{}", last_reference(&multivariant)?);
    let playlist = get(port, &playlist_path)?;
    let folder = playlist_path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let segment_path = format!("{folder}/{}", last_reference(&playlist)?);
    let segment = get(port, &segment_path)?;
    // What is published has its price as well.
    drop(publisher);
    let served = if server == Server::NginxRtmp {
        let running = server.start(Purpose::RealTime)?;
        for (path, body) in [(&playlist_path, &playlist), (&segment_path, &segment)] {
            let file = running.files().join(path.trim_start_matches('/'));
            let folder = file.parent().unwrap_or(&file).to_path_buf();
            let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, body));
            written.map_err(|error| Failure::new(error.to_string()))?;
        }
        running
    } else {
        source
    };
    for (what, path) in [("segment", &segment_path), ("playlist", &playlist_path)] {
        let url = format!("http://127.0.0.1:{}{path}", served.http_port());
        let (pid, seconds) = (served.pid(), options.seconds.to_string());
        let report = load::run(&served, &["fetch", &url, "--pid", &pid, "--seconds", &seconds])?;
        table.add(
            format!("CPU per {what}"),
            "µs",
            server.name(),
            report.number("server_cpu_us_per_request")?,
        );
        if what == "segment" {
            let per_gigabyte = report.number("server_cpu_s_per_gigabyte")?;
            table.add("CPU per GB of segments", "s", server.name(), per_gigabyte);
        }
    }
    Ok(())
}

fn held(server: Server, options: &Options, clip: &str, table: &mut Table) -> Result<(), Failure> {
    for viewers in &options.viewers {
        let running = server.start(Purpose::RealTime)?;
        let (publish, url) = (format!("{}cam", running.rtmp()), format!("{}cam/llhls.m3u8", running.http()));
        let (pid, seconds, count) = (running.pid(), options.seconds.to_string(), viewers.to_string());
        let mut arguments = vec!["hold", &url, "--publish", &publish, "--media", clip, "--viewers", &count];
        arguments.extend(["--addresses", ADDRESSES, "--pid", &pid, "--seconds", &seconds]);
        let report = load::run(&running, &arguments)?;
        for (row, path) in [
            ("held requests released after the write, p50", "after_write.p50_ms"),
            ("held requests released after the write, p99", "after_write.p99_ms"),
            ("the last after the first, p99", "after_first.p99_ms"),
        ] {
            table.add(format!("{row}, {viewers} viewers"), "ms", server.name(), report.number(path)?);
        }
        let cpu = report.number("server.cpu_us_per_request")?;
        table.add(format!("CPU per held request, {viewers} viewers"), "µs", server.name(), cpu);
    }
    Ok(())
}

/// One viewer of each output.
fn latency(server: Server, options: &Options, clip: &str, table: &mut Table) -> Result<(), Failure> {
    let outputs: &[(&str, &str)] = match server {
        Server::Headwater => &[
            ("HTTP-FLV", "cam.flv"),
            ("HLS", "cam/index.m3u8"),
            ("Low-Latency HLS", "cam/llhls.m3u8"),
            ("DASH", "cam/manifest.mpd"),
        ],
        Server::Nms | Server::Xiu => &[("HTTP-FLV", "cam.flv")],
        Server::Floor | Server::HeadwaterTs | Server::NginxRtmp => &[],
    };
    let seconds = options.seconds.to_string();
    for (output, path) in outputs {
        let running = server.start(Purpose::RealTime)?;
        let (publish, url) = (format!("{}cam", running.rtmp()), format!("{}{path}", running.http()));
        let watch =
            ["watch", &url, "--publish", &publish, "--media", clip, "--viewers", "1", "--seconds", &seconds];
        let report = load::run(&running, &watch)?;
        if *output == "HTTP-FLV" {
            for (row, path) in [
                ("frame in to frame out, p50", "kinds.0.frames.p50_ms"),
                ("frame in to frame out, p99", "kinds.0.frames.p99_ms"),
            ] {
                table.add(format!("{output}, {row}"), "ms", server.name(), report.number(path)?);
            }
        } else {
            let behind = report.number("kinds.0.behind.p50_ms")?;
            table.add(format!("{output}, player behind the clock, p50"), "ms", server.name(), behind);
        }
        let first = report.number("kinds.0.first_media.p50_ms")?;
        table.add(format!("{output}, join to first media"), "ms", server.name(), first);
    }
    if server == Server::Headwater {
        let running = server.start(Purpose::RealTime)?;
        let (publish, url) = (format!("{}cam", running.rtmp()), format!("{}cam/llhls.m3u8", running.http()));
        let hold =
            ["hold", &url, "--publish", &publish, "--media", clip, "--viewers", "1", "--seconds", &seconds];
        let report = load::run(&running, &hold)?;
        let listed = report.number("after_write.p50_ms")?;
        table.add("part listed after its closing picture's write, p50", "ms", server.name(), listed);
    }
    segment_listed(server, clip, table)
}

/// How late a playlist in MPEG-TS lists a segment.
fn segment_listed(server: Server, clip: &str, table: &mut Table) -> Result<(), Failure> {
    let running = server.start(Purpose::RealTime)?;
    let Some(url) = running.ts_playlist("cam") else { return Ok(()) };
    let publish = format!("{}cam", running.rtmp());
    let listed = ["listed", &url, "--publish", &publish, "--media", clip, "--seconds", LISTED_SECONDS];
    let report = load::run(&running, &listed)?;
    for (row, path) in [("p50", "listed.p50_ms"), ("p99", "listed.p99_ms")] {
        let row = format!("segment listed after its closing keyframe's write, {row}");
        table.add(row, "ms", server.name(), report.number(path)?);
    }
    Ok(())
}

/// The last line that is no tag.
fn last_reference(playlist: &[u8]) -> Result<String, Failure> {
    let text = String::from_utf8_lossy(playlist);
    let last = text.lines().rfind(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned);
    last.ok_or_else(|| Failure::new(format!("nothing is listed: {text}")))
}

/// The body of what is there as soon as a publisher is.
fn wait_for(port: u16, path: &str) -> Result<Vec<u8>, Failure> {
    for _ in 0..PUBLISHED_LOOKS {
        if let Ok(body) = get(port, path) {
            return Ok(body);
        }
        sleep(LOOK);
    }
    get(port, path)
}

/// The body of a small answer on this machine.
fn get(port: u16, path: &str) -> Result<Vec<u8>, Failure> {
    let failure = |error: std::io::Error| Failure::new(format!("{path}: {error}"));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failure)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failure)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failure)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    match end {
        Some(end) if answer.starts_with(b"HTTP/1.1 200") => Ok(answer.split_off(end)),
        _ => Err(Failure::new(format!(
            "{path}: {}",
            String::from_utf8_lossy(&answer).lines().next().unwrap_or_default()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_playlist_lists_last() {
        let text = b"#EXTM3U\n#EXTINF:2,\n1.ts\n#EXTINF:2,\n2.ts\n\n#EXT-X-ENDLIST\n";
        assert_eq!(last_reference(text).unwrap(), "2.ts");
        assert!(last_reference(b"#EXTM3U\n").is_err());
    }
}

//! The reference: ffmpeg's own HLS and DASH muxers behind a plain file server. A player that fails on this fails by itself; one that
//! only fails on Headwater found a fault of ours.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::process::{Process, Scratch, wait_for};

/// From ffmpeg's start to three segments of 2 s, on a busy machine.
const PLAYABLE: Duration = Duration::from_secs(30);

/// A file that is not there is said to be missing after this, which is much less than a segment.
const NOT_FOUND: Duration = Duration::from_millis(50);

/// What is wrong with the segments, for a test that a player's report shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Sound is stamped so many 90 kHz ticks earlier than it belongs.
    SoundBehind(u64),
}

/// Which of ffmpeg's muxers packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packaging {
    /// HLS with MPEG-TS segments.
    Ts,
    /// HLS with fMP4 segments, audio and video in one file.
    Fmp4,
    /// DASH with SegmentTimeline.
    Dash,
}

impl Packaging {
    /// What is asked for first, and what in it stands for a segment.
    fn list(self) -> (&'static str, &'static str) {
        match self {
            Packaging::Ts | Packaging::Fmp4 => ("index.m3u8", "#EXTINF"),
            Packaging::Dash => ("manifest.mpd", "<S "),
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        const FLAGS: &str = "delete_segments+program_date_time";
        match self {
            Packaging::Ts => &["-f", "hls", "-hls_time", "2", "-hls_list_size", "8", "-hls_flags", FLAGS],
            Packaging::Fmp4 => &[
                "-f",
                "hls",
                "-hls_time",
                "2",
                "-hls_list_size",
                "8",
                "-hls_segment_type",
                "fmp4",
                "-hls_flags",
                FLAGS,
            ],
            Packaging::Dash => {
                &["-f", "dash", "-seg_duration", "2", "-window_size", "8", "-extra_window_size", "5"]
            }
        }
    }
}

/// ffmpeg's PID of the second elementary stream, sound in every clip of ours.
const SOUND_PID: u16 = 0x101;

/// What the first part of a path asks for: the same files, with something changed that a player may stumble over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// `/numbered/`: so much is added to every segment's number in an MPD. ffmpeg counts from 1, Headwater from Unix seconds.
    Numbers,
    /// `/late/`: the one Period of a static MPD starts [`LATE`] after the presentation.
    Start,
}

/// What [`Changed::Numbers`] adds: more than any list is long.
const NUMBERS: u64 = 1_000_000;

/// Where the Period starts that [`Changed::Start`] moves: long enough to tell waiting from a slow start.
pub const LATE: Duration = Duration::from_secs(12);

impl Changed {
    fn folder(self) -> &'static str {
        match self {
            Changed::Numbers => "numbered",
            Changed::Start => "late",
        }
    }

    fn of(path: &str) -> Option<Changed> {
        let folder = path.split('/').nth(1)?;
        [Changed::Numbers, Changed::Start].into_iter().find(|changed| changed.folder() == folder)
    }

    /// The file that `name` stands for.
    fn file(self, name: &str) -> String {
        let numbered = || {
            let (stem, number) = name.strip_prefix("chunk-")?.strip_suffix(".m4s")?.rsplit_once('-')?;
            let number = number.parse::<u64>().ok()?.checked_sub(NUMBERS)?;
            Some(format!("chunk-{stem}-{number:05}.m4s"))
        };
        match self {
            Changed::Numbers => numbered().unwrap_or_else(|| name.to_owned()),
            Changed::Start => name.to_owned(),
        }
    }

    fn mpd(self, text: &str) -> String {
        match self {
            Changed::Numbers => change_attribute(text, "startNumber", |number| {
                let number: u64 = number.parse().expect("ffmpeg writes a number");
                (number + NUMBERS).to_string()
            }),
            Changed::Start => start_at(text, LATE),
        }
    }
}

/// A static MPD of one Period with that Period's start moved to `start`, and the presentation's end with it.
///
/// # Panics
/// When either is not written in seconds alone. Headwater writes so, and ffmpeg what is shorter than a minute.
pub fn start_at(mpd: &str, start: Duration) -> String {
    let seconds = |duration: &str| -> f64 {
        let seconds = duration.strip_prefix("PT").and_then(|rest| rest.strip_suffix('S'));
        seconds.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("not in seconds: {duration}"))
    };
    let mut moved_by = 0.0;
    let mpd = change_attribute(mpd, "start", |before| {
        moved_by = start.as_secs_f64() - seconds(before);
        format!("PT{:.3}S", start.as_secs_f64())
    });
    change_attribute(&mpd, "mediaPresentationDuration", |end| format!("PT{:.3}S", seconds(end) + moved_by))
}

/// `mpd` with every value of the attribute `name` put through `change`.
fn change_attribute(mpd: &str, name: &str, mut change: impl FnMut(&str) -> String) -> String {
    let attribute = format!(" {name}=\"");
    let mut parts = mpd.split(attribute.as_str());
    let mut changed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (value, rest) = part.split_once('"').expect("an attribute's value ends");
        changed.push_str(&format!("{attribute}{}\"{rest}", change(value)));
    }
    changed
}

/// `mpd` without the attribute `name`.
fn without_attribute(mpd: &str, name: &str) -> String {
    let Some((before, rest)) = mpd.split_once(&format!(" {name}=\"")) else { return mpd.to_owned() };
    let (_, after) = rest.split_once('"').expect("an attribute's value ends");
    format!("{before}{after}")
}

/// A folder behind a plain HTTP server on loopback, until it goes.
pub struct Files {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Files {
    /// Serves what lies in `folder`, as it changes, with `fault` in every segment.
    pub fn serve(folder: &Path, fault: Fault) -> Files {
        let folder = folder.to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (stopped, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stop, ask) = (Arc::clone(&stopped), Arc::clone(&asked));
        let acceptor = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let (folder, ask) = (folder.clone(), Arc::clone(&ask));
                if let Ok(connection) = connection {
                    std::thread::spawn(move || serve(&connection, &folder, fault, &ask));
                }
            }
        });
        Files { address, asked, stopped, acceptor: Some(acceptor) }
    }

    /// Where `name` is fetched.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// How often `path` was asked for.
    pub fn asked(&self, path: &str) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|asked| *asked == path).count()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// A stream that Headwater has no part in: a live one, or one that has ended.
pub struct Reference {
    list: &'static str,
    url: String,
    files: Files,
    ffmpeg: Process,
}

impl Reference {
    /// Packages `file` in real time, over and over, and returns when three segments can be watched.
    pub fn start(scratch: &Scratch, file: &Path) -> Reference {
        Self::start_with(scratch, file, Fault::None)
    }

    /// As [`Self::start`], with `fault` in every segment.
    pub fn start_with(scratch: &Scratch, file: &Path, fault: Fault) -> Reference {
        Self::package(scratch, file, Packaging::Ts, fault)
    }

    /// As [`Self::start`], packaged as `packaging` says.
    pub fn start_as(scratch: &Scratch, file: &Path, packaging: Packaging) -> Reference {
        Self::package(scratch, file, packaging, Fault::None)
    }

    fn package(scratch: &Scratch, file: &Path, packaging: Packaging, fault: Fault) -> Reference {
        let (list, segment) = packaging.list();
        let folder = scratch.join("reference");
        std::fs::create_dir_all(&folder).expect("a folder in the test's folder");
        let playlist = folder.join(list);
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i"]).arg(file);
        ffmpeg.args(["-c", "copy"]).args(packaging.arguments()).arg(&playlist);
        let ffmpeg = Process::start("reference-ffmpeg", ffmpeg, scratch);

        let files = Files::serve(&folder, fault);
        wait_for("the reference's third segment", PLAYABLE, || {
            let text = std::fs::read_to_string(&playlist).ok()?;
            (listed(&text, segment) >= 3).then_some(())
        });
        Reference { list, url: files.url(list), files, ffmpeg }
    }

    /// `file` as a DASH presentation that has ended: ffmpeg packages it at once, and its MPD is static.
    pub fn ended(scratch: &Scratch, file: &Path) -> Reference {
        let folder = scratch.join("reference");
        std::fs::create_dir_all(&folder).expect("a folder in the test's folder");
        let list = Packaging::Dash.list().0;
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error", "-i"]).arg(file);
        ffmpeg.args(["-c", "copy", "-f", "dash", "-seg_duration", "2"]).arg(folder.join(list));
        let mut ffmpeg = Process::start("reference-ffmpeg", ffmpeg, scratch);
        assert!(ffmpeg.wait(PLAYABLE).success(), "ffmpeg: {}", ffmpeg.log());
        let files = Files::serve(&folder, Fault::None);
        Reference { list, url: files.url(list), files, ffmpeg }
    }

    /// No further segment comes; the playlist stays as it is and does not end.
    pub fn starve(&mut self) {
        self.ffmpeg.kill();
    }

    /// Where it is watched.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it is watched with something changed.
    pub fn changed(&self, changed: Changed) -> String {
        self.files.url(&format!("{}/{}", changed.folder(), self.list))
    }

    /// How often its playlist was asked for as it is.
    pub fn lists_asked_for(&self) -> usize {
        self.files.asked(&format!("/{}", self.list))
    }
}

/// How many segments `text` lists; a run of a timeline is one `S` with its repeats.
fn listed(text: &str, segment: &str) -> u64 {
    text.split(segment).skip(1).fold(0, |sum, rest| {
        let element = rest.split('>').next().unwrap_or_default();
        let repeats = element.split("r=\"").nth(1).and_then(|r| r.split('"').next()?.parse::<u64>().ok());
        sum + 1 + repeats.unwrap_or(0)
    })
}

/// Answers GET for files of `folder` until the client goes away.
fn serve(connection: &TcpStream, folder: &Path, fault: Fault, asked: &Mutex<Vec<String>>) {
    let _ = connection.set_read_timeout(Some(Duration::from_secs(30)));
    let mut lines = BufReader::new(connection).lines();
    while let Some(Ok(request)) = lines.next() {
        // The header ends with an empty line; nothing in it matters here.
        while let Some(Ok(line)) = lines.next() {
            if line.is_empty() {
                break;
            }
        }
        let path = request.split(' ').nth(1).unwrap_or("/");
        let name = path.rsplit('/').next().unwrap_or_default();
        let name = name.split('?').next().unwrap_or_default();
        asked.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
        if answer(connection, folder, name, Changed::of(path), fault).is_err() {
            break;
        }
    }
}

fn answer(
    mut connection: &TcpStream,
    folder: &Path,
    name: &str,
    changed: Option<Changed>,
    fault: Fault,
) -> std::io::Result<()> {
    let file = folder.join(changed.map_or_else(|| name.to_owned(), |changed| changed.file(name)));
    let ending = file.extension().and_then(|ending| ending.to_str());
    let kind = match ending {
        Some("m3u8") => "application/vnd.apple.mpegurl",
        Some("mpd") => "application/dash+xml",
        Some("m4s" | "mp4") => "video/mp4",
        _ => "video/mp2t",
    };
    let (status, body) = match std::fs::read(&file) {
        Ok(mut body) => {
            if ending == Some("mpd") {
                // GStreamer recognizes no MPD whose root element is broken into lines, and not a live one with a schemaLocation:
                // it takes it for any XML file.
                let text = String::from_utf8_lossy(&body).replace("\n\t", " ");
                let text = without_attribute(&text, "xsi:schemaLocation");
                body = changed.map_or_else(|| text.clone(), |changed| changed.mpd(&text)).into_bytes();
            }
            if let (Fault::SoundBehind(ticks), "video/mp2t") = (fault, kind) {
                stamp_sound_behind(&mut body, ticks);
            }
            ("200 OK", body)
        }
        Err(_) => {
            // ffmpeg asks for a segment that is still to come as fast as it can, with both cores of a machine that others play on.
            std::thread::sleep(NOT_FOUND);
            ("404 Not Found", Vec::new())
        }
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nAccess-Control-Allow-Origin: *\r\n\
         Cache-Control: no-cache\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(&body)
}

/// Takes `ticks` from the PTS of every PES packet of sound (H.222.0 2.4.3.2 and 2.4.3.7).
fn stamp_sound_behind(segment: &mut [u8], ticks: u64) {
    for packet in segment.chunks_exact_mut(188) {
        let pid = u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff;
        let starts_pes = packet[1] & 0x40 != 0;
        if pid != SOUND_PID || !starts_pes {
            continue;
        }
        let adaptation = if packet[3] & 0x20 == 0 { 0 } else { 1 + usize::from(packet[4]) };
        // Start code, stream_id, length, two bytes of flags, header length: the PTS follows.
        let pts = &mut packet[4 + adaptation + 9..][..5];
        let value = (u64::from(pts[0] >> 1) & 7) << 30
            | u64::from(pts[1]) << 22
            | u64::from(pts[2] >> 1) << 15
            | u64::from(pts[3]) << 7
            | u64::from(pts[4] >> 1);
        let value = value.wrapping_sub(ticks) % (1 << 33);
        let bits = |shift: u32, mask: u64| ((value >> shift) & mask) as u8;
        pts[0] = (pts[0] & 0xf1) | bits(30, 7) << 1;
        pts[1] = bits(22, 0xff);
        pts[2] = bits(15, 0x7f) << 1 | 1;
        pts[3] = bits(7, 0xff);
        pts[4] = bits(0, 0x7f) << 1 | 1;
    }
}

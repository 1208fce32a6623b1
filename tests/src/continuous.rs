//! Viewers of continuous outputs, as programs and as sockets, and what is read back of what they got.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use headwater_testkit::fidelity::{self, Fidelity};
use headwater_testkit::flv;
use headwater_testkit::fmp4::Fmp4Reader;
use headwater_testkit::ts::TsReader;
use tungstenite::Message;

use crate::process::{Process, Scratch};

/// A stream that never ends fails its test and does not hang it.
const RECORDING_MAX: Duration = Duration::from_secs(120);

/// Between two looks at whether to stop.
const SLICE: Duration = Duration::from_millis(100);

/// An HTTP body while it comes, read as a client does that knows nothing of what is in it.
#[derive(Debug)]
pub struct Recorder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Recorded>,
}

/// What came.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// The answer's head, in lower case.
    pub head: String,
    /// The body, without its chunks' sizes.
    pub body: Vec<u8>,
    /// The body ended as a body does, not with the connection or with the test's patience.
    pub is_whole: bool,
}

impl Recorder {
    /// Asks for a path of the server on this port.
    ///
    /// # Panics
    /// When it does not accept.
    pub fn start(port: u16, path: &str) -> Recorder {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("the HTTP port accepts");
        socket.set_read_timeout(Some(SLICE)).expect("a read timeout");
        socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes()).expect("a request");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        Recorder { stop, thread: std::thread::spawn(move || read_all(socket, &stopped)) }
    }

    /// What came until the end, or until now.
    ///
    /// # Panics
    /// When what came is no HTTP.
    pub fn stop(self) -> Recorded {
        self.stop.store(true, Ordering::Relaxed);
        self.finish()
    }

    /// What came until the end.
    ///
    /// # Panics
    /// When what came is no HTTP.
    pub fn finish(self) -> Recorded {
        self.thread.join().expect("a body in chunks")
    }
}

fn read_all(mut socket: TcpStream, stop: &AtomicBool) -> Recorded {
    let began = Instant::now();
    let (mut raw, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    while began.elapsed() < RECORDING_MAX && !stop.load(Ordering::Relaxed) {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => raw.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
        if raw.ends_with(b"\r\n0\r\n\r\n") {
            break;
        }
    }
    let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") else { return Recorded::default() };
    let head = String::from_utf8_lossy(&raw[..end]).to_lowercase();
    let mut recorded = Recorded { head, ..Recorded::default() };
    let mut rest = &raw[end + 4..];
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).expect("a chunk's size");
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        let chunk = &rest[line + 2..];
        if size == 0 {
            recorded.is_whole = true;
            break;
        }
        let there = size.min(chunk.len());
        recorded.body.extend_from_slice(&chunk[..there]);
        rest = chunk.get(size + 2..).unwrap_or_default();
    }
    recorded
}

/// FLV over WebSocket: every message until the server closes, and the code it closes with.
///
/// # Panics
/// When the server does not upgrade, or a message is not binary.
pub fn websocket(port: u16, path: &str) -> (Vec<Vec<u8>>, Option<u16>) {
    let url = format!("ws://127.0.0.1:{port}{path}");
    let (mut socket, answer) = tungstenite::connect(&url).expect("a WebSocket");
    assert_eq!(answer.status(), 101, "{answer:?}");
    let mut messages = Vec::new();
    let began = Instant::now();
    while began.elapsed() < RECORDING_MAX {
        match socket.read() {
            Ok(Message::Binary(bytes)) => messages.push(bytes.to_vec()),
            Ok(Message::Close(frame)) => return (messages, frame.map(|frame| frame.code.into())),
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => panic!("{error} after {} messages", messages.len()),
        }
    }
    (messages, None)
}

/// ffmpeg copies what it plays into a file in the test's folder, until the stream ends.
pub fn ffmpeg(scratch: &Scratch, name: &str, url: &str) -> Process {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error", "-i", url, "-c", "copy", "-y"]);
    ffmpeg.args(["-flvflags", "no_duration_filesize", "-copyts", "-f", "flv"]);
    ffmpeg.arg(scratch.join(&format!("{name}.flv")));
    Process::start(name, ffmpeg, scratch)
}

/// rtmpdump writes what it plays into a file in the test's folder, until the stream ends.
pub fn rtmpdump(scratch: &Scratch, name: &str, url: &str) -> Process {
    let mut rtmpdump = Command::new("rtmpdump");
    rtmpdump.args(["-v", "-q", "-r", url, "-o"]).arg(scratch.join(&format!("{name}.flv")));
    Process::start(name, rtmpdump, scratch)
}

/// How FLV that was received compares with the file that was sent.
///
/// # Panics
/// When either is no FLV.
pub fn compare_flv(sent: &Path, received: &[u8]) -> Fidelity {
    let received = flv::read(received).expect("FLV");
    fidelity::compare_flv(&sent_units(sent), &received)
}

/// The same for MPEG-TS, which also has to be right.
///
/// # Panics
/// With what is wrong.
pub fn compare_ts(sent: &Path, received: &[u8]) -> Fidelity {
    let mut reader = TsReader::new();
    reader.segment(received);
    let report = reader.finish();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    fidelity::compare(&sent_units(sent), &report)
}

/// The same for fragmented MP4 of both tracks.
///
/// # Panics
/// With what is wrong.
pub fn compare_mp4(sent: &Path, received: &[u8]) -> Fidelity {
    let [video, audio] = [1, 2].map(|track_id| Fmp4Reader::read_movie(received, track_id));
    assert!(
        video.findings.is_empty() && audio.findings.is_empty(),
        "{:#?}{:#?}",
        video.findings,
        audio.findings
    );
    fidelity::compare_fmp4(&sent_units(sent), Some(&video), Some(&audio))
}

fn sent_units(sent: &Path) -> flv::Reference {
    flv::read(&std::fs::read(sent).expect("the file that was sent")).expect("ffmpeg writes FLV")
}

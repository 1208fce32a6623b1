//! The reference: ffmpeg's own HLS muxer behind a plain file server. A player that fails on this fails by itself; one that
//! only fails on Headwater found a fault of ours.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::process::{Process, Scratch, wait_for};

/// From ffmpeg's start to three segments of 2 s, on a busy machine.
const PLAYABLE: Duration = Duration::from_secs(30);

/// A live HLS stream that Headwater has no part in.
pub struct Reference {
    url: String,
    address: std::net::SocketAddr,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
    ffmpeg: Process,
}

impl Reference {
    /// Packages `file` in real time, over and over, and returns when three segments can be watched.
    pub fn start(scratch: &Scratch, file: &Path) -> Reference {
        let folder = scratch.join("reference");
        std::fs::create_dir_all(&folder).expect("a folder in the test's folder");
        let playlist = folder.join("index.m3u8");
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error", "-re", "-stream_loop", "-1", "-i"]).arg(file);
        ffmpeg.args(["-c", "copy", "-f", "hls", "-hls_time", "2", "-hls_list_size", "8"]);
        ffmpeg.args(["-hls_flags", "delete_segments+program_date_time"]).arg(&playlist);
        let ffmpeg = Process::start("reference-ffmpeg", ffmpeg, scratch);

        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        let acceptor = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let folder = folder.clone();
                if let Ok(connection) = connection {
                    std::thread::spawn(move || serve(&connection, &folder));
                }
            }
        });
        wait_for("the reference's third segment", PLAYABLE, || {
            let text = std::fs::read_to_string(&playlist).ok()?;
            (text.matches("#EXTINF").count() >= 3).then_some(())
        });
        let url = format!("http://{address}/index.m3u8");
        Reference { url, address, stopped, acceptor: Some(acceptor), ffmpeg }
    }

    /// No further segment comes; the playlist stays as it is and does not end.
    pub fn starve(&mut self) {
        self.ffmpeg.kill();
    }

    /// Where it is watched.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Answers GET for files of `folder` until the client goes away.
fn serve(connection: &TcpStream, folder: &Path) {
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
        if answer(connection, &folder.join(name)).is_err() {
            break;
        }
    }
}

fn answer(mut connection: &TcpStream, file: &PathBuf) -> std::io::Result<()> {
    let ending = file.extension().and_then(|ending| ending.to_str());
    let kind = if ending == Some("m3u8") { "application/vnd.apple.mpegurl" } else { "video/mp2t" };
    let (status, body) = match std::fs::read(file) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nAccess-Control-Allow-Origin: *\r\n\
         Cache-Control: no-cache\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(&body)
}

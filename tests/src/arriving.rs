//! One answer over a socket of its own, with the time at which each of its bytes came.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// An answer that stays away fails its test and does not hang it.
const WITHOUT_A_BYTE_MAX: Duration = Duration::from_secs(30);

/// Between two looks at whether to stop.
const SLICE: Duration = Duration::from_millis(100);

/// What came, and when.
#[derive(Debug, Clone, Default)]
pub struct Arrived {
    /// The status code.
    pub status: u16,
    /// The answer's head, in lower case.
    pub head: String,
    /// The body, without its chunks' sizes.
    pub body: Vec<u8>,
    /// After each read: when, and how many bytes of the body there were.
    pub times: Vec<(Instant, usize)>,
    /// Where the chunks of the transfer coding ended, in bytes of the body. Whoever is between may cut them otherwise.
    pub chunks: Vec<usize>,
    /// The body ended as a body does, not with the connection or with the test's patience.
    pub is_whole: bool,
}

impl Arrived {
    /// When the body had this many bytes.
    pub fn when(&self, bytes: usize) -> Option<Instant> {
        self.times.iter().find(|(_, there)| *there >= bytes).map(|(at, _)| *at)
    }

    /// When the last byte came.
    pub fn last(&self) -> Option<Instant> {
        self.times.last().map(|(at, _)| *at)
    }
}

/// GETs `path` of the server on this port, to the answer's end or until `stop`.
///
/// # Panics
/// When nobody accepts, or what comes is no HTTP/1.1.
pub fn get(port: u16, path: &str, stop: &AtomicBool) -> Arrived {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("the port accepts");
    socket.set_read_timeout(Some(SLICE)).expect("a read timeout");
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("a request");
    let mut reader = Reader { inner: BufReader::with_capacity(256 << 10, socket), stop };
    let mut arrived = Arrived::default();
    loop {
        let Some(line) = reader.line() else { return arrived };
        if line.is_empty() {
            break;
        }
        arrived.head += &format!("{}\n", line.to_lowercase());
    }
    let field = |name: &str| {
        let value = arrived.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(|value| value.trim().to_owned())
    };
    arrived.status =
        arrived.head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    let length = field("content-length").map(|length| length.parse().expect("a length"));
    let is_chunked = field("transfer-encoding").is_some_and(|coding| coding == "chunked");
    if is_chunked {
        while let Some(line) = reader.line() {
            let size = usize::from_str_radix(&line, 16).expect("a chunk's size");
            if size == 0 {
                arrived.is_whole = reader.line().is_some();
                break;
            }
            if !reader.body(&mut arrived, size) || reader.line().is_none() {
                break;
            }
            arrived.chunks.push(arrived.body.len());
        }
    } else {
        let is_whole = reader.body(&mut arrived, length.unwrap_or(usize::MAX));
        arrived.is_whole = length.is_some() && is_whole;
    }
    arrived
}

struct Reader<'s> {
    inner: BufReader<TcpStream>,
    stop: &'s AtomicBool,
}

impl Reader<'_> {
    /// More bytes; none at the connection's end, when told to stop, and after a long time without any.
    fn more(&mut self) -> &[u8] {
        let began = Instant::now();
        while !self.stop.load(Ordering::Relaxed) && began.elapsed() < WITHOUT_A_BYTE_MAX {
            match self.inner.fill_buf() {
                Ok(_) => return self.inner.buffer(),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
        }
        &[]
    }

    /// A line without its end.
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if self.more().is_empty() {
                return None;
            }
            let mut byte = [0];
            self.inner.read_exact(&mut byte).ok()?;
            line.extend(byte);
        }
        line.truncate(line.len() - 2);
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    /// Up to `size` bytes of the body. Returns whether all came.
    fn body(&mut self, arrived: &mut Arrived, size: usize) -> bool {
        let mut left = size;
        while left > 0 {
            let there = self.more();
            let count = there.len().min(left);
            if count == 0 {
                return false;
            }
            arrived.body.extend_from_slice(&there[..count]);
            self.inner.consume(count);
            left -= count;
            arrived.times.push((Instant::now(), arrived.body.len()));
        }
        true
    }
}

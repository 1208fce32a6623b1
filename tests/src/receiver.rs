//! A receiver of webhooks: it answers as it is told to, and keeps what it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A larger body than any event.
const BODY_BYTES_MAX: usize = 64 << 10;

/// One POST that was answered.
#[derive(Debug, Clone)]
pub struct Posted {
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The status that it was answered with.
    pub status: u16,
}

impl Posted {
    /// The first field of this (lower-case) name.
    ///
    /// # Panics
    /// When there is none.
    pub fn header(&self, name: &str) -> &str {
        let field = self.headers.iter().find(|(field, _)| field == name);
        field.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("{name} in {self:?}"))
    }
}

/// Serves until the test's process ends.
#[derive(Debug)]
pub struct Receiver {
    port: u16,
    status: Arc<AtomicU16>,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Receiver {
    /// A receiver that takes everything.
    ///
    /// # Panics
    /// When no loopback port can be had.
    pub fn start() -> Receiver {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (status, posted) = (Arc::new(AtomicU16::new(204)), Arc::<Mutex<Vec<Posted>>>::default());
        let receiver = Receiver { port, status: Arc::clone(&status), posted: Arc::clone(&posted) };
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                // A request that breaks off is none.
                let _ = serve(socket, &status, &posted);
            }
        });
        receiver
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// What everything is answered with from now on.
    pub fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// What came so far.
    pub fn posted(&self) -> Vec<Posted> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One request on each connection.
fn serve(
    socket: std::net::TcpStream,
    status: &AtomicU16,
    posted: &Mutex<Vec<Posted>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(socket);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length.min(BODY_BYTES_MAX)];
    reader.read_exact(&mut body)?;
    let status = status.load(Ordering::Relaxed);
    let body = String::from_utf8_lossy(&body).into_owned();
    posted.lock().unwrap_or_else(PoisonError::into_inner).push(Posted { headers, body, status });
    write!(reader.get_mut(), "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

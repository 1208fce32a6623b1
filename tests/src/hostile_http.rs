//! What the hostile HTTP tests need: a socket with the manners of an attacker, and a strict reader of what comes back.

pub mod cases;
pub mod row;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// Between two looks at a socket that has nothing.
const READ_SLICE: Duration = Duration::from_millis(50);

/// A server that takes no byte for so long has stopped.
const WRITE_STALL: Duration = Duration::from_secs(20);

/// The segment size of an ethernet. Loopback's own, 64 KiB, makes the server's socket hold megabytes.
const ETHERNET_MSS: u32 = 1_400;

/// The smallest receive buffer that the system gives, more or less.
const TINY_BUFFER: usize = 2_048;

/// Header fields of every answer, whatever its status.
const COMMON: [(&str, &str); 3] = [
    ("access-control-allow-origin", "*"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "cross-origin"),
];

/// No refusal has a larger body: whatever is longer would be something that was not meant for the peer.
const REFUSAL_BYTES_MAX: usize = 256;

/// How the other side ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Properly.
    Closed,
    /// By a reset.
    Reset,
}

/// One connection.
#[derive(Debug)]
pub struct Peer {
    socket: Socket,
}

impl Peer {
    /// A connection from any address of 127.0.0.0/8 to the port at 127.0.0.1.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn open(from: Ipv4Addr, port: u16) -> Result<Peer, String> {
        Peer::connect(from, port, false)
    }

    /// The same with a receive buffer that two packets fill.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn narrow(from: Ipv4Addr, port: u16) -> Result<Peer, String> {
        Peer::connect(from, port, true)
    }

    fn connect(from: Ipv4Addr, port: u16, is_narrow: bool) -> Result<Peer, String> {
        let connected = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            if is_narrow {
                socket.set_recv_buffer_size(TINY_BUFFER)?;
                socket.set_tcp_mss(ETHERNET_MSS)?;
            }
            socket.bind(&SocketAddr::from((from, 0)).into())?;
            socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
            socket.set_tcp_nodelay(true)?;
            socket.set_read_timeout(Some(READ_SLICE))?;
            socket.set_write_timeout(Some(WRITE_STALL))?;
            Ok::<_, std::io::Error>(Peer { socket })
        };
        connected().map_err(|error| format!("no connection from {from}: {error}"))
    }

    /// As the server's log names this side.
    pub fn name(&self) -> String {
        let address = self.socket.local_addr().ok().and_then(|address| address.as_socket());
        address.map(|address| address.to_string()).unwrap_or_default()
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// When the server has gone, or takes nothing.
    pub fn send(&self, bytes: &[u8]) -> Result<(), String> {
        (&self.socket)
            .write_all(bytes)
            .map_err(|error| format!("{} bytes could not be sent: {error}", bytes.len()))
    }

    /// Reads once; `None` when there is nothing yet.
    ///
    /// # Errors
    /// With the connection's end.
    pub fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>, End> {
        match (&self.socket).read(buffer) {
            Ok(0) => Err(End::Closed),
            Ok(bytes) => Ok(Some(bytes)),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(_) => Err(End::Reset),
        }
    }

    /// From now on, [`Peer::read`] does not wait.
    pub fn look_only(&self) {
        let _ = self.socket.set_nonblocking(true);
    }

    /// Everything up to the connection's end.
    ///
    /// # Errors
    /// When it has not ended within `bound`.
    pub fn read_to_end(&self, bound: Duration) -> Result<(Vec<u8>, End), String> {
        let deadline = Instant::now() + bound;
        let (mut all, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            match self.read(&mut buffer) {
                Ok(bytes) => all.extend_from_slice(buffer.get(..bytes.unwrap_or(0)).unwrap_or_default()),
                Err(end) => return Ok((all, end)),
            }
            if Instant::now() > deadline {
                let start = String::from_utf8_lossy(all.get(..200).unwrap_or(&all)).into_owned();
                return Err(format!("still open after {bound:?} and {} bytes: {start:?}", all.len()));
            }
        }
    }

    /// The next `count` answers, on a connection that goes on.
    ///
    /// # Errors
    /// When they don't come, or not in that form.
    pub fn read_answers(&self, count: usize, bound: Duration) -> Result<Vec<Answer>, String> {
        let deadline = Instant::now() + bound;
        let (mut all, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            if let Ok(found) = answers(&all, false)
                && found.len() >= count
            {
                return Ok(found);
            }
            match self.read(&mut buffer) {
                Ok(bytes) => all.extend_from_slice(buffer.get(..bytes.unwrap_or(0)).unwrap_or_default()),
                Err(end) => return Err(format!("{end:?} after {} bytes of {count} answers", all.len())),
            }
            if Instant::now() > deadline {
                return Err(format!("no {count} answers within {bound:?}"));
            }
        }
    }

    /// True once the server has reset the connection; whatever waits to be read stays unread.
    pub fn is_reset(&self) -> bool {
        matches!(self.socket.take_error(), Ok(Some(_)))
    }

    /// Sends nothing more, but listens.
    pub fn half_close(&self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }

    /// Ends with a reset instead of a close.
    pub fn reset(self) {
        let _ = self.socket.set_linger(Some(Duration::ZERO));
    }
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP/1.0, where a close need not be announced.
    pub is_old: bool,
    /// From the status line.
    pub status: u16,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// As long as Content-Length says.
    pub body: Vec<u8>,
}

impl Answer {
    /// The one value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// What every answer of the playback listener says.
    ///
    /// # Errors
    /// With what is missing.
    pub fn has_the_common_headers(&self) -> Result<(), String> {
        for (name, value) in COMMON {
            if self.header(name) != Some(value) {
                return Err(format!("{}: {name} is {:?}", self.status, self.header(name)));
            }
        }
        if self.header("cache-control").is_none() {
            return Err(format!("{} without Cache-Control", self.status));
        }
        // RFC 9110 6.6.1: a server error may be without.
        if self.status < 500 && self.header("date").is_none() {
            return Err(format!("{} without Date", self.status));
        }
        if self.status >= 400 && self.body.len() > REFUSAL_BYTES_MAX {
            return Err(format!("{} with {} bytes", self.status, self.body.len()));
        }
        Ok(())
    }
}

/// The answers that these bytes are, without a byte between or behind them. The first one is to HEAD if `is_head`.
///
/// # Errors
/// With what is no answer.
pub fn answers(mut bytes: &[u8], is_head: bool) -> Result<Vec<Answer>, String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or("a head without an end")?;
        let (head, rest) = bytes.split_at(end + 4);
        let head = std::str::from_utf8(head).map_err(|_| "a head that is not text")?;
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().unwrap_or_default();
        let status = line.strip_prefix("HTTP/1.").and_then(|line| line.get(2..5)?.parse().ok());
        let status: u16 = status.ok_or_else(|| format!("not a status line: {line:?}"))?;
        let headers = lines.map(|line| {
            let (name, value) =
                line.split_once(": ").ok_or_else(|| format!("not a header line: {line:?}"))?;
            Ok((name.to_lowercase(), value.to_owned()))
        });
        let headers = headers.collect::<Result<Vec<_>, String>>()?;
        let mut answer = Answer { is_old: line.starts_with("HTTP/1.0 "), status, headers, body: Vec::new() };
        let has_none = matches!(status, 204 | 304) || (is_head && all.is_empty());
        let length = answer.header("content-length").filter(|_| !has_none).map_or(Ok(0), str::parse);
        let length = length.map_err(|_| "a Content-Length that is no number")?;
        let (body, rest) = rest.split_at_checked(length).ok_or("a body cut short")?;
        answer.body = body.to_vec();
        all.push(answer);
        bytes = rest;
    }
    Ok(all)
}

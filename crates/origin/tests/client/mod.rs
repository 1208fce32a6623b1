//! A client that sends bytes as they are and reads answers strictly.

use std::io::Read as _;
use std::net::SocketAddr;
use std::time::Duration;

use flate2::read::GzDecoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing here takes a second on an idle machine; a loaded one gets this much.
const BOUND: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    /// From the status line.
    pub(crate) status: u16,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// As long as Content-Length says.
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The one value of a header; two are a failure.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} twice");
        value
    }

    /// Every header that doesn't depend on the moment or on the connection.
    pub(crate) fn headers_without_date(&self) -> Vec<(String, String)> {
        self.headers.iter().filter(|(name, _)| name != "date" && name != "connection").cloned().collect()
    }
}

/// A request that asks for the connection's end. `extra` holds header lines; with an empty line and a body in it, all of the rest.
pub(crate) fn request(method: &str, path: &str, extra: &str) -> Vec<u8> {
    let end = if extra.contains("\r\n\r\n") { "" } else { "\r\n" };
    format!("{method} {path} HTTP/1.1\r\nHost: origin.example\r\nConnection: close\r\n{extra}{end}")
        .into_bytes()
}

/// A connection.
pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    within(TcpStream::connect(address)).await.unwrap()
}

/// The answer to a GET on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str, headers: &str) -> Response {
    exchange(address, &request("GET", path, headers)).await
}

/// The answer to these bytes on a connection of its own, which the server must close behind it.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8]) -> Response {
    let mut stream = connect(address).await;
    stream.write_all(bytes).await.unwrap();
    let response = within(read_response(&mut stream, bytes.starts_with(b"HEAD "))).await;
    let mut rest = Vec::new();
    // A request body that was not read turns the close into a reset.
    let _ = within(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "bytes behind the answer: {rest:?}");
    response
}

/// Reads one answer, and not a byte more.
pub(crate) async fn read_response(stream: &mut TcpStream, is_head: bool) -> Response {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
        assert!(head.len() < 16 << 10, "an endless head");
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let (version, status) = lines.next().unwrap().split_once(' ').unwrap();
    assert!(version.starts_with("HTTP/1."), "{version}");
    let status: u16 = status.split(' ').next().unwrap().parse().unwrap();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("a header line: {line:?}")))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut response = Response { status, headers, body: Vec::new() };
    let has_body = !is_head && !matches!(status, 204 | 304);
    if let Some(length) = response.header("content-length").filter(|_| has_body) {
        response.body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut response.body).await.expect("as much as Content-Length says");
    }
    response
}

/// The bytes that were compressed.
pub(crate) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

/// Fails instead of hanging.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.expect("it takes too long")
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let looking = async {
        while !condition() {
            // Between two looks; the server's counters tell nobody when they change.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(BOUND, looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

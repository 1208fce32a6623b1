//! A viewer's side of HTTP: one request at a time, on a connection of its own (HTTP/1.1) or as streams of a shared one (HTTP/2
//! without TLS).
//!
//! It is lean, because it runs on the machine that is measured, and it notes when an answer's first byte came. It speaks as
//! little HTTP as a measurement needs: no redirects, no cookies, no trailers.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use h2::client::SendRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::Error;
use crate::address::Address;

/// No head of an answer is larger.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// No body is larger: segments of a minute at 8 Mbit/s.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Room to read into: for a whole playlist in one call, and for no less than a head.
const READ_BYTES: usize = 8 << 10;
const READ_BYTES_MIN: usize = 512;

/// A held request is answered within 3 target durations of at most 10 s; a cache in front may add its own.
const ANSWER_MAX: Duration = Duration::from_secs(45);

/// What HTTP/2 lets the server send ahead on one stream, and on a connection: more than any part, so that none waits for a window.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// ETag, as it stands there.
    pub etag: Option<String>,
    /// `Content-Encoding: gzip`.
    pub is_gzip: bool,
    /// The body as it came.
    pub body: Bytes,
    /// When its first byte was read.
    pub first_byte: Instant,
}

impl Answer {
    /// The body of a 200 as text, decompressed.
    ///
    /// # Errors
    /// [`Error::Status`], [`Error::NotHttp`].
    pub fn text(&self) -> Result<String, Error> {
        if self.status != 200 {
            return Err(Error::Status(self.status));
        }
        let mut text = String::new();
        let mut body: &[u8] = &self.body;
        let read = if self.is_gzip {
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(body), &mut text)
        } else {
            std::io::Read::read_to_string(&mut body, &mut text)
        };
        read.map_err(|_| Error::NotHttp("the body is no text"))?;
        Ok(text)
    }
}

/// One viewer's way to the server.
#[derive(Debug)]
pub struct Client {
    authority: String,
    headers: &'static str,
    wire: Wire,
}

#[derive(Debug)]
enum Wire {
    One(Connection),
    Two(SendRequest<Bytes>),
}

/// Sent with every request: playlists come compressed, as to every player.
const HEADERS: &str = "Accept-Encoding: gzip\r\nUser-Agent: headwater-load\r\n";

impl Client {
    /// A connection of HTTP/1.1 from `source`, if one is named.
    ///
    /// # Errors
    /// [`Error::Connection`], [`Error::Timeout`].
    pub async fn connect(address: &Address, source: Option<IpAddr>) -> Result<Client, Error> {
        let stream = within(ANSWER_MAX, connect(address.socket(), source)).await?;
        let wire = Wire::One(Connection { stream, input: BytesMut::new() });
        Ok(Client { authority: address.authority.clone(), headers: HEADERS, wire })
    }

    /// A connection of HTTP/2 from `source`, and one client per stream that it is to carry at a time.
    ///
    /// # Errors
    /// [`Error::Connection`], [`Error::Timeout`], [`Error::NotHttp`].
    pub async fn connect_http2(
        address: &Address,
        source: Option<IpAddr>,
        streams: usize,
    ) -> Result<Vec<Client>, Error> {
        let stream = within(ANSWER_MAX, connect(address.socket(), source)).await?;
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false);
        let (sender, connection) = timeout(ANSWER_MAX, builder.handshake(stream))
            .await
            .map_err(|_| Error::Timeout)?
            .map_err(|_| Error::NotHttp("the server does not speak HTTP/2"))?;
        // Ends with its last client, or with the connection, which each of them notices.
        tokio::spawn(async move { drop(connection.await) });
        let client = |_| Client {
            authority: address.authority.clone(),
            headers: HEADERS,
            wire: Wire::Two(sender.clone()),
        };
        Ok((0..streams).map(client).collect())
    }

    /// GET of a path on this connection.
    ///
    /// # Errors
    /// [`Error::Connection`], [`Error::Timeout`], [`Error::NotHttp`]; the connection is of no use afterwards.
    pub async fn get(&mut self, path: &str) -> Result<Answer, Error> {
        let answer = async {
            match &mut self.wire {
                Wire::One(connection) => connection.get(&self.authority, self.headers, path).await,
                Wire::Two(sender) => get_http2(sender, &self.authority, path).await,
            }
        };
        timeout(ANSWER_MAX, answer).await.map_err(|_| Error::Timeout)?
    }

    /// GET of what has no end, on this connection of HTTP/1.1.
    ///
    /// # Errors
    /// [`Error::Connection`], [`Error::Timeout`], [`Error::NotHttp`], [`Error::Status`].
    pub async fn open(self, path: &str) -> Result<Live, Error> {
        let Wire::One(mut connection) = self.wire else {
            return Err(Error::NotHttp("only HTTP/1.1 is read without an end"));
        };
        let head = connection.head(&self.authority, self.headers, path);
        let (head, _) = timeout(ANSWER_MAX, head).await.map_err(|_| Error::Timeout)??;
        if head.status != 200 {
            return Err(Error::Status(head.status));
        }
        let left = if let Framing::Length(length) = head.framing { length } else { 0 };
        Ok(Live { connection, framing: head.framing, left })
    }
}

/// An answer that is read as it comes.
#[derive(Debug)]
pub struct Live {
    connection: Connection,
    framing: Framing,
    /// Bytes up to the end of the chunk, or of the whole.
    left: usize,
}

impl Live {
    /// Puts what comes next behind `out`; false at the end. May be dropped while it waits.
    ///
    /// # Errors
    /// [`Error::Connection`], [`Error::NotHttp`].
    pub async fn read(&mut self, out: &mut BytesMut) -> Result<bool, Error> {
        if self.left == 0 && self.framing == Framing::Chunked {
            self.left = self.connection.chunk_size().await?;
        }
        if self.framing == Framing::UntilClose {
            self.left = usize::MAX;
        }
        if self.left == 0 {
            return Ok(false);
        }
        if self.connection.input.is_empty() {
            match self.connection.read().await {
                Err(Error::Connection(error))
                    if self.framing == Framing::UntilClose && error.kind() == ErrorKind::UnexpectedEof =>
                {
                    return Ok(false);
                }
                read => read?,
            }
        }
        let length = self.left.min(self.connection.input.len());
        out.extend_from_slice(&self.connection.input.split_to(length));
        self.left -= length;
        Ok(true)
    }
}

async fn within<T>(bound: Duration, work: impl Future<Output = std::io::Result<T>>) -> Result<T, Error> {
    Ok(timeout(bound, work).await.map_err(|_| Error::Timeout)??)
}

async fn connect(to: SocketAddr, from: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// HTTP/1.1 with keep-alive.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// What was read and not yet taken.
    input: BytesMut,
}

/// How an answer's body ends (RFC 9112 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    etag: Option<String>,
    is_gzip: bool,
    framing: Framing,
}

impl Connection {
    /// Asks, and reads the head of the answer; with it, when its first byte came.
    async fn head(&mut self, authority: &str, headers: &str, path: &str) -> Result<(Head, Instant), Error> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n{headers}\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        if self.input.is_empty() {
            self.read().await?;
        }
        let first_byte = Instant::now();
        loop {
            if let Some(length) = end_of_head(&self.input) {
                return Ok((Head::parse(&self.input.split_to(length))?, first_byte));
            }
            if self.input.len() > HEAD_BYTES_MAX {
                return Err(Error::NotHttp("the head is too large"));
            }
            self.read().await?;
        }
    }

    async fn get(&mut self, authority: &str, headers: &str, path: &str) -> Result<Answer, Error> {
        let (head, first_byte) = self.head(authority, headers, path).await?;
        let body = match head.framing {
            Framing::Length(length) => self.take(length).await?,
            Framing::Chunked => self.chunks().await?,
            Framing::UntilClose => return Err(Error::NotHttp("neither a length nor chunks")),
        };
        Ok(Answer { status: head.status, etag: head.etag, is_gzip: head.is_gzip, body, first_byte })
    }

    async fn chunks(&mut self) -> Result<Bytes, Error> {
        let mut body = BytesMut::new();
        loop {
            let size = self.chunk_size().await?;
            if size == 0 {
                self.take(2).await?;
                return Ok(body.freeze());
            }
            if size > BODY_BYTES_MAX - body.len() {
                return Err(Error::NotHttp("the body is too large"));
            }
            body.extend_from_slice(&self.take(size).await?);
        }
    }

    /// Reads the line before a chunk, and the line end of the chunk before if that is still there.
    async fn chunk_size(&mut self) -> Result<usize, Error> {
        loop {
            let start = if self.input.starts_with(b"\r\n") { 2 } else { 0 };
            let line = self.input.get(start..).unwrap_or_default();
            if let Some(length) = line.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.input.split_to(start + length + 2);
                let line = line.get(start..).unwrap_or_default();
                let digits = line.split(|byte| matches!(byte, b';' | b'\r')).next().unwrap_or_default();
                let size = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
                return size.ok_or(Error::NotHttp("a chunk without a size"));
            }
            if self.input.len() > HEAD_BYTES_MAX {
                return Err(Error::NotHttp("a chunk without a size"));
            }
            self.read().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Result<Bytes, Error> {
        if length > BODY_BYTES_MAX {
            return Err(Error::NotHttp("the body is too large"));
        }
        self.input.reserve(length.saturating_sub(self.input.len()));
        while self.input.len() < length {
            self.read().await?;
        }
        Ok(self.input.split_to(length).freeze())
    }

    async fn read(&mut self) -> Result<(), Error> {
        if self.input.capacity() - self.input.len() < READ_BYTES_MIN {
            self.input.reserve(READ_BYTES);
        }
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(std::io::Error::from(ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }
}

fn end_of_head(input: &[u8]) -> Option<usize> {
    input.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

impl Head {
    fn parse(head: &[u8]) -> Result<Head, Error> {
        let text = std::str::from_utf8(head).map_err(|_| Error::NotHttp("the head is no text"))?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let status = status.ok_or(Error::NotHttp("no status line"))?;
        let (mut etag, mut is_gzip, mut framing) = (None, false, None);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                let length = value.parse().map_err(|_| Error::NotHttp("Content-Length is no number"))?;
                framing.get_or_insert(Framing::Length(length));
            } else if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked")
            {
                framing = Some(Framing::Chunked);
            } else if name.eq_ignore_ascii_case("etag") {
                etag = Some(value.to_owned());
            } else if name.eq_ignore_ascii_case("content-encoding") {
                is_gzip = value.eq_ignore_ascii_case("gzip");
            }
        }
        let framing = framing.unwrap_or(Framing::UntilClose);
        Ok(Head { status, etag, is_gzip, framing })
    }
}

async fn get_http2(sender: &mut SendRequest<Bytes>, authority: &str, path: &str) -> Result<Answer, Error> {
    let broken = |error: h2::Error| {
        Error::Connection(error.into_io().unwrap_or_else(|| ErrorKind::ConnectionReset.into()))
    };
    let request = http::Request::get(format!("http://{authority}{path}"))
        .header("accept-encoding", "gzip")
        .header("user-agent", "headwater-load")
        .body(())
        .map_err(|_| Error::NotHttp("the path can't be asked for"))?;
    // Waits for a place among the streams that the server allows.
    std::future::poll_fn(|cx| sender.poll_ready(cx)).await.map_err(broken)?;
    let (response, _) = sender.send_request(request, true).map_err(broken)?;
    let response = response.await.map_err(broken)?;
    let first_byte = Instant::now();
    let status = response.status().as_u16();
    let text =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (etag, is_gzip) = (text("etag"), text("content-encoding").as_deref() == Some("gzip"));
    let mut incoming = response.into_body();
    let mut body = BytesMut::new();
    while let Some(data) = incoming.data().await {
        let data = data.map_err(broken)?;
        if body.len() + data.len() > BODY_BYTES_MAX {
            return Err(Error::NotHttp("the body is too large"));
        }
        incoming.flow_control().release_capacity(data.remaining()).map_err(broken)?;
        body.extend_from_slice(&data);
    }
    Ok(Answer { status, etag, is_gzip, body: body.freeze(), first_byte })
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn heads() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n", Some((200, Framing::Length(5)))),
            ("HTTP/1.1 404 Not Found\r\ncontent-length:0\r\n\r\n", Some((404, Framing::Length(0)))),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Some((200, Framing::Chunked))),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\n\r\n", Some((200, Framing::UntilClose))),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", None),
            ("SSH-2.0\r\n\r\n", None),
        ] {
            let found = Head::parse(head.as_bytes()).ok().map(|head| (head.status, head.framing));
            assert_eq!(found, expected, "{head}");
        }
    }

    /// A server that answers `answers` one after the other, each byte on its own.
    async fn asked(answers: &'static [&'static str]) -> Vec<Result<Answer, Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::http(&format!("http://{}/x", listener.local_addr().unwrap())).unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut request = [0; 4096];
            for answer in answers {
                let length = stream.read(&mut request).await.unwrap();
                assert!(request.get(..length).unwrap().starts_with(b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:"));
                for byte in answer.as_bytes() {
                    stream.write_all(&[*byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        };
        let viewer = async {
            let mut client = Client::connect(&address, None).await.unwrap();
            let mut found = Vec::new();
            for _ in answers {
                found.push(client.get("/x").await);
            }
            found
        };
        tokio::join!(server, viewer).1
    }

    #[tokio::test]
    async fn answers_one_after_the_other() {
        let found = asked(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\na;e=f\r\n0123456789\r\n0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        ])
        .await;
        let found: Vec<_> =
            found.into_iter().map(|answer| answer.map(|answer| (answer.status, answer.body))).collect();
        let expected: [(u16, &[u8]); 3] = [(200, b"abc"), (200, b"x0123456789"), (404, b"")];
        for (found, (status, body)) in found.into_iter().zip(expected) {
            let found = found.unwrap();
            assert_eq!((found.0, found.1.as_ref()), (status, body));
        }
    }

    /// What has no end is read as it comes, whichever way its end is told.
    #[tokio::test]
    async fn answers_without_an_end() {
        for (answer, expected) in [
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\na;e=f\r\n0123456789\r\n0\r\n\r\n",
                "x0123456789",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc"),
            ("HTTP/1.1 200 OK\r\n\r\nabcd", "abcd"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = Address::http(&format!("http://{}/x", listener.local_addr().unwrap())).unwrap();
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
                for byte in answer.as_bytes() {
                    // The viewer may leave at the last chunk's size, and no later than it is told to.
                    if stream.write_all(&[*byte]).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            };
            let viewer = async {
                let mut live = Client::connect(&address, None).await.unwrap().open("/x").await.unwrap();
                let mut body = BytesMut::new();
                while live.read(&mut body).await.unwrap() {}
                body
            };
            assert_eq!(tokio::join!(server, viewer).1, expected, "{answer}");
        }
        let broken = asked_open("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
        assert!(matches!(broken, Err(Error::Status(404))), "{broken:?}");
    }

    async fn asked_open(answer: &'static str) -> Result<Live, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::http(&format!("http://{}/x", listener.local_addr().unwrap())).unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let viewer = async { Client::connect(&address, None).await.unwrap().open("/x").await };
        tokio::join!(server, viewer).1
    }

    #[tokio::test]
    async fn a_body_that_breaks_off() {
        let found = asked(&["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"]).await;
        assert!(matches!(found.as_slice(), [Err(Error::Connection(_))]), "{found:?}");
    }

    #[test]
    fn a_compressed_text() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, b"#EXTM3U\n").unwrap();
        let body = Bytes::from(encoder.finish().unwrap());
        let answer = Answer { status: 200, etag: None, is_gzip: true, body, first_byte: Instant::now() };
        assert_eq!(answer.text().unwrap(), "#EXTM3U\n");
        assert!(Answer { is_gzip: false, ..answer.clone() }.text().is_err());
        assert!(matches!(Answer { status: 503, ..answer }.text(), Err(Error::Status(503))));
    }
}

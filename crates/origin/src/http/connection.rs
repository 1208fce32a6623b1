//! One connection of the playback listener: which version of HTTP it speaks, how long it may rest, and how it ends.
//!
//! hyper's own deadlines don't fit: the one for a head also runs while a kept-alive connection idles, and before the version is
//! known there is none. Here the socket's wrapper and the service note what happens ([`http1`], [`http2`]), and the connection's
//! task, which polls hyper, compares that with the clock after every poll. Whatever rests has a next wake-up, and [`Rest`] is its
//! reason.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::TlsAcceptor;

use super::payload::{Piece, ReplyBody};
use super::{http1, http2, streams};
use crate::budget::Lease;
use crate::continuous::Viewer;
use crate::transport::Transport;

/// Largest request head in bytes (http-origin 5.2): URLs here stay below 2 KiB, the rest is room for what caches add.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;

/// Begins HTTP/2 when nobody has agreed on it before (RFC 9113 3.4). No request of HTTP/1.1 begins so.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Once the process drains, a connection that never sent a byte is given this long: its request may be on the way.
const DRAIN_FIRST_BYTE: Duration = Duration::from_millis(500);

/// For what ends by itself, or is waited for elsewhere: an answer without an end is woken by its source or by its client's
/// silence. A year.
pub(super) const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// How long it may rest.
    pub deadlines: Deadlines,
    /// Requests at a time on a connection of HTTP/2.
    pub streams_max: u32,
}

/// How long a connection may rest in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadlines {
    /// From accept to the first byte.
    pub first_byte: Duration,
    /// From a request's first byte to its head's end; of HTTP/2 what begins the connection.
    pub header: Duration,
    /// From a response's end to the next request's first byte; of HTTP/2 to the next whole head.
    pub idle: Duration,
    /// While there is something to write: without the client's taking a byte.
    pub write_stall: Duration,
    /// From a request's head to its response's last byte.
    pub response: Duration,
    /// Of HTTP/2: from the last frame to a PING, and from that to its answer.
    pub ping: Duration,
}

/// Which deadline a connection passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing was ever sent.
    FirstByte,
    /// A request's head took too long.
    Header,
    /// No further request came.
    Idle,
    /// The client stopped taking bytes.
    WriteStall,
    /// The client took its bytes too slowly.
    Response,
    /// The client doesn't answer a PING.
    Silence,
}

/// How a connection ended, or what was cut off of one that goes on.
#[derive(Debug)]
pub(super) enum End {
    /// By either side's wish.
    Closed,
    /// It broke.
    Failed(hyper::Error),
    /// What came was no handshake of TLS 1.2 or 1.3.
    NoHandshake(io::Error),
    /// What came was no request, or broke the rules and limits of HTTP/2.
    Malformed(hyper::Error),
    /// It rested too long.
    Rested(Rest),
    /// What it held of a stream passed the stream's budget.
    LeaseEnded,
}

/// What carries an answer: it is told how far the answer is.
#[derive(Debug, Clone)]
pub(super) enum Carrier {
    /// A connection that carries one answer at a time.
    Http1(Arc<http1::Activity>),
    /// One stream of a connection.
    Http2(Arc<streams::Answer>),
}

impl Carrier {
    /// The answer's head is made: whether it is a segment, and whether `http.response_timeout` ends it.
    pub(super) fn answered(&self, lease: Option<Lease>, is_bounded: bool) {
        match self {
            Carrier::Http1(activity) => activity.answered(lease, is_bounded),
            Carrier::Http2(answer) => answer.answered(lease, is_bounded),
        }
    }

    /// Behind the answer, the connection is this viewer's WebSocket. Only HTTP/1.1 has that (RFC 9113 8.6).
    pub(super) fn upgraded(&self, viewer: Viewer) {
        match self {
            Carrier::Http1(activity) => activity.upgraded(viewer),
            Carrier::Http2(_) => drop(viewer),
        }
    }

    /// Resolves when the process drains.
    pub(super) fn down(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut shutdown = match self {
            Carrier::Http1(activity) => activity.shutdown(),
            Carrier::Http2(answer) => answer.shutdown(),
        };
        Box::pin(async move { super::turned_on(&mut shutdown).await })
    }

    /// A request that is held now, for so long at most. Neither has a timer or a list of its own: ten thousand would pay for it.
    pub(super) fn hold(&self, limit: Duration) -> Hold<'_> {
        Hold { carrier: self, until: Instant::now() + limit }
    }

    /// Ready when an answer that was waited for may go out.
    pub(super) fn poll_turn(&self) -> Poll<()> {
        match self {
            Carrier::Http1(_) => Poll::Ready(()),
            Carrier::Http2(answer) => answer.poll_turn(),
        }
    }

    /// Most bytes that are handed over at a time.
    pub(super) fn piece_bytes_max(&self) -> usize {
        match self {
            Carrier::Http1(_) => usize::MAX,
            Carrier::Http2(_) => http2::PIECE_BYTES_MAX,
        }
    }

    /// Bytes to hand over.
    pub(super) fn piece(&self, bytes: Bytes) -> Piece {
        match self {
            Carrier::Http1(_) => Piece::new(bytes, None),
            Carrier::Http2(answer) => Piece::new(bytes, Some(answer.handed_over())),
        }
    }

    /// The answer's body was handed over.
    pub(super) fn body_taken(&self) {
        match self {
            Carrier::Http1(activity) => activity.body_taken(),
            // Its pieces say more.
            Carrier::Http2(_) => {}
        }
    }
}

/// A request that is held. It is polled by the connection's task.
#[derive(Debug)]
pub(super) struct Hold<'a> {
    carrier: &'a Carrier,
    until: Instant,
}

/// Why a request is held no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldEnds {
    /// Its time is over.
    TimedOut,
    /// The process drains.
    Draining,
}

impl Hold<'_> {
    /// Ready when it ends.
    pub(super) fn poll(&mut self) -> Poll<HoldEnds> {
        let is_draining = match self.carrier {
            Carrier::Http1(activity) => activity.hold(self.until),
            Carrier::Http2(answer) => answer.hold(self.until),
        };
        if is_draining {
            Poll::Ready(HoldEnds::Draining)
        } else if self.is_over() {
            Poll::Ready(HoldEnds::TimedOut)
        } else {
            Poll::Pending
        }
    }

    /// Whether its time is.
    pub(super) fn is_over(&self) -> bool {
        self.until <= Instant::now()
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        match self.carrier {
            Carrier::Http1(activity) => activity.release(),
            Carrier::Http2(answer) => answer.release(),
        }
    }
}

/// Serves one connection until it ends. When `shutdown` turns true, the running answers are the last ones. `cut_off` is told of
/// answers that end before their connection does.
pub(super) async fn serve<S, F>(
    stream: TcpStream,
    tls: Option<&TlsAcceptor>,
    limits: &Limits,
    shutdown: watch::Receiver<bool>,
    answer: S,
    cut_off: impl Fn(End),
) -> End
where
    S: Fn(Request<Incoming>, Carrier) -> F,
    F: Future<Output = Result<Response<ReplyBody>, Infallible>> + Send + 'static,
{
    let mut transport = match tls {
        None => Transport::Plain(stream),
        // In a place of its own: a handshake's state is large, and soon gone.
        Some(acceptor) => {
            match Box::pin(shake_hands(stream, acceptor, &limits.deadlines, shutdown.clone())).await {
                Ok(transport) => transport,
                Err(end) => return end,
            }
        }
    };
    let (version, begun) = match begin(&mut transport, &limits.deadlines, shutdown.clone()).await {
        Ok(begun) => begun,
        Err(rest) => return End::Rested(rest),
    };
    let socket = Socket { begun, transport };
    match version {
        HttpVersion::One => http1::serve(socket, &limits.deadlines, shutdown, answer).await,
        // In a place of its own: the many connections of HTTP/1.1 don't pay for its size.
        HttpVersion::Two => Box::pin(http2::serve(socket, limits, shutdown, answer, cut_off)).await,
    }
}

/// TLS before anything else, within the time that a first byte may take.
async fn shake_hands(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    deadlines: &Deadlines,
    mut shutdown: watch::Receiver<bool>,
) -> Result<Transport, End> {
    let mut until = pin!(sleep_until(Instant::now() + deadlines.first_byte));
    let mut handshake = pin!(Transport::handshake(stream, acceptor));
    let mut is_draining = false;
    loop {
        tokio::select! {
            transport = handshake.as_mut() => return transport.map_err(End::NoHandshake),
            () = until.as_mut() => return Err(End::Rested(Rest::FirstByte)),
            () = super::turned_on(&mut shutdown), if !is_draining => {
                is_draining = true;
                let at = until.deadline().min(Instant::now() + DRAIN_FIRST_BYTE);
                until.as_mut().reset(at);
            }
        }
    }
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HttpVersion {
    One,
    Two,
}

/// The version, known as soon as a byte differs from HTTP/2's preface or the preface is whole, and all that was read.
async fn begin(
    stream: &mut Transport,
    deadlines: &Deadlines,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(HttpVersion, Bytes), Rest> {
    let mut begun = BytesMut::with_capacity(PREFACE.len());
    let (mut at, mut rest) = (Instant::now() + deadlines.first_byte, Rest::FirstByte);
    let mut is_draining = false;
    while begun.len() < PREFACE.len() {
        let missing = PREFACE.len() - begun.len();
        let mut limited = (&mut *stream).take(missing as u64);
        let read = tokio::select! {
            // What failed fails again for whoever serves the connection.
            read = limited.read_buf(&mut begun) => read.unwrap_or(0),
            () = sleep_until(at) => return Err(rest),
            () = super::turned_on(&mut shutdown), if !is_draining && begun.is_empty() => {
                is_draining = true;
                at = at.min(Instant::now() + DRAIN_FIRST_BYTE);
                continue;
            }
        };
        if read == 0 || !PREFACE.starts_with(&begun) {
            return Ok((HttpVersion::One, begun.freeze()));
        }
        if rest == Rest::FirstByte {
            (at, rest) = (Instant::now() + deadlines.header, Rest::Header);
        }
    }
    Ok((HttpVersion::Two, begun.freeze()))
}

/// Whether a request has content (RFC 9112 6.3): it has no meaning with any method that is answered here.
pub(super) fn has_content(request: &Request<Incoming>) -> bool {
    !request.body().is_end_stream()
}

/// Ready when the deadline is over. The timer is moved only when it is late or fires early: most polls don't touch it.
pub(super) fn rest_ends<R>(
    mut sleep: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
    deadline: impl Fn() -> (Instant, R),
) -> Poll<R> {
    loop {
        let (at, rest) = deadline();
        if at < sleep.deadline() {
            sleep.as_mut().reset(at);
        }
        ready!(sleep.as_mut().poll(cx));
        if at <= Instant::now() {
            return Poll::Ready(rest);
        }
        sleep.as_mut().reset(at);
    }
}

/// The earlier of two deadlines.
pub(super) fn earlier<R>(one: (Instant, R), other: (Instant, R)) -> (Instant, R) {
    if other.0 < one.0 { other } else { one }
}

/// A socket of which something was read already, which is to be read again.
#[derive(Debug)]
pub(super) struct Socket {
    begun: Bytes,
    transport: Transport,
}

impl Socket {
    /// The socket itself.
    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The socket alone.
    pub(super) fn into_transport(self) -> Transport {
        self.transport
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.begun.is_empty() {
            return Pin::new(&mut self.transport).poll_read(cx, buf);
        }
        let bytes = self.begun.len().min(buf.remaining());
        buf.put_slice(&self.begun.split_to(bytes));
        // What follows at once: hyper's buffer would double for a second read. What fails here fails again in the next.
        let _ = Pin::new(&mut self.transport).poll_read(cx, buf);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

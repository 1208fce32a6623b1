//! One connection of the playback listener: hyper's HTTP/1.1 with a deadline for every state it can rest in.
//!
//! hyper's own header timeout also runs while a kept-alive connection idles, so it can't be shorter than the idle time that
//! caches need. Here the socket's wrapper and the service note what happens, and the connection's task, which polls hyper,
//! compares that with the clock after every poll. A connection that rests always has a next wake-up, and [`Phase`] is its reason.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::response::ReplyBody;

/// Largest request head in bytes (http-origin 5.2): URLs here stay below 2 KiB, the rest is room for what caches add.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Once the process drains, a connection that never sent a byte is given this long: its request may be on the way.
const DRAIN_FIRST_BYTE: Duration = Duration::from_millis(500);

/// How long a connection may rest in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadlines {
    /// From accept to the first byte.
    pub first_byte: Duration,
    /// From a request's first byte to its head's end.
    pub header: Duration,
    /// From a response's end to the next request's first byte.
    pub idle: Duration,
    /// While there is something to write: without the client's taking a byte.
    pub write_stall: Duration,
    /// From a request's head to its response's last byte.
    pub response: Duration,
}

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its first byte.
    First,
    /// The next request.
    Idle,
    /// The rest of a request's head.
    Head,
    /// Its answer: held, or on the way to a client that takes it slowly.
    Answer,
}

/// What has happened on a connection, for its deadlines.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// hyper has the whole body; the answer ends with the next complete flush.
    body_taken: bool,
    /// Since when the client takes no byte.
    stalled_since: Option<Instant>,
    /// The process drains.
    draining_since: Option<Instant>,
}

impl Activity {
    fn new() -> Arc<Activity> {
        Arc::new(Activity {
            state: Mutex::new(State {
                phase: Phase::First,
                since: Instant::now(),
                body_taken: false,
                stalled_since: None,
                draining_since: None,
            }),
        })
    }

    /// A request's head is complete.
    fn request(&self) {
        let mut state = self.lock();
        state.enter(Phase::Answer);
        state.body_taken = false;
    }

    /// The answer's body was handed over.
    pub(super) fn body_taken(&self) {
        self.lock().body_taken = true;
    }

    fn read(&self, bytes: usize) {
        let mut state = self.lock();
        if bytes > 0 && matches!(state.phase, Phase::First | Phase::Idle) {
            state.enter(Phase::Head);
        }
    }

    fn write(&self, result: &Poll<io::Result<usize>>) {
        let mut state = self.lock();
        match result {
            Poll::Pending if state.stalled_since.is_none() => state.stalled_since = Some(Instant::now()),
            Poll::Ready(Ok(_)) => state.stalled_since = None,
            _ => {}
        }
    }

    fn flushed(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Answer && state.body_taken {
            state.enter(Phase::Idle);
        }
    }

    fn draining(&self) {
        self.lock().draining_since.get_or_insert_with(Instant::now);
    }

    /// When the connection has rested for too long, unless something happens before.
    fn deadline(&self, deadlines: &Deadlines) -> (Instant, Rest) {
        let state = self.lock();
        let (span, rest) = match state.phase {
            Phase::First => (deadlines.first_byte, Rest::FirstByte),
            Phase::Idle => (deadlines.idle, Rest::Idle),
            Phase::Head => (deadlines.header, Rest::Header),
            Phase::Answer => (deadlines.response, Rest::Response),
        };
        let mut first = (state.since + span, rest);
        if let Some(since) = state.stalled_since {
            first = first.min_by_time((since + deadlines.write_stall, Rest::WriteStall));
        }
        if let Some(since) = state.draining_since.filter(|_| state.phase == Phase::First) {
            first = first.min_by_time((since + DRAIN_FIRST_BYTE, Rest::FirstByte));
        }
        first
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // One task uses it; plain values are whole after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
    }
}

trait MinByTime {
    fn min_by_time(self, other: Self) -> Self;
}

impl MinByTime for (Instant, Rest) {
    fn min_by_time(self, other: Self) -> Self {
        if other.0 < self.0 { other } else { self }
    }
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
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// By either side's wish.
    Closed,
    /// It broke, or what came was not HTTP.
    Failed(hyper::Error),
    /// It rested too long.
    Rested(Rest),
}

/// Serves one connection until it ends. When `shutdown` turns true, the running answer is the last one.
pub(super) async fn serve<S, F>(
    stream: TcpStream,
    deadlines: Deadlines,
    mut shutdown: watch::Receiver<bool>,
    answer: S,
) -> End
where
    S: Fn(Request<Incoming>, Arc<Activity>) -> F,
    F: Future<Output = Response<ReplyBody>>,
{
    let activity = Activity::new();
    let io = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
    let service = service_fn(|request| {
        activity.request();
        let response = answer(request, Arc::clone(&activity));
        async { Ok::<_, std::convert::Infallible>(response.await) }
    });
    let connection = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        // The deadlines of this module take its place.
        .header_read_timeout(None)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut down = pin!(super::turned_on(&mut shutdown));
    let mut draining = false;
    let mut sleep = pin!(sleep_until(activity.deadline(&deadlines).0));
    poll_fn(|cx| {
        if !draining && down.as_mut().poll(cx).is_ready() {
            draining = true;
            activity.draining();
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            return Poll::Ready(result.map_or_else(End::Failed, |()| End::Closed));
        }
        rest_ends(sleep.as_mut(), cx, || activity.deadline(&deadlines)).map(End::Rested)
    })
    .await
}

/// Ready when the deadline is over. The timer is moved only when it is late or fires early: most polls don't touch it.
fn rest_ends(
    mut sleep: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
    deadline: impl Fn() -> (Instant, Rest),
) -> Poll<Rest> {
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

/// A socket that tells what happens on it.
struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.activity.read(buf.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.activity.write(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.activity.write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.activity.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

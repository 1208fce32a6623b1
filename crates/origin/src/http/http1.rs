//! One connection of HTTP/1.1 or 1.0: one answer at a time.
//!
//! hyper answers by itself what it can't read as a request, without the headers that every answer here has. The socket's wrapper
//! keeps those bytes back, and the connection ends with our own words instead.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::connection::{
    self, Carrier, Deadlines, End, HEAD_BYTES_MAX, NEVER, Rest, Socket, has_content, rest_ends,
};
use super::payload::ReplyBody;
use super::{farewell, websocket};
use crate::budget::Lease;
use crate::continuous::Viewer;

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The rest of a request's head.
    Head,
    /// Its answer: held, or on the way to a client that takes it slowly.
    Answer,
    /// The next request.
    Idle,
}

/// What has happened on a connection, for its deadlines.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    /// True when the process drains.
    shutdown: watch::Receiver<bool>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// `http.response_timeout` doesn't end the answer.
    is_unbounded: bool,
    /// hyper has the whole body; the answer ends with the next complete flush.
    body_taken: bool,
    /// The client knows the answer's end by the connection's.
    ends_with_connection: bool,
    /// The request had content, of which nobody reads the rest.
    has_unread_content: bool,
    /// Since when the client takes no byte.
    stalled_since: Option<Instant>,
    /// Inside TLS: what the system had taken then.
    written: Option<u64>,
    /// Of the segments on their way: several where requests were sent ahead of their answers.
    leases: Vec<Lease>,
    /// The same, waited for: a client that takes its bytes never gets here.
    ending: Vec<Ending>,
    /// The answer made the connection this viewer's WebSocket.
    upgrade: Option<Viewer>,
    /// When the request that is held now is held no longer.
    held_until: Option<Instant>,
    is_draining: bool,
}

/// What is due when a connection has rested for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// Its end.
    Ends(Rest),
    /// The end of a hold: its answer.
    Held,
}

/// Resolves when a segment on its way has to be let go of.
struct Ending(Pin<Box<dyn Future<Output = ()> + Send>>);

impl std::fmt::Debug for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ending")
    }
}

impl Activity {
    /// Of a connection whose first byte has come. `shutdown` turns true when the process drains.
    pub(super) fn new(shutdown: watch::Receiver<bool>) -> Arc<Activity> {
        Arc::new(Activity {
            state: Mutex::new(State {
                phase: Phase::Head,
                since: Instant::now(),
                is_unbounded: false,
                body_taken: false,
                ends_with_connection: false,
                has_unread_content: false,
                stalled_since: None,
                written: None,
                leases: Vec::new(),
                ending: Vec::new(),
                upgrade: None,
                held_until: None,
                is_draining: false,
            }),
            shutdown,
        })
    }

    /// A request's head is complete.
    fn request(&self, request: &Request<Incoming>) {
        let mut state = self.lock();
        state.enter(Phase::Answer);
        state.is_unbounded = false;
        state.body_taken = false;
        // RFC 9112 6.3: without a length, and without the chunks that HTTP/1.0 doesn't know.
        state.ends_with_connection = request.version() == Version::HTTP_10;
        state.has_unread_content = has_content(request);
    }

    /// The answer's head is made: whether it is a segment, and whether `http.response_timeout` ends it.
    pub(super) fn answered(&self, lease: Option<Lease>, is_bounded: bool) {
        let mut state = self.lock();
        state.is_unbounded = !is_bounded;
        state.leases.extend(lease);
    }

    /// Behind the answer, the connection is this viewer's WebSocket.
    pub(super) fn upgraded(&self, viewer: Viewer) {
        self.lock().upgrade = Some(viewer);
    }

    /// True when the process drains.
    pub(super) fn shutdown(&self) -> watch::Receiver<bool> {
        self.shutdown.clone()
    }

    /// The request is held until then; true when the process drains.
    pub(super) fn hold(&self, until: Instant) -> bool {
        let mut state = self.lock();
        state.held_until = Some(until);
        state.is_draining
    }

    /// It is held no longer.
    pub(super) fn release(&self) {
        self.lock().held_until = None;
    }

    fn drain(&self) {
        self.lock().is_draining = true;
    }

    /// What hyper writes now is the service's answer, or may have a piece of it in front.
    fn is_answering(&self) -> bool {
        self.lock().phase == Phase::Answer
    }

    fn has_unread_content(&self) -> bool {
        self.lock().has_unread_content
    }

    fn ends_with_connection(&self) -> bool {
        self.lock().ends_with_connection
    }

    /// The answer's body was handed over.
    pub(super) fn body_taken(&self) {
        self.lock().body_taken = true;
    }

    fn read(&self, bytes: usize) {
        let mut state = self.lock();
        if bytes > 0 && state.phase == Phase::Idle {
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

    /// Inside TLS, what was written last waits here for the system to take it, which had taken `written` until now.
    fn flush_waits(&self, written: Option<u64>) {
        let mut state = self.lock();
        if state.stalled_since.is_none() || state.written != written {
            state.stalled_since = Some(Instant::now());
            state.written = written;
        }
    }

    fn flushed(&self) {
        let mut state = self.lock();
        state.stalled_since = None;
        if state.phase == Phase::Answer && state.body_taken {
            state.enter(Phase::Idle);
            state.leases.clear();
            state.ending.clear();
        }
    }

    /// Ready when the client is slow, and a segment on its way to it has to be let go of.
    fn poll_lease_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.stalled_since.is_none() {
            return Poll::Pending;
        }
        let leases = std::mem::take(&mut state.leases);
        state.ending.extend(leases.into_iter().map(|lease| Ending(Box::pin(lease.ended()))));
        if state.ending.iter_mut().any(|ending| ending.0.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// When the connection has rested for too long, unless something happens before; or when its request is held no longer.
    fn deadline(&self, deadlines: &Deadlines) -> (Instant, Due) {
        let state = self.lock();
        let (span, rest) = match state.phase {
            Phase::Head => (deadlines.header, Rest::Header),
            Phase::Answer if state.is_unbounded => (NEVER, Rest::Response),
            Phase::Answer => (deadlines.response, Rest::Response),
            Phase::Idle => (deadlines.idle, Rest::Idle),
        };
        let first = (state.since + span, Due::Ends(rest));
        let first = match state.held_until {
            Some(until) => connection::earlier((until, Due::Held), first),
            None => first,
        };
        match state.stalled_since {
            Some(since) => {
                connection::earlier(first, (since + deadlines.write_stall, Due::Ends(Rest::WriteStall)))
            }
            None => first,
        }
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

/// Serves a connection until it ends. When `shutdown` turns true, the running answer is the last one.
pub(super) async fn serve<S, F>(
    socket: Socket,
    deadlines: &Deadlines,
    mut shutdown: watch::Receiver<bool>,
    answer: S,
) -> End
where
    S: Fn(Request<Incoming>, Carrier) -> F,
    F: Future<Output = Result<Response<ReplyBody>, Infallible>>,
{
    let activity = Activity::new(shutdown.clone());
    let io = TokioIo::new(Watched { socket, activity: Arc::clone(&activity), verdict: Vec::new() });
    let service = service_fn(|request: Request<Incoming>| {
        activity.request(&request);
        answer(request, Carrier::Http1(Arc::clone(&activity)))
    });
    let mut connection = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        // The deadlines of this module take its place.
        .header_read_timeout(None)
        .serve_connection(io, service);
    let mut down = pin!(super::turned_on(&mut shutdown));
    let mut draining = false;
    let mut sleep = pin!(sleep_until(activity.deadline(deadlines).0));
    let ended = |result: hyper::Result<()>| match result {
        Ok(()) => End::Closed,
        Err(error) if error.is_parse() => End::Malformed(error),
        Err(error) => End::Failed(error),
    };
    let mut has_begun = false;
    let end = poll_fn(|cx| {
        if !draining && down.as_mut().poll(cx).is_ready() {
            draining = true;
            activity.drain();
            // A connection of which hyper has read nothing is closed at once, and what was read of it to know its version, the
            // beginning of a request, is lost with all that follows.
            if !std::mem::replace(&mut has_begun, true)
                && let Poll::Ready(result) = Pin::new(&mut connection).poll(cx)
            {
                return Poll::Ready(ended(result));
            }
            Pin::new(&mut connection).graceful_shutdown();
        }
        has_begun = true;
        loop {
            if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(ended(result));
            }
            if activity.poll_lease_ended(cx).is_ready() {
                return Poll::Ready(End::LeaseEnded);
            }
            match ready!(rest_ends(sleep.as_mut(), cx, || activity.deadline(deadlines))) {
                Due::Ends(rest) => return Poll::Ready(End::Rested(rest)),
                // hyper is polled again, and with it what is held; which is released, whatever hyper does.
                Due::Held => activity.release(),
            }
        }
    })
    .await;
    let parts = connection.into_parts();
    let Watched { socket, verdict, .. } = parts.io.into_inner();
    let stream = socket.into_transport();
    let upgrade = activity.lock().upgrade.take();
    if let (End::Closed, Some(viewer)) = (&end, upgrade) {
        let mut shutdown = activity.shutdown();
        let down = Box::pin(async move { super::turned_on(&mut shutdown).await });
        // Boxed, as what follows: a connection's task would have room for it all the time that it is held.
        return Box::pin(websocket::serve(stream, parts.read_buf, viewer, deadlines.write_stall, down)).await;
    }
    match &end {
        // No words: an answer of ours was in the way, and hyper's own went out behind it.
        End::Malformed(_) => {
            let words = farewell::in_our_words(&verdict).unwrap_or_default();
            Box::pin(farewell::farewell(stream, &words)).await;
        }
        End::Closed if activity.has_unread_content() => Box::pin(farewell::farewell(stream, b"")).await,
        // What the socket holds for a client that doesn't take it would stay in the kernel for minutes.
        End::Rested(Rest::WriteStall | Rest::Response) | End::LeaseEnded => {
            stream.set_zero_linger();
        }
        // A body that was broken off must not look complete where nothing but the connection's end says so.
        End::Failed(error) if error.is_user() && activity.ends_with_connection() => {
            stream.set_zero_linger();
        }
        End::Closed | End::Failed(_) | End::NoHandshake(_) | End::Rested(_) => {}
    }
    end
}

/// A socket that tells what happens on it.
struct Watched {
    socket: Socket,
    activity: Arc<Activity>,
    /// hyper's own answer to what is no request; it was not sent.
    verdict: Vec<u8>,
}

impl Watched {
    /// Keeps what hyper answers by itself. Whatever the service answered has been flushed before, else the phase were another.
    fn keeps_verdict(&mut self, bytes: &[u8]) -> bool {
        let is_verdict = (!self.verdict.is_empty() || bytes.starts_with(farewell::VERDICT_BEGINS))
            && !self.activity.is_answering();
        if is_verdict {
            self.verdict.extend_from_slice(bytes);
        }
        is_verdict
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        self.activity.read(buf.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.keeps_verdict(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.activity.write(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper writes a head of its own as one piece; what might follow comes with the next call.
        if let Some(first) = bufs.first()
            && self.keeps_verdict(first)
        {
            return Poll::Ready(Ok(first.len()));
        }
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.activity.write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.socket).poll_flush(cx)? {
            Poll::Ready(()) => self.activity.flushed(),
            Poll::Pending => {
                self.activity.flush_waits(self.socket.transport().written());
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.verdict.is_empty() {
            // The last words are still to be said.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn inside_tls_only_what_the_system_takes_is_progress() {
        let long = Duration::from_secs(3_600);
        let write_stall = Duration::from_secs(10);
        let deadlines =
            Deadlines { first_byte: long, header: long, idle: long, write_stall, response: long, ping: long };
        let activity = Activity::new(watch::channel(false).1);
        activity.flush_waits(Some(7));
        let (first, rest) = activity.deadline(&deadlines);
        assert_eq!(rest, Due::Ends(Rest::WriteStall));
        std::thread::sleep(Duration::from_millis(1));
        activity.flush_waits(Some(7));
        assert_eq!(activity.deadline(&deadlines).0, first, "nothing was taken");
        activity.flush_waits(Some(8));
        assert!(activity.deadline(&deadlines).0 > first, "a byte was taken");
        activity.flushed();
        assert_eq!(activity.deadline(&deadlines).1, Due::Ends(Rest::Header));
    }
}

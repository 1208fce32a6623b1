//! One connection of HTTP/2: many answers at a time, each of which can rest by itself.
//!
//! hyper serves each request in a task of its own and passes bytes on as far as the client's windows allow. A client can leave one
//! answer lying while it takes another, which the socket doesn't show: so bytes go out in pieces that tell when they have been
//! written, and [`Watch`] compares that with the clock. An answer that rests too long is reset alone, when that frees all that it
//! holds; else the connection ends.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;
use std::error::Error as _;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::connection::{
    Carrier, Deadlines, End, HEAD_BYTES_MAX, Limits, NEVER, Rest, Socket, earlier, rest_ends,
};
use super::farewell::{LINGER, LINGER_BYTES_MAX, SCRAP_BYTES};
use super::payload::ReplyBody;
use crate::budget::Lease;

/// Largest header list in bytes, as RFC 9113 6.5.2 counts them: the same as HTTP/1.1's head. h2 answers a larger one with 431.
const HEADER_LIST_BYTES_MAX: u32 = HEAD_BYTES_MAX as u32;

/// What a client may send of a request's content, in bytes: nobody reads it, it only has to be able to begin.
const STREAM_WINDOW: u32 = 16 << 10;

/// The same of all requests of a connection together; RFC 9113 6.9.2 begins with this, less can't be told.
const CONNECTION_WINDOW: u32 = 65_535;

/// Most bytes of an answer that wait for their turn at the socket: some frames, so that the socket doesn't wait for the answer's
/// task. Slices of what is in memory anyway; but a slice of a segment keeps all of it.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// Most bytes of an answer that are handed over at a time: a frame as large as every client takes it (RFC 9113 4.2).
pub(super) const PIECE_BYTES_MAX: usize = 16 << 10;

/// Answers to held requests that are made before the connection's task has taken them. All are released at once, and each that waits
/// for the task takes 2 KiB, of which h2 keeps the places for as long as the connection lives.
const TURNS: usize = 16;

/// Requests that were reset before they were looked at (CVE-2023-44487): a page that is left gives up some at once, and only those
/// that came in the same packets count. One more ends the connection.
const RESETS_PENDING_MAX: usize = 64;

/// Streams that were reset for a client's mistakes (CVE-2023-44487's other side): as many as a client may have opened too much
/// before it could know `http.max_streams_per_connection`. One more ends the connection.
const RESETS_OURS_MAX: usize = 1_024;

/// A piece that nothing was written of for so long lies with a slow client: longer than a lost packet delays a fast one.
const LYING: Duration = Duration::from_secs(1);

/// How long a client may take to answer GOAWAY once its last answer has ended: some round trips to the other side of the world.
const GOAWAY_WAIT: Duration = Duration::from_secs(1);

/// What has happened on a connection, for its deadlines.
#[derive(Debug)]
pub(super) struct Activity {
    deadlines: Deadlines,
    state: Mutex<State>,
    /// Held requests whose answers may be made before the connection's task has run again.
    turns: Semaphore,
    /// True when the process drains.
    shutdown: watch::Receiver<bool>,
}

#[derive(Debug)]
struct State {
    /// Requests whose answers have not ended.
    open: u32,
    /// Since when there is none, if there is none.
    idle_since: Instant,
    /// Since when the socket takes no byte.
    stalled_since: Option<Instant>,
    /// Inside TLS: what the system had taken then.
    written: Option<u64>,
    /// Since when it takes all that there is, if it does.
    free_since: Instant,
    /// Since when the client knows that it is to ask for nothing more.
    leaving_since: Option<Instant>,
    /// All is said, and the client is given the time to read it, which [`Watched`] bounds.
    is_closing: bool,
    /// What the socket still holds is not to be sent.
    resets: bool,
    /// The request that the service was called with last; its stream comes next.
    called: Option<Arc<Answer>>,
    /// Requests that are held, by the end of that, and whom to wake then.
    held: BTreeMap<(Instant, u64), Waker>,
    /// So many were held.
    held_count: u64,
    /// The task looks at the clock then at the latest.
    next_look: Instant,
    is_draining: bool,
    /// Answers that rested too long.
    cuts: Vec<Cut>,
    /// The connection's task.
    task: Option<Waker>,
}

/// What is due when a connection has rested for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Its end.
    Ends(Rest),
    /// The end of a hold.
    Held,
}

/// An answer that is cut off.
#[derive(Debug)]
struct Cut {
    why: End,
    /// Resetting its stream would leave its bytes where they are.
    ends_connection: bool,
}

impl Activity {
    fn new(deadlines: Deadlines, shutdown: watch::Receiver<bool>) -> Arc<Activity> {
        let now = Instant::now();
        Arc::new(Activity {
            deadlines,
            state: Mutex::new(State {
                open: 0,
                idle_since: now,
                stalled_since: None,
                written: None,
                free_since: now,
                leaving_since: None,
                is_closing: false,
                resets: false,
                called: None,
                held: BTreeMap::new(),
                held_count: 0,
                next_look: now,
                is_draining: false,
                cuts: Vec::new(),
                task: None,
            }),
            turns: Semaphore::new(TURNS),
            shutdown,
        })
    }

    /// A request has come.
    fn opened(self: &Arc<Activity>) -> Arc<Answer> {
        let now = Instant::now();
        let answer = Arc::new(Answer {
            activity: Arc::clone(self),
            progress: Mutex::new(Progress {
                since: now,
                is_made: false,
                is_unbounded: false,
                pieces: 0,
                moved: now,
                lease: None,
                task: None,
            }),
        });
        let mut state = self.lock();
        state.open = state.open.saturating_add(1);
        state.called = Some(Arc::clone(&answer));
        answer
    }

    /// An answer has ended.
    fn ended(&self) {
        let mut state = self.lock();
        state.open = state.open.saturating_sub(1);
        if state.open == 0 {
            state.idle_since = Instant::now();
            state.wake();
        }
    }

    fn write(&self, result: &Poll<io::Result<usize>>) {
        let mut state = self.lock();
        match result {
            Poll::Pending if state.stalled_since.is_none() => state.stalled_since = Some(Instant::now()),
            Poll::Ready(Ok(_)) if state.stalled_since.take().is_some() => state.free_since = Instant::now(),
            _ => {}
        }
    }

    /// Inside TLS, what was written last waits for the system, which had taken `written` until now.
    fn flush(&self, result: &Poll<io::Result<()>>, written: Option<u64>) {
        let mut state = self.lock();
        match result {
            Poll::Pending if state.stalled_since.is_none() || state.written != written => {
                state.stalled_since = Some(Instant::now());
                state.written = written;
            }
            Poll::Ready(Ok(())) if state.stalled_since.take().is_some() => state.free_since = Instant::now(),
            _ => {}
        }
    }

    /// Since when the socket takes all that there is; `None` when it doesn't.
    fn free_since(&self) -> Option<Instant> {
        let state = self.lock();
        state.stalled_since.is_none().then_some(state.free_since)
    }

    fn cut(&self, cut: Cut) {
        let mut state = self.lock();
        state.cuts.push(cut);
        state.wake();
    }

    /// The task has taken what was made. While the socket takes nothing, what would be made now would only wait for it; the clock
    /// sees to those who are held for too long meanwhile.
    fn next_turns(&self) {
        if self.free_since().is_some() {
            self.turns.add_permits(TURNS.saturating_sub(self.turns.available_permits()));
        }
    }

    /// The process drains: nothing is held any more.
    fn drain(&self) {
        let mut state = self.lock();
        state.is_draining = true;
        state.held.values().for_each(Waker::wake_by_ref);
    }

    /// Some are held for too long.
    fn holds_end(&self) {
        let mut state = self.lock();
        let now = Instant::now();
        while let Some(first) = state.held.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().wake();
        }
    }

    /// What was cut off; the task is woken for what comes.
    fn next_cut(&self, cx: &mut Context<'_>) -> Option<Cut> {
        let mut state = self.lock();
        register(&mut state.task, cx);
        state.cuts.pop()
    }

    /// True for the first caller: the client is to be told that no further request is wanted.
    fn leave(&self) -> bool {
        let mut state = self.lock();
        let is_first = state.leaving_since.is_none();
        state.leaving_since.get_or_insert_with(Instant::now);
        is_first
    }

    fn closing(&self) {
        self.lock().is_closing = true;
    }

    fn reset(&self) {
        self.lock().resets = true;
    }

    /// When the connection has rested for too long, unless something happens before; or when something is held no longer.
    fn deadline(&self) -> (Instant, Look) {
        let mut state = self.lock();
        let wait = match state.leaving_since {
            _ if state.is_closing || state.open > 0 => state.idle_since + NEVER,
            Some(leaving_since) => leaving_since.max(state.idle_since) + GOAWAY_WAIT,
            None => state.idle_since + self.deadlines.idle,
        };
        let first = (wait, Look::Ends(Rest::Idle));
        let first = match state.stalled_since {
            Some(since) => earlier(first, (since + self.deadlines.write_stall, Look::Ends(Rest::WriteStall))),
            None => first,
        };
        let first = match state.held.first_key_value() {
            Some(((until, _), _)) => earlier(first, (*until, Look::Held)),
            None => first,
        };
        state.next_look = first.0;
        first
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Held for a moment by the connection's task or an answer's; plain values are whole after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

/// How far an answer is. It has ended when nobody holds this any more.
#[derive(Debug)]
pub(super) struct Answer {
    activity: Arc<Activity>,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    /// The request's head.
    since: Instant,
    /// The answer's head is made.
    is_made: bool,
    /// `http.response_timeout` doesn't end it.
    is_unbounded: bool,
    /// Handed over, and not written yet.
    pieces: u32,
    /// When a byte was written last, or a piece was handed over while there was none.
    moved: Instant,
    /// Of the segment that it is.
    lease: Option<Lease>,
    /// Waits for the last piece.
    task: Option<Waker>,
}

impl Answer {
    /// The answer's head is made: whether it is a segment, and whether `http.response_timeout` ends it.
    pub(super) fn answered(&self, lease: Option<Lease>, is_bounded: bool) {
        let mut progress = self.lock();
        progress.is_made = true;
        progress.is_unbounded = !is_bounded;
        progress.lease = lease;
    }

    /// Whether its head is made: before, it's waited for what it is about, and there is nothing for the client to take.
    fn is_made(&self) -> bool {
        self.lock().is_made
    }

    /// True when the process drains.
    pub(super) fn shutdown(&self) -> watch::Receiver<bool> {
        self.activity.shutdown.clone()
    }

    /// The request is held until then, and the task that polls now is woken; true when the process drains.
    pub(super) fn hold(&self, until: Instant, number: &mut Option<u64>, cx: &Context<'_>) -> bool {
        let mut state = self.activity.lock();
        let number = *number.get_or_insert_with(|| {
            state.held_count += 1;
            state.held_count
        });
        match state.held.entry((until, number)) {
            Entry::Occupied(mut held) => held.get_mut().clone_from(cx.waker()),
            Entry::Vacant(place) => {
                place.insert(cx.waker().clone());
            }
        }
        if until < state.next_look {
            state.wake();
        }
        state.is_draining
    }

    /// It is held no longer.
    pub(super) fn release(&self, until: Instant, number: u64) {
        self.activity.lock().held.remove(&(until, number));
    }

    /// Resolves when the answer to a held request may be made.
    pub(super) async fn turn(&self) {
        let turns = &self.activity.turns;
        // Nobody closes it.
        if let Ok(turn) = turns.acquire().await {
            turn.forget();
        }
        if turns.available_permits() == 0 {
            // Whoever has the last one sees to the next ones, whatever becomes of its answer.
            self.activity.lock().wake();
        }
    }

    /// For a piece that is handed over.
    pub(super) fn handed_over(self: &Arc<Answer>) -> OnItsWay {
        let mut progress = self.lock();
        if progress.pieces == 0 {
            progress.moved = Instant::now();
        }
        progress.pieces = progress.pieces.saturating_add(1);
        OnItsWay(Arc::clone(self))
    }

    /// Ready when every piece that was handed over is written or dropped.
    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut progress = self.lock();
        if progress.pieces == 0 {
            return Poll::Ready(());
        }
        register(&mut progress.task, cx);
        Poll::Pending
    }

    /// The segment's lease, if it is one and nobody has asked before.
    fn take_lease(&self) -> Option<Lease> {
        self.lock().lease.take()
    }

    /// When it has rested for too long, unless something happens before.
    fn deadline(&self) -> (Instant, Due) {
        let deadlines = &self.activity.deadlines;
        let free_since = self.activity.free_since();
        let progress = self.lock();
        let span = if progress.is_unbounded { NEVER } else { deadlines.response };
        let first = (progress.since + span, Due::Ends(Rest::Response));
        if progress.pieces == 0 {
            return first;
        }
        // With a socket that takes everything, what is not written waits for the client's window; with one that doesn't, perhaps
        // for its turn: the connection's own deadline sees to that, and the next look is later.
        let since = free_since.map_or_else(Instant::now, |free_since| free_since.max(progress.moved));
        let first = earlier(first, (since + deadlines.write_stall, Due::Ends(Rest::WriteStall)));
        if progress.lease.is_some() { earlier(first, (progress.moved + LYING, Due::Lies)) } else { first }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        // Held for a moment by the answer's task or the connection's; plain values are whole after any panic.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.activity.ended();
    }
}

/// What is due when an answer has rested for so long.
#[derive(Debug, Clone, Copy)]
enum Due {
    /// Its end.
    Ends(Rest),
    /// It lies with a slow client: its segment may have to be let go of.
    Lies,
}

/// Lives as long as a piece of an answer that is not written.
#[derive(Debug)]
pub(super) struct OnItsWay(Arc<Answer>);

impl OnItsWay {
    /// Some of it was written.
    pub(super) fn moved(&self) {
        self.0.lock().moved = Instant::now();
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut progress = self.0.lock();
        progress.pieces = progress.pieces.saturating_sub(1);
        if progress.pieces == 0
            && let Some(task) = progress.task.take()
        {
            task.wake();
        }
    }
}

/// The task that polls now is the one to wake.
fn register(task: &mut Option<Waker>, cx: &Context<'_>) {
    match task {
        Some(task) => task.clone_from(cx.waker()),
        None => *task = Some(cx.waker().clone()),
    }
}

/// Serves a connection until it ends. When `shutdown` turns true, the running answers are the last ones. `cut_off` is told of
/// answers that are reset.
pub(super) async fn serve<S, F>(
    socket: Socket,
    limits: &Limits,
    mut shutdown: watch::Receiver<bool>,
    answer: S,
    cut_off: impl Fn(End),
) -> End
where
    S: Fn(Request<Incoming>, Carrier) -> F,
    F: Future<Output = Result<Response<ReplyBody>, Infallible>> + Send + 'static,
{
    let activity = Activity::new(limits.deadlines, shutdown.clone());
    let io = TokioIo::new(Watched { socket, activity: Arc::clone(&activity), linger: None });
    // hyper has a place for the answer beside the one for its body: boxed, it's as small as a pointer while a request is held.
    let service = service_fn(|request: Request<Incoming>| {
        let boxed: BoxedAnswer = Box::pin(answer(request, Carrier::Http2(activity.opened())));
        boxed
    });
    let connection = http2::Builder::new(Spawner(Arc::clone(&activity)))
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(RESETS_OURS_MAX)
        .keep_alive_interval(limits.deadlines.ping)
        .keep_alive_timeout(limits.deadlines.ping)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut down = pin!(super::turned_on(&mut shutdown));
    let mut draining = false;
    let mut sleep = pin!(sleep_until(activity.deadline().0));
    let end = poll_fn(|cx| {
        if !draining && down.as_mut().poll(cx).is_ready() {
            draining = true;
            activity.drain();
            if activity.leave() {
                connection.as_mut().graceful_shutdown();
            }
        }
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(end(result));
            }
            while let Some(cut) = activity.next_cut(cx) {
                if cut.ends_connection {
                    return Poll::Ready(cut.why);
                }
                cut_off(cut.why);
            }
            // Behind `next_cut`, which sees to it that the task is woken when they have been taken.
            activity.next_turns();
            match ready!(rest_ends(sleep.as_mut(), cx, || activity.deadline())) {
                Look::Held => activity.holds_end(),
                // The client is told before: a request that is on the way can be sent again elsewhere.
                Look::Ends(Rest::Idle) if activity.leave() => connection.as_mut().graceful_shutdown(),
                Look::Ends(rest) => return Poll::Ready(End::Rested(rest)),
            }
        }
    })
    .await;
    if let End::Rested(Rest::WriteStall | Rest::Response | Rest::Silence) | End::LeaseEnded = &end {
        activity.reset();
    }
    end
}

/// The service's answer in the making.
type BoxedAnswer = Pin<Box<dyn Future<Output = Result<Response<ReplyBody>, Infallible>> + Send>>;

/// How a connection ended that hyper ended.
fn end(result: Result<(), hyper::Error>) -> End {
    match result {
        Ok(()) => End::Closed,
        Err(error) if error.is_timeout() => End::Rested(Rest::Silence),
        Err(error) => {
            let is_ours =
                error.source().and_then(|source| source.downcast_ref()).is_some_and(h2::Error::is_library);
            if is_ours { End::Malformed(error) } else { End::Failed(error) }
        }
    }
}

/// Puts each stream into a task of its own, watched.
#[derive(Debug, Clone)]
struct Spawner(Arc<Activity>);

impl<F: Future<Output = ()> + Unpin + Send + 'static> Executor<F> for Spawner {
    fn execute(&self, stream: F) {
        // hyper hands a stream over right after it has called the service.
        let called = self.0.lock().called.take();
        match called {
            Some(answer) => {
                tokio::spawn(Watch { stream: Some(stream), answer, sleep: None, lease_ended: None });
            }
            // What is no answer to a request would be a tunnel, and none is answered with one.
            None => drop(stream),
        }
    }
}

/// An answer, from its request to its last byte.
struct Watch<F> {
    /// Until hyper has handed over all of it.
    stream: Option<F>,
    answer: Arc<Answer>,
    /// From when on it may rest: what is held has its own end, most answers are handed over at once.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Of a segment that lies with a slow client: resolves when it has to be let go of.
    lease_ended: Option<Ending>,
}

type Ending = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<F: Future<Output = ()> + Unpin> Future for Watch<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let watch = &mut *self;
        if let Some(stream) = &mut watch.stream
            && Pin::new(stream).poll(cx).is_ready()
        {
            watch.stream = None;
        }
        if watch.stream.is_none() && watch.answer.poll_sent(cx).is_ready() {
            return Poll::Ready(());
        }
        let why = loop {
            if watch.lease_ended.as_mut().is_some_and(|ended| ended.as_mut().poll(cx).is_ready()) {
                break End::LeaseEnded;
            }
            if watch.sleep.is_none() && !watch.answer.is_made() {
                return Poll::Pending;
            }
            let sleep = watch.sleep.get_or_insert_with(|| Box::pin(sleep_until(watch.answer.deadline().0)));
            match ready!(rest_ends(sleep.as_mut(), cx, || watch.answer.deadline())) {
                Due::Ends(rest) => break End::Rested(rest),
                Due::Lies => {
                    let lease = watch.answer.take_lease();
                    watch.lease_ended = lease.map(|lease| -> Ending { Box::pin(lease.ended()) });
                }
            }
        };
        // Dropped, hyper's stream is reset, but h2 keeps what it was handed until the client's window lets it go.
        let is_reset = watch.stream.take().is_some();
        let ends_connection = !(is_reset && watch.answer.poll_sent(cx).is_ready());
        watch.answer.activity.cut(Cut { why, ends_connection });
        Poll::Ready(())
    }
}

/// A socket that tells what happens on it, and that lets the peer read the last words.
struct Watched {
    socket: Socket,
    activity: Arc<Activity>,
    linger: Option<Linger>,
}

/// What a peer still sends after the last words is read and thrown away, for a while: see [`LINGER`].
struct Linger {
    until: Pin<Box<Sleep>>,
    bytes: usize,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.activity.write(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.activity.write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.socket).poll_flush(cx);
        self.activity.flush(&result, self.socket.transport().written());
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let watched = &mut *self;
        if watched.linger.is_none() {
            watched.activity.closing();
            ready!(Pin::new(&mut watched.socket).poll_shutdown(cx))?;
        }
        let linger =
            watched.linger.get_or_insert_with(|| Linger { until: Box::pin(sleep(LINGER)), bytes: 0 });
        let mut scrap = [0; SCRAP_BYTES];
        while linger.bytes < LINGER_BYTES_MAX {
            let mut buf = ReadBuf::new(&mut scrap);
            match Pin::new(&mut watched.socket).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    linger.bytes = linger.bytes.saturating_add(buf.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return linger.until.as_mut().poll(cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.activity.lock().resets {
            // What the socket holds for a client that doesn't take it would stay in the kernel for minutes.
            self.socket.transport().set_zero_linger();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_tls_only_what_the_system_takes_is_progress() {
        let long = Duration::from_secs(3_600);
        let write_stall = Duration::from_secs(10);
        let deadlines =
            Deadlines { first_byte: long, header: long, idle: long, write_stall, response: long, ping: long };
        let activity = Activity::new(deadlines, watch::channel(false).1);
        activity.flush(&Poll::Pending, Some(7));
        let (first, rest) = activity.deadline();
        assert_eq!((rest, activity.free_since()), (Look::Ends(Rest::WriteStall), None));
        std::thread::sleep(Duration::from_millis(1));
        activity.flush(&Poll::Pending, Some(7));
        assert_eq!(activity.deadline().0, first, "nothing was taken");
        activity.flush(&Poll::Pending, Some(8));
        assert!(activity.deadline().0 > first, "a byte was taken");
        activity.flush(&Poll::Ready(Ok(())), Some(9));
        assert_eq!(activity.deadline().1, Look::Ends(Rest::Idle));
        assert!(activity.free_since().is_some());
    }
}

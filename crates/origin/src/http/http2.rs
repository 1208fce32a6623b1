//! One connection of HTTP/2: many answers at a time, each of which can rest by itself.
//!
//! hyper makes a future of each answer ([`Streams`]) and passes bytes on as far as the client's windows allow. A client can leave one
//! answer lying while it takes another, which the socket doesn't show: so bytes go out in pieces that tell when they have been
//! written, and [`Watch`] compares that with the clock. An answer that rests too long is reset alone, when that frees all that it
//! holds; else the connection ends.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error as _;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::connection::{
    Carrier, Deadlines, End, HEAD_BYTES_MAX, Limits, NEVER, Rest, Socket, earlier, rest_ends,
};
use super::farewell::{LINGER, LINGER_BYTES_MAX, SCRAP_BYTES};
use super::payload::ReplyBody;
use super::streams::{Answer, Stream, Streams, Watch};

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

/// So many bytes of a client's are read before the requests in them are looked at. A crowd on one connection asks anew all at once, and
/// h2 keeps the places, 240 bytes each, of all requests that ever waited to be looked at for as long as the connection lives.
const READ_BYTES: usize = 4 << 10;

/// Requests that were reset before they were looked at (CVE-2023-44487): a page that is left gives up some at once, and only those
/// that came within [`READ_BYTES`] count, which have room for so many with heads of 100 bytes. One more ends the connection.
const RESETS_PENDING_MAX: usize = 32;

/// Streams that were reset for a client's mistakes (CVE-2023-44487's other side): as many as a client may have opened too much
/// before it could know `http.max_streams_per_connection`. One more ends the connection.
const RESETS_OURS_MAX: usize = 1_024;

/// How long a client may take to answer GOAWAY once its last answer has ended: some round trips to the other side of the world.
const GOAWAY_WAIT: Duration = Duration::from_secs(1);

/// What has happened on a connection, for its deadlines and its streams.
#[derive(Debug)]
pub(super) struct Activity {
    deadlines: Deadlines,
    state: Mutex<State>,
    /// Bytes that may be read before the connection's task has run again.
    unread: AtomicUsize,
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
    /// Streams that hyper has made.
    begun: Begun,
    /// Those that were woken, the next one first.
    woken: VecDeque<Arc<Answer>>,
    /// Answers to held requests that may be made before the connection's task has run again.
    turns: usize,
    /// Those that wait for that.
    queued: VecDeque<Arc<Answer>>,
    /// No request is held no longer before.
    hold_ends: Option<Instant>,
    is_draining: bool,
    /// Nobody polls its streams any more.
    is_closed: bool,
    /// Answers that rested too long.
    cuts: Vec<Cut>,
    /// The connection's task.
    task: Option<Waker>,
}

/// Streams until they are polled.
#[derive(Default)]
struct Begun(Vec<Box<dyn Stream>>);

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Begun").field(&self.0.len()).finish()
    }
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
pub(super) struct Cut {
    pub why: End,
    /// Resetting its stream would leave its bytes where they are.
    pub ends_connection: bool,
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
                begun: Begun::default(),
                woken: VecDeque::new(),
                turns: TURNS,
                queued: VecDeque::new(),
                hold_ends: None,
                is_draining: false,
                is_closed: false,
                cuts: Vec::new(),
                task: None,
            }),
            unread: AtomicUsize::new(READ_BYTES),
            shutdown,
        })
    }

    /// A request has come.
    fn opened(self: &Arc<Activity>) -> Arc<Answer> {
        let answer = Answer::new(Arc::clone(self));
        let mut state = self.lock();
        state.open = state.open.saturating_add(1);
        state.called = Some(Arc::clone(&answer));
        answer
    }

    /// Its stream. hyper hands it over right after it has called the service.
    fn begun<F: Future<Output = ()> + Unpin + Send + 'static>(&self, stream: F) {
        let mut state = self.lock();
        // What is no answer to a request would be a tunnel, and none is answered with one.
        if let Some(answer) = state.called.take() {
            state.begun.0.push(Box::new(Watch::new(stream, answer)));
        }
    }

    /// The streams that have begun since.
    pub(super) fn take_begun(&self) -> Vec<Box<dyn Stream>> {
        std::mem::take(&mut self.lock().begun.0)
    }

    /// An answer's stream is to be polled; once, until it has been.
    pub(super) fn woken(&self, answer: Arc<Answer>) {
        let mut state = self.lock();
        if !state.is_closed {
            state.woken.push_back(answer);
            state.wake();
        }
    }

    /// The same by the connection's task, which polls it in this turn or wakes itself.
    pub(super) fn comes(&self, answer: Arc<Answer>) {
        self.lock().woken.push_back(answer);
    }

    /// The stream to be polled next.
    pub(super) fn next_woken(&self) -> Option<Arc<Answer>> {
        self.lock().woken.pop_front()
    }

    /// An answer has ended.
    pub(super) fn ended(&self) {
        let mut state = self.lock();
        state.open = state.open.saturating_sub(1);
        if state.open == 0 {
            state.idle_since = Instant::now();
        }
    }

    /// Nobody polls its streams any more. What waits here holds this connection, which holds it.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let left = (
            std::mem::take(&mut state.woken),
            std::mem::take(&mut state.queued),
            std::mem::take(&mut state.begun),
            state.called.take(),
        );
        drop(state);
        // Not under the lock, which they may take.
        drop(left);
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
    pub(super) fn free_since(&self) -> Option<Instant> {
        let state = self.lock();
        state.stalled_since.is_none().then_some(state.free_since)
    }

    /// An answer is cut off.
    pub(super) fn cut(&self, cut: Cut) {
        let mut state = self.lock();
        state.cuts.push(cut);
        state.wake();
    }

    /// Whether an answer to a held request may be made now; else it is given its turn when those before it have had theirs.
    pub(super) fn turn(&self, answer: &Arc<Answer>) -> bool {
        let mut state = self.lock();
        if let Some(left) = state.turns.checked_sub(1) {
            state.turns = left;
            return true;
        }
        if !state.is_closed {
            state.queued.push_back(Arc::clone(answer));
            // The task sees to the next ones, whatever becomes of the last ones' answers.
            state.wake();
        }
        false
    }

    /// The task has taken what was made. While the socket takes nothing, what would be made now would only wait for it; the clock
    /// sees to those who are held for too long meanwhile.
    fn next_turns(&self) {
        let mut state = self.lock();
        if state.stalled_since.is_some() {
            return;
        }
        state.turns = TURNS;
        while state.turns > 0
            && let Some(answer) = state.queued.pop_front()
        {
            state.turns -= 1;
            answer.give_turn();
            // In front of those that are only looked at.
            if answer.is_woken_first() {
                state.woken.push_front(answer);
            }
        }
        if !state.queued.is_empty() {
            state.wake();
        }
    }

    /// The process drains: nothing is held any more.
    fn drain(&self) {
        self.lock().is_draining = true;
    }

    /// A request is held until then; true when the process drains.
    pub(super) fn hold(&self, until: Instant) -> bool {
        let mut state = self.lock();
        if state.hold_ends.is_none_or(|first| until < first) {
            state.hold_ends = Some(until);
        }
        state.is_draining
    }

    /// When the first of those that are held now is held no longer.
    pub(super) fn next_hold_ends(&self, first: Option<Instant>) {
        self.lock().hold_ends = first;
    }

    /// How long anything may rest.
    pub(super) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// True when the process drains.
    pub(super) fn shutdown(&self) -> watch::Receiver<bool> {
        self.shutdown.clone()
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
        let state = self.lock();
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
        match state.hold_ends {
            Some(until) => earlier(first, (until, Look::Held)),
            None => first,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Held for a moment by the connection's task or by who wakes it; plain values are whole after any panic.
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
    let mut streams = Streams::new(Arc::clone(&activity));
    let mut down = pin!(super::turned_on(&mut shutdown));
    let mut draining = false;
    let mut sleep = pin!(sleep_until(activity.deadline().0));
    let end = poll_fn(|cx| {
        if !draining && down.as_mut().poll(cx).is_ready() {
            draining = true;
            activity.drain();
            streams.end_holds(true);
            if activity.leave() {
                connection.as_mut().graceful_shutdown();
            }
        }
        loop {
            activity.unread.store(READ_BYTES, Ordering::Relaxed);
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
            streams.poll(cx);
            match ready!(rest_ends(sleep.as_mut(), cx, || activity.deadline())) {
                Look::Held => streams.end_holds(false),
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

/// Takes each stream for the connection's own task, watched.
#[derive(Debug, Clone)]
struct Spawner(Arc<Activity>);

impl<F: Future<Output = ()> + Unpin + Send + 'static> Executor<F> for Spawner {
    fn execute(&self, stream: F) {
        self.0.begun(stream);
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
        let unread = self.activity.unread.load(Ordering::Relaxed);
        if unread == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut (&mut self.socket).take(unread as u64)).poll_read(cx, buf))?;
        let read = buf.filled().len().saturating_sub(before);
        self.activity.unread.store(unread.saturating_sub(read), Ordering::Relaxed);
        Poll::Ready(Ok(()))
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
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn activity() -> Arc<Activity> {
        let long = Duration::from_secs(3_600);
        let write_stall = Duration::from_secs(10);
        let deadlines =
            Deadlines { first_byte: long, header: long, idle: long, write_stall, response: long, ping: long };
        Activity::new(deadlines, watch::channel(false).1)
    }

    #[test]
    fn inside_tls_only_what_the_system_takes_is_progress() {
        let activity = activity();
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

    /// A stream's waker, and how often it was polled; it ends when it is told to.
    #[derive(Default)]
    struct Seen {
        polls: AtomicU32,
        ends: AtomicU32,
        waker: Mutex<Option<Waker>>,
    }

    fn begin(activity: &Arc<Activity>) -> (Arc<Answer>, Arc<Seen>) {
        let (answer, seen) = (activity.opened(), Arc::new(Seen::default()));
        let its = Arc::clone(&seen);
        activity.begun(poll_fn(move |cx| {
            its.polls.fetch_add(1, Ordering::Relaxed);
            *its.waker.lock().unwrap() = Some(cx.waker().clone());
            if its.ends.load(Ordering::Relaxed) > 0 { Poll::Ready(()) } else { Poll::Pending }
        }));
        (answer, seen)
    }

    #[test]
    fn a_stream_is_polled_when_it_was_woken_and_leaves_nothing_behind() {
        let activity = activity();
        let mut streams = Streams::new(Arc::clone(&activity));
        let cx = Context::from_waker(Waker::noop());
        let (first, second) = (begin(&activity).1, begin(&activity).1);
        let polls = || (first.polls.load(Ordering::Relaxed), second.polls.load(Ordering::Relaxed));
        let wake = |seen: &Seen| seen.waker.lock().unwrap().as_ref().unwrap().wake_by_ref();
        streams.poll(&cx);
        streams.poll(&cx);
        assert_eq!(polls(), (1, 1), "as they begin");
        wake(&first);
        wake(&first);
        streams.poll(&cx);
        assert_eq!(polls(), (2, 1), "once, however often");
        first.ends.store(1, Ordering::Relaxed);
        wake(&first);
        streams.poll(&cx);
        assert_eq!((polls(), activity.lock().open), ((3, 1), 1), "ended");
        // In the place of the one that is gone, which somebody wakes late.
        let third = begin(&activity).1;
        streams.poll(&cx);
        wake(&first);
        streams.poll(&cx);
        assert_eq!((polls(), third.polls.load(Ordering::Relaxed)), ((3, 1), 1));
        wake(&second);
        drop(streams);
        wake(&second);
        for seen in [first, second, third] {
            seen.waker.lock().unwrap().take();
        }
        assert_eq!(Arc::strong_count(&activity), 1, "no stream keeps the connection");
    }

    #[test]
    fn answers_to_held_requests_take_turns() {
        let activity = activity();
        let mut streams = Streams::new(Arc::clone(&activity));
        let cx = Context::from_waker(Waker::noop());
        let begun: Vec<_> = (0..2 * TURNS + 1).map(|_| begin(&activity)).collect();
        streams.poll(&cx);
        let have = || begun.iter().map(|(answer, _)| answer.poll_turn()).filter(Poll::is_ready).count();
        assert_eq!(have(), TURNS, "as many as there are");
        activity.write(&Poll::Pending);
        activity.next_turns();
        let (answer, _) = &begun[TURNS];
        assert_eq!(answer.poll_turn(), Poll::Pending, "the socket takes nothing");
        activity.write(&Poll::Ready(Ok(1)));
        activity.next_turns();
        let polls = || begun[TURNS..].iter().map(|(_, seen)| seen.polls.load(Ordering::Relaxed)).sum::<u32>();
        let before = polls();
        streams.poll(&cx);
        assert_eq!(polls() - before, TURNS as u32, "those whose turn it is are polled");
        let have = || begun[TURNS..].iter().filter(|(answer, _)| answer.poll_turn().is_ready()).count();
        assert_eq!(have(), TURNS);
    }
}

//! The streams of one connection of HTTP/2: each an answer, from its request to its last byte.
//!
//! hyper makes a future of each, which is polled here by the connection's own task, when it has been woken. In a task of its own each
//! held request took a third more memory, and each release a way through the scheduler. What is known of an answer is in [`Answer`],
//! which is its waker as well, so that nothing else is there for it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::{End, NEVER, Rest, earlier, rest_ends};
use super::http2::{Activity, Cut};
use crate::budget::Lease;

/// So many streams that were woken are polled before the connection has its turn: two steps of each fit into what tokio lets a task
/// do at a time (128), and what it lets nobody do would be tried again.
const ROUND: usize = 48;

/// A piece that nothing was written of for so long lies with a slow client: longer than a lost packet delays a fast one.
const LYING: Duration = Duration::from_secs(1);

/// How far an answer is.
#[derive(Debug)]
pub(super) struct Answer {
    activity: Arc<Activity>,
    /// Where its stream is in [`Streams`].
    place: AtomicU32,
    /// It is among those that are polled next.
    is_woken: AtomicBool,
    /// It waits for its turn.
    is_queued: AtomicBool,
    /// It has its turn.
    has_turn: AtomicBool,
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
    /// Its stream waits for the last piece.
    waits_for_pieces: bool,
    /// When a byte was written last, or a piece was handed over while there was none.
    moved: Instant,
    /// When the request is held no longer.
    held_until: Option<Instant>,
    /// Of the segment that it is.
    lease: Option<Box<Lease>>,
}

impl Answer {
    /// To a request that has come now.
    pub(super) fn new(activity: Arc<Activity>) -> Arc<Answer> {
        let now = Instant::now();
        Arc::new(Answer {
            activity,
            place: AtomicU32::new(u32::MAX),
            is_woken: AtomicBool::new(false),
            is_queued: AtomicBool::new(false),
            has_turn: AtomicBool::new(false),
            progress: Mutex::new(Progress {
                since: now,
                is_made: false,
                is_unbounded: false,
                pieces: 0,
                waits_for_pieces: false,
                moved: now,
                held_until: None,
                lease: None,
            }),
        })
    }

    /// The answer's head is made: whether it is a segment, and whether `http.response_timeout` ends it.
    pub(super) fn answered(&self, lease: Option<Lease>, is_bounded: bool) {
        let mut progress = self.lock();
        progress.is_made = true;
        progress.is_unbounded = !is_bounded;
        progress.lease = lease.map(Box::new);
    }

    /// Whether its head is made: before, it's waited for what it is about, and there is nothing for the client to take.
    fn is_made(&self) -> bool {
        self.lock().is_made
    }

    /// True when the process drains.
    pub(super) fn shutdown(&self) -> watch::Receiver<bool> {
        self.activity.shutdown()
    }

    /// The request is held until then; true when the process drains.
    pub(super) fn hold(&self, until: Instant) -> bool {
        self.lock().held_until = Some(until);
        self.activity.hold(until)
    }

    /// It is held no longer.
    pub(super) fn release(&self) {
        self.lock().held_until = None;
    }

    /// Ready when the answer to a held request may be made; else its stream is polled again when it may.
    pub(super) fn poll_turn(self: &Arc<Answer>) -> Poll<()> {
        let is_queued = self.is_queued.load(Ordering::Relaxed);
        if self.has_turn.swap(false, Ordering::Relaxed) || (!is_queued && self.activity.turn(self)) {
            return Poll::Ready(());
        }
        self.is_queued.store(true, Ordering::Relaxed);
        Poll::Pending
    }

    /// It is its turn now.
    pub(super) fn give_turn(&self) {
        self.is_queued.store(false, Ordering::Relaxed);
        self.has_turn.store(true, Ordering::Relaxed);
    }

    /// Whether it is the first to wake it since it was polled.
    pub(super) fn is_woken_first(&self) -> bool {
        !self.is_woken.swap(true, Ordering::AcqRel)
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

    /// Ready when every piece that was handed over is written or dropped; else its stream is polled again then.
    fn poll_sent(&self) -> Poll<()> {
        let mut progress = self.lock();
        progress.waits_for_pieces = progress.pieces > 0;
        if progress.waits_for_pieces { Poll::Pending } else { Poll::Ready(()) }
    }

    /// The segment's lease, if it is one and nobody has asked before.
    fn take_lease(&self) -> Option<Box<Lease>> {
        self.lock().lease.take()
    }

    /// When it has rested for too long, unless something happens before.
    fn deadline(&self) -> (Instant, Due) {
        let deadlines = self.activity.deadlines();
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
        // Held for a moment, and never while the connection's lock is; plain values are whole after any panic.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Answer {
    fn wake(self: Arc<Answer>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Answer>) {
        if self.is_woken_first() {
            self.activity.woken(Arc::clone(self));
        }
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
        let is_waited_for = progress.pieces == 0 && std::mem::take(&mut progress.waits_for_pieces);
        drop(progress);
        if is_waited_for {
            self.0.wake_by_ref();
        }
    }
}

/// A stream, as those of one connection are kept together.
pub(super) trait Stream: Send {
    /// What is known of its answer.
    fn answer(&self) -> &Arc<Answer>;

    /// Ready when the answer has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// All streams of a connection whose answers have not ended.
pub(super) struct Streams {
    activity: Arc<Activity>,
    places: Vec<Option<Box<dyn Stream>>>,
    /// Places that are free.
    free: Vec<u32>,
}

impl Streams {
    /// None yet.
    pub(super) fn new(activity: Arc<Activity>) -> Streams {
        Streams { activity, places: Vec::new(), free: Vec::new() }
    }

    /// Polls those that have begun or were woken. `cx`: of the connection's task, which is woken for the others.
    pub(super) fn poll(&mut self, cx: &Context<'_>) {
        for stream in self.activity.take_begun() {
            self.begin(stream);
        }
        for _ in 0..ROUND {
            match self.activity.next_woken() {
                Some(answer) => self.poll_one(answer),
                None => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    fn begin(&mut self, stream: Box<dyn Stream>) {
        let next = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let place = self.free.pop().unwrap_or(next);
        let answer = Arc::clone(stream.answer());
        answer.place.store(place, Ordering::Relaxed);
        match self.places.get_mut(place as usize) {
            Some(free) => *free = Some(stream),
            None => self.places.push(Some(stream)),
        }
        if answer.is_woken_first() {
            self.activity.comes(answer);
        }
    }

    fn poll_one(&mut self, answer: Arc<Answer>) {
        answer.is_woken.store(false, Ordering::Release);
        let place = answer.place.load(Ordering::Relaxed);
        let Some(taken) = self.places.get_mut(place as usize) else { return };
        // What was woken may have ended, and its place be another's.
        let Some(stream) = taken.as_mut().filter(|stream| Arc::ptr_eq(stream.answer(), &answer)) else {
            return;
        };
        if stream.poll(&mut Context::from_waker(&Waker::from(answer))).is_ready() {
            *taken = None;
            self.free.push(place);
            self.activity.ended();
        }
    }

    /// Wakes those that are held for too long, or all that are held.
    pub(super) fn end_holds(&self, is_draining: bool) {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        for answer in self.places.iter().flatten().map(|stream| stream.answer()) {
            let held_until = answer.lock().held_until;
            match held_until {
                Some(until) if until <= now || is_draining => answer.wake_by_ref(),
                Some(until) => next = Some(next.map_or(until, |next| next.min(until))),
                None => {}
            }
        }
        self.activity.next_hold_ends(next);
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.activity.close();
    }
}

/// An answer, from its request to its last byte.
pub(super) struct Watch<F> {
    /// Until hyper has handed over all of it.
    stream: Option<F>,
    answer: Arc<Answer>,
    /// From when on it may rest: what is held has its own end, most answers are handed over at once.
    sleep: Option<Pin<Box<Sleep>>>,
    /// Of a segment that lies with a slow client: resolves when it has to be let go of.
    lease_ended: Option<Ending>,
}

type Ending = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<F> Watch<F> {
    /// What hyper makes of an answer.
    pub(super) fn new(stream: F, answer: Arc<Answer>) -> Watch<F> {
        Watch { stream: Some(stream), answer, sleep: None, lease_ended: None }
    }
}

impl<F: Future<Output = ()> + Unpin + Send> Stream for Watch<F> {
    fn answer(&self) -> &Arc<Answer> {
        &self.answer
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(stream) = &mut self.stream
            && Pin::new(stream).poll(cx).is_ready()
        {
            self.stream = None;
        }
        if self.stream.is_none() && self.answer.poll_sent().is_ready() {
            return Poll::Ready(());
        }
        let why = loop {
            if self.lease_ended.as_mut().is_some_and(|ended| ended.as_mut().poll(cx).is_ready()) {
                break End::LeaseEnded;
            }
            if self.sleep.is_none() && !self.answer.is_made() {
                return Poll::Pending;
            }
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(self.answer.deadline().0)));
            match ready!(rest_ends(sleep.as_mut(), cx, || self.answer.deadline())) {
                Due::Ends(rest) => break End::Rested(rest),
                Due::Lies => {
                    let lease = self.answer.take_lease();
                    self.lease_ended = lease.map(|lease| -> Ending { Box::pin(lease.ended()) });
                }
            }
        };
        // Dropped, hyper's stream is reset, but h2 keeps what it was handed until the client's window lets it go.
        let is_reset = self.stream.take().is_some();
        let ends_connection = !(is_reset && self.answer.poll_sent().is_ready());
        self.answer.activity.cut(Cut { why, ends_connection });
        Poll::Ready(())
    }
}

//! Holding a request until a stream's version is the one it waits for: bounded in time and in number.

use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use headwater_media::TrackKind;
use headwater_packager::Snapshot;

use super::connection::{Carrier, Hold, HoldEnds};
use super::directives::Wanted;
use super::response::Reply;
use super::route::Rendition;
use super::{Client, Context, playlist, segment};
use crate::published::{Document, Published};
use crate::registry::Stream;
use crate::telemetry::Span;

/// What a request needs in order to be held. It is there once for each of them, and all else borrows it.
pub(super) struct Holder {
    /// The connection that it came on.
    pub client: Arc<Client>,
    /// Who asks.
    pub address: IpAddr,
    /// What the request is traced by, if it is.
    pub span: Span,
    /// What carries the answer. It bounds the wait, ends it when the process drains, and may have the answer wait for its turn.
    pub carrier: Carrier,
}

impl Holder {
    /// What all connections share.
    pub(super) fn context(&self) -> &Context {
        &self.client.context
    }

    /// How long the first playlist is waited for.
    pub(super) fn timeout(&self) -> Duration {
        self.context().config.now().http.hold_timeout
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What the way from a request to its answer has come to. All that is kept of a request while it waits is what it waits for: the
/// answer is made of nothing else.
#[derive(Debug)]
pub(super) enum Step {
    /// The answer.
    Reply(Box<Reply>),
    /// A version of the stream is waited for.
    Wait(Wait),
}

impl Step {
    /// Waits so long at most.
    pub(super) fn wait(awaited: Awaited, limit: Duration) -> Step {
        Step::Wait(Wait { awaited, limit })
    }
}

impl From<Reply> for Step {
    fn from(reply: Reply) -> Step {
        Step::Reply(Box::new(reply))
    }
}

/// A wait that is about to begin.
#[derive(Debug)]
pub(super) struct Wait {
    /// For what.
    pub awaited: Awaited,
    /// For so long at most.
    limit: Duration,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Awaited {
    /// A document that can be played, or a stream that has none to come.
    Playable(Document),
    /// Its turn to get that rendition's newest playlist.
    Turn(TrackKind),
    /// The playlist that a client of Low-Latency HLS named.
    Version(TrackKind, Wanted),
    /// A segment, or that it is not to come.
    Segment(Rendition, u64),
    /// A part of a segment, likewise.
    Part(TrackKind, u64, u32),
}

impl Awaited {
    /// Whether it is there.
    fn is_in(&self, snapshot: &Snapshot) -> bool {
        match *self {
            Awaited::Playable(document) => playlist::is_settled(snapshot, document),
            Awaited::Turn(_) => true,
            Awaited::Version(kind, wanted) => playlist::satisfies(snapshot, kind, wanted),
            Awaited::Segment(rendition, sequence) => !segment::is_next(snapshot, rendition, sequence),
            Awaited::Part(kind, sequence, part) => !segment::is_next_part(snapshot, kind, sequence, part),
        }
    }

    /// Only what comes to that CMAF rendition, and the stream's state, can bring it; who waits is woken by nothing else.
    fn kind(&self) -> Option<TrackKind> {
        match *self {
            Awaited::Turn(kind) | Awaited::Version(kind, _) | Awaited::Part(kind, ..) => Some(kind),
            Awaited::Segment(Rendition::Cmaf(kind), _) => Some(kind),
            Awaited::Playable(_) | Awaited::Segment(Rendition::Ts, _) => None,
        }
    }

    /// The stream's newest version, when it has it.
    fn now(&self, stream: &Stream) -> Option<Arc<Published>> {
        Some(stream.current()).filter(|current| self.is_in(&current.snapshot))
    }
}

/// How a hold ended.
#[derive(Debug)]
pub(super) enum Held {
    /// With the version it waited for.
    Version(Arc<Published>),
    /// The time was over, or the stream was forgotten.
    TimedOut,
    /// Too many are held already.
    Refused,
    /// The process drains.
    Draining,
}

/// The stream's first version, from the current one on, that has what is awaited. A client that leaves drops this future.
// An async fn has room for its arguments twice, and it is held.
pub(super) fn until(holder: &Holder, stream: &Stream, wait: &Wait) -> impl Future<Output = Held> + Send {
    let awaited = &wait.awaited;
    let mut hold = holder.carrier.hold(wait.limit);
    async move {
        let kind = awaited.kind();
        if kind.is_some() && awaited.is_in(&stream.current().snapshot) {
            // As at the end of a hold: a crowd that begins asks for what is there.
            let mut hold = holder.carrier.hold(holder.timeout());
            // Better late than never, here as well.
            turn(holder, &mut hold).await;
        }
        // Not kept while it waits: what this version lists may have to go meanwhile.
        if let Some(current) = awaited.now(stream) {
            return Held::Version(current);
        }
        if hold.is_over() {
            return Held::TimedOut;
        }
        let Some(_admitted) = holder.context().holds.admit(holder.address) else {
            let events = holder.context().registry.events();
            events.limit_reached("http.max_held_requests", stream.app(), stream.name());
            return Held::Refused;
        };
        let mut versions = match kind {
            Some(kind) => stream.subscribe_to(kind),
            None => stream.subscribe(),
        };
        let ended = loop {
            if awaited.is_in(&versions.borrow_and_update().snapshot) {
                if let Some(ended) = turn(holder, &mut hold).await {
                    break ended;
                }
                // It is looked at anew when it is its turn, which is nearly always at once.
                let published = Arc::clone(&versions.borrow_and_update());
                if awaited.is_in(&published.snapshot) {
                    return Held::Version(published);
                }
                continue;
            }
            let mut changed = pin!(versions.changed());
            let ended = poll_fn(|cx| match changed.as_mut().poll(cx) {
                Poll::Ready(Ok(())) => Poll::Ready(None),
                Poll::Ready(Err(_)) => Poll::Ready(Some(HoldEnds::TimedOut)),
                Poll::Pending => hold.poll().map(Some),
            });
            if let Some(ended) = ended.await {
                break ended;
            }
        };
        match ended {
            // What has come and had no turn yet is better late than never.
            HoldEnds::TimedOut => awaited.now(stream).map_or(Held::TimedOut, Held::Version),
            HoldEnds::Draining => Held::Draining,
        }
    }
}

/// Until the answer may be made of what is there, the client's connection takes one behind the other; or until it is held no longer.
fn turn(holder: &Holder, hold: &mut Hold<'_>) -> impl Future<Output = Option<HoldEnds>> + Send {
    poll_fn(|_| match holder.carrier.poll_turn() {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => hold.poll().map(Some),
    })
}

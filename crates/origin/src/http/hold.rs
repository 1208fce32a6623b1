//! Holding a request until a stream's version is the one it waits for: bounded in time and in number.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use headwater_media::TrackKind;
use headwater_packager::Snapshot;

use super::connection::{Carrier, HoldEnds};
use crate::admission::Admission;
use crate::events::Events;
use crate::published::Published;
use crate::registry::Stream;
use crate::telemetry::Span;

/// What a request needs in order to be held.
#[derive(Debug)]
pub(super) struct Holder<'a> {
    /// Held requests, in total and per address.
    pub limits: &'a Arc<Admission>,
    /// Told when that is too many.
    pub events: &'a Events,
    /// Who asks.
    pub address: IpAddr,
    /// How long the first playlist is waited for.
    pub hold_timeout: Duration,
    /// What the request is traced by, if it is.
    pub span: &'a Span,
    /// What carries the answer. It bounds the wait, ends it when the process drains, and may have the answer wait for its turn.
    pub carrier: &'a Carrier,
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

/// The stream's first version, from the current one on, that `enough` accepts. A client that leaves drops this future.
///
/// `kind`: only what comes to that CMAF rendition, and the stream's state, can make it enough; who waits is woken by nothing else.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice, and it is held")]
pub(super) fn until(
    holder: &Holder<'_>,
    stream: &Stream,
    kind: Option<TrackKind>,
    limit: Duration,
    enough: impl Fn(&Snapshot) -> bool + Send + Sync,
) -> impl Future<Output = Held> + Send {
    async move {
        if kind.is_some() && enough(&stream.current().snapshot) {
            // As at the end of a hold: a crowd that begins asks for what is there.
            turn(holder).await;
        }
        // Not kept while it waits: what this version lists may have to go meanwhile.
        if let Some(current) = Some(stream.current()).filter(|current| enough(&current.snapshot)) {
            return Held::Version(current);
        }
        if limit.is_zero() {
            return Held::TimedOut;
        }
        let Some(_admitted) = holder.limits.admit(holder.address) else {
            holder.events.limit_reached("http.max_held_requests", stream.app(), stream.name());
            return Held::Refused;
        };
        let mut versions = match kind {
            Some(kind) => stream.subscribe_to(kind),
            None => stream.subscribe(),
        };
        let mut hold = holder.carrier.hold(limit);
        // Made where it stays: what is moved there has room twice, for as long as it is held.
        let mut version = pin!(async {
            loop {
                // As above: it is looked at anew when it is its turn, which is nearly always at once.
                let has_come = versions.wait_for(|published| enough(&published.snapshot)).await.is_ok();
                if !has_come {
                    return None;
                }
                holder.carrier.turn().await;
                let published = Arc::clone(&versions.borrow_and_update());
                if enough(&published.snapshot) {
                    return Some(published);
                }
            }
        });
        let ended = poll_fn(|cx| match version.as_mut().poll(cx) {
            Poll::Ready(version) => Poll::Ready(version.map_or(Held::TimedOut, Held::Version)),
            Poll::Pending => hold.poll(cx).map(|ended| match ended {
                HoldEnds::TimedOut => Held::TimedOut,
                HoldEnds::Draining => Held::Draining,
            }),
        })
        .await;
        match ended {
            // What has come and had no turn yet is better late than never.
            Held::TimedOut => Some(stream.current())
                .filter(|current| enough(&current.snapshot))
                .map_or(Held::TimedOut, Held::Version),
            ended => ended,
        }
    }
}

/// Until the answer may be made of what is there: the client's connection takes one behind the other.
pub(super) async fn turn(holder: &Holder<'_>) {
    let mut hold = holder.carrier.hold(holder.hold_timeout);
    let mut turn = pin!(holder.carrier.turn());
    poll_fn(|cx| match turn.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        // Better late than never, here as well.
        Poll::Pending => hold.poll(cx).map(drop),
    })
    .await;
}

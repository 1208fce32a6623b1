//! HTTP delivery: the playback listener, from accepting a connection to draining the last one.

mod answer;
mod conditional;
mod connection;
mod encoding;
mod hold;
mod page;
mod playlist;
mod range;
mod response;
mod route;
mod segment;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admission::{Admission, Admitted};
use crate::config::Config;
use crate::registry::Registry;
use connection::{Deadlines, End, Rest};
use hold::Holder;

/// After a failed accept (no file descriptors left, as a rule) the next is tried this much later: trying at once would
/// only turn a core hot until somebody closes.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// What a connection beyond the limits is told. One write, best effort: a client that doesn't read it is closed all the same.
const TOO_MANY_CONNECTIONS: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nCache-Control: no-store\r\n\
Access-Control-Allow-Origin: *\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What every connection of the playback listener shares.
#[derive(Debug)]
pub struct Context {
    registry: Arc<Registry>,
    config: Arc<Config>,
    /// The page; with it come its files and its list. `None` when switched off.
    page: Option<page::Page>,
    deadlines: Deadlines,
    connections: Arc<Admission>,
    holds: Arc<Admission>,
    counts: Counts,
    /// True once the listener has ended and every connection is gone.
    drained: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    rested_before_request: AtomicU64,
    stalled: AtomicU64,
}

/// The playback listener's counters, as the API shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Connections open.
    pub connections: u32,
    /// Connections refused by a limit.
    pub connections_refused: u64,
    /// Requests answered or being answered.
    pub requests: u64,
    /// Requests held now.
    pub held: u32,
    /// Requests that a limit kept from being held.
    pub held_refused: u64,
    /// Connections closed because no request came, or not to its end, in time.
    pub closed_without_request: u64,
    /// Connections closed because the client took its bytes too slowly or not at all.
    pub closed_stalled: u64,
}

impl Context {
    /// For the streams of `registry`, by the limits, deadlines and outputs of `config`.
    pub fn new(registry: Arc<Registry>, config: Arc<Config>) -> Context {
        let http = &config.http;
        let deadlines = Deadlines {
            first_byte: http.first_byte_timeout,
            header: http.header_timeout,
            idle: http.idle_timeout,
            write_stall: http.write_stall_timeout,
            response: http.response_timeout,
        };
        Context {
            page: http.page.then(|| page::Page::new(config.rtmp.listen.port())),
            deadlines,
            connections: Admission::new(http.max_connections, http.max_connections_per_address),
            holds: Admission::new(http.max_held_requests, http.max_held_requests_per_address),
            counts: Counts::default(),
            drained: watch::Sender::new(false),
            registry,
            config,
        }
    }

    /// The counters now.
    pub fn status(&self) -> Status {
        Status {
            connections: self.connections.count(),
            connections_refused: self.connections.refused(),
            requests: self.counts.requests.load(Ordering::Relaxed),
            held: self.holds.count(),
            held_refused: self.holds.refused(),
            closed_without_request: self.counts.rested_before_request.load(Ordering::Relaxed),
            closed_stalled: self.counts.stalled.load(Ordering::Relaxed),
        }
    }

    /// Resolves once [`serve`] has ended.
    pub async fn drained(&self) {
        // The sender lives in `self`, so waiting can't fail.
        let _ = self.drained.subscribe().wait_for(|drained| *drained).await;
    }
}

/// Serves playback until `shutdown` turns true, then lets running answers end, at most `http.drain_timeout`.
pub async fn serve(listener: TcpListener, context: Arc<Context>, shutdown: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut down = shutdown.clone();
    loop {
        tokio::select! {
            () = turned_on(&mut down) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => admit(&context, &mut connections, stream, peer, &shutdown),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let all_gone = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(context.config.http.drain_timeout, all_gone).await.is_err() {
        tracing::info!(
            connections = connections.len(),
            "connections cut off at the end of http.drain_timeout"
        );
        connections.shutdown().await;
    }
    context.drained.send_replace(true);
}

/// Resolves when the flag is true, or when nobody is left who could set it.
async fn turned_on(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|on| *on).await;
}

fn admit(
    context: &Arc<Context>,
    connections: &mut JoinSet<()>,
    stream: TcpStream,
    peer: SocketAddr,
    shutdown: &watch::Receiver<bool>,
) {
    let Some(admitted) = context.connections.admit(peer.ip()) else {
        let _ = stream.try_write(TOO_MANY_CONNECTIONS);
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
    connections.spawn(converse(Arc::clone(context), stream, peer, admitted, shutdown.clone()));
}

/// One connection's task.
async fn converse(
    context: Arc<Context>,
    stream: TcpStream,
    peer: SocketAddr,
    admitted: Admitted,
    shutdown: watch::Receiver<bool>,
) {
    let (shared, down) = (&context, &shutdown);
    let end = connection::serve(stream, context.deadlines, shutdown.clone(), |request, activity| async move {
        shared.counts.requests.fetch_add(1, Ordering::Relaxed);
        let holder = Holder {
            limits: &shared.holds,
            address: peer.ip(),
            shutdown: down,
            hold_timeout: shared.config.http.hold_timeout,
        };
        let reply = answer::answer(shared, &holder, &request).await;
        tracing::trace!(%peer, method = %request.method(), path = request.uri().path(), status = reply.status.as_u16(), "answered");
        reply.finish(activity)
    })
    .await;
    drop(admitted);
    match end {
        End::Closed => {}
        End::Failed(error) => tracing::debug!(%peer, %error, "connection failed"),
        End::Rested(rest) => {
            match rest {
                Rest::FirstByte | Rest::Header => &context.counts.rested_before_request,
                Rest::WriteStall | Rest::Response => &context.counts.stalled,
                // The usual end of a kept-alive connection.
                Rest::Idle => return,
            }
            .fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, ?rest, "connection closed at a deadline");
        }
    }
}

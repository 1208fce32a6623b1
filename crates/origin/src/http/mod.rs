//! HTTP delivery: the playback listener, from accepting a connection to draining the last one.
// A peer's bytes never panic us.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]
#![cfg_attr(not(test), warn(clippy::string_slice, clippy::panic, clippy::unreachable))]

mod access;
mod answer;
mod conditional;
mod connection;
mod continuous;
mod crowd;
mod directives;
mod encoding;
mod farewell;
mod feed;
mod hold;
mod http1;
mod http2;
mod live;
mod page;
mod payload;
mod permission;
mod playlist;
mod production;
mod range;
mod response;
mod route;
mod segment;
mod streams;
#[cfg(test)]
mod tests;
mod trace;
mod websocket;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, Version};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::admission::{Admission, Admitted};
use crate::auth::Authorizer;
use crate::config::{self, InForce};
use crate::listen::{Accepted, Listeners};
use crate::metrics::RequestKind;
use crate::proxied;
use crate::registry::Registry;
use crate::telemetry::Telemetry;
use connection::{Carrier, Deadlines, End, Limits, Rest};
use hold::Holder;
use payload::ReplyBody;

pub(crate) use websocket::accept as accept_websocket;

/// After a failed accept (no file descriptors left, as a rule) the next is tried this much later: trying at once would
/// only turn a core hot until somebody closes.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// From the last frame of an HTTP/2 client to a PING, and from that to its answer: a client that has vanished without a word goes
/// within twice this, also where nothing is to be written to it for as long as it is held.
const PING: Duration = Duration::from_secs(20);

/// What every connection of the playback listener shares.
#[derive(Debug)]
pub struct Context {
    registry: Arc<Registry>,
    config: InForce,
    page: page::Page,
    /// The list for those who follow it.
    feed: Arc<feed::Feed>,
    /// Who may play; `None`: everybody.
    authorizer: Option<Arc<Authorizer>>,
    connections: Arc<Admission>,
    holds: Arc<Admission>,
    counts: Counts,
    telemetry: Telemetry,
    /// True once the listener has ended and every connection is gone.
    drained: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    rested_before_request: AtomicU64,
    stalled: AtomicU64,
    malformed: AtomicU64,
    for_memory: AtomicU64,
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
    /// Connections closed, and answers of HTTP/2 broken off, because the client took its bytes too slowly or not at all.
    pub closed_stalled: u64,
    /// Connections closed because what came was no TLS handshake, no request, or broke the rules or limits of HTTP/2.
    pub closed_malformed: u64,
    /// Connections of slow clients closed, and their answers of HTTP/2 broken off, because what they held passed
    /// `limits.max_bytes_per_stream`.
    pub closed_for_memory: u64,
}

impl Context {
    /// For the streams of `registry`, by the limits, deadlines and outputs of `config`.
    pub fn new(registry: Arc<Registry>, config: impl Into<InForce>) -> Context {
        let config = config.into();
        let now = config.now();
        let http = &now.http;
        Context {
            page: page::Page::new(now.rtmp.listen.port()),
            connections: Admission::new(http.max_connections, http.max_connections_per_address),
            holds: Admission::new(http.max_held_requests, http.max_held_requests_per_address),
            counts: Counts::default(),
            telemetry: Telemetry::default(),
            drained: watch::Sender::new(false),
            authorizer: None,
            feed: feed::Feed::new(Arc::clone(&registry), config.clone()),
            registry,
            config,
        }
    }

    /// Lets those play whom `authorizer` lets.
    #[must_use]
    pub fn with_authorizer(mut self, authorizer: Arc<Authorizer>) -> Context {
        self.authorizer = Some(authorizer);
        self
    }

    /// Recording some of the requests.
    #[must_use]
    pub fn with_telemetry(mut self, telemetry: Telemetry) -> Context {
        self.telemetry = telemetry;
        self
    }

    /// The page, its files and its list, unless they are switched off.
    fn page(&self) -> Option<&page::Page> {
        self.config.now().http.page.then_some(&self.page)
    }

    /// By the limits of another configuration from now on.
    pub fn limit(&self, http: &config::Http) {
        self.connections.limit(http.max_connections, http.max_connections_per_address);
        self.holds.limit(http.max_held_requests, http.max_held_requests_per_address);
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
            closed_malformed: self.counts.malformed.load(Ordering::Relaxed),
            closed_for_memory: self.counts.for_memory.load(Ordering::Relaxed),
        }
    }

    /// Nobody has asked for anything yet. Who asks with a connection for each request is there without one most of the time.
    pub fn is_unused(&self) -> bool {
        self.counts.requests.load(Ordering::Relaxed) == 0
    }

    /// Resolves once [`serve`] has ended.
    pub async fn drained(&self) {
        // The sender lives in `self`, so waiting can't fail.
        let _ = self.drained.subscribe().wait_for(|drained| *drained).await;
    }
}

/// Serves playback until `shutdown` turns true, then lets running answers end, at most `http.drain_timeout`.
pub async fn serve(listeners: impl Into<Listeners>, context: Arc<Context>, shutdown: watch::Receiver<bool>) {
    let listeners = listeners.into();
    let mut connections = JoinSet::new();
    let mut down = shutdown.clone();
    let mut crowd = crowd::Crowd::default();
    let mut looks = tokio::time::interval(crowd::LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = turned_on(&mut down) => break,
            _ = looks.tick() => {
                // On HTTP/1.1 a held request counts twice, and takes as much.
                if crowd.has_left(context.connections.count().saturating_add(context.holds.count())) {
                    crowd::give_back();
                }
            }
            accepted = listeners.accept() => match accepted {
                Ok(accepted) => admit(&context, &mut connections, accepted, &shutdown),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listeners);
    let all_gone = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(context.config.now().http.drain_timeout, all_gone).await.is_err() {
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
    accepted: Accepted,
    shutdown: &watch::Receiver<bool>,
) {
    let Accepted { stream, peer, tls, is_proxied } = &accepted;
    let Some(admitted) = accepted.admit(&context.connections) else {
        context.registry.events().limit_reached("http.max_connections", "", "");
        // One write, best effort: waiting for a client to read it would be as dear as serving it. In TLS it would take a handshake.
        if tls.is_none() && !is_proxied {
            let _ = stream.try_write(&farewell::TOO_MANY_CONNECTIONS);
        }
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
    connections.spawn(converse(Arc::clone(context), accepted, admitted, shutdown.clone()));
}

impl Limits {
    /// What a connection begins with, and keeps.
    fn of(http: &config::Http) -> Limits {
        let deadlines = Deadlines {
            first_byte: http.first_byte_timeout,
            header: http.header_timeout,
            idle: http.idle_timeout,
            write_stall: http.write_stall_timeout,
            response: http.response_timeout,
            ping: PING,
        };
        Limits { deadlines, streams_max: http.max_streams_per_connection }
    }
}

/// One connection's task.
async fn converse(
    context: Arc<Context>,
    mut accepted: Accepted,
    admitted: Admitted,
    shutdown: watch::Receiver<bool>,
) {
    let limits = Limits::of(&context.config.now().http);
    let limit = limits.deadlines.first_byte;
    let mut down = shutdown.clone();
    let introduced = tokio::select! {
        // Who is known at once is served, whatever the time.
        biased;
        introduced = accepted.introduced(admitted, limit) => introduced,
        () = turned_on(&mut down) => None,
    };
    let Some(admitted) = introduced else { return };
    let Accepted { stream, peer, tls, .. } = accepted;
    let client = Arc::new(Client {
        context: Arc::clone(&context),
        address: peer.ip(),
        is_secure: tls.is_some(),
        shutdown: shutdown.clone(),
    });
    let answer = |request, carrier| Arc::clone(&client).answer(request, carrier);
    let cut_off = |end| count(&context, peer, &end);
    let end = connection::serve(stream, tls.as_ref(), &limits, shutdown, answer, cut_off).await;
    drop(admitted);
    count(&context, peer, &end);
}

/// Who asks on a connection, and what all their requests need.
struct Client {
    context: Arc<Context>,
    address: IpAddr,
    /// Inside TLS.
    is_secure: bool,
    shutdown: watch::Receiver<bool>,
}

impl Client {
    /// The answer to one request, of which nothing is kept but what the answer needs.
    fn answer(
        self: Arc<Client>,
        request: Request<Incoming>,
        carrier: Carrier,
    ) -> impl Future<Output = Result<Response<ReplyBody>, Infallible>> + Send + 'static {
        let began = Instant::now();
        let counts = &self.context.counts;
        counts.requests.fetch_add(1, Ordering::Relaxed);
        let is_head = request.method() == Method::HEAD;
        // Nothing behind the head is read, neither as content nor as a request: whoever saw the content end elsewhere than hyper
        // does (Content-Length beside chunks, RFC 9112 6.1 and 11.2) smuggles nothing through here.
        let is_http1 = request.version() < Version::HTTP_2;
        let is_last = is_http1 && connection::has_content(&request);
        let asked = answer::ask(&self.context, &request, self.is_secure);
        // Without the token that may stand in front of it; what can't be read is not shown either.
        let path = asked.as_ref().ok().map(|asked| &*asked.path);
        let told = access::Told::of(&request, path);
        tracing::trace!(address = %self.address, method = %request.method(), path = path.unwrap_or(""), "asked");
        let trusted = &self.context.config.now().http.forwarded_for_from;
        let address = proxied::client(self.address, request.headers(), trusted);
        let mut span = trace::asked(&self.context.telemetry, &request, || trusted.contain(self.address));
        if span.is_recording() {
            trace::resource(&mut span, &request, path, address, self.is_secure);
        }
        drop(request);
        // Each thing that is kept while it waits has one place, outside of what is borrowed there.
        let mut holder = Holder { client: self, address, span, carrier };
        async move {
            let kind = asked.as_ref().map_or(RequestKind::Other, |asked| asked.kind);
            let mut reply = match asked {
                Ok(asked) => {
                    let reply = answer::answer(&holder, &asked).await;
                    if holder.span.is_recording() {
                        trace::found(&mut holder.span, &asked.path, &reply);
                    }
                    reply
                }
                Err(reply) => *reply,
            };
            let Holder { client, mut span, carrier, .. } = holder;
            // What comes while the process drains is the last as well; hyper may have begun with it before it is told.
            if is_last || (is_http1 && *client.shutdown.borrow()) {
                reply.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            let (status, took) = (reply.status.as_u16(), began.elapsed());
            let metrics = client.context.registry.metrics();
            metrics.answered(kind, status, took);
            if span.is_recording() {
                trace::answered(&mut span, kind, &reply, is_head);
            }
            span.end();
            if let Some(told) = told {
                told.line(client.address, kind, &reply, took);
            }
            if let Some(sent) = metrics.sent(kind).filter(|_| !is_head) {
                reply.body.count_in(sent);
            }
            Ok(reply.finish(carrier, is_head))
        }
    }
}

/// Counts how a connection ended, or an answer that it survived, and tells the log.
fn count(context: &Context, peer: SocketAddr, end: &End) {
    let counts = &context.counts;
    match end {
        End::Closed => {}
        End::Malformed(error) => {
            counts.malformed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, %error, "not a request");
        }
        End::NoHandshake(error) => {
            counts.malformed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, %error, "no TLS handshake");
        }
        End::LeaseEnded => {
            counts.for_memory.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, "a slow client cut off: its stream is over limits.max_bytes_per_stream");
        }
        End::Failed(error) => tracing::debug!(%peer, %error, "connection failed"),
        End::Rested(rest) => {
            match rest {
                Rest::FirstByte | Rest::Header => &counts.rested_before_request,
                Rest::WriteStall | Rest::Response | Rest::Silence => &counts.stalled,
                // The usual end of a kept-alive connection.
                Rest::Idle => return,
            }
            .fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, ?rest, "cut off at a deadline");
        }
    }
}

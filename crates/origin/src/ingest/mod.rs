//! The RTMP listener and one task per connection: publishers, and players of what they publish.
// A peer's bytes never panic us.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]
#![cfg_attr(not(test), warn(clippy::string_slice, clippy::panic, clippy::unreachable))]

mod batch;
mod connection;
mod gather;
mod play;
mod rate;
mod trace;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use headwater_rtmp::Limits;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admission::Admission;
use crate::auth::Authorizer;
use crate::clock::Clocks;
use crate::config::{self, Config, InForce};
use crate::listen::Listeners;
use crate::registry::Registry;
use crate::telemetry::Telemetry;

/// How long a shutdown waits for publishers' connections to say goodbye.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// After the system refused a connection (too many open files, say), how long until the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The threads that connections are read on: apart from those that answer players, who would wait while these read in batches.
///
/// # Errors
/// The system's, when it gives no thread.
pub fn threads() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .thread_name("headwater-in")
        .on_thread_park(batch::before_park)
        .build()
}

/// What every connection shares.
#[derive(Debug)]
pub struct Context {
    registry: Arc<Registry>,
    authorizer: Arc<Authorizer>,
    clocks: Clocks,
    config: InForce,
    admission: Arc<Admission>,
    telemetry: Telemetry,
    /// Where connections run; where they are accepted, if nothing else was said.
    threads: Option<Handle>,
}

impl Context {
    /// For the streams of `registry`, by the limits and keys of `config`.
    pub fn new(
        registry: Arc<Registry>,
        config: impl Into<InForce>,
        authorizer: Arc<Authorizer>,
        clocks: Clocks,
    ) -> Context {
        let config = config.into();
        let rtmp = &config.now().rtmp;
        let admission = Admission::new(rtmp.max_connections, rtmp.max_connections_per_address);
        let telemetry = Telemetry::default();
        Context { registry, authorizer, clocks, config, admission, telemetry, threads: None }
    }

    /// Recording what is published.
    #[must_use]
    pub fn with_telemetry(mut self, telemetry: Telemetry) -> Context {
        self.telemetry = telemetry;
        self
    }

    /// With its connections on the threads of that runtime.
    #[must_use]
    pub fn on(mut self, threads: Handle) -> Context {
        self.threads = Some(threads);
        self
    }

    /// By the limits of another configuration from now on.
    pub fn limit(&self, rtmp: &config::Rtmp) {
        self.admission.limit(rtmp.max_connections, rtmp.max_connections_per_address);
    }
}

/// What a connection begins with, and keeps.
struct Terms {
    limits: Limits,
    /// A publisher faster than real time is slowed down to it.
    pace: bool,
    /// Bits per second; 0 for no limit.
    max_bitrate: u64,
}

impl Terms {
    fn of(config: &Config) -> Terms {
        let limits = Limits {
            handshake_timeout: config.rtmp.handshake_timeout,
            connect_timeout: config.rtmp.handshake_timeout,
            publish_timeout: config.rtmp.handshake_timeout,
            // A silent peer is asked for a sign of life half-way.
            ping_after: config.rtmp.idle_timeout / 2,
            silence_timeout: config.rtmp.idle_timeout,
            ..Limits::default()
        };
        Terms { limits, pace: config.publish.pace, max_bitrate: config.rtmp.max_bitrate }
    }
}

/// Accepts publishers and players until `shutdown` turns true, then waits for their connections to end, 3 s at most.
pub async fn serve(
    listeners: impl Into<Listeners>,
    context: Arc<Context>,
    mut shutdown: watch::Receiver<bool>,
) {
    let listeners = listeners.into();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listeners.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = shutdown.wait_for(|down| *down) => break,
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a publisher's connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = accepted.peer;
        let Some(admitted) = accepted.admit(&context.admission) else {
            context.registry.events().limit_reached("rtmp.max_connections", "", "");
            tracing::warn!(%peer, "connection refused: too many RTMP connections (rtmp.max_connections, rtmp.max_connections_per_address)");
            continue;
        };
        let (context, shutdown) = (Arc::clone(&context), shutdown.clone());
        let threads = context.threads.clone();
        let connection = async move {
            let Ok(mut accepted) = accepted.here() else { return };
            let terms = Terms::of(&context.config.now());
            let limit = terms.limits.handshake_timeout;
            let Some(admitted) = accepted.introduced(admitted, limit).await else { return };
            connection::serve(accepted, &context, terms, shutdown).await;
            drop(admitted);
        };
        match threads {
            Some(threads) => drop(connections.spawn_on(connection, &threads)),
            None => drop(connections.spawn(connection)),
        }
    }
    drop(listeners);
    let _ = tokio::time::timeout(DRAIN_MAX, async { while connections.join_next().await.is_some() {} }).await;
}

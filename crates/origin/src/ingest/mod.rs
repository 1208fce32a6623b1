//! Ingest: the RTMP listener and one task per connection.

mod auth;
mod connection;

use std::sync::Arc;
use std::time::Duration;

use headwater_rtmp::Limits;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admission::Admission;
use crate::clock::Clocks;
use crate::config::Config;
use crate::registry::Registry;

pub use auth::{Authorizer, Denied, generate_key};

/// How long a shutdown waits for publishers' connections to say goodbye.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// After the system refused a connection (too many open files, say), how long until the next try.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every publisher's connection shares.
#[derive(Debug)]
pub struct Context {
    registry: Arc<Registry>,
    authorizer: Authorizer,
    clocks: Clocks,
    limits: Limits,
    pace: bool,
    admission: Arc<Admission>,
}

impl Context {
    /// For the streams of `registry`, by the limits and keys of `config`.
    pub fn new(registry: Arc<Registry>, config: &Config, authorizer: Authorizer, clocks: Clocks) -> Context {
        let limits = Limits {
            handshake_timeout: config.rtmp.handshake_timeout,
            connect_timeout: config.rtmp.handshake_timeout,
            publish_timeout: config.rtmp.handshake_timeout,
            // A silent peer is asked for a sign of life half-way.
            ping_after: config.rtmp.idle_timeout / 2,
            silence_timeout: config.rtmp.idle_timeout,
            ..Limits::default()
        };
        let admission = Admission::new(config.rtmp.max_connections, config.rtmp.max_connections_per_address);
        Context { registry, authorizer, clocks, limits, pace: config.publish.pace, admission }
    }
}

/// Accepts publishers until `shutdown` turns true, then waits for their connections to end, 3 s at most.
pub async fn serve(listener: TcpListener, context: Arc<Context>, mut shutdown: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = shutdown.wait_for(|down| *down) => break,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a publisher's connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(admitted) = context.admission.admit(peer.ip()) else {
            tracing::warn!(%peer, "connection refused: too many RTMP connections (rtmp.max_connections, rtmp.max_connections_per_address)");
            continue;
        };
        let (context, shutdown) = (Arc::clone(&context), shutdown.clone());
        connections.spawn(async move {
            connection::serve(socket, peer, &context, shutdown).await;
            drop(admitted);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN_MAX, async { while connections.join_next().await.is_some() {} }).await;
}

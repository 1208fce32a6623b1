//! The configuration that a running process works by, which a reload exchanges.

use std::sync::{Arc, PoisonError, RwLock};

use super::Config;

/// A configuration that may be another one the next time. All clones are exchanged at once.
#[derive(Debug, Clone)]
pub struct InForce(Arc<RwLock<Arc<Config>>>);

impl InForce {
    /// As it is now; for what must not change midway, taken once.
    pub fn now(&self) -> Arc<Config> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another one from now on.
    pub fn exchange(&self, config: Arc<Config>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
}

impl From<Arc<Config>> for InForce {
    fn from(config: Arc<Config>) -> InForce {
        InForce(Arc::new(RwLock::new(config)))
    }
}

impl Config {
    /// This configuration with what only a start reads as it was at the start (`reload::Effect::AtRestart`).
    #[must_use]
    pub fn with_start_of(mut self, started: &Config) -> Config {
        self.state_dir.clone_from(&started.state_dir);
        self.rtmp.listen = started.rtmp.listen;
        self.rtmp.tls_listen = started.rtmp.tls_listen;
        self.http.listen = started.http.listen;
        self.http.tls_listen = started.http.tls_listen;
        self.admin.listen = started.admin.listen;
        self.tls.clone_from(&started.tls);
        self.events.clone_from(&started.events);
        self.log.format = started.log.format;
        self
    }
}

//! The tasks that carry events to webhooks and to the MQTT broker, and what became of their deliveries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{mqtt, webhook};
use crate::config;
use crate::registry::Registry;
use crate::telemetry::Telemetry;

/// How long a shutdown waits for what was not delivered yet.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// Deliveries of one kind of output, counted.
#[derive(Debug, Default)]
pub struct Tally {
    delivered: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
}

impl Tally {
    pub(super) fn delivered(&self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lost(&self, events: u64) {
        self.lost.fetch_add(events, Ordering::Relaxed);
    }

    /// Events delivered, tries that failed, and events that were gone from the ring before they could be delivered.
    pub fn read(&self) -> (u64, u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.delivered), read(&self.failed), read(&self.lost))
    }
}

/// Everything that is told of events by itself. Dropping it ends it at once.
#[derive(Debug)]
pub struct Outputs {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Outputs {
    /// Starts what `config` names. Needs a runtime.
    pub fn start(config: &config::Events, registry: &Arc<Registry>, telemetry: &Telemetry) -> Outputs {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for hook in &config.webhooks {
            let events = Arc::clone(registry.events());
            tasks.spawn(webhook::run(hook.clone(), events, telemetry.clone(), stopped.clone()));
        }
        if config.mqtt.host_and_port().is_some() {
            tasks.spawn(mqtt::run(config.mqtt.clone(), Arc::clone(registry), stopped));
        }
        Outputs { tasks, stop }
    }

    /// Delivers what there is, for three seconds at most.
    pub async fn finish(mut self) {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(DRAIN_MAX, all).await;
    }
}

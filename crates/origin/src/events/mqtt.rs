//! Events at an MQTT broker (3.1.1), QoS 1 and one after the other: the next one is sent when the broker has taken the one before.
//!
//! The place in the ring is what survives a broker that goes away: a connection is a session of its own, and goes on behind the last
//! event that was acknowledged. Below the configured topic there are
//!
//! - `events/{kind}`: every event;
//! - `streams/{app}/{stream}`, retained: the stream's state, `live`, `waiting` or `ended`, and when that was told;
//! - `status`, retained: `online`, and `offline` once the broker hears nothing any more (the will).

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{AsyncClient, ClientError, ConnectionError, EventLoop, LastWill, MqttOptions, Packet, QoS};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::{Events, Page};
use crate::config::Mqtt;
use crate::registry::{Registry, state_text};

/// From a broken connection to the next try; twice as long after each further one.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// However long the broker is away, it is tried this often.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// A connection that held for so long was a good one: the next failure is a first one.
const HELD: Duration = Duration::from_secs(30);

/// A broker that doesn't acknowledge within this is left, and gets the message again.
const ACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// Messages between this task and the client: one is on its way at a time.
const CHANNEL: usize = 4;

/// A stream's state, as it is retained.
#[derive(Debug, Serialize)]
struct StreamState<'a> {
    app: &'a str,
    stream: &'a str,
    state: &'a str,
    time: &'a str,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Connection(Box<ConnectionError>),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("no acknowledgement within {} s", ACKNOWLEDGED_MAX.as_secs())]
    Unacknowledged,
}

impl From<ConnectionError> for Broken {
    fn from(error: ConnectionError) -> Broken {
        Broken::Connection(Box::new(error))
    }
}

/// Tells the broker every event until `stop` turns true and all there is has been told.
pub(super) async fn run(config: Mqtt, registry: Arc<Registry>, stop: watch::Receiver<bool>) {
    let Some((host, port)) = config.host_and_port() else { return };
    let mut options = MqttOptions::new(&config.client_id, host, port);
    let status = format!("{}/status", config.topic);
    options.set_keep_alive(config.keep_alive).set_clean_session(true).set_last_will(LastWill::new(
        &status,
        "offline",
        QoS::AtLeastOnce,
        true,
    ));
    if !config.username.is_empty() {
        options.set_credentials(&config.username, config.password.expose());
    }
    let (mut wait, mut told) = (RETRY_FIRST, registry.events().start());
    loop {
        let began = Instant::now();
        let mut session = Session::new(&config, options.clone(), &registry);
        match session.run(&mut told, stop.clone()).await {
            Ok(()) => return,
            Err(error) => {
                registry.events().mqtt.failed();
                if began.elapsed() >= HELD {
                    wait = RETRY_FIRST;
                }
                if wait == RETRY_FIRST {
                    tracing::warn!(broker = config.broker, %error, "the MQTT broker is away; it is tried again");
                }
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// One connection.
struct Session<'a> {
    topic: &'a str,
    client: AsyncClient,
    connection: EventLoop,
    registry: &'a Registry,
    events: &'a Arc<Events>,
}

impl Session<'_> {
    fn new<'a>(config: &'a Mqtt, options: MqttOptions, registry: &'a Registry) -> Session<'a> {
        let (client, connection) = AsyncClient::new(options, CHANNEL);
        Session { topic: &config.topic, client, connection, registry, events: registry.events() }
    }

    /// `told`: the last event that the broker has acknowledged, in any session.
    async fn run(&mut self, told: &mut u64, mut stop: watch::Receiver<bool>) -> Result<(), Broken> {
        self.until(|packet| matches!(packet, Packet::ConnAck(_))).await?;
        tracing::info!(topic = self.topic, "the MQTT broker is there");
        self.send("status", true, "online".to_owned()).await?;
        // What the broker retains may be from before, or from nobody.
        self.send_states().await?;
        let mut reader = self.events.reader(*told);
        loop {
            let page = tokio::select! {
                biased;
                page = reader.next() => page,
                _ = stop.wait_for(|stop| *stop) => break,
                // Pings, and the end of the connection.
                event = self.connection.poll() => {
                    event?;
                    continue;
                }
            };
            self.send_page(&page, told).await?;
        }
        self.send("status", true, "offline".to_owned()).await?;
        self.client.try_disconnect()?;
        // The broker closes when it has read the goodbye.
        let _ = self.until(|_| false).await;
        Ok(())
    }

    async fn send_page(&mut self, page: &Page, told: &mut u64) -> Result<(), Broken> {
        if page.lost > 0 {
            self.events.mqtt.lost(page.lost);
            tracing::error!(lost = page.lost, "the MQTT broker was away for too long");
            self.send_states().await?;
        }
        for event in &page.events {
            self.send(&format!("events/{}", event.kind.name()), false, event.json()).await?;
            if let Some(state) = event.kind.stream_state() {
                self.send_state(&event.app, &event.stream, state, &event.time).await?;
            }
            *told = event.id;
            self.events.mqtt.delivered();
        }
        Ok(())
    }

    /// Every stream's state, as it is now.
    async fn send_states(&mut self) -> Result<(), Broken> {
        for stream in self.registry.streams() {
            let published = stream.current();
            let (state, time) = (state_text(published.snapshot.state), published.snapshot.published_at);
            self.send_state(stream.app(), stream.name(), state, &time.to_string()).await?;
        }
        Ok(())
    }

    async fn send_state(&mut self, app: &str, stream: &str, state: &str, time: &str) -> Result<(), Broken> {
        let payload = serde_json::to_string(&StreamState { app, stream, state, time }).unwrap_or_default();
        self.send(&format!("streams/{app}/{stream}"), true, payload).await
    }

    /// Sends one message and waits until the broker has it.
    async fn send(&mut self, topic: &str, retain: bool, payload: String) -> Result<(), Broken> {
        let topic = format!("{}/{topic}", self.topic);
        self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload)?;
        self.until(|packet| matches!(packet, Packet::PubAck(_))).await
    }

    async fn until(&mut self, is_it: impl Fn(&Packet) -> bool) -> Result<(), Broken> {
        let waiting = async {
            loop {
                match self.connection.poll().await? {
                    rumqttc::Event::Incoming(packet) if is_it(&packet) => return Ok::<(), Broken>(()),
                    _ => {}
                }
            }
        };
        timeout(ACKNOWLEDGED_MAX, waiting).await.unwrap_or(Err(Broken::Unacknowledged))
    }
}

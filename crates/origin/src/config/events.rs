//! `[events]`: who is told what happens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Secret;
use super::value::{duration_out, duration_within};
use crate::events::KINDS;

/// Shortest secret that signs: below this, guessing it from one signed delivery is a matter of hours.
const SECRET_BYTES_MIN: usize = 16;

/// `[events]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// Addresses that each event is posted to.
    pub webhooks: Vec<Webhook>,
    /// `[events.mqtt]`.
    pub mqtt: Mqtt,
}

/// One of `events.webhooks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where each event is posted to.
    pub url: String,
    /// What signs it.
    pub secret: Secret,
    /// Kinds that are posted; all when empty.
    #[serde(default)]
    pub kinds: Vec<String>,
}

/// `[events.mqtt]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// Host and port; empty for none.
    pub broker: String,
    /// Empty for none.
    pub username: String,
    /// For the user.
    pub password: Secret,
    /// How the server calls itself to the broker, which lets only one at a time bear a name.
    pub client_id: String,
    /// What all topics begin with.
    pub topic: String,
    /// A broker that gives no sign of life for longer than this is left, and one that hears none calls the server gone.
    #[serde(deserialize_with = "duration_within::<5_000, 600_000, _>", serialize_with = "duration_out")]
    pub keep_alive: Duration,
}

impl Default for Mqtt {
    fn default() -> Mqtt {
        Mqtt {
            broker: String::new(),
            username: String::new(),
            password: Secret::new(""),
            client_id: "headwater".to_owned(),
            topic: "headwater".to_owned(),
            keep_alive: Duration::from_secs(30),
        }
    }
}

impl Mqtt {
    /// Host and port of the broker, when there is one.
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        let (host, port) = self.broker.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        port.parse().ok().filter(|port| *port != 0 && !host.is_empty()).map(|port| (host, port))
    }
}

impl Events {
    /// The first broken rule, as (key, what is wrong and what is allowed).
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        for (index, hook) in self.webhooks.iter().enumerate() {
            let broken = |key: &str, reason: String| Err((format!("events.webhooks[{index}].{key}"), reason));
            let rest = hook.url.strip_prefix("http://").or(hook.url.strip_prefix("https://"));
            let is_url = |rest: &str| {
                !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(|b| b.is_ascii_graphic())
            };
            if !rest.is_some_and(is_url) {
                return broken("url", "not an address that begins with http:// or https://".to_owned());
            }
            if hook.secret.expose().len() < SECRET_BYTES_MIN {
                return broken("secret", format!("at least {SECRET_BYTES_MIN} characters are needed"));
            }
            if let Some(kind) = hook.kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
                return broken("kinds", format!("no such kind: {kind:?}; there are {}", KINDS.join(", ")));
            }
        }
        let broken = |key: &str, reason: &str| Err((format!("events.mqtt.{key}"), reason.to_owned()));
        if !self.mqtt.broker.is_empty() && self.mqtt.host_and_port().is_none() {
            return broken("broker", "not a host and a port, as in \"broker.example.com:1883\"");
        }
        let topic = &self.mqtt.topic;
        // MQTT 3.1.1 4.7: these would be wildcards, or topics of the broker itself.
        if topic.is_empty() || topic.starts_with('$') || topic.contains(['+', '#']) || topic.ends_with('/') {
            return broken("topic", "not a topic's beginning; no + or #, no $ in front, no / at the end");
        }
        if self.mqtt.client_id.is_empty() {
            return broken("client_id", "the broker needs a name");
        }
        Ok(())
    }
}

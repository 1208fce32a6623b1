//! Webhooks: each event as a signed POST, in order, again and again until the receiver has taken it.
//!
//! `Headwater-Signature` is HMAC-SHA256 over `Headwater-Timestamp`, a dot and the body, in hexadecimal. A receiver that compares the
//! timestamp with its clock can't be shown an old delivery again. An id that was seen before is the same event: an answer may have got
//! lost on its way.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use opentelemetry::trace::SpanKind;
use sha2::Sha256;
use tokio::sync::watch;

use super::{Event, Events};
use crate::config::{Secret, Webhook};
use crate::telemetry::{Span, Telemetry, key};

/// A receiver that has not answered by then gets the event again.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// From a failure to the next try; twice as long after each further one.
const RETRY_FIRST: Duration = Duration::from_millis(500);

/// However long a receiver is away, it is tried this often.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What became of one delivery.
#[derive(Debug)]
enum Outcome {
    /// The receiver has it.
    Taken,
    /// The receiver will never take it (a status of 400 to 499 that doesn't ask for patience).
    Refused(u16),
    /// Another try may go better.
    Failed(String),
}

/// Posts every event until `stop` turns true and all there is has been posted.
pub(super) async fn run(
    hook: Webhook,
    events: Arc<Events>,
    telemetry: Telemetry,
    mut stop: watch::Receiver<bool>,
) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(ANSWER_MAX))
        .max_redirects(0)
        .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let receiver = receiver(&hook.url);
    let mut reader = events.reader(events.start());
    loop {
        let page = tokio::select! {
            biased;
            page = reader.next() => page,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        if page.lost > 0 {
            events.webhooks.lost(page.lost);
            tracing::error!(receiver, lost = page.lost, "a webhook's receiver was away for too long");
        }
        for event in &page.events {
            if hook.kinds.is_empty() || hook.kinds.iter().any(|kind| kind == event.kind.name()) {
                deliver(&agent, &hook, &events, &telemetry, event).await;
            }
        }
    }
}

async fn deliver(agent: &ureq::Agent, hook: &Webhook, events: &Events, telemetry: &Telemetry, event: &Event) {
    let (mut wait, receiver) = (RETRY_FIRST, receiver(&hook.url));
    let mut tries: i64 = 0;
    loop {
        let (agent, url, secret) = (agent.clone(), hook.url.clone(), hook.secret.clone());
        let (id, kind, body) = (event.id, event.kind.name(), event.json());
        let seconds = events.clocks.wall().unix_seconds();
        let mut span = span(telemetry, hook, kind, tries);
        tries = tries.saturating_add(1);
        let post = move || post(&agent, &url, &secret, &Delivery { id, kind, seconds, body });
        let outcome = tokio::task::spawn_blocking(post).await;
        let outcome = outcome.unwrap_or_else(|error| Outcome::Failed(error.to_string()));
        match &outcome {
            Outcome::Taken => {}
            Outcome::Refused(_) => span.fail("refused"),
            Outcome::Failed(_) => span.fail("failed"),
        }
        span.end();
        match outcome {
            Outcome::Taken => return events.webhooks.delivered(),
            Outcome::Refused(status) => {
                events.webhooks.failed();
                tracing::warn!(receiver, status, id, kind, "a webhook's receiver refuses an event");
                return;
            }
            Outcome::Failed(reason) => {
                events.webhooks.failed();
                if wait == RETRY_FIRST {
                    tracing::warn!(receiver, reason, id, "a webhook failed; it is tried again");
                }
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// For one try.
fn span(telemetry: &Telemetry, hook: &Webhook, kind: &'static str, tries_before: i64) -> Span {
    let mut span = telemetry.root().span("POST webhook", SpanKind::Client);
    span.set(key::HTTP_REQUEST_METHOD, "POST");
    span.set(key::EVENT_KIND, kind);
    span.to(&hook.url);
    if tries_before > 0 {
        span.set(key::HTTP_REQUEST_RESEND_COUNT, tries_before);
    }
    span
}

/// Scheme and host, for the log: the rest of an address may be as secret as a key.
fn receiver(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(host..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |end| host + end);
    let authority = url.get(..end).unwrap_or_default();
    if authority.contains('@') { "an address with a user" } else { authority }
}

/// One try.
struct Delivery {
    id: u64,
    kind: &'static str,
    /// Unix time.
    seconds: u64,
    body: String,
}

fn post(agent: &ureq::Agent, url: &str, secret: &Secret, delivery: &Delivery) -> Outcome {
    let answer = agent
        .post(url)
        .header("Content-Type", "application/json")
        .header("Headwater-Event", delivery.kind)
        .header("Headwater-Delivery", delivery.id.to_string())
        .header("Headwater-Timestamp", delivery.seconds.to_string())
        .header("Headwater-Signature", signature(secret, delivery.seconds, &delivery.body))
        .send(delivery.body.as_str());
    match answer.map(|answer| answer.status().as_u16()) {
        Ok(200..=299) => Outcome::Taken,
        // Request Timeout, Too Early, Too Many Requests.
        Ok(status @ (408 | 425 | 429)) => Outcome::Failed(format!("status {status}")),
        Ok(status @ 400..=499) => Outcome::Refused(status),
        Ok(status) => Outcome::Failed(format!("status {status}")),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// `v1=` and 64 hexadecimal digits.
fn signature(secret: &Secret, seconds: u64, body: &str) -> String {
    // HMAC takes keys of any length (RFC 2104 2).
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body.as_bytes());
    let mut text = "v1=".to_owned();
    for byte in mac.finalize().into_bytes() {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_names_the_host_alone() {
        for (url, expected) in [
            ("https://example.com:8443/hook/secret?token=secret", "https://example.com:8443"),
            ("http://example.com?token=secret", "http://example.com"),
            ("http://example.com", "http://example.com"),
            ("http://user:secret@example.com/", "an address with a user"),
        ] {
            assert_eq!(receiver(url), expected);
        }
    }

    /// The figure is that of `printf '%s' '1700000000.{"id":1}' | openssl dgst -sha256 -hmac a-secret-of-sixteen`.
    #[test]
    fn a_signature_as_openssl_makes_it() {
        let secret = Secret::new("a-secret-of-sixteen");
        assert_eq!(
            signature(&secret, 1_700_000_000, "{\"id\":1}"),
            "v1=2548d9226d546c3fb806f9e60253486e3d23d9c58d012168027a3cd42141d910"
        );
    }
}

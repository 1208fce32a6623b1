//! Asking somebody else's program: a JSON POST when a publisher or a player comes, and a word when a publisher has gone.
//!
//! The fields are those of SRS's callbacks, so that programs written for them work. Beside them each request is signed:
//! `headwater-timestamp` is the time in Unix seconds, `headwater-signature` is HMAC-SHA256 in hexadecimal over that text, a full
//! stop and the body. An answer allows with 200 and nothing, `0` or `{"code":0}`; whatever is neither that nor a failure denies.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hmac::Mac as _;
use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use opentelemetry::trace::SpanKind;
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, timeout};

use super::token::{Hex, hmac_of};
use super::{Denied, client};
use crate::config::{self, OnFailure, Secret};
use crate::telemetry::{Parent, Span, TRACEPARENT, key};
use crate::{clock, names};

/// Requests at a time. More than that fail as if nobody answered: a program that answers none of so many answers no further one.
const IN_FLIGHT_MAX: usize = 1_024;

/// Largest answer: a code and a name.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Between a failure and the next try.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Players' permissions that are remembered: some hundred bytes each.
const DECISIONS_MAX: usize = 100_000;

/// SRS's name for a server that knows no virtual hosts.
const VHOST: &str = "__defaultVhost__";

const TIMESTAMP: HeaderName = HeaderName::from_static("headwater-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("headwater-signature");

/// Asks.
#[derive(Debug)]
pub struct Hooks {
    config: config::Hooks,
    client: client::Client,
    in_flight: Semaphore,
    clients: AtomicU64,
    decisions: Mutex<HashMap<Viewer, Decision>>,
}

/// Who plays what with which token: what a permission is remembered for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Viewer {
    address: IpAddr,
    app: String,
    stream: String,
    param: String,
}

/// A permission, asked for once by whoever comes first.
#[derive(Debug, Clone)]
struct Decision {
    until: Instant,
    allowed: Arc<OnceCell<Result<(), Denied>>>,
}

/// Who asks for what, as SRS says it.
#[derive(Debug, Clone)]
struct Call {
    action: &'static str,
    client_id: String,
    ip: String,
    vhost: &'static str,
    app: String,
    stream: String,
    /// The query with its `?`: tokens and keys are in it, so it goes to nobody else.
    param: Secret,
    /// What the request is traced in.
    within: Parent,
}

/// What is sent: [`Call`] with its secrets.
#[derive(Serialize)]
struct Body<'a> {
    action: &'a str,
    client_id: &'a str,
    ip: &'a str,
    vhost: &'a str,
    app: &'a str,
    stream: &'a str,
    param: &'a str,
}

/// What is answered.
#[derive(Debug, Deserialize)]
struct Answer {
    code: i64,
    /// Another name for the stream that is published.
    #[serde(default)]
    stream: Option<String>,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Allowed { stream: Option<String> },
    Denied,
}

/// Sends `on_unpublish` when it is dropped.
#[derive(Debug)]
pub struct Published {
    hooks: Arc<Hooks>,
    call: Option<Call>,
}

impl Hooks {
    /// By the configuration; `None` when it names no address.
    ///
    /// # Errors
    /// [`client::Error`] for the file of roots.
    pub fn new(config: &config::Hooks) -> Result<Option<Arc<Hooks>>, client::Error> {
        if [&config.on_publish, &config.on_play, &config.on_unpublish].iter().all(|url| url.is_empty()) {
            return Ok(None);
        }
        Ok(Some(Arc::new(Hooks {
            client: client::Client::new(&config.ca)?,
            config: config.clone(),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            clients: AtomicU64::new(0),
            decisions: Mutex::default(),
        })))
    }

    /// Whether players are asked about.
    pub(super) fn asks_about_players(&self) -> bool {
        !self.config.on_play.is_empty()
    }

    /// Under which name a publisher may publish, and what tells of its end.
    pub(super) async fn publish(
        self: &Arc<Hooks>,
        peer: SocketAddr,
        app: &str,
        stream: &str,
        query: &str,
        within: &Parent,
    ) -> Result<(String, Published), Denied> {
        let mut call = self.call("on_publish", peer.ip(), (app, stream), query, within);
        let renamed = self.allowed(&self.config.on_publish, &call).await?;
        let stream = renamed.unwrap_or_else(|| stream.to_owned());
        call.action = "on_unpublish";
        call.stream.clone_from(&stream);
        let call = Some(call).filter(|_| !self.config.on_unpublish.is_empty());
        Ok((stream, Published { hooks: Arc::clone(self), call }))
    }

    /// Whether somebody may play; what was answered is remembered for `hooks.play_remembered`.
    pub(super) async fn play(
        &self,
        address: IpAddr,
        app: &str,
        stream: &str,
        query: &str,
        within: &Parent,
    ) -> Result<(), Denied> {
        if !self.asks_about_players() {
            return Ok(());
        }
        let viewer = Viewer {
            address: address.to_canonical(),
            app: app.to_owned(),
            stream: stream.to_owned(),
            param: query.to_owned(),
        };
        let ask = async || {
            let call = self.call("on_play", address, (app, stream), query, within);
            self.allowed(&self.config.on_play, &call).await.map(drop)
        };
        let Some(decision) = self.decision(&viewer) else { return ask().await };
        // Whoever comes while it is being asked for waits for the same answer.
        let allowed = *decision.allowed.get_or_init(ask).await;
        if allowed == Err(Denied::HookFailed) {
            // That was no answer: the next request asks anew.
            self.decisions.lock().unwrap_or_else(PoisonError::into_inner).remove(&viewer);
        }
        allowed
    }

    /// The place for a viewer's permission; `None` when there is room for no further one.
    fn decision(&self, viewer: &Viewer) -> Option<Decision> {
        let now = Instant::now();
        let mut decisions = self.decisions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(decision) = decisions.get(viewer).filter(|decision| now < decision.until) {
            return Some(decision.clone());
        }
        if decisions.len() >= DECISIONS_MAX {
            decisions.retain(|_, decision| now < decision.until);
        }
        if decisions.len() >= DECISIONS_MAX {
            return None;
        }
        let decision = Decision { until: now + self.config.play_remembered, allowed: Arc::default() };
        decisions.insert(viewer.clone(), decision.clone());
        Some(decision)
    }

    fn call(
        &self,
        action: &'static str,
        address: IpAddr,
        (app, stream): (&str, &str),
        query: &str,
        within: &Parent,
    ) -> Call {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        let param = if query.is_empty() { String::new() } else { format!("?{query}") };
        Call {
            action,
            client_id: format!("{:x}-{number:x}", std::process::id()),
            ip: address.to_canonical().to_string(),
            vhost: VHOST,
            app: app.to_owned(),
            stream: stream.to_owned(),
            param: Secret::new(param),
            within: within.clone(),
        }
    }

    /// The other name of an answer that allows. Without an address everything is allowed.
    async fn allowed(&self, url: &str, call: &Call) -> Result<Option<String>, Denied> {
        if url.is_empty() {
            return Ok(None);
        }
        match self.ask(url, call).await {
            Ok(Word::Allowed { stream: Some(name) }) if !names::is_stream(&name) => {
                tracing::warn!(action = call.action, "the hook gave the stream a name that it can't have");
                Err(Denied::HookFailed)
            }
            Ok(Word::Allowed { stream }) => Ok(stream),
            Ok(Word::Denied) => Err(Denied::ByHook),
            Err(error) => {
                let (app, stream) = (&call.app, &call.stream);
                let policy = self.config.on_failure;
                tracing::warn!(action = call.action, app, stream, %error, ?policy, "the hook failed");
                if policy == OnFailure::Allow { Ok(None) } else { Err(Denied::HookFailed) }
            }
        }
    }

    async fn ask(&self, url: &str, call: &Call) -> Result<Word, String> {
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return Err(format!("{IN_FLIGHT_MAX} requests wait for an answer already"));
        };
        let mut tries_left = self.config.retries;
        loop {
            let mut span = call.span(url, self.config.retries - tries_left);
            let answer = timeout(self.config.timeout, self.post(url, call, &span)).await;
            match &answer {
                Ok(Ok((status, _))) => {
                    span.set(key::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16()));
                    // As the conventions have it for clients; whoever denies does so on purpose, by 401 or 403 as a rule.
                    if !status.is_success() {
                        span.fail(status.as_str().to_owned());
                    }
                }
                Ok(Err(_)) => span.fail("no_answer"),
                Err(_) => span.fail("timeout"),
            }
            span.end();
            let failure = match answer {
                Ok(Ok((status, _))) if status.is_server_error() => format!("the answer is {status}"),
                Ok(Ok((status, body))) => return word(status, &body),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer within hooks.timeout".to_owned(),
            };
            if tries_left == 0 {
                return Err(failure);
            }
            tries_left -= 1;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn post(&self, url: &str, call: &Call, span: &Span) -> Result<(StatusCode, Bytes), client::Error> {
        let body = call.body();
        let timestamp = clock::Clocks::start().wall().unix_seconds();
        let mut headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (TIMESTAMP, HeaderValue::from(timestamp)),
        ];
        if !self.config.secret.expose().is_empty()
            && let Ok(signature) = HeaderValue::try_from(sign(&self.config.secret, timestamp, &body))
        {
            headers.push((SIGNATURE, signature));
        }
        headers.extend(span.traceparent().map(|value| (TRACEPARENT, value)));
        self.client.post(url, &headers, Bytes::from(body), ANSWER_BYTES_MAX).await
    }
}

impl Call {
    /// For one try, after so many others.
    fn span(&self, url: &str, tries_before: u32) -> Span {
        let name = match self.action {
            "on_publish" => "POST on_publish",
            "on_play" => "POST on_play",
            _ => "POST on_unpublish",
        };
        let mut span = self.within.span(name, SpanKind::Client);
        span.set(key::HTTP_REQUEST_METHOD, "POST");
        span.set(key::HOOK, self.action);
        span.to(url);
        if tries_before > 0 {
            span.set(key::HTTP_REQUEST_RESEND_COUNT, i64::from(tries_before));
        }
        span
    }

    fn body(&self) -> String {
        let body = Body {
            action: self.action,
            client_id: &self.client_id,
            ip: &self.ip,
            vhost: self.vhost,
            app: &self.app,
            stream: &self.stream,
            param: self.param.expose(),
        };
        serde_json::to_string(&body).expect("texts are JSON")
    }
}

/// What a receiver computes too.
fn sign(secret: &Secret, timestamp: u64, body: &str) -> String {
    let hmac = hmac_of(secret, &[timestamp.to_string().as_bytes(), b".", body.as_bytes()]);
    Hex(&hmac.finalize().into_bytes()).to_string()
}

/// What an answer that is no failure says.
fn word(status: StatusCode, body: &[u8]) -> Result<Word, String> {
    if !status.is_success() {
        return Ok(Word::Denied);
    }
    let text = body.trim_ascii();
    if text.is_empty() {
        return Ok(Word::Allowed { stream: None });
    }
    if let Ok(answer) = serde_json::from_slice::<Answer>(text) {
        return Ok(if answer.code == 0 { Word::Allowed { stream: answer.stream } } else { Word::Denied });
    }
    match std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok()) {
        Some(0) => Ok(Word::Allowed { stream: None }),
        Some(_) => Ok(Word::Denied),
        None => Err("the answer is neither empty, nor a number, nor JSON with a code".to_owned()),
    }
}

impl Published {
    /// What the word about its end is traced in.
    pub fn trace_within(&mut self, parent: Parent) {
        if let Some(call) = &mut self.call {
            call.within = parent;
        }
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let (Some(call), Ok(runtime)) = (self.call.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let hooks = Arc::clone(&self.hooks);
        runtime.spawn(async move {
            if let Err(error) = hooks.ask(&hooks.config.on_unpublish, &call).await {
                tracing::warn!(app = call.app, stream = call.stream, %error, "on_unpublish reached nobody");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let allowed = |stream: Option<&str>| Ok(Word::Allowed { stream: stream.map(str::to_owned) });
        let strange = || Err("the answer is neither empty, nor a number, nor JSON with a code".to_owned());
        for (status, body, expected) in [
            (200, "", allowed(None)),
            (200, "0", allowed(None)),
            (200, " 0\n", allowed(None)),
            (204, "", allowed(None)),
            (200, r#"{"code":0}"#, allowed(None)),
            (200, r#"{"code":0,"data":null,"msg":"ok"}"#, allowed(None)),
            (200, r#"{"code":0,"stream":"other"}"#, allowed(Some("other"))),
            (200, r#"{"code":1}"#, Ok(Word::Denied)),
            (200, "1", Ok(Word::Denied)),
            (200, "-1", Ok(Word::Denied)),
            (401, "", Ok(Word::Denied)),
            (403, "0", Ok(Word::Denied)),
            (302, "", Ok(Word::Denied)),
            (200, "<html>", strange()),
            (200, r#"{"error":"x"}"#, strange()),
            (200, "\u{fffd}", strange()),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(word(status, body.as_bytes()), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_known_signature() {
        // printf '1767225600.{}' | openssl dgst -sha256 -hmac hook-secret
        let signature = sign(&Secret::new("hook-secret"), 1_767_225_600, "{}");
        assert_eq!(signature, "25b3a5256f67ef113720ecb0c7baf669a14bd2778d96115169a4031f75e2ed97");
    }

    #[test]
    fn a_call_in_a_log_shows_no_secret() {
        let config =
            config::Hooks { on_publish: "http://127.0.0.1:1/".to_owned(), ..config::Hooks::default() };
        let hooks = Hooks::new(&config).unwrap().unwrap();
        let call = hooks.call(
            "on_publish",
            "192.0.2.1".parse().unwrap(),
            ("live", "cam"),
            "key=hunter2",
            &Parent::default(),
        );
        assert!(!format!("{call:?}{hooks:?}").contains("hunter2"));
        assert!(call.body().contains(r#""param":"?key=hunter2""#));
    }
}

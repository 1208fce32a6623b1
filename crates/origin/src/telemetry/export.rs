//! From spans that have ended to a collector: a queue with an end, and one task that posts what is in it (OTLP 1 over HTTP, protobuf).
//!
//! A collector that is away or slow costs the queue's memory and nothing else: who ends a span never waits, and what finds the queue
//! full is counted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span as SdkSpan, SpanData, SpanProcessor};
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Tally;
use crate::auth::client::Client;
use crate::{Error, config};

/// Spans that wait: what OpenTelemetry's specification has as its default, some 2 MiB.
const QUEUE_SPANS_MAX: usize = 2_048;

/// Spans in one request: the specification's default as well.
const BATCH_SPANS_MAX: usize = 512;

/// How long further spans are waited for, once there is one.
const GATHER: Duration = Duration::from_secs(1);

/// A collector that has not answered by then is tried again (the specification's default).
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// From a failure to the next try, once for each further try; then the spans are dropped.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// Largest answer: it says how many spans were refused, and why.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Between two log lines about spans that were dropped.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How long a shutdown waits for the last spans to be taken.
const FLUSH_MAX: Duration = Duration::from_secs(3);

/// Where spans go when they end.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
    tally: Arc<Tally>,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut SdkSpan, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.tally.dropped(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        // The task's end is `Exporter::finish`.
        Ok(())
    }
}

/// The task that sends spans.
#[derive(Debug)]
pub struct Exporter {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Exporter {
    /// Sends what has ended until now, for three seconds at most.
    pub async fn finish(self) {
        self.stop.send_replace(true);
        let abort = self.task.abort_handle();
        if timeout(FLUSH_MAX, self.task).await.is_err() {
            tracing::warn!("the collector of telemetry.otlp_endpoint did not take the last spans");
            abort.abort();
        }
    }
}

/// The queue, and the task behind it; `None` where no collector is named.
///
/// # Errors
/// [`Error::Other`] for a file of roots that can't be used.
pub(super) fn start(
    config: &config::Telemetry,
    resource: &Resource,
    tally: Arc<Tally>,
) -> Result<Option<(Queue, Exporter)>, Error> {
    let Some(url) = config.traces_url() else { return Ok(None) };
    let client = Client::new(&config.ca).map_err(|error| Error::Other(format!("telemetry.ca: {error}")))?;
    let mut headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))];
    if let Some(authorization) = config.authorization() {
        headers.push((header::AUTHORIZATION, authorization));
    }
    let (sender, spans) = mpsc::channel(QUEUE_SPANS_MAX);
    let (stop, stopped) = watch::channel(false);
    let resource = ResourceAttributesWithSchema::from(resource);
    let collector = Collector {
        url,
        client,
        headers,
        resource,
        tally: Arc::clone(&tally),
        reason: "they come faster than it takes them".to_owned(),
        told: None,
    };
    let task = tokio::spawn(run(spans, collector, stopped));
    Ok(Some((Queue { spans: sender, tally }, Exporter { task, stop })))
}

/// Sends spans until `stop` turns true and all there is has been sent.
async fn run(mut spans: mpsc::Receiver<SpanData>, mut collector: Collector, mut stop: watch::Receiver<bool>) {
    let mut is_stopping = false;
    while !is_stopping {
        let mut batch = Vec::new();
        // Until there is one, for as long as it takes; then for a moment.
        let mut until = None;
        while batch.len() < BATCH_SPANS_MAX {
            let left = BATCH_SPANS_MAX - batch.len();
            tokio::select! {
                biased;
                received = spans.recv_many(&mut batch, left) => {
                    if received == 0 {
                        // Nobody is left who could record anything.
                        is_stopping = true;
                        break;
                    }
                    until.get_or_insert_with(|| Instant::now() + GATHER);
                }
                () = gathered(until) => break,
                _ = stop.wait_for(|stop| *stop) => {
                    is_stopping = true;
                    break;
                }
            }
        }
        collector.take(batch).await;
    }
    // The senders stay where they are, so what is left is counted, not waited for.
    loop {
        let mut batch = Vec::new();
        while batch.len() < BATCH_SPANS_MAX
            && let Ok(span) = spans.try_recv()
        {
            batch.push(span);
        }
        if batch.is_empty() {
            return;
        }
        collector.take(batch).await;
    }
}

async fn gathered(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Whom spans are sent to.
struct Collector {
    url: String,
    client: Client,
    headers: Vec<(HeaderName, HeaderValue)>,
    resource: ResourceAttributesWithSchema,
    tally: Arc<Tally>,
    /// Why spans were dropped last.
    reason: String,
    /// When it was told that spans were dropped, and how many had been by then.
    told: Option<(Instant, u64)>,
}

/// What became of one request.
enum Outcome {
    /// All but so many spans were taken.
    Taken { rejected: u64 },
    /// It will never be taken.
    Refused(String),
    /// Another try may go better.
    Failed(String),
}

impl Collector {
    /// Sends these, or counts them.
    async fn take(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        if count > 0 {
            let dropped = match self.deliver(batch).await {
                Ok(rejected) => rejected.min(count),
                Err(reason) => {
                    self.reason = reason;
                    count
                }
            };
            self.tally.dropped(dropped);
            self.tally.exported(count - dropped);
        }
        self.tell();
    }

    /// How many of them the collector didn't want.
    async fn deliver(&mut self, batch: Vec<SpanData>) -> Result<u64, String> {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = Bytes::from(ExportTraceServiceRequest { resource_spans }.encode_to_vec());
        let mut pauses = RETRY_PAUSES.iter();
        loop {
            match (self.post(body.clone()).await, pauses.next()) {
                (Outcome::Taken { rejected }, _) => {
                    if rejected > 0 {
                        self.reason = "it refuses some of them".to_owned();
                    }
                    return Ok(rejected);
                }
                (Outcome::Failed(_), Some(pause)) => sleep(*pause).await,
                (Outcome::Refused(reason) | Outcome::Failed(reason), _) => return Err(reason),
            }
        }
    }

    async fn post(&self, body: Bytes) -> Outcome {
        let answer = self.client.post(&self.url, &self.headers, body, ANSWER_BYTES_MAX);
        // In a place of its own: a connection's state is large.
        match timeout(ANSWER_MAX, Box::pin(answer)).await {
            Err(_) => Outcome::Failed(format!("no answer within {} s", ANSWER_MAX.as_secs())),
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Ok(Ok((status, body))) => outcome(status, body),
        }
    }

    /// A line once a while, if more were dropped.
    fn tell(&mut self) {
        let (_, dropped) = self.tally.read();
        let (at, before) = self.told.map_or((None, 0), |(at, before)| (Some(at), before));
        if dropped > before && at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            let reason = &self.reason;
            tracing::warn!(
                dropped,
                reason,
                "the collector of telemetry.otlp_endpoint does not take all spans"
            );
            self.told = Some((Instant::now(), dropped));
        }
    }
}

/// OTLP 1, "OTLP/HTTP Response".
fn outcome(status: StatusCode, body: Bytes) -> Outcome {
    match status.as_u16() {
        200..=299 => {
            // An answer that says nothing of it says that all were taken.
            let partial =
                ExportTraceServiceResponse::decode(body).ok().and_then(|answer| answer.partial_success);
            let rejected = partial.map_or(0, |partial| partial.rejected_spans);
            Outcome::Taken { rejected: u64::try_from(rejected).unwrap_or(0) }
        }
        429 | 502..=504 => Outcome::Failed(format!("the answer is {status}")),
        _ => Outcome::Refused(format!("the answer is {status}")),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use opentelemetry::trace::SpanKind;

    use super::super::Telemetry;
    use super::*;

    #[test]
    fn what_finds_the_queue_full_is_counted() {
        let (sender, mut spans) = mpsc::channel(QUEUE_SPANS_MAX);
        let tally = Arc::new(Tally::default());
        let queue = Queue { spans: sender, tally: Arc::clone(&tally) };
        let telemetry = Telemetry::recording(&queue, &Resource::builder_empty().build(), 0.0);
        for _ in 0..QUEUE_SPANS_MAX + 5 {
            telemetry.root().span("one", SpanKind::Internal).end();
        }
        assert_eq!(tally.read(), (0, 5));
        assert_eq!(std::iter::from_fn(|| spans.try_recv().ok()).count(), QUEUE_SPANS_MAX);
    }

    #[tokio::test]
    async fn the_task_ends_when_nobody_is_left_who_records() {
        let config =
            config::Telemetry { otlp_endpoint: "http://127.0.0.1:9".to_owned(), ..Default::default() };
        let started = start(&config, &Resource::builder_empty().build(), Arc::default()).unwrap();
        let (queue, Exporter { task, stop }) = started.unwrap();
        drop(queue);
        timeout(Duration::from_secs(5), task).await.unwrap().unwrap();
        assert!(!*stop.borrow());
    }

    #[test]
    fn answers() {
        let partial = |rejected_spans| {
            let partial_success =
                Some(ExportTracePartialSuccess { rejected_spans, error_message: String::new() });
            ExportTraceServiceResponse { partial_success }.encode_to_vec()
        };
        for (status, body, expected) in [
            (200, Vec::new(), "taken but 0"),
            (202, partial(0), "taken but 0"),
            (200, partial(7), "taken but 7"),
            (200, partial(-1), "taken but 0"),
            (200, vec![0xff; 40], "taken but 0"),
            (400, Vec::new(), "refused"),
            (301, Vec::new(), "refused"),
            (500, Vec::new(), "refused"),
            (429, Vec::new(), "failed"),
            (503, Vec::new(), "failed"),
        ] {
            let told = match outcome(StatusCode::from_u16(status).unwrap(), Bytes::from(body)) {
                Outcome::Taken { rejected } => format!("taken but {rejected}"),
                Outcome::Refused(_) => "refused".to_owned(),
                Outcome::Failed(_) => "failed".to_owned(),
            };
            assert_eq!(told, expected, "{status}");
        }
    }
}

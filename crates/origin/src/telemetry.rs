//! Traces by OpenTelemetry: what operators follow of a publication, of a call to a program of theirs and of some requests of players,
//! sent to a collector by OTLP over HTTP.
//!
//! Spans are made where something is decided, never per frame, packet or part, and they hold what an operator named or what everybody
//! may know: a route is a template, and no path, query, key or token of anybody is ever an attribute. Names are those of
//! OpenTelemetry's semantic conventions, and `headwater.` stands before those that they don't have. Without a collector a [`Telemetry`]
//! is nothing and its spans are nothing.

mod export;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan, SpanProcessor};

use crate::{Error, config};

pub use export::Exporter;

/// Longest `tracestate` that is passed on: what everybody has to pass on (W3C Trace Context 3.3.1.5), so that a span's size has a limit.
const TRACESTATE_BYTES_MAX: usize = 512;

/// Names a span in whose trace a request is (W3C Trace Context 3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Names of attributes, from OpenTelemetry's semantic conventions unless they begin with `headwater.`.
pub mod key {
    /// Who is at the other side, as far as proxies are believed.
    pub const CLIENT_ADDRESS: &str = "client.address";
    /// What failed, in few words of which there are few.
    pub const ERROR_TYPE: &str = "error.type";
    /// A method that is known, or `_OTHER`.
    pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
    /// How often this request was sent before.
    pub const HTTP_REQUEST_RESEND_COUNT: &str = "http.request.resend_count";
    /// Where it is known when the answer begins.
    pub const HTTP_RESPONSE_BODY_SIZE: &str = "http.response.body.size";
    /// The status.
    pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
    /// A template.
    pub const HTTP_ROUTE: &str = "http.route";
    /// `rtmp` where it isn't HTTP.
    pub const NETWORK_PROTOCOL_NAME: &str = "network.protocol.name";
    /// Of HTTP.
    pub const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";
    /// A host.
    pub const SERVER_ADDRESS: &str = "server.address";
    /// Its port.
    pub const SERVER_PORT: &str = "server.port";
    /// `http` or `https`.
    pub const URL_SCHEME: &str = "url.scheme";
    /// What an encoder calls itself.
    pub const USER_AGENT_ORIGINAL: &str = "user_agent.original";
    /// A stream's app.
    pub const APP: &str = "headwater.app";
    /// Its name.
    pub const STREAM: &str = "headwater.stream";
    /// Why a publication ended, for a person.
    pub const ENDED: &str = "headwater.ended";
    /// The kind of an event that is told.
    pub const EVENT_KIND: &str = "headwater.event.kind";
    /// Which hook is asked.
    pub const HOOK: &str = "headwater.hook";
    /// What kind of resource is asked for, as metrics call it.
    pub const REQUEST_KIND: &str = "headwater.request.kind";
    /// Inside TLS.
    pub const TLS: &str = "headwater.tls";
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct Tally {
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Tally {
    /// A collector took these.
    fn exported(&self, spans: u64) {
        self.exported.fetch_add(spans, Ordering::Relaxed);
    }

    /// Nobody will ever have these.
    fn dropped(&self, spans: u64) {
        self.dropped.fetch_add(spans, Ordering::Relaxed);
    }

    /// Spans that the collector has taken, and spans that were lost since it didn't, or not fast enough.
    pub fn read(&self) -> (u64, u64) {
        (self.exported.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed))
    }
}

/// Where spans begin; nothing when there is no collector. As cheap to clone as a pointer.
#[derive(Debug, Clone, Default)]
pub struct Telemetry(Option<Arc<Tracers>>);

#[derive(Debug)]
struct Tracers {
    /// Everything is recorded.
    all: SdkTracer,
    /// Some of the requests are.
    sampled: SdkTracer,
}

impl Telemetry {
    /// By the configuration, with the task that sends what was recorded; neither where no collector is named. Needs a runtime.
    ///
    /// # Errors
    /// [`Error::Other`] for a file of roots that can't be used.
    pub fn start(
        config: &config::Telemetry,
        tally: &Arc<Tally>,
    ) -> Result<(Telemetry, Option<Exporter>), Error> {
        let resource = Resource::builder()
            .with_service_name("headwater")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let Some((queue, exporter)) = export::start(config, &resource, Arc::clone(tally))? else {
            return Ok((Telemetry::default(), None));
        };
        Ok((Telemetry::recording(&queue, &resource, config.sample_ratio.fraction()), Some(exporter)))
    }

    fn recording(
        processor: &(impl SpanProcessor + Clone + 'static),
        resource: &Resource,
        ratio: f64,
    ) -> Telemetry {
        let tracer = |root: Sampler| {
            let provider = SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_sampler(Sampler::ParentBased(Box::new(root)))
                .with_span_processor(processor.clone())
                .build();
            provider.tracer("headwater")
        };
        Telemetry(Some(Arc::new(Tracers {
            all: tracer(Sampler::AlwaysOn),
            sampled: tracer(Sampler::TraceIdRatioBased(ratio)),
        })))
    }

    /// Whether there is a collector.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What begins a trace of its own, which is recorded.
    pub fn root(&self) -> Parent {
        let Some(tracers) = &self.0 else { return Parent::default() };
        Parent(Some(Box::new(Place { tracer: tracers.all.clone(), above: None })))
    }

    /// A player's request: in the trace of whoever sent it where that is believed (`is_believed`), and recorded as often as is asked
    /// for, or as the one in front has decided.
    pub fn request(&self, method: &Method, headers: &HeaderMap, is_believed: impl FnOnce() -> bool) -> Span {
        let Some(tracers) = &self.0 else { return Span::default() };
        let is_named = headers.contains_key(TRACEPARENT) && is_believed();
        let parent = if is_named { remote(headers) } else { Context::new() };
        let builder = SpanBuilder::from_name(method_name(method)).with_kind(SpanKind::Server);
        Span::begin(&tracers.sampled, builder, &parent)
    }
}

/// A method as attributes and names of spans have it: whatever else a client sends is one word.
pub fn method_name(method: &Method) -> &'static str {
    const KNOWN: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::PATCH,
        Method::TRACE,
        Method::CONNECT,
    ];
    const NAMES: [&str; 9] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"];
    let known = KNOWN.iter().zip(NAMES).find(|(known, _)| *known == method);
    known.map_or("_OTHER", |(_, name)| name)
}

/// The span that a request's `traceparent` names; an empty context when it names none.
fn remote(headers: &HeaderMap) -> Context {
    struct Headers<'a>(&'a HeaderMap);
    impl Extractor for Headers<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            let mut values = self.0.get_all(key).iter();
            let value = values.next()?.to_str().ok()?;
            // Two of them are none (W3C Trace Context 3.2); of tracestate as much as fits is enough.
            let is_long = key == "tracestate" && value.len() > TRACESTATE_BYTES_MAX;
            (values.next().is_none() && !is_long).then_some(value)
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(HeaderName::as_str).collect()
        }
    }
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers))
}

/// What spans begin below; below nothing, nothing begins.
#[derive(Debug, Clone, Default)]
pub struct Parent(Option<Box<Place>>);

#[derive(Debug, Clone)]
struct Place {
    tracer: SdkTracer,
    /// Of the span above, if there is one: an empty one is a parent that was not sampled.
    above: Option<SpanContext>,
}

impl Parent {
    /// A span that begins now.
    pub fn span(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> Span {
        self.begin(|| SpanBuilder::from_name(name).with_kind(kind))
    }

    /// A span that began before.
    pub fn span_since(&self, name: &'static str, kind: SpanKind, since: SystemTime) -> Span {
        self.begin(|| SpanBuilder::from_name(name).with_kind(kind).with_start_time(since))
    }

    fn begin(&self, builder: impl FnOnce() -> SpanBuilder) -> Span {
        let Some(place) = &self.0 else { return Span::default() };
        let context = Context::new();
        let context = match &place.above {
            Some(above) => context.with_remote_span_context(above.clone()),
            None => context,
        };
        Span::begin(&place.tracer, builder(), &context)
    }
}

/// Something that takes its time; nothing where nothing is recorded. Who drops it before [`Span::end`] has given up.
#[derive(Default)]
pub struct Span(Option<Box<Recording>>);

struct Recording {
    span: SdkSpan,
    tracer: SdkTracer,
    is_over: bool,
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.0.as_ref().map(|recording| recording.span.span_context())).finish()
    }
}

impl Span {
    fn begin(tracer: &SdkTracer, builder: SpanBuilder, parent: &Context) -> Span {
        let span = tracer.build_with_context(builder, parent);
        let recording = Recording { span, tracer: tracer.clone(), is_over: false };
        Span(recording.span.is_recording().then(|| Box::new(recording)))
    }

    /// Whether anybody will see it: what only it needs is made only then.
    pub fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// For what happens within it.
    pub fn parent(&self) -> Parent {
        Parent(self.0.as_ref().map(|recording| {
            let above = Some(recording.span.span_context().clone());
            Box::new(Place { tracer: recording.tracer.clone(), above })
        }))
    }

    /// Adds an attribute.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(recording) = &mut self.0 {
            recording.span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Gives it another name.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(recording) = &mut self.0 {
            recording.span.update_name(name.into());
        }
    }

    /// It failed: `what` in few words of which there are few.
    pub fn fail(&mut self, what: impl Into<Cow<'static, str>>) {
        if let Some(recording) = &mut self.0 {
            let what = what.into();
            recording.span.set_attribute(KeyValue::new(key::ERROR_TYPE, what));
            recording.span.set_status(Status::error(""));
        }
    }

    /// Says whom a request goes to: host and port of its URL, for the rest of it may be as secret as a key.
    pub fn to(&mut self, url: &str) {
        let authority = self.is_recording().then(|| url.parse::<Uri>().ok()).flatten();
        let Some(authority) = authority.as_ref().and_then(Uri::authority) else { return };
        self.set(key::SERVER_ADDRESS, authority.host().to_owned());
        let port = authority.port_u16().unwrap_or(if url.starts_with("https:") { 443 } else { 80 });
        self.set(key::SERVER_PORT, i64::from(port));
    }

    /// The value of `traceparent` (W3C Trace Context 3.2) for a request that is sent within it.
    pub fn traceparent(&self) -> Option<HeaderValue> {
        let context = self.0.as_ref()?.span.span_context();
        let flags = context.trace_flags().to_u8();
        HeaderValue::try_from(format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id())).ok()
    }

    /// It was over then.
    pub fn end_at(mut self, at: SystemTime) {
        if let Some(recording) = &mut self.0 {
            recording.is_over = true;
            recording.span.end_with_timestamp(at);
        }
    }

    /// It is over.
    pub fn end(mut self) {
        if let Some(recording) = &mut self.0 {
            recording.is_over = true;
            recording.span.end();
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // The SDK ends what is dropped; this says why.
        if !self.is_over {
            self.span.set_attribute(KeyValue::new(key::ERROR_TYPE, "cancelled"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::SpanData;

    use super::*;

    /// Keeps what has ended.
    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanProcessor for Kept {
        fn on_start(&self, _: &mut SdkSpan, _: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: std::time::Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    fn recording(ratio: f64) -> (Telemetry, Kept) {
        let kept = Kept::default();
        (Telemetry::recording(&kept, &Resource::builder_empty().build(), ratio), kept)
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    /// (ratio, header fields, believed) to (recorded, in the trace that was named).
    #[test]
    fn which_requests_are_recorded() {
        let long = format!("a={}", "x".repeat(TRACESTATE_BYTES_MAX));
        for (case, ratio, fields, is_believed, expected) in [
            ("none", 0.0, &[][..], true, None),
            ("all", 1.0, &[], true, Some(false)),
            ("named", 0.0, &[("traceparent", SAMPLED)], true, Some(true)),
            ("named, not believed", 0.0, &[("traceparent", SAMPLED)], false, None),
            ("named, not believed, all", 1.0, &[("traceparent", SAMPLED)], false, Some(false)),
            ("not wanted in front", 1.0, &[("traceparent", NOT_SAMPLED)], true, None),
            ("twice", 1.0, &[("traceparent", SAMPLED), ("traceparent", SAMPLED)], true, Some(false)),
            ("zeros", 1.0, &[("traceparent", &SAMPLED.replace(TRACE, &"0".repeat(32)))], true, Some(false)),
            ("nonsense", 1.0, &[("traceparent", "00-x-y-z")], true, Some(false)),
            ("short", 1.0, &[("traceparent", "00")], true, Some(false)),
            ("a long state", 0.0, &[("traceparent", SAMPLED), ("tracestate", &long)], true, Some(true)),
        ] {
            let (telemetry, kept) = recording(ratio);
            telemetry.request(&Method::GET, &headers(fields), || is_believed).end();
            let kept = kept.0.lock().unwrap();
            assert_eq!(kept.len(), usize::from(expected.is_some()), "{case}");
            if let (Some(span), Some(is_in_trace)) = (kept.first(), expected) {
                let context = &span.span_context;
                assert_eq!(context.trace_id().to_string() == TRACE, is_in_trace, "{case}");
                assert_eq!(span.parent_span_is_remote, is_in_trace, "{case}");
                assert!(context.trace_state().header().len() <= TRACESTATE_BYTES_MAX, "{case}");
            }
        }
    }

    #[test]
    fn a_span_that_is_dropped_was_given_up() {
        let (telemetry, kept) = recording(0.0);
        let root = telemetry.root().span("above", SpanKind::Server);
        let below = root.parent().span("below", SpanKind::Client);
        let traceparent = below.traceparent().unwrap();
        drop(below);
        root.end();
        let kept = kept.0.lock().unwrap();
        let [below, above] = kept.as_slice() else { panic!("{kept:?}") };
        assert_eq!((&*below.name, below.parent_span_id), ("below", above.span_context.span_id()));
        assert!(!below.parent_span_is_remote);
        let named = format!("00-{}-{}-01", below.span_context.trace_id(), below.span_context.span_id());
        assert_eq!(traceparent, named);
        assert!(below.attributes.contains(&KeyValue::new(key::ERROR_TYPE, "cancelled")));
        assert!(above.attributes.is_empty());
    }

    #[test]
    fn a_request_to_somebody_tells_the_host_alone() {
        let (telemetry, kept) = recording(0.0);
        for url in
            ["https://user:planted@example.com/planted?planted", "http://example.com:8080/planted", "/"]
        {
            let mut span = telemetry.root().span("POST", SpanKind::Client);
            span.to(url);
            span.end();
        }
        let attributes: Vec<_> = kept.0.lock().unwrap().iter().map(|span| span.attributes.clone()).collect();
        let to =
            |port| vec![KeyValue::new("server.address", "example.com"), KeyValue::new("server.port", port)];
        assert_eq!(attributes, [to(443), to(8080), Vec::new()]);
    }

    #[test]
    fn without_a_collector_there_is_nothing() {
        let telemetry = Telemetry::default();
        let request = telemetry.request(&Method::GET, &headers(&[("traceparent", SAMPLED)]), || true);
        assert!(!request.is_recording() && !telemetry.is_on());
        assert!(!request.parent().span("below", SpanKind::Client).is_recording());
        assert!(!telemetry.root().span("root", SpanKind::Server).is_recording());
        assert_eq!(size_of::<Span>(), size_of::<usize>(), "what a held request keeps of it");
    }

    #[test]
    fn methods() {
        for (method, expected) in [("GET", "GET"), ("CONNECT", "CONNECT"), ("get", "_OTHER"), ("X", "_OTHER")]
        {
            assert_eq!(method_name(&method.parse().unwrap()), expected);
        }
    }
}

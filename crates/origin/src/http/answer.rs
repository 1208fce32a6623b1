//! From a request to its answer: method, resource, preconditions, range. Each resource's own rules live beside it.

use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode, Version};

use super::hold::Holder;
use super::playlist;
use super::range::{Range, range};
use super::response::{NO_STORE, Reply, SHORT};
use super::route::{self, Rendition, Resource, RouteError, StreamPath};
use super::{Context, conditional, encoding, page, segment};
use crate::clock::Clocks;
use crate::published::Document;
use crate::registry::Stream;

/// Longest host that an MPD repeats: a DNS name and a port.
const HOST_BYTES_MAX: usize = 262;

/// The answer to one request.
pub(super) async fn answer(context: &Context, holder: &Holder<'_>, request: &Request<Incoming>) -> Reply {
    // RFC 9112 3.2: HTTP/1.1 without Host, or with two, is a bad request; HTTP/1.0 has none.
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Reply::error(StatusCode::BAD_REQUEST, SHORT, "one Host header is needed\n");
    }
    match *request.method() {
        Method::GET | Method::HEAD => {
            let reply = represent(context, holder, request).await;
            conclude(reply, request)
        }
        Method::OPTIONS => Reply::options(),
        _ => Reply::method_not_allowed(),
    }
}

/// The resource as it is now, or why there is none.
async fn represent(context: &Context, holder: &Holder<'_>, request: &Request<Incoming>) -> Reply {
    let gzip =
        joined(request.headers(), header::ACCEPT_ENCODING).is_some_and(|text| encoding::prefers_gzip(&text));
    let path = match route::decode(request.uri().path()) {
        Ok(path) => path,
        Err(error) => return bad_request(error),
    };
    match (route::resource(&path), &context.page) {
        (Ok(Resource::Page), Some(page)) => page.reply(gzip),
        (Ok(Resource::Asset(name)), Some(_)) => page::asset(name, gzip),
        (Ok(Resource::Live), Some(_)) => page::live(context),
        (Ok(Resource::Time), _) => time(),
        (Ok(Resource::Document(at, document)), _) => match stream(context, &at, document.into()) {
            Some(stream) => {
                let clock_url = (document == Document::Mpd).then(|| clock_url(context, request)).flatten();
                playlist::document(holder, &stream, document, clock_url.as_deref(), gzip).await
            }
            None => Reply::not_found("no such stream\n"),
        },
        (Ok(Resource::Segment(at, rendition, sequence)), _) => match stream(context, &at, rendition.into()) {
            Some(stream) => segment::segment(holder, &stream, rendition, sequence).await,
            None => Reply::not_found("no such stream\n"),
        },
        (Ok(Resource::Init(at, kind, hash)), _) => match stream(context, &at, Output::Cmaf) {
            Some(stream) => segment::init(&stream, kind, hash),
            None => Reply::not_found("no such stream\n"),
        },
        (Ok(Resource::Page | Resource::Asset(_) | Resource::Live), None) | (Err(_), _) => {
            Reply::not_found("no such resource\n")
        }
    }
}

/// Which switch of `[outputs]` a resource depends on.
#[derive(Debug, Clone, Copy)]
enum Output {
    Hls,
    Llhls,
    Dash,
    /// Media that more than one of them lists.
    Cmaf,
}

impl From<Document> for Output {
    fn from(document: Document) -> Output {
        match document {
            Document::TsMultivariant | Document::TsMedia => Output::Hls,
            Document::CmafMultivariant | Document::CmafMedia(_) => Output::Llhls,
            Document::Mpd => Output::Dash,
        }
    }
}

impl From<Rendition> for Output {
    fn from(rendition: Rendition) -> Output {
        match rendition {
            Rendition::Ts => Output::Hls,
            Rendition::Cmaf(_) => Output::Cmaf,
        }
    }
}

/// The stream, when it exists and its app has the output switched on.
fn stream(context: &Context, at: &StreamPath<'_>, output: Output) -> Option<std::sync::Arc<Stream>> {
    let outputs = context.config.outputs_for(at.app);
    let is_on = match output {
        Output::Hls => outputs.hls,
        Output::Llhls => outputs.llhls,
        Output::Dash => outputs.dash,
        Output::Cmaf => outputs.cmaf(),
    };
    if !is_on {
        return None;
    }
    context.registry.stream(at.app, at.stream)
}

/// The wall clock as ISO 8601 with milliseconds, for `urn:mpeg:dash:utc:http-iso:2014`.
fn time() -> Reply {
    let now = Clocks::start().wall().to_string();
    Reply::new(StatusCode::OK, HeaderValue::from_static("text/plain; charset=utf-8"), NO_STORE, now.into())
}

/// Where this server's clock is for whoever asked: the configured address, else the host that the request names.
fn clock_url(context: &Context, request: &Request<Incoming>) -> Option<String> {
    let configured = context.config.http.public_url.trim_end_matches('/');
    if !configured.is_empty() {
        return Some(format!("{configured}/time"));
    }
    let host = text(request.headers(), header::HOST)?;
    let is_plain = host.len() <= HOST_BYTES_MAX
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    (is_plain && !host.is_empty()).then(|| format!("http://{host}/time"))
}

/// Deterministic for the URL, so a cache may keep it for a moment.
fn bad_request(error: RouteError) -> Reply {
    let line = match error {
        RouteError::TooLong => "the path is too long\n",
        RouteError::Malformed => "the path is malformed\n",
        RouteError::Unsafe | RouteError::Unknown => "the path holds what no resource's path holds\n",
    };
    Reply::error(StatusCode::BAD_REQUEST, SHORT, line)
}

/// Preconditions and range, in the order of RFC 9110 13.2.2; they concern whole representations only.
fn conclude(reply: Reply, request: &Request<Incoming>) -> Reply {
    let headers = request.headers();
    let etag = reply.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    let (StatusCode::OK, Some(etag)) = (reply.status, etag) else { return reply };
    if let Some(tags) = joined(headers, header::IF_MATCH)
        && !conditional::names_strongly(&tags, &etag)
    {
        return Reply::error(StatusCode::PRECONDITION_FAILED, SHORT, "If-Match does not name this version\n");
    }
    if let Some(tags) = joined(headers, header::IF_NONE_MATCH)
        && conditional::names_weakly(&tags, &etag)
    {
        return not_modified(&reply);
    }
    // RFC 9110 14.2: Range has a meaning for GET only.
    if request.method() != Method::GET || !reply.headers.contains_key(header::ACCEPT_RANGES) {
        return reply;
    }
    let applies = match text(headers, header::IF_RANGE) {
        Some(validator) => conditional::range_applies(validator, &etag),
        None => !headers.contains_key(header::IF_RANGE),
    };
    match text(headers, header::RANGE).filter(|_| applies) {
        Some(value) => ranged(reply, value),
        None => reply,
    }
}

/// RFC 9110 15.4.5: what a cache needs in order to freshen what it has.
fn not_modified(reply: &Reply) -> Reply {
    let mut fresh = Reply::empty(StatusCode::NOT_MODIFIED, SHORT);
    for name in [header::CACHE_CONTROL, header::ETAG, header::VARY] {
        if let Some(value) = reply.headers.get(&name) {
            fresh.headers.insert(name, value.clone());
        }
    }
    fresh
}

fn ranged(mut reply: Reply, value: &str) -> Reply {
    let len = reply.body.len();
    match range(value, len as u64) {
        Range::Whole => reply,
        Range::Unsatisfiable => {
            Reply::error(StatusCode::RANGE_NOT_SATISFIABLE, SHORT, "the range begins behind the end\n")
                .with(header::CONTENT_RANGE, content_range(format_args!("*/{len}")))
        }
        Range::Part { first, last } => {
            // Positions below the length of something in memory fit.
            let bounds =
                usize::try_from(first).ok().zip(usize::try_from(last).ok().and_then(|n| n.checked_add(1)));
            let Some((start, end)) = bounds.filter(|(start, end)| start < end && *end <= len) else {
                return reply;
            };
            reply.body = reply.body.slice(start..end);
            reply.status = StatusCode::PARTIAL_CONTENT;
            reply.with(header::CONTENT_RANGE, content_range(format_args!("{first}-{last}/{len}")))
        }
    }
}

fn content_range(range: std::fmt::Arguments<'_>) -> HeaderValue {
    HeaderValue::try_from(format!("bytes {range}")).unwrap_or(HeaderValue::from_static("bytes */*"))
}

/// The one value of a header as text.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// All values of a list header as one list (RFC 9110 5.3); values that are not text are passed over.
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<std::borrow::Cow<'_, str>> {
    let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let first = values.next()?;
    Some(values.fold(first.into(), |list, value| format!("{list}, {value}").into()))
}

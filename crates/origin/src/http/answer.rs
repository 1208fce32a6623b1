//! From a request to its answer: method, resource, preconditions, range. Each resource's own rules live beside it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode, Version};

use headwater_media::TrackKind;

use super::directives::{DirectiveError, Directives, directives};
use super::hold::{self, Awaited, Held, Holder, Step, Wait};
use super::playlist;
use super::range::{Range, range};
use super::response::{NO_STORE, Reply, SHORT};
use super::route::{self, Container, Rendition, Resource, RouteError, StreamPath};
use super::{Context, conditional, continuous, encoding, feed, live, page, permission, segment, websocket};
use crate::clock::Clocks;
use crate::continuous as ring;
use crate::metrics::RequestKind;
use crate::published::Document;
use crate::registry::Stream;

/// Longest host that an MPD repeats: a DNS name and a port.
pub(super) const HOST_BYTES_MAX: usize = 262;

/// What of a request its answer depends on. The request itself may be held for long, with all the memory of its head.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) is_head: bool,
    /// Decoded, without a token in front.
    pub(super) path: Box<str>,
    pub(super) kind: RequestKind,
    /// The token, wherever it was.
    shown: Option<Box<permission::Shown>>,
    pub(super) gzip: bool,
    /// Of a media playlist of CMAF.
    pub(super) directives: Directives,
    /// What accepts the WebSocket that is asked for.
    upgrade: Option<Box<HeaderValue>>,
    /// Where this server's clock is for whoever asks for an MPD.
    pub(super) clock_url: Option<Box<str>>,
    /// When there are any.
    conditions: Option<Box<Conditions>>,
}

/// Headers that are looked at once there is something to compare them with; `None` when absent or no text.
#[derive(Debug)]
struct Conditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
    /// Without one, Range applies.
    if_range: Option<String>,
    has_if_range: bool,
    range: Option<String>,
}

/// What is asked for, or the answer to what can be told at once.
/// `is_secure`: it came inside TLS.
pub(super) fn ask(
    context: &Context,
    request: &Request<Incoming>,
    is_secure: bool,
) -> Result<Box<Asked>, Box<Reply>> {
    if !names_its_host(request) {
        // Not cached, as other refusals of a header: a cache's key doesn't hold it, everybody's does the URL.
        return Err(Box::new(Reply::error(
            StatusCode::BAD_REQUEST,
            NO_STORE,
            "one valid Host header is needed\n",
        )));
    }
    let is_head = match *request.method() {
        Method::GET => false,
        Method::HEAD => true,
        Method::OPTIONS => return Err(Box::new(Reply::options())),
        _ => return Err(Box::new(Reply::method_not_allowed())),
    };
    let path = route::decode(request.uri().path()).map_err(|error| Box::new(bad_request(error)))?;
    let (path, in_path) = permission::split(&path);
    let shown = permission::shown(request, in_path).map(Box::new);
    let path = Box::from(path);
    let headers = request.headers();
    let gzip = joined(headers, header::ACCEPT_ENCODING).is_some_and(|text| encoding::prefers_gzip(&text));
    let resource = route::resource(&path);
    let kind = resource.as_ref().map_or(RequestKind::Other, kind);
    let (document, upgrade) = match resource {
        Ok(Resource::Document(_, document)) => (Some(document), None),
        Ok(Resource::Continuous(_, Container::Flv)) => match websocket::asked(request) {
            websocket::Asked::Nothing => (None, None),
            websocket::Asked::WebSocket(accept) => (None, Some(Box::new(accept))),
            websocket::Asked::Refused(refusal) => return Err(Box::new(refusal)),
        },
        _ => (None, None),
    };
    if context.authorizer.as_ref().is_some_and(|authorizer| authorizer.checks_players())
        && let Some(moved) = permission::moved(&path, request.uri().query(), document, shown.as_deref())
    {
        return Err(Box::new(moved));
    }
    let is_mpd = matches!(document, Some(Document::Mpd | Document::LowLatencyMpd));
    let clock_url =
        is_mpd.then(|| clock_url(context, request, is_secure)).flatten().map(String::into_boxed_str);
    let directives = match document {
        Some(Document::CmafMedia(_)) => {
            directives(request.uri().query()).map_err(|error| Box::new(bad_directives(error)))?
        }
        _ => Directives::default(),
    };
    let names = [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_RANGE, header::RANGE];
    let conditions = names.iter().any(|name| headers.contains_key(name)).then(|| {
        Box::new(Conditions {
            if_match: joined(headers, header::IF_MATCH).map(Cow::into_owned),
            if_none_match: joined(headers, header::IF_NONE_MATCH).map(Cow::into_owned),
            if_range: text(headers, header::IF_RANGE).map(str::to_owned),
            has_if_range: headers.contains_key(header::IF_RANGE),
            range: text(headers, header::RANGE).map(str::to_owned),
        })
    });
    Ok(Box::new(Asked { is_head, path, kind, shown, gzip, directives, upgrade, clock_url, conditions }))
}

fn kind(resource: &Resource<'_>) -> RequestKind {
    match resource {
        Resource::Page
        | Resource::Asset(_)
        | Resource::Embed(_)
        | Resource::Live
        | Resource::LiveEvents
        | Resource::Time
        | Resource::Poster(_) => RequestKind::Page,
        Resource::Document(_, Document::Mpd | Document::LowLatencyMpd) => RequestKind::Mpd,
        Resource::Document(..) => RequestKind::Playlist,
        Resource::Segment(..) => RequestKind::Segment,
        Resource::Part(..) => RequestKind::Part,
        Resource::Init(..) => RequestKind::Init,
        Resource::Continuous(..) => RequestKind::Continuous,
    }
}

/// The answer to one request.
#[expect(clippy::manual_async_fn, reason = "an async fn has room for its arguments twice, and it is held")]
pub(super) fn answer(holder: &Holder, asked: &Asked) -> impl Future<Output = Reply> + Send {
    async move {
        // In a place of its own, as below: every held request would have room for it.
        let permitted = Box::pin(permission::permit(holder, &asked.path, asked.shown.as_deref())).await;
        if let Err(refusal) = permitted {
            return *refusal;
        }
        let (stream, mut wait) = match target(holder, asked).attended().begin(holder) {
            Begun::Waits(stream, wait) => (stream, wait),
            Begun::Continuous(stream, container) => {
                let reply =
                    Box::pin(continuously(holder, &stream, container, asked.upgrade.as_deref())).await;
                return conclude(holder, reply, asked);
            }
            Begun::Here(reply) => return conclude(holder, *reply, asked),
        };
        let reply = loop {
            let held = hold::until(holder, &stream, &wait).await;
            match next(holder, &stream, wait.awaited, held, asked) {
                Step::Wait(next) => wait = next,
                Step::Reply(reply) => break *reply,
            }
        };
        conclude(holder, reply, asked)
    }
}

/// What comes behind a wait.
fn next(holder: &Holder, stream: &Stream, awaited: Awaited, held: Held, asked: &Asked) -> Step {
    match awaited {
        Awaited::Playable(document) => playlist::playable(document, held, asked, holder.timeout()),
        Awaited::Turn(_) | Awaited::Version(..) => playlist::low_latency(stream, awaited, held, asked).into(),
        Awaited::Segment(rendition, sequence) => segment::awaited(stream, rendition, sequence, held).into(),
        Awaited::Part(kind, sequence, part) => {
            segment::awaited_part(stream, kind, sequence, part, held).into()
        }
    }
}

/// RFC 9112 3.2: HTTP/1.1 without Host, or with two, or with one that is none, is a bad request; HTTP/1.0 has none.
/// RFC 9113 8.3.1: HTTP/2 has `:authority`, or Host, or the same in both.
fn names_its_host(request: &Request<Incoming>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter().map(HeaderValue::as_bytes);
    let (host, second) = (hosts.next(), hosts.next());
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let (named, other) = match request.version() {
        Version::HTTP_2 => (authority.or(host), host.filter(|_| authority.is_some())),
        _ => (host, None),
    };
    match named {
        Some(named) => second.is_none() && is_host(named) && other.is_none_or(|other| other == named),
        None => request.version() < Version::HTTP_11,
    }
}

/// Whether each byte may stand in `uri-host [":" port]` (RFC 3986 3.2.2); empty is valid (RFC 9112 3.2).
pub(super) fn is_host(value: &[u8]) -> bool {
    value.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(b))
}

/// What a request is answered with.
enum Target {
    /// A playlist or MPD, which may have to be waited for.
    Document(Arc<Stream>, Document),
    /// A segment, which may have to be waited for.
    Segment(Arc<Stream>, Rendition, u64),
    /// A part of one, likewise.
    Part(Arc<Stream>, TrackKind, u64, u32),
    /// A stream without segments, which may have to be waited for.
    Continuous(Arc<Stream>, Container),
    /// What is there, or why there is nothing.
    Here(Box<Reply>),
}

impl Target {
    /// Tells the publisher's side who is coming.
    fn attended(self) -> Target {
        if let Some(stream) = self.newest_of() {
            stream.attend();
        }
        self
    }

    /// The stream whose newest media whoever asks for this is about to play.
    fn newest_of(&self) -> Option<&Stream> {
        match self {
            Target::Document(_, Document::TsMultivariant | Document::TsMedia | Document::Mpd)
            | Target::Segment(..)
            | Target::Here(_) => None,
            Target::Document(stream, _) | Target::Part(stream, ..) | Target::Continuous(stream, _) => {
                Some(stream)
            }
        }
    }

    /// Begins with the answer.
    fn begin(self, holder: &Holder) -> Begun {
        let (stream, step) = match self {
            Target::Document(stream, document) => (stream, playlist::document(document, holder.timeout())),
            Target::Segment(stream, rendition, sequence) => {
                let step = segment::segment(&stream, rendition, sequence);
                (stream, step)
            }
            Target::Part(stream, kind, sequence, part) => {
                let step = segment::part(&stream, kind, sequence, part);
                (stream, step)
            }
            Target::Continuous(stream, container) => return Begun::Continuous(stream, container),
            Target::Here(reply) => return Begun::Here(reply),
        };
        match step {
            Step::Wait(wait) => Begun::Waits(stream, wait),
            Step::Reply(reply) => Begun::Here(reply),
        }
    }
}

/// The first step from a target to its answer.
enum Begun {
    /// What a stream has, or is about to have, is waited for.
    Waits(Arc<Stream>, Wait),
    Continuous(Arc<Stream>, Container),
    Here(Box<Reply>),
}

fn target(holder: &Holder, asked: &Asked) -> Target {
    let (context, address) = (holder.context(), holder.address);
    let reply = match (route::resource(&asked.path), context.page()) {
        (Ok(Resource::Page | Resource::Embed(_)), Some(page)) => page.reply(asked.gzip),
        (Ok(Resource::Asset(name)), Some(_)) => page::asset(name, asked.gzip),
        (Ok(resource @ (Resource::Live | Resource::LiveEvents)), Some(_)) => {
            let shown = asked.shown.as_deref();
            match permission::listing(context, address, shown) {
                Err(refusal) => *refusal,
                Ok(listing) if resource == Resource::Live => live::list(context, &listing),
                Ok(_) => feed::events(context, address, shown.map(permission::Shown::token)),
            }
        }
        (Ok(Resource::Time), _) => time(),
        (Ok(Resource::Document(at, document)), _) => match stream(context, &at, document.into()) {
            Some(stream) => return Target::Document(stream, document),
            None => Reply::not_found("no such stream\n"),
        },
        (Ok(Resource::Segment(at, rendition, sequence)), _) => match stream(context, &at, rendition.into()) {
            Some(stream) => return Target::Segment(stream, rendition, sequence),
            None => Reply::not_found("no such stream\n"),
        },
        (Ok(Resource::Part(at, kind, sequence, part)), _) => match stream(context, &at, Output::Llhls) {
            Some(stream) => return Target::Part(stream, kind, sequence, part),
            None => Reply::not_found("no such stream\n"),
        },
        (Ok(Resource::Init(at, kind, hash)), _) => match stream(context, &at, Output::Cmaf) {
            Some(stream) => segment::init(&stream, kind, hash),
            None => Reply::not_found("no such stream\n"),
        },
        (Ok(Resource::Poster(at)), _) => match stream(context, &at, Output::Cmaf) {
            Some(stream) => segment::poster(&stream),
            None => Reply::not_found("no such stream\n"),
        },
        (Ok(Resource::Continuous(at, container)), _) => match stream(context, &at, container.into()) {
            Some(stream) => return Target::Continuous(stream, container),
            None => Reply::not_found("no such stream\n"),
        },
        (
            Ok(
                Resource::Page
                | Resource::Asset(_)
                | Resource::Embed(_)
                | Resource::Live
                | Resource::LiveEvents,
            ),
            None,
        )
        | (Err(_), _) => Reply::not_found("no such resource\n"),
    };
    Target::Here(Box::new(reply))
}

/// A stream without segments, over HTTP or, where it is asked for, WebSocket.
async fn continuously(
    holder: &Holder,
    stream: &Stream,
    container: Container,
    upgrade: Option<&HeaderValue>,
) -> Reply {
    let output = match container {
        Container::Flv => match upgrade {
            None => ring::Output::Flv,
            Some(accept) => {
                let joined = continuous::joined(holder, stream, ring::Output::WebSocketFlv).await;
                return joined
                    .map_or_else(|refusal| refusal, |viewer| websocket::switching(accept.clone(), viewer));
            }
        },
        Container::Ts => ring::Output::Ts,
        Container::Mp4 => ring::Output::Mp4,
    };
    continuous::body(holder, stream, output).await
}

/// Which switch of `[outputs]` a resource depends on.
#[derive(Debug, Clone, Copy)]
enum Output {
    Hls,
    Llhls,
    Dash,
    /// Media that more than one of them lists.
    Cmaf,
    Flv,
    Ts,
    Mp4,
}

impl From<Container> for Output {
    fn from(container: Container) -> Output {
        match container {
            Container::Flv => Output::Flv,
            Container::Ts => Output::Ts,
            Container::Mp4 => Output::Mp4,
        }
    }
}

impl From<Document> for Output {
    fn from(document: Document) -> Output {
        match document {
            Document::TsMultivariant | Document::TsMedia => Output::Hls,
            Document::CmafMultivariant | Document::CmafMedia(_) | Document::CmafDelta(_) => Output::Llhls,
            Document::Mpd | Document::LowLatencyMpd => Output::Dash,
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

/// The stream, when it exists and has the output.
fn stream(context: &Context, at: &StreamPath<'_>, output: Output) -> Option<Arc<Stream>> {
    let stream = context.registry.stream(at.app, at.stream)?;
    let outputs = stream.outputs();
    let is_on = match output {
        Output::Hls => outputs.hls,
        Output::Llhls => outputs.llhls,
        Output::Dash => outputs.dash,
        Output::Cmaf => outputs.cmaf(),
        Output::Flv => outputs.flv,
        Output::Ts => outputs.ts,
        Output::Mp4 => outputs.mp4,
    };
    is_on.then_some(stream)
}

/// The wall clock as ISO 8601 with milliseconds, for `urn:mpeg:dash:utc:http-iso:2014`.
fn time() -> Reply {
    let now = Clocks::start().wall().to_string();
    Reply::new(
        StatusCode::OK,
        HeaderValue::from_static("text/plain; charset=utf-8"),
        NO_STORE,
        Bytes::from(now),
    )
}

/// Where this server's clock is for whoever asked: the configured address, else the host that the request names. A page that came by
/// https may not ask for anything by http.
fn clock_url(context: &Context, request: &Request<Incoming>, is_secure: bool) -> Option<String> {
    let config = context.config.now();
    let configured = config.http.public_url.trim_end_matches('/');
    if !configured.is_empty() {
        return Some(format!("{configured}/time"));
    }
    // RFC 9112 3.2.2: a target in absolute form names the host, whatever the header says.
    let host = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => text(request.headers(), header::HOST)?,
    };
    let is_plain = host.len() <= HOST_BYTES_MAX
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    let scheme = if is_secure { "https" } else { "http" };
    (is_plain && !host.is_empty()).then(|| format!("{scheme}://{host}/time"))
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

/// The same for a query that can't be followed (8216bis 6.2.5.2).
fn bad_directives(error: DirectiveError) -> Reply {
    let line = match error {
        DirectiveError::NotANumber => "_HLS_msn and _HLS_part are decimal numbers\n",
        DirectiveError::Repeated => "a directive is there more than once\n",
        DirectiveError::PartAlone => "_HLS_part needs _HLS_msn\n",
    };
    Reply::error(StatusCode::BAD_REQUEST, SHORT, line)
}

/// What of the request concerns any answer to it.
fn conclude(holder: &Holder, mut reply: Reply, asked: &Asked) -> Reply {
    permission::keep_private(holder.context(), asked.shown.as_deref(), &mut reply);
    on_conditions(reply, asked)
}

/// Preconditions and range, in the order of RFC 9110 13.2.2; they concern whole representations only.
fn on_conditions(reply: Reply, asked: &Asked) -> Reply {
    let Some(conditions) = &asked.conditions else { return reply };
    let etag = reply.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    let (StatusCode::OK, Some(etag), Some(len)) = (reply.status, etag, reply.body.len()) else {
        return reply;
    };
    if let Some(tags) = &conditions.if_match
        && !conditional::names_strongly(tags, &etag)
    {
        return Reply::error(
            StatusCode::PRECONDITION_FAILED,
            NO_STORE,
            "If-Match does not name this version\n",
        );
    }
    if let Some(tags) = &conditions.if_none_match
        && conditional::names_weakly(tags, &etag)
    {
        return not_modified(&reply);
    }
    // RFC 9110 14.2: Range has a meaning for GET only.
    if asked.is_head || !reply.headers.contains_key(header::ACCEPT_RANGES) {
        return reply;
    }
    let applies = match &conditions.if_range {
        Some(validator) => conditional::range_applies(validator, &etag),
        None => !conditions.has_if_range,
    };
    match conditions.range.as_deref().filter(|_| applies) {
        Some(value) => ranged(reply, value, len),
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

fn ranged(mut reply: Reply, value: &str, len: usize) -> Reply {
    match range(value, len as u64) {
        Range::Whole => reply,
        Range::Unsatisfiable => {
            Reply::error(StatusCode::RANGE_NOT_SATISFIABLE, NO_STORE, "the range begins behind the end\n")
                .with(header::CONTENT_RANGE, content_range(format_args!("*/{len}")))
        }
        Range::Part { first, last } => {
            // Positions below the length of something in memory fit.
            let bounds =
                usize::try_from(first).ok().zip(usize::try_from(last).ok().and_then(|n| n.checked_add(1)));
            let Some(part) = bounds.and_then(|(start, end)| reply.body.slice(start..end)) else {
                return reply;
            };
            reply.body = part;
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
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<Cow<'_, str>> {
    let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let first = values.next()?;
    Some(values.fold(first.into(), |list, value| format!("{list}, {value}").into()))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::sync::watch;

    use super::super::{Client, connection::Carrier, http1};
    use super::*;
    use crate::config::Config;
    use crate::registry::Registry;
    use crate::telemetry::Telemetry;

    /// Every held request has its own: 10,000 of them at once. What few requests need is boxed.
    const BYTES_MAX: usize = 400;

    #[test]
    fn a_held_answer_is_small() {
        let registry = Registry::new(Arc::new(Config::default()), Clocks::start(), None);
        let context = Arc::new(Context::new(registry, Arc::new(Config::default())));
        let shutdown = watch::channel(false).1;
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let client = Client { context, address, is_secure: false, shutdown: shutdown.clone() };
        let holder = Holder {
            client: Arc::new(client),
            address,
            span: Telemetry::default().request(&Method::GET, &HeaderMap::new(), || false),
            carrier: Carrier::Http1(http1::Activity::new(shutdown)),
        };
        let asked = Asked {
            is_head: false,
            path: Box::from("/live/cam/video/media.m3u8"),
            kind: RequestKind::Playlist,
            shown: None,
            gzip: true,
            directives: Directives::default(),
            upgrade: None,
            clock_url: None,
            conditions: None,
        };
        let bytes = size_of_val(&answer(&holder, &asked));
        assert!(bytes <= BYTES_MAX, "{bytes}");
    }
}

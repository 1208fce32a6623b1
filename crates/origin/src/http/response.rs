//! What every answer of the playback listener says besides its body.

use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};

use super::connection::Carrier;
use super::payload::{Payload, ReplyBody};
use crate::budget::Lease;
use crate::continuous::Viewer;
use crate::published;

/// For clients that must see a state of moments ago at most.
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// For what doesn't exist now and may exist in a moment (http-origin 6.9: cached for longer, it freezes the live edge).
pub(super) const SHORT: HeaderValue = HeaderValue::from_static("public, max-age=1");
/// For what will never exist again.
pub(super) const GONE: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// Methods that are answered, as `Allow` and preflights list them.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
/// Request headers that pages may send (CMCD: CTA-5004).
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Range, If-None-Match, Content-Type, CMCD-Request, CMCD-Object, CMCD-Status, CMCD-Session, Authorization",
);
/// Response headers that pages may read: hls.js reads Age, dash.js reads Date.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "Content-Length, Content-Range, Date, Age, ETag, Server-Timing, CMSD-Static, CMSD-Dynamic",
);
/// How long a browser remembers a preflight's answer, in seconds: the most that any browser accepts.
const PREFLIGHT_MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// No answer has more headers, Date and Connection included: a map of more is twice as large.
const HEADERS_MAX: usize = 12;

const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Plain words for people who open a URL by hand.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An answer in the making: status, headers beyond the common ones, body.
#[derive(Debug)]
pub(super) struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers that this kind of answer has.
    pub headers: HeaderMap,
    /// The body; HEAD gets its length only.
    pub body: Payload,
    /// When the body is a segment: it may have to be let go of.
    pub lease: Option<Lease>,
    /// The connection becomes this viewer's WebSocket.
    pub upgrade: Option<Viewer>,
}

impl Reply {
    /// An answer with a body.
    pub(super) fn new(
        status: StatusCode,
        content_type: HeaderValue,
        cache_control: HeaderValue,
        body: impl Into<Payload>,
    ) -> Reply {
        // One allocation that holds the common headers too.
        let mut headers = HeaderMap::with_capacity(HEADERS_MAX);
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::CACHE_CONTROL, cache_control);
        Reply { status, headers, body: body.into(), lease: None, upgrade: None }
    }

    /// 200 with a body in the coding that was negotiated, and the ETag of just that (RFC 9110 8.8.3.3).
    pub(super) fn coded(
        body: &published::Body,
        gzip: bool,
        content_type: &'static str,
        cache_control: HeaderValue,
    ) -> Reply {
        let (bytes, etag) = if gzip { (body.gzip(), body.gzip_etag()) } else { (body.plain(), body.etag()) };
        let content_type = HeaderValue::from_static(content_type);
        let mut reply = Reply::new(StatusCode::OK, content_type, cache_control, bytes.clone())
            .with(header::VARY, HeaderValue::from_static("Accept-Encoding"))
            .with(header::ETAG, etag.clone());
        if gzip {
            reply = reply.with(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        reply
    }

    /// An answer without a body.
    pub(super) fn empty(status: StatusCode, cache_control: HeaderValue) -> Reply {
        let mut headers = HeaderMap::with_capacity(HEADERS_MAX);
        headers.insert(header::CACHE_CONTROL, cache_control);
        Reply { status, headers, body: Payload::default(), lease: None, upgrade: None }
    }

    /// A refusal: one line of text.
    pub(super) fn error(status: StatusCode, cache_control: HeaderValue, line: &'static str) -> Reply {
        Reply::new(status, TEXT, cache_control, Bytes::from_static(line.as_bytes()))
    }

    /// 404 for what may exist in a moment.
    pub(super) fn not_found(line: &'static str) -> Reply {
        Reply::error(StatusCode::NOT_FOUND, SHORT, line)
    }

    /// 503 when a limit is reached or the process is about to end; never cached.
    pub(super) fn unavailable(line: &'static str) -> Reply {
        Reply::error(StatusCode::SERVICE_UNAVAILABLE, NO_STORE, line)
            .with(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// 405 with what is allowed.
    pub(super) fn method_not_allowed() -> Reply {
        Reply::error(StatusCode::METHOD_NOT_ALLOWED, SHORT, "GET, HEAD and OPTIONS are answered here\n")
            .with(header::ALLOW, METHODS)
    }

    /// The answer to OPTIONS, a CORS preflight or not.
    pub(super) fn options() -> Reply {
        let max_age = HeaderValue::from_static("public, max-age=86400");
        Reply::empty(StatusCode::NO_CONTENT, max_age)
            .with(header::ALLOW, METHODS)
            .with(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS)
            .with(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS)
            .with(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE)
    }

    /// This answer with one more header.
    #[must_use]
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Reply {
        self.headers.insert(name, value);
        self
    }

    /// The answer as hyper sends it; to HEAD without the body. `carrier` is told what becomes of it.
    pub(super) fn finish(mut self, carrier: Carrier, is_head: bool) -> Response<ReplyBody> {
        self.add_common();
        let body = if is_head { Payload::default() } else { self.body };
        carrier.answered(self.lease.filter(|_| !is_head), body.is_bounded());
        if let Some(viewer) = self.upgrade {
            carrier.upgraded(viewer);
        }
        let mut response = Response::new(ReplyBody::new(body, carrier));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }

    /// The answer as bytes, for a connection that hyper doesn't serve (any more) and that ends with it. hyper's own answers
    /// bring their Date; here it is the caller's.
    pub(super) fn into_last_words(mut self, date: Option<&str>) -> Vec<u8> {
        self.add_common();
        let reason = self.status.canonical_reason().unwrap_or_default();
        let mut words =
            format!("HTTP/1.1 {} {reason}\r\nconnection: close\r\n", self.status.as_str()).into_bytes();
        if let Some(date) = date {
            words.extend_from_slice(format!("date: {date}\r\n").as_bytes());
        }
        for (name, value) in &self.headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                words.extend_from_slice(part);
            }
        }
        words.extend_from_slice(b"\r\n");
        for piece in self.body.pieces() {
            words.extend_from_slice(piece);
        }
        words
    }

    /// What every answer says.
    fn add_common(&mut self) {
        let headers = &mut self.headers;
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CORP, HeaderValue::from_static("cross-origin"));
        // RFC 9110 8.6: 1xx and 204 have no Content-Length; 304 would have that of the 200, which serves nobody.
        let has_body = !self.status.is_informational() && self.status != StatusCode::NO_CONTENT;
        if has_body
            && self.status != StatusCode::NOT_MODIFIED
            && let Some(len) = self.body.len()
        {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
        }
    }
}

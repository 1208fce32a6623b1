//! What every answer of the playback listener says besides its body, and the bodies themselves.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};

use super::connection::Activity;

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
    /// The whole body; HEAD gets its length only.
    pub body: Bytes,
}

impl Reply {
    /// An answer with a body.
    pub(super) fn new(
        status: StatusCode,
        content_type: HeaderValue,
        cache_control: HeaderValue,
        body: Bytes,
    ) -> Reply {
        // One allocation that holds the common headers too.
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::CACHE_CONTROL, cache_control);
        Reply { status, headers, body }
    }

    /// An answer without a body.
    pub(super) fn empty(status: StatusCode, cache_control: HeaderValue) -> Reply {
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(header::CACHE_CONTROL, cache_control);
        Reply { status, headers, body: Bytes::new() }
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

    /// The answer as hyper sends it. `activity` is told when the body has been handed over.
    pub(super) fn finish(mut self, activity: Arc<Activity>) -> Response<ReplyBody> {
        let headers = &mut self.headers;
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CORP, HeaderValue::from_static("cross-origin"));
        // RFC 9110 8.6: 204 has no Content-Length; 304 would have that of the 200, which serves nobody.
        if !matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        }
        let mut response = Response::new(ReplyBody { data: Some(self.body), activity });
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// A body that is there as a whole. When it is dropped, hyper has taken it, or will never take it.
#[derive(Debug)]
pub(super) struct ReplyBody {
    data: Option<Bytes>,
    activity: Arc<Activity>,
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.data.take().filter(|data| !data.is_empty()).map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        self.activity.body_taken();
    }
}

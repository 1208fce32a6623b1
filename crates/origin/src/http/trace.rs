//! A request as operators trace it: a span from its head to its answer's, what it was held for included, as metrics and the access log
//! measure it. Its path and query are nowhere in it, for they may hold tokens, and neither is a stream that isn't there.

use std::net::IpAddr;

use hyper::http::uri::Authority;
use hyper::{Request, Version, header};

use super::answer;
use super::response::Reply;
use super::route;
use crate::metrics::RequestKind;
use crate::telemetry::{Span, Telemetry, key, method_name};

/// Begins, where it is recorded. `is_believed`: it came from one whose `traceparent` counts.
pub(super) fn asked<B>(
    telemetry: &Telemetry,
    request: &Request<B>,
    is_believed: impl FnOnce() -> bool,
) -> Span {
    telemetry.request(request.method(), request.headers(), is_believed)
}

/// What is asked for, and by whom. `path`: of the resource, decoded and without a token; none where it could not be read.
pub(super) fn resource<B>(
    span: &mut Span,
    request: &Request<B>,
    path: Option<&str>,
    address: IpAddr,
    is_secure: bool,
) {
    let method = method_name(request.method());
    span.set(key::HTTP_REQUEST_METHOD, method);
    if let Some(resource) = path.and_then(|path| route::resource(path).ok()) {
        let route = resource.template();
        span.rename(format!("{method} {route}"));
        span.set(key::HTTP_ROUTE, route);
    }
    span.set(key::URL_SCHEME, if is_secure { "https" } else { "http" });
    span.set(key::CLIENT_ADDRESS, address.to_canonical().to_string());
    let version = match request.version() {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    span.set(key::NETWORK_PROTOCOL_VERSION, version);
    let host = request.uri().authority().map(Authority::as_str);
    let host = host.or_else(|| request.headers().get(header::HOST)?.to_str().ok());
    // Only what a host can be: a user and a password are none.
    let host = host.filter(|host| host.len() <= answer::HOST_BYTES_MAX && answer::is_host(host.as_bytes()));
    let uri = host.and_then(|host| host.parse::<Authority>().ok());
    if let Some(authority) = uri {
        span.set(key::SERVER_ADDRESS, authority.host().to_owned());
        if let Some(port) = authority.port_u16() {
            span.set(key::SERVER_PORT, i64::from(port));
        }
    }
}

/// The answer's head is made. `is_head`: nothing follows it.
pub(super) fn answered(span: &mut Span, kind: RequestKind, reply: &Reply, is_head: bool) {
    span.set(key::REQUEST_KIND, kind.name());
    span.set(key::HTTP_RESPONSE_STATUS_CODE, i64::from(reply.status.as_u16()));
    let size = if is_head { Some(0) } else { reply.body.len() };
    if let Some(size) = size.and_then(|size| i64::try_from(size).ok()) {
        span.set(key::HTTP_RESPONSE_BODY_SIZE, size);
    }
    if reply.status.is_server_error() {
        span.fail(reply.status.as_str().to_owned());
    }
}

/// Whose resource it was, once it is there: what a client asks for in vain may be anything, a mistyped token for instance.
pub(super) fn found(span: &mut Span, path: &str, reply: &Reply) {
    let is_found = reply.status.is_success() || reply.status.is_redirection();
    let resource = route::resource(path).ok().filter(|_| is_found);
    if let Some(at) = resource.as_ref().and_then(route::Resource::stream) {
        span.set(key::APP, at.app.to_owned());
        span.set(key::STREAM, at.stream.to_owned());
    }
}

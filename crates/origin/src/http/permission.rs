//! What a request shows in order to be let in: a token in front of the path, in the query, or in a header.
//!
//! In front of the path (`/t/TOKEN/live/cam/index.m3u8`) it stays there by itself, since playlists name what they list by relative
//! URLs. A document that is asked for with `?token=TOKEN` is answered with that address, for players keep no query.

use std::fmt;
use std::net::IpAddr;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};

use super::Context;
use super::hold::Holder;
use super::response::{NO_STORE, Reply};
use super::route;
use crate::auth::{self, Denied, Listing};
use crate::published::Document;

/// Longest token that is put in front of a path: with the names behind it, it stays below the longest path.
const TOKEN_IN_PATH_BYTES_MAX: usize = 1_024;

/// What a request shows.
pub(super) struct Shown {
    token: String,
    place: Place,
}

/// Where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    Query,
    Header,
}

impl Shown {
    /// The token itself.
    pub(super) fn token(&self) -> &str {
        &self.token
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A decoded path without the token in front of it, and that token.
pub(super) fn split(path: &str) -> (&str, Option<&str>) {
    let Some(shown) = path.strip_prefix("/t/") else { return (path, None) };
    match shown.find('/').and_then(|end| shown.split_at_checked(end)) {
        Some((token, rest)) => (rest, Some(token)),
        None => ("/t", Some(shown)),
    }
}

/// What a request shows; `in_path` is what [`split`] found.
pub(super) fn shown(request: &Request<Incoming>, in_path: Option<&str>) -> Option<Shown> {
    let shown = |token: &str, place| Shown { token: token.to_owned(), place };
    let in_query = || auth::parameter(request.uri().query()?, "token");
    let in_header = || {
        let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    };
    in_path
        .map(|token| shown(token, Place::Path))
        .or_else(|| Some(shown(in_query()?, Place::Query)))
        .or_else(|| Some(shown(in_header()?, Place::Header)))
}

/// The answer that moves a query's token in front of the path, for what names further resources.
pub(super) fn moved(
    path: &str,
    query: Option<&str>,
    document: Option<Document>,
    shown: Option<&Shown>,
) -> Option<Reply> {
    let Shown { token, .. } = shown.filter(|shown| shown.place == Place::Query)?;
    let names_others = matches!(
        document,
        Some(Document::TsMultivariant | Document::CmafMultivariant | Document::Mpd | Document::LowLatencyMpd)
    );
    let is_plain = token.len() <= TOKEN_IN_PATH_BYTES_MAX
        && !matches!(&**token, "" | "." | "..")
        && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b));
    if !names_others || !is_plain {
        return None;
    }
    let rest: Vec<&str> = query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("token="))
        .collect();
    let mark = if rest.is_empty() { "" } else { "?" };
    // The path was found to name a document, so it has nothing that would have to be encoded.
    let location = HeaderValue::try_from(format!("/t/{token}{path}{mark}{}", rest.join("&"))).ok()?;
    Some(Reply::empty(StatusCode::TEMPORARY_REDIRECT, NO_STORE).with(header::LOCATION, location))
}

/// Lets a request in, or says why not.
pub(super) async fn permit(holder: &Holder, path: &str, shown: Option<&Shown>) -> Result<(), Box<Reply>> {
    let Some(authorizer) = &holder.context().authorizer else { return Ok(()) };
    let resource = route::resource(path);
    let Some(at) = resource.as_ref().ok().and_then(route::Resource::stream) else { return Ok(()) };
    let token = shown.map(Shown::token);
    let permitted = authorizer.play(holder.address, at.app, at.stream, token, &holder.span.parent()).await;
    permitted.map_err(|denied| Box::new(refusal(denied)))
}

/// Which streams' names whoever asks may be told, or why none.
pub(super) fn listing(
    context: &Context,
    address: IpAddr,
    shown: Option<&Shown>,
) -> Result<Listing, Box<Reply>> {
    let Some(authorizer) = &context.authorizer else { return Ok(Listing::EVERYTHING) };
    authorizer.listing(address, shown.map(Shown::token)).map_err(|denied| Box::new(refusal(denied)))
}

/// Not cached: it depends on more than the URL, on the time at least.
fn refusal(denied: Denied) -> Reply {
    match denied {
        Denied::TokenMissing => {
            let words = "a token is needed: ?token=TOKEN, /t/TOKEN/ in front of the path, or Authorization: Bearer TOKEN\n";
            Reply::error(StatusCode::UNAUTHORIZED, NO_STORE, words)
                .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
        }
        Denied::TokenExpired => Reply::error(StatusCode::FORBIDDEN, NO_STORE, "the token has expired\n"),
        Denied::TokenWrong => {
            Reply::error(StatusCode::FORBIDDEN, NO_STORE, "the token is wrong for this stream\n")
        }
        Denied::HookFailed => Reply::unavailable("permission could not be asked for\n"),
        _ => Reply::error(StatusCode::FORBIDDEN, NO_STORE, "refused\n"),
    }
}

/// What was answered because of something that a cache's key may not hold is for the one who showed it alone.
pub(super) fn keep_private(context: &Context, shown: Option<&Shown>, reply: &mut Reply) {
    let is_checked = context.authorizer.as_ref().is_some_and(|authorizer| authorizer.checks_players());
    if !is_checked || shown.is_none_or(|shown| shown.place == Place::Path) {
        return;
    }
    let private = reply
        .headers
        .get(header::CACHE_CONTROL)
        .and_then(|value| HeaderValue::try_from(value.to_str().ok()?.replace("public", "private")).ok());
    reply.headers.insert(header::CACHE_CONTROL, private.unwrap_or(NO_STORE));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, expected) in [
            ("/t/a.b/live/cam/index.m3u8", ("/live/cam/index.m3u8", Some("a.b"))),
            ("/t//live/cam.flv", ("/live/cam.flv", Some(""))),
            ("/t/a.b", ("/t", Some("a.b"))),
            ("/t/", ("/t", Some(""))),
            ("/t", ("/t", None)),
            ("/t/a/t/b/live/cam.flv", ("/t/b/live/cam.flv", Some("a"))),
            ("/tt/a/live/cam.flv", ("/tt/a/live/cam.flv", None)),
            ("/live/t/cam.flv", ("/live/t/cam.flv", None)),
        ] {
            assert_eq!(split(path), expected, "{path}");
        }
    }

    #[test]
    fn a_query_s_token_moves_in_front() {
        let master = Some(Document::TsMultivariant);
        for (path, query, document, token, place, expected) in [
            (
                "/live/cam/index.m3u8",
                "token=a.b",
                master,
                "a.b",
                Place::Query,
                Some("/t/a.b/live/cam/index.m3u8"),
            ),
            (
                "/live/cam.m3u8",
                "x=1&token=a.b&y=2",
                master,
                "a.b",
                Place::Query,
                Some("/t/a.b/live/cam.m3u8?x=1&y=2"),
            ),
            ("/live/cam/ts/media.m3u8", "token=a.b", Some(Document::TsMedia), "a.b", Place::Query, None),
            ("/live/cam.flv", "token=a.b", None, "a.b", Place::Query, None),
            ("/live/cam/index.m3u8", "", master, "a.b", Place::Path, None),
            ("/live/cam/index.m3u8", "", master, "a.b", Place::Header, None),
            ("/live/cam/index.m3u8", "token=..", master, "..", Place::Query, None),
            ("/live/cam/index.m3u8", "token=/evil.example", master, "/evil.example", Place::Query, None),
            ("/live/cam/index.m3u8", "token=a%0d", master, "a%0d", Place::Query, None),
        ] {
            let shown = Shown { token: token.to_owned(), place };
            let reply = moved(path, Some(query), document, Some(&shown));
            let location = reply.as_ref().map(|reply| reply.headers[header::LOCATION].to_str().unwrap());
            assert_eq!(location, expected, "{path}?{query}");
        }
    }
}

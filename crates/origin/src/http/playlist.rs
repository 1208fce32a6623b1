//! Playlists: the newest version, or the first one when the stream is about to have it.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use headwater_manifest::hls::CONTENT_TYPE;
use headwater_packager::{Snapshot, State};

use super::hold::{self, Held, Holder};
use super::response::Reply;
use crate::published::{Body, Published};
use crate::registry::Stream;

/// Which of a stream's playlists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The variants.
    Multivariant,
    /// The segments.
    Media,
}

/// Answers with a playlist; waits for the first one while the stream is starting.
pub(super) async fn playlist(holder: &Holder<'_>, stream: &Stream, kind: Kind, gzip: bool) -> Reply {
    let published = match hold::until(holder, stream, holder.hold_timeout, |s| {
        s.is_playable() || s.state != State::Starting
    })
    .await
    {
        Held::Version(published) => published,
        Held::TimedOut => return Reply::not_found("the stream has not sent enough media yet\n"),
        Held::Refused => return Reply::unavailable("too many requests are waiting\n"),
        Held::Draining => return Reply::unavailable("the server is shutting down\n"),
    };
    let body = match kind {
        Kind::Multivariant => published.multivariant_playlist(),
        Kind::Media => published.media_playlist(),
    };
    match body {
        Some(body) => complete(&published, body, gzip),
        None => Reply::not_found("the stream has no media\n"),
    }
}

fn complete(published: &Published, body: &Body, gzip: bool) -> Reply {
    let (bytes, etag): (&Bytes, String) =
        if gzip { (body.gzip(), body.gzip_etag()) } else { (body.plain(), body.etag()) };
    let cache_control = cache_control(&published.snapshot);
    let mut reply =
        Reply::new(StatusCode::OK, HeaderValue::from_static(CONTENT_TYPE), cache_control, bytes.clone())
            .with(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        reply = reply.with(header::ETAG, etag);
    }
    if gzip {
        reply = reply.with(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    reply
}

/// Half a target duration (8216bis B.1), and 2 s once it has ended: the same URL goes on when the publisher returns (hls.md 9.4).
fn cache_control(snapshot: &Snapshot) -> HeaderValue {
    let target_duration = snapshot.ts.as_ref().map_or(0, |ts| ts.target_duration);
    let seconds = if snapshot.state == State::Ended { 2 } else { (target_duration / 2).max(1) };
    HeaderValue::try_from(format!("public, max-age={seconds}")).unwrap_or(super::response::SHORT)
}

//! Playlists and MPDs: the newest version, or the first one when the stream is about to have it.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use headwater_manifest::{dash, hls};
use headwater_packager::{Cmaf, Snapshot, State};

use super::hold::{self, Held, Holder};
use super::response::Reply;
use crate::published::{Body, Document, Published};
use crate::registry::Stream;

/// Answers with a playlist or an MPD; waits for the first one while the stream is starting.
pub(super) async fn document(
    holder: &Holder<'_>,
    stream: &Stream,
    document: Document,
    clock_url: Option<&str>,
    gzip: bool,
) -> Reply {
    let published = match hold::until(holder, stream, holder.hold_timeout, |s| {
        is_playable(s, document) || s.state != State::Starting
    })
    .await
    {
        Held::Version(published) => published,
        Held::TimedOut => return Reply::not_found("the stream has not sent enough media yet\n"),
        Held::Refused => return Reply::unavailable("too many requests are waiting\n"),
        Held::Draining => return Reply::unavailable("the server is shutting down\n"),
    };
    match published.document(document, clock_url) {
        Some(body) => complete(&published, document, &body, gzip),
        None => Reply::not_found("the stream has no media\n"),
    }
}

/// Each packaging has its first segment at its own moment.
fn is_playable(snapshot: &Snapshot, document: Document) -> bool {
    match document {
        Document::TsMultivariant | Document::TsMedia => {
            snapshot.ts.as_ref().is_some_and(|ts| !ts.listed.is_empty())
        }
        Document::CmafMultivariant | Document::CmafMedia(_) | Document::Mpd => {
            snapshot.cmaf.as_ref().is_some_and(Cmaf::is_playable)
        }
    }
}

fn complete(published: &Published, document: Document, body: &Body, gzip: bool) -> Reply {
    let content_type = if document == Document::Mpd { dash::CONTENT_TYPE } else { hls::CONTENT_TYPE };
    let (bytes, etag): (&Bytes, String) =
        if gzip { (body.gzip(), body.gzip_etag()) } else { (body.plain(), body.etag()) };
    let cache_control = cache_control(&published.snapshot);
    let mut reply =
        Reply::new(StatusCode::OK, HeaderValue::from_static(content_type), cache_control, bytes.clone())
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
    let target_duration = snapshot.target_duration().unwrap_or(0);
    let seconds = if snapshot.state == State::Ended { 2 } else { (target_duration / 2).max(1) };
    HeaderValue::try_from(format!("public, max-age={seconds}")).unwrap_or(super::response::SHORT)
}

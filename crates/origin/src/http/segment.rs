//! Segments: immutable under their number, whole or one range of them.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use headwater_packager::{Snapshot, State, TsSegment};

use super::hold::{self, Held, Holder};
use super::response::{GONE, Reply};
use crate::registry::Stream;

/// A name that never means other bytes may be kept for as long as anybody plays this stream back (RFC 8246).
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=3600, immutable");

/// What a snapshot knows about a number.
enum Place {
    /// Here it is.
    Here(Arc<TsSegment>),
    /// Older than everything kept.
    Gone,
    /// The next one, in production; the target duration bounds the wait for it.
    Next(Duration),
    /// Nothing says that it will ever exist.
    Unknown,
}

/// Answers with segment `sequence`. The next one after the newest is waited for, one target duration at most
/// (http-origin 7): a cache that runs ahead of the playlist gets it without having stored a 404.
pub(super) async fn segment(holder: &Holder<'_>, stream: &Stream, sequence: u64) -> Reply {
    let mut place = place(&stream.current().snapshot, sequence);
    if let Place::Next(limit) = place {
        let enough = |snapshot: &Snapshot| !matches!(self::place(snapshot, sequence), Place::Next(_));
        place = match hold::until(holder, stream, limit, enough).await {
            Held::Version(published) => self::place(&published.snapshot, sequence),
            Held::TimedOut => Place::Unknown,
            Held::Refused => return Reply::unavailable("too many requests are waiting\n"),
            Held::Draining => return Reply::unavailable("the server is shutting down\n"),
        };
    }
    match place {
        Place::Here(segment) => complete(&segment),
        Place::Gone => Reply::error(StatusCode::NOT_FOUND, GONE, "the segment is no longer kept\n"),
        Place::Next(_) | Place::Unknown => Reply::not_found("no such segment\n"),
    }
}

fn place(snapshot: &Snapshot, sequence: u64) -> Place {
    let Some(ts) = &snapshot.ts else { return Place::Unknown };
    if let Some(segment) = ts.segment(sequence) {
        return Place::Here(Arc::clone(segment));
    }
    let oldest = ts.retained.first().or(ts.listed.first()).map(|segment| segment.sequence);
    if oldest.is_some_and(|oldest| sequence < oldest) {
        return Place::Gone;
    }
    let next = ts.last_sequence().and_then(|last| last.checked_add(1));
    if next == Some(sequence) && snapshot.state == State::Live {
        return Place::Next(Duration::from_secs(u64::from(ts.target_duration)));
    }
    Place::Unknown
}

fn complete(segment: &TsSegment) -> Reply {
    let reply = Reply::new(
        StatusCode::OK,
        HeaderValue::from_static("video/mp2t"),
        IMMUTABLE,
        segment.payload.clone(),
    )
    .with(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    match HeaderValue::try_from(etag(segment)) {
        Ok(etag) => reply.with(header::ETAG, etag),
        Err(_) => reply,
    }
}

/// The name already means these bytes; wall clock and length tell apart what only a broken clock could have given one name.
fn etag(segment: &TsSegment) -> String {
    let wall_ms = segment.program_date_time.unix_millis();
    format!("\"{}-{wall_ms:x}-{:x}\"", segment.sequence, segment.payload.len())
}

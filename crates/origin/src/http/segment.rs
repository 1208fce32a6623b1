//! Segments: immutable under their number, whole or one range of them.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use headwater_media::TrackKind;
use headwater_packager::{Segment, Snapshot, State};

use super::hold::{self, Held, Holder};
use super::response::{GONE, Reply};
use super::route::Rendition;
use crate::registry::Stream;

/// A name that never means other bytes may be kept for as long as anybody plays this stream back (RFC 8246).
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=3600, immutable");

/// An initialization segment is named by its content (http-origin 2).
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// What a snapshot knows about a number.
enum Place {
    /// Here it is.
    Here(Whole),
    /// Older than everything kept.
    Gone,
    /// The next one, in production; the target duration bounds the wait for it.
    Next(Duration),
    /// Nothing says that it will ever exist.
    Unknown,
}

/// A complete segment of any packaging.
struct Whole {
    content_type: HeaderValue,
    /// The name already means these bytes; wall clock and length tell apart what only a broken clock could have given one name.
    etag: String,
    payload: Bytes,
}

/// Answers with segment `sequence`. The next one after the newest is waited for, one target duration at most
/// (http-origin 7): a cache that runs ahead of the playlist gets it without having stored a 404.
pub(super) async fn segment(
    holder: &Holder<'_>,
    stream: &Stream,
    rendition: Rendition,
    sequence: u64,
) -> Reply {
    let mut place = place(&stream.current().snapshot, rendition, sequence);
    if let Place::Next(limit) = place {
        let enough =
            |snapshot: &Snapshot| !matches!(self::place(snapshot, rendition, sequence), Place::Next(_));
        place = match hold::until(holder, stream, limit, enough).await {
            Held::Version(published) => self::place(&published.snapshot, rendition, sequence),
            Held::TimedOut => Place::Unknown,
            Held::Refused => return Reply::unavailable("too many requests are waiting\n"),
            Held::Draining => return Reply::unavailable("the server is shutting down\n"),
        };
    }
    match place {
        Place::Here(whole) => complete(whole, IMMUTABLE),
        Place::Gone => Reply::error(StatusCode::NOT_FOUND, GONE, "the segment is no longer kept\n"),
        Place::Next(_) | Place::Unknown => Reply::not_found("no such segment\n"),
    }
}

/// Answers with the initialization segment of that hash, while any segment that needs it can be fetched.
pub(super) fn init(stream: &Stream, kind: TrackKind, hash: &str) -> Reply {
    let current = stream.current();
    let inits = current.snapshot.cmaf.iter().flat_map(|cmaf| &cmaf.inits);
    match inits.into_iter().find(|init| init.name_hash == hash) {
        Some(init) => {
            let content_type = HeaderValue::from_static(match kind {
                TrackKind::Video => "video/mp4",
                TrackKind::Audio => "audio/mp4",
            });
            let etag = format!("\"{hash}\"");
            complete(Whole { content_type, etag, payload: init.bytes.clone() }, FOREVER)
        }
        None => Reply::not_found("no such initialization segment\n"),
    }
}

fn place(snapshot: &Snapshot, rendition: Rendition, sequence: u64) -> Place {
    let is_live = snapshot.state == State::Live;
    match rendition {
        Rendition::Ts => place_in(snapshot.ts.as_ref(), sequence, is_live, |segment| Whole {
            content_type: HeaderValue::from_static("video/mp2t"),
            etag: etag(segment),
            payload: segment.payload.clone(),
        }),
        Rendition::Cmaf(kind) => {
            let rendition = snapshot.cmaf.as_ref().and_then(|cmaf| cmaf.rendition(kind));
            place_in(rendition, sequence, is_live, |segment| Whole {
                content_type: HeaderValue::from_static("video/iso.segment"),
                etag: etag(segment),
                payload: segment.payload(),
            })
        }
    }
}

fn place_in<S: Segment>(
    rendition: Option<&headwater_packager::Rendition<S>>,
    sequence: u64,
    is_live: bool,
    whole: impl Fn(&S) -> Whole,
) -> Place {
    let Some(rendition) = rendition else { return Place::Unknown };
    if let Some(segment) = rendition.segment(sequence) {
        return Place::Here(whole(segment));
    }
    let oldest = rendition.retained.first().or(rendition.listed.first()).map(|segment| segment.sequence());
    if oldest.is_some_and(|oldest| sequence < oldest) {
        return Place::Gone;
    }
    let next = rendition.last_sequence().and_then(|last| last.checked_add(1));
    if next == Some(sequence) && is_live {
        return Place::Next(Duration::from_secs(u64::from(rendition.target_duration)));
    }
    Place::Unknown
}

fn complete(whole: Whole, cache_control: HeaderValue) -> Reply {
    let Whole { content_type, etag, payload } = whole;
    let reply = Reply::new(StatusCode::OK, content_type, cache_control, payload)
        .with(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    match HeaderValue::try_from(etag) {
        Ok(etag) => reply.with(header::ETAG, etag),
        Err(_) => reply,
    }
}

fn etag<S: Segment>(segment: &S) -> String {
    let wall_ms = segment.program_date_time().unix_millis();
    format!("\"{}-{wall_ms:x}-{:x}\"", segment.sequence(), segment.size_bytes())
}

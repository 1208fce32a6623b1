//! Segments and their parts: immutable under their number, whole or one range of them; and the CMAF segment under construction.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use headwater_media::{TrackKind, WallTime};
use headwater_packager::{Segment, Snapshot, State};

use super::hold::{Awaited, Held, Step};
use super::payload::Payload;
use super::production::Production;
use super::response::{GONE, Reply, SHORT};
use super::route::Rendition;
use crate::registry::Stream;

/// A name that never means other bytes may be kept for as long as anybody plays this stream back (RFC 8246).
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=3600, immutable");

/// A CMAF segment, and a part of one.
const CMAF: HeaderValue = HeaderValue::from_static("video/iso.segment");

/// An initialization segment is named by its content (http-origin 2).
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// A hinted part is waited for so many target durations (8216bis 6.2.6).
const TARGET_DURATIONS_HELD: u32 = 3;

/// A player that counts segments by the clock is so many of them ahead at most: what a publisher that is waited for misses.
const SEGMENTS_AHEAD_MAX: u64 = 32;

/// So long the next segment of a publisher that is away is waited for, unless the stream ends before. Players of low-latency DASH go
/// on asking for it: dash.js 5.2.1 and shaka 5.2.12 give up after some 404s in a row, and wait for what does not come.
const AWAY: Duration = Duration::from_secs(60);

/// What a snapshot knows about a number.
enum Place {
    /// Here it is.
    Here(Whole),
    /// It is under construction, and some of it is here.
    Growing,
    /// Older than everything kept.
    Gone,
    /// The next one, in production; the target duration bounds the wait for it.
    Next(Duration),
    /// Nothing says that it will ever exist.
    Unknown,
}

impl Place {
    /// How long it is waited for, if it is.
    fn limit(&self) -> Option<Duration> {
        match self {
            Place::Next(limit) => Some(*limit),
            _ => None,
        }
    }
}

/// A complete segment of any packaging.
struct Whole {
    content_type: HeaderValue,
    /// The name already means these bytes; wall clock and length tell apart what only a broken clock could have given one name.
    etag: Option<HeaderValue>,
    payload: Payload,
}

/// Segment `sequence`. The next one after the newest is waited for, one target duration at most (http-origin 7): a cache that runs
/// ahead of the playlist gets it without having stored a 404.
pub(super) fn segment(stream: &Stream, rendition: Rendition, sequence: u64) -> Step {
    let place = place(&stream.current().snapshot, rendition, sequence);
    match place.limit() {
        Some(limit) => Step::wait(Awaited::Segment(rendition, sequence), limit),
        None => at(stream, place, rendition, sequence).into(),
    }
}

/// Answers with the segment that was waited for.
pub(super) fn awaited(stream: &Stream, rendition: Rendition, sequence: u64, held: Held) -> Reply {
    let place = match held {
        Held::Version(published) => place(&published.snapshot, rendition, sequence),
        Held::TimedOut => Place::Unknown,
        Held::Refused => return Reply::unavailable("too many requests are waiting\n"),
        Held::Draining => return Reply::unavailable("the server is shutting down\n"),
    };
    at(stream, place, rendition, sequence)
}

fn at(stream: &Stream, place: Place, rendition: Rendition, sequence: u64) -> Reply {
    match (place, rendition) {
        (Place::Here(whole), _) => {
            Reply { lease: Some(stream.lease(sequence)), ..complete(whole, IMMUTABLE) }
        }
        (Place::Growing, Rendition::Cmaf(kind)) => Reply {
            lease: Some(stream.lease(sequence)),
            ..Reply::new(
                StatusCode::OK,
                CMAF,
                IMMUTABLE,
                Payload::live(Production::new(stream, kind, sequence)).bounded(),
            )
        },
        (Place::Gone, _) => Reply::error(StatusCode::NOT_FOUND, GONE, "the segment is no longer kept\n"),
        (Place::Next(_) | Place::Unknown | Place::Growing, _) => Reply::not_found("no such segment\n"),
    }
}

/// Whether it may be waited for.
pub(super) fn is_next(snapshot: &Snapshot, rendition: Rendition, sequence: u64) -> bool {
    place(snapshot, rendition, sequence).limit().is_some()
}

/// Part `part` of CMAF segment `sequence`. The part that a playlist hints at is waited for; nothing is sent before it is whole
/// (8216bis 6.2.6).
pub(super) fn part(stream: &Stream, kind: TrackKind, sequence: u64, part: u32) -> Step {
    let place = place_of_part(&stream.current().snapshot, kind, sequence, part);
    match place.limit() {
        Some(limit) => Step::wait(Awaited::Part(kind, sequence, part), limit),
        None => part_at(stream, place, sequence).into(),
    }
}

/// Answers with the part that was waited for.
pub(super) fn awaited_part(stream: &Stream, kind: TrackKind, sequence: u64, part: u32, held: Held) -> Reply {
    let place = match held {
        Held::Version(published) => place_of_part(&published.snapshot, kind, sequence, part),
        Held::TimedOut => Place::Unknown,
        Held::Refused => return Reply::unavailable("too many requests are waiting\n"),
        Held::Draining => return Reply::unavailable("the server is shutting down\n"),
    };
    part_at(stream, place, sequence)
}

fn part_at(stream: &Stream, place: Place, sequence: u64) -> Reply {
    match place {
        Place::Here(whole) => Reply { lease: Some(stream.lease(sequence)), ..complete(whole, IMMUTABLE) },
        Place::Gone => Reply::error(StatusCode::NOT_FOUND, GONE, "the part is no longer kept\n"),
        Place::Next(_) | Place::Unknown | Place::Growing => Reply::not_found("no such part\n"),
    }
}

/// Whether it may be waited for.
pub(super) fn is_next_part(snapshot: &Snapshot, kind: TrackKind, sequence: u64, part: u32) -> bool {
    place_of_part(snapshot, kind, sequence, part).limit().is_some()
}

fn place_of_part(snapshot: &Snapshot, kind: TrackKind, sequence: u64, part: u32) -> Place {
    let Some(rendition) = snapshot.cmaf.as_ref().and_then(|cmaf| cmaf.rendition(kind)) else {
        return Place::Unknown;
    };
    let index = usize::try_from(part).unwrap_or(usize::MAX);
    let found = rendition.parts(sequence).and_then(|parts| parts.get(index));
    if let Some(found) = found {
        let edge = rendition.edge.as_ref().filter(|edge| edge.sequence == sequence);
        let date = edge.map(|edge| edge.program_date_time);
        let date = date.or_else(|| rendition.segment(sequence).map(|segment| segment.program_date_time));
        let wall_ms = date.map_or(0, WallTime::unix_millis);
        let payload = found.payload.clone();
        let etag =
            HeaderValue::try_from(format!("\"{sequence}.{part}-{wall_ms:x}-{:x}\"", payload.len())).ok();
        return Place::Here(Whole { content_type: CMAF, etag, payload: payload.into() });
    }
    if is_gone(rendition, sequence) {
        return Place::Gone;
    }
    // Also while the publisher is away: the playlist hints at what comes when it returns.
    let may_come = snapshot.cmaf.as_ref().is_some_and(|cmaf| cmaf.part_target.is_some())
        && matches!(snapshot.state, State::Live | State::Waiting);
    if may_come && rendition.next_part() == Some((sequence, part)) {
        let target_duration = Duration::from_secs(u64::from(rendition.target_duration));
        return Place::Next(target_duration * TARGET_DURATIONS_HELD);
    }
    Place::Unknown
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
            let etag = HeaderValue::try_from(format!("\"{hash}\"")).ok();
            complete(Whole { content_type, etag, payload: init.bytes.clone().into() }, FOREVER)
        }
        None => Reply::not_found("no such initialization segment\n"),
    }
}

/// Answers with the newest keyframe as a file of its own, a copy: it holds no segment. The next keyframe has the same name.
pub(super) fn poster(stream: &Stream) -> Reply {
    match stream.current().poster() {
        Some(body) => {
            let content_type = HeaderValue::from_static("video/mp4");
            let payload = body.plain().clone().into();
            complete(Whole { content_type, etag: Some(body.etag().clone()), payload }, SHORT)
        }
        None => Reply::not_found("the stream has no picture\n"),
    }
}

fn place(snapshot: &Snapshot, rendition: Rendition, sequence: u64) -> Place {
    let is_live = snapshot.state == State::Live;
    match rendition {
        Rendition::Ts => place_in(snapshot.ts.as_deref(), sequence, is_live, |segment| Whole {
            content_type: HeaderValue::from_static("video/mp2t"),
            etag: etag(segment),
            payload: segment.payload.clone().into(),
        }),
        Rendition::Cmaf(kind) => {
            let rendition = snapshot.cmaf.as_ref().and_then(|cmaf| cmaf.rendition(kind));
            let edge = rendition.and_then(|rendition| rendition.edge.as_ref());
            if edge.is_some_and(|edge| edge.sequence == sequence && !edge.parts.is_empty()) {
                return Place::Growing;
            }
            // Players of low-latency DASH ask by the clock: a moment early, and on and on while the publisher is away.
            let ahead = rendition.and_then(|rendition| sequence.checked_sub(rendition.last_sequence()?));
            if ahead.is_some_and(|ahead| (1..=SEGMENTS_AHEAD_MAX).contains(&ahead)) {
                let target_duration = rendition.map_or(0, |rendition| rendition.target_duration);
                match snapshot.state {
                    State::Live => return Place::Next(Duration::from_secs(u64::from(target_duration))),
                    State::Waiting => return Place::Next(AWAY),
                    State::Starting | State::Ended => {}
                }
            }
            place_in(rendition.map(|rendition| &*rendition.window), sequence, is_live, |segment| Whole {
                content_type: CMAF,
                etag: etag(segment),
                payload: Payload::chunks(segment.parts.iter().map(|part| part.payload.clone())),
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
    if is_gone(rendition, sequence) {
        return Place::Gone;
    }
    let next = rendition.last_sequence().and_then(|last| last.checked_add(1));
    if next == Some(sequence) && is_live {
        return Place::Next(Duration::from_secs(u64::from(rendition.target_duration)));
    }
    Place::Unknown
}

/// Whether the number is older than everything that is kept.
fn is_gone<S: Segment>(rendition: &headwater_packager::Rendition<S>, sequence: u64) -> bool {
    let oldest = rendition.retained.first().or(rendition.listed.first()).map(|segment| segment.sequence());
    oldest.is_some_and(|oldest| sequence < oldest)
}

fn complete(whole: Whole, cache_control: HeaderValue) -> Reply {
    let Whole { content_type, etag, payload } = whole;
    let reply = Reply::new(StatusCode::OK, content_type, cache_control, payload)
        .with(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    match etag {
        Some(etag) => reply.with(header::ETAG, etag),
        None => reply,
    }
}

fn etag<S: Segment>(segment: &S) -> Option<HeaderValue> {
    let wall_ms = segment.program_date_time().unix_millis();
    HeaderValue::try_from(format!("\"{}-{wall_ms:x}-{:x}\"", segment.sequence(), segment.size_bytes())).ok()
}

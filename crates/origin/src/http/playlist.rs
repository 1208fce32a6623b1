//! Playlists and MPDs: the newest version, the first one when the stream is about to have it, or the one that a Low-Latency HLS
//! client waits for.

use std::sync::LazyLock;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;

use headwater_manifest::{dash, hls};
use headwater_media::TrackKind;
use headwater_packager::{Cadence, Cmaf, Period, Snapshot, State};

use super::answer::Asked;
use super::directives::{Directives, Wanted};
use super::hold::{Awaited, Held, Step};
use super::response::{NO_STORE, Reply, SHORT};
use crate::published::{Document, Published};
use crate::registry::Stream;

/// A blocking request is answered within so many target durations (8216bis 6.2.5.2).
const TARGET_DURATIONS_HELD: u32 = 3;

/// A version that a client waited for is named by its URL, so a cache may keep it for so many target durations (8216bis B.1).
const TARGET_DURATIONS_KEPT: u32 = 6;

/// Values of Cache-Control that are there already, by their seconds: six target durations of 10 s and some.
const SECONDS_KEPT: u32 = 64;

/// A playlist or an MPD; the first one is waited for while media flows that it is about to list. A stream is live with its first
/// segment of any packaging, and CMAF's first one is complete a few frames of audio later than MPEG-TS's.
pub(super) fn document(document: Document, timeout: Duration) -> Step {
    Step::wait(Awaited::Playable(document), timeout)
}

/// Answers with the document that was waited for, or goes on to the version that a client of Low-Latency HLS wants.
pub(super) fn playable(document: Document, held: Held, asked: &Asked, timeout: Duration) -> Step {
    let published = match held {
        Held::Version(published) => published,
        Held::TimedOut => return Reply::not_found("the stream has not sent enough media yet\n").into(),
        Held::Refused => return Reply::unavailable("too many requests are waiting\n").into(),
        Held::Draining => return Reply::unavailable("the server is shutting down\n").into(),
    };
    if let Document::CmafMedia(kind) = document
        && let Some(now) = LowLatency::of(&published.snapshot, kind)
    {
        return now.step(&published.snapshot, kind, &asked.directives, timeout);
    }
    let reply = match published.document(document, asked.clock_url.as_deref()) {
        Some(body) => {
            let cache_control = cache_control(&published.snapshot);
            let content_type = match document {
                Document::Mpd | Document::LowLatencyMpd => dash::CONTENT_TYPE,
                _ => hls::CONTENT_TYPE,
            };
            Reply::coded(&body, asked.gzip, content_type, cache_control)
        }
        None if document == Document::LowLatencyMpd && published.snapshot.is_irregular() => Reply::not_found(
            "keyframes come at irregular intervals, so segments can't be numbered by time; play manifest.mpd, or set the \
             encoder's keyframe interval\n",
        ),
        None => Reply::not_found("the stream has no media\n"),
    };
    reply.into()
}

/// What the answer to a client of Low-Latency HLS depends on.
struct LowLatency<'a> {
    rendition: &'a headwater_packager::CmafRendition,
    part_target: Duration,
    target_duration: Duration,
}

impl LowLatency<'_> {
    fn of(snapshot: &Snapshot, kind: TrackKind) -> Option<LowLatency<'_>> {
        let cmaf = snapshot.cmaf.as_ref()?;
        let rendition = cmaf.rendition(kind)?;
        let target_duration = Duration::from_secs(u64::from(rendition.target_duration));
        Some(LowLatency { rendition, part_target: cmaf.part_target?, target_duration })
    }

    /// What is waited for.
    fn step(&self, snapshot: &Snapshot, kind: TrackKind, directives: &Directives, timeout: Duration) -> Step {
        let Some(wanted) = directives.wanted.filter(|_| snapshot.state != State::Ended) else {
            return Step::wait(Awaited::Turn(kind), timeout);
        };
        if wanted.is_too_far(self.rendition, self.part_target) {
            let words = "_HLS_msn and _HLS_part are too far ahead of the live edge\n";
            return Reply::error(StatusCode::BAD_REQUEST, SHORT, words).into();
        }
        Step::wait(Awaited::Version(kind, wanted), self.target_duration * TARGET_DURATIONS_HELD)
    }
}

/// 8216bis 6.2.5.2, row by row: the answer to what was waited for.
pub(super) fn low_latency(stream: &Stream, awaited: Awaited, held: Held, asked: &Asked) -> Reply {
    let (kind, is_named) = match awaited {
        Awaited::Version(kind, _) => (kind, true),
        Awaited::Turn(kind) => (kind, false),
        _ => return Reply::not_found("no media\n"),
    };
    // Of what has ended, what is left is whole.
    let document = |snapshot: &Snapshot| match asked.directives.skip && snapshot.state != State::Ended {
        true => Document::CmafDelta(kind),
        false => Document::CmafMedia(kind),
    };
    match held {
        Held::Version(published) => {
            let snapshot = &published.snapshot;
            let kept = if is_named {
                cache_control_for_version(snapshot)
            } else {
                cache_control_for_tune_in(snapshot)
            };
            version(&published, document(snapshot), kept, asked.gzip)
        }
        Held::TimedOut => Reply::unavailable("what was asked for has not come\n"),
        // The newest version is as good as none at all to a player, and better than an error; not to a cache.
        Held::Refused => {
            let current = stream.current();
            version(&current, document(&current.snapshot), NO_STORE, asked.gzip)
        }
        Held::Draining => Reply::unavailable("the server is shutting down\n"),
    }
}

/// Whether a version has what a client of Low-Latency HLS named, or something after it, or nothing is to come.
pub(super) fn satisfies(snapshot: &Snapshot, kind: TrackKind, wanted: Wanted) -> bool {
    let cmaf = snapshot.cmaf.as_ref();
    let rendition = cmaf.and_then(|cmaf| cmaf.rendition(kind));
    snapshot.state == State::Ended || rendition.is_none_or(|rendition| wanted.is_in(rendition))
}

fn version(published: &Published, document: Document, cache_control: HeaderValue, gzip: bool) -> Reply {
    match published.document(document, None) {
        Some(body) => Reply::coded(&body, gzip, hls::CONTENT_TYPE, cache_control),
        None => Reply::not_found("the stream has no media\n"),
    }
}

/// Whether a document can be played, or none is to come that could be.
pub(super) fn is_settled(snapshot: &Snapshot, document: Document) -> bool {
    is_playable(snapshot, document) || !matches!(snapshot.state, State::Starting | State::Live)
}

/// Each packaging has its first segment at its own moment; one that is switched off is not waited for.
fn is_playable(snapshot: &Snapshot, document: Document) -> bool {
    match document {
        Document::TsMultivariant | Document::TsMedia => {
            snapshot.ts.as_ref().is_none_or(|ts| !ts.listed.is_empty())
        }
        Document::CmafMedia(_) | Document::CmafDelta(_) => {
            snapshot.cmaf.as_ref().is_none_or(|cmaf| cmaf.is_playable() && !cmaf.begins_too_short())
        }
        Document::CmafMultivariant | Document::Mpd => snapshot.cmaf.as_ref().is_none_or(Cmaf::is_playable),
        // What another Period is cut like is known with its first segment.
        Document::LowLatencyMpd => snapshot.cmaf.as_ref().is_none_or(|cmaf| {
            let is_unknown = |period: &Period| period.cadence == Cadence::Unknown;
            cmaf.is_playable() && !cmaf.periods.last().is_some_and(is_unknown)
        }),
    }
}

/// Half a target duration (8216bis B.1), and 2 s once it has ended: the same URL goes on when the publisher returns (hls.md 9.4).
fn cache_control(snapshot: &Snapshot) -> HeaderValue {
    let target_duration = snapshot.target_duration().unwrap_or(0);
    seconds(if snapshot.state == State::Ended { 2 } else { (target_duration / 2).max(1) })
}

/// A client's first request, which names no version: it is to be as new as a cache can have it.
fn cache_control_for_tune_in(snapshot: &Snapshot) -> HeaderValue {
    if snapshot.state == State::Ended { cache_control(snapshot) } else { SHORT }
}

/// A version that the URL names; what has ended meanwhile may go on under the same names of numbers.
fn cache_control_for_version(snapshot: &Snapshot) -> HeaderValue {
    match snapshot.state {
        State::Ended => cache_control(snapshot),
        _ => seconds(snapshot.target_duration().unwrap_or(1).saturating_mul(TARGET_DURATIONS_KEPT)),
    }
}

fn seconds(seconds: u32) -> HeaderValue {
    // A crowd is answered with the same one, thousands at a time.
    static KEPT: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| (0..SECONDS_KEPT).map(max_age).collect());
    usize::try_from(seconds)
        .ok()
        .and_then(|index| KEPT.get(index).cloned())
        .unwrap_or_else(|| max_age(seconds))
}

fn max_age(seconds: u32) -> HeaderValue {
    HeaderValue::try_from(format!("public, max-age={seconds}")).unwrap_or(SHORT)
}

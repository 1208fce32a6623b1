//! A publication as operators trace it: `rtmp publish` until it is accepted or refused, what that took below it, and `rtmp publication`,
//! which is told when it ends. Both are in one trace, so that a publication can be seen to begin before it is over.

use std::net::SocketAddr;
use std::time::SystemTime;

use opentelemetry::trace::SpanKind;

use super::connection::Ended;
use crate::auth::Denied;
use crate::registry::Busy;
use crate::telemetry::{Parent, Span, Telemetry, key};

/// A connection that may become a publication: most that fail to are nobody's concern.
#[derive(Debug)]
pub(super) struct Beginning {
    accepted: SystemTime,
    /// When RTMP's handshake was done.
    established: Option<SystemTime>,
}

impl Beginning {
    /// Now; `None` where nothing is recorded.
    pub(super) fn now(telemetry: &Telemetry) -> Option<Beginning> {
        telemetry.is_on().then(|| Beginning { accepted: SystemTime::now(), established: None })
    }

    /// The handshake is done. Only the first time counts.
    pub(super) fn established(&mut self) {
        self.established.get_or_insert_with(SystemTime::now);
    }
}

/// From the connection's first moment, or now where it has published before.
pub(super) fn publish(
    root: &Parent,
    beginning: Option<Beginning>,
    peer: SocketAddr,
    encoder: &str,
    is_secure: bool,
) -> Span {
    let now = || Beginning { accepted: SystemTime::now(), established: None };
    let Beginning { accepted, established } = beginning.unwrap_or_else(now);
    let mut span = root.span_since("rtmp publish", SpanKind::Server, accepted);
    if !span.is_recording() {
        return span;
    }
    span.set(key::NETWORK_PROTOCOL_NAME, "rtmp");
    span.set(key::CLIENT_ADDRESS, peer.ip().to_canonical().to_string());
    span.set(key::USER_AGENT_ORIGINAL, encoder.to_owned());
    span.set(key::TLS, is_secure);
    if let Some(established) = established {
        span.parent().span_since("handshake", SpanKind::Internal, accepted).end_at(established);
    }
    span
}

/// It is accepted: what lasts as long as the publication.
pub(super) fn accepted(mut publish: Span, app: &str, stream: &str) -> Span {
    let mut publication = publish.parent().span("rtmp publication", SpanKind::Internal);
    for span in [&mut publish, &mut publication] {
        if span.is_recording() {
            span.set(key::APP, app.to_owned());
            span.set(key::STREAM, stream.to_owned());
        }
    }
    publish.end();
    publication
}

/// It is over. A publisher that said so, and a shutdown, are no failures.
pub(super) fn ended(mut publication: Span, ended: &Ended) {
    let failure = match ended {
        Ended::Shutdown | Ended::Played => None,
        Ended::Closed => Some("closed"),
        Ended::Io(_) => Some("connection_failed"),
        Ended::Rtmp(_) => Some("protocol"),
        Ended::WriteStalled => Some("write_stalled"),
        Ended::Dismissed(_) => Some("refused"),
        Ended::Evicted => Some("takeover"),
        Ended::Kicked => Some("disconnected"),
    };
    if let Some(failure) = failure {
        publication.fail(failure);
    }
    if publication.is_recording() {
        publication.set(key::ENDED, ended.to_string());
    }
    publication.end();
}

/// The publisher ended it.
pub(super) fn unpublished(mut publication: Span, cause: headwater_rtmp::UnpublishCause) {
    if publication.is_recording() {
        publication.set(key::ENDED, format!("unpublished: {cause:?}"));
    }
    publication.end();
}

/// Why a publisher was not let in, in one word; what it showed as a name may be a mistyped key, so that is not told.
pub(super) fn denied(denied: Denied) -> &'static str {
    match denied {
        Denied::KeyMissing => "key_missing",
        Denied::KeyWrong => "key_wrong",
        Denied::KeyExpired => "key_expired",
        Denied::AppReserved => "app_reserved",
        Denied::NameReserved => "name_reserved",
        Denied::TokenMissing => "token_missing",
        Denied::TokenWrong => "token_wrong",
        Denied::TokenExpired => "token_expired",
        Denied::Address => "address",
        Denied::ByHook => "denied_by_hook",
        Denied::HookFailed => "hook_failed",
    }
}

/// The same where the name can't be had.
pub(super) fn busy(busy: &Busy) -> &'static str {
    match busy {
        Busy::AlreadyPublished(_) => "already_published",
        Busy::TakenOver { .. } => "taken_over",
        Busy::TooManyStreams(_) => "too_many_streams",
    }
}

//! What kinds of things happen, each with its details.

use std::fmt;

use serde::Serialize;

use crate::health::{Rule, Weight};
use crate::reload::Differences;

/// What happened. `kind` and `details` in JSON; its text is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "details", rename_all = "snake_case")]
pub enum Kind {
    /// Somebody began to publish.
    Publish {
        /// Address and port.
        address: String,
        /// What the encoder calls itself.
        encoder: String,
    },
    /// A publisher left.
    Unpublish {
        /// `clean`, `lost`, `takeover` or `server`.
        cause: &'static str,
    },
    /// A newcomer took a stream from its publisher.
    Takeover {
        /// The newcomer's address and port.
        address: String,
        /// Those of the publisher before.
        from: String,
    },
    /// A publisher that was taken over tried to take the stream back too early: two encoders use one name.
    TakeoverConflict {
        /// Who was refused.
        address: String,
        /// Who publishes.
        publisher: String,
    },
    /// A stream can be played, for the first time or again.
    StreamReady {
        /// RFC 6381 strings of its tracks.
        codecs: Vec<String>,
        /// Pixels per row, where there are pictures.
        width: Option<u32>,
        /// Rows.
        height: Option<u32>,
    },
    /// Nothing new comes to a stream.
    StreamIdle {
        /// `waiting` for its publisher, or `ended`.
        state: &'static str,
    },
    /// The media of a stream broke off and goes on otherwise: players meet EXT-X-DISCONTINUITY, or a new Period.
    Discontinuity {
        /// Number of the segment that comes next.
        media_sequence: u64,
        /// EXT-X-DISCONTINUITY-SEQUENCE there.
        discontinuity_sequence: u64,
    },
    /// A stream has other tracks than before, or tracks of another coding.
    CodecChange {
        /// RFC 6381 strings of its tracks.
        codecs: Vec<String>,
        /// Those before.
        before: Vec<String>,
    },
    /// Something about a publication is not as it should be, or is as it should be again.
    Health {
        /// Which rule found it.
        rule: Rule,
        /// How much it matters.
        weight: Weight,
        /// False: it is found no more.
        is_found: bool,
        /// What was found, and what to do.
        finding: String,
    },
    /// A limit kept something out. Told at most once in ten seconds for each limit.
    LimitReached {
        /// The key that sets it.
        limit: &'static str,
        /// How often since it was told last.
        times: u64,
    },
    /// The configuration was read again. Names of keys, never what they are set to.
    ConfigReload(Differences),
}

/// Every kind's name, for who chooses among them.
pub const KINDS: [&str; 11] = [
    "publish",
    "unpublish",
    "takeover",
    "takeover_conflict",
    "stream_ready",
    "stream_idle",
    "discontinuity",
    "codec_change",
    "health",
    "limit_reached",
    "config_reload",
];

impl Kind {
    /// The name, as in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Publish { .. } => "publish",
            Kind::Unpublish { .. } => "unpublish",
            Kind::Takeover { .. } => "takeover",
            Kind::TakeoverConflict { .. } => "takeover_conflict",
            Kind::StreamReady { .. } => "stream_ready",
            Kind::StreamIdle { .. } => "stream_idle",
            Kind::Discontinuity { .. } => "discontinuity",
            Kind::CodecChange { .. } => "codec_change",
            Kind::Health { .. } => "health",
            Kind::LimitReached { .. } => "limit_reached",
            Kind::ConfigReload(_) => "config_reload",
        }
    }

    /// The state that a stream is in from now on, where this says so.
    pub fn stream_state(&self) -> Option<&'static str> {
        match self {
            Kind::StreamReady { .. } => Some("live"),
            Kind::StreamIdle { state } => Some(state),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Publish { address, encoder } => write!(f, "{address} with {encoder:?}"),
            Kind::Unpublish { cause } => f.write_str(match *cause {
                "clean" => "the publisher ended it",
                "lost" => "the publisher was lost",
                "takeover" => "taken over",
                _ => "ended by the server",
            }),
            Kind::Takeover { address, from } => write!(f, "{address} took the stream over from {from}"),
            Kind::TakeoverConflict { address, publisher } => write!(
                f,
                "{address} was taken over by {publisher} and wants the stream back: two encoders use one name"
            ),
            Kind::StreamReady { codecs, width: Some(width), height: Some(height) } => {
                write!(f, "it can be played: {width}x{height}, {}", codecs.join(", "))
            }
            Kind::StreamReady { codecs, .. } => write!(f, "it can be played: {}", codecs.join(", ")),
            Kind::StreamIdle { state: "ended" } => f.write_str("the stream has ended"),
            Kind::StreamIdle { .. } => f.write_str("its publisher is waited for"),
            Kind::Discontinuity { media_sequence, .. } => {
                write!(f, "the media breaks off before segment {media_sequence} and goes on otherwise")
            }
            Kind::CodecChange { codecs, before } => {
                write!(f, "from {} to {}", before.join(", "), codecs.join(", "))
            }
            Kind::Health { is_found: true, finding, .. } => f.write_str(finding),
            Kind::Health { finding, .. } => write!(f, "no longer: {finding}"),
            Kind::LimitReached { limit, times } => write!(f, "{limit} was reached, {times} times"),
            Kind::ConfigReload(differences) => differences.fmt(f),
        }
    }
}

//! Status codes of `onStatus`, `_result` and `_error`, and the reasons a publication can be refused for.

use std::borrow::Cow;

/// `NetConnection.Connect.Success`.
pub const CONNECT_SUCCESS: &str = "NetConnection.Connect.Success";
/// `NetConnection.Connect.Rejected`.
pub const CONNECT_REJECTED: &str = "NetConnection.Connect.Rejected";
/// `NetConnection.Connect.AppShutdown`: the server goes away.
pub const CONNECT_APP_SHUTDOWN: &str = "NetConnection.Connect.AppShutdown";
/// `NetConnection.Call.Failed`.
pub const CALL_FAILED: &str = "NetConnection.Call.Failed";
/// `NetStream.Publish.Start`.
pub const PUBLISH_START: &str = "NetStream.Publish.Start";
/// `NetStream.Publish.BadName`: the name cannot be or is taken.
pub const PUBLISH_BAD_NAME: &str = "NetStream.Publish.BadName";
/// `NetStream.Publish.Denied`: the key is wrong, or a limit is reached.
pub const PUBLISH_DENIED: &str = "NetStream.Publish.Denied";
/// `NetStream.Publish.Rejected`.
pub const PUBLISH_REJECTED: &str = "NetStream.Publish.Rejected";
/// `NetStream.Unpublish.Success`: a publication has ended.
pub const UNPUBLISH_SUCCESS: &str = "NetStream.Unpublish.Success";
/// `NetStream.Play.Reset`.
pub const PLAY_RESET: &str = "NetStream.Play.Reset";
/// `NetStream.Play.Start`.
pub const PLAY_START: &str = "NetStream.Play.Start";
/// `NetStream.Play.UnpublishNotify`: what is played has ended.
pub const PLAY_UNPUBLISH_NOTIFY: &str = "NetStream.Play.UnpublishNotify";
/// `NetStream.Play.StreamNotFound`.
pub const PLAY_STREAM_NOT_FOUND: &str = "NetStream.Play.StreamNotFound";
/// `NetStream.Play.Failed`.
pub const PLAY_FAILED: &str = "NetStream.Play.Failed";
/// `NetStream.Failed`: anything else about a stream.
pub const STREAM_FAILED: &str = "NetStream.Failed";

/// Why a publication is refused. ffmpeg and OBS stop at any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublishError {
    /// The name is not allowed, or taken.
    BadName,
    /// The key is missing or wrong; OBS shows its own text for it.
    Denied,
    /// The server will not take it now: limits, shutdown.
    Rejected,
}

impl PublishError {
    /// The `code` of the `onStatus`.
    pub fn code(self) -> &'static str {
        match self {
            PublishError::BadName => PUBLISH_BAD_NAME,
            PublishError::Denied => PUBLISH_DENIED,
            PublishError::Rejected => PUBLISH_REJECTED,
        }
    }
}

/// Why a play request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlayError {
    /// No such stream.
    StreamNotFound,
    /// Anything else.
    Failed,
}

impl PlayError {
    /// The `code` of the `onStatus`.
    pub fn code(self) -> &'static str {
        match self {
            PlayError::StreamNotFound => PLAY_STREAM_NOT_FOUND,
            PlayError::Failed => PLAY_FAILED,
        }
    }
}

/// The `level` of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// Information.
    Status,
    /// Information that somebody should look at.
    Warning,
    /// An end: ffmpeg stops and prints the description.
    Error,
}

impl Level {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Status => "status",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// The information object of an `onStatus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Level.
    pub level: Level,
    /// One of this module's codes, or another.
    pub code: Cow<'static, str>,
    /// A sentence for the encoder's user; never empty, since ffmpeg prints nothing else.
    pub description: String,
}

impl Status {
    /// A status of level "error".
    pub fn error(code: &'static str, description: impl Into<String>) -> Status {
        Status { level: Level::Error, code: Cow::Borrowed(code), description: description.into() }
    }

    /// A status of level "status".
    pub fn info(code: &'static str, description: impl Into<String>) -> Status {
        Status { level: Level::Status, code: Cow::Borrowed(code), description: description.into() }
    }

    /// The clean end of a publication by the server.
    pub fn unpublished(description: impl Into<String>) -> Status {
        Status::info(UNPUBLISH_SUCCESS, description)
    }
}

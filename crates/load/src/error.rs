//! What ends a load, or is counted while it goes on.

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address is none.
    #[error("{address}: {reason}")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An option does not fit.
    #[error("{0}")]
    Option(String),
    /// The system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// Its answer.
        error: std::io::Error,
    },
    /// The connection broke, or its end came too early.
    #[error("connection: {0}")]
    Connection(#[from] std::io::Error),
    /// No answer within the bound.
    #[error("no answer in time")]
    Timeout,
    /// What came is no HTTP answer that is understood here.
    #[error("not an HTTP answer: {0}")]
    NotHttp(&'static str),
    /// Another status than 200.
    #[error("status {0}")]
    Status(u16),
    /// What came is no playlist, or not the kind that is needed.
    #[error("playlist: {0}")]
    Playlist(String),
    /// Two viewers were given different bytes under one entity tag or URL.
    #[error("bodies differ")]
    BodiesDiffer,
    /// The file is no clip that can be published.
    #[error("{file}: {reason}")]
    Clip {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server did not let us publish.
    #[error("publishing: {0}")]
    Publish(String),
}

impl Error {
    /// A short name to count it under.
    pub fn kind(&self) -> String {
        match self {
            Error::Connection(error) => format!("connection: {}", error.kind()),
            other => other.to_string(),
        }
    }
}

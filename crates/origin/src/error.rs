//! Why the process ends with another status than 0: one line for a person and one number for a script.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::{config, tls};

/// What ends the process early. Its text is one line; [`Error::exit_code`] is documented in `headwater --help`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration can't be used.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The certificate can't be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// Something that says who may publish or play can't be used.
    #[error("{0}")]
    Auth(String),
    /// A listener's address is taken or can't be had.
    #[error("{key} = \"{address}\": {reason}", reason = bind_reason(source))]
    Bind {
        /// The listener's key, e.g. `http.listen`.
        key: &'static str,
        /// The address it asked for.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// A listening socket that the process was given can't be used.
    #[error("{0}")]
    Sockets(String),
    /// The folder for state can't be read or written.
    #[error("state_dir = {path:?}: {source}")]
    StateDir {
        /// The folder, or the file in it.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Anything else, told in one line.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// The process's status: 3 configuration, 4 address, 5 folder for state, 1 anything else.
    /// (2 is the command line's own, 0 a normal end.)
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) | Error::Tls(_) | Error::Auth(_) => 3,
            Error::Bind { .. } | Error::Sockets(_) => 4,
            Error::StateDir { .. } => 5,
            Error::Other(_) => 1,
        }
    }
}

fn bind_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the address is in use by another program; stop it or choose another".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted; ports below 1024 need a privilege".to_owned(),
        _ => error.to_string(),
    }
}

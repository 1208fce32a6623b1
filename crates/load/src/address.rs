//! The two kinds of address that a load is aimed at: `http://HOST[:PORT]/PATH` and `rtmp://HOST[:PORT]/APP/STREAM`.

use std::net::{SocketAddr, ToSocketAddrs as _};

use crate::Error;

/// An address taken apart. There is no TLS: a load is for the machine that is measured, not for what stands before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The host as it was written, with its port if one was.
    pub authority: String,
    /// Path and query, from the first slash on.
    pub path: String,
    socket: SocketAddr,
}

impl Address {
    /// An `http` address.
    ///
    /// # Errors
    /// [`Error::Address`] if it is none, or its host is unknown.
    pub fn http(text: &str) -> Result<Address, Error> {
        Address::parse(text, "http://", 80)
    }

    /// An `rtmp` address.
    ///
    /// # Errors
    /// [`Error::Address`] if it is none, or its host is unknown.
    pub fn rtmp(text: &str) -> Result<Address, Error> {
        Address::parse(text, "rtmp://", 1935)
    }

    fn parse(text: &str, scheme: &str, port: u16) -> Result<Address, Error> {
        let wrong = |reason: String| Error::Address { address: text.to_owned(), reason };
        let rest =
            text.strip_prefix(scheme).ok_or_else(|| wrong(format!("it does not begin with {scheme}")))?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        let with_port = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            authority.to_owned()
        } else {
            format!("{authority}:{port}")
        };
        let mut sockets = with_port.to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
        let socket = sockets.next().ok_or_else(|| wrong("the host has no address".to_owned()))?;
        Ok(Address { authority: authority.to_owned(), path: path.to_owned(), socket })
    }

    /// Where to connect.
    pub fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// The path without its query.
    pub fn path_alone(&self) -> &str {
        self.path.split('?').next().unwrap_or(&self.path)
    }

    /// The path that `reference` means in a document of this address; `None` if it leads to another host.
    pub fn resolve(&self, reference: &str) -> Option<String> {
        if let Some((scheme, rest)) = reference.split_once("://") {
            let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
            return (scheme == "http" && authority == self.authority).then(|| path.to_owned());
        }
        if reference.starts_with('/') {
            return Some(reference.to_owned());
        }
        let folder = self.path_alone().rsplit_once('/').map_or("", |(folder, _)| folder);
        Some(format!("{folder}/{reference}"))
    }

    /// The same host and another path.
    #[must_use]
    pub fn with_path(&self, path: String) -> Address {
        Address { path, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expected) in [
            (
                "http://127.0.0.1:8080/live/cam/x.m3u8?a=b",
                Some(("127.0.0.1:8080", "/live/cam/x.m3u8?a=b", 8080)),
            ),
            ("http://127.0.0.1", Some(("127.0.0.1", "/", 80))),
            ("http://[::1]/x", Some(("[::1]", "/x", 80))),
            ("http://[::1]:81/x", Some(("[::1]:81", "/x", 81))),
            ("https://127.0.0.1/", None),
            ("127.0.0.1:80/", None),
            ("http://", None),
        ] {
            let address = Address::http(text).ok();
            let found = address.as_ref().map(|a| (a.authority.as_str(), a.path.as_str(), a.socket().port()));
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(Address::rtmp("rtmp://127.0.0.1/live/cam").unwrap().socket().port(), 1935);
    }

    #[test]
    fn references() {
        let address = Address::http("http://127.0.0.1:80/live/cam/video/media.m3u8?x=/y").unwrap();
        for (reference, expected) in [
            ("1.m4s", Some("/live/cam/video/1.m4s")),
            ("/other/1.m4s?a", Some("/other/1.m4s?a")),
            ("http://127.0.0.1:80/z", Some("/z")),
            ("http://elsewhere/z", None),
            ("https://127.0.0.1:80/z", None),
        ] {
            assert_eq!(address.resolve(reference).as_deref(), expected, "{reference}");
        }
    }
}

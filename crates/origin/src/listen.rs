//! Listening: an address in the clear and, where there is a certificate, one with TLS, as one source of connections.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::admission::{Admission, Admitted};
use crate::auth::addresses::Networks;
use crate::config::{Config, InForce};
use crate::{Error, proxied};

/// Connections that may wait to be accepted: a cache's start asks for some hundred at once.
const BACKLOG: u32 = 1_024;

/// Which networks of a configuration are meant.
type NetworksOf = fn(&Config) -> &Networks;

/// Where one kind of client connects.
#[derive(Debug)]
pub struct Listeners {
    plain: TcpListener,
    tls: Option<Tls>,
    /// Whose connections begin with the PROXY protocol, where anybody's do.
    proxies: Option<(InForce, NetworksOf)>,
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The acceptor holds a private key.
        f.debug_struct("Tls").field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// A connection that was accepted.
pub struct Accepted {
    /// The socket.
    pub stream: TcpStream,
    /// Who is on its other side.
    pub peer: SocketAddr,
    /// What shakes hands with it, where it begins with TLS.
    pub tls: Option<TlsAcceptor>,
    /// It begins with the PROXY protocol, which says who is behind `peer`.
    pub is_proxied: bool,
}

impl From<TcpListener> for Listeners {
    fn from(plain: TcpListener) -> Listeners {
        Listeners { plain, tls: None, proxies: None }
    }
}

impl Listeners {
    /// With TLS at another address.
    #[must_use]
    pub fn with_tls(mut self, listener: TcpListener, acceptor: TlsAcceptor) -> Listeners {
        self.tls = Some(Tls { listener, acceptor });
        self
    }

    /// Where connections of those networks of the configuration begin with the PROXY protocol.
    #[must_use]
    pub fn behind(mut self, config: InForce, proxies: NetworksOf) -> Listeners {
        self.proxies = Some((config, proxies));
        self
    }

    /// The next connection of either. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The system's, when it has no file descriptors left for instance.
    pub async fn accept(&self) -> io::Result<Accepted> {
        let Some(tls) = &self.tls else { return self.accepted(self.plain.accept().await, None) };
        tokio::select! {
            plain = self.plain.accept() => self.accepted(plain, None),
            begun = tls.listener.accept() => self.accepted(begun, Some(tls.acceptor.clone())),
        }
    }

    fn accepted(
        &self,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        tls: Option<TlsAcceptor>,
    ) -> io::Result<Accepted> {
        let (stream, peer) = accepted?;
        let is_proxied =
            self.proxies.as_ref().is_some_and(|(config, proxies)| proxies(&config.now()).contain(peer.ip()));
        Ok(Accepted { stream, peer, tls, is_proxied })
    }
}

impl Accepted {
    /// The same connection, waited for by the runtime that this runs on.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn here(self) -> io::Result<Accepted> {
        let stream = TcpStream::from_std(self.stream.into_std()?)?;
        Ok(Accepted { stream, ..self })
    }

    /// Takes its place among the connections: at once, or in all of them only until [`Accepted::introduced`] knows whose it is.
    pub(crate) fn admit(&self, admission: &Arc<Admission>) -> Option<Admitted> {
        if self.is_proxied { admission.admit_unnamed() } else { admission.admit(self.peer.ip()) }
    }

    /// Hears who is behind a load balancer, within `limit`, and gives it its place. `None` when it is to be closed.
    pub(crate) async fn introduced(&mut self, admitted: Admitted, limit: Duration) -> Option<Admitted> {
        if !self.is_proxied {
            return Some(admitted);
        }
        let header = timeout(limit, proxied::header(&mut self.stream)).await;
        match header.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(Some(client)) => {
                self.peer = client;
                let admitted = admitted.named(client.ip());
                if admitted.is_none() {
                    tracing::debug!(peer = %client, "connection refused: too many from this address");
                }
                admitted
            }
            Ok(None) => Some(admitted),
            Err(error) => {
                tracing::debug!(peer = %self.peer, %error, "the PROXY protocol was expected");
                None
            }
        }
    }
}

/// Listens with SO_REUSEADDR, so that a restart does not wait for the last connections' time-outs.
///
/// # Errors
/// [`Error::Bind`] with the key that the address comes from.
pub fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| Error::Bind { key, address, source })
}

/// An address of this machine that reaches a listener.
pub fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

//! Whoever started the process and looks after it, as systemd does: it may hold the listening sockets, so that connections wait
//! while one process ends and the next one starts (sd_listen_fds(3)), and it wants to be told how things are (sd_notify(3)).
//! Without one, all of this does nothing.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

use crate::Error;
use crate::config::Config;
use crate::listen::bind;
use crate::registry::Registry;

/// Of the time within which the supervisor wants to hear of us, we let pass a half (sd_watchdog_enabled(3)).
const WATCHDOG_SHARE: u32 = 2;

/// A watchdog that wants to hear more often would be a load of its own.
const WATCHDOG_EVERY_MIN: Duration = Duration::from_millis(10);

/// What is listened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// RTMP.
    Rtmp,
    /// RTMP inside TLS.
    Rtmps,
    /// Playback.
    Http,
    /// Playback inside TLS.
    Https,
    /// Operators.
    Admin,
}

impl Listener {
    const ALL: [Listener; 5] =
        [Listener::Rtmp, Listener::Rtmps, Listener::Http, Listener::Https, Listener::Admin];

    /// What a socket for it is called (`FileDescriptorName=` of systemd.socket(5)).
    const fn name(self) -> &'static str {
        match self {
            Listener::Rtmp => "rtmp",
            Listener::Rtmps => "rtmps",
            Listener::Http => "http",
            Listener::Https => "https",
            Listener::Admin => "admin",
        }
    }

    /// The key with its address.
    const fn key(self) -> &'static str {
        match self {
            Listener::Rtmp => "rtmp.listen",
            Listener::Rtmps => "rtmp.tls_listen",
            Listener::Http => "http.listen",
            Listener::Https => "http.tls_listen",
            Listener::Admin => "admin.listen",
        }
    }

    /// Its address in a configuration that has it.
    fn address(self, config: &Config) -> Option<SocketAddr> {
        match self {
            Listener::Rtmp => Some(config.rtmp.listen),
            Listener::Rtmps => config.rtmp.tls_listen,
            Listener::Http => Some(config.http.listen),
            Listener::Https => config.http.tls_listen,
            Listener::Admin => Some(config.admin.listen),
        }
    }
}

/// The sockets that the supervisor listens on for us.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(Listener, std::net::TcpListener)>);

impl Inherited {
    /// Takes them over and finds out what each is for. To be called once, before there are threads: the variables that tell
    /// of them are removed, so that no child of ours takes them for its own.
    ///
    /// # Errors
    /// [`Error::Sockets`] for one that is none of TCP, or that nothing in the configuration is meant by.
    pub fn take(config: &Config) -> Result<Inherited, Error> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut given = ListenFd::from_env();
        let mut inherited = Inherited::default();
        for index in 0..given.len() {
            let name = names.next().unwrap_or_default();
            let broken = |reason: &dyn fmt::Display| {
                Error::Sockets(format!("socket {index} of the supervisor ({name}): {reason}"))
            };
            let Some(socket) = given.take_tcp_listener(index).map_err(|error| broken(&error))? else {
                continue;
            };
            let address = socket.local_addr().map_err(|error| broken(&error))?;
            let taken: Vec<Listener> = inherited.0.iter().map(|(listener, _)| *listener).collect();
            let listener = meant(name, address, &taken, config).map_err(|reason| broken(&reason))?;
            socket.set_nonblocking(true).map_err(|error| broken(&error))?;
            inherited.0.push((listener, socket));
        }
        Ok(inherited)
    }

    /// The supervisor's socket, or one of our own at the configured address; `None` for what is not configured.
    ///
    /// # Errors
    /// [`Error::Bind`] as of [`bind`], [`Error::Sockets`] for one that the runtime can't use.
    pub fn listen(&mut self, listener: Listener, config: &Config) -> Result<Option<TcpListener>, Error> {
        let given = self.0.iter().position(|(meant, _)| *meant == listener);
        let Some(given) = given else {
            let address = listener.address(config);
            return address.map(|address| bind(listener.key(), address)).transpose();
        };
        let (_, socket) = self.0.swap_remove(given);
        let socket = TcpListener::from_std(socket)
            .map_err(|error| Error::Sockets(format!("{}: {error}", listener.key())))?;
        tracing::info!(listener = listener.key(), address = ?socket.local_addr().ok(), "the supervisor's socket");
        Ok(Some(socket))
    }
}

/// What a socket is for: what it is called, else the configured address that it has, else the configured port.
fn meant(name: &str, address: SocketAddr, taken: &[Listener], config: &Config) -> Result<Listener, String> {
    let with = |fits: &dyn Fn(SocketAddr) -> bool| {
        Listener::ALL.into_iter().find(|listener| listener.address(config).is_some_and(fits))
    };
    let listener = match Listener::ALL.into_iter().find(|listener| listener.name() == name) {
        Some(named) if named.address(config).is_none() => {
            return Err(format!("{} is empty, so nothing is done with it", named.key()));
        }
        Some(named) => named,
        None => with(&|configured| configured == address)
            .or_else(|| with(&|configured| configured.port() == address.port()))
            .ok_or_else(|| {
                format!(
                    "no listener is configured for {address}; give it the same port, or call the socket rtmp, rtmps, http, https or admin"
                )
            })?,
    };
    if taken.contains(&listener) {
        return Err(format!("there is another one for {} already", listener.key()));
    }
    // The configuration was checked with another address.
    let is_open = !address.ip().to_canonical().is_loopback();
    if listener == Listener::Admin && is_open && config.admin.token.is_empty() {
        return Err(format!("others reach {address}, so admin.token is needed"));
    }
    Ok(listener)
}

/// Everything is listened on and served.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is about to be read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the supervisor is not told of a reload"),
    }
}

/// The end has begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells the supervisor's watchdog, where there is one, that tasks run and that the map of streams can be had: a process in which
/// neither is true any more is better started anew.
pub async fn watch(registry: Arc<Registry>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = interval((limit / WATCHDOG_SHARE).max(WATCHDOG_EVERY_MIN));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        drop(registry.streams());
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the supervisor could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Loader;

    #[test]
    fn what_a_socket_is_for() {
        let config = Loader::new()
            .flag("-", "rtmp.listen", "0.0.0.0:1935")
            .flag("-", "http.listen", "127.0.0.1:8080")
            .flag("-", "admin.listen", "127.0.0.2:8080")
            .load()
            .unwrap();
        use Listener::{Admin, Http, Rtmp};
        for (name, address, taken, expected) in [
            // By name, wherever it is.
            ("http", "127.0.0.1:9", &[][..], Ok(Http)),
            ("admin", "127.0.0.1:9", &[], Ok(Admin)),
            ("rtmp", "[::]:1935", &[Http], Ok(Rtmp)),
            // By address before port.
            ("", "127.0.0.2:8080", &[], Ok(Admin)),
            ("headwater.socket", "127.0.0.1:8080", &[], Ok(Http)),
            ("unknown", "[::]:1935", &[], Ok(Rtmp)),
            ("unknown", "0.0.0.0:8080", &[], Ok(Http)),
            // Not at all.
            ("", "127.0.0.1:9", &[], Err("no listener is configured for 127.0.0.1:9")),
            ("rtmps", "127.0.0.1:9", &[], Err("rtmp.tls_listen is empty")),
            ("rtmp", "127.0.0.1:9", &[Rtmp], Err("there is another one for rtmp.listen")),
            ("", "[::]:1935", &[Rtmp], Err("there is another one for rtmp.listen")),
            ("admin", "0.0.0.0:8081", &[], Err("admin.token is needed")),
        ] {
            let found = meant(name, address.parse().unwrap(), taken, &config);
            match expected {
                Ok(listener) => assert_eq!(found, Ok(listener), "{name} {address}"),
                Err(text) => {
                    let reason = found.unwrap_err();
                    assert!(reason.contains(text), "{name} {address}: {reason}");
                }
            }
        }
    }
}

//! The process: listeners, what runs behind them, and a shutdown that lets everybody finish.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::clock::Clocks;
use crate::config::{Config, Secret};
use crate::registry::Registry;
use crate::state::StateDir;
use crate::{Error, admin, demo, http, ingest};

/// Connections that may wait to be accepted: a cache's start asks for some hundred at once.
const BACKLOG: u32 = 1_024;

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`Error`] for an address that can't be listened on, a folder that can't be used, a demo clip that can't be read.
pub fn run(config: Config, demo: Option<demo::Clip>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("headwater")
        .build()
        .map_err(|error| Error::Other(format!("no runtime: {error}")))?;
    let result = runtime.block_on(serve(config, demo));
    // Everything that matters has ended; what is left (a timer of a stream's end) must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn serve(config: Config, demo: Option<demo::Clip>) -> Result<(), Error> {
    let config = Arc::new(config);
    let clocks = Clocks::start();
    let state = config.state_dir().map(StateDir::open).transpose()?;
    // All addresses first: a port in use must end the process before anything is told or written.
    let rtmp = bind("rtmp.listen", config.rtmp.listen)?;
    let playback = bind("http.listen", config.http.listen)?;
    let operators = bind("admin.listen", config.admin.listen)?;
    let rtmp_address = local(&rtmp, config.rtmp.listen);
    let http_address = local(&playback, config.http.listen);
    let admin_address = local(&operators, config.admin.listen);

    let generated = generated_key(&config, state.as_ref(), rtmp_address)?;
    let authorizer = ingest::Authorizer::new(&config, generated.clone());
    let registry = Registry::new(Arc::clone(&config), clocks, state);
    let ingest_context = Arc::new(ingest::Context::new(Arc::clone(&registry), &config, authorizer, clocks));
    let http_context = Arc::new(http::Context::new(Arc::clone(&registry), Arc::clone(&config)));
    let admin_context = Arc::new(admin::Context::new(Arc::clone(&registry), Arc::clone(&http_context)));

    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        rtmp = %rtmp_address, http = %http_address, admin = %admin_address,
        "headwater is up"
    );
    if let Some(key) = &generated {
        print_key(key, rtmp_address);
    }

    // Readiness goes and publishers leave first, then playback drains; the API answers to the end.
    let (stop_ingest, ingest_stopped) = watch::channel(false);
    let (stop_playback, playback_stopped) = watch::channel(false);
    let ingest = tokio::spawn(ingest::serve(rtmp, ingest_context, ingest_stopped.clone()));
    let playback = tokio::spawn(http::serve(playback, http_context, playback_stopped));
    let operators = tokio::spawn(admin::serve(operators, admin_context, ingest_stopped.clone()));
    let key = config.publish.keys.first().map(|key| key.key.clone()).or(generated);
    let publisher = demo.map(|clip| {
        demo::announce(http_address, rtmp_address);
        tokio::spawn(demo::publish(clip, reachable(rtmp_address), key, ingest_stopped))
    });

    wait_for_signal().await?;
    tracing::info!("going down");
    let _ = stop_ingest.send(true);
    if let Some(publisher) = publisher {
        let _ = publisher.await;
    }
    let _ = ingest.await;
    registry.store_all();
    let _ = stop_playback.send(true);
    let _ = playback.await;
    operators.abort();
    tracing::info!("down");
    Ok(())
}

/// Listens with SO_REUSEADDR, so that a restart does not wait for the last connections' time-outs.
fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| Error::Bind { key, address, source })
}

/// The address in use: port 0 asks the system for one.
fn local(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

/// An address of this machine that reaches a listener.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// The key made for a server that has none configured and can be reached from elsewhere.
fn generated_key(
    config: &Config,
    state: Option<&StateDir>,
    rtmp: SocketAddr,
) -> Result<Option<Secret>, Error> {
    let is_needed = config.publish.keys.is_empty()
        && !(config.publish.loopback_trusted && rtmp.ip().to_canonical().is_loopback());
    if !is_needed {
        return Ok(None);
    }
    let fresh = ingest::generate_key().map_err(|error| Error::Other(format!("no random bytes: {error}")))?;
    match state {
        Some(state) => state.publish_key(|| fresh).map(Some),
        None => Ok(Some(fresh)),
    }
}

/// To standard output, not to the log: logs are collected, kept and read by others.
#[expect(clippy::print_stdout, reason = "the one place a person is told the key")]
fn print_key(key: &Secret, rtmp: SocketAddr) {
    println!(
        "To publish from another machine: server rtmp://HOST:{}/live, stream key cam?key={}",
        rtmp.port(),
        key.expose()
    );
}

async fn wait_for_signal() -> Result<(), Error> {
    let failed = |error| Error::Other(format!("signals can't be received: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

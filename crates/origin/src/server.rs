//! The process: listeners, what runs behind them, and a shutdown that lets everybody finish.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::auth::Authorizer;
use crate::clock::Clocks;
use crate::config::{Config, InForce, Secret};
use crate::events::{Kind, Outputs};
use crate::listen::{Listeners, reachable};
use crate::registry::Registry;
use crate::reload::Differences;
use crate::state::StateDir;
use crate::supervisor::{self, Inherited, Listener};
use crate::telemetry::Telemetry;
use crate::tls::Certificates;
use crate::{Error, admin, auth, demo, http, ingest, log};

/// How long tasks that outlive everything that matters may still take.
const SHUTDOWN_MAX: Duration = Duration::from_millis(100);

/// Operators' questions for a reload that wait for the one before; further ones wait for their turn to ask.
const RELOADS_WAITING_MAX: usize = 4;

/// Runs until SIGTERM or SIGINT. To be called before there are threads, see [`Inherited::take`]. At SIGHUP, or when an operator asks,
/// `reread` gives the configuration as it is now.
///
/// # Errors
/// [`Error`] for an address that can't be listened on, a folder that can't be used, a demo clip that can't be read.
pub fn run(
    config: Config,
    reread: &dyn Fn() -> Result<Config, Error>,
    demo: Option<demo::Clip>,
) -> Result<(), Error> {
    let sockets = Inherited::take(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("headwater")
        .build()
        .map_err(|error| Error::Other(format!("no runtime: {error}")))?;
    let publishers = ingest::threads().map_err(|error| Error::Other(format!("no runtime: {error}")))?;
    let result = runtime.block_on(serve(config, sockets, reread, demo, publishers.handle()));
    // Everything that matters has ended; what is left (a timer of a stream's end) must not keep the process.
    publishers.shutdown_timeout(SHUTDOWN_MAX);
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    result
}

async fn serve(
    config: Config,
    mut sockets: Inherited,
    reread: &dyn Fn() -> Result<Config, Error>,
    demo: Option<demo::Clip>,
    publishers: &Handle,
) -> Result<(), Error> {
    let config = Arc::new(config);
    let clocks = Clocks::start();
    let state = config.state_dir().map(StateDir::open).transpose()?;
    // All addresses first: a port in use must end the process before anything is told or written.
    let mut listen = |listener| sockets.listen(listener, &config);
    let (Some(rtmp), Some(playback), Some(operators)) =
        (listen(Listener::Rtmp)?, listen(Listener::Http)?, listen(Listener::Admin)?)
    else {
        return Err(Error::Other("a listener that always has an address has none".to_owned()));
    };
    let (rtmps, https) = (listen(Listener::Rtmps)?, listen(Listener::Https)?);
    let certificates = Certificates::load(&config.tls)?;
    let rtmp_address = local(&rtmp, config.rtmp.listen);
    let http_address = local(&playback, config.http.listen);
    let admin_address = local(&operators, config.admin.listen);

    let generated = generated_key(&config, state.as_ref(), rtmp_address)?;
    let authorizer = Arc::new(Authorizer::new(Arc::clone(&config), generated.clone())?);
    let in_force = InForce::from(Arc::clone(&config));
    let registry = Registry::new(in_force.clone(), clocks, state);
    let (telemetry, exporter) = Telemetry::start(&config.telemetry, &registry.metrics().spans)?;
    let event_outputs = Outputs::start(&config.events, &registry, &telemetry);
    registry.expect_publishers_back();
    let ingest_context =
        ingest::Context::new(Arc::clone(&registry), in_force.clone(), Arc::clone(&authorizer), clocks);
    let ingest_context = Arc::new(ingest_context.with_telemetry(telemetry.clone()).on(publishers.clone()));
    let http_context = http::Context::new(Arc::clone(&registry), in_force.clone());
    let http_context =
        Arc::new(http_context.with_authorizer(Arc::clone(&authorizer)).with_telemetry(telemetry));
    let admin_context = admin::Context::new(Arc::clone(&registry), Arc::clone(&http_context));
    let (ask_reload, asked_reloads) = mpsc::channel(RELOADS_WAITING_MAX);
    let admin_context = Arc::new(admin_context.with_config(in_force.clone()).with_reloads(ask_reload));

    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        rtmp = %rtmp_address, http = %http_address, admin = %admin_address,
        "headwater is up"
    );
    if let Some(key) = &generated {
        print_key(key, rtmp_address);
    }

    let mut rtmp = Listeners::from(rtmp).behind(in_force.clone(), |config| &config.rtmp.proxy_protocol_from);
    let mut playback =
        Listeners::from(playback).behind(in_force.clone(), |config| &config.http.proxy_protocol_from);
    if let Some(certificates) = &certificates {
        if let Some(listener) = rtmps {
            tracing::info!(address = ?listener.local_addr().ok(), "RTMPS");
            rtmp = rtmp.with_tls(listener, certificates.for_rtmp()?);
        }
        if let Some(listener) = https {
            tracing::info!(address = ?listener.local_addr().ok(), "HTTPS");
            playback = playback.with_tls(listener, certificates.for_http()?);
        }
    }

    // Readiness goes and publishers leave first, then players fetch the last of what was published, then playback drains; the API
    // answers to the end.
    let watching = Arc::clone(&http_context);
    let (stop_ingest, ingest_stopped) = watch::channel(false);
    let (stop_playback, playback_stopped) = watch::channel(false);
    let mut running = Running {
        started_with: Arc::clone(&config),
        loaded: Arc::clone(&config),
        in_force: in_force.clone(),
        is_admin_open: !admin_address.ip().to_canonical().is_loopback(),
        authorizer: Arc::clone(&authorizer),
        registry: Arc::clone(&registry),
        certificates: certificates.clone(),
        ingest: Arc::clone(&ingest_context),
        playback: Arc::clone(&http_context),
    };
    let ingest = tokio::spawn(ingest::serve(rtmp, ingest_context, ingest_stopped.clone()));
    let playback = tokio::spawn(http::serve(playback, http_context, playback_stopped));
    let operators = tokio::spawn(admin::serve(operators, admin_context, ingest_stopped.clone()));
    tokio::spawn(authorizer.follow(ingest_stopped.clone()));
    if let Some(certificates) = certificates {
        tokio::spawn(certificates.follow(ingest_stopped.clone()));
    }
    let key = config.publish.keys.first().map(|key| key.key.clone()).or(generated);
    let publisher = demo.map(|clip| {
        demo::announce(http_address, rtmp_address);
        tokio::spawn(demo::publish(clip, reachable(rtmp_address), key, ingest_stopped))
    });

    tokio::spawn(supervisor::watch(Arc::clone(&registry)));
    wait_for_end(reread, &mut running, asked_reloads).await?;
    tracing::info!("going down");
    supervisor::stopping();
    let _ = stop_ingest.send(true);
    if let Some(publisher) = publisher {
        let _ = publisher.await;
    }
    let _ = ingest.await;
    // Files: the first of these waits for the disk, the other doesn't.
    let storing = tokio::task::spawn_blocking({
        let registry = Arc::clone(&registry);
        move || registry.store_all()
    });
    let keeping = tokio::task::spawn_blocking({
        let registry = Arc::clone(&registry);
        move || registry.keep_all()
    });
    if !watching.is_unused() {
        tokio::time::sleep(in_force.now().http.shutdown_delay).await;
    }
    let _ = stop_playback.send(true);
    let _ = playback.await;
    let _ = storing.await;
    let _ = keeping.await;
    event_outputs.finish().await;
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    operators.abort();
    tracing::info!("down");
    Ok(())
}

/// The address in use: port 0 asks the system for one.
fn local(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

/// The key made for a server that has none configured and can be reached from elsewhere.
fn generated_key(
    config: &Config,
    state: Option<&StateDir>,
    rtmp: SocketAddr,
) -> Result<Option<Secret>, Error> {
    let is_needed = config.publish.keys.is_empty()
        && config.publish.keys_file().is_none()
        && !(config.publish.loopback_trusted && rtmp.ip().to_canonical().is_loopback());
    if !is_needed {
        return Ok(None);
    }
    let fresh = auth::generate_key().map_err(|error| Error::Other(format!("no random bytes: {error}")))?;
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

/// What another configuration reaches while the process runs.
struct Running {
    started_with: Arc<Config>,
    /// As it was read last.
    loaded: Arc<Config>,
    /// The same, with what needs a restart as it was at the start.
    in_force: InForce,
    /// Others reach the admin listener, so it needs a token, whatever the configuration says about its address.
    is_admin_open: bool,
    authorizer: Arc<Authorizer>,
    registry: Arc<Registry>,
    certificates: Option<Arc<Certificates>>,
    ingest: Arc<ingest::Context>,
    playback: Arc<http::Context>,
}

impl Running {
    /// Puts in force what can be, and says what can't; all or nothing.
    fn reload(&mut self, loaded: Config) -> Result<Differences, Error> {
        let in_force = Arc::new(loaded.clone().with_start_of(&self.started_with));
        if self.is_admin_open && in_force.admin.token.is_empty() {
            return Err(Error::Other("admin.token: empty, and others reach the admin listener".to_owned()));
        }
        self.authorizer.reload(Arc::clone(&in_force))?;
        let before = self.in_force.now();
        self.in_force.exchange(Arc::clone(&in_force));
        self.registry.limit(&in_force.limits);
        self.ingest.limit(&in_force.rtmp);
        self.playback.limit(&in_force.http);
        if before.log.level != in_force.log.level {
            log::exchange_level(&in_force.log.level);
        }
        let differences = Differences::of_reload(&self.started_with, &self.loaded, &loaded);
        let Differences { at_once, for_new_connections, for_new_streams, at_restart } = &differences;
        tracing::info!(
            ?at_once,
            ?for_new_connections,
            ?for_new_streams,
            needs_a_restart = ?at_restart,
            "the configuration was read again"
        );
        self.registry.events().push(Kind::ConfigReload(differences.clone()), "", "");
        self.loaded = Arc::new(loaded);
        if let Some(certificates) = &self.certificates {
            certificates.look();
        }
        Ok(differences)
    }

    /// Reads the configuration again; words for whoever asked when it can't be used.
    fn read_again(&mut self, reread: &dyn Fn() -> Result<Config, Error>) -> Result<Differences, String> {
        supervisor::reloading();
        // Some small files; connections have threads of their own.
        let outcome = reread().and_then(|config| self.reload(config)).map_err(|error| {
            tracing::error!(%error, "this configuration can't be used; the one before stays in force");
            error.to_string()
        });
        supervisor::ready();
        outcome
    }
}

async fn wait_for_end(
    reread: &dyn Fn() -> Result<Config, Error>,
    running: &mut Running,
    mut asked_reloads: mpsc::Receiver<oneshot::Sender<Result<Differences, String>>>,
) -> Result<(), Error> {
    let failed = |error| Error::Other(format!("signals can't be received: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    // Not before: a signal that came now would have ended the process without a word.
    supervisor::ready();
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            // What came of it is in the log.
            _ = hangup.recv() => drop(running.read_again(reread)),
            Some(answer) = asked_reloads.recv() => drop(answer.send(running.read_again(reread))),
        }
    }
}

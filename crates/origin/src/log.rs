//! Log lines on standard error: for people, or one JSON object per line.

use std::io;
use std::sync::OnceLock;

use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, reload};

use crate::config::{Log, LogFormat};

/// Exchanges the filter of the log that was started.
type Exchange = Box<dyn Fn(EnvFilter) + Send + Sync>;

/// Of the process, for there is one log.
static EXCHANGE: OnceLock<Exchange> = OnceLock::new();

/// Starts logging for the process. A second call changes nothing.
pub fn init(config: &Log) {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(&config.level)).with_writer(io::stderr);
    let started = match config.format {
        LogFormat::Human => {
            let ansi = io::IsTerminal::is_terminal(&io::stderr());
            let builder = builder.with_ansi(ansi).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.finish().try_init().map(|()| keep(move |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.finish().try_init().map(|()| keep(move |filter| handle.reload(filter)))
        }
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging had been started before");
    }
}

/// Logs by another level or other directives from now on; does nothing where [`init`] did not start the log.
pub fn exchange_level(level: &str) {
    if let Some(exchange) = EXCHANGE.get() {
        exchange(filter(level));
    }
}

fn keep(exchange: impl Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync + 'static) {
    let exchange = move |filter| {
        if let Err(error) = exchange(filter) {
            tracing::error!(%error, "log.level stays as it was");
        }
    };
    let _ = EXCHANGE.set(Box::new(exchange));
}

/// The level was checked with the configuration; a filter that can't be read now logs what matters.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"))
}

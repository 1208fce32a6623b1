//! The origin: RTMP in, HLS out of memory, and everything around it that needs sockets, clocks, files and signals.
//!
//! This is the only crate that knows them. It refuses to know what it carries: RTMP's bytes are `headwater_rtmp`'s, tags are
//! `headwater_flv`'s, time, cuts and windows are `headwater_packager`'s, and a playlist's text is `headwater_manifest`'s.
//! Here are tasks, limits, deadlines and names: a task per connection, one [`registry::Registry`] of streams, one
//! [`published::Published`] version of each that readers share.
//!
//! ```
//! use headwater_origin::config::{Config, Loader};
//! use std::time::Duration;
//!
//! let variables = [("HEADWATER_PUBLISH__GRACE".to_owned(), "10s".to_owned())];
//! let config = Loader::new().environment(variables).flag("--http-listen", "http.listen", "127.0.0.1:0").load().unwrap();
//! assert_eq!(config.publish.grace, Duration::from_secs(10));
//! assert_eq!(config.rtmp, Config::default().rtmp);
//! let wrong = Loader::new().flag("--http-listen", "http.listen", "localhost").load().unwrap_err();
//! assert!(wrong.to_string().starts_with("--http-listen: http.listen = \"localhost\": not an address"));
//! ```

pub mod admin;
pub mod admission;
pub mod auth;
pub mod budget;
pub mod cli;
pub mod clock;
pub mod config;
pub mod continuous;
mod cues;
pub mod demo;
pub mod error;
pub mod events;
pub mod health;
mod heap;
pub mod http;
pub mod ingest;
pub mod listen;
pub mod log;
mod looks;
pub mod manual;
pub mod metrics;
pub mod names;
pub mod probe;
mod proxied;
pub mod published;
pub mod readiness;
pub mod registry;
pub mod reload;
pub mod server;
pub mod state;
pub mod supervisor;
pub mod telemetry;
pub mod tls;
pub mod transport;

pub use error::Error;

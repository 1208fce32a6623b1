//! The configuration: every key, its default, its range, and what must hold between keys.

mod load;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use load::{Error, Loader};
pub use value::{NotADuration, duration, duration_text};

use value::{duration_out, duration_within, number_within};

/// The whole configuration. `config/headwater.toml` documents every key; this is its shape.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder for what must survive a restart (media sequence, generated publish key); empty for none.
    state_dir: String,
    /// `[rtmp]`: where publishers connect.
    pub rtmp: Rtmp,
    /// `[http]`: where players and caches connect.
    pub http: Http,
    /// `[admin]`: where operators and their monitoring connect.
    pub admin: Admin,
    /// `[packaging]`: how media is cut and how long it is kept.
    pub packaging: Packaging,
    /// `[publish]`: who may publish, and what happens when a publisher leaves.
    pub publish: Publish,
    /// `[outputs]`: what is made of every stream.
    pub outputs: Outputs,
    /// `[apps.NAME]`: what differs for one app.
    pub apps: BTreeMap<String, App>,
    /// `[log]`.
    pub log: Log,
}

/// `[rtmp]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rtmp {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Connections at a time.
    #[serde(deserialize_with = "number_within::<1, 1_000_000, _>")]
    pub max_connections: u32,
    /// Connections at a time from one address (IPv6: one /64 network).
    #[serde(deserialize_with = "number_within::<1, 1_000_000, _>")]
    pub max_connections_per_address: u32,
    /// From the connection's first moment to its publish command.
    #[serde(deserialize_with = "duration_within::<100, 60_000, _>", serialize_with = "duration_out")]
    pub handshake_timeout: Duration,
    /// A publisher that sends nothing for so long is treated as lost.
    #[serde(deserialize_with = "duration_within::<1_000, 600_000, _>", serialize_with = "duration_out")]
    pub idle_timeout: Duration,
}

/// `[http]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// `/` shows the live streams and a player; when off, stream names are listed to nobody.
    pub page: bool,
    /// Connections at a time.
    #[serde(deserialize_with = "number_within::<1, 1_000_000, _>")]
    pub max_connections: u32,
    /// Connections at a time from one address (IPv6: one /64 network).
    #[serde(deserialize_with = "number_within::<1, 1_000_000, _>")]
    pub max_connections_per_address: u32,
    /// Requests held at a time, waiting for media that is about to exist.
    #[serde(deserialize_with = "number_within::<0, 1_000_000, _>")]
    pub max_held_requests: u32,
    /// Requests held at a time for one address (IPv6: one /64 network).
    #[serde(deserialize_with = "number_within::<0, 1_000_000, _>")]
    pub max_held_requests_per_address: u32,
    /// From the connection's first moment to its first byte.
    #[serde(deserialize_with = "duration_within::<100, 60_000, _>", serialize_with = "duration_out")]
    pub first_byte_timeout: Duration,
    /// From a request's first byte to the end of its head.
    #[serde(deserialize_with = "duration_within::<100, 60_000, _>", serialize_with = "duration_out")]
    pub header_timeout: Duration,
    /// From a response's end to the next request. Longer than a cache's own, so that the cache closes first.
    #[serde(deserialize_with = "duration_within::<65_000, 3_600_000, _>", serialize_with = "duration_out")]
    pub idle_timeout: Duration,
    /// A client that takes no byte for so long while there are bytes for it is cut off.
    #[serde(deserialize_with = "duration_within::<1_000, 600_000, _>", serialize_with = "duration_out")]
    pub write_stall_timeout: Duration,
    /// From a request to its response's last byte, however steadily a slow client reads.
    #[serde(deserialize_with = "duration_within::<30_000, 3_600_000, _>", serialize_with = "duration_out")]
    pub response_timeout: Duration,
    /// How long the first playlist of a starting stream is waited for.
    #[serde(deserialize_with = "duration_within::<0, 60_000, _>", serialize_with = "duration_out")]
    pub hold_timeout: Duration,
    /// Scheme and host by which players reach this listener, e.g. `https://cdn.example.com`; empty: http and the Host that
    /// each request names. DASH's clock has to be an absolute URL.
    pub public_url: String,
    /// How long a shutdown waits for running responses.
    #[serde(deserialize_with = "duration_within::<0, 600_000, _>", serialize_with = "duration_out")]
    pub drain_timeout: Duration,
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address and port to listen on.
    pub listen: SocketAddr,
}

/// `[packaging]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Packaging {
    /// A segment is cut at the first keyframe at or after this.
    // Segments average at least 1 s so that media sequence numbers, which start at the clock's seconds, never overtake it.
    #[serde(deserialize_with = "duration_within::<1_000, 10_000, _>", serialize_with = "duration_out")]
    pub segment_duration: Duration,
    /// The wished length of low-latency parts; takes effect with low-latency outputs.
    #[serde(deserialize_with = "duration_within::<100, 2_000, _>", serialize_with = "duration_out")]
    pub part_duration: Duration,
    /// What playlists list.
    #[serde(deserialize_with = "duration_within::<3_000, 3_600_000, _>", serialize_with = "duration_out")]
    pub window: Duration,
}

/// `[publish]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Publish {
    /// How long an abruptly lost publisher is waited for.
    #[serde(deserialize_with = "duration_within::<0, 3_600_000, _>", serialize_with = "duration_out")]
    pub grace: Duration,
    /// From a clean end to the stream's end.
    #[serde(deserialize_with = "duration_within::<0, 60_000, _>", serialize_with = "duration_out")]
    pub end_delay: Duration,
    /// Publishers on this machine need no key.
    pub loopback_trusted: bool,
    /// A publisher faster than real time is slowed down to it.
    pub pace: bool,
    /// Who may publish from elsewhere. When empty, one random key is made and printed at start.
    pub keys: Vec<PublishKey>,
}

/// One of `publish.keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishKey {
    /// The secret.
    pub key: Secret,
    /// The only app it may publish to; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The only stream it may publish; also the stream that the key alone stands for. Any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
}

/// `[apps.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct App {
    /// `[apps.NAME.outputs]`: what differs from `[outputs]`.
    pub outputs: AppOutputs,
}

/// `[outputs]`. A packaging that is switched off costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outputs {
    /// HLS with MPEG-TS segments.
    pub hls: bool,
    /// HLS with CMAF segments.
    pub llhls: bool,
    /// DASH, with the same CMAF segments.
    pub dash: bool,
}

/// `[apps.NAME.outputs]`: an absent key means what `[outputs]` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppOutputs {
    /// HLS with MPEG-TS segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hls: Option<bool>,
    /// HLS with CMAF segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llhls: Option<bool>,
    /// DASH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dash: Option<bool>,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged: a level, or directives like `"info,headwater_origin::ingest=debug"`.
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line of text per event.
    Human,
    /// One JSON object per line.
    Json,
}

/// A text that no log line, error or listing shows.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// What stands for a secret where one is printed.
const REDACTED: &str = "[redacted]";
/// Longest publish key: with its app and stream it stays far below the 1,024 bytes that encoders' key fields hold.
const KEY_BYTES_MAX: usize = 256;
/// Shortest publish key: below this, guessing over the network is a matter of hours.
const KEY_BYTES_MIN: usize = 8;

/// What a response that was held has left for being sent.
const SENDING_MIN: Duration = Duration::from_secs(10);

impl Secret {
    /// A secret of that text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for comparing and for handing over; never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl Default for Rtmp {
    fn default() -> Rtmp {
        Rtmp {
            listen: any_address(1935),
            max_connections: 2_000,
            max_connections_per_address: 500,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for Http {
    fn default() -> Http {
        Http {
            listen: any_address(8080),
            page: true,
            max_connections: 10_000,
            max_connections_per_address: 2_000,
            max_held_requests: 5_000,
            max_held_requests_per_address: 200,
            first_byte_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_stall_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(300),
            hold_timeout: Duration::from_secs(12),
            public_url: String::new(),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for Admin {
    fn default() -> Admin {
        Admin { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)) }
    }
}

impl Default for Packaging {
    fn default() -> Packaging {
        Packaging {
            segment_duration: Duration::from_secs(2),
            part_duration: Duration::from_millis(200),
            window: Duration::from_secs(20),
        }
    }
}

impl Default for Publish {
    fn default() -> Publish {
        Publish {
            grace: Duration::from_secs(60),
            end_delay: Duration::from_secs(3),
            loopback_trusted: true,
            pace: true,
            keys: Vec::new(),
        }
    }
}

impl Outputs {
    /// CMAF segments are made.
    pub fn cmaf(self) -> bool {
        self.llhls || self.dash
    }
}

impl Default for Outputs {
    fn default() -> Outputs {
        Outputs { hls: true, llhls: true, dash: true }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { level: "info".to_owned(), format: LogFormat::Human }
    }
}

fn any_address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

impl Config {
    /// The folder for state, when there is one.
    pub fn state_dir(&self) -> Option<&Path> {
        (!self.state_dir.is_empty()).then(|| Path::new(&self.state_dir))
    }

    /// This configuration with another folder for state, or with none.
    #[must_use]
    pub fn with_state_dir(mut self, folder: Option<PathBuf>) -> Config {
        self.state_dir = folder.map_or_else(String::new, |folder| folder.to_string_lossy().into_owned());
        self
    }

    /// What is made of the streams of `app`.
    pub fn outputs_for(&self, app: &str) -> Outputs {
        let own = self.apps.get(app).map(|app| app.outputs).unwrap_or_default();
        Outputs {
            hls: own.hls.unwrap_or(self.outputs.hls),
            llhls: own.llhls.unwrap_or(self.outputs.llhls),
            dash: own.dash.unwrap_or(self.outputs.dash),
        }
    }

    /// What one value alone can't show. The first broken rule, as (key, what is wrong and what is allowed).
    fn check(&self) -> Result<(), (String, String)> {
        let broken = |key: &str, reason: String| Err((key.to_owned(), reason));
        let listeners = [
            ("rtmp.listen", self.rtmp.listen),
            ("http.listen", self.http.listen),
            ("admin.listen", self.admin.listen),
        ];
        for (index, (key, address)) in listeners.iter().enumerate() {
            if let Some((other, _)) =
                listeners.iter().take(index).find(|(_, earlier)| earlier == address && address.port() != 0)
            {
                return broken(key, format!("the same address as {other}; each listener needs its own"));
            }
        }
        // 8216bis 6.2.2: a playlist never lists less than three target durations.
        let packaging = &self.packaging;
        let window_min = packaging.segment_duration * 3;
        if packaging.window < window_min {
            let min = duration_text(window_min);
            let reason =
                format!("out of range; at least {min} is allowed, 3 times packaging.segment_duration");
            return broken("packaging.window", reason);
        }
        if packaging.part_duration > packaging.segment_duration {
            return broken("packaging.part_duration", "longer than packaging.segment_duration".to_owned());
        }
        let http = &self.http;
        if http.hold_timeout + SENDING_MIN > http.response_timeout {
            let max = duration_text(http.response_timeout.saturating_sub(SENDING_MIN));
            let reason =
                format!("out of range; at most {max} is allowed, 10s less than http.response_timeout");
            return broken("http.hold_timeout", reason);
        }
        let url = http.public_url.trim_end_matches('/');
        let host = url.strip_prefix("http://").or(url.strip_prefix("https://"));
        let is_host = |host: &str| {
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
        };
        if !(url.is_empty() || host.is_some_and(is_host)) {
            return broken("http.public_url", "not http:// or https:// and a host".to_owned());
        }
        for (index, entry) in self.publish.keys.iter().enumerate() {
            let key = entry.key.expose();
            let name = format!("publish.keys[{index}].key");
            if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
                return broken(&name, format!("{KEY_BYTES_MIN} to {KEY_BYTES_MAX} characters are allowed"));
            }
            if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b)) {
                // It travels in URLs and in encoders' key fields, where `&`, `?`, `/`, `%` and `+` mean something.
                return broken(&name, "only A-Z, a-z, 0-9 and . _ ~ - are allowed".to_owned());
            }
            if self.publish.keys.iter().take(index).any(|earlier| earlier.key == entry.key) {
                return broken(&name, "the same key as an earlier entry's".to_owned());
            }
            if entry.app.as_ref().is_some_and(|app| !crate::names::is_app(app)) {
                return broken(&format!("publish.keys[{index}].app"), crate::names::APP_RULE.to_owned());
            }
            if entry.stream.as_ref().is_some_and(|stream| !crate::names::is_stream(stream)) {
                return broken(
                    &format!("publish.keys[{index}].stream"),
                    crate::names::STREAM_RULE.to_owned(),
                );
            }
        }
        if let Some(app) = self.apps.keys().find(|app| !crate::names::is_app(app)) {
            return broken(&format!("apps.{app}"), crate::names::APP_RULE.to_owned());
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&self.log.level) {
            let allowed =
                "error, warn, info, debug, trace or directives like \"info,headwater_origin=debug\"";
            return broken("log.level", format!("{error}; allowed are {allowed}"));
        }
        Ok(())
    }
}

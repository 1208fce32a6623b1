//! The configuration: every key, its default, its range, and what must hold between keys.

mod access;
mod events;
mod in_force;
mod load;
mod telemetry;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::auth::addresses::Networks;

pub use access::{Auth, Expiry, Hooks, Jwt, OnFailure, Play, PublishKey};
pub use events::{Events, Mqtt, Webhook};
pub use in_force::InForce;
pub use load::{Error, Loader};
pub use telemetry::{Ratio, Telemetry};
pub use value::{
    NotABitRate, NotADuration, NotASize, bit_rate, bit_rate_text, duration, duration_text, size_bytes,
    size_text,
};

pub(crate) use access::check_keys;

use value::{
    address_or_none, address_out, bit_rate_out, bit_rate_within, duration_out, duration_within,
    number_within, size_out, size_within,
};

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
    /// `[tls]`: the certificate of the listeners that begin with TLS.
    pub tls: Tls,
    /// `[admin]`: where operators and their monitoring connect.
    pub admin: Admin,
    /// `[packaging]`: how media is cut and how long it is kept.
    pub packaging: Packaging,
    /// `[publish]`: who may publish, and what happens when a publisher leaves.
    pub publish: Publish,
    /// `[play]`: who may play.
    pub play: Play,
    /// `[auth]`: how tokens are known.
    pub auth: Auth,
    /// `[hooks]`: whose program is asked.
    pub hooks: Hooks,
    /// `[events]`: who is told what happens.
    pub events: Events,
    /// `[telemetry]`: who is sent traces.
    pub telemetry: Telemetry,
    /// `[limits]`: how much is carried.
    pub limits: Limits,
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
    /// The same for RTMPS; `None` for none, an empty text in the file.
    #[serde(deserialize_with = "address_or_none", serialize_with = "address_out")]
    pub tls_listen: Option<SocketAddr>,
    /// Whose connections begin with the PROXY protocol.
    pub proxy_protocol_from: Networks,
    /// Connections at a time.
    #[serde(deserialize_with = "number_within::<1, 1_000_000, _>")]
    pub max_connections: u32,
    /// Connections at a time from one address (IPv6: one /64 network).
    #[serde(deserialize_with = "number_within::<1, 1_000_000, _>")]
    pub max_connections_per_address: u32,
    /// For the handshake, then for `connect`, then for the publish command.
    #[serde(deserialize_with = "duration_within::<100, 60_000, _>", serialize_with = "duration_out")]
    pub handshake_timeout: Duration,
    /// A publisher that sends nothing for so long is treated as lost.
    #[serde(deserialize_with = "duration_within::<1_000, 600_000, _>", serialize_with = "duration_out")]
    pub idle_timeout: Duration,
    /// Bits per second that one connection is read with, averaged over 4 s; 0 for no limit.
    #[serde(deserialize_with = "bit_rate_within::<1, 100_000, _>", serialize_with = "bit_rate_out")]
    pub max_bitrate: u64,
}

/// `[http]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// The same for HTTPS; `None` for none, an empty text in the file.
    #[serde(deserialize_with = "address_or_none", serialize_with = "address_out")]
    pub tls_listen: Option<SocketAddr>,
    /// Whose connections begin with the PROXY protocol.
    pub proxy_protocol_from: Networks,
    /// Whose X-Forwarded-For is believed.
    pub forwarded_for_from: Networks,
    /// `/` shows the live streams and a player; when off, stream names are listed to nobody.
    pub page: bool,
    /// Connections at a time.
    #[serde(deserialize_with = "number_within::<1, 1_000_000, _>")]
    pub max_connections: u32,
    /// Connections at a time from one address (IPv6: one /64 network).
    #[serde(deserialize_with = "number_within::<1, 1_000_000, _>")]
    pub max_connections_per_address: u32,
    /// Requests at a time on one connection of HTTP/2.
    #[serde(deserialize_with = "number_within::<100, 65_536, _>")]
    pub max_streams_per_connection: u32,
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
    /// Scheme and host by which players reach this listener, e.g. `https://cdn.example.com`; empty: the scheme and the Host
    /// of each request. DASH's clock has to be an absolute URL.
    pub public_url: String,
    /// How long players are answered as before once a shutdown has ended the publishers: the time to fetch what was published last.
    /// Where nobody has asked for anything it does not wait.
    #[serde(deserialize_with = "duration_within::<0, 60_000, _>", serialize_with = "duration_out")]
    pub shutdown_delay: Duration,
    /// How long a shutdown waits for running responses.
    #[serde(deserialize_with = "duration_within::<0, 600_000, _>", serialize_with = "duration_out")]
    pub drain_timeout: Duration,
}

/// `[tls]`. Both files or none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// File with the certificate and its chain, PEM.
    pub certificate: String,
    /// File with its private key, PEM.
    pub key: String,
}

impl Tls {
    /// The files of certificate and key, when there are any.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        (!self.certificate.is_empty()).then(|| (Path::new(&self.certificate), Path::new(&self.key)))
    }
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// What every request has to show as a bearer token; needed on an address that others reach, empty for none.
    pub token: Secret,
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
    /// Added to the time of day at which a stream's media clock starts: how players take a stream that has run for so long.
    #[serde(deserialize_with = "duration_within::<0, 31_536_000_000, _>", serialize_with = "duration_out")]
    pub media_time_offset: Duration,
    /// Tracks of ID3 tags and of splice information are announced, so that both can be inserted.
    pub timed_metadata: bool,
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
    /// What becomes of a newcomer on a name that is being published.
    pub takeover: Takeover,
    /// Publishers on this machine need no key.
    pub loopback_trusted: bool,
    /// A publisher faster than real time is slowed down to it.
    pub pace: bool,
    /// Who may publish from elsewhere. When empty, one random key is made and printed at start.
    pub keys: Vec<PublishKey>,
    /// File with more of them, which is read again when it changes; empty for none.
    keys_file: String,
    /// From where alone somebody may publish; from anywhere when empty.
    pub allow: Networks,
    /// From where nobody may publish.
    pub deny: Networks,
}

impl Publish {
    /// The file with more keys, when there is one.
    pub fn keys_file(&self) -> Option<&Path> {
        (!self.keys_file.is_empty()).then(|| Path::new(&self.keys_file))
    }
}

/// `publish.takeover`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Takeover {
    /// The newcomer takes the name over; whom it took it from gets it back when the newcomer is silent for 2 s, or after a
    /// minute.
    Immediate,
    /// The newcomer is refused, unless the publisher has been silent for 5 s.
    Refuse,
}

/// `[limits]`. What one connection may do is limited in the section of its listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Streams at a time: those whose publisher is waited for and those that have ended and can still be watched count.
    #[serde(deserialize_with = "number_within::<1, 1_000_000, _>")]
    pub max_streams: u32,
    /// Bytes of media that one stream may hold: what all its packagings list and retain, the segments under construction, what
    /// waits to be packaged, and what slow readers hold beyond that.
    #[serde(deserialize_with = "size_within::<1, 1_048_576, _>", serialize_with = "size_out")]
    pub max_bytes_per_stream: u64,
    /// Bytes of media that all streams together leave in `state_dir` for the next process; 0 for nothing.
    #[serde(deserialize_with = "size_within::<0, 1_048_576, _>", serialize_with = "size_out")]
    pub max_kept_bytes: u64,
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
    /// FLV over HTTP and WebSocket.
    pub flv: bool,
    /// MPEG-TS over HTTP, without segments.
    pub ts: bool,
    /// Fragmented MP4 over HTTP, without segments.
    pub mp4: bool,
    /// RTMP to players.
    pub rtmp: bool,
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
    /// FLV over HTTP and WebSocket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flv: Option<bool>,
    /// MPEG-TS over HTTP, without segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<bool>,
    /// Fragmented MP4 over HTTP, without segments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mp4: Option<bool>,
    /// RTMP to players.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtmp: Option<bool>,
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
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// What stands for a secret where one is printed.
const REDACTED: &str = "[redacted]";

/// What a response that was held has left for being sent.
const SENDING_MIN: Duration = Duration::from_secs(10);

impl Secret {
    /// A secret of that text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
            tls_listen: None,
            proxy_protocol_from: Networks::default(),
            max_connections: 2_000,
            max_connections_per_address: 500,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            max_bitrate: 100_000_000,
        }
    }
}

impl Default for Http {
    fn default() -> Http {
        Http {
            listen: any_address(8080),
            tls_listen: None,
            proxy_protocol_from: Networks::default(),
            forwarded_for_from: Networks::default(),
            page: true,
            max_connections: 10_000,
            max_connections_per_address: 2_000,
            max_streams_per_connection: 1_024,
            max_held_requests: 5_000,
            max_held_requests_per_address: 200,
            first_byte_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_stall_timeout: Duration::from_secs(10),
            response_timeout: Duration::from_secs(300),
            hold_timeout: Duration::from_secs(12),
            public_url: String::new(),
            shutdown_delay: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for Admin {
    fn default() -> Admin {
        Admin { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)), token: Secret::default() }
    }
}

impl Default for Packaging {
    fn default() -> Packaging {
        Packaging {
            segment_duration: Duration::from_secs(2),
            part_duration: Duration::from_millis(200),
            window: Duration::from_secs(20),
            media_time_offset: Duration::ZERO,
            timed_metadata: false,
        }
    }
}

impl Default for Publish {
    fn default() -> Publish {
        Publish {
            grace: Duration::from_secs(60),
            end_delay: Duration::from_secs(3),
            takeover: Takeover::Immediate,
            loopback_trusted: true,
            pace: true,
            keys: Vec::new(),
            keys_file: String::new(),
            allow: Networks::default(),
            deny: Networks::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_streams: 10_000, max_bytes_per_stream: 512 << 20, max_kept_bytes: 512 << 20 }
    }
}

impl Outputs {
    /// CMAF segments are made.
    pub fn cmaf(self) -> bool {
        self.llhls || self.dash
    }

    /// Samples are kept for outputs without segments.
    pub fn continuous(self) -> bool {
        self.flv || self.ts || self.mp4 || self.rtmp
    }
}

impl Default for Outputs {
    fn default() -> Outputs {
        Outputs { hls: true, llhls: true, dash: true, flv: true, ts: true, mp4: true, rtmp: true }
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
            flv: own.flv.unwrap_or(self.outputs.flv),
            ts: own.ts.unwrap_or(self.outputs.ts),
            mp4: own.mp4.unwrap_or(self.outputs.mp4),
            rtmp: own.rtmp.unwrap_or(self.outputs.rtmp),
        }
    }

    /// What one value alone can't show. The first broken rule, as (key, what is wrong and what is allowed).
    fn check(&self) -> Result<(), (String, String)> {
        let broken = |key: &str, reason: String| Err((key.to_owned(), reason));
        let listeners = [
            ("rtmp.listen", Some(self.rtmp.listen)),
            ("http.listen", Some(self.http.listen)),
            ("admin.listen", Some(self.admin.listen)),
            ("rtmp.tls_listen", self.rtmp.tls_listen),
            ("http.tls_listen", self.http.tls_listen),
        ];
        let listeners: Vec<_> =
            listeners.iter().filter_map(|(key, address)| Some((*key, (*address)?))).collect();
        for (index, (key, address)) in listeners.iter().enumerate() {
            if let Some((other, _)) =
                listeners.iter().take(index).find(|(_, earlier)| earlier == address && address.port() != 0)
            {
                return broken(key, format!("the same address as {other}; each listener needs its own"));
            }
        }
        if self.tls.certificate.is_empty() != self.tls.key.is_empty() {
            let key = if self.tls.key.is_empty() { "tls.key" } else { "tls.certificate" };
            return broken(key, "empty; tls.certificate and tls.key are given together".to_owned());
        }
        let with_tls = [("rtmp.tls_listen", self.rtmp.tls_listen), ("http.tls_listen", self.http.tls_listen)];
        if let Some((key, _)) = with_tls.iter().find(|(_, address)| address.is_some())
            && self.tls.files().is_none()
        {
            return broken(key, "needs a certificate: tls.certificate and tls.key".to_owned());
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
        access::check(self)?;
        self.events.check()?;
        self.telemetry.check()?;
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

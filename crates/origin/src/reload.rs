//! What another configuration changes while the process runs (SIGHUP, `POST /api/v1/reload`): which keys differ, and what that does.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use toml::Value;

use crate::config::Config;

/// What a key that differs does without a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It is in force.
    AtOnce,
    /// In force for connections that are accepted from now on; those that there are keep what they began with.
    NewConnections,
    /// In force for streams that begin from now on, under a name that is not here. A stream's outputs, segments and window stay as they
    /// are as long as it lives: its players have them in hand.
    NewStreams,
    /// Nothing: addresses are bound, folders opened and receivers of events connected when the process starts.
    AtRestart,
}

/// Every key; a name with a full stop at its end stands for all keys below it.
const EFFECTS: &[(&str, Effect)] = &[
    ("state_dir", Effect::AtRestart),
    ("rtmp.listen", Effect::AtRestart),
    ("rtmp.tls_listen", Effect::AtRestart),
    ("rtmp.proxy_protocol_from", Effect::NewConnections),
    ("rtmp.max_connections", Effect::AtOnce),
    ("rtmp.max_connections_per_address", Effect::AtOnce),
    ("rtmp.handshake_timeout", Effect::NewConnections),
    ("rtmp.idle_timeout", Effect::NewConnections),
    ("rtmp.max_bitrate", Effect::NewConnections),
    ("http.listen", Effect::AtRestart),
    ("http.tls_listen", Effect::AtRestart),
    ("http.proxy_protocol_from", Effect::NewConnections),
    ("http.forwarded_for_from", Effect::AtOnce),
    ("http.page", Effect::AtOnce),
    ("http.max_connections", Effect::AtOnce),
    ("http.max_connections_per_address", Effect::AtOnce),
    ("http.max_streams_per_connection", Effect::NewConnections),
    ("http.max_held_requests", Effect::AtOnce),
    ("http.max_held_requests_per_address", Effect::AtOnce),
    ("http.first_byte_timeout", Effect::NewConnections),
    ("http.header_timeout", Effect::NewConnections),
    ("http.idle_timeout", Effect::NewConnections),
    ("http.write_stall_timeout", Effect::NewConnections),
    ("http.response_timeout", Effect::NewConnections),
    ("http.hold_timeout", Effect::AtOnce),
    ("http.public_url", Effect::AtOnce),
    ("http.shutdown_delay", Effect::AtOnce),
    ("http.drain_timeout", Effect::AtOnce),
    ("tls.certificate", Effect::AtRestart),
    ("tls.key", Effect::AtRestart),
    ("admin.listen", Effect::AtRestart),
    ("admin.token", Effect::AtOnce),
    ("packaging.segment_duration", Effect::NewStreams),
    ("packaging.part_duration", Effect::NewStreams),
    ("packaging.window", Effect::NewStreams),
    ("packaging.media_time_offset", Effect::NewStreams),
    ("packaging.timed_metadata", Effect::NewStreams),
    ("publish.grace", Effect::AtOnce),
    ("publish.end_delay", Effect::AtOnce),
    ("publish.takeover", Effect::AtOnce),
    ("publish.loopback_trusted", Effect::AtOnce),
    ("publish.pace", Effect::NewConnections),
    ("publish.keys", Effect::AtOnce),
    ("publish.keys_file", Effect::AtOnce),
    ("publish.allow", Effect::AtOnce),
    ("publish.deny", Effect::AtOnce),
    ("play.token_required", Effect::AtOnce),
    ("play.allow", Effect::AtOnce),
    ("play.deny", Effect::AtOnce),
    ("auth.token_secrets", Effect::AtOnce),
    ("auth.jwt.secret", Effect::AtOnce),
    ("auth.jwt.jwks_file", Effect::AtOnce),
    ("auth.jwt.jwks_url", Effect::AtOnce),
    ("auth.jwt.jwks_refresh", Effect::AtOnce),
    ("auth.jwt.issuer", Effect::AtOnce),
    ("auth.jwt.audience", Effect::AtOnce),
    ("hooks.on_publish", Effect::AtOnce),
    ("hooks.on_play", Effect::AtOnce),
    ("hooks.on_unpublish", Effect::AtOnce),
    ("hooks.secret", Effect::AtOnce),
    ("hooks.ca", Effect::AtOnce),
    ("hooks.timeout", Effect::AtOnce),
    ("hooks.retries", Effect::AtOnce),
    ("hooks.on_failure", Effect::AtOnce),
    ("hooks.play_remembered", Effect::AtOnce),
    ("events.webhooks", Effect::AtRestart),
    ("events.mqtt.broker", Effect::AtRestart),
    ("events.mqtt.username", Effect::AtRestart),
    ("events.mqtt.password", Effect::AtRestart),
    ("events.mqtt.client_id", Effect::AtRestart),
    ("events.mqtt.topic", Effect::AtRestart),
    ("events.mqtt.keep_alive", Effect::AtRestart),
    ("telemetry.otlp_endpoint", Effect::AtRestart),
    ("telemetry.authorization", Effect::AtRestart),
    ("telemetry.ca", Effect::AtRestart),
    ("telemetry.sample_ratio", Effect::AtRestart),
    ("limits.max_streams", Effect::AtOnce),
    ("limits.max_bytes_per_stream", Effect::AtOnce),
    ("limits.max_kept_bytes", Effect::AtOnce),
    ("outputs.hls", Effect::NewStreams),
    ("outputs.llhls", Effect::NewStreams),
    ("outputs.dash", Effect::NewStreams),
    ("outputs.flv", Effect::NewStreams),
    ("outputs.ts", Effect::NewStreams),
    ("outputs.mp4", Effect::NewStreams),
    ("outputs.rtmp", Effect::NewStreams),
    ("apps.", Effect::NewStreams),
    ("log.level", Effect::AtOnce),
    ("log.format", Effect::AtRestart),
];

impl Effect {
    /// Of the key of that name; `None` for one that nobody has thought of.
    pub fn of(name: &str) -> Option<Effect> {
        let named = EFFECTS.iter().find(|(known, _)| name == *known);
        let below = || EFFECTS.iter().find(|(known, _)| known.ends_with('.') && name.starts_with(known));
        named.or_else(below).map(|(_, effect)| *effect)
    }
}

/// The names of keys that differ, by what that does; no value, for some are secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// In force from now on.
    pub at_once: BTreeSet<String>,
    /// In force for connections that are accepted from now on.
    pub for_new_connections: BTreeSet<String>,
    /// In force for streams that begin from now on.
    pub for_new_streams: BTreeSet<String>,
    /// In force after a restart.
    pub at_restart: BTreeSet<String>,
}

impl Differences {
    /// Between two configurations.
    pub fn between(before: &Config, after: &Config) -> Differences {
        let mut names = BTreeSet::new();
        if let (Ok(Value::Table(before)), Ok(Value::Table(after))) =
            (Value::try_from(before), Value::try_from(after))
        {
            compare("", &before, &after, &mut names);
        }
        // Written down, all secrets look the same.
        let secrets = [
            ("publish.keys", before.publish.keys != after.publish.keys),
            ("auth.token_secrets", before.auth.token_secrets != after.auth.token_secrets),
            ("auth.jwt.secret", before.auth.jwt.secret != after.auth.jwt.secret),
            ("hooks.secret", before.hooks.secret != after.hooks.secret),
            ("events.webhooks", before.events.webhooks != after.events.webhooks),
            ("events.mqtt.password", before.events.mqtt.password != after.events.mqtt.password),
            ("admin.token", before.admin.token != after.admin.token),
            ("telemetry.authorization", before.telemetry.authorization != after.telemetry.authorization),
        ];
        names.extend(secrets.iter().filter(|(_, differs)| *differs).map(|(name, _)| (*name).to_owned()));
        let mut differences = Differences::default();
        for name in names {
            let by_effect = match Effect::of(&name) {
                Some(Effect::AtOnce) => &mut differences.at_once,
                Some(Effect::NewConnections) => &mut differences.for_new_connections,
                Some(Effect::NewStreams) => &mut differences.for_new_streams,
                Some(Effect::AtRestart) | None => &mut differences.at_restart,
            };
            by_effect.insert(name);
        }
        differences
    }

    /// What a reload has done that found `loaded` where `before` was in force, in a process that started with `started`: what needs a
    /// restart is told until there is one.
    pub fn of_reload(started: &Config, before: &Config, loaded: &Config) -> Differences {
        let at_restart = Differences::between(started, loaded).at_restart;
        Differences { at_restart, ..Differences::between(before, loaded) }
    }
}

/// In words, as events and answers have them.
impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration was read again")?;
        let parts = [
            ("in force", &self.at_once),
            ("for new connections", &self.for_new_connections),
            ("for new streams", &self.for_new_streams),
            ("after a restart", &self.at_restart),
        ];
        let mut parts = parts.iter().filter(|(_, names)| !names.is_empty()).peekable();
        if parts.peek().is_none() {
            return f.write_str("; nothing has changed");
        }
        parts.try_for_each(|(effect, names)| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            write!(f, "; {effect}: {}", names.join(", "))
        })
    }
}

fn compare(prefix: &str, before: &toml::Table, after: &toml::Table, names: &mut BTreeSet<String>) {
    for key in before.keys().chain(after.keys()) {
        let name = format!("{prefix}{key}");
        match (before.get(key), after.get(key)) {
            (Some(Value::Table(before)), Some(Value::Table(after))) => {
                compare(&format!("{name}."), before, after, names);
            }
            (before, after) if before != after => drop(names.insert(name)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{App, AppOutputs, Loader, LogFormat, Secret};
    use crate::manual::DEFAULT_CONFIGURATION;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The names of all keys below a table.
    fn leaves(prefix: &str, table: &toml::Table, found: &mut Vec<String>) {
        for (key, value) in table {
            let name = format!("{prefix}{key}");
            match value {
                Value::Table(below) if !below.is_empty() => leaves(&format!("{name}."), below, found),
                _ => found.push(name),
            }
        }
    }

    #[test]
    fn every_key_has_one_effect() {
        let documented: toml::Table = toml::from_str(DEFAULT_CONFIGURATION).unwrap();
        let Value::Table(typed) = Value::try_from(Config::default()).unwrap() else { panic!("a table") };
        let (mut keys, mut of_type) = (Vec::new(), Vec::new());
        leaves("", &documented, &mut keys);
        leaves("", &typed, &mut of_type);
        keys.sort_unstable();
        of_type.sort_unstable();
        assert_eq!(keys, of_type, "config/headwater.toml has every key");
        assert!(keys.len() > 70, "{keys:?}");
        // What stands in a comment there.
        keys.retain(|key| key != "apps");
        keys.push("apps.live.outputs.hls".to_owned());
        for key in &keys {
            let is_meant = |known: &str| key == known || (known.ends_with('.') && key.starts_with(known));
            let meant: Vec<_> = EFFECTS.iter().filter(|(known, _)| is_meant(known)).collect();
            assert_eq!(meant.len(), 1, "{key}: {meant:?}");
        }
        // And nothing has one that is no key.
        for (known, _) in EFFECTS {
            let is_meant = |key: &String| key == known || (known.ends_with('.') && key.starts_with(known));
            assert!(keys.iter().any(is_meant), "{known}");
        }
    }

    /// docs/operate.md has the same table.
    #[test]
    fn the_table_for_operators_is_this_one() {
        let text =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operate.md")).unwrap();
        let table =
            text.split("| in force | keys |").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
        for (name, effect) in EFFECTS {
            let row = match effect {
                Effect::AtOnce => "| at once |",
                Effect::NewConnections => "| for new connections |",
                Effect::NewStreams => "| for new streams |",
                Effect::AtRestart => "| after a restart |",
            };
            let section = name.split('.').next().unwrap_or_default();
            let whole = EFFECTS
                .iter()
                .filter(|(other, _)| other.split('.').next() == Some(section))
                .all(|(_, other)| other == effect);
            let wanted = if whole && name.contains('.') {
                format!("`{section}.*`")
            } else {
                format!("`{}`", name.trim_end_matches('.'))
            };
            let rows: Vec<&str> = table.lines().filter(|line| line.contains(&wanted)).collect();
            assert!(matches!(*rows, [found] if found.starts_with(row)), "{wanted}: {row} {rows:?}");
        }
    }

    #[test]
    fn differences_by_name() {
        let before = Config::default();
        assert_eq!(Differences::between(&before, &before), Differences::default());
        let mut after = Loader::new().flag("-", "http.listen", "127.0.0.1:9").load().unwrap();
        after.play.token_required = true;
        after.auth.token_secrets = vec![Secret::new("planted-secret-one")];
        after.http.max_held_requests = 7;
        after.http.idle_timeout = Duration::from_secs(100);
        after.limits.max_streams = 7;
        after.outputs.hls = false;
        after.events.mqtt.password = Secret::new("planted-password");
        after.apps.insert("live".to_owned(), App::default());
        let expected = Differences {
            at_once: names(&[
                "auth.token_secrets",
                "http.max_held_requests",
                "limits.max_streams",
                "play.token_required",
            ]),
            for_new_connections: names(&["http.idle_timeout"]),
            for_new_streams: names(&["apps.live", "outputs.hls"]),
            at_restart: names(&["events.mqtt.password", "http.listen"]),
        };
        assert_eq!(Differences::between(&before, &after), expected);
        assert_eq!(
            expected.to_string(),
            "the configuration was read again; \
             in force: auth.token_secrets, http.max_held_requests, limits.max_streams, play.token_required; \
             for new connections: http.idle_timeout; for new streams: apps.live, outputs.hls; \
             after a restart: events.mqtt.password, http.listen"
        );
        // The same number of secrets, and other ones.
        let mut other = after.clone();
        other.auth.token_secrets = vec![Secret::new("planted-secret-two")];
        let between = Differences::between(&after, &other);
        assert_eq!(between.at_once, names(&["auth.token_secrets"]));
        assert!(!format!("{between:?}").contains("planted"));
        // A restart is needed until there is one; what is in force is told once.
        let again = Differences::of_reload(&before, &other, &other);
        assert_eq!(again, Differences { at_restart: expected.at_restart, ..Differences::default() });
        assert!(Differences::default().to_string().ends_with("; nothing has changed"));
    }

    /// What needs a restart stays as it was at the start, and nothing else does.
    #[test]
    fn only_what_needs_a_restart_waits_for_one() {
        let started = Config::default();
        let mut loaded = Loader::new()
            .flag("-", "rtmp.listen", "127.0.0.1:9")
            .flag("-", "rtmp.tls_listen", "127.0.0.1:10")
            .flag("-", "http.listen", "127.0.0.1:11")
            .flag("-", "http.tls_listen", "127.0.0.1:12")
            .flag("-", "admin.listen", "127.0.0.1:13")
            .flag("-", "tls.certificate", "/c")
            .flag("-", "tls.key", "/k")
            .flag("-", "events.mqtt.broker", "127.0.0.1:14")
            .load()
            .unwrap()
            .with_state_dir(Some("/somewhere".into()));
        loaded.log.format = LogFormat::Json;
        loaded.log.level = "debug".to_owned();
        loaded.limits.max_streams = 7;
        loaded.packaging.window = Duration::from_secs(60);
        let outputs = AppOutputs { hls: Some(false), ..AppOutputs::default() };
        loaded.apps.insert("live".to_owned(), App { outputs });
        let expected = Differences::between(&started, &loaded);
        assert_eq!(expected.at_restart.len(), 10, "{:?}", expected.at_restart);
        let in_force = Differences::between(&started, &loaded.with_start_of(&started));
        assert_eq!(in_force, Differences { at_restart: BTreeSet::new(), ..expected });
    }
}

//! What another configuration changes while the process runs (SIGHUP): which keys differ, and which of them take effect at once.

use std::collections::BTreeSet;

use toml::Value;

use crate::config::Config;

/// What takes effect at once; a name with a full stop at its end stands for all keys below it. Everything else is read when the
/// process starts: addresses are bound then, and what a stream is made of stays the same as long as it lives.
const AT_ONCE: [&str; 14] = [
    "publish.keys",
    "publish.keys_file",
    "publish.allow",
    "publish.deny",
    "publish.loopback_trusted",
    "play.",
    "auth.",
    "hooks.",
    "rtmp.max_connections",
    "rtmp.max_connections_per_address",
    "http.max_connections",
    "http.max_connections_per_address",
    "http.max_held_requests",
    "http.max_held_requests_per_address",
];

/// The names of keys that differ; no value, for some are secret.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// In effect from now on.
    pub at_once: BTreeSet<String>,
    /// In effect after a restart.
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
            ("admin.token", before.admin.token != after.admin.token),
            ("telemetry.authorization", before.telemetry.authorization != after.telemetry.authorization),
        ];
        names.extend(secrets.iter().filter(|(_, differs)| *differs).map(|(name, _)| (*name).to_owned()));
        let (at_once, at_restart) = names.into_iter().partition(|name| is_at_once(name));
        Differences { at_once, at_restart }
    }
}

fn is_at_once(name: &str) -> bool {
    AT_ONCE.iter().any(|known| name == *known || (known.ends_with('.') && name.starts_with(known)))
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
    use super::*;
    use crate::config::{Loader, Secret};

    #[test]
    fn differences_by_name() {
        let before = Config::default();
        assert_eq!(Differences::between(&before, &before), Differences::default());
        let mut after = Loader::new().flag("-", "http.listen", "127.0.0.1:9").load().unwrap();
        after.play.token_required = true;
        after.auth.token_secrets = vec![Secret::new("planted-secret-one")];
        after.http.max_held_requests = 7;
        after.limits.max_streams = 7;
        after.apps.insert("live".to_owned(), crate::config::App::default());
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expected = Differences {
            at_once: names(&["auth.token_secrets", "http.max_held_requests", "play.token_required"]),
            at_restart: names(&["apps.live", "http.listen", "limits.max_streams"]),
        };
        assert_eq!(Differences::between(&before, &after), expected);
        // The same number of secrets, and other ones.
        let mut other = after.clone();
        other.auth.token_secrets = vec![Secret::new("planted-secret-two")];
        let between = Differences::between(&after, &other);
        assert_eq!(between.at_once, names(&["auth.token_secrets"]));
        assert!(!format!("{between:?}").contains("planted"));
    }
}

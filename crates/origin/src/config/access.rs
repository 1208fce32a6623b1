//! The part of the configuration that says who may publish and who may play.

use std::path::Path;
use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use toml::value::{Datetime, Offset};

use super::value::{duration_out, duration_within, number_within};
use super::{Config, Secret};
use crate::auth::addresses::Networks;

/// Longest publish key: with its app and stream it stays far below the 1,024 bytes that encoders' key fields hold.
const KEY_BYTES_MAX: usize = 256;

/// Shortest publish key: below this, guessing over the network is a matter of hours.
const KEY_BYTES_MIN: usize = 8;

/// Shortest secret that signs. Signatures can be tried without asking anybody, as fast as a machine computes them.
const SECRET_BYTES_MIN: usize = 16;

/// `[play]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Play {
    /// Nobody plays without a token or a JWT.
    pub token_required: bool,
    /// From where alone somebody may play; from anywhere when empty.
    pub allow: Networks,
    /// From where nobody may play.
    pub deny: Networks,
}

/// `[auth]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// What tokens are signed with: the first one signs, all of them verify.
    pub token_secrets: Vec<Secret>,
    /// `[auth.jwt]`.
    pub jwt: Jwt,
}

/// `[auth.jwt]`. On when it has a secret or a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jwt {
    /// For HS256; empty for none.
    pub secret: Secret,
    /// File with the JWK Set for RS256 and ES256; empty for none.
    pub jwks_file: String,
    /// Its URL instead; empty for none.
    pub jwks_url: String,
    /// How often it is fetched.
    #[serde(deserialize_with = "duration_within::<10_000, 86_400_000, _>", serialize_with = "duration_out")]
    pub jwks_refresh: Duration,
    /// The `iss` that a token needs; empty for any or none.
    pub issuer: String,
    /// The `aud` that a token needs; empty for any or none.
    pub audience: String,
}

impl Jwt {
    /// Whether anything could be verified.
    pub fn is_on(&self) -> bool {
        !self.secret.is_empty() || self.jwks_file().is_some() || self.jwks_url().is_some()
    }

    /// The file of the set.
    pub fn jwks_file(&self) -> Option<&Path> {
        (!self.jwks_file.is_empty()).then(|| Path::new(&self.jwks_file))
    }

    /// The URL of the set.
    pub fn jwks_url(&self) -> Option<&str> {
        (!self.jwks_url.is_empty()).then_some(&*self.jwks_url)
    }
}

impl Default for Jwt {
    fn default() -> Jwt {
        Jwt {
            secret: Secret::default(),
            jwks_file: String::new(),
            jwks_url: String::new(),
            jwks_refresh: Duration::from_secs(300),
            issuer: String::new(),
            audience: String::new(),
        }
    }
}

/// `[hooks]`: addresses of an operator's program; an empty one is not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hooks {
    /// Asked whether somebody may publish.
    pub on_publish: String,
    /// Asked whether somebody may play.
    pub on_play: String,
    /// Told that a publisher has gone.
    pub on_unpublish: String,
    /// What requests are signed with; empty: they are not.
    pub secret: Secret,
    /// PEM file with roots that are trusted beside the public ones; empty for none.
    pub ca: String,
    /// How long one try may take.
    #[serde(deserialize_with = "duration_within::<100, 30_000, _>", serialize_with = "duration_out")]
    pub timeout: Duration,
    /// Further tries after a failure.
    #[serde(deserialize_with = "number_within::<0, 10, _>")]
    pub retries: u32,
    /// What happens when no try brought an answer.
    pub on_failure: OnFailure,
    /// How long a player's permission holds.
    #[serde(deserialize_with = "duration_within::<1_000, 3_600_000, _>", serialize_with = "duration_out")]
    pub play_remembered: Duration,
}

/// `hooks.on_failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Whoever was asked about is refused.
    Deny,
    /// Whoever was asked about is let in.
    Allow,
}

impl Default for Hooks {
    fn default() -> Hooks {
        Hooks {
            on_publish: String::new(),
            on_play: String::new(),
            on_unpublish: String::new(),
            secret: Secret::default(),
            ca: String::new(),
            timeout: Duration::from_secs(3),
            retries: 1,
            on_failure: OnFailure::Deny,
            play_remembered: Duration::from_secs(60),
        }
    }
}

/// One of `publish.keys`, or of the keys file.
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
    /// From when on it opens nothing; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Expiry>,
}

/// A moment: a date and a time with its offset, as in `2026-12-31T23:59:59Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry(u64);

impl Expiry {
    /// Seconds since 1970.
    pub fn unix_seconds(self) -> u64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Expiry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Expiry, D::Error> {
        const NEEDED: &str = "a date, a time and an offset are needed, as in 2026-12-31T23:59:59Z";
        let read = Datetime::deserialize(deserializer).map_err(|_| D::Error::custom(NEEDED))?;
        let seconds = read.date.zip(read.time).zip(read.offset).map(|((date, time), offset)| {
            let minutes = match offset {
                Offset::Z => 0,
                Offset::Custom { minutes } => i64::from(minutes),
            };
            let days = days_since_1970(i64::from(date.year), i64::from(date.month), i64::from(date.day));
            let time = i64::from(time.hour) * 3_600
                + i64::from(time.minute) * 60
                + i64::from(time.second.unwrap_or_default());
            days * 86_400 + time - minutes * 60
        });
        // Before 1970 is over as well.
        seconds.map(|seconds| Expiry(seconds.try_into().unwrap_or(0))).ok_or_else(|| D::Error::custom(NEEDED))
    }
}

impl Serialize for Expiry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

/// Of a date in the Gregorian calendar, for years of four digits: years begin in March, so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 306 days are between the 1st of March of the year 0 and its end, 719,162 from there to 1970.
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// What must hold of publish keys: the first broken rule, as (key, what is wrong and what is allowed). `name`: of the list.
pub(crate) fn check_keys(name: &str, keys: &[PublishKey]) -> Result<(), (String, String)> {
    for (index, entry) in keys.iter().enumerate() {
        let broken = |field: &str, reason: String| Err((format!("{name}[{index}].{field}"), reason));
        let key = entry.key.expose();
        if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
            return broken("key", format!("{KEY_BYTES_MIN} to {KEY_BYTES_MAX} characters are allowed"));
        }
        if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b)) {
            // It travels in URLs and in encoders' key fields, where `&`, `?`, `/`, `%` and `+` mean something.
            return broken("key", "only A-Z, a-z, 0-9 and . _ ~ - are allowed".to_owned());
        }
        if entry.app.as_ref().is_some_and(|app| !crate::names::is_app(app)) {
            return broken("app", crate::names::APP_RULE.to_owned());
        }
        if entry.stream.as_ref().is_some_and(|stream| !crate::names::is_stream(stream)) {
            return broken("stream", crate::names::STREAM_RULE.to_owned());
        }
    }
    let mut seen = std::collections::HashSet::new();
    match keys.iter().position(|entry| !seen.insert(entry.key.expose())) {
        Some(index) => Err((format!("{name}[{index}].key"), "the same key as an earlier entry's".to_owned())),
        None => Ok(()),
    }
}

/// What one value alone can't show, of the whole configuration's part here.
pub(super) fn check(config: &Config) -> Result<(), (String, String)> {
    let broken = |key: &str, reason: &str| Err((key.to_owned(), reason.to_owned()));
    check_keys("publish.keys", &config.publish.keys)?;
    let signing = config.auth.token_secrets.iter().enumerate();
    let secrets = signing
        .map(|(index, secret)| (format!("auth.token_secrets[{index}]"), secret, false))
        .chain([("auth.jwt.secret".to_owned(), &config.auth.jwt.secret, true)])
        .chain([("hooks.secret".to_owned(), &config.hooks.secret, true)])
        .chain([("admin.token".to_owned(), &config.admin.token, true)]);
    for (key, secret, may_be_empty) in secrets {
        if secret.expose().len() < SECRET_BYTES_MIN && !(may_be_empty && secret.is_empty()) {
            return Err((key, format!("at least {SECRET_BYTES_MIN} characters are needed")));
        }
    }
    if !config.admin.listen.ip().to_canonical().is_loopback() && config.admin.token.is_empty() {
        return broken("admin.listen", "others reach this address, so admin.token is needed");
    }
    let jwt = &config.auth.jwt;
    if jwt.jwks_file().is_some() && jwt.jwks_url().is_some() {
        return broken("auth.jwt.jwks_url", "there is auth.jwt.jwks_file already; one of them is allowed");
    }
    let hooks = &config.hooks;
    for (key, url) in [
        ("auth.jwt.jwks_url", &jwt.jwks_url),
        ("hooks.on_publish", &hooks.on_publish),
        ("hooks.on_play", &hooks.on_play),
        ("hooks.on_unpublish", &hooks.on_unpublish),
    ] {
        let host = url.strip_prefix("http://").or(url.strip_prefix("https://"));
        let is_url = url.parse::<hyper::Uri>().is_ok() && host.is_some_and(|host| !host.is_empty());
        if !url.is_empty() && !is_url {
            return broken(key, "not a URL; http:// or https://, a host and a path are allowed");
        }
    }
    if config.play.token_required && config.auth.token_secrets.is_empty() && !jwt.is_on() {
        return broken("play.token_required", "needs auth.token_secrets or auth.jwt to know tokens by");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-01-01T00:00:00Z", 1_767_225_600),
            ("2026-01-01T01:30:00+01:30", 1_767_225_600),
            ("2025-12-31T18:00:00-06:00", 1_767_225_600),
            ("2024-02-29T23:59:59Z", 1_709_251_199),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("1969-12-31T23:59:59Z", 0),
        ] {
            let key = format!("key = \"12345678\"\nexpires = {text}");
            let key: PublishKey = toml::from_str(&key).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(key.expires.map(Expiry::unix_seconds), Some(expected), "{text}");
        }
        for text in
            ["2026-01-01", "2026-01-01T00:00:00", "00:00:00", "\"2026-01-01T00:00:00Z\"", "1767225600"]
        {
            assert!(
                toml::from_str::<PublishKey>(&format!("key = \"12345678\"\nexpires = {text}")).is_err(),
                "{text}"
            );
        }
    }
}

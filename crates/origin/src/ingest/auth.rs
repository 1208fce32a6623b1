//! Who may publish what (DESIGN 7): loopback without a key, everybody else with one.

use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::config::{Config, PublishKey, Secret};
use crate::names;

/// The query parameter that carries the key.
const KEY_PARAMETER: &str = "key";

/// Why a publisher is refused. The texts go to the publisher: they name no secret and no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No key, from elsewhere than this machine.
    #[error("publishing needs a key: use the stream name cam?key=SECRET")]
    KeyMissing,
    /// A key that opens nothing, or not this stream.
    #[error("the publish key is wrong for this stream")]
    KeyWrong,
    /// The app's name is one of ours.
    #[error("this app name is reserved")]
    AppReserved,
    /// The stream's name ends like one of our outputs.
    #[error("a stream name can't end in .m3u8, .mpd, .flv, .ts, .mp4 or .m4s")]
    NameReserved,
}

/// Decides from the configuration and the keys in force.
#[derive(Debug, Clone)]
pub struct Authorizer {
    loopback_trusted: bool,
    keys: Arc<[PublishKey]>,
}

impl Authorizer {
    /// By the configuration's keys, or by `generated` when it has none.
    pub fn new(config: &Config, generated: Option<Secret>) -> Authorizer {
        let mut keys = config.publish.keys.clone();
        if let Some(key) = generated.filter(|_| keys.is_empty()) {
            keys.push(PublishKey { key, app: None, stream: None });
        }
        Authorizer { loopback_trusted: config.publish.loopback_trusted, keys: keys.into() }
    }

    /// The stream that a publisher at `address` may publish when it asks for `app`/`name` with the key of its query.
    ///
    /// # Errors
    /// [`Denied`] with the reason to tell it.
    pub fn authorize(
        &self,
        address: IpAddr,
        app: &str,
        name: &str,
        query_key: Option<&str>,
    ) -> Result<String, Denied> {
        if !names::is_app(app) {
            return Err(Denied::AppReserved);
        }
        let name = self.decide(address, app, name, query_key)?;
        if names::is_stream(&name) { Ok(name) } else { Err(Denied::NameReserved) }
    }

    fn decide(
        &self,
        address: IpAddr,
        app: &str,
        name: &str,
        query_key: Option<&str>,
    ) -> Result<String, Denied> {
        let opens = |key: &PublishKey| key.app.as_deref().is_none_or(|allowed| allowed == app);
        if let Some(given) = query_key {
            // A wrong key is refused from everywhere: who sends one means it.
            let fits = |key: &&PublishKey| {
                equal(key.key.expose(), given)
                    && opens(key)
                    && key.stream.as_deref().is_none_or(|s| s == name)
            };
            // Every key is looked at, whichever fits.
            let fitting = self.keys.iter().filter(fits).count();
            return if fitting > 0 { Ok(name.to_owned()) } else { Err(Denied::KeyWrong) };
        }
        // A key alone in place of the name stands for its stream: what a person pastes into OBS.
        let alone = |key: &&PublishKey| equal(key.key.expose(), name) && opens(key);
        if let Some(stream) = self.keys.iter().filter(alone).filter_map(|key| key.stream.clone()).next_back()
        {
            return Ok(stream);
        }
        if self.loopback_trusted && address.to_canonical().is_loopback() {
            return Ok(name.to_owned());
        }
        Err(Denied::KeyMissing)
    }
}

/// Compares digests, so that the time taken tells nothing of where two texts differ.
fn equal(secret: &str, given: &str) -> bool {
    Sha256::digest(secret.as_bytes())
        .iter()
        .zip(Sha256::digest(given.as_bytes()).iter())
        .fold(0, |difference, (a, b)| difference | (a ^ b))
        == 0
}

/// A random key: 160 bits in lower-case letters and digits that nobody mistakes for one another.
///
/// # Errors
/// When the system gives no random bytes.
pub fn generate_key() -> Result<Secret, getrandom::Error> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random)?;
    let text = random.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32))).map(|b| char::from(*b));
    Ok(Secret::new(text.collect::<String>()))
}

/// The key in a query, if one is there.
pub(super) fn query_key(query: Option<&headwater_rtmp::Query>) -> Option<String> {
    query.and_then(|query| query.parameter(KEY_PARAMETER)).map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorizer(keys: &[(&str, Option<&str>, Option<&str>)], loopback_trusted: bool) -> Authorizer {
        let mut config = Config::default();
        config.publish.loopback_trusted = loopback_trusted;
        config.publish.keys = keys
            .iter()
            .map(|(key, app, stream)| PublishKey {
                key: Secret::new(*key),
                app: app.map(str::to_owned),
                stream: stream.map(str::to_owned),
            })
            .collect();
        Authorizer::new(&config, Some(Secret::new("generated-key")))
    }

    #[test]
    fn table() {
        let near = "127.0.0.1";
        let far = "192.0.2.7";
        let keys: &[_] = &[
            ("any-secret", None, None),
            ("live-secret", Some("live"), None),
            ("cam-secret", Some("live"), Some("cam")),
        ];
        let ok = |name: &str| Ok(name.to_owned());
        for (case, keys, trusted, from, app, name, key, expected) in [
            ("loopback is free", keys, true, near, "live", "cam", None, ok("cam")),
            ("mapped loopback too", keys, true, "::ffff:127.0.0.1", "live", "cam", None, ok("cam")),
            ("IPv6 loopback too", keys, true, "::1", "live", "cam", None, ok("cam")),
            ("not when distrusted", keys, false, near, "live", "cam", None, Err(Denied::KeyMissing)),
            (
                "a wrong key is refused on loopback",
                keys,
                true,
                near,
                "live",
                "cam",
                Some("x"),
                Err(Denied::KeyWrong),
            ),
            ("elsewhere a key is needed", keys, true, far, "live", "cam", None, Err(Denied::KeyMissing)),
            ("key for anything", keys, true, far, "x", "y", Some("any-secret"), ok("y")),
            ("key for an app", keys, true, far, "live", "y", Some("live-secret"), ok("y")),
            ("key for another app", keys, true, far, "x", "y", Some("live-secret"), Err(Denied::KeyWrong)),
            ("key for a stream", keys, true, far, "live", "cam", Some("cam-secret"), ok("cam")),
            (
                "key for another stream",
                keys,
                true,
                far,
                "live",
                "y",
                Some("cam-secret"),
                Err(Denied::KeyWrong),
            ),
            ("a key alone stands for its stream", keys, true, far, "live", "cam-secret", None, ok("cam")),
            ("in its app only", keys, true, far, "x", "cam-secret", None, Err(Denied::KeyMissing)),
            ("on loopback as well", keys, true, near, "live", "cam-secret", None, ok("cam")),
            (
                "a key without a stream is no name",
                keys,
                true,
                far,
                "live",
                "any-secret",
                None,
                Err(Denied::KeyMissing),
            ),
            ("the generated key", &[], true, far, "live", "cam", Some("generated-key"), ok("cam")),
            (
                "not beside configured ones",
                keys,
                true,
                far,
                "live",
                "cam",
                Some("generated-key"),
                Err(Denied::KeyWrong),
            ),
            ("an empty key is a wrong one", &[], true, far, "live", "cam", Some(""), Err(Denied::KeyWrong)),
            ("reserved app", keys, true, near, "api", "cam", None, Err(Denied::AppReserved)),
            ("reserved ending", keys, true, near, "live", "cam.ts", None, Err(Denied::NameReserved)),
        ] {
            let authorizer = authorizer(keys, trusted);
            assert_eq!(authorizer.authorize(from.parse().unwrap(), app, name, key), expected, "{case}");
        }
    }

    #[test]
    fn generated_keys_differ_and_can_be_typed() {
        let (one, two) = (generate_key().unwrap(), generate_key().unwrap());
        assert_ne!(one.expose(), two.expose());
        assert_eq!(one.expose().len(), 32);
        assert!(one.expose().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    }
}

//! JSON Web Tokens (RFC 7519): HS256 with a secret of the configuration, RS256 and ES256 with the keys of a JWK Set (RFC 7517) that
//! comes from a file or from a URL and is renewed while the process runs.
//!
//! What a token allows stands in three claims of ours: `action` ("publish" or "play", or a list of both), and `app` and `stream`, each of
//! which covers everything when it is absent. `exp` is needed.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::crypto::{CryptoProvider, JwkUtils, JwtSigner, JwtVerifier};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::signature::{Error as Unverified, Verifier as Verify};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey, Validation};
use ring::{hmac, signature};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::token::Action;
use super::{Denied, client};
use crate::config;
use crate::looks;

/// Longest token that is looked at: RS256 with 4,096 bits and a dozen claims has some 1,200 bytes.
const JWT_BYTES_MAX: usize = 4 << 10;

/// Largest JWK Set: hundreds of keys.
const SET_BYTES_MAX: u64 = 256 << 10;

/// Keys of a set that are kept.
const SET_KEYS_MAX: usize = 256;

/// Clocks of whoever signs and ours may differ by so much.
const LEEWAY_SECONDS: u64 = 10;

/// A token with a key that is unknown makes the set be fetched anew, but not more often than this: tokens are cheap to make up.
const FETCH_AGAIN_MIN: Duration = Duration::from_secs(30);

/// How long a fetch of the set may take.
const FETCH_MAX: Duration = Duration::from_secs(10);

/// Why a JWK Set can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// It can't be had.
    #[error("{0}")]
    Unreadable(String),
    /// It is no JWK Set, or none of its keys is for RS256 or ES256.
    #[error("{0}")]
    Malformed(String),
}

/// Verifies tokens.
pub struct Jwt {
    secret: Option<DecodingKey>,
    set: RwLock<Arc<[Key]>>,
    /// A token named a key that is not in the set.
    missed: Notify,
    config: config::Jwt,
}

/// One key of the set.
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt").finish_non_exhaustive()
    }
}

/// The claims that mean something here, beside the registered ones.
#[derive(Deserialize)]
struct Claims {
    action: Actions,
    #[serde(default)]
    app: Option<String>,
    #[serde(default)]
    stream: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Actions {
    One(String),
    Several(Vec<String>),
}

/// What a token covers; everything where it names nothing.
#[derive(Debug)]
pub(super) struct Covered {
    app: Option<String>,
    stream: Option<String>,
}

impl Covered {
    /// Whether the stream is among it.
    pub(super) fn names(&self, app: &str, stream: &str) -> bool {
        let fits = |allowed: &Option<String>, name: &str| allowed.as_deref().is_none_or(|it| it == name);
        fits(&self.app, app) && fits(&self.stream, stream)
    }
}

impl Actions {
    fn allow(&self, action: Action) -> bool {
        match self {
            Actions::One(word) => word == action.word(),
            Actions::Several(words) => words.iter().any(|word| word == action.word()),
        }
    }
}

impl Jwt {
    /// By the configuration, with the set of its file; `None` when nothing can be verified.
    ///
    /// # Errors
    /// [`SetError`] for the file.
    pub fn new(config: &config::Jwt) -> Result<Option<Arc<Jwt>>, SetError> {
        if !config.is_on() {
            return Ok(None);
        }
        // Another part of the program may have set the same one before.
        let _ = PROVIDER.install_default();
        let secret = Some(&config.secret).filter(|secret| !secret.expose().is_empty());
        let secret = secret.map(|secret| DecodingKey::from_secret(secret.expose().as_bytes()));
        let set = match config.jwks_file() {
            Some(path) => read_set(path)?.keys()?,
            None => Vec::new(),
        };
        let set = RwLock::new(set.into());
        Ok(Some(Arc::new(Jwt { secret, set, missed: Notify::new(), config: config.clone() })))
    }

    /// Whether `token` looks like one: the header's `{"` in base64url.
    pub(super) fn is_like(token: &str) -> bool {
        token.starts_with("eyJ")
    }

    /// Whether `token` allows `action` on a stream now.
    ///
    /// # Errors
    /// [`Denied::TokenWrong`] or [`Denied::TokenExpired`].
    pub(super) fn verify(&self, token: &str, action: Action, app: &str, stream: &str) -> Result<(), Denied> {
        let covered = self.covered(token, action)?;
        if covered.names(app, stream) { Ok(()) } else { Err(Denied::TokenWrong) }
    }

    /// For which streams `token` allows `action` now.
    ///
    /// # Errors
    /// As [`Jwt::verify`].
    pub(super) fn covered(&self, token: &str, action: Action) -> Result<Covered, Denied> {
        let claims = self.claims(token).map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => Denied::TokenExpired,
            _ => Denied::TokenWrong,
        })?;
        if !claims.action.allow(action) {
            return Err(Denied::TokenWrong);
        }
        Ok(Covered { app: claims.app, stream: claims.stream })
    }

    fn claims(&self, token: &str) -> Result<Claims, JwtError> {
        if token.len() > JWT_BYTES_MAX {
            return Err(ErrorKind::InvalidToken.into());
        }
        let header = jsonwebtoken::decode_header(token)?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        if !self.config.issuer.is_empty() {
            validation.set_issuer(&[&self.config.issuer]);
            required.push("iss");
        }
        if self.config.audience.is_empty() {
            // Meant for whoever it is meant for: nobody told us who we are.
            validation.validate_aud = false;
        } else {
            validation.set_audience(&[&self.config.audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        if header.alg == Algorithm::HS256 {
            let Some(key) = &self.secret else { return Err(ErrorKind::InvalidAlgorithm.into()) };
            return Ok(jsonwebtoken::decode::<Claims>(token, key, &validation)?.claims);
        }
        let set = Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner));
        let named = |key: &&Key| match (&header.kid, &key.id) {
            (Some(wanted), Some(id)) => wanted == id,
            // A token without a name may be by any key, a key without a name may be anybody's.
            _ => true,
        };
        let mut outcome = Err(ErrorKind::InvalidSignature.into());
        for key in set.iter().filter(|key| key.algorithm == header.alg).filter(named) {
            outcome = jsonwebtoken::decode::<Claims>(token, &key.key, &validation).map(|data| data.claims);
            if !matches!(&outcome, Err(error) if *error.kind() == ErrorKind::InvalidSignature) {
                return outcome;
            }
        }
        // It may be by a key that came to the set since.
        self.missed.notify_one();
        outcome
    }

    /// Keeps the set as it is in its file or at its URL, until `shutdown` turns true.
    pub(super) async fn follow(self: Arc<Jwt>, mut shutdown: watch::Receiver<bool>) {
        if let Some(path) = self.config.jwks_file().map(ToOwned::to_owned) {
            return looks::follow(move || read_set(&path), shutdown, |set| self.put_in_use(set)).await;
        }
        let Some(client) = self.config.jwks_url().and_then(|_| client::Client::new("").ok()) else { return };
        loop {
            let fetch = client.get(&self.config.jwks_url, SET_BYTES_MAX as usize);
            let set = match timeout(FETCH_MAX, fetch).await {
                Ok(Ok(bytes)) => Ok(Set(bytes.to_vec())),
                Ok(Err(error)) => Err(SetError::Unreadable(error.to_string())),
                Err(_) => Err(SetError::Unreadable(format!("no answer within {} s", FETCH_MAX.as_secs()))),
            };
            self.put_in_use(set);
            let fetched = Instant::now();
            let wait = async {
                let _ = timeout_at(fetched + self.config.jwks_refresh, self.missed.notified()).await;
                tokio::time::sleep_until(fetched + FETCH_AGAIN_MIN.min(self.config.jwks_refresh)).await;
            };
            tokio::select! {
                () = wait => {}
                _ = shutdown.wait_for(|down| *down) => return,
            }
        }
    }

    fn put_in_use(&self, set: Result<Set, SetError>) {
        match set.and_then(|set| set.keys()) {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "the JWK Set is in use");
                *self.set.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
            }
            Err(error) => {
                tracing::error!(%error, "the JWK Set can't be renewed; the one before stays in use");
            }
        }
    }
}

/// RFC 7517 5.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

/// A JWK Set as it came.
#[derive(Clone, PartialEq)]
struct Set(Vec<u8>);

fn read_set(path: &std::path::Path) -> Result<Set, SetError> {
    looks::read(path, SET_BYTES_MAX).map(Set).map_err(SetError::Unreadable)
}

impl Set {
    /// Those for RS256 and ES256; others in the set are for somebody else.
    fn keys(&self) -> Result<Vec<Key>, SetError> {
        // One by one: a key of a kind that is unknown here doesn't spoil the others.
        let set: KeySet = serde_json::from_slice(&self.0)
            .map_err(|error| SetError::Malformed(format!("not a JWK Set: {error}")))?;
        let keys = set.keys.into_iter().filter_map(|key| {
            let jwk: Jwk = serde_json::from_value(key).ok()?;
            let algorithm = match &jwk.algorithm {
                AlgorithmParameters::RSA(_) => Algorithm::RS256,
                AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                    Algorithm::ES256
                }
                _ => return None,
            };
            let is_for_signatures = jwk.common.public_key_use != Some(PublicKeyUse::Encryption);
            let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| is_for_signatures)?;
            Some(Key { id: jwk.common.key_id, algorithm, key })
        });
        let keys: Vec<Key> = keys.take(SET_KEYS_MAX).collect();
        if keys.is_empty() {
            return Err(SetError::Malformed("no key for RS256 or ES256 is in this JWK Set".to_owned()));
        }
        Ok(keys)
    }
}

/// ring's verification, which TLS uses already: the crate's own choices are a second library for each algorithm.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    // Public keys come as JWK, whose components need none of these.
    jwk_utils: JwkUtils::new_unimplemented(),
};

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, JwtError> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

/// One algorithm with one key.
struct Verifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, JwtError> {
    let family = match algorithm {
        Algorithm::HS256 => AlgorithmFamily::Hmac,
        Algorithm::RS256 => AlgorithmFamily::Rsa,
        Algorithm::ES256 => AlgorithmFamily::Ec,
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    // A public key is known to all: as the secret of an HMAC it would let everybody sign.
    if key.family() != family {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(Verifier { algorithm: *algorithm, key: key.clone() }))
}

impl Verify<Vec<u8>> for Verifier {
    fn verify(&self, message: &[u8], tag: &Vec<u8>) -> Result<(), Unverified> {
        let verified = match (self.algorithm, self.key.kind()) {
            (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), message, tag)
            }
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                let key = signature::RsaPublicKeyComponents { n, e };
                key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, tag)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                let key = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point);
                key.verify(message, tag)
            }
            _ => return Err(Unverified::new()),
        };
        verified.map_err(|_| Unverified::new())
    }
}

impl JwtVerifier for Verifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
pub(super) use tests::signed as signed_for_test;

#[cfg(test)]
mod tests;

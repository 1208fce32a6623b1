//! Publish keys: those of the configuration and those of a file beside it.

use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Denied;
use crate::config::{PublishKey, Secret, check_keys};
use crate::looks;

/// Largest keys file: a hundred thousand keys.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Why a keys file can't be used. Its text is one line and shows no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It can't be read.
    #[error("{0}")]
    Unreadable(String),
    /// It is not TOML, or not of this form.
    #[error("line {line}: {reason}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// The parser's words.
        reason: String,
    },
    /// A key that can't be one.
    #[error("{key}: {reason}")]
    Value {
        /// Which one, as `keys[3].key`.
        key: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    keys: Vec<PublishKey>,
}

/// The keys of a file: `[[keys]]` tables, as `publish.keys` has them.
///
/// # Errors
/// [`Error`].
pub(super) fn load(path: &Path) -> Result<Vec<PublishKey>, Error> {
    let bytes = looks::read(path, FILE_BYTES_MAX).map_err(Error::Unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| Error::Unreadable("not UTF-8".to_owned()))?;
    let file: File = toml::from_str(&text).map_err(|error| {
        let before = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(before).filter(|byte| *byte == b'\n').count();
        // serde quotes the value that it didn't expect, which could be a key.
        let reason = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        let reason = if reason.starts_with("invalid") {
            "not of the form that is documented".to_owned()
        } else {
            reason
        };
        Error::Syntax { line, reason }
    })?;
    check_keys("keys", &file.keys).map_err(|(key, reason)| Error::Value { key, reason })?;
    Ok(file.keys)
}

/// The stream that a key opens at `now` (Unix seconds): the query's key, or one alone in place of the name. `None` without any key.
///
/// # Errors
/// [`Denied::KeyWrong`] or [`Denied::KeyExpired`] for a key that is shown and opens nothing.
pub(super) fn opened(
    keys: &[PublishKey],
    app: &str,
    name: &str,
    shown: Option<&str>,
    now: u64,
) -> Result<Option<String>, Denied> {
    let opens = |key: &&PublishKey| key.app.as_deref().is_none_or(|allowed| allowed == app);
    let in_time = |key: &PublishKey| key.expires.is_none_or(|expires| now < expires.unix_seconds());
    if let Some(given) = shown {
        // A wrong key is refused from everywhere: who sends one means it.
        let fits = |key: &&PublishKey| {
            equal(key.key.expose(), given)
                && opens(key)
                && key.stream.as_deref().is_none_or(|allowed| allowed == name)
        };
        // Every key is looked at, whichever fits.
        let fitting: Vec<bool> = keys.iter().filter(fits).map(in_time).collect();
        return match &fitting[..] {
            [] => Err(Denied::KeyWrong),
            fitting if fitting.contains(&true) => Ok(Some(name.to_owned())),
            _ => Err(Denied::KeyExpired),
        };
    }
    // A key alone in place of the name stands for its stream: what a person pastes into OBS.
    let alone = |key: &&PublishKey| equal(key.key.expose(), name) && opens(key) && key.stream.is_some();
    let fitting: Vec<&PublishKey> = keys.iter().filter(alone).collect();
    match fitting.last() {
        Some(key) if in_time(key) => Ok(key.stream.clone()),
        Some(_) => Err(Denied::KeyExpired),
        None => Ok(None),
    }
}

/// Compares digests, so that the time taken tells nothing of where two texts differ.
pub(super) fn equal(secret: &str, given: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_keys_differ_and_can_be_typed() {
        let (one, two) = (generate_key().unwrap(), generate_key().unwrap());
        assert_ne!(one.expose(), two.expose());
        assert_eq!(one.expose().len(), 32);
        assert!(one.expose().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    }

    #[test]
    fn keys_end() {
        let text = "[[keys]]\nkey = \"longlonglong\"\nstream = \"cam\"\nexpires = 2026-01-01T00:00:00Z\n";
        let keys = toml::from_str::<File>(text).unwrap().keys;
        let end = 1_767_225_600;
        for (now, shown, name, expected) in [
            (end - 1, Some("longlonglong"), "cam", Ok(Some("cam".to_owned()))),
            (end, Some("longlonglong"), "cam", Err(Denied::KeyExpired)),
            (end, Some("longlonglong"), "other", Err(Denied::KeyWrong)),
            (end - 1, None, "longlonglong", Ok(Some("cam".to_owned()))),
            (end, None, "longlonglong", Err(Denied::KeyExpired)),
            (end, None, "cam", Ok(None)),
        ] {
            assert_eq!(opened(&keys, "live", name, shown, now), expected, "{now} {shown:?} {name}");
        }
    }

    #[test]
    fn files_that_can_t_be_used() {
        let path = std::env::temp_dir().join(format!("headwater-keys-{}.toml", std::process::id()));
        for (text, expected) in [
            ("", None),
            (
                "[[keys]]\nkey = \"hunter2hunter2\"\napp = \"live\"\nexpires = 2026-01-01T00:00:00+01:00\n",
                None,
            ),
            ("[[keys]]\nkey = \"hunter2\"\n", Some("keys[0].key: 8 to 256 characters are allowed")),
            ("[[keys]]\nkey = 12345678\n", Some("line 2: not of the form that is documented")),
            (
                "\n[[keys]]\nkeys = \"hunter2hunter2\"\n",
                Some("line 3: unknown field `keys`, expected one of `key`, `app`, `stream`, `expires`"),
            ),
            (
                "[[keys]]\nkey = \"hunter2hunter2\"\nexpires = 2026-01-01\n",
                Some("line 3: a date, a time and an offset are needed, as in 2026-12-31T23:59:59Z"),
            ),
            ("keys = hunter2", Some("line 1: ")),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = load(&path).err().map(|error| error.to_string());
            match expected {
                None => assert_eq!(error, None, "{text}"),
                Some(expected) => {
                    let error = error.unwrap_or_else(|| panic!("accepted: {text}"));
                    assert!(error.starts_with(expected) && !error.contains("hunter2"), "{error}");
                }
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(load(&path), Err(Error::Unreadable(_))));
    }
}

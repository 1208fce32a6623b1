//! Signed tokens: what somebody may do until when, told by an HMAC that only a holder of the secret can make.
//!
//! `play-stream.1767225600.SIGNATURE`: an action, how much it covers, when it ends (Unix seconds), and HMAC-SHA256 in hexadecimal over
//! the same text with the name in place of the signature, `play-stream.1767225600.live/cam`. The name itself is not in it: it is that
//! of the address that the token came with, so a token is worth nothing anywhere else, and caches can verify it with a line of shell.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::Denied;
use crate::config::Secret;

/// Longer than any token: 14 for the word, 20 for the time, 64 for the signature.
const TOKEN_BYTES_MAX: usize = 128;

/// What a token or a JWT allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Publishing.
    Publish,
    /// Playing, by whatever output.
    Play,
}

/// How much of the names a token covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breadth {
    /// One stream.
    Stream,
    /// All streams of one app.
    App,
    /// Everything.
    All,
}

impl Action {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Action::Publish => "publish",
            Action::Play => "play",
        }
    }
}

impl Breadth {
    const fn word(self) -> &'static str {
        match self {
            Breadth::Stream => "stream",
            Breadth::App => "app",
            Breadth::All => "all",
        }
    }
}

/// The secrets that tokens are signed with.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// The first one signs; the others are of earlier times.
    secrets: Vec<Secret>,
}

impl Tokens {
    /// Signed with the first of `secrets`, verified with any of them.
    pub fn new(secrets: Vec<Secret>) -> Tokens {
        Tokens { secrets }
    }

    /// A token for a stream, for an app (`stream` is `None`) or for everything, until `expires` (Unix seconds). `None` without a secret.
    pub fn make(
        &self,
        action: Action,
        app: Option<&str>,
        stream: Option<&str>,
        expires: u64,
    ) -> Option<String> {
        let (breadth, name) = match (app, stream) {
            (Some(app), Some(stream)) => (Breadth::Stream, format!("{app}/{stream}")),
            (Some(app), None) => (Breadth::App, app.to_owned()),
            (None, _) => (Breadth::All, String::new()),
        };
        let claim = format!("{}-{}.{expires}", action.word(), breadth.word());
        let tag = signer(self.secrets.first()?, &claim, &name).finalize().into_bytes();
        Some(format!("{claim}.{}", Hex(&tag)))
    }

    /// Whether `token` allows `action` on a stream at `now` (Unix seconds).
    ///
    /// # Errors
    /// [`Denied::TokenWrong`] for whatever was not signed for just this, [`Denied::TokenExpired`] for what was, in time.
    pub fn verify(
        &self,
        token: &str,
        action: Action,
        app: &str,
        stream: &str,
        now: u64,
    ) -> Result<(), Denied> {
        let parts = Some(token).filter(|token| token.len() <= TOKEN_BYTES_MAX).and_then(|token| {
            let (claim, signature) = token.rsplit_once('.')?;
            let (word, expires) = claim.split_once('.')?;
            let breadth = word.strip_prefix(action.word())?.strip_prefix('-')?;
            let name = match breadth {
                "stream" => format!("{app}/{stream}"),
                "app" => app.to_owned(),
                "all" => String::new(),
                _ => return None,
            };
            // As it was written, digit for digit: a number has one form.
            let expires = expires.parse().ok().filter(|number: &u64| number.to_string() == expires)?;
            Some((claim, name, expires, from_hex(signature)?))
        });
        let Some((claim, name, expires, signature)) = parts else { return Err(Denied::TokenWrong) };
        // Every secret is tried; each comparison takes the same time wherever two tags differ.
        let fitting = self
            .secrets
            .iter()
            .filter(|secret| signer(secret, claim, &name).verify_slice(&signature).is_ok());
        if fitting.count() == 0 {
            return Err(Denied::TokenWrong);
        }
        if expires <= now { Err(Denied::TokenExpired) } else { Ok(()) }
    }

    /// How much a token for `action` claims to cover; what it is worth, [`Tokens::verify`] says of each name.
    ///
    /// # Errors
    /// [`Denied::TokenWrong`] for what is no such token, [`Denied::TokenExpired`] for one that claims no time any more.
    pub(super) fn claimed(token: &str, action: Action, now: u64) -> Result<Breadth, Denied> {
        let claimed = || {
            let (word, rest) = token.split_once('.')?;
            let word = word.strip_prefix(action.word())?.strip_prefix('-')?;
            let breadth =
                [Breadth::Stream, Breadth::App, Breadth::All].into_iter().find(|it| it.word() == word)?;
            Some((breadth, rest.split_once('.')?.0.parse::<u64>().ok()?))
        };
        let (breadth, expires) =
            claimed().filter(|_| token.len() <= TOKEN_BYTES_MAX).ok_or(Denied::TokenWrong)?;
        if expires <= now { Err(Denied::TokenExpired) } else { Ok(breadth) }
    }

    /// Whether there is a secret to verify with.
    pub(super) fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }
}

fn signer(secret: &Secret, claim: &str, name: &str) -> Hmac<Sha256> {
    hmac_of(secret, &[claim.as_bytes(), b".", name.as_bytes()])
}

/// HMAC-SHA256 over the pieces, one after the other.
pub(super) fn hmac_of(secret: &Secret, pieces: &[&[u8]]) -> Hmac<Sha256> {
    let mut hmac =
        Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length");
    for piece in pieces {
        hmac.update(piece);
    }
    hmac
}

/// Bytes in hexadecimal.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Lower-case digits only: one token, one text, or a cache would hold a thing under many names.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2).map(|pair| match *pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_767_225_600;

    fn tokens(secrets: &[&str]) -> Tokens {
        Tokens::new(secrets.iter().map(|secret| Secret::new(*secret)).collect())
    }

    #[test]
    fn a_known_token() {
        // printf play-stream.1767225600.live/cam | openssl dgst -sha256 -hmac a-secret-of-twenty-two
        let token =
            tokens(&["a-secret-of-twenty-two"]).make(Action::Play, Some("live"), Some("cam"), NOW).unwrap();
        assert_eq!(
            token,
            "play-stream.1767225600.ac5c85d6d3f857ab224c81a0dbb47c8c42f5c2f5eeaa9821e79b644e69fb3601"
        );
    }

    #[test]
    fn table() {
        let ours = tokens(&["a-secret-of-twenty-two", "the-secret-before-that"]);
        let old = tokens(&["the-secret-before-that"]);
        let theirs = tokens(&["a-secret-of-somebody-else"]);
        let later = NOW + 60;
        let of = |tokens: &Tokens, action, app, stream| tokens.make(action, app, stream, later).unwrap();
        let cam = of(&ours, Action::Play, Some("live"), Some("cam"));
        let tampered = |from: &str, to: &str| cam.replace(from, to);
        let flipped = |index: usize| {
            let mut bytes = cam.clone().into_bytes();
            bytes[index] = if bytes[index] == b'0' { b'1' } else { b'0' };
            String::from_utf8(bytes).unwrap()
        };
        for (case, token, action, app, stream, expected) in [
            ("for the stream", cam.clone(), Action::Play, "live", "cam", Ok(())),
            ("for the app", of(&ours, Action::Play, Some("live"), None), Action::Play, "live", "cam", Ok(())),
            ("for everything", of(&ours, Action::Play, None, None), Action::Play, "x", "y", Ok(())),
            (
                "by an earlier secret",
                of(&old, Action::Play, Some("live"), Some("cam")),
                Action::Play,
                "live",
                "cam",
                Ok(()),
            ),
            (
                "to publish",
                of(&ours, Action::Publish, Some("live"), Some("cam")),
                Action::Publish,
                "live",
                "cam",
                Ok(()),
            ),
            (
                "replayed for another stream",
                cam.clone(),
                Action::Play,
                "live",
                "cam2",
                Err(Denied::TokenWrong),
            ),
            ("replayed in another app", cam.clone(), Action::Play, "live2", "cam", Err(Denied::TokenWrong)),
            ("replayed to publish", cam.clone(), Action::Publish, "live", "cam", Err(Denied::TokenWrong)),
            (
                "names that join to the same",
                of(&ours, Action::Play, Some("live/eu"), None),
                Action::Play,
                "live",
                "eu",
                Err(Denied::TokenWrong),
            ),
            (
                "expired",
                ours.make(Action::Play, Some("live"), Some("cam"), NOW).unwrap(),
                Action::Play,
                "live",
                "cam",
                Err(Denied::TokenExpired),
            ),
            (
                "signed by another",
                of(&theirs, Action::Play, Some("live"), Some("cam")),
                Action::Play,
                "live",
                "cam",
                Err(Denied::TokenWrong),
            ),
            (
                "more time",
                tampered(&later.to_string(), &(later + 1).to_string()),
                Action::Play,
                "live",
                "cam",
                Err(Denied::TokenWrong),
            ),
            (
                "a time in another form",
                tampered(&later.to_string(), &format!("0{later}")),
                Action::Play,
                "live",
                "cam",
                Err(Denied::TokenWrong),
            ),
            (
                "broader",
                tampered("play-stream", "play-all"),
                Action::Play,
                "live",
                "cam",
                Err(Denied::TokenWrong),
            ),
            (
                "another action",
                tampered("play-", "publish-"),
                Action::Publish,
                "live",
                "cam",
                Err(Denied::TokenWrong),
            ),
            ("the last digit", flipped(cam.len() - 1), Action::Play, "live", "cam", Err(Denied::TokenWrong)),
            ("capitals", cam.to_uppercase(), Action::Play, "live", "cam", Err(Denied::TokenWrong)),
            ("cut", cam[..cam.len() - 2].to_owned(), Action::Play, "live", "cam", Err(Denied::TokenWrong)),
            (
                "no signature",
                cam[..cam.len() - 64].to_owned(),
                Action::Play,
                "live",
                "cam",
                Err(Denied::TokenWrong),
            ),
            ("empty", String::new(), Action::Play, "live", "cam", Err(Denied::TokenWrong)),
            ("endless", "play-all.".repeat(1_000), Action::Play, "live", "cam", Err(Denied::TokenWrong)),
        ] {
            assert_eq!(ours.verify(&token, action, app, stream, NOW), expected, "{case}: {token}");
        }
        assert_eq!(tokens(&[]).verify(&cam, Action::Play, "live", "cam", NOW), Err(Denied::TokenWrong));
        assert_eq!(tokens(&[]).make(Action::Play, None, None, later), None);
    }
}

//! Which stream a publisher or player means: `connect`'s tcUrl and app, and the name given to `publish` or `play`,
//! become an app, a name and a query.
//!
//! Encoders cut one URL in different places, so the parts are put together again and cut anew: the last part of the
//! path is the stream, the one or two before it the app, and what follows the first `?` is the query. Queries and
//! names can be secrets; neither appears in `Debug` output nor in a reason for refusal.

use std::borrow::Cow;
use std::fmt;

use crate::limits::NAME_BYTES_MAX;

/// An app holds at most one `/`.
const APP_PARTS_MAX: usize = 2;
/// Prefixes that name a container or a kind of file; ffmpeg and Flash put them before stream names.
const NAME_PREFIXES: [&str; 4] = ["mp4:", "flv:", "mp3:", "f4v:"];
/// What OBS, FMLE and encoders that follow them say they are. They ask for a server and a key, so a query behind
/// the server's path ends where the server ends; elsewhere one URL was given, and its query may hold a `/`.
const FLASH_VER_SERVER_AND_KEY: &str = "FMLE/3.0 (compatible; FMSc/1.0)";

/// The part of a URL behind `?`, as sent. It carries tokens: `Debug` prints its length only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Query(String);

impl Query {
    /// The text; not for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The value of the first parameter `name`, percent-decoded; empty when it has no `=`. A value that does not
    /// decode to UTF-8 is treated as absent.
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if percent_decode(key)? == name { percent_decode(value) } else { None }
        })
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes redacted]", self.0.len())
    }
}

/// A stream's address. Every part of `app` and `name` is made of `A-Z a-z 0-9 . _ ~ -`, 1 to 128 of them, and is
/// neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StreamTarget {
    /// One or two parts, joined by `/`.
    pub app: String,
    /// One part. It may be a key that maps to a stream: `Debug` prints its length only.
    pub name: String,
    /// What followed the first `?`, from app and name together.
    pub query: Option<Query>,
}

impl fmt::Debug for StreamTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamTarget")
            .field("app", &self.app)
            .field("name", &format_args!("[{} bytes redacted]", self.name.len()))
            .field("query", &self.query)
            .finish()
    }
}

/// Why a URL names no stream. The texts are sent to the encoder, which shows them to its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NameError {
    /// Neither the path nor the key holds a name besides the app.
    #[error("no stream name: publish to rtmp://HOST/APP/STREAM")]
    Missing,
    /// More than two parts before the name.
    #[error(
        "too many '/' in the address: publish to rtmp://HOST/APP/STREAM or rtmp://HOST/APP/INSTANCE/STREAM"
    )]
    TooManyParts,
    /// Two `/` in a row.
    #[error("an empty part in the address: two '/' in a row")]
    EmptyPart,
    /// A URL where a name belongs.
    #[error("the stream name is a URL; the server and the stream key are separate settings")]
    Url,
    /// `.` or `..`.
    #[error("a part of the address is '.' or '..'")]
    Dots,
    /// Longer than 128 bytes.
    #[error("a part of the address is longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// A character outside the allowed ones.
    #[error("a character in the address is not allowed: use letters, digits, '.', '_', '~' and '-'")]
    Character,
}

/// `tcUrl` cut into path (without slashes at its ends) and query; scheme, host and quotes are dropped.
fn split_tc_url(tc_url: &str) -> Option<(&str, Option<&str>)> {
    // Some encoders put the URL in quotes.
    let tc_url = tc_url.trim().trim_matches(['"', '\'']);
    let (_, after_scheme) = tc_url.split_once("://")?;
    let end_of_host = after_scheme.find(['/', '?'])?;
    let (path, query) = split_query(after_scheme.get(end_of_host..)?);
    Some((path.trim_matches('/'), query))
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    }
}

/// The path and query of what `connect` said: tcUrl's when it has a path, else app's.
pub(crate) fn connect_path<'a>(app: &'a str, tc_url: &'a str) -> (&'a str, Option<&'a str>) {
    match split_tc_url(tc_url) {
        Some((path, query)) if !path.is_empty() => (path, query),
        _ => {
            let (path, query) = split_query(app);
            (path.trim_matches('/'), query)
        }
    }
}

impl StreamTarget {
    /// The stream meant by `connect`'s `app`, `tcUrl` and `flashVer` and the name of `publish` or `play`.
    ///
    /// `flash_ver` decides one ambiguity: with `live/x?q` in tcUrl and name `b`, an encoder with separate settings
    /// for server and key means stream `b`, one that was given a single URL means stream `x` with the query `q/b`.
    ///
    /// # Errors
    /// [`NameError`], whose text is fit for an `onStatus` description.
    pub fn resolve(app: &str, tc_url: &str, flash_ver: &str, name: &str) -> Result<StreamTarget, NameError> {
        let name = name.trim();
        let (server_path, server_query) = connect_path(app, tc_url);
        let server_and_key = flash_ver == FLASH_VER_SERVER_AND_KEY;
        let one_url = !server_and_key && server_path.contains('/');
        let (path, query) = match server_query {
            // ffmpeg and librtmp cut at the second '/', even if it is in the query: live/s?sig=a | b.
            Some(query) if one_url && !name.is_empty() => {
                (Cow::Borrowed(server_path), Some(format!("{query}/{name}")))
            }
            server_query => {
                let (name, name_query) = split_query(strip_prefix(name));
                if name.contains("://") {
                    return Err(NameError::Url);
                }
                let query = match (server_query, name_query) {
                    (Some(first), Some(second)) => Some(format!("{first}&{second}")),
                    (first, second) => first.or(second).map(str::to_owned),
                };
                let name = name.trim_end_matches('/');
                let path = if name.is_empty() {
                    Cow::Borrowed(server_path)
                } else if server_path.is_empty() {
                    Cow::Borrowed(name)
                } else {
                    Cow::Owned(format!("{server_path}/{name}"))
                };
                (path, query)
            }
        };
        let (app, name) = path.rsplit_once('/').ok_or(NameError::Missing)?;
        if app.split('/').any(str::is_empty) {
            return Err(NameError::EmptyPart);
        }
        if app.split('/').count() > APP_PARTS_MAX {
            return Err(NameError::TooManyParts);
        }
        let app = app.split('/').map(checked_part).collect::<Result<Vec<_>, _>>()?.join("/");
        let name = checked_part(name)?.into_owned();
        Ok(StreamTarget { app, name, query: query.filter(|query| !query.is_empty()).map(Query) })
    }
}

/// Query of `connect` alone, for [`crate::Connect`].
pub(crate) fn query(text: Option<&str>) -> Option<Query> {
    text.filter(|text| !text.is_empty()).map(|text| Query(text.to_owned()))
}

/// A tcUrl for logs: without query, user and password.
pub(crate) fn without_secrets(tc_url: &str) -> String {
    let (url, _) = split_query(tc_url);
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

fn strip_prefix(name: &str) -> &str {
    NAME_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

/// One part of the path, percent-decoded once and checked.
fn checked_part(part: &str) -> Result<Cow<'_, str>, NameError> {
    if part.is_empty() {
        return Err(NameError::EmptyPart);
    }
    let part = percent_decode(part).ok_or(NameError::Character)?;
    if matches!(part.as_ref(), "." | "..") {
        return Err(NameError::Dots);
    }
    if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte)) {
        return Err(NameError::Character);
    }
    if part.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    Ok(part)
}

/// RFC 3986 2.1. `None` for `%` without two hexadecimal digits and for bytes that are not UTF-8.
fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        decoded.push(digit()? << 4 | digit()?);
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

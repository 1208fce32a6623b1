//! One GET at a time, bounded in size, time and redirects; and the rules for what its answer's head must say.

use std::io::Read;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use headwater_manifest::dash;
use headwater_manifest::hls::check::excerpt;
use ureq::http::{HeaderMap, Version, header};
use ureq::typestate::WithoutBody;
use ureq::{RequestBuilder, ResponseExt};

use super::report::Log;
use super::url::resolve;

/// Largest body, decoded: a 10 s segment of 50 Mbit/s.
const BODY_BYTES_MAX: u64 = 64 << 20;
/// Redirects followed; a token server and a CDN take two.
const REDIRECTS_MAX: u32 = 5;
/// To connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For one request in all. hls.js gives a playlist or a segment 20 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// The page that a browser's player would be on: what CORS is about.
const ORIGIN: &str = "https://player.example";

/// Fetches over connections that are kept.
#[derive(Debug, Clone)]
pub(super) struct Fetcher {
    agent: ureq::Agent,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    /// Where it came from, after redirects.
    pub(super) url: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// Decoded.
    pub(super) body: Vec<u8>,
    /// Whether the body came compressed; `None` when the head doesn't tell.
    pub(super) gzip: Option<bool>,
    pub(super) redirected: bool,
    pub(super) received_at: Instant,
}

impl Answer {
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `max-age` in seconds.
    fn max_age(&self) -> Option<u64> {
        let directives = self.header(header::CACHE_CONTROL)?;
        directives.split(',').find_map(|directive| directive.trim().strip_prefix("max-age=")?.parse().ok())
    }

    fn cache_control_has(&self, name: &str) -> bool {
        self.header(header::CACHE_CONTROL)
            .is_some_and(|directives| directives.split(',').any(|d| d.trim().eq_ignore_ascii_case(name)))
    }

    fn content_type(&self) -> Option<String> {
        let value = self.header(header::CONTENT_TYPE)?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }
}

impl Fetcher {
    pub(super) fn new() -> Fetcher {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(REDIRECTS_MAX)
            .save_redirect_history(true)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT))
            .user_agent(concat!("headwater-probe/", env!("CARGO_PKG_VERSION")))
            .build();
        Fetcher { agent: config.new_agent() }
    }

    /// GETs `url` with a player's request head and `more` fields.
    ///
    /// # Errors
    /// What to tell the user when there was no answer, or none that ended within the limits.
    pub(super) fn get(&self, url: &str, more: &[(&str, &str)]) -> Result<Answer, String> {
        self.ask(self.agent.get(url), url, more)
    }

    /// The head of what [`Fetcher::media`] would get.
    ///
    /// # Errors
    /// As [`Fetcher::get`].
    pub(super) fn head(&self, url: &str) -> Result<Answer, String> {
        self.ask(self.agent.head(url), url, &[("accept-encoding", "identity")])
    }

    fn ask(
        &self,
        request: RequestBuilder<WithoutBody>,
        url: &str,
        more: &[(&str, &str)],
    ) -> Result<Answer, String> {
        let mut request = request.header("origin", ORIGIN);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let fail =
            |error: &dyn std::fmt::Display| format!("{}: {}", excerpt(url), excerpt(&error.to_string()));
        let response = request.call().map_err(|error| fail(&error))?;
        let status = response.status().as_u16();
        let redirected = response.get_redirect_history().is_some_and(|history| history.len() > 1);
        let url_after = response.get_uri().to_string();
        let asked_gzip =
            more.iter().any(|(name, value)| *name == "accept-encoding" && value.contains("gzip"));
        let (head, body) = response.into_parts();
        let stated_gzip = head
            .headers
            .get(header::CONTENT_ENCODING)
            .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"gzip"));
        let gzip = stated_gzip
            .then_some(true)
            .or_else(|| if asked_gzip { was_decoded(head.version, &head.headers) } else { Some(false) });
        let mut bytes = Vec::new();
        // One byte more than allowed tells a body that is too long from one that just fits.
        let mut raw = body.into_reader().take(BODY_BYTES_MAX + 1);
        let read = if stated_gzip {
            GzDecoder::new(raw).take(BODY_BYTES_MAX + 1).read_to_end(&mut bytes)
        } else {
            raw.read_to_end(&mut bytes)
        };
        read.map_err(|error| fail(&error))?;
        if bytes.len() as u64 > BODY_BYTES_MAX {
            return Err(fail(&format!("the body is longer than {} MiB", BODY_BYTES_MAX >> 20)));
        }
        Ok(Answer {
            url: url_after,
            status,
            headers: head.headers,
            body: bytes,
            gzip,
            redirected,
            received_at: Instant::now(),
        })
    }

    /// GETs a playlist or an MPD as a player does, accepting gzip.
    ///
    /// # Errors
    /// As [`Fetcher::get`].
    pub(super) fn playlist(&self, url: &str) -> Result<Answer, String> {
        self.get(url, &[("accept-encoding", "gzip")])
    }

    /// GETs media, which is not compressed.
    ///
    /// # Errors
    /// As [`Fetcher::get`].
    pub(super) fn media(&self, url: &str) -> Result<Answer, String> {
        self.get(url, &[("accept-encoding", "identity")])
    }
}

/// Whether the client library has decoded the body: it then takes Content-Encoding and Content-Length out of the head.
/// An HTTP/1.1 answer that goes on neither by length, nor in chunks, nor to the connection's end, was decoded; one in
/// chunks may have been.
fn was_decoded(version: Version, headers: &HeaderMap) -> Option<bool> {
    let closes =
        headers.get(header::CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    if headers.contains_key(header::CONTENT_LENGTH) {
        Some(false)
    } else if headers.contains_key(header::TRANSFER_ENCODING) || closes || version != Version::HTTP_11 {
        None
    } else {
        Some(true)
    }
}

/// What an answer is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Multivariant,
    /// A media playlist and its target duration, while it grows.
    Live(u64),
    /// A media playlist that has ended.
    Ended,
    /// An MPD and its longest segment in seconds, while it grows.
    LiveMpd(u64),
    /// An MPD that stays as it is.
    StaticMpd,
    /// An initialization segment.
    Init,
    Segment,
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Kind::Multivariant => "the multivariant playlist",
            Kind::Live(_) | Kind::Ended => "the playlist",
            Kind::LiveMpd(_) | Kind::StaticMpd => "the MPD",
            Kind::Init => "the init segment",
            Kind::Segment => "a segment",
        }
    }

    /// A segment of either kind.
    fn is_media(self) -> bool {
        matches!(self, Kind::Segment | Kind::Init)
    }

    fn is_mpd(self) -> bool {
        matches!(self, Kind::LiveMpd(_) | Kind::StaticMpd)
    }
}

/// The rules for the head of a good answer.
pub(super) fn check_head(answer: &Answer, kind: Kind, log: &mut Log) {
    let what = kind.noun();
    check_content_type(answer, kind, log);
    if answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none() {
        log.warning(
            "http 10.1",
            format!("{what} has no Access-Control-Allow-Origin: only pages of its own host can play it"),
        );
    }
    if !kind.is_media() && !kind.is_mpd() && !exposes(answer, "age") {
        // hls.js tunes in by Age, which a browser hides from it unless exposed.
        log.notice("http 10.3", format!("{what} does not expose Age"));
    }
    if answer.header(header::SET_COOKIE).is_some() {
        log.warning("http 1.5", format!("{what} sets a cookie: caches pass such answers through"));
    }
    if answer.redirected {
        log.notice("http 1.5", format!("{what} is behind a redirect"));
    }
    check_caching(answer, kind, log);
    if kind.is_media() {
        if answer.header(header::CONTENT_LENGTH).is_none() {
            log.warning("http 5.1", format!("{what} comes without Content-Length"));
        }
        if answer.header(header::CONTENT_ENCODING).is_some() {
            log.warning("http 11.1", format!("{what} comes with a Content-Encoding that was not asked for"));
        }
    } else {
        check_gzip(answer, what, log);
    }
}

fn check_content_type(answer: &Answer, kind: Kind, log: &mut Log) {
    let Some(have) = answer.content_type() else {
        log.error("http 8", format!("{} has no Content-Type", kind.noun()));
        return;
    };
    if kind.is_media() {
        let path = answer.url.split(['?', '#']).next().unwrap_or_default();
        let (wanted, others): (&str, &[&str]) = match path.rsplit_once('.').map(|(_, extension)| extension) {
            Some("ts") => ("video/mp2t", &[]),
            Some("m4s" | "mp4" | "cmfv" | "cmfa" | "m4v" | "m4a") => {
                ("video/iso.segment", &["video/mp4", "audio/mp4"])
            }
            Some("aac") => ("audio/aac", &[]),
            Some("vtt") => ("text/vtt", &[]),
            _ => return,
        };
        if have != wanted && !others.contains(&have.as_str()) {
            log.warning(
                "http 8",
                format!("{}'s Content-Type is {}, not {wanted}", kind.noun(), excerpt(&have)),
            );
        }
        return;
    }
    if kind.is_mpd() {
        if have != dash::CONTENT_TYPE {
            log.warning(
                "dash 5.11",
                format!("the Content-Type of the MPD is {}, not {}", excerpt(&have), dash::CONTENT_TYPE),
            );
        }
        return;
    }
    match have.as_str() {
        "application/vnd.apple.mpegurl" | "audio/mpegurl" => {}
        "application/x-mpegurl" | "audio/x-mpegurl" => log.warning(
            "hls 1.5",
            format!("the Content-Type of {} is {have}, which Apple's validator reports", kind.noun()),
        ),
        other => log.error("hls 1.5", format!("the Content-Type of {} is {}", kind.noun(), excerpt(other))),
    }
}

fn exposes(answer: &Answer, name: &str) -> bool {
    answer
        .header(header::ACCESS_CONTROL_EXPOSE_HEADERS)
        .is_some_and(|names| names.split(',').any(|n| n.trim() == "*" || n.trim().eq_ignore_ascii_case(name)))
}

fn check_caching(answer: &Answer, kind: Kind, log: &mut Log) {
    let what = kind.noun();
    if answer.header(header::CACHE_CONTROL).is_none() {
        log.warning("http 2.1", format!("{what} has no Cache-Control: every cache guesses"));
        return;
    }
    let uncacheable = answer.cache_control_has("no-store") || answer.cache_control_has("no-cache");
    let max_age = answer.max_age();
    match kind {
        Kind::Live(target) => {
            if answer.cache_control_has("immutable") {
                log.error("http 2", "a live playlist is cacheable as immutable");
            } else if max_age.is_some_and(|age| age > target) {
                let age = max_age.unwrap_or_default();
                log.error("http 2", format!("a live playlist may be cached for {age} s, longer than its target duration of {target} s"));
            } else if uncacheable {
                log.notice("http 2", "a live playlist is not cacheable: every viewer reaches the origin");
            }
        }
        Kind::LiveMpd(segment) => {
            if answer.cache_control_has("immutable") {
                log.error("http 2", "a live MPD is cacheable as immutable");
            } else if let Some(age) = max_age.filter(|age| *age > segment) {
                log.error(
                    "http 2",
                    format!("a live MPD may be cached for {age} s, longer than a segment of {segment} s"),
                );
            } else if uncacheable {
                log.notice("http 2", "a live MPD is not cacheable: every viewer reaches the origin");
            }
        }
        Kind::Segment if uncacheable => {
            log.warning("http 2", "segments are not cacheable: every viewer reaches the origin");
        }
        Kind::Segment if max_age.is_some_and(|age| age < 60) => {
            log.notice(
                "http 2",
                format!("segments may be cached for {} s only", max_age.unwrap_or_default()),
            );
        }
        _ => {}
    }
}

/// Below this, gzip's own frame eats the gain (http 11.1).
const GZIP_BYTES_MIN: usize = 200;

fn check_gzip(answer: &Answer, what: &str, log: &mut Log) {
    let varies = answer.header(header::VARY).is_some_and(|names| {
        names.split(',').any(|name| name.trim().eq_ignore_ascii_case("accept-encoding"))
    });
    match answer.gzip {
        Some(true) if !varies => {
            log.warning("http 11.1", format!("{what} is compressed without Vary: Accept-Encoding"));
        }
        Some(false) if answer.body.len() >= GZIP_BYTES_MIN => {
            // A 10.1
            log.warning("http 11.1", format!("{what} is not compressed though gzip was accepted"));
        }
        _ => {}
    }
}

/// Whether the answer's validator is honoured: asks again with If-None-Match.
pub(super) fn check_revalidation(fetcher: &Fetcher, answer: &Answer, kind: Kind, log: &mut Log) {
    let what = kind.noun();
    let Some(etag) = answer.header(header::ETAG) else {
        log.notice("http 3.1", format!("{what} has no ETag: caches fetch it whole to revalidate"));
        return;
    };
    let coding = if kind.is_media() { "identity" } else { "gzip" };
    let again = fetcher.get(&answer.url, &[("accept-encoding", coding), ("if-none-match", etag)]);
    let Ok(again) = again else { return };
    match again.status {
        304 if again.header(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none()
            && answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_some() =>
        {
            log.warning("http 10.1", format!("304 of {what} has no Access-Control-Allow-Origin"));
        }
        // A live playlist may have moved on: only an unchanged ETag proves anything.
        200 if again.header(header::ETAG) == Some(etag) => {
            log.warning(
                "http 3.2",
                format!("{what} is sent again in full to If-None-Match with its own ETag"),
            );
        }
        _ => {}
    }
}

/// A name beside the segments that no server has, without its extension.
const NO_SUCH_NAME: &str = "headwater-probe-no-such-name";

/// How the server says that something does not exist: the answer that a cache may hold at the live edge. `extension` is
/// that of the segments.
pub(super) fn check_not_found(fetcher: &Fetcher, list_url: &str, extension: &str, log: &mut Log) {
    let Some(url) = resolve(list_url, &format!("{NO_SUCH_NAME}.{extension}")) else { return };
    let Ok(answer) = fetcher.media(&url) else { return };
    match answer.status {
        404 | 410 => {}
        200..=299 => {
            log.error("http 7", format!("a name that does not exist is answered with {}", answer.status));
            return;
        }
        status => {
            log.notice("http 7", format!("a name that does not exist is answered with {status}, not 404"));
        }
    }
    if answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none() {
        log.warning(
            "http 10.1",
            format!("{} has no Access-Control-Allow-Origin: players can't see the status", answer.status),
        );
    }
    if answer.cache_control_has("no-store") || answer.cache_control_has("no-cache") {
        return;
    }
    match answer.max_age() {
        // RFC 9111 4.2.2: 404 and 410 are heuristically cacheable.
        None => log
            .warning("http 6.9", format!("{} has no max-age: caches may keep it for minutes", answer.status)),
        Some(age) if age > 10 => {
            log.warning("http 6.9", format!("{} may be cached for {age} s", answer.status));
        }
        Some(_) => {}
    }
}

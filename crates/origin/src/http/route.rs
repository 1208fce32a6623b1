//! From a request's path to the resource it names. Pure: what exists is somebody else's question.

use std::borrow::Cow;

use headwater_media::TrackKind;

use crate::names;
use crate::published::Document;

/// Longest path in bytes, before decoding. Names make some 500; the rest is room for what caches may put in front.
pub(super) const PATH_BYTES_MAX: usize = 2_048;

/// What a path names on the playback listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource<'a> {
    /// `/`.
    Page,
    /// `/assets/{name}`: a file that the page needs.
    Asset(&'a str),
    /// `/embed/{app}/{stream}`: the page with the player of one stream alone, for a frame in another page.
    Embed(StreamPath<'a>),
    /// `/api/v1/live`: what the page lists.
    Live,
    /// `/api/v1/live/events`: the same as it changes, with figures.
    LiveEvents,
    /// `/time`: the clock for DASH's UTCTiming.
    Time,
    /// A playlist or an MPD: `/{app}/{stream}/index.m3u8` and its aliases, `llhls.m3u8`, `manifest.mpd`, `/{app}/{stream}.mpd`,
    /// `ts/media.m3u8`, `video/media.m3u8`, `audio/media.m3u8`.
    Document(StreamPath<'a>, Document),
    /// `/{app}/{stream}/ts/{sequence}.ts`, `video/{sequence}.m4s`, `audio/{sequence}.m4s`.
    Segment(StreamPath<'a>, Rendition, u64),
    /// `/{app}/{stream}/video/{sequence}.{part}.m4s`, likewise for audio.
    Part(StreamPath<'a>, TrackKind, u64, u32),
    /// `/{app}/{stream}/video/init-{hash}.mp4`, likewise for audio.
    Init(StreamPath<'a>, TrackKind, &'a str),
    /// `/{app}/{stream}/video/poster.mp4`: the newest keyframe.
    Poster(StreamPath<'a>),
    /// `/{app}/{stream}.flv`, `.ts`, `.mp4`: the stream without segments.
    Continuous(StreamPath<'a>, Container),
}

impl Resource<'_> {
    /// What its path is like: everything that differs from one to the other is a name in braces.
    pub(super) fn template(&self) -> &'static str {
        use TrackKind::{Audio, Video};
        match self {
            Resource::Page => "/",
            Resource::Asset(_) => "/assets/{name}",
            Resource::Embed(_) => "/embed/{app}/{stream}",
            Resource::Live => "/api/v1/live",
            Resource::LiveEvents => "/api/v1/live/events",
            Resource::Time => "/time",
            Resource::Document(_, Document::TsMultivariant) => "/{app}/{stream}/index.m3u8",
            Resource::Document(_, Document::TsMedia) => "/{app}/{stream}/ts/media.m3u8",
            Resource::Document(_, Document::CmafMultivariant) => "/{app}/{stream}/llhls.m3u8",
            Resource::Document(_, Document::CmafMedia(Video) | Document::CmafDelta(Video)) => {
                "/{app}/{stream}/video/media.m3u8"
            }
            Resource::Document(_, Document::CmafMedia(Audio) | Document::CmafDelta(Audio)) => {
                "/{app}/{stream}/audio/media.m3u8"
            }
            Resource::Document(_, Document::Mpd) => "/{app}/{stream}/manifest.mpd",
            Resource::Document(_, Document::LowLatencyMpd) => "/{app}/{stream}/ll.mpd",
            Resource::Segment(_, Rendition::Ts, _) => "/{app}/{stream}/ts/{sequence}.ts",
            Resource::Segment(_, Rendition::Cmaf(Video), _) => "/{app}/{stream}/video/{sequence}.m4s",
            Resource::Segment(_, Rendition::Cmaf(Audio), _) => "/{app}/{stream}/audio/{sequence}.m4s",
            Resource::Part(_, Video, _, _) => "/{app}/{stream}/video/{sequence}.{part}.m4s",
            Resource::Part(_, Audio, _, _) => "/{app}/{stream}/audio/{sequence}.{part}.m4s",
            Resource::Init(_, Video, _) => "/{app}/{stream}/video/init-{hash}.mp4",
            Resource::Init(_, Audio, _) => "/{app}/{stream}/audio/init-{hash}.mp4",
            Resource::Poster(_) => "/{app}/{stream}/video/poster.mp4",
            Resource::Continuous(_, Container::Flv) => "/{app}/{stream}.flv",
            Resource::Continuous(_, Container::Ts) => "/{app}/{stream}.ts",
            Resource::Continuous(_, Container::Mp4) => "/{app}/{stream}.mp4",
        }
    }

    /// The stream that it is of, if it is of one.
    pub(super) fn stream(&self) -> Option<StreamPath<'_>> {
        match self {
            // A page shows what it then asks for.
            Resource::Page
            | Resource::Asset(_)
            | Resource::Embed(_)
            | Resource::Live
            | Resource::LiveEvents
            | Resource::Time => None,
            Resource::Document(at, _)
            | Resource::Segment(at, _, _)
            | Resource::Part(at, _, _, _)
            | Resource::Init(at, _, _)
            | Resource::Poster(at)
            | Resource::Continuous(at, _) => Some(*at),
        }
    }
}

/// A rendition by its place in paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rendition {
    /// `ts`: all tracks in MPEG-TS.
    Ts,
    /// `video` and `audio`: one track in CMAF.
    Cmaf(TrackKind),
}

/// A continuous output by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    /// FLV, over HTTP or WebSocket.
    Flv,
    /// MPEG-TS.
    Ts,
    /// Fragmented MP4.
    Mp4,
}

/// A stream's name, as valid as its publisher's had to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamPath<'a> {
    /// One component, or two with a `/` between.
    pub app: &'a str,
    /// One component.
    pub stream: &'a str,
}

/// Why a path names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RouteError {
    /// Longer than [`PATH_BYTES_MAX`].
    #[error("the path is longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
    /// Not a path: it doesn't start with `/`, or a `%` isn't followed by two hexadecimal digits, or it decodes to no UTF-8.
    #[error("the path is malformed")]
    Malformed,
    /// It holds what only an attempt at another file holds: `.`, `..`, an encoded slash, a backslash or a control character.
    #[error("the path holds '.', '..', an encoded slash, a backslash or a control character")]
    Unsafe,
    /// A well-formed path that no resource can have.
    #[error("no such resource")]
    Unknown,
}

/// Decodes a path's percent-encoding, once (RFC 3986 2.1), and refuses what no honest client sends.
///
/// # Errors
/// [`RouteError::TooLong`], [`RouteError::Malformed`] or [`RouteError::Unsafe`]; never [`RouteError::Unknown`].
pub(super) fn decode(path: &str) -> Result<Cow<'_, str>, RouteError> {
    if path.len() > PATH_BYTES_MAX {
        return Err(RouteError::TooLong);
    }
    if !path.starts_with('/') {
        return Err(RouteError::Malformed);
    }
    let decoded = if path.contains('%') { Cow::Owned(percent_decoded(path)?) } else { Cow::Borrowed(path) };
    let hostile = decoded.chars().any(|c| c.is_control() || c == '\\')
        || decoded.split('/').any(|component| component == "." || component == "..");
    if hostile { Err(RouteError::Unsafe) } else { Ok(decoded) }
}

fn percent_decoded(path: &str) -> Result<String, RouteError> {
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or(RouteError::Malformed);
        let value = digit()? * 16 + digit()?;
        match u8::try_from(value) {
            // It would become a border between components that the client's own parser never saw.
            Ok(b'/') => return Err(RouteError::Unsafe),
            Ok(byte) => out.push(byte),
            Err(_) => return Err(RouteError::Malformed),
        }
    }
    String::from_utf8(out).map_err(|_| RouteError::Malformed)
}

/// The resource of a path that [`decode`] returned.
///
/// # Errors
/// [`RouteError::Unknown`].
pub(super) fn resource(path: &str) -> Result<Resource<'_>, RouteError> {
    match path {
        "/" => return Ok(Resource::Page),
        "/api/v1/live" => return Ok(Resource::Live),
        "/api/v1/live/events" => return Ok(Resource::LiveEvents),
        "/time" => return Ok(Resource::Time),
        _ => {}
    }
    if let Some(name) = path.strip_prefix("/assets/") {
        return Ok(Resource::Asset(name));
    }
    if let Some(stream) = path.strip_prefix("/embed/") {
        return stream_path(stream).map(Resource::Embed).ok_or(RouteError::Unknown);
    }
    let path = path.strip_prefix('/').ok_or(RouteError::Unknown)?;
    let (folder, file) = path.rsplit_once('/').ok_or(RouteError::Unknown)?;
    let (stem, extension) = file.rsplit_once('.').ok_or(RouteError::Unknown)?;
    let resource = match extension {
        "m3u8" => playlist(folder, stem),
        // No path is both: an app holds one `/` at most, and what lies below a stream holds two more.
        "ts" => segment(folder, stem, extension).or_else(|| continuous(folder, stem, Container::Ts)),
        "m4s" => segment(folder, stem, extension),
        "mp4" => beside(folder, stem).or_else(|| continuous(folder, stem, Container::Mp4)),
        "flv" => continuous(folder, stem, Container::Flv),
        "mpd" => mpd(folder, stem),
        _ => None,
    };
    resource.ok_or(RouteError::Unknown)
}

fn playlist<'a>(folder: &'a str, stem: &'a str) -> Option<Resource<'a>> {
    let document = |at, document| Resource::Document(at, document);
    match stem {
        "media" => {
            let (stream, rendition) = folder.rsplit_once('/')?;
            let kind = match rendition {
                "ts" => Document::TsMedia,
                "video" => Document::CmafMedia(TrackKind::Video),
                "audio" => Document::CmafMedia(TrackKind::Audio),
                _ => return None,
            };
            stream_path(stream).map(|at| document(at, kind))
        }
        // `/live/index.m3u8` is the alias of a stream named "index": a playlist of that name needs app and stream in front.
        "index" | "playlist" | "master" if folder.contains('/') => {
            stream_path(folder).map(|at| document(at, Document::TsMultivariant))
        }
        "llhls" if folder.contains('/') => {
            stream_path(folder).map(|at| document(at, Document::CmafMultivariant))
        }
        _ => valid(folder, stem).map(|at| document(at, Document::TsMultivariant)),
    }
}

fn mpd<'a>(folder: &'a str, stem: &'a str) -> Option<Resource<'a>> {
    let at = match stem {
        "manifest" if folder.contains('/') => stream_path(folder),
        "ll" if folder.contains('/') => {
            return stream_path(folder).map(|at| Resource::Document(at, Document::LowLatencyMpd));
        }
        _ => valid(folder, stem),
    };
    at.map(|at| Resource::Document(at, Document::Mpd))
}

fn segment<'a>(folder: &'a str, stem: &'a str, extension: &str) -> Option<Resource<'a>> {
    let (stream, rendition) = folder.rsplit_once('/')?;
    let rendition = match (rendition, extension) {
        ("ts", "ts") => Rendition::Ts,
        ("video", "m4s") => Rendition::Cmaf(TrackKind::Video),
        ("audio", "m4s") => Rendition::Cmaf(TrackKind::Audio),
        _ => return None,
    };
    let at = stream_path(stream)?;
    match (rendition, stem.split_once('.')) {
        (Rendition::Cmaf(kind), Some((sequence, part))) => {
            Some(Resource::Part(at, kind, canonical(sequence)?, canonical(part)?))
        }
        (_, Some(_)) => None,
        (_, None) => Some(Resource::Segment(at, rendition, canonical(stem)?)),
    }
}

/// One number has one name: no sign, no leading zero.
fn canonical<N: std::str::FromStr>(text: &str) -> Option<N> {
    let is_canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_canonical)
}

/// What lies in an MP4 file beside a track's segments.
fn beside<'a>(folder: &'a str, stem: &'a str) -> Option<Resource<'a>> {
    let (stream, rendition) = folder.rsplit_once('/')?;
    let kind = match (rendition, stem) {
        ("video", "poster") => return stream_path(stream).map(Resource::Poster),
        ("video", _) => TrackKind::Video,
        ("audio", _) => TrackKind::Audio,
        _ => return None,
    };
    Some(Resource::Init(stream_path(stream)?, kind, stem.strip_prefix("init-")?))
}

fn continuous<'a>(folder: &'a str, stem: &'a str, container: Container) -> Option<Resource<'a>> {
    valid(folder, stem).map(|at| Resource::Continuous(at, container))
}

/// `app/stream` or `app/app/stream`.
fn stream_path(text: &str) -> Option<StreamPath<'_>> {
    let (app, stream) = text.rsplit_once('/')?;
    valid(app, stream)
}

fn valid<'a>(app: &'a str, stream: &'a str) -> Option<StreamPath<'a>> {
    (names::is_app(app) && names::is_stream(stream)).then_some(StreamPath { app, stream })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn routed(path: &str) -> Result<String, RouteError> {
        let decoded = decode(path)?;
        resource(&decoded).map(|resource| match resource {
            Resource::Page => "page".to_owned(),
            Resource::Asset(name) => format!("asset {name}"),
            Resource::Embed(at) => format!("embed {} {}", at.app, at.stream),
            Resource::Live => "live".to_owned(),
            Resource::LiveEvents => "live events".to_owned(),
            Resource::Time => "time".to_owned(),
            Resource::Document(at, document) => {
                let document = match document {
                    Document::TsMultivariant => "multivariant",
                    Document::TsMedia => "media",
                    Document::CmafMultivariant => "llhls",
                    Document::CmafMedia(TrackKind::Video) => "video",
                    Document::CmafMedia(TrackKind::Audio) => "audio",
                    Document::CmafDelta(_) => "a query's matter",
                    Document::Mpd => "mpd",
                    Document::LowLatencyMpd => "low-latency mpd",
                };
                format!("{document} {} {}", at.app, at.stream)
            }
            Resource::Segment(at, rendition, sequence) => {
                let rendition = match rendition {
                    Rendition::Ts => "segment".to_owned(),
                    Rendition::Cmaf(kind) => format!("{kind} segment"),
                };
                format!("{rendition} {} {} {sequence}", at.app, at.stream)
            }
            Resource::Part(at, kind, sequence, part) => {
                format!("{kind} part {} {} {sequence} {part}", at.app, at.stream)
            }
            Resource::Init(at, kind, hash) => format!("{kind} init {} {} {hash}", at.app, at.stream),
            Resource::Poster(at) => format!("poster {} {}", at.app, at.stream),
            Resource::Continuous(at, container) => format!("{container:?} {} {}", at.app, at.stream),
        })
    }

    #[test]
    fn templates_are_paths_of_their_resources() {
        for path in [
            "/",
            "/assets/page.js",
            "/embed/live/cam",
            "/api/v1/live",
            "/api/v1/live/events",
            "/time",
            "/live/cam/index.m3u8",
            "/live/cam/ts/media.m3u8",
            "/live/cam/llhls.m3u8",
            "/live/cam/video/media.m3u8",
            "/live/cam/audio/media.m3u8",
            "/live/cam/manifest.mpd",
            "/live/cam/ll.mpd",
            "/live/cam/ts/70.ts",
            "/live/cam/video/70.m4s",
            "/live/cam/audio/70.m4s",
            "/live/cam/video/70.5.m4s",
            "/live/cam/audio/70.5.m4s",
            "/live/cam/video/init-abcd.mp4",
            "/live/cam/audio/init-abcd.mp4",
            "/live/cam/video/poster.mp4",
            "/live/cam.flv",
            "/live/cam.ts",
            "/live/cam.mp4",
        ] {
            let mut filled = resource(path).unwrap().template().to_owned();
            for (name, value) in [
                ("{app}", "live"),
                ("{stream}", "cam"),
                ("{name}", "page.js"),
                ("{sequence}", "70"),
                ("{part}", "5"),
                ("{hash}", "abcd"),
            ] {
                filled = filled.replace(name, value);
            }
            assert_eq!(filled, path);
        }
    }

    #[test]
    fn paths_that_name_something() {
        for (path, expected) in [
            ("/", "page"),
            ("/assets/page.js", "asset page.js"),
            ("/api/v1/live", "live"),
            ("/api/v1/live/events", "live events"),
            ("/embed/live/cam", "embed live cam"),
            ("/embed/live/eu/cam", "embed live/eu cam"),
            ("/live/cam/index.m3u8", "multivariant live cam"),
            ("/live/cam/playlist.m3u8", "multivariant live cam"),
            ("/live/cam/master.m3u8", "multivariant live cam"),
            ("/live/cam.m3u8", "multivariant live cam"),
            ("/live/eu/cam/index.m3u8", "multivariant live/eu cam"),
            ("/live/eu/cam.m3u8", "multivariant live/eu cam"),
            ("/live/cam/ts/media.m3u8", "media live cam"),
            ("/live/eu/cam/ts/media.m3u8", "media live/eu cam"),
            ("/live/cam/ts/1769860800.ts", "segment live cam 1769860800"),
            ("/live/cam/ts/0.ts", "segment live cam 0"),
            ("/live/cam/ts/18446744073709551615.ts", "segment live cam 18446744073709551615"),
            ("/live/eu/cam/ts/7.ts", "segment live/eu cam 7"),
            ("/time", "time"),
            ("/live/cam/llhls.m3u8", "llhls live cam"),
            ("/live/eu/cam/llhls.m3u8", "llhls live/eu cam"),
            ("/live/cam/video/media.m3u8", "video live cam"),
            ("/live/cam/audio/media.m3u8", "audio live cam"),
            ("/live/cam/video/7.m4s", "video segment live cam 7"),
            ("/live/eu/cam/audio/7.m4s", "audio segment live/eu cam 7"),
            ("/live/cam/video/7.0.m4s", "video part live cam 7 0"),
            ("/live/eu/cam/audio/7.12.m4s", "audio part live/eu cam 7 12"),
            ("/live/cam/video/init-0123abcd.mp4", "video init live cam 0123abcd"),
            ("/live/cam/audio/init-0123abcd.mp4", "audio init live cam 0123abcd"),
            ("/live/cam/video/poster.mp4", "poster live cam"),
            ("/live/eu/cam/video/poster.mp4", "poster live/eu cam"),
            ("/live/cam/poster.mp4", "Mp4 live/cam poster"),
            ("/live/video/poster.mp4", "Mp4 live/video poster"),
            ("/live/cam/manifest.mpd", "mpd live cam"),
            ("/live/eu/cam/manifest.mpd", "mpd live/eu cam"),
            ("/live/cam.mpd", "mpd live cam"),
            ("/live/cam/ll.mpd", "low-latency mpd live cam"),
            ("/live/ll.mpd", "mpd live ll"),
            ("/live/manifest.mpd", "mpd live manifest"),
            ("/live/cam.flv", "Flv live cam"),
            ("/live/cam.ts", "Ts live cam"),
            ("/live/cam.mp4", "Mp4 live cam"),
            ("/live/eu/cam.ts", "Ts live/eu cam"),
            ("/live/cam/1.ts", "Ts live/cam 1"),
            ("/live/ts/1.ts", "Ts live/ts 1"),
            ("/live/video/init-0123abcd.mp4", "Mp4 live/video init-0123abcd"),
            ("/live/cam.1.flv", "Flv live cam.1"),
            // Names with dots, and names that are words of ours.
            ("/live/cam.1.m3u8", "multivariant live cam.1"),
            ("/live/index.m3u8", "multivariant live index"),
            ("/live/media.m3u8", "multivariant live media_"),
            ("/live/ts/index.m3u8", "multivariant live ts"),
            ("/live/ts/ts/media.m3u8", "media live ts"),
            ("/live/eu/ts/index.m3u8", "multivariant live/eu ts"),
            ("/live/llhls.m3u8", "multivariant live llhls"),
            // Encoded once is the same name.
            ("/l%69ve/cam%2em3u8", "multivariant live cam"),
            ("/live/%63am/index.m3u8", "multivariant live cam"),
            ("/%6cive/c%7Em/index.m3u8", "multivariant live c~m"),
        ] {
            let expected = expected.strip_suffix('_').map_or(Ok(expected), |_| Err(RouteError::Unknown));
            assert_eq!(routed(path), expected.map(str::to_owned), "{path}");
        }
    }

    #[test]
    fn paths_that_name_nothing() {
        use RouteError::{Malformed, TooLong, Unknown, Unsafe};
        let long = format!("/{}", "x".repeat(PATH_BYTES_MAX));
        for (path, expected) in [
            ("", Malformed),
            ("*", Malformed),
            ("live/cam/index.m3u8", Malformed),
            ("/live/c%4", Malformed),
            ("/live/c%zz.m3u8", Malformed),
            ("/live/%ff.m3u8", Malformed),
            ("/live/%+4.m3u8", Malformed),
            (long.as_str(), TooLong),
            ("/..", Unsafe),
            ("/live/../etc/passwd", Unsafe),
            ("/live/./cam.m3u8", Unsafe),
            ("/live/%2e%2e/cam.m3u8", Unsafe),
            ("/live/.%2E/cam.m3u8", Unsafe),
            ("/live%2fcam.m3u8", Unsafe),
            ("/live%2Fcam.m3u8", Unsafe),
            ("/live/c%5cam.m3u8", Unsafe),
            ("/live/c\\am.m3u8", Unsafe),
            ("/live/cam%00.m3u8", Unsafe),
            ("/live/cam%0d%0aX:y.m3u8", Unsafe),
            ("/assets/../page.js", Unsafe),
            // Encoded twice decodes once: `%` is no character of a name.
            ("/live/%252e%252e/cam.m3u8", Unknown),
            ("/embed/", Unknown),
            ("/embed/cam", Unknown),
            ("/embed/live/eu/x/cam", Unknown),
            ("/embed/live/cam.m3u8", Unknown),
            ("/live", Unknown),
            ("/live/", Unknown),
            ("/live/cam", Unknown),
            ("/live/cam/", Unknown),
            ("/live/cam/index.m3u8/", Unknown),
            ("//cam.m3u8", Unknown),
            ("/live//cam.m3u8", Unknown),
            ("/live//index.m3u8", Unknown),
            ("/live/.m3u8", Unknown),
            ("/cam.m3u8", Unknown),
            ("/live/cam/media.m3u8", Unknown),
            ("/cam.flv", Unknown),
            ("/live/.flv", Unknown),
            ("/live/cam.flv.flv", Unknown),
            ("/live/eu/x/cam.flv", Unknown),
            ("/api/cam.mp4", Unknown),
            ("/live/cam.FLV", Unknown),
            ("/live/cam/ts/01.ts", Unknown),
            ("/live/cam/ts/+1.ts", Unknown),
            ("/live/cam/ts/-1.ts", Unknown),
            ("/live/cam/ts/.ts", Unknown),
            ("/live/cam/ts/1.TS", Unknown),
            ("/live/cam/ts/1.0.ts", Unknown),
            ("/live/cam/video/1.00.m4s", Unknown),
            ("/live/cam/video/1..m4s", Unknown),
            ("/live/cam/video/1.0.0.m4s", Unknown),
            ("/live/cam/video/1.4294967296.m4s", Unknown),
            ("/live/cam/ts/18446744073709551616.ts", Unknown),
            ("/live/cam/v/1.ts", Unknown),
            ("/live/cam/audio/poster.mp4", Unknown),
            ("/api/v1/live/events/", Unknown),
            ("/a/b/c/cam/index.m3u8", Unknown),
            ("/time/cam/index.m3u8", Unknown),
            ("/api/cam.m3u8", Unknown),
            ("/t/cam/ts/1.ts", Unknown),
            ("/embed/a/cam.m3u8", Unknown),
            ("/live/cam.flv/index.m3u8", Unknown),
            ("/live/caf%C3%A9.m3u8", Unknown),
            ("/live/a%20b.m3u8", Unknown),
            ("/live/a%3Fb.m3u8", Unknown),
            ("/healthz", Unknown),
            ("/favicon.ico", Unknown),
        ] {
            assert_eq!(routed(path), Err(expected), "{path}");
        }
    }

    proptest! {
        /// Whatever comes out as a stream has names that a publisher could have used, and encoding every byte changes nothing.
        #[test]
        fn any_path(path in "/[a-c/.%0-9~ts\\\\]{0,40}(index|media|7)?(\\.m3u8|\\.ts)?") {
            let plain = routed(&path);
            if let Ok(decoded) = decode(&path) {
                prop_assert!(!decoded.split('/').any(|c| c == ".."));
                let resource = resource(&decoded);
                if let Ok(
                    Resource::Document(at, _)
                    | Resource::Segment(at, _, _)
                    | Resource::Part(at, _, _, _)
                    | Resource::Init(at, _, _)
                    | Resource::Poster(at)
                    | Resource::Continuous(at, _),
                ) = resource
                {
                    prop_assert!(names::is_app(at.app) && names::is_stream(at.stream));
                }
                if !path.contains('%') {
                    let encoded: String = path
                        .bytes()
                        .map(|b| if b == b'/' { "/".to_owned() } else { format!("%{b:02x}") })
                        .collect();
                    prop_assert_eq!(routed(&encoded), plain);
                }
            }
        }

        #[test]
        fn any_text(path in "\\PC{0,60}") {
            let _ = routed(&path);
            let _ = routed(&format!("/{path}"));
        }
    }
}

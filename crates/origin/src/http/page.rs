//! The page at `/`: live streams and a player, whole inside the binary, asking no other origin for anything.

use std::sync::LazyLock;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use serde::Serialize;

use super::Context;
use super::response::{NO_STORE, Reply};
use crate::published::Body;
use crate::registry::state_text;

include!(concat!(env!("OUT_DIR"), "/hls_js.rs"));

/// Files change only with the binary; a browser that has the page open across an update asks again soon.
const BRIEFLY: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// Nothing but this origin's own files; hls.js plays from blobs and runs its worker from one.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     media-src 'self' blob:; worker-src 'self' blob:; base-uri 'none'; form-action 'none'",
);

/// Where the page's text has the RTMP port.
const PORT_MARK: &str = "{rtmp_port}";
/// Where the page's text names hls.js, when this binary has it.
const SCRIPT_MARK: &str = "<!-- hls.js -->";
const SCRIPT: &str = "<script src=\"/assets/hls.min.js\" defer></script>";

#[derive(Debug)]
struct Asset {
    content_type: &'static str,
    body: Body,
}

/// The page itself, which tells publishers the RTMP port.
#[derive(Debug)]
pub(super) struct Page {
    html: Asset,
}

impl Page {
    /// A page for a server whose RTMP listener has that port.
    pub(super) fn new(rtmp_port: u16) -> Page {
        let script = if HLS_JS.is_some() { SCRIPT } else { "" };
        let text = include_str!("../../web/page.html")
            .replace(SCRIPT_MARK, script)
            .replace(PORT_MARK, &rtmp_port.to_string());
        Page { html: Asset { content_type: "text/html; charset=utf-8", body: Body::new(text) } }
    }

    /// The answer to `/`.
    pub(super) fn reply(&self, gzip: bool) -> Reply {
        file(&self.html, gzip)
            .with(header::CONTENT_SECURITY_POLICY, POLICY)
            .with(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"))
    }
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| Asset {
    content_type: "text/css; charset=utf-8",
    body: Body::new(include_str!("../../web/page.css")),
});
static CODE: LazyLock<Asset> = LazyLock::new(|| Asset {
    content_type: "text/javascript; charset=utf-8",
    body: Body::new(include_str!("../../web/page.js")),
});
static HLS: LazyLock<Option<Asset>> = LazyLock::new(|| {
    HLS_JS.map(|bytes| Asset { content_type: "text/javascript; charset=utf-8", body: Body::new(bytes) })
});

/// One of the files that the page needs.
pub(super) fn asset(name: &str, gzip: bool) -> Reply {
    match (name, &*HLS) {
        ("page.css", _) => file(&STYLE, gzip),
        ("page.js", _) => file(&CODE, gzip),
        ("hls.min.js", Some(hls)) => file(hls, gzip),
        _ => Reply::not_found("no such file\n"),
    }
}

fn file(asset: &Asset, gzip: bool) -> Reply {
    let body = &asset.body;
    let (bytes, etag): (&Bytes, String) =
        if gzip { (body.gzip(), body.gzip_etag()) } else { (body.plain(), body.etag()) };
    let content_type = HeaderValue::from_static(asset.content_type);
    let mut reply = Reply::new(StatusCode::OK, content_type, BRIEFLY, bytes.clone())
        .with(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        reply = reply.with(header::ETAG, etag);
    }
    if gzip {
        reply = reply.with(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    reply
}

/// One stream of `/api/v1/live`: what any viewer may know.
#[derive(Debug, Serialize)]
struct LiveStream<'a> {
    app: &'a str,
    name: &'a str,
    state: &'static str,
    url: String,
    width: Option<u32>,
    height: Option<u32>,
    frame_rate: Option<f64>,
    codecs: Vec<String>,
}

/// The streams that can be played or are about to be, by app and name.
pub(super) fn live(context: &Context) -> Reply {
    let streams = context.registry.streams();
    let list: Vec<_> = streams
        .iter()
        .filter(|stream| context.config.outputs_for(stream.app()).hls)
        .map(|stream| {
            let published = stream.current();
            let snapshot = &published.snapshot;
            let (video, audio) = (snapshot.tracks.video.as_deref(), snapshot.tracks.audio.as_deref());
            let codecs = video.map(|v| &v.codec_string).into_iter().chain(audio.map(|a| &a.codec_string));
            LiveStream {
                app: stream.app(),
                name: stream.name(),
                state: state_text(snapshot.state),
                url: format!("/{}/{}/index.m3u8", stream.app(), stream.name()),
                width: video.map(|video| video.width),
                height: video.map(|video| video.height),
                frame_rate: snapshot.frame_rate_millihertz.map(|rate| f64::from(rate) / 1_000.0),
                codecs: codecs.cloned().collect(),
            }
        })
        .collect();
    match serde_json::to_vec(&list) {
        Ok(json) => {
            Reply::new(StatusCode::OK, HeaderValue::from_static("application/json"), NO_STORE, json.into())
        }
        Err(_) => Reply::unavailable("the list can't be made\n"),
    }
}

//! The page at `/`: live streams and a player, whole inside the binary, asking no other origin for anything.

use std::sync::LazyLock;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use serde::Serialize;

use super::Context;
use super::response::{NO_STORE, Reply};
use crate::config::Outputs;
use crate::health::Health;
use crate::published::Body;
use crate::registry::state_text;

/// Files change only with the binary; a browser that has the page open across an update asks again soon.
const BRIEFLY: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// Nothing but this origin's own files; the players feed the video from blobs, and hls.js runs its worker from one.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     media-src 'self' blob:; worker-src 'self' blob:; base-uri 'none'; form-action 'none'",
);

/// Where the page's text has the RTMP port.
const PORT_MARK: &str = "{rtmp_port}";
/// Where the page's text names the players that this binary has.
const PLAYERS_MARK: &str = "{players}";

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A player from npm that this build found.
#[derive(Debug, Clone, Copy)]
struct Player {
    /// Its file's name below `/assets/`; the page knows it by this name.
    name: &'static str,
    /// Its licence, as a comment, and its script.
    script: &'static [u8],
}

// `const PLAYERS: &[Player]`, from what `build.rs` found in `web/node_modules`.
include!(concat!(env!("OUT_DIR"), "/players.rs"));

#[derive(Debug)]
struct Asset {
    content_type: &'static str,
    body: Body,
}

/// The page itself, which tells publishers the RTMP port and its script the players.
#[derive(Debug)]
pub(super) struct Page {
    html: Asset,
}

impl Page {
    /// A page for a server whose RTMP listener has that port.
    pub(super) fn new(rtmp_port: u16) -> Page {
        Page {
            html: Asset {
                content_type: "text/html; charset=utf-8",
                body: Body::new(html(rtmp_port, PLAYERS)),
            },
        }
    }

    /// The answer to `/`.
    pub(super) fn reply(&self, gzip: bool) -> Reply {
        file(&self.html, gzip)
            .with(header::CONTENT_SECURITY_POLICY, POLICY)
            .with(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"))
    }
}

fn html(rtmp_port: u16, players: &[Player]) -> String {
    let names: Vec<&str> = players.iter().map(|player| player.name).collect();
    include_str!("../../web/page.html")
        .replace(PLAYERS_MARK, &names.join(" "))
        .replace(PORT_MARK, &rtmp_port.to_string())
}

/// Every file that the page needs, by its name below `/assets/`.
static ASSETS: LazyLock<Vec<(&'static str, Asset)>> = LazyLock::new(|| assets(PLAYERS));

fn assets(players: &[Player]) -> Vec<(&'static str, Asset)> {
    let own = [
        ("page.css", "text/css; charset=utf-8", include_str!("../../web/page.css").as_bytes()),
        ("page.js", JAVASCRIPT, include_str!("../../web/page.js").as_bytes()),
        ("players.js", JAVASCRIPT, include_str!("../../web/players.js").as_bytes()),
        ("live.js", JAVASCRIPT, include_str!("../../web/live.js").as_bytes()),
    ];
    own.into_iter()
        .chain(players.iter().map(|player| (player.name, JAVASCRIPT, player.script)))
        .map(|(name, content_type, bytes)| (name, Asset { content_type, body: Body::new(bytes) }))
        .collect()
}

/// One of the files that the page needs.
pub(super) fn asset(name: &str, gzip: bool) -> Reply {
    match ASSETS.iter().find(|(own, _)| *own == name) {
        Some((_, asset)) => file(asset, gzip),
        None => Reply::not_found("no such file\n"),
    }
}

fn file(asset: &Asset, gzip: bool) -> Reply {
    Reply::coded(&asset.body, gzip, asset.content_type, BRIEFLY)
}

/// One stream of `/api/v1/live`: what any viewer may know.
#[derive(Debug, Serialize)]
struct LiveStream<'a> {
    app: &'a str,
    name: &'a str,
    state: &'static str,
    /// The first of the outputs, in their order.
    url: String,
    outputs: Addresses,
    width: Option<u32>,
    height: Option<u32>,
    frame_rate: Option<f64>,
    /// Bits per second, average over recent segments.
    bandwidth: Option<u64>,
    codecs: Vec<String>,
    /// What is not as it should be, and why the latency is what it is.
    health: Option<Health>,
}

/// Where a stream's outputs are, below this origin; those that its app has switched off are left out.
#[derive(Debug, Default, Serialize)]
struct Addresses {
    #[serde(skip_serializing_if = "Option::is_none")]
    hls: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    llhls: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dash: Option<String>,
    /// While it is offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    lldash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mp4: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<String>,
}

impl Addresses {
    /// `is_irregular`: of a stream whose keyframes are, so that it has no low-latency DASH.
    fn new(outputs: Outputs, app: &str, name: &str, is_irregular: bool) -> Addresses {
        let address = |is_on: bool, file: &str| is_on.then(|| format!("/{app}/{name}/{file}"));
        let continuous = |is_on: bool, extension: &str| is_on.then(|| format!("/{app}/{name}.{extension}"));
        Addresses {
            hls: address(outputs.hls, "index.m3u8"),
            llhls: address(outputs.llhls, "llhls.m3u8"),
            dash: address(outputs.dash, "manifest.mpd"),
            lldash: address(outputs.dash && !is_irregular, "ll.mpd"),
            mp4: continuous(outputs.mp4, "mp4"),
            flv: continuous(outputs.flv, "flv"),
            ts: continuous(outputs.ts, "ts"),
        }
    }

    /// What most players can play, if there is anything.
    fn first(&self) -> Option<&String> {
        let segments = self.hls.as_ref().or(self.llhls.as_ref()).or(self.dash.as_ref());
        segments.or(self.mp4.as_ref()).or(self.flv.as_ref()).or(self.ts.as_ref())
    }
}

/// The streams that can be played or are about to be, by app and name.
pub(super) fn live(context: &Context) -> Reply {
    let streams = context.registry.streams();
    let list: Vec<_> = streams
        .iter()
        .filter_map(|stream| {
            let published = stream.current();
            let snapshot = &published.snapshot;
            let switched_on = context.config.outputs_for(stream.app());
            let outputs = Addresses::new(switched_on, stream.app(), stream.name(), snapshot.is_irregular());
            let url = outputs.first()?.clone();
            let (video, audio) = (snapshot.tracks.video.as_deref(), snapshot.tracks.audio.as_deref());
            let codecs = video.map(|v| &v.codec_string).into_iter().chain(audio.map(|a| &a.codec_string));
            Some(LiveStream {
                app: stream.app(),
                name: stream.name(),
                state: state_text(snapshot.state),
                url,
                outputs,
                width: video.map(|video| video.width),
                height: video.map(|video| video.height),
                frame_rate: snapshot.frame_rate_millihertz.map(|rate| f64::from(rate) / 1_000.0),
                bandwidth: snapshot.bandwidth.map(|bandwidth| bandwidth.average),
                codecs: codecs.cloned().collect(),
                health: stream.health(),
            })
        })
        .collect();
    match serde_json::to_vec(&list) {
        Ok(json) => {
            let json_type = HeaderValue::from_static("application/json");
            Reply::new(StatusCode::OK, json_type, NO_STORE, Bytes::from(json))
        }
        Err(_) => Reply::unavailable("the list can't be made\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_offers_the_players_that_there_are() {
        let hls = Player { name: "hls.js", script: b"/* hls */" };
        let dash = Player { name: "dash.js", script: b"/* dash */" };
        let shaka = Player { name: "shaka.js", script: b"/* shaka */" };
        for (name, players, attribute) in [
            ("none", &[][..], "data-players=\"\""),
            ("one", &[shaka][..], "data-players=\"shaka.js\""),
            ("two", &[hls, shaka][..], "data-players=\"hls.js shaka.js\""),
            ("all", &[hls, dash, shaka][..], "data-players=\"hls.js dash.js shaka.js\""),
        ] {
            let html = html(1935, players);
            assert!(html.contains(attribute), "{name}: {html}");
            let assets = assets(players);
            for player in [hls, dash, shaka] {
                let asset = assets.iter().find(|(own, _)| *own == player.name).map(|(_, asset)| asset);
                let embedded = players.iter().any(|own| own.name == player.name);
                assert_eq!(asset.is_some(), embedded, "{name}: {}", player.name);
                if let Some(asset) = asset {
                    assert_eq!(asset.body.plain(), player.script, "{name}: {}", player.name);
                }
            }
        }
    }

    #[test]
    fn the_first_address_is_the_one_most_players_can_play() {
        let all = Outputs::default();
        let continuous = Outputs { hls: false, llhls: false, dash: false, ..all };
        for (name, outputs, expected) in [
            ("all", all, Some("/a/b/index.m3u8")),
            ("no TS", Outputs { hls: false, ..all }, Some("/a/b/llhls.m3u8")),
            ("DASH alone", Outputs { hls: false, llhls: false, ..all }, Some("/a/b/manifest.mpd")),
            ("no segments", continuous, Some("/a/b.mp4")),
            ("FLV", Outputs { mp4: false, ..continuous }, Some("/a/b.flv")),
            ("RTMP", Outputs { mp4: false, flv: false, ts: false, ..continuous }, None),
        ] {
            let addresses = Addresses::new(outputs, "a", "b", false);
            assert_eq!(addresses.first().map(String::as_str), expected, "{name}");
        }
    }

    #[test]
    fn low_latency_dash_is_named_while_it_is_offered() {
        for (dash, is_irregular, expected) in
            [(true, false, Some("/a/b/ll.mpd")), (true, true, None), (false, false, None)]
        {
            let outputs = Outputs { dash, ..Outputs::default() };
            let addresses = Addresses::new(outputs, "a", "b", is_irregular);
            assert_eq!(addresses.lldash.as_deref(), expected, "{dash} {is_irregular}");
        }
    }
}

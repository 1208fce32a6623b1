//! The page at `/`: live streams and a player, whole inside the binary, asking no other origin for anything.

use std::sync::LazyLock;

use hyper::header::{self, HeaderName, HeaderValue};

use super::response::Reply;
use crate::published::Body;

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
        ("feed.js", JAVASCRIPT, include_str!("../../web/feed.js").as_bytes()),
        ("pictures.js", JAVASCRIPT, include_str!("../../web/pictures.js").as_bytes()),
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
}

//! `/api/v1/live`: the streams that can be played or are about to be, as the page lists them.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde::Serialize;

use super::Context;
use super::response::{NO_STORE, Reply};
use crate::auth::Listing;
use crate::config::Outputs;
use crate::health::Health;
use crate::published::Published;
use crate::registry::{Stream, state_text};

/// The list as it is now, as far as `listing` goes.
pub(super) fn list(context: &Context, listing: &Listing) -> Reply {
    let mut streams = context.registry.streams();
    streams.retain(|stream| listing.names(stream.app(), stream.name()));
    let streams: Vec<_> = streams.into_iter().map(|stream| (stream.current(), stream)).collect();
    let list: Vec<_> =
        streams.iter().filter_map(|(published, stream)| LiveStream::of(stream, published)).collect();
    match serde_json::to_vec(&list) {
        Ok(json) => {
            let json_type = HeaderValue::from_static("application/json");
            Reply::new(StatusCode::OK, json_type, NO_STORE, Bytes::from(json))
        }
        Err(_) => Reply::unavailable("the list can't be made\n"),
    }
}

/// One stream of `/api/v1/live`: what any viewer may know.
#[derive(Debug, Serialize)]
pub(super) struct LiveStream<'a> {
    app: &'a str,
    name: &'a str,
    state: &'static str,
    /// The first of the outputs, in their order.
    url: String,
    outputs: Addresses,
    /// The newest keyframe, where there are pictures.
    poster: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    frame_rate: Option<f64>,
    /// Bits per second, average over recent segments.
    bandwidth: Option<u64>,
    codecs: Vec<String>,
    /// What is not as it should be, and why the latency is what it is.
    health: Option<Health>,
}

/// Where a stream's outputs are, below this origin; those that it has not are left out.
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

impl<'a> LiveStream<'a> {
    /// `None` for a stream that has no output.
    pub(super) fn of(stream: &'a Stream, published: &'a Published) -> Option<LiveStream<'a>> {
        let snapshot = &published.snapshot;
        let outputs = Addresses::new(stream.outputs(), stream.app(), stream.name(), snapshot.is_irregular());
        let url = outputs.first()?.clone();
        let (video, audio) = (snapshot.tracks.video.as_deref(), snapshot.tracks.audio.as_deref());
        let codecs = video.map(|v| &v.codec_string).into_iter().chain(audio.map(|a| &a.codec_string));
        let has_poster = video.is_some() && snapshot.cmaf.is_some();
        Some(LiveStream {
            app: stream.app(),
            name: stream.name(),
            state: state_text(snapshot.state),
            url,
            outputs,
            poster: has_poster.then(|| format!("/{}/{}/video/poster.mp4", stream.app(), stream.name())),
            width: video.map(|video| video.width),
            height: video.map(|video| video.height),
            frame_rate: snapshot.frame_rate_millihertz.map(|rate| f64::from(rate) / 1_000.0),
            bandwidth: snapshot.bandwidth.map(|bandwidth| bandwidth.average),
            codecs: codecs.cloned().collect(),
            health: stream.health(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

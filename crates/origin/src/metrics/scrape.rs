//! All figures at one time, as OpenMetrics text. Figures of single streams are told for [`STREAMS_MAX`] of them at most.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{self, Unit};

use super::histogram::Reading;
use super::{Metrics, RequestKind, STATUSES};
use crate::http;
use crate::registry::{Registry, StreamInfo};

/// Streams that have figures of their own: some twenty time series each are as much as a small Prometheus wants of one target. Those
/// beyond it are left out, in the order of their names, and counted.
pub const STREAMS_MAX: usize = 500;

/// States of a stream, as labels.
const STATES: [&str; 4] = ["starting", "live", "waiting", "ended"];

/// What there is to tell of a server now.
#[derive(Debug)]
struct Scrape {
    registry: Arc<Registry>,
    playback: http::Status,
    /// Of every stream, by app and name.
    streams: Vec<StreamInfo>,
}

/// The answer to a scrape: OpenMetrics text 1.0.0.
pub fn scrape(registry: &Arc<Registry>, playback: http::Status) -> String {
    let streams = registry.streams().iter().map(|stream| stream.info()).collect();
    let mut all = registry::Registry::with_prefix("headwater");
    all.register_collector(Box::new(Scrape { registry: Arc::clone(registry), playback, streams }));
    let mut text = String::new();
    // Writing to a String does not fail, and nothing here fails by itself.
    let _ = encode(&mut text, &all);
    text
}

type Labels<const N: usize> = [(&'static str, &'static str); N];

const NONE: Labels<0> = [];

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut to = Families(encoder);
        self.streams(&mut to)?;
        self.playback(&mut to)?;
        self.requests(&mut to)?;
        self.events(&mut to)?;
        self.spans(&mut to)?;
        self.process(&mut to)
    }
}

impl Scrape {
    fn metrics(&self) -> &Metrics {
        self.registry.metrics()
    }

    fn streams(&self, to: &mut Families<'_>) -> Result<(), fmt::Error> {
        let count = |state| self.streams.iter().filter(|stream| stream.state == state).count() as u64;
        let states = STATES.map(|state| ([("state", state)], count(state)));
        to.gauge("streams", "Streams by where they are in their life", None, states)?;
        let publishers = self.streams.iter().filter(|stream| stream.publisher.is_some()).count() as u64;
        to.gauge(
            "publishers",
            "Publishers that are connected and hold a stream",
            None,
            [(NONE, publishers)],
        )?;
        let memory: u64 = self.streams.iter().map(|stream| stream.memory_bytes).sum();
        to.gauge("media", "Media held for all streams", Some(&Unit::Bytes), [(NONE, memory)])?;
        let received = self.metrics().received.load(Ordering::Relaxed);
        to.counter("received", "Bytes received from publishers", Some(&Unit::Bytes), [(NONE, received)])?;
        let latency = self.metrics().frame_to_part.read();
        let help = "From the sample that completes a part or segment to the version that shows it";
        to.histogram("frame_to_part", help, [(NONE, latency)])?;
        let left_out = self.streams.len().saturating_sub(STREAMS_MAX) as u64;
        to.gauge("streams_left_out", "Streams without figures of their own here", None, [(NONE, left_out)])?;
        self.single_streams(to)
    }

    fn single_streams(&self, to: &mut Families<'_>) -> Result<(), fmt::Error> {
        let bytes = Some(&Unit::Bytes);
        to.counter(
            "stream_received",
            "Bytes received from a stream's publisher, since it connected",
            bytes,
            self.each(|stream| Some(stream.publisher.as_ref()?.bytes)),
        )?;
        to.gauge(
            "stream_memory",
            "Media held for a stream",
            bytes,
            self.each(|stream| Some(stream.memory_bytes)),
        )?;
        to.gauge(
            "stream_bitrate_bits_per_second",
            "Average bit rate over recent segments, container included",
            None,
            self.each(|stream| stream.bandwidth_average),
        )?;
        to.gauge(
            "stream_frame_rate",
            "Frames per second, measured over recent segments",
            None,
            self.each(|stream| stream.video.as_ref()?.frame_rate),
        )?;
        to.gauge(
            "stream_gop_longest",
            "Longest keyframe interval seen",
            Some(&Unit::Seconds),
            self.each(|stream| stream.gop_longest_seconds),
        )?;
        to.gauge(
            "stream_live",
            "1 while media comes",
            None,
            self.each(|stream| Some(u64::from(stream.state == "live"))),
        )?;
        to.counter(
            "stream_samples",
            "Access units and audio frames packaged",
            None,
            self.each(|stream| Some(stream.counters.video_samples + stream.counters.audio_samples)),
        )?;
        to.counter(
            "stream_sessions",
            "Publishing sessions",
            None,
            self.each(|stream| Some(stream.counters.sessions)),
        )?;
        to.counter(
            "stream_forced_cuts",
            "Segments that had to end between keyframes",
            None,
            self.each(|stream| Some(stream.counters.forced_cuts)),
        )?;
        let repairs = |stream: &StreamInfo| {
            let repairs = &stream.counters.repairs;
            [
                ("not_monotonic", repairs.not_monotonic),
                ("pts_before_dts", repairs.pts_before_dts),
                ("outliers", repairs.outliers),
                ("rebased", repairs.rebased),
                ("audio_reanchored", repairs.audio_reanchored),
                ("audio_overlap", repairs.audio_overlap),
            ]
        };
        to.counter("stream_repairs", "Stamps mended", None, self.each_of("repair", repairs))?;
        let viewers = |stream: &StreamInfo| {
            let viewers = &stream.viewers;
            [
                ("flv", viewers.flv),
                ("flv_websocket", viewers.flv_websocket),
                ("ts", viewers.ts),
                ("mp4", viewers.mp4),
                ("rtmp", viewers.rtmp),
            ]
            .map(|(output, count)| (output, u64::from(count)))
        };
        to.gauge(
            "stream_viewers",
            "Viewers of continuous outputs; those of segments can't be told from caches",
            None,
            self.each_of("output", viewers),
        )
    }

    fn playback(&self, to: &mut Families<'_>) -> Result<(), fmt::Error> {
        let status = &self.playback;
        let open = [(NONE, u64::from(status.connections))];
        to.gauge("http_connections", "Connections of players and caches", None, open)?;
        let held = [(NONE, u64::from(status.held))];
        to.gauge("http_held_requests", "Requests that wait for media", None, held)?;
        let refused = [
            ([("limit", "connections")], status.connections_refused),
            ([("limit", "held_requests")], status.held_refused),
        ];
        to.counter("http_refused", "Connections and held requests that a limit kept out", None, refused)?;
        let closed = [
            ([("reason", "no_request")], status.closed_without_request),
            ([("reason", "stalled")], status.closed_stalled),
            ([("reason", "malformed")], status.closed_malformed),
            ([("reason", "memory")], status.closed_for_memory),
        ];
        to.counter("http_closed", "Connections and answers that were cut off", None, closed)
    }

    fn requests(&self, to: &mut Families<'_>) -> Result<(), fmt::Error> {
        let kinds = || RequestKind::ALL.iter().zip(&self.metrics().requests);
        let by_status = kinds().flat_map(|(kind, requests)| {
            let counts = STATUSES.iter().zip(&requests.by_status);
            counts.map(|(status, count)| {
                ([("kind", kind.name()), ("status", *status)], count.load(Ordering::Relaxed))
            })
        });
        to.counter("http_requests", "Requests answered", None, by_status)?;
        let sent =
            kinds().map(|(kind, requests)| ([("kind", kind.name())], requests.sent.load(Ordering::Relaxed)));
        to.counter("http_sent", "Bytes of answers' bodies", Some(&Unit::Bytes), sent)?;
        let durations = kinds().map(|(kind, requests)| ([("kind", kind.name())], requests.duration.read()));
        let help = "From a request's head to its answer's, what it was held for included";
        to.histogram("http_request_duration", help, durations)
    }

    fn events(&self, to: &mut Families<'_>) -> Result<(), fmt::Error> {
        let events = self.registry.events();
        let tallies = [("webhooks", events.webhooks.read()), ("mqtt", events.mqtt.read())];
        let pick = |pick: fn((u64, u64, u64)) -> u64| {
            tallies.map(|(output, tally)| ([("output", output)], pick(tally)))
        };
        to.counter("events_delivered", "Events that a receiver has taken", None, pick(|tally| tally.0))?;
        to.counter("events_failed", "Tries to deliver events that failed", None, pick(|tally| tally.1))?;
        to.counter("events_lost", "Events gone before they could be delivered", None, pick(|tally| tally.2))
    }

    fn spans(&self, to: &mut Families<'_>) -> Result<(), fmt::Error> {
        let (exported, dropped) = self.metrics().spans.read();
        let help = "Spans of traces that the collector has taken";
        to.counter("spans_exported", help, None, [(NONE, exported)])?;
        let help = "Spans of traces that were lost, for the collector did not take them";
        to.counter("spans_dropped", help, None, [(NONE, dropped)])
    }

    fn process(&self, to: &mut Families<'_>) -> Result<(), fmt::Error> {
        let resident = resident_bytes().map(|bytes| (NONE, bytes));
        to.gauge("resident_memory", "Memory of the process in use", Some(&Unit::Bytes), resident)?;
        let version = [([("version", env!("CARGO_PKG_VERSION"))], 1)];
        to.gauge("build", "Always 1; the version is the label", None, version)
    }

    /// One figure of each stream that has it.
    fn each<'a, V: 'a>(
        &'a self,
        figure: impl Fn(&StreamInfo) -> Option<V> + 'a,
    ) -> impl Iterator<Item = ([(&'static str, &'a str); 2], V)> + 'a {
        let streams = self.streams.iter().take(STREAMS_MAX);
        streams.filter_map(move |stream| Some((names(stream), figure(stream)?)))
    }

    /// Several figures of each stream, told apart by one more label.
    fn each_of<'a, const N: usize>(
        &'a self,
        label: &'static str,
        figures: impl Fn(&StreamInfo) -> [(&'static str, u64); N] + 'a,
    ) -> impl Iterator<Item = ([(&'static str, &'a str); 3], u64)> + 'a {
        self.streams.iter().take(STREAMS_MAX).flat_map(move |stream| {
            let [app, name] = names(stream);
            figures(stream).map(|(value, count)| ([app, name, (label, value)], count))
        })
    }
}

fn names(stream: &StreamInfo) -> [(&'static str, &str); 2] {
    [("app", stream.app.as_str()), ("stream", stream.name.as_str())]
}

/// Writes one family after the other.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn gauge<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        figures: impl IntoIterator<Item = (L, V)>,
    ) -> Result<(), fmt::Error> {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in figures {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        figures: impl IntoIterator<Item = (L, u64)>,
    ) -> Result<(), fmt::Error> {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in figures {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
        }
        Ok(())
    }

    fn histogram<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        figures: impl IntoIterator<Item = (L, Reading)>,
    ) -> Result<(), fmt::Error> {
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, Reading { sum_seconds, count, buckets }) in figures {
            let mut one = family.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(sum_seconds, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// Of the whole process, where the system tells it as Linux does.
fn resident_bytes() -> Option<u64> {
    /// `/proc/self/statm` counts pages; this is their size on every Linux that this runs on but some of arm64, whose figure is low then.
    const PAGE_BYTES: u64 = 4_096;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split(' ').nth(1)?.parse::<u64>().ok()?.checked_mul(PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use headwater_media::WallTime;
    use headwater_packager::{Snapshot, State, Tracks};

    use super::*;
    use crate::clock::Clocks;
    use crate::config::Config;

    #[test]
    fn figures_of_single_streams_are_bounded() {
        let registry = Registry::new(Arc::new(Config::default()), Clocks::start(), None);
        for nth in 0..STREAMS_MAX + 3 {
            registry.publish_for_test(
                "live",
                &format!("cam{nth:04}"),
                Snapshot {
                    version: 1,
                    state: State::Live,
                    tracks: Tracks::default(),
                    frame_rate_millihertz: None,
                    bandwidth: None,
                    published_at: WallTime::from_unix_millis(0),
                    cmaf: None,
                    date_ranges: Arc::default(),
                    ts: None,
                },
            );
        }
        registry.metrics().answered(RequestKind::Part, 200, Duration::from_millis(3));
        registry.metrics().answered(RequestKind::Part, 503, Duration::from_millis(3));
        let playback = http::Context::new(Arc::clone(&registry), Arc::new(Config::default())).status();
        let text = scrape(&registry, playback);
        let line = |line: &str| assert!(text.lines().any(|own| own == line), "{line} in {text}");
        line("headwater_streams{state=\"live\"} 503");
        line("headwater_streams_left_out 3");
        line("headwater_http_requests_total{kind=\"part\",status=\"2xx\"} 1");
        line("headwater_http_requests_total{kind=\"part\",status=\"5xx\"} 1");
        line("headwater_http_request_duration_seconds_bucket{le=\"0.005\",kind=\"part\"} 2");
        line("headwater_stream_live{app=\"live\",stream=\"cam0499\"} 1");
        assert_eq!(text.matches("headwater_stream_live{").count(), STREAMS_MAX);
        assert!(text.ends_with("# EOF\n"));
    }
}

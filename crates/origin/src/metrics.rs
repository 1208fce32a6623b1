//! What is counted and measured for monitoring: `/metrics`, in OpenMetrics text.
//!
//! What happens per frame or per request costs a few additions to atomics and no look-up: most figures are those that the streams and
//! listeners keep anyway, and are gathered when somebody scrapes ([`scrape()`]).

pub mod histogram;
mod scrape;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use histogram::Histogram;

use crate::telemetry::Tally;

pub use scrape::{STREAMS_MAX, scrape};

/// What is asked for, as far as metrics and the access log tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// The page, its files, its list of streams, their pictures, the clock.
    Page,
    /// A playlist of HLS.
    Playlist,
    /// An MPD.
    Mpd,
    /// A segment of any packaging.
    Segment,
    /// A part of a CMAF segment.
    Part,
    /// An initialization segment.
    Init,
    /// A stream without segments.
    Continuous,
    /// What no resource has, or what is refused whatever it asks for.
    Other,
}

impl RequestKind {
    /// All of them.
    pub const ALL: [RequestKind; 8] = [
        RequestKind::Page,
        RequestKind::Playlist,
        RequestKind::Mpd,
        RequestKind::Segment,
        RequestKind::Part,
        RequestKind::Init,
        RequestKind::Continuous,
        RequestKind::Other,
    ];

    /// Its name in labels and logs.
    pub fn name(self) -> &'static str {
        match self {
            RequestKind::Page => "page",
            RequestKind::Playlist => "playlist",
            RequestKind::Mpd => "mpd",
            RequestKind::Segment => "segment",
            RequestKind::Part => "part",
            RequestKind::Init => "init",
            RequestKind::Continuous => "continuous",
            RequestKind::Other => "other",
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

/// Classes of status codes, as labels: `1xx` to `5xx`.
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Requests of one kind.
#[derive(Debug, Default)]
struct Requests {
    by_status: [AtomicU64; STATUSES.len()],
    /// From a request's head to its answer's, what it was held for included.
    duration: Histogram,
    /// Bytes of bodies: of what is all there when it is answered, of what is still being made as it goes out.
    sent: Arc<AtomicU64>,
}

/// What is measured beside what streams and listeners know.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: [Requests; RequestKind::ALL.len()],
    /// From the sample that completes something new, as it comes out of the socket's buffer, to the version that shows it to readers.
    pub frame_to_part: Histogram,
    /// Bytes received from publishers.
    received: AtomicU64,
    /// What became of the spans of traces.
    pub spans: Arc<Tally>,
}

impl Metrics {
    /// A request was answered.
    pub fn answered(&self, kind: RequestKind, status: u16, duration: Duration) {
        let Some(requests) = self.requests.get(kind.index()) else { return };
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(count) = requests.by_status.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        requests.duration.observe(duration);
    }

    /// Where bytes sent in answers of this kind are counted.
    pub fn sent(&self, kind: RequestKind) -> Option<&Arc<AtomicU64>> {
        self.requests.get(kind.index()).map(|requests| &requests.sent)
    }

    /// Bytes came from a publisher.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

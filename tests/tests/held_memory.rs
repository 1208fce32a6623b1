//! What a held request costs: viewers of Low-Latency HLS on few connections of HTTP/2, each of whom waits for the next playlist, gets
//! it together with all others, and waits again.
#![expect(clippy::print_stdout, reason = "a look at the figures of a run")]

use std::sync::Arc;
use std::time::Duration;

use headwater_load::clip::Clip;
use headwater_load::hold::{self, Options, Publication};
use headwater_tests::hostile::Server;
use headwater_tests::{Scratch, media};

/// Each with one request at a time.
const VIEWERS: usize = 8_000;

/// Viewers on a connection: below `http.max_streams_per_connection`.
const STREAMS: usize = 1_000;

/// What each may take, with its share of the connection and of what the stream itself grows by meanwhile. It takes some 2,000 bytes.
/// It took 2,800 at least when each was a task of its own, and 5,200 when all answers of a connection were made before any of them was sent.
const BYTES_PER_VIEWER_MAX: f64 = 2_560.0;

#[test]
fn held_requests_of_http2_are_small() {
    let scratch = Scratch::new("held_memory");
    let limits = [
        ("HTTP__MAX_HELD_REQUESTS", "10000"),
        ("HTTP__MAX_HELD_REQUESTS_PER_ADDRESS", "10000"),
        ("LOG__LEVEL", "warn"),
    ];
    let server = Server::start(&scratch, "held", &limits, "");
    let url = |scheme: &str, port: u16, path: &str| format!("{scheme}://127.0.0.1:{port}/live/{path}");
    let clip = Arc::new(Clip::open(&media::plain()).expect("the plain clip"));
    let publication = Publication {
        url: url("rtmp", server.rtmp, "cam"),
        clip,
        // The stream's own memory grows more slowly then.
        settle: Duration::from_secs(12),
    };
    let options = Options {
        url: url("http", server.http, "cam/llhls.m3u8"),
        viewers: VIEWERS,
        duration: Duration::from_secs(4),
        ramp: Duration::from_secs(4),
        http2: Some(STREAMS),
        pid: Some(server.process.id()),
        publish: Some(publication),
        ..Options::default()
    };
    let report = headwater_load::block_on(hold::run(&options)).and_then(std::convert::identity);
    let report = report.unwrap_or_else(|error| panic!("{error}"));
    println!("{report}");
    assert!(report.parts > 0 && report.requests >= VIEWERS as u64, "all of them were released: {report}");
    let bytes = report.server.expect("a process on this machine").rss_per_viewer_bytes;
    assert!(bytes <= BYTES_PER_VIEWER_MAX, "{bytes:.0} bytes for each held request: {report}");
}

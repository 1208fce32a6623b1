//! nginx and Varnish in front, by the files of `config/`: one request per object at the origin, and nobody waits for the cache.
#![expect(clippy::print_stdout, reason = "a look at the figures of a run")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_load::clip::Clip;
use headwater_load::hold::{self, Options, Parts, Publication, Report};
use headwater_tests::cache::Cache;
use headwater_tests::follow::follow;
use headwater_tests::server::{fetch, try_fetch};
use headwater_tests::{Headwater, Process, Scratch, media, publish, wait_for};

/// Players at a time.
const VIEWERS: usize = 200;

/// Seconds of parts that count.
const SECONDS: u64 = 20;

/// What the origin is asked beside one request per object: multivariant playlists until there is one, the cache's question whether it is
/// alive, and what is asked for twice because the first answer was over when the second one came for it.
const REQUESTS_BESIDE: u64 = 40;

/// nginx's lock alone makes half of all parts later than 240 ms, however fast the machine; this is far from both, for a machine that compiles
/// beside the test.
const LATE_P50_MS: f64 = 100.0;

/// A player with a hold-back of three parts has run dry after this.
const STALL_MS: f64 = 600.0 + 200.0;

/// A stream that is published has its first playlist within this.
const STARTS: Duration = Duration::from_secs(20);

/// "Edge serves 200 within 2 s" (http-origin 15).
const AT_THE_EDGE: Duration = Duration::from_secs(2);

#[test]
fn nginx() {
    let scratch = Scratch::new("caches-nginx");
    let server = Headwater::start(&scratch);
    let cache = Cache::nginx(&scratch, &server);
    everything(&scratch, &server, &cache);
}

#[test]
fn varnish() {
    let scratch = Scratch::new("caches-varnish");
    let server = Headwater::start(&scratch);
    let cache = Cache::varnish(&scratch, &server);
    everything(&scratch, &server, &cache);
}

fn everything(scratch: &Scratch, server: &Headwater, cache: &Cache) {
    a_crowd_costs_the_origin_one_request_per_object(server, cache);
    let _publisher = a_name_that_did_not_exist(scratch, server, cache);
    plain_hls(server, cache);
}

fn a_crowd_costs_the_origin_one_request_per_object(server: &Headwater, cache: &Cache) {
    let before = server.requests();
    let report = crowd(&cache.url("/live/crowd/llhls.m3u8"), server.publish_url("crowd"));
    let requests = server.requests() - before;
    println!("{requests} requests at the origin\n{report}");
    assert!(report.errors.is_empty(), "{report}");
    assert_eq!((report.missed, report.not_fetched), (0, 0), "{report}");
    // 200 ms each.
    assert!(report.parts as u64 >= SECONDS * 5 - 5, "{report}");
    assert!(report.longest_wait_ms < STALL_MS, "{report}");
    let bound = report.different + REQUESTS_BESIDE;
    assert!(requests <= bound, "{requests} requests at the origin for {} objects", report.different);
    let late = report.after_write.map_or(f64::INFINITY, |spread| spread.p50_ms);
    assert!(late < LATE_P50_MS, "{report}");
}

fn crowd(url: &str, publish: String) -> Report {
    let clip = Arc::new(Clip::open(&media::clip()).expect("the sample clip"));
    let options = Options {
        url: url.to_owned(),
        viewers: VIEWERS,
        duration: Duration::from_secs(SECONDS),
        parts: Parts::Hinted,
        publish: Some(Publication { url: publish, clip, settle: Duration::from_secs(1) }),
        ..Options::default()
    };
    let report = headwater_load::block_on(hold::run(&options)).and_then(std::convert::identity);
    report.unwrap_or_else(|error| panic!("{error}"))
}

/// 404 first, then published: the cache does not go on saying 404.
fn a_name_that_did_not_exist(scratch: &Scratch, server: &Headwater, cache: &Cache) -> Process {
    let path = "/live/late/index.m3u8";
    assert_eq!(fetch(&cache.url(path)).status, 404);
    let publisher = publish::ffmpeg(scratch, "ffmpeg", &media::plain(), 5, &server.publish_url("late"));
    let playable_at =
        |url: String| wait_for(&url, STARTS, || (try_fetch(&url)?.status == 200).then(Instant::now));
    let (origin, edge) = std::thread::scope(|scope| {
        let origin = scope.spawn(|| playable_at(server.http_url(path)));
        let edge = playable_at(cache.url(path));
        (origin.join().expect("the origin has it as well"), edge)
    });
    let later = edge.saturating_duration_since(origin);
    println!("at the edge {} ms later", later.as_millis());
    assert!(later < AT_THE_EDGE, "{later:?}");
    publisher
}

/// Every segment of a while through the cache, and the origin's bytes.
fn plain_hls(server: &Headwater, cache: &Cache) {
    let recording =
        follow(&cache.url("/live/late/index.m3u8?session=1"), |recording| recording.segments.len() >= 5);
    assert_eq!(recording.failures, Vec::<String>::new());
    let edge = cache.url("");
    for segment in recording.segments.values() {
        let path = segment.url.strip_prefix(&edge).expect("a URL of the edge");
        assert_eq!(fetch(&server.http_url(path)).body, segment.body, "{path}");
    }
}

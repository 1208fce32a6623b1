//! nginx and Varnish in front, by the files of `config/`: one request per object at the origin, nobody waits for the cache, segments come
//! as they grow, and what has no end is passed on.
#![expect(clippy::print_stdout, reason = "a look at the figures of a run")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use headwater_load::clip::Clip;
use headwater_load::hold::{self, Options, Parts, Publication, Report};
use headwater_tests::arriving::{self, Arrived};
use headwater_tests::cache::Cache;
use headwater_tests::follow::follow;
use headwater_tests::server::{fetch, try_fetch};
use headwater_tests::{Headwater, Process, Scratch, media, publish, wait_for};

/// Players at a time.
const VIEWERS: usize = 200;

/// Seconds of parts that count.
const SECONDS: u64 = 20;

/// What the origin is asked beside one request per object: playlists until there is one, the cache's question whether it is
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

/// Viewers of low-latency DASH, each of both tracks.
const DASH_VIEWERS: usize = 40;

/// Segments that they watch grow, one after the other.
const GROWING: u64 = 3;

/// Viewers of each continuous output.
const CONTINUOUS_VIEWERS: usize = 5;

/// What of a continuous output differs by when a viewer joined: the head of a file, and what is muxed for the first time.
const HEAD_BYTES_MAX: usize = 16 << 10;

#[test]
fn nginx() {
    let scratch = Scratch::new("caches-nginx");
    let server = Headwater::start(&scratch);
    let cache = Cache::nginx(&scratch, &server);
    // Everybody's own request while a segment grows, for nginx gives nobody else what has come of it so far. Before the crowd comes: of
    // those who left it while they waited for the lock, nginx asks for 35 s later.
    let most = 2 * GROWING * DASH_VIEWERS as u64;
    segments_that_grow(&scratch, &server, &cache, most);
    everything(&scratch, &server, &cache);
    what_has_no_end(&scratch, &server, &cache);
    let kept = std::process::Command::new("grep")
        .args(["-rlaE", "KEY: .*(flv|/live/endless.(ts|mp4))"])
        .arg(scratch.join("cache"))
        .output()
        .expect("grep");
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "", "kept in the cache");
}

#[test]
fn varnish() {
    let scratch = Scratch::new("caches-varnish");
    let server = Headwater::start(&scratch);
    let cache = Cache::varnish(&scratch, &server);
    segments_that_grow(&scratch, &server, &cache, 2 * GROWING);
    everything(&scratch, &server, &cache);
    let piped = |scratch: &Scratch| {
        let mut statistics = std::process::Command::new("varnishstat");
        statistics.args(["-1", "-f", "MAIN.s_pipe", "-n"]).arg(scratch.join("varnish"));
        let text = headwater_tests::process::read_output(statistics);
        text.split_whitespace().nth(1).and_then(|count| count.parse::<usize>().ok()).expect("a count")
    };
    let before = piped(&scratch);
    what_has_no_end(&scratch, &server, &cache);
    assert_eq!(piped(&scratch) - before, 3 * CONTINUOUS_VIEWERS, "continuous outputs that were piped");
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

/// Many watch the same segments of low-latency DASH grow: each gets the origin's bytes, part by part.
fn segments_that_grow(scratch: &Scratch, server: &Headwater, cache: &Cache, requests_most: u64) {
    let _publisher = publish::ffmpeg(scratch, "growing", &media::clip(), 9, &server.publish_url("growing"));
    let mpd = "/live/growing/ll.mpd";
    let never = AtomicBool::new(false);
    wait_for("the MPD", STARTS, || (try_fetch(&server.http_url(mpd))?.status == 200).then_some(()));
    // An MPD names the clock of the host that it is asked from; this is one host for both.
    wait_for("the origin's MPD at the edge", STARTS, || {
        let [edge, origin] = [cache.port(), server.http_port()].map(|port| arriving::get(port, mpd, &never));
        (edge.status == 200 && edge.body == origin.body).then_some(())
    });
    let direct = grow(server, server.http_port());
    let cached = grow(server, cache.port());
    let requests = cached.requests;
    println!(
        "{DASH_VIEWERS} viewers of {GROWING} growing segments of each track: {requests} requests at the origin"
    );
    println!(
        "  part at the viewer after the origin's first viewer has it: directly {direct}; through the cache {cached}"
    );
    assert!(requests <= requests_most + REQUESTS_BESIDE, "{requests} requests at the origin");
    // Now that they are whole, nobody asks the origin for them.
    let before = server.requests();
    for path in &cached.paths {
        // Caches tell hosts apart.
        assert_eq!(arriving::get(cache.port(), path, &AtomicBool::new(false)).status, 200, "{path}");
    }
    let again = server.requests() - before;
    // Varnish asks whether the origin is alive, and an object that nginx's first viewer was given is the cache's.
    assert!(again <= 2, "{again} requests for what is in the cache");
}

/// How late parts were, in milliseconds.
#[derive(Default)]
struct Late {
    all_ms: Vec<f64>,
    /// The segments.
    paths: Vec<String>,
    /// What the crowd cost the server.
    requests: u64,
}

impl std::fmt::Display for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |percent: usize| self.all_ms[(self.all_ms.len() - 1) * percent / 100];
        write!(f, "p50 {:.1} ms, p99 {:.1} ms, {} parts", at(50), at(99), self.all_ms.len())
    }
}

/// A crowd at `port` watches segments grow, one after the other, beside one viewer at the origin.
fn grow(server: &Headwater, port: u16) -> Late {
    let mut late = Late::default();
    // Both tracks at once would be two crowds on the test's two cores.
    for track in ["video", "audio"] {
        let first = next_segment(server);
        let paths: Vec<String> =
            (first..first + GROWING).map(|number| format!("/live/growing/{track}/{number}.m4s")).collect();
        let watch = |port: u16| -> Vec<Arrived> {
            let never = AtomicBool::new(false);
            paths.iter().map(|path| arriving::get(port, path, &never)).collect()
        };
        let before = server.requests();
        let (reference, crowd) = std::thread::scope(|scope| {
            let reference = scope.spawn(|| watch(server.http_port()));
            let crowd: Vec<_> = (0..DASH_VIEWERS).map(|_| scope.spawn(|| watch(port))).collect();
            let crowd: Vec<Vec<Arrived>> =
                crowd.into_iter().map(|viewer| viewer.join().expect("a viewer")).collect();
            (reference.join().expect("the reference"), crowd)
        });
        // The reference viewer's are not the crowd's.
        late.requests += server.requests() - before - GROWING;
        for (index, origin) in reference.iter().enumerate() {
            for viewer in crowd.iter().map(|viewer| &viewer[index]) {
                compare(&paths[index], origin, viewer, &mut late.all_ms);
            }
        }
        late.paths.extend(paths);
    }
    late.all_ms.sort_by(f64::total_cmp);
    late
}

/// The number of the next segment, while the one before it has some of its parts: it is waited for then, and comes soon.
fn next_segment(server: &Headwater) -> u64 {
    let url = server.http_url("/live/growing/video/media.m3u8");
    wait_for("the middle of a segment", STARTS, || {
        let playlist = try_fetch(&url)?.text();
        let first = playlist.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"))?;
        let first: u64 = first.parse().ok()?;
        let (_, edge) = playlist.rsplit_once("#EXTINF")?;
        let listed = edge.matches("#EXT-X-PART:").count();
        let next = first + playlist.matches("#EXTINF").count() as u64 + 1;
        (3..8).contains(&listed).then_some(next)
    })
}

/// What a viewer got of a growing segment: the origin's bytes, part by part.
fn compare(name: &str, origin: &Arrived, viewer: &Arrived, late_ms: &mut Vec<f64>) {
    for arrived in [origin, viewer] {
        assert_eq!((arrived.status, arrived.is_whole), (200, true), "{name}: {}", arrived.head);
    }
    assert!(viewer.body == origin.body, "{name}: {} and {} bytes", viewer.body.len(), origin.body.len());
    // A part's last byte is a chunk of its own.
    let parts: Vec<usize> =
        origin.chunks.windows(2).filter(|two| two[1] == two[0] + 1).map(|two| two[1]).collect();
    assert!(
        parts.len() >= 4 && parts.last() == Some(&origin.body.len()),
        "{name} came in {:?}",
        origin.chunks
    );
    // The first ones are there before the origin has the last one.
    let end = origin.last().expect("it came");
    let early = parts.iter().filter(|bytes| viewer.when(**bytes).is_some_and(|at| at < end)).count();
    assert!(early >= parts.len() / 3, "{name}: {early} of {} parts before its end", parts.len());
    late_ms.extend(parts.iter().map(|bytes| {
        let [first, at] = [origin, viewer].map(|arrived| arrived.when(*bytes).expect("all came"));
        at.saturating_duration_since(first).as_secs_f64() * 1_000.0
    }));
}

/// Continuous outputs: every viewer gets what the origin gives, as it comes, until the stream ends.
fn what_has_no_end(scratch: &Scratch, server: &Headwater, cache: &Cache) {
    let mut publisher =
        publish::ffmpeg(scratch, "endless", &media::plain(), 1, &server.publish_url("endless"));
    let outputs = ["/live/endless.flv", "/live/endless.ts?session=1", "/live/endless.mp4"];
    wait_for("the stream", STARTS, || {
        let streams = server.streams();
        streams.as_array()?.iter().any(|stream| stream["name"] == "endless").then_some(())
    });
    let never = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut viewers = Vec::new();
        for path in outputs {
            let direct = scope.spawn(move || arriving::get(server.http_port(), path, never));
            let port = cache.port();
            let crowd: Vec<_> = (0..CONTINUOUS_VIEWERS)
                .map(|_| scope.spawn(move || arriving::get(port, path, never)))
                .collect();
            viewers.push((path, direct, crowd));
        }
        publisher.wait(Duration::from_secs(60));
        let sent = Instant::now();
        for (path, direct, crowd) in viewers {
            let direct = direct.join().expect("a viewer");
            assert_eq!((direct.status, direct.is_whole), (200, true), "{path}: {}", direct.head);
            for viewer in crowd {
                let viewer = viewer.join().expect("a viewer");
                assert_eq!((viewer.status, viewer.is_whole), (200, true), "{path}: {}", viewer.head);
                let same = viewer
                    .body
                    .iter()
                    .rev()
                    .zip(direct.body.iter().rev())
                    .take_while(|(a, b)| a == b)
                    .count();
                let least = viewer.body.len().min(direct.body.len());
                assert!(least > 10 * HEAD_BYTES_MAX, "{path}: {least} bytes");
                assert!(
                    same + HEAD_BYTES_MAX >= least,
                    "{path}: the last {same} of {least} bytes are the same"
                );
                // As it comes, and not at the end.
                let early = viewer
                    .times
                    .iter()
                    .take_while(|(at, _)| *at < sent)
                    .last()
                    .map_or(0, |(_, bytes)| *bytes);
                assert!(
                    early > viewer.body.len() / 2,
                    "{path}: {early} of {} bytes while it was sent",
                    viewer.body.len()
                );
            }
        }
    });
}

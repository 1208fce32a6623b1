//! Traces as a collector gets them: a publication and some requests, in one trace with whoever is in front and with the program that is
//! asked; that nothing secret is in them; and that a collector that is away or stands still costs nobody anything but spans.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headwater_tests::collector::Collector;
use headwater_tests::hook_server::HookServer;
use headwater_tests::process::read_output;
use headwater_tests::receiver::Receiver;
use headwater_tests::server::{binary, fetch, free_ports};
use headwater_tests::{Headwater, Process, Scratch, media, publish, wait_for};
use serde_json::{Value, json};

/// An encoder that connects and sends a first segment, on a busy machine.
const BEGINS: Duration = Duration::from_secs(30);

/// Spans are gathered for a second, and tried again for three.
const SENT: Duration = Duration::from_secs(30);

/// A shutdown with a collector that takes nothing: 1 s for players, 3 s for spans, and the machine's other work.
const DOWN: Duration = Duration::from_secs(20);

/// A player's start on such a machine.
const STARTS: Duration = Duration::from_secs(10);

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN_IN_FRONT: &str = "b7ad6b7169203331";

/// All that this program itself logs, and what its libraries say of importance.
const LOG: &str = "[log]\nlevel = \"headwater_origin=trace,headwater_rtmp=trace,debug\"\n";

/// A figure of `/metrics`.
fn figure(server: &Headwater, name: &str) -> u64 {
    let scrape = fetch(&server.admin_url("/metrics")).text();
    let value = scrape.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {scrape}"))
}

/// The status of a GET as one in front sends it, in its trace and `sampled` or not.
fn ask(url: &str, sampled: bool, options: &[&str]) -> u16 {
    let traceparent = format!("traceparent: 00-{TRACE}-{SPAN_IN_FRONT}-0{}", u8::from(sampled));
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--header", &traceparent]);
    read_output_of(curl, options, url).parse().expect("a status")
}

fn read_output_of(mut command: Command, options: &[&str], url: &str) -> String {
    command.args(options).arg(url);
    read_output(command)
}

fn token(scratch: &Scratch, name: &str) -> String {
    let mut headwater = Command::new(binary());
    headwater.args(["token", "play", name, "--config"]).arg(scratch.join("headwater.toml"));
    read_output(headwater).trim().to_owned()
}

/// The one span of this name.
fn one<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    let named: Vec<_> = spans.iter().filter(|span| span["name"] == name).collect();
    let [span] = named.as_slice() else { panic!("{} spans are {name}: {named:#?}", named.len()) };
    span
}

fn assert_attributes(span: &Value, expected: &[(&str, Value)]) {
    for (key, value) in expected {
        assert_eq!(span["attributes"][key], *value, "{key} of {span:#}");
    }
}

fn assert_below(span: &Value, parent: &Value) {
    assert_eq!((&span["parent"], &span["trace"]), (&parent["id"], &parent["trace"]), "{span:#}\n{parent:#}");
}

#[test]
fn a_publication_and_requests_without_a_secret() {
    let scratch = Scratch::new("telemetry");
    let [port] = free_ports();
    let collector = Collector::start(&scratch, port);
    let hooks = HookServer::start(|_| Some((200, "0".to_owned())));
    let receiver = Receiver::start();
    let mut server = Headwater::start_with(
        &scratch,
        &format!(
            "{LOG}[publish]\nloopback_trusted = false\nkeys = [{{ key = \"planted-key-one\" }}]\n\
             [play]\ntoken_required = true\n[auth]\ntoken_secrets = [\"planted-token-secret\"]\n\
             [http]\nforwarded_for_from = [\"127.0.0.1\"]\n\
             [hooks]\non_publish = {:?}\non_play = {:?}\non_unpublish = {:?}\nsecret = \"planted-hook-secret\"\n\
             [events]\nwebhooks = [{{ url = \"{}?planted-receiver\", secret = \"planted-receiver-secret\" }}]\n\
             [telemetry]\notlp_endpoint = \"http://127.0.0.1:{port}\"\nauthorization = \"Bearer planted-collector-token\"\n\
             sample_ratio = 0\n",
            hooks.url("/publish?planted-query"),
            hooks.url("/play?planted-query"),
            hooks.url("/unpublish?planted-query"),
            receiver.url(),
        ),
    );
    let refused =
        publish::ffmpeg(&scratch, "refused", &media::plain(), 1, &server.publish_url("planted-name"));
    assert!(!{ refused }.wait(BEGINS).success());
    let stream = server.publish_url("cam?key=planted-key-one&password=planted-password");
    let mut publisher = publish::ffmpeg(&scratch, "encoder", &media::plain(), 20, &stream);
    let (one_stream, all) = (token(&scratch, "live/cam"), token(&scratch, "*"));
    let at = |token: &str, path: &str| server.http_url(&format!("/t/{token}{path}"));
    let playlist = at(&one_stream, "/live/cam/index.m3u8");
    wait_for("a playlist", BEGINS, || (fetch(&playlist).status == 200).then_some(()));

    // In another's trace, where nothing else is sampled.
    assert_eq!(ask(&playlist, false, &[]), 200);
    assert_eq!(ask(&at(&all, "/live/cam/ts/media.m3u8"), true, &[]), 200);
    let in_query = server.http_url(&format!("/live/cam/video/media.m3u8?token={all}"));
    assert_eq!(ask(&in_query, true, &["--http2-prior-knowledge", "--head"]), 200);
    assert_eq!(ask(&at("planted-token", "/live/cam/llhls.m3u8"), true, &["--user", "planted:planted"]), 403);
    assert_eq!(ask(&at(&all, "/planted/name/manifest.mpd"), true, &[]), 404);
    assert_eq!(ask(&server.http_url("/planted/../x?planted"), true, &["--path-as-is"]), 400);
    let held = at(&all, "/live/cam/video/media.m3u8?_HLS_msn=4000000000");
    assert_eq!(ask(&held, true, &["--request", "planted"]), 405);

    wait_for("the requests", SENT, || {
        (collector.spans().iter().filter(|span| span["trace"] == TRACE).count() >= 7).then_some(())
    });
    publisher.stop();
    wait_for("a word about its end", BEGINS, || {
        (!hooks.asked("/unpublish?planted-query").is_empty()).then_some(())
    });
    let log = server.process.log();
    assert_eq!(figure(&server, "headwater_spans_dropped_total"), 0);
    assert!(figure(&server, "headwater_spans_exported_total") >= 7);
    let status = server.process.stop();
    assert!(status.success(), "{status}");

    let spans = collector.spans();
    for span in &spans {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(span["resource"]["service.name"], "headwater", "{span:#}");
        assert_eq!(span["resource"]["service.version"], version, "{span:#}");
        assert!(
            span["start"].as_u64() <= span["end"].as_u64() && span["start"].as_u64() > Some(0),
            "{span:#}"
        );
        for secret in ["planted", &one_stream, &all] {
            assert!(!span.to_string().contains(secret), "{secret} in {span:#}");
        }
    }
    for secret in ["planted-", &one_stream, &all] {
        assert!(!log.contains(secret), "{secret} is logged:\n{log}");
    }
    assert!(collector.authorizations().iter().all(|shown| shown == "Bearer planted-collector-token"));

    a_publication(&spans, &hooks);
    requests(&spans, server.http_port());
    let events: Vec<_> = spans.iter().filter(|span| span["name"] == "POST webhook").collect();
    assert!(events.iter().any(|span| span["attributes"]["headwater.event.kind"] == "publish"), "{events:#?}");
    for event in events {
        assert_attributes(
            event,
            &[("server.address", json!("127.0.0.1")), ("http.request.method", json!("POST"))],
        );
        assert_eq!((&event["parent"], &event["kind"]), (&json!(""), &json!("SPAN_KIND_CLIENT")));
    }
}

fn a_publication(spans: &[Value], hooks: &HookServer) {
    let (mut refused, accepted): (Vec<_>, Vec<_>) = spans
        .iter()
        .filter(|span| span["name"] == "rtmp publish")
        .partition(|span| span["status"] == "STATUS_CODE_ERROR");
    let [publish] = accepted.as_slice() else { panic!("{accepted:#?}") };
    // ffmpeg says that it can't, and does not try again.
    let refused = refused.pop().expect("one that was refused");
    assert_attributes(refused, &[("error.type", json!("key_missing")), ("headwater.stream", Value::Null)]);

    assert_eq!((&publish["parent"], &publish["kind"]), (&json!(""), &json!("SPAN_KIND_SERVER")));
    let of_stream = [("headwater.app", json!("live")), ("headwater.stream", json!("cam"))];
    assert_attributes(publish, &of_stream);
    assert_attributes(
        publish,
        &[("network.protocol.name", json!("rtmp")), ("client.address", json!("127.0.0.1"))],
    );
    let trace: Vec<Value> = spans.iter().filter(|span| span["trace"] == publish["trace"]).cloned().collect();
    let [handshake, authorize, asked, publication, told] =
        ["handshake", "authorize", "POST on_publish", "rtmp publication", "POST on_unpublish"]
            .map(|name| one(&trace, name));
    assert_eq!(trace.len(), 6, "{trace:#?}");
    for (span, parent) in [
        (handshake, *publish),
        (authorize, *publish),
        (asked, authorize),
        (publication, *publish),
        (told, publication),
    ] {
        assert_below(span, parent);
    }
    assert_eq!(handshake["start"], publish["start"], "both begin with the connection");
    assert!(asked["end"].as_u64() <= authorize["end"].as_u64(), "it waits for the hook");
    assert!(authorize["end"].as_u64() <= publish["end"].as_u64());
    assert_attributes(publication, &of_stream);
    assert_eq!(publication["status"], "STATUS_CODE_UNSET", "{publication:#}");
    let ended = publication["attributes"]["headwater.ended"].as_str().expect("why it ended");
    assert!(ended.starts_with("unpublished"), "{ended}");
    assert_attributes(
        asked,
        &[
            ("http.request.method", json!("POST")),
            ("http.response.status_code", json!(200)),
            ("server.address", json!("127.0.0.1")),
            ("headwater.hook", json!("on_publish")),
        ],
    );
    // The program that is asked can join.
    for (span, path) in [(asked, "/publish?planted-query"), (told, "/unpublish?planted-query")] {
        let expected = format!("00-{}-{}-01", text(span, "trace"), text(span, "id"));
        let shown: Vec<_> =
            hooks.asked(path).iter().map(|asked| asked.header("traceparent").map(str::to_owned)).collect();
        assert_eq!(shown, [Some(expected)], "{path}");
    }
}

fn requests(spans: &[Value], port: u16) {
    let (in_trace, elsewhere): (Vec<_>, Vec<_>) = spans
        .iter()
        .filter(|span| span["kind"] == "SPAN_KIND_SERVER" && span["name"] != "rtmp publish")
        .partition(|span| span["trace"] == TRACE);
    assert!(elsewhere.is_empty(), "nobody else's were asked for: {elsewhere:#?}");
    let mut told = BTreeMap::new();
    for span in &in_trace {
        assert_eq!(span["parent"], SPAN_IN_FRONT, "{span:#}");
        let address = ("server.address", json!("127.0.0.1"));
        assert_attributes(span, &[address, ("server.port", json!(port)), ("url.scheme", json!("http"))]);
        let status = span["attributes"]["http.response.status_code"].as_u64().expect("a status");
        assert!(told.insert((text(span, "name"), status), &span["attributes"]).is_none(), "{span:#}");
    }
    let expected = [
        ("GET", 400),
        ("GET /{app}/{stream}/llhls.m3u8", 403),
        ("GET /{app}/{stream}/manifest.mpd", 404),
        ("GET /{app}/{stream}/ts/media.m3u8", 200),
        ("HEAD /{app}/{stream}/video/media.m3u8", 200),
        ("_OTHER", 405),
    ];
    assert_eq!(told.keys().copied().collect::<Vec<_>>(), expected);
    let playlist = told[&("GET /{app}/{stream}/ts/media.m3u8", 200)];
    assert_eq!(playlist["http.route"], "/{app}/{stream}/ts/media.m3u8");
    assert_eq!(
        (&playlist["headwater.stream"], &playlist["network.protocol.version"]),
        (&json!("cam"), &json!("1.1"))
    );
    assert!(playlist["http.response.body.size"].as_u64() > Some(100), "{playlist:#}");
    let over_http2 = told[&("HEAD /{app}/{stream}/video/media.m3u8", 200)];
    assert_eq!(over_http2["network.protocol.version"], "2");
    assert_eq!(over_http2["http.response.body.size"], 0, "an answer to HEAD");
    // Who asks with this token first is asked about, within its request.
    let asked: Vec<_> =
        spans.iter().filter(|span| span["name"] == "POST on_play" && span["trace"] == TRACE).collect();
    let parents: Vec<_> = asked.iter().map(|span| &span["parent"]).collect();
    let request =
        in_trace.iter().find(|span| text(span, "name").ends_with("ts/media.m3u8")).expect("it is there");
    assert!(parents.contains(&&request["id"]), "{asked:#?}");
}

fn text<'a>(span: &'a Value, key: &str) -> &'a str {
    span[key].as_str().expect("a text")
}

/// Fails unless a player gets `seconds` of pictures, and gets them about as fast as they are made.
fn assert_plays(url: &str, seconds: u32) {
    let began = Instant::now();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args([
        "-nostdin",
        "-v",
        "error",
        "-i",
        url,
        "-map",
        "0:v",
        "-t",
        &seconds.to_string(),
        "-c",
        "copy",
    ]);
    ffmpeg.args(["-f", "framemd5", "-"]).stdin(Stdio::null());
    let output = ffmpeg.output().expect("ffmpeg can be started");
    let pictures =
        String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.starts_with("0,")).count();
    let (expected, took) = (seconds as usize * 25, began.elapsed());
    assert!(pictures.abs_diff(expected) <= 2, "{pictures} pictures instead of {expected}");
    assert!(took < Duration::from_secs(seconds.into()) + STARTS, "{took:?}");
}

fn publisher(scratch: &Scratch, server: &Headwater) -> Process {
    let publisher = publish::ffmpeg(scratch, "encoder", &media::plain(), 20, &server.publish_url("cam"));
    server.wait_until_playable("cam", BEGINS);
    publisher
}

#[test]
fn without_a_collector_streams_go_on_and_spans_are_counted() {
    let scratch = Scratch::new("telemetry-dead");
    let [port] = free_ports();
    let server = Headwater::start_with(
        &scratch,
        &format!("[telemetry]\notlp_endpoint = \"http://127.0.0.1:{port}/\"\nsample_ratio = 1.0\n"),
    );
    let mut encoder = publisher(&scratch, &server);
    let dropped = || figure(&server, "headwater_spans_dropped_total");
    // Nobody is believed who says that this is their trace.
    assert_eq!(ask(&server.http_url("/time"), true, &[]), 200);
    let began = Instant::now();
    assert_plays(&server.http_url("/live/cam.flv"), 6);
    let before = wait_for("spans that are dropped", SENT, || Some(dropped()).filter(|dropped| *dropped > 0));
    for _ in 0..3 {
        assert_eq!(fetch(&server.watch_url("cam")).status, 200);
    }
    wait_for("more of them", SENT, || (dropped() >= before + 3).then_some(()));
    assert_eq!(encoder.status(), None, "{}", encoder.log());
    assert_eq!(figure(&server, "headwater_spans_exported_total"), 0);
    let told = server.process.log().matches("does not take all spans").count() as u64;
    assert!(
        told > 0 && told <= 1 + began.elapsed().as_secs() / 60,
        "once a minute:\n{}",
        server.process.log()
    );

    // It is there again.
    let collector = Collector::start(&scratch, port);
    assert_eq!(ask(&server.http_url("/time"), true, &[]), 200);
    let span =
        wait_for("a span", SENT, || collector.spans().into_iter().find(|span| span["name"] == "GET /time"));
    assert_eq!(span["parent"], "", "a trace of its own: {span:#}");
    assert_ne!(span["trace"], TRACE);
}

#[test]
fn a_collector_that_stands_still_holds_nobody_up() {
    let scratch = Scratch::new("telemetry-slow");
    let standing_still = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = standing_still.local_addr().expect("its address").port();
    let mut server = Headwater::start_with(
        &scratch,
        &format!("[telemetry]\notlp_endpoint = \"http://127.0.0.1:{port}\"\nsample_ratio = 1\n"),
    );
    let _encoder = publisher(&scratch, &server);
    assert_plays(&server.http_url("/live/cam.flv"), 4);
    let began = Instant::now();
    server.process.signal("TERM");
    let status = server.process.wait(DOWN);
    assert!(status.success(), "{status} after {:?}", began.elapsed());
    assert!(server.process.log().contains("did not take the last spans"), "{}", server.process.log());
}

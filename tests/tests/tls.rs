//! TLS on both listeners, with clients that nobody here wrote: which versions are spoken, what plays, and how a certificate is exchanged
//! under way.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use headwater_tests::process::{Process, read_output};
use headwater_tests::tls::{Pair, agrees_on, curl};
use headwater_tests::{Headwater, Scratch, media, publish, server, wait_for};
use serde_json::Value;

/// A certificate is exchanged after two looks of two seconds each; a busy machine looks later.
const EXCHANGED: Duration = Duration::from_secs(30);

/// Of moving picture.
const SECONDS: u32 = 6;

/// 30 s to start, and as long again for a browser that starts and ends beside others.
const BROWSER: Duration = Duration::from_secs(100);

/// A server with TLS on both listeners, their ports and what it shows.
fn secured(scratch: &Scratch) -> (Headwater, u16, u16, Pair) {
    let pair = Pair::make(scratch, "first");
    let [rtmps, https] = server::free_ports();
    let configuration = format!(
        "{}[rtmp]\ntls_listen = \"127.0.0.1:{rtmps}\"\n[http]\ntls_listen = \"127.0.0.1:{https}\"\n",
        pair.configuration()
    );
    (Headwater::start_with(scratch, &configuration), rtmps, https, pair)
}

#[test]
fn rtmps_in_and_out_https_out() {
    let scratch = Scratch::new("tls-real-clients");
    let (server, rtmps, https, pair) = secured(&scratch);
    let url = format!("rtmps://127.0.0.1:{rtmps}/live/cam");
    let _publisher = publish::ffmpeg(&scratch, "ffmpeg", &media::clip(), 20, &url);
    server.wait_until_playable("cam", Duration::from_secs(30));

    let playlist = format!("https://127.0.0.1:{https}/live/cam/index.m3u8");
    let spoken = "%{http_version} %{http_code}";
    assert_eq!(curl(&pair.certificate, "--http2", &playlist, spoken).as_deref(), Some("2 200"));
    assert_eq!(curl(&pair.certificate, "--http1.1", &playlist, spoken).as_deref(), Some("1.1 200"));
    // Without ALPN, by what a client begins with.
    assert_eq!(curl(&pair.certificate, "--no-alpn", &playlist, spoken).as_deref(), Some("1.1 200"));

    // The clock of an MPD: a page that came by https may ask for nothing by http.
    let mut text = Command::new("curl");
    text.args(["--silent", "--insecure", &format!("https://127.0.0.1:{https}/live/cam/manifest.mpd")]);
    let mpd = read_output(text);
    assert!(mpd.contains(&format!("\"https://127.0.0.1:{https}/time\"")), "{mpd}");

    // Played by RTMPS: as much as went in by it.
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-i", &url, "-t", "3", "-c", "copy", "-f", "framemd5", "-"]);
    let frames = read_output(ffmpeg).lines().filter(|line| line.starts_with("0,")).count();
    assert!(frames >= 80, "{frames} pictures of 90");

    for port in [rtmps, https] {
        let versions = ["-tls1", "-tls1_1", "-tls1_2", "-tls1_3"].map(|version| agrees_on(port, version));
        assert_eq!(versions, [false, false, true, true], "on {port}");
    }
}

#[test]
fn a_certificate_is_exchanged_under_way() {
    let scratch = Scratch::new("tls-exchange");
    let (server, rtmps, https, pair) = secured(&scratch);
    let url = format!("https://127.0.0.1:{https}/healthz");
    let shows = |certificate| curl(certificate, "--http2", &url, "%{http_code}").as_deref() == Some("404");
    let kept = scratch.join("first-kept.pem");
    std::fs::copy(&pair.certificate, &kept).expect("a copy");
    assert!(shows(&kept));
    // It lives through what follows.
    let sleeping = TcpStream::connect(("127.0.0.1", rtmps)).expect("a connection");

    let next = Pair::make(&scratch, "next");
    std::fs::copy(&next.certificate, &pair.certificate).expect("half of a pair");
    wait_for("a word about the pair that does not fit", EXCHANGED, || {
        server.process.log().contains("this is not the key of the first certificate").then_some(())
    });
    assert!(shows(&kept), "the old pair stays");
    std::fs::remove_file(&pair.key).expect("no key at all");
    wait_for("a word about the key", EXCHANGED, || {
        server.process.log().contains("No such file").then_some(())
    });
    assert!(shows(&kept), "the old pair stays");

    std::fs::copy(&next.key, &pair.key).expect("the other half");
    wait_for("the new certificate", EXCHANGED, || shows(&next.certificate).then_some(()));
    assert!(!shows(&kept));
    assert!(!server.process.log().contains("PRIVATE KEY"));
    drop(sleeping);
}

#[test]
fn low_latency_hls_over_http_2_in_a_browser() {
    let scratch = Scratch::new("tls-browser");
    let (server, rtmps, https, _) = secured(&scratch);
    let url = format!("rtmps://127.0.0.1:{rtmps}/live/cam");
    let _publisher = publish::ffmpeg(&scratch, "ffmpeg", &media::clip(), 20, &url);
    server.wait_until_playable("cam", Duration::from_secs(30));

    let page = format!("https://127.0.0.1:{https}/?player=hls.js&format=llhls#live/cam");
    let mut node = Command::new("node");
    node.arg(headwater_tests::root().join("tests/players/secure.mjs")).args([&page, &SECONDS.to_string()]);
    let mut process = Process::start_piped("secure", node, &scratch, Stdio::piped());
    let output = process.take_output().expect("a pipe");
    process.wait(BROWSER);
    let text = std::io::read_to_string(output).expect("its report");
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("it reported: {text}"));

    assert!(report["fatal"].is_null(), "{text}");
    assert!(report["played"].as_f64() >= Some(f64::from(SECONDS)), "{text}");
    let requests = report["requests"].as_object().expect("requests");
    let of = |kind: &str| requests.get(kind).and_then(Value::as_u64).unwrap_or_default();
    assert!(of("m4s h2") >= 10 && of("m3u8 h2") >= 10, "{text}");
    assert!(requests.keys().all(|kind| kind.ends_with(" h2")), "{text}");
}

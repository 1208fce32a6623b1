//! Behind a load balancer: real ones say who is behind them, and only they are believed.

use std::process::Command;
use std::time::Duration;

use headwater_tests::process::Process;
use headwater_tests::tls::Pair;
use headwater_tests::{Headwater, Scratch, media, publish, server, wait_for};

/// An encoder that connects and sends a first segment, on a busy machine.
const BEGINS: Duration = Duration::from_secs(30);

/// An encoder that is refused tells so at once; on a busy machine it takes a while to start.
const REFUSED: Duration = Duration::from_secs(20);

/// haproxy wants to be told.
const TIMEOUTS: &str = "defaults\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n";

/// The status of an answer that curl got with these further arguments.
fn status(arguments: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--insecure",
        "--max-time",
        "20",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
    ]);
    let output = curl.args(arguments).output().expect("curl can be started; `cargo xtask deps` installs it");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_load_balancer_says_who_is_behind_it() {
    let scratch = Scratch::new("proxies");
    let [rtmp, http] = server::free_ports();
    // The load balancer's own address, which no client here has.
    let server = Headwater::start_with(
        &scratch,
        "[rtmp]\nproxy_protocol_from = [\"127.0.0.9\"]\n[http]\nforwarded_for_from = [\"127.0.0.9\"]\n\
         [publish]\nkeys = [{ key = \"a-key-for-all\" }]\ndeny = [\"127.0.0.3\"]\n[play]\ndeny = [\"127.0.0.2\"]\n",
    );
    let (to_rtmp, to_http) = (server.rtmp_port(), server.http_port());
    let configuration = format!(
        "{TIMEOUTS}\
         listen rtmp\n  mode tcp\n  bind 127.0.0.1:{rtmp}\n  source 127.0.0.9\n  server a 127.0.0.1:{to_rtmp} send-proxy-v2\n\
         listen http\n  mode http\n  bind 127.0.0.1:{http}\n  source 127.0.0.9\n  option forwardfor\n  server a 127.0.0.1:{to_http}\n"
    );
    let _haproxy = haproxy(&scratch, &configuration);
    let balanced = format!("http://127.0.0.1:{http}/time");
    wait_for("haproxy", BEGINS, || (status(&[&balanced]) == "200").then_some(()));

    // Who came through it may be anybody, so this machine is not trusted there.
    let url = format!("rtmp://127.0.0.1:{rtmp}/live/cam");
    let mut without = publish::ffmpeg(&scratch, "without", &media::plain(), 1, &url);
    assert!(!without.wait(REFUSED).success(), "it got in without a key");
    let _with = publish::ffmpeg(&scratch, "with", &media::plain(), 20, &format!("{url}?key=a-key-for-all"));
    let playlist = format!("http://127.0.0.1:{http}/live/cam/index.m3u8");
    wait_for("a playlist", BEGINS, || (status(&[&playlist]) == "200").then_some(()));
    let address = server.streams()[0]["publisher"]["address"].as_str().unwrap_or_default().to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{address} is the load balancer's");

    let direct = server.watch_url("cam");
    for (case, arguments, expected) in [
        ("one that may", &["--interface", "127.0.0.1", &playlist][..], "200"),
        ("one that may not", &["--interface", "127.0.0.2", &playlist], "403"),
        ("directly", &["--interface", "127.0.0.2", &direct], "403"),
        ("a stranger's word", &["--header", "X-Forwarded-For: 127.0.0.2", &direct], "200"),
        (
            "his word before the load balancer's",
            &["--header", "X-Forwarded-For: 127.0.0.1", "--interface", "127.0.0.2", &playlist],
            "403",
        ),
    ] {
        assert_eq!(status(arguments), expected, "{case}");
    }
}

#[test]
fn the_proxy_protocol_in_front_of_http_and_tls() {
    let scratch = Scratch::new("proxies-http");
    let pair = Pair::make(&scratch, "pair");
    let [https, one, two] = server::free_ports();
    // Every interface of both families.
    let server = Headwater::start_with(
        &scratch,
        &format!(
            "{}[http]\ntls_listen = \"[::]:{https}\"\nproxy_protocol_from = [\"127.0.0.9\"]\n[play]\ndeny = [\"127.0.0.2\"]\n",
            pair.configuration()
        ),
    );
    let http = server.http_port();
    let configuration = format!(
        "{TIMEOUTS}\
         listen plain\n  mode tcp\n  bind 127.0.0.1:{one}\n  source 127.0.0.9\n  server a 127.0.0.1:{http} send-proxy\n\
         listen tls\n  mode tcp\n  bind 127.0.0.1:{two}\n  source 127.0.0.9\n  server a 127.0.0.1:{https} send-proxy-v2\n"
    );
    let _haproxy = haproxy(&scratch, &configuration);
    let path = "/live/cam/index.m3u8";
    let balanced = format!("http://127.0.0.1:{one}{path}");
    wait_for("haproxy", BEGINS, || (status(&[&balanced]) == "404").then_some(()));
    for (through, direct) in [
        (balanced, server.http_url(path)),
        (format!("https://127.0.0.1:{two}{path}"), format!("https://127.0.0.1:{https}{path}")),
    ] {
        for (case, arguments, expected) in [
            ("denied", &["--interface", "127.0.0.2", &through][..], "403"),
            ("another", &["--interface", "127.0.0.3", &through], "404"),
            ("without the header where it has to be", &["--interface", "127.0.0.9", &direct], "000"),
            ("without it where it need not be", &["--interface", "127.0.0.3", &direct], "404"),
            ("denied, without it", &["--interface", "127.0.0.2", &direct], "403"),
        ] {
            assert_eq!(status(arguments), expected, "{case}: {direct}");
        }
        let word = status(&["--interface", "127.0.0.3", "--haproxy-protocol", &direct]);
        assert_ne!(word, "404", "a stranger's header is none: {direct}");
    }
    assert_eq!(status(&[&format!("https://[::1]:{https}{path}")]), "404");
}

/// Starts it with these listeners.
fn haproxy(scratch: &Scratch, configuration: &str) -> Process {
    std::fs::write(scratch.join("haproxy.cfg"), configuration).expect("the test's folder can be written");
    let mut haproxy = Command::new("haproxy");
    haproxy.arg("-f").arg(scratch.join("haproxy.cfg")).arg("-db");
    Process::start("haproxy", haproxy, scratch)
}

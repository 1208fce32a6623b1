//! The metrics as monitoring uses them: a real Prometheus scrapes a real server with `config/prometheus.yml`, and what the dashboard
//! and the alert rules name is there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use headwater_tests::process::read_output;
use headwater_tests::server::{fetch, free_ports, try_fetch};
use headwater_tests::{Headwater, Process, Scratch, media, publish, root, wait_for};
use serde_json::Value;

/// For a few scrapes on a machine that has other work.
const SOON: Duration = Duration::from_secs(60);

fn config_file(name: &str) -> String {
    std::fs::read_to_string(root().join("config").join(name)).expect("a file of config/")
}

/// Every name of ours in a text.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
        .filter(|word| word.starts_with("headwater_"))
        .collect()
}

/// The names of a scrape's samples.
fn sampled(scrape: &str) -> BTreeSet<&str> {
    let samples = scrape.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).collect()
}

/// Every expression of the dashboard, its variables standing for everything.
fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    targets
        .map(|target| target["expr"].as_str().expect("an expression"))
        .map(|text| text.replace("$instance", ".*").replace("$app", ".*").replace("$stream", ".*"))
        .collect()
}

/// A Prometheus that scrapes the server each second.
fn prometheus(scratch: &Scratch, server: &Headwater) -> (Process, u16) {
    let [port] = free_ports();
    let target = server.admin_url("").replace("http://", "");
    let configuration = config_file("prometheus.yml")
        .replace("127.0.0.1:8081", &target)
        .replace("_interval: 10s", "_interval: 1s");
    std::fs::write(scratch.join("prometheus.yml"), configuration).expect("the test's folder");
    std::fs::write(scratch.join("alerts.yml"), config_file("alerts.yml")).expect("the test's folder");
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "config"]).arg(scratch.join("prometheus.yml"));
    let said = read_output(promtool);
    assert!(said.contains("SUCCESS"), "{said}");
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", scratch.join("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", scratch.join("tsdb").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    (Process::start("prometheus", command, scratch), port)
}

/// What Prometheus answers to an expression; `None` while it isn't there.
fn query(port: u16, expression: &str) -> Option<Vec<Value>> {
    let mut encoded = String::new();
    for byte in expression.bytes() {
        let _ = write!(encoded, "%{byte:02X}");
    }
    let answer = try_fetch(&format!("http://127.0.0.1:{port}/api/v1/query?query={encoded}"))?;
    let answer: Value = serde_json::from_slice(&answer.body).ok()?;
    assert_eq!(answer["status"], "success", "{expression}: {answer}");
    answer["data"]["result"].as_array().cloned()
}

#[test]
fn what_dashboard_and_alerts_name_is_scraped() {
    let scratch = Scratch::new("metrics");
    let server = Headwater::start(&scratch);
    let _publisher = publish::ffmpeg(&scratch, "encoder", &media::clip(), 20, &server.publish_url("cam"));
    server.wait_until_playable("cam", SOON);
    assert_eq!(fetch(&server.http_url("/live/cam/llhls.m3u8")).status, 200);

    let answer = fetch(&server.admin_url("/metrics"));
    assert_eq!(
        answer.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let dashboard = config_file("grafana.json");
    let alerts = config_file("alerts.yml");
    let mut named = names(&dashboard);
    named.extend(names(&alerts));
    assert!(named.len() > 20, "{named:?}");
    wait_for("a figure of each kind", SOON, || {
        let scrape = fetch(&server.admin_url("/metrics")).text();
        named.is_subset(&sampled(&scrape)).then_some(())
    });

    let (_prometheus, port) = prometheus(&scratch, &server);
    let value = |expression: &str| {
        let result = query(port, expression)?;
        result.first()?["value"][1].as_str()?.parse::<f64>().ok()
    };
    wait_for("a scrape", SOON, || (value("sum(headwater_publishers)") == Some(1.0)).then_some(()));
    wait_for("bytes that rise", SOON, || {
        value("rate(headwater_received_bytes_total[10s])").filter(|rate| *rate > 1_000.0)
    });
    let parts = value("headwater_frame_to_part_seconds_count").expect("parts");
    assert!(parts > 0.0);
    let playlists = "sum(headwater_http_requests_total{kind=\"playlist\",status=\"2xx\"})";
    assert!(value(playlists).expect("playlists") >= 1.0);

    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    for expression in expressions(&dashboard) {
        query(port, &expression).expect("an answer");
    }
    let rules = wait_for("every rule to be looked at", SOON, || {
        let answer = fetch(&format!("http://127.0.0.1:{port}/api/v1/rules"));
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        let rules = answer["data"]["groups"][0]["rules"].as_array()?.clone();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    });
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
    }
}

#[test]
fn the_access_log_is_off_until_it_is_asked_for() {
    for (name, configuration, lines) in
        [("access-off", "", 0), ("access-on", "[log]\nlevel = \"info,access=debug\"\nformat = \"json\"\n", 2)]
    {
        let scratch = Scratch::new(name);
        let server = Headwater::start_with(&scratch, configuration);
        let cmcd = "/live/none/index.m3u8?key=of-a-viewer&CMCD=sid%3D%22viewer-1%22%2Cbl%3D2000";
        assert_eq!(fetch(&server.http_url(cmcd)).status, 404);
        assert_eq!(fetch(&server.http_url("/time")).status, 200);
        let log = server.process.log();
        let access: Vec<Value> = log
            .lines()
            .filter(|line| line.contains("\"target\":\"access\""))
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect();
        assert_eq!(access.len(), lines, "{log}");
        assert!(!log.contains("of-a-viewer"), "{log}");
        if let Some(line) = access.first() {
            assert_eq!((&line["path"], &line["kind"]), (&"/live/none/index.m3u8".into(), &"playlist".into()));
            assert_eq!((&line["status"], &line["method"]), (&404.into(), &"GET".into()));
            assert_eq!(line["cmcd"], "sid=\"viewer-1\",bl=2000");
        }
    }
}

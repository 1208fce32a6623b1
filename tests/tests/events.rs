//! What happens on a real server, as webhooks and a real MQTT broker are told of it, over failures of both.

use std::process::Command;
use std::time::Duration;

use headwater_tests::broker::Broker;
use headwater_tests::process::read_output;
use headwater_tests::receiver::Receiver;
use headwater_tests::rtmp_client::{RtmpClient, Stage};
use headwater_tests::server::fetch;
use headwater_tests::{Headwater, Scratch, media, publish, wait_for};
use serde_json::Value;

/// For deliveries on a machine that has other work; retries double their waits, so what was away for long needs some.
const SOON: Duration = Duration::from_secs(60);

const SECRET: &str = "a-secret-that-nobody-logs";

/// Publishers that come and go, each with a stream of its own: `publish`, `unpublish`, and an idle stream.
fn come_and_go(server: &Headwater, times: usize) {
    for _ in 0..times {
        let mut client = RtmpClient::open(server.rtmp_port(), "");
        client.name = format!("cam-{}", client.local_port());
        client.reach(Stage::Publishing).expect("it may publish");
    }
}

/// Every event that the server keeps, page by page.
fn events(server: &Headwater) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    loop {
        let after = events.last().map_or(0, id);
        let page = fetch(&server.admin_url(&format!("/api/v1/events?after={after}"))).text();
        let page: Value = serde_json::from_str(&page).expect("JSON");
        let more = page["events"].as_array().expect("events");
        if more.is_empty() {
            return events;
        }
        events.extend(more.iter().cloned());
    }
}

fn id(event: &Value) -> u64 {
    event["id"].as_u64().expect("an id")
}

/// All publishers have gone, and nothing more will happen before the grace time is over.
fn settled(server: &Headwater, sessions: usize) -> Vec<Value> {
    wait_for("every publisher to be gone", SOON, || {
        let events = events(server);
        let gone = events.iter().filter(|event| event["kind"] == "stream_idle").count();
        (gone == sessions).then_some(events)
    })
}

#[test]
fn webhooks_get_every_event_signed_and_in_order_over_failures() {
    let scratch = Scratch::new("webhooks");
    let (all, some) = (Receiver::start(), Receiver::start());
    let server = Headwater::start_with(
        &scratch,
        &format!(
            "[events]\nwebhooks = [\n{{ url = \"{}?token=of-the-address\", secret = \"{SECRET}\" }},\n\
             {{ url = \"{}\", secret = \"{SECRET}\", kinds = [\"unpublish\"] }},\n]\n",
            all.url(),
            some.url()
        ),
    );
    come_and_go(&server, 5);
    settled(&server, 5);
    all.answer_with(503);
    come_and_go(&server, 5);
    let told = settled(&server, 10);
    wait_for("a failure", SOON, || all.posted().iter().any(|posted| posted.status == 503).then_some(()));
    all.answer_with(204);

    let taken = || -> Vec<Value> {
        let posted = all.posted();
        let taken = posted.iter().filter(|posted| posted.status == 204);
        taken.map(|posted| serde_json::from_str(&posted.body).expect("JSON")).collect()
    };
    wait_for("all of them", SOON, || (taken().last().map(id) == told.last().map(id)).then_some(()));
    assert_eq!(taken(), told, "each once, in order");
    wait_for("those of one kind", SOON, || (some.posted().len() == 10).then_some(()));
    assert!(some.posted().iter().all(|posted| posted.header("headwater-event") == "unpublish"));

    // The signature as a program makes it that nobody here wrote.
    let posted = all.posted();
    let first = posted.first().expect("a delivery");
    std::fs::write(scratch.join("signed"), format!("{}.{}", first.header("headwater-timestamp"), first.body))
        .expect("the test's folder");
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-hmac", SECRET, "-r"]).arg(scratch.join("signed"));
    let expected = read_output(openssl);
    let expected = expected.split(' ').next().expect("a digest");
    assert_eq!(first.header("headwater-signature"), format!("v1={expected}"));
    let delivery: Value = serde_json::from_str(&first.body).expect("JSON");
    assert_eq!(first.header("headwater-delivery"), delivery["id"].to_string());

    // A receiver that refuses one event gets the next one all the same.
    some.answer_with(400);
    come_and_go(&server, 2);
    wait_for("two refusals", SOON, || (some.posted().len() == 12).then_some(()));
    let log = server.process.log();
    assert!(!log.contains(SECRET) && !log.contains("of-the-address"), "{log}");
}

#[test]
fn an_mqtt_broker_that_was_away_gets_what_it_missed() {
    let scratch = Scratch::new("mqtt");
    let mut broker = Broker::start(&scratch);
    let reader = broker.subscribe("reader", "headwater/#");
    let configuration = format!("[events.mqtt]\nbroker = \"{}\"\nkeep_alive = \"5s\"\n", broker.authority());
    let mut server = Headwater::start_with(&scratch, &configuration);
    let said = |line: &str| wait_for(line, SOON, || reader.log().contains(line).then_some(()));
    said("headwater/status online");
    come_and_go(&server, 20);
    settled(&server, 20);

    assert!(broker.stop().success());
    come_and_go(&server, 100);
    let told = settled(&server, 120);
    broker.start_again();

    let told_last = told.last().map(id);
    let heard = || -> Vec<Value> {
        let log = reader.log();
        let lines = log.lines().filter_map(|line| line.strip_prefix("headwater/events/"));
        lines.filter_map(|line| serde_json::from_str(line.split_once(' ')?.1).ok()).collect()
    };
    wait_for("what it missed", SOON, || (heard().last().map(id) >= told_last).then_some(()));
    // QoS 1: messages whose acknowledgements were lost with the broker come again, to it or from it.
    let mut heard = heard();
    let mut known = std::collections::BTreeSet::new();
    heard.retain(|event| known.insert(id(event)));
    assert_eq!(heard, told);

    // What is retained, for who comes later.
    let mut encoder = publish::ffmpeg(&scratch, "encoder", &media::clip(), 2, &server.publish_url("cam"));
    let state = |state| {
        format!("headwater/streams/live/cam {{\"app\":\"live\",\"stream\":\"cam\",\"state\":\"{state}\"")
    };
    said(&state("live"));
    encoder.wait(SOON);
    said(&state("ended"));
    let late = broker.subscribe("late", "headwater/streams/live/cam");
    wait_for("the last state", SOON, || late.log().contains(&state("ended")).then_some(()));
    assert_eq!(late.log().lines().count(), 1, "{}", late.log());

    server.process.kill();
    said("headwater/status offline");
}

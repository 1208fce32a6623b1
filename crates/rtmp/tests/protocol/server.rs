//! The server connection: what encoders send and the replies they wait for, in order.

use std::time::Duration;

use headwater_rtmp::amf0::{self, Value};
use headwater_rtmp::message::type_id;
use headwater_rtmp::{
    Capabilities, Encoder, Error, Limits, MessageKind, NameError, Phase, PlayError, PublishError, Query,
    Refusal, ServerEvent, Status, UnpublishCause, status,
};

use crate::aggregate::aggregate_body;
use crate::client::{Client, command, text};

/// Set Chunk Size stands before StreamBegin; the reader obeys it and does not return it.
const CONNECT_REPLIES: [&str; 4] = [
    "5 on 0: 002625a0",
    "6 on 0: 002625a002",
    "4 on 0: 000000000000",
    "20 on 0: _result 1 {fmsVer=FMS/3,0,1,123, capabilities=31} {level=status, code=NetConnection.Connect.Success, description=Connection succeeded., objectEncoding=0}",
];
const PUBLISH_REPLIES: [&str; 2] = [
    "4 on 0: 000000000001",
    "20 on 1: onStatus 0 null {level=status, code=NetStream.Publish.Start, description=publishing, clientid=1}",
];

/// (message stream, command, transaction id, arguments), and the replies it has.
type Exchange = ((u32, &'static str, f64, Vec<Value>), Vec<&'static str>);

fn fc_publish(id: &'static str) -> Vec<&'static str> {
    let notification = "20 on 0: onFCPublish 0 null {code=NetStream.Publish.Start, description=cam}";
    if id.is_empty() { vec![notification] } else { vec![id, notification] }
}

/// The sequences of encoders, as recorded from OBS's librtmp, ffmpeg and GStreamer, and as FMLE documents them.
fn sequences() -> Vec<(&'static str, Vec<Exchange>)> {
    let fc_unpublish = "20 on 0: onFCUnpublish 0 null {code=NetStream.Unpublish.Success, description=cam}";
    vec![
        (
            "OBS, librtmp",
            vec![
                ((0, "releaseStream", 2.0, vec![text("cam")]), vec!["20 on 0: _result 2 null undefined"]),
                ((0, "FCPublish", 3.0, vec![text("cam")]), fc_publish("20 on 0: _result 3 null")),
                ((0, "createStream", 4.0, vec![]), vec!["20 on 0: _result 4 null 1"]),
                ((1, "publish", 5.0, vec![text("cam"), text("live")]), PUBLISH_REPLIES.to_vec()),
                ((0, "FCUnpublish", 6.0, vec![text("cam")]), vec!["20 on 0: _result 6 null", fc_unpublish]),
                ((0, "deleteStream", 7.0, vec![Value::Number(1.0)]), vec![]),
            ],
        ),
        (
            "ffmpeg, with the bandwidth check",
            vec![
                ((0, "releaseStream", 2.0, vec![text("cam")]), vec!["20 on 0: _result 2 null undefined"]),
                ((0, "FCPublish", 3.0, vec![text("cam")]), fc_publish("20 on 0: _result 3 null")),
                ((0, "createStream", 4.0, vec![]), vec!["20 on 0: _result 4 null 1"]),
                ((0, "_checkbw", 5.0, vec![]), vec!["20 on 0: _result 5 null"]),
                ((1, "publish", 6.0, vec![text("cam"), text("live")]), PUBLISH_REPLIES.to_vec()),
                ((0, "FCUnpublish", 7.0, vec![text("cam")]), vec!["20 on 0: _result 7 null", fc_unpublish]),
                ((0, "deleteStream", 8.0, vec![Value::Number(1.0)]), vec![]),
            ],
        ),
        (
            "GStreamer rtmp2sink: transaction id 0 wants no answer",
            vec![
                ((0, "releaseStream", 0.0, vec![text("cam")]), vec![]),
                ((0, "FCPublish", 0.0, vec![text("cam")]), fc_publish("")),
                ((0, "createStream", 2.0, vec![]), vec!["20 on 0: _result 2 null 1"]),
                ((1, "publish", 0.0, vec![text("cam"), text("live")]), PUBLISH_REPLIES.to_vec()),
                ((0, "FCUnpublish", 0.0, vec![text("cam")]), vec![fc_unpublish]),
                ((0, "deleteStream", 0.0, vec![Value::Number(1.0)]), vec![]),
            ],
        ),
        (
            "FMLE: closes the stream, publishes again, is asked about lengths",
            vec![
                ((0, "createStream", 2.5, vec![]), vec!["20 on 0: _result 2.5 null 1"]),
                ((0, "getStreamLength", 3.0, vec![text("cam")]), vec!["20 on 0: _result 3 null 0"]),
                ((1, "publish", 0.0, vec![text("cam")]), PUBLISH_REPLIES.to_vec()),
                (
                    (1, "closeStream", 0.0, vec![]),
                    vec![
                        "20 on 1: onStatus 0 null {level=status, code=NetStream.Unpublish.Success, description=publication ended}",
                    ],
                ),
                ((1, "publish", 0.0, vec![text("cam"), text("record")]), PUBLISH_REPLIES.to_vec()),
                ((0, "whatever", 9.0, vec![]), vec!["20 on 0: _result 9 null undefined"]),
                ((0, "whatever", 0.0, vec![]), vec![]),
                ((0, "_result", 9.0, vec![]), vec![]),
                ((0, "deleteStream", 0.0, vec![Value::Number(1.0)]), vec![]),
            ],
        ),
    ]
}

#[test]
fn sequences_one_command_at_a_time() {
    for (name, exchanges) in sequences() {
        let mut client = Client::new(Limits::default());
        client.connect("live", "rtmp://h/live");
        client.send().unwrap();
        assert_eq!(client.replies(), CONNECT_REPLIES, "{name}");
        for ((stream_id, method, id, arguments), expected) in exchanges {
            client.command(stream_id, method, id, arguments);
            client.send().unwrap();
            assert_eq!(client.replies(), expected, "{name}: {method}");
        }
    }
}

#[test]
fn the_first_answer_is_byte_exact_up_to_the_result() {
    let mut client = Client::new(Limits::default());
    client.connect("live", "rtmp://h/live");
    client.input.extend_from_slice(&client.out.split());
    client.server.handle_input(&mut client.input, Duration::ZERO).unwrap();
    let output = client.server.take_output();
    let expected = [
        &b"\x02\0\0\0\0\0\x04\x05\0\0\0\0\x00\x26\x25\xa0"[..], // window, type 0
        b"\x42\0\0\0\0\0\x05\x06\x00\x26\x25\xa0\x02",          // peer bandwidth, type 1
        b"\x42\0\0\0\0\0\x04\x01\0\0\xea\x60",                  // chunk size 60,000
        b"\x42\0\0\0\0\0\x06\x04\0\0\0\0\0\0",                  // StreamBegin 0
        b"\x03\0\0\0\0\0",                                      // _result, longer than 128 bytes in one chunk
    ];
    assert_eq!(output.get(..expected.concat().len()), Some(&expected.concat()[..]));
}

#[test]
fn sequences_pipelined_are_answered_in_order() {
    for (name, mut exchanges) in sequences() {
        // Up to publish, whose answer waits for the decision.
        exchanges
            .truncate(exchanges.iter().position(|((_, method, ..), _)| *method == "publish").unwrap() + 1);
        let mut client = Client::new(Limits::default());
        client.connect("live", "rtmp://h/live");
        let mut expected: Vec<&str> = CONNECT_REPLIES.to_vec();
        for ((stream_id, method, id, arguments), replies) in exchanges {
            client.command(stream_id, method, id, arguments);
            expected.extend(replies);
        }
        client.send().unwrap();
        assert_eq!(client.replies(), expected, "{name}");
    }
}

#[test]
fn connect_tells_what_the_client_is() {
    let object = Value::EcmaArray(vec![
        ("app".to_owned(), text("live")),
        ("tcurl".to_owned(), text("rtmp://user:SECRET@h:1935/live?key=SECRET")),
        ("flashVer".to_owned(), text("FMLE/3.0 (compatible; Lavf59.27.100)\nforged log line")),
        ("objectEncoding".to_owned(), Value::Number(3.0)),
    ]);
    let mut client = Client::new(Limits::default());
    client.message(3, 0, type_id::COMMAND_AMF0, 0, &command("connect", 1.0, object, vec![text("extra")]));
    let events = client.send().unwrap();
    let [ServerEvent::Connected(connect)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((connect.app.as_str(), connect.tc_url.as_str()), ("live", "rtmp://h:1935/live"));
    assert_eq!(connect.query.as_ref().and_then(|query| query.parameter("key")).as_deref(), Some("SECRET"));
    assert_eq!((connect.encoder, connect.object_encoding), (Encoder::Ffmpeg, Some(3)));
    assert!(!connect.flash_ver.contains('\n'));
    assert!(!format!("{events:?}").contains("SECRET"), "{events:?}");
    assert_eq!(client.replies(), CONNECT_REPLIES);
}

#[test]
fn capabilities_are_told_to_those_who_told_theirs() {
    let own = Capabilities {
        four_cc_list: vec!["avc1".to_owned(), "mp4a".to_owned()],
        video_four_cc: vec![("avc1".to_owned(), 4)],
        caps_ex: 1,
        ..Capabilities::default()
    };
    let enhanced = "{fmsVer=FMS/3,0,1,123, capabilities=31, fourCcList=StrictArray([String(\"avc1\"), String(\"mp4a\")]), videoFourCcInfoMap={avc1=4}, capsEx=1}";
    let plain = "{fmsVer=FMS/3,0,1,123, capabilities=31}";
    let list = Value::StrictArray(vec![text("*"), Value::Null, text("hvc1 and more")]);
    let map = Value::object([("av01", Value::Number(4.0)), ("*", text("no number"))]);
    let rows = [
        ("nothing", vec![], plain),
        ("videoFunction 1, older than Enhanced RTMP", vec![("videoFunction", Value::Number(1.0))], plain),
        ("videoFunction 3", vec![("videoFunction", Value::Number(3.0))], enhanced),
        ("fourCcList", vec![("fourCcList", list)], enhanced),
        ("a map", vec![("audioFourCcInfoMap", map)], enhanced),
        ("capsEx", vec![("capsEx", Value::Number(15.0))], enhanced),
    ];
    let mut seen = Vec::new();
    for (name, properties, expected) in rows {
        let mut client = Client::new(Limits::default());
        client.server.set_capabilities(own.clone());
        let object =
            Value::Object(properties.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
        client.message(3, 0, type_id::COMMAND_AMF0, 0, &command("connect", 1.0, object, vec![]));
        let events = client.send().unwrap();
        let [ServerEvent::Connected(connect)] = events.as_slice() else { panic!("{events:?}") };
        seen.push(connect.capabilities.clone());
        let replies = client.replies();
        assert!(
            replies[3].starts_with(&format!("20 on 0: _result 1 {expected} {{level")),
            "{name}: {}",
            replies[3]
        );
    }
    assert_eq!(seen[3].four_cc_list, ["*", "hvc1"]);
    assert_eq!(seen[4].audio_four_cc, [("av01".to_owned(), 4), ("*".to_owned(), 0)]);
    assert_eq!((seen[5].caps_ex, seen[2].video_function), (15, 3));
}

#[test]
fn publish_and_play_are_refused_with_the_reason() {
    let mut client = Client::connected(Limits::default());
    client.accept = false;
    client.command(1, "publish", 0.0, vec![text("cam?key=x")]);
    let events = client.send().unwrap();
    let [ServerEvent::Publish(request)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(request.target.query.as_ref().map(Query::expose), Some("key=x"));
    assert_eq!(client.replies(), [""; 0], "nothing before the decision");
    client.server.reject_publish(1, PublishError::Denied, "wrong key");
    let denied =
        "20 on 1: onStatus 0 null {level=error, code=NetStream.Publish.Denied, description=wrong key}";
    assert_eq!(client.replies(), [denied]);
    client.server.accept_publish(1);
    client.server.reject_publish(1, PublishError::BadName, "twice");
    assert_eq!(client.replies(), [""; 0], "decided once");

    client.command(1, "play", 0.0, vec![text("none"), Value::Number(-2.0)]);
    let events = client.send().unwrap();
    assert!(
        matches!(events.as_slice(), [ServerEvent::Play(play)] if play.target.name == "none"),
        "{events:?}"
    );
    client.server.reject_play(1, PlayError::StreamNotFound, "no such stream");
    let not_found = "20 on 1: onStatus 0 null {level=error, code=NetStream.Play.StreamNotFound, description=no such stream}";
    assert_eq!(client.replies(), [not_found]);
    client.server.reject_play(1, PlayError::Failed, "twice");
    assert_eq!(client.replies(), [""; 0]);
}

#[test]
fn play_is_answered_as_players_expect() {
    let access = "18 on 1: 0200117c52746d7053616d706c654163636573730100"; // then 0100
    let start = [
        "4 on 0: 000000000001",
        "20 on 1: onStatus 0 null {level=status, code=NetStream.Play.Start, description=playing}",
    ];
    let reset = "20 on 1: onStatus 0 null {level=status, code=NetStream.Play.Reset, description=playing and resetting}";
    let numbers = [Value::Number(-2.0), Value::Number(-1.0)];
    for (name, arguments, resets) in [
        ("name alone", vec![], false),
        ("start", vec![Value::Number(-2_000.0)], false),
        ("reset", [&numbers[..], &[Value::Boolean(true)]].concat(), true),
        ("reset as a number", [&numbers[..], &[Value::Number(1.0)]].concat(), true),
        ("no reset", [&numbers[..], &[Value::Boolean(false)]].concat(), false),
    ] {
        let mut client = Client::connected(Limits::default());
        client.command(1, "play", 0.0, [vec![text("cam")], arguments].concat());
        let events = client.send().unwrap();
        assert!(
            matches!(events.as_slice(), [ServerEvent::Play(play)] if play.target.name == "cam"),
            "{name}"
        );
        assert_eq!(client.replies(), [""; 0], "{name}: nothing before the decision");
        assert!(client.server.accept_play(1), "{name}");
        assert!(!client.server.accept_play(1), "{name}: decided once");
        client.server.reject_play(1, PlayError::Failed, "too late");
        let mut replies = client.replies();
        assert_eq!(replies.pop(), Some(format!("{access}0100")), "{name}");
        let expected: Vec<&str> =
            [start[0]].into_iter().chain(resets.then_some(reset)).chain([start[1]]).collect();
        assert_eq!(replies, expected, "{name}");

        client.command(1, "pause", 9.0, vec![Value::Boolean(true), Value::Number(0.0)]);
        assert_eq!(client.send(), Ok(vec![]), "{name}");
        assert_eq!(client.replies(), ["20 on 0: _result 9 null"], "{name}");

        client.server.end_play(1, "the stream has ended");
        client.server.end_play(1, "twice");
        let ended = [
            "4 on 0: 000100000001",
            "20 on 1: onStatus 0 null {level=status, code=NetStream.Play.UnpublishNotify, description=the stream has ended}",
        ];
        assert_eq!(client.replies(), ended, "{name}");
    }
}

#[test]
fn a_player_that_leaves_is_told_of_once() {
    type Leave = fn(&mut Client);
    for (name, leave) in [
        ("closeStream", (|client| client.command(1, "closeStream", 0.0, vec![])) as Leave),
        ("deleteStream", |client| client.command(0, "deleteStream", 0.0, vec![Value::Number(1.0)])),
    ] {
        for accept in [true, false] {
            let mut client = Client::connected(Limits::default());
            client.command(1, "play", 0.0, vec![text("cam")]);
            client.send().unwrap();
            if accept {
                client.server.accept_play(1);
            }
            leave(&mut client);
            leave(&mut client);
            assert_eq!(client.send(), Ok(vec![ServerEvent::Stop { stream_id: 1 }]), "{name}, {accept}");
            client.replies();
            assert!(!client.server.accept_play(1), "{name}, {accept}");
            client.server.end_play(1, "gone");
            assert_eq!(client.replies(), [""; 0], "{name}, {accept}");
        }
    }
}

#[test]
fn a_player_may_acknowledge_for_weeks() {
    let limits = Limits { bytes_before_publish_max: 4_000, ..Limits::default() };
    let mut client = Client::connected(limits);
    client.command(1, "play", 0.0, vec![text("cam")]);
    client.send().unwrap();
    client.server.accept_play(1);
    for _ in 0..1_000 {
        client.message(2, 0, 3, 0, &[0, 0, 0, 9]);
    }
    assert_eq!(client.send(), Ok(vec![]));
}

#[test]
fn what_is_refused_without_asking() {
    let name = |error| (Refusal::Name(error), "NetStream.Publish.BadName");
    let no_stream = (Refusal::NoSuchStream, "NetStream.Publish.BadName");
    let rows = [
        ("no name", 1, "publish", vec![], name(NameError::Missing)),
        ("null", 1, "publish", vec![Value::Null], name(NameError::Missing)),
        ("a number", 1, "publish", vec![Value::Number(1.0)], name(NameError::Missing)),
        ("bad name", 1, "publish", vec![text("a b?key=SECRET")], name(NameError::Character)),
        ("no such stream", 7, "publish", vec![text("cam")], no_stream),
        ("the connection itself", 0, "publish", vec![text("cam")], no_stream),
        (
            "play",
            1,
            "play",
            vec![text("..")],
            (Refusal::Name(NameError::Dots), "NetStream.Play.StreamNotFound"),
        ),
    ];
    for (row, stream_id, method, arguments, (refusal, code)) in rows {
        let mut client = Client::connected(Limits::default());
        client.command(stream_id, method, 0.0, arguments);
        let events = client.send().unwrap();
        assert_eq!(events, [ServerEvent::Refused { stream_id, refusal }], "{row}");
        let expected =
            format!("20 on {stream_id}: onStatus 0 null {{level=error, code={code}, description={refusal}}}");
        assert_eq!(client.replies(), std::slice::from_ref(&expected), "{row}");
        assert!(!expected.contains("SECRET") && !format!("{events:?}").contains("SECRET"));
    }
    let mut client = Client::publishing(Limits::default());
    client.command(1, "publish", 0.0, vec![text("two")]);
    assert_eq!(client.send(), Ok(vec![ServerEvent::Refused { stream_id: 1, refusal: Refusal::Busy }]));
}

#[test]
fn status_during_a_publication() {
    let mut client = Client::publishing(Limits::default());
    client.server.send_status(1, &Status::error(status::STREAM_FAILED, "codec 12 is not supported"));
    client.server.send_status(1, &Status::unpublished("taken over"));
    assert_eq!(
        client.replies(),
        [
            "20 on 1: onStatus 0 null {level=error, code=NetStream.Failed, description=codec 12 is not supported}",
            "20 on 1: onStatus 0 null {level=status, code=NetStream.Unpublish.Success, description=taken over}",
        ]
    );
}

fn media(events: &[ServerEvent]) -> Vec<(MessageKind, u32, u32, Vec<u8>)> {
    let media = events.iter().filter_map(|event| match event {
        ServerEvent::Media(m) => Some((m.kind, m.stream_id, m.timestamp, m.payload.to_vec())),
        _ => None,
    });
    media.collect()
}

#[test]
fn media_of_a_publication() {
    let mut client = Client::publishing(Limits::default());
    let before = *client.server.counters();
    client.message(4, 0, type_id::DATA_AMF0, 1, b"\x02\0\x01x");
    client.message(4, 5, type_id::DATA_AMF3, 1, b"\0\x02\0\x01y");
    client.message(4, 6, type_id::DATA_AMF3, 1, b"\x02\0\x01z"); // the selector left out
    client.message(4, 10, type_id::AUDIO, 1, b"\xaf\x01a");
    client.message(6, 11, type_id::VIDEO, 1, b"\x17\x01v");
    client.message(6, 12, type_id::VIDEO, 1, b""); // empty
    client.message(4, 13, type_id::AUDIO, 0, b"b"); // a message stream nobody created
    client.message(4, 13, type_id::DATA_AMF3, 1, b"\0"); // nothing but the selector
    client.message(
        4,
        20,
        type_id::AGGREGATE,
        1,
        &aggregate_body(&[(8, 7, b"c"), (9, 9, b"d"), (20, 9, b"e")]),
    );
    let events = client.send().unwrap();
    let expected = [
        (MessageKind::Data, 1, 0, b"\x02\0\x01x".to_vec()),
        (MessageKind::Data, 1, 5, b"\x02\0\x01y".to_vec()),
        (MessageKind::Data, 1, 6, b"\x02\0\x01z".to_vec()),
        (MessageKind::Audio, 1, 10, b"\xaf\x01a".to_vec()),
        (MessageKind::Video, 1, 11, b"\x17\x01v".to_vec()),
        (MessageKind::Audio, 1, 13, b"b".to_vec()),
        (MessageKind::Audio, 1, 20, b"c".to_vec()),
        (MessageKind::Video, 1, 22, b"d".to_vec()),
    ];
    assert_eq!(media(&events), expected);
    let after = client.server.counters();
    assert_eq!(after.empty_messages - before.empty_messages, 2);
    assert_eq!(after.bad_aggregates - before.bad_aggregates, 1);
    assert_eq!(client.replies(), [""; 0]);
}

#[test]
fn media_behind_publish_waits_for_the_decision() {
    for (decision, expected) in [("accepted", 2), ("refused", 0), ("undecided", 0)] {
        let mut client = Client::connected(Limits::default());
        client.accept = decision == "accepted";
        client.command(1, "publish", 0.0, vec![text("cam")]);
        client.message(4, 0, type_id::AUDIO, 1, b"a");
        client.message(4, 1, type_id::AUDIO, 1, b"b");
        client.input.extend_from_slice(&client.out.split());
        client.server.handle_input(&mut client.input, Duration::ZERO).unwrap();
        assert!(matches!(client.server.poll_event(), Some(ServerEvent::Publish(_))));
        match decision {
            "accepted" => client.server.accept_publish(1),
            "refused" => client.server.reject_publish(1, PublishError::Rejected, "no"),
            _ => {}
        }
        let rest = client.send().unwrap();
        assert_eq!(media(&rest).len(), expected, "{decision}");
        assert_eq!(client.server.counters().stray_media, 2 - expected as u64, "{decision}");
    }
}

#[test]
fn media_nobody_asked_for_is_counted() {
    let mut client = Client::new(Limits::default());
    client.message(4, 0, type_id::AUDIO, 1, b"before connect");
    assert_eq!(client.send(), Ok(vec![]));
    client.connect("live", "rtmp://h/live");
    client.command(0, "createStream", 2.0, vec![]);
    client.message(4, 0, type_id::AUDIO, 1, b"before publish");
    client.send().unwrap();
    client.command(1, "publish", 0.0, vec![text("cam")]);
    client.command(0, "FCUnpublish", 0.0, vec![text("cam")]);
    client.message(4, 0, type_id::AUDIO, 1, b"after the end");
    client.send().unwrap();
    assert_eq!(client.server.counters().stray_media, 3);
}

#[test]
fn every_end_is_reported_once() {
    let fc = ((0, "FCUnpublish", vec![text("cam")]), UnpublishCause::FcUnpublish);
    let other_name = ((0, "FCUnpublish", vec![text("flv:cam")]), UnpublishCause::FcUnpublish);
    let close = ((1, "closeStream", vec![]), UnpublishCause::CloseStream);
    let publish_false = ((1, "publish", vec![Value::Boolean(false)]), UnpublishCause::CloseStream);
    let delete = ((0, "deleteStream", vec![Value::Number(1.0)]), UnpublishCause::DeleteStream);
    for ((stream_id, method, arguments), cause) in [fc, other_name, close, publish_false, delete.clone()] {
        let mut client = Client::publishing(Limits::default());
        client.command(stream_id, method, 0.0, arguments.clone());
        let expected = ServerEvent::Unpublish { stream_id: 1, cause };
        assert_eq!(client.send(), Ok(vec![expected]), "{method}");
        client.command(stream_id, method, 0.0, arguments);
        client.command(0, "deleteStream", 0.0, vec![Value::Number(1.0)]);
        assert_eq!(client.send(), Ok(vec![]), "{method} twice");
    }
    // Ends nothing: another stream's number, no number, half of one.
    let mut client = Client::publishing(Limits::default());
    for argument in [Value::Number(2.0), Value::Null, Value::Number(1.5), Value::Number(f64::NAN)] {
        client.command(0, "deleteStream", 0.0, vec![argument]);
    }
    client.command(0, "deleteStream", 0.0, vec![]);
    assert_eq!(client.send(), Ok(vec![]));
}

#[test]
fn two_publications_on_one_connection() {
    // FMLE's multi-bitrate mode.
    let mut client = Client::publishing(Limits::default());
    client.command(0, "createStream", 6.0, vec![]);
    client.command(2, "publish", 0.0, vec![text("cam2")]);
    client.message(4, 0, type_id::AUDIO, 1, b"a");
    client.message(4, 0, type_id::AUDIO, 2, b"b");
    client.message(4, 0, type_id::AUDIO, 9, b"whose?");
    let events = client.send().unwrap();
    assert_eq!(media(&events).iter().map(|m| m.1).collect::<Vec<_>>(), [1, 2]);
    client.command(0, "FCUnpublish", 0.0, vec![text("neither")]);
    assert_eq!(client.send(), Ok(vec![]));
    client.command(0, "FCUnpublish", 0.0, vec![text("cam2")]);
    let expected = ServerEvent::Unpublish { stream_id: 2, cause: UnpublishCause::FcUnpublish };
    assert_eq!(client.send(), Ok(vec![expected]));
}

#[test]
fn amf3_wrapper_and_bad_amf() {
    let mut client = Client::new(Limits::default());
    let object = Value::object([("app", text("live")), ("tcUrl", text("rtmp://h/live"))]);
    let body = command("connect", 1.0, object, vec![]);
    client.message(3, 0, type_id::COMMAND_AMF3, 0, &[&[0], &body[..]].concat());
    assert_eq!(client.send().map(|events| events.len()), Ok(1));
    client.replies();
    // createStream with an AMF3 null as its object.
    let mut body = vec![0];
    amf0::encode(&text("createStream"), &mut body);
    amf0::encode(&Value::Number(2.0), &mut body);
    body.extend_from_slice(&[0x11, 0x01]);
    client.message(3, 0, type_id::COMMAND_AMF3, 0, &body);
    client.send().unwrap();
    assert_eq!(client.replies(), ["20 on 0: _result 2 null 1"]);
    // Short commands, and every truncation of one: no answer, no harm.
    let whole = command("createStream", 3.0, Value::Null, vec![text("x")]);
    let short: [&[u8]; 5] = [b"", b"\x02", b"\x02\0\x07", b"\x05", b"\0\0\0\0\0\0\0\0\0"];
    let mut ignored = 0;
    for body in short.into_iter().chain((1..15).map(|length| &whole[..length])) {
        client.now += Duration::from_secs(1);
        client.message(3, 0, type_id::COMMAND_AMF0, 0, body);
        assert_eq!(client.send(), Ok(vec![]));
        ignored += 1;
    }
    assert_eq!(client.server.counters().bad_amf, ignored);
    assert_eq!(client.replies(), [""; 0]);
    // A name and nothing else, a date and a long string among the arguments: fine.
    client.message(3, 0, type_id::COMMAND_AMF0, 0, b"\x02\0\x05hello");
    client.message(
        3,
        0,
        type_id::COMMAND_AMF0,
        0,
        b"\x02\0\x02hi\0\x3f\xf0\0\0\0\0\0\0\x05\x0b\0\0\0\0\0\0\0\0\0\0\x0c\0\0\0\x02\xff\xfe",
    );
    assert_eq!(client.send(), Ok(vec![]));
    assert_eq!(client.replies(), ["20 on 0: _result 1 null undefined"]);
}

/// Name, message type, body; replies, and how many are counted as ignored.
type ControlRow = (&'static str, u8, &'static [u8], &'static [&'static str], u64);

#[test]
fn control_messages() {
    let rows: [ControlRow; 16] = [
        ("ping", 4, b"\0\x06\x01\x02\x03\x04", &["4 on 0: 000701020304"], 0),
        ("ping with more behind", 4, b"\0\x06\0\0\0\x01zzz", &["4 on 0: 000700000001"], 0),
        ("ping cut short", 4, b"\0\x06\0\0\0", &[], 1),
        ("user control cut short", 4, b"\0", &[], 1),
        ("empty", 4, b"", &[], 1),
        ("set buffer length", 4, b"\0\x03\0\0\0\x01\0\0\x0b\xb8", &[], 0),
        ("stream begin from a client", 4, b"\0\0\0\0\0\x01", &[], 0),
        ("ping response", 4, b"\0\x07\0\0\0\x01", &[], 0),
        ("SWF verification", 4, b"\0\x1b\x01\x01", &[], 1),
        ("unknown event", 4, b"\xff\xff\0\0\0\0", &[], 1),
        ("acknowledgement", 3, b"\0\0\x10\0", &[], 0),
        ("acknowledgement cut short", 3, b"\0\0\x10", &[], 1),
        ("peer bandwidth", 6, b"\0\0\x10\0\x02", &[], 0),
        ("window", 5, b"\xff\xff\xff\xff", &[], 0),
        ("window of zero", 5, b"\0\0\0\0", &[], 0),
        ("window cut short", 5, b"", &[], 1),
    ];
    for (name, type_id, body, replies, ignored) in rows {
        let mut client = Client::publishing(Limits::default());
        client.message(2, 0, type_id, 0, body);
        assert_eq!(client.send(), Ok(vec![]), "{name}");
        assert_eq!(client.replies(), replies, "{name}");
        assert_eq!(client.server.counters().ignored_controls, ignored, "{name}");
    }
}

#[test]
fn acknowledgements_are_a_running_total() {
    let mut client = Client::publishing(Limits::default());
    client.message(2, 0, type_id::WINDOW_ACKNOWLEDGEMENT_SIZE, 0, &10_000_u32.to_be_bytes());
    client.send().unwrap();
    let mut totals = Vec::new();
    for _ in 0..40 {
        client.message(4, 0, type_id::AUDIO, 1, &[1; 1_000]);
        client.send().unwrap();
        for line in client.replies() {
            let hex = line.strip_prefix("3 on 0: ").expect("an acknowledgement");
            totals.push((u64::from_str_radix(hex, 16).unwrap(), client.server.counters().bytes_received));
        }
    }
    assert!(totals.iter().all(|(said, received)| said == received), "{totals:?}");
    assert!((3..=4).contains(&totals.len()) && totals.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 10_000));
}

#[test]
fn deadlines_before_a_publication() {
    let second = Duration::from_secs(1);
    let mut client = Client::raw(Limits::default());
    assert_eq!(client.server.next_timeout(), Some(10 * second));
    assert_eq!(client.server.handle_timeout(Duration::from_millis(9_999)), Ok(()));
    // A byte now and then does not move the deadline.
    client.out.extend_from_slice(&[3; 100]);
    client.now = 9 * second;
    client.send().unwrap();
    assert_eq!(client.server.next_timeout(), Some(10 * second));
    let error = client.server.handle_timeout(10 * second).unwrap_err();
    assert_eq!(error, Error::Timeout(Phase::Handshake));
    assert!(!error.is_limit());
    assert_eq!(client.server.next_timeout(), None);
    assert_eq!(client.server.handle_timeout(11 * second), Err(Error::Closed));

    let mut client = Client::new(Limits::default());
    assert_eq!(client.server.handle_timeout(10 * second), Err(Error::Timeout(Phase::Connect)));

    let mut client = Client::new(Limits::default());
    client.now = 7 * second;
    client.connect("live", "rtmp://h/live");
    client.command(0, "createStream", 2.0, vec![]);
    client.send().unwrap();
    assert_eq!(client.server.next_timeout(), Some(17 * second));
    // Asked, it is the caller's turn; refused, the time runs again.
    client.accept = false;
    client.now = 16 * second;
    client.command(1, "publish", 3.0, vec![text("cam")]);
    client.send().unwrap();
    assert_eq!(client.server.next_timeout(), Some(46 * second), "only silence is left");
    client.server.reject_publish(1, PublishError::BadName, "taken");
    assert_eq!(client.server.next_timeout(), Some(26 * second));
    assert_eq!(client.server.handle_timeout(26 * second), Err(Error::Timeout(Phase::Publish)));
}

#[test]
fn silence_is_asked_about_and_then_the_end() {
    let second = Duration::from_secs(1);
    let mut client = Client::publishing(Limits::default());
    assert_eq!(client.server.next_timeout(), Some(30 * second));
    assert_eq!(client.server.handle_timeout(30 * second), Ok(()));
    assert_eq!(client.replies(), ["4 on 0: 000600007530"]);
    assert_eq!(client.server.next_timeout(), Some(60 * second));
    assert_eq!(client.server.handle_timeout(31 * second), Ok(()));
    assert_eq!(client.replies(), [""; 0], "asked once");
    // Any byte is a sign of life, even half a header.
    client.now = 45 * second;
    client.out.extend_from_slice(&[0x04]);
    client.send().unwrap();
    assert_eq!(client.server.next_timeout(), Some(75 * second));
    // The same half header seen again is not.
    client.now = 50 * second;
    client.send().unwrap();
    assert_eq!(client.server.handle_timeout(75 * second), Ok(()));
    assert_eq!(client.replies().len(), 1);
    assert_eq!(client.server.handle_timeout(105 * second), Err(Error::Timeout(Phase::Traffic)));
}

#[test]
fn connect_comes_first_and_once() {
    let mut client = Client::new(Limits::default());
    client.command(0, "createStream", 1.0, vec![]);
    assert_eq!(client.send(), Err(Error::CommandBeforeConnect));
    let mut client = Client::connected(Limits::default());
    client.connect("other", "rtmp://h/other");
    assert_eq!(client.send(), Ok(vec![]));
    let refused = "20 on 0: _error 1 null {level=error, code=NetConnection.Connect.Rejected, description=this connection is connected already}";
    assert_eq!(client.replies(), [refused]);
}

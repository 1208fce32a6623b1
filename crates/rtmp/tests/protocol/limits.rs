//! Every limit of a connection is reached here, and the step before it is fine.

use std::time::Duration;

use headwater_rtmp::amf0::Value;
use headwater_rtmp::limits;
use headwater_rtmp::message::type_id;
use headwater_rtmp::{Error, ErrorKind, Limits};

use crate::aggregate::aggregate_body;
use crate::client::{Client, text};

/// Type 0 header of `length` bytes of `type_id` on a csid below 64, and nothing else.
fn header(csid: u8, length: u32, type_id: u8) -> Vec<u8> {
    let [_, a, b, c] = length.to_be_bytes();
    vec![csid, 0, 0, 0, a, b, c, type_id, 1, 0, 0, 0]
}

fn is_limit(error: &Error) -> bool {
    error.is_limit() && error.kind() == ErrorKind::Limit && !error.to_string().is_empty()
}

#[test]
fn message_lengths() {
    for (type_id, max) in [
        (type_id::AUDIO, limits::MEDIA_MESSAGE_BYTES_MAX),
        (type_id::VIDEO, limits::MEDIA_MESSAGE_BYTES_MAX),
        (type_id::AGGREGATE, limits::MEDIA_MESSAGE_BYTES_MAX),
        (type_id::DATA_AMF0, limits::DATA_MESSAGE_BYTES_MAX),
        (type_id::DATA_AMF3, limits::DATA_MESSAGE_BYTES_MAX),
        (type_id::COMMAND_AMF0, limits::COMMAND_MESSAGE_BYTES_MAX),
        (type_id::COMMAND_AMF3, limits::COMMAND_MESSAGE_BYTES_MAX),
        (type_id::USER_CONTROL, limits::CONTROL_MESSAGE_BYTES_MAX),
        (type_id::SET_CHUNK_SIZE, limits::CONTROL_MESSAGE_BYTES_MAX),
        (99, limits::MEDIA_MESSAGE_BYTES_MAX),
    ] {
        let mut client = Client::publishing(Limits::default());
        client.out.extend_from_slice(&header(10, max, type_id));
        assert_eq!(client.send(), Ok(vec![]), "type {type_id}");
        client = Client::publishing(Limits::default());
        client.out.extend_from_slice(&header(10, max + 1, type_id));
        let error = client.send().unwrap_err();
        assert!(
            matches!(error, Error::MessageLength { csid: 10, type_id: t, length, max: m, .. } if t == type_id && length == max + 1 && m == max),
            "{error}"
        );
        assert!(is_limit(&error));
    }
}

#[test]
fn chunk_streams() {
    let mut client = Client::new(Limits::default());
    for index in 0..u8::try_from(limits::CHUNK_STREAMS_MAX).unwrap() {
        client.out.extend_from_slice(&[0, index]);
        client.out.extend_from_slice(&header(0, 1, type_id::AUDIO)[1..]);
        client.out.extend_from_slice(&[1]);
    }
    assert_eq!(client.send(), Ok(vec![]));
    client.out.extend_from_slice(&header(3, 1, type_id::AUDIO));
    let error = client.send().unwrap_err();
    assert!(matches!(error, Error::ChunkStreams { csid: 3, max: limits::CHUNK_STREAMS_MAX, .. }), "{error}");
    assert!(is_limit(&error));
}

#[test]
fn partial_bytes_of_a_publisher() {
    let mut client = Client::publishing(Limits::default());
    client.writer.set_chunk_size(1 << 20, &mut client.out);
    client.send().unwrap();
    // 1 MiB of each of many 10 MiB messages, never finished.
    let mut held = 0;
    let error = loop {
        client.out.extend_from_slice(&header(3 + held, 10 << 20, type_id::VIDEO));
        client.out.extend_from_slice(&vec![0; 1 << 20]);
        match client.send() {
            Ok(_) => held += 1,
            Err(error) => break error,
        }
        assert!(client.server.partial_bytes() <= limits::PARTIAL_BYTES_MAX);
    };
    assert!(matches!(error, Error::PartialBytes { max: limits::PARTIAL_BYTES_MAX, .. }), "{error}");
    assert!(is_limit(&error));
    // Buffers are up to twice what arrived, so at least half the limit was useful.
    assert!((8..=16).contains(&held), "{held}");
}

#[test]
fn partial_bytes_of_a_stranger() {
    const MAX: usize = limits::PARTIAL_BYTES_BEFORE_PUBLISH_MAX;
    // Before the publication was accepted, whatever else was done, a publisher's room is not to be had.
    for mut client in [Client::new(Limits::default()), Client::connected(Limits::default())] {
        client.writer.set_chunk_size(1 << 16, &mut client.out);
        client.send().unwrap();
        let mut held = 0;
        let error = loop {
            client.out.extend_from_slice(&header(10 + held, 10 << 20, type_id::VIDEO));
            client.out.extend_from_slice(&vec![0; 1 << 16]);
            match client.send() {
                Ok(_) => held += 1,
                Err(error) => break error,
            }
            assert!(client.server.partial_bytes() <= MAX);
        };
        assert!(matches!(error, Error::PartialBytes { max: MAX, .. }), "{error}");
        assert!(is_limit(&error));
        assert!((8..=16).contains(&held), "{held}");
    }
}

#[test]
fn chunk_size_changes() {
    let mut client = Client::new(Limits::default());
    for _ in 0..limits::CHUNK_SIZE_CHANGES_MAX {
        client.writer.set_chunk_size(4096, &mut client.out);
    }
    assert_eq!(client.send(), Ok(vec![]));
    client.writer.set_chunk_size(4096, &mut client.out);
    let error = client.send().unwrap_err();
    assert!(matches!(error, Error::ChunkSizeChanges { max: limits::CHUNK_SIZE_CHANGES_MAX, .. }), "{error}");
    assert!(is_limit(&error));
}

#[test]
fn discarded_partials() {
    let mut client = Client::new(Limits::default());
    for _ in 0..=limits::DISCARDED_PARTIALS_MAX {
        client.out.extend_from_slice(&header(6, 200, type_id::VIDEO));
        client.out.extend_from_slice(&[0; 128]);
    }
    assert_eq!(client.send(), Ok(vec![]));
    assert_eq!(client.server.counters().discarded_partials, u64::from(limits::DISCARDED_PARTIALS_MAX));
    client.out.extend_from_slice(&header(6, 200, type_id::VIDEO));
    let error = client.send().unwrap_err();
    assert!(matches!(error, Error::DiscardedPartials { csid: 6, .. }) && is_limit(&error), "{error}");
}

#[test]
fn commands_per_second() {
    let mut client = Client::connected(Limits::default());
    client.now = Duration::from_millis(1_500);
    for _ in 0..limits::COMMANDS_PER_SECOND_MAX {
        client.command(0, "_checkbw", 1.0, vec![]);
    }
    assert_eq!(client.send(), Ok(vec![]));
    // A new second, a new allowance; and one more than it.
    client.now = Duration::from_millis(2_500);
    for _ in 0..limits::COMMANDS_PER_SECOND_MAX {
        client.command(0, "_checkbw", 1.0, vec![]);
    }
    assert_eq!(client.send(), Ok(vec![]));
    client.command(0, "_checkbw", 1.0, vec![]);
    let error = client.send().unwrap_err();
    assert!(matches!(error, Error::CommandRate { max: limits::COMMANDS_PER_SECOND_MAX }) && is_limit(&error));
    assert_eq!(client.replies().len(), 100, "what was answered can still be sent");
}

#[test]
fn create_streams_without_end() {
    // As fast as is allowed: 16 streams, then errors, and nothing that grows.
    let mut client = Client::connected(Limits::default());
    let mut answered = 1;
    for second in 1..=2_000_u64 {
        client.now = Duration::from_secs(second);
        for _ in 0..limits::COMMANDS_PER_SECOND_MAX {
            client.command(0, "createStream", 2.0, vec![]);
        }
        client.send().unwrap();
        for reply in client.replies().iter().filter(|reply| reply.starts_with("20")) {
            answered += 1;
            let expected = if answered <= 16 {
                format!("20 on 0: _result 2 null {answered}")
            } else {
                "20 on 0: _error 2 null {level=error, code=NetConnection.Call.Failed, description=too many message streams}".to_owned()
            };
            assert_eq!(*reply, expected);
        }
    }
    assert_eq!(answered, 100_001);
    // A million at once.
    let mut client = Client::connected(Limits::default());
    for _ in 0..1_000_000 {
        client.command(0, "createStream", 2.0, vec![]);
    }
    assert!(matches!(client.send(), Err(Error::CommandRate { .. })));
    // Deleted streams make room; numbers are never used twice.
    let mut client = Client::connected(Limits::default());
    for _ in 0..15 {
        client.command(0, "createStream", 2.0, vec![]);
    }
    client.command(0, "deleteStream", 0.0, vec![Value::Number(3.0)]);
    client.command(0, "createStream", 2.0, vec![]);
    client.send().unwrap();
    assert_eq!(client.replies().last().map(String::as_str), Some("20 on 0: _result 2 null 17"));
}

#[test]
fn output_nobody_takes() {
    let mut client = Client::publishing(Limits::default());
    let mut rounds = 0;
    let error = loop {
        for _ in 0..1_000 {
            client.message(2, 0, type_id::USER_CONTROL, 0, b"\0\x06\0\0\0\0");
        }
        client.input.extend_from_slice(&client.out.split());
        match client.server.handle_input(&mut client.input, client.now) {
            Ok(()) => rounds += 1,
            Err(error) => break error,
        }
        assert!(rounds < 1_000);
    };
    assert!(
        matches!(error, Error::OutputFull { max: limits::OUTPUT_BYTES_MAX }) && is_limit(&error),
        "{error}"
    );
    assert!(client.server.take_output().len() <= limits::OUTPUT_BYTES_MAX + 100);
}

#[test]
fn aggregates() {
    let mut client = Client::publishing(Limits::default());
    let messages = vec![(8, 0, &b"a"[..]); limits::AGGREGATE_MESSAGES_MAX];
    client.message(4, 0, type_id::AGGREGATE, 1, &aggregate_body(&messages));
    assert_eq!(client.send().map(|events| events.len()), Ok(limits::AGGREGATE_MESSAGES_MAX));
    let messages = vec![(8, 0, &b"a"[..]); limits::AGGREGATE_MESSAGES_MAX + 1];
    client.message(4, 0, type_id::AGGREGATE, 1, &aggregate_body(&messages));
    let error = client.send().unwrap_err();
    assert!(
        matches!(error, Error::AggregateMessages { max: limits::AGGREGATE_MESSAGES_MAX }) && is_limit(&error)
    );

    let mut client = Client::publishing(Limits::default());
    client.message(4, 0, type_id::AGGREGATE, 1, &aggregate_body(&[(8, 0, b"a"), (22, 0, b"b")]));
    assert_eq!(client.send(), Err(Error::NestedAggregate));
}

#[test]
fn long_texts_are_not_repeated_at_length() {
    let mut client = Client::connected(Limits::default());
    let name = "n".repeat(60_000);
    client.command(0, "FCPublish", 0.0, vec![text(&name)]);
    client.command(0, "FCUnpublish", 0.0, vec![text("cam?key=SECRET")]);
    client.send().unwrap();
    let replies = client.replies();
    assert!(replies[0].len() < 400 && !replies[1].contains("SECRET"), "{replies:?}");
}

#[test]
fn bytes_before_a_publication() {
    let limits = || Limits { bytes_before_publish_max: 64 << 10, ..Limits::default() };
    let notice = [0; 1_000];
    let send = |client: &mut Client| {
        client.writer.write(&mut client.out, 3, 0, type_id::DATA_AMF0, 1, &notice);
        client.send().map(|_| client.server.counters().bytes_received)
    };
    let mut stranger = Client::connected(limits());
    let error = (0..100).find_map(|_| match send(&mut stranger) {
        Ok(received) => {
            assert!(received <= 64 << 10, "{received} bytes");
            None
        }
        Err(error) => Some(error),
    });
    let error = error.expect("a limit");
    assert!(matches!(error, Error::BytesBeforePublish { max: 0x1_0000 }) && is_limit(&error), "{error}");
    // A publisher may go on for ever, between two publications too.
    let mut publisher = Client::publishing(limits());
    for _ in 0..100 {
        send(&mut publisher).expect("no limit");
    }
    assert!(publisher.server.counters().bytes_received > 64 << 10);
}

//! Aggregate messages.

use bytes::Bytes;
use headwater_rtmp::message::type_id;
use headwater_rtmp::{Aggregate, Message};

/// (type, time, payload)
type Inner = (u8, u32, &'static [u8]);

pub(crate) fn aggregate_body(messages: &[Inner]) -> Vec<u8> {
    let mut body = Vec::new();
    for (type_id, time, payload) in messages {
        body.push(*type_id);
        body.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
        body.extend_from_slice(&time.to_be_bytes()[1..]);
        body.push((time >> 24) as u8);
        body.extend_from_slice(&[0xaa, 0xbb, 0xcc]); // an inner message stream id, ignored
        body.extend_from_slice(payload);
        body.extend_from_slice(&(payload.len() as u32 + 11).to_be_bytes());
    }
    body
}

fn expand(timestamp: u32, body: &[u8]) -> (Vec<Message>, bool) {
    let payload = Bytes::copy_from_slice(body);
    let mut messages =
        Aggregate::new(Message { csid: 4, timestamp, type_id: type_id::AGGREGATE, stream_id: 9, payload });
    (messages.by_ref().collect(), messages.is_truncated())
}

#[test]
fn times_are_rebased_and_keep_their_distances() {
    let rows: [(&str, u32, [u32; 3], [u32; 3]); 4] = [
        ("inner times absolute", 500, [500, 523, 540], [500, 523, 540]),
        ("inner times from elsewhere", 500, [9_000, 9_023, 8_990], [500, 523, 490]),
        ("upper byte", 0, [0x0100_0000, 0x0100_0001, 0x0200_0000], [0, 1, 0x0100_0000]),
        ("both wrap", u32::MAX, [u32::MAX, 0, 1], [u32::MAX, 0, 1]),
    ];
    for (name, timestamp, inner, expected) in rows {
        let body = aggregate_body(&[(8, inner[0], b"a"), (9, inner[1], b"vv"), (18, inner[2], b"")]);
        let (messages, truncated) = expand(timestamp, &body);
        let times: Vec<u32> = messages.iter().map(|message| message.timestamp).collect();
        assert_eq!((times, truncated), (expected.to_vec(), false), "{name}");
        assert!(messages.iter().all(|message| message.stream_id == 9));
        assert_eq!(messages.iter().map(|message| message.type_id).collect::<Vec<_>>(), [8, 9, 18]);
        assert_eq!(messages[1].payload.as_ref(), b"vv");
    }
}

#[test]
fn cut_anywhere() {
    let body = aggregate_body(&[(8, 0, b"abc"), (9, 1, b"defg")]);
    for length in 0..body.len() {
        let (messages, truncated) = expand(0, &body[..length]);
        // 11 bytes of header, 3 of body, 4 of back pointer; the second is 11 + 4 + 4.
        let expected = usize::from(length >= 14) + usize::from(length >= 33);
        assert_eq!(messages.len(), expected, "{length}");
        let whole = length == 0 || (14..=18).contains(&length) || length >= 33;
        assert_eq!(truncated, !whole, "{length}");
    }
}

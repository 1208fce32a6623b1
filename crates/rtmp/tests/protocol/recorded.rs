//! Recorded sessions of real clients (see `real_publishers.rs`), however they are split: the same events.

use std::time::Duration;

use bytes::BytesMut;
use headwater_rtmp::{Limits, MessageKind, PlayError, ServerConnection, ServerEvent, UnpublishCause};
use proptest::prelude::*;

const FIXTURES: [(&str, &[u8]); 5] = [
    ("ffmpeg", include_bytes!("../fixtures/ffmpeg.bin")),
    ("rtmp2sink", include_bytes!("../fixtures/rtmp2sink.bin")),
    ("librtmp", include_bytes!("../fixtures/librtmp.bin")),
    ("ffmpeg_play", include_bytes!("../fixtures/ffmpeg_play.bin")),
    ("rtmpdump_play", include_bytes!("../fixtures/rtmpdump_play.bin")),
];

fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<ServerEvent> {
    let mut connection = ServerConnection::new(Limits::default(), [0x5a; 1528], Duration::ZERO);
    let mut input = BytesMut::new();
    let mut events = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        connection.handle_input(&mut input, Duration::ZERO).expect("recorded bytes are right");
        while let Some(event) = connection.poll_event() {
            match &event {
                ServerEvent::Publish(request) => connection.accept_publish(request.stream_id),
                ServerEvent::Play(request) => {
                    connection.reject_play(request.stream_id, PlayError::Failed, "no");
                }
                _ => {}
            }
            events.push(event);
        }
        connection.check_invariants();
        connection.take_output();
    }
    events
}

#[test]
fn events_of_the_recordings() {
    for (name, bytes) in FIXTURES {
        let events = feed([bytes]);
        assert!(
            matches!(events.first(), Some(ServerEvent::Connected(connect)) if connect.app == "live"),
            "{name}"
        );
        if name.ends_with("play") {
            assert!(
                matches!(&events[1..], [ServerEvent::Play(play)] if play.target.name == "none"),
                "{name}"
            );
            continue;
        }
        assert!(
            matches!(&events[1], ServerEvent::Publish(request) if request.target.name == "cam"),
            "{name}"
        );
        let end = ServerEvent::Unpublish { stream_id: 1, cause: UnpublishCause::FcUnpublish };
        assert_eq!(events.last(), Some(&end), "{name}");
        let count = |wanted| {
            let media =
                events.iter().filter(|event| matches!(event, ServerEvent::Media(m) if m.kind == wanted));
            media.count()
        };
        let counts = [MessageKind::Video, MessageKind::Audio, MessageKind::Data].map(count);
        assert!(counts[0] >= 11 && counts[1] >= 9 && counts[2] >= 1, "{name}: {counts:?}");
    }
}

#[test]
fn byte_by_byte_and_cut_anywhere() {
    for (name, bytes) in FIXTURES {
        let whole = feed([bytes]);
        assert_eq!(feed(bytes.chunks(1)), whole, "{name}");
        // Every truncation gives the first of these events, and no error.
        for length in (0..bytes.len()).step_by(7) {
            let events = feed([&bytes[..length]]);
            assert_eq!(events[..], whole[..events.len()], "{name} cut at {length}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn split_at_random(which in 0..FIXTURES.len(), sizes in prop::collection::vec(1..3_000_usize, 1..60)) {
        let (_, bytes) = FIXTURES[which];
        let mut rest = bytes;
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(feed(pieces), feed([bytes]));
    }
}

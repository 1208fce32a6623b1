//! The table of hostile publishers: what each does, and what the server is to make of it.

use bytes::{Bytes, BytesMut};
use headwater_flv::{Tag, TagKind};
use headwater_rtmp::amf0::{self, Value};
use headwater_rtmp::message::type_id;
use headwater_rtmp::{ChunkWriter, Command};

use super::mutants::Random;
use super::tags;
use crate::media;
use crate::rtmp_client::{RtmpClient, Stage};

const BAD_NAME: &str = "NetStream.Publish.BadName";
const DENIED: &str = "NetStream.Publish.Denied";
const REJECTED: &str = "NetStream.Publish.Rejected";

/// The AMF0 bytes of a string that is not UTF-8, four bytes long.
const NOT_UTF8: [u8; 7] = [2, 0, 4, 0xC3, 0x28, 0xFF, 0xFE];

/// What a table row expects.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    /// The connection goes on: it publishes a clip afterwards, all of it is packaged and listed, and nothing is warned of.
    Tolerated {
        /// How often all pictures of the clip arrive, the attack's own included.
        passes: u64,
    },
    /// An `onStatus` of level "error" with this code; its description, and the one log line, hold this text; then the end.
    Refused {
        /// The code.
        code: &'static str,
        /// Part of the description.
        says: &'static str,
    },
    /// The server closes, and its one log line holds this text.
    Closed {
        /// Part of the log line.
        says: &'static str,
    },
}

/// Everything up to where the outcome shows.
type Attack = Box<dyn Fn(&mut RtmpClient, &Clip) -> Result<(), String>>;

/// A row of the table.
pub struct Case {
    /// Also the stream's name, with `-` for spaces.
    pub name: &'static str,
    /// What is expected.
    pub outcome: Outcome,
    /// What is done.
    pub attack: Attack,
}

/// A valid clip and its parts.
#[derive(Debug)]
pub struct Clip {
    /// All of it, 8 s.
    pub tags: Vec<Tag>,
    /// Pictures in it.
    pub pictures: u64,
    video_config: Bytes,
    audio_config: Bytes,
    keyframe: Bytes,
    /// The smallest picture that is no keyframe.
    inter: Bytes,
    audio: Bytes,
}

impl Clip {
    /// The plain clip of `sample-media`.
    ///
    /// # Panics
    /// When it is not what it was.
    pub fn load() -> Clip {
        let tags = tags(&media::plain());
        let bodies = |kind: TagKind, head: [u8; 2]| {
            let of_kind = tags.iter().filter(move |tag| tag.kind == kind);
            of_kind.map(|tag| tag.body.clone()).filter(move |body| body.starts_with(&head))
        };
        let first = |kind, head| bodies(kind, head).next().expect("the clip has one of each");
        Clip {
            video_config: first(TagKind::Video, [0x17, 0]),
            audio_config: first(TagKind::Audio, [0xAF, 0]),
            keyframe: first(TagKind::Video, [0x17, 1]),
            inter: bodies(TagKind::Video, [0x27, 1]).min_by_key(Bytes::len).expect("inter pictures"),
            audio: first(TagKind::Audio, [0xAF, 1]),
            pictures: (bodies(TagKind::Video, [0x17, 1]).count() + bodies(TagKind::Video, [0x27, 1]).count())
                as u64,
            tags,
        }
    }
}

fn row(
    name: &'static str,
    outcome: Outcome,
    attack: impl Fn(&mut RtmpClient, &Clip) -> Result<(), String> + 'static,
) -> Case {
    Case { name, outcome, attack: Box::new(attack) }
}

/// At `stage`, `attack` is done, and the connection goes on.
fn tolerated(name: &'static str, stage: Stage, attack: impl Fn(&mut RtmpClient, &Clip) + 'static) -> Case {
    row(name, Outcome::Tolerated { passes: 1 }, move |client, clip| {
        client.reach(stage)?;
        attack(client, clip);
        Ok(())
    })
}

/// At `stage`, `attack` is done, and the server closes.
fn closed(
    name: &'static str,
    stage: Stage,
    says: &'static str,
    attack: impl Fn(&mut RtmpClient, &Clip) + 'static,
) -> Case {
    row(name, Outcome::Closed { says }, move |client, clip| {
        client.reach(stage)?;
        attack(client, clip);
        Ok(())
    })
}

/// At `stage`, `attack` is done, and the server says why it closes.
fn refused(
    name: &'static str,
    stage: Stage,
    (code, says): (&'static str, &'static str),
    attack: impl Fn(&mut RtmpClient, &Clip) + 'static,
) -> Case {
    row(name, Outcome::Refused { code, says }, move |client, clip| {
        client.reach(stage)?;
        attack(client, clip);
        Ok(())
    })
}

/// Every case. `taken` is a stream that is being published all the while.
pub fn all(taken: &'static str) -> Vec<Case> {
    let mut cases = handshakes();
    cases.extend(chunk_streams());
    cases.extend(commands());
    cases.extend(values());
    cases.extend(tags_cut_short());
    cases.extend(records());
    cases.extend(codecs());
    cases.extend(names(taken));
    cases
}

fn handshakes() -> Vec<Case> {
    let first_bytes = |name, bytes: &'static [u8], says| {
        closed(name, Stage::Open, says, move |client, _| client.send(bytes))
    };
    vec![
        first_bytes("RTMPE", &[6; 1537], "RTMP version 6"),
        first_bytes("HTTP on the RTMP port", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "RTMP version 71"),
        first_bytes("TLS on the RTMP port", &[22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3], "RTMP version 22"),
        row("random handshake", Outcome::Tolerated { passes: 1 }, |client, _| {
            let mut random = Random(0x9E37_79B9);
            let mut c0_c1 = random.bytes(1537);
            if let Some(c0) = c0_c1.first_mut() {
                *c0 = 3;
            }
            client.handshake(&c0_c1, &random.bytes(1536))
        }),
        closed("silence after the handshake", Stage::Shaken, "no connect in time", |_, _| {}),
        closed("silence after connect", Stage::Connected, "no publish or play in time", |_, _| {}),
        closed("only pings after createStream", Stage::Created, "no publish or play in time", |client, _| {
            client.message(2, 0, type_id::USER_CONTROL, 0, &[0, 6, 0, 0, 0, 1]);
        }),
    ]
}

/// A chunk header of type 0 on a chunk stream below 64.
fn header(csid: u8, time_ms: u32, length: u32, type_id: u8, stream_id: u32) -> Vec<u8> {
    let [_, time @ ..] = time_ms.to_be_bytes();
    let [_, length @ ..] = length.to_be_bytes();
    [&[csid][..], &time, &length, &[type_id], &stream_id.to_le_bytes()].concat()
}

/// A chunk header that continues a message.
fn continuation(csid: u8) -> u8 {
    0xC0 | csid
}

fn chunk_streams() -> Vec<Case> {
    vec![
        row("audio inside a chunked video message", Outcome::Tolerated { passes: 2 }, |client, clip| {
            client.reach(Stage::Publishing)?;
            interleaved(client, &clip.tags);
            Ok(())
        }),
        tolerated("message length changed mid-message", Stage::Publishing, |client, clip| {
            // CVE-2016-10191: the second length must not be taken for the first message's buffer.
            client.send(&[header(20, 0, 1_000, 9, 1), vec![0x27; 128]].concat());
            client.send(&[header(20, 0, 20, 9, 1), vec![0x27; 20]].concat());
            // And longer, by a type 1 header, in the middle of a real one.
            let length = clip.inter.len() as u32;
            let half = clip.inter.get(..128).unwrap_or_default();
            client.send(&[&header(21, 0, length.max(129), 9, 1)[..], half].concat());
            client.send(&[&[0x40 | 21, 0, 0, 0, 0x09, 0x00, 0x00, 9][..], &[0; 128]].concat());
        }),
        closed("message length changed over and over", Stage::Publishing, "given up midway", |client, _| {
            for _ in 0..10 {
                client.send(&[header(20, 0, 1_000, 9, 1), vec![0x27; 128]].concat());
            }
        }),
        tolerated("huge lengths on many chunk streams", Stage::Publishing, |client, _| {
            client.set_chunk_size(1);
            for csid in 10..60 {
                client.send(&[header(csid, 0, 10 << 20, 9, 1), vec![0x17]].concat());
            }
            client.set_chunk_size(4096);
        }),
        closed("too many chunk streams", Stage::Publishing, "is one more than 64", |client, _| {
            client.set_chunk_size(1);
            for csid in 0..=255_u8 {
                // The two-byte form: chunk streams 64 to 319.
                let [_, rest @ ..] = <[u8; 12]>::try_from(header(0, 0, 10 << 20, 9, 1)).unwrap_or_default();
                client.send(&[&[0, csid][..], &rest, &[0x17]].concat());
            }
        }),
        closed(
            "huge messages never finished by a stranger",
            Stage::Connected,
            "unfinished messages hold more than 1048576 bytes",
            |client, _| unfinished(client),
        ),
        closed(
            "huge messages never finished by a publisher",
            Stage::Publishing,
            "unfinished messages hold more than 16777216 bytes",
            |client, _| unfinished(client),
        ),
        closed("a message of 11 MiB", Stage::Publishing, "message type 9 of 11534336 bytes", |client, _| {
            client.send(&header(20, 0, 11 << 20, 9, 1));
        }),
        closed("chunk size 0", Stage::Shaken, "chunk size 0", |client, _| set_chunk_size(client, 0)),
        closed("chunk size 0x7fffffff", Stage::Shaken, "chunk size 2147483647", |client, _| {
            set_chunk_size(client, 0x7FFF_FFFF);
        }),
        closed("chunk size with the high bit", Stage::Publishing, "chunk size 2147483776", |client, _| {
            set_chunk_size(client, 0x8000_0080);
        }),
        closed("chunk size changed for ever", Stage::Shaken, "changes of the chunk size", |client, _| {
            for size in 128..228 {
                client.set_chunk_size(size);
            }
        }),
        row("chunk size 1", Outcome::Tolerated { passes: 2 }, |client, clip| {
            client.reach(Stage::Shaken)?;
            client.set_chunk_size(1);
            client.reach(Stage::Publishing)?;
            client.send_media(&clip.tags);
            client.set_chunk_size(60_000);
            Ok(())
        }),
        closed(
            "a chunk stream that begins in its middle",
            Stage::Shaken,
            "begins with a type 3 header",
            |client, _| {
                client.send(&[continuation(9), 1, 2, 3]);
            },
        ),
        tolerated("aborts of nothing", Stage::Shaken, |client, _| {
            client.message(2, 0, type_id::ABORT, 0, &[0, 0, 0xFF, 0xFF]);
            client.message(2, 0, type_id::ABORT, 0, &[0]);
            client.message(2, 0, type_id::ABORT, 0, &[]);
        }),
        tolerated("unknown user control", Stage::Publishing, |client, _| {
            for body in
                [&[0xFF, 0xFF, 1, 2, 3][..], &[0, 99], &[0], &[], &[0, 6], &[0, 26, 0, 0, 0, 0], &[0, 3, 1]]
            {
                client.message(2, 0, type_id::USER_CONTROL, 0, body);
            }
        }),
        tolerated("control messages cut short", Stage::Shaken, |client, _| {
            for type_id in 1..=6 {
                client.message(2, 0, type_id, 0, &[]);
                client.message(2, 0, type_id, 0, &[0, 0, 0]);
            }
        }),
        tolerated("window sizes of 0 and of everything", Stage::Publishing, |client, _| {
            for window in [0, 1, u32::MAX] {
                client.message(2, 0, type_id::WINDOW_ACKNOWLEDGEMENT_SIZE, 0, &window.to_be_bytes());
            }
        }),
        tolerated("unknown message types", Stage::Publishing, |client, _| {
            for type_id in [0, 7, 10, 14, 16, 19, 21, 23, 99, 255] {
                client.message(9, 0, type_id, 1, &[0x55; 300]);
            }
        }),
        closed(
            "an aggregate in an aggregate",
            Stage::Publishing,
            "an aggregate within an aggregate",
            |client, _| {
                client.message(
                    4,
                    0,
                    type_id::AGGREGATE,
                    1,
                    &[22, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12],
                );
            },
        ),
        closed("an aggregate of thousands", Stage::Publishing, "messages in an aggregate", |client, _| {
            let one = [8, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xAF, 0, 0, 0, 12];
            client.message(4, 0, type_id::AGGREGATE, 1, &one.repeat(5_000));
        }),
        tolerated("an aggregate cut short", Stage::Publishing, |client, _| {
            let one = [8, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 0xAF, 1, 0x21];
            for length in 0..=one.len() {
                client.message(4, 0, type_id::AGGREGATE, 1, one.get(..length).unwrap_or_default());
            }
        }),
    ]
}

/// 1 MiB of each of many messages of 10 MiB.
fn unfinished(client: &mut RtmpClient) {
    client.set_chunk_size(1 << 20);
    for csid in 10..40 {
        client.send(&[header(csid, 0, 10 << 20, 9, 1), vec![0x17; 1 << 20]].concat());
    }
}

fn set_chunk_size(client: &mut RtmpClient, size: u32) {
    client.message(2, 0, type_id::SET_CHUNK_SIZE, 0, &size.to_be_bytes());
}

/// The clip with every other message put between the chunks of the picture before it, in chunks of 128 bytes.
fn interleaved(client: &mut RtmpClient, tags: &[Tag]) {
    let mut bytes = Vec::new();
    let mut waiting: Option<(Vec<u8>, u32)> = None;
    for tag in tags {
        client.clock_ms = client.clock_ms.max(tag.timestamp_ms + 40);
        let length = tag.body.len() as u32;
        if tag.kind == TagKind::Video {
            if let Some((rest, _)) = waiting.take() {
                finish(&mut bytes, 20, &rest);
            }
            bytes.extend(header(20, tag.timestamp_ms, length, type_id::VIDEO, 1));
            let (now, later) = tag.body.split_at(tag.body.len().min(128));
            bytes.extend_from_slice(now);
            if !later.is_empty() {
                waiting = Some((later.to_vec(), tag.timestamp_ms));
            }
        } else {
            let type_id = if tag.kind == TagKind::Audio { type_id::AUDIO } else { type_id::DATA_AMF0 };
            bytes.extend(header(21, tag.timestamp_ms, length, type_id, 1));
            let (now, later) = tag.body.split_at(tag.body.len().min(128));
            bytes.extend_from_slice(now);
            let mut audio = later.chunks(128);
            // One chunk of the picture, one of the sound, until the sound is whole.
            while audio.len() > 0 {
                if let Some((rest, _)) = &mut waiting {
                    let chunk = rest.drain(..rest.len().min(128)).collect::<Vec<u8>>();
                    bytes.push(continuation(20));
                    bytes.extend(chunk);
                    if rest.is_empty() {
                        waiting = None;
                    }
                }
                bytes.push(continuation(21));
                bytes.extend_from_slice(audio.next().unwrap_or_default());
            }
        }
    }
    if let Some((rest, _)) = waiting {
        finish(&mut bytes, 20, &rest);
    }
    client.send(&bytes);
}

fn finish(bytes: &mut Vec<u8>, csid: u8, rest: &[u8]) {
    for chunk in rest.chunks(128) {
        bytes.push(continuation(csid));
        bytes.extend_from_slice(chunk);
    }
}

fn encoded(values: &[Value]) -> Vec<u8> {
    let mut body = Vec::new();
    for value in values {
        amf0::encode(value, &mut body);
    }
    body
}

pub(super) fn command(name: &str, transaction_id: f64, arguments: Vec<Value>) -> Vec<u8> {
    Command { name: name.to_owned(), transaction_id, object: Value::Null, arguments }.encode()
}

fn send_command(client: &mut RtmpClient, body: &[u8]) {
    client.message(3, 0, type_id::COMMAND_AMF0, 0, body);
}

fn commands() -> Vec<Case> {
    vec![
        closed("a command before connect", Stage::Shaken, "a command before connect", |client, _| {
            send_command(client, &command("createStream", 2.0, vec![]));
        }),
        tolerated("commands cut short", Stage::Connected, |client, _| {
            let whole = command("createStream", 2.0, vec![]);
            for length in 0..whole.len() {
                send_command(client, whole.get(..length).unwrap_or_default());
            }
        }),
        tolerated("publish cut short", Stage::Connected, |client, _| {
            // On message stream 0, where no whole one could succeed either.
            let whole = command("publish", 2.0, vec![Value::string("cam"), Value::string("live")]);
            for length in 0..3 + "publish".len() {
                send_command(client, whole.get(..length).unwrap_or_default());
            }
        }),
        tolerated("connect cut short", Stage::Shaken, |client, _| {
            let whole = command("connect", 1.0, vec![]);
            for length in 0..3 + "connect".len() {
                send_command(client, whole.get(..length).unwrap_or_default());
            }
        }),
        tolerated("commands without sense", Stage::Connected, |client, _| {
            for body in [
                command("", 102.0, vec![]),
                command("deleteStream", 102.0, vec![Value::Number(f64::NAN)]),
                command("deleteStream", 102.0, vec![Value::Number(-1e300)]),
                command("deleteStream", f64::INFINITY, vec![]),
                command("FCUnpublish", f64::NAN, vec![Value::Null]),
                command("closeStream", 0.0, vec![]),
                command("receiveAudio", 107.0, vec![Value::Boolean(true)]),
                command("_result", 102.0, vec![]),
                command("onStatus", 102.0, vec![]),
                encoded(&[Value::Number(1.0), Value::Null]),
                encoded(&[Value::string("createStream"), Value::string("no number")]),
            ] {
                send_command(client, &body);
            }
        }),
        closed("a million createStreams", Stage::Connected, "commands in a second", |client, _| {
            let body = command("createStream", 2.0, vec![]);
            let (mut writer, mut chunks) = (ChunkWriter::new(), BytesMut::new());
            for _ in 0..1_000 {
                writer.write(&mut chunks, 9, 0, type_id::COMMAND_AMF0, 0, &body);
            }
            // The first of a thousand has a type 0 header, so the block can be repeated.
            for _ in 0..1_000 {
                if !client.try_send(&chunks) {
                    return;
                }
            }
        }),
        row("twenty createStreams", Outcome::Tolerated { passes: 1 }, |client, _| {
            client.reach(Stage::Created)?;
            let first = client.stream_id;
            for _ in 1..16 {
                client.create_stream()?;
            }
            for _ in 16..20 {
                let id = client.command("createStream", 0, Value::Null, vec![]);
                client.answer("_error", id)?;
            }
            client.stream_id = first;
            Ok(())
        }),
        refused("two publications", Stage::Publishing, (REJECTED, "publishes already"), |client, _| {
            let _ = client.create_stream();
            client.name.push('2');
            client.ask_to_publish(client.stream_id);
        }),
        refused(
            "publish on no message stream",
            Stage::Created,
            (BAD_NAME, "that createStream did not make"),
            |client, _| {
                client.ask_to_publish(77);
            },
        ),
        refused(
            "play of nothing",
            Stage::Created,
            ("NetStream.Play.StreamNotFound", "no such stream"),
            |client, _| {
                client.command(
                    "play",
                    client.stream_id,
                    Value::Null,
                    vec![Value::string("nobody-publishes-this")],
                );
            },
        ),
        closed(
            "500 KB of nested arrays in a command",
            Stage::Shaken,
            "message type 20 of 512000 bytes",
            |client, _| {
                client.message(3, 0, type_id::COMMAND_AMF0, 0, &nested_arrays(512_000));
            },
        ),
        closed(
            "500 KB of nested arrays in metadata",
            Stage::Publishing,
            "message type 18 of 512000 bytes",
            |client, _| client.data(&nested_arrays(512_000)),
        ),
        tolerated("nested arrays as deep as a command can hold", Stage::Shaken, |client, _| {
            let connect = [command("connect", 1.0, vec![]), nested_arrays(60_000)].concat();
            send_command(client, &connect);
        }),
        tolerated("nested arrays as deep as metadata can hold", Stage::Publishing, |client, _| {
            let name = encoded(&[Value::string("@setDataFrame"), Value::string("onMetaData")]);
            client.data(&[name, nested_arrays(250_000)].concat());
        }),
        tolerated("arrays of four thousand million", Stage::Connected, |client, _| {
            let head = command("createStream", 2.0, vec![]);
            for marker in [8, 10, 12, 15] {
                send_command(client, &[&head[..], &[marker, 0xFF, 0xFF, 0xFF, 0xFF]].concat());
            }
        }),
    ]
}

/// Strict arrays of one item, each in the other, without an end.
fn nested_arrays(bytes: usize) -> Vec<u8> {
    [10, 0, 0, 0, 1].into_iter().cycle().take(bytes).collect()
}

/// One of each AMF0 value that encoders rarely send.
fn rare_values() -> Vec<(&'static str, Value)> {
    vec![
        ("date", Value::Date { unix_ms: f64::NAN, time_zone: -1 }),
        ("text", Value::string("x".repeat(20_000))),
        ("xml", Value::XmlDocument("<a/>".to_owned())),
        ("typed", Value::TypedObject { class: "C".to_owned(), properties: vec![] }),
        ("reference", Value::Reference(65_535)),
        ("unsupported", Value::Unsupported),
        ("array", Value::StrictArray(vec![Value::Undefined, Value::Null])),
    ]
}

fn values() -> Vec<Case> {
    let metadata = |values: Vec<u8>| [encoded(&[Value::string("@setDataFrame")]), values].concat();
    vec![
        tolerated("@setDataFrame alone", Stage::Publishing, move |client, _| {
            client.data(&metadata(vec![]));
            client.data(&metadata(encoded(&[Value::string("onMetaData")])));
            client.data(&metadata(encoded(&[Value::Null])));
            client.data(&[]);
            client.data(&[2, 0]);
            client.data(&encoded(&[Value::string("@clearDataFrame")]));
        }),
        tolerated("@setDataFrame before publish", Stage::Connected, move |client, _| {
            client.data(&metadata(vec![]));
        }),
        row("Date LongString and others in connect", Outcome::Tolerated { passes: 1 }, |client, _| {
            client.reach(Stage::Shaken)?;
            client.connect_with(&rare_values())
        }),
        tolerated("Date LongString and others in commands", Stage::Connected, |client, _| {
            let arguments: Vec<Value> = rare_values().into_iter().map(|(_, value)| value).collect();
            send_command(client, &command("releaseStream", 102.0, arguments.clone()));
            send_command(client, &command("FCPublish", 103.0, arguments.clone()));
            send_command(client, &command("nobodyKnowsThis", 104.0, arguments));
            // The long form of a short name.
            let [_, short @ ..] = &command("createStream", 105.0, vec![])[..] else { return };
            send_command(client, &[&[12, 0, 0][..], short].concat());
        }),
        tolerated("Date LongString and others in metadata", Stage::Publishing, |client, _| {
            let object = rare_values().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let name = [Value::string("@setDataFrame"), Value::string("onMetaData")];
            client.data(&encoded(&[&name[..], &[Value::EcmaArray(object)]].concat()));
            // A string as long as a data message may be.
            let text = Value::string("x".repeat(200_000));
            client.data(&encoded(&[Value::string("onMetaData"), text.clone()]));
            client.data(&encoded(&[text]));
        }),
        tolerated("text that is not UTF-8", Stage::Connected, |client, _| {
            send_command(client, &NOT_UTF8);
            send_command(client, &[&NOT_UTF8[..], &encoded(&[Value::Number(102.0), Value::Null])].concat());
            send_command(client, &[&command("FCPublish", 103.0, vec![])[..], &NOT_UTF8].concat());
        }),
        tolerated("metadata that is not UTF-8", Stage::Publishing, |client, _| {
            let name = encoded(&[Value::string("onMetaData")]);
            client.data(&[&name[..], &[3, 0, 4, 0xC3, 0x28, 0xFF, 0xFE], &NOT_UTF8, &[0, 0, 9]].concat());
            client.data(&NOT_UTF8);
        }),
        refused(
            "a stream name that is not UTF-8",
            Stage::Created,
            (BAD_NAME, "a character in the address is not allowed"),
            |client, _| {
                let body = [&command("publish", 5.0, vec![])[..], &NOT_UTF8].concat();
                client.message(8, 0, type_id::COMMAND_AMF0, client.stream_id, &body);
            },
        ),
        tolerated("AMF3 commands and data", Stage::Connected, |client, _| {
            let body = [&[0][..], &command("releaseStream", 102.0, vec![]), &[0x11, 9, 0xFF, 0xFF]].concat();
            client.message(3, 0, type_id::COMMAND_AMF3, 0, &body);
            client.message(3, 0, type_id::COMMAND_AMF3, 0, &[0x11, 0x0A, 0x0B, 1]);
            client.message(3, 0, type_id::DATA_AMF3, 0, &[0]);
        }),
    ]
}

/// Every length up to 64 bytes, and the last ones.
fn lengths(whole: &[u8]) -> impl Iterator<Item = usize> + use<> {
    let length = whole.len();
    (0..length).filter(move |cut| *cut <= 64 || cut + 8 >= length)
}

fn tags_cut_short() -> Vec<Case> {
    vec![
        tolerated("a picture cut short", Stage::Publishing, |client, clip| {
            client.video(&clip.video_config);
            for length in 0..clip.inter.len() {
                client.video(clip.inter.get(..length).unwrap_or_default());
            }
        }),
        tolerated("a keyframe cut short", Stage::Publishing, |client, clip| {
            client.video(&clip.video_config);
            for length in lengths(&clip.keyframe) {
                client.video(clip.keyframe.get(..length).unwrap_or_default());
            }
        }),
        tolerated("sound cut short", Stage::Publishing, |client, clip| {
            for length in 0..clip.audio_config.len() {
                client.audio(clip.audio_config.get(..length).unwrap_or_default());
            }
            // Without a configuration: whether a raw frame is whole, nobody but a decoder can tell.
            for length in 0..clip.audio.len() {
                client.audio(clip.audio.get(..length).unwrap_or_default());
            }
        }),
        tolerated("Enhanced RTMP cut short", Stage::Publishing, |client, _| {
            for length in 0..5 {
                client.video(b"\x90avc1".get(..length).unwrap_or_default());
                client.audio(b"\x90mp4a".get(..length).unwrap_or_default());
            }
            // ModEx without an end, and multitrack of nothing.
            client.video(&[0x97; 40]);
            client.video(&[0x97, 0xFF, 0xFF, 0xFF]);
            client.video(&[0x96, 0x10, b'a', b'v', b'c', b'1', 0, 0xFF, 0xFF, 0xFF]);
            client.audio(&[0x95, 0xF1]);
        }),
        tolerated("pictures before any configuration", Stage::Publishing, |client, clip| {
            client.video(&clip.keyframe);
            client.audio(&clip.audio);
            client.video(&clip.inter);
        }),
        tolerated("zero-length NAL units", Stage::Publishing, |client, clip| {
            client.video(&clip.video_config);
            let (head, units) = clip.keyframe.split_at(5);
            client.video(&[head, &[0; 4]].concat());
            client.video(&[head, &[0; 4 * 1_000]].concat());
            client.video(&[head, &[0; 7]].concat());
            client.video(&[head, &[0; 8], units, &[0; 4]].concat());
        }),
        tolerated("NAL unit lengths beyond the tag", Stage::Publishing, |client, clip| {
            client.video(&clip.video_config);
            for length in [1_u32 << 31, u32::MAX, 100, 5] {
                client.video(
                    &[&[0x17, 1, 0, 0, 0][..], &length.to_be_bytes(), &[0x65, 0x88, 0x84, 0]].concat(),
                );
            }
        }),
        tolerated("stamps from all over", Stage::Publishing, |client, clip| {
            client.video(&clip.video_config);
            for time_ms in [0, u32::MAX, 0x7FFF_FFFF, 0x8000_0000, 0x00FF_FFFF, 0x0100_0000, 5] {
                client.clock_ms = time_ms;
                client.audio(&[0xAF, 1, 0x21, 0x10, 0x04, 0x60, 0x8C, 0x1C]);
                client.video(&clip.inter);
            }
            client.clock_ms = 0;
        }),
    ]
}

fn records() -> Vec<Case> {
    const VIDEO_REFUSAL: (&str, &str) = (DENIED, "unusable video configurations");
    const AUDIO_REFUSAL: (&str, &str) = (DENIED, "unusable audio configurations");
    let avcc = |record: &[u8]| [&[0x17, 0, 0, 0, 0][..], record].concat();
    vec![
        refused("avcC cut short", Stage::Publishing, VIDEO_REFUSAL, |client, clip| {
            for length in 0..clip.video_config.len() {
                client.video(clip.video_config.get(..length).unwrap_or_default());
            }
        }),
        refused("broken avcC", Stage::Publishing, VIDEO_REFUSAL, move |client, _| {
            client.video(&avcc(&[1, 0x64, 0, 0x1F, 0xFF, 0xFF]));
            client.video(&avcc(&[1, 0x64, 0, 0x1F, 0xFF, 0xE1, 0xFF, 0xFF, 0x67]));
            client.video(&avcc(&[1, 0x64, 0, 0x1F, 0xFF, 0xE1, 0, 3, 0x67, 0xFF, 0xFF, 0]));
        }),
        tolerated("broken avcC twice", Stage::Publishing, move |client, _| {
            client.video(&avcc(&[]));
            client.video(&avcc(&[0xFF; 40]));
            client.video(&avcc(&[1, 0x64, 0, 0x1F, 0xFF, 0xE0, 0]));
        }),
        refused("broken ASC", Stage::Publishing, AUDIO_REFUSAL, |client, _| {
            for _ in 0..3 {
                client.audio(&[0xAF, 0, 0x12]);
            }
        }),
        tolerated("broken ASC twice", Stage::Publishing, |client, _| {
            client.audio(&[0xAF, 0]);
            client.audio(&[0xAF, 0, 0x12]);
            client.audio(&[0xAF, 0, 0x17]);
        }),
    ]
}

fn codecs() -> Vec<Case> {
    let video = |name, body: &'static [u8], says| {
        refused(name, Stage::Publishing, (DENIED, says), move |client, _| client.video(body))
    };
    let audio = |name, body: &'static [u8], says| {
        refused(name, Stage::Publishing, (DENIED, says), move |client, _| client.audio(body))
    };
    vec![
        video("HEVC as codec id 12", &[0x1C, 0, 0, 0, 0, 1, 1], "video codec HEVC (legacy codec id 12)"),
        video("AV1 as codec id 13", &[0x1D, 0, 0, 0, 0, 0x81], "video codec AV1 (legacy codec id 13)"),
        video("Sorenson", &[0x12, 0, 0], "video codec Sorenson H.263"),
        video("HEVC by Enhanced RTMP", b"\x90hvc1\x01\x01", "video codec HEVC (hvc1) by Enhanced RTMP"),
        video("AV1 by Enhanced RTMP", b"\x90av01\x81\x00", "video codec AV1 (av01) by Enhanced RTMP"),
        video("VP9 by Enhanced RTMP", b"\x90vp09\x00", "video codec VP9 (vp09) by Enhanced RTMP"),
        video("a codec that nobody knows", b"\x90\x00\x1b[\xff", "unknown (\\x00\\x1b[\\xff)"),
        audio("Opus by Enhanced RTMP", b"\x90OpusOpusHead", "audio codec Opus (Opus) by Enhanced RTMP"),
        audio("FLAC by Enhanced RTMP", b"\x90fLaCfLaC", "audio codec FLAC (fLaC) by Enhanced RTMP"),
        audio("Speex", &[0xB6, 0, 1, 2], "audio codec Speex"),
    ]
}

fn names(taken: &'static str) -> Vec<Case> {
    let named = |case, app: &'static str, name: String, says| {
        row(case, Outcome::Refused { code: BAD_NAME, says }, move |client, _| {
            app.clone_into(&mut client.app);
            client.name.clone_from(&name);
            client.reach(Stage::Created)?;
            client.ask_to_publish(client.stream_id);
            Ok(())
        })
    };
    let character = "a character in the address is not allowed";
    vec![
        named("a name that is taken", "live", taken.to_owned(), "is already being published"),
        named("no name", "live", String::new(), "no stream name"),
        named("the folder itself", "live", ".".to_owned(), "is '.' or '..'"),
        named("the folder above", "live", "..".to_owned(), "is '.' or '..'"),
        named("the folder above in percent", "live", "%2e%2e".to_owned(), "is '.' or '..'"),
        named("a path upwards", "live", "../../etc/passwd".to_owned(), "too many '/'"),
        named("a slash in percent", "live", "a%2fb".to_owned(), character),
        named("an empty part", "live", "a//b".to_owned(), "two '/' in a row"),
        named("a space", "live", "a b".to_owned(), character),
        named("an accent", "live", "caf\u{e9}".to_owned(), character),
        named("a NUL", "live", "cam\0".to_owned(), character),
        named("a line feed", "live", "cam\nWARN forged".to_owned(), character),
        named("a shell command", "live", "$(reboot)".to_owned(), character),
        named("a script", "live", "<script>".to_owned(), character),
        named("a long name", "live", "x".repeat(129), "longer than 128 bytes"),
        named("a very long name", "live", "x".repeat(60_000), "longer than 128 bytes"),
        named("a URL as name", "live", "rtmp://elsewhere/live/cam".to_owned(), "the stream name is a URL"),
        named("an output's ending", "live", "cam.ts".to_owned(), "can't end in"),
        named("a reserved app", "api", "cam".to_owned(), "this app name is reserved"),
    ]
}

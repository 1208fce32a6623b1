//! Publishers whose every message is right but for bits that turned, and the generator that turns them.

use bytes::BytesMut;
use headwater_flv::TagKind;
use headwater_rtmp::amf0::Value;
use headwater_rtmp::message::type_id;
use headwater_rtmp::{ChunkWriter, Command};

use super::cases::{Clip, command};

/// What a publisher sends from C0 to its last picture without waiting for an answer, and after the handshake one bit in
/// some thousand turned.
pub fn mutant(seed: u32, clip: &Clip) -> Vec<u8> {
    let mut random = Random(seed);
    let mut handshake = vec![0; 1 + 2 * 1536];
    if let Some(c0) = handshake.first_mut() {
        *c0 = 3;
    }
    let (mut writer, mut chunks) = (ChunkWriter::new(), BytesMut::new());
    let connect = Value::object([("app", Value::string("live")), ("tcUrl", Value::string("rtmp://h/live"))]);
    let connect =
        Command { name: "connect".to_owned(), transaction_id: 1.0, object: connect, arguments: vec![] };
    writer.write(&mut chunks, 3, 0, type_id::COMMAND_AMF0, 0, &connect.encode());
    writer.write(&mut chunks, 3, 0, type_id::COMMAND_AMF0, 0, &command("createStream", 2.0, vec![]));
    let publish = command("publish", 3.0, vec![Value::string(format!("mutant-{seed}"))]);
    writer.write(&mut chunks, 8, 0, type_id::COMMAND_AMF0, 1, &publish);
    // Half of them come through to the media unharmed.
    let spared = if seed.is_multiple_of(2) { chunks.len() } else { 0 };
    for tag in &clip.tags {
        let (csid, type_id) = match tag.kind {
            TagKind::Audio => (4, type_id::AUDIO),
            TagKind::Video => (6, type_id::VIDEO),
            TagKind::Data => (4, type_id::DATA_AMF0),
        };
        writer.write(&mut chunks, csid, tag.timestamp_ms, type_id, 1, &tag.body);
    }
    let rarity = 50 + random.next() % 20_000;
    for byte in chunks.iter_mut().skip(spared) {
        if random.next().is_multiple_of(rarity) {
            *byte ^= 1 << (random.next() % 8);
        }
    }
    [handshake, chunks.to_vec()].concat()
}

/// A small generator (xorshift), so that a failing run can be had again. The seed is not 0.
#[derive(Debug, Clone)]
pub struct Random(pub u32);

impl Random {
    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "an iterator would have an end")]
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// The next so many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

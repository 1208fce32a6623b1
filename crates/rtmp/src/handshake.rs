//! The server's half of the handshake, simple and with digests (RTMP 1.0 5.2, and what Flash made of it).

use bytes::{Buf, BufMut, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::Error;

/// Bytes of C1, S1, C2 and S2 each.
pub const PACKET_BYTES: usize = 1536;
/// Bytes of randomness that S1 carries.
pub const RANDOM_BYTES: usize = PACKET_BYTES - 8;
/// The one version of RTMP (RTMP 1.0 5.2.2).
const VERSION: u8 = 3;
/// What S1 says in place of four zeros when digests are spoken: FMS 4.5. Peers only ask whether it is 3 or more.
const DIGEST_SERVER_VERSION: [u8; 4] = [4, 5, 0, 1];

const DIGEST_BYTES: usize = 32;
/// Bytes of an offset-and-digest or offset-and-key block.
const BLOCK_BYTES: usize = 764;
/// Places a digest can take in its block: the block without the offset's 4 bytes and the digest's 32.
const DIGEST_PLACES: usize = BLOCK_BYTES - 4 - DIGEST_BYTES;

/// Shared tail of both keys.
const KEY_TAIL: [u8; 32] = [
    0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0, 0xd1, 0x02, 0x9e, 0x7e, 0x57, 0x6e,
    0xec, 0x5d, 0x2d, 0x29, 0x80, 0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae,
];
const PLAYER_KEY_TEXT: &[u8] = b"Genuine Adobe Flash Player 001";
const SERVER_KEY_TEXT: &[u8] = b"Genuine Adobe Flash Media Server 001";

/// Where the digest stands: schema 1 has the digest block first, schema 0 the key block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schema {
    Zero,
    One,
}

impl Schema {
    /// Position of the digest in C1 or S1: the block's four offset bytes, summed, choose one of 728 places.
    fn digest_position(self, packet: &[u8; PACKET_BYTES]) -> usize {
        let block = match self {
            Schema::One => 8,
            Schema::Zero => 8 + BLOCK_BYTES,
        };
        let sum: usize = packet.iter().skip(block).take(4).map(|&byte| usize::from(byte)).sum();
        block + 4 + sum % DIGEST_PLACES
    }
}

/// HMAC-SHA256 over the parts in order.
fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST_BYTES] {
    // HMAC takes a key of any length, so this is never an error.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; DIGEST_BYTES] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// The digest of a C1 or S1 whose digest stands at `position`: everything but those 32 bytes.
fn packet_digest(key: &[u8], packet: &[u8; PACKET_BYTES], position: usize) -> [u8; DIGEST_BYTES] {
    let (before, rest) = packet.split_at_checked(position).unwrap_or((packet, &[]));
    let after = rest.get(DIGEST_BYTES..).unwrap_or(&[]);
    hmac(key, &[before, after])
}

/// The schema and digest of a C1 that has one.
fn find_digest(c1: &[u8; PACKET_BYTES]) -> Option<(Schema, [u8; DIGEST_BYTES])> {
    [Schema::Zero, Schema::One].into_iter().find_map(|schema| {
        let position = schema.digest_position(c1);
        let found = c1.get(position..)?.first_chunk::<DIGEST_BYTES>()?;
        (packet_digest(PLAYER_KEY_TEXT, c1, position) == *found).then_some((schema, *found))
    })
}

/// Progress of the server's half. Bytes of the handshake are taken from the input only in whole packets, so at
/// most 1,537 bytes wait in it.
#[derive(Debug)]
pub struct Handshake {
    random: Box<[u8; RANDOM_BYTES]>,
    answered: bool,
}

impl Handshake {
    /// A handshake that has seen nothing; `random` fills S1.
    pub fn new(random: [u8; RANDOM_BYTES]) -> Handshake {
        Handshake { random: Box::new(random), answered: false }
    }

    /// Takes C0, C1 and C2 from the front of `input` as they become complete, appends S0 + S1 + S2 to `output`
    /// after C1 without waiting for C2, and returns whether the handshake is over. Bytes after C2 are left:
    /// clients send `connect` in the same packet. `time_ms` is the server's clock for S1.
    ///
    /// # Errors
    /// [`Error::Version`], as soon as the first byte is there.
    pub fn read(&mut self, input: &mut BytesMut, output: &mut BytesMut, time_ms: u32) -> Result<bool, Error> {
        if !self.answered {
            match input.first() {
                None => return Ok(false),
                Some(&VERSION) => {}
                Some(&version) => return Err(Error::Version { version }),
            }
            let Some(c1) = input.get(1..).and_then(|rest| rest.first_chunk::<PACKET_BYTES>()) else {
                return Ok(false);
            };
            self.answer(c1, output, time_ms);
            self.answered = true;
            input.advance(1 + PACKET_BYTES);
        }
        // C2 is not looked at: librtmp and others echo arbitrary bytes.
        if input.len() < PACKET_BYTES {
            return Ok(false);
        }
        input.advance(PACKET_BYTES);
        Ok(true)
    }

    fn answer(&self, c1: &[u8; PACKET_BYTES], output: &mut BytesMut, time_ms: u32) {
        output.reserve(1 + 2 * PACKET_BYTES);
        output.put_u8(VERSION);
        let client_version_is_zero = c1.iter().skip(4).take(4).all(|&byte| byte == 0);
        let digest = if client_version_is_zero { None } else { find_digest(c1) };
        match digest {
            None => {
                output.put_u32(time_ms);
                output.put_u32(0);
                output.put_slice(self.random.as_slice());
                output.put_slice(c1);
            }
            Some((schema, client_digest)) => {
                output.put_slice(&self.s1(schema, time_ms));
                output.put_slice(&self.s2(&client_digest));
            }
        }
    }

    /// S1 with its digest in `schema`.
    fn s1(&self, schema: Schema, time_ms: u32) -> [u8; PACKET_BYTES] {
        let mut s1 = [0; PACKET_BYTES];
        let mut rest = s1.as_mut_slice();
        rest.put_u32(time_ms);
        rest.put_slice(&DIGEST_SERVER_VERSION);
        rest.put_slice(self.random.as_slice());
        let position = schema.digest_position(&s1);
        let digest = packet_digest(SERVER_KEY_TEXT, &s1, position);
        for (to, from) in s1.iter_mut().skip(position).zip(digest) {
            *to = from;
        }
        s1
    }

    /// S2: random bytes, and a digest keyed with the client's.
    fn s2(&self, client_digest: &[u8; DIGEST_BYTES]) -> [u8; PACKET_BYTES] {
        let mut s2 = [0; PACKET_BYTES];
        let body_bytes = PACKET_BYTES - DIGEST_BYTES;
        // The same randomness as S1: nothing depends on these bytes but the digest that follows them.
        for (to, from) in s2.iter_mut().take(body_bytes).zip(self.random.iter().rev()) {
            *to = *from;
        }
        let key = hmac(&[SERVER_KEY_TEXT, &KEY_TAIL].concat(), &[client_digest]);
        let (body, place) = s2.split_at_mut(body_bytes);
        place.copy_from_slice(&hmac(&key, &[body]));
        s2
    }
}

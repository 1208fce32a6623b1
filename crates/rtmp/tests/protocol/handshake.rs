//! Simple and digest handshakes; digests are computed here a second time, from the text.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use headwater_rtmp::handshake::{Handshake, PACKET_BYTES};
use headwater_rtmp::{Error, ErrorKind, Limits, ServerConnection};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const TAIL: [u8; 32] = [
    0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0, 0xd1, 0x02, 0x9e, 0x7e, 0x57, 0x6e,
    0xec, 0x5d, 0x2d, 0x29, 0x80, 0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae,
];

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// Position of the digest by the formulas of the standards page: 8 + 4 + sum mod 728, or 772 + 4 + sum mod 728.
fn position(packet: &[u8], schema: u8) -> usize {
    let offsets = if schema == 1 { &packet[8..12] } else { &packet[772..776] };
    let sum: usize = offsets.iter().map(|&byte| usize::from(byte)).sum();
    sum % 728 + if schema == 1 { 12 } else { 776 }
}

fn without_digest(packet: &[u8], position: usize) -> Vec<u8> {
    [&packet[..position], &packet[position + 32..]].concat()
}

/// C1 with a valid digest in `schema`; `fill` moves the digest about.
fn digest_c1(schema: u8, fill: u8) -> Vec<u8> {
    let mut c1: Vec<u8> = (0..PACKET_BYTES).map(|index| (index as u8).wrapping_mul(7) ^ fill).collect();
    c1[4..8].copy_from_slice(&[9, 0, 0x7c, 2]);
    let position = position(&c1, schema);
    let digest = hmac(b"Genuine Adobe Flash Player 001", &without_digest(&c1, position));
    c1[position..position + 32].copy_from_slice(&digest);
    c1
}

fn answer(c1: &[u8]) -> Bytes {
    let mut connection =
        ServerConnection::new(Limits::default(), [0x77; 1528], Duration::from_millis(0x0102));
    let mut input = BytesMut::from(&[&[3], c1].concat()[..]);
    connection.handle_input(&mut input, Duration::from_millis(0x0102)).unwrap();
    assert!(input.is_empty());
    let output = connection.take_output();
    assert_eq!((output.len(), output[0]), (1 + 2 * PACKET_BYTES, 3));
    output.slice(1..)
}

#[test]
fn simple_answer_is_byte_exact() {
    for (name, version) in [("OBS and librtmp", [0; 4]), ("a version without a digest", [9, 0, 0x7c, 2])] {
        let mut c1: Vec<u8> = (0..PACKET_BYTES).map(|index| index as u8).collect();
        c1[4..8].copy_from_slice(&version);
        let output = answer(&c1);
        let (s1, s2) = output.split_at(PACKET_BYTES);
        assert_eq!(s1[..8], [0, 0, 1, 2, 0, 0, 0, 0], "{name}");
        assert_eq!(s1[8..], [0x77; 1528], "{name}");
        assert_eq!(s2, c1, "{name}");
    }
}

#[test]
fn zero_version_is_simple_even_with_a_digest() {
    let mut c1 = digest_c1(1, 0);
    c1[4..8].fill(0);
    let position = position(&c1, 1);
    let digest = hmac(b"Genuine Adobe Flash Player 001", &without_digest(&c1, position));
    c1[position..position + 32].copy_from_slice(&digest);
    assert_eq!(answer(&c1)[PACKET_BYTES..], c1);
}

#[test]
fn digests_of_s1_and_s2() {
    let server_text = b"Genuine Adobe Flash Media Server 001";
    for schema in [0, 1] {
        for fill in [0, 1, 0x5a, 0xff] {
            let c1 = digest_c1(schema, fill);
            let output = answer(&c1);
            let (s1, s2) = output.split_at(PACKET_BYTES);
            assert_eq!(s1[..8], [0, 0, 1, 2, 4, 5, 0, 1]);
            let at = position(s1, schema);
            assert_eq!(s1[at..at + 32], hmac(server_text, &without_digest(s1, at)), "schema {schema} {fill}");
            let client_at = position(&c1, schema);
            let key = hmac(&[&server_text[..], &TAIL].concat(), &c1[client_at..client_at + 32]);
            assert_eq!(s2[1504..], hmac(&key, &s2[..1504]), "schema {schema} {fill}");
        }
    }
}

#[test]
fn a_broken_digest_is_answered_simply() {
    for schema in [0, 1] {
        let mut c1 = digest_c1(schema, 3);
        c1[1000] ^= 1;
        assert_eq!(answer(&c1)[PACKET_BYTES..], c1);
    }
}

#[test]
fn other_versions_are_refused_at_the_first_byte() {
    for (name, version) in [("RTMPE", 6), ("RTMPE, Blowfish", 8), ("HTTP", b'G'), ("TLS", 22), ("zero", 0)] {
        let mut connection = ServerConnection::new(Limits::default(), [0; 1528], Duration::ZERO);
        let mut input = BytesMut::from(&[version][..]);
        let error = connection.handle_input(&mut input, Duration::ZERO).unwrap_err();
        assert_eq!(error, Error::Version { version }, "{name}");
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(connection.take_output().is_empty());
        assert_eq!(connection.handle_input(&mut input, Duration::ZERO), Err(Error::Closed));
    }
}

#[test]
fn every_truncation_waits_and_bytes_after_c2_stay() {
    let client = [&[3], &digest_c1(1, 9)[..], &[0xab; PACKET_BYTES], b"chunks"].concat();
    let whole = 1 + 2 * PACKET_BYTES;
    for length in 0..=client.len() {
        let (mut input, mut output) = (BytesMut::from(&client[..length]), BytesMut::new());
        let done = Handshake::new([1; 1528]).read(&mut input, &mut output, 0);
        assert_eq!(done, Ok(length >= whole), "{length}");
        assert_eq!(output.is_empty(), length <= PACKET_BYTES, "{length}");
        if length >= whole {
            assert_eq!(input, client[whole..length]);
        }
    }
}

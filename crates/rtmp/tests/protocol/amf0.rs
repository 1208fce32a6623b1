//! AMF0: every marker byte by byte, every truncation, every limit.

use headwater_rtmp::amf0::{AmfError, Value, decode, encode};
use headwater_rtmp::limits::{AMF_DEPTH_MAX, AMF_KEY_BYTES_MAX, AMF_STRING_BYTES_MAX, AMF_VALUES_MAX};
use proptest::prelude::*;

fn text(text: &str) -> Value {
    Value::string(text)
}

fn properties(pairs: &[(&str, Value)]) -> Vec<(String, Value)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// One table for both directions: name, value, bytes.
fn rows() -> Vec<(&'static str, Value, Vec<u8>)> {
    vec![
        ("number", Value::Number(1.5), b"\x00\x3f\xf8\0\0\0\0\0\0".to_vec()),
        ("infinity", Value::Number(f64::NEG_INFINITY), b"\x00\xff\xf0\0\0\0\0\0\0".to_vec()),
        ("boolean", Value::Boolean(true), b"\x01\x01".to_vec()),
        ("string", text("live"), b"\x02\0\x04live".to_vec()),
        ("empty string", text(""), b"\x02\0\0".to_vec()),
        ("UTF-8", text("h\u{f6}he"), b"\x02\0\x05h\xc3\xb6he".to_vec()),
        (
            "object",
            Value::object([("app", text("x")), ("", Value::Null)]),
            b"\x03\0\x03app\x02\0\x01x\0\0\x05\0\0\x09".to_vec(),
        ),
        ("null", Value::Null, b"\x05".to_vec()),
        ("undefined", Value::Undefined, b"\x06".to_vec()),
        ("reference", Value::Reference(258), b"\x07\x01\x02".to_vec()),
        (
            "ECMA array",
            Value::EcmaArray(properties(&[("w", Value::Number(0.0))])),
            b"\x08\0\0\0\x01\0\x01w\0\0\0\0\0\0\0\0\0\0\0\x09".to_vec(),
        ),
        (
            "strict array",
            Value::StrictArray(vec![Value::Null, text("a")]),
            b"\x0a\0\0\0\x02\x05\x02\0\x01a".to_vec(),
        ),
        ("date", Value::Date { unix_ms: 1.5, time_zone: -2 }, b"\x0b\x3f\xf8\0\0\0\0\0\0\xff\xfe".to_vec()),
        ("unsupported", Value::Unsupported, b"\x0d".to_vec()),
        ("XML", Value::XmlDocument("<a/>".to_owned()), b"\x0f\0\0\0\x04<a/>".to_vec()),
        (
            "typed object",
            Value::TypedObject {
                class: "C".to_owned(),
                properties: properties(&[("k", Value::Boolean(false))]),
            },
            b"\x10\0\x01C\0\x01k\x01\0\0\0\x09".to_vec(),
        ),
    ]
}

#[test]
fn every_marker_both_ways_and_cut_anywhere() {
    for (name, value, bytes) in rows() {
        assert_eq!(decode(&bytes).as_ref(), Ok(&vec![value.clone()]), "{name}");
        let mut encoded = Vec::new();
        encode(&value, &mut encoded);
        assert_eq!(encoded, bytes, "{name}");
        for length in 1..bytes.len() {
            let error = decode(&bytes[..length]).expect_err(name);
            assert!(
                matches!(error, AmfError::Truncated { offset } if offset <= length),
                "{name} {length}: {error}"
            );
        }
    }
}

#[test]
fn what_is_read_but_never_written() {
    let rows: [(&str, &[u8], Value); 5] = [
        ("long form of a short string", b"\x0c\0\0\0\x02hi", text("hi")),
        ("code page 1252", b"\x02\0\x04caf\xe9", text("caf\u{FFFD}")),
        ("boolean of 255", b"\x01\xff", Value::Boolean(true)),
        ("ECMA array whose count is a lie", b"\x08\xff\xff\xff\xff\0\0\x09", Value::EcmaArray(vec![])),
        (
            "names that repeat",
            b"\x03\0\x01a\x05\0\x01a\x06\0\0\x09",
            Value::Object(properties(&[("a", Value::Null), ("a", Value::Undefined)])),
        ),
    ];
    for (name, bytes, expected) in rows {
        assert_eq!(decode(bytes), Ok(vec![expected]), "{name}");
    }
    // NaN is legal and equal to nothing.
    assert!(
        matches!(decode(b"\0\x7f\xf8\0\0\0\0\0\x01").as_deref(), Ok([Value::Number(nan)]) if nan.is_nan())
    );
}

#[test]
fn a_string_beyond_16_bits_takes_the_long_form() {
    let long = text(&"x".repeat(65_536));
    let mut encoded = Vec::new();
    encode(&long, &mut encoded);
    assert_eq!(encoded[..5], [0x0c, 0, 1, 0, 0]);
    assert_eq!(decode(&encoded), Ok(vec![long]));
}

/// AMF3 values: each is followed by an AMF0 null, which shows that exactly its bytes were skipped.
#[test]
fn amf3_values_are_skipped() {
    let rows: [(&str, &[u8]); 22] = [
        ("undefined", b"\x00"),
        ("null", b"\x01"),
        ("true", b"\x03"),
        ("integer, 1 byte", b"\x04\x7f"),
        ("integer, 2 bytes", b"\x04\x81\x00"),
        ("integer, 4 bytes", b"\x04\xff\xff\xff\xff"),
        ("double", b"\x05\0\0\0\0\0\0\0\0"),
        ("string", b"\x06\x07abc"),
        ("string reference", b"\x06\x00"),
        ("XML document", b"\x07\x03x"),
        ("date", b"\x08\x01\0\0\0\0\0\0\0\0"),
        ("date reference", b"\x08\x02"),
        ("array", b"\x09\x05\x03k\x01\x01\x04\x01\x06\x03z"),
        ("object, sealed", b"\x0a\x13\x03C\x03a\x04\x05"),
        ("object, dynamic", b"\x0a\x0b\x01\x03k\x01\x01"),
        ("object by traits reference", b"\x09\x05\x01\x0a\x13\x01\x03a\x01\x0a\x01\x03"),
        ("XML", b"\x0b\x05ab"),
        ("byte array", b"\x0c\x05\xff\xfe"),
        ("vector of int", b"\x0d\x05\x00\0\0\0\x01\0\0\0\x02"),
        ("vector of double", b"\x0f\x03\x01\0\0\0\0\0\0\0\0"),
        ("vector of objects", b"\x10\x03\x00\x01\x04\x01"),
        ("dictionary", b"\x11\x03\x00\x04\x01\x06\x03v"),
    ];
    for (name, bytes) in rows {
        let message = [b"\x11", bytes, b"\x05"].concat();
        assert_eq!(decode(&message), Ok(vec![Value::Undefined, Value::Null]), "{name}");
        for length in 1..message.len() - 1 {
            assert!(decode(&message[..length]).is_err(), "{name} {length}");
        }
    }
    // 128 bytes of string, the length in four bytes: 7 + 7 + 7 + 8 bits of 128 << 1 | 1.
    let long = [b"\x11\x06\x80\x80\x81\x01", &[b'x'; 128][..], b"\x05"].concat();
    assert_eq!(decode(&long), Ok(vec![Value::Undefined, Value::Null]));
    // Only the class of an externalizable object knows where it ends.
    assert!(matches!(decode(b"\x11\x0a\x07\x01\x01"), Err(AmfError::Marker { .. })));
    assert!(matches!(decode(b"\x11\x0a\x05"), Err(AmfError::Marker { .. })), "traits that never came");
    assert!(matches!(decode(b"\x11\x12"), Err(AmfError::Marker { .. })));
}

#[test]
fn limits_are_reached_and_no_sooner() {
    let nested = |depth: usize| [b"\x0a\0\0\0\x01".repeat(depth), b"\x05".to_vec()].concat();
    assert!(decode(&nested(AMF_DEPTH_MAX)).is_ok());
    assert!(matches!(decode(&nested(AMF_DEPTH_MAX + 1)), Err(AmfError::Depth { .. })));
    assert!(matches!(decode(&nested(100_000)), Err(AmfError::Depth { .. })), "500 KB of nested arrays");
    let nested3 = |depth: usize| [b"\x11".to_vec(), b"\x09\x03\x01".repeat(depth), b"\x01".to_vec()].concat();
    assert!(decode(&nested3(AMF_DEPTH_MAX)).is_ok());
    assert!(matches!(decode(&nested3(100_000)), Err(AmfError::Depth { .. })));

    assert_eq!(decode(&b"\x05".repeat(AMF_VALUES_MAX)).map(|values| values.len()), Ok(AMF_VALUES_MAX));
    assert!(matches!(decode(&b"\x05".repeat(AMF_VALUES_MAX + 1)), Err(AmfError::Values { .. })));
    let array = [b"\x0a\xff\xff\xff\xff".to_vec(), b"\x05".repeat(5_000)].concat();
    assert!(matches!(decode(&array), Err(AmfError::Values { .. })));
    let sealed = [b"\x11\x0a\xff\xff\xff\xf3\x01".to_vec(), b"\x01".repeat(5_000)].concat();
    assert!(matches!(decode(&sealed), Err(AmfError::Values { .. })), "AMF3 object of 2^25 members");

    let key = |length: usize| {
        let name = "k".repeat(length);
        [b"\x03", &(length as u16).to_be_bytes()[..], name.as_bytes(), b"\x05\0\0\x09"].concat()
    };
    assert!(decode(&key(AMF_KEY_BYTES_MAX)).is_ok());
    assert_eq!(decode(&key(AMF_KEY_BYTES_MAX + 1)), Err(AmfError::Length { offset: 3, length: 257 }));
    let long = |length: usize| [b"\x0c", &(length as u32).to_be_bytes()[..], &vec![b'x'; length]].concat();
    assert!(decode(&long(AMF_STRING_BYTES_MAX)).is_ok());
    assert!(matches!(decode(&long(AMF_STRING_BYTES_MAX + 1)), Err(AmfError::Length { length: 65_537, .. })));
    assert!(matches!(decode(b"\x0c\xff\xff\xff\xff"), Err(AmfError::Length { .. })));
    for marker in [4, 14, 18, 0x80, 0xff] {
        assert_eq!(decode(&[marker]), Err(AmfError::Marker { offset: 1, marker }));
    }
}

#[test]
fn numbers_become_integers_only_when_they_are() {
    for (number, expected) in [
        (0.0, Some(0)),
        (1.0, Some(1)),
        (4_294_967_295.0, Some(u32::MAX)),
        (4_294_967_296.0, None),
        (-1.0, None),
        (0.5, None),
        (f64::NAN, None),
        (f64::INFINITY, None),
    ] {
        assert_eq!(Value::Number(number).as_u32(), expected, "{number}");
    }
    assert_eq!(text("1").as_u32(), None);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u32>().prop_map(|number| Value::Number(f64::from(number))),
        any::<bool>().prop_map(Value::Boolean),
        ".{0,40}".prop_map(Value::String),
        Just(Value::Null),
        Just(Value::Undefined),
        Just(Value::Unsupported),
        any::<u16>().prop_map(Value::Reference),
        (any::<i32>(), any::<i16>())
            .prop_map(|(ms, time_zone)| Value::Date { unix_ms: f64::from(ms), time_zone }),
        ".{0,40}".prop_map(Value::XmlDocument),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let pairs = prop::collection::vec(("[a-z]{0,9}", inner.clone()), 0..5);
        prop_oneof![
            pairs.clone().prop_map(Value::Object),
            pairs.clone().prop_map(Value::EcmaArray),
            prop::collection::vec(inner, 0..5).prop_map(Value::StrictArray),
            ("[A-Z]{0,9}", pairs).prop_map(|(class, properties)| Value::TypedObject { class, properties }),
        ]
    })
}

proptest! {
    #[test]
    fn round_trip(values in prop::collection::vec(any_value(), 0..6)) {
        let mut encoded = Vec::new();
        for value in &values {
            encode(value, &mut encoded);
        }
        prop_assert_eq!(decode(&encoded), Ok(values));
    }
}

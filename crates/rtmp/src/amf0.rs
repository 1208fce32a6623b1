//! AMF0 values: what commands and metadata are made of (Action Message Format AMF 0, 2.1 to 2.18).
//!
//! Decoding is bounded in depth, count and length, never allocates from a declared count, and reads strings that
//! are not UTF-8 with replacement characters (old encoders send their code page).

use crate::amf3;
use crate::limits::{AMF_DEPTH_MAX, AMF_KEY_BYTES_MAX, AMF_STRING_BYTES_MAX, AMF_VALUES_MAX};

mod marker {
    pub(super) const NUMBER: u8 = 0;
    pub(super) const BOOLEAN: u8 = 1;
    pub(super) const STRING: u8 = 2;
    pub(super) const OBJECT: u8 = 3;
    pub(super) const NULL: u8 = 5;
    pub(super) const UNDEFINED: u8 = 6;
    pub(super) const REFERENCE: u8 = 7;
    pub(super) const ECMA_ARRAY: u8 = 8;
    pub(super) const OBJECT_END: u8 = 9;
    pub(super) const STRICT_ARRAY: u8 = 10;
    pub(super) const DATE: u8 = 11;
    pub(super) const LONG_STRING: u8 = 12;
    pub(super) const UNSUPPORTED: u8 = 13;
    pub(super) const XML_DOCUMENT: u8 = 15;
    pub(super) const TYPED_OBJECT: u8 = 16;
    pub(super) const AVM_PLUS: u8 = 17;
}

/// Named values in the order they were sent; names may repeat.
pub type Properties = Vec<(String, Value)>;

/// One AMF0 value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// 64-bit floating point; NaN and infinities are legal.
    Number(f64),
    /// Boolean.
    Boolean(bool),
    /// A string, short or long form: the form is chosen by length when it is written.
    String(String),
    /// Anonymous object.
    Object(Properties),
    /// Null.
    Null,
    /// Undefined; also what a value in AMF3 reads as, which is skipped.
    Undefined,
    /// Index of an earlier object of the same message; not resolved.
    Reference(u16),
    /// Associative array. Its declared count is a hint that nobody can rely on, and is not kept.
    EcmaArray(Properties),
    /// Array.
    StrictArray(Vec<Value>),
    /// Milliseconds since 1970 UTC and a time zone that writers leave 0.
    Date {
        /// Milliseconds since 1970-01-01T00:00:00Z.
        unix_ms: f64,
        /// Minutes, reserved.
        time_zone: i16,
    },
    /// The marker for what could not be serialised.
    Unsupported,
    /// XML document as text.
    XmlDocument(String),
    /// Object of a registered class.
    TypedObject {
        /// Class name.
        class: String,
        /// Its properties.
        properties: Properties,
    },
}

/// Why AMF could not be read. `offset` counts from the start of the slice given to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmfError {
    /// The input ends inside a value.
    #[error("byte {offset}: the input ends inside an AMF value")]
    Truncated {
        /// Where more was needed.
        offset: usize,
    },
    /// A type marker that is reserved or unknown.
    #[error("byte {offset}: AMF marker {marker}")]
    Marker {
        /// Of the byte after the marker.
        offset: usize,
        /// The marker.
        marker: u8,
    },
    /// Nested deeper than [`AMF_DEPTH_MAX`].
    #[error("byte {offset}: AMF nested deeper than {AMF_DEPTH_MAX}")]
    Depth {
        /// Where.
        offset: usize,
    },
    /// More than [`AMF_VALUES_MAX`] values.
    #[error("byte {offset}: more than {AMF_VALUES_MAX} AMF values")]
    Values {
        /// Where.
        offset: usize,
    },
    /// A property name above [`AMF_KEY_BYTES_MAX`] or a string above [`AMF_STRING_BYTES_MAX`].
    #[error("byte {offset}: AMF string of {length} bytes")]
    Length {
        /// Of the byte after the length.
        offset: usize,
        /// The declared length, bytes.
        length: usize,
    },
}

impl Value {
    /// A string value.
    pub fn string(text: impl Into<String>) -> Value {
        Value::String(text.into())
    }

    /// An anonymous object.
    pub fn object<const N: usize>(properties: [(&str, Value); N]) -> Value {
        Value::Object(properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A number that is a whole one between 0 and `u32::MAX`; never a rounded one.
    pub fn as_u32(&self) -> Option<u32> {
        let number = self.as_number()?;
        let whole = number as u32; // saturates; NaN becomes 0
        (f64::from(whole) == number).then_some(whole)
    }

    /// The properties of an object, associative array or typed object; empty for any other value.
    pub fn properties(&self) -> &[(String, Value)] {
        match self {
            Value::Object(properties)
            | Value::EcmaArray(properties)
            | Value::TypedObject { properties, .. } => properties,
            _ => &[],
        }
    }

    /// The first property of this name.
    pub fn property(&self, name: &str) -> Option<&Value> {
        self.properties().iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// Reads values one after the other from a slice; all limits count over the whole slice.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    pub(crate) input: &'a [u8],
    pub(crate) position: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `input`.
    pub fn new(input: &'a [u8]) -> Reader<'a> {
        Reader { input, position: 0, values: 0 }
    }

    /// Bytes read so far: where the next value begins.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The next value, or `None` at the end.
    ///
    /// # Errors
    /// [`AmfError`]; the reader is then of no further use.
    pub fn read(&mut self) -> Result<Option<Value>, AmfError> {
        if self.position >= self.input.len() {
            return Ok(None);
        }
        self.value(0).map(Some)
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Result<&'a [u8], AmfError> {
        let truncated = AmfError::Truncated { offset: self.position };
        let end = self.position.checked_add(bytes).ok_or(truncated)?;
        let taken = self.input.get(self.position..end).ok_or(truncated)?;
        self.position = end;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        let truncated = AmfError::Truncated { offset: self.position };
        self.take(N)?.first_chunk::<N>().copied().ok_or(truncated)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, AmfError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16_length(&mut self) -> Result<usize, AmfError> {
        self.array().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    fn u32(&mut self) -> Result<u32, AmfError> {
        self.array().map(u32::from_be_bytes)
    }

    fn f64(&mut self) -> Result<f64, AmfError> {
        self.array().map(f64::from_be_bytes)
    }

    /// Counts one value of any kind against [`AMF_VALUES_MAX`].
    pub(crate) fn count(&mut self) -> Result<(), AmfError> {
        self.values = self.values.saturating_add(1);
        if self.values > AMF_VALUES_MAX {
            return Err(AmfError::Values { offset: self.position });
        }
        Ok(())
    }

    fn text(&mut self, length: usize, max: usize) -> Result<String, AmfError> {
        if length > max {
            return Err(AmfError::Length { offset: self.position, length });
        }
        self.take(length).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn long_text(&mut self) -> Result<String, AmfError> {
        let length = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        self.text(length, AMF_STRING_BYTES_MAX)
    }

    fn value(&mut self, depth: usize) -> Result<Value, AmfError> {
        if depth > AMF_DEPTH_MAX {
            return Err(AmfError::Depth { offset: self.position });
        }
        self.count()?;
        Ok(match self.u8()? {
            marker::NUMBER => Value::Number(self.f64()?),
            marker::BOOLEAN => Value::Boolean(self.u8()? != 0),
            marker::STRING => {
                let length = self.u16_length()?;
                Value::String(self.text(length, AMF_STRING_BYTES_MAX)?)
            }
            marker::OBJECT => Value::Object(self.properties(depth)?),
            marker::NULL => Value::Null,
            marker::UNDEFINED => Value::Undefined,
            marker::REFERENCE => Value::Reference(u16::from_be_bytes(self.array()?)),
            marker::ECMA_ARRAY => {
                self.u32()?;
                Value::EcmaArray(self.properties(depth)?)
            }
            marker::STRICT_ARRAY => {
                let count = self.u32()?;
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(self.value(depth.saturating_add(1))?);
                }
                Value::StrictArray(items)
            }
            marker::DATE => {
                Value::Date { unix_ms: self.f64()?, time_zone: i16::from_be_bytes(self.array()?) }
            }
            marker::LONG_STRING => Value::String(self.long_text()?),
            marker::UNSUPPORTED => Value::Unsupported,
            marker::XML_DOCUMENT => Value::XmlDocument(self.long_text()?),
            marker::TYPED_OBJECT => {
                let length = self.u16_length()?;
                let class = self.text(length, AMF_KEY_BYTES_MAX)?;
                Value::TypedObject { class, properties: self.properties(depth)? }
            }
            marker::AVM_PLUS => {
                amf3::skip_value(self, depth)?;
                Value::Undefined
            }
            marker => return Err(AmfError::Marker { offset: self.position, marker }),
        })
    }

    /// Name and value until the empty name and the end marker.
    fn properties(&mut self, depth: usize) -> Result<Properties, AmfError> {
        let mut properties = Vec::new();
        loop {
            let length = self.u16_length()?;
            if length == 0 && self.input.get(self.position) == Some(&marker::OBJECT_END) {
                self.take(1)?;
                return Ok(properties);
            }
            let name = self.text(length, AMF_KEY_BYTES_MAX)?;
            properties.push((name, self.value(depth.saturating_add(1))?));
        }
    }
}

/// All values of `input`.
///
/// # Errors
/// The first [`AmfError`]; nothing of a broken message is returned.
pub fn decode(input: &[u8]) -> Result<Vec<Value>, AmfError> {
    let mut reader = Reader::new(input);
    let mut values = Vec::new();
    while let Some(value) = reader.read()? {
        values.push(value);
    }
    Ok(values)
}

/// Appends `value`. Names longer than 65,535 bytes are cut there, at a character's boundary.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Number(number) => {
            out.push(marker::NUMBER);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Boolean(boolean) => out.extend_from_slice(&[marker::BOOLEAN, u8::from(*boolean)]),
        Value::String(text) => match u16::try_from(text.len()) {
            Ok(_) => {
                out.push(marker::STRING);
                encode_name(text, out);
            }
            Err(_) => encode_long(marker::LONG_STRING, text, out),
        },
        Value::Object(properties) => {
            out.push(marker::OBJECT);
            encode_properties(properties, out);
        }
        Value::Null => out.push(marker::NULL),
        Value::Undefined => out.push(marker::UNDEFINED),
        Value::Reference(index) => {
            out.push(marker::REFERENCE);
            out.extend_from_slice(&index.to_be_bytes());
        }
        Value::EcmaArray(properties) => {
            out.push(marker::ECMA_ARRAY);
            out.extend_from_slice(&u32::try_from(properties.len()).unwrap_or(u32::MAX).to_be_bytes());
            encode_properties(properties, out);
        }
        Value::StrictArray(items) => {
            let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
            out.push(marker::STRICT_ARRAY);
            out.extend_from_slice(&count.to_be_bytes());
            for item in items.iter().take(usize::try_from(count).unwrap_or(usize::MAX)) {
                encode(item, out);
            }
        }
        Value::Date { unix_ms, time_zone } => {
            out.push(marker::DATE);
            out.extend_from_slice(&unix_ms.to_be_bytes());
            out.extend_from_slice(&time_zone.to_be_bytes());
        }
        Value::Unsupported => out.push(marker::UNSUPPORTED),
        Value::XmlDocument(text) => encode_long(marker::XML_DOCUMENT, text, out),
        Value::TypedObject { class, properties } => {
            out.push(marker::TYPED_OBJECT);
            encode_name(class, out);
            encode_properties(properties, out);
        }
    }
}

/// Appends a string without marker, its length in 16 bits.
fn encode_name(text: &str, out: &mut Vec<u8>) {
    let text = crate::text::cut(text, usize::from(u16::MAX));
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn encode_long(marker: u8, text: &str, out: &mut Vec<u8>) {
    let text = crate::text::cut(text, usize::try_from(u32::MAX).unwrap_or(usize::MAX));
    out.push(marker);
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn encode_properties(properties: &[(String, Value)], out: &mut Vec<u8>) {
    for (name, value) in properties {
        encode_name(name, out);
        encode(value, out);
    }
    out.extend_from_slice(&[0, 0, marker::OBJECT_END]);
}

//! Script data: the name of a data message, with `@setDataFrame` taken off its front.

use bytes::Bytes;
use headwater_codec::Error;
use headwater_media::{MediaTime, Metadata, Timescale};

use crate::reader::Reader;

/// Largest data message, in bytes. Real ones have some hundred; the connection's own limit is the same.
pub const DATA_SIZE_MAX: usize = 256 * 1_024;
/// Longest name of a data message, in bytes; `onMetaData` has ten.
const NAME_SIZE_MAX: usize = 256;

/// AMF0 markers of strings.
const STRING: u8 = 0x02;
const LONG_STRING: u8 = 0x0C;

/// Parses the name of a data message. `None` for `@clearDataFrame`, which takes metadata back and carries none.
pub(crate) fn parse(timestamp_ms: u32, body: Bytes) -> Result<Option<Metadata>, Error> {
    if body.len() > DATA_SIZE_MAX {
        return Err(Error::Limit { what: "data message bytes", count: body.len(), max: DATA_SIZE_MAX });
    }
    let mut reader = Reader::new(body);
    // The AMF3 form (message 15, tag 15) puts one 0 in front of AMF0 values. No data message begins with a number,
    // AMF0's marker 0.
    if reader.peek() == Some(0) {
        reader.u8("format selector")?;
    }
    let mut values = reader.clone().into_rest();
    let mut name = parse_name(&mut reader)?;
    if name == "@clearDataFrame" {
        return Ok(None);
    }
    if name == "@setDataFrame" {
        values = reader.clone().into_rest();
        name = parse_name(&mut reader)?;
    }
    let time = MediaTime::new(i64::from(timestamp_ms), Timescale::MILLIS);
    Ok(Some(Metadata { time, name, amf0: values }))
}

fn parse_name(reader: &mut Reader) -> Result<String, Error> {
    let size = match reader.u8("data message name")? {
        STRING => usize::from(reader.u16("data message name length")?),
        LONG_STRING => usize::try_from(reader.u32("data message name length")?).unwrap_or(usize::MAX),
        marker => return Err(Error::Invalid { field: "data message name", value: u64::from(marker) }),
    };
    if size > NAME_SIZE_MAX {
        return Err(Error::Limit { what: "data message name bytes", count: size, max: NAME_SIZE_MAX });
    }
    let name = reader.take(size, "data message name")?;
    match std::str::from_utf8(&name) {
        Ok(name) => Ok(name.to_owned()),
        Err(error) => Err(Error::Invalid {
            field: "data message name (not UTF-8)",
            value: u64::try_from(error.valid_up_to()).unwrap_or(u64::MAX),
        }),
    }
}

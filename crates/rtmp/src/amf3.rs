//! Skipping one AMF3 value inside an AMF0 message (AMF 3, 3.1 to 3.16; the marker 0x11 switches for one value).
//!
//! `objectEncoding` 0 is negotiated, so only Flash code that ignores the answer sends these, as arguments nobody
//! here reads. Their extent must be known all the same, or the arguments behind them would be lost.

use crate::amf0::{AmfError, Reader};
use crate::limits::AMF_DEPTH_MAX;

/// Sealed member names of a class and whether more may follow them; what a traits reference points to.
#[derive(Debug, Clone, Copy)]
struct Traits {
    sealed: u32,
    dynamic: bool,
}

/// Moves `reader` behind one AMF3 value that begins at its position. Reference tables live for one value.
pub(crate) fn skip_value(reader: &mut Reader<'_>, depth: usize) -> Result<(), AmfError> {
    Skipper { reader, traits: Vec::new() }.value(depth)
}

struct Skipper<'r, 'a> {
    reader: &'r mut Reader<'a>,
    traits: Vec<Traits>,
}

impl Skipper<'_, '_> {
    /// 29 bits in one to four bytes, 7 + 7 + 7 + 8 (AMF 3, 1.3.1).
    fn u29(&mut self) -> Result<u32, AmfError> {
        let mut value = 0_u32;
        for _ in 0..3 {
            let byte = self.reader.u8()?;
            value = value << 7 | u32::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Ok(value << 8 | u32::from(self.reader.u8()?))
    }

    /// A U29 whose low bit says "inline" (the rest is a length or flags) or "reference" (`None`).
    fn inline(&mut self) -> Result<Option<u32>, AmfError> {
        let value = self.u29()?;
        Ok((value & 1 == 1).then_some(value >> 1))
    }

    fn bytes(&mut self, count: u32, width: usize) -> Result<(), AmfError> {
        let truncated = AmfError::Truncated { offset: self.reader.position() };
        let bytes =
            usize::try_from(count).ok().and_then(|count| count.checked_mul(width)).ok_or(truncated)?;
        self.reader.take(bytes).map(|_| ())
    }

    /// A string without marker; returns whether it is the empty one, which ends dynamic members.
    fn string(&mut self) -> Result<bool, AmfError> {
        match self.inline()? {
            None => Ok(false),
            Some(length) => self.bytes(length, 1).map(|()| length == 0),
        }
    }

    fn values(&mut self, count: u32, depth: usize) -> Result<(), AmfError> {
        (0..count).try_for_each(|_| self.value(depth))
    }

    fn dynamic_members(&mut self, depth: usize) -> Result<(), AmfError> {
        while !self.string()? {
            self.value(depth)?;
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), AmfError> {
        if depth > AMF_DEPTH_MAX {
            return Err(AmfError::Depth { offset: self.reader.position() });
        }
        self.reader.count()?;
        let deeper = depth.saturating_add(1);
        match self.reader.u8()? {
            // undefined, null, false, true
            0..=3 => Ok(()),
            // integer
            4 => self.u29().map(|_| ()),
            // double
            5 => self.bytes(1, 8),
            // string, XML document, XML, byte array
            6 | 7 | 11 | 12 => self.string().map(|_| ()),
            // date
            8 => match self.inline()? {
                None => Ok(()),
                Some(_) => self.bytes(1, 8),
            },
            // array: associative part until the empty name, then the dense part
            9 => match self.inline()? {
                None => Ok(()),
                Some(count) => {
                    self.dynamic_members(deeper)?;
                    self.values(count, deeper)
                }
            },
            10 => self.object(deeper),
            // vectors of int, uint and double: fixed flag, then items
            marker @ 13..=15 => match self.inline()? {
                None => Ok(()),
                Some(count) => {
                    self.bytes(1, 1)?;
                    self.bytes(count, if marker == 15 { 8 } else { 4 })
                }
            },
            // vector of objects: fixed flag, type name, then values
            16 => match self.inline()? {
                None => Ok(()),
                Some(count) => {
                    self.bytes(1, 1)?;
                    self.string()?;
                    self.values(count, deeper)
                }
            },
            // dictionary: weak flag, then key and value
            17 => match self.inline()? {
                None => Ok(()),
                Some(count) => {
                    self.bytes(1, 1)?;
                    self.values(count, deeper)?;
                    self.values(count, deeper)
                }
            },
            marker => Err(AmfError::Marker { offset: self.reader.position(), marker }),
        }
    }

    /// Object reference, traits reference or inline traits (AMF 3, 3.12). The flags were shifted by the inline bit.
    fn object(&mut self, depth: usize) -> Result<(), AmfError> {
        let Some(flags) = self.inline()? else { return Ok(()) };
        let unknown = AmfError::Marker { offset: self.reader.position(), marker: 10 };
        let traits = if flags & 1 == 0 {
            let index = usize::try_from(flags >> 1).map_err(|_| unknown)?;
            *self.traits.get(index).ok_or(unknown)?
        } else {
            if flags & 2 != 0 {
                // Externalizable: only its class knows its extent.
                return Err(unknown);
            }
            let traits = Traits { sealed: flags >> 3, dynamic: flags & 4 != 0 };
            self.string()?;
            for _ in 0..traits.sealed {
                self.reader.count()?;
                self.string()?;
            }
            self.traits.push(traits);
            traits
        };
        self.values(traits.sealed, depth)?;
        if traits.dynamic { self.dynamic_members(depth) } else { Ok(()) }
    }
}

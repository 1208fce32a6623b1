//! Taking fields off the front of a message's bytes, each take checked.

use bytes::{Buf, Bytes};
use headwater_codec::Error;

/// The bytes of a message not yet taken. Slices share the message's memory.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    rest: Bytes,
    size: usize,
}

impl Reader {
    pub(crate) fn new(body: Bytes) -> Reader {
        Reader { size: body.len(), rest: body }
    }

    /// The error of a field that is not there.
    pub(crate) fn truncated(&self, field: &'static str) -> Error {
        let read = self.size.saturating_sub(self.rest.len());
        Error::Truncated { field, bit_offset: u64::try_from(read).unwrap_or(u64::MAX).saturating_mul(8) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, Error> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub(crate) fn u24(&mut self, field: &'static str) -> Result<u32, Error> {
        self.array(field).map(|[high, middle, low]| u32::from_be_bytes([0, high, middle, low]))
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, Error> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let array = *self.rest.first_chunk::<N>().ok_or_else(|| self.truncated(field))?;
        self.rest.advance(N);
        Ok(array)
    }

    pub(crate) fn take(&mut self, count: usize, field: &'static str) -> Result<Bytes, Error> {
        if count > self.rest.len() {
            return Err(self.truncated(field));
        }
        Ok(self.rest.split_to(count))
    }

    pub(crate) fn into_rest(self) -> Bytes {
        self.rest
    }
}

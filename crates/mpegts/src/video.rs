//! H.264 access units: from length-prefixed NAL units to the byte stream format, piece by piece.

use bytes::Bytes;
use headwater_media::{NAL_LENGTH_SIZE, VideoCodec, VideoConfig};

use crate::Error;
use crate::records;

/// An access unit may have this many bytes: 4 seconds of a 20 Mbit/s stream in one picture, and no encoder's.
pub const ACCESS_UNIT_SIZE_MAX: usize = 10 << 20;

/// An access unit may have this many NAL units: 4K pictures with one slice per macroblock row have 135.
pub const NAL_UNITS_MAX: usize = 1_024;

/// Annex B start code; four bytes everywhere, where three would do after the first, because it is simplest.
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// `nal_unit_type` values (H.264 table 7-1) that matter here.
const SPS: u8 = 7;
const PPS: u8 = 8;
const AUD: u8 = 9;
const END_OF_SEQUENCE: u8 = 10;
const END_OF_STREAM: u8 = 11;
const FILLER: u8 = 12;
const SPS_EXTENSION: u8 = 13;

/// Access unit delimiter with primary_pic_type 7, "any slices". iOS, QuickTime and older players need one in every
/// access unit.
const DELIMITER: [u8; 6] = [0, 0, 0, 1, 0x09, 0xf0];

/// What the video configuration contributes to the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VideoTrack {
    pub(crate) stream_type: u8,
    /// SPS and PPS of the configuration, in its order.
    parameter_sets: Vec<Bytes>,
    /// Delimiter and parameter sets with their start codes: what an IDR picture begins with.
    opening: Vec<u8>,
}

impl VideoTrack {
    pub(crate) fn new(config: &VideoConfig) -> Result<VideoTrack, Error> {
        let VideoCodec::H264 = config.codec;
        let parameter_sets = records::parameter_sets(&config.record)?;
        let mut opening = DELIMITER.to_vec();
        for set in &parameter_sets {
            opening.extend_from_slice(&START_CODE);
            opening.extend_from_slice(set);
        }
        Ok(VideoTrack { stream_type: 0x1b, parameter_sets, opening })
    }

    /// The pieces of an access unit, checked.
    ///
    /// # Errors
    /// [`Error::NalLength`], [`Error::NalUnitsTooMany`], [`Error::AccessUnitEmpty`], [`Error::AccessUnitTooLong`].
    pub(crate) fn access_unit<'a>(&'a self, data: &'a [u8], idr: bool) -> Result<AccessUnit<'a>, Error> {
        if data.len() > ACCESS_UNIT_SIZE_MAX {
            return Err(Error::AccessUnitTooLong(data.len()));
        }
        let opening = if idr { &self.opening } else { DELIMITER.as_slice() };
        let units = NalUnits { rest: data, offset: 0, known: if idr { &self.parameter_sets } else { &[] } };
        let mut count = 0_usize;
        let mut size = 0_usize;
        for unit in units.clone() {
            count += 1;
            size += START_CODE.len() + unit?.len();
            if count > NAL_UNITS_MAX {
                return Err(Error::NalUnitsTooMany);
            }
        }
        if count == 0 {
            return Err(Error::AccessUnitEmpty);
        }
        Ok(AccessUnit { opening, units, size: size + opening.len() })
    }
}

/// An access unit in the byte stream format, as a list of slices.
#[derive(Debug, Clone)]
pub(crate) struct AccessUnit<'a> {
    opening: &'a [u8],
    units: NalUnits<'a>,
    /// Bytes in all pieces together.
    pub(crate) size: usize,
}

impl AccessUnit<'_> {
    /// Hands every piece on, in order.
    pub(crate) fn for_each_piece(self, mut piece: impl FnMut(&[u8])) {
        piece(self.opening);
        // The lengths were checked when the access unit was made.
        for unit in self.units.map_while(Result::ok) {
            piece(&START_CODE);
            piece(unit);
        }
    }
}

/// The NAL units of a sample that are written: without delimiters, ends, filler (mpegts wants them nowhere or writes
/// its own), without trailing zero bytes, without the parameter sets that the opening has just given.
#[derive(Debug, Clone)]
struct NalUnits<'a> {
    rest: &'a [u8],
    offset: usize,
    /// Parameter sets that need no repetition. Emptied by the first different one: after it, an equal one is a change
    /// back.
    known: &'a [Bytes],
}

impl<'a> NalUnits<'a> {
    /// The next NAL unit as it is in the sample.
    fn next_raw(&mut self) -> Option<Result<&'a [u8], Error>> {
        if self.rest.is_empty() {
            return None;
        }
        let offset = self.offset;
        let Some((length, after)) = self.rest.split_first_chunk::<NAL_LENGTH_SIZE>() else {
            let available = self.rest.len();
            self.rest = &[];
            return Some(Err(Error::NalLength { offset, claimed: NAL_LENGTH_SIZE, available }));
        };
        let claimed = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((unit, rest)) = after.split_at_checked(claimed) else {
            self.rest = &[];
            return Some(Err(Error::NalLength { offset, claimed, available: after.len() }));
        };
        self.rest = rest;
        self.offset += NAL_LENGTH_SIZE + claimed;
        Some(Ok(unit))
    }
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = Result<&'a [u8], Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let unit = match self.next_raw()? {
                Ok(unit) => without_trailing_zeros(unit),
                Err(error) => return Some(Err(error)),
            };
            let Some(first) = unit.first() else { continue };
            match first & 0x1f {
                AUD | END_OF_SEQUENCE | END_OF_STREAM | FILLER => {}
                SPS | PPS | SPS_EXTENSION if self.known.iter().any(|set| set == unit) => {}
                SPS | PPS | SPS_EXTENSION => {
                    self.known = &[];
                    return Some(Ok(unit));
                }
                _ => return Some(Ok(unit)),
            }
        }
    }
}

/// H.264 7.4.1: a NAL unit never ends in a zero byte; in the byte stream format they would read as padding.
fn without_trailing_zeros(mut unit: &[u8]) -> &[u8] {
    while let [rest @ .., 0] = unit {
        unit = rest;
    }
    unit
}

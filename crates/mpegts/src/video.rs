//! H.264 access units: from length-prefixed NAL units to the byte stream format, piece by piece.

use headwater_codec::h264::{AvcConfig, LengthSize, NAL_UNITS_MAX, NalType, NalUnits};
use headwater_media::{VideoCodec, VideoConfig};

use crate::Error;

/// An access unit may have this many bytes: 4 seconds of a 20 Mbit/s stream in one picture, and no encoder's.
pub const ACCESS_UNIT_SIZE_MAX: usize = 10 << 20;

/// Annex B start code; four bytes everywhere, where three would do after the first, because it is simplest.
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Access unit delimiter with primary_pic_type 7, "any slices". iOS, QuickTime and older players need one in every
/// access unit.
const DELIMITER: [u8; 6] = [0, 0, 0, 1, 0x09, 0xf0];

/// What the video configuration contributes to the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VideoTrack {
    pub(crate) stream_type: u8,
    config: AvcConfig,
    /// Delimiter and parameter sets with their start codes: what an IDR picture begins with.
    opening: Vec<u8>,
}

impl VideoTrack {
    pub(crate) fn new(config: &VideoConfig) -> Result<VideoTrack, Error> {
        let VideoCodec::H264 = config.codec;
        let record = AvcConfig::parse(&config.record).map_err(Error::VideoRecord)?;
        let mut opening = DELIMITER.to_vec();
        // H.264 7.4.1.2.3: SPS, what extends it, PPS.
        for set in record.sps().iter().chain(record.sps_extensions()).chain(record.pps()) {
            opening.extend_from_slice(&START_CODE);
            opening.extend_from_slice(set);
        }
        Ok(VideoTrack { stream_type: 0x1b, config: record, opening })
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
        let units =
            WrittenUnits { units: NalUnits::new(data, LengthSize::Four), known: idr.then_some(&self.config) };
        let mut count = 0_usize;
        let mut size = 0_usize;
        for unit in units.clone() {
            count += 1;
            size += START_CODE.len() + unit.map_err(Error::NalLength)?.len();
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
    units: WrittenUnits<'a>,
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
struct WrittenUnits<'a> {
    units: NalUnits<'a>,
    /// Whose parameter sets need no repetition. Nobody's after the first different one: then an equal one is a change
    /// back.
    known: Option<&'a AvcConfig>,
}

impl<'a> Iterator for WrittenUnits<'a> {
    type Item = Result<&'a [u8], headwater_codec::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let unit = match self.units.next()? {
                Ok(unit) => without_trailing_zeros(unit),
                Err(error) => return Some(Err(error)),
            };
            match NalType::of(unit) {
                None
                | Some(
                    NalType::ACCESS_UNIT_DELIMITER
                    | NalType::END_OF_SEQUENCE
                    | NalType::END_OF_STREAM
                    | NalType::FILLER,
                ) => {}
                Some(NalType::SPS | NalType::PPS | NalType::SPS_EXTENSION) => {
                    if self.known.is_none_or(|config| !config.contains(unit)) {
                        self.known = None;
                        return Some(Ok(unit));
                    }
                }
                Some(_) => return Some(Ok(unit)),
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

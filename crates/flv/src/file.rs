//! FLV files and streams (FLV E.2 to E.4.1): the header and the tags, read from memory and written to it.

use std::fmt;

use bytes::Bytes;

use crate::reader::Reader;

/// Size of the file header, before the first PreviousTagSize.
const HEADER_SIZE: u32 = 9;
/// Size of a tag's header, which PreviousTagSize includes.
const TAG_HEADER_SIZE: u32 = 11;
/// Largest tag body: DataSize has 24 bits.
pub const TAG_BODY_SIZE_MAX: usize = 0x00FF_FFFF;

/// What a tag carries; the value is the tag type, which is also the RTMP message type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TagKind {
    /// Audio, type 8.
    Audio,
    /// Video, type 9.
    Video,
    /// Script data, type 18 (and 15, its AMF3 form).
    Data,
}

impl fmt::Display for TagKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TagKind::Audio => "audio",
            TagKind::Video => "video",
            TagKind::Data => "data",
        })
    }
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// What it carries.
    pub kind: TagKind,
    /// Milliseconds modulo 2^32.
    pub timestamp_ms: u32,
    /// The body, as an RTMP message has it too; shares the file's memory.
    pub body: Bytes,
}

/// Why a file could not be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The first bytes are not `FLV`, version 1, and a header size that fits.
    #[error("not an FLV file")]
    NotFlv,
    /// The file ends inside a tag.
    #[error("the tag at byte {offset} is cut short")]
    TruncatedTag {
        /// Where the tag begins.
        offset: usize,
    },
    /// The tag is encrypted (its filter bit is set).
    #[error("the tag at byte {offset} is encrypted")]
    Encrypted {
        /// Where the tag begins.
        offset: usize,
    },
}

/// Iterates the tags of an FLV file held in memory; tags of unknown type are passed over. Ends after the first error.
#[derive(Debug, Clone)]
pub struct FlvReader {
    rest: Reader,
    offset: usize,
}

impl FlvReader {
    /// Reads the file header.
    ///
    /// # Errors
    /// [`FileError::NotFlv`].
    pub fn new(file: Bytes) -> Result<FlvReader, FileError> {
        let mut rest = Reader::new(file);
        let header = rest.array::<5>("FLV header").map_err(|_| FileError::NotFlv)?;
        let data_offset = rest.u32("DataOffset").map_err(|_| FileError::NotFlv)?;
        if !header.starts_with(b"FLV\x01") || data_offset < HEADER_SIZE {
            return Err(FileError::NotFlv);
        }
        // A longer header, and PreviousTagSize0.
        let skip = data_offset.saturating_sub(HEADER_SIZE).saturating_add(4);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        rest.take(skip, "PreviousTagSize0").map_err(|_| FileError::NotFlv)?;
        Ok(FlvReader { rest, offset: skip.saturating_add(9) })
    }

    fn tag(&mut self) -> Result<Option<Tag>, headwater_codec::Error> {
        let tag_type = self.rest.u8("TagType")?;
        let size = self.rest.u24("DataSize")?;
        let time = self.rest.u24("Timestamp")?;
        // The extension byte holds bits 31 to 24.
        let time_high = self.rest.u8("TimestampExtended")?;
        self.rest.u24("StreamID")?;
        let body = self.rest.take(usize::try_from(size).unwrap_or(usize::MAX), "Data")?;
        // The last PreviousTagSize is missing from files whose writer was cut off; it says nothing new anyway.
        let _ = self.rest.u32("PreviousTagSize");
        let size = usize::try_from(size.saturating_add(TAG_HEADER_SIZE + 4)).unwrap_or(usize::MAX);
        self.offset = self.offset.saturating_add(size);
        let kind = match tag_type & 0x1F {
            8 => TagKind::Audio,
            9 => TagKind::Video,
            15 | 18 => TagKind::Data,
            _ => return Ok(None),
        };
        Ok(Some(Tag { kind, timestamp_ms: (u32::from(time_high) << 24) | time, body }))
    }
}

impl Iterator for FlvReader {
    type Item = Result<Tag, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let offset = self.offset;
            let encrypted = self.rest.peek()? & 0x20 != 0;
            let tag = if encrypted {
                Err(FileError::Encrypted { offset })
            } else {
                self.tag().map_err(|_| FileError::TruncatedTag { offset })
            };
            match tag {
                Ok(Some(tag)) => return Some(Ok(tag)),
                Ok(None) => {}
                Err(error) => {
                    self.rest = Reader::new(Bytes::new());
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Appends a file header that announces the given tracks, and PreviousTagSize0.
pub fn write_header(out: &mut Vec<u8>, has_audio: bool, has_video: bool) {
    let flags = (u8::from(has_audio) << 2) | u8::from(has_video);
    out.extend_from_slice(&[b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]);
}

/// Appends a tag and its PreviousTagSize.
///
/// # Errors
/// [`headwater_codec::Error::Limit`] when the body exceeds [`TAG_BODY_SIZE_MAX`]; nothing is written then.
pub fn write_tag(
    out: &mut Vec<u8>,
    kind: TagKind,
    timestamp_ms: u32,
    body: &[u8],
) -> Result<(), headwater_codec::Error> {
    write_tag_of(out, kind, timestamp_ms, &[body])
}

/// As [`write_tag`], the body in pieces that follow one another.
///
/// # Errors
/// As [`write_tag`].
pub fn write_tag_of(
    out: &mut Vec<u8>,
    kind: TagKind,
    timestamp_ms: u32,
    body: &[&[u8]],
) -> Result<(), headwater_codec::Error> {
    let length = body.iter().fold(0_usize, |sum, piece| sum.saturating_add(piece.len()));
    let size = u32::try_from(length).ok().filter(|_| length <= TAG_BODY_SIZE_MAX);
    let size = size.ok_or(headwater_codec::Error::Limit {
        what: "FLV tag body bytes",
        count: length,
        max: TAG_BODY_SIZE_MAX,
    })?;
    let tag_type = match kind {
        TagKind::Audio => 8,
        TagKind::Video => 9,
        TagKind::Data => 18,
    };
    let [_, size_bytes @ ..] = size.to_be_bytes();
    let [time_high, time_bytes @ ..] = timestamp_ms.to_be_bytes();
    out.reserve(length.saturating_add(11 + 4));
    out.push(tag_type);
    out.extend_from_slice(&size_bytes);
    out.extend_from_slice(&time_bytes);
    out.extend_from_slice(&[time_high, 0, 0, 0]);
    for piece in body {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(&size.saturating_add(TAG_HEADER_SIZE).to_be_bytes());
    Ok(())
}

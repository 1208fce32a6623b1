//! ID3v2 tags as timed metadata (id3.org, ID3v2.4.0): what players of HLS hand to the page or the app.

use crate::Error;

/// Longest tag, in bytes. Players get it in one piece, and real ones have some hundred.
pub const TAG_SIZE_MAX: usize = 16 << 10;

/// "ID3", version, flags, and the size in four bytes of seven bits.
const HEADER_SIZE: usize = 10;
/// Frame id, size, flags.
const FRAME_HEADER_SIZE: usize = 10;
/// Text is UTF-8, ended by one zero byte where something follows.
const UTF_8: u8 = 3;

/// A tag of version 2.4 with one TXXX frame (4.2.6): text with a description, both in UTF-8.
///
/// # Errors
/// [`Error::Limit`] above [`TAG_SIZE_MAX`]; [`Error::Invalid`] for a description with a zero byte, which would end it.
pub fn text(description: &str, value: &str) -> Result<Vec<u8>, Error> {
    if description.contains('\0') {
        return Err(Error::Invalid { field: "description", value: 0 });
    }
    let body = description.len().saturating_add(value.len()).saturating_add(2);
    let frame = body.saturating_add(FRAME_HEADER_SIZE);
    let size = frame.saturating_add(HEADER_SIZE);
    if size > TAG_SIZE_MAX {
        return Err(Error::Limit { what: "ID3 tag bytes", count: size, max: TAG_SIZE_MAX });
    }
    let mut tag = Vec::with_capacity(size);
    tag.extend_from_slice(b"ID3\x04\0\0");
    tag.extend_from_slice(&syncsafe(frame));
    tag.extend_from_slice(b"TXXX");
    tag.extend_from_slice(&syncsafe(body));
    tag.extend_from_slice(&[0, 0, UTF_8]);
    tag.extend_from_slice(description.as_bytes());
    tag.push(0);
    tag.extend_from_slice(value.as_bytes());
    Ok(tag)
}

/// Checks that `tag` is one tag of version 2.3 or 2.4 from end to end. What its frames say is left to whoever reads them.
///
/// # Errors
/// [`Error::Truncated`], [`Error::Invalid`], [`Error::Unsupported`] for other versions, [`Error::Limit`].
pub fn check(tag: &[u8]) -> Result<(), Error> {
    if tag.len() > TAG_SIZE_MAX {
        return Err(Error::Limit { what: "ID3 tag bytes", count: tag.len(), max: TAG_SIZE_MAX });
    }
    let bit_offset = u64::try_from(tag.len()).unwrap_or(u64::MAX).saturating_mul(8);
    let Some((header, body)) = tag.split_first_chunk::<HEADER_SIZE>() else {
        return Err(Error::Truncated { field: "ID3 header", bit_offset });
    };
    let [b'I', b'D', b'3', version, _revision, flags, size @ ..] = *header else {
        return Err(Error::Missing("ID3 identifier"));
    };
    if !(3..=4).contains(&version) {
        return Err(Error::Unsupported { what: "ID3 version 2.", value: u64::from(version) });
    }
    if size.iter().any(|byte| *byte > 0x7f) {
        return Err(Error::Invalid { field: "ID3 size", value: u64::from(u32::from_be_bytes(size)) });
    }
    let size = size.iter().fold(0_usize, |size, byte| size << 7 | usize::from(*byte));
    // A footer (3.4) is a copy of the header behind it all, which the size leaves out.
    let footer = if version == 4 && flags & 0x10 != 0 { HEADER_SIZE } else { 0 };
    if size.saturating_add(footer) == body.len() {
        Ok(())
    } else {
        Err(Error::Invalid { field: "ID3 size", value: u64::try_from(size).unwrap_or(u64::MAX) })
    }
}

/// 28 bits in four bytes, seven each (6.2).
fn syncsafe(size: usize) -> [u8; 4] {
    let size = u32::try_from(size).unwrap_or(0x0fff_ffff) & 0x0fff_ffff;
    let [a, b, c, d] = [size >> 21, size >> 14, size >> 7, size].map(|bits| (bits & 0x7f).to_be_bytes()[3]);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_by_the_byte() {
        let tag = text("now", "ü").unwrap();
        assert_eq!(tag, b"ID3\x04\0\0\0\0\0\x11TXXX\0\0\0\x07\0\0\x03now\0\xc3\xbc");
        assert_eq!(check(&tag), Ok(()));
        // 200 bytes need the second seven bits.
        let tag = text("", &"x".repeat(198)).unwrap();
        assert_eq!(tag.get(6..10), Some([0, 0, 1, 0x52].as_slice()));
        assert_eq!(check(&tag), Ok(()));
    }

    #[test]
    fn what_is_no_tag() {
        let whole = text("a", "b").unwrap();
        for cut in 0..whole.len() {
            assert!(check(&whole[..cut]).is_err(), "{cut}");
        }
        let with = |at: usize, byte: u8| {
            let mut tag = whole.clone();
            tag[at] = byte;
            check(&tag)
        };
        assert_eq!(with(0, b'X'), Err(Error::Missing("ID3 identifier")));
        assert!(matches!(with(3, 2), Err(Error::Unsupported { value: 2, .. })));
        assert!(matches!(with(9, 0x80), Err(Error::Invalid { .. })));
        assert!(matches!(with(9, 1), Err(Error::Invalid { .. })));
        assert!(with(3, 3).is_ok());
        // With a footer ten bytes more are due.
        assert!(with(5, 0x10).is_err());
        let mut footed = whole.clone();
        footed[5] = 0x10;
        footed.extend_from_slice(b"3DI\x04\0\x10\0\0\0\x0f");
        assert_eq!(check(&footed), Ok(()));
        assert!(matches!(text("", &"x".repeat(TAG_SIZE_MAX)), Err(Error::Limit { .. })));
        assert!(matches!(text("a\0b", ""), Err(Error::Invalid { .. })));
        assert!(matches!(check(&vec![0; TAG_SIZE_MAX + 1]), Err(Error::Limit { .. })));
    }
}

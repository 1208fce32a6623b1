//! The box syntax of ISO/IEC 14496-12 4.2: a size, a type, and what is inside.

/// Appends a box: `body` appends what is inside.
pub(crate) fn write_box(out: &mut Vec<u8>, kind: [u8; 4], body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&kind);
    body(out);
    // Only boxes of init segments are written this way; the records in them are held to 64 KiB each, far from 2^32.
    let size = u32::try_from(out.len().saturating_sub(start)).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start..).and_then(|whole| whole.first_chunk_mut()) {
        *field = size.to_be_bytes();
    }
}

/// Appends a box with version and 24 bits of flags in front of its fields.
pub(crate) fn write_full_box(
    out: &mut Vec<u8>,
    kind: [u8; 4],
    version: u8,
    flags: u32,
    body: impl FnOnce(&mut Vec<u8>),
) {
    write_box(out, kind, |out| {
        put_u32(out, version_and_flags(version, flags));
        body(out);
    });
}

/// The word that a full box begins with.
pub(crate) const fn version_and_flags(version: u8, flags: u32) -> u32 {
    u32::from_be_bytes([version, 0, 0, 0]) | (flags & 0x00ff_ffff)
}

pub(crate) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_zeros(out: &mut Vec<u8>, count: usize) {
    out.resize(out.len().saturating_add(count), 0);
}

/// A box that was read.
pub(crate) struct Box<'a> {
    /// Where it begins in what was read.
    pub start: usize,
    pub kind: [u8; 4],
    /// What is inside.
    pub body: &'a [u8],
}

/// The boxes of `bytes`, up to the first that is cut short or has a size of more than 32 bits: what is written here has none.
pub(crate) fn boxes(bytes: &[u8]) -> impl Iterator<Item = Box<'_>> {
    let mut start = 0_usize;
    std::iter::from_fn(move || {
        let size = usize::try_from(word(bytes, start)?).ok()?;
        let whole = bytes.get(start..start.checked_add(size)?)?;
        let (header, body) = whole.split_first_chunk::<8>()?;
        let [_, _, _, _, kind @ ..] = *header;
        let found = Box { start, kind, body };
        start = start.checked_add(size)?;
        Some(found)
    })
}

/// The 32-bit word at `at`.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

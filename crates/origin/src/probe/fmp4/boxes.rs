//! The boxes of ISO/IEC 14496-12 in a stranger's bytes: walked here level by level, and only leaves handed to `mp4-atom`.
//!
//! mp4-atom 0.17 goes into boxes within boxes by recursion, as deep as the bytes say, and eight bytes buy a level; a
//! stack that overflows can't be caught. Leaves end at their own size, and theirs is bounded here.

use headwater_manifest::hls::check::excerpt;
use mp4_atom::{Decode, Error};

use super::super::follow::second_reader;

/// Boxes of one level: an hour of chunks of one frame would be more, a segment never is.
const BOXES_MAX: usize = 65_536;
/// Largest leaf of an init segment: three parameter sets fit a hundred times over.
pub(super) const LEAF_BYTES_MAX: usize = 65_536;
/// Largest esds: descriptors within descriptors are followed by recursion too, and three bytes buy a level.
pub(super) const ESDS_BYTES_MAX: usize = 1_024;
/// Largest trun: 65,536 samples that say everything; mp4-atom makes 40 bytes of each.
pub(super) const TRUN_BYTES_MAX: usize = 1 << 20;

/// A box.
#[derive(Debug, Clone, Copy)]
pub(super) struct Atom<'a> {
    pub(super) kind: [u8; 4],
    /// Where it starts in what was walked.
    pub(super) at: usize,
    /// With its header.
    pub(super) whole: &'a [u8],
    pub(super) body: &'a [u8],
}

impl Atom<'_> {
    /// Its kind, for a message.
    pub(super) fn name(&self) -> String {
        self.kind.escape_ascii().to_string()
    }

    /// Reads it as `A`, which holds no other boxes.
    ///
    /// # Errors
    /// What is wrong with it, for a message.
    pub(super) fn leaf<A: Decode>(&self, bytes_max: usize) -> Result<A, String> {
        if self.whole.len() > bytes_max {
            return Err(format!("{} has {} bytes", self.name(), self.whole.len()));
        }
        match second_reader(|| A::decode(&mut &*self.whole)) {
            Some(Ok(leaf)) => Ok(leaf),
            Some(Err(
                Error::OverDecode(_) | Error::UnderDecode(_) | Error::OutOfBounds | Error::ShortRead,
            )) => Err(format!("the size of {} does not fit what is in it", self.name())),
            Some(Err(error)) => {
                Err(format!("{} can't be read: {}", self.name(), excerpt(&error.to_string())))
            }
            None => Err(format!("{} makes mp4-atom give up", self.name())),
        }
    }
}

/// The boxes of one level.
#[derive(Debug, Default)]
pub(super) struct Level<'a> {
    pub(super) boxes: Vec<Atom<'a>>,
    /// Bytes at the end that are no whole box.
    pub(super) left_over: usize,
}

impl<'a> Level<'a> {
    /// The boxes that `bytes` consist of (14496-12 4.2).
    pub(super) fn read(bytes: &'a [u8]) -> Level<'a> {
        let mut level = Level::default();
        let mut rest = bytes;
        while !rest.is_empty() && level.boxes.len() < BOXES_MAX {
            let Some((atom, after)) = first(rest, bytes.len().saturating_sub(rest.len())) else { break };
            level.boxes.push(atom);
            rest = after;
        }
        level.left_over = rest.len();
        level
    }

    pub(super) fn all(&self, kind: [u8; 4]) -> impl Iterator<Item = &Atom<'a>> {
        self.boxes.iter().filter(move |atom| atom.kind == kind)
    }

    pub(super) fn first(&self, kind: [u8; 4]) -> Option<&Atom<'a>> {
        self.all(kind).next()
    }

    /// The level within the first box of `kind`.
    pub(super) fn within(&self, kind: [u8; 4]) -> Option<Level<'a>> {
        self.first(kind).map(|atom| Level::read(atom.body))
    }
}

fn first(bytes: &[u8], at: usize) -> Option<(Atom<'_>, &[u8])> {
    let (size, after_size) = bytes.split_first_chunk::<4>()?;
    let (kind, after_kind) = after_size.split_first_chunk::<4>()?;
    let (header, size) = match u32::from_be_bytes(*size) {
        // To the end of the file.
        0 => (8, bytes.len()),
        1 => (16, usize::try_from(u64::from_be_bytes(*after_kind.first_chunk::<8>()?)).ok()?),
        size => (8, usize::try_from(size).ok()?),
    };
    let (whole, after) = bytes.split_at_checked(size)?;
    Some((Atom { kind: *kind, at, whole, body: whole.get(header..)? }, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        for (name, bytes, expected, left_over) in [
            ("nothing", &b""[..], &[][..], 0),
            ("two", &b"\0\0\0\x09aaaax\0\0\0\x08bbbb"[..], &["aaaa 0 1", "bbbb 9 0"][..], 0),
            ("64 bits", &b"\0\0\0\x01aaaa\0\0\0\0\0\0\0\x11x\0"[..], &["aaaa 0 1"][..], 1),
            ("to the end", &b"\0\0\0\x08aaaa\0\0\0\0bbbbxyz"[..], &["aaaa 0 0", "bbbb 8 3"][..], 0),
            ("smaller than its header", &b"\0\0\0\x07aaaa"[..], &[][..], 8),
            ("64 bits, smaller than its header", &b"\0\0\0\x01aaaa\0\0\0\0\0\0\0\x0f"[..], &[][..], 16),
            ("larger than the file", &b"\0\0\0\x0aaaaax"[..], &[][..], 9),
            ("larger than memory", &b"\0\0\0\x01aaaa\xff\xff\xff\xff\xff\xff\xff\xff"[..], &[][..], 16),
            ("no header", &b"\0\0\0\x08aaa"[..], &[][..], 7),
        ] {
            let level = Level::read(bytes);
            let shown: Vec<String> = level
                .boxes
                .iter()
                .map(|atom| format!("{} {} {}", atom.name(), atom.at, atom.body.len()))
                .collect();
            assert_eq!(
                (shown, level.left_over),
                (expected.iter().map(|s| (*s).to_owned()).collect(), left_over),
                "{name}"
            );
        }
    }

    #[test]
    fn a_leaf_is_bounded() {
        let mut bytes = b"\0\x01\0\x10ftyp".to_vec();
        bytes.resize(65_552, 0);
        let level = Level::read(&bytes);
        let read = level.boxes[0].leaf::<mp4_atom::Ftyp>(LEAF_BYTES_MAX);
        assert_eq!(read.unwrap_err(), "ftyp has 65552 bytes");
    }
}

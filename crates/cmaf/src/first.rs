//! The first sample of a chunk, read back: what a keyframe's chunk shows at once.

use crate::boxes::{Box, boxes, word};

/// The data of a chunk's first sample: of a chunk that begins with a keyframe, that keyframe.
///
/// `chunk` is what [`crate::ChunkWriter`] wrote, with or without boxes in front of its `moof`. `None` where it can't be read so.
pub fn first_sample(chunk: &[u8]) -> Option<&[u8]> {
    let moof = boxes(chunk).find(|found| found.kind == *b"moof")?;
    let traf = boxes(moof.body).find(|found| found.kind == *b"traf")?;
    let inside = |kind: [u8; 4]| boxes(traf.body).find(|found| found.kind == kind);
    let (tfhd, trun) = (inside(*b"tfhd")?, inside(*b"trun")?);
    let size = size_of_first(&trun).or_else(|| default_size(&tfhd))?;
    // 14496-12 8.8.8: counted from the moof's first byte, by `default-base-is-moof`.
    let offset = flags(&trun).filter(|flags| flags & 0x001 != 0).and_then(|_| word(trun.body, 8))?;
    let start = moof.start.checked_add(usize::try_from(offset).ok()?)?;
    let end = start.checked_add(usize::try_from(size).ok()?)?;
    chunk.get(start..end).filter(|data| !data.is_empty())
}

fn flags(found: &Box<'_>) -> Option<u32> {
    Some(word(found.body, 0)? & 0x00ff_ffff)
}

/// Where `flags` say that a field is there, it takes so many bytes.
fn fields(flags: u32, bits: &[u32], bytes: usize) -> usize {
    bits.iter().filter(|bit| flags & *bit != 0).count() * bytes
}

/// `tfhd`: flags, track id, then what is there of base offset, description index and the defaults of duration and size.
fn default_size(tfhd: &Box<'_>) -> Option<u32> {
    let flags = flags(tfhd).filter(|flags| flags & 0x10 != 0)?;
    word(tfhd.body, 8 + fields(flags, &[0x01], 8) + fields(flags, &[0x02, 0x08], 4))
}

/// `trun`: flags, count, then what is there of data offset and first flags, then each sample's fields.
fn size_of_first(trun: &Box<'_>) -> Option<u32> {
    let flags = flags(trun).filter(|flags| flags & 0x200 != 0)?;
    word(trun.body, 8 + fields(flags, &[0x001, 0x004, 0x100], 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChunkSample, ChunkWriter};

    fn chunk(samples: &[(u32, &[u8], bool)]) -> Vec<u8> {
        let samples: Vec<_> = samples
            .iter()
            .map(|(duration, data, sync)| ChunkSample {
                duration: *duration,
                composition_time_offset: 0,
                sync: *sync,
                disposable: false,
                data: *data,
            })
            .collect();
        let mut out = Vec::new();
        ChunkWriter::new().write(&mut out, 7, &samples).unwrap();
        out
    }

    #[test]
    fn the_first_sample_of_every_form() {
        for (name, samples) in [
            ("one sample, its size in tfhd", &[(3_000, &b"abc"[..], true)][..]),
            ("equal sizes", &[(3_000, b"abc", true), (3_000, b"def", false)]),
            ("sizes differ", &[(3_000, b"abc", true), (3_000, b"d", false)]),
            ("durations and sizes differ", &[(3_000, b"abc", true), (3_001, b"d", false)]),
            (
                "flags for each",
                &[(3_000, b"abc", true), (3_000, b"d", false), (3_000, b"e", true), (1, b"f", false)],
            ),
        ] {
            let plain = chunk(samples);
            assert_eq!(first_sample(&plain), Some(&b"abc"[..]), "{name}");
            let preceded = [&b"\0\0\0\x0cstypmsdh"[..], &plain].concat();
            assert_eq!(first_sample(&preceded), Some(&b"abc"[..]), "{name}, behind a styp");
            for len in 0..plain.len() {
                let cut = first_sample(&plain[..len]);
                assert!(cut.is_none_or(|data| data == b"abc"), "{name}, cut at {len}");
            }
        }
    }

    #[test]
    fn what_is_no_chunk_has_none() {
        let good = chunk(&[(3_000, b"abc", true)]);
        for (name, at, byte) in [
            ("a box that is longer than everything", 3, 0xff),
            ("a box of no size", 3, 0),
            ("a run without a data offset", 8 + 16 + 8 + 28 + 20 + 11, 0),
        ] {
            let mut broken = good.clone();
            broken[at] = byte;
            assert_eq!(first_sample(&broken), None, "{name}");
        }
        assert_eq!(first_sample(b""), None);
    }
}

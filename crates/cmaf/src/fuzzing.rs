//! Bodies of the fuzz targets, run over their seeds by the ordinary tests.
#![allow(clippy::expect_used, clippy::panic, reason = "what a fuzz body finds, it tells by a panic")]

use crate::{CHUNK_SAMPLES_MAX, ChunkSample, ChunkWriter, Error, first_sample};

/// Any samples as one chunk, read back by a small reader of its own; the tests beside it ask `mp4-atom` as well.
///
/// The input is 8 bytes of decode time, then samples of 11 bytes each: duration, composition time offset, flags, size of the
/// data (16 bits); the data is the sample's number over and over. What is refused must leave the output alone, and for the
/// reason that the input gives.
///
/// # Panics
/// When what comes out is not what went in.
pub fn cmaf_chunk(data: &[u8]) {
    if let Some((base, samples, chunk)) = written(data) {
        let first = samples.first().map(|sample| sample.data.as_slice());
        assert_eq!(first_sample(&chunk), first, "the first sample is another one");
        let read = read_back(&chunk).expect("a chunk by the letter");
        assert_eq!(read, (base, samples), "what was read is not what was written");
    }
}

/// The script's decode time and samples, and the chunk made of them; nothing when it is refused.
#[expect(clippy::type_complexity, reason = "a test's own")]
pub(crate) fn written(data: &[u8]) -> Option<(u64, Vec<ChunkSample<Vec<u8>>>, Vec<u8>)> {
    let (base, rest) = data.split_first_chunk::<8>()?;
    let base = u64::from_be_bytes(*base);
    let mut samples = Vec::new();
    let mut rest = rest;
    while let Some(([d0, d1, d2, d3, c0, c1, c2, c3, flags, s0, s1], after)) = rest.split_first_chunk::<11>()
    {
        let number = u8::try_from(samples.len() % 256).unwrap_or(0);
        samples.push(ChunkSample {
            duration: u32::from_be_bytes([*d0, *d1, *d2, *d3]),
            composition_time_offset: i32::from_be_bytes([*c0, *c1, *c2, *c3]),
            sync: flags & 1 != 0,
            // A picture that all others may refer to is not disposable; the box has no room to say both.
            disposable: flags & 3 == 2,
            data: vec![number; usize::from(u16::from_be_bytes([*s0, *s1]))],
        });
        rest = after;
    }
    let end = samples.iter().try_fold(base, |end, sample| end.checked_add(u64::from(sample.duration)));
    let mut out = vec![0xaa; 3];
    let mut writer = ChunkWriter::new();
    match writer.write(&mut out, base, &samples) {
        Ok(()) => {
            assert_eq!(writer.sequence_number(), 2);
            let chunk = out.split_off(3);
            assert_eq!(out, [0xaa; 3]);
            return Some((base, samples, chunk));
        }
        Err(Error::ChunkEmpty) => assert!(samples.is_empty()),
        Err(Error::SamplesTooMany(count)) => assert!(count == samples.len() && count > CHUNK_SAMPLES_MAX),
        Err(Error::SampleEmpty(at)) => assert!(samples.get(at).is_some_and(|sample| sample.data.is_empty())),
        Err(Error::DurationZero(at)) => assert!(samples.get(at).is_some_and(|sample| sample.duration == 0)),
        Err(Error::DecodeTime(_)) => assert!(end.is_none_or(|end| end > 1 << 62)),
        Err(other) => panic!("{other}"),
    }
    assert_eq!((out, writer), (vec![0xaa; 3], ChunkWriter::new()));
    None
}

/// Boxes in the one order this crate writes, every size and flag obeyed; nothing when a byte is too few or too many.
fn read_back(chunk: &[u8]) -> Option<(u64, Vec<ChunkSample<Vec<u8>>>)> {
    let (moof, rest) = take_box(chunk, b"moof")?;
    let (mut payload, rest) = take_box(rest, b"mdat")?;
    let moof_size = moof.len().checked_add(8)?;
    let (mfhd, moof) = take_box(moof, b"mfhd")?;
    let (traf, moof) = take_box(moof, b"traf")?;
    let (tfhd, traf) = take_box(traf, b"tfhd")?;
    let (tfdt, traf) = take_box(traf, b"tfdt")?;
    let (trun, traf) = take_box(traf, b"trun")?;
    if !(rest.is_empty() && moof.is_empty() && traf.is_empty()) || mfhd != [0, 0, 0, 0, 0, 0, 0, 1] {
        return None;
    }

    let mut tfhd = Words(tfhd);
    let present = tfhd.next()?;
    let track = tfhd.next()?;
    let duration = tfhd.next_if(present & 0x08)?;
    let size = tfhd.next_if(present & 0x10)?;
    let flags = tfhd.next_if(present & 0x20)?;
    if present & !0x38 != 0x02_0000 || track != 1 || !tfhd.0.is_empty() {
        return None;
    }
    let mut tfdt = Words(tfdt);
    let version = tfdt.next()?;
    let base = u64::from(tfdt.next()?) << 32 | u64::from(tfdt.next()?);
    if version != 1 << 24 || !tfdt.0.is_empty() {
        return None;
    }
    let mut trun = Words(trun);
    let present = trun.next()?;
    let count = trun.next()?;
    let offset = trun.next()?;
    let mut first_flags = trun.next_if(present & 0x004)?;
    // Version 1 exactly where there are offsets; first flags and flags for each exclude each other.
    let version = if present & 0x800 != 0 { 1 << 24 } else { 0 };
    let both = present & 0x404 == 0x404;
    if present & !0xf04 != version | 1 || both || usize::try_from(offset).ok()? != moof_size.checked_add(8)? {
        return None;
    }
    let mut samples = Vec::new();
    for _ in 0..count {
        let own_duration = trun.next_if(present & 0x100)?;
        let own_size = trun.next_if(present & 0x200)?;
        let own_flags = trun.next_if(present & 0x400)?;
        let offset = trun.next_if(present & 0x800)?;
        let flags = own_flags.or(first_flags.take()).or(flags)?;
        let (data, after) = payload.split_at_checked(usize::try_from(own_size.or(size)?).ok()?)?;
        payload = after;
        samples.push(ChunkSample {
            duration: own_duration.or(duration)?,
            composition_time_offset: offset.unwrap_or(0).cast_signed(),
            sync: flags == 0x0200_0000,
            disposable: flags == 0x0181_0000,
            data: data.to_vec(),
        });
        if !matches!(flags, 0x0200_0000 | 0x0181_0000 | 0x0101_0000) {
            return None;
        }
    }
    (payload.is_empty() && trun.0.is_empty()).then_some((base, samples))
}

/// The body of the box at the front, which has this type, and what follows it.
fn take_box<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<(&'a [u8], &'a [u8])> {
    let (size, _) = bytes.split_first_chunk()?;
    let (whole, rest) = bytes.split_at_checked(usize::try_from(u32::from_be_bytes(*size)).ok()?)?;
    (whole.get(4..8)? == kind).then_some((whole.get(8..)?, rest))
}

/// 32-bit fields from the front.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn next(&mut self) -> Option<u32> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*word))
    }

    /// `None` when the field is announced and missing, `Some(None)` when it is not announced.
    fn next_if(&mut self, announced: u32) -> Option<Option<u32>> {
        if announced == 0 { Some(None) } else { self.next().map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use headwater_testkit::seeds::over_seeds;
    use mp4_atom::{Any, DecodeMaybe};
    use proptest::prelude::*;

    use super::*;

    /// As [`cmaf_chunk`], by a reader that nobody here wrote.
    fn by_mp4_atom(data: &[u8]) {
        let Some((base, samples, chunk)) = written(data) else { return };
        let mut rest = chunk.as_slice();
        let Some(Any::Moof(moof)) = Any::decode_maybe(&mut rest).unwrap() else { panic!("no moof") };
        let Some(Any::Mdat(mdat)) = Any::decode_maybe(&mut rest).unwrap() else { panic!("no mdat") };
        assert!(rest.is_empty());
        let [traf] = moof.traf.as_slice() else { panic!("{moof:?}") };
        assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, base);
        let [trun] = traf.trun.as_slice() else { panic!("{moof:?}") };
        let first_byte = chunk.len() - mdat.data.len();
        assert_eq!(trun.data_offset, Some(i32::try_from(first_byte).unwrap()));
        assert_eq!(trun.samples.len(), samples.len());
        let mut payload = mdat.data.as_slice();
        for (entry, sample) in trun.samples.iter().zip(&samples) {
            let tfhd = &traf.tfhd;
            assert_eq!(entry.duration.or(tfhd.default_sample_duration), Some(sample.duration));
            assert_eq!(entry.cts.unwrap_or(0), i64::from(sample.composition_time_offset));
            let flags = match (sample.sync, sample.disposable) {
                (true, _) => 0x0200_0000,
                (false, true) => 0x0181_0000,
                (false, false) => 0x0101_0000,
            };
            assert_eq!(entry.flags.or(tfhd.default_sample_flags), Some(flags));
            let size = usize::try_from(entry.size.or(tfhd.default_sample_size).unwrap()).unwrap();
            let (data, after) = payload.split_at(size);
            assert_eq!(data, sample.data);
            payload = after;
        }
        assert!(payload.is_empty());
    }

    fn both(data: &[u8]) {
        cmaf_chunk(data);
        by_mp4_atom(data);
    }

    /// Every seed, and every truncation of it.
    #[test]
    fn seeds() {
        over_seeds("cmaf_chunk", both);
    }

    /// A reader that takes anything proves nothing: every bit of the headers counts.
    #[test]
    fn a_damaged_chunk_is_not_read_back() {
        let script = [
            &[0; 8][..],
            b"\0\0\x0b\xb8\0\0\0\0\x01\0\x02",
            b"\0\0\x0b\xb9\0\0\x0b\xb8\0\0\x01",
            b"\0\0\x0b\xb8\xff\xff\xf4\x48\x02\0\x03",
        ]
        .concat();
        let (base, samples, chunk) = written(&script).expect("a good script");
        assert_eq!(read_back(&chunk), Some((base, samples.clone())));
        for bit in 0..chunk.len() * 8 {
            let mut damaged = chunk.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(read_back(&damaged), Some((base, samples.clone())), "bit {bit}");
        }
        for end in 0..chunk.len() {
            assert_eq!(read_back(&chunk[..end]), None, "{end} bytes");
        }
    }

    proptest! {
        #[test]
        fn any_script(base in prop_oneof![any::<u64>(), 0..1_u64 << 40], samples in proptest::collection::vec(sample(), 0..80)) {
            both(&[base.to_be_bytes().to_vec(), samples.concat()].concat());
        }
    }

    /// Samples that mostly are good ones, and often alike.
    fn sample() -> impl Strategy<Value = Vec<u8>> {
        let duration = prop_oneof![20 => Just(3_000), 5 => 1..5_000_u32, 1 => any::<u32>()];
        let offset = prop_oneof![4 => Just(0), 2 => Just(-3_000), 1 => any::<i32>()];
        let size = prop_oneof![20 => Just(7), 10 => 1..300_u16, 1 => any::<u16>()];
        (duration, offset, 0..4_u8, size).prop_map(|(duration, offset, flags, size)| {
            let mut sample = duration.to_be_bytes().to_vec();
            sample.extend_from_slice(&offset.to_be_bytes());
            sample.push(flags);
            sample.extend_from_slice(&size.to_be_bytes());
            sample
        })
    }
}

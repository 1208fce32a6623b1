//! Chunks: a run of samples of one track becomes one `moof` and one `mdat`.

use headwater_codec::h264::{LengthSize, NalType, NalUnits};
use headwater_media::TICKS_MAX;

use crate::Error;
use crate::boxes::{put_u32, put_u64, version_and_flags};
use crate::init::TRACK_ID;

/// Most samples in a chunk: 10 s at 400 pictures per second, and the `moof` stays below 64 KiB with every field of every
/// sample written out.
pub const CHUNK_SAMPLES_MAX: usize = 4_000;

/// Most payload bytes in a chunk: a whole 10 s segment at 200 Mbit/s, and far from where 32-bit sizes and offsets end.
pub const CHUNK_SIZE_MAX: usize = 256 << 20;

/// sample_depends_on 2: an I picture, an audio frame (ISO/IEC 14496-12 8.8.3.1).
const SYNC: u32 = 0x0200_0000;
/// sample_depends_on 1, sample_is_non_sync_sample 1.
const NON_SYNC: u32 = 0x0101_0000;
/// sample_is_depended_on 2: nothing refers to it.
const DISPOSABLE: u32 = 0x0080_0000;

/// Sizes in bytes: the headers of boxes, `mfhd`, `tfhd` without defaults, `tfdt` version 1, `trun` with its data offset.
const BOX_HEADER_SIZE: u32 = 8;
const MFHD_SIZE: u32 = 16;
const TFHD_SIZE_MIN: u32 = 16;
const TFDT_SIZE: u32 = 20;
const TRUN_SIZE_MIN: u32 = 20;

/// One access unit of video or one frame of audio, as a chunk wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSample<D> {
    /// Decode time of the next sample minus this one's, in ticks of the track's timescale. Not 0.
    pub duration: u32,
    /// PTS - DTS in ticks, negative where decode times were shifted behind presentation. 0 for audio.
    pub composition_time_offset: i32,
    /// Decoding can start here. Always true for audio.
    pub sync: bool,
    /// No other picture refers to it (H.264: nal_ref_idc 0, see [`is_disposable`]). False for audio and where unknown.
    pub disposable: bool,
    /// NAL units behind 4-byte lengths without parameter sets and delimiters, or a raw audio frame. Not empty.
    pub data: D,
}

impl<D> ChunkSample<D> {
    fn flags(&self) -> u32 {
        match (self.sync, self.disposable) {
            (true, _) => SYNC,
            (false, false) => NON_SYNC,
            (false, true) => NON_SYNC | DISPOSABLE,
        }
    }
}

/// True when no picture refers to this H.264 access unit: its first slice has nal_ref_idc 0 (H.264 7.4.1: then all have).
///
/// `access_unit` is NAL units behind 4-byte lengths; false for anything that cannot be read.
pub fn is_disposable(access_unit: &[u8]) -> bool {
    NalUnits::new(access_unit, LengthSize::Four)
        .map_while(Result::ok)
        .find(|nal| NalType::of(nal).is_some_and(NalType::is_vcl))
        .and_then(|nal| nal.first().copied())
        .is_some_and(|header| header & 0x60 == 0)
}

/// Writes the chunks of one track, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkWriter {
    sequence_number: u32,
    track_id: u32,
}

impl Default for ChunkWriter {
    fn default() -> ChunkWriter {
        ChunkWriter::new()
    }
}

impl ChunkWriter {
    /// A writer whose first chunk has `mfhd` sequence_number 1 (ISO/IEC 14496-12 8.8.5).
    pub const fn new() -> ChunkWriter {
        ChunkWriter::for_track(TRACK_ID)
    }

    /// As [`ChunkWriter::new`], for one of several tracks of a file ([`crate::movie_init`]).
    pub const fn for_track(track_id: u32) -> ChunkWriter {
        ChunkWriter { sequence_number: 1, track_id }
    }

    /// The sequence_number of the next chunk. It runs on by one per chunk, modulo 2^32.
    pub const fn sequence_number(&self) -> u32 {
        self.sequence_number
    }

    /// Numbers the next chunk `sequence_number` and goes on from there: two origins that must write equal bytes cannot count
    /// from when each of them started.
    pub const fn set_sequence_number(&mut self, sequence_number: u32) {
        self.sequence_number = sequence_number;
    }

    /// Appends one chunk made of `samples`, in decode order, to `out`, which grows once; each payload is copied once.
    ///
    /// `base_media_decode_time` is the first sample's decode time in ticks of the track's timescale. The chunk ends at that
    /// plus all durations, and there the next one of the track has to begin (23000-19 7.3.2.3). Fields that are equal for
    /// all samples are written once, in `tfhd`.
    ///
    /// # Errors
    /// [`Error::ChunkEmpty`], [`Error::SamplesTooMany`], [`Error::ChunkTooLong`], [`Error::SampleEmpty`],
    /// [`Error::DurationZero`], [`Error::DecodeTime`]; `out` and the sequence number are then as before.
    pub fn write<D: AsRef<[u8]>>(
        &mut self,
        out: &mut Vec<u8>,
        base_media_decode_time: u64,
        samples: &[ChunkSample<D>],
    ) -> Result<(), Error> {
        let layout = Layout::of(base_media_decode_time, samples)?;
        out.reserve(layout.chunk_size());
        layout.write_moof(out, self, base_media_decode_time, samples);
        put_u32(out, layout.payload_size.saturating_add(BOX_HEADER_SIZE));
        out.extend_from_slice(b"mdat");
        for sample in samples {
            out.extend_from_slice(sample.data.as_ref());
        }
        self.sequence_number = self.sequence_number.wrapping_add(1);
        Ok(())
    }
}

/// What is written once and what per sample, and how long that makes the boxes.
struct Layout {
    sample_count: u32,
    payload_size: u32,
    /// `None`: differs between samples, and is written for each.
    duration: Option<u32>,
    size: Option<u32>,
    flags: Option<u32>,
    /// The first sample's flags, where those of all others are `flags`.
    first_flags: Option<u32>,
    composition: bool,
}

// Sums of sizes below fit 32 bits: `of` lets no more than CHUNK_SAMPLES_MAX samples and CHUNK_SIZE_MAX bytes through.
impl Layout {
    /// Checks the samples and finds what they have in common.
    fn of<D: AsRef<[u8]>>(base: u64, samples: &[ChunkSample<D>]) -> Result<Layout, Error> {
        let Some((first, others)) = samples.split_first() else { return Err(Error::ChunkEmpty) };
        let sample_count = match u32::try_from(samples.len()) {
            Ok(count) if samples.len() <= CHUNK_SAMPLES_MAX => count,
            _ => return Err(Error::SamplesTooMany(samples.len())),
        };
        let first_size = first.data.as_ref().len();
        let other_flags = others.first().map_or(first.flags(), ChunkSample::flags);
        let (mut payload_size, mut end) = (0_usize, base);
        let (mut one_duration, mut one_size, mut two_flags, mut composition) = (true, true, true, false);
        for (index, sample) in samples.iter().enumerate() {
            let size = sample.data.as_ref().len();
            if size == 0 {
                return Err(Error::SampleEmpty(index));
            }
            if sample.duration == 0 {
                return Err(Error::DurationZero(index));
            }
            payload_size = payload_size.saturating_add(size);
            end = end.saturating_add(u64::from(sample.duration));
            one_duration &= sample.duration == first.duration;
            one_size &= size == first_size;
            two_flags &= index == 0 || sample.flags() == other_flags;
            composition |= sample.composition_time_offset != 0;
        }
        if end > TICKS_MAX.unsigned_abs() {
            return Err(Error::DecodeTime(end));
        }
        let payload_size = match u32::try_from(payload_size) {
            Ok(size) if payload_size <= CHUNK_SIZE_MAX => size,
            _ => return Err(Error::ChunkTooLong),
        };
        Ok(Layout {
            sample_count,
            payload_size,
            duration: one_duration.then_some(first.duration),
            // Every size is below the sum, which fits.
            size: if one_size { u32::try_from(first_size).ok() } else { None },
            flags: two_flags.then_some(other_flags),
            first_flags: (two_flags && first.flags() != other_flags).then_some(first.flags()),
            composition,
        })
    }

    /// Bytes of a field in `tfhd` or at the front of `trun` that may be there.
    fn optional(present: bool) -> u32 {
        if present { 4 } else { 0 }
    }

    fn tfhd_size(&self) -> u32 {
        TFHD_SIZE_MIN
            + Layout::optional(self.duration.is_some())
            + Layout::optional(self.size.is_some())
            + Layout::optional(self.flags.is_some())
    }

    fn trun_size(&self) -> u32 {
        let per_sample = Layout::optional(self.duration.is_none())
            + Layout::optional(self.size.is_none())
            + Layout::optional(self.flags.is_none())
            + Layout::optional(self.composition);
        // At most CHUNK_SAMPLES_MAX of at most 16 bytes.
        TRUN_SIZE_MIN + Layout::optional(self.first_flags.is_some()) + self.sample_count * per_sample
    }

    fn traf_size(&self) -> u32 {
        BOX_HEADER_SIZE + self.tfhd_size() + TFDT_SIZE + self.trun_size()
    }

    fn moof_size(&self) -> u32 {
        BOX_HEADER_SIZE + MFHD_SIZE + self.traf_size()
    }

    /// Bytes of `moof` and `mdat`.
    fn chunk_size(&self) -> usize {
        let size = self.moof_size() + BOX_HEADER_SIZE + self.payload_size;
        usize::try_from(size).unwrap_or(usize::MAX)
    }

    fn write_moof<D: AsRef<[u8]>>(
        &self,
        out: &mut Vec<u8>,
        writer: &ChunkWriter,
        base_media_decode_time: u64,
        samples: &[ChunkSample<D>],
    ) {
        /// tfhd: default-base-is-moof, required by CMAF (23000-19 7.5.16) and MSE.
        const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
        let flag = |present: bool, flag: u32| if present { flag } else { 0 };

        put_u32(out, self.moof_size());
        out.extend_from_slice(b"moof");
        put_u32(out, MFHD_SIZE);
        out.extend_from_slice(b"mfhd");
        put_u32(out, 0);
        put_u32(out, writer.sequence_number);
        put_u32(out, self.traf_size());
        out.extend_from_slice(b"traf");

        put_u32(out, self.tfhd_size());
        out.extend_from_slice(b"tfhd");
        let present = flag(self.duration.is_some(), 0x08)
            | flag(self.size.is_some(), 0x10)
            | flag(self.flags.is_some(), 0x20);
        put_u32(out, version_and_flags(0, DEFAULT_BASE_IS_MOOF | present));
        put_u32(out, writer.track_id);
        for default in [self.duration, self.size, self.flags].into_iter().flatten() {
            put_u32(out, default);
        }

        put_u32(out, TFDT_SIZE);
        out.extend_from_slice(b"tfdt");
        put_u32(out, version_and_flags(1, 0));
        put_u64(out, base_media_decode_time);

        put_u32(out, self.trun_size());
        out.extend_from_slice(b"trun");
        // The data offset is there always; 14496-12 8.8.8.1 forbids 0x004 beside 0x400.
        let present = 0x001
            | flag(self.first_flags.is_some(), 0x004)
            | flag(self.duration.is_none(), 0x100)
            | flag(self.size.is_none(), 0x200)
            | flag(self.flags.is_none(), 0x400)
            | flag(self.composition, 0x800);
        // Version 1 makes composition time offsets signed.
        put_u32(out, version_and_flags(u8::from(self.composition), present));
        put_u32(out, self.sample_count);
        put_u32(out, self.moof_size() + BOX_HEADER_SIZE);
        if let Some(flags) = self.first_flags {
            put_u32(out, flags);
        }
        for sample in samples {
            if self.duration.is_none() {
                put_u32(out, sample.duration);
            }
            if self.size.is_none() {
                put_u32(out, u32::try_from(sample.data.as_ref().len()).unwrap_or(u32::MAX));
            }
            if self.flags.is_none() {
                put_u32(out, sample.flags());
            }
            if self.composition {
                put_u32(out, sample.composition_time_offset.cast_unsigned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Samples<'a> = Vec<ChunkSample<&'a [u8]>>;

    fn sample(duration: u32, offset: i32, sync: bool, data: &[u8]) -> ChunkSample<&[u8]> {
        ChunkSample { duration, composition_time_offset: offset, sync, disposable: false, data }
    }

    /// What every `moof` begins with, up to where `tfhd`'s flags differ.
    fn expected(sizes: [u8; 3], tfhd: &[u8], trun: &[u8], payload: &[u8]) -> Vec<u8> {
        let [moof, traf, tfhd_size] = sizes;
        [
            &[0, 0, 0, moof][..],
            b"moof\0\0\0\x10mfhd\0\0\0\0\0\0\0\x01",
            &[0, 0, 0, traf],
            b"traf",
            &[0, 0, 0, tfhd_size],
            b"tfhd\0\x02\0",
            tfhd,
            b"\0\0\0\x14tfdt\x01\0\0\0\x00\x00\x00\x07\x12\x34\x56\x78",
            trun,
            &[0, 0, 0, u8::try_from(payload.len() + 8).unwrap()],
            b"mdat",
            payload,
        ]
        .concat()
    }

    #[test]
    fn chunks_by_the_byte() {
        let disposable = ChunkSample { disposable: true, ..sample(3_000, -1_500, false, b"d") };
        let cases: [(&str, Samples<'_>, Vec<u8>); 8] = [
            (
                "one sample: everything in tfhd",
                vec![sample(1_024, 0, true, b"abc")],
                expected(
                    [100, 76, 28],
                    b"\x38\0\0\0\x01\0\0\x04\0\0\0\0\x03\x02\0\0\0",
                    b"\0\0\0\x14trun\0\0\0\x01\0\0\0\x01\0\0\0\x6c",
                    b"abc",
                ),
            ),
            (
                "audio: sizes differ",
                vec![sample(1_024, 0, true, b"abc"), sample(1_024, 0, true, b"de")],
                expected(
                    [104, 80, 24],
                    b"\x28\0\0\0\x01\0\0\x04\0\x02\0\0\0",
                    b"\0\0\0\x1ctrun\0\0\x02\x01\0\0\0\x02\0\0\0\x70\0\0\0\x03\0\0\0\x02",
                    b"abcde",
                ),
            ),
            (
                "video: the first is a keyframe",
                vec![
                    sample(3_000, 0, true, b"abc"),
                    sample(3_000, 0, false, b"d"),
                    sample(3_000, 0, false, b"e"),
                ],
                expected(
                    [112, 88, 24],
                    b"\x28\0\0\0\x01\0\0\x0b\xb8\x01\x01\0\0",
                    b"\0\0\0\x24trun\0\0\x02\x05\0\0\0\x03\0\0\0\x78\x02\0\0\0\0\0\0\x03\0\0\0\x01\0\0\0\x01",
                    b"abcde",
                ),
            ),
            (
                "a part inside a GOP: no keyframe",
                vec![sample(3_000, 0, false, b"a"), sample(3_000, 0, false, b"b")],
                expected(
                    [100, 76, 28],
                    b"\x38\0\0\0\x01\0\0\x0b\xb8\0\0\0\x01\x01\x01\0\0",
                    b"\0\0\0\x14trun\0\0\0\x01\0\0\0\x02\0\0\0\x6c",
                    b"ab",
                ),
            ),
            (
                "durations differ",
                vec![sample(3_003, 0, false, b"a"), sample(3_004, 0, false, b"b")],
                expected(
                    [104, 80, 24],
                    b"\x30\0\0\0\x01\0\0\0\x01\x01\x01\0\0",
                    b"\0\0\0\x1ctrun\0\0\x01\x01\0\0\0\x02\0\0\0\x70\0\0\x0b\xbb\0\0\x0b\xbc",
                    b"ab",
                ),
            ),
            (
                "B-frames, decode times shifted: signed offsets, the keyframe at 0",
                vec![
                    sample(3_000, 0, true, b"a"),
                    sample(3_000, 3_000, false, b"bb"),
                    sample(3_000, -3_000, false, b"c"),
                ],
                expected(
                    [124, 100, 24],
                    b"\x28\0\0\0\x01\0\0\x0b\xb8\x01\x01\0\0",
                    b"\0\0\0\x30trun\x01\0\x0a\x05\0\0\0\x03\0\0\0\x84\x02\0\0\0\
                      \0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\x0b\xb8\0\0\0\x01\xff\xff\xf4\x48",
                    b"abbc",
                ),
            ),
            (
                "flags for each: a keyframe inside the chunk",
                vec![
                    sample(3_000, 0, false, b"a"),
                    sample(3_000, 0, true, b"b"),
                    sample(3_000, 0, false, b"c"),
                ],
                expected(
                    [108, 84, 24],
                    b"\x18\0\0\0\x01\0\0\x0b\xb8\0\0\0\x01",
                    b"\0\0\0\x20trun\0\0\x04\x01\0\0\0\x03\0\0\0\x74\x01\x01\0\0\x02\0\0\0\x01\x01\0\0",
                    b"abc",
                ),
            ),
            (
                "everything for each",
                vec![sample(1, i32::MIN, true, b"a"), disposable, sample(u32::MAX, i32::MAX, false, b"bc")],
                expected(
                    [136, 112, 16],
                    b"\0\0\0\0\x01",
                    b"\0\0\0\x44trun\x01\0\x0f\x01\0\0\0\x03\0\0\0\x90\
                      \0\0\0\x01\0\0\0\x01\x02\0\0\0\x80\0\0\0\
                      \0\0\x0b\xb8\0\0\0\x01\x01\x81\0\0\xff\xff\xfa\x24\
                      \xff\xff\xff\xff\0\0\0\x02\x01\x01\0\0\x7f\xff\xff\xff",
                    b"adbc",
                ),
            ),
        ];
        for (name, samples, expected) in cases {
            let mut out = Vec::new();
            ChunkWriter::new().write(&mut out, 0x7_1234_5678, &samples).unwrap();
            assert_eq!(out, expected, "{name}");
            assert_eq!(out.capacity(), out.len(), "{name}: reserved at once, and no more");
        }
    }

    #[test]
    fn a_chunk_is_appended_and_counted() {
        let mut writer = ChunkWriter::new();
        let mut out = b"before".to_vec();
        for number in [1_u32, 2, 3] {
            assert_eq!(writer.sequence_number(), number);
            let start = out.len();
            writer.write(&mut out, 0, &[sample(1, 0, true, b"x")]).unwrap();
            assert_eq!(out[start + 20..start + 24], number.to_be_bytes());
        }
        assert!(out.starts_with(b"before"));
        writer.set_sequence_number(u32::MAX);
        writer.write(&mut out, 0, &[sample(1, 0, true, b"x")]).unwrap();
        assert_eq!(writer.sequence_number(), 0, "modulo 2^32");
    }

    #[test]
    fn what_is_refused_leaves_no_trace() {
        let good = sample(1, 0, true, b"x");
        let last = TICKS_MAX.unsigned_abs();
        let cases: [(&str, u64, Samples<'_>, Option<Error>); 8] = [
            ("nothing", 0, vec![], Some(Error::ChunkEmpty)),
            ("as many as fit", 0, vec![good; CHUNK_SAMPLES_MAX], None),
            ("one more", 0, vec![good; CHUNK_SAMPLES_MAX + 1], Some(Error::SamplesTooMany(4_001))),
            ("no bytes", 0, vec![good, sample(1, 0, true, b"")], Some(Error::SampleEmpty(1))),
            ("no time", 0, vec![good, good, sample(0, 0, true, b"x")], Some(Error::DurationZero(2))),
            ("to the end of time", last - 2, vec![good; 2], None),
            ("beyond it", last - 1, vec![good; 2], Some(Error::DecodeTime(last + 1))),
            ("far beyond it", u64::MAX, vec![good], Some(Error::DecodeTime(u64::MAX))),
        ];
        for (name, base, samples, expected) in cases {
            let mut writer = ChunkWriter::new();
            let mut out = vec![1, 2, 3];
            assert_eq!(writer.write(&mut out, base, &samples).err(), expected, "{name}");
            if expected.is_some() {
                assert_eq!((out, writer), (vec![1, 2, 3], ChunkWriter::new()), "{name}");
            }
        }
    }

    #[test]
    fn payload_has_a_limit() {
        // Looked at, not written: 256 MiB would be copied for nothing.
        let part = vec![7; CHUNK_SIZE_MAX / 16];
        let mut samples = vec![sample(1, 0, true, &part); 16];
        assert!(Layout::of(0, &samples).is_ok());
        samples.push(sample(1, 0, true, b"x"));
        assert_eq!(Layout::of(0, &samples).err(), Some(Error::ChunkTooLong));
        let mut out = Vec::new();
        assert_eq!(ChunkWriter::new().write(&mut out, 0, &samples), Err(Error::ChunkTooLong));
        assert!(out.is_empty());
    }

    #[test]
    fn disposable_is_what_nothing_refers_to() {
        for (name, access_unit, expected) in [
            ("a slice with nal_ref_idc 0", &b"\0\0\0\x02\x01\x9a"[..], true),
            ("an SEI in front", b"\0\0\0\x02\x06\x05\0\0\0\x02\x01\x9a", true),
            ("a slice with nal_ref_idc 2", b"\0\0\0\x02\x41\x9a", false),
            ("an IDR slice", b"\0\0\0\x02\x65\x88", false),
            ("no slice", b"\0\0\0\x02\x06\x05", false),
            ("an empty NAL unit, then a slice", b"\0\0\0\0\0\0\0\x01\x01", true),
            ("cut short", b"\0\0\0\x03\x01\x9a", false),
            ("nothing", b"", false),
        ] {
            assert_eq!(is_disposable(access_unit), expected, "{name}");
        }
    }
}

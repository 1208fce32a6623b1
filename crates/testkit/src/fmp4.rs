//! CMAF track files read back through the `mp4-atom` crate: a list of samples and a list of what is wrong.
//!
//! [`Fmp4Reader`] takes the init segment and then the segments of one track in playlist order, each the concatenation of its
//! parts, and checks what has to hold inside chunks, between them and over segment borders. The rules are those of
//! ISO/IEC 14496-12, of CMAF and of the project's own timeline; each finding names the segment and the chunk.

use std::collections::BTreeSet;

use mp4_atom::{Codec, Decode, DecodeMaybe, Ftyp, Header, Moof, Moov, StszSamples};

use crate::annexb::{self, nal_type};
use crate::ts::Coding;

/// A report lists this many findings and counts the rest: a stream that is wrong is wrong everywhere.
const FINDINGS_MAX: usize = 200;

/// sample_depends_on 2; 1 and non-sync; both with sample_is_depended_on 2 for the latter (14496-12 8.8.3.1).
const SYNC: u32 = 0x0200_0000;
const NON_SYNC: u32 = 0x0101_0000;
const DISPOSABLE: u32 = 0x0080_0000;

/// What an init segment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// The coding of its samples.
    pub coding: Coding,
    /// Its number, the same in every chunk.
    pub track_id: u32,
    /// Ticks per second of its samples' times.
    pub timescale: u32,
    /// SPS and PPS of the record, in order; empty for audio.
    pub parameter_sets: Vec<Vec<u8>>,
}

/// One sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Segment, counted from 0.
    pub segment: usize,
    /// Chunk within the segment, counted from 0.
    pub chunk: usize,
    /// Decode time in ticks of the track.
    pub dts: i64,
    /// Presentation time in ticks of the track.
    pub pts: i64,
    /// Ticks until the next sample's decode time.
    pub duration: u32,
    /// Its flags say that decoding can start here.
    pub sync: bool,
    /// Its flags say that nothing refers to it.
    pub disposable: bool,
    /// The bytes.
    pub data: Vec<u8>,
}

impl Sample {
    /// The NAL units of a video sample, without their trailing zero bytes.
    ///
    /// # Errors
    /// A sentence when the lengths do not add up to the sample, or a NAL unit is empty.
    pub fn nal_units(&self) -> Result<Vec<&[u8]>, String> {
        let mut units = Vec::new();
        let mut rest = self.data.as_slice();
        while !rest.is_empty() {
            let cut = || format!("a NAL unit is cut short, {} bytes before the sample's end", rest.len());
            let (length, after) = rest.split_first_chunk().ok_or_else(cut)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            let (unit, after) = after.split_at_checked(length).ok_or_else(cut)?;
            if unit.is_empty() {
                return Err("empty NAL unit".to_owned());
            }
            units.push(annexb::without_trailing_zeros(unit));
            rest = after;
        }
        Ok(units)
    }
}

/// What was read, and what is wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Fmp4Report {
    /// The last init segment.
    pub track: Option<Track>,
    /// Samples in decode order.
    pub samples: Vec<Sample>,
    /// Segments read.
    pub segments: usize,
    /// Chunks read.
    pub chunks: usize,
    /// One sentence each; empty when all is well.
    pub findings: Vec<String>,
    /// Findings that were counted but not kept.
    pub findings_dropped: usize,
}

/// Reads a track file's init segment and segments in order.
#[derive(Debug, Default)]
pub struct Fmp4Reader {
    report: Fmp4Report,
    /// Where the next chunk has to begin.
    next_dts: Option<u64>,
    sequence_number: Option<u32>,
    /// Chunk within the segment.
    chunk: usize,
    /// Of a file with several tracks: the one that is read.
    only: Option<u32>,
}

/// A box inside a slice.
struct Atom<'a> {
    kind: [u8; 4],
    /// With its header.
    whole: &'a [u8],
    body: &'a [u8],
}

impl Fmp4Reader {
    /// A reader before the init segment.
    pub fn new() -> Fmp4Reader {
        Fmp4Reader::default()
    }

    /// Reads one track of a continuous file, whole: `ftyp` and `moov` of several tracks, then chunks of any of them. Nothing says
    /// there that the first picture's decode time is its presentation time.
    pub fn read_movie(file: &[u8], track_id: u32) -> Fmp4Report {
        let mut reader = Fmp4Reader { only: Some(track_id), ..Fmp4Reader::default() };
        let atoms = reader.atoms(file);
        let init: usize = atoms.iter().take(2).map(|atom| atom.whole.len()).sum();
        let whole: usize = atoms.iter().map(|atom| atom.whole.len()).sum();
        reader.init(file.get(..init).unwrap_or_default());
        reader.segment(file.get(init..whole).unwrap_or_default());
        reader.finish()
    }

    /// An init segment: before the first segment, and again where the playlist has another EXT-X-MAP.
    pub fn init(&mut self, bytes: &[u8]) {
        let atoms = self.atoms(bytes);
        let kinds: Vec<&[u8; 4]> = atoms.iter().map(|atom| &atom.kind).collect();
        if kinds != [b"ftyp", b"moov"] {
            self.find("an init segment is ftyp, moov");
        }
        for Atom { kind, whole, .. } in atoms {
            match &kind {
                b"ftyp" => match Ftyp::decode(&mut &*whole) {
                    Ok(ftyp) if ftyp.compatible_brands.contains(&b"iso6".into()) => {}
                    other => self.find(format!("ftyp without iso6: {other:?}")),
                },
                b"moov" => match Moov::decode(&mut &*whole) {
                    Ok(moov) => self.take_movie(&moov),
                    Err(error) => self.find(format!("moov: {error}")),
                },
                _ => {}
            }
        }
    }

    /// The playlist announces that the next segment does not continue the last one: its decode time may be any.
    pub fn discontinuity(&mut self) {
        self.next_dts = None;
    }

    /// The next segment, whole: its parts one behind the other.
    pub fn segment(&mut self, bytes: &[u8]) {
        self.chunk = 0;
        let first = self.report.samples.len();
        let mut moof: Option<(Moof, &[u8])> = None;
        for (n, atom) in self.atoms(bytes).into_iter().enumerate() {
            if moof.is_some() && &atom.kind != b"mdat" {
                self.find("moof without its mdat behind it");
                moof = None;
            }
            match (&atom.kind, moof.take()) {
                (b"styp", _) if n == 0 => {}
                (b"prft" | b"emsg", _) => {}
                (b"moof", _) => match Moof::decode(&mut &*atom.whole) {
                    Ok(read) => moof = Some((read, atom.whole)),
                    Err(error) => self.find(format!("moof: {error}")),
                },
                (b"mdat", Some((moof, whole))) => {
                    self.take_chunk(&moof, whole, atom.body);
                    self.chunk += 1;
                    self.report.chunks += 1;
                }
                (b"mdat", None) => self.find("mdat without its moof in front"),
                (kind, _) => self.find(format!("box {} has no place here", kind.escape_ascii())),
            }
        }
        if moof.is_some() {
            self.find("the segment ends after a moof");
        }
        self.check_segment(first);
        self.report.segments += 1;
    }

    /// What was read and found.
    pub fn finish(self) -> Fmp4Report {
        let mut report = self.report;
        if report.samples.is_empty() {
            report.findings.push("no sample at all".to_owned());
        }
        report
    }

    fn find(&mut self, what: impl AsRef<str>) {
        if self.report.findings.len() >= FINDINGS_MAX {
            self.report.findings_dropped += 1;
            return;
        }
        let sentence = format!("segment {} chunk {}: {}", self.report.segments, self.chunk, what.as_ref());
        self.report.findings.push(sentence);
    }

    /// The boxes that fill `bytes`.
    fn atoms<'a>(&mut self, bytes: &'a [u8]) -> Vec<Atom<'a>> {
        let mut atoms = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut body = rest;
            let kind = rest.get(4..8).and_then(|kind| <[u8; 4]>::try_from(kind).ok());
            let header = Header::decode_maybe(&mut body).ok().flatten();
            let split = header.and_then(|header| body.split_at_checked(header.size?));
            let (Some(kind), Some((body, after))) = (kind, split) else {
                self.find(format!("{} bytes at the end are no box", rest.len()));
                break;
            };
            let whole = rest.get(..rest.len() - after.len()).unwrap_or_default();
            if whole.len() != body.len() + 8 {
                self.find("a header that is not 8 bytes long");
            }
            atoms.push(Atom { kind, whole, body });
            rest = after;
        }
        atoms
    }

    fn take_movie(&mut self, moov: &Moov) {
        let is_read = |track_id: u32| self.only.is_none_or(|only| only == track_id);
        let tracks: Vec<_> = moov.trak.iter().filter(|trak| is_read(trak.tkhd.track_id)).collect();
        let defaults = moov.mvex.as_ref().map(|mvex| mvex.trex.as_slice()).unwrap_or_default();
        let defaults: Vec<_> = defaults.iter().filter(|trex| is_read(trex.track_id)).collect();
        let [trak] = tracks.as_slice() else {
            return self.find(format!("{} tracks in a file", tracks.len()));
        };
        let media = &trak.mdia;
        let tables = &media.minf.stbl;
        if moov.mvhd.duration != 0 || trak.tkhd.duration != 0 || media.mdhd.duration != 0 {
            self.find("a live track has no duration");
        }
        if trak.edts.is_some() {
            self.find("an edit list");
        }
        let sizes = match &tables.stsz.samples {
            StszSamples::Identical { count, .. } => usize::try_from(*count).unwrap_or(usize::MAX),
            StszSamples::Different { sizes } => sizes.len(),
        };
        let entries = tables.stts.entries.len() + tables.stsc.entries.len() + sizes;
        if entries != 0 || tables.stco.as_ref().is_none_or(|stco| !stco.entries.is_empty()) {
            self.find("the tables of an init segment are there, and empty");
        }
        if !matches!(defaults.as_slice(), [trex] if trex.track_id == trak.tkhd.track_id) {
            self.find("no trex of the track");
        }
        let (coding, handler, parameter_sets) = match tables.stsd.codecs.as_slice() {
            [Codec::Avc1(avc1)] => {
                if avc1.avcc.length_size != 4 {
                    self.find(format!("{} bytes of NAL length", avc1.avcc.length_size));
                }
                let sets = [&avc1.avcc.sequence_parameter_sets, &avc1.avcc.picture_parameter_sets];
                (Coding::H264, b"vide", sets.into_iter().flatten().cloned().collect())
            }
            [Codec::Mp4a(mp4a)] => match mp4a.esds.es_desc.dec_config.object_type_indication {
                0x40 => (Coding::Aac, b"soun", Vec::new()),
                0x69 | 0x6b => (Coding::Mp3, b"soun", Vec::new()),
                other => return self.find(format!("object type {other:#x}")),
            },
            other => return self.find(format!("sample entries {other:?}")),
        };
        if media.hdlr.handler != handler.into() {
            self.find(format!("handler {:?}", media.hdlr.handler));
        }
        let track_id = trak.tkhd.track_id;
        let track = Track { coding, track_id, timescale: media.mdhd.timescale, parameter_sets };
        self.report.track = Some(track);
    }

    fn take_chunk(&mut self, moof: &Moof, whole: &[u8], payload: &[u8]) {
        let Some(track) = self.report.track.clone() else {
            return self.find("a chunk before the init segment");
        };
        let sequence_number = moof.mfhd.sequence_number;
        // It rises from chunk to chunk (14496-12 8.8.5), modulo 2^32; within a segment by one.
        if let Some(last) = self.sequence_number.replace(sequence_number) {
            let step = sequence_number.wrapping_sub(last);
            if step == 0 || step > u32::MAX / 2 || (self.chunk > 0 && step != 1) {
                self.find(format!("sequence number {last} became {sequence_number}"));
            }
        }
        let [traf] = moof.traf.as_slice() else {
            return self.find(format!("{} tracks in a moof", moof.traf.len()));
        };
        let tfhd = &traf.tfhd;
        if self.only.is_some() && tfhd.track_id != track.track_id {
            return;
        }
        if tfhd.track_id != track.track_id {
            self.find(format!("track {}, the init segment has {}", tfhd.track_id, track.track_id));
        }
        if !tfhd.default_base_is_moof || tfhd.base_data_offset.is_some() {
            self.find("data offsets do not count from the moof");
        }
        let (Some(tfdt), [trun]) = (&traf.tfdt, traf.trun.as_slice()) else {
            return self.find("a traf has one tfdt and one trun");
        };
        self.check_versions(whole, trun.samples.iter().any(|sample| sample.cts.is_some()));
        let offset = trun.data_offset.and_then(|offset| usize::try_from(offset).ok());
        if offset != Some(whole.len() + 8) {
            self.find(format!(
                "data offset {:?}, the first byte is at {}",
                trun.data_offset,
                whole.len() + 8
            ));
        }

        let base = tfdt.base_media_decode_time;
        if let Some(expected) = self.next_dts
            && base != expected
        {
            let gap = i128::from(base) - i128::from(expected);
            let what = if gap > 0 { "a gap" } else { "an overlap" };
            self.find(format!("decode time {base}, {what} of {} ticks", gap.unsigned_abs()));
        }
        let mut dts = base;
        let mut rest = payload;
        if trun.samples.is_empty() {
            self.find("no sample");
        }
        for (n, entry) in trun.samples.iter().enumerate() {
            let duration = entry.duration.or(tfhd.default_sample_duration);
            let size = entry.size.or(tfhd.default_sample_size);
            let flags = entry.flags.or(tfhd.default_sample_flags);
            let (Some(duration), Some(size), Some(flags)) = (duration, size, flags) else {
                return self.find(format!("sample {n} has no duration, size or flags"));
            };
            if duration == 0 || size == 0 {
                self.find(format!("sample {n}: duration {duration}, {size} bytes"));
            }
            let Some((data, after)) = usize::try_from(size).ok().and_then(|size| rest.split_at_checked(size))
            else {
                return self.find(format!("sample {n} is {size} bytes, mdat has {} left", rest.len()));
            };
            let at = i64::try_from(dts).unwrap_or(i64::MAX);
            let sample = Sample {
                segment: self.report.segments,
                chunk: self.chunk,
                dts: at,
                pts: at.saturating_add(entry.cts.unwrap_or(0)),
                duration,
                sync: flags == SYNC,
                disposable: flags & DISPOSABLE != 0,
                data: data.to_vec(),
            };
            self.check_sample(&track, &sample, flags);
            self.report.samples.push(sample);
            rest = after;
            dts = dts.saturating_add(u64::from(duration));
        }
        if !rest.is_empty() {
            self.find(format!("{} bytes of mdat belong to no sample", rest.len()));
        }
        self.next_dts = Some(dts);
    }

    /// `mp4-atom` hides what a box's version was: 64 bits of decode time, signed offsets.
    fn check_versions(&mut self, moof: &[u8], offsets: bool) {
        let traf =
            self.atoms(moof.get(8..).unwrap_or_default()).into_iter().find(|atom| &atom.kind == b"traf");
        for atom in traf.map(|traf| self.atoms(traf.body)).unwrap_or_default() {
            let version = atom.body.first();
            if &atom.kind == b"tfdt" && version != Some(&1) {
                self.find(format!("tfdt version {version:?}"));
            }
            if &atom.kind == b"trun" && offsets && version != Some(&1) {
                self.find(format!("trun version {version:?} with composition time offsets"));
            }
        }
    }

    fn check_sample(&mut self, track: &Track, sample: &Sample, flags: u32) {
        if track.coding != Coding::H264 {
            if flags != SYNC {
                self.find(format!("audio flags {flags:#010x}"));
            }
            if sample.pts != sample.dts {
                self.find("audio with a composition time offset");
            }
            return;
        }
        let units = match sample.nal_units() {
            Ok(units) => units,
            Err(error) => return self.find(error),
        };
        let expected = if units.iter().any(|unit| annexb::kind(unit) == nal_type::IDR) {
            vec![SYNC]
        } else if units.iter().any(|unit| slice(unit).is_some_and(|referred_to| referred_to)) {
            vec![NON_SYNC]
        } else {
            vec![NON_SYNC, NON_SYNC | DISPOSABLE]
        };
        if !expected.contains(&flags) {
            self.find(format!("flags {flags:#010x}, the picture wants {:#010x}", expected[0]));
        }
        for unit in units {
            match annexb::kind(unit) {
                nal_type::AUD | nal_type::FILLER | nal_type::END_OF_SEQUENCE | nal_type::END_OF_STREAM => {
                    self.find(format!("NAL unit type {}", annexb::kind(unit)));
                }
                nal_type::SPS | nal_type::PPS if track.parameter_sets.iter().any(|set| set == unit) => {
                    self.find("a parameter set of the sample entry once more");
                }
                _ => {}
            }
        }
    }

    fn check_segment(&mut self, first: usize) {
        let samples = self.report.samples.get(first..).unwrap_or_default();
        let Some(first) = samples.first() else { return self.find("a segment without samples") };
        let mut what = Vec::new();
        if !first.sync {
            what.push("the first sample is no random access point".to_owned());
        }
        if first.pts != first.dts && self.only.is_none() {
            // A segment's decode time is what a manifest calls its start.
            what.push(format!("the segment begins at {}, its first picture at {}", first.dts, first.pts));
        }
        let times: BTreeSet<i64> = samples.iter().map(|sample| sample.pts).collect();
        if times.len() != samples.len() {
            what.push("two samples are presented at the same time".to_owned());
        }
        if times.first().is_some_and(|earliest| *earliest < first.pts) {
            what.push("a picture is presented before the segment's first".to_owned());
        }
        what.into_iter().for_each(|what| self.find(what));
    }
}

/// Whether a slice has a nal_ref_idc; nothing for other NAL units.
fn slice(unit: &[u8]) -> Option<bool> {
    matches!(annexb::kind(unit), nal_type::SLICE..=nal_type::IDR)
        .then(|| unit.first().is_some_and(|header| header & 0x60 != 0))
}

#[cfg(test)]
mod tests {
    use mp4_atom::{
        Avc1, Avcc, Edts, Encode, Hdlr, Mdhd, Mdia, Mfhd, Minf, Mvex, Mvhd, Stbl, Stco, Stsd, Tfdt, Tfhd,
        Tkhd, Traf, Trak, Trex, Trun, TrunEntry,
    };

    use super::*;

    fn movie() -> Moov {
        let avcc = Avcc {
            configuration_version: 1,
            avc_profile_indication: 66,
            length_size: 4,
            sequence_parameter_sets: vec![vec![0x67, 1]],
            picture_parameter_sets: vec![vec![0x68, 2]],
            ..Avcc::default()
        };
        let avc1 = Avc1 {
            visual: Default::default(),
            avcc,
            btrt: None,
            colr: None,
            pasp: None,
            taic: None,
            fiel: None,
            spatial: None,
        };
        let stbl = Stbl {
            stsd: Stsd { codecs: vec![Codec::Avc1(avc1)] },
            stco: Some(Stco::default()),
            ..Stbl::default()
        };
        let mdia = Mdia {
            mdhd: Mdhd { timescale: 90_000, language: "und".into(), ..Mdhd::default() },
            hdlr: Hdlr { handler: b"vide".into(), name: "v".into() },
            minf: Minf { stbl, ..Minf::default() },
        };
        Moov {
            mvhd: Mvhd { timescale: 90_000, ..Mvhd::default() },
            mvex: Some(Mvex { trex: vec![Trex { track_id: 1, ..Trex::default() }], ..Mvex::default() }),
            trak: vec![Trak { tkhd: Tkhd { track_id: 1, ..Tkhd::default() }, mdia, ..Trak::default() }],
            ..Moov::default()
        }
    }

    /// A chunk before it is bytes.
    #[derive(Clone)]
    struct Chunk {
        moof: Moof,
        payload: Vec<u8>,
    }

    impl Chunk {
        fn bytes(&self) -> Vec<u8> {
            let mut out = Vec::new();
            self.moof.encode(&mut out).unwrap();
            out.extend_from_slice(&u32::try_from(self.payload.len() + 8).unwrap().to_be_bytes());
            out.extend_from_slice(b"mdat");
            out.extend_from_slice(&self.payload);
            out
        }

        fn traf(&mut self) -> &mut Traf {
            &mut self.moof.traf[0]
        }

        fn entry(&mut self, n: usize) -> &mut TrunEntry {
            let mp4_atom::TrunSamples::Explicit(entries) = &mut self.traf().trun[0].samples else { panic!() };
            &mut entries[n]
        }
    }

    /// Two segments of two chunks of two pictures: IDR, a slice that others refer to, and twice one that none does.
    fn chunks() -> Vec<Vec<Chunk>> {
        let chunk = |number: u32| {
            let nal: [u8; 2] = if number.is_multiple_of(2) { [0x65, 0x41] } else { [0x01, 0x01] };
            let flags = if number.is_multiple_of(2) { [SYNC, NON_SYNC] } else { [NON_SYNC | DISPOSABLE; 2] };
            let entry = |n: usize| TrunEntry {
                duration: Some(3_000),
                size: Some(6),
                flags: Some(flags[n]),
                cts: Some([[0, 6_000], [-3_000, -3_000]][usize::try_from(number % 2).unwrap()][n]),
            };
            let trun = Trun { data_offset: Some(0), samples: vec![entry(0), entry(1)].into() };
            let tfhd = Tfhd { track_id: 1, default_base_is_moof: true, ..Tfhd::default() };
            let base_media_decode_time = 900_000 + u64::from(number) * 6_000;
            let tfdt = Some(Tfdt { base_media_decode_time });
            let traf = Traf { tfhd, tfdt, trun: vec![trun], ..Traf::default() };
            let moof = Moof { mfhd: Mfhd { sequence_number: number }, traf: vec![traf] };
            let payload = nal.iter().flat_map(|nal| [0, 0, 0, 2, *nal, 7]).collect();
            let mut chunk = Chunk { moof, payload };
            let size = i32::try_from(chunk.bytes().len() - chunk.payload.len()).unwrap();
            chunk.traf().trun[0].data_offset = Some(size);
            chunk
        };
        vec![vec![chunk(0), chunk(1)], vec![chunk(2), chunk(3)]]
    }

    fn init(moov: &Moov) -> Vec<u8> {
        let mut init = b"\0\0\0\x14ftypcmfc\0\0\0\0iso6".to_vec();
        moov.encode(&mut init).unwrap();
        init
    }

    fn read(init: &[u8], segments: &[Vec<u8>]) -> Fmp4Report {
        let mut reader = Fmp4Reader::new();
        reader.init(init);
        segments.iter().for_each(|segment| reader.segment(segment));
        reader.finish()
    }

    fn segments(chunks: &[Vec<Chunk>]) -> Vec<Vec<u8>> {
        chunks.iter().map(|segment| segment.iter().flat_map(Chunk::bytes).collect()).collect()
    }

    #[test]
    fn samples_as_they_are() {
        let report = read(&init(&movie()), &segments(&chunks()));
        assert_eq!(report.findings, Vec::<String>::new());
        assert_eq!((report.segments, report.chunks, report.samples.len()), (2, 4, 8));
        let times: Vec<_> = report.samples[..4].iter().map(|sample| (sample.dts, sample.pts)).collect();
        assert_eq!(times, [(900_000, 900_000), (903_000, 909_000), (906_000, 903_000), (909_000, 906_000)]);
        let [first, second, third, _] = &report.samples[..4] else { panic!() };
        assert_eq!(
            (first.sync, first.disposable, first.duration, first.data.as_slice()),
            (true, false, 3_000, &[0, 0, 0, 2, 0x65, 7][..])
        );
        assert_eq!((second.sync, second.disposable), (false, false));
        assert_eq!((third.sync, third.disposable, third.segment, third.chunk), (false, true, 0, 1));
        let track = report.track.unwrap();
        assert_eq!(
            (track.coding, track.timescale, track.parameter_sets),
            (Coding::H264, 90_000, vec![vec![0x67, 1], vec![0x68, 2]])
        );
    }

    #[test]
    fn every_fault_of_a_chunk_is_found() {
        type Damage = fn(&mut Vec<Vec<Chunk>>);
        let damages: [(&str, Damage); 25] = [
            ("a gap of 1 ticks", |chunks| {
                chunks[1][0].traf().tfdt.as_mut().unwrap().base_media_decode_time += 1;
            }),
            ("an overlap of 1 ticks", |chunks| {
                chunks[0][1].traf().tfdt.as_mut().unwrap().base_media_decode_time -= 1;
            }),
            ("a gap of 6000 ticks", |chunks| drop(chunks[0].remove(1))),
            ("sequence number 0 became 7", |chunks| chunks[0][1].moof.mfhd.sequence_number = 7),
            ("sequence number 1 became 1", |chunks| chunks[1][0].moof.mfhd.sequence_number = 1),
            ("data offset", |chunks| *chunks[0][0].traf().trun[0].data_offset.as_mut().unwrap() -= 1),
            ("data offset None", |chunks| chunks[0][0].traf().trun[0].data_offset = None),
            ("do not count from the moof", |chunks| chunks[0][0].traf().tfhd.default_base_is_moof = false),
            ("track 2", |chunks| chunks[0][0].traf().tfhd.track_id = 2),
            ("one tfdt and one trun", |chunks| chunks[0][0].traf().tfdt = None),
            ("one tfdt and one trun", |chunks| drop(chunks[0][0].traf().trun.pop())),
            ("0 tracks", |chunks| drop(chunks[0][0].moof.traf.pop())),
            ("duration 0", |chunks| chunks[0][0].entry(0).duration = Some(0)),
            ("mdat has", |chunks| chunks[0][0].entry(1).size = Some(7)),
            ("belong to no sample", |chunks| chunks[0][0].payload.push(0)),
            ("the picture wants 0x02000000", |chunks| chunks[0][0].entry(0).flags = Some(NON_SYNC)),
            ("the picture wants 0x01010000", |chunks| {
                chunks[0][0].entry(1).flags = Some(NON_SYNC | DISPOSABLE);
            }),
            ("the picture wants 0x01010000", |chunks| chunks[0][1].entry(0).flags = Some(SYNC)),
            ("cut short", |chunks| chunks[0][0].payload[3] = 3),
            ("empty NAL unit", |chunks| chunks[0][0].payload.splice(0..4, [0; 4]).for_each(drop)),
            ("NAL unit type 9", |chunks| chunks[0][1].payload[4] = 9),
            ("a parameter set", |chunks| chunks[0][1].payload.splice(4..6, [0x67, 1]).for_each(drop)),
            ("its first picture at", |chunks| chunks[1][0].entry(0).cts = Some(10)),
            ("at the same time", |chunks| chunks[0][1].entry(0).cts = Some(3_000)),
            ("no random access point", |chunks| drop(chunks[1].remove(0))),
        ];
        for (expected, damage) in damages {
            let mut chunks = chunks();
            damage(&mut chunks);
            let findings = read(&init(&movie()), &segments(&chunks)).findings;
            assert!(findings.iter().any(|finding| finding.contains(expected)), "{expected}: {findings:?}");
        }
    }

    #[test]
    fn every_fault_of_an_init_segment_is_found() {
        type Damage = fn(&mut Moov);
        let damages: [(&str, Damage); 8] = [
            ("no duration", |moov| moov.mvhd.duration = 1),
            ("no duration", |moov| moov.trak[0].mdia.mdhd.duration = 1),
            ("an edit list", |moov| moov.trak[0].edts = Some(Edts::default())),
            ("no trex", |moov| moov.mvex = None),
            ("2 tracks", |moov| moov.trak.push(moov.trak[0].clone())),
            ("handler", |moov| moov.trak[0].mdia.hdlr.handler = b"soun".into()),
            ("tables", |moov| moov.trak[0].mdia.minf.stbl.stco = Some(Stco { entries: vec![7] })),
            ("sample entries", |moov| moov.trak[0].mdia.minf.stbl.stsd.codecs.clear()),
        ];
        for (expected, damage) in damages {
            let mut moov = movie();
            damage(&mut moov);
            let findings = read(&init(&moov), &segments(&chunks())).findings;
            assert!(findings.iter().any(|finding| finding.contains(expected)), "{expected}: {findings:?}");
        }
        let good = init(&movie());
        let mut other_brand = good.clone();
        other_brand[16..20].copy_from_slice(b"isom");
        for (what, bytes) in
            [("brand", &other_brand[..]), ("no ftyp", &good[20..]), ("cut", &good[..good.len() - 1])]
        {
            assert!(!read(bytes, &segments(&chunks())).findings.is_empty(), "{what}");
        }
    }

    #[test]
    fn what_stands_between_chunks() {
        let segments = segments(&chunks());
        let styp = b"\0\0\0\x10stypmsdh\0\0\0\0".to_vec();
        let prft = b"\0\0\0\x20prft\x01\0\0\x18\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        let moof_alone = chunks()[0][0].bytes()[..100].to_vec();
        let cases: [(&str, Vec<Vec<u8>>, bool); 7] = [
            ("styp, prft", vec![styp.clone(), prft.clone(), segments[0].clone()], true),
            ("styp in the middle", vec![prft, styp, segments[0].clone()], false),
            ("a sidx", vec![b"\0\0\0\x08sidx".to_vec(), segments[0].clone()], false),
            ("mdat alone", vec![b"\0\0\0\x08mdat".to_vec(), segments[0].clone()], false),
            ("bytes behind", vec![segments[0].clone(), vec![0; 5]], false),
            ("cut short", vec![segments[0][..segments[0].len() - 1].to_vec()], false),
            ("cut inside a moof", vec![moof_alone], false),
        ];
        for (name, pieces, fine) in cases {
            let report = read(&init(&movie()), &[pieces.concat()]);
            assert_eq!(report.findings.is_empty(), fine, "{name}: {:?}", report.findings);
        }
    }

    #[test]
    fn an_announced_discontinuity_is_no_gap() {
        let mut late = chunks();
        late[1]
            .iter_mut()
            .for_each(|chunk| chunk.traf().tfdt.as_mut().unwrap().base_media_decode_time += 90_000);
        let segments = segments(&late);
        assert_eq!(read(&init(&movie()), &segments).findings.len(), 1);
        let mut reader = Fmp4Reader::new();
        reader.init(&init(&movie()));
        reader.segment(&segments[0]);
        reader.discontinuity();
        reader.segment(&segments[1]);
        assert_eq!(reader.finish().findings, Vec::<String>::new());
    }

    #[test]
    fn every_truncation_is_found() {
        let segment = segments(&chunks()).remove(0);
        let first = chunks()[0][0].bytes().len();
        for end in 0..segment.len() {
            let found = !read(&init(&movie()), &[segment[..end].to_vec()]).findings.is_empty();
            assert_eq!(found, end != first, "{end}");
        }
    }
}

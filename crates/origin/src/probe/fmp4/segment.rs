//! One media segment taken apart: the samples of each track in time and in bytes, and the faults that are its own.

use std::collections::BTreeMap;
use std::ops::Range;

use headwater_manifest::hls::check::Severity;
use mp4_atom::{Mfhd, Tfdt, Tfhd, Trun};

use super::super::es::FirstUnit;
use super::super::report::Log;
use super::boxes::{Atom, LEAF_BYTES_MAX, Level, TRUN_BYTES_MAX};
use super::init::{Defaults, Init, Track, TrackKind};
use super::{SEVERE_MS, milliseconds};

/// Samples of a segment that are looked at: a minute of 48 kHz sound in single samples is three times as many, of AAC
/// frames a thousandth.
const SAMPLES_MAX: u64 = 1 << 20;
/// Bytes of a segment's first picture that are searched for NAL units.
const FIRST_UNIT_BYTES_MAX: usize = 4 << 20;
/// sample_is_non_sync_sample (14496-12 8.8.3.1).
const NON_SYNC: u32 = 0x0001_0000;
/// Different faults of one segment; each is a kind of fault here, not an occurrence.
const FAULTS_MAX: usize = 32;

/// A track's samples within one segment. Times are ticks of the track.
#[derive(Debug, Clone)]
pub(super) struct TrackRun {
    /// tfdt of the first fragment.
    pub(super) start: i128,
    /// Where the next fragment has to begin.
    pub(super) end: i128,
    /// The earliest presentation time, an edit list left aside.
    pub(super) earliest: i128,
    /// Sum of the durations.
    pub(super) length: i128,
    pub(super) samples: u64,
    /// The first sample's flags let decoding start there.
    pub(super) first_sync: bool,
    /// The first sample's bytes as far as they could be looked at.
    pub(super) first_unit: Option<FirstUnit>,
}

impl TrackRun {
    /// The mean duration of a sample in ticks.
    pub(super) fn frame(&self) -> i128 {
        self.length.checked_div(i128::from(self.samples)).unwrap_or(0)
    }
}

/// What a segment's boxes amount to.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) runs: BTreeMap<u32, TrackRun>,
    faults: Vec<Fault>,
}

#[derive(Debug)]
struct Fault {
    severity: Severity,
    rule: &'static str,
    /// Tells faults of one rule apart.
    key: &'static str,
    first: String,
    count: u64,
}

impl Scan {
    /// Takes `bytes` apart.
    pub(super) fn read(init: &Init, bytes: &[u8]) -> Scan {
        let mut scan = Scan::default();
        let file = Level::read(bytes);
        if file.left_over > 0 {
            scan.error("cmaf 8.2", "left over", || {
                format!("the last {} bytes are no whole box", file.left_over)
            });
        }
        scan.check_order(&file);
        let payloads: Vec<Range<usize>> = file.all(*b"mdat").map(|atom| payload(atom)).collect();
        let mut reader = Reader { init, bytes, payloads, used: 0, samples: 0, tracks_given_up: false };
        for moof in file.all(*b"moof") {
            reader.moof(moof, &mut scan);
        }
        let held: usize = reader.payloads.iter().map(ExactSizeIterator::len).fold(0, usize::saturating_add);
        if !reader.tracks_given_up && reader.used < held && reader.samples < SAMPLES_MAX {
            let spare = held.saturating_sub(reader.used);
            scan.warning("cmaf 3.1", "spare", || format!("{spare} bytes of mdat belong to no sample"));
        }
        scan
    }

    /// moof, then its mdat (14496-12 8.8.4; CMAF: a chunk is the two).
    fn check_order(&mut self, file: &Level<'_>) {
        let mut open = false;
        for atom in &file.boxes {
            match &atom.kind {
                b"moof" => {
                    if open {
                        self.error("cmaf 3", "moof", || "a moof has no mdat behind it".to_owned());
                    }
                    open = true;
                }
                b"mdat" => {
                    if !open {
                        self.error("cmaf 3", "mdat", || "an mdat has no moof in front of it".to_owned());
                    }
                    open = false;
                }
                b"ftyp" | b"moov" => {
                    let name = atom.name();
                    self.notice("cmaf 3.10", "moov", || format!("the segment brings a {name} of its own"));
                }
                _ => {}
            }
        }
        if open {
            self.error("cmaf 3", "moof", || "the segment ends behind a moof".to_owned());
        }
        if file.first(*b"moof").is_none() {
            self.error("cmaf 3", "none", || "there is no moof in it".to_owned());
        }
    }

    /// The faults as findings.
    pub(super) fn report(self, place: &str, log: &mut Log) -> BTreeMap<u32, TrackRun> {
        for Fault { severity, rule, first, count, .. } in self.faults {
            let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
            log.add(severity, rule, format!("{place}: {first}{more}"));
        }
        self.runs
    }

    fn add(
        &mut self,
        severity: Severity,
        rule: &'static str,
        key: &'static str,
        first: impl FnOnce() -> String,
    ) {
        let same = |fault: &&mut Fault| (fault.severity, fault.rule, fault.key) == (severity, rule, key);
        if let Some(fault) = self.faults.iter_mut().find(same) {
            fault.count = fault.count.saturating_add(1);
        } else if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { severity, rule, key, first: first(), count: 1 });
        }
    }

    fn error(&mut self, rule: &'static str, key: &'static str, first: impl FnOnce() -> String) {
        self.add(Severity::Error, rule, key, first);
    }

    fn warning(&mut self, rule: &'static str, key: &'static str, first: impl FnOnce() -> String) {
        self.add(Severity::Warning, rule, key, first);
    }

    fn notice(&mut self, rule: &'static str, key: &'static str, first: impl FnOnce() -> String) {
        self.add(Severity::Notice, rule, key, first);
    }
}

/// Where a box's body lies.
fn payload(atom: &Atom<'_>) -> Range<usize> {
    let end = atom.at.saturating_add(atom.whole.len());
    end.saturating_sub(atom.body.len())..end
}

struct Reader<'a> {
    init: &'a Init,
    bytes: &'a [u8],
    /// The bodies of the mdat boxes, in order.
    payloads: Vec<Range<usize>>,
    /// Bytes that samples have.
    used: usize,
    samples: u64,
    /// A track fragment could not be followed: what bytes belong to whom is not known.
    tracks_given_up: bool,
}

impl Reader<'_> {
    fn moof(&mut self, moof: &Atom<'_>, scan: &mut Scan) {
        let level = Level::read(moof.body);
        if level.left_over > 0 {
            scan.error("cmaf 8.2", "moof", || "a moof is not filled by its boxes".to_owned());
        }
        match level.first(*b"mfhd").map(|atom| atom.leaf::<Mfhd>(LEAF_BYTES_MAX)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => scan.error("cmaf 3", "mfhd", || error),
            None => scan.error("cmaf 3", "mfhd", || "a moof has no mfhd".to_owned()),
        }
        for traf in level.all(*b"traf") {
            if let Err((rule, error)) = self.traf(moof, traf, scan) {
                self.tracks_given_up = true;
                scan.error(rule, "traf", || error);
            }
        }
        if level.first(*b"traf").is_none() {
            scan.error("cmaf 3.1", "empty", || "a moof has no traf".to_owned());
        }
    }

    fn traf(
        &mut self,
        moof: &Atom<'_>,
        traf: &Atom<'_>,
        scan: &mut Scan,
    ) -> Result<(), (&'static str, String)> {
        let level = Level::read(traf.body);
        let header = level.first(*b"tfhd").ok_or_else(|| ("cmaf 3", "a traf has no tfhd".to_owned()))?;
        let header: Tfhd = header.leaf(LEAF_BYTES_MAX).map_err(|error| ("cmaf 3", error))?;
        let init = self.init;
        let track = init.track(header.track_id).ok_or_else(|| {
            (
                "cmaf 1.1",
                format!("a traf is of track {}, which the init segment doesn't have", header.track_id),
            )
        })?;
        if header.base_data_offset.is_some() {
            // Media Source Extensions' byte stream format for ISO BMFF, clause 4: must be refused.
            scan.error("cmaf 3", "base", || "tfhd has a base_data_offset, which browsers refuse".to_owned());
            self.tracks_given_up = true;
        } else if !header.default_base_is_moof {
            scan.error("cmaf 3", "base", || {
                "tfhd lacks default-base-is-moof, which browsers ask for".to_owned()
            });
        }
        let defaults = Defaults {
            duration: header.default_sample_duration.unwrap_or(track.defaults.duration),
            size: header.default_sample_size.unwrap_or(track.defaults.size),
            flags: header.default_sample_flags.unwrap_or(track.defaults.flags),
        };
        let before = scan.runs.get(&track.id).map(|run| run.end);
        let start = match level.first(*b"tfdt") {
            Some(atom) => {
                let tfdt: Tfdt = atom.leaf(LEAF_BYTES_MAX).map_err(|error| ("cmaf 3.3", error))?;
                i128::from(tfdt.base_media_decode_time)
            }
            None => {
                // 8216bis 3.1.2 and the byte stream format of MSE: required.
                scan.error("cmaf 3.3", "tfdt", || "a traf has no tfdt: its time is not known".to_owned());
                before.unwrap_or(0)
            }
        };
        if let Some(end) = before {
            note_break(scan, track, start, end);
        }
        let mut cursor = Cursor { time: start, next_byte: None };
        let mut runs = 0_u64;
        for atom in level.all(*b"trun") {
            let trun: Trun = atom.leaf(TRUN_BYTES_MAX).map_err(|error| ("cmaf 3.1", error))?;
            runs += 1;
            self.trun(moof, track, &trun, defaults, &mut cursor, scan);
        }
        if runs == 0 {
            scan.warning("cmaf 3.1", "trun", || "a traf has no trun".to_owned());
        }
        if let Some(run) = scan.runs.get_mut(&track.id) {
            run.end = cursor.time;
        }
        Ok(())
    }

    fn trun(
        &mut self,
        moof: &Atom<'_>,
        track: &Track,
        trun: &Trun,
        defaults: Defaults,
        cursor: &mut Cursor,
        scan: &mut Scan,
    ) {
        let mut byte = match (trun.data_offset, cursor.next_byte) {
            (Some(offset), _) => {
                isize::try_from(offset).ok().and_then(|offset| moof.at.checked_add_signed(offset))
            }
            (None, Some(next)) => Some(next),
            (None, None) => {
                scan.error("cmaf 3.1", "offset", || "the first trun of a traf has no data offset".to_owned());
                None
            }
        };
        let (mut outside, mut still) = (0_u64, 0_u64);
        for sample in &trun.samples {
            if self.samples >= SAMPLES_MAX {
                scan.notice("cmaf 3", "many", || {
                    format!("only the first {SAMPLES_MAX} samples are examined")
                });
                break;
            }
            self.samples += 1;
            let size = usize::try_from(sample.size.unwrap_or(defaults.size)).unwrap_or(usize::MAX);
            let duration = sample.duration.unwrap_or(defaults.duration);
            let flags = sample.flags.unwrap_or(defaults.flags);
            let place = byte.and_then(|at| self.place(at, size));
            if place.is_none() {
                outside += 1;
            }
            self.used = self.used.saturating_add(size);
            byte = byte.and_then(|at| at.checked_add(size));
            still += u64::from(duration == 0);
            let presented = cursor.time.saturating_add(i128::from(sample.cts.unwrap_or(0)));
            let run = scan.runs.entry(track.id).or_insert_with(|| TrackRun {
                start: cursor.time,
                end: cursor.time,
                earliest: presented,
                length: 0,
                samples: 0,
                first_sync: flags & NON_SYNC == 0,
                first_unit: place.and_then(|place| first_unit(track, self.bytes.get(place)?)),
            });
            run.earliest = run.earliest.min(presented);
            run.length = run.length.saturating_add(i128::from(duration));
            run.samples += 1;
            cursor.time = cursor.time.saturating_add(i128::from(duration));
        }
        cursor.next_byte = byte;
        if trun.samples.is_empty() {
            scan.warning("cmaf 3.1", "no sample", || "a trun has no sample".to_owned());
        }
        if outside > 0 {
            scan.error("cmaf 8.2", "outside", || {
                format!(
                    "{outside} sample(s) of a trun lie outside of every mdat: data offset or sizes are wrong"
                )
            });
        }
        if still > 0 && track.kind != TrackKind::Other {
            scan.warning("cmaf 3.6", "still", || format!("{still} sample(s) of a trun have no duration"));
        }
    }

    /// The bytes of a sample when they lie within one mdat.
    fn place(&self, at: usize, size: usize) -> Option<Range<usize>> {
        let end = at.checked_add(size)?;
        let behind = self.payloads.partition_point(|payload| payload.start <= at);
        let payload = self.payloads.get(behind.checked_sub(1)?)?;
        (end <= payload.end).then_some(at..end)
    }
}

/// Where the next trun of a traf goes on.
struct Cursor {
    time: i128,
    next_byte: Option<usize>,
}

/// A fragment whose tfdt is not where the one before ended.
fn note_break(scan: &mut Scan, track: &Track, start: i128, end: i128) {
    let off = start.saturating_sub(end);
    if off == 0 {
        return;
    }
    let off_ms = milliseconds(off, track.timescale);
    let severity = break_severity(off_ms);
    let kind = if off > 0 { "a gap" } else { "an overlap" };
    let id = track.id;
    scan.add(severity, "cmaf 3.3", "break", || {
        format!("{kind} of {:.1} ms between two fragments of track {id}", off_ms.abs())
    });
}

/// Rounding is harmless, a lost frame is seen, half a second is a fault of the timeline.
pub(super) fn break_severity(off_ms: f64) -> Severity {
    if off_ms.abs() > SEVERE_MS {
        Severity::Error
    } else if off_ms.abs() >= 1.0 {
        Severity::Warning
    } else {
        Severity::Notice
    }
}

/// The NAL units of a track's first picture.
fn first_unit(track: &Track, sample: &[u8]) -> Option<FirstUnit> {
    let entry = track.entry.as_ref().filter(|entry| !entry.encrypted)?;
    let (codec, length_size) = entry.nal?;
    let sample = sample.get(..sample.len().min(FIRST_UNIT_BYTES_MAX))?;
    Some(FirstUnit::read_sized(codec, sample, length_size))
}

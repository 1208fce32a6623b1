//! An initialization segment: its tracks, and what of it a player would stumble over.

use headwater_manifest::hls::check::{Severity, excerpt};
use mp4_atom::{Elst, Ftyp, Mdhd, Mvhd, Tkhd, Trex};

use super::super::report::Log;
use super::boxes::{Atom, LEAF_BYTES_MAX, Level};
use super::entry::SampleEntry;

/// Tracks of one file that are examined; CMAF has one, HLS two or three.
const TRACKS_MAX: usize = 16;

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrackKind {
    Video,
    Audio,
    Other,
}

/// A track of an init segment.
#[derive(Debug, Clone)]
pub(super) struct Track {
    pub(super) id: u32,
    pub(super) kind: TrackKind,
    /// Ticks per second, not 0.
    pub(super) timescale: u32,
    pub(super) entry: Option<SampleEntry>,
    /// From its trex.
    pub(super) defaults: Defaults,
    /// What its edit list takes from media time to get presentation time, in ticks.
    pub(super) edit_shift: i128,
}

/// What a sample has when nothing else says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Defaults {
    pub(super) duration: u32,
    pub(super) size: u32,
    pub(super) flags: u32,
}

/// What the playlist or the MPD says about the file.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Declared {
    /// The codecs that may be in it, as they are written; empty when nothing is said.
    pub(in super::super) codecs: Vec<String>,
    /// Every one of `codecs` must be in it.
    pub(in super::super) exactly: bool,
    pub(in super::super) resolution: Option<(u64, u64)>,
    /// `CODECS` or `@codecs`.
    pub(in super::super) attribute: &'static str,
    /// Of `codecs`.
    pub(in super::super) codecs_rule: &'static str,
    /// Of `resolution`.
    pub(in super::super) resolution_rule: &'static str,
}

/// An initialization segment.
#[derive(Debug, Clone, Default)]
pub(super) struct Init {
    pub(super) tracks: Vec<Track>,
}

impl Init {
    pub(super) fn track(&self, id: u32) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    /// Codecs and sizes, for a summary.
    pub(super) fn describe(&self) -> String {
        let tracks = self.tracks.iter().map(|track| match &track.entry {
            Some(SampleEntry { codec, size: Some((width, height)), .. }) => {
                format!("{codec} {width}x{height}")
            }
            Some(SampleEntry { codec, .. }) => codec.clone(),
            None => "unknown".to_owned(),
        });
        tracks.collect::<Vec<_>>().join(" + ")
    }

    /// Reads one; `None` when it has no track that segments could belong to.
    pub(super) fn read(bytes: &[u8], log: &mut Log) -> Option<Init> {
        let file = Level::read(bytes);
        if file.left_over > 0 {
            log.error(
                "cmaf 8.2",
                format!("the init segment ends with {} bytes that are no box", file.left_over),
            );
        }
        check_brands(&file, log);
        if file.boxes.iter().any(|atom| matches!(&atom.kind, b"moof" | b"mdat")) {
            // 8216bis 3.1.1: no samples.
            log.error("cmaf 2.1", "the init segment holds media");
        }
        let Some(movie) = file.within(*b"moov") else {
            log.error("cmaf 2.1", "the init segment has no moov");
            return None;
        };
        if movie.left_over > 0 {
            log.error("cmaf 8.2", "the moov is not filled by its boxes");
        }
        let header = movie.first(*b"mvhd").map(|atom| atom.leaf::<Mvhd>(LEAF_BYTES_MAX));
        let movie_timescale = match header {
            Some(Ok(header)) => header.timescale,
            Some(Err(error)) => {
                log.error("cmaf 2.1", error);
                0
            }
            None => {
                log.error("cmaf 2.1", "the init segment has no mvhd");
                0
            }
        };
        let extends = movie.within(*b"mvex");
        if extends.is_none() {
            log.error("cmaf 2.1", "the init segment has no mvex: players don't expect fragments behind it");
        }
        let mut init = Init::default();
        for atom in movie.all(*b"trak").take(TRACKS_MAX) {
            match track(atom, movie_timescale) {
                Ok(track) if init.track(track.id).is_some() => {
                    log.error("cmaf 1.1", format!("two tracks have the track_ID {}", track.id));
                }
                Ok(track) => init.tracks.push(track),
                Err(error) => log.error("cmaf 2", format!("a track of the init segment: {error}")),
            }
        }
        if init.tracks.is_empty() {
            log.error("cmaf 2.1", "the init segment has no track that can be read");
            return None;
        }
        for track in &mut init.tracks {
            check_entry(track, log);
            if let Some(extends) = &extends {
                take_defaults(track, extends, log);
            }
        }
        Some(init)
    }

    /// Holds the tracks against what is announced.
    pub(super) fn check_declared(&self, declared: &Declared, log: &mut Log) {
        let (attribute, rule) = (declared.attribute, declared.codecs_rule);
        let written = || excerpt(&declared.codecs.join(","));
        for track in &self.tracks {
            let Some(entry) = &track.entry else { continue };
            if !declared.codecs.is_empty() {
                match entry.best_agreement(&declared.codecs) {
                    Agreement::Same => {}
                    Agreement::Parameters => log.warning(
                        rule,
                        format!("the file has {}, and {attribute} says {}", entry.codec, written()),
                    ),
                    Agreement::None => log.error(
                        rule,
                        format!(
                            "the file has {}, which {attribute} does not name: {}",
                            entry.codec,
                            written()
                        ),
                    ),
                }
            }
            if let (Some((width, height)), Some((wide, high))) = (entry.size, declared.resolution)
                && (u64::from(width), u64::from(height)) != (wide, high)
            {
                log.warning(
                    declared.resolution_rule,
                    format!("the file's picture is {width}x{height}, and {wide}x{high} is announced"),
                );
            }
        }
        if declared.exactly {
            for codec in &declared.codecs {
                let known = self.tracks.iter().all(|track| track.entry.is_some());
                let mut entries = self.tracks.iter().filter_map(|track| track.entry.as_ref());
                if known && entries.all(|entry| entry.agreement(codec) == Agreement::None) {
                    let codec = excerpt(codec);
                    log.error(rule, format!("{attribute} says {codec}, and no track of the file is that"));
                }
            }
        }
    }
}

/// How well an announced codec fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Agreement {
    None,
    /// The same coding with another profile or level.
    Parameters,
    Same,
}

/// 8216bis 3.1.2: iso6 or higher is listed as compatible.
fn check_brands(file: &Level<'_>, log: &mut Log) {
    let Some(atom) = file.boxes.first().filter(|atom| &atom.kind == b"ftyp") else {
        log.error("cmaf 2.1", "the init segment does not start with ftyp");
        return;
    };
    match atom.leaf::<Ftyp>(LEAF_BYTES_MAX) {
        Err(error) => log.error("cmaf 2.1", error),
        Ok(ftyp) => {
            let brands = || std::iter::once(&ftyp.major_brand).chain(&ftyp.compatible_brands);
            let high = |brand: &[u8; 4]| matches!(brand, [b'i', b's', b'o', b'6'..=b'9' | b'a'..=b'c'] | [b'c', b'm', b'f', _]);
            if !brands().any(|brand| high(brand.as_ref())) {
                let listed: Vec<String> =
                    brands().take(8).map(|brand| brand.as_ref().escape_ascii().to_string()).collect();
                log.error("cmaf 2", format!("ftyp lists no brand of iso6 or higher: {}", listed.join(" ")));
            }
        }
    }
}

fn track(trak: &Atom<'_>, movie_timescale: u32) -> Result<Track, String> {
    let level = Level::read(trak.body);
    let header: Tkhd = level.first(*b"tkhd").ok_or("no tkhd")?.leaf(LEAF_BYTES_MAX)?;
    let media = level.within(*b"mdia").ok_or("no mdia")?;
    let media_header: Mdhd = media.first(*b"mdhd").ok_or("no mdhd")?.leaf(LEAF_BYTES_MAX)?;
    if media_header.timescale == 0 {
        return Err("its timescale is 0".to_owned());
    }
    // Read here: a name that is no UTF-8 makes mp4-atom refuse the whole box.
    let handler = media.first(*b"hdlr").ok_or("no hdlr")?.body.get(8..12).ok_or("hdlr is cut short")?;
    let kind = match handler {
        b"vide" => TrackKind::Video,
        b"soun" => TrackKind::Audio,
        _ => TrackKind::Other,
    };
    let entries = media.within(*b"minf").and_then(|level| level.within(*b"stbl"));
    let entries = entries.as_ref().and_then(|level| level.first(*b"stsd")).ok_or("no stsd")?;
    // Version, flags and the count stand in front of the entries.
    let entries = Level::read(entries.body.get(8..).ok_or("stsd is cut short")?);
    let entry = entries.boxes.first().map(|atom| SampleEntry::read(atom, kind)).transpose()?;
    let edits = level.within(*b"edts");
    let edits = edits.as_ref().and_then(|level| level.first(*b"elst"));
    let edits = edits.map(|atom| atom.leaf::<Elst>(LEAF_BYTES_MAX)).transpose()?;
    let edit_shift = edits.map_or(0, |edits| shift(&edits, media_header.timescale, movie_timescale));
    let timescale = media_header.timescale;
    Ok(Track { id: header.track_id, kind, timescale, entry, defaults: Defaults::default(), edit_shift })
}

/// Media time of the first edit that has media, less the empty edits in front of it (14496-12 8.6.6).
fn shift(edits: &Elst, timescale: u32, movie_timescale: u32) -> i128 {
    let empty = edits.entries.iter().take_while(|edit| edit.media_time.is_none());
    let empty = empty.fold(0_i128, |sum, edit| sum.saturating_add(i128::from(edit.segment_duration)));
    let empty =
        empty.saturating_mul(i128::from(timescale)).checked_div(i128::from(movie_timescale)).unwrap_or(0);
    let start = edits.entries.iter().find_map(|edit| edit.media_time).map_or(0, i128::from);
    start.saturating_sub(empty)
}

fn check_entry(track: &Track, log: &mut Log) {
    let Some(entry) = &track.entry else {
        log.error("cmaf 2.3", format!("track {} has no sample entry", track.id));
        return;
    };
    for (severity, rule, message) in &entry.remarks {
        log.add(*severity, rule, format!("track {}: {message}", track.id));
    }
    if matches!(entry.codec.get(..4), Some("hev1" | "avc3")) {
        // Apple's authoring specification 1.10.
        let codec = &entry.codec;
        log.add(Severity::Warning, "hls 4.9", format!("the file has {codec}; Safari wants hvc1 and avc1"));
    }
}

fn take_defaults(track: &mut Track, extends: &Level<'_>, log: &mut Log) {
    let all = extends.all(*b"trex").take(TRACKS_MAX).map(|atom| atom.leaf::<Trex>(LEAF_BYTES_MAX));
    match all.flatten().find(|trex| trex.track_id == track.id) {
        Some(trex) => {
            track.defaults = Defaults {
                duration: trex.default_sample_duration,
                size: trex.default_sample_size,
                flags: trex.default_sample_flags,
            };
        }
        None => log.error("cmaf 2.1", format!("mvex has no trex of track {}", track.id)),
    }
}

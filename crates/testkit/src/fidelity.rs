//! The proof that what an encoder sent has arrived: in order, once, unchanged, in sync.
//!
//! The sent file ([`crate::flv::Reference`]) and the received stream ([`crate::ts::TsReport`], or two
//! [`crate::fmp4::Fmp4Report`]s) are aligned unit by unit by content; times are then compared for aligned pairs, relative to
//! the first picture, so that a shift of one track against the other shows.

use crate::flv::{self, Reference};
use crate::fmp4::Fmp4Report;
use crate::ts::TsReport;

/// A unit may be this far from its place, in 90 kHz ticks: 1 ms. Pictures have exact stamps.
const VIDEO_TOLERANCE: i64 = 90;

/// A single frame of audio may be this far from its stamp, in 90 kHz ticks: 2 ms, 1 ms beside the stamp's own rounding to
/// milliseconds on either side. The tracks' offset over a stretch of frames is held to [`OFFSET_TOLERANCE`].
const AUDIO_TOLERANCE: i64 = 180;

/// Audio may be offset against video by this much, averaged over [`OFFSET_STRETCH`] frames, in 90 kHz ticks: 1 ms.
const OFFSET_TOLERANCE: i64 = 90;

/// Frames over which the offset is averaged, about 1.4 s of AAC: roundings cancel, drift does not.
const OFFSET_STRETCH: usize = 64;

/// How far ahead the alignment looks for a unit before it calls it changed.
const RESYNC_MAX: usize = 512;

/// Findings that are kept; the rest is counted.
const FINDINGS_MAX: usize = 50;

/// How the two compare.
#[derive(Debug, Clone, Default)]
pub struct Fidelity {
    /// Pictures sent from the first keyframe on.
    pub video_sent: usize,
    /// Pictures received.
    pub video_received: usize,
    /// Audio frames sent from the first keyframe on (all without video).
    pub audio_sent: usize,
    /// Audio frames received.
    pub audio_received: usize,
    /// Largest deviation of a picture's PTS or DTS from its place, in microseconds.
    pub video_deviation_us: i64,
    /// Largest deviation of an audio frame from its stamp, in microseconds.
    pub audio_deviation_us: i64,
    /// The audio's offset against the video with the largest magnitude, averaged over 64 frames, in microseconds.
    pub offset_us: i64,
    /// What differs, one sentence each; empty when everything arrived.
    pub findings: Vec<String>,
    /// Findings that were counted but not kept.
    pub findings_dropped: usize,
}

impl Fidelity {
    /// True when nothing was found.
    pub fn is_faithful(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, what: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(what);
        } else {
            self.findings_dropped += 1;
        }
    }
}

/// A unit of either track, ready to be compared. Times are 90 kHz ticks.
struct Unit {
    pts: i64,
    /// Absent where the packaging moves decode times by design.
    dts: Option<i64>,
    content: Vec<Vec<u8>>,
}

/// Compares everything that was sent, from the first keyframe to the end, with everything that was received.
///
/// Audio stamped before the first keyframe's PTS may be missing, as a run at the start. Delimiters, filler and parameter
/// sets equal to a configuration are left out on both sides.
pub fn compare(sent: &Reference, received: &TsReport) -> Fidelity {
    let mut fidelity = Fidelity::default();
    let mut video_received = Vec::new();
    for pes in received.video() {
        match pes.nal_units() {
            Ok(units) => {
                let content = content(units.into_iter(), sent);
                video_received.push(Unit { pts: pes.pts, dts: Some(pes.dts), content });
            }
            Err(error) => fidelity.find(format!("received picture {}: {error}", video_received.len())),
        }
    }
    let mut audio_received = Vec::new();
    for pes in received.audio() {
        match pes.audio_frames() {
            Ok(frames) => audio_received.extend(frames.into_iter().map(|(pts, raw)| Unit {
                pts,
                dts: None,
                content: vec![raw.to_vec()],
            })),
            Err(error) => fidelity.find(format!("received audio frame {}: {error}", audio_received.len())),
        }
    }
    compare_units(sent, &video_received, &audio_received, &mut fidelity);
    fidelity
}

/// As [`compare`], for CMAF: a report for each track file that there is.
///
/// PTS are compared, not DTS: CMAF's decode times are moved so that a segment's is the PTS of its first picture.
pub fn compare_fmp4(sent: &Reference, video: Option<&Fmp4Report>, audio: Option<&Fmp4Report>) -> Fidelity {
    let mut fidelity = Fidelity::default();
    let mut video_received = Vec::new();
    for (n, sample) in video.into_iter().flat_map(|report| &report.samples).enumerate() {
        match sample.nal_units() {
            Ok(units) => {
                let pts = mpeg_ticks(sample.pts, video);
                video_received.push(Unit { pts, dts: None, content: content(units.into_iter(), sent) });
            }
            Err(error) => fidelity.find(format!("received picture {n}: {error}")),
        }
    }
    let audio_samples = audio.into_iter().flat_map(|report| &report.samples);
    let audio_received: Vec<Unit> = audio_samples
        .map(|sample| Unit {
            pts: mpeg_ticks(sample.pts, audio),
            dts: None,
            content: vec![sample.data.clone()],
        })
        .collect();
    compare_units(sent, &video_received, &audio_received, &mut fidelity);
    fidelity
}

/// As [`compare`], for FLV: what the same reader made of what was received.
pub fn compare_flv(sent: &Reference, received: &Reference) -> Fidelity {
    let mut fidelity = Fidelity::default();
    let units = received.video.iter().map(|unit| Unit {
        pts: unit.pts_ms() * 90,
        dts: Some(unit.dts_ms * 90),
        content: content(unit.nal_units.iter().map(Vec::as_slice), sent),
    });
    let frames = received.audio.iter().map(|unit| Unit {
        pts: unit.ms * 90,
        dts: None,
        content: vec![unit.frame.clone()],
    });
    compare_units(sent, &units.collect::<Vec<_>>(), &frames.collect::<Vec<_>>(), &mut fidelity);
    fidelity
}

/// Ticks of a track in 90 kHz, to the nearest.
fn mpeg_ticks(ticks: i64, report: Option<&Fmp4Report>) -> i64 {
    let track = report.and_then(|report| report.track.as_ref());
    let rate = i128::from(track.map_or(90_000, |track| track.timescale.max(1)));
    i64::try_from((i128::from(ticks) * 90_000 + rate / 2).div_euclid(rate)).unwrap_or(i64::MAX)
}

fn compare_units(
    sent: &Reference,
    video_received: &[Unit],
    audio_received: &[Unit],
    fidelity: &mut Fidelity,
) {
    let first_keyframe = sent.video.iter().position(|unit| unit.idr);
    if !sent.video.is_empty() && first_keyframe.is_none() {
        fidelity.find("the sent file has no keyframe".to_owned());
    }

    let video_sent: Vec<Unit> = sent.video[first_keyframe.unwrap_or(sent.video.len())..]
        .iter()
        .map(|unit| Unit {
            pts: unit.pts_ms() * 90,
            dts: Some(unit.dts_ms * 90),
            content: content(unit.nal_units.iter().map(Vec::as_slice), sent),
        })
        .collect();
    let audio_all: Vec<Unit> = sent
        .audio
        .iter()
        .map(|unit| Unit { pts: unit.ms * 90, dts: None, content: vec![unit.frame.clone()] })
        .collect();

    // Everything is measured against the first picture; without video, against the first frame.
    let zero = match (video_sent.first(), video_received.first(), audio_all.first(), audio_received.first()) {
        (Some(sent), Some(received), _, _) | (None, None, Some(sent), Some(received)) => {
            received.pts - sent.pts
        }
        _ => 0,
    };
    let audio_sent = leading_audio_skipped(&audio_all, audio_received, video_sent.first(), zero);

    fidelity.video_sent = video_sent.len();
    fidelity.video_received = video_received.len();
    fidelity.audio_sent = audio_sent.len();
    fidelity.audio_received = audio_received.len();

    let video_pairs = align("picture", &video_sent, video_received, fidelity);
    for (index, (sent, received)) in video_pairs.iter().enumerate() {
        let dts = sent.dts.zip(received.dts).map(|(sent, received)| ("DTS", sent, received));
        for (name, sent, received) in [("PTS", sent.pts, received.pts)].into_iter().chain(dts) {
            let deviation = received - sent - zero;
            fidelity.video_deviation_us = fidelity.video_deviation_us.max(micros(deviation.abs()));
            if deviation.abs() > VIDEO_TOLERANCE {
                fidelity.find(format!("picture {index}: {name} is off by {} us", micros(deviation)));
            }
        }
    }

    let audio_pairs = align("audio frame", audio_sent, audio_received, fidelity);
    let deviations: Vec<i64> =
        audio_pairs.iter().map(|(sent, received)| received.pts - sent.pts - zero).collect();
    for (index, deviation) in deviations.iter().enumerate() {
        fidelity.audio_deviation_us = fidelity.audio_deviation_us.max(micros(deviation.abs()));
        if deviation.abs() > AUDIO_TOLERANCE {
            fidelity.find(format!("audio frame {index}: off by {} us", micros(*deviation)));
        }
    }
    for (stretch, deviations) in deviations.chunks(OFFSET_STRETCH).enumerate() {
        let offset = deviations.iter().sum::<i64>() / i64::try_from(deviations.len()).unwrap_or(1);
        // A short last stretch does not average roundings away.
        if deviations.len() < OFFSET_STRETCH && stretch > 0 {
            continue;
        }
        if micros(offset).abs() > fidelity.offset_us.abs() {
            fidelity.offset_us = micros(offset);
        }
        if offset.abs() > OFFSET_TOLERANCE {
            let at = stretch * OFFSET_STRETCH;
            fidelity.find(format!("audio from frame {at} on is off by {} us on average", micros(offset)));
        }
    }
}

fn micros(ticks: i64) -> i64 {
    ticks * 100 / 9
}

fn content<'a>(units: impl Iterator<Item = &'a [u8]>, sent: &Reference) -> Vec<Vec<u8>> {
    units.filter(|unit| flv::is_content(unit, &sent.parameter_sets)).map(<[u8]>::to_vec).collect()
}

/// The sent audio from the frame that the first received one should be; never past the first keyframe.
///
/// Chosen by time: frames of silence all have the same content.
fn leading_audio_skipped<'a>(
    sent: &'a [Unit],
    received: &[Unit],
    keyframe: Option<&Unit>,
    zero: i64,
) -> &'a [Unit] {
    let Some(keyframe) = keyframe else { return sent };
    let required = sent.iter().position(|unit| unit.pts >= keyframe.pts).unwrap_or(sent.len());
    let Some(first) = received.first() else { return &sent[required..] };
    let nearest = sent[..required]
        .iter()
        .enumerate()
        .chain(sent.iter().enumerate().skip(required).take(1))
        .min_by_key(|(_, unit)| (first.pts - zero - unit.pts).abs())
        .map_or(required, |(index, _)| index);
    &sent[nearest.min(required)..]
}

/// Pairs of equal units, in order; what has no partner is a finding.
fn align<'a>(
    name: &str,
    sent: &'a [Unit],
    received: &'a [Unit],
    fidelity: &mut Fidelity,
) -> Vec<(&'a Unit, &'a Unit)> {
    let mut pairs = Vec::new();
    let (mut s, mut r) = (0, 0);
    while let (Some(expected), Some(found)) = (sent.get(s), received.get(r)) {
        if expected.content == found.content {
            pairs.push((expected, found));
            s += 1;
            r += 1;
            continue;
        }
        let ahead = |list: &[Unit], from: usize, wanted: &Unit| {
            list.iter().skip(from).take(RESYNC_MAX).position(|unit| unit.content == wanted.content)
        };
        let lost = ahead(sent, s, found);
        let added = ahead(received, r, expected);
        match (lost, added) {
            (Some(count), added) if added.is_none_or(|added| count <= added) => {
                fidelity.find(format!("{count} {name}s from {s} on are missing before received {r}"));
                s += count;
            }
            (_, Some(count)) => {
                let known = received[r..r + count]
                    .iter()
                    .any(|unit| sent[..s].iter().any(|old| old.content == unit.content));
                let what = if known { "repeated or out of order" } else { "never sent" };
                fidelity.find(format!("{count} {name}s received from {r} on are {what}"));
                r += count;
            }
            _ => {
                fidelity.find(format!("{name} {s} was changed"));
                s += 1;
                r += 1;
            }
        }
    }
    if s < sent.len() {
        fidelity.find(format!("the last {} {name}s are missing, from {s} on", sent.len() - s));
    }
    if r < received.len() {
        fidelity.find(format!("{} {name}s too many at the end, from received {r} on", received.len() - r));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flv::{AudioUnit, VideoUnit};
    use crate::fmp4::{Sample, Track};
    use crate::ts::{Coding, Pes};

    /// 3 s of 25 pictures per second with two B-frames' reorder, and 48 kHz audio whose stamps are rounded as FLV does,
    /// starting 50 ms before the first keyframe's PTS; the middle of the audio is silence: all frames alike.
    fn sent() -> Reference {
        let parameter_sets = vec![vec![0x67, 1], vec![0x68, 2]];
        let video = (0..75)
            .map(|n: u8| VideoUnit {
                dts_ms: 1_000 + i64::from(n) * 40,
                cts_ms: 80,
                idr: n.is_multiple_of(25),
                nal_units: vec![vec![6, n, 1], vec![if n.is_multiple_of(25) { 0x65 } else { 0x41 }, n, 0xff]],
            })
            .collect();
        let audio = (0..140)
            .map(|n: i64| AudioUnit {
                ms: (1_030_000 + n * 64_000 / 3 + 500) / 1_000,
                frame: if (40..60).contains(&n) {
                    vec![0x21, 0x10]
                } else {
                    vec![0x21, u8::try_from(n).unwrap(), 7]
                },
            })
            .collect();
        Reference { video, audio, parameter_sets, audio_specific_config: None }
    }

    /// The stream that carries it faithfully, one audio frame per PES packet, on a clock of its own.
    fn received(sent: &Reference) -> TsReport {
        let start = 900_000 - 1_000 * 90;
        let pes = |coding, pts: i64, dts: i64, payload| Pes {
            segment: 0,
            packet: 0,
            pid: 0,
            coding,
            stream_id: 0,
            pts: pts + start,
            dts: dts + start,
            dts_written: pts != dts,
            random_access: false,
            pcr: false,
            declared_length: 0,
            payload,
        };
        let mut access_units = Vec::new();
        for unit in &sent.video {
            let mut payload = vec![0, 0, 0, 1, 9, 0xf0];
            let sets = if unit.idr { sent.parameter_sets.as_slice() } else { &[] };
            for nal in sets.iter().chain(&unit.nal_units) {
                payload.extend_from_slice(&[0, 0, 0, 1]);
                payload.extend_from_slice(nal);
            }
            access_units.push(pes(Coding::H264, unit.pts_ms() * 90, unit.dts_ms * 90, payload));
        }
        for (n, unit) in sent.audio.iter().enumerate() {
            let length = u8::try_from(unit.frame.len() + 7).unwrap();
            let mut payload = vec![0xff, 0xf1, 0x4c, 0x80, length >> 3, length << 5 | 0x1f, 0xfc];
            payload.extend_from_slice(&unit.frame);
            // Smooth: the first stamp, then samples counted.
            let pts = sent.audio.first().map_or(0, |first| first.ms * 90) + i64::try_from(n).unwrap() * 1_920;
            access_units.push(pes(Coding::Aac, pts, pts, payload));
        }
        TsReport { access_units, ..TsReport::default() }
    }

    fn audio_from(report: &TsReport) -> usize {
        report.access_units.iter().position(|pes| !pes.is_video()).unwrap()
    }

    #[test]
    fn a_faithful_copy_has_no_findings() {
        let sent = sent();
        let fidelity = compare(&sent, &received(&sent));
        assert_eq!(fidelity.findings, Vec::<String>::new());
        assert_eq!((fidelity.video_sent, fidelity.video_received), (75, 75));
        assert_eq!((fidelity.audio_sent, fidelity.audio_received), (140, 140));
        assert_eq!(fidelity.video_deviation_us, 0);
        assert!(fidelity.offset_us.abs() <= 1_000, "{}", fidelity.offset_us);
    }

    #[test]
    fn what_comes_before_the_first_keyframe_may_be_missing() {
        let mut sent = sent();
        let report = received(&sent);
        let mut late = report.clone();
        let first_audio = audio_from(&late);
        late.access_units.drain(first_audio..first_audio + 3);
        assert_eq!(
            compare(&sent, &late).findings,
            Vec::<String>::new(),
            "audio at 1,030 to 1,073 ms, picture at 1,080"
        );
        late.access_units.remove(first_audio);
        assert!(!compare(&sent, &late).is_faithful(), "the frame at 1,094 ms has to be there");
        sent.video
            .insert(0, VideoUnit { dts_ms: 960, cts_ms: 80, idr: false, nal_units: vec![vec![0x41, 99]] });
        assert_eq!(compare(&sent, &report).findings, Vec::<String>::new(), "a picture before the keyframe");
    }

    #[test]
    fn every_infidelity_is_found() {
        type Damage = fn(&mut TsReport, usize);
        let damages: [(&str, Damage); 18] = [
            ("picture lost", |report, _| drop(report.access_units.remove(30))),
            ("first picture lost", |report, _| drop(report.access_units.remove(0))),
            ("last picture lost", |report, audio| drop(report.access_units.remove(audio - 1))),
            ("picture repeated", |report, _| report.access_units.insert(31, report.access_units[30].clone())),
            ("pictures out of order", |report, _| report.access_units.swap(30, 31)),
            ("picture changed", |report, _| *report.access_units[30].payload.last_mut().unwrap() = 0xfe),
            ("NAL unit lost", |report, _| drop(report.access_units[30].payload.drain(6..13))),
            ("all video lost", |report, audio| drop(report.access_units.drain(..audio))),
            ("frame lost", |report, audio| drop(report.access_units.remove(audio + 100))),
            ("silent frame lost", |report, audio| drop(report.access_units.remove(audio + 50))),
            ("last frame lost", |report, _| drop(report.access_units.pop())),
            ("frame repeated", |report, audio| {
                report.access_units.insert(audio + 101, report.access_units[audio + 100].clone());
            }),
            ("frames out of order", |report, audio| report.access_units.swap(audio + 100, audio + 101)),
            ("frame changed", |report, audio| {
                *report.access_units[audio + 9].payload.last_mut().unwrap() = 0;
            }),
            ("all audio lost", |report, audio| report.access_units.truncate(audio)),
            ("audio 1.6 ms late", |report, audio| {
                report.access_units[audio..].iter_mut().for_each(|pes| pes.pts += 144);
            }),
            ("audio drifts by 20 us per frame", |report, audio| {
                let shift = |n: usize| i64::try_from(n * 2).unwrap();
                report.access_units[audio..].iter_mut().enumerate().for_each(|(n, pes)| pes.pts += shift(n));
            }),
            ("pictures 1.1 ms late but the first", |report, audio| {
                report.access_units[1..audio].iter_mut().for_each(|pes| pes.pts += 99);
            }),
        ];
        let sent = sent();
        for (name, damage) in damages {
            let mut report = received(&sent);
            let audio = audio_from(&report);
            damage(&mut report, audio);
            assert!(!compare(&sent, &report).is_faithful(), "{name}");
        }
    }

    /// The same stream as CMAF, decode times moved so that the first picture's is its PTS, audio on 48 kHz.
    fn received_cmaf(sent: &Reference) -> (Fmp4Report, Fmp4Report) {
        let report = |coding, timescale, samples| Fmp4Report {
            track: Some(Track { coding, track_id: 1, timescale, parameter_sets: Vec::new() }),
            samples,
            ..Fmp4Report::default()
        };
        let sample = |dts, pts, sync, data| Sample {
            segment: 0,
            chunk: 0,
            dts,
            pts,
            duration: 1,
            sync,
            disposable: false,
            data,
        };
        let video = sent.video.iter().map(|unit| {
            let mut data = Vec::new();
            for nal in &unit.nal_units {
                data.extend_from_slice(&u32::try_from(nal.len()).unwrap().to_be_bytes());
                data.extend_from_slice(nal);
            }
            sample((unit.dts_ms + 80 + 5_000) * 90, (unit.pts_ms() + 5_000) * 90, unit.idr, data)
        });
        let start = sent.audio.first().map_or(0, |first| (first.ms + 5_000) * 48);
        let audio = sent.audio.iter().enumerate().map(|(n, unit)| {
            let pts = start + i64::try_from(n).unwrap() * 1_024;
            sample(pts, pts, true, unit.frame.clone())
        });
        (report(Coding::H264, 90_000, video.collect()), report(Coding::Aac, 48_000, audio.collect()))
    }

    #[test]
    fn cmaf_is_compared_alike() {
        type Damage = fn(&mut Fmp4Report, &mut Fmp4Report);
        let damages: [(&str, Damage); 7] = [
            ("picture lost", |video, _| drop(video.samples.remove(30))),
            ("picture changed", |video, _| *video.samples[30].data.last_mut().unwrap() = 0xfe),
            ("picture cut short", |video, _| video.samples[30].data.truncate(9)),
            ("frame lost", |_, audio| drop(audio.samples.remove(100))),
            ("frame repeated", |_, audio| audio.samples.insert(101, audio.samples[100].clone())),
            ("audio 1.6 ms late", |_, audio| audio.samples.iter_mut().for_each(|sample| sample.pts += 77)),
            ("pictures 1.1 ms late but the first", |video, _| {
                video.samples[1..].iter_mut().for_each(|sample| sample.pts += 99);
            }),
        ];
        let sent = sent();
        let (video, audio) = received_cmaf(&sent);
        let fidelity = compare_fmp4(&sent, Some(&video), Some(&audio));
        assert_eq!(fidelity.findings, Vec::<String>::new());
        assert_eq!((fidelity.video_received, fidelity.audio_received), (75, 140));
        assert!(!compare_fmp4(&sent, Some(&video), None).is_faithful());
        assert!(!compare_fmp4(&sent, None, Some(&audio)).is_faithful());
        for (name, damage) in damages {
            let (mut video, mut audio) = (video.clone(), audio.clone());
            damage(&mut video, &mut audio);
            assert!(!compare_fmp4(&sent, Some(&video), Some(&audio)).is_faithful(), "{name}");
        }
    }

    #[test]
    fn audio_only_and_video_only() {
        let whole = sent();
        for (video, audio) in [(true, false), (false, true)] {
            let mut sent = whole.clone();
            if !video {
                sent.video.clear();
            }
            if !audio {
                sent.audio.clear();
            }
            let mut report = received(&sent);
            assert_eq!(compare(&sent, &report).findings, Vec::<String>::new());
            report.access_units.remove(20);
            assert!(!compare(&sent, &report).is_faithful());
        }
    }
}

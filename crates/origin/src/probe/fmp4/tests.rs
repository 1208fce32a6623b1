//! The examiner over ffmpeg's fragments, good and then spoilt in one respect at a time.
//!
//! The fixtures are output of ffmpeg 5.1: `-f lavfi -i testsrc2=s=64x36:r=25 -f lavfi -i sine=r=48000 -t 4 -c:v libx264
//! -preset veryfast -bf 2 -g 25 -keyint_min 25 -sc_threshold 0 -b:v 20k -x264-params info=0 -c:a aac -b:a 16k -map 0:v -map 1:a
//! -f hls -hls_time 1 -hls_segment_type fmp4 -var_stream_map "v:0,agroup:a a:0,agroup:a"`; `v` is video, `a` audio. Edit
//! lists with an empty edit start the video 80 ms and the audio 62 ms into the presentation.

use headwater_manifest::hls::check::Severity::{self, Error, Notice, Warning};

use super::super::report::Log;
use super::*;

const VIDEO_INIT: &[u8] = include_bytes!("../fixtures/v-init.mp4");
const AUDIO_INIT: &[u8] = include_bytes!("../fixtures/a-init.mp4");
const VIDEO: [&[u8]; 3] = [
    include_bytes!("../fixtures/v1.m4s"),
    include_bytes!("../fixtures/v2.m4s"),
    include_bytes!("../fixtures/v3.m4s"),
];
const AUDIO: [&[u8]; 3] = [
    include_bytes!("../fixtures/a1.m4s"),
    include_bytes!("../fixtures/a2.m4s"),
    include_bytes!("../fixtures/a3.m4s"),
];

/// The first box of that path, header and all.
fn find(bytes: &[u8], path: &[&[u8; 4]]) -> std::ops::Range<usize> {
    let (mut start, mut end) = (0, bytes.len());
    for (depth, kind) in path.iter().enumerate() {
        if depth > 0 {
            start += 8;
        }
        loop {
            assert!(start < end, "the fixture has {path:?}");
            let size = u32::from_be_bytes(bytes[start..start + 4].try_into().unwrap()) as usize;
            if &bytes[start + 4..start + 8] == *kind {
                end = start + size;
                break;
            }
            start += size;
        }
    }
    start..end
}

/// Changes the body of a box.
fn edit(mut bytes: Vec<u8>, path: &[&[u8; 4]], change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let range = find(&bytes, path);
    change(&mut bytes[range.start + 8..range.end]);
    bytes
}

/// Takes a box out and makes what is around it smaller.
fn without(bytes: Vec<u8>, path: &[&[u8; 4]]) -> Vec<u8> {
    let range = find(&bytes, path);
    cut(bytes, &path[..path.len() - 1], range)
}

/// Takes bytes out and makes the boxes of `path`, which are around them, smaller.
fn cut(mut bytes: Vec<u8>, path: &[&[u8; 4]], range: std::ops::Range<usize>) -> Vec<u8> {
    for depth in 1..=path.len() {
        let outer = find(&bytes, &path[..depth]).start;
        let size = u32::from_be_bytes(bytes[outer..outer + 4].try_into().unwrap());
        bytes[outer..outer + 4].copy_from_slice(&(size - range.len() as u32).to_be_bytes());
    }
    bytes.drain(range);
    bytes
}

fn add(bytes: &mut [u8], at: usize, by: i64) {
    let value = u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    bytes[at..at + 8].copy_from_slice(&value.wrapping_add_signed(by).to_be_bytes());
}

fn video_info(n: usize) -> SegmentInfo {
    SegmentInfo {
        place: format!("segment {n}"),
        discontinuity: false,
        independent: Some("#EXT-X-INDEPENDENT-SEGMENTS"),
        duration: Announced { us: 1_000_000, by: "#EXTINF", rule: "hls 3.2", nominal: false },
        date_us: Some(1_769_860_800_000_000 + 1_000_000 * i64::try_from(n).unwrap()),
        start: Some((12_800 * n as u64, 12_800)),
    }
}

fn declared() -> Declared {
    Declared {
        codecs: vec!["avc1.64000a".to_owned()],
        exactly: true,
        resolution: Some((64, 36)),
        attribute: "CODECS",
        codecs_rule: "hls 4.10",
        resolution_rule: "hls 4.1",
    }
}

type Spoil<'s> = &'s dyn Fn(usize, Vec<u8>) -> Vec<u8>;

/// What is said of an init segment and three segments.
fn examined(init: &[u8], spoil: Spoil<'_>, info: impl Fn(usize, SegmentInfo) -> SegmentInfo) -> Log {
    let mut log = Log::default();
    let mut examiner = Fmp4Examiner::default();
    examiner.init(init, &declared(), &mut log);
    for (n, bytes) in VIDEO.iter().enumerate() {
        examiner.segment(&info(n, video_info(n)), &spoil(n, bytes.to_vec()), &mut log);
    }
    log
}

fn assert_found(name: &str, log: &Log, severity: Severity, rule: &str, words: &str) {
    let found =
        log.findings.iter().any(|f| f.severity == severity && f.rule == rule && f.message.contains(words));
    assert!(found, "{name}: {:#?}", log.findings);
}

#[test]
fn a_good_track_is_clean() {
    let log = examined(VIDEO_INIT, &|_, bytes| bytes, |_, info| info);
    assert_eq!(log.findings, []);
    let mut log = Log::default();
    let mut examiner = Fmp4Examiner::default();
    let declared = Declared { codecs: vec!["mp4a.40.2".to_owned()], ..Declared::default() };
    examiner.init(AUDIO_INIT, &declared, &mut log);
    for (n, bytes) in AUDIO.iter().enumerate() {
        let mut info = video_info(n);
        // 47 frames of 1,024 samples.
        info.duration.us = 1_002_667;
        (info.date_us, info.start) = (None, None);
        let standing = examiner.segment(&info, bytes, &mut log).expect("an audio track");
        assert_eq!((standing.frame_us, standing.is_video), (21_333, false));
    }
    assert_eq!(log.findings, []);
    assert_eq!(examiner.describe().as_deref(), Some("mp4a.40.2"));
}

#[test]
fn every_fault_of_a_segment_is_found() {
    const TFHD: &[&[u8; 4]] = &[b"moof", b"traf", b"tfhd"];
    const TFDT: &[&[u8; 4]] = &[b"moof", b"traf", b"tfdt"];
    const TRUN: &[&[u8; 4]] = &[b"moof", b"traf", b"trun"];
    let second = |change: fn(Vec<u8>) -> Vec<u8>| {
        move |n: usize, bytes: Vec<u8>| if n == 1 { change(bytes) } else { bytes }
    };
    type Change = fn(Vec<u8>) -> Vec<u8>;
    let rows: Vec<(&str, Change, Severity, &str, &str)> = vec![
        (
            "a tick late",
            |b| edit(b, TFDT, |t| add(t, 4, 1)),
            Notice,
            "cmaf 3.3",
            "a gap of 0.1 ms in track 1 in front of segment 1",
        ),
        ("a gap", |b| edit(b, TFDT, |t| add(t, 4, 1_280)), Warning, "cmaf 3.3", "a gap of 100.0 ms"),
        (
            "an overlap",
            |b| edit(b, TFDT, |t| add(t, 4, -1_280)),
            Warning,
            "cmaf 3.3",
            "an overlap of 100.0 ms",
        ),
        ("a large gap", |b| edit(b, TFDT, |t| add(t, 4, 12_800)), Error, "cmaf 3.3", "a gap of 1000.0 ms"),
        (
            "not where S@t says",
            |b| edit(b, TFDT, |t| add(t, 4, 1_280)),
            Warning,
            "hls 3.2",
            "its media begins 0.180 s behind S@t",
        ),
        (
            "data offset",
            |b| edit(b, TRUN, |t| t[11] = t[11].wrapping_sub(1)),
            Error,
            "cmaf 8.2",
            "outside of every mdat",
        ),
        (
            "no data offset",
            |b| {
                let b = edit(b, TRUN, |t| t[3] &= !0x01);
                let at = find(&b, TRUN).start + 16;
                cut(b, TRUN, at..at + 4)
            },
            Error,
            "cmaf 3.1",
            "no data offset",
        ),
        ("sizes too large", |b| edit(b, TRUN, |t| t[18] = 0xff), Error, "cmaf 8.2", "outside of every mdat"),
        (
            "bytes of nobody",
            |mut b| {
                let at = find(&b, &[b"mdat"]);
                let size = (at.len() as u32 + 5).to_be_bytes();
                b[at.start..at.start + 4].copy_from_slice(&size);
                b.extend([0; 5]);
                b
            },
            Warning,
            "cmaf 3.1",
            "5 bytes of mdat",
        ),
        (
            "bytes behind",
            |mut b| {
                b.extend([0, 0, 0]);
                b
            },
            Error,
            "cmaf 8.2",
            "the last 3 bytes",
        ),
        ("no duration", |b| edit(b, TFHD, |t| t[8..12].fill(0)), Warning, "cmaf 3.6", "25 sample(s)"),
        (
            "twice the duration",
            |b| edit(b, TFHD, |t| t[10] = 4),
            Error,
            "hls 3.2",
            "segment 1 lasts 2.000 s and #EXTINF says 1.000",
        ),
        (
            "no sync sample",
            |b| edit(b, TRUN, |t| t[12..16].copy_from_slice(&[1, 1, 0, 0])),
            Error,
            "cmaf 4.1",
            "does not start with a sync sample, which",
        ),
        (
            "no IDR picture",
            |b| {
                edit(b, &[b"mdat"], |d| {
                    let at = d
                        .windows(5)
                        .position(|w| w[..3] == [0, 0, 2] && w[4] & 0x1f == 5 || w[4] == 0x65)
                        .unwrap();
                    d[at + 4] = 0x41;
                })
            },
            Warning,
            "cmaf 4.1",
            "no IDR picture",
        ),
        (
            "a moov of its own",
            |b| [&VIDEO_INIT[find(VIDEO_INIT, &[b"moov"])], &b[..]].concat(),
            Notice,
            "cmaf 3.10",
            "moov",
        ),
        ("nothing", |_| Vec::new(), Error, "cmaf 3", "no moof"),
        ("a page", |_| b"<html><body>not found</body></html>".to_vec(), Error, "cmaf 8.2", "no whole box"),
    ];
    for (name, change, severity, rule, words) in rows {
        let log = examined(VIDEO_INIT, &second(change), |_, info| info);
        assert_found(name, &log, severity, rule, words);
    }
}

#[test]
fn every_fault_of_an_init_segment_is_found() {
    const AVCC: &[&[u8; 4]] = &[b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"];
    type Change = fn(Vec<u8>) -> Vec<u8>;
    let rows: Vec<(&str, Change, Severity, &str, &str)> = vec![
        ("no ftyp", |b| without(b, &[b"ftyp"]), Error, "cmaf 2.1", "does not start with ftyp"),
        (
            "old brands",
            |b| edit(b, &[b"ftyp"], |t| t[12..16].copy_from_slice(b"iso5")),
            Error,
            "cmaf 2",
            "no brand of iso6 or higher: iso5 iso5 iso5 mp41",
        ),
        (
            "a brand that is no text",
            |b| edit(b, &[b"ftyp"], |t| t[12..16].copy_from_slice(b"\x1b[2J")),
            Error,
            "cmaf 2",
            "\\x1b[2J",
        ),
        ("no moov", |b| without(b, &[b"moov"]), Error, "cmaf 2.1", "no moov"),
        ("no mvex", |b| without(b, &[b"moov", b"mvex"]), Error, "cmaf 2.1", "no mvex"),
        ("no trex", |b| without(b, &[b"moov", b"mvex", b"trex"]), Error, "cmaf 2.1", "no trex of track 1"),
        ("no trak", |b| without(b, &[b"moov", b"trak"]), Error, "cmaf 2.1", "no track"),
        ("no mdhd", |b| without(b, &[b"moov", b"trak", b"mdia", b"mdhd"]), Error, "cmaf 2", "no mdhd"),
        ("no stsd", |b| without(b, AVCC), Error, "cmaf 2", "no stsd"),
        (
            "timescale 0",
            |b| edit(b, &[b"moov", b"trak", b"mdia", b"mdhd"], |t| t[12..16].fill(0)),
            Error,
            "cmaf 2",
            "timescale is 0",
        ),
        (
            "no avcC",
            |b| {
                edit(b, AVCC, |t| {
                    let at = t.windows(4).position(|w| w == b"avcC").unwrap();
                    t[at] = b'x';
                })
            },
            Error,
            "cmaf 2.3",
            "avc1 has no avcC",
        ),
        (
            "another level",
            |b| {
                edit(b, AVCC, |t| {
                    let at = t.windows(4).position(|w| w == b"avcC").unwrap();
                    t[at + 7] = 0x1f;
                })
            },
            Warning,
            "hls 4.10",
            "the file has avc1.64001f, and CODECS says avc1.64000a",
        ),
        (
            "another coding",
            |_| AUDIO_INIT.to_vec(),
            Error,
            "hls 4.10",
            "the file has mp4a.40.2, which CODECS does not name: avc1.64000a",
        ),
        (
            "a missing coding",
            |_| AUDIO_INIT.to_vec(),
            Error,
            "hls 4.10",
            "CODECS says avc1.64000a, and no track",
        ),
        (
            "another size",
            |b| edit(b, AVCC, |t| t[8 + 8 + 25] = 128),
            Warning,
            "hls 4.1",
            "the file's picture is 128x36, and 64x36",
        ),
        (
            "media in it",
            |mut b| {
                b.extend(VIDEO[0]);
                b
            },
            Error,
            "cmaf 2.1",
            "holds media",
        ),
        (
            "bytes behind",
            |mut b| {
                b.push(0);
                b
            },
            Error,
            "cmaf 8.2",
            "1 bytes",
        ),
        ("avc3", |b| edit(b, AVCC, |t| t[15] = b'3'), Warning, "hls 4.9", "avc3"),
        ("nothing", |_| Vec::new(), Error, "cmaf 2.1", "no moov"),
    ];
    for (name, change, severity, rule, words) in rows {
        let log = examined(&change(VIDEO_INIT.to_vec()), &|_, bytes| bytes, |_, info| info);
        assert_found(name, &log, severity, rule, words);
    }
}

#[test]
fn a_discontinuity_allows_another_time() {
    let later = |n: usize, bytes: Vec<u8>| {
        if n < 2 { bytes } else { edit(bytes, &[b"moof", b"traf", b"tfdt"], |t| add(t, 4, 128_000)) }
    };
    let announced = |n: usize, info: SegmentInfo| SegmentInfo { discontinuity: n == 2, start: None, ..info };
    assert_eq!(examined(VIDEO_INIT, &later, announced).findings, []);
    let silent = |_: usize, info: SegmentInfo| SegmentInfo { start: None, ..info };
    assert_eq!(examined(VIDEO_INIT, &later, silent).findings.len(), 1);
}

#[test]
fn dates_may_jump_but_not_drift() {
    let dated = |step_us: i64| {
        move |n: usize, mut info: SegmentInfo| {
            info.date_us = info.date_us.map(|date| date + step_us * i64::try_from(n).unwrap());
            info
        }
    };
    let same = |_: usize, bytes: Vec<u8>| bytes;
    for step_us in [0, 39_000, -39_000, 3_000_000] {
        // The last is a jump: the playlist's checker tells of it.
        assert_eq!(examined(VIDEO_INIT, &same, dated(step_us)).findings, [], "{step_us}");
    }
    let log = examined(VIDEO_INIT, &same, dated(45_000));
    assert_found(
        "later",
        &log,
        Warning,
        "hls 3.12",
        "segment 2: #EXT-X-PROGRAM-DATE-TIME has drifted to 0.090 s later",
    );
    let log = examined(VIDEO_INIT, &same, dated(-45_000));
    assert_found("earlier", &log, Warning, "hls 3.12", "0.090 s earlier");
}

#[test]
fn nominal_durations_are_held_to_half() {
    let nominal = |us: i128, start: u64| {
        move |n: usize, mut info: SegmentInfo| {
            info.duration = Announced { us, by: "@duration", rule: "dash 5.3", nominal: true };
            info.start = Some((start + 12_800 * n as u64, 12_800));
            info
        }
    };
    let same = |_: usize, bytes: Vec<u8>| bytes;
    assert_eq!(examined(VIDEO_INIT, &same, nominal(1_000_000, 0)).findings, []);
    assert_eq!(examined(VIDEO_INIT, &same, nominal(1_400_000, 6_000)).findings, []);
    let log = examined(VIDEO_INIT, &same, nominal(4_000_000, 0));
    assert_found("too long", &log, Error, "dash 5.3", "segment 0 lasts 1.000 s and @duration says 4.000");
    let log = examined(VIDEO_INIT, &same, nominal(1_000_000, 12_800));
    assert_found("elsewhere", &log, Error, "dash 5.3", "0.920 s before its place by number and @duration");
}

#[test]
fn a_track_without_parameter_sets_is_found() {
    // avc3 may have none in its entry, and then the first picture has to bring them.
    let init = edit(VIDEO_INIT.to_vec(), &[b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"], |t| {
        t[15] = b'3';
        let at = t.windows(4).position(|w| w == b"avcC").unwrap();
        // No SPS and no PPS; where they were is free space.
        let size = u32::from_be_bytes(t[at - 4..at].try_into().unwrap());
        t[at - 4..at].copy_from_slice(&15_u32.to_be_bytes());
        t[at + 9..at + 11].copy_from_slice(&[0xe0, 0]);
        t[at + 11..at + 15].copy_from_slice(&(size - 15).to_be_bytes());
        t[at + 15..at + 19].copy_from_slice(b"free");
    });
    let log = examined(&init, &|_, bytes| bytes, |_, info| info);
    assert_found("avc3", &log, Error, "cmaf 2.4", "neither the init segment nor its first picture");
}

#[test]
fn every_truncation_is_found() {
    for end in 0..VIDEO_INIT.len() {
        let mut log = Log::default();
        Fmp4Examiner::default().init(&VIDEO_INIT[..end], &declared(), &mut log);
        assert!(log.findings.iter().any(|f| f.severity == Error), "init, {end} bytes");
    }
    let mut examiner = Fmp4Examiner::default();
    examiner.init(VIDEO_INIT, &declared(), &mut Log::default());
    for end in 0..VIDEO[0].len() {
        let mut log = Log::default();
        examiner.reset();
        examiner.segment(&video_info(0), &VIDEO[0][..end], &mut log);
        assert!(log.findings.iter().any(|f| f.severity == Error), "segment, {end} bytes");
    }
}

#[test]
fn any_bytes_are_examined_without_panic() {
    // A linear congruential generator: the same bytes in every run.
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as usize
    };
    let mut log = Log::default();
    for round in 0..3_000_usize {
        let mut init = [VIDEO_INIT, AUDIO_INIT][round % 2].to_vec();
        let mut segment = [VIDEO, AUDIO][round % 2][round % 3].to_vec();
        for _ in 0..=round % 40 {
            // Damage that reaches the boxes, not the payload.
            let headers = find(&segment, &[b"moof"]).end.min(segment.len());
            for (bytes, len) in [(&mut init, VIDEO_INIT.len().min(AUDIO_INIT.len())), (&mut segment, headers)]
            {
                let at = (next() << 8 | next()) % len;
                bytes[at] = [next(), 0, 0xff, 1, 0x80][next() % 5] as u8;
            }
            // The way to the moof stays: what is behind it is to be reached.
            segment[..VIDEO[0].len().min(120)]
                .copy_from_slice(&[VIDEO, AUDIO][round % 2][round % 3][..VIDEO[0].len().min(120)]);
        }
        let mut examiner = Fmp4Examiner::default();
        if round % 3 == 0 {
            init = [VIDEO_INIT, AUDIO_INIT][round % 2].to_vec();
        }
        examiner.init(&init, &declared(), &mut log);
        for n in 0..2 {
            let mut info = video_info(n);
            info.start = Some((u64::MAX >> (round % 64), (1 + round as u64) << (round % 40)));
            info.date_us = Some(i64::MIN >> (round % 64));
            info.duration.us = i128::from(u64::MAX >> (round % 64));
            examiner.segment(&info, &segment, &mut log);
        }
    }
    assert!(!log.findings.is_empty());
    for finding in &log.findings {
        assert!(!finding.message.contains(char::is_control), "{}", finding.message.escape_debug());
    }
}

#[test]
fn extreme_times_and_counts_are_bounded() {
    // The last instant that a tfdt can say, and four thousand million samples that cost no byte.
    let segment = edit(VIDEO[0].to_vec(), &[b"moof", b"traf", b"tfdt"], |t| t[4..12].fill(0xff));
    // The rest of trun becomes free space behind it.
    let trun = find(&segment, &[b"moof", b"traf", b"trun"]);
    let mut segment = segment;
    let free = (trun.len() as u32 - 20).to_be_bytes();
    segment[trun.start..trun.start + 4].copy_from_slice(&20_u32.to_be_bytes());
    segment[trun.start + 8..trun.start + 16].copy_from_slice(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]);
    segment[trun.start + 20..trun.start + 24].copy_from_slice(&free);
    segment[trun.start + 24..trun.start + 28].copy_from_slice(b"free");
    let mut log = Log::default();
    let mut examiner = Fmp4Examiner::default();
    examiner.init(VIDEO_INIT, &declared(), &mut log);
    examiner.segment(&video_info(0), &segment, &mut log);
    examiner.segment(&video_info(1), &segment, &mut log);
    assert_found("samples", &log, Notice, "cmaf 3", "only the first 1048576 samples");
}

#[test]
fn nested_boxes_are_not_followed_by_recursion() {
    // A moov in a moov in a moov: mp4-atom would go down all of it.
    let depth = 200_000_u32;
    let mut bytes = VIDEO_INIT[find(VIDEO_INIT, &[b"ftyp"])].to_vec();
    for level in 0..depth {
        bytes.extend(((depth - level) * 8).to_be_bytes());
        bytes.extend(b"moov");
    }
    let mut log = Log::default();
    Fmp4Examiner::default().init(&bytes, &declared(), &mut log);
    assert_found("nested", &log, Error, "cmaf 2.1", "no track");
    // Descriptors within descriptors, as deep as an esds may be.
    let mut descriptors = Vec::new();
    while descriptors.len() < 1_000 {
        let length = (descriptors.len() + 3) as u32;
        let head = [3, 0x80 | (length >> 7) as u8, (length & 0x7f) as u8, 0, 1, 0];
        descriptors = [&head[..], &descriptors].concat();
    }
    let mut esds = ((descriptors.len() + 12) as u32).to_be_bytes().to_vec();
    esds.extend(b"esds\0\0\0\0");
    esds.extend(descriptors);
    let level = boxes::Level::read(&esds);
    assert!(level.boxes[0].leaf::<mp4_atom::Esds>(boxes::ESDS_BYTES_MAX).is_err());
}

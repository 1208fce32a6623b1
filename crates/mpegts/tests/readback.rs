//! Whole streams, muxed, cut, and read back by `mpeg2ts`: the rules of H.222.0 over segment borders, and every byte there.

mod support;

use headwater_media::{MediaTime, Timescale, TrackId};
use headwater_mpegts::{Error, Muxer, PCR_DELAY, Program};
use headwater_testkit::ts::{TsReader, TsReport};
use support::{
    Stream, aac, aac_config, length_prefixed, mp3, noise, parameter_sets, picture, read, segments, slice,
    sound, video_config,
};

const WRAP: i64 = 1 << 33;

/// Both sides' times count from any multiple of 2^33.
fn assert_time(found: i64, expected: i64, what: &str) {
    assert_eq!((found - expected).rem_euclid(WRAP), 0, "{what}: {found}, not {expected}");
}

/// The report has no findings, every picture and every audio frame is there once, in order, at its time.
fn assert_complete(name: &str, stream: &Stream, report: &TsReport) {
    assert_eq!(report.findings, Vec::<String>::new(), "{name}");
    let pictures: Vec<_> =
        stream.samples().into_iter().filter(|sample| sample.track == TrackId::VIDEO).collect();
    let (sps, pps) = parameter_sets();
    assert_eq!(report.video().count(), pictures.len(), "{name}");
    for (found, sent) in report.video().zip(&pictures) {
        let units = found.nal_units().unwrap();
        let expected: &[&[u8]] = match sent.sync {
            true => &[&[9, 0xf0], sps, pps, &sent.data[4..]],
            false => &[&[9, 0xf0], &sent.data[4..]],
        };
        assert!(units == expected, "{name}: picture at {:?}", sent.dts);
        assert_time(found.pts, sent.pts().ticks(), name);
        assert_time(found.dts, sent.dts.ticks(), name);
    }
    let frames: Vec<(i64, &[u8])> = report.audio().flat_map(|pes| pes.audio_frames().unwrap()).collect();
    let sent = stream.audio_frames();
    assert_eq!(frames.len(), sent.len(), "{name}");
    for ((found, raw), (expected, data)) in frames.into_iter().zip(sent) {
        assert!(raw == data, "{name}: frame at {expected}");
        let off = (found - expected + WRAP / 2).rem_euclid(WRAP) - WRAP / 2;
        assert!(off.abs() <= 1, "{name}: frame at {expected} is off by {off} ticks");
    }
}

#[test]
fn streams_of_every_shape() {
    let base = Stream::default();
    let streams = [
        ("30 pictures per second, AAC 48 kHz", base.clone()),
        ("over the wrap", Stream { start: WRAP - 5 * 90_000, seconds: 12, ..base.clone() }),
        ("the clock before the wrap, the times after", Stream { start: WRAP - 10, ..base.clone() }),
        ("before zero", Stream { start: -2 * 90_000, ..base.clone() }),
        ("days on", Stream { start: 9 * WRAP + 7, ..base.clone() }),
        ("B-frames, up to 4 pictures", Stream { composition: &[2, 4, 2, 0, 1], ..base.clone() }),
        ("59.94 per second", Stream { frame_ticks: Some(1_501), gop: 120, ..base.clone() }),
        ("23.976 per second", Stream { frame_ticks: Some(3_754), gop: 48, ..base.clone() }),
        ("screen sharing, 5 per second", Stream { frame_ticks: Some(18_000), gop: 10, ..base.clone() }),
        (
            "one picture per second, no audio",
            Stream { frame_ticks: Some(90_000), gop: 2, audio: None, ..base.clone() },
        ),
        ("exactly 100 ms apart", Stream { frame_ticks: Some(9_000), gop: 20, ..base.clone() }),
        ("video only", Stream { audio: None, ..base.clone() }),
        ("audio only, 48 kHz", Stream { frame_ticks: None, ..base.clone() }),
        (
            "audio only, 44.1 kHz, over the wrap",
            Stream { frame_ticks: None, audio: Some(aac(44_100)), start: WRAP - 180_000, ..base.clone() },
        ),
        (
            "audio only, frames of 128 ms",
            Stream { frame_ticks: None, audio: Some(aac(8_000)), ..base.clone() },
        ),
        ("audio only, MP3", Stream { frame_ticks: None, audio: Some(mp3(44_100)), ..base.clone() }),
        ("AAC 44.1 kHz", Stream { audio: Some(aac(44_100)), ..base.clone() }),
        ("AAC 24 kHz, as under HE-AAC", Stream { audio: Some(aac(24_000)), ..base.clone() }),
        ("AAC at 6 kbyte a frame", Stream { audio_size: 6_000, ..base.clone() }),
        ("MP3 48 kHz", Stream { audio: Some(mp3(48_000)), ..base.clone() }),
        ("MP3 22.05 kHz", Stream { audio: Some(mp3(22_050)), ..base.clone() }),
        ("audio begins 2.5 s late", Stream { audio_late: 225_000, ..base.clone() }),
        ("audio trails by 400 ms", Stream { audio_lag: 36_000, ..base.clone() }),
        ("audio leads by 300 ms", Stream { audio_lag: -27_000, audio_late: 30_000, ..base.clone() }),
        ("audio pauses for 3 s", Stream { audio_pause: (94_500, 360_500), ..base.clone() }),
        ("pictures of 100 bytes", Stream { picture_size: 1, ..base.clone() }),
        ("pictures around the PES length limit", Stream { picture_size: 65_300, seconds: 3, ..base.clone() }),
    ];
    for (name, stream) in streams {
        assert_complete(name, &stream, &stream.report());
    }
}

#[test]
fn tables_and_stream_types() {
    let (video, none) = (video_config(), None);
    for (name, video, audio, expected) in [
        ("both", Some(&video), Some(aac(48_000)), vec![(0x1b, 0x100), (0x0f, 0x101)]),
        ("video only", Some(&video), None, vec![(0x1b, 0x100)]),
        ("audio only", none, Some(aac(48_000)), vec![(0x0f, 0x101)]),
        ("MPEG-1 layer III", none, Some(mp3(48_000)), vec![(0x03, 0x101)]),
        ("MPEG-2 layer III", none, Some(mp3(24_000)), vec![(0x04, 0x101)]),
    ] {
        let mut muxer = Muxer::new(Program { video, audio: audio.as_ref(), ..Program::default() }).unwrap();
        let mut out = Vec::new();
        muxer.begin_segment(&mut out);
        assert_eq!(out.len(), 376, "{name}");
        let report = read(&[out]);
        let map = &report.program_maps[0];
        assert_eq!((map.version, &map.streams), (0, &expected), "{name}");
        assert_eq!(map.pcr_pid, expected.first().map(|(_, pid)| *pid), "{name}");
    }
}

#[test]
fn clock_and_tables_come_often_enough() {
    // 5 pictures per second: a clock alone between two pictures, never further apart than 100 ms.
    let slow = Stream { frame_ticks: Some(18_000), gop: 10, ..Stream::default() }.report();
    let steps: Vec<i64> = slow.pcrs.windows(2).map(|pair| pair[1].ticks - pair[0].ticks).collect();
    assert!(steps.iter().all(|step| *step == 9_000), "{steps:?}");
    assert_eq!(slow.pcrs.iter().filter(|pcr| pcr.alone).count(), slow.video().count() - 1);
    // At 30 per second every picture carries it, and nothing else does.
    let fast = Stream::default().report();
    assert_eq!(fast.pcrs.len(), fast.video().count());
    for (pcr, picture) in fast.pcrs.iter().zip(fast.video()) {
        assert_eq!(picture.dts - pcr.ticks, PCR_DELAY);
    }
    // 2 s segments, tables at the start and every 400 ms.
    let segments = Stream::default().segments();
    let tables = segments[1].chunks(188).filter(|packet| packet[1] & 0x1f == 0 && packet[2] == 0).count();
    assert_eq!(tables, 5);
}

#[test]
fn an_hour_of_44100_hz_does_not_drift() {
    let stream = Stream { frame_ticks: None, audio: Some(aac(44_100)), audio_size: 8, ..Stream::default() };
    let mut muxer = stream.muxer();
    let mut reader = TsReader::new();
    let frames = 44_100 * 3_600 / 1_024;
    let mut out = Vec::new();
    muxer.begin_segment(&mut out);
    for n in 0..frames {
        muxer.write_audio(&mut out, &sound(441_000 + n * 1_024, 44_100, noise(3, 8).into())).unwrap();
        if n % 258 == 257 {
            let cut = MediaTime::new(441_000 + (n + 1) * 1_024, Timescale::new(44_100).unwrap());
            muxer.end_segment(&mut out, Some(cut));
            reader.segment(&out);
            out.clear();
            muxer.begin_segment(&mut out);
        }
    }
    muxer.end_segment(&mut out, None);
    reader.segment(&out);
    let report = reader.finish();
    assert_eq!(report.findings, Vec::<String>::new());
    let times = report.audio().flat_map(|pes| pes.audio_frames().unwrap()).map(|(pts, _)| pts);
    let mut count = 0;
    for (n, pts) in (0_i64..).zip(times) {
        // In units of 1/44,100 of a tick: exact.
        let off = (pts - 900_000) * 44_100 - n * 1_024 * 90_000;
        assert!(off.abs() <= 44_100, "frame {n} is off by {} ticks", off / 44_100);
        count += 1;
    }
    assert_eq!(count, frames);
}

#[test]
fn the_cut_divides_the_audio() {
    let mut muxer = Stream::default().muxer();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    muxer.begin_segment(&mut first);
    muxer
        .write_video(&mut first, &picture(900_000, 0, true, length_prefixed(&[&slice(true, 1, 50)])))
        .unwrap();
    for n in 0..3 {
        muxer.write_audio(&mut first, &sound(480_000 + n * 1_024, 48_000, noise(1, 30).into())).unwrap();
    }
    // Frames at 900,000, 901,920 and 903,840; the cut is exactly at the third, which therefore stays.
    muxer.end_segment(&mut first, Some(MediaTime::new(903_840, Timescale::MPEG)));
    muxer.begin_segment(&mut second);
    muxer
        .write_video(&mut second, &picture(903_840, 0, true, length_prefixed(&[&slice(true, 2, 50)])))
        .unwrap();
    muxer.end_segment(&mut second, None);
    let report = read(&[first, second]);
    assert_eq!(report.findings, Vec::<String>::new());
    let found: Vec<_> =
        report.audio().map(|pes| (pes.segment, pes.pts, pes.audio_frames().unwrap().len())).collect();
    assert_eq!(found, [(0, 900_000, 2), (1, 903_840, 1)]);
}

#[test]
fn audio_off_its_place_begins_a_packet_of_its_own() {
    // Ticks of 48 kHz: 24 are 0.5 ms, 25 are more.
    for (name, shift, expected) in [("0.5 ms", 24, 1), ("0.52 ms", 25, 2), ("-0.52 ms", -25, 2)] {
        let mut muxer = Stream { frame_ticks: None, ..Stream::default() }.muxer();
        let mut out = Vec::new();
        muxer.begin_segment(&mut out);
        for ticks in [480_000, 481_024 + shift] {
            muxer.write_audio(&mut out, &sound(ticks, 48_000, noise(1, 30).into())).unwrap();
        }
        muxer.flush_audio(&mut out);
        let report = read(&[out]);
        assert_eq!(report.findings, Vec::<String>::new(), "{name}");
        assert_eq!(report.audio().count(), expected, "{name}");
    }
}

#[test]
fn another_configuration() {
    let (video, both) = (video_config(), aac(48_000));
    let mono = aac_config(&[0x11, 0x88], 48_000);
    let mut other_video = video_config();
    // The same parameter sets under another PPS: bytes differ, stream types do not.
    let mut record = other_video.record.to_vec();
    record[42] ^= 0x40;
    other_video.record = record.into();
    let layer3 = mp3(48_000);
    let first = Stream { seconds: 2, ..Stream::default() };
    let later = |audio: &headwater_media::AudioConfig| Stream {
        start: 50_000_000,
        audio: Some(audio.clone()),
        ..first.clone()
    };
    for (name, video, audio, stream, maps) in [
        ("equal", &video, &both, None, 1),
        ("another PPS", &other_video, &both, Some(later(&both)), 1),
        ("another channel layout", &video, &mono, Some(later(&mono)), 1),
        ("another stream type", &video, &layer3, Some(later(&layer3)), 2),
    ] {
        let mut muxer = first.muxer();
        let mut reader = TsReader::new();
        for segment in segments(&mut muxer, &first.samples()) {
            reader.segment(&segment);
        }
        muxer.reconfigure(Program { video: Some(video), audio: Some(audio), ..Program::default() }).unwrap();
        if stream.is_some() {
            reader.discontinuity();
        }
        // An equal configuration is no change: the stream goes on where it was.
        let stream = stream.unwrap_or(Stream { start: 900_000 + 2 * 90_000, ..first.clone() });
        for segment in segments(&mut muxer, &stream.samples()) {
            reader.segment(&segment);
        }
        let report = reader.finish();
        assert_eq!(report.findings, Vec::<String>::new(), "{name}");
        assert_eq!(report.program_maps.len(), maps, "{name}");
        assert_eq!(report.program_maps.last().map(|map| map.version), Some(u8::from(maps == 2)), "{name}");
    }
}

#[test]
fn audio_that_waits_goes_with_its_configuration() {
    let (stereo, mono) = (aac(48_000), aac_config(&[0x11, 0x88], 48_000));
    let mut muxer = Muxer::new(Program { audio: Some(&stereo), ..Program::default() }).unwrap();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    muxer.begin_segment(&mut before);
    for n in 0..3 {
        muxer.write_audio(&mut before, &sound(480_000 + n * 1_024, 48_000, noise(1, 30).into())).unwrap();
    }
    muxer.end_segment(&mut before, Some(MediaTime::new(903_000, Timescale::MPEG)));
    muxer.reconfigure(Program { audio: Some(&mono), ..Program::default() }).unwrap();
    muxer.begin_segment(&mut after);
    muxer.write_audio(&mut after, &sound(483_072, 48_000, noise(2, 40).into())).unwrap();
    muxer.end_segment(&mut after, None);
    let report = read(&[after]);
    let channels: Vec<u8> = report
        .audio()
        .flat_map(|pes| headwater_testkit::adts::frames(&pes.payload).unwrap())
        .map(|frame| frame.channels)
        .collect();
    assert_eq!(channels, [1], "the third stereo frame is gone");
}

#[test]
fn frames_share_pes_packets() {
    // Up to 100 ms, or 2,930 bytes with the headers.
    for (rate, size, expected) in [
        (48_000, 30, 4),
        (48_000, 725, 4),
        (48_000, 726, 4),
        (48_000, 969, 4),
        (48_000, 970, 3),
        (48_000, 3_000, 1),
        (44_100, 30, 4),
        (24_000, 30, 2),
        (8_000, 30, 1),
    ] {
        let mut muxer = Stream { frame_ticks: None, audio: Some(aac(rate)), ..Stream::default() }.muxer();
        let mut out = Vec::new();
        muxer.begin_segment(&mut out);
        for n in 0..48 {
            let ticks = i64::from(rate) * 10 + n * 1_024;
            muxer.write_audio(&mut out, &sound(ticks, rate, noise(1, size).into())).unwrap();
        }
        let report = read(&[out]);
        assert_eq!(report.findings, Vec::<String>::new(), "{rate} Hz, {size} bytes");
        let counts: Vec<usize> = report.audio().map(|pes| pes.audio_frames().unwrap().len()).collect();
        assert_eq!(counts, vec![expected; 48 / expected], "{rate} Hz, {size} bytes");
    }
}

#[test]
fn audio_keeps_within_the_length_that_a_pes_packet_can_say() {
    let stream = Stream { frame_ticks: None, audio: Some(mp3(44_100)), ..Stream::default() };
    let frame = stream.audio_frames()[0].1.clone();
    let mut muxer = stream.muxer();
    let mut out = Vec::new();
    muxer.begin_segment(&mut out);
    // 4 frames, then 312 in one sample: 65,728 bytes would be 201 too many for one PES packet.
    for (ticks, count) in [(441_000, 4), (442_152, 312)] {
        muxer.write_audio(&mut out, &sound(ticks, 44_100, frame.repeat(count).into())).unwrap();
    }
    muxer.flush_audio(&mut out);
    let report = read(&[out]);
    assert_eq!(report.findings, Vec::<String>::new());
    let counts: Vec<usize> = report.audio().map(|pes| pes.audio_frames().unwrap().len()).collect();
    assert_eq!(counts, [4, 312]);
}

#[test]
fn tracks_that_come_and_go() {
    let (video, audio) = (video_config(), aac(48_000));
    let mut muxer = Stream::default().muxer();
    let mut reader = TsReader::new();
    let shapes = [
        Stream { seconds: 2, ..Stream::default() },
        Stream { seconds: 2, frame_ticks: None, start: 40_000_000, ..Stream::default() },
        Stream { seconds: 2, start: 20_000_000, ..Stream::default() },
        Stream { seconds: 2, audio: None, start: 20_180_000, ..Stream::default() },
    ];
    for (n, shape) in shapes.iter().enumerate() {
        if n > 0 {
            let program = Program {
                video: shape.frame_ticks.map(|_| &video),
                audio: shape.audio.as_ref().map(|_| &audio),
                ..Program::default()
            };
            muxer.reconfigure(program).unwrap();
            reader.discontinuity();
        }
        for segment in segments(&mut muxer, &shape.samples()) {
            reader.segment(&segment);
        }
    }
    let report = reader.finish();
    assert_eq!(report.findings, Vec::<String>::new());
    let maps: Vec<(u8, Option<u16>)> =
        report.program_maps.iter().map(|map| (map.version, map.pcr_pid)).collect();
    assert_eq!(maps, [(0, Some(0x100)), (1, Some(0x101)), (2, Some(0x100)), (3, Some(0x100))]);
}

#[test]
fn a_break_in_time_is_marked_once() {
    let first = Stream { seconds: 2, ..Stream::default() };
    let back = Stream { start: 100_000, ..first.clone() };
    let mut muxer = first.muxer();
    let mut reader = TsReader::new();
    reader.segment(&segments(&mut muxer, &first.samples())[0]);
    muxer.mark_discontinuity();
    reader.discontinuity();
    reader.segment(&segments(&mut muxer, &back.samples())[0]);
    let report = reader.finish();
    assert_eq!(report.findings, Vec::<String>::new());
    assert_eq!(report.pcrs.iter().filter(|pcr| pcr.discontinuity).count(), 1);
}

#[test]
fn a_hole_nobody_announced_is_not_filled_for_ever() {
    let mut muxer = Stream { audio: None, ..Stream::default() }.muxer();
    let idr = length_prefixed(&[&slice(true, 1, 50)]);
    let mut out = Vec::new();
    muxer.begin_segment(&mut out);
    let mut at = 900_000;
    for (hole, most) in [(900_000, 200), (900_001, 5), (i64::MAX / 4, 5), (-i64::MAX / 2, 5)] {
        muxer.write_video(&mut out, &picture(at, 0, true, idr.clone())).unwrap();
        let before = out.len();
        at += hole;
        muxer.write_video(&mut out, &picture(at, 0, true, idr.clone())).unwrap();
        assert!((out.len() - before) / 188 <= most, "{hole}");
    }
}

#[test]
fn pictures_of_every_size() {
    let sizes = (1..=600).chain([65_400, 65_500, 65_504, 65_505, 65_506, 65_507, 65_508, 65_520, 65_536]);
    let mut muxer = Stream { audio: None, ..Stream::default() }.muxer();
    let mut out = Vec::new();
    muxer.begin_segment(&mut out);
    let mut sent = Vec::new();
    for (n, size) in (0..).zip(sizes.chain([1 << 20, 4 << 20])) {
        let unit = slice(n == 0, size, size);
        // Header with and without DTS.
        let cts = if size % 2 == 0 { 0 } else { 3_000 };
        muxer
            .write_video(&mut out, &picture(900_000 + n * 3_000, cts, n == 0, length_prefixed(&[&unit])))
            .unwrap();
        sent.push(unit);
    }
    let report = read(&[out]);
    assert_eq!(report.findings, Vec::<String>::new());
    for (found, unit) in report.video().zip(&sent) {
        assert!(found.nal_units().unwrap().last() == Some(&unit.as_slice()), "{} bytes", unit.len());
        // 13 bytes of header follow the length field with DTS, 8 without; 6 are the delimiter.
        let length = found.payload.len() + if found.dts_written { 13 } else { 8 };
        let expected = u16::try_from(length).unwrap_or(0);
        assert_eq!(found.declared_length, expected, "{} bytes", unit.len());
    }
    assert_eq!(report.video().count(), sent.len());
}

#[test]
fn audio_frames_of_every_size() {
    let mut muxer = Stream { frame_ticks: None, ..Stream::default() }.muxer();
    let sizes = || (1..=800).chain((801..8_184).step_by(61)).chain(8_170..=8_184);
    let mut out = Vec::new();
    muxer.begin_segment(&mut out);
    for (n, size) in (0..).zip(sizes()) {
        muxer.write_audio(&mut out, &sound(480_000 + n * 1_024, 48_000, noise(size, size).into())).unwrap();
        muxer.flush_audio(&mut out);
    }
    let report = read(&[out]);
    assert_eq!(report.findings, Vec::<String>::new());
    let found: Vec<Vec<u8>> =
        report.audio().flat_map(|pes| pes.audio_frames().unwrap()).map(|(_, raw)| raw.to_vec()).collect();
    let expected: Vec<Vec<u8>> = sizes().map(|size| noise(size, size)).collect();
    assert!(found == expected);
}

#[test]
fn what_is_in_the_access_unit() {
    let (sps, pps) = parameter_sets();
    let (idr, p) = (slice(true, 1, 40), slice(false, 2, 40));
    let aud: &[u8] = &[9, 0xf0];
    let mut trailing = p.clone();
    trailing.extend_from_slice(&[0, 0, 0]);
    let other_pps: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0x80];
    let sei: &[u8] = &[6, 5, 1, 0xaa, 0x80];
    let emulation: &[u8] = &[0x41, 0, 0, 3, 1, 0, 0, 3];
    type Case<'a> = (&'a str, bool, Vec<&'a [u8]>, Vec<&'a [u8]>);
    let cases: Vec<Case<'_>> = vec![
        ("a slice", false, vec![&p], vec![aud, &p]),
        ("an IDR picture", true, vec![&idr], vec![aud, sps, pps, &idr]),
        ("a delimiter of the encoder's", false, vec![&[9, 0x10], &p], vec![aud, &p]),
        ("parameter sets again", true, vec![aud, sps, pps, sei, &idr], vec![aud, sps, pps, sei, &idr]),
        ("another PPS in band", true, vec![other_pps, &idr], vec![aud, sps, pps, other_pps, &idr]),
        ("and back", true, vec![other_pps, pps, &idr], vec![aud, sps, pps, other_pps, pps, &idr]),
        ("parameter sets in mid-stream", false, vec![sps, pps, &p], vec![aud, sps, pps, &p]),
        (
            "filler, end of sequence, end of stream",
            false,
            vec![&[12, 0xff, 0x80], &p, &[10], &[11]],
            vec![aud, &p],
        ),
        ("trailing zeros", false, vec![&trailing], vec![aud, &p]),
        ("empty NAL units", false, vec![&[], &p, &[], &[0, 0]], vec![aud, &p]),
        ("emulation prevention", false, vec![emulation], vec![aud, emulation]),
        ("SEI alone", false, vec![sei], vec![aud, sei]),
        ("several slices", true, vec![sei, &idr, &idr], vec![aud, sps, pps, sei, &idr, &idr]),
    ];
    for (name, sync, units, expected) in cases {
        let mut muxer = Stream { audio: None, ..Stream::default() }.muxer();
        let mut out = Vec::new();
        muxer.begin_segment(&mut out);
        muxer.write_video(&mut out, &picture(900_000, 0, sync, length_prefixed(&units))).unwrap();
        let report = read(&[out]);
        let found = report.video().next().unwrap();
        assert_eq!(found.nal_units().unwrap(), expected, "{name}");
        assert_eq!(found.random_access, sync, "{name}");
    }
}

#[test]
fn pts_before_dts_pulls_the_dts_down() {
    let mut muxer = Stream { audio: None, ..Stream::default() }.muxer();
    let mut out = Vec::new();
    muxer.begin_segment(&mut out);
    muxer
        .write_video(&mut out, &picture(900_000, -500, true, length_prefixed(&[&slice(true, 1, 40)])))
        .unwrap();
    let report = read(&[out]);
    assert_eq!(report.findings, Vec::<String>::new());
    let found = report.video().next().unwrap();
    assert_eq!((found.pts, found.dts, found.dts_written), (899_500, 899_500, false));
    assert_eq!(report.pcrs[0].ticks, 900_000 - PCR_DELAY, "the clock keeps to the given DTS");
}

#[test]
fn what_is_refused_leaves_no_trace() {
    let good = length_prefixed(&[&slice(false, 1, 900), &slice(false, 2, 300)]);
    let mut bad_pictures: Vec<(String, bytes::Bytes)> = (0..good.len())
        // Cut exactly behind the first NAL unit it is a good picture.
        .filter(|end| *end != 904)
        .map(|end| (format!("cut at {end}"), good.slice(..end)))
        .collect();
    bad_pictures.push(("a length beyond the end".into(), vec![0xff, 0xff, 0xff, 0xff, 0x41, 1].into()));
    bad_pictures.push(("a delimiter alone".into(), length_prefixed(&[&[9, 0xf0]])));
    bad_pictures.push(("1,025 NAL units".into(), length_prefixed(&vec![&[0x41_u8, 1][..]; 1_025])));
    bad_pictures.push(("over 10 MiB".into(), length_prefixed(&[&slice(false, 1, 10 << 20)])));
    let stream = Stream::default();
    let mut muxer = stream.muxer();
    let mut out = Vec::new();
    muxer.begin_segment(&mut out);
    muxer.write_video(&mut out, &picture(900_000, 0, true, length_prefixed(&[&slice(true, 1, 40)]))).unwrap();
    let before = (out.clone(), format!("{muxer:?}"));
    for (name, data) in bad_pictures {
        assert!(muxer.write_video(&mut out, &picture(990_000, 0, false, data)).is_err(), "{name}");
        assert!((&out, format!("{muxer:?}")) == (&before.0, before.1.clone()), "{name}");
    }
    for (size, error) in [(0, Error::FrameEmpty), (8_185, Error::FrameTooLong { size: 8_185, max: 8_184 })] {
        assert_eq!(muxer.write_audio(&mut out, &sound(480_000, 48_000, noise(1, size).into())), Err(error));
        assert!((&out, format!("{muxer:?}")) == (&before.0, before.1.clone()), "{size}");
    }
}

#[test]
fn programs_that_are_refused() {
    let refused = |audio: &headwater_media::AudioConfig| {
        Muxer::new(Program { audio: Some(audio), ..Program::default() }).err()
    };
    assert!(matches!(Muxer::new(Program::default()), Err(Error::NoTrack)));
    for (name, record) in [
        ("960 samples", &[0x11, 0x94][..]),
        ("AAC scalable, object type 6", &[0x31, 0x90, 0x00, 0x00]),
        ("ER AAC LC, object type 17", &[0x89, 0x90, 0x00]),
        ("a program config element", &[0x11, 0x80, 0x04, 0xc4, 0x04, 0x00, 0x20, 0x88, 0x00]),
        ("a rate of its own", &[0x17, 0x80, 0x5d, 0xc0, 0x90]),
    ] {
        let error = refused(&aac_config(record, 48_000));
        assert!(matches!(error, Some(Error::AudioUnrepresentable(_))), "{name}: {error:?}");
    }
    assert!(matches!(refused(&aac_config(&[0x11], 48_000)), Some(Error::AudioRecord(_))));
    let mut video = video_config();
    for end in 0..43 {
        video.record = bytes::Bytes::copy_from_slice(&support::RECORD[..end]);
        let error = Muxer::new(Program { video: Some(&video), ..Program::default() }).err();
        assert!(matches!(error, Some(Error::VideoRecord(_))), "{end}: {error:?}");
    }
    let mut muxer = Stream { audio: None, ..Stream::default() }.muxer();
    let sample = sound(0, 48_000, noise(1, 5).into());
    let error = muxer.write_audio(&mut Vec::new(), &sample);
    assert_eq!(error, Err(Error::TrackMissing(headwater_media::TrackKind::Audio)));
}

/// The reader must see damage, or none of the tests above means anything.
#[test]
fn the_reader_finds_damage() {
    type Damage = fn(&mut Vec<Vec<u8>>);
    let at = |packet: usize| packet * 188;
    assert_eq!(at(1), 188);
    let damages: [(&str, Damage); 13] = [
        ("a packet lost", |segments| drop(segments[1].drain(188 * 9..188 * 10))),
        ("a packet twice", |segments| {
            let packet = segments[1][188 * 9..188 * 10].to_vec();
            segments[1].splice(188 * 10..188 * 10, packet);
        }),
        ("a segment lost", |segments| drop(segments.remove(1))),
        ("segments out of order", |segments| segments.swap(1, 2)),
        ("no PAT", |segments| drop(segments[1].drain(..188))),
        ("PMT before PAT", |segments| segments[1].rotate_left(188)),
        ("a byte of the PMT", |segments| segments[1][188 + 20] ^= 1),
        ("a sync byte", |segments| segments[1][188 * 5] = 0x48),
        ("cut short", |segments| segments[1].truncate(188 * 20 - 1)),
        ("no random access indicator", |segments| segments[1][188 * 2 + 5] &= !0x40),
        ("a clock that jumps", |segments| segments[1][188 * 2 + 8] ^= 0x40),
        ("a discontinuity nobody announced", |segments| segments[1][188 * 2 + 5] |= 0x80),
        ("a PTS that jumps", |segments| segments[1][188 * 2 + 4 + 8 + 11] ^= 4),
    ];
    for (name, damage) in damages {
        let mut segments = Stream::default().segments();
        damage(&mut segments);
        assert!(!read(&segments).findings.is_empty(), "{name}");
    }
}

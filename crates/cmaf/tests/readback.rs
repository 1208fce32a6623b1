//! Everything written, read back by `mp4-atom` and `mp4`, which nobody here wrote.

mod support;

use std::io::Cursor;
use std::sync::mpsc;
use std::time::Duration;

use headwater_cmaf::{ChunkSample, ChunkWriter, InitSegment, Moment, ProducerReferenceTime, write_styp};
use headwater_media::{TrackConfig, TrackKind, WallTime};
use headwater_testkit::fmp4::{Fmp4Reader, Fmp4Report};
use mp4_atom::{Any, Codec, Colr, DecodeMaybe, Moof, ReferenceTime, Trun};
use support::{clip, tracks};

/// All boxes of a file; they fill it.
fn boxes(mut bytes: &[u8]) -> Vec<Any> {
    let mut boxes = Vec::new();
    while !bytes.is_empty() {
        boxes.push(Any::decode_maybe(&mut bytes).unwrap().expect("whole boxes"));
    }
    boxes
}

fn exactly<T: std::fmt::Debug, const N: usize>(list: Vec<T>) -> [T; N] {
    list.try_into().unwrap()
}

fn moof(any: Any) -> Moof {
    Moof::try_from(any).unwrap()
}

fn read(init: &InitSegment, segments: &[Vec<u8>]) -> Fmp4Report {
    let mut reader = Fmp4Reader::new();
    reader.init(&init.bytes);
    segments.iter().for_each(|segment| reader.segment(segment));
    reader.finish()
}

#[test]
fn init_segments_by_mp4_atom() {
    for track in tracks(&clip("clip.flv")) {
        let init = track.init();
        let [Any::Ftyp(ftyp), Any::Moov(moov)] = exactly(boxes(&init.bytes)) else { panic!() };
        assert_eq!(ftyp.major_brand, b"cmfc".into());
        let [trak] = exactly(moov.trak);
        assert_eq!((trak.tkhd.track_id, moov.mvhd.next_track_id), (1, 2));
        assert_eq!(trak.mdia.mdhd.language, "und");
        assert_eq!(trak.mdia.mdhd.timescale, track.config.timescale().hz());
        let [codec] = exactly(trak.mdia.minf.stbl.stsd.codecs);
        match (codec, &*track.config) {
            (Codec::Avc1(avc1), TrackConfig::Video(video)) => {
                assert_eq!((avc1.visual.width, avc1.visual.height), (854, 480));
                assert_eq!(avc1.avcc.sequence_parameter_sets.len(), 1);
                assert_eq!(avc1.avcc.avc_profile_indication, video.record[1]);
                let expected = video.colour.map(|colour| Colr::Nclx {
                    colour_primaries: colour.primaries.into(),
                    transfer_characteristics: colour.transfer.into(),
                    matrix_coefficients: colour.matrix.into(),
                    full_range_flag: colour.full_range,
                });
                assert_eq!(avc1.colr, expected);
            }
            (Codec::Mp4a(mp4a), TrackConfig::Audio(audio)) => {
                assert_eq!(mp4a.audio.channel_count, u16::from(audio.channels));
                assert_eq!(u32::from(mp4a.audio.sample_rate.integer()), audio.output_sample_rate);
                let config = mp4a.esds.es_desc.dec_config;
                assert_eq!(
                    (config.object_type_indication, config.stream_type, config.up_stream),
                    (0x40, 5, 0)
                );
                assert_eq!(config.dec_specific.map(|specific| specific.profile), Some(2), "AAC LC");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn init_segments_by_mp4() {
    let files = tracks(&clip("clip.flv")).into_iter().map(|track| (track.init(), track.config));
    for (init, config) in files {
        // In a thread: a file that this crate does not like can keep it for ever.
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let size = u64::try_from(init.bytes.len()).unwrap();
            let facts = mp4::Mp4Reader::read_header(Cursor::new(init.bytes), size).map(|reader| {
                let track = &reader.tracks()[&1];
                let size = (track.width(), track.height());
                let rate = track.sample_freq_index().ok().map(|index| index.freq());
                (reader.moov.mvex.is_some(), track.timescale(), track.track_type().unwrap(), size, rate)
            });
            sender.send(facts.map_err(|error| error.to_string())).unwrap();
        });
        let facts = receiver.recv_timeout(Duration::from_secs(20)).expect("an answer");
        let hz = config.timescale().hz();
        let expected = match config.kind() {
            TrackKind::Video => (true, hz, mp4::TrackType::Video, (854, 480), None),
            TrackKind::Audio => (true, hz, mp4::TrackType::Audio, (0, 0), Some(hz)),
        };
        assert_eq!(facts, Ok(expected));
    }
}

#[test]
fn decode_times_run_on_over_a_thousand_chunks() {
    // 29.97 pictures per second on 90 kHz, 3 pictures per chunk, 10 chunks per segment, 30 days after midnight, past 2^33.
    let start = 30 * 86_400 * 90_000_u64;
    let time = |n: u64| start + n * 90_000 * 1_001 / 30_000;
    let mut writer = ChunkWriter::new();
    let mut segments = Vec::new();
    for segment in 0..100 {
        let mut out = Vec::new();
        for chunk in 0..10 {
            let first = (segment * 10 + chunk) * 3;
            let samples: Vec<_> = (first..first + 3)
                .map(|n| ChunkSample {
                    duration: u32::try_from(time(n + 1) - time(n)).unwrap(),
                    composition_time_offset: [0, 3_003, -3_003][usize::try_from(n % 3).unwrap()],
                    sync: n % 30 == 0,
                    disposable: false,
                    data: if n % 30 == 0 { [0, 0, 0, 1, 0x65] } else { [0, 0, 0, 1, 0x41] },
                })
                .collect();
            writer.write(&mut out, time(first), &samples).unwrap();
        }
        segments.push(out);
    }
    let init = tracks(&clip("clip.flv")).remove(0).init();
    let report = read(&init, &segments);
    assert_eq!(report.findings, Vec::<String>::new());
    assert_eq!((report.segments, report.chunks, report.samples.len()), (100, 1_000, 3_000));
    let durations: u64 = report.samples.iter().map(|sample| u64::from(sample.duration)).sum();
    assert_eq!(durations, time(3_000) - start);
    // The reader would see it: a segment less is a gap.
    segments.remove(50);
    assert_eq!(read(&init, &segments).findings.len(), 1, "a gap; numbers may jump from segment to segment");
}

#[test]
fn a_segment_of_many_chunks_holds_the_same_samples() {
    for track in tracks(&clip("clip.flv")) {
        let samples = |per_chunk| {
            let file = track.package(0, per_chunk);
            let segments: Vec<Vec<u8>> = file.segments.iter().map(|segment| segment.concat()).collect();
            let mut report = read(&file.init, &segments);
            assert_eq!(report.findings, Vec::<String>::new(), "{per_chunk}");
            report.samples.iter_mut().for_each(|sample| sample.chunk = 0);
            report.samples
        };
        let whole = samples(usize::MAX);
        assert_eq!(whole.len(), track.samples.len());
        for per_chunk in [1, 5, 7, 24] {
            assert!(samples(per_chunk) == whole, "{per_chunk} samples per chunk");
        }
    }
}

#[test]
fn what_stands_in_front() {
    let mut out = Vec::new();
    write_styp(&mut out);
    let wall = WallTime::from_unix_millis(1_500);
    ProducerReferenceTime { wall, moment: Moment::Captured, media_time: 7 }.write(&mut out);
    let sample =
        ChunkSample { duration: 1, composition_time_offset: 0, sync: true, disposable: false, data: b"x" };
    ChunkWriter::new().write(&mut out, 7, &[sample]).unwrap();
    let [Any::Styp(styp), Any::Prft(prft), Any::Moof(_), Any::Mdat(mdat)] = exactly(boxes(&out)) else {
        panic!()
    };
    assert_eq!(styp.compatible_brands, [b"msdh".into(), b"cmfs".into()]);
    assert_eq!((prft.reference_track_id, prft.media_time), (1, 7));
    assert_eq!(prft.ntp_timestamp, 2_208_988_801 << 32 | 1 << 31);
    assert_eq!(prft.utc_time_semantics, ReferenceTime::RealTime);
    assert_eq!(mdat.data, b"x");
}

#[test]
fn every_truncation_is_noticed() {
    let samples = [(3_000, true, &b"abc"[..]), (3_001, false, b"d"), (3_000, true, b"ef")];
    let samples = samples.map(|(duration, sync, data)| ChunkSample {
        duration,
        composition_time_offset: -1,
        sync,
        disposable: false,
        data,
    });
    let mut out = Vec::new();
    ChunkWriter::new().write(&mut out, 0, &samples).unwrap();
    let (read, _) = boxes(&out).split_first().map(|(first, rest)| (moof(first.clone()), rest.len())).unwrap();
    let Trun { samples, data_offset } = &read.traf[0].trun[0];
    assert_eq!((samples.len(), *data_offset), (3, Some(i32::try_from(out.len() - 6).unwrap())));
    for end in 1..out.len() {
        let mut rest = &out[..end];
        while !rest.is_empty() {
            match Any::decode_maybe(&mut rest) {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        // Either something is left over, or the mdat is gone.
        assert!(!rest.is_empty() || end == out.len() - 14, "{end} bytes");
    }
}

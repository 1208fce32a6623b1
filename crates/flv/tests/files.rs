//! Files that ffmpeg wrote, against the values that ffprobe reports for them and against a second, naive reading of
//! their tags.

use bytes::Bytes;
use headwater_flv::{Demuxer, Error, FileError, FlvReader, Tag, TagKind, write_header, write_tag};
use headwater_media::{Event, Sample, TrackConfig, TrackKind};

const BFRAMES: &[u8] = include_bytes!("fixtures/bframes_stereo48.flv");
const BASELINE: &[u8] = include_bytes!("fixtures/baseline_mono44.flv");
const INTERLACED: &[u8] = include_bytes!("fixtures/interlaced_51.flv");
const MP3: &[u8] = include_bytes!("fixtures/audio_mp3.flv");
const MP3_MPEG2: &[u8] = include_bytes!("fixtures/audio_mp3_mpeg2.flv");
const NELLYMOSER: &[u8] = include_bytes!("fixtures/nellymoser.flv");
const SORENSON: &[u8] = include_bytes!("fixtures/sorenson.flv");

fn read(file: &'static [u8]) -> Vec<Tag> {
    FlvReader::new(Bytes::from_static(file)).unwrap().map(Result::unwrap).collect()
}

fn demux(tags: Vec<Tag>) -> (Vec<Event>, Vec<Error>, Demuxer) {
    let (mut demuxer, mut events, mut errors) = (Demuxer::new(), Vec::new(), Vec::new());
    for tag in tags {
        if let Err(error) = demuxer.tag(tag, &mut events) {
            errors.push(error);
        }
    }
    (events, errors, demuxer)
}

fn configs(events: &[Event]) -> Vec<String> {
    let describe = |event: &Event| match event {
        Event::Config(track, config) => Some(match &**config {
            TrackConfig::Video(v) => format!(
                "{track} {} {}x{} {:?} {:?} reorder {:?} colour {:?}",
                v.codec_string,
                v.width,
                v.height,
                v.sample_aspect_ratio,
                v.frame_rate.unwrap(),
                v.reorder_frames_max,
                v.colour.map(|c| (c.primaries, c.transfer, c.matrix))
            ),
            TrackConfig::Audio(a) => format!(
                "{track} {} {} Hz {} ch, {} per frame",
                a.codec_string,
                a.sample_rate.hz(),
                a.channels,
                a.samples_per_frame
            ),
        }),
        _ => None,
    };
    events.iter().filter_map(describe).collect()
}

fn samples(events: &[Event], kind: TrackKind) -> Vec<&Sample> {
    let every = events.iter().filter_map(|event| match event {
        Event::Sample(sample) => Some(sample),
        _ => None,
    });
    every.filter(|sample| sample.track.kind == kind).collect()
}

#[test]
fn configurations_and_counts_as_ffprobe_sees_them() {
    // ffprobe -count_packets -show_entries stream=... of ffmpeg 5.1.9.
    for (name, file, expected, video, keyframes, audio) in [
        (
            "B-frames, stereo",
            BFRAMES,
            vec![
                "video0 avc1.64000d 320x180 (1, 1) (30000, 1001) reorder Some(2) colour Some((1, 1, 1))",
                "audio0 mp4a.40.2 48000 Hz 2 ch, 1024 per frame",
            ],
            30,
            2,
            48,
        ),
        (
            "Baseline, mono",
            BASELINE,
            vec![
                "video0 avc1.42c00c 318x178 (1, 1) (25, 1) reorder Some(0) colour None",
                "audio0 mp4a.40.2 44100 Hz 1 ch, 1024 per frame",
            ],
            25,
            3,
            45,
        ),
        (
            "interlaced, 5.1",
            INTERLACED,
            vec![
                "video0 avc1.64001e 720x576 (16, 15) (25, 1) reorder Some(2) colour None",
                "audio0 mp4a.40.2 48000 Hz 6 ch, 1024 per frame",
            ],
            10,
            1,
            20,
        ),
        ("MP3", MP3, vec!["audio0 mp4a.40.34 44100 Hz 2 ch, 1152 per frame"], 0, 0, 40),
        ("MP3, MPEG-2", MP3_MPEG2, vec!["audio0 mp4a.40.34 22050 Hz 1 ch, 576 per frame"], 0, 0, 41),
    ] {
        let (events, errors, demuxer) = demux(read(file));
        assert_eq!(errors, [], "{name}");
        assert_eq!(configs(&events), expected, "{name}");
        let pictures = samples(&events, TrackKind::Video);
        assert_eq!(pictures.len(), video, "{name}");
        assert_eq!(pictures.iter().filter(|sample| sample.sync).count(), keyframes, "{name}");
        assert_eq!(samples(&events, TrackKind::Audio).len(), audio, "{name}");
        assert_eq!(demuxer.counters().data_messages, 1, "{name}");
        assert_eq!(demuxer.counters().sequence_ends, u64::from(video > 0), "{name}");
        assert_eq!(demuxer.counters().bad_tags, 0, "{name}");
        let named =
            events.iter().any(|event| matches!(event, Event::Data(data) if data.name == "onMetaData"));
        assert!(named, "{name}");
    }
}

/// NAL units by the plainest loop there is.
fn nal_units(mut data: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    while !data.is_empty() {
        let size = u32::from_be_bytes(data[..4].try_into().unwrap()) as usize;
        units.push(&data[4..4 + size]);
        data = &data[4 + size..];
    }
    units
}

#[test]
fn every_nal_unit_and_every_audio_frame_in_order_with_its_stamps() {
    for file in [BFRAMES, BASELINE, INTERLACED] {
        let tags = read(file);
        let (events, ..) = demux(tags.clone());
        let mut pictures = samples(&events, TrackKind::Video).into_iter();
        let mut sounds = samples(&events, TrackKind::Audio).into_iter();
        for tag in &tags {
            let body = &tag.body[..];
            match (tag.kind, body[1]) {
                (TagKind::Video, 1) => {
                    let sample = pictures.next().unwrap();
                    let sent: Vec<_> =
                        nal_units(&body[5..]).into_iter().filter(|nal| nal[0] & 31 != 9).collect();
                    assert_eq!(nal_units(&sample.data), sent);
                    assert_eq!(sample.dts.ticks(), i64::from(tag.timestamp_ms));
                    assert_eq!(sample.cts_offset, i32::from(body[3]) << 8 | i32::from(body[4]));
                    assert_eq!(sample.sync, body[0] >> 4 == 1, "ffmpeg marks keyframes right");
                    // Only a delimiter in the middle (ffmpeg puts x264's SEI in front of it) costs a copy.
                    let shared = file.as_ptr_range().contains(&sample.data.as_ptr());
                    let delimiter_inside = nal_units(&body[5..]).iter().skip(1).any(|nal| nal[0] & 31 == 9);
                    assert_eq!(shared, !delimiter_inside);
                }
                (TagKind::Audio, 1) => {
                    let sample = sounds.next().unwrap();
                    assert_eq!(sample.data, body[2..]);
                    assert_eq!(sample.dts.ticks(), i64::from(tag.timestamp_ms));
                    assert!(file.as_ptr_range().contains(&sample.data.as_ptr()));
                }
                _ => {}
            }
        }
        assert!(pictures.next().is_none() && sounds.next().is_none());
    }
}

#[test]
fn codecs_not_carried_are_named() {
    for (file, expected) in [
        (NELLYMOSER, "audio codec Nellymoser is not supported"),
        (SORENSON, "video codec Sorenson H.263 is not supported"),
    ] {
        let (_, errors, _) = demux(read(file));
        assert!(errors[0].is_fatal());
        assert_eq!(errors[0].to_string(), expected);
    }
}

#[test]
fn every_truncation_of_every_message() {
    for file in [BFRAMES, INTERLACED] {
        let tags = read(file);
        let config = tags.iter().find(|tag| tag.kind == TagKind::Video).unwrap().clone();
        for tag in tags.iter().filter(|tag| tag.kind == TagKind::Video && tag.body[1] == 1).take(4) {
            for end in 0..tag.body.len() {
                let (mut demuxer, mut events) = (Demuxer::new(), Vec::new());
                demuxer.tag(config.clone(), &mut events).unwrap();
                let done = demuxer.tag(Tag { body: tag.body.slice(..end), ..tag.clone() }, &mut events);
                // A cut between two NAL units leaves a shorter access unit; any other is seen.
                let mut boundary = 5;
                while boundary < end {
                    let size: [u8; 4] = tag.body[boundary..boundary + 4].try_into().unwrap();
                    boundary += 4 + u32::from_be_bytes(size) as usize;
                }
                let expected = end == 0 || end == boundary;
                assert_eq!(done.is_ok(), expected, "cut to {end}: {done:?}");
                assert!(expected || events.len() == 1, "cut to {end}");
            }
        }
    }
}

#[test]
fn truncated_files_yield_the_whole_tags_and_one_error() {
    let tags = read(BASELINE);
    let mut ends = vec![13];
    for tag in &tags {
        ends.push(ends.last().unwrap() + 15 + tag.body.len());
    }
    for end in (0..BASELINE.len()).step_by(7).chain(ends.iter().copied()) {
        let reader = FlvReader::new(Bytes::from_static(&BASELINE[..end]));
        if end < 13 {
            assert_eq!(reader.unwrap_err(), FileError::NotFlv);
            continue;
        }
        // The last PreviousTagSize may be missing.
        let whole = ends.iter().skip(1).filter(|&&tag_end| tag_end - 4 <= end).count();
        let found: Vec<_> = reader.unwrap().collect();
        assert_eq!(found.iter().filter(|tag| tag.is_ok()).count(), whole, "cut to {end}");
        let at = ends[whole];
        if end > at {
            assert_eq!(found.last(), Some(&Err(FileError::TruncatedTag { offset: at })), "cut to {end}");
        }
    }
}

#[test]
fn written_files_are_the_bytes_that_were_read() {
    for file in [BFRAMES, BASELINE, INTERLACED, MP3] {
        let mut written = Vec::new();
        write_header(&mut written, file[4] & 4 != 0, file[4] & 1 != 0);
        for tag in read(file) {
            write_tag(&mut written, tag.kind, tag.timestamp_ms, &tag.body).unwrap();
        }
        assert!(written == file);
    }
}

#[test]
fn extended_timestamps_unknown_and_encrypted_tags() {
    let mut file = Vec::new();
    write_header(&mut file, true, false);
    for timestamp_ms in [0x00FF_FFFF, 0x0100_0000, u32::MAX] {
        write_tag(&mut file, TagKind::Audio, timestamp_ms, &[0xAF, 1, 0x21]).unwrap();
        write_tag(&mut file, TagKind::Data, 0, &[]).unwrap();
        let unknown = file.len() - 15;
        file[unknown] = 17;
    }
    let encrypted = file.len();
    write_tag(&mut file, TagKind::Audio, 0, &[0xAF, 1, 0x21]).unwrap();
    file[encrypted] |= 0x20;
    let found: Vec<_> =
        FlvReader::new(file.into()).unwrap().map(|tag| tag.map(|tag| tag.timestamp_ms)).collect();
    let expected =
        [Ok(0x00FF_FFFF), Ok(0x0100_0000), Ok(u32::MAX), Err(FileError::Encrypted { offset: encrypted })];
    assert_eq!(found, expected);
    assert!(write_tag(&mut Vec::new(), TagKind::Audio, 0, &vec![0; 0x0100_0000]).is_err());
}

//! The body of the fuzz target; an ordinary test runs it over its seeds.
#![allow(clippy::panic, reason = "what a fuzz body finds, it tells by a panic")]

use bytes::Bytes;
use headwater_codec::aac::AudioSpecificConfig;
use headwater_codec::h264::{AvcConfig, LengthSize, NalType, NalUnits};
use headwater_codec::mp3;
use headwater_media::{AudioCodec, Event, Sample, Timescale, TrackConfig, TrackId, TrackKind};

use crate::{COMPOSITION_TIME_MAX_MS, Demuxer, Error, FlvReader, Tag, TagKind};

/// Events of an FLV file, or of `{ kind8 size16 body }` repeated when the data is none, up to the first fatal error.
/// What comes out must be what the packager relies on, and must come out the same twice.
pub fn flv_tags(data: &[u8]) {
    let tags = tags(data);
    let (events, refusal, demuxer) = demux(&tags);
    check_events(&events);
    let counters = demuxer.counters();
    let count = |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count() as u64;
    let is_kind = |kind: TrackKind, event: &Event| matches!(event, Event::Sample(s) if s.track.kind == kind);
    let samples = |kind| events.iter().filter(|event| is_kind(kind, event)).count() as u64;
    assert_eq!(counters.video_samples, samples(TrackKind::Video));
    assert_eq!(counters.audio_samples, samples(TrackKind::Audio));
    assert_eq!(counters.data_messages, count(|event| matches!(event, Event::Data(_))));
    if let Some(refusal) = &refusal {
        assert!(refusal.to_string().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{refusal}");
    }
    let (again, refusal_again, _) = demux(&tags);
    assert!(events == again && refusal == refusal_again);
}

fn tags(data: &[u8]) -> Vec<Tag> {
    let data = Bytes::copy_from_slice(data);
    if let Ok(reader) = FlvReader::new(data.clone()) {
        return reader.map_while(Result::ok).collect();
    }
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(&[kind, high, low]) = data.get(at..at + 3) {
        let start = at + 3;
        let end = (start + usize::from(u16::from_be_bytes([high, low]))).min(data.len());
        let kind = match kind % 3 {
            0 => TagKind::Audio,
            1 => TagKind::Video,
            _ => TagKind::Data,
        };
        tags.push(Tag { kind, timestamp_ms: u32::from(low) << 24, body: data.slice(start..end) });
        at = end;
    }
    tags
}

fn demux(tags: &[Tag]) -> (Vec<Event>, Option<Error>, Demuxer) {
    let (mut demuxer, mut events) = (Demuxer::new(), Vec::new());
    for tag in tags {
        if let Err(error) = demuxer.tag(tag.clone(), &mut events)
            && error.is_fatal()
        {
            return (events, Some(error), demuxer);
        }
    }
    (events, None, demuxer)
}

/// Panics where a sequence of events breaks what the demultiplexer promises.
fn check_events(events: &[Event]) {
    let (mut video, mut audio) = (None, None);
    for event in events {
        match event {
            Event::Config(TrackId::VIDEO, config) => {
                assert_ne!(video, Some(config), "a repeated configuration");
                let TrackConfig::Video(fields) = &**config else { panic!("{config:?}") };
                let record = AvcConfig::parse(&fields.record).unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(record.to_record(), fields.record, "the record is canonical");
                assert_eq!(record.codec_string(), fields.codec_string);
                assert!(fields.width > 0 && fields.height > 0);
                video = Some(config);
            }
            Event::Config(TrackId::AUDIO, config) => {
                assert_ne!(audio, Some(config), "a repeated configuration");
                let TrackConfig::Audio(fields) = &**config else { panic!("{config:?}") };
                assert!(fields.channels > 0 && fields.samples_per_frame > 0);
                if fields.codec == AudioCodec::Aac {
                    let asc = AudioSpecificConfig::parse(&fields.record);
                    assert_eq!(asc.map(|asc| asc.sample_rate), Ok(fields.sample_rate.hz()));
                }
                audio = Some(config);
            }
            Event::Sample(sample) => {
                assert_eq!(sample.dts.scale(), Timescale::MILLIS);
                assert!((0..=i64::from(u32::MAX)).contains(&sample.dts.ticks()));
                match sample.track {
                    TrackId::VIDEO => {
                        assert!(video.is_some(), "a picture before its configuration");
                        check_video(sample);
                    }
                    _ => check_audio(sample, audio.map(|config| &**config)),
                }
            }
            Event::Data(metadata) => {
                assert!(metadata.name != "@setDataFrame" || metadata.amf0.starts_with(&[2]));
                assert!(!metadata.amf0.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
}

fn check_video(sample: &Sample) {
    assert!(sample.cts_offset.abs() <= COMPOSITION_TIME_MAX_MS);
    let mut first_slice = None;
    for nal in NalUnits::new(&sample.data, LengthSize::Four) {
        let nal = nal.unwrap_or_else(|error| panic!("{error}"));
        let nal_type = NalType::of(nal).unwrap_or_else(|| panic!("an empty NAL unit"));
        assert!(!(9..=12).contains(&nal_type.value()), "NAL unit type {}", nal_type.value());
        if nal_type.is_vcl() {
            first_slice = first_slice.or(Some(nal_type));
        }
    }
    assert_eq!(sample.sync, first_slice == Some(NalType::IDR));
    assert!(first_slice.is_some(), "a sample without a picture");
}

fn check_audio(sample: &Sample, config: Option<&TrackConfig>) {
    let Some(TrackConfig::Audio(config)) = config else { panic!("sound before its configuration") };
    assert!(sample.sync && sample.cts_offset == 0 && !sample.data.is_empty());
    match config.codec {
        AudioCodec::Aac => assert!(sample.data.len() <= 8_184),
        AudioCodec::Mp3 => {
            let header = mp3::FrameHeader::parse(&sample.data).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(header.frame_size, sample.data.len());
            assert_eq!((header.sample_rate, header.channels), (config.sample_rate.hz(), config.channels));
        }
    }
}

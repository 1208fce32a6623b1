//! Tag bodies, which are RTMP message bodies, for players: legacy AVC, AAC and MP3 (FLV E.4.2, E.4.3), and onMetaData.
//!
//! A sample's body is what this module puts in front of it, and the sample as it is: nobody has to copy it twice.

use headwater_media::{AudioCodec, AudioConfig, VideoCodec, VideoConfig};

/// Frame type key and inter in the upper half, codec id 7, AVC, in the lower (FLV E.4.3.1).
const KEY_AVC: u8 = 0x17;
const INTER_AVC: u8 = 0x27;

/// AVCPacketType and AACPacketType: a configuration record, or media.
const CONFIGURATION: u8 = 0;
const MEDIA: u8 = 1;

/// Sound format 10 as it has to be announced whatever the record says: 44 kHz, 16 bits, stereo (FLV E.4.2.1).
const AAC: u8 = 0xaf;

/// The largest composition time offset of 24 bits, ms.
const CTS_MAX: i32 = 0x007f_ffff;

/// The body of a video track's configuration.
pub fn video_configuration(config: &VideoConfig) -> Vec<u8> {
    let VideoCodec::H264 = config.codec;
    let mut body = vec![KEY_AVC, CONFIGURATION, 0, 0, 0];
    body.extend_from_slice(&config.record);
    body
}

/// The body of an audio track's configuration; `None` where frames carry their own.
pub fn audio_configuration(config: &AudioConfig) -> Option<Vec<u8>> {
    match config.codec {
        AudioCodec::Aac => Some([&[AAC, CONFIGURATION], &config.record[..]].concat()),
        AudioCodec::Mp3 => None,
    }
}

/// What stands in front of an access unit. The composition time offset is cut to what 24 bits can say.
pub fn video_front(sync: bool, composition_time_offset_ms: i32) -> [u8; 5] {
    let [_, cts @ ..] = composition_time_offset_ms.clamp(-CTS_MAX - 1, CTS_MAX).to_be_bytes();
    let [high, middle, low] = cts;
    [if sync { KEY_AVC } else { INTER_AVC }, MEDIA, high, middle, low]
}

/// What stands in front of an audio frame.
pub fn audio_front(config: &AudioConfig) -> &'static [u8] {
    match (config.codec, config.sample_rate.hz(), config.channels) {
        (AudioCodec::Aac, ..) => &[AAC, MEDIA],
        // Sound format 2; the rates that the field can't say are in the frame's own header.
        (AudioCodec::Mp3, 32_000.., 1) => &[0x2e],
        (AudioCodec::Mp3, 32_000.., _) => &[0x2f],
        (AudioCodec::Mp3, 16_000.., 1) => &[0x2a],
        (AudioCodec::Mp3, 16_000.., _) => &[0x2b],
        (AudioCodec::Mp3, _, 1) => &[0x26],
        (AudioCodec::Mp3, ..) => &[0x27],
    }
}

/// The body of `onMetaData` for these tracks: what players show, and wait for no track that is not announced.
pub fn metadata(video: Option<&VideoConfig>, audio: Option<&AudioConfig>) -> Vec<u8> {
    let mut properties: Vec<(&str, Property)> = Vec::new();
    let mut number = |name, value: u32| properties.push((name, Property::Number(f64::from(value))));
    if let Some(video) = video {
        number("width", video.width);
        number("height", video.height);
        number("videocodecid", 7);
    }
    if let Some(audio) = audio {
        number("audiocodecid", if audio.codec == AudioCodec::Aac { 10 } else { 2 });
        number("audiosamplerate", audio.output_sample_rate);
        number("audiosamplesize", 16);
        properties.push(("stereo", Property::Boolean(audio.channels > 1)));
    }
    if let Some((frames, seconds)) = video.and_then(|video| video.frame_rate)
        && seconds > 0
    {
        properties.push(("framerate", Property::Number(f64::from(frames) / f64::from(seconds))));
    }
    properties.push(("hasVideo", Property::Boolean(video.is_some())));
    properties.push(("hasAudio", Property::Boolean(audio.is_some())));

    let mut body = vec![2];
    write_text(&mut body, "onMetaData");
    // An ECMA array, as ffmpeg and OBS write it: count, named values, and an empty name before the end marker.
    body.push(8);
    body.extend_from_slice(&u32::try_from(properties.len()).unwrap_or(u32::MAX).to_be_bytes());
    for (name, property) in properties {
        write_text(&mut body, name);
        match property {
            Property::Number(value) => {
                body.push(0);
                body.extend_from_slice(&value.to_be_bytes());
            }
            Property::Boolean(value) => body.extend_from_slice(&[1, u8::from(value)]),
        }
    }
    body.extend_from_slice(&[0, 0, 9]);
    body
}

/// An AMF0 value of the metadata.
enum Property {
    Number(f64),
    Boolean(bool),
}

/// Length and text. The names here are short.
fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use headwater_media::{Event, TrackConfig, TrackId};
    use headwater_testkit::flv as witness;

    use super::*;
    use crate::{Demuxer, FlvReader, TagKind, write_header, write_tag, write_tag_of};

    fn clip(name: &str) -> Vec<u8> {
        let path = format!("{}/../../sample-media/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// What a file holds, written anew and read by a reader that shares no code with the writer.
    fn written_anew(file: Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        write_header(&mut out, true, true);
        let (mut demuxer, mut events) = (Demuxer::new(), Vec::new());
        let mut audio = None;
        for tag in FlvReader::new(Bytes::from(file)).unwrap() {
            let tag = tag.unwrap();
            let stamp = tag.timestamp_ms;
            demuxer.tag(tag, &mut events).unwrap();
            for event in events.drain(..) {
                match event {
                    Event::Config(_, config) => match &*config {
                        TrackConfig::Video(video) => {
                            write_tag(&mut out, TagKind::Video, stamp, &video_configuration(video)).unwrap();
                        }
                        TrackConfig::Audio(config) => {
                            if let Some(body) = audio_configuration(config) {
                                write_tag(&mut out, TagKind::Audio, stamp, &body).unwrap();
                            }
                            audio = Some(config.clone());
                        }
                    },
                    Event::Sample(sample) if sample.track == TrackId::VIDEO => {
                        let front = video_front(sample.sync, sample.cts_offset);
                        write_tag_of(&mut out, TagKind::Video, stamp, &[&front, &sample.data]).unwrap();
                    }
                    Event::Sample(sample) => {
                        let front = audio_front(audio.as_ref().unwrap());
                        write_tag_of(&mut out, TagKind::Audio, stamp, &[front, &sample.data]).unwrap();
                    }
                    _ => {}
                }
            }
        }
        out
    }

    #[test]
    fn a_clip_written_anew_is_the_clip() {
        for name in ["clip.flv", "plain.flv"] {
            let file = clip(name);
            let (before, after) =
                (witness::read(&file).unwrap(), witness::read(&written_anew(file)).unwrap());
            assert!(before.video.len() > 100 && before.audio.len() > 100);
            assert_eq!(before, after, "{name}");
        }
    }

    #[test]
    fn fronts_by_the_byte() {
        for (name, sync, cts, expected) in [
            ("keyframe", true, 0, [0x17, 1, 0, 0, 0]),
            ("inter", false, 67, [0x27, 1, 0, 0, 67]),
            ("shown before decoded", false, -1, [0x27, 1, 0xff, 0xff, 0xff]),
            ("too far ahead", false, i32::MAX, [0x27, 1, 0x7f, 0xff, 0xff]),
            ("too far behind", false, i32::MIN, [0x27, 1, 0x80, 0, 0]),
        ] {
            assert_eq!(video_front(sync, cts), expected, "{name}");
        }
    }

    fn audio(codec: AudioCodec, hz: u32, channels: u8) -> AudioConfig {
        AudioConfig {
            codec,
            record: Bytes::from_static(&[0x11, 0x90]),
            codec_string: String::new(),
            sample_rate: headwater_media::Timescale::new(hz).unwrap(),
            output_sample_rate: hz,
            channels,
            samples_per_frame: 1_024,
        }
    }

    #[test]
    fn sound_says_what_its_field_can() {
        for (codec, hz, channels, expected) in [
            (AudioCodec::Aac, 48_000, 1, &[0xaf, 1][..]),
            (AudioCodec::Mp3, 48_000, 2, &[0x2f]),
            (AudioCodec::Mp3, 44_100, 1, &[0x2e]),
            (AudioCodec::Mp3, 22_050, 2, &[0x2b]),
            (AudioCodec::Mp3, 11_025, 1, &[0x26]),
            (AudioCodec::Mp3, 8_000, 2, &[0x27]),
        ] {
            assert_eq!(audio_front(&audio(codec, hz, channels)), expected, "{codec:?} {hz} {channels}");
        }
        assert_eq!(audio_configuration(&audio(AudioCodec::Mp3, 48_000, 2)), None);
    }

    #[test]
    fn metadata_by_the_byte() {
        let body = metadata(None, Some(&audio(AudioCodec::Aac, 48_000, 2)));
        let expected = b"\x02\0\x0aonMetaData\x08\0\0\0\x06\
            \0\x0caudiocodecid\0\x40\x24\0\0\0\0\0\0\
            \0\x0faudiosamplerate\0\x40\xe7\x70\0\0\0\0\0\
            \0\x0faudiosamplesize\0\x40\x30\0\0\0\0\0\0\
            \0\x06stereo\x01\x01\
            \0\x08hasVideo\x01\0\
            \0\x08hasAudio\x01\x01\
            \0\0\x09";
        assert_eq!(body, expected, "{}", body.escape_ascii());
        let mut events = Vec::new();
        Demuxer::new().data(0, body.into(), &mut events).unwrap();
        assert!(matches!(&events[..], [Event::Data(data)] if data.name == "onMetaData"));
    }
}

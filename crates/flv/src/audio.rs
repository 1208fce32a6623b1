//! The audio track: AAC and MP3 messages to configurations and frames.

use bytes::Bytes;
use headwater_codec::aac::{ADTS_FRAME_SIZE_MAX, ADTS_HEADER_SIZE, AdtsFrames, AudioSpecificConfig};
use headwater_codec::{self as codec, mp3};
use headwater_media::{
    AudioCodec, AudioConfig, Event, MediaTime, Sample, Timescale, TrackConfig, TrackId, TrackKind,
};

use crate::configuration::Configuration;
use crate::demuxer::bad_tag;
use crate::enhanced::{self, FourCc, Message, Part};
use crate::reader::Reader;
use crate::{Counters, Error, TagKind};

/// Largest raw AAC frame that ADTS, and so MPEG-TS, can carry (ISO/IEC 14496-3 1.A.2.2: 13 bits with the header).
const AAC_FRAME_SIZE_MAX: usize = ADTS_FRAME_SIZE_MAX - ADTS_HEADER_SIZE;

/// State of the default audio track.
#[derive(Debug, Default)]
pub(crate) struct AudioTrack {
    configuration: Configuration,
}

impl AudioTrack {
    pub(crate) fn message(
        &mut self,
        timestamp_ms: u32,
        body: Bytes,
        counters: &mut Counters,
        out: &mut Vec<Event>,
    ) -> Result<(), Error> {
        let Some(header) = body.first() else {
            counters.empty_messages += 1;
            return Ok(());
        };
        let bad = |source| bad_tag(TagKind::Audio, source);
        match header >> 4 {
            // 14: MP3 at 8 kHz.
            2 | 14 => self.mp3(timestamp_ms, &body.slice(1..), counters, out),
            9 => match enhanced::parse_audio(body).map_err(bad)? {
                Message::Media { packet_type, parts, .. } => {
                    self.enhanced(timestamp_ms, packet_type, parts, counters, out)
                }
                Message::Command => Ok(()),
            },
            10 => {
                let mut reader = Reader::new(body);
                reader.u8("SoundFormat").map_err(bad)?;
                let packet_type = reader.u8("AACPacketType").map_err(bad)?;
                match packet_type {
                    0 => self.aac_config(&reader.into_rest(), counters, out),
                    1 => self.aac(timestamp_ms, reader.into_rest(), counters, out),
                    other => {
                        Err(bad(codec::Error::Invalid { field: "AACPacketType", value: u64::from(other) }))
                    }
                }
            }
            format => Err(Error::UnsupportedCodec {
                kind: TrackKind::Audio,
                codec: sound_format_name(format).into(),
            }),
        }
    }

    fn enhanced(
        &mut self,
        timestamp_ms: u32,
        packet_type: u8,
        parts: Vec<Part>,
        counters: &mut Counters,
        out: &mut Vec<Event>,
    ) -> Result<(), Error> {
        for part in parts {
            if part.track_id != 0 {
                counters.enhanced_ignored += 1;
                continue;
            }
            match (packet_type, part.four_cc) {
                (enhanced::SEQUENCE_START, FourCc::AAC) => self.aac_config(&part.body, counters, out)?,
                (enhanced::CODED_FRAMES, FourCc::AAC) => self.aac(timestamp_ms, part.body, counters, out)?,
                (enhanced::CODED_FRAMES, FourCc::MP3) => self.mp3(timestamp_ms, &part.body, counters, out)?,
                (enhanced::SEQUENCE_END, FourCc::AAC | FourCc::MP3) => counters.sequence_ends += 1,
                // MultichannelConfig says no more than the AudioSpecificConfig; MP3 has no sequence start.
                (_, FourCc::AAC | FourCc::MP3) => counters.enhanced_ignored += 1,
                (_, four_cc) => {
                    let codec = format!("{four_cc} by Enhanced RTMP");
                    return Err(Error::UnsupportedCodec { kind: TrackKind::Audio, codec });
                }
            }
        }
        Ok(())
    }

    fn aac_config(
        &mut self,
        record: &[u8],
        counters: &mut Counters,
        out: &mut Vec<Event>,
    ) -> Result<(), Error> {
        if record.is_empty() {
            counters.empty_configs += 1;
            return Ok(());
        }
        match AudioSpecificConfig::parse(record).and_then(|asc| aac_track_config(&asc, record)) {
            Ok(config) => {
                self.configuration.accepted();
                let announced = self.announce(config, out);
                counters.repeated_configs += u64::from(!announced);
                Ok(())
            }
            Err(codec::Error::Unsupported { what, value }) => Err(Error::UnsupportedCodec {
                kind: TrackKind::Audio,
                codec: format!("AAC with {what} {value}"),
            }),
            Err(source) => Err(self.configuration.rejected(TrackKind::Audio, source, counters)),
        }
    }

    fn aac(
        &mut self,
        timestamp_ms: u32,
        frame: Bytes,
        counters: &mut Counters,
        out: &mut Vec<Event>,
    ) -> Result<(), Error> {
        if frame.is_empty() {
            counters.empty_messages += 1;
            return Ok(());
        }
        let Some(config) = self.config(AudioCodec::Aac) else {
            counters.audio_before_config += 1;
            return Ok(());
        };
        let (rate, samples_per_frame) = (config.sample_rate, config.samples_per_frame);
        // Some cameras leave ADTS headers on. A raw frame never looks like one (see AdtsFrames).
        if let Some(frames) = AdtsFrames::detect(&frame) {
            for (index, (_, raw)) in (0_u32..).zip(frames) {
                counters.adts_headers_removed += 1;
                if !raw.is_empty() {
                    let dts = frame_time(timestamp_ms, index, samples_per_frame, rate);
                    push(dts, frame.slice_ref(raw), counters, out);
                }
            }
            return Ok(());
        }
        if frame.len() > AAC_FRAME_SIZE_MAX {
            let (count, max) = (frame.len(), AAC_FRAME_SIZE_MAX);
            let source = codec::Error::Limit { what: "AAC frame bytes", count, max };
            return Err(bad_tag(TagKind::Audio, source));
        }
        push(frame_time(timestamp_ms, 0, samples_per_frame, rate), frame, counters, out);
        Ok(())
    }

    fn mp3(
        &mut self,
        timestamp_ms: u32,
        body: &Bytes,
        counters: &mut Counters,
        out: &mut Vec<Event>,
    ) -> Result<(), Error> {
        if body.is_empty() {
            counters.empty_messages += 1;
            return Ok(());
        }
        for (index, frame) in (0_u32..).zip(mp3::Frames::new(body)) {
            let (header, frame) = frame.map_err(|source| bad_tag(TagKind::Audio, source))?;
            let bad_rate =
                |_| bad_tag(TagKind::Audio, codec::Error::Invalid { field: "sampling_frequency", value: 0 });
            let sample_rate = Timescale::new(header.sample_rate).map_err(bad_rate)?;
            let samples_per_frame = header.samples_per_frame();
            let same = self.config(AudioCodec::Mp3).is_some_and(|config| {
                config.sample_rate == sample_rate
                    && config.channels == header.channels
                    && config.samples_per_frame == samples_per_frame
            });
            if !same {
                let config = AudioConfig {
                    codec: AudioCodec::Mp3,
                    record: Bytes::new(),
                    codec_string: header.codec_string().to_owned(),
                    sample_rate,
                    output_sample_rate: header.sample_rate,
                    channels: header.channels,
                    samples_per_frame,
                };
                self.announce(config, out);
            }
            let dts = frame_time(timestamp_ms, index, samples_per_frame, sample_rate);
            push(dts, body.slice_ref(frame), counters, out);
        }
        Ok(())
    }

    fn config(&self, codec: AudioCodec) -> Option<&AudioConfig> {
        match self.configuration.announced() {
            Some(TrackConfig::Audio(config)) if config.codec == codec => Some(config),
            _ => None,
        }
    }

    /// False when nothing changed.
    fn announce(&mut self, config: AudioConfig, out: &mut Vec<Event>) -> bool {
        self.configuration.announce(TrackId::AUDIO, TrackConfig::Audio(config), out)
    }
}

fn aac_track_config(asc: &AudioSpecificConfig, record: &[u8]) -> Result<AudioConfig, codec::Error> {
    let sample_rate = Timescale::new(asc.sample_rate).map_err(|_| codec::Error::Invalid {
        field: "samplingFrequency",
        value: u64::from(asc.sample_rate),
    })?;
    Ok(AudioConfig {
        codec: AudioCodec::Aac,
        // Canonical where it can be written: padding at the end is no change of configuration.
        record: asc.to_bytes().unwrap_or_else(|_| Bytes::copy_from_slice(record)),
        codec_string: asc.codec_string(),
        sample_rate,
        output_sample_rate: asc.output_sample_rate(),
        channels: asc.channels(),
        samples_per_frame: u32::from(asc.samples_per_frame),
    })
}

fn push(dts: MediaTime, data: Bytes, counters: &mut Counters, out: &mut Vec<Event>) {
    counters.audio_samples += 1;
    out.push(Event::Sample(Sample { track: TrackId::AUDIO, dts, cts_offset: 0, sync: true, data }));
}

/// The stamp of the `index`-th frame of a message, in milliseconds modulo 2^32, as the container would have given it.
fn frame_time(timestamp_ms: u32, index: u32, samples_per_frame: u32, rate: Timescale) -> MediaTime {
    let samples = i64::from(index).saturating_mul(i64::from(samples_per_frame));
    let offset = MediaTime::new(samples, rate).millis();
    let ms = i64::from(timestamp_ms).saturating_add(offset) & i64::from(u32::MAX);
    MediaTime::new(ms, Timescale::MILLIS)
}

/// SoundFormat (FLV E.4.2.1).
fn sound_format_name(format: u8) -> &'static str {
    match format {
        0 | 3 => "linear PCM",
        1 => "ADPCM",
        4..=6 => "Nellymoser",
        7 => "G.711 A-law",
        8 => "G.711 mu-law",
        11 => "Speex",
        12 | 13 => "unregistered (sound format 12 or 13)",
        15 => "device-specific sound",
        _ => "unknown",
    }
}

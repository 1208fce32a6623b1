//! Streams made for tests: configurations, samples and a packager's calls in a packager's order.
#![allow(dead_code, reason = "each test program uses its part")]

use bytes::Bytes;
use headwater_media::{
    AudioCodec, AudioConfig, MediaTime, Sample, Timescale, TrackId, VideoCodec, VideoConfig,
};
use headwater_mpegts::{Muxer, Program};
use headwater_testkit::ts::{TsReader, TsReport};

/// x264, High, 320x180: one SPS, one PPS.
pub(crate) const RECORD: &[u8] = &[
    0x01, 0x64, 0x00, 0x0c, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41, 0x9f,
    0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60,
    0x01, 0x00, 0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00,
];

/// The SPS and PPS in [`RECORD`].
pub(crate) fn parameter_sets() -> (&'static [u8], &'static [u8]) {
    (&RECORD[8..34], &RECORD[37..43])
}

pub(crate) fn video_config() -> VideoConfig {
    VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from_static(RECORD),
        codec_string: "avc1.64000c".into(),
        width: 320,
        height: 180,
        sample_aspect_ratio: (1, 1),
        frame_rate: None,
        colour: None,
        reorder_frames_max: None,
    }
}

pub(crate) fn aac_config(record: &[u8], rate: u32) -> AudioConfig {
    AudioConfig {
        codec: AudioCodec::Aac,
        record: Bytes::copy_from_slice(record),
        codec_string: "mp4a.40.2".into(),
        sample_rate: Timescale::new(rate).unwrap(),
        output_sample_rate: rate,
        channels: 2,
        samples_per_frame: 1_024,
    }
}

/// AAC-LC stereo.
pub(crate) fn aac(rate: u32) -> AudioConfig {
    let index =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000]
            .iter()
            .position(|known| *known == rate)
            .unwrap();
    let bits = 2 << 11 | index << 7 | 2 << 3;
    aac_config(&u16::try_from(bits).unwrap().to_be_bytes(), rate)
}

pub(crate) fn mp3(rate: u32) -> AudioConfig {
    let samples_per_frame = if rate >= 32_000 { 1_152 } else { 576 };
    AudioConfig { codec: AudioCodec::Mp3, record: Bytes::new(), samples_per_frame, ..aac(48_000) }
        .with_rate(rate)
}

trait WithRate {
    fn with_rate(self, rate: u32) -> Self;
}

impl WithRate for AudioConfig {
    fn with_rate(mut self, rate: u32) -> Self {
        self.sample_rate = Timescale::new(rate).unwrap();
        self.output_sample_rate = rate;
        self
    }
}

/// Bytes that depend on their place and on `seed`, never 0: no start codes, no trailing zeros.
pub(crate) fn noise(seed: usize, size: usize) -> Vec<u8> {
    (0..size).map(|n| u8::try_from((n * 31 + seed * 17 + n / 251) % 255).unwrap() + 1).collect()
}

/// NAL units behind 4-byte lengths.
pub(crate) fn length_prefixed(units: &[&[u8]]) -> Bytes {
    let mut data = Vec::new();
    for unit in units {
        data.extend_from_slice(&u32::try_from(unit.len()).unwrap().to_be_bytes());
        data.extend_from_slice(unit);
    }
    data.into()
}

/// A slice NAL unit of `size` bytes.
pub(crate) fn slice(idr: bool, seed: usize, size: usize) -> Vec<u8> {
    let mut unit = noise(seed, size);
    unit[0] = if idr { 0x65 } else { 0x41 };
    unit
}

pub(crate) fn picture(dts: i64, cts_offset: i32, sync: bool, data: Bytes) -> Sample {
    Sample { track: TrackId::VIDEO, dts: MediaTime::new(dts, Timescale::MPEG), cts_offset, sync, data }
}

pub(crate) fn sound(ticks: i64, rate: u32, data: Bytes) -> Sample {
    let dts = MediaTime::new(ticks, Timescale::new(rate).unwrap());
    Sample { track: TrackId::AUDIO, dts, cts_offset: 0, sync: true, data }
}

/// A stream and how it is cut.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) seconds: i64,
    /// Media time of the first picture and of the first audio frame, 90 kHz ticks.
    pub(crate) start: i64,
    /// 90 kHz ticks per picture; None without video.
    pub(crate) frame_ticks: Option<i64>,
    /// Composition time offsets in pictures, in decode order, repeated over a group.
    pub(crate) composition: &'static [i64],
    /// Pictures from keyframe to keyframe; each keyframe begins a segment.
    pub(crate) gop: i64,
    pub(crate) picture_size: usize,
    pub(crate) audio: Option<AudioConfig>,
    pub(crate) audio_size: usize,
    /// Audio begins this much after video, 90 kHz ticks.
    pub(crate) audio_late: i64,
    /// Audio is handed in this much later than video of the same time, 90 kHz ticks.
    pub(crate) audio_lag: i64,
    /// No audio between these, 90 kHz ticks after the start.
    pub(crate) audio_pause: (i64, i64),
}

impl Default for Stream {
    fn default() -> Stream {
        Stream {
            seconds: 6,
            start: 900_000,
            frame_ticks: Some(3_000),
            composition: &[0],
            gop: 60,
            picture_size: 1_500,
            audio: Some(aac(48_000)),
            audio_size: 300,
            audio_late: 0,
            audio_lag: 0,
            audio_pause: (0, 0),
        }
    }
}

impl Stream {
    /// Every sample with the time at which it is handed in, in order.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        let end = self.start + self.seconds * 90_000;
        let mut samples = Vec::new();
        if let Some(ticks) = self.frame_ticks {
            for n in 0..self.seconds * 90_000 / ticks {
                let at = usize::try_from(n % self.gop).unwrap();
                let sync = at == 0;
                let cts = self.composition[at % self.composition.len()] * ticks;
                let size = self.picture_size + usize::try_from(n * 37 % 400).unwrap();
                let data = length_prefixed(&[&slice(sync, at, size)]);
                let dts = self.start + n * ticks;
                samples.push((dts, picture(dts, i32::try_from(cts).unwrap(), sync, data)));
            }
        }
        if let Some(audio) = &self.audio {
            let rate = i64::from(audio.sample_rate.hz());
            // Not before the first picture.
            let first = ((self.start + self.audio_late) * rate + 89_999).div_euclid(90_000);
            for n in 0.. {
                let ticks = first + n * i64::from(audio.samples_per_frame);
                let time = (ticks * 90_000).div_euclid(rate);
                if time >= end {
                    break;
                }
                if (self.audio_pause.0..self.audio_pause.1).contains(&(time - self.start)) {
                    continue;
                }
                let seed = usize::try_from(n).unwrap();
                let data = match audio.codec {
                    AudioCodec::Aac => noise(seed, self.audio_size + seed * 7 % 90),
                    AudioCodec::Mp3 => mp3_frame(u32::try_from(rate).unwrap(), seed),
                };
                samples.push((time + self.audio_lag, sound(ticks, audio.sample_rate.hz(), data.into())));
            }
        }
        samples.sort_by_key(|(time, _)| *time);
        samples.into_iter().map(|(_, sample)| sample).collect()
    }

    pub(crate) fn muxer(&self) -> Muxer {
        let video = self.frame_ticks.map(|_| video_config());
        Muxer::new(Program { video: video.as_ref(), audio: self.audio.as_ref(), ..Program::default() })
            .unwrap()
    }

    /// The segments, cut at every keyframe; audio-only every two seconds.
    pub(crate) fn segments(&self) -> Vec<Vec<u8>> {
        let mut muxer = self.muxer();
        segments(&mut muxer, &self.samples())
    }

    /// The segments read back.
    pub(crate) fn report(&self) -> TsReport {
        read(&self.segments())
    }

    /// The audio frames with their exact times in 90 kHz ticks.
    pub(crate) fn audio_frames(&self) -> Vec<(i64, Bytes)> {
        let audio = self.samples().into_iter().filter(|sample| sample.track == TrackId::AUDIO);
        audio.map(|sample| (sample.dts.rescale(Timescale::MPEG).ticks(), sample.data)).collect()
    }
}

/// Hands samples in as a packager does.
pub(crate) fn segments(muxer: &mut Muxer, samples: &[Sample]) -> Vec<Vec<u8>> {
    let has_video = samples.iter().any(|sample| sample.track == TrackId::VIDEO);
    let mut segments = Vec::new();
    let mut out = Vec::new();
    let mut begun: Option<MediaTime> = None;
    for sample in samples {
        let due = match begun {
            None => true,
            Some(_) if has_video => sample.track == TrackId::VIDEO && sample.sync,
            Some(at) => {
                sample.dts.rescale(Timescale::MPEG).ticks() - at.rescale(Timescale::MPEG).ticks() >= 180_000
            }
        };
        if due {
            if begun.is_some() {
                muxer.end_segment(&mut out, Some(sample.pts()));
                segments.push(std::mem::take(&mut out));
            }
            muxer.begin_segment(&mut out);
            begun = Some(sample.dts);
        }
        match sample.track {
            TrackId::VIDEO => muxer.write_video(&mut out, sample).unwrap(),
            _ => muxer.write_audio(&mut out, sample).unwrap(),
        }
    }
    muxer.end_segment(&mut out, None);
    segments.push(out);
    segments
}

pub(crate) fn read(segments: &[Vec<u8>]) -> TsReport {
    let mut reader = TsReader::new();
    for segment in segments {
        reader.segment(segment);
    }
    reader.finish()
}

fn mp3_frame(rate: u32, seed: usize) -> Vec<u8> {
    // 64 kbit/s.
    let (version, rate_index, size) = match rate {
        44_100 => (0xfb, 0, 208),
        48_000 => (0xfb, 1, 192),
        22_050 => (0xf3, 0, 208),
        24_000 => (0xf3, 1, 192),
        other => panic!("{other}"),
    };
    let bitrate_index = if rate >= 32_000 { 5 } else { 8 };
    let mut frame = noise(seed, size);
    frame[..4].copy_from_slice(&[0xff, version, bitrate_index << 4 | rate_index << 2, 0x44]);
    frame
}

//! Bodies of the fuzz targets, run over their seeds by the ordinary tests.
#![allow(clippy::expect_used, clippy::panic, reason = "what a fuzz body finds, it tells by a panic")]

use std::collections::BTreeMap;

use bytes::Bytes;
use headwater_media::{
    AudioCodec, AudioConfig, MediaTime, Sample, Timescale, TrackId, VideoCodec, VideoConfig,
};

use crate::{Error, Muxer, PACKET_SIZE, Program};

/// x264, High, 320x180.
const RECORD: &[u8] = &[
    0x01, 0x64, 0x00, 0x0c, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41, 0x9f,
    0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60,
    0x01, 0x00, 0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00,
];
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41, 0x9f, 0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
    0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

/// A script of calls on one muxer, against a model that builds every elementary stream the slow way.
///
/// The input is steps of a code, two bytes of size and that many bytes of sample. What is refused must leave the output
/// alone; what is accepted must come out of the packets again, unit by unit, with every packet whole and every continuity
/// counter in its place.
///
/// # Panics
/// When it does not.
pub fn mpegts_mux(data: &[u8]) {
    let (video, audio) = configs();
    let program = |code: u8| Program {
        video: (code & 1 == 0).then_some(&video),
        audio: (code & 2 == 0).then_some(&audio),
        timed_metadata: true,
    };
    let mut now = program(0);
    let mut muxer = Muxer::new(now).expect("the records above are good");
    let mut out = Vec::new();
    muxer.begin_segment(&mut out);
    let mut expected: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    // Audio that waits is written later, or never if its track goes.
    let mut waiting: Vec<(i64, Vec<u8>)> = Vec::new();
    let mut at = 0_i64;

    let mut rest = data;
    while let Some(([code, high, low], after)) = rest.split_first_chunk::<3>() {
        let size = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (body, after) = after.split_at(size);
        rest = after;
        at = at.saturating_add(i64::from(code >> 4) * 1_500);
        let before = out.len();
        match code & 7 {
            0 | 1 => {
                let sync = code & 1 == 1;
                let sample = sample(TrackId::VIDEO, at, body, sync);
                match (muxer.write_video(&mut out, &sample), byte_stream(body, sync)) {
                    (Ok(()), Some(stream)) if now.video.is_some() => {
                        expected.entry(0x100).or_default().extend(stream);
                    }
                    (Err(Error::TrackMissing(_)), _) if now.video.is_none() => assert_eq!(out.len(), before),
                    (Err(_), None) => assert_eq!(out.len(), before),
                    (result, model) => {
                        panic!("{result:?}, the model says {:?}", model.map(|stream| stream.len()))
                    }
                }
            }
            2 => {
                let fits = (1..=8_184).contains(&body.len()) && now.audio.is_some();
                let result = muxer.write_audio(&mut out, &sample(TrackId::AUDIO, at, body, true));
                assert_eq!(result.is_ok(), fits, "{result:?}");
                if fits {
                    waiting.push((at, adts(body)));
                }
            }
            3 => {
                muxer.end_segment(&mut out, Some(MediaTime::new(at, Timescale::MPEG)));
                muxer.begin_segment(&mut out);
            }
            4 if code & 8 != 0 => {
                let tag = headwater_codec::id3::TAG_SIZE_MAX.min(body.len());
                let tag = body.get(..tag).unwrap_or_default();
                let at = MediaTime::new(at, Timescale::MPEG);
                muxer.write_id3(&mut out, at, tag).expect("a tag is shorter than a PES packet may be");
                expected.entry(0x102).or_default().extend(tag);
            }
            4 => muxer.flush_audio(&mut out),
            5 => muxer.mark_discontinuity(),
            6 => {
                muxer.end_segment(&mut out, None);
                expected.entry(0x101).or_default().extend(waiting.drain(..).flat_map(|(_, frame)| frame));
                if muxer.reconfigure(program(code >> 6)).is_ok() {
                    now = program(code >> 6);
                }
                muxer.begin_segment(&mut out);
            }
            _ => at = at.saturating_add(i64::from(code >> 4) << 40),
        }
        assert_eq!(out.len() % PACKET_SIZE, 0);
    }
    muxer.end_segment(&mut out, None);
    expected.entry(0x101).or_default().extend(waiting.into_iter().flat_map(|(_, frame)| frame));
    expected.retain(|_, stream| !stream.is_empty());
    assert!(elementary_streams(&out) == expected, "what came out is not what went in");
}

fn configs() -> (VideoConfig, AudioConfig) {
    let rate = Timescale::new(48_000).expect("below a megahertz");
    let video = VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from_static(RECORD),
        codec_string: String::new(),
        width: 320,
        height: 180,
        sample_aspect_ratio: (1, 1),
        frame_rate: None,
        colour: None,
        reorder_frames_max: None,
    };
    let audio = AudioConfig {
        codec: AudioCodec::Aac,
        record: Bytes::from_static(&[0x11, 0x90]),
        codec_string: String::new(),
        sample_rate: rate,
        output_sample_rate: 48_000,
        channels: 2,
        samples_per_frame: 1_024,
    };
    (video, audio)
}

fn sample(track: TrackId, at: i64, body: &[u8], sync: bool) -> Sample {
    let dts = MediaTime::new(at, Timescale::MPEG);
    Sample { track, dts, cts_offset: 0, sync, data: Bytes::copy_from_slice(body) }
}

/// The access unit as a byte stream by H.264 annex B, or nothing when it must be refused.
fn byte_stream(mut data: &[u8], sync: bool) -> Option<Vec<u8>> {
    let mut units = Vec::new();
    while !data.is_empty() {
        let (length, rest) = data.split_at_checked(4)?;
        let length = length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        let (unit, rest) = rest.split_at_checked(length)?;
        data = rest;
        let end = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let unit = unit.get(..end)?;
        if unit.first().is_some_and(|header| !(9..=12).contains(&(header & 31))) {
            units.push(unit);
        }
    }
    let mut stream = b"\0\0\0\x01\x09\xf0".to_vec();
    let mut told = sync;
    let mut nothing = true;
    let opening: &[&[u8]] = if sync { &[SPS, PPS] } else { &[] };
    for (from_config, unit) in
        opening.iter().map(|unit| (true, *unit)).chain(units.iter().map(|unit| (false, *unit)))
    {
        let set = !from_config && unit.first().is_some_and(|header| matches!(header & 31, 7 | 8 | 13));
        if set && told && (unit == SPS || unit == PPS) {
            continue;
        }
        told &= !set;
        nothing &= from_config;
        stream.extend_from_slice(&[0, 0, 0, 1]);
        stream.extend_from_slice(unit);
    }
    // 64 KiB of sample hold at most 16,384 units, so the limit is within reach.
    (!nothing && units.len() <= headwater_codec::h264::NAL_UNITS_MAX).then_some(stream)
}

fn adts(frame: &[u8]) -> Vec<u8> {
    let length = frame.len() + 7;
    let byte = |value: usize| u8::try_from(value & 0xff).unwrap_or(0);
    let mut stream =
        vec![0xff, 0xf1, 0x4c, 0x80 | byte(length >> 11), byte(length >> 3), byte(length << 5) | 0x1f, 0xfc];
    stream.extend_from_slice(frame);
    stream
}

/// PES payloads per PID, in order; checks packets and counters on the way.
fn elementary_streams(out: &[u8]) -> BTreeMap<u16, Vec<u8>> {
    let mut streams: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    let mut counters: BTreeMap<u16, u8> = BTreeMap::new();
    for packet in out.chunks(PACKET_SIZE) {
        let [0x47, high, low, flags, body @ ..] = packet else { panic!("a packet without sync byte") };
        let pid = u16::from_be_bytes([high & 0x1f, *low]);
        let has_payload = u8::from(flags & 0x10 != 0);
        if let Some(last) = counters.insert(pid, flags & 15) {
            assert_eq!(flags & 15, (last + has_payload) & 15, "counter of PID {pid:#x}");
        }
        let skip = if flags & 0x20 == 0 { 0 } else { usize::from(*body.first().expect("184 bytes")) + 1 };
        let payload = body.get(skip..).expect("an adaptation field that ends in its packet");
        assert_eq!(payload.is_empty(), has_payload == 0, "payload and its announcement");
        if !(0x100..=0x102).contains(&pid) {
            continue;
        }
        let header =
            if high & 0x40 == 0 { 0 } else { 9 + usize::from(*payload.get(8).expect("a PES header")) };
        streams.entry(pid).or_default().extend_from_slice(payload.get(header..).expect("a whole PES header"));
    }
    streams.retain(|_, stream| !stream.is_empty());
    streams
}

#[cfg(test)]
mod tests {
    use headwater_testkit::seeds::over_seeds;

    use super::*;

    /// Every seed, and every truncation of it.
    #[test]
    fn seeds() {
        over_seeds("mpegts_mux", mpegts_mux);
    }

    proptest::proptest! {
        #[test]
        fn any_script(steps in proptest::collection::vec(step(), 0..60)) {
            mpegts_mux(&steps.concat());
        }
    }

    /// Steps that mostly are good ones.
    fn step() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        use proptest::prelude::*;
        let unit = (any::<u8>(), 0..700_usize, any::<u8>()).prop_map(|(kind, size, fill)| {
            let mut unit = u32::try_from(size + 1).unwrap().to_be_bytes().to_vec();
            unit.push(kind);
            unit.resize(size + 5, fill);
            unit
        });
        let known = proptest::sample::select(vec![SPS, PPS, &[9, 0xf0], &[12, 0xff], &[]]).prop_map(|unit| {
            let mut prefixed = u32::try_from(unit.len()).unwrap().to_be_bytes().to_vec();
            prefixed.extend_from_slice(unit);
            prefixed
        });
        let picture = proptest::collection::vec(prop_oneof![3 => unit, 1 => known], 0..5)
            .prop_map(|units| units.concat());
        let body = prop_oneof![
            4 => picture,
            2 => proptest::collection::vec(any::<u8>(), 0..9_000),
            1 => Just(Vec::new()),
        ];
        (any::<u8>(), body).prop_map(|(code, body)| {
            let mut step = vec![code];
            step.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
            step.extend_from_slice(&body);
            step
        })
    }
}

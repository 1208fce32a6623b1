//! Messages as publishers send them, right and wrong, against the events, errors and counts they lead to.

use bytes::Bytes;
use headwater_flv::{Counters, Demuxer, TagKind};
use headwater_media::{Event, TrackConfig, TrackKind};

use TagKind::{Audio, Data, Video};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// x264's records for 320x180 High and 318x178 Baseline, and the parameter sets in them.
const HIGH: &str =
    "0164000dffe1001b 6764000dacd941419f9f016a020202800001f480007530078a14cb 01000568ebecb22c fdf8f800";
const HIGH_SPS: &str = "6764000dacd941419f9f016a020202800001f480007530078a14cb";
const HIGH_PPS: &str = "68ebecb22c";
const OTHER_PPS: &str = "68ebecb22d";
const BASELINE: &str = "0142c00cffe10019 6742c00cd901419ea23011000003000100000300320f142a48 01000468cb8cb2";
const BASELINE_SPS: &str = "6742c00cd901419ea23011000003000100000300320f142a48";
const BASELINE_PPS: &str = "68cb8cb2";

/// A sequence header with `record`.
fn config(record: &str) -> Vec<u8> {
    bytes(&format!("17 00 000000 {record}"))
}

/// NAL units behind 4-byte lengths.
fn units(list: &[&str]) -> Vec<u8> {
    let unit = |hex: &&str| {
        let nal = bytes(hex);
        [&u32::try_from(nal.len()).unwrap().to_be_bytes()[..], &nal].concat()
    };
    list.iter().flat_map(unit).collect()
}

fn frame(frame_type: u8, cts: &str, list: &[&str]) -> Vec<u8> {
    [&[frame_type << 4 | 7, 1][..], &bytes(cts), &units(list)].concat()
}

fn key(list: &[&str]) -> Vec<u8> {
    frame(1, "000000", list)
}

fn inter(list: &[&str]) -> Vec<u8> {
    frame(2, "000000", list)
}

fn describe(event: &Event) -> String {
    match event {
        Event::Config(track, config) => match &**config {
            TrackConfig::Video(_) => format!("{track} config {}", config.codec_string()),
            TrackConfig::Audio(a) => format!(
                "{track} config {} {}>{} {}ch {}",
                a.codec_string,
                a.sample_rate.hz(),
                a.output_sample_rate,
                a.channels,
                hex(&a.record)
            ),
        },
        Event::Sample(sample) => {
            let sync = if sample.sync && sample.track.kind == TrackKind::Video { " key" } else { "" };
            let cts = if sample.cts_offset == 0 { String::new() } else { format!("{:+}", sample.cts_offset) };
            format!("{} {}{cts}{sync} {}", sample.track, sample.dts.ticks(), hex(&sample.data))
        }
        Event::Data(data) => format!("data {} {} {}", data.time.ticks(), data.name, hex(&data.amf0)),
        other => format!("{other:?}"),
    }
}

/// Feeds messages stamped 0, 40, 80 ... and lists what comes out.
fn run(messages: &[(TagKind, Vec<u8>)]) -> (Vec<String>, Counters) {
    let mut demuxer = Demuxer::new();
    let mut lines = Vec::new();
    for ((kind, body), timestamp_ms) in messages.iter().zip((0..).step_by(40)) {
        let mut events = Vec::new();
        let body = Bytes::copy_from_slice(body);
        let done = match kind {
            Audio => demuxer.audio(timestamp_ms, body, &mut events),
            Video => demuxer.video(timestamp_ms, body, &mut events),
            Data => demuxer.data(timestamp_ms, body, &mut events),
        };
        lines.extend(events.iter().map(describe));
        if let Err(error) = done {
            lines.push(format!("{}: {error}", if error.is_fatal() { "FATAL" } else { "skipped" }));
        }
    }
    (lines, *demuxer.counters())
}

type Count = fn(&Counters) -> u64;

fn check(name: &str, messages: &[(TagKind, Vec<u8>)], expected: &[&str], counts: &[(Count, u64)]) {
    let (lines, counters) = run(messages);
    assert_eq!(lines, expected, "{name}");
    for (index, &(count, wanted)) in counts.iter().enumerate() {
        assert_eq!(count(&counters), wanted, "{name}: count {index} of {counters:?}");
    }
}

fn video(bodies: Vec<Vec<u8>>) -> Vec<(TagKind, Vec<u8>)> {
    bodies.into_iter().map(|body| (Video, body)).collect()
}

fn audio(hex: &[&str]) -> Vec<(TagKind, Vec<u8>)> {
    hex.iter().map(|hex| (Audio, bytes(hex))).collect()
}

const HIGH_IS: &str = "video0 config avc1.64000d";

#[test]
fn what_samples_keep() {
    for (name, list, kept, empty) in [
        ("clean", vec!["6588", "6589"], "000000026588 000000026589", 0),
        ("delimiter in front", vec!["09f0", "6588"], "000000026588", 0),
        ("delimiter in the middle", vec!["060501aa80", "09f0", "6588"], "00000005060501aa80 000000026588", 0),
        ("filler behind (OBS at constant rate)", vec!["6588", "0cffff80"], "000000026588", 0),
        ("ends of sequence and stream", vec!["6588", "0a", "0b"], "000000026588", 0),
        ("known parameter sets", vec![HIGH_SPS, HIGH_PPS, "6588"], "000000026588", 0),
        ("known, padded", vec![&format!("{HIGH_PPS}00"), "6588"], "000000026588", 0),
        ("empty", vec!["", "6588", "", "6589"], "000000026588 000000026589", 2),
    ] {
        let sample = format!("video0 40 key {}", kept.replace(' ', ""));
        check(
            name,
            &video(vec![config(HIGH), key(&list)]),
            &[HIGH_IS, &sample],
            &[(|c| c.empty_nal_units, empty), (|c| c.video_samples, 1), (|c| c.bad_tags, 0)],
        );
    }
}

#[test]
fn shorter_lengths_are_rewritten() {
    for (size, lengths) in [("fc", "02 6588 01 0b 02 6589"), ("fd", "0002 6588 0001 0b 0002 6589")] {
        let record = HIGH.replacen("ffe1", &format!("{size}e1"), 1);
        let body = bytes(&format!("17 01 000000 {lengths}"));
        check(
            size,
            &video(vec![config(&record), body]),
            &[HIGH_IS, "video0 40 key 000000026588000000026589"],
            &[],
        );
    }
}

#[test]
fn sync_comes_from_the_slices() {
    check(
        "marked wrongly",
        &video(vec![config(HIGH), inter(&["6588"]), key(&["4188"]), frame(3, "000000", &["0188"])]),
        &[HIGH_IS, "video0 40 key 000000026588", "video0 80 000000024188", "video0 120 000000020188"],
        &[],
    );
    check(
        "recovery point",
        &video(vec![config(HIGH), key(&["060601c480", "4188"])]),
        &[HIGH_IS, "video0 40 00000005060601c480000000024188"],
        &[(|c| c.recovery_points, 1)],
    );
}

#[test]
fn composition_times() {
    for (cts, expected, clamped) in [
        ("000043", "+67", 0),
        ("ffffd6", "-42", 0),
        ("002710", "+10000", 0),
        ("002711", "", 1),
        ("ffd8f0", "-10000", 0),
        ("ffd8ef", "", 1),
        ("800000", "", 1),
        ("7fffff", "", 1),
    ] {
        check(
            cts,
            &video(vec![config(HIGH), frame(2, cts, &["4188"])]),
            &[HIGH_IS, &format!("video0 40{expected} 000000024188")],
            &[(|c| c.composition_times_clamped, clamped)],
        );
    }
}

#[test]
fn damaged_access_units_are_dropped() {
    let broken = |header: u8| bytes(&format!("{header:02x} 01 000000 00000002 6588 00000009 41"));
    let refusal = "skipped: bad video tag: NALUnitLength: data ends at bit 48";
    check(
        "a damaged picture between pictures",
        &video(vec![config(HIGH), broken(0x27), inter(&["4188"])]),
        &[HIGH_IS, refusal, "video0 80 000000024188"],
        &[(|c| c.bad_tags, 1)],
    );
    check(
        "a damaged keyframe: on with the next",
        &video(vec![config(HIGH), broken(0x17), inter(&["4188"]), key(&["6588"]), inter(&["4189"])]),
        &[HIGH_IS, refusal, "video0 120 key 000000026588", "video0 160 000000024189"],
        &[(|c| c.bad_tags, 1), (|c| c.video_awaiting_keyframe, 1)],
    );
    check(
        "cut short",
        &video(vec![
            config(HIGH),
            bytes("17"),
            bytes("1701"),
            bytes("17010000"),
            bytes("1709000000"),
            bytes("1701000000"),
        ]),
        &[
            HIGH_IS,
            "skipped: bad video tag: AVCPacketType: data ends at bit 8",
            "skipped: bad video tag: CompositionTime: data ends at bit 16",
            "skipped: bad video tag: CompositionTime: data ends at bit 16",
            "skipped: bad video tag: AVCPacketType: value 9 is not allowed",
        ],
        &[(|c| c.bad_tags, 4), (|c| c.empty_messages, 1)],
    );
    let many = [bytes("17 01 000000"), vec![0; 4 * 1_025]].concat();
    check(
        "too many NAL units",
        &video(vec![config(HIGH), many]),
        &[HIGH_IS, "skipped: bad video tag: NAL units in an access unit: 1025 is over the limit of 1024"],
        &[],
    );
}

#[test]
fn configurations() {
    check(
        "repeated",
        &video(vec![config(HIGH), key(&["6588"]), config(HIGH), config(&HIGH[..HIGH.len() - 8])]),
        &[HIGH_IS, "video0 40 key 000000026588"],
        &[(|c| c.repeated_configs, 2)],
    );
    check(
        "changed",
        &video(vec![config(HIGH), config(BASELINE), key(&["6588"]), config(HIGH)]),
        &[HIGH_IS, "video0 config avc1.42c00c", "video0 80 key 000000026588", HIGH_IS],
        &[(|c| c.repeated_configs, 0)],
    );
    check(
        "empty",
        &video(vec![bytes("1700"), bytes("1700000000"), config(HIGH)]),
        &[HIGH_IS],
        &[(|c| c.empty_configs, 2), (|c| c.bad_configs, 0)],
    );
    let bad = "unusable video configuration: sequenceParameterSetNALUnit: data ends at bit 48";
    let cut = &HIGH[..25];
    check(
        "three bad ones in a row",
        &video(vec![config(cut), config(cut), config(HIGH), config(cut), config(cut), config(cut)]),
        &[
            &format!("skipped: {bad}"),
            &format!("skipped: {bad}"),
            HIGH_IS,
            &format!("skipped: {bad}"),
            &format!("skipped: {bad}"),
            "FATAL: 3 unusable video configurations in a row, the last one: \
             sequenceParameterSetNALUnit: data ends at bit 48",
        ],
        &[(|c| c.bad_configs, 5)],
    );
    check(
        "pictures before it",
        &video(vec![key(&["6588"]), inter(&["4188"]), config(HIGH), inter(&["4188"])]),
        &[HIGH_IS, "video0 120 000000024188"],
        &[(|c| c.video_before_config, 2)],
    );
    check(
        "info frames and the end of a sequence",
        &video(vec![config(HIGH), bytes("5700"), bytes("5200"), bytes("1702000000"), vec![]]),
        &[HIGH_IS],
        &[(|c| c.command_frames, 2), (|c| c.sequence_ends, 1), (|c| c.empty_messages, 1)],
    );
}

#[test]
fn start_codes_by_mistake() {
    let record = format!("00000001 {HIGH_SPS} 00000001 {HIGH_PPS}");
    check(
        "in the configuration and in the pictures",
        &video(vec![
            config(&record),
            bytes("17 01 000000 00000001 09f0 000001 6588 000001 6589"),
            key(&["6588"]),
        ]),
        &[HIGH_IS, "video0 40 key 000000026588000000026589", "video0 80 key 000000026588"],
        &[(|c| c.annex_b, 2), (|c| c.bad_tags, 0)],
    );
    check(
        "only in the pictures",
        &video(vec![config(HIGH), bytes("17 01 000000 00000001 6588 00")]),
        &[HIGH_IS, "skipped: bad video tag: NALUnitLength: data ends at bit 40"],
        &[(|c| c.annex_b, 0)],
    );
}

#[test]
fn parameter_sets_in_band() {
    check(
        "another PPS at an IDR picture",
        &video(vec![config(HIGH), key(&[HIGH_SPS, OTHER_PPS, "6588"]), key(&[HIGH_SPS, OTHER_PPS, "6588"])]),
        &[HIGH_IS, HIGH_IS, "video0 40 key 000000026588", "video0 80 key 000000026588"],
        &[(|c| c.in_band_configs, 1)],
    );
    check(
        "another size, and the old record again without its picture",
        &video(vec![
            config(HIGH),
            key(&[BASELINE_SPS, BASELINE_PPS, "6588"]),
            config(HIGH),
            inter(&["4188"]),
        ]),
        &[HIGH_IS, "video0 config avc1.42c00c", "video0 40 key 000000026588", "video0 120 000000024188"],
        &[(|c| c.in_band_configs, 1), (|c| c.repeated_configs, 1)],
    );
    check(
        "between IDR pictures: in the sample now, in the configuration at the next",
        &video(vec![config(HIGH), inter(&[OTHER_PPS, "4188"]), inter(&[OTHER_PPS, "4189"]), key(&["6588"])]),
        &[
            HIGH_IS,
            "video0 40 0000000568ebecb22d000000024188",
            "video0 80 000000024189",
            HIGH_IS,
            "video0 120 key 000000026588",
        ],
        &[(|c| c.in_band_configs, 1)],
    );
    check(
        "changed and changed back",
        &video(vec![config(HIGH), inter(&[OTHER_PPS, "4188"]), inter(&[HIGH_PPS, "4189"]), key(&["6588"])]),
        &[
            HIGH_IS,
            "video0 40 0000000568ebecb22d000000024188",
            "video0 80 0000000568ebecb22c000000024189",
            "video0 120 key 000000026588",
        ],
        &[(|c| c.in_band_configs, 0)],
    );
    check(
        "unusable: left where it is",
        &video(vec![config(HIGH), key(&["6701", "6588"])]),
        &[HIGH_IS, "video0 40 key 000000026701000000026588"],
        &[(|c| c.bad_configs, 1), (|c| c.in_band_configs, 0)],
    );
    let flood: Vec<String> = (0..33).map(|n| format!("68eb{n:02x}80")).collect();
    let mut flood: Vec<&str> = flood.iter().map(String::as_str).collect();
    flood.push("6588");
    check(
        "a flood",
        &video(vec![config(HIGH), key(&flood)]),
        &[
            HIGH_IS,
            "skipped: bad video tag: new parameter sets in an access unit: 33 is over the limit of 32",
        ],
        &[],
    );
}

#[test]
fn messages_without_a_picture() {
    check(
        "SEI joins the next picture",
        &video(vec![config(HIGH), key(&["09f0", "060501aa80"]), key(&["09f0", "6588"]), inter(&["4188"])]),
        &[HIGH_IS, "video0 80 key 00000005060501aa80000000026588", "video0 120 000000024188"],
        &[(|c| c.without_picture, 1)],
    );
    check(
        "parameter sets in a message of their own",
        &video(vec![config(HIGH), key(&[BASELINE_SPS]), key(&[BASELINE_PPS]), key(&["6588"])]),
        &[HIGH_IS, "video0 config avc1.42c00c", "video0 120 key 000000026588"],
        &[(|c| c.without_picture, 2), (|c| c.in_band_configs, 1)],
    );
    check(
        "nothing worth keeping",
        &video(vec![config(HIGH), key(&["09f0", HIGH_SPS, HIGH_PPS]), inter(&["4188"])]),
        &[HIGH_IS, "video0 80 000000024188"],
        &[(|c| c.without_picture, 1)],
    );
    let large = "06".repeat(40_000);
    let (lines, counters) = run(&video(vec![config(HIGH), key(&[&large]), key(&[&large]), key(&["6588"])]));
    assert_eq!(lines.last().unwrap().len(), "video0 120 key ".len() + 2 * (4 + 40_000 + 4 + 2));
    assert_eq!(counters.without_picture, 2, "what has no room is dropped");
}

#[test]
fn aac_messages() {
    let lc = "audio0 config mp4a.40.2 48000>48000 2ch 1190";
    check(
        "plain",
        &audio(&["af00 1190", "af01 211004", "af00 1190", "af01", "", "af01 2110"]),
        &[lc, "audio0 40 211004", "audio0 200 2110"],
        &[(|c| c.repeated_configs, 1), (|c| c.empty_messages, 2), (|c| c.audio_samples, 2)],
    );
    check(
        "HE-AAC keeps the core's rate for its timescale",
        &audio(&["af00 2b920800", "af01 21", "af00 eb8a0800", "af00 1388 56e5a54880"]),
        &[
            "audio0 config mp4a.40.5 22050>44100 2ch 2b920800",
            "audio0 40 21",
            "audio0 config mp4a.40.29 22050>44100 2ch eb8a0800",
            "audio0 config mp4a.40.29 22050>44100 2ch 138856e5a54880",
        ],
        &[],
    );
    check(
        "frames before their configuration, and a padded repetition",
        &audio(&["af01 21", "af00 1190", "af00 11900000", "af00"]),
        &[lc],
        &[(|c| c.audio_before_config, 1), (|c| c.repeated_configs, 1), (|c| c.empty_configs, 1)],
    );
    let bad = "unusable audio configuration: samplingFrequencyIndex: value 13 is not allowed";
    check(
        "bad configurations",
        &audio(&["af00 1690", "af00 1190", "af00 1690", "af01 21", "af00 1690", "af00 1690"]),
        &[
            &format!("skipped: {bad}"),
            lc,
            &format!("skipped: {bad}"),
            "audio0 120 21",
            &format!("skipped: {bad}"),
            "FATAL: 3 unusable audio configurations in a row, the last one: \
             samplingFrequencyIndex: value 13 is not allowed",
        ],
        &[(|c| c.bad_configs, 4)],
    );
    check(
        "ADTS by mistake",
        &audio(&[
            "af00 1190",
            "af01 fff14c80015ffc 211004",
            "af01 fff14c80011ffc 21 fff14c80011ffc 22",
            "af01 2110",
        ]),
        &[lc, "audio0 40 211004", "audio0 80 21", "audio0 101 22", "audio0 120 2110"],
        &[(|c| c.adts_headers_removed, 3)],
    );
    check(
        "cut short",
        &audio(&["af", "af02"]),
        &[
            "skipped: bad audio tag: AACPacketType: data ends at bit 8",
            "skipped: bad audio tag: AACPacketType: value 2 is not allowed",
        ],
        &[(|c| c.bad_tags, 2)],
    );
    let large = format!("af01 {}", "21".repeat(8_185));
    check(
        "too large",
        &audio(&["af00 1190", &large]),
        &[lc, "skipped: bad audio tag: AAC frame bytes: 8185 is over the limit of 8184"],
        &[],
    );
    check(
        "another object type",
        &audio(&["af00 f94640"]),
        &["FATAL: audio codec AAC with audio object type 42 is not supported"],
        &[],
    );
}

#[test]
fn mp3_messages() {
    let frame = |header: &str, size: usize| format!("{header}{}", "00".repeat(size - 4));
    let (full, half) = (frame("fffb5064", 208), frame("fff340c4", 104));
    let is_full = "audio0 config mp4a.40.34 44100>44100 2ch ";
    check(
        "several frames in a message",
        &audio(&[&format!("2f{full}{full}{full}")]),
        &[is_full, &format!("audio0 0 {full}"), &format!("audio0 26 {full}"), &format!("audio0 52 {full}")],
        &[],
    );
    check(
        "another rate, and AAC after it",
        &audio(&[&format!("2f{full}"), &format!("2a{half}"), "af00 1190", "af01 21"]),
        &[
            is_full,
            &format!("audio0 0 {full}"),
            "audio0 config mp4a.40.34 22050>22050 1ch ",
            &format!("audio0 40 {half}"),
            "audio0 config mp4a.40.2 48000>48000 2ch 1190",
            "audio0 120 21",
        ],
        &[],
    );
    check(
        "a frame cut short",
        &audio(&[&format!("2f{full}fffb5064")]),
        &[is_full, &format!("audio0 0 {full}"), "skipped: bad audio tag: audio_data: data ends at bit 1664"],
        &[(|c| c.bad_tags, 1)],
    );
    check("silence", &audio(&["2f"]), &[], &[(|c| c.empty_messages, 1)]);
}

#[test]
fn stamps_of_later_frames_wrap_at_32_bits() {
    let (mut demuxer, mut events) = (Demuxer::new(), Vec::new());
    let frame = bytes(&format!("fffb5064{}", "00".repeat(204)));
    let body = [vec![0x2F], frame.clone(), frame].concat();
    demuxer.audio(u32::MAX, body.into(), &mut events).unwrap();
    let stamps: Vec<_> = events
        .iter()
        .skip(1)
        .map(|event| describe(event)[7..].split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(stamps, ["4294967295", "25"]);
}

#[test]
fn codecs_not_carried() {
    for (kind, hex, codec) in [
        (Video, "22 00", "Sorenson H.263"),
        (Video, "14 00", "VP6"),
        (Video, "1c 00 000000 01", "HEVC (legacy codec id 12)"),
        (Video, "1d 00", "AV1 (legacy codec id 13)"),
        (Video, "1f", "unknown"),
        (Video, "90 68766331 01", "HEVC (hvc1) by Enhanced RTMP"),
        (Video, "90 61763031", "AV1 (av01) by Enhanced RTMP"),
        (Video, "91 76703039 00", "VP9 (vp09) by Enhanced RTMP"),
        (Video, "90 00ff0a22", r#"unknown (\x00\xff\n\") by Enhanced RTMP"#),
        // ModEx of one round, then SequenceStart; then a 16-bit size.
        (Video, "97 02 0003e8 00 68766331", "HEVC (hvc1) by Enhanced RTMP"),
        (Video, &format!("97 ff 0100 {} 00 68766331", "00".repeat(257)), "HEVC (hvc1) by Enhanced RTMP"),
        // Multitrack: one track; many tracks; many codecs.
        (Video, "96 00 68766331 00 01", "HEVC (hvc1) by Enhanced RTMP"),
        (Video, "96 10 76766331 00 000001 01 01 000000", "VVC (vvc1) by Enhanced RTMP"),
        (Video, "96 20 61766331 01 000000 68766331 00 000001 01", "HEVC (hvc1) by Enhanced RTMP"),
        (Audio, "b6 00", "Speex"),
        (Audio, "7e 00", "G.711 A-law"),
        (Audio, "8e 00", "G.711 mu-law"),
        (Audio, "56 00", "Nellymoser"),
        (Audio, "3e 00", "linear PCM"),
        (Audio, "90 4f707573", "Opus (Opus) by Enhanced RTMP"),
        (Audio, "91 664c6143 00", "FLAC (fLaC) by Enhanced RTMP"),
        (Audio, "95 01 61632d33 00 0b77", "AC-3 (ac-3) by Enhanced RTMP"),
    ] {
        let expected = format!(
            "FATAL: {} codec {codec} is not supported",
            if kind == Video { "video" } else { "audio" }
        );
        check(hex, &[(kind, bytes(hex))], &[&expected], &[]);
    }
}

#[test]
fn enhanced_avc_and_aac() {
    check(
        "AVC",
        &video(vec![
            bytes(&format!("90 61766331 {HIGH}")),
            bytes("91 61766331 000043 00000002 6588"),
            bytes("a3 61766331 00000002 4188"),
            bytes("a1 61766331 ffffd6 00000002 4189"),
            bytes("94 61766331 02000463"),
            bytes("d0 00"),
            bytes("92 61766331"),
        ]),
        &[HIGH_IS, "video0 40+67 key 000000026588", "video0 80 000000024188", "video0 120-42 000000024189"],
        &[(|c| c.enhanced_ignored, 1), (|c| c.command_frames, 1), (|c| c.sequence_ends, 1)],
    );
    check(
        "tracks beside the default one",
        &video(vec![
            bytes(&format!("90 61766331 {HIGH}")),
            // OneTrack of track 1, HEVC: not the default track, not refused.
            bytes("96 01 68766331 01 00"),
            // ManyTracks, CodedFrames of tracks 0 and 1.
            bytes("96 11 61766331 00 000009 000000 00000002 6588 01 000001 00"),
        ]),
        &[HIGH_IS, "video0 80 key 000000026588"],
        &[(|c| c.enhanced_ignored, 2)],
    );
    check(
        "AAC and MP3",
        &audio(&[
            "90 6d703461 1190",
            "91 6d703461 2110",
            "94 6d703461 0102",
            "92 6d703461",
            "97 02 000000 01 6d703461 22",
        ]),
        &["audio0 config mp4a.40.2 48000>48000 2ch 1190", "audio0 40 2110", "audio0 160 22"],
        &[(|c| c.enhanced_ignored, 1), (|c| c.sequence_ends, 1)],
    );
    let frame = format!("fffb5064{}", "00".repeat(204));
    check(
        "MP3",
        &audio(&[&format!("91 2e6d7033 {frame}")]),
        &["audio0 config mp4a.40.34 44100>44100 2ch ", &format!("audio0 0 {frame}")],
        &[],
    );
}

#[test]
fn enhanced_headers_that_lie() {
    let endless = format!("97 {}", "00 00 07 ".repeat(20));
    for (hex, expected) in [
        ("90", "fourCc: data ends at bit 8"),
        ("90 617663", "fourCc: data ends at bit 8"),
        ("91 61766331 0000", "compositionTimeOffset: data ends at bit 0"),
        ("97", "modExDataSize: data ends at bit 8"),
        ("97 ff 00", "modExDataSize: data ends at bit 16"),
        ("97 ff ffff 00", "modExData: data ends at bit 32"),
        ("97 00 00", "modExType: data ends at bit 24"),
        (&endless, "ModEx rounds: 9 is over the limit of 8"),
        ("96", "multitrackType: data ends at bit 8"),
        ("96 06", "multitrack packet type: value 6 is not allowed"),
        ("96 30", "multitrackType: value 3 is not allowed"),
        ("96 10 61766331 00 000005 00", "track body: data ends at bit 80"),
        ("96 20 61766331 01 000000 61", "fourCc: data ends at bit 80"),
        (
            &format!("96 10 61766331 {}", "01 000000".repeat(17)),
            "tracks in a message: 17 is over the limit of 16",
        ),
        ("d0", "videoCommand: data ends at bit 8"),
    ] {
        check(hex, &[(Video, bytes(hex))], &[&format!("skipped: bad video tag: {expected}")], &[]);
    }
}

#[test]
fn data_messages() {
    let named = |name: &str| format!("02{:04x}{}", name.len(), hex(name.as_bytes()));
    let (meta, set, clear) = (named("onMetaData"), named("@setDataFrame"), named("@clearDataFrame"));
    let body = "08 00000000 000009";
    let plain = format!("data 0 onMetaData {meta}{}", body.replace(' ', ""));
    for (name, message, expected) in [
        ("set", format!("{set}{meta}{body}"), plain.as_str()),
        ("plain", format!("{meta}{body}"), &plain),
        ("AMF3 form", format!("00{set}{meta}{body}"), &plain),
        ("name alone", meta.clone(), &format!("data 0 onMetaData {meta}")),
        ("clear", format!("{clear}{meta}"), ""),
        ("set alone", set.clone(), "skipped: bad data tag: data message name: data ends at bit 128"),
        (
            "set and a number",
            format!("{set}00"),
            "skipped: bad data tag: data message name: value 0 is not allowed",
        ),
        (
            "length too long",
            "02ff".to_owned(),
            "skipped: bad data tag: data message name length: data ends at bit 8",
        ),
        ("long string", "0c00000002 6869".to_owned(), "data 0 hi 0c000000026869"),
        (
            "huge long string",
            "0cffffffff 6869".to_owned(),
            "skipped: bad data tag: data message name bytes: 4294967295 is over the limit of 256",
        ),
        (
            "not UTF-8",
            "020002 68ff".to_owned(),
            "skipped: bad data tag: data message name (not UTF-8): value 1 is not allowed",
        ),
        ("nothing", String::new(), ""),
    ] {
        let expected: Vec<&str> = if expected.is_empty() { vec![] } else { vec![expected] };
        check(name, &[(Data, bytes(&message))], &expected, &[]);
    }
    let huge = vec![2; headwater_flv::DATA_SIZE_MAX + 1];
    check(
        "too large",
        &[(Data, huge)],
        &["skipped: bad data tag: data message bytes: 262145 is over the limit of 262144"],
        &[],
    );
}

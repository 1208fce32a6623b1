//! Real H.264 and AAC, muxed here, judged by ffmpeg: decoded without a word, and nothing lost on the way.

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use headwater_media::{AudioConfig, Sample, VideoConfig};
use headwater_mpegts::{Muxer, Program};
use headwater_testkit::flv::Reference;
use headwater_testkit::{fidelity, flv};
use support::{aac_config, length_prefixed, mp3, picture, read, segments, sound, video_config};

/// Runs a program that the test cannot do without; its standard output and standard error.
fn run(program: &str, arguments: &[&str], input: Option<&[u8]>) -> (Vec<u8>, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed by this test: {error}"));
    let writer = child.stdin.take().zip(input.map(<[u8]>::to_vec)).map(|(mut stdin, input)| {
        // A reader may stop early; what it says about it is judged below.
        std::thread::spawn(move || drop(stdin.write_all(&input)))
    });
    let output = child.wait_with_output().unwrap();
    if let Some(writer) = writer {
        writer.join().unwrap();
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    (output.stdout, errors)
}

/// What an encoder sends: 8 s of 25 pictures per second with these arguments for ffmpeg.
fn encode(name: &str, arguments: &[&str]) -> Reference {
    let path = scratch(&format!("{name}.flv"));
    let mut all = vec!["-v", "error", "-y"];
    all.extend_from_slice(arguments);
    let path_text = path.to_str().unwrap();
    all.extend_from_slice(&["-t", "8", "-f", "flv", path_text]);
    run("ffmpeg", &all, None);
    let reference = flv::read(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    reference
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

const PICTURE: [&str; 4] = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"];
const TONE: [&str; 4] = ["-f", "lavfi", "-i", "sine=frequency=440"];
const X264: [&str; 12] =
    ["-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-b_strategy", "0", "-g", "50", "-b:v", "600k"];

struct Case {
    name: &'static str,
    arguments: Vec<&'static str>,
    /// Samples per second; 0 without audio.
    rate: u32,
    mp3: bool,
    /// 90 kHz ticks added to every time.
    start: i64,
}

fn cases() -> Vec<Case> {
    let aac = |layout: &'static str, rate: &'static str| ["-c:a", "aac", "-ac", layout, "-ar", rate];
    let both = |audio: &[&'static str]| [&PICTURE[..], &TONE, &X264, audio].concat();
    let case = |name, arguments, rate, mp3, start| Case { name, arguments, rate, mp3, start };
    vec![
        case("b-frames-aac-44100", both(&aac("2", "44100")), 44_100, false, 900_000),
        case("mono-48000", both(&aac("1", "48000")), 48_000, false, 900_000),
        case("surround-48000", both(&aac("6", "48000")), 48_000, false, 900_000),
        case("mp3", both(&["-c:a", "libmp3lame", "-ar", "44100"]), 44_100, true, 900_000),
        case("over-the-wrap", both(&aac("2", "48000")), 48_000, false, (1 << 33) - 5 * 90_000),
        case("video-only", [&PICTURE[..], &X264].concat(), 0, false, 900_000),
        case("audio-only", [&TONE[..], &aac("2", "44100")].concat(), 44_100, false, 900_000),
        case(
            "slices",
            [&PICTURE[..], &X264, &["-x264-params", "slices=4:aud=1:repeat-headers=1"]].concat(),
            0,
            false,
            900_000,
        ),
    ]
}

impl Case {
    fn video(&self, sent: &Reference) -> Option<VideoConfig> {
        let [sps, pps] = sent.parameter_sets.as_slice() else { return None };
        let mut record = vec![1];
        record.extend_from_slice(&sps[1..4]);
        record.extend_from_slice(&[0xff, 0xe1]);
        record.extend_from_slice(&u16::try_from(sps.len()).unwrap().to_be_bytes());
        record.extend_from_slice(sps);
        record.push(1);
        record.extend_from_slice(&u16::try_from(pps.len()).unwrap().to_be_bytes());
        record.extend_from_slice(pps);
        Some(VideoConfig { record: record.into(), ..video_config() })
    }

    fn audio(&self, sent: &Reference) -> Option<AudioConfig> {
        match &sent.audio_specific_config {
            Some(record) => Some(aac_config(record, self.rate)),
            None => self.mp3.then(|| mp3(self.rate)),
        }
    }

    /// Samples on one clock, audio by counting samples from its first stamp, in decode order.
    fn samples(&self, sent: &Reference, audio: Option<&AudioConfig>) -> Vec<Sample> {
        let mut samples: Vec<(i64, Sample)> = Vec::new();
        for unit in &sent.video {
            let units: Vec<&[u8]> = unit.nal_units.iter().map(Vec::as_slice).collect();
            let cts = i32::try_from(unit.cts_ms * 90).unwrap();
            let sample = picture(self.start + unit.dts_ms * 90, cts, unit.idr, length_prefixed(&units));
            samples.push((unit.dts_ms, sample));
        }
        if let (Some(first), Some(audio)) = (sent.audio.first(), audio) {
            let rate = i64::from(self.rate);
            let zero = (first.ms * 90 + self.start) * rate / 90_000;
            for (n, unit) in (0_i64..).zip(&sent.audio) {
                let ticks = zero + n * i64::from(audio.samples_per_frame);
                samples.push((unit.ms, sound(ticks, self.rate, Bytes::copy_from_slice(&unit.frame))));
            }
        }
        samples.sort_by_key(|(ms, sample)| (*ms, sample.track));
        samples.into_iter().map(|(_, sample)| sample).collect()
    }
}

#[test]
fn ffmpeg_plays_it_and_nothing_is_lost() {
    for case in cases() {
        let name = case.name;
        let sent = encode(name, &case.arguments);
        let (video, audio) = (case.video(&sent), case.audio(&sent));
        assert!(sent.video.len() == 200 || video.is_none(), "{name}: {} pictures", sent.video.len());
        assert!(!sent.audio.is_empty() || case.rate == 0, "{name}");
        let mut muxer =
            Muxer::new(Program { video: video.as_ref(), audio: audio.as_ref(), ..Program::default() })
                .unwrap();
        let segments = segments(&mut muxer, &case.samples(&sent, audio.as_ref()));
        assert!(segments.len() >= 4, "{name}: {} segments", segments.len());

        let report = read(&segments);
        assert_eq!(report.findings, Vec::<String>::new(), "{name}");
        let found = fidelity::compare(&sent, &report);
        assert_eq!(found.findings, Vec::<String>::new(), "{name}: {found:?}");

        let whole = segments.concat();
        assert_eq!(decode_errors(&whole), "", "{name}");
        for (n, segment) in segments.iter().enumerate() {
            // Alone, from its first picture on: 50 of them each.
            if video.is_some() {
                assert_eq!(pictures(segment), 50, "{name}: segment {n}");
            }
        }
        if video.is_some() {
            let probe = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", "-i", "pipe:0"];
            let (_, errors) = run("ffprobe", &probe, Some(&whole));
            assert_eq!(errors, "", "{name}");
            assert_eq!(pictures(&whole), 200, "{name}");
        }
    }
}

/// What ffmpeg has to say while it decodes everything.
fn decode_errors(stream: &[u8]) -> String {
    let arguments = ["-v", "warning", "-xerror", "-i", "pipe:0", "-copyts", "-f", "null", "-"];
    let (_, errors) = run("ffmpeg", &arguments, Some(stream));
    errors
}

/// Pictures that come out of a decoder without an error.
fn pictures(stream: &[u8]) -> usize {
    let arguments = [
        "-v",
        "error",
        "-select_streams",
        "v",
        "-show_entries",
        "frame=pict_type",
        "-of",
        "csv=p=0",
        "-i",
        "pipe:0",
    ];
    let (output, errors) = run("ffprobe", &arguments, Some(stream));
    assert_eq!(errors, "");
    output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count()
}

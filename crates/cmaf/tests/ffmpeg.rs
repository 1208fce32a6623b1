//! Real H.264, AAC and MP3, packaged here, judged by ffmpeg: decoded without a word into the same pictures and sound, at the
//! same times.

mod support;

use headwater_media::{TrackConfig, TrackKind};
use headwater_testkit::fidelity::compare_fmp4;
use headwater_testkit::flv;
use headwater_testkit::fmp4::{Fmp4Reader, Fmp4Report};
use support::{Track, TrackFile, clip, encode, run, tracks};

const PICTURE: [&str; 6] = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-t", "6"];
const TONE: [&str; 6] = ["-f", "lavfi", "-i", "sine=frequency=440", "-t", "6"];
/// Three B-frames, pyramid: some are referred to, some not.
const X264: [&str; 12] =
    ["-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-b_strategy", "0", "-g", "50", "-b:v", "600k"];

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let audio = |arguments: &[&'static str]| [&TONE[..], arguments].concat();
    vec![
        ("clip", clip("clip.flv")),
        ("plain", clip("plain.flv")),
        ("b-frames", encode("b-frames", &[&PICTURE[..], &X264].concat())),
        (
            "anamorphic, colour, 30000/1001",
            encode(
                "anamorphic",
                &[
                    &PICTURE[..],
                    &X264,
                    &["-r", "30000/1001", "-vf", "setsar=4/3", "-colorspace", "bt709"],
                    &["-color_primaries", "bt709", "-color_trc", "bt709"],
                ]
                .concat(),
            ),
        ),
        ("AAC 44.1 kHz 5.1", encode("surround", &audio(&["-c:a", "aac", "-ac", "6", "-ar", "44100"]))),
        ("AAC 48 kHz mono", encode("mono", &audio(&["-c:a", "aac", "-ac", "1", "-ar", "48000"]))),
        ("MP3 44.1 kHz", encode("mp3", &audio(&["-c:a", "libmp3lame", "-ac", "2", "-ar", "44100"]))),
        ("MP3 22.05 kHz", encode("mp3-low", &audio(&["-c:a", "libmp3lame", "-ac", "2", "-ar", "22050"]))),
    ]
}

fn read(file: &TrackFile) -> Fmp4Report {
    let mut reader = Fmp4Reader::new();
    reader.init(&file.init.bytes);
    file.segments.iter().for_each(|segment| reader.segment(&segment.concat()));
    reader.finish()
}

#[test]
fn every_picture_and_frame_is_there_unchanged() {
    for (name, flv) in files() {
        let sent = flv::read(&flv).unwrap();
        let tracks = tracks(&flv);
        let report = |kind| {
            let track = tracks.iter().find(|track| track.config.kind() == kind)?;
            let report = read(&track.package(3_600_000, 5));
            assert_eq!(report.findings, Vec::<String>::new(), "{name}: {kind}");
            assert!(report.segments >= 3 && report.chunks > report.segments, "{name}: {kind}");
            Some((report, track.config.timescale().hz()))
        };
        let (video, audio) = (report(TrackKind::Video), report(TrackKind::Audio));
        let has_video = video.is_some();
        let video = video.map(|(report, _)| report);
        // Started alike in seconds, not in ticks: the tracks are moved together again.
        let audio = audio.map(|(mut report, rate)| {
            let start = 3_600_000 * i64::from(rate) / 90_000 - 3_600_000;
            report.samples.iter_mut().filter(|_| has_video).for_each(|sample| sample.pts += start);
            report
        });
        let found = compare_fmp4(&sent, video.as_ref(), audio.as_ref());
        assert_eq!(found.findings, Vec::<String>::new(), "{name}: {found:?}");
        assert_eq!(found.video_sent, found.video_received, "{name}");
        assert!(found.video_received + found.audio_received > 100, "{name}: {found:?}");
    }
}

/// Lines of `framemd5` or of ffprobe's CSV, as columns without spaces.
fn table(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| line.trim_end_matches(',').split(',').map(|column| column.trim().to_owned()).collect())
        .collect()
}

/// (packet times as ffprobe has them, MD5 of what comes out of the decoder)
fn judge(track: &Track, whole: &[u8]) -> (Vec<Vec<String>>, Vec<String>) {
    let select = if track.config.kind() == TrackKind::Video { "v" } else { "a" };
    let entries = "packet=pts,dts,duration,flags,size";
    let probe =
        ["-v", "error", "-select_streams", select, "-show_entries", entries, "-of", "csv=p=0", "pipe:0"];
    let packets = table(&run("ffprobe", &probe, whole));
    (packets, decoded(select, whole))
}

fn decoded(select: &str, whole: &[u8]) -> Vec<String> {
    let map = format!("0:{select}");
    let decode =
        ["-v", "error", "-i", "pipe:0", "-map", &map, "-fps_mode", "passthrough", "-f", "framemd5", "-"];
    let decode: Vec<&str> = decode
        .into_iter()
        .filter(|word| select == "v" || !matches!(*word, "-fps_mode" | "passthrough"))
        .collect();
    let lines = table(&run("ffmpeg", &decode, whole));
    lines.into_iter().map(|columns| columns.last().unwrap().clone()).collect()
}

#[test]
fn ffmpeg_decodes_the_same_and_sees_the_same_times() {
    for (name, flv) in files() {
        for track in tracks(&flv) {
            let kind = track.config.kind();
            let start = 450_000;
            let file = track.package(start, 5);
            let whole = file.whole();
            let (packets, frames) = judge(&track, &whole);
            assert_eq!(packets.len(), track.samples.len(), "{name}: {kind}");
            // A quirk of ffmpeg's demuxer: it adds the largest negative offset seen so far (a chunk is seen whole) to every
            // PTS, where it should take it off the DTS. What is in the file is checked by mp4-atom in the test above.
            let quirk = |chunk: usize| {
                let seen = file.times.iter().take_while(|times| times.3 <= chunk);
                i64::from(seen.map(|times| -times.2).max().unwrap_or(0).max(0))
            };
            for (n, (packet, sample)) in packets.iter().zip(&track.samples).enumerate() {
                let (time, duration, offset, chunk) = file.times[n];
                assert_eq!(time + i64::from(offset), sample.pts().ticks() + start, "PTS never moves");
                let [found_pts, found_dts, _, size, flags] = packet.as_slice() else { panic!("{packet:?}") };
                let pts = sample.pts().ticks() + start + quirk(chunk);
                assert_eq!(*found_pts, pts.to_string(), "{name}: {kind} {n}");
                assert_eq!(*found_dts, time.to_string(), "{name}: {kind} {n}");
                // ffprobe guesses durations, from a frame rate or not at all; decode times are what is exact.
                let next = file.times.get(n + 1).map(|next| next.0 - time);
                assert!(next.is_none_or(|next| next == i64::from(duration)), "{name}: {kind} {n}");
                assert_eq!(*size, sample.data.len().to_string(), "{name}: {kind} {n}");
                assert_eq!(flags.starts_with('K'), sample.sync, "{name}: {kind} {n}: {flags}");
            }
            let select = if kind == TrackKind::Video { "v" } else { "a" };
            let sent = decoded(select, &flv);
            assert_eq!(frames.len(), sent.len(), "{name}: {kind}");
            assert!(frames == sent, "{name}: {kind} decodes differently");
            assert_eq!(
                decoded(select, &track.package(start, usize::MAX).whole()),
                sent,
                "{name}: one chunk each"
            );
        }
    }
}

/// The rest of each line after `key=`.
fn facts(whole: &[u8]) -> String {
    let entries = "stream=codec_name,codec_tag_string,profile,width,height,sample_aspect_ratio,color_range,color_space,\
                   color_transfer,color_primaries,sample_rate,channels,channel_layout,time_base,has_b_frames";
    run("ffprobe", &["-v", "error", "-show_entries", entries, "-of", "default=nw=1", "pipe:0"], whole)
}

#[test]
fn ffprobe_reads_the_configuration() {
    for (name, flv) in files() {
        for track in tracks(&flv) {
            let facts = facts(&track.package(0, usize::MAX).whole());
            let expected: Vec<String> = match &*track.config {
                TrackConfig::Video(video) => {
                    let (h, v) = video.sample_aspect_ratio;
                    let colour = video.colour.is_some();
                    let space = if colour { "color_space=bt709" } else { "color_space=unknown" };
                    vec![
                        "codec_name=h264".to_owned(),
                        "codec_tag_string=avc1".to_owned(),
                        format!("width={}", video.width),
                        format!("height={}", video.height),
                        format!("sample_aspect_ratio={h}:{v}"),
                        space.to_owned(),
                        "time_base=1/90000".to_owned(),
                    ]
                }
                TrackConfig::Audio(audio) => vec![
                    format!("codec_name={}", if audio.record.is_empty() { "mp3" } else { "aac" }),
                    "codec_tag_string=mp4a".to_owned(),
                    format!("sample_rate={}", audio.output_sample_rate),
                    format!("channels={}", audio.channels),
                    format!("time_base=1/{}", audio.sample_rate.hz()),
                ],
            };
            for line in expected {
                assert!(facts.lines().any(|fact| fact == line), "{name}: {line} is not in {facts}");
            }
        }
    }
}

#[test]
fn every_chunk_plays_alone_behind_the_init_segment() {
    for track in tracks(&clip("clip.flv")) {
        let file = track.package(90_000, 12);
        let select = if track.config.kind() == TrackKind::Video { "v" } else { "a" };
        // The first of each segment: MSE and a player that joins begin there.
        for segment in file.segments.iter().take(3) {
            let part = segment.first().unwrap();
            let frames = decoded(select, &[&file.init.bytes[..], part].concat());
            assert_eq!(frames.len(), 12, "{select}");
        }
    }
}

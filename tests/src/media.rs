//! What the encoders send: the committed clips, and files made by ffmpeg when a test wants a form that they do not have.

use std::path::PathBuf;
use std::process::Command;

use crate::process::{Scratch, read_output};

/// 854x480, 30 fps, two B-frames, AAC 48 kHz stereo, 16 s, loops without a seam.
pub fn clip() -> PathBuf {
    crate::root().join("sample-media/clip.flv")
}

/// 640x360, 25 fps, no B-frames, AAC 48 kHz stereo, 8 s, loops without a seam.
pub fn plain() -> PathBuf {
    crate::root().join("sample-media/plain.flv")
}

/// A test picture for `seconds` in `fps` (a fraction such as `30000/1001` is fine), as ffmpeg's input arguments.
pub fn picture(fps: &str, seconds: u32) -> Vec<String> {
    lavfi(&format!("testsrc2=size=320x180:rate={fps}:duration={seconds}"))
}

/// A test tone for `seconds` as ffmpeg's input arguments. `layout`: mono, stereo, 5.1.
pub fn tone(sample_rate: u32, layout: &str, seconds: u32) -> Vec<String> {
    let channels = match layout {
        "mono" => 1,
        "stereo" => 2,
        "5.1" => 6,
        other => panic!("no channel layout {other}"),
    };
    // A tone of its own in every channel.
    let tones: Vec<String> = (1..=channels).map(|n| format!("0.2*sin({}*2*PI*t)", 220 * n)).collect();
    lavfi(&format!("aevalsrc={}:c={layout}:s={sample_rate}:d={seconds}", tones.join("|")))
}

fn lavfi(graph: &str) -> Vec<String> {
    ["-f", "lavfi", "-i", graph].map(str::to_owned).to_vec()
}

/// x264 in one thread with a keyframe each `gop` frames and `b_frames` B-frames.
pub fn x264(gop: u32, b_frames: u32) -> Vec<String> {
    let gop = gop.to_string();
    let b_frames = b_frames.to_string();
    let arguments = [
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-pix_fmt",
        "yuv420p",
        "-b:v",
        "300k",
        "-g",
        &gop,
        "-keyint_min",
        &gop,
        "-sc_threshold",
        "0",
        "-bf",
        &b_frames,
        "-threads",
        "1",
    ];
    arguments.map(str::to_owned).to_vec()
}

/// Makes `<name>.flv` in the test's folder with ffmpeg: `arguments` are inputs, maps and codecs.
pub fn make(scratch: &Scratch, name: &str, arguments: &[String]) -> PathBuf {
    let path = scratch.join(&format!("{name}.flv"));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error", "-y"]).args(arguments);
    ffmpeg.args(["-flvflags", "no_duration_filesize", "-f", "flv"]).arg(&path);
    read_output(ffmpeg);
    path
}

/// What ffprobe says about the streams behind a file or URL: one line per stream, the named fields joined by commas in
/// ffprobe's own order.
pub fn probe(input: &str, fields: &str) -> Vec<String> {
    let mut ffprobe = Command::new("ffprobe");
    let entries = format!("stream={fields}");
    ffprobe.args(["-v", "error", "-show_entries", &entries, "-of", "csv=p=0", input]);
    // A TS input lists its streams twice: under the program and on their own.
    let mut lines: Vec<String> = Vec::new();
    for line in read_output(ffprobe).lines().filter(|line| !line.is_empty()) {
        let line = line.trim_end_matches(',').to_owned();
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

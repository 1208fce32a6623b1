//! Real encoders, each as its users start it.

use std::path::Path;
use std::process::Command;

use crate::process::{Process, Scratch};

/// ffmpeg publishes an FLV file as it is, in real time, `times` times over.
pub fn ffmpeg(scratch: &Scratch, name: &str, file: &Path, times: u32, url: &str) -> Process {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-hide_banner", "-v", "warning", "-re", "-stream_loop"]);
    ffmpeg.arg(times.saturating_sub(1).to_string()).arg("-i").arg(file);
    // ffmpeg takes the first video and the first audio stream; a file with one of them is fine.
    ffmpeg.args(["-c", "copy", "-f", "flv", "-flvflags", "no_duration_filesize", url]);
    Process::start(name, ffmpeg, scratch)
}

/// A GStreamer pipeline that encodes a test picture and a tone in real time for `seconds` and publishes them through
/// `sink`: "rtmp2sink" (GStreamer's own RTMP client) or "rtmpsink" (librtmp, the library of rtmpdump that OBS and many
/// hardware encoders use as well).
pub fn gstreamer(scratch: &Scratch, name: &str, sink: &str, seconds: u32, url: &str) -> Process {
    let frames = seconds * 30;
    // 48,000 samples a second in buffers of 1,024.
    let audio_buffers = seconds * 48_000 / 1_024;
    let location = match sink {
        // librtmp takes its options behind the URL; "live" says that this is no recording.
        "rtmpsink" => format!("location={url} live=1"),
        _ => format!("location={url}"),
    };
    let pipeline = format!(
        "videotestsrc is-live=true num-buffers={frames} pattern=ball ! video/x-raw,width=320,height=180,framerate=30/1 ! \
         x264enc bframes=2 b-adapt=false key-int-max=60 speed-preset=veryfast bitrate=300 ! \
         video/x-h264,profile=main ! h264parse ! queue ! mux. \
         audiotestsrc is-live=true num-buffers={audio_buffers} samplesperbuffer=1024 wave=sine ! \
         audio/x-raw,rate=48000,channels=2 ! avenc_aac bitrate=96000 ! aacparse ! queue ! mux."
    );
    let mut gstreamer = Command::new("gst-launch-1.0");
    // -e: an interrupt ends the stream properly. Each word is an argument: the location holds a space.
    gstreamer.args(["-e", "flvmux", "name=mux", "streamable=true", "!", sink, &location]);
    gstreamer.args(pipeline.split_whitespace());
    Process::start(name, gstreamer, scratch)
}

//! What the integration tests share: a track cut into segments and chunks as a packager would, and programs to judge it.
#![allow(dead_code, reason = "each test program uses its part")]

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use headwater_cmaf::{ChunkSample, ChunkWriter, InitSegment, audio_init, is_disposable, video_init};
use headwater_flv::{Demuxer, FlvReader, TagKind};
use headwater_media::{Event, MediaTime, Sample, Timescale, TrackConfig, TrackKind};

/// The samples of a track on its own timescale, audio counted from its first stamp.
pub(crate) struct Track {
    pub(crate) config: Arc<TrackConfig>,
    pub(crate) samples: Vec<Sample>,
}

/// A track file: init segment and segments, each a list of chunks.
pub(crate) struct TrackFile {
    pub(crate) init: InitSegment,
    pub(crate) segments: Vec<Vec<Vec<u8>>>,
    /// Decode time, duration and composition time offset of every sample, and the number of its chunk.
    pub(crate) times: Vec<(i64, u32, i32, usize)>,
}

impl TrackFile {
    /// Init segment and everything behind it.
    pub(crate) fn whole(&self) -> Vec<u8> {
        let mut whole = self.init.bytes.to_vec();
        self.segments.iter().flatten().for_each(|chunk| whole.extend_from_slice(chunk));
        whole
    }
}

/// The first configuration and all samples of each kind of track in an FLV file.
pub(crate) fn tracks(flv: &[u8]) -> Vec<Track> {
    let mut demuxer = Demuxer::new();
    let mut events = Vec::new();
    for tag in FlvReader::new(Bytes::copy_from_slice(flv)).unwrap() {
        let tag = tag.unwrap();
        match tag.kind {
            TagKind::Video => demuxer.video(tag.timestamp_ms, tag.body, &mut events).unwrap(),
            TagKind::Audio => demuxer.audio(tag.timestamp_ms, tag.body, &mut events).unwrap(),
            TagKind::Data => {}
        }
    }
    let mut tracks: Vec<Track> = Vec::new();
    for event in events {
        match event {
            Event::Config(id, config) => {
                assert!(!tracks.iter().any(|track| track.config.kind() == id.kind), "one configuration");
                tracks.push(Track { config, samples: Vec::new() });
            }
            Event::Sample(sample) => {
                let track = tracks.iter_mut().find(|track| track.config.kind() == sample.track.kind).unwrap();
                track.samples.push(sample);
            }
            other => panic!("{other:?}"),
        }
    }
    for track in &mut tracks {
        track.rescale();
    }
    tracks
}

impl Track {
    fn rescale(&mut self) {
        let scale = self.config.timescale();
        let mut next: Option<MediaTime> = None;
        for sample in &mut self.samples {
            match &*self.config {
                TrackConfig::Video(_) => {
                    sample.cts_offset *= 90;
                    sample.dts = sample.dts.rescale(Timescale::MPEG);
                }
                TrackConfig::Audio(audio) => {
                    let dts = next.unwrap_or_else(|| sample.dts.rescale(scale));
                    next = Some(dts.offset_by(i64::from(audio.samples_per_frame)));
                    sample.dts = dts;
                }
            }
        }
    }

    pub(crate) fn init(&self) -> InitSegment {
        match &*self.config {
            TrackConfig::Video(video) => video_init(video).unwrap(),
            TrackConfig::Audio(audio) => audio_init(audio).unwrap(),
        }
    }

    /// Cut at keyframes (audio: every 94 frames) `start` ticks late, into chunks of `samples_per_chunk`; decode times shifted
    /// as DESIGN wants it.
    pub(crate) fn package(&self, start: i64, samples_per_chunk: usize) -> TrackFile {
        let video = self.config.kind() == TrackKind::Video;
        let nominal = match &*self.config {
            TrackConfig::Video(_) => 3_600,
            TrackConfig::Audio(audio) => audio.samples_per_frame,
        };
        // Each segment's own: an FLV file's milliseconds make keyframes' offsets differ by one.
        let mut shift = 0;
        let shifts: Vec<i64> = self
            .samples
            .iter()
            .map(|sample| {
                shift = if sample.sync { i64::from(sample.cts_offset) } else { shift };
                shift
            })
            .collect();
        let times: Vec<i64> = self
            .samples
            .iter()
            .zip(&shifts)
            .map(|(sample, shift)| sample.dts.ticks() + shift + start)
            .collect();
        let mut writer = ChunkWriter::new();
        let mut segments: Vec<Vec<Vec<u8>>> = Vec::new();
        let mut written = Vec::new();
        let mut chunk: Vec<ChunkSample<Bytes>> = Vec::new();
        let mut chunk_time = 0;
        for (n, sample) in self.samples.iter().enumerate() {
            if if video { sample.sync } else { n % 94 == 0 } {
                segments.push(Vec::new());
            }
            if chunk.is_empty() {
                chunk_time = u64::try_from(times[n]).unwrap();
            }
            let duration = times.get(n + 1).map_or(nominal, |next| u32::try_from(next - times[n]).unwrap());
            let composition_time_offset = sample.cts_offset - i32::try_from(shifts[n]).unwrap();
            written.push((times[n], duration, composition_time_offset, segments.iter().flatten().count()));
            chunk.push(ChunkSample {
                duration,
                composition_time_offset,
                sync: sample.sync,
                disposable: video && is_disposable(&sample.data),
                data: sample.data.clone(),
            });
            let next_cut = match self.samples.get(n + 1) {
                Some(next) if video => next.sync,
                Some(_) => (n + 1) % 94 == 0,
                None => true,
            };
            if next_cut || chunk.len() == samples_per_chunk {
                let mut out = Vec::new();
                writer.write(&mut out, chunk_time, &chunk).unwrap();
                segments.last_mut().unwrap().push(out);
                chunk.clear();
            }
        }
        TrackFile { init: self.init(), segments, times: written }
    }
}

/// Runs a program that the test cannot do without; its standard output, without a word on standard error.
pub(crate) fn run(program: &str, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed by this test: {error}"));
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    // A reader may stop early; what it says about it is judged below.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && errors.is_empty(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn clip(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../sample-media/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// An FLV file by ffmpeg with these arguments.
pub(crate) fn encode(name: &str, arguments: &[&str]) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.flv"));
    let mut all = vec!["-v", "error", "-y"];
    all.extend_from_slice(arguments);
    all.extend_from_slice(&["-f", "flv", path.to_str().unwrap()]);
    run("ffmpeg", &all, &[]);
    let flv = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    flv
}

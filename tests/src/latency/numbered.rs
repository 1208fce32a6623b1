//! A publisher whose pictures carry their number, so that a machine can read it back off what a player shows.
//!
//! The pictures are drawn here and go to ffmpeg, which only encodes: so the moment at which each one came into being is known.

use std::io::{Read, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use headwater_flv::{Tag, TagKind};

use crate::media;
use crate::process::{Process, Scratch};
use crate::rtmp_client::{RtmpClient, Stage};

/// Pictures per second.
pub const FPS: u32 = 30;

/// Pictures from keyframe to keyframe.
pub const GOP: u32 = 60;

const WIDTH: usize = 640;
const HEIGHT: usize = 360;

/// The number is a row of squares at the top, 24 bits of it and 8 to check them, the lowest bit at the left: `code` in
/// `tests/players/latency.mjs` reads them.
const BITS: usize = 32;
const NUMBER_BITS: usize = 24;
const BLOCK: usize = WIDTH / BITS;

/// Black and white of video levels.
const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// Sound of the clip lasts so long and joins itself without a seam.
const SOUND_MS: u32 = 16_000;

/// A frame of AAC at 48 kHz exists once its 1,024 samples were heard.
const SOUND_FRAME: Duration = Duration::from_micros(21_334);

/// Between two looks for the order to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Publishes until it is dropped.
pub struct Numbered {
    stop: Arc<AtomicBool>,
    born: Arc<Mutex<Vec<f64>>>,
    threads: Vec<JoinHandle<()>>,
    _encoder: Process,
}

impl Numbered {
    /// Publishes as `live/{name}`: 640x360 at 30 fps, a keyframe each 2 s, no B-frames, x264 tuned for no delay, AAC at 48 kHz.
    ///
    /// # Panics
    /// When ffmpeg can't be started or the server does not let it publish.
    pub fn start(scratch: &Scratch, port: u16, name: &str) -> Numbered {
        let mut client = RtmpClient::open(port, name);
        client.reach(Stage::Publishing).expect("it may publish");
        client.set_chunk_size(4_096);
        let mut encoder = Process::start_piped("encoder", encoder(), scratch, Stdio::piped());
        let input = encoder.take_input().expect("it was started with an input");
        let output = encoder.take_output().expect("it was started with an output");
        let stop = Arc::new(AtomicBool::new(false));
        let born = Arc::new(Mutex::new(Vec::new()));
        let (sender, receiver) = channel();
        let started = Instant::now();
        let (stopped, noted) = (Arc::clone(&stop), Arc::clone(&born));
        let stopped_too = Arc::clone(&stop);
        let threads = vec![
            std::thread::spawn(move || draw(input, started, &stopped, &noted)),
            std::thread::spawn(move || {
                let mut output = output;
                let _ = read_exactly(&mut output, 9 + 4);
                while let Some(tag) = read_tag(&mut output) {
                    if sender.send(tag).is_err() {
                        break;
                    }
                }
            }),
            std::thread::spawn(move || send(client, &receiver, started, &stopped_too)),
        ];
        Numbered { stop, born, threads, _encoder: encoder }
    }

    /// When picture `number` was handed to the encoder, in ms since 1970.
    pub fn born_ms(&self, number: u32) -> Option<f64> {
        let born = self.born.lock().unwrap_or_else(PoisonError::into_inner);
        born.get(usize::try_from(number).ok()?).copied()
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn encoder() -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p"]);
    ffmpeg.args([
        "-video_size",
        &format!("{WIDTH}x{HEIGHT}"),
        "-framerate",
        &FPS.to_string(),
        "-i",
        "pipe:0",
    ]);
    ffmpeg.args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0"]);
    ffmpeg.args(["-g", &GOP.to_string(), "-keyint_min", &GOP.to_string(), "-sc_threshold", "0"]);
    ffmpeg.args(["-flush_packets", "1", "-flvflags", "no_duration_filesize", "-f", "flv", "pipe:1"]);
    ffmpeg
}

/// Hands a picture to the encoder whenever its time has come.
fn draw(mut encoder: ChildStdin, started: Instant, stop: &AtomicBool, born: &Mutex<Vec<f64>>) {
    let mut picture = vec![128_u8; WIDTH * HEIGHT * 3 / 2];
    for number in 0_u32.. {
        let due = started + Duration::from_secs(1) * number / FPS;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            return;
        }
        born.lock().unwrap_or_else(PoisonError::into_inner).push(now_ms());
        paint(&mut picture, number);
        if encoder.write_all(&picture).is_err() {
            return;
        }
    }
}

/// The number's squares above slopes of grey that wander.
fn paint(picture: &mut [u8], number: u32) {
    let code = code(number);
    for (y, row) in picture.chunks_exact_mut(WIDTH).take(HEIGHT).enumerate() {
        for (x, pixel) in row.iter_mut().enumerate() {
            *pixel = if y < 2 * BLOCK {
                if code >> (x / BLOCK) & 1 == 1 { WHITE } else { BLACK }
            } else {
                BLACK + ((x + y + number as usize * 3) % 210) as u8
            };
        }
    }
}

/// The bits that stand for a number: itself, and a check of it.
fn code(number: u32) -> u32 {
    let number = number & ((1 << NUMBER_BITS) - 1);
    let check = (number ^ number >> 8 ^ number >> 16 ^ 0xA5) & 0xFF;
    number | check << NUMBER_BITS
}

/// Sends what the encoder made as soon as it is there, and the clip's sound in its time.
fn send(mut client: RtmpClient, pictures: &Receiver<Tag>, started: Instant, stop: &AtomicBool) {
    let sound: Vec<Tag> =
        crate::hostile::tags(&media::clip()).into_iter().filter(|tag| tag.kind == TagKind::Audio).collect();
    // The configuration comes first; the frames behind it are played over and over.
    let Some((configuration, sound)) = sound.split_first() else { return };
    client.clock_ms = 0;
    client.send_media(std::slice::from_ref(configuration));
    let mut frames = (0_u32..)
        .flat_map(|round| sound.iter().map(move |tag| (tag.timestamp_ms + round * SOUND_MS, &tag.body)))
        .map(|(timestamp_ms, body)| Tag { kind: TagKind::Audio, timestamp_ms, body: body.clone() });
    let mut next = frames.next();
    while !stop.load(Ordering::Relaxed) {
        let due = next.as_ref().map(|tag| Duration::from_millis(u64::from(tag.timestamp_ms)) + SOUND_FRAME);
        let wait = due.map_or(LOOK, |due| (started + due).saturating_duration_since(Instant::now()));
        let tag = match pictures.recv_timeout(wait.min(LOOK)) {
            Ok(tag) if tag.kind == TagKind::Video => Some(tag),
            Ok(_) => None,
            Err(RecvTimeoutError::Timeout) if due.is_some_and(|due| started.elapsed() >= due) => {
                std::mem::replace(&mut next, frames.next())
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Some(tag) = tag {
            client.clock_ms = 0;
            client.send_media(&[tag]);
        }
    }
    client.leave();
}

/// One tag of an FLV file as it is being written; `None` at its end.
fn read_tag(output: &mut ChildStdout) -> Option<Tag> {
    let header = read_exactly(output, 11)?;
    let [kind, size @ .., t2, t1, t0, t3, _, _, _] = header.as_slice() else { return None };
    let size = size.iter().fold(0, |size, byte| size << 8 | usize::from(*byte));
    let kind = match kind & 0x1F {
        8 => TagKind::Audio,
        9 => TagKind::Video,
        _ => TagKind::Data,
    };
    let body = Bytes::from(read_exactly(output, size)?);
    let _size = read_exactly(output, 4)?;
    Some(Tag { kind, timestamp_ms: u32::from_be_bytes([*t3, *t2, *t1, *t0]), body })
}

fn read_exactly(output: &mut ChildStdout, bytes: usize) -> Option<Vec<u8>> {
    let mut buffer = vec![0; bytes];
    output.read_exact(&mut buffer).ok().map(|()| buffer)
}

/// The system's clock in ms, as a browser on this machine reads it too.
fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_shows_its_number() {
        let mut picture = vec![0_u8; WIDTH * HEIGHT * 3 / 2];
        paint(&mut picture, 0x00AB_CDEF);
        let bits = (0..BITS).filter(|bit| picture[BLOCK * WIDTH + bit * BLOCK + BLOCK / 2] > 128);
        let shown: u32 = bits.map(|bit| 1 << bit).sum();
        assert_eq!(shown & 0x00FF_FFFF, 0x00AB_CDEF);
        assert_eq!(shown >> 24, 0xEF ^ 0xCD ^ 0xAB ^ 0xA5);
    }
}

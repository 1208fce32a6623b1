//! A publisher in real time whose stamps do what no encoder here can be told to do: begin anywhere, wrap, jump by an hour.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::rtmp_client::{RtmpClient, Stage};

/// Tags of so much media are sent at a time: more often than a picture comes.
const SLICE: Duration = Duration::from_millis(20);

/// A clip that is published over and over until this value is dropped.
pub struct Paced {
    stop: Arc<AtomicBool>,
    /// It says goodbye, and stays connected without a further word.
    is_over: Arc<AtomicBool>,
    /// Added to every stamp, modulo 2^32 ms.
    offset_ms: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Paced {
    /// Publishes `file`, which lasts `length_ms`, as `live/{name}`; the first stamp is `offset_ms`.
    ///
    /// # Panics
    /// When the file can't be read or the server does not let it publish.
    pub fn start(port: u16, name: &str, file: &Path, length_ms: u32, offset_ms: u32) -> Paced {
        let tags = crate::hostile::tags(file);
        let mut client = RtmpClient::open(port, name);
        client.reach(Stage::Publishing).expect("it may publish");
        client.set_chunk_size(4_096);
        let stop = Arc::new(AtomicBool::new(false));
        let offset = Arc::new(AtomicU32::new(offset_ms));
        let is_over = Arc::new(AtomicBool::new(false));
        let (stopped, offset_now, ends) = (Arc::clone(&stop), Arc::clone(&offset), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            let mut rounds = 0_u32;
            let mut next = 0;
            while !stopped.load(Ordering::Relaxed) {
                if ends.load(Ordering::Relaxed) {
                    client.delete_stream();
                    while !stopped.load(Ordering::Relaxed) {
                        std::thread::sleep(SLICE);
                    }
                    break;
                }
                let elapsed_ms = started.elapsed().as_millis();
                while let Some(tag) = tags.get(next) {
                    let media_ms = rounds * length_ms + tag.timestamp_ms;
                    if u128::from(media_ms) > elapsed_ms {
                        break;
                    }
                    let base_ms = offset_now.load(Ordering::Relaxed).wrapping_add(rounds * length_ms);
                    client.clock_ms = base_ms;
                    client.send_media(std::slice::from_ref(tag));
                    next += 1;
                }
                if next == tags.len() {
                    (rounds, next) = (rounds + 1, 0);
                } else {
                    std::thread::sleep(SLICE);
                }
            }
        });
        Paced { stop, is_over, offset_ms: offset, thread: Some(thread) }
    }

    /// Its last word is `deleteStream`; the connection stays open until this value is dropped.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// From the next tag on, stamps are `by_ms` later; earlier when that is negative.
    pub fn jump(&self, by_ms: i32) {
        self.offset_ms.fetch_add(by_ms as u32, Ordering::Relaxed);
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its connection ends with it, without a word.
            let _ = thread.join();
        }
    }
}

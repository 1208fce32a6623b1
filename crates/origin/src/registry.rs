//! Every stream by its name, and who may write to it: at most one publisher at a time holds a stream's packager.
//!
//! A stream outlives its publishers: when one leaves, the packager waits here until the next one comes or the grace time
//! is over. Readers never wait for a writer; they see the last published version.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::{Cause, Event, WallTime};
use headwater_packager::{Clock, Counters, Numbering, Packager, Refusal, Snapshot, State};
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::clock::Clocks;
use crate::config::Config;
use crate::published::Published;
use crate::state::{Numbers, StateDir};

/// A newcomer takes a name over when its publisher has been silent for this long (rtmp.md 9.1): encoders reconnect
/// faster than TCP notices death.
const TAKEOVER_SILENCE: Duration = Duration::from_secs(5);

/// How long a newcomer waits for the silent publisher's task to let go.
const TAKEOVER_WAIT: Duration = Duration::from_secs(2);

/// Streams at a time. Each costs its window of media, so memory ends long before this.
const STREAMS_MAX: usize = 10_000;

/// An ended stream's playlist and segments stay at least this long, and as long as what it lists (hls.md 3.14).
const ENDED_KEPT_MIN: Duration = Duration::from_secs(60);

/// Numbers are stored this far ahead of use, so that the file is written once per so many segments.
const NUMBERS_AHEAD: u64 = 64;

/// Why a publisher can't have the name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Another publisher is sending.
    #[error("{0} is already being published")]
    AlreadyPublished(String),
    /// Too many streams.
    #[error("this server carries its maximum of {STREAMS_MAX} streams")]
    TooManyStreams,
}

/// All streams.
#[derive(Debug)]
pub struct Registry {
    streams: Mutex<HashMap<(String, String), Arc<Stream>>>,
    config: Arc<Config>,
    clocks: Clocks,
    state: Option<StateDir>,
    /// No number below this is given to a new stream: names that this process has served stay unique even when the wall
    /// clock steps back (DESIGN 5).
    sequence_floor: AtomicU64,
}

/// One name. It outlives its publishers.
#[derive(Debug)]
pub struct Stream {
    app: String,
    name: String,
    published: watch::Sender<Arc<Published>>,
    seat: Mutex<Seat>,
    /// Told when the seat is free again.
    vacated: Notify,
    clocks: Clocks,
}

/// Where the packager is while nobody publishes, and what is known of who does.
#[derive(Debug)]
struct Seat {
    /// `None` while a publisher holds it.
    packager: Option<Packager>,
    publisher: Option<Publisher>,
    /// Tells the publisher that holds the seat to leave it; a new one for each, so that no order reaches a successor.
    evict: Arc<Notify>,
    counters: Counters,
    longest_gop: Option<Duration>,
    /// Ends the stream after its grace time.
    ending: Option<AbortHandle>,
    /// Publishers so far. The end that one left behind must not meet the next one's.
    session: u64,
    /// Numbers below this are stored as used.
    stored: u64,
}

/// Who publishes, for the API and the log.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// Where from.
    pub peer: SocketAddr,
    /// What the encoder calls itself (flashVer), shortened and printable.
    pub encoder: String,
    /// Since when, monotonic.
    since: Duration,
    /// When it last sent anything, monotonic.
    heard: Duration,
    /// Bytes received from it.
    bytes: u64,
}

impl Publisher {
    /// A publisher that arrives now.
    pub fn new(peer: SocketAddr, encoder: &str, now: Duration) -> Publisher {
        let encoder = encoder.chars().filter(|c| !c.is_control()).take(80).collect();
        Publisher { peer, encoder, since: now, heard: now, bytes: 0 }
    }
}

/// The right to publish one stream: the packager, until it is dropped.
#[derive(Debug)]
pub struct Seated {
    registry: Arc<Registry>,
    stream: Arc<Stream>,
    packager: Option<Packager>,
    evict: Arc<Notify>,
    cause: Cause,
}

/// What a publisher that asks for a seat finds.
enum Asked {
    /// It is theirs.
    Seated(Box<Seated>),
    /// Somebody sits there and has been silent for too long.
    Silent(Arc<Notify>),
    /// Somebody sits there.
    Taken,
    /// The stream was forgotten in the meantime; its name is free.
    Gone,
}

/// A stream in `/api/v1/streams`.
#[derive(Debug, Clone, Serialize)]
pub struct StreamInfo {
    /// App.
    pub app: String,
    /// Name in the app.
    pub name: String,
    /// `starting`, `live`, `waiting` or `ended`.
    pub state: &'static str,
    /// Who publishes, if anybody does.
    pub publisher: Option<PublisherInfo>,
    /// The video track.
    pub video: Option<VideoInfo>,
    /// The audio track.
    pub audio: Option<AudioInfo>,
    /// Bits per second, average over recent segments, container included.
    pub bandwidth_average: Option<u64>,
    /// Bits per second as EXT-X-STREAM-INF states them.
    pub bandwidth_peak: Option<u64>,
    /// Longest keyframe interval seen, seconds.
    pub gop_longest_seconds: Option<f64>,
    /// EXT-X-TARGETDURATION in seconds.
    pub target_duration_seconds: Option<u32>,
    /// Number of the newest segment.
    pub media_sequence_last: Option<u64>,
    /// Segments listed.
    pub segments_listed: usize,
    /// Segments delisted and still fetchable.
    pub segments_retained: usize,
    /// Bytes of media held.
    pub memory_bytes: u64,
    /// Everything that was counted.
    pub counters: CountersInfo,
}

/// Who publishes, in the API.
#[derive(Debug, Clone, Serialize)]
pub struct PublisherInfo {
    /// Address and port.
    pub address: String,
    /// What the encoder calls itself.
    pub encoder: String,
    /// Seconds since it began.
    pub seconds: u64,
    /// Bytes received from it.
    pub bytes: u64,
}

/// A video track in the API.
#[derive(Debug, Clone, Serialize)]
pub struct VideoInfo {
    /// RFC 6381 string.
    pub codec: String,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames per second as measured.
    pub frame_rate: Option<f64>,
}

/// An audio track in the API.
#[derive(Debug, Clone, Serialize)]
pub struct AudioInfo {
    /// RFC 6381 string.
    pub codec: String,
    /// Samples per second after decoding.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
}

/// Counters in the API.
#[derive(Debug, Clone, Serialize)]
pub struct CountersInfo {
    /// Access units packaged.
    pub video_samples: u64,
    /// Audio frames packaged.
    pub audio_samples: u64,
    /// Video that no player could have decoded.
    pub video_dropped: u64,
    /// Audio outside its configuration.
    pub audio_dropped: u64,
    /// Samples of tracks beside the first of each kind.
    pub other_tracks_dropped: u64,
    /// Samples that no container could carry.
    pub unwritable: u64,
    /// Segments that had to end between keyframes.
    pub forced_cuts: u64,
    /// Configuration changes.
    pub config_changes: u64,
    /// Publishing sessions.
    pub sessions: u64,
    /// Stamps mended, per kind.
    pub repairs: RepairsInfo,
}

/// Mended stamps in the API.
#[derive(Debug, Clone, Serialize)]
pub struct RepairsInfo {
    /// Decode times that did not rise.
    pub not_monotonic: u64,
    /// Presentation before decoding.
    pub pts_before_dts: u64,
    /// Stray stamps.
    pub outliers: u64,
    /// Jumps that persisted.
    pub rebased: u64,
    /// Holes in the audio beyond the tolerance.
    pub audio_reanchored: u64,
    /// Audio frames that would have overlapped.
    pub audio_overlap: u64,
}

impl Registry {
    /// A registry without streams.
    pub fn new(config: Arc<Config>, clocks: Clocks, state: Option<StateDir>) -> Arc<Registry> {
        Arc::new(Registry {
            streams: Mutex::default(),
            config,
            clocks,
            state,
            sequence_floor: AtomicU64::new(1),
        })
    }

    /// The stream of that name, if anybody published it recently. Asking keeps nothing.
    pub fn stream(&self, app: &str, name: &str) -> Option<Arc<Stream>> {
        // One allocation for the key; names are bounded by the URL's own limits.
        lock(&self.streams).get(&(app.to_owned(), name.to_owned())).cloned()
    }

    /// Every stream, by app and name.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        let mut streams: Vec<_> = lock(&self.streams).values().cloned().collect();
        streams.sort_by(|a, b| (&a.app, &a.name).cmp(&(&b.app, &b.name)));
        streams
    }

    /// Seats a publisher. A silent one is made to leave first.
    ///
    /// # Errors
    /// [`Busy`] with the reason for the newcomer.
    pub async fn publish(
        self: &Arc<Registry>,
        app: &str,
        name: &str,
        publisher: Publisher,
    ) -> Result<Seated, Busy> {
        let deadline = tokio::time::Instant::now() + TAKEOVER_WAIT;
        loop {
            let stream = self.find_or_create(app, name)?;
            let vacated = stream.vacated.notified();
            match self.ask(&stream, &publisher) {
                Asked::Seated(seated) => return Ok(*seated),
                Asked::Silent(evict) => evict.notify_one(),
                Asked::Taken => return Err(Busy::AlreadyPublished(format!("{app}/{name}"))),
                Asked::Gone => continue,
            }
            if tokio::time::timeout_at(deadline, vacated).await.is_err() {
                return Err(Busy::AlreadyPublished(format!("{app}/{name}")));
            }
        }
    }

    /// Publishes a ready-made version under a name, without a publisher: for tests of what reads it.
    #[doc(hidden)]
    pub fn publish_for_test(self: &Arc<Registry>, app: &str, name: &str, snapshot: Snapshot) -> Arc<Stream> {
        let stream = self.find_or_create(app, name).expect("a test has few streams");
        stream.published.send_replace(Arc::new(Published::new(Arc::new(snapshot))));
        stream
    }

    /// Before the process ends: stores the exact numbers of every stream.
    pub fn store_all(&self) {
        for stream in self.streams() {
            let mut seat = lock(&stream.seat);
            if let Some(ending) = seat.ending.take() {
                ending.abort();
            }
            let numbers = seat.packager.as_ref().map(Packager::numbers);
            if let Some((media_sequence, discontinuity_sequence)) = numbers {
                self.store(&stream, Numbers { media_sequence, discontinuity_sequence });
            }
        }
    }

    fn find_or_create(&self, app: &str, name: &str) -> Result<Arc<Stream>, Busy> {
        let key = (app.to_owned(), name.to_owned());
        let mut streams = lock(&self.streams);
        if let Some(stream) = streams.get(&key) {
            return Ok(Arc::clone(stream));
        }
        if streams.len() >= STREAMS_MAX {
            return Err(Busy::TooManyStreams);
        }
        let stream = Arc::new(self.create(app, name));
        streams.insert(key, Arc::clone(&stream));
        Ok(stream)
    }

    fn create(&self, app: &str, name: &str) -> Stream {
        let clock = self.clocks.read();
        let from_clock = clock.wall.unix_seconds().max(self.sequence_floor.load(Ordering::Relaxed));
        let stored = self.state.as_ref().and_then(|state| state.numbers(app, name));
        let numbering = match stored {
            Some(numbers) => Numbering {
                media_sequence: numbers.media_sequence,
                discontinuity_sequence: numbers.discontinuity_sequence,
                resumed: true,
            },
            // Segments average at least a second, so numbers taken from the clock are above those of an earlier life.
            None => Numbering {
                media_sequence: from_clock,
                discontinuity_sequence: discontinuity_sequence_from(clock.wall),
                resumed: false,
            },
        };
        let config = headwater_packager::Config {
            segment_duration: self.config.packaging.segment_duration,
            window: self.config.packaging.window,
            hls: self.config.outputs_for(app).hls,
            cmaf: self.config.outputs_for(app).cmaf(),
        };
        let mut packager = Packager::new(&config, numbering);
        let first = packager
            .poll_snapshot(clock.wall)
            .unwrap_or_else(|| unreachable!("a new packager has a version"));
        Stream {
            app: app.to_owned(),
            name: name.to_owned(),
            published: watch::Sender::new(Arc::new(Published::new(first))),
            seat: Mutex::new(Seat {
                packager: Some(packager),
                publisher: None,
                evict: Arc::default(),
                counters: Counters::default(),
                longest_gop: None,
                ending: None,
                session: 0,
                stored: numbering.media_sequence,
            }),
            vacated: Notify::new(),
            clocks: self.clocks,
        }
    }

    fn ask(self: &Arc<Registry>, stream: &Arc<Stream>, publisher: &Publisher) -> Asked {
        let mut seat = lock(&stream.seat);
        let Some(mut packager) = seat.packager.take() else {
            let Some(sitting) = &seat.publisher else { return Asked::Gone };
            let silence = self.clocks.now().saturating_sub(sitting.heard);
            return if silence >= TAKEOVER_SILENCE {
                Asked::Silent(Arc::clone(&seat.evict))
            } else {
                Asked::Taken
            };
        };
        if let Some(ending) = seat.ending.take() {
            ending.abort();
        }
        seat.session += 1;
        seat.publisher = Some(publisher.clone());
        seat.evict = Arc::default();
        let evict = Arc::clone(&seat.evict);
        drop(seat);
        packager.begin_session(self.clocks.read());
        let mut seated = Seated {
            registry: Arc::clone(self),
            stream: Arc::clone(stream),
            packager: Some(packager),
            evict,
            cause: Cause::Lost,
        };
        seated.send_version();
        Asked::Seated(Box::new(seated))
    }

    /// Nobody publishes any more: wait for another, then end the stream, then forget it.
    fn schedule_end(
        self: &Arc<Registry>,
        stream: &Arc<Stream>,
        session: u64,
        cause: Cause,
    ) -> Option<AbortHandle> {
        // Without a runtime the process is ending, and nothing will be forgotten any more.
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let wait = match cause {
            Cause::Clean => self.config.publish.end_delay,
            // A server that goes down leaves the playlists open: its successor goes on with them.
            _ => self.config.publish.grace,
        };
        let registry = Arc::clone(self);
        let stream = Arc::clone(stream);
        let task = runtime.spawn(async move {
            tokio::time::sleep(wait).await;
            let Some(kept) = registry.end(&stream, session) else { return };
            tokio::time::sleep(kept).await;
            registry.forget(&stream, session);
        });
        Some(task.abort_handle())
    }

    /// Ends a stream that nobody has published since `session`. Returns how long it is to be kept, `None` if somebody has.
    fn end(&self, stream: &Arc<Stream>, session: u64) -> Option<Duration> {
        let clock = self.clocks.read();
        let mut seat = lock(&stream.seat);
        if seat.session != session {
            return None;
        }
        let packager = seat.packager.as_mut()?;
        packager.finish(clock);
        let snapshot = packager.poll_snapshot(clock.wall);
        let (media_sequence, discontinuity_sequence) = packager.numbers();
        let Some(snapshot) = snapshot else { return Some(ENDED_KEPT_MIN) };
        let kept = if snapshot.is_playable() {
            ENDED_KEPT_MIN.max(snapshot.listed_duration())
        } else {
            Duration::ZERO
        };
        stream.published.send_replace(Arc::new(Published::new(snapshot)));
        tracing::info!(app = stream.app, stream = stream.name, "stream ended");
        seat.stored = media_sequence;
        self.store(stream, Numbers { media_sequence, discontinuity_sequence });
        Some(kept)
    }

    fn forget(&self, stream: &Arc<Stream>, session: u64) {
        let mut streams = lock(&self.streams);
        let mut seat = lock(&stream.seat);
        if seat.session != session {
            return;
        }
        // Without its packager nobody can take the seat any more.
        let Some(packager) = seat.packager.take() else { return };
        self.sequence_floor.fetch_max(packager.numbers().0, Ordering::Relaxed);
        streams.remove(&(stream.app.clone(), stream.name.clone()));
        tracing::debug!(app = stream.app, stream = stream.name, "stream forgotten");
    }

    /// Takes a stream out without its packager, whose next number was `next`.
    fn discard(&self, stream: &Arc<Stream>, next: Option<u64>) {
        self.sequence_floor.fetch_max(next.unwrap_or(0), Ordering::Relaxed);
        let mut streams = lock(&self.streams);
        lock(&stream.seat).publisher = None;
        streams.remove(&(stream.app.clone(), stream.name.clone()));
        stream.vacated.notify_waiters();
    }

    fn store(&self, stream: &Stream, numbers: Numbers) {
        let Some(state) = &self.state else { return };
        if let Err(error) = state.store_numbers(&stream.app, &stream.name, numbers) {
            tracing::error!(app = stream.app, stream = stream.name, %error, "numbers can't be stored in state_dir");
        }
    }
}

impl Stream {
    /// App.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// Name in the app.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The newest version.
    pub fn current(&self) -> Arc<Published> {
        Arc::clone(&self.published.borrow())
    }

    /// The newest version and every one after it.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    /// What the API tells.
    pub fn info(&self) -> StreamInfo {
        let now = self.clocks.now();
        let current = self.current();
        let snapshot = &current.snapshot;
        let (publisher, counters, longest_gop) = {
            let seat = lock(&self.seat);
            (seat.publisher.clone(), seat.counters, seat.longest_gop)
        };
        let ts = snapshot.ts.as_ref();
        StreamInfo {
            app: self.app.clone(),
            name: self.name.clone(),
            state: state_text(snapshot.state),
            publisher: publisher.map(|publisher| PublisherInfo {
                address: publisher.peer.to_string(),
                seconds: now.saturating_sub(publisher.since).as_secs(),
                bytes: publisher.bytes,
                encoder: publisher.encoder,
            }),
            video: snapshot.tracks.video.as_ref().map(|video| VideoInfo {
                codec: video.codec_string.clone(),
                width: video.width,
                height: video.height,
                frame_rate: snapshot.frame_rate_millihertz.map(|rate| f64::from(rate) / 1_000.0),
            }),
            audio: snapshot.tracks.audio.as_ref().map(|audio| AudioInfo {
                codec: audio.codec_string.clone(),
                sample_rate: audio.output_sample_rate,
                channels: audio.channels,
            }),
            bandwidth_average: snapshot.bandwidth.map(|bandwidth| bandwidth.average),
            bandwidth_peak: snapshot.bandwidth.map(|bandwidth| bandwidth.peak),
            gop_longest_seconds: longest_gop.map(|gop| gop.as_secs_f64()),
            target_duration_seconds: ts.filter(|ts| !ts.listed.is_empty()).map(|ts| ts.target_duration),
            media_sequence_last: ts.and_then(headwater_packager::TsRendition::last_sequence),
            segments_listed: ts.map_or(0, |ts| ts.listed.len()),
            segments_retained: ts.map_or(0, |ts| ts.retained.len()),
            memory_bytes: snapshot.size_bytes(),
            counters: counters_info(counters),
        }
    }
}

impl Seated {
    /// The stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Resolves when this publisher must leave, because a newcomer takes the name over.
    pub async fn evicted(&self) {
        self.evict.notified().await;
    }

    /// How this session will have ended once this is dropped; an abrupt loss until told otherwise.
    pub fn set_cause(&mut self, cause: Cause) {
        self.cause = cause;
    }

    /// Hands one event to the packager and publishes what comes of it.
    ///
    /// # Errors
    /// [`Refusal`] when the publication can't go on.
    pub fn push(&mut self, event: Event, clock: Clock) -> Result<(), Refusal> {
        let Some(packager) = &mut self.packager else { return Ok(()) };
        packager.push(event, clock)?;
        if packager.has_news() {
            self.send_version();
        }
        Ok(())
    }

    /// Bytes arrived.
    pub fn heard(&self, bytes: usize, now: Duration) {
        if let Some(publisher) = &mut lock(&self.stream.seat).publisher {
            publisher.heard = now;
            publisher.bytes = publisher.bytes.saturating_add(bytes as u64);
        }
    }

    /// How far the media is ahead of the clock.
    pub fn ahead(&self, now: Duration) -> Duration {
        self.packager.as_ref().map_or(Duration::ZERO, |packager| packager.ahead(now))
    }

    fn send_version(&mut self) {
        let Some(packager) = &mut self.packager else { return };
        let wall = self.registry.clocks.wall();
        let (next, discontinuity_sequence) = packager.numbers();
        let reserve = {
            let mut seat = lock(&self.stream.seat);
            seat.counters = packager.counters();
            seat.longest_gop = packager.longest_gop();
            // The next number must be stored as used before a segment can bear it.
            (next.saturating_add(1) >= seat.stored).then(|| {
                seat.stored = next.saturating_add(NUMBERS_AHEAD);
                seat.stored
            })
        };
        if let Some(media_sequence) = reserve {
            self.registry.store(&self.stream, Numbers { media_sequence, discontinuity_sequence });
        }
        if let Some(snapshot) = packager.poll_snapshot(wall) {
            self.stream.published.send_replace(Arc::new(Published::new(snapshot)));
        }
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A bug, met in the middle of a sample. What it left behind is not touched again; the name starts afresh.
            self.registry.discard(&self.stream, self.packager.take().map(|packager| packager.numbers().0));
            return;
        }
        if let Some(packager) = &mut self.packager {
            packager.end_session(self.cause, self.registry.clocks.read());
        }
        self.send_version();
        let Some(packager) = self.packager.take() else { return };
        let mut seat = lock(&self.stream.seat);
        // Under the lock: with a delay of 0 the end may come before this thread goes on, and must find the packager.
        let ending = self.registry.schedule_end(&self.stream, seat.session, self.cause);
        seat.packager = Some(packager);
        seat.publisher = None;
        seat.ending = ending;
        drop(seat);
        self.stream.vacated.notify_waiters();
    }
}

/// Hours since 2025. It counts on over a restart like the media sequence, which tells players that nothing they hold
/// continues, but it must be small: hls.js 1.7 walks an array of this length and hangs the page at 10^9
/// (`tests/tests/players.rs` plays what this gives).
fn discontinuity_sequence_from(wall: WallTime) -> u64 {
    const YEAR_2025_SECONDS: u64 = 1_735_689_600;
    wall.unix_seconds().saturating_sub(YEAR_2025_SECONDS) / 3_600
}

/// A poisoned lock is still a whole value here: nothing under these locks is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state's name in the API.
pub fn state_text(state: State) -> &'static str {
    match state {
        State::Starting => "starting",
        State::Live => "live",
        State::Waiting => "waiting",
        State::Ended => "ended",
    }
}

fn counters_info(counters: Counters) -> CountersInfo {
    CountersInfo {
        video_samples: counters.video_samples,
        audio_samples: counters.audio_samples,
        video_dropped: counters.video_dropped,
        audio_dropped: counters.audio_dropped,
        other_tracks_dropped: counters.other_tracks_dropped,
        unwritable: counters.unwritable,
        forced_cuts: counters.forced_cuts,
        config_changes: counters.config_changes,
        sessions: counters.sessions,
        repairs: RepairsInfo {
            not_monotonic: counters.repairs.not_monotonic,
            pts_before_dts: counters.repairs.pts_before_dts,
            outliers: counters.repairs.outliers,
            rebased: counters.repairs.rebased,
            audio_reanchored: counters.repairs.audio_reanchored,
            audio_overlap: counters.repairs.audio_overlap,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A panic in a publisher's task costs its stream, not the name: the next publisher gets it, with higher numbers.
    #[test]
    fn a_panic_frees_the_name() {
        let registry = Registry::new(Arc::new(Config::default()), Clocks::start(), None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let peer = SocketAddr::from(([127, 0, 0, 1], 1));
            let publisher = || Publisher::new(peer, "test", Duration::ZERO);
            let seated = registry.publish("live", "cam", publisher()).await.unwrap();
            let numbers = seated.packager.as_ref().unwrap().numbers();
            let panicked = tokio::spawn(async move {
                let _seated = seated;
                panic!("a bug, on purpose");
            });
            assert!(panicked.await.is_err());
            assert!(registry.stream("live", "cam").is_none());
            let seated = registry.publish("live", "cam", publisher()).await.unwrap();
            assert!(seated.packager.as_ref().unwrap().numbers().0 >= numbers.0);
        });
    }

    /// A publication that ends with a delay of 0 is forgotten, however soon its end comes.
    #[test]
    fn an_end_without_delay_is_not_missed() {
        let mut config = Config::default();
        config.publish.end_delay = Duration::ZERO;
        let registry = Registry::new(Arc::new(config), Clocks::start(), None);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut gone = Vec::new();
            for number in 0..2_000 {
                let peer = SocketAddr::from(([127, 0, 0, 1], 1));
                let publisher = Publisher::new(peer, "test", Duration::ZERO);
                let mut seated = registry.publish("live", &format!("s{number}"), publisher).await.unwrap();
                seated.set_cause(Cause::Clean);
                let stream = Arc::downgrade(seated.stream());
                drop(seated);
                gone.push(stream);
            }
            // Nothing else holds the tasks up: each ends the stream and forgets it.
            let all_gone = async {
                while gone.iter().any(|stream| stream.strong_count() > 0) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), all_gone).await.expect("every stream is forgotten");
        });
        assert!(registry.streams().is_empty());
    }
}

//! Every stream by its name, and who may write to it: at most one publisher at a time holds a stream's packager.
//!
//! A stream outlives its publishers: when one leaves, the packager waits here until the next one comes or the grace time
//! is over. Readers never wait for a writer; they see the last published version.

mod attention;
mod info;
mod kept;
mod news;
mod seated;
mod takeover;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::{Cause, TrackKind, WallTime};
use headwater_packager::{
    Counters, Cue, CuePlace, CueRefusal, Kept, Memory, Numbering, Packager, Snapshot, State,
};
use tokio::sync::futures::OwnedNotified;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::budget::{Budget, Lease};
use crate::clock::Clocks;
use crate::config::{InForce, Limits, Outputs, Packaging};
use crate::continuous::{Ring, Viewers};
use crate::cues::Inbox;
use crate::events::{Events, Kind};
use crate::health::{Finding, Health, Measured, Observer, Wanted};
use crate::metrics::Metrics;
use crate::published::Published;
use crate::state::{Numbers, StateDir};
use attention::Attention;
use takeover::{Displaced, Verdict};

pub use info::{AudioInfo, CountersInfo, PublisherInfo, RepairsInfo, StreamInfo, VideoInfo};
pub use seated::Seated;

/// How long a newcomer waits for the task of the publisher before it to let go.
const TAKEOVER_WAIT: Duration = Duration::from_secs(2);

/// Whoever inserts something waits so long for the publisher's next sample; a silent one has no live edge to speak of.
const INSERT_WAIT: Duration = Duration::from_secs(2);

/// Two encoders that fight for a name try once a second or more; operators need to be told of it less often.
const CONFLICT_EVENT_INTERVAL: Duration = Duration::from_secs(10);

/// An ended stream's playlist and segments stay at least this long, and as long as what it lists (hls.md 3.14).
const ENDED_KEPT_MIN: Duration = Duration::from_secs(60);

/// Why a publisher can't have the name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// Another publisher is sending.
    #[error("{0} is already being published")]
    AlreadyPublished(String),
    /// This address was taken over by the publisher that is sending now.
    #[error(
        "another encoder took {name} over and is sending; this address gets it back when that one is silent for 2 s, or in {} s",
        retake_in.as_secs().max(1)
    )]
    TakenOver {
        /// App and stream.
        name: String,
        /// How long the other one keeps it in any case.
        retake_in: Duration,
    },
    /// Too many streams.
    #[error("this server carries its maximum of {0} streams (limits.max_streams)")]
    TooManyStreams(u32),
}

/// All streams.
#[derive(Debug)]
pub struct Registry {
    streams: Mutex<HashMap<(String, String), Arc<Stream>>>,
    config: InForce,
    clocks: Clocks,
    state: Option<StateDir>,
    events: Arc<Events>,
    metrics: Arc<Metrics>,
    /// No number below this is given to a new stream: names that this process has served stay unique even when the wall
    /// clock steps back (DESIGN 5).
    sequence_floor: AtomicU64,
    /// The same for a stream whose stored numbers are not true, because they could not be written at its end.
    unstored_floor: AtomicU64,
}

/// One name. It outlives its publishers.
#[derive(Debug)]
pub struct Stream {
    app: String,
    name: String,
    published: watch::Sender<Arc<Published>>,
    /// The same, told only when something has come to the CMAF rendition: who waits for a part of one isn't woken by the other's.
    video: watch::Sender<Arc<Published>>,
    audio: watch::Sender<Arc<Published>>,
    seat: Mutex<Seat>,
    /// Told when the seat is free again.
    vacated: Notify,
    clocks: Clocks,
    budget: Budget,
    traffic: Traffic,
    attention: Attention,
    /// What is to be inserted into it.
    inbox: Inbox,
    /// What is made of it, as long as it lives.
    outputs: Outputs,
    /// What its publisher's media is judged by.
    wanted: Wanted,
    /// `limits.max_bytes_per_stream` as it is now.
    bytes_max: AtomicU64,
    /// For outputs without segments; `None` where the app has them all switched off.
    continuous: Option<Arc<Ring>>,
}

/// What has come from all of a stream's publishers.
#[derive(Debug, Default)]
struct Traffic {
    bytes: AtomicU64,
    pictures: AtomicU64,
}

/// Where the packager is while nobody publishes, and what is known of who does.
#[derive(Debug)]
struct Seat {
    /// `None` while a publisher holds it.
    packager: Option<Packager>,
    publisher: Option<Publisher>,
    /// Tells the publisher that holds the seat to leave it; a new one for each, so that no order reaches a successor.
    evict: Arc<Notify>,
    /// Of the publisher, once its first window is over.
    health: Option<Health>,
    /// An operator wants the publisher gone: how its session ends.
    dismissed: Option<Cause>,
    counters: Counters,
    longest_gop: Option<Duration>,
    /// Ends the stream after its grace time.
    ending: Option<AbortHandle>,
    /// Whom newcomers took the name from lately.
    displaced: Displaced,
    /// Newcomers that took the name over, and such that were refused because it would have gone back and forth.
    takeovers: u64,
    takeover_conflicts: u64,
    /// When operators were last told of a conflict, monotonic.
    conflict_told: Option<Duration>,
    /// Publishers so far. The end that one left behind must not meet the next one's.
    session: u64,
    /// At this number, numbers have to be stored again: below it they are stored as used, or that failed.
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

/// What a publisher that asks for a seat finds.
enum Asked {
    /// It is theirs.
    Seated(Box<Seated>),
    /// Somebody sits there and has to leave.
    TakeOver(Arc<Notify>, SocketAddr),
    /// Somebody sits there and stays.
    Refused(Busy),
    /// The stream was forgotten in the meantime; its name is free.
    Gone,
}

impl Registry {
    /// A registry without streams.
    pub fn new(config: impl Into<InForce>, clocks: Clocks, state: Option<StateDir>) -> Arc<Registry> {
        Arc::new(Registry {
            streams: Mutex::default(),
            config: config.into(),
            clocks,
            state,
            events: Events::new(clocks),
            metrics: Arc::default(),
            sequence_floor: AtomicU64::new(1),
            unstored_floor: AtomicU64::new(0),
        })
    }

    /// The stream of that name, if anybody published it recently. Asking keeps nothing.
    pub fn stream(&self, app: &str, name: &str) -> Option<Arc<Stream>> {
        // One allocation for the key; names are bounded by the URL's own limits.
        lock(&self.streams).get(&(app.to_owned(), name.to_owned())).cloned()
    }

    /// What happened.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// What is counted and measured beside what each stream knows of itself.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Every stream, by app and name.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        let mut streams: Vec<_> = lock(&self.streams).values().cloned().collect();
        streams.sort_by(|a, b| (&a.app, &a.name).cmp(&(&b.app, &b.name)));
        streams
    }

    /// Seats a publisher. One that sits there already is made to leave first, where `publish.takeover` says so.
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
        let mut displaced = None;
        loop {
            let stream = self.find_or_create(app, name)?;
            let vacated = stream.vacated.notified();
            match self.ask(&stream, &publisher) {
                Asked::Seated(mut seated) => {
                    if let Some(displaced) = displaced {
                        self.took_over(&stream, displaced, publisher.peer);
                    }
                    let Publisher { peer, encoder, .. } = publisher;
                    self.events.push(Kind::Publish { address: peer.to_string(), encoder }, app, name);
                    // Behind these, for it may be an event as well.
                    seated.send_version();
                    return Ok(*seated);
                }
                Asked::TakeOver(evict, sitting) => {
                    displaced = Some(sitting);
                    evict.notify_one();
                }
                Asked::Refused(busy) => return Err(busy),
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
        stream.publish(Arc::new(snapshot));
        stream
    }

    /// By the limits of another configuration from now on, once that is in force: of each stream, from its next sample on. Streams beyond
    /// `limits.max_streams` stay.
    pub fn limit(&self, limits: &Limits) {
        // Under the lock, so that no stream that was made by the limits of before is missed.
        for stream in lock(&self.streams).values() {
            stream.bytes_max.store(limits.max_bytes_per_stream, Ordering::Relaxed);
            if let Some(ring) = &stream.continuous {
                ring.set_stream_bytes_max(limits.max_bytes_per_stream);
            }
        }
    }

    /// An operator disconnects a stream's publisher; another one, or the same again, is waited for. False when there is none.
    pub fn kick(&self, stream: &Stream) -> bool {
        dismiss(&mut lock(&stream.seat), Cause::Server)
    }

    /// An operator ends a stream: its publisher is disconnected, and what there is ends as after a clean end.
    pub fn end_stream(self: &Arc<Registry>, stream: &Arc<Stream>) {
        let mut seat = lock(&stream.seat);
        if dismiss(&mut seat, Cause::Clean) || stream.current().snapshot.state == State::Ended {
            return;
        }
        if let Some(ending) = seat.ending.take() {
            ending.abort();
        }
        seat.ending = self.schedule_end(stream, seat.session, Cause::Clean);
    }

    fn find_or_create(&self, app: &str, name: &str) -> Result<Arc<Stream>, Busy> {
        self.find_or_restore(app, name, None)
    }

    /// A stream that is not here begins with what was kept of it.
    fn find_or_restore(&self, app: &str, name: &str, kept: Option<Kept>) -> Result<Arc<Stream>, Busy> {
        let key = (app.to_owned(), name.to_owned());
        let mut streams = lock(&self.streams);
        if let Some(stream) = streams.get(&key) {
            return Ok(Arc::clone(stream));
        }
        let max = self.config.now().limits.max_streams;
        if streams.len() >= usize::try_from(max).unwrap_or(usize::MAX) {
            self.events.limit_reached("limits.max_streams", app, name);
            return Err(Busy::TooManyStreams(max));
        }
        let stream = Arc::new(self.create(app, name, kept));
        streams.insert(key, Arc::clone(&stream));
        Ok(stream)
    }

    fn create(&self, app: &str, name: &str, kept: Option<Kept>) -> Stream {
        let clock = self.clocks.read();
        let from_clock = clock.wall.unix_seconds().max(self.sequence_floor.load(Ordering::Relaxed));
        let now = clock.wall.unix_seconds();
        let stored = self.state.as_ref().and_then(|state| state.numbers(app, name, now));
        let numbering = match stored {
            Some(numbers) => Numbering {
                media_sequence: numbers.media_sequence.max(self.unstored_floor.load(Ordering::Relaxed)),
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
        let config = self.config.now();
        let outputs = config.outputs_for(app);
        let bytes_max = config.limits.max_bytes_per_stream;
        let Packaging { segment_duration, part_duration, window, media_time_offset, timed_metadata } =
            config.packaging;
        let config = headwater_packager::Config {
            segment_duration,
            window,
            media_time_offset,
            timed_metadata,
            hls: outputs.hls,
            cmaf: outputs.cmaf(),
            part_duration: Some(part_duration),
            bytes_max,
        };
        let restore = |kept| {
            let restored = Packager::restore(&config, numbering, kept, clock);
            restored.inspect_err(
                |error| tracing::warn!(app, stream = name, %error, "its last segments are not listed again"),
            )
        };
        let restored = kept.and_then(|kept| restore(kept).ok());
        let mut packager = restored.unwrap_or_else(|| {
            let mut packager = Packager::new(&config, numbering);
            let noted = self.state.as_ref().and_then(|state| state.noted_period(app, name, now));
            if noted.is_some_and(|noted| packager.list_as_over(&noted)) {
                tracing::info!(app, stream = name, "players are told that its last Period is over");
            }
            packager
        });
        let continuous = outputs.continuous().then(|| Ring::new(bytes_max, timed_metadata));
        if let Some(ring) = continuous.clone() {
            packager.hand_placed_to(move |placed| ring.push(placed));
        }
        let first = packager
            .poll_snapshot(clock.wall)
            .unwrap_or_else(|| unreachable!("a new packager has a version"));
        let first = Arc::new(Published::new(first));
        Stream {
            app: app.to_owned(),
            name: name.to_owned(),
            published: watch::Sender::new(Arc::clone(&first)),
            video: watch::Sender::new(Arc::clone(&first)),
            audio: watch::Sender::new(first),
            seat: Mutex::new(Seat {
                packager: Some(packager),
                publisher: None,
                evict: Arc::default(),
                health: None,
                dismissed: None,
                counters: Counters::default(),
                longest_gop: None,
                ending: None,
                displaced: Displaced::default(),
                takeovers: 0,
                takeover_conflicts: 0,
                conflict_told: None,
                session: 0,
                stored: numbering.media_sequence,
            }),
            vacated: Notify::new(),
            clocks: self.clocks,
            budget: Budget::default(),
            traffic: Traffic::default(),
            attention: Attention::default(),
            inbox: Inbox::default(),
            outputs,
            wanted: Wanted { segment: segment_duration, part: part_duration },
            bytes_max: AtomicU64::new(bytes_max),
            continuous,
        }
    }

    fn ask(self: &Arc<Registry>, stream: &Arc<Stream>, publisher: &Publisher) -> Asked {
        let mut seat = lock(&stream.seat);
        let Some(mut packager) = seat.packager.take() else {
            return self.ask_for_taken(stream, &mut seat, publisher);
        };
        if let Some(ending) = seat.ending.take() {
            ending.abort();
        }
        seat.session += 1;
        seat.publisher = Some(publisher.clone());
        seat.evict = Arc::default();
        (seat.dismissed, seat.health) = (None, None);
        let evict = Arc::clone(&seat.evict);
        drop(seat);
        let progress = self.state.as_ref().and_then(|state| state.progress(&stream.app, &stream.name));
        let (_, discontinuity_sequence) = packager.numbers();
        packager.set_bytes_max(stream.bytes_max.load(Ordering::Relaxed));
        packager.begin_session(self.clocks.read());
        if let Some(ring) = &stream.continuous {
            ring.begin_session();
        }
        Asked::Seated(Box::new(Seated {
            registry: Arc::clone(self),
            stream: Arc::clone(stream),
            packager: Some(packager),
            evict,
            cause: Cause::Lost,
            discontinuity_sequence,
            is_noted: true,
            is_stored: true,
            progress,
            observer: Observer::default(),
            waited: Duration::ZERO,
        }))
    }

    /// What a newcomer finds where somebody publishes.
    fn ask_for_taken(&self, stream: &Stream, seat: &mut Seat, newcomer: &Publisher) -> Asked {
        let Some(sitting) = &seat.publisher else { return Asked::Gone };
        let now = self.clocks.now();
        let silence = now.saturating_sub(sitting.heard);
        let addresses = (newcomer.peer.ip(), sitting.peer.ip());
        let rule = self.config.now().publish.takeover;
        match seat.displaced.judge(rule, addresses.0, addresses.1, silence, now) {
            Verdict::TakeOver => Asked::TakeOver(Arc::clone(&seat.evict), sitting.peer),
            Verdict::Taken => Asked::Refused(Busy::AlreadyPublished(stream.path())),
            Verdict::Conflict { retake_in } => {
                seat.takeover_conflicts += 1;
                let due =
                    seat.conflict_told.is_none_or(|told| now.saturating_sub(told) >= CONFLICT_EVENT_INTERVAL);
                if due {
                    seat.conflict_told = Some(now);
                    let (address, publisher) = (newcomer.peer.to_string(), sitting.peer.to_string());
                    let kind = Kind::TakeoverConflict { address, publisher };
                    tracing::warn!(app = stream.app, stream = stream.name, "takeover conflict: {kind}");
                    self.events.push(kind, &stream.app, &stream.name);
                }
                Asked::Refused(Busy::TakenOver { name: stream.path(), retake_in })
            }
        }
    }

    fn took_over(&self, stream: &Stream, displaced: SocketAddr, newcomer: SocketAddr) {
        lock(&stream.seat).takeovers += 1;
        let kind = Kind::Takeover { address: newcomer.to_string(), from: displaced.to_string() };
        tracing::info!(app = stream.app, stream = stream.name, "{kind}");
        self.events.push(kind, &stream.app, &stream.name);
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
        let publish = &self.config.now().publish;
        let wait = match cause {
            Cause::Clean => publish.end_delay,
            // A server that goes down leaves the playlists open: its successor goes on with them.
            _ => publish.grace,
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
        if let Some(ring) = &stream.continuous {
            ring.end();
            packager.set_continuous_bytes(ring.bytes());
        }
        let snapshot = packager.poll_snapshot(clock.wall);
        let numbers = packager.numbers();
        let Some(snapshot) = snapshot else { return Some(ENDED_KEPT_MIN) };
        let kept = if snapshot.is_playable() {
            ENDED_KEPT_MIN.max(snapshot.listed_duration())
        } else {
            Duration::ZERO
        };
        let before = stream.publish(Arc::clone(&snapshot));
        tracing::info!(app = stream.app, stream = stream.name, "stream ended");
        news::tell(&self.events, stream, &before.snapshot, &snapshot);
        seat.stored = numbers.0;
        self.store_exact(stream, numbers, false);
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

    /// A window of a publication was measured: once in ten seconds.
    fn judge_health(&self, stream: &Stream, measured: Measured) {
        let settled = stream.current().snapshot.cmaf.as_ref().and_then(|cmaf| cmaf.part_target);
        let wanted = Wanted { part: settled.unwrap_or(stream.wanted.part), ..stream.wanted };
        let health = Health::new(measured, &wanted);
        let before = lock(&stream.seat).health.replace(health.clone());
        let tell = |found: &Finding, is_found| {
            let (rule, weight, finding) = (found.rule, found.weight, found.text.clone());
            self.events.push(Kind::Health { rule, weight, is_found, finding }, &stream.app, &stream.name);
        };
        health.beyond(before.as_ref()).for_each(|found| tell(found, true));
        if let Some(before) = &before {
            before.beyond(Some(&health)).for_each(|found| tell(found, false));
        }
    }

    /// A stream needs more than it may hold.
    fn over_budget(&self, stream: &Stream) {
        self.events.limit_reached("limits.max_bytes_per_stream", &stream.app, &stream.name);
    }

    /// Takes a stream out without its packager, whose next number was `next`.
    fn discard(&self, stream: &Arc<Stream>, next: Option<u64>) {
        self.sequence_floor.fetch_max(next.unwrap_or(0), Ordering::Relaxed);
        let mut streams = lock(&self.streams);
        lock(&stream.seat).publisher = None;
        if let Some(ring) = &stream.continuous {
            ring.end();
        }
        streams.remove(&(stream.app.clone(), stream.name.clone()));
        stream.vacated.notify_waiters();
    }

    /// At an end, where nothing more is used.
    fn store_exact(&self, stream: &Stream, numbers: (u64, u64), open: bool) {
        let (media_sequence, discontinuity_sequence) = numbers;
        let exact = Numbers { media_sequence, discontinuity_sequence, open, ahead: false, reserved_at: None };
        if let Err(error) = self.store(stream, exact) {
            tracing::error!(app = stream.app, stream = stream.name, %error, "numbers can't be stored in state_dir");
            self.unstored_floor.fetch_max(media_sequence, Ordering::Relaxed);
        }
    }

    fn store(&self, stream: &Stream, numbers: Numbers) -> io::Result<()> {
        self.state.as_ref().map_or(Ok(()), |state| state.store_numbers(&stream.app, &stream.name, numbers))
    }
}

impl Stream {
    /// What is made of it.
    pub fn outputs(&self) -> Outputs {
        self.outputs
    }

    /// App.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// Name in the app.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `app/name`, for messages.
    fn path(&self) -> String {
        format!("{}/{}", self.app, self.name)
    }

    /// The newest version.
    pub fn current(&self) -> Arc<Published> {
        Arc::clone(&self.published.borrow())
    }

    /// The newest version and every one after it.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    /// The versions in which something has come to that CMAF rendition, or in which the stream's state is another.
    pub fn subscribe_to(&self, kind: TrackKind) -> watch::Receiver<Arc<Published>> {
        match kind {
            TrackKind::Video => self.video.subscribe(),
            TrackKind::Audio => self.audio.subscribe(),
        }
    }

    /// Somebody asks for what is played with low latency, or without segments: what its publisher has sent is to be read now.
    pub fn attend(&self) {
        self.attention.pay(self.clocks.now());
    }

    /// Resolves when somebody does so after nobody did. One waiter is told.
    pub fn attended(&self) -> OwnedNotified {
        self.attention.paid()
    }

    /// Whether a player waits for the next frame or part, or is about to.
    pub fn is_awaited(&self) -> bool {
        if self.attention.is_paid(self.clocks.now()) {
            return true;
        }
        let held =
            self.published.receiver_count() + self.video.receiver_count() + self.audio.receiver_count();
        held > 0 || self.continuous.as_ref().is_some_and(|ring| ring.is_watched())
    }

    /// The next version. One writer at a time calls this. Returns the version before.
    fn publish(&self, snapshot: Arc<Snapshot>) -> Arc<Published> {
        let revision = |snapshot: &Snapshot, kind| {
            let rendition = snapshot.cmaf.as_ref().and_then(|cmaf| cmaf.rendition(kind));
            rendition.map(|rendition| rendition.revision)
        };
        let published = Arc::new(Published::new(snapshot));
        let before = self.published.send_replace(Arc::clone(&published));
        let (new, old) = (&published.snapshot, &before.snapshot);
        for (kind, sender) in [(TrackKind::Video, &self.video), (TrackKind::Audio, &self.audio)] {
            let is_news = revision(new, kind) != revision(old, kind) || new.state != old.state;
            // In any case the version before goes: what it lists must not stay for the sake of a rendition that nothing comes to.
            sender.send_if_modified(|held| {
                held.clone_from(&published);
                is_news
            });
        }
        before
    }

    /// For a response that sends segment `sequence`: it may have to let go of it.
    pub fn lease(&self, sequence: u64) -> Lease {
        self.budget.lease(sequence)
    }

    /// What viewers of continuous outputs read; `None` where the app has them all switched off.
    pub fn continuous(&self) -> Option<&Arc<Ring>> {
        self.continuous.as_ref()
    }

    /// Has something inserted `ahead` of the newest media, with the publisher's next sample.
    ///
    /// # Errors
    /// [`CueRefusal`].
    pub async fn insert(&self, cue: Cue, ahead: Duration) -> Result<CuePlace, CueRefusal> {
        if lock(&self.seat).publisher.is_none() {
            return Err(CueRefusal::NotLive);
        }
        let answered = self.inbox.put(cue, ahead)?;
        match tokio::time::timeout(INSERT_WAIT, answered).await {
            Ok(Ok(answer)) => answer,
            // It has left, or says nothing.
            Ok(Err(_)) | Err(_) => Err(CueRefusal::NotLive),
        }
    }

    /// What is held: looked at anew while nobody publishes, as of the newest version else.
    fn memory(&self) -> Memory {
        match &mut lock(&self.seat).packager {
            Some(packager) => packager.memory(),
            None => self.budget.memory(),
        }
    }

    /// Bytes and pictures that have come so far: two looks make a rate.
    pub fn received(&self) -> (u64, u64) {
        (self.traffic.bytes.load(Ordering::Relaxed), self.traffic.pictures.load(Ordering::Relaxed))
    }

    /// What watches its outputs without segments.
    pub fn viewers(&self) -> Viewers {
        self.continuous.as_ref().map(|ring| ring.viewers()).unwrap_or_default()
    }

    /// What is known of the publisher's media, while there is one and once its first window is over.
    pub fn health(&self) -> Option<Health> {
        let seat = lock(&self.seat);
        seat.health.clone().filter(|_| seat.publisher.is_some())
    }

    /// What the API tells.
    pub fn info(&self) -> StreamInfo {
        let now = self.clocks.now();
        let current = self.current();
        let snapshot = &current.snapshot;
        let (publisher, counters, longest_gop) = {
            let seat = lock(&self.seat);
            (seat.publisher.clone(), info::counters(&seat), seat.longest_gop)
        };
        let memory = self.memory();
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
            media_sequence_last: ts.and_then(|ts| ts.last_sequence()),
            segments_listed: ts.map_or(0, |ts| ts.listed.len()),
            segments_retained: ts.map_or(0, |ts| ts.retained.len()),
            memory_bytes: memory.sum(),
            memory_bytes_held_by_readers: memory.readers_bytes,
            health: self.health(),
            viewers: self.viewers(),
            counters,
        }
    }
}

/// Tells whoever holds the seat to leave it. False when nobody does.
fn dismiss(seat: &mut Seat, cause: Cause) -> bool {
    if seat.publisher.is_none() {
        return false;
    }
    seat.dismissed = Some(cause);
    seat.evict.notify_one();
    true
}

/// How a session ended, as events name it.
fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Clean | Cause::EndOfSequence => "clean",
        Cause::Lost => "lost",
        Cause::Takeover => "takeover",
        Cause::Server => "server",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::state::Progress;

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

    /// The disk takes neither a note nor what is reserved: a note of before does not count after a crash.
    #[test]
    fn a_disk_that_takes_nothing_leaves_no_stale_note() {
        let folder = std::env::temp_dir().join(format!("headwater-registry-{}-stale", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let state = StateDir::open(&folder).unwrap();
        let registry = Registry::new(Arc::new(Config::default()), Clocks::start(), Some(state.clone()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let publisher = Publisher::new(SocketAddr::from(([127, 0, 0, 1], 1)), "test", Duration::ZERO);
        let mut seated = runtime.block_on(registry.publish("live", "cam", publisher)).unwrap();
        let next = seated.packager.as_ref().unwrap().numbers().0;
        let successor = || state.numbers("live", "cam", registry.clocks.wall().unix_seconds()).unwrap();
        assert_eq!(successor().media_sequence, next + 1, "noted");

        let draft = folder.join("streams/live%2fcam.json.new");
        std::fs::create_dir(&draft).unwrap();
        let note = folder.join("streams/live%2fcam.progress");
        seated.progress = Some(Progress::broken(&note, &note));
        for used in next + 1..next + 10 {
            seated.keep_numbers((used, 0), registry.clocks.wall());
            assert!(successor().media_sequence > used, "{used}: {:?}", successor());
            let _ = std::fs::create_dir(&note);
        }
        assert!(!seated.is_stored && !seated.is_noted);
        // It takes files again: at the next segment all is well.
        std::fs::remove_dir(&draft).unwrap();
        std::fs::remove_dir(&note).unwrap();
        seated.keep_numbers((next + 10, 0), registry.clocks.wall());
        assert!(seated.is_stored && seated.is_noted);
        std::fs::remove_dir_all(&folder).unwrap();
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

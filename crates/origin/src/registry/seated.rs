//! The right to publish a stream, and what becomes of what its holder pushes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use headwater_media::{Cause, Event, TrackKind, WallTime};
use headwater_packager::{Clock, Cue, CuePlace, CueRefusal, Packager, Refusal};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::{Registry, Stream, cause_name, lock, news};
use crate::events::Kind;
use crate::health::Observer;
use crate::state::{NUMBERS_AHEAD, Numbers, Progress};

/// The right to publish one stream: the packager, until it is dropped.
#[derive(Debug)]
pub struct Seated {
    pub(super) registry: Arc<Registry>,
    pub(super) stream: Arc<Stream>,
    pub(super) packager: Option<Packager>,
    pub(super) evict: Arc<Notify>,
    pub(super) cause: Cause,
    /// EXT-X-DISCONTINUITY-SEQUENCE as it was last looked at.
    pub(super) discontinuity_sequence: u64,
    /// Where its numbers are noted; `None` without a `state_dir`, or where that is not possible.
    pub(super) progress: Option<Progress>,
    /// What is stored points to notes that are made.
    pub(super) is_noted: bool,
    /// The numbers reserved last are stored.
    pub(super) is_stored: bool,
    pub(super) observer: Observer,
    /// How long what is pushed next may have waited in its socket.
    pub(super) waited: Duration,
}

impl Seated {
    /// The stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Resolves when this publisher must leave, because a newcomer takes the name over. To be asked for once: one waiter is told.
    pub fn evicted(&self) -> OwnedNotified {
        Arc::clone(&self.evict).notified_owned()
    }

    /// How this session is to end where an operator wants it gone, and no newcomer does.
    pub fn dismissed(&self) -> Option<Cause> {
        lock(&self.stream.seat).dismissed
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
        if let Event::Sample(sample) = &event
            && sample.track.kind == TrackKind::Video
        {
            self.stream.traffic.pictures.fetch_add(1, Ordering::Relaxed);
        }
        if let Event::Sample(sample) = &event
            && sample.track.index == 0
            && let Some(measured) = self.observer.sample(sample, clock.now, self.waited)
        {
            self.registry.judge_health(&self.stream, measured);
        }
        let Some(packager) = &mut self.packager else { return Ok(()) };
        self.stream.inbox.take(|cue, ahead| packager.insert(cue, ahead));
        packager.set_bytes_max(self.stream.bytes_max.load(Ordering::Relaxed));
        if let Err(refusal) = packager.push(event, clock) {
            if matches!(refusal, Refusal::OverBudget { .. }) {
                self.registry.over_budget(&self.stream);
            }
            return Err(refusal);
        }
        let has_news = packager.has_news();
        self.count_continuous();
        if has_news {
            self.send_version();
            let took = self.registry.clocks.now().saturating_sub(clock.now);
            self.registry.metrics.frame_to_part.observe(took);
        }
        self.judge_readers();
        Ok(())
    }

    /// Inserts what the publisher itself asks for.
    ///
    /// # Errors
    /// [`CueRefusal`].
    pub fn insert(&mut self, cue: Cue, ahead: Duration) -> Result<CuePlace, CueRefusal> {
        self.packager.as_mut().ok_or(CueRefusal::NotLive)?.insert(cue, ahead)
    }

    /// What the ring of continuous outputs holds is on the stream's account.
    fn count_continuous(&mut self) {
        if let (Some(packager), Some(ring)) = (&mut self.packager, &self.stream.continuous) {
            packager.set_continuous_bytes(ring.bytes());
        }
    }

    /// Readers who hold so much that the stream passes its budget are told to let go.
    fn judge_readers(&mut self) {
        let Some(packager) = &mut self.packager else { return };
        if let Some(sequence) = packager.readers_due() {
            self.stream.budget.set_memory(packager.memory());
            self.stream.budget.cut_below(sequence);
        }
    }

    /// Bytes arrived.
    pub fn heard(&mut self, bytes: usize, now: Duration) {
        if let Some(packager) = self.packager.as_mut().filter(|_| bytes > 0) {
            self.registry.metrics.received(bytes);
            self.stream.traffic.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            packager.heard(bytes);
            if let Some(ring) = &self.stream.continuous {
                ring.heard(bytes);
            }
        }
        if let Some(publisher) = &mut lock(&self.stream.seat).publisher {
            publisher.heard = now;
            publisher.bytes = publisher.bytes.saturating_add(bytes as u64);
        }
    }

    /// What is pushed next may have waited in its socket for so long, because it was left there.
    pub fn waited(&mut self, waited: Duration) {
        self.waited = waited;
    }

    /// How far the media is ahead of the clock.
    pub fn ahead(&self, now: Duration) -> Duration {
        self.packager.as_ref().map_or(Duration::ZERO, |packager| packager.ahead(now))
    }

    pub(super) fn send_version(&mut self) {
        let Some(packager) = &mut self.packager else { return };
        let wall = self.registry.clocks.wall();
        let (next, discontinuity_sequence) = packager.numbers();
        if discontinuity_sequence
            != std::mem::replace(&mut self.discontinuity_sequence, discontinuity_sequence)
        {
            let kind = Kind::Discontinuity { media_sequence: next, discontinuity_sequence };
            self.registry.events.push(kind, &self.stream.app, &self.stream.name);
        }
        let is_squeezed = {
            let mut seat = lock(&self.stream.seat);
            let counters = packager.counters();
            let is_squeezed = counters.evicted_for_memory > seat.counters.evicted_for_memory;
            seat.counters = counters;
            seat.longest_gop = packager.longest_gop();
            is_squeezed
        };
        if is_squeezed {
            self.registry.over_budget(&self.stream);
        }
        self.keep_numbers((next, discontinuity_sequence), wall);
        let Some(packager) = &mut self.packager else { return };
        if let Some(snapshot) = packager.poll_snapshot(wall) {
            let before = self.stream.publish(Arc::clone(&snapshot));
            news::tell(&self.registry.events, &self.stream, &before.snapshot, &snapshot);
            drop(before);
            // The version before is gone now, and with it what only it held.
            self.stream.budget.set_memory(packager.memory());
        }
    }

    /// Sees to it that a successor knows which numbers are used, before a segment bears the next one.
    pub(super) fn keep_numbers(&mut self, (next, discontinuity_sequence): (u64, u64), wall: WallTime) {
        if self.registry.state.is_none() {
            return;
        }
        let now = wall.unix_seconds();
        // Of the segment under construction parts are out: a successor begins behind it.
        let note = next.saturating_add(1);
        let period = || self.packager.as_ref().and_then(Packager::noted_period);
        let is_noted =
            self.progress.as_mut().is_some_and(|to| to.note(note, discontinuity_sequence, now, period));
        let notes_end = std::mem::replace(&mut self.is_noted, is_noted) && !is_noted;
        if note < lock(&self.stream.seat).stored && !notes_end {
            return;
        }
        let media_sequence = next.saturating_add(NUMBERS_AHEAD);
        let numbers = Numbers {
            media_sequence,
            discontinuity_sequence,
            open: true,
            ahead: is_noted,
            reserved_at: Some(now),
        };
        let stored = self.registry.store(&self.stream, numbers);
        // What could not be stored is tried again with the next segment.
        lock(&self.stream.seat).stored = if stored.is_ok() { media_sequence } else { note.saturating_add(1) };
        let was_stored = std::mem::replace(&mut self.is_stored, stored.is_ok());
        let Stream { app, name, .. } = &*self.stream;
        match stored {
            Err(error) if was_stored => {
                tracing::error!(app, stream = name, %error, "numbers can't be stored in state_dir; tried again with each segment");
            }
            Ok(()) if !was_stored => {
                tracing::info!(app, stream = name, "numbers are stored in state_dir again");
            }
            _ => {}
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
        if let Some(ring) = &self.stream.continuous {
            ring.end_session();
        }
        self.count_continuous();
        // Before a newcomer is told, so that events come in the order of what happened.
        let Stream { app, name, .. } = &*self.stream;
        self.registry.events.push(Kind::Unpublish { cause: cause_name(self.cause) }, app, name);
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

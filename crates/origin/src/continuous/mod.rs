//! Continuous outputs: a ring of recent samples, which every viewer of a stream reads with a cursor of its own.
//!
//! The publisher's task appends what the packager has placed on the media clock and wakes who waits; it makes no bytes. A form
//! of a sample (an FLV tag, RTMP chunks, an fMP4 fragment, packets of MPEG-TS) is made by the first viewer that needs it and
//! shared by all others. Viewers begin at the newest keyframe; one that is slower than the ring is long skips to it. Nobody holds
//! the publisher up: the ring's lock is held for as long as it takes to clone an entry or to append one.

mod entry;
mod forms;
#[cfg(test)]
mod tests;
mod times;
mod ts;
mod viewer;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use headwater_media::{Sample, TrackKind};
use headwater_packager::{Mark, Placed};
use serde::Serialize;

use entry::{Entry, Marks, Setup, Slot, Timed, TimedMark};
use times::Times;

pub use viewer::{Joined, Viewer};

/// Bytes that a ring holds at most: two keyframe intervals of 5 s at 50 Mbit/s. Beyond it the oldest samples leave, and what is
/// left of their keyframe interval can't be begun with.
const RING_BYTES_MAX: u64 = 64 << 20;

/// The part of a stream's budget that its ring takes at most: a playlist of 20 s in two packagings holds ten times what two
/// keyframe intervals of 2 s do.
const RING_SHARE_OF_BUDGET: u64 = 4;

/// Media that a ring holds at most, ms: encoders' longest automatic keyframe interval is 10 s, and who is further behind than that
/// is no live viewer any more.
const RING_MS_MAX: i64 = 30_000;

/// Media that a ring keeps at least, ms, however short keyframe intervals are: a network's hiccup is no reason to skip.
const RING_MS_MIN: i64 = 2_000;

/// Without pictures, every frame of sound could be begun with; one in so many ms is.
const SOUND_JOIN_MS: i64 = 500;

/// A sample that is a slice of what was read holds all of the buffer that was read into.
const READ_BUFFER_BYTES: u64 = 64 << 10;

/// Marks in front of one sample; what would be more is in no continuous output.
const MARKS_MAX: usize = 64;

/// What a viewer gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// FLV over HTTP.
    Flv,
    /// The same bytes, in WebSocket messages.
    WebSocketFlv,
    /// MPEG-TS over HTTP.
    Ts,
    /// Fragmented MP4 over HTTP.
    Mp4,
    /// RTMP messages on this message stream.
    Rtmp {
        /// What `createStream` made.
        stream_id: u32,
    },
}

impl Output {
    fn index(self) -> usize {
        match self {
            Output::Flv => 0,
            Output::WebSocketFlv => 1,
            Output::Ts => 2,
            Output::Mp4 => 3,
            Output::Rtmp { .. } => 4,
        }
    }
}

/// Viewers of a stream's continuous outputs, in the API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Viewers {
    /// FLV over HTTP.
    pub flv: u32,
    /// FLV over WebSocket.
    pub flv_websocket: u32,
    /// MPEG-TS over HTTP.
    pub ts: u32,
    /// Fragmented MP4 over HTTP.
    pub mp4: u32,
    /// RTMP.
    pub rtmp: u32,
    /// How often a slow viewer skipped to the newest keyframe.
    pub skips: u64,
    /// Viewers that left or were cut off while a keyframe interval and more behind.
    pub dropped: u64,
}

impl Viewers {
    /// All that there are.
    pub fn sum(&self) -> u32 {
        let Viewers { flv, flv_websocket, ts, mp4, rtmp, .. } = self;
        [flv, flv_websocket, ts, mp4, rtmp].into_iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// Recent samples of one stream.
#[derive(Debug)]
pub struct Ring {
    shared: Mutex<Shared>,
    ts: Mutex<ts::Lane>,
    /// Bytes of forms made and not yet gone.
    made: Arc<AtomicU64>,
    /// Timed metadata are announced (`packaging.timed_metadata`).
    has_marks: bool,
    bytes_max: AtomicU64,
    viewers: [AtomicU32; 5],
    skips: AtomicU64,
    dropped: AtomicU64,
}

/// Where a stream is in its life, for viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Nothing was published yet, or nothing since the last end.
    Starting,
    /// Samples come.
    Live,
    /// The publisher is gone, another is waited for.
    Waiting,
    /// It is over.
    Ended,
}

#[derive(Debug)]
struct Shared {
    life: Life,
    /// Counts lives: a viewer of an earlier one has nothing to wait for.
    epoch: u64,
    slots: VecDeque<Slot>,
    /// The next entry's number.
    next: u64,
    /// Entries to begin with: number and time in ms, oldest first.
    joins: VecDeque<(u64, i64)>,
    setup: Option<Arc<Setup>>,
    times: Times,
    /// What is said in front of the next sample.
    marks: Vec<Mark>,
    /// Marks so far.
    mark_count: u32,
    heard: Heard,
    /// Whom the next change wakes, by the viewer's number.
    waiting: HashMap<u64, Waker>,
    /// Viewers that there are.
    attached: usize,
    viewer_last: u64,
}

/// Bytes that came from publishers: samples are slices of what was read, so entries hold no more than was read since the oldest.
#[derive(Debug, Default)]
struct Heard {
    total: u64,
    /// The total before whatever the next sample can be a slice of was read.
    mark: u64,
    /// The session's first samples are still sought: those that wait are as old as the session.
    is_starting: bool,
}

/// What of a stream's bytes its ring may have.
fn share(stream_bytes_max: u64) -> u64 {
    RING_BYTES_MAX.min(stream_bytes_max / RING_SHARE_OF_BUDGET)
}

impl Ring {
    /// A ring of a stream that may hold so many bytes in all. `has_marks`: timed metadata are announced.
    pub fn new(stream_bytes_max: u64, has_marks: bool) -> Arc<Ring> {
        Arc::new(Ring {
            shared: Mutex::new(Shared {
                life: Life::Starting,
                epoch: 0,
                slots: VecDeque::new(),
                next: 0,
                joins: VecDeque::new(),
                setup: None,
                times: Times::default(),
                marks: Vec::new(),
                mark_count: 0,
                heard: Heard::default(),
                waiting: HashMap::new(),
                attached: 0,
                viewer_last: 0,
            }),
            ts: Mutex::default(),
            made: Arc::default(),
            has_marks,
            bytes_max: AtomicU64::new(share(stream_bytes_max)),
            viewers: Default::default(),
            skips: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    /// The stream may hold so many bytes in all from now on.
    pub fn set_stream_bytes_max(&self, stream_bytes_max: u64) {
        self.bytes_max.store(share(stream_bytes_max), Ordering::Relaxed);
    }

    /// A publisher begins. After an end, a new life begins with it, whose times count from zero; else times go on, as the media
    /// clock does: players that stayed see no step back.
    pub fn begin_session(&self) {
        let mut shared = self.lock();
        if shared.life == Life::Ended {
            shared.clear();
            shared.life = Life::Starting;
            shared.epoch += 1;
            shared.setup = None;
            shared.times = Times::default();
        }
        shared.heard.mark = shared.heard.total;
        shared.heard.is_starting = true;
    }

    /// So many bytes were read from the publisher, in a buffer of which samples that follow may be slices.
    pub fn heard(&self, bytes: usize) {
        let mut shared = self.lock();
        let is_live = shared.life == Life::Live;
        let heard = &mut shared.heard;
        // The samples that were waiting have been appended with the one that made the session begin.
        heard.is_starting &= !is_live;
        if !heard.is_starting {
            heard.mark = heard.total;
        }
        heard.total = heard.total.saturating_add(bytes as u64);
    }

    /// Appends what was placed and wakes who waits for it.
    pub fn push(&self, placed: Placed) {
        let woken = {
            let mut shared = self.lock();
            match placed {
                Placed::Tracks(tracks) => {
                    if shared.setup.as_ref().is_none_or(|setup| setup.tracks != tracks) {
                        shared.setup = Some(Arc::new(Setup::new(tracks, self.has_marks)));
                    }
                    return;
                }
                Placed::Mark(mark) => {
                    if shared.marks.len() < MARKS_MAX {
                        shared.marks.push(mark);
                    }
                    return;
                }
                Placed::Sample(sample) => {
                    let Some(setup) = shared.setup.clone() else { return };
                    shared.append(setup, sample, &self.made);
                }
            }
            shared.evict(self.bytes_max.load(Ordering::Relaxed), self.made.load(Ordering::Relaxed));
            if shared.waiting.is_empty() {
                return;
            }
            std::mem::take(&mut shared.waiting)
        };
        woken.into_values().for_each(Waker::wake);
    }

    /// The publisher is gone. Viewers wait for the next one.
    pub fn end_session(&self) {
        let mut shared = self.lock();
        if shared.life == Life::Live {
            shared.life = Life::Waiting;
        }
        shared.clear_unless_viewed();
    }

    /// Nobody came back: viewers get what there is, and then an end.
    pub fn end(&self) {
        let woken = {
            let mut shared = self.lock();
            shared.life = Life::Ended;
            shared.clear_unless_viewed();
            std::mem::take(&mut shared.waiting)
        };
        woken.into_values().for_each(Waker::wake);
    }

    /// Bytes held on the stream's account: what was read since the oldest entry came, and the forms made of entries.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes(self.made.load(Ordering::Relaxed))
    }

    /// A viewer, which has to be joined first.
    pub fn attach(self: &Arc<Ring>, output: Output) -> Viewer {
        Viewer::new(Arc::clone(self), output)
    }

    /// Who watches, and what became of those who were slow.
    pub fn viewers(&self) -> Viewers {
        let [flv, flv_websocket, ts, mp4, rtmp] = std::array::from_fn(|index| {
            self.viewers.get(index).map_or(0, |count| count.load(Ordering::Relaxed))
        });
        Viewers {
            flv,
            flv_websocket,
            ts,
            mp4,
            rtmp,
            skips: self.skips.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
        }
    }

    /// Whether there are viewers.
    pub fn is_watched(&self) -> bool {
        self.viewers.iter().any(|count| count.load(Ordering::Relaxed) > 0)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Shared {
    fn append(&mut self, setup: Arc<Setup>, sample: Sample, made: &Arc<AtomicU64>) {
        self.life = Life::Live;
        let frame = setup.tracks.audio.as_ref().map_or(0, |audio| audio.samples_per_frame);
        let times = self.times.place(&sample, frame);
        let is_join = if setup.tracks.video.is_some() {
            sample.track.kind == TrackKind::Video && sample.sync
        } else {
            let is_new = self.slots.back().is_none_or(|last| !Arc::ptr_eq(&last.timed.setup, &setup));
            let since = |last: &(u64, i64)| times.stamp_ms.saturating_sub(last.1);
            is_new || self.joins.back().is_none_or(|last| since(last) >= SOUND_JOIN_MS)
        };
        let number = self.next;
        if is_join {
            self.joins.push_back((number, times.stamp_ms));
        }
        self.next = number.saturating_add(1);
        // A sample that was gathered from several reads is as old as the first of them.
        let size = sample.data.len() as u64;
        let mark = self.heard.mark.min(self.heard.total.saturating_sub(size));
        let marks = self.take_marks(made);
        self.slots.push_back(Slot::new(Timed { number, setup, sample, times, is_join, marks }, mark));
    }

    /// What is said in front of the sample that was just given its times.
    fn take_marks(&mut self, made: &Arc<AtomicU64>) -> Option<Arc<Marks>> {
        if self.marks.is_empty() {
            return None;
        }
        let (times, count) = (&self.times, &mut self.mark_count);
        let timed = self.marks.drain(..).map(|Mark { at, said }| {
            *count = count.wrapping_add(1);
            TimedMark { at: times.since_first(at), id: *count, said }
        });
        Some(Arc::new(Marks::new(timed.collect(), made)))
    }

    /// Keeps what the newest keyframe and the one before it begin, and [`RING_MS_MIN`], but no more than the limits let it.
    fn evict(&mut self, bytes_max: u64, made: u64) {
        let now = self.slots.back().map_or(0, |slot| slot.timed.times.stamp_ms);
        if let (Some((second, at)), true) = (self.joins.get(1).copied(), self.joins.len() > 2)
            && now.saturating_sub(at) >= RING_MS_MIN
        {
            while self.first() < second {
                self.pop();
            }
        }
        while self.slots.len() > 1 {
            let oldest = self.slots.front().map_or(now, |slot| slot.timed.times.stamp_ms);
            if self.bytes(made) <= bytes_max && now.saturating_sub(oldest) <= RING_MS_MAX {
                return;
            }
            self.pop();
        }
    }

    fn pop(&mut self) {
        let gone = self.slots.pop_front();
        self.joins.pop_front_if(|(number, _)| gone.as_ref().is_some_and(|gone| gone.timed.number == *number));
    }

    fn clear(&mut self) {
        self.marks.clear();
        self.slots.clear();
        self.joins.clear();
    }

    /// What nobody will ask for any more: whoever comes later begins with the next publisher.
    fn clear_unless_viewed(&mut self) {
        if self.life != Life::Live && self.attached == 0 {
            self.clear();
        }
    }

    /// The oldest entry's number, or the next one's.
    fn first(&self) -> u64 {
        self.slots.front().map_or(self.next, |slot| slot.timed.number)
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first())?).ok()
    }

    fn timed(&self, number: u64) -> Option<&Timed> {
        self.slots.get(self.index(number)?).map(|slot| &slot.timed)
    }

    fn entry(&mut self, number: u64, made: &Arc<AtomicU64>) -> Option<Entry> {
        let index = self.index(number)?;
        self.slots.get_mut(index).map(|slot| slot.entry(made))
    }

    /// The newest entry that a viewer can begin with: one of the tracks in force.
    fn newest_join(&self) -> Option<u64> {
        let (number, _) = self.joins.back()?;
        let (join, last) = (self.timed(*number)?, self.slots.back()?);
        Arc::ptr_eq(&join.setup, &last.timed.setup).then_some(*number)
    }

    fn bytes(&self, made: u64) -> u64 {
        let Some(oldest) = self.slots.front() else { return made };
        let read = self.heard.total.saturating_sub(oldest.mark).saturating_add(READ_BUFFER_BYTES);
        read.saturating_add(made)
    }
}

/// A poisoned lock is still a whole value here: nothing under these locks is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

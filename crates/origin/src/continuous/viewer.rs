//! One viewer's cursor.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use headwater_rtmp::playback;

use super::entry::{Entry, Form, Setup};
use super::{Life, Output, Ring, forms};

/// How the wait for a first keyframe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// Media can be had.
    Begins,
    /// The stream is over, and nothing is waited for.
    Ended,
    /// The output can't carry what is published.
    Unfit,
}

/// Reads a ring in its own time. Dropping it leaves.
#[derive(Debug)]
pub struct Viewer {
    ring: Arc<Ring>,
    output: Output,
    number: u64,
    epoch: u64,
    /// The next entry to be sent; `None` until there is one to begin with.
    cursor: Option<u64>,
    /// What the viewer was told of.
    setup: Option<Arc<Setup>>,
    /// Media was sent, not only what stands in front of it.
    has_media: bool,
    has_ended: bool,
}

/// Where the cursor's next step leads.
enum Step {
    Entry(Entry),
    Wait,
    End,
}

impl Viewer {
    pub(super) fn new(ring: Arc<Ring>, output: Output) -> Viewer {
        let (number, epoch) = {
            let mut shared = ring.lock();
            shared.viewer_last += 1;
            shared.attached += 1;
            // Where nobody publishes any more, the next publisher's life is waited for; it is the same one while it lasts.
            (shared.viewer_last, shared.epoch)
        };
        if let Some(count) = ring.viewers.get(output.index()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Viewer { ring, output, number, epoch, cursor: None, setup: None, has_media: false, has_ended: false }
    }

    /// Waits until there is something to begin with.
    pub fn poll_joined(&mut self, cx: &mut Context<'_>) -> Poll<Joined> {
        let setup = {
            let mut shared = self.ring.lock();
            if shared.life == Life::Ended || shared.epoch != self.epoch {
                return Poll::Ready(Joined::Ended);
            }
            let join = shared.newest_join().filter(|_| shared.life == Life::Live);
            let Some(entry) = join.and_then(|number| shared.timed(number)) else {
                shared.waiting.insert(self.number, cx.waker().clone());
                return Poll::Pending;
            };
            Arc::clone(&entry.setup)
        };
        Poll::Ready(if self.fits(&setup) { Joined::Begins } else { Joined::Unfit })
    }

    /// RFC 6381 strings of the tracks that it would begin with now, as one list.
    pub fn codecs(&self) -> String {
        let shared = self.ring.lock();
        let entry = shared.newest_join().and_then(|number| shared.timed(number));
        let tracks = entry.map(|entry| &entry.setup.tracks);
        let video =
            tracks.and_then(|tracks| tracks.video.as_deref()).map(|video| video.codec_string.as_str());
        let audio =
            tracks.and_then(|tracks| tracks.audio.as_deref()).map(|audio| audio.codec_string.as_str());
        video.into_iter().chain(audio).collect::<Vec<_>>().join(",")
    }

    /// The next bytes, at once where there are any; `None` at the end: the stream's, or where other tracks begin that the output
    /// can't go on with.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while !self.has_ended {
            let entry = match self.step(cx) {
                Step::Entry(entry) => entry,
                Step::Wait => return Poll::Pending,
                Step::End => break,
            };
            let is_told = self.setup.as_ref().is_some_and(|setup| Arc::ptr_eq(setup, &entry.setup));
            if !is_told {
                // A SourceBuffer takes other tracks, but nothing tells it where in the bytes they begin.
                let has_begun = self.setup.replace(Arc::clone(&entry.setup)).is_some();
                if !self.fits(&entry.setup) || (has_begun && self.output == Output::Mp4) {
                    break;
                }
                let opening = self.opening(&entry, !has_begun);
                if !opening.is_empty() {
                    return Poll::Ready(Some(opening));
                }
            }
            self.cursor = Some(entry.number.saturating_add(1));
            let bytes = self.bytes(&entry);
            self.has_media = true;
            if !bytes.is_empty() {
                return Poll::Ready(Some(bytes));
            }
        }
        self.has_ended = true;
        Poll::Ready(None)
    }

    /// The entry at the cursor, or at the newest keyframe when that has left.
    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        let mut shared = self.ring.lock();
        if shared.epoch != self.epoch {
            return Step::End;
        }
        let is_behind = self.cursor.is_some_and(|cursor| cursor < shared.first());
        if is_behind {
            self.ring.skips.fetch_add(1, Ordering::Relaxed);
            self.cursor = None;
        }
        if self.cursor.is_none() {
            self.cursor = shared.newest_join();
        }
        if let Some(entry) = self.cursor.and_then(|cursor| shared.entry(cursor, &self.ring.made)) {
            return Step::Entry(entry);
        }
        if shared.life == Life::Ended {
            return Step::End;
        }
        shared.waiting.insert(self.number, cx.waker().clone());
        Step::Wait
    }

    fn fits(&self, setup: &Setup) -> bool {
        match self.output {
            Output::Flv | Output::WebSocketFlv | Output::Rtmp { .. } => true,
            Output::Ts => setup.fits_ts(),
            Output::Mp4 => setup.mp4().is_some(),
        }
    }

    /// What stands in front of an entry for a viewer that was not told of its tracks.
    fn opening(&self, entry: &Entry, is_first: bool) -> Bytes {
        let stamp_ms = forms::stamp(entry.times.stamp_ms);
        let tracks = &entry.setup.tracks;
        match self.output {
            Output::Flv | Output::WebSocketFlv => forms::flv_opening(tracks, is_first, stamp_ms),
            // The tables come with the muxer's keyframe.
            Output::Ts => Bytes::new(),
            Output::Mp4 => entry.setup.mp4().cloned().unwrap_or_default(),
            Output::Rtmp { stream_id } => forms::rtmp_opening(tracks, stream_id, stamp_ms),
        }
    }

    fn bytes(&self, entry: &Entry) -> Bytes {
        match self.output {
            Output::Flv | Output::WebSocketFlv => entry.form_or(Form::Flv, || forms::flv(entry)),
            Output::Ts => self.ring.ts(entry, !self.has_media),
            Output::Mp4 => entry.form_or(Form::Mp4, || forms::mp4(entry)),
            Output::Rtmp { stream_id } => {
                let message = entry.form_or(Form::Rtmp, || forms::rtmp(entry));
                let message = if stream_id == playback::STREAM_ID_USUAL {
                    message
                } else {
                    playback::readdressed(&message, stream_id)
                };
                match entry.marks() {
                    [] => message,
                    _ => {
                        let marks = forms::rtmp_marks(entry, stream_id);
                        marks.into_iter().chain([message]).collect::<Vec<_>>().concat().into()
                    }
                }
            }
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut shared = self.ring.lock();
        shared.waiting.remove(&self.number);
        shared.attached = shared.attached.saturating_sub(1);
        let is_behind = self.cursor.zip(shared.newest_join()).is_some_and(|(cursor, join)| cursor < join);
        if is_behind && !self.has_ended {
            self.ring.dropped.fetch_add(1, Ordering::Relaxed);
        }
        shared.clear_unless_viewed();
        drop(shared);
        if let Some(count) = self.ring.viewers.get(self.output.index()) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

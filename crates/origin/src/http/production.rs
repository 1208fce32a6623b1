//! The CMAF segment under construction as a body: each chunk goes out as it closes (cmaf-dash.md 7.5).
//!
//! Once the segment is complete, its URL answers with the same bytes and their length. Should it never be completed, the body breaks
//! off, so that no cache keeps what looks whole.
//!
//! nginx, where it buffers or caches, passes the end of a chunk of HTTP/1.1 on once four bytes behind it have come
//! (`ngx_http_parse_chunked`), and the line break behind a chunk is two: what came in more than one read was a whole part late there. So
//! a part's last byte is a chunk of its own.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use headwater_media::TrackKind;
use headwater_packager::Snapshot;
use tokio::sync::watch;

use super::payload::{Aborted, LiveBody};
use crate::published::Published;
use crate::registry::Stream;

type Versions = watch::Receiver<Arc<Published>>;

/// One client's place in the segment.
pub(super) struct Production {
    kind: TrackKind,
    sequence: u64,
    /// Parts that were taken.
    taken: usize,
    /// Those that were not sent yet.
    pending: VecDeque<Bytes>,
    versions: Waiting,
}

/// The versions to come, and the wait for the next one while there is one.
enum Waiting {
    Here(Versions),
    For(Pin<Box<dyn Future<Output = Option<Versions>> + Send>>),
    Over,
}

/// What a version has beyond what was sent.
enum Progress {
    More(Vec<Bytes>),
    Nothing,
    Complete,
    Lost,
}

impl Production {
    /// For a client that asks for segment `sequence`, which is under construction.
    pub(super) fn new(stream: &Stream, kind: TrackKind, sequence: u64) -> Production {
        let mut versions = stream.subscribe_to(kind);
        versions.mark_changed();
        Production { kind, sequence, taken: 0, pending: VecDeque::new(), versions: Waiting::Here(versions) }
    }

    fn progress(&self, snapshot: &Snapshot) -> Progress {
        let rendition = snapshot.cmaf.as_ref().and_then(|cmaf| cmaf.rendition(self.kind));
        let Some((rendition, parts)) = rendition.and_then(|r| Some((r, r.parts(self.sequence)?))) else {
            return Progress::Lost;
        };
        let more = parts.get(self.taken..).unwrap_or_default();
        let is_complete = rendition.segment(self.sequence).is_some();
        match (more.is_empty(), is_complete) {
            (false, _) => Progress::More(more.iter().map(|part| part.payload.clone()).collect()),
            (true, true) => Progress::Complete,
            (true, false) => Progress::Nothing,
        }
    }
}

/// All but the last byte, and that.
fn in_two(mut part: Bytes) -> [Bytes; 2] {
    let last = part.split_off(part.len().saturating_sub(1));
    [part, last]
}

impl LiveBody for Production {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Aborted>>> {
        loop {
            if let Some(part) = self.pending.pop_front() {
                return Poll::Ready(Some(Ok(part)));
            }
            match std::mem::replace(&mut self.versions, Waiting::Over) {
                Waiting::Over => return Poll::Ready(None),
                Waiting::Here(mut versions) => {
                    let published = Arc::clone(&versions.borrow_and_update());
                    match self.progress(&published.snapshot) {
                        Progress::More(parts) => {
                            self.taken += parts.len();
                            self.pending.extend(parts.into_iter().flat_map(in_two));
                            self.versions = Waiting::Here(versions);
                        }
                        Progress::Complete => return Poll::Ready(None),
                        Progress::Lost => return Poll::Ready(Some(Err(Aborted))),
                        Progress::Nothing => {
                            self.versions = Waiting::For(Box::pin(async move {
                                versions.changed().await.ok()?;
                                Some(versions)
                            }));
                        }
                    }
                }
                Waiting::For(mut next) => match next.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.versions = Waiting::For(next);
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(versions)) => self.versions = Waiting::Here(versions),
                    // The stream was forgotten.
                    Poll::Ready(None) => return Poll::Ready(Some(Err(Aborted))),
                },
            }
        }
    }
}

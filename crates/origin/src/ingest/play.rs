//! A player's connection: what its stream's ring has, as RTMP messages, as fast as the player takes them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use bytes::{Buf, Bytes, BytesMut};
use headwater_rtmp::{PlayError, PlayRequest};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

use super::batch;
use super::connection::{Connection, Ended, WRITE_TIMEOUT, read, sleep_until};
use crate::continuous::{Joined, Output, Viewer};

/// Bytes that are taken from the ring for one write: what a socket's buffer takes at once.
const WRITE_BYTES_MAX: usize = 256 << 10;

/// Pieces in one write: a keyframe and what came behind it while it was sent; the system takes 1,024.
const WRITE_PIECES_MAX: usize = 64;

/// What a connection plays.
pub(super) struct Playing {
    pub(super) stream_id: u32,
    viewer: Viewer,
    /// While the stream's first keyframe is waited for: until when.
    joins_until: Option<Instant>,
    /// Bytes on their way.
    queue: VecDeque<Bytes>,
    /// What was written may still be inside TLS.
    is_flushing: bool,
}

/// What happened next on a player's connection.
enum Next {
    Read(io::Result<Option<usize>>),
    Written(io::Result<usize>),
    Flushed(io::Result<()>),
    Joined(Joined),
    Media(Option<()>),
    TimedOut,
    Stalled,
    NotJoined,
    Shutdown,
}

impl Connection<'_> {
    /// A `play`: refused at once, or begun as soon as there is something to begin with.
    pub(super) async fn play(&mut self, request: &PlayRequest) -> Result<(), Ended> {
        let (stream_id, target) = (request.stream_id, &request.target);
        let mut refuse = |error, reason: &str| {
            self.rtmp.reject_play(stream_id, error, reason);
            Err(Ended::Dismissed(format!("play in app {} refused: {reason}", target.app)))
        };
        if self.publication.is_some() || self.playing.is_some() {
            return refuse(PlayError::Failed, "this connection publishes or plays already");
        }
        let token = target.query.as_ref().and_then(|query| query.parameter("token"));
        let (authorizer, root) = (&self.context.authorizer, self.context.telemetry.root());
        let permitted =
            authorizer.play(self.peer.ip(), &target.app, &target.name, token.as_deref(), &root).await;
        if let Err(denied) = permitted {
            return refuse(PlayError::Failed, &denied.to_string());
        }
        let stream = self.context.registry.stream(&target.app, &target.name);
        let config = self.context.config.now();
        let outputs =
            stream.as_ref().map_or_else(|| config.outputs_for(&target.app), |stream| stream.outputs());
        if !outputs.rtmp {
            return refuse(
                PlayError::Failed,
                "playback over RTMP is switched off; play the HLS address instead",
            );
        }
        let Some(ring) = stream.as_ref().and_then(|stream| stream.continuous()) else {
            return refuse(PlayError::StreamNotFound, "no such stream");
        };
        let span = tracing::Span::current();
        span.record("app", &target.app);
        span.record("stream", &target.name);
        self.playing = Some(Playing {
            stream_id,
            viewer: ring.attach(Output::Rtmp { stream_id }),
            joins_until: Some(Instant::now() + config.http.hold_timeout),
            queue: VecDeque::new(),
            is_flushing: false,
        });
        Ok(())
    }

    /// Sends what is played until the player closes its stream; `Err` when the connection is over.
    pub(super) async fn play_out(
        &mut self,
        input: &mut BytesMut,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<(), Ended> {
        let mut moved_at = Instant::now();
        loop {
            let pause = self.pause();
            let output = self.rtmp.take_output();
            let Some(playing) = &mut self.playing else { return Ok(()) };
            if playing.queue.is_empty() && !playing.is_flushing {
                moved_at = Instant::now();
            }
            if !output.is_empty() {
                playing.queue.push_back(output);
            }
            let has_bytes = !playing.queue.is_empty() || playing.is_flushing;
            let joins_until = playing.joins_until;
            let is_joining = joins_until.is_some();
            // Its own thread may not be the publisher's.
            batch::read(true);
            let (mut reader, mut writer) = self.socket.split();
            // In this order: a player that takes its bytes is given them before anything else is looked at.
            let next = tokio::select! {
                biased;
                next = playing.progress(&mut writer) => next,
                read = read(&mut reader, input, pause) => Next::Read(read),
                () = sleep_until(self.rtmp.next_timeout().map(|at| self.context.clocks.instant(at))) => Next::TimedOut,
                () = tokio::time::sleep_until(moved_at + WRITE_TIMEOUT), if has_bytes => Next::Stalled,
                () = sleep_until(joins_until), if is_joining => Next::NotJoined,
                _ = shutdown.wait_for(|down| *down) => Next::Shutdown,
            };
            let stream_id = playing.stream_id;
            match next {
                Next::Written(written) => {
                    advance(&mut playing.queue, written?);
                    playing.is_flushing = true;
                    moved_at = Instant::now();
                }
                Next::Flushed(flushed) => {
                    flushed?;
                    playing.is_flushing = false;
                }
                Next::Media(Some(())) => {}
                Next::Media(None) => {
                    self.rtmp.end_play(stream_id, "the stream has ended");
                    return Err(Ended::Played);
                }
                Next::Joined(Joined::Begins) => {
                    playing.joins_until = None;
                    if self.rtmp.accept_play(stream_id) {
                        tracing::info!("playing");
                    }
                }
                Next::Joined(Joined::Ended | Joined::Unfit) | Next::NotJoined => {
                    let reason = "the stream is not live";
                    self.rtmp.reject_play(stream_id, PlayError::StreamNotFound, reason);
                    return Err(Ended::Dismissed(format!("play refused: {reason}")));
                }
                Next::Read(read) => match read? {
                    None => {}
                    Some(0) => return Err(Ended::Closed),
                    Some(bytes) => {
                        let now = self.context.clocks.now();
                        self.rate.read(bytes, now);
                        let parsed = self.rtmp.handle_input(input, now);
                        // Boxed: it could lead back here, were a second `play` not refused.
                        Box::pin(self.take_events()).await?;
                        parsed?;
                    }
                },
                Next::TimedOut => self.rtmp.handle_timeout(self.context.clocks.now())?,
                Next::Stalled => return Err(Ended::WriteStalled),
                Next::Shutdown => return Err(Ended::Shutdown),
            }
        }
    }
}

impl Playing {
    /// What is queued goes out before anything else is taken. Nothing is lost when the future is dropped.
    async fn progress(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> Next {
        let Playing { viewer, joins_until, queue, is_flushing, .. } = self;
        if !queue.is_empty() {
            Next::Written(write(writer, queue).await)
        } else if *is_flushing {
            Next::Flushed(writer.flush().await)
        } else if joins_until.is_some() {
            Next::Joined(poll_fn(|cx| viewer.poll_joined(cx)).await)
        } else {
            Next::Media(poll_fn(|cx| poll_gather(viewer, queue, cx)).await)
        }
    }
}

/// Waits for media and takes what is there, up to [`WRITE_BYTES_MAX`]; `None` at the end.
fn poll_gather(
    viewer: &mut Viewer,
    queue: &mut VecDeque<Bytes>,
    cx: &mut TaskContext<'_>,
) -> Poll<Option<()>> {
    let mut size = 0;
    while size < WRITE_BYTES_MAX && queue.len() < WRITE_PIECES_MAX {
        match viewer.poll_bytes(cx) {
            Poll::Ready(Some(bytes)) => {
                size += bytes.len();
                queue.push_back(bytes);
            }
            Poll::Ready(None) if queue.is_empty() => return Poll::Ready(None),
            Poll::Pending if queue.is_empty() => return Poll::Pending,
            // What there is goes out first; the end is told again.
            Poll::Ready(None) | Poll::Pending => break,
        }
    }
    Poll::Ready(Some(()))
}

/// One write of what is queued.
async fn write(writer: &mut (impl AsyncWrite + Unpin), queue: &VecDeque<Bytes>) -> io::Result<usize> {
    let pieces: Vec<IoSlice<'_>> =
        queue.iter().take(WRITE_PIECES_MAX).map(|piece| IoSlice::new(piece)).collect();
    poll_fn(|cx| Pin::new(&mut *writer).poll_write_vectored(cx, &pieces)).await
}

/// Forgets what was written.
fn advance(queue: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = queue.front_mut() {
        if written < front.len() {
            front.advance(written);
            return;
        }
        written -= front.len();
        queue.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_leaves_the_queue() {
        for (written, left) in [(0, "abcdefg"), (1, "bcdefg"), (3, "defg"), (4, "efg"), (7, "")] {
            let mut queue = VecDeque::from([&b"abc"[..], b"", b"d", b"efg"].map(Bytes::from_static));
            advance(&mut queue, written);
            let rest: Vec<u8> = queue.iter().flatten().copied().collect();
            assert_eq!(rest, left.as_bytes(), "{written}");
            assert!(queue.front().is_none_or(|front| !front.is_empty()), "{written}");
        }
    }
}

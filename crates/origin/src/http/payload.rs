//! What an answer carries: bytes that are all there, in one piece or in several, or bytes that are still being made.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};

use super::connection::Carrier;
use super::streams::OnItsWay;

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Payload(Kind);

#[derive(Debug)]
enum Kind {
    Whole(Bytes),
    /// None of them is empty.
    Chunks {
        chunks: VecDeque<Bytes>,
        len: usize,
    },
    Live(Live),
}

struct Live {
    source: Box<dyn LiveBody>,
    is_bounded: bool,
    /// Where its bytes are counted as they go out.
    sent: Option<Arc<AtomicU64>>,
}

/// Where bytes come from that are still being made.
pub(super) trait LiveBody: Send {
    /// The next bytes, which go out at once; `None` ends the answer. What could be told apart from a complete body by nobody must
    /// not end with `None`: caches would keep it.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Aborted>>>;

    /// The process drains, and nothing more will be asked for: whether what came so far may pass for the whole.
    fn drain(&mut self) -> Result<(), Aborted> {
        Err(Aborted)
    }
}

impl<F> LiveBody for F
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, Aborted>>> + Send,
{
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Aborted>>> {
        self(cx)
    }
}

/// What was begun will not be completed: the client is to see that, so the connection breaks without an end of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body was broken off")]
pub(super) struct Aborted;

impl Payload {
    /// One piece.
    pub(super) fn whole(bytes: Bytes) -> Payload {
        Payload(Kind::Whole(bytes))
    }

    /// The concatenation of several pieces; they are sent one behind the other, never joined.
    pub(super) fn chunks(chunks: impl IntoIterator<Item = Bytes>) -> Payload {
        let chunks: VecDeque<Bytes> = chunks.into_iter().filter(|chunk| !chunk.is_empty()).collect();
        let len = chunks.iter().map(Bytes::len).sum();
        Payload(Kind::Chunks { chunks, len })
    }

    /// Bytes that are still being made. `http.response_timeout` doesn't end them; a client that takes none is cut off as any other.
    pub(super) fn live(source: impl LiveBody + 'static) -> Payload {
        Payload(Kind::Live(Live { source: Box::new(source), is_bounded: false, sent: None }))
    }

    /// The same, and `http.response_timeout` counts from the request, as it does for all that is there as a whole.
    #[cfg_attr(not(test), allow(dead_code, reason = "until segments in production come"))]
    #[must_use]
    pub(super) fn bounded(mut self) -> Payload {
        if let Kind::Live(live) = &mut self.0 {
            live.is_bounded = true;
        }
        self
    }

    /// In bytes; nobody knows that of what is still being made.
    pub(super) fn len(&self) -> Option<usize> {
        match &self.0 {
            Kind::Whole(bytes) => Some(bytes.len()),
            Kind::Chunks { len, .. } => Some(*len),
            Kind::Live(_) => None,
        }
    }

    /// Counts its bytes: at once where they are all there, else as they go out.
    pub(super) fn count_in(&mut self, sent: &Arc<AtomicU64>) {
        match (self.len(), &mut self.0) {
            (None, Kind::Live(live)) => live.sent = Some(Arc::clone(sent)),
            (len, _) => {
                sent.fetch_add(len.unwrap_or(0) as u64, Ordering::Relaxed);
            }
        }
    }

    /// A part of what is all there; `None` when it isn't, or doesn't reach so far.
    pub(super) fn slice(&self, range: Range<usize>) -> Option<Payload> {
        if range.start > range.end || range.end > self.len()? {
            return None;
        }
        match &self.0 {
            Kind::Whole(bytes) => Some(Payload::whole(bytes.slice(range))),
            Kind::Chunks { chunks, .. } => {
                let mut end = 0;
                let parts = chunks.iter().map(|chunk| {
                    let begin = end;
                    end += chunk.len();
                    let within = |position: usize| position.clamp(begin, end) - begin;
                    chunk.slice(within(range.start)..within(range.end))
                });
                Some(Payload::chunks(parts))
            }
            Kind::Live(_) => None,
        }
    }

    /// Whether `http.response_timeout` ends it.
    pub(super) fn is_bounded(&self) -> bool {
        match &self.0 {
            Kind::Whole(_) | Kind::Chunks { .. } => true,
            Kind::Live(live) => live.is_bounded,
        }
    }

    /// The pieces of what is all there.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        let (whole, chunks) = match &self.0 {
            Kind::Whole(bytes) => (Some(bytes), None),
            Kind::Chunks { chunks, .. } => (None, Some(chunks)),
            Kind::Live(_) => (None, None),
        };
        whole.into_iter().chain(chunks.into_iter().flatten())
    }
}

impl Default for Payload {
    fn default() -> Payload {
        Payload::whole(Bytes::new())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Payload {
        Payload::whole(bytes)
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("is_bounded", &self.is_bounded).finish_non_exhaustive()
    }
}

/// A payload on its way. When it is dropped, hyper has taken all of it, or will never take it. In a place of its own: hyper has room for
/// it in each request that is held.
pub(super) struct ReplyBody(Box<Sending>);

struct Sending {
    /// What is left of bytes that are more than one piece.
    begun: Bytes,
    rest: Payload,
    /// Of a live body: resolves when the process drains.
    down: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    carrier: Carrier,
}

/// Bytes of a body that are handed over; they tell what becomes of them.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    on_its_way: Option<OnItsWay>,
}

impl Piece {
    /// Bytes, and whom to tell.
    pub(super) fn new(bytes: Bytes, on_its_way: Option<OnItsWay>) -> Piece {
        Piece { bytes, on_its_way }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes.advance(bytes);
        if let Some(on_its_way) = &self.on_its_way {
            on_its_way.moved();
        }
    }
}

impl ReplyBody {
    /// `carrier` is told when it has been handed over.
    pub(super) fn new(payload: Payload, carrier: Carrier) -> ReplyBody {
        let down = matches!(payload.0, Kind::Live(_)).then(|| carrier.down());
        ReplyBody(Box::new(Sending { begun: Bytes::new(), rest: payload, down, carrier }))
    }
}

impl Sending {
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Aborted>>> {
        let live = match &mut self.rest.0 {
            Kind::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                return Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)));
            }
            Kind::Chunks { chunks, len } => {
                let chunk = chunks.pop_front();
                *len -= chunk.as_ref().map_or(0, Bytes::len);
                return Poll::Ready(chunk.map(Ok));
            }
            Kind::Live(live) => live,
        };
        let is_down = self.down.as_mut().is_some_and(|down| down.as_mut().poll(cx).is_ready());
        let data = if is_down { live.source.drain().err().map(Err) } else { ready!(poll_some(live, cx)) };
        if !matches!(data, Some(Ok(_))) {
            self.rest = Payload::default();
        }
        Poll::Ready(data)
    }
}

/// The next bytes that are any.
fn poll_some(live: &mut Live, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Aborted>>> {
    loop {
        match ready!(live.source.poll_data(cx)) {
            Some(Ok(bytes)) if bytes.is_empty() => {}
            data => {
                if let (Some(sent), Some(Ok(bytes))) = (&live.sent, &data) {
                    sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                }
                return Poll::Ready(data);
            }
        }
    }
}

impl Body for ReplyBody {
    type Data = Piece;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Aborted>>> {
        let sending = &mut *self.0;
        if sending.begun.is_empty() {
            match ready!(sending.poll_bytes(cx)) {
                Some(Ok(bytes)) => sending.begun = bytes,
                Some(Err(aborted)) => return Poll::Ready(Some(Err(aborted))),
                None => return Poll::Ready(None),
            }
        }
        let len = sending.begun.len().min(sending.carrier.piece_bytes_max());
        let bytes = sending.begun.split_to(len);
        Poll::Ready(Some(Ok(Frame::data(sending.carrier.piece(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.begun.is_empty() && self.0.rest.len() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.0.rest.len();
        rest.map_or_else(SizeHint::new, |rest| SizeHint::with_exact((self.0.begun.len() + rest) as u64))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.carrier.body_taken();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;
    use tokio::sync::watch;

    use super::super::http1;
    use super::*;

    fn joined(payload: &Payload) -> Vec<u8> {
        payload.pieces().flatten().copied().collect()
    }

    /// All frames of a body; after each the length that is left.
    fn frames(payload: Payload, down: &watch::Sender<bool>) -> Vec<Result<(Bytes, Option<u64>), Aborted>> {
        let mut body = ReplyBody::new(payload, Carrier::Http1(http1::Activity::new(down.subscribe())));
        let mut frames = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while !body.is_end_stream() {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    frames.push(Ok((frame.into_data().unwrap().bytes, body.size_hint().exact())));
                }
                Poll::Ready(Some(Err(aborted))) => frames.push(Err(aborted)),
                Poll::Ready(None) => break,
                Poll::Pending => panic!("nothing to wait for"),
            }
        }
        frames
    }

    proptest! {
        #[test]
        fn chunks_are_as_good_as_one_piece(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..6),
            a in 0_usize..30,
            b in 0_usize..30,
        ) {
            let whole = parts.concat();
            let chunks = Payload::chunks(parts.iter().cloned().map(Bytes::from));
            let one = Payload::whole(Bytes::from(whole.clone()));
            prop_assert_eq!(chunks.len(), Some(whole.len()));
            prop_assert_eq!(joined(&chunks), joined(&one));
            let part = chunks.slice(a..b);
            prop_assert_eq!(part.as_ref().map(joined), whole.get(a..b).map(<[u8]>::to_vec));
            prop_assert_eq!(part.as_ref().map(joined), one.slice(a..b).as_ref().map(joined));
            if let Some(part) = part {
                prop_assert_eq!(part.len(), Some(b - a));
                prop_assert!(part.pieces().all(|piece| !piece.is_empty()), "an empty frame");
                let (mut left, down) = (b - a, watch::channel(false).0);
                for frame in frames(part, &down) {
                    let (bytes, rest) = frame.unwrap();
                    left -= bytes.len();
                    prop_assert_eq!(rest, Some(left as u64));
                }
                prop_assert_eq!(left, 0);
            }
        }
    }

    #[test]
    fn chunks_are_not_copied() {
        let chunks = [Bytes::from(vec![1; 100]), Bytes::new(), Bytes::from(vec![2; 100])];
        let sent = frames(Payload::chunks(chunks.clone()).slice(10..190).unwrap(), &watch::channel(false).0);
        let places: Vec<_> = sent.iter().map(|frame| frame.as_ref().unwrap().0.as_ptr()).collect();
        assert_eq!(places, [chunks[0][10..].as_ptr(), chunks[2].as_ptr()]);
    }

    /// A source that has these to give, and may end at any time.
    struct Script(Vec<Result<Bytes, Aborted>>);

    impl LiveBody for Script {
        fn poll_data(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Aborted>>> {
            Poll::Ready((!self.0.is_empty()).then(|| self.0.remove(0)))
        }

        fn drain(&mut self) -> Result<(), Aborted> {
            Ok(())
        }
    }

    #[test]
    fn live_bodies_end_abort_and_drain() {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let script = || vec![Ok(bytes("a")), Ok(Bytes::new()), Ok(bytes("b"))];
        let ended = vec![Ok((bytes("a"), None)), Ok((bytes("b"), None))];
        let down = watch::channel(false).0;
        assert_eq!(frames(Payload::live(Script(script())), &down), ended);
        let aborted = [script(), vec![Err(Aborted), Ok(bytes("c"))]].concat();
        let expected = [ended.clone(), vec![Err(Aborted)]].concat();
        assert_eq!(frames(Payload::live(Script(aborted)), &down), expected, "nothing comes behind it");
        down.send_replace(true);
        assert_eq!(frames(Payload::live(Script(script())), &down), []);
        let unasked = |_: &mut Context<'_>| -> Poll<Option<Result<Bytes, Aborted>>> { panic!("asked") };
        assert_eq!(frames(Payload::live(unasked), &down), [Err(Aborted)], "what says nothing is not whole");
    }

    #[test]
    fn a_live_body_has_no_length_and_no_part() {
        let live = Payload::live(Script(Vec::new()));
        assert!(live.len().is_none() && live.slice(0..0).is_none() && live.pieces().next().is_none());
        assert!(!live.is_bounded() && live.bounded().is_bounded());
        assert!(Payload::default().is_bounded());
    }
}

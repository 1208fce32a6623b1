//! Outputs without segments: FLV, MPEG-TS and fragmented MP4 from the stream's ring, until the stream or the viewer ends.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use tokio::time::timeout;

use super::hold::Holder;
use super::payload::{Aborted, LiveBody, Payload};
use super::response::{NO_STORE, Reply};
use crate::continuous::{Joined, Output, Viewer};
use crate::registry::Stream;

/// nginx would collect the body before it passes any of it on (http-origin.md 13.3).
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// Answers with all that comes from the newest keyframe on.
pub(super) async fn body(holder: &Holder, stream: &Stream, output: Output) -> Reply {
    match joined(holder, stream, output).await {
        Ok(viewer) => {
            let (name, value) = UNBUFFERED;
            let content_type = content_type(output, &viewer);
            Reply::new(StatusCode::OK, content_type, NO_STORE, Payload::live(Endless(viewer)))
                .with(name, value)
        }
        Err(refusal) => refusal,
    }
}

/// A SourceBuffer has to be told the codecs before it gets a byte; they are in no other place that a page could ask.
fn content_type(output: Output, viewer: &Viewer) -> HeaderValue {
    match output {
        Output::Ts => HeaderValue::from_static("video/mp2t"),
        Output::Mp4 => HeaderValue::try_from(format!("video/mp4; codecs=\"{}\"", viewer.codecs()))
            .unwrap_or(HeaderValue::from_static("video/mp4")),
        Output::Flv | Output::WebSocketFlv | Output::Rtmp { .. } => HeaderValue::from_static("video/x-flv"),
    }
}

/// A viewer that can begin, or why there is none. A stream that is not live is waited for as its first playlist is.
pub(super) async fn joined(holder: &Holder, stream: &Stream, output: Output) -> Result<Viewer, Reply> {
    let Some(ring) = stream.continuous() else { return Err(Reply::not_found("no such stream\n")) };
    let mut viewer = ring.attach(output);
    let mut is_held = None;
    let joined = poll_fn(|cx| match viewer.poll_joined(cx) {
        Poll::Pending if is_held.is_none() => match holder.context().holds.admit(holder.address) {
            Some(admitted) => {
                is_held = Some(admitted);
                Poll::Pending
            }
            None => Poll::Ready(Err(Reply::unavailable("too many requests are waiting\n"))),
        },
        joined => joined.map(Ok),
    });
    let mut down = holder.carrier.down();
    let joined = tokio::select! {
        // What is there is there, whatever the time.
        biased;
        joined = timeout(holder.timeout(), joined) => joined,
        () = &mut down => return Err(Reply::unavailable("the server is shutting down\n")),
    };
    match joined {
        Ok(Ok(Joined::Begins)) => Ok(viewer),
        Ok(Ok(Joined::Unfit)) => Err(Reply::not_found("this output can't carry what is published\n")),
        Ok(Ok(Joined::Ended)) | Err(_) => Err(Reply::not_found("the stream is not live\n")),
        Ok(Err(refusal)) => Err(refusal),
    }
}

/// A body that may end at any time.
struct Endless(Viewer);

impl LiveBody for Endless {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Aborted>>> {
        self.0.poll_bytes(cx).map(|bytes| bytes.map(Ok))
    }

    fn drain(&mut self) -> Result<(), Aborted> {
        Ok(())
    }
}

//! FLV over WebSocket (RFC 6455): the address of HTTP-FLV, upgraded. Each message is what one step of the ring gives: first the
//! header with the configurations, then a tag each.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream as _};
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode, Version};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::connection::{End, Rest};
use super::response::{NO_STORE, Reply};
use crate::continuous::Viewer;
use crate::transport::Transport;

/// What a client may send in one message: nothing here asks for any.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// A client is asked for a sign of life so often.
const PING_EVERY: Duration = Duration::from_secs(20);

/// A client that gives none for so long is gone: it missed two questions.
const SILENCE_MAX: Duration = Duration::from_secs(40);

/// How long the closing handshake may take.
const CLOSING_MAX: Duration = Duration::from_secs(1);

/// What a request wants of this connection.
pub(super) enum Asked {
    /// An ordinary answer.
    Nothing,
    /// WebSocket, with the value that accepts it.
    WebSocket(HeaderValue),
    /// WebSocket, but not in a way that can be answered with one.
    Refused(Reply),
}

/// Whether a request wants to be upgraded (RFC 6455 4.2.1).
pub(super) fn asked<B: hyper::body::Body>(request: &Request<B>) -> Asked {
    let headers = request.headers();
    let lists = |name, token: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
    };
    // RFC 9113 8.2.2: HTTP/2 has no Upgrade. Behind content nothing is read that could be a frame.
    let can = request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && request.body().is_end_stream();
    if !can || !lists(header::UPGRADE, "websocket") || !lists(header::CONNECTION, "upgrade") {
        return Asked::Nothing;
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let words = "WebSocket version 13 is spoken here\n";
        let refusal = Reply::error(StatusCode::UPGRADE_REQUIRED, NO_STORE, words)
            .with(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
            .with(header::UPGRADE, HeaderValue::from_static("websocket"))
            .with(header::CONNECTION, HeaderValue::from_static("upgrade"));
        return Asked::Refused(refusal);
    }
    match accept_value(headers) {
        Some(accept) => Asked::WebSocket(accept),
        None => {
            Asked::Refused(Reply::error(StatusCode::BAD_REQUEST, NO_STORE, "no valid Sec-WebSocket-Key\n"))
        }
    }
}

/// What accepts the WebSocket that a request asks for, if it asks for one as it should.
pub(crate) fn accept<B: hyper::body::Body>(request: &Request<B>) -> Option<HeaderValue> {
    match asked(request) {
        Asked::WebSocket(accept) => Some(accept),
        Asked::Nothing | Asked::Refused(_) => None,
    }
}

/// Sec-WebSocket-Accept for a key that is one: 16 bytes in base64.
fn accept_value(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let key = keys.next().filter(|_| keys.next().is_none())?.as_bytes();
    let (digits, padding) = key.split_at_checked(22)?;
    let is_base64 = digits.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    HeaderValue::try_from(derive_accept_key(key)).ok().filter(|_| is_base64 && padding == b"==")
}

/// The answer that makes the connection a WebSocket.
pub(super) fn switching(accept: HeaderValue, viewer: Viewer) -> Reply {
    let mut reply = Reply::empty(StatusCode::SWITCHING_PROTOCOLS, NO_STORE)
        .with(header::CONNECTION, HeaderValue::from_static("upgrade"))
        .with(header::UPGRADE, HeaderValue::from_static("websocket"))
        .with(header::SEC_WEBSOCKET_ACCEPT, accept);
    reply.upgrade = Some(viewer);
    reply
}

/// Serves the connection to its end, after the answer has gone out. `read`: what came behind the request.
pub(super) async fn serve(
    stream: Transport,
    read: Bytes,
    viewer: Viewer,
    write_stall: Duration,
    down: Pin<Box<dyn Future<Output = ()> + Send>>,
) -> End {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        // Every frame goes out when it comes.
        .write_buffer_size(0);
    let socket =
        WebSocketStream::from_partially_read(stream, read.to_vec(), Role::Server, Some(config)).await;
    let now = Instant::now();
    let mut session =
        Session { socket, viewer, write_stall, is_flushing: false, moved: now, heard: now, asked: now };
    let over = session.run(down).await;
    let Session { mut socket, viewer, .. } = session;
    drop(viewer);
    // RFC 6455 7.4.1.
    let word = match over {
        Over::Ended => Some((CloseCode::Normal, "the stream has ended")),
        Over::Draining => Some((CloseCode::Away, "the server is shutting down")),
        Over::Closed => None,
        Over::Stalled => {
            socket.get_ref().set_zero_linger();
            return End::Rested(Rest::WriteStall);
        }
    };
    // The other side's close, or its answer to ours, is read, so that nothing ends in a reset.
    let closing = async {
        if let Some((code, reason)) = word {
            socket.close(Some(CloseFrame { code, reason: reason.into() })).await.ok()?;
        }
        while poll_fn(|cx| Pin::new(&mut socket).poll_next(cx)).await?.is_ok() {}
        Some(())
    };
    let _ = timeout(CLOSING_MAX, closing).await;
    End::Closed
}

/// Why there is nothing more to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// The stream ended.
    Ended,
    /// The client left, or what it sent was wrong.
    Closed,
    /// The client takes nothing, or gives no sign of life.
    Stalled,
    /// The process drains.
    Draining,
}

struct Session {
    socket: WebSocketStream<Transport>,
    viewer: Viewer,
    write_stall: Duration,
    /// What was given to the socket has not all gone out.
    is_flushing: bool,
    /// When the client last took all there was.
    moved: Instant,
    /// When anything last came from it.
    heard: Instant,
    /// When it was last asked for a sign of life.
    asked: Instant,
}

impl Session {
    async fn run(&mut self, down: impl Future<Output = ()>) -> Over {
        let mut down = pin!(down);
        let mut sleep = pin!(sleep_until(self.next_look()));
        poll_fn(|cx| {
            if down.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Over::Draining);
            }
            loop {
                if let Poll::Ready(over) = self.poll(cx) {
                    return Poll::Ready(over);
                }
                let at = self.next_look();
                if at != sleep.deadline() {
                    sleep.as_mut().reset(at);
                }
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let now = Instant::now();
                let is_stalled = self.is_flushing && now >= self.moved + self.write_stall;
                if is_stalled || now >= self.heard + SILENCE_MAX {
                    return Poll::Ready(Over::Stalled);
                }
                if now >= self.asked + PING_EVERY {
                    self.asked = now;
                    if !self.is_flushing && !self.send(Message::Ping(Bytes::new())) {
                        return Poll::Ready(Over::Closed);
                    }
                }
            }
        })
        .await
    }

    /// When something is due though nothing happens.
    fn next_look(&self) -> Instant {
        let stall = self.is_flushing.then(|| self.moved + self.write_stall);
        let silence = (self.heard + SILENCE_MAX).min(self.asked + PING_EVERY);
        stall.map_or(silence, |stall| stall.min(silence))
    }

    /// Hears the client, and gives it what there is as long as it takes it.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        while let Poll::Ready(message) = Pin::new(&mut self.socket).poll_next(cx) {
            match message {
                // Questions are answered by the library; nothing else means anything here.
                Some(Ok(message)) if !message.is_close() => self.heard = Instant::now(),
                Some(Ok(_) | Err(_)) | None => return Poll::Ready(Over::Closed),
            }
        }
        loop {
            if self.is_flushing {
                match Pin::new(&mut self.socket).poll_flush(cx) {
                    Poll::Ready(Ok(())) => self.is_flushing = false,
                    Poll::Ready(Err(_)) => return Poll::Ready(Over::Closed),
                    Poll::Pending => return Poll::Pending,
                }
            }
            self.moved = Instant::now();
            match self.viewer.poll_bytes(cx) {
                Poll::Ready(Some(bytes)) => {
                    if !self.send(Message::Binary(bytes)) {
                        return Poll::Ready(Over::Closed);
                    }
                }
                Poll::Ready(None) => return Poll::Ready(Over::Ended),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Gives a message to the socket, which has room when nothing is being flushed. False when it is broken.
    fn send(&mut self, message: Message) -> bool {
        self.is_flushing = true;
        matches!(Pin::new(&mut self.socket).start_send(message), Ok(()) | Err(Error::WriteBufferFull(_)))
    }
}

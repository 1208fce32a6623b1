//! `/api/v1/events` in its three forms: server-sent events, WebSocket, and an answer that waits until there is something to tell.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Json, Response};
use futures_util::{SinkExt, StreamExt, stream};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::Shared;
use crate::events::{Page, Reader};
use crate::{config, http};

/// A reader that wants to wait for longer asks again.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Readers at a time whose connections stay open: pages of operators and programs that act on events.
pub(super) const READERS_MAX: usize = 100;

/// Proxies give up on a connection on which nothing comes for a minute, as a rule.
const ALIVE_EVERY: Duration = Duration::from_secs(20);

/// A WebSocket client that gives no sign of life for so long is gone: it missed two questions.
const SILENCE_MAX: Duration = Duration::from_secs(40);

/// A WebSocket client that doesn't take what is sent for so long is cut off; with its place it can come back.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// What a WebSocket client may send in one message: nothing here asks for any.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// Only events with numbers above this.
    after: u64,
    /// How long to wait for one, as in a configuration: `30s`.
    wait: String,
}

impl Default for Asked {
    fn default() -> Asked {
        Asked { after: 0, wait: "0s".to_owned() }
    }
}

/// What a reader is told between two events when some between them are gone.
#[derive(Debug, Serialize)]
struct Lost {
    lost: u64,
    restarted: bool,
}

/// The events behind a place, in the form that the request asks for.
pub(super) async fn events(
    State(shared): State<Shared>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Response {
    let is_stream = accepts_stream(request.headers());
    let upgrade = http::accept_websocket(&request);
    if upgrade.is_none() && !is_stream {
        return wait(&shared, &asked).await;
    }
    let Ok(permit) = Arc::clone(&shared.readers).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many readers of events\n").into_response();
    };
    // What a browser's EventSource sends when it comes back (HTML, 9.2.3); its address is still the first one.
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let reader = shared.context.registry.events().reader(last.unwrap_or(asked.after));
    let over = over(&shared);
    match upgrade {
        Some(accept) => websocket(accept, request, reader, permit, over),
        None => server_sent(reader, permit, over),
    }
}

fn accepts_stream(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.any(|value| value.contains("text/event-stream"))
}

/// Resolves when nothing more will happen here that a reader could be told.
fn over(shared: &Shared) -> impl Future<Output = ()> + Send + use<> {
    let playback = Arc::clone(&shared.context.playback);
    async move { playback.drained().await }
}

/// What there is; with `wait`, as soon as there is something.
async fn wait(shared: &Shared, asked: &Asked) -> Response {
    let Ok(wait) = config::duration(&asked.wait) else {
        return (StatusCode::BAD_REQUEST, "wait is a duration like 30s\n").into_response();
    };
    let mut shutdown = shared.shutdown.clone();
    let events = shared.context.registry.events();
    let page = tokio::select! {
        page = events.wait_after(asked.after, wait.min(WAIT_MAX)) => page,
        _ = shutdown.wait_for(|down| *down) => events.after(asked.after),
    };
    Json(page).into_response()
}

/// Each event is a message whose `id` is its place; a message of type `lost` comes before the first one behind a hole.
fn server_sent(
    reader: Reader,
    permit: OwnedSemaphorePermit,
    over: impl Future<Output = ()> + Send + 'static,
) -> Response {
    let pages = stream::unfold((reader, permit), |(mut reader, permit)| async move {
        let page = reader.next().await;
        let messages: Vec<_> = messages(&page).collect();
        Some((stream::iter(messages), (reader, permit)))
    });
    let messages = pages.flatten().take_until(Box::pin(over));
    Sse::new(messages).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)).into_response()
}

fn messages(page: &Page) -> impl Iterator<Item = Result<sse::Event, Infallible>> {
    let lost = lost(page).map(|lost| sse::Event::default().event("lost").data(lost));
    let events = page.events.iter();
    let events = events.map(|event| sse::Event::default().id(event.id.to_string()).data(event.json()));
    lost.into_iter().chain(events).map(Ok)
}

/// What stands in for the events that are gone before a page, if some are.
fn lost(page: &Page) -> Option<String> {
    let lost = Lost { lost: page.lost, restarted: page.restarted };
    (page.lost > 0 || page.restarted).then(|| serde_json::to_string(&lost).unwrap_or_default())
}

/// The connection becomes a WebSocket: each event is a message of text, as in the other forms.
fn websocket(
    accept: HeaderValue,
    mut request: Request,
    reader: Reader,
    permit: OwnedSemaphorePermit,
    over: impl Future<Output = ()> + Send + 'static,
) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        tokio::select! {
            () = converse(upgrade, reader) => {}
            () = over => {}
        }
        drop(permit);
    });
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

async fn converse(upgrade: OnUpgrade, mut reader: Reader) {
    let Ok(upgraded) = upgrade.await else { return };
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(limits)).await;
    let (mut sink, mut client) = socket.split();
    let mut heard = Instant::now();
    let mut alive = interval_at(heard + ALIVE_EVERY, ALIVE_EVERY);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let messages: Vec<Message> = tokio::select! {
            page = reader.next() => {
                let events = page.events.iter().map(|event| event.json());
                lost(&page).into_iter().chain(events).map(Message::text).collect()
            }
            heard_from = client.next() => match heard_from {
                Some(Ok(message)) if !message.is_close() => {
                    heard = Instant::now();
                    continue;
                }
                // The answer to a close goes out with the next flush.
                _ => Vec::new(),
            },
            _ = alive.tick() => {
                if heard.elapsed() >= SILENCE_MAX {
                    return;
                }
                vec![Message::Ping(bytes::Bytes::new())]
            }
        };
        let is_closing = messages.is_empty();
        let send = async {
            for message in messages {
                sink.feed(message).await?;
            }
            sink.flush().await
        };
        let sent = tokio::time::timeout(WRITE_MAX, pin!(send)).await;
        if is_closing || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

//! The admin listener: health, readiness and the API for operators. No CORS: pages of other origins are not to read it.

pub mod control;
mod events;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{delete, get, post};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::auth::bearer;
use crate::config::{Config, InForce};
use crate::registry::{Registry, StreamInfo};
use crate::{http, metrics};

/// Bytes of a request's body: an ID3 tag in Base64, and room.
const REQUEST_BYTES_MAX: usize = 32 << 10;

/// What the admin listener answers from.
#[derive(Debug)]
pub struct Context {
    registry: Arc<Registry>,
    playback: Arc<http::Context>,
    /// Has what every request shows.
    config: InForce,
    /// Who reads the configuration again; `None` where nobody can.
    reloads: Option<control::Reloads>,
}

impl Context {
    /// For the streams of `registry` and the counters of the playback listener.
    pub fn new(registry: Arc<Registry>, playback: Arc<http::Context>) -> Context {
        Context { registry, playback, config: Arc::new(Config::default()).into(), reloads: None }
    }

    /// For those alone who show the configuration's `admin.token`, unless it is empty.
    #[must_use]
    pub fn with_config(mut self, config: InForce) -> Context {
        self.config = config;
        self
    }

    /// Lets operators have the configuration read again, by whoever takes these.
    #[must_use]
    pub fn with_reloads(mut self, reloads: control::Reloads) -> Context {
        self.reloads = Some(reloads);
        self
    }
}

/// What the handlers share.
#[derive(Debug, Clone)]
struct Shared {
    context: Arc<Context>,
    /// True from the moment the process drains.
    shutdown: watch::Receiver<bool>,
    /// Who reads events over a connection that stays open.
    readers: Arc<Semaphore>,
}

/// `/api/v1/status`.
#[derive(Debug, Serialize)]
struct Status {
    version: &'static str,
    draining: bool,
    streams: usize,
    playback: http::Status,
}

/// Serves until the playback listener has drained, so that `/readyz` can say 503 from `shutdown` on.
pub async fn serve(listener: TcpListener, context: Arc<Context>, shutdown: watch::Receiver<bool>) {
    let playback = Arc::clone(&context.playback);
    let config = context.config.clone();
    let shared = Shared { context, shutdown, readers: Arc::new(Semaphore::new(events::READERS_MAX)) };
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/streams", get(streams))
        .route("/api/v1/openapi.json", get(openapi))
        .route("/api/v1/streams/{app}/{stream}", get(stream).delete(control::end))
        .route(
            "/api/v1/streams/{app}/{instance}/{stream}",
            get(stream_of_instance).delete(control::end_of_instance),
        )
        .route("/api/v1/reload", post(control::reload))
        .route("/api/v1/publishers/{app}/{stream}", delete(control::kick))
        .route("/api/v1/publishers/{app}/{instance}/{stream}", delete(control::kick_of_instance))
        .route("/api/v1/metadata/{app}/{stream}", post(control::insert))
        .route("/api/v1/metadata/{app}/{instance}/{stream}", post(control::insert_of_instance))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .fallback(async || (StatusCode::NOT_FOUND, "no such resource\n"))
        .layer(middleware::from_fn_with_state(config, bearer::require))
        .layer(middleware::from_fn(common_headers))
        .with_state(shared);
    let drained = async move { playback.drained().await };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(drained).await {
        tracing::error!(%error, "the admin listener ended");
    }
}

/// Everything here is true for a moment only, and none of it is a page.
async fn common_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The listeners are bound before anything is served, so only a drain makes the process unready.
async fn ready(State(shared): State<Shared>) -> Response {
    if *shared.shutdown.borrow() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response()
    } else {
        "ready\n".into_response()
    }
}

/// Gathered now, of every stream: asked for each few seconds, and from here only.
async fn metrics(State(shared): State<Shared>) -> Response {
    let text = metrics::scrape(&shared.context.registry, shared.context.playback.status());
    let open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, HeaderValue::from_static(open_metrics))], text).into_response()
}

async fn status(State(shared): State<Shared>) -> Json<Status> {
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        draining: *shared.shutdown.borrow(),
        streams: shared.context.registry.streams().len(),
        playback: shared.context.playback.status(),
    })
}

/// What all of this is, for programs.
async fn openapi() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], include_str!("admin/openapi.json")).into_response()
}

async fn streams(State(shared): State<Shared>) -> Json<Vec<StreamInfo>> {
    Json(shared.context.registry.streams().iter().map(|stream| stream.info()).collect())
}

async fn stream(State(shared): State<Shared>, Path((app, stream)): Path<(String, String)>) -> Response {
    one(&shared, &app, &stream)
}

async fn stream_of_instance(
    State(shared): State<Shared>,
    Path((app, instance, stream)): Path<(String, String, String)>,
) -> Response {
    one(&shared, &format!("{app}/{instance}"), &stream)
}

fn one(shared: &Shared, app: &str, name: &str) -> Response {
    match shared.context.registry.stream(app, name) {
        Some(stream) => Json(stream.info()).into_response(),
        None => (StatusCode::NOT_FOUND, "no such stream\n").into_response(),
    }
}

//! What operators do. Streams are ended by `DELETE`: no page of another origin can send it without a preflight, which nothing here
//! answers. It can send `POST`, and says then that it is a page.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use crate::reload::Differences;

/// Asks for the configuration to be read again. Each question brings what came of it, or in words why nothing did.
pub type Reloads = mpsc::Sender<oneshot::Sender<Result<Differences, String>>>;

/// Has the configuration read again, as SIGHUP does.
pub(super) async fn reload(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    // Every browser sends it along with a POST (Fetch 3.2), and no page has to do with this.
    if headers.contains_key(header::ORIGIN) {
        return (StatusCode::FORBIDDEN, "not from a page\n").into_response();
    }
    let unavailable = || (StatusCode::SERVICE_UNAVAILABLE, "nobody can read it now\n").into_response();
    let Some(reloads) = &shared.context.reloads else { return unavailable() };
    let (answer, answered) = oneshot::channel();
    if reloads.send(answer).await.is_err() {
        return unavailable();
    }
    match answered.await {
        Ok(Ok(differences)) => Json(differences).into_response(),
        Ok(Err(reason)) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{reason}\n")).into_response(),
        // It goes down.
        Err(_) => unavailable(),
    }
}

/// Disconnects the publisher of a stream.
pub(super) async fn kick(
    State(shared): State<Shared>,
    Path((app, stream)): Path<(String, String)>,
) -> Response {
    kick_one(&shared, &app, &stream)
}

/// The same where the app has two parts.
pub(super) async fn kick_of_instance(
    State(shared): State<Shared>,
    Path((app, instance, stream)): Path<(String, String, String)>,
) -> Response {
    kick_one(&shared, &format!("{app}/{instance}"), &stream)
}

fn kick_one(shared: &Shared, app: &str, name: &str) -> Response {
    let registry = &shared.context.registry;
    match registry.stream(app, name) {
        Some(stream) if registry.kick(&stream) => {
            tracing::info!(app, stream = name, "an operator disconnects the publisher");
            (StatusCode::ACCEPTED, "the publisher is being disconnected\n").into_response()
        }
        Some(_) => (StatusCode::NOT_FOUND, "nobody publishes this stream\n").into_response(),
        None => (StatusCode::NOT_FOUND, "no such stream\n").into_response(),
    }
}

/// Ends a stream.
pub(super) async fn end(
    State(shared): State<Shared>,
    Path((app, stream)): Path<(String, String)>,
) -> Response {
    end_one(&shared, &app, &stream)
}

/// The same where the app has two parts.
pub(super) async fn end_of_instance(
    State(shared): State<Shared>,
    Path((app, instance, stream)): Path<(String, String, String)>,
) -> Response {
    end_one(&shared, &format!("{app}/{instance}"), &stream)
}

fn end_one(shared: &Shared, app: &str, name: &str) -> Response {
    let Some(stream) = shared.context.registry.stream(app, name) else {
        return (StatusCode::NOT_FOUND, "no such stream\n").into_response();
    };
    tracing::info!(app, stream = name, "an operator ends the stream");
    shared.context.registry.end_stream(&stream);
    (StatusCode::ACCEPTED, "the stream is being ended\n").into_response()
}

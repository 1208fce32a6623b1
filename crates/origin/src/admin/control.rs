//! What operators do to streams. `DELETE` alone: no page of another origin can send it without a preflight, which nothing here answers.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Shared;

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

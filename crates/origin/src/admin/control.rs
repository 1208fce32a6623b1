//! What operators do. Streams are ended by `DELETE`, and metadata comes as `POST` of JSON: no page of another origin can send either
//! without a preflight, which nothing here answers. It can send a plain `POST`, and says then that it is a page.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use headwater_packager::CueRefusal;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use crate::cues::Request;
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

/// Where something was inserted.
#[derive(Debug, Serialize)]
struct Inserted {
    /// On the stream's media clock, 90 kHz: the `tfdt` of video counts it, and MPEG-TS modulo 2^33.
    media_time: i64,
    /// EXT-X-PROGRAM-DATE-TIME of that moment.
    date: String,
}

/// Inserts timed metadata.
pub(super) async fn insert(
    State(shared): State<Shared>,
    Path((app, stream)): Path<(String, String)>,
    Json(request): Json<Request>,
) -> Response {
    insert_one(&shared, &app, &stream, request).await
}

/// The same where the app has two parts.
pub(super) async fn insert_of_instance(
    State(shared): State<Shared>,
    Path((app, instance, stream)): Path<(String, String, String)>,
    Json(request): Json<Request>,
) -> Response {
    insert_one(&shared, &format!("{app}/{instance}"), &stream, request).await
}

async fn insert_one(shared: &Shared, app: &str, name: &str, request: Request) -> Response {
    let Some(stream) = shared.context.registry.stream(app, name) else {
        return (StatusCode::NOT_FOUND, "no such stream\n").into_response();
    };
    let (cue, ahead) = match request.cue() {
        Ok(cue) => cue,
        Err(invalid) => return (StatusCode::UNPROCESSABLE_ENTITY, format!("{invalid}\n")).into_response(),
    };
    match stream.insert(cue, ahead).await {
        Ok(place) => {
            let media_time = place.media_time.ticks();
            tracing::info!(app, stream = name, media_time, "an operator inserts timed metadata");
            Json(Inserted { media_time, date: place.date.to_string() }).into_response()
        }
        Err(refusal) => {
            let status = match refusal {
                CueRefusal::NotLive | CueRefusal::NotAnnounced | CueRefusal::IdTaken => StatusCode::CONFLICT,
                CueRefusal::TooMuch => StatusCode::TOO_MANY_REQUESTS,
            };
            let hint = if refusal == CueRefusal::NotAnnounced { " (packaging.timed_metadata)" } else { "" };
            (status, format!("{refusal}{hint}\n")).into_response()
        }
    }
}

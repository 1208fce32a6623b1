//! The admin listener's token: whoever can be reached by others asks everybody for it.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::keys::equal;
use crate::config::{InForce, Secret};

/// Answers without a token: what watches over processes can often show none, and these say nothing but whether one lives.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Lets a request pass that shows `admin.token` as it is now (RFC 6750 2.1), or when there is none to show.
pub async fn require(State(config): State<InForce>, request: Request, next: Next) -> Response {
    let token = config.now().admin.token.clone();
    if token.is_empty() || OPEN.contains(&request.uri().path()) || shows(&request, &token) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
    (StatusCode::UNAUTHORIZED, challenge, "admin.token is needed: Authorization: Bearer TOKEN\n")
        .into_response()
}

fn shows(request: &Request, token: &Secret) -> bool {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let shown = value.to_str().ok().and_then(|value| value.split_once(' '));
    shown.is_some_and(|(scheme, shown)| scheme.eq_ignore_ascii_case("bearer") && equal(token.expose(), shown))
}

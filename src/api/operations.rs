//! For operations: health, readiness, metrics.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::error::ApiError;
use crate::telemetry;

/// The process runs.
#[utoipa::path(get, path = "/healthz", tag = "operations", security(()), responses((status = 200, description = "It runs", body = String, content_type = "text/plain")))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The server can take work: its heartbeat is fresh, so the database answers.
#[utoipa::path(get, path = "/readyz", tag = "operations", security(()), responses(
    (status = 200, description = "Ready", body = String, content_type = "text/plain"),
    (status = 503, description = "The database does not answer, or a stop has begun", body = super::Problem),
))]
pub(super) async fn readyz(State(api): State<Api>) -> Response {
    if api.dispatcher.is_fresh() && !api.dispatcher.is_stopping() {
        (StatusCode::OK, "ready\n").into_response()
    } else {
        ApiError::Unavailable.into_response()
    }
}

/// Prometheus metrics.
#[utoipa::path(get, path = "/metrics", tag = "operations", security(()), responses(
    (status = 200, description = "Metrics in the Prometheus text format", body = String, content_type = "text/plain"),
))]
pub(super) async fn metrics() -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], telemetry::metrics::render()).into_response()
}

//! What an API call can fail with: one enum, one problem document (RFC 9457).

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::intake::IntakeError;
use crate::secrets::SecretError;
use crate::sessions::ingest::IngestError;

/// A failed call. The code is part of the API: never rename one.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{field}: {message}")]
    InvalidBody { field: String, message: String },
    #[error("{field}: {message}")]
    InvalidParameter { field: &'static str, message: String },
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    #[error("send Content-Type: application/json")]
    UnsupportedMediaType,
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error("send Authorization: Bearer with a valid API key")]
    Unauthorized,
    #[error("too many failed authentications from this address")]
    TooManyFailedLogins,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("no {what} has this id")]
    NotFound { what: &'static str },
    #[error("there is nothing at this path")]
    NoSuchPath,
    #[error("this path does not answer to that method")]
    MethodNotAllowed,
    #[error("{what} has this id already")]
    IdTaken { what: &'static str },
    #[error("{0}")]
    InUse(&'static str),
    #[error("this message id and part were used with another body in the last 48 hours")]
    MessageIdReused,
    #[error("this Idempotency-Key was used with another request in the last 48 hours")]
    IdempotencyKeyReused,
    #[error("too many deliveries of this app are waiting; nothing was stored")]
    TooManyWaiting,
    #[error("too many requests wait for their commit; nothing was stored")]
    Overloaded,
    #[error("the database is not available; send the same request again")]
    Unavailable,
    #[error("the request took too long; send the same request again")]
    TimedOut,
    #[error("the request could not be completed")] // the caller never sees the source; the log does
    Database(#[source] sqlx::Error),
    #[error("the request could not be completed")]
    Secret(#[from] SecretError),
    #[error("the request could not be completed")]
    Internal(&'static str),
}

/// The problem document.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `/problems/` and the code.
    #[schema(example = "/problems/invalid-body")]
    pub r#type: String,
    #[schema(example = "Invalid body")]
    pub title: &'static str,
    #[schema(example = 400)]
    pub status: u16,
    pub detail: String,
    /// The fields that are wrong, where the problem is about fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
}

/// One wrong field.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldProblem {
    /// Where it is, e.g. `to[3].user_id`.
    pub field: String,
    pub message: String,
}

impl ApiError {
    /// Status, code and title.
    const fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidBody { .. } => (StatusCode::BAD_REQUEST, "invalid-body", "Invalid body"),
            Self::InvalidParameter { .. } => (StatusCode::BAD_REQUEST, "invalid-parameter", "Invalid parameter"),
            Self::NotJson(_) => (StatusCode::BAD_REQUEST, "not-json", "Not JSON"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type")
            }
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized"),
            Self::TooManyFailedLogins => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-failed-logins", "Too many failed authentications")
            }
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden", "Forbidden"),
            Self::NotFound { .. } => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "no-such-path", "No such path"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
            Self::IdTaken { .. } => (StatusCode::CONFLICT, "id-taken", "Id taken"),
            Self::InUse(_) => (StatusCode::CONFLICT, "in-use", "Still in use"),
            Self::MessageIdReused => (StatusCode::CONFLICT, "message-id-reused", "Message id reused"),
            Self::IdempotencyKeyReused => (StatusCode::CONFLICT, "idempotency-key-reused", "Idempotency-Key reused"),
            Self::TooManyWaiting => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-waiting-deliveries", "Too many waiting deliveries")
            }
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Overloaded"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "database-unavailable", "Database unavailable"),
            Self::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, "timed-out", "Timed out"),
            Self::Database(_) | Self::Secret(_) | Self::Internal(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error")
            }
        }
    }

    /// When the caller may come again, in seconds.
    pub(super) const fn retry_after_s(&self) -> Option<u16> {
        match self {
            Self::Overloaded | Self::Unavailable | Self::TimedOut => Some(1),
            Self::TooManyWaiting => Some(10),
            Self::TooManyFailedLogins => Some(60),
            _ => None,
        }
    }

    /// The status that it is answered with.
    pub(super) const fn status(&self) -> StatusCode {
        self.parts().0
    }

    /// Tells the operator of what is the server's own fault.
    pub(super) fn log(&self) {
        if self.status() == StatusCode::INTERNAL_SERVER_ERROR {
            // Display only: the debug form of a database error holds the row, and with it tokens.
            tracing::error!(error = self as &dyn std::error::Error, "request failed");
        }
    }

    fn fields(&self) -> Vec<FieldProblem> {
        match self {
            Self::InvalidBody { field, message } => {
                vec![FieldProblem { field: field.clone(), message: message.clone() }]
            }
            Self::InvalidParameter { field, message } => {
                vec![FieldProblem { field: (*field).to_owned(), message: message.clone() }]
            }
            _ => Vec::new(),
        }
    }

    /// The document.
    pub fn problem(&self) -> Problem {
        let (status, code, title) = self.parts();
        Problem {
            r#type: format!("/problems/{code}"),
            title,
            status: status.as_u16(),
            detail: self.to_string(),
            errors: self.fields(),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        let is_away = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            // 08 connection, 53 resources, 57 operator intervention (shutdown, starting up, statement time-out)
            sqlx::Error::Database(database) => {
                database.code().is_some_and(|code| ["08", "53", "57"].iter().any(|class| code.starts_with(class)))
            }
            _ => false,
        };
        if is_away {
            tracing::warn!(%error, "the database is not available");
            Self::Unavailable
        } else {
            Self::Database(error)
        }
    }
}

impl From<IngestError> for ApiError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Overloaded => Self::Overloaded,
            IngestError::Stopping => Self::Unavailable,
            IngestError::Database(error) => error.into(),
        }
    }
}

impl From<IntakeError> for ApiError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Overloaded => Self::Overloaded,
            IntakeError::TooManyWaiting => Self::TooManyWaiting,
            IntakeError::Unavailable => Self::Unavailable,
            IntakeError::Refused => Self::Internal("the database refused a notification"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        self.log();
        let mut response = (status, Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(axum::http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_field() {
        let error = ApiError::InvalidBody { field: "to[3].user_id".to_owned(), message: "must be ...".to_owned() };
        insta::assert_json_snapshot!(error.problem(), @r#"
        {
          "type": "/problems/invalid-body",
          "title": "Invalid body",
          "status": 400,
          "detail": "to[3].user_id: must be ...",
          "errors": [
            {
              "field": "to[3].user_id",
              "message": "must be ..."
            }
          ]
        }
        "#);
    }

    #[test]
    fn overload_says_when_to_come_again_and_hides_nothing_else() {
        let response = ApiError::Overloaded.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        let database = ApiError::Database(sqlx::Error::RowNotFound);
        assert_eq!(database.problem().detail, "the request could not be completed");
    }
}

//! `Idempotency-Key`: the same write sent again answers what it answered the first time.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use serde::Serialize;
use utoipa::IntoParams;

use super::error::ApiError;
use super::{Api, Caller};
use crate::secrets::sha256;
use crate::store;
use crate::store::idempotency::Answered;

/// The header, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "documents the header, which the extractor reads")]
pub(super) struct IdempotencyHeader {
    /// Printable ASCII. The same request with the same key is answered as the first time, for 48 hours.
    #[param(rename = "Idempotency-Key", value_type = String, required = false, min_length = 1, max_length = 128)]
    idempotency_key: Option<String>,
}

/// The header, if sent.
pub(super) struct IdempotencyKey(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        match value.to_str() {
            Ok(key) if (1..=128).contains(&key.len()) => Ok(Self(Some(key.to_owned()))),
            _ => Err(ApiError::InvalidParameter {
                field: "Idempotency-Key",
                message: "must be 1 to 128 printable ASCII characters".to_owned(),
            }),
        }
    }
}

impl IdempotencyKey {
    /// What was answered before to the same request of this caller.
    /// # Errors
    /// `idempotency-key-reused` when the request was another one.
    pub(super) async fn replay(&self, api: &Api, caller: &Caller, request: &str) -> Result<Option<Response>, ApiError> {
        let Some(key) = &self.0 else { return Ok(None) };
        let since = api.clock.now() - TimeDelta::hours(48);
        match store::idempotency::find(&api.database.api, caller.0.key_id, key, since).await? {
            None => Ok(None),
            Some(before) if before.request_hash == sha256(request.as_bytes()) => {
                let status = u16::try_from(before.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
                Ok(Some((status.unwrap_or(StatusCode::OK), Json(before.answer)).into_response()))
            }
            Some(_) => Err(ApiError::IdempotencyKeyReused),
        }
    }

    /// Keeps an answer in the transaction of its write. `answer` must hold no secret.
    pub(super) async fn keep(
        &self,
        api: &Api,
        caller: &Caller,
        transaction: &mut sqlx::PgConnection,
        request: &str,
        answer: &impl Serialize,
    ) -> Result<(), ApiError> {
        let Some(key) = &self.0 else { return Ok(()) };
        let answered = Answered {
            request_hash: sha256(request.as_bytes()).to_vec(),
            status: i32::from(StatusCode::CREATED.as_u16()),
            answer: serde_json::to_value(answer).map_err(|_| ApiError::Internal("an answer is not JSON"))?,
        };
        let now = api.clock.now();
        if store::idempotency::insert(transaction, caller.0.key_id, key, &answered, now).await? {
            Ok(())
        } else {
            // A twin of this request is a moment ahead; this one changes nothing.
            Err(ApiError::Unavailable)
        }
    }
}

//! Pages by cursor.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::ApiError;

const DEFAULT_LIMIT: u16 = 50;
const MAX_LIMIT: u16 = 200;

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// `next` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Rows of a page, 1 to 200; 50 if not given.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u16>,
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    pub items: Vec<T>,
    /// The cursor of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The rows of a page, in range.
pub(super) fn checked_limit(limit: Option<u16>) -> Result<usize, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) {
        Ok(usize::from(limit))
    } else {
        Err(ApiError::InvalidParameter { field: "limit", message: format!("must be 1 to {MAX_LIMIT}") })
    }
}

/// Reads a cursor made by [`cursor`].
pub(super) fn position<T: std::str::FromStr>(cursor: Option<&str>) -> Result<Option<T>, ApiError> {
    let Some(cursor) = cursor else { return Ok(None) };
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| text.parse().ok())
        .map(Some)
        .ok_or_else(|| ApiError::InvalidParameter { field: "cursor", message: "is not one of ours".to_owned() })
}

/// A cursor for a position; opaque to callers.
pub(super) fn cursor(position: impl std::fmt::Display) -> String {
    URL_SAFE_NO_PAD.encode(position.to_string())
}

impl<T> Page<T> {
    /// From one row more than a page holds: the surplus row only tells that there is a next page.
    pub(super) fn new(mut items: Vec<T>, limit: usize, position: impl Fn(&T) -> String) -> Self {
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(|last| cursor(position(last)));
        Self { items, next }
    }
}

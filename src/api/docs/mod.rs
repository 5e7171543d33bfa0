//! `/docs`: the API document as a page to read. Made on the server from the document itself, so that it works without
//! JavaScript, loads nothing from elsewhere and cannot fall behind.

mod fields;
mod html;
mod page;
mod sample;

use std::sync::LazyLock;

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::response::{IntoResponse, Response};

/// The page needs its style sheet and nothing else; no text of it could become a script.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Made once: the document does not change while the program runs.
static PAGE: LazyLock<String> =
    LazyLock::new(|| page::page(&serde_json::to_value(super::openapi_document()).unwrap_or_default()));

/// The page.
pub(super) async fn serve() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, PAGE.as_str()).into_response()
}

/// Its style sheet.
pub(super) async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("style.css")).into_response()
}

//! The checks every call passes first: method, content type, JSON, and whose access token it shows.

use axum::http::Method;

use super::answer::Refusal;
use super::wire::Vivo;
use crate::simulator::access_tokens::Shown;
use crate::simulator::json::{self, Members};
use crate::simulator::text::utf16_len;
use crate::simulator::wire::Request;

/// The longest `requestId`, in UTF-16 units.
const MAX_REQUEST_ID: usize = 64;

/// The JSON object of the call. `Content-Encoding: UTF-8`, which the vendor's SDK sends, means nothing.
pub(super) fn object(request: &Request) -> Result<Members, Refusal> {
    if request.method != Method::POST {
        return Err(Refusal::new(405, "the method is not POST"));
    }
    if !request.is_json() {
        return Err(Refusal::new(415, "the content type is not JSON in UTF-8"));
    }
    json::parse(&request.body).ok_or(Refusal::new(400, "the body is not a JSON object in UTF-8"))
}

/// The request's own name, without which nothing is sent.
pub(super) fn request_id(request_id: Option<&str>) -> Result<&str, Refusal> {
    let id = request_id.filter(|id| !id.is_empty()).ok_or(Refusal::new(10_303, "requestId is missing"))?;
    if utf16_len(id) > MAX_REQUEST_ID {
        return Err(Refusal::new(10_304, "requestId over 64 characters"));
    }
    Ok(id)
}

/// The app whose access token the call shows; an `appId` in the body has to be the same.
pub(super) fn app_id(vivo: &Vivo, request: &Request, in_body: Option<i64>) -> Result<u64, Refusal> {
    let token = request.header("authToken").ok_or(Refusal::new(10_000, "no authToken header"))?;
    let owner = match vivo.access_tokens.judge(token, request.at_ms) {
        Shown::Live(owner) => owner,
        Shown::Expired => return Err(Refusal::new(10_000, "the authToken is expired")),
        Shown::Unknown => return Err(Refusal::new(10_000, "the authToken is unknown")),
    };
    if in_body.is_some_and(|id| id.to_string() != owner) {
        return Err(Refusal::new(10_094, "appId is not the token's app"));
    }
    owner.parse().map_err(|_| Refusal::new(10_000, "the authToken is unknown"))
}

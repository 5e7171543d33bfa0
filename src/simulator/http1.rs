//! Requests over HTTP/1.1 and cleartext HTTP/2, by axum.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use axum::http::{Response, StatusCode};
use futures_util::stream;

use super::exchange::{Desk, Ending, MAX_BODY_BYTES};
use super::line::Hangup;
use super::wire::{Answer, Request};

pub(super) async fn handle(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(hangup): ConnectInfo<Hangup>,
    request: axum::extract::Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        let mut response = Response::new(Body::from("the body is over 1 MiB"));
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return response;
    };
    let request = Request::new(parts, body, (desk.shared.now)());
    if let Some(answer) = desk.control(&request) {
        return whole(answer);
    }
    let response = match desk.react(&request).await {
        Ending::Whole(answer) => whole(answer),
        Ending::Slow(answer, pause) => in_parts(&answer, pause, usize::MAX),
        Ending::CutShort(answer) => in_parts(&answer, Duration::ZERO, answer.body.len() / 2),
        Ending::Reset | Ending::RefuseStream | Ending::GoAway(..) | Ending::Lost => {
            hangup.reset();
            // Never written: the connection is already gone.
            Response::new(Body::empty())
        }
    };
    if let Some(latency) = desk.shared.faults.draw_latency() {
        tokio::time::sleep(latency).await;
    }
    response
}

fn whole(answer: Answer) -> Response<Body> {
    let mut response = head(&answer);
    *response.body_mut() = Body::from(answer.body);
    response
}

/// The head at once, then at most `bytes` of the body. When that is not all, hyper ends the connection because the rest
/// never comes.
fn in_parts(answer: &Answer, pause: Duration, bytes: usize) -> Response<Body> {
    let mut response = head(answer);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
    let sent = answer.body.get(..bytes).map_or_else(|| Bytes::from(answer.body.clone()), Bytes::copy_from_slice);
    let parts = stream::unfold(Some(sent), move |sent| async move {
        let Some(sent) = sent else {
            // Long enough for hyper to write out what came before.
            tokio::time::sleep(Duration::from_millis(5)).await;
            return None;
        };
        tokio::time::sleep(pause).await;
        Some((Ok::<_, Infallible>(sent), None))
    });
    *response.body_mut() = Body::from_stream(parts);
    response
}

fn head(answer: &Answer) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status;
    fill_headers(answer, response.headers_mut());
    response
}

/// The headers of an answer, in the order vendor's own, `Content-Type`, `Retry-After`.
pub(super) fn fill_headers(answer: &Answer, headers: &mut axum::http::HeaderMap) {
    for (name, value) in &answer.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(content_type) = answer.content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if let Some(Ok(value)) = answer.retry_after.as_deref().map(HeaderValue::from_str) {
        headers.insert(RETRY_AFTER, value);
    }
}

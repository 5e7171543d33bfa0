//! The way of one request: read it, ask the fault script, let the vendor answer, write it down.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{Response, StatusCode};
use futures_util::stream;

use super::clock::Now;
use super::control;
use super::fault::{Fault, FaultScript, Misbehaviour};
use super::inbox::Inboxes;
use super::ledger::{Ledger, Spoiled};
use super::line::Hangup;
use super::wire::{Answer, Request, Wire};

/// The largest body read: a form with 1,000 tokens is about 100 kB.
const MAX_BODY_BYTES: usize = 1 << 20;

/// What every vendor's stand-in has: clock, faults, devices, calls.
pub struct Shared {
    /// The simulator's clock.
    pub now: Now,
    /// What goes wrong next.
    pub faults: FaultScript,
    /// The devices behind the vendor.
    pub inboxes: Inboxes,
    /// What was called.
    pub ledger: Ledger,
}

impl Shared {
    /// With `counters_only`, for load: neither notifications nor calls are kept.
    pub fn new(now: Now, counters_only: bool) -> Self {
        Self {
            now,
            faults: FaultScript::default(),
            inboxes: Inboxes::new(counters_only),
            ledger: Ledger::new(counters_only),
        }
    }
}

pub(super) struct Desk {
    pub(super) vendor: Arc<dyn Wire>,
    pub(super) shared: Arc<Shared>,
}

pub(super) async fn handle(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(hangup): ConnectInfo<Hangup>,
    request: axum::extract::Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY_BYTES).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "the body is over 1 MiB");
    };
    let request = Request::new(parts, body, (desk.shared.now)());
    if let Some(command) = request.path.strip_prefix("/_sim/") {
        return control::answer(command, &request, &desk);
    }
    let response = match desk.shared.faults.take(|| desk.vendor.tokens(&request)) {
        None => whole(desk.work(&request)),
        Some(fault) => desk.misbehave(&request, &fault, &hangup).await,
    };
    if let Some(latency) = desk.shared.faults.draw_latency() {
        tokio::time::sleep(latency).await;
    }
    response
}

impl Desk {
    /// Lets the vendor answer.
    fn work(&self, request: &Request) -> Answer {
        let answer = self.vendor.answer(request);
        self.shared.ledger.answered(request, self.vendor.endpoint(&request.path), &answer);
        answer
    }

    async fn misbehave(&self, request: &Request, fault: &Fault, hangup: &Hangup) -> Response<Body> {
        let worked = fault.is_after_accepting().then(|| self.vendor.answer(request));
        let accepted = worked.as_ref().map_or(0, |answer| answer.accepted);
        let spoil = |status, code: Option<&Cow<'static, str>>| {
            let endpoint = self.vendor.endpoint(&request.path);
            self.shared.ledger.spoiled(request, endpoint, &Spoiled { status, code, accepted });
        };
        match fault.misbehaviour() {
            Misbehaviour::Status { status, body, retry_after } => {
                spoil(Some(*status), None);
                let kind = match body.as_bytes().first() {
                    Some(b'<') => "text/html",
                    Some(b'{') => "application/json",
                    _ => "text/plain",
                };
                // A number that is no HTTP status was refused where the fault was made; 500 is only a fallback.
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut response = plain(status, kind, body.clone());
                put_retry_after(&mut response, retry_after.as_deref());
                response
            }
            Misbehaviour::Text(text) => {
                spoil(Some(200), None);
                plain(StatusCode::OK, "text/plain", text.clone())
            }
            Misbehaviour::Empty => {
                spoil(Some(200), None);
                Response::new(Body::empty())
            }
            Misbehaviour::Truncated => {
                spoil(Some(200), None);
                cut_short(&worked.unwrap_or_else(|| self.vendor.refuse(request, "1", None)))
            }
            Misbehaviour::Reset => {
                spoil(None, None);
                hangup.reset();
                // Never written: the connection is already gone.
                Response::new(Body::empty())
            }
            Misbehaviour::Code { code, reason } => {
                let answer = self.vendor.refuse(request, code, reason.as_deref());
                spoil(Some(answer.status.as_u16()), Some(&answer.code));
                whole(answer)
            }
            Misbehaviour::Hang(how_long) => {
                if how_long.is_none() || worked.is_some() {
                    spoil(None, None);
                }
                match how_long {
                    Some(time) => tokio::time::sleep(*time).await,
                    None => std::future::pending().await,
                }
                whole(worked.unwrap_or_else(|| self.work(request)))
            }
        }
    }
}

fn whole(answer: Answer) -> Response<Body> {
    let mut response = plain(answer.status, answer.content_type, answer.body);
    put_retry_after(&mut response, answer.retry_after.as_deref());
    response
}

fn put_retry_after(response: &mut Response<Body>, value: Option<&str>) {
    if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
}

/// The head and half the body of an answer; hyper then ends the connection because the rest never comes.
fn cut_short(answer: &Answer) -> Response<Body> {
    let length = answer.body.len();
    let half = Bytes::copy_from_slice(answer.body.get(..length / 2).unwrap_or_default());
    let parts = stream::unfold(Some(half), |half| async move {
        let Some(half) = half else {
            // Long enough for hyper to write out the first half.
            tokio::time::sleep(Duration::from_millis(5)).await;
            return None;
        };
        Some((Ok::<_, Infallible>(half), None))
    });
    let mut response = Response::new(Body::from_stream(parts));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

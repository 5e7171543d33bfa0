//! The way of one request, whatever carries it: ask the fault script, let the vendor answer, write it down.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;

use super::clock::Now;
use super::control;
use super::fault::{Fault, FaultScript, GoAway, Latency, Misbehaviour};
use super::inbox::Inboxes;
use super::ledger::{Ledger, Spoiled};
use super::wire::{Answer, Request, Wire};

/// The largest body read: a form with 1,000 tokens is about 100 kB.
pub(super) const MAX_BODY_BYTES: usize = 1 << 20;

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
    /// With `counters_only`, for load: neither notifications nor calls are kept. The latency is added from the start.
    pub fn new(now: Now, counters_only: bool, latency: Latency) -> Self {
        let faults = FaultScript::default();
        faults.set_latency(latency);
        Self { now, faults, inboxes: Inboxes::new(counters_only), ledger: Ledger::new(counters_only) }
    }
}

pub(super) struct Desk {
    pub(super) vendor: Arc<dyn Wire>,
    pub(super) shared: Arc<Shared>,
}

/// How a request ends; each carrier does it in its own way.
#[derive(Debug)]
pub(super) enum Ending {
    /// The answer as it is.
    Whole(Answer),
    /// The head, and the body after a pause.
    Slow(Answer, Duration),
    /// The head and the first half of the body.
    CutShort(Answer),
    /// The TCP connection is torn down.
    Reset,
    /// The stream is refused, unprocessed.
    RefuseStream,
    /// The connection ends in order, this request with its true answer, or unprocessed.
    GoAway(GoAway, Option<Answer>),
    /// The connection went away before the request was processed: nobody answers it.
    Lost,
}

impl Desk {
    /// The answer of the control interface, when the request is for it.
    pub(super) fn control(&self, request: &Request) -> Option<Answer> {
        let command = request.path.strip_prefix("/_sim/")?;
        Some(control::answer(command, request, self))
    }

    /// Answers a request to the vendor, or misbehaves as the script says.
    pub(super) async fn react(&self, request: &Request) -> Ending {
        match self.shared.faults.take(|| self.vendor.tokens(request)) {
            None => self.work(request),
            Some(fault) => self.misbehave(request, &fault).await,
        }
    }

    /// Lets the vendor answer.
    fn work(&self, request: &Request) -> Ending {
        let Some(answer) = self.process(request) else { return Ending::Lost };
        self.shared.ledger.answered(request, self.vendor.endpoint(&request.path), &answer);
        Ending::Whole(answer)
    }

    /// `None` when the connection went away first. While this runs it cannot.
    fn process(&self, request: &Request) -> Option<Answer> {
        let Some(admission) = &request.admission else { return Some(self.vendor.answer(request)) };
        let _open = admission.enter()?;
        Some(self.vendor.answer(request))
    }

    async fn misbehave(&self, request: &Request, fault: &Fault) -> Ending {
        let worked = if fault.is_after_accepting() {
            let Some(answer) = self.process(request) else { return Ending::Lost };
            Some(answer)
        } else {
            None
        };
        let accepted = worked.as_ref().map_or(0, |answer| answer.accepted);
        let spoil = |status, code: Option<&Cow<'static, str>>| {
            let endpoint = self.vendor.endpoint(&request.path);
            self.shared.ledger.spoiled(request, endpoint, &Spoiled { status, code, accepted });
        };
        match fault.misbehaviour() {
            Misbehaviour::Status { status, body, retry_after } => {
                spoil(Some(*status), None);
                // A number that is no HTTP status was refused where the fault was made; 500 is only a fallback.
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let retry_after = retry_after.clone();
                Ending::Whole(Answer { status, retry_after, ..text(body, kind_of(body)) })
            }
            Misbehaviour::Text(body) => {
                spoil(Some(200), None);
                Ending::Whole(text(body, "text/plain"))
            }
            Misbehaviour::Empty => {
                spoil(Some(200), None);
                Ending::Whole(Answer::default())
            }
            Misbehaviour::Truncated => {
                spoil(Some(200), None);
                Ending::CutShort(worked.unwrap_or_else(|| self.vendor.refuse(request, "1", None)))
            }
            Misbehaviour::Reset => {
                spoil(None, None);
                Ending::Reset
            }
            Misbehaviour::RefuseStream => {
                spoil(None, None);
                Ending::RefuseStream
            }
            Misbehaviour::GoAway(how) if how.last_stream.is_none() => {
                let Some(answer) = worked.or_else(|| self.process(request)) else { return Ending::Lost };
                self.shared.ledger.answered(request, self.vendor.endpoint(&request.path), &answer);
                Ending::GoAway(how.clone(), Some(answer))
            }
            Misbehaviour::GoAway(how) => {
                spoil(None, None);
                Ending::GoAway(how.clone(), None)
            }
            Misbehaviour::Code { code, reason } => {
                let answer = self.vendor.refuse(request, code, reason.as_deref());
                spoil(Some(answer.status.as_u16()), Some(&answer.code));
                Ending::Whole(answer)
            }
            Misbehaviour::SlowCode { code, pause } => {
                let answer = self.vendor.refuse(request, code, None);
                spoil(Some(answer.status.as_u16()), Some(&answer.code));
                Ending::Slow(answer, *pause)
            }
            Misbehaviour::Hang(how_long) => {
                if how_long.is_none() || worked.is_some() {
                    spoil(None, None);
                }
                match how_long {
                    Some(time) => tokio::time::sleep(*time).await,
                    None => std::future::pending().await,
                }
                worked.map_or_else(|| self.work(request), Ending::Whole)
            }
        }
    }
}

fn text(body: &str, content_type: &'static str) -> Answer {
    Answer { content_type: Some(content_type), body: body.as_bytes().to_vec(), ..Answer::default() }
}

fn kind_of(body: &str) -> &'static str {
    match body.as_bytes().first() {
        Some(b'<') => "text/html",
        Some(b'{') => "application/json",
        _ => "text/plain",
    }
}

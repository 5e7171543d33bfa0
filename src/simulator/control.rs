//! The control interface under `/_sim/`: JSON for shells and for tests in other processes.
//!
//! | call | does |
//! |---|---|
//! | `GET /_sim/state` | counters, how old deliveries were when they came, faults, marked tokens |
//! | `GET /_sim/inbox?token=T` | what a device received and what it shows |
//! | `GET /_sim/calls?last=N` | the newest requests (20 unless told) with headers and form |
//! | `POST /_sim/tokens` | `{"tokens": ["t"], "state": "dead", "region": "in"}`, also `app` and `since_ms` |
//! | `POST /_sim/faults` | `{"answer": {"status": {"status": 503}}, "times": 2, "token": "t"}`, `{"latency_ms": [20, 40]}` |
//! | | `answer` is `{"status": ..}`, `{"code": {"code": "Shutdown"}}`, `{"slow_code": {"code": "Shutdown", "ms": 50}}`, |
//! | | `{"text": ".."}`, `"truncated"`, `"empty"`, `"reset"`, `{"hang": {"ms": 50}}`, and over HTTP/2 `"refuse_stream"`, |
//! | | `{"go_away": {"last_stream": 0, "debug": ".."}}` |
//! | `DELETE /_sim/faults` | ends all faults and the latency |
//! | `POST /_sim/<thing>` | what the vendor's stand-in can be taught: `apps`, `channels`, `keys`, `connections`, ... |
//!
//! What is refused answers 4xx with `{"error": "<why>"}`.

use axum::http::header::HeaderValue;
use axum::http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::exchange::Desk;
use super::fault::{Fault, GoAway, Latency, Misbehaviour};
use super::form::Form;
use super::inbox::TokenState;
use super::wire::{Answer, Request};

pub(super) fn answer(command: &str, request: &Request, desk: &Desk) -> Answer {
    let (status, value) = match run(command, request, desk) {
        Ok(value) => (StatusCode::OK, value),
        Err((status, why)) => (status, json!({ "error": why })),
    };
    let body = format!("{value}\n").into_bytes();
    Answer { status, content_type: Some("application/json"), body, ..Answer::default() }
}

type Refused = (StatusCode, String);

fn run(command: &str, request: &Request, desk: &Desk) -> Result<Value, Refused> {
    let shared = &desk.shared;
    match (request.method.clone(), command) {
        (Method::GET, "state") => Ok(state(desk)),
        (Method::GET, "inbox") => {
            let token = query(request, "token")?.ok_or_else(|| bad("name the device: ?token=T"))?;
            Ok(json!({ "received": shared.inboxes.received(&token), "shown": shared.inboxes.shown(&token) }))
        }
        (Method::GET, "calls") => {
            let last = query(request, "last")?.map_or(Ok(20), |last| last.parse());
            Ok(json!({ "calls": shared.ledger.last_calls(last.map_err(|_| bad("last is not a number"))?) }))
        }
        (Method::POST, "tokens") => {
            let marks: Marks = parse(request)?;
            for token in &marks.tokens {
                if let Some(state) = marks.state {
                    shared.inboxes.mark(token, state);
                }
                if let Some(region) = &marks.region {
                    shared.inboxes.set_region(token, region);
                }
                if let Some(app) = &marks.app {
                    shared.inboxes.set_app(token, app);
                }
                if let Some(since_ms) = marks.since_ms {
                    shared.inboxes.mark_since(token, since_ms);
                }
            }
            Ok(json!({ "tokens": marks.tokens.len() }))
        }
        (Method::POST, "faults") => {
            let order: Order = parse(request)?;
            if let Some(latency) = order.latency_ms {
                shared.faults.set_latency(latency.into());
            }
            if let Some(fault) = order.fault()? {
                shared.faults.add(fault);
            }
            Ok(faults(desk))
        }
        (Method::DELETE, "faults") => {
            shared.faults.clear();
            Ok(faults(desk))
        }
        (Method::POST, thing) => match desk.vendor.teach(thing, &request.body) {
            Some(taught) => taught.map(|()| desk.vendor.state()).map_err(bad),
            None => Err(unknown(desk, thing)),
        },
        (_, other) => Err(unknown(desk, other)),
    }
}

fn unknown(desk: &Desk, command: &str) -> Refused {
    let kind = desk.vendor.kind();
    (StatusCode::NOT_FOUND, format!("the {kind} simulator has no {command:?} for this method under /_sim/"))
}

fn bad(why: impl Into<String>) -> Refused {
    (StatusCode::BAD_REQUEST, why.into())
}

fn parse<T: DeserializeOwned>(request: &Request) -> Result<T, Refused> {
    read(&request.body).map_err(bad)
}

/// Reads a JSON body; the message of an error names the field.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let mut json = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut json).map_err(|error| error.to_string())
}

fn query(request: &Request, name: &str) -> Result<Option<String>, Refused> {
    let query = request.query.as_deref().unwrap_or_default();
    let form = Form::parse(query.as_bytes()).map_err(|error| bad(error.to_string()))?;
    Ok(form.filled(name).map(ToOwned::to_owned))
}

fn state(desk: &Desk) -> Value {
    let shared = &desk.shared;
    json!({
        "vendor": desk.vendor.kind(),
        "endpoints": shared.ledger.endpoints(),
        "inbox": shared.inboxes.counts(),
        "ages_ms": shared.inboxes.ages_ms(),
        "tokens": shared.inboxes.marked(),
        "faults": faults(desk),
        desk.vendor.kind(): desk.vendor.state(),
    })
}

fn faults(desk: &Desk) -> Value {
    let (queued, standing) = desk.shared.faults.counts();
    let Latency { min_ms, max_ms } = desk.shared.faults.latency();
    json!({ "queued": queued, "standing": standing, "latency_ms": [min_ms, max_ms] })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Marks {
    tokens: Vec<String>,
    state: Option<TokenState>,
    region: Option<String>,
    app: Option<String>,
    since_ms: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    answer: Option<Answered>,
    /// Absent: until the faults are cleared.
    times: Option<u32>,
    token: Option<String>,
    #[serde(default)]
    after_accepting: bool,
    latency_ms: Option<Delay>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Delay {
    Fixed(u64),
    Range([u64; 2]),
}

impl From<Delay> for Latency {
    fn from(delay: Delay) -> Self {
        match delay {
            Delay::Fixed(ms) => Self::fixed(ms),
            Delay::Range([min_ms, max_ms]) => Self { min_ms, max_ms },
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Answered {
    Status {
        status: u16,
        #[serde(default)]
        body: String,
        retry_after: Option<String>,
    },
    Text(String),
    Truncated,
    Empty,
    Reset,
    /// Without `ms`: for ever.
    Hang {
        ms: Option<u64>,
    },
    Code {
        code: Code,
        reason: Option<String>,
    },
    SlowCode {
        code: Code,
        ms: u64,
    },
    RefuseStream,
    GoAway {
        /// Absent: all streams that came so far are still processed.
        last_stream: Option<u32>,
        #[serde(default)]
        error_code: u32,
        #[serde(default)]
        debug: String,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Number(i64),
    Text(String),
}

impl Code {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

impl Order {
    fn fault(self) -> Result<Option<Fault>, Refused> {
        let Some(answer) = self.answer else {
            return match self.latency_ms {
                Some(_) => Ok(None),
                None => Err(bad("say what goes wrong: answer, latency_ms or both")),
            };
        };
        let what = match answer {
            Answered::Status { status: 200..=599, ref retry_after, .. }
                if retry_after.as_ref().is_some_and(|value| HeaderValue::from_str(value).is_err()) =>
            {
                return Err(bad("retry_after is no header value"));
            }
            Answered::Status { status: status @ 200..=599, body, retry_after } => {
                Misbehaviour::Status { status, body, retry_after }
            }
            Answered::Status { status, .. } => return Err(bad(format!("{status} is not a status of 200 to 599"))),
            Answered::Text(text) => Misbehaviour::Text(text),
            Answered::Truncated => Misbehaviour::Truncated,
            Answered::Empty => Misbehaviour::Empty,
            Answered::Reset => Misbehaviour::Reset,
            Answered::Hang { ms } => Misbehaviour::Hang(ms.map(std::time::Duration::from_millis)),
            Answered::Code { code, reason } => Misbehaviour::Code { code: code.text().into(), reason },
            Answered::SlowCode { code, ms } => {
                Misbehaviour::SlowCode { code: code.text().into(), pause: std::time::Duration::from_millis(ms) }
            }
            Answered::RefuseStream => Misbehaviour::RefuseStream,
            Answered::GoAway { last_stream, error_code, debug } => {
                Misbehaviour::GoAway(GoAway { last_stream, error_code, debug })
            }
        };
        let mut fault =
            self.times.map_or_else(|| Fault::always(what.clone()), |times| Fault::times(what.clone(), times));
        if let Some(token) = self.token {
            fault = fault.for_token(token);
        }
        Ok(Some(if self.after_accepting { fault.after_accepting() } else { fault }))
    }
}

//! What was called: the last requests in full, and counters per endpoint.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use serde::{Serialize, Serializer};

use super::wire::{Answer, Request};

/// How many calls are kept, the newest ones.
const MAX_CALLS: usize = 10_000;
/// How many bytes of bodies are kept, so that calls with 1,000 targets each stay bounded too.
const MAX_BYTES: usize = 64 << 20;

/// One request and how it was answered.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// When it was read, epoch milliseconds of the simulator's clock.
    pub at_ms: i64,
    /// The HTTP method.
    pub method: String,
    /// The scheme, where the request names it.
    pub scheme: Option<String>,
    /// The authority, where the request target names it; `host` is among the headers.
    pub authority: Option<String>,
    /// The path without the query.
    pub path: String,
    /// All headers, names in lower case, values that are not UTF-8 replaced.
    pub headers: Vec<(String, String)>,
    /// The decoded form fields in order; empty when the body is no form.
    pub form: Vec<(String, String)>,
    /// The raw body. Shown as a text when it is JSON.
    #[serde(serialize_with = "json_text", skip_serializing_if = "is_no_json")]
    pub body: Bytes,
    /// The HTTP status; `None` when a scripted fault left it without one.
    pub status: Option<u16>,
    /// The vendor's code, as text; `None` when a scripted fault took its place.
    pub code: Option<Cow<'static, str>>,
    /// What the vendor lets pass but its document warns of.
    pub warnings: Vec<String>,
    /// The vendor's own headers of the answer; none when a scripted fault took its place.
    pub answer_headers: Vec<(&'static str, String)>,
    /// The body of the answer; empty when a scripted fault took its place.
    #[serde(serialize_with = "json_text", skip_serializing_if = "is_no_json")]
    pub answer_body: Bytes,
}

impl Call {
    /// The whole exchange as a text: the request's pseudo headers, headers and body, then the answer.
    pub fn transcript(&self) -> String {
        let line = |name: &str, value: &str| format!("{name}: {value}\n");
        let named = |name, value: &Option<String>| value.as_ref().map_or_else(String::new, |value| line(name, value));
        let body = |bytes: &Bytes| format!("\n{}\n", String::from_utf8_lossy(bytes));
        let status = self.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let mut parts = vec![line(":method", &self.method), named(":scheme", &self.scheme)];
        parts.extend([named(":authority", &self.authority), line(":path", &self.path)]);
        parts.extend(self.headers.iter().map(|(name, value)| line(name, value)));
        parts.extend([body(&self.body), "\n".to_owned(), line(":status", &status)]);
        parts.extend(self.answer_headers.iter().map(|(name, value)| line(name, value)));
        parts.push(body(&self.answer_body));
        parts.concat()
    }

    /// The first value of a form field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str())
    }

    /// A header's value; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|pair| pair.0 == name).map(|pair| pair.1.as_str())
    }
}

fn is_no_json(body: &Bytes) -> bool {
    body.first() != Some(&b'{')
}

fn json_text<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(body))
}

/// Counters of one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EndpointCounts {
    /// Requests read, scripted faults included.
    pub requests: u64,
    /// Device tokens that were taken.
    pub accepted: u64,
    /// Requests refused by a rule of the vendor's document, by code and rule: `10017 title too long`.
    pub refused: BTreeMap<String, u64>,
    /// Requests answered by a scripted fault.
    pub faults: u64,
    /// Warnings recorded.
    pub warnings: u64,
}

/// The calls of one simulator.
#[derive(Debug)]
pub struct Ledger {
    counters_only: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: VecDeque<Call>,
    bytes: usize,
    endpoints: BTreeMap<&'static str, EndpointCounts>,
}

impl Ledger {
    /// With `counters_only` the calls themselves are not kept.
    pub fn new(counters_only: bool) -> Self {
        Self { counters_only, state: Mutex::default() }
    }

    /// The last 10,000 calls (and at most 64 MiB of bodies), oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.iter().cloned().collect()
    }

    /// The newest `last` calls, oldest first.
    pub fn last_calls(&self, last: usize) -> Vec<Call> {
        let state = self.lock();
        state.calls.iter().skip(state.calls.len().saturating_sub(last)).cloned().collect()
    }

    /// The counters by endpoint.
    pub fn endpoints(&self) -> BTreeMap<&'static str, EndpointCounts> {
        self.lock().endpoints.clone()
    }

    /// Requests read, all endpoints together.
    pub fn requests(&self) -> u64 {
        self.lock().endpoints.values().map(|endpoint| endpoint.requests).sum()
    }

    /// Records a request that the vendor answered itself.
    pub(super) fn answered(&self, request: &Request, endpoint: &'static str, answer: &Answer) {
        let call = self.keep(request, Some(answer.status.as_u16()), Some(&answer.code)).map(|call| Call {
            warnings: answer.warnings.clone(),
            answer_headers: answer.headers.clone(),
            answer_body: Bytes::copy_from_slice(&answer.body),
            ..call
        });
        self.record(call, endpoint, |counts| {
            counts.accepted += answer.accepted as u64;
            counts.warnings += answer.warnings.len() as u64;
            if let Some(rule) = answer.broken_rule {
                *counts.refused.entry(format!("{} {rule}", answer.code)).or_default() += 1;
            }
        });
    }

    /// Records a request that a scripted fault answered; `accepted` when the vendor first did what was asked.
    pub(super) fn spoiled(&self, request: &Request, endpoint: &'static str, how: &Spoiled<'_>) {
        let call = self.keep(request, how.status, how.code);
        self.record(call, endpoint, |counts| {
            counts.faults += 1;
            counts.accepted += how.accepted as u64;
        });
    }

    fn keep(&self, request: &Request, status: Option<u16>, code: Option<&Cow<'static, str>>) -> Option<Call> {
        let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        (!self.counters_only).then(|| Call {
            at_ms: request.at_ms,
            method: request.method.to_string(),
            scheme: request.target.0.clone(),
            authority: request.target.1.clone(),
            path: request.path.clone(),
            headers: request.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            form: if is_no_json(&request.body) {
                request.form().map(|form| form.pairs().to_vec()).unwrap_or_default()
            } else {
                Vec::new()
            },
            body: request.body.clone(),
            status,
            code: code.cloned(),
            warnings: Vec::new(),
            answer_headers: Vec::new(),
            answer_body: Bytes::new(),
        })
    }

    fn record(&self, call: Option<Call>, endpoint: &'static str, count: impl FnOnce(&mut EndpointCounts)) {
        let mut state = self.lock();
        let counts = state.endpoints.entry(endpoint).or_default();
        counts.requests += 1;
        count(counts);
        let Some(call) = call else { return };
        state.bytes += call.body.len() + call.answer_body.len();
        state.calls.push_back(call);
        while state.calls.len() > MAX_CALLS || state.bytes > MAX_BYTES {
            let Some(oldest) = state.calls.pop_front() else { break };
            state.bytes -= oldest.body.len() + oldest.answer_body.len();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a scripted fault answered.
#[derive(Debug, Default)]
pub(super) struct Spoiled<'a> {
    pub(super) status: Option<u16>,
    pub(super) code: Option<&'a Cow<'static, str>>,
    pub(super) accepted: usize,
}

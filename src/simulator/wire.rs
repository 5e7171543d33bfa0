//! What one vendor's stand-in is asked and what it answers.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::http::{Extensions, HeaderMap, Method, StatusCode};
use serde::Serialize;

use super::form::{Form, FormError};
use super::http2::{Admission, Connection};

/// One HTTP request as it came off the wire, its body read to the end.
#[derive(Debug)]
pub struct Request {
    /// The HTTP method.
    pub method: Method,
    /// The scheme and the authority, as far as the request target names them: always in HTTP/2, hardly ever in HTTP/1.1.
    pub target: (Option<String>, Option<String>),
    /// The path without the query.
    pub path: String,
    /// The query, without the question mark.
    pub query: Option<String>,
    /// All headers.
    pub headers: HeaderMap,
    /// The raw body, at most 1 MiB.
    pub body: Bytes,
    /// When it was read, by the simulator's clock.
    pub at_ms: i64,
    /// What the vendor remembers of the connection, put there by [`Wire::greet`].
    pub memory: Extensions,
    pub(super) admission: Option<Admission>,
    form: OnceLock<Result<Form, FormError>>,
}

impl Request {
    pub(super) fn new(parts: axum::http::request::Parts, body: Bytes, at_ms: i64) -> Self {
        Self {
            target: (parts.uri.scheme_str().map(Into::into), parts.uri.authority().map(|name| name.as_str().into())),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(ToOwned::to_owned),
            method: parts.method,
            headers: parts.headers,
            body,
            at_ms,
            memory: parts.extensions,
            admission: None,
            form: OnceLock::new(),
        }
    }

    /// The same request with the right to be processed, which a connection that goes away takes back.
    pub(super) fn admitted(mut self, admission: Admission) -> Self {
        self.admission = Some(admission);
        self
    }

    /// A header's value, `None` when it is absent or not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether its content type says: a form in UTF-8.
    pub fn is_form(&self) -> bool {
        is_utf_8(self.header("content-type").unwrap_or_default(), "application/x-www-form-urlencoded")
    }

    /// Whether its content type says: JSON in UTF-8.
    pub fn is_json(&self) -> bool {
        is_utf_8(self.header("content-type").unwrap_or_default(), "application/json")
    }

    /// The body as form fields, decoded once. The content type is the vendor's to check.
    ///
    /// # Errors
    /// [`FormError`], also for a body that was never meant to be a form.
    pub fn form(&self) -> Result<&Form, FormError> {
        self.form.get_or_init(|| Form::parse(&self.body)).as_ref().map_err(|error| *error)
    }
}

/// What a vendor answers, with what the ledger wants to know about it.
#[derive(Debug, Default)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The `Content-Type` header; `None` for an answer without a body.
    pub content_type: Option<&'static str>,
    /// The `Retry-After` header.
    pub retry_after: Option<String>,
    /// The vendor's own headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The vendor's code, as text.
    pub code: Cow<'static, str>,
    /// How many targets the vendor took.
    pub accepted: usize,
    /// The rule the request broke, for the counters: one of a small closed set.
    pub broken_rule: Option<&'static str>,
    /// What the vendor lets pass but its document warns of.
    pub warnings: Vec<String>,
}

impl Answer {
    /// JSON, with the vendor's code for the ledger.
    pub(super) fn json(
        status: StatusCode,
        content_type: &'static str,
        code: impl Into<Cow<'static, str>>,
        body: &impl Serialize,
    ) -> Self {
        Self {
            status,
            content_type: Some(content_type),
            // Vendors' answers are structs and maps of texts and numbers, which always serialise.
            body: serde_json::to_vec(body).unwrap_or_default(),
            code: code.into(),
            ..Self::default()
        }
    }

    /// A web server's page, for what its vendor's protocol has no answer for.
    pub(super) fn page(status: StatusCode, text: &str) -> Self {
        Self {
            status,
            content_type: Some("text/html"),
            body: format!("<html><body><h1>{} {text}</h1></body></html>", status.as_str()).into_bytes(),
            code: status.as_str().to_owned().into(),
            ..Self::default()
        }
    }

    /// The answer of a path the vendor does not serve.
    pub(super) fn not_found() -> Self {
        Self { broken_rule: Some("unknown path"), ..Self::page(StatusCode::NOT_FOUND, "Not Found") }
    }

    /// The answer of a path under another method than POST.
    pub(super) fn not_allowed() -> Self {
        Self {
            headers: vec![("allow", "POST".to_owned())],
            broken_rule: Some("the method is not POST"),
            ..Self::page(StatusCode::METHOD_NOT_ALLOWED, "Not Allowed")
        }
    }
}

/// The HTTP status behind a code that is one of an error, for vendors whose own codes are others.
pub(super) fn error_status(code: i64) -> Option<StatusCode> {
    u16::try_from(code).ok().filter(|code| (400..=599).contains(code)).and_then(|code| StatusCode::from_u16(code).ok())
}

/// One vendor's protocol.
pub trait Wire: Send + Sync + 'static {
    /// The vendor kind, as in Rouse's configuration: `xiaomi`.
    fn kind(&self) -> &'static str;

    /// The name an endpoint has in the counters: one of a small closed set, whatever the path.
    fn endpoint(&self, path: &str) -> &'static str;

    /// Checks a request and does what it asks.
    fn answer(&self, request: &Request) -> Answer;

    /// The vendor's own error answer with this code; without a reason its usual one.
    fn refuse(&self, request: &Request, code: &str, reason: Option<&str>) -> Answer;

    /// The device tokens a request names, without judging it.
    fn tokens(&self, request: &Request) -> Vec<String>;

    /// A connection was opened, by HTTP/2 over TLS only: what the vendor remembers of it goes into every request on it.
    fn greet(&self, _: &Arc<Connection>) -> Extensions {
        Extensions::new()
    }

    /// `POST /_sim/<thing>`: tells the stand-in about an app, a channel. `None`: this vendor has no such thing.
    fn teach(&self, thing: &str, body: &[u8]) -> Option<Result<(), String>>;

    /// What `GET /_sim/state` shows of this vendor beside the shared counters.
    fn state(&self) -> serde_json::Value;
}

/// Whether a content type is this one, in UTF-8 where it says in what.
fn is_utf_8(content_type: &str, wanted: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    kind.eq_ignore_ascii_case(wanted)
        && parts.all(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            !name.trim().eq_ignore_ascii_case("charset") || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_in_utf_8_is_recognised_by_its_content_type() {
        let cases = [
            ("application/x-www-form-urlencoded", true),
            ("application/x-www-form-urlencoded;charset=UTF-8", true),
            ("Application/X-WWW-Form-Urlencoded; charset=\"utf-8\"", true),
            ("application/x-www-form-urlencoded; charset=gbk", false),
            ("application/x-www-form-urlencoded2", false),
            ("application/json", false),
            ("", false),
        ];
        for (content_type, wanted) in cases {
            assert_eq!(is_utf_8(content_type, "application/x-www-form-urlencoded"), wanted, "{content_type}");
        }
    }
}

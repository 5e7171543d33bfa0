//! The demo's own client: it uses the REST API as any customer's server would.

use std::time::Duration;

use serde_json::Value;

use super::DemoError;
use crate::vendor::http::{HttpOptions, client};

/// One API key at one server.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base_url: String,
    key: String,
}

/// A status and a JSON body; `Null` where the body is none.
pub(super) struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Client {
    pub(super) fn new(base_url: String, key: &str) -> Result<Self, DemoError> {
        let options = HttpOptions {
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            idle_connections: 64,
            extra_ca_file: None,
        };
        Ok(Self { http: client(&options)?, base_url, key: key.to_owned() })
    }

    /// The same connections with another key.
    pub(super) fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Answer, reqwest::Error> {
        self.send(self.http.post(format!("{}{path}", self.base_url)).json(body)).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Answer, reqwest::Error> {
        self.send(self.http.put(format!("{}{path}", self.base_url)).json(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.bearer_auth(&self.key).send().await?;
        let status = response.status().as_u16();
        let body = response.bytes().await?;
        Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
    }
}

impl Answer {
    /// The body of a success; anything else is an error that names what was tried.
    pub(super) fn success(self, what: &'static str) -> Result<Value, DemoError> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let detail = self.body.get("detail").and_then(Value::as_str).unwrap_or("no details").to_owned();
        Err(DemoError::Refused { what, status: self.status, detail })
    }
}

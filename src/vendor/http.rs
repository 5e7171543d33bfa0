//! The one HTTP client builder for vendor calls, and the one reader of their answers.

use std::path::Path;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode};

use super::outcome::{Outcome, Reason};

/// The most of an answer that is read.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// How vendor connections are made.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    pub connect_timeout: Duration,
    /// From the first byte sent to the last byte read.
    pub call_timeout: Duration,
    /// Idle connections kept per host.
    pub idle_connections: usize,
}

/// What can be wrong with the extra root certificates.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    #[error("cannot read {path}: {source}")]
    ReadCa { path: String, source: std::io::Error },
    #[error("no usable HTTP client: {0}")]
    Build(#[from] reqwest::Error),
}

/// Builds a client: no redirects (a host never comes from an answer), no proxy from the environment, TCP without Nagle.
/// `extra_ca_file`: PEM certificates trusted besides the system's.
/// # Errors
/// An unreadable or malformed certificate file.
pub fn client(options: &HttpOptions, extra_ca_file: Option<&Path>) -> Result<Client, HttpClientError> {
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(options.connect_timeout)
        .timeout(options.call_timeout)
        .pool_max_idle_per_host(options.idle_connections)
        .pool_idle_timeout(Duration::from_mins(1))
        .http1_only();
    if let Some(path) = extra_ca_file {
        let pem = std::fs::read(path)
            .map_err(|source| HttpClientError::ReadCa { path: path.display().to_string(), source })?;
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(&pem)?);
    }
    Ok(builder.build()?)
}

/// A vendor's answer, bounded.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

impl Reply {
    /// Sends a request and reads its answer.
    /// # Errors
    /// An [`Outcome`]: `timed_out`, or `unreachable` for every other failure to get a whole answer.
    pub async fn fetch(request: RequestBuilder) -> Result<Self, Outcome> {
        let response = request.send().await.map_err(|error| failure(&error))?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let body = bounded_body(response).await?;
        Ok(Self { status, retry_after, body })
    }
}

async fn bounded_body(mut response: Response) -> Result<Vec<u8>, Outcome> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Outcome::new(Reason::Unrecognised).with_code("answer over 1 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `Retry-After` in seconds; the date form is not used by any vendor and is ignored.
fn retry_after(response: &Response) -> Option<Duration> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn failure(error: &reqwest::Error) -> Outcome {
    let (reason, code) = if error.is_timeout() {
        (Reason::TimedOut, "no answer in time")
    } else if error.is_connect() {
        (Reason::Unreachable, "no connection")
    } else {
        (Reason::Unreachable, "connection broke")
    };
    Outcome::new(reason).with_code(code)
}

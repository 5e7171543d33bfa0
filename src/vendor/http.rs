//! Clients for vendor calls by HTTP/1.1, and what an answer is; HTTP/2 has its own in [`http2`](super::http2).

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, Response, StatusCode};

use super::outcome::{Outcome, Reason};
use super::tls::TlsError;

/// The most of an answer that is read.
pub(super) const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// How vendor connections are made.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    pub connect_timeout: Duration,
    /// From the first byte sent to the last byte read.
    pub call_timeout: Duration,
    /// Idle connections kept per host.
    pub idle_connections: usize,
    /// PEM certificates trusted besides the system's.
    pub extra_ca_file: Option<PathBuf>,
}

/// What can be wrong with the extra root certificates.
#[derive(Debug, thiserror::Error)]
pub enum HttpClientError {
    #[error("cannot read {path}: {source}")]
    ReadCa { path: String, source: std::io::Error },
    #[error("no usable HTTP client: {0}")]
    Build(#[from] reqwest::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("not a host: {0}")]
    Host(String),
}

/// Builds an HTTP/1.1 client.
/// # Errors
/// An unreadable or malformed certificate file.
pub fn client(options: &HttpOptions) -> Result<Client, HttpClientError> {
    let builder = bare(options)?
        .pool_max_idle_per_host(options.idle_connections)
        .pool_idle_timeout(Duration::from_mins(1))
        .http1_only();
    Ok(builder.build()?)
}

/// No redirects (a host never comes from an answer), no proxy from the environment, TCP without Nagle.
fn bare(options: &HttpOptions) -> Result<ClientBuilder, HttpClientError> {
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(options.connect_timeout)
        .timeout(options.call_timeout);
    if let Some(path) = &options.extra_ca_file {
        let pem = std::fs::read(path)
            .map_err(|source| HttpClientError::ReadCa { path: path.display().to_string(), source })?;
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(&pem)?);
    }
    Ok(builder)
}

/// A vendor's answer, bounded.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// No whole answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// `timed_out`, or `unreachable` for every other failure.
    pub outcome: Outcome,
    /// The server said that it did not look at the request (HTTP/2 `GOAWAY`, `REFUSED_STREAM`): safe to send again at once.
    pub is_unprocessed: bool,
}

impl Failure {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self { outcome, is_unprocessed: false }
    }
}

impl Reply {
    /// Sends a request and reads its answer.
    pub async fn fetch(request: RequestBuilder) -> Result<Self, Failure> {
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let body = bounded_body(response).await?;
        Ok(Self { status, headers, body })
    }

    /// `Retry-After` in seconds; the date form is not used by any vendor and is ignored.
    pub fn retry_after(&self) -> Option<Duration> {
        self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
    }
}

async fn bounded_body(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Failure::new(Outcome::new(Reason::Unrecognised).with_code("answer over 1 MiB")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn failure(error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::new(Outcome::new(Reason::TimedOut).with_code("no answer in time"));
    }
    let unreachable = |code: &str| Outcome::new(Reason::Unreachable).with_code(code);
    if error.is_connect() {
        return Failure::new(unreachable("no connection"));
    }
    Failure::new(unreachable("connection broke"))
}

//! One HTTP/2 connection to one host, over TLS or plain: kept open for days, asked by PING whether it is alive, made anew when
//! it broke. It resends nothing by itself: the adapter decides. Directly on `h2`, since a general client costs more than the
//! rest of a push.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{SendRequest, handshake};
use h2::{Ping, PingPong};
use http::header::CONTENT_LENGTH;
use http::{Request, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::http::{Failure, MAX_ANSWER_BYTES, Reply};
use super::outcome::{Outcome, Reason};

/// Other senders ask every 15 to 60 s; a dead connection is found this much and the next later.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a connection goes, and how.
pub struct Endpoint {
    /// `host:port`, as the TCP connection takes it.
    address: String,
    /// `None`: plain TCP.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    connect_timeout: Duration,
    call_timeout: Duration,
}

impl Endpoint {
    /// For an `https://` or `http://` address; `None` for one that is neither.
    pub fn new(base_url: &str, tls: TlsConnector, connect_timeout: Duration, call_timeout: Duration) -> Option<Self> {
        let uri: Uri = base_url.parse().ok()?;
        let is_tls = uri.scheme_str()? == "https";
        let host = uri.host()?;
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).ok()?;
        let tls = is_tls.then_some((tls, name));
        Some(Self { address: format!("{host}:{port}"), tls, connect_timeout, call_timeout })
    }

    async fn connect(&self) -> Option<SendRequest<Bytes>> {
        let connect = async {
            let tcp = TcpStream::connect(&self.address).await.ok()?;
            tcp.set_nodelay(true).ok()?;
            match &self.tls {
                Some((tls, name)) => speak(tls.connect(name.clone(), tcp).await.ok()?).await,
                None => speak(tcp).await,
            }
        };
        tokio::time::timeout(self.connect_timeout, connect).await.ok()?
    }
}

async fn speak<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: T) -> Option<SendRequest<Bytes>> {
    let (requests, mut connection) = handshake(io).await.ok()?;
    let pings = connection.ping_pong();
    // Ends with the last handle and the last answer, or when the connection breaks; without an answer to a PING it is dropped,
    // and whatever waits on it fails.
    tokio::spawn(async move {
        tokio::select! {
            ended = connection => if let Err(error) = ended {
                tracing::debug!(%error, "a vendor connection ended");
            },
            () = silence(pings) => tracing::debug!("a vendor connection does not answer"),
        }
    });
    Some(requests)
}

/// Returns when a PING got no answer.
async fn silence(pings: Option<PingPong>) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        tokio::time::sleep(PING_EVERY).await;
        if !matches!(tokio::time::timeout(PING_TIMEOUT, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}

/// See the module. Opened when it is first used.
#[derive(Debug)]
pub struct Http2 {
    endpoint: Arc<Endpoint>,
    requests: RwLock<Option<SendRequest<Bytes>>>,
    /// Only one opens it; those who waited for a try that failed make none of their own.
    opening: tokio::sync::Mutex<()>,
    tries: AtomicU64,
}

impl Http2 {
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, requests: RwLock::default(), opening: tokio::sync::Mutex::default(), tries: AtomicU64::new(0) }
    }

    /// Sends a request with an absolute URI and reads its answer, in the time of a call.
    pub async fn fetch(&self, request: Request<Bytes>) -> Result<Reply, Failure> {
        match tokio::time::timeout(self.endpoint.call_timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::new(Outcome::new(Reason::TimedOut).with_code("no answer in time"))),
        }
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Reply, Failure> {
        let (mut parts, body) = request.into_parts();
        parts.headers.insert(CONTENT_LENGTH, body.len().into());
        let mut requests = self.ready().await?;
        // A connection that ends at this moment has taken nothing.
        let unsent = |error: h2::Error| Failure { is_unprocessed: true, ..failure(&error) };
        let (answer, mut stream) =
            requests.send_request(Request::from_parts(parts, ()), body.is_empty()).map_err(unsent)?;
        // Other requests may have their turn while this answer is waited for.
        drop(requests);
        if !body.is_empty() {
            stream.send_data(body, true).map_err(|error| failure(&error))?;
        }
        let (parts, mut body) = answer.await.map_err(|error| failure(&error))?.into_parts();
        let mut read = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.map_err(|error| failure(&error))?;
            if read.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(Failure::new(Outcome::new(Reason::Unrecognised).with_code("answer over 1 MiB")));
            }
            read.extend_from_slice(&chunk);
            body.flow_control().release_capacity(chunk.len()).map_err(|error| failure(&error))?;
        }
        Ok(Reply { status: parts.status, headers: parts.headers, body: read })
    }

    /// A handle that may open a stream now: on the connection there is, or on a new one.
    async fn ready(&self) -> Result<SendRequest<Bytes>, Failure> {
        if let Some(open) = self.current()
            && let Ok(ready) = open.ready().await
        {
            return Ok(ready);
        }
        let tries = self.tries.load(Ordering::Acquire);
        let _turn = self.opening.lock().await;
        // Somebody else has tried meanwhile.
        if let Some(open) = self.current()
            && let Ok(ready) = open.ready().await
        {
            return Ok(ready);
        }
        if self.tries.load(Ordering::Acquire) == tries {
            let opened = self.endpoint.connect().await;
            self.tries.fetch_add(1, Ordering::Release);
            self.requests.write().unwrap_or_else(PoisonError::into_inner).clone_from(&opened);
            if let Some(open) = opened
                && let Ok(ready) = open.ready().await
            {
                return Ok(ready);
            }
        }
        Err(Failure::new(Outcome::new(Reason::Unreachable).with_code("no connection")))
    }

    fn current(&self) -> Option<SendRequest<Bytes>> {
        self.requests.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("address", &self.address).finish_non_exhaustive()
    }
}

fn failure(error: &h2::Error) -> Failure {
    let unreachable = |code: &str| Outcome::new(Reason::Unreachable).with_code(code);
    if error.is_remote() && error.is_go_away() {
        return Failure { outcome: unreachable("GOAWAY"), is_unprocessed: true };
    }
    if error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM) {
        return Failure { outcome: unreachable("REFUSED_STREAM"), is_unprocessed: true };
    }
    Failure::new(unreachable(if error.is_remote() && error.is_reset() { "RST_STREAM" } else { "connection broke" }))
}

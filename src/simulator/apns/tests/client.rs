//! A client that sends exactly what it is told, by the `h2` crate.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::{APNS_ID, ApnsCertificate, ApnsSimulator, TOKEN, TOPIC};

/// One open connection.
pub(super) struct Client {
    pub(super) send: SendRequest<Bytes>,
    /// Ends with the error that ended the connection.
    pub(super) end: JoinHandle<Result<(), h2::Error>>,
}

/// One request.
#[derive(Clone)]
pub(super) struct Push {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The reason of an error, "" of a success.
    pub(super) fn reason(&self) -> String {
        if self.body.is_empty() { String::new() } else { self.json()["reason"].as_str().unwrap().to_owned() }
    }
}

impl Push {
    /// The document's example.
    pub(super) fn new(jwt: &str) -> Self {
        let body = r#"{"aps":{"alert":{"title":"Alice","body":"晚上一起吃饭吗？"},"badge":3,"sound":"default","thread-id":"c1","mutable-content":1},"ext":"{\"conv\":\"c1\"}"}"#;
        let headers = [
            ("authorization", format!("bearer {jwt}")),
            ("apns-topic", TOPIC.into()),
            ("apns-push-type", "alert".into()),
            ("apns-priority", "10".into()),
            ("apns-expiration", "1790086400".into()),
            ("apns-collapse-id", "m-77".into()),
            ("apns-id", APNS_ID.into()),
            ("content-type", "application/json".into()),
        ];
        Self { method: "POST", path: format!("/3/device/{TOKEN}"), headers: headers.to_vec(), body: body.into() }
    }

    /// With a header in place of the one of its name; empty: without it.
    pub(super) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut push = self.clone();
        push.headers.retain(|header| header.0 != name);
        if !value.is_empty() {
            push.headers.push((name, value.to_owned()));
        }
        push
    }

    pub(super) fn and(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn body(&self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self.clone() }
    }

    pub(super) fn path(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }

    pub(super) fn to(&self, token: &str) -> Self {
        self.path(&format!("/3/device/{token}"))
    }
}

pub(super) fn tls_config(
    simulator: &ApnsSimulator,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
    certificate: Option<&ApnsCertificate>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(simulator.ca_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let chain = vec![CertificateDer::from(certificate.certificate_der().to_vec())];
            let key = PrivatePkcs8KeyDer::from(certificate.key_der().to_vec());
            builder.with_client_auth_cert(chain, key.into()).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

pub(super) fn addr(simulator: &ApnsSimulator) -> SocketAddr {
    simulator.url().rsplit_once("//").unwrap().1.parse().unwrap()
}

pub(super) async fn tls(
    simulator: &ApnsSimulator,
    config: Arc<ClientConfig>,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr(simulator)).await?;
    TlsConnector::from(config).connect(ServerName::try_from(name).unwrap(), stream).await
}

impl Client {
    pub(super) async fn connect(simulator: &ApnsSimulator) -> Self {
        Self::connect_with(simulator, None).await
    }

    pub(super) async fn connect_with(simulator: &ApnsSimulator, certificate: Option<&ApnsCertificate>) -> Self {
        let config = tls_config(simulator, &[&TLS13, &TLS12], &["h2"], certificate);
        let stream = tls(simulator, config, "127.0.0.1").await.unwrap();
        // One stream at a time until the server says otherwise, so that no test depends on a race.
        let handshake = h2::client::Builder::new().initial_max_send_streams(1).handshake::<_, Bytes>(stream).await;
        let (send, connection) = handshake.unwrap();
        Self { send, end: tokio::spawn(connection) }
    }

    /// Opens a stream, without waiting for its answer.
    pub(super) async fn open(&self, push: &Push) -> Result<ResponseFuture, h2::Error> {
        let uri = format!("https://127.0.0.1{}", push.path);
        let mut request = Request::builder().method(push.method).uri(uri);
        for (name, value) in &push.headers {
            request = request.header(*name, value);
        }
        let mut send = self.send.clone().ready().await?;
        let (response, mut body) = send.send_request(request.body(()).unwrap(), push.body.is_empty())?;
        if !push.body.is_empty() {
            body.send_data(push.body.clone().into(), true)?;
        }
        Ok(response)
    }

    pub(super) async fn send(&self, push: &Push) -> Reply {
        self.try_send(push).await.unwrap()
    }

    pub(super) async fn try_send(&self, push: &Push) -> Result<Reply, h2::Error> {
        read(self.open(push).await?).await
    }

    /// How many streams the server lets this client have open.
    pub(super) fn stream_limit(&self) -> usize {
        self.send.current_max_send_streams()
    }
}

pub(super) async fn read(response: ResponseFuture) -> Result<Reply, h2::Error> {
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        body.extend(part);
    }
    Ok(Reply { status: head.status.as_u16(), headers: head.headers, body: String::from_utf8(body).unwrap() })
}

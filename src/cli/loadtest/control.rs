//! Calls beside the load: the operator's to the server, and what server and stand-ins counted.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use serde_json::Value;

use super::Fallible;
use super::lag::Lags;
use super::programs::{Variables, variable};
use crate::vendor::http::{HttpOptions, client};
use crate::vendor::http2::{Endpoint, Http2};
use crate::vendor::tls::http2_connector;

/// See the module.
pub(super) struct Control {
    http: reqwest::Client,
    server: String,
    key: String,
    /// APNs' stand-in, and where its state is.
    apns: Option<(Http2, Uri)>,
}

impl Control {
    /// With the server's address and admin key, and the settings that point it at the stand-ins.
    pub(super) fn new(address: std::net::SocketAddr, key: &str, vendors: &Variables) -> Fallible<Self> {
        let extra_ca_file = vendors.get(&variable("vendors.extra_ca_file")).map(PathBuf::from);
        let options = HttpOptions {
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            idle_connections: 1,
            extra_ca_file,
        };
        let mut apns = None;
        if let Some(base_url) = vendors.get(&variable("vendors.apns.production")) {
            let tls = http2_connector(options.extra_ca_file.as_deref(), None)?;
            let endpoint = Endpoint::new(base_url, tls, options.connect_timeout, options.call_timeout)
                .ok_or("the stand-in's address is none")?;
            apns = Some((Http2::new(Arc::new(endpoint)), format!("{base_url}/_sim/state").parse()?));
        }
        let (server, key) = (format!("http://{address}"), key.to_owned());
        Ok(Self { http: client(&options)?, server, key, apns })
    }

    /// Posts to the server; anything but a success is an error.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Fallible<()> {
        let request = self.http.post(format!("{}{path}", self.server)).bearer_auth(&self.key).json(body);
        let response = request.send().await?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let detail = response.text().await?;
        Err(format!("POST {path} answered {status}: {detail}").into())
    }

    /// How long deliveries were on the way so far: as APNs' stand-in saw it, and as the server counts it.
    pub(super) async fn lags(&self) -> Fallible<Lags> {
        let mut lags = Lags::default();
        if let Some((apns, state)) = &self.apns {
            let mut request = Request::new(Bytes::new());
            state.clone_into(request.uri_mut());
            let reply = apns.fetch(request).await.map_err(|failure| format!("the stand-in: {failure:?}"))?;
            lags.read_ages(&serde_json::from_slice(&reply.body)?);
        }
        let metrics = self.http.get(format!("{}/metrics", self.server)).send().await?.text().await?;
        lags.read_metrics(&metrics);
        Ok(lags)
    }
}

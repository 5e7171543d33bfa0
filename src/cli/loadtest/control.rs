//! Calls beside the load: the operator's to the server, and what server and stand-ins counted.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::Fallible;
use super::lag::Lags;
use super::programs::{Variables, variable};
use crate::vendor::http::{HttpOptions, client, http2_client};

/// See the module.
pub(super) struct Control {
    http: reqwest::Client,
    /// For APNs' stand-in.
    http2: reqwest::Client,
    server: String,
    key: String,
    apns: Option<String>,
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
        Ok(Self {
            http: client(&options)?,
            http2: http2_client(&options, None)?,
            server: format!("http://{address}"),
            key: key.to_owned(),
            apns: vendors.get(&variable("vendors.apns.production")).cloned(),
        })
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
        if let Some(apns) = &self.apns {
            let state: Value = self.http2.get(format!("{apns}/_sim/state")).send().await?.json().await?;
            lags.read_ages(&state);
        }
        let metrics = self.http.get(format!("{}/metrics", self.server)).send().await?.text().await?;
        lags.read_metrics(&metrics);
        Ok(lags)
    }
}

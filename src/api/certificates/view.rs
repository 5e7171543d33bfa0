//! Certificates as the API shows them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::Api;
use crate::dispatcher::LaneStatus;
use crate::domain::certificate::{Certificate, CertificateState, VendorKind};
use crate::domain::id::{AppId, CertificateId};

/// A certificate without its secrets.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct CertificateView {
    pub certificate_id: CertificateId,
    pub app_id: AppId,
    pub vendor: VendorKind,
    pub name: String,
    pub package_name: String,
    /// What identifies the account at the vendor.
    #[schema(value_type = Object)]
    pub identifiers: Value,
    /// A digest of the secrets: the same secrets have the same one.
    pub fingerprint: String,
    #[schema(value_type = Object)]
    pub defaults: Value,
    pub rate_limit: Option<i32>,
    pub state: CertificateState,
    pub state_reason: Option<String>,
    pub state_since: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Why the server cannot use it, e.g. sealed with another master key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// How this instance's lane stands.
    pub lane: LaneView,
}

/// The deliveries of a certificate in memory, and what holds them up.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct LaneView {
    /// Deliveries in memory: waiting for their turn, or on the wire.
    pub held: usize,
    /// The vendor fails: calls stop, one probe at a time.
    pub breaker_open: bool,
    /// A burst of dead tokens: nothing is unbound until it passes or the certificate is resumed.
    pub prune_breaker_open: bool,
    /// The share of the rate limit in use; below 1 while the vendor complains.
    pub rate_share: f64,
    /// Message classes whose daily quota is spent.
    pub held_classes: Vec<HeldClass>,
}

/// A message class that waits for its quota.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct HeldClass {
    pub message_class: String,
    pub until: DateTime<Utc>,
}

impl From<LaneStatus> for LaneView {
    fn from(status: LaneStatus) -> Self {
        Self {
            held: status.held,
            breaker_open: status.breaker_open,
            prune_breaker_open: status.prune_breaker_open,
            rate_share: status.rate_share,
            held_classes: status
                .holds
                .into_iter()
                .map(|(message_class, until)| HeldClass { message_class, until })
                .collect(),
        }
    }
}

pub(super) fn view(api: &Api, certificate: &Certificate) -> CertificateView {
    CertificateView {
        certificate_id: certificate.certificate_id,
        app_id: certificate.app_id,
        vendor: certificate.vendor,
        name: certificate.name.clone(),
        package_name: certificate.package_name.clone(),
        identifiers: certificate.identifiers.clone(),
        fingerprint: certificate.fingerprint.clone(),
        defaults: certificate.defaults.clone(),
        rate_limit: certificate.rate_limit,
        state: certificate.state,
        state_reason: certificate.state_reason.clone(),
        state_since: certificate.state_since,
        created_at: certificate.created_at,
        updated_at: certificate.updated_at,
        unusable: api
            .directory
            .snapshot()
            .certificates
            .get(&certificate.certificate_id)
            .and_then(|entry| entry.adapter.as_ref().err().cloned()),
        lane: api.dispatcher.lane_status(certificate.certificate_id).into(),
    }
}

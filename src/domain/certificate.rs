//! Vendor accounts.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::id::{AppId, CertificateId};

/// The push services. The names are stored, shown and used in configuration and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VendorKind {
    Apns,
    Xiaomi,
    Huawei,
    Harmony,
    Honor,
    Meizu,
    Vivo,
    Oppo,
    Fcm,
}

impl VendorKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Apns,
        Self::Xiaomi,
        Self::Huawei,
        Self::Harmony,
        Self::Honor,
        Self::Meizu,
        Self::Vivo,
        Self::Oppo,
        Self::Fcm,
    ];

    /// The name everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Apns => "apns",
            Self::Xiaomi => "xiaomi",
            Self::Huawei => "huawei",
            Self::Harmony => "harmony",
            Self::Honor => "honor",
            Self::Meizu => "meizu",
            Self::Vivo => "vivo",
            Self::Oppo => "oppo",
            Self::Fcm => "fcm",
        }
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl std::fmt::Display for VendorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a certificate is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CertificateState {
    Active,
    /// By an operator.
    Paused,
    /// By the server, because the vendor refused it.
    Refused,
}

impl CertificateState {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Refused => "refused",
        }
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Active, Self::Paused, Self::Refused].into_iter().find(|state| state.as_str() == name)
    }
}

/// A certificate as stored, its secrets still sealed.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub certificate_id: CertificateId,
    pub app_id: AppId,
    pub vendor: VendorKind,
    pub name: String,
    pub package_name: String,
    /// What identifies the account at the vendor and is no secret.
    pub identifiers: serde_json::Value,
    pub sealed: Vec<u8>,
    /// Which master key sealed it.
    pub key_id: String,
    /// A short digest of the secrets, for an operator to compare.
    pub fingerprint: String,
    /// Channel, template and the like, used where a message says nothing.
    pub defaults: serde_json::Value,
    /// A second, in the vendor's unit; `None`: the lowest tier of the vendor's document.
    pub rate_limit: Option<i32>,
    pub state: CertificateState,
    /// Why it is paused or refused.
    pub state_reason: Option<String>,
    pub state_since: DateTime<Utc>,
    pub revision: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

//! Apps with their Tencent callbacks, certificates and API keys in memory, on every instance: read by every request and
//! every call, reloaded whole when one of them changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use secrecy::SecretString;
use tokio::sync::{Mutex, Notify};

use crate::domain::certificate::{Certificate, CertificateState};
use crate::domain::id::{AppId, CertificateId};
use crate::secrets::{SealedFor, Sealer, SecretError};
use crate::store::api_keys::ApiKey;
use crate::store::apps::App;
use crate::store::line::{STATEMENT_LIMIT, WORK_LIMIT, bounded};
use crate::store::tencent_callbacks::StoredCallback;
use crate::store::{self, Database};
use crate::vendor::Vendor;
use crate::vendor::registry::Registry;

/// A certificate with its adapter.
pub struct Entry {
    pub certificate: Certificate,
    /// `Err`: why it cannot be used.
    pub adapter: Result<Arc<dyn Vendor>, String>,
}

impl Entry {
    /// The adapter, if the certificate may be sent with.
    pub fn ready(&self) -> Option<&Arc<dyn Vendor>> {
        self.adapter.as_ref().ok().filter(|_| self.certificate.state == CertificateState::Active)
    }

    /// Whether its vendor shows a badge. Deliveries with different badges cannot share a call, so one is kept only where it is
    /// sent.
    pub fn uses_badge(&self) -> bool {
        self.adapter.as_ref().is_ok_and(|vendor| vendor.limits().uses_badge)
    }
}

/// An app's Tencent callback.
pub struct TencentCallback {
    pub fingerprint: String,
    /// What signs the calls. `None`: it does not open with this server's master key, so that nobody can sign.
    pub token: Option<SecretString>,
    revision: i64,
}

/// One consistent view.
#[derive(Default)]
pub struct Snapshot {
    pub apps: HashMap<AppId, Arc<App>>,
    pub certificates: HashMap<CertificateId, Arc<Entry>>,
    keys: HashMap<[u8; 32], Arc<ApiKey>>,
    tencent_callbacks: HashMap<AppId, Arc<TencentCallback>>,
}

impl Snapshot {
    /// An app's certificate; another app's does not exist for it.
    pub fn certificate_of(&self, app_id: AppId, certificate_id: CertificateId) -> Option<&Arc<Entry>> {
        self.certificates.get(&certificate_id).filter(|entry| entry.certificate.app_id == app_id)
    }

    /// The key with this hash, if it was not revoked.
    pub fn key(&self, hash: &[u8; 32]) -> Option<&Arc<ApiKey>> {
        self.keys.get(hash)
    }

    /// The Tencent callback of an app, where one is set.
    pub fn tencent_callback(&self, app_id: AppId) -> Option<&Arc<TencentCallback>> {
        self.tencent_callbacks.get(&app_id)
    }
}

/// The cache and what it is made from.
pub struct Directory {
    snapshot: ArcSwap<Snapshot>,
    version: Mutex<Version>,
    changed: Notify,
    database: Database,
    registry: Registry,
    pub sealer: Sealer,
}

/// What the view was made from, and when the database was last asked about it.
#[derive(Default)]
struct Version {
    newest: Option<(i64, i64)>,
    /// When the last look that found it up to date, or made it so, began.
    looked_at: Option<Instant>,
}

impl Directory {
    /// An empty directory; call [`Directory::refresh`] before use.
    pub fn new(database: Database, registry: Registry, sealer: Sealer) -> Self {
        Self {
            snapshot: ArcSwap::default(),
            version: Mutex::default(),
            changed: Notify::new(),
            database,
            registry,
            sealer,
        }
    }

    /// The current view; cheap.
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Resolves after the next change.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Loads everything anew. The writer of a change calls it before it answers, so that the change acts at once.
    /// # Errors
    /// Database errors: the view stays as it was.
    pub async fn refresh(&self) -> sqlx::Result<()> {
        let mut version = self.version.lock().await;
        self.reload(&mut version).await
    }

    async fn reload(&self, version: &mut Version) -> sqlx::Result<()> {
        let pool = &self.database.api;
        let (newest, apps, certificates, keys, callbacks) = bounded(WORK_LIMIT, async {
            let newest = store::certificates::directory_version(pool).await?;
            let apps = store::apps::load_all(pool).await?;
            let certificates = store::certificates::load_all(pool).await?;
            let keys = store::api_keys::load_usable(pool).await?;
            Ok((newest, apps, certificates, keys, store::tencent_callbacks::load_all(pool).await?))
        })
        .await?;
        let before = self.snapshot.load();
        let snapshot = Snapshot {
            apps: apps.into_iter().map(|app| (app.app_id, Arc::new(app))).collect(),
            certificates: certificates
                .into_iter()
                .map(|certificate| (certificate.certificate_id, self.entry(certificate, &before)))
                .collect(),
            keys: keys.into_iter().map(|key| (key.key_hash, Arc::new(key))).collect(),
            tencent_callbacks: callbacks
                .into_iter()
                .map(|callback| (callback.app_id, self.tencent_callback(callback, &before)))
                .collect(),
        };
        self.snapshot.store(Arc::new(snapshot));
        version.newest = Some(newest);
        self.changed.notify_waiters();
        Ok(())
    }

    fn entry(&self, certificate: Certificate, before: &Snapshot) -> Arc<Entry> {
        if let Some(known) = before.certificates.get(&certificate.certificate_id)
            && known.certificate.revision == certificate.revision
        {
            return Arc::clone(known);
        }
        let adapter = self.registry.build(&certificate, &self.sealer).map_err(|error| {
            tracing::error!(certificate.id = certificate.certificate_id.0, %error, "certificate cannot be used");
            error.to_string()
        });
        Arc::new(Entry { certificate, adapter })
    }

    fn tencent_callback(&self, stored: StoredCallback, before: &Snapshot) -> Arc<TencentCallback> {
        if let Some(known) = before.tencent_callback(stored.app_id)
            && known.revision == stored.revision
        {
            return Arc::clone(known);
        }
        let opened = self.sealer.open(SealedFor::TencentCallback(stored.app_id), &stored.key_id, &stored.sealed);
        let token = opened.and_then(|plain| String::from_utf8(plain).map_err(|_| SecretError::Forged));
        if let Err(error) = &token {
            tracing::error!(app.id = stored.app_id.0, %error, "a Tencent callback's token cannot be used: it is off");
        }
        Arc::new(TencentCallback {
            fingerprint: stored.fingerprint,
            token: token.ok().map(SecretString::from),
            revision: stored.revision,
        })
    }

    /// Looks whether there is something that nobody told of yet: another instance may have made it a moment ago. One look
    /// serves all who asked before it began.
    /// # Errors
    /// Database errors.
    pub async fn look_again(&self) -> sqlx::Result<()> {
        let asked = Instant::now();
        let mut version = self.version.lock().await;
        if version.looked_at.is_some_and(|looked_at| looked_at >= asked) {
            return Ok(());
        }
        self.look(&mut version).await
    }

    /// Loads everything anew if something changed.
    /// # Errors
    /// Database errors: the view stays as it was.
    pub async fn refresh_if_changed(&self) -> sqlx::Result<()> {
        let mut version = self.version.lock().await;
        self.look(&mut version).await
    }

    async fn look(&self, version: &mut Version) -> sqlx::Result<()> {
        let begun = Instant::now();
        let newest = bounded(STATEMENT_LIMIT, store::certificates::directory_version(&self.database.api)).await?;
        if version.newest != Some(newest) {
            self.reload(version).await?;
        }
        version.looked_at = Some(begun);
        Ok(())
    }
}

//! What makes a certificate or a class of its messages wait: the vendor's refusal, a spent quota.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::lane::Lane;
use crate::directory::Entry;
use crate::domain::certificate::{Certificate, CertificateState};
use crate::domain::id::CertificateId;
use crate::store::audit::AuditEvent;
use crate::store::line::{STATEMENT_LIMIT, bounded};
use crate::vendor::outcome::Outcome;
use crate::{store, telemetry};

/// A hold that ends this much later than the one before is news.
const NEW_HOLD_AFTER: chrono::TimeDelta = chrono::TimeDelta::minutes(1);
/// How often the holds of other instances are read when nothing told of them.
const HOLDS_EVERY: Duration = Duration::from_secs(15);

impl Inner {
    /// Message classes are held as the database says, whoever found their quota spent or resumed them.
    pub(super) fn replace_holds(&self, holds: Vec<store::holds::Hold>) {
        let mut by_certificate: HashMap<i64, HashMap<String, DateTime<Utc>>> = HashMap::new();
        for hold in holds {
            by_certificate.entry(hold.certificate_id).or_default().insert(hold.message_class, hold.held_until);
        }
        for lane in self.all_lanes() {
            lane.state().holds = by_certificate.remove(&lane.certificate_id.0).unwrap_or_default();
        }
        for (certificate_id, classes) in by_certificate {
            self.lane(CertificateId(certificate_id)).state().holds = classes;
        }
    }

    /// The vendor refused a certificate: it is paused on every instance, its deliveries wait, an operator is told.
    pub(super) async fn refuse_certificate(&self, entry: &Entry, outcomes: &[Outcome]) {
        let certificate = &entry.certificate;
        let is_known = self.directory.snapshot().certificates.get(&certificate.certificate_id).is_none_or(|current| {
            current.certificate.revision != certificate.revision
                || current.certificate.state != CertificateState::Active
        });
        if is_known {
            return;
        }
        let code = outcomes.iter().find_map(|outcome| outcome.vendor_code.as_deref()).unwrap_or("no code");
        let reason = format!("{} answered {code}", certificate.vendor);
        match bounded(STATEMENT_LIMIT, self.store_refusal(certificate, &reason)).await {
            Ok(true) => {
                tracing::error!(
                    certificate.id = certificate.certificate_id.0, vendor = %certificate.vendor, vendor.code = code,
                    "the vendor refuses this certificate: paused, its deliveries wait"
                );
                telemetry::metrics::certificate_refused(certificate.vendor);
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "cannot pause a refused certificate"),
        }
    }

    async fn store_refusal(&self, certificate: &Certificate, reason: &str) -> sqlx::Result<bool> {
        let now = self.clock.now();
        let mut transaction = self.database.api.begin().await?;
        let (id, revision) = (certificate.certificate_id, certificate.revision);
        let is_refused = store::certificates::refuse(&mut *transaction, id, revision, reason, now).await?;
        if is_refused {
            let detail = serde_json::json!({"reason": reason});
            let app_id = Some(certificate.app_id);
            let event = AuditEvent::by_server(now, "certificate.refuse", app_id, format!("certificate {id}"), detail);
            store::audit::insert(&mut *transaction, &event).await?;
            store::signals::directory_changed(&mut *transaction).await?;
        }
        transaction.commit().await?;
        self.directory.refresh().await?;
        Ok(is_refused)
    }

    /// The daily quota of a message class is spent: it waits, on every instance, until the vendor resets it.
    pub(super) async fn hold_class(&self, lane: &Lane, class: &str, until: DateTime<Utc>, vendor_code: Option<&str>) {
        let before = lane.state().holds.insert(class.to_owned(), until);
        if before.is_some_and(|before| until - before < NEW_HOLD_AFTER) {
            return; // told by the first of the calls that were on the wire
        }
        tracing::error!(
            certificate.id = lane.certificate_id.0, class, %until,
            "the daily quota of this message class is spent: held until the vendor resets it"
        );
        let id = lane.certificate_id;
        let stored = async {
            store::holds::upsert(&self.database.api, id, class, until, vendor_code).await?;
            store::signals::directory_changed(&self.database.api).await // the other instances hold it too
        };
        if let Err(error) = bounded(STATEMENT_LIMIT, stored).await {
            tracing::warn!(%error, "cannot store a hold; it is forgotten when the stored ones are read next");
        }
    }
}

/// Follows changes until stopped: reads what is held, and wakes every lane, since a paused one may be open again.
pub(super) async fn follow(inner: Arc<Inner>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = inner.directory.changed() => {}
            // Should a signal be missed: a hold that another instance found.
            () = tokio::time::sleep(HOLDS_EVERY) => {}
        }
        match bounded(STATEMENT_LIMIT, store::holds::load(&inner.database.api, inner.clock.now())).await {
            Ok(holds) => inner.replace_holds(holds),
            Err(error) => tracing::warn!(%error, "cannot read which message classes are held"),
        }
        for lane in inner.all_lanes() {
            lane.wake.notify_one();
        }
        inner.sweep_now.notify_one();
    }
}

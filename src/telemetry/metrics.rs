//! Every metric: its name, its meaning, and the only places that touch it. Labels come from closed sets.

use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::domain::certificate::VendorKind;
use crate::domain::id::NotificationId;
use crate::domain::routing::SkipReason;
use crate::domain::session::{Applied, EventType};
use crate::vendor::outcome::Reason;

const ATTEMPTS: &str = "push_attempts_total";
const ATTEMPT_DURATION: &str = "push_attempt_duration_seconds";
const DELIVERY_LAG: &str = "push_delivery_lag_seconds";
const DELIVERIES: &str = "push_deliveries";
const ENDED: &str = "push_deliveries_ended_total";
const NOTIFICATIONS: &str = "push_notifications_total";
const ACCEPTED_DELIVERIES: &str = "push_deliveries_accepted_total";
const SKIPPED: &str = "push_skipped_total";
const ACCEPT_DURATION: &str = "push_accept_duration_seconds";
const INTAKE_GROUP: &str = "push_intake_group_size";
const SESSION_EVENTS: &str = "push_session_events_total";
const SESSION_GROUP: &str = "push_session_group_size";
const SUPERSEDING_PASSED_OVER: &str = "push_superseding_passed_over_total";
const RESCUED: &str = "push_deliveries_rescued_total";
const WALK_FAILURES: &str = "push_session_walk_failures_total";
const RECORDED: &str = "push_results_recorded_total";
const RECORD_FAILURES: &str = "push_record_failures_total";
const BREAKER_OPENED: &str = "push_breaker_opened_total";
const PRUNE_BREAKER_OPENED: &str = "push_prune_breaker_opened_total";
const REFUSED: &str = "push_certificates_refused_total";
const REQUESTS: &str = "http_requests_total";
const REQUEST_DURATION: &str = "http_request_duration_seconds";
const INSTANCES: &str = "push_instances_alive";
const TAKE_OVERS: &str = "push_take_overs_total";
const GIVEN_UP: &str = "push_instance_given_up_total";

const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

const GROUP_SIZES: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0];

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts collecting. A second call (tests start several servers in one process) changes nothing.
/// # Errors
/// A bucket list that is none.
pub fn init() -> Result<(), BuildError> {
    if HANDLE.get().is_some() {
        return Ok(());
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full(INTAKE_GROUP.to_owned()), &GROUP_SIZES)?
        .set_buckets_for_metric(Matcher::Full(SESSION_GROUP.to_owned()), &GROUP_SIZES)?
        .build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_ok() && HANDLE.set(handle).is_ok() {
        describe();
    }
    Ok(())
}

fn describe() {
    describe_counter!(ATTEMPTS, "Vendor attempts by vendor and reason");
    describe_histogram!(ATTEMPT_DURATION, "Seconds from the request to the whole answer of a vendor call");
    describe_histogram!(DELIVERY_LAG, "Seconds from acceptance to the start of a vendor call");
    describe_gauge!(DELIVERIES, "Deliveries by state: memory (held by this instance), waiting (all, an estimate)");
    describe_counter!(ENDED, "Deliveries that ended, by outcome");
    describe_counter!(
        NOTIFICATIONS,
        "Notification requests by result: accepted, replayed, reused, refused, overloaded, failed"
    );
    describe_counter!(ACCEPTED_DELIVERIES, "Deliveries made from accepted notifications");
    describe_counter!(SKIPPED, "Devices and users that got no delivery, by reason");
    describe_histogram!(ACCEPT_DURATION, "Seconds from the parsed request to its commit");
    describe_histogram!(INTAKE_GROUP, "Requests of one group commit");
    describe_counter!(SESSION_EVENTS, "Session events by type and result: applied, stale, refused");
    describe_histogram!(SESSION_GROUP, "Requests whose session changes were committed together");
    describe_counter!(
        SUPERSEDING_PASSED_OVER,
        "Notifications whose older ones were left to be sent: too many waited for theirs to be ended"
    );
    describe_counter!(RESCUED, "Deliveries made of what an open app missed, named by a disconnect by time-out");
    describe_counter!(WALK_FAILURES, "Sessions that ended by themselves and could not be written down");
    describe_counter!(RECORDED, "Results written by the recorder");
    describe_counter!(RECORD_FAILURES, "Tries to write results that failed; results are kept and tried again");
    describe_counter!(TAKE_OVERS, "Instances that this one took over from because they were silent");
    describe_counter!(GIVEN_UP, "Times the others gave this instance up and it registered anew");
    describe_counter!(BREAKER_OPENED, "Times a circuit breaker opened, by vendor");
    describe_counter!(PRUNE_BREAKER_OPENED, "Times a prune breaker opened, by vendor");
    describe_counter!(REFUSED, "Certificates paused because their vendor refused them, by vendor");
    describe_counter!(REQUESTS, "API requests by route and status");
    describe_histogram!(REQUEST_DURATION, "Seconds an API request took, by route");
    describe_gauge!(INSTANCES, "Server processes sharing the database");
}

/// The text of `/metrics`.
pub fn render() -> String {
    HANDLE.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Housekeeping of the exporter's histograms, to be called every few seconds.
pub fn upkeep() {
    if let Some(handle) = HANDLE.get() {
        handle.run_upkeep();
    }
}

pub fn attempt_ended(vendor: VendorKind, reason: Reason) {
    counter!(ATTEMPTS, "vendor" => vendor.as_str(), "reason" => reason.as_str()).increment(1);
}

pub fn call_started(vendor: VendorKind, notification: NotificationId, now: DateTime<Utc>) {
    let accepted_ms = i64::try_from(notification.unix_ms()).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a delivery's wait are far below 2^52")]
    let lag_s = (now.timestamp_millis() - accepted_ms).max(0) as f64 / 1_000.0;
    histogram!(DELIVERY_LAG, "vendor" => vendor.as_str()).record(lag_s);
}

pub fn call_ended(vendor: VendorKind, elapsed: Duration) {
    histogram!(ATTEMPT_DURATION, "vendor" => vendor.as_str()).record(elapsed.as_secs_f64());
}

/// `outcome`: a vendor reason, `cancelled` or `expired`.
pub fn delivery_ended(outcome: &'static str) {
    counter!(ENDED, "outcome" => outcome).increment(1);
}

pub fn expired_waiting(count: u64) {
    counter!(ENDED, "outcome" => "expired").increment(count);
}

pub fn superseding_passed_over() {
    counter!(SUPERSEDING_PASSED_OVER).increment(1);
}

pub fn cancelled_waiting(count: u64) {
    counter!(ENDED, "outcome" => "cancelled").increment(count);
}

pub fn notification(result: &'static str) {
    counter!(NOTIFICATIONS, "result" => result).increment(1);
}

pub fn deliveries_accepted(count: usize) {
    counter!(ACCEPTED_DELIVERIES).increment(count as u64);
}

pub fn skipped(reason: SkipReason, count: usize) {
    counter!(SKIPPED, "reason" => reason.as_str()).increment(count as u64);
}

pub fn accepted_in(elapsed: Duration) {
    histogram!(ACCEPT_DURATION).record(elapsed.as_secs_f64());
}

pub fn intake_group(size: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a group has at most some thousand requests")]
    histogram!(INTAKE_GROUP).record(size as f64);
}

pub fn session_event(kind: EventType, applied: &Applied) {
    let result = match applied {
        Applied::Applied => "applied",
        Applied::Stale => "stale",
        Applied::Refused(_) => "refused",
    };
    counter!(SESSION_EVENTS, "type" => kind.as_str(), "result" => result).increment(1);
}

pub fn session_group(size: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a group has at most a thousand requests")]
    histogram!(SESSION_GROUP).record(size as f64);
}

/// Sessions that ended by themselves and could not be written down.
pub fn walk_failed(devices: usize) {
    counter!(WALK_FAILURES).increment(devices as u64);
}

pub fn rescued(count: usize) {
    counter!(RESCUED).increment(count as u64);
    deliveries_accepted(count);
}

pub fn recorded(count: usize) {
    counter!(RECORDED).increment(count as u64);
}

pub fn recorder_failed() {
    counter!(RECORD_FAILURES).increment(1);
}

pub fn took_over() {
    counter!(TAKE_OVERS).increment(1);
}

pub fn given_up() {
    counter!(GIVEN_UP).increment(1);
}

pub fn breaker_opened(vendor: VendorKind) {
    counter!(BREAKER_OPENED, "vendor" => vendor.as_str()).increment(1);
}

pub fn prune_breaker_opened(vendor: VendorKind) {
    counter!(PRUNE_BREAKER_OPENED, "vendor" => vendor.as_str()).increment(1);
}

pub fn certificate_refused(vendor: VendorKind) {
    counter!(REFUSED, "vendor" => vendor.as_str()).increment(1);
}

/// `route` is the matched path, so the set is closed.
pub fn request(route: &str, status: u16, elapsed: Duration) {
    counter!(REQUESTS, "route" => route.to_owned(), "status" => status.to_string()).increment(1);
    histogram!(REQUEST_DURATION, "route" => route.to_owned()).record(elapsed.as_secs_f64());
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub fn gauges(held: usize, waiting: i64, instances: usize) {
    gauge!(DELIVERIES, "state" => "memory").set(held as f64);
    gauge!(DELIVERIES, "state" => "waiting").set(waiting as f64);
    gauge!(INSTANCES).set(instances as f64);
}

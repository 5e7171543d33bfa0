//! Certificates: vendor accounts. Their secrets go in and never come out.

mod bodies;
mod view;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

pub(super) use bodies::{CERTIFICATE_CHANGES, CertificateChange, NewCertificate};
use bodies::{COMMON_FIELDS, Common};
pub(super) use view::CertificateView;
use view::view;

use super::error::ApiError;
use super::extract::{Body, Path, Query, parse};
use super::idempotency::{IdempotencyHeader, IdempotencyKey};
use super::page::{Page, PageQuery, checked_limit, position};
use super::{Api, Caller, no_content};
use crate::domain::certificate::{Certificate, CertificateState, VendorKind};
use crate::domain::id::{AppId, CertificateId};
use crate::domain::text::Text;
use crate::secrets::{SealedFor, SecretError, short_digest};
use crate::store;
use crate::vendor::registry::{FieldError, Posted as Account, is_supported, read_account, stored_fields, unsupported};

/// The most that one statement releases of what was held.
const RELEASE_BATCH: u64 = 5_000;

impl From<FieldError> for ApiError {
    fn from(error: FieldError) -> Self {
        Self::InvalidBody { field: error.field, message: error.message }
    }
}

/// A posted object, taken apart.
struct Posted {
    vendor: Option<Value>,
    common: Common,
    /// The vendor's own.
    fields: Map<String, Value>,
}

/// Parts a posted object into vendor, common fields and the vendor's own.
fn take_apart(mut fields: Map<String, Value>) -> Result<Posted, ApiError> {
    let vendor = fields.remove("vendor");
    let common: Map<String, Value> =
        COMMON_FIELDS.iter().filter_map(|name| Some(((*name).to_owned(), fields.remove(*name)?))).collect();
    let common: Common = parse(Value::Object(common).to_string().as_bytes())?;
    if common.rate_limit.is_some_and(|limit| !(1..=100_000).contains(&limit)) {
        let message = "must be 1 to 100000 a second".to_owned();
        return Err(ApiError::InvalidBody { field: "rate_limit".to_owned(), message });
    }
    Ok(Posted { vendor, common, fields })
}

fn supported_vendor(vendor: Option<&Value>) -> Result<VendorKind, ApiError> {
    vendor
        .and_then(Value::as_str)
        .and_then(VendorKind::parse)
        .filter(|kind| is_supported(*kind))
        .ok_or_else(|| unsupported().into())
}

/// Seals an account's secrets into a certificate.
fn fill(api: &Api, certificate: &mut Certificate, account: Account) -> Result<(), ApiError> {
    let plain = account.secrets.to_string();
    certificate.sealed =
        api.directory.sealer.seal(SealedFor::Certificate(certificate.certificate_id), plain.as_bytes())?;
    api.directory.sealer.key_id().clone_into(&mut certificate.key_id);
    certificate.fingerprint = short_digest(plain.as_bytes());
    certificate.package_name = account.package_name;
    certificate.identifiers = account.identifiers;
    certificate.defaults = account.defaults;
    Ok(())
}

/// Stores a vendor account. The answer's `certificate_id` is the number the client app ships with.
#[utoipa::path(post, path = "/v1/apps/{app}/certificates", tag = "operator", params(("app" = AppId, Path), IdempotencyHeader),
    request_body = NewCertificate, responses(
    (status = 201, body = CertificateView),
    (status = 400, body = super::Problem),
    (status = 404, description = "the app", body = super::Problem),
    (status = 409, description = "`id-taken`, in this app or another", body = super::Problem),
))]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    Path(app_id): Path<AppId>,
    key: IdempotencyKey,
    Body(fields): Body<Map<String, Value>>,
) -> Result<Response, ApiError> {
    caller.administer(app_id)?;
    api.app(app_id).await?;
    let request = format!("POST /v1/apps/{app_id}/certificates {}", json!(fields));
    let Posted { vendor, common, fields } = take_apart(fields)?;
    let vendor = supported_vendor(vendor.as_ref())?;
    let account = read_account(vendor, fields, api.clock.now())?;
    if let Some(before) = key.replay(&api, &caller, &request).await? {
        return Ok(before);
    }
    let mut transaction = api.database.api.begin().await?;
    let now = api.clock.now();
    let chosen = common.certificate_id;
    let mut certificate = Certificate {
        certificate_id: chosen.unwrap_or(CertificateId(0)),
        app_id,
        vendor,
        name: common.name.map(Text::into_string).unwrap_or_default(),
        package_name: String::new(),
        identifiers: Value::Null,
        sealed: Vec::new(),
        key_id: String::new(),
        fingerprint: String::new(),
        defaults: Value::Null,
        rate_limit: common.rate_limit,
        state: CertificateState::Active,
        state_reason: None,
        state_since: now,
        revision: 0,
        created_at: now,
        updated_at: now,
    };
    let mut account = Some(account);
    loop {
        if chosen.is_none() {
            certificate.certificate_id = store::certificates::next_id(&mut *transaction).await?;
            if api.directory.snapshot().certificates.contains_key(&certificate.certificate_id) {
                continue; // an operator chose this number before
            }
        }
        if let Some(account) = account.take() {
            fill(&api, &mut certificate, account)?;
        }
        if store::certificates::insert(&mut *transaction, &certificate).await? {
            break;
        }
        return Err(ApiError::IdTaken { what: "a certificate" });
    }
    let shown = view(&api, &certificate);
    key.keep(&api, &caller, &mut transaction, &request, &shown).await?;
    let event = api.audit(&caller, "certificate.create", Some(app_id), object(&certificate), shown_fields(&shown));
    api.commit(transaction, &event).await?;
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

fn object(certificate: &Certificate) -> String {
    format!("certificate {}", certificate.certificate_id)
}

fn shown_fields(view: &CertificateView) -> Value {
    json!({
        "vendor": view.vendor, "name": view.name, "package_name": view.package_name, "identifiers": view.identifiers,
        "fingerprint": view.fingerprint, "defaults": view.defaults, "rate_limit": view.rate_limit,
    })
}

/// An app's certificates, by id.
#[utoipa::path(get, path = "/v1/apps/{app}/certificates", tag = "operator", params(("app" = AppId, Path), PageQuery),
    responses((status = 200, body = Page<CertificateView>), (status = 404, body = super::Problem)))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Path(app_id): Path<AppId>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<CertificateView>>, ApiError> {
    caller.view(app_id)?;
    api.app(app_id).await?;
    let limit = checked_limit(page.limit)?;
    let after = position::<i64>(page.cursor.as_deref())?.unwrap_or(0);
    let snapshot = api.directory.snapshot();
    let mut certificates: Vec<&Certificate> = snapshot
        .certificates
        .values()
        .map(|entry| &entry.certificate)
        .filter(|certificate| certificate.app_id == app_id && certificate.certificate_id.0 > after)
        .collect();
    certificates.sort_by_key(|certificate| certificate.certificate_id);
    let views = certificates.into_iter().take(limit + 1).map(|certificate| view(&api, certificate)).collect();
    Ok(Json(Page::new(views, limit, |certificate: &CertificateView| certificate.certificate_id.to_string())))
}

/// One certificate.
#[utoipa::path(get, path = "/v1/apps/{app}/certificates/{certificate}", tag = "operator",
    params(("app" = AppId, Path), ("certificate" = CertificateId, Path)),
    responses((status = 200, body = CertificateView), (status = 404, body = super::Problem)))]
pub(super) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, certificate_id)): Path<(AppId, CertificateId)>,
) -> Result<Json<CertificateView>, ApiError> {
    caller.view(app_id)?;
    let snapshot = api.knowing(app_id, std::iter::once(certificate_id)).await?;
    let entry = snapshot
        .certificate_of(app_id, certificate_id)
        .ok_or(ApiError::NotFound { what: "certificate of this app" })?;
    Ok(Json(view(&api, &entry.certificate)))
}

/// Changes the fields that are sent; acts at once on every instance, also for what waits. A refused certificate becomes
/// active again.
#[utoipa::path(patch, path = "/v1/apps/{app}/certificates/{certificate}", tag = "operator",
    params(("app" = AppId, Path), ("certificate" = CertificateId, Path)), request_body = CertificateChange,
    responses((status = 200, body = CertificateView), (status = 400, body = super::Problem),
        (status = 404, body = super::Problem)))]
pub(super) async fn update(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, certificate_id)): Path<(AppId, CertificateId)>,
    Body(change): Body<Map<String, Value>>,
) -> Result<Json<CertificateView>, ApiError> {
    caller.administer(app_id)?;
    let changed: Vec<String> = change.keys().cloned().collect();
    let removes_rate_limit = change.get("rate_limit").is_some_and(Value::is_null);
    let Posted { vendor, common, fields } = take_apart(change)?;
    if vendor.is_some() || common.certificate_id.is_some() {
        let field = if vendor.is_some() { "vendor" } else { "certificate_id" };
        let message = "cannot be changed: make another certificate".to_owned();
        return Err(ApiError::InvalidBody { field: field.to_owned(), message });
    }
    let mut transaction = api.database.api.begin().await?;
    let mut certificate = store::certificates::lock(&mut transaction, app_id, certificate_id)
        .await?
        .ok_or(ApiError::NotFound { what: "certificate of this app" })?;
    let owner = SealedFor::Certificate(certificate_id);
    let opened = match api.directory.sealer.open(owner, &certificate.key_id, &certificate.sealed) {
        Ok(opened) => opened,
        // Sealed with another master key: whoever sends the secrets anew repairs it.
        Err(SecretError::OtherMasterKey(_)) => b"{}".to_vec(),
        Err(error) => return Err(error.into()),
    };
    let mut whole =
        stored_fields(&certificate, &opened).map_err(|_| ApiError::Internal("a stored certificate is not readable"))?;
    whole.extend(fields);
    let account = read_account(certificate.vendor, whole, api.clock.now())?;
    fill(&api, &mut certificate, account)?;
    if let Some(name) = common.name {
        certificate.name = name.into_string();
    }
    if common.rate_limit.is_some() || removes_rate_limit {
        certificate.rate_limit = common.rate_limit;
    }
    certificate.updated_at = api.clock.now();
    store::certificates::update(&mut *transaction, &certificate).await?;
    if certificate.state == CertificateState::Refused {
        let now = certificate.updated_at;
        let active = CertificateState::Active;
        store::certificates::set_state(&mut *transaction, certificate_id, active, None, now).await?;
        (certificate.state, certificate.state_reason, certificate.state_since) = (active, None, now);
    }
    let shown = view(&api, &certificate);
    let mut detail = shown_fields(&shown);
    detail["changed"] = json!(changed);
    let event = api.audit(&caller, "certificate.update", Some(app_id), object(&certificate), detail);
    api.commit(transaction, &event).await?;
    Ok(Json(shown))
}

/// Deletes a certificate. What waits for it is cancelled; devices bound with it are skipped until they report again.
#[utoipa::path(delete, path = "/v1/apps/{app}/certificates/{certificate}", tag = "operator",
    params(("app" = AppId, Path), ("certificate" = CertificateId, Path)),
    responses((status = 204), (status = 404, body = super::Problem)))]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, certificate_id)): Path<(AppId, CertificateId)>,
) -> Result<Response, ApiError> {
    caller.administer(app_id)?;
    let mut transaction = api.database.api.begin().await?;
    if !store::certificates::delete(&mut *transaction, app_id, certificate_id).await? {
        return Err(ApiError::NotFound { what: "certificate of this app" });
    }
    let object = format!("certificate {certificate_id}");
    let event = api.audit(&caller, "certificate.delete", Some(app_id), object, json!({}));
    api.commit(transaction, &event).await?;
    Ok(no_content())
}

/// `POST .../certificates/{certificate}:verb`: the router knows no suffixes, so the verb is read here.
pub(super) async fn act(
    State(api): State<Api>,
    caller: Caller,
    Path((app_id, target)): Path<(AppId, String)>,
) -> Result<Json<CertificateView>, ApiError> {
    let (id, verb) = target.split_once(':').ok_or(ApiError::MethodNotAllowed)?;
    let certificate_id = CertificateId(id.parse().map_err(|_| ApiError::NotFound { what: "certificate of this app" })?);
    match verb {
        "pause" => pause(&api, &caller, app_id, certificate_id).await,
        "resume" => resume(&api, &caller, app_id, certificate_id).await,
        _ => Err(ApiError::NoSuchPath),
    }
}

/// Stops sending with a certificate. What waits for it keeps waiting until its time to live ends.
#[utoipa::path(post, path = "/v1/apps/{app}/certificates/{certificate}:pause", tag = "operator",
    params(("app" = AppId, Path), ("certificate" = CertificateId, Path)),
    responses((status = 200, body = CertificateView), (status = 404, body = super::Problem)))]
async fn pause(
    api: &Api,
    caller: &Caller,
    app_id: AppId,
    certificate_id: CertificateId,
) -> Result<Json<CertificateView>, ApiError> {
    change_state(api, caller, app_id, certificate_id, CertificateState::Paused).await
}

/// Sends again, and forgets what held the certificate up: refusal, spent quotas, breakers.
#[utoipa::path(post, path = "/v1/apps/{app}/certificates/{certificate}:resume", tag = "operator",
    params(("app" = AppId, Path), ("certificate" = CertificateId, Path)),
    responses((status = 200, body = CertificateView), (status = 404, body = super::Problem)))]
async fn resume(
    api: &Api,
    caller: &Caller,
    app_id: AppId,
    certificate_id: CertificateId,
) -> Result<Json<CertificateView>, ApiError> {
    change_state(api, caller, app_id, certificate_id, CertificateState::Active).await
}

async fn change_state(
    api: &Api,
    caller: &Caller,
    app_id: AppId,
    certificate_id: CertificateId,
    state: CertificateState,
) -> Result<Json<CertificateView>, ApiError> {
    caller.administer(app_id)?;
    let mut transaction = api.database.api.begin().await?;
    let mut certificate = store::certificates::lock(&mut transaction, app_id, certificate_id)
        .await?
        .ok_or(ApiError::NotFound { what: "certificate of this app" })?;
    let now = api.clock.now();
    let reason = (state == CertificateState::Paused).then(|| format!("paused by {}", caller.0.name));
    if store::certificates::set_state(&mut *transaction, certificate_id, state, reason.as_deref(), now).await? {
        (certificate.state, certificate.state_reason, certificate.state_since) = (state, reason, now);
    }
    let resumes = state == CertificateState::Active;
    let was_held = resumes && store::holds::release(&mut *transaction, certificate_id).await?;
    let action = if resumes { "certificate.resume" } else { "certificate.pause" };
    let event = api.audit(caller, action, Some(app_id), object(&certificate), json!({}));
    api.commit(transaction, &event).await?;
    if resumes {
        api.dispatcher.reset_lane(certificate_id);
    }
    if was_held {
        // What was held for the quota may be a large backlog: beside the answer, batch by batch.
        let (database, dispatcher) = (api.database.clone(), api.dispatcher.clone());
        tokio::spawn(async move {
            while let Ok(RELEASE_BATCH..) =
                store::deliveries::hurry(&database.api, certificate_id, now, RELEASE_BATCH.cast_signed()).await
            {
            }
            dispatcher.sweep_soon();
        });
    }
    Ok(Json(view(api, &certificate)))
}

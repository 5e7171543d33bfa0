//! Who calls, and what the key allows.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Api;
use super::error::ApiError;
use crate::domain::id::AppId;
use crate::secrets::api_key_hash;
use crate::store::api_keys::{ApiKey, Scope};

/// Addresses whose failures are counted at a time; more share one count.
const MAX_ADDRESSES: usize = 10_000;
const WINDOW: Duration = Duration::from_mins(1);

/// An authenticated caller.
#[derive(Debug, Clone)]
pub struct Caller(pub Arc<ApiKey>);

impl Caller {
    /// May act as the chat server of this app: its chat key, or an administrator.
    pub fn chat(&self, app_id: AppId) -> Result<(), ApiError> {
        self.in_app(app_id)?;
        match self.0.scope {
            Scope::Chat | Scope::Admin => Ok(()),
            Scope::Viewer => Err(ApiError::Forbidden("a viewer key only reads")),
        }
    }

    /// May read an app's status, trace and devices.
    pub fn read(&self, app_id: AppId) -> Result<(), ApiError> {
        self.in_app(app_id)
    }

    /// May read an operator's view of an app.
    pub fn view(&self, app_id: AppId) -> Result<(), ApiError> {
        self.in_app(app_id)?;
        self.operator()
    }

    /// May change an app.
    pub fn administer(&self, app_id: AppId) -> Result<(), ApiError> {
        self.in_app(app_id)?;
        self.administrator()
    }

    /// May change the server: an administrator of every app.
    pub fn administer_all(&self) -> Result<(), ApiError> {
        self.administrator()?;
        match self.0.app_id {
            None => Ok(()),
            Some(_) => Err(ApiError::Forbidden("this key is bound to one app")),
        }
    }

    /// Is an administrator, perhaps of one app only.
    pub fn administrator(&self) -> Result<(), ApiError> {
        match self.0.scope {
            Scope::Admin => Ok(()),
            Scope::Viewer => Err(ApiError::Forbidden("a viewer key only reads")),
            Scope::Chat => Err(ApiError::Forbidden("a chat key cannot do this: use an admin key")),
        }
    }

    /// Is an operator, perhaps of one app only.
    pub fn operator(&self) -> Result<(), ApiError> {
        match self.0.scope {
            Scope::Admin | Scope::Viewer => Ok(()),
            Scope::Chat => Err(ApiError::Forbidden("a chat key cannot do this: use a viewer or admin key")),
        }
    }

    fn in_app(&self, app_id: AppId) -> Result<(), ApiError> {
        match self.0.app_id {
            Some(own) if own != app_id => Err(ApiError::Forbidden("this key belongs to another app")),
            _ => Ok(()),
        }
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let hash = bearer(parts).map(api_key_hash);
        let find = || hash.and_then(|hash| api.directory.snapshot().key(&hash).cloned());
        let mut key = find();
        // A valid key always passes: behind one proxy a stranger's guesses must not lock the chat server out.
        let may_try = key.is_some() || api.failed_logins.may_try(address);
        if key.is_none() && hash.is_some() && may_try {
            // Another instance may have made it a moment ago.
            api.directory.look_again().await?;
            key = find();
        }
        let Some(key) = key else {
            api.failed_logins.failed(address);
            return Err(if may_try { ApiError::Unauthorized } else { ApiError::TooManyFailedLogins });
        };
        api.key_use.note(key.key_id, api.clock.now());
        Ok(Self(key))
    }
}

fn bearer(parts: &Parts) -> Option<&str> {
    let (scheme, key) = parts.headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

/// Failed authentications by address, in windows of a minute.
#[derive(Debug)]
pub struct FailedLogins {
    per_minute: u32,
    counts: Mutex<(Instant, HashMap<Option<IpAddr>, u32>)>,
}

impl FailedLogins {
    /// Allows so many failures a minute.
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, counts: Mutex::new((Instant::now(), HashMap::new())) }
    }

    /// Whether this address may still guess.
    pub(super) fn may_try(&self, address: Option<IpAddr>) -> bool {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let failures =
            counts.1.get(&address).or_else(|| counts.1.get(&None).filter(|_| counts.1.len() > MAX_ADDRESSES));
        counts.0.elapsed() >= WINDOW || failures.is_none_or(|failures| *failures < self.per_minute)
    }

    /// Counts a failure.
    pub(super) fn failed(&self, address: Option<IpAddr>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.0.elapsed() >= WINDOW {
            *counts = (Instant::now(), HashMap::new());
        }
        let has_room = counts.1.len() < MAX_ADDRESSES || counts.1.contains_key(&address);
        let key = if has_room { address } else { None };
        *counts.1.entry(key).or_default() += 1;
    }
}

/// When keys were last used: noted in memory, written once in a while.
#[derive(Debug, Default)]
pub struct KeyUse(Mutex<HashMap<Uuid, DateTime<Utc>>>);

impl KeyUse {
    fn note(&self, key: Uuid, now: DateTime<Utc>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, now);
    }

    /// Takes what was noted since the last time.
    pub fn take(&self) -> (Vec<Uuid>, Vec<DateTime<Utc>>) {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(scope: Scope, app_id: Option<i64>) -> Caller {
        Caller(Arc::new(ApiKey {
            key_id: Uuid::nil(),
            name: String::new(),
            scope,
            app_id: app_id.map(AppId),
            key_hash: [0; 32],
            created_at: DateTime::UNIX_EPOCH,
            last_used_at: None,
            revoked_at: None,
        }))
    }

    #[test]
    fn what_each_scope_may_do() {
        let own = AppId(1);
        for (scope, app, chat, read, view, administer, administer_all) in [
            (Scope::Chat, Some(1), true, true, false, false, false),
            (Scope::Chat, Some(2), false, false, false, false, false),
            (Scope::Viewer, None, false, true, true, false, false),
            (Scope::Viewer, Some(2), false, false, false, false, false),
            (Scope::Admin, None, true, true, true, true, true),
            (Scope::Admin, Some(1), true, true, true, true, false),
            (Scope::Admin, Some(2), false, false, false, false, false),
        ] {
            let caller = caller(scope, app);
            assert_eq!(caller.chat(own).is_ok(), chat, "{scope:?} {app:?} chat");
            assert_eq!(caller.read(own).is_ok(), read, "{scope:?} {app:?} read");
            assert_eq!(caller.view(own).is_ok(), view, "{scope:?} {app:?} view");
            assert_eq!(caller.administer(own).is_ok(), administer, "{scope:?} {app:?} administer");
            assert_eq!(caller.administer_all().is_ok(), administer_all, "{scope:?} {app:?} administer_all");
        }
    }

    #[test]
    fn guessing_is_slowed_down_by_address() {
        let logins = FailedLogins::new(2);
        let one = Some(IpAddr::from([192, 0, 2, 1]));
        let other = Some(IpAddr::from([192, 0, 2, 2]));
        for _ in 0..2 {
            assert!(logins.may_try(one));
            logins.failed(one);
        }
        assert!(!logins.may_try(one));
        assert!(logins.may_try(other));
    }
}

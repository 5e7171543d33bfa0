//! Teams, their topics and keys.

use std::collections::HashMap;

use super::answer::Refusal;
use super::jwt::Jwt;
use super::key::ApnsKey;
use super::world::{ApnsEnvironment, ApnsTeam};

#[derive(Debug, Default)]
pub(super) struct Accounts {
    lenient: bool,
    /// By team: its topics, each with when it became known; empty: not known here.
    teams: HashMap<String, HashMap<String, u64>>,
    keys: HashMap<String, Key>,
    /// Counts what becomes known, so that a connection can tell what came after it.
    age: u64,
}

#[derive(Debug)]
struct Key {
    key: ApnsKey,
    is_revoked: bool,
}

impl Accounts {
    pub(super) fn new(lenient: bool) -> Self {
        Self { lenient, ..Self::default() }
    }

    /// Adds the topics to the team's.
    pub(super) fn put_team(&mut self, team: ApnsTeam) {
        self.age += 1;
        let topics = self.teams.entry(team.id).or_default();
        for topic in team.topics {
            topics.entry(topic).or_insert(self.age);
        }
    }

    pub(super) fn put_key(&mut self, key: ApnsKey) {
        self.age += 1;
        self.teams.entry(key.team.clone()).or_default();
        self.keys.insert(key.id.clone(), Key { key, is_revoked: false });
    }

    pub(super) fn key(&self, id: &str) -> Option<ApnsKey> {
        self.keys.get(id).map(|known| known.key.clone())
    }

    /// False when the key is not known.
    pub(super) fn revoke_key(&mut self, id: &str) -> bool {
        let Some(key) = self.keys.get_mut(id) else { return false };
        key.is_revoked = true;
        true
    }

    pub(super) const fn age(&self) -> u64 {
        self.age
    }

    pub(super) fn public(&self, kid: &str) -> Option<Vec<u8>> {
        self.keys.get(kid).map(|key| key.key.public.clone())
    }

    /// Whether the token's key may speak for its team in this environment.
    pub(super) fn check_key(&self, jwt: &Jwt, environment: ApnsEnvironment) -> Result<(), Refusal> {
        const REASON: &str = "InvalidProviderToken";
        let Some(Key { key, is_revoked }) = self.keys.get(&jwt.kid) else {
            return if self.lenient { Ok(()) } else { Err(Refusal::new(REASON, "unknown key")) };
        };
        if *is_revoked {
            return Err(Refusal::new(REASON, "revoked key"));
        }
        if key.team != jwt.iss {
            return Err(Refusal::new(REASON, "key of another team"));
        }
        if key.environment.is_some_and(|only| only != environment) {
            return Err(Refusal::new("BadEnvironmentKeyIdInToken", "key of the other environment"));
        }
        Ok(())
    }

    /// Whether the token may push to this bundle id, on a connection that knows what was known at `age`.
    pub(super) fn check_topic(&self, jwt: &Jwt, topic: &str, bundle_id: &str, age: u64) -> Result<(), Refusal> {
        const REASON: &str = "TopicDisallowed";
        if let Some(Key { key, .. }) = self.keys.get(&jwt.kid)
            && !key.topics.is_empty()
            && !key.topics.iter().any(|own| own == topic || own == bundle_id)
        {
            return Err(Refusal::new(REASON, "topic not of this key"));
        }
        let Some(topics) = self.teams.get(&jwt.iss).filter(|topics| !topics.is_empty() && !self.lenient) else {
            return Ok(());
        };
        match topics.get(topic).or_else(|| topics.get(bundle_id)) {
            None => Err(Refusal::new(REASON, "topic not of this team")),
            Some(since) if *since > age => Err(Refusal::new(REASON, "topic added after the connection began")),
            Some(_) => Ok(()),
        }
    }

    /// How many teams and keys are known.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.teams.len(), self.keys.len())
    }
}

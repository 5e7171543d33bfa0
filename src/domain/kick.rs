//! Whose sessions end when a user logs in on one more device.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::session::Platform;

/// Whether the server kicks, and by which policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KickSettings {
    /// False: the chat server decides, and its `kicked` events are obeyed.
    pub enforce: bool,
    pub policy: KickPolicy,
    /// With `multi`: sessions of one platform at a time.
    #[schema(minimum = 1, maximum = 3)]
    pub sessions_per_platform: u8,
    /// With `multi`: web sessions at a time.
    #[schema(minimum = 1, maximum = 10)]
    pub web_sessions: u8,
}

/// How many sessions a user may have at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KickPolicy {
    /// One.
    Single,
    /// One on a phone, tablet or desktop, and one on the web.
    Dual,
    /// One on a phone or tablet, one on a desktop, one on the web.
    Triple,
    /// So many on each platform.
    Multi,
}

impl Default for KickSettings {
    fn default() -> Self {
        Self { enforce: false, policy: KickPolicy::Multi, sessions_per_platform: 1, web_sessions: 1 }
    }
}

impl KickSettings {
    /// # Errors
    /// The first field out of its range, and a sentence about it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if !(1..=3).contains(&self.sessions_per_platform) {
            return Err(("sessions_per_platform", "must be 1 to 3".to_owned()));
        }
        if !(1..=10).contains(&self.web_sessions) {
            return Err(("web_sessions", "must be 1 to 10".to_owned()));
        }
        Ok(())
    }

    /// Which sessions share a limit; and the limit.
    fn class(self, platform: Platform) -> (Class, usize) {
        use Platform::{Android, Harmony, Ios, Ipados, Linux, Mac, Web, Windows};
        match (self.policy, platform) {
            (KickPolicy::Dual | KickPolicy::Triple, Web) => (Class::Web, 1),
            (KickPolicy::Single | KickPolicy::Dual, _) => (Class::Any, 1),
            (KickPolicy::Triple, Ios | Ipados | Android | Harmony) => (Class::Phone, 1),
            (KickPolicy::Triple, Windows | Mac | Linux) => (Class::Desktop, 1),
            (KickPolicy::Multi, Web) => (Class::Web, usize::from(self.web_sessions)),
            (KickPolicy::Multi, other) => (Class::Platform(other), usize::from(self.sessions_per_platform)),
        }
    }

    /// Of one user's live sessions, the indexes of those that have to go: of each class the ones that logged in first.
    pub fn surplus(&self, sessions: &[(Platform, DateTime<Utc>)]) -> Vec<usize> {
        let mut classes: HashMap<Class, (usize, Vec<usize>)> = HashMap::new();
        for (index, (platform, _)) in sessions.iter().enumerate() {
            let (class, limit) = self.class(*platform);
            classes.entry(class).or_insert((limit, Vec::new())).1.push(index);
        }
        let mut surplus = Vec::new();
        for (limit, mut members) in classes.into_values() {
            members.sort_by_key(|index| sessions[*index].1);
            members.truncate(members.len().saturating_sub(limit));
            surplus.extend(members);
        }
        surplus
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    Any,
    Phone,
    Desktop,
    Web,
    Platform(Platform),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kicked(policy: KickPolicy, per_platform: u8, web: u8, platforms: &[Platform]) -> Vec<usize> {
        let settings = KickSettings { enforce: true, policy, sessions_per_platform: per_platform, web_sessions: web };
        let at = |index: usize| DateTime::from_timestamp(i64::try_from(index).unwrap(), 0).unwrap();
        let sessions: Vec<_> = platforms.iter().enumerate().map(|(index, platform)| (*platform, at(index))).collect();
        let mut surplus = settings.surplus(&sessions);
        surplus.sort_unstable();
        surplus
    }

    #[test]
    fn each_policy_keeps_the_latest_of_each_class() {
        use KickPolicy::{Dual, Multi, Single, Triple};
        use Platform::{Android, Harmony, Ios, Ipados, Linux, Mac, Web, Windows};
        let one_each = [Ios, Ipados, Android, Harmony, Windows, Mac, Linux, Web];
        for (policy, per_platform, web, sessions, gone) in [
            (Single, 1, 1, &[Android, Web, Mac, Ios][..], &[0, 1, 2][..]),
            (Dual, 1, 1, &[Android, Web, Mac], &[0]),
            (Dual, 1, 1, &[Web, Web, Android], &[0]),
            (Triple, 1, 1, &[Android, Mac, Web, Ipados], &[0]),
            (Triple, 1, 1, &[Windows, Mac, Linux, Web], &[0, 1]),
            (Multi, 1, 1, &one_each, &[]),
            (Multi, 1, 1, &[Ios, Ipados, Ios], &[0]),
            (Multi, 2, 1, &[Android, Android, Android, Web], &[0]),
            (Multi, 3, 1, &[Android, Android, Android], &[]),
            (Multi, 1, 10, &[Web; 11], &[0]),
        ] {
            assert_eq!(kicked(policy, per_platform, web, sessions), gone, "{policy:?} {sessions:?}");
        }
    }
}

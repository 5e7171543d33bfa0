//! The bodies of a profile's requests, and what their answers say.

use std::io::Write as _;

use super::mix::{FRESH, Mix, platform, token};
use super::options::Profile;
use crate::domain::id::AppId;
use crate::store::bulk::{device_id, user_id};

/// The app everything belongs to.
pub(super) const APP: AppId = AppId(1);
/// The texts of every notification.
pub(super) const TITLE: &str = "Alice";
pub(super) const BODY: &str = "shall we have dinner together tonight?";
/// Conversations there are.
const CONVERSATIONS: u32 = 1_000;

/// Writes one request after the other.
pub(super) struct Script {
    profile: Profile,
    mix: Mix,
    devices: u64,
    /// Tells the requests of this run from those of others.
    run: u64,
    posted: u64,
}

/// What an answered request came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gain {
    /// Deliveries accepted, or events applied.
    pub(super) units: u64,
    /// Events answered without a result.
    pub(super) missing: u64,
}

impl Script {
    pub(super) fn new(profile: Profile, mix: Mix, devices: u32, run: u64) -> Self {
        Self { profile, mix, devices: devices.into(), run, posted: 0 }
    }

    /// Where it posts.
    pub(super) fn path(&self) -> String {
        let resource = match self.profile {
            Profile::Sessions | Profile::Bindings => "session-events",
            _ => "notifications",
        };
        format!("/v1/apps/{APP}/{resource}")
    }

    /// Writes the next body in place of what is there. `now_ms` is when its events happen.
    pub(super) fn next(&mut self, body: &mut Vec<u8>, now_ms: u64) {
        self.posted += 1;
        body.clear();
        match self.profile {
            Profile::Sessions | Profile::Bindings => self.events(body, now_ms),
            _ => self.notification(body),
        }
    }

    fn notification(&self, body: &mut Vec<u8>) {
        put(body, format_args!(r#"{{"message_id":"{:x}-{}","to":["#, self.run, self.posted));
        for (index, number) in users(self.devices, self.profile.size().into()).enumerate() {
            let comma = if index == 0 { "" } else { "," };
            put(body, format_args!(r#"{comma}{{"user_id":"{}"}}"#, user_id(number)));
        }
        let conversation = conversation();
        put(
            body,
            format_args!(
                r#"],"title":"{TITLE}","body":"{BODY}","conversation_id":"{conversation}","data":{{"cid":"{conversation}"}}}}"#
            ),
        );
    }

    fn events(&self, body: &mut Vec<u8>, now_ms: u64) {
        body.extend_from_slice(br#"{"events":["#);
        let size = u64::from(self.profile.size());
        for (number, index) in users(self.devices, size).zip(0_u64..) {
            let comma = if index == 0 { "" } else { "," };
            let (vendor, certificate_id) = self.mix.of_device(number);
            put(
                body,
                format_args!(
                    r#"{comma}{{"user_id":"{}","device_id":"{}","platform":"{}","event_time":{now_ms},"#,
                    user_id(number),
                    device_id(number),
                    platform(vendor)
                ),
            );
            if self.profile == Profile::Bindings {
                let fresh = token(vendor, FRESH + self.posted * size + index);
                put(
                    body,
                    format_args!(r#""type":"token_report","certificate_id":{certificate_id},"token":"{fresh}"}}"#),
                );
            } else {
                let event = match (index + self.posted) % 3 {
                    0 => "login",
                    1 => "background",
                    _ => "disconnect",
                };
                put(body, format_args!(r#""type":"{event}"}}"#));
            }
        }
        body.extend_from_slice(b"]}");
    }

    /// What a successful answer says.
    pub(super) fn gain(&self, answer: &[u8]) -> Gain {
        match self.profile {
            Profile::Sessions | Profile::Bindings => {
                let results = count(answer, br#""result":"#);
                let missing = u64::from(self.profile.size()).saturating_sub(results);
                Gain { units: count(answer, br#""result":"applied""#), missing }
            }
            _ => Gain { units: number_after(answer, br#""deliveries":"#), missing: 0 },
        }
    }
}

/// One of the conversations.
pub(super) fn conversation() -> String {
    format!("c-{}", rand::random_range(0..CONVERSATIONS))
}

fn put(body: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _infallible = body.write_fmt(text);
}

/// So many different users of 1..=`devices`, spread over all of them: they begin anywhere and follow each other at a distance
/// that has no divisor in common with their number.
fn users(devices: u64, count: u64) -> impl Iterator<Item = u64> {
    let first = rand::random_range(0..devices);
    let step = loop {
        let step = rand::random_range(1..=devices);
        if count == 1 || common_divisor(step, devices) == 1 {
            break step;
        }
    };
    (0..count.min(devices)).map(move |index| 1 + (first + index * step) % devices)
}

fn common_divisor(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { common_divisor(other, one % other) }
}

fn count(text: &[u8], part: &[u8]) -> u64 {
    text.windows(part.len()).filter(|window| *window == part).count() as u64
}

fn number_after(text: &[u8], part: &[u8]) -> u64 {
    let Some(at) = text.windows(part.len()).position(|window| window == part) else { return 0 };
    let digits = text[at + part.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u64, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use serde_json::Value;

    fn script(profile: Profile) -> Script {
        Script::new(profile, "apns=1,xiaomi=1".parse().unwrap(), 1_000, 7)
    }

    fn next(script: &mut Script) -> Value {
        let mut body = b"old".to_vec();
        script.next(&mut body, 1_795_000_000_000);
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn every_request_has_an_id_of_its_own_and_names_each_user_once() {
        for (profile, size) in
            [(Profile::Single, 1), (Profile::Fifty, 50), (Profile::Group, 500), (Profile::Fanout, 1_000)]
        {
            let mut script = script(profile);
            let (one, two) = (next(&mut script), next(&mut script));
            assert_ne!(one["message_id"], two["message_id"]);
            let users: HashSet<&str> =
                one["to"].as_array().unwrap().iter().map(|to| to["user_id"].as_str().unwrap()).collect();
            assert_eq!(users.len(), size, "{profile:?}");
        }
    }

    #[test]
    fn a_group_is_made_of_all_states_in_their_shares() {
        for _ in 0..100 {
            let killed = users(10_000, 500).filter(|number| number % 20 < 2).count();
            let bare = users(10_000, 500).filter(|number| number % 20 == 2).count();
            assert_eq!((killed, bare), (50, 25));
        }
    }

    #[test]
    fn session_events_are_of_different_devices_and_tokens_are_never_repeated() {
        let mut script = script(Profile::Sessions);
        let events = next(&mut script);
        let devices: HashSet<&str> =
            events["events"].as_array().unwrap().iter().map(|event| event["device_id"].as_str().unwrap()).collect();
        assert_eq!(devices.len(), 100);
        let mut script = self::script(Profile::Bindings);
        let reports = [next(&mut script), next(&mut script)];
        let tokens: HashSet<&str> = reports
            .iter()
            .flat_map(|body| body["events"].as_array().unwrap())
            .map(|event| event["token"].as_str().unwrap())
            .collect();
        assert_eq!(tokens.len(), 200);
        assert_eq!(script.path(), "/v1/apps/1/session-events");
    }

    #[test]
    fn answers_are_counted() {
        let accepted = br#"{"notification_id":"x","deliveries":47,"skipped":[{"user_id":"u"}]}"#;
        assert_eq!(script(Profile::Fifty).gain(accepted), Gain { units: 47, missing: 0 });
        let results =
            br#"{"results":[{"result":"applied"},{"result":"stale"},{"result":"applied","time_adjusted":true}]}"#;
        assert_eq!(script(Profile::Sessions).gain(results), Gain { units: 2, missing: 97 });
        assert_eq!(script(Profile::Single).gain(b"{}"), Gain::default());
    }
}

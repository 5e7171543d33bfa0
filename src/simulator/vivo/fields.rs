//! The members of a message, read with their types (document, section 3).

use super::answer::{BAD_VALUE, Refusal};
use super::class::Class;
use crate::simulator::inbox::Message;
use crate::simulator::json::{self, Kind, Member, Members, members};

/// The longest `timeToLive`, seconds.
const MAX_TTL_S: i64 = 604_800;

const MEMBERS: &[Member] = members!(
    "foregroundShow": Kind::Bool,
    "sendOnline": Kind::Bool,
    "addBadge": Kind::Bool,
    "timedDisplay": Kind::Object(members!(
        "overtimeDisplay": Kind::Bool,
        "showStartTime": Kind::Integer,
        "showEndTime": Kind::Integer,
    )),
    "auditReview": Kind::Objects(members!("reviewer": Kind::Text, "type": Kind::Integer)),
    // SDK noise: for tag pushes only, yet sent with every message.
    "tagExpression": Kind::Free,
    "appId": Kind::Integer,
    "regId": Kind::Text,
    "alias": Kind::Text,
    "notifyType": Kind::Integer,
    "title": Kind::Text,
    "content": Kind::Text,
    "timeToLive": Kind::Integer,
    "skipType": Kind::Integer,
    "skipContent": Kind::Text,
    // The one number that vivo takes in quotes too.
    "networkType": Kind::Own(
        |value| value.is_i64() || value.as_str().is_some_and(|text| text.parse::<i64>().is_ok()),
        "a member is not an integer",
    ),
    "classification": Kind::Integer,
    "category": Kind::Text,
    "clientCustomMap": Kind::Free,
    "extra": Kind::Pairs,
    "requestId": Kind::Text,
    "pushMode": Kind::Integer,
    "notifyId": Kind::Integer,
    "profileId": Kind::Text,
);

/// A message as it was sent: types are right, values are not yet judged.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    pub(super) app_id: Option<i64>,
    pub(super) reg_id: Option<&'a str>,
    pub(super) alias: Option<&'a str>,
    pub(super) notify_type: Option<i64>,
    pub(super) title: &'a str,
    pub(super) content: &'a str,
    pub(super) time_to_live: Option<i64>,
    pub(super) skip_type: Option<i64>,
    pub(super) skip_content: &'a str,
    pub(super) network_type: Option<i64>,
    pub(super) classification: Option<i64>,
    pub(super) category: Option<&'a str>,
    pub(super) custom: &'a Members,
    pub(super) extra: &'a Members,
    pub(super) request_id: Option<&'a str>,
    pub(super) push_mode: i64,
    pub(super) notify_id: Option<i64>,
    pub(super) profile_id: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// Reads all members; a wrong type refuses the request.
    pub(super) fn read(members: &'a Members) -> Result<Self, Refusal> {
        json::check(members, MEMBERS).map_err(|wrong| Refusal::of_type(BAD_VALUE, wrong))?;
        let text = |name| json::text(members, name);
        let integer = |name| json::integer(members, name);
        let custom = json::section(members, "clientCustomMap");
        if custom.values().any(|value| !value.is_string()) {
            return Err(Refusal::of_member(BAD_VALUE, "clientCustomMap", "a member is not an object of texts"));
        }
        Ok(Self {
            app_id: integer("appId"),
            reg_id: text("regId"),
            alias: text("alias"),
            notify_type: integer("notifyType"),
            title: text("title").unwrap_or_default(),
            content: text("content").unwrap_or_default(),
            time_to_live: integer("timeToLive"),
            skip_type: integer("skipType"),
            skip_content: text("skipContent").unwrap_or_default(),
            network_type: integer("networkType").or_else(|| text("networkType")?.parse().ok()),
            classification: integer("classification"),
            category: text("category"),
            custom,
            extra: json::section(members, "extra"),
            request_id: text("requestId"),
            push_mode: integer("pushMode").unwrap_or(0),
            notify_id: integer("notifyId"),
            profile_id: text("profileId"),
        })
    }

    /// The time to live, in seconds, has to be in the range of its endpoint.
    pub(super) fn check_time_to_live(&self, min_s: i64) -> Result<(), Refusal> {
        if self.time_to_live.is_some_and(|ttl| !(min_s..=MAX_TTL_S).contains(&ttl)) {
            return Err(Refusal::new(BAD_VALUE, "timeToLive is out of its range"));
        }
        Ok(())
    }

    /// What the device will get, without what differs from send to send.
    pub(super) fn message(&self, class: Class) -> Message {
        let class = if class == Class::System { "system" } else { "operations" };
        Message {
            title: self.title.to_owned(),
            body: self.content.to_owned(),
            payload: json::app_data(self.custom),
            notify_id: self.notify_id.map(|id| id.to_string()),
            extras: json::app_pairs(self.custom),
            ttl_ms: self.time_to_live.map(|seconds| seconds * 1_000),
            push_type: Some(self.category.unwrap_or(class).to_owned()),
            priority: Some(class.to_owned()),
            ..Message::default()
        }
    }
}

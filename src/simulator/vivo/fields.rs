//! The members of a message, read with their types (document, section 3).

use serde_json::{Map, Value};

use super::answer::{BAD_VALUE, Refusal};
use super::class::Class;
use crate::simulator::inbox::Message;
use crate::simulator::members::{self, Members, WrongType};

/// The longest `timeToLive`, seconds.
const MAX_TTL_S: i64 = 604_800;

/// A message as it was sent: types are right, values are not yet judged.
#[derive(Debug, Default)]
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
    pub(super) custom: Option<&'a Map<String, Value>>,
    pub(super) custom_pairs: Vec<(&'a str, &'a str)>,
    pub(super) extra: Vec<(&'a str, &'a str)>,
    pub(super) request_id: Option<&'a str>,
    pub(super) push_mode: i64,
    pub(super) notify_id: Option<i64>,
    pub(super) profile_id: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// Reads all members; a wrong type refuses the request.
    pub(super) fn read(members: Members<'a>) -> Result<Self, Refusal> {
        for flag in ["foregroundShow", "sendOnline", "addBadge"] {
            members.flag(flag)?;
        }
        if let Some(timed) = members.object("timedDisplay")? {
            timed.flag("overtimeDisplay")?;
            timed.integer("showStartTime")?;
            timed.integer("showEndTime")?;
        }
        for review in members.list("auditReview")?.unwrap_or_default() {
            let wrong = WrongType { rule: "a member is not a list of objects", member: "auditReview" };
            let review = Members(review.as_object().ok_or(wrong)?);
            review.text("reviewer")?;
            review.integer("type")?;
        }
        // SDK noise: for tag pushes only, yet sent with every message.
        members.object("tagExpression")?;
        Ok(Self {
            app_id: members.integer("appId")?,
            reg_id: members.text("regId")?,
            alias: members.text("alias")?,
            notify_type: members.integer("notifyType")?,
            title: members.text("title")?.unwrap_or_default(),
            content: members.text("content")?.unwrap_or_default(),
            time_to_live: members.integer("timeToLive")?,
            skip_type: members.integer("skipType")?,
            skip_content: members.text("skipContent")?.unwrap_or_default(),
            network_type: network_type(members)?,
            classification: members.integer("classification")?,
            category: members.text("category")?,
            custom: members.object("clientCustomMap")?.map(|custom| custom.0),
            custom_pairs: members.pairs("clientCustomMap")?.unwrap_or_default(),
            extra: members.pairs("extra")?.unwrap_or_default(),
            request_id: members.text("requestId")?,
            push_mode: members.integer("pushMode")?.unwrap_or(0),
            notify_id: members.integer("notifyId")?,
            profile_id: members.text("profileId")?,
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
            payload: self.custom.and_then(members::payload),
            notify_id: self.notify_id.map(|id| id.to_string()),
            extras: self.custom_pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ttl_ms: self.time_to_live.map(|seconds| seconds * 1_000),
            push_type: Some(self.category.unwrap_or(class).to_owned()),
            priority: Some(class.to_owned()),
            ..Message::default()
        }
    }
}

/// The one number that vivo takes in quotes too.
fn network_type(members: Members<'_>) -> Result<Option<i64>, WrongType> {
    let wrong = WrongType { rule: "a member is not an integer", member: "networkType" };
    match members.get("networkType") {
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong),
        _ => members.integer("networkType"),
    }
}

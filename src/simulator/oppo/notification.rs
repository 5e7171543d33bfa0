//! The members of a notification, read with their types (document, section 3).

use serde_json::Value;

use super::answer::{INVALID, MISSING, Refusal};
use crate::simulator::form::Form;
use crate::simulator::inbox::Message;
use crate::simulator::json::{self, Kind, Member, Members, members};

const MEMBERS: &[Member] = members!(
    "small_picture_id": Kind::Text,
    "big_picture_id": Kind::Text,
    "time_zone": Kind::Text,
    "private_title_parameters": TEMPLATE_PARAMETERS,
    "private_content_parameters": TEMPLATE_PARAMETERS,
    "action_parameters": Kind::Text,
    "app_message_id": Kind::Text,
    "style": Kind::Integer,
    "title": Kind::Text,
    "sub_title": Kind::Text,
    "content": Kind::Text,
    "click_action_type": Kind::Integer,
    "click_action_activity": Kind::Text,
    "click_action_url": Kind::Text,
    "show_time_type": Kind::Integer,
    "show_start_time": Kind::Integer,
    "show_end_time": Kind::Integer,
    "off_line": Kind::Bool,
    "off_line_ttl": Kind::Integer,
    "show_ttl": Kind::Integer,
    "network_type": Kind::Integer,
    "channel_id": Kind::Text,
    "category": Kind::Text,
    "notify_level": Kind::Integer,
    "private_msg_template_id": Kind::Text,
    "notify_id": Kind::Integer,
    "call_back_url": Kind::Text,
    "call_back_parameter": Kind::Text,
    "badge_operation_type": Kind::Integer,
    "push_time_type": Kind::Integer,
);
/// Named by the document, but whatever they are, they pass.
const UNCHECKED: &[Member] =
    members!("push_start_time": Kind::Integer, "fix_speed": Kind::Bool, "fix_speed_rate": Kind::Integer);
/// Template parameters are a text that holds a JSON object; senders in production send the object itself too.
const TEMPLATE_PARAMETERS: Kind = Kind::Own(
    |value| value.is_object() || value.as_str().is_some_and(|text| json::parse(text.as_bytes()).is_some()),
    "a member is not a text with a JSON object",
);

/// A notification as it was sent: types are right, values are not yet judged.
#[derive(Debug, Default)]
pub(super) struct Notification<'a> {
    pub(super) app_message_id: Option<&'a str>,
    pub(super) style: i64,
    pub(super) title: &'a str,
    pub(super) sub_title: &'a str,
    pub(super) content: &'a str,
    pub(super) click_action_type: i64,
    pub(super) click_action_activity: &'a str,
    pub(super) click_action_url: &'a str,
    pub(super) action_parameters: &'a str,
    /// What `action_parameters` holds.
    pub(super) data: Members,
    pub(super) show_time_type: i64,
    pub(super) show_start_time: Option<i64>,
    pub(super) show_end_time: Option<i64>,
    pub(super) off_line: bool,
    pub(super) off_line_ttl: Option<i64>,
    pub(super) show_ttl: Option<i64>,
    pub(super) network_type: i64,
    pub(super) channel_id: Option<&'a str>,
    pub(super) category: Option<&'a str>,
    pub(super) notify_level: Option<i64>,
    pub(super) template_id: &'a str,
    pub(super) notify_id: Option<i64>,
    pub(super) call_back_url: Option<&'a str>,
    pub(super) call_back_parameter: &'a str,
    pub(super) badge_operation_type: Option<i64>,
    pub(super) push_time_type: i64,
    pub(super) warnings: Vec<String>,
}

impl<'a> Notification<'a> {
    /// Reads all members; a wrong type refuses the notification, and so does a name in camel case.
    pub(super) fn read(members: &'a Members) -> Result<Self, Refusal> {
        json::check(members, MEMBERS).map_err(|wrong| Refusal::of_type(INVALID, wrong))?;
        let text = |name| json::text(members, name);
        let some_text = |name| text(name).unwrap_or_default();
        let integer = |name| json::integer(members, name);
        let notification = Self {
            app_message_id: json::filled(members, "app_message_id"),
            style: integer("style").unwrap_or(1),
            title: some_text("title"),
            sub_title: some_text("sub_title"),
            content: some_text("content"),
            click_action_type: integer("click_action_type").unwrap_or(0),
            click_action_activity: some_text("click_action_activity"),
            click_action_url: some_text("click_action_url"),
            action_parameters: some_text("action_parameters"),
            data: data(text("action_parameters"))?,
            show_time_type: integer("show_time_type").unwrap_or(0),
            show_start_time: integer("show_start_time"),
            show_end_time: integer("show_end_time"),
            off_line: json::flag(members, "off_line").unwrap_or(true),
            off_line_ttl: integer("off_line_ttl"),
            show_ttl: integer("show_ttl"),
            network_type: integer("network_type").unwrap_or(0),
            channel_id: text("channel_id"),
            category: text("category"),
            notify_level: integer("notify_level"),
            template_id: some_text("private_msg_template_id"),
            notify_id: integer("notify_id"),
            call_back_url: text("call_back_url"),
            call_back_parameter: some_text("call_back_parameter"),
            badge_operation_type: integer("badge_operation_type"),
            push_time_type: integer("push_time_type").unwrap_or(0),
            warnings: ["private_title_parameters", "private_content_parameters"]
                .into_iter()
                .filter(|name| json::object(members, name).is_some())
                .map(|name| format!("{name} is an object: the safe form is a text with one"))
                .collect(),
        };
        if members.keys().any(|name| is_camel_case(name)) {
            return Err(Refusal::new(MISSING, "a member has its name in camel case"));
        }
        Ok(notification)
    }

    /// What the device will get, without what differs from send to send.
    pub(super) fn message(&self) -> Message {
        let ttl_s = if self.off_line { self.off_line_ttl } else { Some(0) };
        Message {
            title: self.title.to_owned(),
            subtitle: (!self.sub_title.is_empty()).then(|| self.sub_title.to_owned()),
            body: self.content.to_owned(),
            payload: json::app_data(&self.data),
            notify_id: self.notify_id.map(|id| id.to_string()),
            dedupe_key: self.app_message_id.map(ToOwned::to_owned),
            extras: json::app_pairs(&self.data),
            ttl_ms: ttl_s.map(|seconds| seconds * 1_000),
            channel: self.channel_id.map(ToOwned::to_owned),
            push_type: self.category.map(ToOwned::to_owned),
            priority: self.notify_level.map(|level| level.to_string()),
            ..Message::default()
        }
    }
}

/// The app's own data: a text that holds a JSON object of texts.
fn data(text: Option<&str>) -> Result<Members, Refusal> {
    let Some(text) = text else { return Ok(Members::new()) };
    let data = json::parse(text.as_bytes()).filter(|data| data.values().all(Value::is_string));
    let rule = "a member is not a text with a JSON object of texts";
    data.ok_or_else(|| Refusal::of_member(INVALID, "action_parameters", rule))
}

/// Whether a name is one of the document's in camel case, as its own sample wrongly prints them.
fn is_camel_case(name: &str) -> bool {
    let snake = name.chars().fold(String::new(), |mut snake, c| {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
        snake
    });
    snake != name && named(&snake).is_some()
}

/// A notification that lies flat in a form, as members with their types. What does not fit its type stays a text, and is
/// refused for it.
pub(super) fn flat(form: &Form) -> Members {
    let mut members = Members::new();
    for (name, value) in form.pairs() {
        let typed = match named(name).map(|member| member.kind) {
            Some(Kind::Integer) => value.parse::<i64>().ok().map(Value::from),
            Some(Kind::Bool) => value.parse::<bool>().ok().map(Value::from),
            _ => None,
        };
        members.entry(name.clone()).or_insert_with(|| typed.unwrap_or_else(|| Value::from(value.as_str())));
    }
    members
}

/// The member of this name, as documented.
fn named(name: &str) -> Option<&'static Member> {
    MEMBERS.iter().chain(UNCHECKED).find(|member| member.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documents_names_in_camel_case_are_told_from_unknown_ones() {
        let cases = [
            ("appMessageId", true),
            ("clickActionType", true),
            ("offLineTtl", true),
            ("click_action_type", false),
            ("auditResponse", false),
            ("somethingElse", false),
            ("title", false),
        ];
        for (name, wanted) in cases {
            assert_eq!(is_camel_case(name), wanted, "{name}");
        }
    }

    #[test]
    fn a_flat_form_gets_its_types_back() {
        let form = Form::parse(b"title=5&style=1&off_line=true&notify_id=x&style=2").unwrap();
        let wanted = serde_json::json!({ "title": "5", "style": 1, "off_line": true, "notify_id": "x" });
        assert_eq!(Value::Object(flat(&form)), wanted);
    }
}

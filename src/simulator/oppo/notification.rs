//! The members of a notification, read with their types (document, section 3).

use serde_json::{Map, Value};

use super::answer::{MISSING, Refusal};
use crate::simulator::form::Form;
use crate::simulator::inbox::Message;
use crate::simulator::members::{self, Members, WrongType};

const INTEGERS: [&str; 14] = [
    "style",
    "click_action_type",
    "show_time_type",
    "show_start_time",
    "show_end_time",
    "off_line_ttl",
    "show_ttl",
    "network_type",
    "notify_level",
    "notify_id",
    "badge_operation_type",
    "push_time_type",
    "push_start_time",
    "fix_speed_rate",
];
const FLAGS: [&str; 2] = ["off_line", "fix_speed"];
const TEXTS: [&str; 17] = [
    "app_message_id",
    "title",
    "sub_title",
    "content",
    "click_action_activity",
    "click_action_url",
    "action_parameters",
    "channel_id",
    "category",
    "private_msg_template_id",
    "private_title_parameters",
    "private_content_parameters",
    "call_back_url",
    "call_back_parameter",
    "small_picture_id",
    "big_picture_id",
    "time_zone",
];

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
    pub(super) data: Map<String, Value>,
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
    pub(super) fn read(members: Members<'a>) -> Result<Self, Refusal> {
        let text = |name| members.text(name).map(Option::unwrap_or_default);
        for name in ["small_picture_id", "big_picture_id", "time_zone"] {
            members.text(name)?;
        }
        let mut warnings = Vec::new();
        for name in ["private_title_parameters", "private_content_parameters"] {
            template_parameters(members, name, &mut warnings)?;
        }
        let action_parameters = text("action_parameters")?;
        let notification = Self {
            app_message_id: members.text("app_message_id")?.filter(|id| !id.is_empty()),
            style: members.integer("style")?.unwrap_or(1),
            title: text("title")?,
            sub_title: text("sub_title")?,
            content: text("content")?,
            click_action_type: members.integer("click_action_type")?.unwrap_or(0),
            click_action_activity: text("click_action_activity")?,
            click_action_url: text("click_action_url")?,
            action_parameters,
            data: data(members)?,
            show_time_type: members.integer("show_time_type")?.unwrap_or(0),
            show_start_time: members.integer("show_start_time")?,
            show_end_time: members.integer("show_end_time")?,
            off_line: members.flag("off_line")?.unwrap_or(true),
            off_line_ttl: members.integer("off_line_ttl")?,
            show_ttl: members.integer("show_ttl")?,
            network_type: members.integer("network_type")?.unwrap_or(0),
            channel_id: members.text("channel_id")?,
            category: members.text("category")?,
            notify_level: members.integer("notify_level")?,
            template_id: text("private_msg_template_id")?,
            notify_id: members.integer("notify_id")?,
            call_back_url: members.text("call_back_url")?,
            call_back_parameter: text("call_back_parameter")?,
            badge_operation_type: members.integer("badge_operation_type")?,
            push_time_type: members.integer("push_time_type")?.unwrap_or(0),
            warnings,
        };
        if members.0.keys().any(|name| is_camel_case(name)) {
            return Err(Refusal::new(MISSING, "a member has its name in camel case"));
        }
        Ok(notification)
    }

    /// What the device will get, without what differs from send to send.
    pub(super) fn message(&self) -> Message {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ttl_s = if self.off_line { self.off_line_ttl } else { Some(0) };
        Message {
            title: self.title.to_owned(),
            subtitle: (!self.sub_title.is_empty()).then(|| self.sub_title.to_owned()),
            body: self.content.to_owned(),
            payload: members::payload(&self.data),
            notify_id: self.notify_id.map(|id| id.to_string()),
            dedupe_key: self.app_message_id.map(ToOwned::to_owned),
            extras: self.data.iter().map(|(key, value)| (key.clone(), text(value))).collect(),
            ttl_ms: ttl_s.map(|seconds| seconds * 1_000),
            channel: self.channel_id.map(ToOwned::to_owned),
            push_type: self.category.map(ToOwned::to_owned),
            priority: self.notify_level.map(|level| level.to_string()),
            ..Message::default()
        }
    }
}

/// The app's own data: a text that holds a JSON object of texts.
fn data(members: Members<'_>) -> Result<Map<String, Value>, WrongType> {
    let rule = "a member is not a text with a JSON object of texts";
    let Some(text) = members.text("action_parameters")? else { return Ok(Map::new()) };
    let data = serde_json::from_str::<Map<String, Value>>(text).ok();
    data.filter(|data| data.values().all(Value::is_string)).ok_or(WrongType { rule, member: "action_parameters" })
}

/// Template parameters are a text that holds a JSON object; senders in production send the object itself too.
fn template_parameters(
    members: Members<'_>,
    member: &'static str,
    warnings: &mut Vec<String>,
) -> Result<(), WrongType> {
    let is_object = |text: &str| serde_json::from_str::<Map<String, Value>>(text).is_ok();
    match members.get(member) {
        Some(Value::Object(_)) => warnings.push(format!("{member} is an object: the safe form is a text with one")),
        Some(Value::String(text)) if is_object(text) => {}
        None => {}
        Some(_) => return Err(WrongType { rule: "a member is not a text with a JSON object", member }),
    }
    Ok(())
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
    let known = [INTEGERS.as_slice(), &FLAGS, &TEXTS].concat();
    snake != name && known.contains(&snake.as_str())
}

/// A notification that lies flat in a form, as members with their types. What does not fit its type stays a text, and is
/// refused for it.
pub(super) fn flat(form: &Form) -> Map<String, Value> {
    let mut members = Map::new();
    for (name, value) in form.pairs() {
        let typed = if INTEGERS.contains(&name.as_str()) {
            value.parse::<i64>().map_or_else(|_| Value::from(value.as_str()), Value::from)
        } else if FLAGS.contains(&name.as_str()) {
            value.parse::<bool>().map_or_else(|_| Value::from(value.as_str()), Value::from)
        } else {
            Value::from(value.as_str())
        };
        members.entry(name.clone()).or_insert(typed);
    }
    members
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

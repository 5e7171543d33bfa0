//! The values of a notification: lengths in characters, ranges, taps, classes (document, sections 3 and 4).

use super::answer::{INVALID, MISSING, Refusal};
use super::auth::is_timestamp;
use super::notification::Notification;
use crate::simulator::refusal::hold;
use crate::simulator::text::{char_len, is_web_url};

const MAX_TITLE: usize = 50;
const MAX_SUB_TITLE: usize = 10;
const MAX_LONG_TEXT: usize = 128;
const MAX_PICTURE_TEXT: usize = 50;
const MAX_ACTIVITY: usize = 500;
const MAX_URL: usize = 2_000;
const MAX_PARAMETERS: usize = 4_000;
const MAX_CALL_BACK_URL: usize = 200;
const MAX_CALL_BACK_PARAMETER: usize = 100;
/// The bound of older texts.
const OLD_CALL_BACK_PARAMETER: usize = 50;
const MAX_TTL_S: i64 = 864_000;
/// The bound of the vendor's SDK.
const SDK_TTL_S: i64 = 259_200;

const SERVICE: [&str; 6] = ["IM", "ACCOUNT", "TODO", "DEVICE_REMINDER", "ORDER", "SUBSCRIPTION"];
const MARKETING: [&str; 4] = ["NEWS", "CONTENT", "MARKETING", "SOCIAL"];

/// What the endpoint and the app make of a notification.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The longest content of the standard style.
    pub(super) content_limit: usize,
    /// Saved for a broadcast: pictures and a later time are allowed.
    pub(super) is_broadcast: bool,
    /// For registration ids, which alone have receipts.
    pub(super) has_receipts: bool,
    /// Chat messages need a template.
    pub(super) needs_template: bool,
}

/// Checks all values in the document's order; what passes but looks wrong becomes a warning.
pub(super) fn check(notification: &mut Notification<'_>, rules: Rules) -> Result<(), Refusal> {
    texts(notification, rules)?;
    click(notification)?;
    ranges(notification, rules)?;
    class(notification)?;
    let is_chat = notification.category == Some("IM");
    if is_chat && rules.needs_template && notification.template_id.is_empty() {
        return Err(Refusal::new(54, "category IM without a template"));
    }
    if notification.category.is_none() {
        notification.warnings.push("category is missing: OPPO treats it as marketing".into());
    }
    if notification.off_line_ttl.is_some_and(|ttl| ttl > SDK_TTL_S) {
        notification.warnings.push("off_line_ttl is over 259200: older servers refuse it".into());
    }
    if char_len(notification.call_back_parameter) > OLD_CALL_BACK_PARAMETER {
        notification.warnings.push("call_back_parameter is over 50 characters: older servers refuse it".into());
    }
    Ok(())
}

fn texts(notification: &Notification<'_>, rules: Rules) -> Result<(), Refusal> {
    let most = match notification.style {
        1 => rules.content_limit,
        2 => MAX_LONG_TEXT,
        3 if rules.is_broadcast => MAX_PICTURE_TEXT,
        _ => return Err(Refusal::new(INVALID, "style is not 1 or 2")),
    };
    if notification.title.trim().is_empty() || notification.content.trim().is_empty() {
        return Err(Refusal::new(MISSING, "title or content is empty"));
    }
    hold([
        (char_len(notification.title) <= MAX_TITLE, "title over 50 characters"),
        (char_len(notification.sub_title) <= MAX_SUB_TITLE, "sub_title over 10 characters"),
        (char_len(notification.content) <= most, "content over its style's characters"),
    ])
    .map_err(invalid)
}

/// What a tap does.
fn click(notification: &Notification<'_>) -> Result<(), Refusal> {
    let (activity, url) = (notification.click_action_activity, notification.click_action_url);
    let kind = notification.click_action_type;
    hold([
        (matches!(kind, 0 | 1 | 2 | 4 | 5), "click_action_type is not 0, 1, 2, 4 or 5"),
        (!matches!(kind, 1 | 4) || !activity.is_empty(), "no click_action_activity"),
        (!matches!(kind, 2 | 5) || !url.is_empty(), "no click_action_url"),
        (char_len(activity) <= MAX_ACTIVITY, "click_action_activity over 500 characters"),
        (char_len(url) <= MAX_URL, "click_action_url over 2000 characters"),
        (char_len(notification.action_parameters) <= MAX_PARAMETERS, "action_parameters over 4000 characters"),
    ])
    .map_err(invalid)
}

fn ranges(notification: &Notification<'_>, rules: Rules) -> Result<(), Refusal> {
    let is_time = |time: Option<i64>| time.is_some_and(|time| is_timestamp(&time.to_string()));
    let timed = notification.show_time_type == 1;
    if timed && (notification.show_start_time.is_none() || notification.show_end_time.is_none()) {
        return Err(Refusal::new(MISSING, "show_time_type 1 without its times"));
    }
    let is_marketing = notification.category.is_none_or(|category| MARKETING.contains(&category));
    let longest_show_s = if is_marketing { 43_200 } else { 86_400 };
    let call_back_url = notification.call_back_url;
    let latest_push = i64::from(rules.is_broadcast);
    hold([
        (matches!(notification.show_time_type, 0 | 1), "show_time_type is not 0 or 1"),
        (!timed || is_time(notification.show_start_time), "show_start_time is not 13 digits"),
        (!timed || is_time(notification.show_end_time), "show_end_time is not 13 digits"),
        (
            notification.off_line_ttl.is_none_or(|ttl| (0..=MAX_TTL_S).contains(&ttl)),
            "off_line_ttl is not in 0..=864000",
        ),
        (notification.show_ttl.is_none_or(|ttl| (0..=longest_show_s).contains(&ttl)), "show_ttl is out of its range"),
        (matches!(notification.network_type, 0 | 1), "network_type is not 0 or 1"),
        (notification.notify_id.is_none_or(|id| i32::try_from(id).is_ok()), "notify_id is not a 32-bit integer"),
        (matches!(notification.badge_operation_type, None | Some(0 | 1)), "badge_operation_type is not 0 or 1"),
        ((0..=latest_push).contains(&notification.push_time_type), "push_time_type is not 0"),
        (call_back_url.is_none() || rules.has_receipts, "call_back_url for another target than a registration id"),
        (call_back_url.is_none_or(is_web_url), "call_back_url is not an http(s) URL"),
        (call_back_url.is_none_or(|url| char_len(url) <= MAX_CALL_BACK_URL), "call_back_url over 200 characters"),
        (
            char_len(notification.call_back_parameter) <= MAX_CALL_BACK_PARAMETER,
            "call_back_parameter over 100 characters",
        ),
    ])
    .map_err(invalid)
}

/// The class, and how loud it may be.
fn class(notification: &Notification<'_>) -> Result<(), Refusal> {
    let is_known = |category: &str| SERVICE.contains(&category) || MARKETING.contains(&category);
    let level = notification.notify_level;
    hold([
        (level.is_none() || notification.category.is_some(), "notify_level without category"),
        (notification.category.is_none_or(is_known), "category is unknown"),
        (matches!(level, None | Some(1 | 2 | 16)), "notify_level is not 1, 2 or 16"),
    ])
    .map_err(|rule| Refusal::new(67, rule))
}

const fn invalid(rule: &'static str) -> Refusal {
    Refusal::new(INVALID, rule)
}

//! `message.android.notification`: what is shown and what a tap does (document, A3).

use url::Url;

use super::answer::Refusal;
use super::looks::{self, BUTTON, LIGHTS};
use crate::simulator::json::{self, Kind, Member, Members, members};
use crate::simulator::text::char_len;

pub(super) const NOTIFICATION: &[Member] = members!(
    "title": Kind::Text,
    "body": Kind::Text,
    "click_action": Kind::Object(CLICK_ACTION),
    "importance": Kind::Text,
    "channel_id": Kind::Text,
    "notify_id": Kind::Integer,
    "badge": Kind::Object(BADGE),
    "tag": Kind::Text,
    "group": Kind::Text,
    "foreground_show": Kind::Bool,
    "sound": Kind::Text,
    "default_sound": Kind::Bool,
    "image": Kind::Text,
    "icon": Kind::Text,
    "color": Kind::Text,
    "style": Kind::Integer,
    "big_title": Kind::Text,
    "big_body": Kind::Text,
    "inbox_content": Kind::Texts,
    "visibility": Kind::Text,
    "when": Kind::Text,
    "profile_id": Kind::Text,
    "use_default_vibrate": Kind::Bool,
    "use_default_light": Kind::Bool,
    "vibrate_config": Kind::Texts,
    "light_settings": Kind::Object(LIGHTS),
    "buttons": Kind::Objects(BUTTON),
    "title_loc_key": Kind::Text,
    "title_loc_args": Kind::Texts,
    "body_loc_key": Kind::Text,
    "body_loc_args": Kind::Texts,
    "multi_lang_key": Kind::Free,
    "ticker": Kind::Text,
    "notify_summary": Kind::Text,
);
const CLICK_ACTION: &[Member] =
    members!("type": Kind::Integer, "intent": Kind::Text, "action": Kind::Text, "url": Kind::Text);
const BADGE: &[Member] = members!("class": Kind::Text, "add_num": Kind::Integer, "set_num": Kind::Integer);

/// Checks everything but the texts, which may stand elsewhere.
pub(super) fn check(notification: &Members, warnings: &mut Vec<String>) -> Result<(), Refusal> {
    check_rules(notification, warnings).map_err(|rule| Refusal::new("80100003", rule))
}

fn check_rules(notification: &Members, warnings: &mut Vec<String>) -> Result<(), &'static str> {
    check_click_action(notification)?;
    if json::text(notification, "importance").is_some_and(|level| !matches!(level, "LOW" | "NORMAL" | "HIGH")) {
        return Err("importance is not LOW or NORMAL");
    }
    if json::integer(notification, "notify_id").is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id)) {
        return Err("notify_id is not in 0..=2147483647");
    }
    if let Some(badge) = json::object(notification, "badge") {
        check_badge(badge, warnings)?;
    }
    let has_own_sound = json::text(notification, "sound").is_some();
    if has_own_sound && json::flag(notification, "default_sound") != Some(false) {
        return Err("sound without default_sound false");
    }
    check_style(notification)?;
    looks::check(notification)
}

fn check_click_action(notification: &Members) -> Result<(), &'static str> {
    let action = json::object(notification, "click_action").ok_or("no click_action")?;
    let has = |name: &str| json::filled(action, name).is_some();
    match json::integer(action, "type").ok_or("click_action has no type")? {
        1 if !has("intent") && !has("action") => Err("click_action 1 has no intent and no action"),
        2 if !is_https(json::text(action, "url").unwrap_or_default()) => Err("click_action 2 has no https url"),
        1..=3 => Ok(()),
        _ => Err("the type of click_action is not 1 to 3"),
    }
}

fn check_badge(badge: &Members, warnings: &mut Vec<String>) -> Result<(), &'static str> {
    if json::integer(badge, "add_num").is_some_and(|number| !(1..=99).contains(&number)) {
        return Err("add_num is not in 1..=99");
    }
    if json::integer(badge, "set_num").is_some_and(|number| !(0..=99).contains(&number)) {
        return Err("set_num is not in 0..=99");
    }
    if json::filled(badge, "class").is_none() {
        warnings.push("badge without class: the badge does not work".into());
    }
    Ok(())
}

fn check_style(notification: &Members) -> Result<(), &'static str> {
    let has = |name: &str| json::filled(notification, name).is_some();
    match json::integer(notification, "style").unwrap_or(0) {
        0 => Ok(()),
        1 if has("big_title") && has("big_body") => Ok(()),
        1 => Err("style 1 without big_title or big_body"),
        3 => {
            let lines = json::texts(notification, "inbox_content");
            if (1..=5).contains(&lines.len()) && lines.iter().all(|line| char_len(line) <= 1_024) {
                Ok(())
            } else {
                Err("style 3 without 1 to 5 lines of at most 1024 characters")
            }
        }
        _ => Err("style is not 0, 1 or 3"),
    }
}

pub(super) fn is_https(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "https" && url.has_host())
}

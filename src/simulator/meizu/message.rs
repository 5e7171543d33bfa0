//! `messageJson`: types, lengths, ranges (document, section 4). Both forms of it are read, the document's with 0 and 1 and
//! the Java SDK's with `true`, `false` and members that are empty.

use chrono::NaiveDateTime;

use super::answer::Refusal;
use crate::simulator::json::{self, Kind, Member, Members, members};
use crate::simulator::text::utf16_len;

/// Counted in UTF-16 units, the safe side.
const MAX_TITLE: usize = 32;
const MAX_CONTENT: usize = 100;
const MAX_SUBTITLE: usize = 16;
const MAX_ATTRIBUTE_BYTES: usize = 1_000;
const MAX_CALLBACK_BYTES: usize = 128;
const MAX_PARAM_BYTES: usize = 64;
const DEFAULT_VALID_HOURS: i64 = 24;
const HOUR_MS: i64 = 3_600_000;

const ROOT: &[Member] = members!(
    "noticeBarInfo": Kind::Object(members!(
        "noticeMsgType": Kind::Integer,
        "noticeBarType": Kind::Integer,
        "noticeBarImgUrl": Kind::Text,
        "title": Kind::Text,
        "content": Kind::Text,
    )),
    "noticeExpandInfo": Kind::Object(members!(
        "noticeExpandType": Kind::Integer,
        "noticeExpandContent": Kind::Text,
        "noticeExpandImgUrl": Kind::Text,
    )),
    "clickTypeInfo": Kind::Object(members!(
        "clickType": Kind::Integer,
        "activity": Kind::Text,
        "url": Kind::Text,
        "parameters": Kind::Free,
        "customAttribute": Kind::Text,
    )),
    "pushTimeInfo": Kind::Object(members!(
        "offLine": Kind::Switch,
        "validTime": Kind::Integer,
        "pushTimeType": Kind::Integer,
        "startTime": Kind::Text,
    )),
    "advanceInfo": Kind::Object(members!(
        "fixSpeed": Kind::Switch,
        "fixSpeedRate": Kind::Integer,
        "suspend": Kind::Switch,
        "clearNoticeBar": Kind::Switch,
        "fixDisplay": Kind::Switch,
        "fixStartDisplayTime": Kind::Text,
        "fixEndDisplayTime": Kind::Text,
        "notificationType": Kind::Object(members!(
            "vibrate": Kind::Switch,
            "lights": Kind::Switch,
            "sound": Kind::Switch,
        )),
        "notifyKey": Kind::Text,
    )),
    "vipInfo": Kind::Object(members!(
        "subtitle": Kind::Text,
        "pullDownTop": Kind::Switch,
        "timeTop": Kind::Integer,
        "notGroup": Kind::Switch,
        "titleColor": Kind::Text,
        "backgroundImgUrl": Kind::Text,
        "smallIconUrl": Kind::Text,
        "bigIconUrl": Kind::Text,
    )),
    "extra": Kind::Object(members!(
        "callback": Kind::Text,
        "callback.param": Kind::Text,
        "callback.type": Kind::IntegerOrText,
    )),
);

/// What a message says.
#[derive(Debug)]
pub(super) struct Push<'a> {
    pub(super) title: &'a str,
    pub(super) content: &'a str,
    pub(super) subtitle: Option<&'a str>,
    /// 0 public, 1 private.
    pub(super) class: i64,
    pub(super) parameters: &'a Members,
    /// How long it waits for an offline device; 0: not at all.
    pub(super) ttl_ms: i64,
    pub(super) notify_key: Option<&'a str>,
    /// Where receipts are wanted.
    pub(super) callback: Option<&'a str>,
}

/// The message as a JSON object.
pub(super) fn parse(text: Option<&str>) -> Result<Members, Refusal> {
    let text = text.ok_or(Refusal::new("110004", "no messageJson"))?;
    serde_json::from_str(text).map_err(|_| Refusal::new("1005", "messageJson is no JSON object"))
}

/// Checks a message in the document's order.
pub(super) fn read<'a>(root: &'a Members, warnings: &mut Vec<String>) -> Result<Push<'a>, Refusal> {
    read_rules(root, warnings).map_err(|rule| Refusal::new("1005", rule))
}

fn read_rules<'a>(root: &'a Members, warnings: &mut Vec<String>) -> Result<Push<'a>, &'static str> {
    json::check(root, ROOT).map_err(|wrong| wrong.named)?;
    warnings.extend(json::unknown(root, ROOT).into_iter().map(|name| format!("messageJson has no {name:?}")));
    let bar = json::section(root, "noticeBarInfo");
    let title = json::filled(bar, "title").ok_or("no title")?;
    let content = json::filled(bar, "content").ok_or("no content")?;
    if utf16_len(title) > MAX_TITLE {
        return Err("title over 32 UTF-16 units");
    }
    if utf16_len(content) > MAX_CONTENT {
        return Err("content over 100 UTF-16 units");
    }
    let class = json::integer(bar, "noticeMsgType").unwrap_or(0);
    if !matches!(class, 0 | 1) {
        return Err("noticeMsgType is not 0 or 1");
    }
    match json::integer(bar, "noticeBarType").unwrap_or(0) {
        0 | 2 => {}
        1 => warnings.push("noticeBarType 1 was retired".into()),
        _ => return Err("noticeBarType is not 0 or 2"),
    }
    check_expansion(json::section(root, "noticeExpandInfo"))?;
    let ttl_ms = ttl_ms(json::section(root, "pushTimeInfo"))?;
    let click = json::section(root, "clickTypeInfo");
    check_click(click, warnings)?;
    let notify_key = check_advance(json::section(root, "advanceInfo"))?;
    let vip = json::section(root, "vipInfo");
    check_vip(vip)?;
    let callback = check_extra(json::section(root, "extra"))?;
    let parameters = json::section(click, "parameters");
    if parameters.values().any(|value| !value.is_string()) {
        warnings.push("a value of parameters is no text".into());
    }
    let subtitle = json::filled(vip, "subtitle");
    Ok(Push { title, content, subtitle, class, parameters, ttl_ms, notify_key, callback })
}

fn check_expansion(expansion: &Members) -> Result<(), &'static str> {
    let has = |name: &str| json::filled(expansion, name).is_some();
    match json::integer(expansion, "noticeExpandType").unwrap_or(0) {
        1 if !has("noticeExpandContent") => Err("noticeExpandType 1 without noticeExpandContent"),
        2 if !has("noticeExpandImgUrl") => Err("noticeExpandType 2 without noticeExpandImgUrl"),
        0..=2 => Ok(()),
        _ => Err("noticeExpandType is not 0 to 2"),
    }
}

/// The time to live; it counts only where the message is kept for offline devices.
fn ttl_ms(times: &Members) -> Result<i64, &'static str> {
    if !json::switch(times, "offLine").unwrap_or(true) {
        return Ok(0);
    }
    let hours = json::integer(times, "validTime").unwrap_or(DEFAULT_VALID_HOURS);
    if (1..=72).contains(&hours) { Ok(hours * HOUR_MS) } else { Err("validTime is not in 1..=72") }
}

fn check_click(click: &Members, warnings: &mut Vec<String>) -> Result<(), &'static str> {
    let has = |name: &str| json::filled(click, name).is_some();
    match json::integer(click, "clickType").unwrap_or(0) {
        1 if !has("activity") => return Err("clickType 1 without activity"),
        2 if !has("url") => return Err("clickType 2 without url"),
        3 if !has("customAttribute") => return Err("clickType 3 without customAttribute"),
        3 => warnings.push("clickType 3 was retired".into()),
        0..=2 => {}
        _ => return Err("clickType is not 0 to 3"),
    }
    let is_long = |name: &str| json::text(click, name).is_some_and(|text| text.len() > MAX_ATTRIBUTE_BYTES);
    if ["activity", "url", "customAttribute"].into_iter().any(is_long) {
        return Err("activity, url or customAttribute over 1000 bytes");
    }
    Ok(())
}

fn check_advance(advance: &Members) -> Result<Option<&str>, &'static str> {
    let is_time = |text: &str| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").is_ok();
    let times = ["fixStartDisplayTime", "fixEndDisplayTime"].map(|name| json::filled(advance, name));
    if times.into_iter().flatten().any(|time| !is_time(time)) {
        return Err("a time of fixDisplay is not yyyy-MM-dd HH:mm:ss");
    }
    if json::switch(advance, "fixDisplay") == Some(true) && times.contains(&None) {
        return Err("fixDisplay without its times");
    }
    let key = json::filled(advance, "notifyKey");
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if key.is_some_and(|key| key.len() > 8 || !key.bytes().all(fits)) {
        return Err("notifyKey is not 1 to 8 of [0-9A-Za-z_-]");
    }
    Ok(key)
}

fn check_vip(vip: &Members) -> Result<(), &'static str> {
    if json::text(vip, "subtitle").is_some_and(|text| utf16_len(text) > MAX_SUBTITLE) {
        return Err("subtitle over 16 UTF-16 units");
    }
    if json::integer(vip, "timeTop").is_some_and(|seconds| seconds != 0 && !(1_800..=7_200).contains(&seconds)) {
        return Err("timeTop is not in 1800..=7200");
    }
    if json::filled(vip, "titleColor").is_some_and(|color| !matches!(color, "#206CFF" | "#E42D22")) {
        return Err("titleColor is unknown");
    }
    Ok(())
}

/// The receipt address, whose registration is checked elsewhere.
fn check_extra(extra: &Members) -> Result<Option<&str>, &'static str> {
    let callback = json::filled(extra, "callback");
    if callback.is_some_and(|url| url.len() > MAX_CALLBACK_BYTES) {
        return Err("extra.callback over 128 bytes");
    }
    if json::text(extra, "callback.param").is_some_and(|param| param.len() > MAX_PARAM_BYTES) {
        return Err("extra.callback.param over 64 bytes");
    }
    let kind = json::integer(extra, "callback.type").map(|kind| kind.to_string());
    let kind = kind.as_deref().or_else(|| json::text(extra, "callback.type"));
    if kind.is_some_and(|kind| !matches!(kind, "" | "0" | "1" | "2" | "3")) {
        return Err("extra.callback.type is not 1 to 3");
    }
    Ok(callback)
}

//! The values of a message: lengths in vivo's own counting, ranges, and what receipts are asked for.

use super::answer::{BAD_VALUE, Refusal};
use super::fields::Fields;
use crate::simulator::json::{self, Members};
use crate::simulator::refusal::hold;
use crate::simulator::text::{are_digits, is_web_url, utf16_len};

const MAX_TITLE: usize = 40;
const MAX_CONTENT: usize = 100;
const MAX_CUSTOM_PAIRS: usize = 10;
const MAX_CUSTOM_CHARS: usize = 1_024;
const MAX_SKIP_CONTENT: usize = 1_024;
const MAX_PROFILE_ID: usize = 64;
const MAX_CALLBACK_URL: usize = 128;
const MAX_CALLBACK_PARAM: usize = 64;

/// What counts one more than its UTF-16 units: ideographs with their extensions A to D and compatibility forms, general
/// and CJK punctuation, half-width and full-width forms.
const WIDE: [std::ops::RangeInclusive<char>; 11] = [
    '\u{2000}'..='\u{206f}',
    '\u{3000}'..='\u{303f}',
    '\u{3400}'..='\u{4dbf}',
    '\u{4e00}'..='\u{9fff}',
    '\u{f900}'..='\u{faff}',
    '\u{fe30}'..='\u{fe4f}',
    '\u{ff00}'..='\u{ffef}',
    '\u{20000}'..='\u{2a6df}',
    '\u{2a700}'..='\u{2b73f}',
    '\u{2b740}'..='\u{2b81f}',
    '\u{2f800}'..='\u{2fa1f}',
];

/// Checks all values and says what passes but looks wrong.
pub(super) fn check(fields: &Fields<'_>) -> Result<Vec<String>, Refusal> {
    let mut warnings = Vec::new();
    text(fields.title, MAX_TITLE, [(10_055, "title is empty"), (10_056, "title over 40 width units")])?;
    text(fields.content, MAX_CONTENT, [(10_058, "content is empty"), (10_059, "content over 100 width units")])?;
    if !fields.notify_type.is_some_and(|kind| (1..=4).contains(&kind)) {
        return Err(Refusal::new(10_054, "notifyType is missing or not 1..=4"));
    }
    skip(fields, &mut warnings)?;
    hold([
        (fields.network_type.is_none_or(|kind| kind == -1 || kind == 1), "networkType is not -1 or 1"),
        (fields.classification.is_none_or(|class| class == 0 || class == 1), "classification is not 0 or 1"),
        (fields.push_mode == 0 || fields.push_mode == 1, "pushMode is not 0 or 1"),
        (
            fields.notify_id.is_none_or(|id| (1..=i64::from(i32::MAX)).contains(&id)),
            "notifyId is not in 1..=2147483647",
        ),
        (fields.profile_id.is_none_or(|id| utf16_len(id) <= MAX_PROFILE_ID), "profileId over 64 characters"),
    ])
    .map_err(bad_value)?;
    if fields.custom.len() > MAX_CUSTOM_PAIRS {
        return Err(Refusal::new(10_066, "clientCustomMap over 10 pairs"));
    }
    let pairs = fields.custom.iter();
    let custom_chars = pairs.map(|(key, value)| utf16_len(key) + value.as_str().map_or(0, utf16_len)).sum::<usize>();
    if custom_chars > MAX_CUSTOM_CHARS {
        return Err(Refusal::new(10_067, "clientCustomMap over 1024 characters"));
    }
    extra(fields.extra)?;
    Ok(warnings)
}

const fn bad_value(rule: &'static str) -> Refusal {
    Refusal::new(BAD_VALUE, rule)
}

fn text(text: &str, most: usize, rules: [(i64, &'static str); 2]) -> Result<(), Refusal> {
    let [empty, long] = rules.map(|(code, rule)| Refusal::new(code, rule));
    if text.trim().is_empty() {
        Err(empty)
    } else if width(text) > most {
        Err(long)
    } else {
        Ok(())
    }
}

/// vivo's width of a text: UTF-16 units, and one more for each wide character.
fn width(text: &str) -> usize {
    utf16_len(text) + text.chars().filter(|c| WIDE.iter().any(|block| block.contains(c))).count()
}

/// What a tap does.
fn skip(fields: &Fields<'_>, warnings: &mut Vec<String>) -> Result<(), Refusal> {
    let Some(kind @ 1..=4) = fields.skip_type else {
        return Err(Refusal::new(BAD_VALUE, "skipType is missing or not 1..=4"));
    };
    if kind != 1 && fields.skip_content.is_empty() {
        return Err(Refusal::new(BAD_VALUE, "skipContent is missing"));
    }
    if utf16_len(fields.skip_content) > MAX_SKIP_CONTENT {
        return Err(Refusal::new(BAD_VALUE, "skipContent over 1024 characters"));
    }
    if kind == 3 {
        warnings.push("skipType 3: newer client SDKs have no such callback".into());
    }
    if kind == 4 && !fields.skip_content.starts_with("intent:") {
        warnings.push("skipType 4 wants an intent URI in skipContent".into());
    }
    Ok(())
}

/// `extra` is for receipts: its three keys, and one of the two schemes (document, section 7).
fn extra(pairs: &Members) -> Result<(), Refusal> {
    let [callback, id, param] = ["callback", "callback.id", "callback.param"].map(|name| json::text(pairs, name));
    let known = [callback, id, param].into_iter().flatten().count();
    hold([
        (known == pairs.len(), "extra has a key that is not its own"),
        (callback.is_none() || id.is_none(), "extra mixes callback and callback.id"),
        (callback.is_none_or(|url| utf16_len(url) <= MAX_CALLBACK_URL), "extra.callback over 128 characters"),
        (callback.is_none_or(is_web_url), "extra.callback is not an http(s) URL"),
        (id.is_none_or(are_digits), "extra callback.id is not a number"),
        (param.is_none_or(|param| utf16_len(param) <= MAX_CALLBACK_PARAM), "extra callback.param over 64 characters"),
    ])
    .map_err(bad_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_as_wide_as_vivo_counts() {
        let cases = [
            ("Li Wei", 6),
            ("晚上", 4),
            ("，。", 4),
            ("…", 2),
            ("Ａ", 2),
            ("é", 1),
            ("한", 1),
            ("😀", 2),
            ("𠀀", 3),
            ("\u{2fa1d}", 3),
            ("あ", 1),
        ];
        for (text, wanted) in cases {
            assert_eq!(width(text), wanted, "{text}");
        }
    }
}

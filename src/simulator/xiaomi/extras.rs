//! The `extra.*` fields of a send: the app's own pairs, the receipt callback, template values.

use std::net::IpAddr;

use serde_json::{Map, Value};
use url::{Host, Url};

use super::answer::Refusal;
use super::symbols::is_symbol;
use super::world::XiaomiTemplate;
use crate::simulator::form::Form;
use crate::simulator::text::utf16_len;

const MAX_PAIRS: usize = 10;
const MAX_PAIRS_CHARACTERS: usize = 1_024;
const MAX_CALLBACK_BYTES: usize = 128;
const MAX_PARAM_BYTES: usize = 64;
const MAX_TEMPLATE_VALUE: usize = 128;
/// Delivered 1, clicked 2, invalid 16, switched off 32, filtered 64, over quota 128, expired 1024.
const ALL_RECEIPTS: u32 = 1_267;
/// Delivered and clicked.
const DEFAULT_RECEIPTS: u32 = 3;

/// The keys with a meaning to the vendor (document, section 2), ascending; all others are the app's own.
const KNOWN_KEYS: [&str; 25] = [
    "app_version",
    "app_version_not_in",
    "badge",
    "callback",
    "callback.param",
    "callback.type",
    "channel_description",
    "channel_id",
    "channel_name",
    "connpt",
    "flow_control",
    "intent_uri",
    "jobkey",
    "locale",
    "locale_not_in",
    "model",
    "model_not_in",
    "notify_effect",
    "notify_foreground",
    "only_send_once",
    "sound_uri",
    "template_id",
    "template_param",
    "ticker",
    "web_uri",
];

/// Where receipts of a message go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Callback {
    pub(super) url: Url,
    pub(super) param: String,
    /// The receipts asked for, a sum of bits; 0 when the sum was wrong.
    pub(super) types: u32,
}

impl Callback {
    /// A simulator never calls another machine.
    pub(super) fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }
}

/// All pairs with a value, without the prefix. An empty value means "not set".
pub(super) fn pairs(form: &Form) -> impl Iterator<Item = (&str, &str)> {
    let filled = form.pairs().iter().filter(|pair| !pair.1.is_empty());
    filled.filter_map(|(name, value)| Some((name.strip_prefix("extra.")?, value.as_str())))
}

/// The limits on the app's own pairs.
pub(super) fn check_own(form: &Form) -> Result<(), Refusal> {
    let own = pairs(form).filter(|(key, _)| KNOWN_KEYS.binary_search(key).is_err());
    let (count, length) =
        own.fold((0, 0), |(count, length), (key, value)| (count + 1, length + utf16_len(key) + utf16_len(value)));
    if count > MAX_PAIRS {
        return Err(Refusal::new(65_014, "over 10 pairs of the app's own"));
    }
    if length > MAX_PAIRS_CHARACTERS {
        return Err(Refusal::new(65_015, "the app's own pairs are over 1024 characters"));
    }
    Ok(())
}

/// The receipt callback, if one is asked for; a wrong sum of types is a warning, as the vendor stays silent about it.
pub(super) fn callback(form: &Form, warnings: &mut Vec<String>) -> Result<Option<Callback>, Refusal> {
    let param = form.filled("extra.callback.param").unwrap_or_default();
    let Some(text) = form.filled("extra.callback") else {
        check_param(param)?;
        return Ok(None);
    };
    if text.len() > MAX_CALLBACK_BYTES {
        return Err(Refusal::new(65_037, "extra.callback over 128 bytes"));
    }
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or(Refusal::new(65_038, "extra.callback is not a URL"))?;
    check_param(param)?;
    let sum = form.filled("extra.callback.type").map_or(Ok(DEFAULT_RECEIPTS), str::parse);
    let types = sum.ok().filter(|&sum| sum != 0 && sum & !ALL_RECEIPTS == 0).unwrap_or_else(|| {
        warnings.push("extra.callback.type is no sum of receipt types: no receipts".into());
        0
    });
    Ok(Some(Callback { url, param: param.to_owned(), types }))
}

fn check_param(param: &str) -> Result<(), Refusal> {
    if param.len() > MAX_PARAM_BYTES {
        return Err(Refusal::new(65_036, "extra.callback.param over 64 bytes"));
    }
    Ok(())
}

/// A jobkey the client would not take is a warning: the vendor says nothing about it.
pub(super) fn jobkey<'a>(form: &'a Form, warnings: &mut Vec<String>) -> Option<&'a str> {
    let key = form.filled("extra.jobkey")?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if key.starts_with('_') || key.len() > 20 || !key.bytes().all(fits) {
        warnings.push("extra.jobkey has characters or a length the documents do not allow".into());
    }
    Some(key)
}

/// The values of a template message; without a known template only the values themselves are checked.
pub(super) fn check_template(form: &Form, template: Option<&XiaomiTemplate>) -> Result<(), Refusal> {
    let refuse = |rule| Err(Refusal::new(27_001, rule));
    let text = form.filled("extra.template_param").unwrap_or("{}");
    let Ok(values) = serde_json::from_str::<Map<String, Value>>(text) else {
        return refuse("template_param is not a JSON object");
    };
    if let Some(template) = template {
        if form.filled("extra.channel_id") != Some(template.channel_id.as_str()) {
            return refuse("the template is bound to another channel");
        }
        if values.len() != template.variables.len() {
            return refuse("template_param has not as many values as the template has variables");
        }
        if !template.variables.iter().all(|name| values.contains_key(name)) {
            return refuse("template_param has other names than the template");
        }
    }
    for value in values.values() {
        let Value::String(value) = value else { return refuse("a template value is not a text") };
        if value.trim().is_empty() {
            return refuse("a template value is empty or blank");
        }
        if utf16_len(value) > MAX_TEMPLATE_VALUE {
            return refuse("a template value is over 128 characters");
        }
        if value.chars().any(is_symbol) {
            return refuse("a template value holds an emoji or another symbol");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a str)];
    /// Receipt types and number of warnings, or the code.
    type Read = Result<Option<(u32, usize)>, u32>;

    fn form(pairs: Pairs<'_>) -> Form {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        Form::parse(body.extend_pairs(pairs).finish().as_bytes()).unwrap()
    }

    #[test]
    fn known_keys_are_sorted_for_the_search() {
        assert!(KNOWN_KEYS.is_sorted());
    }

    #[test]
    fn only_own_and_filled_pairs_count_against_the_limits() {
        let own: Vec<_> = (0..11).map(|n| format!("extra.k{n:02}")).collect();
        let ten: Vec<_> = own[..10].iter().map(|key| (key.as_str(), "v")).collect();
        let with = |more: &[(&'static str, &'static str)]| check_own(&form(&[&ten[..], more].concat()));
        assert_eq!(with(&[("extra.channel_id", "1"), ("extra.callback.type", "3"), ("extra.empty", "")]), Ok(()));
        assert_eq!(with(&[("extra.k", "v")]).unwrap_err().code, 65_014);
        assert_eq!(check_own(&form(&[("extra.ext", &"x".repeat(1_021))])), Ok(()));
        assert_eq!(check_own(&form(&[("extra.ext", &"x".repeat(1_022))])).unwrap_err().code, 65_015);
    }

    #[test]
    fn the_callback_is_checked_in_order_and_a_wrong_sum_gives_no_receipts() {
        let read = |pairs: Pairs<'_>| {
            let mut warnings = Vec::new();
            let callback = callback(&form(pairs), &mut warnings);
            callback.map(|found| found.map(|found| (found.types, warnings.len()))).map_err(|refusal| refusal.code)
        };
        let (long_url, long_param) = (format!("http://a/{}", "x".repeat(120)), "p".repeat(65));
        let url = ("extra.callback", "http://127.0.0.1:1/r");
        let cases: [(Pairs<'_>, Read); 10] = [
            (&[], Ok(None)),
            (&[("extra.callback", "")], Ok(None)),
            (&[url], Ok(Some((3, 0)))),
            (&[url, ("extra.callback.type", "1267")], Ok(Some((1_267, 0)))),
            (&[url, ("extra.callback.type", "246")], Ok(Some((0, 1)))),
            (&[url, ("extra.callback.type", "all")], Ok(Some((0, 1)))),
            (&[("extra.callback", &long_url)], Err(65_037)),
            (&[("extra.callback", "push.example.com/r")], Err(65_038)),
            (&[("extra.callback", "ftp://push.example.com/r")], Err(65_038)),
            (&[url, ("extra.callback.param", &long_param)], Err(65_036)),
        ];
        for (pairs, wanted) in cases {
            assert_eq!(read(pairs), wanted, "{pairs:?}");
        }
    }

    #[test]
    fn only_loopback_hosts_are_called() {
        let cases = [
            ("http://127.0.0.1:1/r", true),
            ("http://127.9.9.9/r", true),
            ("https://[::1]:1/r", true),
            ("http://LOCALHOST:1/r", true),
            ("http://2130706433/r", true), // the number of 127.0.0.1
            ("http://localhost.example.com/r", false),
            ("http://127.0.0.1.example.com/r", false),
            ("http://127.0.0.1@example.com/r", false),
            ("http://0.0.0.0:1/r", false),
            ("http://10.0.0.1/r", false),
        ];
        for (url, wanted) in cases {
            let callback = Callback { url: Url::parse(url).unwrap(), param: String::new(), types: 3 };
            assert_eq!(callback.is_loopback(), wanted, "{url}");
        }
    }

    #[test]
    fn template_values_fit_their_template() {
        let template = XiaomiTemplate {
            package: "p".into(),
            id: "P1".into(),
            channel_id: "134567".into(),
            variables: vec!["sender".into(), "text".into()],
        };
        let long = format!(r#"{{"sender":"a","text":"{}"}}"#, "x".repeat(129));
        let cases = [
            (r#"{"sender":"小红","text":"晚上一起吃饭吗？"}"#, true),
            (r#"{"sender":"小红"}"#, false),
            (r#"{"sender":"a","other":"b"}"#, false),
            (r#"{"sender":"a","text":"b","more":"c"}"#, false),
            (r#"{"sender":"a","text":" "}"#, false),
            (r#"{"sender":"a","text":7}"#, false),
            (r#"{"sender":"a","text":"ok 👍"}"#, false),
            (&long, false),
            ("[]", false),
            ("", false),
        ];
        for (values, wanted) in cases {
            let form = form(&[("extra.channel_id", "134567"), ("extra.template_param", values)]);
            assert_eq!(check_template(&form, Some(&template)).is_ok(), wanted, "{values}");
        }
        let other_channel = form(&[("extra.channel_id", "1"), ("extra.template_param", cases[0].0)]);
        assert_eq!(check_template(&other_channel, Some(&template)).unwrap_err().code, 27_001);
        assert!(check_template(&other_channel, None).is_ok());
    }
}

//! The fixed fields of a send: types, lengths, ranges (document, sections 2 and 13).

use super::answer::Refusal;
use crate::simulator::form::Form;
use crate::simulator::text::utf16_len;

/// Titles have fewer than 50 characters, descriptions fewer than 128; counted as UTF-16 units, the safe side.
const MAX_TITLE: usize = 49;
const MAX_DESCRIPTION: usize = 127;
const MAX_PAYLOAD_BYTES: usize = 4_096;
/// A shorter time to live is legal but nearly always seconds sent for milliseconds.
const SHORT_TTL_MS: i64 = 60_000;

/// The fixed fields, read and checked.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) data_only: bool,
    pub(super) title: &'a str,
    pub(super) description: &'a str,
    pub(super) payload: Option<&'a str>,
    pub(super) notify_id: &'a str,
    pub(super) ttl_ms: Option<i64>,
    pub(super) warnings: Vec<String>,
}

/// Checks the fixed fields in the document's order. A template stands in for title and description.
pub(super) fn read(form: &Form, checks_notify_id: bool) -> Result<Fields<'_>, Refusal> {
    let data_only = match form.filled("pass_through") {
        None | Some("0") => false,
        Some("1") => true,
        Some(_) => return Err(Refusal::new(10_017, "pass_through is not 0 or 1")),
    };
    integer(form, "notify_type", "notify_type is not an integer")?;
    let ttl_ms = integer(form, "time_to_live", "time_to_live is not an integer")?;
    let send_at_ms = integer(form, "time_to_send", "time_to_send is not an integer")?;
    if ttl_ms.is_some_and(|ttl| ttl < 0) {
        return Err(Refusal::new(10_017, "time_to_live is negative"));
    }

    let title = form.get("title").unwrap_or_default();
    let description = form.get("description").unwrap_or_default();
    let has_template = form.filled("extra.template_id").is_some();
    if !data_only && !has_template && (title.trim().is_empty() || description.trim().is_empty()) {
        return Err(Refusal::new(65_011, "Title or Description is empty!"));
    }
    if utf16_len(title) > MAX_TITLE {
        return Err(Refusal::new(10_017, "title over 49 UTF-16 units"));
    }
    if utf16_len(description) > MAX_DESCRIPTION {
        return Err(Refusal::new(10_017, "description over 127 UTF-16 units"));
    }
    let payload = form.filled("payload");
    if payload.is_some_and(|payload| payload.len() > MAX_PAYLOAD_BYTES) {
        return Err(Refusal::new(65_009, "payload over 4096 bytes"));
    }
    let notify_id = form.filled("notify_id").unwrap_or("0");
    if checks_notify_id && !is_notify_id(notify_id) {
        return Err(Refusal::new(22_103, "notify_id is not in 0..=2147483647"));
    }

    let mut warnings = repeated(form);
    if ttl_ms.is_some_and(|ttl| ttl < SHORT_TTL_MS) {
        warnings.push("time_to_live is below 60000: milliseconds, not seconds?".into());
    }
    if send_at_ms.is_some_and(|at| at > 0) {
        warnings.push("time_to_send is set: this stand-in delivers at once".into());
    }
    Ok(Fields { data_only, title, description, payload, notify_id, ttl_ms, warnings })
}

/// A collapse key: a non-negative Java `int` in decimal digits.
pub(super) fn is_notify_id(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i32>().is_ok()
}

fn integer(form: &Form, name: &str, rule: &'static str) -> Result<Option<i64>, Refusal> {
    form.filled(name).map(str::parse).transpose().map_err(|_| Refusal::new(10_017, rule))
}

/// Fields sent twice where one is read. The package name may be repeated.
fn repeated(form: &Form) -> Vec<String> {
    let pairs = form.pairs();
    let is_repeated = |(at, name): (usize, &str)| pairs.iter().take(at).any(|pair| pair.0 == name);
    let names = pairs.iter().enumerate().map(|(at, pair)| (at, pair.0.as_str()));
    names
        .filter(|&(at, name)| name != "restricted_package_name" && is_repeated((at, name)))
        .map(|(_, name)| format!("{name} is repeated: only the first one is read"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str) -> Result<(), u32> {
        let form = Form::parse(format!("title=t&description=d&{body}").as_bytes()).unwrap();
        read(&form, true).map(|_| ()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn each_rule_has_its_code() {
        let long_payload = format!("payload={}", "x".repeat(4_097));
        let cases: [(&str, Result<(), u32>); 17] = [
            ("pass_through=0&notify_type=-1&notify_id=1024&time_to_live=86400000", Ok(())),
            ("pass_through=&notify_type=&notify_id=&payload=", Ok(())),
            ("notify_id=2147483647&unknown=x", Ok(())),
            ("time_to_live=3600", Ok(())),
            ("pass_through=2", Err(10_017)),
            ("pass_through=01", Err(10_017)),
            ("notify_type=all", Err(10_017)),
            ("time_to_live=1d", Err(10_017)),
            ("time_to_live=1.5", Err(10_017)),
            ("time_to_live=-1", Err(10_017)),
            ("time_to_send=soon", Err(10_017)),
            (&long_payload, Err(65_009)),
            (&long_payload[..long_payload.len() - 1], Ok(())),
            ("notify_id=2147483648", Err(22_103)),
            ("notify_id=-1", Err(22_103)),
            ("notify_id=%2B5", Err(22_103)),
            ("notify_id=x", Err(22_103)),
        ];
        for (body, wanted) in cases {
            assert_eq!(check(body), wanted, "{}", &body[..body.len().min(60)]);
        }
    }

    #[test]
    fn title_and_description_are_counted_in_utf_16_units_and_must_not_be_blank() {
        let cases: [(String, String, &str, Result<(), u32>); 9] = [
            ("红".repeat(49), "饭".repeat(127), "", Ok(())),
            ("红".repeat(50), "d".into(), "", Err(10_017)),
            ("t".into(), "d".repeat(128), "", Err(10_017)),
            ("😀".repeat(24), "d".into(), "", Ok(())),
            ("😀".repeat(25), "d".into(), "", Err(10_017)),
            (String::new(), "d".into(), "", Err(65_011)),
            ("t".into(), " \u{3000}".into(), "", Err(65_011)),
            (String::new(), String::new(), "pass_through=1", Ok(())),
            (String::new(), String::new(), "extra.template_id=P1", Ok(())),
        ];
        for (title, description, more, wanted) in cases {
            let form = Form::parse(format!("title={title}&description={description}&{more}").as_bytes()).unwrap();
            assert_eq!(read(&form, true).map(|_| ()).map_err(|refusal| refusal.code), wanted, "{title} {description}");
        }
    }

    #[test]
    fn what_passes_but_looks_wrong_is_warned_of() {
        let form = Form::parse(b"title=t&title=u&description=d&time_to_live=3600&time_to_send=5").unwrap();
        let fields = read(&form, true).unwrap();
        assert_eq!((fields.title, fields.warnings.len()), ("t", 3));
        let form = Form::parse(b"title=t&description=d&notify_id=1792380000000").unwrap();
        assert!(read(&form, false).is_ok(), "the notify_id rule can be switched off");
    }
}

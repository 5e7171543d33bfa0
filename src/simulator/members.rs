//! JSON members read with their types: absent and `null` are the same, a wrong type is never coerced.

use axum::body::Bytes;
use serde_json::{Map, Value};

/// A member that has another type than the vendor's document gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrongType {
    /// For the counters: says which rule, never a value.
    pub(super) rule: &'static str,
    /// Which member it is.
    pub(super) member: &'static str,
}

impl WrongType {
    /// Says which member has to be what.
    pub(super) fn detail(&self) -> String {
        format!("{}: {}", self.member, self.rule)
    }
}

/// The members of one JSON object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Members<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Members<'a> {
    /// A member; `None` also for `null`.
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(super) fn text(self, member: &'static str) -> Result<Option<&'a str>, WrongType> {
        self.read(member, "a member is not a text", Value::as_str)
    }

    /// A whole number, not in quotes.
    pub(super) fn integer(self, member: &'static str) -> Result<Option<i64>, WrongType> {
        self.read(member, "a member is not an integer", Value::as_i64)
    }

    /// `true` or `false`, not in quotes.
    pub(super) fn flag(self, member: &'static str) -> Result<Option<bool>, WrongType> {
        self.read(member, "a member is not true or false", Value::as_bool)
    }

    /// An object.
    pub(super) fn object(self, member: &'static str) -> Result<Option<Members<'a>>, WrongType> {
        self.read(member, "a member is not an object", |value| value.as_object().map(Members))
    }

    /// A list.
    pub(super) fn list(self, member: &'static str) -> Result<Option<&'a [Value]>, WrongType> {
        self.read(member, "a member is not a list", |value| value.as_array().map(Vec::as_slice))
    }

    /// A list of texts.
    pub(super) fn texts(self, member: &'static str) -> Result<Option<Vec<&'a str>>, WrongType> {
        let texts = |value: &'a Value| value.as_array()?.iter().map(Value::as_str).collect();
        self.read(member, "a member is not a list of texts", texts)
    }

    /// An object whose values are texts, in the order of its keys.
    pub(super) fn pairs(self, member: &'static str) -> Result<Option<Vec<(&'a str, &'a str)>>, WrongType> {
        let pairs = |value: &'a Value| {
            value.as_object()?.iter().map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
        };
        self.read(member, "a member is not an object of texts", pairs)
    }

    fn read<T>(
        self,
        member: &'static str,
        rule: &'static str,
        typed: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, WrongType> {
        self.get(member).map(|value| typed(value).ok_or(WrongType { rule, member })).transpose()
    }
}

/// A body that is a JSON object in UTF-8.
pub(super) fn object(body: &Bytes) -> Option<Map<String, Value>> {
    serde_json::from_slice(body).ok()
}

/// The app's own data as one text: the text member `ext` where there is one, else all of it as compact JSON; `None` when
/// there is none.
pub(super) fn payload(data: &Map<String, Value>) -> Option<String> {
    match data.get("ext") {
        Some(Value::String(ext)) => Some(ext.clone()),
        _ if data.is_empty() => None,
        // A map of JSON values always serialises.
        _ => serde_json::to_string(data).ok(),
    }
}

/// How long a text is in UTF-16 units, as Java and JavaScript count.
pub(super) fn utf16_len(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn null_is_absent_and_no_type_is_taken_for_another() {
        let map = map(r#"{"t":"5","n":5,"f":5.0,"b":true,"o":{"k":"v"},"m":{"k":1},"l":["a"],"x":["a",1],"z":null}"#);
        let members = Members(&map);
        assert_eq!((members.text("t"), members.text("z"), members.text("q")), (Ok(Some("5")), Ok(None), Ok(None)));
        assert_eq!((members.integer("n"), members.flag("b")), (Ok(Some(5)), Ok(Some(true))));
        assert_eq!(members.pairs("o"), Ok(Some(vec![("k", "v")])));
        assert_eq!((members.texts("l"), members.list("x").unwrap().unwrap().len()), (Ok(Some(vec!["a"])), 2));
        let wrong = [
            members.text("n").map(|_| ()),
            members.integer("t").map(|_| ()),
            members.integer("f").map(|_| ()),
            members.flag("n").map(|_| ()),
            members.object("l").map(|_| ()),
            members.list("o").map(|_| ()),
            members.texts("x").map(|_| ()),
            members.pairs("m").map(|_| ()),
        ];
        assert!(wrong.iter().all(Result::is_err), "{wrong:?}");
        assert_eq!(members.integer("t").unwrap_err().detail(), "t: a member is not an integer");
    }

    #[test]
    fn the_payload_is_the_member_ext_or_everything() {
        let cases = [
            (r#"{"ext":"x","k":"v"}"#, Some("x")),
            (r#"{"k":"v"}"#, Some(r#"{"k":"v"}"#)),
            (r#"{"ext":{"a":1}}"#, Some(r#"{"ext":{"a":1}}"#)),
            ("{}", None),
        ];
        for (json, wanted) in cases {
            assert_eq!(payload(&map(json)).as_deref(), wanted, "{json}");
        }
    }
}

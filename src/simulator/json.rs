//! JSON members checked by their type. `null` counts as absent, as vendors' servers read it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

/// The members of one JSON object.
pub(super) type Members = Map<String, Value>;

/// What stands for an object that is absent.
pub(super) static NO_MEMBERS: LazyLock<Members> = LazyLock::new(Members::new);

/// What a vendor's document says a member is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A text.
    Text,
    /// A number without a fraction.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Bool,
    /// 0 or 1, `true` or `false`.
    Switch,
    /// A number without a fraction, or a text.
    IntegerOrText,
    /// An array of texts.
    Texts,
    /// An array of anything.
    List,
    /// An array of objects with these members.
    Objects(&'static [Member]),
    /// An object with these members.
    Object(&'static [Member]),
    /// An object whose members are the sender's own.
    Free,
}

/// One member of an object, as documented.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What is said when the type is another one.
    pub(super) rule: &'static str,
}

/// A table of members: `members!("ttl": Kind::Text, ..)`.
macro_rules! members {
    ($($name:literal: $kind:expr),+ $(,)?) => {
        &[$($crate::simulator::json::Member {
            name: $name,
            kind: $kind,
            rule: concat!($name, " has the wrong JSON type"),
        }),+]
    };
}
pub(super) use members;

/// Checks the types of all documented members, nested ones too. The error is the rule of the first wrong one, in the
/// table's order; members that the table does not know are let pass.
pub(super) fn check(object: &Members, table: &[Member]) -> Result<(), &'static str> {
    table.iter().try_for_each(|member| match object.get(member.name) {
        None | Some(Value::Null) => Ok(()),
        Some(value) => check_value(value, member),
    })
}

fn check_value(value: &Value, member: &Member) -> Result<(), &'static str> {
    let is_integer = value.is_i64() || value.is_u64();
    let fits = match (member.kind, value) {
        (Kind::Object(table), Value::Object(nested)) => return check(nested, table),
        (Kind::Objects(table), Value::Array(list)) => {
            return list.iter().try_for_each(|one| one.as_object().map_or(Err(member.rule), |one| check(one, table)));
        }
        (Kind::Texts, Value::Array(list)) => list.iter().all(Value::is_string),
        (Kind::Text, value) => value.is_string(),
        (Kind::Integer, _) => is_integer,
        (Kind::Number, value) => value.is_number(),
        (Kind::Bool, value) => value.is_boolean(),
        (Kind::Switch, value) => value.is_boolean() || matches!(value.as_i64(), Some(0 | 1)),
        (Kind::IntegerOrText, value) => is_integer || value.is_string(),
        (Kind::List, value) => value.is_array(),
        (Kind::Free, value) => value.is_object(),
        (Kind::Object(_) | Kind::Objects(_) | Kind::Texts, _) => false,
    };
    if fits { Ok(()) } else { Err(member.rule) }
}

/// The members that the table does not know, nested ones with the object's name before them: `vipInfo.x`.
pub(super) fn unknown(object: &Members, table: &[Member]) -> Vec<String> {
    let mut names = Vec::new();
    for (name, value) in object {
        match table.iter().find(|member| member.name == name) {
            None => names.push(name.clone()),
            Some(Member { kind: Kind::Object(table), .. }) => {
                let nested = value.as_object().map(|nested| unknown(nested, table)).unwrap_or_default();
                names.extend(nested.into_iter().map(|inner| format!("{name}.{inner}")));
            }
            Some(_) => {}
        }
    }
    names
}

/// A text, `None` when it is absent or something else.
pub(super) fn text<'a>(object: &'a Members, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

/// A text that is not empty.
pub(super) fn filled<'a>(object: &'a Members, name: &str) -> Option<&'a str> {
    text(object, name).filter(|text| !text.is_empty())
}

/// An integer, `None` when it is absent or something else. One too large for 64 bits is the largest.
pub(super) fn integer(object: &Members, name: &str) -> Option<i64> {
    let value = object.get(name)?;
    value.as_i64().or_else(|| value.is_u64().then_some(i64::MAX))
}

/// 0 or 1, `false` or `true`.
pub(super) fn switch(object: &Members, name: &str) -> Option<bool> {
    let value = object.get(name)?;
    value.as_bool().or_else(|| value.as_i64().map(|flag| flag != 0))
}

/// A nested object.
pub(super) fn object<'a>(object: &'a Members, name: &str) -> Option<&'a Members> {
    object.get(name)?.as_object()
}

/// A nested object; an absent one is empty.
pub(super) fn section<'a>(of: &'a Members, name: &str) -> &'a Members {
    object(of, name).unwrap_or(&NO_MEMBERS)
}

/// An array; an absent one is empty.
pub(super) fn list<'a>(object: &'a Members, name: &str) -> &'a [Value] {
    object.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The app's own data as one text: the member `ext` where that is a text, else all of it; `None` when there is none.
pub(super) fn app_data(data: &Members) -> Option<String> {
    match text(data, "ext") {
        Some(ext) => Some(ext.to_owned()),
        None if data.is_empty() => None,
        None => serde_json::to_string(data).ok(),
    }
}

/// The app's own data key by key: texts as they are, others as JSON.
pub(super) fn app_pairs(data: &Members) -> BTreeMap<String, String> {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    data.iter().map(|(key, value)| (key.clone(), plain(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Member] = members!(
        "text": Kind::Text,
        "integer": Kind::Integer,
        "number": Kind::Number,
        "bool": Kind::Bool,
        "switch": Kind::Switch,
        "either": Kind::IntegerOrText,
        "texts": Kind::Texts,
        "list": Kind::List,
        "objects": Kind::Objects(members!("inner": Kind::Text)),
        "object": Kind::Object(members!("inner": Kind::Text)),
        "free": Kind::Free,
    );

    fn members(json: &str) -> Members {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_member_of_another_type_is_named() {
        let good = [
            r#"{"text":"1","integer":-1,"number":1.5,"bool":false,"either":1,"texts":["a"],"list":[1]}"#,
            r#"{"either":"1","switch":true,"object":{"inner":"a","other":1},"objects":[{"inner":"a"}],"free":{"a":1}}"#,
            r#"{"text":null,"integer":null,"object":{"inner":null},"switch":0,"unknown":1}"#,
        ];
        for json in good {
            assert_eq!(check(&members(json), TABLE), Ok(()), "{json}");
        }
        let bad = [
            (r#"{"text":1}"#, "text"),
            (r#"{"integer":"1"}"#, "integer"),
            (r#"{"integer":1.0}"#, "integer"),
            (r#"{"number":"1"}"#, "number"),
            (r#"{"bool":1}"#, "bool"),
            (r#"{"switch":2}"#, "switch"),
            (r#"{"switch":"1"}"#, "switch"),
            (r#"{"either":true}"#, "either"),
            (r#"{"texts":"a"}"#, "texts"),
            (r#"{"texts":["a",1]}"#, "texts"),
            (r#"{"list":{}}"#, "list"),
            (r#"{"object":[]}"#, "object"),
            (r#"{"object":{"inner":1}}"#, "inner"),
            (r#"{"objects":[{"inner":1}]}"#, "inner"),
            (r#"{"objects":["inner"]}"#, "objects"),
            (r#"{"free":"a"}"#, "free"),
        ];
        for (json, name) in bad {
            let wanted = format!("{name} has the wrong JSON type");
            assert_eq!(check(&members(json), TABLE).unwrap_err(), wanted, "{json}");
        }
    }

    #[test]
    fn members_without_a_place_in_the_table_are_listed() {
        let object = members(r#"{"text":"a","x":1,"object":{"inner":"a","y":1},"free":{"z":1}}"#);
        assert_eq!(unknown(&object, TABLE), ["object.y", "x"]);
    }

    #[test]
    fn the_apps_data_is_its_member_ext_or_all_of_it() {
        let cases = [
            (r#"{"ext":"{\"a\":1}","b":"c"}"#, Some(r#"{"a":1}"#)),
            (r#"{"ext":{"a":1}}"#, Some(r#"{"ext":{"a":1}}"#)),
            (r#"{ "a" : "b" }"#, Some(r#"{"a":"b"}"#)),
            ("{}", None),
        ];
        for (json, wanted) in cases {
            assert_eq!(app_data(&members(json)).as_deref(), wanted, "{json}");
        }
        assert_eq!(app_pairs(&members(r#"{"a":"b","c":[1]}"#))["c"], "[1]");
    }
}

//! JSON members: a vendor's stand-in lists them in tables with their types, checks an object against a table once, and
//! reads it freely after that. `null` counts as absent, as vendors' servers read it, and no type is taken for another.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

#[cfg(test)]
mod tests;

/// The members of one JSON object.
pub(super) type Members = Map<String, Value>;

/// What stands for an object that is absent.
pub(super) static NO_MEMBERS: LazyLock<Members> = LazyLock::new(Members::new);

/// What a vendor's document says a member is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A text.
    Text,
    /// A number without a fraction, in 64 bits with its sign.
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
    /// An object whose members are texts, whatever their names.
    Pairs,
    /// An object whose members are the sender's own.
    Free,
    /// What only this vendor has: a test, and what is said when it fails.
    Own(fn(&Value) -> bool, &'static str),
}

impl Kind {
    /// What is said, without a name, of a value that is something else.
    const fn rule(self, is_array: bool) -> &'static str {
        match self {
            Self::Text => "a member is not a text",
            Self::Integer => "a member is not an integer",
            Self::Number => "a member is not a number",
            Self::Bool => "a member is not true or false",
            Self::Switch => "a member is not 0, 1, true or false",
            Self::IntegerOrText => "a member is not an integer or a text",
            Self::Texts => "a member is not a list of texts",
            Self::Objects(_) if is_array => "a member is not a list of objects",
            Self::List | Self::Objects(_) => "a member is not a list",
            Self::Object(_) | Self::Free => "a member is not an object",
            Self::Pairs => "a member is not an object of texts",
            Self::Own(_, rule) => rule,
        }
    }
}

/// One member of an object, as documented.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What is said, with the name, when the type is another one.
    pub(super) rule: &'static str,
}

/// A member that has another type than the vendor's document gives it. Says which rule, never a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrongType {
    pub(super) member: &'static str,
    /// The rule with the member's name, for vendors that have many rules.
    pub(super) named: &'static str,
    /// The rule for members of this type, for vendors that have few.
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

/// Checks the types of all documented members, nested ones too. The error is the first wrong one in the table's order;
/// members that the table does not know are let pass.
pub(super) fn check(object: &Members, table: &[Member]) -> Result<(), WrongType> {
    table.iter().try_for_each(|known| member(object, known.name).map_or(Ok(()), |value| check_value(value, known)))
}

fn check_value(value: &Value, member: &Member) -> Result<(), WrongType> {
    let wrong = || {
        let Member { name, kind, rule: named } = *member;
        Err(WrongType { member: name, named, rule: kind.rule(value.is_array()) })
    };
    let fits = match (member.kind, value) {
        (Kind::Object(table), Value::Object(nested)) => return check(nested, table),
        (Kind::Objects(table), Value::Array(list)) => {
            return list.iter().try_for_each(|one| one.as_object().map_or_else(wrong, |one| check(one, table)));
        }
        (Kind::Texts, Value::Array(list)) => list.iter().all(Value::is_string),
        (Kind::Pairs, Value::Object(pairs)) => pairs.values().all(Value::is_string),
        (Kind::Text, value) => value.is_string(),
        (Kind::Integer, _) => value.is_i64(),
        (Kind::Number, value) => value.is_number(),
        (Kind::Bool, value) => value.is_boolean(),
        (Kind::Switch, value) => value.is_boolean() || matches!(value.as_i64(), Some(0 | 1)),
        (Kind::IntegerOrText, value) => value.is_i64() || value.is_string(),
        (Kind::List, value) => value.is_array(),
        (Kind::Free, value) => value.is_object(),
        (Kind::Own(test, _), value) => test(value),
        (Kind::Object(_) | Kind::Objects(_) | Kind::Texts | Kind::Pairs, _) => false,
    };
    if fits { Ok(()) } else { wrong() }
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

/// A body that is a JSON object in UTF-8.
pub(super) fn parse(body: &[u8]) -> Option<Members> {
    serde_json::from_slice(body).ok()
}

/// A member, `None` also for `null`.
pub(super) fn member<'a>(object: &'a Members, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// A text, `None` when it is absent or something else.
pub(super) fn text<'a>(object: &'a Members, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

/// A text that is not empty.
pub(super) fn filled<'a>(object: &'a Members, name: &str) -> Option<&'a str> {
    text(object, name).filter(|text| !text.is_empty())
}

/// An integer, `None` when it is absent or something else.
pub(super) fn integer(object: &Members, name: &str) -> Option<i64> {
    object.get(name)?.as_i64()
}

/// `true` or `false`, `None` when it is absent or something else.
pub(super) fn flag(object: &Members, name: &str) -> Option<bool> {
    object.get(name)?.as_bool()
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

/// The texts of an array; an absent one is empty.
pub(super) fn texts<'a>(object: &'a Members, name: &str) -> Vec<&'a str> {
    list(object, name).iter().filter_map(Value::as_str).collect()
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

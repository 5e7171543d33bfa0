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
    "pairs": Kind::Pairs,
    "own": Kind::Own(|value| value == 7, "a member is not seven"),
);

fn members(json: &str) -> Members {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_member_of_another_type_is_named() {
    let good = [
        r#"{"text":"1","integer":-1,"number":1.5,"bool":false,"either":1,"texts":["a"],"list":[1]}"#,
        r#"{"either":"1","switch":true,"object":{"inner":"a","other":1},"objects":[{"inner":"a"}],"free":{"a":1}}"#,
        r#"{"pairs":{"a":"b"},"own":7}"#,
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
        (r#"{"pairs":{"a":1}}"#, "pairs"),
        (r#"{"integer":9223372036854775808}"#, "integer"),
        (r#"{"own":8}"#, "own"),
    ];
    for (json, name) in bad {
        let wrong = check(&members(json), TABLE).unwrap_err();
        assert_eq!((wrong.member, wrong.named), (name, &*format!("{name} has the wrong JSON type")), "{json}");
    }
}

#[test]
fn what_a_member_has_to_be_is_said_of_its_type() {
    let cases = [
        (r#"{"integer":"5"}"#, "integer: a member is not an integer"),
        (r#"{"texts":["a",1]}"#, "texts: a member is not a list of texts"),
        (r#"{"objects":{}}"#, "objects: a member is not a list"),
        (r#"{"objects":[1]}"#, "objects: a member is not a list of objects"),
        (r#"{"object":{"inner":1}}"#, "inner: a member is not a text"),
        (r#"{"pairs":1}"#, "pairs: a member is not an object of texts"),
        (r#"{"own":"7"}"#, "own: a member is not seven"),
    ];
    for (json, wanted) in cases {
        let wrong = check(&members(json), TABLE).unwrap_err();
        assert_eq!(format!("{}: {}", wrong.member, wrong.rule), wanted, "{json}");
    }
}

#[test]
fn null_is_absent_and_no_type_is_taken_for_another() {
    let object = members(r#"{"t":"5","n":5,"b":true,"l":["a"],"z":null}"#);
    assert_eq!((text(&object, "t"), text(&object, "n"), text(&object, "z")), (Some("5"), None, None));
    assert_eq!((integer(&object, "n"), integer(&object, "t")), (Some(5), None));
    assert_eq!((flag(&object, "b"), flag(&object, "n")), (Some(true), None));
    assert_eq!((texts(&object, "l"), texts(&object, "q").len()), (vec!["a"], 0));
    assert!(member(&object, "n").is_some() && member(&object, "z").is_none() && member(&object, "q").is_none());
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

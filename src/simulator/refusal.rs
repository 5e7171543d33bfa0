//! What a stand-in refuses a request with, before it is written in the vendor's own way.

use super::json::WrongType;

/// A refusal by one rule of the vendor's document. `C` is what the vendor's codes are: numbers or texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal<C> {
    pub(super) code: C,
    /// For the counters: says which rule, never a value.
    pub(super) rule: &'static str,
    /// What the sender is told, where the rule alone does not say enough.
    pub(super) detail: Option<String>,
}

impl<C> Refusal<C> {
    pub(super) const fn new(code: C, rule: &'static str) -> Self {
        Self { code, rule, detail: None }
    }

    /// A member that is not what it has to be.
    pub(super) fn of_member(code: C, member: &str, rule: &'static str) -> Self {
        Self { detail: Some(format!("{member}: {rule}")), ..Self::new(code, rule) }
    }

    /// A member of a wrong type, by the rule that all members of its type share.
    pub(super) fn of_type(code: C, wrong: WrongType) -> Self {
        Self::of_member(code, wrong.member, wrong.rule)
    }
}

/// Whether all rules hold; the error is the first that does not.
pub(super) fn hold<const N: usize>(rules: [(bool, &'static str); N]) -> Result<(), &'static str> {
    match rules.into_iter().find(|rule| !rule.0) {
        Some((_, rule)) => Err(rule),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_does_not_hold_is_named() {
        assert_eq!(hold([(true, "a"), (false, "b"), (false, "c")]), Err("b"));
        assert_eq!(hold([(true, "a")]), Ok(()));
    }

    #[test]
    fn a_wrong_member_is_told_and_its_rule_is_counted() {
        let wrong = WrongType { member: "ttl", named: "ttl has the wrong JSON type", rule: "a member is not a text" };
        let refusal = Refusal::of_type(40, wrong);
        assert_eq!((refusal.rule, refusal.detail.as_deref()), (wrong.rule, Some("ttl: a member is not a text")));
    }
}

//! Who may push to what: section 10, points 3 and 4 of the document.

use std::sync::Arc;

use super::answer::Refusal;
use super::authority::Issued;
use super::head::{self, Head};
use super::visit::Visit;
use super::wire::Apns;
use crate::simulator::wire::Request;

/// How long a provider token lives, in seconds.
const LIFETIME_S: i64 = 60 * 60;

/// Lets a request through with the topic it is for.
pub(super) fn admit<'a>(
    apns: &'a Apns,
    request: &'a Request,
    visit: Option<&Arc<Visit>>,
    head: &Head<'a>,
) -> Result<String, Refusal> {
    match visit.and_then(|visit| visit.connection.peer_certificate()) {
        Some(der) => by_certificate(apns, der, request.at_ms / 1_000, head),
        None => by_token(apns, request, visit, head),
    }
}

fn by_certificate(apns: &Apns, der: &[u8], now_s: i64, head: &Head<'_>) -> Result<String, Refusal> {
    const BAD: &str = "BadCertificate";
    let Issued { topics, environment, valid_s: [from_s, until_s], is_revoked } =
        apns.authority.find(der).ok_or(Refusal::new(BAD, "certificate of another CA"))?;
    if is_revoked {
        return Err(Refusal::new(BAD, "revoked certificate"));
    }
    if now_s < from_s || now_s > until_s {
        return Err(Refusal::new(BAD, "certificate expired or not yet valid"));
    }
    if environment.is_some_and(|only| only != apns.environment) {
        return Err(Refusal::new("BadCertificateEnvironment", "certificate of the other environment"));
    }
    if head.push_type == Some("location") {
        return Err(Refusal::new("Forbidden", "location by certificate"));
    }
    let topic = match (head.topic, topics.as_slice()) {
        (Some(topic), _) => topic.to_owned(),
        (None, [only]) => only.clone(),
        (None, _) => return Err(Refusal::new("MissingTopic", "no apns-topic, and the certificate has several")),
    };
    if !topics.contains(&topic) {
        return Err(Refusal::new("TopicDisallowed", "topic not of this certificate"));
    }
    head::bundle_id(&topic, head.push_type)?;
    Ok(topic)
}

fn by_token(apns: &Apns, request: &Request, visit: Option<&Arc<Visit>>, head: &Head<'_>) -> Result<String, Refusal> {
    const MISSING: &str = "MissingProviderToken";
    let header = request.header("authorization").ok_or(Refusal::new(MISSING, "no authorization"))?;
    let token = match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
        _ => return Err(Refusal::new(MISSING, "authorization is not bearer")),
    };
    let accounts = apns.accounts();
    let jwt = apns
        .verified
        .read(token, apns.takes_loose_jwt, |kid| accounts.public(kid))
        .map_err(|rule| Refusal::new("InvalidProviderToken", rule))?;
    accounts.check_key(&jwt, apns.environment)?;
    let age_s = request.at_ms / 1_000 - jwt.iat;
    if age_s > LIFETIME_S {
        return Err(Refusal::new("ExpiredProviderToken", "JWT older than an hour"));
    }
    if age_s < -apns.clock_tolerance_s {
        return Err(Refusal::new("InvalidProviderToken", "JWT issued in the future"));
    }
    let known = match visit {
        Some(visit) => visit.speak(token, &jwt, request.at_ms, accounts.age())?,
        None => accounts.age(),
    };
    let topic = head.topic.ok_or(Refusal::new("MissingTopic", "no apns-topic"))?;
    let bundle_id = match head::bundle_id(topic, head.push_type) {
        Ok(bundle_id) => bundle_id,
        // A topic that is not the team's at all is refused as that first.
        Err(wrong) => return accounts.check_topic(&jwt, topic, topic, known).and(Err(wrong)),
    };
    accounts.check_topic(&jwt, topic, bundle_id, known)?;
    Ok(topic.to_owned())
}

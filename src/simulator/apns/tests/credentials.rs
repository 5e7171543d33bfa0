//! Provider tokens and client certificates.

use super::*;

fn authorized(push: &Push, jwt: &str) -> Push {
    push.with("authorization", &format!("bearer {jwt}"))
}

#[tokio::test]
async fn each_rule_of_a_provider_token_has_its_reason() {
    let Given { world, key, .. } = given();
    let (simulator, client, push) = ready(world, &key).await;
    let other = ApnsKey::generate("OTHER12345", TEAM).unwrap();
    let forged = ApnsKey::generate(KEY, TEAM).unwrap();
    let header = format!(r#"{{"alg":"ES256","kid":"{KEY}"}}"#);
    let claims = |iss: &str, iat: i64| format!(r#"{{"iss":"{iss}","iat":{iat}}}"#);
    let signed = |header: &str, claims: &str| authorized(&push, &key.sign(header, claims).unwrap());
    let cases = [
        (push.with("authorization", ""), "MissingProviderToken", "no authorization"),
        (push.with("authorization", "key=abc"), "MissingProviderToken", "authorization is not bearer"),
        (push.with("authorization", "basic abc"), "MissingProviderToken", "authorization is not bearer"),
        (authorized(&push, "abc"), "InvalidProviderToken", "JWT is not three parts"),
        (
            signed(&header.replace("ES256", "RS256"), &claims(TEAM, NOW_S)),
            "InvalidProviderToken",
            "JWT alg is not ES256",
        ),
        (authorized(&push, &forged.jwt(NOW_S).unwrap()), "InvalidProviderToken", "JWT signature is wrong"),
        (authorized(&push, &other.jwt(NOW_S).unwrap()), "InvalidProviderToken", "unknown key"),
        (signed(&header, &claims("TEAM000000", NOW_S)), "InvalidProviderToken", "key of another team"),
        (signed(&header, &claims(TEAM, NOW_S - 3_601)), "ExpiredProviderToken", "JWT older than an hour"),
        (signed(&header, &claims(TEAM, NOW_S + 61)), "InvalidProviderToken", "JWT issued in the future"),
    ];
    for (push, reason, rule) in cases {
        let reply = client.send(&push).await;
        assert_eq!((reply.status, reply.reason().as_str()), (403, reason), "{rule}");
        let rules = simulator.broken_rules();
        assert!(rules.contains_key(&format!("{reason} {rule}")), "{rule}: {rules:?}");
    }
    assert_eq!(client.send(&signed(&header, &claims(TEAM, NOW_S - 3_600))).await.status, 200, "an hour exactly");
    simulator.revoke_key(KEY);
    assert_eq!(client.send(&push).await.reason(), "InvalidProviderToken");
}

#[tokio::test]
async fn a_loose_token_is_taken_only_where_that_is_switched_on() {
    for loose in [false, true] {
        let Given { mut world, key, .. } = given();
        world.takes_loose_jwt = loose;
        let (_simulator, client, push) = ready(world, &key).await;
        let padded = format!("{}==", key.jwt(NOW_S).unwrap());
        assert_eq!(client.send(&authorized(&push, &padded)).await.status, if loose { 200 } else { 403 });
    }
}

#[tokio::test]
async fn a_key_has_an_environment_and_topics() {
    let Given { mut world, key, .. } = given();
    let sandbox = ApnsKey::generate("SANDBOX123", TEAM).unwrap().for_environment(ApnsEnvironment::Sandbox);
    let narrow = ApnsKey::generate("NARROW1234", TEAM).unwrap().for_topics(["com.example.other"]);
    world.keys.extend([sandbox.clone(), narrow.clone()]);
    let simulator = start(world).await;
    let push = Push::new(&key.jwt(NOW_S).unwrap());
    for (key, reason) in [(sandbox, "BadEnvironmentKeyIdInToken"), (narrow, "TopicDisallowed")] {
        let client = Client::connect(&simulator).await;
        assert_eq!(client.send(&authorized(&push, &key.jwt(NOW_S).unwrap())).await.reason(), reason);
    }
}

#[tokio::test]
async fn a_connection_remembers_its_team_its_key_and_its_topics() {
    let Given { mut world, key, .. } = given();
    let second = ApnsKey::generate("SECOND1234", TEAM).unwrap();
    let foreign = ApnsKey::generate("FOREIGN123", "TEAM999999").unwrap();
    world.keys.extend([second.clone(), foreign.clone()]);
    let (simulator, client, push) = ready(world, &key).await;
    assert_eq!(client.send(&push).await.status, 200);
    let (second, foreign) = (second.jwt(NOW_S).unwrap(), foreign.jwt(NOW_S).unwrap());
    assert_eq!(client.send(&authorized(&push, &second)).await.reason(), "UnrelatedKeyIdInToken");
    assert_eq!(client.send(&authorized(&push, &foreign)).await.reason(), "InvalidProviderToken");
    simulator.put_team(ApnsTeam { id: TEAM.into(), topics: vec!["com.example.new".into()] });
    let new = push.with("apns-topic", "com.example.new");
    assert_eq!(client.send(&new).await.reason(), "TopicDisallowed", "it came after this connection began");
    let fresh = Client::connect(&simulator).await;
    assert_eq!(fresh.send(&authorized(&new, &second)).await.status, 200);
}

#[tokio::test]
async fn the_token_of_a_connection_changes_once_in_20_minutes() {
    let Given { world, key, clock } = given();
    let (simulator, client, push) = ready(world, &key).await;
    // Signatures are random: one token is one signing.
    let tokens: Vec<_> = (0..6).map(|second| authorized(&push, &key.jwt(NOW_S + second).unwrap())).collect();
    for (token, status) in [(0, 200), (1, 200), (1, 200), (2, 429), (0, 429), (1, 200)] {
        assert_eq!(client.send(&tokens[token]).await.status, status);
    }
    assert_eq!(client.send(&tokens[3]).await.reason(), "TooManyProviderTokenUpdates");
    assert_eq!(Client::connect(&simulator).await.send(&tokens[3]).await.status, 200, "a memory of the connection");
    clock.fetch_add(20 * 60 * 1_000, Ordering::Relaxed);
    assert_eq!(client.send(&tokens[4]).await.status, 200);
    assert_eq!(client.send(&tokens[5]).await.status, 429);
}

#[tokio::test]
async fn a_lenient_world_checks_the_form_only_of_what_it_does_not_know() {
    let Given { mut world, .. } = given();
    world = ApnsWorld { lenient: true, teams: vec![], keys: vec![], ..world };
    let any = ApnsKey::generate("ANYKEY1234", "ANYTEAM123").unwrap();
    let (_simulator, client, push) = ready(world, &any).await;
    assert_eq!(client.send(&push.with("apns-topic", "any.topic")).await.status, 200);
    assert_eq!(
        client.send(&authorized(&push, &any.jwt(NOW_S - 4_000).unwrap())).await.reason(),
        "ExpiredProviderToken"
    );
    assert_eq!(client.send(&push.with("authorization", "bearer x")).await.reason(), "InvalidProviderToken");
    assert_eq!(client.send(&push.with("apns-topic", "")).await.reason(), "MissingTopic");
}

#[tokio::test]
async fn each_rule_of_a_client_certificate_has_its_reason() {
    let Given { world, .. } = given();
    let simulator = start(world).await;
    let authority = simulator.authority();
    let order =
        ApnsCertificateOrder { not_before_s: NOW_S - 1, not_after_s: NOW_S + 1, ..ApnsCertificateOrder::new(TOPIC) };
    let both = ApnsCertificateOrder { topics: vec![TOPIC.into(), format!("{TOPIC}.voip")], ..order.clone() };
    let sandbox = ApnsCertificateOrder { environment: Some(ApnsEnvironment::Sandbox), ..order.clone() };
    let expired = ApnsCertificateOrder { not_after_s: NOW_S - 1, ..order.clone() };
    let push = Push::new("never read").with("authorization", "nonsense");
    let issue = |order: &ApnsCertificateOrder| authority.issue(order).unwrap();
    let revoked = issue(&order);
    simulator.revoke_certificate(&revoked);
    let foreign = ApnsAuthority::generate().unwrap().issue(&order).unwrap();
    let none = push.with("apns-topic", "");
    let cases = [
        (issue(&order), push.clone(), ""),
        (issue(&order), none.clone(), ""),
        (issue(&both), none, "MissingTopic"),
        (issue(&both), push.with("apns-topic", &format!("{TOPIC}.voip")).with("apns-push-type", "voip"), ""),
        (issue(&order), push.with("apns-topic", "com.example.other"), "TopicDisallowed"),
        (issue(&order), push.with("apns-push-type", "location"), "Forbidden"),
        (issue(&order), push.with("apns-push-type", "voip"), "BadTopic"),
        (issue(&sandbox), push.clone(), "BadCertificateEnvironment"),
        (issue(&expired), push.clone(), "BadCertificate"),
        (revoked, push.clone(), "BadCertificate"),
        (foreign, push, "BadCertificate"),
    ];
    for (certificate, push, reason) in cases {
        let client = Client::connect_with(&simulator, Some(&certificate)).await;
        let reply = client.send(&push).await;
        assert_eq!(reply.reason(), reason, "{:?}", push.headers);
        assert!(client.stream_limit() >= 1_000, "no provider token to wait for");
    }
    assert_eq!(simulator.inbox(TOKEN).len(), 3);
}

#[test]
fn a_certificate_names_its_app_and_is_a_pkcs12_file_too() {
    use x509_parser::prelude::*;
    let authority = ApnsAuthority::generate().unwrap();
    let topics: Vec<String> = (0..12).map(|n| format!("com.example.im.topic-{n}")).collect();
    let certificate = authority.issue(&ApnsCertificateOrder { topics, ..ApnsCertificateOrder::new("") }).unwrap();
    let (_, parsed) = X509Certificate::from_der(certificate.certificate_der()).unwrap();
    let uid = oid_registry::Oid::from(&[0, 9, 2342, 19_200_300, 100, 1, 1]).unwrap();
    let uid = parsed.subject().iter_by_oid(&uid).next().unwrap().as_str().unwrap();
    assert_eq!(uid, "com.example.im.topic-0");
    for oid in ["1.2.840.113635.100.6.3.4", "1.2.840.113635.100.6.3.6"] {
        let extension = parsed.extensions().iter().find(|extension| extension.oid.to_id_string() == oid).unwrap();
        let (rest, _) = x509_parser::der_parser::parse_der(extension.value).unwrap();
        assert_eq!(rest, b"", "one whole value: {oid}");
        assert!(String::from_utf8_lossy(extension.value).contains("com.example.im.topic-11"));
    }
    assert!(certificate.certificate_pem().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(certificate.key_pem().starts_with("-----BEGIN PRIVATE KEY-----"));
    let p12 = certificate.p12("secret").unwrap();
    let policy = p12_keystore::Pkcs12ImportPolicy::Strict;
    let store = p12_keystore::KeyStore::from_pkcs12(&p12, "secret", policy).unwrap();
    assert_eq!(store.private_key_chain().unwrap().1.certs()[0].as_der(), certificate.certificate_der());
}

#[test]
fn a_key_file_is_read_back() {
    let key = ApnsKey::generate(KEY, TEAM).unwrap();
    assert!(key.p8_pem().starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_eq!(ApnsKey::from_p8(KEY, TEAM, key.p8_pem()).unwrap().public, key.public);
    for wrong in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        assert!(ApnsKey::from_p8(KEY, TEAM, wrong).is_err(), "{wrong}");
    }
}

//! TLS, stream limits, GOAWAY, restarts: what is below the requests.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::client::{addr, read, tls, tls_config};
use super::*;
use crate::simulator::{Direction, Fault, GoAway, Misbehaviour, StartError};

/// Waits until the client has heard of this stream limit.
async fn limit(client: &Client, wanted: usize) {
    for _ in 0..2_000 {
        if client.stream_limit() == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(client.stream_limit(), wanted);
}

#[tokio::test]
async fn an_address_other_machines_can_reach_is_refused() {
    let started = ApnsSimulator::start("0.0.0.0:0".parse().unwrap(), ApnsWorld::default()).await;
    assert!(matches!(started.map(|_| ()), Err(StartError::NotLoopback(_))));
}

#[tokio::test]
async fn tls_is_1_2_or_1_3_with_h2_and_a_name_of_this_machine() {
    let simulator = start(ApnsWorld::default()).await;
    for version in [&TLS12, &TLS13] {
        for name in ["127.0.0.1", "localhost", "::1"] {
            let stream = tls(&simulator, tls_config(&simulator, &[version], &["h2"], None), name).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        }
    }
    let both = tls_config(&simulator, &[&TLS13], &["http/1.1", "h2"], None);
    assert_eq!(tls(&simulator, both, "::1").await.unwrap().get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let old = tls_config(&simulator, &[&TLS12], &["http/1.1"], None);
    assert!(tls(&simulator, old, "::1").await.is_err(), "no protocol in common");
    let mut silent = tls(&simulator, tls_config(&simulator, &[&TLS13], &[], None), "::1").await.unwrap();
    let mut byte = [0];
    assert!(!matches!(silent.read(&mut byte).await, Ok(1..)), "closed without a word");
    let stranger = start(ApnsWorld::default()).await;
    let config = tls_config(&stranger, &[&TLS13], &["h2"], None);
    assert!(tls(&simulator, config, "127.0.0.1").await.is_err(), "another CA");
}

#[tokio::test]
async fn a_usual_client_with_the_ca_file_gets_through() {
    let Given { world, key, .. } = given();
    let authority = ApnsAuthority::generate().unwrap();
    let world = ApnsWorld { authority: Some(authority.clone()), ..world };
    let (production, sandbox) = (start(world.clone()).await, start(world).await);
    let path = std::env::temp_dir().join(format!("rouse-apns-test-{}.pem", std::process::id()));
    authority.write_ca(&path).unwrap();
    let ca = reqwest::Certificate::from_pem(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
    for simulator in [&production, &sandbox] {
        let push = Push::new(&key.jwt(NOW_S).unwrap());
        let mut request = client.post(format!("{}{}", simulator.url(), push.path)).body(push.body);
        for (name, value) in push.headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    }
}

#[tokio::test]
async fn cleartext_is_for_clients_that_know_beforehand() {
    let Given { mut world, key, .. } = given();
    world.cleartext = true;
    let simulator = start(world).await;
    let stream = TcpStream::connect(addr(&simulator)).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    let client = Client { send, end: tokio::spawn(connection) };
    assert_eq!(client.send(&Push::new(&key.jwt(NOW_S).unwrap())).await.status, 200);
    assert!(simulator.url().starts_with("http://127.0.0.1:"));
}

#[tokio::test]
async fn one_stream_at_a_time_until_the_first_valid_token() {
    let Given { world, key, .. } = given();
    let (simulator, client, push) = ready(world, &key).await;
    limit(&client, 1).await;
    assert_eq!(client.send(&push.with("authorization", "bearer x")).await.status, 403);
    assert_eq!(client.stream_limit(), 1);
    assert_eq!(client.send(&push).await.status, 200);
    limit(&client, 1_000).await;
    simulator.set_stream_limit(100);
    limit(&client, 100).await;
    simulator.set_stream_limit(1);
    limit(&client, 1).await;
    let fresh = Client::connect(&simulator).await;
    simulator.set_stream_limit(7);
    assert_eq!(fresh.send(&push).await.status, 200);
    limit(&fresh, 7).await;
}

#[tokio::test]
async fn many_streams_are_served_at_once() {
    let Given { mut world, key, .. } = given();
    world.limits_first_stream = false;
    let (simulator, client, push) = ready(world, &key).await;
    limit(&client, 1_000).await;
    simulator.fault(Misbehaviour::Hang(Some(Duration::from_millis(50))));
    let sends = (0..200).map(|n| {
        let (client, push) = (&client, push.with("apns-id", &format!("00000000-0000-0000-0000-{n:012}")));
        async move { client.send(&push).await.status }
    });
    let before = std::time::Instant::now();
    assert!(futures_util::future::join_all(sends).await.into_iter().all(|status| status == 200));
    assert!(before.elapsed() < Duration::from_secs(5), "not one after the other");
    assert_eq!((simulator.inbox(TOKEN).len(), simulator.inbox_counts().duplicates), (200, 0));
    assert_eq!((simulator.excess_streams(), simulator.connections_opened()), (0, 1));
}

#[tokio::test]
async fn an_error_slows_the_connection_down_until_the_next_success() {
    let Given { mut world, key, .. } = given();
    world.slows_after_errors = true;
    let (simulator, client, push) = ready(world, &key).await;
    assert_eq!(client.send(&push).await.status, 200);
    limit(&client, 1_000).await;
    assert_eq!(client.send(&push.to("zz")).await.status, 400);
    limit(&client, 1).await;
    simulator.kill_token("dead");
    assert_eq!(client.send(&push.to("dead")).await.status, 410);
    assert_eq!(client.stream_limit(), 1);
    assert_eq!(client.send(&push).await.status, 200);
    limit(&client, 1_000).await;
    assert_eq!(client.send(&push.to("dead")).await.status, 410);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(client.stream_limit(), 1_000, "410 is no error here");
}

/// A client of frames, for what `h2` would never do.
async fn raw(simulator: &ApnsSimulator) -> TcpStream {
    let mut stream = TcpStream::connect(addr(simulator)).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await.unwrap();
    stream
}

/// The next frame of this type: its payload.
async fn next(stream: &mut TcpStream, kind: u8) -> Vec<u8> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == kind {
            return payload;
        }
    }
}

/// HEADERS of a GET for `/`, the stream left open.
fn headers(stream: u8) -> Vec<u8> {
    vec![0, 0, 3, 1, 4, 0, 0, 0, stream, 0x83, 0x87, 0x84]
}

#[tokio::test]
async fn a_stream_above_the_known_limit_ends_the_connection() {
    let world = ApnsWorld { cleartext: true, ..ApnsWorld::default() };
    let simulator = start(world).await;
    let mut client = raw(&simulator).await;
    let settings = next(&mut client, 4).await;
    assert!(settings.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 1]), "a limit of 1: {settings:?}");

    // Unacknowledged: the second stream is refused, and may be sent again.
    client.write_all(&[headers(1), headers(3)].concat()).await.unwrap();
    assert_eq!(next(&mut client, 3).await, [0, 0, 0, 7], "REFUSED_STREAM");
    // Acknowledged: it is a violation.
    client.write_all(&[vec![0, 0, 0, 4, 1, 0, 0, 0, 0], headers(5)].concat()).await.unwrap();
    let away = next(&mut client, 7).await;
    assert_eq!(away[..8], [0, 0, 0, 3, 0, 0, 0, 7]);
    assert!(String::from_utf8_lossy(&away[8..]).contains("max active streams"));
    assert_eq!(simulator.excess_streams(), 1);
}

#[tokio::test]
async fn priority_frames_are_counted() {
    let simulator = start(ApnsWorld { cleartext: true, ..ApnsWorld::default() }).await;
    let mut client = raw(&simulator).await;
    client.write_all(&[0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 16]).await.unwrap();
    client.write_all(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]).await.unwrap();
    assert_eq!(next(&mut client, 6).await, [1, 2, 3, 4, 5, 6, 7, 8], "PING is answered");
    assert_eq!(simulator.priority_frames(), 1);
}

#[tokio::test]
async fn a_connection_leaves_in_order_after_so_many_requests() {
    let Given { mut world, key, .. } = given();
    world.limits_first_stream = false;
    let (simulator, client, push) = ready(world, &key).await;
    limit(&client, 1_000).await;
    simulator.leave_after(3, Some("Shutdown"));
    simulator.fault(Misbehaviour::Hang(Some(Duration::from_millis(30))));
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(client.open(&push).await.unwrap());
    }
    let mut ends = Vec::new();
    for response in open {
        ends.push(read(response).await.map(|reply| reply.status).map_err(|error| error.is_go_away()));
    }
    assert_eq!(ends, [Ok(200), Ok(200), Ok(200), Err(true), Err(true)]);
    assert_eq!(simulator.received_total(), 3, "what came later was not processed");
    let ended = tokio::time::timeout(Duration::from_secs(5), client.end).await.unwrap().unwrap();
    assert!(ended.is_ok(), "an end in order: {ended:?}");
    simulator.leave_after(0, None);
    assert_eq!(Client::connect(&simulator).await.send(&push).await.status, 200);
}

#[tokio::test]
async fn going_away_at_once_processes_nothing_in_flight() {
    let Given { mut world, key, .. } = given();
    world.limits_first_stream = false;
    let (simulator, client, push) = ready(world, &key).await;
    limit(&client, 1_000).await;
    simulator.fault(Misbehaviour::Hang(Some(Duration::from_millis(100))));
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(client.open(&push).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    simulator.go_away(&GoAway::unprocessed("Shutdown"));
    for response in open {
        let error = read(response).await.unwrap_err();
        assert!(error.is_go_away() && error.is_remote(), "{error}");
        assert!(error.to_string().contains("Shutdown") || format!("{error:?}").contains("Shutdown"), "{error:?}");
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!((simulator.received_total(), simulator.requests_total()), (0, 0));

    simulator.clear_faults();
    let client = Client::connect(&simulator).await;
    simulator.fault(Fault::once(Misbehaviour::GoAway(GoAway::unprocessed("IdleTimeout"))));
    assert!(client.try_send(&push).await.unwrap_err().is_go_away());
    let client = Client::connect(&simulator).await;
    simulator.fault(Fault::once(Misbehaviour::GoAway(GoAway::default())));
    assert_eq!(client.send(&push).await.status, 200, "without a last stream the request is answered");
    assert!(tokio::time::timeout(Duration::from_secs(5), client.end).await.unwrap().unwrap().is_ok());
    assert_eq!(simulator.received_total(), 1);
}

#[tokio::test]
async fn what_was_answered_before_going_away_stays_answered() {
    let Given { mut world, key, .. } = given();
    world.limits_first_stream = false;
    for _ in 0..20 {
        let (simulator, client, push) = ready(world.clone(), &key).await;
        limit(&client, 1_000).await;
        let mut open = Vec::new();
        for _ in 0..50 {
            open.push(client.open(&push).await.unwrap());
        }
        tokio::task::yield_now().await;
        simulator.go_away(&GoAway::unprocessed("Shutdown"));
        let mut answered = 0;
        for response in open {
            answered += u64::from(read(response).await.is_ok());
        }
        assert_eq!(simulator.received_total(), answered, "accepted and told so, or neither");
    }
}

#[tokio::test]
async fn connections_are_reset_and_servers_restart_on_their_port() {
    let Given { world, key, .. } = given();
    let (simulator, client, push) = ready(world, &key).await;
    assert_eq!(client.send(&push).await.status, 200);
    simulator.reset_connections();
    let error = client.end.await.unwrap().unwrap_err();
    assert_eq!(error.get_io().map(std::io::Error::kind), Some(std::io::ErrorKind::ConnectionReset));

    let client = Client::connect(&simulator).await;
    assert_eq!(client.send(&push).await.status, 200);
    let (url, ca) = (simulator.url(), simulator.ca_pem().to_owned());
    simulator.stop().await;
    assert!(client.end.await.unwrap().is_err());
    assert!(TcpStream::connect(addr(&simulator)).await.is_err());
    simulator.restart().await.unwrap();
    assert_eq!((simulator.url(), simulator.ca_pem()), (url, ca.as_str()));
    assert_eq!(Client::connect(&simulator).await.send(&push).await.status, 200);
    assert_eq!((simulator.inbox(TOKEN).len(), simulator.connections_opened()), (3, 3), "it remembers");
}

#[tokio::test]
async fn a_frozen_connection_answers_nothing_and_can_still_be_reset() {
    let Given { world, key, .. } = given();
    let (simulator, mut client, push) = ready(world, &key).await;
    assert_eq!(client.send(&push).await.status, 200);
    simulator.freeze_connections();
    assert!(tokio::time::timeout(Duration::from_millis(50), client.try_send(&push)).await.is_err());
    assert!(!client.end.is_finished());
    let fresh = Client::connect(&simulator).await;
    assert_eq!(fresh.send(&push).await.status, 200, "new connections are not frozen");
    simulator.reset_connections();
    assert!((&mut client.end).await.unwrap().is_err());
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_server() {
    let Given { world, key, .. } = given();
    let (simulator, client, push) = ready(world, &key).await;
    drop(simulator.clone());
    assert_eq!(client.send(&push).await.status, 200, "a clone is no owner of its own");
    drop(simulator);
    assert!(client.end.await.unwrap().is_err());
}

#[tokio::test]
async fn the_first_bytes_of_a_connection_are_kept_when_asked_for() {
    let Given { mut world, key, .. } = given();
    world.capture_bytes = 2_000;
    let (simulator, client, push) = ready(world, &key).await;
    for _ in 0..5 {
        client.send(&push).await;
    }
    let captured = simulator.captured();
    let of = |direction| -> Vec<u8> {
        captured.iter().filter(|part| part.direction == direction).flat_map(|part| part.bytes.clone()).collect()
    };
    assert!(of(Direction::In).starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    let body = &push.body;
    assert!(of(Direction::In).windows(body.len()).any(|window| window == body), "the payload as it was sent");
    assert_eq!(of(Direction::Out)[3], 4, "SETTINGS first");
    assert_eq!(captured.iter().map(|part| part.bytes.len()).sum::<usize>(), 2_000);
    assert!(captured.iter().all(|part| part.connection == 1));
}

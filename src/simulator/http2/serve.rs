//! One connection from its preface to its end, and one stream from its head to its answer.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::{Extensions, Request as HttpRequest, Response};
use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use super::connection::{Active, Admission, Connection};
use super::floor::Floor;
use super::tap::Tap;
use crate::simulator::exchange::{Desk, Ending, MAX_BODY_BYTES};
use crate::simulator::fault::GoAway;
use crate::simulator::http1::fill_headers;
use crate::simulator::wire::{Answer, Request};

/// How long a connection stays open after GOAWAY, so that the client reads it.
const LINGER: Duration = Duration::from_millis(250);
/// Cancelled requests that may wait unread: a client whose time-outs strike all at once is not an attacker.
const MAX_PENDING_RESETS: usize = 2_000;

type Respond = SendResponse<Bytes>;

pub(super) async fn serve<IO>(io: IO, connection: Arc<Connection>, desk: Arc<Desk>, floor: Arc<Floor>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let memory = desk.vendor.greet(&connection);
    floor.add(&connection);
    let tap = Tap::new(io, Arc::clone(&connection), Arc::clone(&floor));
    let mut builder = h2::server::Builder::new();
    builder.max_header_list_size(8_000).max_pending_accept_reset_streams(MAX_PENDING_RESETS);
    match builder.handshake(tap).await {
        Ok(h2) => run(h2, &connection, &memory, &desk, &floor).await,
        Err(error) => tracing::debug!(%error, "a connection did not begin as HTTP/2"),
    }
    floor.remove(&connection);
}

async fn run<IO>(
    mut h2: h2::server::Connection<Tap<IO>, Bytes>,
    connection: &Arc<Connection>,
    memory: &Extensions,
    desk: &Arc<Desk>,
    floor: &Floor,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    // Dropped with the connection: nobody works for a client that is gone.
    let mut streams = JoinSet::new();
    // Streams that are never answered; dropping them would answer with RST_STREAM.
    let mut ignored = Vec::new();
    let left = left(connection);
    tokio::pin!(left);
    loop {
        let accepted = tokio::select! {
            accepted = h2.accept() => accepted,
            () = &mut left => break,
        };
        let (mut request, mut respond) = match accepted {
            Some(Ok(stream)) => stream,
            Some(Err(error)) => {
                tracing::debug!(%error, "a connection broke");
                break;
            }
            None => break,
        };
        let stream = respond.stream_id().as_u32();
        if connection.last_processed().is_some_and(|last| stream > last) {
            ignored.push((request, respond));
            continue;
        }
        let active = Active::new(connection);
        match connection.limit_known_at(stream) {
            Some(limit) if settled_count(connection, limit).await > limit => {
                floor.count_excess_stream();
                let debug = "max active streams violation".to_owned();
                let error_code = Reason::REFUSED_STREAM.into();
                connection.go_away(&GoAway { last_stream: Some(stream.saturating_sub(2)), error_code, debug });
                ignored.push((request, respond));
                continue;
            }
            // The client cannot know yet that so many are too many.
            None if connection.active.load(Ordering::Acquire) > connection.limit() => {
                respond.send_reset(Reason::REFUSED_STREAM);
                continue;
            }
            _ => {}
        }
        if !request.uri().path().starts_with("/_sim/") {
            let requests = connection.requests.fetch_add(1, Ordering::AcqRel) + 1;
            if let Some(how) = floor.leaves_at(requests) {
                connection.go_away(&GoAway { last_stream: Some(stream), ..how });
            }
        }
        request.extensions_mut().extend(memory.clone());
        let admission = Admission { connection: Arc::clone(connection), stream };
        streams.spawn(answer(request, respond, Arc::clone(desk), admission, active));
        while streams.try_join_next().is_some() {}
    }
}

/// How many streams are active. A client that cancelled one may open the next before the cancelled one's task has run, so
/// what looks too many gets a moment to settle.
async fn settled_count(connection: &Connection, limit: u32) -> u32 {
    for _ in 0..100 {
        if connection.active.load(Ordering::Acquire) <= limit {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    connection.active.load(Ordering::Acquire)
}

/// Returns when a connection that goes away has nothing left to do.
async fn left(connection: &Connection) {
    connection.leaving.notified().await;
    loop {
        tokio::time::sleep(LINGER).await;
        if connection.last_processed() == Some(0) || connection.active.load(Ordering::Acquire) == 0 {
            return;
        }
    }
}

async fn answer(
    request: HttpRequest<RecvStream>,
    mut respond: Respond,
    desk: Arc<Desk>,
    admission: Admission,
    active: Active,
) {
    let connection = Arc::clone(&admission.connection);
    let ending = tokio::select! {
        ending = decide(request, &desk, admission) => ending,
        _ = poll_fn(|context| respond.poll_reset(context)) => return,
    };
    let sent = match ending {
        None => return,
        Some(Ending::Whole(answer)) => send(&mut respond, answer, active),
        Some(Ending::Slow(answer, pause)) => send_slowly(&mut respond, answer, pause, active).await,
        Some(Ending::CutShort(answer)) => cut_short(&mut respond, &answer, active).await,
        Some(Ending::Reset) => {
            connection.hangup.reset();
            Ok(())
        }
        Some(Ending::RefuseStream) => {
            drop(active);
            respond.send_reset(Reason::REFUSED_STREAM);
            Ok(())
        }
        Some(Ending::GoAway(how, Some(answer))) => {
            connection.go_away(&how);
            send(&mut respond, answer, active)
        }
        Some(Ending::GoAway(how, None)) => {
            drop(active);
            connection.go_away(&how);
            return std::future::pending().await;
        }
        Some(Ending::Lost) => {
            drop(active);
            return std::future::pending().await;
        }
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "an answer was not sent");
    }
}

/// `None`: the request broke off.
async fn decide(request: HttpRequest<RecvStream>, desk: &Desk, admission: Admission) -> Option<Ending> {
    let (parts, body) = request.into_parts();
    let body = read(body).await?;
    // Before the work, so that a connection which goes away in the meantime has processed nothing.
    if let Some(latency) = desk.shared.faults.draw_latency() {
        tokio::time::sleep(latency).await;
    }
    let request = Request::new(parts, body, (desk.shared.now)()).admitted(admission);
    match desk.control(&request) {
        Some(answer) => Some(Ending::Whole(answer)),
        None => Some(desk.react(&request).await),
    }
}

async fn read(mut stream: RecvStream) -> Option<Bytes> {
    let mut body = BytesMut::new();
    while let Some(part) = stream.data().await {
        let part = part.ok()?;
        stream.flow_control().release_capacity(part.len()).ok()?;
        body.extend_from_slice(&part);
        if body.len() > MAX_BODY_BYTES {
            return None;
        }
    }
    Some(body.freeze())
}

fn head(answer: &Answer) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = answer.status;
    fill_headers(answer, response.headers_mut());
    response
}

fn send(respond: &mut Respond, answer: Answer, active: Active) -> Result<(), h2::Error> {
    let head = head(&answer);
    // Before the client can know that its stream ended: it opens the next one at once.
    drop(active);
    let mut body = respond.send_response(head, answer.body.is_empty())?;
    if answer.body.is_empty() { Ok(()) } else { body.send_data(answer.body.into(), true) }
}

async fn send_slowly(respond: &mut Respond, answer: Answer, pause: Duration, active: Active) -> Result<(), h2::Error> {
    let mut body = respond.send_response(head(&answer), false)?;
    tokio::time::sleep(pause).await;
    drop(active);
    body.send_data(answer.body.into(), true)
}

/// Half the body under the length of the whole, then the stream breaks.
async fn cut_short(respond: &mut Respond, answer: &Answer, active: Active) -> Result<(), h2::Error> {
    let mut head = head(answer);
    head.headers_mut().insert(axum::http::header::CONTENT_LENGTH, answer.body.len().into());
    let mut body = respond.send_response(head, false)?;
    let half = answer.body.get(..answer.body.len() / 2).unwrap_or_default();
    body.send_data(Bytes::copy_from_slice(half), false)?;
    // A reset throws away what is not yet written.
    tokio::time::sleep(Duration::from_millis(5)).await;
    drop(active);
    body.send_reset(Reason::INTERNAL_ERROR);
    Ok(())
}

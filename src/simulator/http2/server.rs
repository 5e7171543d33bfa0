//! The listening side: accepts, does the TLS handshake, serves each connection in a task of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::serve::Listener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::connection::Connection;
use super::floor::Floor;
use super::serve::serve;
use crate::simulator::exchange::Desk;
use crate::simulator::line::{Door, Hangup, Line};
use crate::simulator::server::{StartError, bind};

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A running server.
pub(in crate::simulator) struct Http2Server {
    addr: SocketAddr,
    floor: Arc<Floor>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Http2Server {
    /// Listens on a loopback address; without `tls` in cleartext, to clients that know beforehand.
    ///
    /// # Errors
    /// [`StartError`]: not a loopback address, or the port is taken.
    pub(in crate::simulator) async fn start(
        addr: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        desk: Arc<Desk>,
        floor: Arc<Floor>,
    ) -> Result<Self, StartError> {
        let (listener, addr) = bind(addr).await?;
        let mut door = Door { listener, lines: floor.lines.clone() };
        let tls = tls.map(TlsAcceptor::from);
        let served = Arc::clone(&floor);
        let task = tokio::spawn(async move {
            loop {
                let (line, hangup) = door.accept().await;
                tokio::spawn(greet(line, hangup, tls.clone(), Arc::clone(&desk), Arc::clone(&served)));
            }
        });
        Ok(Self { addr, floor, task: Mutex::new(Some(task)) })
    }

    pub(in crate::simulator) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it as a crash would: open connections are reset, and the port is free when this returns.
    pub(in crate::simulator) async fn stop(&self) {
        if let Some(task) = self.end() {
            // The task was aborted: its end is an error by design.
            drop(task.await);
        }
        self.floor.reset_all();
    }

    fn end(&self) -> Option<JoinHandle<()>> {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = &task {
            task.abort();
            self.floor.reset_all();
        }
        task
    }
}

impl Drop for Http2Server {
    fn drop(&mut self) {
        drop(self.end());
    }
}

async fn greet(line: Line, hangup: Hangup, tls: Option<TlsAcceptor>, desk: Arc<Desk>, floor: Arc<Floor>) {
    let Some(tls) = tls else {
        let connection = Arc::new(Connection::new(floor.next_id(), None, hangup));
        return serve(line, connection, desk, floor).await;
    };
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(line)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => return tracing::debug!("a TLS handshake took too long"),
    };
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(b"h2") {
        return tracing::debug!("a client did not offer h2");
    }
    let certificate = session.peer_certificates().and_then(<[_]>::first).map(|certificate| certificate.to_vec());
    let connection = Arc::new(Connection::new(floor.next_id(), certificate, hangup));
    serve(stream, connection, desk, floor).await;
}

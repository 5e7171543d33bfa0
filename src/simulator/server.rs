//! The server around a vendor's stand-in: loopback only, ended by `stop` or by dropping it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::exchange::{Desk, Shared};
use super::http1;
use super::line::{Door, Hangup, Lines};
use super::wire::Wire;

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A simulator takes any secret it was told to take, so it must not be reachable from other machines.
    #[error("a simulator listens on loopback addresses only (127.0.0.0/8 or ::1), not on {0}")]
    NotLoopback(SocketAddr),
    /// The address is taken, or not one of this machine.
    #[error("cannot listen on {addr}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// Its TLS certificate could not be made or used.
    #[error("cannot serve TLS: {0}")]
    Tls(String),
}

/// Listens on a loopback address, and says on which port.
pub(super) async fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    if !addr.ip().is_loopback() {
        return Err(StartError::NotLoopback(addr));
    }
    let failed = |source| StartError::Bind { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    Ok((listener, addr))
}

/// A running stand-in server, HTTP/1.1 and cleartext HTTP/2 on one port.
pub struct Simulator {
    addr: SocketAddr,
    lines: Lines,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Simulator {
    /// Listens on `addr` (port 0: any free port) and answers as `vendor` does.
    ///
    /// # Errors
    /// [`StartError::NotLoopback`], and [`StartError::Bind`] when the port is taken.
    pub async fn start(addr: SocketAddr, vendor: Arc<dyn Wire>, shared: Arc<Shared>) -> Result<Self, StartError> {
        let (listener, addr) = bind(addr).await?;
        let lines = Lines::default();
        let app = Router::new().fallback(http1::handle).with_state(Arc::new(Desk { vendor, shared }));
        let service = app.into_make_service_with_connect_info::<Hangup>();
        let door = Door { listener, lines: lines.clone() };
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(door, service).await {
                tracing::error!(%error, "a simulator ended");
            }
        });
        Ok(Self { addr, lines, task: Mutex::new(Some(task)) })
    }

    /// Where it listens, such as `http://127.0.0.1:7300`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The port it listens on, also when it was asked for port 0.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it as a crash would: open connections are reset, and the port is free when this returns.
    pub async fn stop(&self) {
        let task = self.end();
        if let Some(task) = task {
            // The task was aborted: its end is an error by design.
            drop(task.await);
        }
        self.lines.reset_all();
    }

    fn end(&self) -> Option<JoinHandle<()>> {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = &task {
            task.abort();
        }
        self.lines.reset_all();
        task
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.end());
    }
}

//! One TCP connection that can be torn down from outside, as a broken network would.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Ends its connection with a TCP reset: the peer sees no answer and no orderly end.
#[derive(Debug, Clone, Default)]
pub(super) struct Hangup(Arc<Cut>);

#[derive(Debug, Default)]
struct Cut {
    done: AtomicBool,
    waker: AtomicWaker,
}

impl Hangup {
    pub(super) fn reset(&self) {
        self.0.done.store(true, Ordering::Release);
        self.0.waker.wake();
    }
}

impl Connected<IncomingStream<'_, Door>> for Hangup {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Every open connection of one server.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<Weak<Cut>>>>);

impl Lines {
    fn add(&self, hangup: &Hangup) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() == open.capacity() {
            open.retain(|line| line.strong_count() > 0);
        }
        open.push(Arc::downgrade(&hangup.0));
    }

    /// Resets every open connection.
    pub(super) fn reset_all(&self) {
        let open = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for cut in open.iter().filter_map(Weak::upgrade) {
            Hangup(cut).reset();
        }
    }
}

/// Accepts connections, with Nagle's algorithm off, and keeps a [`Hangup`] for each.
pub(super) struct Door {
    pub(super) listener: TcpListener,
    pub(super) lines: Lines,
}

impl Listener for Door {
    type Io = Line;
    type Addr = Hangup;

    async fn accept(&mut self) -> (Line, Hangup) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection stays without TCP_NODELAY");
                    }
                    let hangup = Hangup::default();
                    self.lines.add(&hangup);
                    return (Line { stream, hangup: hangup.clone() }, hangup);
                }
                // Out of file descriptors, or the peer left early: neither may end the server.
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Hangup> {
        Ok(Hangup::default())
    }
}

/// A TCP stream that fails as soon as its [`Hangup`] says so.
pub(super) struct Line {
    stream: TcpStream,
    hangup: Hangup,
}

impl Line {
    fn check(&self, context: &Context<'_>) -> io::Result<()> {
        let cut = &self.hangup.0;
        cut.waker.register(context.waker());
        if cut.done.load(Ordering::Acquire) {
            // With a linger time of zero the kernel sends RST, and throws away what was not yet sent.
            self.stream.set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

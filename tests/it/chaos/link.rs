//! The network between one server and its database: slow, silent, cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

/// A proxy on loopback. Clones share it.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    delay_ms: AtomicU64,
    /// Bytes are taken and never passed on; nobody is told.
    is_silent: AtomicBool,
    changed: Notify,
}

impl Link {
    /// To the server that listens on this port.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = Arc::clone(&link.state);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    near.set_nodelay(true).unwrap();
                    far.set_nodelay(true).unwrap();
                    let (near_read, near_write) = near.into_split();
                    let (far_read, far_write) = far.into_split();
                    // One direction's end ends both.
                    tokio::select! {
                        () = pass(near_read, far_write, Arc::clone(&state)) => {}
                        () = pass(far_read, near_write, state) => {}
                    }
                });
            }
        });
        link
    }

    /// Every byte takes so much longer, in each direction.
    pub(crate) fn delay(&self, delay: Duration) {
        self.state.delay_ms.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// From now on nothing arrives, and nobody hears why.
    pub(crate) fn swallow(&self) {
        self.state.is_silent.store(true, Ordering::Release);
    }

    /// Works again. What was swallowed meanwhile is gone, so connections that lost bytes are closed.
    pub(crate) fn heal(&self) {
        self.state.is_silent.store(false, Ordering::Release);
        self.state.changed.notify_waiters();
    }
}

async fn pass(mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf, state: Arc<State>) {
    let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(10_000);
    let reader_state = Arc::clone(&state);
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
            if reader_state.is_silent.load(Ordering::Acquire) {
                reader_state.changed.notified().await;
                return;
            }
            let delay = Duration::from_millis(reader_state.delay_ms.load(Ordering::Relaxed));
            if queue.send((Instant::now() + delay, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = queued.recv().await {
            tokio::time::sleep_until(due.into()).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

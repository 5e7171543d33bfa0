//! Records what goes over a vendor's socket, byte by byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Whether it comes from the server, and the bytes.
type Part = (bool, Vec<u8>);

/// A relay in front of a stand-in.
#[derive(Clone)]
pub(crate) struct Tap {
    addr: SocketAddr,
    /// Both directions in the order of their arrival.
    recorded: Arc<Mutex<Vec<Part>>>,
}

impl Tap {
    /// In front of `upstream`, such as `http://127.0.0.1:7300`.
    pub(crate) async fn start(upstream: &str) -> Self {
        let upstream: SocketAddr = upstream.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tap = Self { addr: listener.local_addr().unwrap(), recorded: Arc::default() };
        let relay = tap.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(upstream).await.unwrap();
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                tokio::spawn(relay.clone().pass(true, near_in, far_out));
                tokio::spawn(relay.clone().pass(false, far_in, near_out));
            }
        });
        tap
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    async fn pass(self, is_request: bool, mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            self.recorded.lock().unwrap().push((is_request, buffer[..read].to_vec()));
            if to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    }

    /// Everything so far, as one text for each direction change.
    pub(crate) fn exchange(&self) -> Vec<(bool, String)> {
        let mut joined: Vec<Part> = Vec::new();
        for (is_request, bytes) in self.recorded.lock().unwrap().iter() {
            match joined.last_mut() {
                Some((before, whole)) if before == is_request => whole.extend(bytes),
                _ => joined.push((*is_request, bytes.clone())),
            }
        }
        joined.into_iter().map(|(is_request, bytes)| (is_request, String::from_utf8(bytes).unwrap())).collect()
    }
}

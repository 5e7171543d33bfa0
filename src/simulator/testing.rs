//! Raw HTTP over a socket, for tests that must see every byte.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Any free port of this machine.
pub(super) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// One HTTP/1.1 answer.
#[derive(Debug)]
pub(super) struct RawAnswer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl RawAnswer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|line| line.0.eq_ignore_ascii_case(name)).map(|line| line.1)
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// Sends the bytes as they are and reads one answer with a `Content-Length`.
pub(super) async fn exchange(url: &str, request: &[u8]) -> RawAnswer {
    try_exchange(url, request).await.unwrap()
}

/// As [`exchange`], but a broken connection is an error: `UnexpectedEof` when the answer ends early.
pub(super) async fn try_exchange(url: &str, request: &[u8]) -> io::Result<RawAnswer> {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await?;
    stream.write_all(request).await?;
    read_answer(&mut stream).await
}

/// Reads one answer off an open connection.
pub(super) async fn read_answer(stream: &mut TcpStream) -> io::Result<RawAnswer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.get(9..12).unwrap().parse().unwrap();
    let mut answer = RawAnswer { status, head, body: Vec::new() };
    let length = answer.header("content-length").unwrap().parse().unwrap();
    answer.body.resize(length, 0);
    stream.read_exact(&mut answer.body).await?;
    Ok(answer)
}

//! One client connection: HTTP/1.1, kept alive, one request after the other, and no more of the protocol than our own server
//! speaks. What the client costs is then little, and known.

use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Room for the usual answer; a larger one makes more.
const ROOM: usize = 4_096;
/// The largest answer that is believed.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// See the module.
pub(super) struct Wire {
    stream: TcpStream,
    /// The request's head, up to the number of its body's bytes.
    head: Arc<[u8]>,
    out: Vec<u8>,
    input: Vec<u8>,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
}

impl Wire {
    /// Connects; all requests have this head.
    pub(super) async fn connect(address: SocketAddr, head: Arc<[u8]>) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, head, out: Vec::with_capacity(ROOM), input: Vec::with_capacity(ROOM) })
    }

    /// Posts a body and reads the answer.
    pub(super) async fn post(&mut self, body: &[u8]) -> io::Result<Answer<'_>> {
        self.out.clear();
        self.out.extend_from_slice(&self.head);
        write!(self.out, "{}\r\n\r\n", body.len())?;
        self.out.extend_from_slice(body);
        self.stream.write_all(&self.out).await?;
        self.input.clear();
        let (status, body) = loop {
            if let Some(found) = read_answer(&self.input)? {
                break found;
            }
            self.input.reserve(ROOM);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        Ok(Answer { status, body: self.input.get(body..).unwrap_or_default() })
    }
}

/// The head of all requests to a path.
pub(super) fn head(address: SocketAddr, path: &str, key: &str) -> Arc<[u8]> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: "
    )
    .into_bytes()
    .into()
}

/// The status of an answer and where its body begins; `None` while it is not whole.
fn read_answer(bytes: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let malformed = |what| io::Error::new(ErrorKind::InvalidData, what);
    let text = std::str::from_utf8(&bytes[..head]).map_err(|_| malformed("the head is no text"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| malformed("no status"))?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .filter(|length| *length <= MAX_ANSWER_BYTES)
        .ok_or_else(|| malformed("no length"))?;
    let body = head + 4;
    Ok((bytes.len() >= body + length).then_some((status, body)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let whole = b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        let body = whole.len() - 2;
        for length in 0..whole.len() {
            assert_eq!(read_answer(&whole[..length]).unwrap(), None, "{length}");
        }
        assert_eq!(read_answer(whole).unwrap(), Some((202, body)));
        for wrong in
            ["HTTP/1.1 200 OK\r\n\r\n", "SMTP\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 2\r\nContent-Length: 0\r\n\r\n"]
        {
            assert!(read_answer(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn requests_follow_each_other_on_one_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            for part in [
                "HTTP/1.1 202 Accepted\r\nContent-",
                "Length: 3\r\n\r\none",
                "HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n",
            ] {
                if !part.starts_with("Length") {
                    let mut request = [0; 1_024];
                    let length = stream.read(&mut request).await.unwrap();
                    seen.push(String::from_utf8(request[..length].to_vec()).unwrap());
                }
                stream.write_all(part.as_bytes()).await.unwrap();
            }
            seen
        });
        let mut wire = Wire::connect(address, head(address, "/v1/x", "k")).await.unwrap();
        assert_eq!(wire.post(b"{\"a\":1}").await.unwrap(), Answer { status: 202, body: b"one" });
        assert_eq!(wire.post(b"{}").await.unwrap(), Answer { status: 503, body: b"" });
        let seen = server.await.unwrap();
        let expected = format!(
            "POST /v1/x HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer k\r\nContent-Type: application/json\r\n\
             Content-Length: 7\r\n\r\n{{\"a\":1}}"
        );
        assert_eq!(seen[0], expected);
        assert!(wire.post(b"{}").await.is_err(), "the server is gone");
    }
}

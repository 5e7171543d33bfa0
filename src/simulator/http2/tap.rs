//! The bytes between TLS and `h2`: finds the frames in them, and puts in those that `h2` cannot send.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::capture::Direction;
use super::connection::Connection;
use super::floor::Floor;
use super::frame::{HEAD_BYTES, Head, PREFACE_BYTES, SETTING_BYTES, stream_limit};

/// How much may wait to be written before `h2` has to wait too.
const MAX_WAITING_BYTES: usize = 64 << 10;

pub(super) struct Tap<IO> {
    io: IO,
    connection: Arc<Connection>,
    floor: Arc<Floor>,
    incoming: Incoming,
    outgoing: Outgoing,
    chunk: Vec<u8>,
}

/// What the client sends, without the acknowledgements of frames that `h2` never sent.
struct Incoming {
    cutter: Cutter,
    ready: BytesMut,
}

/// What `h2` sends, with further frames between its own.
#[derive(Default)]
struct Outgoing {
    cutter: Cutter,
    /// Whether the last frame wants a CONTINUATION.
    open: bool,
    waiting: BytesMut,
}

/// Finds the frames in a stream of bytes.
#[derive(Default)]
struct Cutter {
    /// Bytes to pass on as they are: the client's preface, then the payload of one frame after the other.
    left: usize,
    /// What has come of the next frame's head.
    head: Vec<u8>,
}

enum Piece<'a> {
    Payload(&'a [u8]),
    Head(Head),
    /// The head is not whole yet.
    More,
}

impl Cutter {
    const fn is_between_frames(&self) -> bool {
        self.left == 0 && self.head.is_empty()
    }

    /// Takes the next piece off the front of `bytes`.
    fn take<'a>(&mut self, bytes: &mut &'a [u8]) -> Piece<'a> {
        let wanted = if self.left > 0 { self.left } else { HEAD_BYTES - self.head.len() };
        let (now, later) = bytes.split_at(wanted.min(bytes.len()));
        *bytes = later;
        if self.left > 0 {
            self.left -= now.len();
            return Piece::Payload(now);
        }
        self.head.extend_from_slice(now);
        let Ok(head) = self.head.as_slice().try_into() else { return Piece::More };
        let head = Head::read(head);
        self.head.clear();
        self.left = head.length;
        Piece::Head(head)
    }
}

impl<IO> Tap<IO> {
    pub(super) fn new(io: IO, connection: Arc<Connection>, floor: Arc<Floor>) -> Self {
        let incoming = Incoming { cutter: Cutter { left: PREFACE_BYTES, head: Vec::new() }, ready: BytesMut::new() };
        Self { io, connection, floor, incoming, outgoing: Outgoing::default(), chunk: vec![0; 16 << 10] }
    }
}

impl Incoming {
    fn push(&mut self, mut bytes: &[u8], connection: &Connection) {
        while !bytes.is_empty() {
            match self.cutter.take(&mut bytes) {
                Piece::Payload(payload) => self.ready.extend_from_slice(payload),
                // An acknowledgement has no payload.
                Piece::Head(head) if head.is_settings_ack() && !connection.settings_acknowledged() => {}
                Piece::Head(head) => {
                    connection.seen(head);
                    head.write(&mut self.ready);
                }
                Piece::More => {}
            }
        }
    }
}

impl Outgoing {
    const fn is_between_frames(&self) -> bool {
        self.cutter.is_between_frames() && !self.open
    }

    fn push(&mut self, mut bytes: &[u8], connection: &Connection) {
        while !bytes.is_empty() {
            if self.is_between_frames() {
                connection.take_settings(&mut self.waiting);
            }
            match self.cutter.take(&mut bytes) {
                Piece::Payload(payload) => self.waiting.extend_from_slice(payload),
                Piece::Head(head) => self.begin(head, connection),
                Piece::More => {}
            }
        }
    }

    fn begin(&mut self, head: Head, connection: &Connection) {
        self.open = head.is_open();
        let limit = if head.is_settings() { connection.settings_sent() } else { None };
        match limit {
            Some(limit) => {
                Head { length: head.length + SETTING_BYTES, ..head }.write(&mut self.waiting);
                self.waiting.extend_from_slice(&stream_limit(limit));
            }
            None => head.write(&mut self.waiting),
        }
    }
}

impl<IO: AsyncWrite + Unpin> Tap<IO> {
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.is_frozen.load(Ordering::Acquire) {
            self.outgoing.waiting.clear();
        }
        while !self.outgoing.waiting.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(context, &self.outgoing.waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let sent = self.outgoing.waiting.get(..written).unwrap_or_default();
            self.floor.capture.keep(self.connection.id(), Direction::Out, sent);
            self.outgoing.waiting.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tap<IO> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        tap.connection.waker.register(context.waker());
        // `h2` reads whenever it is polled, but writes only when it has something to say.
        if tap.outgoing.is_between_frames() {
            tap.connection.take_settings(&mut tap.outgoing.waiting);
        }
        if !tap.outgoing.waiting.is_empty() && tap.poll_drain(context)?.is_ready() {
            // Not yet flushed is no reason to stop reading: the next poll tries again.
            Pin::new(&mut tap.io).poll_flush(context)?.is_ready();
        }
        while tap.incoming.ready.is_empty() {
            let mut chunk = ReadBuf::new(&mut tap.chunk);
            ready!(Pin::new(&mut tap.io).poll_read(context, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            if tap.connection.is_frozen.load(Ordering::Acquire) {
                continue;
            }
            tap.floor.capture.keep(tap.connection.id(), Direction::In, chunk.filled());
            tap.incoming.push(chunk.filled(), &tap.connection);
        }
        let bytes = tap.incoming.ready.split_to(tap.incoming.ready.len().min(buf.remaining()));
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tap<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        if tap.outgoing.waiting.len() > MAX_WAITING_BYTES {
            ready!(tap.poll_drain(context))?;
        }
        tap.outgoing.push(bytes, &tap.connection);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        // Last of all, so that no answer given before it looks unprocessed.
        if tap.outgoing.is_between_frames() {
            tap.connection.take_go_away(&mut tap.outgoing.waiting);
        }
        ready!(tap.poll_drain(context))?;
        Pin::new(&mut tap.io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        ready!(tap.poll_drain(context))?;
        Pin::new(&mut tap.io).poll_shutdown(context)
    }
}

//! HTTP/2 frames, as far as the tap needs them (RFC 9113, section 4.1 and 6).

use bytes::{BufMut, Bytes, BytesMut};

/// What a client sends before its first frame.
pub(super) const PREFACE_BYTES: usize = 24;
/// The head of every frame: length, type, flags, stream.
pub(super) const HEAD_BYTES: usize = 9;

pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const MAX_CONCURRENT_STREAMS: u16 = 3;
/// Type and value of one setting.
pub(super) const SETTING_BYTES: usize = 6;

/// The head of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    pub(super) fn read(bytes: [u8; HEAD_BYTES]) -> Self {
        let [l1, l2, l3, kind, flags, s1, s2, s3, s4] = bytes;
        let length = u32::from_be_bytes([0, l1, l2, l3]) as usize;
        Self { length, kind, flags, stream: u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]) }
    }

    pub(super) fn write(self, out: &mut BytesMut) {
        out.put_uint(self.length as u64, 3);
        out.put_u8(self.kind);
        out.put_u8(self.flags);
        out.put_u32(self.stream);
    }

    pub(super) const fn is_settings(self) -> bool {
        self.kind == SETTINGS && self.flags & ACK == 0
    }

    pub(super) const fn is_settings_ack(self) -> bool {
        self.kind == SETTINGS && self.flags & ACK != 0
    }

    /// Whether the next frame must be a CONTINUATION of this one, so that nothing may come between.
    pub(super) const fn is_open(self) -> bool {
        matches!(self.kind, HEADERS | PUSH_PROMISE | CONTINUATION) && self.flags & END_HEADERS == 0
    }
}

/// The setting `MAX_CONCURRENT_STREAMS`.
pub(super) fn stream_limit(limit: u32) -> [u8; SETTING_BYTES] {
    let [k1, k2] = MAX_CONCURRENT_STREAMS.to_be_bytes();
    let [v1, v2, v3, v4] = limit.to_be_bytes();
    [k1, k2, v1, v2, v3, v4]
}

/// A SETTINGS frame with a new stream limit.
pub(super) fn settings(limit: u32) -> Bytes {
    let mut frame = BytesMut::new();
    Head { length: SETTING_BYTES, kind: SETTINGS, flags: 0, stream: 0 }.write(&mut frame);
    frame.put_slice(&stream_limit(limit));
    frame.freeze()
}

/// A GOAWAY frame.
pub(super) fn go_away(last_stream: u32, error_code: u32, debug: &str) -> Bytes {
    let mut frame = BytesMut::new();
    Head { length: 8 + debug.len(), kind: GOAWAY, flags: 0, stream: 0 }.write(&mut frame);
    frame.put_u32(last_stream);
    frame.put_u32(error_code);
    frame.put_slice(debug.as_bytes());
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_bytes_of_the_standard() {
        assert_eq!(settings(1)[..], [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1]);
        assert_eq!(go_away(5, 7, "{}")[..], [0, 0, 10, 7, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 7, b'{', b'}']);
        let head = Head::read([0, 1, 2, 1, 4, 0x80, 0, 0, 3]);
        assert_eq!(head, Head { length: 258, kind: HEADERS, flags: 4, stream: 3 });
        assert!(!head.is_open() && Head { flags: 0, ..head }.is_open());
    }
}

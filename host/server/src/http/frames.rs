//! Ends an HTTP/2 connection whose client makes work without asking for anything: pings, settings, resets, priorities,
//! empty data, frames of unknown kinds. The protocol has no limit for these, and answering each costs more than sending
//! it. Looks at frame heads as they come off the wire and changes nothing; HTTP/1 is recognised by its first bytes and
//! passes unseen.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// By which a client says that it speaks HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length, kind, flags and stream.
const HEAD_BYTES: usize = 9;
/// Idle frames that a client may send at once: far more than any browser or library does.
const BURST: u32 = 1_000;
/// Idle frames a second in the long run.
const RATE: u32 = 100;

/// A connection whose incoming frames are counted.
pub(crate) struct Frames<S> {
    stream: S,
    at: At,
    budget: Budget,
}

/// Where in the stream of bytes the next one stands.
enum At {
    /// In the preface, after so many bytes of it.
    Preface(usize),
    /// In a frame's head, of which so many bytes are there.
    Head([u8; HEAD_BYTES], usize),
    /// In a frame's content, before so many bytes of it.
    Content(usize),
    /// In something that is not HTTP/2.
    Elsewhere,
}

struct Budget {
    left: u32,
    filled: Instant,
}

impl<S> Frames<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, at: At::Preface(0), budget: Budget { left: BURST, filled: Instant::now() } }
    }

    /// Follows the bytes; `false` when there were too many idle frames in them.
    fn follow(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let taken = match &mut self.at {
                At::Elsewhere => return true,
                At::Preface(seen) => {
                    let rest = &PREFACE[*seen..];
                    let length = rest.len().min(bytes.len());
                    *seen += length;
                    if bytes[..length] != rest[..length] {
                        self.at = At::Elsewhere;
                    } else if *seen == PREFACE.len() {
                        self.at = At::Head([0; HEAD_BYTES], 0);
                    }
                    length
                }
                At::Content(left) => {
                    let length = bytes.len().min(*left);
                    *left -= length;
                    if *left == 0 {
                        self.at = At::Head([0; HEAD_BYTES], 0);
                    }
                    length
                }
                At::Head(head, seen) => {
                    let length = (HEAD_BYTES - *seen).min(bytes.len());
                    head[*seen..*seen + length].copy_from_slice(&bytes[..length]);
                    *seen += length;
                    if *seen == HEAD_BYTES {
                        let (content, idle) = read(head);
                        self.at =
                            if content == 0 { At::Head([0; HEAD_BYTES], 0) } else { At::Content(content) };
                        if idle && !self.budget.take() {
                            return false;
                        }
                    }
                    length
                }
            };
            bytes = &bytes[taken..];
        }
        true
    }
}

/// How long a frame's content is, and whether the frame asks for nothing.
fn read(head: &[u8; HEAD_BYTES]) -> (usize, bool) {
    const DATA: u8 = 0;
    const END_STREAM: u8 = 1;
    const HEADERS: u8 = 1;
    const WINDOW_UPDATE: u8 = 8;
    const CONTINUATION: u8 = 9;
    let [a, b, c, kind, flags, ..] = *head;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    let idle = match kind {
        DATA => length == 0 && flags & END_STREAM == 0,
        // the first asks, the second is how an honest client reads, the third is bounded with the headers
        HEADERS | WINDOW_UPDATE | CONTINUATION => false,
        _ => true,
    };
    (length, idle)
}

impl Budget {
    fn take(&mut self) -> bool {
        let now = Instant::now();
        let refill = now.duration_since(self.filled).as_millis() * u128::from(RATE) / 1_000;
        if refill > 0 {
            self.left = BURST.min(self.left.saturating_add(u32::try_from(refill).unwrap_or(BURST)));
            self.filled = now;
        }
        let enough = self.left > 0;
        self.left = self.left.saturating_sub(1);
        enough
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        if self.follow(&into.filled()[before..]) {
            return Poll::Ready(Ok(()));
        }
        let error = "the client sends frames that ask for nothing";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], content].concat()
    }

    /// Whether a client may send a frame so often.
    fn may_send(frame: &[u8], times: usize) -> bool {
        let mut frames = Frames::new(());
        assert!(frames.follow(PREFACE));
        (0..times).all(|_| frames.follow(frame))
    }

    #[test]
    fn idle_frames_are_borne_up_to_a_burst_and_no_further() {
        let idle = [
            frame(6, 0, &[0; 8]),
            frame(4, 0, &[]),
            frame(3, 0, &[0; 4]),
            frame(2, 0, &[0; 5]),
            frame(0, 0, &[]),
            frame(0xaa, 0, b"?"),
        ];
        for frame in idle {
            assert!(may_send(&frame, 500), "{frame:?}");
            // the refill while the test runs is far below this
            assert!(!may_send(&frame, 100_000), "{frame:?}");
        }
    }

    #[test]
    fn requests_data_and_windows_are_no_idle_frames() {
        for frame in [frame(1, 5, b"headers"), frame(0, 0, b"data"), frame(0, 1, b""), frame(8, 0, &[0; 4])] {
            assert!(may_send(&frame, 100_000), "{frame:?}");
        }
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let bytes = [PREFACE, &frame(1, 4, b"four"), &frame(6, 0, &[0; 8]).repeat(2_000)].concat();
        for cut in [1, 2, 7, 9, 10, 64, 4_096] {
            let mut frames = Frames::new(());
            let whole = bytes.chunks(cut).all(|part| frames.follow(part));
            assert!(!whole, "cut into {cut}");
        }
    }

    #[test]
    fn http_1_passes_whatever_it_carries() {
        let mut frames = Frames::new(());
        assert!(frames.follow(b"PRI * HT"));
        assert!(frames.follow(b"TP/1.1\r\n"));
        assert!(frames.follow(&frame(6, 0, &[0; 8]).repeat(100_000)));
    }
}

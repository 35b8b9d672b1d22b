//! HTTP/2 by hand, for what no library would send: frames as bytes, and what the server says before it hangs up.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::DEADLINE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The reason of a server that has had enough.
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// GET, http, `/`, and `test` as the authority, in HPACK's plainest form.
pub(crate) const GET: &[u8] = b"\x82\x86\x84\x01\x04test";
/// The same with POST.
pub(crate) const POST: &[u8] = b"\x83\x86\x84\x01\x04test";

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// What a client opens with.
pub(crate) fn opening() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The plainest request for a page.
pub(crate) fn asking(path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    [b"\x82\x86\x04", &[length][..], path.as_bytes(), b"\x01\x04test"].concat()
}

/// The next frame of a server: its kind, its stream and its content.
pub(crate) async fn heard(stream: &mut TcpStream) -> (u8, u32, Vec<u8>) {
    let hear = async {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let [a, b, c, kind, _, stream_id @ ..] = head;
        let mut content = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut content).await.unwrap();
        (kind, u32::from_be_bytes(stream_id), content)
    };
    timeout(DEADLINE, hear).await.expect("silence")
}

/// Sends bytes until the server hangs up; the reason of its GOAWAY, if it sent one. A server that lets everything pass
/// fails the test.
pub(crate) async fn until_hung_up(address: SocketAddr, bytes: Vec<u8>) -> Option<u32> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let sending = tokio::spawn(async move {
        // the rest of the flood is lost when the server hangs up in its midst
        let _ = writer.write_all(&bytes).await;
        writer
    });
    let mut answer = Vec::new();
    let end = timeout(DEADLINE, reader.read_to_end(&mut answer)).await;
    // a reset ends it as well
    let _ = end.expect("the server bears it all");
    sending.abort();
    goaway(&answer)
}

fn goaway(mut bytes: &[u8]) -> Option<u32> {
    while let [a, b, c, kind, ..] = *bytes {
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let content = bytes.get(9..9 + length)?;
        if kind == GOAWAY {
            return Some(u32::from_be_bytes(content[4..8].try_into().unwrap()));
        }
        bytes = &bytes[9 + length..];
    }
    None
}

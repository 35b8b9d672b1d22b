//! A server on this machine that answers each connection by the next script, and remembers what it was sent. It writes
//! bytes as they are: everything that HTTP and the protocols above it allow, and what they do not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// What is done with one connection, once its request was read.
#[derive(Clone)]
pub(super) struct Script {
    steps: Vec<Step>,
}

#[derive(Clone)]
enum Step {
    Write(Vec<u8>),
    Wait(Duration),
    /// Until the client hangs up.
    Hold,
    /// Ends the connection as a crash does.
    Reset,
    /// Writes this again and again.
    Endlessly(Vec<u8>),
}

impl Script {
    /// An answer with its length.
    pub(super) fn whole(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
        Self { steps: vec![Step::Write(text.into())] }
    }

    /// A whole answer of JSON.
    pub(super) fn json(body: &str) -> Self {
        Self::whole("200 OK", "content-type: application/json\r\n", body)
    }

    /// An error of JSON.
    pub(super) fn error(status: &str, headers: &str, body: &str) -> Self {
        Self::whole(status, &format!("content-type: application/json\r\n{headers}"), body)
    }

    /// The head of a stream that ends with its connection.
    pub(super) fn stream(media_type: &str) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\nconnection: close\r\n\r\n");
        Self { steps: vec![Step::Write(head.into())] }
    }

    /// A stream of server-sent events.
    pub(super) fn events(text: &str) -> Self {
        Self::stream("text/event-stream").then(text)
    }

    /// Nothing at all.
    pub(super) fn silence() -> Self {
        Self { steps: Vec::new() }
    }

    pub(super) fn then(mut self, text: &str) -> Self {
        self.steps.push(Step::Write(text.as_bytes().to_vec()));
        self
    }

    /// One write for each byte.
    pub(super) fn byte_by_byte(mut self, text: &str) -> Self {
        self.steps.extend(text.bytes().map(|byte| Step::Write(vec![byte])));
        self
    }

    pub(super) fn wait(mut self, time: Duration) -> Self {
        self.steps.push(Step::Wait(time));
        self
    }

    pub(super) fn hold(mut self) -> Self {
        self.steps.push(Step::Hold);
        self
    }

    pub(super) fn reset(mut self) -> Self {
        self.steps.push(Step::Reset);
        self
    }

    pub(super) fn endlessly(mut self, text: &str) -> Self {
        self.steps.push(Step::Endlessly(text.into()));
        self
    }
}

/// The server.
pub(super) struct Standin {
    port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<String>>,
    left: AtomicUsize,
}

impl Standin {
    /// Answers by these scripts, one after another; by the last one from then on.
    pub(super) async fn open(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Seen>::default();
        let kept = seen.clone();
        tokio::spawn(async move {
            let mut next = 0;
            while let Ok((socket, _)) = listener.accept().await {
                let script = scripts[next.min(scripts.len() - 1)].clone();
                next += 1;
                tokio::spawn(act(socket, script, kept.clone()));
            }
        });
        Self { port, seen }
    }

    /// Its address, with a path behind it.
    pub(super) fn at(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it was sent, heads and bodies.
    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Clients that hung up while it held them.
    pub(super) fn left(&self) -> usize {
        self.seen.left.load(Ordering::SeqCst)
    }
}

async fn act(mut socket: TcpStream, script: Script, seen: Arc<Seen>) {
    let Some(request) = request(&mut socket).await else { return };
    seen.requests.lock().unwrap().push(request);
    socket.set_nodelay(true).unwrap();
    for step in script.steps {
        let written = match step {
            Step::Write(bytes) => socket.write_all(&bytes).await,
            Step::Wait(time) => {
                sleep(time).await;
                Ok(())
            }
            Step::Hold => {
                let _ = socket.read(&mut [0; 64]).await;
                seen.left.fetch_add(1, Ordering::SeqCst);
                return;
            }
            Step::Reset => {
                socket.set_zero_linger().unwrap();
                return;
            }
            Step::Endlessly(bytes) => loop {
                if let Err(error) = socket.write_all(&bytes).await {
                    break Err(error);
                }
            },
        };
        if written.is_err() {
            seen.left.fetch_add(1, Ordering::SeqCst);
            return;
        }
    }
}

/// A whole request, head and body.
async fn request(socket: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        let count = socket.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        // bodies may hold files: what is no text is counted as it came
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        if bytes.len() - end - 4 >= length.trim().parse().ok()? {
            return Some(text);
        }
    }
}

//! Backends that do what they are told, on a port of their own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What a backend does with one request.
#[derive(Clone, Debug)]
pub enum Act {
    /// These bytes, and the connection stays.
    Say(String),
    /// These bytes, and the connection closes.
    Last(String),
    /// These bytes, then a reset.
    Reset(String),
    /// A reset after so long, without a word.
    Drop(Duration),
    /// These bytes once somebody allows it.
    After(Arc<Notify>, String),
    /// Never a word.
    Hang,
    /// 101 at once, and then an echo.
    Upgrade,
}

impl Act {
    /// A whole answer of 200.
    pub fn ok(body: &str) -> Act {
        Act::Say(answer(200, body))
    }

    /// A whole answer.
    pub fn status(status: u16) -> Act {
        Act::Say(answer(status, "status"))
    }
}

pub fn answer(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Test\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A running backend; it ends when this is dropped.
pub struct Backend {
    pub addr: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Backend {
    /// Every request is answered by what `script` says about its head.
    pub async fn start(script: impl Fn(&str) -> Act + Send + Sync + 'static) -> Backend {
        Backend::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    /// The same, on a listener that exists.
    pub fn on(
        listener: TcpListener,
        script: impl Fn(&str) -> Act + Send + Sync + 'static,
    ) -> Backend {
        let addr = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(vec![]));
        let seen = heads.clone();
        let script = Arc::new(script);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(converse(stream, script.clone(), seen.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Backend { addr, heads, task }
    }

    /// One that says its name.
    pub async fn named(name: &'static str) -> Backend {
        Backend::start(move |_| Act::ok(name)).await
    }

    /// The heads of the requests so far, as they came.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub fn requests(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address where nobody listens.
pub fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

async fn converse(
    mut stream: TcpStream,
    script: Arc<impl Fn(&str) -> Act>,
    heads: Arc<Mutex<Vec<String>>>,
) {
    let _ = stream.set_nodelay(true);
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")?
                    .trim()
                    .parse()
                    .ok()
            })
            .unwrap_or(0usize);
        while read.len() < end + length {
            match stream.read_buf(&mut read).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        read.drain(..end + length);
        let act = script(&head);
        heads.lock().unwrap().push(head);
        let (text, stays) = match act {
            Act::Say(text) => (text, true),
            Act::Last(text) => (text, false),
            Act::After(allowed, text) => {
                allowed.notified().await;
                (text, true)
            }
            Act::Reset(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.flush().await;
                let _ = stream.set_zero_linger();
                return;
            }
            Act::Drop(after) => {
                tokio::time::sleep(after).await;
                let _ = stream.set_zero_linger();
                return;
            }
            Act::Hang => return std::future::pending().await,
            Act::Upgrade => return echo(stream).await,
        };
        if stream.write_all(text.as_bytes()).await.is_err() || !stays {
            return;
        }
    }
}

async fn echo(mut stream: TcpStream) {
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    let _ = stream.write_all(switch.as_bytes()).await;
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

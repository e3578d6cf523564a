//! Many users at once over HTTP/1.1, HTTP/2 and WebSockets, who notice every request that fails.
//!
//! `cargo run --release --example users -- --http1 127.0.0.1:8080`; it ends with its standard input, or
//! after `--requests`, and prints what it saw as one line of JSON.

use bytes::Bytes;
use clap::Parser;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

#[derive(Parser, Clone)]
#[command(about = "Many users at once, who notice every request that fails")]
struct Args {
    /// Who serves HTTP/1.1 and WebSockets.
    #[arg(long)]
    http1: SocketAddr,
    /// Who serves HTTP/2 without TLS; the same when it is not said.
    #[arg(long)]
    http2: Option<SocketAddr>,
    /// Connections of HTTP/1.1.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Connections of HTTP/2, with four requests at a time each.
    #[arg(long, default_value_t = 4)]
    streams: usize,
    /// WebSockets: each says something ten times a second.
    #[arg(long, default_value_t = 50)]
    sockets: usize,
    /// The host that serves them.
    #[arg(long, default_value = "ws")]
    sockets_host: String,
    /// Ends after so many requests.
    #[arg(long, default_value_t = u64::MAX)]
    requests: u64,
}

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Seen {
    answered: AtomicU64,
    failed: AtomicU64,
    /// Connections, the first ones included.
    connects: AtomicU64,
}

#[derive(Default)]
struct All {
    http1: Seen,
    http2: Seen,
    sockets: Seen,
    first_failures: Mutex<Vec<String>>,
    over: AtomicBool,
}

impl All {
    fn count(&self) -> u64 {
        self.http1.answered.load(Relaxed) + self.http2.answered.load(Relaxed)
    }

    fn failed(&self, seen: &Seen, what: &str, why: impl std::fmt::Display) {
        seen.failed.fetch_add(1, Relaxed);
        if let Ok(mut all) = self.first_failures.lock()
            && all.len() < 20
        {
            all.push(format!("{what}: {why}"));
        }
    }
}

/// One answer of HTTP/1.1: its status, and whether the connection is kept.
async fn answer(stream: &mut BufReader<TcpStream>) -> io::Result<(u16, bool)> {
    let (mut status, mut length, mut kept) = (0, 0, true);
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end().to_ascii_lowercase();
        if status == 0 {
            status = text
                .split(' ')
                .nth(1)
                .and_then(|s| s.parse().ok())
                .unwrap_or(1);
        } else if let Some(value) = text.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        } else if text == "connection: close" {
            kept = false;
        } else if text.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((status, kept))
}

async fn http1(all: Arc<All>, args: Args) {
    let seen = &all.http1;
    while !all.over.load(Relaxed) {
        seen.connects.fetch_add(1, Relaxed);
        let mut stream = match TcpStream::connect(args.http1).await {
            Ok(stream) => BufReader::new(stream),
            Err(error) => {
                all.failed(seen, "http1 connect", error);
                continue;
            }
        };
        let _ = stream.get_ref().set_nodelay(true);
        while !all.over.load(Relaxed) {
            let asked = async {
                stream
                    .get_mut()
                    .write_all(b"GET / HTTP/1.1\r\nHost: app\r\n\r\n")
                    .await?;
                answer(&mut stream).await
            };
            match timeout(PATIENCE, asked).await {
                Ok(Ok((200, kept))) => {
                    seen.answered.fetch_add(1, Relaxed);
                    if !kept {
                        break;
                    }
                }
                Ok(Ok((status, _))) => {
                    all.failed(seen, "http1 status", status);
                    break;
                }
                Ok(Err(error)) => {
                    all.failed(seen, "http1", error);
                    break;
                }
                Err(late) => {
                    all.failed(seen, "http1", late);
                    break;
                }
            }
        }
    }
}

async fn http2(all: Arc<All>, addr: SocketAddr) {
    let seen = &all.http2;
    while !all.over.load(Relaxed) {
        seen.connects.fetch_add(1, Relaxed);
        let begun = async {
            let stream = TcpStream::connect(addr)
                .await
                .map_err(|error| error.to_string())?;
            let _ = stream.set_nodelay(true);
            h2::client::handshake(stream)
                .await
                .map_err(|error| error.to_string())
        };
        let (sender, connection) = match begun.await {
            Ok(begun) => begun,
            Err(error) => {
                all.failed(seen, "http2 connect", error);
                continue;
            }
        };
        let connection = tokio::spawn(connection);
        let mut four = JoinSet::new();
        for _ in 0..4 {
            four.spawn(ask(all.clone(), sender.clone()));
        }
        while four.join_next().await.is_some() {}
        drop(sender);
        connection.abort();
    }
}

/// Asks until the connection takes no more.
async fn ask(all: Arc<All>, sender: h2::client::SendRequest<Bytes>) {
    let seen = &all.http2;
    while !all.over.load(Relaxed) {
        let asked = async {
            let mut sender = sender.clone().ready().await?;
            let request = http::Request::get("http://app/")
                .body(())
                .unwrap_or_default();
            let (answer, _) = sender.send_request(request, true)?;
            let answer = answer.await?;
            let status = answer.status().as_u16();
            let mut body = answer.into_body();
            while let Some(part) = body.data().await {
                let length = part?.len();
                body.flow_control().release_capacity(length)?;
            }
            Ok::<u16, h2::Error>(status)
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(200)) => {
                seen.answered.fetch_add(1, Relaxed);
            }
            Ok(Ok(status)) => all.failed(seen, "http2 status", status),
            // Said of requests that were not looked at: they are asked again (RFC 9113, 8.7).
            Ok(Err(error))
                if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) =>
            {
                return;
            }
            Ok(Err(error)) if error.reason() == Some(h2::Reason::REFUSED_STREAM) => return,
            Ok(Err(error)) => return all.failed(seen, "http2", error),
            Err(late) => return all.failed(seen, "http2", late),
        }
    }
}

/// Opens a tunnel and says something now and then; one that ends between two words is opened anew.
async fn socket(all: Arc<All>, args: Args) {
    let seen = &all.sockets;
    while !all.over.load(Relaxed) {
        seen.connects.fetch_add(1, Relaxed);
        let begun = async {
            let mut stream = BufReader::new(TcpStream::connect(args.http1).await?);
            let ask = format!(
                "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                args.sockets_host
            );
            stream.get_mut().write_all(ask.as_bytes()).await?;
            let (status, _) = answer(&mut stream).await?;
            Ok::<_, io::Error>((status, stream))
        };
        let mut stream = match timeout(PATIENCE, begun).await {
            Ok(Ok((101, stream))) => stream,
            Ok(Ok((status, _))) => {
                all.failed(seen, "socket status", status);
                continue;
            }
            Ok(Err(error)) => {
                all.failed(seen, "socket", error);
                continue;
            }
            Err(late) => {
                all.failed(seen, "socket", late);
                continue;
            }
        };
        while !all.over.load(Relaxed) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut said = [0; 5];
            let heard = async {
                stream.get_mut().write_all(b"hello").await?;
                stream.read_exact(&mut said).await
            };
            match timeout(PATIENCE, heard).await {
                Ok(Ok(_)) => {
                    seen.answered.fetch_add(1, Relaxed);
                }
                // The end of a tunnel is no failed request: how often is seen by `connects`.
                Ok(Err(_)) => break,
                Err(late) => {
                    all.failed(seen, "socket", late);
                    break;
                }
            }
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let all = Arc::new(All::default());
    let mut users = JoinSet::new();
    for _ in 0..args.connections {
        users.spawn(http1(all.clone(), args.clone()));
    }
    for _ in 0..args.streams {
        users.spawn(http2(all.clone(), args.http2.unwrap_or(args.http1)));
    }
    for _ in 0..args.sockets {
        users.spawn(socket(all.clone(), args.clone()));
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        tell.send(())
    });
    let enough = async {
        while all.count() < args.requests {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! { _ = told => {}, () = enough => {} }
    all.over.store(true, Relaxed);
    while users.join_next().await.is_some() {}
    let seen = |seen: &Seen| {
        serde_json::json!({
            "answered": seen.answered.load(Relaxed),
            "failed": seen.failed.load(Relaxed),
            "connects": seen.connects.load(Relaxed),
        })
    };
    let failures = all
        .first_failures
        .lock()
        .map(|all| all.clone())
        .unwrap_or_default();
    println!(
        "{}",
        serde_json::json!({
            "http1": seen(&all.http1),
            "http2": seen(&all.http2),
            "sockets": seen(&all.sockets),
            "first_failures": failures,
        })
    );
    ExitCode::SUCCESS
}

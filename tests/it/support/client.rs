//! A client that shows everything: one connection, raw bytes, strict about ends.

use crate::support::PATIENCE;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What asks for a WebSocket.
pub const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub struct Client {
    pub stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }
}

impl Client {
    pub async fn connect(addr: SocketAddr) -> Client {
        let stream = timeout(PATIENCE, TcpStream::connect(addr))
            .await
            .unwrap()
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            stream,
            read: vec![],
        }
    }

    pub async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Asks for a path with more headers, each ending in CRLF.
    pub async fn get(&mut self, path: &str, headers: &str) -> io::Result<Answer> {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nhost: app\r\n{headers}\r\n"
        ))
        .await;
        self.answer().await
    }

    /// The next answer, whole; an error when it is cut short.
    pub async fn answer(&mut self) -> io::Result<Answer> {
        timeout(PATIENCE, self.whole_answer())
            .await
            .expect("an answer in time")
    }

    async fn whole_answer(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        if matches!(status, 100..=199 | 204 | 304) {
            return Ok(answer);
        }
        let body = if answer.header("transfer-encoding") == Some("chunked") {
            self.chunks().await?
        } else {
            let length = answer
                .header("content-length")
                .map_or(0, |length| length.parse().unwrap());
            self.exactly(length).await?
        };
        answer.body = String::from_utf8(body).unwrap();
        Ok(answer)
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = vec![];
        loop {
            let line = loop {
                if let Some(at) = find(&self.read, b"\r\n") {
                    break self.read.drain(..at + 2).collect::<Vec<u8>>();
                }
                self.more().await?;
            };
            let length = std::str::from_utf8(&line).unwrap().trim();
            let length = usize::from_str_radix(length, 16).unwrap();
            body.extend(self.exactly(length).await?);
            self.exactly(2).await?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    pub async fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.read.len() < count {
            self.more().await?;
        }
        Ok(self.read.drain(..count).collect())
    }

    /// Waits for the other side to close; an error when it sends something.
    pub async fn closed(&mut self) -> io::Result<()> {
        match timeout(PATIENCE, self.more())
            .await
            .expect("a close in time")
        {
            Err(error) if error.kind() != ErrorKind::TimedOut => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(io::Error::other("it goes on")),
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// One request on a connection of its own.
pub async fn get(addr: SocketAddr, path: &str, headers: &str) -> io::Result<Answer> {
    Client::connect(addr).await.get(path, headers).await
}

//! A backend that takes HTTP/1.1 by the letter, and remembers what was wrong with what reached it.
//!
//! It is a second opinion: nothing of it is shared with shifter.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What reached the backend.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub head: String,
    pub body: Vec<u8>,
    /// It came to its end.
    pub whole: bool,
    /// What RFC 9112 says against it.
    pub faults: Vec<String>,
}

pub struct Strict {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Strict {
    pub async fn start() -> Strict {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(vec![]));
        let notes = seen.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(converse(stream, notes.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Strict { addr, seen, task }
    }

    /// All that has come since the last call.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(mut stream: TcpStream, notes: Arc<Mutex<Vec<Seen>>>) {
    let mut read = vec![];
    loop {
        let mut seen = Seen::default();
        let whole = request(&mut stream, &mut read, &mut seen).await;
        let begun = !seen.head.is_empty() || !read.is_empty();
        seen.whole = whole.is_some();
        let close = !seen.faults.is_empty() || whole.is_none();
        if begun || seen.whole {
            notes.lock().unwrap().push(seen);
        }
        if close
            || stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await
                .is_err()
        {
            return;
        }
    }
}

/// Reads one request; `None` when it does not come to its end.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>, seen: &mut Seen) -> Option<()> {
    let end = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, read).await?;
    };
    let head: Vec<u8> = read.drain(..end).collect();
    seen.head = String::from_utf8_lossy(&head).into_owned();
    let faults = &mut seen.faults;
    let mut lines = head[..end - 4].split(|&byte| byte == b'\n').map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        String::from_utf8_lossy(line).into_owned()
    });
    // The last line has lost its CR with the blank line: all others must have had theirs.
    let bare = head.iter().enumerate().any(|(at, &byte)| {
        (byte == b'\n' && (at == 0 || head[at - 1] != b'\r'))
            || (byte == b'\r' && head.get(at + 1) != Some(&b'\n'))
    });
    if bare {
        faults.push("a bare CR or LF".into());
    }
    request_line(&lines.next().unwrap_or_default(), faults);
    let (mut hosts, mut lengths, mut codings) = (vec![], vec![], vec![]);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            faults.push(format!("no colon in {line:?}"));
            continue;
        };
        if !token(name) {
            faults.push(format!("{name:?} is no name"));
        }
        if value
            .bytes()
            .any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)
        {
            faults.push(format!("a control character in {line:?}"));
        }
        let value = value.trim_matches([' ', '\t']).to_owned();
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts.push(value),
            "content-length" => lengths.push(value),
            "transfer-encoding" => codings.push(value),
            "keep-alive" | "proxy-connection" | "te" | "trailer" | "http2-settings" => {
                faults.push(format!("{name} goes from hop to hop"));
            }
            _ => {}
        }
    }
    match hosts.as_slice() {
        [host] if host_is_one(host) => {}
        hosts => faults.push(format!("hosts {hosts:?}")),
    }
    let length = match lengths.as_slice() {
        [] => None,
        [length] if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse::<usize>().ok()
        }
        lengths => {
            faults.push(format!("lengths {lengths:?}"));
            return Some(());
        }
    };
    match codings.as_slice() {
        [] => exactly(stream, read, length.unwrap_or(0))
            .await
            .map(|body| seen.body = body),
        [coding] if coding.eq_ignore_ascii_case("chunked") && length.is_none() => {
            chunks(stream, read, seen).await
        }
        codings => {
            faults.push(format!("codings {codings:?} and length {length:?}"));
            Some(())
        }
    }
}

fn request_line(line: &str, faults: &mut Vec<String>) {
    let parts: Vec<&str> = line.split(' ').collect();
    let good = match parts.as_slice() {
        [method, target, "HTTP/1.1" | "HTTP/1.0"] => {
            let shape = target.starts_with('/')
                || target.starts_with("http://")
                || target.starts_with("https://")
                || (*target == "*" && *method == "OPTIONS");
            token(method)
                && shape
                && target
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b'#')
        }
        _ => false,
    };
    if !good {
        faults.push(format!("the request line {line:?}"));
    }
}

fn token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

/// RFC 3986, 3.2.2 and 3.2.3; all that the RFC allows.
fn host_is_one(host: &str) -> bool {
    let (name, port) = match host.rfind(':') {
        Some(at) if !host[at..].contains(']') => (&host[..at], &host[at + 1..]),
        _ => (host, ""),
    };
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    let literal = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    port.bytes().all(|byte| byte.is_ascii_digit())
        && match literal {
            Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
            None => name.bytes().all(inside),
        }
}

async fn chunks(stream: &mut TcpStream, read: &mut Vec<u8>, seen: &mut Seen) -> Option<()> {
    loop {
        let size = line(stream, read).await?;
        let digits = size.split(';').next().unwrap();
        let count = usize::from_str_radix(digits, 16)
            .ok()
            .filter(|_| !digits.starts_with('+'));
        let Some(count) = count else {
            seen.faults.push(format!("the chunk size {size:?}"));
            return Some(());
        };
        if count == 0 {
            break;
        }
        seen.body.extend(exactly(stream, read, count).await?);
        let end = exactly(stream, read, 2).await?;
        if end != b"\r\n" {
            seen.faults.push(format!("{end:?} after a chunk"));
            return Some(());
        }
    }
    loop {
        let trailer = line(stream, read).await?;
        match trailer.split_once(':') {
            _ if trailer.is_empty() => return Some(()),
            Some((name, _)) if token(name) => {}
            _ => seen.faults.push(format!("the trailer {trailer:?}")),
        }
    }
}

async fn line(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(at) = read.windows(2).position(|window| window == b"\r\n") {
            let line: Vec<u8> = read.drain(..at + 2).collect();
            return Some(String::from_utf8_lossy(&line[..at]).into_owned());
        }
        more(stream, read).await?;
    }
}

async fn exactly(stream: &mut TcpStream, read: &mut Vec<u8>, count: usize) -> Option<Vec<u8>> {
    while read.len() < count {
        more(stream, read).await?;
    }
    Some(read.drain(..count).collect())
}

async fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(read).await {
        Ok(1..) => Some(()),
        _ => None,
    }
}

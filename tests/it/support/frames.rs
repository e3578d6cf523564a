//! HTTP/2 frame by frame: users and backends that say what no library would send.

use crate::support::PATIENCE;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The largest frame that everybody takes.
const MOST: usize = 16_384;

/// A part of what is sent on stream 1.
#[derive(Clone, Debug)]
pub enum Part {
    Fields(Vec<(Vec<u8>, Vec<u8>)>),
    Data(Vec<u8>),
}

/// How stream 1 ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Status 200.
    Good,
    /// Another status.
    Other,
    /// The stream or the connection was ended, or nothing came.
    Ended,
}

/// How a backend says that it will not begin with a request.
#[derive(Clone, Copy, Debug)]
pub enum Unprocessed {
    /// RST_STREAM with REFUSED_STREAM; those after it are answered.
    Refused,
    /// GOAWAY with the last stream that it answers, and the end of the connection soon.
    GoAway,
}

/// A backend that answers so many streams of each connection with 200, and not the next.
pub async fn answers_only(streams: u32, how: Unprocessed) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer_some(stream, streams, how));
        }
    });
    addr
}

async fn answer_some(mut stream: TcpStream, streams: u32, how: Unprocessed) {
    let last = 2 * streams - 1;
    let mut preface = [0; PREFACE.len()];
    if stream.read_exact(&mut preface).await.is_err() {
        return;
    }
    let mut said = vec![];
    frame(&mut said, SETTINGS, 0, 0, &[]);
    let mut leaving = false;
    let refused = last + 2;
    let answered = |id: u32| id <= last || matches!(how, Unprocessed::Refused) && id > refused;
    loop {
        if stream.write_all(&said).await.is_err() {
            return;
        }
        said.clear();
        let wait = if leaving {
            Duration::from_millis(100)
        } else {
            PATIENCE
        };
        let Ok(Some((kind, flags, id, _))) = timeout(wait, next(&mut stream)).await else {
            return;
        };
        let whole = matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0;
        match kind {
            SETTINGS if flags & ACK == 0 => frame(&mut said, SETTINGS, ACK, 0, &[]),
            // `:status: 200`, and nothing else.
            _ if whole && answered(id) => {
                frame(&mut said, HEADERS, END_HEADERS | END_STREAM, id, &[0x88]);
            }
            HEADERS if !answered(id) => match how {
                Unprocessed::Refused => frame(&mut said, RST_STREAM, 0, id, &7_u32.to_be_bytes()),
                Unprocessed::GoAway if !leaving => {
                    leaving = true;
                    let words = [last.to_be_bytes(), 0_u32.to_be_bytes()].concat();
                    frame(&mut said, GOAWAY, 0, 0, &words);
                }
                Unprocessed::GoAway => {}
            },
            _ => {}
        }
    }
}

/// Sends one request on a connection of its own.
///
/// Where nothing must come, `silence` without an answer ends it.
pub async fn ask(addr: SocketAddr, parts: &[Part], silence: Duration) -> Answer {
    let connecting = timeout(PATIENCE, TcpStream::connect(addr));
    let mut stream = connecting.await.unwrap().unwrap();
    stream.set_nodelay(true).unwrap();
    let mut out = PREFACE.to_vec();
    frame(&mut out, SETTINGS, 0, 0, &[]);
    for (at, part) in parts.iter().enumerate() {
        let end = if at + 1 == parts.len() { END_STREAM } else { 0 };
        match part {
            Part::Data(data) => frame(&mut out, DATA, end, 1, data),
            Part::Fields(fields) => header(&mut out, end, &packed(fields)),
        }
    }
    // It may be closed before everything is sent.
    let _ = stream.write_all(&out).await;
    let read = async {
        loop {
            let (kind, flags, id, payload) = next(&mut stream).await?;
            match (kind, id) {
                (SETTINGS, _) if flags & ACK == 0 => {
                    let mut ack = vec![];
                    frame(&mut ack, SETTINGS, ACK, 0, &[]);
                    let _ = stream.write_all(&ack).await;
                }
                // RFC 7541, appendix A: 8 is `:status: 200`; 001xxxxx changes the size of the table.
                (HEADERS, 1) => {
                    let first = payload.iter().find(|byte| **byte >> 5 != 1);
                    return Some(if first == Some(&0x88) {
                        Answer::Good
                    } else {
                        Answer::Other
                    });
                }
                (RST_STREAM, 1) | (GOAWAY, _) => return Some(Answer::Ended),
                _ => {}
            }
        }
    };
    timeout(silence, read)
        .await
        .ok()
        .flatten()
        .unwrap_or(Answer::Ended)
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    out.extend(&length[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

fn header(out: &mut Vec<u8>, end: u8, block: &[u8]) {
    let last = block.len().div_ceil(MOST).max(1) - 1;
    for (at, part) in block.chunks(MOST).enumerate() {
        let done = if at == last { END_HEADERS } else { 0 };
        if at == 0 {
            frame(out, HEADERS, end | done, 1, part);
        } else {
            frame(out, CONTINUATION, done, 1, part);
        }
    }
}

/// Literals that are not indexed, without Huffman codes (RFC 7541, 6.2.2).
fn packed(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut block = vec![];
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend(text);
        }
    }
    block
}

/// RFC 7541, 5.1, with a prefix of seven bits.
fn length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

async fn next(stream: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[3], head[4], id, payload))
}

//! Detects which HTTP version a client speaks, and sets the limits of HTTP/2.

use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// The preface of an HTTP/2 connection (RFC 9113, 3.4); no HTTP/1 request begins with it.
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first pause before a connection that has sent a part of the preface is looked at again.
const PREFACE_LOOK: Duration = Duration::from_millis(1);
/// The longest pause before a connection that has sent a part of the preface is looked at again.
const PREFACE_LOOK_MAX: Duration = Duration::from_millis(100);

/// Bytes of an answer that are buffered for an HTTP/2 client that does not read them.
const H2_HELD: usize = 64 * 1024;

/// Bytes of a request's body that an HTTP/2 client may send ahead of the backend: enough for 100
/// Mbit/s over 20 ms.
const H2_WINDOW: u32 = 256 * 1024;

/// The protocol that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2, by the handshake, or without TLS "by prior knowledge" (RFC 9113, 3.3).
    Http2,
}

/// Waits for the first bytes of a client without TLS, and detects its protocol; `None` when no
/// bytes come, or the rest of a preface does not come within `limit`.
pub async fn first_words(stream: &TcpStream, limit: Duration) -> Option<Spoken> {
    let (mut first, mut pause) = ([0; PREFACE.len()], PREFACE_LOOK);
    let mut deadline = None;
    loop {
        // Not `readable`, which may say so of a connection that has nothing to read.
        let bytes = stream.peek(&mut first).await.ok().filter(|n| *n > 0)?;
        if !PREFACE.starts_with(&first[..bytes]) {
            return Some(Spoken::Http1);
        }
        if bytes == PREFACE.len() {
            return Some(Spoken::Http2);
        }
        // The rest of it is on its way; it is not possible to wait for a certain number of bytes.
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
        if Instant::now() >= deadline {
            return None;
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(PREFACE_LOOK_MAX);
    }
}

/// The limits of HTTP/2: Pingora's (100 requests at a time, 64 KiB of header), and how much is
/// buffered for a client that does not read.
pub fn http2() -> H2Options {
    let mut options = default_h2_options();
    options
        .max_send_buffer_size(H2_HELD)
        .initial_window_size(H2_WINDOW)
        .initial_connection_window_size(4 * H2_WINDOW);
    options
}

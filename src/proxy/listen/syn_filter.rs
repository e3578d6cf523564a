//! Holds back new TCP connections while a listener closes, so that none is lost in between.
//!
//! A closing listener resets connections that the kernel has established and the process has not
//! accepted, and between the last accept and the close there is always a moment. So the kernel is
//! first told to begin no handshake: a SYN is dropped as if the network had lost it, and the
//! client's kernel sends it again after a second. By then the listener is closed (connection
//! refused, as it should be), or a successor accepts on it, and no client has noticed anything.

use std::io;
use tokio::net::TcpListener;

/// A classic BPF program over the TCP header (RFC 9293, 3.1): drops segments that ask for a
/// connection.
#[cfg(target_os = "linux")]
const NO_SYN: [socket2::SockFilter; 4] = {
    use socket2::SockFilter;
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ALL: u32 = u32::MAX;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, ALL),
    ]
};

/// Begins no more handshakes on this listener; those that have begun go on.
///
/// # Errors
/// Where the system has no such filters; a listener then closes as without one.
#[cfg(target_os = "linux")]
pub fn begin_none(listener: &TcpListener) -> io::Result<()> {
    socket2::SockRef::from(listener).attach_filter(&NO_SYN)
}

/// Would begin no more handshakes on this listener, if this system had such filters.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn begin_none(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    #[tokio::test]
    async fn who_was_greeted_is_served_and_who_comes_later_meets_the_successor() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut greeted = TcpStream::connect(addr).await.unwrap();
        begin_none(&listener).unwrap();
        let mut late = Box::pin(TcpStream::connect(addr));
        let waited = timeout(Duration::from_millis(200), &mut late).await;
        assert!(waited.is_err(), "neither greeted nor refused: {waited:?}");

        let (mut served, _) = listener.accept().await.unwrap();
        greeted.write_all(b"ask").await.unwrap();
        let mut asked = [0; 3];
        served.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked, *b"ask");

        drop(listener);
        let successor = TcpListener::bind(addr).await.unwrap();
        timeout(Duration::from_secs(10), late)
            .await
            .unwrap()
            .unwrap();
        successor.accept().await.unwrap();
    }
}

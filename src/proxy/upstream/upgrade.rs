//! Connections for WebSockets and other upgrades.
//!
//! Pingora 0.9.1 tears a tunnel down when it reads the 101 before it has noted the end of the
//! (empty) request body: with a backend on the same host 0.1-0.6 % of upgrades. A stream that is
//! never ready to be read at once after a write keeps the order.
//! <https://github.com/cloudflare/pingora/issues/946>; this file goes when that is fixed.

use crate::proxy::limits::file_descriptors;
use crate::proxy::upstream::keepalive::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL};
use async_trait::async_trait;
use pingora::connectors::l4::Connect;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::{Error, ErrorType, Result};
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Opens a connection for an upgrade.
#[derive(Debug)]
pub struct Dialer {
    /// The longest wait; Pingora's own timeout does not cover custom connectors.
    pub timeout: Duration,
}

#[async_trait]
impl Connect for Dialer {
    async fn connect(&self, addr: &SocketAddr) -> Result<Stream> {
        let Some(addr) = addr.as_inet() else {
            return Error::e_explain(ErrorType::ConnectError, "not a TCP address");
        };
        let stream = match tokio::time::timeout(self.timeout, TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let kind = match error.kind() {
                    ErrorKind::ConnectionRefused => ErrorType::ConnectRefused,
                    ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                        ErrorType::ConnectNoRoute
                    }
                    _ if file_descriptors::exhausted(&error) => ErrorType::SocketError,
                    _ => ErrorType::ConnectError,
                };
                return Error::e_because(kind, "to upgrade", error);
            }
            Err(_) => return Error::e_explain(ErrorType::ConnectTimedout, "to upgrade"),
        };
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL);
        // Without keepalive, a tunnel to a machine that vanished is only kept longer.
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        Ok(VirtualSocketStream::new(Box::new(Patient {
            stream,
            wrote: false,
        }))
        .into())
    }
}

/// A connection that lets other tasks run once between a write and the read of its answer.
#[derive(Debug)]
struct Patient {
    stream: TcpStream,
    wrote: bool,
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.wrote) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.wrote = true;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl VirtualSocket for Patient {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.set_nodelay(true),
            _ => Ok(()),
        }
    }
}

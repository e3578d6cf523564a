//! The deadline of a backend's answer, where the client's connection cannot keep it.
//!
//! Over HTTP/1 a client's connection keeps the deadline for its one request ([`TimeoutStream`]).
//! Over HTTP/2 it has many requests at a time, and Pingora does not time them either: it has one
//! timeout for the first byte of an answer and for the gaps after it. So the connection to the
//! backend is shut when the deadline has passed, which Pingora takes for its end.
//!
//! [`TimeoutStream`]: crate::proxy::downstream::timeout_stream::TimeoutStream

use socket2::SockRef;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::AbortHandle;

/// A handle to a backend's socket that another task reads and writes.
#[derive(Clone, Debug)]
pub struct SocketHandle(Arc<OwnedFd>);

impl SocketHandle {
    /// A handle with a descriptor of its own for the socket, so that it can only ever mean this
    /// one.
    ///
    /// `None` when the system has no more descriptors.
    pub fn to(socket: &impl AsFd) -> Option<SocketHandle> {
        let own = socket.as_fd().try_clone_to_owned().ok()?;
        Some(SocketHandle(Arc::new(own)))
    }

    /// A handle to the connection of the backend to which Pingora is about to send a request.
    #[allow(unsafe_code, reason = "Pingora hands in a bare descriptor")]
    pub fn to_backend(socket: RawFd) -> Option<SocketHandle> {
        // SAFETY: Pingora hands in the descriptor of a connection that it holds during the call.
        SocketHandle::to(&unsafe { BorrowedFd::borrow_raw(socket) })
    }

    /// Ends the connection in both directions; its reader sees the end.
    pub fn shut(&self) {
        // The socket may be closed already.
        let _ = SockRef::from(&*self.0).shutdown(Shutdown::Both);
    }

    /// Shuts the connection after `wait`, unless the returned deadline is dropped before.
    pub fn shut_after(&self, wait: Duration) -> ResponseDeadline {
        let (line, expired) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let told = expired.clone();
        let waiting = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            told.store(true, Relaxed);
            line.shut();
        });
        ResponseDeadline {
            waiting: waiting.abort_handle(),
            expired,
        }
    }
}

/// A deadline that shuts the connection when it passes.
#[derive(Debug)]
pub struct ResponseDeadline {
    waiting: AbortHandle,
    expired: Arc<AtomicBool>,
}

impl ResponseDeadline {
    /// Whether the deadline has passed.
    pub fn expired(&self) -> bool {
        self.expired.load(Relaxed)
    }
}

impl Drop for ResponseDeadline {
    fn drop(&mut self) {
        self.waiting.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn it_shuts_the_connection_in_time_or_not_at_all() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        for dropped in [false, true] {
            let mut near = TcpStream::connect(addr).await.unwrap();
            let (far, _) = listener.accept().await.unwrap();
            let line = SocketHandle::to(&near).unwrap();
            let deadline = line.shut_after(Duration::from_millis(20));
            let mut deadline = Some(deadline);
            if dropped {
                deadline = None;
            }
            let ended = tokio::time::timeout(Duration::from_millis(200), near.read_u8()).await;
            assert_eq!(ended.is_ok(), !dropped, "the end of the stream is read");
            assert_eq!(
                deadline.is_some_and(|deadline| deadline.expired()),
                !dropped
            );
            drop(far);
        }
    }
}

//! Listeners for clients: bound before anything is started.

use crate::proxy::upstream::keepalive::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 4_096;

/// An address that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {source} ({})", advice(.source, .addr))]
pub struct BindError {
    /// The address.
    pub addr: SocketAddr,
    /// The error of the operating system.
    pub source: io::Error,
}

fn advice(error: &io::Error, addr: &SocketAddr) -> String {
    let port = addr.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program has port {port}: `ss -ltnp 'sport = :{port}'` shows which; stop it, or change `listen`"
        ),
        io::ErrorKind::PermissionDenied => {
            format!(
                "port {port} needs the right CAP_NET_BIND_SERVICE; grant it, or choose one above 1023"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "no interface of this machine has the address {}; see `ip address`",
                addr.ip()
            )
        }
        _ => "choose another address".to_owned(),
    }
}

/// The listeners for clients.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Bound, and not yet accepted on.
    pub all: Vec<std::net::TcpListener>,
    /// Another process has them too: connections that wait in their queues when this process stops
    /// are for that process.
    pub shared: bool,
}

impl Listeners {
    /// Further handles to the same listeners.
    ///
    /// # Errors
    /// When file descriptors run out.
    pub fn again(&self) -> io::Result<Listeners> {
        let all = self.all.iter().map(std::net::TcpListener::try_clone);
        Ok(Listeners {
            all: all.collect::<io::Result<_>>()?,
            shared: self.shared,
        })
    }
}

/// Binds every address or none, before anything else is started; an address in `given` is not bound
/// again.
///
/// # Errors
/// When an address cannot be bound.
pub fn bind(addrs: &[SocketAddr], mut given: Listeners) -> Result<Listeners, BindError> {
    let all = addrs
        .iter()
        .map(|&addr| {
            let same = |one: &std::net::TcpListener| one.local_addr().is_ok_and(|at| at == addr);
            if let Some(at) = given.all.iter().position(same) {
                return Ok(given.all.swap_remove(at));
            }
            let ready = std::net::TcpListener::bind(addr).and_then(|listener| {
                // Accepted connections inherit it: a client that vanished is noticed in the end.
                let keepalive = TcpKeepalive::new()
                    .with_time(KEEPALIVE_IDLE)
                    .with_interval(KEEPALIVE_INTERVAL);
                SockRef::from(&listener).set_tcp_keepalive(&keepalive)?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            ready.map_err(|source| BindError { addr, source })
        })
        .collect::<Result<_, _>>()?;
    let shared = given.shared;
    Ok(Listeners { all, shared })
}

/// Hands a listener to the runtime, with a longer backlog than the standard library asks for.
///
/// # Errors
/// When the runtime does not take it.
pub fn listen(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    let socket = std::net::TcpStream::from(OwnedFd::from(listener));
    TcpSocket::from_std_stream(socket).listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_what_to_do() {
        let taken = bind(&["127.0.0.1:0".parse().unwrap()], Listeners::default()).unwrap();
        let addr = taken.all[0].local_addr().unwrap();
        let error = bind(&[addr], Listeners::default()).unwrap_err();
        assert_eq!(error.addr, addr);
        let said = error.to_string();
        assert!(
            said.contains(&addr.to_string()) && said.contains("another program has port"),
            "{said}"
        );
    }
}

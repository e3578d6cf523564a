//! The service manager (systemd): notifications to it, and listeners from it.

use crate::proxy::Listeners;
use sd_notify::NotifyState;
use std::net::TcpListener;

/// Notifies the service manager, where there is one that expects it (`Type=notify`).
pub fn tell(news: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(false, news) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// Listeners of the service manager (`systemd.socket(5)`).
pub fn inherited() -> Listeners {
    let Ok(fds) = sd_notify::listen_fds() else {
        return Listeners::default();
    };
    let all: Vec<TcpListener> = fds.filter_map(take_fd).collect();
    let shared = !all.is_empty();
    Listeners { all, shared }
}

#[allow(
    unsafe_code,
    reason = "only systemd can say that a descriptor is ours to take"
)]
fn take_fd(fd: std::os::fd::RawFd) -> Option<TcpListener> {
    use std::os::fd::FromRawFd;
    // SAFETY: the variables that were just read say that these descriptors are this process's to take, and they were removed.
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    listener.set_nonblocking(true).ok()?;
    Some(listener)
}

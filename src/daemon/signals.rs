//! What the process is told by signals.

use std::time::Duration;

/// Two signals within this time are one.
const ECHO: Duration = Duration::from_millis(100);

/// What the process is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP: the configuration, and the access log's file.
    Reload,
    /// SIGUSR1: only the file.
    Reopen,
    /// SIGUSR2.
    Replace,
}

/// The signals that mean something here.
pub struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
    usr1: tokio::signal::unix::Signal,
    usr2: tokio::signal::unix::Signal,
}

impl Signals {
    /// Receives them from now on.
    pub fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::Stop,
            _ = self.int.recv() => Signal::Stop,
            _ = self.hup.recv() => Signal::Reload,
            _ = self.usr1.recv() => Signal::Reopen,
            _ = self.usr2.recv() => Signal::Replace,
        }
    }

    /// The next one that says stop, and is no echo of the last: who signals a process and its group
    /// means it once.
    pub async fn stop_again(&mut self) {
        let echo = tokio::time::Instant::now() + ECHO;
        loop {
            self.stop().await;
            if tokio::time::Instant::now() > echo {
                return;
            }
        }
    }

    /// The next one that says stop.
    pub async fn stop(&mut self) {
        while self.next().await != Signal::Stop {}
    }
}

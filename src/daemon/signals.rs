//! The signals to the process.

use std::time::Duration;

/// Two signals within this time count as one.
const ECHO: Duration = Duration::from_millis(100);

/// The meaning of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP: reload the configuration, and reopen the access log's file.
    Reload,
    /// SIGUSR1: only reopen the file.
    Reopen,
    /// SIGUSR2: start a successor.
    Replace,
}

/// The handled signals.
pub struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
    usr1: tokio::signal::unix::Signal,
    usr2: tokio::signal::unix::Signal,
}

impl Signals {
    /// Receives the signals from now on.
    ///
    /// # Errors
    /// When the system refuses a handler.
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

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::Stop,
            _ = self.int.recv() => Signal::Stop,
            _ = self.hup.recv() => Signal::Reload,
            _ = self.usr1.recv() => Signal::Reopen,
            _ = self.usr2.recv() => Signal::Replace,
        }
    }

    /// Waits for the next stop signal that is no echo of the last: a signal to a process and its group counts once.
    pub async fn stop_again(&mut self) {
        let echo = tokio::time::Instant::now() + ECHO;
        loop {
            self.stop().await;
            if tokio::time::Instant::now() > echo {
                return;
            }
        }
    }

    /// Waits for the next stop signal.
    pub async fn stop(&mut self) {
        while self.next().await != Signal::Stop {}
    }
}

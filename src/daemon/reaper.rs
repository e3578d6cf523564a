//! The duties of process 1 in a container: it reaps orphans and forwards signals to shifter itself.
//!
//! A process that a hook or source leaves behind becomes a child of process 1 when its parent ends, and stays a zombie
//! until process 1 has reaped it. So as process 1 shifter starts itself once more and only does these duties.

use crate::exit::Exit;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// The variable that is set for the serving process.
const STARTED: &str = "SHIFTER_STARTED_BY_REAPER";

/// The signals that people and engines send to shifter.
const PASSED_ON: [(i32, Signal); 6] = [
    (1, Signal::HUP),
    (2, Signal::INT),
    (3, Signal::QUIT),
    (10, Signal::USR1),
    (12, Signal::USR2),
    (15, Signal::TERM),
];

/// Whether this process must do these duties instead of serving.
pub fn is_due() -> bool {
    std::process::id() == 1 && std::env::var_os(STARTED).is_none()
}

/// Starts this program again, forwards signals and reaps until it has ended; returns its exit status.
pub fn run() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let code = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(look_after()));
    match code {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            anstream::eprintln!("shifter: cannot start: {why}");
            ExitCode::from(Exit::Internal.code())
        }
    }
}

async fn look_after() -> Result<u8, String> {
    let words = |error: std::io::Error| error.to_string();
    // Registered before the start, so that no end is missed.
    let mut ended = signal(SignalKind::child()).map_err(words)?;
    let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
    for (number, passed) in PASSED_ON {
        let mut heard = signal(SignalKind::from_raw(number)).map_err(words)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while heard.recv().await.is_some() && sender.send(passed).is_ok() {}
        });
    }
    let program = std::env::current_exe().map_err(words)?;
    let child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(STARTED, "1")
        .spawn()
        .map_err(words)?;
    let child = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let child = child.ok_or("the process that serves has no number")?;
    loop {
        tokio::select! {
            _ = ended.recv() => {
                while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                    if pid == child {
                        let status = std::process::ExitStatus::from_raw(status.as_raw());
                        let by_signal = status.signal().map(|signal| 128 + signal);
                        let code = status.code().or(by_signal).unwrap_or(1);
                        return Ok(u8::try_from(code).unwrap_or(1));
                    }
                }
            }
            Some(signal) = asked.recv() => {
                // The child may just have ended: then its end is the next event.
                let _ = kill_process(child, signal);
            }
        }
    }
}

//! The user's own programs, run on this host, each in a process group of its own.
//!
//! The exit status decides as soon as it is known: background processes of the program keep its output
//! open, and are not waited for. A program that exceeds its timeout is ended with all that it started.

use futures::FutureExt;
use futures::future::FusedFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// Bytes of a program's output that are reported.
const OUTPUT_MAX: usize = 1_000;

/// How long the pipes are read after the program has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long a program that was told to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// Runs a program to its end: returns its status and the end of its output.
///
/// # Errors
/// When it could not be run, or not in time; then it is ended, with everything that it started.
pub(in crate::control) async fn run(
    command: &[String],
    facts: &[(&str, String)],
    limit: Duration,
) -> Result<(ExitStatus, String), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("there is no program".to_owned());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .envs(facts.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("could not be run: {error}"))?;
    let mut group = Group::of(&child);
    let (mut out, mut err) = (Tail::default(), Tail::default());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let status = {
        let both = async {
            tokio::join!(out.follow(stdout), err.follow(stderr));
        };
        let mut reading = std::pin::pin!(both.fuse());
        let ended = tokio::time::timeout(limit, async {
            loop {
                tokio::select! {
                    status = child.wait() => break status,
                    // All output may be closed long before the end.
                    () = &mut reading, if !reading.is_terminated() => {}
                }
            }
        });
        let ended = ended.await;
        if ended.is_ok() && !reading.is_terminated() {
            let _ = tokio::time::timeout(LAST_WORDS, reading).await;
        }
        ended
    };
    let Ok(status) = status else {
        group.end(&mut child).await;
        return Err(format!(
            "did not end within {} s and was ended, with all that it started",
            limit.as_secs()
        ));
    };
    group.spare();
    let status = status.map_err(|error| error.to_string())?;
    let text = [out.0, err.0].concat();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(OUTPUT_MAX)..]);
    Ok((status, text.trim().to_owned()))
}

/// The last bytes of a stream.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    async fn follow(&mut self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut part = [0; 4_096];
        while let Ok(read @ 1..) = stream.read(&mut part).await {
            self.0.extend_from_slice(&part[..read]);
            let excess = self.0.len().saturating_sub(OUTPUT_MAX);
            self.0.drain(..excess);
        }
    }
}

/// The processes of one program. They are killed on drop: a rollout that is over waits for no hook.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Group(id.and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // The group may have ended meanwhile.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Keeps the group's background processes: they were meant to run on.
    fn spare(&mut self) {
        self.0 = None;
    }

    async fn end(&mut self, child: &mut Child) {
        self.signal(Signal::TERM);
        let _ = tokio::time::timeout(GRACE, child.wait()).await;
        self.signal(Signal::KILL);
        let _ = child.wait().await;
        self.spare();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    async fn sh(script: &str, limit: Duration) -> Result<(ExitStatus, String), String> {
        let command = ["sh", "-c", script].map(str::to_owned);
        run(&command, &[("GREETING", "hello".to_owned())], limit).await
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn the_status_and_the_last_words_are_told() {
        let (status, text) = sh("echo $GREETING; exit 3", LONG).await.expect("it ran");
        assert_eq!((status.code(), text.as_str()), (Some(3), "hello"));
        let (_, text) = sh("yes | head -c 100000; echo end", LONG)
            .await
            .expect("it ran");
        assert!(text.len() <= OUTPUT_MAX && text.ends_with("end"), "{text}");
        assert!(run(&[], &[], LONG).await.is_err());
        let missing = run(&["/no/such/program".to_owned()], &[], LONG).await;
        assert!(
            missing
                .expect_err("no program")
                .contains("could not be run")
        );
    }

    #[tokio::test]
    async fn what_goes_on_in_the_background_is_not_waited_for() {
        let start = Instant::now();
        let (status, text) = sh("sleep 30 & echo $!", LONG).await.expect("it ran");
        assert!(status.success() && start.elapsed() < Duration::from_secs(10));
        let pid = Pid::from_raw(text.parse().expect("a number")).expect("a process");
        assert!(
            rustix::process::test_kill_process(pid).is_ok(),
            "it goes on"
        );
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }

    #[tokio::test]
    async fn output_that_is_closed_early_is_no_end() {
        let (status, _) = sh("exec >&- 2>&-; sleep 0.3; exit 5", LONG)
            .await
            .expect("it ran");
        assert_eq!(status.code(), Some(5));
    }

    #[tokio::test]
    async fn one_that_is_too_slow_ends_with_all_that_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", file.display());
        let late = sh(&script, Duration::from_millis(500)).await;
        assert!(
            late.expect_err("too late")
                .contains("with all that it started")
        );
        let text = std::fs::read_to_string(&file).expect("the file");
        let pid = Pid::from_raw(text.trim().parse().expect("a number")).expect("a process");
        let deadline = Instant::now() + LONG;
        // A zombie exists until it is reaped.
        let runs = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        while runs() {
            assert!(Instant::now() < deadline, "{pid:?} goes on");
            tokio::task::yield_now().await;
        }
    }
}

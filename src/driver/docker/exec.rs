//! Runs a command in a container until it has ended, without waiting for its background processes.

use bollard::Docker;
use bollard::errors::Error;
use bollard::exec::StartExecResults;
use futures::StreamExt;
use std::time::Duration;

/// Bytes of a command's output that are kept.
const OUTPUT_MAX: usize = 1_000;

/// Interval of the queries whether the command has ended, while its output is open.
const ASK: Duration = Duration::from_millis(500);

/// Runs a prepared command; returns its exit status, and the end of its output.
pub(super) async fn run(docker: &Docker, exec: &str) -> Result<(i64, String), Error> {
    let mut text = vec![];
    if let StartExecResults::Attached { mut output, .. } = docker.start_exec(exec, None).await? {
        let mut asked = tokio::time::interval(ASK);
        // The first tick comes at once.
        asked.tick().await;
        loop {
            tokio::select! {
                part = output.next() => {
                    let Some(part) = part else { break };
                    text.extend_from_slice(&part?.into_bytes());
                    let excess = text.len().saturating_sub(OUTPUT_MAX);
                    text.drain(..excess);
                }
                // Background processes keep the output open: the end of the command itself decides.
                _ = asked.tick() => {
                    let seen = docker.inspect_exec(exec).await?;
                    if seen.running == Some(false) && seen.exit_code.is_some() {
                        break;
                    }
                }
            }
        }
    }
    let code = docker.inspect_exec(exec).await?.exit_code;
    Ok((
        code.unwrap_or(-1),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

//! A command that runs in a container until it has ended, whatever it left running in the background.

use bollard::Docker;
use bollard::errors::Error;
use bollard::exec::StartExecResults;
use futures::StreamExt;
use std::time::Duration;

/// Bytes of a command's output that are kept.
const OUTPUT_MAX: usize = 1_000;

/// How often the engine is asked whether the command has ended, while its output is open.
const ASK: Duration = Duration::from_millis(500);

/// Runs a command that was prepared: its exit code, and the last of what it wrote.
pub(super) async fn run(docker: &Docker, exec: &str) -> Result<(i64, String), Error> {
    let mut text = vec![];
    if let StartExecResults::Attached { mut output, .. } = docker.start_exec(exec, None).await? {
        let mut asked = tokio::time::interval(ASK);
        // The first is at once.
        asked.tick().await;
        loop {
            tokio::select! {
                part = output.next() => {
                    let Some(part) = part else { break };
                    text.extend_from_slice(&part?.into_bytes());
                    let excess = text.len().saturating_sub(OUTPUT_MAX);
                    text.drain(..excess);
                }
                // What goes on in the background keeps the output open: the command's own end decides.
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

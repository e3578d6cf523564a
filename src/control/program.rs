//! Programs of people's own, run on this host.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

/// Bytes of a program's output that are told.
const OUTPUT_MAX: usize = 1_000;

/// Runs a program to its end: its status and the last of what it wrote.
///
/// # Errors
/// When it could not be run, or not in time; then it is killed.
pub(super) async fn run(
    command: &[String],
    facts: &[(&str, String)],
    limit: Duration,
) -> Result<(ExitStatus, String), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("there is no program".to_owned());
    };
    let child = tokio::process::Command::new(program)
        .args(arguments)
        .envs(facts.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("could not be run: {error}"))?;
    let ended = tokio::time::timeout(limit, child.wait_with_output()).await;
    let output = ended
        .map_err(|_| format!("did not end within {} s and was killed", limit.as_secs()))?
        .map_err(|error| error.to_string())?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(OUTPUT_MAX)..]);
    Ok((output.status, text.trim().to_owned()))
}

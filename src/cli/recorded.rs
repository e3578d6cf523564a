//! What was recorded of a rollout, from a running shifter or from a file.

use crate::cli::output::narrate;
use crate::cli::{Global, ask, explain};
use crate::core::analysis::Line;
use crate::exit::Exit;
use serde::Deserialize;
use std::path::Path;

/// The lines of a file, else those of a rollout, by its number or its service.
///
/// # Errors
/// The exit code, once people have been told: no shifter, no such rollout, no recording.
pub fn lines(global: &Global, which: Option<&str>, file: Option<&Path>) -> Result<Vec<Line>, Exit> {
    let lines = match file {
        Some(file) => from_file(file),
        None => from_shifter(global, which),
    }?;
    if lines.iter().any(|line| matches!(line, Line::Second { .. })) {
        return Ok(lines);
    }
    narrate(
        "shifter: nothing was recorded: green had no share in this rollout, or the recording is no longer kept",
    );
    Err(Exit::Usage)
}

fn from_shifter(global: &Global, which: Option<&str>) -> Result<Vec<Line>, Exit> {
    let lines = ask::ask(global, async |client| {
        let Some(rollout) = explain::find(client, which).await? else {
            return Ok(None);
        };
        client.seconds(rollout.id).await.map(Some)
    })?;
    lines.ok_or_else(|| {
        narrate("shifter: nothing is recorded yet; `shifter run` starts one");
        Exit::Usage
    })
}

fn from_file(file: &Path) -> Result<Vec<Line>, Exit> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        narrate(&format!("shifter: cannot read {}: {error}", file.display()));
        Exit::Usage
    })?;
    parse(&text).map_err(|what| {
        narrate(&format!(
            "shifter: {} is no recording: {what}. Get one with `curl --unix-socket SOCKET http://localhost/v1/rollouts/ID/seconds`",
            file.display()
        ));
        Exit::Usage
    })
}

/// A recording as the API gives it, a list of lines, or one line of JSON for each.
fn parse(text: &str) -> Result<Vec<Line>, String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Whole { lines: Vec<Line> },
        List(Vec<Line>),
    }
    match serde_json::from_str(text) {
        Ok(Either::Whole { lines } | Either::List(lines)) => return Ok(lines),
        Err(error) if text.trim_start().starts_with('[') => return Err(error.to_string()),
        Err(_) => {}
    }
    let full = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    full.map(|(at, line)| {
        serde_json::from_str(line).map_err(|error| format!("line {}: {error}", at + 1))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::tests::recording;

    #[test]
    fn all_three_shapes_of_a_recording_are_read() {
        let recorded = recording();
        let each: Vec<String> = recorded
            .iter()
            .map(|line| serde_json::to_string(line).unwrap())
            .collect();
        let list = format!("[{}]", each.join(","));
        assert_eq!(parse(&list).unwrap(), recorded);
        assert_eq!(parse(&format!("{{\"lines\":{list}}}")).unwrap(), recorded);
        assert_eq!(parse(&each.join("\n")).unwrap(), recorded);
        assert!(parse("nonsense").unwrap_err().starts_with("line 1"));
        assert!(parse("[1]").is_err());
    }
}

//! The recording of a rollout, from a running shifter or from a file.

use crate::cli::Global;
use crate::cli::commands::explain;
use crate::cli::connect;
use crate::cli::output::narrate;
use crate::core::analysis::RecordedLine;
use crate::exit::Exit;
use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use std::path::Path;

/// The lines of a file, else those of a rollout, by its number or its service.
///
/// # Errors
/// The exit code, after the message: no shifter, no such rollout, no recording, a damaged one.
pub fn lines(
    global: &Global,
    which: Option<&str>,
    file: Option<&Path>,
) -> Result<Vec<RecordedLine>, Exit> {
    let lines = match file {
        Some(file) => from_file(file),
        None => from_shifter(global, which),
    }?;
    if lines
        .iter()
        .any(|line| matches!(line, RecordedLine::Second { .. }))
    {
        return Ok(lines);
    }
    narrate(
        "shifter: nothing was recorded: green had no share in this rollout, or the recording is no longer kept",
    );
    Err(Exit::Usage)
}

fn from_shifter(global: &Global, which: Option<&str>) -> Result<Vec<RecordedLine>, Exit> {
    let lines = connect::ask(global, async |client| {
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

fn from_file(file: &Path) -> Result<Vec<RecordedLine>, Exit> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        narrate(&format!("shifter: cannot read {}: {error}", file.display()));
        Exit::Usage
    })?;
    parse(&text).map_err(|broken| {
        narrate(&format!("shifter: {}:{broken}", file.display()));
        Exit::Usage
    })
}

/// Why a file is no recording: the line, the error, and the fix.
#[derive(Debug, PartialEq, Eq)]
struct Broken {
    /// Number of the line in the file, from 1.
    line: usize,
    what: String,
    help: &'static str,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.line, self.what, self.help)
    }
}

/// How to get a complete recording.
const GET: &str = "Get the recording again with `curl --unix-socket SOCKET http://localhost/v1/rollouts/ID/seconds`";

/// The help for a recording in JSON lines without its end: the rest can be judged.
const CUT: &str = "To judge what is before it, delete this line; to judge all, get the recording again with `curl --unix-socket SOCKET http://localhost/v1/rollouts/ID/seconds`";

/// The help for a value that only a newer build can have written.
const NEWER: &str = "Replay it with the version of shifter that recorded it, or a newer one";

/// The form of the API's answer.
#[derive(Deserialize)]
struct Whole {
    lines: Vec<RecordedLine>,
}

/// Parses a recording: the API's answer, a list of lines, or one line of JSON for each.
fn parse(text: &str) -> Result<Vec<RecordedLine>, Broken> {
    let lines = match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(entries)) => listed(serde_json::from_str(text), &entries),
        Ok(Value::Object(whole)) => match whole.get("lines").and_then(Value::as_array) {
            Some(entries) => {
                let read = serde_json::from_str(text).map(|Whole { lines }| lines);
                listed(read, entries)
            }
            None => each_line(text),
        },
        Err(error) if is_one_document(text) => Err(Broken {
            line: error.line(),
            what: match error.is_eof() {
                true => "the recording is cut off here".to_owned(),
                false => format!("no JSON from column {} on", error.column()),
            },
            help: GET,
        }),
        _ => each_line(text),
    }?;
    match lines.first() {
        Some(RecordedLine::Policy(_)) => Ok(lines),
        Some(_) => Err(Broken {
            line: 1,
            what: "the recording does not begin with a policy: its beginning is missing".to_owned(),
            help: GET,
        }),
        None => Err(Broken {
            line: 1,
            what: "there is nothing in it".to_owned(),
            help: GET,
        }),
    }
}

/// Whether the text is one document, and not one line of JSON for each line.
fn is_one_document(text: &str) -> bool {
    let text = text.trim_start();
    let key = text.strip_prefix('{').map(str::trim_start);
    let outer = ["\"api_version\"", "\"rollout\"", "\"lines\""];
    text.starts_with('[') || key.is_some_and(|key| outer.iter().any(|outer| key.starts_with(outer)))
}

fn listed(
    read: Result<Vec<RecordedLine>, serde_json::Error>,
    entries: &[Value],
) -> Result<Vec<RecordedLine>, Broken> {
    read.map_err(|error| {
        let bad = |entry: &Value| RecordedLine::deserialize(entry).is_err();
        let sound = entries.iter().take_while(|entry| !bad(entry)).count();
        Broken {
            line: error.line(),
            what: format!("entry {} is no line of a recording: {error}", sound + 1),
            help: help(&error),
        }
    })
}

fn each_line(text: &str) -> Result<Vec<RecordedLine>, Broken> {
    let numbered = (1..).zip(text.lines());
    let full = numbered.filter(|(_, line)| !line.trim().is_empty());
    let read = full.map(|(number, line)| {
        serde_json::from_str(line).map_err(|error| Broken {
            line: number,
            what: match error.is_eof() {
                true => "this line of the recording is cut off".to_owned(),
                false => format!("no line of a recording: {error}"),
            },
            help: match error.is_eof() {
                true => CUT,
                false => help(&error),
            },
        })
    });
    read.collect()
}

/// The help for a line that cannot be read.
fn help(error: &serde_json::Error) -> &'static str {
    match error.to_string().starts_with("unknown ") {
        true => NEWER,
        false => GET,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::replay::tests::recording;

    fn each(recorded: &[RecordedLine]) -> Vec<String> {
        let lines = recorded.iter();
        lines
            .map(|line| serde_json::to_string(line).unwrap())
            .collect()
    }

    #[test]
    fn all_three_shapes_of_a_recording_are_read() {
        let recorded = recording();
        let each = each(&recorded);
        let list = format!("[{}]", each.join(","));
        assert_eq!(parse(&list).unwrap(), recorded);
        let whole = format!("{{\"api_version\":\"v1\",\"rollout\":7,\"lines\":{list}}}");
        assert_eq!(parse(&whole).unwrap(), recorded);
        assert_eq!(parse(&format!("{{\"lines\":{list}}}\n")).unwrap(), recorded);
        assert_eq!(parse(&each.join("\n")).unwrap(), recorded);
        assert_eq!(parse(&each[0]).unwrap(), recorded[..1]);
    }

    fn told(text: &str, expected: &str, help: &str) {
        let told = parse(text).unwrap_err().to_string();
        assert!(
            told.contains(expected) && told.ends_with(help),
            "{expected}: {told}"
        );
    }

    #[test]
    fn a_damaged_answer_of_the_api_is_told_with_its_place_and_what_to_do() {
        let lines = each(&recording()).join(",\n");
        let whole = format!("{{\"api_version\":\"v1\",\n\"lines\":[{lines}]}}");
        let changed = |to| whole.replacen("\"second\"", to, 1);
        told(&whole[..2_000], ": the recording is cut off here. ", GET);
        told(&whole[..20], "1: the recording is cut off here. ", GET);
        told(&changed("second"), "4: no JSON from column ", GET);
        let moon = "4: entry 3 is no line of a recording: unknown variant `moon`";
        told(&changed("\"moon\""), moon, NEWER);
        told("[1]", "1: entry 1 is no line of a recording: ", GET);
    }

    #[test]
    fn a_damaged_line_is_told_with_its_place_and_what_to_do() {
        let lines = each(&recording());
        let changed = |from, to| lines.join("\n").replacen(from, to, 1);
        let cut = lines[..9].join("\n") + "\n{\"sec";
        told(&cut, "10: this line of the recording is cut off. ", CUT);
        let headless = lines[1..].join("\n");
        told(
            &headless,
            "1: the recording does not begin with a policy",
            GET,
        );
        let negative = changed("\"requests\":95", "\"requests\":-95");
        told(&negative, "3: no line of a recording: invalid value", GET);
        let newer = changed("\"alpha\"", "\"beta\"");
        told(
            &newer,
            "1: no line of a recording: unknown field `beta`",
            NEWER,
        );
        told(
            &changed("\"routes\"", "\"moons\""),
            "unknown evidence `moons`",
            NEWER,
        );
        told("", "1: there is nothing in it. ", GET);
        told("nonsense", "1: no line of a recording: ", GET);
    }
}

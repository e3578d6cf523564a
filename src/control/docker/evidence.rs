//! The evidence kept of a rollout that went back: a folder with the verdict, the seconds, and Docker's
//! data on green. It remains when the containers are gone.

use crate::control::api::message::Message;
use crate::control::service::state::ServiceState;
use crate::control::tasks::context::TaskContext;
use crate::core::rollout::Outcome;
use crate::core::table::Color;
use crate::driver::docker::{Engine, EngineError, State, portrait};
use crate::store::journal::Note;
use crate::store::{Clock, NoteKind};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs;

/// Lines of a dead container's log that are reported.
const LAST_LINES: usize = 5;

/// Lines of each container's log that are kept.
const LOG_LINES: usize = 10_000;

/// Attempts to read the state of a container that no longer answers, half a second apart.
const LATE: u32 = 20;

/// Number of folders that are kept.
const FOLDERS: usize = 20;

/// The contents of a folder.
struct Bundle {
    folder: PathBuf,
    verdict: String,
    seconds: String,
    notes: String,
    containers: Vec<(String, String)>,
    blue: Option<String>,
    engine: Engine,
}

/// Reports the state of green's containers at the end of a rollout, and their last log lines, in the background.
pub(in crate::control) fn last_words(state: &ServiceState, context: &TaskContext) {
    let (Some(run), Some(mailbox)) = (&state.run, context.mailbox()) else {
        return;
    };
    if run.trial.rollout().outcome() == Some(&Outcome::Promoted) {
        return;
    }
    let lost = run.lost[Color::Green.index()];
    let green = state.docker.containers[Color::Green.index()]
        .iter()
        .flatten();
    for container in green.cloned() {
        let (engine, mailbox) = (context.engine.clone(), mailbox.clone());
        let (service, rollout) = (state.route.service.clone(), run.saved.id);
        tokio::spawn(async move {
            let lines = engine.last_lines(&container.id, LAST_LINES).await;
            let name = &container.name;
            let state = match container.state {
                state if lost && state.serves() => fate(&engine, &container.id, state).await,
                state => state,
            };
            let said = Message::Said {
                service,
                rollout,
                kind: NoteKind::Log,
                text: words(name, &state, lines),
            };
            let _ = mailbox.send(said).await;
        });
    }
}

/// What the journal has of a rollout.
pub(in crate::control) struct Recorded {
    pub(in crate::control) seconds: Vec<(i64, String)>,
    pub(in crate::control) notes: Vec<Note>,
}

/// Keeps the evidence on a green that is released in a folder below `all`, in the background.
pub(in crate::control) fn keep(
    state: &ServiceState,
    all: &Path,
    recorded: Recorded,
    context: &TaskContext,
) {
    let (Some(run), Some(mailbox)) = (&state.run, context.mailbox()) else {
        return;
    };
    let (service, rollout) = (state.route.service.clone(), run.saved.id);
    let verdict = serde_json::to_string_pretty(&run.view(Clock::now()));
    let [blue, green] = &state.docker.containers;
    let blue = blue.iter().flatten().next();
    let seconds = recorded.seconds.into_iter();
    let notes = recorded.notes.into_iter();
    let bundle = Bundle {
        folder: all.join(format!("r-{rollout}")),
        verdict: verdict.unwrap_or_default(),
        seconds: seconds.map(|(_, line)| line + "\n").collect(),
        notes: notes
            .map(|note| format!("{} {}: {}\n", note.at, note.kind, note.text))
            .collect(),
        containers: green
            .iter()
            .flatten()
            .map(|one| (one.name.clone(), one.id.clone()))
            .collect(),
        blue: blue.map(|one| one.id.clone()),
        engine: context.engine.clone(),
    };
    tokio::spawn(async move {
        let folder = bundle.folder.display();
        let text = match bundle.write().await {
            Ok(()) => format!("evidence kept in {folder}"),
            Err(error) => format!("the evidence could not be kept in {folder}: {error}"),
        };
        let said = Message::Said {
            service,
            rollout,
            kind: NoteKind::Evidence,
            text,
        };
        let _ = mailbox.send(said).await;
    });
}

impl Bundle {
    async fn write(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder).await?;
        let file = |name: &str| self.folder.join(name);
        fs::write(file("verdict.json"), &self.verdict).await?;
        fs::write(file("seconds.jsonl"), &self.seconds).await?;
        fs::write(file("notes.txt"), &self.notes).await?;
        for (name, id) in &self.containers {
            let log = self.engine.last_lines(id, LOG_LINES).await;
            let log = log.unwrap_or_else(|error| error.to_string());
            fs::write(file(&format!("{name}.log")), log).await?;
            let seen = self.engine.inspect(id).await;
            let seen = seen.map(|seen| portrait::of(&seen));
            let seen = seen.unwrap_or_else(|error| error.to_string());
            fs::write(file(&format!("{name}.inspect.json")), seen).await?;
        }
        if let (Some(blue), Some((_, green))) = (&self.blue, self.containers.first()) {
            let difference = portrait::difference(&self.engine, blue, green).await;
            let difference = difference.unwrap_or_else(|error| error.to_string());
            fs::write(file("images.txt"), difference).await?;
        }
        forget_old(self.folder.parent().unwrap_or(Path::new("."))).await
    }
}

/// How a container ended, with the end of its log.
fn words(name: &str, state: &State, lines: Result<String, EngineError>) -> String {
    match lines.as_deref().map(str::trim) {
        Ok("") => format!("{name} {state}; it wrote nothing to its log"),
        Ok(lines) => {
            let lines = lines.replace('\n', "\n    ");
            format!("{name} {state}; the last lines of its log:\n    {lines}")
        }
        Err(EngineError::Missing(_)) => format!("{name} was removed, and its log with it"),
        Err(error) => format!("what became of {name} is not known: {error}"),
    }
}

/// The state of a container that no longer answers and ran when it was last seen: the engine may report its death and
/// the reason later than the checks.
async fn fate(engine: &Engine, id: &str, seen: State) -> State {
    for _ in 0..LATE {
        match engine.find(id).await {
            Ok(Some(now)) if now.state.killed_for_memory() => return now.state,
            Ok(Some(now)) if now.state.serves() => {
                tokio::time::sleep(Duration::from_millis(500)).await
            }
            _ => break,
        }
    }
    seen
}

/// Removes all but the newest folders.
async fn forget_old(all: &Path) -> io::Result<()> {
    let mut folders = vec![];
    let mut entries = fs::read_dir(all).await?;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(Ok(number)) = name.strip_prefix("r-").map(str::parse::<i64>) {
            folders.push((number, entry.path()));
        }
    }
    folders.sort();
    let excess = folders.len().saturating_sub(FOLDERS);
    for (_, path) in &folders[..excess] {
        fs::remove_dir_all(path).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_of_a_container_is_not_told_as_its_log() {
        let ran = |lines: Result<String, EngineError>| words("api-7", &State::Running, lines);
        assert_eq!(
            ran(Ok("\n".to_owned())),
            "api-7 runs; it wrote nothing to its log"
        );
        assert!(ran(Ok("a\nb\n".to_owned())).ends_with("log:\n    a\n    b"));
        let gone = EngineError::Missing("No such container: 0123".to_owned());
        assert_eq!(ran(Err(gone)), "api-7 was removed, and its log with it");
        let lost = ran(Err(EngineError::Unreachable("no such file".to_owned())));
        assert!(
            lost.contains("is not known") && !lost.contains("log"),
            "{lost}"
        );
    }
}

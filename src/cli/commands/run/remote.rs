//! A rollout by the shifter that answers on the socket, followed to its end.

use crate::admin::client::{Client, ClientError};
use crate::cli::commands::plan;
use crate::cli::commands::run::{Args, LOOK, ended, find};
use crate::cli::progress::ProgressPrinter;
use crate::cli::{Global, output};
use crate::config::Config;
use crate::control::view::{ServiceView, View};
use crate::exit::Exit;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a follower waits for a shifter that is gone.
const RESTART: Duration = Duration::from_secs(60);

/// The exit code of a rollout by a running shifter; `None` when none answers.
pub(super) fn run(
    global: &Global,
    args: &Args,
    socket: Option<PathBuf>,
    config: Option<&Config>,
) -> Option<Exit> {
    let socket = socket?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    runtime.block_on(async {
        let client = Client::new(&socket).ok()?;
        let view = client.status().await.ok()?;
        if let Some(line) = other_file(&view, &global.config) {
            output::narrate(&line);
        }
        Some(match follow_remote(global, args, &client, config).await {
            Ok(exit) => exit,
            Err(error) => {
                anstream::eprintln!("shifter: {error}");
                error.exit()
            }
        })
    })
}

/// A line where the shifter that answers serves by another configuration file than the one that was found here.
fn other_file(view: &View, file: &Path) -> Option<String> {
    let theirs = view.config.as_deref()?;
    let ours = file.canonicalize().ok()?;
    let same = Path::new(theirs)
        .canonicalize()
        .map_or(Path::new(theirs) == ours, |theirs| theirs == ours);
    (!same).then(|| {
        format!(
            "shifter: the shifter that answers (process {}) serves by {theirs}, not by {}: the rollout is carried out there",
            view.pid,
            ours.display()
        )
    })
}

/// How a good green fares at the traffic of now, where that is measured and the configuration is at hand.
fn outlook(config: Option<&Config>, args: &Args, view: &View) -> Option<String> {
    let named = |service: &&ServiceView| {
        args.service
            .as_ref()
            .is_none_or(|name| *name == service.name)
    };
    let seen = view.services.iter().find(named)?;
    let service = config
        .filter(|_| args.strategy.is_none())?
        .service(&seen.name)?;
    let line = plan::in_a_line(service, seen)?;
    Some(format!("shifter: {}: {line}", seen.name))
}

async fn follow_remote(
    global: &Global,
    args: &Args,
    client: &Client,
    config: Option<&Config>,
) -> Result<Exit, ClientError> {
    let before = client.status().await?;
    let done = client.run(args.service.as_deref(), &args.request()).await?;
    let Some(rollout) = done.rollout else {
        return Ok(Exit::Internal);
    };
    // The rollout begins meanwhile: what it can expect takes a moment to compute.
    if let Some(line) = outlook(config, args, &before) {
        output::narrate(&line);
    }
    let mut teller = ProgressPrinter::default();
    loop {
        match follow_remotely(global, client, rollout, &mut teller).await {
            Err(ClientError::Unreachable { .. }) if back_again(client, rollout).await => {}
            ended => return ended,
        }
    }
}

/// Waits for a shifter that is gone; false when it does not come back in time.
async fn back_again(client: &Client, rollout: i64) -> bool {
    anstream::eprintln!(
        "shifter: the shifter went away; rollout r-{rollout} is saved and goes on when it is started again. Waiting {} s for it",
        RESTART.as_secs()
    );
    let until = Instant::now() + RESTART;
    while Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        if client.status().await.is_ok() {
            return true;
        }
    }
    false
}

async fn follow_remotely(
    global: &Global,
    client: &Client,
    rollout: i64,
    teller: &mut ProgressPrinter,
) -> Result<Exit, ClientError> {
    let mut events = client.events(Some(teller.told()), Some(rollout)).await?;
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            note = events.next() => match note? {
                Some(note) => teller.note(&note),
                None => events = client.events(Some(teller.told()), Some(rollout)).await?,
            },
            _ = look.tick() => {
                let view = client.status().await?;
                let Some((service, view)) = find(&view, rollout) else { continue };
                teller.heartbeat(service, view);
                if view.outcome.is_some() {
                    for note in client.notes(teller.told(), rollout).await? {
                        teller.note(&note);
                    }
                    return Ok(ended(global, service, view));
                }
            }
            _ = tokio::signal::ctrl_c() => {
                anstream::eprintln!(
                    "shifter: not followed any longer; rollout r-{rollout} goes on. `shifter status` shows it, `shifter rollback` ends it"
                );
                return Ok(Exit::Interrupted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_than_that_of_the_shifter_that_answers_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let [ours, theirs] = ["ours.toml", "theirs.toml"].map(|name| folder.path().join(name));
        std::fs::write(&ours, "").unwrap();
        let served = |file: &Path| View {
            config: Some(file.display().to_string()),
            ..View::default()
        };
        assert_eq!(other_file(&View::default(), &ours), None);
        assert_eq!(other_file(&served(&ours), &ours), None);
        assert_eq!(
            other_file(&served(&ours), &folder.path().join("none")),
            None
        );
        let line = other_file(&served(&theirs), &ours).unwrap();
        assert!(line.contains("theirs.toml"), "{line}");
    }
}

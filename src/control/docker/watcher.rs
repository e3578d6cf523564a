//! The connection to the engine: which containers it is asked for, and whether it answers.

use crate::control::report::entry::Entry;
use crate::control::report::messages::sentence;
use crate::driver::docker::watcher::{self, ContainerUpdate, Wants, WatchTarget};
use crate::driver::docker::{Engine, EngineError, Spoken};
use crate::store::NoteKind;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// The longest wait for the engine before the first request is served.
const PATIENCE: Duration = Duration::from_secs(5);

/// Number of updates that may wait.
const MAILBOX: usize = 16;

/// Follows the containers of all services.
pub(in crate::control) struct DockerWatcher {
    engine: Engine,
    /// Why the engine's state is unknown at present.
    pub(in crate::control) lost: Option<String>,
    /// The engine that was reported to answer, and its API version.
    spoken: Option<Spoken>,
    wants: watch::Sender<Wants>,
    news: mpsc::Receiver<ContainerUpdate>,
    out: Option<mpsc::Sender<ContainerUpdate>>,
}

impl DockerWatcher {
    /// An engine that has not been queried yet.
    pub(in crate::control) fn new(engine: Engine) -> DockerWatcher {
        let (out, news) = mpsc::channel(MAILBOX);
        DockerWatcher {
            engine,
            lost: None,
            spoken: None,
            wants: watch::Sender::default(),
            news,
            out: Some(out),
        }
    }

    /// Starts to follow the containers' events.
    pub(in crate::control) fn follow(&mut self) {
        if let Some(out) = self.out.take() {
            let wants = self.wants.subscribe();
            tokio::spawn(watcher::follow(self.engine.clone(), wants, out));
        }
    }

    /// The next update; pending forever without Docker.
    pub(in crate::control) async fn news(&mut self) -> ContainerUpdate {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    /// Looks once for the containers with labels of shifter.
    pub(in crate::control) async fn look_for_labels(&self) -> ContainerUpdate {
        let found = patiently(watcher::labelled(&self.engine)).await;
        found.map_or_else(ContainerUpdate::Lost, ContainerUpdate::Labelled)
    }

    /// Looks once for the containers of all pools; `None` where no pool has containers.
    pub(in crate::control) async fn look_for_pools(&self) -> Option<ContainerUpdate> {
        let pools = self.wants.borrow().pools.clone();
        if pools.is_empty() {
            return None;
        }
        let found = patiently(watcher::look(&self.engine, &pools)).await;
        Some(found.map_or_else(ContainerUpdate::Lost, ContainerUpdate::Seen))
    }

    /// Sets which containers to look for, and whether also for those with labels of shifter.
    pub(in crate::control) fn watch(&self, pools: Vec<WatchTarget>, labelled: bool) {
        let wants = Wants { pools, labelled };
        self.wants.send_if_modified(|present| {
            let news = *present != wants;
            *present = wants;
            news
        });
    }

    /// The engine does not answer; the line on it, when that is new.
    pub(in crate::control) fn lose(&mut self, why: String) -> Option<Entry> {
        let text = format!(
            "{} Traffic goes on where it is, and nothing advances",
            sentence(&why)
        );
        let news = self.lost.replace(why).is_none();
        news.then(|| Entry::new(NoteKind::Trouble, text))
    }

    /// The engine has named the containers of the pools; the lines on it, when it did not answer before.
    pub(in crate::control) fn answers(&mut self) -> Vec<Entry> {
        let back = self.lost.take().is_some();
        let back = back.then(|| Entry::new(NoteKind::State, "Docker answers again"));
        self.version().into_iter().chain(back).collect()
    }

    /// Which engine answers, and the API version in use: at the start, and when another engine answers.
    pub(in crate::control) fn version(&mut self) -> Option<Entry> {
        let spoken = self.engine.spoken();
        if spoken.is_none() || spoken == self.spoken {
            return None;
        }
        self.spoken = spoken;
        let Spoken { engine, api } = self.spoken.as_ref()?;
        let text = format!("{engine} answers; it is asked by version {api} of its API");
        Some(Entry::new(NoteKind::State, text))
    }
}

async fn patiently<T>(look: impl Future<Output = Result<T, EngineError>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!(
            "Docker did not answer within {} s",
            PATIENCE.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_engine_is_told_once_and_so_is_its_return() {
        let mut watcher = DockerWatcher::new(Engine::new(None));
        assert_eq!(watcher.answers(), [], "it was never missed");
        let lost = watcher.lose("it is gone".to_owned()).expect("a line");
        assert_eq!(lost.kind, NoteKind::Trouble);
        assert_eq!(
            lost.text,
            "it is gone. Traffic goes on where it is, and nothing advances"
        );
        assert_eq!(watcher.lose("it is gone still".to_owned()), None);
        assert_eq!(watcher.lost.as_deref(), Some("it is gone still"));
        let back = Entry::new(NoteKind::State, "Docker answers again");
        assert_eq!(watcher.answers(), [back]);
        assert_eq!(watcher.lost, None);
        assert_eq!(watcher.answers(), []);
    }
}

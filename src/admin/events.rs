//! Notes as server-sent events: first the missed ones from the journal, then new ones as they come.

use crate::admin::problem::Problem;
use crate::control::{Answer, Handle, Query};
use crate::store::journal::Note;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// Notes that are read from the journal at a time.
pub(crate) const PAGE: u32 = 1_000;

/// The interval of keep-alive comments: proxies in between cut connections that are silent for
/// longer.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// From here on, numbers belong to notes that could not be recorded: a client cannot resume after
/// one.
const UNRECORDED: i64 = i64::MAX / 2;

/// One client's position in the notes.
struct Listener {
    handle: Handle,
    live: Receiver<Note>,
    stop: watch::Receiver<bool>,
    missed: VecDeque<Note>,
    /// The journal may have more after `last`.
    behind: bool,
    last: i64,
    rollout: Option<i64>,
}

/// Events after a number or from now on, of one rollout or of all.
pub(crate) async fn events(
    handle: Handle,
    stop: watch::Receiver<bool>,
    after: Option<i64>,
    rollout: Option<i64>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    // Subscribes before it reads, so that no note falls between the two.
    let live = handle.notes();
    let mut listener = Listener {
        handle,
        live,
        stop,
        missed: VecDeque::new(),
        behind: after.is_some(),
        last: after.unwrap_or(0),
        rollout,
    };
    if listener.behind {
        listener.read().await?;
    }
    let stream = futures::stream::unfold(listener, |mut listener| async move {
        let note = listener.next().await?;
        Some((Ok(event(&note)), listener))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("still here")))
}

fn event(note: &Note) -> Event {
    let event = match serde_json::to_string(note) {
        Ok(body) => Event::default().event("note").data(body),
        Err(error) => return Event::default().comment(error.to_string()),
    };
    if note.seq < UNRECORDED {
        event.id(note.seq.to_string())
    } else {
        event
    }
}

impl Listener {
    /// Reads the next page of missed notes.
    async fn read(&mut self) -> Result<(), Problem> {
        let query = Query::Notes {
            after: self.last,
            rollout: self.rollout,
            limit: PAGE,
        };
        let Answer::Notes(notes) = self.handle.query(query).await? else {
            return Ok(());
        };
        self.behind = notes.len() == PAGE as usize;
        self.missed = notes.into();
        Ok(())
    }

    /// The next note; `None` when the stream is over and the client has to reconnect with the last
    /// number.
    async fn next(&mut self) -> Option<Note> {
        loop {
            if let Some(note) = self.missed.pop_front() {
                self.last = note.seq;
                return Some(note);
            }
            if self.behind {
                self.read().await.ok()?;
                continue;
            }
            let received = tokio::select! {
                received = self.live.recv() => received,
                _ = self.stop.wait_for(|stop| *stop) => return None,
            };
            match received {
                Ok(note) if note.seq <= self.last => {}
                Ok(note) if self.rollout.is_some_and(|rollout| rollout != note.rollout) => {}
                Ok(note) => {
                    if note.seq < UNRECORDED {
                        self.last = note.seq;
                    }
                    return Some(note);
                }
                // Without a first number it is unknown what was missed: go on with new notes.
                Err(RecvError::Lagged(_)) => self.behind = self.last > 0,
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

//! Run commands that cannot begin yet: another rollout is in the way, or the containers have not been seen.

use crate::control::controller::{Controller, Reply};
use crate::control::handle::RolloutRequest;
use std::time::{Duration, Instant};

/// How long a run command waits for the engine to name the containers of the pools.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// A rollout that waits for the end of the one before it, and for its containers to be seen.
pub(super) struct Waiting {
    pub(super) service: String,
    pub(super) ask: RolloutRequest,
    pub(super) reply: Reply,
    /// Since when no rollout is in its way.
    pub(super) idle_since: Option<Instant>,
}

impl Waiting {
    /// Since when no rollout is in its way: from the first call on.
    pub(super) fn idle(&mut self) -> Instant {
        *self.idle_since.get_or_insert_with(Instant::now)
    }
}

impl Controller {
    /// Whether the engine answers and has not named the containers of this service's pools yet.
    pub(super) fn unseen(&self, i: usize) -> bool {
        let state = &self.services[i];
        state.is_docker() && self.watcher.lost.is_none() && !state.sighted(&self.watcher)
    }

    /// Begins the waiting rollouts that can start now.
    pub(super) fn start_waiting(&mut self) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            match self.find(Some(&waiting.service)) {
                // The client has disconnected meanwhile.
                _ if waiting.reply.is_closed() => {}
                Ok(i) if self.services[i].run.is_some() => self.waiting.push(waiting),
                Ok(i) if self.unseen(i) && waiting.idle().elapsed() < LOOK_LIMIT => {
                    self.waiting.push(waiting);
                }
                Ok(i) => {
                    let answer = self.begin(i, &waiting.ask);
                    self.reply(waiting.reply, answer);
                }
                Err(refusal) => self.reply(waiting.reply, Err(refusal)),
            }
        }
    }
}

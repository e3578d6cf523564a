//! Run commands that cannot begin yet: another rollout is in the way, or the containers have not been seen.

use crate::control::api::command::{CommandError, RolloutRequest};
use crate::control::api::message::Reply;
use std::time::{Duration, Instant};

/// How long a run command waits for the engine to name the containers of the pools.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// A rollout that waits for the end of the one before it, and for its containers to be seen.
pub(super) struct Waiting {
    pub(super) service: String,
    pub(super) ask: RolloutRequest,
    pub(super) reply: Reply,
    /// Since when no rollout is in its way.
    idle_since: Option<Instant>,
}

/// What a waiting rollout has in its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Another rollout of its service.
    Rollout,
    /// The engine answers, and has not named the containers of its pools yet.
    Unseen,
    /// Nothing: it begins, or it is refused.
    Nothing,
}

/// The rollouts that wait: at most one for each service.
#[derive(Default)]
pub(super) struct WaitingRollouts(Vec<Waiting>);

impl WaitingRollouts {
    /// Lets a command wait. The newest counts: an older one for the same service is refused.
    pub(super) fn put(&mut self, service: String, ask: RolloutRequest, reply: Reply) {
        let older = self.0.iter().position(|one| one.service == service);
        if let Some(older) = older.map(|at| self.0.swap_remove(at)) {
            let _ = older.reply.send(Err(CommandError::NotNow(
                "a newer order to run took its place".to_owned(),
            )));
        }
        self.0.push(Waiting {
            service,
            ask,
            reply,
            idle_since: None,
        });
    }

    /// Takes out those that wait no longer; of clients that have disconnected meanwhile nothing is left.
    pub(super) fn take_ready(
        &mut self,
        now: Instant,
        obstacle: impl Fn(&str) -> Obstacle,
    ) -> Vec<Waiting> {
        let mut ready = vec![];
        for mut waiting in std::mem::take(&mut self.0) {
            if waiting.reply.is_closed() {
                continue;
            }
            let waits = match obstacle(&waiting.service) {
                Obstacle::Rollout => true,
                Obstacle::Unseen => {
                    let since = *waiting.idle_since.get_or_insert(now);
                    now.duration_since(since) < LOOK_LIMIT
                }
                Obstacle::Nothing => false,
            };
            if waits {
                self.0.push(waiting);
            } else {
                ready.push(waiting);
            }
        }
        ready
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn services(ready: &[Waiting]) -> Vec<&str> {
        ready.iter().map(|one| one.service.as_str()).collect()
    }

    #[test]
    fn the_newest_command_for_a_service_counts() {
        let mut all = WaitingRollouts::default();
        let (first, mut refused) = oneshot::channel();
        let (other, _kept) = oneshot::channel();
        let (second, _waits) = oneshot::channel();
        all.put("app".to_owned(), RolloutRequest::default(), first);
        all.put("api".to_owned(), RolloutRequest::default(), other);
        let newer = RolloutRequest {
            strict: true,
            ..RolloutRequest::default()
        };
        all.put("app".to_owned(), newer.clone(), second);
        let answer = refused.try_recv().expect("an answer");
        assert!(matches!(answer, Err(CommandError::NotNow(_))), "{answer:?}");
        let ready = all.take_ready(Instant::now(), |_| Obstacle::Nothing);
        assert_eq!(services(&ready), ["api", "app"]);
        assert_eq!(ready[1].ask, newer);
    }

    #[test]
    fn a_rollout_waits_without_end_and_for_the_engine_only_a_while() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut all = WaitingRollouts::default();
        let (reply, client) = oneshot::channel();
        all.put("app".to_owned(), RolloutRequest::default(), reply);
        for (seconds, obstacle, ready) in [
            (0, Obstacle::Rollout, 0),
            (900, Obstacle::Rollout, 0),
            (1_000, Obstacle::Unseen, 0),
            (1_004, Obstacle::Unseen, 0),
            (1_005, Obstacle::Unseen, 1),
        ] {
            let found = all.take_ready(at(seconds), |_| obstacle);
            assert_eq!(found.len(), ready, "after {seconds} s");
        }
        drop(client);
    }

    #[test]
    fn a_client_that_has_gone_starts_nothing() {
        let mut all = WaitingRollouts::default();
        let (reply, client) = oneshot::channel();
        all.put("app".to_owned(), RolloutRequest::default(), reply);
        drop(client);
        assert!(
            all.take_ready(Instant::now(), |_| Obstacle::Nothing)
                .is_empty()
        );
    }
}

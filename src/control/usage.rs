//! Queries the engine for the resource usage of both versions, while green has users.

use crate::config::Access;
use crate::control::controller::Controller;
use crate::control::handle::Message;
use crate::core::probes::Probes;
use crate::core::table::Color;
use crate::core::time::Time;
use crate::core::usage::UsageSample;
use crate::core::weight::Weight;
use crate::driver::docker::{Engine, EngineError};
use crate::store::Clock;
use crate::store::NoteKind;

impl Controller {
    /// Takes a sample when it is due; the result comes back as a message.
    pub(super) fn ask_usage(&mut self, i: usize, now: Time) {
        if self.config.docker.access < Access::Manage || self.watcher.lost.is_some() {
            return;
        }
        let state = &mut self.services[i];
        let shown = state.route.weight > Weight::NONE && state.is_docker();
        let (Some(run), Some(own)) = (&mut state.run, self.own.upgrade()) else {
            return;
        };
        if !shown || !run.usage.due(now) {
            return;
        }
        let of = |color: Color| {
            let all = state.docker.containers[color.index()].iter().flatten();
            all.map(|one| (one.id.clone(), u64::try_from(one.memory).unwrap_or(0)))
                .collect::<Vec<_>>()
        };
        let (rollout, engine) = (run.saved.id, self.watcher.engine.clone());
        let both = Color::BOTH.map(of);
        tokio::spawn(async move {
            // All in parallel: an engine may take a second for each.
            let looks = futures::try_join!(look(&engine, &both[0]), look(&engine, &both[1]));
            let looks = looks.map(|(blue, green)| [blue, green]);
            let _ = own.send(Message::Used { rollout, looks }).await;
        });
    }

    /// Takes the result of a sample; after a few failures the engine is queried rarely.
    pub(super) fn used(&mut self, rollout: i64, looks: Result<[UsageSample; 2], EngineError>) {
        let Some(i) = self.rolls_out(rollout) else {
            return;
        };
        let state = &mut self.services[i];
        let service = state.route.service.clone();
        let metrics = self.metrics.service(&service);
        let Some(run) = &mut state.run else { return };
        let mut looks = match looks {
            Ok(looks) => looks,
            Err(error) => {
                tracing::debug!(%service, "what the versions take is not known: {error}");
                run.usage.nothing();
                return;
            }
        };
        // Our own probes take CPU time too.
        let own = run.trial.probes().map(Probes::ended);
        for color in Color::BOTH {
            let own = own.map_or(0, |own| own[color.index()]);
            looks[color.index()].requests = metrics.pool(color).ended() + own;
        }
        for text in run.usage.look(Clock::now(), looks) {
            self.timeline
                .tell(&service, Some(rollout), NoteKind::Warning, text);
        }
    }
}

/// The resource usage of the containers of one version, given by id and memory limit in bytes.
async fn look(engine: &Engine, containers: &[(String, u64)]) -> Result<UsageSample, EngineError> {
    let mut sum = UsageSample {
        containers: containers.len(),
        ..UsageSample::default()
    };
    let all = containers.iter().map(|(id, _)| engine.usage(id));
    for (memory, cpu) in futures::future::try_join_all(all).await? {
        sum.memory += memory;
        sum.cpu += cpu;
    }
    sum.limit = containers.iter().map(|(_, limit)| limit).sum();
    // Where one container has no limit, the version has none.
    if containers.iter().any(|(_, limit)| *limit == 0) {
        sum.limit = 0;
    }
    Ok(sum)
}

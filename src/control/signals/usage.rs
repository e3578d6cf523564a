//! Queries the engine for the resource usage of both versions, while green has users.

use crate::control::api::message::{Message, TaskResult};
use crate::control::report::entry::Entry;
use crate::control::tasks::context::TaskContext;
use crate::core::table::Color;
use crate::core::time::Time;
use crate::core::usage::{ResourceUsage, UsageSample};
use crate::driver::docker::{Container, Engine, EngineError};
use crate::store::NoteKind;

/// Takes a sample of the containers of both versions; the result comes back as a message.
pub(in crate::control) fn sample(
    rollout: i64,
    containers: &[Option<Vec<Container>>; 2],
    context: &TaskContext,
) {
    let Some(mailbox) = context.mailbox() else {
        return;
    };
    let of = |all: &Option<Vec<Container>>| {
        let all = all.iter().flatten();
        all.map(|one| (one.id.clone(), u64::try_from(one.memory).unwrap_or(0)))
            .collect::<Vec<_>>()
    };
    let (engine, both) = (context.engine.clone(), containers.each_ref().map(of));
    tokio::spawn(async move {
        // All in parallel: an engine may take a second for each.
        let looks = futures::try_join!(look(&engine, &both[0]), look(&engine, &both[1]));
        let looks = looks.map(|(blue, green)| [blue, green]);
        let _ = mailbox
            .send(Message::Ended {
                rollout,
                result: TaskResult::Used(looks),
            })
            .await;
    });
}

/// Takes the result of a sample, with the requests that each version has ended; after a few failures the engine is
/// queried rarely.
pub(in crate::control) fn take(
    usage: &mut ResourceUsage,
    looks: Result<[UsageSample; 2], EngineError>,
    ended: [u64; 2],
    now: Time,
) -> Vec<Entry> {
    let mut looks = match looks {
        Ok(looks) => looks,
        Err(error) => {
            tracing::debug!("what the versions take is not known: {error}");
            usage.nothing();
            return vec![];
        }
    };
    for color in Color::BOTH {
        looks[color.index()].requests = ended[color.index()];
    }
    let warnings = usage.look(now, looks).into_iter();
    warnings
        .map(|text| Entry::new(NoteKind::Warning, text))
        .collect()
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

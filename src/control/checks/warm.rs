//! Warm-up: requests of our own to each backend of green, so that no user waits for cold caches.

use crate::config::{BackendTls, Protocol, Warmup};
use crate::control::api::message::{Message, TaskResult};
use crate::control::service::state::ServiceState;
use crate::control::tasks::context::TaskContext;
use crate::visit::{Question, Way};
use futures::stream::{self, StreamExt};
use std::net::SocketAddr;

/// Warms green up, and its baseline: that is to be as warm as green, and no warmer.
pub(in crate::control) fn start(state: &ServiceState, context: &TaskContext) {
    let (Some(run), Some(mailbox)) = (&state.run, context.mailbox()) else {
        return;
    };
    let spec = run.settings.warmup.clone();
    let (rollout, host) = (run.saved.id, state.settings.own_host());
    let baseline = state.route.baseline.iter().flat_map(|pool| &pool.backends);
    let mut backends = state.green_addresses();
    backends.extend(baseline.map(|backend| backend.addr));
    let way = (state.settings.protocol, state.settings.tls.clone());
    tokio::spawn(async move {
        let text = match spec {
            Some(spec) => warm(spec, way, host, backends).await,
            None => "the configuration has no warm-up any more".to_owned(),
        };
        let _ = mailbox
            .send(Message::Ended {
                rollout,
                result: TaskResult::Warmed { text },
            })
            .await;
    });
}

/// Sends the warm-up and returns its result in one line.
///
/// A failed request is no reason to stop: a backend that warms up may fail some. The smoke checks decide.
async fn warm(
    spec: Warmup,
    (protocol, tls): (Protocol, Option<BackendTls>),
    host: String,
    backends: Vec<SocketAddr>,
) -> String {
    let way = match Way::new(protocol, tls.as_ref()) {
        Ok(way) => way,
        Err(error) => return format!("no warm-up: {error}"),
    };
    let visits: Vec<(SocketAddr, String)> = backends
        .iter()
        .flat_map(|backend| {
            let paths = spec.paths.iter().cycle().take(spec.requests as usize);
            paths.map(move |path| (*backend, path.clone()))
        })
        .collect();
    let all = visits.len();
    let answers = stream::iter(visits).map(|(backend, path)| {
        let (way, host) = (way.clone(), host.clone());
        async move {
            let question = Question::get(&path, &host).with("x-shifter-probe", "warmup");
            let visit = visit(&way, backend, question);
            tokio::time::timeout(spec.timeout, visit)
                .await
                .unwrap_or(false)
        }
    });
    let at_a_time = spec.concurrency.max(1) as usize;
    let good = answers
        .buffer_unordered(at_a_time)
        .filter(|good| std::future::ready(*good))
        .count()
        .await;
    format!("warm-up: {good} of {all} requests answered")
}

/// Whether a whole answer below 500 came.
async fn visit(way: &Way, backend: SocketAddr, question: Question<'_>) -> bool {
    let Ok(mut answer) = way.ask(backend, question).await else {
        return false;
    };
    loop {
        match answer.part().await {
            Ok(Some(_)) => {}
            Ok(None) => return answer.status() < 500,
            Err(_) => return false,
        }
    }
}

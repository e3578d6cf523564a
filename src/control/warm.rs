//! Warm-up: requests of our own to each backend of green, so that no user pays for cold caches.

use crate::config::Warmup;
use futures::stream::{self, StreamExt};
use std::net::SocketAddr;

/// Sends the warm-up and says in one line what came of it.
///
/// A request that fails is no reason to stop: what warms up may stutter. The smoke checks decide.
pub async fn warm(spec: Warmup, host: String, backends: Vec<SocketAddr>) -> String {
    let client = match super::smoke::client(spec.timeout) {
        Ok(client) => client,
        Err(error) => return format!("no warm-up: {error}"),
    };
    let (client, host, paths) = (&client, &host, &spec.paths);
    let asked = backends.iter().flat_map(|backend| {
        (0..spec.requests as usize).map(move |n| (backend, &paths[n % paths.len().max(1)]))
    });
    let answers = stream::iter(asked).map(|(backend, path)| async move {
        let url = format!("http://{backend}{path}");
        let answer = client.get(url).header("host", host).header("x-shifter-probe", "warmup").send().await;
        match answer {
            Ok(answer) => answer.status().as_u16() < 500 && answer.bytes().await.is_ok(),
            Err(_) => false,
        }
    });
    let done: Vec<bool> = answers.buffer_unordered(spec.concurrency.max(1) as usize).collect().await;
    let good = done.iter().filter(|good| **good).count();
    format!("warm-up: {good} of {} requests answered", done.len())
}

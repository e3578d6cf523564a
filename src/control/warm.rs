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
    let urls: Vec<String> = backends
        .iter()
        .flat_map(|backend| {
            let paths = spec.paths.iter().cycle().take(spec.requests as usize);
            paths.map(move |path| format!("http://{backend}{path}"))
        })
        .collect();
    let all = urls.len();
    let answers = stream::iter(urls).map(|url| {
        let request = client
            .get(url)
            .header("host", &host)
            .header("x-shifter-probe", "warmup");
        async move {
            match request.send().await {
                Ok(answer) => answer.status().as_u16() < 500 && answer.bytes().await.is_ok(),
                Err(_) => false,
            }
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

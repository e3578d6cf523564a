//! The demo's users: a steady stream of requests that counts the answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Interval at which new requests are sent.
const BEAT: Duration = Duration::from_millis(10);

/// The answers that the users got.
#[derive(Debug, Default)]
pub struct Seen {
    /// Answers.
    pub answered: AtomicU64,
    /// Answers of 500 or above, and no answer at all.
    pub failed: AtomicU64,
    /// Answers that took longer than [`SLOW`].
    pub slow: AtomicU64,
    /// Answers of the first and of the second app.
    pub by_version: [AtomicU64; 2],
}

/// A wait that a user notices.
pub const SLOW: Duration = Duration::from_millis(25);

/// Sends `rate` requests per second until the task is dropped; a slow answer never slows the stream.
pub async fn users(target: SocketAddr, rate: f64, versions: [String; 2], seen: Arc<Seen>) {
    let Ok(client) = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(256)
        .timeout(Duration::from_secs(5))
        .build()
    else {
        return;
    };
    let versions = Arc::new(versions);
    let mut beat = tokio::time::interval(BEAT);
    let mut due = 0.0;
    loop {
        beat.tick().await;
        due += rate * BEAT.as_secs_f64();
        while due >= 1.0 {
            due -= 1.0;
            let (client, versions, seen) = (client.clone(), versions.clone(), seen.clone());
            tokio::spawn(async move { visit(&client, target, &versions, &seen).await });
        }
    }
}

async fn visit(client: &reqwest::Client, target: SocketAddr, versions: &[String; 2], seen: &Seen) {
    let asked = std::time::Instant::now();
    let answer = client.get(format!("http://{target}/")).send().await;
    if asked.elapsed() > SLOW {
        seen.slow.fetch_add(1, Relaxed);
    }
    let Ok(answer) = answer else {
        seen.failed.fetch_add(1, Relaxed);
        return;
    };
    let version = answer
        .headers()
        .get("x-app-version")
        .and_then(|value| value.to_str().ok());
    for (counter, name) in seen.by_version.iter().zip(versions) {
        if version == Some(name) {
            counter.fetch_add(1, Relaxed);
        }
    }
    let failed = answer.status().is_server_error();
    if answer.bytes().await.is_ok() && !failed {
        seen.answered.fetch_add(1, Relaxed);
    } else {
        seen.failed.fetch_add(1, Relaxed);
    }
}

//! The choice of a backend inside a pool: the less busy of two random ones.
//!
//! Two random choices spread load nearly as well as asking every backend, and never herd onto the
//! one that looked idle a moment ago (Mitzenmacher 2001, "The power of two choices").

use crate::core::time::Time;
use crate::store::shared_state::{BackendState, Health};
use std::sync::atomic::Ordering::Relaxed;

/// The index of a backend for a new request, but not `not`; `None` when no backend can take one.
///
/// Backends that were ejected for failed requests are left out unless all others are down: a pool
/// that fails some requests is better than none.
pub fn pick<B: AsRef<BackendState>>(
    backends: &[B],
    not: Option<usize>,
    now: Time,
) -> Option<usize> {
    let usable = |at: usize| Some(at) != not && backends[at].as_ref().usable(now);
    let count = backends.len();
    if count <= 1 {
        return (0..count)
            .find(|&at| usable(at))
            .or_else(|| last_resort(backends, not));
    }
    let dice = fastrand::u64(..);
    let first = scaled(dice as u32, count);
    // Another one than the first, each with the same probability.
    let second = (first + 1 + scaled((dice >> 32) as u32, count - 1)) % count;
    match (usable(first), usable(second)) {
        (true, true) => Some(if busy(&backends[second]) < busy(&backends[first]) {
            second
        } else {
            first
        }),
        (true, false) => Some(first),
        (false, true) => Some(second),
        (false, false) => (0..count)
            .map(|step| (first + step) % count)
            .find(|&at| usable(at))
            .or_else(|| last_resort(backends, not)),
    }
}

/// The least busy backend that is not down: it may be ejected.
fn last_resort<B: AsRef<BackendState>>(backends: &[B], not: Option<usize>) -> Option<usize> {
    (0..backends.len())
        .filter(|&at| Some(at) != not && backends[at].as_ref().health() != Health::Down)
        .filter(|&at| !backends[at].as_ref().doubted())
        .min_by_key(|&at| busy(&backends[at]))
}

/// The least busy backend with an address that may be another's by now: earlier connections can
/// still be used.
pub fn pick_doubted<B: AsRef<BackendState>>(backends: &[B]) -> Option<usize> {
    (0..backends.len())
        .filter(|&at| backends[at].as_ref().doubted())
        .filter(|&at| backends[at].as_ref().health() != Health::Down)
        .min_by_key(|&at| busy(&backends[at]))
}

fn busy<B: AsRef<BackendState>>(backend: &B) -> i64 {
    backend.as_ref().in_flight.load(Relaxed)
}

/// Maps a random number to 0..count, each with the same probability.
fn scaled(random: u32, count: usize) -> usize {
    ((u64::from(random) * count as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::store::SharedState;
    use std::sync::Arc;

    const NOW: Time = Time(1_000);

    fn pool(count: usize) -> Vec<Arc<BackendState>> {
        (0..count)
            .map(|at| {
                Arc::new(BackendState::new(
                    &at.to_string(),
                    "127.0.0.1:1".parse().unwrap(),
                ))
            })
            .collect()
    }

    fn board() -> SharedState {
        let text = "[service.s]\nblue = \"127.0.0.1:1\"\n";
        SharedState::new(Arc::new(Config::parse("test.toml", text).unwrap()))
    }

    fn picked(pool: &[Arc<BackendState>], not: Option<usize>) -> Vec<usize> {
        let mut counts = vec![0; pool.len()];
        for _ in 0..10_000 {
            if let Some(at) = pick(pool, not, NOW) {
                counts[at] += 1;
            }
        }
        counts
    }

    #[test]
    fn idle_backends_share_and_the_busiest_gets_nothing() {
        let pool = pool(4);
        assert!(
            picked(&pool, None)
                .iter()
                .all(|&n| (2_000..3_000).contains(&n))
        );
        pool[2].in_flight.store(5, Relaxed);
        let counts = picked(&pool, None);
        assert_eq!(counts[2], 0, "{counts:?}");
        assert!(
            counts.iter().filter(|&&n| n > 2_500).count() == 3,
            "{counts:?}"
        );
    }

    #[test]
    fn the_down_and_the_ejected_are_left_out() {
        let (pool, board) = (pool(3), board());
        board.set_health(&pool[0], Health::Down);
        pool[1].ejected_until.store(NOW.0 + 1, Relaxed);
        assert_eq!(picked(&pool, None), [0, 0, 10_000]);
        assert_eq!(
            picked(&pool, Some(2)),
            [0, 10_000, 0],
            "ejected is better than none"
        );
        board.set_health(&pool[1], Health::Down);
        assert_eq!(picked(&pool, Some(2)), [0, 0, 0]);
    }

    #[test]
    fn ejection_ends_by_itself() {
        let pool = pool(2);
        pool[0].ejected_until.store(NOW.0, Relaxed);
        assert!(picked(&pool, None).iter().all(|&n| n > 4_000));
    }

    #[test]
    fn an_empty_pool_and_a_pool_of_one() {
        assert_eq!(pick(&pool(0), None, NOW), None);
        assert_eq!(pick(&pool(1), None, NOW), Some(0));
        assert_eq!(pick(&pool(1), Some(0), NOW), None);
    }
}

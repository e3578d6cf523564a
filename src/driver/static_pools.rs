//! Pools of fixed addresses: two sets, of which one serves while the next version is put on the other.
//!
//! After a promotion the file's `green` serves and its `blue` is free for the next version. The serving pool
//! is saved by its backends, so that an edit of the file cannot swap the two.

use crate::config::{PoolSpec, Service};
use crate::core::table::Pool;

/// Blue and green of a service: `running` are the ids of the promoted pool, empty when the file's blue serves.
pub fn pools(service: &Service, running: &[String]) -> (Pool, Option<Pool>) {
    let blue = service.blue.pool();
    let green = service.green.as_ref().map(|spec| spec.pool());
    match green {
        Some(green) if shares(&green, running) => (green, Some(blue)),
        green => (blue, green),
    }
}

/// The pool of a baseline at fixed addresses, where the file has one.
pub fn baseline(service: &Service) -> Option<Pool> {
    let addresses = service.control.addresses().to_vec();
    (!addresses.is_empty()).then(|| PoolSpec::Addresses(addresses).pool())
}

/// The state to save when `promoted` serves from now on: empty where the file calls it blue.
pub fn running(service: &Service, promoted: &Pool) -> Vec<String> {
    let ids: Vec<String> = promoted.backends.iter().map(|b| b.id.clone()).collect();
    if shares(&service.blue.pool(), &ids) {
        vec![]
    } else {
        ids
    }
}

/// Whether the file names the serving version; a pool that lost or gained a backend is still the same.
pub fn names(service: &Service, running: &[String]) -> bool {
    let (blue, _) = pools(service, running);
    if !matches!(service.blue, PoolSpec::Addresses(_)) {
        return true; // Containers are looked for, and may come and go.
    }
    running.is_empty() || shares(&blue, running)
}

fn shares(pool: &Pool, ids: &[String]) -> bool {
    pool.backends
        .iter()
        .any(|backend| ids.contains(&backend.id))
}

//! Pools of fixed addresses: two sets, of which one serves while the next version is put on the other.

use crate::config::Service;
use crate::core::table::Pool;

/// Blue and green of a service: after an odd number of promotions the configured `green` is the one that runs.
pub fn pools(service: &Service, swapped: bool) -> (Pool, Option<Pool>) {
    let configured_blue = service.blue.pool();
    match (&service.green, swapped) {
        (Some(green), true) => (green.pool(), Some(configured_blue)),
        (green, _) => (configured_blue, green.as_ref().map(|spec| spec.pool())),
    }
}

/// The ids that `swapped` is about: with other addresses in the file it means nothing any more.
pub fn ids(service: &Service) -> Vec<String> {
    let (blue, green) = pools(service, false);
    let green = green.unwrap_or_default();
    blue.backends
        .into_iter()
        .chain(green.backends)
        .map(|backend| backend.id)
        .collect()
}

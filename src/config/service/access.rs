//! How much of the Docker engine a service needs.

use crate::config::process::docker::{Access, Need};
use crate::config::service::Service;
use crate::config::service::pools::PoolSpec;
use crate::config::service::smoke::SmokeCheck;

/// The access to the engine that a service needs.
pub(crate) fn need(service: &Service) -> Need<'_> {
    Need {
        service: &service.name,
        least: least(service),
        usual: usual(service),
    }
}

/// The least access that a service needs.
fn least(service: &Service) -> Access {
    if service.smoke.iter().any(SmokeCheck::is_in_docker) {
        return Access::Manage;
    }
    match (&service.blue, &service.green) {
        (_, Some(PoolSpec::Image(_))) => Access::Manage,
        (PoolSpec::Containers(_), _) => Access::Discover,
        _ => Access::RouteOnly,
    }
}

/// The default access of a service: with containers and no green, `run --image` creates one.
fn usual(service: &Service) -> Access {
    match (&service.blue, &service.green) {
        // Swarm creates the containers of its services itself.
        (PoolSpec::Containers(blue), None) if !blue.is_swarm() => Access::Manage,
        _ => least(service),
    }
}

//! From a service's settings to the policy of its judge.

use crate::config::service::Service;
use crate::core::judge::{Policy, Unit};
use crate::core::probes::halved;

impl Service {
    /// The policy of the judge of users' requests: where probes are judged beside it, each has half of the accepted
    /// chance of a false rollback.
    pub fn policy(&self) -> Policy {
        let mut policy = self.judgement.policy();
        if self.confirm.is_zero() {
            policy.fair_share = 0.0;
        }
        if self.sticky.is_some() {
            policy.unit = Unit::Users;
            // Requests of a pinned user come together: a route that fails for one user must not convict.
            policy.routes_share = 0.0;
        }
        match self.probes {
            Some(_) => halved(&policy),
            None => policy,
        }
    }
}

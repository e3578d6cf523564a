//! Where a request goes, and why: the only place where that is decided.
//!
//! [`Gateway`](crate::proxy::request::gateway::Gateway) acts on it, `shifter route` prints it.

use crate::config::Then;
use crate::core::table::Color;
use crate::core::time::Time;
use crate::core::users::Caller;
use crate::proxy::routing::connection_memory::Visit;
use crate::proxy::routing::failover::{self, UpstreamRef};
use crate::proxy::routing::router;
use crate::proxy::routing::rules;
use crate::proxy::routing::snapshot::Service;
use crate::proxy::routing::sticky::{Assignment, Pin};
use crate::proxy::routing::unjudged;
use pingora::http::RequestHeader;

/// The routing decision about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What decided.
    pub by: DecidedBy,
    /// The pool that the request is meant for.
    pub color: Color,
    /// The pool that serves it: a different one only while green's share is withheld.
    pub serves: Color,
    /// The key that selects the member of a pool that the client stays on, where it does.
    pub home: Option<u64>,
    /// The backend; `None` when none can take the request. It is of the other pool when this one
    /// has none available.
    pub spot: Option<UpstreamRef>,
    /// The baseline has the request, for blue.
    pub baseline: bool,
    /// Whether the other pool must not answer instead.
    pub strict: bool,
    /// A rule that matches and was skipped.
    pub passed: Option<(usize, RuleSkipped)>,
    /// The entry of `unjudged` that matches; not looked for where the weight does not decide.
    pub unjudged: Option<usize>,
}

/// What decides where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// The preview header with its token.
    Preview,
    /// The rule at this index.
    Rule(usize),
    /// The weight and the caller's assignment: what the judge looks at.
    Weight(Assignment),
}

/// Why a rule that matches does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleSkipped {
    /// Green has no share, and the rule is not `early`.
    NoShare,
    /// Its pool has no backend that could answer.
    Nobody,
}

impl Decision {
    /// Whether the judge may count the request: clients that chose for themselves are no sample,
    /// and requests that the configuration calls unjudged are left out.
    pub fn counts(&self) -> bool {
        matches!(self.by, DecidedBy::Weight(_)) && self.unjudged.is_none()
    }

    /// The caller of the request, for the judge; `pin` is the service's.
    pub fn caller(&self, pin: &Pin) -> Caller {
        match (self.by, pin) {
            (DecidedBy::Weight(_), Pin::None) | (DecidedBy::Preview | DecidedBy::Rule(_), _) => {
                Caller::Anybody
            }
            (DecidedBy::Weight(place), _) if place.known => Caller::Pinned(place.point),
            (DecidedBy::Weight(_), _) => Caller::Newcomer,
        }
    }

    /// The assignment to tell the caller in a cookie.
    pub fn tell(&self) -> Option<Assignment> {
        match self.by {
            DecidedBy::Weight(place) => place.tell.then_some(place),
            DecidedBy::Preview | DecidedBy::Rule(_) => None,
        }
    }
}

/// Decides where a request of a service goes; `visit` is what its connection remembers.
pub fn decide(
    service: &Service,
    request: &RequestHeader,
    visit: Option<Visit<'_>>,
    now: Time,
) -> Decision {
    let asked =
        |preview: &crate::proxy::routing::snapshot::Preview| preview.asked(&request.headers);
    if service.preview.as_ref().is_some_and(asked)
        && let home = service.line.home(&request.headers)
        && let Some(spot) = failover::within(service, Color::Green, home, now)
    {
        return Decision {
            by: DecidedBy::Preview,
            color: Color::Green,
            serves: Color::Green,
            home,
            spot: Some(spot),
            baseline: false,
            strict: false,
            passed: None,
            unjudged: None,
        };
    }
    let mut passed = None;
    if let Some(at) = rules::first(&service.rules, request) {
        match by_rule(service, at, request, now) {
            Ok(decision) => return decision,
            Err(hindrance) => passed = Some((at, hindrance)),
        }
    }
    let place = service.line.place(&request.headers, visit);
    let share = service
        .ramp
        .map_or(service.weight, |ramp| ramp.at(service.weight, now));
    let color = router::color(share, place.point);
    let serves = service.serves(color);
    let compared = color == Color::Blue && service.on_baseline(share, place.point);
    let baseline = compared
        .then(|| failover::on_baseline(service, place.home, now))
        .flatten();
    Decision {
        by: DecidedBy::Weight(place),
        color,
        serves,
        home: place.home,
        spot: baseline.or_else(|| failover::first(service, serves, place.home, now)),
        baseline: baseline.is_some(),
        strict: false,
        passed,
        unjudged: unjudged::first(&service.unjudged, request),
    }
}

fn by_rule(
    service: &Service,
    at: usize,
    request: &RequestHeader,
    now: Time,
) -> Result<Decision, RuleSkipped> {
    let rule = &service.rules[at];
    let color = match rule.then {
        Then::Pool(color) => color,
        Then::Weight(weight) => router::color(weight, service.line.point_of(&request.headers)),
    };
    // When green loses its share, it also loses the requests that rules sent there.
    if color == Color::Green && service.weight.as_basis_points() == 0 && !rule.early {
        return Err(RuleSkipped::NoShare);
    }
    // A request that only green may answer, or that sees green before users do, stays there.
    let serves = match rule.strict || rule.early {
        true => color,
        false => service.serves(color),
    };
    let home = service.line.home(&request.headers);
    let spot = failover::within(service, serves, home, now);
    if spot.is_none() && !rule.strict {
        return Err(RuleSkipped::Nobody);
    }
    Ok(Decision {
        by: DecidedBy::Rule(at),
        color,
        serves,
        home,
        spot,
        baseline: false,
        strict: rule.strict,
        passed: None,
        unjudged: None,
    })
}

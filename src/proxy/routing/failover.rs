//! Which backend takes a request: one of the chosen pool if it can, else one of the other pool.

use crate::core::table::Color;
use crate::core::time::Time;
use crate::proxy::routing::affinity;
use crate::proxy::routing::load_balancer;
use crate::proxy::routing::snapshot::Service;
use crate::proxy::routing::snapshot::Upstream;

/// A member of one pool of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamRef {
    /// The pool.
    pub color: Color,
    /// The index of the member in it.
    pub member: usize,
}

/// The backend for a request of this colour, or of the other one when this one has none.
///
/// `home` is the key that selects the member that the client stays on, where it does.
pub fn first(service: &Service, color: Color, home: Option<u64>, now: Time) -> Option<UpstreamRef> {
    of(service, color, None, home, now)
        .or_else(|| elsewhere(service, color, home, now))
        .or_else(|| doubted(service, color))
}

/// The baseline's backend for a request of blue's; `None` when blue's own pool has to stand in.
pub fn on_baseline(service: &Service, home: Option<u64>, now: Time) -> Option<UpstreamRef> {
    let (members, before) = service.baseline();
    let at = one(members, None, home, now)?;
    let member = members.get(at)?;
    member.state.usable(now).then_some(UpstreamRef {
        color: Color::Blue,
        member: before + at,
    })
}

/// A backend of this pool and no other, whatever its share; `None` when no member can take a
/// request.
pub fn within(
    service: &Service,
    color: Color,
    home: Option<u64>,
    now: Time,
) -> Option<UpstreamRef> {
    of(service, color, None, home, now)
}

/// The backend for a request that `failed` could not take: another one of the same pool, else one
/// of the other pool, unless the request is `strict`.
pub fn second(
    service: &Service,
    failed: UpstreamRef,
    strict: bool,
    home: Option<u64>,
    now: Time,
) -> Option<UpstreamRef> {
    let other = || elsewhere(service, failed.color, home, now).filter(|_| !strict);
    of(service, failed.color, Some(failed.member), home, now).or_else(other)
}

/// A member with an address that may be another backend's by now, while the container engine is
/// silent. Only earlier connections are used on it (`identity::NoNewConnection`); an answer on one
/// shows that it is still the same.
fn doubted(service: &Service, color: Color) -> Option<UpstreamRef> {
    load_balancer::pick_doubted(service.own(color)).map(|member| UpstreamRef { color, member })
}

fn of(
    service: &Service,
    color: Color,
    not: Option<usize>,
    home: Option<u64>,
    now: Time,
) -> Option<UpstreamRef> {
    one(service.own(color), not, home, now).map(|member| UpstreamRef { color, member })
}

fn one(members: &[Upstream], not: Option<usize>, home: Option<u64>, now: Time) -> Option<usize> {
    match home {
        Some(home) => affinity::member(members, home, not, now),
        None => load_balancer::pick(members, not, now),
    }
}

fn elsewhere(service: &Service, color: Color, home: Option<u64>, now: Time) -> Option<UpstreamRef> {
    let other = color.other();
    // A green without a share takes no traffic, whatever happens to blue.
    let allowed = other == Color::Blue || service.weight.as_basis_points() > 0;
    allowed
        .then(|| of(service, other, None, home, now))
        .flatten()
}

//! The member of a pool that a client stays on while that member lives.
//!
//! Rendezvous hashing (Thaler and Ravishankar 1998): each member has a number for each client, and
//! the highest has the client. Nothing is remembered, all processes agree, and the loss of a member
//! moves its own clients only; a new member takes its share from each of the others.

use crate::core::time::Time;
use crate::core::weight::salted;
use crate::proxy::routing::snapshot::Upstream;
use crate::store::shared_state::Health;

/// The index of the member that the client with this `home` stays on, but not `not`; `None` when no
/// member can take a request.
///
/// Members that were ejected for failed requests are left out unless all others are down.
pub(in crate::proxy) fn member(
    members: &[Upstream],
    home: u64,
    not: Option<usize>,
    now: Time,
) -> Option<usize> {
    let takes = |member: &Upstream| member.state.usable(now);
    let last_resort =
        |member: &Upstream| member.state.health() != Health::Down && !member.state.doubted();
    highest(members, home, not, takes).or_else(|| highest(members, home, not, last_resort))
}

fn highest(
    members: &[Upstream],
    home: u64,
    not: Option<usize>,
    takes: impl Fn(&Upstream) -> bool,
) -> Option<usize> {
    let user = salted(home, 1);
    (0..members.len())
        .filter(|&at| Some(at) != not && takes(&members[at]))
        .max_by_key(|&at| salted(user, members[at].peer.group_key))
}

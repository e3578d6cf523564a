//! Counts of one pool's users in one second, where users are pinned.
//!
//! Chance divides *users* then, not requests: repeated requests of one user are no new evidence about the versions. So
//! the counts here count each user once. A user is a point of the line 0..10,000; users with the same point are one.

use serde::{Deserialize, Serialize};

/// The user that a request belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Caller {
    /// The service does not pin users: chance places each request.
    #[default]
    Anybody,
    /// Users are pinned, and this request carries no pin: chance places it now.
    Newcomer,
    /// A pinned user at this point of the line.
    Pinned(u16),
}

/// Counts of requests that chance placed one by one, or with at most one per user and second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// Requests that ended in this second and count.
    pub requests: u64,
    /// Failed requests, of those in `requests`.
    pub failed: u64,
    /// Requests that started in the second now finalised and did not fail.
    pub timed: u64,
    /// Requests in `timed` above the FAIL limit of each level.
    pub slow_fail: [u64; 3],
    /// Requests in `timed` above the PASS limit of each level.
    pub slow_pass: [u64; 3],
}

/// Pinned users that were divided by the same draw: within such a group every user is equally likely to be on green.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Points of the line that are of this pool and group and had not failed in this share before this second.
    pub at_risk: u64,
    /// Points in `at_risk` that failed in this second.
    pub failed: u64,
    /// Users that were found slow or not slow for the first time in this share.
    pub timed: u64,
    /// Users in `timed` that were slow at each level.
    pub slow: [u64; 3],
}

/// One pool's users over one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserTick {
    /// One request per second of each pinned user, the first that it began, and all of newcomers.
    pub one: Sample,
    /// Newcomers' requests only.
    pub fresh: Sample,
    /// Pinned users with their first request to this pool in this rollout.
    pub active: u64,
    /// Users never counted before in this rollout, then those counted on blue in the share before.
    pub groups: [Group; 2],
}

/// Number of timed requests of a user before it counts as slow or not: each user has its own number, drawn
/// from these.
pub const LOOKS: [u32; 4] = [1, 2, 4, 8];

/// Number of requests above the limit of a level, of `looks` requests of one user, that make a slow user: as many as
/// blue has above its own quantile on average, and at least one.
pub const fn slow_from(level: usize, looks: u32) -> u32 {
    // Percentage of requests above p50, p90, p99.
    let above: [u32; 3] = [50, 10, 1];
    let needed = (looks * above[level]).div_ceil(100);
    if needed == 0 { 1 } else { needed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_user_is_slow_half_of_the_time_at_the_median_and_once_at_the_tail() {
        let table = |level| LOOKS.map(|looks| slow_from(level, looks));
        assert_eq!(table(0), [1, 1, 2, 4]);
        assert_eq!(table(1), [1, 1, 1, 1]);
        assert_eq!(table(2), [1, 1, 1, 1]);
    }
}

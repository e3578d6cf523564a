//! What one pool's users did in one second, where users are pinned.
//!
//! Chance divides *users* then, not requests: what one user does again says nothing new about the versions. So the
//! counts here give each user one voice. A user is a point of the line 0..10,000; users who share a point are one.

use serde::{Deserialize, Serialize};

/// Whose request it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Caller {
    /// Nobody is pinned here: chance places each request.
    #[default]
    Anybody,
    /// Users are pinned, and this request says of none who it is from: chance places it now.
    Newcomer,
    /// A pinned user at this point of the line.
    Pinned(u16),
}

/// Counts of requests that chance placed one by one, or of which each user has one a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// Requests that ended in this second and count.
    pub requests: u64,
    /// Of these, the failed ones.
    pub failed: u64,
    /// Requests that started in the second now finalised and did not fail.
    pub timed: u64,
    /// Of `timed`, those above the FAIL limit of each level.
    pub slow_fail: [u64; 3],
    /// Of `timed`, those above the PASS limit of each level.
    pub slow_pass: [u64; 3],
}

/// Pinned users who were divided by the same draw: within such a group every user is as likely to be on green.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Points of the line that are of this pool and group and had not failed in this share before this second.
    pub at_risk: u64,
    /// Of these, the ones that failed in this second.
    pub failed: u64,
    /// Users whose requests were slow or not for the first time in this share.
    pub timed: u64,
    /// Of `timed`, the ones slow at each level.
    pub slow: [u64; 3],
}

/// One pool's users over one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserTick {
    /// One request a second of each pinned user, the first that it began, and all of newcomers.
    pub one: Sample,
    /// Newcomers' requests alone.
    pub fresh: Sample,
    /// Pinned users who asked this pool for the first time in this rollout.
    pub active: u64,
    /// Users never counted before in this rollout, then those counted on blue in the share before.
    pub groups: [Group; 2],
}

/// How many timed requests of a user are looked at before it is called slow or not: the user's own number, drawn
/// from these.
pub const LOOKS: [u32; 4] = [1, 2, 4, 8];

/// Of `looks` requests of one user, so many above the limit of a level make a slow user: as many as blue's own
/// quantile has above it on average, and at least one.
pub const fn slow_from(level: usize, looks: u32) -> u32 {
    // Percent of requests that lie above p50, p90, p99.
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

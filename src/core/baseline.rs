//! The baseline: a fresh copy of blue's release beside green, with as large a share as green.
//!
//! A pool with few requests is colder than one with many, so in a small share a version differs from itself.
//! Kayenta and Netflix therefore compare a canary with a fresh copy of the old version that has the canary's share.
//!
//! - **Colours stay two.** Users of the baseline are users of blue: blue's release serves them, their cookie says blue.
//!   The routing table gives blue a second pool and a range of the line; requests with a point in that range go there.
//! - **Latency is compared with the baseline alone**: blue's latency sample of a second is that of the baseline, and
//!   limits are frozen from the baseline's own times, because blue's pool is warmer than either.
//! - **Everything else counts both as blue**: failures, the harm cap, outages, blue's past. How warm a copy is says little
//!   of failures; the larger blue is, the better its rate is known, and users of the baseline are blue's users. A baseline
//!   that fails is no hiding place for green: it is at most two fifths of the line, and one that is down has no share.
//!
//! **Why the comparison stays valid**: a point of the line is drawn by chance, and whether it lies in `0..w` or in
//! `w..2w` depends only on its rank below `2w`. Given the requests of both copies in a second and the number of slow
//! ones, a green that is no slower has a random part of the slow ones, as it has beside blue's whole pool.
//! Blocks of newcomers are shuffled as a whole, so their restriction to the places below `2w` is a shuffle too.
//! Limits that are frozen a second time depend on the past only, as the first ones do.

use crate::core::weight::Weight;
use serde::{Deserialize, Serialize};

/// Green's largest share beside which the baseline has one as large: a fifth is left for blue's own pool.
const EQUAL_MAX: u16 = 4_000;

/// Green's share from which on there is no baseline: blue's own pool then has no more than green, and is a fair control.
/// Two parts of it would each be colder than green.
const FAIR: u16 = 5_000;

/// The places of the line that are the baseline's: a range of blue's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    from: u16,
    below: u16,
}

impl Places {
    /// The places beside a green with this share; `None` where no baseline is possible.
    pub const fn beside(green: Weight) -> Option<Places> {
        let from = green.as_basis_points();
        let width = match from {
            0 | FAIR.. => return None,
            1..=EQUAL_MAX => from,
            _ => (Weight::FULL - from) / 2,
        };
        Some(Places {
            from,
            below: from + width,
        })
    }

    /// Whether a point of the line is in this range.
    pub const fn cover(self, point: u16) -> bool {
        self.from <= point && point < self.below
    }

    /// The share of new requests that this range gets.
    pub fn share(self) -> Weight {
        Weight::basis_points(self.below - self.from).unwrap_or(Weight::NONE)
    }
}

/// The state of a rollout's baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// There is none: it is not wanted, or no longer.
    #[default]
    Absent,
    /// It is being started; green waits for it.
    Starting,
    /// It serves.
    Serving,
    /// It could not be started, or was lost: the rollout goes on without.
    Lost,
}

impl Standing {
    /// Whether there is a baseline to remove.
    pub const fn present(self) -> bool {
        matches!(self, Standing::Starting | Standing::Serving)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(points: u16) -> Option<u16> {
        let green = Weight::basis_points(points)?;
        Some(Places::beside(green)?.share().as_basis_points())
    }

    #[test]
    fn the_share_is_greens_until_two_fifths_and_half_of_the_rest_until_a_half() {
        for (green, baseline) in [
            (0, None),
            (1, Some(1)),
            (500, Some(500)),
            (4_000, Some(4_000)),
            (4_001, Some(2_999)),
            (4_999, Some(2_500)),
            (5_000, None),
            (9_500, None),
            (10_000, None),
        ] {
            assert_eq!(share(green), baseline, "{green}");
        }
    }

    #[test]
    fn no_place_is_greens_and_the_baselines_and_blue_keeps_a_fifth() {
        for points in 0..=Weight::FULL {
            let green = Weight::basis_points(points).unwrap();
            let places = Places::beside(green);
            let at = |point| places.is_some_and(|places| places.cover(point));
            let both = (0..Weight::FULL).filter(|&point| at(point) && green.covers(point));
            assert_eq!(both.count(), 0, "{green}");
            let share = places.map_or(0, |places| places.share().as_basis_points());
            if points.is_multiple_of(97) {
                let many = (0..Weight::FULL).filter(|&point| at(point)).count();
                assert_eq!(many, usize::from(share), "{green}");
            }
            if points < FAIR {
                assert!(
                    Weight::FULL - points - share >= 2_000,
                    "{green}: blue's own"
                );
            }
        }
    }
}

//! Green's share of new requests, and a client's position on the line that the share cuts.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Green's share in basis points: 0 is none, 10 000 is all. Blue takes the rest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "u16", into = "u16")]
pub struct Weight(u16);

impl Weight {
    /// No request reaches green.
    pub const NONE: Weight = Weight(0);
    /// Every new request reaches green.
    pub const ALL: Weight = Weight(Self::FULL);
    /// Basis points of the whole line.
    pub const FULL: u16 = 10_000;

    /// A share in basis points, or `None` above 10 000.
    pub const fn basis_points(points: u16) -> Option<Weight> {
        if points <= Self::FULL {
            Some(Weight(points))
        } else {
            None
        }
    }

    /// A share in whole percent, or `None` above 100.
    pub const fn percent(percent: u16) -> Option<Weight> {
        if percent <= 100 {
            Some(Weight(percent * 100))
        } else {
            None
        }
    }

    /// A share in percent that may have two decimals (`0.25`), or `None` outside 0..=100.
    pub fn from_percent(percent: f64) -> Option<Weight> {
        (percent.is_finite() && (0.0..=100.0).contains(&percent))
            .then(|| Weight((percent * 100.0).round() as u16))
    }

    /// The share in basis points.
    pub const fn as_basis_points(self) -> u16 {
        self.0
    }

    /// The share as a ratio, 0 to 1.
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / f64::from(Self::FULL)
    }

    /// Blue's share.
    pub const fn rest(self) -> Weight {
        Weight(Self::FULL - self.0)
    }

    /// Whether a client at the stable position `point` (0..10 000) belongs to green.
    ///
    /// Raising the weight never moves a client off green: the comparison is monotone.
    pub const fn covers(self, point: u16) -> bool {
        point < self.0
    }
}

impl TryFrom<u16> for Weight {
    type Error = String;

    fn try_from(points: u16) -> Result<Weight, String> {
        Weight::basis_points(points)
            .ok_or_else(|| format!("weight {points} is above 10000 basis points"))
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> u16 {
        weight.0
    }
}

impl fmt::Display for Weight {
    /// Percent with no more decimals than needed: `5%`, `0.25%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        match part {
            0 => write!(f, "{whole}%"),
            _ if part % 10 == 0 => write!(f, "{whole}.{}%", part / 10),
            _ => write!(f, "{whole}.{part:02}%"),
        }
    }
}

/// A client's fixed position on the line 0..10 000, from any well-mixed hash of its key.
pub const fn point(hash: u64) -> u16 {
    (((hash >> 32) * Weight::FULL as u64) >> 32) as u16
}

/// Mixes a salt into a key's hash, so that the same users are not the canaries of every release.
///
/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit.
pub const fn salted(hash: u64, salt: u64) -> u64 {
    let mut x = hash ^ salt.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_the_weight_never_moves_a_caller_off_green() {
        for at in 0..10_000 {
            assert!(!Weight::NONE.covers(at), "0 % covers nobody");
            assert!(Weight::ALL.covers(at), "100 % covers everybody");
            let mut on_green = false;
            for percent in 0..=100 {
                let covered = Weight::percent(percent).unwrap().covers(at);
                assert!(covered || !on_green);
                on_green = covered;
            }
        }
    }

    #[test]
    fn a_hash_lands_on_every_part_of_the_line() {
        assert_eq!(point(0), 0);
        assert_eq!(point(u64::MAX), 9_999);
    }

    #[test]
    fn weights_print_without_needless_decimals() {
        let shown = |p| Weight::basis_points(p).unwrap().to_string();
        assert_eq!(
            [shown(500), shown(25), shown(10_000), shown(1_250)],
            ["5%", "0.25%", "100%", "12.5%"]
        );
        assert_eq!(Weight::from_percent(0.25), Weight::basis_points(25));
        assert_eq!(Weight::from_percent(100.1), None);
        assert_eq!(Weight::from_percent(f64::NAN), None);
    }
}

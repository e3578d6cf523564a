//! The point of the line for a cookie's seat in this release: a permutation keyed by the release's salt.
//!
//! A rotation would keep neighbours together: users that an earlier release put side by side (its canaries, and
//! harmed as such) would then all fall on one version of the next. A keyed permutation scatters them, so that the
//! versions of any two users are as good as independent. It is a Feistel network on 100 x 100 seats (Luby and
//! Rackoff 1988; Black and Rogaway 2002 for such small sets) with the mixer of
//! [`crate::core::weight::salted`] as round function: statistically mixed, not secret.

use crate::core::weight::salted;

/// A seat is two digits to this base: `BASE * BASE` is [`crate::core::weight::Weight::FULL`].
const BASE: u64 = 100;

/// Four rounds are enough for a strong permutation; each costs about two nanoseconds.
const ROUNDS: u64 = 6;

const fn mixed(round: u64, digit: u64, salt: u64) -> u64 {
    let hash = salted(((round + 1) << 32) | digit, salt);
    ((hash >> 32) * BASE) >> 32
}

/// The point of a seat; both are 0..10,000.
pub const fn point(seat: u16, salt: u64) -> u16 {
    let (mut a, mut b) = (seat as u64 / BASE % BASE, seat as u64 % BASE);
    let mut round = 0;
    while round < ROUNDS {
        (a, b) = (b, (a + mixed(round, b, salt)) % BASE);
        round += 1;
    }
    (a * BASE + b) as u16
}

/// The seat of a point: the inverse of [`point`].
pub const fn seat(point: u16, salt: u64) -> u16 {
    let (mut a, mut b) = (point as u64 / BASE % BASE, point as u64 % BASE);
    let mut round = ROUNDS;
    while round > 0 {
        round -= 1;
        (a, b) = ((b + BASE - mixed(round, a, salt)) % BASE, a);
    }
    (a * BASE + b) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seat_has_one_point_and_comes_back() {
        for salt in [0, 1, 7, u64::MAX] {
            let mut taken = vec![false; 10_000];
            for at in 0..10_000 {
                let point = point(at, salt);
                assert!(!std::mem::replace(&mut taken[usize::from(point)], true));
                assert_eq!(seat(point, salt), at, "salt {salt}");
            }
        }
    }

    /// The canaries of one release are spread over the next one randomly.
    #[test]
    fn neighbours_are_scattered() {
        let releases = 2_000u64;
        let (mut sum, mut squares, mut pairs) = (0.0, 0.0, 0u64);
        for salt in 0..releases {
            let salt = salted(salt, 99);
            let on_green = |seat: u16| point(seat, salt) < 500;
            let green = (0..500).filter(|&seat| on_green(seat)).count() as f64;
            (sum, squares) = (sum + green, squares + green * green);
            pairs += u64::from(on_green(17) && on_green(18));
        }
        let mean = sum / releases as f64;
        let variance = squares / releases as f64 - mean * mean;
        // Hypergeometric: 500 of 10,000 drawn, 500 of them marked.
        assert!((mean - 25.0).abs() < 0.6, "{mean}");
        assert!((variance / 22.56 - 1.0).abs() < 0.2, "{variance}");
        assert!(pairs < 20, "{pairs} of 2,000: chance gives 5");
    }
}

//! One user who tries again and again is one piece of evidence.
//!
//! The judge's evidence rests on chance: each request falls on green or blue by itself. A sticky user's
//! requests do not, so ten failures of one user in a row say hardly more than the first.

use crate::core::table::Color;
use crate::core::time::Time;
use crate::core::weight::Weight;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// So many seconds one failure of a user speaks for those that follow.
const SPAN: u32 = 10;

/// When the users of each seat last failed in a way that counted.
///
/// 80 kB, made with the first failure of a sticky user; only failures touch it. Users who share one of the
/// 10,000 seats are taken for one.
#[derive(Debug, Default)]
pub struct Repeats {
    /// Seconds of the process's clock and one; 0 for never. Blue's seats, then green's.
    seats: OnceLock<Box<[AtomicU32]>>,
}

impl Repeats {
    /// Whether a failure at this seat (a point of the line, 0..10,000) is a repeat; if not, it is remembered.
    pub fn repeated(&self, color: Color, seat: u16, now: Time) -> bool {
        let full = usize::from(Weight::FULL);
        let seats = self
            .seats
            .get_or_init(|| (0..2 * full).map(|_| AtomicU32::new(0)).collect());
        let Some(last) = seats.get(color.index() * full + usize::from(seat) % full) else {
            return false;
        };
        let second = u32::try_from(now.0 / 1000).unwrap_or(u32::MAX - 1) + 1;
        let before = last.load(Relaxed);
        if before > 0 && second < before.saturating_add(SPAN) {
            return true;
        }
        // Of two at once one counts.
        last.compare_exchange(before, second, Relaxed, Relaxed)
            .is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_in_ten_seconds_counts_for_each_seat_and_pool() {
        let repeats = Repeats::default();
        let at = |second: u64| Time(second * 1000);
        let counted = |color, seat, second| !repeats.repeated(color, seat, at(second));
        assert!(counted(Color::Green, 7, 0), "the first, even at the start");
        assert!(!counted(Color::Green, 7, 0));
        assert!(!counted(Color::Green, 7, 9));
        assert!(counted(Color::Green, 7, 10), "ten seconds later");
        assert!(
            !counted(Color::Green, 7, 19),
            "counted from the one that counted"
        );
        assert!(counted(Color::Green, 8, 19), "somebody else");
        assert!(counted(Color::Blue, 7, 19), "in the other pool");
        assert!(
            counted(Color::Blue, u16::MAX, 19),
            "no seat is out of range"
        );
    }
}

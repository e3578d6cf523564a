//! Counts of pinned users, each counted once: first requests, first failures and first slowness in a share.
//!
//! Chance divides users, so only a user's first event may be counted: only that is decided by its version alone. A user
//! is a point of the line; users with the same point are one here. The counts hold under three rules:
//!
//! - **Once in a share.** A user's first failure counts, and whether it was slow counts once, after a number of timed
//!   requests that depends on its point ([`LOOKS`]); the number is a hash of the point and a secret, so it is
//!   independent of the version.
//! - **Groups.** A user that was counted on one version is no longer equally likely to be on either. Raising the weight
//!   from `v` to `w` leaves users of green where they were: users counted there are never counted again in this
//!   rollout. Users counted on blue in the share just before lie somewhere above `v`, like all of that group, and are
//!   compared within it. All others that were never counted are as good as shuffled over the rest of the line. Users
//!   counted earlier and not in the share before are left out: that group would be of several draws.
//! - **Newcomers apart.** A request without a user is placed by itself. Its user comes back pinned and is
//!   counted there again, so the two are never multiplied with each other (see the judge).
//!
//! The counts are lost with the process, and so is the judge's evidence.

use crate::core::baseline::Places;
use crate::core::table::{Color, Route};
use crate::core::users::{Group, LOOKS, slow_from};
use crate::core::weight::{Weight, salted};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

const POINTS: usize = Weight::FULL as usize;

/// The bit of [`Cell::counts`] that is set when a failure of this user was counted in this share.
const FAILED: u32 = 1 << 31;

/// Bits for each of the numbers in [`Cell::counts`]: timed requests, then slow ones at each level. They stop at 8
/// and a few more when threads race.
const BITS: u32 = 5;

const MASK: u32 = (1 << BITS) - 1;

/// The counts of one point in this share.
#[derive(Debug, Default)]
struct Cell {
    /// Second plus one of the last request that counted for this user; 0 before the first.
    asked: AtomicU32,
    /// Second plus one in which the oldest request without a result began; 0 for none.
    waits: AtomicU32,
    /// [`FAILED`], the number of timed requests, and the number of slow ones at each level.
    counts: AtomicU32,
}

/// The group of a point, for failures or for latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Known {
    /// Never counted in this rollout.
    #[default]
    Never,
    /// Counted on blue in the share before.
    OnBlue,
    /// Counted otherwise: it is no new evidence.
    Spent,
}

impl Known {
    const fn group(self) -> Option<usize> {
        match self {
            Known::Never => Some(0),
            Known::OnBlue => Some(1),
            Known::Spent => None,
        }
    }

    /// The group in the next share: counted or not in this one, on this version.
    const fn then(self, counted: bool, color: Color) -> Known {
        match (counted, color, self) {
            (false, _, Known::Never) => Known::Never,
            (true, Color::Blue, Known::Never | Known::OnBlue) => Known::OnBlue,
            _ => Known::Spent,
        }
    }

    /// Drops the group counted on blue before a share that is not larger than the last one: the two shares imply
    /// different places of such a user.
    fn shrunk(&mut self) {
        if *self == Known::OnBlue {
            *self = Known::Spent;
        }
    }
}

/// What earlier shares of the rollout showed of one point.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    failures: Known,
    latency: Known,
    /// The version of its last request.
    asked: Option<Color>,
}

/// Counters of one pool that the reader empties each second.
#[derive(Debug, Default)]
struct Tally {
    active: AtomicU64,
    failed: [AtomicU64; 2],
    timed: [AtomicU64; 2],
    slow: [[AtomicU64; 3]; 2],
    /// Points at risk of a first failure, by group.
    left: [AtomicU64; 2],
}

/// The users of one share of one service.
///
/// About 150 kB, allocated with the first request of a sticky user; a request of such a user touches one cell of it.
#[derive(Debug)]
pub struct Users {
    rollout: u64,
    mark: u64,
    weight: u16,
    /// The places of a baseline: then green's latency is compared with its users alone.
    places: Option<Places>,
    /// Green's share when users were last divided before this share.
    divided_at: u16,
    key: u64,
    past: Option<Box<[Past]>>,
    cells: OnceLock<Box<[Cell]>>,
    tally: [Tally; 2],
    /// Whether latency is counted.
    times: AtomicBool,
}

impl Default for Users {
    fn default() -> Users {
        Users::new(0, 0, 0, 0, None)
    }
}

impl Users {
    /// The users under an entry of the table, following those of the entry before.
    pub fn under(route: &Route, before: Option<&Arc<Users>>) -> Arc<Users> {
        let weight = route.weight.as_basis_points();
        let key = route.salt.rotate_left(17) ^ route.mark;
        match before.filter(|before| before.rollout == route.rollout) {
            Some(before) if before.mark == route.mark && before.weight == weight => before.clone(),
            before => {
                let (rollout, mark) = (route.rollout, route.mark);
                let before = before.map(|before| &**before);
                let places = route.places(route.weight);
                let users = Users::new(rollout, mark, weight, key, before);
                Arc::new(Users { places, ..users })
            }
        }
    }

    fn new(rollout: u64, mark: u64, weight: u16, key: u64, before: Option<&Users>) -> Users {
        let times = before.is_some_and(|before| before.times.load(Relaxed));
        let users = Users {
            rollout,
            mark,
            weight,
            places: None,
            divided_at: before.map_or(0, Users::last_divided),
            key,
            past: before.and_then(|before| before.known(weight)),
            cells: OnceLock::new(),
            tally: Default::default(),
            times: AtomicBool::new(times),
        };
        for point in 0..if users.divided() { Weight::FULL } else { 0 } {
            if let Some(group) = users.past(point).failures.group() {
                users.tally[users.color(point).index()].left[group].fetch_add(1, Relaxed);
            }
        }
        users
    }

    fn last_divided(&self) -> u16 {
        if self.divided() {
            self.weight
        } else {
            self.divided_at
        }
    }

    /// What the next share of the rollout must know; `None` where no user was counted.
    fn known(&self, weight: u16) -> Option<Box<[Past]>> {
        let mut known = match self.cells.get() {
            Some(cells) => self.counted(cells),
            None => self.past.clone()?,
        };
        if weight <= self.last_divided() {
            for past in known.iter_mut() {
                past.failures.shrunk();
                past.latency.shrunk();
            }
        }
        Some(known)
    }

    fn counted(&self, cells: &[Cell]) -> Box<[Past]> {
        let known = |(point, cell): (u16, &Cell)| {
            let (past, color) = (self.past(point), self.color(point));
            let counts = cell.counts.load(Relaxed);
            let asked = cell.asked.load(Relaxed) > 0;
            Past {
                failures: past.failures.then(counts & FAILED > 0, color),
                latency: past.latency.then(counts & MASK >= self.looks(point), color),
                asked: if asked { Some(color) } else { past.asked },
            }
        };
        (0..).zip(cells).map(known).collect()
    }

    /// Whether both versions have a share: otherwise chance divides no users.
    pub fn divided(&self) -> bool {
        0 < self.weight && self.weight < Weight::FULL
    }

    /// Turns the counting of latency on or off.
    pub fn time(&self, times: bool) {
        self.times.store(times, Relaxed);
    }

    fn past(&self, point: u16) -> Past {
        let past = self.past.as_ref();
        past.and_then(|past| past.get(usize::from(point)).copied())
            .unwrap_or_default()
    }

    const fn color(&self, point: u16) -> Color {
        if point < self.weight {
            Color::Green
        } else {
            Color::Blue
        }
    }

    /// Whether this user's latency is compared: not blue's beside a baseline, unless it is the baseline's.
    pub fn compares(&self, point: u16) -> bool {
        let all = self.color(point) == Color::Green;
        all || self.places.is_none_or(|places| places.cover(point))
    }

    /// The number of timed requests of this user before it counts as slow or not.
    fn looks(&self, point: u16) -> u32 {
        LOOKS[salted(u64::from(point), self.key) as usize % LOOKS.len()]
    }

    fn cell(&self, point: u16) -> Option<&Cell> {
        let make = || (0..POINTS).map(|_| Cell::default()).collect();
        self.cells.get_or_init(make).get(usize::from(point))
    }

    /// Begins a request of this user; returns whether it counts for the user in this second.
    pub fn begins(&self, point: u16, second: u64) -> bool {
        let Some(cell) = self.cell(point) else {
            return false;
        };
        let stamp = u32::try_from(second).unwrap_or(u32::MAX - 1) + 1;
        if cell.waits.load(Relaxed) == 0 {
            cell.waits.store(stamp, Relaxed);
        }
        if cell.asked.load(Relaxed) == stamp {
            return false;
        }
        let before = cell.asked.swap(stamp, Relaxed);
        let color = self.color(point);
        if before == 0 && self.past(point).asked != Some(color) {
            self.tally[color.index()].active.fetch_add(1, Relaxed);
        }
        before != stamp
    }

    /// An answer came while there are no limits to compare its time with.
    pub fn heard(&self, point: u16) {
        if let Some(cell) = self.cell(point) {
            cell.waits.store(0, Relaxed);
        }
    }

    /// An answer came, slow or not at each level.
    pub fn answered(&self, point: u16, slow: [bool; 3]) {
        let Some(cell) = self.cell(point) else { return };
        cell.waits.store(0, Relaxed);
        self.timed(point, cell, slow);
    }

    fn timed(&self, point: u16, cell: &Cell, slow: [bool; 3]) {
        let looks = self.looks(point);
        if !self.times.load(Relaxed) || cell.counts.load(Relaxed) & MASK >= looks {
            return;
        }
        let levels = (1..).zip(slow);
        let one = levels.fold(1, |sum, (at, slow)| sum + (u32::from(slow) << (BITS * at)));
        let counts = cell.counts.fetch_add(one, Relaxed).wrapping_add(one);
        let Some(group) = self.past(point).latency.group() else {
            return;
        };
        // Users of blue's own pool are sampled as well, so that in the next share "not sampled before" means the same
        // for every user.
        if counts & MASK != looks || !self.compares(point) {
            return;
        }
        let tally = &self.tally[self.color(point).index()];
        tally.timed[group].fetch_add(1, Relaxed);
        for (level, sum) in tally.slow[group].iter().enumerate() {
            let above = counts >> (BITS * (level as u32 + 1)) & MASK;
            if above >= slow_from(level, looks) {
                sum.fetch_add(1, Relaxed);
            }
        }
    }

    /// A request ended, failed or not.
    pub fn ended(&self, point: u16, failed: bool) {
        let Some(cell) = self.cell(point) else { return };
        if cell.waits.load(Relaxed) > 0 {
            cell.waits.store(0, Relaxed);
        }
        if !failed || cell.counts.load(Relaxed) & FAILED > 0 {
            return;
        }
        if cell.counts.fetch_or(FAILED, Relaxed) & FAILED > 0 {
            return;
        }
        if let Some(group) = self.past(point).failures.group() {
            self.tally[self.color(point).index()].failed[group].fetch_add(1, Relaxed);
        }
    }

    /// Counts a request without a result in time as slow, at every level.
    fn overdue(&self, second: u64, patience: u64) {
        let Some(cells) = self.cells.get().filter(|_| self.times.load(Relaxed)) else {
            return;
        };
        let Some(late) = second.checked_sub(patience) else {
            return;
        };
        for (point, cell) in (0..).zip(cells) {
            let waits = cell.waits.load(Relaxed);
            if waits > 0 && u64::from(waits) <= late {
                cell.waits.store(0, Relaxed);
                self.timed(point, cell, [true; 3]);
            }
        }
    }

    /// The counts since the last call, at this second; a request that has waited longer than `patience`
    /// seconds is slow. Blue's, then green's: users with their first request, and both groups.
    pub fn read(&self, second: u64, patience: Option<u64>) -> [(u64, [Group; 2]); 2] {
        if let Some(patience) = patience {
            self.overdue(second, patience);
        }
        let take = |counter: &AtomicU64| counter.swap(0, Relaxed);
        self.tally.each_ref().map(|tally| {
            let group = |at: usize| {
                let failed = take(&tally.failed[at]);
                let at_risk = tally.left[at].load(Relaxed);
                tally.left[at].store(at_risk.saturating_sub(failed), Relaxed);
                Group {
                    at_risk,
                    failed,
                    timed: take(&tally.timed[at]),
                    slow: tally.slow[at].each_ref().map(take),
                }
            };
            (take(&tally.active), [group(0), group(1)])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(weight: u16) -> Users {
        let users = Users::new(1, 1, weight, 7, None);
        users.time(true);
        users
    }

    fn next(users: &Users, weight: u16) -> Users {
        Users::new(1, 2, weight, 8, Some(users))
    }

    fn failed(users: &Users) -> [[u64; 2]; 2] {
        let of = |(_, groups): (u64, [Group; 2])| groups.map(|group| group.failed);
        users.read(0, None).map(of)
    }

    #[test]
    fn a_user_fails_once_in_a_share() {
        let users = share(5_000);
        for point in [7, 7, 8, 7, 5_000] {
            assert!(users.begins(point, 3) || point == 7);
            users.ended(point, true);
        }
        users.ended(u16::MAX, true);
        let [(blue, [a, _]), (green, [b, _])] = users.read(4, None);
        assert_eq!((blue, green), (1, 2));
        assert_eq!(
            (a.at_risk, a.failed, b.at_risk, b.failed),
            (5_000, 1, 5_000, 2)
        );
        users.ended(7, true);
        let [(_, [a, _]), (_, [b, _])] = users.read(5, None);
        assert_eq!(
            (a.at_risk, a.failed, b.at_risk, b.failed),
            (4_999, 0, 4_998, 0)
        );
    }

    #[test]
    fn beside_a_baseline_users_of_blue_s_own_pool_are_looked_at_and_not_compared() {
        let slow = |users: &Users, point: u16| {
            for _ in 0..8 {
                users.answered(point, [true; 3]);
            }
        };
        let timed = |users: &Users| {
            users
                .read(0, None)
                .map(|(_, groups)| groups.map(|one| one.timed))
        };
        let five = Weight::percent(5).unwrap();
        let first = Users {
            places: Places::beside(five),
            ..share(500)
        };
        // Green's, the baseline's first and last place, and blue's own pool's.
        for point in [1, 500, 999, 1_000, 9_000] {
            slow(&first, point);
        }
        assert_eq!(timed(&first), [[2, 0], [1, 0]]);
        // A sampled user is of the group of blue's users in the next share, wherever it was.
        let second = next(&first, 5_000);
        second.time(true);
        for point in [2, 500, 1_000, 9_000, 9_001] {
            slow(&second, point);
        }
        assert_eq!(timed(&second), [[1, 1], [1, 2]]);
    }

    #[test]
    fn one_request_a_second_speaks_for_a_user() {
        let users = share(500);
        assert!(users.begins(3, 0));
        assert!(!users.begins(3, 0));
        assert!(users.begins(3, 1));
        assert!(users.begins(4, 1));
        assert!(!users.begins(u16::MAX, 1), "no point is out of range");
    }

    #[test]
    fn after_a_raise_green_s_users_are_spent_and_blue_s_are_a_group_of_their_own() {
        let users = share(500);
        for point in [1, 600, 601, 9_000] {
            users.begins(point, 0);
            users.ended(point, true);
        }
        let second = next(&users, 5_000);
        let [(_, blue), (_, green)] = second.read(0, None);
        // 1 is spent; 600 and 601 are on green now, 9,000 is still on blue.
        assert_eq!(green.map(|group| group.at_risk), [4_997, 2]);
        assert_eq!(blue.map(|group| group.at_risk), [4_999, 1]);
        for point in [1, 600, 9_000, 2] {
            second.begins(point, 0);
            second.ended(point, true);
        }
        assert_eq!(failed(&second), [[0, 1], [1, 1]]);
        let third = next(&second, 9_500);
        for point in [1, 600, 601, 2, 9_000, 9_600] {
            third.ended(point, true);
        }
        // 600 and 2 were counted on green; 601 not since the first share; 9,000 on blue, now on green.
        assert_eq!(failed(&third), [[1, 0], [0, 1]]);
    }

    #[test]
    fn a_share_that_is_not_larger_compares_only_who_was_never_counted() {
        let users = share(5_000);
        for point in [1, 6_000] {
            users.ended(point, true);
        }
        let all = next(&users, Weight::FULL);
        assert!(!all.divided());
        let third = next(&all, 2_500);
        let [(_, blue), (_, green)] = third.read(0, None);
        assert_eq!(green.map(|group| group.at_risk), [2_499, 0]);
        assert_eq!(blue.map(|group| group.at_risk), [7_499, 0]);
    }

    #[test]
    fn who_asks_is_counted_once_on_each_version() {
        let users = share(500);
        for point in [1, 600, 9_000] {
            users.begins(point, 0);
        }
        let active = |users: &Users| users.read(0, None).map(|(active, _)| active);
        assert_eq!(active(&users), [2, 1]);
        let second = next(&users, 5_000);
        for point in [1, 600, 9_000, 2] {
            second.begins(point, 0);
        }
        assert_eq!(active(&second), [0, 2], "600 is new to green, as is 2");
    }

    #[test]
    fn a_user_is_slow_or_not_once_after_its_number_of_requests() {
        let users = share(5_000);
        let mut seen = [0; 4];
        for point in 0..1_000 {
            let looks = users.looks(point);
            seen[LOOKS.iter().position(|&known| known == looks).unwrap()] += 1;
            for request in 0..20 {
                // The first half of them are slow at the median.
                users.answered(point, [2 * request < looks, false, request == 0]);
                let [_, (_, [group, _])] = users.read(0, None);
                assert_eq!(group.timed, u64::from(request + 1 == looks), "{looks}");
                assert_eq!(group.slow, if group.timed > 0 { [1, 0, 1] } else { [0; 3] });
            }
        }
        assert!(seen.iter().all(|&times| times > 190), "{seen:?}");
        let second = next(&users, 6_000);
        for _ in 0..20 {
            second.answered(3, [true; 3]);
        }
        assert_eq!(
            second.read(0, None)[1].1[0].timed,
            0,
            "it is green's for good"
        );
    }

    #[test]
    fn what_nothing_comes_of_is_slow_and_before_the_grace_nothing_is() {
        let users = share(5_000);
        let point = (0..).find(|&point| users.looks(point) == 1).unwrap();
        users.begins(point, 10);
        assert_eq!(users.read(12, Some(2))[1].1[0].timed, 0);
        let group = users.read(13, Some(2))[1].1[0];
        assert_eq!((group.timed, group.slow), (1, [1; 3]));
        let users = Users::new(1, 1, 5_000, 7, None);
        users.begins(point, 10);
        users.answered(point, [true; 3]);
        assert_eq!(users.read(20, Some(2))[1].1[0].timed, 0);
        users.time(true);
        users.answered(point, [true; 3]);
        assert_eq!(users.read(20, Some(2))[1].1[0].timed, 1);
    }

    #[test]
    fn no_user_is_counted_twice_by_threads_at_once() {
        let users = share(5_000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..20_000u16 {
                        let point = n % 100;
                        users.begins(point, 5);
                        users.answered(point, [true, false, false]);
                        users.ended(point, true);
                    }
                });
            }
        });
        let [_, (active, [group, _])] = users.read(6, Some(3));
        assert_eq!((active, group.failed, group.at_risk), (100, 100, 5_000));
        assert_eq!((group.timed, group.slow), (100, [100, 0, 0]));
    }
}

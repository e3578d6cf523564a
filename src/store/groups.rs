//! Requests and failures by route group, counted on the request path without an allocation for each request.
//!
//! A group gets one of [`SLOTS`] places with its first request, whatever its outcome and its pool: so which groups are
//! counted separately depends on traffic alone. When all places are taken, further groups are counted together. Clients
//! choose the paths, so a place may be taken by nonsense: the window of the next share keeps the busier half of the
//! places and frees the others.

use crate::core::fault::{route, route_number};
use crate::core::monitors::{self, KNOWN, Sample};
use crate::core::routes::{OTHERS, RouteCounts};
use crate::core::table::Color;
use std::array::from_fn;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Number of groups that are counted separately; a power of two.
pub(super) const SLOTS: usize = 128;

/// Number of neighbouring places where a group may be.
const PROBES: usize = 16;

/// Number of groups that a new window takes over.
const KEPT: usize = SLOTS / 2;

/// One of this many requests of a thread has its agent sampled.
const SAMPLED: u32 = 16;

/// A group's place. The last one is for all groups without a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u8);

impl Slot {
    /// The number of the place.
    pub(super) fn at(self) -> usize {
        usize::from(self.0)
    }
}

const REST: Slot = Slot(SLOTS as u8);

impl Slot {
    /// The index in an array of all places, [`SLOTS`] for the last one.
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One thread's counters of both pools: requests in the lower half of each, failures in the upper one.
#[derive(Debug)]
#[repr(align(128))]
struct Lane([[AtomicU64; SLOTS + 1]; 2]);

/// The counters of one window.
#[derive(Debug)]
pub struct Groups {
    /// Hashes of the groups ([`route_number`]); 0 where a place is free.
    keys: [AtomicU64; SLOTS],
    names: [OnceLock<Box<str>>; SLOTS],
    lanes: Box<[Lane]>,
    /// Requests that were read, for the next window. Only the reader writes here.
    total: [AtomicU64; SLOTS],
    looked: AtomicU32,
    agents: [AtomicU32; KNOWN.len()],
    asked: [AtomicU8; KNOWN.len()],
}

impl Groups {
    /// Counters for `lanes` threads, with the busier groups of the window before in their places.
    pub fn new(lanes: usize, before: Option<&Groups>) -> Groups {
        let zeros = || from_fn(|_| AtomicU64::new(0));
        let groups = Groups {
            keys: zeros(),
            names: from_fn(|_| OnceLock::new()),
            lanes: (0..lanes.max(1))
                .map(|_| Lane(from_fn(|_| from_fn(|_| AtomicU64::new(0)))))
                .collect(),
            total: zeros(),
            looked: AtomicU32::new(0),
            agents: from_fn(|_| AtomicU32::new(0)),
            asked: from_fn(|_| AtomicU8::new(REST.0)),
        };
        if let Some(before) = before {
            groups.take_over(before);
        }
        groups
    }

    /// Slots of groups with requests, those with most first.
    pub(super) fn busiest(&self) -> Vec<usize> {
        let total = |at: usize| self.total[at].load(Relaxed);
        let mut busy: Vec<usize> = (0..SLOTS).filter(|&at| total(at) > 0).collect();
        // Equally busy groups are ordered by their hashes, which are spread: neighbours would leave new groups no place
        // nearby.
        let number = |at: usize| self.keys[at].load(Relaxed);
        busy.sort_by_key(|&at| (std::cmp::Reverse(total(at)), number(at)));
        busy
    }

    /// The name of a slot's group.
    pub(super) fn named(&self, at: usize) -> Option<&str> {
        self.names.get(at)?.get().map(|name| &**name)
    }

    fn take_over(&self, before: &Groups) {
        let total = |at: usize| before.total[at].load(Relaxed);
        for at in before.busiest().into_iter().take(KEPT) {
            let (key, name) = (before.keys[at].load(Relaxed), before.names[at].get());
            if let (Some(Slot(slot)), Some(name)) =
                (self.find(key, || name.cloned().unwrap_or_default()), name)
            {
                let slot = usize::from(slot);
                // Groups that were busy long ago lose their place after a few shares.
                self.total[slot].store(total(at) / 2, Relaxed);
                debug_assert_eq!(self.names[slot].get(), Some(name));
            }
        }
    }

    /// The place of a request's group.
    pub fn place(&self, method: &str, path: &str) -> Slot {
        let name = || route(method, path).into_boxed_str();
        self.find(route_number(method, path), name).unwrap_or(REST)
    }

    fn find(&self, key: u64, name: impl FnOnce() -> Box<str>) -> Option<Slot> {
        for probe in 0..PROBES {
            let at = (key as usize).wrapping_add(probe) % SLOTS;
            let mut there = self.keys[at].load(Relaxed);
            if there == 0 {
                match self.keys[at].compare_exchange(0, key, Relaxed, Relaxed) {
                    Ok(_) => {
                        let _ = self.names[at].set(name());
                        return Some(Slot(at as u8));
                    }
                    // Another thread was quicker, perhaps with the same group.
                    Err(taken) => there = taken,
                }
            }
            if there == key {
                return Some(Slot(at as u8));
            }
        }
        None
    }

    /// Counts a request that has ended, on a thread's lane.
    pub fn count(&self, lane: usize, color: Color, slot: Slot, failed: bool) {
        let one = 1 | u64::from(failed) << 32;
        let lane = &self.lanes[lane % self.lanes.len()].0[color.index()];
        lane[usize::from(slot.0)].fetch_add(one, Relaxed);
    }

    /// Whether this thread is to sample the agent of this request.
    pub fn samples() -> bool {
        thread_local!(static NEXT: Cell<u32> = const { Cell::new(0) });
        let turn = NEXT.with(|next| next.replace(next.get().wrapping_add(1)));
        turn.is_multiple_of(SAMPLED)
    }

    /// Samples the agent of a request of this group.
    pub fn sample(&self, slot: Slot, agent: &[u8]) {
        self.looked.fetch_add(1, Relaxed);
        if let Some(at) = monitors::known(agent) {
            self.agents[at].fetch_add(1, Relaxed);
            self.asked[at].store(slot.0, Relaxed);
        }
    }

    /// The name of the group in a place.
    pub(super) fn name(&self, at: usize) -> &str {
        let name = self.names.get(at).and_then(OnceLock::get);
        name.map_or(OTHERS, |name| name)
    }

    /// The counts since the last call. There is one reader.
    pub fn read(&self) -> Vec<RouteCounts> {
        let mut counted: Vec<RouteCounts> = vec![];
        let mut others = [[0; 2]; 2];
        for at in 0..=SLOTS {
            if at < SLOTS && self.keys[at].load(Relaxed) == 0 {
                continue;
            }
            let counts = Color::BOTH.map(|color| self.take(at, color));
            let requests = counts[0][0] + counts[1][0];
            if requests == 0 {
                continue;
            }
            match self.names.get(at).and_then(OnceLock::get) {
                Some(name) => {
                    self.total[at].fetch_add(requests, Relaxed);
                    counted.push(RouteCounts {
                        route: name.to_string(),
                        counts,
                    });
                }
                // Also for a group that is being named right now.
                None => {
                    for (sum, more) in others.iter_mut().flatten().zip(counts.iter().flatten()) {
                        *sum += more;
                    }
                }
            }
        }
        if others != [[0; 2]; 2] {
            counted.push(RouteCounts {
                route: OTHERS.to_owned(),
                counts: others,
            });
        }
        counted
    }

    fn take(&self, at: usize, color: Color) -> [u64; 2] {
        self.lanes.iter().fold([0; 2], |[requests, failed], lane| {
            let counter = &lane.0[color.index()][at];
            // Most counters are 0 most of the time: look before taking the cache line.
            let both = match counter.load(Relaxed) {
                0 => 0,
                _ => counter.swap(0, Relaxed),
            };
            [
                requests + (both & u64::from(u32::MAX)),
                failed + (both >> 32),
            ]
        })
    }

    /// The samples since the last call.
    pub fn read_sample(&self) -> Sample {
        let mut sample = Sample {
            all: u64::from(self.looked.swap(0, Relaxed)),
            ..Sample::default()
        };
        if sample.all == 0 {
            return sample;
        }
        for (at, agent) in self.agents.iter().enumerate() {
            if agent.load(Relaxed) > 0 {
                sample.agents[at] = u64::from(agent.swap(0, Relaxed));
                let slot = usize::from(self.asked[at].load(Relaxed));
                let name = self.names.get(slot).and_then(OnceLock::get);
                sample.asked[at] = name.map(|name| name.to_string());
            }
        }
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(groups: &Groups, color: Color, path: &str, times: u64, failed: bool) {
        for _ in 0..times {
            groups.count(0, color, groups.place("GET", path), failed);
        }
    }

    #[test]
    fn requests_are_counted_by_group_pool_and_outcome_and_read_once() {
        let groups = Groups::new(2, None);
        count(&groups, Color::Blue, "/users/1", 3, false);
        count(&groups, Color::Green, "/users/2", 2, true);
        groups.count(1, Color::Green, groups.place("POST", "/users/2"), false);
        let mut read = groups.read();
        read.sort_by(|a, b| a.route.cmp(&b.route));
        let seen: Vec<_> = read
            .iter()
            .map(|one| (one.route.as_str(), one.counts))
            .collect();
        assert_eq!(
            seen,
            [
                ("GET /users/{id}", [[3, 0], [2, 2]]),
                ("POST /users/{id}", [[0, 0], [1, 0]])
            ]
        );
        assert_eq!(groups.read(), []);
    }

    #[test]
    fn however_many_paths_are_asked_none_is_lost_and_few_are_named() {
        let groups = Groups::new(1, None);
        for n in 0..10_000 {
            count(&groups, Color::Blue, &format!("/{n:x}x"), 1, n % 10 == 0);
        }
        let read = groups.read();
        assert!(
            read.len() <= SLOTS + 1 && read.len() > SLOTS / 2,
            "{}",
            read.len()
        );
        let sum = |at: usize| read.iter().map(|one| one.counts[0][at]).sum::<u64>();
        assert_eq!((sum(0), sum(1)), (10_000, 1_000));
        assert_eq!(read.last().map(|one| one.route.as_str()), Some(OTHERS));
    }

    #[test]
    fn the_next_window_keeps_the_busy_groups_and_forgets_nonsense() {
        let groups = Groups::new(1, None);
        for n in 0..10_000 {
            count(&groups, Color::Blue, &format!("/{n:x}x"), 1, false);
        }
        let before = groups.read();
        let busy: Vec<_> = before.iter().take(3).map(|one| one.route.clone()).collect();
        for route in &busy {
            count(
                &groups,
                Color::Green,
                route.trim_start_matches("GET "),
                5,
                true,
            );
        }
        groups.read();
        let next = Groups::new(1, Some(&groups));
        assert_eq!(next.read(), [], "counts are of one window");
        count(&next, Color::Blue, "/fresh", 1, false);
        for route in &busy {
            count(
                &next,
                Color::Blue,
                route.trim_start_matches("GET "),
                1,
                false,
            );
        }
        let mut named: Vec<_> = next.read().into_iter().map(|one| one.route).collect();
        named.sort();
        let mut expected: Vec<_> = busy.into_iter().chain(["GET /fresh".to_owned()]).collect();
        expected.sort();
        assert_eq!(named, expected);
    }

    #[test]
    fn threads_that_bring_one_group_at_once_share_its_place() {
        let groups = Groups::new(4, None);
        std::thread::scope(|scope| {
            for lane in 0..4 {
                let groups = &groups;
                scope.spawn(move || {
                    for n in 0..1_000 {
                        let slot = groups.place("GET", &format!("/page{}", n % 7));
                        groups.count(lane, Color::Green, slot, n % 2 == 0);
                    }
                });
            }
        });
        let read = groups.read();
        assert_eq!(read.len(), 7);
        let all: u64 = read.iter().map(|one| one.counts[1][0]).sum();
        assert_eq!(all, 4_000);
    }

    #[test]
    fn a_monitor_is_sampled_with_what_it_asks_for() {
        let groups = Groups::new(1, None);
        let slot = groups.place("GET", "/up");
        for _ in 0..5 {
            groups.sample(slot, b"kube-probe/1.29");
            groups.sample(slot, b"curl/8");
        }
        let sample = groups.read_sample();
        let at = monitors::known(b"kube-probe/1.29").unwrap();
        assert_eq!((sample.all, sample.agents[at]), (10, 5));
        assert_eq!(sample.asked[at].as_deref(), Some("GET /up"));
        assert_eq!(groups.read_sample(), Sample::default());
    }
}

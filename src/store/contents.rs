//! Counts of answers by size and content type, by route group and pool, while green has users.
//!
//! The [`PLACES`] groups with most requests under the window before have places; free places go to the next groups
//! that come. A place has all buckets of sizes and up to [`TYPES`] content types. All of it is allocated once for a
//! window; counting allocates only for the name of a content type that is new to its group.

use crate::core::contents::{
    ContentCounts, SIZES, TYPE_MAX, TYPES, UNTYPED, media_type, size_bucket,
};
use crate::core::fault::number;
use crate::core::table::Color;
use crate::store::groups::{Groups, SLOTS, Slot};
use crate::store::window::{RequestToken, SHARDS, Window, thread_shard};
use std::array::from_fn;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Number of groups that are counted.
const PLACES: usize = 20;

/// The place of a group that came when all places were taken.
const NONE: u8 = u8::MAX;

/// Number of categories: answers without a type, of the named types, and of all others.
const KINDS: usize = TYPES + 2;

/// One thread's counters of both pools: sizes, then types.
#[derive(Debug)]
#[repr(align(128))]
struct Lane([[[AtomicU32; SIZES + KINDS]; PLACES]; 2]);

/// The content types of one group.
#[derive(Debug)]
struct Types {
    /// Hashes of the names; 0 where a place is free.
    keys: [AtomicU64; TYPES],
    names: [OnceLock<Box<str>>; TYPES],
}

/// The counters of one window.
#[derive(Debug)]
pub struct Contents {
    /// A slot's place plus 1; 0 where it has none yet.
    places: [AtomicU8; SLOTS],
    taken: AtomicU8,
    types: [Types; PLACES],
    lanes: Box<[Lane]>,
}

impl Contents {
    /// Counters for `lanes` threads; the busiest groups have places.
    pub fn new(lanes: usize, groups: &Groups) -> Contents {
        let zeros = || from_fn(|_| AtomicU32::new(0));
        let contents = Contents {
            places: from_fn(|_| AtomicU8::new(0)),
            taken: AtomicU8::new(0),
            types: from_fn(|_| Types {
                keys: from_fn(|_| AtomicU64::new(0)),
                names: from_fn(|_| OnceLock::new()),
            }),
            lanes: (0..lanes.max(1))
                .map(|_| Lane(from_fn(|_| from_fn(|_| zeros()))))
                .collect(),
        };
        for slot in groups.busiest().into_iter().take(PLACES) {
            contents.place(slot);
        }
        contents
    }

    fn place(&self, slot: usize) -> Option<usize> {
        // The slot for all other groups has no place: it is no group.
        let place = self.places.get(slot)?;
        let known = match place.load(Relaxed) {
            0 if usize::from(self.taken.load(Relaxed)) >= PLACES => NONE,
            0 => {
                let fresh = self.taken.fetch_add(1, Relaxed) + 1;
                let fresh = if usize::from(fresh) > PLACES {
                    NONE
                } else {
                    fresh
                };
                // Another thread may have been quicker: then one place stays empty.
                let set = place.compare_exchange(0, fresh, Relaxed, Relaxed);
                set.map_or_else(|there| there, |_| fresh)
            }
            known => known,
        };
        (known != NONE).then(|| usize::from(known) - 1)
    }

    /// Counts a whole answer with a body of `bytes` bytes and this `Content-Type`, on a thread's lane.
    pub fn count(&self, lane: usize, color: Color, slot: Slot, bytes: u64, kind: &[u8]) {
        let Some(place) = self.place(slot.at()) else {
            return;
        };
        let lane = &self.lanes[lane % self.lanes.len()].0[color.index()][place];
        lane[size_bucket(bytes)].fetch_add(1, Relaxed);
        lane[SIZES + self.types[place].kind(kind)].fetch_add(1, Relaxed);
    }

    /// The counts since the last call. There is one reader.
    pub fn read(&self, groups: &Groups) -> Vec<ContentCounts> {
        let mut counted = vec![];
        for slot in 0..SLOTS {
            let place = usize::from(self.places[slot].load(Relaxed));
            let (Some(name), 1..=PLACES) = (groups.named(slot), place) else {
                continue;
            };
            counted.extend(self.take(place - 1, name));
        }
        counted
    }

    fn take(&self, place: usize, route: &str) -> Option<ContentCounts> {
        let all = Color::BOTH
            .map(|color| from_fn::<_, { SIZES + KINDS }, _>(|at| self.sum(color, place, at)));
        if all.iter().flatten().all(|count| *count == 0) {
            return None;
        }
        let of = |kind: usize| [0, 1].map(|pool: usize| all[pool][SIZES + kind]);
        let mut counts = ContentCounts {
            route: route.to_owned(),
            sizes: [0, 1].map(|pool: usize| from_fn(|bucket| all[pool][bucket])),
            types: vec![(UNTYPED.to_owned(), of(0))],
            others: of(TYPES + 1),
        };
        for kind in 0..TYPES {
            // A type that is being named right now is counted under its name in the next reading, and among others in
            // this one.
            match self.types[place].names[kind].get() {
                Some(name) => counts.types.push((name.to_string(), of(kind + 1))),
                None => (0..2).for_each(|pool| counts.others[pool] += of(kind + 1)[pool]),
            }
        }
        counts.types.retain(|(_, counts)| *counts != [0; 2]);
        Some(counts)
    }

    fn sum(&self, color: Color, place: usize, at: usize) -> u64 {
        let counters = self
            .lanes
            .iter()
            .map(|lane| &lane.0[color.index()][place][at]);
        // Most counters are 0 most of the time: look before taking the cache line.
        let some = counters.filter(|counter| counter.load(Relaxed) > 0);
        some.map(|counter| u64::from(counter.swap(0, Relaxed)))
            .sum()
    }
}

impl Window {
    /// Counts the contents of a whole answer, by the route of its request.
    pub fn content(&self, begun: &RequestToken, bytes: u64, kind: &[u8]) {
        let Some(group) = begun.group else { return };
        let fresh = || Box::new(Contents::new(SHARDS, &self.groups));
        let contents = self.contents.get_or_init(fresh);
        contents.count(thread_shard(), begun.color, group, bytes, kind);
    }
}

impl Types {
    /// The index of a type among the counters: 0 for none, the last one for types that are not counted separately.
    fn kind(&self, value: &[u8]) -> usize {
        let mut buffer = [0; TYPE_MAX];
        let name = media_type(value, &mut buffer);
        if name.is_empty() {
            return 0;
        }
        let key = number(name);
        for (at, place) in self.keys.iter().enumerate() {
            let there = match place.load(Relaxed) {
                0 => match place.compare_exchange(0, key, Relaxed, Relaxed) {
                    Ok(_) => {
                        let _ = self.names[at].set(name.into());
                        key
                    }
                    // Another thread was quicker, perhaps with the same type.
                    Err(taken) => taken,
                },
                there => there,
            };
            if there == key {
                return at + 1;
            }
        }
        TYPES + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(
        contents: &Contents,
        groups: &Groups,
        color: Color,
        path: &str,
        bytes: u64,
        kind: &str,
    ) {
        let slot = groups.place("GET", path);
        contents.count(0, color, slot, bytes, kind.as_bytes());
    }

    #[test]
    fn answers_are_counted_by_group_pool_size_and_type_and_read_once() {
        let groups = Groups::new(2, None);
        let contents = Contents::new(2, &groups);
        let html = "text/html; charset=utf-8";
        count(&contents, &groups, Color::Blue, "/", 3_000, html);
        count(&contents, &groups, Color::Blue, "/", 2_048, "TEXT/HTML");
        count(&contents, &groups, Color::Green, "/", 0, "");
        contents.count(
            1,
            Color::Green,
            groups.place("GET", "/"),
            0,
            b"application/json",
        );
        let read = contents.read(&groups);
        let mut sizes = [[0; SIZES]; 2];
        (sizes[0][8], sizes[1][0]) = (2, 2);
        let name = |name: &str, counts| (name.to_owned(), counts);
        let types = vec![
            name("", [0, 1]),
            name("text/html", [2, 0]),
            name("application/json", [0, 1]),
        ];
        let expected = ContentCounts {
            route: "GET /".to_owned(),
            sizes,
            types,
            others: [0; 2],
        };
        assert_eq!(read, [expected]);
        assert_eq!(contents.read(&groups), []);
    }

    #[test]
    fn the_busiest_groups_have_places_and_memory_is_bounded_whatever_is_asked() {
        let before = Groups::new(1, None);
        for n in 0..60u32 {
            for _ in 0..=n {
                before.count(
                    0,
                    Color::Blue,
                    before.place("GET", &format!("/{n:x}x")),
                    false,
                );
            }
        }
        before.read();
        let groups = Groups::new(1, Some(&before));
        let contents = Contents::new(1, &groups);
        for n in 0..60u32 {
            count(&contents, &groups, Color::Blue, &format!("/{n:x}x"), 9, "");
        }
        let mut read: Vec<_> = contents
            .read(&groups)
            .into_iter()
            .map(|one| one.route)
            .collect();
        read.sort();
        let mut busy: Vec<_> = (40..60u32).map(|n| format!("GET /{n:x}x")).collect();
        busy.sort();
        assert_eq!(read, busy);
    }

    #[test]
    fn types_beyond_the_first_are_counted_together() {
        let groups = Groups::new(1, None);
        let contents = Contents::new(1, &groups);
        for n in 0..TYPES + 3 {
            count(&contents, &groups, Color::Blue, "/", 9, &format!("a/{n}"));
        }
        let read = contents.read(&groups);
        assert_eq!((read[0].types.len(), read[0].others), (TYPES, [3, 0]));
    }

    #[test]
    fn threads_that_bring_one_group_at_once_lose_no_answer() {
        let groups = Groups::new(4, None);
        let contents = Contents::new(4, &groups);
        std::thread::scope(|scope| {
            for lane in 0..4 {
                let (groups, contents) = (&groups, &contents);
                scope.spawn(move || {
                    for n in 0..1_000u64 {
                        let slot = groups.place("GET", &format!("/page{}", n % 3));
                        contents.count(lane, Color::Green, slot, n, b"text/css");
                    }
                });
            }
        });
        let read = contents.read(&groups);
        let sizes: u64 = read.iter().flat_map(|one| one.sizes[1]).sum();
        let types: u64 = read
            .iter()
            .flat_map(|one| &one.types)
            .map(|(_, counts)| counts[1])
            .sum();
        assert_eq!((read.len(), sizes, types), (3, 4_000, 4_000));
    }
}

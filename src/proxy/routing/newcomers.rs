//! The newcomers of a service: a counter that its workers share, with the places of the current
//! block beside it.
//!
//! A place is a pure function of the number ([`core::newcomer`](crate::core::newcomer)). Computing
//! a block costs about as much as computing one place of it, so its places are kept: a worker that
//! finds the places of another block computes its own block and writes them. Each word of them says
//! which block it is of, so nothing has to be locked: whatever comes between, a worker reads a word
//! of its own block or computes the block itself.

use crate::core::newcomer::{BLOCK, Places};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Places in one word.
const PART: u64 = 3;

/// Words in a block.
const PARTS: usize = BLOCK.div_ceil(PART) as usize;

/// Bits of a place, which is below 10 000.
const BITS: u64 = 14;

/// Bits of a word that are places; the others say which block they are of. Blocks with equal ones
/// are 2²² apart, and each block between them writes all words.
const PLACES_BITS: u64 = PART * BITS;

/// The next newcomer, under one salt. Counter and places have a cache line of their own: every
/// request writes it.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Newcomers {
    next: AtomicU64,
    parts: [AtomicU64; PARTS],
    salt: u64,
    places: Places,
}

impl Newcomers {
    /// A counter that begins with the `n`-th newcomer of this salt.
    pub fn since(n: u64, salt: u64) -> Newcomers {
        let newcomers = Newcomers {
            next: AtomicU64::new(n),
            parts: Default::default(),
            salt,
            places: Places::new(salt),
        };
        newcomers.deal(n / BLOCK);
        newcomers
    }

    /// The newcomers of a table's next version: the same counter under the same salt, else a new
    /// one that goes on from its count.
    pub fn under(salt: u64, old: Option<&Arc<Newcomers>>) -> Arc<Newcomers> {
        match old {
            Some(old) if old.salt == salt => old.clone(),
            old => Arc::new(Newcomers::since(old.map_or(0, |old| old.counted()), salt)),
        }
    }

    /// The number of newcomers so far.
    pub fn counted(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// The point of the next newcomer, 0..10 000: that of
    /// [`core::newcomer::newcomer`](crate::core::newcomer::newcomer).
    pub fn next(&self) -> u16 {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let (block, at) = (n / BLOCK, n % BLOCK);
        let part = (at / PART) as usize;
        let word = self.parts[part].load(Ordering::Relaxed);
        let word = if word >> PLACES_BITS == tag(block) {
            word
        } else {
            self.deal(block)[part]
        };
        (word >> (BITS * (at % PART))) as u16 & ((1 << BITS) - 1)
    }

    /// Computes a block and writes its places.
    #[cold]
    fn deal(&self, block: u64) -> [u64; PARTS] {
        let mut words = [tag(block) << PLACES_BITS; PARTS];
        for (at, place) in (0..).zip(self.places.block(block)) {
            words[(at / PART) as usize] |= u64::from(place) << (BITS * (at % PART));
        }
        for (part, word) in self.parts.iter().zip(words) {
            part.store(word, Ordering::Relaxed);
        }
        words
    }
}

/// The bits of a block's number that a word has room for.
const fn tag(block: u64) -> u64 {
    block & (u64::MAX >> PLACES_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::newcomer::newcomer;
    use std::collections::BTreeMap;
    use std::thread;

    #[test]
    fn one_after_the_other_they_stand_where_the_chooser_says() {
        for (first, salt) in [
            (0, 0),
            (7, 9),
            (93, u64::MAX),
            (12_345_678_901, 3),
            (u64::MAX - 50, 1),
        ] {
            let newcomers = Newcomers::since(first, salt);
            for more in 0..500 {
                let n = first.wrapping_add(more);
                assert_eq!(newcomers.next(), newcomer(n, salt), "{n} under {salt}");
            }
        }
    }

    #[test]
    fn another_salt_goes_on_counting() {
        let old = Newcomers::under(3, None);
        let points: Vec<u16> = (0..7).map(|_| old.next()).collect();
        assert_eq!(points[6], newcomer(6, 3));
        let kept = Newcomers::under(3, Some(&old));
        assert!(Arc::ptr_eq(&old, &kept));
        let other = Newcomers::under(4, Some(&old));
        assert_eq!((other.counted(), other.next()), (7, newcomer(7, 4)));
    }

    /// A place that is kept of a block is never taken for another block's, however the workers
    /// interleave.
    #[test]
    fn workers_deal_each_place_once() {
        const WORKERS: usize = 4;
        const EACH: usize = 25_000;
        let newcomers = Newcomers::since(0, 7);
        let worker = || (0..EACH).map(|_| newcomers.next()).collect::<Vec<_>>();
        let points = thread::scope(|scope| {
            let all: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
            all.into_iter()
                .flat_map(|one| one.join().unwrap())
                .collect::<Vec<_>>()
        });
        let count = |points: &mut dyn Iterator<Item = u16>| {
            points.fold(BTreeMap::new(), |mut counts, point| {
                *counts.entry(point).or_insert(0) += 1;
                counts
            })
        };
        let alone = count(&mut (0..(WORKERS * EACH) as u64).map(|n| newcomer(n, 7)));
        assert_eq!(count(&mut points.into_iter()), alone);
    }
}

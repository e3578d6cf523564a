//! Times of the baseline's answers: limits are frozen from them, and they are separate from those of blue's own pool.

use crate::core::stats::Histogram;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A histogram that all threads add to.
#[derive(Debug)]
pub(super) struct Times {
    shards: Box<[[AtomicU32; Histogram::BUCKETS]]>,
}

impl Times {
    /// An empty histogram.
    pub(super) fn new(shards: usize) -> Times {
        let empty = || [const { AtomicU32::new(0) }; Histogram::BUCKETS];
        Times {
            shards: (0..shards).map(|_| empty()).collect(),
        }
    }

    /// Counts an answer after `micros` microseconds.
    pub(super) fn add(&self, shard: usize, micros: u64) {
        if let Some(shard) = self.shards.get(shard) {
            shard[Histogram::bucket(micros)].fetch_add(1, Relaxed);
        }
    }

    /// The counts since the last call.
    pub(super) fn take(&self) -> Histogram {
        let mut sum = Histogram::default();
        for (bucket, counter) in self
            .shards
            .iter()
            .flat_map(|shard| shard.iter().enumerate())
        {
            if counter.load(Relaxed) > 0 {
                sum.add(bucket, u64::from(counter.swap(0, Relaxed)));
            }
        }
        sum
    }
}

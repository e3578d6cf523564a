//! The counters of a window: one shard for each thread, so that no two threads write to the same cache line.

use crate::core::stats::Histogram;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Seconds that the ring of latency slots covers: more than twice the longest settling time (10 s).
pub(super) const RING: usize = 32;

/// Number of shards of the counters: more than the worker threads of the machines that this runs on.
pub(super) const SHARDS: usize = 16;

/// Counts of the requests that started in one second.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) started: AtomicU32,
    pub(super) excluded: AtomicU32,
    pub(super) timed: AtomicU32,
    pub(super) slow_fail: [AtomicU32; 3],
    pub(super) slow_pass: [AtomicU32; 3],
    pub(super) slow_slo: [AtomicU32; 3],
    pub(super) slow_gross: AtomicU32,
}

/// The counters of one pool on one thread.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) requests: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) ring: [Slot; RING],
    pub(super) latency: [AtomicU32; Histogram::BUCKETS],
}

impl Default for Shard {
    fn default() -> Shard {
        Shard {
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            ring: Default::default(),
            latency: [const { AtomicU32::new(0) }; Histogram::BUCKETS],
        }
    }
}

/// Both pools' shard of one thread, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Pair(pub(super) [Shard; 2]);

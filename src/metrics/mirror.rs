//! Results of mirrored requests: copies sent to a green that has no users yet.

use crate::core::table::Color;
use crate::metrics::families::Families;
use prometheus::{Counter, IntCounter};
use std::time::Duration;

/// How green's answer to a copy compares with blue's answer to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// Status and length are the same.
    Same,
    /// The status differs.
    Status,
    /// The status is the same, the length differs.
    Length,
    /// Green gave no whole answer in time.
    Failed,
}

impl Compared {
    /// Every result, in the order of the counters.
    const ALL: [Compared; 4] = [
        Compared::Same,
        Compared::Status,
        Compared::Length,
        Compared::Failed,
    ];

    const fn name(self) -> &'static str {
        match self {
            Compared::Same => "same",
            Compared::Status => "status",
            Compared::Length => "length",
            Compared::Failed => "failed",
        }
    }
}

/// The mirror metrics of one service.
pub struct MirrorMetrics {
    compared: [IntCounter; 4],
    /// Copies that were dropped because there was no room.
    pub dropped: IntCounter,
    first_byte: [Counter; 2],
}

impl MirrorMetrics {
    pub(super) fn new(service: &str, families: &Families) -> MirrorMetrics {
        let counted = |result: &str| families.mirrored.with_label_values(&[service, result]);
        let timed = |color: Color| {
            let labels = [service, color.name()];
            families.mirror_first_byte.with_label_values(&labels)
        };
        MirrorMetrics {
            compared: Compared::ALL.map(|result| counted(result.name())),
            dropped: counted("dropped"),
            first_byte: Color::BOTH.map(timed),
        }
    }

    /// Counts a copy, with the times to the first byte of blue's answer and of green's.
    pub fn compared(&self, result: Compared, blue: Duration, green: Option<Duration>) {
        self.compared[result as usize].inc();
        if let (Some(green), true) = (green, result != Compared::Failed) {
            for (sum, time) in self.first_byte.iter().zip([blue, green]) {
                sum.inc_by(time.as_secs_f64());
            }
        }
    }

    /// The counts since the start.
    pub fn counts(&self) -> MirrorCounts {
        let [same, status, length, failed] = [0, 1, 2, 3].map(|at: usize| self.compared[at].get());
        MirrorCounts {
            same,
            status,
            length,
            failed,
            dropped: self.dropped.get(),
            first_byte: [0, 1].map(|at: usize| self.first_byte[at].get()),
        }
    }
}

/// Counts of copies by result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MirrorCounts {
    /// Status and length were the same.
    pub same: u64,
    /// The status differed.
    pub status: u64,
    /// The status was the same, the length differed.
    pub length: u64,
    /// Green gave no whole answer in time.
    pub failed: u64,
    /// Copies that were dropped because there was no room.
    pub dropped: u64,
    /// Seconds to the first byte, summed over all whole answers: blue's and green's.
    pub first_byte: [f64; 2],
}

impl MirrorCounts {
    /// The difference from an earlier count.
    pub fn since(&self, before: &MirrorCounts) -> MirrorCounts {
        MirrorCounts {
            same: self.same.saturating_sub(before.same),
            status: self.status.saturating_sub(before.status),
            length: self.length.saturating_sub(before.length),
            failed: self.failed.saturating_sub(before.failed),
            dropped: self.dropped.saturating_sub(before.dropped),
            first_byte: [0, 1].map(|at: usize| self.first_byte[at] - before.first_byte[at]),
        }
    }

    /// Copies that got a whole answer.
    pub fn answered(&self) -> u64 {
        self.same + self.status + self.length
    }
}

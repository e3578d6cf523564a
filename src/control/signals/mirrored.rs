//! The results of mirrored requests to a green without users: shown while it has none, and reported when it gets its
//! first.

use crate::control::api::view::MirrorView;
use crate::metrics::MirrorCounts;

/// Counts the mirrored requests to one green: the counters of the service go on from one green to the next.
#[derive(Debug, Default)]
pub struct MirrorCounter {
    before: MirrorCounts,
}

impl MirrorCounter {
    /// Drops the counts of earlier greens.
    pub fn restart(&mut self, counts: MirrorCounts) {
        self.before = counts;
    }

    /// The counts of this green; `None` for none.
    pub fn view(&self, counts: &MirrorCounts) -> Option<MirrorView> {
        let counts = counts.since(&self.before);
        (counts != MirrorCounts::default()).then(|| view(&counts))
    }
}

fn view(counts: &MirrorCounts) -> MirrorView {
    let answered = counts.answered();
    let mean = |sum: f64| (answered > 0).then(|| 1_000.0 * sum / answered as f64);
    let [blue_ms, green_ms] = counts.first_byte.map(mean);
    MirrorView {
        same: counts.same,
        other_status: counts.status,
        other_length: counts.length,
        failed: counts.failed,
        dropped: counts.dropped,
        blue_ms,
        green_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_copies_told_is_said_in_one_line() {
        let counts = MirrorCounts {
            same: 1_200,
            status: 30,
            length: 4,
            failed: 2,
            dropped: 7,
            first_byte: [12.34, 24.68],
        };
        let line = view(&counts).line();
        for part in [
            "1,236 requests copied",
            "1,200 answered as by blue",
            "30 with another status",
            "4 with another length",
            "2 not at all",
            "7 more had no room",
            "10.0 ms on blue, 20.0 ms on green",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        let nothing = view(&MirrorCounts::default());
        assert_eq!((nothing.blue_ms, nothing.green_ms), (None, None));
    }

    #[test]
    fn an_earlier_green_does_not_count_for_this_one() {
        let counts = |same| MirrorCounts {
            same,
            ..MirrorCounts::default()
        };
        let mut counter = MirrorCounter::default();
        assert_eq!(counter.view(&counts(0)), None);
        assert_eq!(counter.view(&counts(5)).map(|view| view.same), Some(5));
        counter.restart(counts(5));
        assert_eq!(counter.view(&counts(5)), None, "nothing was sent to it yet");
        assert_eq!(counter.view(&counts(7)).map(|view| view.same), Some(2));
    }
}

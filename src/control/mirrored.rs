//! The results of mirrored requests to a green without users: shown while it has none, and reported when it gets its
//! first.

use crate::control::controller::Controller;
use crate::control::view::MirrorView;
use crate::core::judge::words::grouped;
use crate::metrics::MirrorCounts;
use crate::store::NoteKind;

impl Controller {
    /// Drops the counts of mirrored requests to an earlier green.
    pub(super) fn mirror_anew(&mut self, i: usize) {
        let state = &mut self.services[i];
        state.mirrored_before = self.metrics.service(&state.route.service).mirror.counts();
    }

    /// Writes the results of mirrored requests to the rollout's timeline.
    pub(super) fn tell_mirrored(&mut self, i: usize) {
        let Some(view) = self.mirrored(i) else { return };
        let state = &self.services[i];
        let id = state.run.as_ref().map(|run| run.saved.id);
        let service = state.route.service.clone();
        self.timeline
            .tell(&service, id, NoteKind::Mirror, line(&view));
    }

    /// The counts of mirrored requests to this green; `None` for none.
    pub(super) fn mirrored(&self, i: usize) -> Option<MirrorView> {
        let state = &self.services[i];
        let counts = self.metrics.service(&state.route.service).mirror.counts();
        let counts = counts.since(&state.mirrored_before);
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

/// The counts in one line for people.
pub fn line(view: &MirrorView) -> String {
    let sent = view.same + view.other_status + view.other_length + view.failed;
    let mut line = format!(
        "{} requests copied to green: {} answered as by blue, {} with another status, {} with another length, {} not at all; {} more had no room",
        grouped(sent),
        grouped(view.same),
        grouped(view.other_status),
        grouped(view.other_length),
        grouped(view.failed),
        grouped(view.dropped),
    );
    if let (Some(blue), Some(green)) = (view.blue_ms, view.green_ms) {
        line.push_str(&format!(
            "; first byte after {blue:.1} ms on blue, {green:.1} ms on green (mean, green's on connections of their own)"
        ));
    }
    line
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
        let line = line(&view(&counts));
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
}

//! Reports how green's answers differ from blue's in what is not judged, in sizes and in types.

use crate::control::controller::Controller;
use crate::store::NoteKind;

impl Controller {
    /// Reports each difference once in a rollout.
    pub(super) fn tell_findings(&mut self, i: usize) {
        let state = &mut self.services[i];
        let Some(run) = &mut state.run else { return };
        let (service, id) = (state.route.service.clone(), run.saved.id);
        let others = run.content_findings();
        for text in run.findings().into_iter().chain(others) {
            self.timeline
                .tell(&service, Some(id), NoteKind::Finding, text);
        }
    }
}

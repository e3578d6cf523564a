//! Telling people how green's answers differ from blue's where that is not judged.

use crate::control::controller::Controller;

impl Controller {
    /// Tells each difference once in a rollout.
    pub(super) fn tell_findings(&mut self, i: usize) {
        let ward = &mut self.wards[i];
        let Some(run) = &mut ward.run else { return };
        let (service, id) = (ward.route.service.clone(), run.saved.id);
        for text in run.findings() {
            self.ledger.tell(&service, Some(id), "finding", text);
        }
    }
}

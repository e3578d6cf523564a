//! Drills: their start and their end.

use crate::control::api::command::{CommandError, CommandOutcome};
use crate::control::api::drill::Drill;
use crate::control::api::message::Reply;
use crate::control::controller::Controller;
use crate::core::weight::Weight;
use crate::store::NoteKind;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

impl Controller {
    /// Whether a drill of this service is under way.
    pub(super) fn is_drilled(&self, service: &str) -> bool {
        let mut drills = self.drills.iter();
        drills.any(|(drill, _)| drill.service == service)
    }

    pub(super) fn order_drill(&mut self, i: usize, reply: Reply) {
        let state = &self.services[i];
        if let Some(run) = &state.run {
            let busy = CommandError::Busy {
                service: state.route.service.clone(),
                rollout: run.saved.id,
            };
            let _ = reply.send(Err(busy));
            return;
        }
        let service = state.route.service.clone();
        if self.is_drilled(&service) {
            let _ = reply.send(Err(CommandError::NotNow("a drill is under way".to_owned())));
            return;
        }
        let state = &mut self.services[i];
        state.route.green = Some(state.route.blue.clone());
        state.route.weight = Weight::ALL;
        state.route.mark += 1;
        let asked = Instant::now();
        self.publish();
        self.drills.push((Drill::new(service, asked), reply));
    }

    pub(super) fn advance_drills(&mut self) {
        let drills = std::mem::take(&mut self.drills);
        for (drill, reply) in drills {
            let snapshot = self.board.snapshot();
            let service = drill.service.clone();
            let at = self.service_named(&service);
            let (Some(published), Some(i)) = (snapshot.service(&service), at) else {
                continue;
            };
            let state = &mut self.services[i];
            if !drill.ripe() {
                self.drills.push((drill, reply));
                continue;
            }
            let in_flight = published.pools[1]
                .iter()
                .map(|backend| backend.in_flight.load(Relaxed))
                .sum();
            state.drop_green();
            state.route.mark += 1;
            let asked = Instant::now();
            self.publish();
            let report = drill.report(asked, in_flight);
            let text = format!("drill: {}", report.line());
            self.timeline
                .tell(&service, None, NoteKind::Drill, text.clone());
            let receipt = CommandOutcome {
                rollout: None,
                text,
                drill: Some(report),
            };
            self.reply(reply, Ok(receipt));
        }
    }
}

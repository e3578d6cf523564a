//! Whether backends still are the same containers while the engine is silent: `core::identity` has the rules.

use crate::control::controller::Controller;
use crate::core::table::Color;
use crate::core::time::Time;
use crate::store::NoteKind;

impl Controller {
    /// While the engine is silent, stops new connections to an address that refuses; reported once for each backend.
    pub(super) fn doubt(&mut self, now: Time) {
        if self.watcher.lost.is_none() {
            return;
        }
        let snapshot = self.board.snapshot();
        for (state, published) in self.services.iter_mut().zip(&snapshot.services) {
            if !state.is_docker() {
                continue;
            }
            let mut doubted = vec![];
            for color in Color::BOTH {
                for backend in &published.pools[color.index()] {
                    backend.identify(|identity| identity.silent(now));
                    if backend.doubted() {
                        let name = state.container_of(color, &backend.id);
                        let name = name.unwrap_or_else(|| backend.id.clone());
                        doubted.push(words(&format!("{color}'s container {name}")));
                    }
                }
            }
            for backend in &published.baseline {
                backend.identify(|identity| identity.silent(now));
                if backend.doubted() {
                    doubted.push(words("the baseline's container"));
                }
            }
            let service = &state.route.service;
            let id = state.run.as_ref().map(|run| run.saved.id);
            for text in state.docker.doubts.fresh(doubted) {
                self.timeline.tell(service, id, NoteKind::Trouble, text);
            }
        }
    }

    /// The engine has answered and named the containers of these pools.
    pub(super) fn trust(&mut self, seen: &[(usize, Color)]) {
        let snapshot = self.board.snapshot();
        for (i, color) in seen {
            let Some(published) = snapshot.services.get(*i) else {
                continue;
            };
            // Baselines are looked up together with blue.
            let baseline = published.baseline.iter().filter(|_| *color == Color::Blue);
            for backend in published.pools[color.index()].iter().chain(baseline) {
                backend.identify(|identity| identity.seen());
            }
            self.services[*i].docker.doubts.fresh(vec![]);
        }
    }
}

/// Why no new request is sent to a backend that may well answer.
pub(super) fn words(what: &str) -> String {
    format!(
        "{what} refused connections while Docker is silent: its address may be another container's by now, and nothing new is sent there until Docker answers"
    )
}

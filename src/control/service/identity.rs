//! Whether backends still are the same containers while the engine is silent: `core::identity` has the rules.

use crate::control::report::entry::Entry;
use crate::control::service::state::ServiceState;
use crate::core::table::Color;
use crate::core::time::Time;
use crate::store::NoteKind;
use crate::store::shared_state::PublishedService;

/// While the engine is silent, stops new connections to an address that refuses; the lines are returned once for each
/// backend.
pub(in crate::control) fn doubt(
    state: &mut ServiceState,
    published: &PublishedService,
    now: Time,
) -> Vec<Entry> {
    if !state.is_docker() {
        return vec![];
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
    let fresh = state.docker.doubts.fresh(doubted).into_iter();
    fresh
        .map(|text| Entry::new(NoteKind::Trouble, text))
        .collect()
}

/// The engine has answered and named the containers of this pool.
pub(in crate::control) fn trust(
    state: &mut ServiceState,
    published: &PublishedService,
    color: Color,
) {
    // Baselines are looked up together with blue.
    let baseline = published.baseline.iter().filter(|_| color == Color::Blue);
    for backend in published.pools[color.index()].iter().chain(baseline) {
        backend.identify(|identity| identity.seen());
    }
    state.docker.doubts.fresh(vec![]);
}

/// Why no new request is sent to a backend that may well answer.
pub(in crate::control) fn words(what: &str) -> String {
    format!(
        "{what} refused connections while Docker is silent: its address may be another container's by now, and nothing new is sent there until Docker answers"
    )
}

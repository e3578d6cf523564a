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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::service::fixture::{ADDRESSES, CONTAINERS, Fixture, texts};

    #[test]
    fn an_address_that_refuses_while_the_engine_is_silent_is_told_once() {
        let mut fixture = Fixture::shifting(CONTAINERS, Time(0));
        let published = fixture.published();
        let green = published.pools[1][0].clone();
        let state = &mut fixture.state;
        assert_eq!(doubt(state, &published, Time(1)), [], "it refuses nothing");
        green.identify(|identity| identity.refused(Time(2)));
        let told = doubt(state, &published, Time(3));
        assert_eq!(told.len(), 1);
        assert!(texts(&told)[0].starts_with("green's container 10.0.0.3:80 refused"));
        assert_eq!(doubt(state, &published, Time(4)), []);
        // Blue was seen: that says nothing about green.
        trust(state, &published, Color::Blue);
        assert!(green.doubted());
        trust(state, &published, Color::Green);
        assert!(!green.doubted());
        assert_eq!(doubt(state, &published, Time(5)), []);
        green.identify(|identity| identity.refused(Time(6)));
        assert_eq!(doubt(state, &published, Time(7)).len(), 1, "told again");
    }

    #[test]
    fn configured_addresses_are_never_doubted() {
        let mut fixture = Fixture::shifting(ADDRESSES, Time(0));
        let published = fixture.published();
        let blue = &published.pools[0][0];
        assert_eq!(doubt(&mut fixture.state, &published, Time(1)), []);
        blue.identify(|identity| identity.refused(Time(2)));
        assert_eq!(doubt(&mut fixture.state, &published, Time(3)), []);
        assert!(!blue.doubted());
    }
}

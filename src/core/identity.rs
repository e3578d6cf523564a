//! Whether an address still belongs to the container that it was seen on.
//!
//! Only the engine knows which container has an address, and a restart of the engine assigns addresses anew. While the
//! engine is silent, connections are the only evidence:
//!
//! - A connection that cannot be made (refused, no route, no answer to SYN) says that the container may have ended. From
//!   then on the address may belong to another container.
//! - An answer on a connection that was made before that says that it has not ended: a TCP connection cannot change hands.
//!
//! Assumed: an address does not move to another container without a moment in which it refuses, and a user's
//! request or an active check tries to connect in that moment. A gap shorter than one check without users is not seen.

use crate::core::time::Time;
use std::time::Duration;

/// A container may end shortly before its engine is known to be silent: both have the same cause, and silence is
/// noticed when the engine's stream of events ends. After earlier failures there was time in which the engine would
/// have reported an end.
const BEFORE_SILENCE: Duration = Duration::from_secs(5);

/// The evidence on one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Since when the engine is silent.
    silent: Option<Time>,
    /// The last connection attempt that failed.
    refused: Option<Time>,
    /// From this moment new connections prove nothing.
    doubted: Option<Time>,
}

impl Identity {
    /// The engine is silent; repeated calls change nothing.
    pub fn silent(&mut self, now: Time) {
        if self.silent.is_some() {
            return;
        }
        self.silent = Some(now);
        let recent = |refused: &Time| now.since(*refused) <= BEFORE_SILENCE;
        self.doubted = self.refused.filter(recent);
    }

    /// The engine was asked and has named this backend.
    pub fn seen(&mut self) {
        *self = Identity::default();
    }

    /// A connection attempt failed.
    pub fn refused(&mut self, now: Time) {
        self.refused = Some(now);
        if self.silent.is_some() {
            self.doubted = self.doubted.or(Some(now));
        }
    }

    /// The backend answered on a connection that existed at `connected`.
    pub fn answered(&mut self, connected: Time) {
        if self.trusts(connected) {
            (self.refused, self.doubted) = (None, None);
        }
    }

    /// Whether a connection that was made at `connected` leads to the container.
    pub fn trusts(&self, connected: Time) -> bool {
        self.doubted.is_none_or(|doubted| connected < doubted)
    }

    /// Whether another container may have the address: no new connection may be made to it.
    pub fn doubted(&self) -> bool {
        self.doubted.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happened, in the order of its time in seconds.
    #[derive(Clone, Copy)]
    enum Seen {
        Silent(u64),
        Engine,
        Refused(u64),
        /// An answer on a connection of this age in seconds.
        Answered(u64),
    }
    use Seen::*;

    fn doubted(story: &[Seen]) -> bool {
        let at = |second: u64| Time(1_000 * second);
        let mut identity = Identity::default();
        for seen in story {
            match *seen {
                Silent(second) => identity.silent(at(second)),
                Engine => identity.seen(),
                Refused(second) => identity.refused(at(second)),
                Answered(connected) => identity.answered(at(connected)),
            }
        }
        identity.doubted()
    }

    /// The name of the case, the events, and whether the address is doubted after them.
    const STORIES: &[(&str, &[Seen], bool)] = &[
        ("nothing happened", &[], false),
        ("the engine tells of an end itself", &[Refused(1)], false),
        ("unbroken evidence", &[Silent(1)], false),
        (
            "answers go on",
            &[Silent(10), Answered(9), Answered(11)],
            false,
        ),
        ("it refused", &[Silent(1), Refused(9)], true),
        (
            "the engine is still silent at the next look",
            &[Silent(1), Refused(9), Silent(20)],
            true,
        ),
        ("it ended with its engine", &[Refused(8), Silent(10)], true),
        ("it refused long before", &[Refused(4), Silent(10)], false),
        (
            "it refused before and after",
            &[Refused(4), Silent(10), Refused(11)],
            true,
        ),
        (
            "an answer on a new connection is whose?",
            &[Silent(1), Refused(9), Answered(10)],
            true,
        ),
        (
            "an answer on the connection that was refused is none",
            &[Silent(1), Refused(9), Answered(9)],
            true,
        ),
        (
            "a connection of before lives",
            &[Silent(1), Refused(9), Answered(8)],
            false,
        ),
        (
            "a connection between two refusals proves nothing",
            &[Silent(1), Refused(9), Refused(12), Answered(11)],
            true,
        ),
        (
            "it lived, and then it refused again",
            &[Silent(1), Refused(9), Answered(8), Refused(12)],
            true,
        ),
        (
            "one before the silence proves nothing for what came between",
            &[Refused(8), Silent(10), Answered(9)],
            true,
        ),
        (
            "the engine names it again",
            &[Silent(1), Refused(9), Engine],
            false,
        ),
        (
            "what was before a look is over",
            &[Refused(9), Engine, Silent(10)],
            false,
        ),
    ];

    #[test]
    fn an_address_is_doubted_once_it_refuses_while_the_engine_is_silent() {
        for (what, story, expected) in STORIES {
            assert_eq!(doubted(story), *expected, "{what}");
        }
    }
}

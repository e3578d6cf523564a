//! Harm that green does to blue: the suspicion, the switchback, and their events for the state machine.

use super::{RecordedLine, Trial};
use crate::core::judge::{Reference, Shared, Verdict};
use crate::core::rollout::Event;
use crate::core::stats::{History, SpanStats};
use crate::core::switchback::{Settings, Standing, Switchback};
use crate::core::weight::{Weight, salted};

/// Part of the judge's evidence that one switchback bets. The judge gives up 0.3 nats for each; the switchback needs
/// one pair of windows more than with twice the stake.
pub const STAKE: f64 = 0.25;

/// Highest number of switchbacks of one rollout: each costs the judge a part of its evidence, and the rollout time.
const TIMES_MAX: u32 = 3;

/// Derives the salt of the windows from the rollout's salt.
const WINDOWS: u64 = 0x5711_7C4B_AC4B_0001;

/// Looks for harm that green does to blue in one rollout.
#[derive(Clone, Debug, Default)]
pub struct Harm {
    settings: Option<Settings>,
    /// Blue before green's first share.
    reference: Option<Reference>,
    shared: Option<Shared>,
    switchback: Option<Switchback>,
    times: u32,
    convicted: Option<String>,
}

impl Trial {
    /// Enables the search for harm that green does to blue; `None` disables it.
    pub fn switch_back(&mut self, settings: Option<Settings>) {
        self.harm.settings = settings;
    }

    /// Blue's statistics before green's first share, to be saved over a restart.
    pub fn reference(&self) -> Option<Reference> {
        self.harm.reference
    }

    /// Restores the saved reference of blue.
    pub fn keep_reference(&mut self, reference: Option<Reference>) {
        self.harm.reference = reference;
    }

    /// The switchback under way.
    pub fn switchback(&self) -> Option<&Switchback> {
        self.harm.switchback.as_ref()
    }

    /// Why green was found to harm blue, if it was.
    pub fn harm(&self) -> Option<&str> {
        self.harm.convicted.as_deref()
    }

    /// A share begins: blue's past is frozen before the first one, and suspicion begins anew in each.
    pub(super) fn watch_blue(&mut self, before: Weight, weight: Weight, blue: &History) {
        if self.harm.settings.is_none() {
            return;
        }
        let first = before == Weight::NONE && weight > Weight::NONE;
        if first && self.harm.reference.is_none() {
            self.harm.reference = Reference::freeze(blue);
        }
        self.harm.switchback = None;
        self.suspect_anew();
    }

    fn suspect_anew(&mut self) {
        let policy = self.judge().policy();
        let shared = |reference| Shared::new(policy, reference);
        self.harm.shared = self.harm.reference.map(shared);
    }

    /// Whether blue serves green's requests in the current second.
    pub fn withheld(&self) -> bool {
        let switching = self.rollout.switching();
        switching.is_some_and(|switching| !switching.green)
    }

    /// Takes the statistics of blue's own requests over a number of seconds; events for the state machine and lines to
    /// record.
    ///
    /// `salt` is the secret of the rollout from which the order of the windows follows. Call it once for each second that
    /// [`Trial::second`] was called for, after it.
    pub fn beside(
        &mut self,
        blue: &SpanStats,
        seconds: u64,
        salt: u64,
    ) -> (Vec<Event>, Option<RecordedLine>) {
        let nothing = (vec![], None);
        if !self.judges() {
            return nothing;
        }
        match (self.harm.switchback.is_some(), self.rollout.switching()) {
            (true, Some(_)) => self.window_second(blue, seconds),
            // Another event ended the switchback.
            (true, None) => {
                self.harm.switchback = None;
                self.suspect_anew();
                nothing
            }
            (false, Some(_)) => (vec![Event::Cleared("it cannot go on".to_owned())], None),
            (false, None) => self.suspicion(blue, seconds, salt),
        }
    }

    fn suspicion(
        &mut self,
        blue: &SpanStats,
        seconds: u64,
        salt: u64,
    ) -> (Vec<Event>, Option<RecordedLine>) {
        let nothing = (vec![], None);
        let (Some(settings), Some(shared)) = (self.harm.settings, &mut self.harm.shared) else {
            return nothing;
        };
        shared.second(blue, seconds);
        let Some(reason) = shared.suspicion() else {
            return nothing;
        };
        // Evidence against green itself is decided first.
        let leans = |verdict: &Verdict| {
            verdict.leans_worse()
                || !matches!(verdict, Verdict::Pass | Verdict::Inconclusive { .. })
        };
        let busy = self.verdict.as_ref().is_none_or(leans);
        if busy || self.harm.times >= TIMES_MAX || !self.rollout.may_switch() {
            return nothing;
        }
        let seed = salted(u64::from(self.harm.times), salt ^ WINDOWS);
        self.harm.times += 1;
        let policy = self.judge().policy();
        let (weights, limit) = (policy.weights, policy.ln_limit());
        let stake = self.evidence.stake(STAKE);
        let share = self.rollout.weight();
        let switchback = Switchback::new(settings, share, weights, (stake, limit), seed);
        let green = switchback.green_on();
        self.harm.switchback = Some(switchback);
        let line = RecordedLine::Suspected {
            reason: reason.clone(),
            part: STAKE,
        };
        let events = vec![Event::Suspected(reason), Event::Window { green }];
        (events, Some(line))
    }

    fn window_second(
        &mut self,
        blue: &SpanStats,
        seconds: u64,
    ) -> (Vec<Event>, Option<RecordedLine>) {
        let nothing = (vec![], None);
        let withheld = self.withheld();
        let Some(switchback) = &mut self.harm.switchback else {
            return nothing;
        };
        let green = switchback.green_on();
        if green == withheld {
            // The window could not be routed: its counts belong to no window.
            return (vec![Event::Window { green }], None);
        }
        let (event, reason, harmed) = match switchback.second(blue, seconds) {
            Standing::Same => return nothing,
            Standing::Next => {
                let green = switchback.green_on();
                return (vec![Event::Window { green }], None);
            }
            Standing::Convicted { reason } => {
                let verdict = Verdict::Fail {
                    reason: reason.clone(),
                };
                self.verdict = Some(verdict.clone());
                self.harm.convicted = Some(reason.clone());
                (Event::Judged(verdict), reason, true)
            }
            Standing::Cleared { reason } => {
                let seen = switchback.seen();
                self.harm.reference = self.harm.reference.map(|known| known.raised(&seen));
                (Event::Cleared(reason.clone()), reason, false)
            }
        };
        self.harm.switchback = None;
        self.suspect_anew();
        (vec![event], Some(RecordedLine::Switched { reason, harmed }))
    }

    /// Where a switchback stands, for people: `switchback: window 3 of 32, green off`.
    pub fn window_words(&self) -> Option<String> {
        let switchback = self.harm.switchback.as_ref()?;
        let switching = self.rollout.switching()?;
        let (window, of) = switchback.progress();
        let green = if switching.green { "on" } else { "off" };
        Some(format!(
            "switchback: window {window} of {of}, green {green}"
        ))
    }
}

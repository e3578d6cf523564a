//! When the signals of one service are asked, and what their answers come to.

use crate::control::report::entry::Entry;
use crate::control::service::state::ServiceState;
use crate::control::signals::sources::{self, SourceFacts};
use crate::control::signals::usage;
use crate::control::tasks::context::TaskContext;
use crate::core::probes::Probes;
use crate::core::source::Reading;
use crate::core::table::Color;
use crate::core::time::Time;
use crate::core::usage::UsageSample;
use crate::core::weight::Weight;
use crate::driver::docker::EngineError;
use crate::metrics::MirrorCounts;
use crate::store::NoteKind;
use crate::store::shared_state::PublishedService;

impl ServiceState {
    /// Whether green has users and the plan is under way: only then green is probed and asked about.
    fn is_shown(&self) -> bool {
        let run = self.run.as_ref();
        self.route.weight > Weight::NONE
            && run.is_some_and(|run| run.trial.rollout().step_index().is_some())
    }

    /// Sends the probes that are due beside a green with users, and judges the answers.
    pub(in crate::control) fn probe(&mut self, published: &PublishedService, now: Time) {
        let (shown, host) = (self.is_shown(), self.settings.own_host());
        let Some(run) = self.run.as_mut().filter(|_| shown) else {
            return;
        };
        let Some(prober) = &mut run.prober else {
            return;
        };
        let still = run.trial.rollout().degraded();
        let lines = prober.pass(&mut run.trial, still, &host, &published.pools, now);
        lines.iter().for_each(|line| run.record(line));
    }

    /// The numbers of the sources to ask now.
    fn due_sources(&mut self, now: Time) -> Vec<usize> {
        let shown = self.is_shown();
        match self.run.as_mut().filter(|_| shown) {
            Some(run) => run.trial.sources_mut().due(now),
            None => vec![],
        }
    }

    /// Queries every source that is due; the readings come back as messages.
    pub(in crate::control) fn ask_sources(&mut self, context: &TaskContext, now: Time) {
        let due = self.due_sources(now);
        let Some(run) = self.run.as_ref().filter(|_| !due.is_empty()) else {
            return;
        };
        let facts = SourceFacts {
            service: self.route.service.clone(),
            rollout: run.saved.id,
            mark: self.route.mark,
            releases: [run.saved.from.clone(), run.saved.to.clone()],
        };
        sources::query(&run.settings.sources, &due, &facts, context);
    }

    /// Takes a source's reading on green in the share of this mark; one of an earlier share says nothing about this one.
    pub(in crate::control) fn measured(
        &mut self,
        mark: u64,
        source: usize,
        reading: Reading,
    ) -> Option<Entry> {
        let current = self.route.mark == mark;
        let run = self.run.as_mut().filter(|_| current)?;
        sources::take(run.trial.sources_mut(), source, reading)
    }

    /// Whether a sample of the containers' usage is to be taken now; it is under way then.
    fn usage_is_due(&mut self, now: Time) -> bool {
        let shown = self.route.weight > Weight::NONE && self.is_docker();
        let run = self.run.as_mut().filter(|_| shown);
        run.is_some_and(|run| run.usage.due(now))
    }

    /// Takes a sample of the containers' usage when it is due; the result comes back as a message.
    pub(in crate::control) fn ask_usage(&mut self, context: &TaskContext, now: Time) {
        if !context.may_manage() || !self.usage_is_due(now) {
            return;
        }
        if let Some(run) = &self.run {
            usage::sample(run.saved.id, &self.docker.containers, context);
        }
    }

    /// Takes the result of a sample; `ended` is the number of users' requests that each version has ended.
    pub(in crate::control) fn used(
        &mut self,
        looks: Result<[UsageSample; 2], EngineError>,
        mut ended: [u64; 2],
        now: Time,
    ) -> Vec<Entry> {
        let Some(run) = &mut self.run else {
            return vec![];
        };
        // Our own probes take CPU time too.
        let own = run.trial.probes().map_or([0; 2], Probes::ended);
        for color in Color::BOTH {
            ended[color.index()] += own[color.index()];
        }
        usage::take(&mut run.usage, looks, ended, now)
    }

    /// The line on the mirrored requests to this green, when it gets its first users; none where none were sent.
    pub(in crate::control) fn mirrored(&self, counts: &MirrorCounts) -> Option<Entry> {
        let view = self.mirror.view(counts)?;
        Some(Entry::new(NoteKind::Mirror, view.line()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::service::fixture::{ADDRESSES, CONTAINERS, Fixture, running, texts};
    use crate::core::rollout::Event;

    const SOURCES: &str = "sources = [{ exec = [\"true\"], name = \"queue\", every = \"10s\" }, { exec = [\"true\"], name = \"orders\", every = \"25s\" }]\n";

    fn with_sources() -> String {
        format!("{ADDRESSES}{SOURCES}")
    }

    #[test]
    fn sources_are_asked_while_green_has_users() {
        let mut starting = Fixture::starting(&with_sources());
        assert_eq!(starting.state.due_sources(Time(60_000)), [0; 0]);
        let began = crate::store::Clock::now();
        let after = |seconds: u64| began.after(std::time::Duration::from_secs(seconds));
        let mut fixture = Fixture::shifting(&with_sources(), began);
        for (seconds, due) in [
            (9, vec![]),
            (11, vec![0]),
            // Asked, and not answered yet.
            (22, vec![]),
            (26, vec![1]),
        ] {
            assert_eq!(fixture.state.due_sources(after(seconds)), due, "{seconds}");
        }
        let mark = fixture.state.route.mark;
        fixture.state.measured(mark, 0, Reading::Good);
        assert_eq!(fixture.state.due_sources(after(30)), [0]);
        fixture.drive(Event::Abort("enough".to_owned()), after(31));
        assert_eq!(fixture.state.due_sources(after(99)), [0; 0]);
    }

    #[test]
    fn a_reading_is_told_when_it_changes_and_belongs_to_this_share() {
        let mut fixture = Fixture::shifting(&with_sources(), Time(0));
        let (state, bad) = (&mut fixture.state, Reading::Bad("3 lost".to_owned()));
        let mark = state.route.mark;
        assert_eq!(state.measured(mark - 1, 0, bad.clone()), None);
        let told = Entry::new(NoteKind::Source, "source `queue`: 3 lost");
        assert_eq!(state.measured(mark, 0, bad.clone()), Some(told));
        assert_eq!(state.measured(mark, 0, bad), None);
        let silent = Reading::NoData("timeout".to_owned());
        let told = state.measured(mark, 1, silent).expect("a line");
        assert_eq!(told.text, "source `orders`: no data: timeout");
        assert_eq!(
            state.measured(mark, 9, Reading::Good),
            None,
            "no such source"
        );
        state.run = None;
        assert_eq!(state.measured(mark, 0, Reading::Good), None);
    }

    #[test]
    fn usage_is_sampled_of_containers_with_users_one_sample_at_a_time() {
        let late = Time(1_000_000);
        let mut addresses = Fixture::shifting(ADDRESSES, Time(0));
        assert!(!addresses.state.usage_is_due(late), "no containers");
        let mut starting = Fixture::starting(CONTAINERS);
        assert!(!starting.state.usage_is_due(late), "no users");
        let mut shifting = Fixture::shifting(CONTAINERS, Time(0));
        shifting.state.docker.containers = [Some(vec![running("a")]), Some(vec![running("b")])];
        assert!(shifting.state.usage_is_due(late));
        assert!(!shifting.state.usage_is_due(late), "one is under way");
        let lost = EngineError::Unreachable("gone".to_owned());
        assert_eq!(shifting.state.used(Err(lost), [0; 2], late), []);
        assert!(!shifting.state.usage_is_due(late));
        assert!(shifting.state.usage_is_due(Time(2_000_000)));
    }

    #[test]
    fn a_green_that_takes_far_more_is_warned_of_and_nothing_after_the_rollout() {
        let sample = |memory| UsageSample {
            memory,
            containers: 1,
            ..UsageSample::default()
        };
        let mut fixture = Fixture::shifting(CONTAINERS, Time(0));
        let mut told = vec![];
        for n in 1..=60_u64 {
            let looks = Ok([sample(100 << 20), sample((100 + 40 * n) << 20)]);
            let ended = [1_000 * n; 2];
            told.extend(fixture.state.used(looks, ended, Time(30_000 * n)));
        }
        assert!(!told.is_empty(), "a leak of 40 MB in half a minute");
        assert!(told.iter().all(|line| line.kind == NoteKind::Warning));
        assert!(texts(&told)[0].contains("memory"), "{told:?}");
        fixture.state.run = None;
        assert_eq!(
            fixture
                .state
                .used(Ok([sample(1), sample(1)]), [0; 2], Time(0)),
            []
        );
    }
}

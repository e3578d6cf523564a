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

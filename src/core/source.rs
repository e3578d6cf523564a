//! Readings of other sources than users' requests about green: metrics, an address, a program.
//!
//! They can only delay a rollout or end it. A source without data is neither good nor bad.

use crate::core::judge::Verdict;
use crate::core::time::Time;
use std::time::Duration;

/// The reading of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Green is healthy.
    Good,
    /// Green is not healthy; the text is the reason.
    Bad(String),
    /// There is no data; the text is the reason.
    NoData(String),
}

/// One source in one rollout.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name in messages.
    pub name: String,
    /// The interval between queries.
    pub every: Duration,
    /// Bad readings in a row after which green is rolled back; at least one.
    pub times: u32,
    bad: u32,
    last: Option<Reading>,
    next: Time,
    asked: bool,
}

impl Source {
    /// A source that has not been queried yet.
    pub fn new(name: String, every: Duration, times: u32) -> Source {
        Source {
            name,
            every,
            times: times.max(1),
            bad: 0,
            last: None,
            next: Time(0),
            asked: false,
        }
    }

    fn refuses(&self) -> Option<String> {
        match &self.last {
            Some(Reading::Bad(why)) if self.bad >= self.times => {
                let times = match self.times {
                    1 => String::new(),
                    n => format!(", {n} times in a row"),
                };
                Some(format!("source `{}`: {why}{times}", self.name))
            }
            _ => None,
        }
    }

    /// The text on a source that is not good, and whether it is bad.
    fn doubt(&self) -> Option<(bool, String)> {
        let name = &self.name;
        match &self.last {
            Some(Reading::Good) => None,
            Some(Reading::Bad(why)) => Some((
                true,
                format!(
                    "source `{name}`: {why} ({} of {} times until green goes)",
                    self.bad, self.times
                ),
            )),
            Some(Reading::NoData(why)) => Some((
                false,
                format!("source `{name}` has no data: {why}; nothing goes on without it"),
            )),
            None => Some((
                false,
                format!("source `{name}` was not asked yet in this share"),
            )),
        }
    }
}

/// All sources of one rollout.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// A set of sources.
    pub fn new(all: Vec<Source>) -> Sources {
        Sources(all)
    }

    /// Starts a share: earlier readings do not count for it.
    pub fn restart(&mut self, now: Time) {
        for source in &mut self.0 {
            (source.bad, source.last, source.asked) = (0, None, false);
            source.next = now.after(source.every);
        }
    }

    /// The indices of the sources to query now; they are not returned again before they have answered.
    pub fn due(&mut self, now: Time) -> Vec<usize> {
        let mut due = vec![];
        for (i, source) in self.0.iter_mut().enumerate() {
            if !source.asked && now >= source.next {
                source.asked = true;
                source.next = now.after(source.every);
                due.push(i);
            }
        }
        due
    }

    /// Takes a source's reading; returns the source's name when the reading has changed.
    pub fn take(&mut self, i: usize, reading: Reading) -> Option<&str> {
        let source = self.0.get_mut(i)?;
        source.asked = false;
        source.bad = match &reading {
            Reading::Bad(_) => source.bad.saturating_add(1),
            Reading::Good => 0,
            // Missing data neither adds to the bad readings nor resets them.
            Reading::NoData(_) => source.bad,
        };
        let news = source.last.as_ref() != Some(&reading);
        source.last = Some(reading);
        news.then_some(source.name.as_str())
    }

    /// The judge's verdict, combined with the readings of the sources.
    ///
    /// Bad `times` in a row: green fails. Bad less often: it leans worse, and an undecided verdict is no pass. No data,
    /// or not queried yet: there is no data, whatever the judge has.
    pub fn weigh(&self, verdict: Verdict) -> Verdict {
        if matches!(verdict, Verdict::Fail { .. }) {
            return verdict;
        }
        if let Some(reason) = self.0.iter().find_map(Source::refuses) {
            return Verdict::Fail { reason };
        }
        let doubts = self.0.iter().filter_map(Source::doubt);
        let worst = doubts.map(|(bad, _)| bad).reduce(|one, other| one || other);
        match (worst, verdict) {
            (
                Some(true),
                verdict @ (Verdict::Pass | Verdict::NoData | Verdict::Inconclusive { .. }),
            ) => verdict.doubted(),
            (
                Some(false),
                Verdict::Pass
                | Verdict::Inconclusive {
                    leaning_worse: false,
                    ..
                },
            ) => Verdict::NoData,
            (_, verdict) => verdict,
        }
    }

    /// One line on what delays a verdict; `None` when the judge's own text is enough.
    pub fn line(&self, judged: &Verdict) -> Option<String> {
        match judged {
            Verdict::Suspect { .. } => None,
            Verdict::Fail { .. } => self.0.iter().find_map(Source::refuses),
            _ => {
                let mut doubts: Vec<_> = self.0.iter().filter_map(Source::doubt).collect();
                doubts.sort_by_key(|(bad, _)| !bad);
                doubts.into_iter().next().map(|(_, words)| words)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVERY: Duration = Duration::from_secs(10);

    fn sources(times: &[u32]) -> Sources {
        let all = times.iter().enumerate();
        let mut sources = Sources::new(
            all.map(|(i, times)| Source::new(format!("s{i}"), EVERY, *times))
                .collect(),
        );
        sources.restart(Time(0));
        sources
    }

    fn bad() -> Reading {
        Reading::Bad("5 of 10".to_owned())
    }

    fn silent() -> Reading {
        Reading::NoData("refused".to_owned())
    }

    fn undecided(leaning_worse: bool) -> Verdict {
        Verdict::Inconclusive {
            leaning_worse,
            step_requests: 7,
            total_requests: 9,
        }
    }

    #[test]
    fn without_sources_the_judge_alone_decides() {
        let none = Sources::default();
        for verdict in [Verdict::Pass, Verdict::NoData, undecided(false)] {
            assert_eq!(none.weigh(verdict.clone()), verdict);
            assert_eq!(none.line(&verdict), None);
        }
    }

    #[test]
    fn a_source_ends_a_rollout_only_when_it_was_bad_so_often_in_a_row() {
        let mut sources = sources(&[3]);
        for reading in [bad(), bad(), Reading::Good, bad(), bad()] {
            sources.take(0, reading);
            let weighed = sources.weigh(undecided(false));
            assert!(!matches!(weighed, Verdict::Fail { .. }));
        }
        assert_eq!(sources.weigh(Verdict::Pass).leaning(), Some(true));
        sources.take(0, silent());
        assert_eq!(sources.weigh(Verdict::Pass), Verdict::NoData);
        sources.take(0, bad());
        let reason = "source `s0`: 5 of 10, 3 times in a row".to_owned();
        assert_eq!(
            sources.weigh(Verdict::Pass),
            Verdict::Fail {
                reason: reason.clone()
            }
        );
        let failed = Verdict::Fail {
            reason: reason.clone(),
        };
        assert_eq!(sources.line(&failed), Some(reason));
    }

    #[test]
    fn a_share_begins_with_nothing_said_and_is_asked_in_its_rhythm() {
        let mut sources = sources(&[1, 1]);
        assert!(sources.due(Time(9_999)).is_empty());
        assert_eq!(sources.due(Time(10_000)), vec![0, 1]);
        // Neither source has answered.
        assert!(sources.due(Time(30_000)).is_empty());
        assert_eq!(sources.take(0, Reading::Good), Some("s0"));
        assert_eq!(sources.take(0, Reading::Good), None, "that is no news");
        assert_eq!(sources.due(Time(30_000)), vec![0]);
        sources.take(1, Reading::Good);
        sources.take(0, Reading::Good);
        assert_eq!(sources.weigh(Verdict::Pass), Verdict::Pass);
        sources.restart(Time(40_000));
        assert_eq!(sources.weigh(Verdict::Pass), Verdict::NoData);
        assert!(sources.due(Time(49_999)).is_empty());
    }

    proptest! {
        /// Sources take from what the judge says, and never add.
        #[test]
        fn a_source_only_holds_up(
            times in prop::collection::vec(1u32..4, 1..4),
            said in prop::collection::vec((0usize..4, 0u8..3), 0..20),
            verdict in prop_oneof![Just(Verdict::Pass), Just(Verdict::NoData), any::<bool>().prop_map(undecided),
                Just(Verdict::Fail { reason: String::new() }), Just(Verdict::Suspect { reason: String::new() })],
        ) {
            let mut sources = sources(&times);
            let mut last = vec![None; times.len()];
            for (i, kind) in said {
                let reading = match kind { 0 => Reading::Good, 1 => bad(), _ => silent() };
                sources.take(i, reading);
                if let Some(last) = last.get_mut(i) {
                    *last = Some(kind);
                }
            }
            let all_good = last.iter().all(|kind| *kind == Some(0));
            let weighed = sources.weigh(verdict.clone());
            if weighed == Verdict::Pass {
                prop_assert!(all_good && verdict == Verdict::Pass);
            }
            if let Verdict::Inconclusive { leaning_worse: false, .. } = weighed {
                prop_assert!(all_good, "silence of a source would be left to `on_inconclusive`");
            }
            if matches!(verdict, Verdict::Fail { .. }) {
                prop_assert_eq!(weighed, verdict);
            }
        }
    }

    impl Verdict {
        fn leaning(&self) -> Option<bool> {
            match self {
                Verdict::Inconclusive { leaning_worse, .. } => Some(*leaning_worse),
                _ => None,
            }
        }
    }
}

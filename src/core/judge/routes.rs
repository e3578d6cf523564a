//! Evidence by route group: finds a single broken page under the noise of the others.
//!
//! Each of the [`PLACES`] groups, and the rest together, has a FAIL process of its own on the two-by-two tables of
//! its requests. Whether a request fails decides neither its group nor its pool: the group is what it asks for, and
//! a group gets its place by traffic alone, before anything of it was judged. So each process is dominated by a
//! nonnegative supermartingale under "green is not worse on this route" (Turner, Ly, Grünwald, arXiv 2106.02693; the
//! guard only lowers it: `sequential/wealth.rs`), with respect to all that is known before a second. A place without a
//! group is worth 1, and the mean over a fixed number of places is dominated by an e-process too, however groups depend
//! on each other (Vovk, Wang, "E-values", Annals of Statistics 2021, section 3: arithmetic means of e-values are
//! e-values). It enters the evidence of harm with the fixed weight
//! [`super::Policy::routes_share`], so the chance of a false rollback is still at most `alpha`.
//!
//! Assumed beyond the whole: requests of one route fall on the pools by chance given the route. Where they
//! do not (a rule with a weight, a client that keeps its pool), such requests are not judged, or the assumption of
//! the whole is broken too.
//!
//! A route on which green fails at least half may also *lean* worse by all its counts, blue's past before green had
//! users included: that never convicts; it only prevents a promotion without proof.

use super::metric_test::add;
use super::words::grouped;
use super::{Metric, Policy};
use crate::core::routes::{OTHERS, RouteCounts, RoutePast, RouteSecond};
use crate::core::sequential::{Block, FailProcess, TwoByTwo, ln_sum, times_ln};
use serde::{Deserialize, Serialize};

/// Number of groups that have a process of their own. One more process is for the rest.
pub const PLACES: usize = 20;

/// Failed requests on a route below which it does not lean worse by its counts alone.
const LEANING_FAILURES: u64 = 3;

/// Evidence (in nats) of a route from which it is reported first.
const TELLING: f64 = 0.7;

/// Highest number of findings in a report.
const REPORTED: usize = 10;

/// One group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Group {
    route: String,
    fail: FailProcess,
    /// Requests since the last block was closed, while blue and green served together.
    open: Block,
    /// Counts of the whole rollout.
    seen: Block,
    /// Blue's requests before green had users, and how many of them failed.
    past: [u64; 2],
}

/// The evidence by route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Routes {
    /// Up to [`PLACES`], in the order of their first request; a group keeps its place.
    groups: Vec<Group>,
    rest: Group,
}

/// One route's evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteFinding {
    /// Method and template of the path; `others` for all groups without a place.
    pub route: String,
    /// Blue's requests beside green.
    pub blue_requests: u64,
    /// Blue's failed requests beside green.
    pub blue_failed: u64,
    /// Blue's requests in the minutes before green had users.
    pub past_requests: u64,
    /// Blue's failed requests in those minutes.
    pub past_failed: u64,
    /// Green's requests.
    pub green_requests: u64,
    /// Green's failed requests.
    pub green_failed: u64,
    /// Evidence that green is worse on this route, as a natural logarithm, in nats.
    pub ln_e: f64,
    /// Evidence by all counts together, blue's past included, in nats; 0 where green does not fail at least half.
    pub ln_lean: f64,
}

/// The route with most evidence against green.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blamed {
    /// The finding on the route.
    pub finding: RouteFinding,
    /// It has more weighted evidence than every comparison of the whole and every limit.
    pub heaviest: bool,
    /// It leans worse.
    pub leaning: bool,
    /// Number of routes with requests of green: the evidence of one is divided by this number before it leans.
    pub among: u64,
}

impl Blamed {
    /// `green fails GET /buy: 5 of 5, blue 0 of 6, before that 0 of 11`.
    pub fn words(&self) -> String {
        let one = &self.finding;
        let route = match one.route.as_str() {
            OTHERS => "the less busy routes",
            route => route,
        };
        let past = match one.past_requests {
            0 => String::new(),
            past => format!(
                ", before that {} of {}",
                grouped(one.past_failed),
                grouped(past)
            ),
        };
        format!(
            "green fails {route}: {} of {}, blue {} of {}{past}",
            grouped(one.green_failed),
            grouped(one.green_requests),
            grouped(one.blue_failed),
            grouped(one.blue_requests)
        )
    }

    /// Its evidence as it counts for leaning, in nats.
    pub fn ln_lean(&self) -> f64 {
        self.finding.ln_e.max(self.finding.ln_lean) - (self.among.max(1) as f64).ln()
    }
}

impl Group {
    fn new(policy: &Policy, route: String) -> Group {
        Group {
            route,
            fail: FailProcess::new(
                policy.betting(Metric::Err),
                policy.omega0[0],
                policy.delta0_ppm[0],
            ),
            open: Block::default(),
            seen: Block::default(),
            past: [0; 2],
        }
    }

    fn count(&mut self, [blue, blue_bad, green, green_bad]: [u64; 4]) {
        let counts = Block {
            seconds: 0,
            blue,
            blue_bad: blue_bad.min(blue),
            green,
            green_bad: green_bad.min(green),
        };
        add(&mut self.open, &counts);
        add(&mut self.seen, &counts);
    }

    /// Ends a second; beside blue a block closes once both pools had a request in it.
    fn second(&mut self, beside: bool) {
        self.open.seconds += 1;
        if !beside {
            self.open = Block::default();
        } else if self.open.blue > 0 && self.open.green > 0 {
            self.fail.block(&self.open);
            self.open = Block::default();
        }
    }

    /// Evidence by one table of all counts, in nats, where green fails at least half: the mean over all alternatives.
    ///
    /// At any moment that does not depend on the counts its mean is at most 1 if blue's past is of one kind with what
    /// it serves now (each ratio is one of hypergeometric likelihoods); it is no e-process over time.
    fn ln_lean(&self, policy: &Policy) -> f64 {
        let (green, bad) = (self.seen.green, self.seen.green_bad);
        if bad < LEANING_FAILURES || 2 * bad < green {
            return 0.0;
        }
        let [past, past_failed] = self.past;
        let blue = self.seen.blue + past;
        let credit = policy.delta0_ppm[0] * blue / 1_000_000;
        let blue_bad = (self.seen.blue_bad + past_failed + credit).min(blue);
        let table = TwoByTwo::new(green, blue, bad + blue_bad);
        if !table.informs() {
            return 0.0;
        }
        let odds0 = policy.omega0[0];
        let null = table.ln_z(odds0);
        let ln_lr = |ratio: f64| times_ln(bad, ratio) - (table.ln_z(odds0 * ratio) - null);
        let terms = policy.fail_ratios.map(ln_lr);
        ln_sum(&terms) - (terms.len() as f64).ln()
    }

    fn finding(&self, policy: &Policy) -> RouteFinding {
        RouteFinding {
            route: self.route.clone(),
            blue_requests: self.seen.blue,
            blue_failed: self.seen.blue_bad,
            past_requests: self.past[0],
            past_failed: self.past[1],
            green_requests: self.seen.green,
            green_failed: self.seen.green_bad,
            ln_e: self.fail.ln_e(),
            ln_lean: self.ln_lean(policy),
        }
    }

    /// The greater of the evidence by seconds and that by all counts, in nats.
    fn ln_worst(&self, policy: &Policy) -> f64 {
        self.fail.ln_e().max(self.ln_lean(policy))
    }
}

impl Routes {
    pub(super) fn new(policy: &Policy) -> Routes {
        Routes {
            groups: vec![],
            rest: Group::new(policy, OTHERS.to_owned()),
        }
    }

    /// The routes of a judge that was saved before they existed.
    pub(super) fn unknown() -> Routes {
        Routes::new(&Policy::default())
    }

    /// Whether nothing is known by route.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.rest.seen == Block::default()
    }

    /// Gives the groups with most requests of blue a place before green has users.
    pub(super) fn remember(&mut self, policy: &Policy, past: &[RoutePast]) {
        for one in past {
            if let Some(at) = self.place(policy, &one.route) {
                self.groups[at].past = [one.requests, one.failed.min(one.requests)];
            }
        }
    }

    /// The index of a group, which it is given when one is left.
    fn place(&mut self, policy: &Policy, route: &str) -> Option<usize> {
        let known = self.groups.iter().position(|group| group.route == route);
        if known.is_none() && self.groups.len() < PLACES && route != OTHERS {
            self.groups.push(Group::new(policy, route.to_owned()));
            return Some(self.groups.len() - 1);
        }
        known
    }

    /// Counts by the indices of groups; groups without an index are counted in the last one.
    pub(super) fn sorted(&self, counted: &[RouteCounts]) -> RouteSecond {
        let mut second = RouteSecond::default();
        let mut rest = [0; 4];
        for one in counted {
            let [[blue, blue_bad], [green, green_bad]] = one.counts;
            let known = self.groups.iter().map(|group| &group.route);
            let at = known.chain(&second.new).position(|it| *it == one.route);
            let free = self.groups.len() + second.new.len();
            let at = match at {
                None if free < PLACES && one.route != OTHERS => {
                    second.new.push(one.route.clone());
                    Some(free)
                }
                at => at,
            };
            match at {
                Some(at) => second
                    .counts
                    .push([at as u64, blue, blue_bad, green, green_bad]),
                None => {
                    let more = [blue, blue_bad, green, green_bad];
                    rest.iter_mut().zip(more).for_each(|(sum, n)| *sum += n);
                }
            }
        }
        if rest != [0; 4] {
            let [blue, blue_bad, green, green_bad] = rest;
            second
                .counts
                .push([PLACES as u64, blue, blue_bad, green, green_bad]);
        }
        second
    }

    /// Adds the counts of a second that is not over yet.
    pub(super) fn count(&mut self, policy: &Policy, second: &RouteSecond) {
        for route in &second.new {
            self.place(policy, route);
        }
        for &[at, blue, blue_bad, green, green_bad] in &second.counts {
            let at = usize::try_from(at).unwrap_or(PLACES);
            let group = match self.groups.get_mut(at) {
                Some(group) => group,
                None => &mut self.rest,
            };
            group.count([blue, blue_bad, green, green_bad]);
        }
    }

    /// Drops half-open blocks: they mix two shares.
    pub(super) fn start_step(&mut self) {
        for group in self.all_mut() {
            group.open = Block::default();
        }
    }

    /// Ends a second. While green serves alone nothing is compared.
    pub(super) fn tick(&mut self, beside: bool) {
        for group in self.all_mut() {
            group.second(beside);
        }
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.groups.iter_mut().chain([&mut self.rest])
    }

    fn all(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().chain([&self.rest])
    }

    /// The mean of all places' evidence, as a natural logarithm, in nats.
    pub(super) fn ln_e(&self) -> f64 {
        let free = (PLACES - self.groups.len().min(PLACES)) as f64;
        let mut terms = vec![free.ln()];
        terms.extend(self.all().map(|group| group.fail.ln_e()));
        ln_sum(&terms) - places().ln()
    }

    /// Number of groups with requests of green.
    fn among(&self) -> u64 {
        self.all().filter(|group| group.seen.green > 0).count() as u64
    }

    /// The group with most evidence against green.
    fn worst(&self, policy: &Policy) -> Option<&Group> {
        let asked = self.all().filter(|group| group.seen.green > 0);
        asked.max_by(|a, b| a.ln_worst(policy).total_cmp(&b.ln_worst(policy)))
    }

    /// Whether a group leans worse: its evidence, divided by the number of groups, is above the threshold.
    pub(super) fn leaning(&self, policy: &Policy) -> bool {
        let limit = policy.routes_amber;
        if limit <= 0.0 {
            return false;
        }
        let worst = self.worst(policy).map(|group| group.ln_worst(policy));
        worst.is_some_and(|worst| worst - (self.among() as f64).ln() >= limit.ln())
    }

    /// The heaviest group's weighted evidence in the whole, in nats, without the routes' share.
    pub(super) fn ln_heaviest(&self) -> f64 {
        let evidence = self.all().map(|group| group.fail.ln_e());
        evidence.fold(f64::NEG_INFINITY, f64::max) - places().ln()
    }

    /// The group with most evidence against green, where there is such evidence.
    pub(super) fn blamed(&self, policy: &Policy, heaviest: bool) -> Option<Blamed> {
        let leaning = self.leaning(policy);
        let group = if heaviest && !leaning {
            self.all()
                .max_by(|a, b| a.fail.ln_e().total_cmp(&b.fail.ln_e()))
        } else {
            self.worst(policy)
        };
        let group = group.filter(|_| heaviest || leaning)?;
        Some(Blamed {
            finding: group.finding(policy),
            heaviest,
            leaning,
            among: self.among(),
        })
    }

    /// The groups with most evidence, then with most requests.
    pub(super) fn findings(&self, policy: &Policy) -> Vec<RouteFinding> {
        let asked = |finding: &RouteFinding| finding.blue_requests + finding.green_requests;
        let all = self.all().map(|group| group.finding(policy));
        let mut found: Vec<RouteFinding> = all.filter(|finding| asked(finding) > 0).collect();
        let weight = |one: &RouteFinding| match one.ln_e.max(one.ln_lean) {
            much if much > TELLING => much,
            _ => 0.0,
        };
        found.sort_by(|a, b| {
            let evidence = weight(b).total_cmp(&weight(a));
            evidence.then(asked(b).cmp(&asked(a)))
        });
        found.truncate(REPORTED);
        found
    }
}

fn places() -> f64 {
    (PLACES + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::judge::{Control, Judge, Verdict};
    use crate::core::stats::{PoolCounts, Tick};
    use proptest::prelude::*;

    /// A policy without grants for lasting harm, which have numbers of their own, and without gross slowness and
    /// answers.
    fn plain() -> Policy {
        Policy {
            persistence: 0,
            gross_share: 0.0,
            answers_share: 0.0,
            ..Policy::default()
        }
    }

    fn counts(route: &str, blue: [u64; 2], green: [u64; 2]) -> RouteCounts {
        RouteCounts {
            route: route.to_owned(),
            counts: [blue, green],
        }
    }

    fn feed(judge: &mut Judge, counted: &[RouteCounts]) {
        let second = judge.sort_routes(counted);
        judge.count_routes(&second);
        let sum = |pool: usize, at: usize| counted.iter().map(|one| one.counts[pool][at]).sum();
        let [blue, green] = [0, 1].map(|pool| PoolCounts {
            requests: sum(pool, 0),
            failed: sum(pool, 1),
            ..PoolCounts::default()
        });
        judge.tick(&Tick { blue, green });
    }

    #[derive(serde::Deserialize)]
    struct Case {
        past: Vec<(String, u64, u64)>,
        seconds: Vec<CaseSecond>,
        ln_mean_and_ln_lean: Vec<(f64, f64)>,
    }

    #[derive(serde::Deserialize)]
    struct CaseSecond {
        beside: bool,
        new: Vec<String>,
        counts: Vec<[u64; 5]>,
    }

    /// `tests/reference/routes.py` is the second implementation.
    #[test]
    fn it_equals_the_reference() {
        let text = include_str!("../../../tests/reference/routes.json");
        let policy = plain();
        for case in serde_json::from_str::<Vec<Case>>(text).unwrap() {
            let mut routes = Routes::new(&policy);
            let past = case.past.into_iter();
            let past: Vec<RoutePast> = past
                .map(|(route, requests, failed)| RoutePast {
                    route,
                    requests,
                    failed,
                })
                .collect();
            routes.remember(&policy, &past);
            for (second, want) in case.seconds.into_iter().zip(case.ln_mean_and_ln_lean) {
                let counted = RouteSecond {
                    new: second.new,
                    counts: second.counts,
                };
                routes.count(&policy, &counted);
                routes.tick(second.beside);
                let worst = routes.worst(&policy);
                let worst = worst.map_or(0.0, |group| group.ln_worst(&policy));
                let lean = worst - (routes.among().max(1) as f64).ln();
                assert!(
                    (routes.ln_e() - want.0).abs() < 1e-9,
                    "{} {want:?}",
                    routes.ln_e()
                );
                assert!((lean - want.1).abs() < 1e-9, "{lean} {want:?}");
            }
        }
    }

    #[test]
    fn one_page_that_fails_alone_convicts_and_is_named_where_the_whole_says_nothing() {
        let policy = plain();
        let without = Policy {
            routes_share: 0.0,
            routes_amber: 0.0,
            ..policy.clone()
        };
        let [mut judge, mut whole] = [policy, without].map(Judge::new);
        for judge in [&mut judge, &mut whole] {
            for second in 0..120u64 {
                let home = counts("GET /", [250, 4 + second % 2], [250, 5 - second % 2]);
                let buy = counts("GET /buy", [1, 0], [1, 1]);
                feed(judge, &[home, buy]);
            }
        }
        assert_eq!(whole.cause(), None, "{}", whole.ln_e());
        let Verdict::Fail { reason } = judge.verdict() else {
            panic!("{:?}", judge.verdict())
        };
        assert!(
            reason.starts_with("green fails GET /buy: 120 of 120, blue 0 of 120, evidence "),
            "{reason}"
        );
        assert!(judge.report().is_about_failures());
    }

    #[test]
    fn a_rare_page_that_fails_always_leans_worse_by_blues_past_and_is_never_promoted() {
        let mut judge = Judge::new(plain());
        judge.remember_routes(&[RoutePast {
            route: "GET /buy".to_owned(),
            requests: 10,
            failed: 0,
        }]);
        judge.start_step(true, Control::Concurrent);
        let mut leaned = vec![];
        for second in 0..600u64 {
            let up = counts("GET /up", [1, 0], [20, 0]);
            let buy = counts("GET /buy", [0, 0], [1, 1]);
            match second {
                100 | 200 | 300 | 400 | 500 => feed(&mut judge, &[up, buy]),
                _ => feed(&mut judge, &[up]),
            }
            leaned.push(judge.verdict().leans_worse());
        }
        assert!(!leaned[250] && leaned[350], "three failures, not two");
        let line = judge.report().line(&judge.verdict());
        assert!(
            line.contains(
                "leaning worse: green fails GET /buy: 5 of 5, blue 0 of 0, before that 0 of 10"
            ),
            "{line}"
        );
        let amber = judge.policy().amber.ln();
        assert!(judge.report().ln_e < amber, "the whole says nothing");
    }

    #[test]
    fn what_fails_on_both_is_no_evidence_whatever_its_rate() {
        let mut judge = Judge::new(Policy::default());
        for _ in 0..600 {
            let broken = counts("GET /broken", [2, 1], [2, 1]);
            feed(&mut judge, &[counts("GET /", [50, 0], [50, 0]), broken]);
        }
        assert!(judge.ln_e() < 0.0 && !judge.verdict().leans_worse());
        assert_eq!(judge.report().route, None);
    }

    #[test]
    fn places_go_to_those_who_come_first_and_stay_with_them() {
        let policy = Policy::default();
        let mut routes = Routes::new(&policy);
        let all: Vec<_> = (0..30)
            .map(|n| counts(&format!("GET /{n}"), [1, 0], [1, u64::from(n > 24)]))
            .collect();
        let second = routes.sorted(&all);
        assert_eq!(second.new.len(), PLACES);
        assert_eq!(second.counts.last(), Some(&[20, 10, 0, 10, 5]));
        routes.count(&policy, &second);
        let again = routes.sorted(&all[15..]);
        assert!(again.new.is_empty());
        assert_eq!(again.counts[0][0], 15);
        assert_eq!(again.counts.last(), Some(&[20, 10, 0, 10, 5]));
    }

    proptest! {
        /// With a share, the whole evidence is the average of the evidence without routes and of the routes'.
        #[test]
        fn the_evidence_is_an_average(seconds in prop::collection::vec((0u64..9, 0u64..9, 0u64..9, 0u64..9), 1..60)) {
            let policy = plain();
            let without = Policy { routes_share: 0.0, routes_amber: 0.0, ..policy.clone() };
            let [mut judge, mut whole] = [policy, without].map(Judge::new);
            let mut routes = Routes::new(judge.policy());
            for (blue, blue_bad, green, green_bad) in seconds {
                let one = [counts("GET /", [blue, blue_bad.min(blue)], [green, green_bad.min(green)])];
                let second = routes.sorted(&one);
                routes.count(&plain(), &second);
                routes.tick(true);
                feed(&mut judge, &one);
                feed(&mut whole, &one);
            }
            let share = plain().routes_share;
            let both = ln_sum(&[(1.0 - share).ln() + whole.ln_e(), share.ln() + routes.ln_e()]);
            prop_assert!((judge.ln_e() - both).abs() < 1e-9);
        }
    }
}

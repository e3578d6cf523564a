//! Compares sizes of bodies and content types by route group, green beside blue.
//!
//! Chance gives both versions the same requests. So, if their answers are alike, each partition of a second's 2xx
//! answers of one route group into categories falls on the pools like drawn balls: given how many answers each
//! pool had and how many of each category there were in all, green's counts are multivariate hypergeometric.
//!
//! - For each category there is a FAIL process ([`FailProcess`]) on the two-by-two table "answers of this category,
//!   all others", against "the odds of this category on green are at most [`TOLERATED`] times blue's". Its null
//!   contains "alike". It is dominated by a nonnegative supermartingale under it (Turner, Ly, Grünwald, arXiv
//!   2106.02693; the guard only lowers it: `sequential/wealth.rs`). A process begins with the first answer of its
//!   category, on whichever pool: that depends on the margins alone, which the null conditions on; before, it is 1.
//! - The evidence of a partition is the mean over a fixed number of categories: a mean of e-values is one however they
//!   depend on each other (Vovk, Wang, "E-values", Annals of Statistics 2021, section 3).
//! - Sizes have two partitions: pairs of neighbouring powers of two, and pairs shifted by one. Their evidence is the
//!   lesser of the two, which is dominated by either. So a page of one size that grows or shrinks by less than a factor
//!   of two is never reported: it crosses one edge at most, which lies within a pair of the other partition.
//! - A finding is *reported* when its evidence, divided by the number of comparisons ([`PLACES`] groups times two), has
//!   reached `1 / alpha` at some moment: by Ville's inequality and the union bound the chance that anything is reported
//!   in a rollout with equal answers is at most `alpha`, and so is the chance that a route with equal answers
//!   is reported among others that differ. A report alone convicts no version.
//! - Where it is *judged*, the mean over all places enters the evidence of harm with the fixed weight
//!   [`super::ContentPolicy::share`], as an average of e-values; the chance of a false rollback is still at most `alpha`.
//!
//! What is assumed beyond the whole: which requests are left out (HEAD, `Range`, conditional ones, those of pinned
//! users) depends on the request alone. Where users are pinned, only the first answer to a newcomer counts: later ones
//! follow the user. Only 2xx answers are compared: where green fails requests that have large answers, its other
//! answers differ in size, and that is reported too.
//!
//! A change that began long after green got users is found later: the stake kept for it is as in `wealth.rs`.

use super::content::KINDS;
use super::{Content, ContentFinding, Control, Judge, Metric, Policy};
use crate::core::answers::Hearing;
use crate::core::contents::{ContentCounts, ContentSecond, SIZES, TYPES, UNTYPED, size_words};
use crate::core::sequential::{Block, FailProcess, ln_sum};
use serde::{Deserialize, Serialize};

/// Highest number of groups that are compared.
const PLACES: usize = 20;

/// Odds ratio of a category up to which answers count as alike.
const TOLERATED: f64 = 2.0;

/// Answers by bucket or type.
type Counts = Vec<[u64; 2]>;

/// One comparison of one group: sizes or types.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Aspect {
    what: Content,
    /// By partition and category; `None` before the first answer of the category.
    processes: Vec<Vec<Option<FailProcess>>>,
    seconds: u64,
    /// Answers since the last block was closed, blue's first.
    open: Counts,
    seen: Counts,
    ln_max: f64,
}

impl Aspect {
    fn new(what: Content) -> Aspect {
        let counts = match what {
            Content::Size => vec![[0; 2]; SIZES],
            Content::Type => vec![[0; 2]; KINDS],
        };
        Aspect {
            what,
            processes: vec![vec![None; what.categories()]; what.partitions()],
            seconds: 0,
            open: counts.clone(),
            seen: counts,
            ln_max: 0.0,
        }
    }

    fn count(&mut self, at: u64, blue: u64, green: u64) {
        let last = self.open.len() - 1;
        let at = usize::try_from(at).map_or(last, |at| at.min(last));
        for counts in [&mut self.open, &mut self.seen] {
            counts[at][0] += blue;
            counts[at][1] += green;
        }
    }

    fn clear(&mut self) {
        self.seconds = 0;
        self.open.fill([0; 2]);
    }

    /// The counts by category of a partition.
    fn folded(&self, partition: usize, counts: &Counts) -> Counts {
        let mut folded = vec![[0; 2]; self.what.categories()];
        for (at, [blue, green]) in counts.iter().enumerate() {
            let sum = &mut folded[self.what.category(partition, at)];
            *sum = [sum[0] + blue, sum[1] + green];
        }
        folded
    }

    /// Ends a second; a block closes once both pools had an answer in it.
    fn second(&mut self, policy: &Policy) {
        self.seconds += 1;
        let [blue, green] = total(&self.open);
        if blue == 0 || green == 0 {
            return;
        }
        for partition in 0..self.what.partitions() {
            let folded = self.folded(partition, &self.open);
            let processes = self.processes[partition].iter_mut();
            for (process, [blue_like, green_like]) in processes.zip(folded) {
                if process.is_none() && blue_like + green_like == 0 {
                    continue;
                }
                let fresh = || FailProcess::new(policy.betting(Metric::Err), TOLERATED, 0);
                process.get_or_insert_with(fresh).block(&Block {
                    seconds: self.seconds,
                    blue,
                    blue_bad: blue_like,
                    green,
                    green_bad: green_like,
                });
            }
        }
        self.clear();
        self.ln_max = self.ln_max.max(self.ln_e());
    }

    /// The evidence of a partition, the mean of its categories: a natural logarithm, in nats.
    fn ln_mean(&self, partition: usize) -> f64 {
        let processes = &self.processes[partition];
        let terms: Vec<f64> = processes.iter().map(ln_of).collect();
        ln_sum(&terms) - (terms.len() as f64).ln()
    }

    /// The evidence that answers differ, as a natural logarithm, in nats.
    fn ln_e(&self) -> f64 {
        let partitions = (0..self.what.partitions()).map(|at| self.ln_mean(at));
        partitions.fold(f64::INFINITY, f64::min)
    }

    /// The highest evidence so far, divided by the number of comparisons: a natural logarithm, in nats.
    fn ln_told(&self) -> f64 {
        self.ln_max - comparisons().ln()
    }

    fn is_told(&self, policy: &Policy) -> bool {
        self.ln_told() >= policy.ln_limit()
    }

    /// The finding: from the partition with less evidence, its category with most evidence.
    fn finding(&self, group: &Group, policy: &Policy) -> ContentFinding {
        let weaker = |a: &usize, b: &usize| self.ln_mean(*a).total_cmp(&self.ln_mean(*b));
        let partition = (0..self.what.partitions()).min_by(weaker).unwrap_or(0);
        let folded = self.folded(partition, &self.seen);
        let processes = &self.processes[partition];
        let evidence = |at: &usize| ln_of(&processes[*at]);
        let heavier = |a: &usize, b: &usize| evidence(a).total_cmp(&evidence(b));
        let asked = (0..folded.len()).filter(|at| folded[*at][1] > 0);
        let green = asked.max_by(heavier).unwrap_or(0);
        let blue = (0..folded.len()).rev().max_by_key(|at| folded[*at][0]);
        let blue = blue.unwrap_or(0);
        let [blue_answers, green_answers] = total(&self.seen);
        ContentFinding {
            route: group.route.clone(),
            what: self.what,
            green_is: self.words(partition, green, 1, &group.types),
            green_like: folded[green][1],
            green_answers,
            blue_like: folded[green][0],
            blue_is: self.words(partition, blue, 0, &group.types),
            blue_most: folded[blue][0],
            blue_answers,
            ln_e: self.ln_told(),
            told: self.is_told(policy),
            judged: policy.contents.judges(self.what),
        }
    }

    /// Names a category by the sizes seen in one pool, as narrow as they were.
    fn words(&self, partition: usize, category: usize, pool: usize, types: &[String]) -> String {
        let within = (0..self.seen.len()).filter(|at| {
            self.what.category(partition, *at) == category && self.seen[*at][pool] > 0
        });
        let (first, last) = within.fold((usize::MAX, 0), |(first, _), at| (first.min(at), at));
        match self.what {
            Content::Size => size_words(first.min(last), last),
            Content::Type if category == 0 => "without a content type".to_owned(),
            Content::Type => types
                .get(category - 1)
                .map_or("of rarer types", String::as_str)
                .to_owned(),
        }
    }
}

/// The evidence of a process, in nats; one that has not begun has e-value 1.
fn ln_of(process: &Option<FailProcess>) -> f64 {
    process.as_ref().map_or(0.0, FailProcess::ln_e)
}

fn total(counts: &Counts) -> [u64; 2] {
    counts
        .iter()
        .fold([0; 2], |sum, one| [sum[0] + one[0], sum[1] + one[1]])
}

/// Number of comparisons that may be reported.
fn comparisons() -> f64 {
    (PLACES * Content::BOTH.len()) as f64
}

/// One route group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Group {
    route: String,
    /// The content types with a category, in order.
    types: Vec<String>,
    aspects: [Aspect; 2],
}

impl Group {
    fn new(route: String) -> Group {
        Group {
            route,
            types: vec![],
            aspects: Content::BOTH.map(Aspect::new),
        }
    }
}

/// The evidence on contents of answers by route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Contents {
    groups: Vec<Group>,
}

impl Contents {
    /// Counts by the indices of groups and types; groups without an index are left out.
    pub(super) fn sorted(&self, policy: &Policy, counted: &[ContentCounts]) -> ContentSecond {
        let mut second = ContentSecond::default();
        for one in counted {
            let known = self.groups.iter().map(|group| &group.route);
            let known = known
                .chain(&second.new)
                .position(|route| *route == one.route);
            let free = self.groups.len() + second.new.len();
            let at = match known {
                Some(at) => at,
                None if free < PLACES => {
                    second.new.push(one.route.clone());
                    free
                }
                None => continue,
            };
            if policy.contents.size != Hearing::Off {
                let counts = (0..SIZES).map(|bucket| [0, 1].map(|pool| one.sizes[pool][bucket]));
                let some = counts.enumerate().filter(|(_, counts)| *counts != [0; 2]);
                second.sizes.extend(
                    some.map(|(bucket, [blue, green])| [at as u64, bucket as u64, blue, green]),
                );
            }
            if policy.contents.media != Hearing::Off {
                self.sort_types(at, one, &mut second);
            }
        }
        second
    }

    fn sort_types(&self, at: usize, one: &ContentCounts, second: &mut ContentSecond) {
        let place = at as u64;
        let mut others = one.others;
        for (name, [blue, green]) in &one.types {
            let known = self.groups.get(at).map_or(&[][..], |group| &group.types);
            let fresh = second.new_types.iter().filter(|(group, _)| *group == place);
            let mut all = known.iter().chain(fresh.map(|(_, name)| name));
            let found = all.position(|one| one == name);
            let free = known.len()
                + second
                    .new_types
                    .iter()
                    .filter(|(group, _)| *group == place)
                    .count();
            let kind = match found {
                _ if name == UNTYPED => 0,
                Some(kind) => kind + 1,
                None if free < TYPES => {
                    second.new_types.push((place, name.clone()));
                    free + 1
                }
                None => {
                    others = [others[0] + blue, others[1] + green];
                    continue;
                }
            };
            second.types.push([place, kind as u64, *blue, *green]);
        }
        if others != [0; 2] {
            second
                .types
                .push([place, TYPES as u64 + 1, others[0], others[1]]);
        }
    }

    /// Adds the counts of a second that is not over yet.
    pub(super) fn count(&mut self, second: &ContentSecond) {
        for route in &second.new {
            if self.groups.len() < PLACES {
                self.groups.push(Group::new(route.clone()));
            }
        }
        for (place, name) in &second.new_types {
            let group = usize::try_from(*place)
                .ok()
                .and_then(|at| self.groups.get_mut(at));
            if let Some(group) = group.filter(|group| group.types.len() < TYPES) {
                group.types.push(name.clone());
            }
        }
        for (aspect, counts) in [&second.sizes, &second.types].into_iter().enumerate() {
            for &[place, at, blue, green] in counts {
                let group = usize::try_from(place)
                    .ok()
                    .and_then(|at| self.groups.get_mut(at));
                if let Some(group) = group {
                    group.aspects[aspect].count(at, blue, green);
                }
            }
        }
    }

    /// Drops half-open blocks: they mix two shares.
    pub(super) fn start_step(&mut self) {
        let aspects = self.groups.iter_mut().flat_map(|group| &mut group.aspects);
        aspects.for_each(Aspect::clear);
    }

    /// Ends a second beside blue.
    pub(super) fn tick(&mut self, policy: &Policy) {
        for aspect in self.groups.iter_mut().flat_map(|group| &mut group.aspects) {
            aspect.second(policy);
        }
    }

    fn aspects(&self) -> impl Iterator<Item = (&Group, &Aspect)> {
        let aspects = |group| {
            <&Group>::clone(&group)
                .aspects
                .iter()
                .map(move |one| (group, one))
        };
        self.groups.iter().flat_map(aspects)
    }

    /// The judged comparisons.
    fn judged(&self, policy: &Policy) -> impl Iterator<Item = (&Group, &Aspect)> {
        let contents = policy.contents;
        self.aspects()
            .filter(move |(_, aspect)| contents.judges(aspect.what))
    }

    /// The weighted evidence of the judged comparisons, in nats; `None` where nothing is judged.
    pub(super) fn ln_weighted(&self, policy: &Policy) -> Option<f64> {
        let all = PLACES * policy.contents.judged();
        if all == 0 {
            return None;
        }
        let mut terms: Vec<f64> = self
            .judged(policy)
            .map(|(_, aspect)| aspect.ln_e())
            .collect();
        terms.push((all.saturating_sub(terms.len()) as f64).ln());
        Some(policy.contents.share.ln() + ln_sum(&terms) - (all as f64).ln())
    }

    /// The judged comparison with most evidence: its weighted evidence, in nats, and its finding.
    pub(super) fn heaviest(&self, policy: &Policy) -> Option<(f64, ContentFinding)> {
        let heavier =
            |a: &(&Group, &Aspect), b: &(&Group, &Aspect)| a.1.ln_e().total_cmp(&b.1.ln_e());
        let (group, aspect) = self.judged(policy).max_by(heavier)?;
        let all = (PLACES * policy.contents.judged()) as f64;
        let weight = policy.contents.share.ln() - all.ln();
        Some((weight + aspect.ln_e(), aspect.finding(group, policy)))
    }

    /// The findings that are reported.
    pub(super) fn findings(&self, policy: &Policy) -> Vec<ContentFinding> {
        let told = self.aspects().filter(|(_, aspect)| aspect.is_told(policy));
        told.map(|(group, aspect)| aspect.finding(group, policy))
            .collect()
    }
}

impl Judge {
    /// Counts of contents in the form that this judge takes and that is recorded.
    pub fn sort_contents(&self, counted: &[ContentCounts]) -> ContentSecond {
        self.contents.sorted(&self.policy, counted)
    }

    /// Takes the contents of answers of the second that the next [`Judge::tick`] judges. A green that serves alone is
    /// not compared.
    pub fn count_contents(&mut self, second: &ContentSecond) {
        if self.control == Control::Concurrent {
            self.contents.count(second);
        }
    }

    /// The finding on contents that is judged and has more evidence than all else.
    pub(super) fn by_contents(&self) -> Option<ContentFinding> {
        let (weight, finding) = self.contents.heaviest(&self.policy)?;
        let answers = self.by_answers(true).map(|(_, ln_e)| ln_e);
        let most = answers.fold(self.heaviest_other(), f64::max);
        (weight > most).then_some(finding)
    }

    /// The reported differences of answers.
    pub fn content_findings(&self) -> Vec<ContentFinding> {
        self.contents.findings(&self.policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::contents::size_bucket;
    use crate::core::judge::words::grouped;
    use crate::core::judge::{ContentPolicy, Verdict};
    use crate::core::stats::{PoolCounts, Tick};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const HTML: &str = "text/html";

    fn judging() -> Policy {
        Policy {
            contents: ContentPolicy {
                size: Hearing::Judge,
                media: Hearing::Judge,
                ..ContentPolicy::REPORT
            },
            ..Policy::default()
        }
    }

    /// Answers of one route, each entry with the numbers of blue and green, the bytes and the type.
    fn counts(route: &str, answers: &[([u64; 2], u64, &str)]) -> ContentCounts {
        let mut sizes = [[0; SIZES]; 2];
        let mut types: BTreeMap<String, [u64; 2]> = BTreeMap::new();
        for (times, bytes, kind) in answers {
            for pool in [0, 1] {
                sizes[pool][size_bucket(*bytes)] += times[pool];
                types.entry((*kind).to_owned()).or_default()[pool] += times[pool];
            }
        }
        ContentCounts {
            route: route.to_owned(),
            sizes,
            types: types.into_iter().collect(),
            others: [0; 2],
        }
    }

    fn feed(judge: &mut Judge, counted: &[ContentCounts]) {
        let second = judge.sort_contents(counted);
        judge.count_contents(&second);
        let sum = |pool: usize| counted.iter().flat_map(|one| one.sizes[pool]).sum();
        let [blue, green] = [0, 1].map(|pool| PoolCounts {
            requests: sum(pool),
            ..PoolCounts::default()
        });
        judge.tick(&Tick { blue, green });
    }

    fn told(judge: &Judge) -> Vec<String> {
        let found = judge.report().contents;
        found.iter().map(ContentFinding::words).collect()
    }

    /// The findings, and the number of green's answers until then, with this many answers each second.
    fn found(blue: u64, green: u64, differs: fn(u64, u64) -> ContentCounts) -> (u64, Vec<String>) {
        let mut judge = Judge::new(Policy::default());
        for second in 1..300 {
            feed(&mut judge, &[differs(blue, green)]);
            if !told(&judge).is_empty() {
                return (second * green, told(&judge));
            }
        }
        panic!("nothing is told of {blue} and {green} a second");
    }

    #[test]
    fn empty_answers_and_other_types_are_told_within_some_tens_of_answers() {
        let empty =
            |blue, green| counts("GET /", &[([blue, 0], 2_100, HTML), ([0, green], 0, HTML)]);
        let html = |blue, green| {
            let json = ([blue, 0], 300, "application/json");
            counts("GET /api", &[json, ([0, green], 300, HTML)])
        };
        for (blue, green, at_most) in [(1, 1, 40), (4, 4, 40), (19, 1, 15), (95, 5, 60)] {
            let (answers, words) = found(blue, green, empty);
            assert!(answers <= at_most, "{answers} of {green} a second");
            let seconds = answers / green;
            assert_eq!(
                words,
                [format!(
                    "answers of GET / are empty on green ({answers} of {answers}), 2 to 4 kB on blue ({0} of {0})",
                    grouped(blue * seconds)
                )]
            );
            let (answers, words) = found(blue, green, html);
            assert!(answers <= at_most, "{answers} of {green} a second");
            assert_eq!(
                words,
                [format!(
                    "answers of GET /api are text/html on green ({answers} of {answers}), application/json on blue ({0} of {0})",
                    grouped(blue * answers / green)
                )]
            );
        }
    }

    #[test]
    fn what_is_sometimes_so_is_told_with_both_shares() {
        let sometimes = |blue, _| {
            let full = ([blue - blue / 10, blue / 2], 5_000, HTML);
            counts("GET /", &[full, ([blue / 10, blue / 2], 0, "")])
        };
        let (_, words) = found(20, 20, sometimes);
        assert_eq!(words.len(), 2, "size and type: {words:?}");
        let start = "answers of GET / are empty more often on green: ";
        assert!(words[0].starts_with(start), "{words:?}");
        let start = "answers of GET / are without a content type more often on green: ";
        assert!(words[1].starts_with(start), "{words:?}");
        let mut counted = words[0].rsplit_once(": ").unwrap().1.split([' ', ',']);
        let green: u64 = counted.next().unwrap().parse().unwrap();
        assert!(
            words[0].ends_with(&format!(
                "{green} of {}, blue {} of {}",
                2 * green,
                green / 5,
                2 * green
            )),
            "{words:?}"
        );
    }

    #[test]
    fn a_page_that_changes_by_less_than_twice_is_never_told_and_by_four_times_always() {
        let mut judge = Judge::new(judging());
        let mut factors = vec![];
        for n in 0..PLACES {
            // Sizes at and around every edge, up and down.
            let bytes = 40 + 397 * n as u64;
            factors.extend([bytes * 19 / 10, bytes * 10 / 19].map(|other| (bytes, other)));
        }
        for some in factors.chunks(PLACES) {
            for _ in 0..120 {
                let pages = some.iter().enumerate().map(|(at, (blue, green))| {
                    counts(
                        &format!("GET /{at}"),
                        &[([9, 0], *blue, HTML), ([0, 9], *green, HTML)],
                    )
                });
                feed(&mut judge, &pages.collect::<Vec<_>>());
            }
            assert_eq!(told(&judge), [""; 0]);
            assert!(judge.ln_e() < 0.1, "{}", judge.ln_e());
            judge = Judge::new(judging());
        }
        for bytes in [1_000, 1_500, 2_048, 4_095] {
            for other in [bytes / 4, 4 * bytes] {
                let mut judge = Judge::new(Policy::default());
                for _ in 0..30 {
                    feed(
                        &mut judge,
                        &[counts(
                            "GET /",
                            &[([9, 0], bytes, HTML), ([0, 9], other, HTML)],
                        )],
                    );
                }
                assert_eq!(told(&judge).len(), 1, "{bytes} and {other}");
            }
        }
    }

    #[test]
    fn told_convicts_nobody_and_judged_goes_back_with_the_words() {
        let [mut told, mut judged] = [Policy::default(), judging()].map(Judge::new);
        let mut without = Judge::new(Policy {
            contents: ContentPolicy::default(),
            ..Policy::default()
        });
        for _ in 0..40 {
            let empty = [counts("GET /", &[([5, 0], 2_100, HTML), ([0, 5], 0, HTML)])];
            for judge in [&mut told, &mut judged, &mut without] {
                feed(judge, &empty);
            }
        }
        assert_eq!(told.ln_e(), without.ln_e());
        assert_eq!((told.cause(), without.report().contents), (None, vec![]));
        let Verdict::Fail { reason } = judged.verdict() else {
            panic!("{:?}", judged.verdict())
        };
        let start = "answers of GET / are empty on green (200 of 200), 2 to 4 kB on blue (200 of 200), evidence ";
        assert!(reason.starts_with(start), "{reason}");
        assert!(!judged.report().is_about_failures());
        let findings = [&told, &judged].map(|judge| judge.report().contents[0].judged);
        assert_eq!(findings, [false, true]);
    }

    #[test]
    fn green_alone_is_compared_with_nothing_and_a_block_spans_no_two_shares() {
        let mut judge = Judge::new(judging());
        let empty = [counts("GET /", &[([9, 0], 2_100, HTML), ([0, 9], 0, HTML)])];
        let past = crate::core::stats::Baseline {
            failure_rate: 0.0,
            limits: None,
        };
        judge.start_step(true, Control::History(past));
        for _ in 0..60 {
            feed(&mut judge, &empty);
        }
        assert_eq!(told(&judge), [""; 0]);
        judge.start_step(false, Control::Concurrent);
        let before = judge.ln_e();
        feed(&mut judge, &[counts("GET /", &[([0, 3], 0, HTML)])]);
        judge.start_step(false, Control::Concurrent);
        feed(&mut judge, &[counts("GET /", &[([3, 0], 2_100, HTML)])]);
        assert_eq!(judge.ln_e(), before, "half a table is no evidence");
    }

    #[test]
    fn places_are_taken_once_and_what_has_none_is_left_out() {
        let policy = Policy::default();
        let mut contents = Contents::default();
        let all: Vec<_> = (0..30u64)
            .map(|n| {
                let kinds: Vec<String> = (0..12).map(|kind| format!("a/{kind}")).collect();
                let answers: Vec<_> = kinds
                    .iter()
                    .map(|kind| ([1, 2], n, kind.as_str()))
                    .collect();
                counts(&format!("GET /{n}"), &answers)
            })
            .collect();
        let second = contents.sorted(&policy, &all);
        assert_eq!(
            (second.new.len(), second.new_types.len()),
            (PLACES, PLACES * TYPES)
        );
        assert_eq!(second.sizes[5], [5, 1, 12, 24]);
        assert_eq!(second.types[TYPES], [0, TYPES as u64 + 1, 4, 8]);
        contents.count(&second);
        let again = contents.sorted(&policy, &all[19..]);
        assert!(again.new.is_empty() && again.new_types.is_empty());
        assert_eq!((again.sizes.len(), again.types.len()), (1, TYPES + 1));
        let off = Policy {
            contents: ContentPolicy {
                size: Hearing::Off,
                ..ContentPolicy::REPORT
            },
            ..policy
        };
        assert!(contents.sorted(&off, &all).sizes.is_empty());
    }

    #[test]
    fn nonsense_in_a_recording_is_passed_over() {
        let mut contents = Contents::default();
        contents.count(&ContentSecond {
            new: vec!["GET /".to_owned(); 99],
            new_types: vec![(77, "a/b".to_owned()), (u64::MAX, String::new())],
            sizes: vec![[u64::MAX, 0, 1, 1], [0, u64::MAX, 1, 1]],
            types: vec![[99, 99, 1, 1]],
        });
        contents.tick(&Policy::default());
        assert_eq!(contents.groups.len(), PLACES);
    }

    /// Splitmix64 (Steele, Lea, Flood 2014): evenly in 0..1.
    fn chance(state: &mut u64) -> f64 {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = *state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One second of answers that chance gives to green with this share. A fifth of blue's are errors with a page of
    /// their own; all others have sizes over four powers of two, compressed or not. `odds` is green's odds ratio of an
    /// error.
    fn drawn(state: &mut u64, share: f64, odds: f64) -> ContentCounts {
        let errors = [0.2, odds / (4.0 + odds)];
        let mut answers = vec![];
        for _ in 0..(12.0 * chance(state)) as u64 {
            let green = chance(state) < share;
            let one = if green { [0, 1] } else { [1, 0] };
            let page = 400.0 * 16f64.powf(chance(state));
            let packed = if chance(state) < 0.3 { 0.2 } else { 1.0 };
            answers.push(match chance(state) < errors[usize::from(green)] {
                true => (one, 90, "text/plain"),
                false => (one, (page * packed) as u64, HTML),
            });
        }
        counts("GET /", &answers)
    }

    /// The number of rollouts, out of `rollouts` of `seconds` seconds each, in which something was reported.
    fn false_findings(rollouts: u64, seconds: u64, share: f64, odds: f64) -> usize {
        let tells = |run: &u64| {
            let (mut state, mut contents) = (*run << 20, Contents::default());
            let policy = Policy::default();
            for _ in 0..seconds {
                let second = [drawn(&mut state, share, odds)];
                contents.count(&contents.sorted(&policy, &second));
                contents.tick(&policy);
            }
            !contents.findings(&policy).is_empty()
        };
        (0..rollouts).filter(tells).count()
    }

    #[test]
    fn alike_answers_of_many_sizes_are_told_at_most_once_in_a_hundred_rollouts() {
        let tally = [0.5, 0.05].map(|share| false_findings(1_000, 60, share, 1.0));
        assert!(tally.iter().all(|told| *told <= 10), "{tally:?} of 1000");
        let borderline = false_findings(200, 300, 0.5, TOLERATED);
        assert!(borderline <= 2, "{borderline} of 200");
        let found = false_findings(1_000, 60, 0.5, 30.0);
        assert!(
            found > 900,
            "what is far beyond the tolerance is told: {found} of 1000"
        );
    }

    #[test]
    fn what_is_told_beside_something_judged_convicts_nobody_and_is_told_from_the_limit_on() {
        let mut policy = judging();
        policy.contents.media = Hearing::Report;
        let mut judge = Judge::new(policy);
        for _ in 0..60 {
            let answers = [([5, 0], 900, "application/json"), ([0, 5], 900, HTML)];
            feed(&mut judge, &[counts("GET /", &answers)]);
            let aspect = &judge.contents.groups[0].aspects[1];
            // 20 groups, sizes and types, and a chance of one in a hundred.
            let limit = 4_000f64.ln();
            assert_eq!(told(&judge).len(), usize::from(aspect.ln_max >= limit));
        }
        assert_eq!(told(&judge).len(), 1);
        assert_eq!((judge.cause(), judge.report().content), (None, None));
    }

    proptest! {
        /// The argument of validity, exactly: over all ways in which a second's answers may fall on the pools the
        /// evidence is at most 1 on average.
        #[test]
        fn one_second_of_alike_answers_is_worth_at_most_1_on_average(sizes in prop::array::uniform4(0u64..5), green in 1u64..7) {
            let policy = judging();
            let all: u64 = sizes.iter().sum();
            prop_assume!(green < all);
            let ways = |n: u64, k: u64| (0..k).fold(1.0, |ways, i| ways * (n - i) as f64 / (i + 1) as f64);
            let mut means = [0.0; 2];
            let mut chances = 0.0;
            for code in 0..5u64.pow(4) {
                let on_green: [u64; 4] = std::array::from_fn(|at| code / 5u64.pow(at as u32) % 5);
                if on_green.iter().sum::<u64>() != green || on_green.iter().zip(&sizes).any(|(some, all)| some > all) {
                    continue;
                }
                let likely: f64 = on_green.iter().zip(&sizes).map(|(some, all)| ways(*all, *some)).product();
                let mut contents = Contents::default();
                let answers: Vec<_> = (0..4).map(|at| ([sizes[at] - on_green[at], on_green[at]], [0, 10, 500, 9_000][at], HTML)).collect();
                contents.count(&contents.sorted(&policy, &[counts("GET /", &answers)]));
                contents.tick(&policy);
                let aspect = &contents.groups[0].aspects[0];
                // Each partition by itself, not only the lesser of the two.
                for (at, mean) in means.iter_mut().enumerate() {
                    *mean += likely * aspect.ln_mean(at).exp();
                }
                chances += likely;
            }
            prop_assert!((chances - ways(all, green)).abs() < 1e-6 * chances);
            prop_assert!(means.iter().all(|mean| mean / chances <= 1.0 + 1e-9), "{:?} of {}", means, chances);
        }

        /// Where it is judged, the whole evidence is the average of the evidence without it and of this.
        #[test]
        fn the_evidence_is_an_average(seconds in prop::collection::vec((0u64..9, 0u64..9, 0u64..9, 0u64..9), 1..40)) {
            let plain = |contents| Policy { gross_share: 0.0, answers_share: 0.0, contents, ..Policy::default() };
            let policy = plain(judging().contents);
            let mut whole = Judge::new(plain(ContentPolicy::REPORT));
            let (mut judge, mut contents) = (Judge::new(policy.clone()), Contents::default());
            for (a, b, c, d) in seconds {
                let one = [counts("GET /", &[([a, b], 0, HTML), ([c, d], 900, "")])];
                contents.count(&contents.sorted(&policy, &one));
                contents.tick(&policy);
                feed(&mut judge, &one);
                feed(&mut whole, &one);
            }
            let share = policy.contents.share;
            let mine = contents.ln_weighted(&policy).unwrap();
            // Routes have a share of their own, which is worth 1 here.
            let routes = policy.routes_share;
            let rest = (whole.ln_e().exp() - routes) / (1.0 - routes) * (1.0 - routes - share);
            let both = ln_sum(&[rest.ln(), routes.ln(), mine]);
            prop_assert!((judge.ln_e() - both).abs() < 1e-9, "{} {}", judge.ln_e(), both);
        }
    }
}

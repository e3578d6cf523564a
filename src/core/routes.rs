//! The proxy's counts by route group: method and template of the path, as [`crate::core::fault::route`] makes it.

use crate::core::monitors::{self, Sample};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The name of the group that has all routes that are not counted separately.
pub const OTHERS: &str = "others";

/// Seconds after which the older half of blue's past by route is dropped: the past covers one to two of these spans.
const GENERATION: u64 = 300;

/// Number of past requests beyond which more add no evidence; larger counts are scaled down.
const PAST_MAX: u64 = 2_000;

/// Number of route groups that a judge gets before green has users.
const PAST_GROUPS: usize = 20;

/// One group's counts over some span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteCounts {
    /// Its name; [`OTHERS`] for all groups without a place of their own.
    pub route: String,
    /// Requests and failures of blue, then of green.
    pub counts: [[u64; 2]; 2],
}

/// Blue's counts in one group before green had users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutePast {
    /// Its name.
    pub route: String,
    /// Blue's requests.
    pub requests: u64,
    /// Blue's failed requests.
    pub failed: u64,
}

/// One second of a judge's groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSecond {
    /// Groups seen for the first time: they get the next indices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new: Vec<String>,
    /// Index, blue's requests and failures, green's requests and failures.
    pub counts: Vec<[u64; 5]>,
}

/// Blue's requests by route in the last five to ten minutes.
#[derive(Clone, Debug, Default)]
pub struct Usual {
    /// The younger half first.
    halves: [BTreeMap<String, [u64; 2]>; 2],
    /// Sampled agents of the requests; older requests count less.
    sample: Sample,
    seconds: u64,
}

impl Usual {
    /// Adds the counts of `seconds` seconds.
    pub fn push(&mut self, groups: &[RouteCounts], sample: &Sample, seconds: u64) {
        if self.seconds / GENERATION != (self.seconds + seconds) / GENERATION {
            self.halves.swap(0, 1);
            self.halves[0].clear();
            self.sample.fade();
        }
        self.sample.merge(sample);
        self.seconds += seconds;
        for group in groups {
            let [requests, failed] = group.counts[0];
            if requests == 0 {
                continue;
            }
            match self.halves[0].get_mut(&group.route) {
                Some(sum) => *sum = [sum[0] + requests, sum[1] + failed],
                None => {
                    self.halves[0].insert(group.route.clone(), [requests, failed]);
                }
            }
        }
    }

    /// Forgets the counts when green is the new blue: those of the old one say nothing about it.
    pub fn forget_pools(&mut self) {
        self.halves = Default::default();
    }

    /// The advice where health checks and monitors are most of what is judged.
    pub fn advice(&self) -> Option<String> {
        monitors::advice(&self.sample, self.requests().into_iter())
    }

    /// Every group with its requests and failures.
    fn totals(&self) -> BTreeMap<&str, [u64; 2]> {
        let mut totals: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
        for (route, [requests, failed]) in self.halves.iter().flatten() {
            let sum = totals.entry(route).or_default();
            *sum = [sum[0] + requests, sum[1] + failed];
        }
        totals
    }

    /// Every group with its requests.
    fn requests(&self) -> Vec<(&str, u64)> {
        let totals = self.totals().into_iter();
        totals.map(|(route, sum)| (route, sum[0])).collect()
    }

    /// The groups with most requests, failed or not; a long past is scaled down.
    pub fn top(&self) -> Vec<RoutePast> {
        let mut ranked: Vec<_> = self.totals().into_iter().collect();
        ranked.retain(|(route, _)| *route != OTHERS);
        ranked.sort_by_key(|(_, sum)| std::cmp::Reverse(sum[0]));
        ranked
            .into_iter()
            .take(PAST_GROUPS)
            .map(|(route, [requests, failed])| {
                let kept = requests.min(PAST_MAX);
                RoutePast {
                    route: route.to_owned(),
                    requests: kept,
                    // Rounded up: scaling must not make a failing blue look better.
                    failed: (failed.min(requests) * kept).div_ceil(requests.max(1)),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::analysis::{Evidence, RecordedLine, replay};
    use crate::core::judge::{Control, Policy, Verdict};
    use crate::core::stats::{PoolCounts, Tick};

    fn counts(route: &str, requests: u64, failed: u64) -> RouteCounts {
        RouteCounts {
            route: route.to_owned(),
            counts: [[requests, failed], [7, 7]],
        }
    }

    #[test]
    fn the_past_is_blues_of_the_last_minutes_and_most_requests_come_first() {
        let mut usual = Usual::default();
        let none = Sample::default();
        usual.push(&[counts("GET /old", 9, 0)], &none, 1);
        usual.push(&[], &none, GENERATION);
        usual.push(&[], &none, GENERATION);
        for _ in 0..30 {
            let busy = counts("GET /", 1_000, 1);
            usual.push(
                &[counts("GET /buy", 1, 0), busy, counts(OTHERS, 5_000, 9)],
                &none,
                10,
            );
        }
        let top = usual.top();
        let names: Vec<&str> = top.iter().map(|past| past.route.as_str()).collect();
        assert_eq!(
            names,
            ["GET /", "GET /buy"],
            "the old and the others are left out"
        );
        assert_eq!((top[0].requests, top[0].failed), (2_000, 2));
        assert_eq!((top[1].requests, top[1].failed), (30, 0));
    }

    /// Lines of a rollout in which one page fails, as they are recorded.
    fn recorded(policy: Policy) -> Vec<RecordedLine> {
        let mut evidence = Evidence::new(policy.clone(), false);
        let mut lines = vec![RecordedLine::Policy(Box::new(policy))];
        let mut usual = Usual::default();
        usual.push(&[counts("GET /buy", 40, 0)], &Sample::default(), 1);
        lines.extend(evidence.remember_routes(&usual));
        assert_eq!(evidence.remember_routes(&usual), None, "once");
        let start = RecordedLine::Start {
            last: false,
            control: Control::Concurrent,
            weight: 5_000,
            terms: Default::default(),
        };
        evidence.take(&start);
        lines.push(start);
        for n in 0..200 {
            let group = |route: String, blue, green| RouteCounts {
                route,
                counts: [blue, green],
            };
            let seconds = [
                group(format!("GET /{}", n % 30), [40, 0], [40, n % 2]),
                group("GET /buy".to_owned(), [1, 0], [1, 1]),
            ];
            lines.extend(evidence.routes(&seconds));
            let pool = |failed| PoolCounts {
                requests: 41,
                failed,
                ..PoolCounts::default()
            };
            let tick = Tick {
                blue: pool(n % 2),
                green: pool(n % 2 + 1),
            };
            lines.push(evidence.second(&tick).1);
        }
        lines
    }

    #[test]
    fn what_is_recorded_by_route_is_judged_again_byte_for_byte() {
        let lines = recorded(Policy::default());
        let text: Vec<String> = lines
            .iter()
            .map(|line| serde_json::to_string(line).unwrap())
            .collect();
        let read: Vec<RecordedLine> = text
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let again = replay(&read, None);
        assert_eq!(again.users.seconds, 200);
        assert_eq!(again.users.differences, []);
        let Some((_, Verdict::Fail { reason })) = again.users.replayed else {
            panic!("{:?}", again.users.replayed)
        };
        assert!(reason.contains("GET /buy"), "{reason}");
        let longest = text.iter().filter(|line| line.starts_with("{\"routes\""));
        let longest = longest.map(String::len).max();
        assert!(
            longest < Some(120),
            "a line a second stays short: {longest:?}"
        );
    }

    #[test]
    fn a_recording_from_before_there_were_routes_has_no_share_for_them() {
        let mut policy = serde_json::to_value(Policy::default()).unwrap();
        let keys = policy.as_object_mut().unwrap();
        keys.remove("routes_share");
        keys.remove("routes_amber");
        let old: Policy = serde_json::from_value(policy).unwrap();
        assert_eq!((old.routes_share, old.routes_amber), (0.0, 0.0));
        let lines = recorded(old);
        let without: Vec<RecordedLine> = lines
            .iter()
            .filter(|line| !matches!(line, RecordedLine::Past(_) | RecordedLine::Routes(_)))
            .cloned()
            .collect();
        assert_eq!(replay(&without, None).users.differences, []);
    }

    #[test]
    fn only_so_many_groups_are_told_of() {
        let mut usual = Usual::default();
        let many: Vec<_> = (0..100)
            .map(|n| counts(&format!("GET /{n:03}"), n, 0))
            .collect();
        usual.push(&many, &Sample::default(), 1);
        let top = usual.top();
        assert_eq!(
            (top.len(), top[0].route.as_str()),
            (PAST_GROUPS, "GET /099")
        );
    }
}

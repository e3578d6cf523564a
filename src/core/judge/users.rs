//! Evidence by users, where users are pinned: repeated requests of one user are no second piece of evidence.
//!
//! # Why this is an e-process
//!
//! Null hypothesis: whether and when a user's requests fail, or are slow, does not depend on the version that the
//! user is on. Chance: which version that is, is drawn for each user without a look at what the user does: at the
//! first visit (a newcomer's place), or by the release's salt (a permutation of all points, [`crate::core::seat`]).
//!
//! **Failures.** Let nature decide which users fail, and in which second; under the null it does so without regard to
//! versions. A first failure in this share reveals one version. Those never revealed are as good as shuffled over what
//! is left of the line: of its points, `g` of green's and `b` of blue's, `e` fail first in this second, and `x` of them
//! on green; given `e`, `x` is hypergeometric with margins `(g, b, e)`. So each second is a two-by-two table of the
//! *line* and the product of its likelihood ratios is a nonnegative martingale at odds 1, however active users are,
//! however often some of them fail, and however they come and go: nothing is assumed of which users are active. (To
//! hold failures against the users that are *active* would not be safe: users that fail and leave are then held against
//! those that stay.)
//!
//! **Latency.** A user is sampled once in a share, after a number of timed requests that is drawn for its point.
//! Users sampled in one block are a set that is independent of the version; given how many are green's and blue's, and
//! how many were slow, the slow ones on green are hypergeometric. A block ends by the number of its users alone.
//!
//! **Later shares** make two groups ([`crate::store::users`]): never counted, and counted on blue in the share just
//! before. In each, all users' versions were divided by the same draw, so each is a table of its own and the product
//! goes on. Users counted on green stay on green and are not counted again: they would repeat what they said.
//!
//! **Newcomers** are placed one by one, so their requests are tables as in a service without pinned users. One of them
//! may be counted again as a pinned user; the two processes depend on each other and are *averaged*: an average of
//! e-processes is one, however they depend.
//!
//! **Margins.** The odds ratio that is tolerated (1.1) is one of first failures. The share of requests that may fail on
//! top (0.1 pp) is credited to blue for each request of its pinned users, one a second of each: a request is at most
//! one user's first failure, so that this tolerates at least what is promised of requests.
//!
//! **Few users.** First failures do not come again: where all of green's users fail within seconds, the guard against
//! bursts takes them for a pause and leaves nothing to find later. So [`Lasting`] keeps the evidence they had, and lets
//! it count at the pace at which harm goes on. It is averaged with the other two.
//!
//! Hypergeometric likelihood ratios: see [`crate::core::sequential`]. Risk sets: Cox, "Regression models and
//! life-tables" (1972), here with the whole line at risk; ter Schure, Perez-Ortiz, Ly, Grünwald, "The anytime-valid
//! logrank test" (arXiv 2011.06931).

use super::lasting::Lasting;
use super::metric_test::{Pass, Seen, add};
use super::{Finding, Metric, Policy};
use crate::core::sequential::{Block, FailProcess, ln_sum};
use crate::core::stats::Tick;
use crate::core::users::{Sample, UserTick};
use serde::{Deserialize, Serialize};

/// The unit of evidence of harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A request: chance places each.
    #[default]
    Requests,
    /// A user: chance places each once.
    Users,
}

impl Unit {
    /// For serde: the unit of all recordings that do not name one.
    pub fn is_requests(&self) -> bool {
        *self == Unit::Requests
    }
}

/// The counts behind the evidence where users are pinned: of users, or of newcomers where those have more evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spoken {
    /// Whether pinned users are counted; otherwise the requests of newcomers, which are not pinned yet.
    pub users: bool,
    /// Users (or requests) of blue.
    pub blue: u64,
    /// Blue's failed or slow ones.
    pub blue_bad: u64,
    /// Users (or requests) of green.
    pub green: u64,
    /// Green's failed or slow ones.
    pub green_bad: u64,
}

impl Finding {
    /// What is counted, in words, and the counts: green's bad and all, then blue's.
    pub(super) fn shown(&self) -> (&'static str, [u64; 4]) {
        match (&self.spoken, self.tolerated) {
            (Some(spoken), None) => {
                let counts = [spoken.green_bad, spoken.green, spoken.blue_bad, spoken.blue];
                let users = " of users";
                (
                    if spoken.users {
                        users
                    } else {
                        " of newcomers' requests"
                    },
                    counts,
                )
            }
            _ => {
                let green = [self.green_bad, self.green_requests];
                ("", [green[0], green[1], self.blue_bad, self.blue_requests])
            }
        }
    }
}

/// Green's users that a block of latency waits for, on average: few enough to come soon, and seldom none.
const EXPECTED: f64 = 2.0;

/// Highest number of users that a block waits for.
const WAITED_MAX: u64 = 200;

/// The counts of one metric by users in one second.
#[derive(Clone, Debug)]
pub(super) struct SeenUsers {
    /// For PASS: one request per second of each user; bad by the PASS limits.
    pub(super) pass: Block,
    /// Newcomers' requests.
    fresh: Block,
    /// Requests of pinned users, one per second of each: only `blue` and `green` are used.
    pace: Block,
    /// Both groups: the line's points at risk (failures), or the sampled users (latency).
    groups: [Block; 2],
    /// Pinned users that made their first request.
    active: (u64, u64),
    /// Green's part of the line.
    share: f64,
}

/// A second with the numbers of all and of bad requests, blue's and green's.
fn second(blue: (u64, u64), green: (u64, u64)) -> Block {
    Block {
        seconds: 1,
        blue: blue.0,
        blue_bad: blue.1.min(blue.0),
        green: green.0,
        green_bad: green.1.min(green.0),
    }
}

impl SeenUsers {
    /// The counts of a metric. Latency is ignored before green is `warm`.
    ///
    /// Where users are not told apart, every request is a newcomer's.
    pub(super) fn of(metric: Metric, tick: &Tick, plain: &Seen, warm: bool) -> SeenUsers {
        match (&tick.blue.users, &tick.green.users) {
            (Some(blue), Some(green)) if warm || metric.level().is_none() => {
                SeenUsers::told_apart(metric, blue, green)
            }
            (Some(_), Some(_)) => SeenUsers::alike(second((0, 0), (0, 0)), second((0, 0), (0, 0))),
            _ => SeenUsers::alike(plain.good_enough(), plain.block),
        }
    }

    fn alike(pass: Block, fresh: Block) -> SeenUsers {
        SeenUsers {
            pass,
            fresh,
            pace: second((0, 0), (0, 0)),
            groups: [Block::default(); 2],
            active: (0, 0),
            share: 0.5,
        }
    }

    fn told_apart(metric: Metric, blue: &UserTick, green: &UserTick) -> SeenUsers {
        let pinned = |users: &UserTick| users.one.requests.saturating_sub(users.fresh.requests);
        let group = |users: &UserTick, at: usize| {
            let group = &users.groups[at];
            match metric.level() {
                None => (group.at_risk, group.failed),
                Some(level) => (group.timed, group.slow[level]),
            }
        };
        let sample = |sample: &Sample, pass: bool| match metric.level() {
            None => (sample.requests, sample.failed),
            Some(level) if pass => (sample.timed, sample.slow_pass[level]),
            Some(level) => (sample.timed, sample.slow_fail[level]),
        };
        let line = [blue, green].map(|users| users.groups[0].at_risk as f64);
        SeenUsers {
            pass: second(sample(&blue.one, true), sample(&green.one, true)),
            fresh: second(sample(&blue.fresh, false), sample(&green.fresh, false)),
            pace: second((pinned(blue), 0), (pinned(green), 0)),
            groups: [0, 1].map(|at| second(group(blue, at), group(green, at))),
            active: match metric.level() {
                None => (blue.active, green.active),
                Some(_) => (0, 0),
            },
            share: line[1] / (line[0] + line[1]).max(1.0),
        }
    }
}

/// One metric's evidence by users, beside that of newcomers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ByUsers {
    fail: FailProcess,
    /// First failures of few users, as far as harm goes on; for errors only.
    #[serde(default)]
    lasting: Option<Lasting>,
    /// Blocks of latency that wait for more users, by group.
    open: [Block; 2],
    open_fresh: Block,
    open_pass: Block,
    /// Users: of blue, its bad ones; of green, its bad ones.
    users: Block,
    /// Newcomers' requests.
    fresh: Block,
}

impl ByUsers {
    pub(super) fn new(policy: &Policy, metric: Metric) -> ByUsers {
        let m = metric as usize;
        ByUsers {
            fail: FailProcess::new(
                policy.betting(metric),
                policy.omega0[m],
                policy.delta0_ppm[m],
            ),
            lasting: metric.level().is_none().then(Lasting::default),
            open: Default::default(),
            open_fresh: Block::default(),
            open_pass: Block::default(),
            users: Block::default(),
            fresh: Block::default(),
        }
    }

    /// Drops half-open blocks: they would mix two shares.
    pub(super) fn start_step(&mut self) {
        self.open = Default::default();
        self.open_fresh = Block::default();
        self.open_pass = Block::default();
    }

    /// Adds a second beside blue; returns the counts to report.
    pub(super) fn tick(
        &mut self,
        metric: Metric,
        seen: &SeenUsers,
        newcomers: &mut FailProcess,
        pass: &mut Pass,
    ) -> Vec<Block> {
        let mut told = vec![];
        if let Some(block) = closed(&mut self.open_pass, &seen.pass)
            && let Pass::Concurrent(pass) = pass
        {
            pass.block(&block);
        }
        add(&mut self.fresh, &seen.fresh);
        if let Some(block) = closed(&mut self.open_fresh, &seen.fresh) {
            newcomers.block(&block);
            told.push(block);
        }
        let groups = match metric.level() {
            None => seen.groups,
            Some(_) => self.looked_at(seen),
        };
        let raw = self.fail.strata(&seen.pace, &groups);
        if let Some(lasting) = &mut self.lasting {
            lasting.second(&raw, &seen.pass);
        }
        self.count(metric, seen);
        told.extend(groups);
        told
    }

    /// The blocks of latency that are full now; the others are empty.
    fn looked_at(&mut self, seen: &SeenUsers) -> [Block; 2] {
        let smaller = seen.share.min(1.0 - seen.share);
        let wanted = ((EXPECTED / smaller.max(1e-9)).ceil() as u64).min(WAITED_MAX);
        let mut full = [Block::default(); 2];
        for ((open, more), full) in self.open.iter_mut().zip(&seen.groups).zip(&mut full) {
            add(open, more);
            if open.blue + open.green >= wanted {
                *full = std::mem::take(open);
            }
        }
        full
    }

    fn count(&mut self, metric: Metric, seen: &SeenUsers) {
        for group in &seen.groups {
            self.users.blue_bad += group.blue_bad;
            self.users.green_bad += group.green_bad;
            if metric.level().is_some() {
                self.users.blue += group.blue;
                self.users.green += group.green;
            }
        }
        self.users.blue += seen.active.0;
        self.users.green += seen.active.1;
    }

    /// Evidence that green is worse, with that of newcomers, in nats.
    pub(super) fn ln_e(&self, newcomers: f64) -> f64 {
        match &self.lasting {
            Some(lasting) => ln_sum(&[self.fail.ln_e(), newcomers, lasting.ln_e()]) - 3f64.ln(),
            None => ln_sum(&[self.fail.ln_e(), newcomers]) - std::f64::consts::LN_2,
        }
    }

    /// The counts of pinned users, or of newcomers where these have more evidence against green.
    pub(super) fn spoken(&self, newcomers: f64) -> Spoken {
        let users = self.fail.ln_e() >= newcomers || self.fresh.green_bad == 0;
        let counts = if users { &self.users } else { &self.fresh };
        Spoken {
            users,
            blue: counts.blue,
            blue_bad: counts.blue_bad.min(counts.blue),
            green: counts.green,
            green_bad: counts.green_bad.min(counts.green),
        }
    }
}

/// The block so far with one second more, once each version had a request in it.
fn closed(open: &mut Block, more: &Block) -> Option<Block> {
    add(open, more);
    (open.blue > 0 && open.green > 0).then(|| std::mem::take(open))
}

#[cfg(test)]
mod tests {
    use super::super::{Cause, Control, Judge, Verdict};
    use super::*;
    use crate::core::stats::PoolCounts;
    use crate::core::users::Group;

    fn judge() -> Judge {
        Judge::new(Policy {
            unit: Unit::Users,
            ..Policy::default()
        })
    }

    /// A pool's requests and failures, its `active` users, and those of the `at_risk` that fail `first`.
    fn pool(requests: u64, failed: u64, active: u64, at_risk: u64, first: u64) -> PoolCounts {
        let one = Sample {
            requests: active,
            failed: failed.min(active),
            ..Sample::default()
        };
        let first = Group {
            at_risk,
            failed: first,
            ..Group::default()
        };
        PoolCounts {
            requests,
            failed,
            users: Some(UserTick {
                one,
                active,
                groups: [first, Group::default()],
                ..UserTick::default()
            }),
            ..PoolCounts::default()
        }
    }

    #[test]
    fn what_one_user_does_again_is_no_evidence() {
        let mut judge = judge();
        judge.tick(&Tick {
            blue: pool(30, 0, 20, 5_000, 0),
            green: pool(30, 5, 20, 5_000, 1),
        });
        let first = judge.ln_e();
        assert!(first > 0.03, "{first}");
        for _ in 0..600 {
            judge.tick(&Tick {
                blue: pool(30, 0, 20, 5_000, 0),
                green: pool(30, 15, 20, 4_999, 0),
            });
            // No more than one first failure is worth, however often it is repeated: at a half, twice.
            assert!(judge.ln_e() < 2f64.ln(), "{}", judge.ln_e());
        }
        assert_eq!(judge.cause(), None);
        let spoken = judge.report().findings[0].spoken.unwrap();
        assert!(spoken.users && (spoken.green_bad, spoken.blue_bad) == (1, 0));
    }

    /// Twenty users of each version; all of green's fail within two seconds and go on failing for `seconds` seconds.
    fn all_at_once(seconds: u64) -> Judge {
        let mut judge = judge();
        for second in 0..120 {
            let (first, left) = match second {
                0 | 1 => (10, 5_000 - 10 * second),
                _ => (0, 4_980),
            };
            let failed = if second < seconds { 10 } else { 0 };
            judge.tick(&Tick {
                blue: pool(25, 0, 20, 5_000, 0),
                green: pool(25, failed, 20, left, first),
            });
        }
        judge
    }

    #[test]
    fn users_who_fail_at_once_are_found_where_they_go_on_and_not_after_a_pause() {
        assert_eq!(all_at_once(120).cause(), Some(Cause::Evidence));
        assert_eq!(all_at_once(4).cause(), None);
    }

    #[test]
    fn users_who_fail_one_after_another_are() {
        let mut judge = judge();
        for second in 0..30 {
            judge.tick(&Tick {
                blue: pool(30, 0, 20, 5_000, 0),
                green: pool(30, 4, 20, 5_000 - second, 1),
            });
        }
        let Verdict::Fail { reason } = judge.verdict() else {
            panic!("{:?}", judge.verdict())
        };
        let words = "green 5.0% of users failed (30 of 600) against blue 0% (0 of 600): blue had none, evidence ";
        assert!(reason.starts_with(words), "{reason}");
    }

    #[test]
    fn failures_are_held_against_the_line_and_not_against_who_is_active() {
        // Green's users make twenty times as many requests: their first failures are as many as blue's all the same.
        let (mut judge, mut other) = (judge(), judge());
        for second in 0..600 {
            let busy = Tick {
                blue: pool(10, 1, 10, 5_000 - second / 2, (second + 1) % 2),
                green: pool(200, 1, 200, 5_000 - second / 2, second % 2),
            };
            judge.tick(&busy);
            other.tick(&Tick {
                blue: busy.green,
                green: busy.blue,
            });
        }
        assert!(judge.ln_e() < 0.5 && other.ln_e() < 0.5);
    }

    #[test]
    fn newcomers_are_a_witness_of_their_own() {
        let fresh = |requests, failed| {
            let mut tick = pool(requests, failed, 0, 5_000, 0);
            let users = tick.users.as_mut().unwrap();
            users.fresh = Sample {
                requests,
                failed,
                ..Sample::default()
            };
            users.one = users.fresh;
            tick
        };
        let mut judge = judge();
        for _ in 0..30 {
            judge.tick(&Tick {
                blue: fresh(30, 0),
                green: fresh(30, 3),
            });
        }
        assert_eq!(judge.cause(), Some(Cause::Evidence));
        let reason = judge.report().failure();
        let words =
            "green 10% of newcomers' requests failed (90 of 900) against blue 0% (0 of 900)";
        assert!(reason.starts_with(words), "{reason}");
    }

    #[test]
    fn one_busy_user_is_no_outage_and_two_are() {
        for (users, cause) in [(1, None), (2, Some(Cause::Outage))] {
            let mut judge = judge();
            for _ in 0..5 {
                judge.tick(&Tick {
                    blue: pool(100, 0, 40, 9_500, 0),
                    green: pool(50, 50, users, 500, 0),
                });
            }
            assert_eq!(judge.cause(), cause, "{users}");
        }
    }

    #[test]
    fn a_block_of_latency_ends_by_its_users_and_is_dropped_with_the_share() {
        let slow = |timed, slow: u64| {
            let mut tick = pool(timed, 0, timed, 5_000, 0);
            let group = &mut tick.users.as_mut().unwrap().groups[0];
            (group.timed, group.slow) = (timed, [slow; 3]);
            tick
        };
        let mut judge = Judge::new(Policy {
            warmup_s: 0,
            ..judge().policy().clone()
        });
        let green_alone = Tick {
            blue: slow(0, 0),
            green: slow(3, 3),
        };
        judge.tick(&green_alone);
        judge.start_step(false, Control::Concurrent);
        let blue_alone = Tick {
            blue: slow(3, 0),
            green: slow(0, 0),
        };
        judge.tick(&blue_alone);
        assert!(judge.ln_e() < 1e-12, "half a table is no evidence");
        judge.tick(&green_alone);
        assert!(judge.ln_e() > 0.1, "{}", judge.ln_e());
    }

    #[test]
    fn recordings_that_know_no_users_are_judged_by_requests() {
        let old = serde_json::to_string(&Policy::default()).unwrap();
        assert!(!old.contains("unit"), "{old}");
        let policy: Policy = serde_json::from_str(&old).unwrap();
        assert_eq!(policy.unit, Unit::Requests);
        let tick = r#"{"requests":1,"failed":0,"timed":1,"slow_fail":[0,0,0],"slow_pass":[0,0,0]}"#;
        let tick: PoolCounts = serde_json::from_str(tick).unwrap();
        assert_eq!(tick.users, None);
        assert!(!serde_json::to_string(&tick).unwrap().contains("users"));
    }

    #[test]
    fn one_stratum_is_a_block() {
        let policy = Policy::default();
        let new = || FailProcess::new(policy.betting(Metric::Err), 1.1, 1_000);
        let (mut plain, mut strata) = (new(), new());
        for at in 0..50 {
            let block = Block {
                seconds: 1,
                blue: 470 + at,
                blue_bad: at % 3,
                green: 30,
                green_bad: at % 2,
            };
            plain.block(&block);
            strata.strata(&block, &[block]);
            assert!((plain.ln_e() - strata.ln_e()).abs() < 1e-12);
        }
    }
}

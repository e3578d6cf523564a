//! What the users of other rollout tools report as wrong, case by case. Each test names the reports.

// Helpers of tests are tests too: a fault in them is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use shifter::config::Config;
use shifter::core::fault::{Fault, Faults, route};
use shifter::core::judge::{Judge, Policy, Verdict};
use shifter::core::plan::Plan;
use shifter::core::rollout::{Action, Event, Outcome, Phase, Rollout};
use shifter::core::stats::{Histogram, Limits, PoolCounts, Tick};
use shifter::core::time::Time;
use shifter::core::weight::{Weight, point, salted};
use std::collections::HashSet;

fn pool(requests: u64, failed: u64) -> PoolCounts {
    PoolCounts {
        requests,
        failed,
        timed: requests - failed,
        ..PoolCounts::default()
    }
}

fn second(blue: (u64, u64), green: (u64, u64)) -> Tick {
    Tick {
        blue: pool(blue.0, blue.1),
        green: pool(green.0, green.1),
    }
}

/// A judge who has seen the same second so many times, and what it says at last.
fn judged(seconds: u64, tick: Tick) -> (Judge, Verdict) {
    let mut judge = Judge::new(Policy::default());
    for _ in 0..seconds {
        judge.tick(&tick);
    }
    let verdict = judge.verdict();
    (judge, verdict)
}

fn fails(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Fail { .. })
}

fn plan(more: &str) -> Plan {
    let text = format!("[service.app]\nblue = \"127.0.0.1:1\"\ngreen = \"127.0.0.1:2\"\n{more}");
    let config = Config::parse("pains.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    config.services[0].plan(None)
}

/// Feeds a rollout one verdict a second, and counts how often its share changed.
fn under(plan: Plan, verdict: &Verdict, seconds: u64) -> (Rollout, usize) {
    let (mut rollout, _) = Rollout::start(plan, Time(0));
    let mut shares = 0;
    for second in 1..=seconds {
        let now = Time(1_000 * second);
        for event in [Event::Ready, Event::Judged(verdict.clone()), Event::Tick] {
            let actions = rollout.on(event, now);
            let share = |action: &&Action| matches!(action, Action::SetWeight(_));
            shares += actions.iter().filter(share).count();
        }
    }
    (rollout, shares)
}

fn undecided() -> Verdict {
    Verdict::Inconclusive {
        leaning_worse: false,
        step_requests: 10_000,
        total_requests: 10_000,
    }
}

// ---- 1: low or no traffic

/// flagger 1035 and 1365, argo 1905: no values halt or abort an analysis.
#[test]
fn pain_1_no_traffic_is_no_verdict() {
    let (_, verdict) = judged(3_600, second((0, 0), (0, 0)));
    assert_eq!(verdict, Verdict::NoData);
    let (_, verdict) = judged(3_600, second((50, 0), (0, 0)));
    assert_eq!(verdict, Verdict::NoData, "blue alone says nothing of green");
    let deadline = 15 * 60;
    let (rollout, _) = under(plan(""), &Verdict::NoData, deadline - 60);
    assert_eq!(rollout.phase(), &Phase::Running { step: 1 }, "it waits");
    let (rollout, _) = under(plan(""), &Verdict::NoData, deadline + 60);
    let name = rollout.outcome().map(Outcome::name);
    assert_eq!(name, Some("inconclusive"), "and is promoted by nothing");
}

/// kortix-ai/suna PR 3403: one failed request of a few is a canary aborted for nothing.
#[test]
fn pain_1_one_failure_of_a_few_requests_is_no_verdict() {
    for few in [1, 2, 3, 5, 10] {
        let mut judge = Judge::new(Policy::default());
        for n in 0..few {
            judge.tick(&second((20, 0), (1, u64::from(n == 0))));
            assert!(!fails(&judge.verdict()), "1 of {few}");
        }
    }
}

// ---- 2: inconclusive

/// argo 3850: an inconclusive analysis is promoted all the same.
#[test]
fn pain_2_inconclusive_is_promoted_by_policy_only() {
    for policy in ["hold", "rollback"] {
        let plan = plan(&format!("on_inconclusive = \"{policy}\"\n"));
        let whole = plan.deadline.as_secs() + 60;
        let (rollout, _) = under(plan, &undecided(), whole);
        assert_eq!(rollout.weight(), Weight::NONE, "{policy}");
        assert_ne!(rollout.outcome(), Some(&Outcome::Promoted), "{policy}");
    }
    let (rollout, _) = under(plan(""), &undecided(), 3 * 15 * 60 + 60);
    assert_eq!(
        rollout.outcome(),
        Some(&Outcome::Promoted),
        "the policy says so"
    );
}

/// argo 3015 and 261: an inconclusive analysis is stuck, or pauses over and over.
#[test]
fn pain_2_inconclusive_is_neither_stuck_nor_a_loop() {
    let plan = plan("on_inconclusive = \"hold\"\ndeadline = \"2h\"\n");
    let (rollout, shares) = under(plan, &undecided(), 2 * 3_600 + 60);
    assert!(rollout.outcome().is_some(), "it ends at its deadline");
    assert_eq!(shares, 2, "5 % and back, nothing between");
}

// ---- 3: rank tests on a few numbers

/// kayenta 799: the control has no failure at all, and the experiment has.
#[test]
fn pain_3_a_control_without_failures_is_a_control() {
    let (_, verdict) = judged(120, second((95, 0), (5, 1)));
    assert!(fails(&verdict), "{verdict:?}");
}

/// kayenta 377: zeros and nothing compared with numbers pass for equal.
#[test]
fn pain_3_nothing_is_not_zero() {
    let (_, verdict) = judged(120, second((100, 0), (0, 0)));
    assert_eq!(verdict, Verdict::NoData);
    // Nobody is on blue: green's failures are not "equal to nothing" and not beyond it.
    let (_, verdict) = judged(120, second((0, 0), (100, 1)));
    assert!(!fails(&verdict), "no control, no comparison: {verdict:?}");
}

/// kayenta 426: sparse data. Mostly zeros on both sides, a rare failure on one.
#[test]
fn pain_3_a_rare_failure_is_no_regression() {
    let mut judge = Judge::new(Policy::default());
    for n in 0..1_800u64 {
        let rare = u64::from(n % 600 == 599);
        judge.tick(&second((50, 0), (50, rare)));
        assert!(!fails(&judge.verdict()), "second {n}");
    }
}

/// kayenta 780: a metric with hardly any spread fires on a difference that nobody feels, and a rank test
/// looks at order only: it does not see how much slower the slow ones are.
#[test]
fn pain_3_a_difference_within_the_margin_does_not_fire_and_a_long_tail_does() {
    let limits = || {
        let mut blue = Histogram::default();
        for n in 0..10_000u64 {
            // 40.0 to 40.2 ms: all the same.
            blue.record(40_000 + n / 50);
        }
        let mut judge = Judge::new(Policy::default());
        let (fail, pass) = judge.margins();
        let limits = Limits::freeze(&blue, fail, pass).expect("enough samples");
        judge.set_limits(Some(limits));
        (judge, limits)
    };
    let timed = |limits: &Limits, micros: &[u64]| {
        let above = |limits: [u64; 3]| {
            limits.map(|limit| micros.iter().filter(|m| **m > limit).count() as u64)
        };
        PoolCounts {
            slow_fail: above(limits.fail),
            slow_pass: above(limits.pass),
            ..pool(micros.len() as u64, 0)
        }
    };
    // Blue's slow requests are counted by its own quantiles.
    let blue = PoolCounts {
        slow_fail: [50, 10, 1],
        slow_pass: [50, 10, 1],
        ..pool(100, 0)
    };
    let run = |green: &dyn Fn(u64) -> Vec<u64>| {
        let (mut judge, limits) = limits();
        for n in 0..600 {
            let green = timed(&limits, &green(n));
            judge.tick(&Tick { blue, green });
        }
        judge.verdict()
    };
    // 2 ms more for everybody: every rank is higher, nobody feels it, and the margin is 10 % + 1 ms.
    let slightly = run(&|_| vec![42_100; 100]);
    assert!(!fails(&slightly), "{slightly:?}");
    // The median is better than blue's, and three of a hundred take a second.
    let long = run(&|_| [vec![39_000; 97], vec![1_000_000; 3]].concat());
    assert!(fails(&long), "{long:?}");
}

// ---- 4: why was it rolled back?

/// argo 2741, 3008, 404, flagger 1810 and 1304, kayenta 521: the reason has the values, the limit and the test.
#[test]
fn pain_4_a_rollback_says_why_in_numbers() {
    let (judge, verdict) = judged(120, second((95, 0), (5, 1)));
    let Verdict::Fail { reason } = verdict else {
        panic!("{verdict:?}");
    };
    // Values of both with their counts, the evidence and its limit.
    for part in [
        "green ",
        "% errors (",
        " against blue ",
        ", evidence ",
        ", limit 100:1",
    ] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    let report = judge.report();
    assert!(report.is_about_failures() && report.p_anytime < 0.01);
    let mut faults = Faults::default();
    for n in 0..41 {
        faults.add(Fault {
            how: "503".to_owned(),
            route: route("POST", if n < 31 { "/checkout/17" } else { "/" }),
            backend: None,
        });
    }
    let words = faults.words(1).unwrap();
    assert_eq!(
        words,
        "worst route POST /checkout/{id} (31 of 41 failures), mostly 503 (41 of 41)"
    );
}

// ---- 5: users who flip between versions

/// istio 1703 and 33343, envoy 8167 and 24741, flagger 1532 and 1647: a user who is kept flips, the share is not
/// what was set, or everybody is on green at once. The whole way, with cookies, is in `it/routing.rs`.
#[test]
fn pain_5_a_kept_user_does_not_flip_and_the_share_is_true() {
    const USERS: u64 = 100_000;
    let green = |percent: u16, salt: u64| -> HashSet<u64> {
        let weight = Weight::percent(percent).unwrap();
        let on_green = |user: &u64| weight.covers(point(salted(salted(*user, 7), salt)));
        (0..USERS).filter(on_green).collect()
    };
    let [five, half, all] = [5, 50, 100].map(|percent| green(percent, 1));
    assert!(
        five.is_subset(&half) && half.is_subset(&all),
        "5 to 50 only adds users"
    );
    for (users, share) in [(&five, 0.05), (&half, 0.5), (&all, 1.0)] {
        let seen = users.len() as f64 / USERS as f64;
        assert!((seen - share).abs() < 0.005, "{seen} is not {share}");
    }
    // The next release has other canaries.
    let next = green(5, 2);
    let both = five.intersection(&next).count() as f64 / five.len() as f64;
    assert!(both < 0.08, "{both} of the canaries are canaries again");
}

// ---- 20: a cold start

/// istio 21228, argo 1582, civitai PR 2193: a cold green is slow at first and is taken for a slow version.
#[test]
fn pain_20_a_cold_start_is_no_regression() {
    let mut judge = Judge::new(Policy::default());
    let mut blue = Histogram::default();
    for n in 0..10_000u64 {
        blue.record(20_000 + 4 * n);
    }
    let (fail, pass) = judge.margins();
    judge.set_limits(Limits::freeze(&blue, fail, pass));
    let usual = PoolCounts {
        slow_fail: [47, 9, 1],
        slow_pass: [47, 9, 1],
        ..pool(100, 0)
    };
    let cold = PoolCounts {
        slow_fail: [100; 3],
        slow_pass: [100; 3],
        ..pool(100, 0)
    };
    for n in 0..300 {
        // For 25 s every request is slower than everything that blue does.
        let green = if n < 25 { cold } else { usual };
        judge.tick(&Tick { blue: usual, green });
        assert!(!fails(&judge.verdict()), "second {n}");
    }
    // Errors of a cold start are no excuse: they count from the first request on.
    let mut judge = Judge::new(Policy::default());
    let broken = (0..25).any(|_| {
        judge.tick(&second((100, 0), (100, 60)));
        fails(&judge.verdict())
    });
    assert!(broken);
}

//! The judge's statistics: the properties that make them valid, and simulated traffic.

use proptest::prelude::*;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Binomial, Distribution, Poisson};
use shifter::core::analysis::Evidence;
use shifter::core::answers::AnswerTick;
use shifter::core::judge::{Cause, Control, Judge, Metric, Policy, Slo, Verdict};
use shifter::core::sequential::{
    AbsoluteTest, Block, FailProcess, HistoryFail, PassProcess, ln_choose, ln_lr, ln_z,
};
use shifter::core::stats::{Baseline, PoolCounts, Tick};
use shifter::core::weight::Weight;
use shifter::simulate::worlds::canary::{Ending, blue_green, canary, longest, plan};
use shifter::simulate::worlds::fault::Fault;
use shifter::simulate::worlds::patterns::{Chooser, Pattern, Setting};
use shifter::simulate::worlds::schedule::{
    End, Run, Settled, alone, drive as rollout, fixed, many, settle, steady, wilson,
};
use shifter::simulate::worlds::traffic::Traffic;
use shifter::simulate::worlds::world::World;

/// Every outcome of a two-by-two table with these margins, and its chance at this odds ratio.
fn outcomes(green: u64, blue: u64, bad: u64, odds: f64) -> impl Iterator<Item = (u64, f64)> {
    let z = ln_z(green, blue, bad, odds);
    (bad.saturating_sub(blue)..=bad.min(green)).map(move |x| {
        let ln = ln_choose(green, x) + ln_choose(blue, bad - x) + x as f64 * odds.ln() - z;
        (x, ln.exp())
    })
}

fn block(green: u64, blue: u64, bad: u64, green_bad: u64) -> Block {
    Block {
        seconds: 1,
        blue,
        blue_bad: bad - green_bad,
        green,
        green_bad,
    }
}

/// Margins of a table: green, blue, bad.
fn margins() -> impl Strategy<Value = (u64, u64, u64)> {
    (1u64..60, 1u64..120).prop_flat_map(|(green, blue)| (Just(green), Just(blue), 0..=green + blue))
}

fn history() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
    prop::collection::vec(margins(), 0..20)
}

/// Splits a table's bad requests in some fixed way.
fn any_split((green, blue, bad): (u64, u64, u64)) -> Block {
    let (low, high) = (bad.saturating_sub(blue), bad.min(green));
    block(green, blue, bad, low + (high - low) * 2 / 3)
}

fn pool(counts: [u64; 8]) -> PoolCounts {
    let [requests, failed, a, b, c, d, e, f] = counts;
    let timed = requests - requests.min(failed);
    PoolCounts {
        requests,
        failed,
        timed,
        slow_fail: [a, b, c],
        slow_pass: [d, e, f],
        slow_slo: [f, e, d],
        slow_gross: f,
        users: None,
        answers: AnswerTick {
            by_request: [a, b, c],
            timed,
            late: d,
        },
    }
}

fn ticks() -> impl Strategy<Value = Vec<(u8, Tick)>> {
    let counts = || prop::array::uniform8(0u64..40);
    let tick = (counts(), counts()).prop_map(|(blue, green)| Tick {
        blue: pool(blue),
        green: pool(green),
    });
    prop::collection::vec((0u8..30, tick), 1..80)
}

fn judge_all(ticks: &[(u8, Tick)]) -> Vec<(Verdict, String)> {
    let mut judge = Judge::new(Policy {
        max_excess_failures: Some(200),
        slo: Slo {
            error_rate: Some(0.5),
            latency: [Some(1); 3],
        },
        ..Policy::default()
    });
    let past = Baseline {
        failure_rate: 0.02,
        limits: Some([1, 2, 3]),
    };
    let mut seen = Vec::new();
    for (turn, tick) in ticks {
        match turn {
            0 => judge.start_step(false, Control::Concurrent),
            1 => judge.start_step(true, Control::Concurrent),
            2 => judge.start_step(true, Control::History(past)),
            _ => {}
        }
        judge.tick(tick);
        let (verdict, report) = (judge.verdict(), judge.report());
        seen.push((verdict.clone(), report.line(&verdict)));
    }
    seen
}

proptest! {
    /// Ville's inequality needs this and nothing else: no expected gain while green is not worse.
    #[test]
    fn a_likelihood_ratio_gains_nothing_within_the_margin(
        (green, blue, bad) in margins(), share in 0.01f64..=1.0, ratio in 1.0f64..400.0,
    ) {
        let odds0 = 1.1;
        let expected: f64 = outcomes(green, blue, bad, odds0 * share)
            .map(|(x, p)| p * ln_lr(green, blue, bad, x, odds0, odds0 * ratio).exp())
            .sum();
        prop_assert!(expected <= 1.0 + 1e-9, "{}", expected);
    }

    #[test]
    fn a_fail_process_without_grants_gains_nothing_within_the_margin(
        past in history(), (green, blue, bad) in margins(), share in 0.01f64..=1.0,
    ) {
        let mut fail = FailProcess::new(Policy::default().betting(Metric::P50), 1.1, 0);
        for table in past {
            fail.block(&any_split(table));
        }
        let expected: f64 = outcomes(green, blue, bad, 1.1 * share)
            .map(|(x, p)| {
                let mut next = fail.clone();
                next.block(&block(green, blue, bad, x));
                p * next.ln_e().exp()
            })
            .sum();
        prop_assert!(expected <= fail.ln_e().exp() * (1.0 + 1e-9));
    }

    #[test]
    fn a_pass_process_gains_nothing_beyond_the_margin(
        past in history(), (green, blue, bad) in margins(), factor in 1.0f64..50.0,
    ) {
        let mut pass = PassProcess::new(Policy::default().showing(), 1.5, 0);
        for table in past {
            pass.block(&any_split(table));
        }
        let expected: f64 = outcomes(green, blue, bad, 1.5 * factor)
            .map(|(x, p)| {
                let mut next = pass;
                next.block(&block(green, blue, bad, x));
                p * next.ln_e().exp()
            })
            .sum();
        prop_assert!(expected <= pass.ln_e().exp() * (1.0 + 1e-9));
    }

    #[test]
    fn a_process_on_blue_past_gains_nothing_on_its_side_of_the_rate(
        past in history(), requests in 1u64..80, rate in 0.001f64..0.5, share in 0.01f64..1.0,
    ) {
        let binomial = |p: f64| (0..=requests).map(move |x| {
            let ln = ln_choose(requests, x) + x as f64 * p.ln() + (requests - x) as f64 * (1.0 - p).ln();
            (x, ln.exp())
        });
        let policy = Policy::default();
        let mut fail = HistoryFail::new(policy.history_betting(), rate);
        let mut pass = AbsoluteTest::new(policy.showing(), rate);
        for table in past {
            let split = any_split(table);
            fail.block(1, split.green, split.green_bad);
            pass.block(1, split.green, split.green_bad);
        }
        let worse: f64 = binomial(rate * share).map(|(x, p)| {
            let mut next = fail.clone();
            next.block(1, requests, x);
            p * next.ln_e().exp()
        }).sum();
        prop_assert!(worse <= fail.ln_e().exp() * (1.0 + 1e-9));
        let good: f64 = binomial(rate + (0.999 - rate) * share).map(|(x, p)| {
            let mut next = pass;
            next.block(1, requests, x);
            p * next.ln_e().exp()
        }).sum();
        prop_assert!(good <= pass.ln_e().exp() * (1.0 + 1e-9));
    }

    /// No burst convicts, and no single second promotes.
    #[test]
    fn evidence_grows_no_faster_than_the_guard_allows(past in history()) {
        let policy = Policy::default();
        let mut fail = FailProcess::new(policy.betting(Metric::P90), 1.1, 1_000);
        let mut pass = PassProcess::new(policy.showing(), 1.5, 10_000);
        for (i, table) in past.into_iter().enumerate() {
            let before = pass.ln_e();
            fail.block(&any_split(table));
            pass.block(&any_split(table));
            let seconds = (i + 1) as f64;
            prop_assert!(fail.ln_e() <= policy.burst_low + policy.rho * seconds + 1e-9);
            prop_assert!(pass.ln_e() <= before + policy.pass_cap + 1e-9);
        }
    }

    /// A stall of up to three seconds of either pool, over four seconds of the clock, convicts nothing.
    #[test]
    fn a_stall_of_three_seconds_convicts_nothing(
        (blue, green) in (1u64..500, 1u64..500), calm in 0usize..60, stalled in 0usize..2,
        bad in prop::collection::vec((0.0f64..=1.0, 0.0f64..=1.0), 1..=4),
    ) {
        let mut judge = Judge::new(Policy { warmup_s: 0, ..Policy::default() }).without_intervals();
        let pools = |failing: [f64; 2], slow: [f64; 2]| {
            // In calm seconds green is no slower than blue, however few its requests are.
            let tick = |requests: u64, failing: f64, slow: f64, round: fn(f64) -> f64| {
                let failed = (failing * requests as f64).round() as u64;
                let timed = (requests - failed) as f64;
                let [a, b, c] = [0.5, 0.1, 0.01].map(|share| round(timed * slow.max(share)) as u64);
                pool([requests, failed, a, b, c, a, b, c])
            };
            Tick {
                blue: tick(blue, failing[0], slow[0], f64::ceil),
                green: tick(green, failing[1], slow[1], f64::floor),
            }
        };
        let one = |value: f64| std::array::from_fn(|i| if i == stalled { value } else { 0.0 });
        let mut ticks = vec![pools([0.0; 2], [0.0; 2]); calm];
        ticks.extend(bad.iter().map(|(failing, slow)| pools(one(*failing), one(*slow))));
        ticks.extend([pools([0.0; 2], [0.0; 2]); 60]);
        for tick in &ticks {
            judge.tick(tick);
            prop_assert_eq!(judge.cause(), None, "{}", judge.report().failure());
        }
    }

    #[test]
    fn equal_counts_give_equal_verdicts(ticks in ticks()) {
        prop_assert_eq!(judge_all(&ticks), judge_all(&ticks));
    }
}

/// Rollouts in each cell: few by default, more with `SHIFTER_AA_ROLLOUTS`. `examples/worlds` prints full tables.
fn rollouts() -> u64 {
    std::env::var("SHIFTER_AA_ROLLOUTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(6)
}

#[test]
fn less_than_one_percent_is_settled_early_and_one_percent_hardly_ever() {
    let settled = |back, of| Settled {
        back,
        of,
        below: true,
    };
    assert_eq!(settle(2, 10_000, |_| false), settled(0, 1_024));
    assert_eq!(settle(1, 10_000, |run| run == 5), settled(1, 1_280));
    let few = settle(1, 500, |_| false);
    assert_eq!((few.of, few.below), (500, false));
    let wrong = (0..300).filter(|seed| {
        let back = |run| {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed * 1_000_000 + run);
            rng.random::<f64>() < 0.01
        };
        settle(1, 10_000, back).below
    });
    // At most one in ten thousand is; two of 300 would be one chance in two thousand.
    let wrong = wrong.count();
    assert!(wrong <= 1, "{wrong} of 300");
}

fn simulate(world: World, fault: Fault, rate: f64, seconds: u64) -> Vec<Run> {
    many(2, rollouts(), |run| {
        let mut traffic = Traffic::new(run, rate, seconds as usize, world, fault);
        rollout(
            &mut traffic,
            &mut Evidence::new(Policy::default(), false).without_intervals(),
            0.05,
            fixed(seconds),
        )
    })
}

fn rolled_back(runs: &[Run]) -> u64 {
    runs.iter().filter(|run| run.end == End::RolledBack).count() as u64
}

#[test]
fn green_that_equals_blue_is_hardly_ever_rolled_back() {
    for world in World::ALL {
        let (mut hits, mut of) = (0, 0);
        for rate in [5.0, 50.0, 500.0] {
            let runs = simulate(world, Fault::NONE, rate, 1_800);
            hits += rolled_back(&runs);
            of += runs.len() as u64;
        }
        let (low, _) = wilson(hits, of);
        assert!(
            low <= 0.01,
            "{}: {hits} of {of} false rollbacks",
            world.name()
        );
    }
}

/// Rollouts that go back although green is exactly at its limits, in ten minutes of 10 requests a second.
fn broken_limits(runs: u64, alone: bool) -> usize {
    let slo = Slo {
        error_rate: Some(0.05),
        latency: [None, None, Some(800_000)],
    };
    let policy = Policy {
        slo,
        warmup_s: 0,
        ..Policy::default()
    };
    let past = Baseline {
        failure_rate: 0.05,
        limits: None,
    };
    let went_back = many(2, runs, |run| {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(run);
        let mut judge = Judge::new(policy.clone());
        if alone {
            judge.start_step(true, Control::History(past));
        }
        let mut second = |requests: f64| {
            let requests = Poisson::new(requests).map_or(0, |n| n.sample(&mut rng) as u64);
            let failed = Binomial::new(requests, 0.05).map_or(0, |n| n.sample(&mut rng));
            let timed = requests - failed;
            let slow = Binomial::new(timed, 0.01).map_or(0, |n| n.sample(&mut rng));
            PoolCounts {
                requests,
                failed,
                timed,
                slow_slo: [0, 0, slow],
                ..PoolCounts::default()
            }
        };
        (0..600).any(|_| {
            let blue = if alone {
                PoolCounts::default()
            } else {
                second(10.0)
            };
            judge.tick(&Tick {
                blue,
                green: second(10.0),
            });
            judge.cause().is_some()
        })
    });
    went_back.into_iter().filter(|back| *back).count()
}

#[test]
fn green_exactly_at_its_absolute_limits_keeps_the_budget_of_false_rollbacks() {
    for alone in [true, false] {
        let hits = broken_limits(2_000, alone);
        println!("alone {alone}: {hits} of 2,000 at the limits were rolled back");
        assert!(hits <= 20, "alone {alone}: {hits} of 2,000");
    }
}

#[test]
fn green_that_is_worse_is_found() {
    for (name, rate, within) in [
        ("err 0->100%", 5.0, 60),
        ("err 0->100%", 500.0, 6),
        ("err 0.1->5%", 500.0, 40),
        ("lat 5% +1s", 500.0, 90),
        ("lat tail x2", 500.0, 600),
    ] {
        let fault = Fault::ALL
            .into_iter()
            .find(|fault| fault.name == name)
            .unwrap();
        let runs = simulate(World::Wave, fault, rate, 1_800);
        let slowest = runs.iter().map(|run| run.at).max();
        assert_eq!(rolled_back(&runs), rollouts(), "{name} at {rate}");
        assert!(slowest <= Some(within), "{name} at {rate}: {slowest:?} s");
        assert!(runs.iter().all(|run| run.green > 0));
    }
}

#[test]
fn an_outside_incident_is_cancelled_only_by_a_blue_beside_green() {
    let traffic = || Traffic::new(1, 500.0, 600, World::Incident, Fault::NONE);
    let judge = || Evidence::new(Policy::default(), false);
    assert_eq!(
        alone(&mut traffic(), &mut judge(), 600).end,
        End::RolledBack
    );
    let held_back = rollout(&mut traffic(), &mut judge(), 0.95, steady(600));
    assert_eq!(held_back.end, End::Undecided);
}

/// Rollouts by the product's own plan and machine.
fn canaries(runs: u64, world: World, fault: Fault, rate: f64, holdback: u16) -> Vec<Ending> {
    let (plan, policy) = (plan(holdback), Policy::default());
    many(2, runs, |run| {
        let mut traffic = Traffic::new(run, rate, longest(&plan), world, fault);
        traffic.incident_at(210);
        canary(&mut traffic, &plan, &policy)
    })
}

fn ended(endings: &[Ending], outcome: &str) -> usize {
    let so = |ending: &&Ending| ending.outcome.name() == outcome;
    endings.iter().filter(so).count()
}

#[test]
fn a_canary_of_an_equal_green_is_promoted_and_mostly_on_evidence() {
    for world in [World::Iid, World::ColdStart, World::PrivateDrift] {
        let endings = canaries(60, world, Fault::NONE, 50.0, 0);
        assert_eq!(ended(&endings, "promoted"), 60, "{}", world.name());
        let proven = endings.iter().filter(|ending| !ending.silent).count();
        assert!(proven >= 45, "{}: {proven}", world.name());
        for ending in endings {
            assert_eq!((ending.share, ending.cause), (100, None));
        }
    }
}

#[test]
fn a_canary_of_a_worse_green_goes_back_at_the_first_share() {
    for (runs, rate, within) in [(60, 50.0, 240), (10, 500.0, 60)] {
        let endings = canaries(runs, World::Wave, Fault::ALL[2], rate, 0);
        assert_eq!(ended(&endings, "rolled_back"), runs as usize);
        for ending in endings {
            assert_eq!((ending.share, ending.cause), (5, Some(Cause::Evidence)));
            assert!(ending.green > 0 && ending.at <= within, "{ending:?}");
        }
    }
}

/// Where requests abound the evidence is there long before a share's shortest time is over.
#[test]
fn a_canary_leaves_no_share_early() {
    for ending in canaries(10, World::Iid, Fault::NONE, 500.0, 0) {
        assert_eq!(ending.outcome.name(), "promoted");
        assert!(ending.at >= 240, "a share was left early: {ending:?}");
    }
}

/// Limit of a green that serves alone: what hits from outside is not told from green. A blue held back tells it.
#[test]
fn what_is_held_back_tells_an_incident_from_a_regression() {
    let rolled_back = |holdback| {
        let endings = canaries(20, World::Incident, Fault::NONE, 500.0, holdback);
        ended(&endings, "rolled_back")
    };
    assert!(rolled_back(0) >= 10);
    assert_eq!(rolled_back(5), 0);
}

fn swaps(runs: u64, world: World, fault: Fault, challenge: u16) -> Vec<Ending> {
    let (plan, policy) = (blue_green(0, challenge), Policy::default());
    many(2, runs, |run| {
        let mut traffic = Traffic::new(run, 50.0, longest(&plan), world, fault);
        traffic.incident_at(100);
        canary(&mut traffic, &plan, &policy)
    })
}

/// A green that has everything, and an incident that hits both: blue's past convicts it, a blue that is asked does not.
#[test]
fn blue_is_asked_before_an_incident_is_green_s_fault() {
    let convicted = swaps(20, World::Incident, Fault::NONE, 0);
    assert!(ended(&convicted, "rolled_back") >= 10);
    let asked = swaps(20, World::Incident, Fault::NONE, 25);
    assert_eq!(ended(&asked, "rolled_back"), 0);
    assert!(asked.iter().all(|ending| ending.challenges > 0));
    let quiet = swaps(20, World::Iid, Fault::NONE, 25);
    let shared: u64 = quiet.iter().map(|ending| ending.shared).sum();
    assert_eq!(shared, 0, "where nothing is wrong green has everything");
}

/// A worse green that has everything costs no more users when blue is asked first.
#[test]
fn asking_blue_costs_no_more_users_than_blue_s_past() {
    let past = swaps(20, World::Wave, Fault::ALL[2], 0);
    let asked = swaps(20, World::Wave, Fault::ALL[2], 25);
    assert_eq!(ended(&asked, "rolled_back"), 20);
    let failed = |endings: &[Ending]| endings.iter().map(|ending| ending.failed).sum::<u64>();
    assert!(
        failed(&asked) <= failed(&past),
        "{} {}",
        failed(&asked),
        failed(&past)
    );
}

/// Clustered errors of sticky users: each retry counted as evidence makes false rollbacks, each user counted once does not.
#[test]
fn retries_of_sticky_users_are_no_evidence() {
    let rolled_back = |world| ended(&canaries(150, world, Fault::NONE, 50.0, 5), "rolled_back");
    let (each, once) = (
        rolled_back(World::ClustersCounted),
        rolled_back(World::ClustersSticky),
    );
    assert!(
        each >= 3 && once <= 1,
        "{each} of 150 with each retry, {once} with each user once"
    );
}

/// Patterns of traffic, and the shares at which two equal versions have it.
fn patterned() -> Vec<(Pattern, u16)> {
    let rounds = (2..=60).chain([89, 144, 233]);
    let periodic = rounds.flat_map(|period| {
        [false, true].map(|slow| Pattern::Periodic {
            period,
            clients: 1 + period % 2,
            closed: slow,
            slow,
        })
    });
    let pages = [21, 34, 55, 89].map(|requests| Pattern::Pages { requests });
    let services = [5, 21, 34].map(|period| Pattern::TwoServices { period });
    let batches = [false, true].map(|first| Pattern::Batch { first });
    let others = [Pattern::Monitors { pollers: 3 }];
    let all = periodic.chain(pages).chain(services).chain(batches);
    all.chain(others)
        .flat_map(|pattern| [(pattern, 5), (pattern, 50)])
        .collect()
}

/// Rollouts of a green that equals blue that go back, where the traffic repeats itself.
fn in_step(chooser: Chooser) -> Vec<(Pattern, u16)> {
    let cases = patterned();
    let back = many(2, cases.len() as u64, |case| {
        let (pattern, percent) = cases[case as usize];
        let setting = Setting {
            rate: 300.0,
            share: Weight::percent(percent).unwrap_or(Weight::ALL),
            seconds: 60,
            chooser,
        };
        pattern.goes_back(&setting, &Policy::default(), case)
    });
    let cases = cases.into_iter().zip(back);
    cases
        .filter(|(_, back)| *back)
        .map(|(case, _)| case)
        .collect()
}

/// The golden ratio is what newcomers were given by before, and what this test must find.
#[test]
fn traffic_that_repeats_itself_is_not_in_step_with_the_assignment() {
    let (shipped, golden) = (in_step(Chooser::Shipped), in_step(Chooser::Golden));
    assert_eq!(shipped, []);
    assert!(golden.len() >= 3, "{golden:?}");
}

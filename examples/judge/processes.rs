//! The bets one by one: likelihood ratios, evidence for and against green, by users, and of switchbacks.

use crate::vectors::Check;
use serde::Deserialize;
use serde_json::Value;
use shifter::core::judge::{Metric, Policy};
use shifter::core::sequential::{
    Betting, Block, FailProcess, HistoryFail, OddsGrid, PassProcess, Phantom, ln_lr, ln_sum, ln_z,
};
use shifter::core::stats::SpanStats;
use shifter::core::switchback::{Settings, Switchback};
use shifter::core::weight::Weight;

#[derive(Deserialize)]
struct Table {
    ng: u64,
    nb: u64,
    e: u64,
    omega: f64,
}

pub(crate) fn check_ln_z(
    check: &mut Check,
    _: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        #[serde(flatten)]
        table: Table,
        ln_z: f64,
    }
    let Case {
        table: t,
        ln_z: want,
    } = serde_json::from_value(case)?;
    check.ln("ln_z", ln_z(t.ng, t.nb, t.e, t.omega), want);
    Ok(())
}

pub(crate) fn check_ln_lr(
    check: &mut Check,
    _: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        #[serde(flatten)]
        table: Table,
        x: u64,
        omega0: f64,
        ln_lr: f64,
    }
    let Case {
        table: t,
        x,
        omega0,
        ln_lr: want,
    } = serde_json::from_value(case)?;
    check.ln("ln_lr", ln_lr(t.ng, t.nb, t.e, x, omega0, t.omega), want);
    Ok(())
}

pub(crate) fn check_phantom(
    check: &mut Check,
    _: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        delta_ppm: u64,
        blue: Vec<(u64, u64)>,
        xb_out: Vec<u64>,
    }
    let case: Case = serde_json::from_value(case)?;
    let mut phantom = Phantom::new(case.delta_ppm);
    let got: Vec<u64> = case.blue.iter().map(|&(n, x)| phantom.add(n, x)).collect();
    check.same("blue's bad requests", got, case.xb_out);
    Ok(())
}

type Counts = (u64, u64, u64, u64, u64);

fn block((seconds, blue, blue_bad, green, green_bad): Counts) -> Block {
    Block {
        seconds,
        blue,
        blue_bad,
        green,
        green_bad,
    }
}

pub(crate) fn check_fail(
    check: &mut Check,
    policy: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        omega0: f64,
        delta0_ppm: u64,
        blocks_dt_nb_xb_ng_xg: Vec<Counts>,
        ln_e: Vec<f64>,
        final_cash: f64,
        final_ln_m: [f64; 6],
        final_bucket: [f64; 6],
        p_anytime: f64,
    }
    let case: Case = serde_json::from_value(case)?;
    let mut fail = FailProcess::new(policy.betting(Metric::Err), case.omega0, case.delta0_ppm);
    let mut highest = 0f64;
    check.same(
        "number of blocks",
        case.blocks_dt_nb_xb_ng_xg.len(),
        case.ln_e.len(),
    );
    for (i, (&counts, &want)) in case
        .blocks_dt_nb_xb_ng_xg
        .iter()
        .zip(&case.ln_e)
        .enumerate()
    {
        fail.block(&block(counts));
        highest = highest.max(fail.ln_e());
        check.ln(&format!("ln_e[{i}]"), fail.ln_e(), want);
    }
    check.ratio("final_cash", fail.cash(), case.final_cash);
    for k in 0..6 {
        check.ln(
            &format!("final_ln_m[{k}]"),
            fail.ln_wealth()[k],
            case.final_ln_m[k],
        );
        check.ln(
            &format!("final_bucket[{k}]"),
            fail.room()[k],
            case.final_bucket[k],
        );
    }
    check.ratio("p_anytime", (-highest).exp().min(1.0), case.p_anytime);
    Ok(())
}

/// The guard with grants for what lasts, as `tests/reference/guard.py` has it: with the defaults, not with those of the file.
pub(crate) fn check_guard(
    check: &mut Check,
    _: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        omega0: f64,
        delta0_ppm: u64,
        rho: f64,
        burst_low: f64,
        burst_high: f64,
        persistence: usize,
        mild: Option<(f64, f64)>,
        blocks_dt_nb_xb_ng_xg: Vec<Counts>,
        ln_e: Vec<f64>,
        final_ln_m: [f64; 6],
    }
    let case: Case = serde_json::from_value(case)?;
    let betting = Betting {
        rho: case.rho,
        burst_low: case.burst_low,
        burst_high: case.burst_high,
        persistence: case.persistence,
        mild: case.mild,
        ..Policy::default().betting(Metric::Err)
    };
    let defaults = [Metric::Err, Metric::P50].map(|metric| Policy::default().betting(metric));
    check.same("defaults", defaults.contains(&betting), true);
    let mut fail = FailProcess::new(betting, case.omega0, case.delta0_ppm);
    let blocks = case.blocks_dt_nb_xb_ng_xg;
    check.same("number of blocks", blocks.len(), case.ln_e.len());
    for (i, (&counts, &want)) in blocks.iter().zip(&case.ln_e).enumerate() {
        fail.block(&block(counts));
        let near = (fail.ln_e() - want).abs() <= 1e-9;
        check.number(&format!("ln_e[{i}]"), fail.ln_e(), want, near);
    }
    for (k, want) in case.final_ln_m.into_iter().enumerate() {
        let got = fail.ln_wealth()[k];
        check.number(
            &format!("final_ln_m[{k}]"),
            got,
            want,
            (got - want).abs() <= 1e-9,
        );
    }
    Ok(())
}

/// A second of the pace (blue, green), two groups, and newcomers' requests.
type UserSecond = ([u64; 2], [u64; 4], [u64; 4], [u64; 4]);

/// Evidence by users: a second of the pace (blue, green), two groups, and newcomers' requests.
pub(crate) fn check_users(
    check: &mut Check,
    policy: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        omega0: f64,
        delta0_ppm: u64,
        seconds: Vec<UserSecond>,
        ln_e: Vec<f64>,
        ln_average: Vec<f64>,
    }
    let case: Case = serde_json::from_value(case)?;
    let new = || FailProcess::new(policy.betting(Metric::Err), case.omega0, case.delta0_ppm);
    let (mut pinned, mut fresh) = (new(), new());
    check.same("number of seconds", case.seconds.len(), case.ln_e.len());
    let of = |[blue, blue_bad, green, green_bad]: [u64; 4]| Block {
        seconds: 1,
        blue,
        blue_bad,
        green,
        green_bad,
    };
    for (i, &(pace, never, on_blue, newcomers)) in case.seconds.iter().enumerate() {
        let pace = of([pace[0], 0, pace[1], 0]);
        pinned.strata(&pace, &[of(never), of(on_blue)]);
        if newcomers[0] > 0 && newcomers[2] > 0 {
            fresh.block(&of(newcomers));
        }
        check.ln(&format!("ln_e[{i}]"), pinned.ln_e(), case.ln_e[i]);
        let average = ln_sum(&[pinned.ln_e(), fresh.ln_e()]) - 2f64.ln();
        check.ln(&format!("ln_average[{i}]"), average, case.ln_average[i]);
    }
    Ok(())
}

pub(crate) fn check_history(
    check: &mut Check,
    policy: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        p0: f64,
        rho: f64,
        blocks_dt_n_x: Vec<(u64, u64, u64)>,
        ln_e: Vec<f64>,
    }
    let case: Case = serde_json::from_value(case)?;
    let policy = Policy {
        history_rho: case.rho,
        ..policy.clone()
    };
    let mut fail = HistoryFail::new(policy.history_betting(), case.p0);
    check.same(
        "number of blocks",
        case.blocks_dt_n_x.len(),
        case.ln_e.len(),
    );
    for (i, (&(dt, n, x), &want)) in case.blocks_dt_n_x.iter().zip(&case.ln_e).enumerate() {
        fail.block(dt, n, x);
        check.ln(&format!("ln_e[{i}]"), fail.ln_e(), want);
    }
    Ok(())
}

pub(crate) fn check_pass(
    check: &mut Check,
    policy: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        omega1: f64,
        delta1_ppm: u64,
        blocks_dt_nb_xb_ng_xg: Vec<Counts>,
        ln_e: Vec<f64>,
    }
    let case: Case = serde_json::from_value(case)?;
    let mut pass = PassProcess::new(policy.showing(), case.omega1, case.delta1_ppm);
    check.same(
        "number of blocks",
        case.blocks_dt_nb_xb_ng_xg.len(),
        case.ln_e.len(),
    );
    for (i, (&counts, &want)) in case
        .blocks_dt_nb_xb_ng_xg
        .iter()
        .zip(&case.ln_e)
        .enumerate()
    {
        pass.block(&block(counts));
        check.ln(&format!("ln_e[{i}]"), pass.ln_e(), want);
    }
    Ok(())
}

pub(crate) fn check_odds(
    check: &mut Check,
    _: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        alpha: f64,
        blocks_dt_nb_xb_ng_xg: Vec<Counts>,
        low: Value,
        high: Value,
        best: Value,
    }
    let case: Case = serde_json::from_value(case)?;
    let mut grid = OddsGrid::default();
    for &counts in &case.blocks_dt_nb_xb_ng_xg {
        grid.block(&block(counts));
    }
    let (low, high, best) = grid.interval(case.alpha);
    for (what, got, want) in [
        ("low", low, case.low),
        ("high", high, case.high),
        ("best", best, case.best),
    ] {
        let want = match want.as_f64() {
            Some(number) => number,
            None if want.as_str() == Some("inf") => f64::INFINITY,
            None => f64::NAN,
        };
        check.ratio(what, got, want);
    }
    Ok(())
}

/// Evidence after each pair of windows; `tests/reference/switchback.py` is the second implementation.
pub(crate) fn check_switchback(
    check: &mut Check,
    policy: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Window {
        requests: u64,
        failed: u64,
        buckets: Vec<(usize, u64)>,
    }
    #[derive(Deserialize)]
    struct Pair {
        with: Window,
        without: Window,
    }
    #[derive(Deserialize)]
    struct Case {
        pairs: Vec<Pair>,
        ln_e: Vec<f64>,
    }
    let stats = |window: &Window| {
        let mut stats = SpanStats {
            requests: window.requests,
            failed: window.failed,
            ..SpanStats::default()
        };
        for (bucket, count) in &window.buckets {
            stats.latency.add(*bucket, *count);
        }
        stats
    };
    let case: Case = serde_json::from_value(case)?;
    let settings = Settings {
        window: 1,
        settle: 0,
        ..Settings::default()
    };
    let never = (0.0, f64::INFINITY);
    let mut switchback = Switchback::new(settings, Weight::ALL, policy.weights, never, 15);
    for (i, (pair, want)) in case.pairs.iter().zip(&case.ln_e).enumerate() {
        for _ in 0..2 {
            let on = switchback.green_on();
            switchback.second(&stats(if on { &pair.with } else { &pair.without }), 1);
        }
        let got = switchback.ln_e();
        check.number(&format!("pair {i}"), got, *want, (got - want).abs() <= 1e-9);
    }
    Ok(())
}

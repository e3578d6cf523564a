//! Checks the statistics against golden numbers: every section of `tests/vectors.json`.

use serde::Deserialize;
use serde_json::Value;
use shifter::core::answers::Hearing;
use shifter::core::contents::ContentSecond;
use shifter::core::judge::{
    Cause, Content, ContentPolicy, Control, Judge, Metric, Policy, Verdict,
};
use shifter::core::newcomer::newcomer;
use shifter::core::sequential::{
    Betting, Block, FailProcess, HistoryFail, OddsGrid, PassProcess, Phantom, ln_choose, ln_lr,
    ln_sum, ln_z,
};
use shifter::core::stats::{Histogram, Margin, PoolCounts, SpanStats, Tick};
use shifter::core::switchback::{Settings, Switchback};
use shifter::core::weight::Weight;
use std::collections::BTreeMap;

/// Largest difference of a logarithm.
const LN: f64 = 1e-6;
/// Largest relative difference of a limit or ratio.
const RELATIVE: f64 = 1e-6;

/// What one section of the file held.
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) cases: usize,
    pub(crate) numbers: usize,
    pub(crate) differences: Vec<String>,
}

/// What a whole file held.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) sections: Vec<Section>,
    pub(crate) unknown: Vec<String>,
    pub(crate) missing: Vec<&'static str>,
}

impl Outcome {
    /// Whether something was checked, all of it holds, and nothing was left unchecked.
    pub(crate) fn holds(&self) -> bool {
        self.unknown.is_empty()
            && self.sections.iter().any(|section| section.cases > 0)
            && self
                .sections
                .iter()
                .all(|section| section.differences.is_empty())
    }
}

/// Counts comparisons and keeps those that differ.
struct Check {
    section: Section,
    case: String,
}

impl Check {
    fn number(&mut self, what: &str, got: f64, want: f64, near: bool) {
        self.section.numbers += 1;
        let same = got == want || near;
        if !same || got.is_nan() {
            self.section.differences.push(format!(
                "{} {}: {what} is {got:.14}, wanted {want:.14}",
                self.section.name, self.case
            ));
        }
    }

    fn ln(&mut self, what: &str, got: f64, want: f64) {
        self.number(what, got, want, (got - want).abs() <= LN);
    }

    fn ratio(&mut self, what: &str, got: f64, want: f64) {
        self.number(what, got, want, (got - want).abs() <= RELATIVE * want.abs());
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, got: T, want: T) {
        self.section.numbers += 1;
        if got != want {
            self.section.differences.push(format!(
                "{} {}: {what} is {got:?}, wanted {want:?}",
                self.section.name, self.case
            ));
        }
    }
}

type Checker = fn(&mut Check, &Policy, Value) -> Result<(), serde_json::Error>;

const SECTIONS: [(&str, Checker); 16] = [
    ("ln_z", check_ln_z),
    ("ln_lr", check_ln_lr),
    ("phantom", check_phantom),
    ("fail_process", check_fail),
    ("guard", check_guard),
    ("history_fail_process", check_history),
    ("pass_process", check_pass),
    ("odds_interval", check_odds),
    ("quantile", check_quantile),
    ("outage", check_outage),
    ("engine_trace", check_trace),
    ("newcomers", check_newcomers),
    ("shuffled_blocks", check_blocks),
    ("switchback", check_switchback),
    ("user_process", check_users),
    ("contents", check_contents),
];

/// Checks a file's text; the error says what cannot be read.
pub(crate) fn check(text: &str) -> Result<Outcome, String> {
    let file: BTreeMap<String, Value> =
        serde_json::from_str(text).map_err(|e| format!("not a JSON object of sections: {e}"))?;
    let policy: Policy = match file.get("defaults") {
        Some(defaults) => serde_json::from_value(defaults.clone())
            .map_err(|e| format!("`defaults` cannot be read as settings: {e}"))?,
        None => Policy::default(),
    };
    let mut outcome = Outcome::default();
    for (name, checker) in SECTIONS {
        let Some(cases) = file.get(name) else {
            outcome.missing.push(name);
            continue;
        };
        let cases = cases
            .as_array()
            .ok_or(format!("section `{name}` is not a list"))?;
        outcome
            .sections
            .push(check_section(name, checker, &policy, cases)?);
    }
    let known =
        |key: &str| matches!(key, "about" | "defaults") || SECTIONS.iter().any(|s| s.0 == key);
    outcome.unknown = file.into_keys().filter(|key| !known(key)).collect();
    Ok(outcome)
}

fn check_section(
    name: &str,
    checker: Checker,
    policy: &Policy,
    cases: &[Value],
) -> Result<Section, String> {
    let section = Section {
        name: name.to_owned(),
        cases: cases.len(),
        numbers: 0,
        differences: Vec::new(),
    };
    let mut check = Check {
        section,
        case: String::new(),
    };
    for (i, case) in cases.iter().enumerate() {
        check.case = match case.get("name").and_then(Value::as_str) {
            Some(title) => format!("{i} ({title})"),
            None => i.to_string(),
        };
        checker(&mut check, policy, case.clone())
            .map_err(|e| format!("section `{name}`, case {}: {e}", check.case))?;
    }
    Ok(check.section)
}

/// Evidence after each pair of windows; `tests/reference/switchback.py` is the second implementation.
fn check_switchback(
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

#[derive(Deserialize)]
struct Table {
    ng: u64,
    nb: u64,
    e: u64,
    omega: f64,
}

fn check_ln_z(check: &mut Check, _: &Policy, case: Value) -> Result<(), serde_json::Error> {
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

fn check_ln_lr(check: &mut Check, _: &Policy, case: Value) -> Result<(), serde_json::Error> {
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

fn check_phantom(check: &mut Check, _: &Policy, case: Value) -> Result<(), serde_json::Error> {
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

fn check_fail(check: &mut Check, policy: &Policy, case: Value) -> Result<(), serde_json::Error> {
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

/// What answers are like, with the evidence of harm all of it; `tests/reference/contents.py` is the second implementation.
fn check_contents(check: &mut Check, _: &Policy, case: Value) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Second {
        starts: bool,
        counted: ContentSecond,
    }
    #[derive(Deserialize)]
    struct Case {
        judged: Vec<Content>,
        seconds: Vec<Second>,
        ln_e: Vec<f64>,
        told: Vec<(usize, Content, f64)>,
    }
    let case: Case = serde_json::from_value(case)?;
    let level = |what| match case.judged.contains(&what) {
        true => Hearing::Judge,
        false => Hearing::Report,
    };
    let mut judge = Judge::new(Policy {
        persistence: 0,
        gross_share: 0.0,
        routes_share: 0.0,
        answers_share: 0.0,
        contents: ContentPolicy {
            size: level(Content::Size),
            media: level(Content::Type),
            share: 1.0,
        },
        ..Policy::default()
    });
    for (second, want) in case.seconds.iter().zip(&case.ln_e) {
        if second.starts {
            judge.start_step(false, Control::Concurrent);
        }
        judge.count_contents(&second.counted);
        judge.tick(&Tick::default());
        let got = judge.ln_e();
        check.number("evidence", got, *want, (got - want).abs() <= 1e-9);
    }
    let told = judge.report().contents;
    check.same("number of findings", told.len(), case.told.len());
    for (got, (place, what, want)) in told.iter().zip(case.told) {
        let got_at = (got.route.as_str(), got.what);
        check.same("finding", got_at, (format!("GET /{place}").as_str(), what));
        check.number("finding", got.ln_e, want, (got.ln_e - want).abs() <= 1e-9);
    }
    Ok(())
}

/// The guard with grants for what lasts, as `tests/reference/guard.py` has it: with the defaults, not with those of the file.
fn check_guard(check: &mut Check, _: &Policy, case: Value) -> Result<(), serde_json::Error> {
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
fn check_users(check: &mut Check, policy: &Policy, case: Value) -> Result<(), serde_json::Error> {
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

fn check_history(check: &mut Check, policy: &Policy, case: Value) -> Result<(), serde_json::Error> {
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

fn check_pass(check: &mut Check, policy: &Policy, case: Value) -> Result<(), serde_json::Error> {
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

fn check_odds(check: &mut Check, _: &Policy, case: Value) -> Result<(), serde_json::Error> {
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

fn check_quantile(
    check: &mut Check,
    policy: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        latencies_ms: Vec<f64>,
        buckets: BTreeMap<String, u64>,
        quantiles: BTreeMap<String, f64>,
        green_fail_thresholds_ms: Vec<f64>,
        green_pass_thresholds_ms: Vec<f64>,
        green_final_pass_thresholds_ms: Vec<f64>,
    }
    let case: Case = serde_json::from_value(case)?;
    let mut histogram = Histogram::default();
    for millis in case.latencies_ms {
        histogram.record((millis * 1_000.0).round() as u64);
    }
    let counts = histogram
        .buckets()
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0);
    check.same(
        "buckets",
        counts.map(|(i, &count)| (i.to_string(), count)).collect(),
        case.buckets,
    );
    let mut levels: Vec<f64> = Vec::new();
    for (q, &want) in &case.quantiles {
        let level = q.parse().unwrap_or(f64::NAN);
        levels.push(level);
        check.ratio(&format!("quantile {q}"), histogram.quantile(level), want);
    }
    levels.sort_by(f64::total_cmp);
    let limits: [(&str, Margin, Vec<f64>); 3] = [
        (
            "green_fail_thresholds_ms",
            policy.lat_fail,
            case.green_fail_thresholds_ms,
        ),
        (
            "green_pass_thresholds_ms",
            policy.lat_pass,
            case.green_pass_thresholds_ms,
        ),
        (
            "green_final_pass_thresholds_ms",
            policy.lat_pass_final,
            case.green_final_pass_thresholds_ms,
        ),
    ];
    for (what, margin, wanted) in limits {
        check.same("number of limits", levels.len(), wanted.len());
        for (level, want) in levels.iter().zip(wanted) {
            check.ratio(
                &format!("{what} at {level}"),
                margin.above(histogram.quantile(*level)),
                want,
            );
        }
    }
    Ok(())
}

fn check_newcomers(check: &mut Check, _: &Policy, case: Value) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        salt: u64,
        first: u64,
        points: Vec<u16>,
    }
    let case: Case = serde_json::from_value(case)?;
    let number = |more| case.first.wrapping_add(more);
    let got = (0..case.points.len() as u64).map(|more| newcomer(number(more), case.salt));
    check.same("points", got.collect(), case.points);
    Ok(())
}

/// Chances of green's bad requests, with so many bad ones in each block of 20 of which green has so many.
fn shuffled(bad: &[u64], green: u64) -> Vec<f64> {
    let blue = 20 - green;
    bad.iter().fold(vec![1.0], |all, &bad| {
        let mut both = vec![0.0; all.len() + bad.min(green) as usize];
        for x in bad.saturating_sub(blue)..=bad.min(green) {
            let ln = ln_choose(green, x) + ln_choose(blue, bad - x) - ln_choose(20, bad);
            for (before, chance) in all.iter().enumerate() {
                both[before + x as usize] += chance * ln.exp();
            }
        }
        both
    })
}

/// The expected likelihood ratio of a second whose newcomers were given in blocks, where a second adds at most `cap`.
pub(crate) fn expected_in_blocks(
    bad: &[u64],
    percent: u64,
    odds0: f64,
    ratio: f64,
    cap: f64,
) -> f64 {
    let (requests, all) = (20 * bad.len() as u64, bad.iter().sum());
    let green = requests * percent / 100;
    let chances = (0..).zip(shuffled(bad, percent / 5));
    let terms = chances
        .filter(|(_, chance)| *chance > 0.0)
        .map(|(x, chance)| {
            let ln = ln_lr(green, requests - green, all, x, odds0, odds0 * ratio);
            chance * ln.min(cap).exp()
        });
    terms.sum()
}

fn check_blocks(check: &mut Check, _: &Policy, case: Value) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        bad: Vec<u64>,
        percent: u64,
        odds0: f64,
        ratio: f64,
        ln_e: f64,
        ln_e_cap_1: f64,
        ln_e_cap_3: f64,
    }
    let case: Case = serde_json::from_value(case)?;
    let caps = [
        (f64::INFINITY, case.ln_e),
        (1.0, case.ln_e_cap_1),
        (3.0, case.ln_e_cap_3),
    ];
    for (cap, want) in caps {
        let got = expected_in_blocks(&case.bad, case.percent, case.odds0, case.ratio, cap).ln();
        check.number(&format!("cap {cap}"), got, want, (got - want).abs() <= 1e-9);
    }
    Ok(())
}

fn check_outage(check: &mut Check, policy: &Policy, case: Value) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        last5_nb_xb_ng_xg: Vec<(u64, u64, u64, u64)>,
        outage: bool,
    }
    let case: Case = serde_json::from_value(case)?;
    let mut judge = Judge::new(policy.clone());
    for (nb, xb, ng, xg) in case.last5_nb_xb_ng_xg {
        let pool = |requests, failed| PoolCounts {
            requests,
            failed,
            ..PoolCounts::default()
        };
        judge.tick(&Tick {
            blue: pool(nb, xb),
            green: pool(ng, xg),
        });
    }
    check.same("outage", judge.cause() == Some(Cause::Outage), case.outage);
    Ok(())
}

#[derive(Deserialize)]
struct Mark {
    t: usize,
    ln_e: f64,
    ln_e_metric: [f64; 4],
    ln_pass_metric: [f64; 4],
    p_anytime: f64,
    verdict: String,
}

fn check_trace(check: &mut Check, policy: &Policy, case: Value) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Case {
        weight_change: Option<(usize, f64)>,
        ticks: Vec<[u64; 13]>,
        marks: Vec<Mark>,
        fail_at: Option<usize>,
    }
    let case: Case = serde_json::from_value(case)?;
    let mut judge = Judge::new(policy.clone());
    let mut failed_at = None;
    let mut marks = 0;
    for (t, counts) in case.ticks.iter().enumerate() {
        if case.weight_change.is_some_and(|(at, _)| at == t) {
            judge.start_step(true, Control::Concurrent);
        }
        judge.tick(&tick(counts));
        if failed_at.is_none() && matches!(judge.verdict(), Verdict::Fail { .. }) {
            failed_at = Some(t + 1);
        }
        for mark in case.marks.iter().filter(|mark| mark.t == t + 1) {
            marks += 1;
            check_mark(check, &judge, mark);
        }
    }
    check.same("marks within the ticks", marks, case.marks.len());
    check.same("fail_at", failed_at, case.fail_at);
    Ok(())
}

/// Fields: blue, failed, green, failed, slow at p50, p90, p99 (blue, green), too slow for PASS (green).
fn tick(c: &[u64; 13]) -> Tick {
    let blue_slow = [c[4], c[6], c[8]];
    let pool = |requests: u64, failed: u64, slow_fail, slow_pass| PoolCounts {
        requests,
        failed,
        timed: requests.saturating_sub(failed),
        slow_fail,
        slow_pass,
        ..PoolCounts::default()
    };
    Tick {
        blue: pool(c[0], c[1], blue_slow, blue_slow),
        green: pool(c[2], c[3], [c[5], c[7], c[9]], [c[10], c[11], c[12]]),
    }
}

fn check_mark(check: &mut Check, judge: &Judge, mark: &Mark) {
    let report = judge.report();
    let at = |what: &str| format!("{what} at {}", mark.t);
    check.ln(&at("ln_e"), report.ln_e, mark.ln_e);
    for metric in Metric::ALL {
        let m = metric as usize;
        let finding = report.finding(metric);
        let fail = finding.map_or(f64::NAN, |f| f.ln_e_fail);
        let pass = finding.and_then(|f| f.ln_e_pass).unwrap_or(f64::NAN);
        check.ln(
            &at(&format!("ln_e of {}", metric.name())),
            fail,
            mark.ln_e_metric[m],
        );
        check.ln(
            &at(&format!("PASS ln_e of {}", metric.name())),
            pass,
            mark.ln_pass_metric[m],
        );
    }
    check.ratio(&at("p_anytime"), report.p_anytime, mark.p_anytime);
    let verdict = match judge.verdict() {
        Verdict::Pass => "PASS",
        Verdict::Fail { .. } => "FAIL",
        Verdict::Inconclusive { .. }
        | Verdict::NoData
        | Verdict::BlueFails { .. }
        | Verdict::Suspect { .. }
        | Verdict::Unconfirmed { .. } => "CONTINUE",
    };
    check.same(&at("verdict"), verdict, mark.verdict.as_str());
}

//! The judge as a whole: its limits, what it says second by second, and what it reports.

use crate::vectors::Check;
use serde::Deserialize;
use serde_json::Value;
use shifter::core::answers::Hearing;
use shifter::core::contents::ContentSecond;
use shifter::core::judge::{
    Cause, Content, ContentPolicy, Control, Judge, Metric, Policy, Verdict,
};
use shifter::core::stats::{Histogram, Margin, PoolCounts, Tick};
use std::collections::BTreeMap;

pub(crate) fn check_quantile(
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

/// What answers are like, with the evidence of harm all of it; `tests/reference/contents.py` is the second implementation.
pub(crate) fn check_contents(
    check: &mut Check,
    _: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
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

pub(crate) fn check_outage(
    check: &mut Check,
    policy: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
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

pub(crate) fn check_trace(
    check: &mut Check,
    policy: &Policy,
    case: Value,
) -> Result<(), serde_json::Error> {
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

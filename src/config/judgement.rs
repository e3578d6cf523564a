//! The judge's margins and limits.

use crate::config::answers::{Answers, answers};
use crate::config::contents::contents;
use crate::config::defaults::JUDGEMENT;
use crate::config::file::{RawService, RawSlo};
use crate::config::parse::duration::{duration, duration_at};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Scalar, Value};
use crate::config::parse::value::{self, Check};
use crate::core::judge::{ContentPolicy, Metric, Policy, Slo};
use crate::core::stats::Margin;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Spanned;

/// A request counts as slow after 10 s at the latest, so a limit must lie below that.
const CEILING: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(9);

/// Which time of a request is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timed {
    /// Until the first byte of the answer: independent of the client's own line.
    #[default]
    FirstByte,
    /// Until the last byte has gone to the client; for a stream without end until the first.
    Total,
}

const TIMED: [(&str, Timed); 2] = [("first-byte", Timed::FirstByte), ("total", Timed::Total)];

/// The margins of the judge.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// 1 minus the chance of a false rollback, above 0.5 and below 1.
    pub confidence: f64,
    /// How much higher green's error rate may be, as an absolute share of requests: 0.001 is 0.1 percentage points.
    pub error_margin: f64,
    /// How much slower green may be.
    pub latency_margin: Margin,
    /// Which time is compared.
    pub latency: Timed,
    /// Time from green's first request in which latency is not judged, so that caches may fill; whole seconds.
    pub latency_grace: Duration,
    /// Failed requests beyond blue's rate after which green is rolled back, whatever the statistics say; `None`: no
    /// cap.
    pub max_excess_failures: Option<u64>,
    /// Answers of 400 to 499 are failures, of both colours.
    pub count_4xx: bool,
    /// What differences between the answers of both versions lead to.
    pub answers: Answers,
    /// What sizes and content types of answers lead to.
    pub contents: ContentPolicy,
    /// What green may not exceed, whatever blue does.
    pub slo: Slo,
}

impl Judgement {
    /// The chance of a false rollback that is accepted.
    pub fn alpha(&self) -> f64 {
        1.0 - self.confidence
    }

    /// The judge's policy from these margins.
    pub fn policy(&self) -> Policy {
        let mut policy = Policy {
            alpha: self.alpha(),
            ..Policy::default()
        };
        policy.lat_fail = self.latency_margin;
        // What FAIL tolerates as harmless, PASS must accept as good enough.
        for pass in [&mut policy.lat_pass, &mut policy.lat_pass_final] {
            pass.ratio = pass.ratio.max(policy.lat_fail.ratio);
            pass.millis = pass.millis.max(policy.lat_fail.millis);
        }
        policy.delta0_ppm[0] = u64::from(self.error_margin_ppm());
        policy.warmup_s = self.latency_grace.as_secs();
        policy.max_excess_failures = self.max_excess_failures;
        policy.slo = self.slo;
        policy.answers = self.answers.by_kind(self.count_4xx, self.latency);
        policy.contents = self.contents;
        if self.count_4xx {
            // Many clients request what does not exist, from any version.
            policy.gross_failures = Policy::NEVER_GROSS;
        }
        policy
    }

    /// The error margin in parts per million.
    pub fn error_margin_ppm(&self) -> u32 {
        (self.error_margin * 1e6).round() as u32
    }
}

/// The margins of a service.
pub(crate) fn judgement(raw: &RawService) -> Check<Judgement> {
    Ok(Judgement {
        confidence: confidence(&raw.confidence)?,
        error_margin: raw
            .error_margin
            .as_ref()
            .map_or(Ok(JUDGEMENT.error_margin), error_margin)?,
        latency_margin: raw
            .latency_margin
            .as_ref()
            .map_or(Ok(JUDGEMENT.latency_margin), latency_margin)?,
        latency: value::choice("latency", &raw.latency, &TIMED, JUDGEMENT.latency)?,
        latency_grace: duration(
            "latency_grace",
            &raw.latency_grace,
            Duration::ZERO..=Duration::from_secs(3600),
            JUDGEMENT.latency_grace,
        )?,
        max_excess_failures: match &raw.max_excess_failures {
            None => JUDGEMENT.max_excess_failures,
            given => Some(value::number(
                "max_excess_failures",
                given,
                1..=1_000_000_000,
                0,
            )?),
        },
        count_4xx: raw
            .count_4xx
            .as_ref()
            .map_or(JUDGEMENT.count_4xx, |given| *given.get_ref()),
        answers: answers(&raw.answers)?,
        contents: contents(&raw.answers)?,
        slo: raw.slo.as_ref().map_or(Ok(JUDGEMENT.slo), slo)?,
    })
}

fn slo(table: &Spanned<RawSlo>) -> Check<Slo> {
    let raw = table.get_ref();
    let error_rate = raw.max_error_rate.as_ref().map(max_error_rate);
    let mut limits = Slo {
        error_rate: error_rate.transpose()?,
        ..Slo::default()
    };
    for (metric, time) in [
        (Metric::P50, &raw.max_p50),
        (Metric::P90, &raw.max_p90),
        (Metric::P99, &raw.max_p99),
    ] {
        let (Some(level), Some(time)) = (metric.level(), time) else {
            continue;
        };
        let ceiling = duration_at(Slo::key(metric), &time.get_ref().0, time.span(), CEILING)?;
        limits.latency[level] = Some(u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX));
    }
    if limits == Slo::default() {
        return Err(Problem::at(
            table.span(),
            "`slo` limits nothing",
            "this table",
            "for example: slo = { max_error_rate = \"5%\", max_p99 = \"800ms\" }",
        ));
    }
    Ok(limits)
}

fn max_error_rate(raw: &Spanned<Scalar>) -> Check<f64> {
    let text = &raw.get_ref().0;
    let percent = text
        .strip_suffix('%')
        .and_then(|n| n.trim().parse::<f64>().ok());
    match percent {
        Some(percent) if (0.001..=90.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err(Problem::at(
            raw.span(),
            format!(
                "`max_error_rate` is \"{}\": it must be 0.001% to 90%",
                value::brief(text)
            ),
            "not a share of requests",
            "write percent in quotes: \"5%\" lets one request in twenty fail",
        )),
    }
}

fn confidence(raw: &Value<f64>) -> Check<f64> {
    let Some(raw) = raw else {
        return Ok(JUDGEMENT.confidence);
    };
    let confidence = *raw.get_ref();
    // 0.999999: one false rollback in a million; beyond it no traffic suffices.
    if confidence > 0.5 && confidence <= 0.999_999 {
        return Ok(confidence);
    }
    let help = if (50.0..100.0).contains(&confidence) {
        format!("it is a ratio, not percent: write {}", confidence / 100.0)
    } else {
        "write a ratio such as 0.99: at most one false rollback in a hundred rollouts".to_owned()
    };
    let what = format!("`confidence` is {confidence}: it must be above 0.5 and at most 0.999999");
    Err(Problem::at(raw.span(), what, "out of range", help))
}

fn error_margin(raw: &Spanned<Scalar>) -> Check<f64> {
    let text = &raw.get_ref().0;
    let points = text
        .strip_suffix("pp")
        .and_then(|n| n.trim().parse::<f64>().ok());
    match points {
        Some(points) if (0.0..=50.0).contains(&points) => Ok(points / 100.0),
        _ => Err(Problem::at(
            raw.span(),
            format!(
                "`error_margin` is \"{}\": it must be 0pp to 50pp",
                value::brief(text)
            ),
            "not percentage points",
            "write percentage points in quotes: \"0.1pp\" lets green's error rate be 1.1 % where blue's is 1 %",
        )),
    }
}

fn latency_margin(raw: &Spanned<Scalar>) -> Check<Margin> {
    margin("latency_margin", raw)
}

/// Percent, and a time on top: `10% + 1ms`.
pub(crate) fn margin(key: &str, raw: &Spanned<Scalar>) -> Check<Margin> {
    let text = &raw.get_ref().0;
    let (percent, plus) = match text.split_once('+') {
        Some((percent, plus)) => (percent.trim(), Some(plus.trim())),
        None => (text.trim(), None),
    };
    let percent = percent
        .strip_suffix('%')
        .and_then(|n| n.trim().parse::<f64>().ok());
    let Some(percent) = percent.filter(|percent| (0.0..=1000.0).contains(percent)) else {
        return Err(Problem::at(
            raw.span(),
            format!(
                "`{key}` is \"{}\": it must be 0% to 1000%, and a time if you like",
                value::brief(text)
            ),
            "not a margin",
            "write percent in quotes, and what small latencies get on top: \"10%\" or \"10% + 1ms\"",
        ));
    };
    let millis = match plus {
        None => JUDGEMENT.latency_margin.millis,
        Some(plus) => {
            let allowed = Duration::ZERO..=Duration::from_secs(60);
            duration_at(key, plus, raw.span(), allowed)?.as_secs_f64() * 1e3
        }
    };
    Ok(Margin {
        ratio: percent / 100.0,
        millis,
    })
}

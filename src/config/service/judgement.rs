//! The judge's margins: `confidence`, `error_margin`, `latency_margin` and what belongs to them.

use crate::config::parse::duration::{duration, seconds};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Scalar, Text, Value};
use crate::config::parse::value::{self, Check};
use crate::config::service::answers::{Answers, RawAnswers, answers, contents};
use crate::config::service::latency::{MILLIS, TIMED, Timed, margin};
use crate::config::service::slo::{RawSlo, slo};
use crate::core::answers::Hearing;
use crate::core::judge::{ContentPolicy, Policy, Slo};
use crate::core::stats::Margin;
use std::time::Duration;
use toml::Spanned;

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

/// The keys of `[service.NAME]` that are for the judge, as written.
pub(crate) struct RawJudgement<'a> {
    pub(crate) confidence: &'a Value<f64>,
    pub(crate) error_margin: &'a Value<Scalar>,
    pub(crate) latency_margin: &'a Value<Scalar>,
    pub(crate) latency: &'a Text,
    pub(crate) latency_grace: &'a Value<Scalar>,
    pub(crate) max_excess_failures: &'a Value<i64>,
    pub(crate) count_4xx: &'a Value<bool>,
    pub(crate) answers: &'a Value<RawAnswers>,
    pub(crate) slo: &'a Value<RawSlo>,
}

/// One false rollback in a hundred rollouts at most; 0.1 percentage points and 10 % + 1 ms are tolerated.
const DEFAULT: Judgement = Judgement {
    confidence: 0.99,
    error_margin: 0.001,
    latency_margin: Margin {
        ratio: 0.10,
        millis: MILLIS,
    },
    latency: Timed::FirstByte,
    latency_grace: seconds(30),
    max_excess_failures: None,
    count_4xx: false,
    answers: Answers {
        status: Hearing::Judge,
        gave_up: Hearing::Judge,
        last_byte: Hearing::Judge,
    },
    contents: ContentPolicy::REPORT,
    slo: Slo {
        error_rate: None,
        latency: [None; 3],
    },
};

/// The margins of a service.
pub(crate) fn judgement(raw: &RawJudgement<'_>) -> Check<Judgement> {
    Ok(Judgement {
        confidence: confidence(raw.confidence)?,
        error_margin: raw
            .error_margin
            .as_ref()
            .map_or(Ok(DEFAULT.error_margin), error_margin)?,
        latency_margin: raw
            .latency_margin
            .as_ref()
            .map_or(Ok(DEFAULT.latency_margin), latency_margin)?,
        latency: value::choice("latency", raw.latency, &TIMED, DEFAULT.latency)?,
        latency_grace: duration(
            "latency_grace",
            raw.latency_grace,
            Duration::ZERO..=Duration::from_secs(3600),
            DEFAULT.latency_grace,
        )?,
        max_excess_failures: match raw.max_excess_failures {
            None => DEFAULT.max_excess_failures,
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
            .map_or(DEFAULT.count_4xx, |given| *given.get_ref()),
        answers: answers(raw.answers)?,
        contents: contents(raw.answers)?,
        slo: raw.slo.as_ref().map_or(Ok(DEFAULT.slo), slo)?,
    })
}

fn confidence(raw: &Value<f64>) -> Check<f64> {
    let Some(raw) = raw else {
        return Ok(DEFAULT.confidence);
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

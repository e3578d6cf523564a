//! The evidence in numbers, and in one line of words.

use super::gross::Gross;
use super::metric_test::MetricTest;
use super::users::Spoken;
use super::words::{against_one, counted, grouped, milliseconds, percent, times};
use super::{
    AnswerFinding, Blamed, ContentFinding, GrossFinding, Judge, LimitFinding, RouteFinding, Slo,
    Unit, Verdict,
};
use crate::core::answers::AnswerKind;
use crate::core::fault::Faults;
use crate::core::stats::Limits;
use serde::{Deserialize, Serialize};

/// A compared metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Failed requests.
    Err,
    /// Requests slower than blue's median.
    P50,
    /// Requests slower than blue's 90th percentile.
    P90,
    /// Requests slower than blue's 99th percentile.
    P99,
}

impl Metric {
    /// All four, in the order of every list in [`super::Policy`].
    pub const ALL: [Metric; 4] = [Metric::Err, Metric::P50, Metric::P90, Metric::P99];

    /// The name in labels, files and sentences.
    pub const fn name(self) -> &'static str {
        match self {
            Metric::Err => "err",
            Metric::P50 => "p50",
            Metric::P90 => "p90",
            Metric::P99 => "p99",
        }
    }

    /// The index of a latency metric in [`crate::core::stats::QUANTILES`].
    pub const fn level(self) -> Option<usize> {
        match self {
            Metric::Err => None,
            Metric::P50 => Some(0),
            Metric::P90 => Some(1),
            Metric::P99 => Some(2),
        }
    }
}

/// Which rule makes green fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// In the last five seconds nearly every request on green failed.
    Outage,
    /// The evidence of harm reached its limit.
    Evidence,
    /// The evidence of harm reached its limit, and most of it is that green is beyond an absolute limit.
    Slo,
    /// Green's failed requests beyond blue's rate exceed the harm cap.
    HarmCap,
}

/// One metric's evidence. Counts are of the whole rollout; latency without the warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The compared metric.
    pub metric: Metric,
    /// Blue's requests while it served beside green.
    pub blue_requests: u64,
    /// Blue's failed or slow requests.
    pub blue_bad: u64,
    /// Green's requests.
    pub green_requests: u64,
    /// Green's failed or slow requests.
    pub green_bad: u64,
    /// Mantel-Haenszel odds ratio of the two; `None` where blue had no bad request beside green's.
    pub odds: Option<f64>,
    /// Lower bound of the odds ratio.
    pub odds_low: f64,
    /// Upper bound of the odds ratio; `None` where there is no bound.
    pub odds_high: Option<f64>,
    /// The share of bad requests that is tolerated while green serves alone.
    pub tolerated: Option<f64>,
    /// Evidence that green is worse, as a natural logarithm, in nats.
    pub ln_e_fail: f64,
    /// Evidence that green is good enough in this step, in nats; `None` where that is not required.
    pub ln_e_pass: Option<f64>,
    /// Counts of users, where users are pinned and are counted instead of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spoken: Option<Spoken>,
}

fn errors() -> Metric {
    Metric::Err
}

impl Finding {
    /// The odds ratio of all counts as if they were one block, by Haldane and Anscombe: half a request
    /// more in each cell keeps it finite.
    fn plain_odds(&self) -> f64 {
        let odds = |bad: u64, requests: u64| (bad as f64 + 0.5) / ((requests - bad) as f64 + 0.5);
        odds(self.green_bad, self.green_requests) / odds(self.blue_bad, self.blue_requests)
    }
}

/// Everything that a verdict rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Evidence that green is worse, now: a natural logarithm, in nats.
    pub ln_e: f64,
    /// The highest value of `ln_e` so far, in nats.
    pub ln_e_max: f64,
    /// Evidence of this step that green, serving alone, is worse than blue's past, in nats.
    #[serde(default)]
    pub ln_suspicion: f64,
    /// Threshold of `ln_suspicion` at which blue is compared again, in nats.
    #[serde(default)]
    pub ln_suspect: f64,
    /// Threshold of `ln_e` at which green fails: `ln(1 / alpha)`, in nats.
    pub ln_limit: f64,
    /// Threshold of `ln_e_pass` at which a metric passes: `ln(1 / alpha_pass)`, in nats.
    pub ln_pass: f64,
    /// The chance of this much evidence, at any time, from a green that is not worse: 0 to 1.
    pub p_anytime: f64,
    /// One finding for each metric.
    pub findings: Vec<Finding>,
    /// The compared metric with most weight in the evidence of harm.
    pub blamed: Metric,
    /// The metric with most weight in the suspicion.
    #[serde(default = "errors")]
    pub suspected: Metric,
    /// One finding for each absolute limit.
    #[serde(default)]
    pub rails: Vec<LimitFinding>,
    /// The index in `rails` of the limit with more weighted evidence than every comparison.
    #[serde(default)]
    pub broken: Option<usize>,
    /// Gross slowness, where it is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gross: Option<GrossFinding>,
    /// Whether gross slowness has more weighted evidence than every comparison and limit.
    #[serde(default)]
    pub grossly_slow: bool,
    /// Whether latency is compared with a fresh copy of blue's release, not with blue's pool.
    #[serde(default)]
    pub baseline: bool,
    /// Evidence that green is worse, including the latency evidence of a share too small for a fair comparison, in
    /// nats.
    #[serde(default)]
    pub ln_small: f64,
    /// The rule that makes green fail.
    pub cause: Option<Cause>,
    /// Failed requests that green cost beyond blue's rate.
    pub excess_failures: f64,
    /// The limit of `excess_failures`.
    pub max_excess_failures: Option<u64>,
    /// Latency limits in force.
    pub limits: Option<Limits>,
    /// Green requests judged in this step.
    pub step_requests: u64,
    /// Seconds judged in this step.
    #[serde(default)]
    pub step_seconds: u64,
    /// Seconds from green's first request until latency is judged.
    #[serde(default)]
    pub grace_seconds: u64,
    /// Seconds left until latency is judged.
    #[serde(default)]
    pub grace_left: u64,
    /// Green requests judged in the whole rollout.
    pub total_requests: u64,
    /// The routes with most evidence, then with most requests, where requests were counted by route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteFinding>,
    /// The route with most evidence against green, where it weighs most of all or leans worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Blamed>,
    /// The results of the further comparisons of answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<AnswerFinding>,
    /// The kind of answers with more weighted evidence than everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerKind>,
    /// The reported differences of contents between green's answers and blue's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contents: Vec<ContentFinding>,
    /// The judged difference of contents that has most evidence of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentFinding>,
    /// Where green's failed requests failed, as far as the caller knows it.
    #[serde(default)]
    pub faults: Faults,
    /// The report on shifter's own probe requests, where the caller sends some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Box<Report>>,
    /// Requests and failures of the last seconds: blue, blue failed, green, green failed.
    pub recent: [u64; 4],
    /// The unit of evidence of harm.
    #[serde(default, skip_serializing_if = "Unit::is_requests")]
    pub unit: Unit,
}

impl Judge {
    /// The evidence as it stands.
    pub fn report(&self) -> Report {
        let heaviest = |weighted: [f64; 4]| {
            let heavier = |best: usize, m: usize| {
                if weighted[m] > weighted[best] {
                    m
                } else {
                    best
                }
            };
            Metric::ALL[(1..4).fold(0, heavier)]
        };
        let findings = self.tracks.iter().zip(Metric::ALL);
        let recent = self.recent.iter().fold([0; 4], |[nb, xb, ng, xg], s| {
            [nb + s.blue, xb + s.blue_bad, ng + s.green, xg + s.green_bad]
        });
        Report {
            ln_e: self.ln_e(),
            ln_suspicion: self.ln_suspicion(),
            ln_suspect: self.policy.suspicion.ln(),
            ln_e_max: self.ln_e_max,
            ln_limit: self.policy.ln_limit(),
            ln_pass: self.policy.ln_pass(),
            p_anytime: (-self.ln_e_max).exp().min(1.0),
            findings: findings
                .map(|(track, metric)| self.finding(track, metric))
                .collect(),
            blamed: heaviest(self.weighted(MetricTest::ln_small)),
            gross: self.gross.as_ref().map(Gross::finding),
            grossly_slow: self.grossly_slow(),
            ln_small: self.ln_small(),
            suspected: heaviest(self.weighted(MetricTest::ln_suspicion)),
            rails: self
                .rails
                .iter()
                .map(|rail| rail.finding(&self.policy.slo))
                .collect(),
            broken: self.broken(),
            cause: self.cause(),
            baseline: self.terms().baseline,
            excess_failures: self.excess(),
            max_excess_failures: self.policy.max_excess_failures,
            limits: self.limits,
            step_requests: self.step.green,
            step_seconds: self.step_seconds,
            grace_seconds: self.policy.warmup_s,
            grace_left: self.grace_left(),
            total_requests: self.total_requests,
            routes: self.routes.findings(&self.policy),
            route: self.routes.blamed(&self.policy, self.by_route()),
            answers: self.answer_findings(),
            answer: self.answered_worse(),
            contents: self.content_findings(),
            content: self.by_contents(),
            faults: Faults::default(),
            probes: None,
            recent,
            unit: self.policy.unit,
        }
    }

    fn finding(&self, track: &MetricTest, metric: Metric) -> Finding {
        let (green_only, blue_only) = track.crossed;
        let (odds_low, odds_high, _) = track.odds.interval(self.policy.alpha);
        Finding {
            metric,
            blue_requests: track.seen.blue,
            blue_bad: track.seen.blue_bad,
            green_requests: track.seen.green,
            green_bad: track.seen.green_bad,
            odds: (blue_only > 0.0).then(|| green_only / blue_only),
            odds_low,
            odds_high: odds_high.is_finite().then_some(odds_high),
            tolerated: self.control.past().and_then(|past| metric.tolerated(past)),
            ln_e_fail: track.ln_small(),
            ln_e_pass: self.ln_e_pass(metric),
            spoken: track.spoken(),
        }
    }
}

impl Report {
    /// The finding of one metric.
    pub fn finding(&self, metric: Metric) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|finding| finding.metric == metric)
    }

    /// One plain line on a verdict.
    pub fn line(&self, verdict: &Verdict) -> String {
        match verdict {
            Verdict::Fail { reason }
            | Verdict::Suspect { reason }
            | Verdict::Unconfirmed { reason }
            | Verdict::BlueFails { reason, .. } => reason.clone(),
            Verdict::Pass => self.success(),
            Verdict::NoData => self.nothing(),
            Verdict::Inconclusive { leaning_worse, .. } => self.doubt(*leaning_worse),
        }
    }

    /// Whether green fails by failed requests, and not by slow ones.
    pub fn is_about_failures(&self) -> bool {
        match self.cause {
            Some(Cause::Outage | Cause::HarmCap) => true,
            Some(Cause::Evidence) if self.answer.is_some() || self.content.is_some() => false,
            Some(Cause::Evidence) if self.by_route() => true,
            Some(Cause::Evidence | Cause::Slo) => match self.broken {
                Some(at) => self
                    .rails
                    .get(at)
                    .is_some_and(|rail| rail.metric == Metric::Err),
                None => !self.grossly_slow && self.blamed == Metric::Err,
            },
            None => false,
        }
    }

    /// Why green fails, in numbers.
    pub fn failure(&self) -> String {
        match self.cause {
            Some(Cause::Outage) => self.outage(),
            Some(Cause::HarmCap) => format!(
                "green cost {:.0} failed requests more than blue's rate would have; at most {} are allowed (harm cap)",
                self.excess_failures,
                grouped(self.max_excess_failures.unwrap_or(0)),
            ),
            Some(Cause::Evidence | Cause::Slo) | None => format!(
                "{}, evidence {}, limit {}",
                self.blamed_words(),
                against_one(self.ln_e_max),
                against_one(self.ln_limit)
            ),
        }
    }

    /// Why blue is compared again, in numbers.
    pub fn suspicion(&self) -> String {
        format!(
            "{}, suspicion {}, blue is asked from {} on",
            self.words_on(self.suspected),
            against_one(self.ln_suspicion),
            against_one(self.ln_suspect)
        )
    }

    fn outage(&self) -> String {
        let [blue, blue_bad, green, green_bad] = self.recent;
        let each = match self.unit {
            Unit::Requests => "",
            Unit::Users => " (one a second of each user)",
        };
        let beside = if blue == 0 {
            String::new()
        } else {
            format!("; blue failed {} of {}", grouped(blue_bad), grouped(blue))
        };
        format!(
            "green failed {} of {} requests{each} in the last 5 seconds{beside}",
            grouped(green_bad),
            grouped(green)
        )
    }

    /// Why green is to be compared in an equal share, in numbers.
    pub fn unconfirmed(&self) -> String {
        format!(
            "{}, evidence {}: a small share may be colder, so it is looked at in an equal share",
            self.blamed_answers()
                .unwrap_or_else(|| self.words_on(self.blamed)),
            against_one(self.ln_small)
        )
    }

    pub(super) fn by_route(&self) -> bool {
        self.route.as_ref().is_some_and(|route| route.heaviest)
    }

    pub(super) fn blamed_words(&self) -> String {
        if let Some(content) = &self.content {
            return content.words();
        }
        if let Some(words) = self.blamed_answers() {
            return words;
        }
        if let Some(route) = self.route.as_ref().filter(|route| route.heaviest) {
            return route.words();
        }
        if let (true, Some(gross)) = (self.grossly_slow, &self.gross) {
            return gross.words(self.limits.as_ref());
        }
        match self.broken.and_then(|at| self.rails.get(at)) {
            Some(rail) => beyond(rail),
            None => self.words_on(self.blamed),
        }
    }

    fn words_on(&self, metric: Metric) -> String {
        self.finding(metric)
            .map_or_else(String::new, |f| self.comparison(f))
    }

    /// Green against blue in one metric: `green 2.1% errors (41 of 1,950) against blue 0.10% (37 of 36,900): 21x the odds`.
    pub fn comparison(&self, finding: &Finding) -> String {
        let (whose, counts) = finding.shown();
        let green = counted(counts[0], counts[1]);
        let blue = counted(counts[2], counts[3]);
        let limits = |millis: fn(&Limits, usize) -> u64| {
            let level = finding.metric.level()?;
            let limits = self.limits.as_ref()?;
            Some(format!(" above {}", milliseconds(millis(limits, level))))
        };
        let slow = |limit: Option<String>| match (finding.metric, limit) {
            (Metric::Err, _) if !whose.is_empty() => format!("{whose} failed"),
            (Metric::Err, _) => " errors".to_owned(),
            (metric, Some(limit)) => format!("{whose}{limit} ({})", metric.name()),
            (metric, None) => format!("{whose} slower than blue's {} allows", metric.name()),
        };
        let (share, of) = &green;
        let green = format!("green {share}{} ({of})", slow(limits(|l, j| l.fail[j])));
        if let Some(tolerated) = finding.tolerated {
            return format!("{green}, where blue's past allows {}", percent(tolerated));
        }
        let (share, of) = &blue;
        let limit = limits(|l, j| l.blue[j]).unwrap_or_default();
        let odds = match finding.odds {
            Some(odds) => format!("{} the odds", times(odds)),
            None if counts[0] == 0 => "neither had any".to_owned(),
            None if counts[2] == 0 => "blue had none".to_owned(),
            // Blue's bad requests came in blocks in which green had no request: the plain ratio of the counts.
            None => format!("{} the odds", times(finding.plain_odds())),
        };
        let control = match finding.metric {
            Metric::Err => "blue",
            _ if self.baseline => "the baseline",
            _ => "blue",
        };
        format!("{green} against {control} {share}{limit} ({of}): {odds}")
    }

    fn success(&self) -> String {
        let asked: Vec<_> = self
            .findings
            .iter()
            .filter_map(|f| Some((f.metric, f.ln_e_pass?)))
            .collect();
        let weakest = asked.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
        let weakest = weakest.map_or_else(String::new, |(metric, ln_e)| {
            format!(
                " (weakest {}, evidence {})",
                metric.name(),
                against_one(ln_e)
            )
        });
        format!(
            "green is as good as blue: {} of {} metrics shown to be within the margin{weakest}",
            asked.len(),
            self.findings.len()
        )
    }
}

/// Green against an absolute limit: `green 8.0% errors (41 of 512), where max_error_rate allows 5.0%`.
pub fn beyond(rail: &LimitFinding) -> String {
    let (share, of) = counted(rail.bad, rail.requests);
    let what = match rail.ceiling {
        None => " errors".to_owned(),
        Some(ceiling) => format!(" above {}", milliseconds(ceiling)),
    };
    format!(
        "green {share}{what} ({of}), where {} allows {}",
        Slo::key(rail.metric),
        percent(rail.allowed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::judge::Policy;
    use crate::core::stats::{PoolCounts, Tick};

    #[test]
    fn numbers_are_words_that_people_read() {
        assert_eq!(
            [
                percent(0.021),
                percent(0.001),
                percent(1.0),
                percent(0.0),
                percent(0.1234)
            ],
            ["2.1%", "0.10%", "100%", "0%", "12%"]
        );
        assert_eq!(
            [
                against_one(3_123f64.ln()),
                against_one(100f64.ln()),
                against_one(0.61f64.ln()),
                against_one(17.2f64.ln())
            ],
            ["3,100:1", "100:1", "0.6:1", "17:1"]
        );
        assert_eq!(
            [times(21.3), times(1.44), times(1_234.0)],
            ["21x", "1.4x", "1,234x"]
        );
        assert_eq!(
            [
                milliseconds(271_300),
                milliseconds(4_560),
                milliseconds(1_530_000)
            ],
            ["271 ms", "4.6 ms", "1,530 ms"]
        );
    }

    #[test]
    fn blue_that_failed_while_green_was_silent_is_not_said_to_have_failed_nothing() {
        let mut judge = Judge::new(Policy::default());
        let one = |blue: (u64, u64), green: (u64, u64)| Tick {
            blue: pool(blue.0, blue.1, [0; 3]),
            green: pool(green.0, green.1, [0; 3]),
        };
        for _ in 0..60 {
            judge.tick(&one((20, 1), (0, 0)));
        }
        for _ in 0..20 {
            judge.tick(&one((0, 0), (1, 1)));
        }
        let report = judge.report();
        let errors = report.finding(Metric::Err).unwrap();
        assert_eq!((errors.odds, errors.blue_bad > 0), (None, true));
        let words = report.comparison(errors);
        assert!(words.ends_with("x the odds"), "{words}");
        assert!(words.len() < 100, "{words}");
    }

    fn pool(requests: u64, failed: u64, slow: [u64; 3]) -> PoolCounts {
        PoolCounts {
            requests,
            failed,
            timed: requests - failed,
            slow_fail: slow,
            slow_pass: slow,
            ..PoolCounts::default()
        }
    }

    fn judged(seconds: u64, blue: PoolCounts, green: PoolCounts) -> (Report, Verdict) {
        let mut judge = Judge::new(Policy::default());
        judge.set_limits(Some(Limits {
            blue: [40_000, 90_000, 245_000],
            fail: [45_000, 100_000, 271_000],
            pass: [70_000, 145_000, 377_000],
            last_byte: None,
        }));
        for _ in 0..seconds {
            judge.tick(&Tick { blue, green });
        }
        (judge.report(), judge.verdict())
    }

    #[test]
    fn a_failure_names_the_metric_the_counts_and_the_odds() {
        let (report, verdict) = judged(24, pool(475, 1, [237, 47, 4]), pool(25, 1, [11, 2, 0]));
        assert_eq!(
            report.line(&verdict),
            "green 4.0% errors (24 of 600) against blue 0.21% (24 of 11,400): 20x the odds, evidence more than 1,000,000,000:1, limit 100:1"
        );
        let (report, verdict) = judged(60, pool(475, 0, [237, 47, 4]), pool(25, 0, [11, 2, 3]));
        assert_eq!(report.blamed, Metric::P99);
        let line = report.line(&verdict);
        let start = "green 12% above 271 ms (p99) (90 of 750) against blue 0.84% above 245 ms (120 of 14,250): 16x the odds";
        assert!(line.starts_with(start), "{line}");
    }

    #[test]
    fn doubt_says_what_is_still_to_be_shown() {
        let (report, verdict) = judged(40, pool(475, 0, [237, 47, 4]), pool(25, 0, [11, 2, 0]));
        let line = report.line(&verdict);
        assert!(
            line.starts_with("1,000 green requests, no sign of harm (evidence 0."),
            "{line}"
        );
        assert!(
            line.contains("not yet shown to be within the margin: ")
                && line.ends_with("of 20:1, too early to say how long it takes"),
            "{line}"
        );
        let (report, verdict) = judged(400, pool(475, 0, [237, 47, 4]), pool(25, 0, [5, 1, 0]));
        let line = report.line(&verdict);
        assert!(
            line.starts_with("green is as good as blue: 4 of 4 metrics"),
            "{line}"
        );
    }

    #[test]
    fn while_latency_is_not_judged_it_is_said_from_when_on_it_is() {
        let good = |seconds| {
            let (report, verdict) =
                judged(seconds, pool(475, 0, [237, 47, 4]), pool(25, 0, [11, 2, 0]));
            report.line(&verdict)
        };
        let line = good(12);
        assert!(
            line.ends_with("; latency is judged from 0:30 on, in 18 s (`latency_grace`)"),
            "{line}"
        );
        assert!(!line.contains("p50"), "{line}");
        let line = good(30);
        assert!(!line.contains("latency_grace"), "{line}");
        let mut judge = Judge::new(Policy {
            weights: [1.0, 0.0, 0.0, 0.0],
            ..Policy::default()
        });
        judge.tick(&Tick {
            blue: pool(9, 0, [0; 3]),
            green: pool(9, 0, [0; 3]),
        });
        let line = judge.report().line(&judge.verdict());
        assert!(!line.contains("latency_grace"), "it is not asked: {line}");
    }

    #[test]
    fn slow_requests_without_an_end_are_not_passed_over_in_silence() {
        let mut judge = Judge::new(Policy {
            warmup_s: 0,
            ..Policy::default()
        });
        let hangs = PoolCounts {
            timed: 2,
            slow_fail: [2; 3],
            slow_pass: [2; 3],
            ..PoolCounts::default()
        };
        judge.tick(&Tick {
            blue: pool(2, 0, [0; 3]),
            green: hangs,
        });
        let report = judge.report();
        assert!(report.has_judged());
        let line = report.line(&judge.verdict());
        assert!(
            line.starts_with(
                "no request to green has succeeded or failed in this step yet; green 100%"
            ) && line.contains("(2 of 2)"),
            "{line}"
        );
    }

    #[test]
    fn the_time_that_is_left_is_told_and_comes_true() {
        let good = |seconds| judged(seconds, pool(95, 0, [47, 9, 1]), pool(5, 0, [1, 0, 0]));
        let shown = (1..900).find(|&seconds| good(seconds).1 == Verdict::Pass);
        let shown = shown.expect("a pass within a quarter of an hour");
        assert_eq!(good(19).0.seconds_left(), None, "too young");
        for seconds in [shown / 2, shown * 3 / 4, shown - 5] {
            let (report, verdict) = good(seconds);
            let told = report.seconds_left().unwrap_or(0.0) + seconds as f64;
            let off = told / shown as f64;
            assert!(
                (0.7..2.5).contains(&off),
                "after {seconds} of {shown} s: {told}"
            );
            let line = report.line(&verdict);
            assert!(line.contains(" at this traffic"), "{line}");
        }
        assert_eq!(good(shown).0.seconds_left(), Some(0.0));
        let (report, _) = judged(60, pool(475, 0, [237, 47, 4]), pool(25, 2, [11, 2, 0]));
        assert_eq!(
            report.seconds_left(),
            None,
            "what does not grow never gets there"
        );
    }
}

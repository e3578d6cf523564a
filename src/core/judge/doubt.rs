//! What is still to be proven while nothing is decided, and the time until then.

use super::words::{against_one, grouped};
use super::{Finding, Metric, Report};

/// Seconds of a step before which the growth of its evidence cannot be estimated.
const YOUNG: u64 = 20;

/// Seconds of a step after which evidence that has not grown is expected to stay so.
const OLD: u64 = 600;

impl Report {
    /// Whether anything of green was compared. Requests that ended in neither success nor failure can still be slow ones.
    pub fn has_judged(&self) -> bool {
        let compared = self.findings.iter().map(|finding| finding.green_requests);
        self.total_requests > 0 || compared.sum::<u64>() > 0
    }

    /// Why there is no data.
    pub(super) fn nothing(&self) -> String {
        let timed = self.findings.iter().filter(|f| f.green_requests > 0);
        match timed.max_by_key(|f| f.green_bad) {
            // A request that ended in neither success nor failure can still have been slow.
            Some(slowest) if self.total_requests == 0 => format!(
                "no request to green has succeeded or failed in this step yet; {}",
                self.comparison(slowest)
            ),
            _ => "green has had no request in this step that could be judged".to_owned(),
        }
    }

    pub(super) fn doubt(&self, leaning_worse: bool) -> String {
        let requests = grouped(self.step_requests);
        let leaning = self.route.as_ref().filter(|route| route.leaning);
        if let Some(route) = leaning.filter(|route| leaning_worse && route.ln_lean() > self.ln_e) {
            return format!(
                "{requests} green requests, leaning worse: {}, evidence {} among {} routes",
                route.words(),
                against_one(route.finding.ln_e.max(route.finding.ln_lean)),
                route.among
            );
        }
        if leaning_worse {
            return format!(
                "{requests} green requests, leaning worse: {}, evidence {}, limit {}",
                self.blamed_words(),
                against_one(self.ln_e.max(self.ln_small)),
                against_one(self.ln_limit)
            );
        }
        let open: Vec<_> = self
            .findings
            .iter()
            .filter(|f| f.ln_e_pass.is_some_and(|ln_e| ln_e < self.ln_pass))
            .filter(|f| self.grace_left == 0 || f.metric == Metric::Err)
            .map(|f| {
                format!(
                    "{} {}",
                    f.metric.name(),
                    against_one(f.ln_e_pass.unwrap_or(0.0))
                )
            })
            .collect();
        let open = if open.is_empty() {
            String::new()
        } else {
            format!(
                "; not yet shown to be within the margin: {} of {}, {}",
                open.join(", "),
                against_one(self.ln_pass),
                self.time_left()
            )
        };
        format!(
            "{requests} green requests, no sign of harm (evidence {}){open}{}",
            against_one(self.ln_e),
            self.grace()
        )
    }

    /// When the judging of latency begins, while it is off.
    fn grace(&self) -> String {
        let latency = |f: &Finding| f.metric != Metric::Err && f.ln_e_pass.is_some();
        if self.grace_left == 0 || !self.findings.iter().any(latency) {
            return String::new();
        }
        let from = self.grace_seconds;
        format!(
            "; latency is judged from {}:{:02} on, in {} s (`latency_grace`)",
            from / 60,
            from % 60,
            self.grace_left
        )
    }
}

impl Report {
    /// Seconds until every metric is proven to be within the margin, if the evidence keeps growing as in this step;
    /// `None` where the evidence of a metric has not grown, or where the step is too young.
    pub fn seconds_left(&self) -> Option<f64> {
        if self.step_seconds < YOUNG {
            return None;
        }
        let asked = self.findings.iter().filter_map(|f| f.ln_e_pass);
        let left = asked.map(|ln_e| match ln_e {
            shown if shown >= self.ln_pass => 0.0,
            grown if grown > 0.0 => (self.ln_pass - grown) / grown * self.step_seconds as f64,
            _ => f64::INFINITY,
        });
        let longest = left.fold(0.0, f64::max);
        longest.is_finite().then_some(longest)
    }

    fn time_left(&self) -> String {
        let about = |count: f64, unit: &str| {
            let count = count.ceil().max(1.0);
            let many = if count > 1.0 { "s" } else { "" };
            format!("about {count:.0} more {unit}{many} at this traffic")
        };
        match self.seconds_left() {
            None if self.step_seconds < OLD || self.grace_left > 0 => {
                "too early to say how long it takes".to_owned()
            }
            None => "nothing grows at this traffic, no end in sight".to_owned(),
            Some(seconds) if seconds < 90.0 => about(seconds, "second"),
            Some(seconds) if seconds < 5_400.0 => about(seconds / 60.0, "minute"),
            Some(seconds) => about(seconds / 3_600.0, "hour"),
        }
    }
}

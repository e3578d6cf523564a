//! Settings that are allowed, and yet cannot have their effect: reported by `check`, with advice.

use crate::config::file::Config;
use crate::config::service::Service;
use crate::core::baseline::Places;
use crate::core::plan::Step;
use crate::core::time::shown;
use std::time::Duration;

impl Config {
    /// One line for each of them.
    pub fn doubts(&self) -> Vec<String> {
        self.services.iter().flat_map(Service::doubts).collect()
    }
}

impl Service {
    fn doubts(&self) -> Vec<String> {
        let first = self.graced().into_iter().chain(self.read_too_short());
        let all = first.chain(self.counts_4xx()).chain(self.idle_baseline());
        all.map(|text| format!("{}: {text}", self.name)).collect()
    }

    /// A share that ends before latency is judged: its latency cannot be proven good, so it never passes.
    ///
    /// `latency_grace` begins with green's first request, so the time until a share's deadline counts.
    fn graced(&self) -> Option<String> {
        let grace = self.judgement.latency_grace;
        let mut spent = Duration::ZERO;
        let plan = self.plan(None);
        let shifts = plan.steps.iter().filter_map(|step| match step {
            Step::Shift {
                weight, deadline, ..
            } => Some((*weight, *deadline)),
            _ => None,
        });
        let over = shifts
            .map(|(weight, deadline)| {
                spent = spent.saturating_add(deadline);
                (weight, spent)
            })
            .take_while(|(_, spent)| *spent <= grace);
        let weights: Vec<String> = over.map(|(weight, _)| weight.to_string()).collect();
        (!weights.is_empty()).then(|| {
            format!(
                "latency is not judged in the first {} (`latency_grace`), and by then the share {} has reached its deadline: it \
                 can never pass, and `on_inconclusive` decides. Set a longer `deadline`, or a shorter `latency_grace`",
                shown(grace),
                weights.join(", ")
            )
        })
    }

    /// A warning on `count_4xx`: the default comparison of answers already covers its purpose.
    fn counts_4xx(&self) -> Option<String> {
        self.judgement.count_4xx.then(|| {
            "with `count_4xx` every 4xx is a failed request, of both versions. A green that answers 4xx to what blue serves goes \
             back without it: `answers = { status = \"judge\" }` is the default. Keep it where `slo` or `max_excess_failures` are \
             to count 4xx; else leave it out"
                .to_owned()
        })
    }

    /// A baseline is used only in shares below a half.
    fn idle_baseline(&self) -> Option<String> {
        let plan = self.plan(None);
        let used = |step: &Step| matches!(step, Step::Shift { weight, .. } if Places::beside(*weight).is_some());
        (plan.baseline && !plan.steps.iter().any(used)).then(|| {
            "`control` is \"baseline\", and no share is below 50 %: the baseline would have no requests. Add a smaller share, or \
             leave it out"
                .to_owned()
        })
    }

    /// One timer of the connection to a backend covers both.
    fn read_too_short(&self) -> Option<String> {
        let (read, first_byte) = (self.timeouts.read, self.timeouts.first_byte);
        (read < first_byte).then(|| {
            format!(
                "`timeouts.read` ({}) is below `timeouts.first_byte` ({}), and a pause within an answer is cut after the longer \
                 of both: `read` does nothing. Set `first_byte` to at most `read`",
                precise(read),
                precise(first_byte)
            )
        })
    }
}

/// A span in the notation of the file.
fn precise(span: Duration) -> String {
    match span.subsec_millis() {
        0 => shown(span),
        _ => format!("{}ms", span.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(keys: &str) -> Vec<String> {
        let text = format!("[service.api]\nblue = \"127.0.0.1:1\"\n{keys}\n");
        let config = Config::parse("t.toml", &text).expect("a configuration");
        config.doubts()
    }

    #[test]
    fn a_baseline_without_a_small_share_is_told() {
        let control = "control = \"baseline\"\nbaseline = \"127.0.0.1:3\"\n";
        assert_eq!(told(control), [""; 0], "the default steps begin with 5 %");
        let lines = told(&format!("{control}strategy = \"blue-green\""));
        assert!(lines[0].contains("no share is below 50 %"), "{lines:?}");
    }

    #[test]
    fn a_share_that_can_never_pass_is_told() {
        let steps = |first: &str, second: &str| {
            format!(
                "steps = [{{ weight = 5, hold = \"1s\", deadline = \"{first}\" }}, {{ weight = 100, hold = \"1s\", deadline = \"{second}\" }}]"
            )
        };
        assert_eq!(told(""), [""; 0], "the defaults");
        assert_eq!(
            told(&steps("31s", "5s")),
            [""; 0],
            "it has had its grace by then"
        );
        let lines = told(&steps("30s", "30s"));
        assert_eq!(
            lines,
            [
                "api: latency is not judged in the first 30s (`latency_grace`), and by then the share 5% has reached its deadline: it can never pass, and `on_inconclusive` decides. Set a longer `deadline`, or a shorter `latency_grace`"
            ]
        );
        let lines = told(&steps("10s", "20s"));
        assert!(lines[0].contains("the share 5%, 9"), "both: {lines:?}");
        let short = format!("latency_grace = \"5s\"\n{}", steps("10s", "20s"));
        assert_eq!(told(&short), [""; 0]);
    }

    #[test]
    fn a_key_that_is_not_needed_any_more_is_told() {
        assert_eq!(told("count_4xx = false"), [""; 0]);
        let lines = told("count_4xx = true");
        assert!(lines[0].contains("answers = { status = "), "{lines:?}");
    }

    #[test]
    fn a_read_timeout_that_does_nothing_is_told() {
        let timeouts = |read: &str, first: &str| {
            told(&format!(
                "timeouts = {{ read = \"{read}\", first_byte = \"{first}\" }}"
            ))
        };
        assert_eq!(timeouts("8s", "8s"), [""; 0]);
        assert_eq!(timeouts("9s", "8s"), [""; 0]);
        let lines = timeouts("2s", "8s");
        let start = "api: `timeouts.read` (2s) is below `timeouts.first_byte` (8s)";
        assert!(lines[0].starts_with(start), "{lines:?}");
    }
}

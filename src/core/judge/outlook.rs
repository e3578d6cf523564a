//! How long a share still takes, should its evidence grow as it did.

use super::Report;

impl Report {
    /// Seconds until every metric is shown to be within the margin, should the evidence grow as it did in this
    /// step; none where one has not grown, or where the step is too young to say.
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

    pub(super) fn time_left(&self) -> String {
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

/// Seconds of a step before which nobody can say how its evidence grows.
const YOUNG: u64 = 20;

/// Seconds of a step after which evidence that has not grown is not expected to.
const OLD: u64 = 600;

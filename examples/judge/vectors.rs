//! Checks the statistics against golden numbers: every section of `tests/vectors.json`.

use crate::{blocks, processes, verdicts};
use serde_json::Value;
use shifter::core::judge::Policy;
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
pub(crate) struct Check {
    section: Section,
    case: String,
}

impl Check {
    pub(crate) fn number(&mut self, what: &str, got: f64, want: f64, near: bool) {
        self.section.numbers += 1;
        let same = got == want || near;
        if !same || got.is_nan() {
            self.section.differences.push(format!(
                "{} {}: {what} is {got:.14}, wanted {want:.14}",
                self.section.name, self.case
            ));
        }
    }

    pub(crate) fn ln(&mut self, what: &str, got: f64, want: f64) {
        self.number(what, got, want, (got - want).abs() <= LN);
    }

    pub(crate) fn ratio(&mut self, what: &str, got: f64, want: f64) {
        self.number(what, got, want, (got - want).abs() <= RELATIVE * want.abs());
    }

    pub(crate) fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, got: T, want: T) {
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
    ("ln_z", processes::check_ln_z),
    ("ln_lr", processes::check_ln_lr),
    ("phantom", processes::check_phantom),
    ("fail_process", processes::check_fail),
    ("guard", processes::check_guard),
    ("history_fail_process", processes::check_history),
    ("pass_process", processes::check_pass),
    ("odds_interval", processes::check_odds),
    ("quantile", verdicts::check_quantile),
    ("outage", verdicts::check_outage),
    ("engine_trace", verdicts::check_trace),
    ("newcomers", blocks::check_newcomers),
    ("shuffled_blocks", blocks::check_blocks),
    ("switchback", processes::check_switchback),
    ("user_process", processes::check_users),
    ("contents", verdicts::check_contents),
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

//! Problems that were reported: each is reported when it appears, not at each pass.

/// The problems of one kind that were there at the last pass.
#[derive(Debug, Default)]
pub struct ReportedProblems(Vec<String>);

impl ReportedProblems {
    /// Of all current problems, those that were not reported yet.
    pub fn fresh(&mut self, all: Vec<String>) -> Vec<String> {
        let fresh = all.iter().filter(|text| !self.0.contains(text)).cloned();
        let fresh = fresh.collect();
        self.0 = all;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_once_until_it_comes_again() {
        let mut problems = ReportedProblems::default();
        for (all, told) in [
            (vec!["a"], vec!["a"]),
            (vec!["a", "b"], vec!["b"]),
            (vec!["b"], vec![]),
            (vec![], vec![]),
            (vec!["a", "b"], vec!["a", "b"]),
        ] {
            let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
            assert_eq!(problems.fresh(all.clone()), told, "{all:?}");
        }
    }
}

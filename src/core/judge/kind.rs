//! The kinds of verdicts: one list for labels, the API and files, which no other list can contradict.

use super::Verdict;
use strum::{IntoStaticStr, VariantArray};

/// A verdict without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum VerdictKind {
    /// Green is as good as blue.
    Pass,
    /// Green is worse.
    Fail,
    /// Nothing is proven yet.
    Inconclusive,
    /// Green serves alone and looks worse than blue's past.
    Suspect,
    /// Green looks slower in a share too small for a fair comparison.
    Unconfirmed,
    /// Nothing is proven, and blue itself fails grossly.
    BlueFails,
    /// There is nothing to judge.
    NoData,
}

impl VerdictKind {
    /// Every kind; its index is `kind as usize`.
    pub const ALL: &'static [VerdictKind] = VerdictKind::VARIANTS;

    /// The name in labels and in the API.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Verdict {
    /// The kind of this verdict.
    pub const fn kind(&self) -> VerdictKind {
        match self {
            Verdict::Pass => VerdictKind::Pass,
            Verdict::Fail { .. } => VerdictKind::Fail,
            Verdict::Inconclusive { .. } => VerdictKind::Inconclusive,
            Verdict::Suspect { .. } => VerdictKind::Suspect,
            Verdict::Unconfirmed { .. } => VerdictKind::Unconfirmed,
            Verdict::BlueFails { .. } => VerdictKind::BlueFails,
            Verdict::NoData => VerdictKind::NoData,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind.
    fn verdicts() -> Vec<Verdict> {
        let reason = || "why".to_owned();
        let of = |kind: &VerdictKind| match kind {
            VerdictKind::Pass => Verdict::Pass,
            VerdictKind::Fail => Verdict::Fail { reason: reason() },
            VerdictKind::Suspect => Verdict::Suspect { reason: reason() },
            VerdictKind::Unconfirmed => Verdict::Unconfirmed { reason: reason() },
            VerdictKind::NoData => Verdict::NoData,
            VerdictKind::Inconclusive => Verdict::Inconclusive {
                leaning_worse: false,
                step_requests: 1,
                total_requests: 1,
            },
            VerdictKind::BlueFails => Verdict::BlueFails {
                reason: reason(),
                green_too: false,
                step_requests: 1,
                total_requests: 1,
            },
        };
        VerdictKind::ALL.iter().map(of).collect()
    }

    #[test]
    fn labels_and_the_api_name_verdicts_alike() {
        for (i, verdict) in verdicts().iter().enumerate() {
            let kind = verdict.kind();
            assert_eq!(kind as usize, i, "{kind:?} has its place");
            let value = serde_json::to_value(verdict).expect("a verdict is written");
            assert_eq!(value["verdict"], kind.name());
        }
    }
}

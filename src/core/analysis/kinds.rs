//! The kinds of evidence that the first recordings did not have.
//!
//! A recording is judged again by what is in it. What was not counted when it was made cannot be judged now, and silence
//! about that would look like a finding: "the same verdict" of a build that knows users says nothing of users when the
//! recording has none. So each policy that is recorded names the kinds that were gathered under it (`Policy::evidence`),
//! and a recording lacks the kinds that one of its policies does not name. The oldest policies name none.
//!
//! That a kind was switched off, or that a service has no pinned users, is no lack: its policy names it all the same.

use super::RecordedLine;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $words:literal;)+) => {
        /// One kind of evidence.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum EvidenceKind {
            $($(#[$doc])* $kind,)+
        }

        impl EvidenceKind {
            /// Every kind, in the order of reports.
            pub const ALL: &[EvidenceKind] = &[$(EvidenceKind::$kind,)+];

            /// The name in recordings and in the output of `replay`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(EvidenceKind::$kind => $name,)+
                }
            }

            /// What a recording without this kind lacks, worded to follow "no".
            pub const fn words(self) -> &'static str {
                match self {
                    $(EvidenceKind::$kind => $words,)+
                }
            }
        }
    };
}

kinds! {
    /// Evidence by route group, beside blue's past by route.
    Routes = "routes", "counts by route";
    /// The user as the unit where users are pinned.
    Users = "users", "counts by user";
    /// Requests above ten times blue's median.
    GrossSlowness = "gross_slowness", "count of requests above ten times blue's median";
    /// Requests slower than every limit when the client gave up, counted as slow.
    GivenUp = "given_up", "clients who gave up among the slow ones";
    /// Errors that last count beyond the burst limit; mild slowness counts less than other evidence.
    Lasting = "lasting", "full weight for errors that last";
    /// Slowness in a small share, confirmed in an equal share.
    EqualShare = "equal_share", "equal share to confirm slowness";
    /// A latency grace in each raised share.
    GraceEachShare = "grace_each_share", "grace for latency in each raised share";
    /// A blue that fails grossly itself.
    BrokenBlue = "broken_blue", "finding on a blue that fails itself";
    /// Blue compared with its own past, and windows without green.
    HarmToBlue = "harm_to_blue", "comparison of blue with its own past";
    /// Redirects, 4xx, clients that give up and the time to the last byte, compared with blue's.
    Answers = "answers", "comparison of answers by status, giving up and last byte";
    /// Sizes and types of bodies by route group.
    Contents = "contents", "sizes and content types of bodies";
}

/// A set of kinds of evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvidenceKinds(u64);

impl EvidenceKinds {
    /// All kinds that this build gathers.
    pub fn all() -> EvidenceKinds {
        EvidenceKind::ALL.iter().copied().collect()
    }

    /// Whether the set contains this kind.
    pub fn has(self, kind: EvidenceKind) -> bool {
        self.0 & (1 << kind as u64) != 0
    }

    /// The kinds in the set, in the order of [`EvidenceKind::ALL`].
    pub fn iter(self) -> impl Iterator<Item = EvidenceKind> {
        let all = EvidenceKind::ALL.iter().copied();
        all.filter(move |kind| self.has(*kind))
    }
}

impl FromIterator<EvidenceKind> for EvidenceKinds {
    fn from_iter<I: IntoIterator<Item = EvidenceKind>>(kinds: I) -> EvidenceKinds {
        EvidenceKinds(
            kinds
                .into_iter()
                .fold(0, |all, kind| all | 1 << kind as u64),
        )
    }
}

impl Serialize for EvidenceKinds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(EvidenceKind::name))
    }
}

impl<'de> Deserialize<'de> for EvidenceKinds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EvidenceKinds, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let known = |name: &String| {
            let mut all = EvidenceKind::ALL.iter().copied();
            let found = all.find(|kind| kind.name() == name);
            found.ok_or_else(|| Error::custom(format!("unknown evidence `{name}`")))
        };
        names.iter().map(known).collect()
    }
}

/// The kinds that at least a part of a recording cannot have.
pub fn lacking(lines: &[RecordedLine]) -> EvidenceKinds {
    let policies = lines.iter().filter_map(|line| match line {
        RecordedLine::Policy(policy) => Some(policy.evidence),
        _ => None,
    });
    let lacks = policies.fold(0, |lacks, has| lacks | !has.0);
    EvidenceKinds(lacks & EvidenceKinds::all().0)
}

/// The note on a recording that lacks kinds: `recorded by an older version: no counts by route, ...`; `None` otherwise.
pub fn words_on(lacking: EvidenceKinds) -> Option<String> {
    let each: Vec<String> = lacking
        .iter()
        .map(|kind| format!("no {}", kind.words()))
        .collect();
    let (last, others) = each.split_last()?;
    let all = match others {
        [] => last.clone(),
        others => format!("{} and {last}", others.join(", ")),
    };
    Some(format!(
        "recorded by an older version: {all}. It is judged without these, as it was then"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::judge::{Policy, Unit};
    use crate::core::stats::PoolCounts;
    use EvidenceKind as Kind;

    /// Whether a recording from before a field has evidence without it: none for what there always was.
    struct Field(&'static str, Option<Kind>);

    /// A field that is missing here does not compile: say which kind of evidence a recording without it lacks, with a new
    /// kind where it is none of these, and what value stands for "not gathered" when it is read (`serde(default)`).
    fn fields_of_a_tick() -> Vec<Field> {
        macro_rules! fields {
            ($($name:ident: $kind:expr,)+) => {{
                let PoolCounts { $($name: _,)+ } = PoolCounts::default();
                vec![$(Field(stringify!($name), $kind),)+]
            }};
        }
        fields! {
            requests: None,
            failed: None,
            timed: None,
            slow_fail: None,
            slow_pass: None,
            slow_slo: None,
            slow_gross: Some(Kind::GrossSlowness),
            users: Some(Kind::Users),
            answers: Some(Kind::Answers),
        }
    }

    /// The fields of the policy, as [`fields_of_a_tick`] lists those of a tick.
    fn fields_of_a_policy() -> Vec<Field> {
        macro_rules! fields {
            ($($name:ident: $kind:expr,)+) => {{
                let Policy { $($name: _,)+ } = Policy::default();
                vec![$(Field(stringify!($name), $kind),)+]
            }};
        }
        fields! {
            alpha: None,
            alpha_pass: None,
            amber: None,
            suspicion: None,
            weights: None,
            omega0: None,
            delta0_ppm: None,
            fail_ratios: None,
            initial_stake: None,
            horizon_s: None,
            rho: None,
            error_rho: Some(Kind::Lasting),
            mild_rho: Some(Kind::Lasting),
            history_rho: None,
            suspicion_rho: None,
            burst_low: None,
            burst_high: None,
            error_burst: Some(Kind::Lasting),
            mild_burst: Some(Kind::Lasting),
            persistence: Some(Kind::Lasting),
            burst_rps: None,
            pass_ratios: None,
            abs_ratios: None,
            pass_cap: None,
            pass_dt_max: None,
            pass_omega1: None,
            pass_delta1_ppm: None,
            final_omega1: None,
            final_delta1_ppm: None,
            lat_fail: None,
            lat_pass: None,
            lat_pass_final: None,
            warmup_s: None,
            max_excess_failures: None,
            gross_failures: Some(Kind::BrokenBlue),
            slo: None,
            slo_share: None,
            warms_up_each_share: Some(Kind::GraceEachShare),
            fair_share: Some(Kind::EqualShare),
            confirm: Some(Kind::EqualShare),
            gross_share: Some(Kind::GrossSlowness),
            unit: Some(Kind::Users),
            routes_share: Some(Kind::Routes),
            routes_amber: Some(Kind::Routes),
            answers_share: Some(Kind::Answers),
            answers: Some(Kind::Answers),
            contents: Some(Kind::Contents),
            evidence: None,
        }
    }

    /// The value of a policy without every field that came with some kind: as a build before all of them recorded it.
    fn oldest() -> serde_json::Value {
        let mut written = serde_json::to_value(Policy::default()).unwrap();
        let fields = written.as_object_mut().unwrap();
        fields.remove("evidence");
        for Field(name, kind) in fields_of_a_policy() {
            if kind.is_some() {
                fields.remove(name);
            }
        }
        written
    }

    #[test]
    fn each_kind_has_fields_or_is_known_to_have_none() {
        let named: EvidenceKinds = fields_of_a_tick()
            .into_iter()
            .chain(fields_of_a_policy())
            .filter_map(|Field(_, kind)| kind)
            .collect();
        // How requests are counted, and lines of the recording.
        let without = [Kind::GivenUp, Kind::HarmToBlue];
        for &kind in Kind::ALL {
            assert_eq!(named.has(kind), !without.contains(&kind), "{kind:?}");
        }
    }

    #[test]
    fn what_an_old_policy_lacks_is_off_when_it_is_read() {
        let old: Policy = serde_json::from_value(oldest()).unwrap();
        assert_eq!(old.evidence, EvidenceKinds::default());
        assert_eq!(old.persistence, 0);
        assert_eq!((old.mild_rho, old.mild_burst), (old.rho, old.burst_high));
        assert_eq!(old.gross_failures, Policy::NEVER_GROSS);
        assert_eq!((old.gross_share, old.fair_share), (0.0, 0.0));
        assert_eq!((old.routes_share, old.routes_amber), (0.0, 0.0));
        assert_eq!(old.confirm, f64::MAX);
        assert_eq!(old.unit, Unit::Requests);
        assert!(!old.warms_up_each_share);
    }

    #[test]
    fn a_recording_lacks_what_one_of_its_policies_does_not_name() {
        let line = |evidence| {
            let policy = Policy {
                evidence,
                ..Policy::default()
            };
            RecordedLine::Policy(Box::new(policy))
        };
        let all = EvidenceKinds::all();
        let some: EvidenceKinds = [Kind::Routes, Kind::Users].into_iter().collect();
        assert_eq!(
            lacking(&[RecordedLine::Policy(Box::default())]),
            EvidenceKinds::default()
        );
        assert_eq!(lacking(&[line(EvidenceKinds::default())]), all);
        // The rollout continued in a newer build.
        let both = lacking(&[line(some), line(all)]);
        assert_eq!(both.iter().count(), Kind::ALL.len() - 2);
        assert!(!both.has(Kind::Routes) && both.has(Kind::HarmToBlue));
    }

    #[test]
    fn words_name_each_and_say_nothing_where_nothing_lacks() {
        assert_eq!(words_on(EvidenceKinds::default()), None);
        let one = |kinds: &[Kind]| words_on(kinds.iter().copied().collect()).unwrap();
        assert_eq!(
            one(&[Kind::Routes]),
            "recorded by an older version: no counts by route. It is judged without these, as it was then"
        );
        let two = one(&[Kind::Users, Kind::Routes]);
        assert!(
            two.contains("no counts by route and no counts by user. "),
            "{two}"
        );
    }

    #[test]
    fn names_are_read_again_and_one_that_is_unknown_is_an_error() {
        let written = serde_json::to_string(&EvidenceKinds::all()).unwrap();
        assert!(written.starts_with(r#"["routes","users","#), "{written}");
        assert_eq!(
            serde_json::from_str::<EvidenceKinds>(&written).unwrap(),
            EvidenceKinds::all()
        );
        let error = serde_json::from_str::<EvidenceKinds>(r#"["routes","moons"]"#).unwrap_err();
        assert!(
            error.to_string().starts_with("unknown evidence `moons`"),
            "{error}"
        );
    }
}

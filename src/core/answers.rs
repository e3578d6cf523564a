//! What is counted of answers beside failures and the first byte: status classes, clients that left, the last byte.

use crate::core::fault::{Tally, count, most};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A further comparison of green's answers with blue's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerKind {
    /// Answers of 300 to 399, apart from 304 (an answer to a conditional request: the client has the content already).
    Redirect,
    /// Answers of 400 to 499, where the service does not count them as failures.
    ClientError,
    /// Requests that the client ended before the answer's header.
    GaveUp,
    /// Answers with a last byte later than blue's 90th percentile.
    LastByte,
}

impl AnswerKind {
    /// All four; the index of each is `kind as usize`.
    pub const ALL: [AnswerKind; 4] = [
        AnswerKind::Redirect,
        AnswerKind::ClientError,
        AnswerKind::GaveUp,
        AnswerKind::LastByte,
    ];

    /// The kinds of single requests; the index of each is `kind as usize`.
    pub const BY_REQUEST: [AnswerKind; 3] = [
        AnswerKind::Redirect,
        AnswerKind::ClientError,
        AnswerKind::GaveUp,
    ];

    /// The kind of a whole answer with this status that is no failure; `None` for 2xx, 304 and upgrades.
    pub const fn of_status(status: u16) -> Option<AnswerKind> {
        match status {
            304 => None,
            300..=399 => Some(AnswerKind::Redirect),
            400..=499 => Some(AnswerKind::ClientError),
            _ => None,
        }
    }

    /// The key of `answers` in the file that selects this kind; `--expect` uses the same name.
    pub const fn expected(self) -> Expected {
        match self {
            AnswerKind::Redirect | AnswerKind::ClientError => Expected::Status,
            AnswerKind::GaveUp => Expected::GaveUp,
            AnswerKind::LastByte => Expected::LastByte,
        }
    }

    /// The name in files and labels.
    pub const fn name(self) -> &'static str {
        match self {
            AnswerKind::Redirect => "redirect",
            AnswerKind::ClientError => "client_error",
            AnswerKind::GaveUp => "gave_up",
            AnswerKind::LastByte => "last_byte",
        }
    }
}

/// What a difference leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hearing {
    /// It counts as evidence of harm.
    #[default]
    Judge,
    /// It is reported with numbers and never convicts.
    Report,
    /// It is not compared.
    Off,
}

/// What a rollout is expected to change: only reported in this rollout, judged again in the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// Redirects and answers of 400 to 499.
    Status,
    /// The number of clients that give up before the answer.
    GaveUp,
    /// The time until the last byte.
    LastByte,
    /// The size of bodies.
    Size,
    /// Their content type.
    Type,
}

impl Expected {
    /// The name on the command line and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Expected::Status => "status",
            Expected::GaveUp => "gave-up",
            Expected::LastByte => "last-byte",
            Expected::Size => "size",
            Expected::Type => "type",
        }
    }
}

/// One pool's counts over one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AnswerTick {
    /// Requests that ended in this second and count, one entry for each kind of [`AnswerKind::BY_REQUEST`] but the
    /// last; the last entry has the requests that the client ended before the answer, which are no part of the others.
    pub by_request: [u64; 3],
    /// Answers with a header to requests of the second now finalised, without those that have no end of their own
    /// (streams).
    #[serde(skip_serializing_if = "is_zero")]
    pub timed: u64,
    /// Answers in `timed` above the limit of the last byte (blue: above its own quantile).
    #[serde(skip_serializing_if = "is_zero")]
    pub late: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl AnswerTick {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == AnswerTick::default()
    }
}

/// The answers of one kind of one pool, by what they have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alike {
    /// The total.
    pub total: u64,
    /// By status; empty for clients that gave up.
    #[serde(default, skip_serializing_if = "Tally::is_empty")]
    pub statuses: Tally,
    /// By method and template of the path.
    pub routes: Tally,
}

/// The answers of one pool, by kind.
pub type Told = BTreeMap<AnswerKind, Alike>;

impl Alike {
    /// Adds `times` answers of one route.
    pub fn route(&mut self, route: &str, times: u64) {
        self.total += times;
        count(&mut self.routes, route.to_owned(), times);
    }

    /// Adds `times` answers with one status, which [`Alike::route`] counts too.
    pub fn status(&mut self, status: u16, times: u64) {
        count(&mut self.statuses, status.to_string(), times);
    }

    /// Adds the counts of another span.
    pub fn merge(&mut self, other: Alike) {
        self.total += other.total;
        for (mine, theirs) in [
            (&mut self.statuses, other.statuses),
            (&mut self.routes, other.routes),
        ] {
            for (name, times) in theirs {
                count(mine, name, times);
            }
        }
    }

    /// The status of at least 90 % of the answers.
    pub fn status_of_most(&self) -> Option<&str> {
        let (status, times) = most(&self.statuses)?;
        (10 * times >= 9 * self.total).then_some(status)
    }

    /// The route of at least half of the answers: `most of them GET / (400 of 414)`.
    pub fn words(&self) -> Option<String> {
        let (route, times) = most(&self.routes)?;
        let clearly = route != crate::core::routes::OTHERS && 2 * times >= self.total;
        clearly.then(|| format!("most of them {route} ({times} of {})", self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_one_kind_or_none() {
        for (status, kind) in [
            (101, None),
            (200, None),
            (206, None),
            (301, Some(AnswerKind::Redirect)),
            (304, None),
            (399, Some(AnswerKind::Redirect)),
            (401, Some(AnswerKind::ClientError)),
            (499, Some(AnswerKind::ClientError)),
            (500, None),
        ] {
            assert_eq!(AnswerKind::of_status(status), kind, "{status}");
        }
        for (at, kind) in AnswerKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            let name = serde_json::to_value(kind).unwrap();
            assert_eq!(name, kind.name());
        }
        assert_eq!(AnswerKind::BY_REQUEST, AnswerKind::ALL[..3]);
    }

    #[test]
    fn what_most_have_in_common_is_named_and_nothing_else() {
        let mut told = Alike::default();
        assert_eq!((told.words(), told.status_of_most()), (None, None));
        told.route("GET /", 9);
        told.status(404, 9);
        told.merge(Alike {
            total: 1,
            statuses: [("401".to_owned(), 1)].into(),
            routes: [("GET /b".to_owned(), 1)].into(),
        });
        let words = told.words();
        assert_eq!(words.as_deref(), Some("most of them GET / (9 of 10)"));
        assert_eq!(told.status_of_most(), Some("404"));
        told.route("GET /c", 10);
        told.status(400, 10);
        assert_eq!(told.status_of_most(), None);
        assert_eq!(
            told.words().as_deref(),
            Some("most of them GET /c (10 of 20)")
        );
        told.route("GET /d", 1);
        assert_eq!(told.words(), None);
    }

    #[test]
    fn an_empty_second_is_not_written() {
        assert!(AnswerTick::default().is_empty());
        let tick = AnswerTick {
            by_request: [1, 2, 3],
            ..AnswerTick::default()
        };
        let text = serde_json::to_string(&tick).unwrap();
        assert_eq!(text, r#"{"by_request":[1,2,3]}"#);
        assert_eq!(serde_json::from_str::<AnswerTick>(&text).unwrap(), tick);
        assert_eq!(
            serde_json::from_str::<AnswerTick>("{}").unwrap(),
            AnswerTick::default()
        );
    }
}

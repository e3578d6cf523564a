//! `answers`: what differences between the answers of both versions lead to.

use crate::config::parse::raw::{Text, Value};
use crate::config::parse::value::{self, Check};
use crate::config::service::latency::Timed;
use crate::core::answers::{AnswerKind, Hearing};
use crate::core::judge::ContentPolicy;
use serde::Deserialize;

const HEARINGS: [(&str, Hearing); 3] = [
    ("judge", Hearing::Judge),
    ("report", Hearing::Report),
    ("off", Hearing::Off),
];

/// What a difference in each comparison leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Redirects and answers of 400 to 499.
    pub status: Hearing,
    /// The number of clients that give up before the answer.
    pub gave_up: Hearing,
    /// The time until the last byte.
    pub last_byte: Hearing,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { status = \"report\", last_byte = \"off\" }"
)]
pub(crate) struct RawAnswers {
    status: Text,
    gave_up: Text,
    last_byte: Text,
    pub(crate) size: Text,
    #[serde(rename = "type")]
    pub(crate) media: Text,
}

/// The table of a service; all comparisons are judged by default.
pub(crate) fn answers(raw: &Value<RawAnswers>) -> Check<Answers> {
    let Some(table) = raw else {
        return Ok(Answers::default());
    };
    let raw = table.get_ref();
    let hearing = |key, given: &Text| value::choice(key, given, &HEARINGS, Hearing::default());
    Ok(Answers {
        status: hearing("status", &raw.status)?,
        gave_up: hearing("gave_up", &raw.gave_up)?,
        last_byte: hearing("last_byte", &raw.last_byte)?,
    })
}

/// What a service's table says of them; by default differences are only reported.
pub(crate) fn contents(raw: &Value<RawAnswers>) -> Check<ContentPolicy> {
    let told = ContentPolicy::REPORT;
    let Some(table) = raw else { return Ok(told) };
    let raw = table.get_ref();
    let hearing = |key, given: &Text| value::choice(key, given, &HEARINGS, Hearing::Report);
    Ok(ContentPolicy {
        size: hearing("size", &raw.size)?,
        media: hearing("type", &raw.media)?,
        ..told
    })
}

impl Answers {
    /// What each kind of answers leads to, as the judge takes it.
    ///
    /// 4xx that count as failures are compared as failures, and the last byte is where `timed` makes it the latency.
    pub(crate) fn by_kind(self, count_4xx: bool, timed: Timed) -> [Hearing; 4] {
        AnswerKind::ALL.map(|kind| match kind {
            AnswerKind::ClientError if count_4xx => Hearing::Off,
            AnswerKind::LastByte if timed == Timed::Total => Hearing::Off,
            AnswerKind::Redirect | AnswerKind::ClientError => self.status,
            AnswerKind::GaveUp => self.gave_up,
            AnswerKind::LastByte => self.last_byte,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::Config;

    fn by_kind(keys: &str) -> [Hearing; 4] {
        let text = format!("[service.api]\nblue = \"127.0.0.1:1\"\n{keys}\n");
        let config = Config::parse("t.toml", &text).expect("a configuration");
        config.services[0].policy().answers
    }

    #[test]
    fn each_key_is_for_its_kinds_and_nothing_is_compared_twice() {
        use Hearing::{Judge, Off, Report};
        for (keys, expected) in [
            ("", [Judge; 4]),
            ("answers = {}", [Judge; 4]),
            (
                "answers = { status = \"report\" }",
                [Report, Report, Judge, Judge],
            ),
            (
                "answers = { gave_up = \"off\", last_byte = \"report\" }",
                [Judge, Judge, Off, Report],
            ),
            ("count_4xx = true", [Judge, Off, Judge, Judge]),
            ("latency = \"total\"", [Judge, Judge, Judge, Off]),
        ] {
            assert_eq!(by_kind(keys), expected, "{keys}");
        }
    }
}

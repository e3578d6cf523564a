//! Queries other sources than users' requests about green, while it has users.

use crate::config::{Asked, Endpoint, Source};
use crate::control::api::message::{Message, TaskResult};
use crate::control::report::entry::Entry;
use crate::control::tasks::context::TaskContext;
use crate::control::tasks::endpoint::get;
use crate::control::tasks::program;
use crate::core::limit::Limit;
use crate::core::source::{self, Reading, Sources};
use crate::core::table::Color;
use crate::store::NoteKind;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;

/// Highest number of characters quoted from a source.
const SAID_MAX: usize = 300;

/// The facts passed to a source.
#[derive(Clone, Debug)]
pub(in crate::control) struct SourceFacts {
    pub(in crate::control) service: String,
    pub(in crate::control) rollout: i64,
    /// The share that is asked about.
    pub(in crate::control) mark: u64,
    pub(in crate::control) releases: [String; 2],
}

/// The sources of a service, for one rollout.
pub(in crate::control) fn of(sources: &[Source]) -> Sources {
    let new = |one: &Source| source::Source::new(one.name.clone(), one.every, one.times);
    Sources::new(sources.iter().map(new).collect())
}

/// Queries the sources of these numbers; the readings come back as messages.
pub(in crate::control) fn query(
    sources: &[Source],
    due: &[usize],
    facts: &SourceFacts,
    context: &TaskContext,
) {
    let Some(mailbox) = context.mailbox() else {
        return;
    };
    for &number in due {
        let Some(source) = sources.get(number).cloned() else {
            continue;
        };
        let (mailbox, facts) = (mailbox.clone(), facts.clone());
        tokio::spawn(async move {
            let reading = ask(&source, &facts).await;
            let measured = Message::Ended {
                rollout: facts.rollout,
                result: TaskResult::Measured {
                    mark: facts.mark,
                    source: number,
                    reading,
                },
            };
            let _ = mailbox.send(measured).await;
        });
    }
}

/// Takes a reading; the line on it, where it says something new.
pub(in crate::control) fn take(
    sources: &mut Sources,
    source: usize,
    reading: Reading,
) -> Option<Entry> {
    let said = match &reading {
        Reading::Good => "good".to_owned(),
        Reading::Bad(why) => why.clone(),
        Reading::NoData(why) => format!("no data: {why}"),
    };
    let name = sources.take(source, reading)?;
    let text = format!("source `{name}`: {said}");
    Some(Entry::new(NoteKind::Source, text))
}

async fn ask(source: &Source, facts: &SourceFacts) -> Reading {
    let limit = source.timeout;
    let (at, asked) = match &source.asked {
        Asked::Exec(command) => return exec(command, facts, limit).await,
        Asked::Prometheus {
            at,
            query,
            limit: number,
        } => (at, timeout(limit, numbers(at, query, number, facts)).await),
        Asked::Get(at) => (at, timeout(limit, verdict(at, facts)).await),
    };
    let told = |why: String| brief(&at.without_secrets(&why));
    match asked {
        Ok(Ok(Reading::Good)) => Reading::Good,
        Ok(Ok(Reading::Bad(why))) => Reading::Bad(told(why)),
        Ok(Ok(Reading::NoData(why)) | Err(why)) => Reading::NoData(told(why)),
        Err(_) => Reading::NoData(format!("no answer within {} ms", limit.as_millis())),
    }
}

/// An external text, cut to what fits in a line: it is stored and shown.
fn brief(said: &str) -> String {
    let plain = said.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(SAID_MAX).collect()
}

async fn exec(command: &[String], facts: &SourceFacts, limit: Duration) -> Reading {
    let [from, to] = &facts.releases;
    let told = [
        ("SHIFTER_SERVICE", facts.service.clone()),
        ("SHIFTER_ROLLOUT", facts.rollout.to_string()),
        ("SHIFTER_FROM", from.clone()),
        ("SHIFTER_TO", to.clone()),
    ];
    let (status, text) = match program::run(command, &told, limit).await {
        Ok(ended) => ended,
        Err(why) => return Reading::NoData(why),
    };
    let last = brief(text.lines().next_back().unwrap_or_default().trim());
    match status.code() {
        Some(0) => Reading::Good,
        Some(1) if last.is_empty() => Reading::Bad("exit code 1".to_owned()),
        Some(1) => Reading::Bad(last),
        _ => Reading::NoData(format!("{status} {last}").trim().to_owned()),
    }
}

#[derive(Deserialize)]
struct Said {
    verdict: String,
    #[serde(default)]
    why: String,
}

async fn verdict(at: &Endpoint, facts: &SourceFacts) -> Result<Reading, String> {
    let [from, to] = &facts.releases;
    let rollout = facts.rollout.to_string();
    let told = [
        ("service", facts.service.as_str()),
        ("rollout", &rollout),
        ("from", from),
        ("to", to),
    ];
    let said: Said = get(at, "", &told).await?;
    let why = match said.why.as_str() {
        "" => at.address.clone(),
        why => why.to_owned(),
    };
    match said.verdict.as_str() {
        "good" => Ok(Reading::Good),
        "bad" => Ok(Reading::Bad(why)),
        "no_data" => Ok(Reading::NoData(why)),
        other => Err(format!(
            "the answer's verdict is `{other}`, not good, bad or no_data"
        )),
    }
}

/// An answer of Prometheus' query API (<https://prometheus.io/docs/prometheus/latest/querying/api/>).
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Data,
    #[serde(default)]
    error: String,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default)]
    result: serde_json::Value,
}

async fn numbers(
    at: &Endpoint,
    query: &str,
    limit: &Limit,
    facts: &SourceFacts,
) -> Result<Reading, String> {
    let green = number(at, query, Color::Green, facts).await?;
    match limit.alone(green) {
        Some(reading) => Ok(reading),
        None => {
            let blue = number(at, query, Color::Blue, facts).await?;
            Ok(limit.beside(green, blue))
        }
    }
}

/// The number of one pool.
async fn number(
    at: &Endpoint,
    query: &str,
    color: Color,
    facts: &SourceFacts,
) -> Result<f64, String> {
    let query = query
        .replace("$pool", color.name())
        .replace("$release", &quoted(&facts.releases[color.index()]))
        .replace("$service", &quoted(&facts.service));
    let answer: Answer = get(at, "/api/v1/query", &[("query", &query)]).await?;
    if !answer.error.is_empty() {
        return Err(answer.error);
    }
    let result = answer.data.result;
    let value = match result.as_array().map(Vec::as_slice) {
        Some([]) => return Err(format!("Prometheus has no series for {color}: {query}")),
        // A scalar: time and value.
        Some([serde_json::Value::Number(_), value]) => value,
        Some([series]) => &series["value"][1],
        Some(many) => {
            return Err(format!(
                "the query gives {} series where one is needed: write sum(...) around it",
                many.len()
            ));
        }
        None => return Err("Prometheus' answer was not understood".to_owned()),
    };
    let number = value.as_str().and_then(|text| text.parse::<f64>().ok());
    let number = number.filter(|number| !number.is_nan());
    number.ok_or_else(|| format!("the query has no number for {color}: {value}"))
}

/// Text for the inside of a PromQL string.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

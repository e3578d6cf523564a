//! `[service.NAME]`: one thing reachable by host and path. One file for each table below it, and for each group of its keys.

pub(crate) mod access;
pub(crate) mod answers;
pub(crate) mod conditions;
pub(crate) mod containers;
pub(crate) mod control;
pub(crate) mod copying;
pub(crate) mod deadlines;
pub(crate) mod eject;
pub(crate) mod endpoint;
pub(crate) mod health;
pub(crate) mod hooks;
pub(crate) mod hosts;
pub(crate) mod image;
pub(crate) mod judgement;
pub(crate) mod latency;
pub(crate) mod mirror;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod pools;
pub(crate) mod preview;
pub(crate) mod probes;
pub(crate) mod protocol;
pub(crate) mod retry_budget;
pub(crate) mod rules;
pub(crate) mod shares;
pub(crate) mod slo;
pub(crate) mod smoke;
pub(crate) mod sources;
pub(crate) mod steps;
pub(crate) mod sticky;
pub(crate) mod strategy;
pub(crate) mod switchback;
pub(crate) mod timeouts;
pub(crate) mod tls;
pub(crate) mod unjudged;
pub(crate) mod verdicts;
pub(crate) mod warmup;

use crate::config::parse::duration::{OPTIONAL, duration, minutes, seconds};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Many, Scalar, Text, Value};
use crate::config::parse::value::{self, Check};
use crate::config::service::answers::RawAnswers;
use crate::config::service::control::{Control, control, fits_control};
use crate::config::service::copying::{Copying, RawCopy, copying, fits_naming};
use crate::config::service::deadlines::{
    approve_deadline, fits_deadline, step_deadline, whole_deadline,
};
use crate::config::service::eject::{Eject, RawEject, eject};
use crate::config::service::health::{Health, RawHealth, health};
use crate::config::service::hooks::{Hook, RawHook, hook};
use crate::config::service::hosts::{Host, hosts, prefixes};
use crate::config::service::judgement::{Judgement, RawJudgement, judgement};
use crate::config::service::mirror::{Mirror, RawMirror, mirror};
use crate::config::service::pools::{PoolSpec, RawPool, pools};
use crate::config::service::preview::{Preview, RawPreview, preview};
use crate::config::service::probes::{Probes, RawProbes, probes};
use crate::config::service::protocol::{PROTOCOLS, Protocol, fits_tls};
use crate::config::service::retry_budget::{RawRetryBudget, RetryBudget, retry_budget};
use crate::config::service::rules::{RawRule, Rule, rules};
use crate::config::service::slo::RawSlo;
use crate::config::service::smoke::{RawSmoke, SmokeCheck, smoke};
use crate::config::service::sources::{RawSource, Source, sources};
use crate::config::service::steps::{RawStep, steps};
use crate::config::service::sticky::{Mark, RawSticky, Sticky, sticky};
use crate::config::service::strategy::{STRATEGIES, challenge, fits_holdback, holdback, monitor};
use crate::config::service::switchback::{RawSwitchback, switchback};
use crate::config::service::timeouts::{RawTimeouts, Timeouts, timeouts};
use crate::config::service::tls::{BackendTls, RawBackendTls};
use crate::config::service::unjudged::{RawUnjudged, Unjudged, unjudged};
use crate::config::service::verdicts::{
    ON_WORSE, TOTAL_REQUESTS_MIN, WORSE, on_inconclusive, on_no_data, requests, step_requests_min,
};
use crate::config::service::warmup::{RawWarmup, Warmup, warmup};
use crate::core::plan::{OnWorse, Step, Strategy, Undecided};
use crate::core::switchback::Settings;
use crate::core::weight::Weight;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;
use toml::Spanned;

/// One thing reachable by host and path, with at most one rollout at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name: `[a-z0-9-]`, 1 to 63 characters.
    pub name: String,
    /// The hosts of the service; at least one.
    pub hosts: Vec<Host>,
    /// The path prefixes of the service, by whole segments, without a `/` at the end; at least one.
    pub paths: Vec<String>,
    /// The version that runs now.
    pub blue: PoolSpec,
    /// The version that is to replace it, when there is one.
    pub green: Option<PoolSpec>,
    /// What green's latency is compared with.
    pub control: Control,
    /// The protocol of its members.
    pub protocol: Protocol,
    /// TLS to the members; `None`: off.
    pub tls: Option<BackendTls>,
    /// How green's containers are created from blue's, where shifter creates them.
    pub copy: Copying,
    /// The strategy, unless the command line names another.
    pub strategy: Strategy,
    /// The shares and approvals of a canary, in order: only `Shift` and `Approve`, rising, the last 100 %.
    pub steps: Vec<Step>,
    /// The watch after a blue-green swap.
    pub monitor: Duration,
    /// The share that stays on blue during the last watch, as a control; `None`: 5 % in a canary, nothing in blue-green.
    pub holdback: Option<Weight>,
    /// The share that blue gets back while a green with the whole share looks worse than blue's past; none: the past
    /// alone decides.
    pub challenge: Weight,
    /// Time in an equal share in which slowness of a small share is confirmed, once more while green leans worse there;
    /// zero: a small share convicts.
    pub confirm: Duration,
    /// Time in which a raised share grows to its weight.
    pub ramp: Duration,
    /// How shifter searches for harm that green does to blue; `None`: it does not.
    pub switchback: Option<Settings>,
    /// How the health of a pool's members is checked.
    pub health: Health,
    /// Warm-up requests before any user sees green.
    pub warmup: Option<Warmup>,
    /// Checks of green before any user sees it.
    pub smoke: Vec<SmokeCheck>,
    /// The user's own commands, at moments of a rollout, in the order of the file.
    pub hooks: Vec<Hook>,
    /// Further sources of evidence about green while it has users.
    pub sources: Vec<Source>,
    /// Shifter's own probe requests to both versions while green has users; `None`: none.
    pub probes: Option<Probes>,
    /// What keeps a user on one colour; `None`: each request is placed by chance.
    pub sticky: Option<Sticky>,
    /// How to see green before it has a share.
    pub preview: Option<Preview>,
    /// Exceptions from the weights, in the order of the file: the first rule that matches decides.
    pub rules: Vec<Rule>,
    /// Requests that are routed as all others and not judged.
    pub unjudged: Vec<Unjudged>,
    /// Mirroring of requests to a green without users; `None`: off.
    pub mirror: Option<Mirror>,
    /// The timeouts of the parts of a request.
    pub timeouts: Timeouts,
    /// When one member is ejected for a while.
    pub eject: Eject,
    /// The limit of retries.
    pub retry_budget: RetryBudget,
    /// The margins of the judge.
    pub judgement: Judgement,
    /// The longest time for each step that is not a share.
    pub step_deadline: Duration,
    /// The longest wait for a person's approval.
    pub approve_deadline: Duration,
    /// The longest time from the start to the promotion; `None` is enough for the steps.
    pub deadline: Option<Duration>,
    /// The longest wait for requests in flight on a released pool.
    pub drain: Duration,
    /// How long blue stays warm after the promotion.
    pub keep_blue: Duration,
    /// How long the stopped containers of a released green are kept.
    pub keep_green: Duration,
    /// When the judge finds green worse.
    pub on_worse: OnWorse,
    /// At a share's deadline with evidence of neither harm nor safety.
    pub on_inconclusive: Undecided,
    /// At a share's deadline with too few requests; never `Promote`.
    pub on_no_data: Undecided,
    /// Green requests in a share below which there is no data.
    pub step_requests_min: u64,
    /// Green requests in the rollout below which the last share has no data.
    pub total_requests_min: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table for each service: [service.api]"
)]
pub(crate) struct RawService {
    pub(crate) hosts: Option<Many>,
    pub(crate) paths: Option<Many>,
    pub(crate) blue: Option<RawPool>,
    pub(crate) green: Option<RawPool>,
    pub(crate) baseline: Option<RawPool>,
    pub(crate) control: Text,
    #[serde(default)]
    pub(crate) copy: RawCopy,
    pub(crate) protocol: Text,
    pub(crate) tls: Value<RawBackendTls>,
    pub(crate) strategy: Text,
    pub(crate) steps: Value<Vec<Spanned<RawStep>>>,
    pub(crate) monitor: Value<Scalar>,
    pub(crate) holdback: Value<f64>,
    pub(crate) challenge: Value<f64>,
    pub(crate) confirm: Value<Scalar>,
    pub(crate) ramp: Value<Scalar>,
    pub(crate) switchback: Value<RawSwitchback>,
    #[serde(default)]
    pub(crate) health: RawHealth,
    pub(crate) warmup: Option<RawWarmup>,
    #[serde(default)]
    pub(crate) smoke: Vec<Spanned<RawSmoke>>,
    #[serde(default)]
    pub(crate) hooks: Vec<Spanned<RawHook>>,
    #[serde(default)]
    pub(crate) sources: Vec<Spanned<RawSource>>,
    pub(crate) probes: Option<RawProbes>,
    pub(crate) sticky: Value<RawSticky>,
    pub(crate) preview: Value<RawPreview>,
    #[serde(default)]
    pub(crate) rules: Vec<Spanned<RawRule>>,
    #[serde(default)]
    pub(crate) unjudged: Vec<Spanned<RawUnjudged>>,
    pub(crate) mirror: Value<RawMirror>,
    #[serde(default)]
    pub(crate) timeouts: RawTimeouts,
    #[serde(default)]
    pub(crate) eject: RawEject,
    #[serde(default)]
    pub(crate) retry_budget: RawRetryBudget,
    pub(crate) confidence: Value<f64>,
    pub(crate) error_margin: Value<Scalar>,
    pub(crate) latency_margin: Value<Scalar>,
    pub(crate) latency: Text,
    pub(crate) latency_grace: Value<Scalar>,
    pub(crate) max_excess_failures: Value<i64>,
    pub(crate) count_4xx: Value<bool>,
    pub(crate) answers: Value<RawAnswers>,
    pub(crate) slo: Value<RawSlo>,
    pub(crate) step_deadline: Value<Scalar>,
    pub(crate) approve_deadline: Value<Scalar>,
    pub(crate) deadline: Value<Scalar>,
    pub(crate) drain: Value<Scalar>,
    pub(crate) keep_blue: Value<Scalar>,
    pub(crate) keep_green: Value<Scalar>,
    pub(crate) on_worse: Text,
    pub(crate) on_inconclusive: Text,
    pub(crate) on_no_data: Text,
    pub(crate) step_requests_min: Value<i64>,
    pub(crate) total_requests_min: Value<i64>,
}

/// Time for the requests in flight on a released pool.
const DRAIN: Duration = seconds(30);

/// How long a quick rollback stays possible.
const KEEP_BLUE: Duration = minutes(10);

/// How long a released green is kept: its logs may be needed.
const KEEP_GREEN: Duration = minutes(60);

impl Service {
    /// The `Host` of our own requests (health checks, warm-up, smoke checks, probes): `host` of `health`, else the
    /// first exact one that the service answers for, else one below its suffix, else `localhost`.
    pub fn own_host(&self) -> String {
        let exact = |host: &Host| match host {
            Host::Exact(name) => Some(name.clone()),
            _ => None,
        };
        let below = |host: &Host| match host {
            Host::Below(suffix) => Some(format!("www{suffix}")),
            _ => None,
        };
        let named = self.health.host.clone();
        named
            .or_else(|| self.hosts.iter().find_map(exact))
            .or_else(|| self.hosts.iter().find_map(below))
            .unwrap_or_else(|| "localhost".to_owned())
    }

    /// The name that the serving container must have, if any.
    pub fn fixed_name(&self) -> Option<&str> {
        self.copy.fixed_name(&self.blue)
    }

    /// Whether its users get a cookie.
    pub fn sets_cookies(&self) -> bool {
        let sticky = self.sticky.as_ref();
        sticky.is_some_and(|sticky| matches!(sticky.by, Mark::Cookie(_)))
    }
}

/// A service, checked by itself.
pub(crate) fn service(name: &Spanned<String>, raw: &RawService, dir: &Path) -> Check<Service> {
    of_pools(name, raw, pools(name, &raw.blue, &raw.green)?, dir)
}

/// A service, checked by itself, with its pools already checked.
pub(crate) fn of_pools(
    name: &Spanned<String>,
    raw: &RawService,
    (blue, green): (PoolSpec, Option<PoolSpec>),
    dir: &Path,
) -> Check<Service> {
    let mut service = Service {
        name: checked_name(name)?,
        hosts: hosts(&raw.hosts)?,
        paths: prefixes(&raw.paths)?,
        blue,
        green,
        control: control(&raw.control, &raw.baseline)?,
        protocol: value::choice("protocol", &raw.protocol, &PROTOCOLS, Protocol::Http1)?,
        tls: tls::backend(&raw.tls, &hosts(&raw.hosts)?, dir)?,
        copy: copying(&raw.copy)?,
        strategy: value::choice("strategy", &raw.strategy, &STRATEGIES, Strategy::Canary)?,
        steps: steps(&raw.steps)?,
        monitor: monitor(&raw.monitor)?,
        holdback: holdback(&raw.holdback)?,
        challenge: challenge(&raw.challenge)?,
        confirm: shares::confirm(&raw.confirm)?,
        ramp: shares::ramp(&raw.ramp)?,
        switchback: switchback(&raw.switchback)?,
        health: health(&raw.health)?,
        warmup: raw.warmup.as_ref().map(warmup).transpose()?,
        smoke: raw.smoke.iter().map(smoke).collect::<Check<_>>()?,
        hooks: raw.hooks.iter().map(hook).collect::<Check<_>>()?,
        sources: sources(&raw.sources, dir)?,
        probes: raw.probes.as_ref().map(probes).transpose()?,
        sticky: raw.sticky.as_ref().map(sticky).transpose()?,
        preview: preview(&raw.preview, dir)?,
        rules: rules(&raw.rules)?,
        unjudged: unjudged(&raw.unjudged)?,
        mirror: mirror(&raw.mirror)?,
        timeouts: timeouts(&raw.timeouts)?,
        eject: eject(&raw.eject)?,
        retry_budget: retry_budget(&raw.retry_budget)?,
        judgement: judgement(&raw.judgement())?,
        step_deadline: step_deadline(&raw.step_deadline)?,
        approve_deadline: approve_deadline(&raw.approve_deadline)?,
        deadline: whole_deadline(&raw.deadline)?,
        drain: duration("drain", &raw.drain, OPTIONAL, DRAIN)?,
        keep_blue: duration("keep_blue", &raw.keep_blue, OPTIONAL, KEEP_BLUE)?,
        keep_green: duration("keep_green", &raw.keep_green, OPTIONAL, KEEP_GREEN)?,
        on_worse: value::choice("on_worse", &raw.on_worse, &WORSE, ON_WORSE)?,
        on_inconclusive: on_inconclusive(&raw.on_inconclusive)?,
        on_no_data: on_no_data(&raw.on_no_data)?,
        step_requests_min: step_requests_min(&raw.step_requests_min)?,
        total_requests_min: requests(
            "total_requests_min",
            &raw.total_requests_min,
            TOTAL_REQUESTS_MIN,
        )?,
    };
    fits(&mut service, raw)?;
    Ok(service)
}

impl RawService {
    fn judgement(&self) -> RawJudgement<'_> {
        RawJudgement {
            confidence: &self.confidence,
            error_margin: &self.error_margin,
            latency_margin: &self.latency_margin,
            latency: &self.latency,
            latency_grace: &self.latency_grace,
            max_excess_failures: &self.max_excess_failures,
            count_4xx: &self.count_4xx,
            answers: &self.answers,
            slo: &self.slo,
        }
    }
}

/// Checks the settings that depend on each other.
fn fits(service: &mut Service, raw: &RawService) -> Check<()> {
    let pools = (&service.blue, service.green.as_ref());
    fits_tls(&raw.protocol, &service.tls)?;
    tls::fits_members(&service.name, &service.tls, &service.blue, &raw.tls)?;
    fits_naming(&service.copy, &service.blue, &raw.copy)?;
    fits_holdback(service.holdback, &service.steps, &raw.holdback)?;
    fits_control(&service.control, pools, (&raw.control, &raw.baseline))?;
    let grace = service.judgement.latency_grace + service.ramp;
    service.confirm = shares::fits_grace(service.confirm, grace, &raw.confirm)?;
    fits_deadline(&service.plan(None), &raw.deadline)
}

fn checked_name(raw: &Spanned<String>) -> Check<String> {
    let name = raw.get_ref();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=63).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(name.clone());
    }
    let lower = name.to_ascii_lowercase();
    let fixed: String = lower
        .chars()
        .map(|c| {
            if u8::try_from(c).is_ok_and(plain) {
                c
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    let help = format!(
        "for example [service.{}]",
        if fixed.is_empty() { "api" } else { &fixed }
    );
    Err(Problem::at(
        raw.span(),
        format!(
            "\"{}\" cannot name a service: 1 to 63 of a-z, 0-9 and `-` can",
            value::brief(name)
        ),
        "this name",
        help,
    ))
}

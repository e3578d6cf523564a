//! Checks of one `[service.NAME]`.

use crate::config::checks::{hook, smoke};
use crate::config::control::{control, fits_control};
use crate::config::copying::{copying, fits_naming};
use crate::config::file::{
    RawEject, RawHealth, RawRetryBudget, RawService, RawTimeouts, RawWarmup,
};
use crate::config::judgement::judgement;
use crate::config::mirror::mirror;
use crate::config::parse::duration::{LONG, OPTIONAL, SHORT, duration, shown};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::Value;
use crate::config::parse::value::{self, Check, percent};
use crate::config::probes::{paths, probes};
use crate::config::reach::{hosts, pools, prefixes};
use crate::config::sources::sources;
use crate::config::steps::steps;
use crate::config::switchback::switchback;
use crate::config::types::{
    Ask, Eject, Health, PoolSpec, Protocol, RetryBudget, Service, Timeouts, Warmup,
};
use crate::config::unjudged::unjudged;
use crate::config::users::{preview, rules, sticky};
use crate::config::{defaults, shares, tls};
use crate::core::plan::{OnWorse, Plan, Step, Strategy, Undecided};
use crate::core::weight::Weight;
use std::path::Path;
use std::time::Duration;
use toml::Spanned;

const STRATEGIES: [(&str, Strategy); 2] = [
    (Strategy::Canary.name(), Strategy::Canary),
    (Strategy::BlueGreen.name(), Strategy::BlueGreen),
];

const PROTOCOLS: [(&str, Protocol); 3] = [
    ("http/1.1", Protocol::Http1),
    ("h2c", Protocol::H2),
    ("h2", Protocol::H2),
];

const WORSE: [(&str, OnWorse); 3] = [
    ("rollback", OnWorse::Rollback),
    ("pause", OnWorse::Pause),
    ("report", OnWorse::Report),
];

const UNDECIDED: [(&str, Undecided); 3] = [
    ("promote", Undecided::Promote),
    ("hold", Undecided::Hold),
    ("rollback", Undecided::Rollback),
];

/// A service, checked by itself.
pub(crate) fn service(name: &Spanned<String>, raw: &RawService, dir: &Path) -> Check<Service> {
    of_pools(name, raw, pools(name, raw)?, dir)
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
        control: control(raw)?,
        protocol: value::choice("protocol", &raw.protocol, &PROTOCOLS, Protocol::Http1)?,
        tls: tls::backend(&raw.tls, &hosts(&raw.hosts)?, dir)?,
        copy: copying(&raw.copy)?,
        strategy: value::choice("strategy", &raw.strategy, &STRATEGIES, Strategy::Canary)?,
        steps: steps(&raw.steps)?,
        monitor: monitor(raw)?,
        holdback: holdback(raw)?,
        challenge: challenge(raw)?,
        confirm: shares::confirm(raw)?,
        ramp: shares::ramp(raw)?,
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
        judgement: judgement(raw)?,
        step_deadline: step_deadline(raw)?,
        approve_deadline: approve_deadline(raw)?,
        deadline: whole_deadline(raw)?,
        drain: drain(raw)?,
        keep_blue: keep_blue(raw)?,
        keep_green: keep_green(raw)?,
        on_worse: value::choice("on_worse", &raw.on_worse, &WORSE, defaults::ON_WORSE)?,
        on_inconclusive: on_inconclusive(raw)?,
        on_no_data: on_no_data(raw)?,
        step_requests_min: step_requests_min(raw)?,
        total_requests_min: requests(
            "total_requests_min",
            &raw.total_requests_min,
            defaults::TOTAL_REQUESTS_MIN,
        )?,
    };
    fits(&mut service, raw)?;
    Ok(service)
}

/// Checks the settings that depend on each other.
fn fits(service: &mut Service, raw: &RawService) -> Check<()> {
    fits_tls(service, raw)?;
    tls::fits_members(service, &raw.tls)?;
    fits_naming(service, &raw.copy)?;
    fits_holdback(service, raw)?;
    fits_control(service, raw)?;
    shares::fits_grace(service, raw)?;
    fits_deadline(&service.plan(None), raw)
}

fn holdback(raw: &RawService) -> Check<Option<Weight>> {
    let share = |raw| percent("holdback", raw);
    raw.holdback.as_ref().map(share).transpose()
}

fn challenge(raw: &RawService) -> Check<Weight> {
    let Some(raw) = &raw.challenge else {
        return Ok(defaults::CHALLENGE);
    };
    let share = percent("challenge", raw)?;
    if share.as_basis_points() <= 5_000 {
        return Ok(share);
    }
    Err(Problem::at(
        raw.span(),
        format!("`challenge` is {share}: it must be 0 to 50"),
        "too much",
        "write the percentage that blue gets back for a while, such as 25; with 0 blue's past alone decides",
    ))
}

fn step_deadline(raw: &RawService) -> Check<Duration> {
    let default = defaults::STEP_DEADLINE;
    duration("step_deadline", &raw.step_deadline, LONG, default)
}

fn approve_deadline(raw: &RawService) -> Check<Duration> {
    let default = defaults::APPROVE_DEADLINE;
    duration("approve_deadline", &raw.approve_deadline, LONG, default)
}

fn whole_deadline(raw: &RawService) -> Check<Option<Duration>> {
    match &raw.deadline {
        None => Ok(None),
        given => duration("deadline", given, LONG, defaults::DEADLINE).map(Some),
    }
}

fn monitor(raw: &RawService) -> Check<Duration> {
    duration("monitor", &raw.monitor, LONG, defaults::MONITOR)
}

fn drain(raw: &RawService) -> Check<Duration> {
    duration("drain", &raw.drain, OPTIONAL, defaults::DRAIN)
}

fn keep_blue(raw: &RawService) -> Check<Duration> {
    let default = defaults::KEEP_BLUE;
    duration("keep_blue", &raw.keep_blue, OPTIONAL, default)
}

fn keep_green(raw: &RawService) -> Check<Duration> {
    let default = defaults::KEEP_GREEN;
    duration("keep_green", &raw.keep_green, OPTIONAL, default)
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

fn ask(raw: &RawHealth) -> Check<Ask> {
    match (&raw.path, &raw.grpc) {
        (None, None) => Ok(Ask::Connect),
        (Some(path), None) => value::path("path", path, true).map(Ask::Path),
        (None, Some(name)) if name.get_ref().len() < 126 && name.get_ref().is_ascii() => {
            Ok(Ask::Grpc(name.get_ref().clone()))
        }
        (None, Some(name)) => Err(Problem::at(
            name.span(),
            "`grpc` is no name of a gRPC service",
            "not a name",
            "write grpc = \"\" for the whole server, or a name like \"my.package.Greeter\"",
        )),
        (Some(_), Some(grpc)) => Err(Problem::at(
            grpc.span(),
            "`health` has a `path` and a `grpc`",
            "and this",
            "write one of them",
        )),
    }
}

fn health(raw: &RawHealth) -> Check<Health> {
    let default = defaults::HEALTH;
    let host = raw.host.as_ref().map(|host| {
        let good = |text: &str| !text.is_empty() && text.parse::<http::uri::Authority>().is_ok();
        match host.get_ref().as_str() {
            text if good(text) && !text.contains('@') => Ok(text.to_owned()),
            text => Err(Problem::at(
                host.span(),
                format!("`host` is \"{}\", which is no host", value::brief(text)),
                "not a host",
                "write the name that the app answers to, such as \"app.example.com\"",
            )),
        }
    });
    Ok(Health {
        ask: ask(raw)?,
        host: host.transpose()?,
        port: match &raw.port {
            None => default.port,
            given => Some(value::number("port", given, 1..=65_535, 0)?),
        },
        interval: duration("interval", &raw.interval, SHORT, default.interval)?,
        timeout: duration("timeout", &raw.timeout, SHORT, default.timeout)?,
        rise: value::number("rise", &raw.rise, 1..=100, default.rise)?,
        fall: value::number("fall", &raw.fall, 1..=100, default.fall)?,
        min_ready: duration("min_ready", &raw.min_ready, OPTIONAL, default.min_ready)?,
    })
}

fn warmup(raw: &RawWarmup) -> Check<Warmup> {
    Ok(Warmup {
        paths: paths(&raw.paths)?,
        requests: value::number(
            "requests",
            &raw.requests,
            1..=100_000,
            defaults::WARMUP_REQUESTS,
        )?,
        concurrency: value::number(
            "concurrency",
            &raw.concurrency,
            1..=1_000,
            defaults::WARMUP_CONCURRENCY,
        )?,
        timeout: duration("timeout", &raw.timeout, SHORT, defaults::WARMUP_TIMEOUT)?,
    })
}

fn timeouts(raw: &RawTimeouts) -> Check<Timeouts> {
    let default = defaults::TIMEOUTS;
    Ok(Timeouts {
        connect: duration("connect", &raw.connect, SHORT, default.connect)?,
        first_byte: duration("first_byte", &raw.first_byte, SHORT, default.first_byte)?,
        read: duration("read", &raw.read, SHORT, default.read)?,
        write: duration("write", &raw.write, SHORT, default.write)?,
        idle: duration("idle", &raw.idle, SHORT, default.idle)?,
    })
}

fn eject(raw: &RawEject) -> Check<Eject> {
    Ok(Eject {
        failures: value::number(
            "failures",
            &raw.failures,
            0..=1_000_000,
            defaults::EJECT.failures,
        )?,
        span: duration("for", &raw.span, SHORT, defaults::EJECT.span)?,
    })
}

fn retry_budget(raw: &RawRetryBudget) -> Check<RetryBudget> {
    let default = defaults::RETRY_BUDGET;
    let each = |key, raw, most, default| value::number(key, raw, 0..=most, default);
    Ok(RetryBudget {
        percent: each("percent", &raw.percent, 100, default.percent)?,
        per_second: each("per_second", &raw.per_second, 10_000, default.per_second)?,
    })
}

fn requests(key: &str, raw: &Value<i64>, default: u64) -> Check<u64> {
    value::number(key, raw, 1..=1_000_000_000, default)
}

fn step_requests_min(raw: &RawService) -> Check<u64> {
    requests(
        "step_requests_min",
        &raw.step_requests_min,
        defaults::STEP_REQUESTS_MIN,
    )
}

fn on_inconclusive(raw: &RawService) -> Check<Undecided> {
    value::choice(
        "on_inconclusive",
        &raw.on_inconclusive,
        &UNDECIDED,
        defaults::ON_INCONCLUSIVE,
    )
}

fn on_no_data(raw: &RawService) -> Check<Undecided> {
    let chosen = value::choice(
        "on_no_data",
        &raw.on_no_data,
        &UNDECIDED,
        defaults::ON_NO_DATA,
    )?;
    match &raw.on_no_data {
        Some(text) if chosen == Undecided::Promote => Err(Problem::at(
            text.span(),
            "`on_no_data` is \"promote\": silence never promotes",
            "not here",
            "write \"rollback\" or \"hold\"; a person can still promote with `shifter promote`",
        )),
        _ => Ok(chosen),
    }
}

/// Checks the protocol against TLS: HTTP/2 has one name with TLS and one without.
fn fits_tls(service: &Service, raw: &RawService) -> Check<()> {
    let Some(raw) = &raw.protocol else {
        return Ok(());
    };
    let wrong = |what, label, help| Err(Problem::at(raw.span(), what, label, help));
    match (raw.get_ref().as_str(), &service.tls) {
        ("h2", None) => wrong(
            "`protocol` is \"h2\", which is HTTP/2 by TLS, and there is no `tls`",
            "without TLS",
            "write tls = true, or protocol = \"h2c\" for HTTP/2 without TLS",
        ),
        ("h2c", Some(_)) => wrong(
            "`protocol` is \"h2c\", which is HTTP/2 without TLS, and `tls` is on",
            "with TLS",
            "write protocol = \"h2\", or leave `tls` out",
        ),
        _ => Ok(()),
    }
}

/// Checks that the held-back share leaves the last share larger than the one before it.
fn fits_holdback(service: &Service, raw: &RawService) -> Check<()> {
    let (Some(raw), Some(holdback)) = (&raw.holdback, service.holdback) else {
        return Ok(());
    };
    let most = service.steps.iter().filter_map(|step| match step {
        Step::Shift { weight, .. } if *weight < Weight::ALL => Some(weight.rest()),
        _ => None,
    });
    let most = most.min().unwrap_or(Weight::ALL);
    if holdback < most {
        return Ok(());
    }
    Err(Problem::at(
        raw.span(),
        format!("`holdback` {holdback} leaves the last share nothing more than the one before"),
        "too much",
        format!(
            "write less than {}: 5 is enough for a comparison",
            f64::from(most.as_basis_points()) / 100.0
        ),
    ))
}

/// Checks that the shortest times together fit into the whole.
fn fits_deadline(plan: &Plan, raw: &RawService) -> Check<()> {
    let hold = |step: &Step| match step {
        Step::Shift { hold, .. } => *hold,
        _ => Duration::ZERO,
    };
    let least = plan
        .steps
        .iter()
        .map(hold)
        .fold(Duration::ZERO, Duration::saturating_add);
    let given: &Value<_> = &raw.deadline;
    match given {
        Some(raw) if least > plan.deadline => Err(Problem::at(
            raw.span(),
            format!(
                "`deadline` is {}, and the holds alone take {}",
                shown(plan.deadline),
                shown(least)
            ),
            "too short",
            format!(
                "write more than \"{}\", or leave it out: then it is long enough for the steps",
                shown(least)
            ),
        )),
        _ => Ok(()),
    }
}

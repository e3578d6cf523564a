//! `shifter plan`: the steps of a rollout, and whether they can detect a regression at this traffic.

use crate::cli::connect;
use crate::cli::output::{self, Table, percent, tame};
use crate::cli::{Global, checklist};
use crate::config::{Config, Service};
use crate::control::view::{API_VERSION, ServiceView};
use crate::core::judge::Policy;
use crate::core::judge::words::grouped;
use crate::core::plan::{OnWorse, Plan, Step, Strategy, Undecided};
use crate::core::rollout::SHARE_MAX;
use crate::core::time::span;
use crate::core::weight::Weight;
use crate::daemon::process;
use crate::exit::Exit;
use crate::simulate::outlook::{self, Outlook, Sight, Traffic, USUAL_MS, WORSE};
use serde::Serialize;
use std::time::Duration;

/// Options of `shifter plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service; not needed when there is only one.
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Another recipe than the configured one: canary or blue-green.
    #[arg(long, value_name = "STRATEGY", value_parser = strategy)]
    pub strategy: Option<Strategy>,
    /// Requests a second; else what a running shifter measures.
    #[arg(long, value_name = "N", value_parser = rate)]
    pub rps: Option<f64>,
    /// Blue's share of failed requests in percent; else what a running shifter measures, else 0.1.
    #[arg(long, value_name = "PERCENT", value_parser = errors)]
    pub error_rate: Option<f64>,
}

fn strategy(text: &str) -> Result<Strategy, String> {
    let found = Strategy::ALL
        .into_iter()
        .find(|strategy| strategy.name() == text);
    found.ok_or_else(|| "give canary or blue-green".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| *rate > 0.0 && *rate <= 1e9);
    rate.ok_or_else(|| "give requests a second, such as 50".to_owned())
}

fn errors(text: &str) -> Result<f64, String> {
    let share = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    share
        .filter(|share| (0.0..=50.0).contains(share))
        .ok_or_else(|| "give percent from 0 to 50, such as 0.1".to_owned())
}

#[derive(Debug, Serialize)]
struct StepFacts {
    name: String,
    hold_seconds: Option<f64>,
    deadline_seconds: f64,
    green_rps: Option<f64>,
    green_requests: Option<[u64; 2]>,
    sees: Vec<Sight>,
    mend: Option<String>,
}

#[derive(Serialize)]
struct Facts {
    api_version: &'static str,
    service: String,
    strategy: Strategy,
    shortest_seconds: f64,
    longest_seconds: f64,
    traffic: Option<Traffic>,
    /// The outlook for a green as good as blue first, then for worse ones.
    outlooks: Vec<Outlook>,
    steps: Vec<StepFacts>,
    /// Whether shifter's own probe requests are judged too; they are not simulated.
    probes: bool,
    /// Whether users are pinned: the judge counts users, and the simulation requests.
    sticky: bool,
    /// What a search for harm that green does to blue can find, and how fast; `None` where there is no search.
    shared_harm: Option<String>,
    /// State that does not move from one version to the other with the requests.
    checklist: Vec<String>,
}

/// Runs the command.
pub fn run(global: &Global, args: Args) -> Exit {
    let config = match process::load(&global.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let service = match pick(&config, args.service.as_deref()) {
        Ok(service) => service,
        Err(what) => {
            output::narrate(&format!("shifter: {what}"));
            return Exit::Usage;
        }
    };
    let plan = service.plan(args.strategy);
    let name = Some(service.name.as_str());
    let view = connect::ask_if_there(global, async |client| client.service(name).await);
    let traffic = traffic(&args, view.as_ref());
    let mut facts = facts(service, &plan, traffic);
    let open = view.as_ref().map(|view| view.blue.upgraded);
    let blue = checklist::containers(&config, service, view.as_ref());
    facts.checklist = checklist::items(service, &plan, open, &blue);
    output::facts(global.output, &facts, &text(&facts, &plan))
}

fn pick<'a>(config: &'a Config, name: Option<&str>) -> Result<&'a Service, String> {
    let known: Vec<String> = config
        .services
        .iter()
        .map(|service| format!("`{}`", service.name))
        .collect();
    let known = known.join(", ");
    match (name, config.services.as_slice()) {
        (Some(name), _) => config
            .service(name)
            .ok_or_else(|| format!("there is no service `{}`; there is {known}", tame(name))),
        (None, [only]) => Ok(only),
        (None, _) => Err(format!("name a service: there is {known}")),
    }
}

/// The traffic from the command line, else as a running shifter measures it.
fn traffic(args: &Args, view: Option<&ServiceView>) -> Option<Traffic> {
    let usual = 0.1;
    if let Some(rps) = args.rps {
        return Some(Traffic {
            rps,
            error_percent: args.error_rate.unwrap_or(usual),
            median_ms: view.and_then(|view| view.blue.p50_ms).unwrap_or(USUAL_MS),
            measured: false,
        });
    }
    let measured = measured(view?)?;
    let error_percent = args.error_rate.unwrap_or(measured.error_percent);
    Some(Traffic {
        error_percent,
        ..measured
    })
}

/// The traffic that a running shifter measures, where there is some.
fn measured(view: &ServiceView) -> Option<Traffic> {
    let green = view
        .green
        .as_ref()
        .map_or(0.0, |pool| pool.requests_per_second);
    let rps = view.blue.requests_per_second + green;
    (rps > 0.0).then_some(Traffic {
        rps,
        error_percent: view.blue.failed_percent,
        median_ms: view.blue.p50_ms.filter(|ms| *ms > 0.0).unwrap_or(USUAL_MS),
        measured: true,
    })
}

/// The outlook of a service's plan at the traffic that a running shifter measures, in a line.
pub(crate) fn in_a_line(service: &Service, view: &ServiceView) -> Option<String> {
    Some(line(service, measured(view)?))
}

fn line(service: &Service, traffic: Traffic) -> String {
    let (plan, policy) = (service.plan(None), service.policy());
    let good = outlook::of(&plan, &policy, traffic.world(0.0));
    let worse = traffic.world(WORSE[1]);
    let blind = |step: &&Step| match step {
        Step::Shift {
            weight, deadline, ..
        } if *weight < Weight::ALL => {
            let sight = outlook::sight(&policy, worse, *weight, *deadline);
            sight.most_seconds.is_none()
        }
        _ => false,
    };
    let blind: Vec<String> = plan
        .steps
        .iter()
        .filter(blind)
        .map(Step::to_string)
        .collect();
    let mut line = format!(
        "at {:.1} requests a second a green as good as blue: {}",
        traffic.rps,
        good.words()
    );
    if !blind.is_empty() {
        line.push_str(&format!(
            "; {} cannot be sure to see errors {} → {}: `shifter plan {}` has what would mend it",
            blind.join(" and "),
            percent(traffic.error_percent),
            percent(100.0 * worse.green_errors),
            service.name
        ));
    }
    line
}

// ---- the outlook

fn facts(service: &Service, plan: &Plan, traffic: Option<Traffic>) -> Facts {
    let policy = service.policy();
    let hold = |step: &Step| match step {
        Step::Shift { hold, .. } => hold.as_secs_f64(),
        _ => 0.0,
    };
    let outlooks = traffic.map_or(vec![], |traffic| {
        let kinds = [0.0].into_iter().chain(WORSE);
        kinds
            .map(|more| outlook::of(plan, &policy, traffic.world(more)))
            .collect()
    });
    Facts {
        api_version: API_VERSION,
        service: service.name.clone(),
        strategy: plan.strategy,
        shortest_seconds: plan.steps.iter().map(hold).sum(),
        longest_seconds: plan.deadline.as_secs_f64(),
        traffic,
        steps: plan
            .steps
            .iter()
            .map(|step| step_facts(step, plan, traffic, &policy))
            .collect(),
        outlooks,
        probes: service.probes.is_some(),
        sticky: service.sticky.is_some(),
        shared_harm: shared_harm(service, plan, traffic),
        checklist: vec![],
    }
}

fn step_facts(step: &Step, plan: &Plan, traffic: Option<Traffic>, policy: &Policy) -> StepFacts {
    let name = step.to_string();
    let other = |deadline: f64| StepFacts {
        name: name.clone(),
        hold_seconds: None,
        deadline_seconds: deadline,
        green_rps: None,
        green_requests: None,
        sees: vec![],
        mend: None,
    };
    match *step {
        Step::Approve => other(plan.approve_deadline.as_secs_f64()),
        Step::Retire => other((plan.keep_blue + plan.drain).as_secs_f64()),
        Step::Start | Step::Warm | Step::Smoke | Step::Hooks { .. } => {
            other(plan.step_deadline.as_secs_f64())
        }
        Step::Shift {
            weight,
            hold,
            deadline,
        } => {
            let green_rps = traffic.map(|traffic| traffic.rps * weight.ratio());
            let requests = |time: Duration| move |rps: f64| (rps * time.as_secs_f64()) as u64;
            let beside = traffic.filter(|_| weight < Weight::ALL);
            let sees: Vec<Sight> = beside.map_or(vec![], |traffic| {
                let see = |more| outlook::sight(policy, traffic.world(more), weight, deadline);
                WORSE.map(see).into()
            });
            let short = sees.iter().position(|sight| sight.most_seconds.is_none());
            StepFacts {
                hold_seconds: Some(hold.as_secs_f64()),
                green_rps,
                green_requests: green_rps.map(|rps| [requests(hold)(rps), requests(deadline)(rps)]),
                mend: short.zip(beside).map(|(at, traffic)| {
                    outlook::mend(policy, traffic.world(WORSE[at]), weight, deadline)
                }),
                sees,
                ..other(deadline.as_secs_f64())
            }
        }
    }
}

/// What a switchback can find; `None` where no share leaves blue enough requests to be compared with itself.
fn shared_harm(service: &Service, plan: &Plan, traffic: Option<Traffic>) -> Option<String> {
    let watched = |step: &Step| matches!(step, Step::Shift { weight, .. } if *weight <= SHARE_MAX);
    let settings = service.switchback?;
    let any = plan.steps.iter().any(watched);
    any.then(|| settings.outlook(traffic.map(|traffic| traffic.rps)))
}

// ---- output for people

fn text(facts: &Facts, plan: &Plan) -> String {
    let mut text = format!("{}: {}\n", facts.service, facts.strategy);
    let mut table = Table::new(&[">", "step", "at least", "at most", ">green requests"]);
    for (at, step) in facts.steps.iter().enumerate() {
        table.row([
            (at + 1).to_string(),
            step.name.clone(),
            step.hold_seconds.map_or(String::new(), span),
            span(step.deadline_seconds),
            step.green_requests
                .map_or(String::new(), |[held, longest]| {
                    format!("{} to {}", grouped(held), grouped(longest))
                }),
        ]);
    }
    text.push_str(&table.render("  "));
    text.push_str(&format!(
        "shortest: {} and the time that green needs to get ready; longest until the promotion: {}\n",
        span(facts.shortest_seconds),
        span(facts.longest_seconds)
    ));
    text.push_str(&format!(
        "at a share's deadline: {} when the evidence shows neither harm nor safety, {} with too few requests\n",
        undecided(plan.on_inconclusive),
        undecided(plan.on_no_data)
    ));
    text.push_str(match plan.on_worse {
        OnWorse::Rollback => "",
        OnWorse::Pause => "when green is worse: pause and wait for a person (`on_worse`)\n",
        OnWorse::Report => "when green is worse: only say so and go on (`on_worse`)\n",
    });
    text.push_str(&sight_text(facts, plan));
    if let Some(harm) = &facts.shared_harm {
        text.push_str(&format!("\n{harm}\n"));
    }
    if !facts.checklist.is_empty() {
        text.push_str("\nwhat does not move with the requests:\n");
    }
    for item in &facts.checklist {
        text.push_str(&format!("  - {item}\n"));
    }
    text
}

fn undecided(undecided: Undecided) -> &'static str {
    match undecided {
        Undecided::Hold => "stay and wait for a person",
        Undecided::Promote => "go on",
        Undecided::Rollback => "back to blue",
    }
}

/// The note on a service with `sticky`.
const BY_USERS: &str = "  simulated by requests; with `sticky` harm is counted by users, each once in a share: with few users it is found later\n";

fn sight_text(facts: &Facts, plan: &Plan) -> String {
    let Some(traffic) = facts.traffic else {
        return "\ngive --rps N (or start shifter, which measures it) to see how much each step can tell\n".to_owned();
    };
    let source = if traffic.measured {
        "measured"
    } else {
        "as given or usual"
    };
    let mut text = format!(
        "\nat {:.1} requests a second, {} of blue's failing, half within {:.0} ms ({source}); simulated with this plan and judge:\n",
        traffic.rps,
        percent(traffic.error_percent),
        traffic.median_ms,
    );
    let mut all = facts.outlooks.iter();
    if let Some(good) = all.next() {
        text.push_str(&format!("  green as good as blue: {}\n", good.words()));
    }
    let from = percent(traffic.error_percent);
    for (i, worse) in all.enumerate() {
        let to = percent(worse.green_percent);
        text.push_str(&format!("  errors {from} → {to}: {}\n", worse.words()));
        for step in &facts.steps {
            if let Some(sight) = step.sees.get(i) {
                text.push_str(&format!("    {}: {}\n", step.name, sight.words()));
            }
        }
    }
    for step in &facts.steps {
        let Some([_, longest]) = step.green_requests else {
            continue;
        };
        if longest < plan.step_requests_min {
            text.push_str(&format!(
                "  {} gets at most {longest} green requests, fewer than the {} of `step_requests_min`: `on_no_data` then says {}\n",
                step.name,
                plan.step_requests_min,
                undecided(plan.on_no_data)
            ));
        }
    }
    for step in &facts.steps {
        if let Some(mend) = &step.mend {
            text.push_str(&format!(
                "  {} cannot be sure to decide by evidence at this traffic: {mend}\n",
                step.name
            ));
        }
    }
    let blind = facts.steps.iter().any(|step| step.mend.is_some());
    text.push_str(match (facts.probes, blind) {
        (true, _) => "  all this by users' requests alone: where green has fewer of them than probes, the probes decide too\n",
        (false, true) => "  requests of shifter's own to both versions can show what users are too few for: `probes` in the configuration\n",
        (false, false) => "",
    });
    text.push_str(if facts.sticky { BY_USERS } else { "" });
    text.push_str("  a total outage of green is seen within seconds, whatever the traffic, as soon as it has some requests\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(more: &str) -> Config {
        let text = format!("[service.a]\nblue = \"127.0.0.1:1\"\ngreen = \"127.0.0.1:2\"\n{more}");
        Config::parse("x.toml", &text).unwrap_or_else(|error| panic!("{}", error.one_line()))
    }

    fn at(config: &Config, rps: f64, error_percent: f64) -> Facts {
        let service = &config.services[0];
        facts(
            service,
            &service.plan(None),
            Some(Traffic {
                rps,
                error_percent,
                median_ms: USUAL_MS,
                measured: false,
            }),
        )
    }

    #[test]
    fn what_is_told_is_what_the_judge_does() {
        let facts = at(&service(""), 500.0, 0.1);
        let [good, small, large] = facts.outlooks.as_slice() else {
            panic!("{:?}", facts.outlooks);
        };
        assert!(good.promoted_percent > 98.0, "{good:?}");
        assert!(small.rolled_back_percent > 98.0, "{small:?}");
        assert!(
            large.half_seconds < small.half_seconds / 2.0,
            "{large:?} {small:?}"
        );
        let surer = at(&service("confidence = 0.999999\n"), 500.0, 0.1);
        assert!(surer.outlooks[2].half_seconds > 1.3 * large.half_seconds);
    }

    #[test]
    fn a_step_with_too_little_traffic_is_named_with_its_remedy() {
        let facts = at(&service(""), 8.0, 0.1);
        let five = facts
            .steps
            .iter()
            .find(|step| step.name == "shift 5%")
            .unwrap();
        // 0.4 requests per second: 24 in a minute, 360 in a quarter of an hour.
        assert_eq!(five.green_requests, Some([24, 360]));
        assert!(
            five.sees[0].most_seconds.is_none() && five.sees[1].half_seconds.is_some(),
            "{:?}",
            five.sees
        );
        let mend = five.mend.as_deref().unwrap();
        assert!(
            mend.starts_with("a deadline of ") && mend.contains("would do"),
            "{mend}"
        );
        let busy = at(&service(""), 1_000.0, 0.1);
        assert!(busy.steps.iter().all(|step| step.mend.is_none()));
    }

    #[test]
    fn the_times_are_those_of_the_plan() {
        let config = service("");
        let facts = at(&config, 50.0, 0.1);
        assert_eq!(facts.shortest_seconds, 240.0);
        let text = text(&facts, &config.services[0].plan(None));
        for part in [
            "shift 50%",
            "1 min",
            "15 min",
            "1,500 to 22,500",
            "as good as blue",
            "shortest: 4 min",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn numbers_from_the_command_line_are_checked() {
        assert_eq!(
            (rate("50"), errors("0.1%"), errors("0")),
            (Ok(50.0), Ok(0.1), Ok(0.0))
        );
        for bad in ["0", "-1", "NaN", "inf", "x", ""] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        for bad in ["-1", "51", "NaN", "x", ""] {
            assert!(errors(bad).is_err(), "{bad}");
        }
    }
}

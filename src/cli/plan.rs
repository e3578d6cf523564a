//! `shifter plan`: what a rollout would do, and whether its steps can see a regression at this traffic.

use crate::cli::output::{self, Table, percent, span, tame};
use crate::cli::{Global, ask, checklist, process};
use crate::config::{Config, Judgement, Service};
use crate::control::view::{API_VERSION, ServiceView};
use crate::core::judge::report::grouped;
use crate::core::plan::{Plan, Step, Strategy, Undecided};
use crate::exit::Exit;
use serde::Serialize;

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

/// What the service sees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Traffic {
    rps: f64,
    error_percent: f64,
    measured: bool,
}

/// Green requests after which a regression is seen: from, to; rough.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Need {
    from_percent: f64,
    to_percent: f64,
    requests: [u64; 2],
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

/// How a step stands to one regression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Sight {
    /// Within its hold.
    InTime,
    /// Some time before its deadline: the step lasts longer than its hold.
    Late,
    /// Perhaps not before its deadline.
    Unsure,
    /// Not before its deadline.
    Blind,
}

#[derive(Serialize)]
struct Facts {
    api_version: &'static str,
    service: String,
    strategy: Strategy,
    shortest_seconds: f64,
    longest_seconds: f64,
    traffic: Option<Traffic>,
    rough: bool,
    needs: Vec<Need>,
    steps: Vec<StepFacts>,
    /// What does not go from one version to the other with the requests.
    checklist: Vec<String>,
}

/// Shows the plan.
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
    let view = ask::ask_if_there(global, async |client| client.service(name).await);
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

/// As the command line says, else as a running shifter measures.
fn traffic(args: &Args, view: Option<&ServiceView>) -> Option<Traffic> {
    let usual = 0.1;
    if let Some(rps) = args.rps {
        return Some(Traffic {
            rps,
            error_percent: args.error_rate.unwrap_or(usual),
            measured: false,
        });
    }
    let view = view?;
    let green = view
        .green
        .as_ref()
        .map_or(0.0, |pool| pool.requests_per_second);
    let rps = view.blue.requests_per_second + green;
    let error_percent = args.error_rate.unwrap_or(view.blue.failed_percent);
    (rps > 0.0).then_some(Traffic {
        rps,
        error_percent,
        measured: true,
    })
}

// ---- how many requests it takes

/// Green requests that 0.1 % → 1 % and 0.1 % → 5 % took in the simulations of the judge with its
/// default margins, at 5 to 500 requests a second.
const DOCUMENTED: [(f64, [f64; 2]); 2] = [(0.01, [1_200.0, 1_900.0]), (0.05, [110.0, 410.0])];

/// Information (in nats) that one request gives on a failure ratio `p` against `q`: the
/// Kullback-Leibler divergence of the two coins.
fn information(p: f64, q: f64) -> f64 {
    p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln()
}

/// The ratio at which green does not yet count as worse.
fn tolerated(blue: f64, margin: f64) -> f64 {
    1.1 * blue + margin
}

/// What it takes to see blue's errors grow by as much as in the documented cases. Other rates and
/// margins are scaled by the information that one request gives: rough, and told so.
fn needs(judgement: &Judgement, error_percent: f64) -> Vec<Need> {
    let blue = error_percent / 100.0;
    let sure = judgement.alpha().ln() / 0.01f64.ln();
    let case = |(worse, requests): (f64, [f64; 2])| {
        let green = blue + worse - 0.001;
        let here = tolerated(blue, judgement.error_margin);
        // Within the margin there is nothing to see.
        if green <= here * 1.05 || green >= 1.0 {
            return None;
        }
        let scale = sure * information(worse, tolerated(0.001, 0.001)) / information(green, here);
        let requests = requests.map(|n| two_digits(n * scale));
        Some(Need {
            from_percent: error_percent,
            to_percent: green * 100.0,
            requests,
        })
    };
    DOCUMENTED.into_iter().filter_map(case).collect()
}

/// More digits would promise too much.
fn two_digits(n: f64) -> u64 {
    let unit = 10f64.powf((n.max(1.0).log10().floor() - 1.0).max(0.0));
    ((n / unit).round() * unit) as u64
}

fn sight(need: &Need, requests: [u64; 2]) -> Sight {
    let ([held, longest], [least, most]) = (requests, need.requests);
    match () {
        () if most <= held => Sight::InTime,
        () if most <= longest => Sight::Late,
        () if least <= longest => Sight::Unsure,
        () => Sight::Blind,
    }
}

fn facts(service: &Service, plan: &Plan, traffic: Option<Traffic>) -> Facts {
    let needs = traffic.map_or(vec![], |traffic| {
        needs(&service.judgement, traffic.error_percent)
    });
    let hold = |step: &Step| match step {
        Step::Shift { hold, .. } => hold.as_secs_f64(),
        _ => 0.0,
    };
    Facts {
        api_version: API_VERSION,
        service: service.name.clone(),
        strategy: plan.strategy,
        shortest_seconds: plan.steps.iter().map(hold).sum(),
        longest_seconds: plan.deadline.as_secs_f64(),
        traffic,
        rough: true,
        steps: plan
            .steps
            .iter()
            .map(|step| step_facts(step, plan, traffic, &needs))
            .collect(),
        needs,
        checklist: vec![],
    }
}

fn step_facts(step: &Step, plan: &Plan, traffic: Option<Traffic>, needs: &[Need]) -> StepFacts {
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
    match step {
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
            let (hold, deadline) = (hold.as_secs_f64(), deadline.as_secs_f64());
            let green_rps = traffic.map(|traffic| traffic.rps * weight.ratio());
            let green_requests =
                green_rps.map(|rps| [hold, deadline].map(|time| (rps * time) as u64));
            let sees: Vec<Sight> = green_requests.map_or(vec![], |requests| {
                needs.iter().map(|need| sight(need, requests)).collect()
            });
            let short = needs
                .iter()
                .zip(&sees)
                .find(|(_, sight)| matches!(sight, Sight::Unsure | Sight::Blind));
            let mend = short
                .zip(traffic)
                .map(|((need, _), traffic)| mend(need, traffic.rps, weight.ratio(), deadline));
            StepFacts {
                hold_seconds: Some(hold),
                green_rps,
                green_requests,
                sees,
                mend,
                ..other(deadline)
            }
        }
    }
}

/// What would let a step see a regression before its deadline.
fn mend(need: &Need, rps: f64, share: f64, deadline: f64) -> String {
    let most = need.requests[1] as f64;
    let time = span((most / (rps * share) / 60.0).ceil() * 60.0);
    let wider = (100.0 * most / (rps * deadline)).ceil();
    let longer = format!("a deadline of {time}");
    if wider <= 100.0 && wider > share * 100.0 {
        format!("{longer}, or a share of {wider}%, would do")
    } else {
        format!("{longer} would do; a larger share alone would not")
    }
}

// ---- in words

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
    text.push_str(&sight_text(facts, plan));
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
        "\nat {:.1} requests a second, {} of blue's failing ({source}); ROUGH figures, from simulations:\n",
        traffic.rps,
        percent(traffic.error_percent)
    );
    for (i, need) in facts.needs.iter().enumerate() {
        let [least, most] = need.requests.map(grouped);
        let (from, to) = (percent(need.from_percent), percent(need.to_percent));
        text.push_str(&format!(
            "  errors {from} → {to} take {least} to {most} green requests to see\n"
        ));
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
    text.push_str("  a total outage of green is seen within seconds, whatever the traffic, as soon as it has some requests\n");
    text
}

impl Sight {
    fn words(self) -> &'static str {
        match self {
            Sight::InTime => "seen within its shortest time",
            Sight::Late => "seen before its deadline",
            Sight::Unsure => "perhaps not seen before its deadline",
            Sight::Blind => "NOT seen before its deadline",
        }
    }
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
                measured: false,
            }),
        )
    }

    #[test]
    fn with_the_default_margins_it_is_the_documented_figures() {
        let facts = at(&service(""), 50.0, 0.1);
        let told: Vec<[u64; 2]> = facts.needs.iter().map(|need| need.requests).collect();
        assert_eq!(told, [[1_200, 1_900], [110, 410]]);
        let surer = at(&service("confidence = 0.9999"), 50.0, 0.1);
        assert_eq!(surer.needs[1].requests, [220, 820]);
        let noisier = at(&service(""), 50.0, 1.0);
        assert!(noisier.needs[0].requests[0] > 1_200, "{:?}", noisier.needs);
    }

    #[test]
    fn a_step_with_too_little_traffic_is_named_with_its_remedy() {
        let facts = at(&service(""), 5.0, 0.1);
        let five = facts
            .steps
            .iter()
            .find(|step| step.name == "shift 5%")
            .unwrap();
        // 0.25 requests a second: 15 in the minute, 225 in the quarter of an hour.
        assert_eq!(five.green_requests, Some([15, 225]));
        assert_eq!(five.sees, [Sight::Blind, Sight::Unsure]);
        let mend = five.mend.as_deref().unwrap();
        assert_eq!(mend, "a deadline of 2 h 7 min, or a share of 43%, would do");
        let busy = at(&service(""), 5_000.0, 0.1);
        assert!(busy.steps.iter().all(|step| step.mend.is_none()));
        assert!(
            busy.steps
                .iter()
                .flat_map(|step| &step.sees)
                .all(|sight| *sight == Sight::InTime)
        );
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
            "ROUGH",
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

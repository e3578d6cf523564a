//! `shifter route`: where a request would go, and why, by the code that routes users' requests.
//!
//! The table is that of the running shifter; without one it is the file's, where blue serves alone.

use crate::cli::Global;
use crate::cli::conditions::{of_unjudged, shown};
use crate::cli::connect;
use crate::cli::output::{self, Format, percent, tame};
use crate::config::{Config, Host, Mark, Service as Spec, Then, nearest};
use crate::control::view::{API_VERSION, View};
use crate::core::table::{Route, Table};
use crate::core::weight::Weight;
use crate::daemon::process;
use crate::exit::Exit;
use crate::metrics::Metrics;
use crate::proxy::routing::authority::authority;
use crate::proxy::routing::decision::{DecidedBy, Decision, RuleSkipped, decide};
use crate::proxy::routing::router::Entry;
use crate::proxy::routing::snapshot::{RoutingSnapshot, Service};
use crate::store::shared_state::Health;
use crate::store::{Clock, Key, SharedState};
use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, Uri};
use pingora::http::RequestHeader;
use serde::Serialize;
use std::sync::Arc;

/// Options of `shifter route`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Say why; there is nothing else that this command does.
    #[arg(long)]
    pub explain: bool,
    /// The method.
    #[arg(value_parser = method)]
    pub method: Method,
    /// The address, or a path with `-H 'Host: NAME'`.
    #[arg(value_name = "URL", value_parser = url)]
    pub url: Uri,
    /// A header of the request; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The same as `--output json`.
    #[arg(long)]
    pub json: bool,
}

fn method(text: &str) -> Result<Method, String> {
    Method::from_bytes(text.to_ascii_uppercase().as_bytes())
        .map_err(|_| "give a method of HTTP: GET, POST, ...".to_owned())
}

fn url(text: &str) -> Result<Uri, String> {
    let uri = text.parse::<Uri>().ok();
    uri.filter(|uri| uri.path().starts_with('/'))
        .ok_or_else(|| "give an address (http://api.example.com/v1) or a path (/v1)".to_owned())
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let pair = text.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    });
    pair.ok_or_else(|| "give a header as 'Name: value'".to_owned())
}

/// The explanation of a request's route.
#[derive(Debug, Default, Serialize)]
struct Explained {
    api_version: &'static str,
    method: String,
    host: String,
    path: String,
    /// Whether the table is that of a running shifter.
    running: bool,
    /// The version of the routing table; 0 without a running shifter.
    table_version: u64,
    service: Option<String>,
    /// The entry of `hosts` that matches.
    by_host: Option<String>,
    /// The entry of `paths` that matches.
    by_path: Option<String>,
    /// `preview`, `rule` or `weight`.
    decided_by: Option<&'static str>,
    /// The number of the rule that decides, from 1.
    rule: Option<usize>,
    /// The number of a rule that matches and does not decide, from 1.
    passed_rule: Option<usize>,
    /// The client's position on the line from 0 to 9,999, where the request gives it.
    point: Option<u16>,
    weight_percent: Option<f64>,
    /// `blue` or `green`; absent for a newcomer without a drawn position.
    pool: Option<&'static str>,
    release: Option<String>,
    backends: Vec<Member>,
    /// Whether the judge counts it.
    judged: bool,
    /// The number of the entry of `unjudged` that matches, from 1.
    unjudged: Option<usize>,
    /// Whether the answer sets a cookie.
    sets_cookie: bool,
    /// The status that shifter answers itself, where it does.
    status: Option<u16>,
    /// The host most similar to the requested one, where no service answers.
    nearest_host: Option<String>,
    /// The reasons, for people.
    why: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Member {
    address: String,
    health: &'static str,
}

/// Runs the command.
pub fn run(global: &Global, args: Args) -> Exit {
    let config = match process::load(&global.config) {
        Ok(config) => Arc::new(config),
        Err(exit) => return exit,
    };
    let running = connect::ask_if_there(global, async |client| {
        Ok((client.table().await?, client.status().await?))
    });
    let request = match request(&args) {
        Ok(request) => request,
        Err(error) => {
            output::narrate(&format!("shifter: this is no request: {error}"));
            return Exit::Usage;
        }
    };
    let metrics = match Metrics::new() {
        Ok(metrics) => metrics,
        Err(_) => return Exit::Internal,
    };
    let key = Key::found(&config.state);
    let mut explained = Explained {
        running: running.is_some(),
        ..Explained::default()
    };
    let signed = key.is_ok() || config.proxy.cookie_secret.is_some();
    let board = SharedState::keyed(config.clone(), key.unwrap_or_else(|_| Key::random()));
    publish(&board, &config, running, &mut explained);
    let live = RoutingSnapshot::new(&board.snapshot(), &metrics, None);
    explain(&live, &config, &request, &mut explained);
    let sticky = request.headers.contains_key("cookie")
        && explained.service.as_ref().is_some_and(|name| {
            let service = config.service(name);
            service.is_some_and(Spec::sets_cookies)
        });
    if sticky && !signed {
        let text = "the key of sticky cookies cannot be read here (it is in the state folder, for the user who runs shifter): its cookies count as unknown";
        explained.why.push(text.to_owned());
    }
    let format = if args.json {
        Format::Json
    } else {
        global.output
    };
    output::facts(format, &explained, &text(&explained))
}

/// The request as it would come over HTTP/1.1.
fn request(args: &Args) -> Result<RequestHeader, Box<pingora::Error>> {
    let target = args.url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = RequestHeader::build(args.method.clone(), target.as_bytes(), None)?;
    if let Some(host) = args.url.authority() {
        request.insert_header(HOST, host.as_str())?;
    }
    for (name, value) in &args.headers {
        if *name == HOST {
            request.insert_header(name.clone(), value.clone())?;
        } else {
            request.append_header(name.clone(), value.clone())?;
        }
    }
    Ok(request)
}

/// Publishes the current routes, or those after a start.
fn publish(
    board: &SharedState,
    config: &Config,
    running: Option<(Table, View)>,
    explained: &mut Explained,
) {
    let now = Clock::now();
    let Some((table, view)) = running else {
        let routes = config.services.iter().map(at_rest).collect();
        board.publish(Table { version: 0, routes }, None, now);
        return;
    };
    explained.table_version = table.version;
    board.publish(table, None, now);
    for service in &board.snapshot().services {
        let Some(view) = view.service(&service.route.service) else {
            continue;
        };
        let known = view.blue.backends.iter();
        let known: Vec<_> = known
            .chain(view.green.iter().flat_map(|green| &green.backends))
            .collect();
        for backend in service.backends() {
            let health = known.iter().find(|known| known.id == backend.id);
            let health = match health.map_or("", |known| known.health.as_str()) {
                "up" => Health::Up,
                "down" | "doubted" => Health::Down,
                _ => Health::Unknown,
            };
            board.set_health(backend, health);
        }
    }
}

/// A service without a rollout: blue serves.
fn at_rest(service: &Spec) -> Route {
    Route::at_rest(&service.name, service.blue.pool())
}

fn explain(live: &RoutingSnapshot, config: &Config, request: &RequestHeader, told: &mut Explained) {
    let host = authority(request);
    let path = request.uri.path();
    (told.api_version, told.method) = (API_VERSION, request.method.to_string());
    told.host = String::from_utf8_lossy(host).into_owned();
    told.path = path.to_owned();
    let Some(found) = live.routes.find(host, path) else {
        return nobody(config, told);
    };
    let service = &live.services[found.service];
    let entry = match found.host {
        Entry::Exact(name) => name.to_owned(),
        Entry::Below(suffix) => format!("*{suffix}"),
        Entry::Any => "*".to_owned(),
    };
    let prefix = if found.path.is_empty() {
        "/"
    } else {
        found.path
    };
    told.service = Some(service.name.clone());
    told.why.push(format!(
        "host {entry} and path {prefix} belong to the service {}",
        service.name
    ));
    (told.by_host, told.by_path) = (Some(entry), Some(prefix.to_owned()));
    let decision = decide(service, request, None, Clock::now());
    told.weight_percent = Some(service.weight.ratio() * 100.0);
    told.judged = decision.counts();
    told.unjudged = decision.unjudged.map(|at| at + 1);
    told.sets_cookie = decision.tell().is_some();
    if let Some((at, hindrance)) = decision.passed {
        told.passed_rule = Some(at + 1);
        told.why.push(passed(service, at, hindrance));
    }
    reasons(service, config, &decision, told);
    destination(service, &decision, told);
}

/// No service answers: explains shifter's own answer, and suggests a similar host.
fn nobody(config: &Config, told: &mut Explained) {
    told.status = Some(404);
    let bare = told.host.to_ascii_lowercase();
    let bare = bare.split(':').next().unwrap_or_default();
    let all: Vec<&Host> = config.services.iter().flat_map(|one| &one.hosts).collect();
    let fits = all.iter().any(|host| host.matches(bare));
    told.why.push(if fits {
        format!(
            "the host {} is known, and no service has a path that fits {}",
            told.host, told.path
        )
    } else {
        format!("no service answers for the host `{}`", told.host)
    });
    let names: Vec<String> = all.iter().map(ToString::to_string).collect();
    told.nearest_host = nearest(bare, names.iter().map(String::as_str))
        .filter(|_| !fits)
        .map(str::to_owned);
    if let Some(near) = &told.nearest_host {
        told.why.push(format!("the nearest is {near}"));
    }
}

fn reasons(service: &Service, config: &Config, decision: &Decision, told: &mut Explained) {
    let share = service.weight;
    match decision.by {
        DecidedBy::Preview => {
            told.decided_by = Some("preview");
            told.why
                .push("it has the preview header and its token: green, whatever its share".into());
        }
        DecidedBy::Rule(at) => {
            (told.decided_by, told.rule) = (Some("rule"), Some(at + 1));
            told.why.push(format!(
                "rule {} fits: {}",
                at + 1,
                shown(&service.rules[at])
            ));
        }
        DecidedBy::Weight(place) => {
            told.decided_by = Some("weight");
            let by = config
                .service(&service.name)
                .and_then(|spec| spec.sticky.as_ref());
            let by = match by.map(|sticky| &sticky.by) {
                Some(Mark::Cookie(cookie)) => format!("its cookie `{}`", cookie.name),
                Some(Mark::Header(name)) => format!("its header `{name}`"),
                None => "no sticky users".to_owned(),
            };
            let green = match share.as_basis_points() {
                0 => "green has no share".to_owned(),
                points => format!("green has the points 0 to {} ({share})", points - 1),
            };
            told.why.push(if place.known {
                told.point = Some(place.point);
                format!(
                    "{by} puts it at the point {} of 10,000; {green}",
                    place.point
                )
            } else {
                format!("a newcomer ({by}): its place is drawn when it comes; {green}")
            });
        }
    }
    if told.sets_cookie {
        told.why
            .push("the answer sets a cookie, which keeps it there".into());
    }
    if let Some(at) = decision.unjudged {
        told.why.push(format!(
            "the judge does not look at it: entry {} of `unjudged` fits ({})",
            at + 1,
            of_unjudged(&service.unjudged[at])
        ));
    } else if !told.judged {
        told.why
            .push("the judge does not look at it, and it gets no cookie".into());
    }
}

fn destination(service: &Service, decision: &Decision, told: &mut Explained) {
    let drawn = match decision.by {
        DecidedBy::Weight(place) => {
            place.known || service.weight == Weight::NONE || service.weight == Weight::ALL
        }
        DecidedBy::Rule(at) => !matches!(service.rules[at].then, Then::Weight(_)),
        DecidedBy::Preview => true,
    };
    let Some(spot) = decision.spot else {
        told.status = Some(503);
        told.why
            .push(format!("{} has no backend that can answer", decision.color));
        if service.pool(decision.color).is_empty() && !told.running {
            told.why
                .push("where its containers are is known only to a shifter that runs".into());
        }
        return;
    };
    if spot.color != decision.serves {
        let (meant, takes) = (decision.serves, spot.color);
        told.why.push(format!(
            "{meant} has no backend that can answer: {takes} takes it, charged to {meant}"
        ));
    } else if !drawn {
        return;
    }
    told.pool = Some(spot.color.name());
    let release = &service.releases[spot.color.index()];
    told.release = Some(release.clone()).filter(|release| !release.is_empty());
    told.backends = service
        .pool(spot.color)
        .iter()
        .map(|member| Member {
            address: member.state.addr.to_string(),
            health: match member.state.health() {
                Health::Up => "up",
                Health::Down => "down",
                Health::Unknown => "unknown",
            },
        })
        .collect();
}

fn passed(service: &Service, at: usize, hindrance: RuleSkipped) -> String {
    let why = match hindrance {
        RuleSkipped::NoShare => "green has no share, and the rule is not `early`",
        RuleSkipped::Nobody => "its pool has no backend that can answer",
    };
    let rule = shown(&service.rules[at]);
    format!(
        "rule {} fits ({rule}), but {why}: the weight decides",
        at + 1
    )
}

fn text(told: &Explained) -> String {
    let mut text = format!("{} http://{}{}\n", told.method, told.host, told.path);
    let mut line = |name: &str, value: &str| {
        text.push_str(&format!("  {name:<9}{}\n", tame(value)));
    };
    let table = match told.running {
        true => format!("version {} of the shifter that runs", told.table_version),
        false => "the file's: no shifter runs, blue serves alone".to_owned(),
    };
    line("table", &table);
    line("service", told.service.as_deref().unwrap_or("none"));
    match (told.status, told.pool, told.weight_percent) {
        (Some(status), ..) => line("answer", &format!("{status}, by shifter itself")),
        (None, Some(pool), _) => {
            let release = told.release.as_deref().unwrap_or("");
            line("pool", &format!("{pool} {release}"));
            for member in &told.backends {
                line("", &format!("{} ({})", member.address, member.health));
            }
        }
        (None, None, weight) => {
            let green = weight.unwrap_or(0.0);
            let odds = format!("green {}, blue {}", percent(green), percent(100.0 - green));
            line("pool", &odds);
        }
    }
    for (at, why) in told.why.iter().enumerate() {
        line(if at == 0 { "because" } else { "" }, why);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[service.web]\nhosts = [\"*.example.com\"]\nblue = \"127.0.0.1:1\"\ngreen = \"127.0.0.1:2\"\n\
        sticky = { cookie = \"pin\" }\nrules = [{ query = { v = \"2\" }, to = \"green\" }, { path = \"/old\", to = \"blue\" }]\n\
        unjudged = [{ path = \"/up\" }, { agent = \"kube-probe/*\" }]\n\
        [service.api]\nhosts = [\"api.example.com\"]\npaths = [\"/v1\"]\nblue = \"127.0.0.1:3\"\n";

    /// The explanation of a request while green of `web` has this share.
    fn told(points: u16, url: &str, headers: &[&str]) -> Explained {
        let config = Arc::new(Config::parse("test.toml", FILE).unwrap());
        let board = SharedState::new(config.clone());
        let mut routes: Vec<Route> = config.services.iter().map(at_rest).collect();
        routes[0].green = config.services[0].green.as_ref().map(|green| green.pool());
        routes[0].weight = Weight::basis_points(points).unwrap();
        board.publish(Table { version: 0, routes }, None, Clock::now());
        let live = RoutingSnapshot::new(&board.snapshot(), &Metrics::new().unwrap(), None);
        let given = live.services[0].line.cookie(17, None, false).unwrap();
        let given = given
            .to_str()
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned();
        let args = Args {
            explain: true,
            method: Method::GET,
            url: url.parse().unwrap(),
            headers: headers
                .iter()
                .map(|text| header(&text.replace("GIVEN", &given)).unwrap())
                .collect(),
            json: false,
        };
        let mut told = Explained::default();
        explain(&live, &config, &request(&args).unwrap(), &mut told);
        told
    }

    #[test]
    fn it_says_what_decides() {
        let newcomer = told(500, "http://www.example.com/a", &[]);
        assert_eq!((newcomer.decided_by, newcomer.pool), (Some("weight"), None));
        assert!(newcomer.judged && newcomer.sets_cookie);
        assert!(
            text(&newcomer).contains("green 5%, blue 95%"),
            "{}",
            text(&newcomer)
        );
        let known = told(500, "http://www.example.com/a", &["Cookie: GIVEN"]);
        assert_eq!((known.point, known.pool), (Some(17), Some("green")));
        let moved = told(10, "http://www.example.com/a", &["Cookie: GIVEN"]);
        assert_eq!((moved.point, moved.pool), (Some(17), Some("blue")));
        let forged = told(500, "http://www.example.com/a", &["Cookie: GIVENx"]);
        assert_eq!((forged.point, forged.sets_cookie), (None, true));
        let ruled = told(1, "http://www.example.com/a?v=2", &["Cookie: GIVEN"]);
        assert_eq!(
            (ruled.rule, ruled.pool, ruled.judged),
            (Some(1), Some("green"), false)
        );
        let check = told(500, "/up/db", &["Host: www.example.com", "Cookie: GIVEN"]);
        assert_eq!(
            (check.unjudged, check.judged, check.point, check.pool),
            (Some(1), false, Some(17), Some("green")),
            "it keeps its place"
        );
        assert!(
            text(&check).contains("entry 1 of `unjudged` fits (path /up)"),
            "{}",
            text(&check)
        );
        let probe = told(
            500,
            "http://www.example.com/a",
            &["User-Agent: kube-probe/1.29"],
        );
        assert_eq!(
            (probe.unjudged, probe.judged, probe.sets_cookie),
            (Some(2), false, true)
        );
        let early = told(0, "http://www.example.com/a?v=2", &[]);
        assert_eq!((early.passed_rule, early.pool), (Some(1), Some("blue")));
        assert!(text(&early).contains("not `early`"), "{}", text(&early));
        let old = told(10_000, "http://www.example.com/old/1", &[]);
        assert_eq!((old.rule, old.pool), (Some(2), Some("blue")));
        assert_eq!(old.backends[0].address, "127.0.0.1:1");
    }

    #[test]
    fn it_says_which_service_and_what_comes_instead_of_one() {
        let api = told(0, "/v1/x", &["host: API.example.com:80"]);
        let by = (api.by_host.as_deref(), api.by_path.as_deref());
        assert_eq!(by, (Some("api.example.com"), Some("/v1")));
        assert_eq!(api.service.as_deref(), Some("api"));
        let web = told(0, "http://api.example.com/v2", &[]);
        assert_eq!(web.by_host.as_deref(), Some("*.example.com"));
        let typo = told(0, "http://api.exmaple.com/v1", &[]);
        assert_eq!(typo.status, Some(404));
        assert_eq!(typo.nearest_host.as_deref(), Some("api.example.com"));
        assert!(text(&typo).contains("the nearest is api.example.com"));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert!(url("nonsense").is_err() && url("").is_err());
        assert!(header("no colon").is_err() && header("a b: c").is_err());
        assert!(method("G T").is_err());
        assert_eq!(method("get"), Ok(Method::GET));
    }
}

//! The configuration from outside: what people write, and what they are told when it is wrong.

// Helpers of tests are tests too: a fault in them is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

use miette::{GraphicalReportHandler, GraphicalTheme};
use proptest::prelude::*;
use shifter::config::{Ask, Asked, Config, ConfigError, Host, Mark, Service, SmokeCheck, Sticky};
use shifter::core::judge::Slo;
use shifter::core::limit::{Limit, Margin};
use shifter::core::plan::{OnWorse, Step, Strategy, Undecided};
use shifter::core::weight::Weight;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const POOLS: &str = "[service.example]\nblue = \"127.0.0.1:3001\"\ngreen = \"127.0.0.1:3002\"\n";

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn reference() -> String {
    fs::read_to_string(here("config/shifter.toml")).unwrap()
}

fn parse(text: &str) -> Config {
    Config::parse("shifter.toml", text).unwrap_or_else(|error| panic!("{}", drawn(&error)))
}

fn refused(text: &str) -> ConfigError {
    Config::parse("shifter.toml", text).expect_err(text)
}

/// The message as people see it, without colours.
fn drawn(error: &ConfigError) -> String {
    let mut out = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .render_report(&mut out, error)
        .unwrap();
    out.lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

fn shift(percent: u16, hold: Duration, deadline: Duration) -> Step {
    Step::Shift {
        weight: Weight::percent(percent).unwrap(),
        hold,
        deadline,
    }
}

// ---- Broken files ---------------------------------------------------------------------------------

fn broken() -> Vec<PathBuf> {
    let folder = fs::read_dir(here("tests/golden/config")).unwrap();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ext| ext == "toml"));
    files.sort();
    files
}

/// `UPDATE_GOLDEN=1` writes the messages anew; read them before they are committed.
#[test]
fn every_broken_file_gets_one_message_with_file_line_what_and_how() {
    let files = broken();
    assert!(files.len() >= 30, "{} broken files", files.len());
    let mut differ = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let error = Config::parse(name, &fs::read_to_string(&path).unwrap()).expect_err(name);
        assert_eq!(error.file(), name);
        assert!(
            error.line().is_some() || name.contains("no-service"),
            "{name} has no line"
        );
        assert!(
            !error.what().is_empty() && !error.how().is_empty(),
            "{name}"
        );
        let message = format!("{}\n\n{}", error.one_line(), drawn(&error));
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &message).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if message != expected {
            differ.push(format!(
                "{name}\n--- expected\n{expected}\n--- told\n{message}"
            ));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// The last value that is taken and the first that is refused.
const LIMITS: [(&str, &str); 26] = [
    ("switchback = { pairs = 8 }", "switchback = { pairs = 7 }"),
    (
        "switchback = { window = \"4s\", settle = \"3s\" }",
        "switchback = { window = \"4s\", settle = \"4s\" }",
    ),
    (
        "steps = [{ weight = 5 }, { weight = 5.01 }, { weight = 100 }]",
        "steps = [{ weight = 5 }, { weight = 5 }, { weight = 100 }]",
    ),
    (
        "steps = [{ weight = 100, hold = \"1m\", deadline = \"1m\" }]",
        "steps = [{ weight = 100, hold = \"1m\", deadline = \"59s\" }]",
    ),
    (
        "steps = [{ weight = 100, hold = \"1ms\" }]",
        "steps = [{ weight = 100, hold = \"0s\" }]",
    ),
    (
        "steps = [{ weight = 0.01 }, { weight = 100 }]",
        "steps = [{ weight = 0.001 }, { weight = 100 }]",
    ),
    (
        "steps = [{ weight = 0 }, { weight = 100 }]",
        "steps = [{ weight = -0.5 }, { weight = 100 }]",
    ),
    ("steps = [{ weight = 100 }]", "steps = []"),
    (
        "steps = [{ weight = 100 }, { approve = true }]",
        "steps = [{ approve = true }]",
    ),
    ("deadline = \"4m\"", "deadline = \"3m 59s\""),
    ("holdback = 49.99", "holdback = 50"),
    ("confidence = 0.51", "confidence = 0.5"),
    ("confidence = 0.999999", "confidence = 1"),
    ("error_margin = \"50pp\"", "error_margin = \"50.1pp\""),
    ("latency_margin = \"0% + 0ms\"", "latency_margin = \"0.1\""),
    ("latency_grace = \"1h\"", "latency_grace = \"1h 1s\""),
    ("keep_blue = \"0s\"", "keep_blue = \"25h\""),
    (
        "monitor = \"168h\"\ndeadline = \"168h\"",
        "monitor = \"168h 1s\"",
    ),
    ("health = { port = 65535 }", "health = { port = 65536 }"),
    (
        "smoke = [{ path = \"/a?b=c\" }]",
        "smoke = [{ path = \"/a#b\" }]",
    ),
    ("paths = [\"/a\"]", "paths = [\"/a?b\"]"),
    ("paths = [\"/a\", \"/ab\"]", "paths = [\"/a\", \"/a/\"]"),
    (
        "sticky = { header = \"x-user\" }",
        "sticky = { header = \"Cookie\" }",
    ),
    ("on_inconclusive = \"promote\"", "on_no_data = \"promote\""),
    (
        "slo = { max_p99 = \"9s\" }",
        "slo = { max_p99 = \"9001ms\" }",
    ),
    (
        "slo = { max_error_rate = \"90%\" }",
        "slo = { max_error_rate = \"0%\" }",
    ),
];

#[test]
fn limits_are_where_they_are_said_to_be() {
    for (taken, refused) in LIMITS {
        parse(&format!("{POOLS}{taken}\n"));
        let text = format!("{POOLS}{refused}\n");
        let error = Config::parse("shifter.toml", &text).expect_err(refused);
        assert_eq!(error.line(), Some(4), "{refused}: {error}");
    }
}

#[test]
fn a_token_written_into_the_file_is_never_shown() {
    let secret = "this-is-the-very-secret-token-itself";
    let error = refused(&format!("[admin]\ntoken = \"{secret}\"\n{POOLS}"));
    for told in [drawn(&error), error.one_line(), format!("{error:?}")] {
        assert!(!told.contains("very-secret"), "{told}");
    }
    let lines = format!("\"\"\"\n{secret}\"\"\"");
    for token in [
        format!("'{secret}"),
        format!("\"{secret}\""),
        secret.to_owned(),
        lines,
    ] {
        let error = refused(&format!("[admin]\ntoken = {token}\n\n{POOLS}"));
        assert!(!drawn(&error).contains("very-secret"), "{}", drawn(&error));
    }
    let error = refused(&format!(
        "[admin]\nlistn = 1\n\"token\"= \"{secret}\"\n{POOLS}"
    ));
    assert!(error.what().contains("listn") && !drawn(&error).contains("very-secret"));
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), secret).unwrap();
    let name = dir.path().join("shifter.toml");
    let text =
        format!("[admin]\nlisten = \"0.0.0.0:9600\"\ntoken = {{ file = \"token\" }}\n{POOLS}");
    let config = Config::parse(name.to_str().unwrap(), &text).unwrap();
    assert!(
        config
            .admin
            .token
            .as_ref()
            .unwrap()
            .matches(secret.as_bytes())
    );
    assert!(!format!("{config:?}").contains("very-secret"));
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let error = Config::load(&dir.path().join("absent.toml")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("absent.toml: the configuration cannot be read"),
        "{error}"
    );
    let path = dir.path().join("shifter.toml");
    fs::write(&path, b"[proxy]\n# caf\xe9\n").unwrap();
    let error = Config::load(&path).unwrap_err();
    assert_eq!(error.line(), Some(2), "{error}");
    assert!(drawn(&error).contains("UTF-8"));
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(
        Config::load(&path)
            .unwrap_err()
            .to_string()
            .contains("larger than 1 MiB")
    );
    fs::write(&path, POOLS).unwrap();
    assert_eq!(Config::load(&path).unwrap().services.len(), 1);
}

// ---- The reference file ---------------------------------------------------------------------------

/// The file with its examples switched on: `#key = ...` becomes `key = ...`.
fn switched_on(text: &str) -> String {
    let example = |line: &str| line.len() > 1 && !line[1..].starts_with([' ', '#', '-']);
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if example(line) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn the_reference_says_the_defaults() {
    assert_eq!(parse(&reference()), parse(POOLS));
}

#[test]
fn the_examples_of_the_reference_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "0123456789abcdef0123456789abcdef\n").unwrap();
    let text = switched_on(&reference()).replace(
        "{ env = \"SHIFTER_TOKEN\" }",
        &format!("{{ file = {token:?} }}"),
    );
    let own = rcgen::generate_simple_self_signed(["api.internal".to_owned()]).unwrap();
    let files = [
        ("ca.pem", own.cert.pem()),
        ("fullchain.pem", own.cert.pem()),
        ("privkey.pem", own.signing_key.serialize_pem()),
    ];
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let here = dir.path().to_str().unwrap();
    let text = text.replace("/etc/shifter/tls", here);
    let text = text.replace("\"/etc/shifter/cookie_secret\"", &format!("{token:?}"));
    let mut config = parse(&text);
    let least = format!(
        "{POOLS}[proxy.tls]\ncertificates = [{{ cert = \"{here}/fullchain.pem\", key = \"{here}/privkey.pem\" }}]\n"
    );
    let (tls, least) = (config.proxy.tls.unwrap(), parse(&least).proxy.tls.unwrap());
    assert_eq!(
        (&tls.listen, tls.handshake_timeout, tls.redirect),
        (&least.listen, least.handshake_timeout, least.redirect),
        "the defaults of TLS"
    );
    assert!(
        tls.certificates == least.certificates && tls.certificates[0].names == ["api.internal"]
    );
    let service = config.services.remove(0);
    let bare = format!(
        "{POOLS}warmup = {{}}\nsmoke = [{{ path = \"/health\" }}]\nsources = [{{ name = \"a\", exec = [\"b\"] }}]\n"
    );
    let bare = parse(&bare).services.remove(0);
    assert_eq!(service.warmup, bare.warmup, "the warm-up's defaults");
    let rhythm = |service: &Service| {
        let source = &service.sources[0];
        (source.every, source.times, source.timeout)
    };
    assert_eq!(rhythm(&service), rhythm(&bare), "a source's defaults");
    let http = |check: &SmokeCheck| match check {
        SmokeCheck::Http(check) => check.clone(),
        other => panic!("{other:?} is no request"),
    };
    let (check, default) = (http(&service.smoke[0]), http(&bare.smoke[0]));
    assert_eq!(
        (&check.method, check.expect, check.timeout),
        (&default.method, default.expect, default.timeout),
        "a smoke check's defaults"
    );
    assert_eq!(service.deadline, Some(bare.plan(None).deadline));
}

#[test]
fn limits_of_a_source_have_two_directions() {
    let source = |limit: &str| {
        let text = format!(
            "{POOLS}sources = [{{ name = \"a\", prometheus = \"https://prom.test/base\", query = \"x{{pool='$pool'}}\", {limit} }}]\n"
        );
        match parse(&text).services.remove(0).sources.remove(0).asked {
            Asked::Prometheus { limit, .. } => limit,
            other => panic!("{other:?}"),
        }
    };
    let margin = |share, plus| Some(Margin { share, plus });
    let none = Limit::default();
    for (text, limit) in [
        (
            "max = 0.5",
            Limit {
                max: Some(0.5),
                ..none
            },
        ),
        (
            "min = 0.99",
            Limit {
                min: Some(0.99),
                ..none
            },
        ),
        (
            "margin = \"10% + 0.01\"",
            Limit {
                above: margin(0.1, 0.01),
                ..none
            },
        ),
        (
            "margin_below = \"10% + 0.01\"",
            Limit {
                below: margin(0.1, 0.01),
                ..none
            },
        ),
        (
            "margin_below = 2, margin = \"150%\"",
            Limit {
                above: margin(1.5, 0.0),
                below: margin(0.0, 2.0),
                ..none
            },
        ),
        (
            "min = 1.0, max = 1.0",
            Limit {
                min: Some(1.0),
                max: Some(1.0),
                ..none
            },
        ),
    ] {
        assert_eq!(source(text), limit, "{text}");
    }
}

#[test]
fn what_a_source_is_sent_is_known_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        format!("{{ file = {path:?} }}")
    };
    // A space at its end is a part of a password.
    let password = file("password", "open: sesame \n");
    let token = file("token", "abcdef-123456\n");
    let sent = |who: &str| {
        let text = format!(
            "{POOLS}[[service.example.sources]]\nname = \"a\"\nget = \"http://prom.test/\"\nheaders = {{ X-Scope-OrgID = \"team-a\" }}\n{who}\n"
        );
        let config = parse(&text);
        let shown = format!("{config:?}");
        for secret in ["sesame", "abcdef", "dGVhbTpvcGVuOiBzZXNhbWUg"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let at = config.services[0].sources[0].endpoint().unwrap().clone();
        let headers: Vec<_> = at
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.expose()))
            .collect();
        (headers.join("\n"), at)
    };
    let (basic, at) = sent(&format!("user = \"team\"\npassword = {password}"));
    assert_eq!(
        basic,
        "x-scope-orgid: team-a\nauthorization: Basic dGVhbTpvcGVuOiBzZXNhbWUg"
    );
    let said = at.without_secrets("team-a dGVhbTpvcGVuOiBzZXNhbWUg and open: sesame .");
    assert_eq!(said, "team-a *** and ***.");
    assert!(at.is_overheard());
    let (bearer, _) = sent(&format!("token = {token}"));
    assert_eq!(
        bearer,
        "x-scope-orgid: team-a\nauthorization: Bearer abcdef-123456"
    );
    let (bare, at) = sent("");
    assert_eq!(bare, "x-scope-orgid: team-a");
    assert!(!at.is_overheard());
}

/// Asks each table for its keys by the message about an unknown one.
fn keys_of(before: &str, after: &str) -> Vec<String> {
    let error = refused(
        &format!("{before}\nzzqq = 1\n{after}").replace("= { \nzzqq = 1\n", "= { zzqq = 1 "),
    );
    assert!(error.what().contains("`zzqq`"), "{error}");
    let known = error
        .how()
        .strip_prefix("known here: ")
        .expect("a list of keys");
    known
        .split(", ")
        .map(|key| key.trim_matches('`').to_owned())
        .collect()
}

#[test]
fn the_reference_has_every_key() {
    let text = reference();
    let tree: toml::Table = toml::from_str(&switched_on(&text)).unwrap();
    let root = toml::Value::Table(tree);
    let service = &root["service"]["example"];
    let inline = |key: &str| keys_of(&format!("{POOLS}{key} = {{ "), "}\n");
    let tables: [(&toml::Value, Vec<String>); 28] = [
        (&root, keys_of("", "")),
        (&root["proxy"], keys_of("[proxy]", "")),
        (&root["proxy"]["limits"], keys_of("[proxy.limits]", "")),
        (&root["proxy"]["shutdown"], keys_of("[proxy.shutdown]", "")),
        (&root["proxy"]["tls"], keys_of("[proxy.tls]", "")),
        (
            &root["proxy"]["tls"]["certificates"][0],
            keys_of("[[proxy.tls.certificates]]", ""),
        ),
        (&service["tls"], inline("tls")),
        (&root["admin"], keys_of("[admin]", "")),
        (&root["admin"]["token"], keys_of("[admin.token]", "")),
        (&root["log"], keys_of("[log]", "")),
        (&root["docker"], keys_of("[docker]", "")),
        (&service["copy"], inline("copy")),
        (
            &service["hooks"][0],
            keys_of("[[service.example.hooks]]", ""),
        ),
        (
            &service["sources"][0],
            keys_of("[[service.example.sources]]", ""),
        ),
        (service, keys_of(POOLS, "")),
        (
            &service["steps"][0],
            keys_of("[[service.example.steps]]", ""),
        ),
        (&service["health"], inline("health")),
        (&service["warmup"], inline("warmup")),
        (
            &service["smoke"][0],
            keys_of("[[service.example.smoke]]", ""),
        ),
        (&service["sticky"], inline("sticky")),
        (&service["preview"], inline("preview")),
        (&service["timeouts"], inline("timeouts")),
        (&service["eject"], inline("eject")),
        (&service["retry_budget"], inline("retry_budget")),
        (&service["mirror"], inline("mirror")),
        (&service["slo"], inline("slo")),
        (
            &service["rules"][0],
            keys_of("[[service.example.rules]]", ""),
        ),
        (
            &service["unjudged"][0],
            keys_of("[[service.example.unjudged]]", ""),
        ),
    ];
    // The other of two that exclude each other stands in the sentence above.
    let either = [
        "approve",
        "file",
        "env",
        "grpc",
        "header",
        "exec",
        "post",
        "image",
        "command",
        "insecure",
        "weight",
        "get",
        "exact_path",
        "ca",
        "user",
        "password",
        "token",
        "same_site",
        "domain",
        "path",
        "max_age",
        "partitioned",
        "member",
    ];
    let mut count = 0;
    for (table, keys) in &tables {
        for key in keys {
            let there = table.get(key).is_some()
                || (either.contains(&key.as_str())
                    && ["{ ", ", "]
                        .iter()
                        .any(|before| text.contains(&format!("{before}{key} = "))));
            assert!(
                there,
                "config/shifter.toml does not have `{key}` of {keys:?}"
            );
            count += 1;
        }
    }
    for key in keys_of("[service.example]\nblue = { ", "}\n") {
        assert!(
            text.contains(&format!(" {key} = ")),
            "config/shifter.toml does not have `{key}` of a pool"
        );
    }
    assert!(count > 80, "{count} keys: are the tables still asked?");
}

// ---- What people write ----------------------------------------------------------------------------

#[test]
fn ten_lines_are_enough() {
    for name in ["config/canary.toml", "config/blue-green.toml"] {
        let text = fs::read_to_string(here(name)).unwrap();
        let lines = text
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
            .count();
        assert!(lines <= 10, "{name}: {lines} lines");
        let service = parse(&text).services.remove(0);
        assert!(name.contains(service.strategy.name()));
        assert_eq!(service.health.ask, Ask::Path("/health".to_owned()));
    }
}

#[test]
fn a_canary_without_steps_is_five_fifty_and_all_but_a_control() {
    let plan = parse(POOLS).services[0].plan(None);
    let (minute, quarter) = (minutes(1), minutes(15));
    assert_eq!(
        plan.steps,
        [
            Step::Start,
            shift(5, minute, quarter),
            shift(50, minute, quarter),
            shift(95, minutes(2), quarter),
            Step::Retire
        ]
    );
    let pure = parse(&format!("{POOLS}holdback = 0\n")).services[0].plan(None);
    assert_eq!(pure.steps[3], shift(100, minutes(2), quarter));
    let close = "steps = [{ weight = 97 }, { weight = 100 }]\n";
    let close = parse(&format!("{POOLS}{close}")).services[0].plan(None);
    assert_eq!(
        close.steps[2],
        shift(100, minutes(2), quarter),
        "no room for a control"
    );
    assert_eq!(
        (plan.strategy, plan.deadline),
        (Strategy::Canary, minutes(120))
    );
    assert_eq!(
        (plan.on_worse, plan.on_inconclusive, plan.on_no_data),
        (OnWorse::Rollback, Undecided::Promote, Undecided::Rollback)
    );
}

#[test]
fn a_leading_share_of_nothing_is_the_start_of_the_guide() {
    let steps = "steps = [{ weight = 0 }, { weight = 5 }, { weight = 50 }, { weight = 100 }]\n";
    assert_eq!(parse(&format!("{POOLS}{steps}")), parse(POOLS));
}

#[test]
fn approvals_keep_their_place_and_lengthen_the_whole() {
    let steps = "steps = [{ approve = true }, { weight = 0.25, hold = \"20m\" }, { weight = 100 }, { approve = true }]\n\
                 warmup = {}\nsmoke = [{ path = \"/\" }]\nholdback = 5\n";
    let plan = parse(&format!("{POOLS}{steps}")).services[0].plan(None);
    let quarter = Step::Shift {
        weight: Weight::basis_points(25).unwrap(),
        hold: minutes(20),
        deadline: minutes(25),
    };
    let last = shift(95, minutes(2), minutes(15));
    let expected = [
        Step::Start,
        Step::Warm,
        Step::Smoke,
        Step::Approve,
        quarter,
        last,
        Step::Approve,
        Step::Retire,
    ];
    assert_eq!(plan.steps, expected);
    assert_eq!(
        plan.deadline,
        minutes(3 * 5 + 25 + 15) + 2 * minutes(24 * 60)
    );
}

#[test]
fn blue_green_is_one_share_with_a_watch() {
    let service = parse(&format!("{POOLS}holdback = 5\nmonitor = \"30m\"\n"))
        .services
        .remove(0);
    let plan = service.plan(Some(Strategy::BlueGreen));
    assert_eq!(
        plan.steps,
        [
            Step::Start,
            shift(95, minutes(30), minutes(35)),
            Step::Retire
        ]
    );
    let pure = parse(POOLS).services[0].plan(Some(Strategy::BlueGreen));
    assert_eq!(pure.steps[1], shift(100, minutes(10), minutes(15)));
}

#[test]
fn values_arrive() {
    let text = "[service.web]\nblue = [\"127.0.0.1:1\", \"[::1]:2\"]\nhosts = [\"WWW.example.com\", \"*.example.org\"]\n\
                paths = [\"/api/\", \"/\"]\nsticky = { header = \"X-User-Id\" }\nerror_margin = \"0.25pp\"\n\
                latency_margin = \"20% + 5ms\"\nconfidence = 0.95\nmax_excess_failures = 10\nslo = { max_error_rate = \"2.5%\", max_p90 = \"300ms\" }\ndrain = \"1h 30m\"\n\
                [service.api]\nblue = \"127.0.0.1:3\"\n";
    let config = parse(text);
    let names: Vec<&str> = config.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["web", "api"], "the order of the file");
    let web = config.service("web").unwrap();
    assert_eq!(
        web.hosts,
        [
            Host::Exact("www.example.com".into()),
            Host::Below(".example.org".into())
        ]
    );
    assert_eq!(web.paths, ["/api", "/"]);
    assert_eq!(
        web.sticky,
        Some(Sticky {
            by: Mark::Header("x-user-id".into()),
            member: false
        })
    );
    assert_eq!(web.judgement.error_margin_ppm(), 2_500);
    assert!((web.judgement.alpha() - 0.05).abs() < 1e-12);
    assert_eq!(
        (
            web.judgement.latency_margin.ratio,
            web.judgement.latency_margin.millis
        ),
        (0.2, 5.0)
    );
    assert_eq!(
        (web.judgement.max_excess_failures, web.drain),
        (Some(10), minutes(90))
    );
    assert_eq!(
        web.judgement.slo,
        Slo {
            error_rate: Some(0.025),
            latency: [None, Some(300_000), None]
        }
    );
    assert_eq!(web.green, None);
    let pool = web.blue.pool();
    assert_eq!(pool.release, "127.0.0.1:1,[::1]:2");
    assert_eq!(pool.backends[1].id, "[::1]:2");
}

// ---- Any file -------------------------------------------------------------------------------------

/// A small generator (xorshift64*), so that a failure names the seed that repeats it.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n.max(1)
    }
}

const NASTY: [&str; 25] = [
    "",
    "0",
    "-1",
    "nan",
    "inf",
    "1e308",
    "9223372036854775807",
    "99999999999999999999",
    "true",
    "\"\"",
    "[]",
    "{}",
    "[[]]",
    "\"\\u0000\"",
    "\"ß\\u001b[2J\"",
    "\"0s\"",
    "\"-9223372036854775808s\"",
    "\"PT99999999999H\"",
    "\"[::]:1\"",
    "1979-05-27",
    "'''\nx'''",
    "\u{feff}",
    "\"\"\"",
    "{ file = \"/\" }",
    "\"aßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßß\"",
];

fn mutated(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=dice.below(4) {
        let at = dice.below(lines.len());
        let Some(line) = lines.get(at).cloned() else {
            break;
        };
        let chars: Vec<char> = line.chars().collect();
        let cut = dice.below(chars.len() + 1);
        let (head, tail): (String, String) =
            (chars[..cut].iter().collect(), chars[cut..].iter().collect());
        match dice.below(7) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(dice.below(lines.len()), line),
            2 => lines[at] = head,
            3 => {
                lines[at] = format!(
                    "{head}{}{tail}",
                    ["\"", "=", "[", "ü", "\t", "]", "."][dice.below(7)]
                )
            }
            4 => {
                lines[at] = head
                    + tail
                        .get(tail.chars().next().map_or(0, char::len_utf8)..)
                        .unwrap_or_default()
            }
            5 => lines[at] = tail,
            _ => {
                let key = line.split('=').next().unwrap_or_default();
                lines[at] = format!("{key}= {}", NASTY[dice.below(NASTY.len())]);
            }
        }
    }
    lines.join("\n")
}

/// Takes or refuses; both ends of the road are walked to the end.
fn survives(text: &str) -> bool {
    match Config::parse("mutated.toml", text) {
        Ok(config) => {
            for service in &config.services {
                for strategy in Strategy::ALL {
                    assert!(service.plan(Some(strategy)).last_shift().is_some());
                }
            }
            true
        }
        Err(error) => {
            assert!(
                !drawn(&error).is_empty() && !error.how().is_empty() && error.line() != Some(0)
            );
            false
        }
    }
}

#[test]
fn mutated_files_never_panic() {
    let mut texts = vec![reference(), switched_on(&reference())];
    texts.extend(
        broken()
            .iter()
            .map(|path| fs::read_to_string(path).unwrap()),
    );
    let (mut taken, mut refused) = (0, 0);
    for seed in 1..=2_000u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let text = mutated(
            &texts[if seed % 2 == 0 {
                0
            } else {
                dice.below(texts.len())
            }],
            &mut dice,
        );
        println!("seed {seed}");
        if survives(&text) {
            taken += 1
        } else {
            refused += 1
        }
    }
    assert!(
        taken > 50 && refused > 500,
        "{taken} taken, {refused} refused: too few of a kind"
    );
}

proptest! {
    #[test]
    fn any_text_never_panics(text in "[\\[\\]{}=\"'a-z0-9.# \n\\PC]{0,80}") {
        survives(&text);
    }
}

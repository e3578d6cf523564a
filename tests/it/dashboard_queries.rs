//! The dashboard and the rules against what they query: every name must be one that shifter exports,
//! and a real Prometheus that scrapes shifter must answer every query with data.

use reqwest::{Client, Url};
use serde_json::Value;
use shifter::core::table::Color;
use shifter::metrics::Metrics;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One query and what it draws or alerts on.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// The panel, annotation, variable or rule.
    pub(crate) title: String,
    /// PromQL, without variables of Grafana.
    pub(crate) expr: String,
}

/// What Grafana would put in for its variables, with a scrape interval of a second or less.
const VARIABLES: [(&str, &str); 4] = [
    ("$__rate_interval", "10s"),
    ("$instance", ".+"),
    ("$service", ".+"),
    ("$job", ".+"),
];

fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("config")
        .join(path)
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(file("grafana/shifter-rollout.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn query(title: &str, expr: &str) -> Query {
    let put_in = |expr: String, (name, value): (&str, &str)| expr.replace(name, value);
    let expr = VARIABLES.into_iter().fold(expr.to_owned(), put_in);
    assert!(
        !expr.contains('$'),
        "{title}: a variable that the test does not know: {expr}"
    );
    Query {
        title: title.to_owned(),
        expr,
    }
}

/// Every query of the dashboard: panels, annotations, and the series that its variables are read from.
pub(crate) fn queries() -> Vec<Query> {
    let dashboard = dashboard();
    let mut all = vec![];
    for panel in list(&dashboard, "/panels") {
        let title = text(panel, "/title");
        all.extend(
            list(panel, "/targets")
                .iter()
                .map(|target| query(title, text(target, "/expr"))),
        );
    }
    for annotation in list(&dashboard, "/annotations/list") {
        all.push(query(text(annotation, "/name"), text(annotation, "/expr")));
    }
    for variable in list(&dashboard, "/templating/list") {
        let definition = text(variable, "/definition");
        if let Some(inside) = definition.strip_prefix("label_values(") {
            let (series, _label) = inside.rsplit_once(',').unwrap();
            all.push(query(
                &format!("variable {}", text(variable, "/name")),
                series,
            ));
        }
    }
    all
}

/// Puts every query of the dashboard, and every rule that Prometheus has loaded, to the Prometheus at
/// `base`, over the last `window`. A recording rule must give data; of an alert, which is silent when
/// all is well, every series that it looks at must exist. What is wrong is told, all of it.
pub(crate) async fn check_all(
    base: &str,
    client: &Client,
    window: Duration,
) -> Result<usize, String> {
    let mut all = queries();
    all.extend(rules(base, client).await?);
    let mut wrong = vec![];
    for Query { title, expr } in &all {
        match ask(base, client, expr, window).await {
            Ok(0) => wrong.push(format!("{title}: no data: {expr}")),
            Ok(_) => {}
            Err(error) => wrong.push(format!("{title}: {error}: {expr}")),
        }
    }
    if wrong.is_empty() {
        Ok(all.len())
    } else {
        Err(wrong.join("\n"))
    }
}

/// The rules as Prometheus has loaded them: all those of the file, none of them failing.
async fn rules(base: &str, client: &Client) -> Result<Vec<Query>, String> {
    let answer = get(client, &format!("{base}/api/v1/rules"), &[]).await?;
    let mut all = vec![];
    let mut loaded = 0;
    for group in list(&answer, "/data/groups") {
        for rule in list(group, "/rules") {
            loaded += 1;
            let (name, expr) = (text(rule, "/name"), text(rule, "/query"));
            // "unknown" is a rule whose first turn has not come.
            if text(rule, "/health") == "err" {
                return Err(format!("rule {name}: {}", text(rule, "/lastError")));
            }
            if text(rule, "/type") == "recording" {
                all.push(query(&format!("rule {name}"), expr));
            } else {
                all.extend(
                    selectors(expr)
                        .iter()
                        .map(|series| query(&format!("alert {name}"), series)),
                );
            }
        }
    }
    let written = rules_written();
    if loaded < written {
        return Err(format!(
            "Prometheus has {loaded} of the {written} rules: does its configuration name the file?"
        ));
    }
    Ok(all)
}

fn rules_text() -> String {
    std::fs::read_to_string(file("prometheus/shifter.rules.yml")).unwrap()
}

fn rules_written() -> usize {
    let starts = |line: &&str| {
        line.trim_start().starts_with("- record:") || line.trim_start().starts_with("- alert:")
    };
    rules_text().lines().filter(starts).count()
}

/// How many series the query gives over the last `window`.
async fn ask(base: &str, client: &Client, expr: &str, window: Duration) -> Result<usize, String> {
    let end = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let start = end - window.as_secs_f64();
    let fields = [
        ("query", expr.to_owned()),
        ("start", start.to_string()),
        ("end", end.to_string()),
        ("step", "1".into()),
    ];
    let answer = get(client, &format!("{base}/api/v1/query_range"), &fields).await?;
    match text(&answer, "/status") {
        "success" => Ok(list(&answer, "/data/result").len()),
        _ => Err(text(&answer, "/error").to_owned()),
    }
}

async fn get(client: &Client, url: &str, fields: &[(&str, String)]) -> Result<Value, String> {
    let url = Url::parse_with_params(url, fields).map_err(|error| error.to_string())?;
    let answer = client
        .get(url)
        .send()
        .await
        .map_err(|error| error.to_string())?;
    answer.json().await.map_err(|error| error.to_string())
}

/// The series that an expression looks at, each with its matchers; what rules record is left out.
fn selectors(expr: &str) -> Vec<String> {
    let mut found = vec![];
    let mut rest = expr;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '"') {
        rest = &rest[at..];
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted.split_once('"').map_or("", |(_, after)| after);
            continue;
        }
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        if name.starts_with("shifter_") || name.starts_with("process_") || name == "up" {
            let matchers = after
                .find('}')
                .filter(|_| after.starts_with('{'))
                .map_or("", |to| &after[..=to]);
            found.push(format!("{name}{matchers}"));
            rest = &after[matchers.len()..];
        }
    }
    found
}

/// The families of a service that has a rollout, backends and releases; a histogram by its parts.
fn families() -> BTreeSet<String> {
    let metrics = Metrics::new().unwrap();
    metrics.set_certificates([("app.pem".to_owned(), "a.test", 1)].into_iter());
    let service = metrics.service("api");
    service.set_backends(Color::Blue, [("127.0.0.1:3001", true)].into_iter());
    service.set_release(Color::Blue, Some("1.0"));
    service.set_rollout(Some((1, "canary")), 1, 5);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let lines = metrics.render();
    let names = lines.lines().filter(|line| !line.starts_with('#'));
    names
        .map(|line| line[..line.find(|c| !is_name(c)).unwrap_or(line.len())].to_owned())
        .collect()
}

#[test]
fn dashboard_and_rules_use_only_names_that_exist() {
    let known = families();
    let rules = rules_text();
    let mut exprs: Vec<String> = queries().into_iter().map(|query| query.expr).collect();
    // Records and comments are no selectors, but whatever they name must exist all the same.
    exprs.extend(
        rules
            .lines()
            .filter(|line| !line.contains("summary:") && !line.contains("description:"))
            .map(str::to_owned),
    );
    let mut used = 0;
    for selector in exprs.iter().flat_map(|expr| selectors(expr)) {
        let name = selector.split('{').next().unwrap();
        assert!(
            name == "up" || known.contains(name),
            "{name} is queried and does not exist"
        );
        used += 1;
    }
    assert!(used > 60, "only {used} selectors were found");
}

/// A failure is what the judge counts as one: a status says nothing of gRPC's trailers and of bodies that were cut. And how
/// long streams live is in no duration of requests.
#[test]
fn dashboard_and_rules_count_failures_as_the_judge_does() {
    let mut exprs: Vec<String> = queries().into_iter().map(|query| query.expr).collect();
    exprs.extend(rules_text().lines().map(str::to_owned));
    let mut judged = 0;
    for expr in &exprs {
        assert!(
            !expr.contains("code=~") && !expr.contains("code=\"5"),
            "failures by status: {expr}"
        );
        judged += usize::from(
            expr.contains("shifter_http_judged_requests_total")
                && expr.contains("outcome=\"error\""),
        );
    }
    assert!(judged >= 2, "a panel and a rule");
}

#[test]
fn selectors_are_found_with_their_matchers() {
    let expr = r#"sum by (job) (up{job="shifter_x}"}) and on (service) shifter_a{b=~"c|d"} > abs(shifter_e) * x:shifter_f:y"#;
    assert_eq!(
        selectors(r#"(up{job="s"} == 0) and shifter_a{b=~"c|d"} > abs(shifter_e)"#),
        ["up{job=\"s\"}", "shifter_a{b=~\"c|d\"}", "shifter_e"]
    );
    assert!(
        !selectors(expr)
            .iter()
            .any(|name| name.contains("shifter_f"))
    );
}

/// What Grafana's own linter asks of a dashboard.
#[test]
fn the_dashboard_follows_grafanas_conventions() {
    let dashboard = dashboard();
    assert_eq!(dashboard["editable"], false);
    let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard, "/panels") {
        let title = text(panel, "/title");
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{title}: its id is another panel's"
        );
        assert!(titles.insert(title), "{title}: two panels have this title");
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            !text(panel, "/description").is_empty(),
            "{title}: no description"
        );
        assert!(
            !text(panel, "/fieldConfig/defaults/unit").is_empty(),
            "{title}: no unit"
        );
        assert_eq!(
            text(panel, "/datasource/uid"),
            "${datasource}",
            "{title}: a fixed data source"
        );
        let mut refs = BTreeSet::new();
        for target in list(panel, "/targets") {
            assert!(
                refs.insert(text(target, "/refId")),
                "{title}: two queries have one refId"
            );
            let expr = text(target, "/expr");
            assert!(
                expr.contains("job=~\"$job\", instance=~\"$instance\""),
                "{title}: not for the chosen job: {expr}"
            );
            assert!(
                !expr.contains("rate(") || expr.contains("[$__rate_interval]"),
                "{title}: a fixed interval: {expr}"
            );
        }
        assert!(!refs.is_empty(), "{title}: no query");
    }
    let names: Vec<&str> = list(&dashboard, "/templating/list")
        .iter()
        .map(|v| text(v, "/name"))
        .collect();
    assert_eq!(names, ["datasource", "job", "instance", "service"]);
}

//! Requests that are routed and not judged, and one page that fails alone.

use crate::support::backend::{Act, Backend};
use crate::support::load::{Line, Load, Plan};
use crate::support::shifter::{Home, outcome_of, phase_of};
use shifter::control::view::ServiceView;
use shifter::core::plan::Strategy;
use std::time::Duration;

/// The case of a night, twenty times as fast: monitors ask 40 times a minute, three users a minute buy.
const UP: f64 = 40.0 / 3.0;
const BUY: f64 = 1.0;
const NIGHT: &str = "steps = [{ weight = 50, hold = \"3s\", deadline = \"9s\" }, { weight = 100, hold = \"3s\", deadline = \"12s\" }]\nmonitor = \"1h\"\nkeep_blue = \"100ms\"\ndrain = \"1s\"\nlatency_grace = \"0s\"\nlatency_margin = \"1000% + 10s\"\n";

async fn version(buys: bool) -> Backend {
    Backend::start(move |head| {
        let buy = head.starts_with("GET /buy ");
        Act::status(if buy && !buys { 500 } else { 200 })
    })
    .await
}

fn users(home: &Home, path: &str, rate: f64, connections: usize) -> Load {
    Load::start(
        home.proxy,
        Plan {
            connections,
            rate: Some(rate),
            path: path.to_owned(),
            errors_allowed: true,
            proxy_errors_allowed: true,
            ..Plan::default()
        },
    )
}

/// How a night ends with a green that cannot sell, and what is told of it.
async fn night(more: &str) -> (ServiceView, String) {
    let (blue, green) = (version(true).await, version(false).await);
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder, blue.addr, green.addr, &format!("{NIGHT}{more}"));
    let _shifter = home.serve().await;
    // The evening before, at once.
    for (path, times) in [("/up", 80), ("/buy", 12)] {
        let evening = users(&home, path, 400.0, 2);
        evening.more(times).await;
        evening.stop_clean().await;
    }
    // Rates are of ten seconds: the evening is in them once it was read, unless it is not judged.
    let read = if more.is_empty() { 9.2 } else { 1.2 };
    home.until("the evening was read", |service| {
        service.blue.requests_per_second >= read
    })
    .await;
    let loads = [users(&home, "/up", UP, 2), users(&home, "/buy", BUY, 1)];
    home.run(Strategy::Canary).await;
    let service = home
        .until_within(Duration::from_secs(60), "finished", |service| {
            phase_of(service) == "finished"
        })
        .await;
    for load in loads {
        load.stop().await;
    }
    let notes = home.notes().await;
    (service, notes)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_page_that_fails_alone_is_named_and_not_promoted_under_the_noise_of_monitors() {
    let (service, notes) = night("").await;
    assert_ne!(outcome_of(&service), "promoted", "{notes}");
    assert!(notes.contains("green fails GET /buy: "), "{notes}");
    let evidence = service.rollout.unwrap().evidence.unwrap();
    let buy = evidence.routes.iter().find(|one| one.route == "GET /buy");
    let buy = buy.unwrap();
    assert_eq!(buy.green_failed, buy.green_requests, "{buy:?}");
    assert_eq!((buy.blue_failed, buy.past_failed), (0, 0), "{buy:?}");
    assert!(buy.past_requests >= 12, "{buy:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unjudged_is_routed_and_dilutes_nothing() {
    let (service, notes) = night("unjudged = [{ path = \"/up\" }]\n").await;
    assert_ne!(outcome_of(&service), "promoted", "{notes}");
    let evidence = service.rollout.unwrap().evidence.unwrap();
    let routes: Vec<&str> = evidence
        .routes
        .iter()
        .map(|one| one.route.as_str())
        .collect();
    assert_eq!(routes, ["GET /buy"], "{notes}");
    assert!(evidence.total_requests < 40, "{}", evidence.total_requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn monitors_that_are_most_of_the_traffic_are_named_with_the_line_that_leaves_them_out() {
    let (blue, green) = (version(true).await, version(true).await);
    let home = Home::at(tempfile::tempdir().unwrap(), blue.addr, green.addr, "");
    let _shifter = home.serve().await;
    let mut line = Line::open(home.proxy).await.unwrap();
    let probe = b"GET /up HTTP/1.1\r\nhost: app\r\nuser-agent: kube-probe/1.29\r\n\r\n";
    for _ in 0..600 {
        assert_eq!(line.ask(probe).await.unwrap().status, 200);
    }
    let service = home
        .until("advice", |service| service.advice.is_some())
        .await;
    let advice = service.advice.unwrap();
    assert!(
        advice.starts_with("100% of the judged requests are of Kubernetes (GET /up): ")
            && advice.contains("unjudged = [{ agent = \"kube-probe/*\" }]"),
        "{advice}"
    );
}

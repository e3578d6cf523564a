//! A real Prometheus scrapes a running shifter: dashboard, rules, alert, and labels that nobody can add to.

use crate::dashboard_queries::check_all;
use crate::prometheus::Prometheus;
use crate::support::apps::{free_port, pair};
use crate::support::client::Client;
use crate::support::load::{Load, Plan, size};
use crate::support::shifter::{Home, PATIENT, STILL, outcome_of, phase_of};
use crate::support::tls::Authority;
use shifter::core::plan::Strategy;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

async fn firing(base: &str, client: &reqwest::Client) -> String {
    client
        .get(format!("{base}/api/v1/alerts"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_has_data_and_the_alert_fires() {
    let (blue, green) = pair();
    let tls = format!(
        "[proxy.tls]\nlisten = \"{}\"\ncertificates = [{{ cert = \"one.pem\", key = \"one.key\" }}]\n",
        free_port()
    );
    let home = Home::new(&blue, &green, &format!("{STILL}{PATIENT}{tls}"));
    Authority::new()
        .sign(&["app"])
        .write(home.folder.path(), "one");
    let _shifter = home.serve().await;
    let client = reqwest::Client::new();
    let prometheus = Prometheus::scraping(home.admin, &client).await;
    let users = Plan {
        rate: Some(300.0),
        errors_allowed: true,
        ..Plan::default()
    };
    let load = Load::start(home.proxy, users);
    load.more(600).await;
    // A canary that is moved by hand, and one that the judge takes back.
    home.run(Strategy::Canary).await;
    home.share(5.0).await;
    load.more(600).await;
    home.weigh(50).await;
    load.more(900).await;
    green.app.error_ppm.store(300_000, Relaxed);
    let end = home
        .until("taken back", |service| phase_of(service) == "finished")
        .await;
    assert_eq!(outcome_of(&end), "rolled_back");
    let start = Instant::now();
    let queries = loop {
        match check_all(&prometheus.base, &client, Duration::from_secs(300)).await {
            Ok(count) => break count,
            Err(wrong) => assert!(start.elapsed() < Duration::from_secs(60), "{wrong}"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let start = Instant::now();
    loop {
        let alerts = firing(&prometheus.base, &client).await;
        let ours = alerts.split("\"labels\"").any(|alert| {
            alert.contains("\"ShifterRolledBack\"") && alert.contains("\"state\":\"firing\"")
        });
        if ours {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{alerts}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!("{queries} queries have data, ShifterRolledBack fires");
    load.stop().await;
}

/// The series by name and labels, without values.
fn series(text: &str) -> BTreeSet<String> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
        .collect()
}

/// `SHIFTER_HOSTILE_PATHS` sets how many.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_paths_and_hosts_add_no_series() {
    let (blue, green) = pair();
    let home = Home::new(&blue, &green, &format!("{STILL}{PATIENT}"));
    let text = std::fs::read_to_string(home.config()).unwrap();
    let text = text.replace(
        "[service.app]\n",
        "[service.app]\nhosts = [\"app\", \"*.app\"]\n",
    );
    std::fs::write(home.config(), text).unwrap();
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    home.share(5.0).await;
    let before = series(&home.metrics().await);
    let count = size("SHIFTER_HOSTILE_PATHS", 10_000);
    let callers = 8;
    let mut all = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let proxy = home.proxy;
        all.spawn(async move {
            let mut client = Client::connect(proxy).await;
            for n in (caller..count).step_by(callers as usize) {
                let path = match n % 4 {
                    0 => format!("/{n}/%00%ff\"}}{{pool=\"x\"?a={n}"),
                    1 => format!("/{}", "a/".repeat((n % 500) as usize)),
                    2 => format!("/metrics{{x=\"{n}\"}}"),
                    _ => format!("/é{n}").replace('é', "%c3%a9"),
                };
                let host = match n % 3 {
                    0 => format!("h{n}.app"),
                    1 => format!("{n}.invalid"),
                    _ => "app".to_owned(),
                };
                let method = ["GET", "POST", "BREW", "X-1"][(n % 4) as usize];
                client
                    .send(&format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\nx-request-id: {n}\r\n\r\n"))
                    .await;
                let answer = client.answer().await;
                let closes = answer.as_ref().map_or(true, |answer| answer.header("connection") == Some("close"));
                if closes {
                    client = Client::connect(proxy).await;
                }
            }
        });
    }
    all.join_all().await;
    let text = home.metrics().await;
    let after = series(&text);
    let new: Vec<_> = after.difference(&before).collect();
    println!(
        "{count} hostile requests: {} series before, {} after, {} bytes",
        before.len(),
        after.len(),
        text.len()
    );
    assert!(new.is_empty(), "{new:?}");
    assert!(text.len() < 1 << 20);
    let unrouted = home.metric("shifter_http_unrouted_requests_total").await;
    assert!(unrouted > 0.2 * count as f64, "they did arrive: {unrouted}");
}

//! Requests of shifter's own to both versions, where users are too few to tell.

use crate::support::apps::pair;
use crate::support::backend::{Act, Backend};
use crate::support::shifter::{Home, outcome_of, phase_of};
use shifter::control::view::ServiceView;
use shifter::core::analysis::replay;
use shifter::core::plan::Strategy;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Where nobody asks, nothing but probes can decide: `on_no_data` leaves the rollout to a person.
const NOBODY: &str = "on_no_data = \"hold\"\nkeep_blue = \"100ms\"\ndrain = \"2s\"\nlatency_margin = \"500% + 500ms\"\nlatency_grace = \"0s\"\nstep_requests_min = 1\ntotal_requests_min = 1\n";

/// The last share takes about 20 s at 100 probes a second.
const SHARE: Duration = Duration::from_secs(120);

/// One share, of everything, with these probes.
fn keys(probes: &str) -> String {
    let steps = "steps = [{ weight = 100, hold = \"1s\", deadline = \"1h\" }]\n";
    format!("{steps}{NOBODY}[service.app.probes]\n{probes}")
}

async fn ended(home: &Home) -> ServiceView {
    home.until_within(SHARE, "the end", |service| phase_of(service) == "finished")
        .await
}

/// How a rollout of a green with such a fault ends: back, and why.
async fn reason(home: &Home) -> String {
    let end = ended(home).await;
    assert_eq!(outcome_of(&end), "rolled_back");
    let reason = end.rollout.unwrap().reason.unwrap();
    println!("{reason}");
    assert!(reason.starts_with("probes: green "), "{reason}");
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_green_without_a_user_is_promoted_by_probes() {
    let (blue, green) = pair();
    let probes = "paths = [\"/\", \"/shop\"]\nper_second = 100\n";
    let home = Home::new(&blue, &green, &keys(probes));
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    home.until_within(SHARE, "probes are told", |service| {
        let probes = service.rollout.as_ref().and_then(|one| one.probes.as_ref());
        probes.is_some_and(|line| line.starts_with("probes, "))
    })
    .await;
    let users = home.metrics().await;
    let counted = |line: &&str| {
        line.starts_with("shifter_http_request_duration_seconds_count") && !line.ends_with(" 0")
    };
    let counted: Vec<_> = users.lines().filter(counted).collect();
    assert!(counted.is_empty(), "probes are no users: {counted:?}");
    assert!(
        users.contains("shifter_http_request_duration_seconds_count"),
        "{users}"
    );
    let end = ended(&home).await;
    assert_eq!(outcome_of(&end), "promoted", "{}", home.notes().await);
    let evidence = end.rollout.unwrap().evidence.unwrap();
    assert_eq!(evidence.total_requests, 0, "they are judged apart");
    println!("{}", home.notes().await);
    assert!(
        home.notes().await.contains("probes, "),
        "{}",
        home.notes().await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_green_goes_back_before_a_user_meets_it() {
    let (blue, green) = pair();
    green.app.error_ppm.store(300_000, Relaxed);
    let home = Home::new(&blue, &green, &keys("per_second = 50\n"));
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    let reason = reason(&home).await;
    assert!(reason.contains(" errors ("), "{reason}");
}

/// A path that green does not know is no quick success.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_lost_a_path_goes_back() {
    let blue = Backend::named("blue").await;
    let green = Backend::start(|head| match head.starts_with("GET /cart ") {
        true => Act::status(404),
        false => Act::ok("green"),
    })
    .await;
    let keys = keys("paths = [\"/\", \"/cart\"]\nper_second = 50\n");
    let home = Home::at(tempfile::tempdir().unwrap(), blue.addr, green.addr, &keys);
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    let reason = reason(&home).await;
    assert!(reason.starts_with("probes: green 50% errors"), "{reason}");
    let words = "worst route GET /cart (";
    assert!(reason.contains(words), "{reason}");
    assert!(reason.contains(", mostly client error ("), "{reason}");
    // What was recorded is judged the same again, and explained.
    let again = replay(&home.client.seconds(1).await.unwrap(), None);
    assert!(again.probes.seconds > 0 && again.probes.differences.is_empty());
    assert!(again.probes.recorded.is_some());
    assert_eq!(again.probes.recorded, again.probes.replayed);
    assert_eq!(again.users.recorded, None, "there were none");
    let mut explain = home.spawn(&mut home.command(&["explain", "1"]));
    explain.ended().await;
    let told = home.out();
    assert!(
        told.contains("evidence of probes") && told.contains("GET /cart"),
        "{told}"
    );
}

/// Both versions are asked the same, as often, with a header that says who asks; a way that hangs has failed.
#[tokio::test(flavor = "multi_thread")]
async fn both_versions_are_asked_the_same_and_who_hangs_has_failed() {
    let blue = Backend::named("blue").await;
    let green = Backend::start(|head| match head.contains("x-shifter-probe: judge") {
        true => Act::Hang,
        false => Act::ok("green"),
    })
    .await;
    let keys = keys("paths = [\"/a\", \"/b?c=1\"]\nper_second = 20\ntimeout = \"1s\"\n");
    let home = Home::at(tempfile::tempdir().unwrap(), blue.addr, green.addr, &keys);
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    reason(&home).await;
    let asked = |backend: &Backend, path: &str| {
        let line = format!("GET {path} HTTP/1.1\r\n");
        let heads = backend.heads();
        let all = heads.iter().filter(|head| head.starts_with(&line));
        all.filter(|head| head.contains("x-shifter-probe: judge"))
            .count()
    };
    for path in ["/a", "/b?c=1"] {
        let (blue, green) = (asked(&blue, path), asked(&green, path));
        println!("{path}: {blue} and {green}");
        assert!(blue > 20 && blue.abs_diff(green) <= 1, "{blue} and {green}");
    }
}

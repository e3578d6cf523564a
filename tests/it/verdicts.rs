//! The main job: rollouts with real traffic, judged to their ends.

use crate::support::apps::{Running, free_port, pair};
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::load::{Load, Plan, size};
use crate::support::shifter::{Home, PATIENT, QUICK, STILL, Shifter, outcome_of, phase_of};
use shifter::admin::body::RunRequest;
use shifter::control::view::ServiceView;
use shifter::core::analysis::{RecordedLine, replay};
use shifter::core::judge::Verdict;
use shifter::core::plan::Strategy;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

/// Judged shares, each long enough for some verdicts.
const JUDGED: &str = "steps = [{ weight = 5, hold = \"10s\", deadline = \"15s\" }, { weight = 50, hold = \"2s\", deadline = \"10s\" }, { weight = 100, hold = \"2s\", deadline = \"10s\" }]\nmonitor = \"1h\"\nkeep_blue = \"100ms\"\ndrain = \"2s\"\nlatency_grace = \"0s\"\nlatency_margin = \"1000% + 10s\"\n";

/// Shares that last a second where the judge is sure, and long enough for it to become so.
const UNHURRIED: &str = "steps = [{ weight = 5, hold = \"1s\", deadline = \"30s\" }, { weight = 50, hold = \"1s\", deadline = \"30s\" }, { weight = 100, hold = \"1s\", deadline = \"30s\" }]\n";

async fn run(home: &Home, strategy: &str) -> Shifter {
    let mut shifter = home.spawn(&mut home.command(&[
        "run",
        "--strategy",
        strategy,
        "--exit",
        "--output",
        "json",
    ]));
    shifter.answers().await;
    shifter
}

/// Users who take what comes.
fn tolerant(rate: f64) -> Plan {
    Plan {
        rate: Some(rate),
        errors_allowed: true,
        proxy_errors_allowed: true,
        leaves: true,
        ..Plan::default()
    }
}

/// The highest share that was seen until the process ended, and its code.
async fn judged(shifter: &mut Shifter) -> (Option<i32>, f64) {
    let (mut highest, start) = (0.0f64, Instant::now());
    loop {
        if let Some(status) = shifter.child.try_wait().unwrap() {
            return (status.code(), highest);
        }
        if let Ok(view) = shifter.client.status().await {
            highest = highest.max(view.services[0].weight_percent);
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{}",
            shifter.log()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// `SHIFTER_SHARE_REQUESTS` sets how many requests each share sees at least.
#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_green_is_promoted_and_gets_its_shares() {
    let (blue, green) = pair();
    let least = size("SHIFTER_SHARE_REQUESTS", 10_000);
    let steps = "steps = [{ weight = 5, hold = \"4s\", deadline = \"4s\" }, { weight = 50, hold = \"4s\", deadline = \"4s\" }, { weight = 100, hold = \"4s\", deadline = \"4s\" }]\nkeep_blue = \"100ms\"\ndrain = \"2s\"\n";
    let home = Home::new(&blue, &green, &format!("{steps}{PATIENT}"));
    let mut shifter = run(&home, "canary").await;
    let load = Load::start(
        home.proxy,
        Plan {
            leaves: true,
            ..Plan::default()
        },
    );
    let counts = || (load.seen.green.load(Relaxed), load.seen.answered());
    for percent in [5.0, 50.0, 100.0] {
        home.share(percent).await;
        let first = counts();
        let mut last = first;
        loop {
            // Counted before the look: whatever was answered by then was answered at this share.
            let now = counts();
            if home.service().await.weight_percent != percent
                || phase_of(&home.service().await) != "shifting"
            {
                break;
            }
            last = now;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (greens, all) = (last.0 - first.0, last.1 - first.1);
        let share = greens as f64 * 100.0 / all as f64;
        println!("{percent} %: {share:.2} % of {all} requests");
        assert!(all >= least, "only {all} requests at {percent} %");
        assert!((share - percent).abs() <= 1.0, "{share} of {all}");
    }
    let (status, _) = shifter.ended().await;
    assert_eq!(status.code(), Some(0), "{}", home.log());
    assert!(home.out().contains("\"promoted\""), "{}", home.out());
    load.stop_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_green_with_errors_goes_back_at_five_percent() {
    let (blue, green) = pair();
    blue.app.error_ppm.store(1_000, Relaxed);
    green.app.error_ppm.store(50_000, Relaxed);
    let home = Home::new(&blue, &green, JUDGED);
    let mut shifter = run(&home, "canary").await;
    let load = Load::start(home.proxy, tolerant(2_000.0));
    let start = Instant::now();
    let (code, highest) = judged(&mut shifter).await;
    let (seen, _) = load.stop().await;
    println!(
        "5 % errors: exit {code:?} at {highest} % after {:?} and {} green requests",
        start.elapsed(),
        seen.green.load(Relaxed)
    );
    assert_eq!((code, highest), (Some(3), 5.0), "{}", home.log());
    assert!(home.out().contains("\"rolled_back\""), "{}", home.out());
}

/// The judge has no say: it tells what it would have done, with its numbers, and the rollout goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_what_it_would_have_done() {
    let (blue, green) = pair();
    green.app.error_ppm.store(200_000, Relaxed);
    let keys = format!("{UNHURRIED}{PATIENT}on_worse = \"report\"\nkeep_blue = \"0s\"\n");
    let home = Home::new(&blue, &green, &keys);
    let _shifter = home.serve().await;
    let load = Load::start(home.proxy, tolerant(1_000.0));
    let id = home.run(Strategy::Canary).await;
    let end = home
        .until("the end", |service| phase_of(service) == "finished")
        .await;
    load.stop().await;
    assert_eq!(outcome_of(&end), "promoted");
    let accused = end.rollout.unwrap().accused.unwrap();
    assert!(accused.contains("errors"), "{accused}");
    let notes = home.client.notes(0, id).await.unwrap();
    let told = |text| notes.iter().filter(|note| note.text.contains(text)).count();
    assert_eq!(told("WOULD ROLL BACK"), 1, "{notes:?}");
    assert!(told("going on as `on_worse` says") >= 2, "{notes:?}");
}

/// A person is asked once, and what they say holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_decides_on_a_worse_green_where_the_file_says_so() {
    let (blue, green) = pair();
    green.app.error_ppm.store(200_000, Relaxed);
    let keys = format!("{UNHURRIED}{PATIENT}on_worse = \"pause\"\nkeep_blue = \"0s\"\n");
    let home = Home::new(&blue, &green, &keys);
    let _shifter = home.serve().await;
    let load = Load::start(home.proxy, tolerant(1_000.0));
    for goes_on in [false, true] {
        home.run(Strategy::Canary).await;
        let asked = home
            .until("the question", |service| phase_of(service) == "paused")
            .await;
        assert_eq!(asked.weight_percent, 5.0);
        assert!(asked.rollout.unwrap().accused.is_some());
        let said = if goes_on { "resume" } else { "rollback" };
        home.verb(said).await.unwrap();
        let end = home
            .until("the end", |service| phase_of(service) == "finished")
            .await;
        let outcome = if goes_on { "promoted" } else { "stopped" };
        assert_eq!(outcome_of(&end), outcome);
    }
    load.stop().await;
}

/// What fails is named: the route, the status, and of three backends the one that is broken.
#[tokio::test(flavor = "multi_thread")]
async fn the_worst_route_and_the_one_bad_replica_are_named() {
    let (blue, green) = pair();
    let others = [Running::start("green"), Running::start("green")];
    green.app.error_ppm.store(1_000_000, Relaxed);
    green.app.checkout_only.store(true, Relaxed);
    let home = Home::new(&blue, &green, &format!("{UNHURRIED}{PATIENT}"));
    let all = [green.addr, others[0].addr, others[1].addr].map(|addr| format!("\"{addr}\""));
    let one = format!("green = \"{}\"", green.addr);
    let text = std::fs::read_to_string(home.config()).unwrap();
    let three = text.replace(&one, &format!("green = [{}]", all.join(", ")));
    assert_ne!(text, three);
    std::fs::write(home.config(), three).unwrap();
    let _shifter = home.serve().await;
    let load = Load::start(home.proxy, tolerant(900.0));
    let checkout = Plan {
        path: "/checkout/8f14e45f?token=secret".into(),
        ..tolerant(300.0)
    };
    let checkout = Load::start(home.proxy, checkout);
    let id = home.run(Strategy::Canary).await;
    let end = home
        .until("the end", |service| phase_of(service) == "finished")
        .await;
    load.stop().await;
    checkout.stop().await;
    let reason = end.rollout.unwrap().reason.unwrap();
    for part in [
        "worst route GET /checkout/{id} (",
        "mostly 500 (",
        &format!("worst backend {} (", green.addr),
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    let record = home.client.rollout(id).await.unwrap();
    let faults = record.evidence.unwrap().faults;
    assert_eq!(faults.routes.len(), 1, "{faults:?}");
    assert_eq!(
        faults.backends.get(&green.addr.to_string()),
        Some(&faults.total)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_hangs_goes_back() {
    let (blue, green) = pair();
    let home = Home::new(
        &blue,
        &green,
        &format!("{JUDGED}timeouts = {{ first_byte = \"200ms\" }}\n"),
    );
    let mut shifter = run(&home, "canary").await;
    let load = Load::start(
        home.proxy,
        Plan {
            connections: 64,
            ..tolerant(1_000.0)
        },
    );
    home.share(5.0).await;
    load.more(500).await;
    green.app.hangs.store(true, Relaxed);
    let start = Instant::now();
    let (code, highest) = judged(&mut shifter).await;
    println!("hanging: exit {code:?} after {:?}", start.elapsed());
    assert_eq!((code, highest), (Some(3), 5.0), "{}", home.log());
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_is_not_fit_is_seen_by_nobody() {
    // Down from the start.
    let (blue, green) = pair();
    let dead = Home::at(
        tempfile::tempdir().unwrap(),
        blue.addr,
        free_port(),
        &format!("{JUDGED}step_deadline = \"1s\"\n"),
    );
    // Up, and wrong.
    let wrong = Home::new(
        &blue,
        &green,
        &format!("{JUDGED}smoke = [{{ path = \"/health\", contains = \"excellent\" }}]\n"),
    );
    for (home, why) in [(dead, "not healthy"), (wrong, "smoke check")] {
        let mut shifter = run(&home, "canary").await;
        let load = Load::start(
            home.proxy,
            Plan {
                rate: Some(500.0),
                leaves: true,
                ..Plan::default()
            },
        );
        let (code, highest) = judged(&mut shifter).await;
        let (seen, _) = load.stop_clean().await;
        assert_eq!((code, highest), (Some(4), 0.0), "{}", home.log());
        assert!(home.out().contains(why), "{}", home.out());
        assert_eq!(seen.green.load(Relaxed), 0);
    }
    assert_eq!(green.served(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_after_the_swap_go_back_in_the_watch() {
    let (blue, green) = pair();
    let home = Home::new(&blue, &green, JUDGED);
    let _shifter = home.serve().await;
    let load = Load::start(home.proxy, tolerant(1_000.0));
    // Blue's past is what green is compared with.
    load.more(3_000).await;
    let mut follower =
        home.spawn(&mut home.command(&["run", "--strategy", "blue-green", "--output", "json"]));
    home.share(100.0).await;
    load.more(2_000).await;
    green.app.error_ppm.store(200_000, Relaxed);
    let start = Instant::now();
    let (code, _) = judged(&mut follower).await;
    println!(
        "20 % errors in the watch: exit {code:?} after {:?}",
        start.elapsed()
    );
    assert_eq!(code, Some(3), "{}", home.log());
    let log = follower.log();
    assert!(log.contains("green is under suspicion"), "{log}");
    assert!(log.contains("against blue"), "convicted beside blue: {log}");
    load.stop().await;
}

/// Errors of both: beside each other blue does no better, and green has everything again when it is over.
#[tokio::test(flavor = "multi_thread")]
async fn an_incident_of_both_after_the_swap_is_not_green_s_fault() {
    let (blue, green) = pair();
    let home = Home::new(&blue, &green, JUDGED);
    let _shifter = home.serve().await;
    let load = Load::start(home.proxy, tolerant(1_000.0));
    load.more(3_000).await;
    let mut follower =
        home.spawn(&mut home.command(&["run", "--strategy", "blue-green", "--output", "json"]));
    home.share(100.0).await;
    load.more(2_000).await;
    for app in [&blue, &green] {
        app.app.error_ppm.store(200_000, Relaxed);
    }
    home.share(75.0).await;
    let asked = Instant::now();
    for app in [&blue, &green] {
        app.app.error_ppm.store(0, Relaxed);
    }
    // The tail of the latencies passes last: 30 s on a quiet machine, many minutes on a busy one. Then it is enough that
    // errors, which the incident was about, are shown to be within the margin.
    loop {
        let service = home.service().await;
        let line = service.rollout.and_then(|run| run.line).unwrap_or_default();
        let passed = line.contains("no sign of harm") && !line.contains("err ");
        let long = asked.elapsed() > Duration::from_secs(60);
        if service.weight_percent == 100.0 || (long && passed) {
            break;
        }
        assert!(asked.elapsed() < Duration::from_secs(240), "{}", home.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("blue was asked for {:?}", asked.elapsed());
    assert!(follower.child.try_wait().unwrap().is_none());
    assert!(follower.log().contains("green is under suspicion"));
    load.stop().await;
}

/// Users see nothing of a green that is killed: blue saves each request. The judge counts it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn retries_hide_a_killed_green_from_users_but_not_from_the_judge() {
    let (blue, mut green) = pair();
    let home = Home::new(&blue, &green, JUDGED);
    // Checks as seldom as by default: until they notice, users meet a dead green.
    let text = std::fs::read_to_string(home.config()).unwrap();
    let text = text
        .replace("interval = \"50ms\"", "interval = \"1s\"")
        .replace("fall = 2", "fall = 3");
    std::fs::write(home.config(), text).unwrap();
    let mut shifter = run(&home, "canary").await;
    let load = Load::start(
        home.proxy,
        Plan {
            rate: Some(2_000.0),
            leaves: true,
            ..Plan::default()
        },
    );
    home.share(5.0).await;
    load.more(2_000).await;
    let before = attempts(&home.service().await);
    let killed = Instant::now();
    green.kill();
    let mut last = before;
    let mut back = None;
    while shifter.child.try_wait().unwrap().is_none() {
        if killed.elapsed() > Duration::from_secs(4) && !green.listens() {
            green.revive();
        }
        if let Ok(view) = shifter.client.status().await {
            last = attempts(&view.services[0]);
            if view.services[0].weight_percent == 0.0 {
                back.get_or_insert_with(|| killed.elapsed());
            }
        }
        assert!(
            killed.elapsed() < Duration::from_secs(10),
            "{last:?} after {before:?}\n{}",
            home.log()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (status, _) = shifter.ended().await;
    assert_eq!(status.code(), Some(3), "{}", home.log());
    let (seen, _) = load.stop_clean().await;
    let (all, failed) = (last.0 - before.0, last.1 - before.1);
    println!(
        "killed: {} users' requests, 0 failed; {failed} of green's {all} attempts failed; back after {back:?}",
        seen.answered()
    );
    // The second in which it was killed was counted in part before it.
    assert!(
        failed * 100 >= all.saturating_sub(100) * 95 && failed > 5,
        "{failed} of {all}"
    );
}

/// Green's attempts and the failed ones among them, as the judge has seen them.
fn attempts(service: &ServiceView) -> (u64, u64) {
    let report = service
        .rollout
        .as_ref()
        .and_then(|rollout| rollout.evidence.as_ref())
        .unwrap();
    (
        report.findings[0].green_requests,
        report.findings[0].green_bad,
    )
}

/// A thousand clients on green alone who abort, cut their uploads and do not read: not green's fault.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_clients_cannot_force_a_rollback() {
    let (blue, green) = pair();
    let sticky = "sticky = { header = \"x-user-id\" }\nsteps = [{ weight = 50, hold = \"1h\", deadline = \"1h\" }, { weight = 100 }]\n";
    let home = Home::new(&blue, &green, &format!("{sticky}{PATIENT}"));
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    home.share(50.0).await;
    // Names that the proxy puts on green.
    let mut names = vec![];
    for n in 0.. {
        let answer = crate::support::client::get(home.proxy, "/", &format!("x-user-id: u{n}\r\n"))
            .await
            .unwrap();
        if answer.header("x-app-version") == Some("green") {
            names.push(format!("u{n}"));
        }
        if names.len() == 50 {
            break;
        }
    }
    let load = Load::paced(home.proxy, 500.0);
    load.more(200).await;
    let attackers = size("SHIFTER_ATTACKERS", 1_000);
    for n in 0..attackers as usize {
        let name = &names[n % names.len()];
        let mut client = Client::connect(home.proxy).await;
        match n % 5 {
            0 => client.send(&format!("GET / HTTP/1.1\r\nhost: app\r\nx-user-id: {name}\r\nx-half")).await,
            1 => client.send(&format!("POST / HTTP/1.1\r\nhost: app\r\nx-user-id: {name}\r\ncontent-length: 1000\r\n\r\nten bytes.")).await,
            2 => client.send(&format!("GET /slow?ms=50 HTTP/1.1\r\nhost: app\r\nx-user-id: {name}\r\n\r\n")).await,
            3 => client.send(&format!("POST / HTTP/1.1\r\nhost: app\r\nx-user-id: {name}\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")).await,
            _ => {
                client.send(&format!("GET /bytes?n=8000000 HTTP/1.1\r\nhost: app\r\nx-user-id: {name}\r\n\r\n")).await;
                let mut first = [0; 100];
                client.stream.read_exact(&mut first).await.unwrap();
            }
        }
        if n % 2 == 0 {
            client.stream.set_zero_linger().unwrap();
        }
    }
    load.more(1_000).await;
    let service = home.service().await;
    assert_eq!(
        (phase_of(&service), service.weight_percent),
        ("shifting", 50.0),
        "no rollback: {service:?}"
    );
    let evidence = service.rollout.unwrap().evidence.unwrap();
    let errors = &evidence.findings[0];
    println!(
        "{attackers} hostile clients: green {} of {} failed, blue {} of {}",
        errors.green_bad, errors.green_requests, errors.blue_bad, errors.blue_requests
    );
    assert_eq!((errors.green_bad, errors.blue_bad), (0, 0), "{errors:?}");
    assert!(errors.green_requests > 100);
    load.stop_clean().await;
}

// ---- people

#[tokio::test(flavor = "multi_thread")]
async fn people_approve_pause_resume_promote_and_supersede() {
    let (blue, green) = pair();
    let steps = "steps = [{ weight = 5, hold = \"100ms\", deadline = \"100ms\" }, { approve = true }, { weight = 50, hold = \"1h\", deadline = \"1h\" }, { weight = 100, hold = \"1h\", deadline = \"1h\" }]\nkeep_blue = \"1h\"\n";
    let home = Home::new(&blue, &green, &format!("{steps}{PATIENT}"));
    let _shifter = home.serve().await;
    let load = Load::paced(home.proxy, 500.0);
    let first = home.run(Strategy::Canary).await;
    let error = home.verb("promote").await;
    assert!(
        error.is_ok() || error.unwrap_err().exit().code() == 2,
        "too early or in time"
    );
    home.verb("rollback").await.unwrap();
    home.phase("finished").await;
    let second = home.run(Strategy::Canary).await;
    assert!(second > first);
    home.phase("awaiting_approval").await;
    assert_eq!(home.verb("resume").await.unwrap_err().exit().code(), 2);
    // The same on the command line: who runs again is told that it is busy.
    let mut again = home.spawn(&mut home.command(&["run"]));
    assert_eq!(again.ended().await.0.code(), Some(8), "{}", home.log());
    assert!(home.log().contains("--supersede"), "{}", home.log());
    std::mem::forget(again);
    home.verb("approve").await.unwrap();
    home.share(50.0).await;
    home.verb("pause").await.unwrap();
    home.phase("paused").await;
    assert_eq!(home.verb("pause").await.unwrap_err().exit().code(), 2);
    home.weigh(20).await;
    home.share(20.0).await;
    home.verb("resume").await.unwrap();
    home.share(50.0).await;
    home.client
        .run(
            None,
            &RunRequest {
                strategy: Some(Strategy::BlueGreen),
                supersede: true,
                ..RunRequest::default()
            },
        )
        .await
        .unwrap();
    let old = home.client.rollout(second).await.unwrap();
    assert_eq!(old.outcome.as_deref(), Some("stopped"));
    assert!(old.reason.unwrap().contains("superseded"));
    home.share(100.0).await;
    home.verb("promote").await.unwrap();
    home.phase("promoted").await;
    home.verb("rollback").await.unwrap();
    let end = home.phase("finished").await;
    assert_eq!(outcome_of(&end), "stopped");
    load.stop_clean().await;
}

/// `shifter run` where no shifter answers serves on, and goes on telling.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_after_the_verdict_is_told_by_the_process_that_serves_on() {
    let (blue, green) = pair();
    let keys = format!("{QUICK}{PATIENT}keep_blue = \"500ms\"\ndrain = \"200ms\"\n");
    let home = Home::new(&blue, &green, &keys);
    let mut shifter = home.spawn(&mut home.command(&["run"]));
    shifter.answers().await;
    let load = Load::start(home.proxy, tolerant(200.0));
    home.phase("finished").await;
    home.until("the end is told", |_| {
        home.log().contains("done: green is the new blue")
    })
    .await;
    load.stop().await;
}

// ---- blue is the broken one

#[tokio::test(flavor = "multi_thread")]
async fn where_blue_has_nobody_even_a_bad_green_keeps_the_users() {
    let (mut blue, green) = pair();
    let home = Home::new(&blue, &green, &format!("{STILL}{PATIENT}"));
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    home.share(5.0).await;
    let load = Load::start(home.proxy, tolerant(500.0));
    load.more(200).await;
    blue.kill();
    home.until("blue is missed", |service| {
        service.rollout.as_ref().is_some_and(|run| run.degraded)
    })
    .await;
    green.app.error_ppm.store(500_000, Relaxed);
    let served = green.served();
    load.more(500).await;
    assert!(
        green.served() >= served + 400,
        "half is better than nothing"
    );
    let service = home.service().await;
    assert_eq!(
        (service.weight_percent, phase_of(&service)),
        (5.0, "shifting")
    );
    let refused = home.verb("abort").await.unwrap_err().to_string();
    assert!(refused.contains("blue has no healthy backend"), "{refused}");
    assert_eq!(home.service().await.weight_percent, 5.0);
    blue.revive();
    // Some 25 requests a second on green: evidence takes its time.
    home.until_within(Duration::from_secs(60), "blue takes over", |service| {
        service.weight_percent == 0.0
    })
    .await;
    assert_eq!(outcome_of(&home.service().await), "rolled_back");
    load.stop().await;
}

/// Blue was removed in the middle of a rollout and does not come back: a person may take green.
#[tokio::test(flavor = "multi_thread")]
async fn green_can_be_accepted_where_blue_has_no_backend_any_more() {
    let (mut blue, green) = pair();
    let home = Home::new(
        &blue,
        &green,
        &format!("{STILL}{PATIENT}keep_blue = \"200ms\"\ndrain = \"200ms\"\n"),
    );
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    home.share(5.0).await;
    blue.kill();
    home.until("blue is missed", |service| {
        service.rollout.as_ref().is_some_and(|run| run.degraded)
    })
    .await;
    let load = Load::start(home.proxy, tolerant(200.0));
    let refused = home.verb("abort").await.unwrap_err().to_string();
    assert!(
        refused.contains("accept green with `shifter promote app`"),
        "{refused}"
    );
    home.verb("promote").await.unwrap();
    let end = home.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted");
    let served = green.served();
    load.more(50).await;
    assert!(green.served() >= served + 50);
    load.stop().await;
}

// ---- drill and replay

#[tokio::test(flavor = "multi_thread")]
async fn no_rollout_begins_during_a_drill() {
    let (blue, green) = pair();
    let home = Home::new(&blue, &green, "");
    let _shifter = home.serve().await;
    // Nobody asks for anything, so that the drill takes its seconds.
    let drill = home.client.drill(None);
    let meanwhile = async {
        home.until("the drill", |service| service.weight_percent == 100.0)
            .await;
        home.verb("run").await.unwrap_err().to_string()
    };
    let (report, refused) = tokio::join!(drill, meanwhile);
    assert!(refused.contains("drill"), "{refused}");
    assert_eq!(report.unwrap().green_requests, 0);
    assert_eq!(home.service().await.weight_percent, 0.0);
    assert_eq!(green.served(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_measures_the_way_back() {
    let (blue, green) = pair();
    let home = Home::new(&blue, &green, "");
    let _shifter = home.serve().await;
    let load = Load::on(home.proxy);
    load.more(200).await;
    let report = home.client.drill(None).await.unwrap();
    println!("drill: {}", report.line());
    assert!(
        report.green_requests >= 200 && report.green_failed == 0,
        "{report:?}"
    );
    assert!(report.back_ms < 100.0, "{report:?}");
    let service = home.service().await;
    assert_eq!(service.weight_percent, 0.0);
    assert_eq!(green.served(), 0, "green's own backends have no part in it");
    load.stop_clean().await;
}

fn same(lines: &[RecordedLine]) -> Option<(usize, Verdict)> {
    let again = replay(lines, None).users;
    assert!(
        again.seconds > 0 && again.differences.is_empty(),
        "{:?}",
        again.differences
    );
    assert_eq!(again.recorded, again.replayed);
    again.recorded
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_rollout_is_judged_the_same_again() {
    let (blue, green) = pair();
    let home = Home::new(
        &blue,
        &green,
        &format!("{QUICK}{PATIENT}keep_blue = \"0s\"\n"),
    );
    let mut shifter = home.serve().await;
    let load = Load::start(home.proxy, tolerant(1_000.0));
    let good = home.run(Strategy::Canary).await;
    let end = home
        .until("the end", |service: &ServiceView| {
            phase_of(service) == "finished"
        })
        .await;
    assert_eq!(outcome_of(&end), "promoted");
    home.configure(blue.addr, green.addr, &format!("{STILL}{PATIENT}"));
    home.client.reload().await.unwrap();
    // Green is blue now: the one that has errors is the other.
    blue.app.error_ppm.store(200_000, Relaxed);
    let bad = home.run(Strategy::Canary).await;
    let end = home
        .until("the end", |service| phase_of(service) == "finished")
        .await;
    assert_eq!(outcome_of(&end), "rolled_back");
    let lines = home.client.seconds(bad).await.unwrap();
    let verdict = same(&lines).expect("a failed verdict");
    println!(
        "replay: {} lines, rolled back at second {} then and now",
        lines.len(),
        verdict.0
    );
    assert_eq!(same(&home.client.seconds(good).await.unwrap()), None);
    // And from the journal of a process that is gone.
    load.stop().await;
    shifter.kill();
    let _shifter = home.serve().await;
    assert_eq!(
        same(&home.client.seconds(bad).await.unwrap()),
        Some(verdict)
    );
}

/// A green that comes late is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_starts_slowly_is_waited_for() {
    let blue = Running::start("blue");
    let green = Running::after("green", Duration::from_millis(700));
    let home = Home::new(&blue, &green, STILL);
    let _shifter = home.serve().await;
    let load = Load::paced(home.proxy, 200.0);
    home.run(Strategy::Canary).await;
    home.share(5.0).await;
    eventually("green serves", || load.seen.green.load(Relaxed) > 0).await;
    load.stop_clean().await;
}

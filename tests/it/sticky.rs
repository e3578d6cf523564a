//! Users who stay where they are: what the judge makes of many, and of one who is busy.

use crate::support::apps::free_port;
use crate::support::backend::{Act, Backend, answer};
use crate::support::client::get;
use crate::support::shifter::{Home, PATIENT, outcome_of, phase_of};
use shifter::control::view::ServiceView;
use shifter::core::judge::Report;
use shifter::core::plan::Strategy;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::JoinSet;

const STICKY: &str = "sticky = { header = \"x-user\" }\nsteps = [{ weight = 50, hold = \"1h\", deadline = \"1h\" }, { weight = 100 }]\n";

/// A version that says its name, and fails as `fails` says of a request's head.
async fn version(
    name: &'static str,
    fails: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Backend {
    Backend::start(move |head| match fails(head) {
        true => Act::Say(answer(500, name)),
        false => Act::ok(name),
    })
    .await
}

fn at_home(blue: SocketAddr, green: SocketAddr) -> Home {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::empty(folder, free_port(), free_port());
    home.configure(blue, green, &format!("{STICKY}{PATIENT}"));
    home
}

/// Requests of these users in turn, so many milliseconds apart, until it is told to stop.
fn ask(users: Vec<String>, every: u64, proxy: SocketAddr, stop: &Arc<AtomicBool>) -> JoinSet<()> {
    let (mut tasks, stop) = (JoinSet::new(), stop.clone());
    tasks.spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_millis(every));
        for user in users.iter().cycle() {
            if stop.load(Relaxed) {
                return;
            }
            beat.tick().await;
            let _ = get(proxy, "/", &format!("x-user: {user}\r\n")).await;
        }
    });
    tasks
}

/// A user of green whose name begins so.
async fn on_green(home: &Home, kind: &str) -> String {
    for n in 0.. {
        let name = format!("{kind}{n}");
        let answer = get(home.proxy, "/", &format!("x-user: {name}\r\n")).await;
        if answer.is_ok_and(|answer| answer.body == "green") {
            return name;
        }
    }
    unreachable!("half of all names are green's")
}

fn evidence(service: &ServiceView) -> Report {
    let rollout = service.rollout.clone().unwrap();
    rollout.evidence.unwrap()
}

/// One user who is busy and fails half of the time, on whichever version, is not many: nothing is wrong with green.
#[tokio::test(flavor = "multi_thread")]
async fn one_busy_user_is_no_evidence() {
    use std::sync::atomic::AtomicU64;
    let busy = |turn: AtomicU64| {
        move |head: &str| head.contains("busy") && turn.fetch_add(1, Relaxed).is_multiple_of(2)
    };
    let blue = version("blue", busy(AtomicU64::new(1))).await;
    let green = version("green", busy(AtomicU64::new(1))).await;
    let home = at_home(blue.addr, green.addr);
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    home.share(50.0).await;
    let name = on_green(&home, "busy").await;
    let stop = Arc::new(AtomicBool::new(false));
    let many = (0..40).map(|n| format!("u{n}")).collect();
    let mut all = [
        ask(many, 15, home.proxy, &stop),
        ask(vec![name], 12, home.proxy, &stop),
    ];
    // By requests it would go back after twelve seconds.
    let service = home
        .until_within(Duration::from_secs(60), "20 s of evidence", |service| {
            !outcome_of(service).is_empty()
                || service.rollout.is_some() && evidence(service).step_seconds >= 20
        })
        .await;
    stop.store(true, Relaxed);
    for tasks in &mut all {
        while tasks.join_next().await.is_some() {}
    }
    assert_eq!(phase_of(&service), "shifting", "{:?}", service.rollout);
    let report = evidence(&service);
    let failed = report.findings[0].spoken.unwrap();
    assert!(failed.users && failed.green_bad == 1, "{failed:?}");
    assert!(report.findings[0].green_bad > 100, "{report:?}");
    assert!(report.ln_e_max < 1.0, "{report:?}");
}

/// Many users whom green fails are found, and the reason counts users.
#[tokio::test(flavor = "multi_thread")]
async fn users_whom_green_fails_are_counted() {
    use std::sync::atomic::AtomicU64;
    let turn = AtomicU64::new(1);
    let blue = version("blue", |_| false).await;
    let fifth =
        move |head: &str| head.contains("x-user") && turn.fetch_add(1, Relaxed).is_multiple_of(5);
    let green = version("green", fifth).await;
    let home = at_home(blue.addr, green.addr);
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    home.share(50.0).await;
    let stop = Arc::new(AtomicBool::new(false));
    let many = (0..200).map(|n| format!("u{n}")).collect();
    let mut tasks = ask(many, 8, home.proxy, &stop);
    let service = home
        .until_within(Duration::from_secs(60), "back", |service| {
            outcome_of(service) == "rolled_back"
        })
        .await;
    stop.store(true, Relaxed);
    while tasks.join_next().await.is_some() {}
    let reason = service.rollout.unwrap().reason.unwrap();
    assert!(reason.contains("of users failed"), "{reason}");
}

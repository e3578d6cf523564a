//! Whole rollouts on an engine that stands alone, and everything that can go wrong with an engine.

mod addresses;
mod baseline;
mod images;
mod making;
mod members;
mod names;
mod running;
mod spoken;
mod strangers;
mod walk;

use crate::support::fake::Fake;
use crate::support::fake::faults::Fault::Refuse;
use crate::support::load::{Load, Plan};
use crate::support::shifter::{PATIENT, STILL, outcome_of};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

/// A rollout of two seconds: a share is left at the next tick.
const BRISK: &str = "steps = [{ weight = 5, hold = \"100ms\", deadline = \"100ms\" }, { weight = 100, hold = \"100ms\", deadline = \"100ms\" }]\nkeep_blue = \"200ms\"\n";

fn brisk() -> String {
    format!("{BRISK}{PATIENT}")
}

/// Shares that are long and large enough for something to be seen in them, however busy the machine is.
fn sure() -> String {
    let steps = "steps = [{ weight = 50, hold = \"700ms\", deadline = \"700ms\" }, { weight = 100, hold = \"700ms\", deadline = \"700ms\" }]\nkeep_blue = \"200ms\"\n";
    format!("{steps}{PATIENT}")
}

fn still() -> String {
    format!("{STILL}{PATIENT}keep_blue = \"200ms\"\n")
}

/// A few users who forgive nothing.
fn users(proxy: SocketAddr) -> Load {
    let plan = Plan {
        connections: 4,
        rate: Some(150.0),
        ..Plan::default()
    };
    Load::start(proxy, plan)
}

/// A command in green has ended when it has, whatever it left running in the background.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_leaves_something_in_the_background_is_not_waited_for() {
    let fake = Fake::start();
    fake.engine.state().lingers = true;
    let smoke = "smoke = [{ exec = [\"/app\", \"check\"], timeout = \"15s\" }]\n";
    let shifter = fake.with_blue(&format!("{}{smoke}", brisk())).await;
    let load = users(shifter.proxy);
    shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    load.stop_clean().await;
    let said = shifter.notes().await;
    assert_eq!(outcome_of(&end), "promoted", "{said}");
    assert!(said.contains("smoke checks: 1 of 1 passed"), "{said}");
}

/// Three deployments in a row: one container is left, and the engine is asked for nothing that SECURITY.md does not name.
#[tokio::test(flavor = "multi_thread")]
async fn deployments_in_a_row_leave_one_container_and_ask_nothing_else() {
    let fake = Fake::start();
    let stranger = fake.run("stranger", "app:third", "always");
    let before = fake.inspect(&stranger);
    let smoke = "smoke = [{ exec = [\"/app\", \"check\"] }, { image = \"app:third\", command = [\"check\", \"{green}\"] }]\n";
    let shifter = fake.with_blue(&format!("{}{smoke}", brisk())).await;
    let load = users(shifter.proxy);
    for image in ["app:green", "app:remote", "app:blue"] {
        let rollout = shifter.run_image(image).await.unwrap();
        let end = shifter.phase("finished").await;
        assert_eq!(
            outcome_of(&end),
            "promoted",
            "{:?}\n{}",
            end.rollout,
            shifter.log()
        );
        assert_eq!(end.blue.release, image);
        let green = format!("{}-{rollout}", fake.name);
        shifter
            .until("it runs alone, and is restarted as blue was", |_| {
                let policy = &fake.inspect(&green)["HostConfig"]["RestartPolicy"]["Name"];
                fake.made() == [green.clone()] && policy == "unless-stopped"
            })
            .await;
    }
    let (seen, _) = load.stop_clean().await;
    println!(
        "{} requests over three deployments: 0 lost",
        seen.answered()
    );
    assert!(seen.green.load(Relaxed) > 0);
    assert_eq!(fake.faults.rejected(), [""; 0]);
    // Whom shifter did not make is left: blue, stopped, and the stranger as it was.
    assert_eq!(
        fake.containers(false).len(),
        2,
        "{:?}",
        fake.containers(false)
    );
    assert_eq!(
        fake.containers(true).len(),
        3,
        "{:?}",
        fake.containers(true)
    );
    assert_eq!(fake.inspect(&stranger), before);
    assert_eq!(fake.acts_on(&fake.named("stranger")), [""; 0]);
}

/// A name that the engine does not give yet is asked for again, and costs nobody a request.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_rename_is_tried_again() {
    let fake = Fake::start();
    let keys = format!("copy = {{ naming = \"fixed\" }}\n{}", brisk());
    let shifter = fake.with_blue(&keys).await;
    let load = users(shifter.proxy);
    fake.faults.on(
        "POST /containers/{}/rename",
        Refuse(500, "no space left on device"),
        3,
    );
    shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
    let blue = fake.named("blue");
    shifter
        .until("it has the name", |_| fake.made() == [blue.clone()])
        .await;
    load.stop_clean().await;
    assert!(shifter.log().contains("no space left on device"));
    assert_eq!(fake.faults.rejected(), [""; 0]);
}

/// A green that fails is taken off, stopped and kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_green_is_rolled_back() {
    let fake = Fake::start();
    let keys = format!("{}max_excess_failures = 30\n", still());
    let shifter = fake.with_blue(&keys).await;
    let plan = Plan {
        rate: Some(300.0),
        errors_allowed: true,
        ..Plan::default()
    };
    let load = Load::start(shifter.proxy, plan);
    let rollout = shifter.run_image("app:bad").await.unwrap();
    shifter.share(5.0).await;
    shifter.weigh(50).await;
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "rolled_back", "{:?}", end.rollout);
    let before = load.seen.green.load(Relaxed);
    load.more(200).await;
    assert_eq!(load.seen.green.load(Relaxed), before, "blue has them all");
    load.stop_clean().await;
    let green = format!("{}-{rollout}", fake.name);
    shifter
        .until("green is stopped", |_| fake.made().is_empty())
        .await;
    assert!(fake.containers(true).contains(&green), "and kept");
    assert_eq!(
        fake.inspect(&green)["State"]["ExitCode"],
        0,
        "by SIGTERM, drained"
    );
    assert_eq!(fake.faults.rejected(), [""; 0]);
}

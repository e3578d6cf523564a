//! Two versions and one database: its schema changes while both run.

use crate::support::docker::Engine;
use crate::support::load::{Load, Plan};
use crate::support::shifter::{PATIENT, QUICK, Shifter, outcome_of};
use shifter::control::view::ServiceView;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const SHARES: &str = "steps = [{ weight = 5, hold = \"10s\", deadline = \"15s\" }, { weight = 50, hold = \"10s\", deadline = \"15s\" }, { weight = 100, hold = \"10s\", deadline = \"15s\" }]\n";

/// The example in a folder of its own, with more keys; blue is the version that needs the column `name`.
async fn shop(engine: &Engine, keys: &str) -> (Shifter, PathBuf) {
    let home = engine.home("");
    let folder = home.folder.path().to_owned();
    std::fs::create_dir(folder.join("data")).unwrap();
    for file in ["expand.sh", "contract.sh", "data/users.csv"] {
        let example = PathBuf::from("examples/schema").join(file);
        std::fs::copy(example, folder.join(file)).unwrap();
    }
    let table = format!("[service.{}]\n", engine.name);
    let more = format!("{table}{keys}drain = \"5s\"\nkeep_blue = \"4s\"\n");
    let text = std::fs::read_to_string("examples/schema/shifter.toml").unwrap();
    let text = text
        .replace("\"shop\"", &format!("\"{}\"", engine.named("shop")))
        .replace("service.shop", &format!("service.{}", engine.name))
        .replace(&table, &more);
    let host = format!("docker.host = \"{}\"\n", engine.host());
    std::fs::write(home.config(), home.head() + &host + &text).unwrap();
    let data = folder.join("data");
    let volume = format!("{}:/data", data.display());
    let more = ["-v", &volume, "-e", "DATABASE=/data/users.csv"];
    engine.run("shop", "shop:1", &more);
    let mut shifter = home.spawn(home.command(&["serve"]).current_dir(&folder));
    shifter.answers().await;
    (shifter, data.join("users.csv"))
}

/// Row 27: expand, deploy, roll back, contract, as in `examples/schema`; what cannot live with the schema is refused.
#[tokio::test(flavor = "multi_thread")]
async fn row_27_expand_deploy_roll_back_contract() {
    let engine = Engine::shared();
    let (shifter, database) = shop(&engine, &format!("{QUICK}{PATIENT}")).await;
    let columns = || {
        let text = std::fs::read_to_string(&database).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    let load = Load::paced(shifter.proxy, 100.0);
    assert_eq!(columns(), "id,name");

    shifter.run_image("shop:2").await.unwrap();
    shifter.phase("promoted").await;
    assert_eq!(columns(), "id,name,full_name");
    shifter.verb("rollback").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(end.blue.release, "shop:1");
    load.more(200).await;
    assert_eq!(columns(), "id,name,full_name", "nothing was taken from it");

    shifter.run_image("shop:2").await.unwrap();
    shifter
        .until("contracted", |_| columns() == "id,full_name")
        .await;
    let end = shifter.service().await;
    assert_eq!(outcome_of(&end), "promoted");
    assert_eq!(end.blue.release, "shop:2");
    load.more(200).await;

    let of_the_old = load.seen.blue.load(Relaxed);
    shifter.run_image("shop:1").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "never_fit");
    let reason = end.rollout.unwrap().reason.unwrap();
    for part in ["/app schema", "exit code 1", "no column `name`"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    load.more(200).await;
    let (seen, _) = load.stop_clean().await;
    assert_eq!(seen.blue.load(Relaxed), of_the_old, "no user saw it");
    println!(
        "{} requests through all of it, 0 lost; then: {reason}",
        seen.answered()
    );
}

/// A rollout whose hook takes from the database what blue needs, or what both need; blue fails beside green.
async fn broken_by_a_hook(left: &str, policy: &str) -> (Engine, Shifter, Load) {
    let engine = Engine::shared();
    let keys = format!("{SHARES}on_inconclusive = \"{policy}\"\n");
    let (shifter, database) = shop(&engine, &keys).await;
    let hook = format!(
        "[[service.{}.hooks]]\nat = \"before-shift\"\nexec = [\"sh\", \"-c\", \"echo {left} >{}\"]\n",
        engine.name,
        database.display()
    );
    let text = std::fs::read_to_string(shifter.config()).unwrap();
    std::fs::write(shifter.config(), text + &hook).unwrap();
    shifter.client.reload().await.unwrap();
    let users = Plan {
        rate: Some(100.0),
        errors_allowed: true,
        ..Plan::default()
    };
    let load = Load::start(shifter.proxy, users);
    load.more(300).await;
    shifter.run_image("shop:2").await.unwrap();
    shifter
        .until("blue fails beside green", |service| {
            service.weight_percent == 5.0 && service.blue.failed_percent > 90.0
        })
        .await;
    (engine, shifter, load)
}

/// How it ends, when nobody does anything.
///
/// The engine is held until then: its end takes its containers away.
async fn end_of((_engine, shifter, load): (Engine, Shifter, Load)) -> ServiceView {
    let over = |service: &ServiceView| !outcome_of(service).is_empty();
    let end = shifter.until_within(Duration::from_secs(60), "it is over", over);
    let end = end.await;
    load.stop_clean().await;
    let rollout = end.rollout.as_ref().unwrap();
    println!("{} {:?}", outcome_of(&end), rollout.reason);
    end
}

/// Row 28: what breaks blue during the overlap, or both, is no success of green's where doubt leads to blue.
#[tokio::test(flavor = "multi_thread")]
async fn row_28_a_broken_blue_is_no_success_of_green() {
    let (both, blue) = tokio::join!(
        broken_by_a_hook("id", "rollback"),
        broken_by_a_hook("id,full_name", "rollback")
    );
    let (both, blue) = tokio::join!(end_of(both), end_of(blue));
    for end in [both, blue] {
        assert_eq!(outcome_of(&end), "inconclusive");
        assert_eq!(
            (end.weight_percent, end.blue.release.as_str()),
            (0.0, "shop:1")
        );
    }
}

/// Row 28 again, where silence promotes: both fail, and green goes back at the share's deadline.
#[tokio::test(flavor = "multi_thread")]
async fn row_28_a_green_as_bad_as_a_broken_blue_is_not_promoted_by_silence() {
    let end = end_of(broken_by_a_hook("id", "promote").await).await;
    assert_eq!(outcome_of(&end), "inconclusive");
    let reason = end.rollout.unwrap().reason.unwrap();
    // Its route is held against blue's past too, which was sound: then green leans worse.
    let told = ["no reason to promote it", "green leans worse"];
    assert!(told.iter().any(|words| reason.contains(words)), "{reason}");
    assert_eq!(end.blue.release, "shop:1");
}

/// And where only blue fails: green is neither promoted by silence nor taken from the users that it serves.
#[tokio::test(flavor = "multi_thread")]
async fn row_28_a_green_beside_a_broken_blue_waits_for_a_person() {
    let (engine, shifter, load) = broken_by_a_hook("id,full_name", "promote").await;
    let waits = |service: &ServiceView| {
        let rollout = service.rollout.as_ref().unwrap();
        let line = rollout.line.as_deref().unwrap_or_default();
        let told = line.contains("blue itself fails ") && line.contains("`shifter promote`");
        told && rollout.step_seconds > 20.0
    };
    let late = shifter.until_within(Duration::from_secs(60), "its deadline is over", waits);
    let late = late.await;
    assert_eq!((outcome_of(&late), late.weight_percent), ("", 5.0));
    shifter.verb("rollback").await.unwrap();
    let end = end_of((engine, shifter, load)).await;
    assert_eq!(outcome_of(&end), "stopped");
}

//! A baseline in containers: made from blue's own, watched like green, and gone with the rollout.

use crate::docker::fake::{still, users};
use crate::support::fake::Fake;
use crate::support::fake::faults::Fault::Refuse;
use crate::support::load::Load;
use crate::support::shifter::{Shifter, outcome_of, phase_of};
use std::sync::atomic::Ordering::Relaxed;

const START: &str = "POST /containers/{}/start";

fn keys() -> String {
    format!("control = \"baseline\"\nkeep_green = \"1h\"\n{}", still())
}

/// A rollout at 5 % with users; the names of green and of its baseline.
async fn at_five(fake: &Fake) -> (Shifter, Load, [String; 2]) {
    let shifter = fake.with_blue(&keys()).await;
    let load = users(shifter.proxy);
    let rollout = shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    let green = format!("{}-{rollout}", fake.name);
    let baseline = format!("{green}-baseline");
    (shifter, load, [green, baseline])
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_blue_once_more_and_goes_with_a_promotion() {
    let fake = Fake::start();
    let (shifter, load, [green, baseline]) = at_five(&fake).await;
    let mut made = fake.made();
    made.sort();
    assert_eq!(made, [green.clone(), baseline.clone()]);
    let (blue, copy) = (fake.inspect(&fake.named("blue")), fake.inspect(&baseline));
    assert_eq!(
        copy["Image"], blue["Image"],
        "the very image that blue runs"
    );
    assert_eq!(copy["HostConfig"]["RestartPolicy"]["Name"], "no");
    let service = shifter.service().await;
    let view = service.baseline.unwrap();
    assert_eq!(
        view.backends[0].address,
        fake.address(&baseline).to_string()
    );
    assert_eq!(view.release, service.blue.release);
    assert_eq!(service.blue.backends.len(), 1, "blue is blue's own");
    let asked = |service: &shifter::control::view::ServiceView| {
        let seen = service.baseline.as_ref();
        seen.is_some_and(|seen| seen.requests_per_second > 1.0)
    };
    shifter.until("it has users", asked).await;
    shifter.verb("promote").await.unwrap();
    shifter.share(100.0).await;
    shifter.verb("promote").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted");
    shifter
        .until("green alone is left", |_| fake.made() == [green.clone()])
        .await;
    shifter
        .until("the copy is not even kept", |service| {
            !fake.containers(true).contains(&baseline) && service.baseline.is_none()
        })
        .await;
    load.stop_clean().await;
    assert_eq!(fake.faults.rejected(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_with_a_rollback() {
    let fake = Fake::start();
    let (shifter, load, [green, baseline]) = at_five(&fake).await;
    shifter.verb("rollback").await.unwrap();
    shifter.phase("finished").await;
    shifter
        .until("none of it runs", |_| fake.made().is_empty())
        .await;
    shifter
        .until("the copy is removed", |_| {
            !fake.containers(true).contains(&baseline)
        })
        .await;
    assert!(fake.containers(true).contains(&green), "green is kept");
    load.stop_clean().await;
    assert_eq!(fake.faults.rejected(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_it_dies_it_is_told_cleared_away_and_the_rollout_goes_on() {
    let fake = Fake::start();
    let (shifter, load, [green, baseline]) = at_five(&fake).await;
    fake.engine.kill(&baseline).await;
    let service = shifter
        .until("no baseline", |service| service.baseline.is_none())
        .await;
    assert_eq!(
        (phase_of(&service), service.weight_percent),
        ("shifting", 5.0)
    );
    let notes = shifter.notes().await;
    let told = format!("NO BASELINE: the baseline's container {baseline} ");
    assert!(notes.contains(&told), "{notes}");
    shifter
        .until("it is removed and green is not", |_| {
            !fake.containers(true).contains(&baseline) && fake.made() == [green.clone()]
        })
        .await;
    load.more(100).await;
    load.stop_clean().await;
    assert_eq!(fake.faults.rejected(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_started_ends_nothing() {
    let fake = Fake::start();
    let shifter = fake.with_blue(&keys()).await;
    let load = users(shifter.proxy);
    fake.faults.now(|call| {
        let meant = call.is(START) && call.whom.ends_with("-baseline");
        meant.then_some(Refuse(500, "no space left on device"))
    });
    shifter.run_image("app:green").await.unwrap();
    let service = shifter.share(5.0).await;
    assert!(service.baseline.is_none());
    let notes = shifter.notes().await;
    assert!(notes.contains("NO BASELINE: "), "{notes}");
    assert!(notes.contains("no space left on device"), "{notes}");
    let green = load.seen.green.load(Relaxed);
    load.more(100).await;
    assert!(load.seen.green.load(Relaxed) > green);
    load.stop_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_shifter_finds_it_and_one_that_died_meanwhile_is_told() {
    let fake = Fake::start();
    let (mut shifter, load, [green, baseline]) = at_five(&fake).await;
    load.stop().await;
    shifter.kill();
    let mut shifter = shifter.home.serve().await;
    let service = shifter.share(5.0).await;
    let at = service.baseline.unwrap().backends[0].address.clone();
    assert_eq!(at, fake.address(&baseline).to_string());
    shifter.kill();
    fake.engine.kill(&baseline).await;
    let shifter = shifter.home.serve().await;
    let service = shifter
        .until("no baseline", |service| {
            service.rollout.is_some() && service.baseline.is_none()
        })
        .await;
    assert_eq!(
        (phase_of(&service), service.weight_percent),
        ("shifting", 5.0)
    );
    shifter
        .until("it is removed", |_| fake.made() == [green.clone()])
        .await;
    shifter.verb("rollback").await.unwrap();
    shifter.phase("finished").await;
    shifter
        .until("nothing is left", |_| fake.made().is_empty())
        .await;
}

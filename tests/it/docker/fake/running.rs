//! What goes wrong while green has a share, and users are there: how it ends, what is said, who notices.

use crate::docker::fake::{still, users};
use crate::support::client::get;
use crate::support::fake::faults::Fault;
use crate::support::fake::{Fake, Telling};
use crate::support::load::Load;
use crate::support::shifter::{Shifter, outcome_of};
use futures::{StreamExt, stream};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Rollouts at once; most of their time they wait.
const AT_ONCE: usize = 3;

/// What happens to green.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Killed,
    OutOfMemory,
    Exits,
    Paused,
    Removed,
    Restarted,
}

/// A rollout at 5 %, under load.
struct Stage {
    fake: Fake,
    shifter: Shifter,
    load: Load,
    green: String,
}

impl Stage {
    async fn set(more: &str) -> Stage {
        let fake = Fake::start();
        fake.run("stranger", "app:third", "always");
        let shifter = fake.with_blue(&format!("{}{more}", still())).await;
        let rollout = shifter.run_image("app:green").await.unwrap();
        shifter.share(5.0).await;
        let load = users(shifter.proxy);
        load.more(50).await;
        Stage {
            green: format!("{}-{rollout}", fake.name),
            fake,
            shifter,
            load,
        }
    }

    async fn strike(&self, blow: Blow) {
        let (engine, green) = (&self.fake.engine, self.green.as_str());
        match blow {
            Blow::Killed => engine.kill(green).await,
            Blow::OutOfMemory => engine.out_of_memory(green),
            Blow::Exits => drop(get(self.fake.address(green), "/exit", "").await),
            Blow::Paused => engine.pause(green),
            Blow::Removed => engine.remove_by_force(green).await,
            Blow::Restarted => engine.restart(green).await,
        }
    }

    /// To everything, and on to the end.
    async fn promote(&self, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while outcome_of(&self.shifter.service().await) != "promoted" {
            let done = self.shifter.verb("promote").await;
            assert!(Instant::now() < deadline, "{what}: {done:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Nobody lost anything, nobody else was touched, and nothing was asked for that may not be.
    async fn clear(self, what: &str) {
        let Stage {
            fake,
            shifter,
            load,
            ..
        } = self;
        load.more(50).await;
        let (seen, _) = load.stop_clean().await;
        assert!(seen.answered() > 0, "{what}");
        assert_eq!(fake.acts_on(&fake.named("stranger")), [""; 0], "{what}");
        assert_eq!(fake.faults.rejected(), [""; 0], "{what}");
        drop(shifter);
    }
}

const UNWELL: &str = "no backend of green is healthy";

/// The blow, how events of it are told, and what is said of it: one of these.
const ROLLED_BACK: [(Blow, Telling, &[&str]); 10] = [
    (
        Blow::Killed,
        Telling::Straight,
        &["exited with code 137, by signal 9", UNWELL],
    ),
    (
        Blow::Killed,
        Telling::Swapped,
        &["exited with code 137", UNWELL],
    ),
    (Blow::Killed, Telling::Lost, &[UNWELL]),
    (
        Blow::OutOfMemory,
        Telling::Straight,
        &["killed for want of memory (OOM)", UNWELL],
    ),
    (
        Blow::Exits,
        Telling::Straight,
        &["exited with code 3", UNWELL],
    ),
    (Blow::Exits, Telling::Lost, &[UNWELL]),
    (Blow::Paused, Telling::Straight, &["was paused"]),
    (
        Blow::Removed,
        Telling::Straight,
        &["was removed", "exited with code 137", UNWELL],
    ),
    (
        Blow::Removed,
        Telling::Swapped,
        &["was removed", "exited with code 137", UNWELL],
    ),
    (
        Blow::Restarted,
        Telling::Straight,
        &["was restarted", "exited with code 0", UNWELL],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_green_goes_back_and_nobody_notices() {
    let rows = stream::iter(ROLLED_BACK);
    rows.for_each_concurrent(AT_ONCE, |(blow, telling, told)| async move {
        let stage = Stage::set("").await;
        stage.fake.engine.events.tell_them(telling);
        stage.strike(blow).await;
        let end = stage
            .shifter
            .until("it is back", |service| service.weight_percent == 0.0)
            .await;
        let reason = end.rollout.unwrap().reason.unwrap_or_default();
        println!("{blow:?} {telling:?}: {reason}");
        assert!(
            told.iter().any(|text| reason.contains(text)),
            "{blow:?} {telling:?}: {reason}"
        );
        let end = stage.shifter.phase("finished").await;
        assert_eq!(outcome_of(&end), "rolled_back", "{blow:?} {telling:?}");
        let green = stage.load.seen.green.load(Relaxed);
        stage.load.more(50).await;
        assert_eq!(stage.load.seen.green.load(Relaxed), green, "{blow:?}");
        stage.fake.engine.events.tell_them(Telling::Straight);
        if !matches!(blow, Blow::Paused) {
            stage
                .shifter
                .until("nothing of it runs", |_| stage.fake.made().is_empty())
                .await;
        }
        stage.clear(&format!("{blow:?} {telling:?}")).await;
    })
    .await;
}

/// What harms nobody.
#[derive(Clone, Copy, Debug)]
enum Trifle {
    Renamed,
    EventsEnd,
    UnknownState,
    Late,
    Stalled,
    Cut,
    ListLags,
}

const PROMOTED: [Trifle; 7] = [
    Trifle::Renamed,
    Trifle::EventsEnd,
    Trifle::UnknownState,
    Trifle::Late,
    Trifle::Stalled,
    Trifle::Cut,
    Trifle::ListLags,
];

/// A call of the look that follows an event.
const LOOK: &str = "GET /containers/{}/json";

#[tokio::test(flavor = "multi_thread")]
async fn trifles_are_lived_through() {
    let rows = stream::iter(PROMOTED);
    rows.for_each_concurrent(AT_ONCE, |trifle| async move {
        let mut stage = Stage::set("").await;
        let (fake, engine) = (&stage.fake, &stage.fake.engine);
        let looked = fake.faults.calls().len();
        match trifle {
            Trifle::Renamed => {
                stage.green.push_str("-other");
                engine
                    .rename(&stage.green[..stage.green.len() - 6], &stage.green)
                    .unwrap();
            }
            Trifle::EventsEnd => engine.events.end(),
            Trifle::UnknownState => {
                let stopped = Fault::Twist("\"Status\":\"running\"", "\"Status\":\"stopped\"");
                fake.faults.on(LOOK, stopped, 4);
            }
            Trifle::Late => fake.faults.on(LOOK, Fault::Hang, 2),
            Trifle::Stalled => fake.faults.on(LOOK, Fault::Stall, 2),
            Trifle::Cut => fake.faults.on(LOOK, Fault::Cut, 3),
            Trifle::ListLags => fake.lag(true),
        }
        // An event of somebody else makes shifter look.
        engine.restart(&fake.named("stranger")).await;
        stage
            .shifter
            .until("it was looked at", |_| {
                fake.faults.calls().len() > looked + 2
            })
            .await;
        let service = stage.shifter.service().await;
        assert_eq!(
            service.weight_percent, 5.0,
            "{trifle:?}: {:?}",
            service.rollout
        );
        fake.mend();
        stage.promote(&format!("{trifle:?}")).await;
        let green = stage.green.clone();
        stage
            .shifter
            .until("it runs alone", |_| {
                fake.containers(false).contains(&green) && fake.containers(false).len() == 2
            })
            .await;
        stage.clear(&format!("{trifle:?}")).await;
    })
    .await;
}

/// The daemon is killed and its containers live on: nothing advances, nothing is lost; then it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_goes_away_holds_the_rollout() {
    let stage = Stage::set("").await;
    let (fake, shifter) = (&stage.fake, &stage.shifter);
    fake.go_away().await;
    connected(shifter, 0.0).await;
    let refused = shifter.verb("promote").await.unwrap_err().to_string();
    assert!(refused.contains("Docker does not answer"), "{refused}");
    let trouble = shifter.view().await.trouble.unwrap_or_default();
    assert!(trouble.contains("Is dockerd running"), "{trouble}");
    stage.load.more(100).await;
    assert_eq!(shifter.service().await.weight_percent, 5.0);
    fake.come_back();
    connected(shifter, 1.0).await;
    stage.promote("away").await;
    shifter
        .until("it runs alone", |_| {
            fake.made() == [stage.green.clone()] && fake.containers(false).len() == 2
        })
        .await;
    stage.clear("away").await;
}

/// A daemon that hangs is not asked to go back.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_daemon_does_not_hold_up_the_way_back() {
    let stage = Stage::set("").await;
    let (fake, shifter) = (&stage.fake, &stage.shifter);
    fake.freeze();
    let begun = Instant::now();
    shifter.verb("rollback").await.unwrap();
    assert_eq!(shifter.service().await.weight_percent, 0.0);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "stopped");
    assert_eq!(
        fake.made(),
        std::slice::from_ref(&stage.green),
        "nobody could be asked to stop it"
    );
    fake.mend();
    shifter
        .until("green is stopped", |_| fake.made().is_empty())
        .await;
    stage.clear("frozen").await;
}

/// Blue dies at 5 %: green has the users until blue is back, and nothing advances.
#[tokio::test(flavor = "multi_thread")]
async fn a_blue_that_dies_leaves_the_users_to_green() {
    let stage = Stage::set("").await;
    let (fake, shifter) = (&stage.fake, &stage.shifter);
    let blue = fake.named("blue");
    let degraded = |wanted: bool| {
        shifter.until("degraded or not", move |service| {
            service
                .rollout
                .as_ref()
                .is_some_and(|rollout| rollout.degraded == wanted)
        })
    };
    fake.engine.kill(&blue).await;
    degraded(true).await;
    stage.load.more(100).await;
    assert_eq!(shifter.service().await.weight_percent, 5.0);
    fake.engine.start(&blue).unwrap();
    degraded(false).await;
    shifter.verb("rollback").await.unwrap();
    assert_eq!(outcome_of(&shifter.phase("finished").await), "stopped");
    stage.clear("blue died").await;
}

async fn connected(shifter: &Shifter, wanted: f64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while shifter.metric("shifter_docker_connected").await != wanted {
        assert!(Instant::now() < deadline, "{}", shifter.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

//! Random walks: rollouts on an engine at which anything goes wrong at any call. What must hold, holds.

use crate::docker::fake::{brisk, users};
use crate::support::fake::faults::{Call, Fault};
use crate::support::fake::{Fake, Telling};
use crate::support::load::size;
use crate::support::shifter::{Shifter, phase_of};
use futures::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::{Duration, Instant};

/// Walks at once; most of their time they wait.
const AT_ONCE: usize = 4;

/// The longest that a rollout may take, and what is left of it to go.
const PATIENCE: Duration = Duration::from_secs(90);

const ROLLOUTS: usize = 2;

const IMAGES: [&str; 4] = ["app:green", "app:blue", "app:remote", "app:exits"];

const FAULTS: [Fault; 7] = [
    Fault::Refuse(500, "a fault of the engine's own"),
    Fault::Refuse(409, "Conflict, for a while"),
    Fault::Cut,
    Fault::Deaf,
    Fault::Slow(300),
    Fault::Twist("\"Status\":\"running\"", "\"Status\":\"stopped\""),
    Fault::Twist("\"Status\":\"created\"", "\"Status\":\"stopped\""),
];

/// Of a hundred calls, so many go wrong.
const RATES: [u32; 4] = [0, 2, 5, 15];

fn rule(mut chance: StdRng) -> impl FnMut(&Call) -> Option<Fault> + Send {
    let rate = RATES[chance.random_range(0..RATES.len())];
    move |_| {
        let hit = chance.random_ratio(rate, 100);
        hit.then(|| FAULTS[chance.random_range(0..FAULTS.len())])
    }
}

/// Something that is no fault of a call.
async fn happen(fake: &Fake, shifter: &Shifter, chance: &mut StdRng) -> &'static str {
    let service = shifter.service().await;
    match chance.random_range(0..6) {
        0 => {
            fake.engine.events.end();
            "the events end"
        }
        1 => {
            fake.engine.events.tell_them(Telling::Swapped);
            "events are swapped"
        }
        2 => {
            fake.engine.events.tell_them(Telling::Lost);
            "events are lost"
        }
        3 => {
            fake.engine.events.tell_them(Telling::Straight);
            "events are told"
        }
        4 => {
            fake.go_away().await;
            fake.come_back();
            "the daemon restarts"
        }
        // Blue serves for longer than this takes.
        _ if service.weight_percent == 5.0 => {
            let rollout = service.rollout.map_or(0, |rollout| rollout.id);
            let copy = ["", "-baseline"][chance.random_range(0..2)];
            let whom = format!("{}-{rollout}{copy}", fake.name);
            if fake.made().contains(&whom) {
                fake.engine.kill(&whom).await;
            }
            "green or its baseline is killed"
        }
        _ => "nothing",
    }
}

async fn walk(seed: u64) {
    let mut chance = StdRng::seed_from_u64(seed);
    let fake = Fake::start();
    let stranger = fake.run("stranger", "app:third", "always");
    let before = fake.inspect(&stranger);
    // Half of them with a copy of blue beside green.
    let control = ["", "control = \"baseline\"\nstep_deadline = \"20s\"\n"];
    let control = control[chance.random_range(0..control.len())];
    let keys = format!("{control}{}", brisk());
    let shifter = fake.with_blue(&keys).await;
    let load = users(shifter.proxy);
    let mut story = vec![];
    for _ in 0..ROLLOUTS {
        let image = IMAGES[chance.random_range(0..IMAGES.len())];
        accepted(&shifter, image).await;
        fake.faults
            .now(rule(StdRng::seed_from_u64(chance.random())));
        let begun = Instant::now();
        let mut next = begun;
        let end = loop {
            let service = shifter.service().await;
            if phase_of(&service) == "finished" {
                break service;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "seed {seed}: no end\n{story:#?}\n{}",
                shifter.log()
            );
            if Instant::now() >= next {
                next = Instant::now() + Duration::from_millis(chance.random_range(20..500));
                story.push(happen(&fake, &shifter, &mut chance).await.to_owned());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let rollout = end.rollout.unwrap();
        story.push(format!(
            "{image}: {:?} {:?}",
            rollout.outcome, rollout.reason
        ));
        // What is to be cleared away meets faults too.
        load.more(chance.random_range(0..150)).await;
    }
    fake.mend();
    one_serves(&fake, &shifter, &format!("seed {seed}\n{story:#?}")).await;
    load.more(100).await;
    let (seen, _) = load.stop().await;
    let lost = seen.failures.lock().unwrap().clone();
    assert_eq!(
        lost,
        [""; 0],
        "seed {seed}\n{story:#?}\n{}",
        shifter.notes().await
    );
    assert_eq!(fake.faults.rejected(), [""; 0], "seed {seed}");
    assert_eq!(fake.inspect(&stranger), before, "seed {seed}");
    only_its_own(&fake, seed);
    println!(
        "seed {seed}: {} requests, {} calls: {story:?}",
        seen.answered(),
        fake.faults.calls().len()
    );
}

/// Begins a rollout as soon as that is possible.
async fn accepted(shifter: &Shifter, image: &str) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = shifter.run_image(image).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Of ours the one that serves is left, or blue is.
async fn one_serves(fake: &Fake, shifter: &Shifter, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let service = shifter.service().await;
        let mut running = fake.containers(false);
        running.retain(|name| *name != fake.named("stranger"));
        let at: Vec<String> = running
            .iter()
            .map(|name| fake.address(name).to_string())
            .collect();
        let serving: Vec<_> = service
            .blue
            .backends
            .iter()
            .map(|one| one.address.clone())
            .collect();
        if at.len() == 1 && at == serving {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{running:?} run, {serving:?} serve; {what}\n{}",
            shifter.log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Nothing was asked of a container that shifter neither made nor replaced, and blue was not removed.
fn only_its_own(fake: &Fake, seed: u64) {
    for call in fake.faults.calls() {
        let rollout = call.whom.strip_prefix(&format!("{}-", fake.name));
        let made = rollout.is_some_and(|rest| {
            let number = rest.strip_suffix("-baseline").unwrap_or(rest);
            number.parse::<u32>().is_ok()
        });
        let blue = call.whom == fake.named("blue") && call.shape != "DELETE /containers/{}";
        let looked = call.shape.starts_with("GET ");
        assert!(
            made || blue || looked || call.whom.is_empty(),
            "seed {seed}: {call:?}"
        );
    }
}

/// `SHIFTER_FAKE_WALKS` asks for more of them, `SHIFTER_SEED` for one.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_every_rollout_ends_and_one_version_serves() {
    let first = size("SHIFTER_SEED", rand::random_range(0..1_000_000));
    let walks = if std::env::var("SHIFTER_SEED").is_ok() {
        1
    } else {
        size("SHIFTER_FAKE_WALKS", 4)
    };
    let seeds = stream::iter(first..first + walks);
    seeds.for_each_concurrent(AT_ONCE, walk).await;
}

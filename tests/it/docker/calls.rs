//! The calls that shifter makes to the engine: these and no others, and what it does when one fails.

use crate::support::client::get;
use crate::support::docker::Engine;
use crate::support::filter::{Fate, Filter, named};
use crate::support::load::Load;
use crate::support::shifter::{PATIENT, QUICK, STILL, outcome_of};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

fn only(calls: Vec<String>) -> impl Fn(&str) -> Fate + Send + 'static {
    move |call| {
        if calls.iter().any(|known| known == call) {
            Fate::Pass
        } else {
            Fate::Answer(403, "not in SECURITY.md")
        }
    }
}

/// A home that asks the engine through the filter.
fn through(engine: &Engine, filter: &Filter, keys: &str) -> crate::support::shifter::Home {
    let home = engine.home_of(keys);
    let text = std::fs::read_to_string(home.config()).unwrap();
    let text = text.replace(&engine.host(), &filter.host());
    std::fs::write(home.config(), text).unwrap();
    home
}

/// A whole life makes exactly the calls that SECURITY.md names.
#[tokio::test(flavor = "multi_thread")]
async fn the_calls_are_those_that_are_documented() {
    let engine = Engine::shared();
    let (front, back) = (engine.name.clone(), engine.named("back"));
    engine.docker(&["network", "create", &back]);
    engine.run("blue", "app:blue", &["--restart", "always"]);
    engine.docker(&["network", "connect", &back, &engine.named("blue")]);
    let calls = named("manage");
    let filter = Filter::before(&engine, only(calls.clone()));
    let home = through(
        &engine,
        &filter,
        &format!(
            "blue = {{ container = \"{}\", port = 3000, network = \"{front}\" }}\n{QUICK}{PATIENT}keep_blue = \"300ms\"\nkeep_green = \"0s\"\ncopy = {{ naming = \"fixed\" }}\nsmoke = [{{ exec = [\"/app\", \"check\"] }}, {{ image = \"app:third\", command = [\"check\", \"{{green}}\"] }}]\n",
            engine.named("blue")
        ),
    );
    let shifter = home.serve().await;
    let load = Load::on(home.proxy);
    for (image, outcome) in [
        ("app:green", "promoted"),
        ("registry.invalid/app:1", "never_fit"),
        ("app:exits", "never_fit"),
        ("app:blue", "promoted"),
    ] {
        shifter.run_image(image).await.unwrap();
        let end = shifter.phase("finished").await;
        assert_eq!(
            outcome_of(&end),
            outcome,
            "{image}: {}",
            shifter.notes().await
        );
    }
    shifter
        .until_within(Duration::from_secs(90), "all is cleared away", |_| {
            engine.containers(true).len() == 2
        })
        .await;
    load.stop_clean().await;
    // The sign of life is asked for when the events end, the network where pools are Swarm services, names move where
    // green's address stays (`docker::names`), and images go beyond `keep_images` (`docker::fake::images`).
    const ELSEWHERE: [&str; 4] = [
        "DELETE /images/{}",
        "GET /_ping",
        "GET /networks/{}",
        "POST /networks/{}/disconnect",
    ];
    let mut made = filter.calls();
    made.extend(ELSEWHERE.map(str::to_owned));
    made.sort();
    made.dedup();
    assert_eq!(made, calls, "the table of SECURITY.md");
    drop(shifter);
    for name in engine.containers(true) {
        engine.docker(&["rm", "-f", &name]);
    }
    engine.docker(&["network", "rm", &back]);
}

/// Two slots need nothing but looking.
#[tokio::test(flavor = "multi_thread")]
async fn slots_need_nothing_but_looking() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &[]);
    engine.run("green", "app:green", &[]);
    let calls = named("discover");
    let filter = Filter::before(&engine, only(calls.clone()));
    let slot = |color: &str| {
        let name = engine.named(color);
        format!("{color} = {{ container = \"{name}\", port = 3000 }}\n")
    };
    let keys = format!(
        "{}{}{QUICK}{PATIENT}keep_blue = \"300ms\"\n",
        slot("blue"),
        slot("green")
    );
    let home = through(&engine, &filter, &keys);
    let shifter = home.serve().await;
    let load = Load::on(home.proxy);
    // Right after a promotion the two have changed places, and right after a way back nothing new happens to green:
    // an order to run waits for the look, and is not refused.
    shifter.client.run(None, &Default::default()).await.unwrap();
    shifter.verb("abort").await.unwrap();
    shifter.phase("finished").await;
    for release in ["app:green", "app:blue"] {
        shifter.client.run(None, &Default::default()).await.unwrap();
        let end = shifter.phase("finished").await;
        assert_eq!(outcome_of(&end), "promoted");
        assert_eq!(end.blue.release, release);
    }
    load.stop_clean().await;
    for call in filter.calls() {
        assert!(calls.contains(&call), "{call}");
    }
    assert_eq!(engine.containers(false).len(), 2);
}

/// Answers of an engine that cannot: no user notices, and the message says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_refuses_is_told_and_nobody_notices() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &[]);
    let filter = Filter::before(&engine, |_| Fate::Pass);
    let blue = format!(
        "blue = {{ container = \"{}\", port = 3000 }}\n",
        engine.named("blue")
    );
    let home = through(&engine, &filter, &format!("{blue}{STILL}{PATIENT}"));
    let shifter = home.serve().await;
    let load = Load::on(home.proxy);
    let cases = [
        (
            "POST /containers/create",
            403,
            "<html>403 Forbidden</html>",
            "allow that call there",
        ),
        (
            "POST /containers/create",
            500,
            "no space left on device",
            "no space left on device",
        ),
        (
            "POST /containers/{}/start",
            500,
            "driver failed: port is already allocated",
            "port is already allocated",
        ),
        (
            "POST /containers/{}/start",
            500,
            "no space left on device",
            "no space left on device",
        ),
        (
            "GET /images/{}/json",
            500,
            "layer does not exist",
            "layer does not exist",
        ),
    ];
    for (broken, status, message, told) in cases {
        filter.now(move |call| {
            if call == broken {
                Fate::Answer(status, message)
            } else {
                Fate::Pass
            }
        });
        shifter.run_image("app:green").await.unwrap();
        let end = shifter.phase("finished").await;
        assert_eq!(outcome_of(&end), "never_fit");
        let reason = end.rollout.unwrap().reason.unwrap();
        println!("{broken} {status} {message}: {reason}");
        assert!(reason.contains(told), "{broken} {status}: {reason}");
        filter.now(|_| Fate::Pass);
        shifter
            .until("nothing of it is left", |_| {
                engine.containers(true).len() == 1
            })
            .await;
    }
    let (seen, _) = load.stop_clean().await;
    assert_eq!(seen.green.load(Relaxed), 0);
}

/// A disk that fills while green has a share: nothing needs the engine to go back, and blue is never stopped.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_hangs_does_not_hold_up_the_way_back() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &[]);
    let filter = Filter::before(&engine, |_| Fate::Pass);
    let blue = format!(
        "blue = {{ container = \"{}\", port = 3000 }}\n",
        engine.named("blue")
    );
    let home = through(&engine, &filter, &format!("{blue}{STILL}{PATIENT}"));
    let shifter = home.serve().await;
    shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    let load = Load::on(home.proxy);
    filter.now(|_| Fate::Hang);
    let begun = Instant::now();
    shifter.verb("rollback").await.unwrap();
    let took = begun.elapsed();
    assert_eq!(shifter.service().await.weight_percent, 0.0);
    assert!(took < Duration::from_millis(500), "{took:?}");
    load.more(1_000).await;
    filter.now(|_| Fate::Pass);
    shifter.phase("finished").await;
    shifter
        .until_within(Duration::from_secs(60), "green is stopped", |_| {
            engine.containers(false).len() == 1
        })
        .await;
    load.stop_clean().await;
}

/// No engine, no permission, no socket: what is not there is told, and shifter serves what it can.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_not_there_is_told() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &[]);
    let filter = Filter::before(&engine, |_| Fate::Pass);
    let blue = format!(
        "blue = {{ container = \"{}\", port = 3000 }}\n",
        engine.named("blue")
    );
    let home = through(&engine, &filter, &format!("{blue}{STILL}{PATIENT}"));
    let shifter = home.serve().await;
    assert_eq!(get(home.proxy, "/", "").await.unwrap().status, 200);
    drop(shifter);
    // Blue lives and the engine does not answer: it is served where it was last seen.
    filter.now(|_| Fate::Answer(500, "starting"));
    let shifter = home.serve().await;
    assert_eq!(get(home.proxy, "/", "").await.unwrap().status, 200);
    let refused = shifter
        .run_image("app:green")
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("Docker could not"), "{refused}");
    let trouble = shifter.view().await.trouble.unwrap_or_default();
    assert!(trouble.contains("Docker could not"), "{trouble}");
    assert!(home.log().contains("nothing advances"), "{}", home.log());
    filter.now(|_| Fate::Pass);
    let begun = Instant::now();
    while shifter.run_image("app:green").await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(15), "{}", home.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shifter.share(5.0).await;
}

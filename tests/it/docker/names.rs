//! Names on the network of a real engine: an app that asks for them finds the service during a whole rollout, and after it.

use crate::support::docker::Engine;
use crate::support::load::Load;
use crate::support::shifter::{PATIENT, STILL, outcome_of};

/// What the client was told of a name: how many addresses, each time that this was news.
fn told(log: &str, name: &str) -> Vec<usize> {
    let lines = log
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    lines.map(|count| count.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_the_network_for_blues_names_finds_the_service_after_a_promotion() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &["--network-alias", "backend"]);
    let (blue, client) = (engine.named("blue"), engine.named("client"));
    let run = [
        "run",
        "-d",
        "--name",
        &client,
        "--network",
        &engine.name,
        "app:third",
        "ask",
    ];
    engine.docker(&[&run[..], &[&blue, "backend"]].concat());
    let shifter = engine
        .home(&format!("{STILL}{PATIENT}keep_blue = \"1s\"\n"))
        .serve()
        .await;
    let load = Load::paced(shifter.proxy, 300.0);
    let rollout = shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    let log = || engine.docker(&["logs", &client]);
    let green = format!("{}-{rollout}", engine.name);
    let before = engine.address(&green);
    assert_eq!(
        told(&log(), "backend"),
        [1],
        "blue's alone before the promotion"
    );
    // To all users, and then for good.
    shifter.verb("promote").await.unwrap();
    shifter.share(100.0).await;
    shifter.verb("promote").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
    shifter
        .until("blue is stopped", |_| {
            let mut left = vec![client.clone(), green.clone()];
            left.sort();
            engine.containers(false) == left
        })
        .await;
    load.more(200).await;
    let (seen, _) = load.stop_clean().await;
    let log = log();
    for name in ["backend", blue.as_str()] {
        assert_eq!(
            told(&log, name),
            [1, 2, 1],
            "never without an answer: {log}"
        );
    }
    assert_eq!(engine.address(&green), before);
    println!(
        "{} requests over the rollout: 0 lost; {}",
        seen.answered(),
        log.replace('\n', ", ")
    );
}

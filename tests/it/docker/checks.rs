//! What is looked at before users are let in: by a container beside green, and by people who read the plan.

use crate::support::client::{Client, UPGRADE};
use crate::support::docker::Engine;
use crate::support::load::Load;
use crate::support::shifter::{PATIENT, QUICK, STILL, outcome_of};
use std::sync::atomic::Ordering::Relaxed;

/// Row 7: a container on green's network looks at it, once for each member, and is gone afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn row_07_a_check_from_a_container_beside_green() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &[]);
    let keys = |command: &str| {
        format!(
            "blue = {{ container = \"{}\", port = 3000 }}\ncopy = {{ replicas = 2 }}\nkeep_blue = \"1s\"\n\
             smoke = [{{ image = \"app:third\", command = {command} }}]\n{QUICK}{PATIENT}",
            engine.named("blue"),
        )
    };
    let home = engine.home_of(&keys("[\"check\", \"{green}\"]"));
    let shifter = home.serve().await;
    let load = Load::on(shifter.proxy);
    shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted", "{end:?}");
    let notes = shifter.notes().await;
    assert!(notes.contains("smoke checks: 2 of 2 passed"), "{notes}");

    engine.configure(&home, &keys("[\"fail\"]"));
    shifter.client.reload().await.unwrap();
    let third = load.seen.green.load(Relaxed);
    shifter.run_image("app:third").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "never_fit");
    let reason = end.rollout.unwrap().reason.unwrap();
    for part in ["app:third fail", "exit code 1", "this check always fails"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    load.stop_clean().await;
    assert!(third > 0, "the first one was served");
    let all = engine.containers(true);
    assert!(!all.iter().any(|name| name.contains("check")), "{all:?}");
}

/// Row 33: the plan says what does not move with the requests: open sockets, volumes, sessions.
#[tokio::test(flavor = "multi_thread")]
async fn row_33_the_plan_lists_what_lives_in_blue() {
    let engine = Engine::shared();
    let volume = format!("{}:/data", engine.named("data"));
    engine.run("blue", "app:blue", &["-v", &volume, "-v", "/scratch"]);
    let home = engine.home(STILL);
    let plan = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_shifter"));
        command.args(["plan", "--config"]).arg(home.config());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let before = plan();
    assert!(
        before.contains("start shifter, which counts them"),
        "{before}"
    );
    let shifter = home.serve().await;
    let mut open = vec![];
    for _ in 0..7 {
        let mut client = Client::connect(shifter.proxy).await;
        assert_eq!(client.get("/", UPGRADE).await.unwrap().status, 101);
        open.push(client);
    }
    shifter
        .until("they are counted", |service| service.blue.upgraded == 7)
        .await;
    let text = plan();
    let named = format!("/data ({}) is written by both", engine.named("data"));
    for part in [
        "7 WebSockets",
        &named,
        "/scratch is an anonymous volume",
        "no stickiness",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
        println!("{}", text.lines().find(|line| line.contains(part)).unwrap());
    }
    drop(open);
    drop(shifter);
    engine.docker(&["rm", "-f", "-v", &engine.named("blue")]);
    engine.docker(&["volume", "rm", &engine.named("data")]);
}

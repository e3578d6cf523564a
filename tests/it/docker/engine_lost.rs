//! The engine goes away and comes back; shifter is killed in between.

use crate::support::client::get;
use crate::support::docker::Engine;
use crate::support::load::{Load, Plan};
use crate::support::shifter::{PATIENT, QUICK, STILL, Shifter, signal};
use std::time::{Duration, Instant};

/// B1, with live-restore: containers live on without the daemon. Nothing is lost, nothing advances,
/// going back works; and when it is back the rollout goes on.
#[tokio::test(flavor = "multi_thread")]
async fn b1_a_killed_daemon_holds_the_rollout_and_loses_nothing() {
    let engine = Engine::own("--live-restore");
    let shifter = engine
        .with_blue(&format!("{STILL}{PATIENT}keep_blue = \"1s\"\n"))
        .await;
    shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    let load = Load::start(
        shifter.proxy,
        Plan {
            connections: 8,
            rate: Some(400.0),
            ..Plan::default()
        },
    );
    load.more(200).await;
    signal(engine.pid(), "KILL");
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(20);
    while shifter.metric("shifter_docker_connected").await == 1.0 {
        assert!(Instant::now() < deadline, "nobody noticed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("noticed after {:?}", begun.elapsed());
    let refused = shifter.verb("promote").await.unwrap_err().to_string();
    assert!(refused.contains("Docker does not answer"), "{refused}");
    load.more(800).await;
    assert_eq!(shifter.service().await.weight_percent, 5.0);
    engine.start();
    shifter
        .until_within(Duration::from_secs(60), "it is seen again", |_| true)
        .await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while shifter.metric("shifter_docker_connected").await == 0.0 {
        assert!(Instant::now() < deadline, "{}", shifter.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    load.more(400).await;
    assert_eq!(
        shifter.service().await.weight_percent,
        5.0,
        "{}",
        shifter.notes().await
    );
    // A daemon that hangs: going back does not ask it.
    signal(engine.pid(), "STOP");
    shifter.verb("rollback").await.unwrap();
    assert_eq!(shifter.service().await.weight_percent, 0.0);
    load.more(200).await;
    signal(engine.pid(), "CONT");
    let (seen, _) = load.stop_clean().await;
    println!(
        "{} requests while the daemon was killed and frozen: 0 lost",
        seen.answered()
    );
    shifter
        .until_within(Duration::from_secs(60), "green is stopped", |_| {
            engine.containers(false) == [engine.named("blue")]
        })
        .await;
}

/// The engine ends, and its containers with it, and both begin anew; until the service is there again.
async fn restart(engine: &Engine, shifter: &Shifter) {
    signal(engine.pid(), "TERM");
    shifter
        .until_within(Duration::from_secs(60), "nobody serves", |_| {
            std::os::unix::net::UnixStream::connect(engine.socket()).is_err()
        })
        .await;
    engine.start();
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(30);
    let ask = || get(shifter.proxy, "/", "");
    while ask().await.map(|answer| answer.status).unwrap_or(0) != 200 {
        assert!(Instant::now() < deadline, "{}", shifter.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!(
        "served again {:?} after the daemon's start",
        begun.elapsed()
    );
}

/// Without live-restore the containers go too and come back with other addresses: so does the service. What was promoted comes back, and
/// not the old version that is still warm.
#[tokio::test(flavor = "multi_thread")]
async fn b1_a_restarted_daemon_brings_the_service_back() {
    let engine = Engine::own("");
    let shifter = engine
        .with_blue(&format!("{QUICK}{PATIENT}keep_blue = \"1h\"\n"))
        .await;
    restart(&engine, &shifter).await;
    let load = Load::on(shifter.proxy);
    let rollout = shifter.run_image("app:green").await.unwrap();
    shifter.phase("promoted").await;
    load.stop_clean().await;
    let green = format!("{}-{rollout}", engine.name);
    let policy = "{{.HostConfig.RestartPolicy.Name}}";
    shifter
        .until("green is restarted as blue was", |_| {
            engine.inspect(&green, policy) == "unless-stopped"
        })
        .await;
    restart(&engine, &shifter).await;
    let answer = get(shifter.proxy, "/", "").await.unwrap();
    assert_eq!(
        answer.header("x-app-version"),
        Some("green"),
        "{}",
        shifter.log()
    );
    assert_eq!(shifter.service().await.weight_percent, 100.0);
}

/// Row 46: shifter is killed at every point of a rollout with containers. It goes on or goes back,
/// there are never two greens, and what it did not make is never touched.
#[tokio::test(flavor = "multi_thread")]
async fn row_46_killed_at_every_point_of_a_rollout() {
    const POINTS: [&str; 9] = [
        "begin.before-save",
        "begin.after-save",
        "act.before-save",
        "act.after-save",
        "act.before-publish",
        "act.after-publish",
        "swap.before-save",
        "swap.after-save",
        "end.after-save",
    ];
    let engine = Engine::shared();
    engine.run("stranger", "app:third", &[]);
    engine.run("blue", "app:blue", &[]);
    let home = engine.home(&format!("{QUICK}{PATIENT}keep_blue = \"300ms\"\n"));
    let mut survived = 0;
    for (n, point) in POINTS.into_iter().enumerate() {
        for pass in [1, 3] {
            let mut command = home.command(&["serve"]);
            command.env("SHIFTER_CRASH_AT", format!("{point}:{pass}"));
            let mut doomed = home.spawn(&mut command);
            doomed.answers().await;
            let load = Load::start(
                home.proxy,
                Plan {
                    breaks_allowed: true,
                    proxy_errors_allowed: true,
                    connections: 4,
                    rate: Some(300.0),
                    ..Plan::default()
                },
            );
            let image = ["app:green", "app:blue"][n % 2];
            let _ = home.run_image(image).await;
            let deadline = Instant::now() + Duration::from_secs(15);
            let crashed = loop {
                if doomed.child.try_wait().unwrap().is_some() {
                    break true;
                }
                let done = home.client.status().await.is_ok_and(|view| {
                    crate::support::shifter::phase_of(&view.services[0]) == "finished"
                });
                if done || Instant::now() > deadline {
                    break false;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            doomed.kill();
            drop(doomed);
            survived += u32::from(crashed);
            let shifter = home.serve().await;
            shifter
                .until_within(
                    Duration::from_secs(30),
                    "it ends, and one serves",
                    |service| {
                        let over = service
                            .rollout
                            .as_ref()
                            .is_none_or(|rollout| rollout.phase == "finished");
                        let running = engine.containers(false);
                        assert!(running.len() <= 3, "two greens: {running:?}");
                        assert!(running.contains(&engine.named("stranger")));
                        over && running.len() == 2
                    },
                )
                .await;
            let answer = crate::support::client::get(home.proxy, "/", "")
                .await
                .unwrap();
            assert_eq!(answer.status, 200, "{point}:{pass}");
            load.stop().await;
            drop(shifter);
        }
    }
    println!("{survived} crashes at {} points", POINTS.len());
    assert!(
        survived >= 12,
        "{survived}: do the points still have these names?"
    );
}

/// The same at moments that nobody chose: also while containers are made, started and stopped.
#[tokio::test(flavor = "multi_thread")]
async fn row_46_killed_at_random_moments() {
    let engine = Engine::shared();
    engine.run("stranger", "app:third", &[]);
    engine.run("blue", "app:blue", &[]);
    let home = engine.home(&format!("{QUICK}{PATIENT}keep_blue = \"300ms\"\n"));
    let kills = crate::support::load::size("SHIFTER_RANDOM_KILLS", 8);
    for n in 0..kills {
        let mut doomed = home.serve().await;
        let load = Load::start(
            home.proxy,
            Plan {
                breaks_allowed: true,
                proxy_errors_allowed: true,
                connections: 4,
                rate: Some(300.0),
                ..Plan::default()
            },
        );
        let image = ["app:green", "app:blue"][n as usize % 2];
        home.run_image(image).await.unwrap();
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..6_000))).await;
        doomed.kill();
        drop(doomed);
        let shifter = home.serve().await;
        shifter
            .until_within(
                Duration::from_secs(30),
                "it ends, and one serves",
                |service| {
                    let rollout = service.rollout.as_ref();
                    let over = rollout.is_none_or(|rollout| rollout.phase == "finished");
                    let running = engine.containers(false);
                    assert!(running.len() <= 3, "two greens: {running:?}");
                    assert!(running.contains(&engine.named("stranger")));
                    over && running.len() == 2
                },
            )
            .await;
        let answer = crate::support::client::get(home.proxy, "/", "")
            .await
            .unwrap();
        assert_eq!(answer.status, 200);
        load.stop().await;
        drop(shifter);
    }
    println!("{kills} kills at random moments");
}

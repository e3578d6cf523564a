//! What goes wrong with containers: what users saw, how it ended, what was said.

use crate::support::docker::Engine;
use crate::support::load::{Load, Plan, quantile, size};
use crate::support::shifter::{PATIENT, QUICK, STILL, Shifter, outcome_of};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

fn still() -> String {
    format!("{STILL}{PATIENT}keep_blue = \"1s\"\n")
}

/// The reason of the last rollout.
async fn reason(shifter: &Shifter) -> String {
    let rollout = shifter.service().await.rollout.unwrap();
    rollout.reason.unwrap_or_default()
}

/// Images that cannot become a green: it never gets a user, and the message says why.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_is_given_up_with_the_reason() {
    let engine = Engine::shared();
    let shifter = engine.with_blue(&still()).await;
    let load = Load::on(shifter.proxy);
    let cases = [
        (
            "app:exits",
            "exited with code 3",
            "refusing to start: told to exit with 3",
        ),
        ("app:broken", "no-such-program", ""),
        ("registry.invalid/app:1.0", "could not be fetched", ""),
    ];
    for (image, why, note) in cases {
        let begun = Instant::now();
        shifter.run_image(image).await.unwrap();
        let end = shifter.phase("finished").await;
        let took = begun.elapsed();
        assert_eq!(outcome_of(&end), "never_fit", "{image}");
        let reason = reason(&shifter).await;
        println!("{image}: after {took:?}: {reason}");
        assert!(reason.contains(why), "{image}: {reason}");
        shifter
            .until("nothing of it runs", |_| {
                engine.containers(false).len() == 1
            })
            .await;
        if !note.is_empty() {
            let deadline = Instant::now() + Duration::from_secs(5);
            while !shifter.notes().await.contains(note) {
                assert!(Instant::now() < deadline, "{}", shifter.notes().await);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        assert!(took < Duration::from_secs(10), "{image}: {took:?}");
    }
    let (seen, _) = load.stop_clean().await;
    assert_eq!(seen.green.load(Relaxed), 0);
}

/// Somebody else's container has the name: it is left alone, and named.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_left_to_its_owner() {
    let engine = Engine::shared();
    let shifter = engine.with_blue(&still()).await;
    let theirs = engine.run("1", "app:third", &[]);
    shifter.run_image("app:green").await.unwrap();
    shifter.phase("finished").await;
    let reason = reason(&shifter).await;
    assert!(
        reason.contains(&theirs[..12]) && reason.contains("did not make"),
        "{reason}"
    );
    assert_eq!(engine.inspect(&theirs, "{{.State.Running}}"), "true");
}

/// B7: green's container is killed at a share: back at once, and no user notices.
#[tokio::test(flavor = "multi_thread")]
async fn b7_a_killed_green_is_an_event_of_the_rollout() {
    a_killed_green_is_an_event_of_the_rollout(Engine::shared()).await;
}

pub(super) async fn a_killed_green_is_an_event_of_the_rollout(engine: Engine) {
    let shifter = engine.with_blue(&still()).await;
    let rounds = size("SHIFTER_KILLS", 6);
    let mut times = vec![];
    let load = Load::start(
        shifter.proxy,
        Plan {
            connections: 8,
            rate: Some(400.0),
            ..Plan::default()
        },
    );
    for round in 0..rounds {
        let percent = [5, 50, 100][round as usize % 3];
        let rollout = shifter.run_image("app:green").await.unwrap();
        let green = format!("{}-{rollout}", engine.name);
        shifter.share(5.0).await;
        shifter.weigh(percent).await;
        let before = load.seen.green.load(Relaxed);
        load.more(200).await;
        assert!(load.seen.green.load(Relaxed) > before, "green has users");
        engine.docker(&["kill", &green]);
        // When the engine says that it died, to when nothing new goes there.
        let finished = engine.inspect(&green, "{{.State.FinishedAt}}");
        shifter
            .until("it is back", |service| service.weight_percent == 0.0)
            .await;
        let notes = shifter.client.notes(0, rollout).await.unwrap();
        let back = notes.iter().find(|note| note.kind == "verdict").unwrap();
        // Docker says so after some 150 ms; by then the checks may have seen it.
        let known = ["exited with code 137", "no backend of green is healthy"];
        let told = known.iter().any(|text| back.text.contains(text));
        assert!(told, "{}", back.text);
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let took = at(&back.at).duration_since(at(&finished));
        times.push(Duration::try_from(took).unwrap_or_default());
        let end = shifter.phase("finished").await;
        assert_eq!(outcome_of(&end), "rolled_back");
    }
    let (seen, _) = load.stop_clean().await;
    println!(
        "{rounds} killed greens, {} requests: 0 lost; from its end to weight 0: p50 {:?}, p99 {:?}",
        seen.answered(),
        quantile(&mut times, 0.5),
        quantile(&mut times, 0.99)
    );
}

/// B6: a green that hangs is found by its checks, and taken off.
#[tokio::test(flavor = "multi_thread")]
async fn b6_a_green_that_is_frozen_is_taken_off() {
    let engine = Engine::shared();
    let shifter = engine.with_blue(&still()).await;
    let rollout = shifter.run_image("app:green").await.unwrap();
    let green = format!("{}-{rollout}", engine.name);
    shifter.share(5.0).await;
    engine.docker(&["pause", &green]);
    let begun = Instant::now();
    let end = shifter
        .until("it is back", |service| service.weight_percent == 0.0)
        .await;
    println!("paused green: back after {:?}", begun.elapsed());
    let reason = end.rollout.unwrap().reason.unwrap();
    assert!(reason.contains("was paused"), "{reason}");
}

/// A green that eats all its memory is killed by the kernel, and the message says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_is_killed_for_want_of_memory_is_told_so() {
    let engine = Engine::shared();
    engine.run(
        "blue",
        "app:blue",
        &["--memory", "64m", "--memory-swap", "64m"],
    );
    let shifter = engine.home(&still()).serve().await;
    let rollout = shifter.run_image("app:green").await.unwrap();
    let green = format!("{}-{rollout}", engine.name);
    shifter.share(5.0).await;
    let limit = engine.inspect(&green, "{{.HostConfig.Memory}}");
    assert_eq!(limit, "67108864");
    let _ = crate::support::client::get(engine.address(&green), "/mem", "").await;
    shifter
        .until("it is back", |service| service.weight_percent == 0.0)
        .await;
    // The checks may have been quicker than the engine; and where others wait for the disk, the kernel reads the program
    // in again and again before it gives up.
    let deadline = Instant::now() + Duration::from_secs(120);
    while !(reason(&shifter).await + &shifter.notes().await).contains("OOM") {
        assert!(Instant::now() < deadline, "{}", shifter.notes().await);
    }
}

/// A green whose memory grows without end is told long before the kernel ends it, and goes on being judged.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_leaks_is_told_before_it_dies() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &["--memory", "512m"]);
    // It is looked at once a second, so that there are enough looks within the first share.
    let steps = "steps = [{ weight = 5, hold = \"30s\", deadline = \"1h\" }, { weight = 100, hold = \"1h\", deadline = \"1h\" }]\non_inconclusive = \"hold\"\n";
    let keys = format!("{steps}{PATIENT}keep_blue = \"1s\"\n");
    let shifter = engine.home(&keys).serve().await;
    let rollout = shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    let green = engine.address(&format!("{}-{rollout}", engine.name));
    let deadline = Instant::now() + Duration::from_secs(150);
    while !shifter.notes().await.contains("green's memory grows by ") {
        assert!(Instant::now() < deadline, "{}", shifter.notes().await);
        let _ = crate::support::client::get(green, "/leak", "").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let notes = shifter.notes().await;
    let told = notes.lines().find(|line| line.contains("memory grows"));
    println!("{}", told.unwrap_or_default());
    assert!(
        notes.contains("its limit of 537 MB is reached in "),
        "{notes}"
    );
    assert_eq!(
        shifter.service().await.weight_percent,
        5.0,
        "a warning, no verdict"
    );
}

/// B8: blue dies while green has a share: users are served by green, nothing advances, blue's return ends it.
#[tokio::test(flavor = "multi_thread")]
async fn b8_blue_dies_and_green_keeps_the_users() {
    let engine = Engine::shared();
    let shifter = engine.with_blue(&format!("{QUICK}{PATIENT}keep_blue = \"1s\"\non_inconclusive = \"hold\"\nconfidence = 0.999\nerror_margin = \"0.001pp\"\n")).await;
    let blue = engine.named("blue");
    shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    shifter.verb("pause").await.unwrap();
    let load = Load::start(
        shifter.proxy,
        Plan {
            rate: Some(300.0),
            connections: 8,
            ..Plan::default()
        },
    );
    load.more(200).await;
    engine.docker(&["kill", &blue]);
    shifter
        .until("degraded", |service| {
            service
                .rollout
                .as_ref()
                .is_some_and(|rollout| rollout.degraded)
        })
        .await;
    shifter.verb("resume").await.unwrap();
    load.more(600).await;
    let service = shifter.service().await;
    assert_eq!(
        service.weight_percent, 5.0,
        "nothing advances: {:?}",
        service.rollout
    );
    engine.docker(&["start", &blue]);
    shifter
        .until("blue is back", |service| {
            service
                .rollout
                .as_ref()
                .is_some_and(|rollout| !rollout.degraded)
        })
        .await;
    let (seen, _) = load.stop_clean().await;
    println!("blue died at 5 %: {} requests, 0 lost", seen.answered());
}

/// B9: both die: users get 503 at once, and are served as soon as one is back.
#[tokio::test(flavor = "multi_thread")]
async fn b9_both_die_and_come_back() {
    let engine = Engine::shared();
    let shifter = engine.with_blue(&still()).await;
    let rollout = shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    let (blue, green) = (engine.named("blue"), format!("{}-{rollout}", engine.name));
    engine.docker(&["kill", &blue, &green]);
    shifter
        .until("nobody serves", |service| service.blue.backends.is_empty())
        .await;
    let ask = || crate::support::client::get(shifter.proxy, "/", "");
    let begun = Instant::now();
    let answer = ask().await.unwrap();
    assert_eq!(answer.status, 503);
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    engine.docker(&["start", &blue]);
    let begun = Instant::now();
    while ask().await.unwrap().status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("served again {:?} after blue's start", begun.elapsed());
}

/// B2: two containers swap their addresses; nobody is answered by the wrong one.
#[tokio::test(flavor = "multi_thread")]
async fn b2_addresses_that_are_swapped_lead_nobody_astray() {
    let engine = Engine::shared();
    let shifter = engine.with_blue(&still()).await;
    let blue = engine.named("blue");
    engine.run("other", "app:green", &[]);
    let other = engine.named("other");
    let load = Load::start(
        shifter.proxy,
        Plan {
            connections: 8,
            rate: Some(400.0),
            breaks_allowed: true,
            proxy_errors_allowed: true,
            ..Plan::default()
        },
    );
    let rounds = size("SHIFTER_SWAPS", 4);
    let mut swapped = 0;
    for _ in 0..rounds {
        let before = engine.address(&blue);
        engine.docker(&["stop", "-t", "1", &blue, &other]);
        // The first to start takes the lowest free address.
        engine.docker(&["start", &other]);
        engine.docker(&["start", &blue]);
        swapped += u64::from(engine.address(&blue) != before);
        let answered = load.seen.blue.load(Relaxed);
        shifter
            .until("blue serves", |_| {
                load.seen.blue.load(Relaxed) > answered + 100
            })
            .await;
    }
    let (seen, _) = load.stop().await;
    println!(
        "{rounds} restarts, {swapped} swaps: {} answers of blue, {} of a stranger",
        seen.blue.load(Relaxed),
        seen.green.load(Relaxed)
    );
    assert!(swapped > 0, "the addresses did not move");
    assert_eq!(seen.green.load(Relaxed), 0, "a stranger answered");
}

/// A green that loses its network has lost its users too.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_without_its_network_is_taken_off() {
    let engine = Engine::shared();
    let shifter = engine.with_blue(&still()).await;
    let rollout = shifter.run_image("app:green").await.unwrap();
    let green = format!("{}-{rollout}", engine.name);
    shifter.share(5.0).await;
    let load = Load::paced(shifter.proxy, 300.0);
    load.more(300).await;
    engine.docker(&["network", "disconnect", &engine.name, &green]);
    let begun = Instant::now();
    let end = shifter
        .until("it is back", |service| service.weight_percent == 0.0)
        .await;
    println!("disconnected: back after {:?}", begun.elapsed());
    let reason = end.rollout.unwrap().reason.unwrap();
    let known = ["docker network connect", "no backend of green is healthy"];
    assert!(known.iter().any(|text| reason.contains(text)), "{reason}");
    load.more(300).await;
    // What was in green's hands is in nobody's: no reset comes out of a network that is gone.
    let (seen, _) = load.stop().await;
    println!("{} of {} lost", seen.failed(), seen.answered());
    assert!(seen.failed() <= 4, "{:?}", seen.failures.lock().unwrap());
    engine.docker(&["rm", "-f", &green]);
}

/// The two signals that a container was sent last, and when, in nanoseconds.
fn signals(engine: &Engine, name: &str) -> [(u64, String); 2] {
    let of = format!("container={name}");
    // Up to the end of this second: the engine counts no smaller ones here.
    let until = (jiff::Timestamp::now().as_second() + 1).to_string();
    let format = "{{.TimeNano}} {{.Actor.Attributes.signal}}";
    let told = engine.docker(&[
        "events",
        "--since",
        "5m",
        "--until",
        &until,
        "--filter",
        &of,
        "--filter",
        "event=kill",
        "--format",
        format,
    ]);
    let mut signals: Vec<(u64, String)> = told
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(at, signal)| (at.parse().unwrap(), signal.to_owned()))
        .collect();
    signals.sort();
    signals.try_into().unwrap()
}

/// B10: an old version that ignores SIGTERM is given its own time to stop, not the shorter one of `drain`, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn b10_an_old_version_that_does_not_stop_is_killed_after_its_time() {
    let engine = Engine::shared();
    let own = ["-e", "IGNORE_TERM=1", "--stop-timeout", "4"];
    engine.run("blue", "app:blue", &own);
    let keys = format!("drain = \"1s\"\n{QUICK}{PATIENT}keep_blue = \"300ms\"\n");
    let home = engine.home(&keys);
    let text = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), text.replacen("drain = \"5s\"\n", "", 1)).unwrap();
    let shifter = home.serve().await;
    let load = Load::on(shifter.proxy);
    // Green inherits the variable; it is not stopped here.
    shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted", "{}", shifter.notes().await);
    let blue = engine.named("blue");
    shifter
        .until("blue is stopped", |_| {
            engine.inspect(&blue, "{{.State.Running}}") == "false"
        })
        .await;
    assert_eq!(engine.inspect(&blue, "{{.State.ExitCode}}"), "137");
    let [(term, first), (kill, second)] = signals(&engine, &blue);
    assert_eq!([first.as_str(), second.as_str()], ["15", "9"]);
    let waited = Duration::from_nanos(kill - term);
    println!("killed {waited:?} after SIGTERM");
    assert!(waited >= Duration::from_secs(4), "{waited:?}");
    load.stop_clean().await;
}

//! What people do by hand for a blue-green deployment with Docker, row by row, done by shifter.

use crate::support::client::get;
use crate::support::docker::Engine;
use crate::support::load::{Load, Plan};
use crate::support::shifter::{PATIENT, QUICK, STILL, outcome_of, phase_of};
use shifter::admin::body::RunRequest;
use shifter::core::plan::Strategy;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const FAST: &str = "keep_blue = \"1s\"\n";

fn quick() -> String {
    format!("{QUICK}{PATIENT}{FAST}")
}

fn still() -> String {
    format!("{STILL}{PATIENT}{FAST}")
}

/// What an app answers to users, by itself.
async fn users(engine: &Engine, name: &str) -> u64 {
    let answer = get(engine.address(name), "/users", "").await.unwrap();
    answer.body.parse().unwrap()
}

/// Row 1: a green on another network is refused, with the names of both and the remedy.
#[tokio::test(flavor = "multi_thread")]
async fn row_01_a_green_that_cannot_be_reached_is_refused() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &[]);
    let other = engine.named("other");
    engine.docker(&["network", "create", &other]);
    let green = engine.named("green");
    engine.docker(&[
        "run",
        "-d",
        "--name",
        &green,
        "--network",
        &other,
        "app:green",
    ]);
    let slot = |color: &str| {
        format!(
            "{color} = {{ container = \"{}\", port = 3000, network = \"{}\" }}\n",
            engine.named(color),
            engine.name
        )
    };
    let home = engine.home_of(&format!("{}{}{}", slot("blue"), slot("green"), quick()));
    let _shifter = home.serve().await;
    let refused = home
        .client
        .run(None, &RunRequest::default())
        .await
        .unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains(&other) && text.contains(&engine.name),
        "{text}"
    );
    assert!(
        text.contains(&format!("docker network connect {} {green}", engine.name)),
        "{text}"
    );
    // As the message says.
    engine.docker(&["network", "connect", &engine.name, &green]);
    let load = Load::on(home.proxy);
    home.until("green is seen", |_| true).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while home.client.run(None, &RunRequest::default()).await.is_err() {
        assert!(Instant::now() < deadline, "{}", home.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let end = home.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted");
    load.stop_clean().await;
    assert_eq!(
        engine.containers(false).len(),
        2,
        "slots are somebody else's to stop"
    );
    drop(_shifter);
    engine.docker(&["rm", "-f", &green]);
    engine.docker(&["network", "rm", &other]);
}

/// Rows 2, 3, 4, 6: blue is adopted as it runs and has everything; green boots unseen, and is probed.
#[tokio::test(flavor = "multi_thread")]
async fn row_02_blue_is_adopted_and_green_boots_unseen() {
    let engine = Engine::shared();
    let shifter = engine.with_blue(&still()).await;
    let blue = engine.named("blue");
    let started = engine.inspect(&blue, "{{.State.StartedAt}}");
    let load = Load::on(shifter.proxy);
    load.more(10_000).await;
    assert_eq!(load.seen.green.load(Relaxed), 0);
    assert_eq!(load.seen.blue.load(Relaxed), load.seen.answered());
    // Green takes its time; its own counter says who came.
    engine.configure(
        &shifter.home,
        &format!(
            "blue = {{ container = \"{blue}\", port = 3000 }}\ncopy = {{ env = {{ BOOT_MS = \"2500\" }} }}\n{}",
            still()
        ),
    );
    shifter.client.reload().await.unwrap();
    let begun = Instant::now();
    let rollout = shifter.run_image("app:green").await.unwrap();
    let green = format!("{}-{rollout}", engine.name);
    shifter
        .until("green is up", |service| {
            service
                .green
                .as_ref()
                .is_some_and(|pool| !pool.backends.is_empty())
        })
        .await;
    assert_eq!(load.seen.green.load(Relaxed), 0);
    shifter.share(5.0).await;
    assert!(begun.elapsed() >= Duration::from_millis(2_500));
    shifter.verb("abort").await.unwrap();
    shifter.phase("finished").await;
    let (seen, _) = load.stop_clean().await;
    println!(
        "{} requests, {} of them green's, 0 before its share",
        seen.answered(),
        seen.green.load(Relaxed)
    );
    assert_eq!(
        engine.inspect(&blue, "{{.State.StartedAt}}"),
        started,
        "blue was not restarted"
    );
    assert_eq!(
        engine.inspect(&green, "{{.HostConfig.RestartPolicy.Name}}"),
        "no"
    );
    assert_eq!(
        engine.inspect(
            &green,
            "{{index .Config.Labels \"com.example.shifter.restart\"}}"
        ),
        "unless-stopped"
    );
}

/// Row 4 again: while green has no share, its own counter of users stays at nothing.
#[tokio::test(flavor = "multi_thread")]
async fn row_04_no_user_reaches_a_green_without_a_share() {
    let engine = Engine::shared();
    let smoke = "smoke = [{ path = \"/health\" }, { path = \"/slow?ms=1500\", expect = 200 }]\n";
    let shifter = engine.with_blue(&format!("{}{smoke}", still())).await;
    let load = Load::on(shifter.proxy);
    let rollout = shifter.run_image("app:green").await.unwrap();
    let green = format!("{}-{rollout}", engine.name);
    shifter.phase("smoke_testing").await;
    load.more(2_000).await;
    assert_eq!(users(&engine, &green).await, 0);
    shifter.share(5.0).await;
    load.more(2_000).await;
    assert!(users(&engine, &green).await > 0, "the counter counts");
    load.stop_clean().await;
}

/// Row 5: green's HEALTHCHECK is waited for; one that never passes ends the rollout, and blue is untouched.
#[tokio::test(flavor = "multi_thread")]
async fn row_05_dockers_healthcheck_is_waited_for() {
    let engine = Engine::shared();
    let shifter = engine.with_blue(&still()).await;
    let begun = Instant::now();
    shifter.run_image("app:checked").await.unwrap();
    shifter.share(5.0).await;
    let took = begun.elapsed();
    println!("healthy after 2.5 s, checked each second: a share after {took:?}");
    assert!((2_500..20_000).contains(&took.as_millis()), "{took:?}");
    shifter.verb("abort").await.unwrap();
    shifter.phase("finished").await;

    engine.configure(
        &shifter.home,
        &format!(
            "blue = {{ container = \"{}\", port = 3000 }}\nstep_deadline = \"8s\"\n{}",
            engine.named("blue"),
            still()
        ),
    );
    shifter.client.reload().await.unwrap();
    let load = Load::on(shifter.proxy);
    shifter.run_image("app:unhealthy").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "never_fit", "{:?}", end.rollout);
    let reason = end.rollout.unwrap().reason.unwrap();
    assert!(reason.contains("not healthy within 8s"), "{reason}");
    let deadline = Instant::now() + Duration::from_secs(5);
    while !shifter
        .notes()
        .await
        .contains("is unhealthy: this check always fails")
    {
        assert!(Instant::now() < deadline, "{}", shifter.notes().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (seen, _) = load.stop_clean().await;
    assert_eq!(seen.green.load(Relaxed), 0);
}

/// Row 7: a smoke check that fails ends the rollout before any user, and says which one.
#[tokio::test(flavor = "multi_thread")]
async fn row_07_a_failed_smoke_check_ends_it_before_any_user() {
    let engine = Engine::shared();
    let smoke = "smoke = [{ path = \"/health\" }, { path = \"/health\", expect = 204 }]\n";
    let shifter = engine.with_blue(&format!("{}{smoke}", still())).await;
    let load = Load::on(shifter.proxy);
    let rollout = shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "never_fit");
    let reason = end.rollout.unwrap().reason.unwrap();
    assert!(
        reason.contains("/health") && reason.contains("204"),
        "{reason}"
    );
    let (seen, _) = load.stop_clean().await;
    assert_eq!(seen.green.load(Relaxed), 0);
    // Stopped, and kept to be looked at.
    let green = format!("{}-{rollout}", engine.name);
    shifter
        .until("green is stopped", |_| {
            !engine.containers(false).contains(&green)
        })
        .await;
    assert!(engine.containers(true).contains(&green));
}

/// Rows 8, 12, 13: three deployments in a row lose nothing, also not what is slow; each leaves one container that runs.
#[tokio::test(flavor = "multi_thread")]
async fn row_13_three_deployments_in_a_row_leave_one_container() {
    three_deployments_in_a_row(Engine::shared()).await;
}

pub(super) async fn three_deployments_in_a_row(engine: Engine) {
    let shifter = engine.with_blue(&quick()).await;
    let proxy = shifter.proxy;
    let load = Load::on(proxy);
    for (n, image) in ["app:green", "app:blue", "app:third"]
        .into_iter()
        .enumerate()
    {
        let slow: Vec<_> = (0..5)
            .map(|_| tokio::spawn(async move { get(proxy, "/slow?ms=2000", "").await.unwrap() }))
            .collect();
        let strategy = if n == 1 {
            Strategy::BlueGreen
        } else {
            Strategy::Canary
        };
        let rollout = shifter.run_as(Some(strategy), image).await.unwrap();
        if strategy == Strategy::BlueGreen {
            shifter.share(100.0).await;
            shifter.verb("promote").await.unwrap();
        }
        let end = shifter.phase("finished").await;
        assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
        // Podman says it with the registry before it.
        assert!(end.blue.release.ends_with(image), "{}", end.blue.release);
        let green = format!("{}-{rollout}", engine.name);
        shifter
            .until("one container runs", |_| {
                engine.containers(false) == [green.clone()]
            })
            .await;
        shifter
            .until("it is restarted as blue was", |_| {
                engine.inspect(&green, "{{.HostConfig.RestartPolicy.Name}}") == "unless-stopped"
            })
            .await;
        for answer in slow {
            assert_eq!(answer.await.unwrap().status, 200);
        }
    }
    let (seen, _) = load.stop_clean().await;
    println!(
        "{} requests over three deployments: 0 lost",
        seen.answered()
    );
    let all = engine.containers(true);
    let blue = engine.named("blue");
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(
        all.contains(&blue),
        "who shifter did not make is left, stopped"
    );
    assert_eq!(
        engine.inspect(&blue, "{{.State.ExitCode}}"),
        "0",
        "by SIGTERM, drained"
    );
}

/// Row 10: a green that fails after the swap is taken off by itself.
#[tokio::test(flavor = "multi_thread")]
async fn row_10_a_green_that_fails_after_the_swap_is_taken_off() {
    a_green_that_fails_after_the_swap(Engine::shared()).await;
}

pub(super) async fn a_green_that_fails_after_the_swap(engine: Engine) {
    let shifter = engine.with_blue(&still()).await;
    let load = Load::start(
        shifter.proxy,
        Plan {
            rate: Some(300.0),
            errors_allowed: true,
            ..Plan::default()
        },
    );
    load.more(1_500).await;
    shifter
        .run_as(Some(Strategy::BlueGreen), "app:bad")
        .await
        .unwrap();
    let begun = Instant::now();
    let end = shifter
        .until_within(Duration::from_secs(120), "it is back", |service| {
            outcome_of(service) == "rolled_back"
        })
        .await;
    println!(
        "20 % errors after the swap: back after {:?}",
        begun.elapsed()
    );
    assert_eq!(end.weight_percent, 0.0);
    let before = load.seen.green.load(Relaxed);
    load.more(500).await;
    assert_eq!(load.seen.green.load(Relaxed), before);
    load.stop_clean().await;
}

/// Row 11: back to blue after the promotion, while it is warm; twice is once.
#[tokio::test(flavor = "multi_thread")]
async fn row_11_back_after_the_promotion_while_blue_is_warm() {
    let engine = Engine::shared();
    let shifter = engine
        .with_blue(&format!("{QUICK}{PATIENT}keep_blue = \"1h\"\n"))
        .await;
    let load = Load::on(shifter.proxy);
    shifter.run_image("app:green").await.unwrap();
    shifter.phase("promoted").await;
    shifter.verb("rollback").await.unwrap();
    let back = load.seen.green.load(Relaxed);
    shifter.verb("rollback").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(end.blue.release, "app:blue");
    load.more(1_000).await;
    let (seen, _) = load.stop_clean().await;
    // What was under way on green ended there: at most one for each connection.
    assert!(seen.green.load(Relaxed) - back <= 24);
    shifter
        .until("green is stopped", |_| {
            engine.containers(false) == [engine.named("blue")]
        })
        .await;
}

/// Row 14: labels cannot be changed, so a cutover needs none to be.
#[tokio::test(flavor = "multi_thread")]
async fn row_14_labels_cannot_be_changed_and_need_not_be() {
    let engine = Engine::shared();
    engine.run(
        "blue",
        "app:blue",
        &["--label", "traefik.enable=true", "--label", "team=web"],
    );
    let blue = engine.named("blue");
    let refused = engine.try_docker(&["container", "update", "--label-add", "a=b", &blue]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("unknown flag: --label-add"));
    let shifter = engine.home(&quick()).serve().await;
    let load = Load::on(shifter.proxy);
    let rollout = shifter.run_image("app:green").await.unwrap();
    assert_eq!(outcome_of(&shifter.phase("finished").await), "promoted");
    load.stop_clean().await;
    let green = format!("{}-{rollout}", engine.name);
    let label =
        |name: &str| engine.inspect(&green, &format!("{{{{index .Config.Labels \"{name}\"}}}}"));
    assert_eq!(label("team"), "web");
    assert_eq!(
        label("traefik.enable"),
        "",
        "Traefik would route past the weights"
    );
}

/// Row 30: green has blue's volumes; what one writes the other reads. An anonymous one is told of.
#[tokio::test(flavor = "multi_thread")]
async fn row_30_green_has_blues_volumes() {
    let engine = Engine::shared();
    let volume = format!("{}:/data", engine.named("data"));
    engine.run(
        "blue",
        "app:blue",
        &["-v", &volume, "-v", "/scratch", "-e", "KEY=value"],
    );
    let shifter = engine.home(&still()).serve().await;
    let rollout = shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    let green = format!("{}-{rollout}", engine.name);
    let mounted = "{{range .Mounts}}{{if eq .Destination \"/data\"}}{{.Name}}{{end}}{{end}}";
    assert_eq!(
        engine.inspect(&green, mounted),
        engine.inspect(&engine.named("blue"), mounted)
    );
    let environment = get(engine.address(&green), "/env", "").await.unwrap();
    let environment = environment.body;
    assert!(
        environment.contains("KEY=value") && environment.contains("VERSION=green"),
        "{environment}"
    );
    let notes = shifter.notes().await;
    for part in [
        "both versions write to",
        "/scratch",
        "+ Env \"VERSION=green\"",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    drop(shifter);
    for name in engine.containers(true) {
        engine.docker(&["rm", "-f", "-v", &name]);
    }
    engine.docker(&["volume", "rm", &engine.named("data")]);
}

/// Row 35: the rehearsal of a rollback, under load.
#[tokio::test(flavor = "multi_thread")]
async fn row_35_a_drill_under_load() {
    let engine = Engine::shared();
    let shifter = engine.with_blue(&quick()).await;
    let load = Load::on(shifter.proxy);
    load.more(500).await;
    let done = shifter.client.drill(None).await.unwrap();
    let report = done;
    println!("{}", report.line());
    assert!(report.green_requests > 0 && report.green_failed == 0);
    load.stop_clean().await;
}

/// Row 37: one command for a script, with codes that say how it ended.
#[tokio::test(flavor = "multi_thread")]
async fn row_37_one_command_with_exit_codes() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &[]);
    let home = engine.home(&quick());
    let mut serving = home.serve().await;
    let load = Load::on(home.proxy);
    let code = async |image: &str| {
        let mut command = home.command(&["run", &engine.name, "--image", image]);
        let mut run = home.spawn(&mut command);
        run.ended().await.0.code()
    };
    assert_eq!(code("app:green").await, Some(0), "{}", home.log());
    assert_eq!(code("app:exits").await, Some(4), "{}", home.log());
    assert_eq!(code("no such image").await, Some(2), "{}", home.log());
    assert_eq!(code("app:not-there").await, Some(4), "{}", home.log());
    load.stop_clean().await;
    serving.signal("TERM");
    assert!(serving.ended().await.0.success());
}

/// Row 42: a green that was taken off is stopped and kept, with its log.
#[tokio::test(flavor = "multi_thread")]
async fn row_42_a_green_that_was_taken_off_is_kept() {
    let engine = Engine::shared();
    let shifter = engine.with_blue(&still()).await;
    let rollout = shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    shifter.verb("rollback").await.unwrap();
    shifter.phase("finished").await;
    let again = shifter.verb("rollback").await.unwrap();
    assert!(again.contains("serves everything already"), "{again}");
    let green = format!("{}-{rollout}", engine.name);
    shifter
        .until("green is stopped", |_| engine.containers(false).len() == 1)
        .await;
    assert!(engine.containers(true).contains(&green));
    let log = engine.try_docker(&["logs", &green]);
    let log = String::from_utf8_lossy(&log.stderr).into_owned();
    assert!(
        log.contains("listening") && log.contains("drained"),
        "{log}"
    );
}

/// Row 42: with `--keep` it runs on, without users, to be looked at; the next deployment does not mind.
#[tokio::test(flavor = "multi_thread")]
async fn row_42_a_green_that_is_kept_runs_on() {
    let engine = Engine::shared();
    let shifter = engine.with_blue(&still()).await;
    let load = Load::on(shifter.proxy);
    let rollout = shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    load.more(500).await;
    let mut command = shifter.command(&["rollback", "--keep"]);
    assert!(command.status().unwrap().success(), "{}", shifter.log());
    shifter.phase("finished").await;
    let green = format!("{}-{rollout}", engine.name);
    let before = users(&engine, &green).await;
    load.more(500).await;
    assert_eq!(users(&engine, &green).await, before, "nobody comes");
    // The next one clears away what was before it, and not what is kept.
    shifter.run_image("app:third").await.unwrap();
    shifter.share(5.0).await;
    shifter.verb("rollback").await.unwrap();
    shifter.phase("finished").await;
    let mut expected = vec![engine.named("blue"), green];
    expected.sort();
    shifter
        .until("the other one is stopped", |_| {
            engine.containers(false) == expected
        })
        .await;
    load.stop_clean().await;
}

/// Row 13: with fixed names whoever serves is called as blue was.
#[tokio::test(flavor = "multi_thread")]
async fn row_13_who_serves_has_the_fixed_name() {
    let engine = Engine::shared();
    let keys = format!("copy = {{ naming = \"fixed\" }}\n{}", quick());
    let shifter = engine.with_blue(&keys).await;
    let blue = engine.named("blue");
    let old = engine.inspect(&blue, "{{.Id}}");
    let aside = format!("{blue}-retired-{}", &old[..12]);
    let load = Load::on(shifter.proxy);
    for image in ["app:green", "app:third"] {
        shifter.run_image(image).await.unwrap();
        let end = shifter.phase("finished").await;
        assert_eq!(outcome_of(&end), "promoted");
        shifter
            .until("it has the name", |_| {
                engine.containers(true) == [blue.clone(), aside.clone()]
                    && engine.inspect(&blue, "{{.Config.Image}}") == image
            })
            .await;
    }
    load.stop_clean().await;
    assert_eq!(
        engine.containers(false),
        [blue],
        "the one that was blue first is stopped"
    );
}

/// Row 5: well for an instant is not ready, where somebody says so.
#[tokio::test(flavor = "multi_thread")]
async fn row_05_green_must_stay_well_for_its_time() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &[]);
    let home = engine.home(&still());
    let text = std::fs::read_to_string(home.config()).unwrap();
    let text = text.replace("rise = 1", "min_ready = \"2500ms\", rise = 1");
    std::fs::write(home.config(), text).unwrap();
    let shifter = home.serve().await;
    shifter.run_image("app:green").await.unwrap();
    let up = shifter
        .until("green is well", |service| {
            let mut members = service.green.iter().flat_map(|pool| &pool.backends);
            members.any(|member| member.health == "up")
        })
        .await;
    let begun = Instant::now();
    assert_eq!(up.weight_percent, 0.0);
    shifter.share(5.0).await;
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(2_200), "{waited:?}");
}

/// The first deployment: no blue is there yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_deployment_needs_no_blue() {
    let engine = Engine::shared();
    let home = engine.home_of(&format!(
        "blue = {{ container = \"{}\", port = 3000, network = \"{}\" }}\n{}",
        engine.named("blue"),
        engine.name,
        quick()
    ));
    let shifter = home.serve().await;
    assert_eq!(get(home.proxy, "/", "").await.unwrap().status, 503);
    let rollout = shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(
        outcome_of(&end),
        "promoted",
        "{:?}\n{}",
        end.rollout,
        shifter.notes().await
    );
    assert_eq!(get(home.proxy, "/", "").await.unwrap().status, 200);
    let first = format!("{}-{rollout}", engine.name);
    assert_eq!(engine.containers(false), [first]);
    // And the second one replaces it.
    let load = Load::on(home.proxy);
    let rollout = shifter.run_image("app:blue").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
    load.stop_clean().await;
    let second = format!("{}-{rollout}", engine.name);
    shifter
        .until("the first is gone", |_| {
            engine.containers(true) == [second.clone()]
        })
        .await;
}

/// A misspelled blue is not taken for a first deployment while the one that is meant runs; `--first` says that it is one.
#[tokio::test(flavor = "multi_thread")]
async fn a_misnamed_blue_is_no_first_deployment() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &[]);
    let meant = engine.named("blue");
    let home = engine.home_of(&format!(
        "blue = {{ container = \"{}\", port = 3000, network = \"{}\" }}\n{}",
        engine.named("bleu"),
        engine.name,
        quick()
    ));
    let mut check = home.command(&["check"]);
    check.env("DOCKER_HOST", engine.host());
    assert_eq!(check.status().unwrap().code(), Some(0), "{}", home.log());
    let hint = format!("Did you mean {meant} (app:blue)?");
    assert!(home.log().contains(&hint), "{}", home.log());
    let shifter = home.serve().await;
    shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "never_fit", "{:?}", end.rollout);
    let reason = end.rollout.unwrap().reason.unwrap();
    for part in [
        format!("no container named {} is there", engine.named("bleu")),
        format!("container = \"{meant}\""),
        "--first".to_owned(),
    ] {
        assert!(reason.contains(&part), "{part}: {reason}");
    }
    assert_eq!(engine.containers(true), [meant.as_str()]);
    let request = RunRequest {
        image: Some("app:green".to_owned()),
        first: true,
        ..RunRequest::default()
    };
    shifter.client.run(None, &request).await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
}

/// Several replicas: as many greens as blues, each with its part.
#[tokio::test(flavor = "multi_thread")]
async fn as_many_greens_as_blues() {
    let engine = Engine::shared();
    for name in ["b1", "b2", "b3"] {
        engine.run(
            name,
            "app:blue",
            &["--label", &format!("app={}", engine.name)],
        );
    }
    let home = engine.home_of(&format!(
        "blue = {{ label = \"app={}\", port = 3000 }}\n{}",
        engine.name,
        still()
    ));
    let shifter = home.serve().await;
    let rollout = shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    shifter.weigh(100).await;
    let load = Load::on(home.proxy);
    load.more(3_000).await;
    for n in 1..=3 {
        let served = users(&engine, &format!("{}-{rollout}-{n}", engine.name)).await;
        assert!(served > 500, "{n}: {served}");
    }
    load.stop_clean().await;
    assert_eq!(phase_of(&shifter.service().await), "paused");
}

/// Row 7 again: a check by a command in green's own container.
#[tokio::test(flavor = "multi_thread")]
async fn row_07_a_check_by_exec() {
    let engine = Engine::shared();
    let keys = |command: &str| {
        format!(
            "blue = {{ container = \"{}\", port = 3000 }}\nsmoke = [{{ exec = [\"/app\", \"{command}\"] }}]\n{}",
            engine.named("blue"),
            still()
        )
    };
    engine.run("blue", "app:blue", &[]);
    let home = engine.home_of(&keys("check"));
    let shifter = home.serve().await;
    shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    shifter.verb("abort").await.unwrap();
    shifter.phase("finished").await;
    engine.configure(&home, &keys("fail"));
    shifter.client.reload().await.unwrap();
    shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "never_fit");
    let reason = end.rollout.unwrap().reason.unwrap();
    for part in ["/app fail", "exit code 1", "this check always fails"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
}

/// Rows 27, 31: people's own commands run once each, in order; one that fails leaves everything on blue.
#[tokio::test(flavor = "multi_thread")]
async fn row_31_hooks_run_in_order_and_a_failed_one_goes_back() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &[]);
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let script = folder.path().join("hook.sh");
    let text = format!(
        "#!/bin/sh\necho \"$SHIFTER_AT $SHIFTER_FROM $SHIFTER_TO\" >> {}\n[ ! -e {}/fail ] || [ \"$SHIFTER_AT\" != after-shift ] || {{ echo no space; exit 7; }}\n",
        told.display(),
        folder.path().display()
    );
    std::fs::write(&script, text).unwrap();
    let moments = [
        "before-start",
        "before-shift",
        "after-shift",
        "after-promotion",
        "after-rollback",
    ];
    let hooks: String = moments
        .iter()
        .map(|at| {
            format!(
                "[[service.{}.hooks]]\nat = \"{at}\"\nexec = [\"sh\", \"{}\"]\n",
                engine.name,
                script.display()
            )
        })
        .collect();
    let shifter = engine.home(&format!("{}{hooks}", quick())).serve().await;
    let load = Load::on(shifter.proxy);
    shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    let notes = shifter.notes().await;
    assert_eq!(outcome_of(&end), "promoted", "{:?}\n{notes}", end.rollout);
    let all = || std::fs::read_to_string(&told).unwrap_or_default();
    shifter
        .until("all were told", |_| all().lines().count() == 4)
        .await;
    let expected: String = moments[..4]
        .iter()
        .map(|at| format!("{at} app:blue app:green\n"))
        .collect();
    assert_eq!(all(), expected);
    std::fs::write(folder.path().join("fail"), "").unwrap();
    shifter.run_image("app:blue").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "stopped");
    let reason = end.rollout.unwrap().reason.unwrap();
    assert!(
        reason.contains("no space") && reason.contains('7'),
        "{reason}"
    );
    shifter
        .until("the way back is told", |_| {
            all().ends_with("after-rollback app:green app:blue\n")
        })
        .await;
    load.stop_clean().await;
}

/// Row 42 again: what was known of a green that was taken off is kept, without secrets.
#[tokio::test(flavor = "multi_thread")]
async fn row_42_evidence_is_kept_without_secrets() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &["-e", "PASSWORD=hunter2"]);
    let shifter = engine.home(&still()).serve().await;
    let load = Load::on(shifter.proxy);
    let rollout = shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(3_500) {
        load.more(100).await;
    }
    shifter.verb("rollback").await.unwrap();
    shifter.phase("finished").await;
    load.stop_clean().await;
    let folder = shifter.state().join(format!("evidence/r-{rollout}"));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    shifter
        .until("it is kept", |_| !read("images.txt").is_empty())
        .await;
    let green = format!("{}-{rollout}", engine.name);
    let inspect = read(&format!("{green}.inspect.json"));
    assert!(inspect.contains("PASSWORD=***"), "{inspect}");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("hunter2"), "{}", path.display());
    }
    assert!(read(&format!("{green}.log")).contains("listening"));
    let images = read("images.txt");
    assert!(images.contains("+ Env \"VERSION=green\""), "{images}");
    assert!(read("verdict.json").contains("rolled back by a person"));
    assert!(read("seconds.jsonl").lines().count() > 2);
    assert!(read("notes.txt").contains("weight"));
}

/// Row 43: not enough memory for two versions is told, and a reason not to begin where that is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn row_43_too_little_memory_is_told_or_refused() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &["--memory", "4096g"]);
    let shifter = engine.home(&still()).serve().await;
    shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    let notes = shifter.notes().await;
    assert!(
        notes.contains("is free: what runs may be killed"),
        "{notes}"
    );
    shifter.verb("abort").await.unwrap();
    shifter.phase("finished").await;
    let request = RunRequest {
        image: Some("app:green".to_owned()),
        strict: true,
        ..RunRequest::default()
    };
    shifter.client.run(None, &request).await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "never_fit");
    let reason = end.rollout.unwrap().reason.unwrap();
    assert!(reason.contains("green may want 4398046.5 MB"), "{reason}");
}

/// The first five minutes: a container runs, `init` looks at it, `run` replaces it.
#[tokio::test(flavor = "multi_thread")]
async fn init_writes_what_is_needed_from_a_running_container() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &[]);
    let home = engine.home(&quick());
    std::fs::remove_file(home.config()).unwrap();
    let blue = engine.named("blue");
    let mut command = home.command(&["init", "--container", &blue, "--service", "api"]);
    command.env("DOCKER_HOST", engine.host());
    let done = command.status().unwrap();
    assert_eq!(done.code(), Some(0), "{}", home.log());
    let text = std::fs::read_to_string(home.config()).unwrap();
    let line = format!("blue = {{ container = \"{blue}\", port = 3000 }}");
    assert!(text.contains(&line), "{text}");
    let mut command = home.command(&["init", "--container", "not-there", "--force"]);
    command.env("DOCKER_HOST", engine.host());
    assert_eq!(command.status().unwrap().code(), Some(2));
    assert!(home.log().contains("No such container"), "{}", home.log());
}

/// Row 17: containers of a Compose project are found by their service; they are not copied unless that is allowed.
#[tokio::test(flavor = "multi_thread")]
async fn row_17_compose_services_are_found_and_not_copied_unasked() {
    let engine = Engine::shared();
    let project = format!("com.docker.compose.project={}", engine.name);
    let service = |color: &str| format!("com.docker.compose.service=api-{color}");
    for color in ["blue", "green"] {
        let image = format!("app:{color}");
        engine.run(
            color,
            &image,
            &["--label", &project, "--label", &service(color)],
        );
    }
    let pool = |color: &str| {
        format!(
            "{color} = {{ compose = \"{}/api-{color}\", port = 3000 }}\n",
            engine.name
        )
    };
    let home = engine.home_of(&format!("{}{}{}", pool("blue"), pool("green"), quick()));
    let shifter = home.serve().await;
    let load = Load::on(home.proxy);
    shifter
        .client
        .run(None, &RunRequest::default())
        .await
        .unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted");
    assert_eq!(end.blue.release, "app:green");
    // Compose recreates what serves now: another container, the same slot.
    engine.docker(&["rm", "-f", &engine.named("blue")]);
    engine.run(
        "blue",
        "app:third",
        &["--label", &project, "--label", &service("blue")],
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while shifter
        .client
        .run(None, &RunRequest::default())
        .await
        .is_err()
    {
        assert!(Instant::now() < deadline, "{}", home.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let end = shifter
        .until("promoted again", |service| {
            service.blue.release == "app:third"
        })
        .await;
    assert_eq!(outcome_of(&end), "promoted");
    load.stop_clean().await;
    assert_eq!(
        engine.containers(false).len(),
        2,
        "both are Compose's to stop"
    );
    drop(shifter);

    let home = engine.home_of(&format!("{}{}", pool("blue"), still()));
    let shifter = home.serve().await;
    shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    let reason = end.rollout.unwrap().reason.unwrap();
    assert!(
        reason.contains("belongs to the Compose project") && reason.contains("compose = true"),
        "{reason}"
    );
}

/// Who interrupts `run` leaves one version running, and that is blue.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_leaves_no_green() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &[]);
    let home = engine.home(&still());
    let mut run = home.spawn(&mut home.command(&["run", &engine.name, "--image", "app:green"]));
    run.answers().await;
    home.share(5.0).await;
    run.signal("INT");
    let (status, took) = run.ended().await;
    assert_eq!(status.code(), Some(130), "{}", home.log());
    let log = home.log();
    assert!(log.contains("stopped in Docker (manage)"), "{log}");
    println!("ended after {took:?}");
    assert_eq!(engine.containers(false), [engine.named("blue")]);
}

//! What goes wrong while green is made: how the rollout ends, what is said, and that nothing is left.

use crate::docker::fake::{still, users};
use crate::support::client::get;
use crate::support::fake::Fake;
use crate::support::fake::faults::Fault::{self, Cut, Deaf, Hang, Refuse, Twist};
use crate::support::shifter::outcome_of;
use serde_json::json;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const CREATE: &str = "POST /containers/create";
const START: &str = "POST /containers/{}/start";
const IMAGE: &str = "GET /images/{}/json";
const FETCH: &str = "POST /images/create";

/// The call that fails, how, the image, and what is said. Green gets no user in any.
const NEVER_FIT: [(&str, Fault, &str, &str); 17] = [
    (
        CREATE,
        Refuse(403, "<html>403 Forbidden</html>"),
        "app:green",
        "allow that call there",
    ),
    (
        CREATE,
        Refuse(500, "no space left on device"),
        "app:green",
        "no space left on device",
    ),
    (
        CREATE,
        Refuse(400, "invalid mount config"),
        "app:green",
        "invalid mount config",
    ),
    (CREATE, Cut, "app:green", "Docker cannot be reached"),
    (
        START,
        Refuse(500, "Bind for 0.0.0.0:80 failed: port is already allocated"),
        "app:green",
        "port is already allocated",
    ),
    (
        START,
        Refuse(500, "no space left on device"),
        "app:green",
        "no space left on device",
    ),
    (START, Cut, "app:green", "Docker cannot be reached"),
    (START, Deaf, "app:green", "Docker cannot be reached"),
    (
        IMAGE,
        Refuse(500, "layer does not exist"),
        "app:green",
        "layer does not exist",
    ),
    (
        FETCH,
        Refuse(401, "unauthorized: authentication required"),
        "app:remote",
        "authentication required",
    ),
    (
        FETCH,
        Refuse(
            500,
            "Get https://registry-1.docker.io/v2/: net/http: request canceled",
        ),
        "app:remote",
        "request canceled",
    ),
    (FETCH, Cut, "app:remote", "could not be fetched"),
    ("", Cut, "app:missing", "manifest unknown"),
    ("", Cut, "registry.invalid/app:1", "no such host"),
    (
        "",
        Cut,
        "app:damaged",
        "filesystem layer verification failed",
    ),
    ("", Cut, "app:broken", "no-such-program"),
    ("", Cut, "app:exits", "exited with code 3"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_cannot_be_made_leaves_nothing_and_says_why() {
    let fake = Fake::start();
    let shifter = fake
        .with_blue(&format!("{}keep_green = \"0s\"\n", still()))
        .await;
    let load = users(shifter.proxy);
    for (call, fault, image, told) in NEVER_FIT {
        fake.faults.on(call, fault, usize::MAX);
        shifter.run_image(image).await.unwrap();
        let end = shifter.phase("finished").await;
        let reason = end.rollout.clone().unwrap().reason.unwrap_or_default();
        println!("{call} {fault:?} {image}: {reason}");
        assert_eq!(outcome_of(&end), "never_fit", "{call} {fault:?}: {reason}");
        assert!(reason.contains(told), "{call} {fault:?}: {reason}");
        fake.mend();
        shifter
            .until("nothing of it runs", |_| fake.made().is_empty())
            .await;
    }
    load.more(50).await;
    let (seen, _) = load.stop_clean().await;
    assert_eq!(seen.green.load(Relaxed), 0);
    assert_eq!(fake.faults.rejected(), [""; 0]);
}

/// An image whose containers run and are not well: blue keeps the users, and the check's own words are told.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_is_never_well_gets_no_user() {
    let fake = Fake::start();
    let shifter = fake
        .with_blue(&format!("{}step_deadline = \"1s\"\n", still()))
        .await;
    let load = users(shifter.proxy);
    for (image, noted) in [
        ("app:ill", ""),
        ("app:unhealthy", "is unhealthy: this check always fails"),
    ] {
        shifter.run_image(image).await.unwrap();
        let end = shifter.phase("finished").await;
        assert_eq!(outcome_of(&end), "never_fit", "{image}");
        let reason = end.rollout.unwrap().reason.unwrap();
        assert!(
            reason.contains("not healthy within 1s"),
            "{image}: {reason}"
        );
        shifter
            .until("it is stopped", |_| fake.made().is_empty())
            .await;
        let deadline = Instant::now() + Duration::from_secs(5);
        while !shifter.notes().await.contains(noted) {
            assert!(Instant::now() < deadline, "{}", shifter.notes().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(load.seen.green.load(Relaxed), 0);
    // One that is well after a while is waited for.
    let rollout = shifter.run_image("app:checked").await.unwrap();
    shifter.share(5.0).await;
    let green = fake.inspect(&format!("{}-{rollout}", fake.name));
    assert_eq!(green["State"]["Health"]["Status"], "healthy");
    load.stop_clean().await;
}

/// Podman without systemd never begins with the checks of an image: there the service's own path decides.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_the_service_decides_where_podman_runs_none() {
    let fake = Fake::start();
    fake.engine.state().never_checks = true;
    // Podman shows a variable that it sets itself in each container.
    fake.faults.now(|call| {
        call.is("GET /containers/{}/json")
            .then_some(Twist("\"Env\":[", "\"Env\":[\"container=podman\","))
    });
    let env = json!({ "Env": ["A=1"] });
    fake.run_with(&fake.named("blue"), "app:blue", env);
    let shifter = fake.home(&still()).serve().await;
    let load = users(shifter.proxy);
    shifter.run_image("app:checked").await.unwrap();
    shifter.share(5.0).await;
    load.more(50).await;
    load.stop_clean().await;
}

/// An engine that does not answer is not waited for without end.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_hangs_ends_the_rollout_and_harms_nobody() {
    let fake = Fake::start();
    let shifter = fake.with_blue(&still()).await;
    let load = users(shifter.proxy);
    fake.faults.on(CREATE, Hang, 1);
    shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "never_fit");
    let reason = end.rollout.unwrap().reason.unwrap();
    let told = "Docker did not answer within 10 s when asked to create a container";
    assert!(reason.contains(told), "{reason}");
    load.stop_clean().await;
    assert_eq!(fake.made(), [""; 0]);
}

/// No daemon when shifter starts: that is told, nobody is served, and all is well when it comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_comes_later_is_waited_for() {
    let fake = Fake::start();
    fake.run("blue", "app:blue", "unless-stopped");
    fake.go_away().await;
    let shifter = fake.home(&still()).serve().await;
    assert_eq!(get(shifter.proxy, "/", "").await.unwrap().status, 503);
    let trouble = shifter.view().await.trouble.unwrap_or_default();
    assert!(trouble.contains("Is dockerd running"), "{trouble}");
    let refused = shifter.run_image("app:green").await.unwrap_err();
    assert!(
        refused.to_string().contains("Nothing was changed"),
        "{refused}"
    );
    fake.come_back();
    let blue = fake.address(&fake.named("blue")).to_string();
    shifter
        .until("blue is found", |service| {
            service.blue.backends.iter().any(|one| one.address == blue)
        })
        .await;
    shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    let load = users(shifter.proxy);
    load.more(50).await;
    load.stop_clean().await;
}

/// An answer that was lost is no green that was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_whose_answer_was_lost_is_found() {
    let fake = Fake::start();
    let shifter = fake.with_blue(&still()).await;
    let load = users(shifter.proxy);
    fake.faults.on(CREATE, Deaf, 1);
    shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    assert_eq!(fake.made().len(), 1, "{:?}", fake.made());
    load.more(50).await;
    load.stop_clean().await;
}

/// Somebody else's container has green's name; Docker says so with 409 and Podman with 500.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_left_to_its_owner() {
    let fake = Fake::start();
    let shifter = fake.with_blue(&still()).await;
    let podman = Refuse(500, "container name is already in use by another");
    let cases = [(None, "did not make"), (Some(podman), "is already in use")];
    for (n, (fault, told)) in cases.into_iter().enumerate() {
        let theirs = fake.run_with(&format!("{}-{}", fake.name, n + 1), "app:third", json!({}));
        if let Some(fault) = fault {
            fake.faults.on(CREATE, fault, 1);
        }
        shifter.run_image("app:green").await.unwrap();
        let end = shifter.phase("finished").await;
        assert_eq!(outcome_of(&end), "never_fit");
        let reason = end.rollout.unwrap().reason.unwrap();
        assert!(reason.contains(told), "{reason}");
        assert_eq!(fake.inspect(&theirs)["State"]["Running"], true);
        assert_eq!(
            fake.acts_on(&fake.inspect(&theirs)["Name"].as_str().unwrap()[1..]),
            [""; 0]
        );
    }
}

//! Images: which are fetched, for which platform, and which go again.

use crate::docker::fake::{sure, users};
use crate::support::fake::Fake;
use crate::support::shifter::outcome_of;
use serde_json::json;

/// Of what shifter fetched the last ones are kept; what was here before, and what a container uses, is never asked for.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_images_that_were_fetched_are_kept() {
    let fake = Fake::start();
    fake.run("blue", "app:blue", "unless-stopped");
    let home = fake.home(&format!("{}keep_green = \"0s\"\n", sure()));
    let text = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(
        home.config(),
        text.replace("docker.host", "docker.keep_images = 2\ndocker.host"),
    )
    .unwrap();
    let shifter = home.serve().await;
    let load = users(shifter.proxy);
    let here = || {
        fake.engine
            .state()
            .fetched
            .iter()
            .copied()
            .collect::<Vec<_>>()
    };
    for image in ["app:remote", "app:green", "app:remote-2", "app:remote-3"] {
        shifter.run_image(image).await.unwrap();
        let end = shifter.phase("finished").await;
        assert_eq!(outcome_of(&end), "promoted", "{image}: {:?}", end.rollout);
        shifter
            .until("it runs alone", |_| fake.containers(false).len() == 1)
            .await;
    }
    shifter
        .until("the oldest is gone", |_| {
            here() == ["app:remote-2", "app:remote-3"]
        })
        .await;
    load.stop_clean().await;
    let calls = fake.faults.calls();
    let removed = calls.iter().filter(|call| call.is("DELETE /images/{}"));
    assert!(removed.count() >= 1);
    assert_eq!(fake.faults.rejected(), [""; 0]);
    let fetched = shifter.notes().await;
    assert!(
        fetched.contains("is free in /"),
        "how much room there is: {fetched}"
    );
}

/// Blue runs on another platform than the engine's own: green does too.
#[tokio::test(flavor = "multi_thread")]
async fn green_runs_on_blues_platform() {
    let fake = Fake::start();
    fake.run_with(&fake.named("blue"), "app:foreign", json!({}));
    let shifter = fake.home(&sure()).serve().await;
    let load = users(shifter.proxy);
    shifter.run_image("app:foreign-2").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
    load.stop_clean().await;
    let calls = fake.faults.calls();
    for shape in ["POST /images/create", "POST /containers/create"] {
        let asked = calls.iter().find(|call| call.is(shape)).unwrap();
        assert!(
            asked.query.contains("platform=linux%2Farm64"),
            "{shape}: {}",
            asked.query
        );
    }
}

/// What was copied into blue is in no setting of it: told, and with `--strict` secrets are a reason not to begin.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_copied_into_blue_are_told() {
    let fake = Fake::start();
    let shifter = fake.with_blue(&sure()).await;
    let load = users(shifter.proxy);
    let put = |path: &str| {
        let mut state = fake.engine.state();
        for one in &mut state.containers {
            one.files = vec![path.to_owned()];
        }
    };
    for (path, strict, outcome) in [
        ("/app.conf", true, "promoted"),
        ("/run/secrets/key", true, "never_fit"),
        ("/run/secrets/key", false, "promoted"),
    ] {
        put(path);
        let request = shifter::admin::body::RunRequest {
            image: Some("app:green".to_owned()),
            strict,
            ..Default::default()
        };
        shifter.client.run(None, &request).await.unwrap();
        let end = shifter.phase("finished").await;
        assert_eq!(outcome_of(&end), outcome, "{path}: {:?}", end.rollout);
        let told = shifter.notes().await;
        let told = format!("{told}{:?}", end.rollout.unwrap().reason);
        assert!(told.contains(&format!("blue has {path}")), "{told}");
        let rest = || fake.containers(false).len() == 1;
        shifter.until("one runs", |_| rest()).await;
    }
    load.stop_clean().await;
}

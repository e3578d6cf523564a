//! Podman in place of Docker, as root: `./dev test engines` runs these.

use crate::docker::{faults, rows};
use crate::support::docker::Engine;
use crate::support::shifter::{PATIENT, STILL};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "./dev test engines"]
async fn three_deployments_in_a_row() {
    rows::three_deployments_in_a_row(Engine::podman()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "./dev test engines"]
async fn a_green_that_fails_after_the_swap() {
    rows::a_green_that_fails_after_the_swap(Engine::podman()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "./dev test engines"]
async fn a_killed_green_is_an_event_of_the_rollout() {
    faults::a_killed_green_is_an_event_of_the_rollout(Engine::podman()).await;
}

/// A green at 5 % beside a blue that was started with `arguments`: both as the engine shows them, and what was told.
async fn copied(engine: &Engine, arguments: &[&str]) -> (Value, Value, String) {
    engine.run("blue", "app:blue", arguments);
    let shifter = engine.home(&format!("{STILL}{PATIENT}")).serve().await;
    let rollout = shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    let seen = |name: &str| serde_json::from_str(&engine.inspect(name, "{{json .}}")).unwrap();
    let blue = seen(&engine.named("blue"));
    let green = seen(&format!("{}-{rollout}", engine.name));
    let told = shifter.notes().await;
    drop(shifter);
    for name in engine.containers(true) {
        engine.docker(&["rm", "-f", "-v", &name]);
    }
    (blue, green, told)
}

/// Limits, devices, generated variables and volumes without a name: what Podman shows of blue makes a green like it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "./dev test engines"]
async fn green_has_what_a_person_asked_for_blue() {
    let engine = Engine::podman();
    let (blue, green, told) = copied(
        &engine,
        &[
            "--cpus",
            "1.5",
            "--device",
            "/dev/null:/dev/x",
            "-v",
            "/anon",
            "-e",
            "KEY=value",
        ],
    )
    .await;
    let of_the_host = |of: &Value, key: &str| of["HostConfig"][key].clone();
    assert_eq!(of_the_host(&green, "NanoCpus"), 1_500_000_000_u64);
    assert_eq!(
        of_the_host(&green, "Devices")[0]["PathInContainer"],
        "/dev/x"
    );
    let env: Vec<&str> = green["Config"]["Env"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(env.contains(&"KEY=value"), "{env:?}");
    let short = |of: &Value| of["Id"].as_str().unwrap()[..12].to_owned();
    let host_name = |of: &Value| format!("HOSTNAME={}", short(of));
    assert!(!env.contains(&host_name(&blue).as_str()), "{env:?}");
    assert!(env.contains(&host_name(&green).as_str()), "{env:?}");
    let volume = |of: &Value| {
        let mounts = of["Mounts"].as_array().unwrap().clone();
        let mount = mounts
            .into_iter()
            .find(|mount| mount["Destination"] == "/anon");
        mount.unwrap()["Name"].as_str().unwrap().to_owned()
    };
    assert_ne!(volume(&blue), volume(&green), "each has its own");
    assert!(told.contains("anonymous ones: /anon"), "{told}");

    // In the host's namespace there is no name to be set.
    let (_, green, _) = copied(&engine, &["--uts", "host"]).await;
    assert_eq!(of_the_host(&green, "UTSMode"), "host");
}

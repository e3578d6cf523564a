//! What green has of blue, seen on a real engine: what the engine makes of the settings that it is sent.

use crate::support::docker::Engine;
use crate::support::shifter::{PATIENT, STILL};
use serde_json::{Value, json};
use std::process::Command;

/// Makes a container as programs do: the command line cannot ask for all of it.
fn create(engine: &Engine, name: &str, body: &Value) {
    let call = format!("http://engine/v1.41/containers/create?name={name}");
    let mut curl = Command::new("curl");
    curl.args([
        "-sS",
        "--fail-with-body",
        "-H",
        "Content-Type: application/json",
    ]);
    curl.arg("--unix-socket").arg(engine.socket());
    let made = curl
        .args(["-d", &body.to_string(), &call])
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stdout)
    );
}

fn seen(engine: &Engine, name: &str) -> Value {
    serde_json::from_str(&engine.inspect(name, "{{json .}}")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn green_has_what_a_person_asked_for_blue() {
    what_a_person_asked_for(Engine::shared()).await;
}

/// Blue's host name leads nobody to green; links are green's, too; what the engine hides is what it hides of a container made
/// today; a volume without a name is told.
pub(super) async fn what_a_person_asked_for(engine: Engine) {
    engine.run("db", "app:third", &[]);
    let db = engine.named("db");
    let blue = json!({
        "Image": "app:blue",
        "Hostname": "shared-host",
        "HostConfig": {
            "NetworkMode": engine.name,
            // An engine of the past hid no more than this.
            "MaskedPaths": ["/proc/kcore", "/proc/keys"],
            "Mounts": [{ "Type": "volume", "Target": "/scratch" }],
        },
        "NetworkingConfig": {
            "EndpointsConfig": { engine.name.clone(): { "Links": [format!("{db}:database")] } },
        },
    });
    create(&engine, &engine.named("blue"), &blue);
    engine.docker(&["start", &engine.named("blue")]);
    let shifter = engine.home(&format!("{STILL}{PATIENT}")).serve().await;
    let rollout = shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    let blue = seen(&engine, &engine.named("blue"));
    let green = seen(&engine, &format!("{}-{rollout}", engine.name));
    let endpoint = |of: &Value| of["NetworkSettings"]["Networks"][&engine.name].clone();
    // The names by which others find a container: `DNSNames` since 25, `Aliases` before.
    let names = |of: &Value| {
        let endpoint = endpoint(of);
        let all = [&endpoint["DNSNames"], &endpoint["Aliases"]];
        let all = all.iter().filter_map(|list| list.as_array()).flatten();
        all.map(|name| name.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(names(&blue).contains(&"shared-host".to_owned()), "{blue:#}");
    assert!(
        !names(&green).contains(&"shared-host".to_owned()),
        "{green:#}"
    );
    assert_eq!(endpoint(&green)["Links"], json!([format!("{db}:database")]));
    let hidden = |of: &Value| of["HostConfig"]["MaskedPaths"].clone();
    assert_eq!(hidden(&blue).as_array().unwrap().len(), 2);
    assert_eq!(hidden(&green), hidden(&seen(&engine, &db)), "today's");
    let told = shifter.notes().await;
    for words in [
        "green does not get the host name shared-host",
        "fresh, empty volumes where blue has anonymous ones: /scratch",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    drop(shifter);
    engine.docker(&["rm", "-f", "-v", &engine.named("blue")]);
}

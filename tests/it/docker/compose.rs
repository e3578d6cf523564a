//! Real Compose, that which comes with the engine: its projects roll out, and what it shows and does afterwards stays sane.

use crate::docker::image;
use crate::support::apps::free_port;
use crate::support::docker::Engine;
use crate::support::load::Load;
use crate::support::shifter::{PATIENT, QUICK, outcome_of};
use crate::support::{PATIENCE, client};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// A project of this test's name in a folder.
struct Project<'a> {
    engine: &'a Engine,
    folder: &'a Path,
    variables: Vec<(&'static str, String)>,
}

impl Project<'_> {
    fn set(&mut self, name: &'static str, value: &str) {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_owned()));
    }

    /// `docker-compose`, which must succeed; what it says.
    fn compose(&self, arguments: &[&str]) -> String {
        let mut command = self.engine.beside("docker-compose");
        command
            .args(["-p", &self.engine.name])
            .args(arguments)
            .current_dir(self.folder)
            .env("DOCKER_HOST", self.engine.host())
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        let done = command.output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(done.status.success(), "{arguments:?}: {said}");
        said
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.compose(&["down", "-v"]);
        }
    }
}

/// The example as it is in the repository, but for the port, the network's name and the time that a share takes.
#[tokio::test(flavor = "multi_thread")]
async fn row_17_the_compose_example_rolls_out_twice() {
    the_example_rolls_out_twice(Engine::shared()).await;
}

pub(super) async fn the_example_rolls_out_twice(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let tag = format!("{}:image", engine.name);
    image::base(&engine, folder.path());
    image::build(&engine, folder.path(), &tag);
    let address = free_port();
    for name in ["compose.yaml", "shifter.toml"] {
        let text = std::fs::read_to_string(format!("examples/compose/{name}")).unwrap();
        let text = text
            .replace("80:8080", &format!("{}:8080", address.port()))
            .replace(
                "  web:\n    name: web",
                &format!("  web:\n    name: {0}\n    external: true", engine.name),
            )
            .replace(
                "network = \"web\"",
                &format!("network = \"{}\"", engine.name),
            );
        let fast = format!("{QUICK}{PATIENT}holdback = 0\nkeep_blue = \"1s\"\n");
        let more = if name == "shifter.toml" {
            fast.as_str()
        } else {
            ""
        };
        std::fs::write(folder.path().join(name), text + more).unwrap();
    }
    std::fs::write(folder.path().join("shifter_token"), "0".repeat(32)).unwrap();
    let socket = engine.socket();
    let mut project = Project {
        engine: &engine,
        folder: folder.path(),
        variables: vec![
            ("SHIFTER_IMAGE", tag),
            (
                "DOCKER_GID",
                std::fs::metadata(&socket).unwrap().gid().to_string(),
            ),
            ("DOCKER_RUN", socket.parent().unwrap().display().to_string()),
        ],
    };
    project.set("API_BLUE", "app:blue");
    project.compose(&["up", "-d"]);
    let begun = Instant::now();
    while client::get(address, "/", "")
        .await
        .is_ok_and(|answer| answer.status != 200)
        || client::get(address, "/", "").await.is_err()
    {
        assert!(begun.elapsed() < PATIENCE, "{}", project.compose(&["logs"]));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let load = Load::paced(address, 200.0);
    let mut deploy = |slot: &'static str, service: &str, image: &str| {
        project.set(slot, image);
        project.compose(&["up", "-d", "--no-deps", service]);
        let run = ["exec", "-T", "shifter", "/usr/bin/shifter", "run", "api"];
        let said = project.compose(&run);
        assert!(said.contains("promoted"), "{said}");
        let shown = project.compose(&["ps"]);
        assert_eq!(shown.matches(" Up").count(), 3, "{shown}");
        // Once more, as people do: nothing is made anew, nobody notices.
        let again = project.compose(&["up", "-d"]);
        assert!(!again.contains("Recreat"), "{again}");
    };
    deploy("API_GREEN", "api-green", "app:green");
    assert!(load.seen.green.load(Relaxed) > 0);
    deploy("API_BLUE", "api-blue", "app:third");
    let answer = client::get(address, "/", "").await.unwrap();
    assert_eq!(answer.header("x-app-version"), Some("third"));
    let (seen, _) = load.stop_clean().await;
    println!("{} requests over two deployments: 0 lost", seen.answered());
}

/// One service of two containers is copied where that is allowed; Compose's own are left to Compose.
#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_copied_compose_service_outlives_the_next_up() {
    a_copied_service_outlives_the_next_up(Engine::shared()).await;
}

pub(super) async fn a_copied_service_outlives_the_next_up(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "services:\n  api:\n    image: app:blue\n    networks: [web]\nnetworks:\n  web:\n    name: {}\n    external: true\n",
        engine.name
    );
    std::fs::write(folder.path().join("docker-compose.yaml"), text).unwrap();
    let project = Project {
        engine: &engine,
        folder: folder.path(),
        variables: vec![],
    };
    project.compose(&["up", "-d", "--scale", "api=2"]);
    let home = engine.home_of(&format!(
        "blue = {{ compose = \"{}/api\", port = 3000 }}\ncopy = {{ compose = true }}\nkeep_blue = \"1s\"\n{QUICK}{PATIENT}",
        engine.name
    ));
    let shifter = home.serve().await;
    let load = Load::on(home.proxy);
    shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
    assert_eq!(end.blue.backends.len(), 2);
    shifter
        .until("Compose's are stopped", |_| {
            engine.containers(false).len() == 2
        })
        .await;
    let shown = project.compose(&["ps", "-a"]);
    let own = ["_api_", "-api-"].map(|name| shown.matches(name).count());
    assert_eq!(
        own.iter().sum::<usize>(),
        2,
        "its own, and no copy: {shown}"
    );
    assert!(!shown.contains(" Up "), "{shown}");

    project.compose(&["up", "-d", "--scale", "api=2"]);
    let shown = project.compose(&["ps"]);
    assert_eq!(shown.matches(" Up ").count(), 2, "{shown}");
    let blue = load.seen.blue.load(Relaxed);
    load.more(500).await;
    assert_eq!(
        load.seen.blue.load(Relaxed),
        blue,
        "who was promoted serves"
    );
    let served = shifter.service().await.blue;
    assert_eq!(served.release, "app:green");
    load.stop_clean().await;
    drop(shifter);
}

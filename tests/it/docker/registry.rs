//! Green's image comes from a registry that wants to know who asks (`docker-registry`, as Debian has it).

use crate::support::apps::free_port;
use crate::support::docker::Engine;
use crate::support::load::Load;
use crate::support::shifter::{PATIENT, QUICK, outcome_of};
use crate::support::{PATIENCE, eventually};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// `ci:correct horse`, as `htpasswd -B` writes it.
const ACCOUNTS: &str = "ci:$2y$05$cjf1V3oTEZCfTufjLSaulORXFbvfq8q9H/VAQR1yW3ACwERTsJ3OO\n";

struct Registry {
    address: SocketAddr,
    process: Child,
    folder: TempDir,
}

impl Registry {
    async fn start() -> Registry {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_port());
        let place = folder.path().display();
        let config = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {place}/images }} }}\n\
             http: {{ addr: \"{address}\" }}\nauth: {{ htpasswd: {{ realm: tests, path: {place}/accounts }} }}\n"
        );
        fs::write(folder.path().join("config.yml"), config).unwrap();
        fs::write(folder.path().join("accounts"), ACCOUNTS).unwrap();
        let process = Command::new("docker-registry")
            .args(["serve", "config.yml"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry; ./dev test installs it");
        eventually("the registry listens", || {
            TcpStream::connect(address).is_ok()
        })
        .await;
        Registry {
            address,
            process,
            folder,
        }
    }

    /// Puts an image there under another name, as somebody who may; the engine forgets that name.
    fn push(&self, engine: &Engine, image: &str, name: &str) -> String {
        let reference = format!("{}/team/{name}", self.address);
        let login = self.folder.path().join("login");
        fs::create_dir_all(&login).unwrap();
        logged_in(&login, &self.address.to_string(), "correct horse");
        engine.docker(&["tag", image, &reference]);
        let mut push = Command::new("docker");
        push.arg("--config")
            .arg(login)
            .args(["-H", &engine.host(), "push", "-q", &reference]);
        let done = push.output().unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        engine.docker(&["rmi", &reference]);
        reference
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What `docker login` leaves.
fn logged_in(folder: &Path, registry: &str, password: &str) {
    // "ci:" and the password in base64 (RFC 4648), by a program that everybody has.
    let encoded = Command::new("sh")
        .arg("-c")
        .arg(format!("printf 'ci:{password}' | base64"))
        .output()
        .unwrap();
    let auth = String::from_utf8(encoded.stdout).unwrap();
    let text = format!(
        "{{\"auths\": {{\"{registry}\": {{\"auth\": \"{}\"}}}}}}",
        auth.trim()
    );
    fs::write(folder.join("config.json"), text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_docker_login_and_of_helpers_open_a_registry() {
    let engine = Engine::shared();
    let registry = Registry::start().await;
    let (first, second) = (
        registry.push(&engine, "app:green", &format!("{}:1", engine.name)),
        registry.push(&engine, "app:third", &format!("{}:2", engine.name)),
    );
    let (docker, programs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let helper = programs.path().join("docker-credential-vault");
    fs::write(
        &helper,
        "#!/bin/sh\nread -r server\nprintf '{\"ServerURL\": \"%s\", \"Username\": \"ci\", \"Secret\": \"correct horse\"}' \"$server\"\n",
    )
    .unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    engine.run("blue", "app:blue", &[]);
    let home = engine.home(&format!("keep_blue = \"100ms\"\n{QUICK}{PATIENT}"));
    let path = format!(
        "{}:{}",
        programs.path().display(),
        std::env::var("PATH").unwrap()
    );
    let mut command = home.command(&["serve"]);
    command
        .env("DOCKER_CONFIG", docker.path())
        .env("PATH", path);
    let mut shifter = home.spawn(&mut command);
    shifter.answers().await;

    let address = registry.address.to_string();
    let refused = async |reference: &str, part: &str| {
        let end = match shifter.run_image(reference).await {
            Err(error) => error.to_string(),
            Ok(_) => {
                let end = shifter.phase("finished").await;
                assert_eq!(outcome_of(&end), "never_fit");
                end.rollout.unwrap().reason.unwrap()
            }
        };
        println!("{end}");
        assert!(end.contains(part) && end.contains("docker login"), "{end}");
        assert!(
            !end.contains("horse") && !home.log().contains("horse"),
            "{end}"
        );
    };
    refused(&first, "no basic auth credentials").await;
    logged_in(docker.path(), &address, "wrong horse");
    refused(&first, "unauthorized").await;

    logged_in(docker.path(), &address, "correct horse");
    let load = Load::on(shifter.proxy);
    shifter.run_image(&first).await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
    let notes = shifter.notes().await;
    assert!(notes.contains("fetch"), "{notes}");

    let helpers = format!("{{\"credHelpers\": {{\"{address}\": \"vault\"}}}}");
    fs::write(docker.path().join("config.json"), helpers).unwrap();
    shifter.run_image(&second).await.unwrap();
    let end = shifter
        .until_within(PATIENCE, "promoted by the helper's word", |service| {
            service.blue.release == second
        })
        .await;
    assert_eq!(end.blue.release, second);
    load.stop_clean().await;
}

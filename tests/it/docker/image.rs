//! The image of shifter itself: built from the Dockerfile's last stage, run as people run it.

use crate::support::apps::free_port;
use crate::support::client::get;
use crate::support::docker::Engine;
use crate::support::load::Load;
use crate::support::shifter::{PATIENT, QUICK};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The base image's place is taken by the libraries of this host: no registry is asked.
pub(super) fn base(engine: &Engine, folder: &Path) {
    let root = folder.join("root");
    let linked = Command::new("ldd")
        .arg(env!("CARGO_BIN_EXE_shifter"))
        .output()
        .unwrap();
    let linked = String::from_utf8(linked.stdout).unwrap();
    for path in linked
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let to = root.join(path.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(path, to).unwrap();
    }
    let tar = folder.join("base.tar");
    let packed = Command::new("tar")
        .arg("-C")
        .arg(&root)
        .arg("-cf")
        .arg(&tar)
        .arg(".")
        .status();
    assert!(packed.unwrap().success());
    let tar = tar.display().to_string();
    engine.docker(&[
        "import",
        "--change",
        "USER 65532",
        &tar,
        "gcr.io/distroless/cc-debian12:nonroot",
    ]);
}

/// The last stage, with the files that the first one would have made.
pub(super) fn build(engine: &Engine, folder: &Path, tag: &str) {
    let context = folder.join("context");
    std::fs::create_dir_all(context.join("state")).unwrap();
    let stripped = Command::new("strip")
        .arg("-o")
        .arg(context.join("shifter"))
        .arg(env!("CARGO_BIN_EXE_shifter"))
        .status();
    assert!(stripped.unwrap().success());
    let whole = std::fs::read_to_string("Dockerfile").unwrap();
    let last = whole.rsplit_once("\nFROM ").unwrap().1;
    let last = format!("FROM {last}")
        .replace("--from=build ", "")
        .replace("/src/target/release/", "")
        .replace(" /state ", " state ");
    std::fs::write(context.join("Dockerfile"), last).unwrap();
    engine.docker(&["build", "-q", "-t", tag, &context.display().to_string()]);
}

/// Nobody special, nothing to write but its state, one folder to reach the engine: it serves and rolls out.
#[tokio::test(flavor = "multi_thread")]
async fn the_image_serves_and_rolls_out() {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &[]);
    let folder = tempfile::tempdir().unwrap();
    let tag = format!("{}:image", engine.name);
    base(&engine, folder.path());
    build(&engine, folder.path(), &tag);
    let config = folder.path().join("shifter.toml");
    // On the host's network: what bridges let through is the business of each host's firewall.
    let address = free_port();
    let text = format!(
        "state = \"/var/lib/shifter\"\nproxy.listen = \"{address}\"\nadmin.listen = \"off\"\n[service.{}]\nblue = {{ container = \"{}\", port = 3000 }}\nhealth = {{ path = \"/health\", interval = \"100ms\", rise = 1 }}\nholdback = 0\nkeep_blue = \"1s\"\n{QUICK}{PATIENT}",
        engine.name,
        engine.named("blue")
    );
    std::fs::write(&config, text).unwrap();
    let group = {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(engine.socket())
            .unwrap()
            .gid()
            .to_string()
    };
    let state = engine.named("state");
    let begun = Instant::now();
    let shifter = engine.named("shifter");
    engine.docker(&[
        "run",
        "-d",
        "--name",
        &shifter,
        "--network",
        "host",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
        "-v",
        &format!("{}:/etc/shifter/shifter.toml:ro", config.display()),
        "-v",
        &format!("{state}:/var/lib/shifter"),
        "-v",
        &format!("{}:/host/run", engine.socket().parent().unwrap().display()),
        "--group-add",
        &group,
        "-e",
        "DOCKER_HOST=unix:///host/run/docker.sock",
        &tag,
    ]);
    let log = || {
        let logs = engine.try_docker(&["logs", &shifter]);
        String::from_utf8_lossy(&logs.stderr).into_owned()
    };
    loop {
        if std::net::TcpStream::connect(address).is_ok()
            && let Ok(answer) = get(address, "/", "").await
            && answer.status == 200
        {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{}", log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let size = engine.inspect(&tag, "{{.Size}}").parse::<f64>().unwrap() / 1e6;
    println!(
        "image {size:.0} MB (this build, stripped); `docker run` to the first answer {:?}",
        begun.elapsed()
    );
    let load = Load::on(address);
    let run = engine.try_docker(&[
        "exec",
        &shifter,
        "/usr/bin/shifter",
        "run",
        "--image",
        "app:green",
    ]);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{said}\n{}", log());
    load.stop_clean().await;
    let answer = get(address, "/", "").await.unwrap();
    assert_eq!(answer.header("x-app-version"), Some("green"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while engine.inspect(&shifter, "{{.State.Health.Status}}") != "healthy" {
        assert!(Instant::now() < deadline, "{}", log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let begun = Instant::now();
    engine.docker(&["stop", &shifter]);
    println!("stopped after {:?}", begun.elapsed());
    assert_eq!(
        engine.inspect(&shifter, "{{.State.ExitCode}}"),
        "0",
        "{}",
        log()
    );
    engine.docker(&["rm", &shifter]);
    engine.docker(&["volume", "rm", &state]);
    engine.docker(&["rmi", &tag]);
}

/// Examples are configurations that hold.
#[test]
fn the_examples_are_good_configurations() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    let text = std::fs::read_to_string("examples/compose/shifter.toml").unwrap();
    let text = text.replace("/run/secrets/shifter_token", &token.display().to_string());
    let config = shifter::config::Config::parse("shifter.toml", &text).unwrap();
    assert_eq!(config.docker.access, shifter::config::Access::Discover);
    let path = std::path::Path::new("examples/swarm/shifter.toml");
    let config = shifter::config::Config::load(path).unwrap();
    assert_eq!(config.docker.access, shifter::config::Access::Discover);
}

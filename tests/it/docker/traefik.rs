//! Real Traefik in front, found by the labels of shifter's container: `./dev test engines` runs this.

use crate::docker::image;
use crate::support::apps::free_port;
use crate::support::client::get;
use crate::support::docker::Engine;
use crate::support::load::Load;
use crate::support::shifter::{PATIENT, QUICK};
use crate::support::websocket::Socket;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Traefik on this host; it ends when this is dropped.
struct Traefik(Child);

impl Traefik {
    fn before(engine: &Engine, listen: SocketAddr, folder: &Path) -> Traefik {
        let log = std::fs::File::create(folder.join("traefik.log")).unwrap();
        let program = std::env::var("SHIFTER_TEST_TRAEFIK").unwrap_or("traefik".to_owned());
        let mut command = Command::new(program);
        command.args([
            format!("--entrypoints.web.address={listen}"),
            // As if another balancer were in front of it, which says who asks.
            "--entrypoints.web.forwardedHeaders.trustedIPs=127.0.0.1/32".to_owned(),
            format!("--providers.docker.endpoint={}", engine.host()),
            "--providers.docker.exposedByDefault=false".to_owned(),
            format!("--providers.docker.network={}", engine.name),
            format!(
                "--providers.docker.constraints=Label(`test`,`{}`)",
                engine.name
            ),
        ]);
        let child = command.stdout(log).spawn();
        Traefik(child.expect("traefik: ./dev test engines gets it"))
    }
}

impl Drop for Traefik {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// shifter in a container that Traefik finds by its labels.
fn shifter(engine: &Engine, folder: &Path) -> String {
    let tag = format!("{}:image", engine.name);
    image::base(engine, folder);
    image::build(engine, folder, &tag);
    let config = folder.join("shifter.toml");
    let text = format!(
        "state = \"/var/lib/shifter\"\nproxy.listen = \"0.0.0.0:8080\"\nproxy.trust_forwarded = true\nproxy.keepalive_requests = 1000000000\nadmin.listen = \"off\"\n[service.{}]\nblue = {{ container = \"{}\", port = 3000, network = \"{}\" }}\nhealth = {{ path = \"/health\", interval = \"100ms\", rise = 1 }}\nholdback = 0\nkeep_blue = \"1s\"\n{QUICK}{PATIENT}",
        engine.name,
        engine.named("blue"),
        engine.name,
    );
    std::fs::write(&config, text).unwrap();
    let name = engine.named("shifter");
    let group = std::fs::metadata(engine.socket()).unwrap().gid();
    let labels = [
        "traefik.enable=true",
        "traefik.http.routers.shifter.rule=PathPrefix(`/`)",
        "traefik.http.services.shifter.loadbalancer.server.port=8080",
    ];
    let mut arguments: Vec<String> = ["run", "-d", "--name", &name, "--network", &engine.name]
        .map(str::to_owned)
        .to_vec();
    arguments.extend([
        "-v".to_owned(),
        format!("{}:/etc/shifter/shifter.toml:ro", config.display()),
        "-v".to_owned(),
        format!("{}:/host/run", engine.socket().parent().unwrap().display()),
        "-e".to_owned(),
        "DOCKER_HOST=unix:///host/run/docker.sock".to_owned(),
        format!("--group-add={group}"),
        format!("--label=test={}", engine.name),
    ]);
    arguments.extend(labels.map(|label| format!("--label={label}")));
    arguments.push(tag);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    engine.docker(&arguments);
    name
}

/// Row 41: found by its labels, it is the only server that Traefik has; users' addresses and WebSockets go through, and two rollouts
/// lose nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "./dev test engines"]
async fn row_41_traefik_finds_shifter_by_its_labels_and_loses_nothing() {
    let engine = Engine::shared();
    // What Traefik would take the app itself for a server by.
    let of_the_app = ["--label", "traefik.enable=true"];
    engine.run("blue", "app:blue", &of_the_app);
    let folder = tempfile::tempdir().unwrap();
    let shifter = shifter(&engine, folder.path());
    let listen = free_port();
    let _traefik = Traefik::before(&engine, listen, folder.path());
    let begun = Instant::now();
    let answers = async || {
        TcpStream::connect(listen).is_ok()
            && get(listen, "/", "")
                .await
                .is_ok_and(|answer| answer.status == 200)
    };
    while !answers().await {
        let log = engine.try_docker(&["logs", &shifter]);
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{}{}",
            String::from_utf8_lossy(&log.stderr),
            std::fs::read_to_string(folder.path().join("traefik.log")).unwrap()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = "x-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: https\r\nx-forwarded-host: api.example.com\r\n";
    let head = get(listen, "/head", said).await.unwrap().body;
    let head = head.to_lowercase();
    for line in [
        "x-forwarded-for: 203.0.113.9, 127.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: api.example.com",
    ] {
        assert!(head.contains(line), "{line} in\n{head}");
    }
    let load = Load::on(listen);
    let mut before = Socket::open(listen).await;
    for (old, image) in [("blue", "app:green"), ("green", "app:third")] {
        let mut socket = Socket::open(listen).await;
        assert_eq!(socket.version, old);
        let run = [
            "exec",
            &shifter,
            "/usr/bin/shifter",
            "run",
            "--image",
            image,
        ];
        let run = engine.try_docker(&run);
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success(), "{said}");
        if old == "blue" {
            before.echo("still here").await.unwrap();
        }
        socket.echo("here, too").await.unwrap();
    }
    let (seen, _) = load.stop_clean().await;
    println!(
        "{} requests through Traefik and shifter, 2 rollouts: 0 lost",
        seen.answered()
    );
    let answer = get(listen, "/", "").await.unwrap();
    assert_eq!(answer.header("x-app-version"), Some("third"));
}
